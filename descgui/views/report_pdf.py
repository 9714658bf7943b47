"""A report as PDF: its HTML for paper, laid out on A4 by Qt's rich text, drawings as vectors.

Needs a ``QGuiApplication`` and no window; ``python -m descgui.report_pdf`` brings its own.
"""

from __future__ import annotations

import base64
import re
from itertools import zip_longest
from pathlib import Path
from typing import Final

from PySide6.QtCore import (
    QByteArray,
    QIODevice,
    QMarginsF,
    QObject,
    QPointF,
    QRect,
    QRectF,
    QSaveFile,
    QSizeF,
    Qt,
)
from PySide6.QtGui import (
    QAbstractTextDocumentLayout,
    QColor,
    QFont,
    QFontDatabase,
    QFontInfo,
    QFontMetricsF,
    QPageLayout,
    QPageSize,
    QPainter,
    QPdfWriter,
    QPyTextObject,
    QTextBlock,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextFrame,
)
from PySide6.QtSvg import QSvgRenderer

from engine.api import DescSpaceError

_DOTS_PER_INCH: Final = 1200
_DOTS_PER_POINT: Final = _DOTS_PER_INCH / 72
_MARGIN: Final = 44 * _DOTS_PER_POINT
_FOOT: Final = 22 * _DOTS_PER_POINT
_ENOUGH_BELOW: Final = 80 * _DOTS_PER_POINT
_SOFT: Final = QColor("#59636e")
_RULE: Final = QTextFormat.Property.BlockTrailingHorizontalRulerWidth.value
_KEPT_WHOLE: Final = 0.6  # of a page; what is taller may be broken


def write_report_pdf(html: str, path: Path) -> int:
    """Draw a report into a file; it is there completely or not at all.

    Returns:
        How many pages it has.

    Raises:
        DescSpaceError: it cannot be written, or there is no font.
    """
    file = QSaveFile(str(path))
    if not file.open(QIODevice.OpenModeFlag.WriteOnly):
        raise DescSpaceError(f"{path}: cannot be written ({file.errorString()}).")
    writer = QPdfWriter(file)
    document = lay_out(html, writer)
    writer.setTitle(document.firstBlock().text())
    writer.setCreator("Descriptor Space")
    painter = QPainter()
    if not painter.begin(writer):
        raise DescSpaceError("The PDF cannot be begun; is there room on the disk?")
    for number in range(document.pageCount()):
        if number:
            writer.newPage()
        _draw_page(painter, document, number)
    painter.end()
    if not file.commit():
        raise DescSpaceError(f"{path}: cannot be written ({file.errorString()}).")
    return document.pageCount()


def lay_out(html: str, writer: QPdfWriter) -> QTextDocument:
    """Lay a report out on pages of A4, whose size and resolution are set here.

    Raises:
        DescSpaceError: there is no font.
    """
    if not QFontDatabase.families():
        raise DescSpaceError(
            "The PDF needs a font and this computer has none; install one, such as the package "
            "fonts-dejavu-core."
        )
    writer.setPageSize(QPageSize(QPageSize.PageSizeId.A4))
    writer.setPageMargins(QMarginsF(0, 0, 0, 0), QPageLayout.Unit.Point)
    writer.setResolution(_DOTS_PER_INCH)
    page = QSizeF(writer.width() - 2 * _MARGIN, writer.height() - 2 * _MARGIN - _FOOT)
    document = QTextDocument()
    document.setDocumentMargin(0)
    font = QFont()
    font.setFeature(QFont.Tag.fromString("liga"), 0)  # a search would not find "diﬀer"
    document.setDefaultFont(font)
    layout = document.documentLayout()
    layout.setPaintDevice(writer)
    layout.registerHandler(QTextFormat.ObjectTypes.ImageObject.value, _Drawings(document))
    document.setHtml(html)
    document.setPageSize(page)
    _keep_together(document)
    return document


