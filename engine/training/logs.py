"""Where a run's events go: a file of lines, TensorBoard, and whoever listens."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import torch

from engine.metrics import metric_info
from engine.progress import Checkpoint, Event, JobContext, Metric, Note, Preview
from engine.training.run_folder import EVENTS_FILE, TENSORBOARD_FOLDER, EventsFile, RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Passes events on and writes them down; a context manager.

    Args:
        folder: of the run; None writes nothing, as in all processes but the first.
        context: who listens.
        first_step: after how many steps this part of the run begins; what was written down of
            later ones is dropped, for they will be done again.
    """

    def __init__(self, folder: RunFolder | None, context: JobContext, *, first_step: int) -> None:
        self._context = context
        self._file: EventsFile | None = None
        self._board: SummaryWriter | None = None
        if folder is not None:
            self._file = EventsFile(folder.path / EVENTS_FILE, last_step=first_step)
            # Loads slowly, and only the process that writes needs it.
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(
                str(folder.path / TENSORBOARD_FOLDER),
                purge_step=first_step + 1 if first_step else None,
            )

    def emit(self, event: Event) -> None:
        """Tell the listener and write it down."""
        self._context.emit(event)
        match event:
            case Metric(step, values):
                self._write("metric", {"step": step, **values})
                self._plot(step, values)
            case Note(text, level):
                self._write("note", {"level": level, "text": text})
            case Checkpoint(step, reason, path):
                self._write("checkpoint", {"step": step, "reason": reason, "path": str(path)})
                if self._board is not None:
                    self._board.flush()
            case Preview(step, pictures):
                if self._board is not None:
                    for name, rgb in pictures.items():
                        self._board.add_image(name, rgb, step, dataformats="HWC")
            case _:
                pass

    def mark(self, kind: str, values: dict[str, Any]) -> None:
        """Write down what nobody needs to be told: that a run began, that it ended."""
        self._write(kind, values)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error: object) -> None:
        if self._board is not None:
            self._board.close()
        if self._file is not None:
            self._file.__exit__(*error)

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.add(kind, values)

    def _plot(self, step: int, values: dict[str, float]) -> None:
        if self._board is None:
            return
        for name, value in values.items():
            tag = name.replace("@", "_at_").replace(" ", "_")
            self._board.add_scalar(f"{metric_info(name).source}/{tag}", value, step)


def peak_memory_mb(device: torch.device) -> float:
    """The most memory used so far, of the GPU where one computes, else of the process; or 0."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    return 0.0
