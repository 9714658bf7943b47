"""What README says about defaults and modes is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from descgui.models.matches_state import MatchesState
from descgui.models.settings import Settings
from engine.jobs.settings import MatchConfig
from engine.vocabulary import VIEW_MODES

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ONE_LINE = " ".join(README.split())


def test_the_modes_of_the_window_are_those_of_the_option():
    (listed,) = re.findall(r"`--mode ([^`]*)`", README)
    assert tuple(listed.split("\\|")) == VIEW_MODES


def test_the_numbers_of_points_are_the_defaults():
    assert f"**Match** {MatchesState().count} Harris points" in ONE_LINE
    assert f"{MatchConfig().count} points in the terminal" in ONE_LINE


def test_the_default_descriptors_are_named():
    words = (
        f"opens with `{Settings().descriptor}`; `match` and `describe` take "
        f"`{MatchConfig().descriptor}`"
    )
    assert words in ONE_LINE
