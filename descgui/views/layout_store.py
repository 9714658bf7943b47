"""The window's place and the layouts of its workspaces between sessions, in a versioned file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QByteArray, QRect, QSettings
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMainWindow

VERSION = 3
"""Raise this when what the file holds changes."""

STATE_VERSION = 2
"""Raise this when panels are removed or renamed: layouts from before no longer fit then."""

_ONE_LAYOUT = 2
"""The version before there were workspaces."""

_LEAST_SEEN_PX = 80


@dataclass(frozen=True, slots=True)
class Layouts:
    """What users made of the window's layouts.

    Attributes:
        workspace: the one shown.
        states: by workspace, and for narrow windows by ``<workspace>-compact``, in Qt's format.
    """

    workspace: str = ""
    states: Mapping[str, QByteArray] = field(default_factory=dict)


def save_layout(window: QMainWindow, layouts: Layouts, path: Path) -> None:
    """Write the window's place, size and layouts into an INI file.

    What is there and no file, such as a pipe, is left alone: Qt would wait for its other end.
    """
    if path.exists() and not path.is_file():
        return
    store = QSettings(str(path), QSettings.Format.IniFormat)
    store.clear()
    geometry = window.saveGeometry()
    store.setValue("version", VERSION)
    store.setValue("geometry", geometry)
    store.setValue("workspace", layouts.workspace)
    store.beginGroup("layouts")
    for key, state in layouts.states.items():
        store.setValue(key, state)
    store.endGroup()
    store.setValue("checksum", _checksum(geometry, layouts))
    store.sync()


def restore_layout(window: QMainWindow, path: Path) -> Layouts | None:
    """Bring back the window's place and size; the layouts are for the caller to show.

    A window that would lie on a screen that is gone moves to the first one.  The layout of a file
    from before there were workspaces becomes that of *Inspect*.

    Returns:
        None if the file is missing, broken or from another version.
    """
    if not path.is_file():
        return None
    store = QSettings(str(path), QSettings.Format.IniFormat)
    geometry = store.value("geometry")
    if not isinstance(geometry, QByteArray):
        return None
    version = str(store.value("version", ""))
    if version == str(VERSION):
        layouts = _layouts_in(store)
        expected = _checksum(geometry, layouts)
    elif version == str(_ONE_LAYOUT):
        state = store.value("state")
        layouts = Layouts("", {"inspect": state} if isinstance(state, QByteArray) else {})
        expected = _one_checksum(geometry, layouts)
    else:
        return None
    # WORKAROUND Qt 6.10 reads a damaged state without checking it, which can end the process at
    # every start.
    if store.value("checksum") != expected or not window.restoreGeometry(geometry):
        return None
    keep_on_screen(window)
    return layouts


def _layouts_in(store: QSettings) -> Layouts:
    store.beginGroup("layouts")
    values = {key: store.value(key) for key in store.childKeys()}
    store.endGroup()
    states = {key: value for key, value in values.items() if isinstance(value, QByteArray)}
    return Layouts(str(store.value("workspace", "")), states)


def _checksum(geometry: QByteArray, layouts: Layouts) -> str:
    parts = [bytes(geometry.data()), layouts.workspace.encode()]
    for key in sorted(layouts.states):
        parts += [key.encode(), bytes(layouts.states[key].data())]
    return hashlib.sha256(b"|".join(parts)).hexdigest()


def _one_checksum(geometry: QByteArray, layouts: Layouts) -> str:
    states = (bytes(state.data()) for state in layouts.states.values())
    return hashlib.sha256(bytes(geometry.data()) + b"|" + b"".join(states)).hexdigest()


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
