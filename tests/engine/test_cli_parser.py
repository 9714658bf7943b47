"""The command line: what arguments mean, what is refused, and what showing help loads."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli.command import settings_from
from engine.cli.commands.view import view_options
from engine.cli.parser import Parser, UsageError, build_parser, parse
from engine.errors import ConfigError, DescSpaceError, OutputError
from engine.jobs.command_line import (
    ViewOptions,
    command_line,
    compared_options,
    parse_compared,
)
from engine.jobs.open_pair import check_images
from engine.jobs.output import check_output
from engine.jobs.settings import DescribeConfig, MatchConfig, resolve_settings

REPOSITORY = Path(__file__).resolve().parent.parent.parent
COMMANDS = ("view", "match", "describe", "evaluate", "descriptors", "demo", "doctor", "bench")
HEAVY = (
    *("torch", "PySide6", "cv2", "numpy", "skimage", "PIL", "pyqtgraph", "rich", "matplotlib"),
    *("timm", "torchvision", "transformers", "kornia", "onnxruntime", "huggingface_hub"),
    "descgui.app",
)


@pytest.fixture
def parser() -> Parser:
    return build_parser("main.py")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two files that exist; nothing here reads them."""
    paths = tmp_path / "ä b.png", tmp_path / "日本.jpg"
    for path in paths:
        path.touch()
    return paths


@pytest.mark.parametrize("words", [[], *[[command] for command in COMMANDS]])
def test_help_is_printed_without_loading_anything_heavy(words: list[str]):
    """Checked in the interpreter of a new process, after help has been printed."""
    code = (
        "import sys\n"
        "from descgui.__main__ import main\n"
        f"code = main({[*words, '--help']!r})\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules], code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED [] 0"
    assert done.stdout.startswith("usage: ")
    assert "examples:" in done.stdout


def test_every_command_is_listed_in_the_help(parser: Parser):
    page = parser.format_help()
    for command in COMMANDS:
        assert f"\n    {command} " in page


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["matsch"], "did you mean 'match'"),
        (["match", "a", "b", "--out", "m.csv", "--cuont", "3"], "did you mean --count"),
        (["match", "a", "b"], "--out"),
        (["view", "a", "b", "--pair", "first"], "whole number"),
        (["view", "a", "b", "--pair", "0"], "at least 1"),
        (["view", "a", "b", "--probe", "3"], "is not X,Y"),
        (["view", "a", "b", "--probe", "nan,1"], "not a number"),
        (["view", "a", "b", "--size", "big"], "is not WxH"),
        (["view", "a", "b", "--size", "1x1"], "out of range"),
        (["view", "a", "b", "--mode", "3d"], "overlay"),
        (["view", "a", "b", "--matches", "0"], "at least 1"),
        (["view", "a", "b", "--maps", "one.npz"], "--maps"),
        (["doctor", "me"], "too many"),
        (["demo"], "DIR"),
    ],
)
def test_a_wrong_word_is_refused_in_one_sentence_that_helps(
    parser: Parser, words: list[str], hint: str
):
    with pytest.raises(UsageError) as refused:
        parse(parser, words)
    assert hint in str(refused.value)
    assert "--help'" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_flags_that_all_commands_share_may_stand_before_or_after_the_command(parser: Parser):
    assert parse(parser, ["--quiet", "doctor"]).quiet is True
    assert parse(parser, ["doctor", "--quiet"]).quiet is True
    assert parse(parser, ["doctor"]).quiet is False


