"""Where a layer's cells lie and how far they see: measured once per architecture, then remembered.

No library tells it.  The measure is taken on random images and, where the library can build the
network anew, on random weights: what a layer reads is decided by its architecture, while trained
weights lean to one side or the other.
"""

from __future__ import annotations

import functools
import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final, cast

import torch
from torch import Tensor, nn

from engine.descriptors.families.kept_values import keep, kept_at, read_kept
from engine.descriptors.grid_measure import (
    MeasuredGrid,
    Method,
    NoInfluenceError,
    fitting_size,
    measure_grid,
    sees_border,
    without_pull,
)
from engine.descriptors.held_state import state_sha256
from engine.descriptors.mirrored import mirrored_grid
from engine.descriptors.reach import measured_reach_px
from engine.errors import DescSpaceError
from engine.geometry.coords import CellGrid
from engine.progress import check_stop, tell_choice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from engine.descriptors.families.backbone import Facet, FeatureNetwork

_CODE_OF_PLACE: Final = re.compile(r"pos_emb|position_emb|absolute_pos|pos_enc")
_VERSION: Final = 5  # of the measure: what was remembered by others is measured again
_BUDGET_S: Final = 20.0
_CERTAIN_ERROR_PX: Final = 0.15
_NEAR_HALF_PX: Final = 0.05
_EQUAL_SHARE: Final = 0.01
_UNSURE_SHARE: Final = 0.125
_APART_PX: Final = 0.25
_TOLD_PX: Final = 0.25
EXACT_PX: Final = 0.01
"""The error of a place that mirroring found, where it is no error."""
_MOST_PULL: Final = 0.75  # what is left of a stride where the first order still tells places


def measured_grid(
    network: FeatureNetwork,
    layer: int,
    *,
    facet: Facet,
    check: Callable[[], None] = lambda: None,
) -> CellGrid:
    """Stride and offset of a layer's cells, in pixels of the network's input.

    Those that the network knows were measured before, by hand.  Padded layers of whole strides
    place cells at whole or half pixels; an offset that is one of these within its error is brought
    to it.

    Args:
        network: with the layer.
        layer: its number.
        facet: which part of a block.
        check: called before each pass through the network; may raise.

    Raises:
        DescSpaceError: the cells do not lie on a grid of one stride, or no pixel changes them.
    """
    return usable_grid(
        measure_layer(network, layer, facet=facet, check=check), cells_of(network, layer)
    )


def known_grid(
    grid: CellGrid, *, error_px: float = 0.0, method: Method = "gradient"
) -> MeasuredGrid:
    """A grid that is known, as if it were measured now.

    Args:
        grid: where cells lie.
        error_px: how far off the first one may be.
        method: how it was found.
    """
    return MeasuredGrid(
        stride_px=(grid.stride_px, grid.stride_px),
        offset_px=(grid.offset_px, grid.offset_px),
        stride_error_px=0.0,
        error_px=error_px,
        spread_px=0.0,
        crossed_px=0.0,
        crossed=False,
        method=method,
    )


def cells_of(network: FeatureNetwork, layer: int) -> str:
    """What a layer's cells are called at the beginning of a sentence."""
    return f"The cells of layer {network.layers[layer].name} of {network.architecture}"


def usable_grid(found: MeasuredGrid, cells: str) -> CellGrid:
    """The grid of cells that were measured; an error that matters is told.

    Args:
        found: where they lie.
        cells: what they are called at the beginning of a sentence.

    Raises:
        DescSpaceError: they do not lie on a grid of one stride.
    """
    fault = _fault(found)
    if fault:
        raise DescSpaceError(f"{cells} {fault}.")
    if found.error_px > _TOLD_PX:
        tell_choice(
            f"{cells} were placed within ± {found.error_px:.2g} px; matches may be off so far."
        )
    return CellGrid(found.stride_px[0], _simple(sum(found.offset_px) / 2, found.error_px))


def _fault(found: MeasuredGrid) -> str:
    """Why cells that were measured cannot be used, as the rest of a sentence; "" if they can."""
    x, y = found.stride_px
    if min(x, y) <= 0 or found.error_px > _UNSURE_SHARE * min(x, y):
        return (
            "have no place that could be measured, as those of networks that mix all of an image "
            f"from the start (an error of {found.error_px:.3g} px remains)"
        )
    if found.crossed:
        return "do not lie in rows and columns"
    if abs(x - y) > _EQUAL_SHARE * x:
        return (
            f"lie {x:.4g} px apart along x and {y:.4g} px along y; only equal distances can be used"
        )
    apart_px = abs(found.offset_px[0] - found.offset_px[1])
    if apart_px > max(_APART_PX, 4 * found.error_px):
        along_x, along_y = found.offset_px
        return (
            f"begin at x = {along_x:.3g} px and y = {along_y:.3g} px; only equal offsets can be "
            "used"
        )
    return ""


def measure_layer(
    network: FeatureNetwork,
    layer: int,
    *,
    facet: Facet,
    check: Callable[[], None] = lambda: None,
) -> MeasuredGrid:
    """As :func:`measured_grid`, with all that was measured."""
    if facet == "token" and layer in network.known_grids:
        return network.known_grids[layer]
    found = _remembered(_twin_of, network, layer, facet, check)
    if network.trained and _fault(found):
        # What random weights mix all over the image, trained ones may leave in its place.
        held = state_sha256(network) or ""
        found = _remembered(lambda own: own, network, layer, facet, check, held)
    return found


