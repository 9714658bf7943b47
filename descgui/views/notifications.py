"""Sentences that appear over the lower edge of the panes and never take the keyboard away.

Information fades after a while; warnings and errors stay until they are closed.  The same sentence
said again counts up instead of piling up.
"""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractAnimation,
    QEasingCurve,
    QEvent,
    QObject,
    QPropertyAnimation,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QColor,
    QEnterEvent,
    QGuiApplication,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QFrame,
    QGraphicsOpacityEffect,
    QLabel,
    QPlainTextEdit,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from descgui.models.messages import Message, MessagesModel
from descgui.views.icons import icon, icon_pixmap
from descgui.views.panel_parts import in_column, in_row
from descgui.views.theme import theme_colors

SHOWN_AT_ONCE = 3
"""More toasts push the oldest one out, errors last."""

_FADE_MS = 250
_LEAST_STAY_MS = 5000
_STAY_PER_CHARACTER_MS = 55
_WIDTH_PX = 460
_MARGIN_PX = 12
_GAP_PX = 8
_MOST_COVERED = 0.35  # of the height of what lies below
_LEAST_HEIGHT_PX = 44


def stay_ms(message: Message) -> int | None:
    """How long a message stays: long enough to be read; None until it is closed."""
    if message.level != "info":
        return None
    return max(_LEAST_STAY_MS, _STAY_PER_CHARACTER_MS * len(message.text))


class Toast(QFrame):
    """One message.

    Signals:
        closed(): it is gone for good.
        resized(): its details were opened or closed.
    """

    closed = Signal()
    resized = Signal()

    def __init__(self, message: Message, parent: QWidget) -> None:
        super().__init__(parent)
        self.message = message
        self._count = 1
        self.setAccessibleName(message.text)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._text = QLabel(message.text)
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self._text.setSizePolicy(policy)
        self._detail = QPlainTextEdit(message.detail)
        self._detail.setReadOnly(True)
        self._detail.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._detail.setFixedHeight(140)
        self._detail.setAccessibleName("Details")
        self._detail.hide()
        self._details_button = self._button("chevron-down", "Details", with_text=True)
        self._details_button.setCheckable(True)
        self._details_button.toggled.connect(self._show_details)
        self._details_button.setVisible(bool(message.detail))
        copy = self._button("copy", "Copy", with_text=True)
        copy.clicked.connect(self._copy)
        copy.setVisible(message.level != "info" or bool(message.detail))
        close = self._button("close", "Close this message")
        close.clicked.connect(self.close_now)
        self._lay_out(copy, close)
        self._effect = QGraphicsOpacityEffect(self)
        self._effect.setEnabled(False)
        self.setGraphicsEffect(self._effect)
        self._fade = QPropertyAnimation(self._effect, b"opacity", self)
        self._fade.setDuration(_FADE_MS)
        self._fade.setEasingCurve(QEasingCurve.Type.InOutQuad)
        self._fade.finished.connect(self.close_now)
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.timeout.connect(self.fade_away)
        self._wait()

    def repeat(self) -> None:
        """The same message once more: count it and start its time again."""
        self._count += 1
        self._text.setText(f"{self.message.text}  (×{self._count})")
        self._wait()

    def fade_away(self) -> None:
        """Fade, then close."""
        self._effect.setEnabled(True)
        self._fade.setStartValue(1.0)
        self._fade.setEndValue(0.0)
        self._fade.start()

    def close_now(self) -> None:
        """Close at once."""
        self.timer.stop()
        self._fade.stop()
        self.hide()
        self.closed.emit()

    def enterEvent(self, event: QEnterEvent) -> None:
        self.timer.stop()
        if self._fade.state() == QAbstractAnimation.State.Running:
            self._fade.stop()
            self._effect.setEnabled(False)
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self._wait()
        super().leaveEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        colors = theme_colors(self.palette())
        tint = QColor(getattr(colors, self.message.level))
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        card = self.rect().adjusted(0, 0, -1, -1)
        painter.setPen(QColor(colors.line))
        painter.setBrush(QColor(colors.raised))
        painter.drawRoundedRect(card, 6, 6)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(tint)
        painter.drawRoundedRect(card.left() + 1, card.top() + 6, 3, card.height() - 11, 1.5, 1.5)
        picture = icon_pixmap(
            self.message.level, QSize(20, 20), tint, ratio=self.devicePixelRatioF()
        )
        painter.drawPixmap(14, 11, picture)

    def _lay_out(self, copy: QToolButton, close: QToolButton) -> None:
        buttons = in_row(None, self._details_button, copy, 1, spacing_px=4)
        body = in_column(None, self._text, spacing_px=4)
        if not (self._details_button.isHidden() and copy.isHidden()):
            body.addLayout(buttons)
        body.addWidget(self._detail)
        row = in_row(self, (body, 1), margins_px=(44, 8, 8, 8), spacing_px=8)
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        body.setContentsMargins(0, 6, 0, 0)

    def _button(self, icon_id: str, text: str, *, with_text: bool = False) -> QToolButton:
        button = QToolButton()
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

    def _wait(self) -> None:
        time_ms = stay_ms(self.message)
        if time_ms is not None and not self._detail.isVisible():
            self.timer.start(time_ms)

    def _show_details(self, shown: bool) -> None:
        self._detail.setVisible(shown)
        self._details_button.setIcon(icon("chevron-up" if shown else "chevron-down"))
        self.timer.stop()
        self.resized.emit()

    def _copy(self) -> None:
        detail = f"\n\n{self.message.detail}" if self.message.detail else ""
        QGuiApplication.clipboard().setText(self.message.text + detail)


