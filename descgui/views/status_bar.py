"""The line at the foot of the window: the engine, its work, the point under the mouse, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QHideEvent, QPainter, QPaintEvent, QPen, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QLabel, QStatusBar, QWidget

from descgui.models.bundle import AppModels
from descgui.models.engine_state import EngineState
from descgui.models.maps_state import MapStatus
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Probe
from descgui.views.panel_parts import ElidedLabel
from descgui.views.theme import theme_colors
from descgui.views.words import short_device, size_text
from engine.api import SIDES

_TURN_MS = 80
_STEP_DEGREES = 30
_ROOM_FOR_PIXEL_PX = 1120
BRIEF_MS = 100  # work that ends sooner is not told: a line that flashes tells nothing


class Spinner(QWidget):
    """A small turning arc, for work whose end is unknown; it costs nothing while hidden."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._degrees = 0
        self._timer = QTimer(self)
        self._timer.setInterval(_TURN_MS)
        self._timer.timeout.connect(self._turn)
        self.setFixedSize(QSize(16, 16))
        self.setAccessibleName("Busy")

    def showEvent(self, event: QShowEvent) -> None:
        self._timer.start()
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        self._timer.stop()
        super().hideEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        colors = theme_colors(self.palette())
        ring = QRectF(self.rect()).adjusted(2.5, 2.5, -2.5, -2.5)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(colors.line), 2))
        painter.drawEllipse(ring)
        pen = QPen(QColor(colors.accent), 2)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        painter.drawArc(ring, -self._degrees * 16, 100 * 16)

    def _turn(self) -> None:
        self._degrees = (self._degrees + _STEP_DEGREES) % 360
        self.update()


