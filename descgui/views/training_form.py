"""The form where a training is put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QLabel, QLineEdit, QWidget

from descgui.models.bundle import AppModels
from descgui.models.training_state import (
    PRESETS,
    Preset,
    SamplesState,
    TrainingChoice,
    TrainingStatus,
    name_problem,
    preset_values,
)
from descgui.views import dialogs
from descgui.views.form import OptionForm, plain_value
from descgui.views.panel_parts import (
    Notice,
    Section,
    Sentence,
    WheelNeedsFocus,
    field_row,
    icon_button,
    labelled_rows,
    narrow_combo,
    show_value,
)
from descgui.views.run_parts import RunFoot, add_folders, lay_out_form, list_devices
from descgui.views.training_actions import TrainingActions
from descgui.views.words import counted
from engine.api import (
    DescSpaceError,
    OptionInfo,
    TrainSettings,
    describe_options,
    is_training_run,
    unused_dir,
)

_PREFIX = "train."
_TOOLTIP = Qt.ItemDataRole.ToolTipRole
_IN_FORM = ("photos.folder",)
_COMMON = (*("steps", "batch", "width", "height", "optimiser.rate", "loss.kind", "mining.kind"),)


@dataclass(frozen=True, slots=True)
class _Titled(OptionInfo):
    """A setting that stands apart from its section and needs another title."""

    title: str = ""

    @property
    def label(self) -> str:
        """The title."""
        return self.title


def training_options() -> dict[str, OptionInfo]:
    """All settings of a training by dotted name, in order of declaration; sections come last."""
    return {
        info.name: replace(info, name=_PREFIX + info.name)
        for info in describe_options(TrainSettings, sections=True)
    }


class _LateSection(Section):
    """A section whose forms are made when it is first opened: they are many.

    Signals:
        opened(): the forms are there now.
    """

    opened = Signal()

    def __init__(
        self, title: str, groups: Mapping[str, tuple[OptionInfo, ...]], parent: QWidget
    ) -> None:
        super().__init__(title, parent, open_=False)
        self._groups = groups
        self.forms: tuple[OptionForm, ...] = ()
        self.names = tuple(info.name for group in groups.values() for info in group)
        self.heading.toggled.connect(self._make)

    def _make(self, shown: bool) -> None:
        if not shown or self.forms:
            return
        forms = []
        for title, options in self._groups.items():
            if title:
                label = QLabel(title, self.content)
                label.setProperty("subtle", True)
                self.body.addWidget(label)
            form = OptionForm(options, parent=self.content)
            self.body.addWidget(form)
            forms.append(form)
        self.forms = tuple(forms)
        self.opened.emit()


class TrainingForm(QWidget):
    """What is trained, on what photos, and how."""

    def __init__(
        self, models: AppModels, actions: TrainingActions, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._actions = actions
        self._model = models.training
        self._wheel = WheelNeedsFocus(self)
        self._options = training_options()
        self._preset: Preset | None = None
        self.own: OptionForm | None = None
        self._own_options: tuple[OptionInfo, ...] = ()
        first = (self._make_photos(), self._make_model(), self._make_settings())
        self.network = Section("Network", self, open_=False)
        self.late = self._make_late()
        lay_out_form(self, (*first, self.network, *self.late), self._make_foot())
        self._model.choice.changed.connect(self._on_choice)
        self._model.samples.changed.connect(self._on_samples)
        self._model.status.changed.connect(self._on_status)
        models.engine.changed.connect(self._on_engine)
        models.settings.changed.connect(self._on_folders)
        self._on_engine()
        self._on_folders()
        self._on_samples(self._model.samples.state)

    # Making

    def _make_photos(self) -> Section:
        section = Section("Photos", self)
        self.folder = narrow_combo(section, name="Folder of photos")
        self.folder.setPlaceholderText("Choose or drop a folder")
        self.folder.activated.connect(self._on_folder)
        self.browse = icon_button("open-folder", "Choose a folder of photos", section)
        self.browse.clicked.connect(self._on_browse)
        self.again = icon_button(
            "refresh",
            "Count the photos and make pairs again",
            section,
            name="Look at the photos again",
        )
        self.again.clicked.connect(self._actions.look_again)
        section.body.addLayout(field_row(self.folder, self.browse, self.again))
        self.count = Sentence(parent=section, quiet=True)
        section.body.addWidget(self.count)
        self.photo_problems = Notice("warning", section)
        section.body.addWidget(self.photo_problems)
        return section

    def _make_model(self) -> Section:
        section = Section("Model", self)
        self.descriptor = narrow_combo(section, name="Descriptor to train")
        self.descriptor.activated.connect(self._on_descriptor)
        self.device = narrow_combo(section, name="Device")
        self.device.activated.connect(self._on_device)
        self.name = QLineEdit(section)
        self.name.setAccessibleName("Name of the run")
        self.name.setPlaceholderText("date and time")
        self.name.setToolTip("The run's folder is called like this")
        self.name.setMinimumWidth(48)
        self.name.textEdited.connect(self._on_name)
        self._wheel.guard(self.folder, self.descriptor, self.device)
        section.body.addLayout(
            labelled_rows(
                ("Network", self.descriptor),
                ("Device", self.device),
                ("Run name", self.name),
            )
        )
        return section

    def _make_settings(self) -> Section:
        section = Section("Settings", self)
        titles = {
            "quick": "Quick try",
            "msnet_v0": "Original recipe",
            "strong": "Strong",
        }
        entries = [(titles[preset], preset) for preset in PRESETS]
        self.preset = narrow_combo(section, name="Preset", entries=entries)
        self.preset.activated.connect(self._on_preset)
        self._wheel.guard(self.preset)
        section.body.addLayout(labelled_rows(("Preset", self.preset)))
        self.explanation = Sentence(parent=section, quiet=True)
        section.body.addWidget(self.explanation)
        self.changed = Sentence(parent=section)
        self.undo = icon_button("reset", "Back to the preset's settings", section)
        self.undo.clicked.connect(self._on_undo)
        section.body.addLayout(field_row(self.changed, self.undo))
        titles = {
            "optimiser.rate": "Learning rate",
            "loss.kind": "Loss",
            "mining.kind": "Mining",
        }
        common = []
        for name in _COMMON:
            info = self._options[name]
            if name in titles:
                values = {field.name: getattr(info, field.name) for field in fields(OptionInfo)}
                info = _Titled(**values, title=titles[name])
            common.append(info)
        self.common = OptionForm(tuple(common), parent=section.content)
        self.common.changed.connect(self._on_edited)
        section.body.addWidget(self.common)
        return section

    def _make_late(self) -> tuple[_LateSection, ...]:
        """Sections for all that is not among the common settings."""
        groups: dict[str, list[OptionInfo]] = {}
        for name, info in self._options.items():
            if name not in (*_COMMON, *_IN_FORM):
                groups.setdefault(name.rpartition(".")[0], []).append(info)
        warp, light = groups.pop("warp"), groups.pop("light")
        titles = {
            "": "",
            "photos": "Photos",
            "mining": "Mining",
            "loss": "Loss",
            "optimiser": "Optimiser",
            "validation": "Validation",
            "saving": "Saving and log",
        }
        others = {titles.get(key, key.capitalize()): tuple(some) for key, some in groups.items()}
        made = (
            _LateSection("Warp", {"": tuple(warp)}, self),
            _LateSection("Light", {"": tuple(light)}, self),
            _LateSection("All other settings", others, self),
        )
        for section in made:
            section.opened.connect(self._on_opened)
        return made

    def _make_foot(self) -> RunFoot:
        foot = RunFoot(self)
        self.problem = Notice("warning", foot)
        foot.column.addWidget(self.problem)
        self.start_button, self.copy_button = foot.add_buttons("Start", name="Start the training")
        self.start_button.clicked.connect(self._on_start)
        self.copy_button.clicked.connect(self._actions.copy_command)
        return foot

    # Drawing the models

    def _on_engine(self, _state: object = None) -> None:
        state = self._models.engine.state
        entries = [entry for entry in state.descriptors if entry.takes_weights]
        with QSignalBlocker(self.descriptor):
            self.descriptor.clear()
            for entry in entries:
                self.descriptor.addItem(entry.title, entry.name)
                place = self.descriptor.count() - 1
                self.descriptor.setItemData(place, f"{entry.name}\n{entry.summary}", _TOOLTIP)
        list_devices(self.device, state.devices)
        waiting = state.message if state.stage == "failed" else "Loading the engine…"
        self.descriptor.setPlaceholderText(waiting)
        self._on_choice(self._model.choice.state)

    def _on_folders(self, _settings: object = None) -> None:
        """List the folders of photos that were used before."""
        current = self._model.choice.state.folder
        folders = [current] if current else []
        folders += self._models.settings.state.recent_photos
        with QSignalBlocker(self.folder):
            self.folder.clear()
            add_folders(self.folder, folders)
            self.folder.setCurrentIndex(self.folder.findData(current) if current else -1)
        self.folder.setToolTip(current)

    def _on_choice(self, choice: TrainingChoice) -> None:
        if (self.folder.currentData() or "") != choice.folder:
            self._on_folders()
        for combo, value in (
            (self.descriptor, choice.descriptor),
            (self.device, choice.device),
            (self.preset, choice.preset),
        ):
            show_value(combo, value)
        if self.name.text() != choice.name:
            self.name.setText(choice.name)
        self.explanation.say(self._explain(choice.preset))
        self._fill_forms(choice)
        self._show_own(choice)
        number = len(choice.changes)
        self.changed.say(
            counted(
                number,
                "Changed from the preset: 1 setting.",
                "Changed from the preset: {n} settings.",
            )
        )
        self.changed.setVisible(bool(number))
        self.undo.setVisible(bool(number))
        self._on_samples(self._model.samples.state)

    def _show_own(self, choice: TrainingChoice) -> None:
        """Show the network's own settings, such as the weights to begin with."""
        entry = self._models.engine.state.descriptor(choice.descriptor)
        options = () if entry is None else entry.options
        if options != self._own_options:
            self._own_options = options
            if self.own is not None:
                self.own.hide()
                self.own.deleteLater()
            self.own = OptionForm(options, parent=self.network.content)
            self.own.changed.connect(self._on_own)
            self.network.body.addWidget(self.own)
        self.network.setVisible(bool(options))
        if self.own is not None and self.own.values() != dict(choice.own):
            self.own.set_values(choice.own)

    def _fill_forms(self, choice: TrainingChoice) -> None:
        """Show the preset's settings with what was changed, in the forms that are there."""
        if choice.preset != self._preset:
            self._preset = choice.preset
            self._set_defaults(self._forms)
        wanted = {_PREFIX + name: value for name, value in choice.changes.items()}
        for form in self._forms:
            mine = {name: value for name, value in wanted.items() if name in form.names}
            if form.values() != mine:
                form.set_values(mine)

    def _set_defaults(self, forms: tuple[OptionForm, ...]) -> None:
        try:
            values = preset_values(self._model.choice.state.preset)
        except DescSpaceError:
            values = {}  # `_show_problem` says it
        for form in forms:
            form.set_defaults({_PREFIX + name: plain_value(v) for name, v in values.items()})

    @property
    def _forms(self) -> tuple[OptionForm, ...]:
        return (self.common, *(form for section in self.late for form in section.forms))

    def _on_opened(self) -> None:
        """Fill the forms of a section that was opened for the first time."""
        section = self.sender()
        assert isinstance(section, _LateSection)
        self._set_defaults(section.forms)
        for form in section.forms:
            form.set_values({})
            form.changed.connect(self._on_edited)
        self._fill_forms(self._model.choice.state)

    def _on_samples(self, state: SamplesState) -> None:
        found = state.found
        self.again.setEnabled(bool(self._model.choice.state.folder) and not state.looking)
        problem = state.message
        if not self._model.choice.state.folder:
            self.count.say("Any folder of photos will do, also COCO's.")
        elif state.looking and found is None:
            self.count.say("Looking at the photos…")
        elif found is not None:
            self.count.say(
                f"{found.training:,} photos to train on, "
                f"{found.validation:,} kept apart for validation."
            )
            problem = problem or counted(
                len(found.problems),
                "1 picture is left out, it cannot be used.",
                "{n} pictures are left out, they cannot be used.",
            ) * bool(found.problems)
            self.photo_problems.setToolTip("\n".join(found.problems[:20]))
        else:
            self.count.say("")
        self.count.setVisible(bool(self.count.sentence))
        self.photo_problems.say(problem)
        self._show_problem()

    def _on_status(self, _status: TrainingStatus) -> None:
        self._show_problem()

    def _show_problem(self) -> None:
        """Say what is in the way of a start, if anything is."""
        choice, busy = self._model.choice.state, self._model.status.state.busy
        problem = name_problem(choice.name)
        if not problem and choice.folder:
            try:
                choice.config()
            except DescSpaceError as error:
                problem = str(error)
        if not problem and busy:
            self.problem.say("")
        else:
            self.problem.say(problem)
        ready = self._models.engine.state.stage == "ready"
        usable = bool(choice.folder) and not problem and not self._model.samples.state.message
        self.start_button.setEnabled(ready and usable and not busy)
        self.start_button.setToolTip(
            "One training at a time: stop the one under way first"
            if busy
            else ""
            if choice.folder
            else "Choose a folder of photos first"
        )
        self.copy_button.setEnabled(bool(choice.folder) and not problem)

    def _explain(self, preset: str) -> str:
        return {
            "quick": "A small network input and few steps: minutes on a CPU, to see it work.",
            "msnet_v0": (
                "As the original was trained: mild warps, hard negatives, one pair a step; days."
            ),
            "strong": "Large turns and scales, local light and shadows, a loss over all points.",
        }[preset]

    # What a person does

    def _on_folder(self, index: int) -> None:
        self._actions.use_folder(Path(self.folder.itemData(index)))

    def _on_browse(self) -> None:
        start = Path(self._model.choice.state.folder or Path.home())
        folder = dialogs.ask_folder(self.window(), start, "Folder of photos to train on")
        if folder is not None:
            self._actions.use_folder(folder)

    def _on_start(self) -> None:
        """Start; a run that has the chosen name already is asked about."""
        taken = self._actions.start()
        if taken is None:
            return
        proposal = unused_dir(taken).name
        answer = dialogs.ask_taken_run(
            self.window(), taken.name, proposal=proposal, can_resume=is_training_run(taken)
        )
        if answer == "new":
            self._actions.start_as(proposal)
        elif answer == "resume":
            self._actions.resume_chosen(taken)

    def _on_descriptor(self, index: int) -> None:
        name = self.descriptor.itemData(index)
        if name != self._model.choice.state.descriptor:
            self._model.choice.update(descriptor=name, own=MappingProxyType({}))

    def _on_own(self, values: dict[str, Any]) -> None:
        self._model.choice.update(own=MappingProxyType(values))

    def _on_device(self, index: int) -> None:
        self._model.choice.update(device=self.device.itemData(index))

    def _on_name(self, text: str) -> None:
        self._model.choice.update(name=text)

    def _on_preset(self, index: int) -> None:
        self._model.choice.update(preset=self.preset.itemData(index), changes=MappingProxyType({}))

    def _on_undo(self) -> None:
        self._model.choice.update(changes=MappingProxyType({}))

    def _on_edited(self, _values: Mapping[str, Any]) -> None:
        shown = {name for form in self._forms for name in form.names}
        changes = {
            name: value
            for name, value in self._model.choice.state.changes.items()
            if _PREFIX + name not in shown  # of a section that was not opened yet
        }
        for form in self._forms:
            changes |= {name.removeprefix(_PREFIX): v for name, v in form.values().items()}
        self._model.choice.update(changes=MappingProxyType(changes))
