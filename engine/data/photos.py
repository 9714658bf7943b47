"""Folders of photos to train on: which files there are, and which are kept for validation.

COCO 2017's layout (``train2017``, ``val2017``, ``test2017``) is understood; any other folder is
searched for pictures, with all that is below it.  Opening reads the pictures' headers alone, and
only of files that are new or were changed since the last time.

Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError, DatasetError, ImageError, OutputError
from engine.files import named_path, parse_json, read_input, write_atomically
from engine.images import IMAGE_SUFFIXES, MIN_EDGE_PX, read_image, read_size
from engine.paths import cache_dir
from engine.progress import JobContext, Progress, Stage

_COCO_TRAINING: Final = "train2017"
_COCO_VALIDATION: Final = "val2017"
_COCO_TEST: Final = "test2017"
_INDEX_FORMAT: Final = 1
_REPORT_EVERY_S: Final = 0.1
_CHUNK: Final = 256
_READERS: Final = 4


@dataclass(frozen=True, slots=True)
class PhotoFolder:
    """The photos below a folder.

    Attributes:
        root: the folder.
        names: paths below it with ``/`` between the parts, sorted; readable as far as their
            headers tell.
        problems: a sentence for every picture that was left out.
    """

    root: Path
    names: tuple[str, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PhotoSplit:
    """Photos to train on and photos to validate on; no photo is both.

    Attributes:
        root: the folder.
        training: paths below it, sorted.
        validation: paths below it, sorted.
    """

    root: Path
    training: tuple[str, ...]
    validation: tuple[str, ...]

    @property
    def training_sha256(self) -> str:
        """A hash of the list of photos to train on."""
        return hashlib.sha256("\n".join(self.training).encode("utf-8", "surrogatepass")).hexdigest()


def open_photos(root: Path, context: JobContext | None = None) -> PhotoFolder:
    """Find the photos in a folder.

    Files whose names begin with a dot are passed over, and so is a folder that a link leads to
    for the second time.

    Args:
        root: the folder.
        context: receives the number of headers read, and is checked for cancelling.

    Raises:
        DatasetError: no such folder, or no readable picture in it.
        JobCancelled: it was stopped.
    """
    context = context or JobContext()
    root = named_path(root, DatasetError)
    if not root.is_dir():
        reason = "is no folder" if root.exists() else "there is no such folder"
        raise DatasetError(root, f"{reason}; name one with photos in it")
    found = dict(_pictures(root))
    known = _read_index(root)
    fresh = [name for name, state in found.items() if known.get(name, {}).get("state") != state]
    entries = {name: entry for name, entry in known.items() if name in found}
    checked = _check(root, fresh, context)
    entries |= {name: {"state": found[name], "fault": fault} for name, fault in checked.items()}
    if fresh or len(entries) < len(known):
        _write_index(root, entries)
    names = tuple(sorted(name for name in entries if not entries[name]["fault"]))
    problems = tuple(
        f"{root / name} is left out: it {entries[name]['fault']}."
        for name in sorted(entries)
        if entries[name]["fault"]
    )
    if not names:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        what = f"none of its {len(problems)} pictures can be read" if problems else (
            f"holds no picture, nor do the folders below it (looked for {kinds})"
        )  # fmt: skip
        raise DatasetError(root, what)
    return PhotoFolder(root, names, problems)


def split_photos(photos: PhotoFolder, *, validation_share: float) -> PhotoSplit:
    """Keep photos apart for validation.

    In COCO's layout they are those of ``val2017``, and ``test2017`` is left alone.  Elsewhere the
    hash of a photo's path decides, so that a photo keeps its side when others are added or removed.
    There is at least one photo on either side: of too few photos the ones with the lowest (or
    highest) hash change sides.

    Args:
        photos: at least two.
        validation_share: the share of photos that is kept apart, 0 to 1.

    Raises:
        DatasetError: there is only one photo.
    """
    names = photos.names
    parts = {name: frozenset(Path(name).parts[:-1]) for name in names}
    kept = [name for name in names if _COCO_VALIDATION in parts[name]]
    coco = [name for name in names if _COCO_TRAINING in parts[name]]
    if kept and coco:
        return PhotoSplit(photos.root, tuple(coco), tuple(kept))
    usable = coco or [name for name in names if _COCO_TEST not in parts[name]] or list(names)
    if len(usable) < 2:
        raise DatasetError(photos.root, "holds one photo; one to train on and one more are needed")
    by_hash = sorted(usable, key=_place)
    count = sum(_place(name) < validation_share for name in usable)
    count = min(max(count, 1), len(usable) - 1)
    validation = frozenset(by_hash[:count])
    return PhotoSplit(
        photos.root,
        tuple(name for name in usable if name not in validation),
        tuple(name for name in usable if name in validation),
    )


def open_and_split(
    folder: Path | None, *, validation_share: float, context: JobContext
) -> tuple[PhotoFolder, PhotoSplit]:
    """Open the folder that a training names, and keep photos apart for validation.

    Raises:
        ConfigError: it names none.
        DatasetError, JobCancelled: as :func:`open_photos` and :func:`split_photos`.
    """
    if folder is None:
        raise ConfigError("train.photos.folder", "is not named; name a folder of photos")
    photos = open_photos(folder, context)
    return photos, split_photos(photos, validation_share=validation_share)


def read_covering(path: Path, size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a photo at the smallest size that covers an area, keeping its proportions.

    Args:
        path: the file.
        size_px: (width, height) of the area.

    Returns:
        ``(h, w, 3)`` RGB with h and w at least the area's, one of them equal to it.

    Raises:
        ImageError: it cannot be read, or is too small to be described at all.
    """
    pixels = read_image(path).as_uint8()
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_EDGE_PX:
        raise ImageError(path, f"has only {width} × {height} pixels")
    scale = max(size_px[0] / width, size_px[1] / height)
    wanted = (max(size_px[0], round(width * scale)), max(size_px[1], round(height * scale)))
    if wanted == (width, height):
        return pixels
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, wanted, interpolation=method), np.uint8)


