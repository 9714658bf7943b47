"""Checks this computer: what is installed, what is missing, and how to fix it.

Packages are imported in processes of their own: a broken wheel may end the process that loads it,
and the engine itself never loads Qt.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import engine
from engine import paths
from engine.errors import KernelUnavailable
from engine.extras import EXTRAS, install_command
from engine.files import parse_json
from engine.jobs import qt_platform
from engine.kernels.compile import find_nvcc
from engine.progress import CancelToken

_NEEDED = {
    "torch": "torch",
    "PySide6": "PySide6-Essentials",
    "cv2": "opencv-python",
    "imagecodecs": "imagecodecs",
    "numpy": "numpy",
    "matplotlib": "matplotlib",
    "pyqtgraph": "pyqtgraph",
    "PIL": "pillow",
    "tifffile": "tifffile",
    "skimage": "scikit-image",
    "yaml": "PyYAML",
    "rich": "rich",
    "safetensors": "safetensors",
    "appdirs": "appdirs",
}
# Wheels that hold the same package, the one that this program asks for first.
_SAME_FOLDER = {
    "OpenCV": (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "ONNX Runtime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml"),
}
# Of the extras, those that are loaded on trial; the modules are called like the distributions.
# timm is Python on torchvision.
_TRIED_EXTRAS = ("torchvision", "transformers", "kornia", "onnxruntime")
_TRIAL = {
    "PySide6": "from PySide6 import QtCore, QtGui, QtWidgets; out['qt'] = QtCore.qVersion()",
    # Set first: pyqtgraph would otherwise look for any Qt binding.
    "pyqtgraph": "import os; os.environ['PYQTGRAPH_QT_LIB'] = 'PySide6'; import pyqtgraph",
    "torch": """import torch
out['cuda_build'] = torch.version.cuda or ''
out['threads'] = torch.get_num_threads()
out['gpus'] = [
    {'name': p.name, 'memory_bytes': p.total_memory, 'capability': f'{p.major}.{p.minor}'}
    for p in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))]""",
    "skimage": "import skimage.data",
    "PIL": "import PIL.Image",
    "torchvision": f"""import sys
sys.path.insert(0, {str(Path(engine.__file__).parent.parent)!r})
from engine.descriptors.families.torchvision_operators import ensure_torchvision
out['declared'] = ensure_torchvision()
import torchvision""",
}
_PIP = f"{sys.executable} -m pip"
_TRIAL_TIMEOUT_S, _LOOK_EVERY_S = 120.0, 0.1
_OLDEST_CAPABILITY = (7, 5)  # as in engine.kernels.runtime, which would load torch
_TENSOR_CORES = (8, 0)  # as in engine.kernels.ops
_LITTLE_SPACE_BYTES = 500 * 2**20


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, in one sentence, and how to fix it.

    Attributes:
        level: ``error`` when a part of the program cannot work, ``warning`` otherwise.
        text: what is wrong.
        fix: what to do.
    """

    level: Literal["error", "warning"]
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class FolderState:
    """One of the user's folders."""

    purpose: str
    path: Path
    writable: bool
    free_bytes: int


@dataclass(frozen=True, slots=True)
class GpuState:
    """A GPU that torch can use."""

    name: str
    memory_bytes: int
    capability: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that was found; plain data, for the terminal, for JSON and for the window.

    Attributes:
        project, python, system: versions of the program, of Python, of the operating system.
        packages: distribution -> version, "" when it is not installed.
        extras: the same of the optional packages, but for PyCUDA.
        operators_declared: torchvision's compiled operators do not load, and this program declares
            those that its import needs; they cannot be called.
        qt: version of the Qt libraries, "" when they do not load.
        gpus: the GPUs that torch can use.
        cuda_build: CUDA version torch was built for, "" for a CPU build.
        driver_gpus: the GPUs that NVIDIA's driver lists, whatever torch can do.
        nvcc: version of the CUDA compiler, "" when there is none.
        pycuda: version, "" when it is not installed.
        display: the display in words.
        missing_libraries: system library -> Debian package.
        folders: the user's folders.
        problems: worst first.
    """

    project: str
    python: str
    system: str
    packages: Mapping[str, str]
    extras: Mapping[str, str]
    operators_declared: bool
    qt: str
    gpus: tuple[GpuState, ...]
    cuda_build: str
    driver_gpus: tuple[str, ...]
    nvcc: str
    pycuda: str
    display: str
    missing_libraries: Mapping[str, str]
    folders: tuple[FolderState, ...]
    problems: tuple[Problem, ...]

    @property
    def sound(self) -> bool:
        """True if all that is needed works."""
        return all(problem.level != "error" for problem in self.problems)

    @property
    def kernels(self) -> str:
        """Whether the project's own CUDA kernels are used, and if not, why."""
        if not self.gpus:
            return "not used: torch can use no CUDA GPU"
        if not self.pycuda:
            return "not used: PyCUDA is not installed"
        if not self.nvcc:
            return "not used: there is no nvcc"
        if all(_capability(gpu) < _OLDEST_CAPABILITY for gpu in self.gpus):
            return "not used: they need compute capability 7.5"
        tensor_cores = [_capability(gpu) >= _TENSOR_CORES for gpu in self.gpus]
        way = "with tensor cores" if any(tensor_cores) else "with multiply-adds"
        return f"used, {way}; the log confirms it, or says why not, when the first one runs"


