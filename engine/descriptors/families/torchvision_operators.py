"""Lets torchvision and timm be imported beside a torch that torchvision was not built for.

torchvision's compiled operators load only beside the build of torch that they were made for: those
for CUDA do not load beside a CPU build.  torchvision can do without them, but while it is imported
it tells torch the shapes that ``nms`` and ``qnms`` return, and torch refuses that for operators
that do not exist::

    RuntimeError: operator torchvision::nms does not exist

So these two are declared here, without an implementation.  Describing images never calls them;
whoever does is told by torchvision that the compiled operators are missing.
"""

# WORKAROUND: obsolete once torchvision imports without its compiled operators (0.29.1 does not).

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import torch

_MISSING = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_lock = threading.Lock()
# Declarations end with the object that made them.
_declared: list[torch.library.Library] = []


def ensure_torchvision() -> bool:
    """Make ``import torchvision`` and ``import timm`` work; call it before either.

    Imports neither.  May be called any number of times, on any thread; a torchvision whose compiled
    operators load, or none at all, is left alone.

    Returns:
        True if the missing operators are declared by this program, so that torchvision's own
        detection operators do not work.
    """
    with _lock:
        if not _declared and "torchvision" not in sys.modules and _lacks_operators():
            # A fragment, since a namespace can be defined only once in a process.
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            for schema in _MISSING:
                library.define(schema)  # type: ignore[no-untyped-call]
            _declared.append(library)
        return bool(_declared)


def _lacks_operators() -> bool:
    """True if torchvision is installed and its compiled operators do not load; loads them else."""
    if hasattr(torch.ops.torchvision, "nms"):
        return False
    find_library = _library_finder()
    if find_library is None:
        return False
    try:
        torch.ops.load_library(find_library("_C"))  # type: ignore[no-untyped-call]
    except (ImportError, OSError):  # what torchvision takes for "no operators"
        return True
    return not hasattr(torch.ops.torchvision, "nms")


def _library_finder() -> Callable[[str], str] | None:
    """The function by which torchvision finds its compiled libraries, without importing the rest.

    None where torchvision is not installed, or no longer has that function.
    """
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).with_name("_internally_replaced_utils.py")
    spec = importlib.util.spec_from_file_location(f"{__name__}._finder", file)
    if not file.is_file() or spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    find_library: Callable[[str], str] | None = getattr(module, "_get_extension_path", None)
    return find_library
