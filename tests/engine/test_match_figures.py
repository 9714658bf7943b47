"""Tables of matches in figures, and drawn."""

from __future__ import annotations

import base64
import io
import math
import re
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from engine.colors import SERIES_ON_PAPER
from engine.errors import ConfigError
from engine.figures import FIGURE_SUFFIXES, render_figure, write_figure
from engine.figures.figure_content import (
    ColorScale,
    Curve,
    CurvesFigure,
    PairFigure,
    Panel,
    Paper,
)
from engine.inspection.requests import MatchTable
from engine.jobs.matches import match_figure, summarise_matches

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
NONE = np.empty((0, 2))
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


def make_figure(**changes: object) -> PairFigure:
    """Two grey images of 100 × 50 pixels and two matches, one of each kind."""
    figure = PairFigure(
        title="a → b · DAISY",
        panels=(grey((100, 50)), grey((100, 50))),
        points_a=np.array([[10.0, 10.0], [10.0, 40.0]]),
        points_b=np.array([[90.0, 10.0], [90.0, 40.0]]),
        judgements=("right", "wrong"),
        legend=(("right", "within 5 px (1)"), ("wrong", "farther off (1)")),
        caption=("a → b · DAISY",),
    )
    return replace(figure, **changes)


def grey(size_px: tuple[int, int]) -> Panel:
    return Panel(image=np.full((size_px[1], size_px[0], 3), 128, np.uint8), size_px=size_px)


def numbers(text: str) -> list[float]:
    """All numbers of a path's commands."""
    return [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]


def lines_of(root: ElementTree.Element, kind: str) -> list[tuple[list[float], str]]:
    """The ends of each line of a kind, and the style of its stroke; legend's samples included."""
    colour = {"right": "#009e73", "wrong": "#d55e00"}[kind]
    found = []
    for group in root.iter(f"{SVG}g"):
        for path in group.findall(f"{SVG}path") if group.get("class") == kind else ():
            style = path.get("style", "")
            assert f"stroke: {colour}" in style
            ends = numbers(path.get("d", ""))
            found += [(ends[n : n + 4], style) for n in range(0, len(ends), 4)]
    return found


