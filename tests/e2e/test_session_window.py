"""Sessions in the real window: saved, moved to another folder with its images, and opened there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtGui import QGuiApplication

from descgui.models.maps_state import DescriptorChoice
from descgui.views import dialogs
from tests.e2e.driving import WAIT_MS, click, drop, open_ready, wait_rest

PLUGIN = """
from pathlib import Path
from dataclasses import dataclass
from engine.descriptors.registry import register_descriptor, get_descriptor

@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    pass

Path({mark!r}).touch()

@register_descriptor("of-the-plugin", title="Of the plugin", config=Config)
def build(config):
    entry = get_descriptor("daisy")
    return entry.build(entry.config())
"""


@pytest.fixture
def saved(qtbot: Any, open_window: Any, sequences: Path, monkeypatch: Any) -> Path:
    """A session of a zoomed, linked pair with pins, matches and two descriptors."""
    window = open_ready(
        qtbot, open_window, sequences, group="v_turn", pair_index=3, descriptor="daisy"
    )
    models, view = window.models, window.pair_view
    window.maps.choose(models.maps, DescriptorChoice("daisy", {"rings": 2}))
    window.maps.choose(models.compared[0], DescriptorChoice("daisy"))
    wait_rest(qtbot, window)
    click(qtbot, view.canvases[0], (60.0, 50.0))
    click(qtbot, view.canvases[0], (100.0, 80.0))
    window.probes.remove_pin(1)
    window.actions["linked"].trigger()
    window.actions["zoom_in"].trigger()
    models.matches.update(count=30, min_similarity=0.25, mutual_only=True)
    window.actions["run_matches"].trigger()
    models.settings.update(correct_px=2.0)
    wait_rest(qtbot, window)
    target = sequences / "mine"
    monkeypatch.setattr(dialogs, "ask_target", lambda *_args: target)
    window.actions["save_session"].trigger()
    wait_rest(qtbot, window)
    window.actions["copy_command"].trigger()
    parts = dict(view.parts_in_sight())
    with qtbot.waitSignal(window.finished, timeout=WAIT_MS):
        window.end(0)
    path = target.with_name("mine.descspace")
    values = json.loads(path.read_text(encoding="utf-8"))
    np.testing.assert_allclose(values["view"]["part_a"], parts["a"], atol=1e-3)
    return path


def test_a_session_opens_in_a_moved_folder_as_it_was_left(qtbot, open_window, saved, tmp_path):
    command = QGuiApplication.clipboard().text()
    assert all(word in command for word in ("--pin", "--zoom", "--zoom-b", "--link"))
    assert "--compare daisy" in command
    moved = tmp_path / "another machine" / "data"
    shutil.copytree(saved.parent, moved)
    shutil.rmtree(saved.parent)
    window = open_ready(qtbot, open_window, moved / saved.name)
    models = window.models
    qtbot.waitUntil(lambda: models.matches.state.table is not None, timeout=WAIT_MS)
    wait_rest(qtbot, window)
    pair = models.pair.state.pair
    assert (pair.path_b, pair.sequence) == (moved / "v_turn" / "3.png", "v_turn")
    assert models.pair.state.truth is not None
    assert models.maps.choice == DescriptorChoice("daisy", {"rings": 2})
    assert models.compared[0].choice == DescriptorChoice("daisy")
    assert [pin.number for pin in models.pins.pins] == [2]
    assert models.pins.pins[0].answer is not None
    assert models.view.state.linked
    assert (models.matches.state.count, models.matches.state.mutual_only) == (30, True)
    assert models.settings.state.correct_px == 2.0
    values = json.loads((moved / saved.name).read_text(encoding="utf-8"))["view"]
    for side, part in window.pair_view.parts_in_sight().items():
        np.testing.assert_allclose(part, values[f"part_{side}"], atol=0.5)
    click(qtbot, window.pair_view.canvases[0], (70.0, 60.0))
    assert [pin.number for pin in models.pins.pins] == [2, 3]


def test_bad_sessions_change_nothing_and_plugins_run_only_with_consent(
    qtbot, open_window, sequences, tmp_path, monkeypatch
):
    window = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    click(qtbot, window.pair_view.canvases[0], (60.0, 50.0))
    wait_rest(qtbot, window)
    models = window.models
    said: list[str] = []
    models.messages.notified.connect(lambda message: said.append(message.text))
    path = tmp_path / "s.descspace"
    monkeypatch.setattr(dialogs, "ask_target", lambda *_args: path)
    monkeypatch.setattr(dialogs, "ask_file", lambda *_args: path)
    window.actions["save_session"].trigger()
    wait_rest(qtbot, window)
    good = path.read_text(encoding="utf-8")
    before = (models.pair.state, models.view.state, models.pins.pins, models.settings.state)
    for change in ({"version": 9}, {"pair": {"dataset": "gone"}}, {"pins": 3}):
        path.write_text(json.dumps({**json.loads(good), **change}), encoding="utf-8")
        said.clear()
        window.actions["open_session"].trigger()
        wait_rest(qtbot, window)
        assert len(said) == 1
        assert said[0].startswith(f"{path}: ")
        after = (models.pair.state, models.view.state, models.pins.pins, models.settings.state)
        assert after == before
        assert models.pair.loading == ""

    mark, plugin = tmp_path / "it ran", tmp_path / "of_a_session.py"
    plugin.write_text(PLUGIN.format(mark=str(mark)), encoding="utf-8")
    values = json.loads(good)
    values["descriptors"].insert(0, {"name": "of-the-plugin", "plugin": plugin.name})
    values["matches"]["descriptor"] = 1
    path.write_text(json.dumps(values), encoding="utf-8")
    asked: list[Path] = []
    agrees = False
    monkeypatch.setattr(
        dialogs, "consents_to_plugin", lambda _parent, path: asked.append(path) or agrees
    )
    for agrees in (False, True, True):
        drop(window, [path])
        wait_rest(qtbot, window)
        assert mark.exists() is agrees
        names = [maps.choice.name for maps in models.descriptors]
        assert names[:2] == (["of-the-plugin", "daisy"] if agrees else ["daisy", ""])
        assert models.matches.state.descriptor == int(agrees)
        assert models.maps.ready
    assert asked == [plugin, plugin], "a second yes is not needed"
