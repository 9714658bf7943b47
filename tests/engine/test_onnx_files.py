"""Networks in ONNX files: the same numbers as torch, cells where they belong, clear refusals."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from engine.descriptors.compute import get_built
from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.families.file_networks import free_outputs
from engine.descriptors.families.onnx_graph import read_onnx_graph
from engine.descriptors.held_state import state_sha256
from engine.descriptors.model_names import parse_model_name
from engine.descriptors.registry import build_descriptor, list_families, make_spec, weights_in_use
from engine.errors import (
    ConfigError,
    DescSpaceError,
    JobCancelled,
    ResultError,
    WeightsError,
)
from engine.evaluation.result import EvaluationResult
from engine.geometry.coords import CellGrid
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig
from engine.progress import CHOICES, CancelToken, JobContext
from engine.weight_titles import WEIGHTS_IN_FILE

Shape = Sequence[int | str]
ANY: Shape = ("batch", 3, "height", "width")
SIZE = (3, 64, 96)
FIXED: Shape = (1, *SIZE)


def write_onnx(
    path: Path,
    nodes: Sequence[Any],
    outputs: Sequence[str],
    weights: Mapping[str, NDArray[Any]],
    *,
    shape: Shape = ANY,
    dtype: int = TensorProto.FLOAT,
    inputs: Sequence[str] = ("image",),
    output_dtype: int = TensorProto.FLOAT,
    **save: Any,
) -> Path:
    """Write a network."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, dtype, shape) for name in inputs],
        [helper.make_tensor_value_info(name, output_dtype, None) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path, **save)
    return path


def weights_of(net: nn.Sequential) -> dict[str, NDArray[Any]]:
    """The weights of a network's convolutions by the names that :func:`conv` uses."""
    found = {}
    for number, layer in enumerate(one for one in net if isinstance(one, nn.Conv2d)):
        found[f"w{number}"] = layer.weight.detach().numpy()
        assert layer.bias is not None
        found[f"b{number}"] = layer.bias.detach().numpy()
    return found


def conv(number: int, source: str, name: str, *, stride: int = 2, pad: int = 1) -> Any:
    """A convolution by the weights of this number."""
    inputs = [source, f"w{number}", f"b{number}"]
    steps = [stride, stride]
    return helper.make_node("Conv", inputs, [name], strides=steps, pads=[pad] * 4)


def node(operation: str, *inputs: str, to: str, **attributes: Any) -> Any:
    """Any other node."""
    return helper.make_node(operation, inputs, [to], **attributes)


