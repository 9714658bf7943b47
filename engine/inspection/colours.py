"""Descriptors of both images as colours, in one basis."""

from __future__ import annotations

import torch

from engine.inspection.described import Described
from engine.inspection.requests import PcaAnswer, PcaRequest, Picture
from engine.matching.projection import PcaBasis, fit_basis, load_basis, project
from engine.matching.similarity import SearchLevel
from engine.vocabulary import SIDES

_SAMPLE_LIMIT = 20_000


def answer_pca(request: PcaRequest, a: Described, b: Described) -> PcaAnswer:
    """Colour the maps of images a and b.

    Raises:
        BasisFileError: the basis file cannot be used.
    """
    basis = make_basis(request, a, b)
    with torch.inference_mode():
        picture_a, picture_b = (_colour(basis, image, request.level) for image in (a, b))
    red, green, blue = basis.explained.tolist()
    return PcaAnswer(a=picture_a, b=picture_b, explained=(red, green, blue))


def make_basis(request: PcaRequest, a: Described, b: Described) -> PcaBasis:
    """The basis that a request asks for: fitted to the maps, or read from a file.

    Raises:
        BasisFileError: the basis file cannot be used.
    """
    if request.fit == "file":
        if request.basis_file is None:
            raise ValueError("a basis from a file needs the file")
        return load_basis(request.basis_file, dim=a.info.dim)
    sides = [side for side in SIDES if request.fit in ("both", side)]
    names = [request.pair.path(side).name for side in sides]
    with torch.inference_mode():
        images = [a if side == "a" else b for side in sides]
        return fit_basis(
            [_level(image, request.level).vectors for image in images],
            sample_limit=_SAMPLE_LIMIT,
            fitted_on=f"{' and '.join(names)}, {request.recipe.spec.name}",
        )


def _colour(basis: PcaBasis, image: Described, level: int) -> Picture:
    shown = _level(image, level)
    width, height = shown.cells
    return Picture(
        project(basis, shown.vectors.view(height, width, -1)),
        image.extent_of(shown.grid, shown.cells),
    )


def _level(image: Described, level: int) -> SearchLevel:
    """A level of an image; its last one where the other image of the pair has more."""
    return image.levels[min(level, len(image.levels) - 1)]
