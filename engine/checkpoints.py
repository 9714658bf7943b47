"""Weights files and the states of training: the only place that reads or writes them.

Two formats are read: safetensors, and what ``torch.save`` writes, the latter without ever running
code from the file.  Weights are written as safetensors; the state of a training run, which holds
more than tensors, as ``torch.save`` does.

Training scripts wrap weights in many ways.  :func:`load_state` finds them in the file and removes
what parallel training and compilation put before names; :func:`load_into`, which knows the network,
removes any further prefix under which the tensors fit it.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from engine.errors import FileError, WeightsError
from engine.file_kinds import TORCH_FILE, TORCHSCRIPT, name_kind
from engine.files import input_size, open_input, write_atomically
from engine.progress import Tell, tell_choice
from engine.weight_names import fit_names, unwrap_names

# Under these keys training scripts keep the weights, beside optimiser state and the like.  Where a
# file has several, the first of this list counts: averages over steps come last.
_NESTED_KEYS: Final = (
    *("state_dict", "model_state_dict", "model", "network", "net", "weights", "params"),
    *("model_state", "net_state_dict", "module", "model_ema", "ema_state_dict", "state_dict_ema"),
    *("params_ema", "ema_model", "ema"),
)
_DEEPEST: Final = 4
_NO_WEIGHTS: Final = ("optim", "sched", "scaler", "callback", "loop", "amp")
_SHOWN_PROBLEMS: Final = 3


def load_state(
    path: Path,
    *,
    max_bytes: int = 4 << 30,
    max_tensors: int = 20_000,
    tell: Tell = tell_choice,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the weights of a network.

    Args:
        path: a ``.safetensors`` file, or one written by ``torch.save``; recognised by content.
        max_bytes: a larger file is refused before it is read.
        max_tensors: a file with more tensors is refused.
        tell: receives a sentence where the file holds several sets of weights.

    Returns:
        Tensors by name, on the CPU, all finite; and the file's metadata (text by name, empty for
        files of ``torch.save``).

    Raises:
        WeightsError: missing, truncated, of another format, holding code or numbers that are not
            finite, or numbers of a kind that this program does not compute with.
    """
    size_bytes = input_size(path, WeightsError, missing="there is no such file")
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
        state, metadata = _read_safetensors(path, WeightsError)
    else:
        state = _tensors_of(path, read_torch(path, WeightsError), tell)
    if len(state) > max_tensors:
        raise WeightsError(path, f"holds {len(state)} tensors, more than the {max_tensors} allowed")
    for name, tensor in state.items():
        fault = _fault(name, tensor)
        if fault:
            raise WeightsError(path, fault)
    return unwrap_names(state), metadata


def read_header(path: Path) -> dict[str, str]:
    """The text in the header of a weights file, by name; empty for files of ``torch.save``.

    Raises:
        WeightsError: the file cannot be read, or is a damaged safetensors file.
    """
    size_bytes = input_size(path, WeightsError, missing="there is no such file")
    if not size_bytes or not _looks_like_safetensors(path, size_bytes):
        return {}
    with _safetensors_errors(path, WeightsError), safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    path: Path,
    ignore_prefixes: Iterable[str] = (),
    tell: Tell = tell_choice,
) -> None:
    """Load weights into a network; all must fit, or the network stays as it was.

    The names may stand behind a prefix (``model.``, ``net.backbone.``, ...): that under which the
    tensors fit the network is removed.

    Args:
        module: the network.
        state: tensors by name, as from :func:`load_state`.
        path: where they came from, for the message.
        ignore_prefixes: tensors in the file whose names begin so are left out.
        tell: receives a sentence where several sets of tensors fit, or others are left out.

    Raises:
        WeightsError: tensors are missing, unknown or of another shape; names the first ones.
    """
    fit = fit_names(state, module.state_dict(), tuple(ignore_prefixes))
    if fit.problems:
        shown = "; ".join(fit.problems[:_SHOWN_PROBLEMS])
        more = len(fit.problems) - _SHOWN_PROBLEMS
        rest = f"; and {more} more" if more > 0 else ""
        raise WeightsError(path, f"is of another architecture: {shown}{rest}")
    if fit.choice:
        tell(f"{path}: {fit.choice}.")
    module.load_state_dict(fit.tensors, strict=True)


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
    if input_size(path, WeightsError, missing="there is no such file") == 0:
        raise WeightsError(path, "is empty")
    state = read_torch(path, WeightsError)
    if not isinstance(state, dict):
        raise WeightsError(path, f"holds a {type(state).__name__} instead of the state of a run")
    return state


def _looks_like_safetensors(path: Path, size_bytes: int) -> bool:
    """True if the file begins with a header length and a brace, or is at least named so."""
    with open_input(path, WeightsError) as file:
        start = file.read(9)
    header_bytes = int.from_bytes(start[:8], "little")
    if len(start) == 9 and start[8:] == b"{" and header_bytes <= size_bytes:
        return True
    return path.suffix.lower() == ".safetensors" and not start.startswith((b"PK", b"\x80"))


