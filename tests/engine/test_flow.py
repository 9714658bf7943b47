"""Truth by flow: files as other programs write them, and places against analytic scenes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import TruthError
from engine.geometry.coords import Resize
from engine.truth.base import Visibility, open_truth
from engine.truth.displacements import Displacements
from engine.truth.flow import FlowSource, FlowTruth, read_flow

SIZE_PX = (13, 9)
Array = NDArray[np.float64]


@pytest.fixture
def flow() -> NDArray[np.float32]:
    """Multiples of 1/64 px, which KITTI's format can hold; in one corner unknown."""
    values = np.random.default_rng(0).integers(-6400, 6400, (*SIZE_PX[::-1], 2)) / 64
    values[:2, :3] = np.nan
    return values.astype(np.float32)


# ---- files, each written by another program or by hand -----------------------------------------


def write_kitti(path: Path, values: NDArray[np.uint16]) -> None:
    """A PNG of 16 bit in colour, made of bytes: R, G and B of each pixel, the high byte first."""
    height, width, _ = values.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def as_kitti(flow: NDArray[np.float32]) -> NDArray[np.uint16]:
    """As the development kit says: v · 64 + 2^15, and 1 in the third channel where it is valid."""
    known = np.isfinite(flow).all(axis=2)
    stored = np.zeros((*known.shape, 3), np.uint16)
    stored[known, :2] = np.round(flow[known] * 64.0 + 2**15)
    stored[..., 2] = known
    return stored


def write_flo(path: Path, flow: NDArray[np.float32]) -> None:
    cv2.writeOpticalFlow(str(path), np.where(np.isnan(flow), np.float32(1e10), flow))


def write_pfm(path: Path, flow: NDArray[np.float32], order: str, third: float = 0.0) -> None:
    """From the bottom row up; the sign of the scale tells the order of the bytes."""
    height, width, _ = flow.shape
    stacked = np.dstack([flow, np.full((height, width), third)])[::-1]
    scale = {"<": "-1.0", ">": "1.0"}[order]
    data = stacked.astype(f"{order}f4").tobytes()
    path.write_bytes(f"PF\n{width} {height}\n{scale}\n".encode() + data)


def write_as(kind: str, path: Path, flow: NDArray[np.float32]) -> None:
    if kind == "flo":
        write_flo(path, flow)
    elif kind == "KITTI":
        write_kitti(path, as_kitti(flow))
    elif kind.startswith("PFM"):
        write_pfm(path, flow, kind[-1])
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, flow.astype(np.float64))
    else:
        with path.open("wb") as file:
            np.savez(file, flow=flow, image=np.zeros((4, 5, 3)))


KINDS = ("flo", "KITTI", "PFM <", "PFM >", "npy", "npz")


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_flow_that_was_written(
    tmp_path: Path, flow: NDArray[np.float32], kind: str
):
    """The file has no ending: content alone tells the format."""
    write_as(kind, tmp_path / "written", flow)
    np.testing.assert_array_equal(read_flow(tmp_path / "written", SIZE_PX), flow)


def test_a_picture_by_opencv_is_read_as_opencv_means_it(tmp_path: Path, flow: NDArray[np.float32]):
    """OpenCV has blue first in memory, so what is red in the file is written last."""
    cv2.imwrite(str(tmp_path / "flow.png"), as_kitti(flow)[..., ::-1])
    np.testing.assert_array_equal(read_flow(tmp_path / "flow.png", SIZE_PX), flow)


def test_a_third_number_marks_what_is_known_or_says_nothing(
    tmp_path: Path, flow: NDArray[np.float32]
):
    known = np.isfinite(flow).all(axis=2)
    np.save(tmp_path / "masked.npy", np.dstack([np.nan_to_num(flow), known]))
    np.testing.assert_array_equal(read_flow(tmp_path / "masked.npy", SIZE_PX), flow)
    write_pfm(tmp_path / "ones.pfm", flow, "<", third=1.0)
    np.testing.assert_array_equal(read_flow(tmp_path / "ones.pfm", SIZE_PX), flow)
    np.save(tmp_path / "xyz.npy", np.dstack([flow, np.full(SIZE_PX[::-1], 0.3) + known]))
    with pytest.raises(TruthError, match="third number for each pixel that is no mark"):
        read_flow(tmp_path / "xyz.npy", SIZE_PX)


