r"""Fits and judges the confidence of matches, on pairs with a known truth.

    python -m benchmarks.confidence collect --heldout OUT --scenes SCENES \
        --data ../shared/data --to F
    python -m benchmarks.confidence fit F
    python -m benchmarks.confidence report F

:mod:`benchmarks.heldout` writes ``OUT`` and ``SCENES``.  ``collect`` matches all pairs as ``match``
does, at its usual size, and keeps the evidence of every match whose query has texture, and whether
it is right: within 3 px, as described, of the true point.  Matches of points that the other image
hides or does not show are wrong; where nothing is known of a point it is left out.  Dense truths
are asked by Harris corners and by random points, others by the points that they list.

``fit`` reads only pairs that settings may be chosen on: the held-out ones, and the half of homogr,
wxbs and Middlebury that :mod:`benchmarks.judge` names.  It prints what cross-validation over groups
says, and writes the weights with their card to ``resources/weights/confidence.json``.  ``report``
reads the other pairs alone, by the weights in that file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.judge import HOMOGR, MIDDLEBURY, WXBS
from engine.data.layouts import open_pair_set
from engine.data.pairs import ImagePair
from engine.descriptors.registry import make_spec
from engine.evaluation.metrics.calibration import count_by_percent, measure_counts
from engine.inspection.requests import MapInfo, MatchRequest, MatchTable, Recipe
from engine.inspection.session import Session
from engine.matching.confidence import (
    WITHIN_PX,
    Calibration,
    Evidence,
    calibration_file,
    find_calibration,
    weigh_columns,
    weights_sha256,
)
from engine.metrics import RECALL_PERCENTS
from engine.progress import JobContext
from engine.truth.base import Visibility
from engine.vocabulary import LISTED_TRUTHS, SEPARATION_PX, SIDES, PointsKind

DESCRIPTORS: Final = ("descspace", "descspace-fast", "descspace-robust", "daisy", "msnet_v0")
_SEED: Final = 0
_COUNTS: Final[dict[PointsKind, int]] = {"harris": 300, "random": 200}
_EVERY: Final = 5  # generated pairs
_FOLDS: Final = 5
_RIDGE: Final = 1.0
_STEPS: Final = 25
_TINY: Final = 1e-9  # probabilities of 0 would be infinitely unlikely
_CLOSE: Final = 1e-4  # standard deviations of a column
_MOST: Final = (1.0, 0.98, 0.96, 0.94)
_MAP_BYTES: Final = 64 << 20
_RESAMPLES: Final = 500
_PLAIN: Final = ("name", "group", "pair", "chooses", "right")
_CHOSEN: Final = {"homogr": HOMOGR, "wxbs": WXBS, "middlebury": MIDDLEBURY}


@dataclass(frozen=True, slots=True)
class CalibrationPair:
    """A pair and what it is used for.

    Attributes:
        pair: the files and the truth.
        name: of the set that it is from.
        group: pairs of a group are not independent.
        chooses: whether weights may be fitted to it.
    """

    pair: ImagePair
    name: str
    group: str
    chooses: bool


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The matches of one descriptor, of all pairs or some.

    Attributes:
        name: ``(N,)`` the set that each is from.
        group: ``(N,)``.
        pair: ``(N,)`` number of the pair.
        chooses: ``(N,)`` whether weights may be fitted to it.
        right: ``(N,)`` whether it is within 3 px of the true point.
        evidence: ``(N,)`` of each kind; NaN where the descriptor has none.
    """

    name: NDArray[np.str_]
    group: NDArray[np.str_]
    pair: NDArray[np.int64]
    chooses: NDArray[np.bool_]
    right: NDArray[np.bool_]
    evidence: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]]) -> Matches:
        """Matches from their columns, those of the evidence among them."""
        name, group, pair, chooses, right = (columns[name] for name in _PLAIN)
        evidence = {name: columns[name] for name in Evidence.NAMES}
        return cls(name, group, pair, chooses, right, evidence)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """All columns."""
        return {name: getattr(self, name) for name in _PLAIN} | self.evidence

    def where(self, rows: NDArray[np.bool_]) -> Matches:
        """Some of them."""
        return Matches.of({name: column[rows] for name, column in self.columns.items()})


