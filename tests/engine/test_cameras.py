"""Cameras of COLMAP models and of view lists, against files and projections of COLMAP's library.

``colmap_model`` was written by pycolmap 4.2.1, which also projected its points: a camera of every
lens, with names that contain spaces and slashes, and an image without points.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import TruthError
from engine.truth.cameras import Camera, pose_matrix
from engine.truth.colmap_model import model_files, read_colmap_model
from engine.truth.view_lists import read_views

MODEL = Path(__file__).parent / "colmap_model"
PROJECTIONS: dict[str, dict[str, Any]] = json.loads((MODEL / "projections.json").read_text())[
    "views"
]
STILL = np.eye(3, 4)


def in_camera(camera: Camera, world: NDArray[np.float64]) -> NDArray[np.float64]:
    pose = camera.world_to_camera
    return world @ pose[:, :3].T + pose[:, 3]


@pytest.mark.parametrize("form", ["text", "binary"])
def test_a_model_shows_every_point_half_a_pixel_before_colmap(form: str):
    cameras = read_colmap_model(MODEL / form)
    assert list(cameras) == list(PROJECTIONS)
    for name, camera in cameras.items():
        world, pixels = (np.array(PROJECTIONS[name][key]) for key in ("world", "pixels"))
        found = camera.project(in_camera(camera, world))
        assert np.abs(found + 0.5 - pixels).max() < 1e-6, name


def test_text_and_binary_say_the_same():
    text, binary = (read_colmap_model(MODEL / form) for form in ("text", "binary"))
    for name, camera in text.items():
        assert np.allclose(camera.pose, binary[name].pose, atol=1e-14)
        assert camera.intrinsics == binary[name].intrinsics
        assert camera.distortion == binary[name].distortion
        assert camera.size_px == binary[name].size_px == (320, 240)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_ray_is_found_back_through_every_lens(name: str):
    camera = read_colmap_model(MODEL / "text")[name]
    points = in_camera(camera, np.array(PROJECTIONS[name]["world"]))
    rays = camera.rays(camera.project(points))
    assert np.abs(rays - points[:, :2] / points[:, 2:]).max() < 1e-8


def test_all_pixels_of_all_lenses_have_a_ray():
    grid = np.stack(np.meshgrid(np.arange(0.0, 320, 9), np.arange(0.0, 240, 9)), -1).reshape(-1, 2)
    for camera in read_colmap_model(MODEL / "text").values():
        rays = camera.rays(grid)
        assert np.isfinite(rays).all(), camera.model
        again = camera.project(np.column_stack([rays, np.ones(len(rays))]))
        assert np.abs(again - grid).max() < 1e-4, camera.model


def test_what_is_behind_or_folded_back_has_no_pixel():
    camera = Camera.of_colmap("SIMPLE_RADIAL", (320, 240), [300, 160, 120, -0.3], STILL)
    # r (1 - 0.3 r²) grows up to r = 1.05, and comes back into the image from there on.
    points = np.array([[0.5, 0, 1], [1.5, 0, 1], [0.5, 0, -1], [0.5, 0, 0]])
    found = camera.project(points)
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, False, False]


def test_a_pixel_beyond_what_the_lens_shows_has_no_ray():
    """r (1 - 0.5 r²) is at most 0.5443, at 163.3 px; farther out its cubic has another root."""
    camera = Camera.of_colmap("SIMPLE_RADIAL", (640, 480), [300, 320.5, 240.5, -0.5], STILL)
    aside_px = np.array([0.0, 100, 163, 164, 200, 300])
    rays = camera.rays(np.column_stack([320 + aside_px, np.full(6, 240.0)]))
    assert np.isfinite(rays).all(axis=1).tolist() == [True, True, True, False, False, False]
    assert (rays[:3, 0] <= math.sqrt(2 / 3)).all()


def test_an_undistorted_point_is_where_a_plain_camera_shows_it():
    for name, camera in read_colmap_model(MODEL / "text").items():
        points = in_camera(camera, np.array(PROJECTIONS[name]["world"]))
        plain = points @ camera.matrix.T
        found = camera.undistorted(camera.project(points))
        assert np.abs(found - plain[:, :2] / plain[:, 2:]).max() < 1e-5


def test_a_plain_camera_is_made_from_its_matrix():
    matrix = np.array([[300.0, 0, 160], [0, 310, 120], [0, 0, 1]])
    pose = pose_matrix([0.5, 0.1, -0.2, 0.3], [1, 2, 3])
    camera = Camera.pinhole(matrix, pose, (320, 240))
    assert np.array_equal(camera.matrix, matrix)
    assert np.array_equal(camera.world_to_camera, pose)
    assert np.allclose(camera.project(np.array([[1.0, 2, 4]])), [[160 + 75, 120 + 155]])


def test_a_list_of_views_shows_the_same_as_the_model(tmp_path: Path):
    """In glue-factory's form; its names cannot contain spaces."""
    model = read_colmap_model(MODEL / "text")
    lenses = (MODEL / "text" / "cameras.txt").read_text().splitlines()[3:]
    lines = ["# name, rotation, shift, lens"]
    for (name, camera), lens in zip(model.items(), lenses, strict=True):
        pose = camera.world_to_camera
        numbers = map(float, [*pose[:, :3].ravel(), *pose[:, 3]])
        words = [name.replace(" ", "_"), *map(repr, numbers), lens.partition(" ")[2]]
        lines.append(" ".join(words))
    path = tmp_path / "views.txt"
    path.write_text("\n".join([*lines, ""]))
    views = read_views(path)
    assert len(views) == len(model)
    for name, camera in model.items():
        view = views[name.replace(" ", "_")]
        points = in_camera(camera, np.array(PROJECTIONS[name]["world"]))
        assert np.abs(view.project(points) - camera.project(points)).max() < 1e-9


