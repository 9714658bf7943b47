"""Every metric that is measured: its name in events and files, and how people read it.

Whatever draws, sorts or judges metrics asks here, so a new metric is one entry.  A name that is not
in the catalogue, as a plugin or an old run may bring one, gets a plot of its own.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal, get_args

Better = Literal["higher", "lower"]
Axis = Literal["linear", "log"]
MetricFamily = Literal[
    "box", "confidence", "dense", "found", "homography", "pose", "round_trip", "stability"
]
"""What an evaluation can measure beyond PCK: metrics that are computed together."""

METRIC_FAMILIES: Final[tuple[MetricFamily, ...]] = get_args(MetricFamily)

Average = Literal["pairs", "queries", "curve", "pooled"]
"""How a metric of many pairs is made from theirs: their mean, with the same weight for each pair or
for each query, the area under their recall curve, or measured anew of the matches of all pairs."""

PCK_THRESHOLDS_PX: Final = (1.0, 3.0, 5.0)
"""How far from the truth a match may be, in pixels, to count as right."""


@dataclass(frozen=True, slots=True)
class MetricGroup:
    """Metrics that share one plot.

    Attributes:
        name: identifies the group.
        title: heading of the plot.
        unit: of its axis; "" for a plain number.
        axis: the scale that suits the values when a logarithmic one is wanted: shares, which may
            be 0, stay linear.
    """

    name: str
    title: str
    unit: str = ""
    axis: Axis = "linear"

    @property
    def heading(self) -> str:
        """The title with its unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What there is to know about a metric.

    Attributes:
        name: its key in events and files.
        title: what people call it where its plot is not named.
        group: the plot it belongs to.
        better: which values are better; None where neither is.
        source: which part of a run measures it.
        whole: whether its values are read as whole numbers.
        hidden: whether it has no curve of its own.
        short: what people call it beside the others of its plot; "" for the title.
        definition: of a metric of evaluations, in a line.
        reference: where that definition is from.
        average: how it is averaged over pairs.
        of: the value of a pair that it is made from; "" for the one of its own name.
        by_queries: whether each list of queries has its own value.
    """

    name: str
    title: str
    group: MetricGroup
    better: Better | None = None
    source: Literal["training", "validation", "evaluation"] = "training"
    whole: bool = False
    hidden: bool = False
    short: str = ""
    definition: str = ""
    reference: str = ""
    average: Average = "pairs"
    of: str = ""
    by_queries: bool = False

    @property
    def label(self) -> str:
        """What people call it beside the others of its plot."""
        return self.short or self.title

    @property
    def heading(self) -> str:
        """The title with its unit."""
        return f"{self.title} ({self.group.unit})" if self.group.unit else self.title


def plateau_text(no_better: int, patience: int) -> str:
    """For how many validations a run was no better, "" for none.

    Args:
        no_better: validations in a row since the best one.
        patience: after how many of them the run ends; 0 for never.
    """
    if not no_better:
        return ""
    of = f" of {patience}" if patience else ""
    return f"no better for {no_better}{of} {'check' if (patience or no_better) == 1 else 'checks'}"


def pck_name(threshold_px: float, *, sequences: bool = False) -> str:
    """Name of the share of queries found within a threshold: on pairs of photos, or sequences."""
    return f"{'sequences ' if sequences else ''}pck@{threshold_px:g}"


def _pck(threshold_px: float, *, sequences: bool) -> MetricInfo:
    title = f"{'sequence ' if sequences else ''}PCK@{threshold_px:g}"
    group = _SEQUENCES if sequences else _PHOTOS
    name, short = pck_name(threshold_px, sequences=sequences), f"@{threshold_px:g} px"
    return MetricInfo(name, title, group, "higher", "validation", short=short)


_PHOTOS: Final = MetricGroup("pck", "Validation PCK")
_SEQUENCES: Final = MetricGroup("sequences", "PCK on sequences")
_SIMILARITY: Final = MetricGroup("similarity", "Distance and similarity")
_TIME: Final = MetricGroup("time", "Step time", "s", "log")
_WAIT: Final = MetricGroup("data_wait_share", "Data wait, share of step time")
_MEMORY: Final = MetricGroup("memory_mb", "Peak memory", "MB", "log")
_VALIDATION: Final = MetricGroup("validation_s", "Validation time", "s", "log")

_CATALOGUE: Final = (
    MetricInfo("loss", "loss", MetricGroup("loss", "Loss", axis="log"), "lower"),
    *(_pck(threshold_px, sequences=False) for threshold_px in PCK_THRESHOLDS_PX),
    *(_pck(threshold_px, sequences=True) for threshold_px in PCK_THRESHOLDS_PX),
    MetricInfo("distance", "distance", _SIMILARITY, "lower"),
    MetricInfo("similarity", "similarity", _SIMILARITY, "higher"),
    MetricInfo("negative_similarity", "negatives", _SIMILARITY, "lower"),
    MetricInfo("rate", "rate", MetricGroup("rate", "Learning rate", axis="log")),
    MetricInfo("step_s", "step", _TIME, "lower", short="all"),
    MetricInfo("data_wait_s", "data wait", _TIME, "lower"),
    MetricInfo("gradient", "gradient", MetricGroup("gradient", "Gradient norm", axis="log")),
    MetricInfo("seen", "seen", MetricGroup("seen", "Share of points seen in both images")),
    MetricInfo("skipped", "skipped", MetricGroup("skipped", "Skipped steps"), whole=True),
    MetricInfo("memory_mb", "memory", _MEMORY, "lower", whole=True),
    MetricInfo("data_wait_share", "wait share", _WAIT, "lower"),
    MetricInfo("validation_s", "validation", _VALIDATION, "lower", "validation"),
    MetricInfo("epoch", "epoch", MetricGroup("epoch", "Epoch"), hidden=True),
    MetricInfo(
        "no_better",
        "no better",
        MetricGroup("no_better", "Validations without a new best"),
        source="validation",
        whole=True,
        hidden=True,
    ),
)
_BY_NAME: Final = {info.name: info for info in _CATALOGUE}

# ---- metrics of evaluations --------------------------------------------------------------------

BOX_ALPHAS: Final = (0.1, 0.05, 0.01)
DENSE_THRESHOLDS_PX: Final = PCK_THRESHOLDS_PX
MMA_THRESHOLDS_PX: Final = tuple(float(limit) for limit in range(1, 11))
CORNER_THRESHOLDS_PX: Final = (1.0, 3.0, 5.0, 10.0)
RETURN_THRESHOLDS_PX: Final = PCK_THRESHOLDS_PX
RECALL_PERCENTS: Final = (50.0, 80.0, 95.0)
"""Of all right matches: where the precision of the most confident ones is read."""
POSE_THRESHOLDS_DEG: Final = (5.0, 10.0, 20.0)
EDGE_BANDS_PX: Final = (0.0, 4.0, 16.0)
"""Where the bands of distance from depth edges begin; the last one has no end."""

_BOX: Final = MetricGroup("box", "PCK within a share of the box")
_DENSE: Final = MetricGroup("dense", "Dense PCK")
_DENSE_PX: Final = MetricGroup("dense_px", "Dense error", "px", "log")
_FOUND: Final = MetricGroup("found", "Matches as found")
_COUNT: Final = MetricGroup("matches", "Number of matches", axis="log")
_CORNERS: Final = MetricGroup("corners", "Corner AUC")
_CORNERS_PX: Final = MetricGroup("corners_px", "Corner error", "px", "log")
_POSE: Final = MetricGroup("pose", "Pose AUC")
_POSE_DEG: Final = MetricGroup("pose_deg", "Pose error", "°", "log")
_SURE: Final = MetricGroup("confidence", "Confidence")
_RETURNS: Final = MetricGroup("returns", "Round trips and steps")
_RETURNS_PX: Final = MetricGroup("returns_px", "Round trips and steps", "px", "log")

_SPAIR: Final = "J. Min et al., SPair-71k, 2019; the box: Y. Yang and D. Ramanan, PAMI 2013"
_FLOW: Final = "S. Baker et al., IJCV 2011"
_GLU: Final = "P. Truong et al., GLU-Net, CVPR 2020"
_D2: Final = "K. Mikolajczyk and C. Schmid, PAMI 2005; averaged as in D2-Net, CVPR 2019"
_SUPERGLUE: Final = "P.-E. Sarlin et al., SuperGlue, CVPR 2020"


def _evaluated(
    name: str, title: str, group: MetricGroup, better: Better | None, definition: str, **more: Any
) -> MetricInfo:
    return MetricInfo(name, title, group, better, "evaluation", definition=definition, **more)


# A name is a stem, "@" and a number if it has one, and in brackets the settings of its estimator.
# In titles and definitions, {n} is the number, and {band} the band that begins with it.
_STEMS: Final = (
    _evaluated(
        "pck_box", "PCK@{n}·box per image", _BOX, "higher",
        "mean over pairs of the share of points matched within {n} × the longer side of the "
        "object's box in the searched image", reference=_SPAIR, by_queries=True,
    ),
    _evaluated(
        "pck_box_points", "PCK@{n}·box per point", _BOX, "higher",
        "share of the points of all pairs matched within {n} × the longer side of the object's box "
        "in the searched image", reference=_SPAIR, average="queries", of="pck_box", by_queries=True,
    ),
    _evaluated(
        "pck_image", "PCK@{n}·image per image", _BOX, "higher",
        "mean over pairs of the share of points matched within {n} × the longer side of the "
        "searched image", reference="B. Ham et al., PF-PASCAL, PAMI 2018", by_queries=True,
    ),
    _evaluated(
        "pck_image_points", "PCK@{n}·image per point", _BOX, "higher",
        "share of the points of all pairs matched within {n} × the longer side of the searched "
        "image", reference="B. Ham et al., PF-PASCAL, PAMI 2018", average="queries",
        of="pck_image", by_queries=True,
    ),
    _evaluated(
        "aepe", "AEPE", _DENSE_PX, "lower",
        "mean distance of match and truth over all pixels that both images show", reference=_FLOW,
    ),
    _evaluated(
        "aepe_all", "AEPE with occluded", _DENSE_PX, "lower",
        "mean distance of match and truth over all pixels whose true place in image b is known, "
        "hidden ones included", reference=_FLOW,
    ),
    _evaluated(
        "edge_error", "AEPE {band} from edges", _DENSE_PX, "lower",
        "mean distance of match and truth over pixels {band} from the nearest depth edge, where "
        "true places of neighbouring pixels break apart by more than 2 px",
        reference="this project, after D. Scharstein and R. Szeliski, IJCV 2002",
    ),
    _evaluated(
        "dense_pck", "dense PCK@{n}", _DENSE, "higher",
        "share of all pixels that both images show whose match is within {n} px of the truth",
        reference=_GLU,
    ),
    _evaluated(
        "dense_pck_all", "dense PCK@{n} with occluded", _DENSE, "higher",
        "share of all pixels whose true place in image b is known, hidden ones included, whose "
        "match is within {n} px of it", reference=_GLU,
    ),
    _evaluated(
        "matches", "matches", _COUNT, None,
        "number of mutual nearest neighbours among the points of both images", whole=True,
        reference=_D2,
    ),
    _evaluated(
        "mma", "MMA@{n}", _FOUND, "higher",
        "share of the mutual matches within {n} px of the truth; 0 for a pair without matches",
        reference=_D2,
    ),
    _evaluated(
        "ap", "average precision", _FOUND, "higher",
        "area under precision over recall as the least similarity of a mutual match falls; right "
        "within 3 px, recall of all points of image a that image b shows",
        reference="V. Balntas et al., HPatches, CVPR 2017",
    ),
    _evaluated(
        "coverage", "coverage", _FOUND, "higher",
        "share of what both images show of image a that has a mutual match, right within 3 px, at "
        "most 16 px away", reference="this project",
    ),
    _evaluated(
        "corner_error", "corner error", _CORNERS_PX, "lower",
        "mean distance of the corners of image a, carried by the estimated homography, from their "
        "true places; none where none was estimated",
        reference="D. DeTone et al., SuperPoint, CVPRW 2018",
    ),
    _evaluated(
        "corner_auc", "corner AUC@{n}", _CORNERS, "higher",
        "area under the share of pairs over their corner error, up to {n} px, divided by {n} px",
        reference=f"the error: D. DeTone et al., SuperPoint, CVPRW 2018; the area: {_SUPERGLUE}",
        average="curve", of="corner_error",
    ),
    _evaluated(
        "pose_error", "pose error", _POSE_DEG, "lower",
        "the larger of the angles by which rotation and direction of translation are off; none "
        "where no pose was estimated", reference=_SUPERGLUE,
    ),
    _evaluated(
        "pose_auc", "pose AUC@{n}", _POSE, "higher",
        "area under the share of pairs over their pose error, up to {n}°, divided by {n}°",
        reference=_SUPERGLUE, average="curve", of="pose_error",
    ),
    _evaluated(
        "calibration_error", "calibration error", _SURE, "lower",
        "the queries of all pairs, matched as match does it, in 15 bins of equal mass by their "
        "confidence: mean distance of the mean confidence from the share within 3 px of the truth",
        reference="C. Guo et al., ICML 2017; bins of equal mass: K. Nguyen and B. O'Connor, EMNLP "
        "2015", average="pooled", by_queries=True,
    ),
    _evaluated(
        "precision_at_recall", "precision at {n} % recall", _SURE, "higher",
        "share within 3 px of the truth among the fewest of the most confident matches of all "
        "pairs that hold {n} % of those within 3 px", reference="this project", average="pooled",
        by_queries=True,
    ),
    _evaluated(
        "round_trip", "round trip", _RETURNS_PX, "lower",
        "median distance of a query from where its match is matched back to",
        reference="Z. Kalal et al., ICPR 2010", by_queries=True,
    ),
    _evaluated(
        "returned", "returned@{n}", _RETURNS, "higher",
        "share of the queries whose match is matched back to within {n} px of them",
        reference="Z. Kalal et al., ICPR 2010", by_queries=True,
    ),
    _evaluated(
        "stability", "stability", _RETURNS_PX, "lower",
        "median difference of how far the match moves, as a query moves by 1 px, from how far its "
        "true point does", reference="this project", by_queries=True,
    ),
    _evaluated(
        "steady", "steady@{n}", _RETURNS, "higher",
        "share of the queries whose match moves, as they move by 1 px, as far as their true point "
        "to within {n} px", reference="this project", by_queries=True,
    ),
)  # fmt: skip
_BY_STEM: Final = {info.name: info for info in _STEMS}
_NAME: Final = re.compile(r"([a-z_]+)(?:@([0-9.]+))?(?:\[(.+)\])?")
_GROUPS: Final = tuple(dict.fromkeys(info.group for info in (*_CATALOGUE, *_STEMS)))
_PCK_NAME: Final = re.compile(r"(sequences )?pck@([0-9.]+)")
_JUDGES: Final = (pck_name(3.0, sequences=True), pck_name(3.0))


@lru_cache(maxsize=1024)
def metric_info(name: str) -> MetricInfo:
    """The catalogue's entry of a metric; one made on the spot for a name it does not hold."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    found = _PCK_NAME.fullmatch(name)
    if found is not None:
        return _pck(float(found[2]), sequences=found[1] is not None)
    parts = _NAME.fullmatch(name)
    if parts is not None and parts[1] in _BY_STEM:
        return _numbered(name, *parts.groups())
    return MetricInfo(name, name, MetricGroup(name, name))


