"""KITTI and TSS, with maps that OpenCV and struct wrote by the published formats."""

import shutil
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.layouts.kitti import KittiReader
from engine.data.layouts.tss import TssReader
from engine.errors import DatasetError
from engine.truth.base import Visibility, open_truth
from engine.truth.flow import FlowSource
from engine.truth.mirrored import MirroredFlowSource

SIZE = WIDTH, HEIGHT = 60, 20
SHIFT, MOVE = 6.5, (3.25, -2.0)
BY_YEAR = {
    "2015": ("image_2", "image_3", "disp_occ_0", "disp_noc_0"),
    "2012": ("colored_0", "colored_1", "disp_occ", "disp_noc"),
    "grey": ("image_0", "image_1", "disp_occ", "disp_noc"),
}


def write_disparity(path: Path, known: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.where(known, SHIFT * 256, 0).astype(np.uint16))


def write_flow(path: Path, known: np.ndarray) -> None:
    """Red and green are 64 (u, v) + 2¹⁵, blue is 1 where known; OpenCV wants blue first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    u, v = (np.full(known.shape, move * 64 + 2**15) for move in MOVE)
    assert cv2.imwrite(str(path), np.stack([known, v, u], axis=2).astype(np.uint16))


def make_kitti(root: Path, year: str, *numbers: str) -> Path:
    """Everything moves alike; the pixels of columns 30 to 39 are called hidden."""
    left, right, occ, noc = BY_YEAR[year]
    known = np.ones((HEIGHT, WIDTH), bool)
    shown = known.copy()
    shown[:, 30:40] = False
    for number in numbers:
        for folder, frame in ((left, "10"), (left, "11"), (right, "10"), (right, "11")):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / f"{number}_{frame}.png").touch()
        write_disparity(root / occ / f"{number}_10.png", known)
        write_disparity(root / noc / f"{number}_10.png", shown)
        write_flow(root / "flow_occ" / f"{number}_10.png", known)
        write_flow(root / "flow_noc" / f"{number}_10.png", shown)
    return root


@pytest.mark.parametrize("year", BY_YEAR)
@pytest.mark.parametrize("above", [True, False])
def test_kitti_has_a_pair_of_stereo_and_one_of_flow_for_each_scene(tmp_path, year, above):
    folder = make_kitti(tmp_path / "training", year, "000000", "000123")
    root = tmp_path if above else folder
    assert KittiReader().recognises(root)
    found = KittiReader().read(root)
    assert (found.layout, found.problems) == ("KITTI stereo and flow", ())
    assert [(group.name, group.subset, len(group.pairs)) for group in found.groups] == [
        ("flow/000000", "flow", 1),
        ("flow/000123", "flow", 1),
        ("stereo/000000", "stereo", 1),
        ("stereo/000123", "stereo", 1),
    ]
    left, right, *_ = BY_YEAR[year]
    for group, ending, moved in (
        ("stereo/000123", f"{right}/000123_10.png", (-SHIFT, 0.0)),
        ("flow/000123", f"{left}/000123_11.png", MOVE),
    ):
        (pair,) = found.group(group).pairs
        assert pair.path_a == folder / left / "000123_10.png"
        assert pair.path_b == folder / ending
        points = np.array([[20.0, 10.0], [35.0, 10.0], [58.0 if group < "s" else 2.0, 10.0]])
        truth = open_truth(pair.truth, SIZE, SIZE).locate("a", points)
        np.testing.assert_allclose(truth.points_px, points + moved)
        assert truth.visibility.tolist() == [
            Visibility.SEEN,
            Visibility.OCCLUDED,
            Visibility.OUTSIDE,
        ]


def test_kitti_in_colour_comes_before_grey_and_one_map_is_enough(tmp_path):
    make_kitti(tmp_path, "grey", "000000")
    make_kitti(tmp_path, "2012", "000000")
    shutil.rmtree(tmp_path / "disp_noc")
    shutil.rmtree(tmp_path / "flow_occ")
    found = KittiReader().read(tmp_path)
    assert {pair.path_a.parent.name for pair in found.pairs()} == {"colored_0"}
    for pair in found.pairs():
        truth = open_truth(pair.truth, SIZE, SIZE).locate("a", np.array([[20.0, 10], [35, 10]]))
        expected = Visibility.SEEN if pair.sequence.startswith("stereo") else Visibility.UNKNOWN
        assert truth.visibility.tolist() == [Visibility.SEEN, expected]


def test_what_kitti_lacks_is_counted_and_left_out(tmp_path):
    make_kitti(tmp_path, "2015", "000000", "000001", "000002")
    (tmp_path / "image_2" / "000001_10.png").unlink()
    (tmp_path / "image_3" / "000002_10.png").unlink()
    found = KittiReader().read(tmp_path)
    assert [group.name for group in found.groups] == [
        "flow/000000",
        "flow/000002",
        "stereo/000000",
    ]
    assert found.problems == (
        "stereo: 1 pair is left out, because an image is missing in image_2.",
        "stereo: 1 pair is left out, because an image is missing in image_3.",
        "flow: 1 pair is left out, because an image is missing in image_2.",
    )
    for name in ("image_2", "image_3"):
        shutil.rmtree(tmp_path / name)
    assert not KittiReader().recognises(tmp_path)
    with pytest.raises(DatasetError, match="holds no usable pair; KITTI stereo and flow means"):
        KittiReader().read(tmp_path)


# ---- TSS


def write_flo(path: Path, flow: np.ndarray) -> None:
    """Middlebury's format: a tag, two numbers, then u and v of each pixel."""
    height, width, _ = flow.shape
    values = flow.astype("<f4").ravel().tolist()
    path.write_bytes(struct.pack(f"<fii{len(values)}f", 202021.25, width, height, *values))


