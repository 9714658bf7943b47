"""Long work as seen in a terminal: a progress bar, or lines in a file."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from engine.errors import printable
from engine.progress import Checkpoint, Event, Metric, Note, Progress, Saved

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_LINE_EVERY_S = 2.0


class TerminalSink:
    """Shows events on stderr, so that stdout holds results alone.

    Warnings are always shown: results cannot be read without them.

    Args:
        quiet: show nothing but warnings.
        bar: draw a progress bar; None asks the terminal.

    Attributes:
        shows_bar: whether progress is a bar that moves; lines otherwise.
    """

    def __init__(self, *, quiet: bool = False, bar: bool | None = None) -> None:
        if bar is None:
            bar = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._quiet = quiet
        self.shows_bar = bar and not quiet
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}
        self._shown_s: dict[str, float] = {}
        self._warned: set[str] = set()
        self._last = ""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Note(text, "warning"):
                self.warn(text)
            case Note(text):
                self.note(text)
            case Saved(path, what):
                self.note(f"Saved {what}: {path}")
            case Checkpoint(step, reason, path):
                why = "" if reason == "periodic" else f", {reason}"
                self.note(f"Saved checkpoint at step {step}{why}: {path}")
            case Metric(step, values):
                shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
                self.note(f"step {step}: {shown}")
            case Progress():
                self._progress(event)

    def note(self, text: str) -> None:
        """Print something that may be left out."""
        if not self._quiet:
            self._line(text)

    def warn(self, text: str) -> None:
        """Print something that must be read, once: both images of a pair may give the same."""
        if text not in self._warned:
            self._warned.add(text)
            self._line(f"warning: {text}")

    def close(self) -> None:
        """Remove the bar; the sink can be used again."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks.clear()

    def _line(self, text: str) -> None:
        text = self._last = printable(text, keep="\n")
        if self._bar is not None:
            # Printed by the bar's own console, which moves the bar below the line.
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _progress(self, event: Progress) -> None:
        if self._quiet:
            return
        if self.shows_bar:
            self._move_bar(event)
            return
        if event.total == 1:  # nothing to count: print what begins
            begins = f"{event.stage} …"
            if event.done == 0 and begins != self._last:  # several small files look like one
                self._line(begins)
            return
        now_s = time.monotonic()
        finished = event.total is not None and event.done >= event.total
        # The first event only starts the clock: a short stage prints its end alone.
        if finished or now_s - self._shown_s.setdefault(event.stage, now_s) >= _LINE_EVERY_S:
            self._shown_s[event.stage] = now_s
            of_total = f" of {event.total}" if event.total is not None else ""
            self._line(f"{event.stage}: {event.done}{of_total}")

    def _move_bar(self, event: Progress) -> None:
        if self._bar is None:
            self._bar = _make_bar()
            self._bar.start()
        task = self._tasks.get(event.stage)
        if task is None:
            task = self._tasks[event.stage] = self._bar.add_task(event.stage, total=event.total)
        self._bar.update(task, completed=event.done, total=event.total)


def _make_bar() -> Bar:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
