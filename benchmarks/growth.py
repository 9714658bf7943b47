"""How times grow with sizes: the exponent of the power law through them.

1 is growth in proportion.  Times have a part that does not grow, so small exponents say little
about large sizes; each figure's note has the sizes and the times.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.sequences import demo_sequences, link_sequences
from engine.data.layouts import open_pair_set
from engine.descriptors.compute import get_built, working
from engine.descriptors.registry import make_spec
from engine.matching.nearest import nearest
from engine.progress import CancelToken

_EDGES_PX = (320, 640, 1280, 2560)
_MEMBERS = (1, 5, 25)
_CELLS = (4_800, 19_200, 76_800, 307_200)
_SEQUENCES = (10, 100, 1000)
_QUERIES, _DIM = 500, 128
_BUDGET_BYTES = 64 << 20
_LINEAR = 1.1


def measure(runs: int) -> list[Figure]:
    """Describing, matching and opening, each at several sizes, turn and turn about."""
    figures = [
        _grown(f"growth: describing by {name}, with pixels", _describing(name), runs)
        for name in ("daisy", "descspace-fast")
    ]
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(_QUERIES, _DIM, generator=generator)
    cells = torch.randn(max(_CELLS), _DIM, generator=generator)

    def search(candidates: list[torch.Tensor]) -> None:
        with torch.inference_mode():
            nearest(queries, candidates, budget_bytes=_BUDGET_BYTES)

    by_cells: dict[int, Callable[[], None]] = {
        count: partial(search, [cells[:count]]) for count in _CELLS
    }
    by_members: dict[int, Callable[[], None]] = {
        count: partial(search, [cells[: _CELLS[1]]] * count) for count in _MEMBERS
    }
    figures += [
        _grown("growth: matching 500 points, with cells", by_cells, runs),
        _grown("growth: matching 500 points, with members", by_members, runs),
    ]
    with tempfile.TemporaryDirectory() as place:
        small = demo_sequences()
        sets = {
            count: link_sequences(small, count, Path(place) / str(count)) for count in _SEQUENCES
        }
        opening: dict[int, Callable[[], None]] = {
            count: partial(_open, folder) for count, folder in sets.items()
        }
        figures.append(_grown("growth: opening a set, with sequences", opening, runs))
    return figures


def exponent(sizes: list[float], times_s: list[float]) -> float:
    """The slope of the least-squares line through logarithms of sizes and times."""
    return float(np.polyfit(np.log(sizes), np.log(times_s), 1)[0])


def _grown(name: str, works: Mapping[int, Callable[[], None]], runs: int) -> Figure:
    times = take_turns({str(size): work for size, work in works.items()}, runs)
    sizes = [float(size) for size in works]
    by_run = [exponent(sizes, [times[str(size)][run] for size in works]) for run in range(runs)]
    middle = ", ".join(f"{size}: {1000 * np.median(times[str(size)]):.3g} ms" for size in works)
    return summarise(name, by_run, unit="", target=_LINEAR, note=middle)


def _describing(name: str) -> dict[int, Callable[[], None]]:
    """By the number of pixels."""
    descriptor = get_built(make_spec(name, {}))

    def describe(images: torch.Tensor) -> None:
        with working(descriptor, torch.device("cpu"), "float32", CancelToken()):
            descriptor.describe(images)

    generator = torch.Generator().manual_seed(0)
    works: dict[int, Callable[[], None]] = {}
    for width in _EDGES_PX:
        height = width * 3 // 4
        images = torch.rand(1, 3, height, width, generator=generator)
        works[width * height] = partial(describe, images)
    return works


def _open(folder: Path) -> None:
    open_pair_set(folder)
