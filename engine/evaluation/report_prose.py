"""What a report says: its sentences, tables and sections, made from statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import engine
from engine.data.hpatches import kind_of
from engine.evaluation.comparison import MergedResults
from engine.evaluation.pck import CURVE_PX
from engine.evaluation.report import (
    Block,
    Cell,
    Column,
    Command,
    Facts,
    Figures,
    PairPicture,
    Paragraph,
    Pictures,
    Report,
    Row,
    Section,
    Table,
)
from engine.evaluation.report_figures import Curve, draw_curves, draw_judgement, draw_sample
from engine.evaluation.report_statistics import Gain, Statistics
from engine.evaluation.result import SUBSETS, PairRow, SubsetName, SummaryRow, threshold_name
from engine.evaluation.switches import QueryKind

MINUS: Final = "\N{MINUS SIGN}"
NONE: Final = "\N{EN DASH}"
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
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


def build_report(stats: Statistics, *, worst: Sequence[PairPicture], command: str) -> Report:
    """Write a report about one or several results.

    Args:
        stats: of the results.
        worst: the pairs of :meth:`Statistics.worst_rows`.
        command: makes this report again.
    """
    merged, labels = stats.merged, stats.labels
    sections = (
        Section("Results", "results", tuple(_results(stats))),
        Section("Beside the published figures", "published", tuple(_published(stats))),
        Section("PCK over the threshold", "curves", tuple(_curves(stats))),
        Section("By sequence", "sequences", tuple(_by_sequence(stats))),
        Section("Paired differences", "differences", tuple(_differences(stats))),
        Section("The worst pairs", "worst", tuple(_worst(stats, worst))),
        Section("Time", "time", tuple(_times(merged))),
        Section("What was left out", "left-out", tuple(_left_out(merged))),
        Section("Fingerprint", "fingerprint", tuple(_fingerprints(merged))),
        Section("How to reproduce", "reproduce", tuple(_reproduce(merged, command))),
    )
    about = " and ".join(labels) if len(labels) <= 2 else f"{len(labels)} descriptors"
    return Report(
        title=f"PCK of {about} on {' and '.join(_each(merged, 'dataset.name'))}",
        subtitle=_subtitle(merged),
        summary=_summary(stats),
        notices=merged.warnings,
        sections=tuple(section for section in sections if section.blocks),
        footer=f"Made by Descriptor Space {engine.__version__}. Points are measured in pixels of "
        "the resized images.",
    )


def pair_in_words(stats: Statistics, row: PairRow) -> tuple[str, str]:
    """The name of a pair, and its PCK by all descriptors, that of the row first."""
    others = (label for label in stats.labels if label != row.descriptor)
    every = (stats.rows.get((label, row.queries), {}) for label in (row.descriptor, *others))
    shares = [
        f"{its[row.key].descriptor} {_number(its[row.key].share(stats.main_px))}"
        for its in every
        if row.key in its and stats.main_px in dict(its[row.key].pck)
    ]
    return f"{row.sequence} 1 → {row.index}", " · ".join(shares)


def signed(value: float) -> str:
    """A difference with its sign; one that rounds to nothing has none."""
    text = f"{abs(value):.3f}"
    if float(text) == 0:
        return text
    return f"{'+' if value > 0 else MINUS}{text}"


# ---- the head ----------------------------------------------------------------------------------


def _subtitle(merged: MergedResults) -> str:
    measured = {row.key for row in merged.pairs}
    sequences = {sequence for sequence, _ in measured}
    asked = "/".join(_each(merged, "dataset.pairs"))
    parts = [
        f"protocol {' and '.join(_each(merged, 'protocol'))}",
        f"{len(measured)} of {asked} pairs from {_count(len(sequences), 'sequence')}",
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
    for subset in stats.subsets[1:]:
        for leader in stats.ranked(kind, subset)[:1]:
            word = "light" if subset == "illumination" else "viewpoint"
            who = f"{leader.descriptor} is best with" if len(ranked) > 1 else "it is"
            said.append(f"under changes of {word} {who} {_percent(leader)}")
    if said:
        text = ", ".join(said)
        sentences.append(f"{text[0].upper()}{text[1:]}.")
    if len(ranked) > 1 and not merged.warnings:
        sentences += _lead(stats, kind, ranked[0].descriptor, ranked[1].descriptor)
    names = _each(merged, "protocol")
    sentences += [f"In the protocol {name}, {_PROTOCOLS[name]}." for name in names]
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
            interval = f" (95 % interval {low:.1f} to {high:.1f} %)"
        found.append((_who(stats.merged, row), f"{_percent(row)}{interval}"))
    first = " finds ".join(found[0])
    if len(ranked) > 2:
        first = f"the best of {len(ranked)} descriptors, {first}"
    elif len(ranked) == 2:
        first += f" and {' '.join(found[1])}"
    return (
        f"Of the {_list_name(kind)} queries, {first} within {stats.main_px:g} px of the true "
        f"point, on average over {_count(ranked[0].pairs, 'pair')}."
    )


def _lead(stats: Statistics, kind: QueryKind, better: str, other: str) -> Iterator[str]:
    gain = stats.gain(kind, better, other)
    if gain is None or gain.interval.ends is None:
        return
    low, high = (f"{100 * end:.1f}".replace("-", MINUS) for end in gain.interval.ends)
    verdict = "does not contain 0" if gain.certain else "contains 0, so the two are level"
    yield (
        f"The lead of {better} over {other} is {100 * gain.interval.mean:.1f} percentage points on "
        f"the pairs that both have; its 95 % interval, {low} to {high}, {verdict}."
    )


def _percent(row: SummaryRow) -> str:
    return f"{100 * (row.pck or 0):.1f} %"


def _who(merged: MergedResults, row: SummaryRow) -> str:
    remark = _remark(merged, row.descriptor)
    return f"{row.descriptor} ({remark})" if remark else row.descriptor


def _remark(merged: MergedResults, label: str) -> str:
    """What has to stand beside a descriptor's name wherever it is compared."""
    one = merged.descriptor(label)
    remarks = [] if one.trained else ["untrained"]
    return ", ".join([*remarks, "given the true scales"] if one.oracle else remarks)


