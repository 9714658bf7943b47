"""Pairs of points in files: what other programs write is read as they mean it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from engine.errors import TruthError
from engine.truth.point_files import lists_points, read_point_pairs

ROWS = np.array([[1.5, 2.25, 30.0, 40.0], [5.0, 6.0, 70.5, 8.0], [0.0, 3.0, 12.0, 13.0]])


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(path: Path, images: tuple[str, str] = ("", "")) -> np.ndarray:
    found = read_point_pairs(path, images)
    return np.hstack([found.points_a, found.points_b])


TABLES = {
    "numpy": "1.500000000000000000e+00 2.25e+00 30 40\n5 6 70.5 8\n0 3 12 13\n",
    "comma": "1.5,2.25,30,40\n5, 6, 70.5, 8\n0,3,12,13",
    "semicolon": "1.5;2.25;30;40\r\n5;6;70.5;8\r\n0;3;12;13\r\n",
    "decimal comma": "1,5;2,25;30,0;40\n5;6;70,5;8\n0;3;12;13\n",
    "tab": "1.5\t2.25\t30\t40\n5\t6\t70.5\t8\n\n0\t3\t12\t13\n",
    "comments": "# clicked by hand\n% v2\n1.5 2.25 30 40 # roof\n 5 6 70.5 8\n0 3 12 13\n",
    "header": "x1 y1 x2 y2\n1.5 2.25 30 40\n5 6 70.5 8\n0 3 12 13\n",
    "other order": "id,X2,Y2,X1,Y1\na,30,40,1.5,2.25\nb,70.5,8,5,6\nc,12,13,0,3\n",
    "quoted": '"x_a","y_a","x_b","y_b"\n1.5,2.25,30,40\n5,6,70.5,8\n0,3,12,13\n',
    "from zero": "x0;y0;x1;y1;label\n1.5;2.25;30;40;1\n5;6;70.5;8;2\n0;3;12;13;3\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_are_read_however_their_columns_are_parted_and_named(tmp_path: Path, kind: str):
    np.testing.assert_array_equal(rows_of(write(tmp_path / "points", TABLES[kind])), ROWS)


def test_a_byte_order_mark_and_utf_16_do_no_harm(tmp_path: Path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "points.txt").write_text(TABLES["header"], encoding=encoding)
        np.testing.assert_array_equal(rows_of(tmp_path / "points.txt"), ROWS)


def test_only_tables_with_scores_are_said_to_come_from_a_matcher(tmp_path: Path):
    plain = write(tmp_path / "given.csv", TABLES["header"])
    scored = write(tmp_path / "found.csv", "x_a,y_a,x_b,y_b,similarity\n1,2,3,4,0.5\n")
    assert (read_point_pairs(plain).matched, read_point_pairs(scored).matched) == (False, True)


REFUSED = {
    "": "lists no points",
    "# only a comment\n": "lists no points",
    "1 2 3 4 5\n": "has 5 columns",
    "1 2 3\n": "has 3 columns",
    "1 2 3 4\n5 6 7\n": "line 2 holds 3 values, and the first one 4",
    "1 2 3 4\n\n5 6 x 8\n": "line 3 holds 'x' in place of a number",
    "1 2 3 4\n5 6 nan 8\n": r"in no image \(pair 2\)",
    "1 2 3 4e200\n": r"in no image \(pair 1\)",
    "row col row2 col2\n1 2 3 4\n": "names no columns x1, y1, x2 and y2",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_table_that_leaves_a_doubt_is_refused_with_the_place(tmp_path: Path, text: str):
    with pytest.raises(TruthError, match=REFUSED[text]):
        read_point_pairs(write(tmp_path / "points.txt", text))


def test_what_is_no_list_of_points_is_called_by_its_name(tmp_path: Path):
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(TruthError, match="is a PNG picture, and holds no pairs of points"):
        read_point_pairs(tmp_path / "picture")
    with pytest.raises(TruthError, match="does not exist"):
        read_point_pairs(tmp_path / "none")


# ---- NumPy -------------------------------------------------------------------------------------

KEYPOINTS_A = np.array([[9.0, 9.0], *ROWS[:, :2], [8.0, 8.0]])
KEYPOINTS_B = ROWS[::-1, 2:].copy()
PARTNERS = np.array([-1, 2, 1, 0, -1])

ARCHIVES = {
    "SuperGlue": {
        "keypoints0": KEYPOINTS_A.astype(np.float32),
        "keypoints1": KEYPOINTS_B.astype(np.float32),
        "matches": PARTNERS.astype(np.int64),
        "match_confidence": np.ones(5, np.float32),
    },
    "hloc": {
        "keypoints0": KEYPOINTS_A,
        "keypoints1": KEYPOINTS_B,
        "matches0": PARTNERS.astype(np.int16),
        "matching_scores0": np.ones(5, np.float16),
    },
    "LightGlue": {
        "keypoints0": KEYPOINTS_A[None],
        "keypoints1": KEYPOINTS_B[None],
        "matches": np.array([[1, 2], [2, 1], [3, 0]]),
        "scores": np.ones(3),
    },
    "LoFTR": {"mkpts0": ROWS[:, :2], "mkpts1": ROWS[:, 2:], "mconf": np.ones(3)},
    "vismatch": {
        "all_kpts0": KEYPOINTS_A,
        "all_kpts1": KEYPOINTS_B,
        "matched_kpts0": ROWS[:, :2],
        "matched_kpts1": ROWS[:, 2:],
        "matched_confidences": np.ones(3),
        "inlier_kpts0": ROWS[:1, :2],
        "inlier_kpts1": ROWS[:1, 2:],
    },
    "given points": {"pts0": ROWS[:, :2], "pts1": ROWS[:, 2:]},
    "rows": {"arr_0": ROWS},
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_read_by_the_names_of_the_programs_that_write_them(tmp_path: Path, kind: str):
    np.savez(tmp_path / "m.npz", **ARCHIVES[kind])  # type: ignore[arg-type]
    np.testing.assert_array_equal(rows_of(tmp_path / "m.npz"), ROWS)
    assert read_point_pairs(tmp_path / "m.npz").matched == (len(ARCHIVES[kind]) > 2)


def test_an_array_of_rows_is_read(tmp_path: Path):
    np.save(tmp_path / "m.npy", ROWS.reshape(-1, 2, 2))
    np.testing.assert_array_equal(rows_of(tmp_path / "m.npy"), ROWS)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"keypoints0": KEYPOINTS_A, "keypoints1": KEYPOINTS_B}, "not which belong together"),
        ({"mkpts0": ROWS[:, :2], "mkpts1": ROWS[:2, 2:]}, "3 and 2 points"),
        ({"mkpts0": ROWS, "mkpts1": ROWS}, "3 × 4 numbers in mkpts0"),
        ({"flow": np.zeros((4, 4, 2))}, "no pairs of points under a known name"),
        ({"mkpts0": np.array([["a", "b"]]), "mkpts1": ROWS[:1, 2:]}, "not real numbers"),
        (
            {"keypoints0": KEYPOINTS_A, "keypoints1": KEYPOINTS_B, "matches": np.array([[1, 3]])},
            "keypoints 1 and 3, and there are 5 and 3",
        ),
        (
            {"keypoints0": KEYPOINTS_A, "keypoints1": KEYPOINTS_B, "matches0": np.zeros(4, int)},
            "4 int64 values in matches0 in place of 5 indices",
        ),
    ],
)
def test_an_archive_that_leaves_a_doubt_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], reason: str
):
    np.savez(tmp_path / "m.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(TruthError, match=reason):
        read_point_pairs(tmp_path / "m.npz")


# ---- COLMAP ------------------------------------------------------------------------------------


def write_colmap_keypoints(path: Path, centres: np.ndarray) -> None:
    """As COLMAP's tutorial defines it: the centre of the top-left pixel is (0.5, 0.5)."""
    rows = [f"{x + 0.5} {y + 0.5} 1.0 0.0 " + " ".join(["0"] * 128) for x, y in centres]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"{len(rows)} 128", *rows]) + "\n")


