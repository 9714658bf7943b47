"""What a file with truth seems to hold, and what an opened truth tells, before it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from engine.errors import TruthError
from engine.files import open_input
from engine.imagefiles.kinds import HEAD_BYTES, recognise
from engine.truth.base import Size, Truth, Visibility
from engine.truth.named import recognise_kind
from engine.vocabulary import TruthKind

Numbers = Literal["whole", "16-bit", "float", ""]

_ASKED: Final = 64  # places along each side
_PNG_BITS: Final = slice(24, 26)  # bits of a number, and what a pixel is made of
_PNG_GREY, _PNG_COLOURS = 0, 2
_WORDS: Final[tuple[tuple[TruthKind, str], ...]] = (
    ("disparity", r"disp"),
    ("depth", r"depth|\bz\b"),
    ("flow", r"flow|\buv\b"),
    ("points", r"corr|match|points"),
)


@dataclass(frozen=True, slots=True)
class TruthLook:
    """What a file seems to hold.

    Attributes:
        kind: of truth, where the content tells it; None elsewhere.
        likely: the kind that its name and shape suggest; None where nothing does.
        numbers: how a map stores them: ``16-bit`` (KITTI has a usual factor), other ``whole``
            numbers, ``float``, or "" where that is not known without reading all of it.
        picture: whether it can also be opened as an image.
        size_px: (width, height) of a map; None where the head of the file does not tell it.
    """

    kind: TruthKind | None
    likely: TruthKind | None = None
    numbers: Numbers = ""
    picture: bool = False
    size_px: Size | None = None


def look_at_truth(path: Path) -> TruthLook:
    """Look at the head of a file.

    Raises:
        TruthError: it is missing or cannot be read.
    """
    with open_input(path, TruthError, missing="does not exist") as stream:
        head = stream.read(HEAD_BYTES)
    kind: TruthKind | None
    try:
        kind = recognise_kind(path)
    except TruthError:
        kind = None
    found = recognise(head)
    if found == "PNG" and len(head) >= _PNG_BITS.stop:
        bits, colours = head[_PNG_BITS]
        size_px = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        numbers: Numbers = "16-bit" if bits == 16 else "whole"
        likely = "flow" if colours == _PNG_COLOURS and bits == 16 else _named_kind(path)
        holds_map = bits == 16 or colours == _PNG_GREY or likely is not None
        return TruthLook(
            kind, likely, numbers, picture=True, size_px=size_px if holds_map else None
        )
    if found == "PFM":
        fields = head.split(maxsplit=3)
        sides = fields[1:3] if len(fields) > 3 else []
        size = (int(sides[0]), int(sides[1])) if all(map(bytes.isdigit, sides)) and sides else None
        likely = _named_kind(path) or ("flow" if head.startswith(b"PF") else "disparity")
        return TruthLook(kind, likely, "float", picture=True, size_px=size)
    if head.startswith(b"\x93NUMPY"):
        return _look_at_array(path, kind)
    return TruthLook(kind, _named_kind(path), picture=found == "TIFF")


def truth_summary(truth: Truth) -> str:
    """What a truth tells of image a, in a line.

    It shows a wrong kind or factor: points then move too far, or leave image b.
    """
    listed = truth.listed_px
    if listed is not None:
        count, seen = len(listed[0]), int(truth.locate("a", listed[0]).seen.sum())
        points = "1 point is" if count == 1 else f"{count} points are"
        return f"{points} listed, and both images show {seen} of them."
    (width, height), _ = truth.sizes_px
    xs, ys = (np.linspace(0, side - 1, min(side, _ASKED)) for side in (width, height))
    places = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    found = truth.locate("a", places)
    shares = {one: float((found.visibility == one).mean()) for one in Visibility}
    if not found.seen.any():
        return "Image B shows no point of image A."
    moves = np.linalg.norm(found.points_px - places, axis=1)[found.seen]
    least, middle, most = np.percentile(moves, (0, 50, 100))
    others = [
        f"{shares[one]:.0%} is {words}"
        for one, words in (
            (Visibility.OCCLUDED, "occluded"),
            (Visibility.OUTSIDE, "out of view"),
            (Visibility.UNKNOWN, "not known"),
        )
        if shares[one] >= 0.005
    ]
    rest = f"; {', '.join(others)}" if others else ""
    text = (
        f"Image B shows {shares[Visibility.SEEN]:.0%} of image A{rest}. Points move by {least:.3g} "
        f"to {most:.3g} px, half of them by {middle:.3g} px or less."
    )
    return text.replace("%", "\N{NO-BREAK SPACE}%").replace(" px", "\N{NO-BREAK SPACE}px")


def _look_at_array(path: Path, kind: TruthKind | None) -> TruthLook:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        shape, dtype = values.shape, values.dtype
    except (OSError, ValueError):
        return TruthLook(kind)
    likely = _named_kind(path)
    if len(shape) == 3 and shape[2] in (2, 3):
        likely = "flow"
    is_map = len(shape) in (2, 3) and min(shape) > 4
    numbers: Numbers = "float" if dtype.kind == "f" else "16-bit" if dtype == np.uint16 else "whole"
    size_px = (shape[1], shape[0]) if is_map or likely == "flow" else None
    return TruthLook(kind, likely, numbers, size_px=size_px)


def _named_kind(path: Path) -> TruthKind | None:
    """The kind that a file's name, or its folder's, speaks of."""
    for name in (path.stem.lower(), path.parent.name.lower()):
        for kind, words in _WORDS:
            if re.search(words, name.replace("_", " ")):
                return kind
    return None
