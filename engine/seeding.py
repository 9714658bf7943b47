"""Random numbers that depend on names alone: on a seed, a pair, a purpose, a place.

Nothing here keeps a state.  What is drawn for a pair does not depend on what was drawn before, on
the device, or on the process that draws it, so an interrupted run continues exactly, and
several processes together draw what one alone would.

The hash is the finaliser of MurmurHash3 (A. Appleby, public domain) in unsigned 32-bit arithmetic::

    mix(h):  h ^= h >> 16;  h *= 0x85EBCA6B;  h ^= h >> 13;  h *= 0xC2B2AE35;  h ^= h >> 16
    hash(a, b, c, ...) = mix(... mix(mix(mix(0x9E3779B9 ^ a) ^ b) ^ c) ...)

``mix`` is a bijection, so numbers that differ in the last place alone never share a hash.  Torch
has no unsigned 32-bit products: here the same bits are kept in int32, whose products wrap.
"""

from __future__ import annotations

import math
import zlib
from typing import Final

import torch
from torch import Tensor

_BASE: Final = 0x9E3779B9
_FIRST: Final = 0x85EBCA6B
_SECOND: Final = 0xC2B2AE35
_MASK: Final = 0xFFFFFFFF
_LOWEST: Final = -(1 << 31)


def hash_numbers(*numbers: int) -> int:
    """The hash of whole numbers, each taken modulo 2³²; in [0, 2³²)."""
    value = _BASE
    for number in numbers:
        value = _mix_one(value ^ (number & _MASK))
    return value


def purpose_number(purpose: str) -> int:
    """A number for a word, so that draws for different purposes are independent."""
    return zlib.crc32(purpose.encode())


def mix(bits: Tensor) -> Tensor:
    """``mix`` of every element of an int32 tensor, **in place**; returns the same tensor."""
    bits.bitwise_xor_((bits >> 16).bitwise_and_(0xFFFF))  # int32 shifts drag the sign along
    bits.mul_(_signed(_FIRST))
    bits.bitwise_xor_((bits >> 13).bitwise_and_(0x7FFFF))
    bits.mul_(_signed(_SECOND))
    return bits.bitwise_xor_((bits >> 16).bitwise_and_(0xFFFF))


def hash_next(before: Tensor, numbers: Tensor) -> Tensor:
    """Continue a hash by one more number.

    Args:
        before: int32 bits of hashes so far, such as ``to_bits(hash_numbers(seed))``.
        numbers: int32, broadcast against ``before``.

    Returns:
        int32 bits of the longer hash.
    """
    return mix(torch.bitwise_xor(before, numbers))


def to_bits(values: int | list[int], *, device: torch.device | str = "cpu") -> Tensor:
    """Numbers modulo 2³² as the int32 tensor of the same bits."""
    many = values if isinstance(values, list) else [values]
    bits = torch.tensor([_signed(v & _MASK) for v in many], dtype=torch.int32, device=device)
    return bits if isinstance(values, list) else bits[0]


def in_unsigned_order(bits: Tensor) -> Tensor:
    """int32 numbers that compare as the unsigned numbers of these bits do."""
    return torch.bitwise_xor(bits, _LOWEST)


class Draws:
    """Random numbers for a batch, one independent source an element.

    Args:
        keys: one number per element of the batch, any size; equal keys draw equally.
        device: where the numbers are made; it does not change them (but for the last bit of
            :meth:`normal`, whose logarithm and cosine are the device's own).
    """

    def __init__(self, keys: list[int], *, device: torch.device) -> None:
        # Keys beyond 32 bits are folded, so that seeds and pairs may have any number.
        self._keys = to_bits([hash_numbers(key, key >> 32) for key in keys], device=device)
        self.device = device

    def __len__(self) -> int:
        return len(self._keys)

    def uniform(self, purpose: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """``(B, *shape)`` float32, even over [low, high); the same for the same purpose."""
        return self._unit(purpose, shape).mul_(high - low).add_(low)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """``(B, *shape)`` float32, normally distributed, never beyond 4.9 (Box and Muller, 1958).

        One hash gives two numbers: its upper half decides how far, its lower half which way.
        """
        count = math.prod(shape)
        bits = self._bits(purpose, (count + 1) // 2)
        far = (bits >> 16).bitwise_and_(0xFFFF).add_(1).float().mul_(2.0**-16)
        length = far.log_().mul_(-2.0).sqrt_()
        way = bits.bitwise_and_(0xFFFF).float().mul_(2 * math.pi * 2.0**-16)
        both = torch.cat([way.cos().mul_(length), way.sin_().mul_(length)], dim=1)
        return both[:, :count].reshape(len(self), *shape)

    def happens(self, purpose: str, probability: float) -> Tensor:
        """``(B,)`` True with a probability."""
        return self._unit(purpose, ()) < probability

    def part(self, places: Tensor) -> Draws:
        """The draws of some elements of the batch, ``(C,)`` int64 places in it."""
        part = Draws([], device=self.device)
        part._keys = self._keys[places]
        return part

    def _unit(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        bits = self._bits(purpose, math.prod(shape))
        # The upper 24 bits fill a float32 exactly.
        unit = (bits >> 8).bitwise_and_(0xFFFFFF).float().mul_(2.0**-24)
        return unit.view(len(self), *shape)

    def _bits(self, purpose: str, count: int) -> Tensor:
        places = torch.arange(count, dtype=torch.int32, device=self.device)
        start = hash_next(self._keys, to_bits(purpose_number(purpose), device=self.device))
        return hash_next(start[:, None], places[None])


def _mix_one(value: int) -> int:
    value ^= value >> 16
    value = value * _FIRST & _MASK
    value ^= value >> 13
    value = value * _SECOND & _MASK
    return value ^ value >> 16


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value
