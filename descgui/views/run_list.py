"""The evaluations of the past: to be shown, continued, compared, thrown away and brought back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QPushButton,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from descgui.models.evaluation_state import EvaluationModel, ShownRun
from descgui.views.icons import icon
from descgui.views.panel_parts import Sentence, counted, icon_button, word_buttons
from descgui.views.run_rows import (
    PAD_PX,
    RUN_ROLE,
    RowIndex,
    list_column,
    paint_ground,
    paint_lines,
    row_size,
    run_item,
    run_list,
)

if TYPE_CHECKING:
    from engine.api import RunInfo


class _TwoLines(QStyledItemDelegate):
    """A title, and what is said in passing below it."""

    def sizeHint(self, option: QStyleOptionViewItem, _index: RowIndex) -> QSize:
        return row_size(option)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: RowIndex) -> None:
        """Draw one run."""
        painter.save()
        paint_ground(painter, option)
        paint_lines(painter, option, index, left_px=PAD_PX)
        painter.restore()


class RunList(QWidget):
    """The past runs, the newest first.

    Signals:
        show_requested(list[Path]): show a run, or several in one table.
        delete_requested(list[Path]): throw runs away.
        undo_requested(): bring back what was thrown away last.
        resume_requested(Path): continue a run.
    """

    show_requested = Signal(object)
    delete_requested = Signal(object)
    undo_requested = Signal()
    resume_requested = Signal(object)

    def __init__(self, model: EvaluationModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self.hint = Sentence("No evaluation yet.", self, quiet=True)
        self.list = run_list(
            self,
            name="Past evaluations",
            delegate=_TwoLines,
            selection=QAbstractItemView.SelectionMode.ExtendedSelection,
        )
        self.list.itemSelectionChanged.connect(self._on_selected)
        self.list.installEventFilter(self)
        compare = "Select several finished runs: one table of all"
        missing = "Measure the pairs that are missing"
        self.compare_button, self.continue_button = word_buttons(
            self,
            ("compare", "Compare", compare, self._on_compare),
            ("play", "Continue", missing, self._on_continue),
        )
        self.delete_button = icon_button(
            "trash",
            "Move the selected runs to the trash folder",
            self,
            name="Delete",
        )
        self.delete_button.clicked.connect(self._on_delete)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.compare_button, 1)
        buttons.addWidget(self.continue_button, 1)
        buttons.addWidget(self.delete_button)
        self.deleted = Sentence(parent=self)
        self.undo_button = QPushButton(icon("undo"), "Undo", self)
        self.undo_button.clicked.connect(self.undo_requested)
        undo = QHBoxLayout()
        undo.addWidget(self.deleted, 1)
        undo.addWidget(self.undo_button)
        layout = list_column(self, self.hint, self.list)
        layout.addLayout(undo)
        layout.addLayout(buttons)
        model.runs_changed.connect(self._on_runs)
        model.deleted_changed.connect(self._on_deleted)
        model.shown_changed.connect(self._on_shown)
        self._on_runs()
        self._on_deleted()

    def selected(self) -> list[Path]:
        """Folders of the selected runs, in the order of the list."""
        items = sorted(self.list.selectedItems(), key=self.list.row)
        return [item.data(RUN_ROLE).folder for item in items]

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Delete with the key for it."""
        if (
            event.type() == QEvent.Type.KeyPress
            and isinstance(event, QKeyEvent)
            and event.key() == Qt.Key.Key_Delete
            and self.selected()
        ):
            self._on_delete()
            return True
        return False

    def _on_runs(self, _runs: object = None) -> None:
        kept = set(self.selected())
        with QSignalBlocker(self.list):
            self.list.clear()
            for run in self._model.runs:
                title = self._title(run)
                item = run_item(run, title, self._second(run), about=title)
                self.list.addItem(item)
                item.setSelected(run.folder in kept)
        self.hint.setVisible(not self._model.runs)
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

    def _on_deleted(self, _deleted: object = None) -> None:
        deleted = self._model.deleted
        self.deleted.say(
            counted(
                len(deleted),
                "1 run is in the trash.",
                "{n} runs are in the trash.",
            )
        )
        self.deleted.setVisible(bool(deleted))
        self.undo_button.setVisible(bool(deleted))
        if deleted:
            self.deleted.setToolTip(str(deleted[0].trashed.parent))

    def _on_shown(self, _shown: ShownRun) -> None:
        self._show_buttons()

    def _show_buttons(self) -> None:
        runs = [item.data(RUN_ROLE) for item in self.list.selectedItems()]
        busy = self._model.shown.busy
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
            self.show_requested.emit([runs[0].folder])

    def _on_compare(self) -> None:
        self.show_requested.emit(self.selected())

    def _on_continue(self) -> None:
        self.resume_requested.emit(self.selected()[0])

    def _on_delete(self) -> None:
        self.delete_requested.emit(self.selected())
