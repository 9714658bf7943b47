"""What the numbers of a report say: its summary and its tables, made from statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Final

from engine.data.layouts.hpatches import HPatchesReader
from engine.evaluation.comparison import MergedResults
from engine.evaluation.fingerprint import Fingerprint
from engine.evaluation.metrics.found_matches import AP_THRESHOLD_PX, RECALLS
from engine.evaluation.pck import CURVE_PX, LEAST_SEQUENCES
from engine.evaluation.report import (
    NONE,
    Cell,
    Column,
    Figures,
    PairPicture,
    Report,
    Table,
    left_column,
    list_name,
    make_table,
    number_text,
)
from engine.evaluation.report_figures import Curve, draw_curves, draw_sample
from engine.evaluation.report_metrics import (
    definition_tables,
    metric_tables,
    slice_tables,
)
from engine.evaluation.report_statistics import Gain, Statistics
from engine.evaluation.result import (
    PairRow,
    SummaryRow,
    threshold_name,
)
from engine.evaluation.switches import QueryKind
from engine.vocabulary import counted, plural

MINUS: Final = "\N{MINUS SIGN}"
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_PUBLISHED_PX: Final = 3.0
LISTED_AT_MOST: Final = 40
_NAMED_AT_MOST: Final = 4
_CELLS_AT_MOST: Final = 12  # thresholds under the subsets, beside each other
_SUBSETS_SAID: Final = 3
_SUBSET_WORDS: Final = {
    "viewpoint": "under changes of viewpoint",
    "illumination": "under changes of light",
}

PUBLISHED: Final = {
    "daisy": ("DAISY", 0.592, 0.535, 0.647, "FLANN"),
    "superpoint": ("SuperPoint", 0.646, 0.592, 0.702, "FLANN"),
    "msnet_v0": ("MSNetV0", 0.626, 0.619, 0.644, "FLANN"),
    "msnet_v1": ("MSNetV1", 0.742, 0.732, 0.752, "exact"),
    "msnet_v2": ("MSNetV2", 0.690, 0.719, 0.657, "FLANN"),
}
"""The original's own table: PCK on all, viewpoint and illumination sequences, and the matcher."""

_PUBLISHED_SUBSETS: Final = ("all", "viewpoint", "illumination")

_PROTOCOLS: Final = {
    "seed": "as the original's code measures: each query is matched among the true points of all "
    "queries of its pair; true points are cut to whole pixels",
    "closed": "each query is matched among the true points of all queries of its pair",
    "dense": "each query is matched among the places of a grid over the whole other image",
}


def build_report(
    stats: Statistics, *, worst: Sequence[PairPicture], command: str, beside: Sequence[str] = ()
) -> Report:
    """Write a report about one or several results.

    Args:
        stats: of the results.
        worst: the pairs of :meth:`Statistics.worst_rows`.
        command: makes this report again.
        beside: names of the files that are written beside the page, to copy from.
    """
    merged, labels = stats.merged, stats.labels
    about = " and ".join(labels) if len(labels) <= 2 else f"{len(labels)} descriptors"
    limit = f"{stats.main_px:g} px of the true point"
    right, wrong = draw_sample("right", f"within {limit}"), draw_sample("wrong", "farther off")
    tables = {
        "results": _results(stats),
        "published": [_published(stats)] if _has_sequences(merged) else [],
        "sequences": [_by_sequence(stats, kind) for kind in stats.lists[:1]],
        "differences": _differences(stats),
        "metrics": metric_tables(stats),
        "definitions": definition_tables(stats),
        "slices": slice_tables(stats),
        "time": [_times(merged)],
        "left_out": _left_out(merged),
        "descriptors": [_descriptors(merged)],
    }
    return Report(
        title=f"PCK of {about} on {' and '.join(_each(merged, 'dataset.name'))}",
        subtitle=_subtitle(stats),
        summary=_summary(stats),
        stats=stats,
        tables={name: tuple(some) for name, some in tables.items()},
        curves=tuple(_curves(stats, kind) for kind in stats.lists),
        precision=tuple(_precision_curves(stats)),
        judgements=Figures((right, wrong)) if any(one.figure for one in worst) else None,
        worst=tuple(worst),
        problems=tuple(_problems(merged)),
        facts=tuple(facts_of(result.fingerprint) for result in merged.results),
        command=command,
        beside=_beside(beside),
    )


