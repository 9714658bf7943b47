"""A video as image B in the real window: its frames by the slider, the query followed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from descgui.views import dialogs
from tests.e2e.driving import WAIT_MS, click, drop, open_ready, picture, wait_rest

COUNT, STEP_PX = 6, 3


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A camera that moves to the left by three pixels a frame, so that the scene moves right."""
    path = tmp_path / "clip.avi"
    scene = picture(0)
    height, width = scene.shape[:2]
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), fourcc, 10.0, (width, height))
    for number in range(COUNT):
        writer.write(cv2.cvtColor(np.roll(scene, STEP_PX * number, axis=1), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def test_a_pin_is_followed_from_frame_to_frame(
    qtbot, open_window, sequences, clip, tmp_path, monkeypatch
):
    first = sequences / "i_light" / "1.png"
    window = open_ready(qtbot, open_window, first, first, descriptor="daisy")
    models, bar = window.models, window.video_bar
    assert bar.isHidden()
    drop(window, [clip], pane=1)
    qtbot.waitUntil(lambda: models.video.state.video is not None and not bar.isHidden())
    wait_rest(qtbot, window)
    assert models.pair.state.pair.path_a == first
    recent = models.settings.state.recent_pairs
    click(qtbot, window.pair_view.canvases[0], (80.0, 70.0))
    window.actions["zoom_in"].trigger()
    parts = window.pair_view.parts_in_sight()
    found = []
    for frame in (1, 3):
        bar.slider.setValue(frame)
        wait_rest(qtbot, window)
        qtbot.waitUntil(lambda: models.pins.pins[0].answer is not None, timeout=WAIT_MS)
        answer = models.pins.pins[0].answer
        found.append(answer.found_px[0] - answer.request.point_px[0])
    np.testing.assert_allclose(found, [STEP_PX * 1, STEP_PX * 3], atol=1.0)
    assert window.pair_view.parts_in_sight() == parts, "the view stays"
    assert models.settings.state.recent_pairs == recent, "frames are no recent pairs"
    assert bar.time.text() == "Frame 4 of 6 · 0:00.30"
    bar.play.click()
    qtbot.waitUntil(lambda: models.video.state.frame == COUNT - 1, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not models.video.state.playing, timeout=WAIT_MS)
    wait_rest(qtbot, window)

    path = tmp_path / "s.descspace"
    monkeypatch.setattr(dialogs, "ask_target", lambda *_args: path)
    window.actions["save_session"].trigger()
    wait_rest(qtbot, window)
    saved = json.loads(path.read_text(encoding="utf-8"))["pair"]
    assert (saved["video_b"], saved["frame_b"]) == ("clip.avi", COUNT - 1)
    drop(window, [first, sequences / "i_light" / "2.png"])
    qtbot.waitUntil(bar.isHidden, timeout=WAIT_MS)
    assert models.pins.pins == ()
    wait_rest(qtbot, window)
    drop(window, [path])
    qtbot.waitUntil(lambda: models.video.state.frame == COUNT - 1, timeout=WAIT_MS)
    wait_rest(qtbot, window)
    assert [pin.number for pin in models.pins.pins] == [1]
    assert not bar.isHidden()
