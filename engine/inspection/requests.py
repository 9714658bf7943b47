"""Questions about a pair and their answers: plain data that may cross threads and the border.

Every point here is in pixels of the original files.  Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.data.pairs import ImagePair
from engine.descriptors.registry import DescriptorSpec
from engine.matching.colouring import PLAIN, Colouring
from engine.matching.confidence import WITHIN_PX, Evidence
from engine.truth.base import Visibility
from engine.vocabulary import (
    SEPARATION_PX,
    PairMatcher,
    PcaFit,
    PointsKind,
    Precision,
    Side,
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an image becomes dense maps; hashable, so maps are cached by (image, recipe).

    Attributes:
        spec: the descriptor with all its settings.
        long_edge_px: the image is shrunk to this long edge first; 0 keeps its size.
        device: torch device name or "auto".
        precision: arithmetic; reduced only where the descriptor allows it.
        map_files: for the descriptor ``precomputed``: the map files of image a and b.
    """

    spec: DescriptorSpec
    long_edge_px: int = 640
    device: str = "auto"
    precision: Precision = "float32"
    map_files: tuple[Path, Path] | None = None

    def by(self, descriptor: str) -> Recipe:
        """The same recipe with another descriptor that takes the same settings."""
        return replace(self, spec=replace(self.spec, name=descriptor))


