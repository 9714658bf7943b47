"""Lists the networks that can be opened by name, and opens them."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.maps_controller import MapsController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice, MapsModel
from descgui.models.messages import Failure
from descgui.models.networks_state import NetworksState
from descgui.workers.lane import JobLane
from engine import api


class NetworksController(QObject):
    """Asks the libraries for their models once somebody wants to choose one."""

    def __init__(
        self,
        models: AppModels,
        engine: EngineController,
        maps: MapsController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._engine = engine
        self._maps = maps
        self._wanted = False
        self.lane = JobLane(models.messages.report, self)
        engine.ready.connect(self._engine_ready)

    def list(self) -> None:
        """Make the list, unless it is there; as soon as torch is loaded."""
        if self._models.networks.state.stage in ("loading", "ready"):
            return
        self._models.networks.set(NetworksState("loading"))
        self._wanted = self._engine.session is None
        if not self._wanted:
            self._submit()

    def open(self, model: MapsModel, name: str) -> None:
        """Describe by a network from now on, shown or compared."""
        self._maps.choose(model, DescriptorChoice(name))

    def open_file(self, model: MapsModel, path: Path) -> None:
        """Open a network that is a file or a folder."""
        try:
            name = self._models.networks.state.list.name_of(path)
        except api.ConfigError as error:
            self._models.messages.notify(f"{error.reason}.", "error")
        else:
            self.open(model, name)

    def star(self, name: str, starred: bool) -> None:
        """Keep a network among the favourites, or no longer."""
        others = tuple(one for one in self._models.settings.state.favourite_networks if one != name)
        self._models.settings.update(favourite_networks=(*others, name) if starred else others)

    def _engine_ready(self) -> None:
        if self._wanted:
            self._wanted = False
            self._submit()

    def _submit(self) -> None:
        self.lane.submit(
            lambda context: api.list_networks(context.cancel.check),
            key="networks",
            done=lambda found: self._models.networks.set(NetworksState("ready", found)),
            failed=self._failed,
            cancelled=lambda: self._models.networks.set(NetworksState()),
        )

    def _failed(self, failure: Failure) -> None:
        self._models.networks.set(NetworksState("failed", message=failure.summary))
        if not failure.expected:
            self._models.messages.report(failure)
