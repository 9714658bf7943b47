"""Weights files: matching ones are loaded, and errors are reported in a sentence."""

from __future__ import annotations

import argparse
import datetime
import os
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.checkpoints import load_into, load_state, read_torch, save_safetensors
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


@pytest.mark.parametrize("content", [b"hello", bytes(300), b"PK\x03\x04" + bytes(99)])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_files_of_no_known_kind_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=r"damaged"):
        load_state(tmp_path / name)


def torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(nn.Linear(2, 2)).save(str(path))


def numpy_archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, weight=np.zeros(3))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is a PNG picture, not a file of weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file"),
        (b"GGUF" + bytes(64), "is a GGUF file"),
        (b"\x1f\x8b\x08" + bytes(64), "compressed by gzip; unpack it first"),
        (torchscript, r"is a TorchScript program, whose code is not run; save .* state_dict\(\)"),
        (numpy_archive, r"is a NumPy archive \(\.npz\)"),
    ],
)
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_files_of_another_kind_are_called_what_they_are(
    tmp_path: Path, name: str, content: bytes | Callable[[Path], None], kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    with pytest.raises(WeightsError, match=kind) as caught:
        load_state(path)
    assert "damaged" not in caught.value.reason


def test_a_file_is_read_by_its_content_whatever_its_ending(tmp_path: Path) -> None:
    torch.save(small_state(), tmp_path / "w.safetensors")
    save_file(small_state(), tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        assert_equal(load_state(tmp_path / name)[0], small_state())


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


# ---- however they are wrapped


def linear() -> nn.Module:
    """The network that :func:`small_state` fits."""
    return nn.Sequential(OrderedDict(layer=nn.Linear(3, 2)))


def save_as(path: Path, state: Any) -> Path:
    torch.save(state, path) if path.suffix == ".pth" else save_file(state, path)
    return path


def loaded(path: Path, network: nn.Module | None = None) -> tuple[dict[str, Tensor], list[str]]:
    """What a network holds after loading, and what was said on the way."""
    network = network or linear()
    said: list[str] = []
    load_into(network, load_state(path, tell=said.append)[0], path=path, tell=said.append)
    return dict(network.state_dict()), said


PREFIXES = [
    *("module.", "_orig_mod.", "model.", "extractor.", "net.", "backbone.", "superpoint."),
    *("module._orig_mod.", "_orig_mod.module.", "model.module.", "model._orig_mod.net."),
    *("module.model.backbone.", "_fsdp_wrapped_module.model.", "a.b.c.d."),
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_prefix_that_all_tensors_share_does_no_harm(
    tmp_path: Path, prefix: str, ending: str
) -> None:
    state = {prefix + name: tensor for name, tensor in small_state().items()}
    found, said = loaded(save_as(tmp_path / f"w{ending}", state))
    assert_equal(found, small_state())
    assert said == []


@pytest.mark.parametrize("word", ["module", "_orig_mod"])
def test_wrappers_inside_a_name_do_no_harm_on_either_side(tmp_path: Path, word: str) -> None:
    inside = {f"layer.{word}.weight": small_state()["layer.weight"]}
    inside[f"layer.{word}.bias"] = small_state()["layer.bias"]
    found, _ = loaded(save_as(tmp_path / "w.pth", inside))
    assert_equal(found, small_state())
    wrapped = nn.Sequential(OrderedDict(layer=nn.Sequential(OrderedDict({word: nn.Linear(3, 2)}))))
    found, _ = loaded(save_as(tmp_path / "v.pth", small_state()), wrapped)
    assert_equal(found, inside)


def test_a_network_whose_own_names_begin_with_such_a_word_is_left_alone(tmp_path: Path) -> None:
    for word in ("module", "model", "backbone"):
        network = nn.Sequential(OrderedDict({word: nn.Linear(3, 2)}))
        expected = {name: torch.full_like(t, 2.0) for name, t in network.state_dict().items()}
        found, _ = loaded(save_as(tmp_path / f"{word}.pth", expected), network)
        assert_equal(found, expected)


KEYS = ["state_dict", "model", "model_state_dict", "net", "params", "ema", "params_ema", "mine"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("prefix", ["", "module.", "model.net."])
def test_weights_are_found_under_the_keys_of_training_scripts(
    tmp_path: Path, key: str, prefix: str
) -> None:
    state = {prefix + name: tensor for name, tensor in small_state().items()}
    beside = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2, 3)}}}}
    found, said = loaded(save_as(tmp_path / "w.pth", {**beside, key: state}))
    assert_equal(found, small_state())
    assert said == []


