"""Small pictures of measured pairs show what was measured, where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.colors import RIGHT, WRONG
from engine.errors import ImageError, ResultError
from engine.evaluation.comparison import MergedResults, merge_results
from engine.evaluation.pair_pictures import PictureKind, pair_picture
from engine.evaluation.points import MeasuredImage, MeasuredPair, PairPoints, write_points
from engine.evaluation.result import PairRow, read_result, write_result
from engine.files import sha256_of
from engine.geometry.coords import Resize
from engine.images import write_image
from tests.engine.test_leaderboard import a_result

SIZE_PX = (402, 100)  # two images of 200 × 100 with a gap


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two grey images of 400 × 200 pixels."""
    for name, shade in (("1.png", 60), ("2.png", 120)):
        write_image(tmp_path / name, np.full((200, 400, 3), shade, np.uint8))
    return tmp_path


@pytest.fixture
def measured(root: Path) -> tuple[MergedResults, PairRow]:
    """A run with a right match in the upper half, and a wrong one in the lower half."""
    folder = root / "run"
    folder.mkdir()
    write_result(folder, a_result({"ours": 0.5}))
    resize = Resize((400, 200), (200, 100))
    images = tuple(
        MeasuredImage(name, sha256_of(root / name, ImageError), resize)
        for name in ("1.png", "2.png")
    )
    points = PairPoints(
        query_px=np.array([[20.0, 20.0], [20.0, 80.0]]),
        true_px=np.array([[30.0, 20.0], [150.0, 40.0]]),
        match_px=np.array([[31.0, 20.0], [150.0, 80.0]]),
        similarity=np.ones(2, np.float32),
    )
    pair = MeasuredPair((images[0], images[1]), {"harris": (points,)})
    write_points(folder, "v_wall", 2, pair)
    merged = merge_results([("run", read_result(folder))])
    (row,) = [one for one in merged.pairs if one.sequence == "v_wall"]
    return merged, row


def picture(
    measured: tuple[MergedResults, PairRow], root: Path, kind: PictureKind = "matches"
) -> np.ndarray:
    merged, row = measured
    return pair_picture(merged, row, root=root, kind=kind, right_px=5.0, size_px=SIZE_PX)


def test_matches_run_from_the_query_to_their_place_in_the_colour_of_their_verdict(
    measured: tuple[MergedResults, PairRow], root: Path
) -> None:
    drawn = picture(measured, root)
    assert drawn.shape == (100, 402, 4)
    assert tuple(drawn[50, 100]) == (60, 60, 60, 255)
    assert tuple(drawn[50, 300]) == (120, 120, 120, 255)
    assert drawn[50, 200, 3] == 0  # the gap
    columns = drawn[20, :, :3]
    assert np.abs(columns[100].astype(int) - rgb(RIGHT)).max() < 12
    assert tuple(columns[15]) == (60, 60, 60)  # before the query
    assert tuple(columns[202 + 38]) == (120, 120, 120)  # behind the match
    assert np.abs(drawn[80, 300, :3].astype(int) - rgb(WRONG)).max() < 12


def test_errors_are_bright_where_matches_are_far_off(
    measured: tuple[MergedResults, PairRow], root: Path
) -> None:
    drawn = picture(measured, root, "errors")
    left = (402 - 200) // 2
    near, far = drawn[20, left + 20, :3].astype(int), drawn[80, left + 20, :3].astype(int)
    assert far.sum() > near.sum() + 100
    assert drawn[50, 5, 3] == 0


def test_an_image_that_has_changed_is_refused(
    measured: tuple[MergedResults, PairRow], root: Path
) -> None:
    write_image(root / "2.png", np.full((200, 400, 3), 121, np.uint8))
    with pytest.raises(ImageError, match="has changed since it was measured"):
        picture(measured, root)
    picture(measured, root, "errors")  # needs the first one alone


def test_a_pair_without_points_is_refused(
    measured: tuple[MergedResults, PairRow], root: Path
) -> None:
    merged, _ = measured
    other = next(one for one in merged.pairs if one.sequence != "v_wall")
    with pytest.raises(ResultError, match="were not kept"):
        picture((merged, other), root)
