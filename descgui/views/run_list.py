"""The list of past evaluations: show, compare, continue, delete and restore them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QPushButton,
    QWidget,
)

from descgui.models.evaluation_state import Deleted, EvaluationModels
from descgui.views.evaluation_actions import EvaluationActions
from descgui.views.icons import icon
from descgui.views.panel_parts import (
    Sentence,
    field_row,
    icon_button,
    in_column,
    plain_tip,
    word_buttons,
)
from descgui.views.run_parts import RUN_ROLE, run_item, run_list
from descgui.views.words import counted

if TYPE_CHECKING:
    from engine.api import RunInfo


class RunList(QWidget):
    """The past runs, newest first."""

    def __init__(
        self, models: EvaluationModels, actions: EvaluationActions, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._actions = actions
        self.hint = Sentence("No evaluation yet.", self, quiet=True)
        self.list = run_list(
            self,
            name="Past evaluations",
            selection=QAbstractItemView.SelectionMode.ExtendedSelection,
        )
        self.list.itemSelectionChanged.connect(self._on_selected)
        delete = QShortcut(QKeySequence.StandardKey.Delete, self.list, self._on_delete)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        compare = "Show the selected finished runs in one table"
        missing = "Measure the remaining pairs"
        self.compare_button, self.continue_button = word_buttons(
            self,
            ("compare", "Compare", compare, self._on_compare),
            ("play", "Continue", missing, self._on_continue),
        )
        trash = "Move the selected runs to the trash folder"
        self.delete_button = icon_button("trash", trash, self, name="Delete")
        self.delete_button.clicked.connect(self._on_delete)
        buttons = field_row(self.compare_button, self.continue_button, self.delete_button)
        buttons.setStretch(1, 1)
        self.deleted = Sentence(parent=self)
        self.undo_button = QPushButton(icon("undo"), "Undo", self)
        self.undo_button.clicked.connect(actions.results.undo_delete)
        undo = field_row(self.deleted, self.undo_button)
        in_column(self, self.hint, (self.list, 1), undo, buttons, margins_px=(8, 4, 8, 8))
        models.runs.changed.connect(self._on_runs)
        models.deleted.changed.connect(self._on_deleted)
        models.shown.changed.connect(self._show_buttons)
        self._on_runs(models.runs.state)
        self._on_deleted(models.deleted.state)

    def selected(self) -> list[Path]:
        """Folders of the selected runs, in list order."""
        items = sorted(self.list.selectedItems(), key=self.list.row)
        return [item.data(RUN_ROLE).folder for item in items]

    def _on_runs(self, runs: tuple[RunInfo, ...]) -> None:
        kept = set(self.selected())
        with QSignalBlocker(self.list):
            self.list.clear()
            for run in runs:
                title = self._title(run)
                item = run_item(run, title, self._second(run), about=title)
                self.list.addItem(item)
                item.setSelected(run.folder in kept)
        self.hint.setVisible(not runs)
        self._show_buttons()

    def _title(self, run: RunInfo) -> str:
        config = run.config
        if config is None:
            return run.folder.name
        names = ", ".join(text.partition("=")[0] for text in config.descriptor)
        return f"{names} on {Path(config.dataset).name or config.dataset}"

    def _second(self, run: RunInfo) -> str:
        if run.problem:
            return "Cannot be read"
        when = time.strftime("%d %b %H:%M", time.localtime(run.began_s))
        done, total = run.done, run.total
        config = run.config
        state = f"{total} pairs" if run.finished else f"{done} of {total or '?'} pairs"
        return " · ".join((when, config.protocol, state)) if config else when

    def _on_deleted(self, deleted: tuple[Deleted, ...]) -> None:
        self.deleted.say(
            counted(len(deleted), "1 run is in the trash.", "{n} runs are in the trash.")
        )
        self.deleted.setVisible(bool(deleted))
        self.undo_button.setVisible(bool(deleted))
        if deleted:
            self.deleted.setToolTip(plain_tip(str(deleted[0].trashed.parent)))

    def _show_buttons(self) -> None:
        runs = [item.data(RUN_ROLE) for item in self.list.selectedItems()]
        busy = self._models.shown.state.busy
        usable = [run for run in runs if not run.problem]
        finished = [run for run in usable if run.finished]
        self.compare_button.setEnabled(len(finished) == len(runs) > 1 and not busy)
        self.continue_button.setEnabled(
            len(runs) == len(usable) == 1 and not runs[0].finished and not busy
        )
        self.delete_button.setEnabled(bool(runs))

    def _on_selected(self) -> None:
        self._show_buttons()
        runs = [item.data(RUN_ROLE) for item in self.list.selectedItems()]
        if len(runs) == 1 and not runs[0].problem:
            self._actions.results.show([runs[0].folder])

    def _on_compare(self) -> None:
        self._actions.results.show(self.selected())

    def _on_continue(self) -> None:
        self._actions.runs.resume(self.selected()[0])

    def _on_delete(self) -> None:
        self._actions.results.delete(self.selected())
