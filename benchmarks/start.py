"""From the command to the first painted window, and how long the window stalls while torch loads.

Every run is a separate process with warm file caches.  Two references are measured, too: an empty
Qt window, and an ordinary ``import torch`` in a thread of the same window.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, summarise
from benchmarks.window_loop import use_offscreen

_TICK_MS = 5
_GIVE_UP_MS = 120_000
_VARIANTS = ("empty", "plain", "ours")


def measure(runs: int) -> list[Figure]:
    """Measure all variants in turn, ``runs`` times, after a warm-up."""
    with tempfile.TemporaryDirectory() as home:
        for variant in _VARIANTS:
            _run(variant, home)
        found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in _VARIANTS}
        for _ in range(runs):
            for variant in _VARIANTS:
                found[variant].append(_run(variant, home))
    early = sum(run["torch_before_paint"] for run in found["ours"])
    if early:
        raise RuntimeError(f"torch was loaded before the first paint in {early} of {runs} runs")
    first = "first paint of an empty Qt window"
    plain = "worst stall, ordinary import of torch"
    return [
        summarise(first, [run["paint_s"] for run in found["empty"]], unit="s"),
        summarise(
            "first paint", [run["paint_s"] for run in found["ours"]], unit="s", target=0.8,
            ratio_to=first, note="warm; no torch before it",
        ),
        summarise(plain, [run["stall_ms"] for run in found["plain"]], unit="ms"),
        summarise(
            "worst stall while torch loads", [run["stall_ms"] for run in found["ours"]], unit="ms",
            target=80.0, ratio_to=plain,
        ),
        summarise(
            "ready to hover", [run["ready_s"] for run in found["ours"]], unit="s", target=2.0,
            note="demo pair described with descspace-fast",
        ),
    ]  # fmt: skip


def _run(variant: str, home: str) -> dict[str, Any]:
    environment = {**os.environ, "DESCGUI_HOME": home, "PYTHONPATH": str(Path.cwd())}
    use_offscreen(environment)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.start", variant, repr(time.time())],
        env=environment, capture_output=True, text=True, timeout=_GIVE_UP_MS / 1000, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"the window ended with code {done.returncode}: {done.stderr[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# ---- in the measured process -------------------------------------------------------------------


def _child(variant: str, started_s: float) -> None:
    if variant == "empty":
        _show_empty(started_s)
    else:
        _show_ours(started_s, link_ahead=variant == "ours")


def _show_empty(started_s: float) -> None:
    from PySide6.QtCore import QEvent, QObject, QTimer
    from PySide6.QtWidgets import QApplication, QMainWindow

    application = QApplication([])
    window = QMainWindow()

    class Watch(QObject):
        def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Paint:
                QTimer.singleShot(0, end)
            return False

    def end() -> None:
        print(json.dumps({"paint_s": time.time() - started_s}))
        application.quit()

    watch = Watch()
    window.installEventFilter(watch)
    window.resize(1400, 900)
    window.show()
    application.exec()


def _show_ours(started_s: float, *, link_ahead: bool) -> None:
    from descgui.app import Application, make_application
    from descgui.models.bundle import make_models
    from descgui.workers import torch_loading
    from descgui.workers.collector import Collector
    from engine import api

    application = make_application(sys.argv[:1])
    collector = Collector()
    models = make_models(None)
    window = Application(api.ViewOptions(size=(1400, 900)), models)
    result: dict[str, Any] = {}
    if not link_ahead:
        api.link_ahead = lambda: None
        torch_loading.SWITCH_INTERVAL_S = sys.getswitchinterval()
    from PySide6.QtCore import QTimer

    ticker = QTimer(interval=_TICK_MS)
    state = {"last_s": 0.0, "worst_ms": 0.0}

    def tick() -> None:
        now_s = time.perf_counter()
        if state["last_s"]:
            gap_ms = 1000 * (now_s - state["last_s"]) - _TICK_MS
            state["worst_ms"] = max(state["worst_ms"], gap_ms)
        state["last_s"] = now_s

    def painted() -> None:
        result["paint_s"] = time.time() - started_s
        result["torch_before_paint"] = "torch" in sys.modules
        ticker.start()

    def loaded() -> None:
        ticker.stop()
        result["stall_ms"] = state["worst_ms"]

    def described(*_args: object) -> None:
        result["ready_s"] = time.time() - started_s
        QTimer.singleShot(0, lambda: window.end(0))

    ticker.timeout.connect(tick)
    window.painted.connect(painted)
    window.engine.ready.connect(loaded)
    window.maps.ready.connect(described)
    window.finished.connect(application.exit)
    QTimer.singleShot(_GIVE_UP_MS, lambda: application.exit(1))
    window.show()
    code = application.exec()
    collector.stop()
    print(json.dumps(result))
    sys.exit(code)


if __name__ == "__main__":
    _child(sys.argv[1], float(sys.argv[2]))
