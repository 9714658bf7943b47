"""Evaluates weights on the pairs that we choose settings on.

    python -m benchmarks.judge --heldout OUT --scenes SCENES --data ../shared/data --weights FILE

:mod:`benchmarks.heldout` writes ``OUT`` and ``SCENES``.  Of the other data, only the half set aside
for choosing settings is read: the pairs of homogr and wxbs named below, and two of middlebury.  A
row gives the mean over pairs: PCK of the protocols closed (candidates are the true points) and
dense (candidates form a stride-4 grid), with exact search and at most 500 queries per pair.  The
points of wxbs were clicked by hand, precise to a few pixels: read them at 10 px.  Those of
middlebury exclude points that one view hides.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.data.layouts import open_pair_set
from engine.descriptors.base import DenseDescriptor
from engine.descriptors.pairing import PairImage, describe_both
from engine.descriptors.registry import build_descriptor, make_spec
from engine.evaluation.protocols import (
    QueryPoints,
    make_working_image,
    match_points,
    query_pool,
)
from engine.evaluation.switches import Protocol
from engine.geometry.visibility import facing, project
from engine.images import read_image, read_size
from engine.progress import CancelToken, JobContext
from engine.truth.homography import HomographySource

HOMOGR: Final = ("Boston", "Brussels", "WhiteBoard")
WXBS: Final = ("kyiv", "bridge", "berlin", "maidan", "kettle", "kpi")
MIDDLEBURY: Final = ("cones", "venus")
_QUERIES: Final = 500
_ONE_PLACE_PX: Final = 1.0  # both disparities agree within this, or one view hides the point
_CLOSED: Final = Protocol(
    name="closed",
    thresholds_px=(5.0,),
    matcher="exact",
    queries=("harris",),
    query_limit=_QUERIES,
    long_edge_px=640,
    grid_stride_px=4,
    seed=0,
)


@dataclass(frozen=True, slots=True, eq=False)
class JudgedPair:
    """Two image files and ``(N, 2)`` corresponding points of each, in pixels of the files."""

    group: str
    path_a: Path
    path_b: Path
    points_a: NDArray[np.float64]
    points_b: NDArray[np.float64]
    long_edge_px: int


def heldout_pairs(folder: Path) -> Iterator[JudgedPair]:
    """Sequences, with the corners of image 1 that are visible in the other image."""
    for sequence in open_pair_set(folder).groups:
        group = f"heldout {sequence.name.split('_')[1]}"
        for pair in sequence.pairs:
            assert isinstance(pair.truth, HomographySource)
            yield _by_homography(group, pair.path_a, pair.path_b, pair.truth.h_b_from_a, 432)


def homogr_pairs(folder: Path) -> Iterator[JudgedPair]:
    """Planar pairs."""
    for name in HOMOGR:
        matrix = np.loadtxt(folder / f"{name}_H_A_to_B.txt")
        image_a, image_b = (folder / f"{name}{side}.jpg" for side in "AB")
        yield _by_homography("homogr", image_a, image_b, matrix, 640)


def listed_pairs(folder: Path, names: tuple[str, ...] | None, edge_px: int) -> Iterator[JudgedPair]:
    """Pairs with a list of points, in the layout of WxBS; all pairs if no names are given."""
    for path in sorted(folder.glob("*/*/corrs.txt")):
        if names is None or path.parent.name in names:
            points = np.loadtxt(path)
            image_a, image_b = sorted(p for p in path.parent.iterdir() if p.stem in ("01", "02"))
            group = f"{folder.name} {path.parent.parent.name}"
            yield JudgedPair(group, image_a, image_b, points[:, :2], points[:, 2:], edge_px)


def middlebury_pairs(folder: Path) -> Iterator[JudgedPair]:
    """Stereo pairs, with the corners of the left image that are visible in the right one."""
    factors = dict(re.findall(r'(\w+) "(\d+)" "0"', (folder / "datasets.xml").read_text("utf-8")))
    for name in MIDDLEBURY:
        left, right = (
            read_disparities(folder / name / f"disp{number}.png", float(factors[name]))
            for number in (2, 6)
        )
        corners = _corners(folder / name / "im2.png")
        xs, ys = corners.astype(int).T
        moved = left[ys, xs]
        there = (xs - moved).round().astype(int)
        seen = (moved > 0) & (there >= 0)
        seen[seen] = np.abs(right[ys[seen], there[seen]] - moved[seen]) <= _ONE_PLACE_PX
        points_b = np.column_stack([xs - moved, ys])[seen]
        image_a, image_b = (folder / name / f"im{number}.png" for number in (2, 6))
        yield JudgedPair("middlebury", image_a, image_b, corners[seen], points_b, left.shape[1])


def read_disparities(path: Path, factor: float) -> NDArray[np.float64]:
    """``(h, w)`` pixels of shift to the left in the other image; 0 if unknown."""
    shades = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert shades is not None
    return np.asarray(shades, np.float64) / factor


def judge(
    descriptor: DenseDescriptor,
    pair: JudgedPair,
    precision: str = "float32",
    *,
    refined: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(N,)`` errors of the closed and the dense protocol, in working pixels of image b."""
    closed = replace(_CLOSED, long_edge_px=pair.long_edge_px)
    images = [
        make_working_image(replace(closed, name="dense"), read_image(path).pixels)
        for path in (pair.path_a, pair.path_b)
    ]
    chosen = np.random.default_rng(0).permutation(len(pair.points_a))[:_QUERIES]
    queries = QueryPoints(
        images[0].resize.forward(pair.points_a[chosen]),
        images[1].resize.forward(pair.points_b[chosen]),
    )
    first, second = (
        PairImage(
            descriptor=descriptor,
            pixels=image.pixels,
            side="a" if number == 0 else "b",
            device="cpu",
            precision="bfloat16" if precision == "bfloat16" else "float32",
        )
        for number, image in enumerate(images)
    )
    levels_a, levels_b = (made.levels for made in describe_both(first, second, JobContext()))
    closed_errors, dense_errors = (
        match_points(
            replace(closed, name=name, refined=refined),
            levels_a,
            levels_b,
            queries,
            images[1].size_px,
            matcher="exact",
            cancel=CancelToken(),
        ).errors_px
        for name in ("closed", "dense")
    )
    return closed_errors, dense_errors


