"""The text of a report, compared with the result it is made from."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from engine.cli.commands.evaluate import as_text
from engine.cli.parser import build_parser, parse
from engine.colors import SERIES_ON_PAPER
from engine.data.layouts.hpatches import kind_of
from engine.descriptors.registry import make_spec
from engine.errors import ResultError
from engine.evaluation.comparison import merge_results
from engine.evaluation.fingerprint import Fingerprint
from engine.evaluation.pck import CURVE_PX, count_within
from engine.evaluation.points import read_points
from engine.evaluation.report import REPORT_HTML, PairPicture, Report
from engine.evaluation.report_figures import draw_pair
from engine.evaluation.report_prose import MINUS, PUBLISHED, signed
from engine.evaluation.report_statistics import Statistics, mean_curve
from engine.evaluation.result import (
    EvaluationResult,
    LeftOut,
    PairRow,
    Sources,
    Timing,
    read_result,
    summarise,
    write_result,
)
from engine.jobs.evaluate import DescriptorChoice, EvaluateJob
from engine.jobs.report import ReportJob
from engine.jobs.settings import EvaluateConfig
from engine.progress import JobContext, Note

NONE = "–"
SVG = "{http://www.w3.org/2000/svg}"


# ---- results with known rows -------------------------------------------------------------------


def a_result(
    labels: Sequence[str] = ("daisy", "other"),
    sequences: Sequence[str] = ("i_lamp", "v_wall", "v_roof"),
    *,
    queries: Sequence[str] = ("harris",),
    thresholds: Sequence[float] = (1.0, 3.0, 5.0),
    protocol: str = "closed",
    left_out: Sequence[LeftOut] = (),
    seed: int = 1,
    matcher: str = "exact",
) -> EvaluationResult:
    """Rows from random errors, summed up as an evaluation does it."""
    generator = np.random.default_rng(seed)
    rows = []
    for kind in queries:
        for place, label in enumerate(labels):
            for sequence in sequences:
                for index in range(2, 5):
                    errors = generator.exponential(2.0 + place + index, 50)
                    shares = tuple((limit, float(np.mean(errors <= limit))) for limit in thresholds)
                    within = count_within(errors, CURVE_PX)
                    rows.append(
                        PairRow(
                            *(label, sequence, index, kind, 50, shares, within),
                            subset=kind_of(sequence),
                        )
                    )
    fingerprint = Fingerprint.from_json(
        {
            "protocol": protocol,
            "thresholds_px": list(thresholds),
            "matcher": matcher,
            "sampler": {
                "queries": list(queries),
                "query_limit": 1000,
                "long_edge_px": 640,
                "grid_stride_px": None,
            },
            "seed": 0,
            "dataset": {
                "name": "walls",
                "subset": "all",
                "pairs": 3 * len(sequences),
                "pairs_sha256": "ab" * 32,
            },
            "descriptors": [
                {
                    "label": label,
                    "name": "daisy" if label.startswith("daisy") else label,
                    "config": {"stride_px": 2},
                    "weights_sha256": None,
                    "trained": label != "raw",
                    "levels": 1,
                    "dim": 200,
                    "matcher": matcher,
                    "precision": "float32",
                }
                for label in labels
            ],
            "versions": {"project": "1", "torch": "2", "opencv": "5"},
            "device": "cpu",
        }
    )
    return EvaluationResult(
        fingerprint=fingerprint,
        summary=summarise(rows, fingerprint),
        pairs=tuple(rows),
        left_out=tuple(left_out),
        problems=(),
        timings=tuple(Timing(label, 10, 2.5, 9, 0.9) for label in labels),
        wall_s=12.0,
        sources=Sources(dataset="/gone", root="/gone", command="main.py evaluate"),
    )


def report_on(folder: Path, *results: EvaluationResult) -> tuple[Report, Page]:
    """Write results, make their report without pictures, and read its page."""
    folders = []
    for number, result in enumerate(results):
        one = folder / f"run{number}"
        one.mkdir(parents=True)
        write_result(one, result)
        folders.append(one)
    out = folder / "out"
    report = ReportJob(folders=tuple(folders), out=out, pictures=False).run(JobContext())
    return report, read_page(out / REPORT_HTML)


# ---- reading a page ----------------------------------------------------------------------------


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    table: str = ""


@dataclass
class Page(HTMLParser):
    """All elements of a page with the text inside of each."""

    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        tables = [one.attributes.get("id", "") for one in self._open if one.tag == "table"]
        table = tables[-1] if tables else ""
        element = Element(tag, {name: value or "" for name, value in attrs}, table=table)
        self.elements.append(element)
        if tag not in ("meta", "br"):
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for one in self._open:
            one.text += data

    def cells(self, table: str) -> list[Element]:
        return [e for e in self.elements if e.table == f"table-{table}" and e.tag in ("td", "th")]

    def with_data(self, *names: str) -> list[Element]:
        return [e for e in self.elements if all(f"data-{name}" in e.attributes for name in names)]

    def text_of(self, tag: str) -> str:
        return " ".join(" ".join(e.text.split()) for e in self.elements if e.tag == tag)


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


# ---- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("thresholds", [(1.0, 3.0, 5.0), (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)])
def test_every_mean_and_interval_of_the_result_stands_in_the_page_and_no_other(
    tmp_path: Path, thresholds: tuple[float, ...]
):
    result = a_result(queries=("harris", "uniform"), thresholds=thresholds)
    _, page = report_on(tmp_path, result)
    values = json.loads((tmp_path / "run0" / "result.json").read_text(encoding="utf-8"))
    shown: dict[tuple[str, ...], list[str]] = {}
    for cell in page.with_data("descriptor", "subset", "queries", "threshold"):
        if cell.table.startswith("table-summary"):
            names = ("descriptor", "subset", "queries", "threshold")
            key = tuple(cell.attributes[f"data-{name}"] for name in names)
            assert key not in shown
            shown[key] = re.findall(r"\d\.\d+|–", cell.text)
    for row in values["summary"]:
        key = (row["descriptor"], row["subset"], row["queries"], f"{row['threshold_px']:g}")
        numbers = [row["pck"], *([] if row["low"] is None else [row["low"], row["high"]])]
        assert shown.pop(key) == [NONE if one is None else f"{one:.3f}" for one in numbers]
    assert not shown


def test_the_best_of_each_column_is_bold_and_a_lone_descriptor_never_is(tmp_path: Path):
    result = a_result(("daisy", "other", "third"))
    _, page = report_on(tmp_path / "several", result)
    best = {}
    for row in result.summary:
        key = (row.subset, f"{row.threshold_px:g}")
        best[key] = max(best.get(key, 0.0), row.pck or 0.0)
    for cell in page.cells("summary-harris"):
        if "data-subset" in cell.attributes:
            key = (cell.attributes["data-subset"], cell.attributes["data-threshold"])
            strong = "strong" in cell.attributes["class"].split()
            assert strong == cell.text.strip().startswith(f"{best[key]:.3f}")
    _, page = report_on(tmp_path / "alone", a_result(("daisy",)))
    assert not [e for e in page.elements if "strong" in e.attributes.get("class", "").split()]


def test_the_means_by_sequence_are_those_of_its_pairs(tmp_path: Path):
    report_on(tmp_path, a_result())
    page = read_page(tmp_path / "out" / REPORT_HTML)
    values = json.loads((tmp_path / "run0" / "result.json").read_text(encoding="utf-8"))
    cells = page.with_data("sequence", "descriptor")
    assert len(cells) == 2 * 3
    for cell in cells:
        shares = [
            row["pck"]["5"]
            for row in values["pairs"]
            if row["sequence"] == cell.attributes["data-sequence"]
            and row["descriptor"] == cell.attributes["data-descriptor"]
        ]
        assert cell.text.strip() == f"{sum(shares) / len(shares):.3f}"


def test_sequences_are_listed_by_kind_with_the_hardest_first(tmp_path: Path):
    result = a_result(("daisy",), ("i_b", "v_a", "i_a", "v_b", "loose"))
    _, page = report_on(tmp_path, result)
    rows = [e for e in page.cells("sequences") if e.tag == "th" and "scope" in e.attributes]
    names = [" ".join(e.text.split()) for e in rows if e.attributes["scope"] != "col"]
    assert sorted(names[1:3]) == ["v_a", "v_b"]
    assert (names[0], names[3], names[6:]) == ("viewpoint", "illumination", ["other", "loose"])
    means = {
        cell.attributes["data-sequence"]: float(cell.text) for cell in page.with_data("sequence")
    }
    assert means[names[1]] <= means[names[2]]
    assert means[names[4]] <= means[names[5]]


def test_differences_are_taken_pair_by_pair_and_come_out_the_same_again(tmp_path: Path):
    result = a_result()
    _, page = report_on(tmp_path / "once", result)
    _, again = report_on(tmp_path / "again", result)
    cells = page.with_data("better", "other", "subset")
    assert [cell.text for cell in cells] == [c.text for c in again.with_data("better", "other")]
    assert {cell.attributes["data-subset"] for cell in cells} == {
        "all",
        "viewpoint",
        "illumination",
    }
    by_pair = {
        (row.descriptor, row.sequence, row.index): dict(row.pck)[5.0] for row in result.pairs
    }
    for cell in cells:
        begins = {"viewpoint": "v_", "illumination": "i_"}
        better, other = cell.attributes["data-better"], cell.attributes["data-other"]
        gaps = [
            share - by_pair[other, sequence, index]
            for (label, sequence, index), share in by_pair.items()
            if label == better
            and sequence.startswith(begins.get(cell.attributes["data-subset"], ""))
        ]
        numbers = [
            float(x.replace(MINUS, "-")) for x in re.findall(rf"[+{MINUS}]?\d\.\d+", cell.text)
        ]
        assert numbers[0] == pytest.approx(np.mean(gaps), abs=6e-4)
        if cell.attributes["data-subset"] != "illumination":  # one sequence has no interval
            assert numbers[1] - 1e-9 <= numbers[0] <= numbers[2] + 1e-9
        else:
            assert len(numbers) == 1


def test_a_descriptor_is_level_with_itself(tmp_path: Path):
    result = a_result(("daisy",), ("i_lamp", "v_wall", "v_roof", "i_sun", "v_door"))
    twin = [replace(row, descriptor="twin") for row in result.pairs]
    (entry,) = result.fingerprint.descriptors
    result = replace(
        result,
        pairs=(*result.pairs, *twin),
        summary=(*result.summary, *(replace(row, descriptor="twin") for row in result.summary)),
        fingerprint=replace(result.fingerprint, descriptors=(entry, replace(entry, label="twin"))),
    )
    report, page = report_on(tmp_path, result)
    cell = page.with_data("better", "other")[0]
    assert re.findall(rf"[+{MINUS}]?\d\.\d+", cell.text) == ["0.000", "0.000", "0.000"]
    assert "contains 0, so the two are level" in report.summary


@pytest.mark.parametrize("count", [2, 4, 5, 8])
def test_below_five_sequences_intervals_are_said_to_mean_little_and_nothing_is_claimed(
    tmp_path: Path, count: int
):
    # One is far ahead of the other on each pair: any interval of the difference leaves 0 out.
    names = [f"v_{number}" for number in range(count)]
    result = a_result(("daisy", "other", "last"), names)
    report, page = report_on(tmp_path, result)
    text = report.summary.replace("\N{NO-BREAK SPACE}", " ")
    terminal = "\n".join(as_text(result))
    assert all(row.sequences in (0, count) for row in result.summary)
    if count < 5:
        assert "does not contain 0" not in text
        assert f"come from {count} sequences: too few to say more" in text
        assert f"which means little over {count} sequences" in text
        assert "Intervals over fewer than 5 sequences mean little." in page.elements[0].text
        assert "intervals over fewer than 5 sequences mean little" in terminal
    else:
        assert "does not contain 0" in text
        assert "little" not in text + page.elements[0].text + terminal


def test_a_result_without_counts_of_sequences_gets_them_from_its_pairs(tmp_path: Path):
    result = a_result()
    (path, *_) = write_result(tmp_path, result)
    values = json.loads(path.read_text(encoding="utf-8"))
    assert {row["sequences"] for row in values["summary"]} == {1, 2, 3}
    values["format"] = 1
    for row in values["summary"]:
        del row["sequences"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert read_result(path).summary == result.summary


def test_the_curve_passes_through_the_shares_at_the_thresholds():
    rows = a_result(("daisy",)).pairs
    curve = dict(zip(CURVE_PX, mean_curve(rows), strict=True))
    for limit in (1.0, 3.0, 5.0):
        assert curve[limit] == pytest.approx(np.mean([dict(row.pck)[limit] for row in rows]))
    assert list(curve.values()) == sorted(curve.values())


def test_the_summary_tells_the_means_in_words(tmp_path: Path):
    report, _ = report_on(tmp_path, a_result(("raw",)))
    values = json.loads((tmp_path / "run0" / "result.json").read_text(encoding="utf-8"))
    (row,) = (r for r in values["summary"] if r["subset"] == "all" and r["threshold_px"] == 5)
    text = report.summary.replace("\N{NO-BREAK SPACE}", " ")
    assert f"raw (untrained) finds {100 * row['pck']:.1f} %" in text
    assert f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %" in text
    assert "within 5 px" in text


def test_times_are_means_over_images_and_pairs(tmp_path: Path):
    _, page = report_on(tmp_path, a_result(("daisy",)))
    shown = {cell.attributes["data-time"]: cell.text.strip() for cell in page.with_data("time")}
    assert shown == {"image": "250.0 ms", "pair": "100.0 ms"}


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    assert [signed(value) for value in (0.1, -0.1)] == ["+0.100", f"{MINUS}0.100"]
    assert [signed(value) for value in (0.0001, -0.0001)] == ["0.000", "0.000"]


@pytest.mark.parametrize(
    ("layout", "word", "words"),
    [
        ("HPatches sequences", "sequence", "sequences"),
        ("SPair-71k", "class", "classes"),
        ("Middlebury stereo", "scene", "scenes"),
        ("table of pairs", "group", "groups"),
        ("a plugin's", "group", "groups"),
    ],
)
def test_groups_are_called_as_their_set_calls_them(
    tmp_path: Path, layout: str, word: str, words: str
):
    plain = a_result()
    dataset = replace(plain.fingerprint.dataset, layout=layout)
    result = replace(plain, fingerprint=replace(plain.fingerprint, dataset=dataset))
    report, page = report_on(tmp_path, result)
    assert f"9 of 9 pairs from 3 {words}" in report.subtitle
    assert f"come from 3 {words}: too few to say more" in report.summary
    assert f"By {word}" in page.text_of("h2")
    assert ("Published figures" in page.text_of("h2")) == (layout == "HPatches sequences")
    text = page.text_of("p")
    for sentence in (
        f"95 % interval by bootstrap over {words}.",
        f"counts the {words} on which the first descriptor is better",
        f"of each {word}'s pairs, Harris queries, hardest {word} first",
    ):
        assert sentence in text
    others = {"sequences", "classes", "scenes", "groups"} - {words}
    shown = re.sub(r"#[a-z]+", "", text)
    assert not [
        other
        for other in others
        if re.search(rf"\b{other}\b", shown.replace("HPatches sequences", ""))
    ]


def test_where_each_pair_is_a_group_nothing_is_said_of_groups(tmp_path: Path):
    plain = a_result()
    rows = tuple(replace(row, sequence=f"{row.sequence} {row.index}") for row in plain.pairs)
    dataset = replace(plain.fingerprint.dataset, layout="WxBS")
    fingerprint = replace(plain.fingerprint, dataset=dataset)
    result = replace(
        plain, pairs=rows, fingerprint=fingerprint, summary=summarise(rows, fingerprint)
    )
    report, page = report_on(tmp_path, result)
    assert "9 of 9 pairs · " in report.subtitle
    assert "PCK at 5 px of each pair, Harris queries, hardest pair first" in page.text_of("p")
    assert "by bootstrap over pairs" in page.text_of("p")


# ---- what must be said -------------------------------------------------------------------------


def test_the_published_table_stands_beside_ours_with_its_caveat(tmp_path: Path):
    _, page = report_on(tmp_path, a_result(("daisy", "other")))
    cells = [" ".join(cell.text.split()) for cell in page.cells("published")]
    for title, *shares, matcher in PUBLISHED.values():
        place = cells.index(title)
        assert cells[place + 1 : place + 5] == [*(f"{share:.3f}" for share in shares), matcher]
    assert "exact search" in page.text_of("p")
    assert "up to 3 px" in page.text_of("p")
    ours = [c for c in page.cells("published") if c.attributes.get("data-descriptor")]
    assert {c.attributes["data-descriptor"] for c in ours} == {"daisy"}
    assert {c.attributes["data-threshold"] for c in ours} == {"3"}


def test_what_was_left_out_is_named_with_its_reason_and_long_lists_are_cut(tmp_path: Path):
    broken = [LeftOut("v_x", 2 + n, None, f"reason {n} is <given>.") for n in range(45)]
    empty = [LeftOut("v_y", 3, "harris", "v_y 1 → 3: no harris query is seen.")]
    report, page = report_on(tmp_path, a_result(left_out=[*empty, *broken]))
    assert "45 broken pairs were left out" in report.summary
    text = page.text_of("p")
    assert "45 broken pairs and 1 list of queries without any query" in text
    assert "6 more are named in result.json" in text
    shown = " ".join(cell.text for cell in page.cells("left-out"))
    assert "reason 38 is <given>." in shown
    assert "reason 39 " not in shown


def test_nothing_left_out_is_said_too(tmp_path: Path):
    _, page = report_on(tmp_path, a_result())
    assert "all pairs of the data set were measured" in page.text_of("p")


def test_the_fingerprint_and_the_commands_are_told_in_full(tmp_path: Path):
    result = a_result()
    _, page = report_on(tmp_path, result)
    facts = dict(zip(
        [e.text for e in page.elements if e.tag == "dt"],
        [e.text for e in page.elements if e.tag == "dd"], strict=True,
    ))  # fmt: skip
    assert facts["dataset.pairs_sha256"] == result.fingerprint.dataset.pairs_sha256
    assert facts["thresholds_px"] == "1, 3, 5"
    assert facts["sampler.grid_stride_px"] == NONE
    commands = [e.text for e in page.elements if e.tag == "pre"]
    assert "main.py evaluate" in [text.strip() for text in commands]
    assert f"python main.py report {tmp_path / 'run0'}" in [text.strip() for text in commands]


def test_runs_made_in_another_way_are_merged_under_a_notice_that_names_the_field(tmp_path: Path):
    notes: list[str] = []
    folders = []
    for name, protocol in (("one", "closed"), ("two", "seed")):
        (tmp_path / name).mkdir()
        write_result(tmp_path / name, a_result(("daisy",), protocol=protocol))
        folders.append(tmp_path / name)
    context = JobContext(emit=lambda e: notes.append(e.text) if isinstance(e, Note) else None)
    job = ReportJob(folders=tuple(folders), out=tmp_path / "both", pictures=False)
    report = job.run(context)
    page = read_page(tmp_path / "both" / REPORT_HTML)
    (notice,) = (e for e in page.elements if e.attributes.get("role") == "note")
    assert "differ in protocol (closed and seed)" in notice.text
    assert notes == list(report.stats.merged.warnings)
    assert len(notes) == 1
    labels = {cell.attributes["data-descriptor"] for cell in page.with_data("descriptor", "subset")}
    assert labels == {"daisy (one)", "daisy (two)"}
    assert "must not be read against each other" in report.summary
    assert "lead" not in report.summary


def test_runs_made_alike_need_no_notice(tmp_path: Path):
    report, page = report_on(tmp_path, a_result(("daisy",)), a_result(("other",)))
    assert report.stats.merged.warnings == ()
    assert not [e for e in page.elements if e.attributes.get("role") == "note"]
    assert page.with_data("better", "other")


# ---- a page that stands alone ------------------------------------------------------------------


def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path):
    report_on(tmp_path, a_result(queries=("harris", "uniform")))
    text = (tmp_path / "out" / REPORT_HTML).read_text(encoding="utf-8")
    page = read_page(tmp_path / "out" / REPORT_HTML)
    assert not {e.tag for e in page.elements} & {"script", "link", "iframe", "img", "object"}
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href"):
            assert re.match(r"#|data:image/jpeg;base64,|$", element.attributes.get(name, ""))
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "url(" not in text
    assert "@import" not in text
    anchors = {e.attributes["href"][1:] for e in page.elements if e.tag == "a"}
    assert anchors <= {e.attributes.get("id") for e in page.elements}


def test_hostile_names_are_shown_as_text(tmp_path: Path):
    label, sequence = "<script>alert('x')</script>", 'v_"><img src=x onerror=y>&amp;{{7*7}}'
    lines = [LeftOut("i_<b>", 2, None, "</table><h1>gone</h1>.")]
    _, page = report_on(tmp_path, a_result((label, "d\u00e9 日本"), (sequence,), left_out=lines))
    assert not {e.tag for e in page.elements} & {"script", "img", "b"}
    assert len([e for e in page.elements if e.tag == "h1"]) == 1
    assert label in page.text_of("th")
    assert sequence in {cell.attributes["data-sequence"] for cell in page.with_data("sequence")}
    assert "日本" in page.text_of("th")


def test_figures_are_vector_graphics_that_are_well_formed(tmp_path: Path):
    report_on(tmp_path, a_result(("a&b", "<c>")))
    text = (tmp_path / "out" / REPORT_HTML).read_text(encoding="utf-8")
    drawings = re.findall(r"<svg xmlns.*?</svg>", text, re.DOTALL)
    assert len(drawings) >= 3 + 2
    for drawing in drawings:
        assert "<path" in drawing
        ElementTree.fromstring(drawing)


def test_drawings_take_the_colours_of_the_pages_theme(tmp_path: Path):
    report, _ = report_on(tmp_path, a_result())
    (figures,) = report.curves
    text = (tmp_path / "out" / REPORT_HTML).read_text(encoding="utf-8")
    drawings = "".join(re.findall(r"<svg xmlns.*?</svg>", text, re.DOTALL))
    for number, one in enumerate(figures.legend):
        assert SERIES_ON_PAPER[number] in one.svg
        assert f"stroke: var(--c{number})" in drawings
    assert "fill: var(--ink)" in drawings
    assert not re.search(rf": ({'|'.join(SERIES_ON_PAPER)})", drawings)


def test_the_same_results_make_the_same_files(tmp_path: Path):
    (tmp_path / "run").mkdir()
    write_result(tmp_path / "run", a_result())
    for name in ("one", "two"):
        ReportJob(folders=(tmp_path / "run",), out=tmp_path / name, pictures=False).run(
            JobContext()
        )
    one, two = (tmp_path / name / REPORT_HTML for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


# ---- odd results -------------------------------------------------------------------------------


def test_one_descriptor_on_one_sequence_has_no_intervals_and_no_comparisons(tmp_path: Path):
    _, page = report_on(tmp_path, a_result(("daisy",), ("v_wall",)))
    sections = {e.attributes["id"] for e in page.elements if e.tag == "section"}
    assert "results" in sections
    assert "differences" not in sections
    texts = [cell.text for cell in page.cells("summary-harris") if "data-subset" in cell.attributes]
    assert not [text for text in texts if "[" in text]
    assert len(texts) == 3, "a part that is all there is gets no columns of its own"
    assert "None" not in page.text_of("body")
    assert "nan" not in page.text_of("body").lower()


def test_a_result_without_any_pair_still_makes_a_report(tmp_path: Path):
    broken = [LeftOut("v_x", 2, None, "v_x 1 → 2 is left out: it is broken.")]
    report, page = report_on(tmp_path, a_result(("daisy",), (), left_out=broken))
    assert report.summary.startswith("No pair could be measured")
    assert "it is broken" in page.text_of("td")
    assert "None" not in page.text_of("body")


def test_many_sequences_and_descriptors_all_find_their_place(tmp_path: Path):
    labels = [f"descriptor number {n} " + "with a long name " * 3 for n in range(8)]
    sequences = [f"{'iv'[n % 2]}_sequence{n}" for n in range(116)]
    report, page = report_on(tmp_path, a_result(labels, sequences))
    assert len(page.with_data("sequence", "descriptor")) == 8 * 116
    pairs = {
        (c.attributes["data-better"], c.attributes["data-other"]) for c in page.with_data("better")
    }
    assert len(pairs) == 8 * 7 / 2
    assert "4 more" in report.summary


def test_a_folder_without_a_result_is_refused_and_nothing_is_made(tmp_path: Path):
    with pytest.raises(ResultError, match="does not exist"):
        ReportJob(folders=(tmp_path / "no",), out=tmp_path / "out").run(JobContext())
    assert not (tmp_path / "out").exists()


# ---- the worst pairs ---------------------------------------------------------------------------


def test_descriptors_take_turns_with_their_worst_pairs_and_no_pair_comes_twice():
    result = a_result(("weak", "daisy"), seed=4)
    rows = Statistics(merge_results([("run", result)])).worst_rows(limit=6)
    keys = [(row.sequence, row.index) for row in rows]
    assert len(set(keys)) == 6
    leader = max(("weak", "daisy"), key=lambda label: np.mean(
        [dict(row.pck)[5.0] for row in result.pairs if row.descriptor == label]))  # fmt: skip
    assert [row.descriptor for row in rows] == [leader] * 3 + [rows[-1].descriptor] * 3
    shares = [dict(row.pck)[5.0] for row in rows]
    assert shares[:3] == sorted(shares[:3])
    assert shares[0] == min(dict(r.pck)[5.0] for r in result.pairs if r.descriptor == leader)
    alone = Statistics(merge_results([("run", a_result(("daisy",)))])).worst_rows(limit=4)
    every = sorted(dict(row.pck)[5.0] for row in a_result(("daisy",)).pairs)
    assert [dict(row.pck)[5.0] for row in alone] == every[:4]


SHIFT_PX = 7


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences: a moved texture, and one whose second image is noise."""
    folder = tmp_path_factory.mktemp("bilder") / "Wände & <b>"
    generator = np.random.default_rng(0)
    for name in ("v_moved", "v_noise"):
        (folder / name).mkdir(parents=True)
        plane = cv2.GaussianBlur(
            generator.uniform(0, 255, (130, 170, 3)).astype(np.float32), (0, 0), 2
        )
        plane = np.clip((plane - 127) * 6 + 127, 0, 255).astype(np.uint8)
        other = plane[:, :-SHIFT_PX]
        if name == "v_noise":
            other = generator.integers(0, 255, other.shape, dtype=np.uint8)
        cv2.imwrite(str(folder / name / "1.png"), plane[:, SHIFT_PX:])
        cv2.imwrite(str(folder / name / "2.png"), other)
        (folder / name / "H_1_2").write_text(f"1 0 {SHIFT_PX}\n0 1 0\n0 0 1\n")
    return folder


