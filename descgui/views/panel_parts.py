"""Parts that the side panels share: sections, notices, labels that never widen a panel, colours.

A side panel may be as narrow as 260 px, so everything here wraps or is cut short with an ellipsis
instead of asking for more room.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from PySide6.QtCore import (
    QEvent,
    QObject,
    QPointF,
    QRect,
    QRectF,
    QSignalBlocker,
    QSize,
    Qt,
    SignalInstance,
)
from PySide6.QtGui import (
    QAction,
    QBrush,
    QColor,
    QFont,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLayout,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from descgui.views.icons import icon, icon_pixmap
from descgui.views.theme import theme_colors
from descgui.views.words import counted
from engine.api import RIGHT, WRONG

PANEL_MARGIN_PX = 8
Kind = Literal["info", "warning", "error"]
_LONG_RUN = re.compile(r"([^\s\u200b]{18})(?=[^\s\u200b])")
_BREAKS = re.compile(r"([/\\=])")


def blended(over: QColor, under: QColor, share: float) -> QColor:
    """``share`` (0 to 1) of one colour over another."""
    return QColor.fromRgbF(
        share * over.redF() + (1.0 - share) * under.redF(),
        share * over.greenF() + (1.0 - share) * under.greenF(),
        share * over.blueF() + (1.0 - share) * under.blueF(),
    )


def muted(palette: QPalette) -> QColor:
    """Text colour for what is said in passing."""
    return QColor(theme_colors(palette).subtle)


def tabular(font: QFont) -> QFont:
    """The same font with digits of one width, so that numbers do not jump."""
    result = QFont(font)
    result.setFeature(QFont.Tag("tnum"), 1)
    return result


def bold(font: QFont) -> QFont:
    """The same font, heavier."""
    result = QFont(font)
    result.setBold(True)
    return result


def breakable(text: str) -> str:
    """``text`` with invisible places to break inside paths and other long runs of characters."""
    return _LONG_RUN.sub("\\1\u200b", _BREAKS.sub("\\1\u200b", text))


class WheelNeedsFocus(QObject):
    """Keeps the mouse wheel for scrolling the panel unless a field has the keyboard focus.

    Without it, scrolling a panel changes every field that passes under the cursor.
    """

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ignore wheel events over fields without focus."""
        if (
            event.type() == QEvent.Type.Wheel
            and isinstance(watched, QWidget)
            and not watched.hasFocus()
        ):
            event.ignore()
            return True
        return False

    def guard(self, *fields: QWidget) -> None:
        """Watch some fields."""
        for field in fields:
            field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            field.installEventFilter(self)


