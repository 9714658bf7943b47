"""What long work reports to its listener, and how it is stopped.

The window and the terminal listen to the same events.  This module is at the bottom of the
imports, so that every part of the engine can report without reaching up to :mod:`engine.jobs`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from engine.errors import JobCancelled, printable

if TYPE_CHECKING:  # the command line prints its help without numpy
    import numpy as np
    from numpy.typing import NDArray


CheckpointReason = Literal["periodic", "paused", "interrupted", "finished"]
CHOICES: Final = "engine.choices"
"""The log of :func:`tell_choice`; the window shows each line of it at once."""
Tell = Callable[[str], None]
"""Takes a whole sentence about what was chosen."""
_PATIENCE_S = 0.1


def tell_choice(sentence: str) -> None:
    """Tell what was chosen where an input left several possibilities that differ in the result.

    For readers deep inside, which have no :class:`JobContext` at hand: the sentence goes through
    Python's logging, so a terminal prints it and the window shows it.
    """
    logging.getLogger(CHOICES).warning("%s", printable(sentence))


class Stage(StrEnum):
    """A part of long work; its value is what users read, and is written here only."""

    CHECKING = "checking"
    CHECKING_DOWNLOAD = "MB checked"
    COMPARING_MEMBERS = "comparing set members"
    DESCRIBING = "describing"
    DOWNLOADING = "MB loaded"
    DRAWING_FIGURE = "drawing the figure"
    DRAWING_PDF = "drawing the PDF"
    EXAMINING = "checking packages, GPU and folders"
    FITTING_BASIS = "images for the PCA basis"
    LAYING_OUT = "laying out maps"
    LOADING_TORCH = "loading torch"
    LOOKING = "looking at both images"
    MAKING_DEMO = "demo"
    MATCHING = "matching"
    MATCHING_BACK = "matching back"
    MATCHING_THERE = "matching there"
    MEASURING_LAYERS = "layers measured"
    MEASURING_PAIRS = "pairs"
    PREPARING_LAYERS = "layers prepared"
    READING_PHOTOS = "photos checked"
    SAMPLING_PAIRS = "sample pairs"
    TRAINING = "training"
    UNPACKING = "files unpacked"
    VOTING = "voting for members"
    WORST_PAIRS = "worst pairs"
    WRITING_IMAGES = "images written"


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done so far in a stage; ``total`` is None when unknown."""

    stage: Stage
    done: int
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of work began whose share of the whole is unknown."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Metric:
    """Named figures at one step, for curves and logs."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for people: something was chosen, skipped or done another way."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, slots=True)
class Saved:
    """A file was written completely."""

    path: Path
    what: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training saved all that it needs to continue.

    Attributes:
        step: how many steps were done.
        reason: why it was saved: a periodic one, or because the run paused or ended.
        path: its weights.
    """

    step: int
    reason: CheckpointReason
    path: Path


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """Pictures of what a network makes of one pair that stays the same during training.

    Attributes:
        step: when they were made.
        pictures: ``pair``, ``pca``, ``matches`` or ``negatives`` -> ``(H, W, 3)`` uint8.
    """

    step: int
    pictures: Mapping[str, NDArray[np.uint8]]


Event = Progress | Phase | Metric | Note | Saved | Checkpoint | Preview


class CancelToken:
    """A flag that any thread may raise and the work checks at least once a second."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.RLock()  # a signal may cancel on the thread that holds it
        self._reactions: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Ask the work to stop; may be called from any thread, and more than once."""
        with self._lock:
            self._event.set()
            for react in tuple(self._reactions):
                react()

    @property
    def cancelled(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._event.is_set()

    def sleep(self, seconds: float) -> None:
        """Wait, but raise :class:`~engine.errors.JobCancelled` once the work is asked to stop."""
        if self._event.wait(seconds):
            raise JobCancelled

    def check(self) -> None:
        """Raise :class:`~engine.errors.JobCancelled` if the work was asked to stop."""
        if self._event.is_set():
            raise JobCancelled

    @contextlib.contextmanager
    def everywhere(self) -> Iterator[None]:
        """Inside the block :func:`check_stop` checks this token, wherever this thread calls it.

        Blocks inside each other check all their tokens.
        """
        outer = _running.tokens
        _running.tokens = (*outer, self)
        try:
            yield
        finally:
            _running.tokens = outer

    @contextlib.contextmanager
    def reacting(self, react: Callable[[], None]) -> Iterator[None]:
        """Inside the block :meth:`cancel` calls a function, on its own thread.

        For work of other libraries, which takes no token but can be told to stop.  The function
        must return at once and raise nothing.

        Raises:
            JobCancelled: it was asked to stop before.
        """
        with self._lock:
            self._reactions.append(react)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._reactions.remove(react)

    @contextlib.contextmanager
    def holding(self, lock: threading.Lock | threading.RLock) -> Iterator[None]:
        """Hold a lock inside the block; waiting for it ends when the work is asked to stop.

        Raises:
            JobCancelled: it was asked to stop before the lock was free.
        """
        while not lock.acquire(timeout=_PATIENCE_S):
            self.check()
        try:
            yield
        finally:
            lock.release()


class _Running(threading.local):
    """The tokens of what runs on a thread."""

    tokens: tuple[CancelToken, ...] = ()


_running = _Running()


def check_stop() -> None:
    """Raise :class:`~engine.errors.JobCancelled` if the work on this thread was asked to stop.

    For what takes long where no token is handed to, such as measuring a network while it is built:
    builders have the signature that plugins know.  See :meth:`CancelToken.everywhere`.
    """
    for token in _running.tokens:
        token.check()


def running_tokens() -> tuple[CancelToken, ...]:
    """The tokens that :func:`check_stop` checks on this thread, for other threads that help it."""
    return _running.tokens


@contextlib.contextmanager
def when_stopped(react: Callable[[], None]) -> Iterator[None]:
    """:meth:`CancelToken.reacting` of all that runs on this thread."""
    with contextlib.ExitStack() as stack:
        for token in _running.tokens:
            stack.enter_context(token.reacting(react))
        yield


class PauseToken:
    """A flag that any thread may raise and lower; the work pauses while it is up."""

    def __init__(self) -> None:
        self._running = threading.Event()
        self._running.set()

    def pause(self) -> None:
        """Ask the work to pause."""
        self._running.clear()

    def resume(self) -> None:
        """Let the work continue."""
        self._running.set()

    @property
    def paused(self) -> bool:
        """True between :meth:`pause` and :meth:`resume`."""
        return not self._running.is_set()

    def wait(self, cancel: CancelToken) -> None:
        """Return once the work may continue.

        Raises:
            JobCancelled: it was asked to stop instead.
        """
        while not self._running.wait(timeout=_PATIENCE_S):
            cancel.check()


def ignore_event(event: Event) -> None:
    """Listen to nothing: the default sink."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What long work needs besides its own settings.

    Attributes:
        emit: called with each event, from the working thread.
        cancel: the flag to check.
        device: torch device name, ``"auto"`` for the best one.
        pause: the flag to pause at, for work that can.
        finish: raised to end early and well, with what was reached, for work that can.
    """

    emit: Callable[[Event], None] = ignore_event
    cancel: CancelToken = field(default_factory=CancelToken)
    device: str = "auto"
    pause: PauseToken = field(default_factory=PauseToken)
    finish: CancelToken = field(default_factory=CancelToken)
