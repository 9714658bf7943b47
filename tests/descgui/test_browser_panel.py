"""The list of sequences and pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage

from descgui.models.bundle import make_models
from descgui.views.browser_panel import BrowserPanel
from tests.descgui.pair_sets import a_group, a_set

ROOT = Path("/data/ö")


NUMBERS = (2, 3, 4, 5, 6)


def dataset(count=116):
    names = [
        (f"i_{number:03}", "illumination") if number % 2 else (f"v_{number:03}", "viewpoint")
        for number in range(count)
    ]
    return a_set(ROOT, *(a_group(ROOT, name, kind, NUMBERS) for name, kind in names))


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def panel(qtbot, models, asked):
    made = BrowserPanel(models, opening=asked, thumbnails=asked, files=asked)
    qtbot.addWidget(made)
    made.resize(260, 600)
    made.show()
    qtbot.waitExposed(made)
    return made


def heard(signal):
    seen = []
    signal.connect(lambda *values: seen.append(values[0] if values else None))
    return seen


def click(qtbot, panel, index):
    panel.tree.scrollTo(index)
    qtbot.mouseClick(
        panel.tree.viewport(),
        Qt.MouseButton.LeftButton,
        pos=panel.tree.visualRect(index).center(),
    )


def test_without_a_folder_the_panel_offers_to_open_one(panel, asked):
    assert panel.open_folder_button.isVisible()
    panel.open_folder_button.click()
    panel.demo_button.click()
    assert asked.calls == [("open_folder", ()), ("open_demo", ())]


def test_every_sequence_is_listed_with_its_pairs(panel, models):
    models.browser.set_dataset(dataset())
    assert panel.tree.isVisible()
    tree = panel.tree_model
    assert tree.rowCount() == 116
    first = tree.index(0, 0)
    assert tree.rowCount(first) == 5
    assert [tree.index(row, 0, first).data() for row in range(5)] == [
        f"1 → {number}" for number in range(2, 7)
    ]
    assert tree.parent(tree.index(4, 0, first)) == first
    assert not tree.parent(first).isValid()
    assert not tree.index(5, 0, first).isValid()


def test_only_rows_in_view_ask_for_thumbnails_and_each_asks_once(panel, models, qtbot, asked):

    def wanted():
        return [path for path, _show in asked.of("want")]

    models.browser.set_dataset(dataset())
    qtbot.waitUntil(lambda: len(wanted()) >= 5)
    assert len(wanted()) < 20
    assert wanted()[0] == ROOT / "v_000" / "1.ppm"
    panel.tree.viewport().repaint()
    panel.tree.scrollToBottom()
    qtbot.waitUntil(lambda: ROOT / "i_115" / "1.ppm" in wanted())
    panel.tree.scrollToTop()
    panel.tree.viewport().repaint()
    assert len(wanted()) == len(set(wanted())) < 40


def test_a_thumbnail_is_kept_small_and_drawn_and_a_broken_one_is_marked(panel, models, qtbot):
    models.browser.set_dataset(dataset(4))
    path = ROOT / "v_000" / "1.ppm"
    picture = QImage(800, 600, QImage.Format.Format_RGB888)
    picture.fill(Qt.GlobalColor.red)
    panel.tree_model.set_thumbnail(path, picture)
    kept = panel.tree_model.thumbnail(path)
    assert max(kept.width(), kept.height()) <= 160
    assert kept.width() * 3 == kept.height() * 4
    row = panel.tree.visualRect(panel.tree_model.index(0, 0))
    shown = panel.tree.viewport().grab().toImage()
    ratio = shown.devicePixelRatio()
    at = shown.pixelColor(int((row.left() + 30) * ratio), int(row.center().y() * ratio))
    assert (at.red(), at.green(), at.blue()) == (255, 0, 0)
    panel.tree_model.set_thumbnail(path, QImage())
    assert panel.tree_model.thumbnail(path).isNull()
    panel.tree.viewport().repaint()


def test_a_click_on_a_pair_chooses_it_and_a_click_on_a_sequence_unfolds(
    panel, models, qtbot, asked
):
    models.browser.set_dataset(dataset(6))
    first = panel.tree_model.index(0, 0)
    click(qtbot, panel, first)
    assert panel.tree.isExpanded(first)
    assert asked.calls == []
    click(qtbot, panel, panel.tree_model.index(2, 0, first))
    assert [(pair.sequence, pair.index) for (pair,) in asked.of("open_pair")] == [("v_000", 4)]
    click(qtbot, panel, first)
    assert not panel.tree.isExpanded(first)


def test_the_keyboard_alone_unfolds_walks_and_chooses(panel, models, qtbot, asked):
    models.browser.set_dataset(dataset(6))
    panel.tree.setFocus()
    panel.tree.setCurrentIndex(panel.tree_model.index(1, 0))
    qtbot.keyClick(panel.tree, Qt.Key.Key_Return)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Return):
        qtbot.keyClick(panel.tree, key)
    assert [(pair.sequence, pair.index) for (pair,) in asked.of("open_pair")] == [
        ("i_001", 2),
        ("i_001", 3),
    ]


def test_the_open_pair_is_unfolded_selected_and_in_view(panel, models):
    models.browser.set_dataset(dataset())
    models.browser.set_current("i_099", 5)
    index = panel.tree.currentIndex()
    assert panel.tree_model.pair_at(index).index == 5
    assert panel.tree_model.is_current(index)
    assert panel.tree_model.is_current(index.parent())
    assert panel.tree.isExpanded(index.parent())
    assert panel.tree.viewport().rect().intersects(panel.tree.visualRect(index))


def test_filters_write_the_model_and_show_what_it_holds(panel, models, qtbot):
    models.browser.set_dataset(dataset())
    panel.subset_buttons["viewpoint"].click()
    qtbot.keyClicks(panel.search, "01")
    assert (models.browser.state.subset, models.browser.state.search) == ("viewpoint", "01")
    names = {panel.tree_model.index(row, 0).data() for row in range(panel.tree_model.rowCount())}
    assert names == {"v_010", "v_012", "v_014", "v_016", "v_018"}
    models.browser.set_filter(subset="", search="")
    assert panel.search.text() == ""
    assert panel.subset_buttons[""].isChecked()


def test_no_hit_says_so_and_can_be_cleared(panel, models, qtbot):
    models.browser.set_dataset(dataset(4))
    qtbot.keyClicks(panel.search, "xyz")
    assert panel.clear_button.isVisible()
    panel.clear_button.click()
    assert panel.tree.isVisible()
    assert models.browser.state.search == ""


def test_the_open_pair_stays_marked_when_a_filter_hides_and_shows_it(panel, models):
    models.browser.set_dataset(dataset(10))
    models.browser.set_current("v_004", 3)
    models.browser.set_filter(subset="illumination")
    assert panel.tree_model.pair_at(panel.tree.currentIndex()) is None
    models.browser.set_filter(subset="")
    assert panel.tree_model.pair_at(panel.tree.currentIndex()).index == 3


def test_problems_of_the_folder_are_counted_and_told_on_demand(panel, models):
    sentence = "v_bad: H_1_3 is singular, so the pair 1 → 3 is left out."
    bad = a_group(ROOT, "v_bad", "viewpoint", NUMBERS, (sentence,))
    problems = (sentence, "v_worse: image 1 is missing.")
    models.browser.set_dataset(a_set(ROOT, bad, problems=problems))
    assert panel.problem_button.text() == "2 problems"
    assert panel.tree_model.problems_of(panel.tree_model.index(0, 0)) == (sentence,)
    tooltip = panel.tree_model.index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert sentence in tooltip
    assert panel.problems.sentence == ""
    panel.problem_button.click()
    assert "v_worse" in panel.problems.sentence
    models.browser.set_dataset(dataset(2))
    assert not panel.problem_button.isVisible()
    assert panel.problems.sentence == ""


def test_a_screen_reader_hears_whole_words(panel, models):
    models.browser.set_dataset(dataset(2))
    first = panel.tree_model.index(0, 0)
    role = Qt.ItemDataRole.AccessibleTextRole
    assert first.data(role) == "v_000, viewpoint, 5 pairs"
    assert panel.tree_model.index(0, 0, first).data(role) == "v_000, 1 → 2"


def test_the_panel_can_be_narrow(panel, models):
    models.browser.set_dataset(dataset(3))
    assert panel.minimumSizeHint().width() <= 260
