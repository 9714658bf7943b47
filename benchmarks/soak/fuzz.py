"""Damaged files for every reader: each ends in a value or in one sentence, at once and in bounds.

A run is numbered, and its number and the seed decide the reader, the file and the damage.  Workers
read in processes of their own, which a watchdog ends where a reader hangs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.soak.ledger import ROOT, Ledger
from benchmarks.soak.mutations import mutate
from benchmarks.soak.readers import READERS, Reader, check_sentence
from benchmarks.soak.samples import make_samples

HANG_CPU_S = 5.0
HANG_IDLE_S = 5.0
GROWTH_MB = 1200  # the largest picture that is read has 450 MB, and is copied once
_ADDRESS_SPACE = 16 << 30
_REPORT_EVERY_S = 1.0
_STARTING = -1
_FIRST_S = 900.0


def run(ledger: Ledger, deadline_s: float) -> None:
    """Read damaged files with two workers until ``time.monotonic()`` reaches the deadline."""
    samples = make_samples(ROOT / "samples")
    context = multiprocessing.get_context("spawn")
    first = ledger.done.get("runs", 0) + ledger.done.get("lost", 0)
    workers = min(2, os.cpu_count() or 1)
    crew = [_Crew(context, samples, ledger, first + place, workers) for place in range(workers)]
    try:
        while time.monotonic() < deadline_s:
            for one in crew:
                one.look()
            time.sleep(0.05)
    finally:
        for one in crew:
            one.end()
        ledger.save()


def repeat(folder: Path) -> None:
    """Read the files of a fault again, and show what happens."""
    import json

    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    facts = json.loads((folder / "fault.json").read_text("utf-8"))
    reader = next(one for one in READERS if one.name == facts["reader"])
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / reader.folder
        shutil.copytree(folder / "files", copy, symlinks=True)
        file = copy / facts["file"]
        _place_special(file, facts["special"])
        os.environ["DESCGUI_HOME"] = str(Path(scratch) / "home")
        start_s = time.perf_counter()
        fault = _judge(reader, copy, file)
        print(f"{reader.name}, {facts['file']}: {time.perf_counter() - start_s:.2f} s")
        print(fault[1] if fault else "sound")


_MEMORY = Path("/dev/shm")


class _Crew:
    """A worker and its watchdog."""

    def __init__(self, context: Any, samples: Path, ledger: Ledger, first: int, step: int) -> None:
        self._context, self._samples, self._ledger, self._step = context, samples, ledger, step
        self.next = first
        self._since_s = self._idle_s = 0.0
        self._looked_s = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        self._at = self._context.Array("d", [_STARTING, time.monotonic(), 0.0])
        self._conn, theirs = self._context.Pipe(duplex=False)
        # Ours, since a worker that is killed removes nothing.
        self._scratch = tempfile.TemporaryDirectory(
            prefix="soak-",
            dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None,
            ignore_cleanup_errors=True,
        )
        arguments = (
            *(self._samples, Path(self._scratch.name), self._ledger.seed, self.next, self._step),
            *(self._at, theirs),
        )
        self._process = self._context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def look(self) -> None:
        """Take what the worker found; begin another one where it is gone or hangs."""
        try:
            while self._conn.poll():
                self._take(self._conn.recv())
        except (EOFError, OSError):
            self._process.join(5)
        if not self._process.is_alive():
            code = self._process.exitcode
            name = signal.Signals(-code).name if code and code < 0 else f"exit {code}"
            self._lost(f"crash ({name})")
            return
        number, since_s, cpu_s = self._at
        used_s = _cpu_s(self._process.pid) - cpu_s
        # Time counts in which the watchdog was awake, and the worker waited for no processor.
        now_s = time.monotonic()
        if since_s != self._since_s:
            self._since_s, self._idle_s = since_s, 0.0
        elif not _runnable(self._process.pid):
            self._idle_s += min(0.5, now_s - self._looked_s)
        self._looked_s = now_s
        if number == _STARTING:
            if self._idle_s > _FIRST_S:
                self._lost("the first readings hang")
        elif used_s > HANG_CPU_S or self._idle_s > HANG_IDLE_S:
            self._lost(f"hang ({used_s:.0f} s of computing, {self._idle_s:.0f} s of waiting)")

    def _take(self, message: tuple[str, Any]) -> None:
        kind, content = message
        if kind == "counts":
            self.next, counts = content
            for name, count in counts.items():
                if name != "runs":
                    self._ledger.count(name, count)
            self._ledger.count("runs", counts.get("runs", 0))
        else:
            number, key, text = content
            _keep(self._ledger, self._samples, number, key, text)

    def _lost(self, what: str) -> None:
        number = int(self._at[0])
        self._process.kill()
        self._process.join()
        self._scratch.cleanup()
        if number == _STARTING:
            raise RuntimeError(f"a worker could not begin: {what}")
        reader, *_ = _choose(self._ledger.seed, number)
        key = f"{reader.name}: {what.partition(' (')[0]}"
        _keep(self._ledger, self._samples, number, key, what)
        self._ledger.count("runs")
        self.next = number + self._step
        self._begin()

    def end(self) -> None:
        """Stop the worker."""
        with contextlib.suppress(EOFError, OSError):
            while self._conn.poll():
                self._take(self._conn.recv())
        self._process.kill()
        self._process.join()
        self._scratch.cleanup()


def _cpu_s(pid: int | None) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _runnable(pid: int | None) -> bool:
    """Whether a thread of a process computes, or would if there were a processor for it."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