def _corners(path: Path) -> NDArray[np.float64]:
    pixels = read_image(path).pixels
    protocol = replace(_CLOSED, long_edge_px=max(pixels.shape[:2]))
    return query_pool(make_working_image(protocol, pixels), "harris")


def _by_homography(
    group: str, path_a: Path, path_b: Path, h_b_from_a: NDArray[np.float64], edge_px: int
) -> JudgedPair:
    points_a = _corners(path_a)
    size_a_px, size_b_px = read_size(path_a), read_size(path_b)
    points_b, seen = project(points_a, facing(h_b_from_a, size_a_px, size_b_px), size_b_px)
    return JudgedPair(group, path_a, path_b, points_a[seen], points_b[seen], edge_px)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heldout", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--data", type=Path, help="folder with homogr, wxbs and middlebury")
    parser.add_argument("--weights", type=Path, help="default: the shipped weights")
    parser.add_argument("--descriptor", default="descspace-fast")
    parser.add_argument("--refine", action="store_true", help="refine the matches of dense")
    parser.add_argument("--every", type=int, default=1, help="use every Nth generated pair")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    return parser.parse_args()


def _pairs(arguments: argparse.Namespace) -> Iterator[JudgedPair]:
    made: list[JudgedPair] = []
    if arguments.heldout:
        made += heldout_pairs(arguments.heldout)
    if arguments.scenes:
        made += listed_pairs(arguments.scenes, None, 432)
    yield from made[:: arguments.every]
    if arguments.data:
        yield from homogr_pairs(arguments.data / "homogr")
        yield from listed_pairs(arguments.data / "wxbs", WXBS, 480)
        yield from middlebury_pairs(arguments.data / "middlebury")


def main() -> None:
    """Print a row for each group and each set of groups."""
    arguments = _arguments()
    settings = {"weights": arguments.weights} if arguments.weights else {}
    descriptor = build_descriptor(make_spec(arguments.descriptor, settings))
    rows: dict[str, list[list[float]]] = {}
    for pair in _pairs(arguments):
        closed, dense = judge(descriptor, pair, arguments.precision, refined=arguments.refine)
        figures = [float((closed <= 5).mean())]
        figures += [float((dense <= limit).mean()) for limit in (1, 3, 5, 10)]
        figures.append(float(dense.mean()))
        for name in dict.fromkeys((pair.group, f"{pair.group.split()[0]} all")):
            rows.setdefault(name, []).append(figures)
    print(f"{'':18} pairs closed@5 dense@1 dense@3 dense@5 dense@10 mean error, px")
    for name in sorted(rows):
        closed5, *shares, error = np.mean(rows[name], axis=0)
        columns = " ".join(f"{share:7.3f}" for share in shares)
        print(f"{name:18} {len(rows[name]):5} {closed5:8.3f} {columns} {error:10.1f}")


if __name__ == "__main__":
    main()
