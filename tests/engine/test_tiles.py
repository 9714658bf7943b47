"""Described in tiles, an image has the descriptors it has in one piece."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from engine.descriptors.base import DenseDescriptor
from engine.descriptors.networks import make_network
from engine.descriptors.registry import build_descriptor, make_spec
from engine.descriptors.superpoint import SuperPoint, SuperPointNetwork
from engine.descriptors.tiles import describe_in_tiles

MSNETS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("msnet_v0", {"untrained": True}),
    ("msnet_v1", {"untrained": True}),
    ("msnet_v2", {"untrained": True, "scale": 1.5}),
)


def made(name: str, settings: dict[str, Any]) -> DenseDescriptor:
    if name == "superpoint":
        return SuperPoint(make_network(SuperPointNetwork, None))
    return build_descriptor(make_spec(name, settings))


def noise(height: int, width: int) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "settings", "parts"),
    [
        *((name, settings, 3) for name, settings in (*MSNETS, ("superpoint", {}))),
        ("msnet_v0", {"untrained": True}, 2),  # no tile has neighbours on all sides
    ],
)
def test_tiles_give_the_map_of_the_whole(name: str, settings: dict[str, Any], parts: int):
    descriptor = made(name, settings)
    images = noise(173, 211)  # no period divides them
    with torch.inference_mode():
        whole = descriptor.describe(images)
        tiled = describe_in_tiles(
            descriptor.describe,
            images,
            parts=parts,
            reach_px=descriptor.reach_px,  # type: ignore[attr-defined]
            period_px=descriptor.shift_period_px,
            check=lambda: None,
        )
    assert [level.grid for level in tiled] == [level.grid for level in whole]
    for one, other in zip(tiled, whole, strict=True):
        torch.testing.assert_close(one.values, other.values, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "settings"), [*MSNETS, ("superpoint", {})])
def test_the_stated_reach_is_the_one_that_gradients_show(name: str, settings: dict[str, Any]):
    descriptor = made(name, settings)
    reach_px = descriptor.reach_px  # type: ignore[attr-defined]
    images = noise(176, 176).requires_grad_()
    farthest_px = 0.0
    for level in descriptor.describe(images):
        middle = level.values.shape[2] // 2
        for column in (middle, middle + 1):
            cell = level.values[0, :, middle, column]
            weights = torch.rand(len(cell), generator=torch.Generator().manual_seed(2))
            (gradient,) = torch.autograd.grad((cell * weights).sum(), images, retain_graph=True)
            rows, columns = torch.nonzero(gradient.abs().sum((0, 1)), as_tuple=True)
            row_px, column_px = level.grid.to_px(middle), level.grid.to_px(column)
            far = max((rows - row_px).abs().max(), (columns - column_px).abs().max())
            farthest_px = max(farthest_px, float(far))
    assert math.ceil(farthest_px) == reach_px


def test_descspace_reaches_as_far_as_its_widest_surroundings_and_a_set_has_no_reach():
    assert made("descspace-fast", {}).reach_px == 896  # type: ignore[attr-defined]
    assert made("descspace", {}).reach_px is None  # type: ignore[attr-defined]
