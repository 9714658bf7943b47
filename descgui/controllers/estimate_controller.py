"""Estimates how long the chosen evaluation takes, by measuring one of its pairs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import EstimateState, EvaluationChoice
from descgui.workers.lane import JobLane
from engine import api

if TYPE_CHECKING:
    from engine.api import Estimate, EvaluateConfig

ESTIMATE_AFTER_MS = 700


class EstimateController(QObject):
    """Keeps the estimate fresh while the panel is visible and no evaluation runs."""

    def __init__(self, models: AppModels, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self._model = models.evaluation
        self._estimate = models.evaluation.estimate
        self.lane = JobLane(models.messages.report, self)
        self._timer = QTimer(self, singleShot=True, interval=ESTIMATE_AFTER_MS)
        self._timer.timeout.connect(self._measure)
        self._model.choice.changed.connect(self._on_choice)
        for model in (self._model.visible, self._model.shown, models.engine):
            model.changed.connect(self._plan)

    def _on_choice(self) -> None:
        self.lane.cancel()
        self._clear()

    def _clear(self) -> None:
        self._estimate.set(EstimateState())
        self._plan()

    def _plan(self) -> None:
        """Measure soon if the estimate is wanted and unknown; stop if it is not wanted."""
        ready = self._models.engine.state.stage == "ready"
        if not (ready and self._model.visible.state) or self._model.shown.state.busy:
            self._timer.stop()
            self.lane.cancel()
        elif self._estimate.state.estimate is None and not self._estimate.state.measuring:
            self._timer.start()

    def _measure(self) -> None:
        choice = self._model.choice.state
        if not choice.descriptors:
            return
        try:
            config = choice.config()
        except api.ConfigError as error:
            self._estimate.set(EstimateState(message=str(error)))
            return

        self._estimate.set(EstimateState(measuring=True))
        self.lane.submit(
            partial(_estimate, config),
            key="estimate",
            done=lambda found: self._show(choice, EstimateState(estimate=found)),
            failed=lambda failure: self._show(choice, EstimateState(message=failure.summary)),
            cancelled=self._clear,
        )

    def _show(self, choice: EvaluationChoice, state: EstimateState) -> None:
        """Show the estimate, unless the choice changed meanwhile."""
        if choice == self._model.choice.state:
            self._estimate.set(state)


def _estimate(config: EvaluateConfig, context: api.JobContext) -> Estimate:
    choices = api.choose_descriptors(config, {})
    return api.EstimateJob(config=config, choices=choices).run(context)
