"""How times grow with sizes: the exponent of the power law through them.

1 is growth in proportion.  Times have a part that does not grow, so small exponents say little
about large sizes; each figure's note has the sizes and the times.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.memory import find_peak_mb
from benchmarks.sequences import demo_sequences, link_sequences
from benchmarks.window_loop import WindowLoop, use_offscreen
from engine.data.layouts import open_pair_set
from engine.data.pair_set import PairSet
from engine.descriptors.compute import describe_image, get_built
from engine.descriptors.registry import make_spec
from engine.matching.nearest import nearest

_EDGES_PX = (320, 640, 1280, 2560, 4000)
_PROCESS = Path("/proc/self")
_MEMBERS = (1, 5, 25)
_CELLS = (4_800, 19_200, 76_800, 307_200)
_SEQUENCES = (1, 10, 100, 1000)
_QUERIES, _DIM = 500, 128
_BUDGET_BYTES = 64 << 20
_LINEAR = 1.1
_PAIRS = (10, 100, 1000, 10_000)
_WAIT_S = 300.0
_REST_MS = 500  # after a set was listed, for what that left to do


def measure(runs: int) -> list[Figure]:
    """Describing, matching, opening and listing, each at several sizes, turn and turn about."""
    figures = []
    for name in ("daisy", "descspace-fast"):
        figures += _measure_describing(name, runs)
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
        figures.append(_measure_browser(small[0], Path(place), runs))
    return figures


def exponent(sizes: list[float], times_s: list[float]) -> float:
    """The slope of the least-squares line through logarithms of sizes and times."""
    return float(np.polyfit(np.log(sizes), np.log(times_s), 1)[0])


def _grown(name: str, works: Mapping[int, Callable[[], float | None]], runs: int) -> Figure:
    times = take_turns({str(size): work for size, work in works.items()}, runs)
    sizes = [float(size) for size in works]
    by_run = [exponent(sizes, [times[str(size)][run] for size in works]) for run in range(runs)]
    middle = ", ".join(f"{size}: {1000 * np.median(times[str(size)]):.3g} ms" for size in works)
    return summarise(name, by_run, unit="", target=_LINEAR, note=middle)


def _measure_describing(name: str, runs: int) -> list[Figure]:
    """By the number of pixels, as the program does it; and the peak of the largest."""
    descriptor = get_built(make_spec(name, {}))
    random = np.random.default_rng(0)
    peaks_mb: list[float] = []
    told: set[str] = set()

    def describe(pixels: NDArray[np.float32], *, watched: bool) -> float:
        if watched:
            _forget_peak()
        began_s = time.perf_counter()
        _, notes = describe_image(descriptor, pixels, device="cpu", precision="float32")
        took_s = time.perf_counter() - began_s
        told.update(notes)
        if watched:
            status = (_PROCESS / "status").read_text(encoding="utf-8")
            peaks_mb.append(find_peak_mb(status) or 0.0)
        return took_s

    works: dict[int, Callable[[], float | None]] = {}
    for width in _EDGES_PX:
        height = width * 3 // 4
        pixels = random.random((height, width, 3), np.float32)
        works[width * height] = partial(describe, pixels, watched=width == _EDGES_PX[-1])
    grown = _grown(f"growth: describing by {name}, with pixels", works, runs)
    largest = f"{_EDGES_PX[-1]} × {_EDGES_PX[-1] * 3 // 4}"
    note = " ".join(sorted(told)) or "in one piece"
    return [
        grown,
        summarise(f"memory: describing {largest} by {name}", peaks_mb, unit="MB", note=note),
    ]


def _forget_peak() -> None:
    """Let the peak of this process's memory begin anew, where the system can do that."""
    with contextlib.suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")


def _measure_browser(sequence: Path, folder: Path, runs: int) -> Figure:
    """What the window's thread takes to list a set in the browser, by its number of pairs."""
    use_offscreen()
    os.environ["DESCGUI_HOME"] = str(folder)
    from descgui.app import Application, make_application
    from descgui.models.bundle import make_models
    from engine.api import ViewOptions

    in_sequence = len(open_pair_set(link_sequences([sequence], 1, folder / "one")).groups[0].pairs)
    sets = {
        count: open_pair_set(
            link_sequences([sequence], count // in_sequence, folder / f"pairs {count}")
        )
        for count in _PAIRS
    }
    make_application(sys.argv[:1])
    options = ViewOptions(images=(sequence.parent,), descriptor="daisy", size=(1400, 900))
    window = Application(options, make_models(None))
    window.show()
    loop = WindowLoop()
    loop.until(lambda: window.models.maps.ready and not window.busy, _WAIT_S)

    def list_set(dataset: PairSet) -> float:
        """Seconds of this thread, paintings and thumbnails included."""
        window.models.browser.set_dataset(None)
        loop.rest(_REST_MS)
        began_s = time.thread_time()
        window.models.browser.set_dataset(dataset)
        loop.rest(_REST_MS)
        return time.thread_time() - began_s

    works: dict[int, Callable[[], float | None]] = {
        len(dataset.pairs()): partial(list_set, dataset) for dataset in sets.values()
    }
    figure = _grown("growth: listing a set in the browser, with pairs", works, runs)
    window.finished.connect(loop.quit)
    window.end(0)
    loop.run(_WAIT_S)
    return figure


def _open(folder: Path) -> None:
    open_pair_set(folder)
