"""Folders of sequences, whole and broken in every way that was thought of."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.data.folders import natural_key
from engine.data.layouts.hpatches import HPatchesReader
from engine.data.pair_set import PairSet
from engine.errors import DatasetError
from engine.images import read_size

MATRIX = "1 0 {k}\n0 1 0\n0 0 1\n"


def make_sequence(folder: Path, *, count=6, suffix=".ppm", image="{k}", matrix="H_1_{k}") -> Path:
    """A sequence whose images are empty files, since opening must not look inside, and whose
    H_1_k shifts by k pixels."""
    folder.mkdir(parents=True)
    for k in range(1, count + 1):
        (folder / (image.format(k=k) + suffix)).touch()
        if k > 1:
            (folder / matrix.format(k=k)).write_text(MATRIX.format(k=k))
    return folder


def read(folder: Path) -> PairSet:
    return HPatchesReader().read(folder)


def the_problem(folder: Path) -> str:
    """The only problem of the only sequence."""
    dataset = read(folder)
    assert dataset.problems == dataset.groups[0].problems
    (problem,) = dataset.problems
    return problem


def test_a_sequence_gives_image_1_against_each_other_with_its_homography(tmp_path):
    make_sequence(tmp_path / "v_wall")
    dataset = read(tmp_path / "v_wall")
    (sequence,) = dataset.groups
    assert (sequence.name, sequence.subset, sequence.problems) == ("v_wall", "viewpoint", ())
    assert [pair.name for pair in sequence.pairs] == [f"v_wall 1 → {k}" for k in range(2, 7)]
    for k, pair in enumerate(sequence.pairs, start=2):
        assert pair.path_a == tmp_path / "v_wall" / "1.ppm"
        assert pair.path_b == tmp_path / "v_wall" / f"{k}.ppm"
        assert (pair.sequence, pair.index) == ("v_wall", k)
        np.testing.assert_array_equal(pair.truth.h_b_from_a, [[1, 0, k], [0, 1, 0], [0, 0, 1]])
        assert dataset.pair("v_wall", k) == pair
        assert pair.truth.h_b_from_a.dtype == np.float64


@pytest.mark.parametrize("level", ["root", "itself"])
def test_a_root_one_sequence_or_a_level_in_between_open_alike(tmp_path, level):
    root = tmp_path if level == "itself" else tmp_path / level
    for name in ("v_b", "i_a"):
        make_sequence(root / name)
    assert [s.name for s in read(tmp_path).groups] == ["i_a", "v_b"]


def test_a_folder_may_hold_sequences_and_roots_side_by_side(tmp_path):
    make_sequence(tmp_path / "v_near")
    make_sequence(tmp_path / "old" / "v_far")
    make_sequence(tmp_path / "a" / "b" / "c" / "d" / "e" / "v_deep")
    make_sequence(tmp_path / "a" / "b" / "c" / "d" / "e" / "f" / "v_too_deep")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").touch()
    (tmp_path / "notes.txt").touch()
    dataset = read(tmp_path)
    assert [s.name for s in dataset.groups] == ["v_deep", "v_far", "v_near"]
    assert dataset.problems == ()


@pytest.mark.parametrize("suffix", [".ppm", ".PNG", ".jpg", ".tif", ".webp", ".bmp", ".pgm"])
def test_any_picture_ending_is_taken(tmp_path, suffix):
    make_sequence(tmp_path / "v_x", suffix=suffix)
    assert len(read(tmp_path).pairs()) == 5


@pytest.mark.parametrize(
    ("image", "matrix"),
    [("img{k}", "H1to{k}p"), ("{k}", "H_1_{k}.txt"), ("0{k}", "H_1_{k}"), ("{k}", "H1to{k}")],
)
def test_other_common_names_are_understood(tmp_path, image, matrix):
    make_sequence(tmp_path / "graf", image=image, matrix=matrix)
    (sequence,) = read(tmp_path).groups
    assert len(sequence.pairs) == 5
    assert sequence.subset == ""


def test_sequences_and_images_come_in_natural_order(tmp_path):
    for name in ("v_10", "v_9", "V_1", "i_2"):
        make_sequence(tmp_path / name, count=12)
    dataset = read(tmp_path)
    assert [s.name for s in dataset.groups] == ["i_2", "V_1", "v_9", "v_10"]
    assert [pair.index for pair in dataset.groups[0].pairs] == list(range(2, 13))


def test_the_natural_key_orders_numbers_by_value_and_any_text_at_all():
    names = ["b2", "b10", "B1", "a", "", "10", "9", "²", "x٣", "7z", "7"]
    assert sorted(names, key=natural_key) == sorted(sorted(names), key=natural_key)
    assert sorted(["b10", "b2", "B1"], key=natural_key) == ["B1", "b2", "b10"]
    assert sorted(["10", "9", "a"], key=natural_key) == ["9", "10", "a"]


def test_subsets_follow_the_folders_names(tmp_path):
    for name in ("v_a", "v_b", "i_c", "own"):
        make_sequence(tmp_path / name)
    dataset = read(tmp_path)
    assert dataset.subsets == ("illumination", "viewpoint")
    assert [s.name for s in dataset.only("viewpoint").groups] == ["v_a", "v_b"]
    assert [s.name for s in dataset.only("illumination").groups] == ["i_c"]
    assert dataset.only("viewpoint").only("illumination").groups == ()
    assert len(dataset.pairs()) == 20


# ---- broken ones


def test_a_missing_image_is_reported_and_the_rest_stays(tmp_path):
    folder = make_sequence(tmp_path / "v_x")
    (folder / "3.ppm").unlink()
    assert the_problem(tmp_path) == "v_x: image 3 is missing, so the pair 1 → 3 is left out."
    (sequence,) = read(tmp_path).groups
    assert [pair.index for pair in sequence.pairs] == [2, 4, 5, 6]
    with pytest.raises(DatasetError, match=r"no pair 3 \(v_x: image 3 is missing.*are 2, 4, 5, 6"):
        read(tmp_path).pair("v_x", 3)
    with pytest.raises(DatasetError, match="no pair 7; its pairs are"):
        read(tmp_path).pair("v_x", 7)


def test_a_gap_in_images_and_matrices_alike_is_reported_too(tmp_path):
    folder = make_sequence(tmp_path / "v_x")
    (folder / "3.ppm").unlink()
    (folder / "H_1_3").unlink()
    assert "image 3 is missing" in the_problem(tmp_path)


def test_a_missing_homography_is_reported_and_its_pair_left_out(tmp_path):
    folder = make_sequence(tmp_path / "v_x")
    (folder / "H_1_2").unlink()
    problem = the_problem(tmp_path)
    assert problem == "v_x: the file H_1_2 is missing, so the pair 1 → 2 is left out."
    (sequence,) = read(tmp_path).groups
    assert [pair.index for pair in sequence.pairs] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 0 0\n0 1 0\n", "holds 6 numbers, and a homography has 9"),
        ("1 0 0\n0 1 0\n0 0 nan\n", "not finite"),
        ("1 2 3\n2 4 6\n0 0 1\n", "is singular"),
        ("", "holds 0 numbers"),
        ("hello", "holds 'hello' where a number"),
    ],
)
def test_a_broken_homography_is_reported_with_the_reason(tmp_path, text, reason):
    folder = make_sequence(tmp_path / "i_x")
    (folder / "H_1_4").write_text(text)
    problem = the_problem(tmp_path)
    assert problem.startswith("i_x: H_1_4 ")
    assert reason in problem
    assert problem.endswith("so the pair 1 → 4 is left out.")
    assert [pair.index for pair in read(tmp_path).pairs()] == [2, 3, 5, 6]


def test_a_sequence_without_image_1_is_left_out_and_the_others_stay(tmp_path):
    (make_sequence(tmp_path / "v_bad") / "1.ppm").unlink()
    make_sequence(tmp_path / "v_good")
    dataset = read(tmp_path)
    assert [s.name for s in dataset.groups] == ["v_good"]
    assert dataset.problems == ("v_bad: image 1 is missing, so the sequence is left out.",)


def test_numbered_photos_without_any_matrix_are_no_sequence(tmp_path):
    make_sequence(tmp_path / "v_good")
    folder = tmp_path / "frames"
    folder.mkdir()
    for k in (1, 2, 3, 100_000):
        (folder / f"{k}.jpg").touch()
    dataset = read(tmp_path)
    assert dataset.problems == ("frames: there is no file H_1_k, so the sequence is left out.",)


def test_a_far_away_number_does_not_fill_the_list_of_problems(tmp_path):
    folder = make_sequence(tmp_path / "v_x")
    (folder / "100000.ppm").touch()
    dataset = read(tmp_path)
    assert len(dataset.pairs()) == 5
    assert len(dataset.problems) < 20
    assert "H_1_100000 is missing" in dataset.problems[-1]


@pytest.mark.parametrize(("complete", "other"), [(".png", ".jpg"), (".jpg", ".png")])
def test_one_number_twice_is_reported_and_the_complete_format_is_used(tmp_path, complete, other):
    folder = make_sequence(tmp_path / "v_x", suffix=complete)
    (folder / f"2{other}").touch()
    assert the_problem(tmp_path) == f"v_x: image 2 is there twice; 2{complete} is used."
    assert read(tmp_path).pairs()[0].path_b.name == f"2{complete}"


def test_names_that_occur_twice_are_told_apart_by_their_parents(tmp_path):
    make_sequence(tmp_path / "old" / "v_x")
    make_sequence(tmp_path / "new" / "v_x")
    make_sequence(tmp_path / "new" / "v_y")
    dataset = read(tmp_path)
    assert [s.name for s in dataset.groups] == ["new/v_x", "old/v_x", "v_y"]
    assert dataset.group("old/v_x").pairs[0].name == "old/v_x 1 → 2"
    assert dataset.group("old/v_x").subset == "viewpoint"
    with pytest.raises(DatasetError, match="no usable group 'v_z'"):
        dataset.group("v_z")


def test_hidden_files_and_folders_are_not_seen(tmp_path):
    folder = make_sequence(tmp_path / "v_x")
    (folder / "._1.ppm").touch()
    make_sequence(tmp_path / ".trash" / "v_y")
    make_sequence(tmp_path / ".v_z")
    dataset = read(tmp_path)
    assert [s.name for s in dataset.groups] == ["v_x"]
    assert dataset.problems == ()


def test_a_path_with_any_letters_opens(tmp_path):
    make_sequence(tmp_path / "données 東京" / "v_é")
    assert read(tmp_path / "données 東京").pairs()[0].sequence == "v_é"


def test_links_to_one_folder_are_sequences_of_their_own(tmp_path):
    make_sequence(tmp_path / "kept" / "v_wall")
    (tmp_path / "links").mkdir()
    for name in ("v_one", "v_two"):
        (tmp_path / "links" / name).symlink_to(tmp_path / "kept" / "v_wall")
    names = [group.name for group in read(tmp_path / "links").groups]
    assert names == ["v_one", "v_two"]


def test_names_that_their_parents_do_not_tell_apart_are_numbered(tmp_path):
    for place in ("a", "b"):
        make_sequence(tmp_path / place / "same" / "v_wall")
    groups = read(tmp_path).groups
    assert [group.name for group in groups] == ["same/v_wall", "same/v_wall (2)"]
    assert groups[1].pairs[0].name == "same/v_wall (2) 1 → 2"


def test_a_sequence_is_named_by_its_folder_however_the_path_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(make_sequence(tmp_path / "v_here"))
    assert read(Path()).groups[0].name == "v_here"


def test_what_cannot_be_opened_says_what_was_expected(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        read(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="is a file, and a folder is wanted"):
        read(tmp_path / "file")
    with pytest.raises(DatasetError, match="no usable sequence; a sequence has images named 1, 2"):
        read(tmp_path)
    folder = make_sequence(tmp_path / "v_x", count=2)
    (folder / "H_1_2").write_text("1 2 3")
    with pytest.raises(DatasetError, match=r"no usable sequence \(v_x: H_1_2 holds 3 numbers"):
        read(tmp_path)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything"
)
def test_a_folder_that_may_not_be_read_is_reported(tmp_path):
    make_sequence(tmp_path / "v_x")
    locked = make_sequence(tmp_path / "v_y")
    locked.chmod(0)
    try:
        dataset = read(tmp_path)
        assert [s.name for s in dataset.groups] == ["v_x"]
        assert "cannot be read" in dataset.problems[0]
    finally:
        locked.chmod(0o755)


# ---- other names


def shifts(folder: Path) -> list[tuple[int, str, str, float]]:
    """Number and files of each pair, and by how much its matrix shifts."""
    return [
        (pair.index, pair.path_a.name, pair.path_b.name, float(pair.truth.h_b_from_a[0, 2]))
        for pair in read(folder).pairs()
    ]


def make_files(folder: Path, images: list[str], matrices: dict[str, int]) -> Path:
    folder.mkdir(parents=True)
    for image in images:
        (folder / image).touch()
    for matrix, shift in matrices.items():
        (folder / matrix).write_text(MATRIX.format(k=shift))
    return folder


@pytest.mark.parametrize(
    ("image", "matrix"),
    [
        *(
            ("IMG{k}", "H1TO{k}P"),
            ("{k}", "h_1_{k}"),
            ("{k}", "H_1_{k}.TXT"),
            ("Img_{k}", "H1_{k}"),
        ),
        *(("image{k}", "H_1_to_{k}"), ("im{k}", "H_1_{k}.csv"), ("{k}", "H-1-{k}")),
    ],
)
@pytest.mark.parametrize("suffix", [".ppm", ".PPM"])
def test_the_case_and_the_fashion_of_names_do_not_matter(tmp_path, image, matrix, suffix):
    make_sequence(tmp_path / "v_x", image=image, matrix=matrix, suffix=suffix)
    files = [(k, image.format(k=1) + suffix, image.format(k=k) + suffix, k) for k in range(2, 7)]
    assert shifts(tmp_path) == files
    assert read(tmp_path).problems == ()


@pytest.mark.parametrize("ending", [".npz", ".xml", ".yml", ".json", ".npy"])
def test_matrices_may_have_any_readable_format(tmp_path, ending):
    folder = make_files(tmp_path / "v_x", ["1.png", "2.png"], {})
    matrix, path = np.array([[1.0, 0, 7], [0, 1, 0], [0, 0, 1]]), folder / f"H_1_2{ending}"
    if ending == ".npz":
        np.savez(path, H=matrix)
    elif ending == ".npy":
        np.save(path, matrix)
    else:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
        storage.write("H", matrix)
        storage.release()
    assert shifts(tmp_path) == [(2, "1.png", "2.png", 7)]


@pytest.mark.parametrize("matrix", ["H_0_{k}", "H0to{k}p", "h_0_{k}.txt"])
def test_a_sequence_may_count_from_zero(tmp_path, matrix):
    files = {matrix.format(k=k): k for k in range(1, 6)}
    make_files(tmp_path / "v_x", [f"{k}.png" for k in range(6)], files)
    assert shifts(tmp_path) == [(k + 1, "0.png", f"{k}.png", k) for k in range(1, 6)]
    assert read(tmp_path).problems == ()


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("matrix", ["H_ref_{k}", "H_REF_{k}", "Href_{k}", "Hrefto{k}p"])
def test_the_first_image_may_be_called_ref(tmp_path, matrix, first):
    numbers = range(first, first + 5)
    images = ["ref.ppm", *(f"{k}.ppm" for k in numbers)]
    make_files(tmp_path / "v_x", images, {matrix.format(k=k): k for k in numbers})
    expected = [(k + 2 - first, "ref.ppm", f"{k}.ppm", k) for k in numbers]
    assert shifts(tmp_path) == expected
    assert read(tmp_path).problems == ()


def test_ref_beside_matrices_from_1_is_image_1(tmp_path):
    make_files(tmp_path / "v_x", ["ref.png", "2.png", "3.png"], {"H_1_2": 2, "H_1_3": 3})
    assert shifts(tmp_path) == [(2, "ref.png", "2.png", 2), (3, "ref.png", "3.png", 3)]


def test_matrices_between_all_images_leave_those_from_the_first(tmp_path):
    matrices = {f"H_{a}_{b}": 10 * a + b for a in range(1, 4) for b in range(1, 4)}
    make_files(tmp_path / "v_x", ["1.png", "2.png", "3.png"], matrices)
    assert shifts(tmp_path) == [(2, "1.png", "2.png", 12), (3, "1.png", "3.png", 13)]
    matrices = {f"H_{a}_{b}": 10 * a + b for a in range(3) for b in range(3)}
    make_files(tmp_path / "zero" / "v_y", ["0.png", "1.png", "2.png"], matrices)
    assert [entry[3] for entry in shifts(tmp_path / "zero")] == [12]


def test_images_from_0_and_homographies_from_1_are_brought_together_and_that_is_said(tmp_path):
    images = [f"{k}.png" for k in range(4)]
    make_files(tmp_path / "a" / "v_x", images, {f"H_1_{k}": k for k in range(2, 5)})
    assert shifts(tmp_path / "a") == [(k, "0.png", f"{k - 1}.png", k) for k in range(2, 5)]
    told = "v_x: its images count from 0 and its homographies from 1."
    assert the_problem(tmp_path / "a") == told
    images = [f"{k}.png" for k in range(1, 5)]
    make_files(tmp_path / "b" / "v_y", images, {f"H_0_{k}": k for k in range(1, 4)})
    assert shifts(tmp_path / "b") == [(k, "1.png", f"{k}.png", k - 1) for k in range(2, 5)]
    assert "its images count from 1" in the_problem(tmp_path / "b")
    # An image 0 beside a whole sequence is left alone.
    images = [f"{k}.png" for k in range(5)]
    make_files(tmp_path / "c" / "v_z", images, {f"H_1_{k}": k for k in range(2, 5)})
    assert shifts(tmp_path / "c") == [(k, "1.png", f"{k}.png", k) for k in range(2, 5)]


def test_what_is_missing_is_named_as_the_files_name_it(tmp_path):
    make_files(tmp_path / "v_x", ["0.png", "2.png"], {"H_0_1": 1, "H_0_2": 2})
    assert the_problem(tmp_path) == "v_x: image 1 is missing, so the pair 1 → 2 is left out."
    make_files(tmp_path / "b" / "v_y", ["ref.png", "1.png", "2.png"], {"H_ref_1": 1})
    problem = the_problem(tmp_path / "b")
    assert problem == "v_y: the file H_ref_2 is missing, so the pair 1 → 3 is left out."
    make_files(tmp_path / "c" / "v_z", ["1.png", "2.png"], {"H_0_1": 1, "H_0_2": 1})
    with pytest.raises(DatasetError, match="v_z: image 0 is missing"):
        read(tmp_path / "c")


@pytest.mark.parametrize("below", ["", "hpatches-release"])
def test_patches_are_recognised_and_named(tmp_path, below):
    root = tmp_path / below
    for name in ("v_abstract", "i_ajuntament"):
        kinds = [f"{kind}{k}.png" for kind in "eht" for k in range(1, 6)]
        make_files(root / name, ["ref.png", *kinds, "e1.overlap"], {})
    with pytest.raises(DatasetError, match="holds patches of HPatches") as caught:
        read(tmp_path)
    assert "(i_ajuntament, v_abstract)" in str(caught.value)
    assert "hpatches-sequences-release" in str(caught.value)
    with pytest.raises(DatasetError, match="holds patches of HPatches"):
        read(root / "v_abstract")
    make_sequence(tmp_path / "v_whole")
    dataset = read(tmp_path)
    assert [s.name for s in dataset.groups] == ["v_whole"]
    assert "holds patches" in dataset.problems[0]


# ---- choices


@pytest.mark.parametrize("others", [[".jpg"], [".webp", ".jpg"]])
def test_of_two_complete_formats_the_lossless_one_is_used_and_that_is_said(tmp_path, others):
    folder = make_sequence(tmp_path / "v_x", suffix=".ppm")
    for suffix in others:
        for k in range(1, 7):
            (folder / f"{k}{suffix}").touch()
    assert {pair.path_b.suffix for pair in read(tmp_path).pairs()} == {".ppm"}
    problem = the_problem(tmp_path)
    assert problem.startswith(f"v_x: {6 * len(others)} images are there twice; *.ppm is used, not ")


def test_previews_of_some_images_do_not_make_a_sequence_of_mixed_formats(tmp_path):
    folder = make_sequence(tmp_path / "v_x", suffix=".png")
    for name in ("1.jpg", "3.JPG", "img2.png", "overview.jpg", "9.gif"):
        (folder / name).touch()
    (sequence,) = read(tmp_path).groups
    assert {pair.path_a.name for pair in sequence.pairs} == {"1.png"}
    assert [pair.path_b.name for pair in sequence.pairs] == [f"{k}.png" for k in range(2, 7)]
    assert any("3 images are there twice; *.png is used" in p for p in sequence.problems)


def test_a_sequence_whose_images_have_different_formats_is_whole(tmp_path):
    make_files(tmp_path / "v_x", ["1.png", "2.jpg", "img3.tif"], {"H_1_2": 2, "H_1_3": 3})
    assert shifts(tmp_path) == [(2, "1.png", "2.jpg", 2), (3, "1.png", "img3.tif", 3)]
    assert read(tmp_path).problems == ()


def test_of_two_homographies_the_one_used_is_said_if_they_differ(tmp_path):
    folder = make_sequence(tmp_path / "v_x", count=3)
    (folder / "H_1_2.txt").write_text(MATRIX.format(k=2))
    assert read(tmp_path).problems == ()
    (folder / "H1to3p").write_text(MATRIX.format(k=9))
    assert the_problem(tmp_path) == "v_x: H1to3p is used, not H_1_3, which differs."
    assert [entry[3] for entry in shifts(tmp_path)] == [2, 9]


def test_of_two_homographies_the_readable_one_is_used(tmp_path):
    folder = make_sequence(tmp_path / "v_x", count=2)
    (folder / "H1to2p").write_text("rubbish")
    assert shifts(tmp_path) == [(2, "1.ppm", "2.ppm", 2)]
    assert the_problem(tmp_path).endswith("; H_1_2 is used.")


def test_the_array_taken_of_an_archive_is_said(tmp_path):
    folder = make_files(tmp_path / "v_x", ["1.png", "2.png"], {})
    np.savez(folder / "H_1_2.npz", H=np.diag([2.0, 2, 1]), K=np.eye(3))
    assert the_problem(tmp_path).endswith("holds several 3 × 3 matrices (H, K); H is used.")


# ---- the real thing


def test_the_real_sequences_open_whole(shared_data):
    dataset = read(shared_data / "sequences")
    assert [s.name for s in dataset.groups] == ["i_leuven", "i_pool", "v_churchill", "v_graf"]
    assert len(dataset.pairs()) == 20
    assert dataset.problems == ()
    assert len(dataset.only("viewpoint").groups) == 2
    assert len(dataset.only("illumination").groups) == 2
    assert read_size(dataset.group("v_churchill").pairs[0].path_a) == (768, 1024)
    assert len(read(shared_data).pairs()) == 20, "one level higher"
    pool = dataset.pair("i_pool", 4)
    np.testing.assert_array_equal(pool.truth.h_b_from_a, np.eye(3))
