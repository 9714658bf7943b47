"""Scenes that are no plane: reliefs, patches that move on their own, and bent views.

A scene stands on the plane of a photo, and each side's homography says which place of that plane
a pixel shows.  Three things may be added, each with exact truth:

* a *relief*: the photo is laid over hills, boxes and roofs.  A side's camera has a centre above the
  plane; a pixel shows the first place of the relief that its ray from there meets.
* *patches*: polygons cut out of another photo.  They cover the relief, later ones cover earlier
  ones, and each has a place, turn, size and tilt of its own on each side.
* a *bend*: side b's pixels are moved by a smooth field.

Places on the plane, on both photos and heights are in pixels of the photos, which have one size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from engine.data.synthetic_recipe import SceneRecipe
from engine.geometry.batched import inside, warp_points
from engine.seeding import Draws
from engine.vocabulary import SIDES, Side

_STEPS: Final = 12  # a ray is followed in so many steps from the highest place to the plane,
_HALVINGS: Final = 4  # and the one that meets the relief is halved so often
_EXACT_HALVINGS: Final = 24
_SAME_PLACE_PX: Final = 0.75  # of the photo: nearer places are one
_UNBENDING_ROUNDS: Final = 40
_BOXES: Final = 6
_SIDES: Final = 6  # of a patch
_NOTHING: Final = 1e-9  # the size of patches that are not there
_FINER: Final = 2  # reliefs have a height at every so many-th pixel of the photo


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The scenes of a batch of pairs.

    Attributes:
        photo_size_px: (width, height) of the plane and of both photos.
        size_px: (width, height) of the sides.
        plane_from_side: ``(B, 3, 3)`` float64 by side.
        relief: ``(B, 1, h, w)`` heights above the plane, at least 0; None where all are flat.
        centres: ``(B, 3)`` of the cameras by side, above the highest place.
        plane_from_patch: ``(B, P, 3, 3)`` float64 by side; patches lie about (0, 0).
        outlines: ``(B, P, K, 2)``: a patch is where its products with all of these are below 1.
        other_from_patch: ``(B, P, 3, 3)`` float64, to the other photo.
        bend_px: ``(B, 2, h', w')`` by what pixels of side b are moved; None for nothing.
    """

    photo_size_px: tuple[int, int]
    size_px: tuple[int, int]
    plane_from_side: Mapping[Side, Tensor]
    relief: Tensor | None
    centres: Mapping[Side, Tensor]
    plane_from_patch: Mapping[Side, Tensor]
    outlines: Tensor
    other_from_patch: Tensor
    bend_px: Tensor | None

    def places(self, side: Side, points_px: Tensor) -> tuple[Tensor, Tensor]:
        """Where on the plane a side's pixels are: ``(B, N, 2)`` and ``(B, N)`` what is in front."""
        if side == "b" and self.bend_px is not None:
            points_px = points_px + _read(self.bend_px, points_px, self.size_px)
        return warp_points(self.plane_from_side[side], points_px)

    def on_patches(self, side: Side, places: Tensor) -> tuple[Tensor, Tensor]:
        """What is seen in front of the relief.

        Args:
            side: ``a`` or ``b``.
            places: ``(B, N, 2)`` of the plane.

        Returns:
            ``(B, N)`` the number of the patch seen there, or -1 for none, and ``(B, N, 2)`` where
            on it that is.
        """
        owner = places.new_full(places.shape[:2], -1, dtype=torch.long)
        seen = places
        for number in range(self.outlines.shape[1]):
            patch_from_plane = torch.linalg.inv(self.plane_from_patch[side][:, number])
            on_patch, front = warp_points(patch_from_plane, places)
            outline = self.outlines[:, number].to(places.dtype)
            within = front & ((outline @ on_patch.transpose(1, 2)).amax(dim=1) < 1)
            owner = owner.masked_fill(within, number)
            seen = torch.where(within[..., None], on_patch, seen)
        return owner, seen

    def on_relief(self, side: Side, places: Tensor, *, halvings: int = _EXACT_HALVINGS) -> Tensor:
        """Above which places ``(B, N, 2)`` the rays through ``places`` first meet the relief."""
        if self.relief is None:
            return places
        centre = self.centres[side].to(places.dtype)[:, None]
        per_px = (centre[..., :2] - places) / centre[..., 2:]  # along the ray, by height
        above = self.relief.amax(dim=(1, 2, 3)).to(places.dtype)[:, None].expand(places.shape[:2])
        step = above / _STEPS
        below, met = torch.zeros_like(above), torch.zeros_like(above, dtype=torch.bool)
        height = above
        for _ in range(_STEPS):
            height = height - step
            hits = ~met & (self._height(places + per_px * height[..., None]) >= height)
            below = torch.where(hits, height, below)
            met = met | hits
        above = below + step
        for _ in range(halvings):
            middle = (below + above) / 2
            hits = self._height(places + per_px * middle[..., None]) >= middle
            below, above = torch.where(hits, middle, below), torch.where(hits, above, middle)
        return places + per_px * below[..., None]

    def seen_from(self, side: Side, on_relief: Tensor) -> Tensor:
        """Places of the plane at which a side shows these places of the relief, if at all."""
        if self.relief is None:
            return on_relief
        centre = self.centres[side].to(on_relief.dtype)[:, None]
        share = (self._height(on_relief) / centre[..., 2])[..., None]
        return (on_relief - share * centre[..., :2]) / (1 - share)

    def carry(self, points_a: Tensor) -> tuple[Tensor, Tensor]:
        """Carry points of images a to images b.

        Args:
            points_a: ``(B, N, 2)`` float64.

        Returns:
            ``(B, N, 2)`` points of images b, of no meaning where they are not seen, and ``(B, N)``
            True where both sides show that very place of the scene.
        """
        on_a, front = self.places("a", points_a)
        owner, on_patch = self.on_patches("a", on_a)
        on_relief = self.on_relief("a", on_a)
        on_b = self.seen_from("b", on_relief)
        for number in range(self.outlines.shape[1]):
            moved, _ = warp_points(self.plane_from_patch["b"][:, number], on_patch)
            on_b = torch.where((owner == number)[..., None], moved, on_b)
        straight, ahead = warp_points(torch.linalg.inv(self.plane_from_side["b"]), on_b)
        points_b = straight
        if self.bend_px is not None:
            for _ in range(_UNBENDING_ROUNDS):
                points_b = straight - _read(self.bend_px, points_b, self.size_px)
        again, front_b = self.places("b", points_b)
        apart_px = (self.on_relief("b", again) - on_relief).norm(dim=-1)
        uncovered = inside(on_relief, self.photo_size_px) & (apart_px < _SAME_PLACE_PX)
        seen = front & ahead & front_b & inside(points_b, self.size_px)
        seen &= (self.on_patches("b", again)[0] == owner) & ((owner >= 0) | uncovered)
        return points_b, seen

    def show(self, side: Side, photos: Tensor, others: Tensor, supersampling: int) -> Tensor:
        """The images of a side, ``(B, 3, H, W)``; its patches show other photos."""
        width, height = self.size_px
        fine_size = (height * supersampling, width * supersampling)
        fine = _pixels(photos, self.size_px, supersampling)
        places, front = self.places(side, fine)
        colours = places
        if self.relief is not None:
            coarse, _ = self.places(side, _pixels(photos, self.size_px, 1))
            moved = self.on_relief(side, coarse, halvings=_HALVINGS) - coarse
            moved = moved.transpose(1, 2).reshape(-1, 2, height, width)
            if supersampling > 1:
                moved = functional.interpolate(moved, fine_size, mode="bilinear")
            colours = places + moved.flatten(2).transpose(1, 2)
        seen = _colours(photos, torch.where(front[..., None], colours, -9.0 * width), fine_size)
        if self.outlines.shape[1]:
            owner, on_patch = self.on_patches(side, places)
            cut = on_patch
            for number in range(self.outlines.shape[1]):
                on_other, _ = warp_points(self.other_from_patch[:, number], on_patch)
                cut = torch.where((owner == number)[..., None], on_other, cut)
            covered = ((owner >= 0) & front).view(-1, 1, *fine_size)
            seen = torch.where(covered, _colours(others, cut, fine_size), seen)
        return functional.avg_pool2d(seen, supersampling) if supersampling > 1 else seen

    def _height(self, on_relief: Tensor) -> Tensor:
        assert self.relief is not None
        return _read(self.relief, on_relief, self.photo_size_px)[..., 0]


