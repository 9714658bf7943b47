"""The submenus of recently opened pairs and folders."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal, SignalInstance
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu

from descgui.models.recents import read_recent
from descgui.models.settings import Settings, SettingsModel
from descgui.views.icons import icon
from descgui.views.panel_parts import plain_tip

_DIGITS = 9


class RecentMenus(QObject):
    """Two submenus that follow the settings.

    Signals:
        pair_requested(str): an entry of ``Settings.recent_pairs`` was chosen.
        folder_requested(str): an entry of ``Settings.recent_folders`` was chosen.
        refilled(): the entries are new ones; the old ones are gone.
    """

    pair_requested = Signal(str)
    folder_requested = Signal(str)
    refilled = Signal()

    def __init__(self, settings: SettingsModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self._menus = {
            "recent_pairs": QMenu("Recent &pairs"),
            "recent_folders": QMenu("Recent folde&rs"),
        }
        self._shown: dict[str, tuple[str, ...] | None] = dict.fromkeys(self._menus)
        self._menus["recent_pairs"].triggered.connect(self._on_pair)
        self._menus["recent_folders"].triggered.connect(self._on_folder)
        settings.changed.connect(self._follow)
        self._follow(settings.state)

    def add_to(self, menu: QMenu) -> None:
        """Add both submenus to a menu."""
        for submenu in self._menus.values():
            submenu.setIcon(icon("recent"))
            menu.addMenu(submenu)

    def actions(self) -> tuple[QAction, ...]:
        """The entries of both submenus, for the palette."""
        return tuple(
            action
            for menu in self._menus.values()
            for action in menu.actions()
            if action.data() is not None
        )

    def _follow(self, settings: Settings) -> None:
        for name, menu in self._menus.items():
            # A settings file may hold anything, and an empty path is the current folder.
            entries = tuple(entry for entry in getattr(settings, name) if entry.strip())
            if entries != self._shown[name]:
                self._shown[name] = entries
                self._fill(menu, entries)
                self.refilled.emit()

    def _fill(self, menu: QMenu, entries: tuple[str, ...]) -> None:
        menu.clear()
        menu.setEnabled(bool(entries))
        for number, entry in enumerate(entries, start=1):
            mnemonic = f"&{number} " if number <= _DIGITS else ""
            action = menu.addAction(mnemonic + recent_label(entry).replace("&", "&&"))
            action.setData(entry)
            action.setToolTip(plain_tip(entry.replace("\t", "\n")))
        if entries:
            menu.addSeparator()
            menu.addAction("&Clear this list")

    def _on_pair(self, action: QAction) -> None:
        self._choose("recent_pairs", action, self.pair_requested)

    def _on_folder(self, action: QAction) -> None:
        self._choose("recent_folders", action, self.folder_requested)

    def _choose(self, name: str, action: QAction, requested: SignalInstance) -> None:
        if action.data() is None:
            self._settings.update(**{name: ()})
        else:
            requested.emit(action.data())


def recent_label(entry: str) -> str:
    """An entry of the recent pairs or folders as a menu shows it: short, but told apart."""
    pair = read_recent(entry)
    if pair is None:
        return str(Path(*Path(entry).parts[-2:]))
    place = Path(pair.opened) if pair.path_a is None else pair.path_a.parent
    return f"{pair.label}  —  {place.name}"