def all_pairs(arguments: argparse.Namespace) -> Iterator[CalibrationPair]:
    """All pairs, those of the four sequences only where they are asked for."""
    made: list[CalibrationPair] = []
    for name in ("heldout", "scenes"):
        folder = getattr(arguments, name)
        if folder is not None:
            made += _of_set(folder, name, None)
    yield from made[:: arguments.every]
    if arguments.data is not None:
        for name, chosen in _CHOSEN.items():
            yield from _of_set(arguments.data / name, name, chosen)
    if arguments.sequences is not None:
        yield from _of_set(arguments.sequences, "sequences", ())


def _of_set(folder: Path, name: str, chosen: Sequence[str] | None) -> Iterator[CalibrationPair]:
    """The pairs of a set, of which the named groups may choose; None for all of them."""
    for group in open_pair_set(folder).groups:
        own = group.name.rsplit("/", 1)[-1]
        for pair in group.pairs:
            # The views of a scene are drawn from one photo.
            scene = own.rsplit("_", 1)[0] if name == "scenes" else own
            yield CalibrationPair(pair, name, f"{name} {scene}", chosen is None or own in chosen)


def collect(descriptor: str, pairs: Sequence[CalibrationPair]) -> Matches:
    """Match pairs, and keep what speaks for each match and whether it is right."""
    parts: list[Matches] = []
    recipe = Recipe(spec=make_spec(descriptor), device="cpu")
    for number, one in enumerate(pairs):
        session = Session(map_budget_bytes=_MAP_BYTES)
        infos = [session.describe(one.pair, side, recipe, JobContext()) for side in SIDES]
        assert one.pair.truth is not None
        listed = one.pair.truth.kind in LISTED_TRUTHS
        asked: dict[PointsKind, int] = {"listed": sum(_COUNTS.values())} if listed else _COUNTS
        for points, count in asked.items():
            request = MatchRequest(
                pair=one.pair, recipe=recipe, points=points, count=count, seed=_SEED
            )
            table = session.match(request, JobContext())
            parts.append(_as_matches(table, infos[1], one, number))
        last = parts[-1]
        print(
            f"{descriptor} {number + 1}/{len(pairs)} {one.group}: "
            f"{last.right.sum()} of {len(last.right)} right",
            flush=True,
        )
    return _joined(parts)


def _as_matches(table: MatchTable, info_b: MapInfo, one: CalibrationPair, number: int) -> Matches:
    right, judged = judge_matches(table, max(info_b.working_size_px) / max(info_b.size_px))
    kept = table.textured & judged
    assert table.evidence is not None
    count = len(right)
    columns = table.evidence.columns()
    evidence = {name: columns.get(name, np.full(count, np.nan)) for name in Evidence.NAMES}
    return Matches(
        np.full(count, one.name), np.full(count, one.group), np.full(count, number),
        np.full(count, one.chooses), right, evidence,
    ).where(kept)  # fmt: skip