def test_a_view_command_parses_back_into_the_options_it_was_made_from(
    parser: Parser, pair: tuple[Path, Path], tmp_path: Path
):
    truth, plugin = tmp_path / "H 1.txt", tmp_path / "it's.py"
    truth.touch()
    plugin.touch()
    options = ViewOptions(
        images=pair,
        homography=truth,
        descriptor="daisy",
        settings=("stride_px=2", "normalisation=full"),
        device="cpu",
        probe_px=(-3.25, 1234.5678),
        mode="heat",
        compare=("superpoint", "daisy"),
        compare_settings=("2.radius_px=8",),
        own_ranges=True,
        matches_by=2,
        matches=300,
        theme="dark",
        size=(1280, 800),
        screenshot=tmp_path / "a.png",
        plugins=(plugin,),
    )
    words = shlex.split(command_line("view", options))
    assert words[:3] == ["python", "main.py", "view"]
    assert view_options(parse(parser, words[2:])) == options


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (ViewOptions(compare=("a", "b", "c", "d")), "3 times, not 4"),
        (ViewOptions(compare=("a",), compare_settings=("2.rings=3",)), "not with '2'"),
        (ViewOptions(compare=("a",), compare_settings=("rings=3",)), "not with 'rings'"),
        (ViewOptions(compare=("a",), compare_settings=("1=3",)), "not with '1'"),
        (ViewOptions(compare=("a",), matches_by=2), "given 1 times"),
    ],
)
def test_settings_of_no_compared_descriptor_and_a_fifth_descriptor_are_refused(
    options: ViewOptions, hint: str
):
    with pytest.raises(ConfigError, match=hint):
        parse_compared(options)


def test_compared_descriptors_keep_their_own_settings():
    chosen = (("daisy", {"rings": 3}), ("net", {}), ("daisy", {"weights": "/a b/1.pth"}))
    names, settings = compared_options(chosen)
    assert parse_compared(ViewOptions(compare=names, compare_settings=settings)) == chosen


def test_the_default_view_command_says_nothing_but_view():
    assert command_line("view", ViewOptions()) == "python main.py view"
    assert (
        command_line("view", ViewOptions(), program="descriptor-space") == "descriptor-space view"
    )


def test_map_files_choose_the_descriptor_that_shows_them(
    parser: Parser, pair: tuple[Path, Path], tmp_path: Path
):
    maps = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path in maps:
        path.touch()
    words = ["view", *map(str, pair), "--maps", *map(str, maps)]
    options = view_options(parse(parser, words))
    assert (options.descriptor, options.maps) == ("precomputed", tuple(maps))
    with pytest.raises(ConfigError, match="'daisy'"):
        view_options(parse(parser, [*words, "--descriptor", "daisy"]))


def test_a_screenshot_never_replaces_an_image_that_is_shown(
    parser: Parser, pair: tuple[Path, Path]
):
    words = ["view", *map(str, pair), "--screenshot", str(pair[0])]
    with pytest.raises(OutputError, match="will not be overwritten"):
        view_options(parse(parser, words))


@pytest.mark.parametrize("flag", ["--homography", "--weights", "--plugin"])
def test_a_missing_file_is_named(parser: Parser, pair: tuple[Path, Path], flag: str):
    with pytest.raises(DescSpaceError, match=r"nowhere\.txt: there is no such file"):
        view_options(parse(parser, ["view", *map(str, pair), flag, "nowhere.txt"]))


@pytest.mark.parametrize("empty", ["", " "])
@pytest.mark.parametrize(
    "words",
    [
        *(["view", "E"], ["view", "a.png", "E"], ["view", "a", "b", "--homography", "E"]),
        *(["view", "a", "b", "--weights", "E"], ["view", "a", "b", "--plugin", "E"]),
        *(["view", "a", "b", "--maps", "m.npz", "E"], ["match", "a", "b", "--out", "E"]),
        *(["describe", "E", "--out", "m.npz"], ["demo", "E"], ["report", "E"]),
        *(["export", "E", "--out", "w.safetensors"], ["train", "--photos", "E"]),
        *(["evaluate", "--dataset", "demo", "--data", "E"], ["train", "--config", "E"]),
    ],
    ids=" ".join,
)
def test_an_empty_path_is_refused_everywhere(parser: Parser, words: list[str], empty: str):
    with pytest.raises(UsageError, match=r"Argument .*(the path is empty|a path is needed)"):
        parse(parser, [empty if word == "E" else word for word in words])