# ---- tables of means ---------------------------------------------------------------------------


def _results(stats: Statistics) -> Iterator[Block]:
    for kind in stats.lists:
        groups: list[tuple[SubsetName, ...]] = [SUBSETS]
        if len(stats.thresholds_px) > _COLUMNS_AT_MOST:
            groups = [(subset,) for subset in SUBSETS]
        for subsets in groups:
            yield _result_table(stats, kind, subsets)
    if stats.lists:
        yield Paragraph(
            "PCK is the share of a pair's queries that are matched within the threshold; the mean "
            "is over pairs. In brackets its 95 % interval, by bootstrap over sequences"
            + (". The best of each column is bold." if len(stats.labels) > 1 else "."),
            "remark",
        )
    oracles = [one.label for one in stats.merged.descriptors if one.oracle]
    if oracles:
        yield Paragraph(
            f"{' and '.join(oracles)}: before describing, it was given the true homography's "
            "scale at each pixel. Such a row shows what a perfect estimate would be worth; it "
            "does not exist in use and is never called the best.",
            "remark",
        )


def _result_table(stats: Statistics, kind: QueryKind, subsets: Sequence[SubsetName]) -> Table:
    labels = stats.labels_with(kind)
    wanted = [(subset, limit) for subset in subsets for limit in stats.thresholds_px]
    columns = [_left("descriptor", 1.5)]
    columns += [Column(f"≤ {limit:g} px", group=subset) for subset, limit in wanted]
    best = {}
    for key in wanted if len(labels) > 1 else ():
        ranked = stats.ranked(kind, *key)
        best[key] = [row for row in ranked if row.pck == ranked[0].pck]
    rows = []
    for label in labels:
        rows.append([Cell(label, _remark(stats.merged, label))])
        for subset, limit in wanted:
            row = stats.mean(label, subset, kind, limit)
            rows[-1].append(_pck_cell(row, strong=row in best.get((subset, limit), ())))
    pairs = []
    for subset in subsets:
        means = [stats.mean(label, subset, kind, stats.thresholds_px[0]) for label in labels]
        if counts := [row.pairs for row in means if row is not None]:
            pairs.append(f"{subset} {max(counts)}")
    of = f" ({', '.join(pairs)} pairs)" if pairs else ""
    name = f"summary-{kind}" + (f"-{subsets[0]}" if len(subsets) == 1 else "")
    return _table(name, f"Mean PCK, {_list_name(kind)} queries{of}", columns, rows)


