"""The point under the mouse, and the pinned ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from PySide6.QtCore import QObject, Signal

from engine import api
from engine.api import Side


@dataclass(frozen=True, slots=True)
class Probe:
    """A point of one image that is asked about.

    Attributes:
        region_px: width and height of a box around it, whose mean descriptor asks.
    """

    side: Side
    point_px: api.Point
    region_px: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """A probe that stays.

    Attributes:
        number: counts from 1 and is never used twice in a session of the window.
        probe: where it is.
        answer: its match by the shown descriptor, None until computed.
        compared: its matches by the descriptors beside it, by their numbers, from 1.
    """

    number: int
    probe: Probe
    answer: api.ProbeAnswer | None = None
    compared: Mapping[int, api.ProbeAnswer] = field(default_factory=lambda: MappingProxyType({}))

    def answer_of(self, descriptor: int) -> api.ProbeAnswer | None:
        """Its match by one descriptor, None until computed."""
        return self.answer if descriptor == 0 else self.compared.get(descriptor)

    def with_answer(self, descriptor: int, answer: api.ProbeAnswer | None) -> Pin:
        """The pin with the match by one descriptor; None removes it."""
        if descriptor == 0:
            return replace(self, answer=answer)
        others = {number: one for number, one in self.compared.items() if number != descriptor}
        if answer is not None:
            others[descriptor] = answer
        return replace(self, compared=MappingProxyType(others))


class ProbeModel(QObject):
    """The live probe and its answers.

    Signals:
        moved(Probe | None): the mouse is over another point, or over none.
        answered(ProbeAnswer | None): the shown descriptor's latest answer, which may be about a
            point that the mouse has just left.
        compared(int, ProbeAnswer | None): the same of a descriptor beside it, and its number.
    """

    moved = Signal(object)
    answered = Signal(object)
    compared = Signal(int, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._probe: Probe | None = None
        self._answer: api.ProbeAnswer | None = None
        self._comparisons: dict[int, api.ProbeAnswer] = {}
        self._used = False

    @property
    def was_used(self) -> bool:
        """Whether any point was ever probed."""
        return self._used

    @property
    def probe(self) -> Probe | None:
        """The point under the mouse, or the last one that was."""
        return self._probe

    @property
    def answer(self) -> api.ProbeAnswer | None:
        """The shown descriptor's latest answer."""
        return self._answer

    def answer_of(self, descriptor: int) -> api.ProbeAnswer | None:
        """The latest answer of a descriptor, counted from 0, the shown one."""
        return self._answer if descriptor == 0 else self._comparisons.get(descriptor)

    def move(self, probe: Probe | None) -> None:
        """Put the probe somewhere; None also clears the answers.  Silent when nothing changes."""
        if probe == self._probe:
            return
        self._probe = probe
        self._used = self._used or probe is not None
        self.moved.emit(probe)
        if probe is None:
            self.clear_answers()

    def set_answer(self, answer: api.ProbeAnswer | None, descriptor: int = 0) -> None:
        """Show a descriptor's answer; by default the shown one's."""
        if answer is self.answer_of(descriptor):
            return
        if descriptor == 0:
            self._answer = answer
            self.answered.emit(answer)
            return
        if answer is None:
            del self._comparisons[descriptor]
        else:
            self._comparisons[descriptor] = answer
        self.compared.emit(descriptor, answer)

    def clear_answers(self) -> None:
        """Show no descriptor's answer."""
        for descriptor in (0, *self._comparisons):
            self.set_answer(None, descriptor)


class PinsModel(QObject):
    """The pinned probes, in order of pinning; changed through undo commands only.

    Signals:
        changed(tuple[Pin, ...]): pins came, went, moved or got answers.
        selected_changed(int): number of the selected pin, 0 for none.
    """

    changed = Signal(object)
    selected_changed = Signal(int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pins: tuple[Pin, ...] = ()
        self._selected = 0
        self._next = 1

    @property
    def pins(self) -> tuple[Pin, ...]:
        """All pins."""
        return self._pins

    @property
    def selected(self) -> int:
        """Number of the selected pin, 0 for none."""
        return self._selected

    def take_number(self) -> int:
        """A number for a new pin."""
        number = self._next
        self._next += 1
        return number

    def count_from(self, number: int) -> None:
        """Give new pins this number or a higher one."""
        self._next = max(self._next, number)

    def set_pins(self, pins: tuple[Pin, ...]) -> None:
        """Replace all pins."""
        if pins != self._pins:
            self._pins = pins
            self.changed.emit(pins)
            if self._selected not in {pin.number for pin in pins}:
                self.select(0)

    def set_answer(self, number: int, answer: api.ProbeAnswer | None, descriptor: int = 0) -> None:
        """Give one pin the answer of a descriptor; ignored if the pin is gone."""
        self.set_pins(
            tuple(
                pin.with_answer(descriptor, answer) if pin.number == number else pin
                for pin in self._pins
            )
        )

    def select(self, number: int) -> None:
        """Select a pin, 0 for none."""
        if number != self._selected:
            self._selected = number
            self.selected_changed.emit(number)
