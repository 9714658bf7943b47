"""One metric of an evaluation as tables and galleries show it: PCK at a threshold, or another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.api import metric_info, metric_text, pck_name

if TYPE_CHECKING:
    from engine.api import MergedResults, MetricRow, PairRow, SummaryRow


@dataclass(frozen=True, slots=True)
class ShownMetric:
    """A metric that a user chose.

    Attributes:
        threshold_px: of PCK; for other metrics, what counts as right in a pair that is opened.
        name: the metric's name over many pairs; "" for PCK.
    """

    threshold_px: float
    name: str = ""

    @property
    def key(self) -> str:
        """What no other metric of a result shares, as text."""
        return self.name or pck_name(self.threshold_px)

    @property
    def title(self) -> str:
        """What it is called in a list of metrics, with its unit."""
        if not self.name:
            return f"PCK ≤ {self.threshold_px:g} px"
        return _capital(metric_info(self.name).heading)

    @property
    def pair_title(self) -> str:
        """What the value of a single pair is called, in few words: of an AUC, it is an error."""
        return _capital(metric_info(self._of.partition("[")[0]).heading) if self.name else "PCK"

    @property
    def definition(self) -> str:
        """What it is, in a sentence."""
        if not self.name:
            return "Share of a pair's queries matched within this distance of the true point."
        return f"{_capital(metric_info(self.name).definition)}."

    @property
    def lower_is_better(self) -> bool:
        """Whether low values over many pairs are the good ones."""
        return bool(self.name) and metric_info(self.name).better == "lower"

    @property
    def low_pairs_are_better(self) -> bool:
        """Whether low values of a single pair are the good ones."""
        return bool(self.name) and metric_info(self._of).better == "lower"

    @property
    def is_share(self) -> bool:
        """Whether values of single pairs lie between 0 and 1."""
        info = metric_info(self._of)
        return not self.name or not (info.group.unit or info.whole)

    @property
    def is_share_over_pairs(self) -> bool:
        """Whether values over many pairs lie between 0 and 1."""
        info = metric_info(self.name)
        return not self.name or not (info.group.unit or info.whole)

    def of_pair(self, row: PairRow) -> float | None:
        """Its value of one pair; None where it has none."""
        if not self.name:
            return row.share(self.threshold_px)
        wanted = self._of
        return next((value for name, value in row.metrics if name == wanted), None)

    def of_pairs(self, rows: Iterable[PairRow]) -> NDArray[np.float64]:
        """``(N,)`` its values of many pairs; NaN where one has none."""
        wanted, missing = (self._of, np.nan) if self.name else (self.threshold_px, 0.0)
        values: list[float | None] = []
        place = 0
        for row in rows:  # tens of thousands, which mostly have it in the same place
            named: Sequence[tuple[object, float | None]] = row.metrics if self.name else row.pck
            if place >= len(named) or named[place][0] != wanted:
                names = [name for name, _ in named]
                if wanted not in names:
                    values.append(missing)
                    continue
                place = names.index(wanted)
            values.append(named[place][1])
        return np.array(values, np.float64)

    def rows_in(self, content: MergedResults, queries: str) -> Sequence[SummaryRow | MetricRow]:
        """The means or areas of a list of queries, of all descriptors and subsets."""
        if not self.name:
            return [
                row
                for row in content.summary
                if row.queries == queries and row.threshold_px == self.threshold_px
            ]
        return [
            row
            for row in content.metrics
            if row.queries in (queries, None) and row.metric == self.name
        ]

    def text(self, value: float) -> str:
        """A value over many pairs, without its unit."""
        return metric_text(self.name, value) if self.name else f"{value:.3f}"

    def pair_text(self, value: float) -> str:
        """A value of a single pair, without its unit."""
        return metric_text(self._of, value) if self.name else f"{value:.3f}"

    @property
    def _of(self) -> str:
        return metric_info(self.name).of or self.name


def shown_metrics(content: MergedResults, queries: str) -> tuple[ShownMetric, ...]:
    """All metrics of a list of queries: PCK by threshold, then the others in their order."""
    limits = sorted({row.threshold_px for row in content.summary})
    names = dict.fromkeys(row.metric for row in content.metrics if row.queries in (queries, None))
    main = limits[-1] if limits else 0.0
    return (*map(ShownMetric, limits), *(ShownMetric(main, name) for name in names))


def sorting_metrics(content: MergedResults, queries: str) -> tuple[ShownMetric, ...]:
    """Of these, one for each different value of a pair: AUCs at four thresholds share an error."""
    taken: dict[str, ShownMetric] = {}
    for one in shown_metrics(content, queries):
        taken.setdefault(one.pair_title if one.name else one.title, one)
    return tuple(taken.values())


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
