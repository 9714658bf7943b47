"""Contexts, streams and the choice of backend, with a stand-in for PyCUDA's driver module."""

from __future__ import annotations

import logging
import threading
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import KernelUnavailable
from engine.jobs import doctor
from engine.kernels import ops, runtime
from engine.mining.hard_negatives import find_hard_negatives


class DriverError(Exception):
    pass


class FakeDriver:
    """What PyCUDA's driver module offers, with one stack of contexts per thread."""

    Error = DriverError
    device_attribute = types.SimpleNamespace(
        MULTIPROCESSOR_COUNT="sm", MAX_SHARED_MEMORY_PER_MULTIPROCESSOR="shared"
    )
    function_attribute = types.SimpleNamespace(MAX_DYNAMIC_SHARED_SIZE_BYTES="most shared")

    def __init__(self) -> None:
        self.capability = (9, 0)
        self.retained = 0
        self.loaded = 0
        self.freed_under: list[int] = []
        self.launched: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.allowed: list[tuple[str, int]] = []
        self.fault: Exception | None = None
        self.depth = threading.local()
        outer = self

        class Context:
            def push(self) -> None:
                outer.depth.value = outer.now() + 1

            @staticmethod
            def pop() -> None:
                assert outer.now() > 0
                outer.depth.value = outer.now() - 1

        class Module:
            def get_function(self, name: str) -> Any:
                assert outer.now() == 1

                class Function:
                    def set_attribute(self, what: str, value: int) -> None:
                        assert outer.now() == 1
                        outer.allowed.append((what, value))

                    def __call__(self, *arguments: Any, **how: Any) -> None:
                        assert outer.now() == 1
                        if outer.fault is not None:
                            raise outer.fault
                        outer.launched.append((name, arguments, how))

                return Function()

            def __del__(self) -> None:
                outer.freed_under.append(outer.now())

        class Device:
            def __init__(self, index: int) -> None:
                self.index = index

            def name(self) -> str:
                return "Test GPU"

            def compute_capability(self) -> tuple[int, int]:
                return outer.capability

            def get_attribute(self, what: str) -> int:
                return {"sm": 132, "shared": 228 << 10}[what]

            def retain_primary_context(self) -> Context:
                outer.retained += 1
                return Context()

        self.Context, self.Device, self._module = Context, Device, Module

    def now(self) -> int:
        return getattr(self.depth, "value", 0)

    def init(self) -> None:
        pass

    def module_from_buffer(self, code: bytes) -> Any:
        assert self.now() == 1
        assert code == b"code"
        self.loaded += 1
        return self._module()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    fake = FakeDriver()
    monkeypatch.setattr(runtime, "_driver", lambda: fake)
    monkeypatch.setattr(runtime, "_LOADED", runtime._Loaded(frees_at_exit=True))
    monkeypatch.setattr(runtime, "compile_kernel", lambda *_, **__: b"code")
    on_stream(monkeypatch, 0)
    yield fake
    assert fake.now() == 0


ON_GPU: Any = types.SimpleNamespace(is_cuda=True, device="cuda:0")


def capability_is(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


def on_stream(monkeypatch: pytest.MonkeyPatch, handle: int) -> None:
    stream = types.SimpleNamespace(cuda_stream=handle)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: stream)


def test_a_module_is_loaded_once_in_one_retained_context(driver: FakeDriver):
    module = runtime.load("hard_negatives", 0, ("ELEMENT=1",))
    assert runtime.load("hard_negatives", 0, ("ELEMENT=1",)) is module
    assert runtime.load("hard_negatives", 0, ("ELEMENT=2",)) is not module
    assert (driver.retained, driver.loaded) == (1, 2)
    assert (module.multiprocessors, module.shared_bytes) == (132, 228 << 10)


def test_arguments_arrive_as_addresses_and_32_bit_numbers(driver: FakeDriver):
    values = torch.arange(6.0)
    runtime.load("hard_negatives", 0).launch("find", (3, 2, 1), 128, values, 5, 0.5)
    ((name, arguments, how),) = driver.launched
    assert name == "find"
    assert [type(argument) for argument in arguments] == [np.uintp, np.int32, np.float32]
    assert [argument.item() for argument in arguments] == [values.data_ptr(), 5, 0.5]
    assert how == {"block": (128, 1, 1), "grid": (3, 2, 1), "shared": 0}


