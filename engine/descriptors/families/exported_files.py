"""``exported:FILE``: programs of ``torch.export`` (``.pt2``) and of TorchScript.

Neither holds Python that would be run: see :mod:`engine.descriptors.families.exported_archive`.
TorchScript is a language of its own, which has been superseded by ``torch.export``.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.families.exported_archive import check_torchscript, safe_archive
from engine.descriptors.families.file_networks import (
    FileConfig,
    FileNetwork,
    Shape,
    check_file,
    describe_by_file,
    sha256_of,
    weights_file_of,
    weights_title_of_file,
)
from engine.descriptors.grid_measure import symmetric_kernel
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import register_family
from engine.errors import ConfigError, DescSpaceError, WeightsError
from engine.file_kinds import EXPORTED, TORCHSCRIPT, name_kind

_WANTED: Final = f"{EXPORTED} or {TORCHSCRIPT}"
_SEED: Final = 20


class ExportedNetwork(FileNetwork):
    """A program of torch.export or TorchScript.

    Args:
        file: the program.
        config: settings.

    Raises:
        ConfigError: a setting does not fit.
        WeightsError: the file cannot be read, or holds no such program.
        DescSpaceError: it takes no images, or gives no map.
    """

    def __init__(self, file: Path, config: FileConfig) -> None:
        super().__init__(file, config)
        check_file(file, ours=(EXPORTED, TORCHSCRIPT), wanted=_WANTED)
        kind = name_kind(file)
        if not kind:
            raise WeightsError(file, f"is damaged, or neither {_WANTED}")
        self._remember(sha256_of(file))
        shape: Shape | None = None
        dtype = torch.float32
        if kind == EXPORTED:
            self.program, shape, dtype = _load_exported(file)
        else:
            self.program = _load_torchscript(file)
        for weights in self.program.parameters():
            weights.requires_grad_(False)
        self._kernels: dict[str, Tensor] = {}
        self._is_twin = False
        self._examine(shape, dtype)

    def train(self, mode: bool = True) -> ExportedNetwork:  # noqa: ARG002
        """Nothing: a program keeps the mode in which it was saved."""
        return self

    def untrained_twin(self) -> ExportedNetwork:
        """The same program with random symmetric kernels, without a bias, in its convolutions."""
        with torch.inference_mode(False):
            twin = copy.copy(self)
            twin._modules = dict(self._modules)
            if not isinstance(self.program, fx.GraphModule):
                twin.program = copy.deepcopy(self.program)
            twin._is_twin = True
            twin.draw_kernels(torch.Generator().manual_seed(_SEED))
        return twin

    def draw_kernels(self, generator: torch.Generator) -> None:
        """Other kernels for a twin; see :class:`engine.descriptors.grid_measure.DrawsKernels`."""
        if not self._is_twin:
            return
        with torch.no_grad():
            if isinstance(self.program, fx.GraphModule):
                self._kernels = _neutral_weights(self.program, generator)
            else:
                _neutralise(self.program, generator)

    def _run(self, inputs: Tensor, wanted: Sequence[int] | None) -> Sequence[Tensor | None]:
        # Optimised after two runs, a program would give other last digits from then on.
        jit: Any = torch.jit
        with jit.optimized_execution(False):
            given = (
                functional_call(self.program, self._kernels, (inputs,))
                if self._kernels
                else self.program(inputs)
            )
        flat, _ = pytree.tree_flatten_with_path(given)
        outputs = [one if isinstance(one, Tensor) else None for _, one in flat]
        if wanted is None:
            self._names = [_output_name(path) for path, _ in flat]
            return outputs
        return [outputs[one] for one in wanted]


def _load_exported(file: Path) -> tuple[nn.Module, Shape, torch.dtype]:
    """A program, and the shape and kind of its only input."""
    archive = safe_archive(file)
    try:
        program = torch.export.load(archive)
        module = program.module(check_guards=False)
    except Exception as error:  # of many kinds, none of them documented
        raise WeightsError(
            file, f"is no program that torch {torch.__version__} can load ({_first_line(error)})"
        ) from error
    names = program.graph_signature.user_inputs
    taken = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in names
    ]
    if len(taken) != 1 or not isinstance(taken[0], Tensor):
        raise DescSpaceError(f"{file} takes {len(names)} inputs, not one image.")
    sides: Sequence[Any] = taken[0].shape  # symbols where they may vary
    shape = tuple(one if isinstance(one, int) else None for one in sides)
    return module, shape, taken[0].dtype


def _load_torchscript(file: Path) -> nn.Module:
    check_torchscript(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            jit: Any = torch.jit
            loaded: nn.Module = jit.load(str(file), map_location="cpu")
        return loaded.eval()
    except Exception as error:  # of many kinds, none of them documented
        raise WeightsError(
            file, f"is damaged, or no TorchScript that can be loaded ({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(". ")


def _output_name(path: Sequence[Any]) -> str:
    """What an output is called: the keys and numbers of the containers that it is in."""
    kinds = ("key", "name", "idx")
    return ".".join(str(next(getattr(one, k) for k in kinds if hasattr(one, k))) for one in path)


def _neutral_weights(program: fx.GraphModule, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights by name that make the convolutions of a program read symmetrically.

    Kernels are random and without a bias; batch normalisation passes on what it gets.
    """
    held = {**dict(program.named_parameters()), **dict(program.named_buffers())}
    found: dict[str, Tensor] = {}
    for node in program.graph.nodes:
        operator = str(node.target).removeprefix("aten.")
        if node.op != "call_function" or not ("conv" in operator or "batch_norm" in operator):
            continue
        names = [
            str(one.target) if isinstance(one, fx.Node) and one.op == "get_attr" else ""
            for one in node.args[1:]
        ]
        weights = [(name, held[name]) if name in held else None for name in names]
        if "batch_norm" in operator:
            for one, number in zip(weights[:4], (1.0, 0.0, 0.0, 1.0), strict=False):
                if one is not None:
                    found[one[0]] = torch.full_like(one[1], number)
        elif weights and weights[0] is not None:
            transposed = "transpose" in operator or (len(node.args) > 6 and node.args[6] is True)
            name, weight = weights[0]
            found[name] = symmetric_kernel(weight, generator, transposed=transposed)
            if len(weights) > 1 and weights[1] is not None:
                found[weights[1][0]] = torch.zeros_like(weights[1][1])
    return found