class StatusBar(QStatusBar):
    """Draws the models' state in a few words."""

    def __init__(self, models: AppModels, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self.setSizeGripEnabled(False)
        self.setContentsMargins(8, 0, 8, 0)
        self.spinner = Spinner(self)
        self.engine = self._label("Where descriptors are computed")
        self.work = self._label("What is being computed", ElidedLabel(parent=self, fills=False))
        self.note = self._label("What was done", ElidedLabel(parent=self, fills=False))
        self._note_timer = QTimer(self, singleShot=True)
        self._note_timer.timeout.connect(self._end_note)
        self._work_timer = QTimer(self, singleShot=True, interval=BRIEF_MS)
        self._work_timer.timeout.connect(self._tell_work)
        self.pixel = self._label("Pixel under the mouse and its red, green and blue")
        self.cursor_position = self._label("Point under the mouse, in image pixels")
        self.pair = self._label("Open pair", ElidedLabel(parent=self, fills=False))
        self.memory = self._label("Memory of the maps")
        # Digits change all the time: the labels keep their place.
        for label, sample in (
            (self.pixel, "(8888, 8888)  RGB 255 255 255"),
            (self.cursor_position, "A  x 8888.8  y 8888.8"),
        ):
            label.setMinimumWidth(label.fontMetrics().horizontalAdvance(sample) + 12)
        for left in (self.note, self.spinner, self.engine, self.work):
            self.addWidget(left)
        for right in (self.pixel, self.cursor_position, self.pair, self.memory):
            self.addPermanentWidget(right)
        self._connect(models)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave out the pixel's colours where there is no room for them."""
        super().resizeEvent(event)
        self.pixel.setVisible(self.width() >= _ROOM_FOR_PIXEL_PX and bool(self.pixel.text()))

    def say(self, text: str, time_ms: int) -> None:
        """Say what was done, in place of the device and the work, for a while."""
        _say(self.note, text, text)
        self._note_timer.start(time_ms)
        self._show_work()

    def _end_note(self) -> None:
        _say(self.note, "")
        self._show_work()

    def _label(self, name: str, label: QLabel | None = None) -> QLabel:
        label = QLabel(self) if label is None else label
        label.setAccessibleName(name)
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setContentsMargins(4, 0, 8, 0)
        label.hide()
        return label

    def _connect(self, models: AppModels) -> None:
        models.engine.changed.connect(self._show_engine)
        models.settings.computing_changed.connect(self._show_device)
        models.pair.changed.connect(self._show_pair)
        models.pair.loading_changed.connect(self._show_work)
        models.matches.changed.connect(self._show_work)
        models.pictures.changed.connect(self._show_work)
        models.probe.moved.connect(self._show_probe)
        for maps in models.descriptors:
            maps.status_changed.connect(self._show_maps)
        self._show_engine(models.engine.state)
        self._show_pair(models.pair.state)
        self._show_maps()
        self._show_probe(models.probe.probe)

    def _show_device(self, *_state: Any) -> None:
        self._show_engine(self._models.engine.state)

    def _show_engine(self, state: EngineState) -> None:
        if state.stage == "loading":
            _say(self.engine, "Loading PyTorch…")
        elif state.stage == "failed":
            _say(self.engine, "PyTorch could not be loaded", state.message)
        else:
            wanted = self._models.settings.state.device
            titles = {device.name: device.title for device in state.devices}
            best = state.devices[0].title if state.devices else ""
            _say(self.engine, short_device(titles.get(wanted, best)))
        self._show_work()

    def _show_pair(self, state: PairState | None) -> None:
        if state is None:
            _say(self.pair, "")
            return
        sizes = [
            f"{image.size_px[0]}×{image.size_px[1]}"
            + (f", {image.range_words}" if image.range_words else "")
            for image in (state.image_a, state.image_b)
        ]
        _say(
            self.pair,
            state.pair.name,
            f"{state.pair.name}\n"
            + "\n".join(
                f"{side}: {path}, {size}"
                for side, path, size in zip(
                    "AB", (state.pair.path_a, state.pair.path_b), sizes, strict=True
                )
            ),
        )
        self._show_probe(self._models.probe.probe)

    def _show_probe(self, probe: Probe | None) -> None:
        state = self._models.pair.state
        if probe is None or state is None:
            _say(self.cursor_position, "")
            _say(self.pixel, "")
            return
        x, y = probe.point_px
        side = probe.side.upper()
        _say(self.cursor_position, f"{side}  x {x:.1f}  y {y:.1f}")
        pixels = (state.image_a if probe.side == "a" else state.image_b).samples
        column, row = round(x), round(y)
        inside = 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]
        _say(self.pixel, _pixel_text(pixels, column, row) if inside else "")
        self.pixel.setVisible(inside and self.width() >= _ROOM_FOR_PIXEL_PX)

    def _show_maps(self, *_state: Any) -> None:
        infos = [maps.status(side).info for maps in self._models.descriptors for side in SIDES]
        size_bytes = sum(info.size_bytes for info in infos if info is not None)
        budget = self._models.settings.state.map_budget_mb
        text = f"Maps {size_text(size_bytes)}" if size_bytes else ""
        _say(
            self.memory,
            text,
            f"Memory of the shown maps; {budget} MB may be kept",
        )
        self._show_work()

    def _show_work(self, *_state: Any) -> None:
        text = self._work_text()
        self.work.setText(text)
        self.work.setToolTip(text)
        if text and self.spinner.isHidden():
            if not self._work_timer.isActive():
                self._work_timer.start()
        else:
            self._tell_work()

    def _tell_work(self) -> None:
        self._work_timer.stop()
        text = self.work.text()
        quiet = self.note.isHidden()
        self.work.setVisible(bool(text) and quiet)
        self.engine.setVisible(bool(self.engine.text()) and quiet)
        self.spinner.setVisible(bool(text) or self._models.engine.state.stage == "loading")

    def _work_text(self) -> str:
        models = self._models
        if models.pair.loading:
            return f"Opening {models.pair.loading}…"
        for maps in models.descriptors:
            stages = [maps.status(side) for side in SIDES]
            if any(status.stage == "computing" for status in stages):
                return _describing_text(maps.choice.name, stages)
        if models.matches.state.running:
            return "Matching…"
        return models.pictures.state.busy


def _describing_text(name: str, stages: list[MapStatus]) -> str:
    """Which image is being described, what is done just now, and how far it is if that is known."""
    place = next(place for place, status in enumerate(stages) if status.stage == "computing")
    words = f"{name} · image {'AB'[place]} · {stages[place].phase or 'describing'}"
    fraction = stages[place].fraction
    return words if fraction is None else f"{words} · {round(100 * fraction)} %"


def _pixel_text(pixels: np.ndarray[Any, Any], column: int, row: int) -> str:
    red, green, blue = (f"{value:.5g}" for value in pixels[row, column].tolist())
    if pixels.dtype.kind != "f":
        red, green, blue = (str(value) for value in pixels[row, column].tolist())
    return f"({column}, {row})  RGB {red} {green} {blue}"


def _say(label: QLabel, text: str, tip: str = "") -> None:
    label.setText(text)
    label.setToolTip(tip)
    label.setVisible(bool(text))
