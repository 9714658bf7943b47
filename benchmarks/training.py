"""Hovering during a training in the same window, with and without lowering its priority.

It uses the quick preset on generated photos, and the pointer moves of the benchmark ``hover``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from benchmarks.figure import Figure, summarise
from benchmarks.hover import measure_moves, write_inputs
from benchmarks.window_loop import use_offscreen

if TYPE_CHECKING:
    from descgui.app import Application

_PHOTOS = 12
_STEPS_BEFORE = 3


def measure(runs: int) -> list[Figure]:
    """The 95th percentile: no training, one at normal priority, and one at lowered priority."""
    use_offscreen()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DESCGUI_HOME"] = folder
        home = Path(folder)
        inputs, photos = write_inputs(home), write_photos(home / "photos")

        train = partial(begin_training, photos)
        alone = measure_moves(inputs, runs)[1]
        with mock.patch("descgui.controllers.training_controller.leave_room"):
            greedy = measure_moves(inputs, runs, train)[1]
        yielding = measure_moves(inputs, runs, train)[1]
    first = "pointer event to painted heat map, no training, p95"
    return [
        summarise(first, alone, unit="ms"),
        summarise(
            "the same during a training at the window's priority, p95", greedy, unit="ms",
            ratio_to=first,
        ),
        summarise(
            "the same during a training at lowered priority, p95", yielding, unit="ms", target=16.0,
            ratio_to=first,
        ),
    ]  # fmt: skip


def begin_training(photos: Path, window: Application) -> Callable[[], bool]:
    """Train the quick preset in a window; returns whether its first steps are done."""
    training = window.models.training
    training.choice.update(folder=str(photos), preset="quick")
    window.trainings.start()
    return lambda: training.status.state.step >= _STEPS_BEFORE


def write_photos(folder: Path) -> Path:
    """A new folder of photos to train on."""
    from engine.api import write_image

    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(_PHOTOS):
        coarse = random.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        write_image(folder / f"{number}.png", coarse.repeat(8, axis=0).repeat(8, axis=1))
    return folder
