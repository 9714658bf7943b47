"""From a pointer event to the painted heat map, in the real window.

Two images of 640×480 have one level at stride 4 (random unit vectors of dimension 128).  The
pointer moves to random points; the time ends when the answer's heat map has been painted.  The same
with a set of five levels on the pointer's side, and with three descriptors of the program beside
the first one, until all four heat maps have been painted.

The floor is what cannot be left out, done by itself after each round: for each descriptor the
product of its queries with the map, the enlargement to 640×480, the colours, and a repaint of a
bare widget of the pane's size.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
_FEWER = 1  # round of what is not the usual case
_SET = 5
_COMPARED = ("descspace-fast", "daisy", "msnet_v0")
_INNER = np.array([[0.3, 0.4], [0.7, 0.6]])  # shares of the pane that its image surely covers


@dataclass(frozen=True, slots=True)
class Searched:
    """What a query of one descriptor is held against.

    Attributes:
        queries: members of the query's set.
        cells: (width, height) of the searched map.
        dim: length of its vectors.
        pane_px: size of the pane that shows the heat map.
    """

    queries: int
    cells: tuple[int, int]
    dim: int
    pane_px: QSize


def measure(runs: int) -> list[Figure]:
    """The 95th percentile over ``runs`` rounds of pointer moves: in total, and of its parts."""
    use_offscreen()
    figures: list[Figure] = []
    for title, levels, compared, most in (
        ("", 1, (), runs),
        (f"set of {_SET}: ", _SET, (), min(runs, _FEWER)),
        (f"{1 + len(_COMPARED)} descriptors: ", 1, _COMPARED, min(runs, _FEWER)),
    ):
        figures += _measure_one(title, levels, compared, most)
    return figures


def _measure_one(title: str, levels: int, compared: tuple[str, ...], runs: int) -> list[Figure]:
    floor_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DESCGUI_HOME"] = folder
        engine_ms, painted_ms = measure_moves(
            write_inputs(Path(folder), levels_a=levels),
            runs,
            compared=compared,
            after_round=lambda searched: floor_ms.append(_floor(searched)),
        )
    floor = f"{title}product, enlargement, colours and a bare repaint, p95"
    return [
        summarise(floor, floor_ms, unit="ms"),
        summarise(f"{title}engine: heat map of one query, p95", engine_ms, unit="ms"),
        summarise(
            f"{title}pointer event to painted heat map, p95", painted_ms, unit="ms",
            target=_TARGET, of_ratio=True, ratio_to=floor,
            note=" ".join(["window of 1400×900,", f"{_MOVES} moves a run", *compared]),
        ),
    ]  # fmt: skip


def _floor(searched: Sequence[Searched]) -> float:
    """The 95th percentile of the floor's times for one move, in milliseconds."""
    import cv2
    import torch
    from PySide6.QtGui import QImage, QPainter, QPaintEvent
    from PySide6.QtWidgets import QWidget

    class Bare(QWidget):
        image = QImage()

        def paintEvent(self, _event: QPaintEvent) -> None:
            QPainter(self).drawImage(self.rect(), self.image)

    generator = torch.Generator().manual_seed(0)
    colours = np.random.default_rng(0).integers(0, 255, (256, 3), dtype=np.uint8)
    maps, widgets = [], []
    for one in searched:
        maps.append(torch.randn(one.cells[0] * one.cells[1], one.dim, generator=generator))
        widgets.append(Bare())
        widgets[-1].resize(one.pane_px)
        widgets[-1].show()
    times = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the program asks, see docs/PERFORMANCE.md
    for _ in range(_WARM_UP + _MOVES):
        asked = [torch.randn(one.dim, one.queries, generator=generator) for one in searched]
        start_s = time.perf_counter()
        for one, vectors, queries, widget in zip(searched, maps, asked, widgets, strict=True):
            if one.queries > 1:
                similarity = (vectors @ queries).amax(dim=1)
            else:
                similarity = vectors @ queries[:, 0]
            small = similarity.view(one.cells[1], one.cells[0]).numpy()
            large = cv2.resize(small, _SIZE_PX, interpolation=cv2.INTER_LINEAR)
            low, high = float(large.min()), float(large.max())
            pixels = colours[((large - low) * (255 / (high - low))).astype(np.uint8)]
            widget.image = QImage(
                pixels.data, *_SIZE_PX, 3 * _SIZE_PX[0], QImage.Format.Format_RGB888
            )
            widget.repaint()
        times.append(1000 * (time.perf_counter() - start_s))
    torch.set_num_threads(threads)
    for widget in widgets:
        widget.close()
        widget.deleteLater()
    return float(np.percentile(times[_WARM_UP:], 95))


