"""Shortcuts without Ctrl or Alt, kept from widgets that need the key themselves."""

from __future__ import annotations

import shiboken6
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

_PLAIN = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier


class KeyGuard(QObject):
    """Keeps shortcuts without Ctrl or Alt from the widget that needs the key itself.

    Text fields and lists that are being typed into take letters, digits and Delete; a focused
    button, box or list takes Space, and a list takes Copy.  Only the focused widget is watched,
    so that nothing is added to the path of the mouse.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._watched: QWidget | None = None
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        application.focusChanged.connect(self._watch)
        self._watch(None, QApplication.focusWidget())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Accept a shortcut's key for a widget that needs it, before the shortcut sees it."""
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and _needs_key(watched, event)
        ):
            event.accept()
            return True
        return False

    def _watch(self, _old: QWidget | None, new: QWidget | None) -> None:
        if self._watched is not None and shiboken6.isValid(self._watched):
            self._watched.removeEventFilter(self)
        self._watched = new
        if new is not None:
            new.installEventFilter(self)


def _needs_key(widget: QObject, event: QKeyEvent) -> bool:
    if event.modifiers() not in _PLAIN:
        return isinstance(widget, QAbstractItemView) and event.matches(
            QKeySequence.StandardKey.Copy
        )
    typed = event.key() == Qt.Key.Key_Delete or (event.text() and event.text().isprintable())
    if isinstance(widget, QLineEdit | QTextEdit | QPlainTextEdit | QAbstractSpinBox | QComboBox):
        return bool(typed)
    space = event.key() == Qt.Key.Key_Space
    return space and isinstance(widget, QAbstractButton | QAbstractItemView)