def examine(cancel: CancelToken | None = None) -> Diagnosis:
    """Check everything; takes a few seconds, since torch and Qt are loaded on trial.

    Raises:
        JobCancelled: ``cancel`` was raised.
    """
    extras = {
        name: _version(name) or _other_wheel(name) for names in EXTRAS.values() for name in names
    }
    pycuda = extras.pop("pycuda")
    names = (*_NEEDED, *(name for name in _TRIED_EXTRAS if extras[name]))
    token = cancel or CancelToken()
    with ThreadPoolExecutor(max_workers=4) as pool:
        tried = pool.map(lambda name: _try_import(name, token), names)
        trials = dict(zip(names, tried, strict=True))
    packages = {distribution: _version(distribution) for distribution in _NEEDED.values()}
    torch_facts, qt_facts = trials["torch"], trials["PySide6"]
    xcb = qt_platform.platform_name() in ("", "xcb")
    missing = qt_platform.missing_libraries(xcb=xcb)
    driver_gpus = _driver_gpus()
    nvcc = _nvcc_version()
    cuda_build = torch_facts.get("cuda_build", "")
    operators_declared = trials.get("torchvision", {}).get("declared", False)
    folders = tuple(
        _folder_state(purpose, path)
        for purpose, path in (
            ("settings", paths.config_dir()),
            ("cache", paths.cache_dir()),
            ("logs", paths.log_dir()),
            ("data", paths.user_data_dir()),
        )
    )
    gpus = tuple(GpuState(**gpu) for gpu in torch_facts.get("gpus", ()))
    problems = [
        *_package_problems(trials, packages, missing),
        *_extras_problems(trials, extras, packages["torch"], cuda_build),
        *_display_problems(missing),
        *_gpu_problems(gpus, driver_gpus, cuda_build, nvcc, pycuda),
        *_folder_problems(folders),
    ]
    return Diagnosis(
        project=engine.__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        system=_system(),
        packages=packages,
        extras=extras,
        operators_declared=operators_declared,
        qt=qt_facts.get("qt", ""),
        gpus=gpus,
        cuda_build=cuda_build,
        driver_gpus=driver_gpus,
        nvcc=nvcc,
        pycuda=pycuda,
        display=_display(),
        missing_libraries=missing,
        folders=folders,
        problems=tuple(sorted(problems, key=lambda problem: problem.level != "error")),
    )


def _try_import(module: str, cancel: CancelToken) -> dict[str, Any]:
    """Import a package in a new process: facts about it, or ``{"error": reason}``."""
    trial = _TRIAL.get(module, f"import {module}")
    code = f"import json\nout = {{}}\n{trial}\n"
    # Marked, since a package may print something itself.
    code += "print('\\nFACTS ' + json.dumps(out))"
    try:
        output, errors, exit_code = _run(code, cancel)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    facts = re.search(r"^FACTS (.*)$", output, re.MULTILINE)
    if facts is not None:
        found: dict[str, Any] = parse_json(facts[1])
        return found
    lines = errors.strip().splitlines()
    return {"error": lines[-1] if lines else f"the process ended with code {exit_code}"}


def _run(code: str, cancel: CancelToken) -> tuple[str, str, int]:
    """Run code in a process of its own: its output, its errors and its exit code."""
    give_up_s = time.monotonic() + _TRIAL_TIMEOUT_S
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                cancel.check()
                try:
                    output, errors = process.communicate(timeout=_LOOK_EVERY_S)
                    return output, errors, process.returncode
                except subprocess.TimeoutExpired:
                    if time.monotonic() > give_up_s:
                        raise
        except BaseException:
            process.kill()
            raise


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _other_wheel(distribution: str) -> str:
    """Version and name of another wheel that holds the same package, "" when there is none."""
    for wheels in _SAME_FOLDER.values():
        for name in wheels if distribution in wheels else ():
            if version := _version(name):
                return f"{version} ({name})"
    return ""