class Notifications(QObject):
    """Shows what a :class:`MessagesModel` wants noticed, as toasts over the foot of a widget."""

    def __init__(self, messages: MessagesModel, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        self.toasts: list[Toast] = []
        over.installEventFilter(self)
        messages.notified.connect(self.show)

    def show(self, message: Message) -> None:
        """Show one message."""
        for toast in self.toasts:
            if (toast.message.text, toast.message.level) == (message.text, message.level):
                toast.repeat()
                self._place()
                return
        toast = Toast(message, self._over)
        toast.closed.connect(self._on_closed)
        toast.resized.connect(self._place)
        self.toasts.append(toast)
        while len(self.toasts) > SHOWN_AT_ONCE:
            passing = [shown for shown in self.toasts[:-1] if shown.message.level == "info"]
            (passing or self.toasts)[0].close_now()
        # Hidden children have no height, so it is shown before it is measured.
        toast.show()
        toast.raise_()
        self._place()
        announcement = QAccessibleAnnouncementEvent(toast, message.text)
        QAccessible.updateAccessibility(announcement)

    def clear(self) -> None:
        """Close all."""
        for toast in list(self.toasts):
            toast.close_now()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the size of the widget below."""
        if watched is self._over and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _on_closed(self) -> None:
        toast = self.sender()
        assert isinstance(toast, Toast)
        if toast in self.toasts:
            self.toasts.remove(toast)
            toast.deleteLater()
            self._place()

    def _place(self) -> None:
        room = self._over.rect().adjusted(_MARGIN_PX, _MARGIN_PX, -_MARGIN_PX, -_MARGIN_PX)
        width = min(_WIDTH_PX, room.width())
        bottom = room.bottom()
        highest = bottom - round(_MOST_COVERED * self._over.height())
        for toast in reversed(self.toasts):
            toast.ensurePolished()
            toast.setFixedWidth(width)
            layout = toast.layout()
            assert layout is not None
            layout.activate()
            height = max(layout.totalHeightForWidth(width), _LEAST_HEIGHT_PX)
            toast.setGeometry(room.center().x() - width // 2, bottom - height + 1, width, height)
            # Older ones wait until there is room again: several would hide the lower panes.
            toast.setVisible(bottom - height >= highest or toast is self.toasts[-1])
            bottom -= height + _GAP_PX
