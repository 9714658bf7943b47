"""The pairs that weights are judged on: reading returns what was written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from benchmarks.heldout import write_scene
from benchmarks.judge import judge, listed_pairs, read_disparities
from engine.descriptors.registry import build_descriptor, make_spec


def test_scenes_are_read_as_they_were_written_and_can_be_judged(tmp_path: Path):
    noise = np.random.default_rng(1).uniform(size=(2, 96, 128, 3)).astype(np.float32)
    photo, other = (0.5 + 4 * (cv2.GaussianBlur(one, (0, 0), 2) - 0.5) for one in noise)
    write_scene(
        photo.clip(0, 1), other.clip(0, 1), "bend", 7, tmp_path / "scenes" / "bend" / "photo_1"
    )
    (pair,) = listed_pairs(tmp_path / "scenes", None, 128)
    assert pair.group == "scenes bend"
    assert (pair.path_a.name, pair.path_b.name) == ("01.png", "02.png")
    assert 50 < len(pair.points_a) == len(pair.points_b) <= 500
    errors, dense_errors = judge(build_descriptor(make_spec("daisy")), pair)
    assert len(errors) == len(dense_errors) == len(pair.points_a)
    assert float((errors <= 5).mean()) > 0.5
    assert list(listed_pairs(tmp_path / "scenes", ("other",), 128)) == []


def test_disparities_are_in_pixels(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "disp2.png"), np.array([[0, 8], [40, 255]], np.uint8))
    assert read_disparities(tmp_path / "disp2.png", 8.0).tolist() == [[0, 1], [5, 255 / 8]]
