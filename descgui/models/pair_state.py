"""Which pair is open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from engine import api


@dataclass(frozen=True, slots=True, eq=False)
class PairState:
    """The open pair with its decoded images; both images are present or there is no pair.

    Attributes:
        display_a, display_b: ``(H, W, 3)`` uint8 pictures that the panes draw, shrunk where an
            image is very large.
        truth: that of the pair, opened; None where nothing is known.
        truth_text: what names its files to ``--truth``; "" where the set of pairs gives it, or it
            is in memory alone.
    """

    pair: api.ImagePair
    image_a: api.Image
    image_b: api.Image
    display_a: NDArray[np.uint8]
    display_b: NDArray[np.uint8]
    truth: api.Truth | None = None
    truth_text: str = ""


class PairModel(QObject):
    """The open pair, and whether another is being opened.

    Signals:
        changed(PairState): another pair, or another truth for the same pair.
        loading_changed(str): what is being opened; "" when done.
        failed(str): one sentence; the previous pair stays open.
    """

    changed = Signal(object)
    loading_changed = Signal(str)
    failed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state: PairState | None = None
        self._loading = ""

    @property
    def state(self) -> PairState | None:
        """The open pair, None before the first one."""
        return self._state

    @property
    def loading(self) -> str:
        """What is being opened, "" when nothing is."""
        return self._loading

    def set_loading(self, what: str) -> None:
        """Say that ``what`` is being opened ("" when done)."""
        if what != self._loading:
            self._loading = what
            self.loading_changed.emit(what)

    @property
    def folder(self) -> Path:
        """Where file dialogs start: beside the open pair, or in the home folder."""
        return self._state.pair.path_a.parent if self._state is not None else Path.home()

    def set_pair(self, state: PairState) -> None:
        """Show another pair."""
        self._state = state
        self.changed.emit(state)

    def report_failure(self, sentence: str) -> None:
        """Say why a pair could not be opened; what is open stays."""
        self.failed.emit(sentence)
