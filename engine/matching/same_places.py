"""Where a map holds exactly the descriptor that was asked for, also between its cells.

Between cells that differ strongly, the interpolated descriptor has less in common with each of
them than with a cell elsewhere: so it is by DAISY beside blank areas, and at edges of drawings.
So the most similar cell need not be near the place that has the very descriptor, as the query's
own place does when an image is searched for itself.  Here that place is found, wherever it is.

No cell is passed over that could be near it.  Let q be a query and v = sum w_i c_i its place, read
from four cells with shares w that add up to 1, so that q = v / |v|.  Then sum w_i (q . c_i) = |v|,
and one of the four cells has q . c_i >= |v|.  Only cells that are at least as similar to the query
as the shortest vector next to them is long have to be looked at.  Between the alike cells of a
photo that length is nearly 1.  Cells that hold nothing make v shorter and do not turn it, so their
shares are given to the others before its length is taken, and they themselves are never looked at.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.matching.nearest import MOST_REACHING
from engine.matching.neighbours import NeighbourProducts, Neighbours
from engine.progress import check_stop

SAME: Final = 5e-6
"""Unit vectors whose similarity is within this of 1 are the same: they differ by 0.3 %."""

_PLACES_A_CELL: Final = 5
# At its least, a square length grows by the square of the distance times that of the cells'
# difference, along either axis.  The nearest place that is tried is up to 1/8 of a cell away.
_BETWEEN_PLACES: Final = 1 / 64
_PAIRS: Final = ((0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2))  # of the cells of a square
_SQUARES: Final = np.array([(0, 1, 3, 4), (1, 2, 4, 5), (3, 4, 6, 7), (4, 5, 7, 8)])  # of 3 × 3
# Products in float32 are wrong by up to this.  For v = sum w_i c_i with shares w, wrong products of
# the cells change the squared length of v / |v| within the space of the cells by at most that much
# over |v|², wrong products with v by twice as much, and a ridge takes ridge / |v|² from it.  The
# ridge is larger than the four errors of a row, so that there is a solution where cells are alike.
_PRODUCT_ROUNDING: Final = 3e-7
_RIDGE: Final = 2e-6
_SOLVED: Final = 1e-5  # rounding of that length, where cells are nearly alike
_CELLS_AT_ONCE: Final = 1 << 16
_TINY: Final = 1e-6
_ZOOM_STEPS: Final = 4  # of a grid to either side
_ZOOM_ROUNDS: Final = 10  # each halves the grid: from 1/4 to 1/2048 of a cell
_STEPS: Final = 6
_ROUNDING: Final = 2e-7  # of the similarity of float32 vectors
_BESIDE: Final = 1 / 64  # of a cell
_EXACT: Final = 1e-12  # rounding of a float64 similarity
_NEARER: Final = 1e-9  # beside a cell that holds nothing, all places up to it are the same


class LeastLengths:
    """How short interpolated descriptors get around each cell of a map; found when first asked for.

    Args:
        neighbours: the map; of unit length or zero.
    """

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._found: NDArray[np.float32] | None = None

    def __call__(self) -> NDArray[np.float32]:
        """``(H' * W')`` at most the length of any vector read up to one cell away; thread-safe.

        Infinite for cells that hold nothing, of which no vector is made.
        """
        if self._found is None:
            self._found = _least_lengths(self._neighbours.products)  # twice by chance is the same
        return self._found


def _least_lengths(of_map: NeighbourProducts) -> NDArray[np.float32]:
    squares, across, down = of_map.squares, of_map.across, of_map.down
    height, width = squares.shape
    if width < 2 or height < 2:
        return np.zeros(width * height, np.float32)  # any cell may be near the place
    # Of the four cells of each square, by rows: each with itself, then each with each other.
    own = squares[:-1, :-1], squares[:-1, 1:], squares[1:, :-1], squares[1:, 1:]
    top, bottom, left_side, right_side = across[:-1], across[1:], down[:, :-1], down[:, 1:]
    others = top, bottom, left_side, right_side, of_map.falling, of_map.rising
    products = torch.from_numpy(np.stack([*own, *others], axis=-1)).view(-1, 10)
    along = np.linspace(0, 1, _PLACES_A_CELL)
    shares = [np.outer(y, x).ravel() for y in (1 - along, along) for x in (1 - along, along)]
    weights = [share * share for share in shares]
    weights += [2 * shares[i] * shares[j] for i, j in _PAIRS]
    places = torch.from_numpy(np.stack(weights)).float()
    parts = range(0, len(products), _CELLS_AT_ONCE)
    least_of_parts = []
    for one in parts:
        check_stop()
        least_of_parts.append((products[one : one + _CELLS_AT_ONCE] @ places).amin(dim=1))
    squared = torch.cat(least_of_parts)
    changes = [
        torch.from_numpy(one + other - 2 * product).flatten()
        for one, other, product in (
            (own[0], own[1], top), (own[2], own[3], bottom),
            (own[0], own[2], left_side), (own[1], own[3], right_side),
        )
    ]  # fmt: skip
    change = torch.maximum(*changes[:2]) + torch.maximum(*changes[2:])
    squared = squared - change * _BETWEEN_PLACES
    something = products[:, :4] > 0
    beside_nothing = ~something.all(dim=1)
    squared[beside_nothing] = _least_beside_nothing(
        products[beside_nothing, 4:], something[beside_nothing]
    )
    between = squared.clamp_min(0).sqrt().view(height - 1, width - 1).numpy()
    least = np.ones((height, width), np.float32)
    for rows in (slice(0, -1), slice(1, None)):
        for columns in (slice(0, -1), slice(1, None)):
            np.minimum(least[rows, columns], between, out=least[rows, columns])
    least[squares == 0] = np.inf  # no query is similar to nothing
    return least.ravel()


def _least_beside_nothing(products: Tensor, something: Tensor) -> Tensor:
    """Least squared lengths of means of those cells of squares that hold something.

    Beside a cell that holds nothing, what is read becomes short without turning elsewhere.  A mean
    of k unit vectors whose products are at least m has a squared length of (1 + (k - 1) m) / k or
    more, as the squares of k shares add up to 1/k or more.

    Args:
        products: ``(N, 6)`` of cells with each other, in the order of the pairs.
        something: ``(N, 4)`` False for cells that are zero.
    """
    first, second = torch.tensor(_PAIRS).T
    both = something[:, first] & something[:, second]
    least = torch.where(both, products, 1.0).amin(dim=1)
    count = something.sum(dim=1).clamp_min(1)
    return (1 + (count - 1) * least) / count


def likely_cells(
    similarity: NDArray[np.float32], least: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells next to which a query's very descriptor may be.

    Args:
        similarity: ``(N, M)`` of queries with the cells of a map.
        least: ``(M,)`` from :class:`LeastLengths`.

    Returns:
        ``(K,)`` queries and ``(K,)`` cells; of each query at most 256 cells, the most similar: the
        place was among 29 in drawings, and among more in brickwork.
    """
    queries, cells = np.nonzero(similarity >= least - SAME)
    counts = np.bincount(queries, minlength=len(similarity))
    if counts.max(initial=0) <= MOST_REACHING:
        return queries, cells
    kept = []
    for query, count in enumerate(counts):
        own = cells[queries == query] if count else cells[:0]
        if count > MOST_REACHING:
            own = own[np.argsort(-similarity[query, own], kind="stable")[:MOST_REACHING]]
        kept.append(own)
    return np.repeat(np.arange(len(kept)), [len(own) for own in kept]), np.concatenate(kept)