def chosen_pairs(draws: Draws, recipe: SceneRecipe) -> Tensor:
    """Which pairs get a scene: their numbers in the batch, ``(C,)`` int64."""
    kinds = [_happens(draws, kind, recipe) for kind in ("relief", "patches", "bend")]
    return torch.stack(kinds).any(dim=0).nonzero()[:, 0]


def draw_scene(
    draws: Draws,
    plane_from_side: Mapping[Side, Tensor],
    *,
    photo_size_px: tuple[int, int],
    size_px: tuple[int, int],
    recipe: SceneRecipe,
) -> Scene:
    """Draw what is placed on the planes of pairs.

    Args:
        draws: of the pairs that get a scene.
        plane_from_side: ``(B, 3, 3)`` float64 by side.
        photo_size_px: (width, height) of the photos.
        size_px: (width, height) of the sides.
        recipe: what may be drawn.
    """
    relief = _happens(draws, "relief", recipe)
    bent = _happens(draws, "bend", recipe)
    width, height = photo_size_px
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=draws.device)
    away = draws.uniform("scene distance", 1, low=2, high=4) * width
    centres = {
        side: torch.cat([centre + away * recipe.slant * aside, away], dim=1).double()
        for side in SIDES
        for aside in [draws.uniform(f"scene {side} aside", 2, low=-1, high=1)]
    }
    plane_from_patch, outlines, other_from_patch = _draw_patches(draws, photo_size_px, recipe)
    return Scene(
        photo_size_px=photo_size_px,
        size_px=size_px,
        plane_from_side=plane_from_side,
        relief=(
            _draw_relief(draws, photo_size_px, recipe) * relief[:, None, None, None]
            if relief.any()
            else None
        ),
        centres=centres,
        plane_from_patch=plane_from_patch,
        outlines=outlines,
        other_from_patch=other_from_patch,
        bend_px=(
            _draw_bend(draws, size_px, recipe) * bent[:, None, None, None] if bent.any() else None
        ),
    )


