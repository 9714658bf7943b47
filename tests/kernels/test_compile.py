"""Compiling and keeping kernels; nvcc is needed, a GPU is not."""

from __future__ import annotations

import logging
import stat
import types
from pathlib import Path

import pytest

from engine.errors import KernelUnavailable
from engine.kernels import compile as kernels
from engine.paths import cache_dir, data_dir

# One of each kind that the sources tell apart, without and with asynchronous copies, and
# the newest; `make gpu-check` compiles for the GPU at hand.
ARCHITECTURES = ("sm_75", "sm_80", "sm_90")
SOURCES = sorted(data_dir("cuda").glob("*.cu"))
SMALL = 'extern "C" __global__ void fill(float* x) { x[threadIdx.x] = VALUE; }\n'


@pytest.fixture
def nvcc() -> str:
    try:
        return kernels.find_nvcc()
    except KernelUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "Kerne größer"
    folder.mkdir()
    (folder / "value.cuh").write_text("#define VALUE 1.0f\n", encoding="utf-8")
    source = folder / "small.cu"
    source.write_text('#include "value.cuh"\n' + SMALL, encoding="utf-8")
    return source


def count_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that the compiler is really run for, as they come."""
    runs: list[str] = []
    run = kernels._run_compiler

    def counted(source: Path, flags: list[str], nvcc: str) -> bytes:
        runs.append(source.name)
        return run(source, flags, nvcc)

    monkeypatch.setattr(kernels, "_run_compiler", counted)
    return runs


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_kernel_compiles_without_a_warning_and_without_any_macro(
    source: Path, arch: str, nvcc: str
):
    assert kernels.compile_kernel(source, arch=arch).startswith(b"\x7fELF")


def test_what_was_compiled_is_compiled_once(
    small: Path, nvcc: str, fresh_home: Path, monkeypatch: pytest.MonkeyPatch
):
    runs = count_runs(monkeypatch)
    first = kernels.compile_kernel(small, arch="sm_80")
    assert kernels.compile_kernel(small, arch="sm_80") == first
    assert runs == ["small.cu"]
    assert [path.suffix for path in (cache_dir() / "kernels").iterdir()] == [".cubin"]


def test_a_changed_header_source_macro_or_architecture_is_compiled_anew(
    small: Path, nvcc: str, fresh_home: Path, monkeypatch: pytest.MonkeyPatch
):
    runs = count_runs(monkeypatch)
    kernels.compile_kernel(small, arch="sm_80")
    (small.parent / "value.cuh").write_text("#define VALUE 2.0f\n", encoding="utf-8")
    kernels.compile_kernel(small, arch="sm_80")
    kernels.compile_kernel(small, arch="sm_86")
    kernels.compile_kernel(small, arch="sm_80", defines=["OTHER=1"])
    small.write_text(small.read_text(encoding="utf-8") + "// changed\n", encoding="utf-8")
    kernels.compile_kernel(small, arch="sm_80")
    assert len(runs) == 5


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("this is no C", "expected"),
        ("__device__ int f() { int unused; return 1; }", "never referenced"),
    ],
)
def test_a_broken_kernel_tells_the_log_all_that_the_compiler_said(
    fault: str, words: str, small: Path, nvcc: str, fresh_home: Path,
    caplog: pytest.LogCaptureFixture,
):  # fmt: skip
    small.write_text(fault, encoding="utf-8")
    with caplog.at_level(logging.ERROR), pytest.raises(kernels.CompileError, match=r"small\.cu"):
        kernels.compile_kernel(small, arch="sm_80")
    assert words in caplog.text
    assert not list((cache_dir() / "kernels").glob("*"))


def test_a_missing_compiler_is_told_with_a_cure(monkeypatch: pytest.MonkeyPatch, small: Path):
    monkeypatch.setattr(kernels.shutil, "which", lambda *_, **__: None)
    with pytest.raises(KernelUnavailable, match="install the CUDA toolkit"):
        kernels.compile_kernel(small, arch="sm_80")


def test_a_compiler_that_does_not_run_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: Path
):
    broken = tmp_path / "nvcc"
    broken.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(kernels, "find_nvcc", lambda: str(broken))
    with pytest.raises(KernelUnavailable, match="does not run"):
        kernels.compile_kernel(small, arch="sm_80")


def test_a_cache_that_cannot_be_written_only_costs_time(
    small: Path, nvcc: str, fresh_home: Path, caplog: pytest.LogCaptureFixture
):
    cache_dir().write_text("a file where the folder should be", encoding="utf-8")
    code = kernels.compile_kernel(small, arch="sm_80")
    assert code.startswith(b"\x7fELF")
    assert "cannot be kept" in caplog.text


def test_pycuda_compiles_where_it_is_installed(
    small: Path, nvcc: str, fresh_home: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[object, ...]] = []

    def compile_plain(*arguments: object) -> bytes:
        asked.append(arguments)
        return b"code"

    module = types.SimpleNamespace(compile_plain=compile_plain)
    monkeypatch.setattr(kernels.importlib, "import_module", lambda name: module)
    assert kernels.compile_kernel(small, arch="sm_80") == b"code"
    text, flags, keep, compiler, cache = asked[0]
    assert (text, keep, compiler, cache) == (small.read_text(encoding="utf-8"), False, nvcc, None)
    assert f"-I{small.parent.resolve()}" in flags
