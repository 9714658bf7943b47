"""The window during a training of one minute in its workspace, while the pointer moves.

Stalls are what users feel as such: how late the window gets to its events, by the clock.  The
training is that of the benchmark ``training``, its curves are on display beside the pair.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figure import Figure, summarise
from benchmarks.hover import measure_moves, write_inputs
from benchmarks.training import begin_training, write_photos
from benchmarks.window_loop import StallWatch, use_offscreen

if TYPE_CHECKING:
    from descgui.app import Application

_LEAST_S = 60.0


def measure(runs: int) -> list[Figure]:
    """The 99th percentile and the worst of the stalls, of ``runs`` trainings."""
    use_offscreen()
    usual_ms: list[float] = []
    worst_ms: list[float] = []
    steps: list[int] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["DESCGUI_HOME"] = folder
            home = Path(folder)
            inputs, photos = write_inputs(home), write_photos(home / "photos")
            windows: list[Application] = []

            def train(
                window: Application, photos: Path = photos, windows: list[Application] = windows
            ) -> Callable[[], bool]:
                windows.append(window)
                window.window.show_workspace("train")
                return begin_training(photos, window)

            stalls = StallWatch()
            measure_moves(inputs, 1, train, least_s=_LEAST_S, stalls=stalls)
            usual_ms.append(float(np.percentile(stalls.late_ms, 99)))
            worst_ms.append(max(stalls.late_ms))
            steps.append(windows[0].models.training.status.state.step)
    note = f"{_LEAST_S:.0f} s, {min(steps)} to {max(steps)} steps of the preset quick"
    return [
        summarise(
            "stalls during a training, p99", usual_ms, unit="ms", target=50.0, note=note
        ),
        summarise("stalls during a training, worst", worst_ms, unit="ms", target=250.0),
    ]  # fmt: skip
