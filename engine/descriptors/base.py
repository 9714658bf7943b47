"""The contract of every dense descriptor.

Whatever describes pixels takes a batch of images and returns :data:`Levels`: one
:class:`DescriptorMap` for an ordinary descriptor, several for a *descriptor space* that describes a
pixel by a set (over scales, rotations, ...).  Callers need nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from engine.geometry.coords import CellGrid
from engine.vocabulary import Side

if TYPE_CHECKING:
    from engine.descriptors.families.backbone import Layer
    from engine.descriptors.grid_measure import MeasuredGrid


@dataclass(frozen=True, slots=True)
class Part:
    """What part of an image a member shows, and in what perspective.

    Attributes:
        middle_px: the point of the image that comes to lie in the middle of the view.
        size: (width, height) of the view, in pixels of a view at scale 1.
        perspective: by how much the depth of a pixel grows along x and along y, where that of
            ``middle_px`` is 1: things there are as many times smaller.
    """

    middle_px: tuple[float, float]
    size: tuple[float, float]
    perspective: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Member:
    """Which member of a set a map is: how the image was changed before it was described.

    First it is squeezed, then resized, then turned.

    Attributes:
        scale: factor by which the image was resized (0.5: half size, a wider view).
        angle_deg: counter-clockwise turn of the image.
        tilt: lengths along ``tilt_deg`` were divided by this, as if seen from the side; at least 1.
        tilt_deg: direction of the squeeze, counter-clockwise from the x axis, in the image as it
            was before the turn; in [0, 180).
        part: what is shown; None for the whole image.  In perspective, all the above holds for the
            middle of the part.
        wide: surroundings count more than usual; the image is changed as without.
    """

    scale: float = 1.0
    angle_deg: float = 0.0
    tilt: float = 1.0
    tilt_deg: float = 0.0
    part: Part | None = None
    wide: bool = False

    @property
    def growth(self) -> float:
        """Factor by which lengths grow on average: areas grow by its square."""
        return self.scale / math.sqrt(self.tilt)


@dataclass(frozen=True, slots=True, eq=False)
class DescriptorMap:
    """Dense descriptors of a batch of images.

    Attributes:
        values: ``(B, D, H', W')``, each cell of unit length or all zero (nothing to describe).
        grid: placement of the cells in the image that was described.
        member: what set member this is; the default for a descriptor that is not a set.
    """

    values: Tensor
    grid: CellGrid
    member: Member = Member()


Levels = tuple[DescriptorMap, ...]


@runtime_checkable
class DenseDescriptor(Protocol):
    """Describes every pixel of an image.

    Attributes:
        dim: length of one descriptor.
        shift_period_px: an image moved by this many pixels gives the same map, moved.
        trained: False for a network with random weights; every view of it must show that.
        half_precision: True where bfloat16 or float16 arithmetic changes no match that matters.
    """

    dim: int
    shift_period_px: int
    trained: bool
    half_precision: bool

    def describe(self, images: Tensor) -> Levels:
        """Describe a batch.

        Args:
            images: ``(B, 3, H, W)`` RGB in [0, 1], float32, on the device to compute on; any
                H, W ≥ 16, odd sizes included.

        Returns:
            Levels on the same device, float32.  The same input gives the same output.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExpectedInput:
    """What a network was trained on: ``(x - mean) / std`` of values in [0, 1], channel by channel.

    A descriptor may carry this as an attribute ``expects``; then what really reaches its network is
    compared with it.

    Attributes:
        mean: in the order of ``channels``.
        std: in the same order.
        channels: which colour comes first.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: Literal["RGB", "BGR"] = "RGB"


@runtime_checkable
class TileableDescriptor(DenseDescriptor, Protocol):
    """A descriptor whose vectors depend on their surroundings only.

    Attributes:
        reach_px: no vector depends on a pixel farther from its cell, along either axis; None where
            vectors may depend on the whole image.
    """

    reach_px: int | None


@runtime_checkable
class TrainableDescriptor(DenseDescriptor, Protocol):
    """A descriptor with weights that training can change."""

    module: nn.Module


@runtime_checkable
class LayeredDescriptor(DenseDescriptor, Protocol):
    """A network that can describe by any of its layers."""

    @property
    def layers(self) -> Sequence[Layer]:
        """From the image to the end."""
        ...

    @property
    def chosen(self) -> tuple[int, ...]:
        """The numbers of the layers that ``describe`` uses, ascending."""
        ...

    def can_describe_by(self, layer: int, check: Callable[[], None]) -> bool:
        """Whether one layer alone can be used with the same settings; may take seconds.

        Args:
            layer: its number.
            check: called now and then; may raise.
        """
        ...

    def describe_layers(self, images: Tensor, layers: Sequence[int]) -> tuple[Levels, ...]:
        """As ``describe`` by each of some layers alone, in one pass through the network."""
        ...

    def raw_layers(
        self,
        images: Tensor,
        layers: Sequence[int],
        check: Callable[[], None] | None = None,
        *,
        norm: bool | None = None,
    ) -> Levels:
        """A level for each of some layers, with vectors as long as the network made them.

        ``norm`` decides, in place of the setting, whether a last normalisation makes all vectors
        nearly equally long.
        """
        ...

    def layer_grid(self, layer: int) -> CellGrid:
        """Where the cells lie that ``describe_layers`` gives, in pixels of the network's input."""
        ...

    def measured_layer(self, layer: int) -> MeasuredGrid:
        """Where the network's own cells were found, in the same pixels, with all that was measured.

        With some settings ``describe_layers`` gives more of them.
        """
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """By which members the two images of a pair are described.

    Attributes:
        members_a: of image a.
        members_b: of image b.
        text: why, in words: "b shows things 1.4 times as large, turned by 30°; ...".
        weak_vote: why the pair could not tell, as a sentence; "" where it could.
        vote_right: the probability that the vote is right; None where it is not known.
    """

    members_a: tuple[Member, ...]
    members_b: tuple[Member, ...]
    text: str = ""
    weak_vote: str = ""
    vote_right: float | None = None


@runtime_checkable
class PairDescriptor(DenseDescriptor, Protocol):
    """A descriptor that looks at both images of a pair before it describes either.

    It sees the two images and nothing else: no truth, and none of the points that will be asked.
    What it remembers of an image serves all pairs that the image is in.  ``describe`` stays what
    it is, for an image alone.
    """

    def look(self, images: Tensor, side: Side, check: Callable[[], None]) -> Any:
        """Look at a batch of one.

        Args:
            images: ``(1, 3, H, W)`` RGB in [0, 1].
            side: which image of a pair it will be.
            check: called now and then; may raise.

        Returns:
            Whatever :meth:`choose` needs.
        """
        ...

    def choose(self, look_a: Any, look_b: Any) -> Choice:
        """Decide how the images of a pair are described."""
        ...

    def describe_members(
        self, images: Tensor, members: tuple[Member, ...], look: Any, check: Callable[[], None]
    ) -> Levels:
        """As ``describe``, by these members.

        Args:
            images: ``(1, 3, H, W)`` RGB in [0, 1].
            members: those of the image in what :meth:`choose` returned.
            look: what :meth:`look` returned for the image; on another device where memory ran out.
            check: called now and then; may raise.

        Returns:
            A level for each member, in order.
        """
        ...