def may_hold(
    of_map: NeighbourProducts,
    cells: NDArray[np.int64],
    likes: NDArray[np.float32],
    least: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Whether a query's very descriptor may be read up to a cell from a cell; cheap to tell.

    What is read between four cells lies in the space that they span, so a query that is longer
    across that space than rounding is, is not read there.

    Args:
        of_map: the map.
        cells: ``(N, 2)`` column and row of cells.
        likes: ``(N, L, 9)`` products of sets of queries, of unit length or zero, with the 3 × 3
            cells around each, by rows; of those outside the map any.
        least: ``(N,)`` from :class:`LeastLengths`, of these cells.

    Returns:
        ``(N,)`` False where :func:`zoom_in` is sure to find less than :data:`SAME` asks for.
    """
    height, width = of_map.squares.shape
    if width < 2 or height < 2:
        return np.ones(len(cells), np.bool_)
    inside = np.ones((len(cells), 3, 3), np.bool_)  # others are never read
    for axis, last in enumerate((width - 1, height - 1)):
        along = cells[:, axis, None] + np.arange(-1, 2)
        inside &= np.expand_dims((along >= 0) & (along <= last), 1 + axis)
    corners = inside.reshape(-1, 9)[:, _SQUARES].astype(np.float64)  # (N, 4 squares, 4 cells)
    own = _products_of_squares(of_map, cells)
    own *= corners[..., :, None] * corners[..., None, :]
    own += _RIDGE * np.eye(4)
    products = likes[..., _SQUARES].transpose(0, 2, 3, 1) * corners[..., None]
    within = (products * np.linalg.solve(own, products)).sum(axis=2)  # squared lengths
    lost = (3 * _PRODUCT_ROUNDING + _RIDGE) / np.maximum(np.square(least.astype(np.float64)), _TINY)
    lost += 2 * SAME + _SOLVED
    found: NDArray[np.bool_] = within.max(axis=(1, 2)) >= 1 - lost
    return found


def _products_of_squares(
    of_map: NeighbourProducts, cells: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``(N, 4, 4, 4)`` products of the cells of each of the four squares around cells ``(N, 2)``.

    Those with cells outside the map mean nothing.
    """
    first_column, first_row = (cells - 1).T
    table = of_map.windows(first_row, first_column, 3)
    last_row, last_column = (length - 1 for length in of_map.falling.shape)
    rows = np.clip(first_row[:, None] + (0, 0, 1, 1), 0, last_row)
    columns = np.clip(first_column[:, None] + (0, 1, 0, 1), 0, last_column)
    found = np.empty((len(cells), 4, 4, 4))
    for number, (top, left) in enumerate(itertools.product((0, 2), (0, 2))):
        square = table[:, top : top + 3, left : left + 3]
        for one, other, product in (
            (0, 0, square[:, 0, 0]), (1, 1, square[:, 0, 2]),
            (2, 2, square[:, 2, 0]), (3, 3, square[:, 2, 2]),
            (0, 1, square[:, 0, 1]), (2, 3, square[:, 2, 1]),
            (0, 2, square[:, 1, 0]), (1, 3, square[:, 1, 2]),
            (0, 3, of_map.falling[rows[:, number], columns[:, number]]),
            (1, 2, of_map.rising[rows[:, number], columns[:, number]]),
        ):  # fmt: skip
            found[:, number, one, other] = found[:, number, other, one] = product
    return found


def zoom_in(
    around: NDArray[np.float32],
    outside: NDArray[np.bool_],
    queries: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where, up to a cell from a cell, the map is most similar to a query: to 1/2048 of a cell.

    Args:
        around: ``(N, 9, D)`` descriptors of 3 × 3 cells, by rows.
        outside: ``(N, 9)`` True for cells outside the map, whose descriptors mean nothing.
        queries: ``(N, L, D)`` sets of descriptors; the best counts.

    Returns:
        ``(N, 2)`` shift (x, y) in cells, and ``(N,)`` the similarity there; -inf where the map
        holds nothing.
    """
    exact = around.astype(np.float64)  # rounding would hide which of two alike places is the same
    turned = exact.transpose(0, 2, 1)
    products, squares = np.matmul(queries.astype(np.float64), turned), np.matmul(exact, turned)
    low = np.where(outside[:, (3, 1)], 0.0, -1.0)  # to the left, and above
    high = np.where(outside[:, (5, 7)], 0.0, 1.0)
    each = np.arange(len(around))
    place = (low + high) / 2
    best = np.full(len(around), -np.inf)
    span = 1.0
    steps = np.arange(-_ZOOM_STEPS, _ZOOM_STEPS + 1) / _ZOOM_STEPS
    for _ in range(_ZOOM_ROUNDS):
        check_stop()
        xs, ys = (
            np.clip(place[:, axis, None] + span * steps, low[:, axis, None], high[:, axis, None])
            for axis in (0, 1)
        )
        share_x, share_y = (
            np.maximum(0, 1 - np.abs(one[:, :, None] - np.arange(-1, 2))) for one in (xs, ys)
        )
        shares = share_y[:, :, None, :, None] * share_x[:, None, :, None, :]
        shares = shares.reshape(len(around), -1, 9)
        length = np.sqrt(np.maximum(((shares @ squares) * shares).sum(axis=2), _TINY))
        similarity = (products @ shares.transpose(0, 2, 1)).max(axis=1) / length
        away = np.square(ys)[:, :, None] + np.square(xs)[:, None, :]
        similarity -= _NEARER * away.reshape(similarity.shape)
        chosen = similarity.argmax(axis=1)
        best = similarity[each, chosen]
        rows, columns = np.divmod(chosen, len(steps))
        place = np.stack([xs[each, columns], ys[each, rows]], axis=1)
        span /= 2  # no less: the similar places may lie along a narrow ridge
    # Along a ridge narrower than the first grids, the zoom ends beside the top.
    for _ in range(_STEPS):
        moved = (place - _step(place, products, squares)).clip(low, high)
        like = _similarity_at(moved, products, squares)
        better = like > best + _EXACT
        place[better], best[better] = moved[better], like[better]
    # Rounding decides between places this near; a query half a cell beyond the outermost cells
    # belongs to these cells, not to places still farther from it.
    on_cell = np.where(np.abs(place) <= _BESIDE, 0.0, place)
    same = _similarity_at(on_cell, products, squares) >= best - _ROUNDING
    place[same] = on_cell[same]
    return place, best


def _shares(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(N, 2, 3)`` shares of the columns and rows of 3 × 3 cells in places ``(N, 2)``."""
    shares: NDArray[np.float64] = np.maximum(0, 1 - np.abs(place[:, :, None] - np.arange(-1, 2)))
    return shares


def _similarity_at(
    place: NDArray[np.float64], products: NDArray[np.float64], squares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """``(N,)`` of the queries at places ``(N, 2)``; the others as in :func:`zoom_in`."""
    along, down = _shares(place).swapaxes(0, 1)
    shares = (down[:, :, None] * along[:, None]).reshape(len(place), 9, 1)
    square = (shares.swapaxes(1, 2) @ squares @ shares)[:, 0, 0]
    best = (products @ shares)[:, :, 0].max(axis=1)
    found: NDArray[np.float64] = best / np.sqrt(np.maximum(square, _TINY))
    return found


def _step(
    place: NDArray[np.float64], products: NDArray[np.float64], squares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A Gauss-Newton step ``(N, 2)`` towards where the part across the query vanishes.

    What is read from the cells is v = sum s_i c_i.  Its part across a unit query q has the squared
    length s' (C C' - C q q' C') s; C are the nine cells.
    """
    along, down = _shares(place).swapaxes(0, 1)
    left = np.floor(np.clip(place, -1.0, 1.0 - 1e-12))[:, :, None]
    axis = np.arange(-1, 2)
    slope = (axis == left + 1).astype(np.float64) - (axis == left)
    shares, by_x, by_y = (
        (rows[:, :, None] * columns[:, None]).reshape(len(place), 9)
        for rows, columns in ((down, along), (down, slope[:, 0]), (slope[:, 1], along))
    )
    member = (products @ shares[:, :, None])[:, :, 0].argmax(axis=1)
    own = products[np.arange(len(place)), member]
    across = squares - own[:, :, None] * own[:, None]
    slopes = np.stack([by_x, by_y], axis=1)
    normal = slopes @ across @ slopes.swapaxes(1, 2) + _TINY * np.eye(2)
    gradient = slopes @ across @ shares[:, :, None]
    step: NDArray[np.float64] = np.linalg.solve(normal, gradient)[:, :, 0]
    return step
