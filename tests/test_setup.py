"""The set-up script installs once, notices changes, and distrusts what was cut off."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PYPROJECT = """
[project]
dependencies = ["numpy>=2"]
[project.optional-dependencies]
dev = ["pytest>=8"]
cuda = ["pycuda"]
"""


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    """The script as a module; it lives in a folder that cannot be imported by name."""
    spec = importlib.util.spec_from_file_location("setup_script", REPOSITORY / ".ci" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("numpy==2.4.6\n", encoding="utf-8")
    (tmp_path / ".venv").mkdir()
    return tmp_path


class FakePip:
    """Records what it should install and returns the given status."""

    def __init__(self, ends: int | BaseException = 0) -> None:
        self.ends = ends
        self.calls: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> int:
        self.calls.append(list(arguments))
        if isinstance(self.ends, BaseException):
            raise self.ends
        return self.ends


def test_the_first_call_installs_and_the_second_does_nothing(setup: ModuleType, checkout: Path):
    pip = FakePip()
    assert setup.install(checkout, checkout / ".venv", pip) is True
    assert setup.install(checkout, checkout / ".venv", pip) is False
    assert pip.calls == [
        ["--constraint", str(checkout / "constraints.txt"), "numpy>=2", "pytest>=8"]
    ]
    assert not (checkout / ".venv" / "unfinished").exists()


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_file_is_noticed(setup: ModuleType, checkout: Path, name: str):
    pip = FakePip()
    setup.install(checkout, checkout / ".venv", pip)
    with (checkout / name).open("a", encoding="utf-8") as file:
        file.write("# newer\n")
    assert setup.install(checkout, checkout / ".venv", pip) is True
    assert len(pip.calls) == 2


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), -9], ids=["Ctrl-C", "killed"])
def test_a_cut_off_install_leaves_its_mark_and_no_stamp(
    setup: ModuleType, checkout: Path, ends: int | BaseException
):
    venv = checkout / ".venv"
    with pytest.raises((KeyboardInterrupt, setup.SetupError)):
        setup.install(checkout, venv, FakePip(ends))
    assert (venv / "unfinished").exists()
    assert not (venv / "stamp").exists()


def test_a_failure_keeps_the_environment_but_is_tried_again(setup: ModuleType, checkout: Path):
    venv = checkout / ".venv"
    setup.install(checkout, venv, FakePip())
    (checkout / "constraints.txt").write_text("numpy==99\n", encoding="utf-8")
    with pytest.raises(setup.SetupError, match="could not be installed"):
        setup.install(checkout, venv, FakePip(1))
    assert not (venv / "unfinished").exists()
    assert setup.install(checkout, venv, FakePip()) is True


def test_a_failure_that_leaves_half_a_package_is_not_trusted(setup: ModuleType, checkout: Path):
    venv = checkout / ".venv"
    half = venv / "lib" / "python3.11" / "site-packages" / "numpy-2.4.6.dist-info"
    half.mkdir(parents=True)
    (half / "METADATA").touch()
    with pytest.raises(setup.SetupError):
        setup.install(checkout, venv, FakePip(1))
    assert (venv / "unfinished").exists()


CURSOR = {"libxcb-cursor.so.0": "libxcb-cursor0"}
EGL = {"libEGL.so.1": "libegl1"}


def lack(
    setup: ModuleType, patch: pytest.MonkeyPatch, *, always: dict[str, str], on_x: dict[str, str]
) -> None:
    """Let the system lack these libraries until the dictionaries are emptied."""

    def missing_libraries(*, xcb: bool = True) -> dict[str, str]:
        return {**always, **(on_x if xcb else {})}

    patch.setattr(setup, "has_font", lambda _: True)
    patch.setattr(setup.qt_platform, "missing_libraries", missing_libraries)


def test_missing_libraries_are_named_with_the_command_that_installs_all(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    lack(setup, monkeypatch, always=EGL, on_x=CURSOR)
    with pytest.raises(setup.SetupError) as caught:
        setup.check_system(may_install=False)
    assert str(caught.value).startswith("The system lacks libEGL.so.1; ")
    assert str(caught.value).endswith("sudo apt-get install -y libegl1 libxcb-cursor0")


def test_what_only_a_window_needs_does_not_stop_the_checks(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    lack(setup, monkeypatch, always={}, on_x=CURSOR)
    setup.check_system(may_install=False)
    assert "sudo apt-get install -y libxcb-cursor0" in capsys.readouterr().err


def test_what_is_missing_is_installed_where_that_is_allowed(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    always, on_x, installed = dict(EGL), dict(CURSOR), []

    def apt_install(packages: Iterable[str]) -> None:
        installed.extend(packages)
        always.clear()
        on_x.clear()

    lack(setup, monkeypatch, always=always, on_x=on_x)
    monkeypatch.setattr(setup, "apt_install", apt_install)
    setup.check_system(may_install=True)
    assert installed == ["libegl1", "libxcb-cursor0"]


def test_a_font_is_found_in_any_sub_folder(setup: ModuleType, tmp_path: Path):
    assert not setup.has_font([tmp_path, tmp_path / "missing"])
    (tmp_path / "truetype" / "dejavu").mkdir(parents=True)
    (tmp_path / "truetype" / "dejavu" / "DejaVuSans.TTF").touch()
    assert setup.has_font([tmp_path])


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell script")
def test_a_python_that_is_too_old_is_refused_in_a_sentence(tmp_path: Path):
    """The script is copied, to keep it away from this checkout's .venv."""
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci" / "setup.sh"
    script.write_bytes((REPOSITORY / ".ci" / "setup.sh").read_bytes())
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    result = subprocess.run(
        ["sh", str(script)],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Descriptor Space needs Python 3.11 or newer")
    assert not (tmp_path / ".venv").exists()
