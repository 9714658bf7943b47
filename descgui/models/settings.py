"""The window's settings: declared once, kept in one YAML file, never able to stop the start."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from PySide6.QtCore import QObject, Signal

from engine.api import (
    Colormap,
    ConfigError,
    Precision,
    build_config,
    config_values,
    option,
    read_yaml,
)

logger = logging.getLogger(__name__)

RECENT_LIMIT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the window remembers of a person's wishes."""

    theme: Literal["system", "light", "dark"] = option("system", help="colours of the window")
    colormap: Colormap = option("viridis", help="colours of scalar maps")
    long_edge_px: int = option(
        640, help="images are shrunk to this long edge before they are described", unit="px",
        low=0, high=8192,
    )  # fmt: skip
    device: str = option("auto", help="where descriptors are computed")
    precision: Precision = option(
        "float32", help="arithmetic of networks; reduced only where it changes no match"
    )
    opacity: float = option(0.65, help="of colours over the image", low=0.0, high=1.0)
    peaks: int = option(5, help="best matches marked for a probe", low=1, high=20)
    separation_px: float = option(
        16.0, help="distance between the peaks of a probe", unit="px", low=1.0, high=512.0
    )
    correct_px: float = option(
        3.0, help="a match this close to the truth is right", unit="px", low=0.1, high=100.0
    )
    map_budget_mb: int = option(
        2048, help="memory for finished maps", unit="mb", low=128, high=262144
    )
    restore_session: bool = option(True, help="open the last pair again at start")
    descriptor: str = option("descspace-fast", help="descriptor shown at start")
    recent_pairs: tuple[str, ...] = option((), help="recently opened pairs")
    recent_folders: tuple[str, ...] = option((), help="recently opened folders")
    recent_photos: tuple[str, ...] = option((), help="folders of photos to train on")
    trusted_plugins: tuple[str, ...] = option((), help="plugin files that may run")


class SettingsModel(QObject):
    """Holds :class:`Settings` and their file.

    Args:
        path: the file; None to begin with the defaults and keep nothing.

    Signals:
        changed(Settings): after every real change.
        problem(str): one sentence about a settings file that could not be used or written.
    """

    changed = Signal(object)
    problem = Signal(str)

    def __init__(self, path: Path | None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self._settings = Settings()

    @property
    def settings(self) -> Settings:
        """The present settings."""
        return self._settings

    def load(self) -> None:
        """Read the file; a broken one is copied aside, named, and replaced by the defaults."""
        if self._path is None or not self._path.exists():
            return
        try:
            loaded = build_config(Settings, read_yaml(self._path))
        except ConfigError as error:
            self.problem.emit(f"The settings were not used: {error}{self._keep_broken()}")
            return
        if loaded != self._settings:
            self._settings = loaded
            self.changed.emit(loaded)

    def update(self, **changes: Any) -> None:
        """Change some settings and write the file; silent when nothing changes."""
        new = replace(self._settings, **changes)
        if new == self._settings:
            return
        self._settings = new
        self.changed.emit(new)
        self._save()

    def remember_pair(self, entry: str) -> None:
        """Put a pair on top of the recent ones."""
        self.update(recent_pairs=_on_top(entry, self._settings.recent_pairs))

    def remember_folder(self, entry: str) -> None:
        """Put a folder on top of the recent ones."""
        self.update(recent_folders=_on_top(entry, self._settings.recent_folders))

    def remember_photos(self, entry: str) -> None:
        """Put a folder of photos on top of the recent ones."""
        self.update(recent_photos=_on_top(entry, self._settings.recent_photos))

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
        text = yaml.safe_dump(config_values(self._settings), allow_unicode=True, sort_keys=False)
        temporary = self._path.with_suffix(".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            logger.warning("settings not written: %s", error)
            self.problem.emit(f"The settings could not be written to {self._path}: {error}.")


def _on_top(entry: str, entries: tuple[str, ...]) -> tuple[str, ...]:
    return (entry, *(other for other in entries if other != entry))[:RECENT_LIMIT]
