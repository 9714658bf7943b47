"""A monkey on the real window: random clicks, keys, drags, drops, commands, trainings and closings.

The windows live in a process of their own, in a home folder of their own; nothing is opened outside
of it.  A fault is an exception that nobody caught, a warning of Qt, an event loop that stands for
longer than 2 s, a closing that takes longer than 5 s, or the end of the process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.soak.ledger import ROOT, Ledger, kill, quiet_environment
from benchmarks.soak.samples import make_samples

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from descgui.app import Application

STALL_S = 2.0
CLOSE_S = 5.0
_TICK_MS = 15
_KEPT_ACTIONS = 400
_WINDOW_S = 75.0  # at most; each window has a process of its own, as a person's have
_LEAST_S = 20.0
_GRACE_S = 90.0
_ADDRESS_SPACE = 14 << 30
_TINY_TRAINING = {
    "train.steps": 100_000, "train.batch": 1, "train.width": 48, "train.height": 32,
    "train.points": 30, "train.validation.every_steps": 5, "train.validation.pairs": 1,
    "train.validation.points": 20, "train.saving.log_every_steps": 1,
    "train.saving.preview_every_steps": 10, "train.saving.every_s": 5.0,
}  # fmt: skip
_DESCRIPTORS = ("daisy", "descspace-fast", "msnet_v0", "precomputed")
_TEXTS = ("", "x", "0", "-1", "3.5", "1e9", "nan", "日本", "a" * 300, "daisy", "true", "1,2,3")
_FORBIDDEN = ("quit",)
# What the offscreen platform says of every window.
_NOISE = re.compile(r"This plugin does not support (raise|propagateSizeHints|grabbing)")


def run(ledger: Ledger, deadline_s: float) -> None:
    """Run one window after the other until ``time.monotonic()`` reaches the deadline."""
    samples = make_samples(ROOT / "samples").resolve()
    if deadline_s - time.monotonic() <= _LEAST_S:
        print(f"A window takes {_LEAST_S:g} s: give it more.", flush=True)
    while (left_s := deadline_s - time.monotonic()) > _LEAST_S:
        number = ledger.count("processes")
        with tempfile.TemporaryDirectory(prefix="soak-") as place:
            found = run_process(
                Path(place), samples, ledger.seed, number, min(left_s, _WINDOW_S), home="home"
            )
            _note(ledger, found, Path(place), number)


def repeat(folder: Path) -> None:
    """Run the process of a fault again: the same actions, as far as threads leave them."""
    facts = json.loads((folder / "fault.json").read_text("utf-8"))
    samples = make_samples(ROOT / "samples").resolve()
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        found = run_process(Path(place), samples, facts["seed"], facts["number"],
                            facts["seconds"], home="home")  # fmt: skip
        print(json.dumps(found, indent=1))


def run_process(
    place: Path, samples: Path, seed: int, number: int, seconds: float, *, home: str
) -> dict[str, Any]:
    """One process: what it did, and its faults, the process's own end included."""
    process = begin_process(place, samples, seed, number, seconds, home=home)
    wait_for(process, seconds)
    return end_process(place, process, number, seconds)


def begin_process(
    place: Path, samples: Path, seed: int, number: int, seconds: float, *, home: str
) -> subprocess.Popen[bytes]:
    """Start the windows in a process."""
    folder = place / home
    folder.mkdir(exist_ok=True)
    words = [str(place), str(samples), str(folder), str(seed), str(number), str(seconds)]
    with (place / f"said-{number}.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.soak.monkey", *words],
            env=quiet_environment(folder), stdout=said, stderr=said,
        )  # fmt: skip