def test_a_flow_of_zeros_is_a_flow(tmp_path: Path):
    still = np.zeros((*SIZE_PX[::-1], 2), np.float32)
    for kind in KINDS:
        write_as(kind, tmp_path / "written", still)
        np.testing.assert_array_equal(read_flow(tmp_path / "written", SIZE_PX), still)


def test_numbers_above_a_thousand_million_are_unknown_whichever_sign_and_axis(tmp_path: Path):
    values = np.zeros((*SIZE_PX[::-1], 2), np.float32)
    values[0, 0, 0], values[1, 1, 1], values[2, 2, 0], values[3, 3, 1] = 1.1e9, -2e9, np.inf, np.nan
    cv2.writeOpticalFlow(str(tmp_path / "f.flo"), values)
    unknown = np.isnan(read_flow(tmp_path / "f.flo", SIZE_PX)).all(axis=2)
    assert sorted(map(tuple, np.argwhere(unknown))) == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_what_is_no_flow_of_this_image_is_refused_with_a_reason(
    tmp_path: Path, flow: NDArray[np.float32]
):
    path = tmp_path / "flow"
    write_flo(tmp_path / "f.flo", flow)
    whole = (tmp_path / "f.flo").read_bytes()
    with pytest.raises(TruthError, match="has 13 × 9 pixels, and its image has 9 × 13"):
        read_flow(tmp_path / "f.flo", (9, 13))
    path.write_bytes(whole[:-1])
    with pytest.raises(TruthError, match=r"damaged \.flo file .*936 bytes"):
        read_flow(path, SIZE_PX)
    path.write_bytes(whole + b"\0")
    with pytest.raises(TruthError, match=r"damaged \.flo file"):
        read_flow(path, SIZE_PX)
    path.write_bytes(b"PIEH" + struct.pack("<ii", -5, 2**30))
    with pytest.raises(TruthError, match="limit"):
        read_flow(path, SIZE_PX)
    for array, reason in (
        (flow[..., 0], "1 number for each pixel, and flow is 2"),
        (np.zeros((9, 13, 4)), "4 numbers for each pixel"),
        (np.full((9, 13, 2), np.nan), "tells of no pixel where it moves"),
        (flow.transpose(2, 0, 1), "no map|pixels, and its image"),
    ):
        with path.open("wb") as file:
            np.save(file, array)
        with pytest.raises(TruthError, match=reason):
            read_flow(path, SIZE_PX)
    cv2.imwrite(str(tmp_path / "colours.png"), np.zeros((9, 13, 3), np.uint8))
    with pytest.raises(TruthError, match="picture of 8 bit, as flow is shown in colours"):
        read_flow(tmp_path / "colours.png", SIZE_PX)


# ---- places between pixels ---------------------------------------------------------------------


def pixels_of(size_px: tuple[int, int]) -> Array:
    """``(H, W, 2)`` centres of all pixels."""
    x, y = np.meshgrid(np.arange(size_px[0]), np.arange(size_px[1]))
    return np.stack([x, y], axis=-1).astype(np.float64)


def moved_by(matrix: Array, points: Array) -> Array:
    """Homography, written out."""
    x, y = points[..., 0], points[..., 1]
    rows = [row[0] * x + row[1] * y + row[2] for row in matrix]
    return np.stack([rows[0] / rows[2], rows[1] / rows[2]], axis=-1)


def turned(angle_deg: float, scale: float, perspective: float, size_px: tuple[int, int]) -> Array:
    """About the middle of an image."""
    angle = np.deg2rad(angle_deg)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    x, y = (size_px[0] - 1) / 2, (size_px[1] - 1) / 2
    return np.array(
        [
            [cosine, -sine, x - cosine * x + sine * y],
            [sine, cosine, y - sine * x - cosine * y],
            [perspective, 0.0, 1.0],
        ]
    )


