"""Truth in files that lead from image b to image a."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.truth.base import Size, SwappedTruth, Truth, TruthSource
from engine.vocabulary import TruthKind, TruthOrigin


@dataclass(frozen=True, slots=True)
class SwappedSource:
    """A source whose image a is the pair's image b.

    Attributes:
        original: the source, as its files have it.
    """

    original: TruthSource

    @property
    def kind(self) -> TruthKind:
        """That of the original."""
        return self.original.kind

    @property
    def origin(self) -> TruthOrigin:
        """That of the original."""
        return self.original.origin

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the original."""
        return self.original.files

    def open(self, size_a_px: Size, size_b_px: Size) -> Truth:
        """Open the original, whose first image is the second one.

        Raises:
            DescSpaceError: as the original does.
        """
        return SwappedTruth(self.original.open(size_b_px, size_a_px))

    def identity(self) -> str:
        """That of the original, marked.

        Raises:
            FileError: a file cannot be read.
        """
        return f"from b {self.original.identity()}"
