"""The form where a training is put together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QLineEdit, QWidget

from descgui.models.bundle import AppModels
from descgui.models.training_state import (
    EXTRA_PAIRS,
    PRESETS,
    SamplesState,
    TrainingChoice,
    name_problem,
    preset_descriptor,
    preset_own,
    preset_values,
)
from descgui.views import dialogs
from descgui.views.form import LateSection, OptionForm, plain_value
from descgui.views.panel_parts import (
    Notice,
    Section,
    Sentence,
    WheelNeedsFocus,
    field_row,
    icon_button,
    labelled_rows,
    narrow_combo,
    plain_tip,
    refill,
    show_value,
)
from descgui.views.run_parts import RunFoot, add_folders, lay_out_form, list_devices
from descgui.views.training_actions import TrainingActions
from descgui.views.words import counted
from engine import api
from engine.api import (
    DescSpaceError,
    OptionInfo,
    TrainConfig,
    describe_options,
    unused_dir,
)

_COMMON = tuple(
    f"train.{name}"
    for name in ["steps", "batch", "width", "height", "optimiser.rate", "loss.kind", "mining.kind"]
)
_TOOLTIP = Qt.ItemDataRole.ToolTipRole
_PHOTOS = "train.photos.folder"
_EXTRA = "train.extra."
_EXTRA_PLACES = (EXTRA_PAIRS, f"{_EXTRA}dataset")
_PRESETS = {
    "quick": (
        "Quick try",
        "A small network input and few steps: minutes on a CPU, to see it work.",
    ),
    "msnet_v0": (
        "Original recipe",
        "As the original was trained: mild warps, hard negatives, one pair a step; days.",
    ),
    "strong": (
        "Strong",
        "Large turns and scales, local light and shadows, a loss over all points.",
    ),
    "fine_tune": (
        "Fine-tune",
        "From good weights on, at a low rate: for learning from extra pairs, in few steps.",
    ),
}


def training_options() -> dict[str, OptionInfo]:
    """All settings of a training by dotted name, in order of declaration; sections come last."""
    options = describe_options(TrainConfig, sections=True)
    return {info.name: info for info in options if info.name.startswith("train.")}


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
        self.own: OptionForm | None = None
        self._own_options: tuple[OptionInfo, ...] = ()
        photos, self.extra = self._make_photos(), self._make_extra()
        first = (photos, self.extra, self._make_model(), self._make_settings())
        self.network = Section("Network", self, open_=False)
        self.late = self._make_late()
        lay_out_form(self, (*first, self.network, *self.late), self._make_foot())
        self._model.choice.changed.connect(self._on_choice)
        self._model.samples.changed.connect(self._on_samples)
        self._model.status.changed.connect(self._show_problem)
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
        again = "Count the photos and make pairs again"
        self.again = icon_button("refresh", again, section, name="Read the photos again")
        self.again.clicked.connect(self._actions.read_photos)
        section.body.addLayout(field_row(self.folder, self.browse, self.again))
        self.count = Sentence(parent=section, quiet=True)
        section.body.addWidget(self.count)
        self.photo_problems = Notice("warning", section)
        section.body.addWidget(self.photo_problems)
        return section

    def _make_extra(self) -> LateSection:
        """Pairs with truth that are learned from beside those made of photos."""
        options = [info for name, info in self._options.items() if name.startswith(_EXTRA)]
        section = LateSection("Extra pairs", {"": options}, self._adopt, self)
        self.learned = Notice("warning", section)
        section.body.addWidget(self.learned)
        return section

    def _make_model(self) -> Section:
        section = Section("Model", self)
        self.descriptor = narrow_combo(section, name="Descriptor to train")
        self.descriptor.activated.connect(self._on_descriptor)
        self.device = narrow_combo(section, name="Device")
        self.device.activated.connect(
            lambda index: self._model.choice.update(device=self.device.itemData(index))
        )
        self.name = QLineEdit(section)
        self.name.setAccessibleName("Name of the run")
        self.name.setPlaceholderText("date and time")
        self.name.setToolTip("Name of the run's folder")
        self.name.setMinimumWidth(48)
        self.name.textEdited.connect(lambda text: self._model.choice.update(name=text))
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
        entries = [(_PRESETS[preset][0], preset) for preset in PRESETS]
        self.preset = narrow_combo(section, name="Preset", entries=entries)
        self.preset.activated.connect(self._on_preset)
        self._wheel.guard(self.preset)
        section.body.addLayout(labelled_rows(("Preset", self.preset)))
        self.explanation = Sentence(parent=section, quiet=True)
        section.body.addWidget(self.explanation)
        self.changed = Sentence(parent=section)
        self.undo = icon_button("reset", "Back to the preset's settings", section)
        self.undo.clicked.connect(lambda: self._model.choice.update(changes=MappingProxyType({})))
        section.body.addLayout(field_row(self.changed, self.undo))
        self.common = OptionForm(tuple(self._options[name] for name in _COMMON), parent=section)
        self._adopt(self.common)
        section.body.addWidget(self.common)
        return section

    def _make_late(self) -> tuple[LateSection, ...]:
        """Sections for all that is not among the common settings."""
        groups: dict[str, list[OptionInfo]] = {}
        for name, info in self._options.items():
            if name not in (*_COMMON, _PHOTOS) and not name.startswith(_EXTRA):
                groups.setdefault(name.split(".")[-2], []).append(info)
        warp, light = groups.pop("warp"), groups.pop("light")
        titles = {"train": "", "saving": "Saving and log"}
        others = {titles.get(key, key.capitalize()): some for key, some in groups.items()}
        return (
            LateSection("Warp", {"": warp}, self._adopt, self),
            LateSection("Light", {"": light}, self._adopt, self),
            LateSection("All other settings", others, self._adopt, self),
        )

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
        refill(self.descriptor, [(entry.title, entry.name) for entry in entries])
        for place, entry in enumerate(entries):
            self.descriptor.setItemData(place, f"{entry.name}\n{entry.summary}", _TOOLTIP)
        list_devices(self.device, state.devices)
        waiting = state.message if state.stage == "failed" else "Loading the engine…"
        self.descriptor.setPlaceholderText(waiting)
        self._on_choice(self._model.choice.state)

    def _on_folders(self, _settings: object = None) -> None:
        """List the folders of photos that were used before."""
        current = self._folder
        folders = [current] if current else []
        folders += self._models.settings.state.recent_photos
        with QSignalBlocker(self.folder):
            self.folder.clear()
            add_folders(self.folder, folders)
            self.folder.setCurrentIndex(self.folder.findData(current) if current else -1)
        self.folder.setToolTip(plain_tip(current))

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
        self.explanation.say(_PRESETS[choice.preset][1])
        if choice.changes.get(EXTRA_PAIRS):
            self.extra.heading.setChecked(True)
        for form in self._forms:
            self._fill(form)
        self._show_own(choice)
        number = len(choice.changes)
        one, many = "1 setting differs", "{n} settings differ"
        self.changed.say(f"{counted(number, one, many)} from the preset.")
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
                self.own.remove()
            self.own = OptionForm(options, parent=self.network.content)
            self.own.changed.connect(self._on_own)
            self.network.body.addWidget(self.own)
        self.network.setVisible(bool(options))
        scratch = {}
        if self.own is not None and "untrained" in self.own.names:
            # A training starts from random numbers where no file is named, shipped weights or not.
            scratch = {"untrained": choice.own.get("untrained", "weights" not in choice.own)}
            self.own.set_defaults({"untrained": "weights" not in choice.own})
        if self.own is not None and self.own.values() != dict(choice.own):
            self.own.set_values(choice.own)
        if self.own is not None and "weights" in self.own.names:
            self.own.say_empty("weights", api.weights_in_use(choice.descriptor, scratch))

    def _adopt(self, form: OptionForm) -> None:
        """Show the settings in a form that was just made."""
        self._fill(form)
        form.changed.connect(self._on_edited)

    def _fill(self, form: OptionForm) -> None:
        """Show the preset's settings with what was changed."""
        choice = self._model.choice.state
        try:
            defaults = preset_values(choice.preset)
        except DescSpaceError:
            defaults = {}  # `_show_problem` reports it
        form.set_defaults({name: plain_value(value) for name, value in defaults.items()})
        mine = {name: value for name, value in choice.changes.items() if name in form.names}
        if form.values() != mine:
            form.set_values(mine)

    @property
    def _forms(self) -> tuple[OptionForm, ...]:
        late = (self.extra, *self.late)
        return (self.common, *(form for section in late for form in section.forms))

    def _on_samples(self, state: SamplesState) -> None:
        found, folder, problem, count = state.found, self._folder, state.message, ""
        self.again.setEnabled(bool(folder) and not state.reading)
        if not folder:
            count = "Any folder of photos will do, also COCO's."
        elif found is not None:
            count = (
                f"{found.training:,} photos to train on, "
                f"{found.validation:,} kept apart for validation."
            )
            if found.problems and not problem:
                one, many = "1 picture is", "{n} pictures are"
                problem = f"{counted(len(found.problems), one, many)} left out as unusable."
            self.photo_problems.setToolTip(plain_tip("\n".join(found.problems[:20])))
        elif state.reading:
            count = "Reading the photos…"
        self.count.say(count)
        self.count.setVisible(bool(self.count.sentence))
        self.photo_problems.say(problem)
        self.learned.say("" if found is None else found.extra)
        self._show_problem()

    @property
    def _folder(self) -> str:
        return self._model.choice.state.folder

    def _show_problem(self, _status: object = None) -> None:
        """Say what prevents a start, if anything does."""
        choice, busy = self._model.choice.state, self._model.status.state.busy
        problem = name_problem(choice.name)
        if not problem and choice.folder:
            try:
                choice.config()
            except DescSpaceError as error:
                problem = str(error)
        self.problem.say(problem)
        ready = self._models.engine.state.stage == "ready"
        usable = bool(choice.folder) and not problem
        startable = ready and usable and not busy and not self._model.samples.state.message
        self.start_button.setEnabled(startable)
        tip = "" if choice.folder else "Choose a folder of photos first"
        running = "Only one training can run at a time: stop the running one first"
        self.start_button.setToolTip(running if busy else tip)
        self.copy_button.setEnabled(usable)

    # What users do

    def _on_folder(self, index: int) -> None:
        self._actions.use_folder(Path(self.folder.itemData(index)))

    def _on_browse(self) -> None:
        start = Path(self._folder or Path.home())
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
            self.window(), taken.name, proposal=proposal, can_resume=api.is_training_run(taken)
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

    def _on_preset(self, index: int) -> None:
        """Take the preset's settings, and the network that it is for; extra pairs stay chosen."""
        preset, choice = self.preset.itemData(index), self._model.choice
        pairs = {name: v for name, v in choice.state.changes.items() if name in _EXTRA_PLACES}
        changes: dict[str, Any] = {"preset": preset, "changes": MappingProxyType(pairs)}
        suited = preset_descriptor(preset)
        offered = self.descriptor.findData(suited) >= 0
        own = preset_own(preset)
        if preset != choice.state.preset and offered:
            if suited != choice.state.descriptor:
                changes |= {"descriptor": suited, "own": own}
            elif own != preset_own(choice.state.preset):
                kept = {n: v for n, v in choice.state.own.items() if n == "weights"}
                changes["own"] = MappingProxyType({**own, **kept})
        choice.update(**changes)

    def _on_edited(self, _values: Mapping[str, Any]) -> None:
        changes = dict(self._model.choice.state.changes)
        for form in self._forms:  # settings of a section that was not opened yet stay
            changes = {name: v for name, v in changes.items() if name not in form.names}
            changes |= form.values()
        self._model.choice.update(changes=MappingProxyType(changes))
