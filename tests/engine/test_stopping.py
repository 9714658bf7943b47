"""Work that is asked to stop, also where no token is handed to."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.descriptors import stopping
from engine.descriptors.compute import describe_image, get_built
from engine.descriptors.daisy import Daisy, DaisyConfig
from engine.descriptors.grid_measure import fitting_size, measure_grid
from engine.descriptors.pairing import PairImage
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.stopping import stop_between_modules, stoppable_operations
from engine.descriptors.superpoint import SuperPoint, SuperPointNetwork
from engine.errors import JobCancelled
from engine.progress import CancelToken, JobContext, check_stop, when_stopped

LARGE = (1000, 1100)


class Counting(CancelToken):
    """Counts how often it is checked, and is cancelled by the check of a number."""

    def __init__(self, last: int = 0) -> None:
        super().__init__()
        self.checks, self.last = 0, last

    def check(self) -> None:
        self.checks += 1
        if self.checks == self.last:
            self.cancel()
        super().check()


def test_the_token_of_a_thread_is_checked_inside_its_block_only():
    outer, inner = CancelToken(), CancelToken()
    inner.cancel()
    check_stop()
    with outer.everywhere():
        check_stop()
        with pytest.raises(JobCancelled), inner.everywhere():
            check_stop()
        check_stop()
        with pytest.raises(JobCancelled), inner.everywhere(), CancelToken().everywhere():
            check_stop()
        faults: list[BaseException] = []

        def elsewhere() -> None:
            try:
                check_stop()
            except JobCancelled as error:
                faults.append(error)

        outer.cancel()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert faults == []
        with pytest.raises(JobCancelled):
            check_stop()
    check_stop()


@pytest.mark.parametrize("gradient", [True, False])
def test_measuring_a_grid_stops_before_the_next_pass(gradient: bool):
    net, cancel, passes = nn.Conv2d(3, 4, 4, 4), CancelToken(), 0

    def map_of(images: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        if passes == 2:
            cancel.cancel()
        values: Tensor = net(images)
        return values if gradient else torch.from_numpy(values.detach().numpy())

    with pytest.raises(JobCancelled), cancel.everywhere():
        measure_grid(map_of, size_px=fitting_size(4), certain_px=0.0)
    assert passes == 2


def test_whoever_cancels_tells_what_takes_no_token():
    told: list[str] = []
    outer, inner = CancelToken(), CancelToken()
    with outer.everywhere(), inner.everywhere():
        with when_stopped(lambda: told.append("before")):
            pass
        with when_stopped(lambda: told.append("now")):
            thread = threading.Thread(target=outer.cancel)
            thread.start()
            thread.join()
            assert told == ["now"]
        with pytest.raises(JobCancelled), when_stopped(lambda: told.append("late")):
            told.append("begun")
    outer.cancel()
    assert told == ["now"]


def test_those_who_handle_errors_do_not_hold_up_a_stop():
    cancel = CancelToken()
    cancel.cancel()

    def handling() -> None:
        try:
            check_stop()
        except Exception:
            pytest.fail("a stop was taken for an error")

    with pytest.raises(JobCancelled), cancel.everywhere():
        handling()


# ---- passes through networks ---------------------------------------------------------------------


def noise(size: tuple[int, int] = LARGE) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random((*size, 3), dtype=np.float32)


def stop_at(network: nn.Module, number: int, cancel: CancelToken) -> list[str]:
    """Cancel within the module of a number; returns the modules that have begun by then."""
    begun: list[str] = []

    def begin(name: str) -> Callable[..., None]:
        def note(*_: object) -> None:
            begun.append(name)
            if len(begun) == number:
                cancel.cancel()

        return note

    for name, module in network.named_modules():
        module.register_forward_pre_hook(begin(name))
    return begun


def build(name: str) -> Any:
    if name == "superpoint":
        return SuperPoint(SuperPointNetwork())
    return build_descriptor(make_spec(name, {"untrained": True}))


@pytest.mark.parametrize(
    "name", ["msnet_v0", "msnet_v1", "msnet_v2", "msnet_v2_estimated", "descspace-fast",
             "descspace", "superpoint"],
)  # fmt: skip
def test_a_pass_over_a_large_image_ends_before_its_next_module(name: str):
    descriptor, cancel = build(name), CancelToken()
    begun = stop_at(descriptor.module, 6, cancel)
    one = PairImage(
        descriptor=descriptor, pixels=noise(), side="a", device="cpu", precision="float32"
    )
    with pytest.raises(JobCancelled):
        one.describe(lambda: one, JobContext(cancel=cancel))
    assert len(begun) == 6
    assert sum(1 for _ in descriptor.module.modules()) > 6, "nothing remained"


def test_networks_of_libraries_end_before_their_next_module():
    cancel = CancelToken()
    descriptor: Any = build_descriptor(
        make_spec("timm:vit_tiny_patch16_224@1", {"untrained": True})
    )
    begun = stop_at(descriptor.module, 10, cancel)
    with pytest.raises(JobCancelled):
        describe_image(
            descriptor, noise((64, 64)), device="cpu", precision="float32",
            context=JobContext(cancel=cancel),
        )  # fmt: skip
    assert len(begun) == 10


def test_daisy_is_stopped_between_its_blocks():
    cancel, daisy = Counting(4), Daisy(DaisyConfig(stride_px=8), tile_px=32)
    with pytest.raises(JobCancelled):
        describe_image(
            daisy, noise((160, 160)), device="cpu", precision="float32",
            context=JobContext(cancel=cancel),
        )  # fmt: skip
    assert cancel.checks == 4


@pytest.mark.parametrize("name", ["descspace", "msnet_v2_estimated"])
def test_the_vote_of_a_pair_can_be_stopped(name: str):
    descriptor: Any = get_built(make_spec(name))
    images = torch.from_numpy(noise((96, 128))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        looks = [descriptor.look(images, side, lambda: None) for side in ("a", "b")]
        whole = Counting()
        with whole.everywhere():
            descriptor.choose(*looks)
        assert whole.checks >= 5
        stopped = Counting(whole.checks // 2)
        with pytest.raises(JobCancelled), stopped.everywhere():
            descriptor.choose(*looks)
    assert stopped.checks == whole.checks // 2


# ---- long operations -----------------------------------------------------------------------------


def convolution(**settings: Any) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 16, 67, 45, generator=generator)
    if settings.pop("together", False):
        image = image.contiguous(memory_format=torch.channels_last)
    kernel = settings.pop("kernel", 3)
    inputs = 16 // settings.get("groups", 1)
    weight = torch.randn(32, inputs, kernel, kernel, generator=generator)
    bias = torch.randn(32, generator=generator) if settings.pop("bias", True) else None
    return lambda: functional.conv2d(image, weight, bias, **settings)


def product() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    values, weight = (torch.randn(size, generator=generator) for size in ((3, 90, 64), (32, 64)))
    return functional.linear(values, weight, torch.ones(32))


def attention(mask: tuple[int, ...] | None = None, **settings: Any) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(1, 4, 60, 16, generator=generator) for _ in range(3))
    shown = None if mask is None else torch.randn(mask, generator=generator)
    return lambda: functional.scaled_dot_product_attention(
        query, key, value, attn_mask=shown, **settings
    )


LONG = {
    "plain": convolution(padding=1),
    "no bias": convolution(padding=1, bias=False),
    "no padding": convolution(),
    "stride": convolution(stride=2, padding=3, kernel=7),
    "stride along one axis": convolution(stride=(3, 1), padding=(0, 2), kernel=5),
    "gaps": convolution(padding=4, dilation=4),
    "groups": convolution(padding=1, groups=16),
    "points": convolution(kernel=1),
    "more padding than kernel": convolution(padding=5),
    "channels together": convolution(padding=1, together=True),
    "product": product,
    "attention": attention(),
    "attention, scaled": attention(scale=0.3),
    "attention, with a mask": attention((60, 60)),
    "attention, with a mask of keys": attention((1, 1, 1, 60)),
}


@pytest.mark.parametrize("operate", LONG.values(), ids=LONG)
def test_a_long_operation_is_computed_in_parts(operate: Callable[[], Tensor], monkeypatch):
    monkeypatch.setattr(stopping, "_PART", 1.0)
    monkeypatch.setattr(stopping, "_LEAST_KERNELS", 1)
    with torch.inference_mode():
        whole, counted = operate(), Counting()
        with counted.everywhere(), stoppable_operations():
            in_parts = operate()
        assert in_parts.shape == whole.shape
        torch.testing.assert_close(in_parts, whole, rtol=1e-5, atol=1e-5)
        assert counted.checks >= 5, "it was computed in one piece"
        stopped = Counting(counted.checks - 1)
        with pytest.raises(JobCancelled), stopped.everywhere(), stoppable_operations():
            operate()


@pytest.mark.parametrize("settings", [{"is_causal": True}, {"dropout_p": 0.5}])
def test_attention_whose_queries_depend_on_each_other_stays_in_one_piece(settings, monkeypatch):
    monkeypatch.setattr(stopping, "_PART", 1.0)
    operate = attention(**settings)
    with torch.inference_mode():
        torch.manual_seed(0)
        whole = operate()
        torch.manual_seed(0)
        with stoppable_operations():
            assert torch.equal(operate(), whole)


@pytest.mark.parametrize(("size", "in_parts"), [((300, 300), False), (LARGE, True)])
def test_operations_are_watched_in_large_images_only(size, in_parts: bool):
    class Plain:
        dim, shift_period_px, trained, half_precision = 3, 1, True, True

        def describe(self, images: Tensor) -> Any:
            before = counted.checks
            images + 1
            seen.append(counted.checks > before)
            raise JobCancelled

    counted, seen = Counting(), []
    with pytest.raises(JobCancelled):
        describe_image(
            Plain(), noise(size), device="cpu", precision="float32",
            context=JobContext(cancel=counted),
        )  # fmt: skip
    assert seen[0] == in_parts


WATCHED = {
    "in parts": """
        from engine.descriptors.stopping import stoppable_operations
        with stoppable_operations():
            torch.ones(2) + 1
        """,
    "memory": """
        from engine.descriptors.memory import measure_memory
        measure_memory(lambda images: images + 1, period_px=8)
        """,
}


@pytest.mark.parametrize("code", WATCHED.values(), ids=WATCHED)
def test_torch_does_not_import_its_compiler_when_operations_are_watched(code: str):
    """It takes seconds, in which nothing is checked."""
    asked = f"import sys, torch\n{textwrap.dedent(code)}\nprint('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.filterwarnings("ignore:Using `torch.compile")  # pytest forgets the program's filter
def test_a_compiled_network_computes_as_without_the_checks():
    stop_between_modules()
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    compiled = torch.compile(net, backend="eager")
    image = torch.rand(1, 3, 9, 9)
    with torch.inference_mode():
        assert torch.equal(compiled(image), net(image))
        with pytest.raises(JobCancelled), Counting(1).everywhere():
            compiled(image)
