"""Matches many points at once."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.maps_controller import MapsController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice, MapsModel
from descgui.models.messages import Failure
from descgui.workers.lane import JobLane
from engine import api

_KEY = "matches"


class MatchesController(QObject):
    """Runs :class:`engine.api.MatchRequest` in a lane and puts the table into its model."""

    def __init__(
        self,
        models: AppModels,
        engine: EngineController,
        maps: MapsController,
        lane: JobLane,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._engine = engine
        self._maps = maps
        self._lane = lane
        self._wanted = False
        self._images: tuple[object, ...] = ()
        maps.ready.connect(self._maps_ready)
        models.pair.changed.connect(self._pair_changed)
        for number, model in enumerate(models.descriptors):
            model.choice_changed.connect(partial(self._choice_changed, number))
        models.settings.computing_changed.connect(self._outdated)

    def run(self) -> None:
        """Match now, or as soon as both images are described."""
        state, session = self._models.pair.state, self._engine.session
        recipe = self._maps.ready_recipe(self._model)
        self._wanted = True
        if state is None or session is None or recipe is None:
            return
        self._wanted = False
        matches = self._models.matches.state
        request = api.MatchRequest(
            pair=state.pair,
            recipe=recipe,
            points=matches.points,
            count=matches.count,
            seed=matches.seed,
            separation_px=self._models.settings.state.separation_px,
        )
        self._models.matches.update(running=True)
        self._lane.submit(
            partial(session.match, request),
            key=_KEY,
            done=lambda table: self._models.matches.update(table=table, running=False),
            failed=self._failed,
            cancelled=self._at_rest,
        )

    def match_by(self, descriptor: int) -> None:
        """Let another descriptor match, from 0, the shown one; what was matched is matched anew."""
        if descriptor == self._models.matches.state.descriptor:
            return
        again = self._wanted or self._models.matches.state.running or self._has_table
        self.clear()
        self._models.matches.update(descriptor=descriptor)
        if again:
            self.run()

    def cancel(self) -> None:
        """Stop matching; the last table stays."""
        self._wanted = False
        self._lane.cancel(_KEY)

    def clear(self) -> None:
        """Clear the table; one that is being made will not be shown."""
        self._wanted = False
        self._lane.withdraw(_KEY)
        self._models.matches.update(table=None, running=False)

    @property
    def _model(self) -> MapsModel:
        return self._models.descriptors[self._models.matches.state.descriptor]

    @property
    def _has_table(self) -> bool:
        return self._models.matches.state.table is not None

    def _choice_changed(self, number: int, _choice: DescriptorChoice) -> None:
        if number != self._models.matches.state.descriptor:
            return
        if number in self._models.numbers:
            self._outdated()
        else:
            self.clear()
            self._models.matches.update(descriptor=0)

    def _pair_changed(self) -> None:
        """Clear the table; the same images with another truth are matched anew."""
        state = self._models.pair.state
        pair = None if state is None else state.pair
        images = () if pair is None else (pair.path_a, pair.path_b, pair.range_a, pair.range_b)
        again = self._has_table and images == self._images
        self._images = images
        lists = pair is not None and pair.truth is not None and pair.truth.kind in api.LISTED_TRUTHS
        if self._models.matches.state.points == "listed" and not lists:
            self._models.matches.update(points="harris")
        self.clear()
        if again:
            self.run()

    def _outdated(self) -> None:
        again = self._has_table
        self.clear()
        self._wanted = again

    def _maps_ready(self, model: object) -> None:
        if self._wanted and model is self._model:
            self.run()

    def _failed(self, failure: Failure) -> None:
        self._at_rest()
        self._models.messages.report(failure)

    def _at_rest(self) -> None:
        self._models.matches.update(running=False)
