"""Settings from text, files and forms: what fits, what does not, and what is said then."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.config import (
    build_config,
    config_values,
    describe_options,
    merge,
    option,
    override_texts,
    parse_overrides,
    read_yaml,
)
from engine.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A section."""

    depth_px: int = option(3, help="how deep", unit="px", low=1, high=9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """One field of every kind."""

    enabled: bool = option(True, help="a switch")
    count: int = option(5, help="a count", low=0)
    radius_px: float = option(1.5, help="a length", unit="px", low=0.5, high=2.5)
    name: str = option("", help="a word")
    file: Path | None = option(None, help="a file")
    kind: Literal["none", "full", "sift"] = option("full", help="a choice")
    steps: Literal[1, 2, 4] = option(1, help="a choice of numbers")
    scales: tuple[float, ...] = option((1.0, 0.5), help="numbers", low=0.1, high=4)
    limit: int | None = option(None, help="perhaps a number", low=1)
    folder: Path = option(Path(), help="a folder")
    inner: Inner = Inner()


def refusal(values, where="") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        build_config(Outer, values, where=where)
    return caught.value


# ---- building


def test_nothing_said_gives_the_defaults():
    assert build_config(Outer, {}) == Outer()


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        *(("enabled", text, True) for text in (True, "true", "Yes", "ON")),
        *(("enabled", text, False) for text in (False, "false", "No", "off")),
        ("count", "7", 7),
        ("count", 7.0, 7),
        ("count", " 7 ", 7),
        ("count", "1e3", 1000),
        ("radius_px", "2", 2.0),
        ("radius_px", 1, 1.0),
        ("radius_px", 0.5, 0.5),
        ("radius_px", 2.5, 2.5),
        ("name", "a b", "a b"),
        ("name", 12, "12"),
        ("name", "none", "none"),
        ("name", "", ""),
        ("file", "x/y.pth", Path("x/y.pth")),
        ("file", Path("x"), Path("x")),
        ("file", None, None),
        ("file", "", None),
        ("file", "none", None),
        ("kind", "sift", "sift"),
        ("kind", "none", "none"),
        ("steps", 2, 2),
        ("steps", "4", 4),
        ("scales", [1, "0.7", 0.5], (1.0, 0.7, 0.5)),
        ("scales", (2,), (2.0,)),
        ("scales", "1, 0.7,0.5", (1.0, 0.7, 0.5)),
        ("scales", 2, (2.0,)),
        ("scales", [], ()),
        ("scales", "", ()),
        ("limit", "none", None),
        ("limit", "", None),
        ("limit", "4", 4),
        ("inner", {"depth_px": "4"}, Inner(depth_px=4)),
    ],
)
def test_values_are_taken_as_yaml_forms_and_command_lines_give_them(name, given, expected):
    value = getattr(build_config(Outer, {name: given}), name)
    assert value == expected
    assert type(value) is type(expected)


