"""What a right click on an image offers about the point below it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu, QWidget

from descgui.models.bundle import AppModels
from descgui.views.icons import icon
from descgui.views.ports import Probing, Truths
from engine import api
from engine.api import Side


def image_menu(
    models: AppModels,
    side: Side,
    point_px: api.Point,
    *,
    probing: Probing,
    truths: Truths,
    zoom_here: Callable[[], None],
    save: Callable[[], None],
    parent: QWidget,
) -> QMenu:
    """The menu of a point.

    Args:
        models: all of the window.
        side: the image.
        point_px: the point in its original pixels.
        probing: pins it.
        truths: takes it as the true match of a pin.
        zoom_here: enlarges the pane about the point.
        save: saves what the pane shows.
        parent: owns the menu.
    """
    menu = QMenu(parent)
    where = coordinates_text(point_px)
    values = values_text(models, side, point_px)
    heading = menu.addAction(f"{side.upper()}  {where}")
    heading.setEnabled(False)
    menu.addSeparator()

    def add(name: str, text: str, act: Callable[[], object]) -> None:
        action = menu.addAction(icon(name), text)
        action.triggered.connect(lambda _checked=False: act())

    clipboard = QGuiApplication.clipboard()
    add("copy", "Copy &coordinates", lambda: clipboard.setText(where))
    add("copy", f"Copy &values ({values})", lambda: clipboard.setText(values))
    menu.addSeparator()
    add("pin", "&Pin here", lambda: probing.pin(side, *point_px))
    selected = next((one for one in models.pins.pins if one.number == models.pins.selected), None)
    if selected is not None and selected.probe.side != side:
        text = f"Use as &true match of pin {selected.number}"
        other = selected.probe.point_px
        points = (other, point_px) if side == "b" else (point_px, other)
        add("truth", text, lambda: truths.use_point(*points))
    else:
        action = menu.addAction(icon("truth"), "Use as &true match of a pin")
        action.setEnabled(False)
        action.setToolTip("Select a pin in the other image first")
        menu.setToolTipsVisible(True)
    menu.addSeparator()
    add("zoom-in", "&Zoom here", zoom_here)
    add("export-image", "&Save view…", save)
    return menu


def coordinates_text(point_px: api.Point) -> str:
    """A point as people paste it: ``300.5, 200``."""
    return ", ".join(f"{value:.2f}".rstrip("0").rstrip(".") for value in point_px)


def values_text(models: AppModels, side: Side, point_px: api.Point) -> str:
    """The values of the nearest pixel as the file has them, separated by commas; "" if none."""
    state = models.pair.state
    if state is None:
        return ""
    samples = (state.image_a if side == "a" else state.image_b).samples
    column, row = (round(value) for value in point_px)
    if not (0 <= row < samples.shape[0] and 0 <= column < samples.shape[1]):
        return ""
    return ", ".join(f"{value:g}" for value in np.atleast_1d(samples[row, column]).tolist())
