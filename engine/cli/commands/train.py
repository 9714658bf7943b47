"""``train``: learn a descriptor from a folder of photos."""

from __future__ import annotations

import contextlib
import os
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.cli.command import (
    Command,
    Shell,
    flags_from,
    is_first_process,
    options_from,
)
from engine.cli.status_line import StatusLine, clock
from engine.config import merge, read_yaml
from engine.errors import ConfigError
from engine.jobs.command_line import TrainOptions
from engine.jobs.original_overrides import (
    Translation,
    overridden_names,
    override_lines,
    split_overrides,
    steps_of,
    translate,
)
from engine.jobs.settings import TrainConfig, resolve_settings
from engine.loading import loading
from engine.metrics import judge_of, metric_info
from engine.progress import JobContext, ignore_event

# As the run's folder has it; engine.training.run_folder, which names it, would load torch.
_CONFIG_FILE = "config.yaml"


def run(arguments: Namespace, shell: Shell) -> int:
    """Train."""
    speaks = is_first_process()
    options = options_from(arguments, TrainOptions)
    ours, theirs = split_overrides(options.overrides, options.settings)
    original = translate(theirs)
    run_dir, resume = _where(options, original)
    file = options.config
    if file is None and resume and (run_dir / _CONFIG_FILE).exists():
        file = run_dir / _CONFIG_FILE
    layers: dict[str, Any] = {
        "from_file": read_yaml(file) if file is not None else None,
        "flags": flags_from(arguments, TrainConfig),
    }
    config, own = resolve_settings(
        TrainConfig, overrides=ours, original=original.settings, **layers
    )
    if original.epochs is not None:
        if "train.steps" in overridden_names(ours):
            raise ConfigError("train.steps", "is given twice, also as TRAIN.MAX_EPOCHS")
        reading = JobContext(shell.sink if speaks else ignore_event, shell.cancel)
        original = _with_steps(original, config, reading)
        config, own = resolve_settings(
            TrainConfig, overrides=ours, original=original.settings, **layers
        )
    line = StatusLine(shell, config.train.steps, patience=config.train.validation.patience)
    context = JobContext(line if speaks else ignore_event, shell.cancel)
    if speaks:
        for text in (
            *_changes(ours, original, (config, own), layers),
            *_changes_of_folder(original, options, run_dir, resume=resume),
        ):
            shell.sink.note(text)
    with shell.loading_torch() if speaks else loading("torch"):
        from engine.jobs.recipe import load_descriptor_sources
        from engine.jobs.train import TrainJob

    load_descriptor_sources(options.plugins, context)
    job = TrainJob(config=config, own=own, run_dir=run_dir, resume=resume, plugins=options.plugins)
    with contextlib.closing(line):
        result = job.run(context)
    if speaks:
        judge = judge_of(result.figures)
        best = ""
        if judge is not None and result.best is not None:
            title = metric_info(judge).title
            best = f", best {title} {result.best:.3f} at step {result.best_step}"
        early = f" of {config.train.steps}, ended early" if result.ended != "steps" else ""
        shell.print(f"{result.step} steps{early} in {clock(result.seconds)}{best}\nrun: {run_dir}")
    return 0


def _where(options: TrainOptions, original: Translation) -> tuple[Path, bool]:
    """The run's folder, and whether to continue the run in it."""
    named = options.run_dir
    if named is None and original.run_name is None and (options.resume or "RANK" in os.environ):
        raise ConfigError(
            "run-dir", "name the folder of the run, which all processes have to share"
        )
    if options.resume and original.resume is False:
        raise ConfigError("TRAIN.RESUME", "is False, but --resume is given")
    run_dir = named or original.run_dir()
    # The original continues where there is something to continue, and begins where there is not.
    continues = original.resume is True and (run_dir / _CONFIG_FILE).exists()
    return run_dir, options.resume or continues


def _with_steps(original: Translation, config: TrainConfig, context: JobContext) -> Translation:
    """The translation with the steps that its passes over these photos take."""
    from engine.data.photos import open_and_split

    assert original.epochs is not None
    photos = config.train.photos
    _, split = open_and_split(
        photos.folder, validation_share=photos.validation_share, context=context
    )
    count = len(split.training)
    steps = steps_of(original.epochs, photos=count, batch=config.train.batch)
    of = f"TRAIN.MAX_EPOCHS {original.epochs}, {count} photos in batches of {config.train.batch}"
    return replace(
        original,
        settings=merge(original.settings, {"train": {"steps": steps}}),
        sources={**original.sources, "train.steps": of},
    )


def _changes(
    ours: Sequence[str],
    original: Translation,
    now: tuple[TrainConfig, Mapping[str, Any]],
    layers: Mapping[str, Any],
) -> Iterator[str]:
    """What the overrides changed, line by line."""
    names = dict.fromkeys((*overridden_names(ours), *original.sources))
    if names:
        try:
            before = resolve_settings(TrainConfig, **layers)
        except ConfigError:  # an override corrects what was wrong
            before = None
        yield from override_lines(names, before, now, sources=original.sources)
    yield from original.passed_over


def _changes_of_folder(
    original: Translation, options: TrainOptions, run_dir: Path, *, resume: bool
) -> Iterator[str]:
    """What overrides did to the run's folder, line by line."""
    given = {"EXP.NAME": original.run_name, "MODEL_DIR": original.runs_folder}
    names = " and ".join(name for name, value in given.items() if value is not None)
    if names:
        verb = "is" if options.run_dir is None else "stays"
        yield f"--run-dir: {verb} {run_dir} ({names})"
    if original.resume is not None:
        yield f"--resume: the run {'continues' if resume else 'begins'} (TRAIN.RESUME)"


COMMAND = Command(
    usage="--config FILE --photos DIR [option …] [NAME VALUE …]",
    examples=(
        "train --config resources/configs/quick.yaml --photos my/photos",
        "train --config resources/configs/msnet_v0.yaml --photos coco --run-dir runs/1",
        "train --run-dir runs/1 --resume",
        "train --photos my/photos --set train.steps=500 --set train.batch=2",
        "train --config resources/configs/msnet_v0.yaml --photos coco TRAIN.BATCH_SIZE 4",
    ),
    description="Train a descriptor on pairs made from photos, and keep checkpoints, logs and "
    "pictures\nin a folder. Under torchrun the processes share every batch. Stop with Ctrl-C, "
    "continue\nwith --resume. MSNet's published code names its settings in capitals; these names "
    "are\nunderstood too, behind the flags or with --set (see docs/ORIGINAL_OVERRIDES.md).",
    options=(TrainConfig, TrainOptions),
    run=run,
    needs_torch=True,
)