def _numbered(name: str, stem: str, number: str | None, settings: str | None) -> MetricInfo:
    """The entry of a metric of evaluations, with its number and settings in its words."""
    info = _BY_STEM[stem]
    words = {"n": number or "", "band": _band(float(number or 0))}
    of = info.of
    if of:
        kept = None if info.average == "curve" or number is None else float(number)
        of = metric_name(of, kept, settings=settings or "")
    return replace(
        info,
        name=name,
        title=info.title.format(**words) + (f" ({settings})" if settings else ""),
        definition=info.definition.format(**words),
        of=of,
    )


def _band(start_px: float) -> str:
    """A band of distance from depth edges, in words."""
    end_px = next((one for one in EDGE_BANDS_PX if one > start_px), None)
    return f"{start_px:g} px and more" if end_px is None else f"{start_px:g} to {end_px:g} px"


def metric_name(stem: str, number: float | None = None, *, settings: str = "") -> str:
    """Name of a metric of evaluations: ``mma@3``, ``corner_auc@5[MAGSAC++ 3 px]``.

    Args:
        stem: what is measured.
        number: its threshold, share of a box or band.
        settings: of its estimator, in words.
    """
    at = "" if number is None else f"@{number:g}"
    return f"{stem}{at}" + (f"[{settings}]" if settings else "")


