"""Follows the events of the training under way into its model."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QObject, QTimer

from descgui.models.messages import MessagesModel
from descgui.models.training_state import Curves, Stage, TrainingModel, TrainingStatus
from engine import api

FLUSH_MS = 200
SPEED_OVER_S = 30.0


class LiveTraining(QObject):
    """The one writer of the training's status, its live curves and its live pictures.

    Events may come faster than eyes follow: they change the model a few times a second.

    Args:
        model: is changed.
        messages: where notes of the training go.
        saved: called with the run's folder when it has begun or saved a checkpoint.
        parent: owner.

    Attributes:
        status: the newest; the model follows within a fifth of a second.
    """

    def __init__(
        self,
        model: TrainingModel,
        messages: MessagesModel,
        saved: Callable[[Path], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._messages = messages
        self._saved = saved
        self.status = model.status.state
        self._metrics: list[tuple[int, dict[str, float]]] = []
        self._marks: deque[tuple[float, int]] = deque()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(FLUSH_MS)
        self._timer.timeout.connect(self._flush)

    def begin(self, folder: Path) -> None:
        """Show a run that is being prepared."""
        self.show(TrainingStatus("preparing", folder))
        self.show_past(self._model.curves.of(folder) or {}, ())

    def show(self, status: TrainingStatus) -> None:
        """Replace the whole status."""
        self.status = status
        self._flush()

    def show_past(self, curves: Curves, frames: tuple[api.Preview, ...]) -> None:
        """Show what an earlier part of the run has left."""
        assert self.status.folder is not None
        self._model.curves.begin_live(self.status.folder, curves)
        self._model.frames.begin_live(self.status.folder, frames)

    def set_stage(self, stage: Stage, *, message: str = "") -> None:
        """Change the stage now; speed and remaining time are measured again."""
        self._marks.clear()
        self._soon(stage=stage, message=message, steps_per_s=None, eta_s=None)
        self._flush()

    def happened(self, event: api.Event) -> None:
        """Take in an event of the run."""
        match event:
            case api.Progress(api.Stage.TRAINING, done, total):
                self._on_step(done, total or 0)
            case api.Progress(_, done, total):
                self._soon(step=done, steps=total or 0)
            case api.Metric(step, values):
                self._on_metric(step, values)
            case api.Preview():
                self._model.frames.add(event)
            case api.Checkpoint(step, reason):
                # Progress is reported only now and then: the step may be behind what is saved.
                self._soon(saved_step=step, step=max(step, self.status.step))
                if reason == "paused" and self.status.stage == "pausing":
                    self.set_stage("paused")
                self._report_saved()
            case api.Note(text, level):
                self._messages.log(text, level, topic="training")
                if level == "warning":
                    self._soon(notes=(*self.status.notes, text))

    def _on_step(self, done: int, total: int) -> None:
        if self.status.stage == "preparing":
            self._begin_steps(done, total)
            return
        now_s = time.monotonic()
        self._marks.append((now_s, done))
        while now_s - self._marks[0][0] > SPEED_OVER_S:
            self._marks.popleft()
        start_s, before = self._marks[0]
        self._soon(step=done, steps=total)
        if self.status.stage == "running" and now_s - start_s > 1.0 and done > before:
            speed = (done - before) / (now_s - start_s)
            self._soon(steps_per_s=speed, eta_s=(total - done) / speed)

    def _begin_steps(self, done: int, total: int) -> None:
        """Keep of an earlier part what its checkpoint had reached; later steps are done again."""
        assert self.status.folder is not None
        past = self._model.curves.of(self.status.folder) or {}
        curves = {name: points[points[:, 0] <= done] for name, points in past.items()}
        self._model.curves.begin_live(self.status.folder, curves)
        figures = {name: float(points[-1, 1]) for name, points in curves.items() if len(points)}
        judge = api.judge_of(figures)
        self._soon(
            stage="running",
            step=done,
            steps=total,
            figures=MappingProxyType(figures),
            best=None if judge is None else api.best_of(judge, curves[judge].tolist()),
        )
        self._report_saved()

    def _on_metric(self, step: int, values: dict[str, float]) -> None:
        self._metrics.append((step, values))
        best, judge = self.status.best, api.judge_of(values)
        if judge is not None and api.is_better(judge, values[judge], than=best and best[0]):
            best = (values[judge], step)
        epoch = values.get("epoch")
        if epoch:
            self._soon(steps_per_epoch=step / epoch)
        self._soon(figures=MappingProxyType({**self.status.figures, **values}), best=best)

    def _report_saved(self) -> None:
        if self.status.folder is not None:
            self._saved(self.status.folder)

    def _soon(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        if not self._timer.isActive():
            self._timer.start()

    def _flush(self) -> None:
        self._timer.stop()
        metrics, self._metrics = self._metrics, []
        self._model.status.set(self.status)
        self._model.curves.grow(metrics)
