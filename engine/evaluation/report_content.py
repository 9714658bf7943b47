"""From results to what a report says about them.

Every number comes from ``result.json``: means and intervals as they stand there, the rest (curves,
means by sequence, differences) summed up from its rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import engine
from engine.data.hpatches import kind_of, natural_key
from engine.evaluation.pck import CURVE_PX, Interval, bootstrap_mean
from engine.evaluation.protocols import QUERY_KINDS, QueryKind
from engine.evaluation.report import (
    Block,
    Cell,
    Column,
    Command,
    Facts,
    Figure,
    Figures,
    PairPicture,
    Paragraph,
    Pictures,
    Report,
    Row,
    Section,
    Table,
)
from engine.evaluation.report_figures import (
    Curve,
    draw_curves,
    draw_judgement,
    draw_pair,
    draw_sample,
)
from engine.evaluation.result import (
    SUBSETS,
    EvaluationResult,
    MergedResults,
    PairRow,
    SubsetName,
    SummaryRow,
    threshold_name,
)

WORST_PAIRS: Final = 12
MINUS: Final = "\N{MINUS SIGN}"
NONE: Final = "\N{EN DASH}"
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_PREFERRED_PX: Final = 5.0
_PUBLISHED_PX: Final = 3.0
_LEFT_OUT_SHOWN: Final = 40
_NAMED_AT_MOST: Final = 4
_COLUMNS_AT_MOST: Final = 4  # thresholds beside each other under one subset

PUBLISHED: Final = {
    "daisy": ("DAISY", 0.592, 0.535, 0.647, "FLANN"),
    "superpoint": ("SuperPoint", 0.646, 0.592, 0.702, "FLANN"),
    "msnet_v0": ("MSNetV0", 0.626, 0.619, 0.644, "FLANN"),
    "msnet_v1": ("MSNetV1", 0.742, 0.732, 0.752, "exact"),
    "msnet_v2": ("MSNetV2", 0.690, 0.719, 0.657, "FLANN"),
}
"""The original's own table: PCK on all, viewpoint and illumination sequences, and the matcher."""

_PROTOCOLS: Final = {
    "seed": "as the original's code measures: each query is matched among the true points of all "
    "queries of its pair; true points are cut to whole pixels",
    "closed": "each query is matched among the true points of all queries of its pair",
    "dense": "each query is matched among the places of a grid over the whole other image",
}


@dataclass(frozen=True, slots=True)
class WorstPair:
    """One of the worst rows, and what can be shown of it.

    Attributes:
        row: the row.
        figure: its picture; None where it cannot be shown.
        note: what the lines are, or why there are none.
        command: opens the pair in the window.
    """

    row: PairRow
    figure: Figure | None
    note: str
    command: str


def build_report(
    merged: MergedResults, *, names: Sequence[str], worst: Sequence[WorstPair], command: str
) -> Report:
    """Write a report about one or several results.

    Args:
        merged: the results.
        names: one for each, such as their folders'.
        worst: the worst pairs, from :func:`worst_rows`.
        command: makes this report again.
    """
    content = _Content(merged)
    many = len(merged.results) > 1
    sections = [
        Section("Results", "results", tuple(_results(content))),
        Section("Beside the published figures", "published", tuple(_published(content))),
        Section("PCK over the threshold", "curves", tuple(_curves(content))),
        Section("By sequence", "sequences", tuple(_by_sequence(content))),
        Section("Paired differences", "differences", tuple(_differences(content))),
        Section("The worst pairs", "worst", tuple(_worst(content, worst))),
        Section("Time", "time", tuple(_times(content))),
        Section("What was left out", "left-out", tuple(_left_out(content, names))),
        Section("Fingerprint", "fingerprint", tuple(_fingerprints(content, names))),
        Section("How to reproduce", "reproduce", tuple(_reproduce(merged, names, command))),
    ]
    labels = content.labels
    about = " and ".join(labels) if len(labels) <= 2 else f"{len(labels)} descriptors"
    return Report(
        title=f"PCK of {about} on {' and '.join(content.each('dataset', 'name'))}",
        subtitle=_subtitle(content),
        summary=_summary(content),
        notices=merged.warnings if many else (),
        sections=tuple(section for section in sections if section.blocks),
        footer=f"Made by Descriptor Space {engine.__version__}. Points are measured in pixels of "
        "the resized images.",
    )