def evaluate(walls: Path, out: Path, **settings: object) -> EvaluationResult:
    usual = {"protocol": "closed", "query_limit": 40, "long_edge_px": 163, "device": "cpu"}
    config = EvaluateConfig(dataset=str(walls), **(usual | settings))  # type: ignore[arg-type]
    spec = make_spec("daisy", {"stride_px": 4})
    return EvaluateJob(config=config, choices=(DescriptorChoice("daisy", spec),), out=out).run(
        JobContext(device="cpu")
    )


@pytest.fixture(scope="module")
def run(walls: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    evaluate(walls, folder)
    return folder


def pictures_of(report: Report) -> list[PairPicture]:
    return list(report.worst)


def test_the_worst_pairs_are_shown_with_the_matches_that_were_measured(
    walls: Path, run: Path, tmp_path: Path
):
    report = ReportJob(folders=(run,), out=tmp_path).run(JobContext(device="cpu"))
    pictures = pictures_of(report)
    assert [one.title for one in pictures] == ["v_noise 1 → 2", "v_moved 1 → 2"]
    rows = {row.sequence: row for row in read_result(run).pairs}
    for one in pictures:
        row = rows[one.title.split()[0]]
        right = round(dict(row.pck)[5.0] * row.count)
        assert one.note == f"{right} right and {row.count - right} wrong matches"
        assert one.figure is not None
        drawing = ElementTree.fromstring(one.figure.svg)
        lines = {
            group.get("class"): group.find(f"{SVG}path")
            for group in drawing.iter(f"{SVG}g")
            if group.get("class") in ("right", "wrong")
        }
        counts = {kind: path.get("d", "").count("M") for kind, path in lines.items()}
        assert counts.get("right", 0) == right
        assert counts.get("wrong", 0) == row.count - right
        assert "stroke-dasharray" in lines["wrong"].get("style") if "wrong" in lines else True
        assert len(list(drawing.iter(f"{SVG}image"))) == 2


def test_lines_begin_at_their_queries_where_images_were_measured_at_half_their_size(
    walls: Path, tmp_path: Path
):
    evaluate(walls, tmp_path, long_edge_px=82)
    (picture, _) = pictures_of(ReportJob(folders=(tmp_path,), out=tmp_path).run(JobContext()))
    drawing = ElementTree.fromstring(picture.figure.svg)
    image = next(drawing.iter(f"{SVG}image"))
    starts = []
    for group in drawing.iter(f"{SVG}g"):
        if group.get("class") in ("right", "wrong"):
            words = group.find(f"{SVG}path").get("d", "")
            starts += re.findall(r"M ([\d.]+) ([\d.]+)", words)
    pair = read_points(tmp_path, "v_noise", 2)
    (points,) = next(iter(pair.points.values()))
    scale = float(image.get("width")) / 82
    expected = (points.query_px + 0.5) * scale
    assert len(starts) == len(expected)
    np.testing.assert_allclose(
        sorted(np.array(starts, float).tolist()), sorted(expected.tolist()), atol=0.01
    )


def test_the_command_of_a_pair_opens_that_pair_descriptor_and_point(
    walls: Path, run: Path, tmp_path: Path
):
    report = ReportJob(folders=(run,), out=tmp_path).run(JobContext(device="cpu"))
    words = shlex.split(pictures_of(report)[0].command)
    assert words[:2] == ["python", "main.py"]
    arguments = parse(build_parser("main.py"), words[2:])
    assert arguments.images == (walls.resolve(),)
    assert (arguments.group, arguments.pair_index) == ("v_noise", 2)
    assert arguments.descriptor == "daisy"
    assert arguments.settings == ("stride_px=4",)
    assert arguments.long_edge_px == read_result(run).fingerprint.sampler.long_edge_px
    x, y = arguments.probe_px
    assert 0 <= x <= 162
    assert 0 <= y <= 129
    page = read_page(tmp_path / REPORT_HTML)
    shown = [e.text for e in page.elements if e.tag == "pre"]
    assert shlex.split(shown[0]) == words


def test_without_the_images_the_report_says_so_and_has_no_pictures(
    walls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    moved = tmp_path / "data"
    moved.mkdir()
    for folder in walls.iterdir():
        (moved / folder.name).mkdir()
        for file in folder.iterdir():
            (moved / folder.name / file.name).write_bytes(file.read_bytes())
    evaluate(moved, tmp_path / "run")
    (moved / "v_noise" / "2.png").write_bytes(b"")
    job = ReportJob(folders=(tmp_path / "run",), out=tmp_path / "out")
    first, second = pictures_of(job.run(JobContext(device="cpu")))
    assert first.figure is None
    assert "2.png" in first.note
    assert "--pair 2" in first.command
    assert second.figure is not None
    moved.rename(tmp_path / "elsewhere")
    assert all(one.figure is None for one in pictures_of(job.run(JobContext(device="cpu"))))
    # A result that does not know its folder does not stand for the folder that is current.
    unknown = tmp_path / "unknown"
    shutil.copytree(tmp_path / "run", unknown)
    content = (unknown / "result.json").read_text()
    (unknown / "result.json").write_text(re.sub(r'"root": "[^"]*"', '"root": ""', content))
    monkeypatch.chdir(tmp_path / "elsewhere")
    lost = ReportJob(folders=(unknown,), out=tmp_path / "lost").run(JobContext(device="cpu"))
    assert {one.note for one in pictures_of(lost)} == {
        "No picture: the folder of the images is not known."
    }
    found = replace(job, dataset=tmp_path / "elsewhere").run(JobContext(device="cpu"))
    assert pictures_of(found)[1].figure is not None
    # The matches are those that were measured, whatever becomes of the homography.
    (tmp_path / "elsewhere" / "v_moved" / "H_1_2").write_text("1 0 9\n0 1 0\n0 0 1\n")
    changed = replace(job, dataset=tmp_path / "elsewhere").run(JobContext(device="cpu"))
    assert pictures_of(changed) == pictures_of(found)


def test_other_pixels_under_the_same_name_are_not_passed_off_as_what_was_measured(
    walls: Path, run: Path, tmp_path: Path
):
    copy = tmp_path / "copy"
    for folder in walls.iterdir():
        (copy / folder.name).mkdir(parents=True)
        for file in folder.iterdir():
            (copy / folder.name / file.name).write_bytes(file.read_bytes())
    swapped = (copy / "v_noise" / "2.png", copy / "v_moved" / "2.png")
    one, other = (path.read_bytes() for path in swapped)
    swapped[0].write_bytes(other)
    swapped[1].write_bytes(one)
    job = ReportJob(folders=(run,), out=tmp_path / "out", dataset=copy)
    for pair in pictures_of(job.run(JobContext(device="cpu"))):
        assert pair.figure is None
        assert "has changed since" in pair.note


def test_pictures_are_made_without_describing_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.descriptors.daisy.Daisy.describe", None)
    report = ReportJob(folders=(run,), out=tmp_path).run(JobContext(device="cpu"))
    assert all(pair.figure is not None for pair in pictures_of(report))


def test_a_run_without_points_has_a_report_without_pictures_that_says_so_once(
    run: Path, tmp_path: Path
):
    old = tmp_path / "old"
    shutil.copytree(run, old)
    shutil.rmtree(old / "points")
    report = ReportJob(folders=(old,), out=tmp_path / "out").run(JobContext(device="cpu"))
    assert [(one.figure, one.note) for one in pictures_of(report)] == [(None, "")] * 2
    text = read_page(tmp_path / "out" / REPORT_HTML).text_of("p")
    assert text.count("old was measured before matches were kept") == 1
    assert report.stats.merged.warnings == ()


def test_of_two_runs_with_one_label_each_pair_shows_the_matches_of_its_own_run(
    walls: Path, run: Path, tmp_path: Path
):
    evaluate(walls, tmp_path / "seed", seed=7)
    job = ReportJob(folders=(run, tmp_path / "seed"), out=tmp_path / "both")
    pictures = {one.title: one for one in pictures_of(job.run(JobContext(device="cpu")))}
    assert len(pictures) == 2
    for one in pictures.values():
        label, share = re.match(r"daisy \((.+?)\) (\d\.\d+)", one.detail).groups()
        folder = {run.name: run, "seed": tmp_path / "seed"}[label]
        alone = ReportJob(folders=(folder,), out=tmp_path / label).run(JobContext(device="cpu"))
        (same,) = (other for other in pictures_of(alone) if other.title == one.title)
        assert same.detail == f"daisy {share}"
        assert same.figure == one.figure


def test_a_turned_pair_is_drawn_turned_and_the_command_says_that_it_opens_the_original(
    walls: Path, tmp_path: Path
):
    evaluate(Path(f"rotated:{walls}"), tmp_path / "run")
    report = ReportJob(folders=(tmp_path / "run",), out=tmp_path / "out").run(
        JobContext(device="cpu")
    )
    for pair in pictures_of(report):
        assert pair.figure is not None
        assert "before it was turned" in pair.note
        assert "--probe" not in pair.command


def test_lines_of_a_picture_begin_and_end_on_their_pixels():
    """At a scale s the centre of pixel (x, y) lies at (s (x + 0.5), s (y + 0.5))."""
    images = (np.zeros((256, 632, 3), np.uint8), np.full((1024, 2528, 3), 255, np.uint8))
    sizes_px = ((1264, 512), (1264, 512))
    points_a, points_b = np.array([[3.0, 7.0]]), np.array([[1263.0, 511.0]])
    figure, drawn = draw_pair(images, sizes_px, points_a, points_b, np.array([True]), title="t")
    assert drawn == 1
    root = ElementTree.fromstring(figure.svg)
    width, height = (float(size) for size in root.get("viewBox").split()[2:])
    assert width / 72 * 2.54 == pytest.approx(8.5, abs=0.01)
    (group,) = (group for group in root.iter(f"{SVG}g") if group.get("class") == "right")
    line = re.findall(r"[\d.]+", group.find(f"{SVG}path").get("d"))
    scale = height / 512
    left_b = width - 1264 * scale
    assert [float(x) for x in line] == pytest.approx(
        [3.5 * scale, 7.5 * scale, left_b + 1263.5 * scale, 511.5 * scale], abs=0.01
    )


def test_a_picture_leaves_unfound_matches_out_and_draws_a_fixed_choice_of_many():
    images = (np.zeros((60, 80, 3), np.uint8),) * 2, ((80, 60), (80, 60))
    generator = random.Random(0)
    points = np.array([[generator.uniform(0, 79), generator.uniform(0, 59)] for _ in range(500)])
    found = points.copy()
    found[:100] = np.nan
    figure, drawn = draw_pair(*images, points, found, np.ones(500, bool), title="t")
    again, _ = draw_pair(*images, points, found, np.ones(500, bool), title="t")
    assert 30 <= drawn <= 100
    assert figure == again
    assert "nan" not in figure.svg
    none, count = draw_pair(*images, points[:0], points[:0], np.ones(0, bool), title="t")
    assert count == 0
    ElementTree.fromstring(none.svg)
