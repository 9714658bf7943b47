"""From what the user names (two images, or a sequence and a number) to a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError, DatasetError, ImageError
from engine.progress import tell_choice

if TYPE_CHECKING:
    from engine.data.pairs import ImagePair
    from engine.imagefiles.value_range import ValueRange
    from engine.truth.base import TruthSource


def check_images(
    images: Sequence[Path],
    *,
    pair_index: int | None,
    homography: Path | None,
    truth: str | None = None,
) -> None:
    """Check whether the names can mean a pair, before anything is loaded.

    Raises:
        ConfigError: a wrong number of names, or options that do not go with them.
        DatasetError: one name that is no folder.
        ImageError: two names of which one is no file.
    """
    if homography is not None and truth is not None:
        raise ConfigError("truth", "does not go with --homography, which gives the truth as well")
    if len(images) == 1:
        folder = images[0]
        if not folder.exists():
            raise DatasetError(folder, "there is no such folder")
        if not folder.is_dir():
            raise DatasetError(folder, "one image alone is no pair; name a second one")
        for name, given in (("homography", homography), ("truth", truth)):
            if given is not None:
                reason = "a sequence brings its own; give it with two images only"
                raise ConfigError(name, reason)
        return
    if len(images) != 2:
        raise ConfigError(
            "images", f"two images or one sequence are needed, {len(images)} were named"
        )
    if pair_index is not None:
        raise ConfigError("pair", "is the number of an image in a sequence, not of two images")
    for path in images:
        if path.is_dir():
            raise ImageError(path, "is a folder; name it alone to open a sequence")
        if not path.exists():
            raise ImageError(path, "there is no such file")


def open_pair(
    images: Sequence[Path],
    *,
    pair_index: int | None = None,
    homography: Path | None = None,
    truth: str | None = None,
    ranges: tuple[ValueRange | None, ValueRange | None] = (None, None),
) -> ImagePair:
    """Open the pair that was named.

    Args:
        images: two image files, or one folder that holds a sequence or just two pictures.
        pair_index: of a sequence: number of the second image; None for the first pair.
        homography: of two images: file with ``h_b_from_a``.
        truth: of two images: files with any truth, as :func:`read_truth` takes them.
        ranges: which values of each file are black and white.

    Raises:
        DescSpaceError: as :func:`check_images`; the folder holds no sequence or several; the
            truth cannot be used; the sequence has no such pair.
    """
    check_images(images, pair_index=pair_index, homography=homography, truth=truth)
    if len(images) == 1:
        pair = _sequence_pair(images[0], pair_index)
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


def _sequence_pair(folder: Path, index: int | None) -> ImagePair:
    from engine.data.hpatches import open_dataset, pair_from_folder

    try:
        dataset = open_dataset(folder)
    except DatasetError as fault:
        if index is not None:
            raise
        try:
            return pair_from_folder(folder)
        except DatasetError:
            raise fault from None  # why it is no sequence is more helpful
    if len(dataset.sequences) > 1:
        names = ", ".join(sequence.name for sequence in dataset.sequences[:6])
        more = ", …" if len(dataset.sequences) > 6 else ""
        raise DatasetError(
            folder, f"holds {len(dataset.sequences)} sequences; name one of them: {names}{more}"
        )
    (sequence,) = dataset.sequences
    for choice in sequence.choices:
        tell_choice(choice)
    return sequence.pairs()[0] if index is None else sequence.pair(index)
