"""One rendered scene, its truth written in every format: all say the same, as finely as they can.

Each format is written by another library or by hand, and what it gives must lie within its own
rounding of the scene's exact places.  What is hidden must be told alike, but within two pixels of
where depth jumps: maps know depth at the centres of pixels only.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import sqlite3
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.data import depth_scenes
from engine.geometry.coords import inside
from engine.truth.base import TruePoints, TruthSource, Visibility, open_truth
from engine.truth.cameras import Camera
from engine.truth.colmap_model import read_colmap_model
from engine.truth.depth import DepthSource
from engine.truth.disparity import DisparitySource
from engine.truth.flow import FlowSource
from engine.truth.landmarks import LandmarksSource
from engine.truth.points import PointsSource
from engine.truth.tracks import TracksSource
from engine.truth.view_lists import read_views
from engine.vocabulary import SIDES, Side
from tests.engine.rendered_scene import (
    MATRIX,
    SIZE_PX,
    Array,
    Rendered,
    pixels_px,
    render,
)

FLOAT = 2**-23
"""What a 32-bit float may be off by, as a share of its value, rounded twice."""

CAST_PX = 2e-5
"""How exactly the scene's rays are cast."""

DEPTH_STEPS = 50
"""To a unit of the world: a PNG of 16 bit holds 420 of them."""


@pytest.fixture(scope="module")
def rectified() -> Iterator[Rendered]:
    yield from cast(rectified=True)


@pytest.fixture(scope="module")
def turned() -> Iterator[Rendered]:
    yield from cast(rectified=False)


@pytest.fixture(params=["rectified", "turned"])
def rendered(request: pytest.FixtureRequest) -> Rendered:
    scene: Rendered = request.getfixturevalue(request.param)
    return scene


def cast(*, rectified: bool) -> Iterator[Rendered]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(depth_scenes, "_STEPS", 48)  # twelve step over a corner now and then
        scene = render(rectified=rectified)
        assert scene.exact
        yield scene


