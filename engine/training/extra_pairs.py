"""Pairs with known truth that a training learns from, beside those made of photos.

They are the pairs of any set that an evaluation can be made on, or the worst ones of an evaluation.
A pair is brought to the size that it is measured at.  The training images are windows cut out of
both images around a place that both show, so their scale and viewpoints are those of the pair; only
the light is changed, as in all training pairs.

Which pair and which windows a number means follows from the number and the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.config import typed_path
from engine.data.layouts import group_word, split_layout
from engine.data.photos import shuffled
from engine.data.synthetic import TrainingPairs, change_light
from engine.data.synthetic_recipe import LightRecipe
from engine.errors import ConfigError, DatasetError, DescSpaceError, ImageError
from engine.evaluation.comparison import merge_results
from engine.evaluation.datasets import EvaluationPair, EvaluationSet, open_evaluation_set
from engine.evaluation.learned import (
    Marks,
    groups_with,
    mark_image,
)
from engine.evaluation.points import check_unchanged, has_points, read_points
from engine.evaluation.protocols import measured_resize
from engine.evaluation.report_statistics import Statistics
from engine.evaluation.result import RESULT_FILE, EvaluationResult, read_result
from engine.evaluation.stress import STRESS_KINDS
from engine.geometry.coords import inside
from engine.imagefiles.value_range import ValueRange, check_value_range
from engine.images import as_uint8, read_image, resize_pixels
from engine.progress import JobContext, Note
from engine.seeding import Draws, hash_numbers, purpose_number
from engine.training.kept import KeptReader
from engine.training.settings import ExtraSettings
from engine.truth.base import Size, Truth
from engine.vocabulary import counted, some_of

Pixels = NDArray[np.uint8]
Points = NDArray[np.float32]

_LONG_EDGE_PX: Final = 640  # as an evaluation measures by default
_POOL: Final = 16_384  # places of a pair that are known to be seen, at most
_POOL_ROUNDS: Final = 8
_MARGIN: Final = 0.25  # the place a window is cut out around is not nearer to its edges
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ExtraPairs:
    """The pairs that a training also learns from.

    Attributes:
        title: what they are, for the user to read.
        pairs: at least one, each with truth.
        reported: the set that they are of.
        long_edge_px: what their images are brought to.
        value_range: the values of the files that are black and white; None for each file's own.
        marks: of their images.
    """

    title: str
    pairs: tuple[EvaluationPair, ...]
    reported: EvaluationSet
    long_edge_px: int
    value_range: ValueRange | None
    marks: Marks

    @property
    def words(self) -> str:
        """What is learned from, and what can no longer be reported therefore."""
        paths = {path for one in self.pairs for path in (one.pair.path_a, one.pair.path_b)}
        groups = groups_with(self.reported, paths)
        count = counted(len(groups), group_word(self.reported.layout))
        return (
            f"Also learns from {self.title}: the trained weights can no longer be reported on "
            f"{count} ({some_of(groups)})."
        )


def find_extra_pairs(
    settings: ExtraSettings, descriptor: str, context: JobContext
) -> ExtraPairs | None:
    """The pairs that settings name; None where they name none.  Decodes no picture.

    Args:
        settings: which.
        descriptor: registered name of what is trained: of an evaluation of several descriptors the
            worst pairs are its own, where it took part.
        context: receives notes on the set, and is checked for cancelling.

    Raises:
        ConfigError: settings that do not go together.
        DatasetError: the set cannot be read, or knows no truth.
        ImageError: an image cannot be read, or has changed since it was evaluated.
        ResultError: the evaluation cannot be read, or measured no pair.
    """
    if settings.pairs is None:
        return None
    place = _result_place(settings.pairs)
    if place is None:
        if settings.dataset:
            raise ConfigError(
                "train.extra.dataset", "says where the pairs of an evaluation are, and "
                f"{settings.pairs} is none",
            )  # fmt: skip
        dataset = _open(settings.pairs, context)
        found = tuple(dataset.pairs())
        title = f"{counted(len(found), 'pair')} of {dataset.name}"
        value_range, long_edge_px = None, None
    else:
        result = read_result(place)
        name = settings.dataset or _dataset_of(result)
        dataset = _open(name, context)
        found = _worst(result, dataset, descriptor, settings.worst)
        title = f"the worst {counted(len(found), 'pair')} of {result.fingerprint.dataset.name}"
        ends = result.fingerprint.value_range
        value_range = check_value_range(ends[0], ends[1]) if ends else None
        long_edge_px = result.fingerprint.sampler.long_edge_px
    paths = dict.fromkeys(path for one in found for path in (one.pair.path_a, one.pair.path_b))
    marks = []
    for path in paths:
        context.cancel.check()
        marks.append(mark_image(path))
    return ExtraPairs(
        title=title,
        pairs=found,
        reported=dataset,
        long_edge_px=settings.long_edge_px or long_edge_px or _LONG_EDGE_PX,
        value_range=value_range,
        marks=frozenset(marks),
    )


def whole_place(text: str) -> str:
    """The name of a set or evaluation, with a path that holds from any folder."""
    words, path = _split(text)
    if not path.strip() or not Path(path).expanduser().exists():  # such as demo
        return text
    return f"{words}{Path(path).expanduser().absolute()}"


def bare_place(text: str) -> str:
    """The name of a set or evaluation without its place on this computer."""
    words, path = _split(text)
    return f"{words}{Path(path).name}"


def _split(text: str) -> tuple[str, str]:
    """What stands before the path in the name of a set, with its colons, and the path."""
    word, colon, rest = text.partition(":")
    changed = f"{word}:" if colon and word in STRESS_KINDS else ""
    layout, path = split_layout(rest if changed else text)
    return (f"{changed}{layout}:" if layout else changed), path


def _result_place(text: str) -> Path | None:
    """The evaluation that a text names; None where it names a set."""
    layout, _ = split_layout(text)
    path = typed_path(text, "train.extra.pairs")
    is_result = path.name == RESULT_FILE or (path / RESULT_FILE).is_file()
    return path if is_result and not layout else None


def _dataset_of(result: EvaluationResult) -> str:
    """What opens the pairs of an evaluation, changed as it measured them."""
    opened = result.sources.opened or result.sources.root
    word = result.fingerprint.dataset.name.partition(":")[0]
    return f"{word}:{opened}" if word in STRESS_KINDS else opened


def _open(name: str, context: JobContext) -> EvaluationSet:
    dataset = open_evaluation_set(name, context=context)
    for problem in dataset.problems:
        context.emit(Note(problem, "warning"))
    return dataset


def _worst(
    result: EvaluationResult, dataset: EvaluationSet, descriptor: str, count: int
) -> tuple[EvaluationPair, ...]:
    """The pairs with the lowest PCK, as a report lists them."""
    statistics = Statistics(merge_results([("", result)]))
    measured = result.fingerprint.descriptors
    own = [one.label for one in measured if one.name == descriptor and not one.oracle]
    rows = statistics.worst_rows(limit=count, labels=own or None)
    pairs = {one.key: one for one in dataset.pairs()}
    found = []
    for row in rows:
        if row.key not in pairs:
            name = result.fingerprint.dataset.title(*row.key)
            raise DatasetError(
                dataset.root, f"has no pair {row.name or name}, which was evaluated; "
                "train.extra.dataset says where the pairs are now",
            )  # fmt: skip
        one = pairs[row.key]
        if result.folder is not None and has_points(result.folder):
            images = read_points(result.folder, *row.key).images
            for path, image in zip((one.pair.path_a, one.pair.path_b), images, strict=True):
                check_unchanged(path, image)
        found.append(one)
    if not found:
        raise DatasetError(dataset.root, "has no pair that the evaluation measured")
    return tuple(found)


# ---- which numbers mean an extra pair ------------------------------------------------------------


def extra_number(number: int, share: float) -> int | None:
    """Which extra pair a pair of the run is, counted from 0; None for one made of a photo.

    They are spread evenly: of any N pairs in a row at least ⌊share N⌋ and at most ⌈share N⌉ are.
    """
    parts = round(share * _MILLION)
    before, after = number * parts // _MILLION, (number + 1) * parts // _MILLION
    return before if after > before else None


# ---- windows -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ExtraWindows:
    """A training pair that was cut out of an extra pair.

    Attributes:
        images: ``(h, w, 3)`` RGB each, a and b; black beyond the images.
        points_a, points_b: ``(M, 2)`` pixels (x, y); the n-th points show one thing, and both
            windows hold them.  At least one.
    """

    images: tuple[Pixels, Pixels]
    points_a: Points
    points_b: Points


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    """A pair at the size that it is learned at.

    Attributes:
        images: ``(H, W, 3)`` RGB each.
        pool: ``(M, 4)`` places in image a and in image b that show one thing, at least one.
    """

    images: tuple[Pixels, Pixels]
    pool: Points

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(image.nbytes for image in self.images) + self.pool.nbytes


class ExtraReader:
    """Reads extra pairs and cuts windows out of them; keeps those that fit into memory.

    Args:
        extra: the pairs.
        size_px: (width, height) of the windows.
        share: of all pairs of the run.
        points: of a window, at most.
        seed: of the run.
        budget_bytes: memory that decoded pairs may take.
        warn: called once with a sentence for each pair that cannot be used.
    """

    def __init__(
        self,
        extra: ExtraPairs,
        *,
        size_px: Size,
        share: float,
        points: int,
        seed: int,
        budget_bytes: int,
        warn: Callable[[str], None],
    ) -> None:
        self._extra = extra
        self._size_px = size_px
        self._share = share
        self._points = points
        self._seed = seed
        self._warn = warn
        self._decoded: KeptReader[_Decoded] = KeptReader(
            len(extra.pairs),
            self._decode,
            size_bytes=lambda decoded: decoded.bytes,
            unusable=DescSpaceError,
            tell=self._report,
            none_left=DatasetError(
                extra.reported.root, "none of its extra pairs can be learned from any more"
            ),
            budget_bytes=budget_bytes,
        )

    def read(self, number: int) -> ExtraWindows | None:
        """The windows of a pair of the run; None where it is made of a photo.

        Raises:
            DatasetError: no extra pair can be used at all.
        """
        extra = extra_number(number, self._share)
        if extra is None:
            return None
        count = len(self._extra.pairs)
        epoch, place = divmod(extra, count)
        order = shuffled(count, seed=self._purpose, epoch=epoch)
        decoded = self._decoded.get(int(order[place]))
        generator = np.random.default_rng((self._purpose, number))
        return cut_windows(decoded.images, decoded.pool, self._size_px, self._points, generator)

    @cached_property
    def _purpose(self) -> int:
        return hash_numbers(self._seed, purpose_number("extra pairs"))

    def _decode(self, place: int) -> _Decoded:
        one = self._extra.pairs[place]
        pixels_a, pixels_b = (
            read_image(path, shown=self._extra.value_range).pixels
            for path in (one.pair.path_a, one.pair.path_b)
        )
        if one.stress is not None:
            pixels_b = one.stress.apply(pixels_b)
        sizes = [(pixels.shape[1], pixels.shape[0]) for pixels in (pixels_a, pixels_b)]
        resize_a, resize_b = (measured_resize(size, self._extra.long_edge_px) for size in sizes)
        truth = one.open_truth(sizes[0], sizes[1]).resized(resize_a, resize_b)
        pool = draw_pool(truth, np.random.default_rng((self._purpose, 1, place)))
        if not len(pool):
            raise ImageError(one.pair.path_b, "shows no place of image a whose truth is known")
        images = [
            as_uint8(resize_pixels(pixels, resize.to_size_px, antialias=True))
            for pixels, resize in ((pixels_a, resize_a), (pixels_b, resize_b))
        ]
        return _Decoded((images[0], images[1]), pool)

    def _report(self, place: int, problem: str) -> None:
        name = self._extra.pairs[place].pair.name
        self._warn(f"{name} is not learned from: {problem}; the next extra pair takes its place.")


def draw_pool(truth: Truth, generator: np.random.Generator) -> Points:
    """Places that both images show: those that the truth lists, or many all over image a.

    Args:
        truth: between the images at the size that they are learned at.
        generator: draws the places of a dense truth.

    Returns:
        ``(M, 4)`` x and y in image a, and x and y in image b.
    """
    size_a_px, size_b_px = truth.sizes_px
    listed = truth.listed_px
    found: list[NDArray[np.float64]] = []
    last = np.array(size_a_px) - 1
    for _ in range(_POOL_ROUNDS if listed is None else 1):
        if listed is None:
            # As float32 holds them, so that what is seen is so of the rounded places, too.
            asked = (generator.random((_POOL, 2)) * last).astype(np.float32).astype(np.float64)
        else:
            asked = listed[0]
        told = truth.locate("a", asked)
        seen = told.seen & inside(asked, size_a_px) & inside(told.points_px, size_b_px)
        found.append(np.hstack([asked, told.points_px])[seen])
        if sum(map(len, found)) >= _POOL:
            break
    pool = np.concatenate(found)
    if len(pool) > _POOL:
        pool = pool[generator.permutation(len(pool))[:_POOL]]
    return pool.astype(np.float32)


def cut_windows(
    images: tuple[Pixels, Pixels],
    pool: Points,
    size_px: Size,
    points: int,
    generator: np.random.Generator,
) -> ExtraWindows:
    """Cut a window out of either image around a place that both show.

    Args:
        images: ``(H, W, 3)`` each.
        pool: ``(M, 4)`` places in both that show one thing, at least one.
        size_px: (width, height) of the windows.
        points: how many places are taken, at most.
        generator: draws which.
    """
    centre = pool[generator.integers(len(pool))]
    windows: list[Pixels] = []
    corners: list[NDArray[np.int64]] = []
    for image, place in zip(images, (centre[:2], centre[2:]), strict=True):
        share = generator.uniform(_MARGIN, 1 - _MARGIN, 2)
        corner = _corner(place, share, (image.shape[1], image.shape[0]), size_px)
        windows.append(_window(image, corner, size_px))
        corners.append(corner)
    places_a, places_b = pool[:, :2] - corners[0], pool[:, 2:] - corners[1]
    held = np.flatnonzero(inside(places_a, size_px) & inside(places_b, size_px))
    if len(held) > points:
        held = generator.permutation(held)[:points]
    return ExtraWindows(
        (windows[0], windows[1]),
        places_a[held].astype(np.float32),
        places_b[held].astype(np.float32),
    )


def _corner(
    place: Points, share: NDArray[np.float64], image_px: Size, size_px: Size
) -> NDArray[np.int64]:
    """Where the top left pixel of a window lies in its image; a small image lies in its middle."""
    room = np.array(image_px) - size_px
    wanted = np.round(place - share * size_px).astype(np.int64)
    return np.where(room >= 0, np.clip(wanted, 0, np.maximum(room, 0)), room // 2)


def _window(image: Pixels, corner: NDArray[np.int64], size_px: Size) -> Pixels:
    width, height = size_px
    x, y = (int(one) for one in corner)
    part = image[max(y, 0) : y + height, max(x, 0) : x + width]
    if part.shape[:2] == (height, width):
        return part
    window = np.zeros((height, width, 3), np.uint8)
    top, left = max(-y, 0), max(-x, 0)
    window[top : top + part.shape[0], left : left + part.shape[1]] = part
    return window


@torch.no_grad()
def make_extra(
    windows: list[ExtraWindows],
    keys: list[int],
    *,
    points: int,
    light: LightRecipe,
    device: torch.device,
) -> TrainingPairs:
    """A batch of windows as training pairs, under changed light.

    Args:
        windows: B, of one size.
        keys: B numbers that decide how the light changes.
        points: N, how many points a pair has; what is missing is not seen.
        light: photometric changes.
        device: where they are wanted.
    """
    draws = Draws(keys, device=device)
    images_a, images_b = (
        change_light(
            draws,
            side,
            torch.from_numpy(np.stack([one.images[place] for one in windows]))
            .to(device)
            .permute(0, 3, 1, 2)
            .float()
            / 255,
            light,
        )
        for place, side in enumerate(("a", "b"))
    )
    held = torch.zeros(2, len(windows), points, 2)
    seen = torch.zeros(len(windows), points, dtype=torch.bool)
    for place, one in enumerate(windows):
        count = len(one.points_a)
        held[0, place, :count] = torch.from_numpy(one.points_a)
        held[1, place, :count] = torch.from_numpy(one.points_b)
        seen[place, :count] = True
    unknown = torch.full((len(windows), 3, 3), torch.nan, dtype=torch.float64, device=device)
    points_a, points_b = held.to(device)
    return TrainingPairs(images_a, images_b, points_a, points_b, seen.to(device), unknown)
