"""``train``: learn a descriptor from a folder of photos."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.cli.parser import Parser, Shell, Subparsers, add_command, flag_of
from engine.config import describe_options, merge, read_yaml
from engine.errors import ConfigError
from engine.jobs.original_overrides import Translation, split_overrides, steps_of, translate
from engine.jobs.train_settings import (
    TrainConfig,
    overridden_names,
    override_lines,
    resolve_training,
)
from engine.metrics import judge_of, metric_info
from engine.progress import Event, JobContext, Metric, Preview, Progress, Stage, ignore_event

_LINE_WIDTH = 118
# As the run's folder has it; engine.training.run_folder, which names it, would load torch.
_CONFIG_FILE = "config.yaml"


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "train",
        summary="train a descriptor on photos",
        usage="--config FILE --photos DIR [option …] [NAME VALUE …]",
        examples=(
            "train --config resources/configs/quick.yaml --photos my/photos\n"
            "train --config resources/configs/msnet_v0.yaml --photos coco --run-dir runs/1\n"
            "train --run-dir runs/1 --resume\n"
            "train --photos my/photos --set train.steps=500 --set train.batch=2\n"
            "train --config resources/configs/msnet_v0.yaml --photos coco TRAIN.BATCH_SIZE 4"
        ),
    )
    parser.description = (
        "Train a descriptor on pairs made from photos, and keep checkpoints, logs and pictures\n"
        "in a folder. Under torchrun the processes share every batch. Stop with Ctrl-C, go on\n"
        "with --resume. MSNet's published code names its settings in capitals; these names are\n"
        "understood too, behind the flags or with --set (see docs/ORIGINAL_OVERRIDES.md)."
    )
    group = parser.add_argument_group("what to train")
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML file with the settings; --resume without it takes the run's own",
    )
    group.add_argument(
        "--photos", type=Path, metavar="DIR", help="folder of photos, COCO's layout or any other"
    )
    group.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting, such as train.steps=500 or train.warp.rotation_deg=45; the descriptor's "
        "own begin with 'settings.'; may be given more than once",
    )
    for info in describe_options(TrainConfig):
        group.add_argument(flag_of(info), dest=info.name, metavar="NAME", help=info.help)
    group.add_argument(
        "overrides",
        nargs="*",
        metavar="NAME VALUE",
        help="settings by the names of MSNet's published code, such as TRAIN.BATCH_SIZE 4",
    )
    group.add_argument(
        "--plugin",
        dest="plugins",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="Python file that registers a descriptor; its code will run",
    )
    group = parser.add_argument_group("where to write")
    group.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="folder of this run (default: a new one)"
    )
    group.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in that folder"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, shell: Shell) -> int:
    """Train."""
    # Of several processes only the first one speaks.
    speaks = int(os.environ.get("RANK", "0")) == 0
    ours, theirs = split_overrides(arguments.overrides, arguments.settings)
    original = translate(theirs)
    run_dir, resume = _where(arguments, original)
    file: Path | None = arguments.config
    if file is None and resume and (run_dir / _CONFIG_FILE).exists():
        file = run_dir / _CONFIG_FILE
    layers: dict[str, Any] = {
        "from_file": read_yaml(file) if file is not None else None,
        "flags": {
            "descriptor": arguments.descriptor,
            "device": arguments.device,
            "train": {"photos": {"folder": arguments.photos}},
        },
    }
    config, own = resolve_training(overrides=ours, original=original.settings, **layers)
    if original.epochs is not None:
        if "train.steps" in overridden_names(ours):
            raise ConfigError("train.steps", "is said twice, the other time as TRAIN.MAX_EPOCHS")
        reading = JobContext(shell.sink if speaks else ignore_event, shell.cancel)
        original = _with_steps(original, config, reading)
        config, own = resolve_training(overrides=ours, original=original.settings, **layers)
    if speaks:
        for text in _told(ours, original, (config, own), layers):
            shell.sink.note(text)
        for text in _told_where(original, arguments, run_dir, resume=resume):
            shell.sink.note(text)
    line = StatusLine(shell, config.train.steps)
    context = JobContext(line if speaks else ignore_event, shell.cancel)
    with shell.stage(Stage.LOADING_TORCH) if speaks else contextlib.nullcontext():
        from engine.jobs.recipe import load_descriptor_sources
        from engine.jobs.train import TrainJob

    load_descriptor_sources(arguments.plugins, context)
    job = TrainJob(
        config=config,
        own=own,
        run_dir=run_dir,
        resume=resume,
        plugins=tuple(arguments.plugins),
    )
    with _terminate_cancels(shell), contextlib.closing(line):
        result = job.run(context)
    if speaks:
        judge = judge_of(result.figures)
        best = ""
        if judge is not None and result.best is not None:
            title = metric_info(judge).title
            best = f", best {title} {result.best:.3f} at step {result.best_step}"
        print(f"{result.steps} steps in {_clock(result.seconds)}{best}\nrun: {result.run_dir}")
    return 0


def _where(arguments: argparse.Namespace, original: Translation) -> tuple[Path, bool]:
    """The run's folder, and whether to go on with the run in it."""
    named: Path | None = arguments.run_dir
    if named is None and original.run_name is None and (arguments.resume or "RANK" in os.environ):
        raise ConfigError(
            "run-dir", "name the folder of the run, which all processes have to share"
        )
    if arguments.resume and original.resume is False:
        raise ConfigError("TRAIN.RESUME", "is False, and --resume says the opposite")
    run_dir = named or original.run_dir()
    # The original goes on where there is something to go on with, and begins where there is not.
    goes_on = original.resume is True and (run_dir / _CONFIG_FILE).exists()
    return run_dir, arguments.resume or goes_on


