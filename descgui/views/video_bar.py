"""Goes through the frames of a video below the panes."""

from __future__ import annotations

from typing import Protocol

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QLabel, QSlider, QWidget

from descgui.models.state import StateModel
from descgui.models.video_state import VideoState
from descgui.views.icons import icon
from descgui.views.panel_parts import icon_button, in_row, tabular


class Frames(Protocol):
    """What the bar asks for."""

    def show_frame(self, frame: int) -> None:
        """Show another frame."""

    def play(self, on: bool) -> None:
        """Play, or stop playing."""


class VideoBar(QWidget):
    """A slider over all frames, buttons for one step and for playing, and the time."""

    def __init__(
        self, model: StateModel[VideoState], frames: Frames, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._frames = frames
        self.back = icon_button("chevron-left", "Previous frame", self)
        self.forth = icon_button("chevron-right", "Next frame", self)
        self.play = icon_button("play", "Play: go on as soon as a frame is described", self)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Frame of the video")
        self.slider.setToolTip("Show another frame; queries and pins in image A stay")
        self.time = QLabel(self)
        self.time.setFont(tabular(self.time.font()))
        in_row(
            self, self.play, self.back, (self.slider, 1), self.forth, self.time,
            margins_px=(8, 0, 8, 4), spacing_px=6,
        )  # fmt: skip
        self.slider.valueChanged.connect(frames.show_frame)
        self.back.clicked.connect(self._back)
        self.forth.clicked.connect(self._forth)
        self.play.clicked.connect(self._toggle)
        model.changed.connect(self._show)
        self._show(model.state)

    def _show(self, state: VideoState) -> None:
        self.setVisible(state.video is not None)
        if state.video is None:
            return
        last = state.video.frames - 1
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, last)
            self.slider.setPageStep(max(1, last // 20))
            self.slider.setValue(state.frame)
        self.time.setText(state.time_text)
        self.back.setEnabled(state.frame > 0)
        self.forth.setEnabled(state.frame < last)
        self.play.setIcon(icon("pause" if state.playing else "play"))
        self.slider.setAccessibleDescription(state.time_text)

    def _back(self) -> None:
        self._frames.show_frame(self._model.state.frame - 1)

    def _forth(self) -> None:
        self._frames.show_frame(self._model.state.frame + 1)

    def _toggle(self) -> None:
        self._frames.play(not self._model.state.playing)
