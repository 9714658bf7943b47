"""Saves what the window shows as a session, and opens one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.maps_controller import MapsController
from descgui.controllers.matches_controller import MatchesController
from descgui.controllers.pair_controller import PairController
from descgui.controllers.probe_controller import ProbeController
from descgui.models.bundle import AppModels
from descgui.models.file_names import file_stem
from descgui.models.maps_state import DescriptorChoice
from descgui.models.matches_state import FILTERS
from descgui.models.messages import Failure
from descgui.models.saved_session import (
    Part,
    parts_of,
    saved_choice,
    saved_pins,
    saved_settings,
    session_of,
    view_state,
)
from descgui.workers.lane import JobLane
from engine import api
from engine.api import LISTED_TRUTHS, Side


class SessionController(QObject):
    """A session that cannot be opened leaves everything as it is.

    Args:
        lane: reads and writes session files.
        parts_in_sight: what shows of each image that is not fitted.
        show_parts: shows parts of the images, and the others whole.
        resume_video: offers the frames of a video, of which one is shown.

    Attributes:
        file: the session that was opened or saved last; None before.
        consent_wanted: asks the user whether a plugin may run.
    """

    def __init__(
        self,
        models: AppModels,
        lane: JobLane,
        *,
        pairs: PairController,
        engine: EngineController,
        maps: MapsController,
        probes: ProbeController,
        matches: MatchesController,
        parts_in_sight: Callable[[], Mapping[Side, Part]],
        show_parts: Callable[[Mapping[Side, Part]], None],
        resume_video: Callable[[Path, int], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._lane = lane
        self._pairs = pairs
        self._engine = engine
        self._maps = maps
        self._probes = probes
        self._matches = matches
        self._parts_in_sight = parts_in_sight
        self._show_parts = show_parts
        self._resume_video = resume_video
        self.file: Path | None = None
        self.consent_wanted: Callable[[Path], bool] = lambda _plugin: False
        pairs.session_wanted.connect(self.open)

    @property
    def proposed_name(self) -> str:
        """A name for a new session, by the pair."""
        state = self._models.pair.state
        name = state.pair.name if state is not None else ""
        return f"{file_stem(name) or 'session'}{api.SESSION_SUFFIX}"

    def save(self, path: Path) -> None:
        """Write what is shown."""
        if self._models.pair.state is None:
            return
        session = session_of(self._models, self._parts_in_sight())
        self._lane.submit(
            lambda _context: api.write_session(path, session),
            key=("save session", path),
            done=lambda _: self._saved(path),
        )

    def open(self, path: Path) -> None:
        """Read a session and show it."""
        self._models.pair.set_loading(path.name)
        self._lane.submit(
            lambda _context: api.read_session(path),
            key="open session",
            done=partial(self._read, path),
            failed=self._failed,
            cancelled=partial(self._models.pair.set_loading, ""),
        )

    def _saved(self, path: Path) -> None:
        self.file = path
        self._models.messages.notify(f"Saved as {path}.")

    def _failed(self, failure: Failure) -> None:
        self._models.pair.set_loading("")
        self._models.pair.report_failure(failure.summary)

    def _read(self, path: Path, opened: api.OpenedSession) -> None:
        self._pairs.open_saved(opened.session, partial(self._show, path, opened))

    def _show(self, path: Path, opened: api.OpenedSession, show_pair: Callable[[], None]) -> None:
        """The pair is read: show it with all that belongs to it."""
        session, models = opened.session, self._models
        choices, chosen = self._choices(session)
        with self._maps.held():
            self._matches.clear()
            models.settings.override(**saved_settings(session))
            show_pair()
            models.view.set(view_state(session.view))
            for number, model in enumerate(models.descriptors):
                if choices:
                    model.choose(choices[number] if number < len(choices) else DescriptorChoice())
            self._take_matches(session.matches, chosen)
        self._probes.restore_pins(saved_pins(session), session.selected)
        self._show_parts(parts_of(session.view))
        if session.pair.video_b is not None:
            self._resume_video(session.pair.video_b, session.pair.frame_b)
        if session.probe is not None:
            probe = session.probe
            self._probes.hover(probe.image, probe.x_px, probe.y_px)
        self.file = path
        for note in opened.notes:
            models.messages.notify(note, "warning")
        models.messages.notify(f"{path.name} is open.")

    def _choices(self, session: api.SavedSession) -> tuple[list[DescriptorChoice], int]:
        """The descriptors whose code may run, and which of them matches."""
        loaded = set(api.plugin_files([one.name for one in session.descriptors]))
        kept: list[DescriptorChoice] = []
        chosen = 0
        for number, descriptor in enumerate(session.descriptors):
            plugin = descriptor.plugin
            if plugin is not None and plugin not in loaded:
                if not self._may_load(plugin):
                    self._models.messages.notify(
                        f"{descriptor.name} is not shown, because its plugin {plugin} did not run.",
                        "warning",
                    )
                    continue
                loaded.add(plugin)
                self._engine.load_plugin(plugin)
            if number == session.matches.descriptor:
                chosen = len(kept)
            kept.append(saved_choice(descriptor))
        return kept, chosen

    def _may_load(self, plugin: Path) -> bool:
        return plugin.is_file() and self.consent_wanted(plugin)

    def _take_matches(self, saved: api.SavedMatches, descriptor: int) -> None:
        state = self._models.pair.state
        truth = None if state is None else state.truth
        listed = truth is not None and truth.kind in LISTED_TRUTHS
        self._models.matches.update(
            descriptor=descriptor,
            points=saved.points if listed or saved.points != "listed" else "harris",
            **{name: getattr(saved, name) for name in _MATCHES},
        )
        if saved.matched:
            self._matches.run()


_MATCHES = ("count", "seed", *FILTERS)
