"""A pointer that moves over one pair after the other: memory stays flat once the budget is full.

The window's budget for maps is set to its lowest value, so that it is full after a few pairs; from
then on the memory of the process may not grow by more than 5 %.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.soak.ledger import Ledger, quiet_environment

if TYPE_CHECKING:
    from descgui.app import Application

GROWTH_LIMIT = 0.05
_BUDGET_MB = 128
_SIZE_PX = (480, 360)
_PAIRS = 12
_STEP_MS = 12
_PAIR_S = 6.0
_FULL_AFTER_PAIRS = 12  # each has been described once, and most have left the budget again
_LOOK_S = 1.0


def run(ledger: Ledger, deadline_s: float) -> None:
    """Hover until ``time.monotonic()`` reaches the deadline, in a process of its own."""
    seconds = deadline_s - time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.soak.hover", place, str(seconds), str(ledger.seed)],
            env=quiet_environment(Path(place) / "home"), stdout=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    if done.returncode != 0:
        ledger.fault("the process ends", f"code {done.returncode}", files={},
                     details={"seconds": seconds})  # fmt: skip
        return
    found = json.loads(done.stdout.splitlines()[-1])
    ledger.count("moves", found["moves"])
    ledger.count("answers", found["answers"])
    ledger.count("pairs", found["pairs"])
    ledger.count("seconds after the budget was full", round(found["flat_s"]))
    used_mb = found["used_mb"]
    if len(used_mb) < 10:
        print("The budget was not full in time: give it more.", flush=True)
        return
    # Medians of the first and the last part: a single look may fall on a pair being described.
    part = max(5, len(used_mb) // 10)
    first_mb, last_mb = statistics.median(used_mb[:part]), statistics.median(used_mb[-part:])
    ledger.figures |= {
        "MB once the budget was full": round(first_mb),
        "MB at the end": round(last_mb),
        "growth, %": round(100 * (last_mb / first_mb - 1), 1),
        "highest over first, %": round(100 * (max(used_mb) / first_mb - 1), 1),
    }
    if last_mb > first_mb * (1 + GROWTH_LIMIT):
        ledger.fault("memory grows", json.dumps(used_mb), files={}, details={"seconds": seconds})


def repeat(folder: Path) -> None:
    """Hover again for as long."""
    facts = json.loads((folder / "fault.json").read_text("utf-8"))
    ledger = Ledger("hover")
    run(ledger, time.monotonic() + facts["seconds"])
    print(ledger.summary())


# ---- in the process of the window ---------------------------------------------------------------


def _child(place: Path, seconds: float, seed: int) -> None:
    from PySide6.QtCore import QEventLoop, QTimer

    from benchmarks.soak.samples import texture
    from descgui.app import SETTINGS_FILE, Application, make_application
    from descgui.models.bundle import make_models
    from descgui.workers.collector import Collector
    from engine import api

    root = place / "sequences"
    for number in range(_PAIRS):
        sequence = root / f"v_{number:02d}"
        sequence.mkdir(parents=True)
        for index in (1, 2):
            api.write_image(sequence / f"{index}.png", texture(number, _SIZE_PX))
        (sequence / "H_1_2").write_text("1 0 0\n0 1 0\n0 0 1\n")
    application = make_application(sys.argv[:1])
    collector = Collector()
    models = make_models(api.config_dir() / SETTINGS_FILE)
    models.settings.update(map_budget_mb=_BUDGET_MB)
    options = api.ViewOptions(
        images=(root,), descriptor="daisy", device="cpu", mode="heat", size=(1200, 800)
    )
    window = Application(options, models)
    window.show()
    hovering = _Hovering(window, random.Random(seed), seconds)
    loop = QEventLoop()
    hovering.timer.start()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()
    hovering.timer.stop()
    window.finished.connect(loop.quit)
    window.end(0)
    if not window.closed:
        loop.exec()
    collector.stop()
    print(json.dumps(hovering.found()))
    application.quit()
    sys.stdout.flush()
    os._exit(0)


class _Hovering:
    """Moves the pointer, opens the next pair now and then, and looks at the memory."""

    def __init__(self, window: Application, rng: random.Random, seconds: float) -> None:
        from PySide6.QtCore import QTimer

        self._window, self._rng = window, rng
        self._moves = self._answers = self._pairs = 0
        self._pair_s = min(_PAIR_S, seconds / (3 * _FULL_AFTER_PAIRS))
        self._next_s = time.monotonic() + 20
        self._look_s = self._full_s = 0.0
        self._used_mb: list[float] = []
        self._place = [0.5, 0.5]
        self.timer = QTimer(interval=_STEP_MS)
        self.timer.timeout.connect(self._step)
        window.models.probe.answered.connect(self._on_answer)

    def found(self) -> dict[str, object]:
        """What was done and seen."""
        flat_s = time.monotonic() - self._full_s if self._full_s else 0.0
        return {
            "moves": self._moves, "answers": self._answers, "pairs": self._pairs,
            "flat_s": flat_s, "used_mb": self._used_mb,
        }  # fmt: skip

    def _on_answer(self, answer: object) -> None:
        if answer is not None:
            self._answers += 1

    def _step(self) -> None:
        now_s = time.monotonic()
        self._move()
        ready = self._window.models.maps.ready and not self._window.busy
        if now_s > self._next_s and ready:
            self._pairs += 1
            at_end = not self._window.actions["next_pair"].isEnabled()
            if at_end:
                self._window.pairs.step(1 - _PAIRS)
            else:
                self._window.actions["next_pair"].trigger()
            self._next_s = now_s + self._pair_s
        if self._pairs >= _FULL_AFTER_PAIRS and now_s > self._look_s and ready:
            self._full_s = self._full_s or now_s
            self._look_s = now_s + _LOOK_S
            self._used_mb.append(_used_mb())

    def _move(self) -> None:
        from PySide6.QtCore import QEvent, QPointF, Qt
        from PySide6.QtGui import QMouseEvent
        from PySide6.QtWidgets import QApplication

        for axis in (0, 1):
            moved = self._place[axis] + self._rng.uniform(-0.05, 0.05)
            self._place[axis] = min(0.95, max(0.05, moved))
        canvas = self._window.pair_view.canvases[self._rng.random() < 0.02]
        where = QPointF(self._place[0] * canvas.width(), self._place[1] * canvas.height())
        event = QMouseEvent(
            QEvent.Type.MouseMove, where, canvas.mapToGlobal(where), Qt.MouseButton.NoButton,
            Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        QApplication.sendEvent(canvas, event)
        self._moves += 1


def _used_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    _child(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
