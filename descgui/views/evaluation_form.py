"""The form where an evaluation is put together, with what it will take."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import DEMO, IN_FORM, EstimateState, EvaluationChoice, ShownRun
from descgui.views.descriptor_panel import PRECOMPUTED, size_text
from descgui.views.form import OptionForm
from descgui.views.icons import icon
from descgui.views.panel_parts import (
    ElidedLabel,
    Notice,
    Section,
    SegmentButton,
    Sentence,
    WheelNeedsFocus,
    field_row,
    icon_button,
    labelled_rows,
    narrow_combo,
    show_value,
)
from descgui.views.run_form import RunFoot, add_folders, lay_out_form, list_devices
from engine.api import DescSpaceError, EvaluateConfig, describe_options

_PROTOCOLS = ("seed", "closed", "dense")


def clock_text(seconds: float) -> str:
    """A time to wait as a person reads it: ``40 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90.0:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60.0)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class _DescriptorRow(QWidget):
    """A descriptor to tick, and the weights it takes.

    Signals:
        toggled(str, bool): its name, and whether it takes part.
        weights_wanted(str): another weights file is to be chosen for it.
    """

    toggled = Signal(str, bool)
    weights_wanted = Signal(str)

    def __init__(self, name: str, title: str, summary: str, takes_weights: bool) -> None:
        super().__init__()
        self.name = name
        self.box = QCheckBox(title, self)
        self.box.setToolTip(f"{name}\n{summary}")
        self.box.toggled.connect(self._on_toggled)
        self.weights = ElidedLabel(parent=self)
        self.weights.setProperty("subtle", True)
        self.browse = QToolButton(self)
        self.browse.setText("…")
        self.browse.setToolTip("Choose a weights file, or a training run's folder")
        self.browse.setAccessibleName(f"Weights of {title}")
        self.browse.clicked.connect(self._on_browse)
        self._takes_weights = takes_weights
        line = QHBoxLayout()
        line.setContentsMargins(20, 0, 0, 0)
        line.addWidget(self.weights, 1)
        line.addWidget(self.browse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.box)
        layout.addLayout(line)

    def show_choice(self, chosen: bool, weights: str) -> None:
        """Draw whether it is ticked, and its weights."""
        with QSignalBlocker(self.box):
            self.box.setChecked(chosen)
        shown = chosen and self._takes_weights
        if weights:
            self.weights.say(Path(weights).name, weights)
        else:
            self.weights.say("No weights: random numbers")
        self.weights.setVisible(shown)
        self.browse.setVisible(shown)

    def _on_toggled(self, on: bool) -> None:
        self.toggled.emit(self.name, on)

    def _on_browse(self) -> None:
        self.weights_wanted.emit(self.name)


