"""``train``: learn a descriptor from a folder of photos."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from engine.cli.parser import Parser, Shell, Subparsers, add_command, flag_of
from engine.config import describe_options, read_yaml
from engine.errors import ConfigError
from engine.jobs.train_settings import TrainConfig, resolve_training
from engine.paths import user_data_dir
from engine.progress import Event, JobContext, Metric, Note, Preview, Progress, Saved, ignore_event

_LINE_WIDTH = 118


def add_parser(commands: Subparsers[Parser]) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "train",
        summary="train a descriptor on photos",
        usage="--config FILE --photos DIR [option …]",
        examples=(
            "train --config resources/configs/quick.yaml --photos my/photos\n"
            "train --config resources/configs/msnet_v0.yaml --photos coco --run-dir runs/1\n"
            "train --run-dir runs/1 --resume\n"
            "train --photos my/photos --set train.steps=500 --set train.batch=2"
        ),
    )
    parser.description = (
        "Train a descriptor on pairs made from photos, and keep checkpoints, logs and pictures\n"
        "in a folder. Under torchrun the processes share every batch. Stop with Ctrl-C, go on\n"
        "with --resume."
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
    run_dir: Path | None = arguments.run_dir
    if run_dir is None and (arguments.resume or "RANK" in os.environ):
        raise ConfigError(
            "run-dir", "name the folder of the run, which all processes have to share"
        )
    if run_dir is None:
        run_dir = user_data_dir() / "runs" / time.strftime("train-%Y%m%d-%H%M%S")
    file: Path | None = arguments.config
    if file is None and arguments.resume and (run_dir / "config.yaml").exists():
        file = run_dir / "config.yaml"
    flags = {
        "descriptor": arguments.descriptor,
        "device": arguments.device,
        "train": {"photos": {"folder": arguments.photos}},
    }
    config, own = resolve_training(
        from_file=read_yaml(file) if file is not None else None,
        overrides=arguments.settings,
        flags=flags,
    )
    # Of several processes only the first one speaks.
    speaks = int(os.environ.get("RANK", "0")) == 0
    line = StatusLine(shell, config.train.steps)
    context = JobContext(line if speaks else ignore_event, shell.cancel)
    with shell.stage("loading torch") if speaks else contextlib.nullcontext():
        from engine.jobs.recipe import load_descriptor_sources
        from engine.jobs.train import TrainJob

    load_descriptor_sources(arguments.plugins, context)
    job = TrainJob(
        config=config,
        own=own,
        run_dir=run_dir,
        resume=arguments.resume,
        plugins=tuple(arguments.plugins),
    )
    with _terminate_cancels(shell), contextlib.closing(line):
        result = job.run(context)
    if speaks:
        best = "" if result.best is None else f", best PCK@3 {result.best:.3f}"
        best += f" at step {result.best_step}" if result.best is not None else ""
        print(f"{result.steps} steps in {_clock(result.seconds)}{best}\nrun: {result.run_dir}")
    return 0


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
        self._pck: float | None = None
        self._shown = False

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Metric(step, values):
                self._metric(step, values)
            case Progress("training", done):
                if self._began is None:
                    self._began = (time.monotonic(), done)
            case Preview():
                pass
            case Note() | Saved() | Progress():
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
        if self._pck is not None:
            parts.append(f"PCK@3 {self._pck:.3f}")
        parts.append(f"rate {values.get('rate', 0):.2g}")
        parts.append(f"{values.get('step_s', 0):.3f} s/step")
        parts.append(f"data wait {100 * values.get('data_wait_share', 0):.1f} %")
        parts.append(f"{values.get('memory_mb', 0) / 1024:.1f} GB")
        if values.get("skipped"):
            parts.append(f"skipped {values['skipped']:.0f}")
        return "  ".join(parts)

    def _metric(self, step: int, values: dict[str, float]) -> None:
        if "step_s" not in values:  # of a validation
            self._pck = values.get("pck@3", self._pck)
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
