"""Sequences with exact truth, made from photographs that scikit-image's wheel carries.

The first run needs data and no download: four photographs are seen by a virtual camera that
comes nearer, turns and tilts (``v_*``), or stands still while the light changes (``i_*``), in the
layout of HPatches; a real stereo pair, without a homography, is added as a free pair.

A photograph is a plane here, so the homographies are exact.  The plane continues beyond the photo's
border: mirrored, and ever more blurred and faded, so that the eye sees a soft surround and no
descriptor finds sharp copies there.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.data.layouts.hpatches import HPatchesReader
from engine.data.pairs import ImagePair
from engine.errors import DatasetError, OutputError
from engine.files import (
    make_folder,
    named_path,
    parse_json,
    part_path,
    read_input,
    write_atomically,
)
from engine.geometry.coords import Resize
from engine.geometry.homography import normalise, write_homography
from engine.images import read_image, write_image
from engine.paths import cache_dir
from engine.progress import JobContext, Progress, Saved, Stage

Matrix = NDArray[np.float64]
Light = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]

VERSION: Final = 1
"""Part of the cache folder's name; raised whenever the pictures change."""

_FOLDER: Final = "demo-v"
_LONG_EDGE_PX: Final = 640
_SURROUND: Final = 0.75  # of the photo's long edge, on every side
_FOCAL_LENGTH: Final = 1.4  # in image widths: a normal lens
_SENSOR_NOISE: Final = 0.006
_STAMP: Final = "demo.json"
_STEREO: Final = ("motorcycle_left.png", "motorcycle_right.png")
_FIRST_PAIR: Final = ("v_astronaut", 3)

_CREDITS: Final = """\
Demo sequences of Descriptor Space, in the layout of HPatches.

They are made from photographs that come with scikit-image:
  astronaut   Eileen Collins, NASA, public domain
  coffee      Rachel Michetti, CC0
  chelsea     Stefan van der Walt, CC0
  rocket      SpaceX, CC0
  motorcycle  Middlebury stereo data of 2014 (Scharstein and others), a pair without a homography
"""


@dataclass(frozen=True, slots=True)
class _Look:
    """Where the camera stands.

    Attributes:
        zoom: magnification at the aimed point; at 1 the photo fills the view.
        roll_deg: turn of the picture, counter-clockwise on the screen.
        tilt_deg, pan_deg: how far the plane leans back and swings sideways.
        aim: the point looked at, as a share of the photo's width and height.
    """

    zoom: float = 1.0
    roll_deg: float = 0.0
    tilt_deg: float = 0.0
    pan_deg: float = 0.0
    aim: tuple[float, float] = (0.5, 0.5)


# Each sequence starts with the whole photo, seen straight on.
_STRAIGHT: Final = _Look()
_VIEWPOINT: Final = {
    "v_astronaut": (
        "astronaut.png",
        (
            _Look(zoom=1.12, roll_deg=8, aim=(0.48, 0.47)),
            _Look(zoom=1.3, roll_deg=-15, pan_deg=12, aim=(0.46, 0.44)),
            _Look(zoom=1.5, roll_deg=25, tilt_deg=15, aim=(0.45, 0.42)),
            _Look(zoom=1.75, roll_deg=-40, aim=(0.45, 0.4)),
            _Look(zoom=2.1, roll_deg=60, pan_deg=-20, aim=(0.45, 0.38)),
        ),
    ),
    "v_chelsea": (
        "chelsea.png",
        (
            _Look(zoom=1.05, roll_deg=15),
            _Look(zoom=1.1, roll_deg=30),
            _Look(zoom=1.1, roll_deg=60),
            _Look(zoom=1.1, roll_deg=90),
            _Look(zoom=1.05, roll_deg=180),
        ),
    ),
    "v_coffee": (
        "coffee.png",
        (
            _Look(zoom=1.1, pan_deg=15),
            _Look(zoom=1.15, pan_deg=-25, roll_deg=5),
            _Look(zoom=1.25, tilt_deg=30, pan_deg=15, roll_deg=-10),
            _Look(zoom=1.3, pan_deg=45, tilt_deg=-10),
            _Look(zoom=1.4, pan_deg=-50, tilt_deg=25, roll_deg=15),
        ),
    ),
}


