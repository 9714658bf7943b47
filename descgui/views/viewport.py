"""Where an image lies in a widget: zoom, pan and the half pixel, as plain maths.

Image points are (x, y) in original pixels and the centre of the top-left pixel is (0, 0), so the
picture itself begins at -0.5.  Widget points are Qt's logical pixels from the widget's top-left
corner.  **This is the only view file with a half-pixel in it**: everything else asks a
:class:`Viewport`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from descgui.models.saved_session import Part
from engine import api
from engine.api import Side

Size = tuple[int, int]
Carry = Callable[["api.Point"], "tuple[api.Point, float] | None"]
"""Where a point lies in another image, and by how much lengths grow there; None if unknown."""

MAX_SCALE: Final = 64.0
"""No pixel is shown larger than this many logical pixels."""

MIN_SHOWN_EDGE_PX: Final = 24.0
"""An image is never shown smaller than this long edge."""

KEPT_PX: Final = 48.0
"""So much of an image stays in sight however far it is panned."""

_ASKED: Final = 9  # of the surroundings, along either axis
_LEAST_FOR_GROWTH: Final = 3
_MOST_GROWTH: Final = 8.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in widget pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The bottom edge."""
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class Viewport:
    """A similarity from image to widget pixels.

    Attributes:
        scale: widget pixels per image pixel.
        left, top: widget position of the top-left *corner* of the image.
    """

    scale: float
    left: float
    top: float

    def to_widget(self, point_px: api.Point) -> api.Point:
        """Widget position of an image point."""
        return (
            self.left + self.scale * (point_px[0] + 0.5),
            self.top + self.scale * (point_px[1] + 0.5),
        )

    def to_image(self, position: api.Point) -> api.Point:
        """Image point under a widget position."""
        return (
            (position[0] - self.left) / self.scale - 0.5,
            (position[1] - self.top) / self.scale - 0.5,
        )

    def points_to_widget(self, points_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(N, 2)`` image points -> ``(N, 2)`` widget positions."""
        moved: NDArray[np.float64] = np.array([self.left, self.top]) + self.scale * (
            points_px + 0.5
        )
        return moved

    def image_box(self, size_px: Size) -> Box:
        """The widget rectangle that an image of (width, height) covers."""
        return Box(self.left, self.top, self.scale * size_px[0], self.scale * size_px[1])

    def extent_box(self, extent: api.Extent) -> Box:
        """The widget rectangle that a map covers."""
        left, top = self.to_widget((extent.left_px, extent.top_px))
        right, bottom = self.to_widget((extent.right_px, extent.bottom_px))
        return Box(left, top, right - left, bottom - top)

    def visible_pixels(self, size_px: Size, widget: Size) -> tuple[int, int, int, int]:
        """Columns and rows in sight as ``(x0, y0, x1, y1)``, ends excluded; empty if none."""
        x0 = max(0, math.floor(-self.left / self.scale))
        y0 = max(0, math.floor(-self.top / self.scale))
        x1 = min(size_px[0], math.ceil((widget[0] - self.left) / self.scale))
        y1 = min(size_px[1], math.ceil((widget[1] - self.top) / self.scale))
        return x0, y0, max(x0, x1), max(y0, y1)

    def pixel_box(self, x0: int, y0: int, x1: int, y1: int) -> Box:
        """The widget rectangle of columns x0 to x1 and rows y0 to y1, ends excluded."""
        return Box(
            self.left + self.scale * x0,
            self.top + self.scale * y0,
            self.scale * (x1 - x0),
            self.scale * (y1 - y0),
        )

    def panned(self, dx: float, dy: float) -> Viewport:
        """Moved by widget pixels."""
        return replace(self, left=self.left + dx, top=self.top + dy)

    def zoomed(self, factor: float, about: api.Point, *, low: float, high: float) -> Viewport:
        """Enlarged about a widget position, which keeps its image point.

        Args:
            factor: above 1 enlarges.
            about: the fixed widget position.
            low: least scale.
            high: greatest scale.
        """
        scale = min(max(self.scale * factor, low), high)
        ratio = scale / self.scale
        return Viewport(
            scale,
            about[0] + (self.left - about[0]) * ratio,
            about[1] + (self.top - about[1]) * ratio,
        )

    def kept_in_sight(self, size_px: Size, widget: Size) -> Viewport:
        """Moved back so far that a strip of the image stays in the widget."""
        box = self.image_box(size_px)
        keep_x = min(KEPT_PX, box.width, widget[0] / 2)
        keep_y = min(KEPT_PX, box.height, widget[1] / 2)
        return replace(
            self,
            left=min(max(self.left, keep_x - box.width), widget[0] - keep_x),
            top=min(max(self.top, keep_y - box.height), widget[1] - keep_y),
        )

    def snapped(self, pixel_ratio: float) -> Viewport:
        """Moved by less than a device pixel so that the image begins on one: pixels stay sharp."""
        return replace(
            self,
            left=round(self.left * pixel_ratio) / pixel_ratio,
            top=round(self.top * pixel_ratio) / pixel_ratio,
        )


def fit(size_px: Size, widget: Size, *, margin: float = 0.0) -> Viewport:
    """The whole image, centred, as large as it goes.

    Args:
        size_px: (width, height) of the image.
        widget: (width, height) of the widget.
        margin: free widget pixels on every side, given up where there is no room.
    """
    width = max(1.0, widget[0] - 2 * margin)
    height = max(1.0, widget[1] - 2 * margin)
    scale = min(width / size_px[0], height / size_px[1], MAX_SCALE)
    return centred(((size_px[0] - 1) / 2, (size_px[1] - 1) / 2), scale, widget)


def centred(point_px: api.Point, scale: float, widget: Size) -> Viewport:
    """The viewport of a scale that shows an image point in the widget's centre."""
    return Viewport(
        scale,
        widget[0] / 2 - scale * (point_px[0] + 0.5),
        widget[1] / 2 - scale * (point_px[1] + 0.5),
    )


def part_in_sight(view: Viewport, widget: Size) -> Part:
    """The part of the image that a widget of (width, height) shows, with what surrounds it."""
    left, top = view.to_image((0.0, 0.0))
    return left, top, widget[0] / view.scale, widget[1] / view.scale


def around_part(part: Part, size_px: Size, widget: Size) -> Viewport:
    """The viewport that shows a part of an image of (width, height) as large as it goes."""
    left, top, width, height = part
    low, high = scale_limits(size_px)
    scale = min(max(min(widget[0] / width, widget[1] / height), low), high)
    return centred((left + width / 2, top + height / 2), scale, widget)


def scale_limits(size_px: Size) -> tuple[float, float]:
    """Smallest and largest allowed scale of an image."""
    return min(1.0, MIN_SHOWN_EDGE_PX / max(size_px)), MAX_SCALE


def clamped(point_px: api.Point, size_px: Size) -> api.Point:
    """The nearest point that lies between the centres of the image's border pixels."""
    return (
        min(max(point_px[0], 0.0), size_px[0] - 1.0),
        min(max(point_px[1], 0.0), size_px[1] - 1.0),
    )


def whole_extent(size_px: Size) -> api.Extent:
    """The area of a whole image, border pixels whole."""
    return api.Extent(-0.5, -0.5, size_px[0] - 0.5, size_px[1] - 0.5)


def covers(point_px: api.Point, size_px: Size) -> bool:
    """True where a point lies on the area of an image, border pixels whole."""
    return -0.5 <= point_px[0] <= size_px[0] - 0.5 and -0.5 <= point_px[1] <= size_px[1] - 0.5


def linked(
    source: Viewport,
    source_size_px: Size,
    source_widget: Size,
    target_size_px: Size,
    target_widget: Size,
    carry: Carry | None,
) -> Viewport:
    """The other pane's viewport that shows the same part of the scene at the same size.

    Args:
        source: viewport of the pane that was moved.
        source_size_px: (width, height) of its image.
        source_widget: (width, height) of its widget.
        target_size_px: (width, height) of the other image.
        target_widget: (width, height) of the other widget.
        carry: where a point of the source lies in the target, and by how much lengths grow there,
            such as :func:`by_homography` or :func:`by_truth`; None links plainly: the same relative
            place, and the same zoom relative to a fitted image.

    Returns:
        A viewport around the counterpart of the view's centre, whose scale is the source's over the
        local enlargement there.  Where ``carry`` has no answer, panes are linked plainly.
    """
    centre = source.to_image((source_widget[0] / 2, source_widget[1] / 2))
    low, high = scale_limits(target_size_px)
    place = None if carry is None else carry(centre)
    if place is not None:
        point_px, enlargement = place
        scale = min(max(source.scale / enlargement, low), high)
        return centred(point_px, scale, target_widget)
    ratio = fit(target_size_px, target_widget).scale / fit(source_size_px, source_widget).scale
    scale = min(max(source.scale * ratio, low), high)
    point_px = (
        (centre[0] + 0.5) / source_size_px[0] * target_size_px[0] - 0.5,
        (centre[1] + 0.5) / source_size_px[1] * target_size_px[1] - 0.5,
    )
    return centred(point_px, scale, target_widget)


def by_truth(
    truth: api.Truth, side: Side, reach_px: float, point_px: api.Point
) -> tuple[api.Point, float] | None:
    """Where the surroundings of a point lie, and by how much they grow; None if that is unknown.

    The truth may jump from pixel to pixel, and is unknown in places.  So it is asked for the
    surroundings, the nearer ones counting more, and the view moves without leaps.

    Args:
        truth: of any kind.
        side: the image with the point.
        reach_px: how far the surroundings reach, such as half of what is in sight.
        point_px: the point.
    """
    centre = np.array(point_px)
    listed = truth.listed_px
    if listed is None:
        steps = np.linspace(-reach_px, reach_px, _ASKED)
        around = centre + np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    else:
        around = listed[0 if side == "a" else 1]
        around = around[np.abs(around - centre).max(axis=1) <= reach_px]
    places = truth.locate(side, around).points_px
    known = np.isfinite(places).all(axis=1)
    if not known.any():
        return None
    around, places = around[known], places[known]
    squared = np.square(around - centre).sum(axis=1)
    weights = np.exp(-2 * squared / reach_px**2)
    weights /= weights.sum()
    middle, target = weights @ around, weights @ places
    before, after = (
        float(weights @ np.square(points - mean).sum(axis=1))
        for points, mean in ((around, middle), (places, target))
    )
    growth = 1.0
    if len(places) >= _LEAST_FOR_GROWTH and before > 0 and after > 0:
        growth = min(max(math.sqrt(after / before), 1 / _MOST_GROWTH), _MOST_GROWTH)
    x, y = (target + growth * (centre - middle)).tolist()
    return (x, y), growth


def by_homography(h: NDArray[np.float64], point_px: api.Point) -> tuple[api.Point, float] | None:
    """A point through a homography, and by how much lengths grow there; None if undefined."""
    if not np.isfinite(h).all():
        return None
    x, y = point_px
    u, v, w = (float(value) for value in h @ np.array([x, y, 1.0]))
    # The area element of a homography is det(h) / w^3: negative behind the horizon or mirrored.
    area = float(np.linalg.det(h)) / w**3 if w != 0.0 else 0.0
    if not (math.isfinite(area) and area > 1e-12):
        return None
    return (u / w, v / w), math.sqrt(area)
