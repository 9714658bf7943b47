"""Loads programs of ``torch.export`` (``.pt2``) and of TorchScript.  No Python of a file is run.

See :mod:`engine.descriptors.families.exported_archive`.  TorchScript is a language of its own,
which has been superseded by ``torch.export``.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from engine.descriptors.families.exported_archive import check_torchscript, safe_archive
from engine.descriptors.families.network_files import check_file
from engine.descriptors.stopping import stoppable_operations
from engine.errors import WeightsError
from engine.file_kinds import EXPORTED, TORCHSCRIPT, name_kind
from engine.progress import check_stop

_WANTED: Final = f"{EXPORTED} or {TORCHSCRIPT}"


@dataclass(frozen=True, slots=True)
class ProgramInput:
    """An input of a program.

    Attributes:
        shape: of the tensor, None for what may vary.
        dtype: its numbers.
    """

    shape: tuple[int | None, ...]
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, eq=False)
class ExportedProgram:
    """A program that was read from a file.

    Attributes:
        module: computes it; its weights want no gradient.
        inputs: one by one, None for one that is no tensor; None where the file does not tell, as
            TorchScript does not.
    """

    module: nn.Module
    inputs: tuple[ProgramInput | None, ...] | None


def load_program(file: Path) -> ExportedProgram:
    """Read a program.

    Raises:
        WeightsError: the file cannot be read, or holds no such program.
    """
    check_file(file, ours=(EXPORTED, TORCHSCRIPT), wanted=_WANTED)
    kind = name_kind(file)
    if not kind:
        raise WeightsError(file, f"is damaged, or neither {_WANTED}")
    program = _load_exported(file) if kind == EXPORTED else _load_torchscript(file)
    for weights in program.module.parameters():
        weights.requires_grad_(False)
    return program


def run_program(
    program: nn.Module, *inputs: Tensor, weights: Mapping[str, Tensor] = MappingProxyType({})
) -> Any:
    """What a program gives, the same numbers each time.

    Args:
        program: the module of an :class:`ExportedProgram`.
        inputs: in order.
        weights: others in place of its own, by name.
    """
    # Optimised after two runs, a program would give other last digits from then on.
    jit: Any = torch.jit
    with contextlib.ExitStack() as stack:
        stack.enter_context(jit.optimized_execution(False))
        if isinstance(program, torch.jit.ScriptModule):
            stack.enter_context(stoppable_operations())
        try:
            return functional_call(program, dict(weights), inputs) if weights else program(*inputs)
        except RuntimeError:
            check_stop()  # TorchScript makes an error of whatever ends it
            raise


def _load_exported(file: Path) -> ExportedProgram:
    archive = safe_archive(file)
    try:
        program = torch.export.load(archive)
        module = program.module(check_guards=False)
        _let_stop(module)
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
    return ExportedProgram(module, tuple(map(_input_of, taken)))


def _let_stop(program: nn.Module) -> None:
    """Let a program check before each of its steps whether to stop: it has no modules to do so."""
    for module in program.modules():
        if not isinstance(module, fx.GraphModule):
            continue
        for node in module.graph.nodes:
            if node.op == "call_function":
                with module.graph.inserting_before(node):
                    module.graph.call_function(check_stop)
        module.recompile()


def _input_of(taken: Any) -> ProgramInput | None:
    if not isinstance(taken, Tensor):
        return None
    sides: Sequence[Any] = taken.shape  # symbols where they may vary
    return ProgramInput(tuple(one if isinstance(one, int) else None for one in sides), taken.dtype)


def _load_torchscript(file: Path) -> ExportedProgram:
    check_torchscript(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            jit: Any = torch.jit
            loaded: nn.Module = jit.load(str(file), map_location="cpu")
        return ExportedProgram(loaded.eval(), None)
    except Exception as error:  # of many kinds, none of them documented
        raise WeightsError(
            file, f"is damaged, or no TorchScript that can be loaded ({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(". ")
