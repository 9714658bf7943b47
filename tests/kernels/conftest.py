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
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\([\w, ]+\)\s+)?(\w+)\(")


class Emulated:
    """Stands in for a loaded module with few multiprocessors, to test split and unsplit work."""

    def __init__(self, library: ctypes.CDLL, multiprocessors: int, shared_bytes: int) -> None:
        self.library = library
        self.multiprocessors = multiprocessors
        self.shared_bytes = shared_bytes
        self.launched: list[tuple[str, tuple[Tensor | int | float, ...]]] = []

    def launch(
        self, name: str, grid: tuple[int, int, int], block: int, *arguments: Tensor | int | float,
        shared_bytes: int = 0,
    ) -> None:  # fmt: skip
        self.launched.append((name, arguments))
        held = [np.array(as_argument(argument)) for argument in arguments]
        pointers = (ctypes.c_void_p * len(held))(*(value.ctypes.data for value in held))
        getattr(self.library, f"run_{name}")(
            (ctypes.c_uint * 3)(*grid), block, shared_bytes, pointers
        )


@pytest.fixture(scope="session")
def emulate(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Emulated]:
    """``emulate(name, path, element=0, multiprocessors=1, eager=False, shared_kib=228)``.

    The name is that of a kernel file of the project's or of one beside this file.

    Asynchronous copies come as late as they may, or, with ``eager``, at once.
    """
    if shutil.which("g++") is None:
        pytest.skip("no g++ to emulate the kernels with")
    folder = tmp_path_factory.mktemp("emulated")

    @functools.cache
    def build(name: str, path: str, element: int) -> ctypes.CDLL:
        of_tests = HERE / f"{name}.cu"
        source = of_tests if of_tests.is_file() else kernel_source(name)
        kernels = KERNEL.findall(source.read_text(encoding="utf-8"))
        assert kernels
        library = folder / f"{name}_{path}{element}.so"
        command = [
            "g++", "-std=c++17", "-O2", "-w", "-U_FORTIFY_SOURCE", "-fno-strict-aliasing",
            "-ffp-contract=off", "-shared", "-fPIC", "-DCUDA_EMU", f"-DELEMENT={element}",
            f"-DTENSOR_CORES={int(path == 'mma')}",
            "-include", str(HERE / "cuda_emu.hpp"), f'-DKERNEL_FILE="{source}"',
            f"-DKERNELS={' '.join(f'EXPORT({kernel})' for kernel in kernels)}",
            str(HERE / "launch.cpp"), "-o", str(library),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(library))

    def emulated(
        name: str, path: str, element: int = 0, multiprocessors: int = 1, *, eager: bool = False,
        shared_kib: int = 228,
    ) -> Emulated:  # fmt: skip
        library = build(name, path, element)
        library.copy_eagerly(int(eager))
        return Emulated(library, multiprocessors, shared_kib << 10)

    return emulated