def worst_rows(merged: MergedResults, *, limit: int = WORST_PAIRS) -> tuple[PairRow, ...]:
    """The rows with the lowest PCK: each descriptor's in turn, each pair of images once.

    In turn, because one descriptor that fails everywhere would else take all places.

    Returns:
        At most ``limit`` rows, by descriptor (best first), then by PCK.
    """
    content = _Content(merged)
    if not content.lists:
        return ()
    ranked = _ranked(content, content.lists[0], "all", content.main_px)
    waiting = {
        label: sorted(
            content.rows[label, content.lists[0]].values(),
            key=lambda row: (
                share_within(row, content.main_px),
                natural_key(row.sequence),
                row.index,
            ),
        )
        for label in ranked
    }
    chosen: dict[str, list[PairRow]] = {label: [] for label in ranked}
    taken: set[tuple[str, int]] = set()
    while len(taken) < limit and any(waiting.values()):
        for label in ranked:
            rows = waiting[label]
            while rows and (rows[0].sequence, rows[0].index) in taken:
                rows.pop(0)
            if rows and len(taken) < limit:
                chosen[label].append(rows.pop(0))
                taken.add((chosen[label][-1].sequence, chosen[label][-1].index))
    return tuple(row for label in ranked for row in chosen[label])


def main_threshold_px(merged: MergedResults) -> float:
    """The threshold that single figures are told at: 5 px if all have it, else their largest."""
    return _Content(merged).main_px


def picture_of(
    row: PairRow,
    images: Any,
    points_a: Any,
    found_b: Any,
    errors_px: Any,
    *,
    threshold_px: float,
) -> tuple[Figure, str]:
    """The picture of a row and a sentence about it; see :func:`draw_pair` for the arrays."""
    right = errors_px <= threshold_px
    figure, drawn = draw_pair(images, points_a, found_b, right, title=_pair_name(row))
    counts = f"{int(right.sum())} right and {int((~right).sum())} wrong matches"
    return figure, counts if drawn == row.count else f"{counts}; {drawn} of them are drawn"


def share_within(row: PairRow, threshold_px: float) -> float:
    """PCK of a row at one of its thresholds."""
    return dict(row.pck)[threshold_px]


def number(value: float | None) -> str:
    """A share as it is written everywhere in a report."""
    return NONE if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """A difference with its sign; one that rounds to nothing has none."""
    text = f"{abs(value):.3f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else MINUS}{text}"


