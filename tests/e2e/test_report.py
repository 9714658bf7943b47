"""From an evaluation to its report and its PDF, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.e2e.in_process import run_here

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs ``a`` (closed) and ``b`` (seed) on one small sequence."""
    folder = tmp_path_factory.mktemp("abend")
    sequence = folder / "data" / "v_tür"
    sequence.mkdir(parents=True)
    noise = np.random.default_rng(2).uniform(0, 255, (120, 168, 3)).astype(np.float32)
    plane = np.clip((cv2.GaussianBlur(noise, (0, 0), 2) - 127) * 6 + 127, 0, 255).astype(np.uint8)
    for name, left in (("1.png", 8), ("2.png", 0)):
        done, data = cv2.imencode(".png", plane[:, left : left + 160])
        assert done
        (sequence / name).write_bytes(data.tobytes())
    (sequence / "H_1_2").write_text("1 0 8\n0 1 0\n0 0 1\n")
    for name, protocol in (("a", "closed"), ("b", "seed")):
        done = run_here(
            "evaluate", "--dataset", "data", "--descriptor", "daisy", "--protocol", protocol,
            "--long-edge", 160, "--query-limit", 60, "--device", "cpu", "--out", name,
            folder=folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return folder


def test_a_report_and_its_pdf_come_from_one_command(evaluated: Path):
    done = run_here("report", "a", "--pdf", folder=evaluated)
    assert done.returncode == 0, done.stderr
    page = (evaluated / "a" / "report.html").read_text(encoding="utf-8")
    values = json.loads((evaluated / "a" / "result.json").read_text(encoding="utf-8"))
    for row in values["summary"]:
        if row["pck"] is not None:
            assert f">{row['pck']:.3f}<" in page
    assert page.count("data:image/jpeg") == 2
    assert "python main.py report a --pdf" in page.replace("<span>", "").replace("</span>", "")
    pdf = (evaluated / "a" / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"/Subtype /Image" in pdf
    assert "report.html" in done.stdout
    assert "report.pdf" in done.stdout


def test_several_runs_need_a_folder_and_get_one_report_with_a_warning(evaluated: Path):
    done = run_here("report", "a", "b", folder=evaluated)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--out" in done.stderr or "out:" in done.stderr
    done = run_here("report", "a", "b", "--out", "both", "--no-pictures", folder=evaluated)
    assert done.returncode == 0, done.stderr
    assert "warning: a and b are not comparable: they differ in protocol" in done.stderr
    page = (evaluated / "both" / "report.html").read_text(encoding="utf-8")
    assert "differ in protocol (closed and seed)" in page
    assert "data:image" not in page
    assert not (evaluated / "both" / "report.pdf").exists()


def test_a_folder_without_a_result_is_refused_in_a_sentence(evaluated: Path):
    done = run_here("report", "data", folder=evaluated)
    assert (done.returncode, done.stdout) == (1, "")
    assert "result.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (evaluated / "data" / "report.html").exists()


def test_the_process_that_makes_a_pdf_report_never_loads_qt(evaluated: Path):
    """Qt runs in the process below; the engine's own stays as it was."""
    code = (
        "import sys; sys.argv = ['main.py']; from descgui.__main__ import main; "
        f"code = main(['report', {str(evaluated / 'a')!r}, '--pdf', '--no-pictures']);"
        "print(*[name for name in sys.modules if 'PySide6' in name]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
