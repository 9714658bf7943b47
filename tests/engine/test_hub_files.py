"""Weights of named networks in the caches and folders of this computer.

What lies in a cache is written here by hand, in the hub's documented layout, or by timm itself.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.cli.run import main
from engine.descriptors.compute import get_built
from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.families.hub_files import (
    HubRepo,
    Published,
    folder_weights,
    safe_file_name,
)
from engine.descriptors.families.timm_weights import find_model
from engine.descriptors.registry import (
    build_descriptor,
    list_families,
    make_spec,
    weights_in_use,
)
from engine.errors import ConfigError, DescSpaceError, WeightsError
from engine.extras import EXTRAS
from engine.progress import CHOICES

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("timm") is None,
        reason=f"needs the extra timm: {EXTRAS['timm'][0]}",
    ),
    pytest.mark.usefixtures("not_measured"),
]

MODEL = "test_resnet.r160_in1k"
FINEST = f"timm:{MODEL}@0"
REPO = "timm/test_resnet.r160_in1k"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of the libraries."""
    folder = tmp_path / "huggingface" / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return folder


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level("WARNING", logger=CHOICES)
    return lambda: [one.getMessage() for one in caplog.records if one.name == CHOICES]


def full_model(seed: int = 5, name: str = MODEL, **arguments: Any) -> Any:
    """A model with its head, with random numbers unlike those of an untrained one."""
    from engine.descriptors.families.timm_models import import_timm

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return import_timm().create_model(name, **arguments)


def put_in_cache(cache: Path, name: str, content: bytes, repo: str = REPO) -> Path:
    """A file of a repository, as the hub's own library lays it out."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    pointer = folder / "snapshots" / COMMIT / name
    for one in (blob.parent, pointer.parent, folder / "refs"):
        one.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    (folder / "refs" / "main").write_text(COMMIT)
    return pointer


def safetensors_of(state: Mapping[str, Tensor], folder: Path) -> bytes:
    file = folder / "made.safetensors"
    save_file({name: one.clone() for name, one in state.items()}, file)
    content = file.read_bytes()
    file.unlink()
    return content


def built(name: str, **values: Any) -> BackboneDescriptor:
    made = build_descriptor(make_spec(name, values))
    assert isinstance(made, BackboneDescriptor)
    return made


def stem_of(descriptor: BackboneDescriptor) -> Tensor:
    """The first weights of a model of the architecture above."""
    return next(iter(descriptor.network.parameters())).detach()


def test_weights_in_the_hubs_cache_are_used(hub_cache: Path, tmp_path: Path) -> None:
    state = full_model().state_dict()
    put_in_cache(hub_cache, "model.safetensors", safetensors_of(state, tmp_path))
    found = built(FINEST)
    assert found.trained
    assert found.weights_path is not None
    assert found.weights_path.name == "model.safetensors"
    loaded = found.network.state_dict()
    for name, value in state.items():
        if not name.startswith("fc."):
            torch.testing.assert_close(loaded[f"net.{name}"], value, rtol=0, atol=0)
    assert weights_in_use(f"timm:{MODEL}") == f"{REPO} (cache)"


def test_the_default_weights_of_an_architecture_are_meant_without_a_tag(
    hub_cache: Path, tmp_path: Path
) -> None:
    state = full_model().state_dict()
    put_in_cache(hub_cache, "model.safetensors", safetensors_of(state, tmp_path))
    assert built("timm:test_resnet@0").trained


def test_a_model_without_weights_is_random_and_says_how_to_have_them(
    told: Callable[[], list[str]],
) -> None:
    found = built(FINEST)
    assert not found.trained
    assert found.weights_path is None
    size_mb = sum(4 * one.numel() for one in full_model().state_dict().values()) / 1e6
    [sentence] = told()
    assert sentence == (
        f"No weights of timm:{MODEL} are on this computer: random numbers. "
        f"Open network… or --download fetches about {max(1, round(size_mb))} MB "
        f"from huggingface.co/{REPO}."
    )
    assert weights_in_use(f"timm:{MODEL}") == "random numbers"


def test_a_model_that_nobody_trained_has_no_place_to_load_from() -> None:
    assert find_model("starnet_s100").published is None
    assert find_model("legacy_seresnet18").published == Published(
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
        "seresnet18-4bb0ce65.pth"
    )


def test_a_chosen_file_counts_more_than_the_cache_and_untrained_more_than_both(
    hub_cache: Path, tmp_path: Path, told: Callable[[], list[str]]
) -> None:
    put_in_cache(
        hub_cache, "model.safetensors", safetensors_of(full_model().state_dict(), tmp_path)
    )
    mine = full_model(seed=6).state_dict()
    file = tmp_path / "mine.safetensors"
    save_file(mine, file)
    name = FINEST
    assert torch.equal(stem_of(built(name, weights=str(file))), mine["conv1.0.weight"])
    untrained = built(name, weights=str(file), untrained=True)
    assert not untrained.trained
    assert not torch.equal(stem_of(untrained), mine["conv1.0.weight"])
    assert told() == []


def test_weights_that_arrive_later_make_another_descriptor(hub_cache: Path, tmp_path: Path) -> None:
    spec = make_spec(FINEST)
    before = get_built(spec)
    assert get_built(spec) is before
    stamps = spec.weights_stamps()
    put_in_cache(
        hub_cache, "model.safetensors", safetensors_of(full_model().state_dict(), tmp_path)
    )
    assert not before.trained
    assert get_built(spec).trained
    assert stamps == ()
    assert [Path(one.path).name for one in spec.weights_stamps()] == ["model.safetensors"]


def test_a_network_is_built_once_even_if_its_weights_were_unknown_before(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = safetensors_of(full_model().state_dict(), tmp_path)
    put_in_cache(hub_cache, "model.safetensors", content)
    monkeypatch.setattr("engine.descriptors.families.timm_weights._known", {})
    spec = make_spec(f"timm:{MODEL}@2")
    assert get_built(spec) is get_built(spec)


def test_what_is_not_known_yet_is_answered_at_once_and_not_looked_up(
    hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.descriptors.families.timm_weights._known", {})
    put_in_cache(
        hub_cache, "model.safetensors", safetensors_of(full_model().state_dict(), tmp_path)
    )
    spec = make_spec(FINEST)
    assert spec.weights_stamps() == ()
    assert weights_in_use(spec.name) == ""
    assert len(spec.weights_stamps(load=True)) == 1
    assert len(spec.weights_stamps()) == 1


def test_a_pickled_file_in_the_cache_runs_no_code(hub_cache: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {ran}",)

    put_in_cache(hub_cache, "pytorch_model.bin", pickle.dumps({"conv1.0.weight": Hostile()}))
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin: "):
        built(FINEST)
    assert not ran.exists()


def test_a_half_deleted_cache_counts_as_none(hub_cache: Path) -> None:
    pointer = put_in_cache(hub_cache, "model.safetensors", b"gone")
    pointer.resolve().unlink()
    assert not built(FINEST).trained


def test_weights_of_another_network_are_refused_instead_of_left_out(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"nothing.weight": torch.zeros(3)}, file)
    with pytest.raises(WeightsError, match=r"does not fit this model: \d+ of its \d+ tensors are"):
        built(FINEST, weights=str(file))


def test_weights_that_lack_the_state_of_a_normalisation_are_refused(tmp_path: Path) -> None:
    state = {k: v for k, v in full_model().state_dict().items() if "running_var" not in k}
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match="running_var"):
        built(FINEST, weights=str(tmp_path / "part.safetensors"))


def test_weights_of_a_deeper_network_are_told_to_be_left_out(
    tmp_path: Path, told: Callable[[], list[str]]
) -> None:
    state = {**full_model().state_dict(), "layer4.7.conv1.weight": torch.zeros(2, 2)}
    save_file(state, tmp_path / "deep.safetensors")
    assert built(FINEST, weights=str(tmp_path / "deep.safetensors")).trained
    [sentence] = told()
    assert "layer4.7.conv1.weight" in sentence
    assert "left out" in sentence


# ---- folders and repositories with a config.json -------------------------------------------------


def saved_model(folder: Path, **arguments: Any) -> Any:
    """A folder in timm's own layout, written by timm."""
    from engine.descriptors.families.timm_models import import_timm

    model = full_model(**arguments)
    import_timm().models.save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
    return model


