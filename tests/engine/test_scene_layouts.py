"""Sets of scenes with depth: WxBS and Middlebury, whole and broken."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.data.layouts.middlebury import MiddleburyReader
from engine.data.layouts.wxbs import WxbsReader
from engine.errors import DatasetError, ImageError
from engine.images import read_size
from engine.truth.base import Visibility

WIDTH, HEIGHT = 40, 20


def make_wxbs(root: Path, *names: str) -> Path:
    for name in names:
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "01.png").touch()
        (folder / "02.jpg").touch()
        np.savetxt(folder / "corrs.txt", [[1.5, 2, 30, 4], [5, 6, 7.25, 8]])
    return root


def make_stereo(
    folder: Path, images: tuple[str, str], maps: tuple[str, ...], stored: int, size=(WIDTH, HEIGHT)
) -> Path:
    """A plane that lies as far to the left in the right image as the maps tell."""
    folder.mkdir(parents=True)
    for name in images:
        Image.new("RGB", size).save(folder / f"{name}.png")
    for name in maps:
        Image.new("L", size, stored).save(folder / f"{name}.png")
    return folder


def write_pfm(path: Path, values: np.ndarray) -> None:
    rows = np.flipud(values).astype("<f4")
    path.write_bytes(f"Pf\n{values.shape[1]} {values.shape[0]}\n-1.0\n".encode() + rows.tobytes())


def shift_px(pair) -> float:
    """How far the middle of the left image lies to the left in the right one."""
    size = read_size(pair.path_a)
    middle = np.array([[size[0] // 2, size[1] // 2]], float)
    found = pair.truth.open(size, size).locate("a", middle)
    assert found.visibility[0] == Visibility.SEEN
    return float(middle[0, 0] - found.points_px[0, 0])


# ---- WxBS


@pytest.mark.parametrize("opened", [".", "v1.1", "v1.1/WGABS"])
def test_wxbs_groups_are_kinds_and_names_from_wherever_it_is_opened(tmp_path, opened):
    make_wxbs(tmp_path / "v1.1", "WGABS/kyiv", "WGABS/dh", "WLABS/kyiv")
    root = tmp_path / opened
    assert WxbsReader().recognises(root)
    found = WxbsReader().read(root)
    names = ["WGABS/dh", "WGABS/kyiv", "WLABS/kyiv"]
    assert [group.name for group in found.groups] == names[: 2 if "WGABS" in opened else 3]
    assert [group.subset for group in found.groups] == [n.split("/")[0] for n in names][
        : len(found.groups)
    ]
    assert found.problems == ()
    (pair,) = found.group("WGABS/kyiv").pairs
    assert (pair.path_a.name, pair.path_b.name) == ("01.png", "02.jpg")
    truth = pair.truth.open((100, 100), (100, 100))
    np.testing.assert_array_equal(truth.listed_px, [[[1.5, 2], [5, 6]], [[30, 4], [7.25, 8]]])
    # Their places are not exact, as they were clicked.
    assert truth.locate("a", truth.listed_px[0]).uncertainty_px == pytest.approx([1.3, 1.3])


def test_a_wxbs_pair_without_an_image_is_told_and_left_out(tmp_path):
    root = make_wxbs(tmp_path, "WGABS/kyiv", "WGABS/dh", "WGABS/mill")
    (root / "WGABS" / "dh" / "02.jpg").unlink()
    (root / "WGABS" / "mill" / "01.png").unlink()
    found = WxbsReader().read(root)
    assert [group.name for group in found.groups] == ["WGABS/kyiv"]
    assert found.problems == (
        "WGABS/dh: image 02 is missing, so the pair is left out.",
        "WGABS/mill: image 01 is missing, so the pair is left out.",
    )
    shutil.rmtree(root / "WGABS" / "kyiv")
    with pytest.raises(DatasetError, match=r"no usable pair \(WGABS/dh: image 02 is missing"):
        WxbsReader().read(root)


def test_the_eleven_pairs_of_wxbs_open_with_all_their_points(shared_data):
    found = WxbsReader().read(shared_data / "wxbs")
    assert found.problems == ()
    assert found.subsets == ("WGABS", "WGALBS", "WGLBS", "WGSBS", "WLABS")
    counts = [len(found.only(subset).groups) for subset in found.subsets]
    assert counts == [2, 3, 3, 2, 1]
    for pair in found.pairs():
        truth = pair.truth.open(read_size(pair.path_a), read_size(pair.path_b))
        listed = np.loadtxt(pair.path_a.with_name("corrs.txt"))
        np.testing.assert_array_equal(np.hstack(truth.listed_px), listed)
        assert truth.locate("a", truth.listed_px[0]).seen.mean() > 0.9


# ---- Middlebury


@pytest.mark.parametrize(
    ("scene", "images", "maps", "size", "factor"),
    [
        ("venus", ("im2", "im6"), ("disp2", "disp6"), (WIDTH, HEIGHT), 8),
        ("Cones", ("im2", "im6"), ("disp2",), (WIDTH, HEIGHT), 4),
        ("conesH", ("im2", "im6"), ("disp2", "disp6"), (WIDTH, HEIGHT), 2),
        ("map", ("im0", "im1"), ("disp0", "disp1"), (WIDTH, HEIGHT), 8),
        ("Aloe", ("view1", "view5"), ("disp1", "disp5"), (WIDTH, 1110), 1),
        ("Aloe", ("view1", "view5"), ("disp1", "disp5"), (WIDTH, 555), 2),
        ("Aloe", ("view1", "view5"), ("disp1", "disp5"), (WIDTH, 370), 3),
    ],
)
def test_the_factors_of_published_scenes_are_known(tmp_path, scene, images, maps, size, factor):
    make_stereo(tmp_path / scene, images, maps, 12, size)
    for root in (tmp_path, tmp_path / scene):
        assert MiddleburyReader().recognises(root)
        found = MiddleburyReader().read(root)
        assert found.problems == ()
        ((pair,),) = (group.pairs for group in found.groups)
        assert (pair.name, pair.path_a.stem, pair.path_b.stem) == (scene, *images)
        assert shift_px(pair) == pytest.approx(12 / factor)
        assert len(pair.truth.files) == len(maps)


@pytest.mark.parametrize("place", ["scene", "above"])
def test_stated_factors_come_before_known_ones(tmp_path, place):
    for scene in ("venus", "mine"):
        make_stereo(tmp_path / "set" / scene, ("im2", "im6"), ("disp2", "disp6"), 12)
    text = (
        '<?xml version="1.0"?>\n<opencv_storage><datasets>\n<!-- other "6" "0" -->\n'
        '\tmine "2.5" "0"\n\tvenus "6" "0"\n</datasets></opencv_storage>\n'
    )
    folders = (
        [tmp_path / "set" / "venus", tmp_path / "set" / "mine"]
        if place == "scene"
        else [tmp_path / "set"]
    )
    for folder in folders:
        (folder / "datasets.xml").write_text(text)
    found = MiddleburyReader().read(tmp_path / "set")
    shifts = {pair.name: shift_px(pair) for pair in found.pairs()}
    assert shifts == pytest.approx({"venus": 12 / 6, "mine": 12 / 2.5})


def test_a_scene_whose_factor_nobody_knows_is_left_out_with_the_remedy(tmp_path):
    make_stereo(tmp_path / "venus", ("im2", "im6"), ("disp2",), 12)
    make_stereo(tmp_path / "mine", ("im2", "im6"), ("disp2",), 12)
    make_stereo(tmp_path / "Aloe", ("view1", "view5"), ("disp1",), 12, (WIDTH, 500))
    found = MiddleburyReader().read(tmp_path)
    assert [group.name for group in found.groups] == ["venus"]
    assert len(found.problems) == 2
    assert 'a line mine "FACTOR" "0" in datasets.xml says it.' in found.problems[1]


@pytest.mark.parametrize("maps", [("disp0", "disp1"), ("disp0GT",)])
def test_scenes_with_float_maps_need_no_factor_and_infinity_is_unknown(tmp_path, maps):
    folder = make_stereo(tmp_path / "Adirondack", ("im0", "im1"), (), 0)
    values = np.full((HEIGHT, WIDTH), 3.5)
    values[:, :10] = np.inf
    for name in maps:
        write_pfm(folder / f"{name}.pfm", values)
    (folder / "calib.txt").write_text("cam0=[1 0 0; 0 1 0; 0 0 1]\ndoffs=31.1\n")
    (pair,) = MiddleburyReader().read(tmp_path).pairs()
    assert shift_px(pair) == 3.5
    truth = pair.truth.open((WIDTH, HEIGHT), (WIDTH, HEIGHT))
    assert truth.locate("a", np.array([[5.0, 5.0]])).visibility[0] == Visibility.UNKNOWN


def test_a_size_that_cannot_be_read_leaves_its_scene_out(tmp_path):
    make_stereo(tmp_path / "venus", ("im2", "im6"), ("disp2",), 12)
    folder = make_stereo(tmp_path / "Aloe", ("view1", "view5"), ("disp1",), 12)
    (folder / "view1.png").write_bytes(b"no picture")
    with pytest.raises(ImageError):
        read_size(folder / "view1.png")
    found = MiddleburyReader().read(tmp_path)
    assert [group.name for group in found.groups] == ["venus"]


def test_pictures_alone_are_no_scene(tmp_path):
    make_stereo(tmp_path / "venus", ("im2", "im6"), (), 12)
    assert not MiddleburyReader().recognises(tmp_path)
    assert not MiddleburyReader().recognises(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="holds no usable pair; Middlebury stereo means folders"):
        MiddleburyReader().read(tmp_path)


def test_the_four_pairs_of_middlebury_open_with_dense_truth(shared_data):
    found = MiddleburyReader().read(shared_data / "middlebury")
    assert found.problems == ()
    assert [group.name for group in found.groups] == ["barn2", "cones", "sawtooth", "venus"]
    for pair in found.pairs():
        a, b = (
            np.asarray(Image.open(path).convert("L"), float) for path in (pair.path_a, pair.path_b)
        )
        size = (a.shape[1], a.shape[0])
        points = np.stack(np.meshgrid(range(0, size[0], 7), range(0, size[1], 7)), -1)
        points = points.reshape(-1, 2).astype(float)
        truth = pair.truth.open(size, size).locate("a", points)
        assert truth.seen.mean() > 0.7
        rows, columns = points[truth.seen].astype(int).T[::-1]
        there = np.rint(truth.points_px[truth.seen]).astype(int)
        off = np.abs(a[rows, columns] - b[there[:, 1], there[:, 0]]).mean()
        still = np.abs(a[rows, columns] - b[rows, columns]).mean()
        assert off < 0.5 * still, pair.name
