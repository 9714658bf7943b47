"""The list of descriptors, and how a choice of one is written down."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

from engine.config import option
from engine.descriptors import registry
from engine.descriptors.base import Levels
from engine.descriptors.registry import (
    DescriptorSpec,
    build_descriptor,
    get_descriptor,
    list_descriptors,
    make_spec,
    register_descriptor,
    registering_from,
    replacing_source,
)
from engine.errors import ConfigError

NETWORKS = [
    *("descspace", "descspace-fast", "descspace-robust"),
    *("msnet_v0", "msnet_v1", "msnet_v2", "msnet_v2_estimated", "superpoint"),
]
BUILT_IN = sorted(["daisy", "precomputed", *NETWORKS])


@dataclass(frozen=True, slots=True, kw_only=True)
class DotConfig:
    size_px: float = option(2.0, help="size", unit="px", low=1.0)


class Dot:
    dim, shift_period_px, trained, half_precision = 1, 1, True, False

    def __init__(self, size_px: float) -> None:
        self.size_px = size_px

    def describe(self, images: Tensor) -> Levels:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def same_registry_afterwards() -> Iterator[None]:
    list_descriptors()
    before = dict(registry._ENTRIES)
    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(before)


def register_dot(name: str = "dot") -> None:
    @register_descriptor(name, title="Dot", config=DotConfig)
    def build(config: DotConfig) -> Dot:
        return Dot(config.size_px)


def test_the_built_in_ones_are_listed_with_titles_and_summaries() -> None:
    entries = [entry for entry in list_descriptors() if entry.source == "built-in"]
    assert sorted(entry.name for entry in entries) == BUILT_IN
    assert all(entry.title and entry.summary.endswith(".") for entry in entries)
    with_weights = {entry.name for entry in entries if entry.takes_weights}
    assert with_weights == set(NETWORKS)


def test_a_registered_builder_gets_the_settings() -> None:
    register_dot()
    descriptor = build_descriptor(make_spec("dot", {"size_px": "3"}))
    assert isinstance(descriptor, Dot)
    assert descriptor.size_px == 3.0


def test_specs_name_every_setting_and_compare_by_value() -> None:
    one = make_spec("daisy", {"stride_px": 8})
    assert one == make_spec("daisy", {"stride_px": "8"})
    assert hash(one) == hash(make_spec("daisy", {"stride_px": 8}))
    assert one != make_spec("daisy")
    assert dict(one.settings)["radius_px"] == 15.0
    assert [name for name, _ in one.settings] == sorted(name for name, _ in one.settings)


def test_an_unknown_name_gets_a_hint_and_the_list() -> None:
    with pytest.raises(ConfigError, match=r"there is no 'dasy'; did you mean 'daisy'.*superpoint"):
        get_descriptor("dasy")


def test_weights_for_a_descriptor_without_any_are_refused() -> None:
    with pytest.raises(ConfigError, match="daisy takes no weights"):
        make_spec("daisy", {"weights": Path("w.pth")})


def test_a_spec_with_settings_of_another_time_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"daisy\.petals: there is no such setting"):
        build_descriptor(DescriptorSpec("daisy", (("petals", 5),)))


def test_a_name_belongs_to_its_first_source() -> None:
    register_dot()
    with registering_from("elsewhere"), pytest.raises(ConfigError, match=r"exists already"):
        register_dot()
    register_dot()  # the same source may register again


def test_replacing_a_source_drops_what_it_no_longer_registers() -> None:
    with replacing_source("file"):
        register_dot("one")
        register_dot("two")
    with replacing_source("file"):
        register_dot("two")
        register_dot("three")
    assert [e.name for e in list_descriptors() if e.source == "file"] == ["two", "three"]


def test_a_replacement_that_fails_leaves_all_as_it_was() -> None:
    with replacing_source("file"):
        register_dot("one")
    before = list_descriptors()

    def fail_half_way() -> None:
        with replacing_source("file"):
            register_dot("two")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        fail_half_way()
    assert list_descriptors() == before


def test_a_choice_can_be_written_down_without_torch() -> None:
    code = (
        "import sys, engine.descriptors.registry as r; r.DescriptorSpec('daisy'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
