"""The workspaces: the same panels laid out for one kind of work each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COMPACT_PX: Final = 1200
"""A narrower window shows the panels of *Inspect* as icons, and other work without the pair."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """How the panels are laid out at first for one kind of work.

    Attributes:
        name: key of its layout, and of its command ``workspace_<name>``.
        panels: the panels that are open at first.
        main: the panel that takes most of the room; "" where the pair does.
    """

    name: str
    panels: tuple[str, ...]
    main: str = ""


INSPECT: Final = "inspect"
WORKSPACES: Final = {
    workspace.name: workspace
    for workspace in (
        Workspace(INSPECT, ("browser", "descriptor", "probe", "matches")),
        Workspace("evaluate", ("evaluation",), main="evaluation"),
        Workspace("train", ("training",), main="training"),
    )
}
"""The workspaces by name, in the order of their buttons."""


def home_of(panel: str) -> str:
    """The workspace that a panel belongs to; "" for one that belongs to all."""
    return next((one.name for one in WORKSPACES.values() if panel in one.panels), "")
