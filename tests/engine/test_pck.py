"""PCK and its interval, against counting by hand and against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.pck import CURVE_PX, bootstrap_mean, count_within, errors_px

TRUTH = np.array([[10.0, 20.0], [30.0, 40.0], [50.0, 60.0], [70.0, 80.0]])
# Off by 0, exactly 5 (3-4-5), a hair more than 5, and not found.
FOUND = TRUTH + np.array([[0, 0], [3, 4], [3, 4.001], [np.nan, np.nan]])


def test_a_distance_equal_to_the_threshold_counts_and_a_hair_more_does_not():
    assert count_within(errors_px(FOUND, TRUTH), (5, 5.01, 0)) == (2, 3, 1)


def test_what_was_not_found_is_never_right():
    assert count_within(errors_px(FOUND, TRUTH), (1e9,)) == (3,)
    assert math.isnan(errors_px(FOUND, TRUTH)[3])


def test_the_curve_counts_what_a_loop_counts():
    errors = np.random.default_rng(3).exponential(4, 500)
    errors[::50] = np.nan
    errors[1::50] = 2.5
    for threshold, count in zip(CURVE_PX, count_within(errors, CURVE_PX), strict=True):
        assert count == sum(1 for error in errors.tolist() if error <= threshold)
    assert CURVE_PX[0] == 0
    assert CURVE_PX[-1] == 10


@given(
    st.lists(
        st.tuples(st.floats(0, 1, allow_subnormal=False), st.sampled_from("abcd")),
        min_size=1,
        max_size=20,
    )
)
def test_the_mean_is_over_pairs_and_lies_in_its_interval(rows: list[tuple[float, str]]):
    values, groups = [value for value, _ in rows], [group for _, group in rows]
    found = bootstrap_mean(values, groups, seed=0, resamples=200)
    assert found.mean == pytest.approx(math.fsum(values) / len(values), abs=1e-12)
    if len(set(groups)) == 1:
        assert found.ends is None
    else:
        assert found.ends is not None
        low, high = found.ends
        assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_the_interval_is_that_of_a_plain_loop_over_drawn_sequences():
    """Another generator gives the same interval, up to the noise of the draws."""
    random = np.random.default_rng(1)
    pairs = {
        f"s{n}": random.normal(random.uniform(0.2, 0.8), 0.05, size=1 + n % 5) for n in range(12)
    }
    values = [float(value) for group in pairs.values() for value in group]
    groups = [name for name, group in pairs.items() for _ in group]
    means = []
    for _ in range(4000):
        drawn = [pairs[name] for name in random.choice(list(pairs), size=len(pairs))]
        means.append(np.concatenate(drawn).mean())
    found = bootstrap_mean(values, groups, seed=0)
    assert found.ends == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=0.01)


def test_pairs_of_one_sequence_are_not_counted_as_independent():
    """Twenty pairs that agree within two sequences tell no more than two numbers do."""
    many = bootstrap_mean([0.2] * 10 + [0.8] * 10, ["a"] * 10 + ["b"] * 10, seed=0)
    few = bootstrap_mean([0.2, 0.8], ["a", "b"], seed=0)
    assert many.ends == pytest.approx(few.ends) == (0.2, 0.8)


def test_the_interval_depends_on_the_seed_alone_and_not_on_the_order_of_rows():
    random = np.random.default_rng(0)
    values, groups = random.uniform(size=30).tolist(), [f"s{n % 7}" for n in range(30)]
    first = bootstrap_mean(values, groups, seed=4)
    order = random.permutation(30)
    again = bootstrap_mean([values[n] for n in order], [groups[n] for n in order], seed=4)
    assert first == bootstrap_mean(values, groups, seed=4)
    assert (again.mean, *again.ends) == pytest.approx((first.mean, *first.ends))
    assert first != bootstrap_mean(values, groups, seed=5)


def test_there_is_no_mean_of_nothing():
    with pytest.raises(ValueError, match="no mean"):
        bootstrap_mean([], [], seed=0)
