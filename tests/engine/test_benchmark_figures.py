"""The figures of the benchmarks, their table, and the runner's manners."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as runner
from benchmarks.figure import Figure, summarise, table


def test_a_figure_is_the_middle_and_the_ends_of_its_samples():
    figure = summarise("paint", [3.0, 1.0, 2.0, 10.0], unit="ms", target=2.5)
    assert (figure.median, figure.low, figure.high, figure.n) == (2.5, 1.0, 10.0, 4)
    assert figure.met is True
    assert summarise("paint", [2.6], unit="ms", target=2.5).met is False
    assert summarise("paint", [2.6], unit="ms").met is None


@pytest.mark.parametrize("samples", [[], [1.0, float("nan")]])
def test_samples_that_say_nothing_are_refused(samples: list[float]):
    with pytest.raises(ValueError, match="paint needs finite samples"):
        summarise("paint", samples, unit="ms")


def test_the_table_shows_spread_ratio_and_verdict():
    figures = [
        summarise("bare window", [100.0, 110.0, 90.0], unit="ms"),
        summarise("first paint", [200.0], unit="ms", target=160.0, ratio_to="bare window"),
        summarise("hover", [8.0], unit="ms", target=16.0, note="at 640×480"),
        summarise("nothing", [0.0], unit="ms"),
    ]
    head, _, bare, paint, hover, nothing, note = table(figures).splitlines()
    assert head.split()[:3] == ["figure", "median", "low"]
    assert "90.0 … 110" in bare
    assert "20 %" in bare
    assert "2.00 × bare window" in paint
    assert paint.endswith("MISSED")
    assert "0.50 × target" in hover
    assert hover.endswith("met")
    assert "nan" not in nothing
    assert note == "hover: at 640×480"


@pytest.fixture
def benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A benchmark of two figures replaces the real ones, which need a window and take minutes."""
    (tmp_path / "trial.py").write_text(
        "from benchmarks.figure import summarise\n"
        "def measure(runs):\n"
        "    return [summarise('one', [1.0] * runs, unit='s', target=2.0),\n"
        "            summarise('two', [3.0] * runs, unit='s', target=2.0)]\n"
    )
    import benchmarks

    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    monkeypatch.setattr(runner, "BENCHMARKS", {"trial": "what it measures"})
    yield "trial"
    sys.modules.pop("benchmarks.trial", None)


def test_a_benchmark_hands_its_figures_over_as_json(benchmark: str, tmp_path: Path):
    path = tmp_path / "out.json"
    assert runner.main(["--measure", benchmark, "--runs", "3", "--json", str(path)]) == 0
    figures = [Figure(**values) for values in json.loads(path.read_text(encoding="utf-8"))]
    assert [(figure.name, figure.n, figure.met) for figure in figures] == [
        ("one", 3, True),
        ("two", 3, False),
    ]


def test_a_missed_target_fails_only_when_checked(
    benchmark: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    figure = summarise("two", [3.0], unit="s", target=2.0)
    monkeypatch.setattr(runner, "_run_one", lambda name, runs: [figure])
    path = tmp_path / "figures.json"
    assert runner.main(["--json", str(path)]) == 0
    assert "MISSED" in capsys.readouterr().out
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["figures"][0]["met"] is False
    assert report["machine"]["cpus"] >= 1
    assert runner.main(["--check"]) == 1


def test_a_benchmark_that_breaks_is_named_and_the_others_go_on(
    benchmark: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def run_one(name: str, runs: int) -> list[Figure]:
        if name == "broken":
            raise RuntimeError("its process ended with code 134")
        return [summarise("one", [1.0], unit="s")]

    monkeypatch.setattr(runner, "BENCHMARKS", {"broken": "…", "trial": "…"})
    monkeypatch.setattr(runner, "_run_one", run_one)
    assert runner.main([]) == 1
    captured = capsys.readouterr()
    assert "broken failed: its process ended with code 134" in captured.err
    assert "one" in captured.out


def test_an_unknown_benchmark_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]):
    assert runner.main(["--only", "strat"]) == 1
    said = capsys.readouterr().err
    assert "'strat'" in said
    assert "start, hover" in said


def test_a_benchmark_really_runs_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """One that does not exist ends its process, not this one."""
    with pytest.raises(RuntimeError, match="ended with code"):
        runner._run_one("no-such-benchmark", 1)
