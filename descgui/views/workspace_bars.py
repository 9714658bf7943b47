"""The buttons of the workspaces, and the panels as icons where there is no room for them."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QToolBar, QToolButton, QWidget

from descgui.views.actions import Actions
from descgui.views.workspaces import WORKSPACES

_ICON: Final = QSize(16, 16)
_RAIL_ICON: Final = QSize(20, 20)


class WorkspaceSwitch(QWidget):
    """The workspaces as one row of buttons that hang together."""

    def __init__(self, actions: Actions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("workspaces")
        self.setAccessibleName("Workspaces")
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 1, 8, 1)
        row.setSpacing(0)
        self.buttons: dict[str, QToolButton] = {}
        names = list(WORKSPACES)
        for name in names:
            button = QToolButton(self)
            button.setDefaultAction(actions[f"workspace_{name}"])
            button.setIconSize(_ICON)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            place = {names[0]: "first", names[-1]: "last"}.get(name, "middle")
            button.setProperty("segment", place)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setAccessibleName(actions[f"workspace_{name}"].iconText())
            row.addWidget(button)
            self.buttons[name] = button


class PanelRail(QToolBar):
    """The panels as icons along the window's edge, where there is no room for them."""

    def __init__(self, actions: Actions, panels: tuple[str, ...], parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("panel_rail")
        self.setWindowTitle("Panels")
        self.setOrientation(Qt.Orientation.Vertical)
        self.setMovable(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.setIconSize(_RAIL_ICON)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonIconOnly)
        for panel in panels:
            action = actions[f"dock_{panel}"]
            self.addAction(action)
            button = self.widgetForAction(action)
            assert isinstance(button, QToolButton)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setAccessibleName(action.iconText())
        self.hide()
