"""Calibrates how far the vote of a pair can be trusted, on pairs with a known answer.

    python -m benchmarks.vote --heldout OUT --scenes SCENES --data ../shared/data

:mod:`benchmarks.heldout` writes ``OUT`` and ``SCENES``.  Besides the pairs of
:mod:`benchmarks.judge`, a third of the images is held against an image of the next scene, which
has nothing in common with it: every winner is wrong there.  A winner is right if it
turns the image within 26° and resizes it within 0.6 octaves of the affine map that fits the known
points best.  The printed weights belong into :mod:`engine.descriptors.support`.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.judge import (
    WXBS,
    JudgedPair,
    heldout_pairs,
    homogr_pairs,
    listed_pairs,
    middlebury_pairs,
)
from engine.descriptors.base import Member
from engine.descriptors.compute import working
from engine.descriptors.descspace import DescSpace, Look
from engine.descriptors.members import member_matrix
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.support import Support
from engine.images import fit_long_edge, read_image, read_size, resize_pixels
from engine.progress import CancelToken
from engine.vocabulary import Side

_STRANGERS: Final = 3  # every so many images
_RIGHT_DEG: Final = 26.0
_RIGHT_OCTAVES: Final = 0.6
_RIDGE: Final = 0.1
_STEPS: Final = 50


@dataclass(frozen=True, slots=True)
class Case:
    """The vote of one pair.

    Attributes:
        group: the pair's; "strangers" for images that have nothing in common.
        support: what speaks for the winner.
        right: whether it is right.
    """

    group: str
    support: Support
    right: bool


def collect(descriptor: DescSpace, pairs: Iterator[JudgedPair]) -> Iterator[Case]:
    """Let pairs vote, and some of image a with the image b after its last one."""
    path_a, look_a, images = Path(), None, 0
    for pair in pairs:
        look_b = _look(descriptor, pair, "b")
        if pair.path_a != path_a:
            images += 1
            strange = photo_name(pair.path_a) != photo_name(path_a)
            if look_a is not None and strange and images % _STRANGERS == 0:
                yield Case("strangers", descriptor.vote(look_a, look_b)[2], False)
            path_a, look_a = pair.path_a, _look(descriptor, pair, "a")
        assert look_a is not None
        votes, fine, support = descriptor.vote(look_a, look_b)
        yield Case(pair.group, support, is_right((fine or votes)[0].member, _linear(pair)))


def photo_name(path: Path) -> str:
    """The photo that an image of a generated pair shows; of others, what tells their pair."""
    return re.sub(r"^[iv]_[a-z]+_|_\d+$", "", path.parent.name)


def is_right(member: Member, linear: NDArray[np.float64]) -> bool:
    """Whether a member changes image a about as a ``(2, 2)`` linear map does."""
    own = member_matrix(member, (100, 100))[0][:2, :2].numpy()
    between = linear @ np.linalg.inv(own)
    octaves = math.log2(max(1e-9, np.linalg.det(between))) / 2
    turn = math.atan2(between[1, 0] - between[0, 1], between[0, 0] + between[1, 1])
    return abs(octaves) <= _RIGHT_OCTAVES and abs(math.degrees(turn)) <= _RIGHT_DEG


def fit(features: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights of a logistic regression, the constant first; Newton's method with a small ridge."""
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    rows = np.column_stack([np.ones(len(features)), (features - middle) / spread])
    weights: NDArray[np.floating[Any]] = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-rows @ weights))
        curved = rows.T @ (rows * (p * (1 - p))[:, None]) + _RIDGE * np.eye(len(weights))
        weights += np.linalg.solve(curved, rows.T @ (right - p) - _RIDGE * weights)
    scaled: NDArray[np.float64] = weights[1:] / spread
    return np.array([weights[0] - scaled @ middle, *scaled])


def _probabilities(
    weights: NDArray[np.float64], features: NDArray[np.float64]
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 1 / (1 + np.exp(-(weights[0] + features @ weights[1:])))
    return found


def _left_out(features: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities of cases by weights that were fitted to nine tenths of the others."""
    tenth, found = np.arange(len(right)) % 10, np.zeros(len(right))
    for one in range(10):
        weights = fit(features[tenth != one], right[tenth != one])
        found[tenth == one] = _probabilities(weights, features[tenth == one])
    return found


def _look(descriptor: DescSpace, pair: JudgedPair, side: Side) -> Look:
    image = read_image(pair.path_a if side == "a" else pair.path_b)
    size_px = fit_long_edge(image.size_px, pair.long_edge_px).to_size_px
    pixels = torch.from_numpy(resize_pixels(image.pixels, size_px, antialias=True))
    return descriptor.look(pixels.permute(2, 0, 1)[None], side, lambda: None)


def _linear(pair: JudgedPair) -> NDArray[np.float64]:
    """The linear part ``(2, 2)`` of the affine map that fits the points best, as resized."""
    points = []
    for path, original in ((pair.path_a, pair.points_a), (pair.path_b, pair.points_b)):
        resize = fit_long_edge(read_size(path), pair.long_edge_px)
        points.append(resize.forward(original))
    rows = np.column_stack([points[0], np.ones(len(points[0]))])
    return np.asarray(np.linalg.lstsq(rows, points[1], rcond=None)[0][:2].T, np.float64)


def _pairs(arguments: argparse.Namespace) -> Iterator[JudgedPair]:
    made = [*heldout_pairs(arguments.heldout), *listed_pairs(arguments.scenes, None, 432)]
    yield from made[:: arguments.every]
    yield from homogr_pairs(arguments.data / "homogr")
    yield from listed_pairs(arguments.data / "wxbs", WXBS, 480)
    yield from middlebury_pairs(arguments.data / "middlebury")


def main() -> None:
    """Print the weights, and how often winners of which probability are right."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("heldout", "scenes", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--descriptor", default="descspace,descspace-robust")
    parser.add_argument("--every", type=int, default=1, help="use every Nth generated pair")
    arguments = parser.parse_args()
    cases: list[Case] = []
    for name in arguments.descriptor.split(","):
        descriptor = build_descriptor(make_spec(name))
        assert isinstance(descriptor, DescSpace)
        with working(descriptor, torch.device("cpu"), "bfloat16", CancelToken()):
            for case in collect(descriptor, _pairs(arguments)):
                told = int(case.right), f"{case.support.right:.2f}", case.support
                print(name, case.group, *told, flush=True)
                cases.append(case)
    features = np.array([case.support.features for case in cases])
    right = np.array([case.right for case in cases])
    print("weights:", ", ".join(f"{weight:.3f}" for weight in fit(features, right)))
    found = _left_out(features, right)
    print("probability, cases, mean probability, share that is right; each case left out")
    for low in np.arange(0.0, 1.0, 0.1):
        own = (found >= low) & (found < low + 0.1 + 1e-9)
        if own.any():
            print(f"{low:.1f}  {own.sum():4}  {found[own].mean():.3f}  {right[own].mean():.3f}")


if __name__ == "__main__":
    main()
