#!/usr/bin/env python3
"""Check the CUDA kernels on a GPU: run tests, sanitizer and benchmark, and print a table.

It runs with any Python that has torch (2.11 or newer), CUDA and pytest, and needs no Qt and no
network.  It does not change that Python: wheels from the given folder are unpacked into a
temporary folder.  Where ``appdirs`` is missing, ``platformdirs`` replaces it; PyCUDA depends on
it, and it has the same functions.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TESTS = "tests/kernels"
# The project's own pytest settings name plug-ins that may be missing here, and other versions of
# other people's packages may announce what they will drop.
SETTINGS = """[pytest]
addopts = --import-mode=importlib --strict-markers -ra
markers = gpu: needs a CUDA device
filterwarnings =
    error
    ignore::DeprecationWarning
"""
SMALL = "(finds_what_torch_finds and not full_size) or nearest or no_sum"
EMULATED = ("emulation", "hard_negatives", "nearest_levels")
FIRST = "a GPU, PyCUDA, nvcc"
NEED_NO_GPU = {"compiles for every model", "tests without GPU"}
_FOUND_ERRORS = 9


def main() -> int:
    """Run all steps; return 0 if every step passed and none was skipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="PyCUDA and what it needs")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="of the benchmark")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = prepare(Path(folder), arguments.wheels)
        rows: list[tuple[str, str, float]] = []
        ready = True
        for name, command in steps(Path(folder), arguments.runs).items():
            if not ready and name not in NEED_NO_GPU:
                rows.append((name, *run("there is no GPU, or PyCUDA cannot use it", environment)))
                continue
            rows.append((name, *run(command, environment)))
            ready = ready and (name != FIRST or rows[-1][1] == "ok")
    width = max(len(name) for name, *_ in rows)
    print()
    for name, state, spent in rows:
        print(f"{name:<{width}}  {state:<8}  {spent:6.1f} s")
    return 0 if all(state == "ok" for _, state, _ in rows) else 1


def prepare(folder: Path, wheels: Path | None) -> dict[str, str]:
    """The environment of every step: the project, the wheels, and a separate home folder."""
    packages = folder / "packages"
    packages.mkdir()
    if wheels is not None:
        found = sorted(str(path) for path in wheels.glob("*.whl"))
        if not found:
            sys.exit(f"{wheels} contains no wheels.")
        install = ["-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target"]
        done = subprocess.run([sys.executable, *install, str(packages), *found], check=False)
        if done.returncode != 0:
            sys.exit(f"The wheels in {wheels} cannot be installed for {sys.executable}.")
    if importlib.util.find_spec("appdirs") is None:
        (packages / "appdirs.py").write_text("from platformdirs import *\n", encoding="utf-8")
    (folder / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
    known = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(REPOSITORY), str(packages), *([known] if known else [])])
    return {**os.environ, "PYTHONPATH": path, "DESCGUI_HOME": str(folder / "home")}


def steps(folder: Path, runs: int) -> dict[str, list[str] | str]:
    """Name -> command, or the reason why it cannot run."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    pytest += ["-c", str(folder / "pytest.ini"), f"--rootdir={REPOSITORY}"]
    pytest += [f"--confcutdir={REPOSITORY / TESTS}"]
    on_gpu = f"{TESTS}/test_on_gpu.py"
    sanitizer = shutil.which("compute-sanitizer")
    missing = "compute-sanitizer is not on PATH"

    def sanitized(*options: str) -> list[str] | str:
        if sanitizer is None:
            return missing
        end = ["--error-exitcode", str(_FOUND_ERRORS), "--target-processes", "all"]
        return [sanitizer, *options, *end, *pytest, on_gpu, "-k", SMALL]

    compiles = f"{TESTS}/test_compile.py::"
    compiles += "test_every_kernel_compiles_without_a_warning_and_without_any_macro"
    emulated = [f"{TESTS}/test_{name}.py" for name in EMULATED]
    return {
        FIRST: [sys.executable, "-c", PRESENT],
        "compiles for every model": [*pytest, compiles],
        "tests without GPU": [*pytest, *emulated, f"{TESTS}/test_runtime.py"],
        "tests on the GPU": [*pytest, on_gpu],
        "sanitizer, memory": sanitized("--tool", "memcheck"),
        # Only these kernels share memory among threads; the libraries' own are not ours to judge.
        "sanitizer, races": sanitized("--tool", "racecheck", "--kernel-name", "kns=find"),
        "benchmark": [sys.executable, "-m", "benchmarks", "--only", "mining", f"--runs={runs}"],
    }


PRESENT = """
import torch
from engine.kernels import compile, runtime
assert torch.cuda.is_available(), "torch can use no CUDA GPU"
runtime._driver().init()
print(torch.__version__, torch.cuda.get_device_name(0), compile.find_nvcc())
"""


def run(command: list[str] | str, environment: dict[str, str]) -> tuple[str, float]:
    """How a step ended and how many seconds it took."""
    if isinstance(command, str):
        print(f"left out: {command}", flush=True)
        return "left out", 0.0
    print(f"\n$ {' '.join(command[:12])}", flush=True)
    began = time.monotonic()
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False)
    return "ok" if done.returncode == 0 else "FAILED", time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
