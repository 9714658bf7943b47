"""The three protocols, exactly: which points are asked about, among what, and what is right.

``seed``
    as the published code of MSNet does it: homographies follow the plain ratios of the sizes, true
    points are cut to whole pixels, and only the true points of the queries are candidates.
``closed``
    the same question with exact homographies and true points.
``dense``
    what a user meets: images are shrunk with antialiasing, and every place of a grid over the whole
    other image is a candidate.  The grid starts at the centre of the top-left pixel.  Where matches
    are refined, they are looked for around the best place, too.

Queries and truth depend on the pair and the seed alone, never on what was measured before.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.descriptors.base import Levels
from engine.descriptors.tensors import GROUP
from engine.evaluation.points import PairPoints, Points
from engine.evaluation.switches import DrawnQueries, Matcher, Protocol, QueryKind
from engine.geometry.coords import Resize
from engine.geometry.sampling import sample_map
from engine.images import MIN_EDGE_PX, resize_pixels
from engine.matching.consensus import CANDIDATES, reach_consensus
from engine.matching.nearest import Apart, nearest, pick_apart, set_similarity
from engine.matching.neighbours import Neighbours
from engine.matching.query_points import harris_response
from engine.matching.subcell import refine_places
from engine.matching.texture import find_texture
from engine.progress import CancelToken
from engine.truth.base import Size, Truth
from engine.truth.homography import HomographyTruth
from engine.vocabulary import SEPARATION_PX

SEARCH_BUDGET_BYTES: Final = 64 << 20
"""Memory that one block of a search may take, and about what sampled candidates may."""

_HARRIS_PERCENTILE: Final = 90.0
_REFINED_AT_ONCE: Final = 4096
_PICKED_AT_ONCE: Final = 256  # as in :func:`engine.matching.nearest.nearest_apart`


@dataclass(frozen=True, eq=False)
class WorkingImage:
    """An image at the size it is evaluated at.

    Attributes:
        pixels: ``(h, w, 3)`` float32 RGB in [0, 1].
        resize: from original to working pixels.
    """

    pixels: NDArray[np.float32]
    resize: Resize

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)."""
        return self.resize.to_size_px

    @cached_property
    def texture(self) -> NDArray[np.bool_]:
        """``(h, w)`` True where it has texture."""
        return find_texture(self.pixels)


@dataclass(frozen=True, slots=True, eq=False)
class QueryPoints:
    """Queries of a pair in working pixels: ``(N, 2)`` points of image a and their true points."""

    query_px: Points
    true_px: Points


def make_working_image(protocol: Protocol, pixels: NDArray[Any]) -> WorkingImage:
    """Bring an image's long edge to the protocol's, also by enlarging it.

    Args:
        protocol: says how long, and whether with antialiasing.
        pixels: ``(H, W, 3)`` uint8, uint16 or float32.
    """
    resize = measured_resize((pixels.shape[1], pixels.shape[0]), protocol.long_edge_px)
    resized = resize_pixels(pixels, resize.to_size_px, antialias=protocol.name == "dense")
    return WorkingImage(resized, resize)


def measured_resize(size_px: Size, long_edge_px: int) -> Resize:
    """The resize that brings an image to the long edge that it is measured at."""
    width, height = size_px
    scale = long_edge_px / max(width, height)
    to_size_px = (
        max(MIN_EDGE_PX, math.floor(width * scale + 0.5)),
        max(MIN_EDGE_PX, math.floor(height * scale + 0.5)),
    )
    return Resize(size_px, to_size_px)


def resize_truth(protocol: Protocol, resize_a: Resize, resize_b: Resize, truth: Truth) -> Truth:
    """Carry a truth from original to working pixels, as the protocol does it.

    Args:
        protocol: ``seed`` takes homographies only.
        resize_a: of image a.
        resize_b: of image b.
        truth: between the original images.
    """
    if protocol.name != "seed":
        return truth.resized(resize_a, resize_b)
    h_b_from_a = truth.matrix_from("a")
    assert h_b_from_a is not None, "an evaluation refuses other truths for this protocol"
    enlarge_b = np.diag([*resize_b.scale_xy, 1.0])
    shrink_a = np.diag([*resize_a.scale_xy, 1.0])
    plain: NDArray[np.float64] = enlarge_b @ h_b_from_a @ np.linalg.inv(shrink_a)
    return HomographyTruth(plain, (resize_a.to_size_px, resize_b.to_size_px))


def query_pool(image_a: WorkingImage, kind: DrawnQueries) -> Points:
    """The pixels ``(M, 2)`` of an image that may become queries, row by row.

    Args:
        image_a: the image.
        kind: ``harris`` for those whose Harris response is above the image's 90th percentile,
            ``uniform`` for all.
    """
    width, height = image_a.size_px
    if kind == "uniform":
        allowed = np.ones((height, width), np.bool_)
    else:
        response = harris_response(image_a.pixels)
        allowed = response > np.percentile(response, _HARRIS_PERCENTILE)
    ys, xs = np.nonzero(allowed)
    return np.stack([xs, ys], axis=1).astype(np.float64)


