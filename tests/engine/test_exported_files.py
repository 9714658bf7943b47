"""Programs of torch.export and TorchScript: the numbers of the network, and no code of the file."""

from __future__ import annotations

import json
import logging
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from engine.descriptors.compute import get_built
from engine.descriptors.families import grids
from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.families.grids import measure_layer
from engine.descriptors.held_state import state_sha256
from engine.descriptors.registry import build_descriptor, make_spec, weights_in_use
from engine.errors import ConfigError, DescSpaceError, JobCancelled, WeightsError
from engine.geometry.coords import CellGrid
from engine.progress import CHOICES, CancelToken
from engine.weight_titles import WEIGHTS_IN_FILE

FREE = ({0: Dim("b"), 2: 4 * Dim("h", min=2, max=512), 3: 4 * Dim("w", min=2, max=512)},)


class Net(nn.Module):
    """Stride 4; cell 0 is centred on pixel 0: two layers of kernel 3, stride 2, padding 1."""

    def __init__(self, colours: int = 3, seed: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first = nn.Conv2d(colours, 8, 3, 2, 1)
            self.norm = nn.BatchNorm2d(8)
            self.second = nn.Conv2d(8, 16, 3, 2, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        late: Tensor = self.second(torch.relu(self.norm(self.first(x))))
        return late


class Several(Net):
    def forward(self, x: Tensor) -> Any:
        early = self.first(x)
        late = self.second(torch.relu(self.norm(early)))
        return {"early": early, "late": late, "pooled": late.mean((2, 3))}


class Bytes(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2).float())


class Tokens(nn.Module):
    """Patches of 8 px as tokens behind one other, as vision transformers give them."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.patches = nn.Conv2d(3, 12, 8, 8)
        self.first = nn.Parameter(torch.ones(1, 1, 12))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return torch.cat([self.first.expand(len(x), -1, -1), tokens], dim=1)


def images(height: int = 64, width: int = 96, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(5))


def exported(
    path: Path, net: nn.Module, *, free: Any = FREE, example: Tensor | None = None
) -> Path:
    given = images(count=2 if free else 1) if example is None else example
    torch.export.save(torch.export.export(net, (given,), dynamic_shapes=free), path)
    return path


def traced(path: Path, net: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.trace(net, images(), strict=False).save(str(path))  # type: ignore[no-untyped-call]
    return path


def build(path: Path | str, **settings: Any) -> BackboneDescriptor:
    built = build_descriptor(make_spec(f"exported:{path}", {"values": "none", **settings}))
    assert isinstance(built, BackboneDescriptor)
    return built


def by_torch(net: nn.Module, inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        values: Tensor = net(inputs)
    return values / values.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("write", [exported, traced])
def test_a_program_gives_the_numbers_of_the_network(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    descriptor = build(write(tmp_path / "net.pt2", Net()))
    for shape in ((64, 96), (72, 56)):
        level = descriptor.describe(images(*shape, count=2))[0]
        expected = by_torch(Net(), images(*shape, count=2))
        torch.testing.assert_close(level.values, expected, atol=1e-5, rtol=1e-4)
    assert level.grid == CellGrid(4.0, 0.0)
    assert (descriptor.network.multiple_px, descriptor.network.fixed_size_px) == (4, None)
    assert (descriptor.dim, descriptor.trained) == (16, True)
    assert descriptor.describe(images(61, 93))[0].values.shape == (1, 16, 16, 24)


@pytest.mark.parametrize("write", [exported, traced])
def test_a_program_stops_before_its_next_step(tmp_path: Path, write: Callable[..., Path]) -> None:
    class Stopping(CancelToken):
        last, checks = 0, 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == self.last:
                self.cancel()
            super().check()

    descriptor, whole, stopped = build(write(tmp_path / "net.pt2", Net())), Stopping(), Stopping()
    with whole.everywhere():
        descriptor.describe(images())
    assert whole.checks >= 4  # two convolutions, a normalisation and a rectifier
    stopped.last = 2
    with pytest.raises(JobCancelled), stopped.everywhere():
        descriptor.describe(images())
    assert stopped.checks <= 3  # TorchScript makes an error of it, so it is checked once more


@pytest.mark.parametrize("write", [exported, traced])
def test_cells_lie_where_the_layers_place_them_whatever_the_weights(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    """Kernel 4, stride 4, no padding: cell 0 covers pixels 0 to 3.  All weight is on the left."""
    net = nn.Sequential(nn.Conv2d(3, 4, 4, 4))
    with torch.no_grad():
        net[0].weight[..., 1:] = 0  # type: ignore[index]
    before = {name: one.clone() for name, one in net.state_dict().items()}
    descriptor = build(write(tmp_path / "left.pt2", net))
    assert descriptor.grid == CellGrid(4.0, 1.5)
    assert measure_layer(descriptor.network, 0, facet="token").method == "mirror"
    held = dict(descriptor.network.named_parameters())
    for name, values in before.items():
        assert torch.equal(next(one for key, one in held.items() if key.endswith(name)), values)


@pytest.mark.parametrize("write", [exported, traced])
def test_outputs_are_layers_by_their_keys(
    tmp_path: Path, write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "several.pt2", Several())
    with caplog.at_level(logging.WARNING, CHOICES):
        last = build(file)
    assert last.dim == 16
    assert "has 2 maps; the last one, late, is taken. Others are named behind an @: early" in (
        caplog.text
    )
    early = build(f"{file}@early")
    assert (early.dim, early.grid) == (8, CellGrid(2.0, 0.0))
    expected = by_torch(Net().first, images())
    torch.testing.assert_close(early.describe(images())[0].values, expected, atol=1e-5, rtol=1e-4)


def test_a_fixed_size_is_filled(tmp_path: Path) -> None:
    descriptor = build(exported(tmp_path / "fixed.pt2", Net(), free=None))
    assert descriptor.network.fixed_size_px == (96, 64)
    level = descriptor.describe(images(count=3))[0]
    expected = by_torch(Net(), images(count=3))
    torch.testing.assert_close(level.values, expected, atol=1e-5, rtol=1e-4)
    assert descriptor.describe(images(128, 192))[0].grid == CellGrid(8.0, 0.5)


def seeing(path: Path, wide_layers: int) -> Path:
    """Ten cells of 16 px in a fixed size of 160 px, which read the more, the more layers."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        layers = [nn.Conv2d(3, 16, 3, 2, 1), *(nn.Conv2d(16, 16, 3, 2, 1) for _ in range(3))]
        layers += [nn.Conv2d(16, 16, 7, 1, 3) for _ in range(wide_layers)]
    net = nn.Sequential(*(part for one in layers for part in (one, nn.ReLU()))).eval()
    return exported(path, net, free=None, example=torch.rand(1, 3, 160, 160))


def test_cells_that_the_border_draws_to_the_middle_are_placed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grids, "_BUDGET_S", 2.0)
    descriptor = build(
        seeing(tmp_path / "wide.pt2", 1)
    )  # measured 14 and 15 px apart, from 9 and 4
    assert descriptor.grid.stride_px == 16.0
    assert descriptor.grid.offset_px == pytest.approx(0.0, abs=0.25)


