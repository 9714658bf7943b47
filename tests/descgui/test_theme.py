"""Both themes are readable, follow the settings and the system, and tint every icon."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPalette, QPixmap
from PySide6.QtWidgets import QApplication, QCheckBox, QToolBar, QToolButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from descgui.models.settings import SettingsModel
from descgui.views.icons import app_icon, icon, icon_name, icon_pixmap
from descgui.views.theme import (
    DARK,
    LIGHT,
    Theme,
    ThemeColors,
    is_dark,
    make_palette,
    theme_colors,
)
from engine.api import data_dir

VIEWS = Path(__file__).resolve().parents[2] / "descgui" / "views"


@pytest.fixture
def settings(tmp_path: Path) -> SettingsModel:
    return SettingsModel(tmp_path / "settings.yaml")


@pytest.fixture
def restored_look(qapp: QApplication) -> Iterator[None]:
    palette = QPalette(qapp.palette())
    yield
    qapp.setStyleSheet("")
    qapp.setPalette(palette)
    qapp.styleHints().unsetColorScheme()


def luminance(color: str) -> float:
    """WCAG's relative luminance, written from its definition."""
    parts = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def opaque_colors(pixmap: QPixmap) -> set[str]:
    picture = pixmap.toImage()
    return {
        picture.pixelColor(x, y).name()
        for x in range(picture.width())
        for y in range(picture.height())
        if picture.pixelColor(x, y).alpha() == 255
    }


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_have_enough_contrast_on_every_ground(colors: ThemeColors):
    for ground in (colors.window, colors.base, colors.raised):
        assert contrast(colors.text, ground) >= 7
        assert contrast(colors.subtle, ground) >= 4.5
        for mark in (colors.info, colors.warning, colors.error, colors.accent):
            assert contrast(mark, ground) >= 3
    assert contrast(colors.text, colors.selected) >= 4.5
    assert contrast(colors.text, colors.hover) >= 4.5


@pytest.mark.usefixtures("restored_look")
def test_the_theme_follows_the_settings(qapp: QApplication, qtbot: QtBot, settings: SettingsModel):
    theme = Theme(settings)
    with qtbot.waitSignal(theme.changed) as changed:
        settings.update(theme="dark")
    assert changed.args == ["dark"]
    assert is_dark(qapp.palette())
    assert theme_colors() is DARK
    settings.update(theme="light")
    assert theme_colors() is LIGHT
    assert theme.scheme == "light"


@pytest.mark.usefixtures("restored_look")
def test_a_theme_shown_for_once_is_not_written_and_survives_other_changes(
    settings: SettingsModel,
):
    theme = Theme(settings)
    theme.apply("dark")
    settings.update(colormap="cividis")
    assert theme.scheme == "dark"
    assert settings.state.theme == "system"


@pytest.mark.usefixtures("restored_look")
def test_without_word_from_the_system_the_window_is_light(
    qapp: QApplication, settings: SettingsModel
):
    if qapp.styleHints().colorScheme() == Qt.ColorScheme.Dark:
        pytest.skip("this system is dark")
    assert Theme(settings).scheme == "light"


def test_the_palette_leaves_no_role_to_the_platform(qapp: QApplication):
    palette = make_palette(DARK)
    for role in (QPalette.ColorRole.Window, QPalette.ColorRole.Base, QPalette.ColorRole.Button):
        assert palette.color(QPalette.ColorGroup.Inactive, role).lightness() < 128
    disabled = palette.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
    assert disabled.name() == DARK.disabled


@pytest.mark.usefixtures("restored_look")
def test_icons_take_the_palette_s_colours_and_grey_when_disabled(
    qapp: QApplication, settings: SettingsModel
):
    Theme(settings).apply("dark")
    shown = icon("open-folder")
    size = QSize(40, 40)
    assert DARK.text in opaque_colors(shown.pixmap(size, 1.0, QIcon.Mode.Normal))
    assert DARK.text in opaque_colors(shown.pixmap(size, 1.0, QIcon.Mode.Selected))
    grey = opaque_colors(shown.pixmap(size, 1.0, QIcon.Mode.Disabled))
    assert DARK.disabled in grey
    assert DARK.text not in grey


