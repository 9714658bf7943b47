"""What a descriptor says of the place in the image instead of what is there, and its removal.

Networks that are told positions let them show in their features: cells at the same place of two
images are alike, whatever the images show, and matching is drawn to the same place.  A constant
image has nothing but position to tell its cells apart, so its map shows the directions in which
position is told.

The removal follows C. Cuttano et al., "INSID3: Training-Free In-Context Segmentation with DINOv3",
CVPR 2026, which reports 46.8 -> 52.6 PCK@.10 on SPair-71k for DINOv3-B.  They bring the constant
image's features to unit length before the analysis.  Here they stay as they are: what a network
adds for position then lies exactly in the directions that are found, however long the rest is.

**Padding is a trap.**  A convolution that pads makes the cells near the border of a constant image
differ, in the very directions in which it tells content.  Taking those off all cells would harm the
interior, where nothing is wrong.  So cells that see beyond the border are left out where a reach is
known; what is left of a convolutional network's map is then the same everywhere.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from engine.descriptors.base import DescriptorMap, Levels
from engine.descriptors.denser import DescribeLevels
from engine.descriptors.grid_measure import random_images
from engine.errors import ConfigError
from engine.progress import tell_choice

_SETTING: Final = "remove_position"
_GREY: Final = 0.5
# Along a direction of less than this share of the cells' length lies rounding, or what changes no
# match.
_ROUNDING: Final = 1e-4
_KEPT_BASES: Final = 8

Bases = tuple[Tensor, ...]


class PositionRemover:
    """Takes the directions in which position shows off a descriptor's features.

    From a feature ``f`` it subtracts ``U Uᵀ f``: all that ``f`` has along the leading principal
    components ``U`` of the constant image's map, after the map's mean over cells was subtracted.
    That mean serves the analysis only and stays in the features: it is the same for all cells, so
    it tells no position.  What a feature has along ``U`` by its content is lost with the position,
    so the fewer directions the better.

    Args:
        raw: describes images by features that are *not* of unit length; what is left of a unit
            vector would no longer tell how much was taken.
        components: how many directions are removed, at most; fewer where a constant image has
            fewer.
        name: of the descriptor, for the sentence that tells when less is removed than asked for.
        reach_px: no feature depends on a pixel farther from its cell; None where features may
            depend on the whole image; a sequence has one for each level.
        module: the network behind ``raw``; where its weights change, all is measured anew.
    """

    def __init__(
        self,
        raw: DescribeLevels,
        *,
        components: int,
        name: str,
        reach_px: int | Sequence[int | None] | None = None,
        module: nn.Module | None = None,
    ) -> None:
        if components < 1:
            raise ConfigError(_SETTING, f"{components} is not a number of directions")
        self._raw = raw
        self._components = components
        self._name = name
        self._reach_px = reach_px
        self._module = module
        self._known: OrderedDict[tuple[tuple[int, int], str, int], Bases] = OrderedDict()
        self._told: set[str] = set()
        self._lock = threading.RLock()

    def describe(self, images: Tensor) -> Levels:
        """Describe ``(B, 3, H, W)``: what ``raw`` makes of it less its position, in float32.

        Raises:
            ConfigError: as many directions are to be removed as a feature has, or more.
        """
        levels = self._raw(images)
        height, width = images.shape[2:]
        bases = self.basis((width, height), images.device)
        return tuple(
            replace(level, values=without_directions(level.values, basis))
            for level, basis in zip(levels, bases, strict=True)
        )

    def basis(self, size_px: tuple[int, int], device: torch.device) -> Bases:
        """The directions that are removed, kept for the sizes and devices used last.

        Args:
            size_px: (width, height) of the images that are described: positions depend on it.
            device: where they are described.

        Returns:
            For each level ``(D, k)``, float32 and orthonormal, the leading direction first; ``k``
            is 0 where a constant image has the same feature everywhere.

        Raises:
            ConfigError: see :meth:`describe`.
        """
        key = size_px, str(device), _version(self._module)
        with self._lock:
            if key not in self._known:
                self._known[key] = self._measure(size_px, device)
                while len(self._known) > _KEPT_BASES:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]

    def _measure(self, size_px: tuple[int, int], device: torch.device) -> Bases:
        with _as_it_is(device, self._module):
            levels = self._raw(constant_image(size_px, device))
            bases = []
            reach_px = self._reach_px
            if not isinstance(reach_px, Sequence):
                reach_px = (reach_px,) * len(levels)
            for level, own_px in zip(levels, reach_px, strict=True):
                dim = level.values.shape[1]
                if self._components >= dim:
                    raise ConfigError(
                        _SETTING,
                        f"{self._components} directions leave nothing of a descriptor of length "
                        f"{dim}",
                    )
                cells = interior_cells(level, size_px, own_px)
                self._tell_of(len(cells), size_px)
                found = leading_directions(cells, self._components)
                self._tell_less(found.shape[1], len(cells), size_px)
                bases.append(found.to(device))
        return tuple(bases)

    def _tell_of(self, cells: int, size_px: tuple[int, int]) -> None:
        if cells < 2:
            self._tell(
                "border",
                f"at {size_px[0]} × {size_px[1]} px all cells see beyond the border, so no "
                "position could be told from it, and none was removed.",
            )

    def _tell_less(self, found: int, cells: int, size_px: tuple[int, int]) -> None:
        if cells < 2 or found == self._components:
            return
        size = f"a constant image of {size_px[0]} × {size_px[1]} px"
        if found == 0:
            text = f"{size} has the same descriptor everywhere, so no position was removed."
        else:
            text = (
                f"{size} shows position along {found} directions only, not "
                f"{self._components}; these were removed."
            )
        self._tell("none" if found == 0 else "fewer", text)

    def _tell(self, kind: str, text: str) -> None:
        if kind not in self._told:  # once, not for every size of image
            self._told.add(kind)
            tell_choice(f"{self._name}: {text}")


def constant_image(size_px: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """A mid-grey image ``(1, 3, H, W)`` of (width, height)."""
    return torch.full((1, 3, size_px[1], size_px[0]), _GREY, device=device)


def interior_cells(level: DescriptorMap, size_px: tuple[int, int], reach_px: int | None) -> Tensor:
    """The features of an image's cells that see nothing beyond the border.

    Args:
        level: of a batch of one.
        size_px: (width, height) of the image.
        reach_px: how far a cell sees; None leaves out no cell.

    Returns:
        ``(N, D)`` float64, on the CPU; N may be 0.
    """
    values = level.values[0]
    if reach_px is not None:
        for dim, side_px in ((1, size_px[1]), (2, size_px[0])):
            at_px = level.grid.to_px(torch.arange(values.shape[dim], dtype=torch.float64))
            inside = (at_px - reach_px >= 0) & (at_px + reach_px <= side_px - 1)
            values = values.index_select(dim, inside.nonzero()[:, 0].to(values.device))
    return values.flatten(1).T.cpu().double()


def leading_directions(cells: Tensor, most: int) -> Tensor:
    """The leading principal components of features, those of mere rounding left out.

    Args:
        cells: ``(N, D)``; their mean is subtracted first.
        most: how many, at most.

    Returns:
        ``(D, k)`` float32, orthonormal; the one with the largest variance first.
    """
    count, dim = cells.shape
    if count < 2:
        return torch.zeros(dim, 0)
    centred = cells - cells.mean(dim=0)
    variances, directions = torch.linalg.eigh(centred.T @ centred / count)
    length_squared = cells.square().sum(dim=1).mean()
    kept = variances > _ROUNDING**2 * length_squared
    found: Tensor = directions[:, kept].flip(1)[:, :most].float()
    return found


def without_directions(features: Tensor, directions: Tensor) -> Tensor:
    """What of features is orthogonal to some directions.

    Args:
        features: ``(B, D, H', W')``.
        directions: ``(D, k)``, orthonormal.

    Returns:
        ``(B, D, H', W')`` float32.
    """
    values = features.float()
    if directions.shape[1] == 0:
        return values
    with torch.autocast(values.device.type, enabled=False):
        along = torch.einsum("dk,bdhw->bkhw", directions, values)
        rest: Tensor = values - torch.einsum("dk,bkhw->bdhw", directions, along)
    return rest


@dataclass(frozen=True, slots=True)
class PositionalShare:
    """How much of a descriptor is position: shares of its variance across cells, 0 to 1.

    Attributes:
        of_noise: the share that images of independent noise have in common.  0: none but chance;
            1: the map is the same whatever the image shows.
        seen_in_constant: the share that the map of a constant image, scaled as it fits best,
            explains of the noise images' maps.  Where it is far below ``of_noise``, the removal by
            a constant image does not see all of the position.
    """

    of_noise: float
    seen_in_constant: float


def positional_share(
    describe: DescribeLevels,
    size_px: tuple[int, int],
    *,
    reach_px: int | None,
    images: int = 6,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> PositionalShare:
    """Measure how much of a descriptor's variance across cells is the cells' position.

    Let ``F_i`` be the map of noise image ``i`` less its mean over cells.  What position adds is the
    same in all of them, and what noise makes is independent, so the mean of ``<F_i, F_j>`` over
    pairs of different images, over the mean of ``<F_i, F_i>``, is the share of position (an
    intraclass correlation).  With the constant image's map ``C``, treated alike, the other share is
    ``mean(<C, F_i>)² / (<C, C> mean(<F_i, F_i>))``, a squared correlation.  Levels are added up.

    Photos differ more from place to place than this noise (grain of 1, 3 and 8 px at half contrast)
    for descriptors of objects, so their share of position may be smaller.  By chance a descriptor
    without position has up to about 0.01.

    Args:
        describe: unit vectors or raw features; the share is that of what it returns.
        size_px: (width, height) of the images.
        reach_px: cells that see beyond the border are left out; None counts all cells, with what
            padding does to those near the border.
        images: how many of noise; at least 2.
        device: where ``describe`` computes.
        seed: of the noise.

    Raises:
        ValueError: fewer than 2 images, or than 2 cells.
    """
    parts = _noise_and_constant(describe, size_px, reach_px, images, device, seed)
    constant, *maps = (torch.cat(one) for one in parts)
    return _share(constant, maps)


def positional_shares(
    describe: DescribeLevels,
    size_px: tuple[int, int],
    *,
    images: int = 6,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> tuple[PositionalShare, ...]:
    """As :func:`positional_share`, of each level by itself and of all cells, for one description.

    What padding does to cells near the border counts, too.
    """
    parts = _noise_and_constant(describe, size_px, None, images, device, seed)
    constants, *maps = parts
    return tuple(
        _share(constant, [one[number] for one in maps]) for number, constant in enumerate(constants)
    )


def _noise_and_constant(
    describe: DescribeLevels,
    size_px: tuple[int, int],
    reach_px: int | None,
    images: int,
    device: torch.device | str,
    seed: int,
) -> list[list[Tensor]]:
    """All numbers of each level's cells, less their mean: of a constant image, then of noise."""
    if images < 2:
        raise ValueError("what images have in common takes two of them")
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        shown = [constant_image(size_px, device)]
        shown += [random_images(1, size_px, generator).to(device) for _ in range(images)]
        return [_centred(describe(one), size_px, reach_px) for one in shown]


