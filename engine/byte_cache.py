"""Things kept in memory within a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ByteCache(Generic[Key, Value]):
    """Keeps what was used last, within a number of bytes; safe to use from several threads.

    What is *spare*, kept in case that it is asked for, leaves first; once it was asked for, it is
    like all others.

    Args:
        budget_bytes: what all entries may take together.
        keep_at_least: how many of the latest entries stay even where they exceed the budget: a pair
            needs the maps of both its images.
    """

    def __init__(self, budget_bytes: int, *, keep_at_least: int) -> None:
        self._budget_bytes = budget_bytes
        self._keep_at_least = keep_at_least
        self._entries: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._spare: OrderedDict[Key, None] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The entry, which counts as used now; None if it is not there."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            self._spare.pop(key, None)
            return entry[0]

    def __contains__(self, key: Key) -> bool:
        """Whether there is an entry, which does not count as used."""
        with self._lock:
            return key in self._entries

    @property
    def budget_bytes(self) -> int:
        """What all entries may take together."""
        return self._budget_bytes

    def put(self, key: Key, value: Value, size_bytes: int, *, spare: bool = False) -> None:
        """Add or replace an entry, and drop the ones unused for longest if there is no room."""
        with self._lock:
            self._entries.pop(key, None)
            self._spare.pop(key, None)
            self._entries[key] = (value, size_bytes)
            if spare:
                self._spare[key] = None
            total = sum(size for _, size in self._entries.values())
            while total > self._budget_bytes and self._spare:
                gone, _ = self._spare.popitem(last=False)
                total -= self._entries.pop(gone)[1]
            while total > self._budget_bytes and len(self._entries) > self._keep_at_least:
                _, (_, dropped_bytes) = self._entries.popitem(last=False)
                total -= dropped_bytes

    def drop(self, condition: Callable[[Key], bool]) -> None:
        """Drop all entries whose key meets a condition."""
        with self._lock:
            for key in [key for key in self._entries if condition(key)]:
                del self._entries[key]
                self._spare.pop(key, None)
