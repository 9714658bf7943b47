"""Batches made ahead of the step that needs them.

A thread decodes photos (with a few threads below it) and makes the pairs on the training device, so
that the step finds its batch ready.  Which photo a pair shows, and all that is drawn for it,
follows from the pair's number alone; so a run that is continued, or spread over several processes,
sees the same pairs.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from engine.data.photos import PhotoSplit, read_covering, shuffled
from engine.data.synthetic import TrainingPairs, make_pairs
from engine.errors import DatasetError, ImageError
from engine.progress import CancelToken
from engine.seeding import hash_numbers, purpose_number
from engine.training.extra_pairs import ExtraPairs, ExtraReader, ExtraWindows, make_extra
from engine.training.kept import KeptReader
from engine.training.settings import TrainSettings

_AHEAD: Final = 2
_CHECK_S: Final = 0.2
_CUT_BITS: Final = 1 << 32

Pixels = NDArray[np.uint8]


class PhotoReader:
    """Reads photos at the size training needs and keeps what fits into memory.

    Args:
        root: folder of the photos.
        names: paths below it.
        size_px: (width, height) that every photo is to cover.
        budget_bytes: memory that decoded photos may take.
        warn: called once with a sentence for each photo that cannot be read.
    """

    def __init__(
        self,
        root: Path,
        names: tuple[str, ...],
        *,
        size_px: tuple[int, int],
        budget_bytes: int,
        warn: Callable[[str], None],
    ) -> None:
        self._size_px = size_px
        self._photos: KeptReader[Pixels] = KeptReader(
            len(names),
            lambda place: read_covering(root / names[place], size_px),
            size_bytes=lambda pixels: pixels.nbytes,
            unusable=ImageError,
            tell=lambda _place, problem: warn(f"{problem}; the next photo takes its place."),
            none_left=DatasetError(root, "not one of its photos can be read any more"),
            budget_bytes=budget_bytes,
        )

    def read(self, index: int, cut: tuple[int, int]) -> Pixels:
        """A photo, cut to the size.

        Args:
            index: which one; one that cannot be read is replaced by the next one that can.
            cut: two numbers below 2³² that say which part is taken of a photo that is longer.

        Returns:
            ``(h, w, 3)`` RGB of exactly the size; not to be changed.

        Raises:
            DatasetError: no photo can be read at all.
        """
        pixels = self._photos.get(index)
        width, height = self._size_px
        x, y = (
            room * number // _CUT_BITS
            for room, number in zip(
                (pixels.shape[1] - width + 1, pixels.shape[0] - height + 1), cut, strict=True
            )
        )
        return pixels[y : y + height, x : x + width]


@dataclass(frozen=True, slots=True)
class PairNumbers:
    """Which pairs a step has, and what each of them shows.

    Attributes:
        photos: how many photos an epoch goes through.
        seed: of the run.
        purpose: what the pairs are for; other purposes draw other pairs.
    """

    photos: int
    seed: int
    purpose: str

    def photo(self, number: int) -> int:
        """The photo of a pair."""
        epoch, place = divmod(number, self.photos)
        return int(shuffled(self.photos, seed=self.seed, epoch=epoch)[place])

    def other(self, number: int) -> int:
        """The photo that a pair's patches are cut out of and its textures come from."""
        return hash_numbers(self.seed, purpose_number("patches"), number) % self.photos

    def key(self, number: int) -> int:
        """What decides all that is drawn for a pair."""
        return (hash_numbers(self.seed, purpose_number(self.purpose)) << 32) + number

    def cut(self, number: int) -> tuple[int, int]:
        """Which part of its photo a pair shows."""
        purpose = purpose_number(f"{self.purpose} cut")
        return (
            hash_numbers(self.seed, purpose, number, number >> 32, 0),
            hash_numbers(self.seed, purpose, number, number >> 32, 1),
        )


Read = tuple[Pixels, ...] | ExtraWindows
"""What a pair is made of: photos, or the windows of an extra pair."""


def pairs_of_photos(
    reader: PhotoReader,
    numbers: PairNumbers,
    wanted: range,
    settings: TrainSettings,
    device: torch.device,
    extra: ExtraReader | None = None,
) -> TrainingPairs:
    """Make some pairs at once, in this thread."""
    read = [_read(reader, numbers, one, settings, extra) for one in wanted]
    return _make(read, numbers, wanted, settings, device)


def extra_reader(
    extra: ExtraPairs | None, settings: TrainSettings, warn: Callable[[str], None]
) -> ExtraReader | None:
    """What reads the extra pairs of a run; None where it has none."""
    if extra is None:
        return None
    return ExtraReader(
        extra,
        size_px=settings.size_px,
        share=settings.extra.share,
        points=settings.points,
        seed=settings.seed,
        budget_bytes=settings.photos.cache_mb << 20,
        warn=warn,
    )


