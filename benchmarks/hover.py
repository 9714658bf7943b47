"""From a pointer event to the painted heat map, in the real window.

Two images of 640×480 have one level at stride 4 (random unit vectors of dimension 128).  The
pointer moves to random points; the time ends when the answer's heat map has been painted.

The floor is what cannot be left out, done by itself after each round: the product of a query with
the map, its enlargement to 640×480, its colours, and a repaint of a bare widget of the pane's size.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.figure import Figure, summarise
from benchmarks.window_loop import StallWatch, WindowLoop, use_offscreen

if TYPE_CHECKING:
    from PySide6.QtCore import QSize

    from descgui.app import Application

_SIZE_PX = (640, 480)
_STRIDE_PX = 4
_DIM = 128
_MOVES = 200
_WARM_UP = 20
_GIVE_UP_S = 10.0
_WAIT_S = 120.0
_TARGET = 1.3
_INNER = np.array([[0.3, 0.4], [0.7, 0.6]])  # shares of the pane that its image surely covers


def measure(runs: int) -> list[Figure]:
    """The 95th percentile over ``runs`` rounds of pointer moves: in total, and of its parts."""
    use_offscreen()
    floor_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DESCGUI_HOME"] = folder
        engine_ms, painted_ms = measure_moves(
            write_inputs(Path(folder)), runs, after_round=lambda size: floor_ms.append(_floor(size))
        )
    floor = "product, enlargement, colours and a bare repaint, p95"
    return [
        summarise(floor, floor_ms, unit="ms"),
        summarise("engine: heat map of one query, p95", engine_ms, unit="ms"),
        summarise(
            "pointer event to painted heat map, p95", painted_ms, unit="ms", target=_TARGET,
            of_ratio=True, ratio_to=floor, note=f"window of 1400×900, {_MOVES} moves a run",
        ),
    ]  # fmt: skip


def _floor(size: QSize) -> float:
    """The 95th percentile of the floor's times, in milliseconds; (width, height) of the pane."""
    import cv2
    import torch
    from PySide6.QtGui import QImage, QPainter, QPaintEvent
    from PySide6.QtWidgets import QWidget

    class Bare(QWidget):
        image = QImage()

        def paintEvent(self, _event: QPaintEvent) -> None:
            QPainter(self).drawImage(self.rect(), self.image)

    width, height = (edge // _STRIDE_PX for edge in _SIZE_PX)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(height * width, _DIM, generator=generator)
    colours = np.random.default_rng(0).integers(0, 255, (256, 3), dtype=np.uint8)
    widget = Bare()
    widget.resize(size)
    widget.show()
    times = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the program asks, see docs/PERFORMANCE.md
    for query in torch.randn(_WARM_UP + _MOVES, _DIM, generator=generator):
        start_s = time.perf_counter()
        similarity = (vectors @ query).view(height, width).numpy()
        large = cv2.resize(similarity, _SIZE_PX, interpolation=cv2.INTER_LINEAR)
        low, high = float(large.min()), float(large.max())
        pixels = colours[((large - low) * (255 / (high - low))).astype(np.uint8)]
        widget.image = QImage(pixels.data, *_SIZE_PX, 3 * _SIZE_PX[0], QImage.Format.Format_RGB888)
        widget.repaint()
        times.append(1000 * (time.perf_counter() - start_s))
    torch.set_num_threads(threads)
    widget.close()
    widget.deleteLater()
    return float(np.percentile(times[_WARM_UP:], 95))


def write_inputs(folder: Path) -> tuple[list[Path], tuple[Path, Path]]:
    """Two images, and a map file for each."""
    from engine.api import write_image

    random = np.random.default_rng(0)
    width, height = _SIZE_PX
    images, maps = [], []
    for name in ("a", "b"):
        image, map_file = folder / f"{name}.png", folder / f"{name}.npz"
        coarse = random.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
        write_image(image, coarse.repeat(16, axis=0).repeat(16, axis=1))
        values = random.standard_normal((_DIM, height // _STRIDE_PX, width // _STRIDE_PX))
        values = (values / np.linalg.norm(values, axis=0)).astype(np.float32)
        np.savez(map_file, values=values, stride_px=_STRIDE_PX, offset_px=0.0)
        images.append(image)
        maps.append(map_file)
    return images, (maps[0], maps[1])


def measure_moves(
    inputs: tuple[list[Path], tuple[Path, Path]],
    runs: int,
    begin: Callable[[Application], Callable[[], bool]] | None = None,
    *,
    least_s: float = 0.0,
    stalls: StallWatch | None = None,
    after_round: Callable[[QSize], None] | None = None,
) -> tuple[list[float], list[float]]:
    """Open the window, move the pointer around, close the window.

    Args:
        inputs: pictures and map files of :func:`write_inputs`.
        runs: rounds of moves.
        begin: starts other work, and returns a function that says whether it is running.
        least_s: further rounds until the pointer has moved for so many seconds.
        stalls: watches during the rounds.
        after_round: called after each of them with the size of the pane.

    Returns:
        The 95th percentile of each round's moves, in milliseconds: of the engine's query, and
        until the heat map was painted.
    """
    from PySide6.QtCore import QEvent, QObject, QPointF, Qt, QTimer
    from PySide6.QtGui import QMouseEvent

    from descgui.app import Application, make_application
    from descgui.models.bundle import make_models
    from engine.api import ViewOptions

    images, maps = inputs
    application = make_application(sys.argv[:1])
    options = ViewOptions(images=tuple(images), maps=maps, mode="heat", size=(1400, 900))
    models = make_models(None)
    window = Application(options, models)
    window.show()

    loop = WindowLoop()

    class Watch(QObject):
        """Leaves the loop once the answer about another point has been painted."""

        before: tuple[float, float] | None = None

        def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
            answer = models.probe.answer
            if event.type() != QEvent.Type.Paint or answer is None:
                return False
            if answer.request.point_px != self.before:
                self.before = answer.request.point_px
                QTimer.singleShot(0, loop.quit)  # after this painting
            return False

    loop.until(lambda: models.maps.ready and not window.busy, _WAIT_S)
    if begin is not None:
        loop.until(begin(window), _WAIT_S)

    asked, other = window.pair_view.canvases[:2]
    watch = Watch()
    other.installEventFilter(watch)
    random = np.random.default_rng(1)
    engine_ms: list[float] = []
    painted_ms: list[float] = []
    began_s = time.perf_counter()
    if stalls is not None:
        stalls.start()
    while len(painted_ms) < runs or time.perf_counter() - began_s < least_s:
        times, shares = [], []
        for move in range(_WARM_UP + _MOVES):
            x, y = random.uniform(_INNER[0], _INNER[1]) * (asked.width(), asked.height())
            answer = models.probe.answer
            watch.before = None if answer is None else answer.request.point_px
            position = QPointF(x, y)
            event = QMouseEvent(
                QEvent.Type.MouseMove, position, asked.mapToGlobal(position),
                Qt.MouseButton.NoButton, Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
            )  # fmt: skip
            start_s = time.perf_counter()
            application.sendEvent(asked, event)
            loop.run(_GIVE_UP_S)
            if move >= _WARM_UP:
                times.append(1000 * (time.perf_counter() - start_s))
                assert models.probe.answer is not None
                shares.append(1000 * models.probe.answer.seconds)
        painted_ms.append(float(np.percentile(times, 95)))
        engine_ms.append(float(np.percentile(shares, 95)))
        if after_round is not None:
            after_round(other.size())
    if stalls is not None:
        stalls.stop()
    window.finished.connect(loop.quit)
    window.end(0)
    loop.run(_WAIT_S)
    return engine_ms, painted_ms