def constants(**values: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Whole numbers that nodes take as inputs."""
    return {name: np.array(one, dtype=np.int64) for name, one in values.items()}


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(-1, 1, 1)


def two_layers() -> nn.Sequential:
    """Stride 4; cell 0 is centred on pixel 0: two layers of kernel 3, stride 2, padding 1."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1)).eval()


NODES = [conv(0, "image", "early"), node("Relu", "early", to="r"), conv(1, "r", "late")]


def plain(path: Path, **changes: Any) -> Path:
    return write_onnx(path, NODES, ["early", "late"], weights_of(two_layers()), **changes)


def build(path: Path | str, **settings: Any) -> BackboneDescriptor:
    built = build_descriptor(make_spec(f"onnx:{path}", settings))
    assert isinstance(built, BackboneDescriptor)
    return built


def images(height: int = 64, width: int = 96, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(5))


def by_torch(inputs: torch.Tensor, net: nn.Module | None = None) -> torch.Tensor:
    with torch.inference_mode():
        values: torch.Tensor = (net or two_layers())(inputs)
    return values / values.norm(dim=1, keepdim=True)


def test_a_network_gives_the_numbers_that_torch_gives(tmp_path: Path) -> None:
    descriptor = build(plain(tmp_path / "a.onnx"))
    (level,) = descriptor.describe(images(count=2))
    expected = by_torch((images(count=2) - MEAN) / STD)
    torch.testing.assert_close(level.values, expected, atol=1e-5, rtol=1e-4)
    assert level.grid == CellGrid(4.0, 0.0)
    assert descriptor.network.fixed_size_px is None
    assert (descriptor.network.multiple_px, descriptor.dim, descriptor.trained) == (4, 16, True)


def test_cells_lie_where_the_layers_place_them_whatever_the_weights(tmp_path: Path) -> None:
    # Kernel 4, stride 4, no padding: cell 0 covers pixels 0 to 3.  All weight on the first column.
    kernel = np.zeros((4, 3, 4, 4), np.float32)
    kernel[:, :, :, 0] = np.random.default_rng(0).standard_normal((4, 3, 4))
    weights = {"w0": kernel, "b0": np.zeros(4, np.float32)}
    file = write_onnx(
        tmp_path / "p.onnx", [conv(0, "image", "out", stride=4, pad=0)], ["out"], weights
    )
    assert build(file).grid == CellGrid(4.0, 1.5)


def test_any_output_is_a_layer_by_name_or_number(tmp_path: Path) -> None:
    file = plain(tmp_path / "a.onnx")
    early = build(f"{file}@early")
    assert (early.dim, early.grid) == (8, CellGrid(2.0, 0.0))
    expected = by_torch((images() - MEAN) / STD, two_layers()[0])
    torch.testing.assert_close(early.describe(images())[0].values, expected, atol=1e-5, rtol=1e-4)
    assert build(f"{file}@0").dim == 8
    assert build(f"{file}@0,late").dim == 24
    with pytest.raises(ConfigError, match="no layer 'middle': there are 0 to 1"):
        build(f"{file}@middle")


def test_what_the_file_leaves_open_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = plain(tmp_path / "a.onnx")
    with caplog.at_level(logging.WARNING, CHOICES):
        build(file)
    assert len(caplog.messages) == 2
    assert "does not say which colours it expects; those of ImageNet are taken" in caplog.text
    assert "has 2 maps; the last one, late, is taken" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, CHOICES):
        build(f"{file}@late", values="imagenet")
    assert not caplog.messages


def test_a_fixed_size_is_filled_and_cells_are_placed_in_the_image(tmp_path: Path) -> None:
    descriptor = build(plain(tmp_path / "f.onnx", shape=(1, 3, 64, 96)))
    assert descriptor.network.fixed_size_px == (96, 64)
    assert descriptor.grid == CellGrid(4.0, 0.0)
    same = descriptor.describe(images(count=2))[0]  # batches of one are joined
    expected = by_torch((images(count=2) - MEAN) / STD)
    torch.testing.assert_close(same.values, expected, atol=1e-5, rtol=1e-4)
    smaller = descriptor.describe(images(128, 192))[0]
    assert smaller.grid == CellGrid(8.0, 0.5)
    assert smaller.values.shape == (1, 16, 16, 24)


def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    descriptor = build(plain(tmp_path / "b.onnx", shape=(4, *SIZE)))
    level = descriptor.describe(images(count=6))[0]
    expected = by_torch((images(count=6) - MEAN) / STD)
    torch.testing.assert_close(level.values, expected, atol=1e-5, rtol=1e-4)


CHANNELS_LAST = [
    node("Transpose", "image", to="t", perm=[0, 3, 1, 2]),
    conv(0, "t", "early"),
    node("Relu", "early", to="r"),
    conv(1, "r", "c"),
    node("Transpose", "c", to="late", perm=[0, 2, 3, 1]),
]


@pytest.mark.parametrize("shape", [("b", "h", "w", 3), (1, 64, 96, 3), ("b", "h", "w", "c")])
def test_channels_may_come_last(tmp_path: Path, shape: tuple[int | str, ...]) -> None:
    weights = weights_of(two_layers())
    file = write_onnx(tmp_path / "n.onnx", CHANNELS_LAST, ["late"], weights, shape=shape)
    level = build(file).describe(images())[0]
    expected = by_torch((images() - MEAN) / STD)
    torch.testing.assert_close(level.values, expected, atol=1e-5, rtol=1e-4)
    assert level.grid == CellGrid(4.0, 0.0)


