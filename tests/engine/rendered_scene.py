"""A textured scene with depth, rendered from two calibrated cameras, and its exact truth.

The engine's own relief scenes (:mod:`engine.data.depth_scenes`) are cast ray by ray: hills, boxes
and a pit under a photo of noise.  Here two cameras with a matrix and a pose look at one, so that
its truth can be written as flow, as disparity, as depth with poses and as a list of points.  The
world has x to the right and y down on the photo, and z into it, so that heights are negative z.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from engine.data.depth_scenes import Scene
from engine.geometry.coords import inside
from engine.truth.base import Visibility
from engine.vocabulary import SIDES, Side, other_side

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIZE_PX = (168, 126)
PHOTO_PX = (480, 360)
MATRIX = np.array([[210.0, 0, 80.7], [0, 206, 62.1], [0, 0, 1]])
_FINER = 2  # heights for each pixel of the photo, so that walls are next to upright
_EDGE_SHARE = 0.03
_NEAR_PX = 1


def heights() -> Array:
    """``(h, w)`` a hilly ground with three boxes and a pit, some 420 below the cameras.

    The lowest box moves by some 7 px more than the ground: flow's own check, which allows a tenth
    of the movements there and back, still finds what it hides.
    """
    ys, xs = np.mgrid[: PHOTO_PX[1] * _FINER, : PHOTO_PX[0] * _FINER] / _FINER
    hills = 12 * (1 + np.sin(xs / 45) * np.cos(ys / 38))
    for (left, top, right, bottom), height in (
        ((232, 90, 268, 150), 120.0),
        ((222, 190, 285, 250), 100.0),
        ((300, 60, 345, 120), 80.0),
        ((150, 200, 200, 260), 0.0),
    ):
        inner = (xs >= left) & (xs < right) & (ys >= top) & (ys < bottom)
        hills = np.where(inner, height + 0.05 * (xs - left), hills)
    return hills


@dataclass(frozen=True)
class Exact:
    """The truth of all pixels of a side, row by row.

    Attributes:
        points_px: ``(N, 2)`` places in the other image.
        visibility: ``(N,)``.
        depth: ``(N,)`` in the side's camera.
        near_edge: ``(N,)`` True within two pixels of where depth jumps, here or in the other image.
    """

    points_px: Array
    visibility: NDArray[np.uint8]
    depth: Array
    near_edge: Mask


@dataclass(frozen=True)
class Rendered:
    """A scene and two cameras of one matrix.

    Attributes:
        poses: ``(3, 4)`` from the world to each camera.
        scene: the same as the engine's scene.
    """

    poses: Mapping[Side, Array]
    scene: Scene

    @cached_property
    def images(self) -> dict[Side, NDArray[np.uint8]]:
        """``(H, W, 3)``."""
        noise = torch.rand((1, 3, PHOTO_PX[1], PHOTO_PX[0]), generator=torch.manual_seed(0))
        photo = torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2)
        shown = {side: self.scene.show(side, photo, photo, 2)[0] for side in SIDES}
        return {
            side: (255 * image.permute(1, 2, 0).clamp(0, 1)).round().byte().numpy()
            for side, image in shown.items()
        }

    @cached_property
    def exact(self) -> dict[Side, Exact]:
        """The truth of all pixels."""
        pixels = pixels_px()
        depths = {side: self.depth(side, pixels) for side in SIDES}
        edges = {side: _edges(depth) for side, depth in depths.items()}
        found = {}
        for side in SIDES:
            places, visibility = self.carry(side, pixels)
            near = np.rint(np.nan_to_num(places, nan=-9)).astype(int)
            shown = inside(near, SIZE_PX)
            near_edge = edges[side].ravel().copy()
            near_edge[shown] |= edges[other_side(side)][near[shown, 1], near[shown, 0]]
            found[side] = Exact(places, visibility, depths[side], near_edge)
        return found

    def carry(self, side: Side, points_px: Array) -> tuple[Array, NDArray[np.uint8]]:
        """Places in the other image, and whether they are seen, by the engine's ray casting."""
        scene = self.scene
        if side == "b":
            scene = Scene(
                **{name: getattr(scene, name) for name in Scene.__slots__}
                | {
                    "plane_from_side": _swapped(scene.plane_from_side),
                    "centres": _swapped(scene.centres),
                }
            )
        moved, seen = scene.carry(torch.from_numpy(points_px)[None])
        places = moved[0].numpy()
        hidden = np.where(inside(places, SIZE_PX), Visibility.OCCLUDED, Visibility.OUTSIDE)
        return places, np.where(seen[0].numpy(), Visibility.SEEN, hidden).astype(np.uint8)

    def depth(self, side: Side, points_px: Array) -> Array:
        """``(N,)`` the z of what a side shows at points."""
        places, _ = self.scene.places(side, torch.from_numpy(points_px)[None])
        ground = self.scene.on_relief(side, places)
        up = self.scene._height(ground)[0].numpy()
        world = np.column_stack([ground[0].numpy(), -up])
        pose = self.poses[side]
        return world @ pose[2, :3] + pose[2, 3]

    def sensitivity_px(self, side: Side, step: float) -> Array:
        """``(N,)`` how far the places move if the depth of all pixels grows by a step."""
        depth = self.exact[side].depth
        moved = [self._project_again(side, depth + sign * step / 2) for sign in (1, -1)]
        return np.linalg.norm(moved[0] - moved[1], axis=1)

    def _project_again(self, side: Side, depth: Array) -> Array:
        rays = np.column_stack([pixels_px(), np.ones(len(depth))]) @ np.linalg.inv(MATRIX).T
        here, there = self.poses[side], self.poses[other_side(side)]
        world = (rays * depth[:, None] - here[:, 3]) @ here[:, :3]
        seen = (world @ there[:, :3].T + there[:, 3]) @ MATRIX.T
        return seen[:, :2] / seen[:, 2:]


