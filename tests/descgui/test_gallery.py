"""The gallery of measured pairs: order, filter, pictures, scatter plot, and what a click opens."""

from __future__ import annotations

import time

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtGui import QColor, QImage, QPalette

from descgui.controllers.gallery_controller import GalleryController
from descgui.models.bundle import make_models
from descgui.models.evaluation_state import ShownRun
from descgui.models.gallery_state import chosen_pairs, list_pairs
from descgui.models.pair_filter import parse_filter
from descgui.views.gallery_dialog import GalleryDialog
from descgui.workers.in_view import InView
from descgui.workers.plot_loading import PlotLoader
from engine import api
from engine.evaluation.result import PairRow
from tests.descgui.test_evaluation_panel import content, row

WAIT_MS = 5_000


def full_row(sequence, index, label, share, *, metrics=(), properties=()):
    made = row(sequence, index, label, share)
    return PairRow(
        made.descriptor, sequence, index, "harris", 100, made.pck, made.counts_within,
        subset=made.subset, metrics=metrics, properties=properties,
    )  # fmt: skip


ROWS = (
    full_row("i_light", 2, "daisy", 0.9, properties=(("overlap", 1.0), ("scale", 1.0))),
    full_row("i_light", 2, "net", 0.5, properties=(("overlap", 1.0), ("scale", 1.0))),
    full_row("v_turn", 3, "daisy", 0.2, properties=(("overlap", 0.4), ("scale", 2.0))),
    full_row("v_turn", 3, "net", 0.8, properties=(("overlap", 0.4), ("scale", 2.0))),
    full_row("v_far", 2, "net", 0.1, properties=(("overlap", None), ("scale", 4.0))),
)


class Pictures:
    """Draws when it is told to."""

    def __init__(self):
        self.wanted = []
        self.sliced = []

    def want(self, keys, show):
        self.wanted += [(key, show) for key in keys]

    def tabulate(self, content, queries, show):
        show(list_pairs(content, queries))

    def slice(self, content, show):
        self.sliced.append((content, show))


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def pictures():
    return Pictures()


@pytest.fixture
def dialog(qtbot, models, asked, pictures):
    models.evaluation.shown.set(ShownRun("done", content(ROWS, labels=("daisy", "net"))))
    dialog = GalleryDialog(models, asked, pictures)
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitExposed(dialog)
    return dialog


def names(dialog):
    model = dialog.model
    return [model.index(line, 0).data() for line in range(model.rowCount())]


# Values, order and filter


def test_pairs_come_worst_first_and_those_without_the_value_last():
    pairs = list_pairs(content(ROWS, labels=("daisy", "net")), "harris")
    for worst_first, expected in ((True, ["v_turn", "i_light"]), (False, ["i_light", "v_turn"])):
        chosen = chosen_pairs(
            pairs, label="daisy", accepted=parse_filter("", ()), sort_by="pck@5",
            worst_first=worst_first,
        )  # fmt: skip
        assert [pairs.pairs[place].pair[0] for place in chosen] == [*expected, "v_far"]


def test_of_an_error_the_largest_is_the_worst():
    rows = [
        full_row("near", 2, "net", 0.5, metrics=(("epe", 1.0),)),
        full_row("far", 2, "net", 0.5, metrics=(("epe", 9.0),)),
        full_row("none", 2, "net", 0.5, metrics=(("epe", float("nan")),)),
    ]
    pairs = list_pairs(content(tuple(rows), labels=("net",)), "harris")
    metric = next(name for name in pairs.names if name == "epe")
    chosen = chosen_pairs(
        pairs, label="net", accepted=parse_filter("", ()), sort_by=metric, worst_first=True
    )
    order = [pairs.pairs[place].pair[0] for place in chosen]
    assert order[-1] == "none"
    from engine.metrics import metric_info

    lower = metric_info("epe").better == "lower"
    assert order[:2] == (["far", "near"] if lower else ["near", "far"])


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("", ["i_light", "v_turn", "v_far"]),
        ("V_", ["v_turn", "v_far"]),
        ("v_ 1 → 3", ["v_turn"]),
        ("overlap<0.5", ["v_turn"]),
        ("overlap<=1", ["i_light", "v_turn"]),
        ("scale>1 scale<4", ["v_turn"]),
        ("SCALE=4", ["v_far"]),
        ("pck@5>=.5", ["i_light", "v_turn"]),
        ("nothing", []),
    ],
)
def test_words_and_conditions_have_all_to_hold(text, accepted):
    pairs = list_pairs(content(ROWS, labels=("daisy", "net")), "harris")
    read = parse_filter(text, pairs.names)
    assert read.problem == ""
    chosen = chosen_pairs(pairs, label="net", accepted=read, sort_by="", worst_first=True)
    assert [pairs.pairs[place].pair[0] for place in chosen] == accepted


