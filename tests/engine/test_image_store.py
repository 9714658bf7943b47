"""Images come from memory as long as their files stay the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import ImageError
from engine.image_store import ImageStore
from engine.imagefiles.value_range import ValueRange
from engine.images import write_image


def picture(path: Path, grey: int, *, edge_px: int = 20) -> Path:
    write_image(path, np.full((edge_px, edge_px, 3), grey, np.uint8))
    return path


def test_a_file_is_read_again_only_when_it_has_changed_or_was_forgotten(tmp_path: Path):
    store = ImageStore()
    path = picture(tmp_path / "a.png", 10)
    first = store.read(path)
    assert store.read(path) is first
    picture(path, 200, edge_px=30)
    changed = store.read(path)
    assert changed.size_px == (30, 30)
    assert int(changed.pixels[0, 0, 0]) == 200
    store.forget(path)
    assert store.read(path) is not changed


def test_a_range_changes_what_is_handed_out_and_not_what_is_kept(tmp_path: Path):
    store = ImageStore()
    path = picture(tmp_path / "a.png", 100)
    bright = store.read(path, shown=ValueRange(0.0, 100.0))
    assert int(bright.as_uint8()[0, 0, 0]) == 255
    assert int(store.read(path).pixels[0, 0, 0]) == 100


def test_the_images_of_a_pair_stay_however_little_room_there_is(tmp_path: Path):
    store = ImageStore(budget_bytes=1)
    paths = [picture(tmp_path / f"{number}.png", number) for number in range(3)]
    images = [store.read(path) for path in paths]
    assert store.read(paths[1]) is images[1]
    assert store.read(paths[2]) is images[2]
    assert store.read(paths[0]) is not images[0]


def test_what_cannot_be_read_is_said_each_time(tmp_path: Path):
    store = ImageStore()
    for _ in range(2):
        with pytest.raises(ImageError, match=r"gone\.png"):
            store.read(tmp_path / "gone.png")
    picture(tmp_path / "gone.png", 1)
    assert store.read(tmp_path / "gone.png").size_px == (20, 20)
