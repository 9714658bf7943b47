"""One described image, laid out for questions; here alone cells and pixels meet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engine.descriptors.base import Levels, Member
from engine.geometry.coords import CellGrid, Resize
from engine.geometry.sampling import sample_map, sample_rows
from engine.inspection.requests import Extent, MapInfo, NetworkInfo
from engine.matching.abreast import abreast
from engine.matching.nearest import Reaching
from engine.matching.same_places import SAME, likely_cells, may_hold, zoom_in
from engine.matching.similarity import SearchLevel, lay_out
from engine.matching.subcell import Refined, refine_best, refine_places
from engine.matching.texture import find_texture, texture_at
from engine.progress import check_stop

Points = NDArray[np.float64]

PLACE_DIM = 2
"""How many float32 numbers are kept for each cell beside its descriptor."""

_FEW_POINTS: Final = 64  # with more, torch reads them faster than numpy
_LEAST_LENGTH: Final = 1e-12  # as in torch's normalize
_STARTS: Final = 4
_ROUNDING: Final = 1e-8  # of the similarity of very descriptors
_ONE_PLACE_PX: Final = 0.01  # a place is found from several cells, from the nearest most exactly
_ZOOMED_AT_ONCE: Final = 1024
_WORTH_A_THREAD: Final = 128  # cells that may hold the very descriptors of queries
_SIMILARITIES_AT_ONCE: Final = 1 << 24
_ALIKE_AT_ONCE: Final = 64  # queries; the more, the less alike are the best similarities they reach
_WORTH_A_COPY: Final = 0.5  # share of the cells; gathering more takes longer than it saves
_OTHER_ORDER: Final = 1e-5  # of float32 sums that were added up otherwise
_BEYOND: Final = 0.5  # of a cell


def _offsets(reach: int) -> NDArray[np.int64]:
    """``(K, 2)`` (x, y) from a cell to those at most ``reach`` away, by rows."""
    steps = np.arange(-reach, reach + 1)
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)


_NEAR: Final = _offsets(1)
_WIDE: Final = _offsets(2)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Where queries were found between cells.

    Attributes:
        places_px: ``(N, 2)`` in original pixels.
        uncertainty_px: ``(N,)`` of each place along an axis, in original pixels, see
            :mod:`engine.matching.subcell`; a cell where the place is a cell's centre.
        twice: ``(N,)`` True where several places, more than a cell apart, have the very descriptor
            of the query, so that nothing tells which it is.
    """

    places_px: Points
    uncertainty_px: NDArray[np.float64]
    twice: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """What a search told of the cells that may be near queries' very descriptors.

    Attributes:
        query: ``(K,)`` number of the query.
        cell: ``(K,)`` index of the cell.
        many: ``(N,)`` True for queries with too many cells to be told.
    """

    query: NDArray[np.int64]
    cell: NDArray[np.int64]
    many: NDArray[np.bool_]

    @classmethod
    def of(cls, reaching: Reaching, asked: NDArray[np.int64]) -> _Told:
        """Of the queries that ask alone, by their new numbers."""
        many = reaching.many.cpu().numpy()
        number = np.full(len(many), -1)
        number[asked] = np.arange(len(asked))
        query = number[reaching.query.cpu().numpy()]
        kept = query >= 0
        return cls(query[kept], reaching.candidate.cpu().numpy()[kept], many[asked])

    def among(self, first: int, last: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Queries and cells ``(K,)`` of the level with these cells, which are counted from 0."""
        mine = (self.cell >= first) & (self.cell < last)
        return self.query[mine], self.cell[mine] - first


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """The maps of one image and the places of their cells; never changed once made.

    A *cell index* counts the cells of all levels, level after level, row by row.

    Attributes:
        info: the facts about them that people see.
        resize: from original to working pixels.
        levels: one per member of the set.
        places: ``(M, 2)`` float32 on the CPU: all cells in working pixels, by index.
        texture: ``(H, W)`` True where the working image has any, see
            :func:`~engine.matching.texture.find_texture`.
    """

    info: MapInfo
    resize: Resize
    levels: tuple[SearchLevel, ...]
    places: Tensor
    texture: NDArray[np.bool_]

    @property
    def device(self) -> torch.device:
        """Where the maps are."""
        return self.levels[0].vectors.device

    @property
    def vectors(self) -> list[Tensor]:
        """``(M, D)`` of each level, as the search takes them."""
        return [level.vectors for level in self.levels]

    @property
    def asks(self) -> list[Tensor]:
        """``(M,)`` of each level: how similar to a query its cells are next to its very place."""
        return [
            torch.from_numpy(level.least_lengths() - SAME).to(self.device) for level in self.levels
        ]

    @property
    def extent(self) -> Extent:
        """The area of the whole image."""
        return self.extent_of(CellGrid(1.0, 0.0), self.resize.to_size_px)

    def extent_of(self, grid: CellGrid, cells: tuple[int, int]) -> Extent:
        """The area that the (width, height) cells of a grid in the working image cover."""
        return extent_of(self.resize, grid, cells)

    def describe_points(
        self, points_px: NDArray[np.floating[Any]], *, device: torch.device
    ) -> Tensor:
        """The set of descriptors of each point, read bilinearly and brought to unit length.

        Args:
            points_px: ``(N, 2)`` in original pixels; outside the image the border counts.
            device: where the answer is needed: that of the maps to search.

        Returns:
            ``(L, N, D)``; zero vectors stay zero.
        """
        places = self.resize.forward(points_px)
        if self.device.type == "cpu" and len(places) <= _FEW_POINTS:
            read = [
                sample_rows(level.vectors.numpy(), level.cells, level.grid, places)
                for level in self.levels
            ]
            sets = np.stack(read)
            lengths = np.sqrt(np.vecdot(sets, sets))
            sets /= np.maximum(lengths, _LEAST_LENGTH)[..., None]
            return torch.from_numpy(sets).to(device)
        working = torch.from_numpy(places).to(self.device, torch.float32)
        sampled = [sample_map(level.values, level.grid, working[None])[0] for level in self.levels]
        return functional.normalize(torch.stack(sampled), dim=-1).to(device)

    def lengths_px(self, gaps_px: Points) -> NDArray[np.float64]:
        """``(N,)`` lengths of ``(N, 2)`` gaps in original pixels, in pixels as described."""
        return np.asarray(np.linalg.norm(gaps_px * self.resize.scale_xy, axis=1), np.float64)

    def has_texture(self, points_px: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """``(N,)`` False for points ``(N, 2)``, in original pixels, with none around them.

        So are points more than half a cell beyond the centres of the outermost cells: what is
        there was not described.
        """
        working = self.resize.forward(points_px)
        contrast = texture_at(self.texture, working)
        reached = np.zeros(len(working), np.bool_)
        for level in self.levels:
            reached |= _is_on(level, working)
        found: NDArray[np.bool_] = contrast & reached
        return found

    def describes(self, points_px: NDArray[np.floating[Any]], members: Tensor) -> NDArray[np.bool_]:
        """``(N,)`` whether points ``(N, 2)``, in original pixels, lie on the maps of members.

        Beyond a map a descriptor is read from its border: it is that of another place.

        Args:
            points_px: the points.
            members: ``(N,)`` the number of a level for each; -1 for none.
        """
        working, chosen = self.resize.forward(points_px), members.cpu().numpy()
        found = np.zeros(len(working), np.bool_)
        for number, level in enumerate(self.levels):
            mine = chosen == number
            found[mine] = _is_on(level, working[mine])
        return found

    def repeats(self, queries: Tensor, index: Tensor) -> NDArray[np.bool_]:
        """Where a search tells nothing: two places have the same descriptor, or the query has none.

        Args:
            queries: ``(L, N, D)`` the sets that were searched for.
            index: ``(N, 2)`` their two most similar cells that are apart; -1 where there is none.

        Returns:
            ``(N,)`` True where the first cell's descriptor is found at the second or next to it
            too, and for queries that are zero.
        """
        twin = np.zeros(len(index), np.bool_)
        first_cell, second_cell = index.cpu().numpy().T
        best = self._rows(first_cell)
        first = 0
        for level in self.levels:
            mine = (second_cell >= first) & (second_cell < first + len(level.vectors))
            if mine.any():
                row, column = np.divmod(second_cell[mine] - first, level.cells[0])
                # The same structure may lie between cells, and so be nearest to different ones.
                near, _ = _clamp(level, np.stack([column, row], axis=1)[:, None] + _NEAR)
                alike = np.matmul(_read(level, near), best[mine][:, :, None])
                twin[mine] = alike.max(axis=(1, 2)) >= 1 - SAME
            first += len(level.vectors)
        blank = ~queries.any(dim=-1).any(dim=0).cpu().numpy()
        found: NDArray[np.bool_] = twin | blank
        return found

    def _rows(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        """``(N, D)`` the descriptors of cells ``(N,)``."""
        rows = np.zeros((len(index), self.info.dim), np.float32)
        first = 0
        for level in self.levels:
            mine = (index >= first) & (index < first + len(level.vectors))
            if mine.any():
                rows[mine] = _read_rows(level, index[mine] - first)
            first += len(level.vectors)
        return rows

    def find_between_cells(
        self,
        queries: Tensor,
        index: Tensor,
        *,
        best: int,
        refined: NDArray[np.bool_],
        similarities: Sequence[NDArray[np.float32]] | None = None,
        reaching: Reaching | None = None,
    ) -> Found:
        """The places around found cells at which the map is most similar to the queries.

        A descriptor that was read between cells that differ may be more similar to a cell one or
        two away.  So the search begins at four cells: the found one, and those at most two away
        that are most similar.  And if the map holds a query's very descriptor, anywhere, that is
        its place: see :mod:`engine.matching.same_places`.

        Args:
            queries: ``(L, N, D)`` the sets that were searched for.
            index: ``(N,)`` the found cells.
            best: how many of them, counted from the first, are their query's best in the map.  The
                others stay within half a cell, or they would move towards the best one.
            refined: ``(N,)`` False for those that stay at the centres of their cells.
            similarities: of the first query with the cells of each level, if they are known.
            reaching: which cells reach what :attr:`asks` says, if the search has told.
        """
        sets = queries.permute(1, 0, 2).cpu().numpy()
        cells = index.cpu().numpy()
        rows = self._rows(cells)
        likes = np.matmul(sets, rows[:, :, None])[:, :, 0]
        each = np.arange(len(cells))
        won = sets[each, likes.argmax(axis=1)]
        found = self.resize.backward(self.places.numpy()[cells])
        uncertainty_px = np.empty(len(cells))
        first = 0
        for level in self.levels:
            mine = (cells >= first) & (cells < first + len(level.vectors))
            uncertainty_px[mine] = self.original_px(level.grid.stride_px)
            chosen = np.flatnonzero(mine & refined)
            if chosen.size:
                place = cells[chosen] - first
                wide = int((chosen < best).sum())
                there = _places_between(level, won[chosen], place, wide)
                found[chosen] = self.resize.backward(there.places_px)
                uncertainty_px[chosen] = self.original_px(there.uncertainty_px)
            first += len(level.vectors)
        twice = np.zeros(len(cells), np.bool_)
        asked = np.flatnonzero(refined[:best])
        if asked.size:
            reached = likes[asked].max(axis=1)
            told = None if reaching is None else _Told.of(reaching, asked)
            same = self._same_places(sets[asked], found[asked], reached, similarities, told)
            for number, (place_px, spread_px, several) in same.items():
                found[asked[number]] = place_px
                uncertainty_px[asked[number]] = spread_px
                twice[asked[number]] = several
        return Found(found, uncertainty_px, twice)

    def original_px(self, working_px: Any) -> Any:
        """A length in working pixels in original ones, the larger of x and y."""
        return working_px / min(self.resize.scale_xy)

    def _same_places(
        self,
        sets: NDArray[np.float32],
        near_px: Points,
        reached: NDArray[np.float32],
        similarities: Sequence[NDArray[np.float32]] | None,
        told: _Told | None,
    ) -> dict[int, tuple[Points, float, bool]]:
        """The places of descriptors equal to the queries' ``(N, L, D)``, where there are any.

        Args:
            sets: the queries.
            near_px: ``(N, 2)`` where they were found; the nearest of several equal places counts.
            reached: ``(N,)`` similarity of each query's best cell.
            similarities: as for :meth:`find_between_cells`.
            told: the cells near which the places may be, if they are known.

        Returns:
            By the query's number: ``(2,)`` the place and its uncertainty in original pixels, and
            whether there are several such places, more than a cell apart.
        """
        owners, likes, places, spreads, shifts = [], [], [], [], []
        last = 0
        for number, level in enumerate(self.levels):
            first, last = last, last + len(level.vectors)
            least = level.least_lengths()
            asked = np.flatnonzero(reached >= least.min(initial=np.inf) - SAME)
            if not asked.size:
                continue
            if similarities is not None and len(sets) == 1:
                query, cell = likely_cells(similarities[number].reshape(1, -1), least)
            else:
                left = asked if told is None else asked[told.many[asked]]
                query, cell = _likely_cells(level, sets[left], reached[left], least)
                query = left[query]
            if told is not None:
                told_query, told_cell = told.among(first, last)
                query = np.concatenate([query, told_query])
                cell = np.concatenate([cell, told_cell])
            owner, middle, shift, like = _find_same(level, sets, query, cell, least[cell])
            if not owner.size:
                continue
            place = middle + shift
            owners.append(owner)
            likes.append(like)
            shifts.append(np.abs(shift).max(axis=1))
            places.append(self.resize.backward(level.grid.to_px(place)))
            spreads.append(self._spread_px(level, sets[owner], place))
        found = {}
        if owners:
            owner, like = np.concatenate(owners), np.concatenate(likes)
            place, spread = np.concatenate(places), np.concatenate(spreads)
            away_cells = np.concatenate(shifts)
            for one in np.unique(owner):
                own = np.flatnonzero(owner == one)
                alike = own[like[own] >= like[own].max() - _ROUNDING]
                away = np.square(place[alike] - near_px[one]).sum(axis=1)
                nearest_px = place[alike[away.argmin()]]
                one_place = np.abs(place[alike] - nearest_px).max(axis=1) <= _ONE_PLACE_PX
                top = alike[one_place][away_cells[alike[one_place]].argmin()]
                gaps = np.abs(place[own] - place[top]).max(axis=1)
                found[int(one)] = (
                    place[top],
                    float(spread[top]),
                    bool((gaps > self.info.stride_px).any()),
                )
        return found

    def _spread_px(
        self, level: SearchLevel, sets: NDArray[np.float32], place: Points
    ) -> NDArray[np.float64]:
        """``(N,)`` uncertainty, in original pixels, of places ``(N, 2)`` in cells of a level."""
        nearest_cell, _ = _clamp(level, np.rint(place).astype(np.int64))
        like = np.matmul(sets, _read(level, nearest_cell)[:, :, None])[:, :, 0]
        won = sets[np.arange(len(sets)), like.argmax(axis=1)]
        at_px = level.grid.to_px(place)
        there = refine_places(level.neighbours, level.grid, won, at_px, reach_px=0.0)
        found: NDArray[np.float64] = self.original_px(there.uncertainty_px)
        return found

    def merge_levels(
        self, similarities: Sequence[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], Points]:
        """One similarity per place: levels on the same grid share places, and the best counts.

        Args:
            similarities: ``(H', W')`` of each level.

        Returns:
            ``(P,)`` similarities and ``(P, 2)`` places in original pixels.
        """
        merged: dict[tuple[CellGrid, tuple[int, int]], NDArray[np.float32]] = {}
        places = []
        first = 0
        for level, one in zip(self.levels, similarities, strict=True):
            flat = one.ravel()
            key = (level.grid, level.cells)
            if key in merged:
                merged[key] = np.maximum(merged[key], flat)
            else:
                merged[key] = flat
                places.append(self.places[first : first + flat.size].numpy())
            first += flat.size
        return np.concatenate(list(merged.values())), self.resize.backward(np.concatenate(places))


def _is_on(level: SearchLevel, places: Points) -> NDArray[np.bool_]:
    """``(N,)`` whether places ``(N, 2)``, in working pixels, are within half a cell of a map."""
    cells = level.grid.to_cells(places)
    last = np.array(level.cells) - 1
    on_axis: NDArray[np.bool_] = (cells >= -_BEYOND) & (cells <= last + _BEYOND)
    return on_axis[:, 0] & on_axis[:, 1]


def extent_of(resize: Resize, grid: CellGrid, cells: tuple[int, int]) -> Extent:
    """The area that the (width, height) cells of a grid in a resized image cover."""
    (left, right), (top, bottom) = grid.span_px(cells[0]), grid.span_px(cells[1])
    corners = resize.backward(np.array([[left, top], [right, bottom]]))
    (left, top), (right, bottom) = corners.tolist()
    return Extent(left, top, right, bottom)


def make_described(
    levels: Levels, resize: Resize, info: MapInfo, pixels: NDArray[np.float32]
) -> Described:
    """Lay out the maps of one image, a batch of one, and its working pixels for questions."""
    laid_out = tuple(lay_out(level, resize.to_size_px) for level in levels)
    places = []
    for level in laid_out:
        width, height = level.cells
        rows, columns = np.divmod(np.arange(width * height), width)
        cells = np.stack([columns, rows], axis=1).astype(np.float64)
        places.append(level.grid.to_px(cells).astype(np.float32))
    return Described(
        info,
        resize,
        laid_out,
        torch.from_numpy(np.asfortranarray(np.concatenate(places))),  # read by column
        find_texture(pixels),
    )


def describe_maps(
    levels: Levels,
    resize: Resize,
    *,
    seconds: float,
    trained: bool,
    notes: tuple[str, ...] = (),
    chosen: str = "",
    weak_vote: str = "",
    vote_right: float | None = None,
    values: str = "",
    network: NetworkInfo | None = None,
) -> MapInfo:
    """What is known about the maps of one image, a batch of one; see :class:`MapInfo`."""
    first = levels[0]
    _, dim, rows, columns = first.values.shape
    cells = sum(math.prod(level.values.shape[2:]) for level in levels)
    return MapInfo(
        size_px=resize.from_size_px,
        working_size_px=resize.to_size_px,
        cells=(columns, rows),
        stride_px=first.grid.stride_px / min(resize.scale_xy),
        levels=len(levels),
        dim=dim,
        size_bytes=4 * (dim + PLACE_DIM) * cells,
        seconds=seconds,
        device=str(first.values.device),
        trained=trained,
        notes=notes,
        chosen=chosen,
        weak_vote=weak_vote,
        vote_right=vote_right,
        values=values,
        network=network,
    )


def implied_turn_deg(asked: Member, found: Member) -> float:
    """By how much the found surroundings are turned against the asked ones, counter-clockwise.

    Two members are equivalent once both are turned, so the angles less the turns are equal.

    Returns:
        Degrees in (-180, 180].
    """
    return 180.0 - (180.0 - (asked.angle_deg - found.angle_deg)) % 360.0


def _places_between(
    level: SearchLevel, queries: NDArray[np.float32], place: NDArray[np.int64], best: int
) -> Refined:
    """Where between its cells a level is most similar to queries, around a cell of each.

    Args:
        level: the map.
        queries: ``(N, D)``.
        place: ``(N,)`` row of the cell in the level's matrix.
        best: how many, counted from the first, are searched widely; the others within half a cell.

    Returns:
        Their places in working pixels.
    """
    grid = level.grid
    cells = np.stack([place % level.cells[0], place // level.cells[0]], axis=1)
    starts = _start_cells(level, queries[:best], cells[:best]).reshape(-1, 2)
    each = np.arange(len(cells))
    return refine_best(
        level.neighbours,
        grid,
        queries,
        grid.to_px(np.concatenate([starts, cells[best:]]).astype(np.float64)),
        np.concatenate([each[:best].repeat(_STARTS), each[best:]]),
        reach_px=grid.stride_px * np.where(each < best, 1.0, 0.5),
    )


def _find_same(
    level: SearchLevel,
    sets: NDArray[np.float32],
    query: NDArray[np.int64],
    cell: NDArray[np.int64],
    least: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Places up to a cell from cells where a level has the very descriptors of queries.

    Args:
        level: the map.
        sets: the queries, ``(N, L, D)``.
        query: ``(K,)`` numbers of queries.
        cell: ``(K,)`` a cell for each.
        least: ``(K,)`` what these cells ask for.

    Returns:
        Of those that have such a place: ``(F,)`` the number of the query, ``(F, 2)`` the cell,
        ``(F, 2)`` the shift from there in cells, and ``(F,)`` the similarity.
    """
    products, members = level.neighbours.products, sets.shape[1]
    cells = np.stack([cell % level.cells[0], cell // level.cells[0]], axis=1)
    there, outside = _clamp(level, cells[:, None] + _NEAR)
    index = there[..., 1] * level.cells[0] + there[..., 0]
    asking = (query[:, None] * members + np.arange(members)).ravel()
    likes = level.neighbours.products_with(
        sets.reshape(-1, sets.shape[2]), asking, index.repeat(members, axis=0)
    ).reshape(len(query), members, len(_NEAR))

    def zoom(some: slice) -> tuple[NDArray[Any], ...]:
        owner, middle = query[some], cells[some]
        held = may_hold(products, middle, likes[some], least[some])
        if not held.any():
            return owner[:0], middle[:0], np.empty((0, 2)), np.empty(0)
        around = _read_rows(level, index[some][held])
        shift, like = zoom_in(around, outside[some][held], sets[owner[held]])
        same = like >= 1 - SAME
        return owner[held][same], middle[held][same], shift[same], like[same]

    parts = abreast(zoom, len(cells), least=_WORTH_A_THREAD, at_once=_ZOOMED_AT_ONCE)
    owner, middle, shift, like = (np.concatenate(each) for each in zip(*parts, strict=True))
    return owner, middle, shift, like


def _start_cells(
    level: SearchLevel, queries: NDArray[np.float32], cells: NDArray[np.int64]
) -> NDArray[np.int64]:
    """``(N, S, 2)`` cells ``(N, 2)``, and the others at most two away that are most similar."""
    there, outside = _clamp(level, cells[:, None] + _WIDE)
    index = there[..., 1] * level.cells[0] + there[..., 0]
    similarity = level.neighbours.products_with(queries, np.arange(len(queries)), index)
    similarity[outside] = -np.inf
    similarity[:, len(_WIDE) // 2] = np.inf
    order = np.argsort(-similarity, axis=1)[:, :_STARTS]
    return there[np.arange(len(cells))[:, None], order]


def _clamp(
    level: SearchLevel, cells: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Cells ``(..., 2)``, or the nearest ones of the map; and ``(...)`` True where they are not."""
    there = np.minimum(np.maximum(cells, 0), np.array(level.cells) - 1)
    return there, (there != cells).any(axis=-1)


def _read(level: SearchLevel, cells: NDArray[np.int64]) -> NDArray[np.float32]:
    """``(..., D)`` the descriptors of cells ``(..., 2)``."""
    return _read_rows(level, cells[..., 1] * level.cells[0] + cells[..., 0])


def _read_rows(level: SearchLevel, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """``(..., D)`` the rows ``(...)`` of a level's matrix."""
    if level.vectors.device.type == "cpu":
        read: NDArray[np.float32] = level.vectors.numpy()[index]
    else:
        read = level.vectors[torch.from_numpy(index).to(level.vectors.device)].cpu().numpy()
    return read


def _likely_cells(
    level: SearchLevel,
    sets: NDArray[np.float32],
    reached: NDArray[np.float32],
    least: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """As :func:`likely_cells` of sets ``(N, L, D)``, some queries at a time.

    No cell is more similar to a query than its best one, so where more is asked for than that,
    nothing has to be multiplied: of two views of a scene, nearly everywhere.

    Args:
        level: the map.
        sets: the queries.
        reached: ``(N,)`` similarity of each query's best cell.
        least: ``(M,)`` what each cell asks for.
    """
    few = max(1, min(_ALIKE_AT_ONCE, _SIMILARITIES_AT_ONCE // len(least)))
    order = np.argsort(reached, kind="stable")  # those that reach alike have the same cells left
    found_queries, found_cells = [order[:0]], [order[:0]]
    for first in range(0, len(order), few):
        check_stop()
        some = order[first : first + few]
        left = np.flatnonzero(least <= reached[some[-1]] + SAME + _OTHER_ORDER)
        if not left.size:
            continue
        few_left = len(left) < _WORTH_A_COPY * len(least)
        vectors = level.vectors[left] if few_left else level.vectors
        asks = least[left] if few_left else least
        query, cell = likely_cells(_similarities(vectors, sets[some]), asks)
        found_queries.append(some[query])
        found_cells.append(left[cell] if few_left else cell)
    return np.concatenate(found_queries), np.concatenate(found_cells)


def _similarities(vectors: Tensor, sets: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(N, M)`` of sets ``(N, L, D)`` with vectors ``(M, D)``; the best of a set counts."""
    queries = torch.from_numpy(np.ascontiguousarray(sets)).to(vectors.device)
    best = queries[:, 0] @ vectors.T
    for member in range(1, queries.shape[1]):
        torch.maximum(best, queries[:, member] @ vectors.T, out=best)
    found: NDArray[np.float32] = best.cpu().numpy()
    return found