def _package_problems(
    trials: Mapping[str, Mapping[str, Any]],
    packages: Mapping[str, str],
    missing: Mapping[str, str],
) -> Iterator[Problem]:
    for module, distribution in _NEEDED.items():
        reason = trials[module].get("error")
        if reason is None:
            continue
        if missing and module in ("PySide6", "pyqtgraph", "cv2"):
            fix = qt_platform.install_hint(missing)
        else:
            again = "--force-reinstall " if packages[distribution] else ""
            fix = f"{_PIP} install {again}{distribution}"
        what = "does not load" if packages[distribution] else "is not installed"
        yield Problem("error", f"{distribution} {what}: {reason}", fix)
    for package, wheels in _SAME_FOLDER.items():
        both = [name for name in wheels if _version(name)]
        if len(both) > 1:
            yield Problem(
                "warning",
                f"Several {package} wheels share one folder and break each other: "
                f"{', '.join(both)}.",
                f"{_PIP} uninstall -y {' '.join(both)}, then install {wheels[0]} alone",
            )
    qt = packages["PySide6-Essentials"]
    if qt in ("6.11.0", "6.11.1", "6.12.0"):
        yield Problem(
            "error",
            f"PySide6 {qt} has faults that crash this program.",
            f"{_PIP} install 'PySide6-Essentials>=6.9,<6.11'",
        )


def _extras_problems(
    trials: Mapping[str, Mapping[str, Any]],
    extras: Mapping[str, str],
    torch: str,
    cuda_build: str,
) -> Iterator[Problem]:
    fits = _torchvision_problem(trials, extras["torchvision"], torch, cuda_build)
    if fits is not None:
        yield fits
    for name in _TRIED_EXTRAS:
        reason = trials.get(name, {}).get("error")
        if reason is None or (fits is not None and name == "torchvision"):
            continue
        yield Problem(
            "warning",
            f"{name} does not load: {reason}",
            f"{_PIP} install --force-reinstall --no-deps {name}=={extras[name].split()[0]}",
        )


def _torchvision_problem(
    trials: Mapping[str, Mapping[str, Any]], torchvision: str, torch: str, cuda_build: str
) -> Problem | None:
    """Whether torchvision was built for this version and this build of torch."""
    if not (torchvision and torch):
        return None
    number, _, build = torch.partition("+")
    series = re.match(r"2\.(\d+)\.", number)
    facts = trials["torchvision"]
    consequence = (
        " This program declares the operators that it lacks, which is enough for describing."
        if facts.get("declared") and "error" not in facts
        else ""
    )
    # torchvision 0.N+15 belongs to torch 2.N.
    if series is not None and not torchvision.startswith(f"0.{int(series[1]) + 15}."):
        right = f"0.{int(series[1]) + 15}"
        return Problem(
            "warning",
            f"torchvision {torchvision} does not fit torch {torch}, which torchvision {right} "
            f"belongs to.{consequence}",
            f'{_PIP} install "torchvision=={right}.*" torch=={number}',
        )
    if not facts.get("declared"):
        return None
    index = build or (f"cu{cuda_build.replace('.', '')}" if cuda_build else "cpu")
    return Problem(
        "warning",
        f"torchvision {torchvision} was built for another build of torch than {torch}, so its "
        f"compiled operators do not load.{consequence}",
        f"{_PIP} install --force-reinstall --no-deps torchvision=={torchvision.partition('+')[0]} "
        f"--index-url https://download.pytorch.org/whl/{index}",
    )


def _display_problems(missing: Mapping[str, str]) -> Iterator[Problem]:
    if missing:
        yield Problem(
            "error",
            f"The window needs system libraries that are missing: {', '.join(missing)}.",
            qt_platform.install_hint(missing),
        )
    reason = qt_platform.display_problem()
    if reason:
        yield Problem(
            "warning",
            f"No window can be shown: {reason}.",
            "work at a desktop or through 'ssh -X'; 'match', 'describe', 'demo' and "
            "'view … --screenshot FILE' need no display",
        )


def _gpu_problems(
    gpus: Sequence[GpuState],
    driver_gpus: Sequence[str],
    cuda_build: str,
    nvcc: str,
    pycuda: str,
) -> Iterator[Problem]:
    if driver_gpus and not gpus and cuda_build:
        yield Problem(
            "warning",
            f"There is a GPU ({driver_gpus[0]}), but this torch, built for CUDA {cuda_build}, "
            "cannot use it.",
            "update NVIDIA's driver",
        )
    elif driver_gpus and not gpus:
        yield Problem(
            "warning",
            f"There is a GPU ({driver_gpus[0]}), but this torch is a CPU build.",
            "install a CUDA build of torch, by the command that pytorch.org/get-started shows",
        )
    if gpus and not pycuda:
        yield Problem(
            "warning",
            "PyCUDA is not installed, so the project's own CUDA kernels are not used.",
            f"{_PIP} install pycuda",
        )
    if gpus and not nvcc:
        yield Problem(
            "warning",
            "There is no nvcc, so the project's own CUDA kernels cannot be compiled.",
            "install the CUDA toolkit and put its bin folder on PATH",
        )


