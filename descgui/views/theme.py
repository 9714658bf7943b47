"""The look of the window: Fusion, one accent colour, light or dark as the system says.

Most platforms tell Qt whether the system is light or dark, few let Qt change it, so both palettes
are our own and are set outright.  Colours that carry data (heat maps, right and wrong matches) are
not themed: a figure must look the same to everyone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from descgui.models.settings import Settings, SettingsModel
from descgui.views.icons import retint_icons
from engine.api import data_dir

ThemeName = Literal["system", "light", "dark"]
Scheme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class ThemeColors:
    """The colours of one scheme, as ``#rrggbb``.

    Attributes:
        window: behind panels and bars.
        base: behind lists and fields.
        raised: buttons, cards and pop-ups.
        text: main text; at least 7:1 on ``window``.
        subtle: secondary text; at least 4.5:1 on ``window``.
        disabled: text of what cannot be used now.
        line: separators and outlines.
        hover: behind a flat button under the mouse.
        accent: focus, progress, and the checked button's mark.
        selected: behind selected rows and checked flat buttons; carries ``text``.
        info, warning, error: marks of messages; at least 3:1 on ``raised``.
        tick: which tick goes onto ``accent``: "dark" or "light" ground.
    """

    window: str
    base: str
    raised: str
    text: str
    subtle: str
    disabled: str
    line: str
    hover: str
    accent: str
    selected: str
    info: str
    warning: str
    error: str
    tick: str


LIGHT = ThemeColors(
    window="#f3f4f6",
    base="#ffffff",
    raised="#ffffff",
    text="#1b1f24",
    subtle="#59626d",
    disabled="#9aa2ac",
    line="#d4d8de",
    hover="#e5e8ed",
    accent="#1f6fd0",
    selected="#cfe2fb",
    info="#1f6fd0",
    warning="#a55b00",
    error="#c02f1d",
    tick="dark",
)
DARK = ThemeColors(
    window="#292c31",
    base="#1b1d20",
    raised="#363a40",
    text="#e8ebee",
    subtle="#aab1ba",
    disabled="#7b838d",
    line="#474d55",
    hover="#3c4148",
    accent="#6cadf5",
    selected="#2f5580",
    info="#7db8ff",
    warning="#f0b24b",
    error="#ff8a78",
    tick="light",
)


def is_dark(palette: QPalette | None = None) -> bool:
    """True when text of the palette (the application's by default) is lighter than its window."""
    shown = QGuiApplication.palette() if palette is None else palette
    window, text = shown.color(QPalette.ColorRole.Window), shown.color(QPalette.ColorRole.Text)
    return text.lightness() > window.lightness()


def theme_colors(palette: QPalette | None = None) -> ThemeColors:
    """The colours that go with a palette, the application's by default."""
    return DARK if is_dark(palette) else LIGHT


class Theme(QObject):
    """Keeps the application's palette, style sheet and icons in the wished scheme.

    Signals:
        changed(str): "light" or "dark" is shown from now on.
    """

    changed = Signal(str)

    def __init__(self, settings: SettingsModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._name: ThemeName = settings.state.theme
        self._wished = self._name
        self._scheme: Scheme | None = None
        QApplication.setStyle("Fusion")
        self.apply(self._name)
        settings.changed.connect(self._follow)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._refresh)

    @property
    def scheme(self) -> Scheme:
        """What is shown."""
        return "dark" if self._scheme == "dark" else "light"

    def apply(self, name: ThemeName) -> None:
        """Show a theme without changing the settings, as for a screenshot."""
        self._name = name
        hints = QGuiApplication.styleHints()
        if name == "system":
            hints.unsetColorScheme()
        else:
            # Window frames and native dialogs follow this where the platform can.
            wanted = Qt.ColorScheme.Dark if name == "dark" else Qt.ColorScheme.Light
            hints.setColorScheme(wanted)
        self._refresh()

    def _follow(self, settings: Settings) -> None:
        # Other settings change too; they must not end what apply() shows.
        if settings.theme != self._wished:
            self._wished = settings.theme
            self.apply(settings.theme)

    def _refresh(self) -> None:
        if self._name == "system":
            dark = QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        else:
            dark = self._name == "dark"
        scheme: Scheme = "dark" if dark else "light"
        if scheme == self._scheme:
            return
        self._scheme = scheme
        colors = DARK if dark else LIGHT
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        # WORKAROUND for Qt 6.10: when one style sheet follows another, every widget is styled once
        # for each of its ancestors, which takes 0.26 s of computing a window; off and on, 0.07 s.
        application.setStyleSheet("")
        QApplication.setPalette(make_palette(colors))
        application.setStyleSheet(make_style_sheet(colors))
        retint_icons()
        self.changed.emit(scheme)


def make_palette(colors: ThemeColors) -> QPalette:
    """A whole palette, so that nothing of the platform's shines through."""
    role, group = QPalette.ColorRole, QPalette.ColorGroup
    palette = QPalette(QColor(colors.raised), QColor(colors.window))
    outline = QColor(colors.line)
    for where, color in {
        role.Window: colors.window,
        role.WindowText: colors.text,
        role.Base: colors.base,
        role.AlternateBase: colors.window,
        role.Text: colors.text,
        role.Button: colors.raised,
        role.ButtonText: colors.text,
        role.BrightText: colors.error,
        role.Highlight: colors.selected,
        role.HighlightedText: colors.text,
        role.Accent: colors.accent,
        role.Link: colors.accent,
        role.LinkVisited: colors.accent,
        role.ToolTipBase: colors.raised,
        role.ToolTipText: colors.text,
        role.PlaceholderText: colors.subtle,
    }.items():
        palette.setColor(where, QColor(color))
    palette.setColor(role.Mid, outline)
    palette.setColor(role.Midlight, QColor(colors.hover))
    palette.setColor(role.Dark, outline.darker(115))
    for where in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        palette.setColor(group.Disabled, where, QColor(colors.disabled))
    palette.setColor(group.Disabled, role.Accent, QColor(colors.disabled))
    palette.setColor(group.Disabled, role.Base, QColor(colors.window))
    return palette


def make_style_sheet(colors: ThemeColors) -> str:
    """The few rules Fusion lacks: flat bars, thin lines, and buttons that stand in a row."""
    check = (data_dir("resources") / "icons" / f"tick-on-{colors.tick}.svg").as_posix()
    bars = {"QToolBar#main_tool_bar": "4px 7px", "QWidget#workspaces": "2px 9px"}
    segments = "".join(_segment_rules(bar, colors, padding) for bar, padding in bars.items())
    return f"""
QToolTip {{
    color: {colors.text}; background: {colors.raised};
    border: 1px solid {colors.line}; padding: 4px 6px;
}}
QMainWindow::separator {{ background: {colors.window}; width: 6px; height: 6px; }}
QMainWindow::separator:hover {{ background: {colors.accent}; }}
QMenuBar {{ background: {colors.window}; padding: 2px 4px; }}
QMenuBar::item {{ padding: 4px 8px; border-radius: 4px; background: transparent; }}
QMenuBar::item:selected, QMenuBar::item:pressed {{ background: {colors.hover}; }}
QMenuBar::item:disabled {{ color: {colors.disabled}; }}
QToolBar#messages, QToolBar#guide {{ border: 0; padding: 0; margin: 0; spacing: 0; }}
QToolBar#panel_rail {{
    background: {colors.window}; border: 0; border-right: 1px solid {colors.line}; padding: 4px 3px;
    spacing: 4px;
}}
QToolBar#main_tool_bar {{
    background: {colors.window}; border: 0; border-top: 1px solid {colors.line};
    border-bottom: 1px solid {colors.line};
}}
QToolBar#main_tool_bar::separator {{
    background: {colors.line}; width: 1px; margin: 4px 6px;
}}
QToolBar#main_tool_bar QToolButton, QToolBar#panel_rail QToolButton, QToolButton[flat="true"] {{
    border: 1px solid transparent; border-radius: 5px; padding: 4px;
}}
QToolBar#main_tool_bar QToolButton:hover, QToolBar#panel_rail QToolButton:hover,
QToolButton[flat="true"]:hover {{
    background: {colors.hover};
}}
QToolBar#main_tool_bar QToolButton:pressed, QToolButton[flat="true"]:pressed,
QToolBar#main_tool_bar QToolButton:checked, QToolBar#panel_rail QToolButton:checked,
QToolButton[flat="true"]:checked {{
    background: {colors.selected};
}}
QToolBar#main_tool_bar QToolButton:focus, QToolBar#panel_rail QToolButton:focus,
QToolButton[flat="true"]:focus {{
    border: 1px solid {colors.accent};
}}
{segments}QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QStatusBar {{ background: {colors.window}; border-top: 1px solid {colors.line}; }}
QStatusBar::item {{ border: 0; }}
QStatusBar QLabel {{ color: {colors.subtle}; }}
QDockWidget {{ font-weight: 600; }}
QDockWidget::title {{
    background: {colors.window}; padding: 6px 8px; border-bottom: 1px solid {colors.line};
    text-align: left;
}}
QCheckBox::indicator {{
    width: 13px; height: 13px; border-radius: 3px;
    border: 1px solid {colors.subtle}; background: {colors.base};
}}
QCheckBox::indicator:hover, QCheckBox:focus::indicator {{ border-color: {colors.accent}; }}
QCheckBox::indicator:checked {{
    background: {colors.accent}; border-color: {colors.accent}; image: url("{check}");
}}
QCheckBox::indicator:disabled {{ border-color: {colors.line}; background: {colors.window}; }}
QCheckBox::indicator:checked:disabled {{ background: {colors.disabled}; }}
QLabel[subtle="true"] {{ color: {colors.subtle}; }}
QLabel[heading="true"] {{ font-weight: 600; }}
QFrame[line="true"] {{ background: {colors.line}; border: 0; max-height: 1px; }}
"""


def _segment_rules(bar: str, colors: ThemeColors, padding: str) -> str:
    """Buttons that hang together, in the widget that the selector ``bar`` names."""
    return f"""
{bar} QToolButton[segment] {{
    background: {colors.raised}; border: 1px solid {colors.line}; border-radius: 0;
    padding: {padding}; margin: 0 0 0 -1px;
}}
{bar} QToolButton[segment]:hover:!checked:enabled {{
    background: {colors.hover};
}}
{bar} QToolButton[segment]:checked {{
    background: {colors.selected}; border: 1px solid {colors.accent};
}}
{bar} QToolButton[segment]:focus {{ border: 1px solid {colors.accent}; }}
{bar} QToolButton[segment="first"] {{
    border-top-left-radius: 5px; border-bottom-left-radius: 5px; margin-left: 0;
}}
{bar} QToolButton[segment="last"] {{
    border-top-right-radius: 5px; border-bottom-right-radius: 5px;
}}
"""
