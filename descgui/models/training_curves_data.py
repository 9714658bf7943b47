"""Curves and pictures of training runs, and the sums on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.api import Preview

Points = NDArray[np.float64]
"""``(N, 2)`` of step and value, by step."""

Picture = NDArray[np.uint8]

MOST_FRAMES: Final = 200
MOST_FRAME_BYTES: Final = 256 * 2**20
_FIRST_ROOM: Final = 256
_NEGLIGIBLE: Final = 1e-18


class Series:
    """One curve that grows: appending a point is cheap however many there are.

    A run that was resumed from a checkpoint repeats steps.  The later value of a step counts, and
    all points at or after that step are dropped.

    Args:
        points: those there are already; they are copied.

    Attributes:
        appended: how often a point was appended.
    """

    def __init__(self, points: Points | None = None) -> None:
        self._room = np.empty((0, 2)) if points is None else without_superseded(points).copy()
        self._count = len(self._room)
        self._smooth: tuple[float, Points] | None = None
        self.appended = 0

    @property
    def points(self) -> Points:
        """``(N, 2)``, steps rising; a view that must not be written to."""
        return self._room[: self._count]

    def append(self, step: float, value: float) -> None:
        """Add a point; points at the same and at later steps are dropped."""
        if self._count and step <= self._room[self._count - 1, 0]:
            self._count = int(np.searchsorted(self.points[:, 0], step))
        if self._count == len(self._room):
            larger = np.empty((max(_FIRST_ROOM, 2 * self._count), 2))
            larger[: self._count] = self.points
            self._room = larger
        self._room[self._count] = step, value
        self._count += 1
        self._smooth = None
        self.appended += 1

    def smooth(self, weight: float) -> Points:
        """The points with their values smoothed by :func:`smoothed`; as measured for weight 0."""
        if weight <= 0.0:
            return self.points
        if self._smooth is None or self._smooth[0] != weight:
            steps, values = self.points.T
            self._smooth = weight, np.column_stack([steps, smoothed(values, weight=weight)])
        return self._smooth[1]


@dataclass(frozen=True, slots=True, eq=False)
class RunCurves:
    """A run whose curves are shown.

    Attributes:
        folder: of the run.
        series: name of a metric -> its curve.
        color_index: number of the run's colour and dash, from 0.
        live: whether the run is in progress.
    """

    folder: Path
    series: Mapping[str, Series]
    color_index: int
    live: bool

    @property
    def label(self) -> str:
        """The run's name."""
        return self.folder.name


def smoothed(values: NDArray[np.float64], *, weight: float) -> NDArray[np.float64]:
    """Exponential moving average without the pull towards zero that its first values would have.

    The average starts at 0 and takes ``1 - weight`` of each new value; divided by the sum of the
    weights, the first result is the first value.  (Kingma and Ba, Adam, 2015, section 3.)

    Args:
        values: ``(N,)``; those that are not finite are skipped.
        weight: of the past, from 0 (no smoothing) to below 1.

    Returns:
        ``(N,)``, NaN where the value is not finite.
    """
    finite = np.isfinite(values)
    average = (1.0 - weight) * values[finite]
    # After each pass a value averages twice as many of those before it.
    lag = 1
    while lag < len(average) and weight**lag > _NEGLIGIBLE:
        average[lag:] += weight**lag * average[:-lag]
        lag *= 2
    # From 2 * lag values on, the weights add up to 1 in all digits.
    average[: 2 * lag] /= 1.0 - weight ** np.arange(1.0, 1.0 + len(average[: 2 * lag]))
    result = np.full(len(values), np.nan)
    result[finite] = average
    return result


def without_superseded(points: Points) -> Points:
    """The points that no later one replaces: the last one of a repeated step, steps rising.

    Points whose step is not finite are left out.
    """
    some = np.asarray(points, np.float64).reshape(-1, 2)
    some = some[np.isfinite(some[:, 0])]
    lowest_after = np.minimum.accumulate(some[::-1, 0])[::-1]
    standing: Points = some[some[:, 0] < np.append(lowest_after[1:], np.inf)]
    return standing


def value_at(points: Points, step: float) -> float:
    """The value measured nearest to a step; NaN before the first and after the last one.

    Beyond the ends there is an allowance of the mean distance between points, because metrics of
    one run are not all measured at the same steps.
    """
    if not len(points):
        return math.nan
    steps = points[:, 0]
    allowance = (steps[-1] - steps[0]) / (len(steps) - 1) if len(steps) > 1 else 0.5
    if not steps[0] - allowance <= step <= steps[-1] + allowance:
        return math.nan
    return float(points[nearest(steps, step), 1])


def nearest(steps: NDArray[np.float64], step: float) -> int:
    """Index of the nearest of some rising steps, at least one; the earlier one of two."""
    after = min(int(np.searchsorted(steps, step)), len(steps) - 1)
    return after if after == 0 or steps[after] - step < step - steps[after - 1] else after - 1


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


def add_frames(kept: Sequence[Preview], frames: Iterable[Preview]) -> tuple[Preview, ...]:
    """Frames by step with more of them, thinned to what memory is kept for."""
    for frame in sorted(frames, key=lambda frame: frame.step):
        kept = insert_frame(kept, frame)
    return thin_frames(kept)


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