class _Content:
    """What several sections need of the results."""

    def __init__(self, merged: MergedResults) -> None:
        self.merged = merged
        self.labels = tuple(label for result in merged.results for label in result.labels)
        self.series = {label: place for place, label in enumerate(self.labels)}

    @cached_property
    def cells(self) -> dict[tuple[str, SubsetName, QueryKind, float], SummaryRow]:
        """The rows of the summary by what they are."""
        return {
            (row.descriptor, row.subset, row.queries, row.threshold_px): row
            for row in self.merged.summary
        }

    @cached_property
    def lists(self) -> tuple[QueryKind, ...]:
        """The lists of queries that have rows of pairs, Harris first."""
        there = {row.queries for row in self.merged.pairs}
        return tuple(kind for kind in QUERY_KINDS if kind in there)

    @cached_property
    def thresholds_px(self) -> tuple[float, ...]:
        """Of all results, ascending."""
        every = {t for one in self.merged.results for t in one.fingerprint["thresholds_px"]}
        return tuple(sorted(float(threshold) for threshold in every))

    @cached_property
    def main_px(self) -> float:
        """See :func:`main_threshold_px`."""
        sets = [{*map(float, r.fingerprint["thresholds_px"])} for r in self.merged.results]
        common = set.intersection(*sets)
        if _PREFERRED_PX in common or not common:
            return _PREFERRED_PX
        return max(common)

    @cached_property
    def rows(self) -> dict[tuple[str, QueryKind], dict[tuple[str, int], PairRow]]:
        """The rows of pairs by descriptor and list, then by pair."""
        found: dict[tuple[str, QueryKind], dict[tuple[str, int], PairRow]] = {}
        for row in self.merged.pairs:
            mine = found.setdefault((row.descriptor, row.queries), {})
            mine[row.sequence, row.index] = row
        return found

    def labels_with(self, kind: QueryKind) -> tuple[str, ...]:
        """The descriptors that were measured with a list."""
        return tuple(label for label in self.labels if (label, kind) in self.rows)

    def subsets(self) -> tuple[SubsetName, ...]:
        """All, and those of the others that differ from it and are not empty."""
        there = {kind_of(row.sequence) for row in self.merged.pairs}
        return ("all", *(s for s in SUBSETS if s in there and len(there) > 1))

    def result_of(self, label: str) -> EvaluationResult:
        """The result that a descriptor belongs to."""
        return next(one for one in self.merged.results if label in one.labels)

    def entry(self, label: str) -> dict[str, Any]:
        """A descriptor's part of the fingerprint."""
        every = self.result_of(label).fingerprint["descriptors"]
        return next(one for one in every if one["label"] == label)

    def each(self, *path: str) -> tuple[str, ...]:
        """The different values of a field of the fingerprints, as text."""
        values = []
        for result in self.merged.results:
            value: Any = result.fingerprint
            for name in path:
                value = value[name]
            values.append(_plain(value))
        return tuple(dict.fromkeys(values))

    def remark(self, label: str) -> str:
        """What has to stand beside a descriptor's name wherever it is compared."""
        entry = self.entry(label)
        remarks = ["" if entry["trained"] else "untrained"]
        remarks.append("told the true scales" if entry.get("oracle") else "")
        return ", ".join(filter(None, remarks))

    def judged(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Those that may be called best: oracles are put before nobody, unless they are alone."""
        honest = tuple(label for label in labels if not self.entry(label).get("oracle"))
        return honest or tuple(labels)


# ---- the head ----------------------------------------------------------------------------------


def _subtitle(content: _Content) -> str:
    measured = {(row.sequence, row.index) for row in content.merged.pairs}
    sequences = {sequence for sequence, _ in measured}
    asked = "/".join(content.each("dataset", "pairs"))
    parts = [
        f"protocol {' and '.join(content.each('protocol'))}",
        f"{len(measured)} of {asked} pairs from {_count(len(sequences), 'sequence')}",
        f"{' and '.join(content.each('matcher'))} matching",
        f"at most {'/'.join(content.each('sampler', 'query_limit'))} queries a pair",
        f"long edge {'/'.join(content.each('sampler', 'long_edge_px'))} px",
        f"seed {'/'.join(content.each('seed'))}",
    ]
    return " · ".join(parts)


def _summary(content: _Content) -> str:
    if not content.lists:
        return "No pair could be measured, so there is nothing to compare; see what was left out."
    kind, limit = content.lists[0], content.main_px
    ranked = _ranked(content, kind, "all", limit)
    if not ranked:
        return "The results have no threshold in common, so no descriptor is put before another."
    sentences = []
    if content.merged.warnings:
        sentences.append(
            "These runs were not made alike, so figures of different runs must not be read against "
            "each other."
        )
    best = content.cells[ranked[0], "all", kind, limit]
    place = f"within {limit:g} px of the true point, on average over {_count(best.pairs, 'pair')}"
    first = f"{_with_remark(content, ranked[0])} finds {_percent(best)}"
    if len(ranked) > 2:
        first = f"the best of {len(ranked)} descriptors, {first}"
    elif len(ranked) == 2:
        second = content.cells[ranked[1], "all", kind, limit]
        first += f" and {_with_remark(content, ranked[1])} {_percent(second)}"
    sentences.append(f"Of the {_list_name(kind)} queries, {first} {place}.")
    if len(ranked) > 2:
        behind = [
            f"{_with_remark(content, label)} with "
            f"{100 * (content.cells[label, 'all', kind, limit].pck or 0):.1f} %"
            for label in ranked[1:_NAMED_AT_MOST]
        ]
        rest = len(ranked) - _NAMED_AT_MOST
        behind += [f"{rest} more"] if rest > 0 else []
        sentences.append(f"Behind it come {', '.join(behind[:-1])} and {behind[-1]}.")
    told = []
    for subset in content.subsets():
        if subset != "all" and (leaders := _ranked(content, kind, subset, limit)):
            share = content.cells[leaders[0], subset, kind, limit].pck or 0.0
            word = "light" if subset == "illumination" else "viewpoint"
            who = f"{leaders[0]} is best with" if len(ranked) > 1 else "it is"
            told.append(f"under changes of {word} {who} {100 * share:.1f} %")
    if told:
        text = ", ".join(told)
        sentences.append(f"{text[:1].upper()}{text[1:]}.")
    if len(ranked) > 1 and not content.merged.warnings:
        sentences.append(_difference_in_words(content, kind, ranked[0], ranked[1]))
    names = content.each("protocol")
    sentences += [f"In the protocol {name}, {_PROTOCOLS[name]}." for name in names]
    broken = sum(entry.queries is None for r in content.merged.results for entry in r.left_out)
    if broken:
        were = "pair was" if broken == 1 else "pairs were"
        sentences.append(f"{broken} broken {were} left out.")
    return _unbroken(" ".join(filter(None, sentences)))


def _difference_in_words(content: _Content, kind: QueryKind, better: str, other: str) -> str:
    found = _difference(content, kind, better, other, "all")
    if found is None:
        return ""
    interval = found[0]
    if interval.low is None or interval.high is None:
        return ""
    low, high = 100 * interval.low, 100 * interval.high
    verdict = "does not contain 0" if low > 0 or high < 0 else "contains 0, so the two are level"
    return (
        f"The lead of {better} over {other} is {100 * interval.mean:.1f} percentage points on the "
        f"pairs that both have; its 95 % interval, {_minus(low)} to {_minus(high)}, {verdict}."
    )


def _unbroken(text: str) -> str:
    """Keep numbers and their units on one line."""
    return text.replace(" %", NO_BREAK + "%").replace(" px", NO_BREAK + "px")


def _minus(value: float) -> str:
    return f"{value:.1f}".replace("-", MINUS)


def _ranked(
    content: _Content, kind: QueryKind, subset: SubsetName, limit: float
) -> tuple[str, ...]:
    """The descriptors that have a figure, best first."""
    known = {
        label: row.pck
        for label in content.judged(content.labels_with(kind))
        if (row := content.cells.get((label, subset, kind, limit))) and row.pck is not None
    }
    return tuple(sorted(known, key=lambda label: -known[label]))


def _with_remark(content: _Content, label: str) -> str:
    remark = content.remark(label)
    return f"{label} ({remark})" if remark else label


def _percent(row: SummaryRow) -> str:
    text = f"{100 * (row.pck or 0):.1f} %"
    if row.low is None or row.high is None:
        return text
    return f"{text} (95 % interval {100 * row.low:.1f} to {100 * row.high:.1f} %)"


# ---- tables of means ---------------------------------------------------------------------------


def _results(content: _Content) -> Iterator[Block]:
    for kind in content.lists:
        labels = content.labels_with(kind)
        groups: list[tuple[SubsetName, ...]] = [SUBSETS]
        if len(content.thresholds_px) > _COLUMNS_AT_MOST:
            groups = [(subset,) for subset in SUBSETS]
        for subsets in groups:
            yield _result_table(content, kind, labels, subsets)
    if content.lists:
        yield Paragraph(
            "PCK is the share of a pair's queries that are matched within the threshold; the mean "
            "is over pairs. In brackets its 95 % interval, by bootstrap over sequences"
            + (". The best of each column is bold." if len(content.labels) > 1 else "."),
            "remark",
        )
    oracles = [label for label in content.labels if content.entry(label).get("oracle")]
    if oracles:
        yield Paragraph(
            f"{' and '.join(oracles)}: before describing, it was told by how much each image shows "
            "things larger, from the true homography. Such a row says what a perfect estimate "
            "would be worth, nobody meets it in use, and it is never called the best.",
            "remark",
        )


def _result_table(
    content: _Content, kind: QueryKind, labels: Sequence[str], subsets: Sequence[SubsetName]
) -> Table:
    wanted = [(subset, limit) for subset in subsets for limit in content.thresholds_px]
    columns = [Column("descriptor", align="left", weight=1.5)]
    columns += [Column(f"≤ {limit:g} px", group=subset) for subset, limit in wanted]
    judged, compared = content.judged(labels), len(labels) > 1
    best = {
        key: max(
            (
                row.pck
                for label in judged
                if (row := content.cells.get((label, key[0], kind, key[1]))) and row.pck is not None
            ),
            default=None,
        )
        for key in wanted
    }
    rows = []
    for label in labels:
        cells = [Cell(label, content.remark(label))]
        for subset, limit in wanted:
            row = content.cells.get((label, subset, kind, limit))
            cells.append(_pck_cell(row, compared and label in judged, best[subset, limit]))
        rows.append(Row(tuple(cells)))
    pairs = [
        f"{subset} {max(counts)}"
        for subset in subsets
        if (
            counts := [
                row.pairs
                for label in labels
                if (row := content.cells.get((label, subset, kind, content.thresholds_px[0])))
            ]
        )
    ]
    of = f" ({', '.join(pairs)} pairs)" if pairs else ""
    return Table(
        f"summary-{kind}" + (f"-{subsets[0]}" if len(subsets) == 1 else ""),
        f"Mean PCK, {_list_name(kind)} queries{of}",
        tuple(columns),
        tuple(rows),
    )


def _pck_cell(row: SummaryRow | None, compared: bool, best: float | None) -> Cell:
    if row is None:
        return Cell(NONE)
    detail = ""
    if row.low is not None and row.high is not None:
        detail = f"[{number(row.low)}, {number(row.high)}]"
    return Cell(
        number(row.pck),
        detail,
        strong=compared and row.pck is not None and row.pck == best,
        keys=(
            ("descriptor", row.descriptor),
            ("subset", row.subset),
            ("queries", row.queries),
            ("threshold", threshold_name(row.threshold_px)),
        ),
    )


def _published(content: _Content) -> Iterator[Block]:
    names = [one.replace("-", "_") for one in (content.entry(x)["name"] for x in content.labels)]
    ours: dict[str, list[str]] = {}
    if _PUBLISHED_PX in content.thresholds_px and "harris" in content.lists:
        for label, name in zip(content.labels, names, strict=True):
            if name in PUBLISHED and (label, "harris") in content.rows:
                ours.setdefault(name, []).append(label)
    columns = [Column("", align="left", weight=1.2)]
    columns += [Column(subset, group="published") for subset in SUBSETS]
    columns.append(Column("matcher", group="published", align="left"))
    if ours:
        columns += [Column("here", align="left", weight=1.6)]
        columns += [Column(s, group=f"this report, ≤ {_PUBLISHED_PX:g} px") for s in SUBSETS]
        columns += [Column("protocol, matcher", align="left", weight=1.3)]
    rows = []
    for name, (title, *shares, matcher) in PUBLISHED.items():
        for place, label in enumerate(ours.get(name, [""])):
            cells = [Cell(title if place == 0 else "")]
            cells += [Cell(f"{share:.3f}" if place == 0 else "") for share in shares]
            cells.append(Cell(str(matcher) if place == 0 else ""))
            if ours:
                cells += _our_cells(content, label)
            rows.append(Row(tuple(cells)))
    yield Table("published", "PCK as the original's authors give it", tuple(columns), tuple(rows))
    yield Paragraph(
        "The published rows are on all of HPatches (580 pairs). MSNetV1 was matched by exact "
        "search, the others by FLANN, so that table compares matchers too: with a stand-in network "
        "exact search alone was worth 0.08 to 0.10. The released code counts a match as right up "
        "to 3 px, although its text and its configs say 5. MSNetV2 took its scales from the true "
        "homography (an oracle). Only figures of the protocol seed on the same pairs, with the "
        "same matcher, can be read beside them.",
        "remark",
    )


def _our_cells(content: _Content, label: str) -> list[Cell]:
    if not label:
        return [Cell("") for _ in range(len(SUBSETS) + 2)]
    cells = [Cell(label, content.remark(label))]
    for subset in SUBSETS:
        row = content.cells.get((label, subset, "harris", _PUBLISHED_PX))
        cells.append(_pck_cell(row, compared=False, best=None))
    protocol = content.result_of(label).fingerprint["protocol"]
    return [*cells, Cell(f"{protocol}, {content.entry(label)['matcher']}")]


# ---- figures -----------------------------------------------------------------------------------


def _curves(content: _Content) -> Iterator[Block]:
    for kind in content.lists:
        labels = content.labels_with(kind)
        panels = []
        for subset in content.subsets():
            lines = []
            for label in labels:
                rows = [
                    row
                    for row in content.rows[label, kind].values()
                    if subset in ("all", kind_of(row.sequence))
                ]
                if rows:
                    whiskers = tuple(
                        (limit, row.low, row.high)
                        for limit in content.thresholds_px
                        if limit <= CURVE_PX[-1]
                        and (row := content.cells.get((label, subset, kind, limit)))
                        and row.low is not None
                        and row.high is not None
                    )
                    series = content.series[label]
                    lines.append(Curve(series, CURVE_PX, mean_curve(rows), whiskers))
            panels.append(draw_curves(subset, lines, series_count=len(content.labels)))
        legend = tuple(draw_sample(content.series[label], label) for label in labels)
        bars = " Bars are 95 % intervals." if any("whisker" in one.svg for one in panels) else ""
        yield Figures(
            legend,
            tuple(panels),
            f"Mean PCK, {_list_name(kind)} queries, at thresholds in steps of half a pixel.{bars}",
        )


def mean_curve(rows: Sequence[PairRow]) -> tuple[float, ...]:
    """The mean over at least one row of the share within each threshold of a curve."""
    return tuple(
        sum(row.counts_within[place] / row.count for row in rows) / len(rows)
        for place in range(len(CURVE_PX))
    )


def _by_sequence(content: _Content) -> Iterator[Block]:
    if not content.lists:
        return
    kind, limit = content.lists[0], content.main_px
    means: dict[str, dict[str, list[float]]] = {}
    for label in content.labels_with(kind):
        for row in content.rows[label, kind].values():
            shares = means.setdefault(row.sequence, {}).setdefault(label, [])
            if limit in dict(row.pck):
                shares.append(share_within(row, limit))
    labels = content.labels_with(kind)
    columns = (
        Column("sequence", align="left", weight=1.3),
        *(Column(label, align="left", weight=1.0) for label in labels),
    )
    rows: list[Row] = []
    for group in ("viewpoint", "illumination", "other"):
        names = [name for name in means if kind_of(name) == group]
        if not names:
            continue
        names.sort(key=lambda name: (_overall(means[name]), natural_key(name)))
        rows.append(Row((Cell(group),)))
        for name in names:
            cells = [Cell(name)]
            for label in labels:
                shares = means[name].get(label, [])
                mean = sum(shares) / len(shares) if shares else None
                keys = (
                    ("sequence", name),
                    ("descriptor", label),
                    ("queries", kind),
                    ("threshold", threshold_name(limit)),
                )
                series = content.series[label]
                cells.append(Cell(number(mean), bar=mean or 0.0, series=series, keys=keys))
            rows.append(Row(tuple(cells)))
    yield Table(
        "sequences",
        f"Mean PCK at {limit:g} px of each sequence's pairs, {_list_name(kind)} queries, hardest "
        "sequence first",
        columns,
        tuple(rows),
    )


def _overall(shares: Mapping[str, Sequence[float]]) -> float:
    every = [sum(one) / len(one) for one in shares.values() if one]
    return sum(every) / len(every) if every else 0.0


# ---- differences -------------------------------------------------------------------------------


def _differences(content: _Content) -> Iterator[Block]:
    limit = content.main_px
    shown = False
    for kind in content.lists:
        ranked = _ranked(content, kind, "all", limit)
        found = {
            (better, other, subset): _difference(content, kind, better, other, subset)
            for place, better in enumerate(ranked)
            for other in ranked[place + 1 :]
            for subset in SUBSETS
        }
        if not found:
            continue
        ends = [
            abs(end)
            for difference in found.values()
            if difference is not None
            for end in (difference[0].mean, difference[0].low, difference[0].high)
            if end is not None
        ]
        reach = max([0.05, *ends])
        columns = [Column("", align="left", weight=1.2)]
        columns += [
            Column(subset, align="left", weight=1.6, axis=(-reach, reach)) for subset in SUBSETS
        ]
        columns.append(Column("sequences", weight=0.9))
        rows = []
        for better, other in dict.fromkeys((key[0], key[1]) for key in found):
            cells = [Cell(f"{better} {MINUS} {other}")]
            cells += [
                _difference_cell(found[better, other, subset], kind, better, other, subset)
                for subset in SUBSETS
            ]
            whole = found[better, other, "all"]
            cells.append(Cell(f"{whole[1]} of {whole[2]}" if whole else NONE))
            rows.append(Row(tuple(cells)))
        shown = True
        yield Table(
            f"differences-{kind}",
            f"Difference of PCK at {limit:g} px, pair by pair, {_list_name(kind)} queries",
            tuple(columns),
            tuple(rows),
        )
    if shown:
        yield Paragraph(
            "Both descriptors are compared on the pairs that both have. In brackets the 95 % "
            "interval of the mean difference, by bootstrap over sequences: an interval that "
            "contains 0 does not tell the two apart. The last column counts the sequences on which "
            "the first one is ahead.",
            "remark",
        )


def _difference(
    content: _Content, kind: QueryKind, better: str, other: str, subset: SubsetName
) -> tuple[Interval, int, int] | None:
    """The mean difference, on how many sequences the first is ahead, and of how many."""
    limit = content.main_px
    mine, its = content.rows[better, kind], content.rows[other, kind]
    common = sorted(
        (key for key in mine if key in its and subset in ("all", kind_of(key[0]))),
        key=lambda key: (natural_key(key[0]), key[1]),
    )
    if not common:
        return None
    gaps = [share_within(mine[key], limit) - share_within(its[key], limit) for key in common]
    names = [sequence for sequence, _ in common]
    by_sequence: dict[str, float] = {}
    for name, gap in zip(names, gaps, strict=True):
        by_sequence[name] = by_sequence.get(name, 0.0) + gap
    seed = int(content.merged.results[0].fingerprint["seed"])
    ahead = sum(gap > 0 for gap in by_sequence.values())
    return bootstrap_mean(gaps, names, seed=seed), ahead, len(by_sequence)


def _difference_cell(
    found: tuple[Interval, int, int] | None,
    kind: QueryKind,
    better: str,
    other: str,
    subset: SubsetName,
) -> Cell:
    if found is None:
        return Cell(NONE)
    mean, low, high = found[0].mean, found[0].low, found[0].high
    known = low is not None and high is not None
    return Cell(
        signed(mean),
        f"[{signed(low)}, {signed(high)}]" if low is not None and high is not None else "",
        interval=(low, mean, high) if low is not None and high is not None else (mean, mean, mean),
        strong=known and ((low or 0) > 0 or (high or 0) < 0),
        keys=(("better", better), ("other", other), ("subset", subset), ("queries", kind)),
    )


# ---- the worst pairs ---------------------------------------------------------------------------


def _worst(content: _Content, worst: Sequence[WorstPair]) -> Iterator[Block]:
    if not worst:
        return
    kind, limit = content.lists[0], content.main_px
    whose = ", each descriptor's in turn, best descriptor first" if len(content.labels) > 1 else ""
    yield Paragraph(
        f"The {_count(len(worst), 'pair')} of images with the lowest PCK at {limit:g} px, "
        f"{_list_name(kind)} queries{whose}. The command below a pair opens it in the window, with "
        "the probe on the query that is farthest off."
    )
    if any(one.figure for one in worst):
        yield Figures(
            (
                draw_judgement(True, f"within {limit:g} px of the true point"),
                draw_judgement(False, "farther off"),
            ),
            (),
            "",
        )
    pictures = []
    for one in worst:
        own = one.row.descriptor
        shares = [
            f"{label} {number(share_within(row, limit))}"
            for label in (own, *(label for label in content.labels if label != own))
            if (row := content.rows.get((label, kind), {}).get((one.row.sequence, one.row.index)))
            and limit in dict(row.pck)
        ]
        pictures.append(
            PairPicture(
                title=_pair_name(one.row),
                detail=" · ".join(shares),
                figure=one.figure,
                note=one.note,
                command=one.command,
            )
        )
    yield Pictures(tuple(pictures))


def _pair_name(row: PairRow) -> str:
    return f"{row.sequence} 1 → {row.index}"


# ---- how it was made ---------------------------------------------------------------------------


def _times(content: _Content) -> Iterator[Block]:
    rows = []
    for result in content.merged.results:
        for timing in result.timings:
            values = timing.to_json()
            keys = (("descriptor", timing.descriptor),)
            rows.append(
                Row(
                    (
                        Cell(timing.descriptor),
                        Cell(str(timing.images)),
                        Cell(_seconds(values["s_per_image"]), keys=(("time", "image"), *keys)),
                        Cell(str(timing.pairs)),
                        Cell(_seconds(values["s_per_pair"]), keys=(("time", "pair"), *keys)),
                        Cell(_plain(result.fingerprint["device"])),
                    )
                )
            )
    yield Table(
        "time",
        "Time to describe an image, and to match a pair with all lists of queries",
        (
            Column("descriptor", align="left", weight=1.5),
            Column("images"),
            Column("an image"),
            Column("pairs"),
            Column("a pair"),
            Column("device", align="left", weight=1.2),
        ),
        tuple(rows),
    )
    whole = [f"{result.wall_s:.0f} s" for result in content.merged.results]
    yield Paragraph(
        f"The whole run took {' and '.join(whole)}, reading included; of a continued run its last "
        "part counts.",
        "remark",
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def _left_out(content: _Content, names: Sequence[str]) -> Iterator[Block]:
    several = len(names) > 1
    problems = [
        f"{name}: {problem}" if several else problem
        for name, result in zip(names, content.merged.results, strict=True)
        for problem in result.problems
    ]
    entries = [
        (name, entry)
        for name, result in zip(names, content.merged.results, strict=True)
        for entry in result.left_out
    ]
    if not problems and not entries:
        yield Paragraph("Nothing: all pairs of the data set were measured.")
        return
    if entries:
        broken = sum(entry.queries is None for _, entry in entries)
        empty = len(entries) - broken
        said = []
        if broken:
            said.append(f"{_count(broken, 'broken pair')}")
        if empty:
            said.append(f"{_count(empty, 'list')} of queries without any query")
        yield Paragraph(f"Left out: {' and '.join(said)}. The means do not count them.")
        columns = (
            *((Column("run", align="left"),) if several else ()),
            Column("pair", align="left", weight=1.0),
            Column("what", align="left", weight=0.7),
            Column("why", align="left", weight=3.0),
        )
        yield Table(
            "left-out",
            "",
            columns,
            tuple(
                Row(
                    (
                        *((Cell(name),) if several else ()),
                        Cell(f"{entry.sequence} 1 → {entry.index}"),
                        Cell(f"{entry.queries} queries" if entry.queries else "the pair"),
                        Cell(entry.reason),
                    )
                )
                for name, entry in entries[:_LEFT_OUT_SHOWN]
            ),
        )
        if len(entries) > _LEFT_OUT_SHOWN:
            yield Paragraph(
                f"{len(entries) - _LEFT_OUT_SHOWN} more are named in result.json.", "remark"
            )
    if problems:
        yield Paragraph("When the data set was opened:")
        yield from (Paragraph(text, "remark") for text in problems[:_LEFT_OUT_SHOWN])
        if len(problems) > _LEFT_OUT_SHOWN:
            yield Paragraph(
                f"{len(problems) - _LEFT_OUT_SHOWN} more are named in result.json.", "remark"
            )


def _fingerprints(content: _Content, names: Sequence[str]) -> Iterator[Block]:
    yield Paragraph(
        "All that the numbers depend on. Figures with another fingerprint are not comparable."
    )
    for name, result in zip(names, content.merged.results, strict=True):
        if len(names) > 1:
            yield Paragraph(f"Run {name}")
        fields = {key: value for key, value in result.fingerprint.items() if key != "descriptors"}
        yield Facts(tuple(_flat(fields)))
    rows = []
    for label in content.labels:
        entry = content.entry(label)
        settings = ", ".join(f"{key} = {_plain(value)}" for key, value in entry["config"].items())
        maps = _count(int(entry["levels"]), "map")
        rows.append(
            Row(
                (
                    Cell(label, entry["name"] if entry["name"] != label else ""),
                    Cell(f"{maps} of {entry['dim']} numbers"),
                    Cell(f"{entry['matcher']}, {entry['precision']}"),
                    Cell(settings or NONE),
                    Cell(entry["weights_sha256"] or NONE),
                )
            )
        )
    yield Table(
        "descriptors",
        "Descriptors",
        (
            Column("descriptor", align="left", weight=1.2),
            Column("describes by", align="left", weight=1.0),
            Column("matched", align="left", weight=0.9),
            Column("settings", align="left", weight=2.0),
            Column("SHA-256 of the weights", align="left", weight=1.6),
        ),
        tuple(rows),
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _reproduce(merged: MergedResults, names: Sequence[str], command: str) -> Iterator[Block]:
    commands = [str(result.sources.get("command", "")) for result in merged.results]
    yield Paragraph(
        "Measured with"
        if any(commands)
        else "The results do not tell the command that they were made with."
    )
    for name, text in zip(names, commands, strict=True):
        if text:
            if len(names) > 1:
                yield Paragraph(name, "remark")
            yield Command(text)
    yield Paragraph("This report was made with")
    yield Command(command)
    versions = merged.results[0].fingerprint["versions"]
    yield Paragraph(
        "The same versions, device and seed give the same numbers "
        f"(Descriptor Space {versions['project']}, torch {versions['torch']}, OpenCV "
        f"{versions['opencv']}).",
        "remark",
    )


def _list_name(kind: QueryKind) -> str:
    return "Harris" if kind == "harris" else "uniform"


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
