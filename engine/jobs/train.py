"""Train a descriptor and keep everything in a run's folder.  Loads torch."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Mapping
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
from engine.training.logs import peak_memory_mb
from engine.training.loop import TrainingState, TrainingTask, train
from engine.training.run_folder import CONFIG_FILE, RESULT_FILE, RunFolder
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
            spec, split = prepared[ranks.rank]
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
                metadata=self._metadata(spec, split, device, ranks),
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
    ) -> tuple[DescriptorSpec, PhotoSplit]:
        """Look at everything that could be wrong before the long work."""
        spec = make_spec(self.config.descriptor, self._from_the_start())
        split = self._open_photos(context)
        if ranks.rank == 0:
            folder.check(resume=self.resume)  # before the lock makes the folder
            held.enter_context(sole_writer(folder.path))
            folder.begin(resume=self.resume)
            self._note_changes(folder, context)
            plugins = plugin_record([spec.name])
            text = config_text(self._with_whole_path(), self.own, plugins)
            write_atomically(folder.path / CONFIG_FILE, text.encode("utf-8"))
        return spec, split

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
        """The settings with a path that holds from any folder, so that any may continue it."""
        settings = self.config.train
        assert settings.photos.folder is not None
        photos = replace(settings.photos, folder=settings.photos.folder.absolute())
        return replace(self.config, train=replace(settings, photos=photos))

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
        self, spec: DescriptorSpec, split: PhotoSplit, device: torch.device, ranks: Ranks
    ) -> dict[str, str]:
        """The header of every weights file of the run."""
        left_out = ("weights", "untrained")  # they belong to the start of the run
        own = {name: value for name, value in spec.settings if name not in left_out}
        # Weights travel: they name the folder of photos, not its place on this computer.
        photos = replace(self.config.train.photos, folder=Path(split.root.name))
        config = replace(self.config, train=replace(self.config.train, photos=photos))
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
