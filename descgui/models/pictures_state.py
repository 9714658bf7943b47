"""Pictures computed from the maps: PCA colours, warped images, cycles, members, norms, errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from engine import api


@dataclass(frozen=True, slots=True, eq=False)
class PicturesState:
    """What has been computed for the open pair; None where it has not.

    Attributes:
        pca: colours of the shown descriptor.
        pca_compared: colours of the descriptors beside it, by their numbers, from 1.
        cycle_a, cycle_b: A→B→A error at each cell of image a, and the other way round, in px.
        winners: winning set members over image a.
        norms_a, norms_b: how long the vectors of each image are.
        errors_a, errors_b: how far the match of each cell of an image is from its true point.
        warped_b: image b warped onto image a, ``(H, W, 3)`` uint8.
        warped_a: image a warped onto image b.
        busy: what is being computed, "" when nothing is.
        problem: one sentence why the picture of the present mode is missing, "" when it is not.
    """

    pca: api.PcaAnswer | None = None
    pca_compared: Mapping[int, api.PcaAnswer] = field(default_factory=lambda: MappingProxyType({}))
    cycle_a: api.ScalarMap | None = None
    cycle_b: api.ScalarMap | None = None
    winners: api.WinnersAnswer | None = None
    norms_a: api.NormsAnswer | None = None
    norms_b: api.NormsAnswer | None = None
    errors_a: api.ErrorsAnswer | None = None
    errors_b: api.ErrorsAnswer | None = None
    warped_b: NDArray[np.uint8] | None = None
    warped_a: NDArray[np.uint8] | None = None
    busy: str = ""
    problem: str = ""

    def shows_the_same_as(self, other: PicturesState) -> bool:
        """Whether the pictures are the same, whatever is being computed or could not be."""
        return all(
            getattr(self, one.name) is getattr(other, one.name)
            for one in fields(self)
            if one.name not in ("busy", "problem")
        )