def read_tensors(path: Path, kind: type[FileError]) -> Any:
    """Read all that a file of safetensors or ``torch.save`` holds, as it is.

    Raises:
        FileError: of this kind, as :func:`read_torch`.
    """
    if _looks_like_safetensors(path, path.stat().st_size):
        return _read_safetensors(path, kind)[0]
    return read_torch(path, kind)


def _read_safetensors(
    path: Path, kind: type[FileError]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    with _safetensors_errors(path, kind), safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata() or {})
        return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118


@contextlib.contextmanager
def _safetensors_errors(path: Path, kind: type[FileError]) -> Iterator[None]:
    """Whatever the reader of safetensors raises inside becomes an error of this kind."""
    try:
        yield
    except (SafetensorError, OSError, ValueError) as error:
        reason = _foreign(path) or f"is damaged or no safetensors file ({error})"
        raise kind(path, reason) from error


class _Beside:
    """Stands for an object of another package beside the weights: it keeps and does nothing."""

    def __init__(self, *_arguments: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


# What training scripts save beside the weights: figures, options, places and dates.  None of the
# code that these names mean is run, not even numpy's: each stands for the class above.
_HARMLESS: Final = (
    *("numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar"),
    *("numpy._core.multiarray.scalar", "numpy.core.multiarray._reconstruct"),
    *("numpy._core.multiarray._reconstruct", "argparse.Namespace", "types.SimpleNamespace"),
    *("pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath"),
    *("pathlib.PureWindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    *("datetime.datetime", "datetime.date", "datetime.timedelta", "uuid.UUID"),
)
_stand_ins_lock = threading.Lock()


def read_torch(path: Path, kind: type[FileError]) -> Any:
    """Read what ``torch.save`` wrote; tensors come to the CPU, and no code of the file is run.

    Args:
        path: the file.
        kind: of the error.

    Raises:
        FileError: of this kind; damaged, of another format, or holding code.
    """
    # An open file, since torch would judge a path by its ending; and one list for all threads holds
    # the names that it may read.
    stand_ins: list[Any] = [(_Beside, name) for name in _HARMLESS]
    with open_input(path, kind) as file, _stand_ins_lock:
        try:
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "Weights only load failed" in str(error) and "GLOBAL" in str(error):
                reason = "holds program code beside the weights and is not opened"
                raise kind(path, f"{reason}; save its state_dict() alone") from error
            raise kind(path, _foreign(path) or "is damaged or no weights file") from error
        except Exception as error:
            # torch's reader raises many kinds (RuntimeError, EOFError, KeyError, zip errors, ...)
            # for damaged files, none of which is documented.
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            words = "is damaged or incomplete" if _is_zip(path) else "is damaged or no weights file"
            reason = _foreign(path) or f"{words} ({first_line.rstrip('.')})"
            raise kind(path, reason) from error


def _foreign(path: Path) -> str:
    """That a file is of another format, "" where it may be a damaged weights file."""
    kind = name_kind(path)
    if not kind or kind == TORCH_FILE:
        return ""
    if kind == TORCHSCRIPT:
        return f"is {kind}, whose code is not run; save the network's state_dict() instead"
    return f"is {kind}, not a file of weights"


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _tensors_of(path: Path, loaded: Any, tell: Tell) -> dict[str, Tensor]:
    """Find the weights in what ``torch.load`` gave."""
    for _ in range(_DEEPEST):
        if not isinstance(loaded, Mapping):
            break
        keys = [key for key in _NESTED_KEYS if _has_tensors(loaded.get(key))]
        if not keys:
            break
        if len(keys) > 1:
            listed = ", ".join(keys[1:])
            tell(f"{path}: its weights under {keys[0]} are used, not those under {listed}.")
        loaded = loaded[keys[0]]
    if not isinstance(loaded, Mapping):
        raise WeightsError(path, f"holds a {type(loaded).__name__} instead of named tensors")
    tensors = dict(_named_tensors(loaded))
    if not tensors:
        raise WeightsError(path, "holds no named tensors")
    return tensors


def _named_tensors(
    values: Mapping[Any, Any], prefix: str = "", depth: int = _DEEPEST
) -> Iterator[tuple[str, Tensor]]:
    """Tensors in a mapping and in the mappings below, under dotted names.

    A mapping may hold itself, so the depth is limited.
    """
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            yield name, value
        elif depth and isinstance(value, Mapping) and not _holds_no_weights(key):
            yield from _named_tensors(value, f"{name}.", depth - 1)


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and next(_named_tensors(value), None) is not None


def _holds_no_weights(key: Any) -> bool:
    """True for the state of an optimiser and the like."""
    return str(key).lower().startswith(_NO_WEIGHTS)


def _fault(name: str, tensor: Tensor) -> str:
    """What a tensor holds that this program does not compute with; "" if nothing."""
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized or kind.startswith(("float8", "float4")):
        return f"holds {kind} numbers in {name}, which need scales; save them as float16 or float32"
    if tensor.layout is not torch.strided:
        return f"holds a sparse tensor in {name}; save it as a dense one"
    if tensor.is_meta:
        return f"holds no numbers in {name}, only its size"
    if tensor.is_complex():
        return f"holds complex numbers in {name}, and weights are real"
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        return f"holds numbers that are not finite in {name}"
    return ""
