"""Curves and pictures of training runs, as the training views take them, and the sums on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.api import Preview

Points = NDArray[np.float64]
"""``(N, 2)`` of step and value, by step."""

Picture = NDArray[np.uint8]

MOST_FRAMES: Final = 200
MOST_FRAME_BYTES: Final = 256 * 2**20
_BLOCK: Final = 64
_FIRST_ROOM: Final = 256
_FORGOTTEN: Final = 40.0  # e to the power of -40 is nothing beside 1


@dataclass(frozen=True, slots=True, eq=False)
class RunCurves:
    """The figures of one run.

    Attributes:
        key: tells the run from others.
        label: what a person reads.
        curves: name of a figure -> ``(N, 2)`` of step and value.
        color_index: number of the run's colour and dash, from 0.
        live: whether the run is under way.
    """

    key: str
    label: str
    curves: Mapping[str, Points]
    color_index: int
    live: bool


class Series:
    """One curve that grows: adding a point is cheap however many there are, smoothed or not.

    A run that was continued from a checkpoint repeats steps.  Whatever comes later stands, and the
    points at or after its step go.

    Args:
        points: those there are already; the array is not written to.
    """

    def __init__(self, points: Points | None = None) -> None:
        self._points = _Rows(np.empty((0, 2)) if points is None else without_superseded(points))
        self._smooth: _Rows | None = None
        self._average = _Average(0.0)

    @property
    def points(self) -> Points:
        """``(N, 2)``, steps rising; a view that must not be written to."""
        return self._points.rows

    def append(self, step: float, value: float) -> None:
        """Add a point; points of the same and of later steps are dropped."""
        points = self.points
        if len(points) and step <= points[-1, 0]:
            self._points.cut(int(np.searchsorted(points[:, 0], step, side="left")))
            self._smooth = None
        self._points.add(step, value)
        if self._smooth is not None:
            self._smooth.add(step, self._average.add(value))

    def smooth(self, weight: float) -> Points:
        """The points with their values smoothed, as :func:`smoothed` does it."""
        if weight <= 0.0:
            return self.points
        if self._smooth is None or self._average.weight != weight:
            self._average = _Average(weight)
            values = self._average.extend(self.points[:, 1])
            self._smooth = _Rows(np.column_stack([self.points[:, 0], values]))
        return self._smooth.rows


class _Rows:
    """``(N, 2)`` numbers with room for more."""

    def __init__(self, rows: Points) -> None:
        self._room, self._count, self._own = rows, len(rows), False

    @property
    def rows(self) -> Points:
        return self._room[: self._count]

    def cut(self, count: int) -> None:
        self._count = count

    def add(self, step: float, value: float) -> None:
        if not self._own or self._count == len(self._room):
            larger = np.empty((max(_FIRST_ROOM, 2 * self._count), 2))
            larger[: self._count] = self.rows
            self._room, self._own = larger, True
        self._room[self._count] = step, value
        self._count += 1


class _Average:
    """An exponential moving average that goes on where it was."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._sum = 0.0
        self._seen = 0

    def add(self, value: float) -> float:
        """The average with one more value; NaN for one that is not finite."""
        if not math.isfinite(value):
            return math.nan
        self._sum = self.weight * self._sum + (1.0 - self.weight) * value
        self._seen += 1
        return self._sum / (1.0 - self.weight**self._seen)

    def extend(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The averages with more values, from none on."""
        result = np.full(len(values), np.nan)
        finite = np.isfinite(values)
        kept = values[finite]
        if not len(kept):
            return result
        # In blocks, so that Python's part of the work is one short pass over the blocks.
        weight, blocks = self.weight, -(-len(kept) // _BLOCK)
        padded = np.zeros(blocks * _BLOCK)
        padded[: len(kept)] = kept
        lags = np.subtract.outer(np.arange(_BLOCK), np.arange(_BLOCK))
        shares = np.where(lags >= 0, (1.0 - weight) * weight ** np.maximum(lags, 0), 0.0)
        sums = padded.reshape(blocks, _BLOCK) @ shares.T
        carried, before, kept_share = [0.0], 0.0, weight**_BLOCK
        for own in sums[:-1, -1].tolist():
            before = kept_share * before + own
            carried.append(before)
        sums += np.outer(carried, weight ** np.arange(1.0, _BLOCK + 1))
        flat = sums.ravel()[: len(kept)]
        self._sum, self._seen = float(flat[-1]), len(kept)
        young = min(len(kept), math.ceil(_FORGOTTEN / -math.log(weight)))
        flat[:young] /= 1.0 - weight ** np.arange(1.0, young + 1)
        result[finite] = flat
        return result


def smoothed(values: NDArray[np.float64], *, weight: float) -> NDArray[np.float64]:
    """Exponential moving average without the pull towards zero that its first values would have.

    The average starts at 0 and takes ``1 - weight`` of each new value; divided by what the weights
    add up to, the first result is the first value.  (Kingma and Ba, Adam, 2015, section 3.)

    Args:
        values: ``(N,)``; those that are not finite count for nothing.
        weight: of the past, from 0 (nothing is smoothed) to below 1.

    Returns:
        ``(N,)``, NaN where the value is not finite.
    """
    if weight <= 0.0:
        return np.where(np.isfinite(values), values, np.nan)
    return _Average(weight).extend(values)


def thinned(points: Points, *, buckets: int) -> Points:
    """Fewer points that draw the same line: the first, last, lowest and highest of each bucket.

    Args:
        points: ``(N, 2)``, all finite.
        buckets: into how many parts of equally many points to cut, at least 1.

    Returns:
        ``(M, 2)`` of the same points in the same order; all of them if they are few.
    """
    count = len(points)
    size = -(-count // buckets)
    if size <= 4:
        return points
    rows = -(-count // size)
    values = np.append(points[:, 1], np.full(rows * size - count, points[-1, 1]))
    table = values.reshape(rows, size)
    starts = size * np.arange(rows)
    kept = np.zeros(rows * size, np.bool_)
    for offsets in (0, size - 1, table.argmin(axis=1), table.argmax(axis=1)):
        kept[starts + offsets] = True
    kept[count - 1] = True
    chosen: Points = points[kept[:count]]
    return chosen


def without_superseded(points: Points) -> Points:
    """The points that no later one replaces: of a repeated step the last, steps rising.

    Points whose step is not finite are left out.
    """
    some = np.asarray(points, np.float64).reshape(-1, 2)
    measured = np.isfinite(some[:, 0])
    if not measured.all():
        some = some[measured]
    if len(some) < 2:
        return some
    if (np.diff(some[:, 0]) > 0.0).all():
        return some
    lowest_after = np.minimum.accumulate(some[::-1, 0])[::-1][1:]
    standing: Points = some[np.append(some[:-1, 0] < lowest_after, True)]
    return standing


def value_at(points: Points, step: float) -> float:
    """The value measured nearest to a step; NaN before the first and after the last one.

    Beyond the ends there is an allowance of the mean distance between points, because figures of
    one run are not all measured at the same steps.
    """
    if not len(points):
        return float("nan")
    steps = points[:, 0]
    allowance = (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else 0.5
    if not steps[0] - allowance <= step <= steps[-1] + allowance:
        return float("nan")
    return float(points[nearest(steps, step), 1])


def nearest(steps: NDArray[np.float64], step: float) -> int:
    """Where in rising steps, at least one, the nearest one stands; the earlier one of two."""
    after = int(np.searchsorted(steps, step))
    if after == 0:
        return 0
    if after == len(steps):
        return after - 1
    return after if steps[after] - step < step - steps[after - 1] else after - 1


def insert_frame(frames: Sequence[Preview], frame: Preview) -> tuple[Preview, ...]:
    """Frames by step with one more; it replaces the frame of its step.

    Pictures that equal those of the frame before it are shared with it: the pair itself is the
    same in all of them.
    """
    before = [other for other in frames if other.step < frame.step]
    after = [other for other in frames if other.step > frame.step]
    if before:
        earlier = before[-1].pictures
        pictures = {
            name: earlier[name]
            if name in earlier and np.array_equal(earlier[name], picture)
            else picture
            for name, picture in frame.pictures.items()
        }
        frame = replace(frame, pictures=pictures)
    return (*before, frame, *after)


def thin_frames(
    frames: Sequence[Preview],
    *,
    most: int = MOST_FRAMES,
    most_bytes: int = MOST_FRAME_BYTES,
) -> tuple[Preview, ...]:
    """The first and the last frame, and so many between them as there is room for.

    Those go first whose neighbours are closest together in steps, so that what stays is spread
    evenly however often frames are added and thinned.

    Args:
        frames: by step.
        most: how many may stay, at least 2.
        most_bytes: how much memory their pictures may take together.
    """
    kept = list(frames)
    while len(kept) > 2 and (len(kept) > most or frames_bytes(kept) > most_bytes):
        steps = np.array([frame.step for frame in kept])
        del kept[1 + int(np.argmin(steps[2:] - steps[:-2]))]
    return tuple(kept)


def frames_bytes(frames: Iterable[Preview]) -> int:
    """Memory that the pictures take; one that several frames share counts once."""
    different = {
        id(picture): picture.nbytes for frame in frames for picture in frame.pictures.values()
    }
    return sum(different.values())