def test_a_path_in_the_home_folder_is_expanded():
    assert build_config(Outer, {"file": "~/weights.pth"}).file == Path.home() / "weights.pth"


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("enabled", "perhaps", "'perhaps' is neither true nor false"),
        ("enabled", 1, "1 is neither true nor false"),
        ("enabled", None, "needs a value"),
        ("count", "many", "'many' is not a whole number"),
        ("count", 1.5, "1.5 is not a whole number"),
        ("count", True, "True is not a whole number"),
        ("count", "", "'' is not a whole number"),
        ("count", [1], "[1] is not a whole number"),
        ("count", float("nan"), "nan is not a whole number"),
        ("count", "inf", "'inf' is not a whole number"),
        ("count", -1, "-1 is out of range, it must be at least 0"),
        ("radius_px", "wide", "'wide' is not a number"),
        ("radius_px", float("nan"), "nan is not a number"),
        ("radius_px", 0.4, "0.4 is out of range, it must be at least 0.5 and at most 2.5"),
        ("radius_px", 2.6, "2.6 is out of range, it must be at least 0.5 and at most 2.5"),
        ("name", [1], "[1] is not text"),
        ("name", None, "needs a value"),
        ("name", True, "True is not text"),
        ("file", {}, "{} is not text"),
        ("kind", "half", "'half' is not one of none, full, sift"),
        ("kind", ["full"], "['full'] is not one of none, full, sift"),
        ("kind", {"full": 1}, "{'full': 1} is not one of none, full, sift"),
        ("steps", 3, "3 is not one of 1, 2, 4"),
        ("steps", True, "True is not one of 1, 2, 4"),
        ("scales", [1, 9], "9 is out of range, it must be at least 0.1 and at most 4"),
        ("scales", "1,x", "'x' is not a number"),
        ("scales", None, "needs a value"),
        ("scales", {"a": 1}, "{'a': 1} is not a number"),
        ("limit", 0, "0 is out of range, it must be at least 1"),
        ("inner", 3, "is a section and needs names and values"),
        ("inner", None, "needs a value"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_reason(name, given, reason):
    error = refusal({name: given})
    assert error.field == name
    assert error.reason == reason
    assert str(error) == f"{name}: {reason}."
    assert refusal({name: given}, where="top").field == f"top.{name}"


@pytest.mark.parametrize("empty", ["", " ", "\t"])
def test_an_empty_path_is_refused_and_not_the_current_folder(empty):
    with pytest.raises(ConfigError, match="folder: is empty, and a path is needed"):
        build_config(Outer, {"folder": empty})
    assert build_config(Outer, {"folder": "."}).folder == Path()
    assert build_config(Outer, {"file": ""}).file is None, "an empty field of a form"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("a" * 300, r"cannot be used \(File name too long\)"),
        ("ü" * 200, r"cannot be used \(File name too long\)"),
        ("~nobody-of-that-name/x", "cannot be found"),
        ("a\0b", "cannot be used"),
    ],
    ids=["long", "long in bytes", "no such user", "zero byte"],
)
def test_a_path_that_no_file_can_have_is_refused(given, reason):
    with pytest.raises(ConfigError, match=f"folder: .*{reason}"):
        build_config(Outer, {"folder": given})


def test_whole_numbers_of_any_size_keep_every_digit():
    large = 2**63 + 1
    assert build_config(Outer, {"count": large}).count == large
    assert build_config(Outer, {"count": str(large)}).count == large


@pytest.mark.parametrize("given", [10**400, str(10**400), "1e999"])
def test_a_number_beyond_all_floats_is_refused_not_fatal(given):
    assert "number" in refusal({"radius_px": given}).reason


def test_a_bound_is_never_rounded_away_in_a_message():
    assert "1234567 is out of range" in refusal({"scales": [1234567]}).reason
    assert "2.5000001 is out of range" in refusal({"radius_px": 2.5000001}).reason


def test_a_wrong_value_in_a_section_is_named_with_the_section():
    error = refusal({"inner": {"depth_px": 10}})
    assert error.field == "inner.depth_px"
    assert refusal({"inner": {"dept_px": 1}}).field == "inner.dept_px"


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    assert refusal({"radius": 1}).reason == "there is no such setting; did you mean 'radius_px'?"
    assert "known: enabled, count, radius_px" in refusal({"zzzzz": 1}).reason
    assert refusal({3: 1}).field == "3"


def test_a_class_without_settings_takes_none():
    @dataclass(frozen=True)
    class Empty:
        """Nothing to set."""

    assert build_config(Empty, {}) == Empty()
    with pytest.raises(ConfigError, match=r"a: there is no such setting\.$"):
        build_config(Empty, {"a": 1})


# ---- back to plain values


@given(
    st.builds(
        Outer,
        enabled=st.booleans(),
        count=st.integers(0, 10**12),
        radius_px=st.floats(0.5, 2.5),
        name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
        file=st.sampled_from([None, Path("a/b.pth"), Path("ü")]),
        kind=st.sampled_from(["none", "full", "sift"]),
        steps=st.sampled_from([1, 2, 4]),
        scales=st.lists(st.floats(0.1, 4), max_size=4).map(tuple),
        limit=st.none() | st.integers(1, 99),
        folder=st.sampled_from([Path(), Path("x y")]),
        inner=st.builds(Inner, depth_px=st.integers(1, 9)),
    )
)
def test_settings_survive_the_way_through_a_yaml_file(config):
    text = yaml.safe_dump(config_values(config), allow_unicode=True)
    assert build_config(Outer, yaml.safe_load(text)) == config