def test_more_shared_memory_than_every_gpu_gives_is_asked_for(driver: FakeDriver):
    module = runtime.load("hard_negatives", 0)
    module.launch("find", (1, 1, 1), 128, shared_bytes=48 << 10)
    assert driver.allowed == []
    module.launch("find", (1, 1, 1), 128, shared_bytes=88 << 10)
    assert driver.allowed == [("most shared", 88 << 10)]
    assert [how["shared"] for *_, how in driver.launched] == [48 << 10, 88 << 10]


def test_nothing_is_launched_beside_another_stream(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
):
    module = runtime.load("hard_negatives", 0)
    on_stream(monkeypatch, 7)
    with pytest.raises(KernelUnavailable, match="stream"):
        module.launch("find", (1, 1, 1), 128)
    assert not driver.launched


def test_no_context_stays_on_any_threads_stack_after_a_failed_launch(driver: FakeDriver):
    module = runtime.load("hard_negatives", 0)
    driver.fault = DriverError("out of memory")
    depths: list[int] = []

    def work() -> None:
        with pytest.raises(KernelUnavailable, match="out of memory"):
            module.launch("find", (1, 1, 1), 128)
        depths.append(driver.now())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert depths == [0, 0]


def test_threads_that_ask_at_once_load_once(driver: FakeDriver):
    modules: list[runtime.CudaModule] = []
    gate = threading.Barrier(4)

    def work() -> None:
        gate.wait()
        modules.append(runtime.load("hard_negatives", 0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert driver.loaded == 1
    assert len(modules) == 4
    assert len(set(map(id, modules))) == 1


def test_at_the_end_everything_is_freed_with_its_context_pushed(driver: FakeDriver):
    runtime.load("hard_negatives", 0).launch("find", (1, 1, 1), 128)
    runtime.load("hard_negatives", 0, ("ELEMENT=1",))
    driver.launched.clear()
    runtime.free_all()
    assert driver.freed_under == [1, 1]


def test_an_old_gpu_is_told_by_name_and_not_asked_again(driver: FakeDriver):
    driver.capability = (6, 1)
    for _ in range(2):
        with pytest.raises(KernelUnavailable, match=r"Test GPU has compute capability 6\.1"):
            runtime.load("hard_negatives", 0)
        driver.capability = (9, 0)  # what failed once stays so in this process
    assert driver.loaded == 0


def test_without_pycuda_there_is_a_reason(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(runtime, "_LOADED", runtime._Loaded())
    monkeypatch.setattr(runtime.importlib, "import_module", missing)
    with pytest.raises(KernelUnavailable, match=r"PyCUDA cannot be loaded \(libcuda"):
        runtime.load("hard_negatives", 0)


@pytest.mark.parametrize(
    "fault", [KernelUnavailable("There is no nvcc."), torch.OutOfMemoryError("full")]
)
def test_auto_falls_back_with_one_line_and_cuda_does_not(
    fault: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ops, "_said", set())
    capability_is(monkeypatch, (9, 0))

    def run(path: str) -> Any:
        raise fault

    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert ops._choose("hard negatives", ON_GPU, (), "auto", None, run) is None
    assert len(caplog.records) == 1
    assert "computed by torch" in caplog.text
    with pytest.raises(KernelUnavailable):
        ops._choose("hard negatives", ON_GPU, (), "cuda", None, run)
    assert ops._choose("hard negatives", ON_GPU, (), "torch", None, run) is None


def test_a_fault_of_ours_is_not_taken_for_a_missing_gpu(monkeypatch: pytest.MonkeyPatch):
    capability_is(monkeypatch, (9, 0))

    def run(path: str) -> Any:
        raise TypeError("a bug")

    with pytest.raises(TypeError):
        ops._choose("hard negatives", ON_GPU, (), "auto", None, run)


@pytest.mark.parametrize(
    ("capability", "asked", "path", "words"),
    [
        ((7, 5), None, "fma", "multiply-adds"),
        ((8, 0), None, "mma", "tensor cores"),
        ((12, 0), None, "mma", "tensor cores"),
        ((9, 0), "fma", "fma", "multiply-adds"),
    ],
)
def test_the_path_that_runs_is_told_once(
    capability: tuple[int, int], asked: Any, path: str, words: str,
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(ops, "_said", set())
    capability_is(monkeypatch, capability)
    taken: list[str] = []
    done = (torch.zeros(1), torch.zeros(1))

    def run(path: str) -> Any:
        taken.append(path)
        return done

    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert ops._choose("hard negatives", ON_GPU, (), "auto", asked, run) is done
    assert taken == [path, path]
    assert [record.getMessage() for record in caplog.records] == [
        f"hard negatives: computed by the CUDA kernel on cuda:0, with {words}"
    ]


def test_tensor_cores_are_not_to_be_had_on_an_old_gpu(monkeypatch: pytest.MonkeyPatch):
    capability_is(monkeypatch, (7, 5))
    with pytest.raises(KernelUnavailable, match=r"from compute capability 8\.0 on"):
        ops._choose("hard negatives", ON_GPU, (), "cuda", "mma", lambda path: None)  # type: ignore


@pytest.mark.parametrize(
    ("dim", "itemsize", "per_multiprocessor_kib", "bytes_", "keeps"),
    [
        (128, 2, 228, 7 * 8192, True),  # 4 slices of the queries, 3 of the candidates
        (256, 2, 228, 11 * 8192, True),
        (256, 2, 100, 6 * 8192, False),  # two such blocks do not fit: 3 slices of both
        (512, 4, 228, 6 * 8192, False),
        (33, 2, 100, 5 * 8192, True),  # a slice is begun
    ],
)
def test_queries_stay_in_shared_memory_where_two_blocks_fit(
    dim: int, itemsize: int, per_multiprocessor_kib: int, bytes_: int, keeps: bool
):
    launcher: Any = types.SimpleNamespace(shared_bytes=per_multiprocessor_kib << 10)
    planned = ops.plan_shared(ops._ENGINES["mma"], dim * itemsize, launcher)
    assert planned == (bytes_, keeps)


def test_the_loader_is_told_what_the_path_and_the_dtype_are(driver: FakeDriver):
    values: Any = types.SimpleNamespace(device=torch.device("cuda", 0), dtype=torch.bfloat16)
    module = ops._load("hard_negatives", values, "mma")
    assert runtime.load("hard_negatives", 0, ("ELEMENT=2", "TENSOR_CORES=1")) is module


def test_on_the_cpu_the_kernel_can_be_demanded_in_vain_only():
    maps, queries, truth = torch.ones(1, 4, 3, 3), torch.ones(1, 2, 4), torch.zeros(1, 2, 2)
    settings: dict[str, Any] = {
        "radius_cells": 1.0, "kind": "hard", "k": 1, "margin": 0.0, "positives": None, "seed": 0,
    }  # fmt: skip
    assert find_hard_negatives(maps, queries, truth, **settings).found.all()
    with pytest.raises(KernelUnavailable, match="CUDA GPU"):
        find_hard_negatives(maps, queries, truth, **settings, backend="cuda")


@pytest.mark.parametrize(
    ("gpus", "pycuda", "nvcc", "words"),
    [
        ((), "2026.1", "13.0", "no CUDA GPU"),
        (("9.0",), "", "13.0", "PyCUDA"),
        (("9.0",), "2026.1", "", "nvcc"),
        (("6.1",), "2026.1", "13.0", "compute capability"),
        (("6.1", "12.0"), "2026.1", "13.0", "used, with tensor cores; the log"),
        (("7.5",), "2026.1", "13.0", "used, with multiply-adds; the log"),
    ],
)
def test_the_doctor_says_whether_the_kernels_are_in_use(
    gpus: tuple[str, ...], pycuda: str, nvcc: str, words: str
):
    found = doctor.Diagnosis(
        project="", python="", system="", packages={}, qt="", cuda_build="", driver_gpus=(),
        gpus=tuple(doctor.GpuState("GPU", 1 << 30, capability) for capability in gpus),
        nvcc=nvcc, pycuda=pycuda, display="", missing_libraries={}, folders=(), problems=(),
        extras={}, operators_declared=False,
    )  # fmt: skip
    assert words in found.kernels
    assert f"own CUDA kernels  {found.kernels}" in doctor.diagnosis_text(found)


def test_the_doctor_and_the_loader_know_the_same_oldest_gpu():
    assert doctor._OLDEST_CAPABILITY == runtime.OLDEST
    assert doctor._TENSOR_CORES == ops._TENSOR_CORES
