"""DAISY of a photo of 640×480 px, compared with scikit-image's and with OpenCV's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage import data

from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.peers import join, share_threads
from engine.descriptors.daisy import Daisy, DaisyConfig

_STRIDES_PX = (1, 2, 4)
_PEERS = {"scikit-image DAISY": 0.5, "OpenCV DAISY": 0.7}  # and the largest ratio wanted


def measure(runs: int) -> list[Figure]:
    """At each stride: ours, and both others."""
    threads = share_threads()
    camera: Any = data.camera
    grey = camera()[:480] / 255.0
    grey = np.ascontiguousarray(np.concatenate([grey, grey[:, :128]], axis=1))
    image = torch.tensor(grey, dtype=torch.float32).expand(1, 3, -1, -1)
    figures: list[Figure] = []
    for stride_px in _STRIDES_PX:
        figures += _measure_stride(image, stride_px, runs, threads)
    return figures


def _measure_stride(image: torch.Tensor, stride_px: int, runs: int, threads: int) -> list[Figure]:
    daisy = Daisy(DaisyConfig(stride_px=stride_px))
    grey = image[0, 0].double().numpy()

    def describe() -> None:
        with torch.inference_mode():
            daisy.describe(image)

    works: dict[str, Callable[[], float | None]] = {"ours": describe}
    with contextlib.ExitStack() as stack:
        for name in _PEERS:
            join(
                stack, works, name, name, threads=threads, grey=grey, stride_px=np.array(stride_px)
            )
        times = take_turns(works, runs)
    case = f"stride {stride_px}"
    figures = [
        summarise(f"{name}, {case}", [1000 * time_s for time_s in times[name]], unit="ms")
        for name in _PEERS
        if name in times
    ]
    figures += [
        summarise(
            f"DAISY, {case}, against {name.removesuffix(' DAISY')}",
            [1000 * time_s for time_s in times["ours"]],
            unit="ms",
            ratio_to=f"{name}, {case}",
            target=target,
            of_ratio=True,
        )
        for name, target in _PEERS.items()
    ]
    return figures