def test_an_input_of_two_possible_layouts_is_told_and_can_be_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [node("Identity", "image", to="t"), conv(0, "t", "late", stride=1)]
    weights = weights_of(two_layers())
    file = write_onnx(tmp_path / "m.onnx", nodes, ["late"], weights, shape=("b", 3, "h", 3))
    # That its cells cannot be placed, in three columns, is found out after this.
    unplaced = pytest.raises(DescSpaceError, match="have no place that could be measured")
    with caplog.at_level(logging.WARNING, CHOICES), unplaced:
        build(file, values="none")
    (told,) = caplog.messages
    assert "(any, 3, any, 3) and is taken as NCHW; the setting layout says otherwise" in told
    with caplog.at_level(logging.WARNING, CHOICES), unplaced:
        build(file, values="none", layout="NCHW")
    assert caplog.messages == [told]
    with pytest.raises(ConfigError, match="as NHWC it does not take 3 colours"):
        build(plain(tmp_path / "a.onnx"), layout="NHWC")


def test_an_image_of_sides_that_the_network_demands_is_padded(
    tmp_path: Path, not_measured: None
) -> None:
    """Down by 4, up by 4 and added to the image: only multiples of 4 run."""
    weights = weights_of(two_layers()) | {"s": np.array([1, 1, 4, 4], np.float32)}
    kernel = np.random.default_rng(1).standard_normal((16, 3, 1, 1)).astype(np.float32)
    weights |= {"w2": kernel, "b2": np.zeros(16, np.float32)}
    nodes = [
        *NODES,
        node("Resize", "late", "", "s", to="up", mode="nearest"),
        conv(2, "image", "flat", stride=1, pad=0),
        node("Add", "up", "flat", to="sum"),
    ]
    descriptor = build(write_onnx(tmp_path / "u.onnx", nodes, ["sum"], weights))
    assert descriptor.network.multiple_px == 4
    level = descriptor.describe(images(61, 93))[0]
    assert level.values.shape == (1, 16, 61, 93)
    assert level.grid.stride_px == 1.0


