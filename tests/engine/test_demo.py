"""The demo: its truth measured in its own pictures, its files whole, stopped and repeated."""

import hashlib
import json
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data import demo
from engine.data.demo import demo_dataset, first_demo_pair, write_demo
from engine.data.layouts import open_pair_set
from engine.data.layouts.hpatches import HPatchesReader
from engine.errors import JobCancelled, OutputError
from engine.geometry.coords import inside
from engine.geometry.homography import local_scale, warp_image, warp_points
from engine.images import read_image, read_size
from engine.progress import CancelToken, JobContext, Progress, Saved
from engine.truth.homography import HomographySource


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    """The demo in the tests' own cache, made once."""
    return demo_dataset()


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_demo_is_a_whole_dataset_of_both_kinds_with_a_free_pair(folder):
    dataset = HPatchesReader().read(folder)
    assert dataset.problems == ()
    assert len(dataset.only("viewpoint").groups) == 3
    assert len(dataset.only("illumination").groups) == 3
    for sequence in dataset.groups:
        assert [pair.index for pair in sequence.pairs] == [2, 3, 4, 5, 6]
        images = {path for pair in sequence.pairs for path in (pair.path_a, pair.path_b)}
        assert {max(read_size(image)) for image in images} == {640}
    (stereo,) = open_pair_set(folder / "motorcycle").pairs()
    assert (stereo.name, stereo.path_a.name, stereo.path_b.name) == (
        "motorcycle", "left.png", "right.png"
    )  # fmt: skip
    assert read_image(stereo.path_a).size_px == read_image(stereo.path_b).size_px == (741, 500)


def test_the_first_pair_is_a_viewpoint_pair_with_truth(folder):
    pair = first_demo_pair()
    assert pair.sequence.startswith("v_")
    assert isinstance(pair.truth, HomographySource)
    assert pair in HPatchesReader().read(folder).pairs()


def turn_deg(h_b_from_a, point):
    """By how many degrees an arrow to the right is turned, counter-clockwise on the screen."""
    tail, head = warp_points(h_b_from_a, point + np.array([[0, 0], [0.01, 0]]))
    return float(np.degrees(np.arctan2(tail[1] - head[1], head[0] - tail[0])))


def test_viewpoint_pairs_differ_in_scale_rotation_and_tilt(folder):
    centres = {}
    for sequence in HPatchesReader().read(folder).only("viewpoint").groups:
        size = np.array(read_size(sequence.pairs[0].path_a))
        for one in sequence.pairs:
            middle = (size - 1) / 2
            spread = local_scale(one.truth.h_b_from_a, np.array([[0, 0], size - 1]))
            centres[one.name] = (
                float(local_scale(one.truth.h_b_from_a, middle)),
                abs(turn_deg(one.truth.h_b_from_a, middle)),
                float(spread.max() / spread.min()),
            )
    scale, rotation, tilt = (max(values) for values in zip(*centres.values(), strict=True))
    assert scale > 1.8
    assert rotation > 170
    assert tilt > 1.5


def sharp_shift(truth, seen, mask):
    """The shift in px between two grey pictures within a mask, by normal equations on gradients
    (Lucas and Kanade's step), which is exact for shifts well below a pixel."""
    truth, seen = (cv2.GaussianBlur(image.astype(np.float64), (0, 0), 2) for image in (truth, seen))
    dy, dx = np.gradient(truth)
    dx, dy, difference = dx[mask], dy[mask], (seen - truth)[mask]
    normal = np.array([[dx @ dx, dx @ dy], [dx @ dy, dy @ dy]])
    return -np.linalg.solve(normal, [dx @ difference, dy @ difference])


