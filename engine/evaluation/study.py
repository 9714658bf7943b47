"""What a study of a network's layers found, as plain data, and its files.

``study.json`` holds everything, ``study.csv`` a line for each layer.  Undefined numbers are None,
which JSON writes as null.  Nothing here loads torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from engine.errors import OutputError
from engine.evaluation.datasets import EvaluationPair, EvaluationSet
from engine.evaluation.fingerprint import Fingerprint, Json
from engine.evaluation.pck import LEAST_SEQUENCES, bootstrap_mean
from engine.evaluation.result import LeftOut, PairRow, Sources, json_lines, threshold_name
from engine.files import csv_text, write_atomically

FORMAT: Final = 1
STUDY_HTML: Final = "study.html"
STUDY_JSON: Final = "study.json"
STUDY_CSV: Final = "study.csv"
THRESHOLDS_PX: Final = (1.0, 3.0, 5.0)
MAIN_PX: Final = 5.0
"""The threshold that layers are ranked by."""

StudyProtocol = Literal["closed", "dense"]
PROTOCOLS: Final[tuple[StudyProtocol, ...]] = ("closed", "dense")
MAIN_PROTOCOL: Final[StudyProtocol] = "dense"


@dataclass(frozen=True, slots=True)
class Variant:
    """One way in which a layer was measured.

    Attributes:
        layer: its number.
        protocol: among what its queries were searched.
        removed: whether position was taken off.
    """

    layer: int
    protocol: StudyProtocol
    removed: bool = False


@dataclass(frozen=True, slots=True)
class LayerPck:
    """The mean over pairs of a layer's PCK.

    Attributes:
        protocol: among what its queries were searched.
        removed: whether position was taken off.
        threshold_px: what counts as right.
        pck: the mean; None over no pairs.
        low, high: its 95 % interval, by bootstrap over groups; None below two groups.
    """

    protocol: StudyProtocol
    removed: bool
    threshold_px: float
    pck: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """What was found about one layer.

    Attributes:
        number: counted from 0, from the image on.
        name: the library's word for it.
        descriptor: the name by which other commands describe with this layer.
        stride_px: distance of its cells, as measured; the finest of several maps.
        offset_px: place of its first cell.
        dim: length of a vector.
        cells: (columns, rows) of the reference image's map.
        pck: means by protocol, removal and threshold.
        effective_rank: directions that its vectors use; Roy and Vetterli, 2007.
        rank_vectors: of how many vectors that is.
        positional_share: share of the variance across cells that is position, 0 to 1.
        seen_in_constant: how much of that the map of a constant image shows.
        removed_directions: how many directions of position were taken off its map.
        shift_sensitivity: what a shift of one pixel changes, beyond moving the map; 0 for nothing.
        high_norm_share: share of cells of two images whose vectors, before any last normalisation,
            are far longer than the others; None where their length is not known.
        median_norm: the median length of the reference image's vectors.
        describe_ms: time to describe a square of ``timed_px`` by this layer alone.
        timed_px: side of that square.
        map_bytes: memory of the reference image's map.
    """

    number: int
    name: str
    descriptor: str
    stride_px: float
    offset_px: float
    dim: int
    cells: tuple[int, int]
    pck: tuple[LayerPck, ...] = ()
    effective_rank: float | None = None
    rank_vectors: int = 0
    positional_share: float | None = None
    seen_in_constant: float | None = None
    removed_directions: int = 0
    shift_sensitivity: float | None = None
    high_norm_share: float | None = None
    median_norm: float | None = None
    describe_ms: float | None = None
    timed_px: int = 0
    map_bytes: int = 0

    def mean(
        self,
        threshold_px: float = MAIN_PX,
        *,
        protocol: StudyProtocol = MAIN_PROTOCOL,
        removed: bool = False,
    ) -> LayerPck | None:
        """One of its means; None where it was not measured so."""
        wanted = (protocol, removed, threshold_px)
        found = (one for one in self.pck if (one.protocol, one.removed, one.threshold_px) == wanted)
        return next(found, None)

    @property
    def main(self) -> float:
        """What layers are ranked by; -1 where no pair was measured."""
        mean = self.mean()
        return -1.0 if mean is None or mean.pck is None else mean.pck


@dataclass(frozen=True, slots=True)
class StudyTimes:
    """Seconds by what they were for.

    Attributes:
        images: how many were described.
        describe_s: all layers of all images.
        match_s: finding the queries of all pairs, by all layers.
        rest_s: everything else, from reading images to what is measured of the layers.
    """

    images: int
    describe_s: float
    match_s: float
    rest_s: float

    @property
    def overhead(self) -> float:
        """What everything else took on top of describing and matching, as a share of these."""
        return self.rest_s / max(1e-9, self.describe_s + self.match_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What a study found.

    Attributes:
        fingerprint: how the numbers were made; its protocol is the one that layers are ranked by.
        components: how many directions of position were taken off; 0 for none.
        layers: in order.
        rows: PCK of every pair, by variant.
        reference: the image that maps are shown of, and its size in px.
        left_out: pairs that were not measured.
        problems: what was wrong with the data set or some layers, a sentence each.
        times: what took how long.
        sources: where things are on this computer.
        folder: where its files are.
    """

    fingerprint: Fingerprint
    components: int
    layers: tuple[LayerRow, ...]
    rows: Mapping[Variant, Sequence[PairRow]]
    reference: tuple[str, tuple[int, int]]
    left_out: tuple[LeftOut, ...]
    problems: tuple[str, ...]
    times: StudyTimes
    sources: Sources
    folder: Path | None = field(default=None, compare=False)

    @property
    def best(self) -> LayerRow:
        """The layer with the highest mean; the first of several."""
        return max(self.layers, key=lambda layer: layer.main)

    @property
    def rivals(self) -> tuple[LayerRow, ...]:
        """The other layers that are not clearly worse than the best, best first.

        Clearly worse means that the 95 % interval of the difference over the same pairs does not
        contain 0; it takes at least five groups to tell.
        """
        best = self.best
        mine = _shares(self.rows.get(Variant(best.number, MAIN_PROTOCOL), ()))
        if self.sequences < LEAST_SEQUENCES:
            return ()
        found = []
        for layer in sorted(self.layers, key=lambda one: -one.main):
            its = _shares(self.rows.get(Variant(layer.number, MAIN_PROTOCOL), ()))
            gaps = [mine[key] - its[key] for key in mine if key in its]
            names = [key[0] for key in mine if key in its]
            if layer is best or not gaps:
                continue
            ends = bootstrap_mean(gaps, names, seed=self.fingerprint.seed).ends
            if ends is not None and ends[0] <= 0:
                found.append(layer)
        return tuple(found)

    @property
    def pairs(self) -> int:
        """How many pairs were measured."""
        return len({row.key for rows in self.rows.values() for row in rows})

    @property
    def sequences(self) -> int:
        """How many groups these are of."""
        return len({row.sequence for rows in self.rows.values() for row in rows})

    def worst(self, count: int) -> tuple[PairRow, ...]:
        """The pairs that the best layer matches worst, worst first."""
        rows = self.rows.get(Variant(self.best.number, MAIN_PROTOCOL), ())
        return tuple(sorted(rows, key=lambda row: (row.share(MAIN_PX), row.key))[:count])

    def to_json(self) -> Json:
        """As in the file."""
        return {
            "format": FORMAT,
            "fingerprint": self.fingerprint.to_json(),
            "protocols": list(PROTOCOLS),
            "removed_directions": self.components,
            "best_layer": self.best.number,
            "not_clearly_worse": [one.number for one in self.rivals],
            "layers": [asdict(layer) for layer in self.layers],
            "pairs": [
                asdict(variant) | row.to_json()
                for variant, rows in self.rows.items()
                for row in rows
            ],
            "reference": {"image": self.reference[0], "size_px": list(self.reference[1])},
            "left_out": [asdict(entry) for entry in self.left_out],
            "problems": list(self.problems),
            "times": asdict(self.times) | {"overhead": self.times.overhead},
            "sources": asdict(self.sources),
        }


