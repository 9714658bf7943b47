"""How far every pixel moves from one image to the other: reading it between pixels, turning it.

Nothing is interpolated across the edge of an object.  A *step* is the difference between the
displacements of two neighbouring pixels, and it lies within one surface where it is at most
:data:`SMOOTH_PX`, or differs by at most that from the known steps before and behind it in its row
or column.  The second half lets large changes of scale and rotations pass, where every step is
large and all are alike; at an edge one step is unlike its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.geometry.coords import inside

Points = NDArray[np.float64]
Size = tuple[int, int]
Mask = NDArray[np.bool_]

SMOOTH_PX: Final = 1.0

_STEEP: Final = 0.25
_ROUNDS: Final = 4
_EDGE: Final = 1e-6
_BLOCK: Final = 1 << 16
_LARGEST_QUAD_PX: Final = 64
_SAME_PLACE_PX: Final = 1.0
_KEPT_INVERSE: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Displacements:
    """The displacements of all pixels of an image.

    Attributes:
        values: ``(H, W, 2)`` float32, from the centre of a pixel to its place in the other image;
            NaN where unknown.
        joined_x: ``(H, W - 1)`` True where a pixel and its right neighbour show one surface.
        joined_y: ``(H - 1, W)`` the same of a pixel and the one below it.
    """

    values: NDArray[np.float32]
    joined_x: Mask
    joined_y: Mask

    @classmethod
    def of(cls, values: NDArray[Any]) -> Displacements:
        """From ``(H, W, 2)`` displacements (x, y), NaN where unknown."""
        known = np.isfinite(values).all(axis=2, keepdims=True)
        exact = np.where(known, values, np.nan).astype(np.float32)
        return cls(exact, _joined(exact), _joined(exact.transpose(1, 0, 2)).T)

    @property
    def size_px(self) -> Size:
        """(width, height)."""
        return self.values.shape[1], self.values.shape[0]

    def read(self, points_px: Points) -> Points:
        """The displacements of points, bilinearly within a surface.

        Args:
            points_px: ``(N, 2)``.

        Returns:
            ``(N, 2)``; NaN where the nearest pixel is unknown, where known ones around the point
            show different surfaces, and beyond the centres of the border pixels.  Where one around
            the point is unknown, the nearest pixel's is continued, over half a pixel at most, by
            the slope that its neighbours tell; flat where they tell none, unless it is steep along
            the other axis.
        """
        within = inside(points_px, self.size_px)
        places = np.where(within[:, None], points_px, 0.0)
        low = np.floor(places).astype(np.intp)
        share = places - low
        (left, top), (right, bottom) = low.T, (low + (share > 0)).T
        to_right, to_bottom = share.T
        corners = np.stack([self.values[y, x] for y in (top, bottom) for x in (left, right)])
        weights = [y * x for y in (1 - to_bottom, to_bottom) for x in (1 - to_right, to_right)]
        known = np.isfinite(corners[..., 0])
        bilinear = np.einsum("cn,cnd->nd", np.stack(weights), corners)
        complete = known.all(axis=0)
        found: Points = np.where(complete[:, None], bilinear, self._continued(places))
        found[~(within & self._one_surface(left, right, top, bottom, known))] = np.nan
        return found

    def knows(self, points_px: Points) -> Mask:
        """``(N,)`` where the pixel is known that a point lies in."""
        nearest = np.floor(np.asarray(points_px, np.float64) + 0.5)
        within = inside(nearest, self.size_px)
        x, y = np.where(within[:, None], nearest, 0).astype(np.intp).T
        known: Mask = within & np.isfinite(self.values[y, x, 0])
        return known

    def around(self, points_px: Points) -> Points:
        """``(4, N, 2)`` the displacements of the pixels around points, NaN for none."""
        within = inside(points_px, self.size_px)
        low = np.floor(np.where(within[:, None], points_px, 0.0)).astype(np.intp)
        high = np.minimum(low + 1, np.array(self.size_px) - 1)
        (left, top), (right, bottom) = low.T, high.T
        four = np.stack([self.values[y, x] for y in (top, bottom) for x in (left, right)])
        return np.where(within[:, None], four, np.nan).astype(np.float64)

    def inverse(self, size_px: Size) -> Displacements:
        """The displacements of the other image's pixels, by turning these.

        Each four neighbouring pixels of one surface cover a part of the other image, and the pixels
        there get the place in which these four, read bilinearly, meet them.  A known pixel without
        such neighbours gives its own displacement to the pixel that it lands in.  Unknown is what
        nothing lands on, and what two surfaces land on: which of them is in front is not known.

        Args:
            size_px: (width, height) of the other image.
        """
        return _inverse(self, size_px)

    def _continued(self, places: Points) -> Points:
        """``(N, 2)`` the displacement of the nearest pixel, with the slope that it has there."""
        nearest = np.floor(places + 0.5).astype(np.intp)
        rest = places - nearest
        x, y = nearest.T
        along_x = _slopes(self.values, self.joined_x, y, x)
        along_y = _slopes(self.values.transpose(1, 0, 2), self.joined_y.T, x, y)
        for one, other in ((along_x, along_y), (along_y, along_x)):
            flat = np.isnan(one[:, 0]) & ~(np.sum(other**2, axis=1) > _STEEP**2)
            one[flat] = 0.0
        slopes = np.stack([along_x, along_y], axis=1)
        risen = np.where(rest[..., None] == 0, 0.0, rest[..., None] * slopes)
        continued: Points = self.values[y, x] + risen.sum(axis=1)
        return continued

    def _one_surface(
        self,
        left: NDArray[np.intp],
        right: NDArray[np.intp],
        top: NDArray[np.intp],
        bottom: NDArray[np.intp],
        known: Mask,
    ) -> Mask:
        """Where all steps between known pixels around a point are within one surface."""
        smooth = np.ones(len(left), np.bool_)
        wide, tall = np.flatnonzero(right > left), np.flatnonzero(bottom > top)
        for y, one, other in ((top, 0, 1), (bottom, 2, 3)):
            smooth[wide] &= ~(known[one] & known[other])[wide] | self.joined_x[y[wide], left[wide]]
        for x, one, other in ((left, 0, 2), (right, 1, 3)):
            smooth[tall] &= ~(known[one] & known[other])[tall] | self.joined_y[top[tall], x[tall]]
        return smooth


def _slopes(
    values: NDArray[np.float32], joined: Mask, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> Points:
    """``(N, 2)`` the mean step along a row to and from some pixels, NaN where none is known."""
    total, count = np.zeros((len(rows), 2)), np.zeros((len(rows), 1))
    for first in (columns - 1, columns):
        there = np.flatnonzero((first >= 0) & (first < joined.shape[1]))
        there = there[joined[rows[there], first[there]]]
        row, column = rows[there], first[there]
        total[there] += values[row, column + 1] - values[row, column]
        count[there] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _joined(values: NDArray[np.float32]) -> Mask:
    """``(H, W - 1)`` where a pixel and its right neighbour are known and show one surface."""
    steps = np.diff(values.astype(np.float64), axis=1)
    known = np.isfinite(steps[..., 0])
    limit = SMOOTH_PX**2
    with np.errstate(invalid="ignore"):
        small = np.sum(steps**2, axis=2) <= limit
        unlike = np.sum(np.diff(steps, axis=1) ** 2, axis=2) > limit
    neighbours = known[:, 1:] & known[:, :-1]
    alike = known.copy()
    alike[:, 1:] &= ~(neighbours & unlike)
    alike[:, :-1] &= ~(neighbours & unlike)
    compared = np.zeros_like(known)
    compared[:, 1:] |= neighbours
    compared[:, :-1] |= neighbours
    joined: Mask = known & (small | (alike & compared))
    return joined


# ---- turning -----------------------------------------------------------------------------------


@lru_cache(maxsize=_KEPT_INVERSE)
def _inverse(forward: Displacements, size_px: Size) -> Displacements:
    width, height = size_px
    found = np.full((height * width, 2), np.nan)
    landings = list(_landings(forward, size_px))
    pixels = np.concatenate([pixels for pixels, _ in landings])
    if len(pixels):
        origins = np.concatenate([origins for _, origins in landings])
        order = np.argsort(pixels, kind="stable")
        pixels, origins = pixels[order], origins[order]
        starts = np.flatnonzero(np.diff(pixels, prepend=-1))
        least, most = (ends.reduceat(origins, starts) for ends in (np.minimum, np.maximum))
        clear = (most - least <= _SAME_PLACE_PX).all(axis=1, keepdims=True)
        found[pixels[starts]] = np.where(clear, (least + most) / 2, np.nan)
    centres = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    return Displacements.of(found.reshape(height, width, 2) - centres)


def _landings(forward: Displacements, size_px: Size) -> Iterator[tuple[NDArray[np.intp], Points]]:
    """Pixels of the other image, numbered row by row, and the places that land on them."""
    quads = forward.joined_x[:-1] & forward.joined_x[1:]
    quads &= forward.joined_y[:, :-1] & forward.joined_y[:, 1:]
    yield _lone_landings(forward, quads, size_px)
    rows, columns = np.nonzero(quads)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        corners = _Quads.of(forward.values, rows[part], columns[part], size_px)
        for block in _blocks(corners.counts):
            yield corners.landings(block)


@dataclass(frozen=True, slots=True, eq=False)
class _Quads:
    """Squares of four neighbouring pixels, and what they become in the other image.

    Attributes:
        origins: ``(N, 2)`` the top-left pixels.
        places: ``(4, N, 2)`` where top-left, top-right, bottom-left and bottom-right one land.
        low: ``(N, 2)`` the first pixel of the other image that they may cover.
        spans: ``(N, 2)`` how many along x and y.
        size_px: (width, height) of the other image.
    """

    origins: Points
    places: Points
    low: NDArray[np.intp]
    spans: NDArray[np.intp]
    size_px: Size

    @classmethod
    def of(
        cls,
        values: NDArray[np.float32],
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
        size_px: Size,
    ) -> _Quads:
        """The squares with these top-left pixels."""
        origins = np.stack([columns, rows], axis=1).astype(np.float64)
        corners = [(x, y) for y in (0, 1) for x in (0, 1)]
        places = np.stack([origins + (x, y) + values[rows + y, columns + x] for x, y in corners])
        last = np.array(size_px) - 1
        low = np.clip(np.ceil(places.min(axis=0) - _EDGE), 0, last + 1).astype(np.intp)
        high = np.clip(np.floor(places.max(axis=0) + _EDGE), -1, last).astype(np.intp)
        spans = np.maximum(high - low + 1, 0)
        spans[(spans > _LARGEST_QUAD_PX).any(axis=1)] = 0
        return cls(origins, places, low, spans, size_px)

    @property
    def counts(self) -> NDArray[np.intp]:
        """``(N,)`` how many pixels each may cover."""
        counted: NDArray[np.intp] = self.spans.prod(axis=1)
        return counted

    def landings(self, block: slice) -> tuple[NDArray[np.intp], Points]:
        """What some of them cover."""
        counts = self.counts[block]
        which = np.repeat(np.arange(block.start, block.stop), counts)
        number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows, columns = np.divmod(number, self.spans[which, 0])
        targets = self.low[which] + np.stack([columns, rows], axis=1)
        place = self._solve(self.places[:, which], targets.astype(np.float64))
        hit = ((place >= -_EDGE) & (place <= 1 + _EDGE)).all(axis=1)
        pixels = targets[hit, 1] * self.size_px[0] + targets[hit, 0]
        return pixels, self.origins[which[hit]] + place[hit]

    @staticmethod
    def _solve(places: Points, targets: Points) -> Points:
        """``(N, 2)`` where in the unit square the bilinear image of its corners is the target."""
        base, along_x, along_y = places[0], places[1] - places[0], places[2] - places[0]
        twist = places[3] - places[2] - along_x
        found = np.full(targets.shape, 0.5)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for _ in range(_ROUNDS):  # Newton's method; nearly linear, so few rounds are enough
                x, y = found[:, :1], found[:, 1:]
                off = base + x * along_x + y * along_y + x * y * twist - targets
                by_x, by_y = along_x + y * twist, along_y + x * twist
                area = by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0]
                found = found - np.stack(
                    [
                        (off[:, 0] * by_y[:, 1] - off[:, 1] * by_y[:, 0]) / area,
                        (by_x[:, 0] * off[:, 1] - by_x[:, 1] * off[:, 0]) / area,
                    ],
                    axis=1,
                )
        return found


def _blocks(counts: NDArray[np.intp]) -> Iterator[slice]:
    """Parts of a list with at most :data:`_BLOCK` counted things in each, or a single one."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _BLOCK, "right")))
        yield slice(start, stop)
        start = stop


def _lone_landings(
    forward: Displacements, quads: Mask, size_px: Size
) -> tuple[NDArray[np.intp], Points]:
    """The same of known pixels that belong to no square, as a laser scanner leaves them."""
    lone = np.isfinite(forward.values[..., 0])
    for rows in (slice(None, -1), slice(1, None)):
        for columns in (slice(None, -1), slice(1, None)):
            lone[rows, columns] &= ~quads
    origins = np.argwhere(lone)[:, ::-1].astype(np.float64)
    places = origins + forward.values[lone]
    targets = np.floor(places + 0.5)
    hit = inside(targets, size_px)
    pixels = (targets[hit, 1] * size_px[0] + targets[hit, 0]).astype(np.intp)
    return pixels, origins[hit] + targets[hit] - places[hit]