def _with_steps(original: Translation, config: TrainConfig, context: JobContext) -> Translation:
    """The translation with the steps that its passes over these photos take."""
    from engine.data.photos import open_photos, split_photos

    assert original.epochs is not None
    photos = config.train.photos
    if photos.folder is None:
        raise ConfigError("train.photos.folder", "is not named; name a folder of photos")
    split = split_photos(
        open_photos(photos.folder, context), validation_share=photos.validation_share
    )
    count = len(split.training)
    steps = steps_of(original.epochs, photos=count, batch=config.train.batch)
    of = f"TRAIN.MAX_EPOCHS {original.epochs}, {count} photos in batches of {config.train.batch}"
    return replace(
        original,
        settings=merge(original.settings, {"train": {"steps": steps}}),
        sources={**original.sources, "train.steps": of},
    )


def _told(
    ours: Sequence[str],
    original: Translation,
    now: tuple[TrainConfig, dict[str, Any]],
    layers: Mapping[str, Any],
) -> Iterator[str]:
    """What the overrides changed, line by line."""
    names = dict.fromkeys((*overridden_names(ours), *original.sources))
    if names:
        try:
            before = resolve_training(**layers)
        except ConfigError:  # an override mends what was wrong
            before = None
        yield from override_lines(names, before, now, sources=original.sources)
    yield from original.passed_over


def _told_where(
    original: Translation, arguments: argparse.Namespace, run_dir: Path, *, resume: bool
) -> Iterator[str]:
    """What overrides did to the run's folder, line by line."""
    said = {"EXP.NAME": original.run_name, "MODEL_DIR": original.runs_folder}
    names = " and ".join(name for name, value in said.items() if value is not None)
    if names and arguments.run_dir is None:
        yield f"--run-dir: is {run_dir} ({names})"
    elif names:
        yield f"--run-dir: stays {run_dir} ({names})"
    if original.resume is not None:
        yield f"--resume: the run {'goes on' if resume else 'begins'} (TRAIN.RESUME)"


class StatusLine:
    """Shows training on one line: rewritten in a terminal, one after the other in a file.

    Args:
        shell: where notes and warnings go.
        steps: of the whole run.
    """

    def __init__(self, shell: Shell, steps: int) -> None:
        self._shell = shell
        self._steps = steps
        self._rewrites = shell.sink.shows_bar
        self._began: tuple[float, int] | None = None
        self._judged = ""
        self._shown = False

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Metric(step, values):
                self._metric(step, values)
            case Progress(Stage.TRAINING, done):
                if self._began is None:
                    self._began = (time.monotonic(), done)
            case Preview():
                pass
            case _:
                self._clear()
                self._shell.sink(event)

    def close(self) -> None:
        """Leave the last line where it is and go below it."""
        if self._shown:
            print(file=sys.stderr)
            self._shown = False
        self._shell.sink.close()

    def text(self, step: int, values: dict[str, float]) -> str:
        """The line for the figures of a step."""
        parts = [f"step {step}/{self._steps}", f"epoch {values.get('epoch', 0):.2f}"]
        left_s = self._left_s(step)
        if left_s is not None:
            parts.append(f"ETA {_clock(left_s)}")
        if "loss" in values:
            parts.append(f"loss {values['loss']:.4f}")
        if self._judged:
            parts.append(self._judged)
        parts.append(f"rate {values.get('rate', 0):.2g}")
        parts.append(f"{values.get('step_s', 0):.3f} s/step")
        parts.append(f"data wait {100 * values.get('data_wait_share', 0):.1f} %")
        parts.append(f"{values.get('memory_mb', 0) / 1024:.1f} GB")
        if values.get("skipped"):
            parts.append(f"skipped {values['skipped']:.0f}")
        return "  ".join(parts)

    def _metric(self, step: int, values: dict[str, float]) -> None:
        judge = judge_of(values)
        if judge is not None:
            self._judged = f"{metric_info(judge).title} {values[judge]:.3f}"
        if "loss" not in values:  # of a validation
            return
        text = self.text(step, values)
        if not self._rewrites:
            self._shell.sink.note(text)
            return
        self._shell.sink.close()
        print(f"\r\x1b[2K{text[:_LINE_WIDTH]}", end="", file=sys.stderr, flush=True)
        self._shown = True

    def _left_s(self, step: int) -> float | None:
        if self._began is None or step <= self._began[1]:
            return None
        a_step_s = (time.monotonic() - self._began[0]) / (step - self._began[1])
        return a_step_s * (self._steps - step)

    def _clear(self) -> None:
        if self._shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._shown = False


@contextlib.contextmanager
def _terminate_cancels(shell: Shell) -> Iterator[None]:
    """Inside the block being asked to end, as torchrun and job queues do, keeps a checkpoint."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: shell.cancel.cancel())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _clock(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"