def pixels_px() -> Array:
    """``(N, 2)`` the centres of all pixels, row by row."""
    xs, ys = np.meshgrid(np.arange(float(SIZE_PX[0])), np.arange(float(SIZE_PX[1])))
    return np.stack([xs, ys], axis=-1).reshape(-1, 2)


def render(*, rectified: bool) -> Rendered:
    """The scene from two cameras side by side, the right one turned unless they are rectified."""
    turns = {"a": (0.0, 0.0, 0.0), "b": (0.0, 0.0, 0.0)}
    centres = {"a": (220.0, 172.0, 420.0), "b": (278.0, 172.0, 420.0)}
    if not rectified:
        turns |= {"a": (0.02, -0.05, 0.03), "b": (-0.04, 0.06, -0.12)}
        centres |= {"b": (280.0, 184.0, 405.0)}
    poses, planes, above = {}, {}, {}
    for side in SIDES:
        x, y, height = centres[side]
        rotation = cv2.Rodrigues(np.array(turns[side]))[0]
        shift = -rotation @ [x, y, -height]
        poses[side] = np.column_stack([rotation, shift])
        on_plane = MATRIX @ np.column_stack([rotation[:, 0], rotation[:, 1], shift])
        planes[side] = torch.from_numpy(np.linalg.inv(on_plane))[None]
        above[side] = torch.tensor([[x, y, height]], dtype=torch.float64)
    nothing = torch.zeros((1, 0, 3, 3), dtype=torch.float64)
    scene = Scene(
        photo_size_px=PHOTO_PX,
        size_px=SIZE_PX,
        plane_from_side=planes,
        relief=torch.from_numpy(heights())[None, None],
        centres=above,
        plane_from_patch={"a": nothing, "b": nothing},
        outlines=torch.zeros((1, 0, 1, 2)),
        other_from_patch=nothing,
        bend_px=None,
    )
    return Rendered(poses, scene)


def _swapped(by_side: Mapping[Side, torch.Tensor]) -> dict[Side, torch.Tensor]:
    return {"a": by_side["b"], "b": by_side["a"]}


def _edges(depth: Array) -> Mask:
    """``(H, W)`` near where depth jumps from pixel to pixel."""
    grid = depth.reshape(SIZE_PX[::-1])
    edge = np.zeros(grid.shape, bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(np.log(grid), axis=axis)) > _EDGE_SHARE
        low = [slice(None, -1) if axis == one else slice(None) for one in (0, 1)]
        high = [slice(1, None) if axis == one else slice(None) for one in (0, 1)]
        edge[tuple(low)] |= jump
        edge[tuple(high)] |= jump
    return binary_dilation(edge, np.ones((3, 3)), iterations=_NEAR_PX)