def make_tss(root: Path, name: str, flip: int, shift: int = 4) -> Path:
    """Image b shows the scene further right by ``shift``, and mirrored where it is flipped."""
    folder = root / name
    folder.mkdir(parents=True)
    for number, move in ((1, shift), (2, shift if flip else -shift)):
        (folder / f"image{number}.png").touch()
        flow = np.zeros((HEIGHT, WIDTH, 2))
        flow[..., 0] = move
        flow[:5] = 1e10  # not on the object
        write_flo(folder / f"flow{number}.flo", flow)
    (folder / "flip_gt.txt").write_text(f"{flip}\n")
    return root


def test_tss_has_a_group_for_each_pair_and_a_subset_for_each_set(tmp_path):
    for name in ("JODS/car2", "JODS/car10", "FG3DCar/bus"):
        make_tss(tmp_path / "TSS_CVPR2016", name, flip=0)
    for root in (tmp_path, tmp_path / "TSS_CVPR2016"):
        assert TssReader().recognises(root)
        found = TssReader().read(root)
        assert (found.problems, found.subsets) == ((), ("FG3DCar", "JODS"))
        assert [group.name for group in found.groups] == ["FG3DCar/bus", "JODS/car2", "JODS/car10"]
    (pair,) = found.group("JODS/car2").pairs
    truth = open_truth(pair.truth, SIZE, SIZE)
    asked = np.array([[10.0, 10.0], [10.0, 2.0]])
    there, back = truth.locate("a", asked), truth.locate("b", asked)
    np.testing.assert_array_equal(there.points_px[0], [14, 10])
    np.testing.assert_array_equal(back.points_px[0], [6, 10])
    assert there.visibility.tolist() == [Visibility.SEEN, Visibility.UNKNOWN]


def test_flipped_pairs_of_tss_lead_to_the_mirrored_place_and_back(tmp_path):
    make_tss(tmp_path, "PASCAL/cow", flip=1)
    (pair,) = TssReader().read(tmp_path).pairs()
    assert isinstance(pair.truth, MirroredFlowSource)
    truth = open_truth(pair.truth, SIZE, SIZE)
    assert (truth.kind, truth.sizes_px, truth.listed_px) == ("flow", (SIZE, SIZE), None)
    asked = np.array([[10.0, 10.0], [10.0, 2.0], [57.0, 10.0]])
    found = truth.locate("a", asked)
    # Column 14 of the mirrored image is column 59 - 14 of the image itself.
    np.testing.assert_array_equal(found.points_px[0], [45, 10])
    assert found.visibility.tolist() == [
        Visibility.SEEN,
        Visibility.UNKNOWN,
        Visibility.OUTSIDE,
    ]
    np.testing.assert_array_equal(truth.locate("b", found.points_px[:1]).points_px, asked[:1])
    forward, backward = pair.truth.files
    assert pair.truth.identity() != FlowSource(forward, backward).identity()
    assert pair.truth.identity() == MirroredFlowSource(forward, backward).identity()


def test_a_tss_pair_that_lacks_a_file_is_counted_and_left_out(tmp_path):
    make_tss(tmp_path, "JODS/car", flip=0)
    make_tss(tmp_path, "JODS/cow", flip=0)
    (tmp_path / "JODS" / "cow" / "image2.png").unlink()
    found = TssReader().read(tmp_path)
    assert [group.name for group in found.groups] == ["JODS/car"]
    (problem,) = found.problems
    assert problem.endswith("1 pair is left out, because image2.png is missing.")
    assert not TssReader().recognises(tmp_path / "nowhere")
