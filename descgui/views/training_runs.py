"""The list of trainings: their curves are shown together, and their networks used."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QSignalBlocker, Qt
from PySide6.QtGui import QPainter, QPalette, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QListWidgetItem,
    QPushButton,
    QStyleOptionViewItem,
    QWidget,
)

from descgui.models.training_state import TrainingModel, TrainingStatus
from descgui.views import dialogs
from descgui.views.panel_parts import (
    Sentence,
    field_row,
    icon_button,
    in_column,
    labelled_rows,
    narrow_combo,
    refill,
    word_buttons,
)
from descgui.views.run_parts import (
    FREE_ROLE,
    PAD_PX,
    RUN_ROLE,
    RowIndex,
    RunDelegate,
    run_item,
    run_list,
    tell_run,
)
from descgui.views.training_actions import TrainingActions
from descgui.views.training_lines import run_pen
from descgui.views.words import age_text

if TYPE_CHECKING:
    from engine.api import SavedWeights, TrainingRunInfo

_COLOR_ROLE = FREE_ROLE
_SAMPLE_PX = 26


class _Curve(RunDelegate):
    """Draws a sample of the run's line beside its title; only the box is ticked by a click."""

    def right_px(self, index: RowIndex) -> int:
        return PAD_PX if index.data(_COLOR_ROLE) is None else _SAMPLE_PX + 4 * PAD_PX

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: RowIndex) -> None:
        super().paint(painter, option, index)
        color = index.data(_COLOR_ROLE)
        if color is None:
            return
        area, ground = option.rect, option.palette.color(QPalette.ColorRole.Base)
        y = area.top() + 3 + area.height() // 4
        right = float(area.right() - 2 * PAD_PX)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        # On the ground of the curves: a selected row has the colour of some of them.
        backing = QPen(ground, 10.0)
        backing.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(backing)
        painter.drawLine(QPointF(right - _SAMPLE_PX, y), QPointF(right, y))
        painter.setPen(run_pen(color, width=2.0))
        painter.drawLine(QPointF(right - _SAMPLE_PX, y), QPointF(right, y))
        painter.restore()


