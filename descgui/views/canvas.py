"""One image with its overlay and marks, to point at, zoom and pan."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QEnterEvent,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPixmap,
    QRegion,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from descgui.models.saved_session import Part
from descgui.views.marks import Mark, PinMark, RegionBox, Stage, paint_marks, shaped
from descgui.views.pictures import BACKGROUND, Overlay, Photo, paint_grid
from descgui.views.viewport import (
    Box,
    Size,
    Viewport,
    around_part,
    centred,
    clamped,
    covers,
    fit,
    scale_limits,
)
from engine import api

FIT_MARGIN: Final = 10.0
WHEEL_STEP: Final = 1.2
"""How much one notch of the wheel enlarges."""

_DRAG_START = 4.0
_PIXELS_PER_STEP = 40.0


class ImageCanvas(QWidget):
    """Paints an image, an overlay and marks, and reports what the pointer and the keys do.

    What rarely changes (image, PCA colours) is kept as one pixmap of the widget's size. A mark that
    moves repaints only its surroundings, a live overlay only the image.

    Signals:
        pointer_moved(float x, float y): the pointer is over an image point.
        pointer_left(): it has left the image.
        clicked(float x, float y): the image was clicked, away from any pin.
        region_chosen(float x, float y, float width, float height): a box around an image point was
            drawn with Shift held, in image pixels.
        pin_pressed(int): a pin was pressed.
        pin_dragged(int, float x, float y): it is being moved.
        pin_dropped(int, float x, float y): it was moved.
        fit_requested(): double click.
        moved_by_user(): zoomed or panned here; not sent for :meth:`set_viewport`.
        viewport_changed(): zoomed, panned, resized or set.
        step_requested(float dx, float dy): arrow keys, in image pixels.
        confirm_requested(): Enter.
        remove_requested(): Delete or Backspace.
        dismiss_requested(): Escape.
        menu_requested(float x, float y, QPoint): a right click on an image point, or the menu key;
            where on the screen.
    """

    pointer_moved = Signal(float, float)
    pointer_left = Signal()
    clicked = Signal(float, float)
    region_chosen = Signal(float, float, float, float)
    pin_pressed = Signal(int)
    pin_dragged = Signal(int, float, float)
    pin_dropped = Signal(int, float, float)
    fit_requested = Signal()
    moved_by_user = Signal()
    viewport_changed = Signal()
    step_requested = Signal(float, float)
    confirm_requested = Signal()
    remove_requested = Signal()
    dismiss_requested = Signal()
    menu_requested = Signal(float, float, QPoint)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 90)
        self._photo: Photo | None = None
        self._overlay: Overlay | None = None
        self._marks: tuple[Mark, ...] = ()
        self._view = Viewport(1.0, 0.0, 0.0)
        self._fitted = True
        self._part: Part | None = None
        self._underlay: Callable[[QPainter, QRectF], None] | None = None
        self._kept: QPixmap | None = None
        self._press: QPointF | None = None
        self._last = QPointF()
        self._panning = False
        self._grabbed = 0
        self._grab_offset = (0.0, 0.0)
        self._over_image = False
        self._boxing = False

    # What is shown

    @property
    def photo(self) -> Photo | None:
        """The image, None before the first."""
        return self._photo

    @property
    def overlay(self) -> Overlay | None:
        """What is laid over the image."""
        return self._overlay

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What is drawn on top."""
        return self._marks

    def set_photo(self, photo: Photo | None) -> None:
        """Show another image; one of the same size keeps the view."""
        if photo is self._photo:
            return
        same = photo is not None and self._photo and photo.size_px == self._photo.size_px
        self._photo = photo
        if not same:
            self.fit()
        self._repaint_all()

    def set_overlay(self, overlay: Overlay | None) -> None:
        """Lay something over the image; None removes it."""
        before, self._overlay = self._overlay, overlay
        if before is overlay:
            return
        live_only = all(layer is None or layer.live for layer in (before, overlay))
        if not live_only or _muted(before) != _muted(overlay):
            self._repaint_all()
        elif self._photo is not None:
            box = self.viewport.image_box(self._photo.size_px)
            frame = QRectF(box.left, box.top, box.width, box.height)
            self.update(frame.toAlignedRect().intersected(self.rect()))

    def set_marks(self, marks: Iterable[Mark]) -> None:
        """Draw these marks; only the surroundings of changed ones are repainted."""
        new = tuple(marks)
        if new == self._marks:
            return
        changed = set(self._marks) ^ set(new)
        self._marks = new
        stage = self._stage()
        region = QRegion()
        for mark in changed:
            bounds = shaped(mark, stage)[1].toAlignedRect().adjusted(-2, -2, 2, 2)
            region = region.united(bounds.intersected(self.rect()))
        self.update(region)

    def set_underlay(self, paint: Callable[[QPainter, QRectF], None]) -> None:
        """Call ``paint`` with a painter and the part to draw, between the image and the marks."""
        self._underlay = paint
        self.update()

    # The view

    @property
    def viewport(self) -> Viewport:
        """Where the image lies, its corner on a device pixel."""
        return self._view.snapped(self.devicePixelRatioF())

    @property
    def fitted(self) -> bool:
        """True while the whole image is kept in view as the widget changes its size."""
        return self._fitted

    @property
    def extent(self) -> Size:
        """(width, height) of the widget."""
        return self.width(), self.height()

    def set_viewport(self, view: Viewport) -> None:
        """Show another part; for linked panes."""
        self._fitted = False
        self._part = None
        self._move_to(view)

    def centre_on(self, point_px: api.Point, *, factor: float) -> None:
        """Put an image point into the centre, and enlarge about it."""
        if self._photo is not None:
            low, high = scale_limits(self._photo.size_px)
            scale = min(max(self._view.scale * factor, low), high)
            self.set_viewport(centred(point_px, scale, self.extent))

    def show_part(self, part: Part) -> None:
        """Show a part as large as it goes, and keep doing so while the widget changes its size."""
        if self._photo is not None:
            self.set_viewport(around_part(part, self._photo.size_px, self.extent))
            self._part = part

    def fit(self) -> None:
        """Show the whole image, and keep doing so while the widget changes its size."""
        self._fitted = True
        self._part = None
        if self._photo is not None:
            self._show(fit(self._photo.size_px, self.extent, margin=FIT_MARGIN))

    def one_to_one(self) -> None:
        """Show one image pixel on one device pixel, keeping the centre."""
        self.zoom_by(1.0 / self.devicePixelRatioF() / self._view.scale)

    def zoom_by(self, factor: float, about: api.Point | None = None) -> None:
        """Enlarge about a widget position, by default the centre."""
        if self._photo is None:
            return
        low, high = scale_limits(self._photo.size_px)
        place = about or (self.width() / 2, self.height() / 2)
        self._fitted = False
        self._part = None
        self._move_to(self._view.zoomed(factor, place, low=low, high=high))

    def _move_to(self, view: Viewport) -> None:
        if self._photo is not None:
            self._show(view.kept_in_sight(self._photo.size_px, self.extent))

    def _show(self, view: Viewport) -> None:
        if view != self._view:
            self._view = view
            self._repaint_all()
            self.viewport_changed.emit()

    def _stage(self) -> Stage:
        return Stage(self.viewport, Box(0.0, 0.0, self.width(), self.height()))

    # Painting

    def _repaint_all(self) -> None:
        self._kept = None
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        ratio = self.devicePixelRatioF()
        kept = self._kept_layers(ratio)
        part = QRectF(event.rect())
        painter.drawPixmap(part, kept, QRectF(part.topLeft() * ratio, part.size() * ratio))
        if self._photo is not None:
            view = self.viewport
            if self._overlay is not None and self._overlay.live:
                self._overlay.paint(painter, view, self._photo.size_px, self.extent, ratio)
            if self._underlay is not None:
                self._underlay(painter, part)
            paint_marks(painter, self._marks, self._stage(), part)
            if self._boxing and self._panning and self._press is not None:
                box = self._box(self._press, self._last)
                paint_marks(painter, () if box is None else (box,), self._stage(), part)
        self._paint_border(painter)

    def _kept_layers(self, ratio: float) -> QPixmap:
        wanted = QSize(math.ceil(self.width() * ratio), math.ceil(self.height() * ratio))
        if (
            self._kept is not None
            and self._kept.size() == wanted
            and self._kept.devicePixelRatio() == ratio
        ):
            return self._kept
        self._kept = kept = QPixmap(wanted)
        kept.setDevicePixelRatio(ratio)
        kept.fill(QColor(BACKGROUND))
        painter = QPainter(kept)
        self._paint_kept(painter, ratio)
        painter.end()
        return kept

    def _paint_kept(self, painter: QPainter, ratio: float) -> None:
        if self._photo is None:
            return
        view = self.viewport
        size_px = self._photo.size_px
        self._photo.paint(painter, view, self.extent, ratio, muted=_muted(self._overlay))
        if self._overlay is not None and not self._overlay.live:
            self._overlay.paint(painter, view, size_px, self.extent, ratio)
        paint_grid(painter, view, size_px, self.extent)

    def _paint_border(self, painter: QPainter) -> None:
        role = QPalette.ColorRole.Highlight if self.hasFocus() else QPalette.ColorRole.Mid
        width, height = self.width(), self.height()
        # Not a pen's line: at twice the scale that lies beside the last pixel, half a pixel inside.
        for edge in (
            QRect(0, 0, width, 1), QRect(0, height - 1, width, 1),
            QRect(0, 0, 1, height), QRect(width - 1, 0, 1, height),
        ):  # fmt: skip
            painter.fillRect(edge, self.palette().color(role))

    # Events

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the fit, the part that was asked for, or the point in the centre."""
        super().resizeEvent(event)
        self._kept = None
        if self._fitted:
            self.fit()
            return
        if self._part is not None:
            self.show_part(self._part)
            return
        before = event.oldSize()
        if self._photo is not None and before.isValid():
            centre = self._view.to_image((before.width() / 2, before.height() / 2))
            self._move_to(centred(centre, self._view.scale, self.extent))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._press = self._last = event.position()
        self._panning = event.button() != Qt.MouseButton.LeftButton
        self._grabbed = 0
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        self._boxing = shift and event.button() == Qt.MouseButton.LeftButton
        pin = None if self._boxing else self.pin_at(_point(event.position()))
        if event.button() == Qt.MouseButton.LeftButton and pin is not None:
            tip = self.viewport.to_widget(pin.point_px)
            self._grabbed = pin.number
            self._grab_offset = (tip[0] - self._last.x(), tip[1] - self._last.y())
            self.pin_pressed.emit(pin.number)
        self._show_cursor(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        position = event.position()
        if self._press is None:
            self._hover(position)
            return
        if not self._panning:
            moved = position - self._press
            if math.hypot(moved.x(), moved.y()) <= _DRAG_START:
                return
            self._panning = True
        step = position - self._last
        self._last = position
        if self._boxing:
            self.update()
        elif self._grabbed:
            self.pin_dragged.emit(self._grabbed, *self._grab_point(position))
        else:
            self._pan(step.x(), step.y())
        self._show_cursor(position)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        press, self._press = self._press, None
        dragged, self._panning = self._panning, False
        grabbed, self._grabbed = self._grabbed, 0
        boxing, self._boxing = self._boxing, False
        if press is None:
            return
        if boxing and dragged:
            box = self._box(press, event.position())
            if box is not None:
                self.region_chosen.emit(*box.point_px, *box.size_px)
            self.update()
            return
        if grabbed and dragged:
            self.pin_dropped.emit(grabbed, *self._grab_point(event.position()))
        elif event.button() == Qt.MouseButton.RightButton:
            moved = event.position() - press
            if math.hypot(moved.x(), moved.y()) <= _DRAG_START:
                self._ask_menu(event.position())
        elif not dragged and not grabbed and self._photo is not None:
            point_px = self.viewport.to_image(_point(event.position()))
            if covers(point_px, self._photo.size_px):
                self.clicked.emit(*clamped(point_px, self._photo.size_px))
        self._show_cursor(event.position())

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """The menu key; a right click is known only once the button is up, as it may drag."""
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            self._ask_menu(QPointF(self.rect().center()))
        event.accept()

    def _ask_menu(self, position: QPointF) -> None:
        if self._photo is None:
            return
        point_px = self.viewport.to_image(_point(position))
        if covers(point_px, self._photo.size_px):
            place = self.mapToGlobal(position.toPoint())
            self.menu_requested.emit(*clamped(point_px, self._photo.size_px), place)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.fit_requested.emit()
        else:
            self.mousePressEvent(event)

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        self._show_cursor(event.position())

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._leave()

    def wheelEvent(self, event: QWheelEvent) -> None:
        turned = event.angleDelta().y()
        steps = turned / 120.0 if turned else event.pixelDelta().y() / _PIXELS_PER_STEP
        if steps:
            self._zoom_about(WHEEL_STEP**steps, event.position())
        event.accept()

    def event(self, event: QEvent) -> bool:
        """Pinch on a touchpad."""
        if isinstance(event, QNativeGestureEvent):
            kind = event.gestureType()
            if kind == Qt.NativeGestureType.ZoomNativeGesture:
                self._zoom_about(max(0.1, 1.0 + event.value()), event.position())
                return True
            if kind == Qt.NativeGestureType.SmartZoomNativeGesture:
                self.fit_requested.emit()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = 10.0 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1.0
        others = event.modifiers() & ~(
            Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier
        )
        steps = {
            Qt.Key.Key_Left: (-step, 0.0),
            Qt.Key.Key_Right: (step, 0.0),
            Qt.Key.Key_Up: (0.0, -step),
            Qt.Key.Key_Down: (0.0, step),
        }
        key = Qt.Key(event.key())
        if others != Qt.KeyboardModifier.NoModifier:
            super().keyPressEvent(event)
        elif key in steps:
            self.step_requested.emit(*steps[key])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.confirm_requested.emit()
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.remove_requested.emit()
        elif key == Qt.Key.Key_Escape:
            self.dismiss_requested.emit()
        else:
            super().keyPressEvent(event)

    # Pointing

    def pin_at(self, position: api.Point) -> PinMark | None:
        """The topmost pin of this image under a widget position; matches of pins do not count."""
        stage = self._stage()
        for mark in reversed(self._marks):
            if isinstance(mark, PinMark) and not mark.found and mark.hit(position, stage):
                return mark
        return None

    def _hover(self, position: QPointF) -> None:
        self._show_cursor(position)
        if self._photo is None:
            return
        point_px = self.viewport.to_image(_point(position))
        if not covers(point_px, self._photo.size_px):
            self._leave()
            return
        self._over_image = True
        self.pointer_moved.emit(*clamped(point_px, self._photo.size_px))

    def _leave(self) -> None:
        if self._over_image:
            self._over_image = False
            self.pointer_left.emit()

    def _grab_point(self, position: QPointF) -> api.Point:
        assert self._photo is not None, "a pin without an image"
        tip = (position.x() + self._grab_offset[0], position.y() + self._grab_offset[1])
        return clamped(self.viewport.to_image(tip), self._photo.size_px)

    def _box(self, start: QPointF, end: QPointF) -> RegionBox | None:
        """The box between two widget positions, cut to the image; None where nothing is left."""
        if self._photo is None:
            return None
        corners = [self.viewport.to_image(_point(one)) for one in (start, end)]
        (left, right), (top, bottom) = (
            sorted(min(max(one[axis], -0.5), size - 0.5) for one in corners)
            for axis, size in enumerate(self._photo.size_px)
        )
        if right <= left or bottom <= top:
            return None
        return RegionBox(((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top))

    def _pan(self, dx: float, dy: float) -> None:
        self._fitted = False
        self._part = None
        self._move_to(self._view.panned(dx, dy))
        self.moved_by_user.emit()

    def _zoom_about(self, factor: float, position: QPointF) -> None:
        self.zoom_by(factor, _point(position))
        self.moved_by_user.emit()

    def _show_cursor(self, position: QPointF) -> None:
        shape = Qt.CursorShape.ArrowCursor
        if self._panning:
            shape = Qt.CursorShape.ClosedHandCursor
        elif self.pin_at(_point(position)) is not None:
            shape = Qt.CursorShape.OpenHandCursor
        elif self._photo is not None and covers(
            self.viewport.to_image(_point(position)), self._photo.size_px
        ):
            shape = Qt.CursorShape.CrossCursor
        if self.cursor().shape() != shape:
            self.setCursor(shape)


def _muted(overlay: Overlay | None) -> bool:
    return overlay is not None and overlay.muted


def _point(position: QPointF) -> api.Point:
    return position.x(), position.y()
