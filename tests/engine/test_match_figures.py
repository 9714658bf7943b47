"""Tables of matches: as CSV, in figures, and drawn."""

from __future__ import annotations

import csv
import io
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from engine.errors import OutputError
from engine.inspection.requests import MatchTable
from engine.jobs.figure import MatchFigure, write_figure
from engine.jobs.matches import COLUMNS, match_figure, summarise_matches, write_matches

SVG = "{http://www.w3.org/2000/svg}"
GREEN, VERMILION = (0, 158, 115), (213, 94, 0)


def make_table(errors_px: list[float], **more: object) -> MatchTable:
    """Matches whose errors are given; all else is made up and finite."""
    count = len(errors_px)
    points = np.arange(2.0 * count).reshape(count, 2)
    values: dict[str, object] = {
        "points_a": points,
        "points_b": points + 0.5,
        "similarity": np.linspace(-1, 1, count).astype(np.float32),
        "ratio": np.linspace(0, 1, count).astype(np.float32),
        "mutual": np.arange(count) % 2 == 0,
        "error_px": np.array(errors_px, np.float64),
    }
    return MatchTable(**{**values, **more})  # type: ignore[arg-type]


def make_figure(**changes: object) -> MatchFigure:
    """Two grey images of 100 × 50 pixels and two matches, one of each kind."""
    figure = MatchFigure(
        image_a=np.full((50, 100, 3), 128, np.uint8),
        image_b=np.full((50, 100, 3), 128, np.uint8),
        size_a_px=(100, 50),
        size_b_px=(100, 50),
        points_a=np.array([[10.0, 10.0], [10.0, 40.0]]),
        points_b=np.array([[90.0, 10.0], [90.0, 40.0]]),
        kinds=("right", "wrong"),
        legend={"right": "within 5 px (1)", "wrong": "farther off (1)"},
        caption="a → b · DAISY",
    )
    return replace(figure, **changes)


