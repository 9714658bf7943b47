"""Training before and after: sample pairs, and past runs.  Loads torch."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engine.config import read_yaml
from engine.data.photos import open_and_split
from engine.errors import DescSpaceError
from engine.jobs.settings import TrainConfig, resolve_settings
from engine.metrics import best_of, judge_of
from engine.paths import began_s, runs_dir
from engine.progress import JobContext, Preview, Progress, Stage
from engine.training.batches import PairNumbers, PhotoReader, extra_reader, pairs_of_photos
from engine.training.extra_pairs import find_extra_pairs
from engine.training.previews import side_by_side
from engine.training.run_folder import (
    CONFIG_FILE,
    EVENTS_FILE,
    RESULT_FILE,
    TENSORBOARD_FOLDER,
    RunFolder,
    SavedWeights,
    read_events,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSamples:
    """What training would see.

    Attributes:
        training: how many photos there are to train on.
        validation: how many are kept apart.
        problems: a sentence for every picture that was left out.
        pictures: ``(H, 2 W, 3)`` uint8 each: both sides of a pair, as the first steps will see it.
        extra: what else it learns from, and what can no longer be reported therefore; "" where
            there are no extra pairs.
    """

    training: int
    validation: int
    problems: tuple[str, ...]
    pictures: tuple[NDArray[np.uint8], ...]
    extra: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSamplesJob:
    """Read a folder of photos and make the first pairs of a run.

    Attributes:
        config: the settings of the run.
        count: how many pairs.
    """

    config: TrainConfig
    count: int = 8

    def run(self, context: JobContext) -> TrainingSamples:
        """Read and make.

        Raises:
            ConfigError: no folder is named.
            DatasetError: there are too few photos, or none can be read.
            DescSpaceError: the extra pairs cannot be used.
            JobCancelled: it was stopped.
        """
        settings = self.config.train
        photos, split = open_and_split(
            settings.photos.folder,
            validation_share=settings.photos.validation_share,
            context=context,
        )
        broken: list[str] = []
        reader = PhotoReader(
            split.root,
            split.training,
            size_px=settings.photo_size_px,
            budget_bytes=0,
            warn=broken.append,
        )
        numbers = PairNumbers(len(split.training), settings.seed, "train")
        extra = find_extra_pairs(settings.extra, self.config.descriptor, context)
        windows = extra_reader(extra, settings, broken.append)
        pictures = []
        for number in range(self.count):
            context.cancel.check()
            one = range(number, number + 1)
            pairs = pairs_of_photos(reader, numbers, one, settings, torch.device("cpu"), windows)
            pictures.append(side_by_side(pairs.images_a[0], pairs.images_b[0]))
            context.emit(Progress(Stage.SAMPLING_PAIRS, number + 1, self.count))
        return TrainingSamples(
            len(split.training),
            len(split.validation),
            (*photos.problems, *broken),
            tuple(pictures),
            "" if extra is None else extra.words,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRunInfo:
    """A training run in a list.

    Attributes:
        folder: where it is.
        began_s: when it began, in seconds since the epoch.
        config: its settings; None where they cannot be read.
        own: the descriptor's own settings.
        step: the last step that was written down.
        finished: whether all steps are done, or it ended early and well.
        best: the best validation figure, None before the first one.
        checkpoints: the weights there are, by step, then the best and the last ones.
        problem: why it cannot be shown or continued, "" where it can.
    """

    folder: Path
    began_s: float
    config: TrainConfig | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    finished: bool = False
    best: float | None = None
    checkpoints: tuple[SavedWeights, ...] = ()
    problem: str = ""


def list_training_runs(
    root: Path | None = None, *, also: Iterable[Path] = ()
) -> tuple[TrainingRunInfo, ...]:
    """The training runs directly below a folder, the newest first.

    Args:
        root: of the runs; :func:`~engine.paths.runs_dir` by default.
        also: folders of further runs.
    """
    place = root or runs_dir()
    inside = filter(is_training_run, place.iterdir()) if place.is_dir() else ()
    infos = map(read_training_run, dict.fromkeys((*inside, *also)))
    return tuple(sorted(infos, key=lambda info: info.began_s, reverse=True))


def read_training_run(folder: Path) -> TrainingRunInfo:
    """What is known about the run in a folder; never fails, but names what is wrong."""
    try:
        config, own = resolve_settings(TrainConfig, from_file=read_yaml(folder / CONFIG_FILE))
        events = read_events(folder / EVENTS_FILE) if (folder / EVENTS_FILE).exists() else ()
    except DescSpaceError as error:
        return TrainingRunInfo(folder=folder, began_s=began_s(folder), problem=str(error))
    step = max((_whole(event.get("step")) for event in events), default=0)
    curves = _curves(events)
    judge = judge_of(curves)
    best = None if judge is None else best_of(judge, curves[judge].tolist())
    return TrainingRunInfo(
        folder=folder,
        began_s=began_s(folder),
        config=config,
        own=own,
        step=step,
        finished=_ended(events, step >= config.train.steps) and (folder / RESULT_FILE).exists(),
        best=None if best is None else best[0],
        checkpoints=RunFolder(folder).saved_weights(),
    )


def _ended(events: Sequence[Mapping[str, Any]], all_done: bool) -> bool:
    """Whether a run has ended: by all its steps, or early, and was not taken up again since."""
    marks = [event for event in events if event.get("type") in ("started", "finished")]
    return all_done or bool(marks and marks[-1].get("ended"))


def read_curves(folder: Path) -> dict[str, NDArray[np.float64]]:
    """The figures of a run for plotting: name -> ``(N, 2)`` of step and value, by step.

    Raises:
        ResultError: the run's events cannot be read.
    """
    return _curves(read_events(folder / EVENTS_FILE))


def _curves(events: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[np.float64]]:
    points: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        if event.get("type") != "metric":
            continue
        step = _whole(event.get("step"))
        for name, value in event.items():
            if name not in ("type", "step") and isinstance(value, int | float):
                with contextlib.suppress(OverflowError):  # JSON holds integers beyond any float
                    points.setdefault(name, []).append((float(step), float(value)))
    return {name: np.array(some) for name, some in points.items()}


def read_previews(folder: Path, *, most: int = 60) -> tuple[Preview, ...]:
    """The pictures that a run has drawn, by step, from its files for TensorBoard.

    Args:
        folder: of the run.
        most: pictures of so many steps are read at most, spread over the run.

    Returns:
        None where the run has drawn none; damaged pictures are left out.
    """
    # Slow to import, and needed here alone.
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[int, dict[str, bytes]] = {}
    for file in sorted((folder / TENSORBOARD_FOLDER).glob("events.out.tfevents.*")):
        try:
            for event in LegacyEventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    if value.HasField("image"):
                        pictures = found.setdefault(event.step, {})
                        pictures[value.tag] = value.image.encoded_image_string
                if len(found) > 2 * most:
                    found = {step: found[step] for step in sorted(found)[::2]}
        except Exception:  # a foreign parser of files that anything may have damaged
            logger.warning("%s is damaged; what came before is used", file, exc_info=True)
    steps = sorted(found)
    if len(steps) > most:
        chosen = np.linspace(0, len(steps) - 1, most).round().astype(int)
        steps = [steps[place] for place in chosen]
    previews = []
    for step in steps:
        drawn = {}
        for name, encoded in found[step].items():
            bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
            if bgr is not None:
                drawn[name] = np.ascontiguousarray(bgr[:, :, ::-1], np.uint8)
        previews.append(Preview(step, drawn))
    return tuple(previews)


def is_training_run(folder: Path) -> bool:
    """Whether a folder looks like a training run: evaluations have other settings files."""
    with contextlib.suppress(OSError):  # a folder that may not be looked into is no run of ours
        return (folder / CONFIG_FILE).is_file()
    return False


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
