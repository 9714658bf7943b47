"""Where the panes stand: the query's, and one for each descriptor that answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.api import Placement

SPACING_PX: Final = 8
"""Between panes."""

_CLEARLY: Final = 1.15


@dataclass(frozen=True, slots=True)
class Cell:
    """The place of one pane in a grid, in rows and columns."""

    row: int
    column: int
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A grid of panes of equal rows and columns.

    Attributes:
        rows, columns: of the grid.
        cells: the query's pane, then those that answer.
    """

    rows: int
    columns: int
    cells: tuple[Cell, ...]

    def image_scale(
        self, room_px: tuple[int, int], image_px: tuple[int, int], *, header_px: int
    ) -> float:
        """How large the image is drawn in the smallest pane, in widget pixels per image pixel."""
        width = room_px[0] / self.columns - SPACING_PX
        height = room_px[1] / self.rows - SPACING_PX - header_px
        return min(width / image_px[0], height / image_px[1])


def best_arrangement(
    answers: int,
    *,
    arrangement: Placement,
    room_px: tuple[int, int],
    image_px: tuple[int, int],
    header_px: int,
) -> Arrangement:
    """The arrangement that shows the images largest; of equal ones, the one with fewest rows.

    Args:
        answers: how many panes answer, at least 1.
        arrangement: whether they stand beside the query's pane or below it (stacked); ``auto`` is
            below only where that shows clearly more, so that panes seldom change places.
        room_px: width and height for all panes.
        image_px: width and height of the larger image.
        header_px: height of a pane's header.
    """

    def scale(one: Arrangement) -> float:
        return one.image_scale(room_px, image_px, header_px=header_px)

    if arrangement != "auto":
        return max(_arrangements(answers, stacked=arrangement == "stacked"), key=scale)
    beside = max(_arrangements(answers, stacked=False), key=scale)
    stacked = max(_arrangements(answers, stacked=True), key=scale)
    return stacked if scale(stacked) > _CLEARLY * max(scale(beside), 0.0) else beside


def _arrangements(answers: int, *, stacked: bool) -> Iterator[Arrangement]:
    """All that are worth a look, those with few rows first.

    The answers stand together in a block, so that they are easy to compare.
    """
    for rows in range(1, answers + 1):
        columns = -(-answers // rows)
        if (rows - 1) * columns >= answers:
            continue  # the last row would be empty
        places = [divmod(index, columns) for index in range(answers)]
        if stacked:
            below = tuple(Cell(row + 1, column) for row, column in places)
            yield Arrangement(rows + 1, columns, (Cell(0, 0, columns=columns), *below))
        else:
            beside = tuple(Cell(row, column + 1) for row, column in places)
            yield Arrangement(rows, columns + 1, (Cell(0, 0, rows=rows), *beside))
    if answers == 3:
        square = (Cell(0, 0), Cell(0, 1), Cell(1, 0), Cell(1, 1))
        yield Arrangement(2, 2, square)
