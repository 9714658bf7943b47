"""The list of sequences and pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QTextDocument
from PySide6.QtWidgets import QApplication

from descgui.models.bundle import make_models
from descgui.views.browser_panel import BrowserPanel
from descgui.views.pair_list import PairDelegate
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
    panel.view.scrollTo(index)
    qtbot.mouseClick(
        panel.view.viewport(),
        Qt.MouseButton.LeftButton,
        pos=panel.view.visualRect(index).center(),
    )


def titles(panel):
    return [panel.list.index(row).data() for row in range(panel.list.rowCount())]


def test_without_a_folder_the_panel_offers_to_open_one(panel, asked):
    assert panel.open_folder_button.isVisible()
    panel.open_folder_button.click()
    panel.demo_button.click()
    assert asked.calls == [("open_folder", ()), ("open_demo", ())]


def test_parts_hold_groups_and_groups_their_pairs(panel, models):
    models.browser.set_dataset(dataset(4))
    assert panel.view.isVisible()
    # The parts come in the order of their first group; they are unfolded, and groups are not.
    assert titles(panel) == ["viewpoint", "v_000", "v_002", "illumination", "i_001", "i_003"]
    listed = panel.list
    assert [listed.unfolds(listed.index(row)) for row in range(6)] == [True] * 6
    listed.unfold(listed.index(1), True)
    numbers = [f"1 → {number}" for number in NUMBERS]
    assert titles(panel) == [
        *("viewpoint", "v_000", *numbers, "v_002", "illumination", "i_001", "i_003")
    ]
    assert listed.holder_of(listed.index(4)) == listed.index(1)
    assert listed.holder_of(listed.index(1)) == listed.index(0)
    assert not listed.holder_of(listed.index(0)).isValid()
    listed.unfold(listed.index(0), False)
    assert titles(panel) == ["viewpoint", "illumination", "i_001", "i_003"]
    listed.unfold(listed.index(0), True)
    assert titles(panel)[2] == "1 → 2", "the group is still unfolded"


def test_a_group_with_one_pair_is_that_pair(panel, models, qtbot, asked):
    models.browser.set_dataset(a_set(ROOT, *(a_group(ROOT, n, "", (2,)) for n in ("a", "b"))))
    assert titles(panel) == ["a 1 → 2", "b 1 → 2"]
    click(qtbot, panel, panel.list.index(1))
    assert [pair.sequence for (pair,) in asked.of("open_pair")] == ["b"]


def test_the_only_group_is_unfolded(panel, models):
    models.browser.set_dataset(a_set(ROOT, a_group(ROOT, "a")))
    assert titles(panel) == ["a", "1 → 2", "1 → 3"]


def test_groups_without_a_part_come_last_as_others(panel, models):
    groups = (a_group(ROOT, "x"), a_group(ROOT, "v_y", "viewpoint"))
    models.browser.set_dataset(a_set(ROOT, *groups))
    assert titles(panel) == ["viewpoint", "v_y", "Others", "x"]


def test_the_files_of_a_set_are_counted_as_pairs(panel, models):
    models.browser.set_dataset(dataset(4))
    assert panel.count.text() == "20 pairs in 4 sequences"
    assert panel.layout_name.text() == "Read as HPatches sequences"
    models.browser.set_filter(subset="viewpoint")
    assert panel.count.text() == "10 of 20 pairs"


def test_only_rows_in_view_ask_for_thumbnails_from_the_top(panel, models, qtbot, asked):
    def wanted():
        return [path for paths, _show in asked.of("want") for path in paths]

    models.browser.set_dataset(dataset())
    qtbot.waitUntil(lambda: len(wanted()) >= 5)
    assert len(set(wanted())) < 20
    assert wanted()[0] == ROOT / "v_000" / "1.ppm"
    panel.view.scrollToBottom()
    qtbot.waitUntil(lambda: ROOT / "i_115" / "1.ppm" in asked.of("want")[-1][0])
    assert ROOT / "v_000" / "1.ppm" not in asked.of("want")[-1][0], "it is out of view"


def test_a_thumbnail_that_arrived_is_not_asked_for_again(panel, models, qtbot, asked):
    models.browser.set_dataset(dataset(4))
    qtbot.waitUntil(lambda: bool(asked.of("want")))
    paths, show = asked.of("want")[-1]
    picture = QImage(8, 6, QImage.Format.Format_RGB888)
    picture.fill(Qt.GlobalColor.red)
    for path in paths:
        show(path, picture)
    asked.calls.clear()
    panel.view.viewport().repaint()
    QApplication.processEvents()
    assert asked.of("want") == []


def test_a_thumbnail_is_kept_small_and_drawn_and_a_broken_one_is_marked(panel, models):
    models.browser.set_dataset(dataset(4))
    path = ROOT / "v_000" / "1.ppm"
    picture = QImage(800, 600, QImage.Format.Format_RGB888)
    picture.fill(Qt.GlobalColor.red)
    panel.thumbnails.put(path, picture)
    kept = panel.thumbnails.picture(path)
    assert max(kept.width(), kept.height()) <= 160
    assert kept.width() * 3 == kept.height() * 4
    row = panel.view.visualRect(panel.list.index(1))
    shown = panel.view.viewport().grab().toImage()
    ratio = shown.devicePixelRatio()
    at = shown.pixelColor(int((row.left() + 40) * ratio), int(row.center().y() * ratio))
    assert (at.red(), at.green(), at.blue()) == (255, 0, 0)
    panel.thumbnails.put(path, QImage())
    assert panel.thumbnails.picture(path).isNull()
    panel.view.viewport().repaint()


def test_thumbnails_do_not_fill_the_memory(panel):
    for number in range(600):
        panel.thumbnails.put(Path(f"{number}.png"), QImage(8, 8, QImage.Format.Format_RGB888))
    assert panel.thumbnails.picture(Path("0.png")) is None
    assert panel.thumbnails.picture(Path("599.png")) is not None


def test_a_click_on_a_pair_chooses_it_and_a_click_on_a_group_unfolds(panel, models, qtbot, asked):
    models.browser.set_dataset(dataset(6))
    first = panel.list.index(1)
    click(qtbot, panel, first)
    assert panel.list.is_unfolded(first)
    assert asked.of("open_pair") == []
    click(qtbot, panel, panel.list.index(4))
    assert [(pair.sequence, pair.index) for (pair,) in asked.of("open_pair")] == [("v_000", 4)]
    click(qtbot, panel, first)
    assert not panel.list.is_unfolded(first)


def test_the_keyboard_alone_unfolds_walks_and_chooses(panel, models, qtbot, asked):
    models.browser.set_dataset(dataset(6))
    panel.view.setFocus()
    panel.view.setCurrentIndex(panel.list.index(1))
    qtbot.keyClick(panel.view, Qt.Key.Key_Return)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Return):
        qtbot.keyClick(panel.view, key)
    assert [(pair.sequence, pair.index) for (pair,) in asked.of("open_pair")] == [
        ("v_000", 2),
        ("v_000", 3),
    ]
    for _ in range(2):
        qtbot.keyClick(panel.view, Qt.Key.Key_Left)
    assert panel.view.currentIndex() == panel.list.index(1)
    assert not panel.list.is_unfolded(panel.list.index(1))
    qtbot.keyClick(panel.view, Qt.Key.Key_Left)
    assert panel.view.currentIndex() == panel.list.index(0)


def test_the_open_pair_is_unfolded_selected_and_in_view(panel, models):
    models.browser.set_dataset(dataset())
    models.browser.set_current("i_099", 5)
    index = panel.view.currentIndex()
    assert panel.list.pair_at(index).index == 5
    assert panel.list.is_current(index)
    assert panel.list.is_current(panel.list.holder_of(index))
    assert panel.view.viewport().rect().intersects(panel.view.visualRect(index))


def test_filters_write_the_model_and_show_what_it_holds(panel, models, qtbot):
    models.browser.set_dataset(dataset())
    assert [panel.subset.itemText(row) for row in range(panel.subset.count())] == [
        *("All", "viewpoint", "illumination")
    ]
    panel.subset.setCurrentIndex(1)
    panel.subset.activated.emit(1)
    qtbot.keyClicks(panel.search, "01")
    assert (models.browser.state.subset, models.browser.state.search) == ("viewpoint", "01")
    assert titles(panel) == ["v_010", "v_012", "v_014", "v_016", "v_018"]
    models.browser.set_filter(subset="", search="")
    assert panel.search.text() == ""
    assert panel.subset.currentText() == "All"


def test_a_set_without_parts_offers_none(panel, models):
    models.browser.set_dataset(a_set(ROOT, a_group(ROOT, "a"), a_group(ROOT, "b")))
    assert not panel.subset.isVisible()
    assert titles(panel) == ["a", "b"]


def test_a_pair_is_found_by_its_own_name_in_its_group(panel, models):
    models.browser.set_dataset(dataset(4))
    panel.search.setText("→ 5")
    assert titles(panel) == [
        *("viewpoint", "v_000 1 → 5", "v_002 1 → 5"),
        *("illumination", "i_001 1 → 5", "i_003 1 → 5"),
    ]
    assert {len(group.pairs) for group in models.browser.listed()} == {1}


def test_no_hit_says_so_and_can_be_cleared(panel, models, qtbot):
    models.browser.set_dataset(dataset(4))
    qtbot.keyClicks(panel.search, "xyz")
    assert panel.clear_button.isVisible()
    panel.clear_button.click()
    assert panel.view.isVisible()
    assert models.browser.state.search == ""


def test_the_open_pair_stays_marked_when_a_filter_hides_and_shows_it(panel, models):
    models.browser.set_dataset(dataset(10))
    models.browser.set_current("v_004", 3)
    models.browser.set_filter(subset="illumination")
    assert panel.list.pair_at(panel.view.currentIndex()) is None
    models.browser.set_filter(subset="")
    assert panel.list.pair_at(panel.view.currentIndex()).index == 3


def test_problems_of_the_folder_are_counted_and_told_on_demand(panel, models):
    sentence = "v_bad: H_1_3 is singular, so the pair 1 → 3 is left out."
    bad = a_group(ROOT, "v_bad", "", NUMBERS, (sentence,))
    problems = (sentence, "v_worse: image 1 is missing.")
    models.browser.set_dataset(a_set(ROOT, bad, problems=problems))
    assert panel.problem_button.text() == "2 problems"
    assert sentence in panel.list.index(0).data(Qt.ItemDataRole.ToolTipRole)
    assert panel.problems.sentence == ""
    panel.problem_button.click()
    assert "v_worse" in panel.problems.sentence
    models.browser.set_dataset(dataset(2))
    assert not panel.problem_button.isVisible()
    assert panel.problems.sentence == ""


def test_a_name_like_markup_is_told_as_it_is(panel, models):
    name, document = "v_<b>bold</b>", QTextDocument()
    models.browser.set_dataset(a_set(ROOT, a_group(ROOT, name, "", NUMBERS, ())))
    tip = panel.list.index(0).data(Qt.ItemDataRole.ToolTipRole)
    document.setHtml(tip)
    assert name in document.toPlainText()
    assert tip.startswith("<p")  # or Qt would not take the escapes for markup


def test_a_screen_reader_hears_whole_words(panel, models):
    models.browser.set_dataset(dataset(2))
    listed, role = panel.list, Qt.ItemDataRole.AccessibleTextRole
    assert listed.index(0).data(role) == "viewpoint, 5 pairs in 1 sequence, unfolded"
    assert listed.index(1).data(role) == "v_000, 5 pairs, folded"
    listed.unfold(listed.index(1), True)
    assert listed.index(2).data(role) == "1 → 2, 1.ppm → 2.ppm"


def test_the_panel_can_be_narrow(panel, models):
    models.browser.set_dataset(dataset(3))
    assert panel.minimumSizeHint().width() <= 260


def test_of_ten_thousand_pairs_only_those_in_view_cost_anything(panel, models, qtbot, monkeypatch):
    painted = []
    paint = PairDelegate.paint

    def counted_paint(self, painter, option, index):
        painted.append(index.row())
        paint(self, painter, option, index)

    monkeypatch.setattr(PairDelegate, "paint", counted_paint)
    groups = [a_group(ROOT, f"pair_{number:05}", "", (2,)) for number in range(10_000)]
    models.browser.set_dataset(a_set(ROOT, *groups))
    assert panel.list.rowCount() == 10_000
    for step in (0, 1_000, 200_000):
        panel.view.verticalScrollBar().setValue(step)
        panel.view.viewport().repaint()
    panel.view.scrollToBottom()
    panel.view.viewport().repaint()
    assert 9_999 in painted
    assert len(set(painted)) < 100
    models.browser.set_current("pair_05000", 2)
    assert models.browser.neighbour(1).sequence == "pair_05001"
    assert panel.view.currentIndex().row() == 5_000
