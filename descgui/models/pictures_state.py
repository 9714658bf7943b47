"""Pictures computed from the maps: PCA colours, warped images, cycle errors, winning members."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from engine.api import PcaAnswer, ScalarMap, WinnersAnswer


@dataclass(frozen=True, slots=True, eq=False)
class PicturesState:
    """What has been computed for the open pair; None where it has not.

    Attributes:
        pca: colours of the shown descriptor.
        pca_compared: colours of the compared descriptor.
        cycle_a, cycle_b: A→B→A error at each cell of image a, and the other way round, in px.
        winners: winning set members over image a.
        warped_b: image b warped onto image a, ``(H, W, 3)`` uint8.
        warped_a: image a warped onto image b.
        busy: what is being computed, "" when nothing is.
        problem: one sentence why the picture of the present mode is missing, "" when it is not.
    """

    pca: PcaAnswer | None = None
    pca_compared: PcaAnswer | None = None
    cycle_a: ScalarMap | None = None
    cycle_b: ScalarMap | None = None
    winners: WinnersAnswer | None = None
    warped_b: NDArray[np.uint8] | None = None
    warped_a: NDArray[np.uint8] | None = None
    busy: str = ""
    problem: str = ""


class PicturesModel(QObject):
    """Holds :class:`PicturesState`.

    Signals:
        changed(PicturesState): after every change.
    """

    changed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = PicturesState()

    @property
    def state(self) -> PicturesState:
        """The present pictures."""
        return self._state

    def update(self, **changes: Any) -> None:
        """Change some pictures; silent when every one is the same as before."""
        if all(getattr(self._state, name) is value for name, value in changes.items()):
            return
        self._state = replace(self._state, **changes)
        self.changed.emit(self._state)

    def clear(self) -> None:
        """Forget all pictures: another pair or another descriptor."""
        self._state = PicturesState()
        self.changed.emit(self._state)
