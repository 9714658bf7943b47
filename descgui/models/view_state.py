"""How the pair is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from engine.api import Colormap, ViewMode

PcaFit = Literal["both", "a", "b", "file"]


@dataclass(frozen=True, slots=True)
class ViewState:
    """How the pair is shown.

    Attributes:
        mode: image; pca (opaque colours); overlay (colours over the image); heat (the probe's
            similarity over the other image); warp (one image warped onto the other); cycle (map
            of the A→B→A error); members (which member of a set won).
        opacity: of colours and heat over the image, 0 to 1.
        linked: both panes share pan and zoom, through the homography where one is known.
        blink: in warp mode, show the other image instead of the blend.
        colormap: of all scalar maps.
        heat_low, heat_high: cosine range of the heat map's colours.
        heat_auto: fit that range to every probe instead (a compared descriptor then shares it).
        pca_fit: which images the PCA basis is fitted on.
        pca_level: which member of a set PCA shows.
        stacked: panes above one another instead of side by side.
    """

    mode: ViewMode = "heat"
    opacity: float = 0.65
    linked: bool = False
    blink: bool = False
    colormap: Colormap = "viridis"
    heat_low: float = 0.0
    heat_high: float = 1.0
    heat_auto: bool = True
    pca_fit: PcaFit = "both"
    pca_level: int = 0
    stacked: bool = False


class ViewModel(QObject):
    """Holds :class:`ViewState`.

    Signals:
        changed(ViewState): after every real change.
    """

    changed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = ViewState()

    @property
    def state(self) -> ViewState:
        """The present state."""
        return self._state

    def update(self, **changes: Any) -> None:
        """Change some fields; silent when nothing changes."""
        new = replace(self._state, **changes)
        if new != self._state:
            self._state = new
            self.changed.emit(new)
