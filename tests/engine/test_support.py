"""How far a vote can be trusted, and how that is calibrated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.vote import fit, is_right
from engine.descriptors.base import Member
from engine.descriptors.member_steps import contradicts, is_moderate
from engine.descriptors.support import Support

WEAK = Support(agreeing=20.0, chance=10.0, fitted=25.0, rival=5.0)


@pytest.mark.parametrize(
    "change", [{"agreeing": 30.0}, {"chance": 5.0}, {"fitted": 40.0}, {"rival": 0.0}]
)
def test_whatever_speaks_for_a_winner_makes_it_more_likely_to_be_right(change: dict[str, float]):
    assert replace(WEAK, **change).right > WEAK.right + 0.005


def test_a_winner_by_chance_is_not_trusted_and_one_with_many_points_is():
    for agreeing in (0.0, 4.0, 12.0):
        by_chance = Support(agreeing=agreeing, chance=agreeing, fitted=agreeing, rival=0.0)
        assert by_chance.right < 0.05
    assert Support(agreeing=150.0, chance=12.0, fitted=150.0, rival=8.0).right > 0.999


def test_the_words_say_the_numbers():
    words = Support(agreeing=20.0, chance=10.0, fitted=25.0, rival=5.0).in_words()
    assert words.startswith("25 points agree, 10 by chance; right with a probability of ")
    assert words.endswith(f" {100 * WEAK.right:.0f} %")


def test_the_fit_finds_the_weights_that_drew_the_cases():
    draw = np.random.default_rng(0)
    features = draw.normal((1.0, 3.0), (0.5, 2.0), (4000, 2))
    chances = 1 / (1 + np.exp(-(-2.0 + 1.5 * features[:, 0] + 0.5 * features[:, 1])))
    weights = fit(features, draw.uniform(size=4000) < chances)
    assert weights == pytest.approx([-2.0, 1.5, 0.5], abs=0.25)


def test_a_winner_is_right_if_its_turn_and_scale_are():
    def linear(scale: float, turn_deg: float) -> np.ndarray:
        # Counter-clockwise on the screen, where y points down.
        cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
        return scale * np.array([[cos, sin], [-sin, cos]])

    for member, truth, expected in (
        (Member(2.0, 90.0), (2.0, 90.0), True),
        (Member(2.0, 90.0), (1.4, 110.0), True),
        (Member(2.0, 90.0), (2.0, 120.0), False),
        (Member(2.0, 90.0), (1.2, 90.0), False),
        (Member(1.0, 350.0), (1.0, 10.0), True),
        (Member(1.4, 0.0, 2.0, 30.0), (1.0, 0.0), True),  # a tilt alone
    ):
        assert is_right(member, linear(*truth)) == expected


def test_neighbouring_members_do_not_contradict_each_other():
    for other, expected in (
        (Member(1.0, 45.0), False),
        (Member(1.0, 320.0), False),
        (Member(1.4, 0.0), False),
        (Member(1.0, 60.0), True),
        (Member(1.0, 180.0), True),
        (Member(2.0, 0.0), True),
        (Member(2.0, 0.0, 4.0), False),  # squeezed by as much as it grew
    ):
        assert contradicts(Member(), other) == contradicts(other, Member()) == expected


def test_what_is_turned_by_more_than_45_degrees_or_twice_as_large_is_not_moderate():
    assert [
        is_moderate(member)
        for member in (
            Member(), Member(2.0, 45.0), Member(0.5, 315.0),
            Member(1.0, 46.0), Member(1.0, 180.0), Member(2.1), Member(0.45),
        )
    ] == [True] * 3 + [False] * 4  # fmt: skip
