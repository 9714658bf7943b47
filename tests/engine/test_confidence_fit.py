"""The weights of confidences are chosen by matches of pairs that were left out of the fit."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.confidence import Matches, fit
from engine.matching.confidence import Evidence, weigh_columns


def planted(hidden: float) -> Matches:
    """Matches whose similarity tells whether they are right, but for a share that is hidden."""
    generator = np.random.default_rng(0)
    groups, each = 20, 150
    count = groups * each
    similarity = generator.uniform(0, 1, count)
    right = generator.random(count) < 1 / (1 + np.exp(-20 * (similarity - 0.4)))
    right &= generator.random(count) >= hidden
    number = np.repeat(np.arange(groups), each)
    evidence = {name: np.full(count, np.nan) for name in Evidence.NAMES}
    return Matches(
        name=np.full(count, "set"),
        group=number.astype(str),
        pair=number,
        chooses=np.ones(count, np.bool_),
        right=right,
        evidence=evidence | {"similarity": similarity},
    )


@pytest.mark.parametrize(("hidden", "most"), [(0.0, 1.0), (0.02, 0.98), (0.06, 0.94)])
def test_the_highest_confidence_is_the_share_that_is_right_of_what_looks_perfect(
    hidden: float, most: float
):
    matches = planted(hidden)
    weights = fit(matches, ["similarity"])
    assert weights["most"] == most
    sure = weigh_columns(matches.evidence, weights)
    for low in (0.0, 0.3, 0.5, 0.8):
        own = (matches.evidence["similarity"] >= low) & (matches.evidence["similarity"] < low + 0.2)
        assert sure[own].mean() == pytest.approx(matches.right[own].mean(), abs=0.03)
