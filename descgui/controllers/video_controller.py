"""A video as image B: its frames one by one, with queries and pins of image A kept."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from descgui.controllers.pair_controller import PairController
from descgui.models.bundle import AppModels
from descgui.models.messages import Failure
from descgui.models.video_state import VideoState
from engine import api

_FASTEST_MS = 40
_USUAL_FPS = 25.0


class VideoController(QObject):
    """Opens videos and shows their frames; of frames that wait, the newest is read."""

    def __init__(
        self, models: AppModels, pairs: PairController, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._pairs = pairs
        self._clock = QTimer(self)
        self._clock.timeout.connect(self._tick)
        models.pair.changed.connect(self._pair_changed)
        pairs.video_wanted.connect(self.open)

    def open(self, path: Path, image_a: Path | None = None) -> None:
        """Show the first frame of a video as image B.

        Args:
            path: the video.
            image_a: the other image; None keeps it, or takes the first frame where there is none.
        """
        self._models.pair.set_loading(path.name)
        self._pairs.lane.submit(
            lambda _context: api.read_video(path),
            key="video",
            done=partial(self._opened, image_a),
            failed=self._failed,
            cancelled=partial(self._models.pair.set_loading, ""),
        )

    def resume(self, path: Path, frame: int) -> None:
        """Offer the frames of a video, of which one is shown already."""
        self._pairs.lane.submit(
            lambda _context: api.read_video(path),
            key="video",
            done=lambda video: self._models.video.set(VideoState(video, frame)),
        )

    def show_frame(self, frame: int) -> None:
        """Show another frame."""
        state = self._models.video.state
        if state.video is None or frame == state.frame:
            return
        if 0 <= frame < state.video.frames:
            self._models.video.update(frame=frame)
            self._pairs.open_frame(state.video, frame)

    def play(self, on: bool) -> None:
        """Go on to the next frame each time that one is described, or stop there."""
        state = self._models.video.state
        if state.video is None:
            return
        if on and state.frame + 1 >= state.video.frames:
            self.show_frame(0)
        self._models.video.update(playing=on)
        if on:
            fps = state.video.fps or _USUAL_FPS
            self._clock.start(max(_FASTEST_MS, round(1000 / fps)))
        else:
            self._clock.stop()

    def _tick(self) -> None:
        state, models = self._models.video.state, self._models
        if state.video is None or state.frame + 1 >= state.video.frames:
            self.play(False)
            self._clock.stop()
        elif not models.pair.loading and (models.maps.ready or not models.maps.choice.name):
            self.show_frame(state.frame + 1)

    def _opened(self, image_a: Path | None, video: api.Video) -> None:
        self._models.video.set(VideoState(video))
        self._pairs.open_frame(video, 0, image_a)

    def _failed(self, failure: Failure) -> None:
        self._models.pair.set_loading("")
        self._models.pair.report_failure(failure.summary)

    def _pair_changed(self) -> None:
        """Another pair ends the video."""
        state = self._models.pair.state
        if state is not None and not api.is_frame(state.pair.path_b):
            self._clock.stop()
            self._models.video.set(VideoState())