def _folder_state(purpose: str, path: Path) -> FolderState:
    """Checks the nearest existing parent, so that checking leaves nothing behind."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            writable = True
    except OSError:
        writable = False
    return FolderState(purpose, path, writable, shutil.disk_usage(there).free)


def _folder_problems(folders: Sequence[FolderState]) -> Iterator[Problem]:
    for folder in folders:
        if not folder.writable:
            yield Problem(
                "error",
                f"The folder for {folder.purpose} cannot be written: {folder.path}.",
                "give yourself the right to write there, or choose another place by setting "
                "DESCGUI_HOME",
            )
        elif folder.free_bytes < _LITTLE_SPACE_BYTES:
            yield Problem(
                "warning",
                f"Only {folder.free_bytes / 2**20:.0f} MiB are free for {folder.purpose} in "
                f"{folder.path}.",
                "free some space, or choose another place by setting DESCGUI_HOME",
            )


def _nvcc_version() -> str:
    try:
        nvcc = find_nvcc()
    except KernelUnavailable:
        return ""
    match = re.search(r"release ([\d.]+)", _output_of([nvcc, "--version"]))
    return f"{match[1] if match else 'unknown version'} ({nvcc})"


def _driver_gpus() -> tuple[str, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    text = _output_of([tool, "--query-gpu=name", "--format=csv,noheader"])
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _output_of(command: list[str]) -> str:
    """What a tool prints; "" when it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _system() -> str:
    name = f"{platform.system()} {platform.release()}"
    if platform.system() == "Linux":
        with contextlib.suppress(OSError):
            name = platform.freedesktop_os_release().get("PRETTY_NAME", name)
    return f"{name}, {platform.machine()}"


def _display() -> str:
    problem = qt_platform.display_problem()
    if problem:
        return f"none: {problem}"
    chosen = qt_platform.platform_name()
    if chosen:
        return f"QT_QPA_PLATFORM={chosen}"
    for variable in ("WAYLAND_DISPLAY", "DISPLAY"):
        if os.environ.get(variable):
            return f"{variable}={os.environ[variable]}"
    return "the desktop"


def diagnosis_text(found: Diagnosis) -> str:
    """The report as text for a terminal."""
    rows = [
        ("Descriptor Space", found.project),
        ("system", found.system),
        ("Python", found.python),
        *((name, version or "not installed") for name, version in found.packages.items()),
        *_extras_rows(found),
        ("Qt", found.qt or "does not load"),
        ("GPU", _gpus_text(found)),
        ("torch built for", f"CUDA {found.cuda_build}" if found.cuda_build else "CPU"),
        ("nvcc", found.nvcc or "not found (needed only for own CUDA kernels)"),
        ("PyCUDA", found.pycuda or "not installed (needed only for own CUDA kernels)"),
        ("own CUDA kernels", found.kernels),
        ("display", found.display),
        *((f"folder for {f.purpose}", _folder_text(f)) for f in found.folders),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    lines.append("")
    if not found.problems:
        lines.append("No problems found.")
    for problem in found.problems:
        lines += [f"{problem.level}: {problem.text}", f"  fix: {problem.fix}"]
    return "\n".join(lines)


def _extras_rows(found: Diagnosis) -> Iterator[tuple[str, str]]:
    """A row for each optional package, under its first extra."""
    waiting = dict(found.extras)
    for extra, names in EXTRAS.items():
        for name in names:
            version = waiting.pop(name, None)
            if version is None:
                continue
            text = version or f"not installed; {install_command(extra)}"
            if name == "torchvision" and found.operators_declared:
                text += " (compiled operators missing; declared by this program)"
            yield name, text


def _gpus_text(found: Diagnosis) -> str:
    if found.gpus:
        return ", ".join(
            f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB, compute capability {gpu.capability})"
            for gpu in found.gpus
        )
    return ", ".join(found.driver_gpus) + " (not usable by torch)" if found.driver_gpus else "none"


def _capability(gpu: GpuState) -> tuple[int, ...]:
    return tuple(int(part) for part in gpu.capability.split("."))


def _folder_text(folder: FolderState) -> str:
    state = "writable" if folder.writable else "NOT writable"
    return f"{folder.path} ({state}, {folder.free_bytes / 2**30:.1f} GiB free)"