def _beside(names: Sequence[str]) -> str:
    if not names:
        return ""
    every = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return f"{every} beside this page {'hold' if len(names) > 1 else 'holds'} the same to copy."


def pair_in_words(stats: Statistics, row: PairRow) -> tuple[str, str]:
    """The name of a pair, and its PCK by all descriptors, that of the row first."""
    others = (label for label in stats.labels if label != row.descriptor)
    every = (stats.rows.get((label, row.queries), {}) for label in (row.descriptor, *others))
    shares = [
        f"{its[row.key].descriptor} {number_text(its[row.key].share(stats.main_px))}"
        for its in every
        if row.key in its and stats.main_px in dict(its[row.key].pck)
    ]
    dataset = stats.merged.result_of(row.descriptor).fingerprint.dataset
    return row.name or dataset.title(*row.key), " · ".join(shares)


def signed(value: float) -> str:
    """A difference with its sign; one that rounds to nothing has none."""
    text = f"{abs(value):.3f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else MINUS}{text}"


# ---- the head ----------------------------------------------------------------------------------


def _subtitle(stats: Statistics) -> str:
    merged = stats.merged
    measured = {row.key for row in merged.pairs}
    groups = {group for group, _ in measured}
    of = f" from {counted(len(groups), stats.group)}" if len(groups) < len(measured) else ""
    asked = "/".join(_each(merged, "dataset.pairs"))
    truths = dict.fromkeys(one.fingerprint.dataset.truth_words for one in merged.results)
    protocols = dict.fromkeys(one.fingerprint.protocol_words for one in merged.results)
    parts = [
        f"protocol {' and '.join(protocols)}",
        *filter(None, truths),
        f"{len(measured)} of {asked} pairs{of}",
        f"{' and '.join(_each(merged, 'matcher'))} matching",
        f"at most {'/'.join(_each(merged, 'sampler.query_limit'))} queries a pair",
        f"long edge {'/'.join(_each(merged, 'sampler.long_edge_px'))} px",
        f"seed {'/'.join(_each(merged, 'seed'))}",
    ]
    return " · ".join(parts)


def _summary(stats: Statistics) -> str:
    if not stats.lists:
        return "No pair could be measured, so there is nothing to compare; see what was left out."
    kind, merged = stats.lists[0], stats.merged
    ranked = stats.ranked(kind)
    if not ranked:
        return "The results have no threshold in common, so no descriptor is put before another."
    sentences = []
    if merged.warnings:
        sentences.append(
            "These runs were made in different ways, so their figures must not be read against "
            "each other."
        )
    sentences.append(_leaders(stats, kind, ranked))
    if len(ranked) > 2:
        rest = len(ranked) - _NAMED_AT_MOST
        behind = [
            *(f"{_who(merged, row)} with {_percent(row)}" for row in ranked[1:_NAMED_AT_MOST]),
            *([f"{rest} more"] if rest > 0 else []),
        ]
        sentences.append(f"Behind it come {', '.join(behind[:-1])} and {behind[-1]}.")
    said = []
    for subset in stats.subsets[1 : 1 + _SUBSETS_SAID]:
        for leader in stats.ranked(kind, subset)[:1]:
            who = f"{leader.descriptor} is best with" if len(ranked) > 1 else "it is"
            said.append(f"{_SUBSET_WORDS.get(subset, f'on {subset}')} {who} {_percent(leader)}")
    if said:
        text = ", ".join(said)
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    if len(ranked) > 1 and not merged.warnings:
        sentences += _lead(stats, kind, ranked[0].descriptor, ranked[1].descriptor)
    names = _each(merged, "protocol")
    sentences += [f"In the protocol {name}, {_PROTOCOLS[name]}." for name in names]
    helped = [one.label for one in merged.descriptors if one.matcher == "consensus"]
    if helped:
        sentences.append(
            f"For {' and '.join(helped)}, neighbouring queries helped to choose the matches, so do "
            "not read these figures against those of nearest neighbours."
        )
    broken = sum(entry.queries is None for one in merged.results for entry in one.left_out)
    if broken:
        were = "pair was" if broken == 1 else "pairs were"
        sentences.append(f"{broken} broken {were} left out.")
    # Numbers and their units stay on one line.
    return " ".join(sentences).replace(" %", NO_BREAK + "%").replace(" px", NO_BREAK + "px")


