"""Truth named in a line of text, and tables of pairs that name it."""

import csv
import json
import struct
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from scipy.io import savemat

from engine.data.layouts.manifest import ManifestReader
from engine.errors import ConfigError, DatasetError, FileError, TruthError
from engine.geometry.coords import Resize
from engine.images import as_uint8, read_image, read_size
from engine.jobs.open_pair import open_pair
from engine.truth.base import Visibility, box_in, cameras_of, open_truth, undistorted
from engine.truth.depth import DepthSource
from engine.truth.disparity import DisparitySource
from engine.truth.flow import FlowSource
from engine.truth.landmarks import LandmarksSource
from engine.truth.named import check_named, named_truth, recognise_kind
from engine.truth.points import PointsSource

SIZE = WIDTH, HEIGHT = 60, 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file of truth of every kind, all of which move points of image a by (4, 0) or so."""
    for name in ("left.png", "right.png"):
        assert cv2.imwrite(str(tmp_path / name), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (tmp_path / "H").write_text("1 0 4\n0 1 0\n0 0 1\n")
    (tmp_path / "H.json").write_text(json.dumps({"H": [[1, 0, 4], [0, 1, 0], [0, 0, 1]]}))
    np.save(tmp_path / "H.npy", np.array([[1.0, 0, 4], [0, 1, 0], [0, 0, 1]]))
    (tmp_path / "corrs.txt").write_text("10 20 14 20\n11 21 15 21\n")
    np.save(tmp_path / "points.npy", np.array([[10.0, 20, 14, 20]]))
    (tmp_path / "matches.csv").write_text("x_a,y_a,x_b,y_b,similarity\n10,20,14,20,0.9\n")
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = 4
    head = struct.pack("<fii", 202021.25, WIDTH, HEIGHT)
    (tmp_path / "ab.flo").write_bytes(head + flow.tobytes())
    (tmp_path / "ba.flo").write_bytes(head + (-flow).tobytes())
    kitti = np.full((HEIGHT, WIDTH, 3), 2**15, np.uint16)
    kitti[..., 2] += 4 * 64
    kitti[..., 0] = 1
    assert cv2.imwrite(str(tmp_path / "flow.png"), kitti)
    for name in ("disp2.png", "disp6.png"):
        assert cv2.imwrite(str(tmp_path / name), np.full((HEIGHT, WIDTH), 32, np.uint8))
    marks = {"src_kps": [[10, 20]], "trg_kps": [[14, 20]], "kps_ids": ["1"]}
    (tmp_path / "pair.json").write_text(json.dumps(marks))
    savemat(tmp_path / "a.mat", {"kps": [[10.0, 20]]})
    savemat(tmp_path / "b.mat", {"kps": [[14.0, 20]]})
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.full((HEIGHT, WIDTH), 2.0))
    pose = "1 0 0 0 1 0 0 0 1"
    (tmp_path / "views.txt").write_text(
        f"left.png {pose} 0 0 0 PINHOLE {WIDTH} {HEIGHT} 50 50 30 20\n"
        f"right.png {pose} 0.16 0 0 PINHOLE {WIDTH} {HEIGHT} 50 50 30 20\n"
    )
    return tmp_path


def named(folder: Path, text: str):
    return named_truth(text, folder, (folder / "left.png", folder / "right.png"))


@pytest.mark.parametrize(
    ("text", "kind", "shift"),
    [
        ("H", "homography", 4),
        ("H.json", "homography", 4),
        ("H.npy", "homography", 4),
        ("homography:H", "homography", 4),
        ("corrs.txt", "points", 4),
        ("points.npy", "points", 4),
        ("points: corrs.txt | uncertainty=2.5", "points", 4),
        ("ab.flo", "flow", 4),
        ("ab.flo|ba.flo", "flow", 4),
        ("flow.png", "flow", 4),
        ("FLOW:ab.flo|ba.flo|unoccluded=flow.png|uncertainty=0.5", "flow", 4),
        ("disparity:disp2.png|disp6.png|factor=8", "disparity", -4),
        ("disparity:disp2.png|factor=16|unoccluded=disp6.png", "disparity", -2),
        ("pair.json", "landmarks", 4),
        ("a.mat|b.mat", "landmarks", 4),
        ("depth:a.npy|b.npy|cameras=views.txt", "depth", 4),
    ],
)
def test_truth_of_every_kind_is_named_by_a_line(folder, text, kind, shift):
    source = named(folder, text)
    assert source.kind == kind
    assert source.origin == "given"
    found = open_truth(source, SIZE, SIZE).locate("a", np.array([[10.0, 20.0]]))
    np.testing.assert_allclose(found.points_px, [[10 + shift, 20]], atol=1e-6)
    assert found.visibility[0] == Visibility.SEEN


def test_what_a_line_names_reaches_the_source(folder):
    points = named(folder, "points:corrs.txt|uncertainty=2.5")
    assert isinstance(points, PointsSource)
    assert (points.path, points.uncertainty_px) == (folder / "corrs.txt", 2.5)
    assert named(folder, "flow:ab.flo|ba.flo|unoccluded=flow.png|uncertainty=1") == FlowSource(
        folder / "ab.flo", folder / "ba.flo", folder / "flow.png", uncertainty_px=1.0
    )
    assert named(folder, "disparity:disp2.png|disp6.png|factor=8") == DisparitySource(
        folder / "disp2.png", folder / "disp6.png", 8.0
    )
    (folder / "t.csv").touch()
    assert named(folder, "landmarks:t.csv|row=3") == LandmarksSource(folder / "t.csv", row=2)
    depth = named(folder, "depth:a.npy|b.npy|cameras=views.txt|factor=2")
    assert isinstance(depth, DepthSource)
    assert (depth.factor, depth.depth_b) == (2.0, folder / "b.npy")
    assert depth.camera_b.pose[3] == 0.16
    # What a matcher found is no given truth.
    assert named(folder, "matches.csv").origin == "estimated"


@pytest.mark.parametrize(
    "text",
    ["homography:H", "points:corrs.txt", "flow:ab.flo", "flow:ab.flo|ba.flo", "landmarks:pair.json",
     "disparity:disp2.png|factor=8", "disparity:disp2.png|disp6.png|factor=8"],
)  # fmt: skip
def test_files_that_lead_from_image_b_are_read_the_other_way_round(folder, text):
    there, back = (named(folder, one) for one in (text, f"{text}|from=b"))
    assert (back.kind, back.files, back.origin) == (there.kind, there.files, there.origin)
    assert back.identity() != there.identity()
    sizes = SIZE, (WIDTH + 6, HEIGHT)  # image b of the pair is the wide one
    with_maps = there.kind in ("flow", "disparity")
    first, second = (SIZE, SIZE) if with_maps else sizes
    plain, turned = open_truth(there, first, second), open_truth(back, second, first)
    assert (plain.sizes_px, turned.sizes_px) == ((first, second), (second, first))
    points = np.array([[10.0, 20.0], [14.0, 20.0], [6.0, 20.0], [30.0, 5.0]])
    for side, other in (("a", "b"), ("b", "a")):
        expected, found = plain.locate(other, points), turned.locate(side, points)
        np.testing.assert_array_equal(found.points_px, expected.points_px)
        np.testing.assert_array_equal(found.visibility, expected.visibility)
        matrix = plain.matrix_from(other)
        if matrix is not None:
            np.testing.assert_array_equal(turned.matrix_from(side), matrix)
    if plain.listed_px is not None:
        np.testing.assert_array_equal(turned.listed_px, plain.listed_px[::-1])
    halves = Resize(second, (second[0] // 2, 20)), Resize(first, (first[0] // 2, 20))
    small = turned.resized(*halves)
    assert small.sizes_px == ((second[0] // 2, 20), (first[0] // 2, 20))
    if with_maps:  # a shift of 4 px, to one side or the other, in images of half the size
        shift = -2 if there.kind == "flow" else 2
        place = small.locate("a", np.array([[15.0, 10.0]])).points_px
        np.testing.assert_allclose(place, [[15 + shift, 10]], atol=1e-6)


def test_cameras_and_boxes_change_sides_with_the_direction(folder):
    marks = {"src_kps": [[10, 20]], "trg_kps": [[14, 20]], "kps_ids": ["1"],
             "src_bndbox": [0, 0, 20, 30], "trg_bndbox": [5, 5, 50, 35]}  # fmt: skip
    (folder / "boxes.json").write_text(json.dumps(marks))
    boxed = open_truth(named(folder, "landmarks:boxes.json|from=b"), SIZE, SIZE)
    assert [box_in(boxed, side) for side in ("a", "b")] == [(5, 5, 50, 35), (0, 0, 20, 30)]
    filmed = open_truth(named(folder, "depth:b.npy|a.npy|cameras=views.txt|from=b"), SIZE, SIZE)
    plain = open_truth(named(folder, "depth:a.npy|b.npy|cameras=views.txt"), SIZE, SIZE)
    for one, other in zip(cameras_of(filmed), cameras_of(plain), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    points = np.array([[10.0, 20.0]])
    np.testing.assert_array_equal(undistorted(filmed, "b", points), undistorted(plain, "b", points))
    np.testing.assert_allclose(filmed.locate("a", points).points_px, [[14, 20]], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("homography:H|from=c", "from is 'c', neither a nor b"),
        ("none.txt", "none.txt: does not exist"),
        ("points:", "names no file"),
        ("homography:H|H.json", "names 2 files, and homography takes 1"),
        ("depth:a.npy|cameras=views.txt", "names 1 file, and depth takes 2"),
        ("depth:a.npy|b.npy", "names no cameras="),
        ("depth:a.npy|b.npy|cameras=none.txt", "none.txt: does not exist"),
        ("points:corrs.txt|factor=8", "has factor, which points does not take"),
        ("disparity:disp2.png|factor=-8", "factor is '-8', no number above 0"),
        ("disparity:disp2.png|factor=eight", "factor is 'eight', no number above 0"),
        ("disp2.png", "is a PNG picture; say what it holds, as in disparity:FILE"),
        ("a.npy", "is no truth of a kind that can be told; say it, as in disparity:FILE"),
        ("views.txt", "is no truth of a kind that can be told"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(folder, text, reason):
    with pytest.raises(FileError) as caught:
        named(folder, text)
    assert reason in str(caught.value)


def test_a_camera_that_the_list_lacks_is_told(folder):
    with pytest.raises(TruthError, match=r"views.txt: has no camera of top.png"):
        named_truth(
            "depth:a.npy|b.npy|cameras=views.txt", folder, (folder / "left.png", folder / "top.png")
        )


def test_the_kind_of_a_file_is_told_by_its_content(folder):
    (folder / "picture.txt").write_bytes((folder / "flow.png").read_bytes())
    assert recognise_kind(folder / "picture.txt") == "flow"
    with pytest.raises(TruthError, match="does not exist"):
        recognise_kind(folder / "none")


# ---- tables of pairs


def write_table(path: Path, *rows: list[str], sign: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=sign).writerows(rows)
    return path


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_names_pairs_groups_and_subsets(folder, sign):
    path = write_table(
        folder / "my pairs.csv",
        ["Image_A", " image_b", "truth", "group", "subset"],
        ["left.png", "right.png", "disparity:disp2.png|disp6.png|factor=8", "table", "indoors"],
        ["right.png", "left.png", "H", "table", "indoors"],
        ["# left.png", "none.png", "", "", ""],
        ["", "", "", "", ""],
        ["left.png", "right.png", "corrs.txt", "wall", "outdoors"],
        ["left.png", "right.png", "", "", ""],
        sign=sign,
    )
    for root in (folder, path):
        assert ManifestReader().recognises(root)
        found = ManifestReader().read(root)
        assert (found.layout, found.problems) == ("table of pairs", ())
        assert [(group.name, group.subset, len(group.pairs)) for group in found.groups] == [
            ("left → right", "", 1),
            ("table", "indoors", 2),
            ("wall", "outdoors", 1),
        ]
        table = found.group("table")
        assert [(pair.index, table.label(pair)) for pair in table.pairs] == [
            (1, "left → right"),
            (2, "right → left"),
        ]
        kinds = [None if pair.truth is None else pair.truth.kind for pair in found.pairs()]
        assert kinds == [None, "disparity", "homography", "points"]


def test_images_alone_are_enough_and_a_group_may_be_in_two_subsets(folder):
    write_table(folder / "a.csv", ["image_a", "image_b"], ["left.png", "right.png"])
    assert len(ManifestReader().read(folder).pairs()) == 1
    write_table(
        folder / "a.csv",
        ["image_b", "image_a", "subset", "group"],
        ["left.png", "right.png", "day", "wall"],
        ["left.png", "right.png", "night", "wall"],
    )
    found = ManifestReader().read(folder)
    assert [group.name for group in found.groups] == ["day/wall", "night/wall"]
    assert [pair.sequence for pair in found.pairs()] == ["day/wall", "night/wall"]
    assert found.pairs()[0].path_a == folder / "right.png"


def test_lines_that_are_broken_are_told_with_their_number(folder):
    write_table(
        folder / "a.csv",
        ["image_a", "image_b", "truth", "scene"],
        ["left.png", "right.png", "H"],
        ["left.png", "none.png", "H"],
        ["left.png", "", "H"],
        ["left.png", "right.png", "disp2.png"],
        *[["left.png", "right.png", "none.txt"]] * 60,
    )
    found = ManifestReader().read(folder)
    assert len(found.pairs()) == 1
    told = found.problems
    assert told[0].startswith("a.csv: the column scene is passed over; known are image_a, image_b")
    assert told[1:4] == (
        "a.csv, line 3: none.png does not exist, so the pair is left out.",
        "a.csv, line 4: image_b is empty, so the pair is left out.",
        (
            "a.csv, line 5: disp2.png is a PNG picture; say what it holds, as in disparity:FILE, "
            "depth:FILE, flow:FILE or points:FILE, so the pair is left out."
        ),
    )
    assert told[-1] == "a.csv: 13 more lines are left out."


def test_other_tables_are_not_recognised_and_broken_ones_refused(folder):
    (folder / "a.csv").write_text("source_image,target_image\n")
    (folder / "b.txt").write_text("image_a,image_b\n")
    assert not ManifestReader().recognises(folder)
    assert not ManifestReader().recognises(folder / "nowhere.csv")
    (folder / "a.csv").write_bytes(b"image_a,image_b\n\xff\xfe,b\n")
    assert ManifestReader().recognises(folder)
    with pytest.raises(DatasetError, match=r"no usable pair \(.*a.csv: is no CSV"):
        ManifestReader().read(folder)


def test_commas_stand_for_strokes_except_in_the_name_of_a_file(folder: Path):
    by_comma = named(folder, "disparity:disp2.png, disp6.png, factor=8")
    assert by_comma == named(folder, "disparity:disp2.png|disp6.png|factor=8")
    (folder / "H,1.txt").write_text("1 0 4\n0 1 0\n0 0 1\n")
    assert named(folder, "H,1.txt").kind == "homography"
    assert named(folder, "homography:H,1.txt").kind == "homography"
    with pytest.raises(FileError, match=r"disp6: does not exist"):
        check_named("disparity:disp2.png,disp6", folder)


def test_two_images_open_with_any_truth_that_fits_them_and_no_other(folder: Path):
    both = (folder / "left.png", folder / "right.png")
    assert open_pair(both, truth=str(folder / "ab.flo")).truth_words == "flow"
    assert open_pair(both, homography=folder / "H").truth_words == "homography"
    assert open_pair(both, truth=str(folder / "matches.csv")).truth_words == "points, estimated"
    assert cv2.imwrite(str(folder / "wide.png"), np.zeros((HEIGHT, 70, 3), np.uint8))
    with pytest.raises(TruthError, match=r"ab\.flo"):
        open_pair((folder / "wide.png", both[1]), truth=str(folder / "ab.flo"))
    with pytest.raises(ConfigError, match="does not go with --homography"):
        open_pair(both, truth="x", homography=folder / "H")
    with pytest.raises(ConfigError, match="brings its own"):
        open_pair((folder,), truth="x")


def test_the_truth_of_a_turned_photo_is_that_of_the_photo_as_it_is_seen(folder: Path):
    """EXIF turns the stored 40 × 60 pixels into 60 × 40, and maps have the size that is seen."""
    seen = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint32).reshape(HEIGHT, WIDTH, 3)
    turned = PIL.Image.fromarray(np.rot90((seen % 251).astype(np.uint8)).copy())
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by a quarter
    turned.save(folder / "turned.png", exif=exif)
    both = (folder / "turned.png", folder / "right.png")
    np.testing.assert_array_equal(as_uint8(read_image(both[0]).pixels), seen % 251)
    pair = open_pair(both, truth=f"flow:{folder}/ab.flo")
    truth = pair.open_truth(read_size(both[0]), read_size(both[1]))
    place = truth.locate("a", np.array([[50.0, 30.0]])).points_px
    np.testing.assert_allclose(place, [[54, 30]], atol=1e-6)
    head = struct.pack("<fii", 202021.25, HEIGHT, WIDTH)
    (folder / "stored.flo").write_bytes(head + bytes(8 * HEIGHT * WIDTH))
    with pytest.raises(TruthError, match=r"has 40 × 60 pixels, and its image has 60 × 40"):
        open_pair(both, truth=f"flow:{folder}/stored.flo")
