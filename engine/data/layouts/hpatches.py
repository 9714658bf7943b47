"""The layout of HPatches, as :mod:`engine.data.hpatches` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.data.hpatches import holds_sequences, open_dataset
from engine.data.pair_set import PairGroup, PairSet


class HPatchesReader:
    """Reads folders of numbered images of one plane, with homographies from the first one."""

    word: Final = "hpatches"
    layout: Final = "HPatches sequences"
    expected: Final = "images 1, 2, … and a file H_1_k for each further image k, in folders"

    def recognises(self, root: Path) -> bool:
        """Whether a folder is or holds a sequence, up to six levels down."""
        return root.is_dir() and holds_sequences(root)

    def read(self, root: Path) -> PairSet:
        """A group for each sequence.

        Raises:
            DatasetError: nothing in it is usable; the message says why.
        """
        dataset = open_dataset(root)
        groups = tuple(
            PairGroup(
                name=one.name,
                pairs=one.pairs(),
                subset="" if one.kind == "other" else one.kind,
                problems=one.problems,
                choices=one.choices,
            )
            for one in dataset.sequences
        )
        return PairSet(dataset.root, self.layout, groups, dataset.problems)