def _remembered(
    choose: Callable[[FeatureNetwork], FeatureNetwork],
    network: FeatureNetwork,
    layer: int,
    facet: Facet,
    check: Callable[[], None],
    what: str = "",
) -> MeasuredGrid:
    """What was measured before, or else is on the network that is chosen in place of this one."""
    kept = _kept_at(network, layer, facet, what)
    found = _read(kept)
    if found is None:
        found = _measure(choose(network), layer, facet, check)
        keep(kept, asdict(found))
    return found


def _measure(
    network: FeatureNetwork, layer: int, facet: Facet, check: Callable[[], None]
) -> MeasuredGrid:
    guess_px = network.layers[layer].stride_px

    def map_of(images: Tensor) -> Tensor:
        check()
        check_stop()
        return _map_of(network, layer, facet, images)

    size_px, device = _size_px(network, guess_px), device_of(network)
    try:
        mirrored = mirrored_layer(
            network, map_of, size_px=size_px, stride_px=guess_px, networks=(network,), device=device
        )
        # Exact for convolutions, and soon given up where attention is.  What is not exact is of use
        # only where derivatives are slow to have or lean inwards.
        needed = network.fixed_size_px is not None or not network.has_gradient
        if mirrored is not None and (needed or mirrored.error_px <= EXACT_PX):
            return mirrored
        found = measure_grid(
            map_of,
            size_px=size_px,
            networks=(network,),
            expected_px=guess_px,
            budget_s=_BUDGET_S,
            device=device,
        )
        # Larger images would leave room for all that cells read, but this network takes none.
        pulled = network.fixed_size_px is not None and _is_pulled(found, size_px, guess_px)
        if pulled and sees_border(map_of, size_px=size_px, device=device):
            too_far = min(found.stride_px) < _MOST_PULL * guess_px
            found = (
                replace(found, error_px=max(found.error_px, guess_px))
                if too_far
                else without_pull(found, size_px=size_px, stride_px=guess_px)
            )
        return found
    except (NoInfluenceError, ValueError) as error:
        raise DescSpaceError(
            f"Layer {network.layers[layer].name} of {network.architecture} has no cells that could "
            f"be placed: {error}."
        ) from error


def mirrored_layer(
    network: FeatureNetwork,
    map_of: Callable[[Tensor], Tensor],
    *,
    size_px: tuple[int, int],
    stride_px: float,
    networks: Iterable[nn.Module],
    device: torch.device | str = "cpu",
) -> MeasuredGrid | None:
    """:func:`mirrored_grid` of a layer, with the image and the period that suit its network."""
    return mirrored_grid(
        map_of,
        size_px=size_px,
        stride_px=stride_px,
        blank=network.blank,
        period_px=network.multiple_px if network.multiple_px % stride_px == 0 else None,
        networks=networks,
        device=device,
    )


def _is_pulled(found: MeasuredGrid, size_px: tuple[int, int], stride_px: float) -> bool:
    """Whether a stride that divides the image was measured smaller, as a border makes it."""
    divides = all(side % stride_px == 0 for side in size_px)
    return divides and min(found.stride_px) < stride_px == max(stride_px, *found.stride_px)


def measured_reach(network: FeatureNetwork, layer: int, *, facet: Facet) -> int | None:
    """How far the cells of a layer see, in pixels; None for the whole image, or its own place.

    Raises:
        DescSpaceError: the layer's cells lie nowhere, see :func:`measured_grid`.
    """
    if network.fixed_size_px is not None or network.layers[layer].facets:
        return None  # attention, for one
    if any(_CODE_OF_PLACE.search(name) for name, _ in network.named_parameters()):
        return None  # cells would be told other places in tiles, which no derivative shows
    kept = _kept_at(network, layer, facet, "reach")
    known = read_kept(kept)
    if known is not None and isinstance(known.get("reach_px", ""), int | None):
        return cast("int | None", known["reach_px"])
    measured = _twin_of(network)
    reach_px = measured_reach_px(
        functools.partial(_map_of, measured, layer, facet),
        grid=measured_grid(network, layer, facet=facet),
        period_px=network.multiple_px,
        networks=(measured,),
        device=device_of(measured),
    )
    keep(kept, {"reach_px": reach_px})
    return reach_px


def _map_of(network: FeatureNetwork, layer: int, facet: Facet, images: Tensor) -> Tensor:
    """What a layer makes of images in [0, 1]."""
    return network.features(network.as_expected(images), (layer,), facet=facet, norm=False)[
        0
    ].float()


def _twin_of(network: FeatureNetwork) -> FeatureNetwork:
    with torch.inference_mode(False):  # weights that were made in it have no derivatives
        return network.untrained_twin()


def device_of(network: FeatureNetwork) -> torch.device:
    """Where a network computes."""
    return next(network.parameters(), torch.empty(0)).device


def _size_px(network: FeatureNetwork, guess_px: float) -> tuple[int, int]:
    return network.input_size_px(*fitting_size(guess_px))


def _simple(offset_px: float, error_px: float) -> float:
    half = round(2 * offset_px) / 2
    near = max(_NEAR_HALF_PX, 2 * error_px)
    return half if error_px <= _CERTAIN_ERROR_PX and abs(offset_px - half) <= near else offset_px


def _kept_at(network: FeatureNetwork, layer: int, facet: Facet, what: str = "") -> Path:
    sizes = (network.multiple_px, network.fixed_size_px)
    return kept_at(
        "grids", _VERSION, network.architecture, layer, facet, sizes, *([what] if what else [])
    )


def _read(path: Path) -> MeasuredGrid | None:
    values = read_kept(path)
    try:
        if values is None:
            return None
        pairs = {name: tuple(values[name]) for name in ("stride_px", "offset_px")}
        return MeasuredGrid(**{**values, **pairs})
    except (TypeError, KeyError):
        return None
