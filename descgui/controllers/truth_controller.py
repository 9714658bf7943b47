"""Gives the open pair another truth: from files, from an estimate, or from the user's pins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject

from descgui.models.bundle import AppModels
from descgui.models.messages import Failure
from descgui.models.pair_state import PairState
from descgui.workers.lane import JobLane
from engine import api


class TruthController(QObject):
    """Reads files in a lane; whatever fails leaves the pair as it is."""

    def __init__(self, models: AppModels, lane: JobLane, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self._lane = lane

    def load(self, text: str) -> None:
        """Take the truth of any kind that a text names, as :func:`engine.api.named_truth` reads it.

        Args:
            text: ``[KIND:]FILE[|FILE][|SETTING=VALUE]…``.
        """
        self._read(text, lambda state: api.named_truth(text, Path(), _images(state)))

    def look(self, path: Path, show: Callable[[api.TruthLook], object]) -> None:
        """Find out what a file seems to hold, and show it."""
        self._lane.submit(
            lambda _context: api.look_at_truth(path), key="look", done=show, failed=self._failed
        )

    def check(self, text: str, show: Callable[[str, str], object]) -> None:
        """Open the truth that a text names, and show what is wrong or else what it tells."""
        state = self._models.pair.state
        if state is None:
            show("Open a pair before its truth.", "")
            return

        def work(_context: api.JobContext) -> str:
            truth = _opened(state, api.named_truth(text, Path(), _images(state), _say_nothing))
            assert truth is not None
            return api.truth_summary(truth)

        self._lane.submit(
            work,
            key="check truth",
            done=lambda summary: show("", summary),
            failed=lambda failure: show(failure.summary, ""),
        )

    def load_homography(self, path: Path) -> None:
        """Take the homography from image a to image b in a file."""
        self._read(f"homography:{path}", lambda _state: api.HomographySource.read(path))

    def clear(self) -> None:
        """Drop the truth of the open pair."""
        state = self._models.pair.state
        if state is not None and state.pair.truth is not None:
            self._take(state, None)

    def use_estimate(self) -> None:
        """Take the homography that was estimated from the matches."""
        state, table = self._models.pair.state, self._models.matches.state.table
        if state is not None and table is not None and table.h_b_from_a is not None:
            self._take(state, api.HomographySource.of(table.h_b_from_a, "estimated"))

    def use_pins(self) -> None:
        """Take the pins with their matches by the shown descriptor."""
        state = self._models.pair.state
        rows = []
        for pin in self._models.pins.pins:
            if pin.answer is not None:
                pair = (pin.probe.point_px, pin.answer.found_px)
                rows.append(pair if pin.probe.side == "a" else pair[::-1])
        if state is not None and rows:
            points = np.array(rows)
            self._take(state, api.HeldPointsSource.of(points[:, 0], points[:, 1]))

    def use_point(self, a_px: api.Point, b_px: api.Point) -> None:
        """Add one point of image A with its true match in B to those that the user gave.

        A truth of another kind is replaced.
        """
        state = self._models.pair.state
        if state is None:
            return
        before = state.pair.truth
        rows = [(*a_px, *b_px)]
        if isinstance(before, api.HeldPointsSource):
            rows = [*(row for row in before.rows if row[:2] != a_px), *rows]
        points = np.array(rows)
        self._take(state, api.HeldPointsSource.of(points[:, :2], points[:, 2:]))

    def _read(self, text: str, read: Callable[[PairState], api.TruthSource]) -> None:
        state = self._models.pair.state
        if state is None:
            self._models.pair.report_failure("Open a pair before its truth.")
            return

        def work(_context: api.JobContext) -> tuple[api.TruthSource, api.Truth | None]:
            source = read(state)
            return source, _opened(state, source)

        def done(found: tuple[api.TruthSource, api.Truth | None]) -> None:
            source, truth = found
            now = self._models.pair.state
            if now is not None and _images(now) == _images(state):
                self._show(now, source, truth, text)

        self._lane.submit(work, key="truth", done=done, failed=self._failed)

    def _take(self, state: PairState, source: api.TruthSource | None) -> None:
        """Take what is in memory, and so opens at once."""
        try:
            truth = _opened(state, source)
        except api.DescSpaceError as error:
            self._models.pair.report_failure(str(error))
            return
        self._show(state, source, truth)

    def _show(
        self,
        state: PairState,
        source: api.TruthSource | None,
        truth: api.Truth | None,
        text: str = "",
    ) -> None:
        pair = replace(state.pair, truth=source)
        self._models.pair.set_pair(replace(state, pair=pair, truth=truth, truth_text=text))
        if source is not None:
            self._models.messages.notify(f"Truth of this pair: {pair.truth_words}.")

    def _failed(self, failure: Failure) -> None:
        self._models.pair.report_failure(failure.summary)


def _say_nothing(_choice: str) -> None:
    """Choices are told when the truth is loaded."""


def _images(state: PairState) -> tuple[Path, Path]:
    return state.pair.path_a, state.pair.path_b


def _opened(state: PairState, source: api.TruthSource | None) -> api.Truth | None:
    pair = replace(state.pair, truth=source)
    return pair.open_truth(state.image_a.size_px, state.image_b.size_px)
