"""Makes torchvision load beside a torch whose operators it lacks."""

from __future__ import annotations

from typing import Any

import torch

_declared: list[Any] = []


def ensure_torchvision() -> None:
    """Declare the operators that torchvision wants to find, once."""
    if not _declared:
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
