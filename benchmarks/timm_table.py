"""Which of timm's architectures give a map: ``python -m benchmarks.timm_table --out FOLDER``.

Every architecture is built with random weights and describes an image of the smallest size that its
rung of the ladder allows (see ``engine.descriptors.families.timm_models``).  What was tried is kept
in FOLDER, a line a model, so a run that was stopped goes on; ``--shard 0/2`` takes every second
model.  ``--write FILE`` writes the table from all lines in FOLDER.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import textwrap
import time
import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_LARGE = 350_000_000
_UNBROKEN: Any = {"break_long_words": False, "break_on_hyphens": False}


@dataclass(frozen=True)
class Tried:
    """What came of one architecture."""

    model: str
    weights: int
    way: str
    size_px: tuple[int, int]
    layers: int
    reason: str
    seconds: float


def main() -> None:
    """Try what is left to try, or write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.write is not None:
        text = table(read(arguments.out), importlib.metadata.version("timm"))
        arguments.write.write_text(text, encoding="utf-8")
        return
    from engine.descriptors.families.timm_models import import_timm

    warnings.simplefilter("ignore")
    shard, shards = map(int, arguments.shard.split("/"))
    done = {one.model for one in read(arguments.out)}
    with (arguments.out / f"{shard}-of-{shards}.jsonl").open("a", encoding="utf-8") as lines:
        for model in import_timm().list_models()[shard::shards]:
            if model not in done:
                lines.write(json.dumps(asdict(try_model(model))) + "\n")
                lines.flush()


def try_model(model: str) -> Tried:
    """Build it and describe an image; a large one on the meta device, where nothing is computed."""
    import torch

    from engine.descriptors.families.timm_models import TimmNetwork, import_timm
    from engine.descriptors.families.timm_weights import find_model
    from engine.descriptors.known_models import read_sizes, timm_sizes_file

    start_s = time.monotonic()
    told = read_sizes(timm_sizes_file()).get(model)
    weights = 0 if told is None else told.parameters
    try:
        if weights > _LARGE:
            with torch.device("meta"):
                import_timm().create_model(model, num_classes=0)
            way, size, layers = "meta", (0, 0), 0
        else:
            network = TimmNetwork(find_model(model))
            weights = sum(one.numel() for one in network.parameters())
            way, layers = network.sizes, len(network.layers)
            size = network.fixed_size_px or (3 * network.multiple_px, 2 * network.multiple_px)
        reason = ""
    except Exception as error:
        way, size, layers = "none", (0, 0), 0
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return Tried(model, weights, way, size, layers, reason, round(time.monotonic() - start_s, 2))


def read(folder: Path) -> list[Tried]:
    """All that was tried, by name."""
    found: dict[str, Tried] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            one = Tried(**json.loads(line))
            found[one.model] = one
    return [found[name] for name in sorted(found)]


_WAYS = {
    "any size": "any, as they are or told so when built",
    "set": "any, set before each image",
    "built anew": "any, built anew for each size with the same weights",
    "one size": "one: the image is resized by one factor, and the rest filled up",
}


def table(tried: list[Tried], version: str) -> str:
    """The table as Markdown."""
    small = [one for one in tried if one.way != "meta"]
    good = [one for one in small if one.way != "none"]
    failed = [one for one in small if one.way == "none"]
    ways = Counter(one.way for one in good)
    share = 100 * len(good) / max(1, len(small))
    lines = [
        "# Which models of timm give a map",
        "",
        f"timm {version} lists {len(tried)} architectures. Of the {len(small)} with at most 350",
        f"million weights, {len(good)} give a map of every layer: {share:.1f} %. Each was built",
        "with random weights and described an image of the smallest size that it takes",
        "(`benchmarks/timm_table.py`).",
        "",
        "| sizes of images | architectures |",
        "|---|---|",
        *(f"| {_WAYS[way]} | {count} |" for way, count in ways.most_common()),
        "",
        "A map is not yet a place. Where its cells lie is measured when a network is opened, and",
        "those of networks that mix all of an image from the start (`mixer_*`, for one) may be",
        "refused then.",
    ]
    if failed:
        lines += ["", "## No map", "", "| model | million weights | reason |", "|---|---|---|"]
        lines += [
            f"| {one.model} | {one.weights / 1e6:.1f} | {one.reason.replace('|', '/')} |"
            for one in failed
        ]
    for way in ("set", "built anew", "one size"):
        names = ", ".join(one.model for one in good if one.way == way)
        lines += ["", f"## Sizes: {_WAYS[way]}", "", *textwrap.wrap(names, 108, **_UNBROKEN)]
    names = ", ".join(
        f"{one.model}\u00a0({one.weights / 1e6:.0f})" for one in tried if one.way == "meta"
    )
    lines += [
        "",
        "## More than 350 million weights",
        "",
        "Built on the meta device, where nothing is computed; in brackets, million weights.",
        "",
        *textwrap.wrap(names, 108, **_UNBROKEN),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