def demo_dataset(context: JobContext | None = None) -> Path:
    """The folder with the demo sequences, in the cache; written at the first call.

    Several processes may call it at once: each writes a folder of its own, and the first one done
    moves it into place.

    Raises:
        DatasetError: scikit-image's photographs are missing.
        OutputError: the cache folder cannot be written.
        JobCancelled: it was stopped; nothing is left behind.
    """
    folder = cache_dir() / f"{_FOLDER}{VERSION}"
    if _is_complete(folder):
        return folder
    part = part_path(folder)
    try:
        write_demo(part, context)
        if folder.exists() and not _is_complete(folder):
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        if not _is_complete(folder):
            raise OutputError(folder, f"cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def write_demo(folder: Path, context: JobContext | None = None) -> Path:
    """Write the demo sequences into a folder; files of the same names are replaced.

    Args:
        folder: created if it does not exist, with its parents.
        context: listens to progress, and can stop it.

    Returns:
        The folder.

    Raises:
        DatasetError: scikit-image's photographs are missing.
        OutputError: the folder cannot be written.
        JobCancelled: it was stopped; what was written so far stays.
    """
    context = context or JobContext()
    folder = named_path(folder, OutputError)
    total = 6 * (len(_VIEWPOINT) + len(_ILLUMINATION)) + len(_STEREO)
    written: list[Path] = []

    def count(path: Path) -> None:
        written.append(path)
        pictures = sum(path.suffix == ".png" for path in written)
        context.emit(Progress(Stage.MAKING_DEMO, pictures, total))

    for name, (photo, looks) in _VIEWPOINT.items():
        moved = tuple((look, _daylight) for look in looks)
        _write_sequence(make_folder(folder / name), photo, moved, context, count)
    for name, (photo, lights) in _ILLUMINATION.items():
        lit = tuple((_STRAIGHT, light) for light in lights)
        _write_sequence(make_folder(folder / name), photo, lit, context, count)
    stereo = make_folder(folder / "motorcycle")
    for source, side in zip(_STEREO, ("left", "right"), strict=True):
        context.cancel.check()
        write_atomically(stereo / f"{side}.png", _photo(source).read_bytes())
        count(stereo / f"{side}.png")
    credits_file = folder / "README.txt"
    write_atomically(credits_file, _CREDITS.encode())
    written.append(credits_file)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in written}
    stamp = {"version": VERSION, "files": dict(sorted(sizes.items()))}
    write_atomically(folder / _STAMP, (json.dumps(stamp, indent=1) + "\n").encode())
    context.emit(Saved(folder, "demo"))
    return folder


def is_demo(folder: Path) -> bool:
    """Whether a folder holds the demo sequences, which any computer can make again."""
    return folder.parent == cache_dir() and folder.name.startswith(_FOLDER)


def first_demo_pair() -> ImagePair:
    """The pair that a first start shows; writes the demo if it is not there yet.

    Raises:
        DatasetError, OutputError: as :func:`demo_dataset`.
    """
    return HPatchesReader().read(demo_dataset()).pair(*_FIRST_PAIR)


