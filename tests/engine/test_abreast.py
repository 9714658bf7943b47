"""Work cut into slices for several threads: nothing is lost, and it can be stopped."""

from __future__ import annotations

import threading

import pytest
import torch

from engine.errors import JobCancelled
from engine.matching.abreast import abreast
from engine.progress import CancelToken, check_stop


@pytest.fixture
def threads():
    """Lets torch use three threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def indices(part: slice) -> list[int]:
    return list(range(part.start, part.stop))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("least", [0, 1, 2, 50])
def test_every_item_is_worked_on_once_and_in_order(threads: int, count: int, least: int) -> None:
    parts = abreast(indices, count, least=least)
    assert [one for part in parts for one in part] == list(range(count))
    assert 1 <= len(parts) <= threads
    assert all(len(part) >= min(least, count) for part in parts[:-1])


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("least", [1, 50])
def test_slices_are_no_longer_than_asked_for(threads: int, count: int, least: int) -> None:
    parts = abreast(indices, count, least=least, at_once=6)
    assert [one for part in parts for one in part] == list(range(count))
    assert max(map(len, parts)) <= 6


def test_slices_are_worked_on_at_the_same_time(threads: int) -> None:
    together = threading.Barrier(threads)
    abreast(lambda _part: together.wait(5), 30, least=10)


def test_few_items_stay_on_this_thread(threads: int) -> None:
    names = abreast(lambda _part: threading.current_thread(), 19, least=10)
    assert names == [threading.current_thread()]


def test_what_goes_wrong_is_told(threads: int) -> None:
    def fail(part: slice) -> None:
        if part.start:
            raise ValueError(f"from {part.start}")

    with pytest.raises(ValueError, match="from 10"):
        abreast(fail, 30, least=10)


def test_work_is_stopped_by_the_token_of_this_thread(threads: int) -> None:
    token = CancelToken()

    def work(part: slice) -> None:
        if part.start:
            token.cancel()
        check_stop()

    with token.everywhere(), pytest.raises(JobCancelled):
        abreast(work, 30, least=10)
