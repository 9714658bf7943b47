"""A panel that is made when it is first shown, so that the window's start need not wait for it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from descgui.views.panel_parts import in_column


class LazyPanel(QWidget):
    """Holds the place of a panel, and makes it once.

    Args:
        make: makes the panel; called at most once, before it is shown.
    """

    def __init__(self, make: Callable[[], QWidget], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._make = make
        self._content: QWidget | None = None

    @property
    def is_made(self) -> bool:
        """Whether the panel exists yet."""
        return self._content is not None

    @property
    def content(self) -> QWidget:
        """The panel, made now if need be."""
        if self._content is None:
            self._content = self._make()
            in_column(self, self._content)
            self.setFocusProxy(self._content)
        return self._content

    def showEvent(self, event: QShowEvent) -> None:
        """Make the panel before it is seen."""
        _ = self.content
        super().showEvent(event)
