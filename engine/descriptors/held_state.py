"""What a built descriptor really holds: its networks, and the weights in them.

A settings object names a file; what was made of it is another matter.  A plugin may load a file of
its own, load nothing, or load half of one.  So weights are looked for where they are used.
"""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

_DEEPEST: Final = 6
_MOST: Final = 20_000


def networks_of(descriptor: object) -> tuple[nn.Module, ...]:
    """Every network that a descriptor holds, none of them inside another one.

    Attributes, containers, closures and bound methods are looked through.
    """
    found = [one for _, one in _held(descriptor) if isinstance(one, nn.Module)]
    inner = {id(part) for one in found for part in one.modules() if part is not one}
    return tuple(one for one in found if id(one) not in inner)


def state_sha256(descriptor: object) -> str | None:
    """SHA-256 over names and numbers of all tensors and arrays it holds; None if it holds none.

    Wherever they are and however they are laid out in memory, the same numbers give the same.
    """
    whole = hashlib.sha256()
    count = 0
    for name, values in sorted(_arrays(descriptor), key=lambda pair: pair[0]):
        content = np.ascontiguousarray(values)
        whole.update(f"{name} {content.dtype} {content.shape}\n".encode())
        whole.update(content.data if content.size else b"")
        count += 1
    return whole.hexdigest() if count else None


def _arrays(descriptor: object) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for name, one in _held(descriptor):
        if isinstance(one, nn.Module):
            # Buffers that are not saved decide what is computed as well.
            for part, tensor in (*one.named_parameters(), *one.named_buffers()):
                yield f"{name}.{part}", as_array(tensor)
        elif isinstance(one, Tensor):
            yield name, as_array(one)
        elif isinstance(one, np.ndarray) and one.dtype.kind in "biufc":
            yield name, one


def as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """A tensor's numbers as numpy has them, bit by bit where numpy has no such numbers."""
    tensor = tensor.detach().cpu()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    try:
        return tensor.contiguous().numpy()
    except TypeError:  # bfloat16, float8
        return tensor.contiguous().view(torch.uint8).numpy()


def _held(root: object) -> Iterator[tuple[str, object]]:
    """Networks, tensors and arrays, each once, with the way to them."""
    seen: set[int] = set()
    waiting: list[tuple[str, object, int]] = [("", root, 0)]
    while waiting and len(seen) < _MOST:
        name, one, depth = waiting.pop(0)
        if id(one) in seen or isinstance(one, str | bytes | int | float | complex | type | None):
            continue
        seen.add(id(one))
        if isinstance(one, nn.Module | Tensor | np.ndarray):
            yield name, one
        elif depth < _DEEPEST:
            waiting += [(f"{name}.{key}", part, depth + 1) for key, part in _parts(one)]


def _parts(one: object) -> Iterator[tuple[str, object]]:
    if isinstance(one, dict):
        yield from ((str(key), value) for key, value in one.items())
    elif isinstance(one, list | tuple | set | frozenset):
        yield from ((str(number), value) for number, value in enumerate(one))
    elif isinstance(one, functools.partial):
        yield from (("func", one.func), ("args", one.args), ("keywords", one.keywords))
    elif isinstance(one, types.MethodType):
        yield from (("self", one.__self__), ("func", one.__func__))
    elif isinstance(one, types.FunctionType):
        for number, cell in enumerate(one.__closure__ or ()):
            try:
                yield str(number), cell.cell_contents
            except ValueError:  # not filled yet
                continue
        names = set(one.__code__.co_names)
        yield from (
            (key, value)
            for key, value in one.__globals__.items()
            if key in names and isinstance(value, nn.Module | Tensor | np.ndarray)
        )
    elif not isinstance(one, types.ModuleType):
        yield from getattr(one, "__dict__", {}).items()
        for kind in type(one).__mro__:
            slots = getattr(kind, "__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if hasattr(one, slot):
                    yield slot, getattr(one, slot)
        describe = getattr(type(one), "describe", None)
        if isinstance(describe, types.FunctionType):
            yield "describe", describe
