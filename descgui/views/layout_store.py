"""The window's place and open panels between sessions: kept apart from the settings, versioned."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PySide6.QtCore import QByteArray, QRect, QSettings
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMainWindow

VERSION = 2
"""Raise this when panels or tool bars are added, removed or renamed."""

_LEAST_SEEN_PX = 80


def save_layout(window: QMainWindow, path: Path) -> None:
    """Write the window's place, size, panels and tool bars into an INI file.

    What is there and no file, such as a pipe, is left alone: Qt would wait for its other end.
    """
    if path.exists() and not path.is_file():
        return
    store = QSettings(str(path), QSettings.Format.IniFormat)
    geometry, state = window.saveGeometry(), window.saveState(VERSION)
    store.setValue("version", VERSION)
    store.setValue("geometry", geometry)
    store.setValue("state", state)
    store.setValue("checksum", _checksum(geometry, state))
    store.sync()


def restore_layout(window: QMainWindow, path: Path) -> bool:
    """Restore a saved layout; False if the file is missing, broken or from another version.

    A window that would lie on a screen that is gone moves to the first one.
    """
    if not path.is_file():
        return False
    store = QSettings(str(path), QSettings.Format.IniFormat)
    if str(store.value("version", "")) != str(VERSION):
        return False
    geometry, state = store.value("geometry"), store.value("state")
    if not (isinstance(geometry, QByteArray) and isinstance(state, QByteArray)):
        return False
    # WORKAROUND Qt 6.10 reads a damaged state without checking it, which can end the process at
    # every start.
    if store.value("checksum") != _checksum(geometry, state):
        return False
    placed = window.restoreGeometry(geometry)
    restored = window.restoreState(state, VERSION)
    keep_on_screen(window)
    return placed and restored


def _checksum(geometry: QByteArray, state: QByteArray) -> str:
    return hashlib.sha256(bytes(geometry.data()) + b"|" + bytes(state.data())).hexdigest()


def keep_on_screen(window: QMainWindow) -> None:
    """Move a window whose title bar is on no screen to the first one, and shrink it to fit."""
    frame = window.frameGeometry()
    title = QRect(frame.left(), frame.top(), frame.width(), _LEAST_SEEN_PX)
    for screen in QGuiApplication.screens():
        seen = screen.availableGeometry().intersected(title)
        if seen.width() >= _LEAST_SEEN_PX and seen.height() > 0:
            return
    room = QGuiApplication.primaryScreen().availableGeometry()
    window.resize(window.size().boundedTo(room.size()))
    window.move(room.center() - window.rect().center())
