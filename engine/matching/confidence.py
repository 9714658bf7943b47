"""How sure a match is: the probability that it lies within 3 px of the true point.

A similarity is no probability: .8 may be a poor value by one descriptor and a good one by another.
The *confidence* is, as far as the pairs that its weights were fitted to tell.  It is a logistic
regression of the *evidence* of a match:

* its similarity;
* its ratio: how much more similar it is than the best place apart from it;
* its cycle error: how far from the query its own match in image a is;
* how its neighbours move (:mod:`engine.matching.local_motion`): how many of the matches of nearby
  queries agree with it, how far it is from where they put it, and how many of them return;
* the plane that the most matches lie on (:mod:`engine.matching.plane_motion`): how many do, and how
  far the match is from it, which tells the more, the more matches lie there;
* the support of the pair's vote, by descriptors whose pairs vote;
* two products of these: a ratio tells less of a match that does not return, and a similarity less
  where those of the neighbours do.

Some points that the other image hides look as good as any, next to where they would be, so the
regression rises to a highest confidence a little below 1.

Pixels are those of the images as they were described, so 3 px are more of a large photo's own.

Each descriptor has weights of its own, fitted by ``python -m benchmarks.confidence`` with the
settings and the weights that it ships with, with refined matches by nearest neighbours, and with
the usual distance of the second best match.  Under any other conditions, and for any other
descriptor, there is no confidence, and :func:`find_calibration` says why: weights that were fitted
to something else would give a number that is wrong without a word.

Nothing here imports torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from engine.descriptors.registry import DescriptorSpec, make_spec
from engine.errors import WeightsError
from engine.files import sha256_of
from engine.matching.local_motion import LocalMotion
from engine.matching.plane_motion import PlaneMotion
from engine.paths import FileStamp, data_dir
from engine.vocabulary import SEPARATION_PX, PairMatcher

WITHIN_PX: Final = 3.0
"""How far from the true point a match may be, in pixels as described."""

_LEAST_RATIO: Final = 0.02
_LONGEST_CYCLE_PX: Final = 16.0  # farther ways back tell no more
_LARGEST_RESIDUAL_PX: Final = 2 * WITHIN_PX
_FARTHEST_OFF_PLANE_PX: Final = 16.0
_SUREST_VOTE: Final = 0.99
_NO_WEIGHTS: Final[dict[str, Any]] = {"weights": None}

Numbers = NDArray[np.float64]
Confidences = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What speaks for each of ``N`` matches.

    Attributes:
        similarity: ``(N,)`` cosine.
        ratio: ``(N,)`` distance of best over second best, 0 to 1.
        cycle_px: ``(N,)`` cycle error, in pixels of image a as described.
        motion: how the neighbours move.
        plane: where the plane is that the most matches lie on.
        vote_right: probability that the pair's vote is right; None where no pair votes.
    """

    similarity: NDArray[np.floating[Any]]
    ratio: NDArray[np.floating[Any]]
    cycle_px: Numbers
    motion: LocalMotion
    plane: PlaneMotion
    vote_right: float | None = None

    OF_OTHER_MATCHES: ClassVar = (
        "agreement", "log_residual", "returning", "similarity_x_returning", "plane_share",
        "off_plane",
    )  # fmt: skip
    NAMES: ClassVar = (
        "similarity", "log_ratio", "log_cycle", "log_ratio_x_log_cycle", *OF_OTHER_MATCHES, "vote",
    )  # fmt: skip

    def columns(self) -> dict[str, Numbers]:
        """What the logistic regression weighs: those of ``NAMES`` that are known of the pair."""
        columns = {
            "similarity": self.similarity.astype(np.float64),
            "log_ratio": np.log(np.maximum(self.ratio, _LEAST_RATIO).astype(np.float64)),
            "log_cycle": np.log2(1.0 + np.minimum(self.cycle_px, _LONGEST_CYCLE_PX)),
            "agreement": self.motion.agreement,
            "log_residual": np.log2(
                1.0 + np.minimum(self.motion.residual_px, _LARGEST_RESIDUAL_PX)
            ),
            "returning": self.motion.returning,
        }
        off_plane = np.log2(1.0 + np.minimum(self.plane.residual_px, _FARTHEST_OFF_PLANE_PX))
        columns["plane_share"] = np.full_like(off_plane, self.plane.share)
        columns["off_plane"] = self.plane.share**2 * off_plane
        columns["log_ratio_x_log_cycle"] = columns["log_ratio"] * columns["log_cycle"]
        columns["similarity_x_returning"] = columns["similarity"] * columns["returning"]
        if self.vote_right is not None:
            sure = float(np.clip(self.vote_right, 1 - _SUREST_VOTE, _SUREST_VOTE))
            columns["vote"] = np.full(len(self.similarity), np.log(sure / (1 - sure)))
        return columns


