"""Writes tables of matches to files; each format is a line in one table.

:func:`engine.truth.point_files.read_point_pairs` reads all of them back.  Nothing here imports
torch.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import OutputError, quoted
from engine.files import csv_text, make_folder, write_atomically
from engine.geometry.coords import CORNER_PX
from engine.inspection.requests import MatchTable
from engine.truth.base import Visibility

COLUMNS: Final = (
    *("x_a", "y_a", "x_b", "y_b", "similarity", "ratio", "mutual", "error_px"),
    *("texture", "truth", "truth_from", "uncertainty_px", "confidence"),
)
_STATES: Final = {state: state.name.lower() for state in Visibility}
_FLAGS: Final = {True: "true", False: "false"}
_COLMAP_DIMENSIONS: Final = 128

Images = tuple[Path, Path]
"""The files of image a and image b."""


@dataclass(frozen=True, slots=True)
class MatchFormat:
    """A format for matches.

    Attributes:
        title: as dialogs and messages say it.
        contents: all files to write, by their paths, from the path that was named.
    """

    title: str
    contents: Callable[[Path, MatchTable, Images], Mapping[Path, bytes]]


def match_format(path: Path) -> MatchFormat:
    """The format that a file's ending asks for; CSV for any other ending."""
    return MATCH_FORMATS.get(path.suffix.lower(), MATCH_FORMATS[".csv"])


def write_matches(path: Path, table: MatchTable, images: Images) -> None:
    """Write all matches, unfiltered, in the format of the file's ending.

    Args:
        path: the file.
        table: the matches.
        images: the files of image a and image b, which COLMAP's format names.

    Raises:
        OutputError: it cannot be written, or the format cannot name these images.
    """
    for target, content in match_format(path).contents(path, table, images).items():
        if target.parent != path.parent:
            make_folder(target.parent)
        write_atomically(target, content)


def other_files(path: Path, images: Images) -> tuple[Path, ...]:
    """What :func:`write_matches` writes besides the file itself.

    Raises:
        OutputError: the format cannot name these images.
    """
    if match_format(path) is not MATCH_FORMATS[".txt"]:
        return ()
    return tuple(_keypoint_file(path, name) for name in _colmap_names(path, images))


def _csv(path: Path, table: MatchTable, _images: Images) -> Mapping[Path, bytes]:
    """One row a query; an undefined error, uncertainty or confidence is an empty field."""
    lines: list[tuple[str, ...]] = [COLUMNS]
    rows = zip(
        table.points_a, table.points_b, table.similarity, table.ratio, table.mutual,
        table.textured, table.visibility.tolist(),
        np.column_stack([table.error_px, table.uncertainty_px, table.confidence]),
        strict=True,
    )  # fmt: skip
    for point_a, point_b, similarity, ratio, mutual, textured, state, optional in rows:
        numbers = [f"{value:.4f}" for value in (*point_a, *point_b)]
        numbers += [f"{similarity:.6f}", f"{ratio:.6f}"]
        error, spread, sure = (f"{one:.4f}" if np.isfinite(one) else "" for one in optional)
        flags = (_FLAGS[bool(mutual)], error, _FLAGS[bool(textured)])
        lines.append((*numbers, *flags, _STATES[Visibility(state)], table.truth, spread, sure))
    return {path: csv_text(lines).encode("ascii")}


def _npz(path: Path, table: MatchTable, _images: Images) -> Mapping[Path, bytes]:
    """An archive under the names of hloc and SuperGlue, and under those of vismatch.

    Points are counted from the centre of the top-left pixel, as both programs do.
    """
    arrays: dict[str, NDArray[Any]] = {
        "keypoints0": table.points_a,
        "keypoints1": table.points_b,
        "matches0": np.where(np.isfinite(table.points_b[:, 0]), np.arange(len(table.points_a)), -1),
        "matching_scores0": table.similarity,
    }
    found = arrays["matches0"] >= 0
    arrays |= {
        "matched_kpts0": table.points_a[found],
        "matched_kpts1": table.points_b[found],
        "matched_confidences": table.similarity[found],
        "ratio": table.ratio,
        "mutual": table.mutual,
        "error_px": table.error_px,
        "texture": table.textured,
        "truth": table.visibility,
        "truth_from": np.array(table.truth),
        "uncertainty_px": table.uncertainty_px,
        "confidence": table.confidence,
    }
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    return {path: packed.getvalue()}


def _colmap(path: Path, table: MatchTable, images: Images) -> Mapping[Path, bytes]:
    """The list that COLMAP's ``matches_importer`` reads, and keypoints for ``feature_importer``.

    The first ``matches_importer --match_type raw``; the descriptors in the second, which have to be
    there, are zeros.
    """
    names = _colmap_names(path, images)
    found = np.isfinite(table.points_b[:, 0])
    lines = [" ".join(names), *(f"{number} {number}" for number in range(int(found.sum()))), ""]
    contents = {
        _keypoint_file(path, name): _colmap_keypoints(points[found])
        for name, points in zip(names, (table.points_a, table.points_b), strict=True)
    }
    return {**contents, path: "\n".join([*lines, ""]).encode()}


def _colmap_keypoints(points_px: NDArray[np.float64]) -> bytes:
    """Of scale 1 and angle 0; COLMAP counts from the corner of the top-left pixel."""
    rest = " 1 0" + " 0" * _COLMAP_DIMENSIONS
    rows = [f"{x:.6f} {y:.6f}{rest}" for x, y in points_px + CORNER_PX]
    return "\n".join([f"{len(rows)} {_COLMAP_DIMENSIONS}", *rows, ""]).encode("ascii")


def _colmap_names(path: Path, images: Images) -> tuple[str, str]:
    """The images relative to the folder that they share, as COLMAP calls them.

    Raises:
        OutputError: they are the same, or a name cannot stand in a list.
    """
    files = [Path(os.path.abspath(image)) for image in images]  # noqa: PTH100 - keeps links
    try:
        folder = Path(os.path.commonpath([file.parent for file in files]))
    except ValueError as error:  # on different drives
        reason = "COLMAP names images relative to one folder, and these have none in common"
        raise OutputError(path, reason) from error
    names = [file.relative_to(folder).as_posix() for file in files]
    if names[0] == names[1]:
        raise OutputError(path, "COLMAP matches no image with itself")
    for name in names:
        if name.split() != [name]:
            reason = f"COLMAP's list parts names by spaces, so it cannot name {quoted(name)}"
            raise OutputError(path, reason)
    return names[0], names[1]


def _keypoint_file(path: Path, name: str) -> Path:
    return path.parent / f"{name}.txt"


MATCH_FORMATS: Final = {
    ".csv": MatchFormat("CSV", _csv),
    ".npz": MatchFormat("NumPy, as hloc and vismatch name it", _npz),
    ".txt": MatchFormat("COLMAP, matches and keypoints", _colmap),
}
"""All formats by their endings; the first one is the usual one."""
