"""Where the window stood and which panels were open: apart from the settings, and versioned."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QRect, QSettings
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMainWindow

VERSION = 2
"""To be raised when panels or tool bars come, go or change their names."""

_LEAST_SEEN_PX = 80


class LayoutStore:
    """Saves and restores a main window's place, size, panels and tool bars.

    Args:
        path: an INI file; a missing, foreign or broken one restores nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, window: QMainWindow) -> None:
        """Write the present layout."""
        store = self._open()
        store.setValue("version", VERSION)
        store.setValue("geometry", window.saveGeometry())
        store.setValue("state", window.saveState(VERSION))
        store.sync()

    def restore(self, window: QMainWindow) -> bool:
        """Bring the saved layout back; False if there is none that fits.

        A window that would lie on a screen that is gone moves to the first one.
        """
        store = self._open()
        if str(store.value("version", "")) != str(VERSION):
            return False
        geometry, state = store.value("geometry"), store.value("state")
        if not (isinstance(geometry, QByteArray) and isinstance(state, QByteArray)):
            return False
        placed = window.restoreGeometry(geometry)
        restored = window.restoreState(state, VERSION)
        keep_on_screen(window)
        return placed and restored

    def clear(self) -> None:
        """Forget the saved layout."""
        store = self._open()
        store.clear()
        store.sync()

    def _open(self) -> QSettings:
        return QSettings(str(self._path), QSettings.Format.IniFormat)


def keep_on_screen(window: QMainWindow) -> None:
    """Move a window whose title bar no screen shows to the first screen, and shrink it to fit."""
    frame = window.frameGeometry()
    title = QRect(frame.left(), frame.top(), frame.width(), _LEAST_SEEN_PX)
    for screen in QGuiApplication.screens():
        seen = screen.availableGeometry().intersected(title)
        if seen.width() >= _LEAST_SEEN_PX and seen.height() > 0:
            return
    room = QGuiApplication.primaryScreen().availableGeometry()
    window.resize(window.size().boundedTo(room.size()))
    window.move(room.center() - window.rect().center())
