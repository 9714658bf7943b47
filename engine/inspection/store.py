"""By which keys a session keeps maps in memory."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from engine.data.pairs import ImagePair
from engine.descriptors.registry import get_descriptor
from engine.imagefiles.value_range import ValueRange
from engine.inspection.requests import Recipe
from engine.paths import FileStamp
from engine.vocabulary import PRECOMPUTED, SIDES, Side, other_side


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


def return_freed_memory() -> None:
    """Give what was freed back to the system.

    glibc's heap returns only what lies at its end, and the small arrays of kept images lie between
    the large ones that describing needs for a moment: without this a session grew by seven times
    what it kept.  Other systems' heaps need no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
