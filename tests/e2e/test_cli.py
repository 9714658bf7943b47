"""The commands as a user types them: real files, real exit codes, and some real processes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.jobs import doctor
from tests.e2e.in_process import run_here

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SHIFT_PX = (6, 3)
SIZE_PX = (200, 150)


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``main.py`` on one thread, away from any terminal and any display."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "main.py"), *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", **environment},
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that was refused."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("main.py: ")]
    assert len(sentences) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
    return sentences[0]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.png`` and ``b.jpg``, a texture and the same one moved by ``SHIFT_PX``, and ``H.txt``."""
    folder = tmp_path_factory.mktemp("bilder") / "Größe 日本"
    folder.mkdir()
    width, height = SIZE_PX
    dx, dy = SHIFT_PX
    noise = np.random.default_rng(5).uniform(0, 255, (height + 20, width + 20, 3))
    smooth = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 2.0)
    plane = np.clip((smooth - 127) * 6 + 127, 0, 255).astype(np.uint8)
    for name, x, y in (("a.png", dx, dy), ("b.jpg", 0, 0)):
        ok, data = cv2.imencode(Path(name).suffix, plane[y : y + height, x : x + width])
        assert ok
        (folder / name).write_bytes(data.tobytes())
    (folder / "H.txt").write_text(f"1 0 {dx}\n0 1 {dy}\n0 0 1\n")
    (folder / "singular.txt").write_text("1 2 3\n2 4 6\n0 0 1\n")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


@pytest.fixture
def pair(photos: Path) -> tuple[Path, Path]:
    return photos / "a.png", photos / "b.jpg"


