"""Held-out pairs for choosing settings, always made from the same photos, which no training sees.

    python -m benchmarks.heldout PHOTOS OUT

writes sequences for ``main.py evaluate --dataset OUT --set long_edge_px=432``.  With ``--scenes``
it writes pairs that no homography relates, in the layout of WxBS: ``01.png``, ``02.png`` and rows
``x1 y1 x2 y2`` in ``corrs.txt``.  ``heldout_pairs.csv`` lists the photos and the kind of change
for each.  Settings are chosen on these pairs, never on sequences that figures are reported for.

Kinds: ``view`` is a moderate change of viewpoint, ``tilt`` a tilt of up to 65° out of the plane,
``steep`` a tilt of 45° to 68° with little other change, ``turn`` any rotation, ``zoom`` a factor of
2 to 4 in either direction, ``light`` the same view in other light, and ``night`` the same view by
day and by lamplight.  ``hard`` changes view and appearance so much that the vote of a pair may be
wrong; :mod:`benchmarks.vote` calibrates it on them.
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engine.data.depth_scenes import draw_scene
from engine.data.photos import open_photos, split_photos
from engine.data.synthetic import change_light
from engine.data.synthetic_recipe import LightRecipe, SceneRecipe
from engine.images import read_image, resize_pixels
from engine.matching.query_points import harris_response
from engine.progress import JobContext
from engine.seeding import Draws

LIST: Final = Path(__file__).with_name("heldout_pairs.csv")
KINDS: Final = ("view", "tilt", "turn", "zoom", "light", "night", "steep", "hard")
_SAME_VIEW: Final = ("light", "night")
_VIEWS: Final = 3
_FOCAL: Final = 1.2  # of the width: an ordinary camera
_EVERY_DAY: Final = LightRecipe(jpeg_quality=40, gamma_octaves=0.4)
_OTHER_LIGHT: Final = LightRecipe(
    brightness=0.7, contrast=0.5, gamma_octaves=1.6, noise=0.08, noise_share=0.8, jpeg_quality=25,
    local_light=1.0, local_light_share=1.0, shadow=0.9, shadow_share=0.6,
)  # fmt: skip
_NIGHT: Final = replace(_EVERY_DAY, night_octaves=12.0, night_share=1.0)
_HARD: Final = replace(
    _OTHER_LIGHT, blur_px=2.5, blur_share=0.6, noise=0.15, jpeg_quality=10, jpeg_share=1.0,
    night_octaves=12.0, night_share=0.4, cover=0.9, cover_share=0.5, curve=0.3, curve_share=0.5,
    inverted_share=0.2,
)  # fmt: skip
_LIGHTS: Final = {"light": _OTHER_LIGHT, "night": _NIGHT, "depth": _OTHER_LIGHT, "hard": _HARD}
_SCENES: Final = {
    "relief": SceneRecipe(relief_share=1, relief=0.25),
    "patches": SceneRecipe(patches_share=1, patches=5),
    "bend": SceneRecipe(bend_share=1, bend_px=16),
    "depth": SceneRecipe(relief_share=1, patches_share=1, bend_share=1, relief=0.2, patches=3),
}
_SCENE_VIEWS: Final = 2
_SCENE_POINTS: Final = 500


def write_sequences(photos: Path, out: Path) -> int:
    """Write all sequences of the list and return their number.

    Raises:
        DescSpaceError: a photo is not there or cannot be read.
    """
    rows = [row for row in _listed() if row["kind"] not in _SCENES]
    for row in rows:
        prefix = "i" if row["kind"] in _SAME_VIEW else "v"
        name = f"{prefix}_{row['kind']}_{Path(row['photo']).stem}"
        write_sequence(read_image(photos / row["photo"]).pixels, row, out / name)
    return len(rows)


def write_scenes(photos: Path, out: Path) -> int:
    """Write all scenes of the list to ``OUT/KIND/PHOTO_VIEW`` and return their number.

    Patches are cut out of the next photo of the list.

    Raises:
        DescSpaceError: a photo is not there or cannot be read.
    """
    rows = [row for row in _listed() if row["kind"] in _SCENES]
    read = [read_image(photos / row["photo"]).pixels for row in rows]
    for number, row in enumerate(rows):
        height, width = read[number].shape[:2]
        other = resize_pixels(read[(number + 1) % len(read)], (width, height), antialias=True)
        for view in range(1, 1 + _SCENE_VIEWS):
            folder = out / row["kind"] / f"{Path(row['photo']).stem}_{view}"
            write_scene(
                read[number] / 255, other, row["kind"], int(row["seed"]) * 10 + view, folder
            )
    return len(rows) * _SCENE_VIEWS


def write_scene(
    pixels: NDArray[Any], other: NDArray[Any], kind: str, key: int, folder: Path
) -> None:
    """Write a pair of images of a scene, and the positions of image a's corners in image b."""
    folder.mkdir(parents=True, exist_ok=True)
    photo, patches = (
        torch.from_numpy(np.ascontiguousarray(one, np.float32)).permute(2, 0, 1)[None]
        for one in (pixels, other)
    )
    size_px = (photo.shape[3], photo.shape[2])
    draws = Draws([key], device=torch.device("cpu"))
    plane_from_b = np.linalg.inv(_draw("view", key, size_px))
    scene = draw_scene(
        draws,
        {"a": torch.eye(3).double()[None], "b": torch.from_numpy(plane_from_b)[None]},
        photo_size_px=size_px,
        size_px=size_px,
        recipe=_SCENES[kind],
    )
    images = {side: scene.show(side, photo, patches, supersampling=4) for side in ("a", "b")}
    images["b"] = change_light(draws, "b", images["b"], _LIGHTS.get(kind, _EVERY_DAY))
    for name, image in zip(("01.png", "02.png"), images.values(), strict=True):
        shades = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        cv2.imwrite(str(folder / name), shades[:, :, ::-1])
    response = harris_response(images["a"][0].permute(1, 2, 0).numpy())
    ys, xs = np.nonzero(response > np.percentile(response, 90))
    corners = np.random.default_rng(key).permutation(np.column_stack([xs, ys]).astype(float))
    points_b, seen = scene.carry(torch.from_numpy(corners)[None])
    pairs = np.column_stack([corners, points_b[0].numpy()])[seen[0].numpy()]
    np.savetxt(folder / "corrs.txt", pairs[:_SCENE_POINTS], fmt="%.4f")


