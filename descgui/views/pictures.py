"""Pictures ready to be painted at any zoom: photographs with smaller copies, and maps over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen

from descgui.views.pixels import Pixels, muted_image, rgb_image
from descgui.views.viewport import Box, Size, Viewport
from engine import api

BACKGROUND: Final = "#1E1F22"
"""Behind the images, in both themes, so that they look the same in both."""

NEAREST_SCALE: Final = 6.0
"""Above this zoom pixels are shown as squares."""

GRID_SCALE: Final = 24.0
"""Above this zoom the squares are parted by a faint grid."""

_EXACT_PIXELS: Final = 6_000_000


def rect(box: Box) -> QRectF:
    """The same rectangle for Qt."""
    return QRectF(box.left, box.top, box.width, box.height)


class Mipmap:
    """A picture and its halves, made when first needed, so that shrinking is quick and sharp."""

    def __init__(self, picture: QImage) -> None:
        self._levels = [picture]
        self._exact: QImage | None = None

    @property
    def size(self) -> QSize:
        """Size of the whole picture."""
        return self._levels[0].size()

    def level(self, scale: float) -> QImage:
        """The smallest level that still has a pixel for each device pixel at ``scale``."""
        index = 0
        while scale <= 0.5 and min(self.size.width(), self.size.height()) >> (index + 1) > 0:
            scale *= 2.0
            index += 1
            if index == len(self._levels):
                last = self._levels[-1]
                self._levels.append(
                    last.scaled(
                        max(1, last.width() // 2),
                        max(1, last.height() // 2),
                        Qt.AspectRatioMode.IgnoreAspectRatio,
                        Qt.TransformationMode.SmoothTransformation,
                    )
                )
        return self._levels[index]

    def exact(self, scale: float) -> QImage | None:
        """The picture at exactly this scale below 1, kept until another is asked; None if huge."""
        width = max(1, round(self.size.width() * scale))
        height = max(1, round(self.size.height() * scale))
        if width * height > _EXACT_PIXELS:
            return None
        if self._exact is None or (self._exact.width(), self._exact.height()) != (width, height):
            self._exact = self.level(scale).scaled(
                width,
                height,
                Qt.AspectRatioMode.IgnoreAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        return self._exact


class Photo:
    """One image of the pair, ready to be painted in colour or muted, at any zoom.

    Zoomed out, a prepared 8-bit copy is painted; zoomed in beyond its resolution, the pixels in
    sight are taken from the original.

    Args:
        image: as read from its file.
        display: its 8-bit copy, as ``prepare_display`` makes it.

    Attributes:
        size_px: (width, height) of the image.
    """

    def __init__(self, image: api.Image, display: NDArray[np.uint8]) -> None:
        self._pixels: Pixels = image.pixels
        self.size_px: Size = image.size_px
        self._display_scale = display.shape[1] / self.size_px[0]
        self._plain = Mipmap(rgb_image(display))
        self._muted: Mipmap | None = None

    def paint(
        self, painter: QPainter, view: Viewport, widget: Size, pixel_ratio: float, *, muted: bool
    ) -> None:
        """Draw the part in sight.

        Args:
            painter: in widget pixels.
            view: where the image lies.
            widget: (width, height) of the widget.
            pixel_ratio: device pixels per widget pixel.
            muted: in dimmed grey, under colours.
        """
        device_scale = view.scale * pixel_ratio
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, _smooth(view, pixel_ratio))
        if device_scale > self._display_scale and self._display_scale < 1.0:
            self._paint_original(painter, view, widget, muted=muted)
            return
        mipmap = self._muted_mipmap() if muted else self._plain
        box = view.image_box(self.size_px)
        shrink = device_scale / self._display_scale
        exact = mipmap.exact(shrink) if shrink < 1.0 else None
        if exact is not None:
            # Unscaled: a copy made for this very zoom loses no sharpness.
            target = QRectF(
                box.left, box.top, exact.width() / pixel_ratio, exact.height() / pixel_ratio
            )
            painter.drawImage(target, exact)
            return
        level = mipmap.level(shrink)
        _paint_visible(painter, level, box, widget)

    def _paint_original(
        self, painter: QPainter, view: Viewport, widget: Size, *, muted: bool
    ) -> None:
        x0, y0, x1, y1 = view.visible_pixels(self.size_px, widget)
        if x1 <= x0 or y1 <= y0:
            return
        # One pixel more on each side, so that smoothing at the border knows its neighbours.
        x0, y0 = max(0, x0 - 1), max(0, y0 - 1)
        x1, y1 = min(self.size_px[0], x1 + 1), min(self.size_px[1], y1 + 1)
        part = rgb_image(self._pixels[y0:y1, x0:x1])
        painter.drawImage(
            rect(view.pixel_box(x0, y0, x1, y1)), muted_image(part) if muted else part
        )

    def _muted_mipmap(self) -> Mipmap:
        if self._muted is None:
            self._muted = Mipmap(muted_image(self._plain.level(1.0)))
        return self._muted


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """A picture laid over the image.

    Attributes:
        picture: the colours, some of them perhaps clear.
        extent: the area of the image that it covers.
        opacity: 0 to 1.
        muted: dim the image below to grey, so that the colours can be read off a scale.
        live: it changes with the pointer, so it is repainted each time, not kept.
    """

    picture: Mipmap
    extent: api.Extent
    opacity: float = 1.0
    muted: bool = False
    live: bool = False

    def paint(
        self, painter: QPainter, view: Viewport, size_px: Size, widget: Size, pixel_ratio: float
    ) -> None:
        """Draw the part in sight, never beyond the image's own border."""
        box = view.extent_box(self.extent)
        frame = rect(view.image_box(size_px))
        inside = rect(box)
        shown = frame.intersected(inside).intersected(QRectF(0, 0, *widget))
        if shown.isEmpty() or box.width <= 0 or box.height <= 0:
            return
        shrink = box.width * pixel_ratio / self.picture.size.width()
        painter.save()
        if not frame.contains(inside):
            painter.setClipRect(frame, Qt.ClipOperation.IntersectClip)
        painter.setOpacity(self.opacity)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        _paint_visible(painter, self.picture.level(shrink), box, widget)
        painter.restore()