# ---- writers ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """A way of writing the truth.

    Attributes:
        name: of the format.
        write: into a folder.
        tolerance_px: ``(N,)`` by side: how far its numbers may be off at all pixels.
    """

    name: str
    write: Callable[[Path, Rendered], TruthSource]
    tolerance_px: Callable[[Rendered, Side], Array | float]


def grid(values: Array) -> Array:
    return values.reshape(*SIZE_PX[::-1], *values.shape[1:])


def flow(rendered: Rendered, side: Side) -> NDArray[np.float32]:
    return grid(rendered.exact[side].points_px - pixels_px()).astype(np.float32)


def write_kitti_flow(
    path: Path, values: NDArray[np.float32], known: NDArray[np.bool_] | None = None
) -> None:
    stored = np.rint(values * 64.0 + 2**15).astype(np.uint16)
    valid = np.ones(values.shape[:2], np.uint16) if known is None else known.astype(np.uint16)
    cv2.imwrite(str(path), np.dstack([valid, stored[..., 1], stored[..., 0]]))  # blue first


def write_hdf5(path: Path, values: Array | NDArray[np.float32], name: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file[name] = values.astype(np.float32)


def write_flow_pfm(path: Path, values: NDArray[np.float32]) -> None:
    cv2.imwrite(str(path), np.dstack([np.zeros_like(values[..., 0]), values[..., ::-1]]))


FLOWS: dict[str, Callable[[Path, NDArray[np.float32]], object]] = {
    ".flo": lambda path, values: cv2.writeOpticalFlow(str(path), values),
    ".png": write_kitti_flow,
    ".pfm": write_flow_pfm,
    ".npy": lambda path, values: np.save(path, values),
    ".npz": lambda path, values: np.savez(path, flow=values),
    ".h5": lambda path, values: write_hdf5(path, values, "flow"),
    ".tif": write_flow_pfm,
}


def flow_format(ending: str) -> Format:
    def write(folder: Path, rendered: Rendered) -> TruthSource:
        paths = {side: folder / f"from_{side}{ending}" for side in SIDES}
        for side, path in paths.items():
            FLOWS[ending](path, flow(rendered, side))
        return FlowSource(paths["a"], paths["b"])

    def tolerance_px(rendered: Rendered, side: Side) -> float:
        if ending == ".png":
            return 0.5 / 64 * math.sqrt(2)
        return FLOAT * float(np.abs(flow(rendered, side)).max()) + CAST_PX

    return Format(f"flow {ending}", write, tolerance_px)


def write_floats(path: Path, values: Array) -> None:
    cv2.imwrite(str(path), values.astype(np.float32))


def whole(dtype: type, factor: float) -> Callable[[Path, Array], None]:
    def write(path: Path, values: Array) -> None:
        stored = np.rint(values * factor)
        assert 0 < stored.min() <= stored.max() <= np.iinfo(dtype).max
        cv2.imwrite(str(path), stored.astype(dtype))

    return write


def write_colmap_map(path: Path, values: Array) -> None:
    """As COLMAP writes its dense maps: width, height and channels, then floats by rows."""
    head = f"{values.shape[1]}&{values.shape[0]}&1&".encode()
    path.write_bytes(head + values.astype("<f4").tobytes())


def writes_exr() -> bool:
    try:
        return bool(cv2.imencode(".exr", np.ones((2, 2), np.float32))[0])
    except cv2.error:
        return False


MAPS: dict[str, Callable[[Path, Array], None]] = {
    ".npy": lambda path, values: np.save(path, values.astype(np.float32)),
    ".npz": lambda path, values: np.savez(path, depth=values.astype(np.float32)),
    ".h5": lambda path, values: write_hdf5(path, values, "depth"),
    ".pfm": write_floats,
    ".tif": write_floats,
    ".geometric.bin": write_colmap_map,
}
if writes_exr():
    MAPS[".exr"] = write_floats


def disparity_format(
    name: str, ending: str, write_map: Callable[[Path, Array], None], factor: float | None
) -> Format:
    def write(folder: Path, rendered: Rendered) -> TruthSource:
        paths = {side: folder / f"disp_{side}{ending}" for side in SIDES}
        for side, path in paths.items():
            write_map(path, np.abs(flow(rendered, side)[..., 0].astype(float)))
        return DisparitySource(paths["a"], paths["b"], factor=factor)

    def tolerance_px(rendered: Rendered, side: Side) -> float:
        if write_map in MAPS.values():
            return FLOAT * float(np.abs(flow(rendered, side)).max()) + CAST_PX
        return 0.5 / (factor or 256) + CAST_PX

    return Format(f"disparity {name}", write, tolerance_px)


def quaternion(rotation: Array) -> Array:
    """w, x, y, z of a rotation, by its axis and angle."""
    turn = cv2.Rodrigues(rotation)[0].ravel()
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle else turn
    return np.array([math.cos(angle / 2), *(math.sin(angle / 2) * axis)])


def lens() -> list[float]:
    return [*(MATRIX[0, 0], MATRIX[1, 1]), *(MATRIX[0, 2] + 0.5, MATRIX[1, 2] + 0.5)]


def write_colmap_text(folder: Path, rendered: Rendered) -> dict[str, Camera]:
    words = " ".join(map(repr, map(float, lens())))
    (folder / "cameras.txt").write_text(f"# one\n4 PINHOLE {SIZE_PX[0]} {SIZE_PX[1]} {words}\n")
    lines = []
    for number, (side, pose) in enumerate(rendered.poses.items(), start=1):
        numbers = map(float, [*quaternion(pose[:, :3]), *pose[:, 3]])
        lines += [f"{number} {' '.join(map(repr, numbers))} 4 {side}.png", "1.5 2.5 -1"]
    (folder / "images.txt").write_text("\n".join([*lines, ""]))
    return read_colmap_model(folder)


def write_colmap_binary(folder: Path, rendered: Rendered) -> dict[str, Camera]:
    cameras = struct.pack("<QIiQQ4d", 1, 4, 1, *SIZE_PX, *lens())
    (folder / "cameras.bin").write_bytes(cameras)
    images = [struct.pack("<Q", 2)]
    for number, (side, pose) in enumerate(rendered.poses.items(), start=1):
        numbers = [*quaternion(pose[:, :3]), *pose[:, 3]]
        images.append(struct.pack("<I7dI", number, *numbers, 4) + f"{side}.png\0".encode())
        images.append(struct.pack("<Qddq", 1, 1.5, 2.5, -1))
    (folder / "images.bin").write_bytes(b"".join(images))
    return read_colmap_model(folder)


def write_views(folder: Path, rendered: Rendered) -> dict[str, Camera]:
    lines = []
    for side, pose in rendered.poses.items():
        numbers = [*pose[:, :3].ravel(), *pose[:, 3]]
        words = [*map(repr, map(float, numbers)), "PINHOLE", *map(str, SIZE_PX)]
        lines.append(" ".join([f"{side}.png", *words, *map(repr, map(float, lens()))]))
    (folder / "views.txt").write_text("\n".join(lines))
    return read_views(folder / "views.txt")


CAMERAS = {
    "COLMAP text": write_colmap_text,
    "COLMAP binary": write_colmap_binary,
    "views.txt": write_views,
}


def depth_format(ending: str, cameras: str) -> Format:
    rounded = ending == ".png"

    def write(folder: Path, rendered: Rendered) -> TruthSource:
        paths = {side: folder / f"depth_{side}{ending}" for side in SIDES}
        for side, path in paths.items():
            write_map = whole(np.uint16, DEPTH_STEPS) if rounded else MAPS[ending]
            write_map(path, grid(rendered.exact[side].depth))
        views = CAMERAS[cameras](folder, rendered)
        factor = DEPTH_STEPS if rounded else None
        return DepthSource(paths["a"], paths["b"], views["a.png"], views["b.png"], factor)

    def tolerance_px(rendered: Rendered, side: Side) -> Array:
        half_step = 0.5 / DEPTH_STEPS if rounded else 0.0
        # Depth is rounded where it is written and its inverse where it is read.
        step = half_step + FLOAT * rendered.exact[side].depth.max()
        return 1.001 * rendered.sensitivity_px(side, step) + CAST_PX

    return Format(f"depth {ending}, {cameras}", write, tolerance_px)


DENSE = [
    *map(flow_format, FLOWS),
    *itertools.starmap(depth_format, itertools.product([*MAPS, ".png"], CAMERAS)),
]
STEREO = [
    disparity_format("Middlebury", ".png", whole(np.uint8, 6), 6),
    disparity_format("KITTI", ".png", whole(np.uint16, 256), None),
    disparity_format("PFM", ".pfm", MAPS[".pfm"], None),
    disparity_format(".npy", ".npy", MAPS[".npy"], None),
    *(disparity_format(one, one, MAPS[one], None) for one in MAPS if one not in (".pfm", ".npy")),
]

# ---- what is asked of them -------------------------------------------------------------------


def assert_same(found: TruePoints, rendered: Rendered, side: Side, tolerance_px: Array | float):
    """Places wherever they are known, and what is seen, but beside edges and at the border."""
    exact = rendered.exact[side]
    known = np.isfinite(found.points_px).all(axis=1)
    gap_px = np.linalg.norm(found.points_px - exact.points_px, axis=1)
    assert (gap_px <= tolerance_px)[known].all()
    deep, shallow = (inside(exact.points_px, SIZE_PX, margin_px=one) for one in (0.2, -0.2))
    sure = ~exact.near_edge & (deep == shallow)
    assert sure.mean() > 0.7
    assert np.array_equal(found.visibility[sure], exact.visibility[sure])
    for kind, share in (
        (Visibility.SEEN, 0.5),
        (Visibility.OCCLUDED, 0.004),
        (Visibility.OUTSIDE, 0.02),
    ):
        assert (exact.visibility[sure] == kind).mean() > share


@pytest.mark.parametrize("form", DENSE, ids=lambda form: form.name)
def test_every_format_gives_the_exact_places_within_its_rounding(
    form: Format, rendered: Rendered, tmp_path: Path
):
    truth = open_truth(form.write(tmp_path, rendered), SIZE_PX, SIZE_PX)
    for side in SIDES:
        found = truth.locate(side, pixels_px())
        assert_same(found, rendered, side, form.tolerance_px(rendered, side))


@pytest.mark.parametrize("form", STEREO, ids=lambda form: form.name)
def test_every_disparity_gives_the_exact_places_within_its_rounding(
    form: Format, rectified: Rendered, tmp_path: Path
):
    truth = open_truth(form.write(tmp_path, rectified), SIZE_PX, SIZE_PX)
    for side in SIDES:
        found = truth.locate(side, pixels_px())
        assert_same(found, rectified, side, form.tolerance_px(rectified, side))


@pytest.mark.parametrize(
    "form", [STEREO[0], STEREO[1], depth_format(".png", "views.txt")], ids=lambda form: form.name
)
def test_the_stated_uncertainty_is_the_rounding_that_was_done(
    form: Format, rectified: Rendered, tmp_path: Path
):
    truth = open_truth(form.write(tmp_path, rectified), SIZE_PX, SIZE_PX)
    for side in SIDES:
        found = truth.locate(side, pixels_px())
        gap_px = np.linalg.norm(found.points_px - rectified.exact[side].points_px, axis=1)
        share = gap_px / found.uncertainty_px
        assert math.sqrt(np.nanmean(share**2)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "form",
    [flow_format(".npy"), STEREO[3], depth_format(".npy", "COLMAP binary")],
    ids=lambda form: form.name,
)
def test_between_pixels_a_place_is_off_by_how_the_surface_bends(
    form: Format, rectified: Rendered, tmp_path: Path
):
    """A straight line misses a curve by an eighth of its second difference, along each axis."""
    truth = open_truth(form.write(tmp_path, rectified), SIZE_PX, SIZE_PX)
    points_px = np.random.default_rng(0).uniform(0, np.array(SIZE_PX) - 1, (3000, 2))
    for side in SIDES:
        exact = rectified.exact[side]
        x, y = np.rint(points_px).astype(int).T
        clear = ~grid(exact.near_edge)[y, x]
        places, _ = rectified.carry(side, points_px)
        moves = grid(exact.points_px - pixels_px())
        bend = np.zeros(SIZE_PX[::-1])
        for axis in (0, 1):
            second = np.linalg.norm(np.diff(moves, 2, axis=axis), axis=-1)
            bend[1:-1, 1:-1] += second[:, 1:-1] if axis == 0 else second[1:-1]
        limit = np.quantile(bend[grid(~exact.near_edge)], 0.999) / 8
        gap_px = np.linalg.norm(truth.locate(side, points_px).points_px - places, axis=1)
        assert np.nanquantile(gap_px[clear], 0.99) < limit + CAST_PX < 0.2


def test_left_disparity_and_forward_flow_alone_say_the_same_where_they_say_it(
    rectified: Rendered, tmp_path: Path
):
    """What the other map would have told is carried over; it may leave gaps, but no other place."""
    path = tmp_path / "left.pfm"
    write_floats(path, -flow(rectified, "a")[..., 0].astype(float))
    np.save(tmp_path / "flow.npy", flow(rectified, "a"))
    for source, checks in (
        (DisparitySource(path), True),
        (FlowSource(tmp_path / "flow.npy"), False),
    ):
        truth = open_truth(source, SIZE_PX, SIZE_PX)
        exact = rectified.exact["a"]
        found = truth.locate("a", pixels_px())
        if checks:  # a flow alone tells nothing of what hides what
            assert_same(found, rectified, "a", 1e-4)
        exact, found = rectified.exact["b"], truth.locate("b", pixels_px())
        clear = ~exact.near_edge
        seen = found.seen & (exact.visibility == Visibility.SEEN)
        assert (seen & clear).sum() > 0.97 * (clear & (exact.visibility == Visibility.SEEN)).sum()
        gap_px = np.linalg.norm(found.points_px - exact.points_px, axis=1)
        # Where a wall stands on the ground, a straight line cuts the corner.
        assert np.quantile(gap_px[seen & clear], 0.99) < 0.02
        assert gap_px[seen & clear].max() < 0.25


@pytest.mark.parametrize("kind", ["flow", "disparity"])
def test_kitti_s_two_maps_tell_what_is_hidden_by_what_the_second_one_lacks(
    kind: str, rectified: Rendered, tmp_path: Path
):
    """All pixels in one, and in the other those that both images show; nothing leads back."""
    exact = rectified.exact["a"]
    shown = grid(exact.visibility == Visibility.SEEN)
    paths = (tmp_path / "occ.png", tmp_path / "noc.png")
    source: TruthSource
    if kind == "flow":
        source = FlowSource(paths[0], unoccluded=paths[1])
        for path, known in zip(paths, (np.ones_like(shown), shown), strict=True):
            write_kitti_flow(path, flow(rectified, "a"), known)
    else:
        source = DisparitySource(paths[0], unoccluded=paths[1])
        stored = np.rint(-256.0 * flow(rectified, "a")[..., 0]).astype(np.uint16)
        for path, known in zip(paths, (np.ones_like(shown), shown), strict=True):
            cv2.imwrite(str(path), np.where(known, stored, 0))
    found = open_truth(source, SIZE_PX, SIZE_PX).locate("a", pixels_px())
    assert_same(found, rectified, "a", 0.5 / 64 * math.sqrt(2))
    hidden = exact.visibility == Visibility.OCCLUDED
    inner = inside(exact.points_px, SIZE_PX, margin_px=0.2)  # also beside edges, where maps guess
    assert np.array_equal(found.visibility[inner] == Visibility.OCCLUDED, hidden[inner])


def write_keypoints(path: Path, points_px: Array) -> None:
    """As COLMAP's feature_importer reads them, (0, 0) being the corner of the top-left pixel."""
    rows = [f"{x + 0.5:.6f} {y + 0.5:.6f} 1 0" + " 0" * 128 for x, y in points_px]
    path.write_text("\n".join([f"{len(rows)} 128", *rows, ""]))


