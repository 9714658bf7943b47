"""The switches of a protocol; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from engine.errors import ConfigError
from engine.imagefiles.value_range import ValueRange
from engine.metrics import MetricFamily
from engine.vocabulary import LISTED_TRUTHS, PairMatcher, TruthKind

ProtocolName = Literal["seed", "closed", "dense"]
DrawnQueries = Literal["harris", "uniform"]
QueryKind = Literal[DrawnQueries, "listed"]
Matcher = Literal[PairMatcher, "flann"]
Estimator = Literal["opencv", "poselib"]
FoundOn = Literal["grid", "keypoints"]

DRAWN_QUERIES: Final[tuple[DrawnQueries, ...]] = ("harris", "uniform")
"""The lists that are drawn from the pixels of an image, where the truth is dense."""

QUERY_KINDS: Final[tuple[QueryKind, ...]] = (*DRAWN_QUERIES, "listed")
"""All lists.  *Listed* are the points whose partners the truth lists, where it is not dense."""


_ESTIMATORS: Final[Mapping[Estimator, str]] = {"opencv": "MAGSAC++", "poselib": "PoseLib"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSwitches:
    """What is measured beyond the queries' PCK, and how; part of the fingerprint.

    Attributes:
        chosen: which metrics, in the catalogue's order.  PCK of boxes costs nothing, and is
            measured wherever the truth has boxes.
        grid_stride_px: distance of the places that are matched and searched.
        refined: matches are looked for between these places, not only at them.
        found_on: the points of both images among which mutual matches are found.
        keypoint_limit: keypoints of an image, at most.
        estimator: of homographies and poses.
        inlier_px: a match this close to what was estimated is an inlier.
    """

    chosen: tuple[MetricFamily, ...]
    grid_stride_px: int
    refined: bool
    found_on: FoundOn
    keypoint_limit: int
    estimator: Estimator
    inlier_px: float

    @property
    def estimates(self) -> bool:
        """Whether a metric needs an estimator."""
        return not {"homography", "pose"}.isdisjoint(self.chosen)

    @property
    def finds_matches(self) -> bool:
        """Whether a metric needs the mutual matches."""
        return self.estimates or "found" in self.chosen

    @property
    def uses_poselib(self) -> bool:
        """Whether PoseLib estimates."""
        return self.estimates and self.estimator == "poselib"

    @property
    def estimator_words(self) -> str:
        """The estimator and its threshold, as names of metrics have them."""
        return f"{_ESTIMATORS[self.estimator]} {self.inlier_px:g} px"


NO_METRICS: Final = MetricSwitches(
    chosen=(),
    grid_stride_px=4,
    refined=False,
    found_on="grid",
    keypoint_limit=2048,
    estimator="opencv",
    inlier_px=3.0,
)
"""Nothing beyond PCK, and the usual switches of what is measured from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A way to measure, with all its switches.

    Attributes:
        name: which of the three.
        thresholds_px: a match this close to the truth is right; ascending.
        matcher: ``flann`` is approximate and for single descriptors; sets are matched exactly
            then.  ``consensus`` lets neighbouring queries choose among several places; what is
            measured beyond the queries is made of nearest neighbours, and is refused with it.
        queries: the lists of queries where the truth is dense, Harris first.
        query_limit: queries of a pair and list, at most.
        long_edge_px: every image is brought to this long edge.
        grid_stride_px: distance of candidates in the dense protocol.
        refined: the dense protocol looks for matches around the best candidate, too.
        seed: of the draws.
        value_range: which values of the files are black and white; None for each file's own range.
        metrics: what is measured beyond PCK.
    """

    name: ProtocolName
    thresholds_px: tuple[float, ...]
    matcher: Matcher
    queries: tuple[DrawnQueries, ...]
    query_limit: int
    long_edge_px: int
    grid_stride_px: int
    seed: int
    refined: bool = False
    value_range: ValueRange | None = None
    metrics: MetricSwitches = NO_METRICS

    def __post_init__(self) -> None:
        if not self.thresholds_px:
            raise ConfigError("threshold_px", "at least one threshold is needed")
        if self.name == "dense" and self.matcher == "flann":
            reason = "the protocol 'dense' is matched exactly, choose 'exact' or 'consensus'"
            raise ConfigError("matcher", reason)
        if self.matcher == "consensus":
            if self.name == "seed":
                reason = "the protocol 'seed' repeats figures of nearest neighbours"
                raise ConfigError("matcher", f"{reason}, choose 'exact' or 'flann'")
            if others := [family for family in self.metrics.chosen if family != "box"]:
                reason = f"{', '.join(others)}: made of nearest neighbours, not of matches by"
                raise ConfigError("metric", f"{reason} consensus; choose the matcher 'exact'")

    @property
    def refines(self) -> bool:
        """Whether matches are refined: only the dense protocol does not offer the true points."""
        return self.refined and self.name == "dense"


def default_queries(name: ProtocolName) -> tuple[DrawnQueries, ...]:
    """The lists of queries that a protocol has where the truth is dense."""
    return DRAWN_QUERIES if name == "dense" else ("harris",)


def queries_for(protocol: Protocol, kind: TruthKind) -> tuple[QueryKind, ...]:
    """The lists of queries of a pair whose truth is of this kind."""
    return ("listed",) if kind in LISTED_TRUTHS else protocol.queries


def matcher_for(protocol: Protocol, level_count: int) -> Matcher:
    """The matcher a descriptor with so many levels gets: FLANN does not match sets."""
    return "exact" if protocol.matcher == "flann" and level_count > 1 else protocol.matcher