def write_sequence(pixels: NDArray[Any], row: dict[str, str], folder: Path) -> None:
    """Write a photo and its warped views."""
    folder.mkdir(parents=True, exist_ok=True)
    photo = np.asarray(pixels / 255, dtype=np.float32)
    height, width = photo.shape[:2]
    cv2.imwrite(str(folder / "1.png"), pixels[:, :, ::-1])
    for index in range(2, 2 + _VIEWS):
        key = int(row["seed"]) * 10 + index
        h_b_from_a = _draw(row["kind"], key, (width, height))
        seen = _warp(photo, h_b_from_a)
        recipe = _LIGHTS.get(row["kind"], _EVERY_DAY)
        tensor = torch.from_numpy(seen).permute(2, 0, 1)[None]
        lit = change_light(Draws([key], device=torch.device("cpu")), "b", tensor, recipe)
        shades = (lit[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), shades[:, :, ::-1])
        np.savetxt(folder / f"H_1_{index}", h_b_from_a)


def write_list(photos: Path, count: int) -> None:
    """Choose held-out photos, a few for each kind, and write the list."""
    split = split_photos(open_photos(photos, JobContext()), validation_share=0.05)
    chosen = split.validation[:: max(1, len(split.validation) // (count * len(KINDS)))]
    with LIST.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("photo", "kind", "seed"))
        for number, name in enumerate(chosen[: count * len(KINDS)]):
            writer.writerow((name, KINDS[number % len(KINDS)], number))


def _listed() -> list[dict[str, str]]:
    return list(csv.DictReader(LIST.read_text(encoding="utf-8").splitlines()))


def _draw(kind: str, key: int, size_px: tuple[int, int]) -> NDArray[np.float64]:
    """``h_b_from_a`` of a camera moved according to the kind."""
    draw = np.random.default_rng(key)

    def either(low: float, high: float) -> float:
        return float(draw.uniform(low, high) * draw.choice((-1.0, 1.0)))

    if kind in _SAME_VIEW:
        return np.eye(3)
    if kind == "steep":
        turn_deg, octaves, tilt_deg = either(0, 20), either(0, 0.4), float(draw.uniform(45, 68))
    else:
        turn_deg, octaves, tilt_deg = either(0, 15), either(0, 0.4), float(draw.uniform(5, 25))
    if kind == "view":
        turn_deg, octaves, tilt_deg = either(0, 25), either(0, 0.7), float(draw.uniform(15, 40))
    if kind == "tilt":
        tilt_deg = float(draw.uniform(40, 65))
    if kind == "turn":
        turn_deg = either(30, 180)
    if kind == "zoom":
        octaves = either(1, 2)
    if kind == "hard":
        turn_deg = either(0, float(draw.choice((30.0, 180.0))))
        octaves, tilt_deg = either(0, 2), float(draw.uniform(0, 65))
    return _camera(turn_deg, 2.0**octaves, tilt_deg, float(draw.uniform(0, 360)), size_px)


def _camera(
    turn_deg: float, zoom: float, tilt_deg: float, axis_deg: float, size_px: tuple[int, int]
) -> NDArray[np.float64]:
    """Homography of a plane facing camera a to a camera that orbited it, rotated, and zoomed."""
    width, height = size_px
    focal_px = _FOCAL * width
    axis, tilt, turn = (math.radians(angle) for angle in (axis_deg, tilt_deg, turn_deg))
    about_axis, _ = cv2.Rodrigues(np.array([math.cos(axis), math.sin(axis), 0.0]) * tilt)
    about_sight, _ = cv2.Rodrigues(np.array([0.0, 0.0, -turn]))
    plane = np.column_stack([about_axis[:, 0], about_axis[:, 1], np.array([0.0, 0.0, focal_px])])
    centred = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1.0]])
    sight = np.diag([zoom * focal_px, zoom * focal_px, 1.0])
    matrix = np.linalg.inv(centred) @ sight @ about_sight @ plane @ centred
    normalised: NDArray[np.float64] = matrix / matrix[2, 2]
    return normalised


def _warp(photo: NDArray[np.float32], h_b_from_a: NDArray[np.float64]) -> NDArray[np.float32]:
    """Camera b's view: warped at four times the resolution, then averaged to avoid aliasing."""
    height, width = photo.shape[:2]
    fine = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1.0]]) @ h_b_from_a
    large = cv2.warpPerspective(photo, fine, (4 * width, 4 * height), flags=cv2.INTER_LINEAR)
    return np.asarray(
        cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", action="store_true", help="write scenes instead")
    parser.add_argument("--write-list", type=int, metavar="N", help="create a new list first")
    arguments = parser.parse_args()
    if arguments.write_list:
        write_list(arguments.photos, arguments.write_list)
    write, what = (write_scenes, "scenes") if arguments.scenes else (write_sequences, "sequences")
    print(f"{write(arguments.photos, arguments.out)} {what} in {arguments.out}")