def list_text(folder: Path, rows: Array, _rendered: Rendered) -> TruthSource:
    np.savetxt(folder / "corrs.txt", rows, fmt="%.6f")
    return PointsSource(folder / "corrs.txt")


def list_csv(folder: Path, rows: Array, _rendered: Rendered) -> TruthSource:
    np.savetxt(folder / "m.csv", rows, fmt="%.6f", delimiter=",", header="x1,y1,x2,y2", comments="")
    return PointsSource(folder / "m.csv")


def list_npy(folder: Path, rows: Array, _rendered: Rendered) -> TruthSource:
    np.save(folder / "m.npy", rows)
    return PointsSource(folder / "m.npy")


def list_npz(folder: Path, rows: Array, _rendered: Rendered) -> TruthSource:
    order = np.random.default_rng(0).permutation(len(rows))
    np.savez(
        folder / "m.npz",
        keypoints0=rows[:, :2],
        keypoints1=rows[order, 2:],
        matches0=np.argsort(order),
    )
    return PointsSource(folder / "m.npz")


def list_colmap(folder: Path, rows: Array, _rendered: Rendered) -> TruthSource:
    write_keypoints(folder / "a.png.txt", rows[:, :2])
    write_keypoints(folder / "b.png.txt", rows[::-1, 2:])
    indices = [f"{at} {len(rows) - 1 - at}" for at in range(len(rows))]
    (folder / "m.txt").write_text("\n".join(["a.png b.png", *indices, "", ""]))
    return PointsSource.of(folder / "m.txt", ("a.png", "b.png"))