def draw_queries(
    protocol: Protocol,
    pool: Points,
    truth: Truth,
    *,
    sequence: str,
    index: int,
    kind: QueryKind,
) -> QueryPoints:
    """Draw queries without repetition from the points whose true point image b shows.

    Args:
        protocol: how many at most, and what becomes of the truth.
        pool: ``(M, 2)`` from :func:`query_pool`, or points that the truth lists.
        truth: between the working images.
        sequence: with ``index`` and ``kind`` and the protocol's seed all that the draw depends on.
        index: number of the second image.
        kind: the list's name.

    Returns:
        The queries; none if no point of the pool is seen in image b.
    """
    seen = pool[truth.locate("a", pool).seen]
    generator = np.random.default_rng(pair_seed(protocol.seed, sequence, index, kind))
    chosen = generator.choice(len(seen), size=min(protocol.query_limit, len(seen)), replace=False)
    query_px = seen[chosen]
    true_px = truth.locate("a", query_px).points_px
    return QueryPoints(query_px, np.trunc(true_px) if protocol.name == "seed" else true_px)


def pair_seed(seed: int, sequence: str, index: int, purpose: str) -> int:
    """A number for a pair that no other pair, seed or purpose shares."""
    digest = hashlib.sha256(f"{seed} {sequence} {index} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


@torch.inference_mode()
def match_points(
    protocol: Protocol,
    levels_a: Levels,
    levels_b: Levels,
    queries: QueryPoints,
    size_b_px: tuple[int, int],
    *,
    matcher: Matcher,
    cancel: CancelToken,
) -> PairPoints:
    """Match the queries.

    Args:
        protocol: where they are searched.
        levels_a: maps of the working image a, a batch of one.
        levels_b: maps of the working image b.
        queries: at least one.
        size_b_px: (width, height) of the working image b.
        matcher: see :func:`matcher_for`.
        cancel: checked once per block.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    # Where memory ran short, one of two images may have been described on another device.
    device = levels_b[0].values.device
    asked = describe_points(levels_a, queries.query_px).to(device)
    places = queries.true_px
    if protocol.name == "dense":
        places = grid_places(size_b_px, protocol.grid_stride_px)
    if matcher == "flann":
        offered = describe_points(levels_b, places)
        index, similarity = _flann(asked[0], offered[0], seed=protocol.seed)
    elif matcher == "consensus":
        found = search_apart(asked, levels_b, places, cancel)
        index, similarity = _choose(found, queries.query_px, places, cancel)
    else:
        index, similarity = search_places(asked, levels_b, places, cancel)
    number = index.cpu().numpy()
    match_px: Points = places[number]  # a copy
    match_px[number < 0] = np.nan
    if protocol.refines:
        match_px = refine_matches(
            asked, levels_b, match_px, reach_px=protocol.grid_stride_px, cancel=cancel
        )
    return PairPoints(queries.query_px, queries.true_px, match_px, similarity.cpu().numpy())


def describe_points(levels: Levels, points_px: Points) -> Tensor:
    """Read the maps of one image at points, bilinearly, and bring what is read to unit length.

    Args:
        levels: L maps, a batch of one.
        points_px: ``(N, 2)`` in pixels of the image that was described.

    Returns:
        ``(L, N, D)`` float32 on the maps' device; zero vectors stay zero.
    """
    places = torch.from_numpy(points_px).to(levels[0].values.device, torch.float32)[None]
    sampled = [sample_map(level.values, level.grid, places)[0] for level in levels]
    return functional.normalize(torch.stack(sampled), dim=-1)


def grid_places(size_px: tuple[int, int], stride_px: int) -> Points:
    """``(M, 2)`` places of a grid over an image, row by row from the top-left pixel's centre."""
    ys, xs = np.mgrid[0 : size_px[1] : stride_px, 0 : size_px[0] : stride_px]
    return np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float64)


