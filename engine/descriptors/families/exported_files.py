"""``exported:FILE``: programs of ``torch.export`` (``.pt2``) and of TorchScript.

Neither holds Python that would be run: see :mod:`engine.descriptors.families.exported_archive`.
TorchScript is a language of its own, which has been superseded by ``torch.export``.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.families.exported_programs import load_program, run_program
from engine.descriptors.families.file_networks import (
    FileConfig,
    FileNetwork,
    build_from_file,
    weights_file_of,
    weights_title_of_file,
)
from engine.descriptors.families.network_files import sha256_of
from engine.descriptors.grid_measure import symmetric_kernel
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import register_family
from engine.errors import DescSpaceError

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
        loaded = load_program(file)
        self.program = loaded.module
        self._remember(sha256_of(file))
        self._kernels: dict[str, Tensor] = {}
        self._is_twin = False
        if loaded.inputs is None:
            self._examine(None, torch.float32)
            return
        taken = loaded.inputs[0] if len(loaded.inputs) == 1 else None
        if taken is None:
            raise DescSpaceError(f"{file} takes {len(loaded.inputs)} inputs, not one image.")
        self._examine(taken.shape, taken.dtype)

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
        given = run_program(self.program, inputs, weights=self._kernels)
        flat, _ = pytree.tree_flatten_with_path(given)
        outputs = [one if isinstance(one, Tensor) else None for _, one in flat]
        if wanted is None:
            self._names = [_output_name(path) for path, _ in flat]
            return outputs
        return [outputs[one] for one in wanted]


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
    return build_from_file(name, config, ExportedNetwork)
