"""``onnx:FILE``: networks as ONNX files, computed by ONNX Runtime.

The Open Neural Network Exchange format holds a graph of operations and its weights; such a file
holds no program code.  Nothing is known of gradients, so cells are placed by differences, with
random symmetric kernels in place of the file's own.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.families.file_networks import (
    FileConfig,
    FileNetwork,
    build_from_file,
    weights_file_of,
    weights_title_of_file,
)
from engine.descriptors.families.libraries import use_library
from engine.descriptors.families.network_files import check_file, sha256_of
from engine.descriptors.families.onnx_graph import OnnxGraph, read_onnx_graph
from engine.descriptors.grid_measure import symmetric_kernel
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import register_family
from engine.errors import DescSpaceError, WeightsError, printable
from engine.paths import FileStamp
from engine.progress import check_stop, when_stopped

_OURS: Final = ("an ONNX network",)
_WANTED: Final = "an ONNX network"
_DTYPES: Final = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(uint8)": torch.uint8,
    "tensor(int32)": torch.int32,
    "tensor(int64)": torch.int64,
}
_NUMPY_TYPES: Final = {1: np.float32, 10: np.float16, 11: np.float64}  # of TensorProto.DataType
_SEED: Final = 20
_SILENT: Final = 4  # its log; what goes wrong is raised, too


class OnnxNetwork(FileNetwork):
    """An ONNX network; may be used from several threads at once.

    Args:
        file: the network.
        config: settings.

    Raises:
        ConfigError: ONNX Runtime is not installed, or a setting does not fit.
        WeightsError: the file cannot be read, or is no ONNX network.
        DescSpaceError: it takes no images, or gives no map.
    """

    has_gradient = False

    def __init__(self, file: Path, config: FileConfig) -> None:
        super().__init__(file, config)
        check_file(file, ours=_OURS, wanted=_WANTED)
        self._runtime = import_onnxruntime()
        self._graph = read_onnx_graph(file)
        beside = [file.parent / name for name in self._graph.external]
        for one in beside:
            if not one.is_file():
                raise WeightsError(file, f"keeps weights in {one.name}, which is not beside it")
        self._remember(sha256_of(file, *beside))
        self._kernels: Mapping[str, NDArray[Any]] = {}
        self._is_twin = False
        self._sessions: dict[tuple[int | None, int], Any] = {}
        self._lock = threading.Lock()
        session = self._session(torch.device("cpu"))
        inputs = session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(one.name for one in inputs)
            raise DescSpaceError(f"{file} takes {len(inputs)} inputs ({names}), not one image.")
        (taken,) = inputs
        if taken.type not in _DTYPES:
            raise DescSpaceError(f"{file} takes no images: its input is a {taken.type}.")
        self._input = taken.name
        self._names = [one.name for one in session.get_outputs()]
        shape = [one if isinstance(one, int) and one > 0 else None for one in taken.shape]
        self._examine(tuple(shape), _DTYPES[taken.type])

    def untrained_twin(self) -> OnnxNetwork:
        """The same network with random symmetric kernels, without a bias, in its convolutions."""
        twin = copy.copy(self)
        twin._lock = threading.Lock()
        twin._is_twin = True
        twin.draw_kernels(torch.Generator().manual_seed(_SEED))
        return twin

    def draw_kernels(self, generator: torch.Generator) -> None:
        """Other kernels for a twin; see :class:`engine.descriptors.grid_measure.DrawsKernels`."""
        if self._is_twin:
            self._kernels = symmetric_weights(self._graph, generator)
            self._sessions = {}

    def _run(self, inputs: Tensor, wanted: Sequence[int] | None) -> Sequence[Tensor | None]:
        session = self._session(inputs.device)
        # Not detach(), which does nothing while a grid is measured.
        given = {self._input: inputs.data.cpu().contiguous().numpy()}
        names = self._names if wanted is None else [self._names[one] for one in wanted]
        options = self._runtime.RunOptions()
        try:
            with when_stopped(lambda: setattr(options, "terminate", True)):
                found = session.run(names, given, options)
        except Exception:  # of a kind of its own
            check_stop()
            raise
        return [
            torch.from_numpy(one).to(inputs.device)
            if isinstance(one, np.ndarray) and one.dtype.kind == "f"
            else None
            for one in found
        ]

    def _session(self, device: torch.device) -> Any:
        """The network made ready for a device and for as many threads as torch uses now."""
        cuda = "CUDAExecutionProvider" in self._runtime.get_available_providers()
        number = (device.index or 0) if device.type == "cuda" and cuda else None
        key = (number, torch.get_num_threads())
        with self._lock:
            if key not in self._sessions:
                self._sessions = {key: self._started(*key)}
            return self._sessions[key]

    def _started(self, cuda_device: int | None, threads: int) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        # Threads that wait for work would take time from the window.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._kept = [
            (name, self._runtime.OrtValue.ortvalue_from_numpy(one))
            for name, one in self._kernels.items()
        ]
        for name, value in self._kept:
            options.add_initializer(name, value)
        if self._kept:
            # Further steps would fuse the file's own kernels before these take their place.
            options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        providers: list[Any] = ["CPUExecutionProvider"]
        if cuda_device is not None:
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": cuda_device}))
        try:
            return self._runtime.InferenceSession(str(self.file), options, providers=providers)
        except Exception as error:  # of many kinds, none of them documented
            said = printable(str(error)).partition(" failed:")
            reason = (said[2] or said[0])[:200].rstrip(". ")
            raise WeightsError(
                self.file, f"is damaged, or no network that ONNX Runtime can compute ({reason})"
            ) from error


def symmetric_weights(graph: OnnxGraph, generator: torch.Generator) -> dict[str, NDArray[Any]]:
    """Random weights by name that make all convolutions of a graph read symmetrically.

    They keep signals as large as they are; biases are zero, and batch normalisation passes on what
    it gets.  See :func:`engine.descriptors.grid_measure.symmetric_kernels`.
    """
    found: dict[str, NDArray[Any]] = {}

    def put(name: str, make: Callable[[Tensor], Tensor]) -> None:
        known = graph.initializers.get(name)
        if known is not None and known.data_type in _NUMPY_TYPES:
            values = make(torch.empty(known.shape)).numpy()
            found[name] = values.astype(_NUMPY_TYPES[known.data_type])

    for operation, inputs in graph.nodes:
        if operation in ("Conv", "ConvTranspose") and len(inputs) > 1:
            transposed = operation == "ConvTranspose"
            draw = functools.partial(symmetric_kernel, generator=generator, transposed=transposed)
            put(inputs[1], draw)
            for bias in inputs[2:3]:
                put(bias, torch.zeros_like)
        elif operation == "BatchNormalization":
            plain = (torch.ones_like, torch.zeros_like, torch.zeros_like, torch.ones_like)
            for name, make in zip(inputs[1:], plain, strict=False):
                put(name, make)
    return found


def import_onnxruntime() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed, or does not load.
    """
    return use_library("onnxruntime", extra="onnx")


_BESIDE: Final[dict[FileStamp, tuple[Path, ...]]] = {}


def files_with_weights(file: Path, *, load: bool) -> tuple[Path, ...]:
    """The files beside a network that hold weights of it.

    Args:
        file: with the network.
        load: read it; without this, what was read before is told.
    """
    stamp = FileStamp.of(file)
    if load and stamp not in _BESIDE:
        with contextlib.suppress(WeightsError):  # which is said when it is built
            _BESIDE[stamp] = tuple(file.parent / name for name in read_onnx_graph(file).external)
    return _BESIDE.get(stamp, ())


@register_family(
    "onnx",
    title="ONNX",
    config=FileConfig,
    summary="A network in an ONNX file.",
    weights_title=weights_title_of_file,
    weights_file=weights_file_of,
    files_beside=files_with_weights,
    opens=(".onnx",),
    extra="onnx",
)
def build_onnx(name: ModelName, config: FileConfig) -> BackboneDescriptor:
    """Build the network of an ONNX file.

    Raises:
        ConfigError: ONNX Runtime is not installed, there is no such output, or a setting is needed.
        WeightsError: the file cannot be used.
        DescSpaceError: the network takes no images, or gives no map.
    """
    return build_from_file(name, config, OnnxNetwork)