class EvaluationForm(QWidget):
    """What is measured, on what, and how.

    Signals:
        run_requested(): measure what is chosen.
        folder_requested(): another folder of sequences is to be chosen.
        download_requested(): HPatches is to be loaded.
        copy_requested(): copy the command line that measures the same.
        weights_requested(str): a weights file is to be chosen for a descriptor.
    """

    run_requested = Signal()
    folder_requested = Signal()
    download_requested = Signal()
    copy_requested = Signal()
    weights_requested = Signal(str)

    def __init__(self, models: AppModels, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self._model = models.evaluation
        self._wheel = WheelNeedsFocus(self)
        self._rows: dict[str, _DescriptorRow] = {}
        first = (self._make_data(), self._make_descriptors())
        second = (self._make_protocol(), self._make_more())
        lay_out_form(self, (*first, *second), self._make_foot())
        self._model.choice_changed.connect(self._on_choice)
        self._model.estimate_changed.connect(self._on_estimate)
        self._model.shown_changed.connect(self._on_shown)
        models.engine.changed.connect(self._on_engine)
        models.settings.changed.connect(self._on_data)
        models.browser.changed.connect(self._on_data)
        self._on_engine()
        self._on_data()
        self._on_estimate(self._model.estimate)

    # Making

    def _make_data(self) -> Section:
        section = Section("Data set", self)
        self.dataset = narrow_combo(section, name="Data set")
        self.dataset.activated.connect(self._on_dataset)
        self.browse = icon_button("open-folder", "Choose a folder of sequences", section)
        self.browse.clicked.connect(self.folder_requested)
        section.body.addLayout(field_row(self.dataset, self.browse))
        self.download = QPushButton(icon("download"), "Download HPatches…", section)
        self.download.setToolTip("Load the 116 sequences from the network")
        self.download.clicked.connect(self.download_requested)
        section.body.addWidget(self.download)
        subsets = (
            ("All", "all"),
            ("Viewpoint (v_*)", "viewpoint"),
            ("Illumination (i_*)", "illumination"),
            ("540 pairs (without 8 large)", "540"),
        )
        self.subset = narrow_combo(section, name="Sequences", entries=subsets)
        self.subset.activated.connect(self._on_subset)
        warps = (
            ("As they are", ""),
            ("Rotated by any angle", "rotated"),
            ("Scaled by 2 to 4", "scaled"),
        )
        self.stress = narrow_combo(section, name="Pairs", entries=warps)
        self.stress.setToolTip("Harder pairs are made by warping the second image")
        self.stress.activated.connect(self._on_stress)
        self._wheel.guard(self.dataset, self.subset, self.stress)
        section.body.addLayout(labelled_rows(("Sequences", self.subset), ("Pairs", self.stress)))
        return section

    def _make_protocol(self) -> Section:
        section = Section("Protocol", self)
        row = QHBoxLayout()
        row.setSpacing(2)
        self._group = QButtonGroup(self)
        self.protocols: dict[str, SegmentButton] = {}
        for name in _PROTOCOLS:
            button = SegmentButton(name, section)
            button.setAccessibleName(f"Protocol {name}")
            self._group.addButton(button)
            self.protocols[name] = button
            row.addWidget(button)
        self._group.buttonClicked.connect(self._on_protocol)
        section.body.addLayout(row)
        self.explanation = Sentence(parent=section, quiet=True)
        section.body.addWidget(self.explanation)
        self.device = narrow_combo(section, name="Device")
        self.device.activated.connect(self._on_device)
        self._wheel.guard(self.device)
        section.body.addLayout(labelled_rows(("Device", self.device)))
        return section

    def _make_descriptors(self) -> Section:
        self._descriptors = Section("Descriptors", self)
        self.waiting = Sentence("Loading the engine…", self._descriptors, quiet=True)
        self._descriptors.body.addWidget(self.waiting)
        return self._descriptors

    def _make_more(self) -> Section:
        section = Section("More settings", self, open_=False)
        options = tuple(
            info for info in describe_options(EvaluateConfig) if info.name not in IN_FORM
        )
        self.more = OptionForm(options, self._model.choice.more, section.content)
        self.more.changed.connect(self._on_more)
        section.body.addWidget(self.more)
        return section

    def _make_foot(self) -> RunFoot:
        foot = RunFoot(self)
        self.estimate = Sentence(parent=foot, quiet=True)
        self.problem = Notice("warning", foot)
        self.open_report = QCheckBox("Open the report when done", foot)
        self.open_report.toggled.connect(self._on_open_report)
        for part in (self.estimate, self.problem, self.open_report):
            foot.column.addWidget(part)
        self.run_button, self.copy_button = foot.add_buttons("Run", name="Run the evaluation")
        self.run_button.clicked.connect(self.run_requested)
        self.copy_button.clicked.connect(self.copy_requested)
        return foot

    # Drawing the models

    def _on_engine(self, _state: object = None) -> None:
        state = self._models.engine.state
        entries = [entry for entry in state.descriptors if entry.name != PRECOMPUTED]
        if [entry.name for entry in entries] != list(self._rows):
            for row in self._rows.values():
                row.hide()
                row.deleteLater()
            self._rows = {}
            for entry in entries:
                row = _DescriptorRow(entry.name, entry.title, entry.summary, entry.takes_weights)
                row.toggled.connect(self._on_descriptor)
                row.weights_wanted.connect(self.weights_requested)
                self._rows[entry.name] = row
                self._descriptors.body.addWidget(row)
        self.waiting.setVisible(not entries)
        if state.stage == "failed":
            self.waiting.say(state.message)
        list_devices(self.device, state.devices)
        self._on_choice(self._model.choice)

    def _on_data(self, _state: object = None) -> None:
        """List the data sets that are near at hand."""
        dataset = self._models.browser.state.dataset
        folders = [str(dataset.root)] if dataset is not None else []
        folders += self._models.settings.state.recent_folders
        current = self._model.choice.dataset
        if current != DEMO:
            folders.insert(0, current)
        with QSignalBlocker(self.dataset):
            self.dataset.clear()
            self.dataset.addItem(icon("demo"), "Demo", DEMO)
            add_folders(self.dataset, folders, icon_name="folder")
            self.dataset.setCurrentIndex(self.dataset.findData(current))
        self.dataset.setToolTip(current)

    def _on_choice(self, choice: EvaluationChoice) -> None:
        if self.dataset.currentData() != choice.dataset:
            self._on_data()
        for combo, value in (
            (self.subset, choice.subset),
            (self.stress, choice.stress),
            (self.device, choice.device),
        ):
            show_value(combo, value)
        self.protocols[choice.protocol].setChecked(True)
        self.explanation.say(self._explain(choice.protocol))
        for name, row in self._rows.items():
            row.show_choice(name in choice.descriptors, choice.weights.get(name, ""))
        with QSignalBlocker(self.open_report):
            self.open_report.setChecked(choice.open_report)
        if self.more.values() != dict(choice.more):
            self.more.set_values(choice.more)
        self._show_problem()

    def _on_shown(self, _shown: ShownRun) -> None:
        self._show_problem()

    def _on_estimate(self, state: EstimateState) -> None:
        estimate = state.estimate
        if estimate is not None:
            self.estimate.say(
                f"About {clock_text(estimate.seconds)} for {estimate.pairs} pairs, "
                f"and {size_text(estimate.maps_bytes)} for maps."
            )
            self.estimate.setToolTip(
                f"Measured on {estimate.measured} ({estimate.device}) and multiplied. "
                "What a network needs while it computes comes on top of its maps."
            )
        elif state.measuring:
            self.estimate.say("Measuring one pair to tell how long it takes…")
        else:
            self.estimate.say("Time and memory: not known yet.")
        self._show_problem()

    def _show_problem(self) -> None:
        """Say what is in the way of a run, if anything is."""
        choice, problem = self._model.choice, self._model.estimate.message
        if not choice.descriptors:
            problem = "Tick at least one descriptor."
        else:
            try:
                choice.config()
            except DescSpaceError as error:
                problem = str(error)
        self.problem.say(problem)
        self.estimate.setVisible(not problem and not self._busy)
        ready = self._models.engine.state.stage == "ready"
        self.run_button.setEnabled(ready and bool(choice.descriptors) and not self._busy)
        self.copy_button.setEnabled(bool(choice.descriptors))

    @property
    def _busy(self) -> bool:
        return self._model.shown.busy

    def _explain(self, protocol: str) -> str:
        return {
            "seed": (
                "As the original's code does it, rounding and all: only the true counterparts of "
                "the queries are candidates."
            ),
            "closed": (
                "The same question with exact truth: which of the queries' true counterparts is "
                "nearest?"
            ),
            "dense": "What a user meets: every place of the other image is a candidate. Slower.",
        }[protocol]

    # What a person does

    def _on_dataset(self, index: int) -> None:
        self._model.update(dataset=self.dataset.itemData(index))

    def _on_subset(self, index: int) -> None:
        self._model.update(subset=self.subset.itemData(index))

    def _on_stress(self, index: int) -> None:
        self._model.update(stress=self.stress.itemData(index))

    def _on_device(self, index: int) -> None:
        self._model.update(device=self.device.itemData(index))

    def _on_protocol(self, button: SegmentButton) -> None:
        self._model.update(protocol=button.text())

    def _on_descriptor(self, name: str, on: bool) -> None:
        chosen = set(self._model.choice.descriptors) - {name} | ({name} if on else set())
        self._model.update(descriptors=tuple(each for each in self._rows if each in chosen))

    def _on_more(self, values: dict[str, Any]) -> None:
        self._model.update(more=MappingProxyType(values))

    def _on_open_report(self, on: bool) -> None:
        self._model.update(open_report=on)
