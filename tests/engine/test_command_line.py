"""Every command line that is written parses back into what it was written from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cli.command import options_from, settings_from
from engine.cli.parser import build_parser, parse
from engine.config import OptionInfo, build_config, describe_options, nest, override_texts
from engine.jobs.command_line import (
    EvaluateOptions,
    ReportOptions,
    StudyOptions,
    TrainOptions,
    ViewOptions,
    command_line,
)
from engine.jobs.settings import EvaluateConfig, StudyConfig, TrainConfig

PARSER = build_parser("main.py")
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
    lambda text: text != "none"
)
PATHS = st.sampled_from(["a", "a b/ü.png", "-x", "--out", "it's", "C:\\x", "a=b,c"]).map(Path)
NUMBERS = st.floats(-1e6, 1e6)
SEVERAL: dict[str, st.SearchStrategy[Any]] = {
    "descriptor": st.lists(WORDS, min_size=1),
    "allow": st.lists(WORDS, max_size=3),
    "group": st.lists(WORDS, max_size=3),
    "settings": st.lists(st.sampled_from(["a=1", "b.c='x y'", "-d=", "e=-1"])),
    "threshold_px": st.lists(st.floats(0, 1000)),
    "compare": st.lists(WORDS, max_size=3),
    "compare_settings": st.lists(st.sampled_from(["1.a=1", "2.b='x y'", "-1.d=", "3.e=-1"])),
    "images": st.lists(PATHS, max_size=2),
    "folders": st.lists(PATHS, min_size=1),
    "plugins": st.lists(PATHS),
    "maps": st.none() | st.tuples(PATHS, PATHS),
    "pca": st.none() | st.tuples(*(st.sampled_from([-12, -3, 1, 2, 12]),) * 3),
    "probe_px": st.none() | st.tuples(NUMBERS, NUMBERS),
    "pins": st.lists(st.sampled_from(["1,2", "b:3.5,4", "-1,2"])),
    "zoom": st.none() | st.tuples(*(NUMBERS,) * 4),
    "zoom_b": st.none() | st.tuples(*(NUMBERS,) * 4),
    "value_range": st.none() | st.tuples(NUMBERS, NUMBERS),
    "size": st.none() | st.tuples(st.integers(200, 16384), st.integers(200, 16384)),
    "overrides": st.just(()),
}


def values_of(info: OptionInfo) -> st.SearchStrategy[Any]:
    """Values that an option allows."""
    low, high = info.low, info.high
    strategy: st.SearchStrategy[Any]
    match info.kind:
        case "bool":
            strategy = st.booleans()
        case "int":
            strategy = st.integers(-(10**9) if low is None else int(low), high and int(high))
        case "float":
            strategy = st.floats(-1e9 if low is None else low, 1e9 if high is None else high)
        case "text":
            strategy = WORDS
        case "file" | "folder":
            strategy = PATHS
        case "choice":
            strategy = st.sampled_from(info.choices)
        case "choices":
            strategy = st.lists(st.sampled_from(info.choices)).map(tuple)
        case "numbers":
            return SEVERAL[info.name].map(lambda several: several and tuple(several))
    return st.none() | strategy if info.optional else strategy


def objects(kind: type) -> st.SearchStrategy[Any]:
    """Settings or options of a class, each option at its default or at any allowed value."""
    infos = describe_options(kind, sections=True)
    values = st.fixed_dictionaries(
        {info.name: values_of(info) for info in infos if info.required},
        optional={info.name: values_of(info) for info in infos if not info.required},
    )
    return values.map(lambda some: build_config(kind, nest(some)))


def has_no_file(options: Any) -> bool:
    return getattr(options, "config", None) is None and not options.settings


OWN = st.dictionaries(
    st.sampled_from(["stride_px", "kind", "on"]), st.integers() | st.booleans() | WORDS, max_size=3
)


@pytest.mark.parametrize(
    ("command", "config", "options"),
    [
        ("evaluate", EvaluateConfig, EvaluateOptions),
        ("study", StudyConfig, StudyOptions),
        ("train", TrainConfig, TrainOptions),
    ],
)
@settings(max_examples=30)
@given(data=st.data())
def test_settings_and_options_come_back(command: str, config: type, options: type, data: Any):
    # Where the name has no flag, one is needed that does not look like a flag.
    made = data.draw(
        objects(config).filter(lambda one: one.descriptor and str(one.descriptor)[0] != "-")
    )
    own = data.draw(OWN)
    # Files that are read before the command runs are another test's.
    beside = data.draw(objects(options).filter(has_no_file))
    words = shlex.split(command_line(command, made, beside, own=own))
    assert words[:3] == ["python", "main.py", command]
    arguments = parse(PARSER, words[2:])
    assert settings_from(arguments, config) == (made, own)
    found = options_from(arguments, options)
    assert {**vars(found), "settings": ()} == vars(beside)


@pytest.mark.parametrize(("command", "options"), [("view", ViewOptions), ("report", ReportOptions)])
@settings(max_examples=50)
@given(data=st.data())
def test_options_come_back(command: str, options: type, data: Any):
    made = data.draw(objects(options))
    words = shlex.split(command_line(command, made))
    assert options_from(parse(PARSER, words[2:]), options) == made


def test_what_is_at_its_default_is_left_out():
    assert command_line("view", ViewOptions()) == "python main.py view"
    assert command_line("train", TrainConfig(), TrainOptions()) == "python main.py train"
    line = command_line("evaluate", EvaluateConfig(), EvaluateOptions(), program="x")
    assert line == "x evaluate --descriptor descspace --protocol closed"


def test_texts_that_yaml_would_read_as_something_else_are_quoted():
    values = {"a": {"b": "yes", "c": "1.0", "d": "plain"}, "e": True, "f": [1, 2.5], "g": ""}
    assert override_texts(values) == (
        *('a.b="yes"', 'a.c="1.0"', "a.d=plain"),
        *("e=true", "f=1,2.5", 'g=""'),
    )