@functools.lru_cache(maxsize=4)
def shuffled(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order ``(count,)`` in which an epoch goes through the photos; a permutation.

    The last ones are kept, since an order is asked for pair by pair; they must not be changed.
    """
    return np.random.default_rng((seed, epoch)).permutation(count).astype(np.int64)


def _place(name: str) -> float:
    """Where in [0, 1) the hash of a path puts it."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _pictures(root: Path) -> Iterator[tuple[str, list[int]]]:
    """Paths below a folder, each with its size and time of change."""
    seen: set[tuple[int, int]] = set()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        with contextlib.suppress(OSError):  # a folder that may not be read, or just vanished
            state = folder.stat()
            if (state.st_dev, state.st_ino) in seen:
                continue
            seen.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append((Path(entry.path), f"{prefix}{entry.name}/"))
                    elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                        with contextlib.suppress(OSError):
                            about = entry.stat()
                            yield prefix + entry.name, [about.st_size, about.st_mtime_ns]


def _check(root: Path, names: Sequence[str], context: JobContext) -> dict[str, str]:
    """Read headers: what is wrong with each file, "" where nothing is."""
    faults: dict[str, str] = {}
    told_s = -_REPORT_EVERY_S
    with ThreadPoolExecutor(_READERS, thread_name_prefix="photo-headers") as pool:
        for begin in range(0, len(names), _CHUNK):
            context.cancel.check()
            part = names[begin : begin + _CHUNK]
            faults |= zip(part, pool.map(lambda name: _fault(root / name), part), strict=True)
            now_s = time.monotonic()
            if now_s - told_s >= _REPORT_EVERY_S or len(faults) == len(names):
                told_s = now_s
                context.emit(Progress(Stage.READING_PHOTOS, len(faults), len(names)))
    return faults


def _fault(path: Path) -> str:
    try:
        width, height = read_size(path)
    except ImageError as error:
        return error.reason
    if min(width, height) < MIN_EDGE_PX:
        return f"has only {width} × {height} pixels"
    return ""


def _index_file(root: Path) -> Path:
    key = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogatepass")).hexdigest()
    return cache_dir() / "photos" / f"{key[:32]}.json"


def _read_index(root: Path) -> dict[str, Any]:
    """What is known from the last time; nothing if that cannot be read."""
    try:
        stored = parse_json(read_input(_index_file(root), OutputError, most_bytes=1 << 30))
    except (OutputError, ValueError):
        return {}
    if not isinstance(stored, dict) or stored.get("format") != _INDEX_FORMAT:
        return {}
    entries = stored.get("entries")
    if not isinstance(entries, dict):
        return {}
    return {
        name: entry
        for name, entry in entries.items()
        if isinstance(entry, dict) and isinstance(entry.get("fault"), str)
    }


def _write_index(root: Path, entries: dict[str, Any]) -> None:
    path = _index_file(root)
    content = json.dumps({"format": _INDEX_FORMAT, "root": str(root), "entries": entries})
    # Without the index, opening the folder only takes longer next time.
    with contextlib.suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.encode("utf-8", "replace"))