def _leaders(stats: Statistics, kind: QueryKind, ranked: Sequence[SummaryRow]) -> str:
    found = []
    for row in ranked[:2]:
        interval = ""
        if row.ends is not None:
            low, high = (100 * end for end in row.ends)
            little = (
                f", which means little over {counted(row.sequences, stats.group)}"
                if row.few
                else ""
            )
            interval = f" (95 % interval {low:.1f} to {high:.1f} %{little})"
        found.append((_who(stats.merged, row), f"{_percent(row)}{interval}"))
    first = " finds ".join(found[0])
    if len(ranked) > 2:
        first = f"the best of {len(ranked)} descriptors, {first}"
    elif len(ranked) == 2:
        first += f" and {' '.join(found[1])}"
    return (
        f"Of the {list_name(kind)} queries, {first} within {stats.main_px:g} px of the true "
        f"point, on average over {counted(ranked[0].pairs, 'pair')}."
    )


def _lead(stats: Statistics, kind: QueryKind, better: str, other: str) -> Iterator[str]:
    gain = stats.gain(kind, better, other)
    if gain is None or gain.interval.ends is None:
        return
    low, high = (f"{100 * end:.1f}".replace("-", MINUS) for end in gain.interval.ends)
    lead = (
        f"The lead of {better} over {other} is {100 * gain.interval.mean:.1f} percentage points on "
        "the pairs that both have"
    )
    if gain.few:
        groups = counted(gain.sequences, stats.group)
        yield f"{lead}, which come from {groups}: too few to say more."
        return
    verdict = "does not contain 0" if gain.certain else "contains 0, so the two are level"
    yield f"{lead}; its 95 % interval, {low} to {high}, {verdict}."


def _percent(row: SummaryRow) -> str:
    return f"{100 * (row.pck or 0):.1f} %"


def _who(merged: MergedResults, row: SummaryRow) -> str:
    remark = remark_on(merged, row.descriptor)
    return f"{row.descriptor} ({remark})" if remark else row.descriptor


def remark_on(merged: MergedResults, label: str) -> str:
    """The remark that must follow a descriptor's name wherever it is compared."""
    one = merged.descriptor(label)
    remarks = [] if one.trained else ["untrained"]
    return ", ".join([*remarks, "given the true scales"] if one.oracle else remarks)


# ---- tables of means ---------------------------------------------------------------------------


def _results(stats: Statistics) -> Iterator[Table]:
    groups: list[tuple[str, ...]] = [stats.subsets]
    if len(stats.thresholds_px) * len(stats.subsets) > _CELLS_AT_MOST:
        groups = [(subset,) for subset in stats.subsets]
    for kind in stats.lists:
        for subsets in groups:
            yield _result_table(stats, kind, subsets)