def list_database(folder: Path, rows: Array, _rendered: Rendered) -> TruthSource:
    """COLMAP's, with the tables that are read; images are numbered in the other order."""
    path = folder / "database.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE images (image_id INTEGER PRIMARY KEY, name TEXT)")
        database.execute("CREATE TABLE keypoints (image_id INTEGER, rows INT, cols INT, data BLOB)")
        for table in ("matches", "two_view_geometries"):
            database.execute(
                f"CREATE TABLE {table} (pair_id INTEGER, rows INT, cols INT, data BLOB)"
            )
        database.executemany("INSERT INTO images VALUES (?, ?)", [(1, "b.png"), (2, "a.png")])
        for image, points_px in ((1, rows[::-1, 2:]), (2, rows[:, :2])):
            stored = (points_px + 0.5).astype(np.float32)
            database.execute(
                "INSERT INTO keypoints VALUES (?, ?, ?, ?)",
                (image, *stored.shape, stored.tobytes()),
            )
        ones = np.arange(len(rows), dtype=np.uint32)
        pairs = np.column_stack([ones[::-1], ones])
        database.execute(
            "INSERT INTO two_view_geometries VALUES (?, ?, ?, ?)",
            (2147483647 * 1 + 2, *pairs.shape, pairs.tobytes()),
        )
        database.commit()
    return PointsSource.of(path, ("a.png", "b.png"))