@pytest.fixture
def colmap(tmp_path: Path) -> Path:
    write_colmap_keypoints(tmp_path / "left" / "a.jpg.txt", KEYPOINTS_A)
    write_colmap_keypoints(tmp_path / "b.jpg.txt", KEYPOINTS_B)
    write_colmap_keypoints(tmp_path / "c.jpg.txt", KEYPOINTS_B)
    text = "left/a.jpg c.jpg\n0 0\n\nleft/a.jpg b.jpg\n1 2\n2 1\n3 0\n\nb.jpg c.jpg\n1 1\n"
    return write(tmp_path / "matches.txt", text)


def test_the_matches_of_a_pair_are_found_in_a_list_of_many(colmap: Path):
    images = (str(colmap.parent / "left" / "a.jpg"), str(colmap.parent / "b.jpg"))
    np.testing.assert_allclose(rows_of(colmap, images), ROWS)
    np.testing.assert_allclose(rows_of(colmap, images[::-1]), ROWS[:, [2, 3, 0, 1]])
    found = read_point_pairs(colmap, images)
    assert [path.name for path in found.keypoint_files] == ["a.jpg.txt", "b.jpg.txt"]


def test_names_may_tell_more_or_less_than_the_list(colmap: Path):
    for images in (("a.jpg", "b.jpg"), ("/photos/left/a.jpg", "/photos/b.jpg")):
        np.testing.assert_allclose(rows_of(colmap, images), ROWS)
    with pytest.raises(TruthError, match=r"no matches of a\.jpg and b\.jpg"):
        read_point_pairs(colmap, ("/photos/right/a.jpg", "/photos/b.jpg"))


def test_a_list_is_told_from_other_files_without_its_images(colmap: Path):
    assert lists_points(colmap)
    assert lists_points(write(colmap.parent / "corrs.txt", "1 2 3 4\n"))
    others = ("a.jpg b.jpg\na.jpg c.jpg\n", "1 0 0\n0 1 0\n0 0 1\n", "")
    assert not any(lists_points(write(colmap.parent / "other", text)) for text in others)
    assert not lists_points(colmap.parent / "none")


