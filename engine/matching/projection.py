"""Descriptors as colours that can be trusted: principal components with a fixed meaning.

Three things make PCA pictures of different programs incomparable, and are settled here: what the
basis was fitted on is kept with it, the signs follow a rule, and the stretch to colours belongs to
the basis and not to the picture.  So two maps shown in one basis may be compared by eye.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import BasisFileError
from engine.files import read_npz, write_atomically
from engine.matching.colouring import PLAIN, Colouring
from engine.progress import check_stop

NEUTRAL = 128
_COLOURS = 3
_ROBUST_PERCENT = (1.0, 99.0)
_LEAST_SHARE = 1e-10  # of the variance: below is rounding of float32 and no direction
_FORMAT = 2
_READABLE_FORMATS = (1, 2)  # format 1 has three components
_MOST_COMPONENTS = 64


@dataclass(frozen=True, slots=True, eq=False)
class PcaBasis:
    """Directions in descriptor space, and which range of each becomes a colour.

    Attributes:
        mean: ``(D,)`` float64.
        components: ``(K, D)`` float64, K >= 3, orthonormal; zero where the data has fewer
            directions.
        explained: ``(K,)`` share of the variance, 0 to 1, falling.
        low: ``(K,)`` projections that become 0 ...
        high: ... and 255; equal to ``low`` where a component is constant.
        fitted_on: what it was fitted on, in words.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    explained: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    fitted_on: str


def fit_basis(
    maps: Iterable[Tensor], *, sample_limit: int, fitted_on: str, count: int = _COLOURS
) -> PcaBasis:
    """Fit the directions in which descriptors differ most.

    **Signs**: a direction is turned so that the sum of the cubes of its entries is positive.  Like
    the rule "the largest entry is positive" it lets the large entries decide, but all of them: two
    nearly equal ones of opposite sign cannot flip it when the data changes a little.

    Args:
        maps: ``(M, D)`` descriptors of each image, at least one, all of the same D, one needed at
            a time; zero vectors (nothing to describe) are left out.
        sample_limit: how many descriptors of each map are used at most, drawn without repetition;
            the draw depends on the number of descriptors alone, so the fit can be repeated.
        fitted_on: what the maps are, in words.
        count: how many directions, at least 3.

    Returns:
        The basis; fewer directions than asked for, also when D is less, leave zero components.
    """
    sample = np.concatenate([_draw(map_, sample_limit) for map_ in maps])
    dim = sample.shape[1]
    mean = sample.mean(axis=0) if len(sample) else np.zeros(dim)
    check_stop()
    centred = sample - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / max(1, len(sample)))
    total = float(values.clip(min=0).sum())
    components = np.zeros((count, dim))
    explained = np.zeros(count)
    for number, place in enumerate(range(dim - 1, max(-1, dim - 1 - count), -1)):
        if values[place] > _LEAST_SHARE * max(total, 1.0):
            components[number] = _with_fixed_sign(vectors[:, place])
            explained[number] = values[place] / total
    low, high = np.zeros(count), np.zeros(count)
    if len(sample):
        low, high = np.percentile(centred @ components.T, _ROBUST_PERCENT, axis=0)
    return PcaBasis(mean, components, explained, low, high, fitted_on)


def project(basis: PcaBasis, values: Tensor, colouring: Colouring = PLAIN) -> NDArray[np.uint8]:
    """Colour descriptors.

    Args:
        basis: of the same D.
        values: ``(H', W', D)`` float descriptors.
        colouring: of components that the basis has.

    Returns:
        ``(H', W', 3)`` RGB; a zero vector is neutral grey, and so is a component that is constant.
        Beside a foreground, all else is black, zero vectors too; where the first component is
        constant, there is no telling and all is foreground.
    """
    check_stop()
    height, width, dim = values.shape
    flat = values.reshape(-1, dim).float()
    chosen = [*colouring.components, 0]
    directions = basis.components[chosen]
    components = torch.from_numpy(directions).to(flat)
    offset = torch.from_numpy(directions @ basis.mean).to(flat)
    shown = flat @ components.T - offset
    # A slider asks again and again, and reading each number of a large map takes longest: only
    # what projects like the zero vector can be one.
    like_zero = torch.nonzero((shown == -offset).all(dim=1))[:, 0]
    blank = like_zero[~(flat[like_zero] != 0).any(dim=1)].cpu().numpy()
    shades = shown.cpu().numpy().astype(np.float64)
    described = np.ones(len(shades), np.bool_)
    described[blank] = False

    low, stretch = basis.low[chosen], (basis.high - basis.low)[chosen]
    usable = stretch > 0
    places = ((shades - low) / np.where(usable, stretch, 1.0)).clip(0, 1)
    first, places = places[:, -1], places[:, :-1]
    places = np.where(colouring.flipped, 1 - places, places)
    colours = np.rint(255 * places).astype(np.uint8)
    colours[:, ~usable[:-1]] = NEUTRAL
    colours[~described] = NEUTRAL
    if colouring.foreground is not None and usable[-1]:
        in_front = (first >= colouring.foreground) != colouring.inverted
        colours[~(in_front & described)] = 0
    picture: NDArray[np.uint8] = colours.reshape(height, width, _COLOURS)
    return picture