def _result_table(stats: Statistics, kind: QueryKind, subsets: Sequence[str]) -> Table:
    labels = stats.labels_with(kind)
    wanted = [(subset, limit) for subset in subsets for limit in stats.thresholds_px]
    columns = [left_column("descriptor")]
    columns += [Column(f"≤ {limit:g} px", group=subset) for subset, limit in wanted]
    best = {}
    for key in wanted if len(labels) > 1 else ():
        ranked = stats.ranked(kind, *key)
        best[key] = [row for row in ranked if row.pck == ranked[0].pck]
    rows = []
    for label in labels:
        rows.append([Cell(label, remark_on(stats.merged, label))])
        for subset, limit in wanted:
            row = stats.mean(label, subset, kind, limit)
            rows[-1].append(pck_cell(row, strong=row in best.get((subset, limit), ())))
    pairs = []
    for subset in subsets:
        means = [stats.mean(label, subset, kind, stats.thresholds_px[0]) for label in labels]
        if counts := [row.pairs for row in means if row is not None]:
            pairs.append(f"{subset} {max(counts)}")
    of = f" ({', '.join(pairs)} pairs)" if pairs else ""
    name = f"summary-{kind}" + ("" if len(subsets) == len(stats.subsets) else f"-{subsets[0]}")
    return make_table(name, f"Mean PCK, {list_name(kind)} queries{of}", columns, rows)


def pck_cell(row: SummaryRow | None, *, strong: bool = False) -> Cell:
    """A mean PCK with its interval; a dash where there is none."""
    if row is None:
        return Cell(NONE)
    keys = {
        "descriptor": row.descriptor,
        "subset": row.subset,
        "queries": row.queries,
        "threshold": threshold_name(row.threshold_px),
    }
    ends = f"[{', '.join(map(number_text, row.ends))}]" if row.ends else ""
    return Cell(number_text(row.pck), ends, strong=strong, keys=keys)


def _has_sequences(merged: MergedResults) -> bool:
    """Whether a result is of sequences like those that the published figures are of."""
    layouts = (one.fingerprint.dataset.layout for one in merged.results)
    return HPatchesReader.layout in layouts


def _published(stats: Statistics) -> Table:
    ours: dict[str, list[str]] = {}
    if _PUBLISHED_PX in stats.thresholds_px:
        for label in stats.labels_with("harris"):
            one = stats.merged.descriptor(label)
            name = one.name.replace("-", "_")
            if name in PUBLISHED and one.matcher != "consensus":
                ours.setdefault(name, []).append(label)
    columns = [left_column("")]
    columns += [Column(subset, group="published") for subset in _PUBLISHED_SUBSETS]
    columns.append(Column("matcher", group="published", align="left"))
    if ours:
        columns.append(left_column("here"))
        here = f"this report, ≤ {_PUBLISHED_PX:g} px"
        columns += [Column(subset, group=here) for subset in _PUBLISHED_SUBSETS]
        columns.append(left_column("protocol, matcher"))
    rows: list[Sequence[Cell | str]] = []
    for name, (title, *shares, matcher) in PUBLISHED.items():
        theirs = [title, *(f"{share:.3f}" for share in shares), matcher]
        for label in ours.get(name, [""]):
            rows.append([*theirs, *(_our_cells(stats, label) if ours else ())])
            theirs = [""] * len(theirs)
    return make_table("published", "PCK as the original's authors give it", columns, rows)


def _our_cells(stats: Statistics, label: str) -> list[Cell | str]:
    if not label:
        return [""] * (len(_PUBLISHED_SUBSETS) + 2)
    means = [stats.mean(label, subset, "harris", _PUBLISHED_PX) for subset in _PUBLISHED_SUBSETS]
    protocol = stats.merged.result_of(label).fingerprint.protocol
    return [
        Cell(label, remark_on(stats.merged, label)),
        *map(pck_cell, means),
        f"{protocol}, {stats.merged.descriptor(label).matcher}",
    ]


# ---- figures -----------------------------------------------------------------------------------


def _curves(stats: Statistics, kind: QueryKind) -> Figures:
    labels = stats.labels_with(kind)
    panels = []
    for subset in stats.subsets:
        lines = []
        for label in labels:
            if curve := stats.curve(label, kind, subset):
                whiskers = stats.whiskers(label, kind, subset)
                lines.append(Curve(stats.series[label], CURVE_PX, curve, whiskers, label))
        panels.append(draw_curves(subset, "threshold in px", lines, series_count=len(stats.labels)))
    barred = any("whisker" in one.svg for one in panels)
    return Figures(
        tuple(draw_sample(stats.series[label], label) for label in labels),
        tuple(panels),
        f"Mean PCK, {list_name(kind)} queries, at thresholds in steps of half a pixel."
        + (f" Bars are 95 % intervals.{_caveat(stats)}" if barred else ""),
        f"PCK, {list_name(kind)} queries",
    )


