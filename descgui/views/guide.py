"""The first five minutes: one thing to try after the other, in the window itself.

A row above the status bar says what to do, a frame shows where, and a tick says that it was done.
The window stays free to use.  The steps are those of the README's section of the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QPoint, QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QLabel,
    QPushButton,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.views.actions import Actions
from descgui.views.panel_parts import blended, bold, draw_verdict, icon_button, in_column, in_row
from descgui.views.theme import theme_colors
from descgui.views.wide_bar import WideBar, WideRow
from descgui.views.workspace_bars import PanelRail, WorkspaceSwitch
from descgui.views.workspaces import INSPECT, WORKSPACES

if TYPE_CHECKING:
    from descgui.views.main_window import MainWindow

_FRAME_PX: Final = 2
_TICK_PX: Final = 14
_TINT: Final = 0.12
_LOOK_MS: Final = 200  # panels move, fold and come into sight: the frame follows this soon


@dataclass(frozen=True, slots=True)
class Done:
    """What has happened in the window, as far as the steps ask.

    Attributes:
        probe: the point that was asked last.
        mode: what the panes show.
        pins: how many points are pinned.
        descriptor: name of the shown one.
        matched: how often many points were matched.
        pair: name of the pair.
        workspace: name of the one shown.
    """

    probe: object
    mode: str
    pins: int
    descriptor: str
    matched: int
    pair: str
    workspace: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to try.

    Attributes:
        title: what to do, in the words of the README.
        text: what happens then, in one or two sentences.
        place: where in the window: ``panes``, ``modes``, the name of a panel, of a command in the
            tool bar, or ``workspaces``.
        done: whether it was done between two moments.
    """

    title: str
    text: str
    place: str
    done: Callable[[Done, Done], bool]


STEPS: Final = (
    Step(
        "Move the mouse over one image",
        "The other image shows the best match, a heat map of the similarity, and rings around the "
        "true point. The Probe panel has the numbers.",
        "panes",
        lambda before, now: now.probe not in (None, before.probe),
    ),
    Step(
        "Switch the mode",
        "Press 2: similar colours mean similar descriptors, in both images. Press 4 for the heat "
        "map.",
        "modes",
        lambda before, now: now.mode != before.mode,
    ),
    Step(
        "Click to pin a point",
        "It stays when you change mode or descriptor. Drag it elsewhere, or undo it with Ctrl+Z.",
        "panes",
        lambda before, now: now.pins > before.pins,
    ),
    Step(
        "Change the descriptor",
        "Choose another one in the Descriptor panel: the pinned points are matched again. Press C "
        "to see several descriptors side by side.",
        "descriptor",
        lambda before, now: now.descriptor != before.descriptor,
    ),
    Step(
        "Match many points",
        "Press Ctrl+M: right and wrong matches differ in colour and line style. Export them from "
        "the same panel.",
        "matches",
        lambda before, now: now.matched > before.matched,
    ),
    Step(
        "Open your own images",
        "Drop two photos or a folder on the window, or use this button.",
        "open_pair",
        lambda before, now: now.pair != before.pair,
    ),
    Step(
        "Measure and train",
        "Evaluate (F8) and Train (F9) have the room that they need. Press I to come back to the "
        "pair. F1 lists all keys, Ctrl+Shift+P finds any command.",
        "workspaces",
        lambda _before, now: now.workspace != INSPECT,
    ),
)


