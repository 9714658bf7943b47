"""What tells the curves of one run from those of others: colours, dashes and marks."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPen, QPixmap

from engine.api import SERIES

WIDTH_PX: Final = 1.8
SAMPLE_PX: Final = QSize(34, 14)
MARKS: Final = (("o", 7.5, "○"), ("s", 6.5, "□"), ("t1", 9.0, "△"), ("d", 10.0, "◇"))
"""Marks of the metrics of a plot: pyqtgraph's name, size in pixels, a character like it."""

_DOT_PX: Final = 3.6
# Seven colours and six dashes: of 42 runs no two share both.
_COLORS: Final = SERIES[:7]
# In widths of the pen.
_DASHES: Final = (
    *((), (5.0, 2.2), (1.4, 1.8), (6.0, 1.8, 1.4, 1.8)),
    *((11.0, 3.0), (6.0, 1.8, 1.4, 1.8, 1.4, 1.8)),
)


def run_color(color_index: int) -> QColor:
    """The colour of a run."""
    return QColor(_COLORS[color_index % len(_COLORS)])


def run_pen(color_index: int, *, width: float = WIDTH_PX) -> QPen:
    """Colour and dash of a run; of the first six runs no two share either."""
    pen = QPen(run_color(color_index), width)
    pen.setJoinStyle(Qt.PenJoinStyle.BevelJoin)  # round ones would take half as long again
    dashes = _DASHES[color_index % len(_DASHES)]
    pen.setCapStyle(Qt.PenCapStyle.FlatCap if dashes else Qt.PenCapStyle.RoundCap)
    if dashes:
        pen.setDashPattern(list(dashes))
    return pen


def run_icon(color_index: int, *, live: bool, ratio: float) -> QIcon:
    """A piece of a run's line, with a dot at its end while the run is in progress.

    Args:
        color_index: number of the run's colour and dash.
        live: whether the run is in progress.
        ratio: pixels of the screen per pixel.
    """
    picture = QPixmap(SAMPLE_PX * ratio)
    picture.setDevicePixelRatio(ratio)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(run_pen(color_index, width=2.0))
    end = QPointF(SAMPLE_PX.width() - 2.0, 0.5 * SAMPLE_PX.height())
    painter.drawLine(QPointF(0.0, end.y()), end)
    if live:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(run_color(color_index))
        painter.drawEllipse(end - QPointF(_DOT_PX, 0.0), _DOT_PX, _DOT_PX)
    painter.end()
    return QIcon(picture)


def step_text(step: float) -> str:
    """A number of steps, its thousands apart: ``12 500`` with a narrow space."""
    return f"{step:,.0f}".replace(",", "\u202f")


def number_text(value: float) -> str:
    """A number in as few digits as it needs: ``0.05``, ``2e−7``."""
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
