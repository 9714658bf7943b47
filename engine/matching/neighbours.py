"""Products of the neighbouring cells of a map, which tell what lies between the cells.

What is read between four cells is a sum of them, so its squared length, and its product with
another such sum, are made from the products of these cells with each other.  They are the same for
all queries, so they are found once.  Products of a query with a few cells tell the rest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.progress import check_stop

_CELLS_AT_ONCE: Final = 1 << 16
_FEW_PRODUCTS: Final = 4096  # under the pointer no other thread is worth waking
_READ_AT_ONCE: Final = 1 << 22  # numbers

Products = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourProducts:
    """Dot products of cells ``(H', W')`` with themselves and with their neighbours.

    Attributes:
        table: ``(2H' - 1, 2W' - 1)``.  At an even row and an even column stands the square of a
            cell; at an odd column the product of the cells to both sides; at an odd row that of the
            cells above and below; where both are odd the mean of the products along both diagonals
            of the four cells around.
        falling: ``(H' - 1, W' - 1)`` of cells with those below to the right.
        rising: ``(H' - 1, W' - 1)`` of cells with those below to the left of them, at the column of
            the latter.
    """

    table: Products
    falling: Products
    rising: Products

    @classmethod
    def of(cls, vectors: Tensor) -> NeighbourProducts:
        """Those of ``(H', W', D)`` vectors; any strides, any device."""
        height, width = vectors.shape[:2]
        table = np.empty((2 * height - 1, 2 * width - 1), np.float32)
        table[::2, ::2] = _products(vectors, vectors)
        table[::2, 1::2] = _products(vectors[:, :-1], vectors[:, 1:])
        table[1::2, ::2] = _products(vectors[:-1], vectors[1:])
        falling = _products(vectors[:-1, :-1], vectors[1:, 1:])
        rising = _products(vectors[:-1, 1:], vectors[1:, :-1])
        np.multiply(falling + rising, 0.5, out=table[1::2, 1::2])
        return cls(table, falling, rising)

    @property
    def squares(self) -> Products:
        """``(H', W')`` of cells with themselves."""
        return self.table[::2, ::2]

    @property
    def across(self) -> Products:
        """``(H', W' - 1)`` of cells with those to their right."""
        return self.table[::2, 1::2]

    @property
    def down(self) -> Products:
        """``(H' - 1, W')`` of cells with those below them."""
        return self.table[1::2, ::2]

    def windows(self, rows: NDArray[np.int64], columns: NDArray[np.int64], edge: int) -> Products:
        """``(N, 2K - 1, 2K - 1)`` parts of the table for K × K cells from ``(N,)`` cells on.

        Beyond the map its border goes on, as wherever a map is read.
        """
        steps = np.arange(2 * edge - 1)
        last_row, last_column = (length - 1 for length in self.table.shape)
        at_rows = np.clip(2 * rows[:, None] + steps, 0, last_row)
        at_columns = np.clip(2 * columns[:, None] + steps, 0, last_column)
        found: Products = self.table[at_rows[:, :, None], at_columns[:, None]]
        return found


class Neighbours:
    """A map, and the products of its neighbouring cells once somebody asks for them.

    Args:
        vectors: ``(H', W', D)`` the map, of unit length or zero; any strides, any device.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors
        self._products: NeighbourProducts | None = None

    @property
    def products(self) -> NeighbourProducts:
        """Found when first asked for; thread-safe."""
        if self._products is None:
            self._products = NeighbourProducts.of(self.vectors)  # twice by chance is the same
        return self._products

    def products_with(
        self, queries: NDArray[np.float32], asking: NDArray[np.int64], cells: NDArray[np.int64]
    ) -> Products:
        """Products of queries with some cells each.

        Args:
            queries: ``(N, D)``.
            asking: ``(M,)`` numbers of queries.
            cells: ``(M, K)`` which cells each is multiplied with, counted row by row.

        Returns:
            ``(M, K)``.
        """
        vectors = self.vectors
        in_place = vectors.device.type == "cpu" and vectors.dtype == torch.float32
        if in_place and vectors.is_contiguous() and cells.size > _FEW_PRODUCTS:
            rows = vectors.flatten(0, 1)
            if cells.size < len(queries) * len(rows):
                return _sampled(queries, rows, asking, cells)
            whole = torch.from_numpy(np.ascontiguousarray(queries)) @ rows.T
            every: Products = whole.numpy()[asking[:, None], cells]
            return every
        at_once = max(1, _READ_AT_ONCE // max(1, cells.shape[1] * vectors.shape[2]))
        found = np.empty(cells.shape, np.float32)
        for one in range(0, len(cells), at_once):
            some = slice(one, one + at_once)
            there = np.divmod(cells[some], vectors.shape[1])
            if in_place:
                read = vectors.numpy()[there]
            else:
                index = tuple(torch.from_numpy(one).to(vectors.device) for one in there)
                read = vectors[index].float().cpu().numpy()
            np.vecdot(read, queries[asking[some], None], out=found[some])
        return found


def _sampled(
    queries: NDArray[np.float32],
    rows: Tensor,
    asking: NDArray[np.int64],
    cells: NDArray[np.int64],
) -> Products:
    """As :meth:`Neighbours.products_with`, of fewer cells than are in all pairs.

    A sampled product makes no copies of the cells, which takes eight times as long as to multiply
    them.
    """
    _allow_sparse()
    order = None if (np.diff(asking) >= 0).all() else np.argsort(asking, kind="stable")
    cells = cells if order is None else cells[order]
    counts = np.bincount(asking, minlength=len(queries)) * cells.shape[1]
    wanted = torch.sparse_csr_tensor(
        torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])),
        torch.from_numpy(cells.reshape(-1)),
        torch.zeros(cells.size),
        size=(len(queries), len(rows)),
        check_invariants=False,  # it would forbid to ask for a cell twice, as beside the border
    )
    asked = torch.from_numpy(np.ascontiguousarray(queries))
    products = torch.sparse.sampled_addmm(wanted, asked, rows.T, beta=0.0)
    found: Products = products.values().numpy().reshape(cells.shape)
    if order is None:
        return found
    unsorted = np.empty_like(found)
    unsorted[order] = found
    return unsorted


@cache
def _allow_sparse() -> None:
    """Have torch say now, and to nobody, that it may still change its sparse tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], [], size=(1, 1), dtype=torch.float32)


def _products(one: Tensor, other: Tensor) -> Products:
    """``(H', W')`` dot products of vectors ``(H', W', D)``, some rows at a time."""
    rows = max(1, _CELLS_AT_ONCE // max(1, one.shape[1]))
    found = []
    for mine, theirs in zip(torch.split(one, rows), torch.split(other, rows), strict=True):
        check_stop()
        found.append(torch.linalg.vecdot(mine.float(), theirs.float()).cpu())
    return torch.cat(found).numpy()
