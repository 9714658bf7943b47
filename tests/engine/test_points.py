"""The points of an evaluation are stored bit for bit as measured."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import OutputError, ResultError
from engine.evaluation.pck import CURVE_PX, count_within
from engine.evaluation.points import (
    KEPT_QUERIES,
    MeasuredImage,
    MeasuredPair,
    PairPoints,
    has_points,
    read_points,
    write_points,
)
from engine.geometry.coords import Resize
from engine.geometry.homography import warp_points
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig
from engine.progress import JobContext

H_2_FROM_1 = np.array([[1.0, 0.1, 3.3], [-0.05, 1.1, 2.1], [1e-4, 0, 1]])


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sequence of one pair, in a folder of another name."""
    folder = tmp_path_factory.mktemp("Daten é") / "set"
    (folder / "v_wall").mkdir(parents=True)
    noise = np.random.default_rng(0).uniform(0, 255, (120, 160, 3)).astype(np.float32)
    first = np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 127) * 6 + 127, 0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / "v_wall" / "1.png"), first)
    second = cv2.warpPerspective(first, H_2_FROM_1, (160, 120))
    cv2.imwrite(str(folder / "v_wall" / "2.png"), second)
    np.savetxt(folder / "v_wall" / "H_1_2", H_2_FROM_1)
    return folder


@pytest.mark.parametrize("protocol", ["seed", "closed", "dense"])
def test_the_rows_follow_from_the_points_to_the_last_bit(
    protocol: str, sequences: Path, tmp_path: Path
):
    config = EvaluateConfig(
        dataset=str(sequences), descriptor=("daisy", "daisy"), protocol=protocol, device="cpu",
        long_edge_px=96, query_limit=200, matcher="flann" if protocol == "seed" else "exact",
    )  # fmt: skip
    choices = choose_descriptors(config, {"stride_px": 4})
    result = EvaluateJob(config=config, choices=choices, out=tmp_path).run(JobContext())
    assert len(result.pairs) == 2 * len(result.fingerprint.sampler.queries)
    pair = read_points(tmp_path, "v_wall", 2)
    assert [image.path for image in pair.images] == ["v_wall/1.png", "v_wall/2.png"]
    resize_a, resize_b = (image.resize for image in pair.images)
    assert resize_a == resize_b == Resize((160, 120), (96, 72))
    for row in result.pairs:
        points = pair.points[row.queries][result.labels.index(row.descriptor)]
        errors = points.errors_px
        assert len(errors) == row.count
        limits = [limit for limit, _ in row.pck]
        shares = tuple(count / row.count for count in count_within(errors, limits))
        assert shares == tuple(share for _, share in row.pck)
        assert count_within(errors, CURVE_PX) == row.counts_within
        assert (np.abs(points.similarity) <= 1 + 1e-6).all()
        if protocol == "closed":  # the truth that only exact pixel centres give
            original = resize_a.backward(points.query_px)
            truth = resize_b.forward(warp_points(H_2_FROM_1, original))
            np.testing.assert_allclose(points.true_px, truth, atol=1e-3)


def some_pair(count: int, *, descriptors: int = 2) -> MeasuredPair:
    random = np.random.default_rng(count)
    places = random.uniform(0, 640, (2 + descriptors, count, 2))
    places[2, ::7] = np.nan
    similarity = random.uniform(-1, 1, (descriptors, count)).astype(np.float32)
    similarity[0, ::7] = -np.inf
    images = (
        MeasuredImage("v_é/1.ppm", "ab" * 32, Resize((1000, 700), (640, 448))),
        MeasuredImage("v_é/2.ppm", "cd" * 32, Resize((800, 600), (640, 480))),
    )
    found = tuple(
        PairPoints(places[0], places[1], places[2 + number], similarity[number])
        for number in range(descriptors)
    )
    return MeasuredPair(images, {"harris": found, "uniform": found[:1]})


