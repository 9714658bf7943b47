"""Loading and launching compiled kernels in torch's own CUDA context.

How PyCUDA works decides how this is written:

* ``pycuda.autoinit`` would make a second context, in which torch's pointers are invalid; here the
  primary context, which is torch's, is retained once for every device.
* The stack of contexts belongs to a thread, and a thread that ends with one still on it ends the
  process: it is pushed and popped in a ``with`` around every use, under one lock.
* A module freed where its context is not on the stack is leaked: what was loaded stays until the
  program's end and is then freed with the context pushed.
* A foreign stream cannot be wrapped: everything is launched on stream 0, in order after torch's
  work there, and nothing is launched while torch works on another stream.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from engine.errors import KernelUnavailable
from engine.kernels.compile import compile_kernel, kernel_source

OLDEST: Final = (7, 5)
_SHARED_WITHOUT_ASKING: Final = 48 << 10  # bytes that every GPU gives a block

_LOCK = threading.RLock()


@dataclass(slots=True)
class _Loaded:
    """What this process holds; guarded by ``_LOCK``."""

    contexts: dict[int, Any] = field(default_factory=dict)
    modules: dict[tuple[str, int, tuple[str, ...]], CudaModule] = field(default_factory=dict)
    failures: dict[tuple[str, int, tuple[str, ...]], str] = field(default_factory=dict)
    frees_at_exit: bool = False


_LOADED = _Loaded()


@dataclass(slots=True, eq=False)
class CudaModule:
    """The kernels of one file, loaded on one GPU; never made twice, never freed before the end.

    Attributes:
        device_index: the GPU, as torch counts.
        multiprocessors: how many the GPU has.
        shared_bytes: shared memory of one of them.
    """

    _handle: Any
    device_index: int
    multiprocessors: int
    shared_bytes: int
    _functions: dict[str, Any] = field(default_factory=dict)

    def launch(
        self,
        name: str,
        grid: tuple[int, int, int],
        block: int,
        *arguments: Tensor | int | float,
        shared_bytes: int = 0,
    ) -> None:
        """Start a kernel on stream 0 and return at once.

        Args:
            name: the kernel.
            grid: blocks along x, y, z.
            block: threads of a block.
            arguments: contiguous tensors on this GPU, or numbers, passed as int32 or float32.
            shared_bytes: shared memory of a block besides what the kernel declares itself.

        Raises:
            KernelUnavailable: torch works on another stream, or CUDA refused.
        """
        if torch.cuda.current_stream(self.device_index).cuda_stream != 0:
            raise KernelUnavailable("Torch works on a stream of its own, which PyCUDA cannot join.")
        driver = _driver()
        try:
            with primary_context(self.device_index):
                function = self._functions.get(name)
                if function is None:
                    function = self._functions[name] = self._handle.get_function(name)
                if shared_bytes > _SHARED_WITHOUT_ASKING:
                    attribute = driver.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
                    function.set_attribute(attribute, shared_bytes)
                function(
                    *map(as_argument, arguments), block=(block, 1, 1), grid=grid,
                    shared=shared_bytes,
                )  # fmt: skip
        except driver.Error as error:
            raise KernelUnavailable(f"The kernel {name} could not be launched: {error}.") from error


def as_argument(value: Tensor | int | float) -> np.generic:
    """What a kernel receives: an address, an int32 or a float32."""
    if isinstance(value, Tensor):
        assert value.is_contiguous()
        return np.uintp(value.data_ptr())
    return np.int32(value) if isinstance(value, int) else np.float32(value)


@contextlib.contextmanager
def primary_context(device_index: int) -> Iterator[None]:
    """Torch's context of a GPU on this thread's stack, for as long as the block runs."""
    driver = _driver()
    with _LOCK:
        context = _LOADED.contexts.get(device_index)
        if context is None:
            context = driver.Device(device_index).retain_primary_context()
            _LOADED.contexts[device_index] = context
        context.push()
        try:
            yield
        finally:
            driver.Context.pop()


def load(name: str, device_index: int, defines: tuple[str, ...] = ()) -> CudaModule:
    """A kernel file on a GPU, compiled and loaded the first time it is asked for.

    What failed once is not tried again in this process.

    Args:
        name: of the file in ``cuda/``, without its ending.
        device_index: the GPU, as torch counts.
        defines: macros that choose a variant.

    Raises:
        KernelUnavailable: no PyCUDA, no compiler, an unsupported GPU, a failed compilation.
    """
    key = (name, device_index, defines)
    with _LOCK:
        if key in _LOADED.failures:
            raise KernelUnavailable(_LOADED.failures[key])
        module = _LOADED.modules.get(key)
        if module is None:
            try:
                module = _LOADED.modules[key] = _load(name, device_index, defines)
            except KernelUnavailable as error:
                _LOADED.failures[key] = str(error)
                raise
        return module


def _load(name: str, device_index: int, defines: tuple[str, ...]) -> CudaModule:
    driver = _driver()
    try:
        driver.init()
        device = driver.Device(device_index)
        capability = device.compute_capability()
        if capability < OLDEST:
            raise KernelUnavailable(
                f"{device.name()} has compute capability {capability[0]}.{capability[1]}; the "
                f"kernels need {OLDEST[0]}.{OLDEST[1]}."
            )
        arch = f"sm_{capability[0]}{capability[1]}"
        code = compile_kernel(kernel_source(name), arch=arch, defines=defines)
        attributes = driver.device_attribute
        multiprocessors = device.get_attribute(attributes.MULTIPROCESSOR_COUNT)
        shared_bytes = device.get_attribute(attributes.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)
        with primary_context(device_index):
            handle = driver.module_from_buffer(code)
    except driver.Error as error:
        raise KernelUnavailable(f"CUDA refused the kernels {name}: {error}.") from error
    if not _LOADED.frees_at_exit:
        atexit.register(free_all)
        _LOADED.frees_at_exit = True
    return CudaModule(handle, device_index, multiprocessors, shared_bytes)


def free_all() -> None:
    """Free everything loaded, each module with its context pushed; at the program's end."""
    with _LOCK:
        for index in list(_LOADED.contexts):
            with primary_context(index):
                for key in [key for key in _LOADED.modules if key[1] == index]:
                    module = _LOADED.modules.pop(key)
                    module._functions.clear()
                    module._handle = None
                    del module


def _driver() -> Any:
    try:
        return importlib.import_module("pycuda.driver")
    except ImportError as error:
        raise KernelUnavailable(
            f"PyCUDA cannot be loaded ({error}); install it with the extra 'cuda'."
        ) from error
