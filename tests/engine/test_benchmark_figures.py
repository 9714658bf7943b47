"""The figures of the benchmarks, their table, and the runner's manners."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as runner
from benchmarks import device, evaluation, growth, match, memory, recording, sequences
from benchmarks.figure import Figure, Row, make_rows, summarise, table, take_turns
from engine.cli.command import settings_from
from engine.cli.commands import bench
from engine.cli.parser import build_parser, parse
from engine.data.layouts import open_pair_set
from engine.jobs.settings import MatchConfig
from engine.progress import CancelToken


def test_a_figure_is_the_middle_and_the_ends_of_its_samples():
    figure = summarise("paint", [3.0, 1.0, 2.0, 10.0], unit="ms", target=2.5)
    assert (figure.median, figure.low, figure.high, figure.n) == (2.5, 1.0, 10.0, 4)
    assert [row.met for row in make_rows([figure])] == [True]
    slow = summarise("paint", [2.6], unit="ms", target=2.5)
    aimless = summarise("paint", [2.6], unit="ms")
    assert [row.met for row in make_rows([slow, aimless])] == [False, None]


def test_a_target_of_a_ratio_needs_what_it_is_compared_with():
    base = summarise("faiss", [10.0], unit="ms")
    ours = summarise("ours", [5.0], unit="ms", ratio_to="faiss", target=0.4, of_ratio=True)
    assert [(row.ratio, row.met) for row in make_rows([base, ours])] == [(None, None), (0.5, False)]
    assert [(row.reference, row.met) for row in make_rows([ours])] == [(None, None)]
    faster = replace(ours, direction="higher")
    assert make_rows([base, faster])[1].met is True
    assert "≤ 0.40 ×" in table(make_rows([base, ours]))


def test_works_take_turns_and_the_first_round_does_not_count():
    done: list[str] = []
    works = {"a": lambda: done.append("a"), "b": lambda: 3.0 if done.append("b") is None else 0.0}
    times = take_turns(works, 2)
    assert done == ["a", "b"] * 3
    assert len(times["a"]) == 2
    assert times["b"] == [3.0, 3.0]


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
    head, _, bare, paint, hover, nothing, note = table(make_rows(figures)).splitlines()
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
    assert [(row.name, row.runs, row.met) for row in make_rows(figures)] == [
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
    monkeypatch.setattr(runner, "_run_one", lambda *_: [figure])
    path = tmp_path / "figures.json"
    assert runner.main(["--json", str(path)]) == 0
    assert "MISSED" in capsys.readouterr().out
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["figures"][0]["met"] is False
    assert report["machine"]["cpus"] >= 1
    assert runner.main(["--check"]) == 1


@pytest.fixture
def ratio(benchmark: str, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What figure "two" will take, round by round, as a multiple of figure "one"."""
    took: list[float] = []

    def run_one(name: str, runs: int, device: str | None) -> list[Figure]:
        base = summarise("one", [1.0], unit="s")
        return [base, summarise("two", [took.pop(0)], unit="s", ratio_to="one")]

    monkeypatch.setattr(runner, "_run_one", run_one)
    return took


