"""Contexts, streams and the choice of the way, with a stand-in for PyCUDA's driver module."""

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
    device_attribute = types.SimpleNamespace(MULTIPROCESSOR_COUNT="sm")

    def __init__(self) -> None:
        self.capability = (9, 0)
        self.retained = 0
        self.loaded = 0
        self.freed_under: list[int] = []
        self.launched: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
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

                def function(*arguments: Any, **how: Any) -> None:
                    assert outer.now() == 1
                    if outer.fault is not None:
                        raise outer.fault
                    outer.launched.append((name, arguments, how))

                return function

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
                return {"sm": 132}[what]

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


def on_stream(monkeypatch: pytest.MonkeyPatch, handle: int) -> None:
    stream = types.SimpleNamespace(cuda_stream=handle)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: stream)


def test_a_module_is_loaded_once_in_one_retained_context(driver: FakeDriver):
    module = runtime.load("hard_negatives", 0, ("ELEMENT=1",))
    assert runtime.load("hard_negatives", 0, ("ELEMENT=1",)) is module
    assert runtime.load("hard_negatives", 0, ("ELEMENT=2",)) is not module
    assert (driver.retained, driver.loaded) == (1, 2)
    assert module.multiprocessors == 132


def test_arguments_arrive_as_addresses_and_32_bit_numbers(driver: FakeDriver):
    values = torch.arange(6.0)
    runtime.load("hard_negatives", 0).launch("find_hard", (3, 2, 1), 128, values, 5, 0.5)
    ((name, arguments, how),) = driver.launched
    assert name == "find_hard"
    assert [type(argument) for argument in arguments] == [np.uintp, np.int32, np.float32]
    assert [argument.item() for argument in arguments] == [values.data_ptr(), 5, 0.5]
    assert how == {"block": (128, 1, 1), "grid": (3, 2, 1)}


def test_nothing_is_launched_beside_another_stream(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
):
    module = runtime.load("hard_negatives", 0)
    on_stream(monkeypatch, 7)
    with pytest.raises(KernelUnavailable, match="stream"):
        module.launch("find_hard", (1, 1, 1), 128)
    assert not driver.launched


def test_no_context_stays_on_any_threads_stack_after_a_failed_launch(driver: FakeDriver):
    module = runtime.load("hard_negatives", 0)
    driver.fault = DriverError("out of memory")
    depths: list[int] = []

    def work() -> None:
        with pytest.raises(KernelUnavailable, match="out of memory"):
            module.launch("find_hard", (1, 1, 1), 128)
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
    runtime.load("hard_negatives", 0).launch("find_hard", (1, 1, 1), 128)
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
    on_gpu: Any = types.SimpleNamespace(is_cuda=True, device="cuda:0")

    def run() -> Any:
        raise fault

    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert ops._choose("hard negatives", on_gpu, (), "auto", run) is None
    assert len(caplog.records) == 1
    assert "computed by torch" in caplog.text
    with pytest.raises(KernelUnavailable):
        ops._choose("hard negatives", on_gpu, (), "cuda", run)
    assert ops._choose("hard negatives", on_gpu, (), "torch", run) is None


def test_a_fault_of_ours_is_not_taken_for_a_missing_gpu():
    on_gpu: Any = types.SimpleNamespace(is_cuda=True, device="cuda:0")

    def run() -> Any:
        raise TypeError("a bug")

    with pytest.raises(TypeError):
        ops._choose("hard negatives", on_gpu, (), "auto", run)


def test_the_kernel_that_runs_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ops, "_said", set())
    on_gpu: Any = types.SimpleNamespace(is_cuda=True, device="cuda:0")
    done = (torch.zeros(1), torch.zeros(1))
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert ops._choose("hard negatives", on_gpu, (), "auto", lambda: done) is done
    assert [record.getMessage() for record in caplog.records] == [
        "hard negatives: computed by the CUDA kernel on cuda:0"
    ]


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
        (("6.1", "12.0"), "2026.1", "13.0", "used; the log"),
    ],
)
def test_the_doctor_says_whether_the_kernels_are_in_use(
    gpus: tuple[str, ...], pycuda: str, nvcc: str, words: str
):
    found = doctor.Diagnosis(
        project="", python="", system="", packages={}, qt="", cuda_build="", driver_gpus=(),
        gpus=tuple(doctor.GpuState("GPU", 1 << 30, capability) for capability in gpus),
        nvcc=nvcc, pycuda=pycuda, display="", missing_libraries={}, folders=(), problems=(),
    )  # fmt: skip
    assert words in found.kernels
    assert f"own CUDA kernels  {found.kernels}" in doctor.diagnosis_text(found)


def test_the_doctor_and_the_loader_know_the_same_oldest_gpu():
    assert doctor._OLDEST_CAPABILITY == runtime.OLDEST
