"""Which video image B is a frame of."""

from __future__ import annotations

from dataclasses import dataclass

from engine import api


@dataclass(frozen=True, slots=True)
class VideoState:
    """A video and the frame that is wanted.

    Attributes:
        video: None where image B is an image of its own.
        frame: its number, from 0.
        playing: the next frame follows once this one is described.
    """

    video: api.Video | None = None
    frame: int = 0
    playing: bool = False

    @property
    def time_text(self) -> str:
        """Where the frame is, as ``Frame 12 of 300 · 0:00.37``."""
        if self.video is None:
            return ""
        text = f"Frame {self.frame + 1} of {self.video.frames}"
        if not self.video.fps:
            return text
        minutes, seconds = divmod(self.frame / self.video.fps, 60.0)
        return f"{text} · {int(minutes)}:{seconds:05.2f}"
