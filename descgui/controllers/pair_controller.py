"""Opens pairs: files, sets of pairs, drops, recents, the demo."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage

from descgui.controllers.truth_controller import TruthController
from descgui.models.bundle import AppModels
from descgui.models.messages import Failure
from descgui.models.pair_state import PairState
from descgui.models.recents import read_recent, write_recent
from descgui.workers.lane import JobLane
from engine import api

_MAP_SUFFIXES = frozenset({".png", ".pfm"})
Prepare = Callable[["api.Image"], NDArray[np.uint8]]
Around = Callable[[Callable[[], None]], None]
"""Shows what was opened, by the function that it is given, and what belongs to it."""

Ranges = tuple["api.ValueRange | None", "api.ValueRange | None"]


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """What a worker brings back: a pair to show, and the set it came from, if it is new."""

    state: PairState
    dataset: api.PairSet | None
    notes: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    around: Around | None = None
    remembered: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Unclear:
    """What a worker brings back where a set can be read in several ways."""

    path: Path
    readers: tuple[api.PairSetReader, ...]


class PairController(QObject):
    """Reads images in a lane of its own; whatever fails leaves the open pair as it is.

    Args:
        models: are told what was opened.
        prepare: turns an image into the uint8 picture that is drawn, on the worker's thread.
        parent: owns this.
        images: where it has images from; None for a store of its own.

    Signals:
        layout_wanted(Path, tuple of PairSetReader): several layouts fit what the user chose.
        truth_unclear(Path, TruthLook, str): what a dropped file holds has to be asked; the side
            that it replaces if it is an image, "" where it cannot be one.
        session_wanted(Path): a session file is to be opened.
        video_wanted(Path, Path | None): frames of a video are to be image B; image A, None for the
            present one.
    """

    layout_wanted = Signal(object, object)
    truth_unclear = Signal(object, object, str)
    session_wanted = Signal(object)
    video_wanted = Signal(object, object)

    def __init__(
        self,
        models: AppModels,
        prepare: Prepare,
        parent: QObject | None = None,
        *,
        images: api.ImageStore | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._prepare = prepare
        self._images = images or api.ImageStore()
        self.lane = JobLane(models.messages.report, self)
        self.truths = TruthController(models, self.lane, self)

    def open_pair(self, pair: api.ImagePair) -> None:
        """Open two images; a pair of the open set keeps the set."""
        dataset = self._models.browser.state.dataset if pair.sequence else None
        self._submit(pair.name or pair.path_a.name, lambda _: self._read(pair, dataset))

    def open_files(
        self,
        path_a: Path,
        path_b: Path,
        homography: Path | None = None,
        *,
        truth: str | None = None,
        ranges: Ranges = (None, None),
    ) -> None:
        """Open two photos, with the truth in files if there are any.

        Args:
            path_a: image A.
            path_b: image B.
            homography: a file with one.
            truth: files of any kind, as :func:`engine.api.read_truth` takes them.
            ranges: which values of each file are black and white; None for its own range.
        """

        def read(_context: api.JobContext) -> _Opened:
            source = api.read_truth((path_a, path_b), homography, truth)
            opened = self._read(_in_ranges(_free_pair(path_a, path_b, source), ranges), None)
            text = truth or ("" if homography is None else f"homography:{homography}")
            return replace(opened, state=replace(opened.state, truth_text=text))

        self._submit(path_a.name, read)

    def show_set(self, named: str) -> None:
        """Open a set that the user chose, where it was left; ask where several layouts fit."""

        def read(context: api.JobContext) -> _Opened | _Unclear:
            layout, path = api.split_layout(named)
            fitting = () if layout else api.fitting_readers(Path(path))
            if len(fitting) > 1:
                return _Unclear(Path(path), fitting)
            dataset = api.open_named_set(named)
            place = read_recent(self._models.settings.place_in(dataset.opened))
            if place is not None:
                with contextlib.suppress(api.DescSpaceError):  # it is no longer there
                    return self._read_of_set(dataset, place.group, place.index)
            context.cancel.check()
            return self._read_of_set(dataset, "", 0)

        self._models.settings.remember_folder(named)
        self._submit(Path(named).name, read)

    def open_set(
        self, named: str, *, group: str = "", index: int = 0, ranges: Ranges = (None, None)
    ) -> None:
        """Open a pair of a set.

        Args:
            named: its folder or file, as a path or ``LAYOUT:PATH``.
            group: name of the group to show first; "" for the first one.
            index: number of the pair in it; 0 for the first pair.
            ranges: as for :meth:`open_files`.
        """

        def read(_context: api.JobContext) -> _Opened:
            return self._read_of_set(api.open_named_set(named), group, index, ranges)

        self._models.settings.remember_folder(named)
        self._submit(Path(named).name, read)

    def open_frame(self, video: api.Video, number: int, image_a: Path | None = None) -> None:
        """Show a frame of a video as image B.

        Args:
            video: the video.
            number: of the frame, from 0.
            image_a: the other image; None for the present one, or else for the first frame.
        """
        state = self._models.pair.state

        def read(_context: api.JobContext) -> _Opened:
            path_b = api.frame_file(video.path, number)
            kept = state if image_a is None else None
            path_a = image_a or (api.frame_file(video.path, 0) if kept is None else None)
            if path_a is not None or kept is None:
                first = path_a or path_b
                return self._read(replace(_free_pair(first, path_b, None), name=name(first)), None)
            image_b = self._images.read(path_b)
            pair = replace(
                _free_pair(kept.pair.path_a, path_b, None),
                name=name(kept.pair.path_a),
                range_a=kept.pair.range_a,
            )
            shown = PairState(pair, kept.image_a, image_b, kept.display_a, self._prepare(image_b))
            return _Opened(shown, None, remembered=False)

        def name(path_a: Path) -> str:
            return f"{path_a.name} ↔ {video.path.name}, frame {number + 1}"

        self._submit(video.path.name, read)

    def open_saved(self, session: api.SavedSession, around: Around) -> None:
        """Open the pair of a session with its truth.

        Args:
            session: what was saved.
            around: shows the pair; called only once it is read.
        """
        saved, truth = session.pair, session.truth
        ranges = api.parse_pair_ranges(saved.range_a, saved.range_b or api.AUTO)

        def read(context: api.JobContext) -> _Opened:
            second = saved.image_b
            if saved.video_b is not None:
                second = api.frame_file(saved.video_b, saved.frame_b)
            if saved.image_a is not None and second is not None:
                opened = self._read(
                    _in_ranges(_free_pair(saved.image_a, second, None), ranges), None
                )
            else:
                if saved.demo:
                    dataset = api.open_pair_set(api.demo_dataset(context), api.HPatchesReader.word)
                else:
                    word = f"{saved.layout}:" if saved.layout else ""
                    dataset = api.open_named_set(f"{word}{saved.dataset}")
                opened = self._read_of_set(dataset, saved.group, saved.index, ranges)
            state = opened.state
            if not truth.of_set:
                source, pair = truth.source, state.pair
                if truth.text:
                    images = (pair.path_a, pair.path_b)
                    source = api.named_truth(truth.text, Path(), images)
                pair = replace(pair, truth=source)
                known = pair.open_truth(state.image_a.size_px, state.image_b.size_px)
                state = replace(state, pair=pair, truth=known, truth_text=truth.text)
            return replace(opened, state=state, around=around)

        self._submit("the session", read)

    def open_demo(self) -> None:
        """Open the demo sequences, made from scikit-image's photographs at the first call."""

        def read(context: api.JobContext) -> _Opened:
            dataset = api.open_pair_set(api.demo_dataset(context), api.HPatchesReader.word)
            first = api.first_demo_pair()
            return self._read(_choose(dataset, first.sequence, first.index), dataset)

        self._submit("the demo", read)

    def open_recent(self, line: str) -> None:
        """Open an entry of the recent pairs."""
        recent = read_recent(line)
        if recent is None:
            self._models.pair.report_failure("This recent entry cannot be read.")
        elif recent.opened:
            self.open_set(recent.opened, group=recent.group, index=recent.index)
        elif recent.path_a is not None and recent.path_b is not None:
            self.open_files(recent.path_a, recent.path_b)

    def open_paths(self, paths: list[Path], side: str = "") -> None:
        """Open whatever was dropped or pasted.

        Args:
            paths: one folder, one or two images, a session, or a file with truth.
            side: the pane it was dropped on; an image replaces that side.
        """
        if len(paths) == 1 and paths[0].suffix == api.SESSION_SUFFIX:
            self.session_wanted.emit(paths[0])
            return
        if paths and len(paths) <= 2 and api.is_video(paths[-1]):
            self.video_wanted.emit(paths[-1], paths[0] if len(paths) == 2 else None)
            return
        if len(paths) == 1 and paths[0].is_dir():
            self.show_set(str(paths[0]))
            return
        pictures = [path for path in paths if path.suffix.lower() in api.IMAGE_SUFFIXES]
        others = [path for path in paths if path not in pictures]
        if pictures and others:
            names = ", ".join(path.name for path in others)
            self._models.messages.notify(
                f"Beside images, only images are opened; left out: {names}.", "warning"
            )
        if len(pictures) >= 2:
            if len(pictures) > 2:
                self._models.messages.notify(
                    f"{len(pictures)} images were dropped; the first two are shown."
                )
            self.open_files(pictures[0], pictures[1])
        elif len(pictures) == 1:
            self._open_picture(pictures[0], side or "b")
        elif len(paths) == 1:
            self._open_file(paths[0])
        else:
            self._models.pair.report_failure(
                "Nothing there can be opened: drop images, a folder or a file with truth."
            )

    def paste_image(self, picture: QImage, side: str = "") -> None:
        """Open a picture from the clipboard; it is kept in the cache folder."""
        folder = api.cache_dir() / "pasted"
        folder.mkdir(parents=True, exist_ok=True)
        number = 1 + max(
            (int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal()), default=0
        )
        path = folder / f"{number}.png"
        if picture.save(str(path)):
            self.open_paths([path], side)
        else:
            self._models.pair.report_failure(f"The pasted picture could not be kept as {path}.")

    def show_range(self, side: api.Side, shown: api.ValueRange | None) -> None:
        """Choose which values of one image are black and white; None for the file's own range."""
        self._change_range(side, lambda _image: shown)

    def fit_range(self, side: api.Side) -> None:
        """Show an image from its least to its greatest value."""

        def ends(image: api.Image) -> api.ValueRange | None:
            black, white = image.value_ends
            return api.ValueRange(black, white) if black < white else None

        self._change_range(side, ends)

    def step(self, step: int) -> None:
        """Open the next (1) or previous (-1) pair of the listed groups."""
        pair = self._models.browser.neighbour(step)
        if pair is not None:
            self.open_pair(pair)

    def _change_range(
        self, side: api.Side, choose: Callable[[api.Image], api.ValueRange | None]
    ) -> None:
        state = self._models.pair.state
        if state is None:
            return

        def change(_context: api.JobContext) -> PairState:
            if side == "a":
                image = state.image_a.in_range(choose(state.image_a))
                pair = replace(state.pair, range_a=image.shown)
                return replace(state, pair=pair, image_a=image, display_a=self._prepare(image))
            image = state.image_b.in_range(choose(state.image_b))
            pair = replace(state.pair, range_b=image.shown)
            return replace(state, pair=pair, image_b=image, display_b=self._prepare(image))

        def done(changed: PairState) -> None:
            now = self._models.pair.state
            if now is state:
                if changed.pair != state.pair:
                    self._models.pair.set_pair(changed)
            elif now is not None and now.pair.path(side) == state.pair.path(side):
                self._change_range(side, choose)  # the other side's range changed meanwhile

        self.lane.submit(change, key=("range", side), done=done)

    def _open_picture(self, path: Path, side: str) -> None:
        """Show an image in place of another, or ask where it may be a map of the open pair."""
        state = self._models.pair.state
        if state is None or path.suffix.lower() not in _MAP_SUFFIXES:
            self.replace_side(path, side)
            return
        sizes = (state.image_a.size_px, state.image_b.size_px)

        def done(look: api.TruthLook) -> None:
            deep = look.numbers in ("16-bit", "float") or look.likely is not None
            if deep and look.size_px in sizes:
                self.truth_unclear.emit(path, look, side)
            else:
                self.replace_side(path, side)

        self.truths.look(path, done)

    def replace_side(self, path: Path, side: str) -> None:
        """Open the pair with another image on one side."""
        state = self._models.pair.state
        if state is None:
            self.open_files(path, path)
        elif side == "a":
            self.open_files(path, state.pair.path_b)
        else:
            self.open_files(state.pair.path_a, path)

    def _open_file(self, path: Path) -> None:
        """Open a list of pairs, or else load the truth of the open pair."""

        def done(readers: tuple[api.PairSetReader, ...]) -> None:
            if readers:
                self.show_set(str(path))
            elif self._models.pair.state is None:
                self.truths.load(str(path))  # which says what is missing
            else:
                self.truths.look(path, looked)

        def looked(look: api.TruthLook) -> None:
            if look.kind is None:
                self.truth_unclear.emit(path, look, "")
            else:
                self.truths.load(str(path))

        self.lane.submit(
            lambda _context: api.fitting_readers(path), key="look", done=done, failed=self._failed
        )

    def _submit(self, what: str, read: Callable[[api.JobContext], _Opened | _Unclear]) -> None:
        self._models.pair.set_loading(what)
        self.lane.submit(
            read,
            key="open",
            done=self._opened,
            failed=self._failed,
            cancelled=partial(self._models.pair.set_loading, ""),
        )

    def _read_of_set(
        self, dataset: api.PairSet, group: str, index: int, ranges: Ranges = (None, None)
    ) -> _Opened:
        """On the worker's thread: decode the images of a pair of a set."""
        chosen = _in_ranges(_choose(dataset, group, index), ranges)
        choices = (*dataset.choices, *dataset.group(chosen.sequence).choices)
        opened = self._read(chosen, dataset)
        return replace(opened, notes=dataset.problems, choices=choices)

    def _read(self, pair: api.ImagePair, dataset: api.PairSet | None) -> _Opened:
        """On the worker's thread: decode both images."""
        image_a = self._images.read(pair.path_a, shown=pair.range_a)
        image_b = self._images.read(pair.path_b, shown=pair.range_b)
        displays = (self._prepare(image_a), self._prepare(image_b))
        truth = pair.open_truth(image_a.size_px, image_b.size_px)
        return _Opened(PairState(pair, image_a, image_b, *displays, truth), dataset)

    def _opened(self, opened: _Opened | _Unclear) -> None:
        if isinstance(opened, _Unclear):
            self._models.pair.set_loading("")
            self.layout_wanted.emit(opened.path, opened.readers)
            return
        browser, pair = self._models.browser, opened.state.pair
        if opened.dataset is not browser.state.dataset:
            browser.set_dataset(opened.dataset)
        browser.set_current(pair.sequence, pair.index)
        self._models.pair.set_loading("")
        show = partial(self._models.pair.set_pair, opened.state)
        if opened.around is None:
            show()
        else:
            opened.around(show)
        set_name = opened.dataset.opened if opened.dataset is not None else ""
        entry = write_recent(pair, set_name)
        if opened.remembered:
            self._models.settings.remember_pair(entry)
        if set_name:
            self._models.settings.remember_place(set_name, entry)
        if difference := _differing_ranges(opened.state):
            self._models.messages.notify(difference)
        for choice in opened.choices:
            self._models.messages.notify(choice, "warning", topic="data set")
        for note in opened.notes:
            self._models.messages.log(note, "warning", topic="data set")

    def _failed(self, failure: Failure) -> None:
        self._models.pair.set_loading("")
        self._models.pair.report_failure(failure.summary)


def _in_ranges(pair: api.ImagePair, ranges: Ranges) -> api.ImagePair:
    return replace(pair, range_a=ranges[0], range_b=ranges[1])


def _free_pair(path_a: Path, path_b: Path, truth: api.TruthSource | None) -> api.ImagePair:
    return api.ImagePair(path_a, path_b, truth, name=f"{path_a.name} ↔ {path_b.name}")


def _differing_ranges(state: PairState) -> str:
    """Says that two images of the same kind of samples got different ranges by themselves."""
    image_a, image_b = state.image_a, state.image_b
    same_type = image_a.samples.dtype == image_b.samples.dtype
    chosen = image_a.shown or image_b.shown
    if not same_type or chosen or image_a.range == image_b.range:
        return ""
    return (
        f"The images are shown and described in different ranges, A {image_a.range.words}, "
        f"B {image_b.range.words}: View ▸ Black and white points…."
    )


def _choose(dataset: api.PairSet, group: str, index: int) -> api.ImagePair:
    """The first pair with this group and number, where "" and 0 stand for any."""
    for pair in dataset.pairs():
        if group in ("", pair.sequence) and index in (0, pair.index):
            return pair
    return dataset.pair(group or dataset.groups[0].name, index)
