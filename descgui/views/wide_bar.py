"""A bar as wide as the window with one row, which is as high as its words need."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QMainWindow, QSizePolicy, QToolBar, QWidget

_WIDTH_PX: Final = 600
_LEAST_WIDTH_PX: Final = 300


class WideRow(QFrame):
    """A row whose height follows from its width, as its sentences wrap.

    Args:
        least_height_px: it is never lower.

    Signals:
        resized(): it needs another height.
    """

    resized = Signal()

    def __init__(self, parent: QWidget | None = None, *, least_height_px: int = 0) -> None:
        super().__init__(parent)
        self._least_height_px = least_height_px
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def fit(self) -> None:
        """Take the height that the content needs at the present width."""
        layout = self.layout()
        assert layout is not None
        layout.invalidate()
        height = max(layout.totalHeightForWidth(self.width()), self._least_height_px)
        if height != self.height():
            self.setFixedHeight(height)
            self.resized.emit()

    def sizeHint(self) -> QSize:
        return QSize(_WIDTH_PX, self.height())

    def minimumSizeHint(self) -> QSize:
        return QSize(_LEAST_WIDTH_PX, self.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Be as high as the wrapped sentence."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.fit()


class WideBar(QToolBar):
    """The bar.

    Args:
        title: of the bar, for who cannot see it.
        name: its object name.
        row: what it holds.
        window: gets the bar.
    """

    def __init__(self, title: str, name: str, row: WideRow, window: QMainWindow) -> None:
        super().__init__(title, window)
        self._window, self._row = window, row
        self.setObjectName(name)
        self.setMovable(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        row.resize(window.width(), row.height())
        self.addWidget(row)
        layout = self.layout()
        if layout is not None:
            layout.setContentsMargins(0, 0, 0, 0)
        # While the window is laid out, asking for it again has no effect.
        self._again = QTimer(self, singleShot=True, interval=0)
        self._again.timeout.connect(self._make_room)
        row.resized.connect(self._make_room)
        row.resized.connect(self._again.start)

    def settle(self) -> None:
        """Lay the window out now: a pointer event must not meet panes that are about to move."""
        layout = self._window.layout()
        if layout is not None:
            layout.activate()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the row as wide as the bar."""
        super().resizeEvent(event)
        self._row.setMinimumWidth(self.width())

    def _make_room(self) -> None:
        layout = self.layout()
        if layout is not None:
            layout.invalidate()
        self.updateGeometry()
        self.settle()
