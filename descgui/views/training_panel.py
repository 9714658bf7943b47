"""The panel of trainings: a form, the progress of the running one, and past runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import (
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QHideEvent,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.training_state import SamplesState, TrainingStatus
from descgui.views.addresses import read_urls
from descgui.views.panel_parts import (
    ElidedLabel,
    Notice,
    SegmentButton,
    Sentence,
    ThinBar,
    bold,
    centred_words,
    in_column,
    in_row,
    segment_row,
    tabular,
    word_buttons,
)
from descgui.views.run_parts import LEFT_PX, RunsColumn, lay_out_panel
from descgui.views.training_actions import TrainingActions
from descgui.views.training_form import TrainingForm
from descgui.views.training_pictures import PictureGrid
from descgui.views.training_runs import TrainingRuns
from descgui.views.words import clock_text, counted
from engine.api import is_better, judge_of, metric_info, plateau_text

if TYPE_CHECKING:
    from descgui.views.training_curves import TrainingCurves
    from descgui.views.training_probe import TrainingProbe
    from engine.api import TrainingRunInfo

_NARROW_LEFT_PX = 256
_WIDE_PX = 940
_NARROW_PX = 800
_PAIRS, _CURVES, _PROBE = range(3)
_STAGES = {
    "pausing": "pausing…",
    "paused": "paused",
    "stopping": "stopping…",
    "finishing": "stopping with the best…",
    "stopped": "stopped",
    "failed": "failed",
    "done": "finished",
}


class TrainingPanel(QWidget):
    """Sets up a training, follows it, and lists past ones."""

    def __init__(
        self,
        models: AppModels,
        actions: TrainingActions,
        form: TrainingForm | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._model = models.training
        self._actions = actions
        self.curves: TrainingCurves | None = None
        self.probe: TrainingProbe | None = None
        self._page = _PAIRS
        self._last_stage = "none"
        self._button_texts: dict[QPushButton, str] = {}
        self.form = TrainingForm(models, actions) if form is None else form
        self.runs = TrainingRuns(self._model, actions, self)
        self._left = RunsColumn(self.form, self.runs, self, past="Runs")
        self.new_tab, self.past_tab = self._left.new_tab, self._left.past_tab
        lay_out_panel(self, self._left, self._make_right())
        self.setAcceptDrops(True)
        self._connect()
        self._on_runs()
        self._on_samples(self._model.samples.state)
        self._on_status(self._model.status.state)
        self._show_page(_PAIRS)
        if self._model.can_plot.state:
            self._make_plots()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show curves and probe side by side where they fit, and less text where little fits."""
        super().resizeEvent(event)
        self._show_page(self._page)
        self._say_words()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._actions.want(True)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._actions.want(False)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        folder = _dropped_folder(event)
        if folder is not None:
            event.acceptProposedAction()
            words = f"Drop to train on the photos in “{folder.name}”."
            self.drop_hint.say(words)

    def dragLeaveEvent(self, _event: QDragLeaveEvent) -> None:
        self.drop_hint.say("")

    def dropEvent(self, event: QDropEvent) -> None:
        self.drop_hint.say("")
        folder = _dropped_folder(event)
        if folder is not None:
            event.acceptProposedAction()
            self._actions.use_folder(folder)

    # Making

    def _make_right(self) -> QWidget:
        right = QWidget(self)
        self.title = ElidedLabel(parent=right)
        self.title.setFont(bold(self.title.font()))
        self.status = Sentence(parent=right)
        self.status.setFont(tabular(self.status.font()))
        self.bar = ThinBar(right)
        self.bar.setAccessibleName("Steps done")
        self.failure = Notice("error", right)
        self.notes = Notice("warning", right)
        self.drop_hint = Notice("info", right)
        pages, buttons = self._make_pages_row(right), self._make_buttons(right)
        head = in_row(None, pages, (self.title, 1), *buttons, spacing_px=4)
        head.insertSpacing(1, 8)
        corner = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        self.sheet = PictureGrid(right, alignment=corner, most_scale=2.0, halved=True)
        self.sheet.setAccessibleName("Pairs of this training, both images of each side by side")
        words = "The first pairs of the training, warped and with changed light."
        self.sheet_words = Sentence(words, right, quiet=True)
        pairs = QWidget(right)
        in_column(pairs, self.sheet_words, (self.sheet, 1), spacing_px=4)
        self.waiting = centred_words(right, "Loading the plots…")
        self._split = QSplitter(Qt.Orientation.Horizontal, right)
        self._split.setChildrenCollapsible(False)
        self._pages = QStackedWidget(right)
        for page in (pairs, self.waiting, self._split):
            self._pages.addWidget(page)
        notices = (self.failure, self.notes, self.drop_hint)
        self.next = self._make_next(right)
        parts = (head, self.status, self.bar, *notices, self.next, (self._pages, 1))
        in_column(right, *parts, margins_px=(10, 6, 10, 8), spacing_px=5)
        return right

    def _make_pages_row(self, parent: QWidget) -> QHBoxLayout:
        self.pairs_tab = SegmentButton("Pairs", parent)
        self.pairs_tab.setToolTip("The first pairs, as the network will see them")
        self.curves_tab = SegmentButton("Curves", parent)
        self.probe_tab = SegmentButton("Probe", parent)
        self.probe_tab.setToolTip("One pair, drawn again and again during training")
        self._views = QButtonGroup(self)
        self._views.idClicked.connect(self._show_page)
        return segment_row(self._views, (self.pairs_tab, self.curves_tab, self.probe_tab))

    def _make_buttons(self, parent: QWidget) -> tuple[QWidget, ...]:
        pause = "Pause and save a checkpoint"
        stop = "Stop and save a checkpoint; the run can be resumed at any time"
        keep = "Stop and keep the best: the run ends here, and its best weights are the result"
        resume = "Continue from the last checkpoint"
        buttons = word_buttons(
            parent,
            ("pause", "Pause", pause, self._actions.pause),
            ("play", "Continue", "Continue the paused run", self._actions.unpause),
            ("stop", "Stop", stop, self._actions.stop),
            ("success", "Keep best", keep, self._actions.finish),
            ("play", "Resume", resume, self._on_resume),
        )
        self.pause_button, self.continue_button, self.stop_button = buttons[:3]
        self.finish_button, self.resume_button = buttons[3:]
        self._button_texts |= {button: button.text() for button in buttons}
        for button, text in self._button_texts.items():
            button.setAccessibleName(text)
        self.finish_button.setAccessibleName("Stop and keep the best")
        return tuple(buttons)

    def _make_next(self, parent: QWidget) -> QWidget:
        """What can be done with the network once a run has ended."""
        row = QWidget(parent)
        self.next_words = ElidedLabel(parent=row)
        self.next_words.setProperty("subtle", True)
        view = "Describe the open pair with this network"
        evaluate = "Choose this network in the evaluation"
        compare = "Show it beside the same network with the weights that came with the program"
        self.use_button, self.measure_button, self.compare_button = word_buttons(
            row,
            ("descriptor", "Use in viewer", view, self._on_use),
            ("evaluate", "Evaluate", evaluate, self._on_evaluate),
            ("compare", "Compare with shipped", compare, self._on_compare),
        )
        buttons = (self.use_button, self.measure_button, self.compare_button)
        for button in buttons:
            self._button_texts[button] = button.text()
            button.setAccessibleName(button.text())
        in_row(row, (self.next_words, 1), *buttons, spacing_px=4)
        return row

    def _make_plots(self) -> None:
        """Make curves and probe: late, because what draws curves is slow to load."""
        if self.curves is not None:
            return
        from descgui.views.training_curves import TrainingCurves
        from descgui.views.training_probe import TrainingProbe

        self.curves = TrainingCurves(self._models, self._split)
        self.probe = TrainingProbe(self._model, self._split)
        self._split.addWidget(self.curves)
        self._split.addWidget(self.probe)
        self._split.setStretchFactor(0, 3)
        self._split.setStretchFactor(1, 2)
        self._split.setSizes([600, 400])
        self.probe.step_chosen.connect(self._on_step)
        self._show_page(self._page)

    def _connect(self) -> None:
        model = self._model
        model.samples.changed.connect(self._on_samples)
        model.choice.changed.connect(self._on_choice)
        model.status.changed.connect(self._on_status)
        model.runs.changed.connect(self._on_runs)
        model.can_plot.changed.connect(self._make_plots)
        model.curves.changed.connect(self._on_curves)

    # Drawing the model

    def _show_page(self, page: int) -> None:
        """Show the pairs, the curves or the probe; the last two side by side if they fit."""
        self._page = page
        wide = self.width() >= _WIDE_PX
        self.probe_tab.setVisible(not wide)
        self.curves_tab.setText("Progress" if wide else "Curves")
        shown = _CURVES if wide and page == _PROBE else page
        self._views.button(shown).setChecked(True)
        if page == _PAIRS:
            self._pages.setCurrentIndex(0)
        elif self.curves is None or self.probe is None:
            self._pages.setCurrentWidget(self.waiting)
        else:
            self.curves.setVisible(wide or page == _CURVES)
            self.probe.setVisible(wide or page == _PROBE)
            self._pages.setCurrentWidget(self._split)

    def _on_runs(self, _runs: object = None) -> None:
        self._left.show_count(len(self._model.runs.state))
        self._show_next()

    def _on_choice(self, _choice: object) -> None:
        self._on_samples(self._model.samples.state)

    def _on_samples(self, state: SamplesState) -> None:
        found = state.found
        if found is None:
            self.sheet.show_pictures(())
            self.sheet.say(_instead_of_pairs(state, self._model.choice.state.folder))
        elif state.reading or state.old:
            self.sheet.fade(True)
        else:
            if self.sheet.count == 0 and not self._model.status.state.busy:
                self._show_page(_PAIRS)
            self.sheet.show_pictures(found.pictures)
        self.sheet_words.setVisible(found is not None)

    def _on_status(self, status: TrainingStatus) -> None:
        self.title.say(status.folder.name if status.folder is not None else "")
        self._say_words()
        self.bar.setVisible(status.busy or status.stage == "stopped")
        self.bar.show_done(status.step, status.steps, waiting=status.busy)
        self.failure.say(status.message if status.stage == "failed" else "")
        self.notes.say_first(status.notes)
        self._show_buttons(status)
        self._show_next()
        if status.stage == "preparing" and self._last_stage != "preparing":
            self._show_page(_CURVES)
        self._last_stage = status.stage

    def _say_words(self) -> None:
        """Describe the progress; in a narrow panel in brief, with the rest in the tooltip."""
        status, narrow = self._model.status.state, self.width() < _NARROW_PX
        words = progress_text(status)
        self.status.say(progress_text(status, brief=True) if narrow else words)
        self.status.setToolTip(words if narrow else "")
        self.status.setVisible(bool(words))
        for button, text in self._button_texts.items():
            button.setText("" if narrow else text)
        self._left.setFixedWidth(_NARROW_LEFT_PX if narrow else LEFT_PX)

    def _show_buttons(self, status: TrainingStatus) -> None:
        self.pause_button.setVisible(status.stage in ("preparing", "running", "stopping"))
        self.pause_button.setEnabled(status.stage == "running")
        self.continue_button.setVisible(status.stage in ("pausing", "paused"))
        self.stop_button.setVisible(status.busy)
        self.stop_button.setEnabled(status.stage not in ("stopping", "finishing"))
        self.finish_button.setVisible(status.stage in ("running", "finishing"))
        self.finish_button.setEnabled(status.stage == "running" and bool(status.best))
        self.resume_button.setVisible(status.can_resume)

    def _show_next(self) -> None:
        """Offer what to do with the network of a run that has ended."""
        ended, status = self._ended, self._model.status.state
        self.next.setVisible(ended is not None)
        if ended is not None:
            best = status.best
            step = f"the best, of step {best[1]:,}" if ended[1].stem == "best" and best else "last"
            self.next_words.say(f"Next, with the weights ({step}):")

    @property
    def _ended(self) -> tuple[TrainingRunInfo, Path] | None:
        """The run that has ended in this window, and its best weights."""
        status = self._model.status.state
        if status.stage not in ("done", "stopped"):
            return None
        runs = self._model.runs.state
        run = next((one for one in runs if one.folder == status.folder and not one.problem), None)
        if run is None or not run.checkpoints:
            return None
        paths = {one.path.stem: one.path for one in run.checkpoints}
        return run, paths.get("best", run.checkpoints[-1].path)

    def _on_curves(self) -> None:
        """Show curves instead of an empty sheet."""
        idle = self._page == _PAIRS and not self._model.choice.state.folder
        if idle and self._model.curves.shown:
            self._show_page(_CURVES)

    # What users do

    def _on_resume(self) -> None:
        folder = self._model.status.state.folder
        if folder is not None:
            self._actions.resume(folder)

    def _on_use(self) -> None:
        if self._ended is not None:
            self._actions.use_in_viewer(*self._ended)

    def _on_evaluate(self) -> None:
        if self._ended is not None:
            self._actions.evaluate(*self._ended)

    def _on_compare(self) -> None:
        if self._ended is not None:
            self._actions.compare_with_shipped(*self._ended)

    def _on_step(self, step: int) -> None:
        folder = self._model.frames.watched
        if folder is not None:
            self.runs.choose_step(folder, step)