def _shares(rows: Iterable[PairRow]) -> dict[tuple[str, int], float]:
    return {row.key: row.share(MAIN_PX) for row in rows}


def layer_means(
    rows: Mapping[Variant, Sequence[PairRow]], layer: int, *, seed: int
) -> tuple[LayerPck, ...]:
    """The means of a layer's rows with their intervals, by protocol, removal and threshold."""
    means = []
    for variant, mine in rows.items():
        if variant.layer != layer:
            continue
        ordered = sorted(mine, key=lambda row: row.key)
        for limit in THRESHOLDS_PX:
            found = None
            if ordered:
                shares = [row.share(limit) for row in ordered]
                found = bootstrap_mean(shares, [row.sequence for row in ordered], seed=seed)
            low, high = (found.ends if found else None) or (None, None)
            mean = found.mean if found else None
            means.append(LayerPck(variant.protocol, variant.removed, limit, mean, low, high))
    return tuple(means)


def spread_pairs(dataset: EvaluationSet, most: int) -> EvaluationSet:
    """So many pairs of a data set, spread over its groups; all where there are no more.

    Each round takes one pair of each group, another one than the group before it; where one round
    is too many, the groups are taken at equal distances.

    Args:
        dataset: what is there.
        most: how many pairs, at most; 0 for all.
    """
    groups = dataset.groups
    if not most or most >= dataset.pair_count:
        return dataset
    chosen: list[tuple[int, int]] = []
    if most < len(groups):
        places = [number * len(groups) // most for number in range(most)]
        chosen = [(place, at % len(groups[place])) for at, place in enumerate(places)]
    else:
        longest = max(map(len, groups))
        for turn in range(longest):
            for place, pairs in enumerate(groups):
                if turn < len(pairs) and len(chosen) < most:
                    chosen.append((place, (place + turn) % len(pairs)))
    taken: list[tuple[EvaluationPair, ...]] = []
    for place, pairs in enumerate(groups):
        mine = tuple(pairs[at] for where, at in sorted(chosen) if where == place)
        if mine:
            taken.append(mine)
    return replace(dataset, groups=tuple(taken))


def write_study(folder: Path, result: StudyResult) -> tuple[Path, ...]:
    """Write ``study.json`` and ``study.csv`` into a folder; returns the paths.

    Raises:
        OutputError: one cannot be written.
    """
    files = {STUDY_JSON: json_lines(result.to_json()), STUDY_CSV: csv_text(_table(result))}
    for name, text in files.items():
        write_atomically(folder / name, text.encode("utf-8"))
    return tuple(folder / name for name in files)


def check_unused(folder: Path) -> None:
    """Refuse a folder that holds a study already.

    Raises:
        OutputError: it does.
    """
    if (folder / STUDY_JSON).exists():
        raise OutputError(folder, "holds a study already; name another folder")


def _table(result: StudyResult) -> list[list[Any]]:
    plain = [one.name for one in fields(LayerRow) if one.name not in ("pck", "cells")]
    means = [(one.protocol, one.removed, one.threshold_px) for one in result.layers[0].pck]
    heading = [*plain, "columns", "rows"]
    for protocol, removed, limit in means:
        what = f"{protocol}_pck_{threshold_name(limit)}px" + (
            "_position_removed" if removed else ""
        )
        heading += [what, f"{what}_low", f"{what}_high"]
    lines: list[list[Any]] = [heading]
    for layer in result.layers:
        line = [getattr(layer, name) for name in plain] + list(layer.cells)
        for protocol, removed, limit in means:
            mean = layer.mean(limit, protocol=protocol, removed=removed)
            line += [None] * 3 if mean is None else [mean.pck, mean.low, mean.high]
        lines.append(line)
    return lines