def let_shrink(combo: QComboBox) -> None:
    """Let a combo box take the width that its panel has, however long its entries are."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(6)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)


def narrow_combo(
    parent: QWidget | None = None,
    *,
    name: str = "",
    tip: str = "",
    entries: Iterable[tuple[str, object]] = (),
    chosen: Callable[[int], None] | Callable[[], None] | None = None,
) -> QComboBox:
    """A combo box that shrinks with its panel instead of fitting its longest entry.

    Args:
        parent: what it belongs to.
        name: its accessible name.
        tip: its tooltip.
        entries: the words to choose from, and what each stands for.
        chosen: called with the index of the entry that the user chose.
    """
    combo = QComboBox(parent)
    let_shrink(combo)
    combo.setAccessibleName(name)
    combo.setToolTip(tip)
    for title, value in entries:
        combo.addItem(title, value)
    if chosen is not None:
        combo.activated.connect(chosen)
    return combo


def show_value(combo: QComboBox, value: Any) -> None:
    """Show the entry that stands for a value, or none, without a signal."""
    with QSignalBlocker(combo):
        combo.setCurrentIndex(combo.findData(value))


def refill(combo: QComboBox, entries: Sequence[tuple[str, Any]], *, place: int = 0) -> None:
    """Offer other entries without a signal; the chosen value stays, or else ``place`` is chosen."""
    values, chosen = [value for _, value in entries], combo.currentData()
    places = range(combo.count())
    if list(entries) == [(combo.itemText(index), combo.itemData(index)) for index in places]:
        return
    with QSignalBlocker(combo):
        combo.clear()
        for title, value in entries:
            combo.addItem(title, value)
        combo.setCurrentIndex(values.index(chosen) if chosen in values else place)


def icon_button(
    icon_name: str, tooltip: str, parent: QWidget | None, *, name: str = "", flat: bool = False
) -> QToolButton:
    """A button without words; it is called like its tooltip unless it has a name of its own."""
    button = QToolButton(parent)
    button.setIcon(icon(icon_name))
    button.setToolTip(tooltip)
    button.setAccessibleName(name or tooltip)
    if flat:
        button.setProperty("flat", True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def word_buttons(
    parent: QWidget, *buttons: tuple[str, str, str, SignalInstance | Callable[[], None]]
) -> list[QPushButton]:
    """Buttons, each by its icon, its word, its tooltip, and what a click leads to."""
    made = []
    for icon_name, text, tooltip, clicked in buttons:
        button = QPushButton(icon(icon_name), text, parent)
        button.setToolTip(tooltip)
        button.clicked.connect(clicked)
        made.append(button)
    return made


def closing_buttons(
    dialog: QDialog, restore: str, restored: Callable[[], None]
) -> tuple[QDialogButtonBox, QPushButton]:
    """The foot of a dialog whose changes hold at once: *Close*, and a button that takes them back.

    Args:
        dialog: what is closed.
        restore: word on that button.
        restored: called by that button.

    Returns:
        both, and that button.
    """
    kinds = QDialogButtonBox.StandardButton
    buttons = QDialogButtonBox(kinds.Close | kinds.RestoreDefaults)
    back = buttons.button(kinds.RestoreDefaults)
    back.setText(restore)
    back.clicked.connect(lambda: restored())
    for button in buttons.buttons():
        # Enter ends an entry; it must neither restore everything nor close the dialog.
        assert isinstance(button, QPushButton)
        button.setAutoDefault(False)
    buttons.rejected.connect(dialog.reject)
    return buttons, back


def centred_words(parent: QWidget, text: str = "", *, margin_px: int = 0) -> QLabel:
    """What is said in the middle of a page that has nothing to show."""
    label = QLabel(text, parent)
    label.setWordWrap(True)
    label.setMargin(margin_px)
    label.setAlignment(Qt.AlignmentFlag.AlignCenter)
    label.setProperty("subtle", True)
    return label


Box = TypeVar("Box", QVBoxLayout, QHBoxLayout)
Part = QWidget | QLayout | int | tuple[QWidget | QLayout, int]
"""A part of a layout: alone, with its stretch, or a stretch without anything."""


def in_column(
    parent: QWidget | None,
    *parts: Part,
    margins_px: tuple[int, int, int, int] = (0, 0, 0, 0),
    spacing_px: int = 6,
) -> QVBoxLayout:
    """A layout of parts below one another; the layout of ``parent`` if there is one."""
    return _filled(QVBoxLayout(), parent, parts, margins_px, spacing_px)


def in_row(
    parent: QWidget | None,
    *parts: Part,
    margins_px: tuple[int, int, int, int] = (0, 0, 0, 0),
    spacing_px: int = 6,
) -> QHBoxLayout:
    """A layout of parts beside one another; the layout of ``parent`` if there is one."""
    return _filled(QHBoxLayout(), parent, parts, margins_px, spacing_px)


def field_row(field: QWidget, *buttons: QWidget) -> QHBoxLayout:
    """A field that takes the room there is, and buttons to its right."""
    return in_row(None, (field, 1), *buttons, spacing_px=4)


def _filled(
    layout: Box,
    parent: QWidget | None,
    parts: tuple[Part, ...],
    margins_px: tuple[int, int, int, int],
    spacing_px: int,
) -> Box:
    if parent is not None:
        parent.setLayout(layout)
    layout.setContentsMargins(*margins_px)
    layout.setSpacing(spacing_px)
    for part in parts:
        if isinstance(part, int):
            layout.addStretch(part)
            continue
        item, stretch = part if isinstance(part, tuple) else (part, 0)
        if isinstance(item, QWidget):
            layout.addWidget(item, stretch)
        else:
            layout.addLayout(item, stretch)
    return layout


def labelled_rows(*rows: tuple[str, QWidget]) -> QFormLayout:
    """A layout of fields with their titles to the left."""
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    form.setHorizontalSpacing(8)
    form.setVerticalSpacing(4)
    for title, field in rows:
        form.addRow(title, field)
    return form


def plain_tip(text: str) -> str:
    """A tooltip that shows a text as it is: Qt would take names like ``a<b>.png`` for markup."""
    if not set("<&").intersection(text):
        return text
    return f"<p style='white-space:pre-wrap'>{html.escape(text)}</p>"


class Sentence(QLabel):
    """A label that wraps, also inside long paths, and whose text can be copied."""

    def __init__(self, text: str = "", parent: QWidget | None = None, *, quiet: bool = False):
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setProperty("subtle", quiet)
        self.say(text)

    def minimumSizeHint(self) -> QSize:
        """One line: the layout asks for the height that its width needs."""
        return QSize(20, self.fontMetrics().height())

    @property
    def sentence(self) -> str:
        """What is shown, without the places to break."""
        return self.text().replace("\u200b", "")

    def say(self, text: str) -> None:
        """Show another text."""
        if text != self.sentence:
            self.setText(breakable(text))
            self.setAccessibleName(text)


class ElidedLabel(QLabel):
    """One line whose middle gives way to an ellipsis; the tooltip holds all of it.

    Args:
        text: what it says.
        parent: what it belongs to.
        fills: it takes the room that is left; otherwise, no more than its text is wide.
    """

    def __init__(
        self, text: str = "", parent: QWidget | None = None, *, fills: bool = True
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        policy = QSizePolicy.Policy.Ignored if fills else QSizePolicy.Policy.Maximum
        self.setSizePolicy(policy, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        return QSize(
            min(hint.width(), self.fontMetrics().horizontalAdvance("m") * 8), hint.height()
        )

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        shown = self.fontMetrics().elidedText(
            self.text(), Qt.TextElideMode.ElideMiddle, self.contentsRect().width()
        )
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(self.contentsRect(), int(self.alignment()), shown)

    def say(self, text: str, tooltip: str = "") -> None:
        """Show another text; its tooltip is the whole text unless told otherwise."""
        if text != self.text():
            self.setText(text)
        self.setToolTip(plain_tip(tooltip or text))


class Notice(QFrame):
    """A tinted strip with a sign and a sentence; hidden while it has nothing to say."""

    def __init__(self, kind: Kind = "warning", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind = kind
        self.label = Sentence(parent=self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(26, 5, 6, 5)
        layout.addWidget(self.label)
        self.hide()

    def say(self, text: str) -> None:
        """Show a sentence, or hide for an empty one."""
        self.label.say(text)
        self.setVisible(bool(text))

    def say_first(self, texts: Iterable[str], *, most: int = 2) -> None:
        """Say the first of some texts; the rest is counted, and all stand in the tooltip."""
        lines = list(dict.fromkeys(texts))
        self.setToolTip("\n".join(lines))
        more = len(lines) - most
        if more > 0:
            lines[most:] = [counted(more, "And 1 more remark.", "And {n} more remarks.")]
        self.say("\n".join(lines))

    @property
    def sentence(self) -> str:
        """What is said now."""
        return self.label.sentence

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = _kind_colour(self._kind, self.palette())
        window = self.palette().color(QPalette.ColorRole.Window)
        painter.setBrush(blended(colour, window, 0.16))
        painter.setPen(QPen(blended(colour, window, 0.65), 1.0))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4.0, 4.0)
        draw_sign(painter, QRect(6, 6, 16, 16), self._kind, self.palette())


def draw_sign(painter: QPainter, where: QRect, kind: Kind, palette: QPalette) -> None:
    """Draw the icon of a kind of message in its colour."""
    ratio = painter.device().devicePixelRatio()
    colour = _kind_colour(kind, palette)
    painter.drawPixmap(where, icon_pixmap(kind, where.size(), colour, ratio=ratio))


def _kind_colour(kind: Kind, palette: QPalette) -> QColor:
    colors = theme_colors(palette)
    return QColor({"info": colors.info, "warning": colors.warning, "error": colors.error}[kind])


def draw_verdict(painter: QPainter, where: QRectF, *, right: bool) -> None:
    """Draw a tick (right) or a cross (wrong): told apart by shape, not by colour alone."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(QColor(RIGHT if right else WRONG), 2.0)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)

    def at(x: float, y: float) -> QPointF:
        return QPointF(where.left() + x * where.width(), where.top() + y * where.height())

    if right:
        painter.drawPolyline(QPolygonF([at(0.1, 0.55), at(0.4, 0.85), at(0.9, 0.2)]))
    else:
        painter.drawLine(at(0.15, 0.15), at(0.85, 0.85))
        painter.drawLine(at(0.15, 0.85), at(0.85, 0.15))
    painter.restore()


