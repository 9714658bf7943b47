"""From a ``.cu`` file to machine code for one GPU model, once.

Compiled code is kept in the cache folder under a hash of all it depends on: the source, every
header beside it, the flags, the GPU's architecture and the compiler's version.  PyCUDA's own cache
is not used: it writes in place, so that a second process may read half a file.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.errors import KernelUnavailable, OutputError
from engine.files import write_atomically
from engine.paths import cache_dir, data_dir

FLAGS: Final = ("-std=c++17", "-O3", "--Werror", "all-warnings")
_TIMEOUT_S: Final = 300.0

logger = logging.getLogger(__name__)


class CompileError(KernelUnavailable):
    """A kernel does not compile on this computer.

    Args:
        source: the file.
        message: the whole output of the compiler.
    """

    def __init__(self, source: Path, message: str) -> None:
        super().__init__(f"{source.name} could not be compiled; the log has the compiler's words.")
        self.message = message


def find_nvcc() -> str:
    """The CUDA compiler: on PATH, else in CUDA_HOME, CUDA_PATH or the usual folder.

    Raises:
        KernelUnavailable: there is none.
    """
    roots = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    for folder in (None, *(f"{root}/bin" for root in roots if root)):
        found = shutil.which("nvcc", path=folder)
        if found:
            return found
    raise KernelUnavailable("There is no nvcc: install the CUDA toolkit and put its bin on PATH.")


def compile_kernel(source: Path, *, arch: str, defines: Sequence[str] = ()) -> bytes:
    """Machine code (a cubin) of a kernel file, from the cache where it is there.

    Args:
        source: the ``.cu`` file; headers are looked for beside it.
        arch: such as ``sm_90``.
        defines: macros that choose a variant, such as ``ELEMENT=1``.

    Raises:
        KernelUnavailable: there is no compiler.
        CompileError: it does not compile, or not without warnings.
    """
    nvcc = find_nvcc()
    flags = [*FLAGS, f"-arch={arch}", *(f"-D{define}" for define in defines)]
    path = cache_dir() / "kernels" / f"{_key(source, flags, nvcc)}.cubin"
    try:
        return path.read_bytes()
    except OSError:
        pass  # not there, or not to be read: it is made again
    logger.info("compiling %s for %s, once per GPU model …", source.name, arch)
    began = time.monotonic()
    # The folder is no part of the key: a project that moved finds what it compiled.
    code = _run_compiler(source, [*flags, f"-I{source.parent.resolve()}"], nvcc)
    logger.info("compiled %s for %s in %.1f s", source.name, arch, time.monotonic() - began)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, code)
    except (OSError, OutputError) as error:
        logger.warning("the compiled %s cannot be kept: %s", source.name, error)
    return code


def kernel_source(name: str) -> Path:
    """The project's kernel file of that name, such as ``hard_negatives``."""
    return data_dir("cuda") / f"{name}.cu"


def _key(source: Path, flags: Sequence[str], nvcc: str) -> str:
    known = hashlib.sha256()
    parts = [source, *sorted(source.parent.glob("*.cuh"))]
    for text in (_version(nvcc, Path(nvcc).stat().st_mtime_ns), *flags):
        known.update(text.encode() + b"\0")
    for part in parts:
        content = part.read_bytes()
        known.update(f"{part.name} {len(content)}\0".encode() + content)
    return known.hexdigest()


@functools.cache
def _version(nvcc: str, changed_ns: int) -> str:
    """The compiler's version text; asked again only when the file has changed."""
    del changed_ns  # only a key
    try:
        done = subprocess.run(
            [nvcc, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise KernelUnavailable(f"{nvcc} does not run: {error}.") from error
    return done.stdout


def _run_compiler(source: Path, flags: list[str], nvcc: str) -> bytes:
    """Through PyCUDA where it loads; its error message needs the driver, ours does not."""
    try:
        pycuda_compiler = importlib.import_module("pycuda.compiler")
    except ImportError:
        return _run_nvcc(source, flags, nvcc)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = source.read_text(encoding="utf-8")
            code: bytes = pycuda_compiler.compile_plain(text, flags, False, nvcc, None)
            return code
    except Exception as error:  # it raises its own, or ImportError where the driver is missing
        logger.debug("PyCUDA did not compile %s: %s", source.name, error)
        return _run_nvcc(source, flags, nvcc)


def _run_nvcc(source: Path, flags: list[str], nvcc: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "kernel.cubin"
        command = [nvcc, "--cubin", *flags, "-o", str(target), str(source)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KernelUnavailable(f"{nvcc} does not run: {error}.") from error
        output = (done.stdout + done.stderr).strip()
        if done.returncode != 0 or not target.is_file():
            logger.error("%s\n%s", " ".join(command), output)
            raise CompileError(source, output)
        return target.read_bytes()
