"""Workspaces, keys and read-outs in the real window, as somebody who works with them meets them."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, Qt

from descgui.models.maps_state import DescriptorChoice
from descgui.views.compare_popup import ComparePopup
from tests.e2e.driving import WAIT_MS, click, hover, open_ready, wait_rest


def test_workspaces_keep_their_layouts_and_the_pair_is_a_key_away(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    docks, keys = window.window.docks, window.pair_view
    browser = docks["browser"]
    window.window.resizeDocks([browser], [330], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: browser.width() == 330, timeout=WAIT_MS)

    window.actions["workspace_evaluate"].trigger()
    assert docks["evaluation"].isVisible()
    assert window.evaluation_panel.width() > docks["evaluation"].width() // 2
    assert not docks["descriptor"].isVisible()
    groups = window.evaluation_panel.form.groups  # of the set that is open
    qtbot.waitUntil(groups.isEnabled, timeout=WAIT_MS)
    groups.showPopup()
    rows = groups.popup.list
    assert [rows.item(row).text() for row in range(rows.count())] == ["i_light", "v_turn"]
    rows.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert window.models.evaluation.choice.state.config().group == ("v_turn",)
    rows.item(0).setCheckState(Qt.CheckState.Checked)
    assert window.models.evaluation.choice.state.config().group == ()
    groups.popup.close()
    qtbot.keyClick(keys, Qt.Key.Key_D)  # the next pair
    qtbot.waitUntil(lambda: window.models.pair.state.pair.index == 3, timeout=WAIT_MS)
    window.actions["workspace_train"].trigger()
    assert docks["training"].isVisible()
    assert not docks["evaluation"].isVisible()

    window.actions["workspace_inspect"].trigger()
    qtbot.waitUntil(lambda: browser.width() == 330, timeout=WAIT_MS)
    assert not docks["training"].isVisible()
    window.actions["reset_layout"].trigger()
    qtbot.waitUntil(lambda: browser.width() != 330, timeout=WAIT_MS)

    window.window.resize(1024, 700)
    qtbot.waitUntil(lambda: not browser.isVisible(), timeout=WAIT_MS)  # its icon stands for it
    assert min(canvas.width() for canvas in keys.canvases) > 400
    wait_rest(qtbot, window)


def test_keys_reasons_and_the_order_of_panes(qtbot, open_window, sequences):
    window = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    models, canvas = window.models, window.pair_view.canvases[0]

    hover(qtbot, window, 0, (100.0, 70.0))
    click(qtbot, canvas, (100.0, 70.0))
    x, y = models.probe.probe.point_px
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    qtbot.keyClick(canvas, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: models.probe.probe.point_px == (x + 1, y + 1), timeout=WAIT_MS)
    window.actions["zoom_in"].trigger()
    assert models.probe.probe.point_px == (x + 1, y + 1)

    members = window.actions["mode_members"]
    assert not members.isEnabled()
    assert "has no members" in members.toolTip()
    window.maps.choose(models.maps, DescriptorChoice("msnet_v1"))
    qtbot.waitUntil(members.isEnabled, timeout=WAIT_MS)
    wait_rest(qtbot, window)

    models.compared[0].choose(DescriptorChoice("daisy"))
    qtbot.waitUntil(lambda: models.compared[0].ready, timeout=WAIT_MS)
    window.actions["compare"].trigger()
    rows = window.window.findChild(ComparePopup).list.model()
    rows.moveRow(QModelIndex(), 1, QModelIndex(), 0)  # what a drop does
    qtbot.waitUntil(lambda: models.maps.choice.name == "daisy", timeout=WAIT_MS)
    assert models.compared[0].choice.name == "msnet_v1"
    wait_rest(qtbot, window)
