"""What an evaluation runs on: from the name of a data set to the list of its pairs.

A name is a folder, ``demo``, one of the original's words (``HPATCHES``, ``HPATCHES_ILLUM``,
``HPATCHES_VIEW``, looked up in the data folder), or any of these behind ``rotated:`` or
``scaled:``.  Nothing here imports torch or decodes a picture.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from engine.config import typed_path
from engine.data.hpatches import Dataset, open_dataset, subset
from engine.data.pairs import ImagePair
from engine.errors import ConfigError, DatasetError, DescSpaceError, quoted
from engine.evaluation.stress import STRESS_KINDS, Stress, StressKind, choose_stress
from engine.paths import user_data_dir
from engine.progress import JobContext, tell_choice
from engine.truth.base import Size, Truth, TruthSource, open_truth
from engine.truth.moved import moved_truth
from engine.vocabulary import TruthKind, truth_words

EvaluationSubset = Literal["all", "viewpoint", "illumination", "540"]

LARGE_SEQUENCES: Final = frozenset(
    {
        *("i_contruction", "i_crownnight", "i_dc", "i_pencils", "i_whitebuilding"),
        *("v_artisans", "v_astronautis", "v_talent"),
    }
)
"""The eight sequences with large images that D2-Net (M. Dusmanu and others, CVPR 2019) left out;
what is left are the 540 pairs that many papers evaluate on."""

DATA_VARIABLE: Final = "DESCGUI_DATA"
_HPATCHES: Final[dict[str, EvaluationSubset]] = {
    "HPATCHES": "all",
    "HPATCHES_ILLUM": "illumination",
    "HPATCHES_VIEW": "viewpoint",
}
_HPATCHES_FOLDERS: Final = (
    *("hpatches-sequences-release", "hpatches", "HPatches", "HPATCHES"),
    *("hpatches_sequences", "sequences"),
)


@dataclass(frozen=True, slots=True)
class EvaluationPair:
    """A pair with its ground truth.

    Attributes:
        pair: the files, and the truth between them as they are on disk.
        stress: how image b is changed after reading, None for not at all.
    """

    pair: ImagePair
    stress: Stress | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What no other pair shares: the sequence and the number of the second image."""
        return self.pair.sequence, self.pair.index

    @property
    def source(self) -> TruthSource:
        """What the truth is known from, before any change of image b."""
        assert self.pair.truth is not None, "an evaluation knows the truth of every pair"
        return self.pair.truth

    def open_truth(self, size_a_px: Size, size_b_px: Size) -> Truth:
        """The truth in original pixels, with image b as it is evaluated.

        Args:
            size_a_px: (width, height) of the original image a.
            size_b_px: likewise of image b.

        Raises:
            DescSpaceError: a file of the truth cannot be read, or does not fit the images.
        """
        truth = open_truth(self.source, size_a_px, size_b_px)
        return truth if self.stress is None else moved_truth(truth, self.stress.matrix(size_b_px))


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """All pairs of an evaluation.

    Attributes:
        name: last part of the folder's path, with ``rotated:`` or ``scaled:`` before it.
        root: the folder.
        subset: what was chosen of it.
        sequences: the pairs of each sequence, which share their first image, at least one; in
            natural order of the sequences' names.
        problems: a sentence for everything that was left out when the folder was opened.
    """

    name: str
    root: Path
    subset: EvaluationSubset
    sequences: tuple[tuple[EvaluationPair, ...], ...]
    problems: tuple[str, ...]

    @property
    def pair_count(self) -> int:
        """How many pairs there are."""
        return sum(map(len, self.sequences))

    @property
    def pairs_sha256(self) -> str:
        """A hash of the list of pairs: names, numbers, truths as read, and the change."""
        digest = hashlib.sha256()
        for one in itertools.chain.from_iterable(self.sequences):
            try:
                truth = one.source.identity()
            except DescSpaceError:  # the pair will be left out, and that is told with the reason
                truth = "cannot be read"
            change = self.name.partition(":")[0] if one.stress else "as it is"
            digest.update(f"{one.pair.sequence} {one.pair.index} {truth} {change}\n".encode())
        return digest.hexdigest()

    @property
    def kinds(self) -> tuple[TruthKind, ...]:
        """What the truths are known from, in alphabetical order."""
        pairs = itertools.chain.from_iterable(self.sequences)
        return tuple(sorted({one.source.kind for one in pairs}))

    @property
    def truths(self) -> tuple[str, ...]:
        """The same, and who made those that the data set did not give, as fingerprints have it."""
        pairs = itertools.chain.from_iterable(self.sequences)
        known = {(one.source.kind, one.source.origin) for one in pairs}
        if known == {("homography", "given")}:
            return ()
        return tuple(truth_words(kind, origin) for kind, origin in sorted(known))


