"""How the pair is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine import api
from engine.api import PLAIN, PcaFit, Placement, ViewMode


@dataclass(frozen=True, slots=True)
class ViewState:
    """How the pair is shown.

    Attributes:
        mode: image; pca (opaque colours); overlay (colours over the image); heat (the probe's
            similarity over the other image); warp (one image warped onto the other); cycle (map
            of the A→B→A error); members (which member of a set won); norms (how
            long a network's vectors are); error (how far each match is from the truth).
        linked: both panes share pan and zoom, through the truth where one is known.
        blink: in warp mode, show the other image instead of the blend.
        own_ranges: fit heat maps' colours for each descriptor alone; otherwise all share a range.
        pca_fit: which images the PCA basis is fitted on.
        pca_basis: the file with the basis that "file" means.
        pca_colouring: which component is which colour.
        pca_level: which member of a set PCA shows.
        self_similarity: the heat map and the best places are also shown in the query's own image.
        arrangement: panes side by side, above one another (stacked), or whichever shows more.
    """

    mode: ViewMode = "heat"
    linked: bool = False
    blink: bool = False
    own_ranges: bool = False
    pca_fit: PcaFit = "both"
    pca_basis: Path | None = None
    pca_colouring: api.Colouring = PLAIN
    pca_level: int = 0
    self_similarity: bool = False
    arrangement: Placement = "auto"
