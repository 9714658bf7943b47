"""Every command of the window, declared once: menus, tool bar, palette and shortcut sheet read it.

A command's checked state follows the models, and a click on one that is only a matter of how things
look (mode, linked views, theme) is written into its model here.  All others are carried out by
whoever connects to ``actions["id"].triggered``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shiboken6
from PySide6.QtCore import QEvent, QObject, Qt, Signal, SignalInstance
from PySide6.QtGui import QAction, QActionGroup, QKeyEvent, QKeySequence, QUndoStack
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QMenu,
    QMenuBar,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.recents import read_recent
from descgui.models.settings import Settings
from descgui.views.icons import icon
from engine.api import PANELS, VIEW_MODES

if TYPE_CHECKING:
    from descgui.models.browser_state import BrowserState

MENUS = ("file", "edit", "view", "run", "window", "help")
"""Ids of the menus, in order."""

_DIGITS = 9
_PLAIN = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
_Key = str | QKeySequence.StandardKey


def _always(_models: AppModels) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a command is called, where it stands, and when it can be used.

    Attributes:
        id: key in :class:`Actions`.
        text: in menus, with a mnemonic.
        tip: one sentence without a full stop, for the tooltip and the palette.
        menu: one of :data:`MENUS`.
        section: commands of one section stand together between separators.
        icon: name of an icon; "" for none.
        keys: its shortcuts.
        submenu: key of a submenu of ``menu``; "" for the menu itself.
        group: commands of one group exclude one another.
        enabled: whether it can be used now.
        checked: whether it is on, by the models; None where they do not know.
        checkable: it is on or off, but somebody else says which.
        apply: what a click changes in the models; None where somebody else acts.
    """

    id: str
    text: str
    tip: str
    menu: str
    section: int
    icon: str = ""
    keys: tuple[_Key, ...] = ()
    submenu: str = ""
    group: str = ""
    enabled: Callable[[AppModels], bool] = _always
    checked: Callable[[AppModels], bool] | None = None
    checkable: bool = False
    apply: Callable[[AppModels, bool], None] | None = None


