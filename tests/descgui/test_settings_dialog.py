"""The settings dialog: every setting, changed at once, and taken back one by one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox
from pytestqt.qtbot import QtBot

from descgui.models.bundle import AppModels, make_models
from descgui.models.engine_state import DescriptorChoiceInfo, DeviceChoice, EngineState
from descgui.models.settings import Settings
from descgui.views.form import OptionForm
from descgui.views.settings_dialog import HIDDEN, SettingsDialog
from engine.api import HeatRange


@pytest.fixture
def models(qapp: object, tmp_path: Path) -> AppModels:
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def dialog(qtbot: QtBot, models: AppModels) -> SettingsDialog:
    dialog = SettingsDialog(models)
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def form_of(dialog: SettingsDialog, name: str) -> OptionForm:
    return next(form for form in dialog.forms.values() if name in form.names)


def combo_of(dialog: SettingsDialog, name: str) -> QComboBox:
    combo = form_of(dialog, name).field(name)
    assert isinstance(combo, QComboBox)
    return combo


def choose(combo: QComboBox, word: str) -> None:
    combo.setCurrentIndex(combo.findData(word))
    combo.activated.emit(combo.currentIndex())


def test_every_setting_is_shown_once_except_the_hidden_ones(dialog: SettingsDialog):
    shown = [name for form in dialog.forms.values() for name in form.names]
    assert sorted(shown) == sorted(
        {field.name for field in fields(Settings)} - {*HIDDEN, "figure", "heat"}
    )


def test_a_change_holds_at_once_and_is_written(
    dialog: SettingsDialog, models: AppModels, tmp_path: Path
):
    choose(combo_of(dialog, "theme"), "dark")
    assert models.settings.state.theme == "dark"
    assert "dark" in (tmp_path / "settings.yaml").read_text("utf-8")


def test_one_change_leaves_the_other_settings_and_the_recent_lists(
    dialog: SettingsDialog, models: AppModels
):
    models.settings.update(opacity=0.2, recent_pairs=("a\tb",), peaks=7)
    choose(combo_of(dialog, "colormap"), "cividis")
    settings = models.settings.state
    assert (settings.opacity, settings.peaks) == (0.2, 7)
    assert settings.recent_pairs == ("a\tb",)


def test_a_setting_goes_back_to_its_default_by_its_own_button(
    dialog: SettingsDialog, models: AppModels
):
    models.settings.update(peaks=9, correct_px=5.0)
    form_of(dialog, "peaks").reset_button("peaks").click()
    assert models.settings.state.peaks == Settings().peaks
    assert models.settings.state.correct_px == 5.0


def test_all_defaults_come_back_but_not_the_recent_lists(dialog: SettingsDialog, models: AppModels):
    heat = HeatRange(kind="fixed", low=0.2)
    models.settings.update(peaks=9, theme="dark", heat=heat, recent_folders=("/x",))
    dialog.restore.click()
    assert models.settings.state == Settings(recent_folders=("/x",))
    assert combo_of(dialog, "theme").currentData() == "system"


def test_a_change_from_elsewhere_is_shown(dialog: SettingsDialog, models: AppModels):
    models.settings.update(long_edge_px=1024)
    box = form_of(dialog, "long_edge_px").field("long_edge_px")
    assert isinstance(box, QDoubleSpinBox)
    assert box.value() == 1024
    assert box.suffix() == " px"
    assert box.maximum() == 8192


def test_the_devices_and_descriptors_come_from_the_engine(
    qtbot: QtBot, dialog: SettingsDialog, models: AppModels
):
    assert combo_of(dialog, "device").findData("cuda:0") == -1
    daisy = DescriptorChoiceInfo("daisy", "DAISY", "", "built in", False, ())
    other = DescriptorChoiceInfo("raw", "Raw", "", "built in", False, ())
    models.engine.set(EngineState("ready", (daisy, other), (DeviceChoice("cuda:0", "A GPU"),)))
    assert combo_of(dialog, "device").findData("cuda:0") >= 0
    choose(combo_of(dialog, "descriptor"), "raw")
    assert models.settings.state.descriptor == "raw"


def test_a_device_that_is_gone_is_still_shown_as_it_is_set(qtbot: QtBot, models: AppModels):
    models.settings.update(device="cuda:3")
    dialog = SettingsDialog(models)
    qtbot.addWidget(dialog)
    assert combo_of(dialog, "device").currentData() == "cuda:3"


def test_enter_in_a_field_neither_restores_nor_closes(dialog: SettingsDialog, models: AppModels):
    models.settings.update(peaks=9)
    QTest.keyClick(form_of(dialog, "peaks").field("peaks"), Qt.Key.Key_Return)
    assert models.settings.state.peaks == 9
    assert dialog.isVisible()
