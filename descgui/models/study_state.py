"""How far a study of a network's layers is, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class LayerScore:
    """A layer of a network and the mean share of queries that it matches right; None so far."""

    name: str
    pck: float | None


@dataclass(frozen=True, slots=True)
class StudyState:
    """A study that runs or ran.

    Attributes:
        stage: where it stands.
        descriptor: whose layers it is about.
        doing: the part of the work under way, "" between parts.
        done, total: steps of that part; total None when unknown.
        scores: of all layers, from the image to the end.
        best: name of the descriptor that describes by the best layer; "" until it is done.
        best_layer: the library's word for that layer.
        folder: where page and tables are; None until they are written.
        message: why it failed.
    """

    stage: Literal["none", "running", "stopping", "stopped", "failed", "done"] = "none"
    descriptor: str = ""
    doing: str = ""
    done: int = 0
    total: int | None = None
    scores: tuple[LayerScore, ...] = ()
    best: str = ""
    best_layer: str = ""
    folder: Path | None = None
    message: str = ""

    @property
    def busy(self) -> bool:
        """True while it runs."""
        return self.stage in ("running", "stopping")