@dataclass(frozen=True, slots=True)
class Calibration:
    """The weights of one descriptor.

    Attributes:
        alone: by column, for matches of which no others are known; with a ``constant``, and the
            ``most`` that any evidence can tell.
        together: the same with what the pair's other matches tell.
        sha256: of the file that they are from.
    """

    alone: Mapping[str, float]
    together: Mapping[str, float]
    sha256: str = ""

    def confidence(self, evidence: Evidence) -> Confidences:
        """``(N,)`` float32 probabilities; NaN where a number that is needed is not known."""
        return self.weigh(evidence.columns())

    def weigh(self, columns: Mapping[str, Numbers]) -> Confidences:
        """The same of the columns of the evidence."""
        together, alone = (weigh_columns(columns, one) for one in (self.together, self.alone))
        return np.where(np.isnan(columns["agreement"]), alone, together).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Uncalibrated:
    """Why there is no confidence, to be read after "not calibrated for"."""

    reason: str


def weigh_evidence(
    calibration: Calibration | Uncalibrated, evidence: Evidence, told: NDArray[np.bool_]
) -> Confidences:
    """The confidence of each match.

    Args:
        calibration: from :func:`find_calibration`.
        evidence: of ``N`` matches.
        told: ``(N,)`` False for queries without texture, whose evidence means nothing.

    Returns:
        ``(N,)`` float32 probabilities; NaN where none is known.
    """
    if isinstance(calibration, Uncalibrated):
        return np.full(len(told), np.nan, np.float32)
    return np.where(told, calibration.confidence(evidence), np.float32(np.nan))


def weigh_columns(columns: Mapping[str, Numbers], weights: Mapping[str, float]) -> Numbers:
    """``(N,)`` probabilities."""
    unknown = np.full_like(columns["similarity"], np.nan)
    scores = np.full_like(unknown, weights["constant"])
    for name, weight in weights.items():
        if name not in ("constant", "most"):
            scores = scores + weight * columns.get(name, unknown)
    return weights["most"] / (1.0 + np.exp(-scores))


def find_calibration(
    spec: DescriptorSpec,
    *,
    separation_px: float,
    refined: bool = True,
    matcher: PairMatcher = "exact",
) -> Calibration | Uncalibrated:
    """The weights for matches by a descriptor, or why there are none.

    Args:
        spec: the descriptor with all its settings.
        separation_px: how far the second best match of the ratio is from the best one, at least.
        refined: whether matches lie between the cells.
        matcher: what matches: neighbours that chose a match say nothing more about it.
    """
    calibrated, sha256 = _read(FileStamp.of(calibration_file()))
    fitted = calibrated.get(spec.name)
    if fitted is None:
        return Uncalibrated(spec.name)
    if not refined:
        return Uncalibrated("matches that are not refined")
    if matcher != "exact":
        return Uncalibrated(f"matches by {matcher}")
    if separation_px != SEPARATION_PX:
        # The nearer the second best match may be, the more similar it is: another ratio.
        apart = f"{separation_px:g} px away instead of {SEPARATION_PX:g} px"
        return Uncalibrated(f"second best matches at least {apart}")
    if not _has_usual_settings(spec):
        return Uncalibrated(f"{spec.name} with these settings")
    if weights_sha256(spec) != fitted["weights_sha256"]:
        return Uncalibrated(f"{spec.name} with these weights")
    return Calibration(fitted["alone"], fitted["together"], sha256)


@lru_cache(maxsize=64)  # the probe asks for every point
def _has_usual_settings(spec: DescriptorSpec) -> bool:
    """Whether all settings but the weights are those that the descriptor comes with."""
    return dict(spec.settings) | _NO_WEIGHTS == dict(make_spec(spec.name).settings) | _NO_WEIGHTS


def weights_sha256(spec: DescriptorSpec) -> str | None:
    """Of the weights that a descriptor comes with or that its settings name; None without any."""
    path = spec.weights_file
    return None if path is None else _sha256(FileStamp.of(path))


def calibration_file() -> Path:
    """The file with the weights and how they were fitted."""
    return data_dir("resources") / "weights" / "confidence.json"


@lru_cache(maxsize=4)
def _read(stamp: FileStamp) -> tuple[Mapping[str, Any], str]:
    values = json.loads(Path(stamp.path).read_text(encoding="utf-8"))
    return values["descriptors"], _sha256(stamp)


@lru_cache(maxsize=64)
def _sha256(stamp: FileStamp) -> str:
    return sha256_of(Path(stamp.path), WeightsError)
