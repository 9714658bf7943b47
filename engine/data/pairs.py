"""A pair of images and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.imagefiles.value_range import ValueRange
from engine.truth.base import Size, Truth, TruthSource, open_truth
from engine.vocabulary import Side, truth_words


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two image files, with the ground truth between them where it is known.

    Attributes:
        path_a, path_b: the files.
        truth: what is known of where points of one image lie in the other; None for nothing.
        name: for the user to read, such as ``v_churchill 1 → 2``.
        sequence: name of the sequence it belongs to, "" for a free pair.
        index: number of the second image in its sequence, 0 for a free pair.
        range_a, range_b: which values of the files are black and white; None for what each file
            states or its values suggest.
    """

    path_a: Path
    path_b: Path
    truth: TruthSource | None = field(default=None, compare=False)
    name: str = ""
    sequence: str = ""
    index: int = 0
    range_a: ValueRange | None = None
    range_b: ValueRange | None = None

    @property
    def truth_words(self) -> str:
        """What its truth is known from, and who made it if the data set did not; "" without one."""
        return "" if self.truth is None else truth_words(self.truth.kind, self.truth.origin)

    def path(self, side: Side) -> Path:
        """The file on one side."""
        return self.path_a if side == "a" else self.path_b

    def range_of(self, side: Side) -> ValueRange | None:
        """Which values of the file on one side are black and white."""
        return self.range_a if side == "a" else self.range_b

    def open_truth(self, size_a_px: Size, size_b_px: Size) -> Truth | None:
        """The truth, opened for images of these sizes; None where nothing is known.

        Args:
            size_a_px: (width, height) of the original image a.
            size_b_px: likewise of image b.

        Raises:
            DescSpaceError: a file of the truth cannot be read, or does not fit the images.
        """
        return None if self.truth is None else open_truth(self.truth, size_a_px, size_b_px)
