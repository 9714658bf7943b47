"""Makes many small things, such as thumbnails, in the background: only those still in view."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from PySide6.QtCore import QObject

from descgui.models.messages import Failure
from descgui.workers.lane import JobLane
from engine.api import JobContext

_BATCH = 4
Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class InView(QObject, Generic[Key, Made]):
    """Makes things in a lane of its own, in small batches.

    Args:
        make: makes a thing from its key, on the worker's thread; never fails.
        report: called with a failure of the lane itself.
    """

    def __init__(
        self,
        make: Callable[[Key], Made],
        report: Callable[[Failure], object],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._make = make
        self._waiting: list[Key] = []
        self._making: frozenset[Key] = frozenset()
        self.lane = JobLane(report, self)

    def want(self, keys: Sequence[Key], show: Callable[[Key, Made], object]) -> None:
        """Make some and show each; what was wanted before and is not among them is forgotten.

        Args:
            keys: say what, the first one to be made first.
            show: called with a key and its thing, on the window's thread.
        """
        self._waiting = [key for key in reversed(keys) if key not in self._making]
        if not self.lane.busy:
            self._next(show)

    def _next(self, show: Callable[[Key, Made], object]) -> None:
        batch = [self._waiting.pop() for _ in range(min(_BATCH, len(self._waiting)))]
        self._making = frozenset(batch)
        if not batch:
            return

        def make(context: JobContext) -> list[tuple[Key, Made]]:
            found = []
            for key in batch:
                context.cancel.check()
                found.append((key, self._make(key)))
            return found

        self.lane.submit(make, key="in view", done=lambda found: self._show(found, show))

    def _show(self, found: list[tuple[Key, Made]], show: Callable[[Key, Made], object]) -> None:
        for key, made in found:
            show(key, made)
        self._next(show)
