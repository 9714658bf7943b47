"""A folder has one writer: a second one is refused and told who holds it; a killed one frees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import OutputError
from engine.writer_lock import sole_writer

HOLD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from engine.writer_lock import sole_writer\n"
    "with sole_writer(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_named_and_its_sudden_end_frees_the_folder(tmp_path: Path):
    process = hold(tmp_path / "run")
    try:
        with (
            pytest.raises(OutputError, match=f"run: is being written by process {process.pid};"),
            sole_writer(tmp_path / "run"),
        ):
            pytest.fail("two writers")
    finally:
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        process.communicate()
    with sole_writer(tmp_path / "run"):
        facts = json.loads((tmp_path / "run" / ".writer.json").read_text())
        assert facts["pid"] == os.getpid()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_second_writer_of_the_same_program_is_refused(tmp_path: Path):
    with (
        sole_writer(tmp_path),
        pytest.raises(OutputError, match="by this program already"),
        sole_writer(tmp_path),
    ):
        pytest.fail("two writers")
    with sole_writer(tmp_path):
        pass


def test_two_entries_of_a_folder_have_writers_of_their_own(tmp_path: Path):
    with sole_writer(tmp_path, "a"), sole_writer(tmp_path, "b"):
        pass


@pytest.mark.parametrize(
    "facts",
    [*("", "[", '{"pid": "x"}', "[1]", '{"pid": 1}', "{" * 10_000),
     '{"pid": Infinity, "host": "x"}'],
)  # fmt: skip
def test_an_unreadable_owner_is_not_needed(tmp_path: Path, facts: str):
    with sole_writer(tmp_path):
        (tmp_path / ".writer.json").write_text(facts)
        with (
            pytest.raises(OutputError, match="by another process; wait for it"),
            sole_writer(tmp_path),
        ):
            pytest.fail("two writers")


def test_a_writer_on_another_computer_is_named_with_it(tmp_path: Path):
    with sole_writer(tmp_path):
        (tmp_path / ".writer.json").write_text('{"pid": 7, "host": "else\\u001bwhere"}')
        with (
            pytest.raises(OutputError, match=r"process 7 on 'else\\x1bwhere'"),
            sole_writer(tmp_path),
        ):
            pytest.fail("two writers")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"), sole_writer(tmp_path):
        pytest.fail("not writable")
