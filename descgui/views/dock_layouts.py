"""Where the panels are: a layout for each workspace, and another where there is little room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from PySide6.QtCore import QByteArray, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from descgui.views.actions import Actions
from descgui.views.icons import icon
from descgui.views.layout_store import STATE_VERSION, Layouts
from descgui.views.workspace_bars import PanelRail
from descgui.views.workspaces import COMPACT_PX, INSPECT, WORKSPACES, home_of

Area = Literal["left", "right", "bottom"]

_AREAS: Final = {
    "left": Qt.DockWidgetArea.LeftDockWidgetArea,
    "right": Qt.DockWidgetArea.RightDockWidgetArea,
    "bottom": Qt.DockWidgetArea.BottomDockWidgetArea,
}
_LOW_PX: Final = 840  # a lower window has no room for two panels above one another
_DOCK_WIDTHS_PX: Final = {"left": 236, "right": 324}
_COMPACT_WIDTHS_PX: Final = {"left": 236, "right": 290}
_MAIN_SHARE: Final = 0.62


@dataclass(frozen=True, slots=True)
class DockSpec:
    """A panel: its content, its title, and where it is at first.

    Attributes:
        widget: its content.
        title: shown on its title bar and its tab.
        icon: name of its icon.
        area: side of the window, where the panel is not the main one of the workspace.
        height_px: initial height, if it is at the bottom.
    """

    widget: QWidget
    title: str
    icon: str = ""
    area: Area = "right"
    height_px: int = 180


class DockLayouts(QObject):
    """Keeps the panels of a window, and lays them out for each workspace.

    A layout is what the user made of it, and comes back with its workspace.  A window narrower
    than :data:`~descgui.views.workspaces.COMPACT_PX` has layouts of its own.

    Args:
        window: with its central widget, the pair's view, in place.
        actions: ``dock_<name>`` follow the panels, ``workspace_<name>`` the workspaces.
        specs: panels by name; those of one area from top to bottom.

    Attributes:
        docks: the panels by name.
        workspace: the name of the one shown.
        rail: the panels as icons.

    Signals:
        laid_out(): another layout is shown.
    """

    laid_out = Signal()

    def __init__(
        self, window: QMainWindow, actions: Actions, specs: Mapping[str, DockSpec]
    ) -> None:
        super().__init__(window)
        self._window = window
        self._actions = actions
        self._specs = dict(specs)
        self._states: dict[str, QByteArray] = {}
        self._shown_key = ""
        self.workspace = INSPECT
        self.docks: dict[str, QDockWidget] = {}
        window.setDockOptions(
            QMainWindow.DockOption.AllowTabbedDocks | QMainWindow.DockOption.AllowNestedDocks
        )
        window.setCorner(Qt.Corner.BottomLeftCorner, _AREAS["left"])
        window.setCorner(Qt.Corner.BottomRightCorner, _AREAS["right"])
        for name, spec in self._specs.items():
            self._add(name, spec)
        on_rail = tuple(name for name in self._specs if home_of(name) in ("", INSPECT))
        self.rail = PanelRail(actions, on_rail, window)
        window.addToolBar(Qt.ToolBarArea.LeftToolBarArea, self.rail)
        for name in WORKSPACES:
            command = actions[f"workspace_{name}"]
            command.setEnabled(True)
            command.setChecked(name == self.workspace)
            command.triggered.connect(self._on_workspace)
        self._refit = QTimer(self, singleShot=True, interval=0)
        self._refit.timeout.connect(self.show)

    @property
    def compact(self) -> bool:
        """Whether the window is too narrow for panels beside the pair."""
        return self._window.width() < COMPACT_PX

    def keep(self) -> Layouts:
        """What to store, so that :meth:`take` brings it back."""
        self._remember()
        return Layouts(self.workspace, dict(self._states))

    def take(self, kept: Layouts) -> None:
        """Take over layouts from an earlier session; :meth:`show` lays the panels out."""
        self._states = dict(kept.states)
        if kept.workspace in WORKSPACES:
            self.workspace = kept.workspace
        self._shown_key = ""

    def show_workspace(self, name: str) -> None:
        """Show another workspace as it was left."""
        if name != self.workspace:
            self._remember()
            self.workspace = name
            self.show()
            self._focus()
        for other in WORKSPACES:
            self._actions[f"workspace_{other}"].setChecked(other == self.workspace)

    def show(self) -> None:
        """Lay the panels out for the workspace and the window's width, as they were left."""
        if self._key == self._shown_key:
            return
        self._remember()
        state = self._states.get(self._key)
        self._lay_out(state)

    def reset(self) -> None:
        """Put the panels of the workspace where they belong at the window's current size."""
        self._states.pop(self._key, None)
        self._lay_out(None)

    def fit(self) -> None:
        """Change the layout once the window has become narrow or wide."""
        if self._shown_key and self._key != self._shown_key:
            self._refit.start()  # later: Qt is laying out the window right now

    def open(self, name: str) -> None:
        """Show a panel in its workspace, in front of its tabs, and high enough at the bottom."""
        home = home_of(name)
        if home:
            self.show_workspace(home)
        dock, spec = self.docks[name], self._specs[name]
        self._reveal(name)
        at_bottom = self._window.dockWidgetArea(dock) == _AREAS["bottom"]
        if at_bottom and not dock.isFloating() and dock.height() < spec.height_px:
            self._window.resizeDocks([dock], [spec.height_px], Qt.Orientation.Vertical)

    # Making

    def _add(self, name: str, spec: DockSpec) -> None:
        dock = QDockWidget(spec.title, self._window)
        dock.setObjectName(f"dock_{name}")
        dock.setWidget(spec.widget)
        if spec.icon:
            dock.setWindowIcon(icon(spec.icon))
        self.docks[name] = dock
        self._window.addDockWidget(_AREAS[spec.area], dock)
        dock.setVisible(name in WORKSPACES[INSPECT].panels)
        command, toggle = self._actions[f"dock_{name}"], dock.toggleViewAction()
        command.setEnabled(True)
        command.setChecked(toggle.isChecked())
        toggle.toggled.connect(command.setChecked)
        command.triggered.connect(self._on_dock)

    # Laying out

    @property
    def _key(self) -> str:
        return f"{self.workspace}-compact" if self.compact else self.workspace

    def _remember(self) -> None:
        if self._shown_key:
            self._states[self._shown_key] = self._window.saveState(STATE_VERSION)

    def _lay_out(self, state: QByteArray | None) -> None:
        window, workspace = self._window, WORKSPACES[self.workspace]
        window.setUpdatesEnabled(False)
        try:
            central = window.centralWidget()
            if central is not None:
                central.setVisible(not (workspace.main and self.compact))
            if state is None or not window.restoreState(state, STATE_VERSION):
                self._arrange()
            self._shown_key = self._key
            self.rail.setVisible(self.compact and not workspace.main)
        finally:
            window.setUpdatesEnabled(True)
        self.laid_out.emit()

    def _arrange(self) -> None:
        window, workspace = self._window, WORKSPACES[self.workspace]
        for name, dock in self.docks.items():
            dock.setFloating(False)
            window.addDockWidget(_AREAS[self._area(name)], dock)
            dock.setVisible(name in workspace.panels and (bool(workspace.main) or not self.compact))
        right = self._at("right")
        for above, below in pairwise(right):
            if above is right[0] and window.height() >= _LOW_PX and not self.compact:
                window.splitDockWidget(above, below, Qt.Orientation.Vertical)
            else:
                window.tabifyDockWidget(above, below)
        if len(right) > 1:
            right[1].raise_()
        for one, other in pairwise(self._at("bottom")):
            window.tabifyDockWidget(one, other)
        self._size()

    def _area(self, name: str) -> Area:
        """Where a panel is at first: the main one has the left side to itself."""
        main, area = WORKSPACES[self.workspace].main, self._specs[name].area
        if name == main:
            return "left"
        return "right" if main and area == "left" else area

    def _size(self) -> None:
        window, main = self._window, WORKSPACES[self.workspace].main
        for area in ("left", "right"):
            shown = [
                dock
                for dock in self._at(area)
                if dock.isVisibleTo(window) and dock is not self.docks.get(main)
            ]
            width_px = (_COMPACT_WIDTHS_PX if self.compact else _DOCK_WIDTHS_PX)[area]
            window.resizeDocks(shown, [width_px] * len(shown), Qt.Orientation.Horizontal)
        if main in self.docks and not self.compact:
            width_px = round(_MAIN_SHARE * window.width())
            window.resizeDocks([self.docks[main]], [width_px], Qt.Orientation.Horizontal)
        below = [name for name, dock in self.docks.items() if dock in self._at("bottom")]
        window.resizeDocks(
            [self.docks[name] for name in below],
            [self._specs[name].height_px for name in below],
            Qt.Orientation.Vertical,
        )

    def _at(self, area: Area) -> list[QDockWidget]:
        return [
            dock
            for dock in self.docks.values()
            if self._window.dockWidgetArea(dock) == _AREAS[area]
        ]

    def _reveal(self, name: str) -> None:
        """Show a panel; where there is little room, in place of the others on its side."""
        dock = self.docks[name]
        if self.rail.isVisibleTo(self._window) and not dock.isVisible():
            area = self._window.dockWidgetArea(dock)
            for other in self.docks.values():
                beside = self._window.dockWidgetArea(other) == area
                if other is not dock and beside and not other.isFloating():
                    other.hide()
            dock.show()
            if area != _AREAS["bottom"]:
                width_px = _COMPACT_WIDTHS_PX["left" if area == _AREAS["left"] else "right"]
                self._window.resizeDocks([dock], [width_px], Qt.Orientation.Horizontal)
        dock.show()
        dock.raise_()

    def _focus(self) -> None:
        """Take the keyboard along, but into no text field, which would keep the keys."""
        main = WORKSPACES[self.workspace].main
        where = self._specs[main].widget if main in self._specs else self._window.centralWidget()
        if where is not None:
            where.setFocus()

    # What users do

    def _on_dock(self, shown: bool) -> None:
        name = self.sender().objectName().removeprefix("dock_")
        if shown:
            self._reveal(name)
        else:
            self.docks[name].hide()

    def _on_workspace(self) -> None:
        name = self.sender().objectName().removeprefix("workspace_")
        # The key of a workspace also leads back from it: the pair is always one key away.
        self.show_workspace(INSPECT if name == self.workspace else name)
