"""The list of descriptors in the real window: its groups, and times that were measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox

from descgui.models.describing_times import SLOW_S, TIMES_FILE
from descgui.views.descriptor_list import DETAIL_ROLE, SLOW
from engine.api import config_dir
from tests.e2e.driving import WAIT_MS, close, open_ready, wait_rest


def groups_of(combo: QComboBox) -> dict[str, dict[str, tuple[str, str]]]:
    """Heading -> name -> time in the list, tooltip."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    heading = ""
    for row in range(combo.count()):
        item: Any = combo.model().item(row)
        if not combo.itemText(row) or combo.itemText(row).startswith("Open network"):
            continue
        if combo.itemData(row) is None:
            heading = combo.itemText(row)
            assert not item.flags() & Qt.ItemFlag.ItemIsSelectable
            continue
        tip = combo.itemData(row, Qt.ItemDataRole.ToolTipRole)
        found.setdefault(heading, {})[combo.itemData(row)] = (
            combo.itemData(row, DETAIL_ROLE), tip.splitlines()[-1],
        )  # fmt: skip
    return found


def test_descriptors_stand_in_groups_with_times_that_were_measured(
    qtbot, open_window, sequences, tmp_path, fresh_home
):
    kept = config_dir() / TIMES_FILE
    kept.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        "msnet_v0": {"seconds": 7.5, "long_edge_px": 640, "device": "cpu"},
        "daisy": {"seconds": "soon", "long_edge_px": 640, "device": "cpu"},
    }
    kept.write_text(yaml.safe_dump(rows), encoding="utf-8")
    plugin = tmp_path / "listed.py"
    plugin.write_text(
        "from engine.descriptors.registry import get_descriptor, register_descriptor\n"
        "entry = get_descriptor('daisy')\n"
        "@register_descriptor('listed', title='Listed', config=entry.config)\n"
        "def build(config):\n"
        "    return entry.build(config)\n",
        encoding="utf-8",
    )
    options: dict[str, Any] = {"plugins": (plugin,), "descriptor": "daisy"}
    window = open_ready(qtbot, open_window, sequences, **options)
    combo = window.descriptor.shown.combo
    taken = window.models.maps.status("b").info
    groups = groups_of(combo)
    assert list(groups) == ["Ready", "Needs weights", SLOW, "Yours"]
    assert list(groups["Needs weights"]) == ["superpoint"]
    assert groups[SLOW] == {
        "msnet_v0": ("7.5 s", "Measured last on this machine: 7.5 s for an image of 640 px on cpu.")
    }
    assert groups["Yours"]["listed"] == ("not measured", "Not measured on this machine yet.")
    assert groups["Ready"]["daisy"][1].startswith("Measured now: ")
    assert f"for an image of {max(taken.working_size_px)} px" in groups["Ready"]["daisy"][1]
    written = yaml.safe_load(Path(kept).read_text(encoding="utf-8"))
    assert abs(written["daisy"]["seconds"] - taken.seconds) < 1e-3
    assert written["msnet_v0"]["seconds"] == 7.5

    combo.showPopup()
    chosen = combo.findData("msnet_v0")
    combo.hidePopup()
    combo.setCurrentIndex(chosen)
    combo.activated.emit(chosen)
    qtbot.waitUntil(
        lambda: window.models.maps.choice.name == "msnet_v0" and window.models.maps.ready,
        timeout=WAIT_MS,
    )
    wait_rest(qtbot, window)
    seconds = window.models.maps.status("b").info.seconds
    group = "Ready" if seconds <= SLOW_S else SLOW
    assert groups_of(combo)[group]["msnet_v0"][1].startswith("Measured now: ")
    assert combo.currentData() == "msnet_v0"
    heading = combo.findText("Ready")
    combo.activated.emit(heading)
    assert window.models.maps.choice.name == "msnet_v0"
    close(qtbot, window)

    again = open_ready(qtbot, open_window, sequences, descriptor="daisy")
    shown = groups_of(again.descriptor.shown.combo)[group]["msnet_v0"]
    assert shown[1].startswith("Measured last on this machine: ")
