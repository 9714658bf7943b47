"""A user's plugin file: what it registers, and the messages when it fails."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from engine.config import describe_options
from engine.descriptors import plugins, registry
from engine.descriptors.base import DenseDescriptor
from engine.descriptors.compute import describe_image
from engine.descriptors.plugins import load_entry_points, load_plugin
from engine.descriptors.registry import (
    build_descriptor,
    get_descriptor,
    list_descriptors,
    make_spec,
    register_descriptor,
)
from engine.errors import PluginError

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "my_network.py"

GOOD = """
from dataclasses import dataclass
import torch
from engine.config import option
from engine.descriptors.base import DescriptorMap
from engine.descriptors.registry import register_descriptor
from engine.geometry.coords import CellGrid

@dataclass(frozen=True, kw_only=True)
class GreyConfig:
    power: float = option(1.0, help="exponent")

class Grey:
    dim, shift_period_px, trained, half_precision = 3, 1, True, False
    def describe(self, images):
        return (DescriptorMap(torch.nn.functional.normalize(images, dim=1), CellGrid(1.0, 0.0)),)

@register_descriptor("NAME", title="Grey", config=GreyConfig)
def build(config):
    return Grey()
"""


@pytest.fixture(autouse=True)
def all_as_before() -> Iterator[None]:
    list_descriptors()
    entries, path, modules = dict(registry._ENTRIES), list(sys.path), set(sys.modules)
    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(entries)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("descriptor_space_plugin_") or name == "beside_the_plugin":
            del sys.modules[name]
    plugins._loaded.clear()
    plugins._entry_point_problems.clear()


def write(path: Path, code: str = GOOD, *, name: str = "grey") -> Path:
    path.write_text(code.replace("NAME", name), encoding="utf-8")
    return path


def test_the_worked_example_is_a_descriptor_like_any_other() -> None:
    assert load_plugin(EXAMPLE) == ("my-network",)
    entry = get_descriptor("my-network")
    assert (entry.source, entry.takes_weights) == (str(EXAMPLE), True)
    descriptor = build_descriptor(make_spec("my-network"))
    assert isinstance(descriptor, DenseDescriptor)
    assert not descriptor.trained
    pixels = np.random.default_rng(0).random((33, 46, 3), dtype=np.float32)
    levels, notes = describe_image(descriptor, pixels, device="cpu", precision="float32")
    assert levels[0].values.shape == (1, 64, 9, 12)
    assert notes == ()


@pytest.mark.parametrize("name", ["plugin.py", "größe 插件.py"])
def test_a_file_registers_under_its_own_path(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    assert load_plugin(path) == ("grey",)
    assert get_descriptor("grey").source == str(path)
    assert [info.name for info in describe_options(get_descriptor("grey").config)] == ["power"]


def test_a_file_runs_once_until_it_changes_and_then_replaces_itself(tmp_path: Path) -> None:
    count = (
        "import pathlib\n"
        f"runs = pathlib.Path({str(tmp_path / 'runs')!r})\n"
        "runs.write_text((runs.read_text() if runs.exists() else '') + 'x')\n"
    )
    path = write(tmp_path / "plugin.py", GOOD + count)
    assert load_plugin(path) == load_plugin(path) == ("grey",)
    assert (tmp_path / "runs").read_text() == "x"
    first = get_descriptor("grey").build
    write(path, GOOD + count, name="grey2")
    assert load_plugin(path) == ("grey2",)
    assert (tmp_path / "runs").read_text() == "xx"
    assert "grey" not in [entry.name for entry in list_descriptors()]
    write(path, GOOD + count)
    load_plugin(path)
    assert get_descriptor("grey").build is not first


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nx = (\n", r"line 2: '\(' was never closed"),
        ("x = 1\n\nraise ValueError('no model')\n", "line 3: ValueError: no model"),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("import no_such_module_at_all\n", "line 1: ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit('bye')\n", "line 2: SystemExit: bye"),
        ("x = 1\n", "registers no descriptor"),
        ("", "registers no descriptor"),
        (
            GOOD.replace("config=GreyConfig", "config=dict"),
            "not a dataclass",
        ),
        (GOOD.replace("power: float", "power: bytes"), "field of an unknown type"),
        (
            GOOD.replace("NAME", "daisy"),
            "line 18: daisy: a descriptor of this name exists",
        ),
        ("x = '\udcff'", "line 1|cannot|utf-8"),
    ],
)
def test_a_file_that_fails_names_the_line_and_changes_nothing(
    tmp_path: Path, code: str, message: str
) -> None:
    path = tmp_path / "plugin.py"
    path.write_bytes(code.encode("utf-8", "surrogateescape"))
    before, modules = list_descriptors(), set(sys.modules)
    with pytest.raises(PluginError, match=message) as caught:
        load_plugin(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert list_descriptors() == before
    assert not {name for name in set(sys.modules) - modules if "plugin_" in name}


def test_a_broken_change_leaves_the_working_version(tmp_path: Path) -> None:
    path = write(tmp_path / "plugin.py")
    load_plugin(path)
    entry = get_descriptor("grey")
    write(path, GOOD + "raise RuntimeError\n")
    with pytest.raises(PluginError, match="RuntimeError"):
        load_plugin(path)
    assert get_descriptor("grey") is entry
    assert describe_options(entry.config)[0].name == "power"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no such file"):
        load_plugin(tmp_path / "none.py")
    with pytest.raises(PluginError, match="is a folder"):
        load_plugin(tmp_path)


def test_modules_beside_the_file_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "beside_the_plugin.py").write_text("TITLE = 'from-beside'\n")
    code = "from beside_the_plugin import TITLE as name\n" + GOOD.replace('"NAME"', "name")
    assert load_plugin(write(tmp_path / "plugin.py", code)) == ("from-beside",)


class FakePoint:
    """Stands in for an installed package's entry point."""

    dist = None

    def __init__(self, value: str, *, fails: bool) -> None:
        self.value = value
        self.fails = fails
        self.loads = 0

    def load(self) -> None:
        self.loads += 1
        if self.fails:
            raise ImportError("libfoo.so is missing")
        register_descriptor("packaged", title="Packaged", config=type(None))(_never)


def _never(config: object) -> NoReturn:
    raise AssertionError("nobody builds it")


def test_a_broken_package_is_reported_and_the_others_are_loaded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good, bad = FakePoint("good.module", fails=False), FakePoint("bad.module", fails=True)

    def entry_points(*, group: str) -> list[FakePoint]:
        assert group == "descriptor_space.descriptors"
        return [bad, good]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    (problem,) = load_entry_points()
    assert "bad.module" in problem
    assert "libfoo.so is missing" in problem
    assert get_descriptor("packaged").source == "good.module (package)"
    assert load_entry_points() == (problem,)
    assert (good.loads, bad.loads) == (1, 1)