def test_points_are_read_back_as_they_were(tmp_path: Path):
    assert not has_points(tmp_path)
    pair = some_pair(50)
    write_points(tmp_path, "folder/v_é", 3, pair)
    assert has_points(tmp_path)
    again = read_points(tmp_path, "folder/v_é", 3)
    assert again.images == pair.images
    assert again.points.keys() == pair.points.keys()
    for kind, found in pair.points.items():
        for one, other in zip(found, again.points[kind], strict=True):
            for name in ("query_px", "true_px", "match_px", "similarity", "errors_px"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
                assert getattr(one, name).dtype == getattr(other, name).dtype


def test_groups_with_names_too_long_for_a_folder_are_kept_and_told_apart(tmp_path: Path):
    names = [f"{'é' * 300}{end}" for end in "ab"]
    pairs = [some_pair(count) for count in (5, 6)]
    for name, pair in zip(names, pairs, strict=True):
        write_points(tmp_path, name, 1, pair)
    for name, pair in zip(names, pairs, strict=True):
        again = read_points(tmp_path, name, 1)
        for kind, found in pair.points.items():
            np.testing.assert_array_equal(again.points[kind][0].query_px, found[0].query_px)


def test_of_a_long_list_the_first_points_are_kept_so_that_a_file_stays_small(tmp_path: Path):
    pair = some_pair(3 * KEPT_QUERIES)
    write_points(tmp_path, "v", 2, pair)
    kept = read_points(tmp_path, "v", 2).points["harris"][1]
    assert len(kept.similarity) == KEPT_QUERIES
    np.testing.assert_array_equal(kept.query_px, pair.points["harris"][1].query_px[:KEPT_QUERIES])
    (file,) = (tmp_path / "points" / "v").iterdir()
    # Two lists: places of 16 bytes for queries, truths and matches, similarities of 4 bytes.
    assert file.stat().st_size < KEPT_QUERIES * ((2 + 2) * 16 + 2 * 4 + (2 + 1) * 16 + 4) + 4096


@pytest.mark.parametrize("length", [0, 10, 500, -1])
def test_a_damaged_file_is_refused_in_a_sentence(length: int, tmp_path: Path):
    write_points(tmp_path, "v", 2, some_pair(20))
    (file,) = (tmp_path / "points" / "v").iterdir()
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ResultError, match=r"2\.npz: is damaged"):
        read_points(tmp_path, "v", 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sizes_px", np.ones((2, 2), np.int64)),
        ("sizes_px", np.full((2, 2, 2), 10.5)),
        ("sizes_px", np.zeros((2, 2, 2), np.int64)),
        ("harris_px", np.ones((4, 20, 3))),
        ("harris_px", np.ones((3, 20, 2))),
        ("harris_px", np.ones((4, 19, 2))),
        ("harris_px", np.full((4, 20, 2), np.inf)),
        ("harris_px", np.full((4, 20, 2), np.nan)),
        ("harris_px", np.ones((4, 20, 2), complex)),
        ("harris_similarity", np.float32(1)),
        ("harris_similarity", np.ones((2, 1, 20), np.float32)),
    ],
)
def test_arrays_that_no_measurement_can_have_written_are_refused(
    name: str, value: np.ndarray, tmp_path: Path
):
    write_points(tmp_path, "v", 2, some_pair(20))
    (file,) = (tmp_path / "points" / "v").iterdir()
    with np.load(file) as stored:
        arrays = {one: stored[one] for one in stored.files}
    np.savez(file, **arrays | {name: value})
    with pytest.raises(ResultError, match=r"2\.npz: is damaged"):
        read_points(tmp_path, "v", 2)


def test_no_single_wrong_byte_is_more_than_a_refusal(tmp_path: Path):
    write_points(tmp_path, "v", 2, some_pair(20))
    (file,) = (tmp_path / "points" / "v").iterdir()
    data = file.read_bytes()
    refused = 0
    for place in range(0, len(data), 11):
        file.write_bytes(data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :])
        try:
            read_points(tmp_path, "v", 2)
        except ResultError:
            refused += 1
    assert refused > 0.5 * len(data) / 11


def test_points_that_were_not_kept_are_missed_in_a_sentence(tmp_path: Path):
    with pytest.raises(ResultError, match="the matches of this pair were not kept"):
        read_points(tmp_path, "v", 2)


def test_points_that_cannot_be_written_are_reported(tmp_path: Path):
    (tmp_path / "points").write_text("in the way")
    with pytest.raises(OutputError, match=r"2\.npz"):
        write_points(tmp_path, "v", 2, some_pair(5))
