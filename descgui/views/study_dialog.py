"""The dialog that finds out which layer of the shown network matches best."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

from PySide6.QtCore import QObject, QRectF, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHeaderView,
    QProgressBar,
    QPushButton,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.study_state import LayerScore, StudyState
from descgui.views import dialogs
from descgui.views.form import OptionForm
from descgui.views.panel_parts import (
    Notice,
    Sentence,
    centred_words,
    field_row,
    icon_button,
    in_column,
    in_row,
    labelled_rows,
    narrow_combo,
    plain_tip,
    show_value,
    tabular,
    word_buttons,
)
from descgui.views.row_table import Index, RowTable
from descgui.views.run_parts import add_folders
from descgui.views.theme import theme_colors
from engine import api
from engine.api import (
    SIDES,
    StudyConfig,
    build_config,
    describe_options,
)

_WIDTH_PX: Final = 620
_DEMO: Final = "demo"
_SETTINGS: Final = ("pairs", "query_limit", "remove_position")
_ROW_PX: Final = 24
_SCORE_ROLE: Final = int(Qt.ItemDataRole.UserRole)
_EXPLANATION: Final = (
    "Matches the pairs of a data set by each layer. The share of queries that are matched within "
    "5 px in the whole other image (dense PCK@5) says which layer matches best; a page tells more "
    "about each."
)


class Studying(Protocol):
    """Studying the layers of the shown network."""

    def start(self, config: StudyConfig) -> None:
        """Start a study."""

    def stop(self) -> None:
        """Stop it; nothing is written."""

    def open_page(self) -> None:
        """Open the page with what was found."""

    def show_best(self) -> None:
        """Describe by the best layer."""

    def copy_command(self, config: StudyConfig) -> None:
        """Copy the command line of the same study."""


class ScoreTable(RowTable[LayerScore]):
    """The layers with their shares."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(("Layer", "PCK@5"), left=1, parent=parent)

    def cell(self, row: LayerScore, column: int, role: int) -> Any:
        """See the base class."""
        if role == _SCORE_ROLE:
            return row
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if column == 0:
            return row.name
        return "–" if row.pck is None else f"{row.pck:.3f}"


class _BarDelegate(QStyledItemDelegate):
    """Draws a share as a bar behind its number."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one cell."""
        score: LayerScore = index.data(_SCORE_ROLE)
        if score.pck is not None:
            room = QRectF(option.rect).adjusted(4, 4, -52, -4)
            room.setWidth(max(0.0, min(score.pck, 1.0)) * room.width())
            painter.fillRect(room, QColor(theme_colors(option.palette).accent))
        super().paint(painter, option, index)


