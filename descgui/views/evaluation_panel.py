"""The panel that evaluates descriptors: form, past runs, progress and results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QMenu,
    QSplitter,
    QStackedWidget,
    QToolButton,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.copied_tables import means_table, pairs_table
from descgui.models.evaluation_state import ShownRun
from descgui.models.result_tables import ListTables, ResultTables
from descgui.models.shown_metric import ShownMetric
from descgui.views.evaluation_actions import EvaluationActions
from descgui.views.evaluation_form import EvaluationForm
from descgui.views.evaluation_tables import PairTable, SequenceBars, SummaryTable
from descgui.views.panel_parts import (
    ElidedLabel,
    Notice,
    SegmentButton,
    ThinBar,
    bold,
    centred_words,
    icon_button,
    in_column,
    in_row,
    narrow_combo,
    refill,
    segment_row,
    tabular,
    word_buttons,
)
from descgui.views.run_list import RunList
from descgui.views.run_parts import RunsColumn, lay_out_panel
from descgui.views.words import QUERY_LISTS, clock_text, counted

if TYPE_CHECKING:
    from engine.api import RunInfo

_ABREAST = [3000, 2000]  # the table's share, and that of the bars
_COPIES = (
    ("Copy as Markdown", "markdown"),
    ("Copy as LaTeX", "latex"),
    ("Copy as CSV", "csv"),
)
_LEAST_TABLE_PX = 210
_NARROW_PX = 780
_SCROLL_BAR_PX = 28


class EvaluationPanel(QWidget):
    """Sets up an evaluation, shows its progress and its results.

    Signals:
        gallery_requested(): show all measured pairs in a window of their own.
    """

    gallery_requested = Signal()

    def __init__(
        self,
        models: AppModels,
        actions: EvaluationActions,
        form: EvaluationForm | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._model = models.evaluation
        self._shown = models.evaluation.shown
        self._actions = actions
        self._shown_metrics: dict[str, ShownMetric] = {}
        self._results: ResultTables | None = None
        self.form = EvaluationForm(models, actions) if form is None else form
        self.runs = RunList(self._model, actions, self)
        self._left = RunsColumn(self.form, self.runs, self, past="Past runs")
        self.new_tab, self.past_tab = self._left.new_tab, self._left.past_tab
        lay_out_panel(self, self._left, self._make_right())
        self._shown.changed.connect(self._on_shown)
        self._model.runs.changed.connect(self._on_runs)
        self._on_runs(self._model.runs.state)
        self._on_shown(self._shown.state)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the bars below the table in a narrow panel."""
        super().resizeEvent(event)
        narrow = self.width() < _NARROW_PX
        wanted = Qt.Orientation.Vertical if narrow else Qt.Orientation.Horizontal
        if wanted != self._split.orientation():
            self._split.setOrientation(wanted)
            self._split.setSizes([1, 1] if narrow else _ABREAST)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._model.visible.set(True)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._model.visible.set(False)

    # Making

    def _make_right(self) -> QWidget:
        right = QWidget(self)
        self.title = ElidedLabel(parent=right)
        self.title.setFont(bold(self.title.font()))
        self.status = ElidedLabel(parent=right)
        self.status.setFont(tabular(self.status.font()))
        self.bar = ThinBar(right)
        self.bar.setAccessibleName("Pairs measured")
        self.failure = Notice("error", right)
        self.notes = Notice("warning", right)
        runs, results = self._actions.runs, self._actions.results
        pause = "Pause; the measured pairs are kept"
        cancel = "Stop; you can continue the run from the list of past runs"
        report = "Open the report in the browser"
        gallery = "All pairs as pictures, sorted and filtered, and in a scatter plot"
        learn = "Set up a training that also learns from the worst of these pairs"
        (
            self.pause_button,
            self.continue_button,
            self.cancel_button,
            self.gallery_button,
            self.learn_button,
            self.report_button,
        ) = buttons = word_buttons(
            right,
            ("pause", "Pause", pause, runs.pause),
            ("play", "Continue", "", self._on_continue),
            ("stop", "Cancel", cancel, runs.cancel),
            ("images", "Pairs…", gallery, self.gallery_requested),
            ("train", "Learn…", learn, self._actions.learning.learn_from_worst),
            ("export", "Report", report, results.open_report),
        )
        self.learn_button.setAccessibleName("Learn from the worst pairs…")
        words = in_column(None, self.title, self.status, spacing_px=2)
        head = in_row(None, (words, 1), *buttons, spacing_px=4)
        self._pages = QStackedWidget(right)
        self.empty = centred_words(
            right,
            "No results yet.\n\nChoose a data set and descriptors on the left and press Run, or "
            "select a past run.",
        )
        for page in (self.empty, self._make_results(right)):
            self._pages.addWidget(page)
        parts = (head, self.bar, self.failure, self.notes, (self._pages, 1))
        in_column(right, *parts, margins_px=(10, 6, 10, 8))
        return right

    def _make_results(self, parent: QWidget) -> QSplitter:
        results = self._split = QSplitter(Qt.Orientation.Horizontal, parent)
        self.means_tab = SegmentButton("Means", results)
        self.pairs_tab = SegmentButton("Pairs", results)
        tip = "What the tables show, and from what distance matches are correct"
        self.metrics = narrow_combo(results, name="Metric", tip=tip)
        self.queries = narrow_combo(results, name="Queries", tip="Which points are matched")
        for combo in (self.metrics, self.queries):
            combo.currentIndexChanged.connect(self._on_filter)
        views = QButtonGroup(self)
        row = segment_row(views, (self.means_tab, self.pairs_tab))
        self.means_tab.setChecked(True)
        row.addSpacing(8)
        row.addWidget(self.metrics, 1)
        row.addWidget(self.queries, 1)
        self._tables = QStackedWidget(results)
        self.copy_button = self._make_copy_button(results)
        row.addWidget(self.copy_button)
        self.table = SummaryTable(results)
        self.pairs = PairTable(results)
        self._pairs_behind = False
        self.pairs.pair_chosen.connect(self._on_pair)
        for table in (self.table, self.pairs):
            self._tables.addWidget(table)
            table.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
            table.addActions(self.copy_button.menu().actions())
        views.idClicked.connect(self._on_view)
        first = QWidget(results)
        first.setMinimumWidth(_LEAST_TABLE_PX)
        in_column(first, row, (self._tables, 1), margins_px=(0, 0, 4, 0))
        second = QWidget(results)
        heading = self._bars_heading = ElidedLabel(parent=second)
        heading.setProperty("subtle", True)
        heading.setMinimumHeight(self.means_tab.sizeHint().height())
        self.bars = SequenceBars(second)
        self.bars.pair_chosen.connect(self._on_pair)
        in_column(second, heading, (self.bars, 1), margins_px=(4, 0, 0, 0))
        results.setChildrenCollapsible(False)
        results.addWidget(first)
        results.addWidget(second)
        results.setStretchFactor(0, 3)
        results.setStretchFactor(1, 2)
        results.setSizes(_ABREAST)
        return results

    def _make_copy_button(self, parent: QWidget) -> QToolButton:
        button = icon_button("copy", "Copy this table", parent, flat=True)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        menu = QMenu(button)
        for text, kind in _COPIES:
            menu.addAction(text).setData(kind)
        menu.triggered.connect(self._on_copy)
        button.setMenu(menu)
        return button

    # Drawing the model

    def _on_runs(self, runs: tuple[RunInfo, ...]) -> None:
        self._left.show_count(len(runs))

    def _on_shown(self, shown: ShownRun) -> None:
        before, results = self._results, _results_of(shown, self._results)
        self._results = results
        preparing = {"none": "", "failed": "The evaluation failed."}.get(shown.stage, "Preparing…")
        self.title.say(preparing if results is None else results.title)
        done, total = (0, 0) if results is None else (results.done, results.total)
        done = max(done, shown.done)
        self.status.say("" if results is None else self._status(shown, results, done))
        self.bar.setVisible(shown.busy or shown.stage in ("paused", "stopped"))
        self.bar.show_done(done, total, waiting=shown.stage == "running")
        self.failure.say(shown.message if shown.stage == "failed" else "")
        self.notes.say_first((*shown.notes, *(() if results is None else results.left_out)))
        self._show_buttons(shown)
        self._pages.setCurrentIndex(0 if results is None else 1)
        self.empty.setVisible(shown.stage in ("none", "failed"))
        if results is not None and results is not before:
            self._show_results(results)

    def _status(self, shown: ShownRun, results: ResultTables, done: int) -> str:
        words = [f"{done} of {results.total} pairs"]
        if shown.stage == "done":
            words = [counted(results.total, "1 pair", "{n} pairs")]
            if results.content.seconds is not None:
                words.append(clock_text(results.content.seconds))
            if shown.reporting:
                words.append("writing the report…")
        elif shown.stage == "running":
            if shown.eta_s is not None:
                words.append(f"{clock_text(shown.eta_s)} left")
        else:
            busy, paused = shown.busy, shown.stage == "paused"
            words.append("stopping…" if busy else "paused" if paused else "stopped")
        return " · ".join(words)

    def _show_buttons(self, shown: ShownRun) -> None:
        content = shown.content
        self.pause_button.setVisible(shown.busy)
        self.pause_button.setEnabled(shown.stage == "running" and content is not None)
        self.cancel_button.setVisible(shown.busy or shown.stage == "paused")
        self.cancel_button.setEnabled(shown.stage in ("running", "paused"))
        self.continue_button.setVisible(shown.can_continue and content is not None)
        self.report_button.setVisible(content is not None and content.finished)
        self.gallery_button.setVisible(content is not None and content.has_pairs)
        self.gallery_button.setEnabled(not shown.busy)
        self.report_button.setEnabled(not shown.reporting and not shown.busy)
        alone = content is not None and len(content.results) == 1
        self.learn_button.setVisible(content is not None and content.finished and alone)
        self.learn_button.setEnabled(not shown.busy)

    def _show_results(self, results: ResultTables) -> None:
        refill(self.queries, [(QUERY_LISTS.get(word, word), word) for word in results.lists])
        self.queries.setVisible(len(results.lists) > 1)
        listed = results.lists.get(self._queries)
        if listed is None:
            return
        self._show_metrics(listed)
        metric = self._metric
        if metric is None:
            return
        self.metrics.setToolTip(f"{metric.title}\n{metric.definition}")
        content = results.content
        self.table.show_summary(content, queries=self._queries, metric=metric)
        self._pairs_behind = True
        self._show_pairs()
        self.bars.show_scores(listed.scores[metric], results.pair_title, content.group)
        self._bars_heading.say(f"By {content.group}; tick: worst pair")

    def _show_metrics(self, listed: ListTables) -> None:
        shown = listed.metrics
        pck = sum(not one.name for one in shown)
        self._shown_metrics = {one.key: one for one in shown}
        refill(self.metrics, [(one.title, one.key) for one in shown], place=pck - 1)
        for place, one in enumerate(shown):
            self.metrics.setItemData(place, one.definition, Qt.ItemDataRole.ToolTipRole)
        entries = self.metrics.view()  # their names are longer than the box is wide
        entries.setMinimumWidth(entries.sizeHintForColumn(0) + _SCROLL_BAR_PX)

    def _show_pairs(self) -> None:
        """List the pairs, of which there may be thousands, once their list is on display."""
        results, metric = self._results, self._metric
        hidden = self._tables.currentWidget() is self.table
        if results is None or metric is None or hidden or not self._pairs_behind:
            return
        self._pairs_behind = False
        listed = results.lists[self._queries].rows
        self.pairs.show_rows(listed, title=results.pair_title, metric=metric)

    @property
    def _metric(self) -> ShownMetric | None:
        return self._shown_metrics.get(str(self.metrics.currentData()))

    @property
    def _queries(self) -> str:
        return str(self.queries.currentData() or "harris")

    # What the user does

    def _on_view(self, place: int) -> None:
        self._tables.setCurrentIndex(place)
        self._show_pairs()

    def _on_filter(self) -> None:
        if self._results is not None:
            self._show_results(self._results)

    def _on_copy(self, action: QAction) -> None:
        content, metric = self._shown.state.content, self._metric
        if content is None or metric is None:
            return
        if self._tables.currentWidget() is self.table:
            table = means_table(content, queries=self._queries, metric=metric)
        else:
            caption = f"{metric.title}, {self._queries} queries, {content.title}"
            table = pairs_table(*self.pairs.texts(), caption)
        self._actions.results.copy_table(action.data(), table)

    def _on_continue(self) -> None:
        self._actions.runs.resume()

    def _on_pair(self, sequence: str, index: int, label: str) -> None:
        threshold_px = 0.0 if self._metric is None else self._metric.threshold_px
        self._actions.results.open_pair(sequence, index, label, threshold_px)


def _results_of(shown: ShownRun, before: ResultTables | None) -> ResultTables | None:
    """The results on display, made only where no worker did."""
    if shown.tables is not None or shown.content is None:
        return shown.tables
    if before is not None and before.content is shown.content:
        return before
    return ResultTables.of(shown.content)