def test_plain_values_hold_no_objects_of_ours():
    values = config_values(Outer(file=Path("a")))
    assert values["file"] == "a"
    assert values["inner"] == {"depth_px": 3}
    assert values["scales"] == [1.0, 0.5]
    assert list(values) == [field.name for field in dataclasses.fields(Outer)]


def test_tuples_of_paths_become_plain_too():
    @dataclass(frozen=True, kw_only=True)
    class Files:
        """Several files."""

        files: tuple[Path, ...] = option((), help="files")

    config = build_config(Files, {"files": ["a", "b"]})
    assert config.files == (Path("a"), Path("b"))
    assert config_values(config) == {"files": ["a", "b"]}
    assert build_config(Files, yaml.safe_load(yaml.safe_dump(config_values(config)))) == config


# ---- descriptions


def test_options_are_described_in_order_without_sections():
    infos = {info.name: info for info in describe_options(Outer)}
    assert list(infos) == [f.name for f in dataclasses.fields(Outer) if f.name != "inner"]
    kinds = {name: info.kind for name, info in infos.items()}
    assert kinds == {
        "enabled": "bool",
        "count": "int",
        "radius_px": "float",
        "name": "text",
        "file": "file",
        "kind": "choice",
        "steps": "choice",
        "scales": "numbers",
        "limit": "int",
        "folder": "file",
    }
    radius = infos["radius_px"]
    assert (radius.default, radius.help, radius.unit) == (1.5, "a length", "px")
    assert (radius.low, radius.high) == (0.5, 2.5)
    assert infos["kind"].choices == ("none", "full", "sift")
    assert infos["steps"].choices == ("1", "2", "4")
    assert infos["count"].choices == ()
    assert {name for name, info in infos.items() if info.optional} == {"file", "limit"}


def test_what_a_form_offers_is_what_building_takes():
    for info in describe_options(Outer):
        for word in info.choices:
            assert str(getattr(build_config(Outer, {info.name: word}), info.name)) == word
        build_config(Outer, {info.name: info.default})


def test_a_field_without_option_is_described_without_help():
    @dataclass(frozen=True)
    class Bare:
        """Declared without option()."""

        count: int = 4

    (info,) = describe_options(Bare)
    assert (info.name, info.kind, info.default, info.help) == ("count", "int", 4, "")


def test_labels_are_words_without_the_unit():
    labels = {info.name: info.label for info in describe_options(Outer)}
    assert labels["radius_px"] == "Radius"
    assert labels["count"] == "Count"
    assert describe_options(Inner)[0].label == "Depth"


def test_a_default_that_is_made_is_described_by_what_is_made():
    @dataclass(frozen=True)
    class Made:
        """A default factory."""

        scales: tuple[float, ...] = dataclasses.field(default_factory=lambda: (1.0,))

    assert describe_options(Made)[0].default == (1.0,)


# ---- overrides


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["a=1"], {"a": 1}),
        (["a.b.c=0.5", "a.d=x"], {"a": {"b": {"c": 0.5}, "d": "x"}}),
        (["a=1", "a=2"], {"a": 2}),
        (["a=[1, 0.5]"], {"a": [1, 0.5]}),
        (["a=x=y"], {"a": "x=y"}),
        (["a="], {"a": None}),
        ([" a = yes "], {"a": True}),
        (["a=1,0.5"], {"a": "1,0.5"}),
        (["a={"], {"a": "{"}),
        (["a=C:\\w.pth"], {"a": "C:\\w.pth"}),
        (["a=2024-05-17"], {"a": "2024-05-17"}),
        (["a=none"], {"a": "none"}),
    ],
)
def test_overrides_become_nested_values(texts, expected):
    assert parse_overrides(texts) == expected


