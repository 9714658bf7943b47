"""The live probe of a training: one fixed pair, drawn again every so many steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from PySide6.QtCore import QRectF, QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QHideEvent,
    QImage,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPixmap,
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

from descgui.models.training_curves_data import Picture, insert_frame, thin_frames
from descgui.views.icons import icon
from descgui.views.panel_parts import (
    ElidedLabel,
    SegmentButton,
    centred_words,
    icon_button,
    tabular,
)
from descgui.views.training_lines import step_text
from engine.api import Preview

PLAY_MS: Final = 350
"""Time for which a frame stands while they are played."""

_ORDER: Final = ("pair", "pca", "matches", "negatives")
_GAP_PX: Final = 8.0
_CAPTION_PX: Final = 18.0
_TALL_PX: Final = 260


class ProbePicture(QWidget):
    """One picture, or two to be compared, as large as fits, with their captions.  Emits nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: tuple[tuple[str, QPixmap], ...] = ()
        self._sources: tuple[Picture, ...] = ()
        self._fitted: dict[int, QPixmap] = {}
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setMinimumSize(80, 60)

    def show_pictures(self, pictures: Sequence[tuple[str, Picture]]) -> None:
        """Show pictures with their captions, the first one first."""
        sources = tuple(picture for _, picture in pictures)
        captions = tuple(caption for caption, _ in pictures)
        same = len(sources) == len(self._sources) and all(
            one is other for one, other in zip(sources, self._sources, strict=True)
        )
        if not same:
            self._sources = sources
            self._fitted = {}
            pixmaps = tuple(_pixmap(source) for source in sources)
        else:
            pixmaps = tuple(pixmap for _, pixmap in self._shown)
        self._shown = tuple(zip(captions, pixmaps, strict=True))
        self.setAccessibleName(", ".join(captions))
        self.update()

    @property
    def captions(self) -> tuple[str, ...]:
        """What stands above the pictures."""
        return tuple(caption for caption, _ in self._shown)

    def places(self) -> tuple[QRectF, ...]:
        """Where the pictures are drawn, in the aspect that they have."""
        if not self._shown:
            return ()
        size = self._shown[-1][1].size()
        aspect = size.width() / size.height()
        beside = self._boxes(vertical=False)
        below = self._boxes(vertical=True)
        best = max((beside, below), key=lambda boxes: _fitted_width(boxes[0], aspect))
        return tuple(
            _inside(box, pixmap.width() / pixmap.height())
            for box, (_, pixmap) in zip(best, self._shown, strict=True)
        )

    def _boxes(self, *, vertical: bool) -> list[QRectF]:
        """The room for each picture, below its caption."""
        count = len(self._shown)
        columns, rows = (1, count) if vertical else (count, 1)
        caption = _CAPTION_PX if count > 1 else 0.0
        width = (self.width() - _GAP_PX * (columns - 1)) / columns
        height = (self.height() - _GAP_PX * (rows - 1)) / rows
        return [
            QRectF(
                number % columns * (width + _GAP_PX),
                number // columns * (height + _GAP_PX) + caption,
                width,
                max(1.0, height - caption),
            )
            for number in range(count)
        ]

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        several = len(self._shown) > 1
        places = self.places()
        for number, ((caption, pixmap), place) in enumerate(zip(self._shown, places, strict=True)):
            painter.drawPixmap(place.topLeft(), self._fit(number, pixmap, place))
            if several:
                line = QRectF(place.left(), place.top() - _CAPTION_PX, place.width(), _CAPTION_PX)
                painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
                painter.drawText(line, Qt.AlignmentFlag.AlignVCenter, caption)

    def _fit(self, number: int, pixmap: QPixmap, place: QRectF) -> QPixmap:
        """The picture in the pixels of the screen; kept until the size changes."""
        ratio = self.devicePixelRatioF()
        size = (place.size() * ratio).toSize().expandedTo(QSize(1, 1))
        kept = self._fitted.get(number)
        if kept is None or kept.size() != size:
            kept = pixmap.scaled(
                size,
                Qt.AspectRatioMode.IgnoreAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            kept.setDevicePixelRatio(ratio)
            self._fitted[number] = kept
        return kept


class TrainingProbe(QWidget):
    """The pictures of a fixed pair over the steps of a training, to be scrubbed through.

    Left and right show the frame before and after, Home and End the first and the newest one, the
    space bar plays.

    Signals:
        step_chosen(int): a person went to the frame of this step.
    """

    step_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frames: tuple[Preview, ...] = ()
        self._index = 0
        self._name = ""
        self._timer = QTimer(self)
        self._timer.setInterval(PLAY_MS)
        self._timer.timeout.connect(self._on_play_time)
        self._tabs = QButtonGroup(self)
        self._tabs.idClicked.connect(self._on_tab)
        self._tab_row = QHBoxLayout()
        self._tab_row.setSpacing(2)
        self.picture = ProbePicture(self)
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
        layout.addWidget(self._pages)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Live probe of the training")
        self._show()

    def sizeHint(self) -> QSize:
        return QSize(480, 320)

    def minimumSizeHint(self) -> QSize:
        return QSize(260, 160)

    # What is shown

    def set_frames(self, frames: Sequence[Preview]) -> None:
        """Show these frames; the step in view stays where it still is one."""
        self._stop()
        before = self.step
        shared: tuple[Preview, ...] = ()
        for frame in sorted(frames, key=lambda frame: frame.step):
            shared = insert_frame(shared, frame)
        self._frames = thin_frames(shared)
        self._go_near(before)

    def add_frame(self, frame: Preview) -> None:
        """Add a frame; it is shown while the newest one is followed."""
        before = self.step
        self._frames = thin_frames(insert_frame(self._frames, frame))
        self._go_near(before)

    @property
    def frames(self) -> tuple[Preview, ...]:
        """The frames that are kept, by step."""
        return self._frames

    @property
    def step(self) -> int | None:
        """The step in view, None while there are no frames."""
        return self._frames[self._index].step if self._frames else None

    @property
    def picture_name(self) -> str:
        """Which of a frame's pictures is shown."""
        return self._name

    @property
    def playing(self) -> bool:
        """Whether the frames are played."""
        return self._timer.isActive()

    def choose_picture(self, name: str) -> None:
        """Show another of the pictures."""
        if name in self._names():
            self._name = name
            self._show()

    def choose_step(self, step: int) -> None:
        """Show the frame nearest to a step, and no longer follow the newest one."""
        self.follow_button.setChecked(False)
        self._go_near(step)

    def _go_near(self, step: int | None) -> None:
        if not self._frames or step is None or self.follow_button.isChecked():
            self._index = max(0, len(self._frames) - 1)
        else:
            distances = [abs(frame.step - step) for frame in self._frames]
            self._index = int(np.argmin(distances))
        self._show()

    # Making

    def _make_content(self) -> QWidget:
        content = QWidget(self)
        self.compare_button = icon_button(
            "compare", "Show the first frame beside it", self, flat=True
        )
        self.compare_button.setText("First against now")
        self.compare_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
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
        self.previous_button = icon_button("previous", "Frame before", self, flat=True)
        self.previous_button.clicked.connect(self._on_previous)
        self.play_button = icon_button("play", "Play the frames", self, flat=True)
        self.play_button.clicked.connect(self._on_play)
        self.next_button = icon_button("next", "Frame after", self, flat=True)
        self.next_button.clicked.connect(self._on_next)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Frame")
        self.slider.setPageStep(5)
        self.slider.setMinimumWidth(60)
        self.slider.valueChanged.connect(self._on_slider)
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
        usual = [name for name in _ORDER if name in names]
        return (*usual, *sorted(names - set(usual)))

    def _show(self) -> None:
        """Draw the frame in view, and say where it stands."""
        names = self._names()
        self._pages.setCurrentIndex(1 if names else 0)
        if not names:
            return
        if self._name not in names:
            self._name = "matches" if "matches" in names else names[0]
        self._show_tabs(names)
        last = len(self._frames) - 1
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, last)
            self.slider.setValue(self._index)
        self.slider.setEnabled(last > 0)
        self.play_button.setEnabled(last > 0)
        self.compare_button.setEnabled(last > 0)
        self.previous_button.setEnabled(self._index > 0)
        self.next_button.setEnabled(self._index < last)
        frame = self._frames[self._index]
        self._say_step(frame.step)
        self.picture.show_pictures(self._pictures(frame))
        self.meaning.say(self._meanings().get(self._name, ""))
        self._place()

    def _pictures(self, frame: Preview) -> list[tuple[str, Picture]]:
        compared = self.compare_button.isChecked() and len(self._frames) > 1
        frames = [self._frames[0], frame] if compared else [frame]
        return [
            (f"Step {step_text(one.step)}", one.pictures[self._name])
            for one in frames
            if self._name in one.pictures
        ]

    def _show_tabs(self, names: Sequence[str]) -> None:
        shown = [button.property("picture") for button in self._tabs.buttons()]
        if shown != list(names):
            for button in self._tabs.buttons():
                self._tabs.removeButton(button)
                self._tab_row.removeWidget(button)
                button.deleteLater()
            for number, name in enumerate(names):
                tab = SegmentButton(self._title(name), self)
                tab.setProperty("picture", name)
                tab.setAccessibleName(self._title(name))
                tab.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
                self._tabs.addButton(tab, number)
                self._tab_row.addWidget(tab)
            for before, after in pairwise([*self._tabs.buttons(), self.compare_button]):
                QWidget.setTabOrder(before, after)
        for button in self._tabs.buttons():
            button.setChecked(button.property("picture") == self._name)

    def _say_step(self, step: int) -> None:
        widest = f"Step {step_text(max(frame.step for frame in self._frames))}"
        self.step_label.setMinimumWidth(self.step_label.fontMetrics().horizontalAdvance(widest) + 2)
        self.step_label.setText(f"Step {step_text(step)}")
        self.step_label.setToolTip(f"Frame {self._index + 1} of {len(self._frames)}")

    def _title(self, name: str) -> str:
        titles = {
            "pair": "Pair",
            "pca": "PCA",
            "matches": "Matches",
            "negatives": "Negatives",
        }
        return titles.get(name, name)

    def _meanings(self) -> dict[str, str]:
        return {
            "pair": "The pair that all these pictures are of",
            "pca": "Like colours: like descriptors",
            "matches": "Solid green: right · dashed vermillion: wrong",
            "negatives": "Yellow: the point · ring: its place · dashed: taken for it",
        }

    def _place(self) -> None:
        """Do without what can be missed where there is little room."""
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
        """Go where a person wants to."""
        index = min(max(index, 0), len(self._frames) - 1)
        self._stop()
        with QSignalBlocker(self.follow_button):
            self.follow_button.setChecked(False)
        if self._frames and index != self._index:
            self._index = index
            self._show()
            self.step_chosen.emit(self._frames[index].step)

    def _on_slider(self, index: int) -> None:
        self._go(index)

    def _on_previous(self) -> None:
        self._go(self._index - 1)

    def _on_next(self) -> None:
        self._go(self._index + 1)

    def _on_tab(self, number: int) -> None:
        self.choose_picture(self._names()[number])

    def _on_follow(self, follows: bool) -> None:
        if follows and self._frames:
            self._stop()
            self._index = len(self._frames) - 1
            self._show()

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
        self.play_button.setIcon(icon("pause"))
        self.play_button.setToolTip("Stop playing")
        self.play_button.setAccessibleName("Stop playing")

    def _on_play_time(self) -> None:
        if self._index < len(self._frames) - 1:
            self._index += 1
            self._show()
        if self._index >= len(self._frames) - 1:
            self._stop()

    def _stop(self) -> None:
        if self._timer.isActive():
            self._timer.stop()
            self.play_button.setIcon(icon("play"))
            self.play_button.setToolTip("Play the frames")
            self.play_button.setAccessibleName("Play the frames")

    # Qt's own

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if not self._frames:
            event.ignore()
        elif key == Qt.Key.Key_Left:
            self._go(self._index - 1)
        elif key == Qt.Key.Key_Right:
            self._go(self._index + 1)
        elif key == Qt.Key.Key_Home:
            self._go(0)
        elif key == Qt.Key.Key_End:
            self._go(len(self._frames) - 1)
        elif key == Qt.Key.Key_Space and len(self._frames) > 1:
            self._on_play()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._stop()


def _pixmap(rgb: Picture) -> QPixmap:
    """A picture of the screen's own kind."""
    pixels = np.ascontiguousarray(rgb)
    height, width = pixels.shape[:2]
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image)


def _fitted_width(box: QRectF, aspect: float) -> float:
    """How wide a picture of an aspect becomes in a box."""
    return min(box.width(), aspect * box.height())


def _inside(box: QRectF, aspect: float) -> QRectF:
    """The largest place of an aspect in the middle of a box."""
    width = max(1.0, _fitted_width(box, aspect))
    height = max(1.0, width / aspect)
    left = box.left() + 0.5 * (box.width() - width)
    return QRectF(left, box.top() + 0.5 * (box.height() - height), width, height)