def test_a_list_of_one_pair_needs_no_names(colmap: Path):
    write(colmap, "left/a.jpg b.jpg\n1 2\n2 1\n3 0\n")
    np.testing.assert_allclose(rows_of(colmap), ROWS)


@pytest.mark.parametrize(
    ("text", "images", "reason"),
    [
        (None, ("", ""), "lists 3 pairs of images"),
        (None, ("a.jpg", "d.jpg"), "no matches of a.jpg and d.jpg"),
        ("left/a.jpg b.jpg\n1 7\n", ("", ""), "keypoints 1 and 7, and there are 5 and 3"),
        ("left/a.jpg b.jpg\n1\n", ("", ""), "line without two indices"),
        ("left/a.jpg b.jpg\n1 2\na.jpg c.jpg\n", ("", ""), "names in place of matches"),
        ("left/a.jpg b.jpg\na.jpg c.jpg\n", ("", ""), "names no columns x1, y1, x2 and y2"),
        ("left/a.jpg x.jpg\n1 1\n", ("", ""), "x.jpg.txt: does not exist, and the keypoints"),
    ],
)
def test_a_list_that_does_not_lead_to_points_is_refused(
    colmap: Path, text: str | None, images: tuple[str, str], reason: str
):
    if text is not None:
        write(colmap, text)
    with pytest.raises(TruthError, match=reason):
        read_point_pairs(colmap, images)


def test_keypoints_that_are_not_all_there_are_refused(colmap: Path):
    write(colmap, "left/a.jpg b.jpg\n1 2\n")
    write(colmap.parent / "b.jpg.txt", "4 128\n1 2 3 4\n")
    with pytest.raises(TruthError, match="announces 4 keypoints and holds 1"):
        read_point_pairs(colmap)


# ---- COLMAP's database -------------------------------------------------------------------------

SCHEMA = """
CREATE TABLE images (image_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, camera_id INTEGER);
CREATE TABLE keypoints (image_id INTEGER PRIMARY KEY, rows INTEGER, cols INTEGER, data BLOB);
CREATE TABLE matches (pair_id INTEGER PRIMARY KEY, rows INTEGER, cols INTEGER, data BLOB);
CREATE TABLE two_view_geometries
    (pair_id INTEGER PRIMARY KEY, rows INTEGER, cols INTEGER, data BLOB, config INTEGER);
"""


def write_database(path: Path, *, verified: bool) -> None:
    """As COLMAP's documentation has it; b.jpg comes before a.jpg, so the pair is turned round."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(SCHEMA)
        names = {3: "b.jpg", 7: "left/a.jpg", 9: "c.jpg"}
        database.executemany("INSERT INTO images VALUES (?, ?, 1)", names.items())
        for image, points in ((3, KEYPOINTS_B), (7, KEYPOINTS_A), (9, KEYPOINTS_B)):
            stored = np.zeros((len(points), 6), np.float32)
            stored[:, :2] = points + 0.5
            row = (image, *stored.shape, stored.tobytes())
            database.execute("INSERT INTO keypoints VALUES (?, ?, ?, ?)", row)
        every = np.array([[2, 1], [1, 2], [0, 3], [0, 0]], np.uint32)
        for pair, pairs in ((2147483647 * 3 + 7, every), (2147483647 * 7 + 9, every[1:2])):
            row = (pair, *pairs.shape, pairs.tobytes())
            database.execute("INSERT INTO matches VALUES (?, ?, ?, ?)", row)
            kept = pairs[:3] if verified else pairs[:0]
            row = (pair, *kept.shape, kept.tobytes())
            database.execute("INSERT INTO two_view_geometries VALUES (?, ?, ?, ?, 2)", row)
        database.commit()


def test_a_database_gives_verified_matches_or_else_the_raw_ones(tmp_path: Path):
    for verified, rows in ((True, ROWS), (False, np.vstack([ROWS, [9.0, 9.0, 12.0, 13.0]]))):
        path = tmp_path / f"{verified}.db"
        write_database(path, verified=verified)
        np.testing.assert_allclose(rows_of(path, ("a.jpg", "b.jpg")), rows)
        np.testing.assert_allclose(rows_of(path, ("b.jpg", "a.jpg")), rows[:, [2, 3, 0, 1]])
        assert read_point_pairs(path, ("a.jpg", "b.jpg")).matched
        assert lists_points(path)
        with pytest.raises(TruthError, match=r"no matches of b\.jpg and c\.jpg"):
            read_point_pairs(path, ("b.jpg", "c.jpg"))
        with pytest.raises(TruthError, match="lists 2 pairs of images"):
            read_point_pairs(path)


def test_a_damaged_or_foreign_database_is_refused(tmp_path: Path):
    write_database(tmp_path / "m.db", verified=True)
    whole = (tmp_path / "m.db").read_bytes()
    (tmp_path / "cut.db").write_bytes(whole[: len(whole) // 2])
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE songs (name TEXT)")
    for name in ("cut.db", "other.db"):
        with pytest.raises(TruthError, match="is a damaged COLMAP database"):
            read_point_pairs(tmp_path / name, ("a.jpg", "b.jpg"))