class StudyDialog(QDialog):
    """Settings of a study, its progress, and the layers' shares as they are measured.

    The study goes on when the dialog is closed; reopening the dialog shows it.
    """

    def __init__(
        self, models: AppModels, studying: Studying, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._studying = studying
        self._dataset = _DEMO
        self.setWindowTitle("Study a network")
        self.network = Sentence(parent=self)
        self.network.setProperty("heading", True)
        self.untrained = Notice("warning", self)
        self.dataset = narrow_combo(self, name="Data set", chosen=self._on_dataset)
        self.browse = icon_button("open-folder", "Choose a folder with pairs", self)
        self.browse.clicked.connect(self._on_browse)
        place = QWidget(self)
        in_column(place, field_row(self.dataset, self.browse))
        options = {info.name: info for info in describe_options(StudyConfig)}
        self.form = OptionForm(tuple(options[name] for name in _SETTINGS), None, self)
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName("Study")
        self.status = Sentence(parent=self)
        self.failure = Notice("error", self)
        self.table = ScoreTable(self)
        self.scores = self._make_list()
        self.nothing = centred_words(self, "What each layer reaches will stand here.")
        self.copy_button, self.page_button, self.best_button = word_buttons(
            self,
            ("terminal", "Copy as command", "Copy the command line of this study", self._copy),
            ("export", "Report", "Open the page with what was found", studying.open_page),
            ("check", "Use best layer", "Describe by the best layer", studying.show_best),
        )
        self.stop_button, self.start_button = word_buttons(
            self,
            ("stop", "Stop", "Stop; nothing is written", studying.stop),
            ("play", "Start", "", self._on_start),
        )
        close_button = QPushButton("Close", self)
        close_button.clicked.connect(self.reject)
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(False)
        self.start_button.setDefault(True)
        buttons = in_row(
            None, self.copy_button, 1, self.page_button, self.best_button, self.stop_button,
            self.start_button, close_button,
        )  # fmt: skip
        in_column(
            self, self.network, Sentence(_EXPLANATION, self, quiet=True), self.untrained,
            labelled_rows(("Data set", place)), self.form, self.bar, self.status, self.failure,
            (self.scores, 1), (self.nothing, 1), buttons,
            margins_px=(16, 12, 16, 12), spacing_px=10,
        )  # fmt: skip
        self.resize(_WIDTH_PX, 600)
        models.study.changed.connect(self._on_study)
        models.maps.choice_changed.connect(self._on_choice)
        models.maps.status_changed.connect(self._on_choice)
        models.engine.changed.connect(self._on_choice)
        self._list_data()
        self._on_study(models.study.state)

    def _make_list(self) -> QTableView:
        view = QTableView(self)
        view.setModel(self.table)
        view.setItemDelegateForColumn(1, _BarDelegate(view))
        view.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view.setShowGrid(False)
        view.setFont(tabular(view.font()))
        view.setAccessibleName("Layers and their shares of right matches")
        view.verticalHeader().hide()
        view.verticalHeader().setDefaultSectionSize(_ROW_PX)
        view.horizontalHeader().setSectionsClickable(False)
        view.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        return view

    # Drawing the models

    def _on_choice(self, *_change: object) -> None:
        state, maps = self._models.study.state, self._models.maps
        ready = self._models.engine.state.stage == "ready"
        name = api.network_of(state.descriptor if state.busy else maps.choice.name)
        self.network.say(
            "Open a network first: File ▸ Open network…"
            if name is None
            else f"All layers of {name.at()}"
        )
        infos = (maps.status(side).info for side in SIDES)
        untrained = any(info is not None and not info.trained for info in infos)
        self.untrained.say(
            "Untrained: its weights are random numbers." if untrained and name is not None else ""
        )
        self.start_button.setEnabled(ready and name is not None)
        self.copy_button.setEnabled(name is not None)

    def _on_study(self, state: StudyState) -> None:
        self.bar.setVisible(state.busy)
        self.bar.setRange(0, state.total or 0)
        self.bar.setValue(state.done)
        self.status.say(_status(state))
        self.status.setVisible(bool(self.status.sentence))
        self.failure.say(state.message if state.stage == "failed" else "")
        self.table.show_rows(state.scores, same=len(state.scores) == len(self.table.rows))
        self.scores.setVisible(bool(state.scores))
        self.nothing.setVisible(not state.scores)
        for widget in (self.dataset, self.browse, self.form):
            widget.setEnabled(not state.busy)
        self.stop_button.setVisible(state.busy)
        self.stop_button.setEnabled(state.stage == "running")
        self.start_button.setVisible(not state.busy)
        self.start_button.setText("Start" if state.stage == "none" else "Start again")
        self.page_button.setVisible(state.folder is not None)
        self.best_button.setVisible(bool(state.best))
        self._on_choice()

    def _list_data(self) -> None:
        """List the demo, the open data set and the recent ones."""
        dataset = self._models.browser.state.dataset
        folders = [] if dataset is None else [dataset.opened]
        folders += self._models.settings.state.recent_folders
        if self._dataset != _DEMO:
            folders.insert(0, self._dataset)
        self.dataset.clear()
        self.dataset.addItem("Demo", _DEMO)
        add_folders(self.dataset, folders)
        show_value(self.dataset, self._dataset)
        self.dataset.setToolTip(plain_tip(self._dataset))

    # What the user does

    @property
    def config(self) -> StudyConfig:
        """What is set."""
        computing = self._models.settings.state
        return build_config(
            StudyConfig,
            {
                **self.form.values(),
                "dataset": self._dataset,
                "device": computing.device,
                "precision": computing.precision,
            },
        )

    def _on_dataset(self) -> None:
        self._dataset = self.dataset.currentData()
        self.dataset.setToolTip(plain_tip(self._dataset))

    def _on_browse(self) -> None:
        start = self._models.pair.folder if self._dataset == _DEMO else Path(self._dataset)
        folder = dialogs.ask_folder(self, start)
        if folder is not None:
            self._dataset = str(folder)
            self._models.settings.remember_folder(self._dataset)
            self._list_data()

    def _on_start(self) -> None:
        self._studying.start(self.config)

    def _copy(self) -> None:
        self._studying.copy_command(self.config)


def _status(state: StudyState) -> str:
    match state.stage:
        case "running" if state.doing:
            total = "?" if state.total is None else str(state.total)
            return f"{state.doing[:1].upper()}{state.doing[1:]}: {state.done} of {total}"
        case "running":
            return "Preparing…"
        case "stopping":
            return "Stopping…"
        case "stopped":
            return "Stopped. Nothing was written."
        case "done":
            return f"{state.best_layer} matches best. Everything is in {state.folder}."
        case _:
            return ""
