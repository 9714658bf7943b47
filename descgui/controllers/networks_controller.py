"""Lists the networks that can be opened by name, and opens them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.maps_controller import MapsController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice, MapsModel
from descgui.models.messages import Failure
from descgui.models.networks_state import NetworksState, WeightsState
from descgui.workers.lane import JobLane
from engine import api


class NetworksController(QObject):
    """Asks the libraries for their models once somebody wants to choose one.

    Weights are downloaded on demand only, one network at a time.
    """

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
        self.downloads = JobLane(models.messages.report, self)
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

    def look_for_weights(self, name: str) -> None:
        """Find out where the weights of a network are, unless a download of others runs."""
        weights = self._models.network_weights
        if weights.state.download == "running" or weights.state.name == name:
            return
        weights.set(WeightsState(name))
        self.lane.submit(
            lambda _context: api.model_weights_state(name),
            key="weights",
            done=partial(self._weights_found, name),
            failed=lambda _failure: None,  # the reason is told when the network is opened
        )

    def download(self, name: str) -> None:
        """Download the published weights of a network, or continue."""
        weights = self._models.network_weights
        if self.downloads.busy:
            return
        weights.set(replace(weights.state, name=name, download="running", done_mb=0, message=""))
        self.downloads.submit(
            lambda context: api.FetchJob(names=(name,)).run(context),
            key="download",
            done=lambda _files: self._downloaded(name),
            failed=lambda failure: weights.update(download="failed", message=failure.summary),
            cancelled=lambda: weights.update(download="stopped"),
            happened=self._happened,
        )

    def stop_download(self) -> None:
        """Stop the download; what was loaded is kept."""
        self.downloads.cancel()

    def _weights_found(self, name: str, found: api.ModelWeights) -> None:
        weights = self._models.network_weights
        if weights.state.name == name and weights.state.download != "running":
            weights.update(state=found.state, address=found.address, size_mb=found.size_mb)

    def _happened(self, event: api.Event) -> None:
        if isinstance(event, api.Progress):
            self._models.network_weights.update(done_mb=event.done, total_mb=event.total)
        elif isinstance(event, api.Note):
            self._models.messages.log(event.text, event.level, topic="download")

    def _downloaded(self, name: str) -> None:
        self._models.network_weights.update(download="done", state="cached")
        networks = self._models.networks
        bare = api.network_of(name)
        models = tuple(
            replace(model, weights="cached") if api.network_of(model.name) == bare else model
            for model in networks.state.list.models
        )
        networks.update(list=replace(networks.state.list, models=models))
        self._models.messages.notify(f"The weights of {name} are on this computer now.")
        self._maps.refresh()

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
