"""Describes what is shown, in its own lane, and keeps what is described."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import partial

from PySide6.QtCore import QObject, Signal

from descgui.controllers.engine_controller import EngineController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice, MapsModel, MapStatus
from descgui.models.messages import Failure
from descgui.models.networks_state import same_network
from descgui.workers.lane import JobLane
from engine import api

_Asked = tuple["api.ImagePair", "api.Recipe"]

_ALWAYS_KEPT = 2
"""How many descriptors' maps a session keeps even if they take more than its budget."""


class MapsController(QObject):
    """Keeps the maps of the shown descriptor and of those beside it up to date.

    Signals:
        ready(MapsModel): both images are described by this model's descriptor.
    """

    ready = Signal(object)

    def __init__(
        self, models: AppModels, engine: EngineController, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._engine = engine
        self._browsing: set[MapsModel] = set()
        self._prepared: dict[MapsModel, object] = {}
        self._sizes_bytes: dict[MapsModel, tuple[_Asked, int]] = {}
        self._given_up: set[MapsModel] = set()
        self._held = False
        self.lane = JobLane(models.messages.report, self)
        engine.ready.connect(self.refresh)
        engine.plugin_loaded.connect(self.refresh)
        models.pair.changed.connect(self.refresh)
        models.settings.computing_changed.connect(self.refresh)
        for model in models.descriptors:
            model.choice_changed.connect(self.refresh)

    def choose(self, model: MapsModel, choice: DescriptorChoice) -> None:
        """Choose a descriptor, shown or compared; the shown one and networks are remembered."""
        if not same_network(choice.name, model.choice.name):
            self._browsing.discard(model)
        elif choice.name != model.choice.name:
            self._browsing.add(model)  # who looks at a second layer will look at more
        model.choose(choice)
        shown = {"descriptor": choice.name} if model is self._models.maps else {}
        if api.network_of(choice.name) is not None:
            self._models.settings.remember_network(choice.name, **shown)
        else:
            self._models.settings.update(**shown)

    def recipe(self, model: MapsModel) -> api.Recipe | None:
        """How the maps of a model are made; None without a descriptor or before torch.

        Raises:
            ConfigError: a setting is wrong.
        """
        choice = model.choice
        if not choice.name or self._engine.session is None:
            return None
        computing = self._models.settings.state
        return api.Recipe(
            spec=api.make_spec(choice.name, choice.values),
            long_edge_px=computing.long_edge_px,
            device=computing.device,
            precision=computing.precision,
            map_files=choice.map_files,
        )

    def ready_recipe(self, model: MapsModel) -> api.Recipe | None:
        """The recipe of a model whose maps are finished, else None."""
        return self.recipe(model) if model.ready and not self._held else None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block pair, settings and descriptors change; describing waits for its end."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.refresh()

    def refresh(self) -> None:
        """Describe what is missing; finished maps are taken from memory at once."""
        if self._held:
            return
        for model in self._models.descriptors:
            self._refresh(model)

    def describe_again(self) -> None:
        """Read and describe the open pair again, ignoring cached results."""
        state, session = self._models.pair.state, self._engine.session
        if state is None or session is None:
            return
        self.lane.cancel()
        for side in api.SIDES:
            session.forget(state.pair.path(side))
        self.refresh()

    def cancel(self) -> None:
        """Stop describing; finished maps stay."""
        self.lane.cancel()

    def _refresh(self, model: MapsModel) -> None:
        state, session = self._models.pair.state, self._engine.session
        try:
            recipe = self.recipe(model)
        except api.ConfigError as error:
            self._withdraw(model)
            self._set_both(model, MapStatus("failed", message=str(error)))
            return
        if state is None or recipe is None or session is None:
            self._withdraw(model)
            self._stop_preparing(model)
            waiting = state is not None and bool(model.choice.name)
            self._set_both(model, MapStatus("waiting" if waiting else "none"))
            return
        if not self._fits(model, session.map_budget_bytes):
            return
        for side in api.SIDES:
            info = session.described(state.pair, side, recipe)
            if info is not None:
                self.lane.withdraw((model, side))
                model.set_status(side, MapStatus("ready", info=info))
            else:
                self._stop_preparing(model)
                model.set_status(side, MapStatus("waiting"))  # before it may start at once
                self.lane.submit(
                    partial(session.describe, state.pair, side, recipe),
                    key=(model, side),
                    started=partial(model.set_status, side, MapStatus("computing")),
                    happened=partial(self._happened, model, side),
                    done=partial(self._described, model, side),
                    failed=partial(self._failed, model, side),
                    cancelled=partial(self._cancelled, model, side),
                    device=recipe.device,
                )
        self._tell_ready(model)

    def _asked(self, model: MapsModel) -> _Asked | None:
        """What the maps of a model are made of; None where there is nothing to make."""
        state = self._models.pair.state
        try:
            recipe = self.recipe(model)
        except api.ConfigError:
            return None
        return None if state is None or recipe is None else (state.pair, recipe)

    def _needed_bytes(self) -> dict[MapsModel, int]:
        """What the maps of each descriptor take, also where they were pushed out of memory.

        Equal ones are kept, and counted, once.
        """
        found: dict[MapsModel, int] = {}
        counted: set[api.Recipe] = set()
        for model in self._models.descriptors:
            asked = self._asked(model)
            known, size_bytes = self._sizes_bytes.get(model, (None, 0))
            if asked is not None and asked == known and model not in self._given_up:
                found[model] = 0 if asked[1] in counted else size_bytes
                counted.add(asked[1])
        return found

    def _fits(self, model: MapsModel, budget_bytes: int) -> bool:
        """Whether there is room for maps that once found none; says so if there is not."""
        if model not in self._given_up:
            return True
        self._given_up.discard(model)
        needed_bytes = self._needed_bytes()
        if model not in needed_bytes or sum(needed_bytes.values()) <= budget_bytes:
            return True
        self._give_up(model, needed_bytes, budget_bytes)
        return False

    def _give_up(
        self, model: MapsModel, needed_bytes: Mapping[MapsModel, int], budget_bytes: int
    ) -> None:
        self._given_up.add(model)
        self._withdraw(model)
        self._stop_preparing(model)
        size_mb, budget_mb = (size / 2**20 for size in (sum(needed_bytes.values()), budget_bytes))
        text = (
            f"The maps of {len(needed_bytes)} descriptors take {size_mb:.0f} MB, and "
            f"{budget_mb:.0f} MB may be kept: compare fewer, shorten the long edge, or allow more "
            "in the settings."
        )
        self._set_both(model, MapStatus("failed", message=text))

    def _keep_within_budget(self, ready: MapsModel) -> None:
        """Give up the last descriptors whose maps would push those of others out of memory.

        Otherwise each would be described again whenever another one is asked.  The session keeps
        the maps of two descriptors in any case.
        """
        session, asked = self._engine.session, self._asked(ready)
        if session is None or asked is None:
            return
        infos = [ready.status(side).info for side in api.SIDES]
        size_bytes = sum(info.size_bytes for info in infos if info is not None)
        self._sizes_bytes[ready] = asked, size_bytes
        budget_bytes, before = session.map_budget_bytes, len(self._given_up)
        for model in reversed(self._models.descriptors[_ALWAYS_KEPT:]):
            needed_bytes = self._needed_bytes()
            if model in needed_bytes and sum(needed_bytes.values()) > budget_bytes:
                self._give_up(model, needed_bytes, budget_bytes)
                self._models.messages.notify(
                    model.status("a").message, "warning", topic=model.choice.name
                )
        if len(self._given_up) > before:
            self.refresh()  # what they pushed out

    def _tell_ready(self, model: MapsModel) -> None:
        if model.ready:
            self._keep_within_budget(model)
        if model.ready:
            self.ready.emit(model)
            if model in self._browsing:
                self._prepare(model)

    def _withdraw(self, model: MapsModel) -> None:
        for side in api.SIDES:
            self.lane.withdraw((model, side))

    def _prepare(self, model: MapsModel) -> None:
        """Describe by a network's other layers, too."""
        state, session, recipe = self._models.pair.state, self._engine.session, self.recipe(model)
        network, values = api.network_of(model.choice.name), model.choice.values
        if state is None or session is None or recipe is None or network is None:
            return
        how = (recipe.long_edge_px, recipe.device, recipe.precision)
        asked = (state.pair, network.at(), tuple(sorted(values.items())), how)
        if self._prepared.get(model) == asked:
            return
        self._prepared[model] = asked
        for half, side in enumerate(api.SIDES):
            self.lane.submit(
                partial(session.describe_layers, state.pair, side, recipe),
                key=(model, "layers", side),
                happened=partial(self._preparing, model, half / len(api.SIDES)),
                done=partial(self._layers_described, model, side),
                failed=partial(self._layers_failed, model),
                cancelled=partial(self._layers_stopped, model),
                device=recipe.device,
            )

    def _stop_preparing(self, model: MapsModel) -> None:
        keys = [(model, "layers", side) for side in api.SIDES]
        if any(map(self.lane.has, keys)):
            for key in keys:
                self.lane.withdraw(key)
            self._layers_stopped(model)

    @staticmethod
    def _preparing(model: MapsModel, before: float, event: api.Event) -> None:
        if isinstance(event, api.Progress) and event.total:
            model.set_preparing(before + event.done / event.total / len(api.SIDES))

    @staticmethod
    def _layers_described(model: MapsModel, side: api.Side, _count: int) -> None:
        if side == api.SIDES[-1]:
            model.set_preparing(None)

    def _layers_failed(self, model: MapsModel, failure: Failure) -> None:
        self._layers_stopped(model)
        if not failure.expected:  # otherwise it is told once such a layer is chosen
            self._models.messages.report(failure)

    def _layers_stopped(self, model: MapsModel) -> None:
        self._prepared.pop(model, None)
        model.set_preparing(None)

    @staticmethod
    def _set_both(model: MapsModel, status: MapStatus) -> None:
        for side in api.SIDES:
            model.set_status(side, status)

    def _happened(self, model: MapsModel, side: api.Side, event: api.Event) -> None:
        if isinstance(event, api.Note):
            self._models.messages.notify(event.text, event.level, topic=model.choice.name)
        elif isinstance(event, api.Progress):
            fraction = event.done / event.total if event.total else None
            model.set_status(side, MapStatus("computing", fraction, phase=event.stage.value))
        elif isinstance(event, api.Phase):
            model.set_status(side, MapStatus("computing", phase=event.stage.value))

    def _described(self, model: MapsModel, side: api.Side, info: api.MapInfo) -> None:
        model.set_status(side, MapStatus("ready", info=info))
        self._models.times.note(model.choice.name, info)
        self._tell_ready(model)

    def _failed(self, model: MapsModel, side: api.Side, failure: Failure) -> None:
        model.set_status(side, MapStatus("failed", message=failure.summary))
        choice = model.choice
        if self._models.engine.state.missing_weights(choice.name, choice.values):
            # The panel says it, with a way out; a second sentence above the panes would not help.
            self._models.messages.log(failure.summary, "error", topic=choice.name)
        else:
            self._models.messages.report(failure)

    def _cancelled(self, model: MapsModel, side: api.Side) -> None:
        model.set_status(side, MapStatus("failed", message="Stopped."))
