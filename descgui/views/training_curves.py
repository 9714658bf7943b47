"""The curves of training runs, overlaid, live."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Final

from PySide6.QtCore import QEvent, QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QResizeEvent, QShowEvent
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

from descgui.models.bundle import AppModels
from descgui.models.training_curves_data import RunCurves
from descgui.views.dialogs import ask_target
from descgui.views.panel_parts import (
    SegmentButton,
    StayingMenu,
    WheelNeedsFocus,
    centred_words,
    icon_button,
    tabular,
)
from descgui.views.theme import theme_colors
from descgui.views.training_chart import Style
from descgui.views.training_curves_export import export_curves
from descgui.views.training_plots import CurvePlots, Groups
from descgui.views.training_readout import CurvesReadout
from engine.api import DescSpaceError, group_metrics, metric_info, pck_name

REDRAW_MS: Final = 100
"""Time between two drawings while points arrive."""

_ALWAYS_OFFERED: Final = ("loss", pck_name(3.0))
FIRST_SHOWN: Final = tuple(metric_info(name).group.name for name in _ALWAYS_OFFERED)
"""Plots that are shown until others are chosen."""

_MOST_SMOOTHING: Final = 99
_WIDE_PX: Final = 1100
_NARROW_PX: Final = 380
_READOUT_SHARE: Final = 0.38
_FORMATS: Final = (
    ("Picture (PNG)…", "curves.png", "Pictures (*.png)"),
    ("Vector picture (SVG)…", "curves.svg", "Vector pictures (*.svg)"),
    ("Table (CSV)…", "curves.csv", "Tables (*.csv)"),
)


class TrainingCurves(QWidget):
    """Plots of what is measured during training, with the controls to read and to export them.

    New points are drawn at most ten times a second, however many arrive.

    Signals:
        redrawn(): everything measured so far is drawn.
    """

    redrawn = Signal()

    def __init__(self, models: AppModels, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model, self._messages = models.training, models.messages
        self._runs: tuple[RunCurves, ...] = ()
        self._groups: Groups = {}
        self._chosen = set(FIRST_SHOWN)
        self._folder = Path.home()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self.show_now)
        self._wheel = WheelNeedsFocus(self)
        self.plots = CurvePlots(self)
        self.readout = CurvesReadout(self)
        self.empty = centred_words(self, margin_px=16)
        self._pages = QStackedWidget(self)
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
        self._model.curves.changed.connect(self.show_now)
        self._model.curves.grew.connect(self._on_metrics)
        self._model.status.changed.connect(self._on_status)
        self.show_now()

    def sizeHint(self) -> QSize:
        return QSize(640, 360)

    def minimumSizeHint(self) -> QSize:
        return QSize(300, 180)

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the plots that are shown."""
        return tuple(group.name for group in self._shown())

    def choose(self, name: str, shown: bool) -> None:
        """Show or hide a plot."""
        (self._chosen.add if shown else self._chosen.discard)(name)
        self.show_now()

    def export(self, path: Path) -> None:
        """Write what is shown: a table for ``.csv``, a picture for ``.png``, else an SVG.

        A message says that it was written, or why not.
        """
        try:
            export_curves(
                path,
                self._runs,
                self._shown(),
                self._style(),
                steps=self.plots.steps_shown if self.plots.zoomed else None,
                width_px=self.plots.width(),
            )
        except DescSpaceError as error:
            self._messages.notify(str(error), "error")
        else:
            self._messages.notify(f"Saved {path}.")

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
        self.metrics_button = QPushButton("Metrics", self)
        self.metrics_button.setToolTip("Choose which metrics are shown")
        self.metrics_button.setAccessibleName("Choose which metrics are shown")
        self.metrics_menu = StayingMenu(self.metrics_button)
        self.metrics_button.setMenu(self.metrics_menu)
        self._smoothing_word = QLabel("Smoothing", self)
        self.smoothing_slider = QSlider(Qt.Orientation.Horizontal, self)
        self.smoothing_slider.setRange(0, _MOST_SMOOTHING)
        self.smoothing_slider.setPageStep(10)
        self.smoothing_slider.setMinimumWidth(60)
        self.smoothing_slider.setMaximumWidth(180)
        self.smoothing_slider.setAccessibleName("Smoothing")
        self.smoothing_slider.setToolTip(
            "Exponential moving average; the measured values stay visible behind it, faintly"
        )
        self.smoothing_slider.valueChanged.connect(self.show_now)
        self._wheel.guard(self.smoothing_slider)
        self._smoothing_word.setBuddy(self.smoothing_slider)
        self._smoothing_value = QLabel(self)
        self._smoothing_value.setFont(tabular(self.font()))
        self._smoothing_value.setMinimumWidth(self.fontMetrics().horizontalAdvance("0.00") + 2)
        self.log_button = SegmentButton("Log", self)
        self.log_button.setToolTip("Logarithmic axes, except for shares; only values above zero")
        self.log_button.setAccessibleName("Logarithmic axes")
        self.log_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.log_button.toggled.connect(self.show_now)
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
        bar.addWidget(self.metrics_button)
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
        """Let the tab key follow the order of reading: the bar, the legend, the plots."""
        order: tuple[QWidget, ...] = (
            *(self.metrics_button, self.smoothing_slider, self.log_button, self.reset_button),
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
        for text, file_name, name_filter in _FORMATS:
            menu.addAction(text).setData((file_name, name_filter))
        menu.triggered.connect(self._on_export)
        return menu

    # Drawing

    def _shown(self) -> Groups:
        return {group: names for group, names in self._groups.items() if group.name in self._chosen}

    def _style(self) -> Style:
        return Style(
            weight=self.smoothing_slider.value() / 100.0,
            logarithmic=self.log_button.isChecked(),
            colors=theme_colors(self.palette()),
            scale=self.devicePixelRatioF(),
        )

    def show_now(self) -> None:
        """Draw what was measured so far, as the controls say, or why there is nothing."""
        self._timer.stop()
        before, self._runs = self._runs, self._model.drawn
        measured = {name for run in self._runs for name in run.series}
        self._groups = {
            group: tuple(name for name in names if name in measured)
            for group, names in group_metrics((*measured, *_ALWAYS_OFFERED)).items()
        }
        self._fill_menu()
        shown = self._shown()
        self.empty.setText(
            "No metrics are chosen: tick some under “Metrics”."
            if measured
            else "No metrics yet: start a training, or choose past runs to compare."
        )
        self._pages.setCurrentIndex(1 if measured and shown else 0)
        self.export_button.setEnabled(bool(measured and shown))
        style = self._style()
        self._smoothing_value.setText(f"{style.weight:.2f}")
        self.plots.draw(self._runs, shown, style)
        if not {run.folder for run in before} & {run.folder for run in self._runs}:
            self.plots.reset_zoom()
        names = [name for names in shown.values() for name in names]
        self.readout.show_runs(self._runs, names, style.weight)
        self._place()
        self.redrawn.emit()

    def _fill_menu(self) -> None:
        wanted = [(group.name, group.heading) for group in self._groups]
        if wanted != [(action.data(), action.text()) for action in self.metrics_menu.actions()]:
            self.metrics_menu.clear()
            for name, title in wanted:
                action = self.metrics_menu.addAction(title)
                action.setCheckable(True)
                action.setData(name)
                action.toggled.connect(self._on_metric)
        for action in self.metrics_menu.actions():
            with QSignalBlocker(action):
                action.setChecked(action.data() in self._chosen)

    def _place(self) -> None:
        """Put the legend beside the plots where there is room for all of it, else above them."""
        natural_px, width_px = self.readout.natural_size().width(), self.width()
        beside = width_px >= _WIDE_PX and natural_px <= _READOUT_SHARE * width_px
        direction = QBoxLayout.Direction
        self._content.setDirection(direction.RightToLeft if beside else direction.TopToBottom)
        self.readout.setMinimumWidth(natural_px if beside else 0)
        self.readout.setMaximumWidth(natural_px if beside else 16777215)
        self.readout.set_room(natural_px if beside else width_px)
        self._smoothing_word.setVisible(width_px >= _NARROW_PX)

    # Hearing

    def _on_status(self) -> None:
        """Draw a run differently when it has ended."""
        if [run.live for run in self._model.drawn] != [run.live for run in self._runs]:
            self.show_now()

    def _on_metrics(self) -> None:
        live_shown = any(run.live for run in self._model.drawn)
        if live_shown and self.isVisible() and not self._timer.isActive():
            self._timer.start()

    def _on_metric(self, shown: bool) -> None:
        action = self.sender()
        if isinstance(action, QAction):
            self.choose(action.data(), shown)

    def _on_export(self, action: QAction) -> None:
        file_name, name_filter = action.data()
        path = ask_target(self, "Export the curves", self._folder / file_name, name_filter)
        if path is not None:
            self._folder = path.parent
            self.export(path)

    # Qt's own

    def showEvent(self, event: QShowEvent) -> None:
        """Draw what was measured in the meantime."""
        super().showEvent(event)
        self.show_now()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.PaletteChange, QEvent.Type.FontChange):
            self.show_now()