def shares_near(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Which pixels have about this colour."""
    return np.abs(pixels.astype(int) - colour).max(axis=-1) < 40


def test_the_csv_holds_every_row_and_leaves_an_unknown_error_empty(tmp_path: Path):
    path = tmp_path / "ergebnis ä.csv"
    table = make_table([0.25, math.nan, 1234.5])
    write_matches(path, table)
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["error_px"] for row in rows] == ["0.2500", "", "1234.5000"]
    assert [row["mutual"] for row in rows] == ["true", "false", "true"]
    back = np.array([[float(row[name]) for name in COLUMNS[:4]] for row in rows])
    np.testing.assert_allclose(back, np.hstack([table.points_a, table.points_b]), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["ergebnis ä.csv"]


def test_a_table_without_rows_is_a_csv_with_its_header_alone(tmp_path: Path):
    write_matches(tmp_path / "m.csv", make_table([]))
    assert (tmp_path / "m.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_a_csv_whose_folder_is_gone_is_refused(tmp_path: Path):
    with pytest.raises(OutputError, match="folder does not exist"):
        write_matches(tmp_path / "none" / "m.csv", make_table([1.0]))


def test_shares_count_the_rows_whose_truth_is_known():
    """3 of 5 known errors are within 3 px, limits included; the unknown one counts nowhere."""
    summary = summarise_matches(make_table([0.5, 1.0, 3.0, 5.0, 80.0, math.nan]))
    assert (summary.count, summary.with_truth, summary.mutual) == (6, 5, 0.5)
    assert summary.pck == ((1.0, 0.4), (3.0, 0.6), (5.0, 0.8))
    assert summary.inliers is None


def test_without_truth_the_inliers_of_the_estimate_are_counted():
    table = make_table(
        [math.nan] * 4, h_b_from_a=np.eye(3), inlier=np.array([True, True, False, True])
    )
    assert (summarise_matches(table).pck, summarise_matches(table).inliers) == ((), 3)


def test_no_matches_give_no_shares():
    summary = summarise_matches(make_table([]))
    assert math.isnan(summary.mutual)
    assert (summary.count, summary.pck) == (0, ())


def prepare(table: MatchTable, **changes: object) -> MatchFigure:
    image = np.zeros((8, 8, 3), np.uint8)
    values: dict[str, object] = {
        "sizes_px": ((8, 8), (8, 8)),
        "name": "graf 1 → 2",
        "descriptor": "DAISY",
        "trained": True,
        "points": "harris",
        "right_px": 5.0,
        "limit": 10,
    }
    return match_figure(table, (image, image), **{**values, **changes})  # type: ignore[arg-type]


def test_the_caption_names_pair_descriptor_count_and_shares():
    figure = prepare(make_table([1.0, 4.0, 9.0, math.nan]))
    assert figure.kinds == ("right", "right", "wrong", "unknown")
    assert figure.caption == (
        "graf 1 → 2 · DAISY · 4 Harris points · "
        "33.3 % within 3 px, 66.7 % within 5 px, of 3 with a true point"
    )
    assert figure.legend == {
        "right": "within 5 px of the truth (2)",
        "wrong": "farther off (1)",
        "unknown": "true point outside the image (1)",
    }


def test_an_untrained_network_is_called_so_in_the_caption():
    assert "DAISY (untrained)" in prepare(make_table([1.0]), trained=False).caption


def test_without_truth_nothing_is_called_right_or_wrong():
    estimated = make_table([math.nan] * 2, h_b_from_a=np.eye(3), inlier=np.array([True, False]))
    assert prepare(estimated).kinds == ("agrees", "unknown")
    assert "1 agree with the estimated homography" in prepare(estimated).caption
    plain = prepare(make_table([math.nan] * 2))
    assert (plain.kinds, plain.legend) == (("agrees", "agrees"), {"agrees": "match (2)"})


def test_lines_end_at_their_points_in_the_png(tmp_path: Path):
    """Both panels have the height h; a point at y of 50 lies at that share of it."""
    path = tmp_path / "figur ü.png"
    write_figure(path, make_figure())
    picture = PilImage.open(path)
    assert picture.size[0] == 2000
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    pixels = np.asarray(picture)
    grey = np.flatnonzero((pixels[:, 24 + 2] == 128).all(axis=-1))
    top, height = grey[0], len(grey)
    ys, xs = np.nonzero(shares_near(pixels[:height], GREEN))
    scale = height / 50
    assert ys.mean() == pytest.approx(top + 10.5 * scale, abs=1.5)
    assert xs.min() == pytest.approx(24 + 10.5 * scale - 6, abs=2)
    assert xs.max() == pytest.approx(2000 - 24 - 9.5 * scale + 5, abs=2)


def test_wrong_lines_are_dashed_and_right_ones_are_not(tmp_path: Path):
    write_figure(tmp_path / "f.png", make_figure())
    pixels = np.asarray(PilImage.open(tmp_path / "f.png"))
    panel = pixels[: pixels.shape[0] - 110]
    for colour, dashed in ((GREEN, False), (VERMILION, True)):
        mask = shares_near(panel, colour)
        row = mask[np.argmax(mask.sum(axis=1))]
        inner = row[400:1600]
        assert bool(inner.mean() < 0.9) is dashed
        assert inner.mean() > 0.4


def test_the_svg_says_the_same_as_the_png(tmp_path: Path):
    path = tmp_path / "f.svg"
    write_figure(path, make_figure(caption='<b> & "☃" \x07 日本'))
    root = ElementTree.parse(path).getroot()
    images = root.findall(f"{SVG}image")
    assert len(images) == 2
    assert all(image.get("href", "").startswith("data:image/jpeg;base64,") for image in images)
    lines = {
        kind: [e for e in root.iter(f"{SVG}path") if e.get("class") == kind]
        for kind in ("right", "wrong")
    }
    assert {kind: len(found) for kind, found in lines.items()} == {"right": 2, "wrong": 2}
    assert lines["right"][0].get("stroke-dasharray") is None
    assert lines["wrong"][0].get("stroke-dasharray") is not None
    start, end = lines["right"][0].get("d", "")[1:].split("L")
    scale = float(images[0].get("height", "0")) / 50
    left = [float(image.get("x", "0")) for image in images]
    assert float(start.split()[0]) == pytest.approx(left[0] + 10.5 * scale, abs=0.01)
    assert float(end.split()[0]) == pytest.approx(left[1] + 90.5 * scale, abs=0.01)
    assert [text.text for text in root.iter(f"{SVG}text")][-1] == '<b> & "☃" ? 日本'


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_odd_input_is_drawn_without_complaint(tmp_path: Path, suffix: str):
    nothing = np.empty((0, 2))
    for number, changes in enumerate(
        (
            {"points_a": nothing, "points_b": nothing, "kinds": (), "legend": {}, "caption": ""},
            {"image_a": np.zeros((1, 1, 3), np.uint8), "size_a_px": (1, 1)},
            {"image_a": np.zeros((900, 3, 3), np.uint8), "size_a_px": (3, 900)},
            {"image_b": np.zeros((3, 900, 3), np.uint8), "size_b_px": (900, 3)},
            {"points_b": np.array([[10.0, 10.0], [-1e5, 1e5]])},
            {"caption": "word " * 200},
            {"limit": 1},
            {"limit": 0},
        )
    ):
        path = tmp_path / f"{number}{suffix}"
        write_figure(path, make_figure(**changes))
        assert path.stat().st_size > 500


def test_a_sample_of_the_lines_is_said_to_be_one(tmp_path: Path):
    write_figure(tmp_path / "f.svg", make_figure(limit=1))
    root = ElementTree.parse(tmp_path / "f.svg").getroot()
    assert "1 of 2 lines drawn" in "".join(root.itertext())


def test_the_same_figure_is_the_same_file(tmp_path: Path):
    for suffix in (".png", ".svg"):
        paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for path in paths:
            write_figure(path, make_figure())
        assert paths[0].read_bytes() == paths[1].read_bytes()
