"""Scenes that COLMAP has reconstructed: a model, and the images beside it.

J. Schönberger and J.-M. Frahm, "Structure-from-motion revisited", CVPR 2016.  Two images that show
enough points of the scene in common are a pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from engine.data.folders import natural_key
from engine.data.layouts.building import finished_set, fitting_folders
from engine.data.pair_set import PairGroup, PairSet
from engine.data.pairs import ImagePair
from engine.errors import TruthError
from engine.files import is_file_there
from engine.truth.colmap_model import (
    MODEL_FILES,
    Observations,
    read_colmap_model,
    read_observations,
)
from engine.truth.tracks import TracksSource

FEWEST_SHARED: Final = 5
"""Images with fewer points in common are no pair; glue-factory takes the same number."""

_MOST_PAIRS: Final = 100_000
_IMAGES: Final = "images"
_DEPTH: Final = 4
_LEVELS_UP: Final = 3


class ColmapReader:
    """Reads COLMAP models: a group for each, since its pairs show one scene."""

    word: Final = "colmap"
    layout: Final = "COLMAP models"
    group: Final = "scene"
    expected: Final = "cameras and images of a model, as .bin or .txt, and a folder with its images"

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one up to four levels down, holds a model."""
        return any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """Pairs in the order of their images' names.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        groups: list[PairGroup | None] = []
        for folder, _ in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            try:
                groups.append(_scene(folder, problems))
            except TruthError as error:
                problems.append(str(error))
        return finished_set(self, root, groups, problems)


def _fits(_folder: Path, names: Sequence[str]) -> bool:
    return any(set(files) <= set(names) for files in MODEL_FILES)


def _scene(model: Path, problems: list[str]) -> PairGroup | None:
    """The pairs of a model; None where none is usable.

    Raises:
        TruthError: the model cannot be read.
    """
    cameras = read_colmap_model(model)
    observed = read_observations(model)
    folder, name = _images_of(model, list(cameras))
    if folder is None:
        problems.append(f"{name}: the images of the model are not found, so it is left out.")
        return None
    there = sorted((one for one in cameras if is_file_there(folder / one)), key=natural_key)
    if len(there) < len(cameras):
        count = len(cameras) - len(there)
        problems.append(f"{name}: {count} of its {len(cameras)} images are not in {folder}.")
    pairs: list[ImagePair] = []
    for first, second, shared in _sharing(there, observed):
        if len(pairs) == _MOST_PAIRS:
            problems.append(f"{name}: has more than {_MOST_PAIRS} pairs, and the rest is left out.")
            break
        truth = TracksSource(model, (first, second), (cameras[first], cameras[second]), shared)
        pairs.append(
            ImagePair(
                folder / first,
                folder / second,
                truth,
                name=f"{name} {first} → {second}",
                sequence=name,
                index=len(pairs) + 1,
            )
        )
    if not pairs:
        problems.append(f"{name}: no two images show {FEWEST_SHARED} points in common.")
        return None
    return PairGroup(name, tuple(pairs))


def _images_of(model: Path, names: Sequence[str]) -> tuple[Path | None, str]:
    """Where the images are, None where they are not found; and what the scene is called.

    Their names start from a folder ``images`` beside the model or up to three levels above, else
    from one of these levels itself.
    """
    place = model.resolve()
    levels = (place, *place.parents[:_LEVELS_UP])
    for level in levels:
        for folder in (level / _IMAGES, level):
            if any(is_file_there(folder / name) for name in names):
                return folder, level.name
    return None, place.name


def _sharing(
    names: Sequence[str], observed: dict[str, Observations]
) -> Iterator[tuple[str, str, int]]:
    """Images that show enough points in common, and how many these are."""
    from scipy.sparse import csr_array  # late: it takes 0.2 s to load, and few need it

    numbers = [observed[name].numbers for name in names]
    _, columns = np.unique(np.concatenate(numbers), return_inverse=True)
    starts = np.cumsum([0, *map(len, numbers)])
    shows = csr_array((np.ones(len(columns), np.int32), columns, starts))
    for row, first in enumerate(names):
        shared = (shows[[row]] @ shows.T).toarray()[0]
        shared[: row + 1] = 0
        for other in np.flatnonzero(shared >= FEWEST_SHARED).tolist():
            yield first, names[other], int(shared[other])
