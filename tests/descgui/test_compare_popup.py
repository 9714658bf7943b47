"""The list below the Compare button: adding, removing and ordering descriptors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QToolButton, QWidget

from descgui.models.bundle import AppModels, make_models
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.models.maps_state import DescriptorChoice
from descgui.views.compare_popup import ComparePopup
from descgui.views.descriptor_list import DETAIL_ROLE


class Describing:
    """Chooses what it is told to."""

    def choose(self, model: Any, choice: DescriptorChoice) -> None:
        model.choose(choice)

    def cancel(self) -> None:
        raise AssertionError("nothing is described")


@pytest.fixture
def models(qapp: Any) -> AppModels:
    made = make_models(None)
    infos = tuple(
        DescriptorChoiceInfo(name, name.upper(), "", "", False, ())
        for name in ("daisy", "msnet", "other", "precomputed")
    )
    made.engine.set(EngineState("ready", descriptors=infos))
    made.maps.choose(DescriptorChoice("daisy"))
    return made


@pytest.fixture
def window(qtbot: Any) -> QWidget:
    made = QWidget()
    made.resize(900, 500)
    qtbot.addWidget(made)
    return made


@pytest.fixture
def popup(window: QWidget, models: AppModels) -> ComparePopup:
    button = QToolButton(window)
    button.setGeometry(840, 10, 40, 30)
    window.show()
    made = ComparePopup(models, Describing(), window)
    made.pop_up(button)
    return made


def shown(popup: ComparePopup) -> list[str]:
    return [popup.list.item(row).text() for row in range(popup.list.count())]


def chosen(models: AppModels) -> list[str]:
    return [maps.choice.name for maps in models.descriptors]


def add(popup: ComparePopup, name: str) -> None:
    place = popup.add.findData(name)
    popup.add.setCurrentIndex(place)
    popup.add.activated.emit(place)


def test_it_opens_below_its_button_and_inside_the_window(popup):
    window = popup.parentWidget()
    place = popup.geometry()
    assert popup.isVisible()
    assert place.top() >= window.mapToGlobal(window.rect().topLeft()).y() + 40
    assert place.right() <= window.mapToGlobal(window.rect().topRight()).x()
    assert shown(popup) == ["DAISY"]
    assert not popup.remove_button.isEnabled()


def test_descriptors_are_added_until_all_places_are_taken(popup, models):
    assert popup.add.findData("precomputed") == -1
    for name in ("msnet", "other", "daisy"):
        add(popup, name)
    assert chosen(models) == ["daisy", "msnet", "other", "daisy"]
    assert shown(popup) == ["DAISY", "MSNET", "OTHER", "DAISY"]
    assert not popup.add.isEnabled()
    assert popup.add.currentText() == "No more than four"


def test_what_can_be_added_stands_in_groups_with_times(popup, models):
    infos = [replace(one, source="built-in") for one in models.engine.state.descriptors]
    infos[1] = replace(infos[1], source="mine.py")
    models.engine.update(descriptors=tuple(infos))
    titles = [popup.add.itemText(row) for row in range(popup.add.count())]
    assert titles == [
        "Add a descriptor…", "Ready", "DAISY", "OTHER", "Yours", "MSNET", "", "Another network…",
    ]  # fmt: skip
    assert popup.add.itemData(popup.add.findData("other"), DETAIL_ROLE) == "not measured"
    assert not popup.add.model().index(1, 0).flags() & Qt.ItemFlag.ItemIsSelectable


def test_a_removed_descriptor_leaves_its_place_to_the_next(popup, models):
    for name in ("msnet", "other"):
        add(popup, name)
    popup.list.setCurrentRow(0)
    QTest.keyClick(popup.list, Qt.Key.Key_Delete)
    assert chosen(models) == ["msnet", "other", "", ""]
    popup.remove_button.click()
    assert chosen(models) == ["other", "", "", ""]
    assert not popup.remove_button.isEnabled()


def test_dragging_changes_the_order_of_the_panes(popup, models, qtbot):
    models.compared[0].choose(DescriptorChoice("msnet", {"weights": "x.pth"}))
    add(popup, "other")
    root, rows = QModelIndex(), popup.list.model()
    assert rows.mimeData([rows.index(1, 0)]) is not None  # what a drag copies
    popup.list.model().moveRow(root, 2, root, 0)  # what a drop does
    qtbot.waitUntil(lambda: chosen(models) == ["other", "daisy", "msnet", ""])
    assert models.descriptors[2].choice.values == {"weights": "x.pth"}
    assert shown(popup)[0] == "OTHER"


def test_another_network_is_asked_for_in_the_next_free_place(popup, models, qtbot):
    with qtbot.waitSignal(popup.network_requested) as asked:
        add(popup, "network…")
    assert asked.args == [models.compared[0]]
    assert not popup.isVisible()
