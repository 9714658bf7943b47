"""Every metric that is measured: its name in events and files, and how people read it.

Whatever draws, sorts or judges metrics asks here, so a new metric is one entry.  A name that is not
in the catalogue, as a plugin or an old run may bring one, gets a plot of its own.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final, Literal

Better = Literal["higher", "lower"]
Axis = Literal["linear", "log"]

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
    """

    name: str
    title: str
    group: MetricGroup
    better: Better | None = None
    source: Literal["training", "validation"] = "training"
    whole: bool = False
    hidden: bool = False
    short: str = ""

    @property
    def label(self) -> str:
        """What people call it beside the others of its plot."""
        return self.short or self.title

    @property
    def heading(self) -> str:
        """The title with its unit."""
        return f"{self.title} ({self.group.unit})" if self.group.unit else self.title


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
)
_BY_NAME: Final = {info.name: info for info in _CATALOGUE}
_GROUPS: Final = tuple(dict.fromkeys(info.group for info in _CATALOGUE))
_PCK_NAME: Final = re.compile(r"(sequences )?pck@([0-9.]+)")
_JUDGES: Final = (pck_name(3.0, sequences=True), pck_name(3.0))


def metric_info(name: str) -> MetricInfo:
    """The catalogue's entry of a metric; one made on the spot for a name it does not hold."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    found = _PCK_NAME.fullmatch(name)
    if found is not None:
        return _pck(float(found[2]), sequences=found[1] is not None)
    return MetricInfo(name, name, MetricGroup(name, name))


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
    return group, list(_BY_NAME).index(info.name) if info.name in _BY_NAME else 0, info.name