def shares_near(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Which pixels have about this colour."""
    return np.abs(pixels.astype(int) - colour).max(axis=-1) < 40


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


def prepare(table: MatchTable, **changes: object) -> PairFigure:
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
    assert figure.judgements == ("right", "right", "wrong", "unknown")
    assert figure.caption[0] == (
        "graf 1 → 2 · DAISY · 4 Harris points · "
        "33.3 % within 3 px, 66.7 % within 5 px, of 3 with a true point in sight"
    )
    assert dict(figure.legend) == {
        "right": "within 5 px of the truth (2)",
        "wrong": "farther off (1)",
        "unknown": "no truth here (1)",
    }


def test_an_untrained_network_is_called_so_in_the_caption():
    assert "DAISY (untrained)" in prepare(make_table([1.0]), trained=False).caption[0]


def test_without_truth_nothing_is_called_right_or_wrong():
    estimated = make_table([math.nan] * 2, h_b_from_a=np.eye(3), inlier=np.array([True, False]))
    assert prepare(estimated).judgements == ("agrees", "unknown")
    assert "1 agree with the estimated homography" in prepare(estimated).caption[0]
    plain = prepare(make_table([math.nan] * 2))
    assert (plain.judgements, plain.legend) == (("agrees", "agrees"), (("agrees", "match (2)"),))


def test_lines_end_at_their_points_in_the_png(tmp_path: Path):
    """Both panels have the height h; a point at y of 50 lies at that share of it."""
    path = tmp_path / "figur ü.png"
    write_figure(path, make_figure())
    picture = PilImage.open(path)
    assert picture.size[0] == int(17 / 2.54 * 300)
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    pixels = np.asarray(picture)[..., :3]
    middle = pixels[pixels.shape[0] // 2]
    columns = np.flatnonzero((middle == 128).all(axis=-1))
    left = columns[0]
    grey = np.flatnonzero((pixels[:, left + 2] == 128).all(axis=-1))
    top, height = grey[0], len(grey)
    ys, xs = np.nonzero(shares_near(pixels[: top + height], GREEN))
    scale = height / 50
    assert ys.mean() == pytest.approx(top + 10.5 * scale, abs=1.5)
    assert xs.min() == pytest.approx(left + 10.5 * scale - 6, abs=2)
    assert xs.max() == pytest.approx(columns[-1] + 1 - 9.5 * scale + 5, abs=2)


def test_wrong_lines_are_dashed_and_right_ones_are_not(tmp_path: Path):
    write_figure(tmp_path / "f.png", make_figure())
    pixels = np.asarray(PilImage.open(tmp_path / "f.png"))[..., :3]
    panel = pixels[: pixels.shape[0] - 110]
    for colour, dashed in ((GREEN, False), (VERMILION, True)):
        mask = shares_near(panel, colour)
        row = mask[np.argmax(mask.sum(axis=1))]
        inner = row[400:1600]
        assert bool(inner.mean() < 0.9) is dashed
        assert inner.mean() > 0.4


def test_the_svg_says_the_same_as_the_png(tmp_path: Path):
    path = tmp_path / "f.svg"
    write_figure(path, make_figure(caption=('<b> & "☃" \x07 日本 $x$',)))
    root = ElementTree.parse(path).getroot()
    images = list(root.iter(f"{SVG}image"))
    assert len(images) == 2
    assert all(image.get(HREF, "").startswith("data:image/jpeg;base64,") for image in images)
    lines = {kind: lines_of(root, kind) for kind in ("right", "wrong")}
    assert {kind: len(found) for kind, found in lines.items()} == {"right": 2, "wrong": 2}
    assert "stroke-dasharray" not in lines["right"][0][1]
    assert "stroke-dasharray" in lines["wrong"][0][1]
    ends = lines["right"][0][0]
    left_a, left_b = (float(image.get("x", "")) for image in images)
    scale = float(images[0].get("width", "")) / 100
    assert ends[0] == pytest.approx(left_a + 10.5 * scale, abs=0.01)
    assert ends[2] == pytest.approx(left_b + 90.5 * scale, abs=0.01)
    assert [text.text for text in root.iter(f"{SVG}text")][-1] == '<b> & "☃" ? 日本 $x$'


def test_the_svg_holds_each_image_in_its_place():
    """A panel that has more pixels than paper has dots is shrunk, and its colour stays."""
    colours = ((200, 40, 40), (40, 40, 200))
    panels = tuple(
        Panel(image=np.full((600, 1200, 3), colour, np.uint8), size_px=(100, 50))
        for colour in colours
    )
    root = ElementTree.fromstring(render_figure(make_figure(panels=panels), ".svg"))
    images = list(root.iter(f"{SVG}image"))
    box = [[float(one.get(name)) for name in ("x", "y", "width", "height")] for one in images]
    assert box[0][0] + box[0][2] < box[1][0]
    assert box[0][1:] == box[1][1:]
    for image, colour in zip(images, colours, strict=True):
        kind, _, text = image.get(HREF, "").partition(",")
        assert kind == "data:image/jpeg;base64"
        pixels = np.asarray(PilImage.open(io.BytesIO(base64.b64decode(text))))
        assert np.abs(pixels - np.array(colour)).max() <= 3
        assert pixels.shape[1] == round(box[0][2] * 300 / 72)


def test_marks_of_the_svg_lie_about_the_ends_of_their_lines():
    root = ElementTree.fromstring(render_figure(make_figure(legend=()), ".svg"))
    for kind, lines, reach_pt in (("right", 1, 0.005), ("wrong", 2, 1.65)):
        ends = np.reshape(lines_of(root, kind)[0][0], (2, 2))
        marks = [
            np.reshape(numbers(path.get("d", "")), (2, lines * 2, 2))
            for group in root.iter(f"{SVG}g")
            if group.get("class") == f"{kind} ends"
            for path in group.findall(f"{SVG}path")
        ]
        assert len(marks) == 2  # a white rim, and the mark
        for mark in marks:
            np.testing.assert_allclose(mark.mean(axis=1), ends, atol=0.01)
            np.testing.assert_allclose(np.ptp(mark[..., 0], axis=1), 2 * reach_pt, atol=0.01)


def test_numbers_and_words_of_a_plot_stand_at_their_values():
    """The only curve goes through (0, 0), (4, .4) and (10, 1), where numbers stand, too."""
    curve = Curve(0, (0.0, 4.0, 10.0), (0.0, 0.4, 1.0))
    content = CurvesFigure("all & more", "threshold in px", (curve,), 1)
    root = ElementTree.fromstring(render_figure(content, ".svg"))
    texts = {text.text: text for text in root.iter(f"{SVG}text")}
    assert set(texts) == {
        *("0", "2", "4", "6", "8", "10"), *("0.0", "0.2", "0.4", "0.6", "0.8", "1.0"),
        "all & more", "threshold in px",
    }  # fmt: skip
    place = {name: (float(one.get("x")), float(one.get("y"))) for name, one in texts.items()}
    blue = next(
        path for path in root.iter(f"{SVG}path") if SERIES_ON_PAPER[0] in path.get("style", "")
    )
    zero, middle, end = np.reshape(numbers(blue.get("d", "")), (3, 2))
    for x, y, at in (("0", "0.0", zero), ("4", "0.4", middle), ("10", "1.0", end)):
        assert place[x][0] == pytest.approx(at[0], abs=0.01)
        # A number's baseline is half a digit below its line.
        assert 0.3 * 7.5 < place[y][1] - at[1] < 0.45 * 7.5
        assert place[y][0] < zero[0]
    rules = [numbers(path.get("d", "")) for path in root.iter(f"{SVG}path")]
    lines = {round(one[1], 3) for one in rules if len(one) == 4 and one[1] == one[3]}
    heights = zero[1] + np.linspace(0, 1, 6) * (end[1] - zero[1])
    assert lines == {round(height, 3) for height in heights}
    assert place["all & more"][1] < end[1]
    assert place["threshold in px"][1] > place["4"][1] > zero[1]
    assert place["threshold in px"][0] == pytest.approx((zero[0] + end[0]) / 2, abs=0.01)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_odd_input_is_drawn_without_complaint(tmp_path: Path, suffix: str):
    nothing = np.empty((0, 2))
    plain = {"judgements": (), "legend": (), "caption": ()}
    other = grey((100, 50))
    cases: tuple[dict[str, object], ...] = (
        {"points_a": nothing, "points_b": nothing, **plain},
        {"panels": (grey((1, 1)), other)},
        {"panels": (grey((3, 900)), other)},
        {"panels": (other, grey((900, 3)))},
        {"panels": (grey((3, 900)), grey((3, 900)))},
        {"points_b": np.array([[10.0, 10.0], [-1e5, 1e5]])},
        {"points_b": np.array([[10.0, 10.0], [np.nan, 1.0]])},
        {"caption": ("word " * 200,)},
        {"limit": 1},
        {"limit": 0},
    )
    # What is drawn does not depend on the kind of file: the others take a second for each.
    for number, changes in enumerate(cases if suffix == ".svg" else cases[::3]):
        path = tmp_path / f"{number}{suffix}"
        write_figure(path, make_figure(**changes))
        assert path.stat().st_size > 500


def test_a_sample_of_the_lines_is_said_to_be_one(tmp_path: Path):
    write_figure(tmp_path / "f.svg", make_figure(limit=1))
    root = ElementTree.parse(tmp_path / "f.svg").getroot()
    assert "1 of 2 lines drawn" in "".join(root.itertext())


def test_the_same_figure_is_the_same_file(tmp_path: Path):
    for suffix in FIGURE_SUFFIXES:
        paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for path in paths:
            write_figure(path, make_figure())
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_figure_is_as_wide_as_asked_in_its_theme_and_font(tmp_path: Path):
    paper = Paper(width_cm=8.5, theme="dark", font="DejaVu Serif", font_pt=6.0)
    for suffix in FIGURE_SUFFIXES:
        write_figure(tmp_path / f"f{suffix}", make_figure(), paper)
    picture = np.asarray(PilImage.open(tmp_path / "f.png"))
    assert picture.shape[1] == int(8.5 / 2.54 * 300)
    assert picture[2, 2, :3].tolist() == [0x15, 0x18, 0x1C]
    svg = (tmp_path / "f.svg").read_text(encoding="utf-8")
    width_pt = float(re.search(r'width="([\d.]+)pt"', svg)[1])
    assert width_pt / 72 * 2.54 == pytest.approx(8.5, abs=0.01)
    assert "DejaVu Serif" in svg
    pdf = (tmp_path / "f.pdf").read_bytes()
    assert float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", pdf)[1]) == pytest.approx(width_pt)
    assert b"DejaVuSerif" in pdf


def test_a_font_that_is_not_installed_is_refused_by_its_name(tmp_path: Path):
    with pytest.raises(ConfigError, match="'Nonsense' is installed"):
        write_figure(tmp_path / "f.png", make_figure(), Paper(font="Nonsense"))
    assert list(tmp_path.iterdir()) == []


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were(tmp_path: Path):
    import matplotlib as mpl

    write_figure(tmp_path / "a.svg", make_figure())
    with mpl.rc_context({"lines.linewidth": 40.0, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        write_figure(tmp_path / "b.svg", make_figure())
        assert dict(mpl.rcParams) == before
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_figures_may_be_drawn_by_several_threads_at_once():
    papers = [Paper(font_pt=4.0 + number) for number in range(6)]
    alone = [render_figure(make_figure(), ".svg", paper) for paper in papers]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda one: render_figure(make_figure(), ".svg", one), papers))
    assert together == alone


def test_a_logarithmic_scale_puts_its_marker_where_its_logarithm_is():
    """Its bar looks as a linear one of the logarithms does; only the numbers below differ."""

    def bar(scale: ColorScale) -> np.ndarray:
        data = render_figure(
            make_figure(points_a=NONE, points_b=NONE, judgements=(), scale=scale), ".png"
        )
        pixels = np.array(PilImage.open(io.BytesIO(data)).convert("RGB"))
        first = (np.abs(pixels.astype(int) - (68, 1, 84)).max(axis=-1) < 12).any(axis=1)
        return pixels[np.flatnonzero(first)[0] : np.flatnonzero(first)[-1] + 1]

    words = {"title": "Error (px)", "colormap": "viridis"}
    by_factor = bar(ColorScale(low=0.1, high=100.0, marker=3.0, logarithmic=True, **words))
    linear = bar(ColorScale(low=-1.0, high=2.0, marker=math.log10(3.0), **words))
    other = bar(ColorScale(low=-1.0, high=2.0, marker=1.9, **words))
    np.testing.assert_array_equal(by_factor, linear)
    assert (linear != other).any()
