"""Lists of image pairs as text: two names on each line, and perhaps numbers behind them.

Lists of hloc, glue-factory, SuperGlue and the Image Matching Challenges look like this.  How many
numbers there are says what they mean:

| numbers | meaning |
|---|---|
| 9 | the homography from the first image to the second, row by row |
| 18 + 12, 18 + 16 | glue-factory: both intrinsic matrices, then rotation and translation, or a \
``4 x 4`` matrix, from the first camera to the second |
| 2 + 18 + 16 | SuperGlue: quarter turns for showing the images, then the same |
| 1, 2 | an overlap, a score, or turns: no truth |

With ``views.txt`` beside the list, as glue-factory writes it, the cameras are known for all pairs,
and depth maps in a folder beside it make dense truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from engine.data.folders import is_picture, natural_key
from engine.data.layouts.building import finished_set, first_line, fitting_folders, left_out
from engine.data.pair_set import PairGroup, PairSet
from engine.data.pairs import ImagePair
from engine.errors import DatasetError, FileError, TruthError
from engine.files import is_file_there, read_input, read_number
from engine.geometry.coords import CORNER_PX
from engine.geometry.homography import check_homography, normalise
from engine.images import read_size
from engine.truth.base import Matrix, Size, TruthSource
from engine.truth.cameras import Camera
from engine.truth.depth import DepthSource
from engine.truth.homography import HomographySource
from engine.truth.view_lists import read_views

_ENDINGS: Final = (".txt", ".pairs")
_VIEWS: Final = "views.txt"
_IMAGES: Final = "images"
_DEPTHS: Final = ("depths", "depth")
_DEPTH_ENDINGS: Final = (".h5", ".npy", ".npz", ".pfm", ".png")
_PNG_PER_UNIT: Final = 256.0  # in glue-factory's PNGs
_DEPTH: Final = 2
_TRIED: Final = 20

_MATRIX, _ROTATION_AND_SHIFT, _SQUARE = 9, 12, 16
_TURNS: Final = 2


class PairListReader:
    """Reads lists of pairs: a group for each folder of first images."""

    word: Final = "pair-list"
    layout: Final = "list of pairs"
    group: Final = "group"
    expected: Final = "a text file with two names of images on each line, and the images"

    def recognises(self, root: Path) -> bool:
        """Whether a file is a list, or a folder, or one up to two levels down, holds one."""
        return _is_list(root) or any(fitting_folders(root, _fits, depth=_DEPTH))

    def read(self, root: Path) -> PairSet:
        """Several lists are subsets.  Pairs that share no folder are one group.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        problems: list[str] = []
        lists = [root] if root.is_file() else []
        for folder, names in fitting_folders(root, _fits, depth=_DEPTH, problems=problems):
            paths = (folder / name for name in sorted(names, key=natural_key))
            lists += [path for path in paths if "pair" in path.name.lower() and _is_list(path)]
        groups: list[PairGroup] = []
        for path in lists:
            try:
                groups += _List(path, f"{path.stem}/" if len(lists) > 1 else "").groups(problems)
            except DatasetError as error:
                problems.append(str(error))
        return finished_set(self, root, groups, problems)


def _fits(folder: Path, names: Sequence[str]) -> bool:
    return any("pair" in name.lower() and _is_list(folder / name) for name in names)


def _is_list(path: Path) -> bool:
    """Whether the first two words of a text are names of pictures."""
    if path.suffix.lower() not in _ENDINGS or not path.is_file():
        return False
    words = first_line(path).split()
    return len(words) > 1 and all(map(is_picture, words[:2]))


