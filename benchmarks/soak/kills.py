"""Commands that are killed at random moments: continued or repeated, they end as if undisturbed.

Most commands run in a fork of a process that has loaded torch, so that the moments fall on their
work and not on imports; the rest are started as a person starts them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soak.ledger import ROOT, Ledger, quiet_environment
from benchmarks.soak.samples import DAISY, TRAINING, make_samples, settings

_GIVE_UP_S = 180.0
_COLD_SHARE = 0.15  # started anew, imports and all
_STOPPED = 130
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ARCHIVE_BYTES = 3 << 20
_CHUNK_BYTES = 1 << 16
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is killed.

    Attributes:
        name: of the command.
        words: makes its arguments from the folder it writes into.
        resumes: whether ``--resume`` continues it; else it is repeated.
        differences: what of its results differs from those of the undisturbed run, "" if nothing.
    """

    name: str
    words: Callable[[Path], list[str]]
    resumes: bool
    differences: Callable[[Path, Path], str]


@dataclass(slots=True)
class Ended:
    """A command that has ended: its exit code (negative: the signal), and what it said."""

    code: int
    said: str


def run(ledger: Ledger, deadline_s: float) -> None:
    """Kill and continue until ``time.monotonic()`` reaches the deadline."""
    samples = make_samples(ROOT / "samples").resolve()
    _load()
    with tempfile.TemporaryDirectory(prefix="soak-") as place, _server(samples) as url:
        commands = _commands(samples)
        whole: dict[str, tuple[Path, float]] = {}
        for command in commands:
            folder = Path(place) / f"whole-{command.name}"
            start_s = time.monotonic()
            ended = _Child(command.words(folder / "out"), folder, url, cold=False).wait()
            if ended.code != 0:
                raise RuntimeError(f"{command.name} fails undisturbed: {ended.said[-500:]}")
            whole[command.name] = (folder, time.monotonic() - start_s)
        while time.monotonic() < deadline_s:
            number = ledger.count("trials")
            rng = random.Random(f"{ledger.seed}/{number}")
            command = rng.choice(commands)
            reference, takes_s = whole[command.name]
            trial = Path(place) / "trial"
            shutil.rmtree(trial, ignore_errors=True)
            text = _try(ledger, command, trial, reference, takes_s, url, rng)
            if text:
                key = f"{command.name}: {text.splitlines()[0][:120]}"
                details = {"number": number, "seed": ledger.seed, "command": command.name,
                           "words": command.words(Path("OUT"))}  # fmt: skip
                ledger.fault(key, text, files={"files": trial}, details=details)


def repeat(folder: Path) -> None:
    """Try the kills of a fault again: the same command and moments, as far as a clock can."""
    facts = json.loads((folder / "fault.json").read_text("utf-8"))
    samples = make_samples(ROOT / "samples").resolve()
    _load()
    with tempfile.TemporaryDirectory(prefix="soak-") as place, _server(samples) as url:
        command = next(one for one in _commands(samples) if one.name == facts["command"])
        reference, start_s = Path(place) / "whole", time.monotonic()
        _Child(command.words(reference / "out"), reference, url, cold=False).wait()
        takes_s = time.monotonic() - start_s
        rng = random.Random(f"{facts['seed']}/{facts['number']}")
        rng.choice(_commands(samples))
        trial = Path(place) / "trial"
        ledger = Ledger("kills")
        print(_try(ledger, command, trial, reference, takes_s, url, rng) or "sound")


