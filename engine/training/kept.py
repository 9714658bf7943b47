"""What a training reads again and again, kept in memory as far as it fits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from engine.errors import DatasetError, DescSpaceError

Value = TypeVar("Value")


class KeptReader(Generic[Value]):
    """Reads numbered things; one that cannot be used is replaced by the next one that can.

    What is kept stays kept: the things come in a new order each epoch, so any other policy would
    read as many again.  Safe to use from several threads.

    Args:
        count: how many there are.
        read: reads one; an ``unusable`` error says that it cannot be used.
        size_bytes: memory that one takes.
        unusable: the error.
        tell: called once for each that cannot be used, with its number and the error.
        none_left: what is raised once none can be used.
        budget_bytes: memory that those which are kept may take.
    """

    def __init__(
        self,
        count: int,
        read: Callable[[int], Value],
        *,
        size_bytes: Callable[[Value], int],
        unusable: type[DescSpaceError],
        tell: Callable[[int, str], None],
        none_left: DatasetError,
        budget_bytes: int,
    ) -> None:
        self._count = count
        self._read = read
        self._size_bytes = size_bytes
        self._unusable = unusable
        self._tell = tell
        self._none_left = none_left
        self._left_bytes = budget_bytes
        self._kept: dict[int, Value] = {}
        self._broken: set[int] = set()
        self._lock = threading.Lock()

    def get(self, index: int) -> Value:
        """The thing of this number, or the next one that can be used.

        Raises:
            DatasetError: none can.
        """
        for step in range(self._count):
            place = (index + step) % self._count
            kept = self._kept.get(place)
            if kept is not None:
                return kept
            if place in self._broken:
                continue
            try:
                value = self._read(place)
            except self._unusable as error:
                self._report(place, str(error).removesuffix("."))
                continue
            with self._lock:
                taken = self._size_bytes(value)
                if taken <= self._left_bytes and place not in self._kept:
                    self._kept[place] = value
                    self._left_bytes -= taken
            return value
        raise self._none_left

    def _report(self, place: int, problem: str) -> None:
        with self._lock:
            known = place in self._broken
            self._broken.add(place)
        if not known:
            self._tell(place, problem)
