"""Where a run's events go: a file of lines, TensorBoard, and the listener."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from engine.metrics import metric_info
from engine.progress import Checkpoint, Event, JobContext, Metric, Note, Preview
from engine.training.run_folder import EVENTS_FILE, TENSORBOARD_FOLDER, EventsFile, RunFolder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Writes events down and passes them on, until it is closed.

    Args:
        folder: of the run; None writes nothing, as in all processes but the first.
        context: has the listener.
        first_step: after how many steps this part of the run begins; lines about later ones are
            dropped, for those steps will be done again.  None where it begins from nothing: what a
            run that was killed before its first checkpoint wrote is dropped whole.
    """

    def __init__(
        self, folder: RunFolder | None, context: JobContext, *, first_step: int | None
    ) -> None:
        self._context = context
        self._file: EventsFile | None = None
        self._board: SummaryWriter | None = None
        self._hook_before = threading.excepthook
        if folder is not None:
            threading.excepthook = self._silence_board
            # Slow to import, and only the process that writes needs it.
            from torch.utils.tensorboard import SummaryWriter

            purged = 0 if first_step is None else first_step + 1
            self._file = EventsFile(folder.path / EVENTS_FILE, last_step=first_step)
            with self._without_board_at_faults():
                self._board = SummaryWriter(
                    str(folder.path / TENSORBOARD_FOLDER), purge_step=purged
                )

    def emit(self, event: Event) -> None:
        """Write an event down, then pass it on: what the listener receives is on the disk."""
        if self._file is not None:
            self._write(event, self._file)
        if self._board is not None:
            with self._without_board_at_faults():
                self._draw(event, self._board)
        self._context.emit(event)

    @staticmethod
    def _write(event: Event, file: EventsFile) -> None:
        match event:
            case Metric(step, values):
                file.add("metric", {"step": step, **values})
            case Note(text, level):
                file.add("note", {"level": level, "text": text})
            case Checkpoint(step, reason, path):
                file.add("checkpoint", {"step": step, "reason": reason, "path": str(path)})

    @staticmethod
    def _draw(event: Event, board: SummaryWriter) -> None:
        match event:
            case Metric(step, values):
                for name, value in values.items():
                    tag = name.replace("@", "_at_").replace(" ", "_")
                    board.add_scalar(f"{metric_info(name).source}/{tag}", value, step)
            case Checkpoint():
                board.flush()
            case Preview(step, pictures):
                for name, rgb in pictures.items():
                    board.add_image(name, rgb, step, dataformats="HWC")

    def mark(self, kind: str, values: dict[str, Any]) -> None:
        """Write down what no listener needs: that a run began, that it ended."""
        if self._file is not None:
            self._file.add(kind, values)

    def _silence_board(self, fault: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread ends at its first fault; its next call raises that fault here."""
        if not type(fault.thread).__module__.startswith("tensorboard."):
            self._hook_before(fault)

    @contextlib.contextmanager
    def _without_board_at_faults(self) -> Iterator[None]:
        """Continue without TensorBoard once its files cannot be written; the events have it all."""
        try:
            yield
        except OSError as error:
            self._board = None
            reason = error.strerror or error
            text = f"TensorBoard's files can no longer be written ({reason}); training continues."
            self.emit(Note(text, "warning"))

    def close(self) -> None:
        """Close the files."""
        if self._board is not None:
            with self._without_board_at_faults():
                self._board.close()
        if self._file is not None:
            self._file.close()
            threading.excepthook = self._hook_before


def peak_memory_mb(device: torch.device) -> float:
    """The most memory used so far, of the GPU where one computes, else of the process; or 0."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
    return 0.0