def open_evaluation_set(
    name: str,
    *,
    which: EvaluationSubset = "all",
    data_folder: Path | None = None,
    context: JobContext | None = None,
) -> EvaluationSet:
    """Find the pairs that a name means.

    Args:
        name: see the top of this module.
        which: ``540`` leaves the eight large sequences of HPatches out; with ``HPATCHES_ILLUM``
            and ``HPATCHES_VIEW`` anything but their own kind is refused.
        data_folder: where ``HPATCHES`` is looked for; see :func:`find_data_folder`.
        context: receives the progress while the demo is made.

    Raises:
        ConfigError: no name, or a subset that contradicts it.
        DatasetError: nothing is there, or nothing that fits the subset.
    """
    stress, plain = _split_stress(name)
    if plain in _HPATCHES and _HPATCHES[plain] != "all":
        if which not in ("all", _HPATCHES[plain]):
            raise ConfigError("subset", f"{quoted(which)} does not go with the data set {plain}")
        which = _HPATCHES[plain]
    root = _find_root(plain, data_folder, context)
    dataset = _choose(open_dataset(root), which)
    if not dataset.sequences:
        raise DatasetError(root, f"holds no sequence of the subset {quoted(which)}")
    word = root.resolve().name
    return EvaluationSet(
        name=f"{stress}:{word}" if stress else word,
        root=root,
        subset=which,
        sequences=tuple(
            tuple(
                EvaluationPair(
                    pair, choose_stress(stress, pair.sequence, pair.index) if stress else None
                )
                for pair in sequence.pairs()
            )
            for sequence in dataset.sequences
        ),
        problems=dataset.problems,
    )


def find_data_folder(named: Path | None = None) -> Path:
    """The folder of data sets: the named one, else ``DESCGUI_DATA``, else the user's own."""
    variable = os.environ.get(DATA_VARIABLE)
    return named or (Path(variable) if variable else user_data_dir())


def _split_stress(name: str) -> tuple[StressKind | None, str]:
    word, colon, rest = name.strip().partition(":")
    kind = next((kind for kind in STRESS_KINDS if colon and kind == word), None)
    name = rest if kind else name
    if not name.strip():
        raise ConfigError("dataset", "is not named; name a folder of sequences, or 'demo'")
    return kind, name.strip()


def _find_root(name: str, data_folder: Path | None, context: JobContext | None) -> Path:
    if name == "demo":
        # With OpenCV it takes 50 ms to load, and the window reads this module before it is painted.
        from engine.data.demo import demo_dataset

        return demo_dataset(context)
    if name not in _HPATCHES:
        return typed_path(name, "dataset")
    folder = find_data_folder(data_folder)
    found = [folder / name for name in _HPATCHES_FOLDERS if (folder / name).is_dir()]
    if found:
        others = [other.name for other in found[1:] if not other.samefile(found[0])]
        if others:
            tell_choice(f"{found[0]} is taken for {name}, not {', '.join(others)} beside it.")
        return found[0]
    raise DatasetError(
        folder,
        f"holds no HPatches (looked for {', '.join(_HPATCHES_FOLDERS)}); name the folder with "
        f"--data or {DATA_VARIABLE}, or the sequences themselves with --dataset",
    )


def _choose(dataset: Dataset, which: EvaluationSubset) -> Dataset:
    if which != "540":
        return subset(dataset, which)
    kept = tuple(s for s in dataset.sequences if s.folder.name not in LARGE_SEQUENCES)
    return Dataset(dataset.root, kept, dataset.problems)
