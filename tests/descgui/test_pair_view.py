"""The pair view: what it shows for each state of the models, and what it requests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QMouseEvent
from PySide6.QtTest import QTest

from descgui.models.bundle import AppModels, make_models
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.models.maps_state import DescriptorChoice, MapStatus
from descgui.models.pair_state import PairState
from descgui.models.pictures_state import PicturesState
from descgui.models.probe_state import Pin, Probe
from descgui.views import scene
from descgui.views.drops import DropPlan, plan_drop
from descgui.views.empty_state import DropBanner, EmptyState
from descgui.views.marks import (
    BestMatch,
    CellFrame,
    CycleArrow,
    ErrorLine,
    ExcludedCircle,
    HiddenTruth,
    Label,
    ListedPoint,
    PeakRing,
    PinMark,
    Reticle,
    Stage,
    TruthPoint,
)
from descgui.views.match_lines import MatchLines
from descgui.views.pair_view import PairView
from descgui.views.pane import _shortened
from descgui.views.pixels import color_stops, error_image
from descgui.views.scene import PaneKey
from descgui.views.viewport import Box, Viewport
from engine.api import (
    OCCLUDED,
    OUTSIDE,
    ErrorsAnswer,
    Extent,
    HeatRange,
    HeldPointsSource,
    HomographySource,
    Image,
    ImagePair,
    MapInfo,
    MatchTable,
    NormsAnswer,
    PcaAnswer,
    Peak,
    Picture,
    ProbeAnswer,
    ProbeRequest,
    Recipe,
    ScalarMap,
    SelfSimilarity,
    Visibility,
    WinnersAnswer,
)
from engine.descriptors.registry import DescriptorSpec

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier
SIZE = (64, 48)
WHOLE = Extent(-0.5, -0.5, 63.5, 47.5)
SHIFT = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, -2.0], [0.0, 0.0, 1.0]])
INFO = MapInfo(
    size_px=SIZE,
    working_size_px=SIZE,
    cells=(16, 12),
    stride_px=4.0,
    levels=1,
    dim=8,
    size_bytes=1,
    seconds=0.1,
    device="cpu",
    trained=True,
)


def image(name: str, size: tuple[int, int] = SIZE, value: int = 120) -> Image:
    return Image(Path(f"/ä/{name}"), np.full((size[1], size[0], 3), value, np.uint8))


def pair_state(h=SHIFT, size_b: tuple[int, int] = SIZE) -> PairState:
    one, other = image("one.png"), image("other.png", size_b, 60)
    source = None if h is None else HomographySource.of(h)
    pair = ImagePair(one.path, other.path, source, "a pair")
    truth = pair.open_truth(one.size_px, other.size_px)
    return PairState(pair, one, other, one.as_uint8(), other.as_uint8(), truth)


def answer_to(state: PairState, probe: Probe, *, off=(1.0, 0.0), heat=True, **changes):
    h = None if state.truth is None else state.truth.matrix_from(probe.side)
    truth = None if h is None else tuple(float(v) for v in (h @ (*probe.point_px, 1.0))[:2])
    x, y = truth or probe.point_px
    found = (x + off[0], y + off[1])
    values = np.random.default_rng(0).random((12, 16), dtype=np.float32)
    given = ProbeAnswer(
        request=ProbeRequest(
            pair=state.pair,
            recipe=Recipe(spec=DescriptorSpec("daisy")),
            side=probe.side,
            point_px=probe.point_px,
        ),
        peaks=(Peak(found, 0.912), Peak((5.0, 5.0), 0.8), Peak((50.0, 9.0), 0.7)),
        ratio=0.7,
        heat=values if heat else None,
        heat_extent=WHOLE,
        truth_px=truth,
        error_px=None if truth is None else float(np.hypot(*off)),
        rank=None if truth is None else 2,
        cycle_px=(probe.point_px[0] + 9.0, probe.point_px[1]),
        cycle_error_px=9.0,
        seconds=0.0014,
    )
    return replace(given, **changes)


def matches(count: int, errors) -> MatchTable:
    places = np.random.default_rng(1).uniform(10, 40, (count, 2))
    return MatchTable(
        points_a=places,
        points_b=places + np.array([3.0, -2.0]),
        similarity=np.full(count, 0.9, np.float32),
        ratio=np.full(count, 0.5, np.float32),
        mutual=np.ones(count, np.bool_),
        error_px=np.asarray(errors, np.float64),
    )


@pytest.fixture
def models(tmp_path) -> AppModels:
    made = make_models(tmp_path / "settings.yaml")
    made.engine.set(
        EngineState(
            "ready",
            tuple(
                DescriptorChoiceInfo(name, title, "", "", False, ())
                for name, title in (("daisy", "DAISY"), ("superpoint", "SuperPoint"))
            ),
        )
    )
    return made


@pytest.fixture
def view(qtbot, models, asked):
    widget = PairView(models, probing=asked, opening=asked, describing=asked, files=asked)
    qtbot.addWidget(widget)
    widget.resize(1000, 600)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


@pytest.fixture
def opened(view, models) -> PairState:
    state = pair_state()
    models.pair.set_pair(state)
    models.maps.choose(DescriptorChoice("daisy"))
    for side in ("a", "b"):
        models.maps.set_status(side, MapStatus("ready", info=INFO))
    QTest.qWaitForWindowExposed(view)
    return state


def ask(models: AppModels, state: PairState, side="a", point=(30.0, 20.0), **changes):
    probe = Probe(side, point)
    models.probe.move(probe)
    models.probe.set_answer(answer_to(state, probe, **changes))


def kinds(view: PairView, index: int) -> list[type]:
    return [type(mark) for mark in view.canvases[index].marks]


def shown_range(view: PairView, number: int) -> tuple[float, float]:
    scale = view._bars[number].scale
    return scale.low, scale.high


def header(view: PairView, index: int) -> scene.Caption:
    return view._panes[index].header.caption


def hover(view: PairView, index: int, point) -> None:
    canvas = view.canvases[index]
    place = QPointF(*canvas.viewport.to_widget(point))
    event = QMouseEvent(
        QEvent.Type.MouseMove, place, canvas.mapToGlobal(place), Qt.MouseButton.NoButton,
        Qt.MouseButton.NoButton, NONE,
    )  # fmt: skip
    canvas.mouseMoveEvent(event)


def spot(view: PairView, index: int, point) -> QPoint:
    x, y = view.canvases[index].viewport.to_widget(point)
    return QPoint(round(x), round(y))


def drag_event(kind, paths, place: QPointF):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    actions = Qt.DropAction.CopyAction
    at = place.toPoint() if kind is QDragEnterEvent else place
    return data, kind(at, actions, data, LEFT, NONE)


# Empty, loading, failed


def test_without_a_pair_two_buttons_offer_a_way_in(view, qtbot, asked):
    empty = view.findChild(EmptyState)
    assert empty.isVisible()
    empty._open.click()
    assert asked.of("open_pair")
    empty._demo.click()
    assert asked.of("open_demo")


def test_the_empty_view_says_why_something_could_not_be_opened(view, models):
    models.pair.report_failure("The file notes.txt is not an image.")
    empty = view.findChild(EmptyState)
    assert empty._problem.isVisible()
    assert "notes.txt" in empty._problem.text()
    assert not view.grab().isNull()
    models.pair.set_pair(pair_state())
    assert not empty.isVisible()


def test_while_opening_the_empty_view_says_so_and_its_buttons_wait(view, models):
    models.pair.set_loading("v_churchill")
    empty = view.findChild(EmptyState)
    assert empty._text.text() == "v_churchill"
    assert not empty._open.isEnabled()
    models.pair.set_loading("")
    assert empty._open.isEnabled()


def test_another_homography_of_the_same_pair_keeps_the_view(view, models, opened):
    view.canvases[0].set_viewport(Viewport(9.0, -40.0, -50.0))
    models.pair.set_pair(replace(opened, pair=replace(opened.pair, truth=None), truth=None))
    assert view.canvases[0].viewport == Viewport(9.0, -40.0, -50.0)


# The probe


def test_hovering_a_pane_asks_about_its_image(view, qtbot, opened, asked):
    for index, side in ((0, "a"), (1, "b")):
        hover(view, index, (12.0, 34.0))
        found = asked.of("hover")[-1]
        assert found[0] == side
        assert found[1:] == pytest.approx([12.0, 34.0], abs=0.01)


def test_leaving_the_image_is_told(view, qtbot, opened, asked):
    hover(view, 0, (12.0, 34.0))
    hover(view, 0, (-30.0, 10.0))
    assert asked.of("leave")


def test_an_answer_is_drawn_in_the_other_pane_with_truth_and_error(view, models, opened, asked):
    ask(models, opened)
    assert kinds(view, 0) == [CycleArrow, Reticle, Label]
    assert kinds(view, 1) == [PeakRing, PeakRing, TruthPoint, ErrorLine, BestMatch, Label]
    rings = [mark for mark in view.canvases[1].marks if isinstance(mark, PeakRing)]
    assert [ring.rank for ring in rings] == [3, 2]
    assert view.canvases[1].overlay is not None
    assert view.canvases[0].overlay is None
    assert header(view, 1).text == "DAISY · similarity · 1.0 px · 1.4 ms"
    assert header(view, 0).text == "DAISY · query at 30, 20"


def test_asking_from_b_answers_in_a(view, models, opened):
    ask(models, opened, side="b")
    assert BestMatch in kinds(view, 0)
    assert Reticle in kinds(view, 1)
    assert view.canvases[0].overlay is not None
    assert view.canvases[1].overlay is None


def test_an_answer_from_the_other_side_is_not_shown_once_the_probe_has_changed_sides(
    view, models, opened
):
    ask(models, opened)
    models.probe.move(Probe("b", (10.0, 10.0)))
    assert kinds(view, 0) == []
    assert kinds(view, 1) == [Reticle]
    assert view.canvases[1].overlay is None


def test_the_previous_answer_stays_until_the_next_one_comes(view, models, opened):
    ask(models, opened)
    models.probe.move(Probe("a", (31.0, 20.0)))
    assert BestMatch in kinds(view, 1)
    assert CycleArrow not in kinds(view, 0)


def test_right_and_wrong_differ_in_sign_and_line_not_only_in_colour(view, models, opened):
    ask(models, opened, off=(1.0, 0.0))
    right = view.canvases[1].marks[-1]
    ask(models, opened, point=(31.0, 20.0), off=(30.0, 0.0))
    wrong = view.canvases[1].marks[-1]
    assert right.text.startswith("✓")
    assert wrong.text.startswith("✗")
    assert (right.dashed, wrong.dashed) == (False, True)


def test_the_threshold_of_right_is_the_one_of_the_matches(view, models, opened):
    ask(models, opened, off=(4.0, 0.0))
    assert view.canvases[1].marks[-1].dashed
    models.settings.update(correct_px=5.0)
    assert not view.canvases[1].marks[-1].dashed


def test_without_a_truth_there_are_no_rings_and_no_judgement(view, models):
    state = pair_state(h=None)
    models.pair.set_pair(state)
    ask(models, state)
    assert TruthPoint not in kinds(view, 1)
    assert ErrorLine not in kinds(view, 1)
    assert view.canvases[1].marks[-1].text == "0.912"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (Visibility.OUTSIDE, "out of view"),
        (Visibility.OCCLUDED, "occluded"),
        (Visibility.UNKNOWN, "no truth here"),
    ],
)
def test_a_true_point_that_is_not_seen_is_said_and_never_judged(view, models, opened, state, words):
    place = None if state is Visibility.UNKNOWN else (20.0, 20.0)
    ask(models, opened, truth_px=place, error_px=None, rank=None, visibility=state)
    assert view.canvases[1].marks[-1].text == f"0.912   {words}"
    assert ErrorLine not in kinds(view, 1)
    assert TruthPoint not in kinds(view, 1)
    assert (HiddenTruth in kinds(view, 1)) == (state is Visibility.OCCLUDED)


def test_listed_points_are_shown_and_the_pointer_snaps_to_them(view, models, opened, asked):
    source = HeldPointsSource(((20.0, 20.0, 30.0, 25.0), (50.0, 40.0, 10.0, 8.0)))
    truth = source.open(SIZE, SIZE)
    models.pair.set_pair(replace(opened, pair=replace(opened.pair, truth=source), truth=truth))
    for pane, points in enumerate(truth.listed_px):
        shown = [one.point_px for one in view.canvases[pane].marks if isinstance(one, ListedPoint)]
        assert shown == [tuple(point) for point in points.tolist()]
    view.canvases[0].set_viewport(Viewport(4.0, 0.0, 0.0))
    hover(view, 0, (21.5, 20.5))
    assert asked.of("hover")[-1] == ("a", 20.0, 20.0)
    hover(view, 0, (24.0, 20.0))
    assert asked.of("hover")[-1][1:] == pytest.approx([24.0, 20.0], abs=0.3)


def test_when_the_probe_goes_everything_of_it_goes(view, models, opened):
    ask(models, opened)
    models.probe.move(None)
    assert kinds(view, 0) == []
    assert kinds(view, 1) == []
    assert view.canvases[1].overlay is None
    assert view._bars[0].scale is None


def test_heat_maps_that_are_not_there_are_not_drawn(view, models, opened):
    ask(models, opened, heat=False)
    assert view.canvases[1].overlay is None
    assert BestMatch in kinds(view, 1)
    assert not view.grab().isNull()


def test_the_colour_bar_shows_the_fixed_range_or_fits_the_probe(view, models, opened):
    models.settings.update(heat=HeatRange(kind="fixed", low=-0.2, high=0.9))
    ask(models, opened)
    assert shown_range(view, 0) == (-0.2, 0.9)
    models.settings.update(heat=HeatRange())
    low, high = shown_range(view, 0)
    heat = models.probe.answer.heat
    assert high == pytest.approx(float(heat.max()))
    assert float(heat.min()) <= low < float(np.median(heat))
    models.settings.update(heat=HeatRange(kind="relative", span=0.25))
    assert shown_range(view, 0) == pytest.approx((high - 0.25, high))
    models.settings.update(heat=HeatRange(low_percent=50.0, high_percent=75.0))
    assert shown_range(view, 0) == pytest.approx(np.percentile(heat, (50, 75)), abs=0.05)


@pytest.mark.parametrize(
    ("fewest", "letters", "shown"),
    [
        (1, 50, "timm test_convnext · similarity · 33 px"),
        (1, 35, "timm test_convnext · similarity"),
        (1, 25, "timm test_convnext"),
        (2, 25, "…"),  # work under way: its name is as important
    ],
)
def test_a_descriptor_s_name_is_the_last_that_a_header_leaves_out(fewest, letters, shown):
    class Letters:
        """Measures words by their letters."""

        def horizontalAdvance(self, text):
            return len(text)

        def elidedText(self, text, _mode, most):
            return text if len(text) <= most else "…"

    text = "timm test_convnext · similarity · 33 px"
    assert _shortened(text, Letters(), letters, fewest=fewest) == shown


# Self-similarity


def own_of(heat: np.ndarray | None, *peaks: Peak) -> SelfSimilarity:
    return SelfSimilarity(peaks=peaks, heat=heat, heat_extent=WHOLE, excluded_px=8.0)


def ask_own(models: AppModels, state: PairState, side="a", *peaks: Peak, heat=None) -> ProbeAnswer:
    probe = Probe(side, (30.0, 20.0))
    models.view.update(self_similarity=True)
    models.probe.move(probe)
    answer = answer_to(state, probe, own=own_of(heat, *peaks))
    models.probe.set_answer(answer)
    return answer


@pytest.mark.parametrize(("side", "own_pane"), [("a", 0), ("b", 1)])
def test_best_other_places_and_the_circle_lie_in_the_query_s_own_image(
    view, models, opened, side, own_pane
):
    heat = np.zeros((12, 16), np.float32)
    ask_own(models, opened, side, Peak((50.0, 9.0), 0.81), Peak((5.0, 40.0), 0.5), heat=heat)
    marks = view.canvases[own_pane].marks
    (circle,) = [mark for mark in marks if isinstance(mark, ExcludedCircle)]
    assert (circle.point_px, circle.radius_px) == ((30.0, 20.0), 8.0)
    rings = {mark.rank: mark.point_px for mark in marks if isinstance(mark, PeakRing)}
    assert rings == {1: (50.0, 9.0), 2: (5.0, 40.0)}
    assert [mark.text for mark in marks if isinstance(mark, Label)] == ["0.810"]
    assert CycleArrow in kinds(view, own_pane), "only its label would be in the way"
    assert "elsewhere 0.810" in view._panes[own_pane].header.caption.text
    assert view.canvases[own_pane].overlay is not None
    assert ExcludedCircle not in kinds(view, 1 - own_pane)
    assert "left out" in view._legend.accessibleDescription()


def test_both_images_share_one_range_and_the_circle_is_left_out_of_it(view, models, opened):
    heat = np.full((12, 16), 1.4, np.float32)
    heat[4:8, 5:9] = np.nan
    ask_own(models, opened, "a", Peak((50.0, 9.0), 0.8), heat=heat)
    assert shown_range(view, 0)[1] == pytest.approx(1.4)
    assert view._bars[0].scale.title == "Cosine, A and B"
    assert not view._bars[1].isVisible()
    colours = view.canvases[0].overlay.picture
    assert colours.level(1.0).pixelColor(6, 5).alpha() == 0
    assert colours.level(1.0).pixelColor(1, 1).alpha() == 255


def test_without_another_place_the_header_says_so(view, models, opened):
    ask_own(models, opened, "a", heat=np.full((12, 16), np.nan, np.float32))
    assert "no other place" in view._panes[0].header.caption.text
    assert PeakRing not in kinds(view, 0)
    assert not view.grab().isNull()


def test_the_circle_grows_with_the_image_and_is_no_dot(qapp):
    stage = Stage(Viewport(2.0, 0.0, 0.0), Box(0.0, 0.0, 200.0, 200.0))
    outline = np.array(ExcludedCircle((20.0, 30.0), 8.0).shapes(stage)[-1].lines[0])
    centre = stage.view.to_widget((20.0, 30.0))
    assert np.hypot(*(outline - centre).T) == pytest.approx(16.0)
    assert ExcludedCircle((20.0, 30.0), 1.0).shapes(stage) == ()


# Modes


def picture(value: int) -> Picture:
    return Picture(np.full((12, 16, 3), value, np.uint8), WHOLE)


@pytest.mark.parametrize("mode", ["pca", "overlay"])
def test_pca_colours_lie_over_both_images(view, models, opened, mode):
    answer = PcaAnswer(a=picture(200), b=picture(50), explained=(0.3, 0.2, 0.1))
    models.pictures.update(pca=answer)
    models.view.update(mode=mode)
    models.settings.update(opacity=0.4)
    for canvas in view.canvases:
        assert canvas.overlay.opacity == (1.0 if mode == "pca" else 0.4)
    assert "60 %" in view._explained.text()
    assert view._explained.isVisible()
    models.view.update(mode="image")
    assert all(canvas.overlay is None for canvas in view.canvases)
    assert not view._explained.isVisible()


def test_while_the_colours_of_the_next_pair_are_made_nothing_moves(qtbot, view, models, opened):
    models.view.update(mode="image")
    qtbot.wait(20)
    wide = view._legend.geometry()
    models.view.update(mode="pca")
    shown = PcaAnswer(a=picture(200), b=picture(50), explained=(0.3, 0.2, 0.1))
    models.pictures.update(pca=shown)
    qtbot.wait(20)
    before = view._legend.geometry()
    assert before.width() < wide.width()
    models.pictures.set(PicturesState(busy="pca"))
    qtbot.wait(20)
    assert not view._explained.isVisible()
    assert view._legend.geometry() == before
    models.view.update(mode="image")
    qtbot.wait(20)
    assert view._legend.geometry() == wide


def test_all_is_refreshed_for_new_pictures_and_looks_and_not_for_what_is_only_noted(
    view, models, opened, monkeypatch
):
    refreshed: list[None] = []
    monkeypatch.setattr(view, "_refresh", lambda: refreshed.append(None))
    models.settings.remember_pair("a pair")
    models.settings.remember_place("a set", "a pair")
    models.settings.remember_folder("a set")
    models.settings.remember_photos("photos")
    models.pictures.update(busy="pca")
    models.pictures.update(busy="", problem="No maps.")
    assert refreshed == []
    models.settings.update(opacity=0.4)
    models.pictures.update(pca=PcaAnswer(a=picture(9), b=picture(5), explained=(0.6, 0.3, 0.1)))
    assert len(refreshed) == 2


def test_explained_variance_says_whose_it_is_while_descriptors_are_compared(view, models, opened):
    answer = PcaAnswer(a=picture(200), b=picture(50), explained=(0.3, 0.2, 0.1))
    models.pictures.update(pca=answer)
    models.view.update(mode="pca")
    models.maps.choose(DescriptorChoice("daisy"))
    assert view._explained.text().startswith("Colours explain 60 %")
    models.compared[0].choose(DescriptorChoice("superpoint"))
    assert view._explained.text().startswith("DAISY: colours explain 60 %")


def test_changing_the_opacity_does_not_make_the_picture_anew(view, models, opened):
    models.pictures.update(pca=PcaAnswer(a=picture(9), b=picture(5), explained=(1.0, 0.0, 0.0)))
    models.view.update(mode="overlay")
    models.settings.update(opacity=0.4)
    before = view.canvases[0].overlay.picture
    models.settings.update(opacity=0.7)
    assert view.canvases[0].overlay.picture is before
    assert view.canvases[0].overlay.opacity == 0.7


def test_blink_shows_the_warped_image_fully(view, models, opened):
    warped = np.full((48, 64, 3), 33, np.uint8)
    models.pictures.update(warped_b=warped, warped_a=warped)
    models.view.update(mode="warp")
    models.settings.update(opacity=0.5)
    assert view.canvases[0].overlay.opacity == 0.5
    assert "B warped here, 50 %" in header(view, 0).text
    models.view.update(blink=True)
    assert view.canvases[0].overlay.opacity == 1.0
    centre = view.canvases[0].grab().toImage().pixelColor(view.canvases[0].rect().center())
    assert centre.red() == 33


def test_cycle_maps_of_all_pairs_share_one_scale(view, models, opened):
    one = ScalarMap(np.full((12, 16), 2.0, np.float32), WHOLE, "px")
    other = ScalarMap(np.full((12, 16), 40.0, np.float32), WHOLE, "px")
    models.pictures.update(cycle_a=one, cycle_b=other)
    models.view.update(mode="cycle")
    assert shown_range(view, 0) == (0.0, 20.0)
    assert view._bars[1].isHidden()
    assert all(canvas.overlay is not None for canvas in view.canvases)


def test_the_second_members_map_lies_over_the_image_it_belongs_to(view, models, opened):
    values = np.linspace(-1, 1, 192, dtype=np.float32).reshape(12, 16)
    scale = ScalarMap(values, WHOLE, "log2")
    angle = ScalarMap(30 * values, WHOLE, "°")
    models.pictures.update(winners=WinnersAnswer(scale=scale, angle=angle, true_scale=None))
    models.view.update(mode="members")
    assert [pane.key.side for pane in view._panes[:2]] == ["a", "a"]
    assert view.canvases[0].photo is view.canvases[1].photo
    assert shown_range(view, 1) == pytest.approx((-30.0, 30.0))
    assert [header(view, pane).text.partition(" · ")[2] for pane in (0, 1)] == [
        "scale found, A to B",
        "rotation found, A to B",
    ]
    assert "Both panes show image A" in view._panes[1].header.toolTip()
    truth = WinnersAnswer(scale=scale, angle=angle, true_scale=scale)
    models.pictures.update(winners=truth)
    assert view._bars[1].isHidden()
    models.view.update(mode="image")
    assert view._panes[1].key == PaneKey("b")


def norms_answer(high=()) -> NormsAnswer:
    values = np.linspace(10, 20, 192, dtype=np.float32).reshape(12, 16)
    marked = np.zeros((12, 16), np.bool_)
    for row, column in high:
        values[row, column], marked[row, column] = 500.0, True
    return NormsAnswer(
        norms=ScalarMap(values, WHOLE), high=marked, threshold=100.0, layer="blocks.3"
    )


def test_norms_share_one_scale_without_outliers_which_are_framed(view, models, opened):
    models.pictures.update(norms_a=norms_answer([(2, 5)]), norms_b=norms_answer())
    models.view.update(mode="norms")
    assert shown_range(view, 0) == pytest.approx((10.0, 20.0))
    assert view._bars[1].isHidden()
    frames = [mark for mark in view.canvases[0].marks if isinstance(mark, CellFrame)]
    assert frames == [CellFrame((19.5, 7.5), (4.0, 4.0))]
    assert not [mark for mark in view.canvases[1].marks if isinstance(mark, CellFrame)]
    assert "norms of blocks.3 · 1 high-norm cell (0.52 %)" in header(view, 0).text
    assert "no high-norm cell" in header(view, 1).text
    assert not view.grab().isNull()
    models.view.update(mode="image")
    assert not [mark for mark in view.canvases[0].marks if isinstance(mark, CellFrame)]


def test_norms_that_are_all_alike_paint_without_a_warning(view, models, opened):
    flat = ScalarMap(np.ones((12, 16), np.float32), WHOLE)
    answer = replace(norms_answer(), norms=flat)
    models.pictures.update(norms_a=answer, norms_b=answer)
    models.view.update(mode="norms")
    assert not view.grab().isNull()


def test_error_maps_colour_what_is_seen_on_one_scale_and_the_rest_by_its_state(
    view, models, opened
):
    values = np.geomspace(0.3, 100, 192, dtype=np.float32).reshape(12, 16)
    states = np.full((12, 16), Visibility.SEEN, np.uint8)
    for row, state in enumerate((Visibility.UNKNOWN, Visibility.OCCLUDED, Visibility.OUTSIDE)):
        states[row] = state
        values[row] = np.nan
    answer = ErrorsAnswer(errors=ScalarMap(values, WHOLE, "px"), states=states)
    models.pictures.update(errors_a=answer, errors_b=answer)
    models.settings.update(correct_px=3.0)
    models.view.update(mode="error")
    assert shown_range(view, 0) == (0.3, 100.0)
    assert view._bars[1].isHidden()
    seen = values[3:]
    assert f"error · {100 * np.mean(seen <= 3):.0f} % ≤ 3 px" in header(view, 0).text
    assert not view.grab().isNull()
    words = view._legend.accessibleDescription()
    assert words.startswith("occluded, out of view, no truth here, ")
    picture = error_image(values, states, 0.3, 100.0, "viridis")
    colours = [picture.pixelColor(3, row) for row in range(3)]
    assert colours[0].alpha() == 0
    assert [one.name() for one in colours[1:]] == [OCCLUDED.lower(), OUTSIDE.lower()]
    table = color_stops("viridis")
    for row, column in ((3, 0), (7, 9), (11, 15)):
        place = round(254 * np.log10(values[row, column] / 0.3) / np.log10(100 / 0.3))
        assert picture.pixelColor(column, row).getRgb()[:3] == tuple(table[place])
    models.view.update(mode="image")
    assert "out of view" not in view._legend.accessibleDescription()


@pytest.mark.parametrize("mode", ["pca", "overlay", "warp", "cycle", "members", "norms", "error"])
def test_a_missing_picture_leaves_the_plain_image_and_one_sentence(view, models, opened, mode):
    models.view.update(mode=mode)
    models.pictures.update(problem="There is only one member.")
    assert header(view, 0).text == "There is only one member."
    assert header(view, 0).problem
    models.pictures.update(problem="", busy="Computing the picture…")
    assert header(view, 0).busy
    assert view.canvases[0].overlay is None
    assert not view.grab().isNull()


@pytest.mark.parametrize("mode", ["heat", "cycle", "members"])
def test_undefined_values_paint_without_a_warning(view, models, opened, mode):
    nothing = ScalarMap(np.full((12, 16), np.nan, np.float32), WHOLE, "px")
    models.pictures.update(
        cycle_a=nothing,
        cycle_b=nothing,
        winners=WinnersAnswer(scale=nothing, angle=nothing, true_scale=None),
    )
    models.view.update(mode=mode)
    ask(models, opened)
    models.probe.set_answer(replace(models.probe.answer, heat=nothing.values))
    assert not view.grab().isNull()


# Status


def test_describing_shows_progress_and_a_way_to_cancel(view, qtbot, models, opened, asked):
    models.maps.set_status("a", MapStatus("computing", fraction=0.45))
    assert header(view, 0).text == "DAISY · describing 45 %"
    assert not view.grab().isNull()
    view._panes[0].header._cancel.click()
    assert asked.of("cancel")
    models.maps.set_status("a", MapStatus("ready", info=INFO))
    assert view._panes[0].header._cancel.isHidden()


def test_progress_of_unknown_length_moves_and_stops_when_done(view, models, opened):
    timer = view._panes[0].header._timer
    models.maps.set_status("a", MapStatus("computing"))
    assert timer.isActive()
    assert not view.grab().isNull()
    models.maps.set_status("a", MapStatus("ready", info=INFO))
    assert not timer.isActive()


@pytest.mark.parametrize(
    ("file", "title"),
    [
        ("/runs/good/weights/step-000500.safetensors", "good, step 500 · DAISY"),
        ("/nets/published-57934424.pth", "DAISY · published-57934424.pth"),
    ],
)
def test_what_tells_descriptors_apart_comes_first_in_the_header(
    view, models, opened, file: str, title: str
):
    models.maps.choose(DescriptorChoice("daisy", {"weights": file}))
    assert header(view, 0).text.startswith(title)


def test_a_failure_is_one_sentence_in_the_header(view, models, opened):
    models.maps.set_status("b", MapStatus("failed", message="SuperPoint needs its weights."))
    assert header(view, 1) == scene.Caption(
        "SuperPoint needs its weights.", problem=True, detail="SuperPoint needs its weights."
    )
    assert "weights" in view._panes[1].header.accessibleName()
    assert not view.grab().isNull()


def test_untrained_descriptors_wear_a_badge(view, models, opened):
    models.maps.set_status("a", MapStatus("ready", info=replace(INFO, trained=False)))
    assert header(view, 0).untrained
    assert "untrained" in view._panes[0].header.accessibleName()
    assert not view.grab().isNull()


def test_a_weak_vote_is_a_badge_with_its_numbers(view, models, opened):
    told = "Weak vote: 9 points agree, 7 by chance."
    before = view._panes[1].header.grab().toImage()
    models.maps.set_status("b", MapStatus("ready", info=replace(INFO, weak_vote=told)))
    assert header(view, 1).weak_vote == told
    shown = view._panes[1].header
    assert shown._badges() == ["weak vote"]
    assert told in shown.accessibleName()
    assert told in shown.toolTip()
    assert shown.grab().toImage() != before
    info = replace(INFO, weak_vote=told, trained=False)
    models.maps.set_status("b", MapStatus("ready", info=info))
    assert shown._badges() == ["untrained", "weak vote"]
    models.maps.set_status("b", MapStatus("ready", info=replace(INFO, chosen="b is turned")))
    assert shown._badges() == []


# The compared descriptor


@pytest.fixture
def comparing(view, models, opened) -> PairState:
    models.compared[0].choose(DescriptorChoice("superpoint"))
    for side in ("a", "b"):
        models.compared[0].set_status(side, MapStatus("ready", info=INFO))
    return opened


def test_a_third_pane_comes_and_goes_with_the_compared_descriptor(view, models, comparing):
    assert len(view.canvases) == 3
    assert view._panes[2].key == PaneKey("b", 1)
    models.compared[0].choose(DescriptorChoice())
    assert len(view.canvases) == 2


def test_each_descriptor_has_a_pane_with_its_name_badge_heat_map_and_pins(view, models, comparing):
    for number, name in ((2, "daisy"), (3, "superpoint")):
        models.compared[number - 1].choose(DescriptorChoice(name, {"rings": number}))
        for side in ("a", "b"):
            info = replace(INFO, trained=number != 3)
            models.compared[number - 1].set_status(side, MapStatus("ready", info=info))
    assert len(view.canvases) == 5
    assert all(pane.isVisible() for pane in view._panes)
    assert [pane.header._letter for pane in view._panes] == ["A", "B", "B′", "B″", "B‴"]
    ask(models, comparing)
    pin = Pin(models.pins.take_number(), Probe("a", (20.0, 25.0)))
    for number in range(4):
        off = (float(number), 0.0)
        answer = answer_to(comparing, models.probe.probe, off=off, seconds=0.001)
        models.probe.set_answer(answer, number)
        pin = pin.with_answer(number, answer_to(comparing, pin.probe, off=off))
    models.pins.set_pins((pin,))
    for number, title in enumerate(("DAISY", "SuperPoint", "DAISY", "SuperPoint")):
        error_px = f"{number:.1f} px"
        assert header(view, 1 + number).text == f"{title} · similarity · {error_px} · 1.0 ms"
        assert header(view, 1 + number).untrained == (number == 3)
        assert view.canvases[1 + number].overlay is not None
        marks = view.canvases[1 + number].marks
        found = [mark for mark in marks if isinstance(mark, PinMark)]
        assert [mark.point_px for mark in found] == [pin.answer_of(number).found_px]
        best = [mark.point_px for mark in marks if isinstance(mark, BestMatch)]
        assert best == [models.probe.answer_of(number).found_px]
    models.compared[1].choose(DescriptorChoice())
    assert len(view.canvases) == 4
    assert not view._panes[3].isVisible()


def two_ranges(models: AppModels, state: PairState) -> None:
    """Answers of both descriptors, from 0 to 1 and from 2 to 4."""
    ask(models, state)
    first, rows = models.probe.answer, np.linspace(0.0, 1.0, 12 * 16, dtype=np.float32)
    models.probe.set_answer(replace(first, heat=rows.reshape(12, 16)))
    models.probe.set_answer(replace(first, heat=2.0 + 2.0 * rows.reshape(12, 16)), 1)


def test_each_descriptor_may_have_its_own_range_with_its_own_bar(view, models, comparing):
    two_ranges(models, comparing)
    low, high = view._bars[0].scale.low, view._bars[0].scale.high
    assert 0.0 <= low < 0.3
    assert 3.9 < high <= 4.0
    assert not any(pane.bar.isVisible() for pane in view._panes)
    shared = [view.canvases[index].overlay.picture for index in (1, 2)]
    models.view.update(own_ranges=True)
    bars = [pane.bar for pane in view._panes]
    assert [bar.isVisible() for bar in bars] == [False, True, True, False, False]
    first, second = (bar.scale for bar in bars[1:3])
    assert first.low == low
    assert 0.9 < first.high <= 1.0
    assert 2.0 <= second.low < 2.5
    assert second.high == high
    assert not view._bars[0].isVisible()
    assert all(
        canvas.overlay.picture is not before
        for canvas, before in zip(view.canvases[1:], shared, strict=True)
    )
    models.view.update(mode="image")
    assert not any(bar.isVisible() for bar in bars)
    models.view.update(mode="heat")
    models.compared[0].choose(DescriptorChoice())
    assert not any(bar.isVisible() for bar in bars)
    assert view._bars[0].isVisible()


def test_a_fixed_range_holds_for_all_descriptors(view, models, comparing):
    two_ranges(models, comparing)
    models.view.update(own_ranges=True)
    models.settings.update(heat=HeatRange(kind="fixed", low=-0.5, high=0.5))
    assert (view._bars[0].scale.low, view._bars[0].scale.high) == (-0.5, 0.5)
    assert not any(pane.bar.isVisible() for pane in view._panes)


def test_matches_are_drawn_to_the_pane_of_the_descriptor_that_found_them(
    view, qtbot, models, comparing
):
    models.compared[1].choose(DescriptorChoice("daisy", {"rings": 2}))
    lines = view.findChild(MatchLines)
    models.matches.update(table=matches(5, [1.0] * 5))
    qtbot.waitUntil(lambda: lines.count == 5)
    for number in (0, 1, 2):
        models.matches.update(descriptor=number)
        target = view.canvases[1 + number]
        corner = target.mapTo(view, QPoint(0, 0))
        box = Box(corner.x(), corner.y(), target.width(), target.height())
        ends = lines._segments[:, 2:]
        assert ((ends >= (box.left, box.top)) & (ends <= (box.right, box.bottom))).all()
        others = [view._panes[1 + one] for one in (0, 1, 2) if one != number]
        corners = {(pane.mapTo(view, QPoint(0, 0)).toTuple()) for pane in others}
        headers = (view._panes[0].header, view._panes[1 + number].header)
        corners |= {header.mapTo(view, QPoint(0, 0)).toTuple() for header in headers}
        assert {(box.left, box.top) for box in lines._others} == corners


def test_the_third_pane_shows_the_image_that_the_probe_is_not_in(view, models, comparing):
    ask(models, comparing, side="b")
    assert view._panes[2].key == PaneKey("a", 1)
    models.probe.move(None)
    assert view._panes[2].key == PaneKey("a", 1), "leaving must not swap the picture"
    ask(models, comparing, side="a")
    assert view._panes[2].key == PaneKey("b", 1)


def test_the_third_pane_has_its_own_answer_and_one_scale_for_both(view, models, comparing):
    ask(models, comparing)
    high = float(models.probe.answer.heat.max())
    probe = models.probe.probe
    other = answer_to(comparing, probe, off=(20.0, 0.0), seconds=0.0021)
    models.probe.set_answer(replace(other, heat=other.heat + np.float32(0.5)), 1)
    assert header(view, 2).text == "SuperPoint · similarity · 20.0 px · 2.1 ms"
    assert view.canvases[2].overlay is not None
    assert view._bars[0].scale.high == pytest.approx(high + 0.5)


def test_pointing_at_the_third_pane_asks_nothing(view, qtbot, comparing, asked):
    hover(view, 2, (20.0, 20.0))
    QTest.mouseClick(view.canvases[2], LEFT, NONE, spot(view, 2, (20.0, 20.0)))
    assert not asked.of("hover")
    assert not asked.of("pin")


def test_the_third_pane_follows_the_pane_with_the_same_image(view, comparing):
    canvas = view.canvases[1]
    canvas.set_viewport(Viewport(9.0, -20.0, -30.0))
    canvas.moved_by_user.emit()
    centre = canvas.viewport.to_image((canvas.width() / 2, canvas.height() / 2))
    third = view.canvases[2]
    found = third.viewport.to_image((third.width() / 2, third.height() / 2))
    assert found == pytest.approx(centre, abs=0.2)
    assert third.viewport.scale == pytest.approx(9.0)


# Linking


def centre_of(canvas):
    return canvas.viewport.to_image((canvas.width() / 2, canvas.height() / 2))


def test_linked_panes_follow_through_the_homography(view, models, opened):
    models.view.update(linked=True)
    first, second = view.canvases
    first.set_viewport(Viewport(10.0, -100.0, -120.0))
    first.moved_by_user.emit()
    expected = np.add(centre_of(first), (3.0, -2.0))
    assert centre_of(second) == pytest.approx(tuple(expected), abs=0.2)
    second.set_viewport(Viewport(6.0, -10.0, -20.0))
    second.moved_by_user.emit()
    assert centre_of(first) == pytest.approx(
        tuple(np.subtract(centre_of(second), (3.0, -2.0))), abs=0.2
    )


def test_panes_that_are_not_linked_stay(view, opened):
    before = view.canvases[1].viewport
    view.canvases[0].zoom_by(3.0)
    view.canvases[0].moved_by_user.emit()
    assert view.canvases[1].viewport == before


def test_zoom_commands_reach_all_panes(view, opened):
    scales = [canvas.viewport.scale for canvas in view.canvases]
    view.zoom_by(2.0)
    assert [c.viewport.scale for c in view.canvases] == pytest.approx([2 * s for s in scales])
    view.one_to_one()
    assert [c.viewport.scale for c in view.canvases] == pytest.approx([1.0, 1.0])
    view.fit()
    assert [c.viewport.scale for c in view.canvases] == pytest.approx(scales)


def test_the_default_view_says_what_to_do_until_it_was_done_once(view, models, opened):
    for side in ("a", "b"):
        models.maps.set_status(side, MapStatus("ready", info=INFO))
    hint = view._hint
    assert hint.isVisible()
    assert hint.text() == "Move the mouse over an image"
    models.view.update(mode="image")
    assert not hint.isVisible()
    models.view.update(mode="heat")
    models.probe.move(Probe("a", (3.0, 4.0)))
    assert not hint.isVisible()
    models.probe.move(None)
    assert not hint.isVisible()


def test_stacking_puts_the_panes_above_one_another(view, qtbot, models, opened):
    models.view.update(arrangement="stacked")
    qtbot.waitUntil(lambda: view._panes[1].y() > view._panes[0].y())
    assert view._panes[0].x() == view._panes[1].x()
    models.view.update(arrangement="beside")
    qtbot.waitUntil(lambda: view._panes[1].x() > view._panes[0].x())


@pytest.mark.parametrize(
    ("size", "above"), [((900, 900), True), ((1800, 420), False)], ids=["square", "wide"]
)
def test_compared_answers_stand_where_the_images_are_larger(
    view, qtbot, models, opened, size, above, asked
):
    models.compared[0].choose(DescriptorChoice("other"))
    view.resize(*size)
    asked, shown, compared, *_free = view._panes
    qtbot.waitUntil(lambda: (compared.y() > shown.y()) == above and compared.isVisible())
    assert (compared.x() > shown.x()) != above
    assert shown.x() > asked.x()


# Pins


def pin_in(models: AppModels, state: PairState, side="a", point=(20.0, 25.0), **changes) -> Pin:
    probe = Probe(side, point)
    pin = Pin(models.pins.take_number(), probe, answer_to(state, probe, **changes))
    models.pins.set_pins((*models.pins.pins, pin))
    return pin


def test_a_click_asks_for_a_pin(view, qtbot, opened, asked):
    QTest.mouseClick(view.canvases[1], LEFT, NONE, spot(view, 1, (20.0, 10.0)))
    found = asked.of("pin")[-1]
    assert found[0] == "b"
    assert found[1:] == pytest.approx([20.0, 10.0], abs=0.2)


def test_pins_and_their_matches_wear_the_same_number(view, models, opened):
    pin = pin_in(models, opened)
    asked = [mark for mark in view.canvases[0].marks if isinstance(mark, PinMark)]
    found = [mark for mark in view.canvases[1].marks if isinstance(mark, PinMark)]
    assert [(mark.number, mark.found) for mark in asked] == [(pin.number, False)]
    assert [(mark.number, mark.found) for mark in found] == [(pin.number, True)]


def test_the_selected_pin_shows_its_heat_while_no_probe_does(view, models, opened):
    pin = pin_in(models, opened)
    assert view.canvases[1].overlay is None
    models.pins.select(pin.number)
    assert view.canvases[1].overlay is not None
    assert TruthPoint in kinds(view, 1)


def test_pressing_a_pin_selects_it_and_dragging_moves_it(view, qtbot, models, opened, asked):
    pin = pin_in(models, opened)
    canvas = view.canvases[0]
    start, end = spot(view, 0, (20.0, 25.0)), spot(view, 0, (40.0, 30.0))
    QTest.mousePress(canvas, LEFT, NONE, start)
    assert models.pins.selected == pin.number
    for place in (start + QPoint(10, 5), end):
        event = QMouseEvent(
            QEvent.Type.MouseMove, QPointF(place), canvas.mapToGlobal(QPointF(place)),
            Qt.MouseButton.NoButton, LEFT, NONE,
        )  # fmt: skip
        canvas.mouseMoveEvent(event)
    hovered = asked.of("hover")[-1]
    assert hovered[0] == "a"
    shown = [mark for mark in canvas.marks if isinstance(mark, PinMark)]
    assert shown[0].point_px == pytest.approx((40.0, 30.0), abs=0.3)
    QTest.mouseRelease(canvas, LEFT, NONE, end)
    moved = asked.of("move_pin")[-1]
    assert moved[:2] == (pin.number, "a")
    assert moved[2:] == pytest.approx([40.0, 30.0], abs=0.3)


def test_a_double_click_fits_and_takes_its_pin_back(view, qtbot, models, opened, asked):
    asked.pin = lambda side, x, y: pin_in(models, opened, side, (x, y))
    old = pin_in(models, opened, "b", (5.0, 5.0))
    canvas = view.canvases[0]
    canvas.set_viewport(Viewport(4.0, 0.0, 0.0))
    place = spot(view, 0, (30.0, 30.0))
    QTest.mouseClick(canvas, LEFT, NONE, place)
    QTest.mouseDClick(canvas, LEFT, NONE, place)
    removed = asked.of("remove_pin")[-1]
    assert removed != (old.number,)
    assert canvas.fitted


def test_delete_removes_the_selected_pin_and_escape_lets_go(view, qtbot, models, opened, asked):
    pin = pin_in(models, opened)
    models.pins.select(pin.number)
    QTest.keyClick(view.canvases[1], Qt.Key.Key_Delete)
    removed = asked.of("remove_pin")[-1]
    assert removed == (pin.number,)
    QTest.keyClick(view.canvases[1], Qt.Key.Key_Escape)
    assert models.pins.selected == 0
    QTest.keyClick(view.canvases[1], Qt.Key.Key_Delete)
    assert len(asked.of("remove_pin")) == 1


def test_arrow_keys_step_the_selected_pin_else_the_probe_and_stop_at_the_border(
    view, qtbot, models, opened, asked
):
    pin = pin_in(models, opened, point=(60.0, 25.0))
    models.pins.select(pin.number)
    QTest.keyClick(view.canvases[0], Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    moved = asked.of("move_pin")[-1]
    assert moved == (pin.number, "a", 63.0, 25.0)
    assert asked.of("hover")[-1] == ("a", 63.0, 25.0)  # so that the heat map follows
    models.pins.select(0)
    models.probe.move(Probe("b", (5.0, 6.0)))
    QTest.keyClick(view.canvases[0], Qt.Key.Key_Up)
    stepped = asked.of("hover")[-1]
    assert stepped == ("b", 5.0, 5.0)


def test_without_a_probe_arrow_keys_begin_in_the_middle_of_the_pane(view, qtbot, opened, asked):
    QTest.keyClick(view.canvases[1], Qt.Key.Key_Right)
    stepped = asked.of("hover")[-1]
    assert stepped[0] == "b"
    assert stepped[1:] == pytest.approx([32.5, 23.5], abs=1.0)


def test_enter_pins_the_probe(view, qtbot, models, opened, asked):
    models.probe.move(Probe("b", (5.0, 6.0)))
    QTest.keyClick(view.canvases[0], Qt.Key.Key_Return)
    found = asked.of("pin")[-1]
    assert found == ("b", 5.0, 6.0)


# Matches


def test_match_lines_follow_filters_and_zoom(view, models, opened):
    lines = view.findChild(MatchLines)
    models.matches.update(table=matches(20, [1.0] * 15 + [50.0] * 5))
    assert lines.count == 20
    assert not view.grab().isNull()
    models.matches.update(min_similarity=0.95)
    assert lines.count == 0
    models.matches.update(min_similarity=-1.0)
    view.canvases[0].set_viewport(Viewport(60.0, 5000.0, 0.0))
    assert lines.count < 20
    models.matches.update(visible=False)
    assert lines.isHidden()


def test_lines_run_through_canvases_and_the_gap_but_under_the_marks(view, models, opened):
    models.view.update(mode="image")
    start, end = np.array([[50.0, 24.0]]), np.array([[10.0, 24.0]])
    models.matches.update(table=replace(matches(1, [np.nan]), points_a=start, points_b=end))
    picture = view.grab().toImage()
    first, second = view.canvases
    height = first.mapTo(view, QPoint(0, 0)).y() + round(first.viewport.to_widget((50, 24.0))[1])
    gap = (first.mapTo(view, first.rect().topRight()).x() + 4, height)
    inside = (second.mapTo(view, QPoint(15, 0)).x(), height)
    for place in (gap, inside):
        column = [picture.pixelColor(place[0], place[1] + step).lightness() for step in (-1, 0)]
        assert max(column) > 200
    models.pins.set_pins((Pin(1, Probe("b", (2.0, 24.0))),))
    tip = second.viewport.to_widget((2.0, 24.0))
    head = second.mapTo(view, QPoint(round(tip[0]), round(tip[1]) - 12))
    before = view.grab().toImage().pixelColor(head)
    models.matches.update(visible=False)
    assert view.grab().toImage().pixelColor(head) == before


def test_lines_let_the_pointer_through(view):
    lines = view.findChild(MatchLines)
    assert lines.testAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)


# Display pictures


def test_zoomed_out_the_prepared_copy_is_drawn(view, models):
    size = (1050, 1150, 3)
    image = Image(Path("1.png"), np.full((2100, 2300, 3), 10, np.uint8))
    shrunk = np.full(size, 200, np.uint8)
    pair = ImagePair(image.path, image.path)
    models.pair.set_pair(PairState(pair, image, image, shrunk, shrunk))
    grabbed = view.canvases[0].grab().toImage()
    centre = grabbed.pixelColor(grabbed.width() // 2, grabbed.height() // 2)
    assert abs(centre.red() - 200) <= 2


# Dropping


@pytest.mark.parametrize(
    ("names", "side", "expected"),
    [
        (["a.png"], "b", DropPlan("image", "b")),
        (["ü.JPG"], "", DropPlan("image", "")),
        (["a.png", "b.tif"], "a", DropPlan("pair")),
        (["folder"], "a", DropPlan("folder")),
        (["folder", "a.png"], "a", DropPlan("refused")),
        (["a.png", "b.png", "c.png"], "a", DropPlan("refused")),
        (["notes.pdf"], "a", DropPlan("refused")),
        (["graf.descspace"], "a", DropPlan("session")),
        (["graf.descspace", "a.png"], "a", DropPlan("refused")),
        (["H_1_2"], "a", DropPlan("truth")),
        (["truth.txt"], "", DropPlan("truth")),
        (["truth.XML"], "", DropPlan("truth")),
        (["truth.yml"], "", DropPlan("truth")),
        (["truth.npz"], "", DropPlan("truth")),
        (["folder.png"], "a", DropPlan("folder")),
        ([], "a", DropPlan("refused")),
    ],
)
def test_what_a_drop_would_do_is_decided_by_what_is_dropped(tmp_path, names, side, expected):
    paths = [tmp_path / name for name in names]
    for path in paths:
        if path.name.startswith("folder"):
            path.mkdir()
        else:
            path.touch()
    assert plan_drop(paths, side) == expected


def test_a_drag_says_what_a_drop_will_do_and_a_drop_does_it(view, qtbot, opened, tmp_path, asked):
    path = tmp_path / "neu.png"
    path.touch()
    pane = view._panes[1]
    place = QPointF(pane.mapTo(view, pane.rect().center()))
    banner = view.findChild(DropBanner)
    data, enter = drag_event(QDragEnterEvent, [path], place)
    view.dragEnterEvent(enter)
    assert enter.isAccepted()
    assert banner.isVisible()
    assert banner.text == "Drop: replaces image B"
    assert banner.geometry().center().x() > view.width() / 2
    assert not view.grab().isNull()
    data, drop = drag_event(QDropEvent, [path], place)
    view.dropEvent(drop)
    dropped = asked.of("open_paths")[-1]
    assert dropped == ([path], "b")
    assert banner.isHidden()
    assert data is not None


def test_what_cannot_be_opened_is_refused_with_a_reason(view, qtbot, tmp_path, asked):
    place = QPointF(100, 100)
    _data, enter = drag_event(QDragEnterEvent, [tmp_path / "notes.pdf"], place)
    view.dragEnterEvent(enter)
    assert not enter.isAccepted()
    assert "Only" in view.findChild(DropBanner).text
    _data, drop = drag_event(QDropEvent, [tmp_path / "notes.pdf"], place)
    view.dropEvent(drop)
    assert not asked.of("open_paths")


@pytest.mark.parametrize(
    "addresses",
    [
        ["https://example.org/1.png"],
        ["https://example.org/1.png", "file:///x/1.png"],
        ["file:"],
    ],
)
def test_an_address_that_is_no_file_is_not_opened_nor_the_current_folder(view, asked, addresses):
    data = QMimeData()
    data.setUrls([QUrl(address) for address in addresses])
    drop = QDropEvent(QPointF(100, 100), Qt.DropAction.CopyAction, data, LEFT, NONE)
    view.dropEvent(drop)
    assert not asked.of("open_paths")
    assert not drop.isAccepted()


@pytest.mark.parametrize("size", [(900, 600), (420, 320), (1920, 1080)])
def test_every_size_of_window_paints_without_a_warning(view, models, comparing, size):
    view.resize(*size)
    ask(models, comparing)
    assert not view.grab().isNull()
