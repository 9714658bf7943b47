"""Which descriptor is chosen, and how far its maps are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from engine import api
from engine.api import Side

MapStage = Literal["none", "waiting", "computing", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class DescriptorChoice:
    """A chosen descriptor, before torch has checked it.

    Attributes:
        name: registered name; "" for none (no comparison).
        values: settings that differ from the defaults.
        map_files: map files of image a and b, for precomputed maps.
    """

    name: str = ""
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    map_files: tuple[Path, Path] | None = None


@dataclass(frozen=True, slots=True)
class MapStatus:
    """How far the maps of one image are.

    Attributes:
        stage: where the work stands.
        fraction: done share while computing, None when unknown.
        phase: what is being done while computing, such as "voting for members".
        info: facts about the finished maps.
        message: why it failed, as one sentence.
    """

    stage: MapStage = "none"
    fraction: float | None = None
    info: api.MapInfo | None = None
    message: str = ""
    phase: str = ""


class MapsModel(QObject):
    """One descriptor's choice and the status of its maps of both images.

    The window has one for the shown descriptor and one for each beside it.

    Signals:
        choice_changed(DescriptorChoice): another descriptor or other settings.
        status_changed(str, MapStatus): side "a" or "b" and its new status.
        preparing_changed(float): share of a network's other layers that is described; None while
            none are being described.
    """

    choice_changed = Signal(object)
    status_changed = Signal(str, object)
    preparing_changed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._choice = DescriptorChoice()
        self._status: dict[Side, MapStatus] = {"a": MapStatus(), "b": MapStatus()}

    @property
    def choice(self) -> DescriptorChoice:
        """The chosen descriptor."""
        return self._choice

    def status(self, side: Side) -> MapStatus:
        """How far the maps of one image are."""
        return self._status[side]

    @property
    def ready(self) -> bool:
        """True when both images are described."""
        return all(status.stage == "ready" for status in self._status.values())

    def choose(self, choice: DescriptorChoice) -> None:
        """Choose a descriptor; silent when nothing changes."""
        if choice != self._choice:
            self._choice = choice
            self.choice_changed.emit(choice)

    def set_status(self, side: Side, status: MapStatus) -> None:
        """Set the status of one side; silent when nothing changes."""
        if status != self._status[side]:
            self._status[side] = status
            self.status_changed.emit(side, status)

    def set_preparing(self, share: float | None) -> None:
        """Tell how many of a network's other layers are described."""
        self.preparing_changed.emit(share)
