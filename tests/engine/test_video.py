"""Frames of videos: each is the one that was asked for, and bad files give a sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data import video
from engine.errors import ImageError
from engine.images import read_image

COUNT = 12


@pytest.fixture
def clip(tmp_path: Path, fresh_home: Path) -> Path:
    """Twelve frames of 64 x 48; the number of each is written into it as bright columns."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(COUNT):
        frame = np.zeros((48, 64, 3), np.uint8)
        for bit in range(4):
            frame[:, 16 * bit : 16 * bit + 16] = 220 * (number >> bit & 1)
        writer.write(frame)
    writer.release()
    return path


def number_in(path: Path) -> int:
    pixels = read_image(path).as_uint8()
    return sum(int(pixels[24, 16 * bit + 8].mean() > 110) << bit for bit in range(4))


def test_a_video_tells_what_it_holds(clip):
    found = video.read_video(clip)
    assert (found.frames, found.fps, found.size_px) == (COUNT, 10.0, (64, 48))


def test_frames_in_any_order_are_those_that_were_asked_for(clip):
    order = (7, 0, 11, 3, 4, 3)
    files = [video.frame_file(clip, number) for number in order]
    assert [number_in(path) for path in files] == list(order)
    assert files[3] == files[5]
    assert all(video.is_frame(path) for path in files)
    assert not video.is_frame(clip)
    assert video.image_title(files[3]) == f"{clip.stem}, frame 4"
    assert video.image_title(clip) == clip.name


def test_a_changed_video_has_other_frames(clip, tmp_path):
    before = video.frame_file(clip, 2)
    clip.write_bytes(clip.read_bytes() + b"\0")
    assert video.frame_file(clip, 2).parent != before.parent


def test_the_cache_keeps_the_frames_that_were_used_last(clip, monkeypatch):
    monkeypatch.setattr(video, "_KEPT_FRAMES", 2)
    for number in (0, 1, 0, 2):
        kept = video.frame_file(clip, number)
    assert sorted(path.stem[-1] for path in kept.parent.iterdir()) == ["1", "3"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "does not exist"), (b"no video", "no video that OpenCV can read"), (b"", "no video")],
)
def test_what_is_no_video_is_refused(tmp_path, fresh_home, content, reason):
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        video.read_video(path)


def test_a_frame_behind_the_end_is_refused(clip):
    with pytest.raises(ImageError, match="has no frame 101"):
        video.frame_file(clip, 100)