LINE = "a.jpg 1 0 0 0 1 0 0 0 1 0 0 0 PINHOLE 320 240 300 300 160 120"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no view"),
        ("a.jpg 1 0 0", "line 1 has 4 words, and a view at least 19"),
        (f"{LINE}\n{LINE}", "line 2 repeats the view 'a.jpg'"),
        (LINE.replace("PINHOLE", "EUCM"), "line 1: cameras of the model EUCM are not read"),
        (LINE.replace("PINHOLE", "RADIAL"), "line 1: RADIAL has 5 parameters, not 4"),
        (LINE.replace("300 300", "300 0"), "line 1: a focal length is not positive"),
        (LINE.replace("300 300", "300 1e9"), "line 1: a focal length or principal point is none"),
        (LINE.replace("1 0 0 0 1", "1e200 0 0 0 1"), "line 1: its pose holds no rotation"),
        (LINE.replace("300 300", "300 nan"), "line 1: a number is not finite"),
        (LINE.replace("1 0 0 0 1", "1 0 0 0 2"), "line 1: its pose holds no rotation"),
        (LINE.replace("1 0 0 0 1 0", "0 1 0 1 0 0"), "line 1: its pose holds no rotation"),
        (LINE.replace("240", "0"), "line 1: an image has no size of 320 × 0"),
        (LINE.replace("120", "x"), "line 1: could not convert"),
    ],
)
def test_a_list_that_holds_something_else_is_refused(tmp_path: Path, text: str, said: str):
    path = tmp_path / "views.txt"
    path.write_text(text)
    with pytest.raises(TruthError, match=said):
        read_views(path)


def copy_model(folder: Path, form: str) -> tuple[Path, Path]:
    files = model_files(MODEL / form)
    assert files is not None
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / files[0].name, folder / files[1].name


def test_binary_comes_before_text_as_in_colmap(tmp_path: Path):
    copy_model(tmp_path, "text")
    assert model_files(tmp_path) == (tmp_path / "cameras.txt", tmp_path / "images.txt")
    copy_model(tmp_path, "binary")
    assert model_files(tmp_path) == (tmp_path / "cameras.bin", tmp_path / "images.bin")


@pytest.mark.parametrize("form", ["text", "binary"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_cut_file_of_a_model_is_refused(tmp_path: Path, form: str, which: int):
    path = copy_model(tmp_path, form)[which]
    path.write_bytes(path.read_bytes()[:-260])
    with pytest.raises(TruthError, match=r"is a damaged file of a COLMAP model|parameters, not 0"):
        read_colmap_model(tmp_path)


def test_an_image_without_its_camera_is_refused(tmp_path: Path):
    cameras, _ = copy_model(tmp_path, "text")
    cameras.write_text("\n".join(cameras.read_text().splitlines()[:-1]))
    with pytest.raises(TruthError, match=r"names camera 13, which cameras.txt lacks"):
        read_colmap_model(tmp_path)


def test_a_lens_of_another_number_is_refused(tmp_path: Path):
    cameras, _ = copy_model(tmp_path, "binary")
    data = bytearray(cameras.read_bytes())
    data[12:16] = struct.pack("<i", 99)
    cameras.write_bytes(data)
    with pytest.raises(TruthError, match="the number 99 of a camera's model is not known"):
        read_colmap_model(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    (tmp_path / "cameras.txt").touch()
    with pytest.raises(TruthError, match="holds no COLMAP model"):
        read_colmap_model(tmp_path)


def test_a_quaternion_of_zeros_is_no_rotation():
    with pytest.raises(ValueError, match="no rotation"):
        pose_matrix([0, 0, 0, 0], [1, 2, 3])