def _neutralise(program: nn.Module, generator: torch.Generator) -> None:
    """The same for TorchScript, whose layers keep the names of their classes; in place."""
    plain = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
    for layer in program.modules():
        kind = str(getattr(layer, "original_name", ""))
        for name, number in plain.items():
            values = getattr(layer, name, None)
            if not isinstance(values, Tensor):
                continue
            if kind.startswith("Conv") and name == "weight":
                transposed = "Transpose" in kind
                values.copy_(symmetric_kernel(values, generator, transposed=transposed))
            elif kind.startswith("BatchNorm") or (kind.startswith("Conv") and name == "bias"):
                values.fill_(number)


@register_family(
    "exported",
    title="Exported",
    config=FileConfig,
    summary="A network in a file of torch.export (.pt2) or TorchScript.",
    weights_title=weights_title_of_file,
    weights_file=weights_file_of,
    opens=(".pt2",),
)
def build_exported(name: ModelName, config: FileConfig) -> BackboneDescriptor:
    """Build the network of an exported program.

    Raises:
        ConfigError: there is no such output, or a setting is needed.
        WeightsError: the file cannot be used.
        DescSpaceError: the network takes no images, or gives no map.
    """
    file = name.file
    if file is None:
        raise ConfigError("descriptor", f"{name} names no file")
    return describe_by_file(name, ExportedNetwork(file, config))