TURNS = [(3, 1.1, 1e-4), (90, 1.0, 0.0), (180, 1.0, 1e-4), (20, 3.0, 0.0), (30, 0.4, 2e-4)]


@pytest.mark.parametrize(("angle_deg", "scale", "perspective"), TURNS)
def test_a_plane_is_followed_between_pixels_however_it_turns(
    angle_deg: float, scale: float, perspective: float
):
    """Both directions from the forward flow alone, against the homography itself."""
    size_a_px, size_b_px = (160, 120), (150, 130)
    matrix = turned(angle_deg, scale, perspective, size_a_px)
    pixels = pixels_of(size_a_px)
    flow = Displacements.of(moved_by(matrix, pixels) - pixels)
    truth = FlowTruth(flow, None, None, (size_a_px, size_b_px), 0.0)
    points = np.random.default_rng(0).uniform(0, 1, (3000, 2)) * [149, 119]
    there = truth.locate("a", points)
    np.testing.assert_allclose(there.points_px, moved_by(matrix, points), atol=5e-3)
    within = ((there.points_px >= 0) & (there.points_px <= [149, 129])).all(axis=1)
    np.testing.assert_array_equal(there.visibility == Visibility.SEEN, within)
    points *= [1, 129 / 119]
    back = truth.locate("b", points)
    true_back = moved_by(np.linalg.inv(matrix), points)
    known = np.isfinite(back.points_px[:, 0])
    np.testing.assert_allclose(back.points_px[known], true_back[known], atol=5e-3)
    margin = 2 / scale  # two pixels of image b: corners are not covered to their ends
    deep = ((true_back >= margin) & (true_back <= np.array([159, 119]) - margin)).all(axis=1)
    beyond = ((true_back < -margin) | (true_back > np.array([159, 119]) + margin)).any(axis=1)
    assert known[deep].all()
    assert not known[beyond].any()
    inside_a = ((true_back >= 0) & (true_back <= [159, 119])).all(axis=1)
    assert (back.visibility[known & inside_a] == Visibility.SEEN).all()


