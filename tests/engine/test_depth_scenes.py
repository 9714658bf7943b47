"""Scenes with depth: the truth they claim against what is drawn, and against a z-buffer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.data import depth_scenes
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


def draw(recipe: SceneRecipe, keys: list[int] = KEYS) -> Scene:
    draws = Draws(keys, device=torch.device("cpu"))
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


def test_a_relief_hides_what_a_z_buffer_hides(monkeypatch: pytest.MonkeyPatch):
    """Every place of the relief is carried to the sides; the nearest one at a pixel is seen."""
    monkeypatch.setattr(depth_scenes, "_STEPS", 48)  # twelve step over a corner now and then
    scene = draw(SceneRecipe(relief_share=1, relief=0.3, slant=1), KEYS[:3])
    assert scene.relief is not None
    width, height = SIZE_PX
    fine = 3
    xs, ys = (torch.arange(edge * fine, dtype=torch.float64) / fine for edge in SIZE_PX)
    places = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).view(1, -1, 2)
    places = places.expand(3, -1, -1)
    heights = sample_map(scene.relief, CellGrid(2.0, 0.5), places)[..., 0]
    # Walls show many heights within a pixel, so only what is level tells.
    square = heights.view(-1, height * fine, width * fine)
    reach = fine
    slope = [
        torch.nn.functional.max_pool2d(sign * square, 2 * reach + 1, stride=1, padding=reach)
        for sign in (1, -1)
    ]
    level = (slope[0] + slope[1]).flatten(1) < 2
    hidden = {}
    for side in "ab":
        centre = scene.centres[side][:, None]
        share = heights / centre[..., 2]
        on_plane = (places - share[..., None] * centre[..., :2]) / (1 - share[..., None])
        torch.testing.assert_close(scene.seen_from(side, places), on_plane, atol=1e-3, rtol=0)
        seen = scene.on_relief(side, on_plane)
        # By brute force: what is nearer to the camera along the same ray, within a quarter pixel.
        cell = (2 * on_plane).round().long()
        inside = ((cell >= 0) & (cell < 2 * torch.tensor(SIZE_PX))).all(dim=-1)
        index = torch.where(inside, cell[..., 1] * 2 * width + cell[..., 0], 4 * width * height)
        nearest = torch.zeros(3, 4 * width * height + 1, dtype=heights.dtype)
        nearest.scatter_reduce_(1, index, heights, "amax")
        behind = nearest.gather(1, index) - heights
        hidden[side] = (seen - places).norm(dim=-1) > 0.75
        clearly_hidden = level & inside & (behind > 4)
        clearly_seen = inside & (behind < 0.05)
        assert float(clearly_hidden.float().mean()) > 0.0005
        assert float(hidden[side][clearly_hidden].float().mean()) > 0.9
        assert float(hidden[side][clearly_seen].float().mean()) < 0.03
    # What one side hides is not what the other hides.
    assert not torch.equal(hidden["a"], hidden["b"])


def test_patches_hide_what_is_behind_them_on_both_sides():
    scene = draw(PATCHES)
    pairs = make(PATCHES)
    on_a, _ = scene.places("a", pairs.points_a.double())
    on_b, _ = scene.places("b", pairs.points_b.double())
    number_a, number_b = scene.on_patches("a", on_a)[0], scene.on_patches("b", on_b)[0]
    seen = pairs.seen
    assert torch.equal(number_a[seen], number_b[seen])
    blue = sample_map(pairs.images_a, CellGrid(1.0, 0.0), pairs.points_a)[..., 2]
    plain = seen & ((blue - 0.5).abs() < 1e-3)
    assert plain.any()
    assert (number_a[plain] >= 0).all()
    assert (number_a[seen & (blue > 0.999)] < 0).all()


def test_only_the_chosen_pairs_of_a_batch_have_scenes():
    flat = make(SceneRecipe())
    some = make(SceneRecipe(relief_share=0.5))
    alike = [bool((flat.images_b[n] == some.images_b[n]).all()) for n in range(len(KEYS))]
    assert True in alike
    assert False in alike
    for n, same in enumerate(alike):
        assert torch.equal(flat.points_b[n], some.points_b[n]) == same
        # A pair's scene depends on its key alone.
        single = make_pairs(
            ramps(1.0)[:1], [KEYS[n]], size_px=SIZE_PX, points=2000, warp=WARP, light=PLAIN,
            scene=SceneRecipe(relief_share=0.5),
        )  # fmt: skip
        torch.testing.assert_close(single.images_b[0], some.images_b[n], atol=2e-5, rtol=0)


def test_bent_pixels_move_no_farther_than_the_recipe_says_and_things_with_them():
    scene = draw(BEND)
    assert scene.bend_px is not None
    length = scene.bend_px.norm(dim=1)
    assert BEND.bend_px * 0.9 < float(length.max()) <= BEND.bend_px + 1e-4
    straight, bent = make(SceneRecipe()), make(BEND)
    both = straight.seen & bent.seen
    same = both & (straight.points_a == bent.points_a).all(dim=-1)
    moved_px = (straight.points_b - bent.points_b)[same].norm(dim=-1)
    assert float(moved_px.median()) > 1
    assert float(moved_px.max()) <= BEND.bend_px + 1e-3
