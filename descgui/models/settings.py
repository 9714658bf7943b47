"""The window's settings: declared once, kept in one YAML file, never able to stop the start."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from PySide6.QtCore import QObject, Signal

from descgui.models.networks_state import same_network
from descgui.models.state import StateModel
from engine.api import (
    FITTED,
    SEPARATION_PX,
    Colormap,
    ConfigError,
    FigureTheme,
    HeatRange,
    OutputError,
    Precision,
    build_config,
    config_values,
    make_folder,
    option,
    read_yaml,
    write_atomically,
)

logger = logging.getLogger(__name__)

RECENT_LIMIT = 12
PLACES_LIMIT = 100
_COMPUTING = ("long_edge_px", "device", "precision")
_QUERIES = ("peaks", "separation_px", "exclude_px")


# What the window notes by itself; nothing looks different because of it.
_NOTED: Final = frozenset({"recent_pairs", "recent_folders", "recent_photos", "places"})

PRECISION_TITLES: Final[dict[Precision, str]] = {
    "float32": "Single (float32)",
    "bfloat16": "Half (bfloat16)",
    "float16": "Half (float16)",
}
"""What the window calls the precisions."""

COLORMAP_TITLES: Final[dict[Colormap, str]] = {
    "viridis": "Viridis",
    "cividis": "Cividis",
    "magma": "Magma",
    "inferno": "Inferno",
    "turbo": "Turbo (not uniform)",
}
"""What it calls the colour maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureSettings:
    """How figures for papers are exported, and what they show."""

    kind: Literal["svg", "pdf", "png"] = option("svg", help="kind of file")
    width_cm: float = option(17.0, help="of the whole figure", unit="cm", low=3.0, high=100.0)
    font_pt: float = option(7.5, help="size of most text", unit="pt", low=4.0, high=24.0)
    theme: FigureTheme = option("light", help="dark on white, or light on dark")
    dots_per_inch: int = option(
        450, help="dots per inch of PNG, and of photographs inside SVG and PDF", low=72, high=1200
    )
    titles: bool = option(True, help="show the names above the images")
    marks: bool = option(True, help="show query, matches and pins")
    lines: bool = option(True, help="show the lines of many matches")
    legend: bool = option(True, help="show the legend")
    scale: bool = option(True, help="show the colour scale")
    caption: bool = option(True, help="show the figures below")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The user's preferences that the window remembers."""

    theme: Literal["system", "light", "dark"] = option(
        "system", help="colours of the window",
        choice_titles=("Follow the system", "Light", "Dark"),
    )  # fmt: skip
    colormap: Colormap = option(
        "viridis", help="colours of heat maps and of all other maps of numbers",
        title="Colour map",
        choice_titles=tuple(COLORMAP_TITLES.values()),
    )  # fmt: skip
    heat: HeatRange = FITTED
    long_edge_px: int = option(
        640, help="images are shrunk to this long edge before they are described; 0 keeps them",
        unit="px", low=0, high=8192,
    )  # fmt: skip
    device: str = option("auto", help="where descriptors are computed")
    precision: Precision = option(
        "float32",
        help="arithmetic of networks; reduced only where it changes no match",
        choice_titles=tuple(PRECISION_TITLES.values()),
    )
    opacity: float = option(0.65, help="of colours over the image", unit="share", low=0.0, high=1.0)
    peaks: int = option(
        5, help="best matches marked for a query", low=1, high=20, title="Marked matches"
    )
    separation_px: float = option(
        SEPARATION_PX,
        help="least distance between the marked matches of a query, in pixels as described; "
        f"confidences are known at {SEPARATION_PX:g} px only",
        unit="px",
        low=1.0,
        high=512.0,
        title="Distance between them",
    )
    exclude_px: float = option(
        32.0, help="radius around a query that self-similarity leaves out, in pixels as described",
        unit="px",
        low=0.0, high=4096.0, title="Left out around the query",
    )  # fmt: skip
    correct_px: float = option(
        3.0,
        help="a match this close to the truth is right",
        unit="px",
        low=0.1,
        high=100.0,
        title="Right within",
    )
    map_budget_mb: int = option(
        2048,
        help="memory for finished maps; the oldest ones are dropped beyond it",
        unit="mb",
        low=128,
        high=262144,
        title="Memory for maps",
    )
    restore_session: bool = option(
        True, help="open the last pair again at start", title="Open the last pair"
    )
    descriptor: str = option(
        "descspace-fast", help="descriptor shown at start", title="First descriptor"
    )
    recent_pairs: tuple[str, ...] = option((), help="recently opened pairs")
    recent_folders: tuple[str, ...] = option((), help="recently opened folders")
    places: tuple[str, ...] = option((), help="the pair shown last of each set of pairs")
    recent_photos: tuple[str, ...] = option((), help="folders of photos to train on")
    recent_networks: tuple[str, ...] = option((), help="recently opened networks")
    favourite_networks: tuple[str, ...] = option((), help="networks with a star")
    trusted_plugins: tuple[str, ...] = option((), help="plugin files that may run")
    export_folder: str = option("", help="where files were exported to last")
    figure: FigureSettings = FigureSettings()

    def looks_like(self, other: Settings) -> bool:
        """Whether only what was opened, and the like, differs."""
        return all(
            getattr(self, one.name) == getattr(other, one.name)
            for one in fields(self)
            if one.name not in _NOTED
        )


