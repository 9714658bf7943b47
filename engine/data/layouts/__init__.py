"""The layouts of sets of pairs that are understood, and how one is recognised.

A new layout is a module of this package and a line in ``_READERS``.  Which one a folder or file
has is recognised by the names in it; where several fit, the first one of the table is used and
that is said.  ``WORD:PATH`` asks for a layout by its word, as in ``hpatches:photos``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from engine.data.layouts.building import usable_names
from engine.data.layouts.colmap import ColmapReader
from engine.data.layouts.evd import EvdReader
from engine.data.layouts.homogr import HomogrReader
from engine.data.layouts.hpatches import HPatchesReader
from engine.data.layouts.imc import ImcReader
from engine.data.layouts.kitti import KittiReader
from engine.data.layouts.manifest import ManifestReader
from engine.data.layouts.middlebury import MiddleburyReader
from engine.data.layouts.pair_list import PairListReader
from engine.data.layouts.proposal_flow import ProposalFlowReader
from engine.data.layouts.spair import SPairReader
from engine.data.layouts.tss import TssReader
from engine.data.layouts.two_images import TwoImagesReader
from engine.data.layouts.wxbs import WxbsReader
from engine.data.pair_set import PairSet, PairSetReader
from engine.errors import ConfigError, DatasetError, printable, quoted
from engine.files import named_path

_READERS: Final[tuple[PairSetReader, ...]] = (
    # The first one that fits is used, so a layout that asks for more comes earlier.
    HPatchesReader(),
    HomogrReader(),
    EvdReader(),
    WxbsReader(),
    MiddleburyReader(),
    KittiReader(),
    SPairReader(),
    ProposalFlowReader(),
    TssReader(),
    ImcReader(),
    ManifestReader(),
    PairListReader(),
    ColmapReader(),
)
_PLAIN: Final[PairSetReader] = TwoImagesReader()
"""Fits many folders, and is used only where no other reader fits."""


def readers() -> tuple[PairSetReader, ...]:
    """The readers of all layouts, in the order in which they are tried."""
    return (*_READERS, _PLAIN)


def group_word(layout: str) -> str:
    """What users call a group of a layout's sets.

    Args:
        layout: what users call the layout; of one that is not known, groups are "groups".
    """
    return next((one.group for one in readers() if one.layout == layout), "group")


def split_layout(text: str) -> tuple[str, str]:
    """The layout and the path in ``WORD:PATH``; the layout is "" where none is asked for."""
    word, colon, path = text.partition(":")
    asked = bool(colon) and any(word == reader.word for reader in readers())
    return (word, path) if asked else ("", text)


def fitting_readers(path: Path) -> tuple[PairSetReader, ...]:
    """The readers whose layout a folder or file seems to have, best first; there may be none.

    Raises:
        DatasetError: it does not exist, or cannot be looked into.
    """
    root = named_path(path, DatasetError)
    if not root.exists():
        raise DatasetError(root, "does not exist")
    fitting = tuple(reader for reader in _READERS if reader.recognises(root))
    return fitting or ((_PLAIN,) if _PLAIN.recognises(root) else ())


def open_pair_set(path: Path, layout: str = "") -> PairSet:
    """Read a set of pairs.

    Args:
        path: its folder or file.
        layout: the word of its layout; "" to recognise it.

    Returns:
        The set.  Where several layouts fit, a problem says which one was used and how to ask for
        the others.

    Raises:
        ConfigError: no layout has this word.
        DatasetError: no layout fits, or nothing in it is usable; the message says why.
    """
    root = named_path(path, DatasetError)
    if layout:
        return replace(_read(_reader(layout), root), opened=f"{layout}:{root.absolute()}")
    fitting = fitting_readers(path)
    if not fitting:
        known = ", ".join(f"{reader.layout} ({reader.word})" for reader in readers())
        raise DatasetError(
            root,
            f"has none of the layouts that are understood: {known}; named with its word, as in "
            f"{_READERS[0].word}:{root}, a layout says what it looks for",
        )
    used, *others = fitting
    found = replace(_read(used, root), opened=str(root.absolute()))
    if not others:
        return found
    asked = " or ".join(f"{other.word}:{root} for {other.layout}" for other in others)
    choice = f"{root}: is read as {used.layout}; name it {asked}."
    return replace(found, problems=(choice, *found.problems), choices=(choice, *found.choices))


def open_named_set(text: str) -> PairSet:
    """Read the set that a path means, with ``WORD:`` before it to ask for a layout.

    Raises:
        ConfigError, DatasetError: as :func:`open_pair_set`.
    """
    layout, path = split_layout(text)
    return open_pair_set(Path(path), layout)


def _read(reader: PairSetReader, root: Path) -> PairSet:
    """The set; control characters are shown as escapes in its sentences and names."""
    found = reader.read(root)
    groups, changed = usable_names(found.groups)
    problems, choices = (tuple(map(printable, one)) for one in (found.problems, found.choices))
    return replace(found, groups=groups, problems=(*changed, *problems), choices=choices)


def _reader(word: str) -> PairSetReader:
    for reader in readers():
        if reader.word == word:
            return reader
    known = ", ".join(reader.word for reader in readers())
    raise ConfigError("layout", f"there is no {quoted(word)}; known are {known}")
