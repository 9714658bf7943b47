"""The window's icons: our own SVG files, drawn in the colours of the palette and of its theme.

An icon is an SVG file in ``resources/icons`` on a 20×20 grid whose strokes are ``currentColor``.
It is rendered in the sizes that the connected screens need, enabled and disabled.  A ``QIcon``
keeps its pictures, so after a change of theme :func:`retint_icons` finds each icon by its cache
key and replaces it on every button and action.
"""

from __future__ import annotations

import logging
import math
from functools import cache

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QAction, QColor, QGuiApplication, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton, QApplication, QTabBar

from engine.api import data_dir

logger = logging.getLogger(__name__)

_SIZES = (16, 20)  # of menus and tool bars, in device-independent pixels

_ICONS: dict[tuple[str, str, str], QIcon] = {}
_NAMES: dict[int, str] = {}


def icon(name: str) -> QIcon:
    """An icon in the current palette's colours; blank if there is no such file.

    Args:
        name: file name in ``resources/icons`` without its ending, such as ``"open-folder"``.
    """
    palette = QGuiApplication.palette()
    enabled = palette.color(QPalette.ColorGroup.Active, QPalette.ColorRole.ButtonText)
    disabled = palette.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.ButtonText)
    key = (name, _name_of(enabled), _name_of(disabled))
    if key not in _ICONS:
        made = QIcon()
        for size_px in _sizes_px():
            size = QSize(size_px, size_px)
            picture = icon_pixmap(name, size, enabled)
            made.addPixmap(picture, QIcon.Mode.Normal)
            # Without a picture of its own, Qt would tint that of a selected row.
            made.addPixmap(picture, QIcon.Mode.Selected)
            made.addPixmap(_tinted(picture, disabled), QIcon.Mode.Disabled)
        _ICONS[key] = made
        _NAMES[made.cacheKey()] = name
    return _ICONS[key]


def icon_pixmap(name: str, size: QSize, color: QColor, *, ratio: float = 1.0) -> QPixmap:
    """One picture of an icon in any colour, such as that of a warning.

    Args:
        name: as for :func:`icon`.
        size: in device-independent pixels.
        color: of all strokes; its alpha counts.
        ratio: device pixels per device-independent pixel.
    """
    pixmap = QPixmap(size * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    source = _source(name)
    if source:
        painter = QPainter(pixmap)
        painter.setOpacity(color.alphaF())
        tinted = source.replace(b"currentColor", color.name().encode())
        QSvgRenderer(QByteArray(tinted)).render(painter, QRectF(0, 0, size.width(), size.height()))
        painter.end()
    return pixmap


def app_icon() -> QIcon:
    """The icon of the application, in its own colours."""
    made = QIcon()
    for size_px in (16, 24, 32, 48, 64, 128, 256):
        made.addPixmap(icon_pixmap("app", QSize(size_px, size_px), QColor(0, 0, 0)))
    return made


def icon_name(shown: QIcon) -> str:
    """The name under which :func:`icon` made an icon; "" for icons from elsewhere."""
    return _NAMES.get(shown.cacheKey(), "")


def retint_icons() -> None:
    """Redraw the icons of all buttons, tabs and actions in the current palette."""
    for widget in QApplication.allWidgets():
        if isinstance(widget, QAbstractButton):
            _retint(widget)
        elif isinstance(widget, QTabBar):
            for index in range(widget.count()):
                if name := icon_name(widget.tabIcon(index)):
                    widget.setTabIcon(index, icon(name))
        for action in widget.actions():
            _retint(action)


def _retint(owner: QAbstractButton | QAction) -> None:
    name = icon_name(owner.icon())
    if name:
        owner.setIcon(icon(name))


def _tinted(picture: QPixmap, color: QColor) -> QPixmap:
    """The same shape in another colour; cheaper than drawing it again."""
    result = QPixmap(picture)
    painter = QPainter(result)
    painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceIn)
    painter.fillRect(result.rect(), color)
    painter.end()
    return result


def _sizes_px() -> list[int]:
    """Sizes to draw: for ordinary screens, the finest one connected, and one finer still."""
    finest = max((screen.devicePixelRatio() for screen in QGuiApplication.screens()), default=1.0)
    exact = {math.ceil(size * ratio) for size in _SIZES for ratio in (1.0, finest)}
    return sorted(exact | {2 * _SIZES[-1]})


def _name_of(color: QColor) -> str:
    return color.name(QColor.NameFormat.HexArgb)


@cache
def _source(name: str) -> bytes:
    try:
        return (data_dir("resources") / "icons" / f"{name}.svg").read_bytes()
    except OSError:
        logger.warning("there is no icon %r", name)
        return b""
