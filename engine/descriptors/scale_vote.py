"""By how much one image of a pair shows things larger than the other: a vote of their matches.

Two right matches say how large things are and how they are turned: by the length and the direction
of the line between them in either image.  Lines between wrong matches say anything.  So lines are
counted by what they say, and the fullest place of the histogram wins (Hough voting, with lines for
the keypoints of Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004,
section 7.3).

The vote sees descriptors of the two images alone: no truth, and no points but its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from engine.progress import check_stop

Describe = Callable[[float], Tensor]
"""Descriptors ``(K, D)`` of an image's points, for a factor by which the image may be larger."""

_GROWTHS: Final = tuple(2.0 ** (step / 2) for step in range(-2, 3))
_SHORTEST_PX: Final = 24.0
_LONGEST_PX: Final = 200.0
_SAME_OCTAVES: Final = 0.25
_TURNS: Final = 24
# Lines that share a match are no independent witnesses, so far more is asked than of those.
_CLEAR: Final = 12.0


@dataclass(frozen=True, slots=True)
class ScaleVote:
    """What the matches of a pair agree on.

    Attributes:
        growth: how much larger image b shows things than image a; 1 where nothing is agreed on.
        agreeing: lines between matches that agree, 0 where nothing is agreed on.
        lines: all lines that were asked under this growth.
    """

    growth: float
    agreeing: int
    lines: int


def vote_for_growth(
    points_a: Tensor, describe_a: Describe, points_b: Tensor, describe_b: Describe
) -> ScaleVote:
    """Find the growth from image a to image b.

    Args:
        points_a: ``(K, 2)`` places in image a, pixels.
        describe_a: their descriptors.
        points_b: ``(M, 2)`` places in image b, pixels.
        describe_b: their descriptors.

    Returns:
        The growth that most lines agree on, between ½ and 2.
    """
    best, clearest = ScaleVote(1.0, 0, 0), _CLEAR
    for growth in _GROWTHS:
        check_stop()
        similarity = describe_a(max(1.0, 1.0 / growth)) @ describe_b(max(1.0, growth)).T
        places = _mutual(similarity)
        grown, turned_deg = _draw_lines(points_a[places[:, 0]], points_b[places[:, 1]])
        vote, clear = _count(grown, turned_deg, math.log2(growth))
        if clear > clearest:
            best, clearest = vote, clear
    return best


def _mutual(similarity: Tensor) -> Tensor:
    """``(N, 2)`` rows and columns that are each other's best."""
    if 0 in similarity.shape:
        return similarity.new_zeros((0, 2), dtype=torch.long)
    best, back = similarity.argmax(dim=1), similarity.argmax(dim=0)
    rows = torch.arange(len(best), device=best.device)
    mutual = back[best] == rows
    return torch.stack([rows[mutual], best[mutual]], dim=1)


def _draw_lines(points_a: Tensor, points_b: Tensor) -> tuple[Tensor, Tensor]:
    """The lines between matches: ``(N,)`` octaves by which they grow, and degrees they turn.

    Only lines count whose lengths tell something in both images.  The same limits hold for both,
    so that lines between wrong matches favour no direction.
    """
    one, other = torch.triu_indices(len(points_a), len(points_a), 1, device=points_a.device)
    line_a = (points_a[other] - points_a[one]).double()
    line_b = (points_b[other] - points_b[one]).double()
    length_a, length_b = (torch.linalg.vector_norm(line, dim=1) for line in (line_a, line_b))
    kept = (torch.minimum(length_a, length_b) >= _SHORTEST_PX) & (
        torch.maximum(length_a, length_b) <= _LONGEST_PX
    )
    line_a, line_b = line_a[kept], line_b[kept]
    turns = torch.atan2(line_b[:, 1], line_b[:, 0]) - torch.atan2(line_a[:, 1], line_a[:, 0])
    return torch.log2(length_b[kept] / length_a[kept]), torch.rad2deg(turns).remainder(360.0)


def _count(grown: Tensor, turned_deg: Tensor, octaves: float) -> tuple[ScaleVote, float]:
    """How many lines agree about a growth and one turn, and how clearly they stand out."""
    off = (grown - octaves).abs()
    near = off <= _SAME_OCTAVES
    step_deg = 360.0 / _TURNS
    bins = (turned_deg[near] / step_deg).long().clamp_max(_TURNS - 1)
    counts = torch.bincount(bins, minlength=_TURNS).double()
    windows = counts + counts.roll(-1)  # two bins together: a border cuts no cluster
    peak = int(windows.argmax())
    usual = float(windows.median())
    clear = (float(windows[peak]) - usual) / math.sqrt(usual + 1.0)
    turned = (turned_deg - peak * step_deg).remainder(360.0) <= 2 * step_deg
    # A wider look, or the middle of the agreeing lines would be pulled to that of the window.
    agreeing = turned & (off <= 2 * _SAME_OCTAVES)
    if not bool(agreeing.any()):
        return ScaleVote(1.0, 0, len(grown)), 0.0
    middle = float(grown[agreeing].median())
    growth = min(2.0, max(0.5, 2.0**middle))
    return ScaleVote(growth, int(windows[peak]), len(grown)), clear
