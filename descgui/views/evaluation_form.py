"""The form of a new evaluation, with an estimate of its time and memory."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QToolButton,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import DEMO, IN_FORM, EstimateState, EvaluationChoice
from descgui.views import dialogs
from descgui.views.download_dialog import DownloadDialog
from descgui.views.evaluation_actions import EvaluationActions
from descgui.views.form import LateSection, OptionForm
from descgui.views.group_choice import GroupChoice
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
    in_column,
    in_row,
    labelled_rows,
    narrow_combo,
    plain_tip,
    refill,
    segment_row,
    show_value,
    word_buttons,
)
from descgui.views.run_parts import RunFoot, add_folders, lay_out_form, list_devices
from descgui.views.words import clock_text, size_text
from engine import api
from engine.api import (
    PRECOMPUTED,
    WITHOUT_LARGE,
    DescSpaceError,
    EvaluateConfig,
    describe_options,
)

_WEIGHTS = "Weights (*.safetensors *.pt *.pth *.ckpt)"
_PROTOCOLS = {
    "seed": (
        "As in the original code, with its rounding: only the true counterparts of the queries "
        "are candidates."
    ),
    "closed": (
        "The same with exact ground truth: which of the queries' true counterparts is nearest?"
    ),
    "dense": "As in practice: every place in the other image is a candidate. Slower.",
}


_HPATCHES_PARTS = {
    "viewpoint": "Viewpoint (v_*)",
    "illumination": "Illumination (i_*)",
    WITHOUT_LARGE: "540 pairs (without 8 large)",
}


class _DescriptorRow(QWidget):
    """A descriptor to tick, and its weights.

    Signals:
        weights_wanted(str): choose a weights file for this name.
    """

    weights_wanted = Signal(str)

    def __init__(self, name: str, title: str, summary: str, takes_weights: bool) -> None:
        super().__init__()
        self.name = name
        self.box = QCheckBox(title, self)
        self.box.setToolTip(plain_tip(f"{name}\n{summary}"))
        self.weights = ElidedLabel(parent=self)
        self.weights.setProperty("subtle", True)
        self.browse = QToolButton(self)
        self.browse.setText("…")
        self.browse.setToolTip("Choose a weights file")
        self.browse.setAccessibleName(f"Weights of {title}")
        self.browse.clicked.connect(self._on_browse)
        self._takes_weights = takes_weights
        line = in_row(None, (self.weights, 1), self.browse, margins_px=(20, 0, 0, 0))
        in_column(self, self.box, line, spacing_px=2)

    def show_choice(self, chosen: bool, weights: str) -> None:
        """Show whether it is ticked, and its weights."""
        self.box.setChecked(chosen)
        shown = chosen and self._takes_weights
        words = api.weights_title(Path(weights)) if weights else api.weights_in_use(self.name)
        self.weights.say(words if weights or not words else f"Weights: {words}", weights)
        self.weights.setVisible(shown)
        self.browse.setVisible(shown)

    def _on_browse(self) -> None:
        self.weights_wanted.emit(self.name)


class EvaluationForm(QWidget):
    """Chooses data set, descriptors and protocol."""

    def __init__(
        self, models: AppModels, actions: EvaluationActions, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._model = models.evaluation
        self._choice = models.evaluation.choice
        self._actions = actions
        self.download_dialog: DownloadDialog | None = None
        self._wheel = WheelNeedsFocus(self)
        self._rows: dict[str, _DescriptorRow] = {}
        self._group_names: dict[tuple[str, str], tuple[str, ...]] = {}
        data = self._make_data()
        self._descriptors = Section("Descriptors", self)
        self.waiting = Sentence("Loading the engine…", self._descriptors, quiet=True)
        self._descriptors.body.addWidget(self.waiting)
        sections = (data, self._descriptors, self._make_protocol(), self._make_more())
        lay_out_form(self, sections, self._make_foot())
        self._combos = {
            "dataset": self.dataset,
            "subset": self.subset,
            "stress": self.stress,
            "device": self.device,
        }
        self._wheel.guard(*self._combos.values())
        for combo in self._combos.values():
            combo.activated.connect(self._on_combo)
        self._choice.changed.connect(self._on_choice)
        self._model.estimate.changed.connect(self._on_estimate)
        self._model.shown.changed.connect(self._show_problem)
        models.engine.changed.connect(self._on_engine)
        models.settings.changed.connect(self._on_data)
        models.browser.changed.connect(self._on_data)
        self._on_engine()
        self._on_data()
        self._on_estimate(self._model.estimate.state)

    # Making

    def _make_data(self) -> Section:
        section = Section("Data set", self)
        self.dataset = narrow_combo(section, name="Data set")
        self.browse = icon_button("open-folder", "Choose a folder with pairs", section)
        self.browse.clicked.connect(self._choose_folder)
        section.body.addLayout(field_row(self.dataset, self.browse))
        tip = "Download the 116 sequences"
        (self.download,) = word_buttons(
            section, ("download", "Download HPatches…", tip, self._open_download)
        )
        section.body.addWidget(self.download)
        self.subset = narrow_combo(section, name="Part of the set")
        warps = (
            ("As they are", ""),
            ("Rotated by any angle", "rotated"),
            ("Scaled by 2 to 4", "scaled"),
        )
        tip = "Warp the second image to make the pairs harder"
        self.stress = narrow_combo(section, name="Pairs", tip=tip, entries=warps)
        self.groups = GroupChoice(section)
        self.groups.chosen.connect(lambda ticked: self._choice.update(groups=ticked))
        rows = (("Part", self.subset), ("Groups", self.groups), ("Pairs", self.stress))
        section.body.addLayout(labelled_rows(*rows))
        return section

    def _make_protocol(self) -> Section:
        section = Section("Protocol", self)
        self.protocols = {name: SegmentButton(name, section) for name in _PROTOCOLS}
        for name, button in self.protocols.items():
            button.setAccessibleName(f"Protocol {name}")
        group = QButtonGroup(self)
        section.body.addLayout(segment_row(group, tuple(self.protocols.values())))
        group.buttonClicked.connect(self._on_protocol)
        self.explanation = Sentence(parent=section, quiet=True)
        section.body.addWidget(self.explanation)
        self.device = narrow_combo(section, name="Device")
        section.body.addLayout(labelled_rows(("Device", self.device)))
        return section

    def _make_more(self) -> LateSection:
        options = [info for info in describe_options(EvaluateConfig) if info.name not in IN_FORM]
        self.more = LateSection("More settings", {"": options}, self._adopt_more, self)
        return self.more

    def _adopt_more(self, form: OptionForm) -> None:
        form.set_values(self._choice.state.more)
        form.changed.connect(self._on_more)

    def _make_foot(self) -> RunFoot:
        foot = RunFoot(self)
        self.estimate = Sentence(parent=foot, quiet=True)
        self.problem = Notice("warning", foot)
        self.open_report = QCheckBox("Open the report when done", foot)
        self.open_report.clicked.connect(self._on_open_report)
        for part in (self.estimate, self.problem, self.open_report):
            foot.column.addWidget(part)
        self.run_button, self.copy_button = foot.add_buttons("Run", name="Run the evaluation")
        self.run_button.clicked.connect(self._actions.runs.run)
        self.copy_button.clicked.connect(self._actions.runs.copy_command)
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
                row.box.clicked.connect(self._on_descriptor)
                row.weights_wanted.connect(self._choose_weights)
                self._rows[entry.name] = row
                self._descriptors.body.addWidget(row)
        self.waiting.setVisible(not entries)
        if state.stage == "failed":
            self.waiting.say(state.message)
        list_devices(self.device, state.devices)
        self._on_choice(self._choice.state)

    def _on_data(self, _state: object = None) -> None:
        """List the open data set and the recent ones."""
        dataset = self._models.browser.state.dataset
        folders = [dataset.opened] if dataset is not None else []
        folders += self._models.settings.state.recent_folders
        current = self._choice.state.dataset
        if current != DEMO:
            folders.insert(0, current)
        self.dataset.clear()
        self.dataset.addItem(icon("demo"), "Demo", DEMO)
        add_folders(self.dataset, folders, icon_name="folder")
        show_value(self.dataset, current)
        self.dataset.setToolTip(plain_tip(current))
        self._list_subsets()

    def _list_subsets(self) -> None:
        """Offer the parts of the open set, or those of HPatches for one that is not open."""
        opened, choice = self._models.browser.state.dataset, self._choice.state
        names: tuple[str, ...] = tuple(_HPATCHES_PARTS)
        if opened is not None and choice.dataset == opened.opened:
            is_hpatches = opened.layout == api.HPatchesReader.layout
            names = (*opened.subsets, WITHOUT_LARGE) if is_hpatches else opened.subsets
        if choice.subset not in ("all", *names):
            names = (*names, choice.subset)
        titles = [(_HPATCHES_PARTS.get(name, name), name) for name in names]
        refill(self.subset, [("All", "all"), *titles])

    def _on_choice(self, choice: EvaluationChoice) -> None:
        if self.dataset.currentData() != choice.dataset:
            self._on_data()
        self._list_subsets()
        for setting, combo in self._combos.items():
            show_value(combo, getattr(choice, setting))
        self._show_groups()
        self.protocols[choice.protocol].setChecked(True)
        self.explanation.say(_PROTOCOLS[choice.protocol])
        for name, row in self._rows.items():
            row.show_choice(name in choice.descriptors, choice.weights.get(name, ""))
        self.open_report.setChecked(choice.open_report)
        for form in self.more.forms:
            if form.values() != dict(choice.more):
                form.set_values(choice.more)
        self._show_problem()

    def _on_estimate(self, state: EstimateState) -> None:
        estimate = state.estimate
        if estimate is not None:
            choice = self._choice.state
            self._group_names[choice.dataset, choice.subset] = estimate.groups
            self._show_groups()
            self.estimate.say(
                f"About {clock_text(estimate.seconds)} for {estimate.pairs} pairs, "
                f"and {size_text(estimate.maps_bytes)} for maps."
            )
            self.estimate.setToolTip(
                f"Extrapolated from {estimate.measured} on {estimate.device}. "
                "A network needs more memory while it computes."
            )
        elif state.measuring:
            self.estimate.say("Measuring one pair to estimate the time…")
        else:
            self.estimate.say("Time and memory: not known yet.")
        self._show_problem()

    def _show_groups(self) -> None:
        choice = self._choice.state
        names = self._group_names.get((choice.dataset, choice.subset), ())
        self.groups.show_choice(names, choice.groups)

    def _show_problem(self) -> None:
        """Show why the evaluation cannot run, if it cannot."""
        choice, problem = self._choice.state, self._model.estimate.state.message
        busy = self._model.shown.state.busy
        if not choice.descriptors:
            problem = "Tick at least one descriptor."
        else:
            try:
                choice.config()
            except DescSpaceError as error:
                problem = str(error)
        self.problem.say(problem)
        self.estimate.setVisible(not problem and not busy)
        ready = self._models.engine.state.stage == "ready"
        self.run_button.setEnabled(ready and bool(choice.descriptors) and not busy)
        self.copy_button.setEnabled(bool(choice.descriptors))

    # What the user does

    def _on_combo(self) -> None:
        """Choose what the combo boxes show; one shows nothing while the engine is loading."""
        values = {
            setting: combo.currentData()
            for setting, combo in self._combos.items()
            if combo.currentIndex() >= 0
        }
        choice = self._choice.state
        whole = ("dataset", "subset")
        if any(values.get(name, getattr(choice, name)) != getattr(choice, name) for name in whole):
            values["groups"] = ()  # another set, or another part of it, has other groups
        self._choice.update(**values)

    def _on_protocol(self, button: SegmentButton) -> None:
        self._choice.update(protocol=button.text())

    def _on_descriptor(self) -> None:
        ticked = tuple(name for name, row in self._rows.items() if row.box.isChecked())
        self._choice.update(descriptors=ticked)

    def _on_more(self, values: dict[str, Any]) -> None:
        self._choice.update(more=MappingProxyType(values))

    def _on_open_report(self, on: bool) -> None:
        self._choice.update(open_report=on)

    def _choose_folder(self) -> None:
        folder = dialogs.ask_folder(self.window(), self._models.pair.folder)
        if folder is not None:
            self._actions.data.use_folder(folder)

    def _choose_weights(self, descriptor: str) -> None:
        folder, title = self._models.pair.folder, f"Weights of {descriptor}"
        file = dialogs.ask_file(self.window(), title, folder, _WEIGHTS)
        if file is not None:
            weights = {**self._choice.state.weights, descriptor: str(file)}
            self._choice.update(weights=MappingProxyType(weights))

    def _open_download(self) -> None:
        if self.download_dialog is None:
            self.download_dialog = DownloadDialog(self._model.download, self._actions.data, self)
            self.download_dialog.folder_button.clicked.connect(self._choose_folder)
        self.download_dialog.show()
        self.download_dialog.raise_()
