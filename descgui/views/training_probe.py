"""The live probe of a training: one fixed pair, drawn again every so many steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from PySide6.QtCore import QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QHideEvent,
    QKeyEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from descgui.models.training_state import TrainingModel
from descgui.views.icons import icon
from descgui.views.panel_parts import (
    ElidedLabel,
    SegmentButton,
    centred_words,
    icon_button,
    tabular,
)
from descgui.views.training_lines import step_text
from descgui.views.training_pictures import PictureGrid
from engine.api import Preview

PLAY_MS: Final = 350
"""How long each frame is shown during playback."""

_PICTURES: Final = {
    "pair": ("Pair", "The pair that all these pictures show"),
    "pca": ("PCA", "Similar colours: similar descriptors"),
    "matches": ("Matches", "Solid green: right · dashed vermillion: wrong"),
    "negatives": ("Negatives", "Yellow: the query · ring: its true place · dashed: its negatives"),
}
_FIRST_SHOWN: Final = "matches"
_TALL_PX: Final = 260


class TrainingProbe(QWidget):
    """The pictures of a fixed pair over the steps of a training.

    Left and right show the previous and the next frame, Home and End the first and the newest one,
    the space bar plays.

    Signals:
        step_chosen(int): the frame of this step was chosen.
    """

    step_chosen = Signal(int)

    def __init__(self, model: TrainingModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._frames: tuple[Preview, ...] = ()
        self._index = 0
        self.picture_name = ""
        self._timer = QTimer(self)
        self._timer.setInterval(PLAY_MS)
        self._timer.timeout.connect(self._on_play_time)
        self._tabs = QButtonGroup(self)
        self._tabs.idClicked.connect(self._on_tab)
        self._tab_row = QHBoxLayout()
        self._tab_row.setSpacing(2)
        self.run_name = ElidedLabel(parent=self)
        self.run_name.setProperty("subtle", True)
        self.picture = PictureGrid(self)
        self.meaning = ElidedLabel(parent=self)
        self.meaning.setProperty("subtle", True)
        self.empty = centred_words(
            self,
            "No pictures yet: one pair is drawn again every so many steps of a training.",
            margin_px=16,
        )
        self._pages = QStackedWidget(self)
        self._pages.addWidget(self.empty)
        self._pages.addWidget(self._make_content())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.run_name)
        layout.addWidget(self._pages, 1)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Live probe of the training")
        model.frames.changed.connect(self._on_frames)
        model.frames.added.connect(self._take_frames)
        self._on_frames()

    def sizeHint(self) -> QSize:
        return QSize(480, 320)

    def minimumSizeHint(self) -> QSize:
        return QSize(260, 160)

    # What is shown

    @property
    def step(self) -> int | None:
        """The step in view, None while there are no frames."""
        return self._frames[self._index].step if self._frames else None

    @property
    def playing(self) -> bool:
        """Whether the frames are being played."""
        return self._timer.isActive()

    def choose_picture(self, name: str) -> None:
        """Show another of the pictures."""
        if name in self._names():
            self.picture_name = name
            self._show()

    def choose_step(self, step: int) -> None:
        """Show the frame nearest to a step, and no longer follow the newest one."""
        self.follow_button.setChecked(False)
        self._go_near(step)

    def _on_frames(self) -> None:
        """Show the frames of another run, or the same ones read again."""
        self._stop()
        watched, live = self._model.frames.watched, self._model.status.state.folder
        other = watched is not None and watched != live
        self.run_name.say(f"Probe of {watched.name}" if watched and other else "")
        self.run_name.setVisible(other)
        self._take_frames()

    def _take_frames(self) -> None:
        """Follow the model; the step in view stays unless the newest frame is followed."""
        before = self.step
        self._frames = self._model.frames.shown
        self._go_near(before)

    def _go_near(self, step: int | None) -> None:
        if step is None or self.follow_button.isChecked():
            self._index = max(0, len(self._frames) - 1)
        else:
            distances = [abs(frame.step - step) for frame in self._frames]
            self._index = distances.index(min(distances)) if distances else 0
        self._show()

    # Making

    def _make_content(self) -> QWidget:
        content = QWidget(self)
        self.compare_button = icon_button(
            "compare", "Show the first frame beside it", self, flat=True
        )
        self.compare_button.setText("Compare with first")
        self.compare_button.setCheckable(True)
        self.compare_button.toggled.connect(self._show)
        head = QHBoxLayout()
        head.setSpacing(4)
        head.addLayout(self._tab_row)
        head.addStretch(1)
        head.addWidget(self.compare_button)
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(6)
        layout.addLayout(head)
        layout.addWidget(self.picture, 1)
        layout.addWidget(self.meaning)
        layout.addLayout(self._make_scrubber())
        return content

    def _make_scrubber(self) -> QHBoxLayout:
        self.previous_button = icon_button("previous", "Previous frame", self, flat=True)
        self.previous_button.clicked.connect(lambda: self._go(self._index - 1))
        self.play_button = icon_button("play", "Play the frames", self, flat=True)
        self.play_button.clicked.connect(self._on_play)
        self.next_button = icon_button("next", "Next frame", self, flat=True)
        self.next_button.clicked.connect(lambda: self._go(self._index + 1))
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Frame")
        self.slider.setPageStep(5)
        self.slider.setMinimumWidth(60)
        self.slider.valueChanged.connect(self._go)
        self.step_label = QLabel(self)
        self.step_label.setFont(tabular(self.font()))
        self.step_label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.follow_button = icon_button("newest", "Follow the newest frame", self, flat=True)
        self.follow_button.setCheckable(True)
        self.follow_button.setChecked(True)
        self.follow_button.toggled.connect(self._on_follow)
        row = QHBoxLayout()
        row.setSpacing(2)
        for button in (self.previous_button, self.play_button, self.next_button):
            row.addWidget(button)
        row.addSpacing(4)
        row.addWidget(self.slider, 1)
        row.addSpacing(6)
        row.addWidget(self.step_label)
        row.addSpacing(2)
        row.addWidget(self.follow_button)
        return row

    # Drawing

    def _names(self) -> tuple[str, ...]:
        """The pictures there are in any frame, in their usual order."""
        names = {name for frame in self._frames for name in frame.pictures}
        return (*(name for name in _PICTURES if name in names), *sorted(names - set(_PICTURES)))

    def _show(self) -> None:
        """Draw the frame in view and its place among the others."""
        names = self._names()
        self._pages.setCurrentIndex(1 if names else 0)
        if not names:
            return
        if self.picture_name not in names:
            self.picture_name = _FIRST_SHOWN if _FIRST_SHOWN in names else names[0]
        self._show_tabs(names)
        last = len(self._frames) - 1
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, last)
            self.slider.setValue(self._index)
        for control in (self.slider, self.play_button, self.compare_button):
            control.setEnabled(last > 0)
        self.previous_button.setEnabled(self._index > 0)
        self.next_button.setEnabled(self._index < last)
        frame = self._frames[self._index]
        widest = f"Step {step_text(self._frames[-1].step)}"
        self.step_label.setMinimumWidth(self.step_label.fontMetrics().horizontalAdvance(widest) + 2)
        self.step_label.setText(f"Step {step_text(frame.step)}")
        self.step_label.setToolTip(f"Frame {self._index + 1} of {last + 1}")
        compared = self.compare_button.isChecked() and last > 0
        frames = (self._frames[0], frame) if compared else (frame,)
        shown = [one for one in frames if self.picture_name in one.pictures]
        captions = [f"Step {step_text(one.step)}" for one in shown]
        self.picture.show_pictures([one.pictures[self.picture_name] for one in shown], captions)
        self.picture.setAccessibleName(", ".join(captions))
        self.meaning.say(_PICTURES.get(self.picture_name, ("", ""))[1])
        self._place()

    def _show_tabs(self, names: Sequence[str]) -> None:
        shown = [button.property("picture") for button in self._tabs.buttons()]
        if shown != list(names):
            for button in self._tabs.buttons():
                self._tabs.removeButton(button)
                self._tab_row.removeWidget(button)
                button.deleteLater()
            for number, name in enumerate(names):
                title, _ = _PICTURES.get(name, (name, ""))
                tab = SegmentButton(title, self)
                tab.setProperty("picture", name)
                tab.setAccessibleName(title)
                tab.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
                self._tabs.addButton(tab, number)
                self._tab_row.addWidget(tab)
            for before, after in pairwise([*self._tabs.buttons(), self.compare_button]):
                QWidget.setTabOrder(before, after)
        for button in self._tabs.buttons():
            button.setChecked(button.property("picture") == self.picture_name)

    def _place(self) -> None:
        """Leave out what is least needed where there is little room."""
        self.meaning.setVisible(self.height() >= _TALL_PX)
        words = sum(button.sizeHint().width() + 2 for button in self._tabs.buttons())
        beside = self.compare_button.fontMetrics().horizontalAdvance(self.compare_button.text())
        style = Qt.ToolButtonStyle
        self.compare_button.setToolButtonStyle(
            style.ToolButtonTextBesideIcon
            if self.width() >= words + beside + 70
            else style.ToolButtonIconOnly
        )

    # Hearing

    def _go(self, index: int) -> None:
        """Go to a frame that was asked for."""
        index = min(max(index, 0), len(self._frames) - 1)
        self._stop()
        with QSignalBlocker(self.follow_button):
            self.follow_button.setChecked(False)
        if self._frames and index != self._index:
            self._index = index
            self._show()
            self.step_chosen.emit(self._frames[index].step)

    def _on_tab(self, number: int) -> None:
        self.choose_picture(self._names()[number])

    def _on_follow(self, follows: bool) -> None:
        if follows:
            self._stop()
            self._go_near(None)

    def _on_play(self) -> None:
        if self.playing:
            self._stop()
            return
        with QSignalBlocker(self.follow_button):
            self.follow_button.setChecked(False)
        if self._index == len(self._frames) - 1:
            self._index = 0
            self._show()
        self._timer.start()
        self._offer("pause", "Stop playing")

    def _on_play_time(self) -> None:
        self._index = min(self._index + 1, len(self._frames) - 1)
        self._show()
        if self._index == len(self._frames) - 1:
            self._stop()

    def _stop(self) -> None:
        self._timer.stop()
        self._offer("play", "Play the frames")

    def _offer(self, icon_name: str, tip: str) -> None:
        self.play_button.setIcon(icon(icon_name))
        self.play_button.setToolTip(tip)
        self.play_button.setAccessibleName(tip)

    # Qt's own

    def keyPressEvent(self, event: QKeyEvent) -> None:
        targets = {
            Qt.Key.Key_Left: self._index - 1,
            Qt.Key.Key_Right: self._index + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: len(self._frames) - 1,
        }
        if not self._frames:
            event.ignore()
        elif event.key() in targets:
            self._go(targets[Qt.Key(event.key())])
        elif event.key() == Qt.Key.Key_Space and len(self._frames) > 1:
            self._on_play()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._stop()
