"""Weights files and the states of training: the only place that reads or writes them.

Two formats are read: safetensors, and what ``torch.save`` writes, the latter without ever running
code from the file.  Weights are written as safetensors; the state of a training run, which holds
more than tensors, as ``torch.save`` does.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from engine.errors import WeightsError, file_errors
from engine.files import write_atomically

# Under these keys training scripts keep the weights, beside optimiser state and the like.
_NESTED_KEYS = ("state_dict", "model_state_dict", "model", "network", "weights")
# torch.nn.DataParallel puts this before every name.
_WRAPPER_PREFIX = "module."
_SHOWN_PROBLEMS = 3


def load_state(
    path: Path, *, max_bytes: int = 4 << 30, max_tensors: int = 20_000
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the weights of a network.

    Args:
        path: a ``.safetensors`` file, or one written by ``torch.save``; recognised by content.
        max_bytes: a larger file is refused before it is read.
        max_tensors: a file with more tensors is refused.

    Returns:
        Tensors by name, on the CPU, all finite; and the file's metadata (text by name, empty for
        files of ``torch.save``).

    Raises:
        WeightsError: missing, truncated, of another format, holding code or numbers that are not
            finite.
    """
    size_bytes = _file_size(path)
    if size_bytes > max_bytes:
        raise WeightsError(
            path,
            f"has {size_bytes / 1e9:.1f} GB, more than the {max_bytes / 1e9:.1f} GB that a "
            "weights file may have",
        )
    if size_bytes == 0:
        raise WeightsError(path, "is empty")
    metadata: dict[str, str] = {}
    if _looks_like_safetensors(path, size_bytes):
        state, metadata = _read_safetensors(path)
    else:
        state = _tensors_of(path, _read_torch(path))
    if len(state) > max_tensors:
        raise WeightsError(path, f"holds {len(state)} tensors, more than the {max_tensors} allowed")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(path, f"holds numbers that are not finite in {name}")
    return state, metadata


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    path: Path,
    ignore_prefixes: Iterable[str] = (),
) -> None:
    """Load weights into a network; all must fit, or the network stays as it was.

    Args:
        module: the network.
        state: tensors by name, as from :func:`load_state`.
        path: where they came from, for the message.
        ignore_prefixes: tensors in the file whose names begin so are left out.

    Raises:
        WeightsError: tensors are missing, unknown or of another shape; names the first ones.
    """
    ignored = tuple(ignore_prefixes)
    given = {name: tensor for name, tensor in state.items() if not name.startswith(ignored)}
    wanted = module.state_dict()
    problems = [
        f"{name} has shape {_shape(given[name])} instead of {_shape(tensor)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    problems += [f"{name} is missing" for name in wanted if name not in given]
    problems += [f"{name} is unknown" for name in given if name not in wanted]
    if problems:
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        more = len(problems) - _SHOWN_PROBLEMS
        rest = f"; and {more} more" if more > 0 else ""
        raise WeightsError(path, f"is of another architecture: {shown}{rest}")
    module.load_state_dict(given, strict=True)


def save_safetensors(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write weights completely or not at all.

    Args:
        path: the file to write; its folder must exist.
        state: tensors by name, on any device.
        metadata: text by name, kept in the file's header.

    Raises:
        OutputError: the file cannot be written; an older file of this name is left as it was.
    """
    # Tensors that share memory are refused by safetensors; copies never do.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    write_atomically(path, save(tensors, metadata=dict(metadata)))


def save_training_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write all that a training run needs to continue, completely or not at all.

    Args:
        path: the file to write; its folder must exist.
        state: tensors, numbers, texts, and lists and mappings of them.

    Raises:
        OutputError: the file cannot be written; an older file of this name is left as it was.
    """
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_atomically(path, content.getvalue())


def load_training_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_training_state` wrote; tensors come to the CPU.

    Raises:
        WeightsError: missing, truncated, of another format, or holding code.
    """
    if _file_size(path) == 0:
        raise WeightsError(path, "is empty")
    state = _read_torch(path)
    if not isinstance(state, dict):
        raise WeightsError(path, f"holds a {type(state).__name__} instead of the state of a run")
    return state


def _file_size(path: Path) -> int:
    with file_errors(WeightsError, path, "cannot be read", missing="there is no such file"):
        if path.is_dir():
            raise WeightsError(path, "is a folder, not a weights file")
        return path.stat().st_size


def _looks_like_safetensors(path: Path, size_bytes: int) -> bool:
    """True if the file is named so, or begins with a header length and a brace."""
    if path.suffix.lower() == ".safetensors":
        return True
    with file_errors(WeightsError, path, "cannot be read"), path.open("rb") as file:
        start = file.read(9)
    header_bytes = int.from_bytes(start[:8], "little")
    return len(start) == 9 and start[8:] == b"{" and header_bytes <= size_bytes


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(path, f"is damaged or no safetensors file ({error})") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error) and "GLOBAL" in str(error):
            raise WeightsError(
                path,
                "holds program code beside the weights and is not opened; save its state_dict() "
                "alone",
            ) from error
        raise WeightsError(path, "is damaged or no weights file") from error
    except Exception as error:
        # torch's reader raises many kinds (RuntimeError, EOFError, KeyError, zip errors, ...) for
        # damaged files, none of which is documented.
        kind = "is damaged or incomplete" if _is_zip(path) else "is damaged or no weights file"
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(path, f"{kind} ({first_line.rstrip('.')})") from error


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK" or zipfile.is_zipfile(path)


def _tensors_of(path: Path, loaded: Any) -> dict[str, Tensor]:
    """Find the tensors in what ``torch.load`` gave."""
    for _ in range(2):
        nested = [
            key for key in _NESTED_KEYS if _is_mapping(loaded) and _is_mapping(loaded.get(key))
        ]
        if nested:
            loaded = loaded[nested[0]]
    if not _is_mapping(loaded):
        raise WeightsError(path, f"holds a {type(loaded).__name__} instead of named tensors")
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(path, "holds no named tensors")
    if all(name.startswith(_WRAPPER_PREFIX) for name in tensors):
        tensors = {name.removeprefix(_WRAPPER_PREFIX): value for name, value in tensors.items()}
    return tensors


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