def test_keys_may_be_nested_and_an_average_counts_its_steps(tmp_path: Path) -> None:
    ema = {"ema": {"module": small_state(), "updates": 7}}
    assert_equal(loaded(save_as(tmp_path / "a.pth", ema))[0], small_state())
    average = {
        "n_averaged": torch.tensor(7),
        **{f"module.{n}": t for n, t in small_state().items()},
    }
    assert_equal(loaded(save_as(tmp_path / "b.pth", average))[0], small_state())
    parts = {"model": {"layer": {"weight": small_state()["layer.weight"]}}}
    parts["model"]["layer"]["bias"] = small_state()["layer.bias"]
    assert_equal(loaded(save_as(tmp_path / "c.pth", parts))[0], small_state())


def test_a_mapping_that_holds_itself_ends(tmp_path: Path) -> None:
    whole: dict[str, Any] = {"state_dict": {}, "epoch": 3}
    whole["state_dict"]["whole"] = whole
    with pytest.raises(WeightsError, match="named tensors"):
        load_state(save_as(tmp_path / "w.pth", whole))


def doubled() -> dict[str, Tensor]:
    return {name: 2 * tensor for name, tensor in small_state().items()}


def test_of_two_sets_of_weights_the_one_taken_is_said(tmp_path: Path) -> None:
    path = save_as(tmp_path / "w.pth", {"ema": doubled(), "state_dict": small_state()})
    found, said = loaded(path)
    assert_equal(found, small_state())
    assert said == [f"{path}: its weights under state_dict are used, not those under ema."]
    both = {f"student.{n}": t for n, t in small_state().items()}
    both |= {f"teacher.{n}": t for n, t in doubled().items()}
    for name, state in (("a.pth", both), ("b.safetensors", both)):
        found, said = loaded(save_as(tmp_path / name, state))
        assert_equal(found, small_state())
        assert said == [
            (
                f"{tmp_path / name}: holds weights that fit under student. and teacher.; "
                "student. is used."
            )
        ]


def test_tensors_beside_a_network_are_left_out_with_a_word(tmp_path: Path) -> None:
    state = {f"net.{n}": t for n, t in small_state().items()} | {"loss.weight": torch.ones(4)}
    found, said = loaded(save_as(tmp_path / "w.pth", {"state_dict": state}))
    assert_equal(found, small_state())
    assert said == [
        f"{tmp_path / 'w.pth'}: the tensors under net. are used and others left out (loss.weight)."
    ]


def test_a_prefix_does_not_excuse_a_tensor_that_does_not_fit(tmp_path: Path) -> None:
    state = {f"net.{n}": t for n, t in small_state().items()}
    for change, message in (
        ({"net.more": torch.ones(1)}, "more is unknown"),
        ({"net.layer.bias": torch.ones(3)}, "layer.bias has shape 3 instead of 2"),
    ):
        with pytest.raises(WeightsError, match=message):
            loaded(save_as(tmp_path / "w.pth", {**state, **change}))
    more = {f"ema.{n}": t for n, t in doubled().items()}
    path = save_as(tmp_path / "w.pth", {**small_state(), **more})
    with pytest.raises(WeightsError, match=r"ema\.layer\.bias is unknown"):
        loaded(path)


