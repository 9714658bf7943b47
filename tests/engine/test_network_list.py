"""The list of all networks: what families tell, and what is said where a library is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from engine.descriptors import network_list
from engine.descriptors.known_models import (
    KnownModel,
    ModelSize,
    read_sizes,
    sizes_text,
    timm_sizes_file,
)
from engine.descriptors.network_list import NetworkList, list_networks
from engine.descriptors.registry import FamilyEntry
from engine.errors import ConfigError, JobCancelled


def family(name, models, *, opens=(), extra=""):
    return FamilyEntry(name, name.title(), "", object, None, None, models, opens, extra)


@pytest.fixture
def families(monkeypatch):
    def use(*entries):
        monkeypatch.setattr(network_list, "list_families", lambda: entries)

    return use


def lacking():
    try:
        import no_such_library_at_all
    except ModuleNotFoundError as error:
        raise ConfigError(
            "descriptor", "this needs x, which is not installed: run make it"
        ) from error
    return no_such_library_at_all


def broken():
    raise ConfigError("descriptor", "y does not load (bad); main.py doctor may know why")


def test_a_family_whose_library_is_missing_hides_no_other(families):
    model = KnownModel("one:m", "m")
    families(
        family("one", lambda: [model], opens=(".one",)),
        family("two", lacking, extra="timm"),
        family("three", broken, extra="timm"),
    )
    found = list_networks()
    assert found.models == (model,)
    assert found.opens == ((".one", "one"),)
    two, three = found.missing
    assert two.reason == "Two: this needs x, which is not installed."
    assert "timm" in two.command
    assert three.reason == "Three: y does not load (bad); main.py doctor may know why."
    assert three.command == ""


def test_the_list_can_be_stopped_between_families(families):
    asked = []
    families(family("one", lambda: asked.append(1) or ()), family("two", lambda: asked.append(2)))

    def check():
        if asked:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        list_networks(check)
    assert asked == [1]


def test_files_and_folders_have_the_name_of_the_family_that_opens_them(tmp_path):
    found = NetworkList(opens=((".onnx", "onnx"), ("/", "hf")))
    assert found.name_of(Path("/a/b.onnx")) == f"onnx:{Path('/a/b.onnx')}"
    assert found.name_of(tmp_path) == f"hf:{tmp_path}"
    with pytest.raises(ConfigError, match=r"c\.txt is no network.*\.onnx"):
        found.name_of(Path("/a/c.txt"))


def test_a_table_of_sizes_is_read_as_it_was_written(tmp_path):
    sizes = {"b": ModelSize(5, None), "a": ModelSize(1_000_000_000, 14.0)}
    file = tmp_path / "sizes.csv"
    file.write_text(sizes_text(sizes), encoding="utf-8")
    assert read_sizes(file) == sizes
    assert file.read_text(encoding="utf-8").splitlines()[1] == "a,1000000000,14"
    assert read_sizes(tmp_path / "none.csv") == {}


def test_timm_lists_its_architectures_with_their_sizes():
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    import torch

    from engine.descriptors.families.timm_models import import_timm

    timm = import_timm()

    models = {model.name: model for model in list_networks().models if model.family == "timm"}
    assert len(models) == len(timm.list_models())
    for name in ("resnet18", "test_vit"):
        with torch.device("meta"):
            net = timm.create_model(name, num_classes=0)
        known = models[f"timm:{name}"]
        assert known.parameters == sum(one.numel() for one in net.parameters())
        assert known.stride_px == net.feature_info[-1]["reduction"]
    assert models["timm:resnet18"].weights == "download"
    assert models["timm:test_vit4"].weights == "none"


def test_the_shipped_table_has_a_size_for_every_model():
    sizes = read_sizes(timm_sizes_file())
    assert len(sizes) == 1371
    assert all(size.parameters > 0 for size in sizes.values())