def test_a_moved_picture_is_matched_from_end_to_end(
    photos: Path, pair: tuple[Path, Path], tmp_path: Path
):
    out, figure = tmp_path / "neu" / "ergebnis é.csv", tmp_path / "bild.svg"
    done = run(
        "match", *pair, "--descriptor", "daisy", "--points", "harris", "--count", 80,
        "--homography", photos / "H.txt", "--out", out, "--figure", figure, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(out)
    assert 10 < len(rows) <= 80
    assert list(rows[0]) == [
        "x_a", "y_a", "x_b", "y_b", "similarity", "ratio", "mutual", "error_px", "texture",
        "truth", "truth_from", "uncertainty_px", "confidence",
    ]  # fmt: skip
    dx, dy = SHIFT_PX
    near = 0
    for row in rows:
        x_true, y_true = float(row["x_a"]) + dx, float(row["y_a"]) + dy
        truth_inside = x_true <= SIZE_PX[0] - 1 and y_true <= SIZE_PX[1] - 1
        assert (row["error_px"] != "") == truth_inside
        assert row["truth"] == ("seen" if truth_inside else "outside")
        assert row["truth_from"] == "homography"
        if truth_inside:
            error_px = np.hypot(float(row["x_b"]) - x_true, float(row["y_b"]) - y_true)
            assert float(row["error_px"]) == pytest.approx(error_px, abs=1e-3)
            near += error_px <= 3
        assert -1.001 <= float(row["similarity"]) <= 1.001
        assert 0 <= float(row["ratio"]) <= 1.001
        assert row["mutual"] in ("true", "false")
    assert near > 0.8 * len(rows)
    assert f"{len(rows)} points" in done.stdout
    assert "PCK" in done.stdout
    ElementTree.parse(figure)
    assert str(out) in done.stderr


def test_settings_come_from_a_file_and_an_estimate_stands_in_for_the_truth(
    pair: tuple[Path, Path], tmp_path: Path
):
    settings, out = tmp_path / "s.yaml", tmp_path / "m.csv"
    settings.write_text("points: grid\ncount: 40\nlong_edge_px: 160\ndevice: cpu\n")
    done = run_here("--quiet", "match", *pair, "--config", settings, "--out", out, "--figure",
                    tmp_path / "f.png")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "estimated homography" in done.stdout
    rows = rows_of(out)
    assert 0 < len(rows) <= 40
    assert {row["error_px"] for row in rows} == {""}
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_described_maps_can_be_matched_as_precomputed_ones(
    pair: tuple[Path, Path], photos: Path, tmp_path: Path
):
    maps = [tmp_path / "ä.npz", tmp_path / "b.npz"]
    for path, image in zip(maps, pair, strict=True):
        done = run_here(
            "describe", image, "--descriptor", "daisy", "--out", path, "--device", "cpu"
        )
        assert done.returncode == 0, done.stderr
        assert "DAISY" in done.stdout
    out = tmp_path / "m.csv"
    done = run_here("match", *pair, "--maps", *maps, "--homography", photos / "H.txt", "--out", out,
                    "--points", "random", "--count", 30)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(rows_of(out)) == 30


def test_a_plugin_runs_with_a_notice_and_ctrl_c_ends_with_130(
    pair: tuple[Path, Path], tmp_path: Path
):
    """The plugin interrupts its own process, so the moment is the same every time."""
    plugin = tmp_path / "stop.py"
    plugin.write_text(
        "import dataclasses, signal\n"
        "from engine.descriptors.registry import register_descriptor\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Config: pass\n"
        "@register_descriptor('stop', title='Stop', config=Config)\n"
        "def build(config):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    raise KeyError('the token was not looked at')\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    out = tmp_path / "m.csv"
    done = run("match", *pair, "--plugin", plugin, "--out", out)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "Running the code in" in done.stderr
    assert done.stderr.splitlines()[-1] == "Stopped."
    assert not out.exists()


LIGHT: list[tuple[list[str], str]] = [
    (["match", "{a}", "{dir}/none.png", "--out", "{tmp}/m.csv"], "none.png: there is no such"),
    (["match", "{a}", "--out", "{tmp}/m.csv"], "name a second one"),
    (["match", "{a}", "{b}"], "--out"),
    (["match", "{a}", "{b}", "--out", "{tmp}"], "this is a folder"),
    (["match", "{a}", "{b}", "--out", "{a}"], "will not be overwritten"),
    (["match", "{a}", "{b}", "--out", "{a}/m.csv"], "cannot be written"),
    (["match", "{a}", "{b}", "--out", "{tmp}/m", "--figure", "{tmp}/f.bmp"], "must end in"),
    (["match", "{a}", "{b}", "--out", "{tmp}/m.svg", "--figure", "{tmp}/m.svg"], "both for"),
    (["match", "{a}", "{b}", "--out", "{tmp}/m.csv", "--count", "0"], "out of range"),
    (["match", "{a}", "{b}", "--out", "{tmp}/m.csv", "--count", "1e9"], "out of range"),
    (["match", "{a}", "{b}", "--out", "{tmp}/m.csv", "--points", "all"], "grid, random"),
    (["match", "{a}", "{b}", "--out", "{tmp}/m.csv", "--pair", "2"], "of two images"),
    (
        ["match", "{a}", "{b}", "--out", "{tmp}/m.csv", "--homography", "{dir}/singular.txt"],
        "singular",
    ),
    (["match", "{a}", "{b}", "--out", "{tmp}/m.csv", "--config", "{a}"], "cannot be read"),
    (["match", "{dir}", "--pair", "2", "--out", "{tmp}/m.csv"], "sequence"),
    (["describe", "{dir}/none.png", "--out", "{tmp}/m.npz"], "there is no such file"),
    (["describe", "{a}", "--out", "{tmp}/m.txt"], "must end in .npz"),
    (["view", "{a}", "{b}", "--screenshot", "{tmp}/a.gif"], "must end in"),
    (["view", "{dir}/none"], "no such folder"),
    (["bench", "--runs", "0"], "at least 1"),
    (["descriptor"], "did you mean 'descriptors'"),
]
RUN_LINES = """
import contextlib, io, json, sys
from descgui.__main__ import main

sys.argv = ["main.py"]
for line in json.load(sys.stdin):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main(line)
    heavy = [name for name in ("torch", "PySide6") if name in sys.modules]
    print(json.dumps([code, out.getvalue(), errors.getvalue(), heavy]))
"""


@pytest.fixture(scope="module")
def light(
    photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Path, subprocess.CompletedProcess[str], list[str]]]:
    """Of each line of ``LIGHT``, run in one process: its folder, its end, and what is loaded."""
    names = {"a": photos / "a.png", "b": photos / "b.jpg", "dir": photos}
    folders = [tmp_path_factory.mktemp("light") for _ in LIGHT]
    lines = [
        [word.format(**names, tmp=folder) for word in words]
        for folder, (words, _) in zip(folders, LIGHT, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN_LINES],
        input=json.dumps(lines),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    ends = [json.loads(row) for row in done.stdout.splitlines()]
    return [
        (folder, subprocess.CompletedProcess(line, *end), heavy)
        for folder, line, (*end, heavy) in zip(folders, lines, ends, strict=True)
    ]


@pytest.mark.parametrize("number", range(len(LIGHT)), ids=[reason for _, reason in LIGHT])
def test_what_cannot_be_done_is_refused_before_anything_heavy_is_loaded(
    number: int, light: list[tuple[Path, subprocess.CompletedProcess[str], list[str]]]
):
    folder, done, heavy = light[number]
    assert LIGHT[number][1] in refused(done)
    assert heavy == []
    assert list(folder.iterdir()) == []


def test_a_refused_command_ends_its_process_with_1(photos: Path, tmp_path: Path):
    done = run("match", photos / "a.png", photos / "none.png", "--out", tmp_path / "m.csv")
    assert "none.png: there is no such" in refused(done)


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="/dev/stdout is needed")
def test_a_table_is_not_mixed_with_what_a_command_says(pair: tuple[Path, Path]):
    """Its standard output leads elsewhere meanwhile, so the table would be lost, too."""
    done = run("match", *pair, "--descriptor", "daisy", "--out", "/dev/stdout")
    assert "/dev/stdout: is where this command says what it did: name a file" in refused(done)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{a}", "{dir}/broken.png"], "broken.png"),
        (["{a}", "{dir}/H.txt"], "H.txt"),
        (["{a}", "{b}", "--descriptor", "dasy"], "did you mean 'daisy'"),
        (
            ["{a}", "{b}", "--descriptor", "daisy", "--set", "strid_px=4"],
            "did you mean 'stride_px'",
        ),
        (["{a}", "{b}", "--device", "tpu"], "'tpu'"),
        (["{a}", "{b}", "--descriptor", "daisy", "--weights", "{a}"], "takes no weights"),
        (["{a}", "{b}", "--maps", "{a}", "{b}"], "a.png"),
        (["{a}", "{b}", "--plugin", "{dir}/none.py"], "none.py"),
        (["{a}", "{b}", "--descriptor", "superpoint"], "superpoint"),
    ],
)
def test_what_turns_out_to_be_impossible_is_one_sentence_and_no_file(
    words: list[str], reason: str, photos: Path, pair: tuple[Path, Path], tmp_path: Path
):
    names = {"a": pair[0], "b": pair[1], "dir": photos}
    words = ["match", *(word.format(**names) for word in words)]
    assert reason in refused(run_here(*words, "--out", tmp_path / "m.csv"))
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_descriptors_shows_settings_and_plugins_run_in_it(tmp_path: Path):
    done = run("descriptors", "--json")
    assert done.returncode == 0, done.stderr
    listed = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert {"daisy", "superpoint", "timm:MODEL"} <= set(listed)
    settings = {setting["name"]: setting for setting in listed["daisy"]["settings"]}
    assert settings["stride_px"]["unit"] == "px"
    assert settings["radius_px"]["default"] == 15.0
    one = run_here("descriptors", "daisy")
    assert one.stdout.startswith("daisy")
    assert "radius_px" in one.stdout
    assert "superpoint" not in one.stdout


