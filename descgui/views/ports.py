"""What views may ask for: small protocols that controllers fulfil and tests fake.

A view is given just the protocols that it needs, so it starts nothing by itself and knows no
controller.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from descgui.models.maps_state import DescriptorChoice, MapsModel
from engine import api
from engine.api import Side


class Probing(Protocol):
    """Queries at one point, and pins."""

    def hover(self, side: Side, x_px: float, y_px: float) -> None:
        """Ask about the point under the mouse."""

    def leave(self) -> None:
        """Clear the live probe."""

    def pin(self, side: Side, x_px: float, y_px: float) -> None:
        """Pin a point."""

    def pin_region(
        self, side: Side, x_px: float, y_px: float, size_px: tuple[float, float]
    ) -> None:
        """Pin a box around a point, whose mean descriptor asks."""

    def move_pin(self, number: int, side: Side, x_px: float, y_px: float) -> None:
        """Move a pin."""

    def remove_pin(self, number: int) -> None:
        """Remove a pin."""

    def clear_pins(self) -> None:
        """Remove all pins."""


class Opening(Protocol):
    """Opening pairs."""

    def open_pair(self, pair: api.ImagePair) -> None:
        """Open a pair of the open data set."""

    def open_paths(self, paths: list[Path], side: str = "") -> None:
        """Open files that were dropped on a side, "" for none."""

    def open_demo(self) -> None:
        """Open the demo."""

    def show_range(self, side: Side, shown: api.ValueRange | None) -> None:
        """Choose which values of one image are black and white; None for the file's own range."""

    def fit_range(self, side: Side) -> None:
        """Show an image from its least to its greatest value."""


class Describing(Protocol):
    """Choosing descriptors and computing their maps."""

    def choose(self, model: MapsModel, choice: DescriptorChoice) -> None:
        """Choose a descriptor, shown or compared."""

    def cancel(self) -> None:
        """Stop describing."""


class Networks(Protocol):
    """Opening networks by their names."""

    def list(self) -> None:
        """List all networks that can be opened, unless they are listed."""

    def open(self, model: MapsModel, name: str) -> None:
        """Describe by a network, shown or compared."""

    def open_file(self, model: MapsModel, path: Path) -> None:
        """Open a network that is a file or a folder."""

    def star(self, name: str, starred: bool) -> None:
        """Keep a network among the favourites, or no longer."""

    def look_for_weights(self, name: str) -> None:
        """Find out where the weights of a network are."""

    def download(self, name: str) -> None:
        """Download the published weights of a network, or continue."""

    def stop_download(self) -> None:
        """Stop the download; what was loaded is kept."""


class Matching(Protocol):
    """Matching many points."""

    def match_by(self, descriptor: int) -> None:
        """Choose which descriptor matches, from 0, the shown one."""

    def run(self) -> None:
        """Match now, or as soon as both images are described."""

    def cancel(self) -> None:
        """Stop matching."""

    def clear(self) -> None:
        """Clear the matches."""


class Figures(Protocol):
    """Figures for papers."""

    def preview_figure(self, show: Callable[[bytes], object], say: Callable[[str], object]) -> None:
        """Draw the figure as a small PNG, or say why it cannot be drawn."""

    def export(self) -> None:
        """Choose a file and write the figure."""


class Truths(Protocol):
    """Giving the open pair a truth of one's own."""

    def use_estimate(self) -> None:
        """Take the homography that was estimated from the matches."""

    def use_pins(self) -> None:
        """Take the pins with their matches."""

    def use_point(self, a_px: api.Point, b_px: api.Point) -> None:
        """Add one point of image A with its true match in B."""


class Learning(Protocol):
    """Setting up a training that learns from what fails."""

    def learn_from_pins(self) -> None:
        """Learn from the pins of the open pair whose true matches are known."""


class Files(Protocol):
    """Requests that open a file dialog first."""

    def open_pair(self) -> None:
        """Choose and open two images."""

    def open_folder(self) -> None:
        """Choose and open a folder."""

    def load_maps(self, model: MapsModel) -> None:
        """Choose precomputed maps for the shown or the compared descriptor."""

    def load_plugin(self) -> None:
        """Choose and load a plugin."""

    def load_basis(self) -> None:
        """Choose a saved PCA basis."""

    def save_basis(self) -> None:
        """Choose where the PCA basis is saved."""

    def save_matches(self) -> None:
        """Choose where the matches are exported."""
