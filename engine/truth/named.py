"""Truth as people name it in a line of text: ``KIND:FILE``, or a file whose kind is recognised.

Further files and settings stand behind strokes, as in ``disparity:disp2.png|disp6.png|factor=8``,
or behind commas, which a shell leaves alone, where there is no stroke.
Names of files are relative to a folder that the caller knows.  Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Final

from engine.errors import HomographyError, TruthError, quoted
from engine.file_kinds import name_kind
from engine.files import is_file_there, is_there, open_input
from engine.geometry.homography import read_homography
from engine.imagefiles.kinds import HEAD_BYTES, Unread, recognise
from engine.paths import FileStamp
from engine.progress import Tell, tell_choice
from engine.truth.base import TruthSource
from engine.truth.cameras import Camera
from engine.truth.colmap_model import model_files, read_colmap_model
from engine.truth.depth import DepthSource
from engine.truth.disparity import DisparitySource
from engine.truth.flow import FlowSource
from engine.truth.homography import HomographySource
from engine.truth.landmarks import LandmarksSource
from engine.truth.point_files import lists_points
from engine.truth.points import PointsSource
from engine.truth.swapped import SwappedSource
from engine.truth.view_lists import read_views
from engine.vocabulary import TruthKind

_STROKE: Final = "|"
_FROM: Final = "from"
_FLO_HEAD: Final = b"PIEH"
_MATLAB_HEAD: Final = b"MATLAB 5.0"
_LANDMARKS: Final = (b'"src_kps"', b'"kps"')
_JSON_BYTES: Final = 1 << 16
FILE_SETTINGS: Final = ("cameras", "unoccluded")
"""The settings that name a file or folder."""

_KEPT_CAMERAS: Final = 4  # tables name the same ones in every row


@dataclass(frozen=True, slots=True)
class _Named:
    """What a text names.

    Attributes:
        text: the text.
        files: one at least.
        settings: by their names.
        folder: what names of files in settings are relative to.
        images: of the pair.
        tell: receives a sentence on each choice.
    """

    text: str
    files: tuple[Path, ...]
    settings: Mapping[str, str]
    folder: Path
    images: tuple[Path, Path]
    tell: Tell

    def number(self, name: str) -> float | None:
        """A setting that is a positive number; None where it is not given.

        Raises:
            TruthError: it is something else.
        """
        if name not in self.settings:
            return None
        try:
            value = float(self.settings[name])
        except ValueError:
            value = math.nan
        if not (value > 0 and math.isfinite(value)):
            raise TruthError(
                self.text, f"{name} is {quoted(self.settings[name])}, no number above 0"
            )
        return value

    def file(self, name: str) -> Path | None:
        """A setting that is a file or folder; None where it is not given."""
        return self.folder / self.settings[name] if name in self.settings else None

    @property
    def second(self) -> Path | None:
        """The second file, None where one alone is named."""
        return self.files[1] if len(self.files) > 1 else None


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind is named.

    Attributes:
        make: its source.
        most: how many files it may have.
        settings: which it may have.
        fewest: how many files it must have.
    """

    make: Callable[[_Named], TruthSource]
    most: int = 1
    settings: tuple[str, ...] = ()
    fewest: int = 1


def named_truth(
    text: str, folder: Path, images: tuple[Path, Path], tell: Tell = tell_choice
) -> TruthSource:
    """The truth that a text names.

    Args:
        text: ``[KIND:]FILE[|FILE][|SETTING=VALUE]…``; ``docs/GROUND_TRUTH.md`` lists the settings.
        folder: what names of files are relative to.
        images: image a and image b, for files that tell of several.
        tell: receives a sentence where a file left a choice.

    Raises:
        FileError: a file is missing or unusable, or its kind is not recognised; or the text names
            more or less than the kind takes.
    """
    kind, files, settings = split_named(text, folder)
    if kind is None:
        kind = recognise_kind(files[0])
    known = _KINDS[kind]
    if not known.fewest <= len(files) <= known.most:
        wanted = str(known.most) if known.fewest == known.most else f"1 to {known.most}"
        count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
        raise TruthError(text, f"names {count}, and {kind} takes {wanted}")
    foreign = sorted(set(settings) - {*known.settings, _FROM})
    if foreign:
        raise TruthError(text, f"has {foreign[0]}, which {kind} does not take")
    start = settings.get(_FROM, "a").lower()
    if start not in ("a", "b"):
        raise TruthError(text, f"{_FROM} is {quoted(settings[_FROM])}, neither a nor b")
    swapped = start == "b"
    shown = images[::-1] if swapped else images
    source = known.make(_Named(text, files, settings, folder, shown, tell))
    return SwappedSource(source) if swapped else source


def check_named(text: str, folder: Path) -> None:
    """Check that a text names files that are there; nothing is read.

    Raises:
        FileError: it does not.
    """
    split_named(text, folder)