def _is_complete(folder: Path) -> bool:
    """True if every file that the stamp names is there in its full size."""
    try:
        stamp = parse_json(read_input(folder / _STAMP, OutputError))
        files = stamp["files"].items()
        return bool(files) and stamp["version"] == VERSION and all(
            (folder / name).stat().st_size == size for name, size in files
        )  # fmt: skip
    except (OSError, OutputError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _photo(name: str) -> Path:
    """A photograph inside the installed scikit-image, without importing it or the network."""
    package = importlib.util.find_spec("skimage")
    places = list(package.submodule_search_locations or ()) if package else []
    for place in places:
        path = Path(place) / "data" / name
        if path.is_file():
            return path
    where = places[0] if places else "scikit-image"
    raise DatasetError(
        Path(where) / "data" / name,
        "this photograph of the demo is missing from the installed scikit-image; reinstall it "
        "(pip install --force-reinstall --no-deps scikit-image)",
    )


def _write_sequence(
    folder: Path,
    photo: str,
    shots: tuple[tuple[_Look, Light], ...],
    context: JobContext,
    count: Callable[[Path], None],
) -> None:
    """Write pictures of a photo, the first one straight ahead by day, and their homographies."""
    source = read_image(_photo(photo))
    plane, plane_from_photo = source.as_float(), np.eye(3)
    if any(look != _STRAIGHT for look, _ in shots):
        plane, plane_from_photo = _extend(plane)
    size_px = _view_size(source.size_px)

    @functools.cache
    def camera(look: _Look) -> Matrix:
        return _camera(look, source.size_px, size_px)

    @functools.cache
    def seen(look: _Look) -> NDArray[np.float32]:
        return _render(plane, camera(look) @ np.linalg.inv(plane_from_photo), size_px)

    for number, (look, light) in enumerate(((_STRAIGHT, _daylight), *shots), start=1):
        context.cancel.check()
        path = folder / f"{number}.png"
        write_image(path, _to_uint8(light(seen(look), _generator(folder.name, number))))
        count(path)
        if number > 1:
            matrix = folder / f"H_1_{number}"
            h_k_from_1 = normalise(camera(look) @ np.linalg.inv(camera(_STRAIGHT)))
            write_homography(matrix, np.eye(3) if look == _STRAIGHT else h_k_from_1)
            count(matrix)


def _view_size(photo_size_px: tuple[int, int]) -> tuple[int, int]:
    scale = _LONG_EDGE_PX / max(photo_size_px)
    return round(photo_size_px[0] * scale), round(photo_size_px[1] * scale)


def _generator(name: str, number: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{name}/{number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def _extend(photo: NDArray[np.float32]) -> tuple[NDArray[np.float32], Matrix]:
    """Continue a photo ``(H, W, 3)`` beyond its border.

    Returns:
        The larger plane and its ``(3, 3)`` ``plane_from_photo``.
    """
    height, width = photo.shape[:2]
    around = round(_SURROUND * max(width, height))
    plane = np.pad(photo, ((around, around), (around, around), (0, 0)), mode="symmetric")
    columns, rows = np.arange(width + 2 * around), np.arange(height + 2 * around)
    beyond_x = np.maximum(np.maximum(around - columns, columns - (around + width - 1)), 0)
    beyond_y = np.maximum(np.maximum(around - rows, rows - (around + height - 1)), 0)
    distance = np.hypot(beyond_x[None], beyond_y[:, None]).astype(np.float32) / max(width, height)
    soft = plane
    for sigma_share, from_share in ((0.006, 0.0), (0.02, 0.03), (0.06, 0.1)):
        blurred = _blur(plane, sigma_share * max(width, height))
        weight = np.clip((distance - from_share) / (0.5 * from_share + 0.012), 0, 1)[..., None]
        soft = soft + weight * (blurred - soft)
    fade = np.clip(distance / 0.35, 0, 1)[..., None] * np.float32(0.6)
    soft = soft * (1 - fade) + fade * photo.mean(axis=(0, 1))
    shift = np.array([[1.0, 0, around], [0, 1, around], [0, 0, 1]])
    return soft.astype(np.float32), shift


def _blur(pixels: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """A Gaussian blur; a strong one at a fraction of the size, with the same result."""
    height, width = pixels.shape[:2]
    factor = max(1, int(sigma_px / 2))
    small = cv2.resize(pixels, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma_px / factor, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def _camera(look: _Look, photo_size_px: tuple[int, int], size_px: tuple[int, int]) -> Matrix:
    """``view_from_photo`` of a pinhole camera that looks at a plane with the photo on it."""
    fill = Resize(photo_size_px, size_px).matrix()  # at zoom 1, straight on
    aim_photo = np.array(
        [look.aim[0] * (photo_size_px[0] - 1), look.aim[1] * (photo_size_px[1] - 1)]
    )
    aim = (fill @ [*aim_photo, 1.0])[:2]
    focal_px = _FOCAL_LENGTH * size_px[0]
    centre = (np.array(size_px, np.float64) - 1) / 2
    roll, tilt, pan = np.radians([look.roll_deg, look.tilt_deg, look.pan_deg])
    # Camera axes: x right, y down, z away; the plane z = 0 is measured in pixels of the fill.
    about_z = np.array(
        [[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    )
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    )
    about_y = np.array([[np.cos(pan), 0, np.sin(pan)], [0, 1, 0], [-np.sin(pan), 0, np.cos(pan)]])
    rotation = about_z @ about_x @ about_y
    away = np.array([0, 0, focal_px / look.zoom])
    lens = np.array([[focal_px, 0, centre[0]], [0, focal_px, centre[1]], [0, 0, 1.0]])
    to_aim = np.array([[1, 0, -aim[0]], [0, 1, -aim[1]], [0, 0, 1.0]])
    pose = np.stack([rotation[:, 0], rotation[:, 1], away], axis=1)
    view_from_photo: Matrix = lens @ pose @ to_aim @ fill
    return normalise(view_from_photo)


def _render(
    plane: NDArray[np.float32], view_from_plane: Matrix, size_px: tuple[int, int]
) -> NDArray[np.float32]:
    """Look at the plane: twice as finely as asked, then averaged, so that nothing flickers."""
    fine_px = (2 * size_px[0], 2 * size_px[1])
    fine = cv2.warpPerspective(
        plane,
        Resize(size_px, fine_px).matrix() @ view_from_plane,
        fine_px,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(cv2.resize(fine, size_px, interpolation=cv2.INTER_AREA), np.float32)


def _to_uint8(values: NDArray[Any]) -> NDArray[np.uint8]:
    clipped: NDArray[np.uint8] = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
    return clipped


def _daylight(seen: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """The light of image 1: as it is, with a little sensor noise."""
    return seen + _SENSOR_NOISE * generator.standard_normal(seen.shape, np.float32)


def _light(
    *,
    gain: float = 1.0,
    gamma: float = 1.0,
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0),
    shadow: float = 0.0,
    shadow_angle_deg: float = 0.0,
    noise: float = _SENSOR_NOISE,
) -> Light:
    """A change of light, applied to linear intensities as a lamp and a sensor would.

    Args:
        gain: exposure.
        gamma: of the tone curve; above 1 darkens the middle tones.
        tint: factors of red, green and blue; warm above 1 in red, cool above 1 in blue.
        shadow: share of the light that is gone on the dark side of a soft edge across the image.
        shadow_angle_deg: direction in which it grows dark, from right towards the bottom.
        noise: standard deviation of the sensor's noise, after the tone curve, in [0, 1].
    """

    def change(seen: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
        height, width = seen.shape[:2]
        linear = np.clip(seen, 0, 1) ** 2.2
        ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        angle = np.radians(shadow_angle_deg)
        across = np.cos(angle) * xs + np.sin(angle) * ys
        lit = 1 - shadow / (1 + np.exp(-6 * across))
        lamp = np.array(tint) * gain
        toned = np.clip(linear * lit[..., None] * lamp, 0, 1) ** (gamma / 2.2)
        grain = noise * generator.standard_normal(seen.shape, np.float32)
        return np.asarray(toned + grain, np.float32)

    return change


_ILLUMINATION: Final[dict[str, tuple[str, tuple[Light, ...]]]] = {
    "i_rocket": (
        "rocket.jpg",
        (
            _light(gain=1.7, gamma=0.9),
            _light(gain=2.2, gamma=0.85, tint=(1.2, 1.0, 0.75)),
            _light(gain=0.7, gamma=0.95, tint=(0.8, 0.95, 1.25), noise=0.012),
            _light(gain=1.3, shadow=0.8, shadow_angle_deg=-90, noise=0.02),
            _light(gain=0.45, tint=(0.75, 0.9, 1.3), noise=0.03),
        ),
    ),
    "i_coffee": (
        "coffee.png",
        (
            _light(shadow=0.6, shadow_angle_deg=0),
            _light(shadow=0.75, shadow_angle_deg=135, tint=(1.2, 1.0, 0.8)),
            _light(shadow=0.85, shadow_angle_deg=-90, gain=1.3),
            _light(shadow=0.9, shadow_angle_deg=180, gain=1.6, tint=(0.85, 1.0, 1.2)),
            _light(shadow=0.93, shadow_angle_deg=45, gain=1.0, gamma=1.3, noise=0.02),
        ),
    ),
    "i_chelsea": (
        "chelsea.png",
        (
            _light(tint=(1.25, 1.0, 0.7)),
            _light(tint=(0.7, 0.95, 1.35)),
            _light(gain=1.9, gamma=0.8),
            _light(gain=0.5, tint=(1.4, 1.0, 0.5), noise=0.02),
            _light(gain=0.25, tint=(0.6, 0.9, 1.5), shadow=0.7, shadow_angle_deg=200, noise=0.03),
        ),
    ),
}
