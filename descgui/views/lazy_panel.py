"""A panel that is made once it is shown, in pieces, so that neither start nor click wait for it."""

from __future__ import annotations

from collections.abc import Callable, Generator

from PySide6.QtCore import QSize, QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from descgui.views.panel_parts import in_column

Making = Generator[None, None, QWidget]
"""The steps that make a panel, each short; it returns the panel."""


class LazyPanel(QWidget):
    """Holds the place of a panel, and makes it once.

    Each step of the making is a turn of the event loop of its own, so that the place is painted and
    events are answered meanwhile.

    Args:
        make: makes the panel; started at most once, unless it failed.
        size_px: (width, height) of the panel if there is room.
        least_px: (width, height) below which it cannot be used.
    """

    def __init__(
        self,
        make: Callable[[], Making],
        *,
        size_px: tuple[int, int],
        least_px: tuple[int, int],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._make = make
        self._size, self._least = QSize(*size_px), QSize(*least_px)
        self._making: Making | None = None
        self._content: QWidget | None = None
        self._next = QTimer(self, singleShot=True, interval=0)
        self._next.timeout.connect(self._on_next)

    @property
    def is_made(self) -> bool:
        """Whether the panel exists yet."""
        return self._content is not None

    @property
    def content(self) -> QWidget:
        """The panel; what is left of its making is done now."""
        while self._content is None:
            self._advance()
        return self._content

    def sizeHint(self) -> QSize:
        return self._size

    def minimumSizeHint(self) -> QSize:
        return self._least

    def showEvent(self, event: QShowEvent) -> None:
        """Begin to make the panel once its place has been painted."""
        super().showEvent(event)
        if not self.is_made:
            self._next.start()

    def _on_next(self) -> None:
        if not self.is_made:
            self._advance()
            self._next.start()

    def _advance(self) -> None:
        """Do the next step of the making."""
        if self._making is None:
            self._making = self._make()
        try:
            next(self._making)
        except StopIteration as end:
            self._content = end.value
            in_column(self, self._content)
            self.setFocusProxy(self._content)
            self._content.show()  # the layout would do so in a later turn
        except BaseException:
            self._making = None
            raise
