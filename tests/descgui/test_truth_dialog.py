"""What is asked of a file with truth before it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import shiboken6
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDialogButtonBox, QLineEdit

from descgui.controllers.pair_controller import PairController
from descgui.models.bundle import make_models
from descgui.views.truth_dialog import TruthDialog
from engine import api
from engine.api import TruthLook
from engine.truth.named import named_truth

WAIT_MS = 5000
SIZE = WIDTH, HEIGHT = 60, 40


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def pairs(models, close_after):
    controller = PairController(models, lambda image: api.as_uint8(image.pixels))
    close_after(controller.lane)
    return controller


@pytest.fixture
def opened(qtbot, models, pairs, tmp_path):
    """An open pair, and a disparity of 4 px at a factor of 8 beside it."""
    for name in ("left.png", "right.png"):
        api.write_image(tmp_path / name, np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    np.save(tmp_path / "map.npy", np.full((HEIGHT, WIDTH), 32, np.uint8))
    np.save(tmp_path / "kitti.npy", np.full((HEIGHT, WIDTH), 4 * 256, np.uint16))
    np.save(tmp_path / "floats.npy", np.full((HEIGHT, WIDTH), 4.0, np.float32))
    pairs.open_files(tmp_path / "left.png", tmp_path / "right.png")
    qtbot.waitUntil(lambda: models.pair.state is not None, timeout=WAIT_MS)
    return pairs


def dialog_for(qtbot, pairs: PairController, path: Path, image: str = "") -> TruthDialog:
    dialog = TruthDialog(path, api.look_at_truth(path), pairs.truths, image=image)
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def choose(dialog: TruthDialog, kind: str) -> None:
    dialog.kind.setCurrentIndex(dialog.kind.findData(kind))
    dialog.kind.activated.emit(dialog.kind.currentIndex())


def type_in(field: QLineEdit, text: str) -> None:
    field.clear()
    QTest.keyClicks(field, text)


def ok(dialog: TruthDialog):
    return dialog.buttons.button(QDialogButtonBox.StandardButton.Ok)


def test_an_answer_that_comes_after_the_dialog_was_closed_is_dropped(qtbot, opened, tmp_path):
    shows: list[Callable[[str, str], object]] = []

    class Checking:
        def check(self, _text: str, show: Callable[[str, str], object]) -> None:
            shows.append(show)

    path = tmp_path / "map.npy"
    dialog = TruthDialog(path, api.look_at_truth(path), Checking(), image="")
    qtbot.waitUntil(lambda: bool(shows), timeout=WAIT_MS)
    shiboken6.delete(dialog)
    shows[0]("", "shows 100 %")


def answered(qtbot, dialog: TruthDialog) -> str:
    """What the dialog says once it has looked."""
    qtbot.waitUntil(lambda: dialog.summary.sentence != "Looking …", timeout=WAIT_MS)
    return (dialog.problem.sentence or dialog.summary.sentence).replace("\N{NO-BREAK SPACE}", " ")


def test_the_factor_of_whole_numbers_is_asked_and_judged_at_once(qtbot, opened, tmp_path, models):
    dialog = dialog_for(qtbot, opened, tmp_path / "map.npy")
    assert dialog.kind.currentData() == "disparity"
    assert "holds whole numbers; state the factor" in answered(qtbot, dialog)
    assert not ok(dialog).isEnabled()
    type_in(dialog.factor, "none")
    assert "factor is 'none', no number above 0" in answered(qtbot, dialog)
    type_in(dialog.factor, "8")
    assert "Points move by 4 to 4 px" in answered(qtbot, dialog)
    assert ok(dialog).isEnabled()
    assert dialog.problem.isHidden()
    dialog.named.connect(opened.truths.load)
    ok(dialog).click()
    qtbot.waitUntil(lambda: models.pair.state.truth is not None, timeout=WAIT_MS)
    places = models.pair.state.truth.locate("a", np.array([[30.0, 20.0]])).points_px
    np.testing.assert_allclose(places, [[26, 20]], atol=1e-6)
    # The command that is copied says the same.
    text = models.pair.state.truth_text
    assert text == f"disparity:{tmp_path}/map.npy|factor=8"
    assert named_truth(text, Path(), (tmp_path / "left.png", tmp_path / "right.png")).factor == 8


def test_what_has_a_usual_factor_or_none_is_not_asked_for_one(qtbot, opened, tmp_path):
    kitti = dialog_for(qtbot, opened, tmp_path / "kitti.npy")
    assert kitti.factor.placeholderText() == "256, as in KITTI"
    assert "Points move by 4 to 4 px" in answered(qtbot, kitti)
    floats = dialog_for(qtbot, opened, tmp_path / "floats.npy")
    assert not floats.factor.isVisible()
    assert "Points move by 4 to 4 px" in answered(qtbot, floats)


def test_the_direction_turns_a_truth_round(qtbot, opened, tmp_path):
    dialog = dialog_for(qtbot, opened, tmp_path / "kitti.npy")
    answered(qtbot, dialog)
    dialog.way.setCurrentIndex(1)
    dialog.way.activated.emit(1)
    assert dialog.way.currentText() == "B is the left image"
    assert dialog.text.endswith("|from=b")
    assert "Points move by 4 to 4 px" in answered(qtbot, dialog)
    choose(dialog, "flow")
    assert dialog.way.currentText() == "from B to A"
    assert "holds 1 number for each pixel, and flow is 2" in answered(qtbot, dialog)


def test_depth_asks_for_the_other_map_and_for_cameras(qtbot, opened, tmp_path):
    pose = "1 0 0 0 1 0 0 0 1"
    views = tmp_path / "views.txt"
    views.write_text(
        f"left.png {pose} 0 0 0 PINHOLE {WIDTH} {HEIGHT} 50 50 30 20\n"
        f"right.png {pose} 0.32 0 0 PINHOLE {WIDTH} {HEIGHT} 50 50 30 20\n"
    )
    dialog = dialog_for(qtbot, opened, tmp_path / "floats.npy")
    choose(dialog, "depth")
    fields = (dialog.second, dialog.cameras, dialog.way)
    assert [field.isVisible() for field in fields] == [True, True, False]
    assert "names 1 file, and depth takes 2" in answered(qtbot, dialog)
    type_in(dialog.second, str(tmp_path / "floats.npy"))
    assert "names no cameras=" in answered(qtbot, dialog)
    type_in(dialog.cameras, str(views))
    assert "Points move by 4 to 4 px" in answered(qtbot, dialog)
    choose(dialog, "points")
    assert not dialog.second.isVisible()
    assert dialog.text == f"points:{tmp_path}/floats.npy"


def test_a_dropped_map_of_the_images_size_is_asked_about_and_may_be_an_image(
    qtbot, opened, models, tmp_path
):
    asked: list[tuple[Path, TruthLook, str]] = []
    opened.truth_unclear.connect(lambda *one: asked.append(one))
    deep = np.full((HEIGHT, WIDTH), 1024, np.uint16)
    api.write_image(tmp_path / "small.png", np.full((10, 10, 3), 90, np.uint8))
    for name in ("any.png", "other.png"):
        assert cv2.imwrite(str(tmp_path / name), deep if name == "any.png" else deep[:20])
    opened.open_paths([tmp_path / "any.png"], "b")
    qtbot.waitUntil(lambda: bool(asked), timeout=WAIT_MS)
    ((path, look, side),) = asked
    assert (path.name, look.numbers, side) == ("any.png", "16-bit", "b")
    dialog = TruthDialog(path, look, opened.truths, image="image B")
    qtbot.addWidget(dialog)
    assert dialog.kind.currentText() == "No truth, but image B"
    assert ok(dialog).isEnabled()
    assert dialog.text == ""
    dialog.image_wanted.connect(lambda: opened.replace_side(path, side))
    dialog.accept()
    qtbot.waitUntil(lambda: models.pair.state.pair.path_b == path, timeout=WAIT_MS)
    # Of another size it can only be an image.
    opened.open_paths([tmp_path / "other.png"], "b")
    qtbot.waitUntil(lambda: models.pair.state.pair.path_b.name == "other.png", timeout=WAIT_MS)
    assert len(asked) == 1


def test_a_dropped_file_that_tells_its_kind_is_loaded_and_another_one_asked_about(
    qtbot, opened, models, tmp_path
):
    asked: list[tuple[Path, TruthLook, str]] = []
    opened.truth_unclear.connect(lambda *one: asked.append(one))
    np.save(tmp_path / "H.npy", np.eye(3))
    opened.open_paths([tmp_path / "H.npy"])
    qtbot.waitUntil(lambda: models.pair.state.truth is not None, timeout=WAIT_MS)
    assert not asked
    opened.open_paths([tmp_path / "map.npy"])
    qtbot.waitUntil(lambda: bool(asked), timeout=WAIT_MS)
    assert (asked[0][0].name, asked[0][2]) == ("map.npy", "")
