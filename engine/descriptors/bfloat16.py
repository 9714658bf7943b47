"""Vectors rounded to bfloat16, and how far their products are from the exact ones.

Matching and mining share this.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

ROUNDING: Final = 2.0**-8
"""Largest relative change by rounding a number to bfloat16, which keeps 8 bits."""

_FLOAT32_ROUNDING: Final = 2.0**-24  # largest relative change by rounding a number to float32
_CHUNK_BYTES: Final = 1 << 20  # the processor's caches hold it while it is worked on


@functools.cache
def in_hardware() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))


def sum_rounding(dim: int) -> float:
    """How far a product of two vectors of length 1, summed in float32 in any order, can be off."""
    return (dim + 1) * _FLOAT32_ROUNDING


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """Vectors in bfloat16.

    Attributes:
        values: ``(N, D)`` bfloat16; ``(0, D)`` where they were not to be kept.
        norm: ``(N,)`` float32, their lengths, or more.
        error: ``(N,)`` float32, lengths of what rounding changed, or more.
    """

    values: Tensor
    norm: Tensor
    error: Tensor

    @classmethod
    def of(
        cls,
        exact: Tensor,
        origin: Tensor | None = None,
        *,
        measure: bool = True,
        keep: bool = True,
        at_once: int | None = None,
    ) -> Rounded:
        """Round vectors, or how far they are from an origin.

        Args:
            exact: ``(N, D)`` float32.
            origin: ``(D,)``; zero where there is none.
            measure: look how far rounding changes each, which takes as long again; else the most
                that it can is taken, about 2.4 times as much.
            keep: the rounded vectors; else what is known of them alone.
            at_once: vectors that are rounded at a time; as many as caches hold where none are said.
        """
        count, dim = exact.shape
        values = torch.empty(count if keep else 0, dim, dtype=torch.bfloat16)
        norm, error = torch.empty(count), torch.empty(count)
        rows = at_once or max(1, _CHUNK_BYTES // (4 * dim))
        for begin in range(0, count, rows):
            part = slice(begin, begin + rows)
            chunk = exact[part] if origin is None else exact[part] - origin
            if keep:
                values[part] = chunk
            back = chunk
            if measure:
                back = (values[part] if keep else chunk.to(torch.bfloat16)).to(torch.float32)
            torch.linalg.vector_norm(back, dim=1, out=norm[part])
            if measure:
                torch.linalg.vector_norm(back.sub_(chunk), dim=1, out=error[part])
        if not measure:
            torch.mul(norm, ROUNDING, out=error)
            norm += error
        return cls(values, norm, error)

    def product_bound(self, norm: Tensor | float, error: Tensor | float) -> Tensor:
        """How far products with other rounded vectors can be from those of the exact ones.

        By the triangle inequality and that of Cauchy and Schwarz: both vectors were rounded, and so
        is the sum in float32.  Writing a product as bfloat16 changes it by :data:`ROUNDING` of
        itself, which comes on top.

        Args:
            norm: largest length of the other ones.
            error: largest length of what rounding changed in these.

        Returns:
            ``(N,)`` float32.
        """
        # Processors may round several times where they add two products, and matching holds this
        # against products that were summed in float32 themselves.
        summed = 4 * sum_rounding(self.values.shape[1])
        return (self.error * (norm + error)).add_(self.norm * (error + summed * norm))
