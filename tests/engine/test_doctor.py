"""The look at the computer: what it finds, and what it says of a broken one."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.metadata
import json
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.cli.commands.doctor import as_json
from engine.errors import JobCancelled
from engine.extras import EXTRAS, install_command
from engine.jobs import doctor, qt_platform
from engine.progress import CancelToken


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty_home")


@pytest.fixture(scope="module")
def found(empty_home: Path) -> doctor.Diagnosis:
    """One real look for all tests: it loads torch and Qt in processes of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DESCGUI_HOME", str(empty_home))
        return doctor.examine()


def test_versions_are_those_of_the_installed_packages(found: doctor.Diagnosis):
    assert found.project == engine.__version__
    for distribution in ("torch", "numpy", "opencv-python", "PySide6-Essentials"):
        assert found.packages[distribution] == importlib.metadata.version(distribution)
    assert found.qt == importlib.metadata.version("PySide6-Essentials")


def test_every_optional_package_is_listed_with_its_version_or_how_to_get_it(
    found: doctor.Diagnosis,
):
    lines = dict(
        line.split(maxsplit=1) for line in doctor.diagnosis_text(found).splitlines() if line
    )
    listed = {name for extra, names in EXTRAS.items() if extra != "cuda" for name in names}
    assert set(found.extras) == listed
    for name in listed:
        version = importlib.metadata.version(name) if found.extras[name] else "not installed; "
        assert lines[name].startswith(version)
    absent = dataclasses.replace(found, extras=dict.fromkeys(listed, ""))
    text = doctor.diagnosis_text(absent)
    for extra in ("timm", "transformers", "kornia", "onnx", "formats"):
        assert f"not installed; {install_command(extra)}\n" in text


def test_operators_that_this_program_declares_are_said_to_be_so(found: doctor.Diagnosis):
    extras = {**found.extras, "torchvision": "0.28.0"}
    for declared in (True, False):
        state = dataclasses.replace(found, extras=extras, operators_declared=declared)
        line = next(line for line in doctor.diagnosis_text(state).splitlines() if "0.28.0" in line)
        assert ("declared by this program" in line) is declared


def test_folders_are_looked_at_and_not_made(found: doctor.Diagnosis, empty_home: Path):
    by_purpose = {folder.purpose: folder for folder in found.folders}
    assert set(by_purpose) == {"settings", "cache", "logs", "data"}
    assert by_purpose["settings"].path == empty_home / "config"
    assert by_purpose["settings"].writable
    assert by_purpose["settings"].free_bytes > 0
    assert not (empty_home / "log").exists()


def test_the_report_for_programs_says_all_that_the_diagnosis_does(found: doctor.Diagnosis):
    report = json.loads(as_json(found))
    assert report["sound"] is found.sound
    assert report["packages"] == dict(found.packages)
    assert len(report["problems"]) == len(found.problems)
    assert [folder["path"] for folder in report["folders"]] == [str(f.path) for f in found.folders]


def test_the_report_for_a_person_gives_a_fix_for_every_problem(found: doctor.Diagnosis):
    text = doctor.diagnosis_text(found)
    assert engine.__version__ in text
    for problem in found.problems:
        assert f"{problem.level}: {problem.text}\n  fix: {problem.fix}" in text
    assert ("No problems found." in text) is (not found.problems)


