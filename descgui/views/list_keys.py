"""Keys that move through a list while its search field has the focus."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent


def key_of(event: QEvent) -> QKeyEvent | None:
    """The event if it is of a key that goes down, or asks first whether a shortcut may have it."""
    kinds = (QEvent.Type.KeyPress, QEvent.Type.ShortcutOverride)
    return event if isinstance(event, QKeyEvent) and event.type() in kinds else None


def rows_of(event: QKeyEvent, *, page_rows: int) -> int:
    """By how many rows a key moves down the list; 0 for any other key.

    Args:
        event: of the key.
        page_rows: how many a page has.
    """
    rows = {
        Qt.Key.Key_Down: 1,
        Qt.Key.Key_Up: -1,
        Qt.Key.Key_PageDown: page_rows,
        Qt.Key.Key_PageUp: -page_rows,
    }
    return rows.get(Qt.Key(event.key()), 0)
