"""Numbers that tell what a layer's descriptors are like, whatever they are matched with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.descriptors.base import DescriptorMap
from engine.geometry.sampling import cell_places, sample_map

_MIDDLE = 0.125  # of a side is left out at both ends: there, padding would be measured
_ALIKE = 1e-9


def effective_rank(vectors: Tensor) -> float:
    """How many directions vectors really use.

    O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO
    2007: the exponential of the entropy of the singular values, brought to a sum of 1.  It is D
    where all D directions are used alike, and 1 where all vectors lie on one line.

    Args:
        vectors: ``(N, D)``; at most N directions can be found.  Nothing is subtracted from them.

    Returns:
        1 to min(N, D); 0 where there is no vector but zeros.
    """
    rows = vectors.double()
    if rows.shape[0] < rows.shape[1]:
        rows = rows.T
    squared = torch.linalg.eigvalsh(rows.T @ rows).clamp_min(0)
    # Below lies the rounding of the squares, whose roots would pass for directions.
    squared = squared[squared > 1e-14 * squared.sum()]
    if len(squared) == 0:
        return 0.0
    singular = squared.sqrt()
    shares = singular / singular.sum()
    return float(torch.special.entr(shares).sum().exp())


def shift_sensitivity(level: DescriptorMap, moved: DescriptorMap) -> float | None:
    """How much a map changes, beyond moving, when its image moves by a pixel along both axes.

    The moved image's cells are compared with the map of the image, read bilinearly a pixel farther
    right and down.  The mean of 1 - cosine is divided by that of two different cells: 0
    where the map moves with the image, as a convolution's of stride 1 does, and 1 where a pixel
    changes as much as another place would.  Cells near the border are left out.

    Args:
        level: unit vectors of an image, a batch of one.
        moved: of the image whose pixel ``x`` shows what ``x + 1`` showed, along both axes.

    Returns:
        None where there are fewer than two cells, or all are alike.
    """
    rows, columns = level.values.shape[2:]
    places_px = cell_places(level.grid, (rows, columns), device=level.values.device)
    chosen = _middle(rows, level.values.device)[:, None] & _middle(columns, level.values.device)
    chosen = chosen.flatten()
    if int(chosen.sum()) < 2:
        chosen = torch.ones_like(chosen)
    count = int(chosen.sum())
    if count < 2:
        return None
    read = sample_map(level.values, level.grid, (places_px[chosen] + 1)[None].float())[0]
    wanted = functional.normalize(read.double(), dim=1)
    found = moved.values[0].flatten(1).T[chosen].double()
    # Of cells as they are: those read between cells are more alike.
    apart = (1 - float(found.mean(dim=0).square().sum())) * count / (count - 1)
    if apart < _ALIKE:
        return None
    change = 1 - (wanted * found).sum(dim=1)
    return max(0.0, float(change.mean()) / apart)


def _middle(count: int, device: torch.device) -> Tensor:
    places = (torch.arange(count, device=device) + 0.5) / count
    return (places > _MIDDLE) & (places < 1 - _MIDDLE)
