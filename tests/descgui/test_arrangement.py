"""Where panes stand: no overlap, all in the grid, and as large as they can be."""

from __future__ import annotations

import itertools

import pytest

from descgui.views.arrangement import SPACING_PX, Arrangement, best_arrangement

HEADER_PX = 30


def best(answers: int, room_px: tuple[int, int], image_px=(800, 640), *, stacked=False):
    placement = "stacked" if stacked else "beside"
    return best_arrangement(
        answers, arrangement=placement, room_px=room_px, image_px=image_px, header_px=HEADER_PX
    )


def areas(found: Arrangement) -> list[set[tuple[int, int]]]:
    return [
        set(
            itertools.product(
                range(cell.row, cell.row + cell.rows),
                range(cell.column, cell.column + cell.columns),
            )
        )
        for cell in found.cells
    ]


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("answers", [1, 2, 3, 4])
@pytest.mark.parametrize("room_px", [(616, 560), (1190, 860), (2150, 1300), (400, 1300), (10, 10)])
def test_panes_lie_in_the_grid_and_share_no_place(answers, room_px, stacked):
    found = best(answers, room_px, stacked=stacked)
    taken = areas(found)
    assert len(taken) == answers + 1
    assert sum(len(area) for area in taken) == len(set.union(*taken))
    every = set(itertools.product(range(found.rows), range(found.columns)))
    assert set.union(*taken) <= every
    assert {row for row, _ in set.union(*taken)} == set(range(found.rows))
    assert {column for _, column in set.union(*taken)} == set(range(found.columns))


def test_three_answers_and_the_query_fill_a_square():
    found = best(3, (616, 560))
    assert (found.rows, found.columns) == (2, 2)
    assert [(cell.row, cell.column) for cell in found.cells] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_four_answers_stand_in_a_square_beside_the_query():
    found = best(4, (1190, 860))
    assert (found.rows, found.columns) == (2, 3)
    assert found.cells[0].rows == 2
    assert [(cell.row, cell.column) for cell in found.cells[1:]] == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_wide_rooms_put_all_in_a_row_and_tall_ones_below_one_another():
    assert best(4, (3000, 300)).rows == 1
    assert best(4, (300, 3000), stacked=True).columns == 1


def test_stacked_answers_stand_below_the_query():
    for answers in (1, 2, 4):
        found = best(answers, (1190, 860), stacked=True)
        query, *others = areas(found)
        assert query == {(0, column) for column in range(found.columns)}
        assert min(row for area in others for row, _ in area) == 1


def test_the_image_is_as_large_as_the_narrower_room_lets_it_be():
    found = best(1, (1000, 500), (100, 100))
    scale = found.image_scale((1000, 500), (100, 100), header_px=HEADER_PX)
    assert scale == pytest.approx((500 - SPACING_PX - HEADER_PX) / 100)


@pytest.mark.parametrize(
    ("room_px", "rows"), [((960, 560), 1), ((440, 560), 2), ((560, 900), 2), ((700, 620), 1)]
)
def test_panes_stack_by_themselves_where_that_shows_clearly_more(room_px, rows):
    found = best_arrangement(
        1, arrangement="auto", room_px=room_px, image_px=(800, 640), header_px=HEADER_PX
    )
    assert found.rows == rows
