"""The command palette and the sheet of shortcuts: both made from the commands alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMainWindow
from pytestqt.qtbot import QtBot

from descgui.models.bundle import AppModels, make_models
from descgui.views.actions import Actions
from descgui.views.fuzzy import fuzzy_match
from descgui.views.palette import CommandPalette, split_keys
from descgui.views.shortcuts_sheet import ShortcutsSheet


@pytest.fixture
def models(qapp: object, tmp_path: Path) -> AppModels:
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def actions(models: AppModels) -> Actions:
    return Actions(models)


@pytest.fixture
def window(qtbot: QtBot, actions: Actions) -> QMainWindow:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.addActions([actions[name] for name in actions])
    window.resize(900, 600)
    window.show()
    return window


@pytest.fixture
def palette(window: QMainWindow, actions: Actions) -> CommandPalette:
    palette = CommandPalette(actions, window)
    palette.pop_up()
    return palette


@given(st.text(max_size=6), st.text(max_size=20))
def test_a_match_exists_exactly_if_the_letters_come_in_their_order(typed: str, text: str):
    """The truth is the plain search for a subsequence, letter by letter."""
    same_length = len(text.casefold()) == len(text)
    folded = text.casefold() if same_length else text.lower()
    if len(folded) != len(text):
        folded = text
    letters = [letter for letter in typed.casefold() if not letter.isspace()]
    rest = iter(folded)
    expected = all(letter in rest for letter in letters)
    match = fuzzy_match(typed, text)
    assert (match is not None) == expected
    if match is not None:
        assert [folded[place] for place in match.places] == letters
        assert list(match.places) == sorted(set(match.places))


def test_starts_of_words_and_neighbours_win():
    def score(text: str) -> int:
        match = fuzzy_match("ma", text)
        assert match is not None
        return match.score

    assert score("Match points") > score("Heat map") > score("Paste images") > score("Comparable")


def test_a_pair_that_opens_meanwhile_is_listed_and_what_was_listed_is_not_drawn_any_more(
    palette: CommandPalette, models: AppModels
):
    """Opening a pair fills the menu of recent pairs again, which deletes its former entries."""
    models.settings.remember_pair("a.png\tb.png")
    palette.field.setText("open again")
    assert [title.partition(" —")[0].rstrip() for title in palette.titles()] == [
        "Open again: a.png ↔ b.png",
    ]
    models.settings.remember_pair("c.png\td.png")
    palette.grab()
    assert palette.field.text() == "open again"
    assert len(palette.titles()) == 2
    assert "c.png" in " ".join(palette.titles())


def test_it_lists_what_can_be_used_now_and_nothing_else(palette: CommandPalette):
    titles = palette.titles()
    assert "Open pair" in titles
    assert "Theme: Dark" in titles
    assert "Export figure" not in titles
    assert "Command palette" not in titles


def test_typing_and_enter_run_the_best_command_and_close(
    qtbot: QtBot, actions: Actions, palette: CommandPalette
):
    QTest.keyClicks(palette.field, "opfo")
    assert palette.titles()[0] == "Open folder"
    with qtbot.waitSignal(actions["open_folder"].triggered):
        QTest.keyClick(palette.field, Qt.Key.Key_Return)
    assert not palette.isVisible()


def test_arrows_move_around_the_list_and_letters_do_not_act_on_the_window(
    models: AppModels, palette: CommandPalette
):
    count = len(palette.titles())
    QTest.keyClick(palette.field, Qt.Key.Key_Up)
    assert palette.list.currentIndex().row() == count - 1
    QTest.keyClick(palette.field, Qt.Key.Key_Down)
    assert palette.list.currentIndex().row() == 0
    QTest.keyClick(palette.field, Qt.Key.Key_PageUp)
    assert palette.list.currentIndex().row() == 0
    QTest.keyClick(palette.field, Qt.Key.Key_L)
    assert not models.view.state.linked


def test_escape_closes_and_nothing_runs(actions: Actions, palette: CommandPalette):
    ran = []
    for name in actions:
        actions[name].triggered.connect(lambda *_: ran.append(1))
    QTest.keyClick(palette.field, Qt.Key.Key_Escape)
    assert not palette.isVisible()
    assert ran == []


def test_nonsense_says_so_and_enter_does_nothing(palette: CommandPalette):
    palette.field.setText("zzqqxx")
    assert palette.titles() == []
    assert palette.empty.isVisible()
    QTest.keyClick(palette.field, Qt.Key.Key_Return)
    QTest.keyClick(palette.field, Qt.Key.Key_Down)
    assert palette.isVisible()


def test_recent_pairs_can_be_opened_from_it(
    qtbot: QtBot, models: AppModels, actions: Actions, palette: CommandPalette
):
    palette.close()
    models.settings.remember_pair("/data/hp\tv_graf\t3")
    palette.pop_up()
    palette.field.setText("again graf")
    with qtbot.waitSignal(actions.recents.pair_requested) as asked:
        QTest.keyClick(palette.field, Qt.Key.Key_Return)
    assert asked.args == ["/data/hp\tv_graf\t3"]


def test_it_fits_a_small_window(window: QMainWindow, palette: CommandPalette):
    assert palette.width() <= window.width()
    assert window.geometry().contains(palette.geometry())
    assert not palette.grab().isNull()


@pytest.mark.parametrize(
    ("keys", "parts"),
    [("Ctrl+Shift+P", ["Ctrl", "Shift", "P"]), ("Ctrl++", ["Ctrl", "+"]), ("+", ["+"]), ("", [])],
)
def test_a_shortcut_falls_into_its_keys(keys: str, parts: list[str]):
    assert split_keys(keys) == parts


def test_the_sheet_lists_every_command_that_has_a_shortcut(qtbot: QtBot, actions: Actions):
    sheet = ShortcutsSheet(actions)
    qtbot.addWidget(sheet)
    listed = {text for _heading, text, _keys in sheet.rows()}
    for name in actions:
        if actions[name].shortcuts():
            assert actions[name].text().replace("&", "").removesuffix("…") in listed
    assert ("File", "Open pair", "Ctrl+O") in sheet.rows()


def test_the_sheet_can_be_searched_by_name_and_by_key(qtbot: QtBot, actions: Actions):
    sheet = ShortcutsSheet(actions)
    qtbot.addWidget(sheet)
    sheet.search.setText("zoom ctrl")
    assert {text for _heading, text, _keys in sheet.rows()} == {"Zoom in", "Zoom out"}
    sheet.search.setText("nothing like it")
    assert sheet.rows() == []
    assert not sheet.empty.isHidden()
    sheet.search.clear()
    assert len(sheet.rows()) > 20
    assert not sheet.grab().isNull()
