"""The layers of a network: what is known of them, and which of them are described together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.descriptors.base import DescriptorMap, LayeredDescriptor
from engine.descriptors.compute import predict_bytes
from engine.descriptors.high_norms import cell_norms, high_norm_cells, high_norm_threshold
from engine.geometry.coords import Resize
from engine.inspection.described import extent_of
from engine.inspection.requests import LayerInfo, NetworkInfo, NormsAnswer, ScalarMap
from engine.progress import JobContext, Progress, Stage


def network_info(descriptor: LayeredDescriptor, chosen: tuple[int, ...]) -> NetworkInfo:
    """What is known about a network, described by some of its layers."""
    finest = min(chosen, key=lambda layer: descriptor.layers[layer].stride_px)
    found = descriptor.measured_layer(finest)
    return NetworkInfo(
        layers=tuple(LayerInfo(one.name, one.stride_px, one.dim) for one in descriptor.layers),
        chosen=chosen,
        stride_px=found.stride_px,
        offset_px=found.offset_px,
        error_px=found.error_px,
        method=found.method,
    )


def answer_norms(level: DescriptorMap, resize: Resize, layer: str) -> NormsAnswer:
    """The norms of one image's raw map, a batch of one, and which of them are far too high.

    Args:
        level: not brought to unit length.
        resize: from the original to the image that was described.
        layer: its name.
    """
    with torch.inference_mode():
        norms = cell_norms(level.values)
        threshold = float(high_norm_threshold(norms))
        high = high_norm_cells(norms)[0].cpu().numpy()
    values = norms[0].cpu().numpy()
    rows, columns = values.shape
    extent = extent_of(resize, level.grid, (columns, rows))
    return NormsAnswer(norms=ScalarMap(values, extent), high=high, threshold=threshold, layer=layer)


def choose_layers(
    descriptor: LayeredDescriptor,
    layers: Sequence[int],
    size_px: tuple[int, int],
    room_bytes: int,
    context: JobContext,
) -> list[int]:
    """Which layers of a network to describe in one pass.

    Args:
        descriptor: the network, on the device it computes on.
        layers: those that are not described yet.
        size_px: (width, height) of the image.
        room_bytes: what the maps of all layers may take.
        context: gets progress, layer by layer, and is checked for cancelling.

    Returns:
        Those that can be used with the descriptor's settings and whose maps have room, ascending;
        the nearest to the chosen ones are taken first.
    """
    check = context.cancel.check
    near = sorted(layers, key=lambda layer: min(abs(layer - one) for one in descriptor.chosen))
    taken = []
    for done, layer in enumerate(near):
        check()
        context.emit(Progress(Stage.PREPARING_LAYERS, done, len(near)))
        if not descriptor.can_describe_by(layer, check):
            continue
        dim, grids = descriptor.layers[layer].dim, [descriptor.layer_grid(layer)]
        room_bytes -= predict_bytes(dim=dim, grids=grids, size_px=size_px)
        if room_bytes < 0:
            break
        taken.append(layer)
    context.emit(Progress(Stage.PREPARING_LAYERS, len(near), len(near)))
    return sorted(taken)