def list_landmarks(folder: Path, rows: Array, _rendered: Rendered) -> TruthSource:
    """SPair-71k's, whose own landmarks are whole numbers."""
    told = {"src_kps": rows[:, :2].tolist(), "trg_kps": rows[:, 2:].tolist()}
    (folder / "pair.json").write_text(json.dumps(told))
    return LandmarksSource(folder / "pair.json")


def list_tracks(folder: Path, rows: Array, rendered: Rendered) -> TruthSource:
    cameras = write_colmap_text(folder, rendered)
    lines = (folder / "images.txt").read_text().splitlines()
    for at, points_px in ((1, rows[:, :2]), (3, rows[:, 2:])):
        words = [f"{x + 0.5:.6f} {y + 0.5:.6f} {one}" for one, (x, y) in enumerate(points_px, 10)]
        lines[at] = " ".join([*words, "3.5 4.5 -1"])
    (folder / "images.txt").write_text("\n".join([*lines, ""]))
    return TracksSource(folder, ("a.png", "b.png"), (cameras["a.png"], cameras["b.png"]), len(rows))


@pytest.mark.parametrize(
    "write",
    [
        list_text,
        list_csv,
        list_npy,
        list_npz,
        list_colmap,
        list_database,
        list_tracks,
        list_landmarks,
    ],
)
def test_every_list_of_points_has_the_exact_partners(
    write: Callable[[Path, Array, Rendered], TruthSource], rendered: Rendered, tmp_path: Path
):
    exact = rendered.exact["a"]
    chosen = np.flatnonzero(exact.visibility == Visibility.SEEN)[::37]
    rows = np.column_stack([pixels_px()[chosen], exact.points_px[chosen]])
    truth = open_truth(write(tmp_path, rows, rendered), SIZE_PX, SIZE_PX)
    here, there = rows[:, :2], rows[:, 2:]
    for side, points_px, places in (("a", here, there), ("b", there, here)):
        found = truth.locate(side, points_px)
        assert found.seen.all()
        # A database holds floats of 32 bit, and a list six decimals.
        rounded = write is list_database
        assert np.abs(found.points_px - places).max() <= (FLOAT * max(SIZE_PX) if rounded else 1e-6)