def paint_grid(painter: QPainter, view: Viewport, size_px: Size, widget: Size) -> None:
    """Draw faint lines between pixels, where they are large enough to tell apart."""
    if view.scale <= GRID_SCALE:
        return
    x0, y0, x1, y1 = view.visible_pixels(size_px, widget)
    if x1 <= x0 or y1 <= y0:
        return
    box = view.pixel_box(x0, y0, x1, y1)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    painter.setPen(QPen(QColor(128, 128, 128, 90), 0))
    for column in range(x0, x1 + 1):
        x = round(view.pixel_box(column, y0, column, y1).left)
        painter.drawLine(x, round(box.top), x, round(box.bottom))
    for row in range(y0, y1 + 1):
        y = round(view.pixel_box(x0, row, x1, row).top)
        painter.drawLine(round(box.left), y, round(box.right), y)


def _smooth(view: Viewport, pixel_ratio: float) -> bool:
    return view.scale <= NEAREST_SCALE and abs(view.scale * pixel_ratio - 1.0) > 1e-9


def _paint_visible(painter: QPainter, picture: QImage, box: Box, widget: Size) -> None:
    """Paint a picture into a rectangle, handing Qt only the part that is in sight."""
    step_x = box.width / picture.width()
    step_y = box.height / picture.height()
    x0 = max(0, int(-box.left / step_x) - 1)
    y0 = max(0, int(-box.top / step_y) - 1)
    x1 = min(picture.width(), int((widget[0] - box.left) / step_x) + 2)
    y1 = min(picture.height(), int((widget[1] - box.top) / step_y) + 2)
    if x1 <= x0 or y1 <= y0:
        return
    target = QRectF(
        box.left + x0 * step_x, box.top + y0 * step_y, (x1 - x0) * step_x, (y1 - y0) * step_y
    )
    painter.drawImage(target, picture, QRectF(x0, y0, x1 - x0, y1 - y0))