def test_cells_that_read_the_whole_image_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured 6 px apart, from 45."""
    monkeypatch.setattr(grids, "_BUDGET_S", 2.0)
    with pytest.raises(DescSpaceError, match="have no place that could be measured"):
        build(seeing(tmp_path / "wider.pt2", 5))


def test_bytes_with_channels_last_are_given_as_such(tmp_path: Path) -> None:
    example = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    file = exported(tmp_path / "bytes.pt2", Bytes(), free=None, example=example)
    descriptor = build(file, values="auto")
    expected = by_torch(Net(), (255 * images()).round())
    level = descriptor.describe(images())[0]
    torch.testing.assert_close(level.values, expected, atol=1e-5, rtol=1e-4)
    assert level.grid == CellGrid(4.0, 0.0)
    assert measure_layer(descriptor.network, 0, facet="token").method == "mirror"


def test_half_precision_is_computed_in_it(tmp_path: Path) -> None:
    file = exported(tmp_path / "h.pt2", Net().half(), free=None, example=images().half())
    level = build(file).describe(images())[0]
    assert level.values.dtype == torch.float32
    torch.testing.assert_close(level.values, by_torch(Net(), images()), atol=5e-3, rtol=0)


def test_tokens_become_a_map(tmp_path: Path) -> None:
    free = ({2: 8 * Dim("h", min=2, max=200), 3: 8 * Dim("w", min=2, max=200)},)
    file = exported(tmp_path / "t.pt2", Tokens(), free=free, example=images())
    descriptor = build(file)
    assert (descriptor.grid, descriptor.network.multiple_px) == (CellGrid(8.0, 3.5), 8)
    expected = by_torch(Tokens().patches, images())
    level = descriptor.describe(images())[0]
    torch.testing.assert_close(level.values, expected, atol=1e-5, rtol=1e-4)


def test_foreign_and_damaged_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    whole = exported(tmp_path / "a.pt2", Net(), free=None).read_bytes()
    script = traced(tmp_path / "a.pt", Net()).read_bytes()
    torch.save(Net().state_dict(), tmp_path / "state.pt2")
    np.savez(tmp_path / "maps.npz", a=np.zeros(3))
    for content, words in [
        (b"", "is empty"),
        (whole[: len(whole) // 2], "is damaged or incomplete|is damaged, or neither"),
        (script[: len(script) // 2], "is damaged"),
        (whole.replace(b"torch.ops.aten.relu", b"torch.ops.aten.rilu"), "is damaged|can load"),
        ((tmp_path / "state.pt2").read_bytes(), r"is a file of torch\.save, not a program of"),
        ((tmp_path / "maps.npz").read_bytes(), r"is a NumPy archive"),
        (pickle.dumps({"a": 1}), "is damaged, or neither a program of torch.export or a Torch"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is a PNG picture"),
    ]:
        file = tmp_path / "x.pt2"
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=words):
            build(file)
    with pytest.raises(WeightsError, match="there is no such file"):
        build(tmp_path / "nowhere.pt2")


def test_programs_that_take_no_colour_image_are_refused(tmp_path: Path) -> None:
    grey = exported(tmp_path / "g.pt2", Net(colours=1), free=None, example=torch.rand(1, 1, 64, 96))
    with pytest.raises(DescSpaceError, match=r"takes no colour images.*\(1, 1, 64, 96\)"):
        build(grey)

    class Two(Net):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x + y)

    torch.export.save(torch.export.export(Two(), (images(), images())), tmp_path / "two.pt2")
    with pytest.raises(DescSpaceError, match="takes 2 inputs"):
        build(tmp_path / "two.pt2")
    with pytest.raises(ConfigError, match="no layer 'x'"):
        build(f"{exported(tmp_path / 'a.pt2', Net(), free=None)}@x")


def test_a_changed_file_is_another_descriptor(tmp_path: Path) -> None:
    file = exported(tmp_path / "a.pt2", Net(), free=None)
    spec = make_spec(f"exported:{file}")
    first = get_built(spec)
    assert get_built(spec) is first
    exported(file, Net(seed=7), free=None)
    second = get_built(spec)
    assert second is not first
    assert state_sha256(second) != state_sha256(first)
    assert weights_in_use(f"exported:{file}") == WEIGHTS_IN_FILE


# ---- no code of the file is run ------------------------------------------------------------------


class Touch:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (exec, (f"open({str(self.path)!r}, 'w').close()",))


def changed(file: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The archive with other parts."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(name, content))
    return file


def edited(file: Path, part: str, edit: Callable[[Any], None]) -> Path:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith(part):
            return content
        values = json.loads(content)
        edit(values)
        return json.dumps(values).encode()

    return changed(file, change)


def bomb(path: Path) -> str:
    return f"exec(\"open({str(path)!r}, 'w')\")"


def graph(values: Any) -> Any:
    return values["graph_module"]["graph"]


def in_spec(values: Any, context: Any, kind: str = "builtins.dict") -> None:
    (signature, *_) = [
        one["signature"] for one in values["graph_module"]["module_call_graph"] if one["signature"]
    ]
    leaf = {"type": None, "context": None, "children_spec": []}
    signature["out_spec"] = json.dumps(
        [1, {"type": kind, "context": context, "children_spec": [leaf]}]
    )


ATTACKS: dict[str, Callable[[Any, Path], Any]] = {
    "an expression of a size": lambda v, p: next(
        one for one in graph(v)["tensor_values"]["x"]["sizes"] if "as_expr" in one
    )["as_expr"].update(expr_str=bomb(p)),
    "a range of sizes": lambda v, p: v["range_constraints"].update({bomb(p): {"min_val": 1}}),
    "an operator": lambda v, p: graph(v)["nodes"][0].update(target="torch.os.system"),
    "an operator of Python": lambda v, p: graph(v)["nodes"][0].update(
        target="_operator.methodcaller"
    ),
    "an operator on files": lambda v, p: graph(v)["nodes"][0].update(
        target="torch.ops.aten.from_file.default"
    ),
    "a name of a node": lambda v, p: graph(v)["nodes"][0].update(name=f"a={bomb(p)}"),
    "a name of an input": lambda v, p: graph(v)["inputs"][-1]["as_tensor"].update(
        name=f"x={bomb(p)}"
    ),
    "a module to import": lambda v, p: in_spec(
        v, json.dumps([{"__enum__": True, "fqn": "antigravity:x", "name": "y"}])
    ),
    "a factory to import": lambda v, p: in_spec(
        v,
        {"default_factory_module": "antigravity", "default_factory_name": "x", "dict_context": []},
        "collections.defaultdict",
    ),
    "a name of weights": lambda v, p: v["graph_module"]["signature"]["input_specs"][0][
        "parameter"
    ].update(parameter_name=f'a"{bomb(p)}'),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_program_with_code_inside_is_refused(tmp_path: Path, attack: str) -> None:
    file = exported(tmp_path / "a.pt2", Net())
    trace = tmp_path / "trace"
    edited(file, "models/model.json", lambda values: ATTACKS[attack](values, trace))
    with pytest.raises(WeightsError, match="is not opened, since it may run code"):
        build(file)
    assert not trace.exists()


def test_code_in_guards_and_examples_is_left_behind(tmp_path: Path) -> None:
    """Neither is needed to compute, so a file is opened without them."""
    file = exported(tmp_path / "a.pt2", Net())
    trace = tmp_path / "trace"
    edited(file, "models/model.json", lambda v: v.update(guards_code=[bomb(trace)]))
    hidden = tmp_path / "hidden"
    torch.save(Touch(trace), hidden)
    changed(
        file,
        lambda name, content: hidden.read_bytes() if "sample_inputs" in name else content,
    )
    assert build(file).dim == 16
    assert not trace.exists()
    torch.load(hidden, weights_only=False)  # as torch.export.load does where the first way fails
    assert trace.exists()


@pytest.mark.parametrize("listed", ["weights", "constants"])
def test_pickles_among_the_weights_are_read_as_tensors_only(tmp_path: Path, listed: str) -> None:
    class WithConstant(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + torch.tensor([0.5]))

    def pickled(values: Any) -> None:
        for one in values["config"].values():
            one["use_pickle"] = True

    file = exported(tmp_path / "a.pt2", WithConstant(), free=None)
    trace, hidden = tmp_path / "trace", tmp_path / "hidden"
    torch.save(Touch(trace), hidden)
    edited(file, f"model_{listed}_config.json", pickled)
    folder = f"data/{listed}/"
    changed(
        file,
        lambda name, content: (
            hidden.read_bytes() if folder in name and not name.endswith("json") else content
        ),
    )
    with pytest.raises(WeightsError, match=r"may run code: .* is no tensor"):
        build(file)
    assert not trace.exists()


def test_torchscript_that_uses_files_is_refused(tmp_path: Path) -> None:
    class Writes(Net):
        def forward(self, x: Tensor) -> Tensor:
            torch.save(x, "never")
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Writes()).save(str(tmp_path / "w.pt"))  # type: ignore[no-untyped-call]
    with pytest.raises(WeightsError, match=r"is not opened, since it uses files \(.*save"):
        build(tmp_path / "w.pt")