def metric_stem(name: str) -> str:
    """The name of a metric without its number and settings: ``mma`` of ``mma@3``."""
    parts = _NAME.fullmatch(name)
    return name if parts is None else parts[1]


def metric_number(name: str) -> float | None:
    """The number in the name of a metric; None without any."""
    parts = _NAME.fullmatch(name)
    return None if parts is None or parts[2] is None else float(parts[2])


def metric_text(name: str, value: float) -> str:
    """A value of a metric of evaluations as tables show it, without its unit."""
    info = metric_info(name)
    if info.whole:
        return f"{value:.0f}"
    return f"{value:.3f}" if not info.group.unit or value < 10 else f"{value:.1f}"


def summaries_of(name: str) -> tuple[str, ...]:
    """The metrics of many pairs that are made from a pair's value of this name."""
    parts = _NAME.fullmatch(name)
    if parts is None or parts[1] not in _BY_STEM:
        return (name,)
    stem, settings = parts[1], parts[3] or ""
    if stem in ("corner_error", "pose_error"):
        limits = CORNER_THRESHOLDS_PX if stem == "corner_error" else POSE_THRESHOLDS_DEG
        auc = stem.replace("error", "auc")
        return tuple(metric_name(auc, limit, settings=settings) for limit in limits)
    if stem in ("pck_box", "pck_image"):
        return name, name.replace(stem, f"{stem}_points", 1)
    return (name,)


