"""What an evaluation runs on: from the name of a data set to the list of its pairs.

A name is a folder or file of any layout of :mod:`engine.data.layouts` (``WORD:PATH`` to ask for
one), ``demo``, one of the original's words (``HPATCHES``, ``HPATCHES_ILLUM``, ``HPATCHES_VIEW``,
looked up in the data folder), or any of these behind ``rotated:`` or ``scaled:``.  Nothing here
imports torch or decodes a picture.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

from engine.config import typed_path
from engine.data.layouts import open_pair_set, split_layout
from engine.data.layouts.hpatches import HPatchesReader
from engine.data.pair_set import WHOLE_SET, PairSet
from engine.data.pairs import ImagePair
from engine.errors import ConfigError, DatasetError, DescSpaceError, quoted
from engine.evaluation.stress import STRESS_KINDS, Stress, StressKind, choose_stress
from engine.paths import user_data_dir
from engine.progress import JobContext, tell_choice
from engine.truth.base import Size, Truth, TruthSource, open_truth
from engine.truth.moved import moved_truth
from engine.vocabulary import WITHOUT_LARGE, TruthKind, some_of, truth_words

ALL: Final = WHOLE_SET
"""The subset of all pairs."""

LARGE_SEQUENCES: Final = frozenset(
    {
        *("i_contruction", "i_crownnight", "i_dc", "i_pencils", "i_whitebuilding"),
        *("v_artisans", "v_astronautis", "v_talent"),
    }
)
"""The eight sequences with large images that D2-Net (M. Dusmanu and others, CVPR 2019) left out;
what is left are the 540 pairs that many papers evaluate on."""

DATA_VARIABLE: Final = "DESCGUI_DATA"
_HPATCHES: Final = {
    "HPATCHES": ALL,
    "HPATCHES_ILLUM": "illumination",
    "HPATCHES_VIEW": "viewpoint",
}
_NAMED_GROUPS: Final = 3  # more are counted where the part of a set is named
_HPATCHES_FOLDERS: Final = (
    *("hpatches-sequences-release", "hpatches", "HPatches", "HPATCHES"),
    *("hpatches_sequences", "sequences"),
)


@dataclass(frozen=True, slots=True)
class EvaluationPair:
    """A pair with its ground truth.

    Attributes:
        pair: the files, and the truth between them as they are on disk.
        subset: the part of the set that it belongs to, "" for none.
        stress: how image b is changed after reading, None for not at all.
    """

    pair: ImagePair
    subset: str = ""
    stress: Stress | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What no other pair shares: its group, and its number in it."""
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
        name: last part of its path, with ``rotated:`` or ``scaled:`` before it.
        root: the folder, or the one of the file, that its images are in or near.
        layout: what users call its layout.
        opened: what opens it again: its absolute path, behind ``WORD:`` if the layout was asked
            for.
        subset: what was chosen of it.
        group_names: all groups of that subset, also those that were not chosen.
        groups: the pairs of each group, at least one; in natural order of the groups' names.
        problems: a sentence for everything that was left out when it was opened.
    """

    name: str
    root: Path
    layout: str
    opened: str
    subset: str
    group_names: tuple[str, ...]
    groups: tuple[tuple[EvaluationPair, ...], ...]
    problems: tuple[str, ...]

    @property
    def pair_count(self) -> int:
        """How many pairs there are."""
        return sum(map(len, self.groups))

    def pairs(self) -> Iterator[EvaluationPair]:
        """All pairs, group by group."""
        return itertools.chain.from_iterable(self.groups)

    @property
    def pairs_sha256(self) -> str:
        """A hash of the list of pairs: names, numbers, truths as read, and the change."""
        digest = hashlib.sha256()
        for one in self.pairs():
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
        return tuple(sorted({one.source.kind for one in self.pairs()}))

    @property
    def truths(self) -> tuple[str, ...]:
        """The same, and who made those that the data set did not give, as fingerprints have it."""
        known = {(one.source.kind, one.source.origin) for one in self.pairs()}
        if known == {("homography", "given")}:
            return ()
        return tuple(truth_words(kind, origin) for kind, origin in sorted(known))


def open_evaluation_set(
    name: str,
    *,
    which: str = ALL,
    only: Collection[str] = (),
    data_folder: Path | None = None,
    context: JobContext | None = None,
) -> EvaluationSet:
    """Find the pairs that a name means.

    Args:
        name: see the top of this module.
        which: a subset that the set names (kinds, classes), or ``all``; ``540`` leaves the eight
            large sequences of HPatches out; with ``HPATCHES_ILLUM`` and ``HPATCHES_VIEW``
            anything but their own kind is refused.
        only: names of groups; empty for all of them.
        data_folder: where ``HPATCHES`` is looked for; see :func:`find_data_folder`.
        context: receives the progress while the demo is made.

    Raises:
        ConfigError: no name, a subset that contradicts it, or a group that is not there.
        DatasetError: nothing is there, nothing that fits the subset, or no pair whose truth is
            known.
    """
    stress, plain = _split_stress(name)
    if plain in _HPATCHES and _HPATCHES[plain] != ALL:
        if which not in (ALL, _HPATCHES[plain]):
            raise ConfigError("subset", f"{quoted(which)} does not go with the data set {plain}")
        which = _HPATCHES[plain]
    found = _open(plain, data_folder, context)
    root = found.root if found.root.is_dir() else found.root.parent
    word = found.root.resolve().name
    pairs = [(pair, group.subset) for group in _choose(found, which).groups for pair in group.pairs]
    known = [(pair, subset) for pair, subset in pairs if pair.truth is not None]
    if not known:
        raise DatasetError(found.root, "knows the truth of none of these pairs")
    names = tuple(dict.fromkeys(pair.sequence for pair, _ in known))
    chosen = _choose_groups(names, only)
    kept = frozenset(chosen)
    problems = found.problems
    if unknown := len(pairs) - len(known):
        were = "pair, whose truth is unknown, is" if unknown == 1 else "pairs without truth are"
        problems = (*problems, f"{found.root}: {unknown} {were} left out.")
    ready = (
        EvaluationPair(
            pair, subset, choose_stress(stress, pair.sequence, pair.index) if stress else None
        )
        for pair, subset in known
        if pair.sequence in kept
    )
    groups = itertools.groupby(ready, key=lambda one: one.pair.sequence)
    return EvaluationSet(
        name=f"{stress}:{word}" if stress else word,
        root=root,
        layout=found.layout,
        opened=found.opened,
        subset=_part_title(which, chosen, names),
        group_names=names,
        groups=tuple(tuple(group) for _, group in groups),
        problems=problems,
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
        raise ConfigError("dataset", "is not named; name a folder or file with pairs, or 'demo'")
    return kind, name.strip()


def _open(name: str, data_folder: Path | None, context: JobContext | None) -> PairSet:
    if name == "demo":
        # With OpenCV it takes 50 ms to load, and the window reads this module before it is painted.
        from engine.data.demo import demo_dataset

        return open_pair_set(demo_dataset(context), HPatchesReader.word)
    if name in _HPATCHES:
        return open_pair_set(_find_hpatches(name, data_folder), HPatchesReader.word)
    layout, path = split_layout(name)
    return open_pair_set(typed_path(path, "dataset"), layout)


def _find_hpatches(name: str, data_folder: Path | None) -> Path:
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


def _choose(found: PairSet, which: str) -> PairSet:
    """The part of a set that was asked for, never empty."""
    if which == ALL:
        return found
    is_hpatches = found.layout == HPatchesReader.layout
    if is_hpatches and which == WITHOUT_LARGE:
        kept = [one for one in found.groups if PurePath(one.name).name not in LARGE_SEQUENCES]
        part = replace(found, groups=tuple(kept))
    else:
        part = found.only(which)
    if not part.groups:
        parts = [*found.subsets, *([WITHOUT_LARGE] if is_hpatches else [])]
        known = f"its subsets are {', '.join(parts)}" if parts else "it has no subsets"
        raise DatasetError(found.root, f"has no pair of the subset {quoted(which)}; {known}")
    return part


def _choose_groups(names: Sequence[str], only: Collection[str]) -> Sequence[str]:
    """The groups that were asked for, in the order of the set."""
    there, wanted = frozenset(names), frozenset(only)
    missing = next((name for name in only if name not in there), None)
    if missing is not None:
        near = difflib.get_close_matches(missing, names, n=1)
        few = some_of([quoted(name) for name in names], most=_NAMED_GROUPS)
        hint = f"did you mean {quoted(near[0])}?" if near else f"it has {few}"
        raise ConfigError("group", f"{quoted(missing)} is no group of the set; {hint}")
    return [name for name in names if not wanted or name in wanted]


def _part_title(which: str, chosen: Sequence[str], names: Sequence[str]) -> str:
    """The part of a set, as fingerprints name it; the hash of the pairs tells parts apart."""
    if len(chosen) == len(names):
        return which
    few = len(chosen) <= _NAMED_GROUPS
    words = ", ".join(chosen) if few else f"{len(chosen)} of {len(names)} groups"
    return words if which == ALL else f"{which}, {words}"
