"""Loading large libraries: what is linked beforehand, and when garbage is looked for."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine.loading
from engine.cli import run
from engine.loading import link_ahead, loading

REPOSITORY = Path(__file__).parents[2]
UNKNOWN = "a_library_that_nobody_has"


def run_python(code: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_no_garbage_is_looked_for_while_a_library_loads_nor_later_in_what_it_made():
    code = (
        "import gc\n"
        "from engine.loading import loading\n"
        "with loading('a_library'):\n"
        "    print(gc.isenabled())\n"
        "    made = [[] for _ in range(10)]\n"
        "looked_at = set(map(id, gc.get_objects()))\n"
        "print(gc.isenabled(), looked_at.isdisjoint(map(id, made)))\n"
    )
    assert run_python(code) == ["False", "True", "True"]


def test_a_library_that_is_loaded_changes_nothing():
    frozen, enabled = gc.get_freeze_count(), gc.isenabled()
    gc.enable()
    try:
        with loading("sys"):
            assert gc.isenabled()
        assert gc.isenabled()
    finally:
        (gc.enable if enabled else gc.disable)()
    assert gc.get_freeze_count() == frozen


def test_who_has_no_garbage_collected_gets_none_collected_afterwards():
    code = (
        "import gc\n"
        "from engine.loading import loading\n"
        "gc.disable()\n"
        "with loading('a_library'): pass\n"
        "print(gc.isenabled())\n"
    )
    assert run_python(code) == ["False"]


def test_a_library_that_does_not_load_leaves_the_collector_as_it_was():
    frozen, enabled = gc.get_freeze_count(), gc.isenabled()
    with pytest.raises(ImportError), loading(UNKNOWN):
        raise ImportError(UNKNOWN)
    assert (gc.get_freeze_count(), gc.isenabled()) == (frozen, enabled)


@pytest.mark.skipif(sys.platform != "linux", reason="only there")
def test_libraries_are_linked_without_being_imported():
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from engine.loading import link_in_background\n"
        "link_in_background().join()\n"
        "mapped = Path('/proc/self/maps').read_text()\n"
        "print(*(name in mapped for name in ('libtorch_cpu', 'libtorch_python', 'cv2.abi3')))\n"
        "print('torch' in sys.modules, 'cv2' in sys.modules)\n"
        "import torch, cv2\n"
        "print(torch.ones(3).sum().item())\n"
    )
    assert run_python(code) == [*3 * ["True"], *2 * ["False"], "3.0"]


def test_on_other_systems_nothing_is_linked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "ctypes", None)  # cannot be imported
    link_ahead()


def test_a_package_that_is_missing_is_passed_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine.loading, "_LIBRARIES", {UNKNOWN: ("lib.so",)})
    link_ahead()


def test_a_command_links_once_its_words_are_found_right(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
):
    linked: list[None] = []
    monkeypatch.setattr(run, "link_in_background", lambda: linked.append(None))

    def ends(*words: str) -> tuple[int, int]:
        """Exit code, and how often was linked."""
        linked.clear()
        code = run.main(words, open_window=lambda _options: 0)
        return code, len(linked)

    absent = [str(tmp_path / name) for name in ("a.png", "b.png")]
    assert ends("match", *absent, "--out", str(tmp_path / "m.csv")) == (1, 1)
    assert "a.png" in capfd.readouterr().err
    assert ends("match", *absent) == (1, 0)  # no --out
    assert ends("match", "--help") == (0, 0)
    assert ends("demo", "--help") == (0, 0)


@pytest.mark.parametrize(
    ("environment", "spins"),
    [
        ({}, engine.SPIN_COUNT),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
    ],
)
def test_threads_wait_as_the_user_says(environment: dict[str, str], spins: str):
    code = "import os, engine; print(os.environ.get('GOMP_SPINCOUNT'))"
    inherited = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} - set(environment)
    code = f"import os; [os.environ.pop(name, None) for name in {inherited}]; {code}"
    assert run_python(code, **environment) == [spins]
