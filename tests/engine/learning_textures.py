"""Textures of a few families at several scales, on disk: photos, and pairs with known truth."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Texture = tuple[str, float]
"""A family, and its scale in px."""

KNOWN: Final[tuple[Texture, ...]] = (
    ("clouds", 2.0), ("clouds", 4.0), ("dots", 1.7), ("dots", 2.7),
)  # fmt: skip
FAILING: Final[Texture] = ("speckle", 1.5)
"""Its colours tell places apart; its brightness moves on between the images.  Photos are grey."""

SIZE_PX: Final = (96, 72)
_PHOTO_PX: Final = (60, 45)
_SHIFT_PX: Final = 16
_MARGIN_PX: Final = 10.0
_PLACES: Final = 300
_NOISE: Final = 2.0
_SHADE: Final = 10.0
_MOVING: Final = 30.0

Values = NDArray[np.float64]


def texture_name(texture: Texture) -> str:
    """What a group of such pairs is called."""
    return f"{texture[0]} {texture[1]:g}"


def write_photos(folder: Path, count: int) -> None:
    """Write grey photos of all textures but the failing one, in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        values = _texture(KNOWN[number % len(KNOWN)], number, _PHOTO_PX)
        _write(folder / f"{number:03}.png", 127 + values)


def write_pairs(
    folder: Path, counts: Iterable[tuple[Texture, int]], *, seed: int, name: str = "pairs.csv"
) -> Path:
    """Write pairs whose images differ by a shift and by light, and the table that lists them.

    Args:
        folder: where to.
        counts: how many pairs of each texture.
        seed: other seeds make other images.
        name: of the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [("image_a", "image_b", "truth", "group")]
    for texture, count in counts:
        for number in range(count):
            stem = f"{texture_name(texture).replace(' ', '-')}-{number}"
            images, shift = _pair(texture, 1000 * seed + number)
            for side, pixels in zip("ab", images, strict=True):
                _write(folder / f"{stem}-{side}.png", pixels)
            np.savetxt(folder / f"{stem}.txt", _places(shift, seed + number))
            files = (f"{stem}-a.png", f"{stem}-b.png", f"points:{stem}.txt")
            rows.append((*files, texture_name(texture)))
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return folder / name


def _places(shift: tuple[int, int], seed: int) -> Values:
    """``(N, 4)`` places of both images, too far inside for a network to see what lies beyond."""
    low, high = np.full(2, _MARGIN_PX), np.array(SIZE_PX) - 1 - _MARGIN_PX
    places = np.random.default_rng(seed).uniform(low, high, (_PLACES, 2))
    moved = places + shift
    return np.hstack([places, moved])[((moved >= low) & (moved <= high)).all(axis=1)]


def _pair(texture: Texture, seed: int) -> tuple[list[Values], tuple[int, int]]:
    width, height = SIZE_PX
    values = _texture(texture, seed, (width + _SHIFT_PX, height + _SHIFT_PX))
    draws = np.random.default_rng((seed, 5))
    x_a, y_a, x_b, y_b = draws.integers(0, _SHIFT_PX + 1, 4).tolist()
    images = []
    for x, y in ((x_a, y_a), (x_b, y_b)):
        part = values[y : y + height, x : x + width]
        moving = texture == FAILING
        light = _soft(draws, SIZE_PX, 4.0 if moving else 14.0, 1) * (_MOVING if moving else _SHADE)
        images.append(127 + part + light + draws.normal(size=part.shape) * _NOISE)
    return images, (x_a - x_b, y_a - y_b)


def _texture(texture: Texture, seed: int, size_px: tuple[int, int]) -> Values:
    family, scale_px = texture
    draws = np.random.default_rng((seed, zlib.crc32(texture_name(texture).encode())))
    if family == "clouds":
        return _grey(_soft(draws, size_px, scale_px, 3)) * 70
    if family == "dots":
        return _grey(_dots(draws, size_px, scale_px)) * 1.5
    red, blue = np.moveaxis(_soft(draws, size_px, scale_px, 2) * 14, 2, 0)
    # ITU-R BT.601: colours of one brightness.
    return np.stack([red, -(0.299 * red + 0.114 * blue) / 0.587, blue], axis=2)


def _soft(
    draws: np.random.Generator, size_px: tuple[int, int], sigma_px: float, channels: int
) -> Values:
    """Blurred noise of standard deviation 1."""
    width, height = size_px
    noise = draws.normal(size=(height + 64, width + 64, channels))
    values = cv2.GaussianBlur(noise, (0, 0), sigma_px).reshape(noise.shape)[32:-32, 32:-32]
    return np.asarray(values / values.std(), np.float64)


def _dots(draws: np.random.Generator, size_px: tuple[int, int], scale_px: float) -> Values:
    width, height = size_px
    values = np.full((height, width, 3), 110.0)
    for _ in range(int(width * height / (9 * scale_px**2))):
        x, y = draws.uniform(-0.05, 1.05, 2) * (width, height) * 16  # 4 bits behind the point
        radius = scale_px * draws.uniform(0.6, 1.4) * 16
        colour: Any = tuple(draws.uniform(0, 255, 3).tolist())
        cv2.circle(values, (int(x), int(y)), int(radius), colour, -1, cv2.LINE_8, 4)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), 0.6) - 110, np.float64)


def _grey(values: Values) -> Values:
    return values.mean(axis=2, keepdims=True).repeat(3, axis=2)


def _write(path: Path, rgb: Values) -> None:
    pixels = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