@pytest.mark.parametrize("text", ["a", "", "=1", " =1", "a b"])
def test_an_override_without_a_name_or_equals_sign_is_refused(text):
    with pytest.raises(ConfigError, match="an override is written name=value"):
        parse_overrides([text])


@pytest.mark.parametrize("text", ["a.=1", ".a=1", "a..b=1", "."])
def test_an_override_with_an_empty_part_in_its_name_is_refused(text):
    with pytest.raises(ConfigError):
        parse_overrides([text])


@pytest.mark.parametrize("texts", [["a=1", "a.b=2"], ["a.b=2", "a=1"]])
def test_a_name_that_is_both_a_value_and_a_section_is_refused(texts):
    with pytest.raises(ConfigError, match="both as a value and as a section"):
        parse_overrides(texts)


def test_a_whole_section_may_be_given_and_then_refined():
    assert parse_overrides(["a={b: 1, c: 2}", "a.b=3"]) == {"a": {"b": 3, "c": 2}}
    assert parse_overrides(["a.b=3", "a={b: 1}"]) == {"a": {"b": 1}}


def test_overrides_reach_the_settings():
    values = parse_overrides(
        ["scales=1,0.7", "inner.depth_px=4", "file=none", "enabled=off", "kind=none"]
    )
    config = build_config(Outer, values)
    assert (config.scales, config.inner.depth_px, config.file) == ((1.0, 0.7), 4, None)
    assert (config.enabled, config.kind) == (False, "none")


def test_a_date_reaches_a_text_and_a_switch_needs_quotes():
    assert build_config(Outer, parse_overrides(["name=2024-05-17"])).name == "2024-05-17"
    assert build_config(Outer, parse_overrides(["name='no'"])).name == "no"
    with pytest.raises(ConfigError, match="name: False is not text"):
        build_config(Outer, parse_overrides(["name=no"]))


# ---- files


def test_a_file_gives_its_mapping(tmp_path):
    path = tmp_path / "é.yaml"
    path.write_text("enabled: false\ninner:\n  depth_px: 4\nname: 東京\n", encoding="utf-8")
    assert build_config(Outer, read_yaml(path)) == Outer(
        enabled=False, inner=Inner(depth_px=4), name="東京"
    )
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"- a\n- b\n", "must hold names and values"),
        (b"just text", "must hold names and values"),
        (b"a: [1", "is not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"a: \x01", "is not valid YAML"),
        (b"a: !!python/object:os.system {}", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content, reason):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as caught:
        read_yaml(path)
    assert caught.value.field == str(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path, reason in ((tmp_path / "none.yaml", "cannot be read"), (tmp_path, "is a folder")):
        with pytest.raises(ConfigError, match=reason):
            read_yaml(path)


# ---- layers


def test_later_layers_win_section_by_section_and_leave_their_sources_alone():
    first = {"a": {"b": 1, "c": 2}, "d": 3}
    second = {"a": {"b": 9}, "e": 4}
    assert merge(first, second) == {"a": {"b": 9, "c": 2}, "d": 3, "e": 4}
    assert first == {"a": {"b": 1, "c": 2}, "d": 3}
    merged = merge(first)
    merged["a"]["b"] = 100
    assert first["a"]["b"] == 1
    assert merge() == {}
    assert merge({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}
    assert merge({"a": {"b": 2}}, {"a": None}) == {"a": None}


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_float_is_kept_exactly_or_refused(value):
    @dataclass(frozen=True, kw_only=True)
    class Free:
        """An unbounded number."""

        value: float = option(0.0, help="any number")

    if math.isfinite(value):
        assert build_config(Free, {"value": value}).value == value
        assert build_config(Free, {"value": repr(value)}).value == value
    else:
        with pytest.raises(ConfigError):
            build_config(Free, {"value": value})


@pytest.mark.parametrize("text", ["\x85", "a\x85", " \u2028b", "a\u2029", "\U0001f600: [\x85"])
def test_text_with_any_line_end_comes_back_from_an_override(text):
    assert parse_overrides(override_texts({"a": text}))["a"] == text
