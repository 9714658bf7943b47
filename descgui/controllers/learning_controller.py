"""Sets up trainings that learn from what fails: the worst pairs of an evaluation, or pins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PySide6.QtCore import QObject, Signal

from descgui.models.bundle import AppModels
from descgui.models.training_state import EXTRA_PAIRS, FINE_TUNE, preset_descriptor, preset_own
from descgui.workers.lane import JobLane
from engine import api

Row = tuple[float, float, float, float]


class LearningController(QObject):
    """Fills in the form of trainings; starting one is left to the user.

    Signals:
        training_wanted(): the form is filled in and is to be shown.
    """

    training_wanted = Signal()

    def __init__(self, models: AppModels, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self.lane = JobLane(models.messages.report, self)

    def learn_from_worst(self) -> None:
        """Learn from the worst pairs of the results on display."""
        content = self._models.evaluation.shown.state.content
        if content is None or len(content.folders) != 1:
            return
        measured = [one for one in content.descriptors if not one.oracle] or content.descriptors
        best = next((one for one in measured if self._takes_weights(one.name)), measured[0])
        file = content.weights_of(best.label)
        self._propose(content.folders[0], best.name, "" if file is None else str(file))

    def learn_from_pins(self) -> None:
        """Learn from the pins of the open pair whose true matches are known."""
        state, rows = self._models.pair.state, self._true_rows()
        if state is None or not rows:
            text = "The truth of this pair tells the true match of none of these pins."
            self._models.messages.notify(text, "warning")
            return
        images = (state.pair.path_a, state.pair.path_b)
        folder = api.unused_dir(api.user_data_dir() / "pairs" / api.stamped("pins"))
        choice = self._models.maps.choice
        weights = str(choice.values.get("weights") or "")
        self.lane.submit(
            lambda _context: api.write_point_pair(folder, images, rows),
            key="pins",
            done=lambda table: self._propose(table, choice.name, weights),
        )

    def _true_rows(self) -> tuple[Row, ...]:
        """Each pin with its true match: x and y in image a, and x and y in image b."""
        state = self._models.pair.state
        if state is None or state.truth is None:
            return ()
        rows: list[Row] = []
        for pin in self._models.pins.pins:
            side, here = pin.probe.side, pin.probe.point_px
            found = state.truth.locate(side, np.array([here], np.float64))
            if not found.seen[0]:
                continue
            x, y = found.points_px[0].tolist()
            rows.append((*here, x, y) if side == "a" else (x, y, *here))
        return tuple(rows)

    def _takes_weights(self, name: str) -> bool:
        entry = self._models.engine.state.descriptor(name)
        return entry is not None and entry.takes_weights

    def _propose(self, pairs: Path, name: str, weights: str) -> None:
        """Fill in the form: the preset, these pairs, and the network that failed."""
        descriptor, own = self._network(name, weights)
        self._models.training.choice.update(
            preset=FINE_TUNE,
            descriptor=descriptor,
            own=MappingProxyType(own),
            changes=MappingProxyType({EXTRA_PAIRS: str(pairs)}),
        )
        self.training_wanted.emit()

    def _network(self, name: str, weights: str) -> tuple[str, dict[str, Any]]:
        """What is trained for a descriptor that failed, and its own settings.

        All descriptors of descspace share the network of the preset; what has no weights is left
        alone, and the preset's own network learns.
        """
        suited = preset_descriptor(FINE_TUNE)
        same = name.partition("-")[0] == suited.partition("-")[0]
        start = {"weights": weights} if weights else {}
        if same:
            return suited, {**preset_own(FINE_TUNE), **start}
        entry = self._models.engine.state.descriptor(name)
        if entry is None or not entry.takes_weights:
            return suited, dict(preset_own(FINE_TUNE))
        shipped: Mapping[str, Any] = {"untrained": False}
        has = any(option.name == "untrained" for option in entry.options)
        return name, {**(shipped if has else {}), **start}
