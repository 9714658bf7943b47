"""Work on many items at the same time, on as many threads as torch uses.

For numpy, which works on one thread, but lets others run meanwhile.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from engine.progress import check_stop, running_tokens

Value = TypeVar("Value")


def abreast(
    work: Callable[[slice], Value], count: int, *, least: int, at_once: int | None = None
) -> list[Value]:
    """What a function makes of slices of ``count`` items, in their order.

    Args:
        work: called with each slice, on several threads; it must not depend on how items are cut.
        count: how many items there are; of none, the function is called with an empty slice.
        least: a thread is not worth it for fewer items.
        at_once: most items of a slice; None for as many as there are for each thread.

    Raises:
        JobCancelled: the work was asked to stop, and its function looked, or there are more slices.
    """
    import torch  # what only reads confidences does without it

    threads = max(1, min(torch.get_num_threads(), count // max(1, least)))
    each = -(-count // threads)
    parts = [slice(first, min(first + each, count)) for first in range(0, max(1, count), each or 1)]

    def work_on(part: slice) -> list[Value]:
        if at_once is None:
            return [work(part)]
        found = []
        for one in range(part.start, max(part.stop, 1), at_once):
            check_stop()
            found.append(work(slice(one, min(one + at_once, part.stop))))
        return found

    if len(parts) == 1:
        return work_on(parts[0])
    tokens = running_tokens()

    def run(part: slice) -> list[Value]:
        with contextlib.ExitStack() as stack:
            for token in tokens:
                stack.enter_context(token.everywhere())
            return work_on(part)

    with ThreadPoolExecutor(len(parts), thread_name_prefix="abreast") as pool:
        return list(itertools.chain(*pool.map(run, parts)))