def test_a_ratio_that_stays_worse_fails_against_the_recorded_one(
    ratio: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    path = tmp_path / "recorded.json"
    ratio += [3.0]
    assert runner.main(["--record", str(path)]) == 0
    ratio += [3.5]
    assert runner.main(["--against", str(path)]) == 0
    ratio += [3.7, 3.7]
    assert runner.main(["--against", str(path)]) == 1
    assert "two: 3.70 × one, recorded 3.00" in capsys.readouterr().err
    ratio += [3.7, 3.5]
    assert runner.main(["--against", str(path)]) == 0, "it was noise"
    assert not ratio
    monkeypatch.setattr(recording, "_processor", lambda: "another")
    assert runner.main(["--against", str(path)]) == 1
    assert "recorded on other kinds of machines" in capsys.readouterr().err


def test_ratios_are_held_against_several_recorded_ones_of_the_same_kind_of_machine(
    ratio: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "recorded.json"
    for kind, took in (("this", 3.0), ("that", 9.0), ("this", 3.1), ("this", 4.5)):
        monkeypatch.setattr(recording, "_processor", lambda kind=kind: kind)
        ratio += [took]
        assert runner.main(["--record", str(path)]) == 0
    ratio += [4.4]  # 1.42 of the median, but that has been seen
    assert runner.main(["--against", str(path)]) == 0
    ratio += [4.6, 4.6]
    assert runner.main(["--against", str(path)]) == 1


def test_where_more_is_better_less_is_worse(tmp_path: Path):
    def rows(value: float) -> list[Row]:
        base = summarise("one", [1.0], unit="GFLOP/s")
        two = summarise("two", [value], unit="GFLOP/s", ratio_to="one", direction="higher")
        return make_rows([base, two])

    path = tmp_path / "recorded.json"
    for value in (3.0, 3.2):
        recording.add_report(recording.make_report(rows(value)), path)
    recorded = recording.Recorded(path)
    assert recorded.worse(rows(2.7)) == {}
    assert list(recorded.worse(rows(2.5))) == ["two"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"machine": {}, "figures": []}'])
def test_a_file_without_recorded_runs_is_refused_before_anything_is_measured(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "figures.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert runner.main(["--only", "hover", "--against", str(path)]) == 1
    assert f"{path}: holds no recorded runs" in capsys.readouterr().err


def test_the_recorded_runs_of_the_program_can_be_read():
    path = Path(recording.__file__).with_name("recorded.json")
    for report in json.loads(path.read_text(encoding="utf-8"))["reports"]:
        assert report["machine"]["processor"]
        assert {"name", "ratio", "direction", "met"} <= set(report["figures"][0])


def test_long_benchmarks_run_only_when_they_are_asked_for(
    benchmark: str, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def run_one(name: str, runs: int, device: str | None) -> list[Figure]:
        asked.append(name)
        return [summarise(name, [1.0], unit="s")]

    monkeypatch.setattr(runner, "BENCHMARKS", {"short": "…", "long": "…"})
    monkeypatch.setattr(runner, "LONG", ("long",))
    monkeypatch.setattr(runner, "_run_one", run_one)
    assert runner.main([]) == 0
    assert runner.main(["--only", "long"]) == 0
    assert asked == ["short", "long"]


def test_a_benchmark_that_breaks_is_named_and_the_others_go_on(
    benchmark: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def run_one(name: str, runs: int, device: str | None) -> list[Figure]:
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


def test_a_power_law_is_found_by_its_exponent():
    sizes = [1.0, 10.0, 100.0]
    for true in (0.0, 1.0, 1.5):
        assert growth.exponent(sizes, [3.0 * size**true for size in sizes]) == pytest.approx(true)


def test_the_peak_of_memory_is_found_in_what_the_system_tells():
    status = "Name:\tpython\nVmPeak:\t  900000 kB\nVmHWM:\t  500000 kB\nVmRSS:\t  300000 kB\n"
    assert memory.find_peak_mb(status) == pytest.approx(512.0)
    assert memory.find_peak_mb("Name:\tpython\nState:\tZ (zombie)\n") is None


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_peak_of_a_process_is_its_own_and_outlasts_what_it_gave_back():
    """It neither counts the memory of the one that started it nor forgets what was freed."""
    ballast = bytearray(b"1") * 200_000_000
    wait = "import sys; sys.stdin.read()"
    peaks_mb = []
    for work in ("", "bytearray(b'1') * 100_000_000; "):
        command = [sys.executable, "-S", "-c", f"{work}print(flush=True); {wait}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()  # the work is done
            threading.Timer(0.2, process.stdin.close).start()
            peaks_mb.append(memory.watch_peak_mb(process))
    assert len(ballast) > 1e6 * peaks_mb[0]
    assert 95 < peaks_mb[1] - peaks_mb[0] < 110


def test_a_set_of_links_has_as_many_sequences_as_it_says(tmp_path: Path):
    folder = sequences.link_sequences(sequences.demo_sequences(), 8, tmp_path / "set")
    assert len(open_pair_set(folder).groups) == 8


def test_what_is_on_top_is_a_share_of_the_work_and_not_of_the_whole():
    assert evaluation.share_percent(15.0, 12.0) == pytest.approx(25.0)


def test_without_its_sequences_an_evaluation_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DESCGUI_DATA", str(tmp_path))
    with pytest.raises(RuntimeError, match="DESCGUI_DATA"):
        sequences.find_sequences()
    (tmp_path / "sequences").mkdir()
    assert sequences.find_sequences() == tmp_path / "sequences"


def test_the_timed_command_is_one_that_the_program_takes():
    words = match.command(Path("a.png"), Path("b.png"), "daisy", Path("m.csv"))
    config, _ = settings_from(parse(build_parser("main.py"), words), MatchConfig)
    assert (config.points, config.count) == ("harris", 500)


def test_a_device_is_measured_in_all_that_it_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "SIZE_PX", (96, 64))
    monkeypatch.setattr(device, "DESCRIPTORS", ("descspace-fast",))
    monkeypatch.setattr(device, "SIZES", ((10, 100),))
    monkeypatch.setattr(device, "WARM_UP", 1)
    monkeypatch.setattr(device, "CASES", (replace(device.CASES[0], steps=1),))
    rows = {row.name: row for row in make_rows(device.measure(1, "cpu"))}
    assert list(rows) == [
        "cpu: descspace-fast, an image, float32",
        "cpu: descspace-fast, an image, bfloat16",
        "cpu: descspace-fast, 8 images, float32",
        "cpu: descspace-fast, 8 images, bfloat16",
        "cpu: nearest, 10 among 100, float32 products",
        "cpu: nearest, 10 among 100",
        "cpu: training, quick",
        "cpu: training, quick: waiting for pairs",
    ]
    assert all(row.value > 0 for row in list(rows.values())[:-1])
    assert rows["cpu: training, quick"].direction == "higher"
    assert 0 <= rows["cpu: training, quick: waiting for pairs"].value < 100


def test_a_device_has_benchmarks_of_its_own_and_must_be_there(
    benchmark: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    asked: list[tuple[str, str | None]] = []

    def run_one(name: str, runs: int, device: str | None) -> list[Figure]:
        asked.append((name, device))
        return [summarise(name, [1.0], unit="s")]

    monkeypatch.setattr(runner, "BENCHMARKS", {"short": "…", "device": "…", "mining": "…"})
    monkeypatch.setattr(runner, "_run_one", run_one)
    assert runner.main(["--device", "cpu"]) == 0
    assert runner.main(["--device", "cpu", "--only", "device"]) == 0
    assert asked == [("device", "cpu"), ("mining", "cpu"), ("device", "cpu")]
    assert runner.main(["--device", "cpu", "--only", "short"]) == 1
    assert "--device is for device and mining alone" in capsys.readouterr().err
    assert runner.main(["--device", "cuda:77"]) == 1
    assert "--device cuda:77: " in capsys.readouterr().err


def test_the_command_hands_files_on_with_their_whole_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(bench.subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    words = ["bench", "--only", "hover", "--json", "a", "--against", "b", "--record", "c"]
    shell = SimpleNamespace(
        sink=SimpleNamespace(close=lambda: None), cancel=CancelToken(), out=sys.stdout
    )
    assert bench.run(parse(build_parser("main.py"), words), shell) == 0  # type: ignore[arg-type]
    (command,) = commands
    for flag, name in (("--json", "a"), ("--against", "b"), ("--record", "c")):
        assert command[command.index(flag) + 1] == str(tmp_path / name)
    assert command[command.index("--only") + 1] == "hover"
