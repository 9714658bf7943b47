"""The window's commands as actions: what menus, tool bar and palette show and run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup, QKeySequence, QUndoStack
from PySide6.QtWidgets import QMenu, QMenuBar

from descgui.models.bundle import AppModels
from descgui.views.commands import (
    MENU_TITLES,
    MENUS,
    SUBMENU_TITLES,
    Command,
    Section,
    key_sequences,
)
from descgui.views.conditions import set_elsewhere
from descgui.views.icons import icon
from descgui.views.key_guard import KeyGuard
from descgui.views.recent_menus import RecentMenus


class Actions(QObject):
    """All commands, by id: ``actions["open_pair"].triggered.connect(...)``.

    Attributes:
        recents: the submenus of recent pairs and folders.
        commands: the declarations, by id, in the order of the menus.
    """

    def __init__(self, models: AppModels, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self.commands: Mapping[str, Command] = {
            command.id: command
            for sections in MENUS.values()
            for section in sections
            for command in section
        }
        self._needs = {command.needs for command in self.commands.values()} - {set_elsewhere}
        self._groups: dict[str, QActionGroup] = {}
        self._whys: dict[str, str] = {}
        self._actions = {name: self._make(command) for name, command in self.commands.items()}
        self.recents = RecentMenus(models.settings, self)
        self._guard = KeyGuard(self)
        for signal in (
            models.pair.changed,
            models.pair.loading_changed,
            models.view.changed,
            models.settings.changed,
            models.engine.changed,
            models.matches.changed,
            models.pictures.changed,
            models.pins.changed,
            models.pins.selected_changed,
            models.training.status.changed,
            models.study.changed,
            models.evaluation.shown.changed,
        ):
            signal.connect(self.refresh)
        for maps in models.descriptors:
            maps.choice_changed.connect(self.refresh)
            maps.status_changed.connect(self.refresh)
        models.browser.changed.connect(self._list_neighbours)
        self._list_neighbours()

    def __getitem__(self, command_id: str) -> QAction:
        return self._actions[command_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def fill_menu_bar(self, bar: QMenuBar) -> None:
        """Put all menus into a menu bar."""
        for name, sections in MENUS.items():
            menu = bar.addMenu(MENU_TITLES[name])
            menu.setObjectName(f"menu_{name}")
            menu.setToolTipsVisible(True)  # they say why a command cannot be used
            self._fill(menu, sections)

    def follow_undo_stack(self, stack: QUndoStack) -> None:
        """Let undo and redo drive a stack, and name what they would change."""
        undo, redo = self["undo"], self["redo"]
        undo.triggered.connect(stack.undo)
        redo.triggered.connect(stack.redo)
        stack.canUndoChanged.connect(undo.setEnabled)
        stack.canRedoChanged.connect(redo.setEnabled)
        stack.undoTextChanged.connect(self._name_undo)
        stack.redoTextChanged.connect(self._name_redo)
        undo.setEnabled(stack.canUndo())
        redo.setEnabled(stack.canRedo())
        self._name_undo(stack.undoText())
        self._name_redo(stack.redoText())

    def why_not(self, keys: QKeySequence) -> str:
        """Why the command with this shortcut cannot be used now, as a sentence; "" otherwise."""
        for name, action in self._actions.items():
            why = self._whys.get(name, "")
            if why and not action.isEnabled() and keys in action.shortcuts():
                title = action.text().replace("&", "").removesuffix("…")
                return f"{title}: {why[0].lower()}{why[1:]}."
        return ""

    def refresh(self) -> None:
        """Bring every enabled and checked state up to the models."""
        # Many commands need the same; this runs several times while a pair opens.
        whys = {needs: needs(self._models) for needs in self._needs}
        for name, command in self.commands.items():
            action = self._actions[name]
            if command.needs is not set_elsewhere:
                why = whys[command.needs]
                if (why == "") != action.isEnabled() or why != self._whys.get(name, ""):
                    self._whys[name] = why
                    action.setEnabled(not why)
                    action.setToolTip(self._tip(command, action))
            if command.checked is not None:
                action.setChecked(command.checked(self._models))

    def _make(self, command: Command) -> QAction:
        action = QAction(command.text, self)
        action.setObjectName(command.id)
        action.setShortcuts([key for entry in command.keys for key in key_sequences(entry)])
        action.setToolTip(self._tip(command, action))
        action.setMenuRole(
            {
                "quit": QAction.MenuRole.QuitRole,
                "about": QAction.MenuRole.AboutRole,
                "settings": QAction.MenuRole.PreferencesRole,
            }.get(command.id, QAction.MenuRole.NoRole)
        )
        action.setIcon(icon(command.icon))
        action.setCheckable(command.checkable or command.checked is not None)
        if command.needs is set_elsewhere:
            action.setEnabled(False)
        if command.group:
            group = self._groups.setdefault(command.group, QActionGroup(self))
            group.addAction(action)
        if command.checked is not None:
            action.triggered.connect(self._on_clicked)
        return action

    def _tip(self, command: Command, action: QAction) -> str:
        shortcut = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        tip = f"{command.tip} ({shortcut})" if shortcut else command.tip
        why = self._whys.get(command.id, "")
        return f"{tip}\n{why}" if why else tip

    def _on_clicked(self, on: bool) -> None:
        command = self.commands[self.sender().objectName()]
        if command.apply is not None:
            command.apply(self._models, on)
        # The model decides: a click that changed nothing must not leave a tick behind.
        self.refresh()

    def _list_neighbours(self) -> None:
        browser = self._models.browser
        self["previous_pair"].setEnabled(browser.neighbour(-1) is not None)
        self["next_pair"].setEnabled(browser.neighbour(+1) is not None)
        self.refresh()

    def _fill(self, menu: QMenu, sections: tuple[Section, ...]) -> None:
        submenus: dict[str, QMenu] = {}
        for number, section in enumerate(sections):
            if number:
                menu.addSeparator()
            if not section:
                self.recents.add_to(menu)
            for command in section:
                target = menu
                if command.submenu:
                    if command.submenu not in submenus:
                        submenus[command.submenu] = menu.addMenu(SUBMENU_TITLES[command.submenu])
                        submenus[command.submenu].setIcon(icon(command.submenu))
                    target = submenus[command.submenu]
                target.addAction(self._actions[command.id])

    def _name_undo(self, what: str) -> None:
        self["undo"].setText(f"&Undo {what}" if what else "&Undo")

    def _name_redo(self, what: str) -> None:
        self["redo"].setText(f"&Redo {what}" if what else "&Redo")