class TrainingRuns(QWidget):
    """The runs, the newest first."""

    def __init__(
        self, model: TrainingModel, actions: TrainingActions, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._actions = actions
        self.hint = Sentence("No training yet.", self, quiet=True)
        self.list = run_list(
            self,
            name="Trainings",
            delegate=_Curve,
            selection=QAbstractItemView.SelectionMode.SingleSelection,
        )
        self.list.currentItemChanged.connect(self._on_current)
        self.list.itemChanged.connect(self._on_ticked)
        self.checkpoint = narrow_combo(self, name="Checkpoint")
        self.checkpoint.setToolTip("Which weights of the run the buttons below use")
        self.checkpoint.currentIndexChanged.connect(self._show_buttons)
        checkpoint = labelled_rows(("Checkpoint", self.checkpoint))
        parts = (self.hint, (self.list, 1), checkpoint, self._make_buttons())
        in_column(self, *parts, margins_px=(8, 4, 8, 8))
        model.runs.changed.connect(self._on_runs)
        model.curves.changed.connect(self._on_curves)
        model.can_plot.changed.connect(self._on_curves)
        model.status.changed.connect(self._on_status)
        self._on_runs()

    def _make_buttons(self) -> QGridLayout:
        view = "Describe the open pair with this network"
        evaluate = "Choose this network in the evaluation panel"
        resume = "Continue from the last checkpoint"
        self.view_button, self.evaluate_button, self.resume_button = word_buttons(
            self,
            ("descriptor", "Use in viewer", view, self._on_view),
            ("evaluate", "Evaluate", evaluate, self._on_evaluate),
            ("play", "Resume", resume, self._on_resume),
        )
        self.export_button = QPushButton("Export…", self)
        self.export_button.setToolTip("Write the weights to a file")
        self.export_button.clicked.connect(self._on_export)
        self.reveal_button = icon_button("folder", "Show the run's folder", self)
        self.reveal_button.clicked.connect(self._on_reveal)
        self.add_button = icon_button("add", "List a run from another folder", self)
        self.add_button.clicked.connect(self._on_add)
        last = field_row(self.export_button, self.reveal_button, self.add_button)
        grid = QGridLayout()
        grid.setSpacing(4)
        grid.addWidget(self.view_button, 0, 0)
        grid.addWidget(self.evaluate_button, 0, 1)
        grid.addWidget(self.resume_button, 1, 0)
        grid.addLayout(last, 1, 1)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        return grid

    @property
    def current(self) -> TrainingRunInfo | None:
        """The chosen run."""
        place = self.list.currentRow()
        run: TrainingRunInfo | None = self.list.item(place).data(RUN_ROLE) if place >= 0 else None
        return run

    @property
    def weights(self) -> Path | None:
        """The chosen checkpoint's file."""
        data = self.checkpoint.currentData()
        return None if data is None else Path(data)

    def choose_step(self, folder: Path, step: int) -> None:
        """Choose the checkpoint nearest to a step of a run."""
        for line in range(self.list.count()):
            if self.list.item(line).data(RUN_ROLE).folder == folder:
                self.list.setCurrentRow(line)
        run = self.current
        if run is None or run.folder != folder:
            return
        near = [
            (abs(saved.step - step), -saved.step, str(saved.path))
            for saved in run.checkpoints
            if saved.step is not None
        ]
        if near:
            self.checkpoint.setCurrentIndex(self.checkpoint.findData(min(near)[2]))

    # Drawing the model

    def _on_runs(self, _runs: object = None) -> None:
        current = self.current
        chosen = None if current is None else current.folder
        with QSignalBlocker(self.list):
            self.list.clear()
            for run in self._model.runs.state:
                second = self._second(run)
                item = run_item(run, run.folder.name, second, about=second)
                flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
                item.setFlags(flags if run.problem else flags | Qt.ItemFlag.ItemIsUserCheckable)
                self.list.addItem(item)
                if run.folder == chosen:
                    self.list.setCurrentItem(item)
            if self.list.currentRow() < 0:
                self.list.setCurrentRow(0)
        self.hint.setVisible(not self._model.runs.state)
        self._on_curves()
        self._list_checkpoints()

    def _on_curves(self, _state: object = None) -> None:
        """Tick the runs whose curves are shown, with a sample of their lines."""
        shown = self._model.curves.shown
        with QSignalBlocker(self.list):
            for line in range(self.list.count()):
                item = self.list.item(line)
                run = item.data(RUN_ROLE)
                if run.problem:
                    continue
                ticked = run.folder in shown
                item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
                can_draw = ticked and self._model.can_plot.state
                color = self._model.curves.color_index(run.folder) if can_draw else None
                item.setData(_COLOR_ROLE, color)
        self.list.viewport().update()

    def _on_status(self, status: TrainingStatus) -> None:
        """Let the row of this window's run tell the step that the panel's head tells."""
        self._show_buttons()
        with QSignalBlocker(self.list):
            for line in range(self.list.count()):
                item = self.list.item(line)
                run = item.data(RUN_ROLE)
                if run.folder == status.folder:
                    second = self._second(run)
                    tell_run(item, run, run.folder.name, second, about=second)
        self.list.viewport().update()

    def _step(self, run: TrainingRunInfo) -> int:
        """The run's step: that of the window's own run, whose files follow it slowly."""
        status = self._model.status.state
        own = run.folder == status.folder and status.stage not in ("none", "preparing")
        return status.step if own else run.step

    def _second(self, run: TrainingRunInfo) -> str:
        config = run.config
        if config is None:
            return "Cannot be read"
        best = "" if run.best is None else f"PCK {run.best:.3f}"
        step, steps = self._step(run), config.train.steps
        done = f"{step:,} steps" if run.finished else f"{step:,} of {steps:,}"
        age = age_text(max(0.0, time.time() - run.began_s))
        return " · ".join(filter(None, (best, done, age, config.descriptor)))

    def _list_checkpoints(self) -> None:
        """Offer the run's weights, the newest first; the best ones are chosen at first."""
        run = self.current
        saved = tuple(reversed(run.checkpoints)) if run is not None else ()
        entries = [(_checkpoint_text(one), str(one.path)) for one in saved]
        names = [one.path.stem for one in saved]
        refill(self.checkpoint, entries, place=names.index("best") if "best" in names else 0)
        self._show_buttons()

    def _show_buttons(self, _state: object = None) -> None:
        run, has_weights = self.current, self.weights is not None
        usable = run is not None and not run.problem
        for button in (self.view_button, self.evaluate_button, self.export_button):
            button.setEnabled(usable and has_weights)
        self.checkpoint.setEnabled(usable and has_weights)
        self.resume_button.setEnabled(
            run is not None and usable and not run.finished and not self._model.status.state.busy
        )
        self.reveal_button.setEnabled(run is not None)

    # What users do

    def _on_current(self, *_items: object) -> None:
        self._list_checkpoints()
        run = self.current
        if run is not None and not run.problem:
            self._actions.watch(run.folder)

    def _on_ticked(self, item: QListWidgetItem) -> None:
        folder = item.data(RUN_ROLE).folder
        others = [one for one in self._model.curves.shown if one != folder]
        ticked = item.checkState() == Qt.CheckState.Checked
        self._actions.overlay((*others, folder) if ticked else tuple(others))

    def _on_view(self) -> None:
        if self.current is not None and self.weights is not None:
            self._actions.use_in_viewer(self.current, self.weights)

    def _on_evaluate(self) -> None:
        if self.current is not None and self.weights is not None:
            self._actions.evaluate(self.current, self.weights)

    def _on_export(self) -> None:
        run, weights = self.current, self.weights
        if run is None or weights is None:
            return
        proposal = Path.home() / f"{run.folder.name}.safetensors"
        name_filter = "Safetensors (*.safetensors)"
        out = dialogs.ask_target(self.window(), "Export the weights", proposal, name_filter)
        if out is not None:
            self._actions.export(weights, out)

    def _on_resume(self) -> None:
        if self.current is not None:
            self._actions.resume(self.current.folder)

    def _on_reveal(self) -> None:
        if self.current is not None:
            self._actions.show_folder(self.current.folder)

    def _on_add(self) -> None:
        folder = dialogs.ask_folder(self.window(), Path.home(), "Folder of a training run")
        if folder is not None:
            self._actions.add_run(folder)


def _checkpoint_text(saved: SavedWeights) -> str:
    if saved.step is not None:
        return f"Step {saved.step}"
    return {"best": "Best validation", "last": "Last"}[saved.path.stem]
