"""Pictures of how far training is: of one pair that stays the same, so that they can be compared.

Right matches are solid and wrong ones dashed, in the colours of :mod:`engine.colors`; true places
are ringed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engine.colors import BEST, RIGHT, TRUTH, WRONG
from engine.descriptors.base import DenseDescriptor, Levels
from engine.evaluation.points import PairPoints
from engine.evaluation.protocols import QueryPoints, describe_points
from engine.matching.projection import fit_basis, project
from engine.mining.hard_negatives import find_hard_negatives
from engine.progress import CancelToken
from engine.training.settings import MiningSettings
from engine.training.validation import ValidationPair, describe_pair, match_pair

Picture = NDArray[np.uint8]

_RIGHT, _WRONG, _TRUTH, _QUERY = (
    tuple(bytes.fromhex(color[1:])) for color in (RIGHT, WRONG, TRUTH, BEST)
)
_RIGHT_WITHIN_PX: Final = 3.0
_MATCHES: Final = 60
_NEGATIVES: Final = 12
_SAMPLE_LIMIT: Final = 5000
_DASH_PX: Final = 6


def draw_pictures(
    descriptor: DenseDescriptor,
    pair: ValidationPair,
    mining: MiningSettings,
    *,
    device: torch.device,
    cancel: CancelToken,
) -> dict[str, Picture]:
    """Draw the pair, its descriptors as colours, its matches, and hard negatives.

    Args:
        descriptor: in use, not in training mode.
        pair: any pair with at least one query.
        mining: how far from the truth a negative begins; hard ones are drawn, whatever is mined.
        device: where to compute.
        cancel: checked in between.
    """
    side_a, side_b = map(_as_picture, pair.images)
    both = describe_pair(descriptor, pair, device)
    maps = [levels[0].values[0].flatten(1).T for levels in both]
    basis = fit_basis(maps, sample_limit=_SAMPLE_LIMIT, fitted_on="both images")
    colours = [
        cv2.resize(
            project(basis, levels[0].values[0].permute(1, 2, 0)),
            pair.size_px,
            interpolation=cv2.INTER_NEAREST,
        )
        for levels in both
    ]
    chosen = QueryPoints(pair.queries.query_px[:_MATCHES], pair.queries.true_px[:_MATCHES])
    found = match_pair(replace(pair, queries=chosen), both, cancel=cancel)
    return {
        "pair": _beside(side_a, side_b),
        "pca": _beside(*(np.asarray(one, np.uint8) for one in colours)),
        "matches": _draw_matches(side_a, side_b, found),
        "negatives": _draw_negatives(side_a, side_b, pair, both, mining),
    }


def _draw_matches(side_a: Picture, side_b: Picture, found: PairPoints) -> Picture:
    canvas = _beside(side_a, side_b)
    right = found.errors_px <= _RIGHT_WITHIN_PX
    shift = np.array([side_a.shape[1], 0.0])
    for n in np.argsort(right, kind="stable"):  # right ones on top of wrong ones
        start, end = found.query_px[n], found.match_px[n] + shift
        if np.isfinite(end).all():
            _line(canvas, start, end, _RIGHT if right[n] else _WRONG, dashed=not right[n])
    return canvas


def _draw_negatives(
    side_a: Picture,
    side_b: Picture,
    pair: ValidationPair,
    levels: tuple[Levels, Levels],
    mining: MiningSettings,
) -> Picture:
    """Queries of a, their true places and the most similar wrong cells in b."""
    canvas = _beside(side_a, side_b)
    shift = np.array([side_a.shape[1], 0.0])
    level_b = levels[1][0]
    points_a, truth_b = (
        part[:_NEGATIVES] for part in (pair.queries.query_px, pair.queries.true_px)
    )
    queries = describe_points(levels[0], points_a)[:1]
    truth = torch.from_numpy(truth_b).float()[None].to(level_b.values.device)
    negatives = find_hard_negatives(
        level_b.values,
        queries,
        level_b.grid.to_cells(truth),
        radius_cells=mining.radius_px / level_b.grid.stride_px,
        kind="hard",
        k=1,
        margin=0.0,
        positives=None,
        seed=0,
    )
    cells = negatives.cells[0, :, 0].cpu().numpy()
    for n, cell in enumerate(cells):
        place = points_a[n], truth_b[n] + shift
        _cross(canvas, place[0], _QUERY)
        cv2.circle(canvas, _whole(place[1]), 5, _TRUTH, 1, cv2.LINE_AA)
        if cell[0] >= 0:
            wrong = level_b.grid.to_px(cell.astype(np.float64)) + shift
            _line(canvas, place[1], wrong, _WRONG, dashed=True)
            _cross(canvas, wrong, _WRONG)
    return canvas


def side_by_side(image_a: torch.Tensor, image_b: torch.Tensor) -> Picture:
    """``(H, 2 W, 3)`` of two ``(3, H, W)`` images in [0, 1]."""
    return _beside(_as_picture(image_a), _as_picture(image_b))


def _as_picture(image: torch.Tensor) -> Picture:
    shades = (image.permute(1, 2, 0) * 255).round().clamp(0, 255)
    return np.ascontiguousarray(shades.to(torch.uint8).cpu().numpy())


def _beside(side_a: Picture, side_b: Picture) -> Picture:
    return np.ascontiguousarray(np.concatenate([side_a, side_b], axis=1))


def _whole(point: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _cross(canvas: Picture, point: NDArray[np.float64], colour: tuple[int, ...]) -> None:
    cv2.drawMarker(canvas, _whole(point), (0, 0, 0), cv2.MARKER_CROSS, 9, 3, cv2.LINE_AA)
    cv2.drawMarker(canvas, _whole(point), colour, cv2.MARKER_CROSS, 9, 1, cv2.LINE_AA)


def _line(
    canvas: Picture,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    colour: tuple[int, ...],
    *,
    dashed: bool,
) -> None:
    pieces = max(1, math.ceil(float(np.hypot(*(end - start))) / _DASH_PX)) if dashed else 1
    marks = np.linspace(start, end, pieces + 1)
    for n in range(0, pieces, 2):
        cv2.line(canvas, _whole(marks[n]), _whole(marks[n + 1]), colour, 1, cv2.LINE_AA)
