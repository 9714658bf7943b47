"""Corner error: how far an estimated homography takes the corners of image a from the truth.

The mean over the four corners' distances, as D. DeTone et al. (SuperPoint, CVPRW 2018) measure it.
Over many pairs it becomes an AUC, see :mod:`engine.evaluation.metrics.recall_auc`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def corner_error_px(
    estimated: NDArray[Any] | None, h_b_from_a: NDArray[Any], size_a_px: tuple[int, int]
) -> float | None:
    """Mean distance of the corners' estimated places from the true ones.

    Args:
        estimated: ``(3, 3)`` of either sign; None where nothing was estimated.
        h_b_from_a: ``(3, 3)`` the truth.
        size_a_px: (width, height) of image a; its corners are the centres of its corner pixels.

    Returns:
        None where nothing was estimated, or a corner lies on a horizon.
    """
    if estimated is None:
        return None
    right, bottom = size_a_px[0] - 1.0, size_a_px[1] - 1.0
    corners = np.array([[0, 0, 1], [right, 0, 1], [right, bottom, 1], [0, bottom, 1]])
    places = []
    for matrix in (estimated, h_b_from_a):
        # As in the field, without regard to what lies behind: signs of matrices do not matter.
        carried = corners @ np.asarray(matrix, np.float64).T
        with np.errstate(divide="ignore", invalid="ignore"):
            places.append(carried[:, :2] / carried[:, 2:])
    with np.errstate(invalid="ignore"):
        error = float(np.linalg.norm(places[0] - places[1], axis=1).mean())
    return error if np.isfinite(error) else None
