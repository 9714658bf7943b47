"""Tables of matches in files: what other programs find in them, and that all of it comes back."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest

from engine.errors import OutputError
from engine.inspection.requests import MatchTable
from engine.jobs.match_files import COLUMNS, MATCH_FORMATS, other_files, write_matches
from engine.truth.point_files import read_point_pairs

IMAGES = (Path("/photos/left/a.jpg"), Path("/photos/b.jpg"))


def make_table(errors_px: list[float]) -> MatchTable:
    """Matches whose errors are given; all else is made up and finite."""
    count = len(errors_px)
    random = np.random.default_rng(0)
    return MatchTable(
        points_a=random.uniform(0, 640, (count, 2)).round(4),
        points_b=random.uniform(0, 480, (count, 2)).round(4),
        similarity=np.linspace(-1, 1, count).astype(np.float32),
        ratio=np.linspace(0, 1, count).astype(np.float32),
        mutual=np.arange(count) % 2 == 0,
        error_px=np.array(errors_px, np.float64),
        uncertainty_px=np.array([0.5, 4.0, *[math.nan] * count])[:count],
        confidence=np.array([math.nan, 0.25, *[1.0] * count], np.float32)[:count],
    )


def test_the_csv_holds_every_row_and_leaves_an_unknown_error_empty(tmp_path: Path):
    path = tmp_path / "ergebnis ä.csv"
    table = make_table([0.25, math.nan, 1234.5])
    write_matches(path, table, IMAGES)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["error_px"] for row in rows] == ["0.2500", "", "1234.5000"]
    assert [row["mutual"] for row in rows] == ["true", "false", "true"]
    assert [row["uncertainty_px"] for row in rows] == ["0.5000", "4.0000", ""]
    assert [row["confidence"] for row in rows] == ["", "0.2500", "1.0000"]
    back = np.array([[float(row[name]) for name in COLUMNS[:4]] for row in rows])
    np.testing.assert_allclose(back, np.hstack([table.points_a, table.points_b]), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["ergebnis ä.csv"]


def test_a_table_without_rows_is_a_csv_with_its_header_alone(tmp_path: Path):
    write_matches(tmp_path / "m.csv", make_table([]), IMAGES)
    assert (tmp_path / "m.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_a_csv_whose_folder_is_gone_is_refused(tmp_path: Path):
    with pytest.raises(OutputError, match="folder does not exist"):
        write_matches(tmp_path / "none" / "m.csv", make_table([1.0]), IMAGES)


@pytest.mark.parametrize("suffix", MATCH_FORMATS)
def test_every_format_is_read_back_as_pairs_of_points(tmp_path: Path, suffix: str):
    table = make_table([0.5, math.nan, 3.0, 9.0])
    path = tmp_path / f"matches{suffix}"
    write_matches(path, table, IMAGES)
    found = read_point_pairs(path, (str(IMAGES[0]), str(IMAGES[1])))
    np.testing.assert_allclose(found.points_a, table.points_a, atol=1e-6)
    np.testing.assert_allclose(found.points_b, table.points_b, atol=1e-6)
    assert found.matched == (suffix != ".txt")
    written = sorted(one for one in tmp_path.rglob("*") if one.is_file())
    assert written == sorted([path, *other_files(path, IMAGES)])


@pytest.mark.parametrize("suffix", MATCH_FORMATS)
def test_no_matches_are_written_and_read_as_none(tmp_path: Path, suffix: str):
    path = tmp_path / f"matches{suffix}"
    write_matches(path, make_table([]), IMAGES)
    assert len(read_point_pairs(path).points_a) == 0


def test_the_archive_holds_what_hloc_and_vismatch_call_their_arrays(tmp_path: Path):
    """A match without a place is none: hloc marks it by -1, and vismatch leaves it out."""
    table = make_table([1.0, 2.0, 3.0])
    table.points_b[1] = np.nan
    write_matches(tmp_path / "m.npz", table, IMAGES)
    with np.load(tmp_path / "m.npz") as found:
        pairs = [(i, j) for i, j in enumerate(found["matches0"]) if j > -1]  # as hloc reads them
        assert pairs == [(0, 0), (2, 2)]
        assert len(found["matching_scores0"]) == len(found["keypoints0"]) == 3
        np.testing.assert_array_equal(found["keypoints1"][2], table.points_b[2])
        np.testing.assert_array_equal(found["matched_kpts0"], table.points_a[[0, 2]])
        np.testing.assert_array_equal(found["matched_kpts1"], table.points_b[[0, 2]])
        np.testing.assert_array_equal(found["matched_confidences"], table.similarity[[0, 2]])
        np.testing.assert_array_equal(found["uncertainty_px"], table.uncertainty_px)
        np.testing.assert_array_equal(found["confidence"], table.confidence)


def test_colmap_s_files_are_as_its_importers_read_them(tmp_path: Path):
    """Parsed word by word, as COLMAP's own code does: keypoints from the corner, 128 numbers."""
    table = make_table([1.0, 2.0, 3.0])
    table.points_b[1] = np.nan
    write_matches(tmp_path / "matches.txt", table, IMAGES)
    for name, points in (("left/a.jpg", table.points_a), ("b.jpg", table.points_b)):
        header, *lines = (tmp_path / f"{name}.txt").read_text().splitlines()
        assert header.split() == ["2", "128"]
        for line, point in zip(lines, points[[0, 2]], strict=True):
            words = [float(word) for word in line.split()]
            np.testing.assert_allclose(words[:2], point + 0.5, atol=1e-6)
            assert words[2:] == [1.0, 0.0, *[0.0] * 128]
    assert (tmp_path / "matches.txt").read_text() == "left/a.jpg b.jpg\n0 0\n1 1\n\n"


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ((Path("/p/a b.jpg"), Path("/p/c.jpg")), "cannot name 'a b.jpg'"),
        ((Path("/p/a.jpg"), Path("/p/../p/a.jpg")), "no image with itself"),
    ],
)
def test_images_that_colmap_s_list_cannot_name_are_refused_before_the_work(
    tmp_path: Path, images: tuple[Path, Path], reason: str
):
    with pytest.raises(OutputError, match=reason):
        other_files(tmp_path / "m.txt", images)
    assert other_files(tmp_path / "m.npz", images) == ()