def _precision_curves(stats: Statistics) -> Iterator[Figures]:
    """Precision over recall of the matches as found; nothing where these were not measured."""
    panels, drawn = [], []
    for subset in stats.subsets:
        curves = [(label, stats.precision_curve(label, subset)) for label in stats.labels]
        lines = [
            Curve(stats.series[label], RECALLS, curve, name=label)
            for label, curve in curves
            if curve
        ]
        drawn += [line.name for line in lines]
        if lines:
            panels.append(draw_curves(subset, "recall", lines, series_count=len(stats.labels)))
    if panels:
        yield Figures(
            tuple(draw_sample(stats.series[one], one) for one in stats.labels if one in drawn),
            tuple(panels),
            "Mean precision of the mutual matches over recall, as the least similarity falls: "
            f"right within {AP_THRESHOLD_PX:g} px, recall of all points of image a that image b "
            "shows. The area is the average precision.",
            "Precision over recall",
        )


def _caveat(stats: Statistics) -> str:
    """What must be said where intervals over few sequences are shown; "" where none is."""
    return f" {_few(stats)}" if any(row.few for row in stats.merged.summary) else ""


def _few(stats: Statistics) -> str:
    return f"Intervals over fewer than {LEAST_SEQUENCES} {plural(stats.group)} mean little."


def _by_sequence(stats: Statistics, kind: QueryKind) -> Table:
    labels, means = stats.labels_with(kind), stats.by_sequence(kind)
    what = f"PCK at {stats.main_px:g} px of each pair"
    if stats.group != "pair":
        what = f"Mean PCK at {stats.main_px:g} px of each {stats.group}'s pairs"
    limit = threshold_name(stats.main_px)
    rows: list[list[Cell | str]] = []
    for subset in (*stats.subsets[1:], ""):
        names = [name for name in means if stats.subset_of[name] == subset]
        if len(stats.subsets) == 1:
            names = [] if subset else list(means)
        elif names:
            rows.append([subset or "other"])
        for name in names:
            rows.append([name])
            for label in labels:
                mean, series = means[name].get(label), stats.series[label]
                keys = {"sequence": name, "descriptor": label, "queries": kind, "threshold": limit}
                rows[-1].append(Cell(number_text(mean), bar=mean or 0.0, series=series, keys=keys))
    return make_table(
        "sequences",
        f"{what}, {list_name(kind)} queries, hardest {stats.group} first",
        [left_column(stats.group), *map(left_column, labels)],
        rows,
    )


# ---- differences -------------------------------------------------------------------------------


def _differences(stats: Statistics) -> Iterator[Table]:
    for kind in stats.lists:
        ranked = [row.descriptor for row in stats.ranked(kind)]
        gains = {
            rivals: [stats.gain(kind, *rivals, subset) for subset in stats.subsets]
            for rivals in combinations(ranked, 2)
        }
        if not gains:
            continue
        known = [gain for some in gains.values() for gain in some if gain is not None]
        few = any(gain.few for gain in known)
        intervals = [gain.interval for gain in known]
        ends = [end for one in intervals for end in (one.mean, *(one.ends or ()))]
        reach = max([0.05, *map(abs, ends)])
        columns = [left_column("")]
        columns += [replace(left_column(subset), axis=(-reach, reach)) for subset in stats.subsets]
        columns.append(Column(plural(stats.group)))
        rows: list[Sequence[Cell | str]] = []
        for (better, other), some in gains.items():
            keys = {"better": better, "other": other, "queries": kind}
            cells = [
                gain_cell(gain, keys | {"subset": subset})
                for subset, gain in zip(stats.subsets, some, strict=True)
            ]
            last = f"{some[0].ahead} of {some[0].sequences}" if some[0] else NONE
            rows.append([f"{better} {MINUS} {other}", *cells, last])
        yield make_table(
            f"differences-{kind}",
            f"Difference of PCK at {stats.main_px:g} px, pair by pair, {list_name(kind)} queries"
            + (f". {_few(stats)}" if few else ""),
            columns,
            rows,
        )


