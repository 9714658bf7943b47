"""The dialog of the PCA colours: what it shows, and what it writes into the view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from descgui.models.bundle import make_models
from descgui.models.maps_state import MapStatus
from descgui.models.pictures_state import PicturesState
from descgui.views.pca_dialog import ExplainedBars, PcaDialog
from engine.api import PLAIN, Colouring, Extent, MapInfo, PcaAnswer, Picture
from tests.descgui.pair_sets import a_set

PICTURE = Picture(np.zeros((2, 2, 3), dtype=np.uint8), Extent(0, 0, 1, 1))
INFO = MapInfo(
    size_px=(64, 48),
    working_size_px=(64, 48),
    cells=(16, 12),
    stride_px=4.0,
    levels=3,
    dim=8,
    size_bytes=1,
    seconds=0.1,
    device="cpu",
    trained=True,
)


def answer(*explained: float, colouring: Colouring = PLAIN) -> PcaAnswer:
    return PcaAnswer(
        a=PICTURE, b=PICTURE, explained=explained, colouring=colouring, fitted_on="7 images, net"
    )


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def dialog(qtbot, models, asked) -> PcaDialog:
    made = PcaDialog(models, asked)
    qtbot.addWidget(made)
    made.show()
    return made


def pick(combo, value) -> None:
    combo.setCurrentIndex(combo.findData(value))
    combo.activated.emit(combo.currentIndex())


def test_the_fit_is_written_to_the_view_and_a_file_is_asked_for(dialog, models, asked):
    pick(dialog.fit, "a")
    assert models.view.state.pca_fit == "a"
    pick(dialog.fit, "file")
    assert asked.calls == [("load_basis", ())]
    assert models.view.state.pca_fit == "a"
    assert dialog.fit.currentData() == "a"
    models.view.update(pca_fit="file")
    assert dialog.fit.currentData() == "file"


def test_all_images_can_be_chosen_while_a_folder_is_open(dialog, models):
    entry = dialog.fit.model().item(dialog.fit.findData("all"))
    assert not entry.isEnabled()
    models.browser.set_dataset(a_set(Path("/d")))
    assert entry.isEnabled()
    pick(dialog.fit, "all")
    assert models.view.state.pca_fit == "all"


def test_levels_can_be_chosen_for_sets_only(dialog, models):
    assert not dialog.level.isVisible()
    models.maps.set_status("a", MapStatus("ready", info=INFO))
    assert dialog.level.isVisible()
    pick(dialog.level, 2)
    assert models.view.state.pca_level == 2


def test_each_colour_takes_any_component_either_way_round(dialog, models):
    pick(dialog.components[0], 4)
    pick(dialog.components[2], 0)
    dialog.flips[1].click()
    expected = Colouring(components=(4, 1, 0), flipped=(False, True, False))
    assert models.view.state.pca_colouring == expected
    models.view.update(pca_colouring=Colouring(components=(2, 3, 5), foreground=0.25))
    assert [combo.currentData() for combo in dialog.components] == [2, 3, 5]
    assert not dialog.flips[1].isChecked()
    assert (dialog.foreground.isChecked(), dialog.threshold.value()) == (True, 25)
    dialog.reset.click()
    assert models.view.state.pca_colouring == PLAIN


def test_the_foreground_follows_its_slider_and_can_be_inverted(dialog, models):
    assert not dialog.threshold.isEnabled()
    dialog.foreground.click()
    assert models.view.state.pca_colouring == Colouring(foreground=0.5)
    dialog.threshold.setFocus()
    QTest.keyClick(dialog.threshold, Qt.Key.Key_PageUp)
    dialog.inverted.click()
    assert models.view.state.pca_colouring == Colouring(foreground=0.6, inverted=True)
    dialog.foreground.click()
    assert models.view.state.pca_colouring.foreground is None


def test_shares_are_shown_for_each_component_and_for_the_colours(dialog, models, asked):
    assert not dialog.save_basis.isEnabled()
    assert not dialog.bars.isVisible()
    shown = Colouring(components=(0, 3, 3))
    models.view.update(pca_colouring=shown)
    models.pictures.update(pca=answer(0.312, 0.2, 0.1, 0.05, colouring=shown))
    assert dialog.components[0].itemText(0).split() == ["1", "31.2", "%"]
    assert dialog.components[1].currentText().split() == ["4", "5.0", "%"]
    assert "36.2 %" in dialog.explained.sentence  # component 4 counts once
    assert "7 images, net" in dialog.explained.sentence
    assert "Component 4: 5.0 % (green, blue)" in dialog.bars.accessibleDescription()
    dialog.save_basis.click()
    assert asked.calls == [("save_basis", ())]
    models.pictures.set(PicturesState(problem="b.npz: is damaged."))
    assert not dialog.save_basis.isEnabled()
    assert dialog.explained.sentence == "b.npz: is damaged."


def test_a_bar_is_as_high_as_its_share_and_has_the_colours_that_show_it(qtbot):
    bars = ExplainedBars()
    qtbot.addWidget(bars)
    bars.resize(200, bars.sizeHint().height())
    bars.show_shares((0.4, 0.2, 0.1, 0.1), (1, 0, 0))
    picture = bars.grab().toImage()
    red, green, blue = (colour.rgb() for colour in ExplainedBars.COLOURS)
    column = [picture.pixelColor(75, y).rgb() for y in range(picture.height())]
    halves = [[picture.pixelColor(x, y).rgb() for y in range(picture.height())] for x in (12, 37)]
    assert column.count(red) == pytest.approx(22, abs=1)  # half of 44
    assert [half.count(colour) for half, colour in zip(halves, (green, blue), strict=True)] == [
        pytest.approx(44, abs=1)
    ] * 2
    grey = [picture.pixelColor(125, y).rgb() for y in range(picture.height())]
    assert not {red, green, blue} & set(grey)


def test_the_keyboard_reaches_every_field_and_escape_closes(dialog, models):
    dialog.foreground.click()
    models.pictures.update(pca=answer(0.3, 0.2, 0.1))
    dialog.activateWindow()
    dialog.fit.setFocus()
    seen = {dialog.fit}
    for _ in range(20):
        QTest.keyClick(dialog.focusWidget(), Qt.Key.Key_Tab)
        seen.add(dialog.focusWidget())
    fields = {*dialog.components, *dialog.flips, dialog.foreground, dialog.inverted}
    assert fields | {dialog.threshold, dialog.save_basis, dialog.reset} <= seen
    QTest.keyClick(dialog, Qt.Key.Key_Escape)
    assert not dialog.isVisible()