def test_a_pair_is_two_files_or_one_set(tmp_path: Path, pair: tuple[Path, Path]):
    nothing = {"group": None, "pair_index": None, "homography": None}
    check_images(pair, **nothing)
    check_images([tmp_path], **{**nothing, "group": "v", "pair_index": 3})
    for images, options, reason in (
        ([], nothing, "0 were named"),
        ([*pair, *pair], nothing, "4 were named"),
        ([pair[0]], nothing, "second one"),
        ([tmp_path / "none"], nothing, "no such folder or file"),
        ([pair[0], tmp_path], nothing, "is a folder"),
        ([pair[0], tmp_path / "none.png"], nothing, "no such file"),
        (list(pair), {**nothing, "pair_index": 2}, "of two images"),
        (list(pair), {**nothing, "group": "v"}, "of two images"),
        ([tmp_path], {**nothing, "homography": pair[0]}, "brings its own"),
    ):
        with pytest.raises(DescSpaceError, match=reason):
            check_images(images, **options)


def test_flags_win_over_set_and_set_wins_over_the_file():
    config, values = resolve_settings(
        MatchConfig,
        from_file={"count": 10, "seed": 1, "points": "grid", "settings": {"stride_px": 8, "x": 1}},
        overrides=["seed=2", "points=random", "settings.stride_px=4", "radius_px=7.5"],
        flags={"points": "harris"},
    )
    assert (config.count, config.seed, config.points) == (10, 2, "harris")
    assert values == {"stride_px": 4, "x": 1, "radius_px": 7.5}


def test_a_switch_that_is_on_can_be_turned_off(parser: Parser):
    words = ["match", "a.png", "b.png", "--out", "m.csv"]
    for flag, refine in (([], True), (["--refine"], True), (["--no-refine"], False)):
        config, _ = settings_from(parse(parser, [*words, *flag]), MatchConfig)
        assert config.refine is refine
    assert command_line("match", MatchConfig(refine=False)).count("--no-refine") == 1


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["count=0"], "out of range"),
        (["count=1000001"], "out of range"),
        (["count=many"], "whole number"),
        (["points=everywhere"], "grid, random, harris"),
        (["settings=3"], "section"),
        (["stride_px"], "name=value"),
    ],
)
def test_a_wrong_setting_is_named(overrides: list[str], reason: str):
    with pytest.raises(ConfigError, match=reason):
        resolve_settings(MatchConfig, overrides=overrides)


def test_flags_made_from_settings_carry_their_values(parser: Parser, tmp_path: Path):
    file = tmp_path / "settings.yaml"
    file.write_text("long_edge_px: 320\nsettings:\n  stride_px: 8\n", encoding="utf-8")
    words = ["describe", "a.png", "--out", "a.npz", "--config", str(file), "--device", "cpu"]
    config, values = settings_from(parse(parser, words), DescribeConfig)
    assert config == DescribeConfig(long_edge_px=320, device="cpu")
    assert values == {"stride_px": 8}


def test_the_settings_name_the_same_kinds_of_points_as_the_requests():
    from typing import get_args, get_type_hints

    from engine.inspection.requests import PointsKind, Precision

    hints = get_type_hints(MatchConfig)
    assert get_args(hints["points"]) == get_args(PointsKind)
    assert get_args(hints["precision"]) == get_args(Precision)


def test_an_output_is_refused_before_the_work(tmp_path: Path):
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path, "this is a folder"),
        (tmp_path / "file" / "m.csv", "cannot be written"),
        (tmp_path / "m.bmp", "must end in .csv"),
        (tmp_path / "bad\0name.csv", "not the name of a file"),
    ):
        with pytest.raises(OutputError, match=reason):
            check_output(path, suffixes=(".csv",) if path.suffix == ".bmp" else ())
    check_output(tmp_path / "new" / "folder" / "m.csv", suffixes=(".csv",))
    assert list((tmp_path / "new" / "folder").iterdir()) == []


def test_help_pages_need_no_percent_signs_escaped_by_hand(parser: Parser):
    """Argparse formats help with %, so a stray % would break a page only when it is shown."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                assert command.format_help()
