"""The one holder of state: a frozen value with a signal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QObject, Signal

State = TypeVar("State")


class StateModel(QObject, Generic[State]):
    """Holds a state, a frozen value, and tells when it changes.

    A change to an equal value is silent.  Arrays are equal only if they are the same object.

    Signals:
        changed(State): after every real change.
    """

    changed = Signal(object)

    def __init__(self, state: State, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state

    @property
    def state(self) -> State:
        """The present state."""
        return self._state

    def set(self, state: State) -> None:
        """Replace the state."""
        if not _same(state, self._state):
            self._state = state
            self.changed.emit(state)

    def update(self, **changes: Any) -> None:
        """Replace some fields of the state."""
        if not all(_same(getattr(self._state, name), value) for name, value in changes.items()):
            self.set(replace(self._state, **changes))  # type: ignore[type-var]


def _same(old: object, new: object) -> bool:
    try:
        return old is new or bool(old == new)
    except ValueError:  # arrays compare element by element
        return False
