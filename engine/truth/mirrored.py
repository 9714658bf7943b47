"""Truth by flow to the mirrored copy of the other image.

Two objects of one class that look in opposite directions match only when one of them is mirrored.
Data sets for semantic matching then give the flow of each image to the other one as it is after
left and right were swapped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.truth.base import DenseTruth, Points, Size, TruePoints, Truth
from engine.truth.flow import FlowSource
from engine.vocabulary import Side, TruthKind, TruthOrigin


@dataclass(frozen=True, slots=True)
class MirroredFlowSource:
    """Files with flow between images of which the other one is mirrored.

    Attributes:
        forward: from image a to the mirrored image b, for each pixel of image a.
        backward: from image b to the mirrored image a, for each pixel of image b.
        origin: who made it.
    """

    forward: Path
    backward: Path
    origin: TruthOrigin = "given"

    @property
    def kind(self) -> TruthKind:
        """Flow."""
        return "flow"

    @property
    def files(self) -> tuple[Path, ...]:
        """Both flows."""
        return self.forward, self.backward

    def open(self, size_a_px: Size, size_b_px: Size) -> MirroredFlowTruth:
        """Read both flows.

        Raises:
            TruthError: a file cannot be read, or has another size than its image.
        """
        forward, backward = self._flows()
        return MirroredFlowTruth(
            forward.open(size_a_px, size_b_px), backward.open(size_b_px, size_a_px)
        )

    def identity(self) -> str:
        """Hashes of both files.

        Raises:
            TruthError: a file cannot be read.
        """
        return " ".join(("mirrored", *(flow.identity() for flow in self._flows())))

    def _flows(self) -> tuple[FlowSource, FlowSource]:
        return FlowSource(self.forward), FlowSource(self.backward)


@dataclass(frozen=True, slots=True, eq=False)
class MirroredFlowTruth(DenseTruth):
    """Opened flows to the mirrored image.

    Attributes:
        forward: from image a to the mirrored image b.
        backward: from image b to the mirrored image a.
    """

    forward: Truth
    backward: Truth

    @property
    def kind(self) -> TruthKind:
        """Flow."""
        return "flow"

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """(width, height) of both images."""
        return self.forward.sizes_px

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """By the flow of the point's own image, with left and right swapped in the other one."""
        own = self.forward if side == "a" else self.backward
        found = own.locate("a", points_px)
        width_px = own.sizes_px[1][0]
        places = np.column_stack([width_px - 1 - found.points_px[:, 0], found.points_px[:, 1]])
        return TruePoints(places, found.visibility, found.uncertainty_px)