def _share(constant: Tensor, maps: Sequence[Tensor]) -> PositionalShare:
    own = sum(float(one @ one) for one in maps) / len(maps)
    if own == 0:
        return PositionalShare(0.0, 0.0)
    pairs = list(itertools.combinations(maps, 2))
    shared = sum(float(one @ other) for one, other in pairs) / len(pairs)
    energy = float(constant @ constant)
    likeness = sum(float(constant @ one) for one in maps) / len(maps)
    # A constant image's rounding is not like anything but by chance.
    seen = likeness**2 / (energy * own) if energy > _ROUNDING**2 * own else 0.0
    return PositionalShare(max(0.0, shared / own), seen)


def _centred(levels: Levels, size_px: tuple[int, int], reach_px: int | None) -> list[Tensor]:
    """All numbers of each level's cells, less the mean over its cells."""
    parts = []
    for level in levels:
        cells = interior_cells(level, size_px, reach_px)
        if len(cells) < 2:
            raise ValueError(
                f"at {size_px[0]} × {size_px[1]} px fewer than two cells see only the image"
            )
        parts.append((cells - cells.mean(dim=0)).flatten())
    return parts


def _version(module: nn.Module | None) -> int:
    """A number that grows whenever weights are changed in place."""
    if module is None:
        return 0
    values = itertools.chain(module.parameters(), module.buffers())
    return sum(one._version for one in values if not one.is_inference())


@contextlib.contextmanager
def _as_it_is(device: torch.device, module: nn.Module | None) -> Iterator[None]:
    """Inside the block a network computes in float32, for use, and nothing is remembered of it.

    What a caller has switched on for its own call would be kept in the basis for all later ones:
    autocast, the smoothing of a measured grid, training mode.
    """
    layers = [] if module is None else [one for one in module.modules() if one.training]
    for layer in layers:
        layer.training = False
    try:
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(device.type, enabled=False),
            torch._C.DisableTorchFunction(),
        ):
            yield
    finally:
        for layer in layers:
            layer.training = True