def _pck_cell(row: SummaryRow | None, *, strong: bool = False) -> Cell:
    if row is None:
        return Cell(NONE)
    keys = _keys(
        descriptor=row.descriptor,
        subset=row.subset,
        queries=row.queries,
        threshold=threshold_name(row.threshold_px),
    )
    ends = f"[{', '.join(map(_number, row.ends))}]" if row.ends else ""
    return Cell(_number(row.pck), ends, strong=strong, keys=keys)


def _published(stats: Statistics) -> Iterator[Block]:
    ours: dict[str, list[str]] = {}
    if _PUBLISHED_PX in stats.thresholds_px:
        for label in stats.labels_with("harris"):
            name = stats.merged.descriptor(label).name.replace("-", "_")
            if name in PUBLISHED:
                ours.setdefault(name, []).append(label)
    columns = [_left("", 1.2)]
    columns += [Column(subset, group="published") for subset in SUBSETS]
    columns.append(Column("matcher", group="published", align="left"))
    if ours:
        columns.append(_left("here", 1.6))
        columns += [Column(s, group=f"this report, ≤ {_PUBLISHED_PX:g} px") for s in SUBSETS]
        columns.append(_left("protocol, matcher", 1.3))
    rows: list[Sequence[Cell | str]] = []
    for name, (title, *shares, matcher) in PUBLISHED.items():
        theirs = [title, *(f"{share:.3f}" for share in shares), matcher]
        for label in ours.get(name, [""]):
            rows.append([*theirs, *(_our_cells(stats, label) if ours else ())])
            theirs = [""] * len(theirs)
    yield _table("published", "PCK as the original's authors give it", columns, rows)
    yield Paragraph(
        "The published rows are on all of HPatches (580 pairs). MSNetV1 was matched by exact "
        "search, the others by FLANN, so that table compares matchers too: with a stand-in network "
        "exact search alone was worth 0.08 to 0.10. The released code counts a match as right up "
        "to 3 px, although its text and its configs say 5. MSNetV2 took its scales from the true "
        "homography (an oracle). Only figures of the protocol seed on the same pairs, with the "
        "same matcher, can be read beside them.",
        "remark",
    )


def _our_cells(stats: Statistics, label: str) -> list[Cell | str]:
    if not label:
        return [""] * (len(SUBSETS) + 2)
    means = [stats.mean(label, subset, "harris", _PUBLISHED_PX) for subset in SUBSETS]
    protocol = stats.merged.result_of(label).fingerprint.protocol
    return [
        Cell(label, _remark(stats.merged, label)),
        *map(_pck_cell, means),
        f"{protocol}, {stats.merged.descriptor(label).matcher}",
    ]


# ---- figures -----------------------------------------------------------------------------------


def _curves(stats: Statistics) -> Iterator[Block]:
    for kind in stats.lists:
        labels = stats.labels_with(kind)
        panels = []
        for subset in stats.subsets:
            lines = []
            for label in labels:
                if curve := stats.curve(label, kind, subset):
                    whiskers = stats.whiskers(label, kind, subset)
                    lines.append(Curve(stats.series[label], CURVE_PX, curve, whiskers))
            panels.append(draw_curves(subset, lines, series_count=len(stats.labels)))
        barred = any("whisker" in one.svg for one in panels)
        yield Figures(
            tuple(draw_sample(stats.series[label], label) for label in labels),
            tuple(panels),
            f"Mean PCK, {_list_name(kind)} queries, at thresholds in steps of half a pixel."
            + (" Bars are 95 % intervals." if barred else ""),
        )


def _by_sequence(stats: Statistics) -> Iterator[Block]:
    if not stats.lists:
        return
    kind, labels = stats.lists[0], stats.labels_with(stats.lists[0])
    means, limit = stats.by_sequence(kind), threshold_name(stats.main_px)
    rows: list[list[Cell | str]] = []
    for group in ("viewpoint", "illumination", "other"):
        names = [name for name in means if kind_of(name) == group]
        rows += [[group]] if names else []
        for name in names:
            rows.append([name])
            for label in labels:
                mean, series = means[name].get(label), stats.series[label]
                keys = _keys(sequence=name, descriptor=label, queries=kind, threshold=limit)
                rows[-1].append(Cell(_number(mean), bar=mean or 0.0, series=series, keys=keys))
    yield _table(
        "sequences",
        f"Mean PCK at {stats.main_px:g} px of each sequence's pairs, {_list_name(kind)} queries, "
        "hardest sequence first",
        [_left("sequence", 1.3), *(_left(label) for label in labels)],
        rows,
    )


# ---- differences -------------------------------------------------------------------------------