class ThinBar(QProgressBar):
    """A low progress bar without text; hatched while the share is unknown (range 0 to 0)."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextVisible(False)
        self.setFixedHeight(5)

    def show_done(self, done: int, total: int, *, waiting: bool) -> None:
        """Show how much of ``total`` is done; where that is 0, whether it is being waited for."""
        if total:
            self.setRange(0, total)
            self.setValue(done)
        else:
            self.setRange(0, 0 if waiting else 1)
            self.reset()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self.palette()
        painter.fillRect(self.rect(), palette.color(QPalette.ColorRole.Mid))
        accent = palette.color(QPalette.ColorRole.Accent)
        if self.maximum() <= self.minimum():
            painter.fillRect(self.rect(), QBrush(accent, Qt.BrushStyle.Dense4Pattern))
            return
        share = (self.value() - self.minimum()) / (self.maximum() - self.minimum())
        painter.fillRect(QRectF(0.0, 0.0, max(share, 0.0) * self.width(), self.height()), accent)


class _Heading(QToolButton):
    """A heading with a line below it and a chevron that shows whether its section is open."""

    def __init__(self, title: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setText(title)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(title)
        self.setFont(bold(self.font()))

    def sizeHint(self) -> QSize:
        return QSize(60, self.fontMetrics().height() + 8)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Draw the heading flat, so that it does not look like a value."""
        painter = QPainter(self)
        palette, role = self.palette(), QPalette.ColorRole
        if self.underMouse():
            painter.fillRect(self.rect(), palette.color(role.Midlight))
        line = self.rect().bottom()
        painter.setPen(palette.color(role.Accent if self.hasFocus() else role.Mid))
        painter.drawLine(0, line, self.width(), line)
        ink = palette.color(role.WindowText)
        chevron = icon_pixmap(
            "chevron-down" if self.isChecked() else "chevron-right",
            QSize(14, 14),
            ink,
            ratio=self.devicePixelRatio(),
        )
        painter.drawPixmap(0, (self.height() - 15) // 2, chevron)
        painter.setPen(ink)
        painter.drawText(
            self.rect().adjusted(19, 0, 0, -1),
            Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
            self.text(),
        )


class Section(QWidget):
    """A heading that folds its content away."""

    def __init__(self, title: str, parent: QWidget | None = None, *, open_: bool = True) -> None:
        super().__init__(parent)
        self.heading = _Heading(title, self)
        self.content = QWidget(self)
        self.body = QVBoxLayout(self.content)
        self.body.setContentsMargins(0, 4, 0, 6)
        self.body.setSpacing(6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.heading)
        layout.addWidget(self.content)
        self.heading.toggled.connect(self._fold)
        self.heading.setChecked(open_)
        self._fold(open_)

    def _fold(self, open_: bool) -> None:
        self.content.setVisible(open_)


class SegmentButton(QToolButton):
    """One of several words of which one is chosen; the chosen one is filled and framed."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText(text)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self.text()) + 14, metrics.height() + 9)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette, chosen = self.palette(), self.isChecked()
        role = QPalette.ColorRole
        fill = role.Highlight if chosen else role.Midlight if self.underMouse() else role.Button
        ring = role.Accent if chosen or self.hasFocus() else role.Mid
        painter.setBrush(palette.color(fill))
        painter.setPen(QPen(palette.color(ring), 2.0 if self.hasFocus() else 1.0))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1.0, 1.0, -1.0, -1.0), 4.0, 4.0)
        painter.setPen(palette.color(role.ButtonText))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text())


def segment_row(group: QButtonGroup, buttons: Sequence[SegmentButton]) -> QHBoxLayout:
    """Buttons beside one another of which a group lets one be chosen; their ids are 0, 1, …."""
    row = QHBoxLayout()
    row.setSpacing(2)
    for number, button in enumerate(buttons):
        group.addButton(button, number)
        row.addWidget(button)
    return row


class StayingMenu(QMenu):
    """A menu in which several entries can be ticked before it closes."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tick instead of closing."""
        action: QAction | None = self.actionAt(event.position().toPoint())
        if action is not None and action.isCheckable() and action.isEnabled():
            action.trigger()
        else:
            super().mouseReleaseEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Tick with the space bar instead of closing."""
        action: QAction | None = self.activeAction()
        if event.key() == Qt.Key.Key_Space and action is not None and action.isCheckable():
            action.trigger()
        else:
            super().keyPressEvent(event)


class Popup(QFrame):
    """A frame above the window, which a click elsewhere closes; thinly outlined."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)

    def paintEvent(self, _event: QPaintEvent) -> None:
        colors = theme_colors(self.palette())
        painter = QPainter(self)
        painter.setPen(QColor(colors.line))
        painter.setBrush(QColor(colors.raised))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))


class PanelScroll(QScrollArea):
    """A frameless column that scrolls only up and down and takes the width it gets."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column = QWidget(self)
        self.column = QVBoxLayout(column)
        self.column.setContentsMargins(
            PANEL_MARGIN_PX, PANEL_MARGIN_PX, PANEL_MARGIN_PX, PANEL_MARGIN_PX
        )
        self.column.setSpacing(8)
        self.setWidget(column)

    def minimumSizeHint(self) -> QSize:
        return QSize(180, 120)
