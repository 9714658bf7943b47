"""A form made from declared settings: no field is written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QLocale, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from descgui.views.icons import icon
from descgui.views.panel_parts import (
    Notice,
    Section,
    Sentence,
    StayingMenu,
    WheelNeedsFocus,
    in_row,
    narrow_combo,
)
from engine.api import ConfigError, OptionInfo, typed_path

_SUFFIXES = {
    "px": " px",
    "mb": " MB",
    "deg": "°",
    "percent": " %",
    "share": " %",
    "s": " s",
    "cells": " cells",
}
_UNBOUNDED = 1e9
_LEAST_DECIMALS = 6


def point_locale() -> QLocale:
    """Numbers as files and commands write them: a decimal point, no grouping."""
    locale = QLocale.c()
    locale.setNumberOptions(
        QLocale.NumberOption.OmitGroupSeparator | QLocale.NumberOption.RejectGroupSeparator
    )
    return locale


def unit_suffix(unit: str) -> str:
    """How a unit is written after a number."""
    return _SUFFIXES.get(unit, f" {unit}" if unit else "")


def unit_factor(unit: str) -> float:
    """What a number is multiplied by to be written in a unit: shares of 1 are shown in percent."""
    return 100.0 if unit == "share" else 1.0


def step_for(info: OptionInfo) -> float:
    """A step that moves a number visibly and hits round values."""
    if info.kind == "float" and info.low is not None and info.high is not None:
        span = info.high - info.low
        if 0.0 < span <= 2.0:
            return float(10.0 ** math.floor(math.log10(span)) / 20.0)
    magnitude = abs(info.default or 0.0) or info.high or 1.0
    step = 10.0 ** (math.floor(math.log10(abs(magnitude))) - 1)
    return max(1.0, step) if info.kind == "int" else float(step)


class NumberBox(QDoubleSpinBox):
    """A spin box for whole numbers and fractions that writes ``15``, not ``15.000000``.

    An optional one may be emptied: it then reads "none" and its :meth:`number` is None.
    """

    def __init__(self, info: OptionInfo, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._whole = info.kind == "int"
        self._optional = info.optional
        self._factor = factor = unit_factor(info.unit)
        self._step = factor * step_for(info)
        self._low = -_UNBOUNDED if info.low is None else factor * info.low
        high = _UNBOUNDED if info.high is None else factor * info.high
        self.setLocale(point_locale())
        self.setKeyboardTracking(False)
        self.setAccelerated(True)
        self.setSingleStep(self._step)
        finest = min(
            (abs(n) for n in (info.default, info.low, info.high, self._step) if n), default=1.0
        )
        self.setDecimals(
            0 if self._whole else max(_LEAST_DECIMALS, 3 - math.floor(math.log10(finest)))
        )
        self.setSuffix(unit_suffix(info.unit))
        # One step below the range stands for "none".
        self.setRange(self._low - self._step if self._optional else self._low, high)
        if self._optional:
            self.setSpecialValueText("none")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumSize(64, self.fontMetrics().height() + 8)

    def number(self) -> int | float | None:
        """The value; None where an optional one is empty."""
        value = self.value()
        if self._optional and value < self._low:
            return None
        return round(value) if self._whole else value / self._factor

    def set_number(self, value: float | None) -> None:
        """Show a value without a signal; None empties an optional one.

        What is being typed stays when the value is the one already held.
        """
        if value == self.number():
            return
        with QSignalBlocker(self):
            self.setValue(self.minimum() if value is None else self._factor * value)

    def textFromValue(self, value: float) -> str:
        text = self.locale().toString(value, "f", self.decimals())
        return text.rstrip("0").rstrip(".") if "." in text else text

    def valueFromText(self, text: str) -> float:
        bare = self._bare(text)
        if self._optional and bare in ("", self.specialValueText()):
            return self.minimum()
        return super().valueFromText(text)

    def validate(self, text: str, pos: int) -> object:
        """Accept an empty field where no value is allowed."""
        if self._optional and self._bare(text) in ("", self.specialValueText()):
            return QValidator.State.Acceptable, text, pos
        return super().validate(text, pos)

    def stepBy(self, steps: int) -> None:
        """Step from "none" to zero when the range has no lower end."""
        if self.number() is None and self._low == -_UNBOUNDED:
            self.setValue(0.0)
        else:
            super().stepBy(steps)

    def _bare(self, text: str) -> str:
        return text.removesuffix(self.suffix()).strip()


class _Editor(QWidget):
    """One field of a form.

    Signals:
        edited(): an edit is finished; :meth:`problem` tells whether it can be used.
    """

    edited = Signal()

    def __init__(self, control: QWidget, info: OptionInfo, parent: QWidget) -> None:
        super().__init__(parent)
        self.control = control
        self.info = info
        self.row = in_row(self, (control, 1), spacing_px=4)
        self.setFocusProxy(control)

    def value(self) -> Any:
        """The last valid value."""
        raise NotImplementedError

    def show_value(self, value: Any) -> None:
        """Show a value without a signal."""
        raise NotImplementedError

    def problem(self) -> str:
        """Why the present entry cannot be used, "" when it can."""
        return ""


class _CheckEditor(_Editor):
    def __init__(self, info: OptionInfo, parent: QWidget) -> None:
        self._box = QCheckBox()
        super().__init__(self._box, info, parent)
        self._box.clicked.connect(self.edited)

    def value(self) -> bool:
        return self._box.isChecked()

    def show_value(self, value: Any) -> None:
        self._box.setChecked(bool(value))


class _NumberEditor(_Editor):
    def __init__(self, info: OptionInfo, parent: QWidget) -> None:
        self._box = NumberBox(info)
        super().__init__(self._box, info, parent)
        self._box.valueChanged.connect(self.edited)

    def value(self) -> int | float | None:
        return self._box.number()

    def show_value(self, value: Any) -> None:
        self._box.set_number(value)


class _ChoiceEditor(_Editor):
    def __init__(self, info: OptionInfo, parent: QWidget) -> None:
        self._combo = narrow_combo()
        super().__init__(self._combo, info, parent)
        if info.optional:
            self._combo.addItem("none", None)
        if info.kind == "bool":
            self._combo.addItem("yes", True)
            self._combo.addItem("no", False)
        for title, word in zip(info.choice_titles or info.choices, info.choices, strict=True):
            self._combo.addItem(title, word)
        self._combo.activated.connect(self.edited)

    def value(self) -> Any:
        return self._combo.currentData()

    def show_value(self, value: Any) -> None:
        self._combo.setCurrentIndex(self._combo.findData(value))


class _ChoicesEditor(_Editor):
    """Several words, ticked in a menu that stays open."""

    def __init__(self, info: OptionInfo, parent: QWidget) -> None:
        self._button = QToolButton()
        super().__init__(self._button, info, parent)
        self._button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self._button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._button.setMinimumSize(64, self._button.fontMetrics().height() + 8)
        menu = StayingMenu(self._button)
        for word in info.choices:
            action = menu.addAction(word.replace("_", " "))
            action.setCheckable(True)
            action.setData(word)
        menu.triggered.connect(self._on_triggered)
        self._button.setMenu(menu)

    def value(self) -> tuple[str, ...]:
        return tuple(one.data() for one in self._button.menu().actions() if one.isChecked())

    def show_value(self, value: Any) -> None:
        for action in self._button.menu().actions():
            action.setChecked(action.data() in value)
        self._say()

    def _on_triggered(self) -> None:
        self._say()
        self.edited.emit()

    def _say(self) -> None:
        words = [word.replace("_", " ") for word in self.value()]
        self._button.setText(", ".join(words) or "none")


class _LineEditor(_Editor):
    """Text, numbers with commas between them, or a file."""

    def __init__(self, info: OptionInfo, parent: QWidget) -> None:
        self._line = QLineEdit()
        super().__init__(self._line, info, parent)
        self._value: Any = None
        self._problem = ""
        self._line.setMinimumWidth(48)
        if info.optional:
            self._line.setPlaceholderText("none")
        self._line.editingFinished.connect(self._finish)
        if info.kind in ("file", "folder"):
            browse = QToolButton(self)
            browse.setText("…")
            browse.setToolTip("Choose a file…" if info.kind == "file" else "Choose a folder…")
            browse.setAccessibleName(f"Choose a file for {info.label}")
            browse.clicked.connect(self._browse)
            self.row.addWidget(browse)

    def value(self) -> Any:
        return self._value

    def problem(self) -> str:
        return self._problem

    def show_value(self, value: Any) -> None:
        self._value = plain_value(value)
        self._line.setText(self._text_of(self._value))
        self._line.setCursorPosition(0)
        self._problem = self._read(self._line.text())[1]

    def say_empty(self, text: str) -> None:
        """Say what an empty field means."""
        self._line.setPlaceholderText(text)

    def _finish(self) -> None:
        value, self._problem = self._read(self._line.text().strip())
        if not self._problem:
            self._value = value
        self.edited.emit()

    def _browse(self) -> None:
        start = str(Path(self._value).parent) if self._value else ""
        if self.info.kind == "folder":
            chosen = QFileDialog.getExistingDirectory(self, self.info.label, start)
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, self.info.label, start)
        if chosen:
            self._line.setText(chosen)
            self._finish()

    def _text_of(self, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, tuple):
            return ", ".join(_number_text(part) for part in value)
        return str(value)

    def _read(self, text: str) -> tuple[Any, str]:
        """The value that a text means, and what is wrong with it ("" for nothing)."""
        if self.info.optional and not text:
            return None, ""
        if self.info.kind == "numbers":
            return self._read_numbers(text)
        if self.info.kind in ("file", "folder"):
            if not text:
                return None, f"A {self.info.kind} is needed."
            try:
                path = typed_path(text, self.info.name)
            except ConfigError:
                path = None
            if path is None or not (path.is_file() if self.info.kind == "file" else path.is_dir()):
                return None, f"There is no such {self.info.kind}."
        return text, ""

    def _read_numbers(self, text: str) -> tuple[Any, str]:
        info = self.info
        whole = all(isinstance(part, int) for part in info.default or (0.0,))
        numbers = []
        for part in (part.strip() for part in text.split(",")):
            if not part:
                continue
            try:
                number = float(part)
            except ValueError:
                return None, f"“{part}” is not a number."
            if not math.isfinite(number):
                return None, f"“{part}” is not a finite number."
            if whole and number != int(number):
                return None, f"“{part}” is not a whole number."
            if info.low is not None and number < info.low:
                return None, f"{part} is below {_number_text(info.low)}."
            if info.high is not None and number > info.high:
                return None, f"{part} is above {_number_text(info.high)}."
            numbers.append(int(number) if whole else number)
        return tuple(numbers), ""


def plain_value(value: Any) -> Any:
    """A value as the form compares and hands it out: paths as text, lists as tuples."""
    if isinstance(value, Path):
        return str(value)
    return tuple(value) if isinstance(value, list) else value


def _number_text(number: float) -> str:
    return repr(int(number)) if number == int(number) else repr(number)


def _make_editor(info: OptionInfo, parent: QWidget) -> _Editor:
    if info.kind == "choice" or (info.kind == "bool" and info.optional):
        return _ChoiceEditor(info, parent)
    if info.kind == "choices":
        return _ChoicesEditor(info, parent)
    if info.kind == "bool":
        return _CheckEditor(info, parent)
    if info.kind in ("int", "float"):
        return _NumberEditor(info, parent)
    return _LineEditor(info, parent)


class _Row:
    """The widgets of one setting."""

    def __init__(self, form: OptionForm, info: OptionInfo) -> None:
        self.info = info
        self.default = plain_value(info.default)
        self._nothing = ""
        self._shown = True
        self.editor = _make_editor(info, form)
        self.label = QLabel(info.label, form)
        self.label.setWordWrap(True)
        self.label.setBuddy(self.editor.control)
        self.reset = QToolButton(form)
        self.reset.setIcon(icon("reset"))
        self.reset.setAutoRaise(True)
        self.reset.setAccessibleName(f"Reset {info.label}")
        policy = self.reset.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.reset.setSizePolicy(policy)
        self.notice = Notice("error", form)
        self.explanation = Sentence(parent=form, quiet=True)
        self.explanation.setContentsMargins(0, 0, 0, 6)
        self.editor.control.setAccessibleName(info.label)
        self.editor.control.setAccessibleDescription(info.help)
        self._explain()

    @property
    def changed(self) -> bool:
        """True if the value differs from the default."""
        return bool(self.editor.value() != self.default)

    def show_whole(self, shown: bool) -> None:
        """Show all of it, or nothing."""
        self._shown = shown
        for widget in (self.label, self.editor):
            widget.setVisible(shown)
        policy = self.reset.sizePolicy()
        policy.setRetainSizeWhenHidden(shown)
        self.reset.setSizePolicy(policy)
        self.explanation.setVisible(shown and bool(self.explanation.sentence))
        self.refresh()

    def refresh(self) -> None:
        """Show the reset button and the problem where there is one."""
        problem = self.editor.problem()
        self.reset.setVisible(self._shown and (self.changed or bool(problem)))
        self.notice.say(problem if self._shown else "")

    def set_default(self, value: Any) -> None:
        """Use another value as the default."""
        if value != self.default:
            self.default = value
            self._explain()

    def _explain(self) -> None:
        self.reset.setToolTip(f"Back to the default: {self._default_text()}")
        tooltip = self._tooltip()
        for widget in (self.label, self.editor.control):
            widget.setToolTip(tooltip)

    def say_default(self, text: str) -> None:
        """Use other words for a default of nothing."""
        if text != self._nothing:
            self._nothing = text
            self._explain()

    def _default_text(self) -> str:
        if self.default is None:
            return self._nothing or "none"
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, tuple):
            parts = [one if isinstance(one, str) else _number_text(one) for one in self.default]
            return ", ".join(parts) or "none"
        if isinstance(self.default, int | float):
            return self._in_unit(self.default)
        words = dict(zip(self.info.choices, self.info.choice_titles, strict=False))
        return words.get(self.default, str(self.default)) + unit_suffix(self.info.unit)

    def _in_unit(self, number: float) -> str:
        shown = unit_factor(self.info.unit) * number
        return _number_text(shown) + unit_suffix(self.info.unit)

    def _tooltip(self) -> str:
        info = self.info
        lines = [info.help[:1].upper() + info.help[1:] + "." if info.help else info.label]
        if info.low is not None and info.high is not None:
            low = _number_text(unit_factor(info.unit) * info.low)
            lines.append(f"From {low} to {self._in_unit(info.high)}.")
        elif info.low is not None:
            lines.append(f"At least {self._in_unit(info.low)}.")
        elif info.high is not None:
            lines.append(f"At most {self._in_unit(info.high)}.")
        lines.append(f"Default: {self._default_text()}. In commands: {info.name}")  # fmt: skip
        return "\n".join(lines)


class OptionForm(QWidget):
    """Fields for declared settings, in two columns.

    An entry that cannot be used is named in words below its field; the value before it stays.

    Signals:
        changed(dict): once per finished edit: the values that differ from the defaults.
    """

    changed = Signal(object)

    def __init__(
        self,
        options: tuple[OptionInfo, ...],
        values: Mapping[str, Any] | None = None,
        parent: QWidget | None = None,
        *,
        explained: bool = False,
    ) -> None:
        super().__init__(parent)
        self._wheel = WheelNeedsFocus(self)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 2)
        grid.setColumnStretch(1, 3)
        self._rows: dict[str, _Row] = {}
        for info in options:
            row = _Row(self, info)
            line = 3 * len(self._rows)
            grid.addWidget(row.label, line, 0, Qt.AlignmentFlag.AlignVCenter)
            grid.addWidget(row.editor, line, 1)
            grid.addWidget(row.reset, line, 2)
            grid.addWidget(row.notice, line + 1, 0, 1, 3)
            if explained:
                row.explanation.say(f"{info.help[:1].upper()}{info.help[1:]}.")
                grid.addWidget(row.explanation, line + 2, 0, 1, 3)
            row.explanation.setVisible(explained)
            self._wheel.guard(row.editor.control)
            row.editor.edited.connect(self._on_edited)
            row.reset.clicked.connect(self._on_reset)
            self._rows[info.name] = row
        self._last: dict[str, Any] = {}
        self.set_values(values or {})

    @property
    def names(self) -> tuple[str, ...]:
        """The settings shown, in order."""
        return tuple(self._rows)

    def field(self, name: str) -> QWidget:
        """The control of one setting."""
        return self._rows[name].editor.control

    def reset_button(self, name: str) -> QToolButton:
        """The button that brings one setting back to its default."""
        return self._rows[name].reset

    def problem(self, name: str) -> str:
        """What is wrong with the entry of one setting, "" for nothing."""
        return self._rows[name].editor.problem()

    def values(self) -> dict[str, Any]:
        """The values that differ from the defaults; paths as text, lists as tuples."""
        return {name: row.editor.value() for name, row in self._rows.items() if row.changed}

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show these values, and defaults for the rest, without a signal.

        Names without a field are ignored.
        """
        for name, row in self._rows.items():
            row.editor.show_value(plain_value(values.get(name, row.default)))
            row.refresh()
        self._last = self.values()

    def say_empty(self, name: str, text: str) -> None:
        """Say what it means to leave the field of a file or text empty; "" says "none"."""
        row = self._rows[name]
        if isinstance(row.editor, _LineEditor):
            row.editor.say_empty(text or "none")
            row.say_default(text)

    def remove(self) -> None:
        """Take the form out of the window; an edit under way ends without a signal."""
        self.blockSignals(True)  # hiding a field ends its edit, but what it was meant for has gone
        self.hide()
        self.deleteLater()

    def show_only(self, wanted: Callable[[str], bool]) -> bool:
        """Show the settings with a text that is wanted: their names, help and values in words.

        Returns:
            whether there is one.
        """
        found = False
        for row in self._rows.values():
            here = wanted(" ".join((row.info.label, row.info.help, *row.info.choice_titles)))
            row.show_whole(here)
            found |= here
        return found

    def set_defaults(self, values: Mapping[str, Any]) -> None:
        """Use these values as the defaults; names that are missing keep the declared ones.

        The shown values stay; :meth:`values` compares them with the new defaults.
        """
        for name, row in self._rows.items():
            row.set_default(plain_value(values.get(name, row.info.default)))
            row.refresh()
        self._last = self.values()

    def _on_edited(self) -> None:
        for row in self._rows.values():
            row.refresh()
        values = self.values()
        if values != self._last:
            self._last = values
            self.changed.emit(values)

    def _on_reset(self) -> None:
        for row in self._rows.values():
            if row.reset is self.sender():
                row.editor.show_value(row.default)
                row.editor.control.setFocus()
        self._on_edited()


class LateSection(Section):
    """A section whose forms have many fields and are made when it is first opened.

    Args:
        title: heading of the section.
        groups: settings by the titles of their forms.
        made: called with each form once it is made.
        parent: owner.
    """

    def __init__(
        self,
        title: str,
        groups: Mapping[str, list[OptionInfo]],
        made: Callable[[OptionForm], None],
        parent: QWidget,
    ) -> None:
        super().__init__(title, parent, open_=False)
        self._groups = groups
        self._made = made
        self.forms: list[OptionForm] = []
        self.heading.toggled.connect(self._make)

    def _make(self, shown: bool) -> None:
        if not shown or self.forms:
            return
        for title, options in self._groups.items():
            if title:
                label = QLabel(title, self.content)
                label.setProperty("subtle", True)
                self.body.addWidget(label)
            form = OptionForm(tuple(options), parent=self.content)
            self.body.addWidget(form)
            self.forms.append(form)
            self._made(form)
