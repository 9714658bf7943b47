"""Frames of video files, read by OpenCV and kept as pictures, so that all else sees an image.

A frame is a PNG in the cache: whatever reads, describes and caches images by their files needs to
know nothing of videos.  The cache keeps the frames that were used last.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import ImageError
from engine.files import input_size, make_folder
from engine.images import write_image
from engine.paths import FileStamp, cache_dir

VIDEO_SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv"}
)
_KEPT_FRAMES: Final = 200
_FRAMES: Final = "frames"
_NUMBER: Final = "_frame_"  # before the number, in the name of a frame


@dataclass(frozen=True, slots=True)
class Video:
    """A video file.

    Attributes:
        path: the file.
        frames: how many it has, at least 1.
        fps: frames per second; 0 where the file does not say.
        size_px: (width, height).
    """

    path: Path
    frames: int
    fps: float
    size_px: tuple[int, int]


def is_video(path: Path) -> bool:
    """Whether a file is called like a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_frame(path: Path) -> bool:
    """Whether a file is a frame that :func:`frame_file` wrote."""
    return path.parent.parent == cache_dir() / _FRAMES


def image_title(path: Path) -> str:
    """What an image is called: by its file, or by its video and the frame's number."""
    if _NUMBER not in path.stem or not is_frame(path):
        return path.name
    video, _, number = path.stem.rpartition(_NUMBER)
    return f"{video}, frame {int(number)}"


def read_video(path: Path) -> Video:
    """Look at a video.

    Raises:
        ImageError: it is missing, or OpenCV cannot read it.
    """
    import cv2

    input_size(path, ImageError, missing="does not exist")
    with _opened(path) as capture:
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        size = (
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        read, _picture = capture.read()
    if frames < 1 or not read:
        raise ImageError(path, "is a video without a frame that can be read")
    return Video(path, frames, fps if math.isfinite(fps) and fps > 0 else 0.0, size)


def frame_file(path: Path, number: int) -> Path:
    """A frame as a picture in the cache.

    Args:
        path: the video.
        number: of the frame, from 0.

    Raises:
        ImageError: there is no such frame.
        OutputError: the cache cannot be written.
    """
    import cv2

    stamp = FileStamp.of(path)
    digest = hashlib.sha256(f"{stamp.path}|{stamp.mtime_ns}|{stamp.size_bytes}".encode())
    folder = cache_dir() / _FRAMES / digest.hexdigest()[:16]
    kept = folder / f"{path.stem}{_NUMBER}{number + 1:06d}.png"
    if kept.is_file():
        _mark_used(kept)
        return kept
    with _opened(path) as capture:
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        read, picture = capture.read()
    if not read:
        raise ImageError(path, f"has no frame {number + 1} that can be read")
    make_folder(folder)
    write_image(kept, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    _mark_used(kept)
    _drop_old(cache_dir() / _FRAMES)
    return kept


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A capture of a video file, which is released at the end."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise ImageError(path, "is no video that OpenCV can read")
        yield capture
    finally:
        capture.release()


def _mark_used(frame: Path) -> None:
    """Note that a frame was used now; the clock of the file system is too coarse for this."""
    now_ns = time.time_ns()
    with contextlib.suppress(OSError):
        os.utime(frame, ns=(now_ns, now_ns))


def _drop_old(root: Path) -> None:
    """Remove all but the frames that were used last."""
    with contextlib.suppress(OSError):
        frames = sorted(root.glob("*/*.png"), key=lambda one: one.stat().st_mtime_ns)
        for path in frames[:-_KEPT_FRAMES]:
            path.unlink()
