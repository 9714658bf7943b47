"""The tool bar: the few commands that are used again and again, and how the pair is shown."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolBar,
    QToolButton,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.views.actions import Actions
from descgui.views.icons import icon_pixmap
from descgui.views.panel_parts import in_row
from engine.api import VIEW_MODES

_ICON = QSize(20, 20)
_SMALL_ICON = QSize(16, 16)
_SLIDER_WIDTH_PX = 96
_NARROW_SLIDER_PX = 56
_MARGINS_PX = (8, 5, 8, 5)
_SPACING_PX = 4
_PERCENT = 100
_MODES_WITHOUT_OPACITY = ("image", "pca")
_BESIDE = Qt.ToolButtonStyle.ToolButtonTextBesideIcon
_ICON_ONLY = Qt.ToolButtonStyle.ToolButtonIconOnly


class ModeButtons(QWidget):
    """The modes as one row of buttons that hang together; arrow keys walk along it."""

    def __init__(self, actions: Actions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("What the panes show")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.buttons: list[QToolButton] = []
        for mode in VIEW_MODES:
            button = QToolButton(self)
            button.setDefaultAction(actions[f"mode_{mode}"])
            button.setIconSize(_ICON)
            place = {VIEW_MODES[0]: "first", VIEW_MODES[-1]: "last"}.get(mode, "middle")
            button.setProperty("segment", place)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.setAccessibleName(actions[f"mode_{mode}"].iconText())
            row.addWidget(button)
            self.buttons.append(button)

    def show_texts(self, shown: bool) -> None:
        """Show the modes' names, or their icons alone."""
        for button in self.buttons:
            button.setToolButtonStyle(_BESIDE if shown else _ICON_ONLY)

    def show_small(self, small: bool) -> None:
        """Show small icons, for a window as narrow as may be."""
        for button in self.buttons:
            button.setIconSize(_SMALL_ICON if small else _ICON)


class OpacitySlider(QWidget):
    """How strongly colours lie over the image."""

    def __init__(self, models: AppModels, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self._sign = QLabel(self)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(0, _PERCENT)
        self.slider.setPageStep(10)
        self.slider.setFixedWidth(_SLIDER_WIDTH_PX)
        self.slider.setAccessibleName("Opacity of the colours over the image")
        self._number = QLabel(self)
        self._number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._number.setMinimumWidth(self._number.fontMetrics().horizontalAdvance("100 %"))
        in_row(self, self._sign, self.slider, self._number, margins_px=(4, 0, 4, 0))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.slider.valueChanged.connect(self._on_moved)
        models.view.changed.connect(self._show)
        models.settings.changed.connect(self._show)
        self._show()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.EnabledChange):
            self._draw_sign()

    def show_sign(self, shown: bool) -> None:
        """Show the drop beside the slider."""
        self._sign.setVisible(shown)

    def show_number(self, shown: bool) -> None:
        """Show the per cent beside the slider, which is shorter without it."""
        self._number.setVisible(shown)
        self.slider.setFixedWidth(_SLIDER_WIDTH_PX if shown else _NARROW_SLIDER_PX)

    def _on_moved(self, percent: int) -> None:
        self._models.settings.update(opacity=percent / _PERCENT)

    def _show(self) -> None:
        percent = round(self._models.settings.state.opacity * _PERCENT)
        if percent != self.slider.value():
            blocked = self.slider.blockSignals(True)
            self.slider.setValue(percent)
            self.slider.blockSignals(blocked)
        self._number.setText(f"{percent} %")
        tip = f"Opacity of the colours over the image: {percent} %"
        for widget in (self, self.slider, self._sign, self._number):
            widget.setToolTip(tip)
        self.setEnabled(self._models.view.state.mode not in _MODES_WITHOUT_OPACITY)
        self._draw_sign()

    def _draw_sign(self) -> None:
        color = self.palette().color(self.foregroundRole())
        ratio = self.devicePixelRatioF()
        self._sign.setPixmap(icon_pixmap("opacity", QSize(16, 16), color, ratio=ratio))


class MainToolBar(QToolBar):
    """The window's only tool bar; a narrow one shows icons without their names."""

    def __init__(self, models: AppModels, actions: Actions, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("main_tool_bar")
        self.setWindowTitle("Tool bar")
        self.setMovable(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.setIconSize(_ICON)
        self.setToolButtonStyle(_ICON_ONLY)
        self.modes = ModeButtons(actions, self)
        self.opacity = OpacitySlider(models, self)
        self._named: list[QToolButton] = []
        actions["open_pair"].setIconText("Open")
        actions["compare"].setIconText("Compare")
        self._add(actions["open_pair"], named=True)
        self._add(actions["open_folder"])
        self.addSeparator()
        self._add(actions["previous_pair"])
        self._add(actions["next_pair"])
        self.addSeparator()
        self.addWidget(self.modes)
        self._add(actions["pca_colours"])
        self.addWidget(self.opacity)
        self.addSeparator()
        for name in ("linked", "fit", "one_to_one"):
            self._add(actions[name])
        self.addSeparator()
        self._add(actions["compare"], named=True)
        self._widths: tuple[int, int, int] | None = None
        self._keep_margins()

    def fit_to(self, width_px: int) -> None:
        """Show as many names as a window of this width has room for."""
        if self._widths is None:
            self.opacity.show_sign(True)
            self.modes.show_small(False)
            self._widths = (self._width_with(0), self._width_with(1), self._width_with(2))
        none, some, all_names = self._widths
        self.opacity.show_sign(width_px >= none)
        self.modes.show_small(width_px < none)
        self._show_names(2 if width_px >= all_names else 1 if width_px >= some else 0)

    def add_at_end(self, widget: QWidget) -> None:
        """Put something at the right end."""
        gap = QWidget(self)
        gap.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.addWidget(gap)
        self.addWidget(widget)
        self._widths = None

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._widths = None
            self._keep_margins()

    def _keep_margins(self) -> None:
        # Set here, because a style sheet set once more changes what the style said at first.
        layout = self.layout()
        if layout is not None:
            layout.setContentsMargins(*_MARGINS_PX)
            layout.setSpacing(_SPACING_PX)

    def _add(self, action: QAction, *, named: bool = False) -> None:
        self.addAction(action)
        button = self.widgetForAction(action)
        assert isinstance(button, QToolButton)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setAccessibleName(action.iconText())
        if named:
            self._named.append(button)

    def _width_with(self, level: int) -> int:
        self._show_names(level)
        layout = self.layout()
        assert layout is not None
        layout.invalidate()
        return self.sizeHint().width()

    def _show_names(self, level: int) -> None:
        """0: none, 1: the modes' names, 2: all."""
        self.modes.show_texts(level > 0)
        self.opacity.show_number(level > 0)
        for button in self._named:
            button.setToolButtonStyle(_BESIDE if level > 1 else _ICON_ONLY)