def search_places(
    asked: Tensor, levels_b: Levels, places: Points, cancel: CancelToken
) -> tuple[Tensor, Tensor]:
    """The best of many places for each of ``(L, N, D)`` sets, searched in parts.

    Args:
        asked: on the maps' device.
        levels_b: maps of the image with the places, a batch of one.
        places: ``(M, 2)``, at least one.
        cancel: checked once per block.

    Returns:
        ``(N,)`` index of the place, ties going to the first one, and similarity.
    """
    descriptor_bytes = 4 * sum(level.values.shape[1] for level in levels_b)
    step = max(1, SEARCH_BUDGET_BYTES // descriptor_bytes)
    best = asked.new_full((asked.shape[1],), -torch.inf)
    index = torch.zeros_like(best, dtype=torch.int64)
    for begin in range(0, len(places), step):
        part = places[begin : begin + step]
        offered = describe_points(levels_b, part)
        found = nearest(asked, list(offered), budget_bytes=SEARCH_BUDGET_BYTES, cancel=cancel)
        better = found.similarity > best
        best[better] = found.similarity[better]
        index[better] = found.index[better] % len(part) + begin
    return index, best


def search_apart(asked: Tensor, levels_b: Levels, places: Points, cancel: CancelToken) -> Apart:
    """The best places for each of ``(L, N, D)`` sets that are apart: those that consensus asks of.

    Args:
        asked: on the maps' device.
        levels_b: maps of the image with the places, a batch of one.
        places: ``(M, 2)`` in pixels of that image, at least one.
        cancel: checked once per block.

    Returns:
        ``(N, K)`` indices of places, and similarities.
    """
    count, total = asked.shape[1], len(places)
    columns = total + -total % GROUP
    rows = max(1, min(count, SEARCH_BUDGET_BYTES // (8 * columns)))  # of two members at once
    descriptor_bytes = 4 * sum(level.values.shape[1] for level in levels_b)
    step = max(1, SEARCH_BUDGET_BYTES // descriptor_bytes)
    positions = torch.from_numpy(places).to(asked.device, torch.float32)
    parts = []
    for begin in range(0, count, rows):
        block = asked[:, begin : begin + rows]
        similarity = asked.new_full((block.shape[1], columns), -torch.inf)
        for first in range(0, total, step):
            part = similarity[:, first : first + min(step, total - first)]
            for member in describe_points(levels_b, places[first : first + step]):
                cancel.check()
                torch.maximum(part, set_similarity(block, member), out=part)
        for first in range(0, len(similarity), _PICKED_AT_ONCE):
            cancel.check()
            some = similarity[first : first + _PICKED_AT_ONCE]
            parts.append(pick_apart(some, positions, count=CANDIDATES, separation=SEPARATION_PX))
    return Apart(
        torch.cat([one.index for one in parts]), torch.cat([one.similarity for one in parts])
    )


def _choose(
    found: Apart, query_px: Points, places: Points, cancel: CancelToken
) -> tuple[Tensor, Tensor]:
    """``(N,)`` index and similarity of the places that neighbouring queries speak for."""
    device = found.index.device
    candidates_px = torch.from_numpy(places[found.index.cpu().numpy()]).to(device)
    choice = reach_consensus(
        torch.from_numpy(query_px).to(device),
        candidates_px,
        found.similarity,
        torch.ones(len(query_px), dtype=torch.bool, device=device),
        budget_bytes=SEARCH_BUDGET_BYTES,
        cancel=cancel,
    ).choice[:, None]
    return found.index.gather(1, choice)[:, 0], found.similarity.gather(1, choice)[:, 0]


def refine_matches(
    asked: Tensor, levels_b: Levels, match_px: Points, *, reach_px: float, cancel: CancelToken
) -> Points:
    """Where near their matches the maps are most similar to ``(L, N, D)`` sets.

    The two members that are most similar at the match are compared, see
    :mod:`engine.matching.subcell`.

    Args:
        asked: on the maps' device.
        levels_b: maps of the image with the matches, a batch of one.
        match_px: ``(N, 2)`` in pixels of that image.
        reach_px: how far a place may be from the match along either axis; a cell, if that is more.
        cancel: checked once per block.

    Returns:
        ``(N, 2)`` places.
    """
    refined = match_px.copy()
    maps = [Neighbours(level.values[0].permute(1, 2, 0)) for level in levels_b]
    for begin in range(0, len(match_px), _REFINED_AT_ONCE):
        cancel.check()
        sets, at_px = (
            asked[:, begin : begin + _REFINED_AT_ONCE],
            match_px[begin:][:_REFINED_AT_ONCE],
        )
        likes = torch.einsum("lnd,mnd->nlm", sets, describe_points(levels_b, at_px))
        pair = likes.flatten(1).argmax(dim=1)
        mine, other = pair // len(levels_b), (pair % len(levels_b)).cpu().numpy()
        queries = sets[mine, torch.arange(len(mine), device=mine.device)].float().cpu().numpy()
        for number, level in enumerate(levels_b):
            won = np.flatnonzero(other == number)
            found = refine_places(
                maps[number],
                level.grid,
                queries[won],
                at_px[won],
                reach_px=max(reach_px, level.grid.stride_px),
            )
            refined[begin + won] = found.places_px
    return refined


def _flann(asked: Tensor, offered: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """OpenCV's FLANN with its defaults, 4 kd-trees and 32 checks, among ``(M, D)`` descriptors.

    Returns:
        ``(N,)`` index of the candidate, -1 where none was found, and similarity.
    """
    # The trees are random.  OpenCV has one seed for this thread and none for a matcher.
    cv2.setRNGSeed(seed % (2**31))
    rows_a, rows_b = (rows.float().cpu().numpy() for rows in (asked, offered))
    index = torch.full((len(rows_a),), -1)
    for matches in cv2.FlannBasedMatcher().knnMatch(rows_a, rows_b, k=1):
        for match in matches:
            index[match.queryIdx] = match.trainIdx
    index = index.to(asked.device)
    similarity = (asked * offered[index]).sum(dim=-1)
    return index, torch.where(index < 0, -torch.inf, similarity)