def progress_text(status: TrainingStatus, *, brief: bool = False) -> str:
    """How far a training is, in pieces that are not broken across lines."""
    if status.stage == "none":
        return ""
    if status.stage == "preparing":
        photos = f"Reading photos: {status.step} of {status.steps}"
        return photos if status.steps else "Preparing…"
    pieces = filter(None, _pieces(status, brief=brief))
    return " · ".join(piece.replace(" ", "\N{NO-BREAK SPACE}") for piece in pieces)


def _pieces(status: TrainingStatus, *, brief: bool) -> Iterator[str]:
    figures, running = status.figures, status.stage == "running"
    yield _STAGES.get(status.stage, "")
    yield f"step {status.step:,} of {status.steps:,}"
    if running and not figures and status.steps_per_s is None:
        yield "first validation…"
    if "epoch" in figures and not brief:
        yield f"epoch {figures['epoch']:.1f}"
    if status.eta_s is not None:
        yield f"{clock_text(status.eta_s)} left"
    if status.steps_per_s is not None and not brief:
        yield f"{status.steps_per_s:.3g} steps/s"
        if status.steps_per_epoch is not None:
            yield f"{clock_text(status.steps_per_epoch / status.steps_per_s)} an epoch"
    if "loss" in figures:
        yield f"loss {figures['loss']:.4g}"
    judge, best = judge_of(figures), status.best
    if judge is not None:
        was_better = best is not None and is_better(judge, best[0], than=figures[judge])
        more = f" (best {best[0]:.3f})" if best is not None and was_better and not brief else ""
        yield f"{metric_info(judge).title} {figures[judge]:.3f}{more}"
        yield plateau_text(round(figures.get("no_better", 0.0)), status.patience)
    if "data_wait_share" in figures and running and not brief:
        yield f"data wait {100 * figures['data_wait_share']:.1f} %"
    if figures.get("memory_mb") and not brief:
        yield f"{figures['memory_mb']:,.0f} MB"
    if figures.get("skipped"):
        yield counted(int(figures["skipped"]), "1 step skipped", "{n} steps skipped")
    if status.saved_step is not None and status.stage in ("paused", "stopped", "failed"):
        yield f"checkpoint at step {status.saved_step:,}"


def _instead_of_pairs(state: SamplesState, folder: str) -> str:
    """What the sheet says while there are no pairs."""
    if state.reading:
        return "Making the first pairs…"
    if folder:
        return state.message or "No pairs yet."
    return (
        "Choose a folder of photos on the left, or drop one here, to see the first pairs before "
        "you start."
    )


def _dropped_folder(event: QDropEvent) -> Path | None:
    """The dragged folder, if it is one folder alone."""
    found = read_urls(event.mimeData().urls())
    alone = len(found.paths) == 1 and not found.foreign
    return found.paths[0] if alone and found.paths[0].is_dir() else None