def test_the_stated_homographies_match_the_pictures_to_a_tenth_of_a_pixel(folder):
    """Image 1 warped by the truth must lie on image k, in each quarter of what both show."""
    for sequence in HPatchesReader().read(folder).only("viewpoint").groups:
        first = cv2.cvtColor(read_image(sequence.pairs[0].path_a).pixels, cv2.COLOR_RGB2GRAY)
        size_a = (first.shape[1], first.shape[0])
        for pair in sequence.pairs:
            other = cv2.cvtColor(read_image(pair.path_b).pixels, cv2.COLOR_RGB2GRAY)
            size_b = (other.shape[1], other.shape[0])
            warped = warp_image(first, pair.truth.h_b_from_a, size_b)
            grid = np.stack(np.meshgrid(np.arange(size_b[0]), np.arange(size_b[1])), axis=-1)
            back = warp_points(np.linalg.inv(pair.truth.h_b_from_a), grid)
            mask = inside(back, size_a, margin_px=12) & inside(grid, size_b, margin_px=12)
            for rows in (slice(0, size_b[1] // 2), slice(size_b[1] // 2, None)):
                for columns in (slice(0, size_b[0] // 2), slice(size_b[0] // 2, None)):
                    part = mask[rows, columns]
                    if part.sum() < 4000:
                        continue
                    shift = sharp_shift(warped[rows, columns], other[rows, columns], part)
                    assert np.abs(shift).max() < 0.1, (pair.name, shift)


def test_that_measure_would_notice_half_a_pixel(folder):
    picture = cv2.cvtColor(read_image(folder / "v_coffee" / "1.png").pixels, cv2.COLOR_RGB2GRAY)
    moved = warp_image(
        picture, np.array([[1, 0, 0.5], [0, 1, 0], [0, 0, 1.0]]), picture.shape[::-1]
    )
    mask = np.zeros(picture.shape, bool)
    mask[20:-20, 20:-20] = True
    np.testing.assert_allclose(sharp_shift(picture, moved, mask), [0.5, 0], atol=0.05)


def test_illumination_pairs_stand_still_and_change_their_light(folder):
    for sequence in HPatchesReader().read(folder).only("illumination").groups:
        first = read_image(sequence.pairs[0].path_a).pixels.astype(float)
        for pair in sequence.pairs:
            np.testing.assert_array_equal(pair.truth.h_b_from_a, np.eye(3))
            other = read_image(pair.path_b).pixels.astype(float)
            assert other.shape == first.shape
            assert np.abs(other - first).mean() > 4, pair.name
            assert other.mean() > 12, "too dark to look at"


def test_no_two_pictures_are_alike(folder):
    pictures = {name: digest for name, digest in contents(folder).items() if name.endswith(".png")}
    assert len(set(pictures.values())) == len(pictures) == 6 * 6 + 2


def test_writing_is_repeatable_reported_and_needs_neither_network_nor_torch(
    folder, tmp_path, monkeypatch
):
    def no_network(*arguments, **options):
        raise AssertionError("the demo must not use the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    had_skimage_data = "skimage.data" in sys.modules
    events = []
    target = tmp_path / "new" / "démo 東京"
    assert write_demo(target, JobContext(emit=events.append)) == target
    assert contents(target) == contents(folder)
    assert ("skimage.data" in sys.modules) == had_skimage_data
    steps = [event for event in events if isinstance(event, Progress)]
    assert (steps[0].done, steps[-1].done, steps[-1].total) == (1, 38, 38)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert events[-1] == Saved(target, "demo")


def test_a_second_call_writes_nothing(folder, monkeypatch):
    def write_nothing(*arguments):
        raise AssertionError("written again")

    monkeypatch.setattr(demo, "write_demo", write_nothing)
    assert demo_dataset() == folder


def small_write(folder, context=None):
    """As write_demo, with two files."""
    (folder / "v_x").mkdir(parents=True)
    (folder / "v_x" / "1.png").write_bytes(b"12345")
    stamp = {"version": demo.VERSION, "files": {"v_x/1.png": 5}}
    (folder / "demo.json").write_text(json.dumps(stamp))
    return folder


@pytest.mark.parametrize("damage", ["cut", "gone", "no stamp", "bad stamp", "strange stamp"])
def test_a_damaged_demo_is_made_again(fresh_home, monkeypatch, damage):
    monkeypatch.setattr(demo, "write_demo", small_write)
    folder = demo_dataset()
    stamp, picture = folder / "demo.json", folder / "v_x" / "1.png"
    match damage:
        case "cut":
            picture.write_bytes(b"1")
        case "gone":
            picture.unlink()
        case "no stamp":
            stamp.unlink()
        case "bad stamp":
            stamp.write_bytes(b"\xff{")
        case "strange stamp":
            stamp.write_text("[1, 2]")
    assert demo_dataset() == folder
    assert picture.read_bytes() == b"12345"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_whoever_comes_second_takes_the_finished_demo(fresh_home, monkeypatch):
    """Another process moves its folder into place while ours is being written."""

    def overtaken(part, context=None):
        small_write(part)
        small_write(part.parent / f"demo-v{demo.VERSION}")
        return part

    monkeypatch.setattr(demo, "write_demo", overtaken)
    folder = demo_dataset()
    assert (folder / "v_x" / "1.png").is_file()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_stopped_demo_leaves_nothing_behind(fresh_home):
    cancel = CancelToken()
    with pytest.raises(JobCancelled):
        demo_dataset(JobContext(emit=lambda event: cancel.cancel(), cancel=cancel))
    assert list((fresh_home / "cache").iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be created"):
        write_demo(tmp_path / "file" / "demo")
