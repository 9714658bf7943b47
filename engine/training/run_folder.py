"""The folder of a training run: what is in it, and how it survives a sudden end.

::

    config.yaml             all settings, as they were
    events.jsonl            a line for each event, written through
    state/last.pt           all that a resumed run needs
    weights/last.safetensors, best.safetensors, step-00000500.safetensors, ...
    tensorboard/            the same figures and pictures for TensorBoard
    result.json             how it ended

``state/last.pt`` alone decides where a run continues.  Every file but the logs is written under
another name and then renamed, so a process that is killed leaves the older one behind.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from engine.checkpoints import load_training_state, save_training_state
from engine.errors import OutputError, ResultError, WeightsError, file_errors
from engine.files import make_folder, parse_json, read_input, remove_parts, write_atomically
from engine.weight_titles import STEP_NAME, WEIGHTS_FOLDER

CONFIG_FILE: Final = "config.yaml"
EVENTS_FILE: Final = "events.jsonl"
RESULT_FILE: Final = "result.json"
STATE_FILE: Final = "state/last.pt"
TENSORBOARD_FOLDER: Final = "tensorboard"
_STATE_FORMAT: Final = 1
_EVENTS_BYTES: Final = 1 << 30  # a line a step, and the longest training has a million
_KIND: Final = "training state"


@dataclass(frozen=True, slots=True)
class SavedWeights:
    """A checkpoint's weights that a run has kept.

    Attributes:
        path: the file.
        step: after which step; None for ``best`` and ``last``.
    """

    path: Path
    step: int | None


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of a training run."""

    path: Path

    @property
    def state_file(self) -> Path:
        """The state that a resumed run needs."""
        return self.path / STATE_FILE

    def weights_file(self, name: str) -> Path:
        """The weights called ``best``, ``last`` or ``step-00000500``."""
        return self.path / WEIGHTS_FOLDER / f"{name}.safetensors"

    @property
    def begun(self) -> bool:
        """Whether a run was begun in this folder."""
        return any((self.path / name).exists() for name in (CONFIG_FILE, EVENTS_FILE, STATE_FILE))

    def check(self, *, resume: bool) -> None:
        """Whether a run may begin or continue here.

        Raises:
            OutputError: a run is there and shall not be continued.
            ResultError: it shall be continued and there is none.
        """
        if self.begun and not resume:
            raise OutputError(
                self.path,
                "holds a training run already; continue it with --resume, or name another folder",
            )
        if resume and not self.begun:
            raise ResultError(self.path, "holds no training run that could be continued")

    def begin(self, *, resume: bool) -> None:
        """Make the folders, and remove what a killed process was writing.

        Raises:
            OutputError: a run is there and shall not be continued, or they cannot be made.
            ResultError: it shall be continued and there is none.
        """
        self.check(resume=resume)
        for name in (WEIGHTS_FOLDER, Path(STATE_FILE).parent):
            make_folder(self.path / name)
        remove_parts(self.path, self.path / WEIGHTS_FOLDER, self.state_file.parent)

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Keep all that a resumed run needs.

        Raises:
            OutputError: it cannot be written.
        """
        save_training_state(self.state_file, {"format": _STATE_FORMAT, "kind": _KIND, **state})

    def load_state(self) -> dict[str, Any] | None:
        """What :meth:`save_state` kept last; None if the run ended before its first checkpoint.

        Raises:
            WeightsError: it is damaged, or was written by another version.
        """
        if not self.state_file.exists():
            return None
        state = load_training_state(self.state_file)
        if state.get("kind") != _KIND:
            raise WeightsError(self.state_file, "is not the state of a training run")
        if state.get("format") != _STATE_FORMAT:
            raise WeightsError(self.state_file, "was written by another version of this program")
        return state

    def saved_weights(self) -> tuple[SavedWeights, ...]:
        """The weights there are: by step, then the best and the last ones."""
        folder = self.path / WEIGHTS_FOLDER
        steps = []
        if folder.is_dir():
            for file in folder.iterdir():
                name = STEP_NAME.fullmatch(file.name)
                if name:
                    steps.append(SavedWeights(file, int(name[1])))
        named = [self.weights_file(name) for name in ("best", "last")]
        steps.sort(key=lambda saved: saved.step or 0)
        return (*steps, *(SavedWeights(file, None) for file in named if file.exists()))

    def prune(self, keep: int) -> None:
        """Remove all but the newest weights by step."""
        steps = [saved for saved in self.saved_weights() if saved.step is not None]
        for saved in steps[: max(0, len(steps) - keep)]:
            with contextlib.suppress(OSError):  # on some systems a file in use stays until later
                saved.path.unlink()

    def write_json(self, name: str, values: Mapping[str, Any]) -> Path:
        """Write a JSON file, whole.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.path / name
        text = json.dumps(finite(values), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(path, (text + "\n").encode("utf-8"))
        return path


class EventsFile:
    """Appends events as lines of JSON, each flushed, until it is closed.

    Args:
        path: the file.
        last_step: of a continued run: what was noted of later steps, which will be done again, is
            dropped, and so is a torn last line.  None drops everything.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, *, last_step: int | None) -> None:
        self._path = path
        if path.exists():
            lines = _lines(path) if last_step is not None else ()
            kept = [line for line, values in lines if _step(values) <= (last_step or 0)]
            write_atomically(path, b"".join(kept))
        with file_errors(OutputError, path, "cannot be written"):
            self._file: BinaryIO = path.open("ab")

    def add(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write one event.

        Raises:
            OutputError: it cannot be written.
        """
        line = json.dumps({"type": kind, **finite(values)}, ensure_ascii=False, allow_nan=False)
        with file_errors(OutputError, self._path, "cannot be written"):
            self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file once all of it is on the disk."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()


def read_events(path: Path) -> tuple[dict[str, Any], ...]:
    """The events of a run, oldest first; a torn line is passed over.

    Raises:
        ResultError: the file cannot be read.
    """
    return tuple(values for _, values in _lines(path))


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with None for numbers that JSON cannot hold; also inside of mappings."""
    return {
        name: finite(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in values.items()
    }


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    content = read_input(path, ResultError, most_bytes=_EVENTS_BYTES)
    for line in content.splitlines(keepends=True):
        with contextlib.suppress(ValueError):
            values = parse_json(line)
            if isinstance(values, dict) and line.endswith(b"\n"):
                yield line, values


def _step(values: Mapping[str, Any]) -> int:
    step = values.get("step")
    return step if isinstance(step, int) else -1
