"""Loads the engine behind the painted window, and plugins that the user trusts."""

from __future__ import annotations

import contextlib
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from descgui.models.bundle import AppModels
from descgui.models.engine_state import DescriptorChoiceInfo, DeviceChoice, EngineState
from descgui.models.messages import Failure
from descgui.models.networks_state import menu_networks
from descgui.workers.lane import JobLane
from descgui.workers.torch_loading import load_torch
from engine import api


class EngineController(QObject):
    """Owns the session that all queries ask.

    Args:
        models: tell the settings, and are told what there is.
        plugins: files that register descriptors.
        parent: owns this.
        images: where the session has images from; None for a store of its own.

    Signals:
        ready(): torch is loaded and the session exists.
        plugin_loaded(): there are further descriptors.
    """

    ready = Signal()
    plugin_loaded = Signal()

    def __init__(
        self,
        models: AppModels,
        plugins: tuple[Path, ...] = (),
        parent: QObject | None = None,
        *,
        images: api.ImageStore | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._plugins = plugins
        self._images = images
        self._started = False
        self._session: api.Session | None = None
        self.lane = JobLane(models.messages.report, self)
        models.settings.changed.connect(self._list_networks)
        for maps in models.descriptors:
            maps.choice_changed.connect(self._list_networks)

    @property
    def session(self) -> api.Session | None:
        """The engine's memory of maps; None until torch is loaded."""
        return self._session

    def start(self) -> None:
        """Load torch in the background; call it after the first paint."""
        self._started = True
        plugins = self._plugins
        budget_bytes = self._models.settings.state.map_budget_mb * 2**20

        def load(context: api.JobContext) -> tuple[api.Session, EngineState, tuple[str, ...]]:
            load_torch(context)
            problems = list(api.load_entry_points())
            for plugin in plugins:
                try:
                    api.load_plugin(plugin)
                except api.DescSpaceError as error:
                    problems.append(str(error))
            session = api.Session(map_budget_bytes=budget_bytes, images=self._images)
            return session, _engine_state(), tuple(problems)

        self.lane.submit(load, key="engine", done=self._loaded, failed=self._failed)

    def load_plugin(self, path: Path) -> None:
        """Run a user's file that registers descriptors; the user has already agreed to it.

        Before torch is loaded it waits for that.
        """
        if not self._started:
            self._plugins = (*self._plugins, path)
            return

        def load(_context: api.JobContext) -> tuple[tuple[str, ...], EngineState]:
            names = api.load_plugin(path)
            return names, _engine_state()

        self.lane.submit(load, key=("plugin", path), done=self._plugin_loaded)

    def _loaded(self, loaded: tuple[api.Session, EngineState, tuple[str, ...]]) -> None:
        self._session, state, problems = loaded
        for problem in problems:
            self._models.messages.notify(problem, "warning")
        self._models.engine.set(state)
        self._list_networks()
        self.ready.emit()

    def _plugin_loaded(self, loaded: tuple[tuple[str, ...], EngineState]) -> None:
        names, state = loaded
        self._models.engine.set(state)
        self._list_networks()
        self._models.messages.notify(f"The plugin added {', '.join(names)}.")
        self.plugin_loaded.emit()

    def _list_networks(self) -> None:
        """Offer the opened networks as descriptors; this asks no library about them."""
        engine = self._models.engine
        if engine.state.stage != "ready":
            return
        names = menu_networks(
            tuple(maps.choice.name for maps in self._models.descriptors),
            self._models.settings.state.recent_networks,
        )
        if names != tuple(info.name for info in engine.state.networks):
            known = {info.name: info for info in engine.state.networks}
            infos = []
            for name in names:
                with contextlib.suppress(api.ConfigError):  # of a family that is no more
                    infos.append(known.get(name) or _info(api.get_descriptor(name)))
            engine.update(networks=tuple(infos))

    def _failed(self, failure: Failure) -> None:
        self._models.engine.set(EngineState(stage="failed", message=failure.summary))
        self._models.messages.report(failure)


def _engine_state() -> EngineState:
    """What the engine offers now (in a worker: asking about devices may take a moment)."""
    return EngineState(
        stage="ready",
        descriptors=tuple(map(_info, api.list_descriptors())),
        devices=tuple(DeviceChoice(info.name, info.title) for info in api.list_devices()),
    )


def _info(entry: api.DescriptorEntry) -> DescriptorChoiceInfo:
    return DescriptorChoiceInfo(
        name=entry.name,
        title=entry.title,
        summary=entry.summary,
        source=entry.source,
        takes_weights=entry.takes_weights,
        options=api.describe_options(entry.config),
        weights_page=entry.weights_page,
    )
