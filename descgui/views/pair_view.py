"""The heart of the window: both images, and what each of the descriptors finds where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QUrl, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QPainter,
    QResizeEvent,
)
from PySide6.QtWidgets import QBoxLayout, QGridLayout, QLabel, QStackedWidget, QVBoxLayout, QWidget

from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice, MapStatus
from descgui.models.matches_state import MatchesState
from descgui.models.pair_state import PairState
from descgui.models.pictures_state import PicturesState
from descgui.models.probe_state import Pin, Probe
from descgui.models.saved_session import Part
from descgui.models.settings import Settings
from descgui.models.view_state import ViewState
from descgui.views import scene
from descgui.views.addresses import read_urls
from descgui.views.arrangement import SPACING_PX, Cell, best_arrangement
from descgui.views.canvas import ImageCanvas
from descgui.views.color_bar import ColorBar
from descgui.views.drops import DropPlan, plan_drop
from descgui.views.empty_state import DropBanner, EmptyState, Hint
from descgui.views.legend import MarkLegend
from descgui.views.match_lines import MatchLines, line_segments
from descgui.views.pane import ImagePane
from descgui.views.panel_parts import in_column, in_row
from descgui.views.pictures import Overlay, Photo
from descgui.views.ports import Describing, Files, Opening, Probing
from descgui.views.scene import PaneKey, PictureStore
from descgui.views.viewport import (
    Box,
    Carry,
    by_homography,
    by_truth,
    clamped,
    linked,
    part_in_sight,
)
from engine import api
from engine.api import Side, other_side

_SCALAR_MODES: Final = ("heat", "cycle", "members", "norms", "error")
_ABREAST_PX: Final = 560
"""Where there is less room, the colour bars stand below the legend."""

_SNAP_PX: Final = 8.0
"""A listed point of the truth this close to the pointer, on the screen, is the one meant."""


class PairView(QWidget):
    """Pane A, one pane of B for each descriptor, and a strip that explains them.

    Signals:
        range_requested(): a pane's range was pressed, to change it.
        colours_requested(): a colour scale was pressed, to change its range or colours.
        menu_requested(str, ImageCanvas, float x, float y, QPoint): a right click on a point of an
            image, "a" or "b", and where on the screen.
    """

    range_requested = Signal()
    colours_requested = Signal()
    menu_requested = Signal(str, object, float, float, QPoint)

    def __init__(
        self,
        models: AppModels,
        probing: Probing,
        opening: Opening,
        describing: Describing,
        files: Files,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._probing = probing
        self._opening = opening
        self._describing = describing
        self._settings, self._pictures = models.settings.state, models.pictures.state
        self._photos: dict[Side, Photo] = {}
        self._images: dict[Side, api.Image] = {}
        self._store = PictureStore()
        self._dragged: tuple[int, api.Point] | None = None
        self._pins_before_click: frozenset[int] = frozenset()
        self._answering: Side = "b"
        self._placed: tuple[tuple[ImagePane, Cell], ...] = ()
        self._active = 0
        self.setAcceptDrops(True)
        self.setObjectName("pair_view")
        self.setAccessibleName("Image pair")

        self._panes = tuple(
            ImagePane(key, self)
            for key in (
                PaneKey("a"),
                *(PaneKey("b", number) for number in range(len(models.descriptors))),
            )
        )
        self._empty = EmptyState(opening, files, self)
        self._legend = MarkLegend(self)
        self._explained = QLabel(self)
        self._bars = (ColorBar(parent=self), ColorBar(parent=self))
        self._stack = QStackedWidget(self)
        self._lines = MatchLines(self)
        self._banner = DropBanner(self)
        self._hint = Hint("Move the mouse over an image", self)
        self._build()
        self._connect_panes()
        self._connect_models()
        self._show_pair(models.pair.state)

    # What others call

    @property
    def canvases(self) -> tuple[ImageCanvas, ...]:
        """The canvases in sight: a, b, and one for each descriptor beside the shown one."""
        return tuple(pane.canvas for pane in self._shown_panes())

    def parts_in_sight(self) -> dict[Side, Part]:
        """What shows of each image; an image that is fitted as a whole is left out."""
        return {
            pane.key.side: part_in_sight(pane.canvas.viewport, pane.canvas.extent)
            for pane in reversed(self._panes[:2])
            if not pane.canvas.fitted
        }

    def show_parts(self, parts: Mapping[Side, Part]) -> None:
        """Show parts of the images, and keep them in sight until the user zooms or pans.

        Args:
            parts: those that are left out are shown whole, or follow where views are linked.
        """
        for pane in self._shown_panes():
            part = parts.get(pane.key.side)
            if part is None:
                pane.canvas.fit()
            else:
                pane.canvas.show_part(part)
        if self._models.view.state.linked and len(parts) == 1:
            self._follow(next(pane for pane in self._panes if pane.key.side in parts))

    def zoom_at(self, canvas: ImageCanvas, point_px: api.Point) -> None:
        """Enlarge one pane twice about a point, which comes to its centre."""
        canvas.centre_on(point_px, factor=2.0)
        self._on_moved([pane.canvas for pane in self._panes].index(canvas))

    def fit(self) -> None:
        """Show the whole images."""
        for canvas in self.canvases:
            canvas.fit()
        self._follow(self._panes[self._active])

    def one_to_one(self) -> None:
        """Show one image pixel on one device pixel, in all panes."""
        for canvas in self.canvases:
            canvas.one_to_one()
        self._follow(self._panes[self._active])

    def zoom_by(self, factor: float) -> None:
        """Enlarge all panes about their centres."""
        for canvas in self.canvases:
            canvas.zoom_by(factor)
        self._follow(self._panes[self._active])

    # Making

    def _build(self) -> None:
        names = ["Image A", "Image B"]
        names += [f"Compared descriptor {number}" for number in range(1, len(self._panes) - 1)]
        for pane, name in zip(self._panes, names, strict=True):
            pane.canvas.setAccessibleName(name)
        area = QWidget(self)
        self._area = area
        area.installEventFilter(self)
        self._pane_layout = QGridLayout(area)
        self._pane_layout.setContentsMargins(0, 0, 0, 0)
        self._pane_layout.setSpacing(SPACING_PX)
        for pane in self._panes:
            pane.setParent(area)  # now: a pane that is moved later is not seen at once
            pane.setVisible(not pane.key.compared)
        self._explained.setContentsMargins(0, 0, 4, 0)  # as far from the edge as the headers
        strip = self._strip = in_row(None, (self._legend, 3), self._explained, spacing_px=18)
        for bar in self._bars:
            bar.setMaximumWidth(420)
            strip.addWidget(bar, 2)
        filled = QWidget(self)
        in_column(filled, (area, 1), strip, margins_px=(8, 4, 8, 4), spacing_px=4)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(filled)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._stack)
        self._lines.raise_()

    def _connect_panes(self) -> None:
        self._lines.redrawn.connect(self._on_lines)
        for bar in self._bars:
            bar.pressed.connect(self.colours_requested)
        for index, pane in enumerate(self._panes):
            canvas = pane.canvas
            pane.header.cancel_requested.connect(self._describing.cancel)
            pane.header.range_requested.connect(self.range_requested)
            pane.bar.pressed.connect(self.colours_requested)
            canvas.moved_by_user.connect(lambda index=index: self._on_moved(index))
            canvas.fit_requested.connect(lambda index=index: self._on_fit(index))
            canvas.viewport_changed.connect(lambda: self._refresh_lines(moving=True))
            canvas.installEventFilter(self)
            canvas.set_underlay(partial(self._paint_lines, pane))
            canvas.menu_requested.connect(
                lambda x, y, where, pane=pane: self.menu_requested.emit(
                    pane.key.side, pane.canvas, *self._snapped(pane, x, y), where
                )
            )
            if index >= 2:
                continue  # These panes answer; a probe in one would swap its own image.
            canvas.pointer_moved.connect(lambda x, y, pane=pane: self._on_pointer(pane, x, y))
            canvas.pointer_left.connect(self._probing.leave)
            canvas.clicked.connect(lambda x, y, pane=pane: self._on_click(pane, x, y))
            canvas.region_chosen.connect(
                lambda x, y, width, height, pane=pane: self._probing.pin_region(
                    pane.key.side, x, y, (width, height)
                )
            )
            canvas.pin_pressed.connect(self._models.pins.select)
            canvas.pin_dragged.connect(
                lambda number, x, y, pane=pane: self._on_pin_dragged(pane, number, x, y)
            )
            canvas.pin_dropped.connect(
                lambda number, x, y, pane=pane: self._on_pin_dropped(pane, number, x, y)
            )
            canvas.step_requested.connect(lambda dx, dy, pane=pane: self._on_step(pane, dx, dy))
            canvas.confirm_requested.connect(self._on_confirm)
            canvas.remove_requested.connect(self._on_remove)
            canvas.dismiss_requested.connect(lambda: self._models.pins.select(0))

    def _connect_models(self) -> None:
        models = self._models
        models.pair.changed.connect(self._show_pair)
        models.pair.loading_changed.connect(self._on_loading)
        models.pair.failed.connect(self._empty.set_problem)
        models.view.changed.connect(self._on_view)
        models.settings.changed.connect(self._on_settings)
        models.pictures.changed.connect(self._on_pictures)
        models.engine.changed.connect(self._refresh_headers)
        models.matches.changed.connect(self._on_matches)
        models.probe.moved.connect(self._on_probe)
        models.probe.answered.connect(self._on_answer)
        models.probe.compared.connect(self._on_compared)
        models.pins.changed.connect(self._on_pins)
        models.pins.selected_changed.connect(self._on_pins)
        for maps in models.descriptors:
            maps.choice_changed.connect(self._on_choice)
            maps.status_changed.connect(self._on_status)

    # Models spoke

    def _show_pair(self, state: PairState | None) -> None:
        self._stack.setCurrentIndex(0 if state is None else 1)
        self._empty.set_loading(self._models.pair.loading)
        if state is None:
            return
        self._empty.set_problem("")
        self._take_image("a", state.image_a, state.display_a)
        self._take_image("b", state.image_b, state.display_b)
        self._legend.set_truth(state.truth)
        self._refresh()

    def _take_image(self, side: Side, image: api.Image, display: NDArray[np.uint8]) -> None:
        before = self._images.get(side)
        if before is image:
            return
        self._images[side] = image
        self._photos[side] = Photo(image, display)
        if before is not None and before.samples is image.samples:
            return  # the same image with other black and white points, seen from the same place
        if before is not None and _in_one_video(before, image):
            return
        self._dragged = None
        self._answering = "b"
        for pane in self._panes:
            if pane.key.side == side:
                pane.canvas.fit()

    def _on_loading(self, what: str) -> None:
        self._empty.set_loading(what)
        self._refresh_headers()

    def _on_view(self, state: ViewState) -> None:
        self._refresh()
        if state.linked:
            self._follow(self._panes[self._active])

    def _on_settings(self, settings: Settings) -> None:
        before, self._settings = self._settings, settings
        if settings.looks_like(before):
            return  # what was opened was noted, as with each pair
        self._refresh()
        self._refresh_lines(moving=False)

    def _on_pictures(self, state: PicturesState) -> None:
        before, self._pictures = self._pictures, state
        if state.shows_the_same_as(before):
            self._refresh_headers()
        else:
            self._refresh()

    def _on_choice(self, _choice: DescriptorChoice) -> None:
        self._refresh()

    def _on_status(self, _side: str, _status: MapStatus) -> None:
        self._refresh_headers()

    def _on_matches(self, _state: MatchesState) -> None:
        self._refresh_marks()
        self._refresh_lines(moving=False)

    def _on_probe(self, probe: Probe | None) -> None:
        if probe is not None and other_side(probe.side) != self._answering:
            self._answering = other_side(probe.side)
            self._refresh()
            return
        self._refresh_overlays()
        self._refresh_marks()
        self._refresh_headers()

    def _on_compared(self, descriptor: int, answer: api.ProbeAnswer | None) -> None:
        if descriptor in self._models.numbers:
            self._on_answer(answer)

    def _on_answer(self, _answer: api.ProbeAnswer | None) -> None:
        self._refresh_overlays()
        self._refresh_marks()
        self._refresh_headers()
        self._refresh_scales()

    def _on_pins(self, _pins: tuple[Pin, ...] | int) -> None:
        self._refresh_overlays()
        self._refresh_marks()
        self._refresh_headers()

    # Redrawing

    def _refresh(self) -> None:
        """Bring everything up to date; canvases repaint only what differs."""
        places = range(1, len(self._models.descriptors))
        further = (PaneKey(self._answering, number) for number in places)
        keys = (PaneKey("a"), scene.second_key(self._models), *further)
        for pane, key in zip(self._panes, keys, strict=True):
            pane.key = key
        for pane in self._panes[2:]:
            taken = pane.key.descriptor in self._models.numbers
            if pane.isHidden() == taken:
                pane.setVisible(taken)
        self._arrange()
        self._refresh_photos()
        self._refresh_overlays()
        self._refresh_marks()
        self._refresh_headers()
        self._refresh_scales()
        self._refresh_lines(moving=False)
        self._legend.set_own(self._models.view.state.self_similarity)

    def _arrange(self) -> None:
        """Place the panes so that the images are as large as they can be."""
        shown = self._shown_panes()
        sizes = [image.size_px for image in self._images.values()]
        largest = (
            max((size[0] for size in sizes), default=1),
            max((size[1] for size in sizes), default=1),
        )
        found = best_arrangement(
            len(shown) - 1,
            arrangement=self._models.view.state.arrangement,
            room_px=(self._area.width(), self._area.height()),
            image_px=largest,
            header_px=self._panes[0].header.sizeHint().height(),
        )
        placed = tuple(zip(shown, found.cells, strict=True))
        if placed == self._placed:
            return
        self._placed = placed
        layout = self._pane_layout
        for pane, cell in placed:
            layout.removeWidget(pane)
            layout.addWidget(pane, cell.row, cell.column, cell.rows, cell.columns)
        for column in range(layout.columnCount()):
            layout.setColumnStretch(column, int(column < found.columns))
        for row in range(layout.rowCount()):
            layout.setRowStretch(row, int(row < found.rows))
        layout.activate()

    def _refresh_photos(self) -> None:
        for pane in self._panes:
            before = pane.canvas.photo
            photo = self._photos.get(pane.key.side)
            pane.canvas.set_photo(photo)
            if before is not photo and pane.key.compared:
                self._follow_twins()
            image = self._images.get(pane.key.side)
            if image is not None and not pane.isHidden():
                pane.header.set_image(
                    pane.key.letter,
                    api.image_title(image.path),
                    image.size_px,
                    values=(image.range.words, image.range_words) if image.range_words else None,
                    remarks=image.remarks,
                    brief=self._models.comparing and pane is not self._panes[0],
                )

    def _refresh_overlays(self) -> None:
        for pane in self._shown_panes():
            new = scene.overlay_for(self._models, pane.key, self._store)
            old = pane.canvas.overlay
            if new is not None and old is not None and _same_overlay(new, old):
                continue
            pane.canvas.set_overlay(new)

    def _refresh_marks(self) -> None:
        for pane in self._shown_panes():
            pane.canvas.set_marks(scene.marks_for(self._models, pane.key, dragged=self._dragged))

    def _place_hint(self) -> None:
        """Say what to do until it was done once."""
        models = self._models
        idle = models.maps.ready and models.view.state.mode == "heat" and not models.pins.pins
        shown = idle and self.isVisible() and not models.probe.was_used
        if shown:
            canvas = self._panes[0].canvas
            middle = canvas.mapTo(self, canvas.rect().center())
            self._hint.show_at(QPoint(middle.x(), canvas.mapTo(self, QPoint(0, 0)).y() + 28))
        elif not self._hint.isHidden():
            self._hint.hide()

    def _refresh_headers(self) -> None:
        self._place_hint()
        for pane in self._shown_panes():
            caption = scene.caption_for(self._models, pane.key)
            stage = scene.maps_of(self._models, pane.key).status(pane.key.side).stage
            pane.header.set_caption(caption, can_cancel=stage in ("waiting", "computing"))

    def _refresh_scales(self) -> None:
        models = self._models
        first = scene.scale_for(models, self._panes[0].key)
        second = scene.scale_for(models, self._panes[1].key)
        if (
            first is not None
            and second is not None
            and replace(second, marker=None) == replace(first, marker=None)
        ):
            second = None
        for bar, scale in zip(self._bars, (first, second), strict=True):
            bar.show_scale(scale, models.settings.state.colormap)
        own = scene.has_own_ranges(models)
        for pane in self._shown_panes()[1:]:
            scale = scene.scale_for(models, pane.key) if own else None
            if scale is not None:
                scale = replace(scale, title="Cosine")  # the header above says what is shown
            pane.bar.show_scale(scale, models.settings.state.colormap)
            if pane.bar.isHidden() == own:
                pane.bar.setVisible(own)
        scalar_mode = not own and models.view.state.mode in _SCALAR_MODES
        self._bars[0].setVisible(scalar_mode)
        self._bars[1].setVisible(scalar_mode and second is not None)
        pca = models.pictures.state.pca
        in_colours = models.view.state.mode in ("pca", "overlay")
        showing = in_colours and pca is not None
        policy = self._explained.sizePolicy()
        if policy.retainSizeWhenHidden() != in_colours:
            # The legend stays where it is while the colours of the next pair are made.
            policy.setRetainSizeWhenHidden(in_colours)
            self._explained.setSizePolicy(policy)
        if showing and pca is not None:
            red, green, blue = (f"{100 * share:.0f}" for share in pca.shares)
            total = f"{100 * pca.share_shown:.0f}"
            title = scene.descriptor_title(models, models.maps)
            whose = f"{title}: colours" if models.comparing else "Colours"
            self._explained.setText(
                f"{whose} explain {total} % of the variance: red {red}, green {green}, blue {blue}"
            )
        self._explained.setVisible(showing)
        self._legend.set_states(scene.unseen_states(models))

    def _refresh_lines(self, *, moving: bool) -> None:
        state = self._models.matches.state
        keep = state.shown()
        table = state.table
        ends = self._matched_panes
        if table is None or not keep.any() or ends[1].key.side != "b":
            self._lines.set_lines(np.zeros((0, 4)), None, moving=moving)
            return
        first, second = (pane.canvas for pane in ends)
        segments, seen = line_segments(
            table.points_a[keep],
            table.points_b[keep],
            first.viewport,
            second.viewport,
            self._box_of(first),
            self._box_of(second),
        )
        verdicts = state.verdicts(self._models.settings.state.correct_px)
        if verdicts is not None:
            verdicts = verdicts[keep][seen]
        boxes = (self._box_of(first), self._box_of(second))
        others: list[QWidget] = [pane for pane in self._shown_panes() if pane not in ends]
        level = boxes[0].top == boxes[1].top
        if others or not level:  # then lines cross headers, and would hide names
            others += [part for pane in ends for part in (pane.header, pane.bar)]
        behind = tuple(self._box_of(one) for one in others if not one.isHidden())
        self._lines.set_lines(segments[seen], verdicts, boxes, behind, moving=moving)

    @property
    def _matched_panes(self) -> tuple[ImagePane, ImagePane]:
        """Those between which matches are drawn: the query's, and the one of what matched."""
        return self._panes[0], self._panes[1 + self._models.matches.state.descriptor]

    def _on_lines(self) -> None:
        for pane in self._shown_panes():
            pane.canvas.update()

    def _paint_lines(self, pane: ImagePane, painter: QPainter, part: QRectF) -> None:
        if pane in self._matched_panes:
            self._lines.paint_part(painter, part, pane.canvas.mapTo(self, QPoint(0, 0)))

    def _box_of(self, widget: QWidget) -> Box:
        corner = widget.mapTo(self, QPoint(0, 0))
        return Box(corner.x(), corner.y(), widget.width(), widget.height())

    def _shown_panes(self) -> tuple[ImagePane, ...]:
        numbers = self._models.numbers
        return (self._panes[0], *(self._panes[1 + number] for number in numbers))

    # Zoom and pan

    def _on_moved(self, index: int) -> None:
        self._active = index
        self._follow(self._panes[index])

    def _on_fit(self, index: int) -> None:
        self._active = index
        # The first click of this double click pinned; that was not meant.
        for pin in self._models.pins.pins:
            if pin.number not in self._pins_before_click:
                self._probing.remove_pin(pin.number)
        panes = self._shown_panes() if self._models.view.state.linked else (self._panes[index],)
        for pane in panes:
            pane.canvas.fit()
        self._follow(self._panes[index])

    def _follow(self, source: ImagePane) -> None:
        """Move the other panes: linked ones, and those that show the same image."""
        state = self._models.pair.state
        if state is None or source.canvas.photo is None:
            return
        for pane in self._shown_panes():
            further = pane.key.compared or source.key.compared
            twins = pane.key.side == source.key.side and further
            if pane is source or not (self._models.view.state.linked or twins):
                continue
            self._link(source, pane, state)
        self._follow_twins()

    def _follow_twins(self) -> None:
        """Show in the further panes the part that the first pane with the same image shows."""
        state = self._models.pair.state
        for pane in self._shown_panes():
            if state is None or not pane.key.compared:
                continue
            twin = next((one for one in self._panes[:2] if one.key.side == pane.key.side), None)
            if twin is not None:
                self._link(twin, pane, state)

    def _link(self, source: ImagePane, pane: ImagePane, state: PairState) -> None:
        if source.canvas.photo is None or pane.canvas.photo is None:
            return
        if source.canvas.fitted:
            pane.canvas.fit()
            return
        same = source.key.side == pane.key.side
        pane.canvas.set_viewport(
            linked(
                source.canvas.viewport,
                source.canvas.photo.size_px,
                source.canvas.extent,
                pane.canvas.photo.size_px,
                pane.canvas.extent,
                partial(by_homography, np.eye(3)) if same else self._carry(source, state),
            )
        )

    def _carry(self, source: ImagePane, state: PairState) -> Carry | None:
        """How the truth carries points of a pane's image into the other image."""
        side, truth, canvas = source.key.side, state.truth, source.canvas
        if truth is None:
            return None
        matrix = truth.matrix_from(side)
        if matrix is not None:
            return partial(by_homography, matrix)
        reach_px = min(canvas.width(), canvas.height()) / 2 / canvas.viewport.scale
        return partial(by_truth, truth, side, reach_px)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the lines over all panes."""
        super().resizeEvent(event)
        self._lines.setGeometry(self.rect())

    def eventFilter(self, watched: object, event: QEvent) -> bool:
        """Follow panes and canvases that move, and remember which pins stood before a click."""
        if watched is self._area and event.type() == QEvent.Type.Resize:
            abreast = self._area.width() >= _ABREAST_PX
            ways = QBoxLayout.Direction
            self._strip.setDirection(ways.LeftToRight if abreast else ways.TopToBottom)
            self._strip.setSpacing(18 if abreast else 2)
            self._arrange()
        if isinstance(watched, ImageCanvas):
            if event.type() == QEvent.Type.MouseButtonPress:
                pins = self._models.pins.pins
                self._pins_before_click = frozenset(pin.number for pin in pins)
            elif event.type() in (QEvent.Type.Move, QEvent.Type.Resize, QEvent.Type.Show):
                self._refresh_lines(moving=True)
                self._place_hint()
            elif event.type() == QEvent.Type.FocusIn:
                self._active = next(
                    index for index, pane in enumerate(self._panes) if pane.canvas is watched
                )
        return False

    # Pointer and keys

    def _on_pointer(self, pane: ImagePane, x: float, y: float) -> None:
        self._probing.hover(pane.key.side, *self._snapped(pane, x, y))

    def _on_click(self, pane: ImagePane, x: float, y: float) -> None:
        self._probing.pin(pane.key.side, *self._snapped(pane, x, y))

    def _snapped(self, pane: ImagePane, x: float, y: float) -> api.Point:
        """The listed point that is near on the screen, else the point itself."""
        state = self._models.pair.state
        if state is None or state.truth is None:
            return x, y
        radius_px = _SNAP_PX / pane.canvas.viewport.scale
        return api.snap(state.truth, pane.key.side, (x, y), radius_px)

    def _on_pin_dragged(self, pane: ImagePane, number: int, x: float, y: float) -> None:
        place = self._snapped(pane, x, y)
        self._dragged = (number, place)
        self._refresh_marks()
        self._probing.hover(pane.key.side, *place)

    def _on_pin_dropped(self, pane: ImagePane, number: int, x: float, y: float) -> None:
        self._dragged = None
        self._probing.move_pin(number, pane.key.side, *self._snapped(pane, x, y))
        self._refresh_marks()

    def _on_step(self, pane: ImagePane, dx: float, dy: float) -> None:
        pin = scene.selected_pin(self._models)
        probe = self._models.probe.probe
        if pin is not None:
            side, (x, y) = pin.probe.side, pin.probe.point_px
        elif probe is not None:
            side, (x, y) = probe.side, probe.point_px
        else:
            canvas = pane.canvas
            side = pane.key.side
            x, y = canvas.viewport.to_image((canvas.width() / 2, canvas.height() / 2))
            x, y = round(x), round(y)
        image = self._images.get(side)
        if image is None:
            return
        point_px = clamped((x + dx, y + dy), image.size_px)
        if pin is not None:
            self._probing.move_pin(pin.number, side, *point_px)
        self._probing.hover(side, *point_px)

    def _on_confirm(self) -> None:
        probe = self._models.probe.probe
        if probe is not None:
            self._probing.pin(probe.side, *probe.point_px)

    def _on_remove(self) -> None:
        if self._models.pins.selected:
            self._probing.remove_pin(self._models.pins.selected)

    # Dropping

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        self._offer(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        self._offer(event)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._banner.hide()
        event.accept()

    def dropEvent(self, event: QDropEvent) -> None:
        self._banner.hide()
        paths = _dropped_paths(event.mimeData().urls())
        plan = plan_drop(paths, self._side_at(event.position().toPoint()))
        if plan.kind == "refused":
            event.ignore()
            return
        event.acceptProposedAction()
        self._opening.open_paths(paths, plan.side)

    def drop_text(self, plan: DropPlan) -> str:
        """What a drop will do, as a sentence."""
        match plan.kind, plan.side:
            case "image", "a" | "b":
                text = (
                    "Drop: replaces image {side}"
                    if self._models.pair.state is not None
                    else "Drop: opens as image {side}"
                )
                return text.format(side=plan.side.upper())
            case "image", _:
                return "Drop: opens as image A"
            case "pair", _:
                return "Drop two images: opens as a pair"
            case "folder", _:
                return "Drop a folder: opens as a set of pairs"
            case "video", _:
                return "Drop a video: its frames become image B"
            case "session", _:
                return "Drop: opens this session"
            case "truth", _:
                return "Drop: becomes the truth of this pair, or opens as a list of pairs"
        return "Only images, one folder, a session, or a file with pairs or truth can be opened"

    def _offer(self, event: QDragMoveEvent) -> None:
        paths = _dropped_paths(event.mimeData().urls())
        place = event.position().toPoint()
        plan = plan_drop(paths, self._side_at(place))
        self._banner.setGeometry(self._banner_rect(plan))
        self._banner.say(self.drop_text(plan), refused=plan.kind == "refused")
        if plan.kind == "refused":
            event.ignore()
        else:
            event.acceptProposedAction()

    def _banner_rect(self, plan: DropPlan) -> QRect:
        if plan.kind == "image" and self._models.pair.state is not None:
            for pane in self._panes[:2]:
                if pane.key.side == plan.side:
                    return QRect(pane.mapTo(self, QPoint(0, 0)), pane.size())
        return self.rect()

    def _side_at(self, place: QPoint) -> Side | Literal[""]:
        if self._models.pair.state is None:
            return ""
        for pane in self._shown_panes():
            if QRect(pane.mapTo(self, QPoint(0, 0)), pane.size()).contains(place):
                return pane.key.side
        return ""


def _in_one_video(before: api.Image, after: api.Image) -> bool:
    """Whether two images are frames of one video, which is watched from one place."""
    return before.path.parent == after.path.parent and api.is_frame(after.path)


def _same_overlay(one: Overlay, other: Overlay) -> bool:
    return (one.picture, one.extent, one.opacity, one.muted, one.live) == (
        other.picture,
        other.extent,
        other.opacity,
        other.muted,
        other.live,
    )


def _dropped_paths(urls: list[QUrl]) -> list[Path]:
    """The dropped files; none where one of the addresses is no file of this computer."""
    found = read_urls(urls)
    return [] if found.foreign else list(found.paths)