def tokens(prefix: int) -> tuple[list[Any], dict[str, Any]]:
    """Patches of 8 px as tokens, behind others."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        patches = nn.Sequential(nn.Conv2d(3, 12, 8, 8))
    nodes = [
        conv(0, "image", "patches", stride=8, pad=0),
        node("Reshape", "patches", "flat", to="rows"),
        node("Transpose", "rows", to="behind", perm=[0, 2, 1]),
        node("Shape", "image", to="batch", start=0, end=1),
        node("Concat", "batch", "rest", to="count", axis=0),
        node("Expand", "first", "count", to="others"),
        node("Concat", "others", "behind", to="tokens", axis=1),
    ]
    weights = weights_of(patches) | constants(flat=[0, 12, -1], rest=[prefix, 12])
    return nodes, weights | {"first": np.ones((1, prefix, 12), np.float32)}


@pytest.mark.parametrize("prefix", [1, 5])
@pytest.mark.parametrize("shape", [ANY, (1, 3, 112, 112)])
def test_tokens_become_a_map_without_those_before_them(
    tmp_path: Path, prefix: int, shape: Any
) -> None:
    nodes, weights = tokens(prefix)
    file = write_onnx(tmp_path / "t.onnx", nodes, ["tokens"], weights, shape=shape)
    descriptor = build(file, values="none")
    assert (descriptor.grid, descriptor.network.multiple_px) == (CellGrid(8.0, 3.5), 8)
    level = descriptor.describe(images(112, 112))[0]
    net = nn.Conv2d(3, 12, 8, 8)
    net.load_state_dict(
        {"weight": torch.from_numpy(weights["w0"]), "bias": torch.from_numpy(weights["b0"])}
    )
    torch.testing.assert_close(level.values, by_torch(images(112, 112), net), atol=1e-5, rtol=1e-4)


def test_tokens_that_fit_two_grids_ask_for_a_setting(tmp_path: Path) -> None:
    nodes, weights = tokens(12)  # 24 × 24 px: 9 tokens behind 12, or 16 behind 5
    file = write_onnx(tmp_path / "t.onnx", nodes, ["tokens"], weights, shape=(1, 3, 24, 24))
    with pytest.raises(ConfigError, match=r"21 tokens .* 3 × 3 behind 12.*set prefix_tokens"):
        build(file)
    grid = build(file, prefix_tokens=12).grid
    assert (grid.stride_px, grid.offset_px) == (8.0, pytest.approx(3.5, abs=0.1))
    with pytest.raises(DescSpaceError, match="none of its outputs is a map"):
        build(file, prefix_tokens=2)


@pytest.mark.parametrize(
    ("settings", "scaled"),
    [
        ({"values": "none"}, lambda x: x),
        ({"values": "half"}, lambda x: 2 * x - 1),
        ({"values": "0-255"}, lambda x: 255 * x),
        ({"values": "0-255", "mean": "1,2,3"}, lambda x: 255 * x - column(1, 2, 3)),
        (
            {"mean": "0.1,0.2,0.3", "std": "0.5,1,2"},
            lambda x: (x - column(0.1, 0.2, 0.3)) / column(0.5, 1, 2),
        ),
        ({"values": "none", "channels": "BGR"}, lambda x: x.flip(1)),
        ({"channels": "BGR"}, lambda x: ((x - MEAN) / STD).flip(1)),
    ],
)
def test_colours_are_as_the_settings_say(
    tmp_path: Path, settings: dict[str, str], scaled: Any
) -> None:
    level = build(plain(tmp_path / "a.onnx"), **settings).describe(images())[0]
    torch.testing.assert_close(level.values, by_torch(scaled(images())), atol=1e-5, rtol=1e-4)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1)


def test_a_network_of_bytes_gets_bytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nodes = [helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT)]
    nodes += [conv(0, "x", "early"), node("Relu", "early", to="r"), conv(1, "r", "late")]
    weights = weights_of(two_layers())
    file = write_onnx(
        tmp_path / "b.onnx", nodes, ["late"], weights, shape=FIXED, dtype=TensorProto.UINT8
    )
    with caplog.at_level(logging.WARNING, CHOICES):
        descriptor = build(file)
    assert not caplog.messages
    level = descriptor.describe(images())[0]
    expected = by_torch((255 * images()).round())
    torch.testing.assert_close(level.values, expected, atol=1e-5, rtol=1e-4)
    assert level.grid == CellGrid(4.0, 0.0)
    with pytest.raises(ConfigError, match="whole numbers, which can only be 0-255"):
        build(file, values="clip")


def test_a_network_of_half_precision_computes_in_it(tmp_path: Path) -> None:
    weights = {name: one.astype(np.float16) for name, one in weights_of(two_layers()).items()}
    file = write_onnx(
        tmp_path / "h.onnx",
        NODES,
        ["late"],
        weights,
        shape=FIXED,
        dtype=TensorProto.FLOAT16,
        output_dtype=TensorProto.FLOAT16,
    )
    level = build(file).describe(images())[0]
    assert level.values.dtype == torch.float32
    expected = by_torch((images() - MEAN) / STD)
    torch.testing.assert_close(level.values, expected, atol=5e-3, rtol=0)


def test_files_that_are_no_network_are_refused_in_a_sentence(tmp_path: Path) -> None:
    whole = plain(tmp_path / "a.onnx").read_bytes()
    for name, content, words in [
        ("empty.onnx", b"", "is empty"),
        ("cut.onnx", whole[: len(whole) // 2], "is damaged or no ONNX network"),
        ("noise.onnx", bytes(range(256)) * 4, "is damaged"),
        ("text.onnx", b"a letter to nobody\n", "is damaged"),
        ("photo.onnx", b"\x89PNG\r\n\x1a\n" + bytes(64), "is a PNG picture, not an ONNX network"),
    ]:
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=words):
            build(file)
    with pytest.raises(WeightsError, match=r"nowhere\.onnx: there is no such file"):
        build(tmp_path / "nowhere.onnx")
    with pytest.raises(WeightsError, match="is a folder, not a file"):
        build(tmp_path)


def test_networks_that_take_no_image_or_give_no_map_are_refused(tmp_path: Path) -> None:
    weights = weights_of(two_layers())
    grey = {**weights, "w0": weights["w0"][:, :1]}
    pooled = [*NODES, node("GlobalAveragePool", "late", to="pooled")]
    both = [node("Add", "image", "other", to="sum"), conv(0, "sum", "late")]
    for nodes, outputs, given, changes, words in [
        (NODES, ["late"], grey, {"shape": ("b", 1, "h", "w")}, "takes no colour images: .*any, 1"),
        (NODES, ["late"], weights, {"shape": ("b", 5, "h", 7)}, "takes no colour images"),
        (NODES, ["late"], grey, {"shape": ("b", "c", "h", "w")}, "gives nothing for an image"),
        (pooled, ["pooled"], weights, {}, r"none of its outputs is a map .*pooled \(1, 16, 1, 1\)"),
        (both, ["late"], weights, {"inputs": ("image", "other")}, r"takes 2 inputs \(image, other"),
    ]:
        file = write_onnx(tmp_path / "x.onnx", nodes, outputs, given, **changes)
        with pytest.raises(DescSpaceError, match=words):
            build(file)


def test_an_image_that_the_network_cannot_take_is_one_sentence(tmp_path: Path) -> None:
    descriptor = build(plain(tmp_path / "a.onnx"))
    network: Any = descriptor.network
    with pytest.raises(DescSpaceError, match="cannot describe an image of 96 × 64 px"):
        network.features(torch.rand(1, 4, 64, 96), (0,), facet="token", norm=False)


def test_weights_beside_the_file_count_as_the_file(tmp_path: Path) -> None:
    def write(scale: float) -> Path:
        weights = {name: scale * one for name, one in weights_of(two_layers()).items()}
        (tmp_path / "e.bin").unlink(missing_ok=True)
        return write_onnx(
            tmp_path / "e.onnx",
            NODES,
            ["late"],
            weights,
            shape=FIXED,
            save_as_external_data=True,
            location="e.bin",
            size_threshold=0,
        )

    file = write(1.0)
    assert list(read_onnx_graph(file).external) == ["e.bin"]
    before = state_sha256(build(file))
    expected = by_torch((images() - MEAN) / STD)
    found = build(file).describe(images())[0].values
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    spec = make_spec(f"onnx:{file}")
    stamps = spec.weights_stamps(load=True)
    assert [Path(one.path).name for one in stamps] == ["e.onnx", "e.bin"]
    (tmp_path / "e.bin").write_bytes((tmp_path / "e.bin").read_bytes() + bytes(8))
    assert spec.weights_stamps() != stamps  # maps of the other weights are not shown any more
    write(2.0)
    assert state_sha256(build(file)) != before
    (tmp_path / "e.bin").unlink()
    with pytest.raises(WeightsError, match=r"keeps weights in e\.bin, which is not beside it"):
        build(file)


def test_a_changed_file_is_another_descriptor(tmp_path: Path) -> None:
    file = plain(tmp_path / "a.onnx", shape=FIXED)
    spec = make_spec(f"onnx:{file}")
    first = get_built(spec)
    assert get_built(spec) is first
    weights = {name: -2 * one for name, one in weights_of(two_layers()).items()}
    write_onnx(file, NODES, ["early", "late"], weights, shape=FIXED)
    os.utime(file, ns=(1, 1))
    second = get_built(spec)
    assert second is not first
    assert state_sha256(second) != state_sha256(first)
    assert spec.weights_stamps()[0].path == str(file)


def test_weights_are_said_to_be_in_the_file(tmp_path: Path) -> None:
    list_families()  # what is not registered yet has no words
    assert weights_in_use(f"onnx:{tmp_path / 'a.onnx'}") == WEIGHTS_IN_FILE
    with pytest.raises(ConfigError, match="takes no weights file"):
        make_spec("onnx:a.onnx", {"weights": "b.pth"})


def test_names_of_files_may_hold_what_file_systems_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run@3"
    folder.mkdir()
    plain(folder / "net@2x.onnx", shape=FIXED)
    assert build(folder / "net@2x.onnx").dim == 16
    assert build(f"{folder / 'net@2x.onnx'}@early").dim == 8
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert build("~/run@3/net@2x.onnx").dim == 16
    monkeypatch.chdir(tmp_path)
    assert build("run@3/net@2x.onnx@0").dim == 8
    drive = parse_model_name(r"onnx:C:\nets\a@b\net.onnx@late")
    assert drive is not None
    assert (drive.model, drive.layers) == (r"C:\nets\a@b\net.onnx", ("late",))
    assert drive.title == "net.onnx, layer late"
    for name, words in [("onnx:", "names no file: write onnx:FILE"), ("onnx: ", "is empty")]:
        with pytest.raises(ConfigError, match=words):
            build_descriptor(make_spec(name))


def test_outputs_with_names_of_other_frameworks_are_named_in_letters(tmp_path: Path) -> None:
    nodes = [
        conv(0, "image", "/stem/conv:0"),
        conv(1, "/stem/conv:0", "Identity:0"),
        node("Relu", "Identity:0", to="0"),
    ]
    names = ["/stem/conv:0", "Identity:0", "0"]
    file = write_onnx(tmp_path / "a.onnx", nodes, names, weights_of(two_layers()), shape=FIXED)
    assert [one.name for one in build(file).layers] == ["stem_conv_0", "Identity_0", "output_0"]
    assert build(f"{file}@0").dim == 8  # by its number
    assert build(f"{file}@stem_conv_0").dim == 8


def test_a_pass_that_is_asked_to_stop_ends_at_its_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor, cancel = build(plain(tmp_path / "a.onnx")), CancelToken()
    network: Any = descriptor.network
    session = network._session(torch.device("cpu"))

    class Asked:
        def run(self, *given: Any) -> Any:
            cancel.cancel()
            return session.run(*given)

    monkeypatch.setattr(network, "_session", lambda _: Asked())
    descriptor.describe(images())  # nothing runs under the token
    cancel = CancelToken()
    with pytest.raises(JobCancelled), cancel.everywhere():
        descriptor.describe(images())
    monkeypatch.undo()
    descriptor.describe(images())


def test_several_threads_get_what_one_gets(tmp_path: Path) -> None:
    descriptor = build(plain(tmp_path / "a.onnx"))
    given = [images(64, 64 + 4 * one) for one in range(8)]
    alone = [descriptor.describe(one)[0].values for one in given]
    found: dict[int, torch.Tensor] = {}

    def describe(number: int) -> None:
        for _ in range(5):
            found[number] = descriptor.describe(given[number])[0].values

    threads = [threading.Thread(target=describe, args=(one,)) for one in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for number, values in enumerate(alone):
        assert torch.equal(found[number], values)


def test_it_computes_with_as_many_threads_as_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: Any = build(plain(tmp_path / "a.onnx")).network
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        session = network._session(torch.device("cpu"))
        assert session.get_session_options().intra_op_num_threads == 3
        assert network._session(torch.device("cpu")) is session
        torch.set_num_threads(1)
        session = network._session(torch.device("cpu"))
        assert session.get_session_options().intra_op_num_threads == 1
        assert session.get_providers() == ["CPUExecutionProvider"]
    finally:
        torch.set_num_threads(before)


def test_a_grid_is_remembered_by_what_the_file_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(plain(tmp_path / "a.onnx"))
    moved = plain(tmp_path / "a2.onnx").replace(tmp_path / "deeper.onnx")
    moved = moved.replace(tmp_path / "a.onnx")

    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr("engine.descriptors.families.grids.mirrored_grid", forbidden)
    assert build(moved).grid == CellGrid(4.0, 0.0)
    with pytest.raises(AssertionError, match="measured again"):
        build(plain(tmp_path / "a.onnx", shape=(1, 3, 32, 32)))


def test_without_onnx_runtime_one_sentence_says_how_to_install_it(tmp_path: Path) -> None:
    file = plain(tmp_path / "a.onnx")
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from engine.descriptors.registry import build_descriptor, make_spec\n"
        "from engine.errors import ConfigError\n"
        f"try: build_descriptor(make_spec({f'onnx:{file}'!r}))\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "this needs onnxruntime, which is not installed" in done.stdout


def test_importing_the_families_does_not_import_onnx_runtime() -> None:
    code = (
        "import sys; from engine.descriptors.registry import list_families; list_families(); "
        "sys.exit('onnxruntime' in sys.modules or 'onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_too_few_tokens_are_no_map() -> None:
    """Cells of 7 px, as many as an image gains by its size, but six too few."""
    sizes = [(42, 42), (84, 84)]
    assert free_outputs(["x"], [((1, 30, 8),), ((1, 138, 8),)], sizes) == ()
    (found,) = free_outputs(["x"], [((1, 37, 8),), ((1, 145, 8),)], sizes)
    assert (found.stride_px, found.prefix) == (7, 1)


def test_maps_can_be_made_denser(tmp_path: Path) -> None:
    file = plain(tmp_path / "a.onnx")
    level = build(file, denser=2).describe(images())[0]
    assert level.grid == CellGrid(2.0, 0.0)
    coarse = build(file).describe(images())[0].values
    torch.testing.assert_close(level.values[:, :, ::2, ::2], coarse, atol=1e-5, rtol=1e-4)


def test_an_evaluation_is_not_continued_with_another_file(tmp_path: Path) -> None:
    file = plain(tmp_path / "a=b.onnx", shape=FIXED)
    folder = tmp_path / "data" / "v_one"
    folder.mkdir(parents=True)
    random = np.random.default_rng(2)
    for name in ("1.png", "2.png"):
        pixels = random.integers(0, 255, (64, 96, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), cv2.GaussianBlur(pixels, (0, 0), 2))
    np.savetxt(folder / "H_1_2", np.eye(3))
    config = EvaluateConfig(
        dataset=str(tmp_path / "data"),
        descriptor=(f"onnx:{file}",),
        device="cpu",
        long_edge_px=96,
        query_limit=20,
        protocol="dense",
    )

    def evaluate(*, resume: bool) -> EvaluationResult:
        choices = choose_descriptors(config, {})
        job = EvaluateJob(config=config, choices=choices, out=tmp_path / "out", resume=resume)
        return job.run(JobContext())

    (entry,) = evaluate(resume=False).fingerprint.descriptors
    assert entry.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert evaluate(resume=True).fingerprint.descriptors == (entry,)
    weights = {name: -2 * one for name, one in weights_of(two_layers()).items()}
    write_onnx(file, NODES, ["early", "late"], weights, shape=FIXED)
    os.utime(file, ns=(1, 1))
    with pytest.raises(ResultError, match="made in another way and cannot be continued"):
        evaluate(resume=True)
