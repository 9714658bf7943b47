"""Describing the two images of a pair: the one place that knows the order of the steps.

An ordinary descriptor describes each image alone.  A
:class:`~engine.descriptors.base.PairDescriptor` looks at each image once, chooses the members of
both from the two looks, and describes the images by these (docs/adr/0004).  A :class:`PairImage`
keeps what was computed for an image, so that it serves all pairs that the image is in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

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
from engine.descriptors.compute import describe_image, run_on_image, working
from engine.devices import resolve_device
from engine.progress import CancelToken, JobContext, Phase, Stage
from engine.vocabulary import SIDES, Precision, Side

_KEPT_MEMBERS = 8


@dataclass(frozen=True, slots=True, eq=False)
class PairMaps:
    """How one image of a pair was described.

    Attributes:
        levels: its maps, a batch of one.
        notes: sentences for the user about what was computed now.
        chosen: what the pair decided, "" where each image is described alone.
        weak_vote: why it could not tell, "" where it could.
        vote_right: the probability that its vote is right; None where it is not known.
    """

    levels: Levels
    notes: tuple[str, ...]
    chosen: str = ""
    weak_vote: str = ""
    vote_right: float | None = None


@dataclass(slots=True, eq=False, kw_only=True, weakref_slot=True)
class PairImage:
    """One image of a pair, or of many, and what was computed for it so far.

    Attributes:
        descriptor: describes it.
        pixels: ``(H, W, 3)`` RGB in [0, 1], both sides at least 16.
        side: which image of its pairs it is.
        device: torch device name or "auto".
        precision: arithmetic; reduced only where the descriptor allows it.
        keep_maps: False where the caller keeps them.
    """

    descriptor: DenseDescriptor
    pixels: NDArray[np.float32]
    side: Side
    device: str
    precision: Precision
    keep_maps: bool = True
    _look: Any = None
    _choices: WeakKeyDictionary[PairImage, Choice] = field(default_factory=WeakKeyDictionary)
    _alone: Levels | None = None
    _maps: dict[Member, DescriptorMap] = field(default_factory=dict)

    def describe(self, open_partner: Callable[[], PairImage], context: JobContext) -> PairMaps:
        """Describe this image as its pair decides.

        Args:
            open_partner: returns the other image; called only if the descriptor looks at pairs.
            context: gets each note, and is checked for cancelling.

        Raises:
            DeviceError, DescSpaceError, JobCancelled: as
                :func:`~engine.descriptors.compute.describe_image`.
        """
        descriptor = self.descriptor
        if isinstance(descriptor, PairDescriptor):
            partner = open_partner()
            image_a, image_b = (self, partner) if self.side == "a" else (partner, self)
            return self._describe_by(image_a._choose_with(descriptor, image_b, context), context)
        if self._alone is not None:
            return PairMaps(self._alone, ())
        levels, notes = self._describe(None, context)
        if self.keep_maps:
            self._alone = levels
        return PairMaps(levels, notes)

    def _look_with(self, descriptor: PairDescriptor, context: JobContext) -> Any:
        if self._look is None:
            context.emit(Phase(Stage.LOOKING))
            self._look, _ = run_on_image(
                descriptor,
                self.pixels,
                lambda images: descriptor.look(images, self.side, context.cancel.check),
                device=self.device,
                precision=self.precision,
                context=context,
            )
        return self._look

    def _choose_with(
        self, descriptor: PairDescriptor, image_b: PairImage, context: JobContext
    ) -> Choice:
        choice = self._choices.get(image_b)
        if choice is None:
            look_a, look_b = (one._look_with(descriptor, context) for one in (self, image_b))
            context.emit(Phase(Stage.VOTING))
            device = resolve_device(self.device)
            with working(descriptor, device, self.precision, context.cancel):
                choice = self._choices[image_b] = descriptor.choose(look_a, look_b)
        return choice

    def _describe_by(self, choice: Choice, context: JobContext) -> PairMaps:
        members = choice.members_a if self.side == "a" else choice.members_b
        found = {member: self._maps[member] for member in members if member in self._maps}
        missing = tuple(member for member in members if member not in found)
        notes: tuple[str, ...] = ()
        if missing:
            made, notes = self._describe(missing, context)
            found |= {level.member: level for level in made}
        if self.keep_maps:
            full = len(self._maps.keys() | found.keys()) > _KEPT_MEMBERS
            self._maps = found if full else self._maps | found
        levels = tuple(found[member] for member in members)
        return PairMaps(levels, notes, choice.text, choice.weak_vote, choice.vote_right)

    def _describe(
        self, members: tuple[Member, ...] | None, context: JobContext
    ) -> tuple[Levels, tuple[str, ...]]:
        context.emit(Phase(Stage.DESCRIBING))
        return describe_image(
            self.descriptor,
            self.pixels,
            device=self.device,
            precision=self.precision,
            members=members,
            look=self._look,
            context=context,
        )


def describe_both(
    image_a: PairImage, image_b: PairImage, context: JobContext
) -> tuple[PairMaps, PairMaps]:
    """How both images of a pair were described, see :meth:`PairImage.describe`."""
    made_a = image_a.describe(lambda: image_b, context)
    return made_a, image_b.describe(lambda: image_a, context)


def describe_blank(
    descriptor: DenseDescriptor,
    edge_px: int,
    *,
    device: str,
    precision: Precision,
    cancel: CancelToken | None = None,
) -> Levels:
    """The maps of a blank square image in a pair of such: what any image's maps will be like.

    Raises:
        DeviceError, DescSpaceError, JobCancelled: as
            :func:`~engine.descriptors.compute.describe_image`.
    """
    blank = np.zeros((edge_px, edge_px, 3), np.float32)
    image_a, image_b = (
        PairImage(
            descriptor=descriptor, pixels=blank, side=side, device=device, precision=precision
        )
        for side in SIDES
    )
    context = JobContext(cancel=cancel or CancelToken())
    return image_a.describe(lambda: image_b, context).levels