def config_of(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    values = json.loads(file.read_text())
    values.update(changes)
    file.write_text(json.dumps(values))


def test_a_folder_written_by_timm_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    model = saved_model(folder, num_classes=7)
    found = built(f"timm:local-dir:{folder}@2")
    assert found.trained
    assert torch.equal(stem_of(found), model.state_dict()["conv1.0.weight"])
    assert weights_in_use(f"timm:local-dir:{folder}@2") == "mine (folder)"


def test_colours_come_from_the_folders_own_config(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    saved_model(folder)
    facts = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    config_of(folder, pretrained_cfg={**facts, "mean": [0.1, 0.2, 0.3]})
    assert built(f"timm:local-dir:{folder}@2").expects.mean == (0.1, 0.2, 0.3)


def test_arguments_in_a_config_cannot_start_a_download_or_read_another_file(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    saved_model(folder)
    facts = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    config_of(
        folder,
        model_args={"pretrained": True, "checkpoint_path": "/etc/passwd", "cache_dir": "/"},
        pretrained_cfg={**facts, "file": "/etc/passwd", "url": "http://127.0.0.1:9/x.pth"},
    )
    (folder / "model.safetensors").unlink()
    assert not built(f"timm:local-dir:{folder}@2").trained


def test_a_config_cannot_send_timm_to_other_weights(tmp_path: Path) -> None:
    folder, evil = tmp_path / "mine", tmp_path / "evil"
    mine = saved_model(folder)
    facts = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    evil.mkdir()
    save_file(full_model(seed=9).state_dict(), evil / "model.safetensors")
    elsewhere = {"source": "local-dir", "file": str(evil), "custom_load": True}
    config_of(folder, pretrained_cfg={**facts, **elsewhere})
    loaded = stem_of(built(f"timm:local-dir:{folder}@2"))
    assert torch.equal(loaded, mine.state_dict()["conv1.0.weight"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": 5}, "names no architecture"),
        ({"architecture": "resnet_of_nobody"}, "has no 'resnet_of_nobody'"),
        ({"pretrained_cfg": {"mean": [0.1, float("nan"), 0.1]}}, "mean is"),
        ({"pretrained_cfg": {"std": [0, 1, 1]}}, "std is"),
        ({"pretrained_cfg": {"input_size": [3, 10**9, 10]}}, "input_size is"),
        ({"pretrained_cfg": {"hf_hub_filename": "../../other"}}, "names no file"),
        ({"model_args": 3}, "are mappings"),
    ],
)
def test_a_config_that_describes_no_model_is_refused_in_one_sentence(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = tmp_path / "mine"
    saved_model(folder)
    config_of(folder, **change)
    with pytest.raises(DescSpaceError, match=reason) as caught:
        built(f"timm:local-dir:{folder}")
    assert "\n" not in str(caught.value)


def test_folders_without_config_or_with_broken_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is no folder"):
        built(f"timm:local-dir:{tmp_path / 'nowhere'}")
    with pytest.raises(WeightsError, match=r"config\.json: is missing"):
        built(f"timm:local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="does not describe a model of timm"):
        built(f"timm:local-dir:{tmp_path}")


def test_a_repository_in_the_cache_is_opened_by_its_name(hub_cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    model = saved_model(folder)
    for name in ("config.json", "model.safetensors"):
        put_in_cache(hub_cache, name, (folder / name).read_bytes(), repo="someone/net")
    found = built("timm:hf-hub:someone/net@2")
    assert found.trained
    assert torch.equal(stem_of(found), model.state_dict()["conv1.0.weight"])
    assert weights_in_use("timm:hf-hub:someone/net@2") == "someone/net (cache)"


def test_a_repository_that_is_not_there_says_how_to_have_it() -> None:
    with pytest.raises(
        ConfigError, match="Open network… or --download fetches it from huggingface"
    ):
        built("timm:hf-hub:someone/net")
    with pytest.raises(ConfigError, match="names no hub repository"):
        built("timm:hf-hub:../../etc")


def test_names_that_timm_does_not_know_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"knows no weights 'of_nobody' .* r160_in1k"):
        built("timm:test_resnet.of_nobody")
    with pytest.raises(ConfigError, match="has no 'test_resnett'; near: test_resnet"):
        built("timm:test_resnett")


def test_which_file_of_a_folder_is_meant(tmp_path: Path) -> None:
    assert folder_weights(tmp_path) is None
    (tmp_path / "epoch_3.pth").touch()
    assert folder_weights(tmp_path) == tmp_path / "epoch_3.pth"
    (tmp_path / "epoch_4.pth").touch()
    with pytest.raises(WeightsError, match="several weights files"):
        folder_weights(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    (tmp_path / "model.safetensors").touch()
    assert folder_weights(tmp_path) == tmp_path / "model.safetensors"


def test_files_of_an_address_are_found_where_torch_keeps_them(tmp_path: Path) -> None:
    published = Published(url="https://example.org/some/net-0123abcd.pth?x=1")
    assert published.cached() is None
    file = tmp_path / "torch" / "hub" / "checkpoints" / "net-0123abcd.pth"
    file.parent.mkdir(parents=True)
    file.touch()
    assert published.cached() == file
    assert published.title == "net-0123abcd.pth"
    assert Published(url="https://example.org/net.npz").cached() is None


@pytest.mark.parametrize("name", ["", "/x", "../x", "a/../b", "a\\b", "c:x", "a//b", "a\0b", 3])
def test_paths_that_leave_a_repository_are_no_file_names(name: object) -> None:
    with pytest.raises(ValueError, match="names no file"):
        safe_file_name(name)
    assert safe_file_name("onnx/model.bin") == "onnx/model.bin"


@pytest.mark.parametrize("revision", ["../../x", "/etc", "a\\b"])
def test_revisions_that_leave_the_cache_are_refused(revision: str) -> None:
    with pytest.raises(ConfigError, match="names no revision"):
        HubRepo.parse(f"a/b@{revision}")


def test_the_list_of_models_tells_which_are_here(hub_cache: Path) -> None:
    put_in_cache(hub_cache, "model.safetensors", b"x")
    put_in_cache(hub_cache, "README.md", b"y", repo="timm/test_vit.r160_in1k")
    (timm,) = (one for one in list_families() if one.name == "timm")
    states = {one.title: one.weights for one in timm.models()}
    assert states["test_resnet"] == "cached"
    assert states["test_vit"] == "download"
    assert states["starnet_s100"] == "none"


def test_the_list_tells_the_weights_of_a_named_model(
    hub_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_in_cache(
        hub_cache, "model.safetensors", safetensors_of(full_model().state_dict(), tmp_path)
    )
    assert main(["descriptors", f"timm:{MODEL}"], open_window=lambda _options: 1) == 0
    assert f"default {REPO} (cache)" in " ".join(capsys.readouterr().out.split())
    assert main(["descriptors"], open_window=lambda _options: 1) == 0
    assert "timm:MODEL" in capsys.readouterr().out
