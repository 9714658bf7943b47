"""What the long runs have done so far: counts and faults of each kind, kept between runs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(".cache") / "soak"
SAVE_EVERY_S = 5.0


@dataclass
class Ledger:
    """The progress of one kind of long run.

    Attributes:
        kind: its name.
        seed: of all that is random in it.
        done: what was done, by name, in all runs.
        figures: what was measured, of the last run.
        faults: the folder of each fault that was found, with a line about it and how often it came.
        seconds: how long it ran, in all.
        date: of the last run.
    """

    kind: str
    seed: int = 0
    done: dict[str, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    faults: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    date: str = ""

    @classmethod
    def load(cls, kind: str, root: Path = ROOT, *, seed: int = 0) -> Ledger:
        """Continue what an earlier run began, or begin."""
        path = root / f"{kind}.json"
        if not path.exists():
            ledger = cls(kind, seed)
        else:
            ledger = cls(**json.loads(path.read_text("utf-8")))
        ledger._root = root
        ledger._since_s = ledger._saved_s = time.monotonic()
        return ledger

    def __post_init__(self) -> None:
        self._root = ROOT
        self._since_s = self._saved_s = time.monotonic()

    def count(self, name: str, more: int = 1) -> int:
        """Note that something was done; returns how often it was before."""
        before = self.done.get(name, 0)
        self.done[name] = before + more
        if time.monotonic() - self._saved_s > SAVE_EVERY_S:
            self.save()
        return before

    def fault(
        self, key: str, text: str, *, files: Mapping[str, bytes | Path], details: Mapping[str, Any]
    ) -> None:
        """Keep a fault, or count one that is known.

        Args:
            key: the same for the same fault.
            text: the trace, or what was seen.
            files: what is needed to repeat it, by path below the fault's folder; a path is copied.
            details: plain values for the kind's ``repeat``.
        """
        known = self.faults.get(key)
        if known is not None:
            known["times"] += 1
            return
        number = 1 + len(self.faults)
        while (folder := self._root / "faults" / f"{self.kind}-{number:03d}").exists():
            number += 1
        folder.mkdir(parents=True)
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            elif content.is_dir():
                shutil.copytree(content, target, symlinks=True, ignore=_special_files)
            elif content.exists():
                shutil.copyfile(content, target)
        command = f"{shlex.quote(sys.executable)} -m benchmarks.soak --repeat {folder}"
        facts = {"kind": self.kind, "key": key, "repeat": command, **details}
        (folder / "fault.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
        (folder / "trace.txt").write_text(text + "\n", "utf-8", "backslashreplace")
        self.faults[key] = {"folder": str(folder), "times": 1}
        self.save()
        print(f"{self.kind}: {key}\n  {command}", flush=True)

    def save(self) -> None:
        """Write the file, whole."""
        now_s = time.monotonic()
        self.seconds += now_s - self._since_s
        self._since_s = self._saved_s = now_s
        self.date = time.strftime("%Y-%m-%d %H:%M")
        path = self._root / f"{self.kind}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")
        part.replace(path)

    def summary(self) -> str:
        """One line for the terminal."""
        done = ", ".join(f"{count} {name}" for name, count in sorted(self.done.items()))
        figures = ", ".join(f"{name} {value:g}" for name, value in sorted(self.figures.items()))
        found = f"{len(self.faults)} faults"
        parts = [f"{self.kind}: {done or 'nothing yet'}", figures, found]
        return f"{'; '.join(filter(None, parts))}; {self.seconds / 60:.1f} min in all"


def _special_files(folder: str, names: list[str]) -> list[str]:
    """Pipes and the like cannot be copied."""
    paths = {name: Path(folder) / name for name in names}
    return [
        name for name, path in paths.items()
        if not (path.is_symlink() or path.is_file() or path.is_dir())
    ]  # fmt: skip


def quiet_environment(home: Path) -> dict[str, str]:
    """The environment of a process that must not touch the person's own files."""
    return {
        **os.environ,
        "DESCGUI_HOME": str(home),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "xdg"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONUTF8": "1",
        "PYTHONPATH": str(Path.cwd()),
        "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen"),
    }


def kill(process: subprocess.Popen[Any]) -> None:
    """End a process that still runs."""
    if process.poll() is None:
        process.kill()
        process.wait()
