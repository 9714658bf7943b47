"""Descriptors of both images as colours, in one basis."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from engine.errors import BasisFileError
from engine.inspection.described import Described
from engine.inspection.requests import PcaAnswer, PcaRequest, Picture
from engine.matching.colouring import MOST_COMPONENTS, Colouring
from engine.matching.projection import PcaBasis, fit_basis, project
from engine.matching.similarity import SearchLevel

_SAMPLE_LIMIT = 20_000
_SAMPLE_OF_ALL = 60_000  # of descriptors of a whole folder, so that they need little memory


def answer_pca(request: PcaRequest, basis: PcaBasis, a: Described, b: Described) -> PcaAnswer:
    """Colour the maps of images a and b in a basis.

    Raises:
        BasisFileError: the basis comes from a file and lacks a component that is to be shown.
    """
    highest, count = max(request.colouring.components), len(basis.components)
    if highest >= count:
        if request.basis_file is None:
            raise ValueError(f"a basis has no component {highest}")
        raise BasisFileError(
            request.basis_file, f"has {count} components, so component {highest + 1} is not there"
        )
    with torch.inference_mode():
        picture_a, picture_b = (
            _colour(basis, image, request.level, request.colouring) for image in (a, b)
        )
    return PcaAnswer(
        a=picture_a,
        b=picture_b,
        explained=tuple(basis.explained.tolist()),
        colouring=request.colouring,
        fitted_on=basis.fitted_on,
    )


def fit_on_images(
    images: Iterable[Described], *, count: int, level: int, fitted_on: str
) -> PcaBasis:
    """Fit a basis on the maps of some images, one of which is needed at a time.

    Args:
        images: described by the same recipe.
        count: how many they are.
        level: which member of a set; the last one of an image that has fewer.
        fitted_on: what they are, in words.
    """
    with torch.inference_mode():
        return fit_basis(
            (_level(image, level).vectors for image in images),
            sample_limit=max(1, min(_SAMPLE_LIMIT, _SAMPLE_OF_ALL // count)),
            fitted_on=fitted_on,
            count=MOST_COMPONENTS,
        )


def _colour(basis: PcaBasis, image: Described, level: int, colouring: Colouring) -> Picture:
    shown = _level(image, level)
    width, height = shown.cells
    return Picture(
        project(basis, shown.vectors.view(height, width, -1), colouring),
        image.extent_of(shown.grid, shown.cells),
    )


def _level(image: Described, level: int) -> SearchLevel:
    """A level of an image; its last one where the other image of the pair has more."""
    return image.levels[min(level, len(image.levels) - 1)]
