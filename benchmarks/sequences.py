"""The sequences of images that benchmarks read."""

from __future__ import annotations

import os
from pathlib import Path

from engine.data.demo import demo_dataset
from engine.evaluation.datasets import DATA_VARIABLE


def demo_sequences() -> list[Path]:
    """The folders of the demo that are sequences in the layout of HPatches; it has others too."""
    return sorted(path for path in demo_dataset().iterdir() if path.name.startswith(("i_", "v_")))


def link_sequences(sequences: list[Path], count: int, folder: Path) -> Path:
    """A set of as many sequences, each a link to one of those given."""
    folder.mkdir()
    for number in range(count):
        target = sequences[number % len(sequences)]
        (folder / f"{target.name[:2]}{number:04}").symlink_to(target, target_is_directory=True)
    return folder


def find_sequences() -> Path:
    """The four sequences, in the folder that ``DESCGUI_DATA`` names, else beside the checkout.

    Raises:
        RuntimeError: they are not there.
    """
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get(DATA_VARIABLE, beside)) / "sequences"
    if not folder.is_dir():
        raise RuntimeError(f"{folder}: there are no sequences; {DATA_VARIABLE} names their folder")
    return folder
