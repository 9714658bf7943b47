"""Sentences that users should notice, in places of their own: they cover nothing.

Information stands in the status bar for a while.  Warnings, errors and what has details stand in a
row below the tool bar until they are closed, the newest first; they never take the keyboard away.
The same sentence said again counts up instead of piling up.
"""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QColor,
    QGuiApplication,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QLabel,
    QMainWindow,
    QPlainTextEdit,
    QToolButton,
    QWidget,
)

from descgui.models.messages import Message, MessagesModel
from descgui.views.icons import icon, icon_pixmap
from descgui.views.panel_parts import blended, in_column, in_row
from descgui.views.status_bar import StatusBar
from descgui.views.theme import theme_colors
from descgui.views.wide_bar import WideBar, WideRow

KEPT = 20
"""More waiting messages push the oldest one out."""

_LEAST_STAY_MS = 5000
_STAY_PER_CHARACTER_MS = 55
_LEAST_HEIGHT_PX = 36
_DETAIL_PX = 140


def stay_ms(message: Message) -> int | None:
    """How long a message stays: long enough to be read; None until it is closed."""
    if message.level != "info" or message.detail:
        return None
    return max(_LEAST_STAY_MS, _STAY_PER_CHARACTER_MS * len(message.text))


@dataclass
class _Waiting:
    """A message that is shown or waits below the newest one, and how often it was said."""

    message: Message
    count: int = 1


class MessageRow(WideRow):
    """One message with its buttons, as wide as the window.

    Signals:
        closed(): the user has read it.
    """

    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, least_height_px=_LEAST_HEIGHT_PX)
        self.message = Message("")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.text = QLabel(self)
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.more = QLabel(self)
        self.more.setProperty("subtle", True)
        self.detail = QPlainTextEdit(self)
        self.detail.setReadOnly(True)
        self.detail.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.detail.setFixedHeight(_DETAIL_PX)
        self.detail.setAccessibleName("Details")
        self.detail.hide()
        self.details_button = self._button("chevron-down", "Details", with_text=True)
        self.details_button.setCheckable(True)
        self.details_button.toggled.connect(self._show_details)
        self.copy_button = self._button("copy", "Copy", with_text=True)
        self.copy_button.clicked.connect(self._copy)
        self.close_button = self._button("close", "Close this message")
        self.close_button.clicked.connect(self.closed)
        buttons = (self.more, self.details_button, self.copy_button, self.close_button)
        row = in_row(None, (self.text, 1), *buttons, spacing_px=6)
        in_column(self, row, self.detail, margins_px=(40, 3, 8, 3), spacing_px=4)

    def show_message(self, message: Message, *, count: int, waiting: int) -> None:
        """Show a message.

        Args:
            message: what to show.
            count: how often it was said.
            waiting: how many others appear once it is closed.
        """
        if message is not self.message:
            self.details_button.setChecked(False)
        self.message = message
        self.text.setText(f"{message.text}  (×{count})" if count > 1 else message.text)
        self.more.setText(f"{waiting} more" if waiting else "")
        self.more.setVisible(bool(waiting))
        self.detail.setPlainText(message.detail)
        self.details_button.setVisible(bool(message.detail))
        self.setAccessibleName(message.text)
        self.fit()
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        colors = theme_colors(self.palette())
        tint = QColor(getattr(colors, self.message.level))
        painter = QPainter(self)
        painter.fillRect(self.rect(), blended(tint, QColor(colors.window), 0.12))
        painter.fillRect(0, 0, 3, self.height(), tint)
        sign = icon_pixmap(self.message.level, QSize(18, 18), tint, ratio=self.devicePixelRatioF())
        painter.drawPixmap(12, (_LEAST_HEIGHT_PX - 18) // 2, sign)
        painter.setPen(QColor(colors.line))
        painter.drawLine(self.rect().bottomLeft(), self.rect().bottomRight())

    def _button(self, icon_id: str, text: str, *, with_text: bool = False) -> QToolButton:
        button = QToolButton(self)
        button.setIcon(icon(icon_id))
        button.setIconSize(QSize(16, 16))
        button.setText(text)
        button.setAccessibleName(text)
        button.setToolTip("" if with_text else text)
        button.setProperty("flat", True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        if with_text:
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        return button

    def _show_details(self, shown: bool) -> None:
        self.detail.setVisible(shown)
        self.details_button.setIcon(icon("chevron-up" if shown else "chevron-down"))
        self.fit()

    def _copy(self) -> None:
        detail = f"\n\n{self.message.detail}" if self.message.detail else ""
        QGuiApplication.clipboard().setText(self.message.text + detail)


class Notifications(QObject):
    """Shows what a :class:`MessagesModel` wants noticed.

    Args:
        messages: says what.
        window: gets a row of its own below its tool bar.
        status_bar: shows passing information.

    Attributes:
        row: shows the newest message.
        bar: holds the row; hidden while there is nothing to say.
    """

    def __init__(self, messages: MessagesModel, window: QMainWindow, status_bar: StatusBar) -> None:
        super().__init__(window)
        self._window = window
        self._status_bar = status_bar
        self._waiting: list[_Waiting] = []
        self.row = MessageRow(window)
        self.row.closed.connect(self.close_newest)
        self.bar = WideBar("Messages", "messages", self.row, window)
        window.addToolBar(self.bar)
        self.place()
        messages.notified.connect(self.show)

    @property
    def waiting(self) -> tuple[Message, ...]:
        """What has not been closed yet, the newest last."""
        return tuple(one.message for one in self._waiting)

    def show(self, message: Message) -> None:
        """Show one message."""
        time_ms = stay_ms(message)
        if time_ms is not None:
            self._status_bar.say(message.text, time_ms)
        else:
            self._add(message)
            self._refresh()
        announcement = QAccessibleAnnouncementEvent(self._window, message.text)
        QAccessible.updateAccessibility(announcement)

    def close_newest(self) -> None:
        """Close the message that is shown; the one before it appears again."""
        if self._waiting:
            self._waiting.pop()
        self._refresh()

    def clear(self) -> None:
        """Close all."""
        self._waiting.clear()
        self._refresh()

    def place(self) -> None:
        """Take the row's place again after the window's bars were laid out anew."""
        self._window.removeToolBarBreak(self.bar)
        self._window.insertToolBarBreak(self.bar)
        self.bar.setVisible(bool(self._waiting))

    def _add(self, message: Message) -> None:
        said = (message.text, message.level)
        for one in self._waiting:
            if (one.message.text, one.message.level) == said:
                one.count += 1
                self._waiting.remove(one)
                self._waiting.append(one)
                return
        self._waiting.append(_Waiting(message))
        if len(self._waiting) > KEPT:
            passing = [one for one in self._waiting[:-1] if one.message.level != "error"]
            self._waiting.remove((passing or self._waiting)[0])

    def _refresh(self) -> None:
        if self._waiting:
            newest = self._waiting[-1]
            self.row.show_message(
                newest.message, count=newest.count, waiting=len(self._waiting) - 1
            )
        self.bar.setVisible(bool(self._waiting))
        self.bar.settle()
