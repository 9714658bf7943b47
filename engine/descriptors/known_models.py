"""Which models the families know by name, for a list to choose from.

Nothing here imports torch; a family's own list may import its library, so it is asked for in a
worker.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.paths import data_dir

WeightsState = Literal["here", "cached", "download", "by-hand", "none", "unknown"]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be opened by its name.

    Attributes:
        name: of the descriptor, ``timm:resnet18``.
        title: the model as its library calls it.
        parameters: how many weights it has without a classifier; None where that is not known.
        stride_px: distance of its last layer's cells as the library tells it.
        weights: "here": the name is that of a file or folder with them; "cached": they were
            downloaded before; "download": they are published; "by-hand": likewise, but nothing
            tells whether a download is whole, so the user has to load them; "none": nobody
            publishes any.
        note: more about it, such as a licence.
    """

    name: str
    title: str
    parameters: int | None = None
    stride_px: float | None = None
    weights: WeightsState = "unknown"
    note: str = ""

    @property
    def family(self) -> str:
        """The word before the colon."""
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class ModelSize:
    """A line of a table of sizes; see :class:`KnownModel`."""

    parameters: int
    stride_px: float | None


def timm_sizes_file() -> Path:
    """The table with the sizes of timm's models, which ``benchmarks.model_sizes`` writes."""
    return data_dir("resources") / "models" / "timm.csv"


def read_sizes(file: Path) -> Mapping[str, ModelSize]:
    """The sizes in a table, by model; empty where there is no such file."""
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as stream:
        return {
            line["model"]: ModelSize(
                int(line["parameters"]), float(line["stride_px"]) if line["stride_px"] else None
            )
            for line in csv.DictReader(stream)
        }


def sizes_text(sizes: Mapping[str, ModelSize]) -> str:
    """A table of sizes as text, sorted by model."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("model", "parameters", "stride_px"))
    for model, size in sorted(sizes.items()):
        stride = "" if size.stride_px is None else f"{size.stride_px:g}"
        writer.writerow((model, size.parameters, stride))
    return lines.getvalue()