def _try(
    ledger: Ledger,
    command: Command,
    trial: Path,
    reference: Path,
    takes_s: float,
    url: str,
    rng: random.Random,
) -> str:
    """Kill, continue, and compare; "" or what was wrong."""
    out = trial / "out"
    words = command.words(out)
    if command.name == "describe":
        out.mkdir(parents=True)
        shutil.copyfile(reference / "out" / "maps.npz", out / "maps.npz")
    story = []
    resume = False
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        cold = rng.random() < _COLD_SHARE
        number = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        moment_s = rng.uniform(0, takes_s + (3.0 if cold else 0.0))
        child = _Child([*words, *(["--resume"] if resume else [])], trial, url, cold=cold)
        alive = child.signal_after(moment_s, number)
        ended = child.wait()
        story.append(f"{signal.Signals(number).name} after {moment_s:.2f} s: {ended.code}")
        if alive:
            ledger.count(f"kills of {command.name}")
            ledger.count("kills")
        wanted = {0, -number} if number == signal.SIGKILL else {0, _STOPPED}
        if cold and number != signal.SIGKILL:
            wanted |= {-number, 1}  # Python itself was still starting
        if resume and ended.code == 1 and "could be continued" in ended.said:
            wanted |= {1}
        if ended.code not in wanted or "Traceback" in ended.said:
            return f"a bad end\n{story}\n{ended.said}"
        if command.name == "describe" and _describe_differences(reference, trial):
            return f"a torn file stands under its name\n{story}"
        if command.name == "download" and _places(out):
            different = _download_differences(reference, trial)
            if different:
                return f"a torn data set stands under its name\n{story}\n{different}"
        resume = command.resumes
    for extra in (["--resume"], []) if resume else ([],):
        ended = _Child([*words, *extra], trial, url, cold=False).wait()
        if ended.code == 0 or "could be continued" not in ended.said:
            break
    if ended.code != 0:
        return f"cannot be continued\n{story}\n{ended.said}"
    different = command.differences(reference, trial)
    if different:
        return f"another result: {different}\n{story}"
    left = [one for one in (*out.rglob("*.part"), *out.rglob(".writer*")) if command.resumes]
    return f"left behind: {sorted(one.name for one in left)}\n{story}" if left else ""


# ---- the commands -------------------------------------------------------------------------------


def _commands(samples: Path) -> tuple[Command, ...]:
    training = settings(
        *TRAINING, "steps=10", "validation.every_steps=4", "saving.preview_every_steps=5"
    )
    return (
        Command(
            "train",
            lambda out: ["train", "--photos", str(samples / "photos"), "--run-dir", str(out),
                         *training],
            resumes=True,
            differences=_training_differences,
        ),
        Command(
            "evaluate",
            lambda out: ["evaluate", "--dataset", str(samples / "sequences"), *DAISY,
                         "--query-limit", "40", "--out", str(out)],
            resumes=True,
            differences=_evaluation_differences,
        ),
        Command(
            "describe",
            lambda out: ["describe", str(samples / "photos" / "0.png"), *DAISY, "--out",
                         str(out / "maps.npz")],
            resumes=False,
            differences=_describe_differences,
        ),
        Command(
            "download",
            lambda out: ["download", "hpatches", "--dir", str(out)],
            resumes=False,
            differences=_download_differences,
        ),
    )  # fmt: skip


def _training_differences(whole: Path, parts: Path) -> str:
    from engine.checkpoints import load_state
    from engine.jobs.training_runs import read_curves

    timed = ("_s", "_mb", "data_wait_share")  # the endings of what a clock or the memory decides
    one, other = (read_curves(place / "out") for place in (whole, parts))
    for name, curve in one.items():
        if not name.endswith(timed) and not np.array_equal(curve, other.get(name, np.empty(0))):
            return f"the curve of {name}"
    for name in ("last", "best"):
        first, second = (
            load_state(place / "out" / "weights" / f"{name}.safetensors")[0]
            for place in (whole, parts)
        )
        if first.keys() != second.keys() or any(
            not bool((first[key] == second[key]).all()) for key in first
        ):
            return f"the {name} weights"
    return ""


def _evaluation_differences(whole: Path, parts: Path) -> str:
    for name in ("summary.csv", "pairs.csv"):
        if (whole / "out" / name).read_bytes() != (parts / "out" / name).read_bytes():
            return name
    for file in sorted((whole / "out" / "points").rglob("*.npz")):
        name = str(file.relative_to(whole))
        if not _same_arrays(file, parts / name):
            return name
    return ""


def _describe_differences(whole: Path, parts: Path) -> str:
    name = "out/maps.npz"
    return "" if _same_arrays(whole / name, parts / name) else name


def _download_differences(whole: Path, parts: Path) -> str:
    one, other = (_places(place / "out") for place in (whole, parts))
    if len(one) != 1 or len(other) != 1:
        return f"{len(other)} folders"
    first, second = (
        {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*")
         if file.is_file()}
        for place in (one[0], other[0])
    )  # fmt: skip
    return "" if first == second else "files of the data set"