def test_the_images_show_the_same_at_true_places(rendered: Rendered):
    """The truth is that of the pictures, not of numbers alone."""
    for side, other in (("a", "b"), ("b", "a")):
        exact = rendered.exact[side]
        shown = {one: cv2.GaussianBlur(rendered.images[one], (0, 0), 1) for one in SIDES}
        xs, ys = grid(exact.points_px.astype(np.float32)).transpose(2, 0, 1)
        moved = cv2.remap(shown[other], xs, ys, cv2.INTER_LINEAR).astype(float)
        gap = np.abs(moved - shown[side]).mean(axis=-1).ravel()
        seen = (exact.visibility == Visibility.SEEN) & ~exact.near_edge
        hidden = exact.visibility == Visibility.OCCLUDED
        assert gap[seen].mean() < 0.25 * gap[hidden].mean()


# ---- planted faults --------------------------------------------------------------------------


def off_by_half_a_pixel(folder: Path, rendered: Rendered) -> TruthSource:
    """The principal point as it stands in COLMAP's file."""
    source = depth_format(".npy", "views.txt").write(folder, rendered)
    assert isinstance(source, DepthSource)
    matrix = source.camera_b.matrix
    matrix[:2, 2] += 0.5
    camera = Camera.pinhole(matrix, source.camera_b.world_to_camera, SIZE_PX)
    return DepthSource(source.depth_a, source.depth_b, source.camera_a, camera)


def lengths_of_rays(folder: Path, rendered: Rendered) -> TruthSource:
    source = depth_format(".npy", "views.txt").write(folder, rendered)
    rays = np.column_stack([pixels_px(), np.ones(len(pixels_px()))]) @ np.linalg.inv(MATRIX).T
    lengths = rendered.exact["a"].depth * np.linalg.norm(rays, axis=1)
    np.save(folder / "depth_a.npy", grid(lengths))
    return source


def nothing_hides(folder: Path, rendered: Rendered) -> TruthSource:
    source = depth_format(".npy", "views.txt").write(folder, rendered)
    assert isinstance(source, DepthSource)
    return DepthSource(
        source.depth_a, source.depth_b, source.camera_a, source.camera_b, same_surface=0.9
    )


def bottom_row_first(folder: Path, rendered: Rendered) -> TruthSource:
    source = STEREO[2].write(folder, rendered)
    assert isinstance(source, DisparitySource)
    stored = cv2.imread(str(source.left), cv2.IMREAD_UNCHANGED)
    write_floats(source.left, stored[::-1])
    return source


def another_factor(folder: Path, rendered: Rendered) -> TruthSource:
    source = STEREO[0].write(folder, rendered)
    assert isinstance(source, DisparitySource)
    return DisparitySource(source.left, source.right, factor=6.1)


@pytest.mark.parametrize(
    "fault",
    [off_by_half_a_pixel, lengths_of_rays, nothing_hides, bottom_row_first, another_factor],
    ids=lambda fault: fault.__name__,
)
def test_a_planted_fault_is_found(
    fault: Callable[[Path, Rendered], TruthSource], rectified: Rendered, tmp_path: Path
):
    truth = open_truth(fault(tmp_path, rectified), SIZE_PX, SIZE_PX)
    found = truth.locate("a", pixels_px())
    with pytest.raises(AssertionError):
        assert_same(found, rectified, "a", 0.5 / 6 + CAST_PX)
