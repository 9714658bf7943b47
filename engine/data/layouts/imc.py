"""The layout of the Image Matching Challenge 2022: scenes with overlaps and calibrated cameras.

A scene has ``images/``, ``pair_covisibility.csv`` with ``pair`` (two names without endings, joined
by a hyphen) and ``covisibility``, and ``calibration.csv`` with ``image_id``, ``camera_intrinsics``,
``rotation_matrix`` and ``translation_vector`` (world to camera).  Y. Jin and others, "Image
matching across wide baselines: from paper to practice", IJCV 2021.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from engine.data.folders import file_names
from engine.data.layouts.building import (
    finished_set,
    fitting_folders,
    left_out,
    pictures_by_stem,
)
from engine.data.pair_set import PairGroup, PairSet
from engine.data.pairs import ImagePair
from engine.errors import DatasetError, ImageError
from engine.files import read_input
from engine.images import read_size
from engine.truth.cameras import Camera
from engine.truth.depth import DepthSource

_PAIRS, _CAMERAS, _IMAGES = "pair_covisibility.csv", "calibration.csv", "images"
_DEPTH: Final = 2
LEAST_OVERLAP: Final = 0.1
"""Pairs below this covisibility are left out, as the challenge recommends."""

_MOST_BYTES: Final = 512 << 20


class ImcReader:
    """Reads scenes of the challenge: a group for each, since its pairs show one scene."""

    word: Final = "imc"
    layout: Final = "Image Matching Challenge 2022"
    group: Final = "scene"
    expected: Final = f"folders with {_PAIRS}, {_CAMERAS} and {_IMAGES}"

    def recognises(self, root: Path) -> bool:
        """Whether a folder, or one up to two levels down, holds both tables."""
        return any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """Pairs in the order of the tables, which begin with the easy ones.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        groups: list[PairGroup | None] = []
        for folder, _ in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            try:
                groups.append(_scene(folder, problems))
            except DatasetError as error:
                problems.append(str(error))
        return finished_set(self, root, groups, problems)


def _fits(_folder: Path, names: Sequence[str]) -> bool:
    return _PAIRS in names and _CAMERAS in names


def _scene(folder: Path, problems: list[str]) -> PairGroup | None:
    """The pairs of a scene; None where none is usable.

    Raises:
        DatasetError: a table or the folder of images cannot be read.
    """
    name = folder.resolve().name
    place = folder / _IMAGES
    images = {stem: place / file for stem, file in pictures_by_stem(file_names(place)).items()}
    told = {row["image_id"]: row for row in _rows(folder / _CAMERAS, "image_id")}
    cameras: dict[str, Camera | None] = {}
    faults: Counter[str] = Counter()
    pairs: list[ImagePair] = []
    for row in _rows(folder / _PAIRS, "pair"):
        first, second = _ids(row["pair"], images)
        try:
            overlap = float(row.get("covisibility") or "nan")
        except ValueError:
            overlap = float("nan")
        if not overlap >= LEAST_OVERLAP:
            faults[f"their covisibility is not {LEAST_OVERLAP:g} or more"] += 1
            continue
        if first not in images or second not in images:
            faults[f"an image is missing in {_IMAGES}"] += 1
            continue
        for one in (first, second):
            if one not in cameras:
                cameras[one] = _camera(told.get(one), images[one])
        a, b = cameras[first], cameras[second]
        if a is None or b is None:
            faults[f"a camera is missing in {_CAMERAS}, or is none"] += 1
            continue
        pairs.append(
            ImagePair(
                images[first],
                images[second],
                DepthSource(None, None, a, b),
                name=f"{name} {first} → {second}",
                sequence=name,
                index=len(pairs) + 1,
            )
        )
    problems += left_out(name, "pair", faults)
    return PairGroup(name, tuple(pairs)) if pairs else None


def _ids(pair: str, images: Mapping[str, Path]) -> tuple[str, str]:
    """The two names in ``FIRST-SECOND``; each of them may hold hyphens."""
    parts = pair.split("-")
    splits = [("-".join(parts[:at]), "-".join(parts[at:])) for at in range(1, len(parts))]
    known = [both for both in splits if both[0] in images and both[1] in images]
    return (known or splits or [(pair, "")])[0]


def _camera(row: Mapping[str, str] | None, image: Path) -> Camera | None:
    """None where the row or the image is not usable."""
    if row is None:
        return None
    try:
        matrix, rotation, shift = (
            np.array([float(word) for word in row[name].split()])
            for name in ("camera_intrinsics", "rotation_matrix", "translation_vector")
        )
        pose = np.column_stack([rotation.reshape(3, 3), shift])
        return Camera.pinhole(matrix.reshape(3, 3), pose, read_size(image))
    except (KeyError, ValueError, ImageError):
        return None


def _rows(path: Path, needed: str) -> list[Mapping[str, str]]:
    """The rows of a table.

    Raises:
        DatasetError: it cannot be read, is no table, or lacks a column.
    """
    try:
        text = read_input(path, DatasetError, most_bytes=_MOST_BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(path, f"is no CSV ({error})") from error
    if rows and needed not in rows[0]:
        raise DatasetError(path, f"has no column {needed}")
    return [{name: value or "" for name, value in row.items() if name} for row in rows]
