"""A pair by the sets of descspace: from two files to all matches, in a process that is running.

Both images are 640×480, and every cell of image A is a query.  What matching all of them takes by
itself is measured as well.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, summarise, take_turns
from benchmarks.peers import share_threads
from benchmarks.sequences import demo_sequences
from engine.data.pairs import ImagePair
from engine.images import read_image, resize_pixels, write_image
from engine.inspection.requests import MatchRequest
from engine.inspection.session import Session
from engine.jobs.recipe import make_recipe
from engine.jobs.settings import DescribeConfig
from engine.progress import JobContext

_SIZE_PX = (640, 480)
_CELLS = 19_200
_TARGETS_S = {"descspace-fast": None, "descspace": 0.6, "descspace-robust": 1.2}
_IMAGES = 2
_MOST_RUNS = 2  # a pair takes many seconds


def measure(runs: int) -> list[Figure]:
    """Seconds an image, by each form of descspace, turn and turn about."""
    share_threads()
    with tempfile.TemporaryDirectory() as folder:
        pair = _write_pair(Path(folder))
        parts: dict[str, list[tuple[float, float]]] = {name: [] for name in _TARGETS_S}

        def run(name: str) -> None:
            parts[name].append(_describe_and_match(name, pair))

        turns = min(runs, _MOST_RUNS)
        take_turns({name: lambda name=name: run(name) for name in _TARGETS_S}, turns)  # type: ignore[misc]
    figures = []
    for name, target_s in _TARGETS_S.items():
        counted = parts[name][1:]  # the first one warms up
        described = [first / _IMAGES for first, _ in counted]
        whole = [(first + second) / _IMAGES for first, second in counted]
        base = f"{name}, describing alone, an image"
        figures += [
            summarise(base, described, unit="s"),
            summarise(
                f"{name}, from files to all matches, an image", whole, unit="s", target=target_s,
                ratio_to=base,
            ),
        ]  # fmt: skip
    return figures


def _describe_and_match(name: str, pair: ImagePair) -> tuple[float, float]:
    """Seconds until both images are described, and from there until all is matched."""
    session, context = Session(), JobContext()
    recipe = make_recipe(DescribeConfig(descriptor=name, device="cpu"), {})
    request = MatchRequest(pair=pair, recipe=recipe, points="grid", count=_CELLS)
    began_s = time.perf_counter()
    for side in ("a", "b"):
        session.describe(pair, side, recipe, context)
    described_s = time.perf_counter()
    session.match(request, context)
    return described_s - began_s, time.perf_counter() - described_s


def _write_pair(folder: Path) -> ImagePair:
    """The first two views of the demo, at the size that all figures are for."""
    views = demo_sequences()[0]
    files = []
    for number in (1, 2):
        pixels = read_image(next(views.glob(f"{number}.*"))).pixels
        files.append(folder / f"{number}.png")
        resized = resize_pixels(pixels, _SIZE_PX, antialias=True)
        write_image(files[-1], (255 * resized).round().astype("uint8"))
    return ImagePair(path_a=files[0], path_b=files[1])
