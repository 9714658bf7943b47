"""Weights files: matching ones are loaded, and errors are reported in a sentence."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.checkpoints import load_into, load_state, save_safetensors
from engine.errors import OutputError, WeightsError


def small_state() -> dict[str, Tensor]:
    return {
        "layer.weight": torch.arange(6.0).reshape(2, 3),
        "layer.bias": torch.tensor([0.5, -1.0]),
    }


class Calls:
    """Pickles to a call of ``os.mkdir``: what a hostile file would do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("name", ["weights.safetensors", "gewichte-größe 权重.bin"])
def test_saved_weights_come_back_with_their_metadata(tmp_path: Path, name: str) -> None:
    """Files are recognised by content, so an unusual suffix does no harm."""
    path = tmp_path / name
    save_safetensors(path, small_state(), {"made by": "größe"})
    state, metadata = load_state(path)
    assert_equal(state, small_state())
    assert metadata == {"made by": "größe"}
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: OrderedDict(state),
        lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    ],
    ids=["plain", "ordered", "checkpoint", "nested", "parallel"],
)
@pytest.mark.parametrize("as_zip", [True, False])
def test_files_of_torch_are_read_however_they_are_wrapped(
    tmp_path: Path, wrap: object, as_zip: bool
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrap(small_state()), path, _use_new_zipfile_serialization=as_zip)  # type: ignore[operator]
    state, metadata = load_state(path)
    assert_equal(state, small_state())
    assert metadata == {}


def test_shared_and_transposed_tensors_are_saved_as_they_look(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    state = {"a": shared, "b": shared, "c": shared.T}
    save_safetensors(tmp_path / "w.safetensors", state, {})
    assert_equal(load_state(tmp_path / "w.safetensors")[0], state)


def test_a_failed_save_leaves_the_older_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors(path, small_state(), {})
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_safetensors(path, {"a": torch.zeros(3)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_saving_into_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder does not exist"):
        save_safetensors(tmp_path / "none" / "w.safetensors", small_state(), {})


def test_missing_files_folders_and_empty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load_state(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="is a folder"):
        load_state(tmp_path)
    (tmp_path / "empty.pth").touch()
    with pytest.raises(WeightsError, match="is empty"):
        load_state(tmp_path / "empty.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, name: str, keep: float) -> None:
    path = tmp_path / name
    state = {"a": torch.randn(200, generator=torch.Generator().manual_seed(0))}
    if name.endswith(".pth"):
        torch.save(state, path)
    else:
        save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(WeightsError, match=name):
        load_state(path)


@pytest.mark.parametrize(
    "content", [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(64), bytes(300), b"PK\x03\x04" + bytes(99)]
)
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_files_of_another_kind_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"damaged"):
        load_state(tmp_path / name)


@pytest.mark.parametrize("by_torch", [True, False])
def test_code_in_a_file_is_refused_and_never_runs(tmp_path: Path, by_torch: bool) -> None:
    trap = tmp_path / "trap"
    path = tmp_path / "w.pth"
    if by_torch:
        torch.save({"a": torch.zeros(2), "b": Calls(trap)}, path)
    else:
        path.write_bytes(pickle.dumps({"b": Calls(trap)}))
    with pytest.raises(WeightsError, match=r"program code|damaged"):
        load_state(path)
    assert not trap.exists()


def test_a_whole_pickled_network_says_what_to_save_instead(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"program code .* state_dict\(\)"):
        load_state(tmp_path / "w.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_numbers_that_are_not_finite_are_refused_by_layer(
    tmp_path: Path, name: str, value: float
) -> None:
    state = {"good": torch.zeros(2), "bad.weight": torch.tensor([1.0, value])}
    path = tmp_path / name
    torch.save(state, path) if name.endswith(".pth") else save_file(state, path)
    with pytest.raises(WeightsError, match=r"not finite in bad\.weight"):
        load_state(path)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"lr": 0.1}, {}])
def test_files_without_named_tensors_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="named tensors"):
        load_state(tmp_path / "w.pth")


def test_limits_refuse_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors(path, small_state(), {})
    with pytest.raises(WeightsError, match="more than"):
        load_state(path, max_bytes=10)
    with pytest.raises(WeightsError, match="2 tensors"):
        load_state(path, max_tensors=1)


def test_weights_that_fit_are_loaded_and_ignored_ones_left_out() -> None:
    network = nn.Sequential(OrderedDict(layer=nn.Linear(3, 2)))
    state = {**small_state(), "head.weight": torch.zeros(9)}
    load_into(network, state, path=Path("w"), ignore_prefixes=("head.",))
    assert_equal(dict(network.state_dict()), small_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer.bias": None}, "layer.bias is missing"),
        ({"extra": torch.zeros(1)}, "extra is unknown"),
        ({"layer.weight": torch.zeros(3, 2)}, "layer.weight has shape 3×2 instead of 2×3"),
    ],
)
def test_weights_of_another_architecture_change_nothing_and_name_the_layer(
    change: dict[str, Tensor | None], message: str
) -> None:
    network = nn.Sequential(OrderedDict(layer=nn.Linear(3, 2)))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = {
        name: tensor for name, tensor in {**small_state(), **change}.items() if tensor is not None
    }
    with pytest.raises(WeightsError, match=message):
        load_into(network, state, path=Path("w.pth"))
    assert_equal(dict(network.state_dict()), before)


def test_only_the_first_of_many_mismatches_are_listed() -> None:
    state = {f"layer{index}": torch.zeros(1) for index in range(50)}
    with pytest.raises(WeightsError, match=r"layer\.weight is missing; .*; and 49 more\."):
        load_into(nn.Sequential(OrderedDict(layer=nn.Linear(3, 2))), state, path=Path("w.pth"))