@pytest.mark.usefixtures("restored_look")
def test_a_change_of_theme_redraws_the_icons_of_buttons_and_actions(
    qtbot: QtBot, settings: SettingsModel
):
    theme = Theme(settings)
    theme.apply("light")
    bar, button = QToolBar(), QToolButton()
    qtbot.addWidget(bar)
    qtbot.addWidget(button)
    action = bar.addAction(icon("fit"), "Fit")
    button.setIcon(icon("close"))
    theme.apply("dark")
    for owner, name in ((action, "fit"), (button, "close")):
        assert icon_name(owner.icon()) == name
        assert opaque_colors(owner.icon().pixmap(QSize(40, 40))) == {DARK.text}


def test_an_icon_is_sharp_on_a_fine_screen(qapp: QApplication):
    pixmap = icon("fit").pixmap(QSize(20, 20), 2.0)
    assert pixmap.size() == QSize(40, 40)
    assert pixmap.devicePixelRatio() == 2.0
    single = icon_pixmap("fit", QSize(16, 16), QColor("red"), ratio=1.5)
    assert single.size() == QSize(24, 24)
    assert single.deviceIndependentSize().toSize() == QSize(16, 16)


def test_a_missing_icon_is_named_in_the_log_and_leaves_the_button_without_picture(
    qapp: QApplication, caplog: pytest.LogCaptureFixture
):
    assert opaque_colors(icon("no-such-icon").pixmap(QSize(20, 20))) == set()
    assert "no-such-icon" in caplog.text


def test_every_icon_the_views_name_exists_and_every_file_can_be_drawn(qapp: QApplication):
    folder = data_dir("resources") / "icons"
    named = {
        name
        for file in VIEWS.glob("*.py")
        for name in re.findall(r'\bicon(?:_pixmap)?\(\s*"([^"]+)"', file.read_text("utf-8"))
    }
    assert len(named) > 5
    assert [name for name in named if not (folder / f"{name}.svg").is_file()] == []
    for file in folder.glob("*.svg"):
        drawn = icon_pixmap(file.stem, QSize(60, 60), QColor("#123456"))
        assert opaque_colors(drawn), file.name
        assert (
            file.stem == "app"
            or file.stem.startswith("tick-on")
            or ("currentColor" in file.read_text("utf-8"))
        )


def test_the_application_s_icon_keeps_its_own_colours(qapp: QApplication):
    assert len(opaque_colors(app_icon().pixmap(QSize(64, 64)))) > 4


class Styled(QObject):
    """Counts how often a widget is styled."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.times = 0
        widget.installEventFilter(self)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        self.times += event.type() == QEvent.Type.StyleChange
        return False


def nest(qtbot: QtBot, depth: int) -> tuple[QWidget, QCheckBox]:
    """A window, and a box that lies deep in it."""
    window = QWidget()
    qtbot.addWidget(window)
    inner = window
    for _ in range(depth):
        QVBoxLayout(inner).addWidget(QWidget())
        inner = inner.findChild(QWidget)
    box = QCheckBox("deep", inner)
    return window, box


@pytest.mark.usefixtures("restored_look")
def test_another_theme_styles_each_widget_once_or_twice_however_deep_it_lies(
    qtbot: QtBot, settings: SettingsModel
):
    settings.update(theme="light")
    theme = Theme(settings)
    window, box = nest(qtbot, depth=12)
    window.show()
    styled = Styled(box)
    theme.apply("dark")
    assert 1 <= styled.times <= 2


@pytest.mark.usefixtures("restored_look")
def test_a_window_looks_the_same_whether_its_theme_was_chosen_before_or_since(
    qtbot: QtBot, settings: SettingsModel
):
    settings.update(theme="light")
    theme = Theme(settings)
    (since, box), pictures = nest(qtbot, depth=2), []
    box.setChecked(True)
    since.show()
    theme.apply("dark")
    before, box = nest(qtbot, depth=2)
    box.setChecked(True)
    before.show()
    for window in (since, before):
        window.resize(200, 100)
        qtbot.waitExposed(window)
        pictures.append(window.grab().toImage())
    assert pictures[0] == pictures[1]
