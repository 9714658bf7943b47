"""The frame around the panes: menus, tool bar, panels, status bar, and closing in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QDialog, QDockWidget, QMainWindow, QWidget

from descgui.models.bundle import AppModels
from descgui.models.pair_state import PairState
from descgui.views.actions import Actions
from descgui.views.environment import about_text, collect_facts, facts_as_text
from descgui.views.icons import app_icon, icon
from descgui.views.layout_store import restore_layout, save_layout
from descgui.views.notifications import Notifications
from descgui.views.palette import CommandPalette
from descgui.views.panel_parts import in_column
from descgui.views.report_dialog import ReportDialog
from descgui.views.settings_dialog import SettingsDialog
from descgui.views.shortcuts_sheet import ShortcutsSheet
from descgui.views.status_bar import StatusBar
from descgui.views.text_dialog import TextDialog, tour_text
from descgui.views.tool_bar import MainToolBar

if TYPE_CHECKING:
    from descgui.logs import CrashReport

Area = Literal["left", "right", "bottom"]

APP_TITLE = "Descriptor Space"

_AREAS = {
    "left": Qt.DockWidgetArea.LeftDockWidgetArea,
    "right": Qt.DockWidgetArea.RightDockWidgetArea,
    "bottom": Qt.DockWidgetArea.BottomDockWidgetArea,
}
_FIRST_SIZE_PX = QSize(1400, 880)
_LEAST_SIZE_PX = QSize(640, 420)
# Below these sizes the panes need the room more than the panels do.
_NARROW_PX = 1000
_LOW_PX = 840
_DOCK_WIDTHS_PX = {"left": 236, "right": 324}
_SMALL_DOCK_WIDTH_PX = 280


@dataclass(frozen=True, slots=True)
class DockSpec:
    """A panel: its content, its title, and where it is at first.

    Attributes:
        widget: its content.
        title: shown on its title bar and its tab.
        icon: name of its icon.
        area: side of the window.
        visible: open at first.
        height_px: initial height, if it is at the bottom.
    """

    widget: QWidget
    title: str
    icon: str = ""
    area: Area = "right"
    visible: bool = True
    height_px: int = 180


class MainWindow(QMainWindow):
    """The window.

    Args:
        models: what is shown.
        actions: all commands; ``dock_<name>`` follow the panels of ``docks``.
        central: the view of the pair.
        docks: panels by name; those of one area from top to bottom.
        layout_file: an INI file that keeps place, size and panels; None keeps nothing.

    Attributes:
        may_close: asked when the user closes the window; False leaves everything as it is.
        can_close: asked before the window closes; False keeps it until :meth:`finish_close`.

    Signals:
        closing(): the user closes the window; work should be stopped now.
    """

    closing = Signal()

    def __init__(
        self,
        models: AppModels,
        actions: Actions,
        *,
        central: QWidget,
        docks: Mapping[str, DockSpec],
        layout_file: Path | None = None,
    ) -> None:
        super().__init__()
        self._models = models
        self._actions = actions
        self._layout_file = layout_file
        self._specs = dict(docks)
        self._docks: dict[str, QDockWidget] = {}
        self.may_close: Callable[[], bool] = lambda: True
        self.can_close: Callable[[], bool] = lambda: True
        self._ending = False
        self._report: ReportDialog | None = None
        self._reported: set[str] = set()
        self._laid_out = False
        self.setObjectName("main_window")
        self.setWindowIcon(app_icon())
        self.setMinimumSize(_LEAST_SIZE_PX)
        # Notifications lie over this frame, so that the pair's view need not know about them.
        frame = QWidget(self)
        in_column(frame, central)
        self.setCentralWidget(frame)
        self.notifications = Notifications(models.messages, frame)
        actions.fill_menu_bar(self.menuBar())
        # Commands that no menu shows on some platforms keep their shortcuts.
        self.addActions([actions[name] for name in actions])
        self.tool_bar = MainToolBar(models, actions, self)
        self.addToolBar(self.tool_bar)
        self.setStatusBar(StatusBar(models, self))
        self.command_palette = CommandPalette(actions, self)
        self._add_docks()
        self._connect()
        self._show_title(models.pair.state)
        # The panes come first for the keyboard, not the first button of the tool bar.
        central.setFocus()
        self.resize(_FIRST_SIZE_PX.boundedTo(self.screen().availableSize()))
        if layout_file is not None:
            self._laid_out = restore_layout(self, layout_file)

    @property
    def docks(self) -> Mapping[str, QDockWidget]:
        """The panels by name."""
        return self._docks

    def finish_close(self) -> None:
        """Close now if closing was put off; otherwise do nothing."""
        if self._ending:
            self.can_close = lambda: True
            self.close()

    def grab_to(self, path: Path) -> bool:
        """Save a picture of the whole window; False if it cannot be written."""
        return self.grab().save(str(path))

    def reset_layout(self) -> None:
        """Put all panels where they belong at the window's current size."""
        self._laid_out = True
        for name, dock in self._docks.items():
            dock.setFloating(False)
            self.addDockWidget(_AREAS[self._specs[name].area], dock)
            dock.setVisible(self._specs[name].visible)
        self.addToolBar(self.tool_bar)
        self.tool_bar.show()
        small = self.width() < _NARROW_PX
        right = self._docks_at("right")
        for above, below in pairwise(right):
            if above is right[0] and self.height() >= _LOW_PX:
                self.splitDockWidget(above, below, Qt.Orientation.Vertical)
            else:
                self.tabifyDockWidget(above, below)
        if len(right) > 1:
            right[1].raise_()
        for dock in self._docks_at("left"):
            dock.setVisible(dock.isVisibleTo(self) and not small)
        for area in ("left", "right"):
            width = _SMALL_DOCK_WIDTH_PX if small else _DOCK_WIDTHS_PX[area]
            shown = self._docks_at(area)
            self.resizeDocks(shown, [width] * len(shown), Qt.Orientation.Horizontal)
        below_panes = self._docks_at("bottom")
        for one, other in pairwise(below_panes):
            self.tabifyDockWidget(one, other)
        heights = [spec.height_px for spec in self._specs.values() if spec.area == "bottom"]
        self.resizeDocks(below_panes, heights, Qt.Orientation.Vertical)

    def open_dock(self, name: str) -> None:
        """Show a panel in front of its tabs, and high enough if it is at the bottom."""
        dock, spec = self._docks[name], self._specs[name]
        dock.show()
        dock.raise_()
        if spec.area == "bottom" and not dock.isFloating() and dock.height() < spec.height_px:
            self.resizeDocks([dock], [spec.height_px], Qt.Orientation.Vertical)

    def show_report(self, report: CrashReport) -> None:
        """Report a bug: in a dialog the first time, as a notification when it happens again."""
        if self._report is not None and self._report.isVisible():
            self._report.count_again()
        elif report.trace in self._reported:
            self._models.messages.notify(
                f"The same error happened again: {report.summary}",
                "error",
                report.trace,
            )
        else:
            environment = facts_as_text(collect_facts(self._models.engine.state))
            self._report = ReportDialog(
                report.summary, report.trace, environment, report.time_s, self
            )
            self._report.show()
        self._reported.add(report.trace)

    def show_text(self, title: str, markdown: str, *, base: Path | None = None) -> None:
        """Show a page of Markdown, such as the doctor's report, in its own dialog."""
        self.open_dialog(TextDialog(title, markdown, base=base, parent=self))

    def showEvent(self, event: QShowEvent) -> None:
        """Arrange the panels for the size that the window actually got."""
        super().showEvent(event)
        if not self._laid_out:
            self.reset_layout()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.tool_bar.fit_to(self.width())

    def changeEvent(self, event: QEvent) -> None:
        """Keep the full-screen command in step with the window."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            self._actions["full_screen"].setChecked(self.isFullScreen())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape leaves the full screen when there is nothing to stop."""
        if event.key() == Qt.Key.Key_Escape and self.isFullScreen():
            self.showNormal()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Close if nothing runs; otherwise ask for it to stop and wait for :meth:`finish_close`."""
        if not self._ending:
            if not self.may_close():
                event.ignore()
                return
            self._ending = True
            self.closing.emit()
        if not self.can_close():
            event.ignore()
            self.statusBar().showMessage("Stopping the running work…")
            return
        if self._layout_file is not None:
            save_layout(self, self._layout_file)
        event.accept()

    def _add_docks(self) -> None:
        self.setDockOptions(
            QMainWindow.DockOption.AllowTabbedDocks | QMainWindow.DockOption.AllowNestedDocks
        )
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        self.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        for name, spec in self._specs.items():
            dock = QDockWidget(spec.title, self)
            dock.setObjectName(f"dock_{name}")
            dock.setWidget(spec.widget)
            if spec.icon:
                dock.setWindowIcon(icon(spec.icon))
            self._docks[name] = dock
            self.addDockWidget(_AREAS[spec.area], dock)
            dock.setVisible(spec.visible)
            self._join(name, dock)

    def _join(self, name: str, dock: QDockWidget) -> None:
        """Keep a panel and its command in step."""
        command, toggle = self._actions[f"dock_{name}"], dock.toggleViewAction()
        command.setEnabled(True)
        command.setChecked(toggle.isChecked())
        toggle.toggled.connect(command.setChecked)
        command.triggered.connect(self._on_dock_command)

    def _on_dock_command(self, shown: bool) -> None:
        dock = self._docks[self.sender().objectName().removeprefix("dock_")]
        dock.setVisible(shown)
        if shown:
            dock.raise_()

    def _docks_at(self, area: Area) -> list[QDockWidget]:
        return [dock for name, dock in self._docks.items() if self._specs[name].area == area]

    def _connect(self) -> None:
        self._models.pair.changed.connect(self._show_title)
        for name, slot in {
            "full_screen": self._on_full_screen,
            "reset_layout": self.reset_layout,
            "quit": self.close,
            "palette": self.command_palette.pop_up,
            "help_shortcuts": self._on_shortcuts,
            "help_tour": self._on_tour,
            "about": self._on_about,
            "settings": self._on_settings,
        }.items():
            self._actions[name].triggered.connect(slot)

    def _on_shortcuts(self) -> None:
        self.open_dialog(ShortcutsSheet(self._actions, self))

    def _on_tour(self) -> None:
        text, folder = tour_text()
        if text:
            self.show_text("First five minutes", text, base=folder)
        else:
            self._models.messages.notify(
                "The tour is part of README.md, which this installation lacks.", "warning"
            )

    def _on_about(self) -> None:
        self.show_text("About Descriptor Space", about_text(self._models.engine.state))

    def _on_settings(self) -> None:
        self.open_dialog(SettingsDialog(self._models, self))

    def open_dialog(self, dialog: QDialog) -> None:
        """Show a dialog without blocking the window; one of each kind at a time."""
        for old in self.findChildren(type(dialog)):
            if old is not dialog:
                old.close()
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.show()

    def _on_full_screen(self, on: bool) -> None:
        if on:
            self.showFullScreen()
        else:
            self.showNormal()

    def _show_title(self, state: PairState | None) -> None:
        name = "" if state is None else state.pair.name
        self.setWindowTitle(f"{name} — {APP_TITLE}" if name else APP_TITLE)
