"""Cells of a transformer whose features are far longer than all others.

T. Darcet et al., "Vision Transformers Need Registers", ICLR 2024: large transformers put what they
know of the whole image into a few cells without detail, about 2 % of them, whose features are then
about ten times as long and no longer tell what is there.  They draw a line through the gap between
both kinds by eye, at another length for each network (150 for DINOv2-g).  The rule here needs no
such number.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

from engine.descriptors.tensors import lengths_across

_DEVIATIONS: Final = 5.0
_LEAST_RATIO: Final = 2.0
_SIGMA_PER_MAD: Final = 1.4826  # of a normal distribution


def cell_norms(features: Tensor) -> Tensor:
    """The length of every cell's feature.

    Args:
        features: ``(B, D, H', W')``, not brought to unit length.

    Returns:
        ``(B, H', W')`` float32.
    """
    return lengths_across(features.float())


def high_norm_threshold(norms: Tensor) -> Tensor:
    """The length beyond which a feature is an outlier, for each image of a batch.

    That is where the logarithm of the length is more than 5 robust standard deviations (1.4826
    times the median distance from the median) above the median, and the length more than twice the
    median: networks whose last layer normalises have lengths so much alike that deviations alone
    would mark harmless cells.

    Args:
        norms: ``(B, H', W')``; cells of length 0 have nothing to describe and do not count.

    Returns:
        ``(B,)``; infinite for an image without any cell that counts.
    """
    thresholds = []
    for image in norms.flatten(1).double():
        logs = image[image > 0].log()
        if len(logs) == 0:
            thresholds.append(float("inf"))
            continue
        middle = logs.median()
        sigma = _SIGMA_PER_MAD * (logs - middle).abs().median()
        ratio = (_DEVIATIONS * sigma).exp().clamp_min(_LEAST_RATIO)
        thresholds.append(float(middle.exp() * ratio))
    return norms.new_tensor(thresholds)


def high_norm_cells(norms: Tensor) -> Tensor:
    """Which cells are beyond :func:`high_norm_threshold`: ``(B, H', W')`` booleans."""
    return norms > high_norm_threshold(norms)[:, None, None]
