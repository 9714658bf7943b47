"""What the training panel may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engine.api import TrainingRunInfo


class TrainingActions(Protocol):
    """Requests of the panel, its form and its list of runs; answers come through the model."""

    def want(self, wanted: bool) -> None:
        """Keep runs and photos up to date while the panel is visible."""

    def use_folder(self, folder: Path) -> None:
        """Train on the photos in a folder."""

    def read_photos(self) -> None:
        """Count the photos and make the first pairs again."""

    def start(self) -> Path | None:
        """Train what is chosen.

        Returns:
            The folder that has the chosen name already: then nothing was started.
        """

    def start_as(self, name: str) -> None:
        """Train what is chosen under another name."""

    def resume_chosen(self, folder: Path) -> None:
        """Continue the run in a folder with the settings of the form."""

    def resume(self, folder: Path) -> None:
        """Continue a run with its own settings."""

    def pause(self) -> None:
        """Pause after the current step and save a checkpoint."""

    def unpause(self) -> None:
        """Continue a paused run."""

    def stop(self) -> None:
        """Stop after the current step and save a checkpoint."""

    def copy_command(self) -> None:
        """Copy the command line that trains what is chosen."""

    def overlay(self, folders: tuple[Path, ...]) -> None:
        """Show the curves of these runs in one another's plots."""

    def watch(self, folder: Path) -> None:
        """Show the probe of a run."""

    def add_run(self, folder: Path) -> None:
        """List and show a run from another folder."""

    def use_in_viewer(self, run: TrainingRunInfo, weights: Path) -> None:
        """Describe the open pair with a run's network."""

    def evaluate(self, run: TrainingRunInfo, weights: Path) -> None:
        """Choose a run's network in the evaluation."""

    def export(self, weights: Path, out: Path) -> None:
        """Write a run's weights to a file."""
