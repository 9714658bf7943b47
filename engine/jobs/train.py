"""Train a descriptor and keep everything in a run's folder.  Loads torch."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import engine
from engine.config import read_yaml
from engine.data.photos import PhotoSplit, open_and_split
from engine.descriptors.base import TrainableDescriptor
from engine.descriptors.check import build_checked, check_trainable
from engine.descriptors.plugins import plugin_files, plugin_record
from engine.descriptors.registry import (
    DescriptorSpec,
    get_descriptor,
    make_spec,
)
from engine.devices import resolve_device
from engine.errors import ConfigError
from engine.evaluation.datasets import open_evaluation_set
from engine.evaluation.learned import (
    HEADER_NAME,
    NO_MARKS,
    Marks,
    groups_with,
    header_text,
    images_of,
    learned_by,
    learned_from,
    shared_images,
)
from engine.evaluation.ranks import Ranks, joined_ranks, own_device
from engine.files import write_atomically
from engine.jobs.command_line import TrainOptions, command_line
from engine.jobs.settings import (
    PLUGIN,
    TrainConfig,
    config_text,
    differing,
    resolve_settings,
)
from engine.progress import JobContext, Note, Saved
from engine.training.extra_pairs import ExtraPairs, bare_place, find_extra_pairs, whole_place
from engine.training.logs import peak_memory_mb
from engine.training.loop import TrainingState, TrainingTask, train
from engine.training.run_folder import CONFIG_FILE, RESULT_FILE, RunFolder
from engine.vocabulary import some_of
from engine.writer_lock import sole_writer

WEIGHTS_FORMAT = "descriptor-space weights 1"
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """Train a descriptor.

    Attributes:
        config: the settings; those of photos included.
        own: the descriptor's own settings.
        run_dir: folder of the run; made if it is not there.
        resume: continue the run in that folder.
        plugins: plugin files, for the command that is written down.
    """

    config: TrainConfig
    run_dir: Path
    own: Mapping[str, Any] = field(default_factory=dict)
    resume: bool = False
    plugins: tuple[Path, ...] = ()

    def run(self, context: JobContext) -> TrainingState:
        """Train until all steps are done.

        Raises:
            DescSpaceError: settings, photos, weights, device or folder cannot be used; the text
                says which and why.
            JobCancelled: it was stopped; a checkpoint is kept, and ``resume`` continues from it.
        """
        device = own_device(resolve_device(self.config.device))
        with joined_ranks(device) as ranks, contextlib.ExitStack() as held:
            if ranks.rank:
                context = replace(context, emit=lambda _: None)
            folder = RunFolder(self.run_dir)
            prepared = ranks.gather_work(partial(self._prepare, ranks, folder, context, held))
            spec, split, extra, learned = prepared[ranks.rank]
            descriptor, found = build_checked(spec)
            for sentence in found:
                context.emit(Note(sentence, "warning"))
            if not isinstance(descriptor, TrainableDescriptor):
                raise ConfigError(
                    "descriptor", f"{spec.name!r} has no weights that could be trained"
                )
            check_trainable(spec, descriptor)
            task = TrainingTask(
                descriptor=descriptor,
                spec=spec,
                settings=self.config.train,
                split=split,
                folder=folder,
                device=device,
                ranks=ranks,
                metadata=self._metadata(spec, split, device, ranks, extra, learned),
                extra=extra,
            )
            state = train(task, context)
            if ranks.rank == 0:
                path = folder.write_json(RESULT_FILE, _as_json(state, task))
                context.emit(Saved(path, "result"))
        return state

    def _prepare(
        self,
        ranks: Ranks,
        folder: RunFolder,
        context: JobContext,
        held: contextlib.ExitStack,
    ) -> tuple[DescriptorSpec, PhotoSplit, ExtraPairs | None, Marks]:
        """Look at everything that could be wrong before the long work."""
        spec = make_spec(self.config.descriptor, self._from_the_start())
        split = self._open_photos(context)
        extra = find_extra_pairs(self.config.train.extra, self.config.descriptor, context)
        learned = self._learned(folder, spec, extra)
        self._check_judges(split, learned, context)
        if extra is not None:
            context.emit(Note(extra.words, "warning"))
        if ranks.rank == 0:
            folder.check(resume=self.resume)  # before the lock makes the folder
            held.enter_context(sole_writer(folder.path))
            folder.begin(resume=self.resume)
            self._note_changes(folder, context)
            plugins = plugin_record([spec.name])
            text = config_text(self._with_whole_path(), self.own, plugins)
            write_atomically(folder.path / CONFIG_FILE, text.encode("utf-8"))
        return spec, split, extra, learned

    def _check_judges(self, split: PhotoSplit, learned: Marks, context: JobContext) -> None:
        """Refuse to judge the run by images that it, or the weights it starts from, learns from.

        Args:
            split: the photos; those kept apart for validation judge the run.
            learned: the marks of these images.
            context: receives the progress while a set is opened.

        Raises:
            ConfigError: a photo kept apart, or a sequence for validation, is among them.
        """
        if not learned:
            return
        kept = shared_images((split.root / name for name in split.validation), learned)
        if kept:
            names = some_of([path.name for path in kept], most=1)
            raise ConfigError(
                "train.photos.folder",
                f"{names} would judge the run as photos kept apart for validation, and the "
                "weights learn from them; take them out of the folder or of the extra pairs",
            )
        folder = self.config.train.validation.sequences
        if folder is None:
            return
        dataset = open_evaluation_set(str(folder), context=context)
        shared = shared_images(images_of(dataset), learned)
        if shared:
            groups = groups_with(dataset, frozenset(shared))
            raise ConfigError(
                "train.validation.sequences",
                f"{len(shared)} images of {folder} (in {some_of(groups)}) would judge the run, "
                "and the weights learn from them; choose other sequences or other extra pairs",
            )

    def _learned(self, folder: RunFolder, spec: DescriptorSpec, extra: ExtraPairs | None) -> Marks:
        """The images that the run's weights have learned from when it ends.

        Those of the weights that it starts from count, and those of an earlier part of the run.
        """
        last = folder.weights_file("last")
        before = learned_from(last) if self.resume and last.exists() else NO_MARKS
        return learned_by(spec) | before | (NO_MARKS if extra is None else extra.marks)

    def _from_the_start(self) -> dict[str, Any]:
        """The descriptor's own settings, with random weights unless others are named."""
        names = {field.name for field in fields(get_descriptor(self.config.descriptor).config)}
        scratch = {"untrained": True} if "untrained" in names and "weights" not in self.own else {}
        return {**scratch, **self.own}

    def _open_photos(self, context: JobContext) -> PhotoSplit:
        settings = self.config.train.photos
        photos, split = open_and_split(
            settings.folder, validation_share=settings.validation_share, context=context
        )
        for problem in photos.problems[:_SHOWN_PROBLEMS]:
            context.emit(Note(problem, "warning"))
        more = len(photos.problems) - _SHOWN_PROBLEMS
        if more > 0:
            context.emit(Note(f"{more} more pictures cannot be read and are left out.", "warning"))
        context.emit(
            Note(
                f"{len(split.training)} photos to train on, {len(split.validation)} kept apart for "
                "validation."
            )
        )
        return split

    def _with_whole_path(self) -> TrainConfig:
        """The settings with paths that hold from any folder, so that any may continue it."""
        settings = self.config.train
        assert settings.photos.folder is not None
        return self._with_places(settings.photos.folder.absolute(), whole_place)

    def _with_places(self, photos: Path, place: Callable[[str], str]) -> TrainConfig:
        """The settings with another folder of photos, and other names for the extra pairs."""
        settings = self.config.train
        extra = settings.extra
        named = replace(
            extra,
            pairs=extra.pairs and place(extra.pairs),
            dataset=extra.dataset and place(extra.dataset),
        )
        changed = replace(settings, photos=replace(settings.photos, folder=photos), extra=named)
        return replace(self.config, train=changed)

    def _note_changes(self, folder: RunFolder, context: JobContext) -> None:
        """Say which settings a continued run changes."""
        path = folder.path / CONFIG_FILE
        if not (self.resume and path.exists()):
            return
        values = read_yaml(path)
        before, _ = resolve_settings(TrainConfig, from_file=values)
        changed = differing(before, self._with_whole_path())
        now = plugin_record([self.config.descriptor])
        if values.get(PLUGIN, {}) != now:
            changed = (*changed, f"{PLUGIN} (the code of {self.config.descriptor!r})")
        if changed:
            context.emit(
                Note(f"The run continues with other settings: {', '.join(changed)}.", "warning")
            )
        if not folder.state_file.exists():
            context.emit(Note("The run has no checkpoint yet and starts from the beginning."))

    def _metadata(
        self,
        spec: DescriptorSpec,
        split: PhotoSplit,
        device: torch.device,
        ranks: Ranks,
        extra: ExtraPairs | None,
        learned: Marks,
    ) -> dict[str, str]:
        """The header of every weights file of the run."""
        left_out = ("weights", "untrained")  # they belong to the start of the run
        own = {name: value for name, value in spec.settings if name not in left_out}
        # Weights travel: they name the folder of photos, not its place on this computer.
        config = self._with_places(Path(split.root.name), bare_place)
        also = {} if extra is None else {"extra_pairs": extra.title}
        if learned:
            also[HEADER_NAME] = header_text(learned)
        return {
            "format": WEIGHTS_FORMAT,
            "descriptor": spec.name,
            "descriptor_settings": json.dumps(own, default=str),
            "config": config_text(config, self.own),
            "command": command_line(
                "train",
                config,
                TrainOptions(plugins=self.plugins or plugin_files([spec.name])),
                own=self.own,
            ),
            "photos": f"{len(split.training)} photos in {split.root.name}",
            "photos_sha256": split.training_sha256,
            **also,
            "hardware": _hardware(device, ranks),
            "versions": f"descriptor-space {engine.__version__}, torch {torch.__version__}",
        }


def _as_json(state: TrainingState, task: TrainingTask) -> dict[str, Any]:
    return {
        "steps": state.step,
        "seconds": round(state.seconds, 1),
        "skipped": state.skipped,
        "validation": state.figures,
        "best": state.best,
        "best_step": state.best_step,
        "ended": state.ended,
        "memory_mb": round(peak_memory_mb(task.device), 1),
        **{name: task.metadata[name] for name in ("descriptor", "photos", "hardware", "versions")},
        "command": task.metadata["command"],
    }


def _hardware(device: torch.device, ranks: Ranks) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        cores = os.cpu_count() or 1
        name = f"CPU {platform.machine()}, {torch.get_num_threads()} threads of {cores}"
    return f"{ranks.world} × {name}" if ranks.world > 1 else name
