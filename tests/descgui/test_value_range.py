"""Black and white points in the window: opened, shown, changed, and taken back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from descgui.controllers.pair_controller import PairController
from descgui.models.bundle import AppModels, make_models
from descgui.views.pane import PaneHeader
from descgui.views.pixels import block_means, prepare_display, rgb_image
from descgui.views.range_dialog import RangeDialog
from descgui.views.status_bar import StatusBar
from engine.api import ValueRange

WAIT_MS = 5000
SHARE = np.random.default_rng(7).random((24, 32))


@pytest.fixture
def models(qapp: object, tmp_path: Path) -> AppModels:
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def pairs(models: AppModels) -> PairController:
    return PairController(models, prepare_display)


def wait(qtbot: QtBot, pairs: PairController) -> None:
    qtbot.waitUntil(lambda: not pairs.lane.busy, timeout=WAIT_MS)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """12-bit data in a 16-bit file, and the same as floats of another range."""
    deep = np.floor(SHARE * 4096).astype(np.uint16)
    deep[0, 0] = 4095
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", (3.5 - 9 * SHARE).astype(np.float32),
                     photometric="minisblack")  # fmt: skip
    return tmp_path / "a.tif", tmp_path / "b.tif"


@pytest.fixture
def opened(qtbot: QtBot, models: AppModels, pairs: PairController, files) -> PairController:
    pairs.open_files(*files)
    wait(qtbot, pairs)
    return pairs


@pytest.fixture
def dialog(qtbot: QtBot, models: AppModels, opened: PairController) -> RangeDialog:
    dialog = RangeDialog(models, opened)
    qtbot.addWidget(dialog)
    dialog.show()
    return dialog


def type_in(field, text: str) -> None:
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, text)
    field.editingFinished.emit()


def test_12_bit_data_are_not_shown_black(models, opened):
    state = models.pair.state
    assert state.display_a.max() == 255
    expected = np.floor(SHARE * 4096) * 255 / 4095
    np.testing.assert_allclose(state.display_a[1:, :, 0], expected[1:], atol=0.51)
    assert state.pair.range_a is None


def test_a_range_of_the_command_line_holds_from_the_start(qtbot, models, pairs, files):
    pairs.open_files(*files, ranges=(ValueRange(0, 1000), None))
    wait(qtbot, pairs)
    assert models.pair.state.image_a.range == ValueRange(0, 1000)
    assert models.pair.state.pair.range_a == ValueRange(0, 1000)
    assert (models.pair.state.display_a[SHARE > 0.3] == 255).all()


def test_typed_points_change_one_image_and_its_request(qtbot, models, opened, dialog):
    before = models.pair.state
    type_in(dialog.rows["a"].white, "2000")
    wait(qtbot, opened)
    after = models.pair.state
    assert after.pair.range_a == ValueRange(0, 2000)
    assert after.image_b is before.image_b
    assert after.image_a.samples is before.image_a.samples, "the file is not read again"
    assert (after.display_a[SHARE > 0.5] == 255).all()
    dialog.rows["a"].automatic.click()
    wait(qtbot, opened)
    assert models.pair.state.pair.range_a is None
    np.testing.assert_array_equal(models.pair.state.display_a, before.display_a)


def test_the_other_buttons_fit_and_share_a_range(qtbot, models, opened, dialog):
    dialog.rows["b"].fit.click()
    wait(qtbot, opened)
    values = models.pair.state.image_b.samples
    assert models.pair.state.image_b.range.ends == (values.min(), values.max())
    dialog.rows["a"].both.click()
    wait(qtbot, opened)
    assert models.pair.state.pair.range_b == ValueRange(0, 4095)
    assert dialog.rows["b"].white.text() == "4095"


def test_two_changes_in_a_row_both_hold(qtbot, models, opened):
    opened.show_range("a", ValueRange(1, 2))
    opened.show_range("b", ValueRange(3, 4))
    qtbot.waitUntil(lambda: models.pair.state.pair.range_b == ValueRange(3, 4), timeout=WAIT_MS)
    wait(qtbot, opened)
    assert models.pair.state.pair.range_a == ValueRange(1, 2)


def test_a_change_that_comes_after_another_pair_is_dropped(qtbot, models, opened, files, tmp_path):
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.zeros((24, 32), np.uint8), photometric="minisblack")
    opened.show_range("a", ValueRange(1, 2))
    opened.open_files(other, other)
    wait(qtbot, opened)
    assert models.pair.state.pair.path_a == other
    assert models.pair.state.pair.range_a is None


@pytest.mark.parametrize(("text", "said"), [("-5", "White (-5) has to be above"), ("x", "numbers")])
def test_what_is_no_range_is_said_and_changes_nothing(qtbot, models, opened, dialog, text, said):
    before = models.pair.state
    type_in(dialog.rows["a"].white, text)
    assert said in dialog.rows["a"].problem.sentence
    wait(qtbot, opened)
    assert models.pair.state is before


def test_different_ranges_of_images_of_one_kind_are_said(qtbot, models, pairs, tmp_path):
    said: list[str] = []
    models.messages.notified.connect(lambda message: said.append(message.text))
    for name, top in (("a.tif", 4095), ("b.tif", 1000)):
        values = np.floor(SHARE * top).astype(np.uint16)
        values[0, 0] = top
        tifffile.imwrite(tmp_path / name, values, photometric="minisblack")
    pairs.open_files(tmp_path / "a.tif", tmp_path / "b.tif")
    wait(qtbot, pairs)
    assert any("A 0 to 4095, B 0 to 1023" in text for text in said)


def test_the_header_shows_the_range_and_asks_for_another(qtbot):
    header = PaneHeader()
    qtbot.addWidget(header)
    header.resize(400, header.sizeHint().height())
    header.show()
    header.set_image("A", "a.tif", (32, 24))
    assert header._range.isHidden()
    header.set_image(
        "A", "a.tif", (32, 24), values=("0 to 4095", "12-bit in 16-bit, 0 to 4095"),
        remarks=("a.tif is odd.",),
    )  # fmt: skip
    assert header._range.isVisible()
    assert "12-bit in 16-bit, 0 to 4095" in header.toolTip()
    assert "a.tif is odd." in header.accessibleName()
    with qtbot.waitSignal(header.range_requested):
        header._range.click()
    header.grab()


def test_the_status_bar_shows_the_files_own_values(qtbot, models, opened):
    from descgui.models.probe_state import Probe

    bar = StatusBar(models)
    qtbot.addWidget(bar)
    models.probe.move(Probe("a", (0.0, 0.0)))
    assert bar.pixel.text() == "(0, 0)  RGB 4095 4095 4095"
    models.probe.move(Probe("b", (5.0, 3.0)))
    value = float(models.pair.state.image_b.samples[3, 5, 0])
    assert f"{value:.5g}" in bar.pixel.text()
    assert "12-bit in 16-bit, 0 to 4095" in bar.pair.toolTip()


def test_floats_are_shrunk_and_drawn_like_whole_numbers():
    pixels = np.repeat(SHARE[..., None], 3, axis=2).astype(np.float32)
    means = block_means(pixels, 5)
    assert means.shape == (5, 7, 3)
    np.testing.assert_allclose(means[1, 2, 0], SHARE[5:10, 10:15].mean(), rtol=1e-6)
    np.testing.assert_allclose(means[4, 6, 0], SHARE[20:, 30:].mean(), rtol=1e-6)
    picture = rgb_image(pixels)
    assert picture.pixelColor(9, 4).red() == round(255 * float(np.float32(SHARE[4, 9])))