class SettingsModel(StateModel[Settings]):
    """Holds :class:`Settings`, the only owner of what they say, and keeps them in a file.

    Args:
        path: the file; None to begin with the defaults and keep nothing.

    Signals:
        computing_changed(Settings): images are described in another way from now on.
        queries_changed(Settings): probes are answered in another way from now on.
        problem(str): one sentence about a settings file that could not be used or written.
    """

    computing_changed = Signal(object)
    queries_changed = Signal(object)
    problem = Signal(str)

    def __init__(self, path: Path | None, parent: QObject | None = None) -> None:
        super().__init__(Settings(), parent)
        self._path = path
        self._overridden: dict[str, Any] = {}

    def set(self, state: Settings) -> None:
        """Replace the settings of this window, without writing them."""
        before = self.state
        super().set(state)
        for names, signal in (
            (_COMPUTING, self.computing_changed),
            (_QUERIES, self.queries_changed),
        ):
            if any(getattr(before, name) != getattr(state, name) for name in names):
                signal.emit(state)

    def load(self) -> None:
        """Read the file; a broken one is copied aside, named, and replaced by the defaults."""
        if self._path is None or not self._path.exists():
            return
        try:
            loaded = build_config(Settings, read_yaml(self._path))
        except ConfigError as error:
            self.problem.emit(f"The settings were not used: {error}{self._keep_broken()}")
            return
        self.set(loaded)

    def override(self, **changes: Any) -> None:
        """Change some settings for this window only: the file keeps the values it has."""
        self._overridden = {
            **{name: getattr(self.state, name) for name in changes},
            **self._overridden,
        }
        self.set(replace(self.state, **changes))

    def update(self, **changes: Any) -> None:
        """Change some settings and write the file; silent when nothing changes."""
        for name in changes:
            self._overridden.pop(name, None)
        before = self.state
        super().update(**changes)
        if self.state != before:
            self._save()

    def remember_pair(self, entry: str) -> None:
        """Put a pair on top of the recent ones."""
        self.update(recent_pairs=_on_top(entry, self.state.recent_pairs))

    def remember_place(self, opened: str, entry: str) -> None:
        """Note which pair of a set is shown, as an entry of the recent pairs.

        Args:
            opened: what opens the set.
            entry: begins with it.
        """
        others = (one for one in self.state.places if one.partition("\t")[0] != opened)
        self.update(places=(entry, *others)[:PLACES_LIMIT])

    def place_in(self, opened: str) -> str:
        """The entry of the pair of a set that was shown last; "" where none is known."""
        known = (one for one in self.state.places if one.partition("\t")[0] == opened)
        return next(known, "")

    def remember_folder(self, entry: str) -> None:
        """Put the folder or file of a set of pairs on top of the recent ones."""
        self.update(recent_folders=_on_top(entry, self.state.recent_folders))

    def remember_photos(self, entry: str) -> None:
        """Put a folder of photos on top of the recent ones."""
        self.update(recent_photos=_on_top(entry, self.state.recent_photos))

    def remember_network(self, name: str, **changes: Any) -> None:
        """Put a network on top of the recent ones; it stands there once, whatever its layers.

        Args:
            name: of the network.
            changes: of other settings, so that the file is written once.
        """
        others = (one for one in self.state.recent_networks if not same_network(one, name))
        self.update(recent_networks=(name, *others)[:RECENT_LIMIT], **changes)

    def _keep_broken(self) -> str:
        """Copy a file that cannot be used aside, before the next change overwrites it."""
        assert self._path is not None
        kept = self._path.with_suffix(".broken.yaml")
        try:
            shutil.copyfile(self._path, kept)
        except OSError as error:
            return f" No copy could be kept ({error})."
        return f" A copy is kept as {kept}."

    def _save(self) -> None:
        if self._path is None:
            return
        text = yaml.safe_dump(
            config_values(replace(self.state, **self._overridden)),
            allow_unicode=True,
            sort_keys=False,
        )
        try:
            make_folder(self._path.parent)
            write_atomically(self._path, text.encode("utf-8"), durable=False)
        except OutputError as error:
            logger.warning("settings not written: %s", error)
            self.problem.emit(f"The settings were not saved: {error}")


def _on_top(entry: str, entries: tuple[str, ...]) -> tuple[str, ...]:
    return (entry, *(other for other in entries if other != entry))[:RECENT_LIMIT]
