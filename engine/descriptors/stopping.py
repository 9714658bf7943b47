"""Stopping in the middle of a pass through a network, which takes no token.

Before each module the tokens of the thread are checked.  In a large image a single convolution or
attention takes seconds on a processor; there, such operations are computed in parts, and the tokens
are checked before every operation and every part.  Parts change nothing but the rounding: each
output row of a convolution, and each query of attention, is computed as in one piece.

What remains is the longest single operation: those that only move memory, such as a pooling or a
sum over the largest maps, took up to 3 s for 12 megapixels on busy cores.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from engine.progress import check_stop

_LARGE_PX: Final = 1_000_000
_PART: Final = 5e9  # multiplications with an addition: 0.2 s on two cores
_NARROW: Final = 16  # fewer channels cost as much
_LEAST_KERNELS: Final = 4  # rows of a part, in heights of the kernel: neighbours are read twice

_aten: Final = torch.ops.aten


@functools.cache
def stop_between_modules() -> None:
    """From now on every module of torch checks the tokens of its thread before it computes."""
    # torch.compile says of any such hook that it fires twice, which does no harm.
    warnings.filterwarnings("ignore", message=r"Using `torch\.compile\(module\)` when there are gl")
    register_module_forward_pre_hook(_before_module)


def _before_module(_module: torch.nn.Module, _inputs: Any) -> None:
    if not torch.compiler.is_compiling():
        check_stop()


def large_in_parts(images: Tensor) -> contextlib.AbstractContextManager[object]:
    """Inside the block operations on a processor are stoppable themselves, if images are large.

    Args:
        images: ``(B, 3, H, W)``, what will be described.
    """
    large = images.device.type == "cpu" and math.prod(images.shape[2:]) >= _LARGE_PX
    return stoppable_operations() if large else contextlib.nullcontext()


def stoppable_operations() -> contextlib.AbstractContextManager[object]:
    """Inside the block this thread checks its tokens before every operation of torch.

    That costs about 10 µs an operation.  Long ones are computed in parts.
    """
    return _InParts()  # type: ignore[no-untyped-call]


class WatchingMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that torch starts at once.

    To keep a mode out of compiled code, torch imports its compiler at the mode's first operation,
    which takes seconds, and asks it at each one.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _InParts(WatchingMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        check_stop()
        in_parts = _IN_PARTS.get(func)
        made = None if in_parts is None else in_parts(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if made is None else made


def _convolved(
    func: Any,
    image: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    """A convolution, so many output rows at a time; None for one that is short."""
    if image.dim() != 4:
        return None
    (step, _), (pad, pad_across), (gap, _) = (_both(one) for one in (stride, padding, dilation))
    outputs, inputs, tall, wide = weight.shape
    reach = gap * (tall - 1) + 1
    height = image.shape[2]
    rows = (height + 2 * pad - reach) // step + 1
    columns = image.shape[3] // _both(stride)[1]
    of_a_row = len(image) * columns * tall * wide * max(inputs, _NARROW) * max(outputs, _NARROW)
    few = max(_LEAST_KERNELS * tall, int(_PART / of_a_row))
    if rows <= few:
        return None

    def part(first: int, last: int) -> Tensor:
        top, bottom = first * step - pad, (last - 1) * step - pad + reach
        above, below = max(0, min(0, bottom) - top), max(0, bottom - max(height, top))
        seen = image[:, :, max(0, top) : max(0, bottom)]
        if above or below:
            seen = functional.pad(seen, (0, 0, above, below))
        made: Tensor = func(
            seen, weight, bias, list(_both(stride)), [0, pad_across], list(_both(dilation)), groups
        )
        return made

    return _joined(part, rows, few, dim=2)


def _linear(func: Any, values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """The same of a matrix product with weights, so many vectors at a time."""
    flat = values.reshape(-1, values.shape[-1])
    few = max(1, int(_PART / weight.numel()))
    if len(flat) <= few:
        return None
    made = _joined(lambda first, last: func(flat[first:last], weight, bias), len(flat), few, dim=0)
    return made.reshape(*values.shape[:-1], len(weight))


def _attended(
    func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor | None:
    """The same of attention, so many queries at a time."""
    asked = query.shape[-2]
    of_one = math.prod(query.shape[:-2]) * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    few = max(1, int(_PART / of_one))
    if asked <= few or dropout or causal:
        return None

    def part(first: int, last: int) -> Tensor:
        own = mask is not None and mask.dim() > 1 and mask.shape[-2] == asked
        shown = mask[..., first:last, :] if mask is not None and own else mask
        some = query[..., first:last, :]
        made: Tensor = func(some, key, value, shown, scale=scale, enable_gqa=enable_gqa)
        return made

    return _joined(part, asked, few, dim=query.dim() - 2)


_IN_PARTS: Final[dict[Any, Callable[..., Tensor | None]]] = {
    _aten.conv2d.default: _convolved,
    _aten.linear.default: _linear,
    _aten.scaled_dot_product_attention.default: _attended,
}


def _both(number: Any) -> tuple[int, int]:
    """A setting along both axes, which may be written as one number."""
    one = list(number) if isinstance(number, list | tuple) else [number]
    return int(one[0]), int(one[-1])


def _joined(part: Callable[[int, int], Tensor], count: int, few: int, *, dim: int) -> Tensor:
    """Parts of an output, put together, with the tokens checked before each."""
    parts = math.ceil(count / few)
    cuts = [round(one * count / parts) for one in range(parts + 1)]
    first = part(0, cuts[1])
    size = list(first.shape)
    size[dim] = count
    together = first.dim() == 4 and not first.is_contiguous() and first.stride(1) == 1
    layout = torch.channels_last if together else torch.contiguous_format
    result = torch.empty(size, dtype=first.dtype, memory_format=layout)
    result.narrow(dim, 0, cuts[1]).copy_(first)
    for begin, end in itertools.pairwise(cuts[1:]):
        check_stop()
        result.narrow(dim, begin, end - begin).copy_(part(begin, end))
    return result