def evaluation_metrics() -> tuple[MetricInfo, ...]:
    """All metrics of evaluations beyond PCK, with "t" for the numbers that some of them have."""
    words = {"n": "t", "band": "t px"}
    return tuple(
        replace(info, title=info.title.format(**words), definition=info.definition.format(**words))
        for info in _STEMS
    )


def group_metrics(names: Iterable[str]) -> dict[MetricGroup, tuple[str, ...]]:
    """Metrics by the plot they share, both in the catalogue's order, unknown ones last.

    Hidden metrics are left out.
    """
    infos = sorted(map(metric_info, set(names)), key=_place)
    members: dict[MetricGroup, tuple[str, ...]] = {}
    for info in infos:
        if not info.hidden:
            members[info.group] = (*members.get(info.group, ()), info.name)
    return members


def judge_of(names: Container[str]) -> str | None:
    """The metric that judges a run which measured these; None where none of them does.

    Sequences, where they are measured, take precedence over pairs made from photos.
    """
    return next((name for name in _JUDGES if name in names), None)


def is_better(name: str, value: float, *, than: float | None) -> bool:
    """Whether a metric improved; anything is better than nothing (None).

    Raises:
        ValueError: neither high nor low values of this metric are better.
    """
    better = metric_info(name).better
    if better is None:
        raise ValueError(f"values of {name!r} are neither better nor worse")
    return than is None or (value > than if better == "higher" else value < than)


def best_of(name: str, points: Iterable[tuple[float, float]]) -> tuple[float, int] | None:
    """The best value of (step, value) points and its step, the first of equals; None without any.

    Raises:
        ValueError: neither high nor low values of this metric are better.
    """
    best: tuple[float, int] | None = None
    for step, value in points:
        if is_better(name, value, than=None if best is None else best[0]):
            best = (float(value), int(step))
    return best


def _place(info: MetricInfo) -> tuple[float, float, str]:
    """Where a metric stands among others: by group, then by threshold or entry."""
    group = _GROUPS.index(info.group) if info.group in _GROUPS else len(_GROUPS)
    found = _PCK_NAME.fullmatch(info.name)
    if found is not None:
        return group, float(found[2]), info.name
    parts = _NAME.fullmatch(info.name)
    if parts is not None and parts[1] in _BY_STEM:
        number = float(parts[2] or 0)
        return group, 1000.0 * list(_BY_STEM).index(parts[1]) + number, info.name
    return group, list(_BY_NAME).index(info.name) if info.name in _BY_NAME else 0, info.name