def _differences(stats: Statistics) -> Iterator[Block]:
    shown = False
    for kind in stats.lists:
        ranked = [row.descriptor for row in stats.ranked(kind)]
        rivals = [(one, other) for n, one in enumerate(ranked) for other in ranked[n + 1 :]]
        if not rivals:
            continue
        gains = {
            rival: [stats.gain(kind, *rival, subset) for subset in SUBSETS] for rival in rivals
        }
        known = [gain for some in gains.values() for gain in some if gain is not None]
        ends = [e for gain in known for e in (gain.interval.mean, *(gain.interval.ends or ()))]
        reach = max([0.05, *map(abs, ends)])
        columns = [_left("", 1.2)]
        columns += [replace(_left(subset, 1.6), axis=(-reach, reach)) for subset in SUBSETS]
        columns.append(Column("sequences", weight=0.9))
        rows: list[Sequence[Cell | str]] = []
        for (better, other), some in gains.items():
            cells = [
                _gain_cell(gain, better=better, other=other, subset=subset, queries=kind)
                for subset, gain in zip(SUBSETS, some, strict=True)
            ]
            last = f"{some[0].ahead} of {some[0].sequences}" if some[0] else NONE
            rows.append([f"{better} {MINUS} {other}", *cells, last])
        shown = True
        yield _table(
            f"differences-{kind}",
            f"Difference of PCK at {stats.main_px:g} px, pair by pair, {_list_name(kind)} queries",
            columns,
            rows,
        )
    if shown:
        yield Paragraph(
            "Both descriptors are compared on the pairs that both have. In brackets the 95 % "
            "interval of the mean difference, by bootstrap over sequences: an interval that "
            "contains 0 does not tell the two apart. The last column counts the sequences on which "
            "the first one is ahead.",
            "remark",
        )


def _gain_cell(gain: Gain | None, **keys: str) -> Cell:
    if gain is None:
        return Cell(NONE)
    mean, ends = gain.interval.mean, gain.interval.ends
    low, high = ends or (mean, mean)
    return Cell(
        signed(mean),
        f"[{signed(low)}, {signed(high)}]" if ends else "",
        interval=(low, mean, high),
        strong=gain.certain,
        keys=_keys(**keys),
    )


# ---- the worst pairs ---------------------------------------------------------------------------


def _worst(stats: Statistics, worst: Sequence[PairPicture]) -> Iterator[Block]:
    if not worst:
        return
    kind, limit = stats.lists[0], stats.main_px
    whose = ", each descriptor's in turn, best descriptor first" if len(stats.labels) > 1 else ""
    yield Paragraph(
        f"The {_count(len(worst), 'pair')} of images with the lowest PCK at {limit:g} px, "
        f"{_list_name(kind)} queries{whose}. The command below a pair opens it in the window, with "
        "the probe on the query that is farthest off."
    )
    yield from (Paragraph(text, "remark") for text in stats.merged.without_points)
    if any(one.figure for one in worst):
        right = draw_judgement(True, f"within {limit:g} px of the true point")
        yield Figures((right, draw_judgement(False, "farther off")), (), "")
    yield Pictures(tuple(worst))


# ---- how it was made ---------------------------------------------------------------------------


def _times(merged: MergedResults) -> Iterator[Block]:
    rows: list[Sequence[Cell | str]] = []
    for result in merged.results:
        for one in result.timings:
            image, pair = (
                _keys(time=name, descriptor=one.descriptor) for name in ("image", "pair")
            )
            each_image = Cell(_seconds(one.s_per_image), keys=image)
            each_pair = Cell(_seconds(one.s_per_pair), keys=pair)
            counts, device = (str(one.images), str(one.pairs)), result.fingerprint.device
            rows.append([one.descriptor, counts[0], each_image, counts[1], each_pair, device])
    columns = [_left("descriptor", 1.5), *map(Column, ("images", "an image", "pairs", "a pair"))]
    yield _table(
        "time",
        "Time to describe an image, and to match a pair with all lists of queries",
        [*columns, _left("device", 1.2)],
        rows,
    )
    whole = [f"{result.wall_s or 0:.0f} s" for result in merged.results]
    yield Paragraph(
        f"The whole run took {' and '.join(whole)}, reading included; of a continued run its last "
        "part counts.",
        "remark",
    )