def layered(
    size_px: tuple[int, int], box: tuple[int, int, int, int], near: Array, far: Array
) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Flow there and back of a box before a wall, and which pixels the other image does not show.

    Args:
        box: left, top, right and bottom of the box in image a, in pixels that belong to it.
        near, far: by which the box and the wall move.
    """
    pixels = pixels_of(size_px)

    def in_box(points: Array) -> NDArray[np.bool_]:
        left, top, right, bottom = box
        return (
            (points[..., 0] >= left - 0.5)
            & (points[..., 0] < right + 0.5)
            & (points[..., 1] >= top - 0.5)
            & (points[..., 1] < bottom + 0.5)
        )

    box_a, box_b = in_box(pixels), in_box(pixels - near)
    forward = np.where(box_a[..., None], near, far)
    backward = np.where(box_b[..., None], -near, -far)
    hidden_a = ~box_a & in_box(pixels + far - near)
    hidden_b = ~box_b & in_box(pixels - far)
    return forward, backward, hidden_a, hidden_b


NEAR, FAR = np.array([12.3, 4.1]), np.array([-3.2, 0.4])
SCENE = ((120, 90), (30, 20, 69, 59), NEAR, FAR)


def write_scene(folder: Path) -> FlowSource:
    forward, backward, hidden_a, _ = layered(*SCENE)
    np.save(folder / "forward.npy", forward)
    np.save(folder / "backward.npy", backward)
    shown = forward.copy()
    shown[hidden_a] = np.nan
    np.save(folder / "shown.npy", shown)
    return FlowSource(folder / "forward.npy", folder / "backward.npy")


def test_what_stands_behind_something_is_occluded_in_both_directions(tmp_path: Path):
    forward, backward, hidden_a, hidden_b = layered(*SCENE)
    truth = open_truth(write_scene(tmp_path), *(SCENE[0],) * 2)
    pixels = pixels_of(SCENE[0])
    for side, flow, hidden in (("a", forward, hidden_a), ("b", backward, hidden_b)):
        found = truth.locate(side, pixels.reshape(-1, 2))  # type: ignore[arg-type]
        places = (pixels + flow).reshape(-1, 2)
        np.testing.assert_allclose(found.points_px, places, atol=1e-5)
        within = ((places >= 0) & (places <= [119, 89])).all(axis=1)
        assert (found.visibility[~within] == Visibility.OUTSIDE).all()
        wrong = (found.visibility == Visibility.OCCLUDED) != (hidden.reshape(-1) & within)
        assert hidden.sum() > 500
        # The outline of the box in the other image falls between pixels, along 160 of them.
        assert wrong.sum() < 100


def test_the_pixels_of_an_unoccluded_flow_tell_exactly_what_is_seen(tmp_path: Path):
    """As KITTI gives flow: once of all pixels, and once of those that both images show."""
    write_scene(tmp_path)
    source = FlowSource(tmp_path / "forward.npy", unoccluded=tmp_path / "shown.npy")
    truth = open_truth(source, *(SCENE[0],) * 2)
    forward, _, hidden_a, hidden_b = layered(*SCENE)
    pixels = pixels_of(SCENE[0])
    found = truth.locate("a", pixels.reshape(-1, 2))
    places = (pixels + forward).reshape(-1, 2)
    within = ((places >= 0) & (places <= [119, 89])).all(axis=1)
    occluded = found.visibility == Visibility.OCCLUDED
    np.testing.assert_array_equal(occluded, hidden_a.reshape(-1) & within)
    # Back from b: nothing of the wall lands on the box, and nothing at all where b shows more.
    back = truth.locate("b", pixels.reshape(-1, 2))
    box = ((pixels >= [44, 26]) & (pixels <= [80, 61])).all(axis=2).reshape(-1)
    np.testing.assert_allclose(back.points_px[box], (pixels - NEAR).reshape(-1, 2)[box], atol=1e-4)
    assert (back.visibility[hidden_b.reshape(-1)] == Visibility.UNKNOWN).mean() > 0.9


def test_where_two_surfaces_land_and_nothing_tells_the_nearer_one_nothing_is_known():
    forward, _, hidden_a, _ = layered(*SCENE)
    flow = Displacements.of(forward)
    truth = FlowTruth(flow, None, None, (SCENE[0],) * 2, 0.0)
    pixels = pixels_of(SCENE[0])
    # Pixels of image b between four pixels of the hidden wall.
    origins = np.floor(pixels - FAR).astype(int).reshape(-1, 2)
    x, y = origins.T
    four = [hidden_a[(y + down) % 90, (x + right) % 120] for down in (0, 1) for right in (0, 1)]
    doubly = np.logical_and.reduce(four)
    doubly &= ((origins >= 0) & (origins < [119, 89])).all(axis=1)
    doubly = pixels.reshape(-1, 2)[doubly]
    assert len(doubly) > 100
    assert (truth.locate("b", doubly).visibility == Visibility.UNKNOWN).all()


def test_nothing_is_interpolated_across_an_edge():
    """Between box and wall a point belongs to either, and a mixture is the place of none."""
    forward, *_ = layered(*SCENE)
    flow = Displacements.of(forward)
    across = np.array([[29.5, 40.0], [29.2, 40.0], [29.9, 40.4], [50.0, 19.5], [69.3, 59.3]])
    assert np.isnan(flow.read(across)).all()
    beside = np.array([[29.0, 40.0], [30.0, 40.0], [28.7, 40.0], [30.3, 40.5], [50.0, 20.0]])
    expected = [FAR, NEAR, FAR, NEAR, NEAR]
    np.testing.assert_allclose(flow.read(beside), expected, atol=1e-6)


def test_an_edge_is_found_also_in_a_pair_that_is_turned_upside_down():
    """All steps are 2 px long there, so length alone would find edges everywhere, or none."""
    size_px = (60, 40)
    pixels = pixels_of(size_px)
    values = moved_by(turned(180, 1, 0, size_px), pixels) - pixels
    values[:, 30:] += [6.0, 0.0]
    flow = Displacements.of(values)
    assert np.isnan(flow.read(np.array([[29.5, 20.0]]))).all()
    smooth = np.array([[20.5, 20.5], [40.3, 7.9]])
    expected = moved_by(turned(180, 1, 0, size_px), smooth) - smooth + [[0.0, 0.0], [6.0, 0.0]]
    np.testing.assert_allclose(flow.read(smooth), expected, atol=1e-4)


def test_lone_pixels_answer_for_themselves_in_both_directions():
    """A laser scanner leaves every third pixel of every other row, say."""
    size_px = (60, 40)
    values = np.full((40, 60, 2), np.nan)
    values[::2, ::3] = [4.25, -1.5]
    truth = FlowTruth(Displacements.of(values), None, None, (size_px, size_px), 0.0)
    lone = pixels_of(size_px)[::2, ::3].reshape(-1, 2)
    moved = truth.locate("a", lone + 0.3).points_px
    np.testing.assert_allclose(moved - lone, np.tile([4.55, -1.2], (len(lone), 1)))
    assert np.isnan(truth.locate("a", lone[1:20] + 0.6).points_px).all()
    landed = np.floor(lone + [4.25, -1.5] + 0.5)
    landed = landed[((landed >= 0) & (landed <= [59, 39])).all(axis=1)]
    back = truth.locate("b", landed)
    np.testing.assert_allclose(back.points_px, landed - [4.25, -1.5], atol=1e-5)


def test_points_beyond_the_image_or_without_a_number_are_unknown():
    truth = FlowTruth(Displacements.of(np.zeros((9, 13, 2))), None, None, (SIZE_PX, SIZE_PX), 0.25)
    odd = np.array([[-0.2, 3.0], [12.3, 3.0], [3.0, np.nan], [np.inf, 2.0], [12.0, 8.0]])
    found = truth.locate("a", odd)
    assert list(found.visibility) == [Visibility.UNKNOWN] * 4 + [Visibility.SEEN]
    np.testing.assert_array_equal(found.uncertainty_px, [np.nan] * 4 + [0.25])
    assert truth.locate("a", np.empty((0, 2))).points_px.shape == (0, 2)


def test_an_image_of_one_row_is_read():
    flow = Displacements.of(np.array([[[1.0, 0.0], [1.5, 0.0], [2.0, 0.0]]]))
    np.testing.assert_allclose(flow.read(np.array([[0.5, 0.0], [2.0, 0.0]])), [[1.25, 0], [2, 0]])
    assert np.isfinite(flow.inverse((5, 1)).values).any()


def test_a_resized_flow_leads_to_the_resized_places(tmp_path: Path):
    truth = open_truth(write_scene(tmp_path), *(SCENE[0],) * 2)
    resize_a, resize_b = Resize(SCENE[0], (60, 45)), Resize(SCENE[0], (240, 90))
    points = np.array([[20.0, 20.0], [5.0, 40.0]])
    found = truth.resized(resize_a, resize_b).locate("a", points)
    moved = (points + 0.5) * 2 - 0.5 + [NEAR, FAR]
    np.testing.assert_allclose(found.points_px, (moved + 0.5) * [2, 1] - 0.5, atol=1e-5)


def test_the_identity_changes_with_any_of_the_files(tmp_path: Path):
    source = write_scene(tmp_path)
    identities = {
        source.identity(),
        FlowSource(source.forward).identity(),
        FlowSource(source.forward, None, tmp_path / "shown.npy").identity(),
        FlowSource(source.forward, uncertainty_px=0.1).identity(),
    }
    np.save(source.forward, np.load(source.forward) + 1)
    assert len({*identities, source.identity()}) == 5
    assert source.files == (source.forward, source.backward)
