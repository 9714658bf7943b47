"""One pane: a slim header that says what is shown, and the canvas below it."""

from __future__ import annotations

import math
from typing import Final

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolButton, QWidget

from descgui.views.canvas import ImageCanvas
from descgui.views.color_bar import ColorBar
from descgui.views.icons import icon
from descgui.views.panel_parts import draw_sign, in_column, plain_tip
from descgui.views.scene import Caption, PaneKey
from descgui.views.theme import theme_colors
from descgui.views.viewport import Size

_BAR_HEIGHT: Final = 2.0
_FRAME_MS: Final = 40
_LAP_FRAMES: Final = 45
_SIGN_PX: Final = 16
_PROBLEM_PX: Final = 20.0  # the sign before the words of a problem, with its gaps
_BADGE_GAP: Final = 8.0
_BETWEEN: Final = " · "


class PaneHeader(QWidget):
    """Letter, file name, size; on the right what is shown; below, a thin line of progress.

    Signals:
        cancel_requested(): the button beside the progress.
        range_requested(): the button with the range of values.
    """

    cancel_requested = Signal()
    range_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._letter = ""
        self._name = ""
        self._size_text = ""
        self._caption = Caption()
        self._lap = 0
        self._timer = QTimer(self, interval=_FRAME_MS)
        self._timer.timeout.connect(self._advance)
        self._cancel = QToolButton(self)
        self._cancel.setText("Cancel")
        self._cancel.setAutoRaise(True)
        self._cancel.setAccessibleName("Cancel describing")
        self._cancel.setToolTip("Stop describing the images")
        self._cancel.clicked.connect(self.cancel_requested)
        self._cancel.hide()
        self._told: tuple[object, ...] = ()
        self._remarks: tuple[str, ...] = ()
        self._values = ""
        self._brief = False
        self._range = QToolButton(self)
        self._range.setAutoRaise(True)
        self._range.setIcon(icon("value-range"))
        self._range.setIconSize(QSize(14, 14))
        self._range.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._range.clicked.connect(self.range_requested)
        self._range.hide()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_image(
        self,
        letter: str,
        name: str,
        size_px: Size | None,
        *,
        values: tuple[str, str] | None = None,
        remarks: tuple[str, ...] = (),
        brief: bool = False,
    ) -> None:
        """Name the pane's image.

        Args:
            letter: of the pane.
            name: of the file.
            size_px: (width, height).
            values: which values are black and white, and the same with what they are; None for
                plain 8 bit.
            remarks: sentences about the file.
            brief: what is shown matters more than the image's name, which is left out without room.
        """
        told = (letter, name, size_px, values, remarks, brief, self.font())
        if told == self._told:
            return
        self._told = told
        self._letter = letter
        self._remarks = remarks
        self._brief = brief
        short, self._values = values or ("", "")
        self._range.setText(short)
        self._range.setVisible(values is not None)
        self._range.setAccessibleName(f"Black and white points: {self._values}")
        self._range.setToolTip(f"{self._values}. Press to change black and white.")
        self._place_button()
        self._name = name
        self._size_text = f"{size_px[0]} × {size_px[1]}" if size_px else ""
        self._tell()
        self.update()

    def set_caption(self, caption: Caption, *, can_cancel: bool) -> None:
        """Say what is shown, or what is being done."""
        if self._cancel.isHidden() == can_cancel:
            self._cancel.setVisible(can_cancel)
            self._place_button()
        if caption == self._caption:
            return
        self._caption = caption
        running = caption.busy and caption.fraction is None
        if running != self._timer.isActive():
            self._timer.start() if running else self._timer.stop()
        self._tell()
        self.update()

    @property
    def caption(self) -> Caption:
        """What is said."""
        return self._caption

    def sizeHint(self) -> QSize:
        return QSize(240, math.ceil(QFontMetricsF(self.font()).height()) + 13)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place_button()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette = self.palette()
        ink = palette.color(QPalette.ColorRole.WindowText)
        faint = QColor(ink)
        faint.setAlpha(165)
        room = QRectF(self.rect()).adjusted(0.0, 0.0, -4.0, -_BAR_HEIGHT)
        if not self._cancel.isHidden():
            room.setRight(self._cancel.x() - 6.0)
        left = self._paint_letter(painter)
        if not self._range.isHidden():
            left = self._range.geometry().right() + 6.0
        if self._remarks:
            place = QRect(round(left), (self.height() - 18) // 2, _SIGN_PX, _SIGN_PX)
            draw_sign(painter, place, "warning", palette)
            left = place.right() + 6.0
        caption_color = QColor(theme_colors(palette).error) if self._caption.problem else ink
        share = 0.75 if self._caption.problem or self._caption.busy else 0.6
        most = (1.0 if self._brief else share) * (room.right() - left)
        badges = self._badges()
        if badges:
            widths = sum(self._badge_width(text) + _BADGE_GAP for text in badges)
            most = min(most, room.right() - left - widths)
        if self._caption.problem:
            most = min(most, room.right() - left - _PROBLEM_PX)
        right = self._paint_caption(painter, room, caption_color, most)
        for text in reversed(badges):
            right = self._paint_badge(painter, room, right, text)
        self._paint_name(
            painter, QRectF(left, room.top(), right - left - 10.0, room.height()), faint
        )
        if self._caption.busy:
            self._paint_progress(painter)

    def _plate(self) -> QRectF:
        """Where the letter stands."""
        metrics = QFontMetricsF(self._bold())
        side = metrics.height() + 3.0
        width = max(side, metrics.horizontalAdvance(self._letter) + 9.0)
        return QRectF(0.0, (self.height() - _BAR_HEIGHT - side) / 2, width, side)

    def _paint_letter(self, painter: QPainter) -> float:
        plate = self._plate()
        painter.setPen(Qt.PenStyle.NoPen)
        plate_color = self.palette().color(QPalette.ColorRole.WindowText)
        plate_color.setAlpha(30)
        painter.setBrush(plate_color)
        painter.drawRoundedRect(plate, 4.0, 4.0)
        painter.setFont(self._bold())
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, self._letter)
        return plate.right() + 8.0

    def _paint_caption(self, painter: QPainter, room: QRectF, color: QColor, most: float) -> float:
        metrics = QFontMetricsF(self.font())
        # Of work under way its name says too little; of what is shown the mode's name can go.
        fewest = 2 if self._caption.busy or self._caption.problem else 1
        text = _shortened(self._caption.text, metrics, most, fewest=fewest)
        width = metrics.horizontalAdvance(text)
        painter.setFont(self.font())
        painter.setPen(color)
        frame = QRectF(room.right() - width - 1.0, room.top(), width + 2.0, room.height())
        painter.drawText(frame, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
        if self._caption.problem:
            self._paint_sign(
                painter, QPointF(frame.left() - _PROBLEM_PX / 2, room.center().y()), color
            )
            return frame.left() - _PROBLEM_PX
        return frame.left()

    def _paint_sign(self, painter: QPainter, centre: QPointF, color: QColor) -> None:
        painter.setPen(QPen(color, 1.4))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawEllipse(centre, 6.0, 6.0)
        painter.drawLine(centre + QPointF(0.0, -3.0), centre + QPointF(0.0, 0.8))
        painter.drawPoint(centre + QPointF(0.0, 3.0))

    def _badges(self) -> list[str]:
        """What the reader has to know of all numbers in this pane, in a word or two."""
        shown = {"untrained": self._caption.untrained, "weak vote": bool(self._caption.weak_vote)}
        return [text for text, applies in shown.items() if applies]

    def _paint_badge(self, painter: QPainter, room: QRectF, right: float, text: str) -> float:
        width, height = self._badge_width(text), QFontMetricsF(self.font()).height() + 2.0
        plate = QRectF(right - width - _BADGE_GAP, room.center().y() - height / 2, width, height)
        color = QColor(theme_colors(self.palette()).warning)
        painter.setPen(QPen(color, 1.2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(plate, height / 2, height / 2)
        painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, text)
        return plate.left()

    def _badge_width(self, text: str) -> float:
        return QFontMetricsF(self.font()).horizontalAdvance(text) + 14.0

    def _paint_name(self, painter: QPainter, frame: QRectF, faint: QColor) -> None:
        metrics = QFontMetricsF(self.font())
        size_width = metrics.horizontalAdvance(self._size_text)
        name_width = metrics.horizontalAdvance(self._name)
        with_size = frame.width() >= min(name_width, 90.0) + 10.0 + size_width
        most = frame.width() - (size_width + 10.0 if with_size else 0.0)
        if most < 24.0:
            return
        name = metrics.elidedText(self._name, Qt.TextElideMode.ElideMiddle, most)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.setFont(self.font())
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(frame, flags, name)
        if with_size:
            frame.setLeft(frame.left() + metrics.horizontalAdvance(name) + 10.0)
            painter.setPen(faint)
            painter.drawText(frame, flags, self._size_text)

    def _paint_progress(self, painter: QPainter) -> None:
        width = float(self.width())
        top = self.height() - _BAR_HEIGHT
        color = self.palette().color(QPalette.ColorRole.Highlight)
        track = QColor(color)
        track.setAlpha(50)
        painter.fillRect(QRectF(0.0, top, width, _BAR_HEIGHT), track)
        if self._caption.fraction is not None:
            done = QRectF(0.0, top, width * self._caption.fraction, _BAR_HEIGHT)
        else:
            start = (self._lap / _LAP_FRAMES) * 1.3 * width - 0.3 * width
            done = QRectF(start, top, 0.3 * width, _BAR_HEIGHT)
        painter.fillRect(done, color)

    def _advance(self) -> None:
        self._lap = (self._lap + 1) % _LAP_FRAMES
        self.update(0, self.height() - 3, self.width(), 3)

    def _place_button(self) -> None:
        beside = self._range.sizeHint()
        top = (self.height() - 2 - min(beside.height(), self.height() - 3)) // 2
        self._range.setGeometry(
            math.ceil(self._plate().right()) + 3, top, beside.width(), self.height() - 3 - 2 * top
        )
        hint = self._cancel.sizeHint()
        height = min(hint.height(), self.height() - 3)
        self._cancel.setGeometry(
            self.width() - hint.width() - 2, (self.height() - 2 - height) // 2, hint.width(), height
        )

    def _bold(self) -> QFont:
        font = QFont(self.font())
        font.setWeight(QFont.Weight.DemiBold)
        return font

    def _tell(self) -> None:
        caption = self._caption
        parts = [self._letter, self._name, self._size_text, self._values, *self._remarks]
        parts.append(caption.text)
        if caption.untrained:
            parts.append("untrained: random weights")
        parts.append(caption.weak_vote)
        self.setAccessibleName(", ".join(part for part in parts if part))
        lines = [self._name, self._size_text, self._values, *self._remarks]
        lines.append(caption.text)
        if caption.untrained:
            lines.append("The descriptor's weights are random: it has not been trained.")
        lines.append(caption.weak_vote)
        if caption.detail and caption.detail not in lines:
            lines.append(caption.detail)
        self.setToolTip(plain_tip("\n".join(line for line in lines if line)))


def _shortened(text: str, metrics: QFontMetricsF, most: float, *, fewest: int) -> str:
    """What fits of a caption: its first parts, the last ones being the least important."""
    parts = text.split(_BETWEEN)
    while len(parts) > fewest and metrics.horizontalAdvance(_BETWEEN.join(parts)) > most:
        parts.pop()
    return metrics.elidedText(_BETWEEN.join(parts), Qt.TextElideMode.ElideMiddle, most)


class ImagePane(QWidget):
    """A header and a canvas; the pair view fills both.

    Attributes:
        header: see :class:`PaneHeader`.
        canvas: see :class:`~descgui.views.canvas.ImageCanvas`.
        bar: the colours of this pane alone, hidden where all panes share theirs.
        key: what is shown at present.
    """

    def __init__(self, key: PaneKey, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.key = key
        self.header = PaneHeader(self)
        self.canvas = ImageCanvas(self)
        self.bar = ColorBar(self)
        self.bar.hide()
        in_column(self, self.header, (self.canvas, 1), self.bar, spacing_px=2)
