"""What a session keeps in memory, and by which keys."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from engine.data.pairs import ImagePair
from engine.descriptors.registry import get_descriptor
from engine.imagefiles.value_range import ValueRange
from engine.inspection.requests import Recipe
from engine.paths import FileStamp
from engine.vocabulary import PRECOMPUTED, SIDES, Side, other_side

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class MapKey:
    """All that the maps of one image depend on.

    Attributes:
        image: the image file.
        shown: which of its values are black and white; None for its own range.
        recipe: without what concerns the other image or this descriptor does not use.
        files: further files that are read: weights, precomputed maps and what describes them.
        build: the registered builder; a plugin that is loaded again has another one.
        partner: where a pair decides how its images are described: which side the image is, and
            the other image's file with its range, None for what does not depend on that.
    """

    image: FileStamp
    shown: ValueRange | None
    recipe: Recipe
    files: tuple[FileStamp, ...]
    build: Hashable
    partner: tuple[Side, tuple[FileStamp, ValueRange | None] | None] | None = None

    @classmethod
    def of(cls, pair: ImagePair, side: Side, recipe: Recipe) -> MapKey:
        """The key of one side of a pair; reads each file's folder entry.

        Raises:
            ConfigError: there is no such descriptor.
        """
        files = list(recipe.spec.weights_stamps())
        shown, other = pair.range_of(side), other_side(side)
        if recipe.spec.name == PRECOMPUTED:
            if recipe.map_files is not None:
                path = recipe.map_files[SIDES.index(side)]
                files += [FileStamp.of(path), FileStamp.of(path.with_suffix(".json"))]
            recipe, shown = replace(recipe, long_edge_px=0, precision="float32"), None
        entry = get_descriptor(recipe.spec.name)
        return cls(
            image=FileStamp.of(pair.path(side)),
            shown=shown,
            recipe=replace(recipe, map_files=None),
            files=tuple(files),
            build=entry.build,
            partner=(side, (FileStamp.of(pair.path(other)), pair.range_of(other)))
            if entry.by_pair
            else None,
        )

    @property
    def alone(self) -> MapKey:
        """The key of what does not depend on the other image."""
        return replace(self, partner=self.partner and (self.partner[0], None))

    def reads(self, path: Path) -> bool:
        """Whether a file is among those the maps were made from."""
        partner = self.partner and self.partner[1]
        stamps = (self.image, *self.files, partner and partner[0])
        absolute = os.path.abspath(path)  # noqa: PTH100
        return any(stamp is not None and stamp.path == absolute for stamp in stamps)


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


def return_freed_memory() -> None:
    """Give what was freed back to the system.

    glibc's heap returns only what lies at its end, and the small arrays of kept images lie between
    the large ones that describing needs for a moment: without this a session grew by seven times
    what it kept.  Other systems' heaps need no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
