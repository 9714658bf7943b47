"""Exact nearest neighbours of unit vectors of dimension 128, compared with faiss's flat index.

Candidates are random; a query is one of them with noise, as a match is.  Torch gets as many threads
as the processor has cores, at most two, and faiss as many.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.peers import join, share_threads
from engine.descriptors.bfloat16 import in_hardware
from engine.matching.nearest import nearest, nearest_apart, nearest_both_ways

_DIM = 128
BUDGET_BYTES = 256 << 20
SIZES = ((1000, 19_200), (1000, 307_200), (19_200, 19_200))
_NOISE = 0.05  # of each of the 128 numbers
_APART = 5
_MAP_CELLS = (160, 120)  # of an image of 640×480 at stride 4
_SOME, _ALL = 500, 19_200
_SET = 5
_MOST_RATIO = 1.5


def measure(runs: int) -> list[Figure]:
    """Ours, plain float32 products, and faiss, at several sizes; then what is built on them."""
    threads = share_threads()
    figures: list[Figure] = []
    for queries, candidates in SIZES:
        figures += _measure_size(queries, candidates, runs, threads)
    return figures + _measure_sets(runs) + _measure_apart(runs)


def _measure_size(queries: int, candidates: int, runs: int, threads: int) -> list[Figure]:
    asked, offered = make_descriptors(queries, candidates)
    case = f"{queries:,} among {candidates:,}"
    names = {kind: f"nearest, {case}: {kind}" for kind in ("ours", "float32", "faiss")}
    works: dict[str, Callable[[], float | None]] = {
        names["ours"]: lambda: _run(asked, [offered]),
        names["float32"]: lambda: _run(asked, [offered], plain=True),
    }
    with contextlib.ExitStack() as stack:
        join(
            stack,
            works,
            names["faiss"],
            "faiss flat",
            threads=threads,
            queries=asked.numpy(),
            candidates=offered.numpy(),
        )
        times = take_turns(works, runs)
    target = 1.0
    if in_hardware():
        target = 0.3 if queries > 1000 else 0.4
    return [
        summarise(
            name,
            [1000 * time_s for time_s in times[name]],
            unit="ms",
            ratio_to=None if name == names["faiss"] else names["faiss"],
            target=target if name == names["ours"] else None,
            of_ratio=name == names["ours"],
        )
        for name in works
    ]


def _measure_sets(runs: int) -> list[Figure]:
    asked, offered = make_descriptors(_SOME * _SET, _ALL)
    sets = asked.view(_SET, _SOME, _DIM)
    one, several = "nearest, sets of 5: as 2,500 queries", "nearest, sets of 5: 500 among 19,200"
    times = take_turns(
        {one: lambda: _run(asked, [offered]), several: lambda: _run(sets, [offered])}, runs
    )
    return [
        summarise(one, [1000 * time_s for time_s in times[one]], unit="ms"),
        summarise(several, [1000 * time_s for time_s in times[several]], unit="ms", ratio_to=one),
    ]


def _measure_apart(runs: int) -> list[Figure]:
    asked, offered = make_descriptors(_SOME, _ALL)
    many, _ = make_descriptors(_ALL, _ALL)
    columns, rows = _MAP_CELLS
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(1).float()

    def pick(queries: Tensor, count: int) -> None:
        nearest_apart(
            queries, [offered], places, count=count, separation=4.0, budget_bytes=BUDGET_BYTES
        )

    def there_and_back(queries: Tensor) -> None:
        nearest_both_ways(queries[None], offered[None], budget_bytes=BUDGET_BYTES)

    figures = []
    for queries, counts in ((asked, (2, _APART)), (many, (2,))):
        case = f"{len(queries):,} among {_ALL:,}"
        alone, mutual = f"nearest, {len(queries):,} alone", f"mutual, {case}"
        works: dict[str, Callable[[], None]] = {
            alone: partial(_run, queries, [offered]),
            mutual: partial(there_and_back, queries),
        }
        works |= {f"{count} best apart, {case}": partial(pick, queries, count) for count in counts}
        figures += [
            summarise(
                name,
                [1000 * time_s for time_s in times],
                unit="ms",
                ratio_to=None if name == alone else alone,
                target=None if name == alone else _MOST_RATIO,
                of_ratio=name != alone,
            )
            for name, times in take_turns(works, runs).items()
        ]
    return figures


def make_descriptors(queries: int, candidates: int) -> tuple[Tensor, Tensor]:
    generator = torch.manual_seed(0)
    offered = normalize(torch.randn(candidates, _DIM, generator=generator), dim=1)
    chosen = torch.randint(candidates, (queries,), generator=generator)
    noise = _NOISE * torch.randn(queries, _DIM, generator=generator)
    return normalize(offered[chosen] + noise, dim=1), offered


def _run(queries: Tensor, candidates: list[Tensor], *, plain: bool = False) -> None:
    nearest(queries, candidates, budget_bytes=BUDGET_BYTES, backend="torch" if plain else "auto")
