"""The kernels on the CPU: built by g++ behind the emulation header, launched like on a GPU."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from engine.kernels.compile import kernel_source
from engine.kernels.runtime import as_argument

HERE = Path(__file__).parent
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\(\w+\)\s+)?(\w+)\(")


class Emulated:
    """Stands in for a loaded module; few multiprocessors, so that work is both split and not."""

    def __init__(self, library: ctypes.CDLL, multiprocessors: int) -> None:
        self.library = library
        self.multiprocessors = multiprocessors

    def launch(
        self, name: str, grid: tuple[int, int, int], block: int, *arguments: Tensor | int | float
    ) -> None:
        held = [np.array(as_argument(argument)) for argument in arguments]
        pointers = (ctypes.c_void_p * len(held))(*(value.ctypes.data for value in held))
        getattr(self.library, f"run_{name}")((ctypes.c_uint * 3)(*grid), block, pointers)


@pytest.fixture(scope="session")
def emulate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Emulated]:
    """``emulate(name, element=0, multiprocessors=1)``."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ to emulate the kernels with")
    folder = tmp_path_factory.mktemp("emulated")

    @functools.cache
    def build(name: str, element: int) -> ctypes.CDLL:
        source = kernel_source(name)
        kernels = KERNEL.findall(source.read_text(encoding="utf-8"))
        assert kernels
        library = folder / f"{name}{element}.so"
        command = [
            "g++", "-std=c++17", "-O2", "-w", "-U_FORTIFY_SOURCE", "-fno-strict-aliasing",
            "-ffp-contract=off", "-shared", "-fPIC", "-DCUDA_EMU", f"-DELEMENT={element}",
            "-include", str(HERE / "cuda_emu.hpp"), f'-DKERNEL_FILE="{source}"',
            f"-DKERNELS={' '.join(f'EXPORT({kernel})' for kernel in kernels)}",
            str(HERE / "launch.cpp"), "-o", str(library),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(library))

    def emulated(name: str, element: int = 0, multiprocessors: int = 1) -> Emulated:
        return Emulated(build(name, element), multiprocessors)

    return emulated
