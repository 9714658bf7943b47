"""The curves of training runs, laid over one another, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from PySide6.QtCore import QEvent, QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QMouseEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from descgui.models.training_curves_data import RunCurves, Series
from descgui.views.dialogs import ask_target
from descgui.views.panel_parts import (
    SegmentButton,
    WheelNeedsFocus,
    centred_words,
    icon_button,
    tabular,
)
from descgui.views.training_curves_export import WRITERS, CurvesError, Sheet, write_curves_csv
from descgui.views.training_figures import FIRST_SHOWN, Plot, plots_of
from descgui.views.training_lines import DrawnRun, Look
from descgui.views.training_plots import CurvePlots
from descgui.views.training_readout import CurvesReadout

REDRAW_MS: Final = 100
"""Time between two drawings while points come in."""

_MOST_SMOOTHING: Final = 99
_WIDE_PX: Final = 1100
_NARROW_PX: Final = 520
_READOUT_SHARE: Final = 0.38


class _StayingMenu(QMenu):
    """A menu that stays open while its entries are ticked."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        action: QAction | None = self.actionAt(event.position().toPoint())
        if action is not None and action.isCheckable() and action.isEnabled():
            action.toggle()
        else:
            super().mouseReleaseEvent(event)


class TrainingCurves(QWidget):
    """Plots of what was measured while training, with what is needed to read and to keep them.

    Signals:
        export_failed(str): a sentence that says why nothing was written.
        exported(Path): a file was written.
        redrawn(): all that came in so far is drawn.
    """

    export_failed = Signal(str)
    exported = Signal(object)
    redrawn = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._runs: tuple[DrawnRun, ...] = ()
        self._series: dict[str, dict[str, Series]] = {}
        self._plots: tuple[Plot, ...] = ()
        self._chosen: set[str] = set(FIRST_SHOWN)
        self._folder = Path.home()
        self._stale = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self._on_time)
        self._wheel = WheelNeedsFocus(self)
        self.plots = CurvePlots(self)
        self.readout = CurvesReadout(self)
        self._pages = QStackedWidget(self)
        self.empty = centred_words(self, margin_px=16)
        self._pages.addWidget(self.empty)
        self._pages.addWidget(self._make_content())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._make_bar())
        layout.addWidget(self._pages, 1)
        self._order_tabs()
        self.plots.step_pointed.connect(self.readout.show_step)
        self.plots.zoom_changed.connect(self.reset_button.setEnabled)
        self._dress()
        self._show_plots()

    def sizeHint(self) -> QSize:
        return QSize(640, 360)

    def minimumSizeHint(self) -> QSize:
        return QSize(300, 180)

    # What is shown

    def set_runs(self, runs: Sequence[RunCurves]) -> None:
        """Show these runs instead of those before: later ones on top, those under way above all."""
        before = set(self._series)
        self._series = {
            run.key: {name: Series(points) for name, points in run.curves.items()} for run in runs
        }
        self._runs = tuple(
            DrawnRun(run.key, run.label, run.color_index, run.live, self._series[run.key])
            for run in runs
        )
        if not before & set(self._series):
            self.plots.reset_zoom()
        self._show_plots()

    def append(self, key: str, step: int, values: Mapping[str, float]) -> None:
        """Add what was measured at a step; nothing happens for a run that is not shown.

        It is drawn soon, at most ten times a second however many points come in.  Points of the
        same and of later steps are dropped: a run that was continued repeats steps.
        """
        series = self._series.get(key)
        if series is None:
            return
        for name, value in values.items():
            series.setdefault(name, Series()).append(float(step), float(value))
        self._stale = True
        if self.isVisible() and not self._timer.isActive():
            self._timer.start()

    @property
    def smoothing(self) -> float:
        """Weight of the past in the smoothed curves, 0 to 0.99."""
        return self.smoothing_slider.value() / 100.0

    @property
    def logarithmic(self) -> bool:
        """Whether values stand on logarithmic axes."""
        return self.log_button.isChecked()

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the plots that are shown."""
        return tuple(plot.name for plot in self._shown())

    def choose(self, name: str, shown: bool) -> None:
        """Show or hide a plot."""
        if shown:
            self._chosen.add(name)
        else:
            self._chosen.discard(name)
        self._show_plots()

    # Export

    def export(self, path: Path) -> None:
        """Write what is shown: a table for ``.csv``, a picture for ``.png``, else an SVG.

        Says by a signal whether it was written.
        """
        try:
            if path.suffix.lower() == ".csv":
                write_curves_csv(path, self._runs, self._figures(), weight=self.smoothing)
            else:
                self._export_sheet(path)
        except CurvesError as error:
            self.export_failed.emit(str(error))
        else:
            self.exported.emit(path)

    def _export_sheet(self, path: Path) -> None:
        sheet = Sheet(
            self._shown(),
            self._runs,
            weight=self.smoothing,
            logarithmic=self.logarithmic,
            steps=self.plots.steps_shown if self.plots.zoomed else None,
            width_px=self.plots.width(),
        )
        try:
            WRITERS.get(path.suffix.lower(), WRITERS[".svg"])(path, sheet)
        finally:
            sheet.close()

    def _ask_and_export(self, suffix: str) -> None:
        kinds = {
            ".png": "Pictures (*.png)",
            ".svg": "Vector pictures (*.svg)",
            ".csv": "Tables (*.csv)",
        }
        proposal = self._folder / f"{'curves'}{suffix}"
        path = ask_target(self, "Export the curves", proposal, kinds[suffix])
        if path is not None:
            self._folder = path.parent
            self.export(path)

    # Making

    def _make_content(self) -> QWidget:
        content = QWidget(self)
        scroll = QScrollArea(content)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(self.plots)
        self._content = QBoxLayout(QBoxLayout.Direction.TopToBottom, content)
        self._content.setContentsMargins(0, 0, 0, 0)
        self._content.setSpacing(0)
        self._content.addWidget(self.readout, 0, Qt.AlignmentFlag.AlignTop)
        self._content.addWidget(scroll, 1)
        return content

    def _make_bar(self) -> QHBoxLayout:
        self.figures_button = QPushButton("Figures", self)
        self.figures_button.setToolTip("Which figures are shown")
        self.figures_button.setAccessibleName("Which figures are shown")
        self.figures_menu = _StayingMenu(self.figures_button)
        self.figures_button.setMenu(self.figures_menu)
        self._smoothing_word = QLabel("Smoothing", self)
        self.smoothing_slider = QSlider(Qt.Orientation.Horizontal, self)
        self.smoothing_slider.setRange(0, _MOST_SMOOTHING)
        self.smoothing_slider.setPageStep(10)
        self.smoothing_slider.setMinimumWidth(60)
        self.smoothing_slider.setMaximumWidth(180)
        self.smoothing_slider.setAccessibleName("Smoothing")
        self.smoothing_slider.setToolTip(
            "Exponential moving average; the curve as measured stays behind it, faintly"
        )
        self._wheel.guard(self.smoothing_slider)
        self._smoothing_word.setBuddy(self.smoothing_slider)
        self._smoothing_value = QLabel("0.00", self)
        self._smoothing_value.setFont(tabular(self.font()))
        self._smoothing_value.setMinimumWidth(self.fontMetrics().horizontalAdvance("0.00") + 2)
        self.smoothing_slider.valueChanged.connect(self._on_smoothing)
        self.log_button = SegmentButton("Log", self)
        self.log_button.setToolTip("Logarithmic values; only those above zero")
        self.log_button.setAccessibleName("Logarithmic axis")
        self.log_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.log_button.toggled.connect(self._redraw)
        self.reset_button = self._button("fit", "Show all steps")
        self.reset_button.setEnabled(False)
        self.reset_button.clicked.connect(self.plots.reset_zoom)
        self.export_button = self._button("export", "Export the curves")
        self.export_button.setMenu(self._export_menu())
        self.export_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.export_button.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        bar = QHBoxLayout()
        bar.setContentsMargins(4, 2, 4, 0)
        bar.setSpacing(4)
        bar.addWidget(self.figures_button)
        bar.addSpacing(6)
        bar.addWidget(self._smoothing_word)
        bar.addWidget(self.smoothing_slider, 10)
        bar.addWidget(self._smoothing_value)
        bar.addSpacing(6)
        bar.addWidget(self.log_button)
        bar.addStretch(1)
        bar.addWidget(self.reset_button)
        bar.addWidget(self.export_button)
        return bar

    def _order_tabs(self) -> None:
        """Let the tab key go as one reads: the bar, the legend, the plots."""
        order: tuple[QWidget, ...] = (
            *(self.figures_button, self.smoothing_slider, self.log_button, self.reset_button),
            *(self.export_button, self.readout, self.plots),
        )
        for before, after in pairwise(order):
            QWidget.setTabOrder(before, after)

    def _button(self, icon_name: str, tip: str) -> QToolButton:
        button = icon_button(icon_name, tip, self, flat=True)
        button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        return button

    def _export_menu(self) -> QMenu:
        menu = QMenu(self.export_button)
        for text, suffix in (
            ("Picture (PNG)…", ".png"),
            ("Vector picture (SVG)…", ".svg"),
            ("Table (CSV)…", ".csv"),
        ):
            action = menu.addAction(text)
            action.setData(suffix)
        menu.triggered.connect(self._on_export)
        return menu

    # Drawing

    def _shown(self) -> tuple[Plot, ...]:
        return tuple(plot for plot in self._plots if plot.name in self._chosen)

    def _figures(self) -> tuple[str, ...]:
        """The figures of all shown plots."""
        return tuple(figure for plot in self._shown() for figure in plot.figures)

    def _show_plots(self) -> None:
        """Follow the runs and what is chosen: menu, plots, legend, or why there is nothing."""
        names = {name for series in self._series.values() for name in series}
        self._plots = plots_of(names)
        self._fill_menu()
        shown = self._shown()
        measured = bool(names)
        self.plots.set_plots(shown)
        if not measured:
            self.empty.setText("No figures yet: start a training, or choose past runs to compare.")
        else:
            self.empty.setText("No figures are chosen: tick some under “Figures”.")
        self._pages.setCurrentIndex(1 if measured and shown else 0)
        self.export_button.setEnabled(measured and bool(shown))
        self._redraw()
        self._place()

    def _fill_menu(self) -> None:
        wanted = [(plot.name, plot.title) for plot in self._plots]
        if wanted != [(action.data(), action.text()) for action in self.figures_menu.actions()]:
            self.figures_menu.clear()
            for name, title in wanted:
                action = QAction(title, self.figures_menu)
                action.setCheckable(True)
                action.setData(name)
                action.toggled.connect(self._on_figure)
                self.figures_menu.addAction(action)
        for action in self.figures_menu.actions():
            with QSignalBlocker(action):
                action.setChecked(action.data() in self._chosen)

    def _redraw(self) -> None:
        self._stale = False
        self._timer.stop()
        self.plots.draw(self._runs, weight=self.smoothing, logarithmic=self.logarithmic)
        self.readout.show_runs(self._runs, self._figures(), self.smoothing)
        self.redrawn.emit()

    def _dress(self) -> None:
        self.plots.set_look(Look.of_window(self.palette(), self.font()))

    def _place(self) -> None:
        """Put the legend beside the plots where there is room for all of it, else above them."""
        natural = self.readout.natural_size().width()
        wide = self.width() >= _WIDE_PX and natural <= _READOUT_SHARE * self.width()
        direction = QBoxLayout.Direction
        self._content.setDirection(direction.RightToLeft if wide else direction.TopToBottom)
        width = self.width()
        if wide:
            width = natural
            self.readout.setFixedWidth(width)
        else:
            self.readout.setMinimumWidth(0)
            self.readout.setMaximumWidth(16777215)
        self.readout.set_room(width)
        self._smoothing_word.setVisible(self.width() >= _NARROW_PX)

    # Hearing

    def _on_time(self) -> None:
        names = {name for series in self._series.values() for name in series}
        if plots_of(names) != self._plots:
            self._show_plots()  # something is measured for the first time
        else:
            self._redraw()

    def _on_smoothing(self, value: int) -> None:
        self._smoothing_value.setText(f"{value / 100.0:.2f}")
        self._redraw()

    def _on_figure(self, shown: bool) -> None:
        action = self.sender()
        if isinstance(action, QAction):
            self.choose(action.data(), shown)

    def _on_export(self, action: QAction) -> None:
        self._ask_and_export(action.data())

    # Qt's own

    def showEvent(self, event: QShowEvent) -> None:
        """Draw what came in while nobody looked."""
        super().showEvent(event)
        if self._stale:
            self._on_time()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.FontChange):
            self._dress()
