"""The point under the mouse, and the pinned ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, Signal

from engine.api import Point, ProbeAnswer, Side


@dataclass(frozen=True, slots=True)
class Probe:
    """A point of one image that is asked about."""

    side: Side
    point_px: Point


@dataclass(frozen=True, slots=True)
class Pin:
    """A probe that stays.

    Attributes:
        number: counts from 1 and is never used twice in a session of the window.
        probe: where it is.
        answer: its match by the shown descriptor, None until computed.
    """

    number: int
    probe: Probe
    answer: ProbeAnswer | None = None


class ProbeModel(QObject):
    """The live probe and its answers.

    Signals:
        moved(Probe | None): the mouse is over another point, or over none.
        answered(ProbeAnswer | None): the shown descriptor's latest answer, which may be about a
            point that the mouse has just left.
        compared(ProbeAnswer | None): the same of the compared descriptor.
    """

    moved = Signal(object)
    answered = Signal(object)
    compared = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._probe: Probe | None = None
        self._answer: ProbeAnswer | None = None
        self._comparison: ProbeAnswer | None = None

    @property
    def probe(self) -> Probe | None:
        """The point under the mouse."""
        return self._probe

    @property
    def answer(self) -> ProbeAnswer | None:
        """The shown descriptor's latest answer."""
        return self._answer

    @property
    def comparison(self) -> ProbeAnswer | None:
        """The compared descriptor's latest answer."""
        return self._comparison

    def move(self, probe: Probe | None) -> None:
        """Put the probe somewhere; None also clears the answers.  Silent when nothing changes."""
        if probe == self._probe:
            return
        self._probe = probe
        self.moved.emit(probe)
        if probe is None:
            self.set_answer(None)
            self.set_comparison(None)

    def set_answer(self, answer: ProbeAnswer | None) -> None:
        """Show the shown descriptor's answer."""
        if answer is not self._answer:
            self._answer = answer
            self.answered.emit(answer)

    def set_comparison(self, answer: ProbeAnswer | None) -> None:
        """Show the compared descriptor's answer."""
        if answer is not self._comparison:
            self._comparison = answer
            self.compared.emit(answer)


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

    def set_pins(self, pins: tuple[Pin, ...]) -> None:
        """Replace all pins."""
        if pins != self._pins:
            self._pins = pins
            self.changed.emit(pins)
            if self._selected not in {pin.number for pin in pins}:
                self.select(0)

    def set_answer(self, number: int, answer: ProbeAnswer | None) -> None:
        """Give one pin its answer; ignored if the pin is gone."""
        self.set_pins(
            tuple(
                replace(pin, answer=answer) if pin.number == number else pin for pin in self._pins
            )
        )

    def select(self, number: int) -> None:
        """Select a pin, 0 for none."""
        if number != self._selected:
            self._selected = number
            self.selected_changed.emit(number)
