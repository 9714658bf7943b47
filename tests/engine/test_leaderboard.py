"""Results are ranked where their fingerprints agree, and nowhere else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cli.run import main
from engine.errors import ConfigError
from engine.evaluation.fingerprint import Fingerprint
from engine.evaluation.leaderboard import make_boards, summary_of, write_leaderboard
from engine.evaluation.pck import CURVE_PX, count_within
from engine.evaluation.result import (
    EvaluationResult,
    PairRow,
    Sources,
    Timing,
    sum_metrics_up,
    summarise,
    write_result,
)
from engine.evaluation.run_folder import SETTINGS_FILE

SEQUENCES = ("i_lamp", "v_wall", "v_roof", "v_floor", "v_door")


def a_result(
    shares: dict[str, float], *, oracles: tuple[str, ...] = (), **changes: Any
) -> EvaluationResult:
    """Descriptors whose every pair has this PCK at 5 px; ``changes`` are of the fingerprint."""
    rows = []
    for label, share in shares.items():
        errors = np.where(np.arange(100) < round(100 * share), 1.5, 50.0)
        pck = tuple((limit, float(np.mean(errors <= limit))) for limit in (3.0, 5.0))
        within = count_within(errors, CURVE_PX)
        rows += [PairRow(label, name, 2, "harris", 100, pck, within) for name in SEQUENCES]
    descriptors = [
        {
            "label": label,
            "name": label,
            "config": {},
            "weights_sha256": None,
            "trained": label != "raw",
            "levels": 1,
            "dim": 128,
            "matcher": changes.get("matcher", "exact"),
            "precision": "float32",
        }
        | ({"oracle": True} if label in oracles else {})
        for label in shares
    ]
    values: dict[str, Any] = {
        "protocol": "closed",
        "thresholds_px": [3.0, 5.0],
        "matcher": "exact",
        "sampler": {
            "queries": ["harris"],
            "query_limit": 100,
            "long_edge_px": 640,
            "grid_stride_px": None,
        },
        "seed": 0,
        "dataset": {"name": "walls", "subset": "all", "pairs": 5, "pairs_sha256": "ab" * 32},
        "descriptors": descriptors,
        "versions": {"project": "1", "torch": "2", "opencv": "5"},
        "device": "cpu",
    }
    fingerprint = Fingerprint.from_json(values | changes)
    return EvaluationResult(
        fingerprint=fingerprint,
        summary=summarise(rows, fingerprint),
        pairs=tuple(rows),
        left_out=(),
        problems=(),
        timings=tuple(Timing(label, 10, 2.0, 5, 1.0) for label in shares),
        wall_s=3.0,
        sources=Sources(command="python main.py evaluate"),
    )


def write_run(folder: Path, result: EvaluationResult) -> Path:
    folder.mkdir(parents=True)
    (folder / SETTINGS_FILE).write_text("dataset: walls\n")
    write_result(folder, result)
    return folder


def run(words: list[str]) -> int:
    return main(words, open_window=lambda _: 1)


def texts_of(page: str) -> str:
    return re.sub(
        r"\s+", " ", unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S))
    )


def test_results_that_agree_are_ranked_together_best_first() -> None:
    named = [
        ("one", a_result({"daisy": 0.5, "ours": 0.9})),
        ("two", a_result({"theirs": 0.7, "twin": 0.7})),
        ("three", a_result({"last": 0.1})),
    ]
    (board,) = make_boards(named)
    places = [(one.rank, one.label, one.run) for one in board.standings()]
    assert places == [
        (1, "ours", "one"),
        (2, "theirs", "two"),
        (2, "twin", "two"),
        (4, "daisy", "one"),
        (5, "last", "three"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": "dense"},
        {"seed": 1},
        {"device": "NVIDIA H100"},
        {"thresholds_px": [3.0, 5.0], "matcher": "flann"},
        {"versions": {"project": "1", "torch": "3", "opencv": "5"}},
        {"dataset": {"name": "walls", "subset": "all", "pairs": 5, "pairs_sha256": "cd" * 32}},
        {"value_range": [0.0, 4095.0]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_result_that_was_made_in_another_way_is_not_ranked_with_the_others(
    change: dict[str, Any],
) -> None:
    named = [
        ("one", a_result({"ours": 0.5})),
        ("other", a_result({"foreign": 0.9}, **change)),
        ("two", a_result({"theirs": 0.4})),
    ]
    first, second = make_boards(named)
    assert [one.label for one in first.standings()] == ["ours", "theirs"]
    assert [(one.rank, one.label) for one in second.standings()] == [(1, "foreign")]


def test_fields_can_be_declared_harmless_and_are_named(tmp_path: Path) -> None:
    versions = {"project": "2", "torch": "3", "opencv": "5"}
    named = [
        ("one", a_result({"ours": 0.5})),
        ("two", a_result({"theirs": 0.9}, device="cuda", versions=versions)),
    ]
    assert len(make_boards(named, ["device"])) == 2
    assert len(make_boards(named, ["version", "device"])) == 2  # no field begins with "version."
    (board,) = make_boards(named, ["device", "versions"])
    assert board.tolerated == {
        "device": ("cpu", "cuda"),
        "versions.project": ("1", "2"),
        "versions.torch": ("2", "3"),
    }
    assert [one.label for one in board.standings()] == ["theirs", "ours"]


def test_who_was_given_the_true_scales_has_no_rank() -> None:
    result = a_result({"oracle:v2": 0.9, "ours": 0.8}, oracles=("oracle:v2",))
    (board,) = make_boards([("one", result)])
    assert [(one.rank, one.label) for one in board.standings()] == [
        (1, "ours"),
        (None, "oracle:v2"),
    ]


def test_consensus_has_a_board_of_its_own_behind_that_of_nearest_neighbours() -> None:
    named = [
        ("helped", a_result({"ours (consensus)": 0.95}, matcher="consensus")),
        ("alone", a_result({"ours": 0.9, "theirs": 0.7})),
    ]
    first, second = make_boards(named)
    assert [one.label for one in first.standings()] == ["ours", "theirs"]
    assert [(one.rank, one.label) for one in second.standings()] == [(1, "ours (consensus)")]
    assert first.title == "walls, protocol closed"
    assert second.title == "walls, protocol closed, consensus matching"
    assert summary_of((first, second)).startswith("On walls, protocol closed, ours leads")


def test_where_matchers_may_differ_consensus_has_no_rank_and_the_page_says_why(
    tmp_path: Path,
) -> None:
    named = [
        ("alone", a_result({"ours": 0.9, "theirs": 0.7})),
        ("helped", a_result({"ours (consensus)": 0.95}, matcher="consensus")),
    ]
    (board,) = make_boards(named, ["matcher"])
    assert [(one.rank, one.label) for one in board.standings()] == [
        (1, "ours"), (2, "theirs"), (None, "ours (consensus)"),
    ]  # fmt: skip
    assert [row.descriptor for row in board.stats.ranked("harris")] == ["ours", "theirs"]
    path = tmp_path / "board.html"
    write_leaderboard(path, (board,), left_out=(), command="")
    page = texts_of(path.read_text())
    assert "ours (consensus): matched with what neighbouring queries say, so without a rank" in page
    assert "exact and consensus matching" in page


def test_the_command_finds_runs_below_a_folder_and_writes_one_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs" / "2026" / "one", a_result({"daisy": 0.5, "<b>ours</b>": 0.9}))
    write_run(tmp_path / "runs" / "two", a_result({"theirs": 0.7}))
    write_run(tmp_path / "runs" / "dense", a_result({"theirs": 0.99}, protocol="dense"))
    broken = tmp_path / "runs" / "broken"
    broken.mkdir()
    (broken / SETTINGS_FILE).write_text("")
    (broken / "result.json").write_text("{")
    (tmp_path / "runs" / "training").mkdir()
    (tmp_path / "runs" / "training" / "result.json").write_text("{}")  # no evaluation's
    page = tmp_path / "board.html"
    words = ["leaderboard", str(tmp_path / "runs"), str(tmp_path / "runs" / "two")]
    assert run([*words, "--out", str(page)]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    ranks = [words[:2] for words in lines if words and words[0].isdigit()]
    assert ["1", "theirs"] in ranks
    assert ["2", "theirs"] in ranks
    assert "broken" in err
    assert "is not JSON" in err
    source = page.read_text()
    text = texts_of(source)
    assert "<b>ours</b>" not in source
    assert "<b>ours</b>" in text
    assert "walls, protocol closed" in text
    assert "walls, protocol dense" in text
    assert "Why there are several boards" in text
    assert "pairs_sha256" in text
    assert "is not JSON" in text
    assert "training" not in text
    ours, theirs = text.index("<b>ours</b> one"), text.index("theirs two")
    assert ours < theirs < text.index("daisy one")
    assert "src=" not in source
    assert 'href="http' not in source


def test_without_any_result_there_is_a_sentence_and_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "board.html"
    assert run(["leaderboard", str(tmp_path), "--out", str(page)]) == 1
    assert "holds no result of a finished evaluation" in capsys.readouterr().err
    assert run(["leaderboard", str(tmp_path / "none"), "--out", str(page)]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert not page.exists()


def test_an_edited_result_is_left_out_and_the_others_are_ranked(tmp_path: Path) -> None:
    write_run(tmp_path / "sound", a_result({"ours": 0.5}))
    edited = write_run(tmp_path / "edited", a_result({"theirs": 0.5}))
    values = json.loads((edited / "result.json").read_text())
    values["summary"][1]["pck"] = 0.99
    (edited / "result.json").write_text(json.dumps(values))
    page = tmp_path / "board.html"
    assert run(["leaderboard", str(tmp_path), "--out", str(page), "--quiet"]) == 0
    text = texts_of(page.read_text())
    assert "1 result · 1 descriptor · 1 board" in text
    assert "the summary's pck of theirs is not that of the pairs" in text


def test_labels_that_several_runs_use_stay_apart() -> None:
    result = a_result({"ours": 0.5})
    better = replace(a_result({"ours": 0.6}))
    (board,) = make_boards([("monday", result), ("tuesday", better)])
    assert [one.label for one in board.standings()] == ["ours (tuesday)", "ours (monday)"]


AUC = "corner_error[MAGSAC++ 3 px]"
SWITCHES = {
    "chosen": ["dense", "found", "homography"], "grid_stride_px": 4, "refined": False,
    "found_on": "grid", "keypoint_limit": 2048, "estimator": "opencv", "inlier_px": 3.0,
}  # fmt: skip


def with_metrics(
    errors_px: dict[str, float], share: float = 0.5, *, oracles: tuple[str, ...] = ()
) -> EvaluationResult:
    """Descriptors of one PCK whose dense and corner errors are these on each pair."""
    plain = a_result(dict.fromkeys(errors_px, share), oracles=oracles, metrics=SWITCHES)
    rows = tuple(
        replace(
            row,
            metrics=(
                ("aepe", errors_px[row.descriptor]),
                ("matches", 100.0),
                (AUC, errors_px[row.descriptor]),
            ),
        )
        for row in plain.pairs
    )
    return replace(plain, pairs=rows, metrics=sum_metrics_up(rows, plain.fingerprint))


def ranks(named: list[tuple[str, EvaluationResult]], by: str) -> list[tuple[int | None, str]]:
    (board,) = make_boards(named, by=by)
    return [(one.rank, one.label) for one in board.standings()]


def test_any_measured_metric_ranks_in_its_own_direction_and_what_lacks_it_has_no_rank() -> None:
    named = [
        ("one", with_metrics({"far": 4.0, "near": 1.0, "twin": 1.0})),
        ("two", with_metrics({"seer": 0.5}, oracles=("seer",))),
        ("three", a_result({"plain": 0.9})),
    ]
    order = [(1, "near"), (1, "twin"), (3, "far"), (None, "seer"), (None, "plain")]
    assert ranks(named, "aepe") == order  # lower is better
    assert ranks(named, "corner_auc@5") == order  # higher is, whatever the estimator
    by_pck = [(1, "plain"), (2, "far"), (2, "near"), (2, "twin"), (None, "seer")]
    assert ranks(named, "pck@3") == ranks(named, "") == by_pck


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ("mma@3", "no result has 'mma@3'; .*ranked by pck@3, pck@5, aepe, corner_auc@1"),
        ("matches", "neither many nor few 'matches' are better"),
        ("aep", "no result has"),
    ],
)
def test_what_cannot_rank_is_refused_with_what_can(by: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make_boards([("one", with_metrics({"ours": 1.0}))], by=by)


def test_the_page_and_the_terminal_show_the_metric_that_ranks_and_the_chief_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "runs" / "one", with_metrics({"far": 4.0, "near": 1.25}))
    page = tmp_path / "board.html"
    command = ["leaderboard", str(tmp_path / "runs"), "--out", str(page)]
    assert run([*command, "--by", "corner_auc@3"]) == 0
    printed = capsys.readouterr().out
    (value,) = set(re.findall(r"near +(\d\.\d{3})", printed))
    assert "corner AUC@3" in printed
    assert re.search(r"1 +near +.*\n +2 +far +0\.000", printed)
    text = texts_of(page.read_text(encoding="utf-8"))
    assert f"near leads with corner AUC@3 (MAGSAC++ 3 px) of {value}" in text
    assert "Ranked by corner AUC@3 (MAGSAC++ 3 px): area under the share of pairs" in text
    for heading in ("corner AUC@3 (MAGSAC++ 3 px)", "AEPE (px)", "corner AUC@5 (MAGSAC++ 3 px)"):
        assert heading in text
    assert "1.250" in text
    assert "behind the first" not in text
    assert run(command) == 0
    text = texts_of(page.read_text(encoding="utf-8"))
    assert "behind the first, ≤ 5 px" in text
    assert "corner AUC@3" not in text  # no chief one, and not asked for
