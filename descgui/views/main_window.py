"""The frame around the panes: menus, tool bar, panels, status bar, and closing in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QKeyEvent, QKeySequence, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QDialog, QDockWidget, QMainWindow, QWidget

from descgui.models.bundle import AppModels
from descgui.models.pair_state import PairState
from descgui.views.actions import Actions
from descgui.views.dock_layouts import DockLayouts, DockSpec
from descgui.views.environment import about_text, collect_facts, facts_as_text
from descgui.views.icons import app_icon
from descgui.views.layout_store import restore_layout, save_layout
from descgui.views.notifications import Notifications
from descgui.views.palette import CommandPalette
from descgui.views.panel_parts import in_column
from descgui.views.report_dialog import ReportDialog
from descgui.views.settings_dialog import SettingsDialog
from descgui.views.shortcuts_sheet import ShortcutsSheet
from descgui.views.status_bar import StatusBar
from descgui.views.text_dialog import TextDialog
from descgui.views.tool_bar import MainToolBar
from descgui.views.workspace_bars import WorkspaceSwitch
from descgui.views.workspaces import INSPECT

if TYPE_CHECKING:
    from descgui.logs import CrashReport

APP_TITLE = "Descriptor Space"

_FIRST_SIZE_PX = QSize(1400, 880)
_LEAST_SIZE_PX = QSize(640, 420)


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
        self.may_close: Callable[[], bool] = lambda: True
        self.can_close: Callable[[], bool] = lambda: True
        self._ending = False
        self._report: ReportDialog | None = None
        self._reported: set[str] = set()
        self.setObjectName("main_window")
        self.setWindowIcon(app_icon())
        self.setMinimumSize(_LEAST_SIZE_PX)
        frame = QWidget(self)
        in_column(frame, central)
        frame.setFocusProxy(central)
        self.setCentralWidget(frame)
        actions.fill_menu_bar(self.menuBar())
        # Commands that no menu shows on some platforms keep their shortcuts.
        self.addActions([actions[name] for name in actions])
        self.tool_bar = MainToolBar(models, actions, self)
        self.addToolBar(self.tool_bar)
        status_bar = StatusBar(models, self)
        self.setStatusBar(status_bar)
        self.notifications = Notifications(models.messages, self, status_bar)
        self.command_palette = CommandPalette(actions, self)
        self._layouts = DockLayouts(self, actions, docks)
        self._layouts.laid_out.connect(self.notifications.place)
        self._add_switch(WorkspaceSwitch(actions, self))
        self._connect()
        self._show_title(models.pair.state)
        # The panes come first for the keyboard, not the first button of the tool bar.
        central.setFocus()
        self.resize(_FIRST_SIZE_PX.boundedTo(self.screen().availableSize()))
        if layout_file is not None:
            kept = restore_layout(self, layout_file)
            if kept is not None:
                self._layouts.take(kept)

    @property
    def docks(self) -> Mapping[str, QDockWidget]:
        """The panels by name."""
        return self._layouts.docks

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
        self._layouts.reset()
        self.addToolBar(self.tool_bar)
        self.tool_bar.show()

    def open_dock(self, name: str) -> None:
        """Show a panel in its workspace."""
        self._layouts.open(name)

    def show_workspace(self, name: str) -> None:
        """Lay the window out for another kind of work."""
        self._layouts.show_workspace(name)

    def show_pair(self) -> None:
        """Bring the pair into sight where a workspace has no room for it."""
        if self.centralWidget().isHidden():
            self._layouts.show_workspace(INSPECT)

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

    def show_text(self, title: str, markdown: str) -> None:
        """Show a page of Markdown, such as the doctor's report, in its own dialog."""
        self.open_dialog(TextDialog(title, markdown, parent=self))

    def showEvent(self, event: QShowEvent) -> None:
        """Arrange the panels for the size that the window actually got."""
        super().showEvent(event)
        self._layouts.show()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.tool_bar.fit_to(self.width())
        self._layouts.fit()

    def changeEvent(self, event: QEvent) -> None:
        """Keep the full-screen command in step with the window."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            self._actions["full_screen"].setChecked(self.isFullScreen())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape leaves the full screen when there is nothing to stop; other keys say why not."""
        why = self._actions.why_not(QKeySequence(event.keyCombination()))
        if event.key() == Qt.Key.Key_Escape:
            if self.isFullScreen():
                self.showNormal()
        elif why:
            self._models.messages.notify(why)
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
            save_layout(self, self._layouts.keep(), self._layout_file)
        event.accept()

    def _add_switch(self, switch: WorkspaceSwitch) -> None:
        """Put the workspaces at the top right, beside the menus or, on macOS, in the tool bar."""
        if self.menuBar().isNativeMenuBar():
            self.tool_bar.add_at_end(switch)
        else:
            self.menuBar().setCornerWidget(switch, Qt.Corner.TopRightCorner)

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
        from descgui.views.guide import Guide

        if self._models.pair.state is None:
            self._actions["open_demo"].trigger()
        guide = self.findChild(Guide)
        if guide is None:
            self.show_workspace(INSPECT)
            guide = Guide(self._models, self._actions, self)
            self._layouts.laid_out.connect(guide.place_bar)
        else:
            guide.show_step(0)

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