def test_a_package_that_ends_its_process_is_reported_and_not_fatal(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(doctor._TRIAL, "torch", "import os; os._exit(134)")
    facts = doctor._try_import("torch", CancelToken())
    assert facts == {"error": "the process ended with code 134"}


def test_a_package_that_does_not_import_gives_its_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(doctor._TRIAL, "torch", "print('noise'); import no_such_module_here")
    assert "no_such_module_here" in doctor._try_import("torch", CancelToken())["error"]


def test_a_package_that_prints_on_import_is_understood(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(doctor._TRIAL, "torch", "print('hello', end=''); out['gpus'] = []")
    assert doctor._try_import("torch", CancelToken()) == {"gpus": []}


def test_a_broken_package_makes_the_diagnosis_unsound_and_names_the_fix():
    trials = {name: {} for name in doctor._NEEDED}
    versions = dict.fromkeys(doctor._NEEDED.values(), "1.0")
    assert not list(doctor._package_problems(trials, versions, {}))
    trials["torch"] = {"error": "libtorch.so: cannot open"}
    (broken,) = doctor._package_problems(trials, versions, {})
    assert (broken.level, "libtorch.so" in broken.text) == ("error", True)
    assert "--force-reinstall torch" in broken.fix
    (absent,) = doctor._package_problems(trials, {**versions, "torch": ""}, {})
    assert "is not installed" in absent.text


INSTALLED = dict.fromkeys(("torchvision", "timm", "transformers", "kornia", "onnxruntime"), "1.0")


def extras_problems(
    *, torchvision: str, torch: str, cuda_build: str = "", trials: dict[str, dict[str, Any]]
) -> list[doctor.Problem]:
    extras = {**INSTALLED, "torchvision": torchvision}
    sound = {name: {} for name in doctor._TRIED_EXTRAS if extras[name]}
    return list(doctor._extras_problems(sound | trials, extras, torch, cuda_build))


@pytest.mark.parametrize(
    ("torch", "torchvision"),
    [("2.6.0+cpu", "0.21.0"), ("2.9.1", "0.24.1"), ("2.13.0+cpu", "0.28.0"), ("2.13.0", "")],
)
def test_a_torchvision_that_fits_torch_is_no_problem(torch: str, torchvision: str):
    trials = {"torchvision": {"declared": False}} if torchvision else {}
    assert not extras_problems(torchvision=torchvision, torch=torch, trials=trials)


@pytest.mark.parametrize("declared", [True, False])
def test_a_torchvision_of_another_version_is_named_with_the_line_that_mends_it(declared: bool):
    (problem,) = extras_problems(
        torchvision="0.29.1", torch="2.13.0+cpu", trials={"torchvision": {"declared": declared}}
    )
    assert problem.level == "warning"
    assert "torchvision 0.29.1 does not fit torch 2.13.0+cpu" in problem.text
    assert ("enough for describing" in problem.text) is declared
    assert problem.fix.endswith('-m pip install "torchvision==0.28.*" torch==2.13.0')


@pytest.mark.parametrize(
    ("torch", "cuda_build", "index"),
    [("2.13.0+cpu", "", "cpu"), ("2.13.0", "13.0", "cu130"), ("2.13.0+cu126", "12.6", "cu126")],
)
def test_a_torchvision_of_another_build_is_mended_from_the_index_of_torchs_build(
    torch: str, cuda_build: str, index: str
):
    (problem,) = extras_problems(
        torchvision="0.28.0",
        torch=torch,
        cuda_build=cuda_build,
        trials={"torchvision": {"declared": True}},
    )
    assert "built for another build of torch" in problem.text
    assert "This program declares" in problem.text
    assert problem.fix.endswith(
        f"torchvision==0.28.0 --index-url https://download.pytorch.org/whl/{index}"
    )


def test_a_torchvision_that_does_not_load_all_the_same_is_not_said_to_be_enough():
    (problem,) = extras_problems(
        torchvision="0.29.1", torch="2.13.0", trials={"torchvision": {"error": "no C++"}}
    )
    assert "enough" not in problem.text
    (broken,) = extras_problems(
        torchvision="0.28.0", torch="2.13.0", trials={"torchvision": {"error": "no C++"}}
    )
    assert broken.text == "torchvision does not load: no C++"


def test_an_extra_that_does_not_load_is_a_warning_with_its_reason():
    (problem,) = extras_problems(
        torchvision="", torch="2.13.0", trials={"onnxruntime": {"error": "libX.so: cannot open"}}
    )
    assert (problem.level, problem.text) == (
        "warning",
        "onnxruntime does not load: libX.so: cannot open",
    )
    assert problem.fix.endswith("--force-reinstall --no-deps onnxruntime==1.0")


def test_another_wheel_of_the_same_package_counts_and_two_of_them_are_a_problem(
    monkeypatch: pytest.MonkeyPatch,
):
    present = {"onnxruntime-gpu": "1.9"}
    monkeypatch.setattr(doctor, "_version", lambda name: present.get(name, ""))
    assert doctor._other_wheel("onnxruntime") == "1.9 (onnxruntime-gpu)"
    assert doctor._other_wheel("kornia") == ""
    trials = {name: {} for name in doctor._NEEDED}
    versions = dict.fromkeys(doctor._NEEDED.values(), "1.0")
    assert not list(doctor._package_problems(trials, versions, {}))
    present["onnxruntime"] = "1.9"
    (problem,) = doctor._package_problems(trials, versions, {})
    assert "ONNX Runtime" in problem.text
    assert "uninstall -y onnxruntime onnxruntime-gpu" in problem.fix


def test_qt_that_fails_for_want_of_a_library_is_fixed_by_the_library():
    trials = {name: {} for name in doctor._NEEDED} | {"PySide6": {"error": "libEGL.so.1"}}
    versions = dict.fromkeys(doctor._NEEDED.values(), "1.0")
    (problem,) = doctor._package_problems(trials, versions, {"libEGL.so.1": "libegl1"})
    assert problem.fix == "sudo apt-get install -y libegl1"


def test_a_gpu_that_torch_cannot_use_is_told_apart_by_its_cause():
    (cpu_build,) = doctor._gpu_problems([], ["Tesla"], "", "12", "2024.1")
    assert "CPU build" in cpu_build.text
    (old_driver,) = doctor._gpu_problems([], ["Tesla"], "12.6", "12", "2024.1")
    assert "driver" in old_driver.fix
    gpu = doctor.GpuState("Tesla", 2**34, "8.0")
    assert not list(doctor._gpu_problems([gpu], ["Tesla"], "12.6", "12", "2024.1"))
    assert len(list(doctor._gpu_problems([gpu], ["Tesla"], "12.6", "", ""))) == 2
    assert not list(doctor._gpu_problems([], [], "", "", ""))


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.touch()
    state = doctor._folder_state("cache", blocked / "below")
    assert not state.writable
    (problem,) = doctor._folder_problems([state])
    assert (problem.level, str(blocked) in problem.text) == ("error", True)


def test_little_free_space_is_a_warning(tmp_path: Path):
    state = doctor.FolderState("cache", tmp_path, writable=True, free_bytes=3 * 2**20)
    (problem,) = doctor._folder_problems([state])
    assert (problem.level, "3 MiB" in problem.text) == ("warning", True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the wheels bring everything")
class TestQtPlatform:
    def test_libraries_that_are_there_are_not_missing(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(
            qt_platform, "_QT_LIBRARIES", {"libc.so.6": "libc6", "libnone.so.7": "libnone7"}
        )
        assert qt_platform.missing_libraries(xcb=False) == {"libnone.so.7": "libnone7"}

    def test_the_hint_names_each_package_once(self):
        hint = qt_platform.install_hint({"b.so": "libb", "a.so": "liba", "a2.so": "liba"})
        assert hint == "sudo apt-get install -y liba libb"

    def test_without_a_display_the_reason_is_given(self):
        assert "no display" in qt_platform.display_problem({})
        assert "no display" in qt_platform.display_problem({"QT_QPA_PLATFORM": "xcb"})

    @pytest.mark.parametrize("name", ["offscreen", "minimal", "offscreen:enable_fonts", "vnc"])
    def test_platforms_that_draw_nowhere_need_no_display(self, name: str):
        assert qt_platform.display_problem({"QT_QPA_PLATFORM": name}) == ""

    def test_a_wayland_session_counts_unless_x11_was_asked_for(self):
        wayland = {"WAYLAND_DISPLAY": "wayland-0"}
        assert qt_platform.display_problem(wayland) == ""
        assert qt_platform.display_problem({**wayland, "QT_QPA_PLATFORM": "xcb"}) != ""

    def test_a_display_that_does_not_answer_is_found_out(self):
        try:
            ctypes.CDLL("libxcb.so.1")
        except OSError:
            pytest.skip("libxcb is not installed")
        assert "':8765' does not answer" in qt_platform.display_problem({"DISPLAY": ":8765"})

    def test_a_missing_library_comes_before_a_missing_display(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(qt_platform, "_QT_LIBRARIES", {"libnone.so.7": "libnone7"})
        reason = qt_platform.window_problem({"QT_QPA_PLATFORM": "offscreen"})
        assert "libnone.so.7" in reason
        assert "apt-get install -y libnone7" in reason

    def test_libraries_of_x11_do_not_matter_off_screen(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(qt_platform, "_QT_LIBRARIES", {})
        monkeypatch.setattr(qt_platform, "_XCB_LIBRARIES", {"libnone.so.7": "libnone7"})
        assert qt_platform.window_problem({"QT_QPA_PLATFORM": "offscreen"}) == ""


def test_nvcc_is_found_by_cuda_home_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tool = tmp_path / "bin" / "nvcc"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 12.4, V12.4.131'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert doctor._nvcc_version() == f"12.4 ({tool})"


def test_an_examination_can_be_stopped_while_a_package_loads(monkeypatch: pytest.MonkeyPatch):
    for module in (*doctor._NEEDED, *doctor._TRIED_EXTRAS):
        monkeypatch.setitem(doctor._TRIAL, module, "import time; time.sleep(600)")
    cancel = CancelToken()
    timer = threading.Timer(0.3, cancel.cancel)
    timer.start()
    with pytest.raises(JobCancelled):
        doctor.examine(cancel)
    timer.join()