def gain_cell(gain: Gain | None, keys: Mapping[str, str]) -> Cell:
    """A mean difference with its interval; a dash where two have no pair in common."""
    if gain is None:
        return Cell(NONE)
    mean, ends = gain.interval.mean, gain.interval.ends
    low, high = ends or (mean, mean)
    return Cell(
        signed(mean),
        f"[{signed(low)}, {signed(high)}]" if ends else "",
        interval=(low, mean, high),
        strong=gain.certain,
        keys=keys,
    )


# ---- how it was made ---------------------------------------------------------------------------


def _times(merged: MergedResults) -> Table:
    rows: list[Sequence[Cell | str]] = []
    for result in merged.results:
        for one in result.timings:
            image, pair = (
                Cell(seconds_text(seconds), keys={"time": name, "descriptor": one.descriptor})
                for name, seconds in (("image", one.s_per_image), ("pair", one.s_per_pair))
            )
            counts, device = (str(one.images), str(one.pairs)), result.fingerprint.device
            rows.append([one.descriptor, counts[0], image, counts[1], pair, device])
    return make_table(
        "time",
        "Time to describe an image, and to match a pair with all lists of queries",
        [
            left_column("descriptor"),
            *map(Column, ("images", "an image", "pairs", "a pair")),
            left_column("device"),
        ],
        rows,
    )


def seconds_text(value: float | None) -> str:
    """A time in the unit that suits it; a dash where it is not known."""
    if value is None:
        return NONE
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def _left_out(merged: MergedResults) -> Iterator[Table]:
    runs = zip(merged.names, merged.results, strict=True)
    rows = [
        (
            name,
            result.fingerprint.dataset.title(entry.sequence, entry.index),
            f"{entry.queries} queries" if entry.queries else "the pair",
            entry.reason,
        )
        for name, result in runs
        for entry in result.left_out
    ]
    first = 0 if len(merged.results) > 1 else 1
    columns = list(map(left_column, ("run", "pair", "what", "why")))[first:]
    if rows:
        yield make_table("left-out", "", columns, [row[first:] for row in rows[:LISTED_AT_MOST]])


def _problems(merged: MergedResults) -> Iterator[str]:
    for name, result in zip(merged.names, merged.results, strict=True):
        said_by = f"{name}: " if len(merged.results) > 1 else ""
        yield from (f"{said_by}{problem}" for problem in result.problems)


def facts_of(fingerprint: Fingerprint) -> dict[str, str]:
    """The names and values of a fingerprint, but for those of its descriptors."""
    entries = fingerprint.flat().items()
    return {key: value_text(one) for key, one in entries if not key.startswith("descriptors")}


def _descriptors(merged: MergedResults) -> Table:
    rows = [
        (
            Cell(one.label, one.name if one.name != one.label else ""),
            f"{counted(one.levels, 'map')} of {one.dim} numbers",
            f"{one.matcher}, {one.precision}",
            ", ".join(f"{key} = {value_text(value)}" for key, value in one.config.items()) or NONE,
            one.weights_sha256 or NONE,
        )
        for one in merged.descriptors
    ]
    titles = ("descriptor", "describes by", "matched", "settings", "SHA-256 of the weights")
    return make_table("descriptors", "Descriptors", list(map(left_column, titles)), rows)


# ---- words and cells ---------------------------------------------------------------------------


def _each(merged: MergedResults, field: str) -> tuple[str, ...]:
    """The different values of a field of the fingerprints, as text."""
    return tuple(dict.fromkeys(value_text(one.fingerprint.flat()[field]) for one in merged.results))


def value_text(value: Any) -> str:
    """A value of a fingerprint."""
    if value is None:
        return NONE
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(map(value_text, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