def wait_for(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until a process has ended, and end it where it does not, or this one is stopped."""
    try:
        process.wait(seconds + _GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        kill(process)


def end_process(
    place: Path, process: subprocess.Popen[bytes], number: int, seconds: float
) -> dict[str, Any]:
    """Read what a process found."""
    report = place / f"report-{number}.json"
    found: dict[str, Any] = {"counts": {}, "figures": {}, "faults": [], "seconds": seconds}
    if report.exists():
        found |= json.loads(report.read_text("utf-8"))
    said = (place / f"said-{number}.txt").read_text("utf-8", "replace")
    if process.returncode != 0:
        what = "the process hangs" if process.returncode == -9 else "the process ends"
        actions = place / f"actions-{number}.txt"
        tail = actions.read_text("utf-8")[-3000:] if actions.exists() else ""
        found["faults"].append(
            {"key": f"{what} ({process.returncode})", "text": f"{said[-8000:]}\n{tail}"}
        )
    return found


def _note(ledger: Ledger, found: dict[str, Any], place: Path, number: int) -> None:
    for name, count in found["counts"].items():
        ledger.count(name, count)
    for name, value in found["figures"].items():
        ledger.figures[name] = max(value, ledger.figures.get(name, 0.0))
    details = {"number": number, "seed": ledger.seed, "seconds": found["seconds"]}
    for fault in found["faults"]:
        files = {"said.txt": place / f"said-{number}.txt",
                 "actions.txt": place / f"actions-{number}.txt"}  # fmt: skip
        ledger.fault(fault["key"], fault["text"], files=files, details=details)
    ledger.save()


# ---- in the process of the windows --------------------------------------------------------------


class Report:
    """What one process did and found."""

    def __init__(self, place: Path, number: int) -> None:
        self._place, self._number = place, number
        self.counts: dict[str, int] = {}
        self.figures: dict[str, float] = {}
        self.faults: list[dict[str, str]] = []
        self.actions: deque[str] = deque(maxlen=_KEPT_ACTIONS)

    def count(self, name: str, more: int = 1) -> None:
        """Note that something was done."""
        self.counts[name] = self.counts.get(name, 0) + more

    def fault(self, key: str, text: str) -> None:
        """Note a fault with the last actions."""
        if all(fault["key"] != key for fault in self.faults):
            tail = "\n".join(list(self.actions)[-40:])
            self.faults.append({"key": key, "text": f"{text}\n\nLast actions:\n{tail}"})
        self.write()

    def act(self, text: str) -> None:
        """Note an action before it is done."""
        self.actions.append(text)

    def write(self) -> None:
        """Write everything down."""
        content = {"counts": self.counts, "figures": self.figures, "faults": self.faults}
        report = self._place / f"report-{self._number}.json"
        report.write_text(json.dumps(content), "utf-8")
        actions = self._place / f"actions-{self._number}.txt"
        actions.write_text("\n".join(self.actions) + "\n", "utf-8", "backslashreplace")


class StallWatch:
    """Sees when the window's thread does not come back to its event loop.

    Time in which the system let the thread wait for a processor does not count.  Nor does time in
    which it waited for a lock while another thread, which may have held it, waited for one.
    """

    def __init__(self, report: Report) -> None:
        from PySide6.QtCore import QTimer

        self._report = report
        self._main = threading.main_thread().ident
        self._task = threading.get_native_id()
        self._last = _Moment.now(self._task)
        self._trace = ""
        self._paused = False
        self._timer = QTimer(interval=50)  # a look takes up to 1 ms
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @property
    def paused(self) -> bool:
        """Whether stalls do not count."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused, self._last = paused, _Moment.now(self._task)

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.stop()
        self._ended.set()
        self._thread.join()

    def _tick(self) -> None:
        now = _Moment.now(self._task)
        stood_s = now.stood_s(self._last)
        if not self._paused:
            name = "longest stall, s"
            self._report.figures[name] = max(self._report.figures.get(name, 0.0), round(stood_s, 2))
            if stood_s > STALL_S:
                self._report.fault(
                    f"stall in {_innermost(self._trace)}", f"{stood_s:.1f} s\n{self._trace}"
                )
        self._last = now
        self._trace = ""

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            if not self._trace and time.monotonic() - self._last.clock_s > STALL_S * 0.75:
                self._trace = _traces(self._main)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the system has given a thread until now.

    Attributes:
        clock_s: time of day.
        ran_s: time on a processor.
        waited_s: time in which the thread was ready and no processor was free.
        others_waited_s: the same for every other thread of the process.
    """

    clock_s: float
    ran_s: float
    waited_s: float
    others_waited_s: Mapping[int, float]

    @classmethod
    def now(cls, task: int) -> _Moment:
        times = _thread_times_s()
        ran_s, waited_s = times.pop(task, (0.0, 0.0))
        return cls(
            time.monotonic(), ran_s, waited_s, {other: each[1] for other, each in times.items()}
        )

    def stood_s(self, earlier: _Moment) -> float:
        """Time since then that the program has to answer for."""
        ran_s = self.ran_s - earlier.ran_s
        slept_s = self.clock_s - earlier.clock_s - ran_s - (self.waited_s - earlier.waited_s)
        known = earlier.others_waited_s
        behind_s = max(
            (waited_s - known.get(other, 0.0) for other, waited_s in self.others_waited_s.items()),
            default=0.0,
        )
        return ran_s + max(0.0, slept_s - behind_s)


def _innermost(trace: str) -> str:
    lines = [line.strip() for line in trace.splitlines()
             if "/descgui/" in line or "/engine/" in line]  # fmt: skip
    if not lines:
        return "Qt"
    path, _, place = lines[0].removeprefix('File "').partition('", ')
    return f"{Path(path).name}:{place.split()[-1]}"


def stub_the_outside(rng: random.Random, inputs: list[Path], out: Path) -> None:
    """No browser, no file manager, no network, and file dialogs that answer at once."""
    from PySide6.QtGui import QDesktopServices
    from PySide6.QtWidgets import QFileDialog, QMessageBox

    from engine.data import download

    def one(*_args: object, **_named: object) -> tuple[str, str]:
        return (str(rng.choice(inputs)) if rng.random() < 0.8 else "", "")

    def some(*_args: object, **_named: object) -> tuple[list[str], str]:
        return [str(path) for path in rng.choices(inputs, k=rng.choice((0, 1, 2, 2, 3)))], ""

    def folder(*_args: object, **_named: object) -> str:
        folders = [path for path in inputs if path.is_dir()]
        return str(rng.choice(folders)) if rng.random() < 0.8 else ""

    def target(_parent: object, _title: str, proposal: str, *_rest: object) -> tuple[str, str]:
        name = rng.choice((Path(proposal).name, "x.png", "x.svg", "x.pdf", "x", "none/x.csv"))
        return (str(out / name) if rng.random() < 0.8 else "", "")

    def answer(*_args: object, **_named: object) -> QMessageBox.StandardButton:
        return rng.choice((QMessageBox.StandardButton.Ok, QMessageBox.StandardButton.Cancel))

    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (QDesktopServices, "openUrl", lambda *_: True),
        (QFileDialog, "getOpenFileName", one),
        (QFileDialog, "getOpenFileNames", some),
        (QFileDialog, "getExistingDirectory", folder),
        (QFileDialog, "getSaveFileName", target),
        (QMessageBox, "warning", answer),
        (QMessageBox, "question", answer),
        (QMessageBox, "information", answer),
    ]
    for owner, name, function in replaced:
        setattr(owner, name, staticmethod(function))
    patched: Any = download
    patched.HPATCHES_URLS = ("http://127.0.0.1:9/set.zip",)
    real_connect = socket.create_connection

    def connect(address: tuple[str, int], *args: Any, **named: Any) -> socket.socket:
        if address[0] not in ("127.0.0.1", "localhost"):
            raise OSError("no network here")
        return real_connect(address, *args, **named)

    socket.create_connection = connect  # type: ignore[assignment]


def bad_inputs(folder: Path, samples: Path, rng: random.Random) -> list[Path]:
    """Files that cannot be opened, and some that look as if they could."""
    folder.mkdir(exist_ok=True)
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture")
    whole = (samples / "photos" / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "noise.bin").write_bytes(rng.randbytes(3000))
    (folder / "H_nan.txt").write_text("nan 0 0 0 1 0 0 0 1")
    (folder / "line\nbreak.txt").write_text("1 2 3")
    (folder / "nothing").mkdir(exist_ok=True)
    return sorted(folder.iterdir())


class Monkey:
    """Acts on one window until its time is over, then closes it."""

    def __init__(
        self, window: Application, report: Report, rng: random.Random, inputs: list[Path],
        samples: Path,
    ) -> None:  # fmt: skip
        from PySide6.QtCore import QTimer

        self.window, self.report, self.rng = window, report, rng
        self.inputs, self.samples = inputs, samples
        self.timer = QTimer(interval=_TICK_MS)
        self.timer.timeout.connect(self._act)
        self._acting = False
        self._actions: tuple[tuple[float, Callable[[], None]], ...] = (
            (12, self._move), (8, self._click), (4, self._drag), (3, self._wheel), (6, self._key),
            (4, self._command), (8, self._operate), (1.0, self._drop), (0.6, self._descriptor),
            (0.5, self._training), (0.5, self._evaluation), (0.5, self._resize),
            (1.5, self._escape), (0.3, self._paste),
        )  # fmt: skip

    def _act(self) -> None:
        if self._acting and self.rng.random() < 0.7:  # inside a dialog's own event loop
            return
        weights = [weight for weight, _ in self._actions]
        action = self.rng.choices([action for _, action in self._actions], weights)[0]
        self._acting = True
        self.report.count("actions")
        try:
            action()
        except RuntimeError as error:
            if "already deleted" not in str(error):  # of a widget that another action closed
                raise
        finally:
            self._acting = False

    # ---- the pointer ----------------------------------------------------------------------------

    def _surface(self) -> QWidget:
        """A window, or what lies over it."""
        from PySide6.QtWidgets import QApplication

        above = QApplication.activePopupWidget() or QApplication.activeModalWidget()
        if above is not None:
            return above
        shown = [one for one in QApplication.topLevelWidgets() if one.isVisible()]
        main = self.window.window
        return main if self.rng.random() < 0.7 or not shown else self.rng.choice(shown)

    def _place(self) -> tuple[QWidget, Any] | None:
        from PySide6.QtCore import QPoint

        if self.rng.random() < 0.4:
            canvas: QWidget = self.rng.choice(self.window.pair_view.canvases)
            surface = canvas if canvas.isVisible() else self._surface()
        else:
            surface = self._surface()
        if surface.width() < 1 or surface.height() < 1:
            return None
        where = QPoint(self.rng.randrange(surface.width()), self.rng.randrange(surface.height()))
        target = surface.childAt(where) or surface
        return target, target.mapFrom(surface, where)

    def _mouse(self, target: QWidget, kind: Any, where: Any, button: Any, buttons: Any) -> None:
        from PySide6.QtCore import QPointF
        from PySide6.QtGui import QMouseEvent
        from PySide6.QtWidgets import QApplication

        event = QMouseEvent(
            kind, QPointF(where), QPointF(target.mapToGlobal(where)), button, buttons,
            self._modifiers(),
        )  # fmt: skip
        QApplication.sendEvent(target, event)

    def _modifiers(self) -> Any:
        from PySide6.QtCore import Qt

        names = Qt.KeyboardModifier
        return self.rng.choice(
            (*[names.NoModifier] * 8, names.ShiftModifier, names.ControlModifier, names.AltModifier)
        )

    def _move(self) -> None:
        from PySide6.QtCore import QEvent, Qt

        place = self._place()
        if place is not None:
            none = Qt.MouseButton.NoButton
            self._mouse(place[0], QEvent.Type.MouseMove, place[1], none, none)

    def _click(self) -> None:
        from PySide6.QtCore import QEvent, Qt
        from PySide6.QtWidgets import QAbstractButton

        place = self._place()
        if place is None:
            return
        target, where = place
        if isinstance(target, QAbstractButton) and "quit" in target.objectName():
            return
        name = Qt.MouseButton
        button = self.rng.choice((*[name.LeftButton] * 6, name.RightButton, name.MiddleButton))
        self.report.act(f"click {_named(target)} {where.x()},{where.y()} {button.name}")
        self._mouse(target, QEvent.Type.MouseButtonPress, where, button, button)
        if self.rng.random() < 0.1:
            self._mouse(target, QEvent.Type.MouseButtonDblClick, where, button, button)
        self._mouse(target, QEvent.Type.MouseButtonRelease, where, button, name.NoButton)

    def _drag(self) -> None:
        from PySide6.QtCore import QEvent, QPoint, Qt

        place = self._place()
        if place is None:
            return
        target, where = place
        button = self.rng.choice((Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton))
        self.report.act(f"drag {_named(target)} from {where.x()},{where.y()}")
        self._mouse(target, QEvent.Type.MouseButtonPress, where, button, button)
        for _ in range(self.rng.randint(1, 8)):
            where += QPoint(self.rng.randint(-60, 60), self.rng.randint(-60, 60))
            none = Qt.MouseButton.NoButton
            self._mouse(target, QEvent.Type.MouseMove, where, none, button)
        self._mouse(target, QEvent.Type.MouseButtonRelease, where, button, Qt.MouseButton.NoButton)

    def _wheel(self) -> None:
        from PySide6.QtCore import QPoint, QPointF, Qt
        from PySide6.QtGui import QWheelEvent
        from PySide6.QtWidgets import QApplication

        place = self._place()
        if place is None:
            return
        target, where = place
        turn = QPoint(0, self.rng.choice((-1200, -120, -15, 15, 120, 1200)))
        event = QWheelEvent(
            QPointF(where), QPointF(target.mapToGlobal(where)), QPoint(), turn,
            Qt.MouseButton.NoButton, self._modifiers(), Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(target, event)

    # ---- keys and commands ----------------------------------------------------------------------

    def _key(self) -> None:
        from PySide6.QtCore import QEvent, Qt
        from PySide6.QtGui import QKeyEvent
        from PySide6.QtWidgets import QApplication

        keys = Qt.Key
        special = (
            keys.Key_Left, keys.Key_Right, keys.Key_Up, keys.Key_Down, keys.Key_Return,
            keys.Key_Space, keys.Key_Tab, keys.Key_Delete, keys.Key_Backspace, keys.Key_PageUp,
            keys.Key_PageDown, keys.Key_Home, keys.Key_End, keys.Key_F1, keys.Key_F11, keys.Key_B,
            keys.Key_Z, keys.Key_Plus, keys.Key_Minus, keys.Key_F2,
        )  # fmt: skip
        target = QApplication.focusWidget() or self.window.window
        if self.rng.random() < 0.5:
            key, text = self.rng.choice(special), ""
        else:
            text = self.rng.choice("1234567890.,-abcdefgh")
            key = Qt.Key(ord(text.upper()))
        modifiers = self._modifiers()
        if modifiers != Qt.KeyboardModifier.NoModifier and key in (keys.Key_Q, keys.Key_W):
            return
        self.report.act(f"key {key.name} {modifiers.name} in {_named(target)}")
        QApplication.sendEvent(target, QKeyEvent(QEvent.Type.KeyPress, key, modifiers, text))
        # The press may have destroyed its widget; as Qt does, release what has the focus now.
        target = QApplication.focusWidget() or self.window.window
        QApplication.sendEvent(target, QKeyEvent(QEvent.Type.KeyRelease, key, modifiers, text))

    def _escape(self) -> None:
        from PySide6.QtCore import QEvent, Qt
        from PySide6.QtGui import QKeyEvent
        from PySide6.QtWidgets import QApplication

        target = QApplication.activePopupWidget() or QApplication.activeModalWidget()
        target = target or QApplication.focusWidget() or self.window.window
        event = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Escape, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(target, event)

    def _command(self) -> None:
        name = self.rng.choice(sorted(set(self.window.actions) - set(_FORBIDDEN)))
        if self.window.actions[name].isEnabled():
            self.report.act(f"command {name}")
            self.report.count("commands")
            self.window.actions[name].trigger()

    def _operate(self) -> None:
        """Use a control as what it is."""
        from PySide6.QtWidgets import (
            QAbstractButton,
            QAbstractSlider,
            QAbstractSpinBox,
            QComboBox,
            QDoubleSpinBox,
            QLineEdit,
            QSpinBox,
            QTabBar,
            QWidget,
        )

        kinds = (QAbstractButton, QComboBox, QAbstractSlider, QAbstractSpinBox, QLineEdit, QTabBar)
        surface = self._surface()
        found = [one for one in surface.findChildren(QWidget)
                 if isinstance(one, kinds) and one.isVisible() and one.isEnabled()]  # fmt: skip
        if not found:
            return
        one = self.rng.choice(found)
        self.report.act(f"operate {_named(one)}")
        if isinstance(one, QAbstractButton):
            one.click()
        elif isinstance(one, QComboBox) and one.count():
            one.setCurrentIndex(self.rng.randrange(one.count()))
            one.activated.emit(one.currentIndex())
        elif isinstance(one, QSpinBox):
            low, high = one.minimum(), min(one.maximum(), one.minimum() + 300)
            one.setValue(self.rng.randint(low, high))
        elif isinstance(one, QDoubleSpinBox):
            one.setValue(self.rng.uniform(one.minimum(), min(one.maximum(), 100.0)))
        elif isinstance(one, QAbstractSlider):
            one.setValue(self.rng.randint(one.minimum(), max(one.minimum(), one.maximum())))
        elif isinstance(one, QLineEdit) and not one.isReadOnly():
            one.setText(self.rng.choice(_TEXTS))
            one.editingFinished.emit()
        elif isinstance(one, QTabBar) and one.count():
            one.setCurrentIndex(self.rng.randrange(one.count()))

    # ---- what takes longer ----------------------------------------------------------------------

    def _drop(self) -> None:
        from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
        from PySide6.QtGui import QDragEnterEvent, QDropEvent
        from PySide6.QtWidgets import QApplication

        paths = self.rng.choices(self.inputs, k=self.rng.choice((1, 1, 2, 3)))
        target: QWidget = self.rng.choice(
            (self.window.pair_view, self.window.pair_view, self.window.training_panel)
        )
        self.report.act(f"drop {[path.name for path in paths]} on {_named(target)}")
        self.report.count("drops")
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        where = QPointF(self.rng.randrange(max(1, target.width())), target.height() / 2)
        common = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton)
        bare = Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(target, QDragEnterEvent(where.toPoint(), *common, bare))
        QApplication.sendEvent(target, QDropEvent(where, *common, bare))

    def _paste(self) -> None:
        from PySide6.QtCore import QMimeData, QUrl
        from PySide6.QtGui import QGuiApplication, QImage

        mime = QMimeData()
        kind = self.rng.randrange(3)
        if kind == 0:
            mime.setImageData(QImage(str(self.samples / "photos" / "0.png")))
        elif kind == 1:
            mime.setUrls([QUrl.fromLocalFile(str(self.rng.choice(self.inputs)))])
        else:
            mime.setText(self.rng.choice((*_TEXTS, *map(str, self.inputs))))
        QGuiApplication.clipboard().setMimeData(mime)
        self.report.act(f"paste of kind {kind}")
        self.window.actions["paste_image"].trigger()

    def _descriptor(self) -> None:
        from descgui.models.maps_state import DescriptorChoice

        name = self.rng.choice(_DESCRIPTORS)
        files = None
        if name == "precomputed":
            files = (self.samples / "maps" / "a.npz", self.rng.choice(self.inputs))
        self.report.act(f"descriptor {name} {files}")
        self.report.count("descriptors")
        models = self.window.models
        model = models.maps if self.rng.random() < 0.7 else self.rng.choice(models.compared)
        self.window.maps.choose(model, DescriptorChoice(name, map_files=files))

    def _training(self) -> None:
        trainings, models = self.window.trainings, self.window.models
        kind = self.rng.randrange(6)
        self.report.act(f"training {kind}")
        if kind <= 1:
            models.training.choice.update(device="cpu", changes=_TINY_TRAINING, own={})
            trainings.use_folder(self.samples / "photos")
        elif kind <= 3:
            models.training.choice.update(
                device="cpu", changes=_TINY_TRAINING, folder=str(self.samples / "photos"),
                descriptor="msnet_v0", own={}, name=self.rng.choice(("", "same", "same", "é x")),
            )  # fmt: skip
            if not models.training.status.state.busy:
                self.report.count("trainings")
                trainings.start()
        elif kind == 4:
            trainings.pause() if self.rng.random() < 0.5 else trainings.unpause()
        else:
            trainings.stop()

    def _evaluation(self) -> None:
        runs, models = self.window.evaluations.runs, self.window.models
        kind = self.rng.randrange(5)
        self.report.act(f"evaluation {kind}")
        if kind <= 2:
            models.evaluation.choice.update(
                dataset=str(self.samples / "sequences"), more={"long_edge_px": 96},
                open_report=self.rng.random() < 0.5,
            )  # fmt: skip
            self.report.count("evaluations")
            runs.run()
        elif kind == 3:
            runs.pause()
        else:
            runs.cancel()

    def _resize(self) -> None:
        window = self.window.window
        size = (self.rng.randint(640, 1700), self.rng.randint(420, 1100))
        self.report.act(f"resize {size}")
        window.resize(*size)


def _named(widget: QWidget) -> str:
    parent = widget.parent()
    name = widget.objectName() or ("" if parent is None else parent.objectName())
    return f"{type(widget).__name__}({name})"


def _child(words: list[str]) -> int:
    place, samples, home = map(Path, words[:3])
    seed, number, seconds = int(words[3]), int(words[4]), float(words[5])
    os.environ["DESCGUI_HOME"] = str(home)
    os.chdir(place)  # what is written to a relative path stays in here
    faulthandler.enable()
    faulthandler.dump_traceback_later(seconds + _GRACE_S - 10, exit=True)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    rng = random.Random(f"{seed}/{number}")
    inputs = [*bad_inputs(place / "bad", samples, rng), samples / "sequences",
              samples / "sequences" / "v_moved1", samples / "photos",
              *sorted((samples / "photos").iterdir()), *sorted((samples / "pictures").iterdir()),
              *sorted((samples / "homographies").iterdir()), samples / "maps" / "b.npy",
              samples / "maps" / "a.npz", samples / "basis" / "basis.npz",
              samples / "plugin" / "my_network.py", samples / "weights" / "last.safetensors",
              place / "gone.png"]  # fmt: skip
    out = place / "out"
    out.mkdir(exist_ok=True)
    stub_the_outside(rng, inputs, out)
    report = Report(place, number)
    until_s = time.monotonic() + seconds
    _one_window(report, rng, inputs, samples, until_s)
    report.write()
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(5)
    return 0


def _one_window(
    report: Report, rng: random.Random, inputs: list[Path], samples: Path, until_s: float
) -> None:
    from PySide6.QtCore import QEventLoop, QTimer

    from descgui import logs
    from descgui.app import LAYOUT_FILE, SETTINGS_FILE, Application, make_application
    from descgui.models.bundle import make_models
    from descgui.workers.collector import Collector
    from engine import api

    application = make_application(sys.argv[:1])
    collector = Collector()
    watch = StallWatch(report)
    left_s = until_s - time.monotonic()
    if left_s > 5:
        settings = api.config_dir() / SETTINGS_FILE
        if rng.random() < 0.15 and settings.exists():
            settings.write_bytes(rng.randbytes(40) if rng.random() < 0.5 else b"theme: [")
            report.act("damaged settings")
        models = make_models(settings)
        hooks = logs.install(models.messages, api.log_dir())
        options = api.ViewOptions(size=(1200, 800), device="cpu")
        if rng.random() < 0.5:
            options = api.ViewOptions(images=(samples / "sequences",), size=(1000, 700))
        watch.paused = True  # no event loop runs yet
        window = Application(options, models, api.config_dir() / LAYOUT_FILE)
        hooks.crashed.connect(
            lambda crash: report.fault(f"uncaught {crash.summary[:160]}", crash.trace)
        )
        models.messages.logged.connect(lambda message: _look_at(report, message))
        report.count("windows")
        report.act("window")
        window.show()
        watch.paused = False
        monkey = Monkey(window, report, rng, inputs, samples)
        loop = QEventLoop()
        over_s = rng.uniform(0.2, 1.0) * left_s
        QTimer.singleShot(round(1000 * over_s), partial(_end_acting, monkey, loop))
        # A window that the monkey has closed ends the loop, too.
        window.finished.connect(loop.quit)
        monkey.timer.start()
        loop.exec()
        monkey.timer.stop()
        _close(window, report, loop)
        hooks.uninstall()
        for shown in application.topLevelWidgets():
            shown.close()
        collector.collect()
    watch.stop()
    collector.stop()


def _end_acting(monkey: Monkey, loop: Any) -> None:
    """Let the monkey rest, and end the event loops of open dialogs before the window's."""
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    monkey.timer.stop()
    above = QApplication.activePopupWidget() or QApplication.activeModalWidget()
    if above is None:
        loop.quit()
        return
    above.close()
    QTimer.singleShot(50, partial(_end_acting, monkey, loop))


def _look_at(report: Report, message: Any) -> None:
    """Warnings of Qt and bugs are faults; sentences are not."""
    topic = str(message.topic)
    if topic.startswith("qt") and message.level != "info" and not _NOISE.match(message.text):
        report.fault(f"Qt says: {message.text[:160]}", message.text)
    elif message.level == "error" and "Traceback" in message.detail and topic != "bug":
        last = message.detail.strip().splitlines()[-1]
        if "Error" in last and "engine.errors" not in last:
            report.fault(f"logged {topic}: {last[:160]}", f"{message.text}\n{message.detail}")


def _close(window: Application, report: Report, loop: Any) -> None:
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication

    if window.closed:
        report.count("closed by the monkey")
        return
    begin_s, waited_s = time.monotonic(), _waited_s()
    report.act("close")
    # Open dialogs have event loops of their own, which end first.
    for _ in range(20):
        above = QApplication.activePopupWidget() or QApplication.activeModalWidget()
        if above is None:
            break
        above.close()
        QApplication.processEvents()
    late = QTimer(singleShot=True)
    late.timeout.connect(loop.quit)
    late.start(60_000)
    seen: list[str] = []
    look = QTimer(singleShot=True)
    look.timeout.connect(lambda: seen.append(_traces()))
    look.start(3000)
    window.end(0)
    if not window.closed:
        loop.exec()
    late.stop()
    look.stop()
    took_s = time.monotonic() - begin_s
    took_s -= min(took_s, _waited_s() - waited_s)
    name = "longest closing, s"
    report.figures[name] = max(report.figures.get(name, 0.0), round(took_s, 2))
    report.count("closings")
    busy = [type(lane.parent()).__name__ for lane in window._lanes if lane.busy]
    if not _closed(window):
        report.fault(f"the window does not close: {busy}", "after 60 s")
        report.write()
        os._exit(3)
    elif took_s > CLOSE_S:
        text = f"{took_s:.1f} s; after 3 s:\n{''.join(seen)}"
        report.fault("a closing takes long", text)


def _closed(window: Application) -> bool:
    return window.closed


def _traces(thread: int | None = None) -> str:
    """Where a thread is, or all are; the innermost call first.

    Frames that Python hands out would keep alive what their functions hold, such as painters that
    have to end, and let another thread destroy it.
    """
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        parts = file.read().decode("utf-8", "replace").split("\n\n")
    return "\n\n".join(one for one in parts if thread is None or f"hread 0x{thread:016x}" in one)


def _waited_s() -> float:
    """The longest time that one of this process's threads has waited for a processor."""
    return max((waited_s for _, waited_s in _thread_times_s().values()), default=0.0)


def _thread_times_s() -> dict[int, tuple[float, float]]:
    """Of each thread of this process: time on a processor, and time of waiting for one."""
    times = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            ran, waited = (task / "schedstat").read_text().split()[:2]
            times[int(task.name)] = int(ran) / 1e9, int(waited) / 1e9
    return times


if __name__ == "__main__":
    code = _child(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