def test_the_doctor_reports_as_json_wherever_it_runs(monkeypatch: pytest.MonkeyPatch):
    for name in (*doctor._NEEDED, *doctor._TRIED_EXTRAS):  # all of them take 20 s
        if name not in ("torch", "PySide6"):
            monkeypatch.setitem(doctor._TRIAL, name, "")
    done = run_here("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["sound"] else 1)
    assert report["packages"]["torch"]


def test_listed_points_are_matched_and_told_from_a_homography(photos, tmp_path: Path):
    pair = photos / "a.png", photos / "b.jpg"
    dx, dy = SHIFT_PX
    listed = tmp_path / "corrs.txt"
    listed.write_text(f"40 30 {40 + dx} {30 + dy}\n50.5 60 {50.5 + dx} {60 + dy}\n")
    out = tmp_path / "m.csv"
    words = ["--points", "listed", "--out", out, "--device", "cpu"]
    done = run_here("match", *pair, "--truth", f"points:{listed}", *words)
    assert done.returncode == 0, done.stderr
    assert "truth   points: 2 seen" in done.stdout
    rows = rows_of(out)
    assert [(row["x_a"], row["truth"], row["truth_from"]) for row in rows] == [
        ("40.0000", "seen", "points"), ("50.5000", "seen", "points")
    ]  # fmt: skip
    both = ("--truth", listed, "--homography", photos / "H.txt")
    assert "does not go with --homography" in refused(run_here("match", *pair, *both, *words))


def test_the_demo_is_written_and_matched_by_sequence_and_number(tmp_path: Path):
    folder = tmp_path / "demo ü"
    done = run_here("demo", folder)
    assert done.returncode == 0, done.stderr
    sequences = [Path(line) for line in done.stdout.splitlines()]
    viewpoint = next(path for path in sequences if path.name.startswith("v_"))
    out = tmp_path / "m.csv"
    words = ["--long-edge", 320, "--count", 60, "--out", out, "--device", "cpu"]
    matched = run_here("match", viewpoint, "--pair", 2, *words)
    assert matched.returncode == 0, matched.stderr
    assert f"{viewpoint.name} 1 → 2" in matched.stdout
    errors = [float(row["error_px"]) for row in rows_of(out) if row["error_px"]]
    assert np.mean(np.array(errors) <= 10) > 0.5
    assert "has no pair 99" in refused(run_here("match", viewpoint, "--pair", 99, *words))


def test_daisy_finds_three_quarters_of_churchill_within_5_px(shared_data: Path, tmp_path: Path):
    out = tmp_path / "m.csv"
    sequence = shared_data / "sequences" / "v_churchill"
    if not sequence.is_dir():
        pytest.skip(f"{sequence} is not there")
    done = run_here("match", sequence, "--pair", 2, "--descriptor", "daisy", "--points", "harris",
               "--count", 500, "--out", out, "--figure", tmp_path / "f.png")  # fmt: skip
    assert done.returncode == 0, done.stderr
    errors = np.array([float(row["error_px"]) for row in rows_of(out) if row["error_px"]])
    assert len(errors) > 250  # a third of this view lies outside the other
    assert np.mean(errors <= 5) >= 0.75