def _places(out: Path) -> list[Path]:
    folders = out.iterdir() if out.is_dir() else ()
    return [one for one in folders if one.is_dir() and not one.name.startswith(".")]


def _same_arrays(one: Path, other: Path) -> bool:
    try:
        with np.load(one) as first, np.load(other) as second:
            return set(first.files) == set(second.files) and all(
                np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f")
                for name in first.files
            )
    except Exception:  # a torn file makes its parser raise anything
        return False


# ---- processes ----------------------------------------------------------------------------------


def _load() -> None:
    """Import what commands import; nothing is computed, so that a fork has no threads to miss."""
    import torch

    import engine.descriptors.builtin
    import engine.jobs.describe
    import engine.jobs.evaluate
    import engine.jobs.train
    import engine.training.logs  # noqa: F401

    torch.set_num_threads(1)


class _Child:
    """A command under way."""

    def __init__(self, words: list[str], folder: Path, url: str, *, cold: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._said = folder / "said.txt"
        # A fork begins inside the command, which has its handlers from its first line on.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                for number in _STOP_SIGNALS:
                    signal.signal(number, lambda *_: os._exit(_STOPPED))
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
                self._become(words, folder, url, cold=cold)
            finally:
                os._exit(99)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def _become(self, words: list[str], folder: Path, url: str, *, cold: bool) -> None:
        os.setsid()
        if words[0] in ("download", "describe"):  # which write into a folder that exists
            (folder / "out").mkdir(exist_ok=True)
        target = os.open(self._said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.environ.update(quiet_environment(folder / "home"))
        if cold:
            code = (
                "import os, signal\n"  # as the command does first, which here has more to import
                f"for number in {[int(one) for one in _STOP_SIGNALS]}:\n"
                f"    signal.signal(number, lambda *_: os._exit({_STOPPED}))\n"
                f"import sys; sys.argv = ['main.py', *{words!r}]\n"
                "import engine.data.download as download\n"
                f"download.HPATCHES_URLS = ({url!r},)\n"
                "from descgui.__main__ import main\n"
                "sys.exit(main())\n"
            )
            os.execv(sys.executable, [sys.executable, "-c", code])
        from descgui.__main__ import main
        from engine.data import download

        patched: Any = download
        patched.HPATCHES_URLS = (url,)
        sys.argv = ["main.py", *words]
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        code_of_end = main()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code_of_end)

    def signal_after(self, seconds: float, number: signal.Signals) -> bool:
        """Send a signal; False if the command had ended before."""
        self._result = self._wait(seconds)
        if self._result is not None:
            return False
        os.kill(self._pid, number)
        return True

    def wait(self) -> Ended:
        """Wait for the end; a command that does not end is killed."""
        result = getattr(self, "_result", None)
        if result is None:
            result = self._wait(_GIVE_UP_S)
        if result is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            return Ended(-99, f"did not end within {_GIVE_UP_S:g} s\n{self._text()}")
        return Ended(os.waitstatus_to_exitcode(result), self._text())

    def _text(self) -> str:
        with contextlib.suppress(OSError):
            return self._said.read_text("utf-8", "replace")
        return ""

    def _wait(self, seconds: float) -> int | None:
        until_s = time.monotonic() + seconds
        try:
            while True:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                if pid:
                    return status
                if time.monotonic() > until_s:
                    return None
                time.sleep(0.002)
        except KeyboardInterrupt:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            raise


# ---- the server ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _server(samples: Path) -> Iterator[str]:
    """A server of this computer that sends an archive slowly, from any byte on."""
    body = _archive(samples)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if begin >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(body) - begin))
            self.send_header("ETag", '"one"')
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            with contextlib.suppress(OSError):  # the other end was killed
                for place in range(begin, len(body), _CHUNK_BYTES):
                    self.wfile.write(body[place : place + _CHUNK_BYTES])
                    time.sleep(_PAUSE_S)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/set.zip"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _archive(samples: Path) -> bytes:
    """The sequences, wrapped in a folder, with something incompressible that takes its time."""
    import io
    import zipfile

    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for file in sorted((samples / "sequences").rglob("*")):
            archive.write(file, Path("release") / file.relative_to(samples / "sequences"))
        padding = np.random.default_rng(0).bytes(_ARCHIVE_BYTES)
        archive.writestr("release/i_light0/notes.bin", padding)
    return made.getvalue()
