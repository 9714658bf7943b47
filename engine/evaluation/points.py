"""The queries of a measured pair and where each was found, kept beside the rows of a run.

From these points any picture and any further metric is made without describing an image again.
``points/SEQUENCE/INDEX.npz`` holds one pair: which files its images were, their sizes, and for each
list of queries one ``(2 + D, N, 2)`` float64 array of queries, true points and the matches of the
D descriptors (NaN where nothing was found), and one ``(D, N)`` float32 array of similarities.
Nothing is rounded, so the errors are the measured ones to the last bit.  Of a list that is longer
than :data:`KEPT_QUERIES` the first ones are kept: queries come in random order.

Nothing here loads torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import ImageError, ResultError
from engine.evaluation.pck import errors_px
from engine.evaluation.switches import QUERY_KINDS, QueryKind
from engine.files import read_npz, sha256_of, write_atomically
from engine.geometry.coords import Resize

Points = NDArray[np.float64]

POINTS_FOLDER: Final = "points"
KEPT_QUERIES: Final = 4096
_UNSAFE: Final = frozenset('/\\:*?"<>|%') | frozenset(map(chr, range(32)))
_MOST_NAME_BYTES: Final = 180  # file systems allow 255


@dataclass(frozen=True, slots=True)
class MeasuredImage:
    """An image of a pair, as it was when it was measured.

    Attributes:
        path: its file, relative to the folder of the data set, with ``/`` between the parts.
        sha256: of that file.
        resize: from original to working pixels.
    """

    path: str
    sha256: str
    resize: Resize


@dataclass(frozen=True, slots=True, eq=False)
class PairPoints:
    """One list of queries of a pair, matched by one descriptor; in working pixels.

    Attributes:
        query_px: ``(N, 2)`` in the first image.
        true_px: ``(N, 2)`` where they truly are in the second image.
        match_px: ``(N, 2)`` where they were found there; NaN where nothing was.
        similarity: ``(N,)`` cosine of query and match; -inf where nothing was found.
    """

    query_px: Points
    true_px: Points
    match_px: Points
    similarity: NDArray[np.float32]

    @property
    def errors_px(self) -> NDArray[np.float64]:
        """``(N,)`` distance of match and truth; NaN where nothing was found."""
        return errors_px(self.match_px, self.true_px)


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredPair:
    """All points of a pair.

    Attributes:
        images: the first and the second one.
        points: by list of queries: those of each descriptor, in the order of the fingerprint.
    """

    images: tuple[MeasuredImage, MeasuredImage]
    points: Mapping[QueryKind, tuple[PairPoints, ...]]


def check_unchanged(path: Path, image: MeasuredImage) -> None:
    """Refuse an image that is no longer the one that was measured.

    Raises:
        ImageError: it has changed, or cannot be read.
    """
    if sha256_of(path, ImageError) != image.sha256:
        raise ImageError(path, "has changed since it was measured")


def has_points(folder: Path) -> bool:
    """Whether a run kept its points; earlier versions did not."""
    return (folder / POINTS_FOLDER).is_dir()


def write_points(folder: Path, sequence: str, index: int, pair: MeasuredPair) -> None:
    """Keep the points of a pair in the folder of its run.

    Raises:
        OutputError: they cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {
        "paths": np.array([image.path for image in pair.images]),
        "sha256": np.array([image.sha256 for image in pair.images]),
        "sizes_px": np.array(
            [(image.resize.from_size_px, image.resize.to_size_px) for image in pair.images]
        ),
    }
    for kind, found in pair.points.items():
        places = [found[0].query_px, found[0].true_px, *(one.match_px for one in found)]
        arrays[f"{kind}_px"] = np.stack(places)[:, :KEPT_QUERIES]
        similarity = np.stack([one.similarity for one in found])
        arrays[f"{kind}_similarity"] = similarity[:, :KEPT_QUERIES]
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)  # type: ignore[arg-type]
    path = _file(folder, sequence, index)
    with contextlib.suppress(OSError):  # writing reports what is wrong
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data.getvalue())


def read_points(folder: Path, sequence: str, index: int) -> MeasuredPair:
    """The points of a pair of a run.

    Raises:
        ResultError: there are none, or the file is damaged.
    """
    path = _file(folder, sequence, index)
    missing = "does not exist; the matches of this pair were not kept"
    arrays = read_npz(path, ResultError, missing=missing, damaged="is damaged")
    try:
        sizes_px = arrays["sizes_px"]
        if sizes_px.shape != (2, 2, 2) or sizes_px.dtype.kind not in "iu" or (sizes_px < 1).any():
            raise ValueError("sizes_px are no sizes")
        first, second = (
            MeasuredImage(str(name), str(sha256), Resize(tuple(before), tuple(after)))
            for name, sha256, (before, after) in zip(
                arrays["paths"], arrays["sha256"], sizes_px.tolist(), strict=True
            )
        )
        points = {}
        for kind in QUERY_KINDS:
            if f"{kind}_px" in arrays:
                places, similarities = arrays[f"{kind}_px"], arrays[f"{kind}_similarity"]
                count, length = similarities.shape  # fails where they are no table
                if places.shape != (2 + count, length, 2):
                    raise ValueError(f"{kind}_px and {kind}_similarity do not belong together")
                if not np.isfinite(places[:2]).all() or np.isinf(places).any():
                    raise ValueError(f"{kind}_px holds places that are none")
                query_px, true_px, *found = places.astype(np.float64, casting="same_kind")
                points[kind] = tuple(
                    PairPoints(query_px, true_px, match_px, similarity)
                    for match_px, similarity in zip(
                        found, similarities.astype(np.float32, casting="same_kind"), strict=True
                    )
                )
        return MeasuredPair((first, second), points)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ResultError(path, "is damaged") from error


def _file(folder: Path, sequence: str, index: int) -> Path:
    return folder / POINTS_FOLDER / _folder_name(sequence) / f"{index}.npz"


def _folder_name(group: str) -> str:
    """A group's name as that of one folder, on any system: what cannot be there as %XX, and cut."""
    safe = "".join(f"%{ord(sign):02X}" if sign in _UNSAFE else sign for sign in group)
    safe = f"%2E{safe[1:]}" if safe.startswith(".") else safe
    data = safe.encode("utf-8", "surrogatepass")
    if len(data) <= _MOST_NAME_BYTES:
        return safe
    told_apart = hashlib.sha256(data).hexdigest()[:16]
    return f"{data[: _MOST_NAME_BYTES - 17].decode('utf-8', 'ignore')}~{told_apart}"
