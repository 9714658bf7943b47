"""COLMAP models as sets of pairs, written by the published format from points of a known scene."""

import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engine.data.layouts.colmap import ColmapReader
from engine.errors import DatasetError, TruthError
from engine.truth.base import Visibility, cameras_of, open_truth
from engine.truth.colmap_model import read_observations

SIZE = WIDTH, HEIGHT = 200, 100
SHOWN = {  # which points of the scene each image shows
    "left/1.jpg": range(12),
    "left/10.jpg": range(4, 30),
    "left/2.jpg": range(5, 20),
    "far.jpg": range(100, 104),
}
FOCAL = 150.0


def place(number: int, image: int) -> tuple[float, float]:
    """Where an image shows a point, as COLMAP counts: the corner of the first pixel is (0, 0)."""
    return 3.25 * (number % 40) + image + 10, 2.5 * (number % 31) + 8


def write_model(folder: Path, form: str) -> Path:
    """One camera, four images; each lists a place without a point first."""
    folder.mkdir(parents=True, exist_ok=True)
    lists = [
        [(50.0, 50.0, -1), *((*place(number, at), number) for number in shown)]
        for at, shown in enumerate(SHOWN.values(), start=1)
    ]
    if form == "txt":
        (folder / "cameras.txt").write_text(
            f"# Camera list\n1 SIMPLE_PINHOLE {WIDTH} {HEIGHT} {FOCAL} 100 50\n"
        )
        lines = ["# Image list"]
        for at, (name, listed) in enumerate(zip(SHOWN, lists, strict=True), start=1):
            lines.append(f"{at} 1 0 0 0 {at} 0 0 1 {name}")
            lines.append(" ".join(f"{x} {y} {number}" for x, y, number in listed))
        (folder / "images.txt").write_text("\n".join(lines) + "\n")
        return folder
    camera = struct.pack("<QIiQQ3d", 1, 1, 0, WIDTH, HEIGHT, FOCAL, 100, 50)
    (folder / "cameras.bin").write_bytes(camera)
    data = struct.pack("<Q", len(SHOWN))
    for at, (name, listed) in enumerate(zip(SHOWN, lists, strict=True), start=1):
        data += struct.pack("<I7dI", at, 1, 0, 0, 0, at, 0, 0, 1) + name.encode() + b"\0"
        data += struct.pack("<Q", len(listed))
        for one in listed:
            data += struct.pack("<ddq", *one)
    (folder / "images.bin").write_bytes(data)
    return folder


def make_images(folder: Path, *names: str) -> None:
    for name in names or SHOWN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("form", ["txt", "bin"])
@pytest.mark.parametrize(
    ("model", "images"), [("sparse/0", "images"), ("dslr_calibration", "images"), ("", "")]
)
def test_images_that_share_points_are_pairs_of_one_group(tmp_path, form, model, images):
    scene = tmp_path / "hall"
    write_model(scene / model, form)
    make_images(scene / images)
    for root in (tmp_path, scene):
        assert ColmapReader().recognises(root)
        found = ColmapReader().read(root)
        assert (found.layout, found.problems) == ("COLMAP models", ())
        (group,) = found.groups
        assert group.name == "hall"
        assert [(pair.index, group.label(pair)) for pair in group.pairs] == [
            (1, "left/1.jpg → left/2.jpg"),
            (2, "left/1.jpg → left/10.jpg"),
            (3, "left/2.jpg → left/10.jpg"),
        ]
        assert [pair.truth.shared for pair in group.pairs] == [7, 8, 15]
        assert group.pairs[0].path_a.samefile(scene / images / "left" / "1.jpg")


