"""The range of heat maps as text, and what is no range."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.heat_range import HeatRange, parse_heat_range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("percentile:20,100", HeatRange()),
        ("percentile:5,99.5", HeatRange(low_percent=5.0, high_percent=99.5)),
        ("relative:0.25", HeatRange(kind="relative", span=0.25)),
        ("fixed:-0.5,0.75", HeatRange(kind="fixed", low=-0.5, high=0.75)),
    ],
)
def test_ranges_come_back_from_their_texts(text, expected):
    assert parse_heat_range(text) == expected
    assert str(expected) == text


def test_a_kind_alone_has_the_default_numbers():
    assert parse_heat_range("fixed") == HeatRange(kind="fixed")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "none of percentile:LOW,HIGH"),
        ("0,1", "none of percentile:LOW,HIGH"),
        ("fixed:1", "none of percentile:LOW,HIGH"),
        ("fixed:0.5,0.5", r"the end \(0.5\) has to be above the start \(0.5\)"),
        ("percentile:90,10", r"the end \(10\) has to be above the start \(90\)"),
        ("fixed:0,x", "number"),
        ("fixed:nan,1", "'nan' is not a number"),
        ("relative:0", "at least 0.01"),
        ("fixed:0,7", "at most 1"),
    ],
)
def test_what_is_no_range_is_refused_with_the_reason(text, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_heat_range(text)
    assert caught.value.field.startswith("heat_range")