class Guide(QObject):
    """Leads through the steps.

    Args:
        models: tell what was done.
        actions: tell which workspace is shown.
        window: gets the row and the frame.

    Attributes:
        bar: holds the row; gone once the guide is closed.
        frame: marks the place of a step.
        number: of the step, from 0.
    """

    def __init__(self, models: AppModels, actions: Actions, window: MainWindow) -> None:
        super().__init__(window)
        self._models = models
        self._actions = actions
        self._window = window
        self._matched = 0
        self._ticked: set[int] = set()
        self.number = 0
        self._row = _Row(window)
        self.bar = WideBar("First five minutes", "guide", self._row, window)
        self.frame = PlaceFrame(window)
        self._row.back.clicked.connect(lambda: self.show_step(self.number - 1))
        self._row.next.clicked.connect(self._on_next)
        self._row.close_button.clicked.connect(self.close)
        for signal in (
            models.probe.moved, models.view.changed, models.pins.changed,
            models.maps.choice_changed, models.pair.changed,
            *(actions[f"workspace_{name}"].toggled for name in WORKSPACES),
        ):  # fmt: skip
            signal.connect(self._look)
        models.matches.changed.connect(self._on_matches)
        self._timer = QTimer(self, interval=_LOOK_MS)
        self._timer.timeout.connect(self._follow)
        self._timer.start()
        self._before = self._now()
        self.show_step(0)
        self.place_bar()

    def place_bar(self) -> None:
        """Take the row's place again after the window's bars were laid out anew."""
        self._window.addToolBar(Qt.ToolBarArea.BottomToolBarArea, self.bar)
        self.bar.show()
        self.bar.settle()

    def show_step(self, number: int) -> None:
        """Show one step; what was done before it does not count."""
        self.number = max(0, min(number, len(STEPS) - 1))
        self._before = self._now()
        step = STEPS[self.number]
        if step.place in self._window.docks and not self._rail.isVisible():
            self._window.open_dock(step.place)
        self._row.show_step(step, self.number, done=self.number in self._ticked)
        self._follow()

    def close(self) -> None:
        """Take the row and the frame away."""
        self._timer.stop()
        for part in (self.bar, self.frame):
            part.hide()
            part.deleteLater()
        self._window.removeToolBar(self.bar)
        self.deleteLater()

    def _on_next(self) -> None:
        if self.number == len(STEPS) - 1:
            self.close()
        else:
            self.show_step(self.number + 1)

    def _on_matches(self) -> None:
        if self._models.matches.state.table is not None:
            self._matched += 1
        self._look()

    def _look(self) -> None:
        """See whether the step was done."""
        if self.number in self._ticked or not STEPS[self.number].done(self._before, self._now()):
            return
        self._ticked.add(self.number)
        self._row.show_step(STEPS[self.number], self.number, done=True)

    def _now(self) -> Done:
        models = self._models
        pair = models.pair.state
        shown = (name for name in WORKSPACES if self._actions[f"workspace_{name}"].isChecked())
        return Done(
            probe=models.probe.probe,
            mode=models.view.state.mode,
            pins=len(models.pins.pins),
            descriptor=models.maps.choice.name,
            matched=self._matched,
            pair="" if pair is None else pair.pair.name,
            workspace=next(shown, INSPECT),
        )

    def _follow(self) -> None:
        """Put the frame around the place of the step, wherever it is now."""
        self.frame.surround(self._place(STEPS[self.number].place))

    def _place(self, name: str) -> QWidget | None:
        """The widget in sight that a step is about; where it is hidden, what leads to it."""
        window, bar = self._window, self._window.tool_bar
        switch = window.findChild(WorkspaceSwitch)
        if name == "workspaces":
            return switch
        places: list[QWidget | None]
        if name == "panes":
            places = [window.centralWidget()]
        elif name == "modes":
            places = [bar.modes]
        elif name in window.docks:
            command = self._actions[f"dock_{name}"]
            places = [window.docks[name], self._rail.widgetForAction(command)]
        else:
            places = [bar.widgetForAction(self._actions[name])]
        in_sight = (
            place for place in places if place is not None and not place.visibleRegion().isEmpty()
        )
        return next(in_sight, switch)

    @property
    def _rail(self) -> PanelRail:
        rail = self._window.findChild(PanelRail)
        assert rail is not None, "the window makes it with its panels"
        return rail


class _Row(WideRow):
    """What to do, and the way to the next step."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._tick = _Tick(self)
        self._title = QLabel(self)
        self._title.setFont(bold(self._title.font()))
        self._count = QLabel(self)
        self._count.setProperty("subtle", True)
        self._text = QLabel(self)
        self._text.setWordWrap(True)
        self.back = QPushButton("&Back", self)
        self.next = QPushButton(self)
        self.close_button = icon_button("close", "Close the guide", self, flat=True)
        head = in_row(None, self._title, self._tick, self._count, 1, spacing_px=8)
        words = in_column(None, head, self._text, spacing_px=2)
        in_row(
            self, (words, 1), self.back, self.next, self.close_button,
            margins_px=(12, 6, 8, 6), spacing_px=8,
        )  # fmt: skip

    def show_step(self, step: Step, number: int, *, done: bool) -> None:
        """Show a step, and whether it was done."""
        self._title.setText(step.title)
        self._text.setText(step.text)
        self._count.setText(f"{number + 1} of {len(STEPS)}")
        self._tick.setVisible(done)
        self.back.setEnabled(number > 0)
        self.next.setText("&Finish" if number == len(STEPS) - 1 else "&Next")
        self.next.setDefault(done)
        self.setAccessibleName(f"{step.title}. {step.text}{' Done.' if done else ''}")
        self.fit()

    def paintEvent(self, _event: QPaintEvent) -> None:
        colors = theme_colors(self.palette())
        painter = QPainter(self)
        ground = blended(QColor(colors.accent), QColor(colors.window), _TINT)
        painter.fillRect(self.rect(), ground)
        painter.setPen(QColor(colors.line))
        painter.drawLine(self.rect().topLeft(), self.rect().topRight())


class _Tick(QWidget):
    """Says that a step was done."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedSize(_TICK_PX, _TICK_PX)
        self.setToolTip("Done")
        self.setAccessibleName("Done")

    def paintEvent(self, _event: QPaintEvent) -> None:
        draw_verdict(QPainter(self), QRectF(self.rect()).adjusted(1, 1, -1, -1), right=True)


class PlaceFrame(QWidget):
    """A frame around a widget of the window, which lets the mouse through."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self.setObjectName("guide_frame")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()

    def surround(self, place: QWidget | None) -> None:
        """Show the frame around a widget; hide it for None."""
        window = self._window
        if place is None or place.window() is not window:
            self.hide()
            return
        where = QRect(place.mapTo(window, QPoint(0, 0)), place.size())
        where = where.adjusted(-_FRAME_PX, -_FRAME_PX, _FRAME_PX, _FRAME_PX) & window.rect()
        if where != self.geometry():
            self.setGeometry(where)
        if self.isHidden():
            self.show()
        self.raise_()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(theme_colors(self.palette()).accent), _FRAME_PX))
        inside = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.drawRoundedRect(inside, 4, 4)
