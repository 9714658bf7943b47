"""One query against a whole map: the heat map behind the probe.

What a query needs is laid out once, when an image has been described: the cells of each level as
one contiguous matrix, so that a query is a single matrix-vector product, and the weights that
enlarge the level to pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.descriptors.base import DescriptorMap, Member
from engine.geometry.coords import CellGrid
from engine.matching.neighbours import Neighbours
from engine.matching.same_places import LeastLengths

_BLOCK_NUMBERS: Final = 8192  # OpenBLAS takes several threads from 9216 on
ROUNDING: Final = 1e-6
"""Similarities that differ by less are the same."""


class Upsampler:
    """Bilinear enlargement of one value per cell to one per pixel, with its weights kept.

    Pixels outside the centres of the border cells take the border's value.

    Args:
        grid: placement of the cells in the image.
        cells: (width, height) of the map, in cells.
        size_px: (width, height) of the image.
    """

    def __init__(self, grid: CellGrid, cells: tuple[int, int], size_px: tuple[int, int]) -> None:
        self._left, self._weight_x = _weights(grid, cells[0], size_px[0])
        self._top, weight_y = _weights(grid, cells[1], size_px[1])
        self._weight_y = weight_y[:, None]

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge ``(H', W')`` values per cell to ``(H, W)`` values per pixel."""
        # Separable, and as value + weight * difference: cv2.resize knows no offset, and the others
        # of OpenCV work in 1/32 of a cell before version 5.
        steps = np.zeros_like(values)
        np.subtract(values[:, 1:], values[:, :-1], out=steps[:, :-1])
        wide = values.take(self._left, axis=1)
        wide_steps = steps.take(self._left, axis=1)
        wide_steps *= self._weight_x
        wide += wide_steps

        np.subtract(wide[1:], wide[:-1], out=wide_steps[:-1])
        wide_steps[-1] = 0
        pixels = wide.take(self._top, axis=0)
        pixel_steps = wide_steps.take(self._top, axis=0)
        pixel_steps *= self._weight_y
        pixels += pixel_steps
        return pixels


@dataclass(frozen=True, slots=True, eq=False)
class SearchLevel:
    """One level of one image, laid out for queries.

    Attributes:
        vectors: ``(H' * W', D)`` float32, contiguous, row by row.
        cells: (width, height) in cells.
        grid: placement of the cells in the image that was described.
        member: which member of the set it is.
        upsampler: enlarges one value per cell to the working size.
        neighbours: the same vectors as ``(H', W', D)``, with the products of neighbouring cells.
        least_lengths: which cells a query's very descriptor may be next to.
    """

    vectors: Tensor
    cells: tuple[int, int]
    grid: CellGrid
    member: Member
    upsampler: Upsampler
    neighbours: Neighbours
    least_lengths: LeastLengths

    @property
    def values(self) -> Tensor:
        """``(1, D, H', W')`` view of the same memory, as :func:`sample_map` takes it."""
        width, height = self.cells
        return self.vectors.view(1, height, width, -1).permute(0, 3, 1, 2)


def lay_out(level: DescriptorMap, size_px: tuple[int, int]) -> SearchLevel:
    """Lay one level of a single image out for queries.

    Args:
        level: values of a batch of one.
        size_px: (width, height) of the image that was described.
    """
    batch, dim, height, width = level.values.shape
    assert batch == 1, "queries go to one image at a time"
    cells = (width, height)
    vectors = level.values[0].permute(1, 2, 0).reshape(-1, dim).float().contiguous()
    neighbours = Neighbours(vectors.view(height, width, dim))
    return SearchLevel(
        vectors=vectors,
        cells=cells,
        grid=level.grid,
        member=level.member,
        upsampler=Upsampler(level.grid, cells, size_px),
        neighbours=neighbours,
        least_lengths=LeastLengths(neighbours),
    )


def cell_similarity(level: SearchLevel, queries: Tensor) -> NDArray[np.float32]:
    """Cosine of a query with every cell of a level; the best over the members of its set.

    Args:
        level: the map.
        queries: ``(L, D)`` the set that describes one point, on the map's device.

    Returns:
        ``(H', W')`` float32.
    """
    width, height = level.cells
    if level.vectors.device.type == "cpu":
        vectors, members = level.vectors.numpy(), queries.numpy()
        similarity = _products(vectors, members[0])
        for member in members[1:]:
            np.maximum(similarity, _products(vectors, member), out=similarity)
    else:
        similarity = (queries @ level.vectors.T).amax(dim=0).cpu().numpy()
    found: NDArray[np.float32] = similarity.reshape(height, width)
    return found


def _products(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(M,)`` product of each row ``(M, D)`` with a query ``(D,)``, on this thread.

    A single product is some 0.06 ms faster on an idle computer, but waits up to 12 ms for its pool
    of threads when another thread computes as well.  OpenBLAS leaves blocks this small to the
    thread that asks for them.
    """
    count, dim = vectors.shape
    rows = _BLOCK_NUMBERS // max(1, dim) // 8 * 8
    if not 0 < rows <= count:
        return np.asarray(np.vecdot(vectors, query), np.float32)
    whole = count - count % rows
    products = np.empty(count, np.float32)
    blocks = vectors[:whole].reshape(-1, rows, dim)
    np.matmul(blocks, query, out=products[:whole].reshape(-1, rows))
    # The last block overlaps, so that equal rows have equal products wherever they are.
    np.matmul(vectors[-rows:], query, out=products[-rows:])
    return products


def similarity_map(
    levels: Sequence[SearchLevel], similarities: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """The heat map: each level's similarity enlarged to pixels, the best level at each pixel.

    Args:
        levels: the map, at least one level.
        similarities: ``(H', W')`` of each level, from :func:`cell_similarity`.

    Returns:
        ``(H, W)`` float32 over the image that was described.
    """
    heat = levels[0].upsampler(similarities[0])
    for level, similarity in zip(levels[1:], similarities[1:], strict=True):
        np.maximum(heat, level.upsampler(similarity), out=heat)
    return heat


def _weights(
    grid: CellGrid, cells: int, size_px: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each pixel along one axis: the cell before it, and the weight of the next one."""
    places = np.clip(grid.to_cells(np.arange(size_px, dtype=np.float64)), 0, cells - 1)
    before = places.astype(np.intp)
    return before, (places - before).astype(np.float32)