class Actions(QObject):
    """All commands, by id: ``actions["open_pair"].triggered.connect(...)``.

    Signals:
        recent_pair_requested(str): an entry of ``Settings.recent_pairs`` was chosen.
        recent_folder_requested(str): an entry of ``Settings.recent_folders`` was chosen.
    """

    recent_pair_requested = Signal(str)
    recent_folder_requested = Signal(str)

    def __init__(self, models: AppModels, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self._commands = {command.id: command for command in self._declare()}
        self._actions: dict[str, QAction] = {}
        self._groups: dict[str, QActionGroup] = {}
        self._has_neighbour = {"previous_pair": False, "next_pair": False}
        self._recent_menus = {
            "recent_pairs": QMenu("Recent &pairs"),
            "recent_folders": QMenu("Recent folde&rs"),
        }
        self._shown_recents: dict[str, tuple[str, ...] | None] = dict.fromkeys(self._recent_menus)
        for command in self._commands.values():
            self._actions[command.id] = self._make(command)
        self._guard = KeyGuard(self)
        self._follow(models)
        self._list_neighbours(models.browser.state)
        self._list_recents(models.settings.state)

    def __getitem__(self, command_id: str) -> QAction:
        return self._actions[command_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._actions)

    def __len__(self) -> int:
        return len(self._actions)

    @property
    def commands(self) -> Mapping[str, Command]:
        """The declarations, by id, in the order of the menus."""
        return self._commands

    def menu_title(self, menu: str) -> str:
        """What a menu of :data:`MENUS` is called, with its mnemonic."""
        return {
            "file": "&File",
            "edit": "&Edit",
            "view": "&View",
            "run": "&Run",
            "window": "&Window",
            "help": "&Help",
        }[menu]

    def recent_actions(self) -> tuple[QAction, ...]:
        """The entries of both submenus of recent things, for the palette."""
        return tuple(
            action
            for menu in self._recent_menus.values()
            for action in menu.actions()
            if action.data() is not None
        )

    def fill_menu_bar(self, bar: QMenuBar) -> None:
        """Put all menus into a menu bar."""
        for name in MENUS:
            menu = bar.addMenu(self.menu_title(name))
            menu.setObjectName(f"menu_{name}")
            menu.setToolTipsVisible(False)
            self._fill(menu, name)

    def follow_undo_stack(self, stack: QUndoStack) -> None:
        """Let undo and redo drive a stack, and say what they would undo."""
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

    def refresh(self) -> None:
        """Bring every enabled and checked state up to the models."""
        for name, command in self._commands.items():
            action = self._actions[name]
            if name in self._has_neighbour:
                action.setEnabled(self._has_neighbour[name])
            elif command.enabled is not _follows_elsewhere:
                action.setEnabled(command.enabled(self._models))
            if command.checked is not None:
                action.setChecked(command.checked(self._models))

    # The table of commands ---------------------------------------------------------------------

    def _declare(self) -> list[Command]:
        return [
            *self._declare_file(),
            *self._declare_edit(),
            *self._declare_view(),
            *self._declare_run(),
            *self._declare_window(),
            *self._declare_help(),
        ]

    def _declare_file(self) -> list[Command]:
        at = partial(Command, menu="file")
        key = QKeySequence.StandardKey
        return [
            at(
                id="open_pair",
                text="&Open pair…",
                tip="Open two photos",
                section=0,
                icon="open-pair",
                keys=(key.Open,),
            ),
            at(
                id="open_folder",
                text="Open &folder…",
                tip="Open a folder of HPatches sequences or of photos",
                section=0,
                icon="open-folder",
                keys=("Ctrl+Shift+O",),
            ),
            at(
                id="open_demo",
                text="Open &demo",
                tip="Open the sequences that come with the program",
                section=0,
                icon="demo",
            ),
            at(
                id="load_homography",
                text="Load &homography…",
                tip="Give the open pair its true homography, from a text or NumPy file",
                section=2,
                icon="homography",
                enabled=_has_pair,
            ),
            at(
                id="clear_homography",
                text="&Clear homography",
                tip="Forget the true homography of the open pair",
                section=2,
                icon="homography-clear",
                enabled=_has_homography,
            ),
            at(
                id="load_maps",
                text="Load precomputed &maps…",
                tip="Show dense descriptors of your own, one map file for each image",
                section=2,
                icon="maps",
                enabled=_has_pair,
            ),
            at(
                id="load_plugin",
                text="Load p&lugin…",
                tip="Run a Python file that registers a descriptor",
                section=2,
                icon="plugin",
                enabled=_engine_ready,
            ),
            at(
                id="export_canvas",
                text="&Save picture…",
                tip="Save what the two panes show as a PNG",
                section=3,
                icon="export-image",
                keys=(key.Save,),
                enabled=_has_pair,
            ),
            at(
                id="export_window",
                text="Save &window picture…",
                tip="Save the whole window as a PNG",
                section=3,
                icon="export-window",
            ),
            at(
                id="export_figure",
                text="&Export figure…",
                tip="Export a figure fit for a paper, as PNG or SVG",
                section=3,
                icon="export-figure",
                keys=("Ctrl+E",),
                enabled=_has_pair,
            ),
            at(
                id="export_matches",
                text="Export ma&tches…",
                tip="Export all matches as CSV, one row a query",
                section=3,
                icon="table",
                keys=("Ctrl+Shift+E",),
                enabled=_has_matches,
            ),
            at(
                id="quit",
                text="&Quit",
                tip="Close the window and end the program",
                section=4,
                icon="quit",
                keys=("Ctrl+Q",),
            ),
        ]

    def _declare_edit(self) -> list[Command]:
        at = partial(Command, menu="edit")
        key = QKeySequence.StandardKey
        return [
            at(
                id="undo",
                text="&Undo",
                tip="Take back the last change of the pins",
                section=0,
                icon="undo",
                keys=(key.Undo,),
                enabled=_follows_elsewhere,
            ),
            at(
                id="redo",
                text="&Redo",
                tip="Make the change again that was taken back",
                section=0,
                icon="redo",
                keys=(key.Redo,),
                enabled=_follows_elsewhere,
            ),
            at(
                id="copy_canvas",
                text="&Copy picture",
                tip="Copy what the two panes show",
                section=1,
                icon="copy",
                keys=(key.Copy,),
                enabled=_has_pair,
            ),
            at(
                id="copy_command",
                text="Copy as co&mmand",
                tip="Copy the command line that opens this very view",
                section=1,
                icon="terminal",
                keys=("Ctrl+Shift+C",),
                enabled=_has_pair,
            ),
            at(
                id="paste_image",
                text="&Paste images",
                tip="Open images, or the paths of images, from the clipboard",
                section=1,
                icon="paste",
                keys=(key.Paste,),
            ),
            at(
                id="remove_pin",
                text="Remove p&in",
                tip="Remove the selected pin",
                section=2,
                icon="pin-remove",
                keys=(key.Delete,),
                enabled=lambda models: models.pins.selected != 0,
            ),
            at(
                id="clear_pins",
                text="Remove &all pins",
                tip="Remove all pins",
                section=2,
                icon="clear-pins",
                enabled=lambda models: bool(models.pins.pins),
            ),
            at(
                id="settings",
                text="&Settings…",
                tip="Change how the program looks and computes",
                section=3,
                icon="settings",
                keys=("Ctrl+,",),
            ),
        ]

    def _declare_view(self) -> list[Command]:
        at = partial(Command, menu="view")
        key = QKeySequence.StandardKey
        return [
            *self._declare_modes(),
            at(
                id="blink",
                text="&Blink",
                tip="Switch between an image and the other one warped onto it",
                section=1,
                icon="blink",
                keys=("Space",),
                enabled=_has_homography,
                checked=lambda models: models.view.state.blink and models.view.state.mode == "warp",
                apply=lambda models, on: models.view.update(
                    blink=on, mode="warp" if on else models.view.state.mode
                ),
            ),
            at(
                id="linked",
                text="&Linked views",
                tip="Pan and zoom both panes together",
                section=1,
                icon="linked",
                keys=("L",),
                checked=lambda models: models.view.state.linked,
                apply=lambda models, on: models.view.update(linked=on),
            ),
            at(
                id="stacked",
                text="&Stacked panes",
                tip="Put the panes above one another instead of side by side",
                section=1,
                icon="stacked",
                keys=("Shift+L",),
                checked=lambda models: models.view.state.stacked,
                apply=lambda models, on: models.view.update(stacked=on),
            ),
            at(
                id="fit",
                text="&Fit",
                tip="Show the whole of both images",
                section=2,
                icon="fit",
                keys=("Ctrl+0",),
                enabled=_has_pair,
            ),
            at(
                id="one_to_one",
                text="&1:1",
                tip="Show every image pixel as one pixel of the screen",
                section=2,
                icon="one-to-one",
                keys=("Ctrl+1",),
                enabled=_has_pair,
            ),
            at(
                id="zoom_in",
                text="&Zoom in",
                tip="Show less, larger",
                section=2,
                icon="zoom-in",
                keys=(key.ZoomIn, "Ctrl+="),
                enabled=_has_pair,
            ),
            at(
                id="zoom_out",
                text="Zoom o&ut",
                tip="Show more, smaller",
                section=2,
                icon="zoom-out",
                keys=(key.ZoomOut,),
                enabled=_has_pair,
            ),
            *self._declare_colors(),
        ]

    def _declare_modes(self) -> list[Command]:
        # The number keys follow the order of VIEW_MODES.
        texts = {
            "image": ("&Image", "Show the images alone", _has_pair),
            "pca": ("&PCA", "Show the descriptors as colours", _has_pair),
            "overlay": (
                "O&verlay",
                "Show the descriptors' colours over the images",
                _has_pair,
            ),
            "heat": (
                "&Heat map",
                "Show how similar every point is to the one under the mouse",
                _has_pair,
            ),
            "warp": (
                "&Warp",
                "Lay one image over the other through the true homography",
                _has_homography,
            ),
            "cycle": (
                "&Cycle",
                "Show how far a match lands from its start when matched back",
                _has_pair,
            ),
            "members": (
                "&Members",
                "Show which scale and rotation of a descriptor set won at each point",
                _has_members,
            ),
        }
        return [
            Command(
                id=f"mode_{mode}",
                text=texts[mode][0],
                tip=texts[mode][1],
                menu="view",
                section=0,
                icon=f"mode-{mode}",
                keys=(str(number),),
                group="mode",
                enabled=texts[mode][2],
                checked=partial(_is_mode, mode),
                apply=partial(_set_mode, mode),
            )
            for number, mode in enumerate(VIEW_MODES, start=1)
        ]

    def _declare_colors(self) -> list[Command]:
        themes = {
            "system": ("Like the &system", "Light or dark as the system says"),
            "light": ("&Light", "Dark text on a light window"),
            "dark": ("&Dark", "Light text on a dark window"),
        }
        maps = {
            "viridis": (
                "&Viridis",
                "Colour maps from purple over green to yellow",
            ),
            "cividis": (
                "&Cividis",
                "Colour maps from blue to yellow, alike for most colour-blind eyes",
            ),
        }
        icons = {"system": "theme", "light": "theme-light", "dark": "theme-dark"}
        at = partial(Command, menu="view", section=3)
        return [
            *(
                at(
                    id=f"colormap_{name}",
                    text=text,
                    tip=tip,
                    submenu="colormap",
                    group="colormap",
                    icon="colormap",
                    checked=partial(_is_colormap, name),
                    apply=partial(_set_colormap, name),
                )
                for name, (text, tip) in maps.items()
            ),
            *(
                at(
                    id=f"theme_{name}",
                    text=text,
                    tip=tip,
                    submenu="theme",
                    group="theme",
                    icon=icons[name],
                    checked=partial(_is_theme, name),
                    apply=partial(_set_theme, name),
                )
                for name, (text, tip) in themes.items()
            ),
        ]

    def _declare_run(self) -> list[Command]:
        at = partial(Command, menu="run")
        return [
            at(
                id="previous_pair",
                text="&Previous pair",
                tip="Open the pair before this one in the list",
                section=0,
                icon="previous",
                keys=("A",),
            ),
            at(
                id="next_pair",
                text="&Next pair",
                tip="Open the pair after this one in the list",
                section=0,
                icon="next",
                keys=("D",),
            ),
            at(
                id="describe_again",
                text="&Describe again",
                tip="Compute the descriptors of the open pair anew",
                section=1,
                icon="refresh",
                keys=(QKeySequence.StandardKey.Refresh,),
                enabled=lambda models: _has_pair(models) and _engine_ready(models),
            ),
            at(
                id="compare",
                text="&Compare descriptors…",
                tip="Show a second descriptor's answer beside the first",
                section=1,
                icon="compare",
                keys=("C",),
                enabled=_engine_ready,
                checked=lambda models: models.compared.choice.name != "",
            ),
            at(
                id="run_matches",
                text="&Match points",
                tip="Match many points of the left image at once",
                section=2,
                icon="matches",
                keys=("Ctrl+M",),
                enabled=lambda models: models.maps.ready and not models.matches.state.running,
            ),
            at(
                id="clear_matches",
                text="C&lear matches",
                tip="Forget the matches",
                section=2,
                icon="matches-clear",
                enabled=_has_matches,
            ),
            at(
                id="evaluate",
                text="&Evaluate…",
                tip="Measure descriptors on HPatches or sequences like it",
                section=3,
                icon="evaluate",
                keys=("Ctrl+Shift+R",),
            ),
            at(
                id="train",
                text="&Train…",
                tip="Train a descriptor on your own photos, and watch it learn",
                section=3,
                icon="train",
                keys=("Ctrl+Shift+T",),
            ),
            at(
                id="stop_training",
                text="St&op training",
                tip="Stop the training under way and keep a checkpoint",
                section=3,
                icon="stop",
                enabled=lambda models: models.training.status.state.busy,
            ),
            at(
                id="cancel",
                text="&Stop",
                tip="Stop what is being computed",
                section=4,
                icon="stop",
                keys=("Esc",),
                enabled=is_busy,
            ),
        ]

    def _declare_window(self) -> list[Command]:
        at = partial(Command, menu="window")
        docks = {
            "browser": ("&Browser", "browser", ("F2",)),
            "descriptor": ("&Descriptor", "descriptor", ("F3",)),
            "probe": ("&Probe", "probe", ("F4",)),
            "matches": ("&Matches", "matches", ("F6",)),
            "evaluation": ("&Evaluation", "evaluate", ("F8",)),
            "training": ("&Training", "train", ("F9",)),
            "log": ("&Log", "log", ("F7",)),
        }
        return [
            *(
                at(
                    id=f"dock_{name}",
                    text=docks[name][0],
                    tip="Show or hide this panel",
                    section=0,
                    icon=docks[name][1],
                    keys=docks[name][2],
                    enabled=_follows_elsewhere,
                    checkable=True,
                )
                for name in PANELS
            ),
            at(
                id="reset_layout",
                text="&Reset layout",
                tip="Put all panels back where they were at first",
                section=1,
                icon="layout-reset",
            ),
            at(
                id="full_screen",
                text="&Full screen",
                tip="Fill the screen with the window",
                section=1,
                icon="fullscreen",
                keys=("F11",),
                checkable=True,
            ),
        ]

    def _declare_help(self) -> list[Command]:
        at = partial(Command, menu="help")
        return [
            at(
                id="palette",
                text="Command &palette…",
                tip="Find and run any command by its name",
                section=0,
                icon="palette",
                keys=("Ctrl+Shift+P",),
            ),
            at(
                id="help_shortcuts",
                text="&Keyboard shortcuts",
                tip="List every shortcut",
                section=0,
                icon="keyboard",
                keys=("F1",),
            ),
            at(
                id="help_tour",
                text="&First five minutes",
                tip="Read a short tour of the program",
                section=0,
                icon="tour",
            ),
            at(
                id="doctor",
                text="&Doctor",
                tip="Check this computer and say how to cure what is amiss",
                section=1,
                icon="doctor",
            ),
            at(
                id="open_log_folder",
                text="Open &log folder",
                tip="Show the folder with the program's log files",
                section=1,
                icon="folder",
            ),
            at(
                id="about",
                text="&About Descriptor Space",
                tip="Show versions, devices and folders",
                section=2,
                icon="info",
            ),
        ]

    # Making and keeping up ---------------------------------------------------------------------

    def _make(self, command: Command) -> QAction:
        action = QAction(command.text, self)
        action.setObjectName(command.id)
        action.setShortcuts([key for entry in command.keys for key in _sequences(entry)])
        shortcut = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        action.setToolTip(f"{command.tip} ({shortcut})" if shortcut else command.tip)
        action.setMenuRole(
            {
                "quit": QAction.MenuRole.QuitRole,
                "about": QAction.MenuRole.AboutRole,
                "settings": QAction.MenuRole.PreferencesRole,
            }.get(command.id, QAction.MenuRole.NoRole)
        )
        if command.icon:
            action.setIcon(icon(command.icon))
        action.setCheckable(command.checkable or command.checked is not None)
        if command.enabled is _follows_elsewhere:
            action.setEnabled(False)
        if command.group:
            group = self._groups.setdefault(command.group, QActionGroup(self))
            group.addAction(action)
        if command.checked is not None:
            action.triggered.connect(self._on_clicked)
        return action

    def _on_clicked(self, on: bool) -> None:
        command = self._commands[self.sender().objectName()]
        if command.apply is not None:
            command.apply(self._models, on)
        # The model decides: a click that changed nothing must not leave a tick behind.
        self.refresh()

    def _follow(self, models: AppModels) -> None:
        models.browser.changed.connect(self._list_neighbours)
        models.settings.changed.connect(self._list_recents)
        self._recent_menus["recent_pairs"].triggered.connect(self._on_recent_pair)
        self._recent_menus["recent_folders"].triggered.connect(self._on_recent_folder)
        for signal in (
            models.pair.changed,
            models.pair.loading_changed,
            models.view.changed,
            models.engine.changed,
            models.matches.changed,
            models.pins.changed,
            models.pins.selected_changed,
            models.training.status.changed,
        ):
            signal.connect(self._refresh_after)
        for maps in (models.maps, models.compared):
            maps.choice_changed.connect(self._refresh_after)
            maps.status_changed.connect(self._refresh_after)

    def _refresh_after(self, *_state: Any) -> None:
        self.refresh()

    def _list_neighbours(self, _state: BrowserState) -> None:
        browser = self._models.browser
        self._has_neighbour = {
            "previous_pair": browser.neighbour(-1) is not None,
            "next_pair": browser.neighbour(+1) is not None,
        }
        self.refresh()

    def _list_recents(self, settings: Settings) -> None:
        self._fill_recents("recent_pairs", settings.recent_pairs)
        self._fill_recents("recent_folders", settings.recent_folders)
        self.refresh()

    def _fill_recents(self, name: str, entries: tuple[str, ...]) -> None:
        if entries == self._shown_recents[name]:
            return
        self._shown_recents[name] = entries
        menu = self._recent_menus[name]
        menu.clear()
        menu.setEnabled(bool(entries))
        for number, entry in enumerate(entries, start=1):
            mnemonic = f"&{number} " if number <= _DIGITS else ""
            action = menu.addAction(mnemonic + recent_label(entry).replace("&", "&&"))
            action.setData(entry)
            action.setToolTip(entry.replace("\t", "\n"))
        if entries:
            menu.addSeparator()
            menu.addAction("&Clear this list")

    def _on_recent_pair(self, action: QAction) -> None:
        self._choose_recent("recent_pairs", action, self.recent_pair_requested)

    def _on_recent_folder(self, action: QAction) -> None:
        self._choose_recent("recent_folders", action, self.recent_folder_requested)

    def _choose_recent(self, name: str, action: QAction, requested: SignalInstance) -> None:
        if action.data() is None:
            self._models.settings.update(**{name: ()})
        else:
            requested.emit(action.data())

    def _fill(self, menu: QMenu, name: str) -> None:
        titles = {"colormap": "C&olour map", "theme": "&Theme"}
        icons = {"colormap": "colormap", "theme": "theme"}
        submenus: dict[str, QMenu] = {}
        section = 0
        for command in self._commands.values():
            if command.menu != name:
                continue
            if command.section != section:
                if name == "file" and section == 0:
                    self._add_recents(menu)
                menu.addSeparator()
                section = command.section
            target = menu
            if command.submenu:
                if command.submenu not in submenus:
                    made = menu.addMenu(titles[command.submenu])
                    made.setIcon(icon(icons[command.submenu]))
                    submenus[command.submenu] = made
                target = submenus[command.submenu]
            target.addAction(self._actions[command.id])

    def _add_recents(self, menu: QMenu) -> None:
        menu.addSeparator()
        for submenu in self._recent_menus.values():
            submenu.setIcon(icon("recent"))
            menu.addMenu(submenu)

    def _name_undo(self, what: str) -> None:
        self["undo"].setText(f"&Undo {what}" if what else "&Undo")

    def _name_redo(self, what: str) -> None:
        self["redo"].setText(f"&Redo {what}" if what else "&Redo")


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


def recent_label(entry: str) -> str:
    """An entry of the recent pairs or folders as a menu shows it: short, but told apart."""
    pair = read_recent(entry)
    if pair is None:
        return str(Path(*Path(entry).parts[-2:]))
    folder = pair.root or (pair.path_a.parent if pair.path_a is not None else None)
    return f"{pair.label}  —  {folder.name}" if folder is not None else pair.label


def is_busy(models: AppModels) -> bool:
    """True while something can be stopped: a pair being opened, maps or matches computed."""
    working = any(
        maps.status(side).stage in ("waiting", "computing")
        for maps in (models.maps, models.compared)
        for side in ("a", "b")
    )
    return working or models.matches.state.running or models.pair.loading != ""


def _follows_elsewhere(_models: AppModels) -> bool:
    """Marks commands whose state is set from outside: an undo stack or a dock."""
    return False


def _has_pair(models: AppModels) -> bool:
    return models.pair.state is not None


def _has_homography(models: AppModels) -> bool:
    state = models.pair.state
    return state is not None and state.pair.h_b_from_a is not None


def _has_members(models: AppModels) -> bool:
    info = models.maps.status("a").info
    return _has_pair(models) and info is not None and info.levels > 1


def _has_matches(models: AppModels) -> bool:
    return models.matches.state.table is not None


def _engine_ready(models: AppModels) -> bool:
    return models.engine.state.stage == "ready"


def _is_mode(mode: str, models: AppModels) -> bool:
    return models.view.state.mode == mode


def _set_mode(mode: str, models: AppModels, _on: bool) -> None:
    models.view.update(mode=mode)


def _is_colormap(name: str, models: AppModels) -> bool:
    return models.settings.state.colormap == name


def _set_colormap(name: str, models: AppModels, _on: bool) -> None:
    models.settings.update(colormap=name)


def _is_theme(name: str, models: AppModels) -> bool:
    return models.settings.state.theme == name


def _set_theme(name: str, models: AppModels, _on: bool) -> None:
    models.settings.update(theme=name)


def shown_keys(keys: tuple[_Key, ...]) -> list[str]:
    """The shortcuts of a command as a person reads them: of a standard key the usual one alone."""
    native = QKeySequence.SequenceFormat.NativeText
    return [_sequences(key)[0].toString(native) for key in keys if _sequences(key)]


def _sequences(key: _Key) -> list[QKeySequence]:
    if isinstance(key, QKeySequence.StandardKey):
        return QKeySequence.keyBindings(key)
    return [QKeySequence(key)]


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
