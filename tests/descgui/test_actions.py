"""The commands: complete, free of clashes, and in step with the models."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QUndoCommand, QUndoStack
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QLineEdit,
    QListWidget,
    QMainWindow,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from pytestqt.qtbot import QtBot

from descgui.models.bundle import AppModels, make_models
from descgui.models.engine_state import EngineState
from descgui.models.maps_state import DescriptorChoice, MapStatus
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Pin, Probe
from descgui.views.actions import Actions
from descgui.views.commands import MENUS
from descgui.views.recent_menus import recent_label
from engine.api import PANELS, HomographySource, Image, ImagePair, MapInfo, MatchTable

ASKED_FOR = {
    "open_pair", "open_folder", "open_demo", "paste_image", "load_homography", "load_truth",
    "clear_truth",
    "load_maps", "load_plugin", "export_canvas", "export_window", "copy_canvas", "export_figure",
    "export_matches", "copy_command", "settings", "quit", "undo", "redo", "clear_pins",
    "remove_pin", "mode_image", "mode_pca", "mode_overlay", "mode_heat", "mode_warp",
    "mode_cycle", "mode_members", "mode_norms", "mode_error", "open_network", "blink",
    "self_similarity", "linked", "panes_auto", "panes_beside", "panes_stacked", "fit",
    "one_to_one", "zoom_in", "zoom_out", "theme_system", "theme_light", "theme_dark",
    "colormap_viridis", "colormap_cividis", "colormap_magma", "colormap_inferno",
    "colormap_turbo", "heat_colours", "dock_browser", "dock_descriptor", "dock_probe",
    "dock_matches",
    "dock_log", "full_screen", "previous_pair", "next_pair", "describe_again", "cancel",
    "run_matches", "clear_matches", "compare", "palette", "help_shortcuts", "help_tour", "doctor",
    "about", "pca_colours",
}  # fmt: skip


@pytest.fixture
def models(qapp: object, tmp_path: Path) -> AppModels:
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def actions(models: AppModels) -> Actions:
    return Actions(models)


def open_a_pair(models: AppModels, *, homography: bool = False) -> None:
    image = Image(Path("a.png"), np.zeros((32, 32, 3), dtype=np.uint8))
    source = HomographySource.of(np.eye(3)) if homography else None
    pair = ImagePair(Path("a.png"), Path("b.png"), source, name="a ↔ b")
    truth = pair.open_truth(image.size_px, image.size_px)
    models.pair.set_pair(PairState(pair, image, image, image.as_uint8(), image.as_uint8(), truth))


def map_info(levels: int) -> MapInfo:
    return MapInfo(
        size_px=(32, 32), working_size_px=(32, 32), cells=(8, 8), stride_px=4.0, levels=levels,
        dim=8, size_bytes=100, seconds=0.1, device="cpu", trained=True,
    )  # fmt: skip


def finish_maps(models: AppModels, levels: int = 1) -> None:
    for side in ("a", "b"):
        models.maps.set_status(side, MapStatus("ready", info=map_info(levels)))


def shown_in_window(qtbot: QtBot, actions: Actions, *widgets: QWidget) -> QMainWindow:
    window = QMainWindow()
    qtbot.addWidget(window)
    central = QWidget()
    layout = QVBoxLayout(central)
    for widget in widgets:
        layout.addWidget(widget)
    window.setCentralWidget(central)
    window.addActions([actions[name] for name in actions])
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    return window


def test_every_command_of_the_plan_exists(actions: Actions):
    assert set(actions) >= ASKED_FOR


def test_every_command_has_a_text_a_tip_and_an_icon(actions: Actions):
    for name, command in actions.commands.items():
        assert actions[name].text()
        assert command.tip
        assert not command.tip.endswith(".")
        assert command.tip in actions[name].toolTip()
        assert not actions[name].icon().isNull()


def test_no_two_commands_share_a_shortcut(actions: Actions):
    keys = Counter(key.toString() for name in actions for key in actions[name].shortcuts())
    assert [key for key, count in keys.items() if count > 1] == []


def test_no_two_entries_of_a_menu_share_a_mnemonic(actions: Actions):
    window = QMainWindow()
    actions.fill_menu_bar(window.menuBar())
    menus = window.menuBar().findChildren(QMenu)
    assert len(menus) > len(MENUS)
    for menu in menus:
        texts = [action.text() for action in menu.actions() if "&" in action.text()]
        keys = Counter(text[text.index("&") + 1].casefold() for text in texts)
        assert [key for key, count in keys.items() if count > 1] == [], menu.title()


def test_the_menu_bar_holds_every_command_once(actions: Actions):
    window = QMainWindow()
    actions.fill_menu_bar(window.menuBar())
    titles = [action.text() for action in window.menuBar().actions()]
    assert [title.replace("&", "").lower() for title in titles] == list(MENUS)
    found = Counter(
        action.objectName()
        for menu in window.menuBar().findChildren(QMenu)
        for action in menu.actions()
        if action.objectName() in actions
    )
    assert found == Counter(dict.fromkeys(actions, 1))


def test_without_a_pair_nothing_that_needs_one_can_be_used(actions: Actions):
    needing = ("copy_command", "export_canvas", "export_figure", "fit", "load_maps", "mode_pca")
    assert not any(actions[name].isEnabled() for name in needing)
    assert actions["open_pair"].isEnabled()
    assert actions["paste_image"].isEnabled()


def test_a_pair_enables_its_commands_and_a_homography_those_of_the_truth(
    models: AppModels, actions: Actions
):
    open_a_pair(models)
    assert actions["mode_pca"].isEnabled()
    assert not actions["mode_warp"].isEnabled()
    assert not actions["blink"].isEnabled()
    open_a_pair(models, homography=True)
    assert actions["mode_warp"].isEnabled()
    assert actions["clear_truth"].isEnabled()


def test_the_members_mode_needs_a_set_of_descriptors(models: AppModels, actions: Actions):
    open_a_pair(models)
    finish_maps(models, levels=1)
    assert not actions["mode_members"].isEnabled()
    finish_maps(models, levels=9)
    assert actions["mode_members"].isEnabled()


def test_the_norms_mode_needs_a_network(models: AppModels, actions: Actions):
    open_a_pair(models)
    models.maps.choose(DescriptorChoice("daisy"))
    assert not actions["mode_norms"].isEnabled()
    models.maps.choose(DescriptorChoice("timm:resnet18@2"))
    assert actions["mode_norms"].isEnabled()


def test_a_click_on_a_mode_changes_the_model_and_the_model_moves_the_tick(
    models: AppModels, actions: Actions
):
    open_a_pair(models)
    actions["mode_overlay"].trigger()
    assert models.view.state.mode == "overlay"
    models.view.update(mode="image")
    assert actions["mode_image"].isChecked()
    assert not actions["mode_overlay"].isChecked()


def test_linked_stacked_colormap_and_theme_are_written_where_they_belong(
    models: AppModels, actions: Actions
):
    for name in ("linked", "panes_stacked", "colormap_cividis", "theme_dark"):
        actions[name].trigger()
        assert actions[name].isChecked()
    assert (models.view.state.linked, models.view.state.arrangement) == (True, "stacked")
    actions["panes_stacked"].trigger()
    assert models.view.state.arrangement == "auto"
    assert actions["panes_auto"].isChecked()
    assert models.settings.state.colormap == "cividis"
    assert models.settings.state.colormap == "cividis"
    assert models.settings.state.theme == "dark"
    models.settings.update(theme="system")
    assert actions["theme_system"].isChecked()


def test_blinking_goes_to_the_warp_mode_and_ends_with_it(models: AppModels, actions: Actions):
    open_a_pair(models, homography=True)
    actions["blink"].trigger()
    assert models.view.state.mode == "warp"
    assert models.view.state.blink
    models.view.update(mode="pca")
    assert not actions["blink"].isChecked()


def test_a_click_that_nobody_acts_on_leaves_no_tick(models: AppModels, actions: Actions):
    models.engine.set(EngineState(stage="ready"))
    actions["compare"].trigger()
    assert not actions["compare"].isChecked()
    models.compared[0].choose(DescriptorChoice(name="daisy"))
    assert actions["compare"].isChecked()


def test_stop_can_be_used_exactly_while_something_runs(models: AppModels, actions: Actions):
    assert not actions["cancel"].isEnabled()
    models.pair.set_loading("a.png")
    assert actions["cancel"].isEnabled()
    models.pair.set_loading("")
    models.compared[0].set_status("b", MapStatus("computing", fraction=0.5))
    assert actions["cancel"].isEnabled()
    models.compared[0].set_status("b", MapStatus("ready", info=map_info(1)))
    models.matches.update(running=True)
    assert actions["cancel"].isEnabled()
    models.matches.update(running=False)
    assert not actions["cancel"].isEnabled()
    models.pictures.update(busy="pca")
    assert actions["cancel"].isEnabled()
    models.pictures.update(busy="")
    assert not actions["cancel"].isEnabled()


def test_matching_waits_for_both_maps_and_export_for_matches(models: AppModels, actions: Actions):
    open_a_pair(models)
    models.maps.set_status("a", MapStatus("ready", info=map_info(1)))
    assert not actions["run_matches"].isEnabled()
    finish_maps(models)
    assert actions["run_matches"].isEnabled()
    assert not actions["export_matches"].isEnabled()
    none = np.zeros((0, 2))
    models.matches.update(
        table=MatchTable(
            points_a=none, points_b=none, similarity=none[:, 0].astype(np.float32),
            ratio=none[:, 0].astype(np.float32), mutual=none[:, 0] > 0, error_px=none[:, 0],
        )
    )  # fmt: skip
    assert actions["export_matches"].isEnabled()
    assert actions["clear_matches"].isEnabled()


def test_pins_enable_their_removal(models: AppModels, actions: Actions):
    pin = Pin(1, Probe("a", (3.0, 4.0)))
    models.pins.set_pins((pin, replace(pin, number=2)))
    assert actions["clear_pins"].isEnabled()
    assert not actions["remove_pin"].isEnabled()
    models.pins.select(2)
    assert actions["remove_pin"].isEnabled()
    models.pins.set_pins((pin,))
    assert not actions["remove_pin"].isEnabled()


def test_undo_follows_its_stack_and_names_what_it_takes_back(actions: Actions):
    stack = QUndoStack()
    actions.follow_undo_stack(stack)
    assert not actions["undo"].isEnabled()
    stack.push(QUndoCommand("pin 1"))
    assert actions["undo"].isEnabled()
    assert actions["undo"].text() == "&Undo pin 1"
    actions["undo"].trigger()
    assert not actions["undo"].isEnabled()
    assert actions["redo"].isEnabled()
    actions.refresh()
    assert actions["redo"].isEnabled()


def test_recent_entries_are_listed_told_apart_and_chosen(
    qtbot: QtBot, models: AppModels, actions: Actions
):
    entry = "/data/hp & more\tv_churchill\t2"
    models.settings.remember_pair(entry)
    models.settings.remember_folder("/data/été")
    labels = [action.text() for action in actions.recents.actions()]
    assert labels == ["&1 v_churchill 1 → 2  —  hp && more", "&1 data/été"]
    with qtbot.waitSignal(actions.recents.pair_requested) as chosen:
        actions.recents.actions()[0].trigger()
    assert chosen.args == [entry]


def test_recent_lists_can_be_cleared_and_are_then_disabled(models: AppModels, actions: Actions):
    window = QMainWindow()
    actions.fill_menu_bar(window.menuBar())
    models.settings.remember_folder("/data/x")
    file_menu = next(
        menu for menu in window.menuBar().findChildren(QMenu) if menu.objectName() == "menu_file"
    )
    folders = next(action for action in file_menu.actions() if "Recent folde" in action.text())
    assert folders.isEnabled()
    menu = folders.menu()
    menu.actions()[-1].trigger()
    assert models.settings.state.recent_folders == ()
    assert not folders.isEnabled()


@pytest.mark.parametrize(
    ("entry", "label"),
    [("/x/y/z", "y/z"), ("/p/a.png\t/q/b.png", "a.png ↔ b.png  —  p"), ("plain", "plain")],
)
def test_a_recent_label_is_short(entry: str, label: str):
    assert recent_label(entry) == label


def test_single_letters_type_in_a_text_field_and_act_elsewhere(
    qtbot: QtBot, models: AppModels, actions: Actions
):
    field, other = QLineEdit(), QListWidget()
    window = shown_in_window(qtbot, actions, field, other)
    assert window.isActiveWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    QTest.keyClicks(field, "label L 12")
    assert field.text() == "label L 12"
    assert not models.view.state.linked
    other.setFocus()
    qtbot.waitUntil(other.hasFocus)
    QTest.keyClick(other, Qt.Key.Key_L)
    assert models.view.state.linked


def test_space_presses_a_focused_button_instead_of_blinking(
    qtbot: QtBot, models: AppModels, actions: Actions
):
    open_a_pair(models, homography=True)
    button = QPushButton("press")
    window = shown_in_window(qtbot, actions, button)
    button.setFocus()
    qtbot.waitUntil(button.hasFocus)
    with qtbot.waitSignal(button.clicked):
        QTest.keyClick(button, Qt.Key.Key_Space)
    assert not models.view.state.blink
    button.clearFocus()
    QTest.keyClick(window, Qt.Key.Key_Space)
    assert models.view.state.blink


def test_the_focused_widget_may_be_deleted(qtbot: QtBot, actions: Actions):
    field, other = QLineEdit(), QLineEdit()
    window = shown_in_window(qtbot, actions, field, other)
    assert window.isActiveWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    with qtbot.waitSignal(field.destroyed):
        field.deleteLater()
    other.setFocus()
    qtbot.waitUntil(other.hasFocus)
    QTest.keyClicks(other, "d")
    assert other.text() == "d"


def test_every_panel_has_a_command(actions: Actions):
    assert {f"dock_{name}" for name in PANELS} <= set(actions)
    assert all(actions[f"dock_{name}"].isCheckable() for name in PANELS)


def test_commands_that_cannot_be_used_say_why(models: AppModels, actions: Actions):
    members = actions["mode_members"]
    assert members.toolTip().endswith("\nOpen a pair first")
    open_a_pair(models)
    assert members.toolTip().endswith("\nThe images are not described yet")
    models.maps.set_status("a", MapStatus("ready", info=map_info(levels=1)))
    assert "no members" in members.toolTip()
    assert actions.why_not(QKeySequence("7")).startswith("Members: the shown descriptor has no")
    models.maps.set_status("a", MapStatus("ready", info=map_info(levels=4)))
    assert members.isEnabled()
    assert "\n" not in members.toolTip()
    assert actions.why_not(QKeySequence("7")) == ""
    assert actions.why_not(QKeySequence("5")) == "Warp: the pair has no ground truth."
    assert actions.why_not(QKeySequence("1")) == ""
