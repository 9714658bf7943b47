"""A form made from declared settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLineEdit

from descgui.views.form import NumberBox, OptionForm, step_for
from engine.api import OptionInfo, build_config, describe_options, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    radius_px: float = option(15.0, help="distance of the outer ring", unit="px", low=1.0)
    rings: int = option(3, help="number of rings", low=1, high=8)
    normalise: bool = option(True, help="to unit length")
    flavour: Literal["none", "partial", "sift"] = option("sift", help="of the normalisation")
    weights: Path | None = option(None, help="trained weights")
    scales: tuple[float, ...] = option((1.0, 0.5), help="of the set", low=0.1, high=4.0)
    turns: tuple[int, ...] = option((), help="rotations")
    limit: int | None = option(None, help="how many at most", low=1)
    note: str = option("", help="anything")
    metric: tuple[Literal["all", "round_trip", "dense"], ...] = option((), help="what else")


@pytest.fixture
def form(qtbot):
    made = OptionForm(describe_options(Settings))
    qtbot.addWidget(made)
    made.show()
    return made


def emitted(form):
    seen = []
    form.changed.connect(seen.append)
    return seen


def type_into(qtbot, field, text):
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, text)
    qtbot.keyClick(field, Qt.Key.Key_Return)


def test_every_declared_setting_has_a_field_of_its_kind(form):
    assert form.names == tuple(info.name for info in describe_options(Settings))
    kinds = {name: type(form.field(name)) for name in form.names}
    assert kinds["radius_px"] is NumberBox
    assert kinds["rings"] is NumberBox
    assert kinds["normalise"] is QCheckBox
    assert kinds["flavour"] is QComboBox
    assert kinds["weights"] is kinds["scales"] is kinds["note"] is QLineEdit


def test_a_fresh_form_holds_the_defaults_and_offers_no_reset(form):
    assert form.values() == {}
    assert not any(form.reset_button(name).isVisible() for name in form.names)


def test_a_finished_edit_is_told_once_with_only_what_differs(form, qtbot):
    seen = emitted(form)
    type_into(qtbot, form.field("radius_px"), "20.5")
    form.field("rings").setFocus()  # leaving the field must not tell it again
    assert seen == [{"radius_px": 20.5}]


def test_going_back_to_the_default_by_hand_empties_the_values(form, qtbot):
    type_into(qtbot, form.field("rings"), "5")
    seen = emitted(form)
    type_into(qtbot, form.field("rings"), "3")
    assert seen == [{}]


def test_reset_shows_only_while_changed_and_brings_the_default_back(form, qtbot):
    type_into(qtbot, form.field("radius_px"), "7")
    reset = form.reset_button("radius_px")
    assert reset.isVisible()
    seen = emitted(form)
    reset.click()
    assert seen == [{}]
    assert not reset.isVisible()
    assert form.field("radius_px").number() == 15.0


def test_setting_values_is_silent_and_read_back(form, tmp_path):
    weights = tmp_path / "ünïcode.pth"
    weights.touch()
    seen = emitted(form)
    values = {"radius_px": 9.25, "normalise": False, "flavour": "none", "scales": [1, 0.7]}
    form.set_values({**values, "weights": weights, "unknown": 1})
    assert seen == []
    assert form.values() == {**values, "scales": (1, 0.7), "weights": str(weights)}
    form.set_values({})
    assert form.values() == {}


def test_what_the_form_hands_out_builds_the_settings(form, tmp_path):
    weights = tmp_path / "w.pth"
    weights.touch()
    form.set_values(
        {"weights": str(weights), "turns": (0, 90), "limit": 12, "flavour": "partial", "rings": 8}
    )
    built = build_config(Settings, form.values())
    assert built == Settings(weights=weights, turns=(0, 90), limit=12, flavour="partial", rings=8)


@pytest.mark.parametrize("text", ["/no/such/file.pth", "a" * 300, "~nobody-of-that-name/x"])
def test_a_missing_file_is_named_in_words_and_not_told(form, qtbot, text):
    seen = emitted(form)
    type_into(qtbot, form.field("weights"), text)
    assert "no such file" in form.problem("weights")
    assert seen == []
    assert form.values() == {}
    type_into(qtbot, form.field("weights"), " ")
    assert form.problem("weights") == ""


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("scales", "1, two", "two"),
        ("scales", "1, nan", "nan"),
        ("scales", "1, 0.01", "below 0.1"),
        ("scales", "1, 5", "above 4"),
    ],
)
def test_bad_numbers_are_named_in_words_and_the_last_good_ones_stay(form, qtbot, name, text, word):
    form.set_values({name: (2.0,)})
    seen = emitted(form)
    type_into(qtbot, form.field(name), text)
    assert word in form.problem(name)
    assert seen == []
    assert form.values() == {name: (2.0,)}


def test_numbers_are_typed_with_commas(form, qtbot):
    seen = emitted(form)
    type_into(qtbot, form.field("scales"), "2, 1 ,0.25,")
    assert seen == [{"scales": (2.0, 1.0, 0.25)}]


def test_several_words_are_ticked_in_a_menu_that_stays_open(form, qtbot):
    seen = emitted(form)
    button = form.field("metric")
    assert button.text() == "none"
    menu = button.menu()
    menu.popup(QPoint(0, 0))
    for action in menu.actions()[1:]:
        place = menu.actionGeometry(action).center()
        qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=place)
        assert menu.isVisible()
    menu.setActiveAction(menu.actions()[2])
    qtbot.keyClick(menu, Qt.Key.Key_Space)
    menu.close()
    assert seen == [{"metric": ("round_trip",)}, {"metric": ("round_trip", "dense")},
                    {"metric": ("round_trip",)}]  # fmt: skip
    assert button.text() == "round trip"
    assert build_config(Settings, form.values()).metric == ("round_trip",)
    form.reset_button("metric").click()
    assert button.text() == "none"
    assert seen[-1] == {}


def test_an_optional_number_can_be_emptied_and_filled(form, qtbot):
    seen = emitted(form)
    box = form.field("limit")
    assert box.text() == "none"
    type_into(qtbot, box, "4")
    box.setFocus()
    box.selectAll()
    qtbot.keyClick(box, Qt.Key.Key_Delete)
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert seen == [{"limit": 4}, {}]
    assert box.number() is None


def test_numbers_are_written_short_and_with_a_point(qtbot):
    box = NumberBox(OptionInfo("a", "float", 0.65, "", low=0.0, high=1e4))
    qtbot.addWidget(box)
    for value, text in ((15.0, "15"), (0.125, "0.125"), (10.0, "10"), (1234.5, "1234.5")):
        box.set_number(value)
        assert box.text() == text


def test_a_number_keeps_its_unit_its_range_and_its_digits(qtbot):
    box = NumberBox(OptionInfo("a_px", "float", 0.0001, "", unit="px", low=0.0, high=0.01))
    qtbot.addWidget(box)
    box.set_number(0.00012345)
    assert box.number() == pytest.approx(0.00012345, abs=1e-7)
    assert box.suffix() == " px"
    box.set_number(7.0)
    assert box.number() == 0.01


@pytest.mark.parametrize(
    ("info", "step"),
    [
        (OptionInfo("a", "int", 3, ""), 1.0),
        (OptionInfo("a", "int", 640, ""), 10.0),
        (OptionInfo("a", "float", 15.0, ""), 1.0),
        (OptionInfo("a", "float", 0.9, "", low=0.0, high=1.0), 0.05),
        (OptionInfo("a", "float", None, "", optional=True), 0.1),
    ],
)
def test_steps_fit_the_size_of_the_number(info, step):
    assert step_for(info) == pytest.approx(step)


def test_the_help_is_tooltip_and_accessible_description(form):
    field = form.field("rings")
    assert "Number of rings" in field.toolTip()
    assert "From 1 to 8" in field.toolTip()
    assert field.accessibleName() == "Rings"
    assert field.accessibleDescription() == "number of rings"


def test_the_wheel_changes_no_field_without_focus(form):
    box = form.field("rings")
    form.field("note").setFocus()
    wheel = QWheelEvent(
        QPointF(5, 5), box.mapToGlobal(QPointF(5, 5)), QPoint(0, 0), QPoint(0, 120),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(box, wheel)
    assert box.number() == 3
    assert not wheel.isAccepted()


def test_an_optional_yes_or_no_can_be_left_open(qtbot):
    form = OptionForm((OptionInfo("flip", "bool", None, "", optional=True),), {"flip": False})
    qtbot.addWidget(form)
    assert form.values() == {"flip": False}
    combo = form.field("flip")
    combo.setCurrentIndex(combo.findText("none"))
    combo.activated.emit(combo.currentIndex())
    assert form.values() == {}


def test_a_form_fits_a_narrow_panel(form):
    assert form.minimumSizeHint().width() <= 240
