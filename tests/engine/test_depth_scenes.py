"""Scenes with depth: the truth they claim against what is drawn, and against a z-buffer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.data.depth_scenes import Scene, draw_scene
from engine.data.synthetic import TrainingPairs, draw_homographies, make_pairs
from engine.data.synthetic_recipe import LightRecipe, SceneRecipe, WarpRecipe
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import sample_map
from engine.seeding import Draws

PLAIN = LightRecipe(
    brightness=0, contrast=0, saturation=0, hue_deg=0, blur_share=0, motion_share=0, noise_share=0,
    jpeg_share=0,
)  # fmt: skip
WARP = WarpRecipe(
    scale_low=0.7, scale_high=0.9, perspective=0.5, relative_octaves=0.5, relative_rotation_deg=20
)
RELIEF = SceneRecipe(relief_share=1)
PATCHES = SceneRecipe(patches_share=1)
BEND = SceneRecipe(bend_share=1)
ALL = SceneRecipe(relief_share=1, patches_share=1, bend_share=1)
SIZE_PX = (160, 120)
KEYS = list(range(6))


def ramps(blue: float) -> Tensor:
    """Photos whose red is x and green is y; their blue says which photo it is."""
    width, height = SIZE_PX
    xs, ys = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    photo = torch.stack([xs / (width - 1), ys / (height - 1), torch.full(xs.shape, blue)])
    return photo.expand(len(KEYS), 3, height, width)


def make(scene: SceneRecipe, *, points: int = 2000, warp: WarpRecipe = WARP) -> TrainingPairs:
    return make_pairs(
        ramps(1.0), KEYS, size_px=SIZE_PX, points=points, warp=warp, light=PLAIN, scene=scene,
        others=ramps(0.5),
    )  # fmt: skip


def draw(recipe: SceneRecipe) -> Scene:
    draws = Draws(KEYS, device=torch.device("cpu"))
    planes = {side: draw_homographies(draws, side, SIZE_PX, SIZE_PX, WARP) for side in "ab"}
    return draw_scene(draws, planes, photo_size_px=SIZE_PX, size_px=SIZE_PX, recipe=recipe)


@pytest.mark.parametrize("scene", [RELIEF, PATCHES, BEND, ALL])
def test_both_points_show_the_same_place_of_the_same_photo(scene: SceneRecipe):
    pairs = make(scene)
    shown_a, shown_b = (
        sample_map(images, CellGrid(1.0, 0.0), points)
        for images, points in ((pairs.images_a, pairs.points_a), (pairs.images_b, pairs.points_b))
    )
    assert float(pairs.seen.float().mean()) > 0.9
    blue_a, blue_b = shown_a[..., 2], shown_b[..., 2]

    def is_pure(blue: Tensor) -> Tensor:  # beside edges, pixels mix what they part
        return ((blue - 0.5).abs() < 1e-3) | (blue > 0.999)

    pure = pairs.seen & is_pure(blue_a) & is_pure(blue_b)
    assert float(pure.float().sum() / pairs.seen.float().sum()) > 0.85
    assert float((blue_a - blue_b)[pure].abs().max()) < 0.01
    scale_px = torch.tensor([SIZE_PX[0] - 1, SIZE_PX[1] - 1])
    gap_px = ((shown_a - shown_b)[..., :2] * scale_px).norm(dim=-1)[pure]
    assert float(gap_px.median()) < 0.1
    # Between two pixels that stand at an edge of the relief, colours are those of neither.
    assert float((gap_px < 1).float().mean()) > 0.97
    if scene.patches_share:
        assert 0.02 < float((blue_a[pure] < 0.9).float().mean()) < 0.6
