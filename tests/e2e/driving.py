"""Drives the real window as a user would: pointer, clicks, drops, and waiting until it rests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PySide6.QtCore import QCoreApplication, QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QMouseEvent
from PySide6.QtWidgets import QApplication

from descgui.app import Application
from descgui.views.canvas import ImageCanvas

SIZE_PX = (200, 150)
H_B_FROM_A = np.array([[0.98, -0.06, 8.0], [0.07, 0.97, -3.0], [0.0, 0.0, 1.0]])
WAIT_MS = 30_000


def picture(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth random texture: every place looks different."""
    noise = np.random.default_rng(seed).random((SIZE_PX[1], SIZE_PX[0], 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return (255 * smooth).astype(np.uint8)


Open = Callable[..., Application]


def close(qtbot: Any, window: Application) -> None:
    if not window.closed:
        with qtbot.waitSignal(window.finished, timeout=WAIT_MS):
            window.end(0)


def dispose(qtbot: Any, windows: list[Application]) -> None:
    """Close windows and delete all their widgets: Qt styles every widget anew for each window."""
    for window in windows:
        close(qtbot, window)
        window.window.deleteLater()
        window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def at_rest(window: Application) -> bool:
    return window.models.engine.state.stage == "ready" and not window.busy


def wait_rest(qtbot: Any, window: Application) -> None:
    qtbot.waitUntil(lambda: at_rest(window), timeout=WAIT_MS)


def open_ready(qtbot: Any, open_window: Open, *images: Path, **options: Any) -> Application:
    """A window whose pair is described."""
    window = open_window(*images, **options)
    qtbot.waitUntil(lambda: window.models.maps.ready, timeout=WAIT_MS)
    wait_rest(qtbot, window)
    return window


def to_widget(canvas: ImageCanvas, point_px: tuple[float, float]) -> QPoint:
    position = canvas.viewport.to_widget(point_px)
    return QPoint(round(position[0]), round(position[1]))


def move_to(canvas: ImageCanvas, point_px: tuple[float, float]) -> tuple[float, float]:
    """Move the pointer there; returns the point it really hit, since the mouse counts pixels."""
    where = QPointF(to_widget(canvas, point_px))
    event = QMouseEvent(
        QEvent.Type.MouseMove, where, canvas.mapToGlobal(where), Qt.MouseButton.NoButton,
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(canvas, event)
    return canvas.viewport.to_image((where.x(), where.y()))


def hover(qtbot: Any, window: Application, pane: int, point_px: tuple[float, float]) -> Any:
    """Move over one pane and wait for the answer to that very point."""
    hit = move_to(window.pair_view.canvases[pane], point_px)
    models = window.models

    def answered() -> bool:
        answer = models.probe.answer
        return answer is not None and np.allclose(answer.request.point_px, hit)

    qtbot.waitUntil(answered, timeout=WAIT_MS)
    return models.probe.answer


def click(qtbot: Any, canvas: ImageCanvas, point_px: tuple[float, float]) -> None:
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=to_widget(canvas, point_px))


def drop(window: Application, paths: list[Path], pane: int = 0) -> None:
    """Drop files on a pane, as a file manager does."""
    view = window.pair_view
    canvas = view.canvases[pane]
    where = QPointF(canvas.mapTo(view, canvas.rect().center()))
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    common = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton)
    bare = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(view, QDragEnterEvent(where.toPoint(), *common, bare))
    QApplication.sendEvent(view, QDropEvent(where, *common, bare))