def _seconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def _left_out(merged: MergedResults) -> Iterator[Block]:
    several = len(merged.results) > 1
    runs = list(zip(merged.names, merged.results, strict=True))
    problems = [
        f"{name}: {problem}" if several else problem
        for name, result in runs
        for problem in result.problems
    ]
    entries = [(name, entry) for name, result in runs for entry in result.left_out]
    if not problems and not entries:
        yield Paragraph("Nothing: all pairs of the data set were measured.")
    if entries:
        broken = sum(entry.queries is None for _, entry in entries)
        empty = len(entries) - broken
        said = [_count(broken, "broken pair")] if broken else []
        said += [f"{_count(empty, 'list')} of queries without any query"] if empty else []
        yield Paragraph(f"Left out: {' and '.join(said)}. The means do not count them.")
        rows = [
            (
                name,
                f"{entry.sequence} 1 → {entry.index}",
                f"{entry.queries} queries" if entry.queries else "the pair",
                entry.reason,
            )
            for name, entry in entries[:_LEFT_OUT_SHOWN]
        ]
        columns = [_left("run"), _left("pair"), _left("what", 0.7), _left("why", 3.0)]
        first = 0 if several else 1
        yield _table("left-out", "", columns[first:], [row[first:] for row in rows])
        yield from _more(entries)
    if problems:
        yield Paragraph("When the data set was opened:")
        yield from (Paragraph(text, "remark") for text in problems[:_LEFT_OUT_SHOWN])
        yield from _more(problems)


def _more(items: Sequence[object]) -> Iterator[Block]:
    if len(items) > _LEFT_OUT_SHOWN:
        text = f"{len(items) - _LEFT_OUT_SHOWN} more are named in result.json."
        yield Paragraph(text, "remark")


def _fingerprints(merged: MergedResults) -> Iterator[Block]:
    yield Paragraph(
        "All that the numbers depend on. Figures with another fingerprint are not comparable."
    )
    for name, result in zip(merged.names, merged.results, strict=True):
        if len(merged.results) > 1:
            yield Paragraph(f"Run {name}")
        entries = result.fingerprint.flat().items()
        facts = [(key, _plain(one)) for key, one in entries if not key.startswith("descriptors")]
        yield Facts(tuple(facts))
    rows = [
        (
            Cell(one.label, one.name if one.name != one.label else ""),
            f"{_count(one.levels, 'map')} of {one.dim} numbers",
            f"{one.matcher}, {one.precision}",
            ", ".join(f"{key} = {_plain(value)}" for key, value in one.config.items()) or NONE,
            one.weights_sha256 or NONE,
        )
        for one in merged.descriptors
    ]
    columns = [
        _left("descriptor", 1.2),
        _left("describes by"),
        _left("matched", 0.9),
        _left("settings", 2.0),
        _left("SHA-256 of the weights", 1.6),
    ]
    yield _table("descriptors", "Descriptors", columns, rows)


def _reproduce(merged: MergedResults, command: str) -> Iterator[Block]:
    commands = [result.sources.command for result in merged.results]
    yield Paragraph(
        "Measured with"
        if any(commands)
        else "The results do not record the command that made them."
    )
    for name, text in zip(merged.names, commands, strict=True):
        if text:
            if len(commands) > 1:
                yield Paragraph(name, "remark")
            yield Command(text)
    yield Paragraph("This report was made with")
    yield Command(command)
    versions = merged.results[0].fingerprint.versions
    yield Paragraph(
        "The same versions, device and seed give the same numbers "
        f"(Descriptor Space {versions.project}, torch {versions.torch}, OpenCV {versions.opencv}).",
        "remark",
    )


# ---- words and cells ---------------------------------------------------------------------------


def _each(merged: MergedResults, field: str) -> tuple[str, ...]:
    """The different values of a field of the fingerprints, as text."""
    return tuple(dict.fromkeys(_plain(one.fingerprint.flat()[field]) for one in merged.results))


def _plain(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _list_name(kind: QueryKind) -> str:
    return "Harris" if kind == "harris" else "uniform"


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _keys(**names: str) -> tuple[tuple[str, str], ...]:
    """What the number in a cell is, for programs that read the page."""
    return tuple(names.items())


def _left(title: str, weight: float = 1.0) -> Column:
    return Column(title, align="left", weight=weight)


def _table(
    name: str, caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]]
) -> Table:
    cells = ([one if isinstance(one, Cell) else Cell(one) for one in row] for row in rows)
    return Table(name, caption, tuple(columns), tuple(Row(tuple(row)) for row in cells))