def save_basis(basis: PcaBasis, path: Path) -> None:
    """Write a basis to an ``.npz`` file, completely or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    content = io.BytesIO()
    np.savez(
        content,
        format=np.array(_FORMAT),
        mean=basis.mean,
        components=basis.components,
        explained=basis.explained,
        low=basis.low,
        high=basis.high,
        fitted_on=np.array(basis.fitted_on),
    )
    write_atomically(path, content.getvalue())


def load_basis(path: Path, *, dim: int) -> PcaBasis:
    """Read a basis that :func:`save_basis` wrote.

    Args:
        path: the file.
        dim: length of the descriptors it is needed for.

    Raises:
        BasisFileError: missing, not such a file, damaged, of a newer version, or for descriptors
            of another length.
    """
    entries = read_npz(
        path,
        BasisFileError,
        missing="does not exist",
        damaged="is not a saved PCA basis, or is damaged",
    )
    shapes: dict[str, tuple[str, ...]] = {
        "mean": ("D",), "components": ("K", "D"), "explained": ("K",), "low": ("K",),
        "high": ("K",),
    }  # fmt: skip
    missing = sorted({*shapes, "fitted_on", "format"} - set(entries))
    if missing:
        raise BasisFileError(path, f"is not a saved PCA basis: it lacks {', '.join(missing)}")
    if entries["format"].shape != () or entries["format"].item() not in _READABLE_FORMATS:
        raise BasisFileError(path, "was written by another version of this program")
    found = entries["mean"].shape[-1] if entries["mean"].ndim else 0
    sizes = {
        "D": found,
        "K": _COLOURS if entries["format"].item() == 1 else _rows(entries["components"]),
    }
    if not _COLOURS <= sizes["K"] <= _MOST_COMPONENTS:
        raise BasisFileError(path, "is damaged: its components are not usable")
    for name, shape in shapes.items():
        values, wanted = entries[name], tuple(sizes[size] for size in shape)
        if values.shape != wanted or values.dtype.kind != "f" or not np.isfinite(values).all():
            raise BasisFileError(path, f"is damaged: its {name} is not usable")
    if found != dim:
        raise BasisFileError(
            path,
            f"is a basis for descriptors of length {found}, and these have length {dim}",
        )
    numbers = {name: entries[name].astype(np.float64) for name in shapes}
    return PcaBasis(**numbers, fitted_on=str(entries["fitted_on"]))


def _draw(map_: Tensor, limit: int) -> NDArray[np.float64]:
    """Up to ``limit`` rows of ``(M, D)`` that are not zero, as float64."""
    check_stop()
    rows = torch.nonzero((map_ != 0).any(dim=1))[:, 0]
    if len(rows) > limit:
        chosen = np.random.default_rng(0).choice(len(rows), limit, replace=False, shuffle=False)
        rows = rows[torch.from_numpy(np.sort(chosen)).to(rows.device)]
    drawn: NDArray[np.float64] = map_[rows].double().cpu().numpy()
    return drawn


def _rows(array: NDArray[np.generic]) -> int:
    return len(array) if array.ndim else 0


def _with_fixed_sign(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    cubes = float((direction**3).sum())
    if abs(cubes) < 1e-12:  # perfectly balanced: let the first entry that matters decide
        cubes = float(direction[np.flatnonzero(np.abs(direction) > 1e-6)[0]])
    return direction if cubes > 0 else -direction
