"""The trainings of the past and of now: their curves laid over one another, their networks used."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import (
    QPointF,
    QSignalBlocker,
    Qt,
    QUrl,
)
from PySide6.QtGui import QDesktopServices, QPainter, QPalette, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QListWidgetItem,
    QPushButton,
    QStyleOptionViewItem,
    QWidget,
)

from descgui.models.training_state import TrainingModel
from descgui.views import dialogs
from descgui.views.panel_parts import (
    Sentence,
    field_row,
    icon_button,
    in_column,
    labelled_rows,
    narrow_combo,
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
)
from descgui.views.training_actions import TrainingActions
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
        # Loads pyqtgraph, which whoever shows curves has loaded by now.
        from descgui.views.training_lines import run_pen

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
        self._step: int | None = None
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
        model.status.changed.connect(self._show_buttons)
        self._on_runs()

    def _make_buttons(self) -> QGridLayout:
        view = "See the open pair as this network sees it"
        evaluate = "Put this network into the evaluation panel"
        resume = "Go on from the last checkpoint"
        self.view_button, self.evaluate_button, self.resume_button = word_buttons(
            self,
            ("descriptor", "Use in viewer", view, self._on_view),
            ("evaluate", "Evaluate", evaluate, self._on_evaluate),
            ("play", "Resume", resume, self._on_resume),
        )
        self.export_button = QPushButton("Export…", self)
        self.export_button.setToolTip("Write the weights into a file of their own")
        self.export_button.clicked.connect(self._on_export)
        self.reveal_button = icon_button("folder", "Show the run's folder", self)
        self.reveal_button.clicked.connect(self._on_reveal)
        self.add_button = icon_button(
            "add",
            "List a run whose folder lies elsewhere",
            self,
            name="List another run's folder",
        )
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
        item = self._item(folder)
        if item is None:
            return
        self._step = step
        if item is self.list.currentItem():
            self._list_checkpoints()
        else:
            self.list.setCurrentItem(item)

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

    def _second(self, run: TrainingRunInfo) -> str:
        config = run.config
        if config is None:
            return "Cannot be read"
        words = [] if run.best is None else [f"PCK {run.best:.3f}"]
        words.append(
            f"{run.step:,} steps" if run.finished else f"{run.step:,} of {config.train.steps:,}"
        )
        words.append(age_text(max(0.0, time.time() - run.began_s)))
        return " · ".join((*words, config.descriptor))

    def _list_checkpoints(self) -> None:
        run = self.current
        before = self.checkpoint.currentData()
        with QSignalBlocker(self.checkpoint):
            self.checkpoint.clear()
            for saved in reversed(run.checkpoints if run is not None else ()):
                self.checkpoint.addItem(self._checkpoint_text(saved), str(saved.path))
            place = self.checkpoint.findData(before)
            if self._step is not None and run is not None:
                place = _nearest(run.checkpoints, self._step)
                self._step = None
            elif place < 0:
                place = self._best_place()
            self.checkpoint.setCurrentIndex(place)
        self._show_buttons()

    def _checkpoint_text(self, saved: SavedWeights) -> str:
        if saved.step is not None:
            return f"Step {saved.step}"
        words = {"best": "Best validation", "last": "Last"}
        return words.get(saved.path.stem, saved.path.stem)

    def _best_place(self) -> int:
        """Where the best weights stand among the checkpoints, else the first ones."""
        for place in range(self.checkpoint.count()):
            if Path(self.checkpoint.itemData(place)).stem == "best":
                return place
        return 0 if self.checkpoint.count() else -1

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

    def _item(self, folder: Path) -> QListWidgetItem | None:
        for line in range(self.list.count()):
            item = self.list.item(line)
            if item.data(RUN_ROLE).folder == folder:
                return item
        return None

    # What a person does

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
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.current.folder)))

    def _on_add(self) -> None:
        folder = dialogs.ask_folder(self.window(), Path.home(), "Folder of a training run")
        if folder is not None:
            self._actions.add_run(folder)


def _nearest(checkpoints: tuple[SavedWeights, ...], step: int) -> int:
    """Where in the reversed list the weights nearest to a step stand; 0 if none have a step."""
    by_step = [
        (abs(saved.step - step), place)
        for place, saved in enumerate(reversed(checkpoints))
        if saved.step is not None
    ]
    return min(by_step)[1] if by_step else 0
