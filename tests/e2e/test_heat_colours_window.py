"""Range and colours of heat maps in the real window: chosen, shown, kept, exported and copied."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QComboBox

from descgui.views import dialogs
from descgui.views.color_bar import ColorBar
from descgui.views.figure import pair_figure
from descgui.views.form import NumberBox
from descgui.views.heat_dialog import HeatDialog
from descgui.views.pixels import color_stops
from engine.api import HeatRange
from tests.e2e.driving import WAIT_MS, close, hover, open_ready, wait_rest


def choose(combo: QComboBox, value: str) -> None:
    combo.setCurrentIndex(combo.findData(value))
    combo.activated.emit(combo.currentIndex())


def enter(dialog: HeatDialog, **values: float) -> None:
    for name, value in values.items():
        form = next(one for one in dialog.forms.values() if name in one.names)
        assert form.isVisible(), name
        box = form.field(name)
        assert isinstance(box, NumberBox)
        box.setValue(value)


def shown_bar(window: Any) -> ColorBar:
    bars = [bar for bar in window.pair_view.findChildren(ColorBar) if bar.isVisible()]
    assert len(bars) == 1
    return bars[0]


def assert_painted(window: Any, low: float, high: float, colormap: Any) -> None:
    """Bar, overlay and figure agree on range and colours."""
    bar = shown_bar(window)
    assert (bar.scale.low, bar.scale.high) == pytest.approx((low, high), abs=1e-5)
    stops = color_stops(colormap).astype(int)
    shot = bar.grab().toImage()
    row = np.array([shot.pixelColor(x, 11).getRgb()[:3] for x in range(shot.width())])
    for place in (60, 127, 200):
        assert np.abs(row - stops[place]).max(axis=1).min() <= 6
    heat = window.models.probe.answer.heat
    overlay = window.pair_view.canvases[1].overlay.picture.level(1.0)
    for share in (0.0, 0.3, 0.6, 1.0):
        order = np.argsort(heat, axis=None)
        row, column = np.unravel_index(order[round(share * (heat.size - 1))], heat.shape)
        part = min(max((heat[row, column] - low) / (high - low), 0.0), 1.0)
        found = overlay.pixelColor(int(column), int(row))
        wanted = stops[round(254 * part)]
        assert np.abs(np.array(found.getRgb()[:3]) - wanted).max() <= 8
    figure = pair_figure(window.models)
    assert (figure.scale.low, figure.scale.high) == pytest.approx((low, high), abs=1e-5)
    assert figure.scale.colormap == colormap


def test_range_and_colours_hold_everywhere_and_come_back(
    qtbot, open_window, sequences, monkeypatch
):
    window = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    hover(qtbot, window, 0, (100.0, 70.0))
    wait_rest(qtbot, window)
    heat = window.models.probe.answer.heat
    qtbot.mouseClick(shown_bar(window), Qt.MouseButton.LeftButton)
    (dialog,) = window.window.findChildren(HeatDialog)
    assert dialog.isVisible()
    choose(dialog.kind, "relative")
    enter(dialog, span=0.15)
    assert_painted(window, float(heat.max()) - 0.15, float(heat.max()), "viridis")
    choose(dialog.kind, "percentile")
    enter(dialog, low_percent=50.0, high_percent=90.0)
    bar = shown_bar(window)
    assert np.mean(heat > bar.scale.high) == pytest.approx(0.1, abs=0.03)
    assert np.mean(heat < bar.scale.low) == pytest.approx(0.5, abs=0.03)
    enter(dialog, low_percent=95.0)
    assert dialog.problem.sentence == "The end (90) has to be above the start (95)."
    assert window.models.settings.state.heat.low_percent == 50.0, "the last good one stays"
    choose(dialog.kind, "fixed")
    enter(dialog, low=0.5, high=0.9)
    choose(dialog.colormap, "turbo")
    assert "Not perceptually uniform" in dialog.uniform.text()
    assert_painted(window, 0.5, 0.9, "turbo")
    dialog.close()

    target = sequences / "mine"
    monkeypatch.setattr(dialogs, "ask_target", lambda *_args: target)
    window.actions["save_session"].trigger()
    wait_rest(qtbot, window)
    window.actions["copy_command"].trigger()
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[words.index("--heat-range") + 1] == "fixed:0.5,0.9"
    assert words[words.index("--colormap") + 1] == "turbo"
    close(qtbot, window)

    again = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    kept = again.models.settings.state
    assert (kept.heat.low, kept.heat.high, kept.colormap) == (0.5, 0.9, "turbo")
    again.models.settings.update(heat=HeatRange(), colormap="viridis")
    close(qtbot, again)

    by_command = open_ready(
        qtbot, open_window, sequences, descriptor="daisy", heat_range="fixed:0.5,0.9",
        colormap="turbo",
    )  # fmt: skip
    hover(qtbot, by_command, 0, (100.0, 70.0))
    assert_painted(by_command, 0.5, 0.9, "turbo")
    by_command.models.settings.update(peaks=4)  # the command's own are not written
    close(qtbot, by_command)

    restored = open_ready(qtbot, open_window, target.with_name("mine.descspace"))
    qtbot.waitUntil(lambda: restored.models.settings.state.colormap == "turbo", timeout=WAIT_MS)
    wait_rest(qtbot, restored)
    assert (restored.models.settings.state.heat.low_percent, str(kept.heat)) == (
        50.0,
        "fixed:0.5,0.9",
    )
    hover(qtbot, restored, 0, (100.0, 70.0))
    assert_painted(restored, 0.5, 0.9, "turbo")