# ---- one run ------------------------------------------------------------------------------------


def _choose(seed: int, number: int) -> tuple[Reader, random.Random]:
    rng = random.Random(f"{seed}/{number}")
    return rng.choices(READERS, [reader.weight for reader in READERS])[0], rng


def _damage(files: list[str], folder: Path, rng: random.Random) -> tuple[
    str, bytes | None, str
]:  # fmt: skip
    """A file below the folder, and its new content or what stands there instead of a file."""
    name = rng.choice(files)
    kind = rng.randrange(1000)  # a reader that waits for a pipe costs seconds
    if kind < 101:
        special = ("empty", "missing", "folder", "loop", "other", "pipe")[kind // 20]
        if special == "other":
            other = folder / rng.choice(files)
            return name, other.read_bytes(), ""
        return name, None, special
    return name, mutate(name, (folder / name).read_bytes(), rng), ""


def _place_special(file: Path, special: str) -> None:
    if not special:
        return
    file.unlink(missing_ok=True)
    if special == "empty":
        file.touch()
    elif special == "folder":
        file.mkdir()
    elif special == "pipe":
        os.mkfifo(file)
    elif special == "loop":
        file.symlink_to(file.name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _judge(reader: Reader, folder: Path, file: Path) -> tuple[str, str] | None:
    """None where the reader was sound, else a key and a trace."""
    from engine.errors import DescSpaceError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for library in ("PIL", "torch", "tensorboard", "google"):
                warnings.filterwarnings("ignore", module=library)
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                reader.read(folder, file)
            except DescSpaceError as error:
                check_sentence(error, folder)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/engine/" in frame.filename
                or "/descgui/" in frame.filename or "/readers.py" in frame.filename]  # fmt: skip
        last = ours[-1] if ours else frames[-1]
        where = f"{Path(last.filename).name}:{last.name}"
        return f"{reader.name}: {type(error).__name__} in {where}", traceback.format_exc()
    return None


def _files_of(reader: Reader, folder: Path) -> list[str]:
    found = sorted(path for path in folder.glob(reader.files) if path.is_file())
    assert found, f"no samples for {reader.name}"
    return [str(path.relative_to(folder)) for path in found]


def _keep(ledger: Ledger, samples: Path, number: int, key: str, text: str) -> None:
    """Write down a fault with the files that it needs."""
    reader, rng = _choose(ledger.seed, number)
    folder = samples / reader.folder
    name, content, special = _damage(_files_of(reader, folder), folder, rng)
    files: dict[str, bytes | Path] = {"files": folder}
    if key not in ledger.faults and content is not None:
        files[f"files/{name}"] = content
    details = {"reader": reader.name, "file": name, "special": special, "number": number,
               "seed": ledger.seed}  # fmt: skip
    ledger.fault(key, text, files=files, details=details)


# ---- the worker ---------------------------------------------------------------------------------


def _work(
    samples: Path, scratch: Path, seed: int, first: int, step: int, at: Any, conn: Connection
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    silent = os.open(os.devnull, os.O_WRONLY)  # libraries of C print what they think of the files
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    import logging

    import torch

    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    os.environ["DESCGUI_HOME"] = str(scratch / "home")
    _read_on(scratch, samples, seed, first, step, at, conn)


def _read_on(
    scratch: Path, samples: Path, seed: int, first: int, step: int, at: Any, conn: Connection
) -> None:
    files: dict[str, list[str]] = {}
    for reader in READERS:
        folder = scratch / reader.name / reader.folder
        shutil.copytree(samples / reader.folder, folder)
        files[reader.name] = _files_of(reader, folder)
        for name in files[reader.name]:  # also loads every module, which takes its time
            fault = _judge(reader, folder, folder / name)
            assert fault is None, f"{reader.name} refuses the sound {name}: {fault}"
            shutil.rmtree(folder / "out", ignore_errors=True)
    number = first
    counts: dict[str, int] = {}
    told_s = time.monotonic()
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while True:
        reader, rng = _choose(seed, number)
        folder = scratch / reader.name / reader.folder
        name, content, special = _damage(files[reader.name], folder, rng)
        file = folder / name
        before = file.read_bytes()
        if content is None:
            _place_special(file, special)
        else:
            file.write_bytes(content)
        at[1], at[2] = time.monotonic(), time.process_time()
        at[0] = number
        fault = _judge(reader, folder, file)
        at[1], at[2] = time.monotonic(), time.process_time()
        peak_before_kb, peak_kb = peak_kb, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown_mb = (peak_kb - peak_before_kb) / 1024
        if fault is None and grown_mb > GROWTH_MB:
            fault = (f"{reader.name}: memory", f"{grown_mb:.0f} MB for one file")
        _remove(file)
        file.write_bytes(before)
        for extra in ("out", "exported.safetensors", "settings.broken.yaml"):
            _remove(folder / extra)
        counts["runs"] = counts.get("runs", 0) + 1
        counts[reader.name] = counts.get(reader.name, 0) + 1
        if fault is not None:
            conn.send(("fault", (number, *fault)))
        number += step
        if time.monotonic() - told_s > _REPORT_EVERY_S:
            conn.send(("counts", (number, counts)))
            counts, told_s = {}, time.monotonic()


if __name__ == "__main__":
    sys.exit("run it with: python -m benchmarks.soak --kinds fuzz")