class Prefetcher:
    """Makes the batches of a run in order, a few ahead; a context manager.

    Args:
        split: the photos.
        settings: how pairs are made, and how many a step has.
        device: where they are made and used.
        first_step: of the run, counted from 0.
        rank, world: this process among all; each makes its part of every batch.
        warn: called once with a sentence for each photo, or extra pair, that cannot be read.
        extra: the extra pairs, None for none.
    """

    def __init__(
        self,
        split: PhotoSplit,
        settings: TrainSettings,
        *,
        device: torch.device,
        first_step: int,
        rank: int,
        world: int,
        warn: Callable[[str], None],
        extra: ExtraPairs | None = None,
    ) -> None:
        self._reader = PhotoReader(
            split.root,
            split.training,
            size_px=settings.photo_size_px,
            budget_bytes=settings.photos.cache_mb << 20,
            warn=warn,
        )
        self._extra = extra_reader(extra, settings, warn)
        self._numbers = PairNumbers(len(split.training), settings.seed, "train")
        self._settings = settings
        self._device = device
        self._first_step = first_step
        self._share = settings.batch // world
        self._rank = rank
        self._ready: queue.Queue[TrainingPairs | BaseException] = queue.Queue(maxsize=_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)

    def __enter__(self) -> Prefetcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def next(self, cancel: CancelToken) -> TrainingPairs:
        """The batch of the next step.

        Raises:
            JobCancelled: ``cancel`` was raised while there was none yet.
            DescSpaceError: it cannot be made.
        """
        while True:
            cancel.check()
            try:
                made = self._ready.get(timeout=_CHECK_S)
            except queue.Empty:
                continue
            if isinstance(made, BaseException):
                raise made
            return made

    def _run(self) -> None:
        workers = self._settings.photos.workers
        try:
            with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
                self._fill(pool)
        except BaseException as error:
            self._put(error)

    def _fill(self, pool: ThreadPoolExecutor) -> None:
        ahead = [self._submit(pool, self._first_step)]
        for step in range(self._first_step, self._settings.steps):
            if step + 1 < self._settings.steps:
                ahead.append(self._submit(pool, step + 1))
            wanted, parts = ahead.pop(0)
            read = [part.result() for part in parts]
            made = _make(read, self._numbers, wanted, self._settings, self._device)
            if not self._put(made):
                for _, futures in ahead:
                    for future in futures:
                        future.cancel()
                return

    def _submit(self, pool: ThreadPoolExecutor, step: int) -> tuple[range, list[Future[Read]]]:
        begin = step * self._settings.batch + self._rank * self._share
        wanted = range(begin, begin + self._share)
        return wanted, [
            pool.submit(_read, self._reader, self._numbers, number, self._settings, self._extra)
            for number in wanted
        ]

    def _put(self, made: TrainingPairs | BaseException) -> bool:
        """Hand over a batch or an error; False if the run has ended."""
        while not self._stop.is_set():
            try:
                self._ready.put(made, timeout=_CHECK_S)
            except queue.Full:
                continue
            return True
        return False


def _read(
    reader: PhotoReader,
    numbers: PairNumbers,
    number: int,
    settings: TrainSettings,
    extra: ExtraReader | None,
) -> Read:
    """What a pair is made of: the windows of an extra pair, or its photo.

    Where there are patches or textures of another photo, that photo comes second.
    """
    windows = None if extra is None else extra.read(number)
    if windows is not None:
        return windows
    cut = numbers.cut(number)
    indices = [numbers.photo(number)]
    if settings.scene.patches_share > 0 or settings.light.style_share > 0:
        indices.append(numbers.other(number))
    return tuple(reader.read(index, cut) for index in indices)


def _make(
    read: list[Read],
    numbers: PairNumbers,
    wanted: range,
    settings: TrainSettings,
    device: torch.device,
) -> TrainingPairs:
    keys = [numbers.key(number) for number in wanted]
    windows = {place: one for place, one in enumerate(read) if isinstance(one, ExtraWindows)}
    photos = {place: one for place, one in enumerate(read) if not isinstance(one, ExtraWindows)}
    parts = []
    if photos:
        stacked = [
            torch.from_numpy(np.stack(some)).to(device).permute(0, 3, 1, 2)
            for some in zip(*photos.values(), strict=True)
        ]
        parts.append(
            make_pairs(
                stacked[0],
                [keys[place] for place in photos],
                size_px=settings.size_px,
                points=settings.points,
                warp=settings.warp,
                light=settings.light,
                scene=settings.scene,
                others=stacked[-1],
            )
        )
    if not windows:
        return parts[0]
    parts.append(
        make_extra(
            list(windows.values()),
            [keys[place] for place in windows],
            points=settings.points,
            light=settings.light,
            device=device,
        )
    )
    places = torch.tensor([*photos, *windows], device=device)
    return TrainingPairs.joined(parts).chosen(places.argsort())
