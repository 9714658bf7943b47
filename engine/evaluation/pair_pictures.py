"""Small pictures of measured pairs, made from the points that a run kept, for lists of many pairs.

Nothing is described again, and nothing here loads torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.colors import ERROR_RANGE_PX, RIGHT, WRONG
from engine.errors import ResultError
from engine.evaluation.comparison import MergedResults
from engine.evaluation.points import (
    MeasuredImage,
    PairPoints,
    Points,
    check_unchanged,
    read_points,
)
from engine.evaluation.result import PairRow
from engine.evaluation.stress import Stress, stress_of
from engine.images import read_image, read_thumbnail, resize_pixels

PictureKind = Literal["matches", "errors"]

_GAP_PX: Final = 2
_LINES_AT_MOST: Final = 60
_DOT_SHARE: Final = 1 / 70
_SHIFT: Final = 4  # OpenCV draws at sixteenths of a pixel


def pair_picture(
    merged: MergedResults,
    row: PairRow,
    *,
    root: Path,
    kind: PictureKind,
    right_px: float,
    size_px: tuple[int, int],
) -> NDArray[np.uint8]:
    """Draw what a descriptor did on a pair.

    Args:
        merged: the results with the row.
        row: the descriptor, the pair and the list of queries.
        root: folder of the data set.
        kind: ``matches`` shows both images with lines from queries to their matches, right and
            wrong ones in their colours; ``errors`` shows the first image with its queries, bright
            where their matches are far from the truth.
        right_px: a match this close to the truth is right.
        size_px: (width, height) of the picture.

    Returns:
        ``(height, width, 4)`` RGBA, transparent where no image is.

    Raises:
        DescSpaceError: the points were not kept, or an image cannot be read or has changed.
    """
    result = merged.result_of(row.descriptor)
    if result.folder is None:
        raise ResultError(root, "is measured right now; its pictures come with its result")
    pair = read_points(result.folder, *row.key)
    points = pair.points[row.queries][result.labels.index(row.descriptor)]
    stress = stress_of(result.fingerprint.dataset.name, *row.key)
    width, height = size_px
    canvas = np.zeros((height, width, 4), np.uint8)
    first, second = pair.images
    if kind == "errors":
        place = _paste(canvas, root / first.path, first, (0, width))
        _draw_errors(canvas, place(points.query_px), points.errors_px)
        return canvas
    half = (width - _GAP_PX) // 2
    place_a = _paste(canvas, root / first.path, first, (0, half))
    place_b = _paste(canvas, root / second.path, second, (width - half, width), stress)
    _draw_matches(canvas, place_a(points.query_px), place_b(points.match_px), points, right_px)
    return canvas


class _Place:
    """Where an image came to lie in a picture: takes its working pixels there."""

    def __init__(self, image: MeasuredImage, size_px: tuple[int, int], left_top: Points) -> None:
        self._scale = np.array(size_px) / np.array(image.resize.to_size_px)
        self._left_top = left_top

    def __call__(self, points_px: Points) -> Points:
        moved: Points = (points_px + 0.5) * self._scale - 0.5 + self._left_top
        return moved


def _paste(
    canvas: NDArray[np.uint8],
    path: Path,
    image: MeasuredImage,
    columns: tuple[int, int],
    stress: Stress | None = None,
) -> _Place:
    """Put an image into the middle of some columns of a picture, as large as it fits."""
    check_unchanged(path, image)
    left, right = columns
    room_px = (right - left, canvas.shape[0])
    working_px = image.resize.to_size_px
    scale = min(room / size for room, size in zip(room_px, working_px, strict=True))
    size_px = (max(1, round(scale * working_px[0])), max(1, round(scale * working_px[1])))
    if stress is None:
        small = read_thumbnail(path, long_edge_px=2 * max(size_px))
    else:
        changed = stress.apply(read_image(path, allow_cut=True).pixels)
        small = (255 * resize_pixels(changed, size_px, antialias=True) + 0.5).astype(np.uint8)
    pixels = cv2.resize(small, size_px, interpolation=cv2.INTER_AREA)
    x, y = left + (room_px[0] - size_px[0]) // 2, (room_px[1] - size_px[1]) // 2
    canvas[y : y + size_px[1], x : x + size_px[0], :3] = pixels
    canvas[y : y + size_px[1], x : x + size_px[0], 3] = 255
    return _Place(image, size_px, np.array([x, y], np.float64))


def _draw_matches(
    canvas: NDArray[np.uint8], from_px: Points, to_px: Points, points: PairPoints, right_px: float
) -> None:
    """Lines of the first queries, which come in random order; the wrong ones on top."""
    found = np.isfinite(to_px).all(axis=1)
    shown = np.flatnonzero(found)[:_LINES_AT_MOST]
    right = points.errors_px[shown] <= right_px
    for wanted, colour in ((True, RIGHT), (False, WRONG)):
        rgba = (*_rgb(colour), 255)
        for number in shown[right == wanted]:
            begin, end = _fixed(from_px[number]), _fixed(to_px[number])
            cv2.line(canvas, begin, end, rgba, 1, cv2.LINE_AA, _SHIFT)


def _draw_errors(canvas: NDArray[np.uint8], places_px: Points, errors_px: Points) -> None:
    """A dot for each query, the largest errors on top."""
    low, high = np.log(ERROR_RANGE_PX)
    known = np.nan_to_num(errors_px, nan=ERROR_RANGE_PX[1])
    share = (np.log(np.maximum(known, 1e-9)) - low) / (high - low)
    shades = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(shades[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    radius = round(2**_SHIFT * max(1.0, _DOT_SHARE * max(canvas.shape[:2])))
    for number in np.argsort(share, kind="stable"):
        rgba = (*map(int, colours[number]), 255)
        cv2.circle(canvas, _fixed(places_px[number]), radius, rgba, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _fixed(point_px: Points) -> tuple[int, int]:
    """A point as OpenCV takes it, in fractions of a pixel."""
    x, y = np.round(point_px * 2**_SHIFT).astype(int).tolist()
    return x, y


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
