"""From what the user names (two images, or a set of pairs and which one) to a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.errors import ConfigError, DatasetError, ImageError
from engine.progress import tell_choice
from engine.vocabulary import plural

if TYPE_CHECKING:
    from engine.data.pairs import ImagePair
    from engine.imagefiles.value_range import ValueRange
    from engine.truth.base import TruthSource

_NAMED_GROUPS: Final = 6


def check_images(
    images: Sequence[Path],
    *,
    group: str | None = None,
    pair_index: int | None = None,
    homography: Path | None = None,
    truth: str | None = None,
) -> None:
    """Check whether the names can mean a pair, before anything is loaded.

    Raises:
        ConfigError: a wrong number of names, or options that do not go with them.
        DatasetError: one name that is no set of pairs.
        ImageError: two names of which one is no file.
    """
    if homography is not None and truth is not None:
        raise ConfigError("truth", "does not go with --homography, which gives the truth as well")
    if len(images) == 1:
        from engine.data.folders import is_picture
        from engine.data.layouts import split_layout

        path = Path(split_layout(str(images[0]))[1])
        if not path.exists():
            raise DatasetError(path, "there is no such folder or file")
        if path.is_file() and is_picture(path.name):
            raise DatasetError(path, "one image alone is no pair; name a second one")
        for name, given in (("homography", homography), ("truth", truth)):
            if given is not None:
                raise ConfigError(name, "a set of pairs brings its own; give it with two images")
        return
    if len(images) != 2:
        raise ConfigError(
            "images", f"two images or one set of pairs are needed, {len(images)} were named"
        )
    if pair_index is not None:
        raise ConfigError("pair", "is the number of a pair in a set, not of two images")
    if group is not None:
        raise ConfigError("group", "is the name of a group in a set, not of two images")
    for path in images:
        if path.is_dir():
            raise ImageError(path, "is a folder; name it alone to open a set of pairs")
        if not path.exists():
            raise ImageError(path, "there is no such file")


def open_pair(
    images: Sequence[Path],
    *,
    group: str | None = None,
    pair_index: int | None = None,
    homography: Path | None = None,
    truth: str | None = None,
    ranges: tuple[ValueRange | None, ValueRange | None] = (None, None),
) -> ImagePair:
    """Open the pair that was named.

    Args:
        images: two image files, or one folder or file with pairs, ``WORD:PATH`` for its layout.
        group: of a set: the group's name; None for the only one.
        pair_index: of a group: the pair's number; None for the first one.
        homography: of two images: file with ``h_b_from_a``.
        truth: of two images: files with any truth, as :func:`read_truth` takes them.
        ranges: which values of each file are black and white.

    Raises:
        DescSpaceError: as :func:`check_images`; the set has no such pair, or several groups and
            none is named; the truth cannot be used.
    """
    check_images(images, group=group, pair_index=pair_index, homography=homography, truth=truth)
    if len(images) == 1:
        pair = _pair_of_set(images[0], group, pair_index)
        return replace(pair, range_a=ranges[0], range_b=ranges[1])
    from engine.data.pairs import ImagePair
    from engine.images import read_size

    source = read_truth((images[0], images[1]), homography, truth)
    name = f"{images[0].name} → {images[1].name}"
    range_a, range_b = ranges
    pair = ImagePair(images[0], images[1], source, name=name, range_a=range_a, range_b=range_b)
    if source is not None:  # now, not after minutes of work
        pair.open_truth(read_size(pair.path_a), read_size(pair.path_b))
    return pair


def read_truth(
    images: tuple[Path, Path], homography: Path | None, truth: str | None
) -> TruthSource | None:
    """The truth of two images that was named in one of two ways; None where none was.

    Args:
        images: the files.
        homography: file with ``h_b_from_a``.
        truth: as :func:`engine.truth.named.named_truth` takes it.

    Raises:
        FileError: a file is missing or unusable.
    """
    from engine.truth.homography import HomographySource
    from engine.truth.named import named_truth

    if homography is not None:
        return HomographySource.read(homography)
    return None if truth is None else named_truth(truth, Path(), images)


def _pair_of_set(named: Path, name: str | None, index: int | None) -> ImagePair:
    from engine.data.layouts import group_word, open_named_set

    found = open_named_set(str(named))
    if name is None and len(found.groups) > 1:
        names = ", ".join(group.name for group in found.groups[:_NAMED_GROUPS])
        more = ", …" if len(found.groups) > _NAMED_GROUPS else ""
        raise DatasetError(
            found.root,
            f"holds {len(found.groups)} {plural(group_word(found.layout))}; name one with --group: "
            f"{names}{more}",
        )
    group = found.groups[0] if name is None else found.group(name)
    for choice in (*found.choices, *group.choices):
        tell_choice(choice)
    return group.pairs[0] if index is None else found.pair(group.name, index)
