"""Drawings as the bytes of a file, and files that are written whole or not at all."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QRect, QSaveFile, QSize
from PySide6.QtGui import QFontInfo, QGuiApplication, QImage, QImageWriter, QPainter
from PySide6.QtSvg import QSvgGenerator

_SVG_DPI: Final = 96


def png_bytes(picture: QImage) -> bytes | None:
    """A picture as PNG; None if it cannot be encoded."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not QImageWriter(buffer, QByteArray(b"PNG")).write(picture):
        return None
    return bytes(buffer.data().data())


def svg_bytes(
    size_px: QSize, paint: Callable[[QPainter], None], *, title: str, description: str = ""
) -> bytes:
    """What ``paint`` draws from (0, 0) to ``size_px`` as SVG that names the font really used."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setResolution(_SVG_DPI)
    generator.setSize(size_px)
    generator.setViewBox(QRect(0, 0, size_px.width(), size_px.height()))
    generator.setTitle(title)
    if description:  # else Qt's own stays
        generator.setDescription(description)
    painter = QPainter(generator)
    paint(painter)
    painter.end()
    # Qt writes its own word for the default font, which other programs do not know.
    family = html.escape(QFontInfo(QGuiApplication.font()).family())
    named = f'font-family="{family}, sans-serif"'.encode()
    return re.sub(rb'font-family="[^"]*"', lambda _found: named, bytes(buffer.data().data()))


def write_whole(path: Path, data: bytes) -> None:
    """Write all of a file or nothing: an existing one is replaced only by a whole new one.

    Raises:
        OSError: it cannot be written; its text is the reason alone.
    """
    file = QSaveFile(str(path))
    if (
        not file.open(QIODevice.OpenModeFlag.WriteOnly)
        or file.write(data) != len(data)
        or not file.commit()
    ):
        raise OSError(file.errorString())