@pytest.mark.parametrize(
    ("text", "said"), [("overlapp<1", "overlap"), ("overlap<much", "much is no number")]
)
def test_a_condition_that_is_not_understood_is_told_and_ignored(text, said):
    read = parse_filter(text, ("overlap", "scale"))
    assert said in read.problem
    assert read.conditions == ()


# The dialog


def test_pairs_that_are_listed_later_are_sorted_by_pck_all_the_same(
    models, asked, pictures, qtbot, monkeypatch
):
    later = []
    monkeypatch.setattr(pictures, "tabulate", lambda *one: later.append(one))
    models.evaluation.shown.set(ShownRun("done", content(ROWS, labels=("daisy", "net"))))
    dialog = GalleryDialog(models, asked, pictures)
    qtbot.addWidget(dialog)
    assert (dialog.empty.text(), dialog.count.text()) == ("Listing the pairs…", "")
    ((measured, queries, show),) = later
    show(list_pairs(measured, queries))
    assert dialog.sort.currentText() == "PCK@5"
    assert names(dialog) == ["v_turn 1 → 3", "i_light 1 → 2", "v_far 1 → 2"]
    models.evaluation.shown.set(ShownRun())
    show(list_pairs(measured, queries))  # of results that are gone
    assert names(dialog) == []


def test_the_dialog_sorts_filters_and_counts(dialog, qtbot):
    assert names(dialog) == ["v_turn 1 → 3", "i_light 1 → 2", "v_far 1 → 2"]
    assert dialog.count.text() == "3 pairs"
    dialog.order.click()
    assert names(dialog)[0] == "i_light 1 → 2"
    dialog.filter.setText("v_ overlap<.5")
    qtbot.waitUntil(lambda: names(dialog) == ["v_turn 1 → 3"], timeout=WAIT_MS)
    assert dialog.count.text() == "1 of 3 pairs"
    dialog.filter.setText("owerlap<.5")
    qtbot.waitUntil(dialog.problem.isVisible, timeout=WAIT_MS)
    assert len(names(dialog)) == 3
    dialog.filter.setText("nowhere")
    qtbot.waitUntil(dialog.empty.isVisible, timeout=WAIT_MS)
    assert dialog.empty.text() == "No pair passes the filter."
    assert not dialog.problem.isVisible()


def test_pictures_are_asked_for_once_and_shown_when_they_are_drawn(dialog, pictures, qtbot):
    qtbot.waitUntil(lambda: len(pictures.wanted) >= 5, timeout=WAIT_MS)
    keys = [key for key, _ in pictures.wanted]
    assert len(set(keys)) == len(keys)
    key, show = pictures.wanted[0]
    picture = QImage(*key.size_px, QImage.Format.Format_ARGB32_Premultiplied)
    picture.fill(QColor("#ff00ff"))
    show(key, picture)
    line = names(dialog).index(f"{key.pair[0]} 1 → {key.pair[1]}")
    column = 1 + ("daisy", "net").index(key.label)
    index = dialog.model.index(line, column)
    middle = dialog.view.visualRect(index).center()

    def painted():
        shown = dialog.view.viewport().grab().toImage()
        return shown.pixelColor(middle.x(), middle.y() - 10) == QColor("#ff00ff")

    qtbot.waitUntil(painted, timeout=WAIT_MS)