def judge_matches(table: MatchTable, scale: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """``(N,)`` which matches are right, and of which that is known.

    Args:
        table: the matches.
        scale: length of a pixel of image b, in pixels as described.
    """
    seen = table.visibility == Visibility.SEEN
    right = seen & (np.nan_to_num(table.error_px, nan=np.inf) * scale <= WITHIN_PX)
    return right, table.visibility != Visibility.UNKNOWN


def _joined(parts: Sequence[Matches]) -> Matches:
    columns = [part.columns for part in parts]
    return Matches.of({name: np.concatenate([one[name] for one in columns]) for name in columns[0]})


def read_matches(path: Path) -> Matches:
    """Read what ``collect`` kept."""
    with np.load(path) as found:
        return Matches.of(found)


def weights_of_pairs(matches: Matches) -> NDArray[np.float64]:
    """``(N,)`` weights: sets count alike, and so do the pairs of a set; their mean is 1."""
    weights = np.empty(len(matches.right))
    sets = set(matches.name)
    for name in sets:
        own = matches.name == name
        pairs, index, counts = np.unique(matches.pair[own], return_inverse=True, return_counts=True)
        weights[own] = 1.0 / (len(sets) * len(pairs) * counts[index])
    found: NDArray[np.float64] = weights * len(weights)
    return found


def fit(matches: Matches, names: Sequence[str]) -> dict[str, float]:
    """Weights of a logistic regression that rises to the ``most`` that is likeliest.

    That is judged by groups that were left out of the fit: among those that were not, a match that
    looks perfect and is wrong costs little, as the other weights make room for it.
    """
    most = max(_MOST, key=lambda one: _likelihood_left_out(matches, names, one))
    return _fit(matches, names, most)


def _likelihood_left_out(matches: Matches, names: Sequence[str], most: float) -> float:
    """The logarithm of the likelihood of all matches, each by weights of other groups."""

    def weigh(others: Matches, own: Matches) -> NDArray[np.float64]:
        return weigh_columns(own.evidence, _fit(others, names, most))

    sure = _by_others(matches, weigh)
    true = np.log(np.clip(np.where(matches.right, sure, 1 - sure), _TINY, None))
    return float(weights_of_pairs(matches) @ true)


def _by_others(
    matches: Matches, weigh: Callable[[Matches, Matches], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """``(N,)`` what ``weigh`` says of each fold's matches by the others; a group is in one fold."""
    groups, index = np.unique(matches.group, return_inverse=True)
    fold = np.random.default_rng(_SEED).permutation(len(groups))[index] % _FOLDS
    found = np.empty(len(fold))
    for one in range(_FOLDS):
        own = fold == one
        found[own] = weigh(matches.where(~own), matches.where(own))
    return found


def _fit(matches: Matches, names: Sequence[str], most: float) -> dict[str, float]:
    """Weights by Fisher scoring with a small ridge."""
    columns = np.column_stack([matches.evidence[name] for name in names])
    middle, spread = columns.mean(axis=0), columns.std(axis=0) + 1e-9
    rows = np.column_stack([np.ones(len(columns)), (columns - middle) / spread])
    sample = weights_of_pairs(matches)
    ridge = _RIDGE * np.diag([0.0, *np.ones(len(names))])
    weights: NDArray[np.floating[Any]] = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        share = np.clip(1 / (1 + np.exp(-rows @ weights)), 1e-9, 1 - 1e-9)
        p, rise = most * share, 1 - share
        curved = rows.T @ (rows * (sample * p * rise**2 / (1 - p))[:, None]) + ridge
        slope = rows.T @ (sample * rise * (matches.right - p) / (1 - p)) - ridge @ weights
        step = np.linalg.solve(curved, slope)
        weights += step
        if np.abs(step).max() < _CLOSE:
            break
    scaled = weights[1:] / spread
    found = {"most": most, "constant": float(weights[0] - scaled @ middle)}
    return found | {name: float(one) for name, one in zip(names, scaled, strict=True)}


def calibrate(matches: Matches) -> Calibration:
    """Both kinds of weights: with what the pair's other matches tell, and without."""
    names = [name for name in Evidence.NAMES if np.isfinite(matches.evidence[name]).any()]
    known = np.isfinite(matches.evidence["agreement"])
    alone = [name for name in names if name not in Evidence.OF_OTHER_MATCHES]
    return Calibration(fit(matches, alone), fit(matches.where(known), names))


def confidence(
    calibration: Calibration, matches: Matches, *, alone: bool = False
) -> NDArray[np.float64]:
    """``(N,)`` confidences, with a pair's other matches or as if they were not known."""
    evidence = matches.evidence
    unknown = np.full(len(matches.right), np.nan)
    columns = evidence | (dict.fromkeys(Evidence.OF_OTHER_MATCHES, unknown) if alone else {})
    return calibration.weigh(columns).astype(np.float64)


def left_out(matches: Matches, *, alone: bool) -> NDArray[np.float64]:
    """``(N,)`` confidences by weights that were fitted to other groups."""

    def weigh(others: Matches, own: Matches) -> NDArray[np.float64]:
        return confidence(calibrate(others), own, alone=alone)

    return _by_others(matches, weigh)


def figures(
    matches: Matches, sure: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Calibration error and precision at recall of 50, 80 and 95 %, and their 95 % intervals.

    Returns:
        ``(4,)``, and ``(2, 4)`` by drawing whole groups with repetition; NaN of a single group.
    """
    groups, index = np.unique(matches.group, return_inverse=True)
    counts = np.stack(
        [
            count_by_percent(sure[index == one], matches.right[index == one])
            for one in range(len(groups))
        ]
    ).astype(np.float64)
    measured = _measured(counts.sum(axis=0))
    if len(groups) < 2:
        return measured, np.full((2, len(measured)), np.nan)
    generator = np.random.default_rng(_SEED)
    drawn = generator.integers(len(groups), size=(_RESAMPLES, len(groups)))
    times = np.stack([np.bincount(one, minlength=len(groups)) for one in drawn])
    draws = _measured(np.tensordot(times.astype(np.float64), counts, axes=1))
    return measured, np.nanpercentile(draws, (2.5, 97.5), axis=0)


def _measured(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(list(measure_counts(counts).values()), axis=-1)


def print_figures(title: str, matches: Matches, sure: NDArray[np.float64]) -> None:
    """A line for all matches, and one for each set."""
    sets = {"all": np.ones(len(sure), np.bool_)}
    sets |= {name: matches.name == name for name in dict.fromkeys(matches.name.tolist())}
    for name, rows in sets.items():
        own = matches.where(rows)
        values, ends = figures(own, sure[rows])
        shown = "  ".join(
            f"{value:.3f} [{low:.3f}, {high:.3f}]"
            for value, low, high in zip(values, *ends, strict=True)
        )
        mean, right = sure[rows].mean(), own.right.mean()
        print(
            f"{title:28} {name:11} {len(own.right):6} {len(set(own.group.tolist())):3}  "
            f"{mean:.3f} {right:.3f}  {shown}"
        )


def print_bins(matches: Matches, sure: NDArray[np.float64]) -> None:
    """How often matches of each confidence are right."""
    for low in np.arange(0.0, 1.0, 0.1):
        own = (sure >= low) & (sure < low + 0.1 + 1e-9 * (low > 0.85))
        if own.any():
            share = matches.right[own].mean()
            print(f"    {low:.1f}  {own.sum():6}  {sure[own].mean():.3f}  {share:.3f}")


HEADER: Final = (
    f"{'':28} {'set':11} matches groups  mean right  calibration error, precision at recall "
    f"{', '.join(f'{percent:.0f}%' for percent in RECALL_PERCENTS)} [95 % intervals]"
)


def write_calibrations(folder: Path) -> None:
    """Fit all descriptors in a folder, print what cross-validation says, and write the weights."""
    fitted: dict[str, Any] = {}
    print(HEADER)
    for name in DESCRIPTORS:
        if not (folder / f"{name}.npz").is_file():
            continue
        found = read_matches(folder / f"{name}.npz")
        chosen = found.where(found.chooses)
        for alone in (False, True):
            title = f"{name}{', alone' if alone else ''}"
            print_figures(title, chosen, left_out(chosen, alone=alone))
        calibration = calibrate(chosen)
        fitted[name] = {
            "weights_sha256": weights_sha256(make_spec(name)),
            "matches": len(chosen.right),
            "pairs": len(set(chosen.pair.tolist())),
            "alone": _rounded(calibration.alone),
            "together": _rounded(calibration.together),
        }
    card = {
        "what": "probability that a match is within 3 px, as described, of the true point",
        "command": "python -m benchmarks.confidence fit FOLDER",
        "seed": _SEED,
        "pairs": "held-out pairs of photos and scenes; homogr "
        f"{', '.join(HOMOGR)}; wxbs {', '.join(WXBS)}; Middlebury {', '.join(MIDDLEBURY)}",
    }
    values = {"card": card, "descriptors": fitted}
    text = json.dumps(values, indent=1, ensure_ascii=False)
    calibration_file().write_text(f"{text}\n", encoding="utf-8")


def _rounded(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: round(weight, 4) for name, weight in weights.items()}


def report(folder: Path) -> None:
    """Print the figures of the pairs that did not choose."""
    print(HEADER)
    for path in sorted(folder.glob("*.npz")):
        found = read_matches(path)
        others = found.where(~found.chooses)
        calibration = find_calibration(make_spec(path.stem), separation_px=SEPARATION_PX)
        assert isinstance(calibration, Calibration), calibration
        for alone in (False, True):
            sure = confidence(calibration, others, alone=alone)
            print_figures(f"{path.stem}{', alone' if alone else ''}", others, sure)
            if not alone:
                print_bins(others, sure)


def main() -> None:
    """Collect, fit or report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    gather = parts.add_parser("collect")
    for name in ("heldout", "scenes", "data", "sequences"):
        gather.add_argument(f"--{name}", type=Path)
    gather.add_argument("--to", type=Path, required=True)
    gather.add_argument("--descriptor", default=",".join(DESCRIPTORS))
    gather.add_argument("--every", type=int, default=_EVERY, help="every Nth generated pair")
    for name in ("fit", "report"):
        parts.add_parser(name).add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.part == "collect":
        arguments.to.mkdir(parents=True, exist_ok=True)
        pairs = list(all_pairs(arguments))
        for descriptor in arguments.descriptor.split(","):
            found = collect(descriptor, pairs)
            np.savez_compressed(arguments.to / f"{descriptor}.npz", **found.columns)  # type: ignore[arg-type]
    else:
        (write_calibrations if arguments.part == "fit" else report)(arguments.folder)


if __name__ == "__main__":
    main()