def test_the_layers_to_ignore_stand_behind_the_prefix(tmp_path: Path) -> None:
    state = {f"module.net.{n}": t for n, t in small_state().items()}
    state["module.net.head.weight"] = torch.zeros(9)
    path, network = save_as(tmp_path / "w.pth", state), linear()
    load_into(network, load_state(path)[0], path=path, ignore_prefixes=("head.",))
    assert_equal(dict(network.state_dict()), small_state())


def test_files_from_before_step_counts_fit_batch_normalisation(tmp_path: Path) -> None:
    network = nn.Sequential(nn.BatchNorm2d(3))
    old = {n: t + 1 for n, t in network.state_dict().items() if "tracked" not in n}
    found, said = loaded(save_as(tmp_path / "w.pth", old), network)
    assert said == []
    assert int(found.pop("0.num_batches_tracked")) == 0
    assert_equal(found, old)


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.75),
        np.float32(0.75),
        np.int64(3),
        np.bool_(True),
        np.arange(3.0),
        {"best": np.float64(0.75), "history": [np.float64(0.1)]},
        argparse.Namespace(lr=0.1, out=Path("runs")),
        datetime.datetime(2024, 1, 1),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("as_zip", [True, False])
def test_figures_and_options_beside_the_weights_do_no_harm(
    tmp_path: Path, value: object, as_zip: bool
) -> None:
    path = tmp_path / "w.pth"
    whole = {"best": value, "state_dict": small_state(), "args": value}
    torch.save(whole, path, _use_new_zipfile_serialization=as_zip)
    found, said = loaded(path)
    assert_equal(found, small_state())
    assert said == []


def test_a_scalar_of_numpy_1_is_read_too(tmp_path: Path) -> None:
    torch.save(
        {"best": np.float64(1), **small_state()}, tmp_path / "w.pth",
        _use_new_zipfile_serialization=False,
    )  # fmt: skip
    content = (tmp_path / "w.pth").read_bytes()
    assert b"numpy._core.multiarray" in content
    (tmp_path / "w.pth").write_bytes(content.replace(b"numpy._core.", b"numpy.core."))
    assert_equal(loaded(tmp_path / "w.pth")[0], small_state())


def test_what_stands_for_harmless_objects_runs_nothing_of_theirs(tmp_path: Path) -> None:
    """The names are read, the code behind them is not called: not even a path is made."""
    path = tmp_path / "w.pth"
    torch.save({"args": argparse.Namespace(a=1), **small_state()}, path)
    beside = read_torch(path, WeightsError)["args"]
    assert type(beside).__module__ == "engine.checkpoints"
    assert vars(beside) == {}
    with pytest.raises(pickle.UnpicklingError):  # nothing stays allowed for others
        torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    "kind", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e8m0fnu"]
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_float8_is_refused_in_a_sentence(tmp_path: Path, kind: str, ending: str) -> None:
    tensor = torch.ones(2, 3).to(getattr(torch, kind))
    path = save_as(tmp_path / f"w{ending}", {**small_state(), "layer.weight": tensor})
    with pytest.raises(WeightsError, match=rf"holds {kind} numbers in layer\.weight, .* float16"):
        load_state(path)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.eye(3).to_sparse(), "a sparse tensor"),
        (torch.ones(2, 3, device="meta"), "no numbers in layer.weight, only its size"),
        (torch.ones(2, 3, dtype=torch.complex64), "complex numbers"),
        (torch.ones(2, 3, dtype=torch.int8), "holds int8 instead of real numbers"),
    ],
)
def test_other_numbers_than_real_ones_are_refused_too(
    tmp_path: Path, tensor: Tensor, message: str
) -> None:
    path = save_as(tmp_path / "w.pth", {**small_state(), "layer.weight": tensor})
    with pytest.raises(WeightsError, match=message):
        loaded(path)