def test_a_picture_of_results_that_are_gone_is_not_shown(dialog, models, pictures, qtbot):
    qtbot.waitUntil(lambda: bool(pictures.wanted), timeout=WAIT_MS)
    key, show = pictures.wanted[0]
    other = content(ROWS, labels=("daisy", "net"))
    models.evaluation.shown.set(ShownRun("done", other))
    asked_before = len(pictures.wanted)
    qtbot.waitUntil(lambda: len(pictures.wanted) > asked_before, timeout=WAIT_MS)
    picture = QImage(*key.size_px, QImage.Format.Format_ARGB32_Premultiplied)
    show(key, picture)
    assert not dialog.model.cache._kept
    assert all(one.content is other for one, _ in pictures.wanted[asked_before:])


def test_a_click_opens_the_pair_with_the_descriptor_of_its_column(dialog, asked, qtbot):
    index = dialog.model.index(0, 2)
    where = dialog.view.visualRect(index).center()
    qtbot.mouseClick(dialog.view.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert asked.of("open_pair") == [("v_turn", 3, "net", 5.0)]
    dialog.view.setCurrentIndex(dialog.model.index(1, 0))
    qtbot.keyClick(dialog.view, Qt.Key.Key_Return)
    assert asked.of("open_pair")[1] == ("i_light", 2, "daisy", 5.0)


def test_a_run_under_way_waits_until_it_is_finished(dialog, models):
    other = content(ROWS[:2], labels=("daisy", "net"), finished=False)
    models.evaluation.shown.set(ShownRun("running", other))
    assert len(names(dialog)) == 3
    models.evaluation.shown.set(ShownRun("stopped", other))
    assert names(dialog) == ["i_light 1 → 2"]
    models.evaluation.shown.set(ShownRun())
    assert names(dialog) == []
    assert dialog.empty.isVisible()


# The scatter plot


def test_the_plot_has_a_point_for_each_pair_with_both_values(dialog, asked, pictures, qtbot):
    dialog.scatter_tab.click()
    qtbot.waitUntil(lambda: bool(dialog.scatter._clouds), timeout=WAIT_MS)
    clouds = dialog.scatter._clouds
    assert {part: len(cloud.data) for part, cloud in clouds.items()} == {
        "illumination": 1,
        "viewpoint": 1,
    }
    drawn = [place for cloud in clouds.values() for place in cloud.data["data"].tolist()]
    assert sorted(dialog.scatter._places[drawn].tolist()) == [[0.2, 0.8], [0.9, 0.5]]
    assert dialog.problem.sentence == "1 pair lacks one of the values."
    assert dialog.scatter._diagonal.isVisible()
    cloud = clouds["viewpoint"]
    assert [values.tolist() for values in cloud.getData()] == [[0.2], [0.8]]
    pair = dialog.scatter._table.pairs[cloud.data["data"][0]]
    asked_before = len(pictures.wanted)
    dialog.scatter._on_hover(cloud, cloud.points(), None)
    key, show = pictures.wanted[asked_before]
    assert (key.pair, key.label, key.kind) == (("v_turn", 3), "net", "matches")
    show(key, QImage(10, 10, QImage.Format.Format_RGB32))
    assert "PCK@5, net: 0.8" in dialog.scatter._card[0]
    dialog.scatter._on_hover(clouds["illumination"], [], None)
    assert dialog.scatter._card is not None
    dialog.scatter._on_hover(cloud, [], None)
    show(key, QImage(10, 10, QImage.Format.Format_RGB32))
    assert dialog.scatter._card is None
    dialog.scatter.pair_chosen.emit(pair)
    assert asked.of("open_pair") == [("v_turn", 3, "net", 5.0)]


def test_a_plot_that_is_on_display_takes_the_colours_of_another_theme(dialog, qtbot):
    dialog.scatter_tab.click()
    qtbot.waitUntil(lambda: bool(dialog.scatter._clouds), timeout=WAIT_MS)
    scatter = dialog.scatter
    for text, base in (("#102030", "#fafbfc"), ("#f0e0d0", "#030201")):
        palette = scatter.palette()
        palette.setColor(QPalette.ColorRole.Text, QColor(text))
        palette.setColor(QPalette.ColorRole.Base, QColor(base))
        scatter.setPalette(palette)
        scatter.restyle()
        assert [label.text for _, label in scatter._legend.items] == ["illumination", "viewpoint"]
        assert all(text in label.item.toHtml() for _, label in scatter._legend.items)
        assert {cloud.opts["pen"].color().name() for cloud in scatter._clouds.values()} == {base}


# The slices


def test_slices_are_measured_once_and_shown_by_metric(dialog, models, pictures, qtbot):
    dialog.slices_tab.click()
    assert dialog.empty.isVisible()
    (measured, show), *more = pictures.sliced
    assert measured is models.evaluation.shown.state.content
    assert not more
    show(api.slices_of(measured))
    model = dialog.slices.model()
    lines = [[model.index(row, c).data() for c in range(4)] for row in range(model.rowCount())]
    assert ["25 to 50 %", "0.200", "0.800", "1"] in lines
    assert ["over 75 %", "0.900", "0.500", "1"] in lines
    assert next(line[0] for line in lines if line[1] is None).startswith("change of scale")
    assert not dialog.filter.isVisible()
    dialog.gallery_tab.click()
    dialog.slices_tab.click()
    assert len(pictures.sliced) == 1
    other = content(ROWS[:2], labels=("daisy", "net"))
    models.evaluation.shown.set(ShownRun("done", other))
    show(api.slices_of(measured))  # of results that are gone
    assert dialog.empty.isVisible()
    pictures.sliced[1][1](())
    assert "alike" in dialog.empty.text()


def test_ten_thousand_pairs_ask_for_the_visible_pictures_alone(models, asked, pictures, qtbot):
    rows = tuple(row(f"v_{number}", 2, "net", number / 10_000) for number in range(10_000))
    models.evaluation.shown.set(ShownRun("done", content(rows, labels=("net",))))
    dialog = GalleryDialog(models, asked, pictures)
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(lambda: bool(pictures.wanted), timeout=WAIT_MS)
    dialog.view.scrollToBottom()
    qtbot.waitUntil(
        lambda: any(key.pair[0] == "v_9999" for key, _ in pictures.wanted), timeout=WAIT_MS
    )
    assert len(pictures.wanted) < 60
    assert dialog.model.rowCount(QModelIndex()) == 10_000


def test_what_comes_after_the_dialog_was_closed_is_dropped(models, asked, pictures, qtbot):
    models.evaluation.shown.set(ShownRun("done", content(ROWS, labels=("daisy", "net"))))
    dialog = GalleryDialog(models, asked, pictures)
    dialog.show()
    qtbot.waitUntil(lambda: bool(pictures.wanted), timeout=WAIT_MS)
    dialog.slices_tab.click()
    dialog.scatter_tab.click()
    qtbot.waitUntil(lambda: bool(dialog.scatter._clouds), timeout=WAIT_MS)
    cloud = dialog.scatter._clouds["viewpoint"]
    dialog.scatter._on_hover(cloud, cloud.points(), None)
    late = [*pictures.wanted]
    (_, sliced), *_ = pictures.sliced
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    with qtbot.waitSignal(dialog.destroyed, timeout=WAIT_MS):
        dialog.close()
    for key, show in late:
        show(key, QImage(*key.size_px, QImage.Format.Format_ARGB32_Premultiplied))
    sliced(())


# Work


def test_what_is_no_longer_wanted_is_not_made(qtbot, close_after):
    made, failures = [], []

    def make(key):
        time.sleep(0.02)
        return key * 10

    def show(key, thing):
        made.append((key, thing))

    maker = InView(make, failures.append)
    close_after(maker.lane)
    maker.want(range(40), show)
    maker.want([3, 50, 51], show)  # 3 is being made already
    qtbot.waitUntil(lambda: not maker.lane.busy, timeout=WAIT_MS)
    assert made == [(key, key * 10) for key in (0, 1, 2, 3, 50, 51)]
    assert failures == []


def test_a_picture_that_cannot_be_drawn_is_null(models, pictures, qtbot, close_after, dialog):
    qtbot.waitUntil(lambda: bool(pictures.wanted), timeout=WAIT_MS)
    controller = GalleryController(models.messages, PlotLoader(models.messages.report))
    close_after(controller.lane)
    shown = []
    controller.want([pictures.wanted[0][0]], lambda _key, picture: shown.append(picture))
    qtbot.waitUntil(lambda: bool(shown), timeout=WAIT_MS)
    assert shown[0].isNull()