@dataclass(frozen=True, slots=True)
class Extent:
    """The area a map covers, in pixels of the original image (edges of its border cells)."""

    left_px: float
    top_px: float
    right_px: float
    bottom_px: float


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A layer of a network: the library's name for it, and as it tells them stride and length."""

    name: str
    stride_px: float
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """The layers of the network that made some maps.

    Attributes:
        layers: from the image to the end.
        chosen: the numbers of those that the maps are of, ascending.
        stride_px, offset_px: where the cells of the finest of them were found, (x, y) in pixels of
            the network's input, before they were brought to simple numbers.
        error_px: standard error of the offset.
        method: how they were found, see :class:`~engine.descriptors.grid_measure.MeasuredGrid`.
    """

    layers: tuple[LayerInfo, ...]
    chosen: tuple[int, ...]
    stride_px: tuple[float, float]
    offset_px: tuple[float, float]
    error_px: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MapInfo:
    """What is known about the finished maps of one image.

    Attributes:
        size_px: (width, height) of the original image.
        working_size_px: (width, height) it was described at.
        cells: (width, height) of the first level, in cells.
        stride_px: distance of its cells in original pixels (the larger of x and y).
        levels: how many maps, that is members of the set.
        dim: length of a descriptor.
        size_bytes: memory of all maps.
        seconds: time to describe.
        device: where it was computed.
        trained: False for random weights: show it.
        notes: sentences the user should see, such as a fall-back to the CPU.
        chosen: what the pair voted for, "" where each image is described alone.
        weak_vote: why the pair could not tell, as a sentence; "" where it could.
        vote_right: the probability that the pair's vote is right; None where it is not known.
        values: which values of the file are black and white, "" for 0 to 255 of 8 bit.
        network: where they were made by layers of a network.
    """

    size_px: tuple[int, int]
    working_size_px: tuple[int, int]
    cells: tuple[int, int]
    stride_px: float
    levels: int
    dim: int
    size_bytes: int
    seconds: float
    device: str
    trained: bool
    notes: tuple[str, ...] = ()
    chosen: str = ""
    weak_vote: str = ""
    vote_right: float | None = None
    values: str = ""
    network: NetworkInfo | None = None

    @property
    def confident_px(self) -> float:
        """How far from the true point a match in this image may be for its confidence.

        It is the same for all images as they are described, and in pixels of the original here.
        """
        return WITHIN_PX * max(self.size_px) / max(self.working_size_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """One point of one image: where is it in the other?

    Attributes:
        pair, recipe: which maps; both images must have been described.
        side: the image with the point.
        point_px: the point.
        peaks: how many of the best, mutually apart matches to return.
        separation_px: peaks (and the second best of the ratio) are at least this far apart, in
            pixels as described.
        cycle: also match back from the found point.
        heat: also return the similarity map.
        exclude_px: also search the point's own image, outside of this radius around the point, in
            pixels as described; None searches the other image alone.
        region_px: width and height of a box around the point; the mean of the descriptors in it
            asks instead of that of the point.
    """

    pair: ImagePair
    recipe: Recipe
    side: Side
    point_px: Point
    peaks: int = 5
    separation_px: float = SEPARATION_PX
    cycle: bool = True
    heat: bool = True
    exclude_px: float | None = None
    region_px: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Peak:
    """A local best match: where, how similar (cosine, -1 to 1), and which set members met.

    ``uncertainty_px`` is as in :class:`MatchTable`; None where it is not known.
    """

    point_px: Point
    similarity: float
    members: str = ""
    uncertainty_px: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfSimilarity:
    """Where else in its own image the descriptor of a point fits.

    Attributes:
        peaks: the best places outside of the excluded radius, best first; only places that are no
            less similar than those around them, so the slope of the point's own peak is none.
            Empty where there is no such place.
        heat: ``(H, W)`` float32 cosine similarity over the point's image at working size, NaN
            within the radius; None if not asked for.
        heat_extent: the place of the heat map in that image.
        excluded_px: the radius, in original pixels.
    """

    peaks: tuple[Peak, ...]
    heat: NDArray[np.float32] | None
    heat_extent: Extent
    excluded_px: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeAnswer:
    """Where a point is in the other image, and how sure that is.

    Attributes:
        request: the question.
        peaks: the best matches, best first; never empty.
        ratio: distance of the best peak over that of the second (0 sure, 1 ambiguous); 1 if there
            is no second.
        textured: False where the image has no texture around the asked point, or the same one
            elsewhere: then similarity, ratio and cycle error mean nothing.
        heat: ``(H, W)`` float32 cosine similarity over the other image at working size, None if
            not asked for.
        heat_extent: the place of the heat map in the other image.
        visibility: whether the other image shows the true point; unknown without a truth.
        truth_px: the true point, also where it is hidden or out of view; None where no place is
            known.
        truth_uncertainty_px: its standard deviation; None where that is not known.
        error_px: distance of the best peak from the true point; None where that is not seen.
        rank: 1 + number of cells more similar than the best cell within 3 px (or one cell, if that
            is more) of the true point; None where that is not seen.
        cycle_px: the best match of the found point back in the asking image; None if not asked.
        cycle_error_px: distance of that from the asked point.
        confidence: probability that the best peak is within ``confident_px`` of the true point, see
            :mod:`engine.matching.confidence`, as far as can be told without neighbouring queries;
            None where it is not known, and without the way back.
        confident_px: how near that is, in original pixels of the searched image.
        not_calibrated: for what there is no confidence, such as a descriptor's name; "" where
            there is.
        seconds: time to compute.
        own: the same in the point's own image; None if not asked for.
    """

    request: ProbeRequest
    peaks: tuple[Peak, ...]
    ratio: float
    heat: NDArray[np.float32] | None
    heat_extent: Extent
    truth_px: Point | None
    error_px: float | None
    rank: int | None
    cycle_px: Point | None
    cycle_error_px: float | None
    seconds: float
    visibility: Visibility = Visibility.UNKNOWN
    truth_uncertainty_px: float | None = None
    textured: bool = True
    own: SelfSimilarity | None = None
    confidence: float | None = None
    confident_px: float = WITHIN_PX
    not_calibrated: str = ""

    @property
    def found_px(self) -> Point:
        """The best match."""
        return self.peaks[0].point_px


@dataclass(frozen=True, slots=True, kw_only=True)
class PcaRequest:
    """Ask for the colours of both images' descriptors.

    Attributes:
        fit: which images the basis is fitted on; "all" takes ``images``, "file" ``basis_file``.
        images: each as one side of a pair, which matters where a pair decides how it is described.
        level: which member of a set is shown; the last one of an image that has fewer.
        colouring: which component is which colour.
    """

    pair: ImagePair
    recipe: Recipe
    fit: PcaFit = "both"
    basis_file: Path | None = None
    images: tuple[tuple[ImagePair, Side], ...] = ()
    level: int = 0
    colouring: Colouring = PLAIN


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A map as colours: ``(H', W', 3)`` uint8 RGB and the area it covers."""

    pixels: NDArray[np.uint8]
    extent: Extent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PcaAnswer:
    """PCA colours of both images in one basis.

    Attributes:
        a, b: the pictures.
        explained: share of the variance that each component of the basis explains, falling.
        colouring: which component is which colour.
        fitted_on: what the basis was fitted on, in words.
    """

    a: Picture
    b: Picture
    explained: tuple[float, ...]
    colouring: Colouring = PLAIN
    fitted_on: str = ""

    @property
    def shares(self) -> tuple[float, float, float]:
        """Share of the variance that red, green and blue explain."""
        red, green, blue = (self.explained[number] for number in self.colouring.components)
        return red, green, blue

    @property
    def share_shown(self) -> float:
        """Share of the variance that the colours explain together."""
        return sum(self.explained[number] for number in set(self.colouring.components))


@dataclass(frozen=True, slots=True, eq=False)
class ScalarMap:
    """One number per cell, NaN where undefined: ``(H', W')`` float32, its unit and its area."""

    values: NDArray[np.float32]
    extent: Extent
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WinnersAnswer:
    """Which member of a descriptor set won at each cell of one image.

    Attributes:
        scale: relative scale (b over a) that the winning members imply, log2.
        angle: relative rotation that they imply, degrees counter-clockwise.
        true_scale: the relative scale that a homography implies, log2; None where the truth
            is none.
    """

    scale: ScalarMap
    angle: ScalarMap
    true_scale: ScalarMap | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ErrorsAnswer:
    """How far the match of each cell of one image is from its true point.

    Attributes:
        errors: in original pixels of the other image; NaN where that does not show the true point,
            and where there is nothing to describe.
        states: ``(H', W')`` uint8 values of :class:`~engine.truth.base.Visibility`.
    """

    errors: ScalarMap
    states: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NormsAnswer:
    """How long the vectors of an image are before they are brought to unit length.

    Attributes:
        norms: at each cell of the layer.
        high: ``(H', W')`` the cells whose vectors are far longer than all others.
        threshold: the length beyond which they are; infinite where no cell has anything.
        layer: the layer's name.
    """

    norms: ScalarMap
    high: NDArray[np.bool_]
    threshold: float
    layer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRequest:
    """Match many points of image a to image b.

    Attributes:
        points: how the points are chosen.
        count: how many at most.
        seed: of the random choice.
        separation_px: least distance of the second best match of the ratio from the best, in pixels
            as described.
        refine: look for matches between the cells; False takes the centres of the best ones.
        matcher: *exact* for the most similar place; *consensus* for that of several places which
            nearby queries support, see :mod:`engine.matching.consensus`.
    """

    pair: ImagePair
    recipe: Recipe
    points: PointsKind = "harris"
    count: int = 500
    seed: int = 0
    separation_px: float = SEPARATION_PX
    refine: bool = True
    matcher: PairMatcher = "exact"


_EACH_MATCH: Final = (
    *("points_a", "points_b", "similarity", "ratio", "mutual", "error_px", "inlier", "textured"),
    *("visibility", "uncertainty_px", "confidence", "moved"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchTable:
    """One row a query, unfiltered.

    Attributes:
        points_a: ``(N, 2)`` float64 queries in image a.
        points_b: ``(N, 2)`` float64 best matches in image b.
        similarity: ``(N,)`` float32 cosine.
        ratio: ``(N,)`` float32 distance of best over second best, 0 to 1; 1 where neighbours
            chose a match that is not the best.
        mutual: ``(N,)`` True where the match back from b ends within a cell of the query.
        error_px: ``(N,)`` float64 distance from the true point, NaN where that is not seen.
        visibility: ``(N,)`` uint8 values of :class:`~engine.truth.base.Visibility`: whether image b
            shows the true point; where it is not given, seen where there is an error, else unknown.
        truth: what the truth is known from, and who made it; "" without one.
        h_b_from_a: robust estimate from these matches, ``(3, 3)``; None if there is none.
        inlier: ``(N,)`` True for the matches that agree with the estimate.
        textured: ``(N,)`` False for queries that tell nothing: without texture around them, more
            than half a cell beyond the map, or equally like two places of image b that have the
            same descriptor.  They neither make nor support the estimate; all True where it is not
            given.
        seconds: time to match.
        uncertainty_px: ``(N,)`` float64 standard deviation of the match along an axis, as the
            similarities around it tell, see :mod:`engine.matching.subcell`; a cell where it was
            not refined, NaN where it is not given.
        confidence: ``(N,)`` float32 probability that the match is within 3 px, as described, of
            the true point, see :mod:`engine.matching.confidence`; NaN where it is not known.
        not_calibrated: for what there is no confidence, such as a descriptor's name; "" where
            there is.
        evidence: what the confidence is made from; None where it is not given.
        matcher: what matched.
        moved: ``(N,)`` True where neighbouring queries chose another place than the most similar
            one; all False where it is not given.
    """

    points_a: NDArray[np.float64]
    points_b: NDArray[np.float64]
    similarity: NDArray[np.float32]
    ratio: NDArray[np.float32]
    mutual: NDArray[np.bool_]
    error_px: NDArray[np.float64]
    h_b_from_a: NDArray[np.float64] | None = None
    inlier: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    textured: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    seconds: float = 0.0
    visibility: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    truth: str = ""
    uncertainty_px: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    confidence: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    not_calibrated: str = ""
    evidence: Evidence | None = None
    matcher: PairMatcher = "exact"
    moved: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        if not len(self.visibility):
            known = np.isfinite(self.error_px)
            states = np.where(known, Visibility.SEEN, Visibility.UNKNOWN).astype(np.uint8)
            object.__setattr__(self, "visibility", states)
        if not len(self.textured):
            object.__setattr__(self, "textured", np.ones(len(self.points_a), np.bool_))
        if not len(self.uncertainty_px):
            object.__setattr__(self, "uncertainty_px", np.full(len(self.points_a), np.nan))
        if not len(self.confidence):
            unknown = np.full(len(self.points_a), np.nan, np.float32)
            object.__setattr__(self, "confidence", unknown)
        if not len(self.moved):
            object.__setattr__(self, "moved", np.zeros(len(self.points_a), np.bool_))

    def where(self, rows: NDArray[np.bool_]) -> MatchTable:
        """The matches of ``(N,)`` rows; the estimate stays that of all matches."""
        named = ((one.name, getattr(self, one.name)) for one in fields(self))
        each = {name: value[rows] for name, value in named if name in _EACH_MATCH and len(value)}
        return replace(self, **each, evidence=None)

    def median_uncertainty_px(self, rows: NDArray[np.bool_]) -> float:
        """The median uncertainty of the matches in ``(N,)`` rows; NaN where none is known."""
        known = self.uncertainty_px[rows & np.isfinite(self.uncertainty_px)]
        return float(np.median(known)) if len(known) else float("nan")
