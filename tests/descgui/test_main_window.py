"""The window's frame: bars in step with the models, panels, layout, toasts, log, and closing."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QItemSelectionModel, QPoint, QRect, QSettings, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QImage, QKeySequence
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QApplication,
    QDialog,
    QLabel,
    QLineEdit,
    QListWidget,
    QWidget,
)
from pytestqt.qtbot import QtBot

from descgui.logs import CrashReport
from descgui.models.bundle import AppModels, make_models
from descgui.models.engine_state import DeviceChoice, EngineState
from descgui.models.maps_state import DescriptorChoice, MapStatus
from descgui.models.messages import Message
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Probe
from descgui.views.actions import Actions
from descgui.views.dock_layouts import DockSpec
from descgui.views.environment import about_text, collect_facts, facts_as_text
from descgui.views.layout_store import keep_on_screen, restore_layout
from descgui.views.lazy_panel import LazyPanel, Making
from descgui.views.log_dock import LogPanel
from descgui.views.main_window import MainWindow
from descgui.views.notifications import KEPT, stay_ms
from descgui.views.report_dialog import ReportDialog
from descgui.views.status_bar import BRIEF_MS, StatusBar
from descgui.views.text_dialog import TextDialog
from descgui.views.words import short_device, size_text
from descgui.views.workspace_bars import PanelRail, WorkspaceSwitch
from engine.api import Image, ImagePair, MapInfo

MakeWindow = Callable[..., MainWindow]


@pytest.fixture
def models(qapp: QApplication, tmp_path: Path) -> AppModels:
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def actions(models: AppModels) -> Actions:
    return Actions(models)


def on_screen(qtbot: QtBot, window: MainWindow, width: int, height: int) -> MainWindow:
    """The window, once it is on the screen and takes keys."""
    qtbot.addWidget(window)
    window.resize(width, height)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    return window


@pytest.fixture
def make_window(qtbot: QtBot, models: AppModels, actions: Actions, tmp_path: Path) -> MakeWindow:
    def make(width: int = 1400, height: int = 900, layout: Path | None = None) -> MainWindow:
        shown = actions if not made else Actions(models)
        window = MainWindow(
            models,
            shown,
            central=QWidget(),
            docks={
                "browser": DockSpec(QListWidget(), "Browser", "browser", "left"),
                "descriptor": DockSpec(QLineEdit(), "Descriptor", "descriptor"),
                "probe": DockSpec(QLabel("probe"), "Probe", "probe"),
                "matches": DockSpec(QLabel("matches"), "Matches", "matches"),
                "log": DockSpec(
                    LogPanel(models.messages, tmp_path / "log"), "Log", "log", "bottom"
                ),
            },
            layout_file=layout,
        )
        made.append(window)
        return on_screen(qtbot, window, width, height)

    made: list[MainWindow] = []
    return make


@pytest.fixture
def window(make_window: MakeWindow) -> MainWindow:
    return make_window()


def open_a_pair(models: AppModels, name: str = "v_churchill 1 → 2") -> None:
    pixels = np.zeros((40, 60, 3), dtype=np.uint16)
    pixels[7, 12] = (65535, 3, 2)
    pair = ImagePair(Path("a.png"), Path("b.png"), name=name)
    images = Image(Path("a.png"), pixels), Image(Path("b.png"), pixels)
    models.pair.set_pair(PairState(pair, *images, *(image.as_uint8() for image in images)))


def map_info(size_bytes: int) -> MapInfo:
    return MapInfo(
        size_px=(60, 40), working_size_px=(60, 40), cells=(15, 10), stride_px=4.0, levels=1,
        dim=8, size_bytes=size_bytes, seconds=0.1, device="cpu", trained=True,
    )  # fmt: skip


def bar_of(window: MainWindow) -> StatusBar:
    bar = window.statusBar()
    assert isinstance(bar, StatusBar)
    return bar


# Title, bars -------------------------------------------------------------------------------------


def test_the_title_names_the_pair(window: MainWindow, models: AppModels):
    assert window.windowTitle() == "Descriptor Space"
    open_a_pair(models)
    assert window.windowTitle() == "v_churchill 1 → 2 — Descriptor Space"


def test_the_engine_is_loading_then_names_its_device(window: MainWindow, models: AppModels):
    bar = bar_of(window)
    assert bar.engine.text() == "Loading PyTorch…"
    assert bar.spinner.isVisible()
    devices = (DeviceChoice("cuda:0", "A GPU"), DeviceChoice("cpu", "CPU (2 threads)"))
    models.engine.set(EngineState("ready", devices=devices))
    assert bar.engine.text() == "A GPU"
    assert not bar.spinner.isVisible()
    models.settings.update(device="cpu")
    assert bar.engine.text() == "CPU · 2 threads"


def test_a_failed_load_of_the_engine_is_said_with_its_reason(window: MainWindow, models: AppModels):
    models.engine.set(EngineState("failed", message="No module named torch."))
    assert bar_of(window).engine.text() == "PyTorch could not be loaded"
    assert bar_of(window).engine.toolTip() == "No module named torch."


def test_the_point_under_the_mouse_and_its_pixel_are_shown(window: MainWindow, models: AppModels):
    open_a_pair(models)
    models.probe.move(Probe("b", (12.4, 6.6)))
    bar = bar_of(window)
    assert bar.cursor_position.text() == "B  x 12.4  y 6.6"
    assert bar.pixel.text() == "(12, 7)  RGB 65535 3 2"
    models.probe.move(Probe("b", (-0.8, 6.6)))
    assert bar.pixel.text() == ""
    models.probe.move(None)
    assert not bar.cursor_position.isVisible()


def test_work_and_the_memory_of_the_maps_are_told(
    window: MainWindow, models: AppModels, qtbot: QtBot
):
    bar = bar_of(window)
    models.engine.set(EngineState("ready"))
    models.maps.choose(DescriptorChoice("daisy"))
    models.maps.set_status("a", MapStatus("ready", info=map_info(40_000_000)))
    models.maps.set_status("b", MapStatus("computing", fraction=0.5))
    assert bar.work.text() == "daisy · image B · describing · 50 %"
    models.maps.set_status("b", MapStatus("computing", phase="voting for members"))
    assert bar.work.text() == "daisy · image B · voting for members"  # no share that never moves
    qtbot.waitUntil(bar.spinner.isVisible)
    assert bar.work.isVisible()
    models.maps.set_status("b", MapStatus("ready", info=map_info(2_400_000)))
    assert bar.memory.text() == "Maps 42.4 MB"
    assert not bar.work.isVisible()
    assert not bar.spinner.isVisible()
    models.pair.set_loading("b.png")
    assert bar.work.text() == "Opening b.png…"
    qtbot.waitUntil(bar.work.isVisible)


def test_work_that_ends_at_once_does_not_flash(window: MainWindow, models: AppModels, qtbot: QtBot):
    bar = bar_of(window)
    models.engine.set(EngineState("ready"))
    models.pair.set_loading("b.png")
    assert not bar.work.isVisible()
    models.pair.set_loading("")
    qtbot.wait(2 * BRIEF_MS)
    assert not bar.work.isVisible()
    assert not bar.spinner.isVisible()


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (42e6, "42 MB"), (3.2e12, "3200 GB")],
)
def test_sizes_read_well(size: float, text: str):
    assert size_text(size) == text


def test_a_device_without_brackets_keeps_its_name():
    assert short_device("NVIDIA H100 80GB HBM3") == "NVIDIA H100 80GB HBM3"


def test_the_opacity_slider_and_the_model_move_one_another(window: MainWindow, models: AppModels):
    slider = window.tool_bar.opacity.slider
    models.settings.update(opacity=0.2)
    assert slider.value() == 20
    slider.setValue(90)
    assert models.settings.state.opacity == 0.9
    models.settings.update(opacity=0.333)
    assert models.settings.state.opacity == 0.333
    models.view.update(mode="image")
    assert not slider.isEnabled()


def test_the_mode_buttons_follow_the_model(window: MainWindow, models: AppModels):
    open_a_pair(models)
    pca = window.tool_bar.modes.buttons[1]
    pca.click()
    assert models.view.state.mode == "pca"
    models.view.update(mode="image")
    assert not pca.isChecked()
    assert window.tool_bar.modes.buttons[0].isChecked()


def test_the_tool_bar_fits_narrow_and_wide_windows(qtbot: QtBot, window: MainWindow):
    bar = window.tool_bar
    for width in (640, 900, 1200, 1400, 1900):
        window.resize(width, 600)
        qtbot.waitUntil(lambda wanted=width: bar.width() == wanted >= bar.sizeHint().width())
    assert bar.modes.buttons[0].toolButtonStyle() == Qt.ToolButtonStyle.ToolButtonTextBesideIcon


def test_every_control_of_the_bars_has_an_accessible_name(window: MainWindow):
    own = [window.tool_bar, window.statusBar(), window.docks["log"].widget()]
    controls = [
        control
        for part in own
        for kind in (QAbstractButton, QAbstractSlider, QLineEdit)
        for control in part.findChildren(kind)
        if control.isVisibleTo(part)
        and not control.objectName().startswith("qt_")
        and control.focusPolicy() != Qt.FocusPolicy.NoFocus
    ]
    assert len(controls) > 12
    assert [control for control in controls if not control.accessibleName()] == []


# Panels and layout -------------------------------------------------------------------------------


def test_panels_stand_apart_in_a_high_window_and_share_tabs_in_a_low_one(
    make_window: MakeWindow,
):
    high = make_window(1400, 900)
    assert high.tabifiedDockWidgets(high.docks["descriptor"]) == []
    assert high.tabifiedDockWidgets(high.docks["probe"]) == [high.docks["matches"]]
    low = make_window(1300, 700)
    assert len(low.tabifiedDockWidgets(low.docks["descriptor"])) == 2
    assert not high.docks["log"].isVisible()


def test_panels_and_their_commands_follow_one_another(window: MainWindow, actions: Actions):
    dock = window.docks["log"]
    assert actions["dock_log"].isEnabled()
    actions["dock_log"].trigger()
    assert dock.isVisible()
    dock.close()
    assert not actions["dock_log"].isChecked()
    matches = actions["dock_matches"]
    assert matches.isChecked()  # behind another tab it is still open
    matches.trigger()
    matches.trigger()
    assert window.docks["matches"].isVisible()


def test_the_keyboard_starts_at_the_panes(window: MainWindow):
    focused = window.focusWidget()
    assert focused is not None
    assert focused.parentWidget() is window.centralWidget()


def test_the_window_can_be_small(qtbot: QtBot, make_window: MakeWindow):
    window = make_window(900, 600)
    assert window.size().width() == 900
    assert window.minimumSizeHint().width() <= 900
    assert window.minimumSizeHint().height() <= 600
    assert window.centralWidget().width() > 500


def test_the_layout_comes_back(make_window: MakeWindow, tmp_path: Path, actions: Actions):
    file = tmp_path / "été" / "layout.ini"
    file.parent.mkdir()
    first = make_window(1100, 700, file)
    first.docks["log"].show()
    first.docks["probe"].setFloating(True)
    first.close()
    second = make_window(1100, 700, file)
    assert second.docks["log"].isVisible()
    assert second.docks["probe"].isFloating()
    second.reset_layout()
    assert not second.docks["log"].isVisible()
    assert not second.docks["probe"].isFloating()


@pytest.mark.parametrize("content", ["", "[General]\nversion=0\n", "\x00\xff garbage", "version=1"])
def test_a_layout_file_that_does_not_fit_is_ignored(
    make_window: MakeWindow, tmp_path: Path, content: str
):
    file = tmp_path / "layout.ini"
    file.write_text(content, encoding="latin-1")
    window = make_window(1400, 900, file)
    assert window.docks["browser"].isVisible()
    assert not restore_layout(window, file)


def test_a_damaged_layout_is_not_handed_to_qt(make_window: MakeWindow, tmp_path: Path):
    """Qt reads such states without looking: some end the process, at every start."""
    file = tmp_path / "layout.ini"
    window = make_window(1400, 900, file)
    window.close()
    assert restore_layout(window, file)
    text = file.read_text("latin-1")
    place = text.index("inspect=") + len("inspect=@ByteArray(") + 40
    for damaged in (text[:place] + "e" + text[place + 1 :], text[:place] + text[place + 8 :]):
        file.write_text(damaged, "latin-1")
        assert not restore_layout(window, file)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
def test_a_pipe_in_the_place_of_the_layout_keeps_no_window_waiting(
    make_window: MakeWindow, tmp_path: Path
):
    pipe = tmp_path / "layout.ini"
    os.mkfifo(pipe)
    window = make_window(1400, 900, pipe)
    assert not restore_layout(window, pipe)
    window.close()  # would write it
    assert pipe.is_fifo()


def test_a_window_on_a_screen_that_is_gone_comes_back(window: MainWindow):
    window.setGeometry(QRect(90_000, 90_000, 800, 600))
    keep_on_screen(window)
    room = QGuiApplication.primaryScreen().availableGeometry()
    assert room.contains(window.geometry().center())
    window.move(QPoint(10, 30))
    keep_on_screen(window)
    assert window.pos() == QPoint(10, 30)


def test_full_screen_and_back(qtbot: QtBot, window: MainWindow, actions: Actions):
    actions["full_screen"].trigger()
    qtbot.waitUntil(window.isFullScreen)
    assert actions["full_screen"].isChecked()
    QTest.keyClick(window, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not window.isFullScreen())
    assert not actions["full_screen"].isChecked()


def test_a_picture_of_the_window_can_be_saved(window: MainWindow, tmp_path: Path):
    assert window.grab_to(tmp_path / "été.png")
    assert QImage(str(tmp_path / "été.png")).width() == window.width()
    assert not window.grab_to(tmp_path / "no folder" / "a.png")


# Closing -----------------------------------------------------------------------------------------


def test_an_idle_window_closes_at_once(qtbot: QtBot, window: MainWindow):
    with qtbot.waitSignal(window.closing):
        window.close()
    assert not window.isVisible()


def test_a_busy_window_waits_for_its_work_and_asks_for_its_end_only_once(window: MainWindow):
    asked = []
    window.closing.connect(lambda: asked.append(1))
    window.can_close = lambda: False
    window.close()
    window.close()
    assert window.isVisible()
    assert asked == [1]
    window.finish_close()
    assert not window.isVisible()


def test_the_end_of_work_does_not_close_a_window_nobody_wants_closed(window: MainWindow):
    window.finish_close()
    assert window.isVisible()


def test_quit_closes(window: MainWindow, actions: Actions):
    actions["quit"].trigger()
    assert not window.isVisible()


# Toasts ------------------------------------------------------------------------------------------


def test_information_fades_and_errors_stay():
    assert stay_ms(Message("short")) == 5000
    assert (stay_ms(Message("x" * 200)) or 0) > 10_000
    assert stay_ms(Message("bad", "error")) is None
    assert stay_ms(Message("odd", "warning")) is None


def test_a_warning_gets_a_row_of_its_own_and_leaves_the_focus(
    qtbot: QtBot, window: MainWindow, models: AppModels
):
    field = window.docks["descriptor"].widget()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    high = window.centralWidget().height()
    models.messages.notify("a.png: cut short.", "error", "its trace")
    notifications = window.notifications
    qtbot.waitUntil(lambda: window.centralWidget().height() < high)
    assert notifications.row.isVisible()
    assert notifications.row.accessibleName() == "a.png: cut short."
    assert field.hasFocus()
    row = QRect(notifications.row.mapTo(window, QPoint(0, 0)), notifications.row.size())
    for part in (window.centralWidget(), window.tool_bar, *window.docks.values()):
        place = QRect(part.mapTo(window, QPoint(0, 0)), part.size())
        assert not part.isVisible() or not row.intersects(place)
    assert row.width() == window.width()


def test_a_message_is_closed_by_its_button_and_copied_by_the_other(
    window: MainWindow, models: AppModels
):
    models.messages.notify("cut short.", "error", "its trace")
    row = window.notifications.row
    row.copy_button.click()
    assert QGuiApplication.clipboard().text() == "cut short.\n\nits trace"
    row.close_button.click()
    assert window.notifications.waiting == ()
    assert not row.isVisible()


def test_details_and_long_sentences_make_the_row_higher(
    qtbot: QtBot, window: MainWindow, models: AppModels
):
    models.messages.notify("cut short.", "error", "its trace")
    row = window.notifications.row
    low = row.height()
    row.details_button.click()
    assert row.height() > low + 100
    assert row.detail.isVisible()
    models.messages.notify("a long sentence that wraps " * 20, "warning")
    qtbot.waitUntil(lambda: low < row.height() < low + 100)
    assert not row.detail.isVisible()
    needed = row.text.heightForWidth(row.text.width())
    assert row.text.height() >= needed


def test_older_messages_wait_below_the_newest(window: MainWindow, models: AppModels):
    for word in ("first", "second", "third"):
        models.messages.notify(f"{word}.", "error")
    row = window.notifications.row
    assert (row.message.text, row.more.text()) == ("third.", "2 more")
    row.close_button.click()
    assert (row.message.text, row.more.text()) == ("second.", "1 more")
    row.close_button.click()
    assert row.message.text == "first."
    assert not row.more.isVisible()


def test_the_same_sentence_is_counted_and_old_warnings_make_room(
    window: MainWindow, models: AppModels
):
    models.messages.notify("bad.", "error")
    models.messages.notify("bad.", "error")
    assert window.notifications.row.text.text() == "bad.  (×2)"
    for number in range(KEPT + 2):
        models.messages.notify(f"odd {number}.", "warning")
    texts = [message.text for message in window.notifications.waiting]
    assert len(texts) == KEPT
    assert texts[0] == "bad."
    assert texts[-1] == f"odd {KEPT + 1}."


def test_information_stands_in_the_status_bar_for_a_while(window: MainWindow, models: AppModels):
    bar = bar_of(window)
    models.engine.set(EngineState("ready", devices=(DeviceChoice("cpu", "CPU"),)))
    models.messages.notify("Written to x.csv.")
    assert window.notifications.waiting == ()
    assert bar.note.text() == "Written to x.csv."
    assert not bar.engine.isVisible()
    assert 0 < bar._note_timer.remainingTime() <= 5500
    bar._note_timer.timeout.emit()
    assert not bar.note.isVisible()
    assert bar.engine.isVisible()


def test_a_long_name_leaves_room_for_the_rest_of_the_status_bar(
    window: MainWindow, models: AppModels
):
    window.resize(1024, 700)
    open_a_pair(models, name="a_sequence_with_a_long_name " * 12)
    models.maps.set_status("a", MapStatus("ready", info=map_info(40_000_000)))
    models.pair.set_loading("another_very_long_name_of_a_file_that_is_opened " * 6)
    bar = bar_of(window)
    bar.layout().activate()
    assert window.width() == 1024
    for label in (bar.pair, bar.memory, bar.work):
        assert label.isVisible()
        assert label.geometry().right() <= bar.width()
        assert label.width() > 40
    assert bar.memory.width() >= bar.memory.sizeHint().width()
    assert bar.pair.toolTip().startswith(models.pair.state.pair.name)
    assert bar.work.toolTip() == bar.work.text()


def test_the_key_of_a_command_that_cannot_be_used_says_why(window: MainWindow, models: AppModels):
    QTest.keyClick(window, Qt.Key.Key_7)
    assert bar_of(window).note.text() == "Members: open a pair first."


# Workspaces --------------------------------------------------------------------------------------


@pytest.fixture
def made() -> list[str]:
    return []


@pytest.fixture
def worker(
    qtbot: QtBot, models: AppModels, actions: Actions, tmp_path: Path, made: list[str]
) -> MakeWindow:
    """Makes windows with all panels; those of other workspaces note when they are made."""

    def lazy(name: str) -> LazyPanel:
        def make() -> Making:
            made.append(f"{name} begun")
            yield
            made[-1] = name
            return QListWidget()

        return LazyPanel(make, size_px=(900, 360), least_px=(300, 200))

    def make(width: int = 1400, height: int = 900, layout: Path | None = None) -> MainWindow:
        window = MainWindow(
            models,
            actions if not windows else Actions(models),
            central=QWidget(),
            docks={
                "browser": DockSpec(QListWidget(), "Browser", "browser", "left"),
                "descriptor": DockSpec(QLineEdit(), "Descriptor", "descriptor"),
                "probe": DockSpec(QLabel("probe"), "Probe", "probe"),
                "matches": DockSpec(QLabel("matches"), "Matches", "matches"),
                "evaluation": DockSpec(lazy("evaluation"), "Evaluation", "evaluate", "bottom"),
                "training": DockSpec(lazy("training"), "Training", "train", "bottom"),
                "log": DockSpec(QListWidget(), "Log", "log", "bottom"),
            },
            layout_file=layout,
        )
        windows.append(window)
        return on_screen(qtbot, window, width, height)

    windows: list[MainWindow] = []
    return make


def seen(window: MainWindow) -> set[str]:
    return {name for name, dock in window.docks.items() if not dock.isHidden()}


def test_keys_switch_the_workspaces_and_lead_back_to_the_pair(
    qtbot: QtBot, worker: MakeWindow, made: list[str]
):
    window = worker()
    assert made == []  # the start does not wait for panels that are not shown
    field = window.docks["descriptor"].widget()
    QTest.keyClick(window, Qt.Key.Key_E)
    assert seen(window) == {"evaluation"}
    assert made == []  # nor does the key
    qtbot.waitUntil(lambda: made == ["evaluation"])
    work, pair = window.docks["evaluation"], window.centralWidget()
    qtbot.waitUntil(lambda: work.width() > pair.width() > 300)
    QTest.keyClick(window, Qt.Key.Key_F9)
    assert seen(window) == {"training"}
    QTest.keyClick(window, Qt.Key.Key_F9)
    assert seen(window) == {"browser", "descriptor", "probe", "matches"}
    field.setFocus()
    QTest.keyClick(field, Qt.Key.Key_T)
    assert field.text() == "t"  # a text field keeps letters …
    QTest.keyClick(field, Qt.Key.Key_F8)
    assert seen(window) == {"evaluation"}  # … and the other key works everywhere
    QTest.keyClick(window, Qt.Key.Key_I)
    assert field.isVisible()
    qtbot.waitUntil(lambda: made == ["evaluation", "training"])


def making(made: list[str]) -> LazyPanel:
    """A panel in three steps, the second of which fails the first time."""

    def make() -> Making:
        made.append("begun")
        yield
        made.append("half")
        if made.count("half") == 1:
            raise RuntimeError("no module")
        yield
        made.append("whole")
        return QLabel("panel")

    return LazyPanel(make, size_px=(640, 300), least_px=(200, 100))


def test_a_lazy_panel_is_made_in_turns_of_the_event_loop_once_it_is_shown(
    qtbot: QtBot, made: list[str]
):
    made.append("half")  # it does not fail
    place = making(made)
    qtbot.addWidget(place)
    assert (place.sizeHint().width(), place.minimumSizeHint().height()) == (640, 100)
    place.show()
    assert not place.is_made
    assert made[1:] == []
    seen: list[int] = []
    watch = QTimer(interval=0)
    watch.timeout.connect(lambda: seen.append(len(made)))
    watch.start()
    qtbot.waitUntil(lambda: place.is_made)
    watch.stop()
    assert {2, 3} <= set(seen)  # other events are answered between its steps
    assert made[1:] == ["begun", "half", "whole"]
    assert place.focusProxy() is place.content
    place.hide()
    place.show()
    qtbot.wait(20)
    assert made[1:] == ["begun", "half", "whole"]


def test_what_is_left_of_a_lazy_panel_is_made_when_it_is_asked_for_also_after_a_failure(
    qtbot: QtBot, made: list[str]
):
    place = making(made)
    qtbot.addWidget(place)
    place.show()
    with pytest.raises(RuntimeError, match="no module"):
        _ = place.content
    assert not place.is_made
    assert place.content.text() == "panel"
    assert place.content.isVisible()
    assert made == ["begun", "half", "begun", "half", "whole"]


def test_the_buttons_at_the_top_show_the_workspace(
    qtbot: QtBot, worker: MakeWindow, actions: Actions
):
    window = worker()
    buttons = window.findChild(WorkspaceSwitch).buttons
    qtbot.mouseClick(buttons["train"], Qt.MouseButton.LeftButton)
    assert seen(window) == {"training"}
    assert [name for name, button in buttons.items() if button.isChecked()] == ["train"]
    window.open_dock("matches")  # which belongs to another one
    assert window.docks["matches"].isVisible()
    assert [name for name, button in buttons.items() if button.isChecked()] == ["inspect"]


def test_each_workspace_keeps_its_layout_and_can_be_reset(
    worker: MakeWindow, actions: Actions, tmp_path: Path
):
    file = tmp_path / "layout.ini"
    window = worker(layout=file)
    window.docks["probe"].hide()
    window.show_workspace("evaluate")
    actions["dock_log"].trigger()
    window.show_workspace("inspect")
    assert seen(window) == {"browser", "descriptor", "matches"}
    window.show_workspace("evaluate")
    assert seen(window) == {"evaluation", "log"}
    window.close()
    again = worker(layout=file)
    assert seen(again) == {"evaluation", "log"}
    again.reset_layout()
    assert seen(again) == {"evaluation"}
    again.show_workspace("inspect")
    assert seen(again) == {"browser", "descriptor", "matches"}
    again.reset_layout()
    assert seen(again) == {"browser", "descriptor", "probe", "matches"}


def test_a_narrow_window_shows_icons_and_one_panel_on_each_side(
    qtbot: QtBot, worker: MakeWindow, actions: Actions
):
    window = worker(1024, 700)
    rail = window.findChild(PanelRail)
    assert rail.isVisible()
    assert seen(window) == set()
    assert window.centralWidget().width() > 940
    for name in ("probe", "matches"):
        button = rail.widgetForAction(actions[f"dock_{name}"])
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert seen(window) == {name}
    actions["dock_browser"].trigger()
    assert seen(window) == {"browser", "matches"}
    actions["dock_matches"].trigger()
    assert seen(window) == {"browser"}
    window.resize(1400, 900)
    qtbot.waitUntil(lambda: seen(window) == {"browser", "descriptor", "probe", "matches"})
    assert not rail.isVisible()
    window.resize(1024, 700)
    qtbot.waitUntil(lambda: seen(window) == {"browser"})


def test_a_narrow_window_gives_other_work_all_its_room_and_brings_the_pair_back(
    qtbot: QtBot, worker: MakeWindow
):
    window = worker(1024, 700)
    window.show_workspace("evaluate")
    assert not window.centralWidget().isVisible()
    qtbot.waitUntil(lambda: window.docks["evaluation"].width() == window.width())
    window.show_pair()
    assert window.centralWidget().isVisible()
    assert seen(window) == set()
    window.resize(1400, 900)
    window.show_workspace("train")
    window.show_pair()  # it is in sight
    assert seen(window) == {"training"}


def test_the_row_of_messages_keeps_its_place_in_all_workspaces(
    qtbot: QtBot, worker: MakeWindow, models: AppModels
):
    window = worker()
    models.messages.notify("odd.", "warning")
    window.show_workspace("evaluate")
    bar = window.notifications.bar
    assert bar.isVisible()
    qtbot.waitUntil(lambda: bar.width() == window.width())
    window.notifications.clear()
    window.show_workspace("inspect")  # whose layout was kept while the row was shown
    assert not bar.isVisible()
    models.messages.notify("odd again.", "warning")
    assert bar.isVisible()
    assert bar.y() > window.tool_bar.y()


def test_the_layout_of_an_earlier_version_becomes_that_of_inspect(
    worker: MakeWindow, tmp_path: Path
):
    window = worker()
    window.docks["browser"].hide()
    window.docks["log"].show()
    geometry, state = window.saveGeometry(), window.saveState(2)
    checksum = hashlib.sha256(bytes(geometry.data()) + b"|" + bytes(state.data())).hexdigest()
    file = tmp_path / "old.ini"
    store = QSettings(str(file), QSettings.Format.IniFormat)
    for key, value in {
        "version": 2, "geometry": geometry, "state": state, "checksum": checksum,
    }.items():  # fmt: skip
        store.setValue(key, value)
    store.sync()
    again = worker(layout=file)
    assert seen(again) == {"descriptor", "probe", "matches", "log"}
    again.show_workspace("train")
    assert seen(again) == {"training"}


# Reports and dialogs -----------------------------------------------------------------------------


def report(trace: str = "Traceback\nx") -> CrashReport:
    return CrashReport("ValueError: no", trace, "MainThread", 0.0)


def test_a_fault_is_reported_once_counted_while_open_and_said_in_passing_later(
    window: MainWindow, models: AppModels
):
    window.show_report(report())
    dialogs = window.findChildren(ReportDialog)
    assert len(dialogs) == 1
    window.show_report(report())
    assert "occurred 2 times" in dialogs[0].report()
    dialogs[0].copy()
    copied = QGuiApplication.clipboard().text()
    assert "Traceback" in copied
    assert "PySide6" in copied
    dialogs[0].close()
    window.show_report(report())
    assert not any(dialog.isVisible() for dialog in window.findChildren(ReportDialog))
    assert "happened again" in window.notifications.row.message.text
    window.show_report(report("another"))
    assert any(dialog.isVisible() for dialog in window.findChildren(ReportDialog))
    for dialog in window.findChildren(ReportDialog):
        dialog.close()


@pytest.mark.parametrize("name", ["settings", "help_shortcuts", "about"])
def test_dialogs_open_once_beside_the_window(
    qtbot: QtBot, window: MainWindow, actions: Actions, name: str
):
    actions[name].trigger()
    actions[name].trigger()
    shown = [dialog for dialog in window.findChildren(QDialog) if dialog.isVisible()]
    assert len(shown) == 1
    assert not shown[0].isModal()
    shown[0].close()


def test_the_palette_opens_by_its_shortcut(window: MainWindow, actions: Actions):
    keys = actions["palette"].shortcut()
    assert keys == QKeySequence("Ctrl+Shift+P")
    QTest.keySequence(window, keys)
    assert window.command_palette.isVisible()
    window.command_palette.close()


def test_about_tells_versions_devices_screens_and_folders(home: Path, qapp: QApplication):
    facts = collect_facts(EngineState())
    assert re.match(r"\d+\.\d+", facts["Versions"]["torch"])
    assert "still being loaded" in facts["Devices"]["engine"]
    assert facts["Folders"]["Log"].startswith(str(home))
    assert len(facts["Screens"]) == len(QGuiApplication.screens())
    ready = EngineState("ready", devices=(DeviceChoice("cpu", "CPU (2)"),))
    assert "  cpu: CPU (2)\n" in facts_as_text(collect_facts(ready))
    assert "* **cpu**  CPU (2)\n" in about_text(ready)


def test_long_lines_of_code_are_read_without_scrolling_and_copied_whole(qtbot: QtBot):
    command = "python -m pip install " + " ".join(f"package-{number}" for number in range(60))
    dialog = TextDialog("Doctor", f"```\n{command}\n```")
    qtbot.addWidget(dialog)
    dialog.show()
    assert dialog.page.horizontalScrollBar().maximum() == 0
    dialog.copy()
    assert command in QGuiApplication.clipboard().text()


# Log panel ---------------------------------------------------------------------------------------


@pytest.fixture
def panel(qtbot: QtBot, models: AppModels, tmp_path: Path) -> LogPanel:
    models.messages.log("older", "warning")
    panel = LogPanel(models.messages, tmp_path / "log")
    qtbot.addWidget(panel)
    panel.resize(900, 200)
    panel.show()
    models.messages.log("a note", topic="data set")
    models.messages.log("a fault\nin two lines", "error", "its trace")
    return panel


def listed(panel: LogPanel) -> list[str]:
    return [panel.filter.index(row, 3).data() for row in range(panel.filter.rowCount())]


def test_the_log_lists_old_and_new_messages_and_filters_them(panel: LogPanel):
    assert listed(panel) == ["older", "a note", "a fault in two lines"]
    panel.level.setCurrentIndex(1)
    assert listed(panel) == ["older", "a fault in two lines"]
    panel.level.setCurrentIndex(2)
    assert listed(panel) == ["a fault in two lines"]
    assert panel.count.text() == "1 of 3"
    panel.level.setCurrentIndex(0)
    panel.search.setText("DATA")
    assert listed(panel) == ["a note"]
    panel.search.setText("its trace")
    assert listed(panel) == ["a fault in two lines"]


def test_the_log_copies_the_selection_or_everything_shown(panel: LogPanel):
    panel.copy()
    assert QGuiApplication.clipboard().text().count("\t") == 9
    panel.table.selectionModel().select(
        panel.filter.index(2, 0),
        QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows,
    )
    assert panel.detail.toPlainText() == "a fault\nin two lines\n\nits trace"
    QTest.keySequence(panel.table, QKeySequence.StandardKey.Copy)
    copied = QGuiApplication.clipboard().text()
    assert "a fault\nin two lines\nits trace" in copied
    assert "a note" not in copied


def test_copy_in_the_log_is_not_taken_by_the_command_that_copies_the_panes(
    qtbot: QtBot, window: MainWindow, models: AppModels, actions: Actions
):
    open_a_pair(models)
    actions["dock_log"].trigger()
    log = window.docks["log"].widget()
    assert isinstance(log, LogPanel)
    models.messages.log("a note")
    log.table.setFocus()
    qtbot.waitUntil(log.table.hasFocus)
    with qtbot.assertNotEmitted(actions["copy_canvas"].triggered):
        QTest.keySequence(window.windowHandle(), QKeySequence.StandardKey.Copy)
    assert QGuiApplication.clipboard().text().endswith("a note")


def test_the_log_drops_the_oldest_lines(
    panel: LogPanel, models: AppModels, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("descgui.views.log_dock.KEPT_MESSAGES", 3)
    models.messages.log("newest")
    assert listed(panel) == ["a note", "a fault in two lines", "newest"]
