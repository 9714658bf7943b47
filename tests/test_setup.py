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
name = "some-project"
dependencies = ["numpy>=2"]
[project.optional-dependencies]
dev = ["some-project[cuda,onnx]", "pytest>=8"]
cuda = ["pycuda"]
onnx = ["onnxruntime>=1", "numpy>=2"]
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
    assert setup.install(checkout, checkout / ".venv", pip, extras=[]) is True
    assert setup.install(checkout, checkout / ".venv", pip, extras=[]) is False
    assert pip.calls == [["--constraint", str(checkout / "constraints.txt"), "numpy>=2"]]
    assert not (checkout / ".venv" / "unfinished").exists()


def test_an_extra_is_installed_with_the_extras_that_it_names(setup: ModuleType, checkout: Path):
    pip = FakePip()
    setup.install(checkout, checkout / ".venv", pip, extras=["dev"])
    assert [call[2:] for call in pip.calls] == [
        ["numpy>=2", "pycuda", "onnxruntime>=1", "pytest>=8"]
    ]


def test_extras_add_up_and_stay_up_to_date(setup: ModuleType, checkout: Path):
    venv, pip = checkout / ".venv", FakePip()
    asked: list[list[str]] = [[], ["onnx"], ["cuda"], ["onnx"], []]
    ran = [setup.install(checkout, venv, pip, extras=extras) for extras in asked]
    assert ran == [True, True, True, False, False]
    assert pip.calls[-1][2:] == ["numpy>=2", "pycuda", "onnxruntime>=1"]
    (checkout / "constraints.txt").write_text("numpy==3\n", encoding="utf-8")
    assert setup.install(checkout, venv, pip, extras=[]) is True
    assert pip.calls[-1][2:] == ["numpy>=2", "pycuda", "onnxruntime>=1"]


def test_an_extra_that_could_not_be_installed_is_not_tried_unasked(
    setup: ModuleType, checkout: Path
):
    venv = checkout / ".venv"
    setup.install(checkout, venv, FakePip(), extras=["onnx"])
    with pytest.raises(setup.SetupError, match="could not be installed"):
        setup.install(checkout, venv, FakePip(1), extras=["cuda"])
    pip = FakePip()
    assert setup.install(checkout, venv, pip, extras=[]) is True
    assert pip.calls[-1][2:] == ["numpy>=2", "onnxruntime>=1"]


def test_an_extra_that_the_project_dropped_is_forgotten(setup: ModuleType, checkout: Path):
    venv, pip = checkout / ".venv", FakePip()
    setup.install(checkout, venv, FakePip(), extras=["cuda", "onnx"])
    project = PYPROJECT.replace('cuda = ["pycuda"]\n', "").replace("cuda,", "")
    (checkout / "pyproject.toml").write_text(project, encoding="utf-8")
    assert setup.install(checkout, venv, pip, extras=[]) is True
    assert pip.calls[-1][2:] == ["numpy>=2", "onnxruntime>=1"]


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("onx", "There is no extra 'onx' (did you mean 'onnx'?): choose from cuda, dev, onnx."),
        ("keras", "There is no extra 'keras': choose from cuda, dev, onnx."),
    ],
)
def test_an_unknown_extra_is_refused_in_one_sentence_with_the_known_ones(
    setup: ModuleType, checkout: Path, extra: str, sentence: str
):
    venv, pip = checkout / ".venv", FakePip()
    setup.install(checkout, venv, pip, extras=["cuda"])
    with pytest.raises(setup.SetupError) as caught:
        setup.install(checkout, venv, pip, extras=["cuda", extra])
    assert str(caught.value) == sentence
    assert setup.install(checkout, venv, pip, extras=[]) is False


@pytest.mark.parametrize("text", ["timm,onnx", "timm onnx", " timm, onnx,"])
def test_extras_are_separated_by_commas_or_spaces(setup: ModuleType, text: str):
    assert setup.names_in(text) == ["timm", "onnx"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_file_is_noticed(setup: ModuleType, checkout: Path, name: str):
    pip = FakePip()
    setup.install(checkout, checkout / ".venv", pip, extras=[])
    with (checkout / name).open("a", encoding="utf-8") as file:
        file.write("# newer\n")
    assert setup.install(checkout, checkout / ".venv", pip, extras=[]) is True
    assert len(pip.calls) == 2


@pytest.mark.parametrize("ends", [KeyboardInterrupt(), -9], ids=["Ctrl-C", "killed"])
def test_a_cut_off_install_leaves_its_mark_and_no_stamp(
    setup: ModuleType, checkout: Path, ends: int | BaseException
):
    venv = checkout / ".venv"
    with pytest.raises((KeyboardInterrupt, setup.SetupError)):
        setup.install(checkout, venv, FakePip(ends), extras=[])
    assert (venv / "unfinished").exists()
    assert not (venv / "stamp").exists()


def test_a_failure_keeps_the_environment_but_is_tried_again(setup: ModuleType, checkout: Path):
    venv = checkout / ".venv"
    setup.install(checkout, venv, FakePip(), extras=[])
    (checkout / "constraints.txt").write_text("numpy==99\n", encoding="utf-8")
    with pytest.raises(setup.SetupError, match="could not be installed"):
        setup.install(checkout, venv, FakePip(1), extras=[])
    assert not (venv / "unfinished").exists()
    assert setup.install(checkout, venv, FakePip(), extras=[]) is True


def test_a_failure_that_leaves_half_a_package_is_not_trusted(setup: ModuleType, checkout: Path):
    venv = checkout / ".venv"
    half = venv / "lib" / "python3.11" / "site-packages" / "numpy-2.4.6.dist-info"
    half.mkdir(parents=True)
    (half / "METADATA").touch()
    with pytest.raises(setup.SetupError):
        setup.install(checkout, venv, FakePip(1), extras=[])
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


def copied_script(folder: Path) -> Path:
    """The shell script, away from this checkout's .venv."""
    (folder / ".ci").mkdir()
    script = folder / ".ci" / "setup.sh"
    script.write_bytes((REPOSITORY / ".ci" / "setup.sh").read_bytes())
    return script


def run_script(script: Path, *arguments: str, python: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(script), *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell script")
def test_an_environment_that_is_made_anew_gets_its_extras_again(tmp_path: Path):
    """A program that says what it was asked stands in for the Python of the new environment."""
    script = copied_script(tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "unfinished").touch()
    (tmp_path / ".venv" / "extras").write_text("onnx\ntimm\n", encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'if [ "$1 $2" = "-m venv" ]; then mkdir -p .venv/bin; cp "$0" .venv/bin/python; exit; fi\n'
        '[ "$1" = -c ] || { echo "$@"; cat .venv/extras; }\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    result = run_script(script, "--extras", "kornia", python=python)
    assert result.stdout.split() == [".ci/setup.py", "--extras", "kornia", "onnx", "timm"]


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell script")
def test_a_python_that_is_too_old_is_refused_in_a_sentence(tmp_path: Path):
    script = copied_script(tmp_path)
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    result = run_script(script, python=old)
    assert result.returncode == 1
    assert result.stderr.startswith("Descriptor Space needs Python 3.11 or newer")
    assert not (tmp_path / ".venv").exists()