def split_named(
    text: str, folder: Path
) -> tuple[TruthKind | None, tuple[Path, ...], dict[str, str]]:
    """The kind that a text names, None where the file shall tell, its files, and its settings.

    Raises:
        FileError: the text names no file, or one that is not there.
    """
    word, colon, rest = text.partition(":")
    kind = next((kind for kind in _KINDS if colon and kind == word.strip().lower()), None)
    plain = rest if kind else text
    # The name of a file may hold a comma.
    sign = _STROKE if _STROKE in plain or is_file_there(folder / plain.strip()) else ","
    parts = [part.strip() for part in plain.split(sign)]
    names = {_FROM, *(name for known in _KINDS.values() for name in known.settings)}
    settings = {
        part.partition("=")[0].strip(): part.partition("=")[2].strip()
        for part in parts
        if part.partition("=")[0].strip() in names and "=" in part
    }
    files = tuple(
        folder / part for part in parts if part and part.partition("=")[0].strip() not in settings
    )
    if not files:
        raise TruthError(text, "names no file")
    for path in files:
        if not is_there(path):
            raise TruthError(path, "does not exist")
    return kind, files, settings


def join_named(kind: TruthKind | None, files: Sequence[Path], settings: Mapping[str, str]) -> str:
    """The text from which :func:`split_named` reads this back."""
    parts = [*map(str, files), *(f"{name}={value}" for name, value in settings.items())]
    return f"{kind}:{_STROKE.join(parts)}" if kind else _STROKE.join(parts)


def recognise_kind(path: Path) -> TruthKind:
    """The kind of truth in a file, by its content.

    Raises:
        TruthError: it cannot be read, or several kinds, or none, look like this.
    """
    with open_input(path, TruthError, missing="does not exist") as stream:
        start = stream.read(_JSON_BYTES)
    if start.startswith(_FLO_HEAD):
        return "flow"
    if start.startswith(_MATLAB_HEAD):
        return "landmarks"
    picture = recognise(start[:HEAD_BYTES])
    if picture == "PNG" and start[24:26] == b"\x10\x02":  # 16 bit, three colours: KITTI's flow
        return "flow"
    if not isinstance(picture, Unread):
        raise TruthError(path, f"is {name_kind(path) or picture}; say what it holds, {_ASK}")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "landmarks" if any(name in start for name in _LANDMARKS) else "homography"
    try:
        read_homography(path, lambda _sentence: None)
    except HomographyError:
        pass
    else:
        return "homography"
    if not lists_points(path):
        raise TruthError(path, f"is no truth of a kind that can be told; say it, {_ASK}")
    return "points"


_ASK: Final = "as in disparity:FILE, depth:FILE, flow:FILE or points:FILE"


def _homography(named: _Named) -> TruthSource:
    return HomographySource.read(named.files[0], named.tell)


def _points(named: _Named) -> TruthSource:
    a, b = named.images
    images = (a.as_posix(), b.as_posix())
    return PointsSource.of(named.files[0], images, named.number("uncertainty"))


def _flow(named: _Named) -> TruthSource:
    return FlowSource(
        named.files[0],
        named.second,
        unoccluded=named.file("unoccluded"),
        uncertainty_px=named.number("uncertainty"),
    )


def _disparity(named: _Named) -> TruthSource:
    return DisparitySource(
        named.files[0], named.second, named.number("factor"), unoccluded=named.file("unoccluded")
    )


def _landmarks(named: _Named) -> TruthSource:
    row = named.number("row")
    return LandmarksSource(
        named.files[0],
        named.second,
        0 if row is None else round(row) - 1,
        named.number("uncertainty"),
    )


def _depth(named: _Named) -> TruthSource:
    place = named.file("cameras")
    if place is None:
        raise TruthError(
            named.text, "names no cameras=, a COLMAP model's folder or a list of views"
        )
    files = model_files(place) or (place,)
    cameras = _cameras(place, tuple(map(FileStamp.of, files)))
    a, b = (_camera(place, cameras, image) for image in named.images)
    return DepthSource(named.files[0], named.second, a, b, named.number("factor"))


@lru_cache(maxsize=_KEPT_CAMERAS)
def _cameras(place: Path, _stamps: tuple[FileStamp, ...]) -> Mapping[str, Camera]:
    return read_colmap_model(place) if place.is_dir() else read_views(place)


def _camera(place: Path, cameras: Mapping[str, Camera], image: Path) -> Camera:
    """The camera of an image, whose name in the list is the end of its path."""
    parts = image.parts
    for start in range(len(parts)):
        name = PurePath(*parts[start:]).as_posix()
        if name in cameras:
            return cameras[name]
    raise TruthError(place, f"has no camera of {image.name}")


_KINDS: Final[Mapping[TruthKind, _Kind]] = {
    "homography": _Kind(_homography),
    "points": _Kind(_points, settings=("uncertainty",)),
    "flow": _Kind(_flow, 2, ("unoccluded", "uncertainty")),
    "disparity": _Kind(_disparity, 2, ("factor", "unoccluded")),
    "depth": _Kind(_depth, 2, ("cameras", "factor"), fewest=2),
    "landmarks": _Kind(_landmarks, 2, ("row", "uncertainty")),
}
