"""Training as one line of a terminal."""

from __future__ import annotations

import sys
import time

from engine.cli.command import Shell
from engine.metrics import judge_of, metric_info, plateau_text
from engine.progress import Event, Metric, Preview, Progress, Stage

_LINE_WIDTH = 118


class StatusLine:
    """Shows training on one line: rewritten in a terminal, one after the other in a file.

    Args:
        shell: where notes and warnings go.
        steps: of the whole run.
        patience: after how many validations without a new best the run ends; 0 for never.
    """

    def __init__(self, shell: Shell, steps: int, *, patience: int = 0) -> None:
        self._shell = shell
        self._steps = steps
        self._patience = patience
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
        """Leave the last line where it is and continue below it."""
        if self._shown:
            print(file=sys.stderr)
            self._shown = False
        self._shell.sink.close()

    def text(self, step: int, values: dict[str, float]) -> str:
        """The line for the figures of a step."""
        parts = [f"step {step}/{self._steps}", f"epoch {values.get('epoch', 0):.2f}"]
        if self._began is not None and step > self._began[1]:
            a_step_s = (time.monotonic() - self._began[0]) / (step - self._began[1])
            parts.append(f"ETA {clock(a_step_s * (self._steps - step))}")
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
            plateau = plateau_text(round(values.get("no_better", 0.0)), self._patience)
            judged = f"{metric_info(judge).title} {values[judge]:.3f}"
            self._judged = f"{judged}, {plateau}" if plateau else judged
        if "loss" not in values:  # of a validation
            return
        text = self.text(step, values)
        if not self._rewrites:
            self._shell.sink.note(text)
            return
        self._shell.sink.close()
        print(f"\r\x1b[2K{text[:_LINE_WIDTH]}", end="", file=sys.stderr, flush=True)
        self._shown = True

    def _clear(self) -> None:
        if self._shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
            self._shown = False


def clock(seconds: float) -> str:
    """A time as ``m:ss`` or ``h:mm:ss``."""
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"
