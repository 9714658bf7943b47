"""Words that several parts share, each defined once: what a setting, a request and a view may say.

Each word list is a ``Literal``; where something has to go through all its words there is a tuple
of them as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

Side = Literal["a", "b"]
"""One image of a pair."""

Precision = Literal["float32", "bfloat16", "float16"]
"""The arithmetic of a network."""

PixelPoints = Literal["grid", "random", "harris"]
"""How query points are chosen from the pixels of an image."""

PointsKind = Literal[PixelPoints, "listed"]
"""How query points are chosen; *listed* are those whose partners the truth lists."""

PairMatcher = Literal["exact", "consensus"]
"""How points of a single pair are matched: each by itself, or with what its neighbours say."""

PcaFit = Literal["both", "a", "b", "all", "file"]
"""What a PCA basis is fitted on; one in a file was fitted before."""

ViewMode = Literal["image", "pca", "overlay", "heat", "warp", "cycle", "members", "norms", "error"]
"""What the panes show."""

Panel = Literal["browser", "descriptor", "probe", "matches", "evaluation", "training", "log"]
"""The panels around the panes."""

Placement = Literal["auto", "beside", "stacked"]
"""Panes side by side, above one another (stacked), or whichever shows the images larger."""

Colormap = Literal["viridis", "cividis", "magma", "inferno", "turbo"]
"""The colours of scalar maps; all but turbo are perceptually uniform."""

FigureTheme = Literal["light", "dark"]
"""Dark on white, or light on dark."""

TruthKind = Literal["homography", "points", "flow", "disparity", "depth", "landmarks"]
"""What the ground truth of a pair is known from."""

LISTED_TRUTHS: frozenset[TruthKind] = frozenset(("points", "landmarks"))
"""The kinds that know a list of points and nothing between them; the others are dense."""

TruthOrigin = Literal["given", "estimated", "pins"]
"""Who made a ground truth: the data set, an estimate from matches, or the user's pins."""

SIDES: tuple[Side, Side] = ("a", "b")
VIEW_MODES: tuple[ViewMode, ...] = get_args(ViewMode)
COLORMAPS: tuple[Colormap, ...] = get_args(Colormap)
PANELS: tuple[Panel, ...] = get_args(Panel)


SESSION_SUFFIX = ".descspace"
"""How the names of session files end."""

SEPARATION_PX: Final = 16.0
"""How far from the best match the second best of the ratio is, at least, in pixels as described."""

MOST_COMPARED = 3
"""How many descriptors can be shown beside the first."""

PRECOMPUTED = "precomputed"
"""The registered name of the descriptor whose maps are read from files."""


def truth_words(kind: TruthKind, origin: TruthOrigin) -> str:
    """What a truth is known from and who made it, as users and files have it."""
    return kind if origin == "given" else f"{kind}, {origin}"


WITHOUT_LARGE = "540"
"""The part of HPatches without its eight largest sequences, 540 pairs."""


def other_side(side: Side) -> Side:
    """The opposite side."""
    return "b" if side == "a" else "a"


def plural(word: str) -> str:
    """Several of them: ``pairs``, ``classes``."""
    return f"{word}es" if word.endswith("s") else f"{word}s"


def counted(count: int, word: str) -> str:
    """A number with its noun: ``1 pair``, ``2 pairs``, ``2 classes``."""
    return f"{count} {word if count == 1 else plural(word)}"


def some_of(names: Sequence[str], *, most: int = 3) -> str:
    """The first names, and how many more there are."""
    shown, more = ", ".join(names[:most]), len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown
