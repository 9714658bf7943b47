"""The guide through the first five minutes, followed literally in the real window."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import QPoint, QRect, Qt

from descgui.models.maps_state import DescriptorChoice
from descgui.views.guide import STEPS, Guide
from engine.api import write_image
from tests.e2e.driving import WAIT_MS, click, drop, hover, open_ready, picture, wait_rest


def place_of(widget, window) -> QRect:
    return QRect(widget.mapTo(window, QPoint(0, 0)), widget.size())


def test_every_step_is_ticked_when_it_was_done_and_not_before(
    qtbot, open_window, sequences, tmp_path
):
    window = open_ready(qtbot, open_window, sequences)
    window.window.resize(1400, 880)
    qtbot.waitUntil(lambda: window.pair_view.canvases[0].width() > 300)
    frame_window = window.window
    window.actions["help_tour"].trigger()
    guide = frame_window.findChild(Guide)
    row = guide._row

    def done() -> bool:
        return row._tick.isVisible()

    def framed(widget) -> bool:
        guide._follow()
        return (
            guide.frame.geometry()
            .adjusted(2, 2, -2, -2)
            .contains(place_of(widget, frame_window) & frame_window.rect().adjusted(2, 2, -2, -2))
        )

    def next_step() -> None:
        assert done()
        qtbot.mouseClick(row.next, Qt.MouseButton.LeftButton)
        assert not done()

    assert not done()
    assert framed(window.central)
    hover(qtbot, window, 0, (100.0, 70.0))
    next_step()
    qtbot.mouseClick(row.back, Qt.MouseButton.LeftButton)
    next_step()  # what was done stays ticked
    assert framed(frame_window.tool_bar.modes)
    qtbot.keyClick(frame_window, Qt.Key.Key_2)
    next_step()
    click(qtbot, window.pair_view.canvases[0], (60.0, 50.0))
    next_step()
    assert framed(frame_window.docks["descriptor"])
    window.maps.choose(window.models.maps, DescriptorChoice("daisy", {"stride_px": 4}))
    next_step()
    wait_rest(qtbot, window)
    window.actions["run_matches"].trigger()
    qtbot.waitUntil(done, timeout=WAIT_MS)
    next_step()
    assert framed(frame_window.tool_bar.widgetForAction(window.actions["open_pair"]))
    files = [tmp_path / "p.png", tmp_path / "q.png"]
    for number, file in enumerate(files):
        write_image(file, picture(number))
    drop(window, files)
    qtbot.waitUntil(done, timeout=WAIT_MS)
    next_step()
    assert row.next.text() == "&Finish"
    window.actions["evaluate"].trigger()
    assert done()
    qtbot.mouseClick(row.next, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: frame_window.findChild(Guide) is None)
    assert not guide_is_shown(frame_window)


def guide_is_shown(window) -> bool:
    return any(bar.objectName() == "guide" and bar.isVisible() for bar in window.children()
               if bar.isWidgetType())  # fmt: skip


def test_in_a_narrow_window_the_frame_is_around_the_icon_of_a_panel(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences)
    window.window.resize(1000, 700)
    qtbot.waitUntil(lambda: window.window.docks["descriptor"].isHidden())
    window.actions["help_tour"].trigger()
    guide = window.window.findChild(Guide)
    guide.show_step([step.place for step in STEPS].index("descriptor"))
    assert guide.frame.width() < 60
    assert guide.frame.x() < 10
    window.actions["help_tour"].trigger()
    assert guide.number == 0
    qtbot.mouseClick(guide._row.close_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.window.findChild(Guide) is None)


def test_without_a_pair_the_guide_opens_the_demo(qtbot, open_window, monkeypatch):
    opened = []
    window = open_window()
    window.actions["open_demo"].triggered.disconnect()
    window.actions["open_demo"].triggered.connect(lambda: opened.append("demo"))
    assert window.models.pair.state is None
    window.actions["help_tour"].trigger()
    assert opened == ["demo"]


def test_the_steps_are_those_of_the_readme():
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    section = readme.split("## The first five minutes")[1].split("\n## ")[0]
    words = re.findall(r"^\d\. (?:[^*\n]*)\*\*(.+?)\*\*", section, re.MULTILINE)
    assert len(words) == len(STEPS)
    for word, step in zip(words, STEPS, strict=True):
        assert step.title.casefold().startswith(word.casefold())
