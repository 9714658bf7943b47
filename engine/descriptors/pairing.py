"""Describing the two images of a pair, each as far as it can be without the other.

What was made of an image serves all pairs that the image is in: an ordinary descriptor's maps do;
of a :class:`~engine.descriptors.base.PairDescriptor` what it saw when it looked, and the maps of
every member that some pair has chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.descriptors.base import (
    Choice,
    DenseDescriptor,
    DescriptorMap,
    Levels,
    Member,
    PairDescriptor,
)
from engine.descriptors.compute import choose_members, describe_image, look_at_image
from engine.progress import CancelToken, Event, ignore_event
from engine.vocabulary import Precision, Side

_KEPT_MEMBERS = 8


@dataclass(slots=True, eq=False, kw_only=True)
class PairImage:
    """One image of a pair, or of many.

    Attributes:
        descriptor: what describes it.
        pixels: ``(H, W, 3)`` RGB in [0, 1], both sides at least 16.
        side: which image of its pairs it is.
        device: torch device name or "auto".
        precision: arithmetic; reduced only where the descriptor allows it.
        emit: receives each note.
    """

    descriptor: DenseDescriptor
    pixels: NDArray[np.float32]
    side: Side
    device: str
    precision: Precision
    emit: Callable[[Event], None] = ignore_event
    _look: Any = None
    _maps: dict[Member, DescriptorMap] = field(default_factory=dict)
    _levels: Levels | None = None

    def look(self, cancel: CancelToken) -> Any:
        """What the descriptor saw in this image alone; None where it wants to see nothing.

        Raises:
            DeviceError, DescSpaceError, JobCancelled: as :func:`describe_image`.
        """
        if self._look is None and isinstance(self.descriptor, PairDescriptor):
            self._look = look_at_image(
                self.descriptor,
                self.pixels,
                self.side,
                device=self.device,
                precision=self.precision,
                cancel=cancel,
                emit=self.emit,
            )
        return self._look

    def levels(self, choice: Choice | None, cancel: CancelToken) -> Levels:
        """The maps of this image, by what the pair chose; made once.

        Raises:
            DeviceError, DescSpaceError, JobCancelled: as :func:`describe_image`.
        """
        if choice is None:
            if self._levels is None:
                self._levels = self._describe(None, cancel)
            return self._levels
        members = choice.members_a if self.side == "a" else choice.members_b
        missing = tuple(member for member in members if member not in self._maps)
        if missing:
            kept = [member for member in self._maps if member in members]
            if len(self._maps) + len(missing) > _KEPT_MEMBERS:
                self._maps = {member: self._maps[member] for member in kept}
            made = self._describe(missing, cancel)
            self._maps |= {level.member: level for level in made}
        return tuple(self._maps[member] for member in members)

    def _describe(self, members: tuple[Member, ...] | None, cancel: CancelToken) -> Levels:
        levels, _ = describe_image(
            self.descriptor,
            self.pixels,
            device=self.device,
            precision=self.precision,
            members=members,
            cancel=cancel,
            emit=self.emit,
        )
        return levels


def choose_for_pair(
    image_a: PairImage, image_b: PairImage, cancel: CancelToken | None = None
) -> Choice | None:
    """What the pair chose; None for a descriptor that describes each image alone.

    Raises:
        DeviceError, DescSpaceError, JobCancelled: as :func:`describe_image`.
    """
    descriptor = image_a.descriptor
    cancel = cancel or CancelToken()
    if not isinstance(descriptor, PairDescriptor):
        return None
    return choose_members(
        descriptor,
        image_a.look(cancel),
        image_b.look(cancel),
        device=image_a.device,
        precision=image_a.precision,
        cancel=cancel,
    )


def describe_blank(
    descriptor: DenseDescriptor,
    edge_px: int,
    *,
    device: str,
    precision: Precision,
    cancel: CancelToken | None = None,
) -> Levels:
    """The maps of a blank image in a pair of such: what any image's maps will be like.

    Raises:
        DeviceError, DescSpaceError, JobCancelled: as :func:`describe_image`.
    """
    cancel = cancel or CancelToken()
    blank = np.zeros((edge_px, edge_px, 3), np.float32)
    sides: tuple[Side, Side] = ("a", "b")
    image_a, image_b = (
        PairImage(
            descriptor=descriptor, pixels=blank, side=side, device=device, precision=precision
        )
        for side in sides
    )
    return image_a.levels(choose_for_pair(image_a, image_b, cancel), cancel)