def write_inputs(folder: Path, *, levels_a: int = 1) -> tuple[list[Path], tuple[Path, Path]]:
    """Two images, and a map file for each; that of the first one with so many levels."""
    from engine.api import write_image

    random = np.random.default_rng(0)
    width, height = _SIZE_PX
    images, maps = [], []
    for name in ("a", "b"):
        image, map_file = folder / f"{name}.png", folder / f"{name}.npz"
        coarse = random.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
        write_image(image, coarse.repeat(16, axis=0).repeat(16, axis=1))
        content = {"stride_px": np.float64(_STRIDE_PX), "offset_px": np.float64(0.0)}
        levels = levels_a if name == "a" else 1
        for level in range(levels):
            values = random.standard_normal((_DIM, height // _STRIDE_PX, width // _STRIDE_PX))
            values = (values / np.linalg.norm(values, axis=0)).astype(np.float32)
            content["values" if levels == 1 else f"values_{level}"] = values
        np.savez(map_file, **content)  # type: ignore[arg-type]
        images.append(image)
        maps.append(map_file)
    return images, (maps[0], maps[1])


def measure_moves(
    inputs: tuple[list[Path], tuple[Path, Path]],
    runs: int,
    begin: Callable[[Application], Callable[[], bool]] | None = None,
    *,
    least_s: float = 0.0,
    compared: tuple[str, ...] = (),
    stalls: StallWatch | None = None,
    after_round: Callable[[Sequence[Searched]], None] | None = None,
) -> tuple[list[float], list[float]]:
    """Open the window, move the pointer around, close the window.

    Args:
        inputs: pictures and map files of :func:`write_inputs`.
        runs: rounds of moves.
        begin: starts other work, and returns a function that says whether it is running.
        least_s: further rounds until the pointer has moved for so many seconds.
        compared: descriptors beside the map files.
        stalls: watches during the rounds.
        after_round: called after each of them with what each descriptor's query is held against.

    Returns:
        The 95th percentile of each round's moves, in milliseconds: of the engine's query for the
        map files, and until all heat maps were painted.
    """
    from PySide6.QtCore import QEvent, QObject, QPointF, Qt, QTimer
    from PySide6.QtGui import QMouseEvent

    from descgui.app import Application, make_application
    from descgui.models.bundle import make_models
    from engine.api import ViewOptions

    images, maps = inputs
    application = make_application(sys.argv[:1])
    options = ViewOptions(
        images=tuple(images), maps=maps, compare=compared, mode="heat", size=(1400, 900)
    )
    models = make_models(None)
    window = Application(options, models)
    window.show()

    loop = WindowLoop()

    class Watch(QObject):
        """Leaves the loop once all answers about another point have been painted."""

        def __init__(self) -> None:
            super().__init__()
            self.waits_for: set[int] = set()
            self.before: dict[int, object] = {}

        def begin(self) -> None:
            self.waits_for = set(models.numbers)
            self.before = {number: self.asked(number) for number in self.waits_for}

        def asked(self, number: int) -> object:
            answer = models.probe.answer_of(number)
            return None if answer is None else answer.request.point_px

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Paint and self.waits_for:
                number = others.index(watched)  # type: ignore[arg-type]
                if self.asked(number) != self.before.get(number):
                    self.waits_for.discard(number)
                    if not self.waits_for:
                        QTimer.singleShot(0, loop.quit)  # after this painting
            return False

    loop.until(
        lambda: all(models.descriptors[one].ready for one in models.numbers) and not window.busy,
        _WAIT_S,
    )
    if begin is not None:
        loop.until(begin(window), _WAIT_S)

    def searched(number: int) -> Searched:
        own, other = (models.descriptors[number].status(side).info for side in ("a", "b"))
        assert own is not None
        assert other is not None
        return Searched(own.levels, other.cells, other.dim, others[number].size())

    asked, *others = window.pair_view.canvases
    watch = Watch()
    for other in others:
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
            watch.begin()
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
            after_round([searched(number) for number in models.numbers])
    if stalls is not None:
        stalls.stop()
    window.finished.connect(loop.quit)
    window.end(0)
    loop.run(_WAIT_S)
    return engine_ms, painted_ms
