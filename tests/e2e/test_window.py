"""The real window, used as a user would: open, look, pin, compare, export, close."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QMenu

from descgui.models.maps_state import DescriptorChoice
from descgui.views import dialogs
from descgui.views.compare_popup import ComparePopup
from descgui.views.figure_dialog import FigureDialog
from engine import images
from engine.api import warp_points, write_image
from tests.e2e.driving import (
    H_B_FROM_A,
    SIZE_PX,
    WAIT_MS,
    click,
    close,
    drop,
    hover,
    open_ready,
    picture,
    wait_rest,
)


def test_a_folder_opens_and_the_mouse_finds_the_true_point(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    assert [s.name for s in window.models.browser.listed()] == ["i_light", "v_turn"]
    answer = hover(qtbot, window, 0, (100.0, 70.0))
    truth = warp_points(H_B_FROM_A, np.array(answer.request.point_px))
    np.testing.assert_allclose(answer.truth_px, truth, atol=1e-6)
    assert answer.error_px is not None
    assert answer.error_px < 1.5
    assert answer.heat is not None
    assert answer.heat.shape == SIZE_PX[::-1]
    back = hover(qtbot, window, 1, (90.0, 80.0))
    assert back.request.side == "b"
    assert back.error_px < 1.5


def test_the_next_pair_opens_and_finished_maps_are_at_hand_again(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    window.actions["next_pair"].trigger()
    qtbot.waitUntil(lambda: window.models.browser.state.index == 3, timeout=WAIT_MS)
    wait_rest(qtbot, window)
    stages: list[str] = []
    window.models.maps.status_changed.connect(lambda _side, status: stages.append(status.stage))
    window.actions["previous_pair"].trigger()
    qtbot.waitUntil(lambda: window.models.browser.state.index == 2, timeout=WAIT_MS)
    wait_rest(qtbot, window)
    assert window.models.maps.ready
    assert "computing" not in stages


def test_two_dropped_images_open_as_a_pair_without_truth(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    first, second = sequences / "v_turn" / "1.png", sequences / "v_turn" / "2.png"
    drop(window, [first, second])
    qtbot.waitUntil(
        lambda: window.models.pair.state.pair.path_a == first and window.models.maps.ready,
        timeout=WAIT_MS,
    )
    assert window.models.pair.state.pair.path_b == second
    answer = hover(qtbot, window, 0, (100.0, 70.0))
    assert answer.truth_px is None
    assert answer.error_px is None


def test_a_folder_with_just_two_images_opens_as_a_pair(qtbot, open_window, sequences, tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("10.png", "9.png"):  # in natural order, 9 comes first
        write_image(folder / name, picture(1))
    window = open_ready(qtbot, open_window, folder)
    pair = window.models.pair.state.pair
    assert (pair.path_a.name, pair.path_b.name) == ("9.png", "10.png")
    with qtbot.waitSignal(window.models.pair.failed, timeout=WAIT_MS) as failed:
        window.pairs.open_set(str(tmp_path / "gone"))
    assert "gone" in failed.args[0]
    assert "does not exist" in failed.args[0]


def test_one_image_dropped_on_a_pane_replaces_that_side(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    before = window.models.pair.state.pair
    other = sequences / "v_turn" / "1.png"
    drop(window, [other], pane=1)
    qtbot.waitUntil(lambda: window.models.pair.state.pair.path_b == other, timeout=WAIT_MS)
    assert window.models.pair.state.pair.path_a == before.path_a


def test_a_homography_dropped_on_a_free_pair_gives_it_truth(qtbot, open_window, sequences):
    folder = sequences / "v_turn"
    window = open_ready(qtbot, open_window, folder / "1.png", folder / "2.png")
    assert window.models.pair.state.truth is None
    drop(window, [folder / "H_1_2"])
    qtbot.waitUntil(lambda: window.models.pair.state.truth is not None, timeout=WAIT_MS)
    answer = hover(qtbot, window, 0, (100.0, 70.0))
    assert answer.error_px < 1.5


def test_a_click_pins_and_undo_redo_and_delete_work(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    pins, canvas = window.models.pins, window.pair_view.canvases[0]
    click(qtbot, canvas, (60.0, 50.0))
    qtbot.waitUntil(lambda: len(pins.pins) == 1 and pins.pins[0].answer is not None)
    assert pins.pins[0].answer.error_px < 1.5
    click(qtbot, canvas, (140.0, 100.0))
    assert [pin.number for pin in pins.pins] == [1, 2]
    window.actions["undo"].trigger()
    assert [pin.number for pin in pins.pins] == [1]
    window.actions["redo"].trigger()
    assert [pin.number for pin in pins.pins] == [1, 2]
    pins.select(1)
    window.actions["remove_pin"].trigger()
    assert [pin.number for pin in pins.pins] == [2]
    window.actions["undo"].trigger()
    assert [pin.number for pin in pins.pins] == [1, 2]
    qtbot.waitUntil(lambda: all(pin.answer is not None for pin in pins.pins))


def test_a_right_click_pins_zooms_and_gives_pins_a_true_match_and_points_are_exported(
    qtbot, open_window, sequences, tmp_path, monkeypatch
):
    window = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    models, view = window.models, window.pair_view

    def choose(pane: int, point_px: tuple[float, float], words: str) -> None:
        canvas = view.canvases[pane]
        place = canvas.viewport.to_widget(point_px)
        where = QPoint(round(place[0]), round(place[1]))
        qtbot.mouseClick(canvas, Qt.MouseButton.RightButton, pos=where)
        (menu,) = (one for one in canvas.findChildren(QMenu) if one.isVisible())
        (action,) = (one for one in menu.actions() if words in one.text().replace("&", ""))
        action.trigger()
        menu.close()

    canvas, shift = view.canvases[0], Qt.KeyboardModifier.ShiftModifier
    ends = [QPoint(*map(round, canvas.viewport.to_widget(one))) for one in ((90, 60), (120, 80))]
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, shift, ends[0])
    qtbot.mouseMove(canvas, ends[1])
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, shift, ends[1])
    wait_rest(qtbot, window)
    (boxed,) = models.pins.pins
    assert boxed.probe.region_px == pytest.approx((30.0, 20.0), abs=1.0)
    assert boxed.answer.request.region_px == boxed.probe.region_px
    assert models.probe.answer.request.region_px == boxed.probe.region_px
    window.probes.move_pin(1, "a", 100.0, 72.0)
    assert models.pins.pins[0].probe.region_px == boxed.probe.region_px, "the box moves along"
    window.probes.clear_pins()

    choose(0, (60.0, 50.0), "Pin here")
    wait_rest(qtbot, window)
    assert models.pins.pins[0].answer is not None
    choose(0, (80.0, 70.0), "Zoom here")
    assert not view.canvases[0].fitted
    choose(1, (90.0, 70.0), "true match of pin 2")
    qtbot.waitUntil(lambda: models.pair.state.truth.kind == "points", timeout=WAIT_MS)
    wait_rest(qtbot, window)
    found = models.pair.state.truth.locate("a", np.array([models.pins.pins[0].probe.point_px]))
    np.testing.assert_allclose(found.points_px, [(90.0, 70.0)], atol=1.0)
    for name, begin in (("view.png", b"\x89PNG"), ("points.csv", b"point,"), ("points.md", b"**")):
        target = tmp_path / name
        monkeypatch.setattr(dialogs, "ask_target", lambda *_args, target=target: target)
        if name == "view.png":
            choose(1, (90.0, 70.0), "Save view")
        else:
            window.actions["export_points"].trigger()
        assert target.read_bytes().startswith(begin)
    window.actions["copy_points_markdown"].trigger()
    assert "| pin 2 | A |" in QGuiApplication.clipboard().text()


def test_a_pin_dragged_elsewhere_is_asked_about_anew(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    pins, canvas = window.models.pins, window.pair_view.canvases[0]
    click(qtbot, canvas, (60.0, 50.0))
    qtbot.waitUntil(lambda: bool(pins.pins) and pins.pins[0].answer is not None)
    window.probes.move_pin(1, "a", 120.0, 90.0)
    qtbot.waitUntil(lambda: pins.pins[0].answer is not None)
    assert pins.pins[0].answer.request.point_px == (120.0, 90.0)
    window.actions["undo"].trigger()
    assert pins.pins[0].probe.point_px == pytest.approx((60.0, 50.0), abs=1.0)


def test_a_compared_descriptor_answers_the_same_point_in_its_own_pane(
    qtbot, open_window, sequences
):
    window = open_ready(qtbot, open_window, sequences)
    models = window.models
    models.compared[0].choose(DescriptorChoice("daisy", {"radius_px": 8.0}))
    qtbot.waitUntil(lambda: models.compared[0].ready, timeout=WAIT_MS)
    assert len(window.pair_view.canvases) == 3
    answer = hover(qtbot, window, 0, (100.0, 70.0))
    qtbot.waitUntil(lambda: models.probe.answer_of(1) is not None, timeout=WAIT_MS)
    assert models.probe.answer_of(1).request.point_px == answer.request.point_px
    assert models.probe.answer_of(1).request.recipe != answer.request.recipe
    window.actions["compare"].trigger()
    popup = window.window.findChild(ComparePopup)
    assert popup.isVisible()
    popup.list.setCurrentRow(1)
    popup.remove_button.click()
    popup.close()
    assert len(window.pair_view.canvases) == 2
    assert models.probe.answer_of(1) is None


def test_an_untrained_network_is_shown_as_such(qtbot, open_window, sequences):
    window = open_ready(
        qtbot, open_window, sequences, descriptor="msnet_v0", settings=("untrained=true",)
    )
    assert window.models.maps.status("a").info.trained is False
    header = window.pair_view.canvases[0].parent().header
    assert "untrained" in header.accessibleName()


def test_every_mode_shows_its_picture(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    pictures = window.models.pictures
    for mode, field in (
        ("pca", "pca"),
        ("warp", "warped_b"),
        ("cycle", "cycle_a"),
        ("error", "errors_b"),
    ):
        window.actions[f"mode_{mode}"].trigger()
        qtbot.waitUntil(
            lambda field=field: getattr(pictures.state, field) is not None, timeout=WAIT_MS
        )
        assert pictures.state.problem == ""
    explained = pictures.state.pca.explained
    assert 0.0 < sum(explained) <= 1.0
    assert list(explained) == sorted(explained, reverse=True)


def test_matches_are_found_filtered_and_exported(
    qtbot, open_window, sequences, tmp_path, monkeypatch
):
    window = open_ready(qtbot, open_window, sequences)
    matches = window.models.matches
    matches.update(count=60)
    window.actions["run_matches"].trigger()
    qtbot.waitUntil(lambda: matches.state.table is not None, timeout=WAIT_MS)
    state = matches.state
    assert state.table.mutual.sum() > 20
    assert state.correct(3.0)[state.table.mutual].mean() > 0.9
    matches.update(min_similarity=2.0)
    assert not matches.state.shown().any()
    target = tmp_path / "matches.csv"
    monkeypatch.setattr(dialogs, "ask_target", lambda *_args: target)
    window.actions["export_matches"].trigger()
    rows = list(csv.DictReader(target.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(state.table.points_a)
    np.testing.assert_allclose(float(rows[0]["x_a"]), state.table.points_a[0, 0], atol=1e-3)


def test_pictures_figures_and_the_command_can_be_taken_out(
    qtbot, open_window, sequences, tmp_path, monkeypatch
):
    window = open_ready(qtbot, open_window, sequences)
    click(qtbot, window.pair_view.canvases[0], (60.0, 50.0))
    wait_rest(qtbot, window)
    for action, name in (
        ("export_canvas", "pair.png"),
        ("export_window", "window.png"),
        ("export_figure", "figure.svg"),
        ("export_figure", "figure.png"),
    ):
        target = tmp_path / name
        monkeypatch.setattr(dialogs, "ask_target", lambda *_args, target=target: target)
        window.actions[action].trigger()
        for dialog in window.window.findChildren(FigureDialog):
            dialog.export.click()
        wait_rest(qtbot, window)
        assert target.stat().st_size > 1000, action
        if target.suffix == ".png":
            assert not QImage(str(target)).isNull()
    window.actions["copy_command"].trigger()
    command = QGuiApplication.clipboard().text()
    assert command.startswith("python main.py view")
    assert "i_light" in command
    assert "--pair 2" in command
    window.actions["copy_canvas"].trigger()
    assert not QGuiApplication.clipboard().image().isNull()


def test_what_cannot_be_opened_is_named_and_the_old_pair_stays(
    qtbot, open_window, sequences, tmp_path
):
    window = open_ready(qtbot, open_window, sequences)
    models, before = window.models, window.models.pair.state
    whole = (sequences / "v_turn" / "1.png").read_bytes()
    for kind, content, point_px in (
        ("missing", None, (100.0, 70.0)),
        ("text", b"not a picture", (90.0, 60.0)),
        ("truncated", whole[: len(whole) // 2], (80.0, 80.0)),
    ):
        broken = tmp_path / f"{kind}.png"
        if content is not None:
            broken.write_bytes(content)
        with qtbot.waitSignal(models.pair.failed, timeout=WAIT_MS) as failed:
            window.pairs.open_files(broken, broken)
        assert broken.name in failed.args[0]
        assert models.pair.state is before
        assert models.pair.loading == ""
        assert models.maps.ready
        assert hover(qtbot, window, 0, point_px).error_px < 1.5
        assert models.messages.messages[-1].level == "error"


def test_a_wrong_setting_is_said_in_words_and_the_next_choice_works(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    models = window.models
    models.maps.choose(DescriptorChoice("daisy", {"rings": -3}))
    assert models.maps.status("a").stage == "failed"
    assert "rings" in models.maps.status("a").message
    models.maps.choose(DescriptorChoice("daisy"))
    qtbot.waitUntil(lambda: models.maps.ready, timeout=WAIT_MS)


def test_superpoint_without_weights_says_where_to_get_them(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    models = window.models
    models.maps.choose(DescriptorChoice("superpoint"))
    qtbot.waitUntil(lambda: models.maps.status("a").stage == "failed", timeout=WAIT_MS)
    assert "weights" in models.maps.status("a").message.lower()
    wait_rest(qtbot, window)


def test_the_window_closes_while_it_computes_and_leaves_no_thread(qtbot, open_window, tmp_path):
    large = np.random.default_rng(0).integers(0, 255, (1200, 1600, 3), dtype=np.uint8)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        write_image(path, large)
    window = open_window(*paths)
    qtbot.waitUntil(
        lambda: window.models.maps.status("a").stage in ("computing", "waiting"), timeout=WAIT_MS
    )
    close(qtbot, window)
    assert not window.busy
    assert not window.window.isVisible()


def test_the_last_pair_comes_back_at_the_next_start(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    window.actions["next_pair"].trigger()
    qtbot.waitUntil(lambda: window.models.browser.state.index == 3, timeout=WAIT_MS)
    close(qtbot, window)
    again = open_ready(qtbot, open_window)
    assert again.models.pair.state.pair.name == "i_light 1 → 3"


def test_each_image_is_read_once_for_the_window_and_for_describing(
    qtbot, open_window, sequences, monkeypatch
):
    read: list[str] = []

    def count(path: Path, **options: object) -> images.Image:
        read.append(path.name)
        return images_read(path, **options)

    images_read = images.read_image
    monkeypatch.setattr(images, "read_image", count)
    window = open_ready(qtbot, open_window, sequences)
    for step in (1, -1):
        window.pairs.step(step)
        wait_rest(qtbot, window)
    assert sorted(read) == ["1.png", "2.png", "3.png"]


def test_the_first_start_shows_the_demo(qtbot, open_window):
    window = open_ready(qtbot, open_window)
    state = window.models.pair.state
    assert state.pair.sequence.startswith("v_")
    assert state.truth is not None