def _happens(draws: Draws, kind: str, recipe: SceneRecipe) -> Tensor:
    share: float = getattr(recipe, f"{kind}_share")
    return draws.happens(f"scene {kind} happens", share)


def _draw_relief(draws: Draws, photo_size_px: tuple[int, int], recipe: SceneRecipe) -> Tensor:
    """``(B, 1, h, w)`` heights: hills, and boxes and roofs standing on the ground or in them."""
    width, height = (edge // _FINER for edge in photo_size_px)
    hills: Tensor | float = 0.0
    for cells, weight in (((4, 5), 1.0), ((8, 10), 0.4)):
        coarse = draws.normal(f"scene hills {cells}", 1, *cells)
        hills = hills + weight * functional.interpolate(coarse, (height, width), mode="bicubic")
    assert isinstance(hills, Tensor)
    low, high = hills.amin(dim=(2, 3), keepdim=True), hills.amax(dim=(2, 3), keepdim=True)
    heights = (hills - low) / (high - low)
    heights = heights * draws.uniform("scene hills", 1, 1, 1, high=0.8)
    xs = torch.linspace(0, 1, width, device=draws.device)
    ys = torch.linspace(0, height / width, height, device=draws.device)[:, None]
    for number in range(_BOXES):
        name = f"scene box {number}"
        x, y = draws.uniform(f"{name} place", 2, 1, 1, 1).unbind(dim=1)
        half_x, half_y = draws.uniform(f"{name} size", 2, 1, 1, 1, low=0.04, high=0.2).unbind(1)
        turn = draws.uniform(f"{name} turn", 1, 1, 1, high=math.pi)
        along = (xs - x) * turn.cos() + (ys - y * height / width) * turn.sin()
        across = (ys - y * height / width) * turn.cos() - (xs - x) * turn.sin()
        # Walls are not upright but rise within about two cells, so that rays meet them.
        wall = 2.0 / width
        within = ((half_x - along.abs()) / wall).clamp(0, 1)
        within = within * ((half_y - across.abs()) / wall).clamp(0, 1)
        roof = draws.happens(f"{name} roof", 0.4)[:, None, None, None]
        slope = draws.uniform(f"{name} slope", 1, 1, 1, low=-0.4, high=0.4)
        top = torch.where(
            roof, 1.3 - 0.8 * (along / half_x).abs(), 1 + slope * across / half_y
        ) * draws.uniform(f"{name} height", 1, 1, 1, low=0.2, high=0.8)
        stands = draws.happens(f"{name} stands", 0.6)[:, None, None, None]
        heights = torch.maximum(heights, within * top * stands)
    tallest = recipe.relief * photo_size_px[0] * draws.uniform("scene relief", 1, 1, 1, low=0.3)
    return heights / heights.amax(dim=(2, 3), keepdim=True) * tallest


def _draw_patches(
    draws: Draws, photo_size_px: tuple[int, int], recipe: SceneRecipe
) -> tuple[dict[Side, Tensor], Tensor, Tensor]:
    """``plane_from_patch``, ``outlines`` and ``other_from_patch`` of a scene."""
    count = recipe.patches if recipe.patches_share > 0 else 0
    width, height = photo_size_px
    size = torch.tensor([width, height], device=draws.device)
    crowd = draws.uniform("scene patches", 1, low=0.3)
    there = draws.uniform("scene patches are there", count) < crowd
    there &= _happens(draws, "patches", recipe)[:, None]
    radius = draws.uniform("scene patch size", count, 1, low=0.05, high=recipe.patch_size) * width
    place = draws.uniform("scene patch place", count, 2) * size
    cut = radius + draws.uniform("scene patch cut", count, 2) * (size - 2 * radius)
    moved = draws.uniform("scene patch moved", count, 2, low=-1, high=1) * recipe.motion * width
    turn = draws.uniform("scene patch turn", count, low=-1, high=1)
    turn = torch.deg2rad(turn * recipe.patch_turn_deg)
    stretch = torch.exp2(draws.uniform("scene patch stretch", count, 2, low=-0.4, high=0.4))
    tilt = draws.uniform("scene patch tilt", count, 2, low=-0.2, high=0.2)
    angles = draws.uniform("scene patch corner", count, _SIDES, low=-0.4, high=0.4)
    angles = (angles + torch.arange(_SIDES, device=draws.device)) * (2 * math.pi / _SIDES)
    reach = draws.uniform("scene patch reach", count, _SIDES, low=0.5, high=0.85)
    reach = torch.where(there[..., None], reach, _NOTHING)
    outlines = torch.stack([angles.cos(), angles.sin()], dim=-1) / reach[..., None]
    shape_b = torch.stack(
        [
            torch.stack([turn.cos() * stretch[..., 0], -turn.sin() * stretch[..., 1]], dim=-1),
            torch.stack([turn.sin() * stretch[..., 0], turn.cos() * stretch[..., 1]], dim=-1),
        ],
        dim=-2,
    )
    still = torch.eye(2, device=draws.device).expand_as(shape_b)
    flat = torch.zeros_like(tilt)
    plane_from_patch: dict[Side, Tensor] = {
        "a": _matrix(radius[..., None] * still, place, flat),
        "b": _matrix(radius[..., None] * shape_b, place + moved, tilt),
    }
    return plane_from_patch, outlines, _matrix(radius[..., None] * still, cut, flat)


def _draw_bend(draws: Draws, size_px: tuple[int, int], recipe: SceneRecipe) -> Tensor:
    """``(B, 2, h, w)`` pixels, at every fourth pixel; nowhere longer than the recipe says."""
    width, height = (-(-edge // 4) for edge in size_px)
    coarse = draws.normal("scene bend", 2, 4, 5)
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic")
    longest = smooth.norm(dim=1, keepdim=True).amax(dim=(2, 3), keepdim=True)
    share: Tensor = draws.uniform("scene bent", 1, 1, 1, low=0.3) * recipe.bend_px / longest
    return smooth * share


def _matrix(linear: Tensor, place: Tensor, tilt: Tensor) -> Tensor:
    """``(..., 3, 3)`` float64: a linear map about a place, with its last row ``(tilt, 1)``."""
    last = torch.cat([tilt, torch.ones_like(tilt[..., :1])], dim=-1)
    moved = torch.cat([linear + place[..., :, None] * tilt[..., None, :], place[..., None]], dim=-1)
    return torch.cat([moved, last[..., None, :]], dim=-2).double()


def _pixels(like: Tensor, size_px: tuple[int, int], finer: int) -> Tensor:
    """``(B, N, 2)`` places of the pixels of an image drawn ``finer`` times as fine, row by row."""
    xs, ys = (
        (torch.arange(edge * finer, device=like.device) + 0.5) / finer - 0.5 for edge in size_px
    )
    places = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), dim=-1).view(1, -1, 2)
    return places.expand(len(like), -1, 2)


def _unit(places_px: Tensor, size_px: tuple[int, int]) -> Tensor:
    """As grid_sample has them: -1 and 1 are the outer edges of the border pixels."""
    return (2 * places_px + 1) / places_px.new_tensor(size_px) - 1


def _read(values: Tensor, places_px: Tensor, size_px: tuple[int, int]) -> Tensor:
    """``(B, N, C)`` of a map that is laid over an image of a size, of the dtype of the places."""
    places = _unit(places_px, size_px)[:, None]
    read = functional.grid_sample(
        values.to(places.dtype), places, padding_mode="border", align_corners=False
    )
    return read[:, :, 0].transpose(1, 2)


def _colours(photos: Tensor, places_px: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B, 3, *size)``: photos at places, black beside them."""
    unit = _unit(places_px, (photos.shape[3], photos.shape[2]))
    return functional.grid_sample(photos, unit.view(-1, *size, 2), align_corners=False)