class _Drawings(QPyTextObject):
    """Draws images that hold SVG; their widths and heights are in points."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._renderers: dict[str, QSvgRenderer] = {}

    def intrinsicSize(self, _document: QTextDocument, _at: int, form: QTextFormat) -> QSizeF:
        image = form.toImageFormat()
        own = self._renderer(form).viewBoxF().size()
        width = image.width() or own.width()
        height = image.height() or own.height() * width / max(own.width(), 1.0)
        return QSizeF(width, height) * _DOTS_PER_POINT

    def drawObject(
        self,
        painter: QPainter,
        rect: QRectF | QRect,
        _document: QTextDocument,
        _at: int,
        form: QTextFormat,
    ) -> None:
        self._renderer(form).render(painter, QRectF(rect))

    def _renderer(self, form: QTextFormat) -> QSvgRenderer:
        address = form.toImageFormat().name()
        if address not in self._renderers:
            svg = base64.b64decode(address.partition(",")[2]).decode()
            # Qt takes a list of families for the name of one.
            family = QFontInfo(QFont(["Helvetica Neue", "Arial", "Liberation Sans"])).family()
            svg = re.sub(r"font-family: [^;\"]*", f"font-family: {family}", svg)
            self._renderers[address] = QSvgRenderer(QByteArray(svg.encode()))
        return self._renderers[address]


def _keep_together(document: QTextDocument) -> None:
    """Begin a page before what would be broken: short tables, pairs, headings with what follows."""
    page = document.pageSize().height()
    items: list[QTextFrame | QTextBlock] = []
    place = document.rootFrame().begin()
    while not place.atEnd():
        frame: QTextFrame | None = place.currentFrame()
        items.append(place.currentBlock() if frame is None else frame)
        place += 1
    begun: list[QTextFrame | QTextBlock] = []  # what waits for that which it stands above
    for item, following in zip_longest(items, items[1:]):
        begun.append(item)
        introduces = _is_heading(begun[0]) and isinstance(following, QTextFrame)
        if _is_heading(item) or (introduces and not isinstance(item, QTextFrame)):
            continue
        first, last = _area(document, begun[0]), _area(document, item)
        height = last.bottom() - first.top()
        if height > _KEPT_WHOLE * page:
            height = last.top() - first.top() + _ENOUGH_BELOW
        if first.top() % page + height > page:
            _break_before(begun[0])
        begun = []


def _is_heading(item: QTextFrame | QTextBlock) -> bool:
    """Whether something belongs to what follows it: a rule, a heading, a caption above a table."""
    if isinstance(item, QTextFrame):
        return False
    form = item.blockFormat()
    return form.headingLevel() > 1 or form.hasProperty(_RULE)


def _area(document: QTextDocument, item: QTextFrame | QTextBlock) -> QRectF:
    layout = document.documentLayout()
    if isinstance(item, QTextFrame):
        return layout.frameBoundingRect(item)
    return layout.blockBoundingRect(item)


def _break_before(item: QTextFrame | QTextBlock) -> None:
    if isinstance(item, QTextFrame):
        frame_form = item.frameFormat()
        frame_form.setPageBreakPolicy(QTextFormat.PageBreakFlag.PageBreak_AlwaysBefore)
        item.setFrameFormat(frame_form)
    else:
        form = item.blockFormat()
        form.setPageBreakPolicy(QTextFormat.PageBreakFlag.PageBreak_AlwaysBefore)
        QTextCursor(item).setBlockFormat(form)


def _draw_page(painter: QPainter, document: QTextDocument, number: int) -> None:
    size = document.pageSize()
    context = QAbstractTextDocumentLayout.PaintContext()
    context.clip = QRectF(QPointF(0.0, number * size.height()), size)
    painter.save()
    painter.translate(_MARGIN, _MARGIN - context.clip.top())
    painter.setClipRect(context.clip)
    document.documentLayout().draw(painter, context)
    painter.restore()
    font = QFont(document.firstBlock().charFormat().font())
    font.setPointSizeF(7)
    font.setBold(False)
    painter.setFont(font)
    painter.setPen(_SOFT)
    foot = QRectF(_MARGIN, _MARGIN + size.height(), size.width(), _FOOT)
    middle = Qt.AlignmentFlag.AlignVCenter
    room = size.width() - 40 * _DOTS_PER_POINT
    metrics = QFontMetricsF(font, painter.device())
    title = document.firstBlock().text()
    short = metrics.elidedText(title, Qt.TextElideMode.ElideRight, room)
    painter.drawText(foot, middle | Qt.AlignmentFlag.AlignLeft, short)
    painter.drawText(foot, middle | Qt.AlignmentFlag.AlignRight, str(number + 1))