@pytest.mark.parametrize("form", ["txt", "bin"])
def test_the_truth_is_what_both_images_show_half_a_pixel_before_colmap(tmp_path, form):
    write_model(tmp_path / "sparse", form)
    make_images(tmp_path / "images")
    pair = ColmapReader().read(tmp_path).pairs()[0]
    truth = open_truth(pair.truth, SIZE, SIZE)
    a, b = truth.listed_px
    expected = [[np.array(place(n, at)) - 0.5 for n in range(5, 12)] for at in (1, 3)]
    np.testing.assert_allclose([a, b], expected)
    found = truth.locate("a", np.concatenate([a, [[50.0, 50.0]]]))
    np.testing.assert_allclose(found.points_px[:-1], b)
    assert found.visibility.tolist() == [Visibility.SEEN] * 7 + [Visibility.UNKNOWN]
    (matrix, pose), (_, other) = cameras_of(truth)
    np.testing.assert_allclose(matrix, [[FOCAL, 0, 99.5], [0, FOCAL, 49.5], [0, 0, 1]])
    np.testing.assert_allclose([pose[:, 3], other[:, 3]], [[1, 0, 0], [3, 0, 0]])
    assert pair.truth.kind == truth.kind == "points"
    assert pair.truth.files == (tmp_path / "sparse" / f"images.{form}",)
    halved = pair.truth.open((100, 50), SIZE)
    # Halving maps the centre x of a pixel to x / 2 - 1 / 4.
    np.testing.assert_allclose(halved.listed_px, [a / 2 - 0.25, b])
    np.testing.assert_allclose(cameras_of(halved)[0][0][0], [FOCAL / 2, 0, 99.5 / 2 - 0.25])
    with pytest.raises(TruthError, match="200 × 100 pixels, and the file has 100 × 80"):
        pair.truth.open((100, 80), SIZE)


def test_text_and_binary_give_the_same_identity_and_other_places_another(tmp_path):
    identities = []
    for form in ("txt", "bin"):
        write_model(tmp_path / form, form)
        make_images(tmp_path / form)
        identities += [
            pair.truth.identity() for pair in ColmapReader().read(tmp_path / form).pairs()
        ]
    assert identities[:3] == identities[3:]
    assert all(one != other for one, other in pairwise(identities[:3]))


def test_images_that_are_not_there_are_told(tmp_path):
    write_model(tmp_path / "hall" / "sparse", "bin")
    make_images(tmp_path / "hall" / "images", "left/1.jpg", "left/2.jpg")
    found = ColmapReader().read(tmp_path)
    assert len(found.pairs()) == 1
    (problem,) = found.problems
    assert problem.startswith("hall: 2 of its 4 images are not in ")
    make_images(tmp_path / "yard" / "images", "far.jpg", "left/1.jpg")
    write_model(tmp_path / "yard" / "sparse", "txt")
    write_model(tmp_path / "lost", "txt")
    found = ColmapReader().read(tmp_path)
    assert [group.name for group in found.groups] == ["hall"]
    assert "yard: no two images show 5 points in common." in found.problems
    assert "lost: the images of the model are not found, so it is left out." in found.problems


@pytest.mark.parametrize("cut", [60, 200, 700])
def test_a_model_that_is_cut_short_is_refused_with_the_reason(tmp_path, cut):
    model = write_model(tmp_path / "sparse", "bin")
    make_images(tmp_path / "images")
    data = (model / "images.bin").read_bytes()
    (model / "images.bin").write_bytes(data[:cut])
    with pytest.raises(TruthError, match="is a damaged file of a COLMAP model"):
        read_observations(model)
    with pytest.raises(DatasetError, match=r"no usable pair.*is a damaged file of a COLMAP model"):
        ColmapReader().read(tmp_path)


def test_a_model_that_announces_more_points_than_its_file_holds_takes_no_memory_for_them(tmp_path):
    model = write_model(tmp_path / "sparse", "bin")
    make_images(tmp_path / "images")
    data = (model / "images.bin").read_bytes()
    at = data.index(b"left/1.jpg\0") + len(b"left/1.jpg\0")
    announced = struct.pack("<Q", 2**60)
    (model / "images.bin").write_bytes(data[:at] + announced + data[at + 8 :])
    with pytest.raises(TruthError, match=r"it ends within the points of left/1\.jpg"):
        read_observations(model)


def test_a_broken_line_of_points_is_refused(tmp_path):
    model = write_model(tmp_path, "txt")
    text = (model / "images.txt").read_text()
    (model / "images.txt").write_text(text.replace("50.0 50.0 -1", "50.0 50.0", 1))
    with pytest.raises(TruthError, match="is a damaged file of a COLMAP model"):
        read_observations(model)
    assert not ColmapReader().recognises(tmp_path / "nowhere")
