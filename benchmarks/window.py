"""How long the window takes for what it does at one click, with a pair of the demo open.

``next pair`` is the time until the PCA colours of a pair whose maps are kept have been painted.
The other figures are stalls: the processor's time that the window's thread spends in one piece,
which holds on busy computers, too.  A panel is made when it is first shown, which is told apart.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, summarise
from benchmarks.window_loop import WindowLoop, use_offscreen
from engine.data.demo import demo_dataset

if TYPE_CHECKING:
    from descgui.app import Application

_WAIT_S = 300.0
_REST_MS = 400  # after a click, for what it left to do
_FIRST = {"evaluate": "evaluate, first time", "train": "train, first time"}


def measure(runs: int) -> list[Figure]:
    """Switches of the pair, the theme, workspaces and panels, ``runs`` of each."""
    use_offscreen()
    demo = demo_dataset()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DESCGUI_HOME"] = folder
        from descgui.app import Application, make_application
        from descgui.models.bundle import make_models
        from engine.api import ViewOptions

        make_application(sys.argv[:1])
        options = ViewOptions(
            images=(demo,), descriptor="daisy", mode="pca", size=(1400, 900), theme="light"
        )
        window = Application(options, make_models(None))
        window.show()
        driver = _Driver(window)
        driver.rest()
        switches_ms = driver.switch_pairs(runs)
        stalls = driver.click_around(runs)
        driver.end()
    return [
        summarise("next pair, to painted PCA colours", switches_ms, unit="ms", target=50.0),
        *(
            summarise(f"stall: {name}", stall_ms, unit="ms", target=100.0)
            for name, stall_ms in stalls.items()
        ),
    ]


class _Driver:
    """Clicks in a window, and measures what that takes."""

    def __init__(self, window: Application) -> None:
        from PySide6.QtCore import QAbstractEventDispatcher

        self._window = window
        self._models = window.models
        self._loop = WindowLoop()
        self._slept_s = time.thread_time()
        self._longest_s = 0.0
        dispatcher = QAbstractEventDispatcher.instance()
        dispatcher.aboutToBlock.connect(self._about_to_block)

    def rest(self) -> None:
        """Until nothing is computed."""
        self._loop.until(lambda: self._models.maps.ready and not self._window.busy, _WAIT_S)

    def switch_pairs(self, runs: int) -> list[float]:
        """Milliseconds from the key to the painted colours, between two pairs that were seen."""
        models, canvas = self._models, self._window.pair_view.canvases[1]
        self._window.pairs.step(1)
        self.rest()
        times = []
        for run in range(2 * runs):
            before = models.pair.state

            def painted(before: object = before) -> bool:
                picture = models.pictures.state.pca
                return models.pair.state is not before and picture is not None

            began_s = time.perf_counter()
            self._window.pairs.step(-1 if run % 2 == 0 else 1)
            self._painted(canvas, painted)
            times.append(1000 * (time.perf_counter() - began_s))
            self.rest()
        return times

    def click_around(self, runs: int) -> dict[str, list[float]]:
        """The longest piece of work after each kind of click, in milliseconds."""
        show = self._window.window.show_workspace
        stalls: dict[str, list[float]] = {}
        for _ in range(runs):
            for theme in ("dark", "light"):
                self._note(stalls, "theme", lambda theme=theme: self._set_theme(theme))  # type: ignore[misc]
            for name in ("evaluate", "train", "inspect"):
                kind = "workspace"
                if _FIRST.get(name, kind) not in stalls and name in _FIRST:
                    kind = _FIRST[name]
                self._note(stalls, kind, lambda name=name: show(name))  # type: ignore[misc]
            for _shown in range(2):
                self._note(stalls, "panel", self._window.actions["dock_log"].trigger)
        return stalls

    def end(self) -> None:
        """Close the window."""
        self._window.finished.connect(self._loop.quit)
        self._window.end(0)
        self._loop.run(_WAIT_S)

    def _set_theme(self, theme: str) -> None:
        self._models.settings.override(theme=theme)

    def _note(self, stalls: dict[str, list[float]], kind: str, click: Callable[[], None]) -> None:
        from PySide6.QtCore import QTimer

        def begin() -> None:
            self._longest_s = 0.0
            click()

        QTimer.singleShot(0, begin)
        QTimer.singleShot(_REST_MS, self._loop.quit)
        self._loop.run(_WAIT_S)
        self._about_to_block()  # the loop may have quit in the very turn of the click
        stalls.setdefault(kind, []).append(1000 * self._longest_s)

    def _about_to_block(self) -> None:
        now_s = time.thread_time()  # which stands still while the loop sleeps
        self._longest_s = max(self._longest_s, now_s - self._slept_s)
        self._slept_s = now_s

    def _painted(self, canvas: object, done: Callable[[], bool]) -> None:
        from PySide6.QtCore import QEvent, QObject, QTimer
        from PySide6.QtWidgets import QWidget

        loop = self._loop

        class Watch(QObject):
            def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
                if event.type() == QEvent.Type.Paint and done():
                    QTimer.singleShot(0, loop.quit)  # after this painting
                return False

        assert isinstance(canvas, QWidget)
        watch = Watch()
        canvas.installEventFilter(watch)
        self._loop.run(_WAIT_S)
        canvas.removeEventFilter(watch)