@dataclass(eq=False)
class _List:
    """A list with what is known beside it.

    Attributes:
        path: the list.
        before: the subset with a slash, as names of groups begin; "" for none.
        faults: how often each reason for leaving a pair out occurred.
        bare: how often each reason for keeping a pair without true places occurred.
    """

    path: Path
    before: str
    faults: Counter[str] = field(default_factory=Counter)
    bare: Counter[str] = field(default_factory=Counter)
    _sizes: dict[Path, Size] = field(default_factory=dict)

    def groups(self, problems: list[str]) -> list[PairGroup]:
        """The pairs, by the folders of their first images.

        Raises:
            DatasetError: the list cannot be read.
        """
        text = read_input(self.path, DatasetError).decode(errors="replace")
        lines = (line.partition("#")[0].split() for line in text.splitlines())
        rows = [words for words in lines if words]
        views = self._views(problems)
        depths = self._depths() if views else {}
        base = self._base(rows)
        pairs: dict[str, list[ImagePair]] = {}
        for words in rows:
            if len(words) < 2:
                self.faults["their lines hold one word"] += 1
                continue
            names = (words[0], words[1])
            a, b = (base / name for name in names)
            if not (is_file_there(a) and is_file_there(b)):
                self.faults["an image is missing"] += 1
                continue
            truth = self._by_views(names, views, depths) or self._by_numbers((a, b), words[2:])
            group = self.before + self._group(names[0])
            found = pairs.setdefault(group, [])
            name = f"{group} {a.stem} → {b.stem}"
            found.append(ImagePair(a, b, truth, name, sequence=group, index=len(found) + 1))
        problems += left_out(self.path.name, "pair", self.faults)
        for reason, count in self.bare.items():
            counted = "1 pair has" if count == 1 else f"{count} pairs have"
            problems.append(f"{self.path.name}: {counted} no true places, because {reason}.")
        subset = self.before.removesuffix("/")
        return [PairGroup(group, tuple(found), subset) for group, found in pairs.items()]

    def _base(self, rows: Sequence[Sequence[str]]) -> Path:
        """The folder from which the list names its images."""
        folder = self.path.parent
        bases = (folder, folder / _IMAGES, folder.parent, folder.parent / _IMAGES)
        for words in rows[:_TRIED]:
            for base in bases:
                if len(words) > 1 and all(is_file_there(base / name) for name in words[:2]):
                    return base
        return folder

    def _group(self, first: str) -> str:
        """The folder of the first image, else what the list's folder is called."""
        parts = [part for part in PurePosixPath(first).parent.parts if part != _IMAGES]
        return "/".join(parts) or self.path.resolve().parent.name

    def _views(self, problems: list[str]) -> Mapping[str, Camera]:
        """The cameras of a list of views beside the list."""
        path = self.path.parent / _VIEWS
        if not path.is_file():
            return {}
        try:
            return read_views(path)
        except TruthError as error:
            problems.append(str(error))
            return {}

    def _depths(self) -> Mapping[str, Path]:
        """Depth maps beside the list, by their paths in their folder without the ending."""
        for name in _DEPTHS:
            folder = self.path.parent / name
            if folder.is_dir():
                return {
                    path.relative_to(folder).with_suffix("").as_posix(): path
                    for path in sorted(folder.rglob("*"))
                    if path.suffix.lower() in _DEPTH_ENDINGS
                }
        return {}

    def _by_views(
        self, names: tuple[str, str], views: Mapping[str, Camera], depths: Mapping[str, Path]
    ) -> TruthSource | None:
        if not views:
            return None
        if any(name not in views for name in names):
            self.bare[f"{_VIEWS} lacks an image"] += 1
            return None
        maps = [depths.get(PurePosixPath(name).with_suffix("").as_posix()) for name in names]
        if depths and None in maps:
            self.bare["a depth map is missing"] += 1
        whole = any(one is not None and one.suffix.lower() == ".png" for one in maps)
        return DepthSource(
            maps[0],
            maps[1],
            views[names[0]],
            views[names[1]],
            factor=_PNG_PER_UNIT if whole else None,
        )

    def _by_numbers(self, images: tuple[Path, Path], words: Sequence[str]) -> TruthSource | None:
        """What the numbers of a line say; None where they say nothing of places."""
        if len(words) <= _TURNS:
            return None
        try:
            numbers = np.array([read_number(word) for word in words])
        except ValueError:
            self.bare["a word stands among their numbers"] += 1
            return None
        poses = (_ROTATION_AND_SHIFT, _SQUARE)
        try:
            if len(numbers) == _MATRIX:
                matrix = check_homography(numbers.reshape(3, 3), self.path)
                return HomographySource.of(normalise(matrix))
            if len(numbers) - 2 * _MATRIX in poses:
                return self._posed(images, numbers, CORNER_PX)
            if len(numbers) == _TURNS + 2 * _MATRIX + _SQUARE:
                return self._posed(images, numbers[_TURNS:], 0.0)
        except (FileError, ValueError) as error:
            reason = error.reason if isinstance(error, FileError) else str(error)
            self.bare[f"their numbers are no truth ({reason})"] += 1
            return None
        self.bare[f"what {len(numbers)} numbers mean is not known"] += 1
        return None

    def _posed(self, images: tuple[Path, Path], numbers: Matrix, corner_px: float) -> TruthSource:
        """Both cameras; the first one's coordinates are the world's.

        Args:
            images: both files, whose sizes the cameras have.
            numbers: two matrices of nine numbers, and a pose.
            corner_px: where the list has (0, 0) less where the program has it.

        Raises:
            ValueError: a matrix is no camera, or the pose no motion.
            ImageError: the size of an image cannot be read.
        """
        pose = numbers[2 * _MATRIX :]
        if len(pose) == _SQUARE:
            motion = pose.reshape(4, 4)[:3]
        else:
            motion = np.column_stack([pose[:9].reshape(3, 3), pose[9:]])
        cameras = []
        for place, image, moved in zip((0, _MATRIX), images, (np.eye(3, 4), motion), strict=True):
            matrix = numbers[place : place + _MATRIX].reshape(3, 3).copy()
            matrix[:2, 2] -= corner_px
            if image not in self._sizes:
                self._sizes[image] = read_size(image)
            cameras.append(Camera.pinhole(matrix, moved, self._sizes[image]))
        return DepthSource(None, None, cameras[0], cameras[1])
