"""The live probe of a training: frames by step, scrubbed, followed, compared and thinned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor

from descgui.models.training_curves_data import (
    MOST_FRAMES,
    frames_bytes,
    insert_frame,
    thin_frames,
)
from descgui.models.training_state import TrainingModel, TrainingStatus
from descgui.views.training_probe import PLAY_MS, TrainingProbe
from engine.api import Preview

NAMES = ("pair", "pca", "matches", "negatives")
SHADES = {"pair": 40, "pca": 90, "matches": 140, "negatives": 190}


def solid(color, height=6, width=16):
    return np.full((height, width, 3), color, np.uint8)


def frame(step, names=NAMES):
    """Each picture has a single colour that encodes its name and step."""
    return Preview(
        step,
        {name: solid((SHADES[name], 0 if name == "pair" else step % 251, 7)) for name in names},
    )


@pytest.fixture
def model(qapp):
    made = TrainingModel()
    made.status.set(TrainingStatus("running", Path("run")))
    made.frames.begin_live(Path("run"), ())
    return made


@pytest.fixture
def view(qtbot, model):
    made = TrainingProbe(model)
    qtbot.addWidget(made)
    made.resize(500, 320)
    made.show()
    return made


def heard(signal):
    seen = []
    signal.connect(seen.append)
    return seen


def shown_colors(view):
    """The colours in the middle of each picture that is drawn."""
    picture = view.picture.grab().toImage()
    ratio = picture.devicePixelRatio()
    return [
        picture.pixelColor((place.center() * ratio).toPoint()) for place in view.picture.places()
    ]


def color(name, step):
    return QColor(SHADES[name], 0 if name == "pair" else step % 251, 7)


# Frames


def test_frames_are_kept_by_step_and_the_later_one_of_a_step_stands():
    frames = ()
    for step in (30, 10, 20, 10):
        frames = insert_frame(frames, frame(step))
    assert [one.step for one in frames] == [10, 20, 30]
    newer = Preview(20, {"pair": solid((1, 2, 3))})
    assert list(insert_frame(frames, newer)[1].pictures) == ["pair"]


def test_a_picture_that_stays_the_same_is_kept_once():
    frames = ()
    for step in range(5):
        frames = insert_frame(frames, frame(step, ("pair", "pca")))
    assert len({id(one.pictures["pair"]) for one in frames}) == 1
    assert frames_bytes(frames) == 6 * solid(0).nbytes


@given(
    st.sets(st.integers(0, 5000), min_size=1, max_size=120),
    st.integers(2, 30),
)
def test_thinning_keeps_the_ends_and_no_more_than_there_is_room_for(steps, most):
    ordered = sorted(steps)
    kept = [one.step for one in thin_frames([frame(step, ()) for step in ordered], most=most)]
    assert len(kept) == min(len(ordered), most)
    assert kept[0] == ordered[0]
    assert kept[-1] == ordered[-1]
    assert set(kept) <= steps
    assert kept == sorted(kept)


def test_frames_added_one_by_one_stay_evenly_spread():
    """However often is thinned, no gap grows beyond a few times what an even spread has."""
    kept = ()
    for step in range(0, 100_000, 100):
        kept = thin_frames(insert_frame(kept, frame(step, ())), most=50)
    gaps = np.diff([one.step for one in kept])
    assert len(kept) == 50
    assert gaps.max() <= 2.1 * 100_000 / 50


def test_frames_are_thinned_to_the_memory_there_is():
    frames = [Preview(step, {"pca": solid(step, 10, 10)}) for step in range(20)]
    assert len(thin_frames(frames, most_bytes=1500)) == 5
    assert len(thin_frames(frames, most_bytes=0)) == 2


# The widget


def test_without_frames_it_says_so_and_keys_do_nothing(view, model, qtbot):
    assert view.empty.isVisible()
    assert view.empty.text().startswith("No pictures yet:")
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.step is None
    model.frames.begin_live(Path("run"), [frame(0)])
    assert not view.empty.isVisible()
    model.frames.begin_live(Path("run"), ())
    assert view.empty.isVisible()


def test_the_newest_frame_is_followed_until_a_person_goes_elsewhere(view, model, qtbot):
    chosen = heard(view.step_chosen)
    for step in (0, 100, 200):
        model.frames.add(frame(step))
    assert view.step == 200
    assert shown_colors(view) == [color("matches", 200)]
    view.slider.setValue(1)
    assert view.step == 100
    assert not view.follow_button.isChecked()
    model.frames.add(frame(300))
    assert view.step == 100
    assert shown_colors(view) == [color("matches", 100)]
    view.follow_button.click()
    assert view.step == 300
    model.frames.add(frame(400))
    assert view.step == 400
    assert view.step_label.text() == "Step 400"
    assert chosen == [100]


def test_buttons_and_keys_go_from_frame_to_frame(view, model, qtbot):
    model.frames.begin_live(Path("run"), [frame(step) for step in (0, 50, 100)])
    chosen = heard(view.step_chosen)
    view.previous_button.click()
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert not view.previous_button.isEnabled()
    qtbot.keyClick(view, Qt.Key.Key_Left)
    view.next_button.click()
    qtbot.keyClick(view.slider, Qt.Key.Key_Right)
    qtbot.keyClick(view, Qt.Key.Key_Home)
    qtbot.keyClick(view, Qt.Key.Key_End)
    assert chosen == [50, 0, 50, 100, 0, 100]
    assert not view.next_button.isEnabled()


def test_the_pictures_are_offered_in_their_usual_order_and_any_other_after_them(view, model):
    odd = Preview(0, {"zebra": solid(9), **{name: solid(9) for name in reversed(NAMES)}})
    model.frames.begin_live(Path("run"), [odd])
    words = [button.text() for button in view._tabs.buttons()]
    assert words == ["Pair", "PCA", "Matches", "Negatives", "zebra"]
    assert view.picture_name == "matches"


def test_another_picture_is_chosen_by_its_tab(view, model):
    model.frames.begin_live(Path("run"), [frame(0), frame(100)])
    view._tabs.buttons()[1].click()
    assert view.picture_name == "pca"
    assert shown_colors(view) == [color("pca", 100)]
    model.frames.add(frame(200))
    assert shown_colors(view) == [color("pca", 200)]
    view.choose_picture("nothing of the kind")
    assert view.picture_name == "pca"


def test_a_frame_without_the_chosen_picture_shows_none_and_the_next_one_does(view, model):
    model.frames.begin_live(Path("run"), [frame(0), frame(100, ("pair",))])
    view.choose_picture("pca")
    assert view.picture.places() == ()
    view.choose_step(0)
    assert shown_colors(view) == [color("pca", 0)]


def test_the_first_frame_stands_beside_the_one_in_view(view, model):
    model.frames.begin_live(Path("run"), [frame(step) for step in (10, 60, 110)])
    view.compare_button.click()
    assert view.picture.captions == ("Step 10", "Step 110")
    assert shown_colors(view) == [color("matches", 10), color("matches", 110)]
    view.choose_step(60)
    assert shown_colors(view) == [color("matches", 10), color("matches", 60)]
    first, second = view.picture.places()
    assert not first.intersects(second)


@pytest.mark.parametrize("size", [(300, 200), (420, 300), (900, 500), (1600, 500), (260, 900)])
@pytest.mark.parametrize("compared", [False, True])
def test_pictures_keep_their_aspect_and_stay_inside(view, model, size, compared):
    view.resize(*size)
    model.frames.begin_live(Path("run"), [frame(0), frame(100)])
    view.compare_button.setChecked(compared)
    view.picture.grab()
    for place in view.picture.places():
        assert place.width() / place.height() == pytest.approx(16 / 6)
        inside = view.picture.rect().toRectF().adjusted(-0.01, -0.01, 0.01, 0.01)
        assert inside.contains(place)


def test_play_goes_through_the_frames_and_stops_at_the_end(view, model, qtbot):
    model.frames.begin_live(Path("run"), [frame(step) for step in (0, 50, 100)])
    view.play_button.click()
    assert view.playing
    assert view.step == 0
    assert not view.follow_button.isChecked()
    qtbot.waitUntil(lambda: not view.playing, timeout=20 * PLAY_MS)
    assert view.step == 100
    qtbot.keyClick(view, Qt.Key.Key_Space)
    assert view.playing
    view.slider.setValue(1)
    assert not view.playing


def test_playing_ends_when_nobody_looks(view, model):
    model.frames.begin_live(Path("run"), [frame(0), frame(50)])
    view.play_button.click()
    view.hide()
    assert not view.playing


def test_frames_that_are_set_anew_leave_a_person_where_they_were(view, model):
    model.frames.begin_live(Path("run"), [frame(step) for step in (0, 50, 100)])
    view.choose_step(50)
    model.frames.begin_live(Path("run"), [frame(step) for step in (40, 60, 90, 0)])
    assert [one.step for one in model.frames.shown] == [0, 40, 60, 90]
    assert view.step == 40
    assert view.slider.maximum() == 3


def test_there_are_never_more_frames_than_memory_is_kept_for(view, model):
    model.frames.begin_live(Path("run"), [frame(step, ("pca",)) for step in range(0, 3000, 10)])
    assert len(model.frames.shown) == MOST_FRAMES
    model.frames.add(frame(5000, ("pca",)))
    assert len(model.frames.shown) == MOST_FRAMES
    assert view.step == 5000
    assert model.frames.shown[0].step == 0


def test_one_frame_can_neither_be_played_nor_compared(view, model):
    model.frames.begin_live(Path("run"), [frame(0)])
    for control in (view.play_button, view.compare_button, view.slider, view.next_button):
        assert not control.isEnabled()


def test_odd_arrays_are_drawn(view, model):
    wide = np.zeros((5, 7, 6), np.uint8)[:, :, ::2]
    model.frames.begin_live(
        Path("run"), [Preview(0, {"pair": wide}), Preview(1, {"pair": solid(3, 1, 1)})]
    )
    view.compare_button.setChecked(True)
    assert len(shown_colors(view)) == 2


def test_every_control_says_what_it_is(view, model):
    model.frames.begin_live(Path("run"), [frame(0), frame(50)])
    for control in (
        view.previous_button, view.play_button, view.next_button, view.slider,
        view.follow_button, view.compare_button, view.picture, *view._tabs.buttons(),
    ):  # fmt: skip
        assert control.accessibleName()
