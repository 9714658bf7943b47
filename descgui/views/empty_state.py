"""The page shown before the first pair, and the banner while something is dragged."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPainterPath, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QLabel, QPushButton, QWidget

from descgui.views.panel_parts import in_column, in_row
from descgui.views.ports import Files, Opening
from descgui.views.theme import is_dark
from engine.api import BEST, TRUTH

_COLUMN_WIDTH = 460


class PairSketch(QWidget):
    """A small drawing of two images joined by a match."""

    def sizeHint(self) -> QSize:
        return QSize(220, 112)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate((self.width() - 220) / 2, (self.height() - 112) / 2)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        ink.setAlpha(120)
        fill = QColor(ink)
        fill.setAlpha(18)
        for left, turn in ((10.0, -4.0), (120.0, 5.0)):
            painter.save()
            painter.translate(left + 45.0, 56.0)
            painter.rotate(turn)
            frame = QRectF(-43.0, -35.0, 86.0, 70.0)
            painter.setPen(QPen(ink, 2.0))
            painter.setBrush(fill)
            painter.drawRoundedRect(frame, 5.0, 5.0)
            hills = QPainterPath(QPointF(-43.0, 24.0))
            hills.lineTo(-20.0, -4.0)
            hills.lineTo(-4.0, 14.0)
            hills.lineTo(16.0, -12.0)
            hills.lineTo(43.0, 22.0)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPath(hills)
            painter.restore()
        start, end = QPointF(70.0, 43.0), QPointF(182.0, 47.0)
        arc = QPainterPath(start)
        arc.cubicTo(100.0, 8.0, 150.0, 8.0, end.x(), end.y())
        match = QColor(BEST if is_dark(self.palette()) else "#0072B2")
        painter.setPen(QPen(match, 2.2, Qt.PenStyle.DashLine))
        painter.drawPath(arc)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(match)
        painter.drawEllipse(start, 4.5, 4.5)
        painter.drawEllipse(end, 4.5, 4.5)


class EmptyState(QWidget):
    """A welcome, what can be dropped, and two buttons."""

    def __init__(self, opening: Opening, files: Files, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._heading, self._text, self._problem = (QLabel(self) for _ in range(3))
        for label in (self._heading, self._text, self._problem):
            label.setWordWrap(True)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._heading.setFont(_larger(self.font(), 1.5))
        self._problem.setAccessibleName("Why the last pair could not be opened")
        self._problem.hide()
        self._open = QPushButton("&Open a pair…", self)
        self._open.setAccessibleName("Open a pair of images")
        self._open.clicked.connect(files.open_pair)
        self._demo = QPushButton("Show the &demo", self)
        self._demo.setAccessibleName("Show the demo pair")
        self._demo.clicked.connect(opening.open_demo)
        for button in (self._open, self._demo):
            button.setMinimumSize(132, 32)

        buttons = in_row(None, 1, self._open, self._demo, 1, spacing_px=12)
        column = QWidget(self)
        column.setMaximumWidth(_COLUMN_WIDTH)
        parts = (PairSketch(self), self._heading, self._text, buttons, self._problem)
        in_column(column, 1, *parts, 1, spacing_px=14)
        in_row(self, 1, (column, 100), 1)
        QWidget.setTabOrder(self._open, self._demo)
        self.set_loading("")

    def set_loading(self, what: str) -> None:
        """Say that something is being opened; "" when nothing is."""
        self._heading.setText("Opening…" if what else "Drop two images here")
        self._text.setText(
            what
            or "Two photographs open as a pair, a folder as a set of pairs. "
            "Then move the mouse over one image and watch where it is found in the other."
        )
        if what:
            self._problem.hide()
        for button in (self._open, self._demo):
            button.setEnabled(not what)

    def set_problem(self, sentence: str) -> None:
        """Say why something could not be opened."""
        self._problem.setText(sentence)
        self._problem.setVisible(bool(sentence))


class DropBanner(QWidget):
    """A translucent sheet over what a drop would change, with one sentence.  It emits nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.text = ""
        self._refused = False
        self.hide()

    def say(self, text: str, *, refused: bool) -> None:
        """Show a sentence."""
        self.text = text
        self._refused = refused
        self.setAccessibleName(text)
        self.show()
        self.raise_()
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        sheet = QRectF(self.rect()).adjusted(6.0, 6.0, -6.0, -6.0)
        painter.setBrush(QColor(16, 17, 20, 165))
        edge = QColor("#9A9CA3" if self._refused else TRUTH)
        painter.setPen(QPen(edge, 2.0, Qt.PenStyle.DashLine))
        painter.drawRoundedRect(sheet, 10.0, 10.0)
        painter.setFont(_larger(self.font(), 1.25))
        painter.setPen(QColor("#C9CBD1" if self._refused else "#FFFFFF"))
        flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
        painter.drawText(sheet.adjusted(16.0, 16.0, -16.0, -16.0), flags, self.text)


class Hint(QLabel):
    """One sentence on a dark plate over the images, which lets the mouse through."""

    def __init__(self, text: str, parent: QWidget) -> None:
        super().__init__(text, parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setStyleSheet(
            "color: white; background: rgba(16, 17, 20, 205);border-radius: 6px; padding: 5px 12px;"
        )
        self.hide()

    def show_at(self, place: QPoint) -> None:
        """Appear with the middle of its upper edge at a point of its parent."""
        self.adjustSize()
        self.move(place.x() - self.width() // 2, place.y())
        self.show()
        self.raise_()


def _larger(font: QFont, factor: float) -> QFont:
    result = QFont(font)
    result.setPointSizeF(factor * font.pointSizeF())
    result.setWeight(QFont.Weight.DemiBold)
    return result
