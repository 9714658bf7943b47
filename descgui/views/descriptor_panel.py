"""The side panel where a descriptor is chosen, set and compared."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QLabel,
    QPushButton,
    QWidget,
)

from descgui.desktop import open_page
from descgui.models.bundle import AppModels
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.models.maps_state import DescriptorChoice, MapsModel, MapStatus
from descgui.models.networks_state import same_network
from descgui.models.settings import PRECISION_TITLES, Settings
from descgui.views import dialogs
from descgui.views.descriptor_list import DescriptorDelegate, fill, grouped, widen
from descgui.views.form import NumberBox, OptionForm
from descgui.views.layer_slider import LayerSlider
from descgui.views.panel_parts import (
    ElidedLabel,
    Notice,
    PanelScroll,
    Section,
    Sentence,
    ThinBar,
    WheelNeedsFocus,
    in_column,
    in_row,
    labelled_rows,
    narrow_combo,
    refill,
    show_value,
    tabular,
    word_buttons,
)
from descgui.views.ports import Describing, Files
from descgui.views.words import duration_text, size_text
from engine import api
from engine.api import (
    PRECOMPUTED,
    SIDES,
    OptionInfo,
    Side,
)

_OPEN_NETWORK = "Open network…"
_LONG_EDGE = OptionInfo(
    name="long_edge_px",
    kind="int",
    default=640,
    help="images are shrunk to this long edge before they are described",
    unit="px",
    low=32,
    high=8192,
    optional=True,
)


def failure_of(status: MapStatus) -> str:
    """Why an image could not be described, "" where it could."""
    return status.message if status.stage == "failed" else ""


class SideStatus(QWidget):
    """How far the maps of one image are: two lines, and a bar while they are awaited."""

    def __init__(self, side: Side, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._side = side
        letter = QLabel(side.upper(), self)
        letter.setProperty("heading", True)
        letter.setAlignment(Qt.AlignmentFlag.AlignTop)
        letter.setFixedWidth(letter.fontMetrics().horizontalAdvance("M") + 4)
        self.first = ElidedLabel(parent=self)
        self.second = ElidedLabel(parent=self)
        self.second.setProperty("subtle", True)
        for line in (self.first, self.second):
            line.setFont(tabular(line.font()))
        self.bar = ThinBar(self)
        self.bar.setAccessibleName(f"Describing image {side.upper()}")
        self.failure = Notice("error", self)
        self.notes = Notice("info", self)
        lines = in_column(None, self.first, self.second, self.bar, spacing_px=1)
        head = in_row(None, letter, (lines, 1), spacing_px=4)
        in_column(self, head, self.failure, self.notes, spacing_px=3)
        self.show_status(MapStatus())

    def show_status(self, status: MapStatus) -> None:
        """Draw a status."""
        info = status.info if status.stage == "ready" else None
        working = status.stage in ("waiting", "computing")
        self.first.say(self._first_line(status))
        facts = details = ""
        if info is not None:
            stride, took = f"stride {info.stride_px:.3g} px", duration_text(info.seconds)
            facts = " · ".join((stride, took, size_text(info.size_bytes), info.device))
            details = "{}\nThe file has {} × {} px; it was described at {} × {} px.".format(
                facts, *info.size_px, *info.working_size_px
            )
        self.second.say(facts, details)
        self.second.setVisible(not working and status.stage != "failed")
        self.bar.setVisible(working)
        # Hatching while the work only waits would suggest that it is running.
        computing, fraction = status.stage == "computing", status.fraction
        total = 1000 if computing and fraction is not None else 0
        self.bar.show_done(round(1000 * (fraction or 0.0)), total, waiting=computing)
        self.failure.say(failure_of(status))
        self.notes.say("\n".join(info.notes) if info is not None else "")
        self.setAccessibleName(
            f"Image {self._side.upper()}: {' '.join((self.first.text(), self.second.text()))}"
        )

    def _first_line(self, status: MapStatus) -> str:
        info = status.info
        if status.stage == "ready" and info is not None:
            facts = ["{} × {} cells".format(*info.cells), f"{info.dim}-d"]
            if info.levels > 1:
                facts.append(f"{info.levels} levels")
            return " · ".join(facts)
        if status.stage == "computing":
            words = (status.phase or "describing").capitalize()
            done = "" if status.fraction is None else f" {round(100 * status.fraction)} %"
            return f"{words}…{done}"
        return {
            "none": "Not described",
            "waiting": "Waiting…",
            "ready": "Ready",
            "failed": "Not described",
        }[status.stage]


class MissingWeights(QWidget):
    """Says once that a descriptor needs its authors' weights, where they are, and takes their file.

    Args:
        open_page: opens a web page.
        choose: asks for the file.
        parent: what it belongs to.
    """

    def __init__(
        self, open_page: Callable[[str], None], choose: Callable[[], None], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self.notice = Notice("warning", self)
        self.page = QLabel(self)
        self.page.setTextFormat(Qt.TextFormat.RichText)
        self.page.setTextInteractionFlags(
            Qt.TextInteractionFlag.LinksAccessibleByMouse
            | Qt.TextInteractionFlag.LinksAccessibleByKeyboard
        )
        self.page.linkActivated.connect(open_page)
        self.choose = QPushButton("Choose &file…", self)
        self.choose.setToolTip("Choose the weights file that you have downloaded")
        self.choose.clicked.connect(choose)
        foot = in_row(None, self.choose, self.page, 1, spacing_px=10)
        in_column(self, self.notice, foot, spacing_px=6)
        self.hide()

    def show_missing(self, title: str, address: str) -> None:
        """Say it of a descriptor; an empty address hides everything."""
        if address:
            self.notice.say(
                f"{title} needs its authors' weights, which may not be shipped with this program."
            )
            self.page.setText(f'<a href="{html.escape(address)}">Where to get them</a>')
            self.page.setToolTip(address)
        self.setVisible(bool(address))


class DescriptorChooser(QWidget):
    """A descriptor and its settings; one for the shown descriptor, one for each beside it.

    Signals:
        network_requested(MapsModel): another network is to be opened for it.
    """

    network_requested = Signal(object)

    def __init__(
        self,
        models: AppModels,
        maps: MapsModel,
        describing: Describing,
        files: Files,
        *,
        title: str,
        none_title: str,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._describing = describing
        self._files = files
        self._maps = maps
        self._none_title = none_title
        self._values: dict[str, Mapping[str, Any]] = {}
        self._map_files: tuple[api.ImagePair, tuple[Path, Path]] | None = None
        self._wheel = WheelNeedsFocus(self)
        self.combo = narrow_combo(self, name=title, chosen=self._on_activated)
        self._wheel.guard(self.combo)
        self.summary = Sentence(parent=self, quiet=True)
        self.form: OptionForm | None = None
        self._shown_info: DescriptorChoiceInfo | None = None
        self._network: tuple[str, api.NetworkInfo] | None = None
        self.layers = LayerSlider(self)
        self.layers.layer_chosen.connect(self._on_layer)
        self.combo.setItemDelegate(DescriptorDelegate(self.combo))
        models.times.changed.connect(self._on_time)
        maps.preparing_changed.connect(self.layers.show_preparing)
        self.settings = Section("Settings", self)
        self.untrained = Notice("warning", self)
        self.sides: dict[Side, SideStatus] = {side: SideStatus(side, self) for side in SIDES}
        self.vote = Sentence(parent=self, quiet=True)
        self.weak_vote = Notice("warning", self)
        layout = in_column(
            self, self.combo, self.summary, self.untrained, self.layers, self.settings
        )
        for status in self.sides.values():
            layout.addWidget(status)
        layout.addWidget(self.vote)
        layout.addWidget(self.weak_vote)
        self.failure = Notice("error", self)
        layout.addWidget(self.failure)
        self.missing = MissingWeights(
            partial(open_page, messages=models.messages), self._choose_weights, self
        )
        layout.insertWidget(layout.indexOf(self.summary) + 1, self.missing)
        maps.choice_changed.connect(self._on_choice)
        maps.status_changed.connect(self._on_status)
        models.engine.changed.connect(self._on_engine)
        self._on_engine(models.engine.state)
        for side in SIDES:
            self._on_status(side, maps.status(side))

    def _on_time(self, _name: str) -> None:
        if not self.combo.view().isVisible():  # a list must not change while someone reads it
            self._on_engine(self._models.engine.state)

    def _on_engine(self, state: EngineState) -> None:
        self.combo.clear()
        if self._none_title:
            self.combo.addItem(self._none_title, "")
        times = self._models.times
        fill(self.combo, grouped(state, times, self._weights_of), times)
        if state.descriptors:
            self.combo.insertSeparator(self.combo.count())
        self.combo.addItem(_OPEN_NETWORK, _OPEN_NETWORK)
        nothing = self._none_title or "Choose a descriptor"
        self.combo.setPlaceholderText(
            "Loading the engine…" if state.stage == "loading" else nothing
        )
        self.combo.setEnabled(state.stage == "ready")
        widen(self.combo)
        self._on_choice(self._maps.choice)

    def _weights_of(self, name: str) -> Any:
        """The weights file that was chosen for a descriptor in this place, if any."""
        current = self._maps.choice
        values = current.values if name == current.name else self._values.get(name, {})
        return values.get("weights")

    def _on_choice(self, choice: DescriptorChoice) -> None:
        state = self._models.engine.state
        info = state.descriptor(choice.name)
        show_value(self.combo, choice.name if state.stage == "ready" else None)
        if choice.name:
            self._values[choice.name] = choice.values
        pair = self._models.pair.state
        if choice.map_files is not None and pair is not None:
            self._map_files = (pair.pair, choice.map_files)
        self._show_info(info, choice)
        self._show_layers()
        self._show_untrained()
        self._show_vote()
        for status in self.sides.values():
            status.setVisible(bool(choice.name) and state.stage == "ready")

    def _show_info(self, info: DescriptorChoiceInfo | None, choice: DescriptorChoice) -> None:
        lines = []
        if info is not None:
            lines.append(info.summary)
            if info.source != "built-in":
                lines.append(f"From {info.source}")
            if choice.map_files is not None:
                lines.append(" · ".join(path.name for path in choice.map_files))
        text = "\n".join(filter(None, lines))
        self.summary.say(text)
        self.summary.setVisible(bool(text))
        options = info.options if info is not None else ()
        self.settings.setVisible(bool(options))
        before, self._shown_info = self._shown_info, info
        if not _same_form(before, info):
            if self.form is not None:
                self.form.remove()
                self.form = None
            if options:
                # The weights decide what a network is worth, so they come first.
                ordered = sorted(options, key=lambda option: option.name != "weights")
                self.form = OptionForm(tuple(ordered), choice.values, self.settings.content)
                self.form.changed.connect(self._on_values)
                self.settings.body.addWidget(self.form)
        elif self.form is not None and self.form.values() != dict(choice.values):
            self.form.set_values(choice.values)
        if self.form is not None and info is not None and info.takes_weights:
            without_file = {k: v for k, v in choice.values.items() if k != "weights"}
            self.form.say_empty("weights", api.weights_in_use(info.name, without_file))

    def _show_layers(self) -> None:
        """Show the network's layers; they stay while another one of them is described."""
        name = self._maps.choice.name
        infos = (self._maps.status(side).info for side in SIDES)
        found = next((info.network for info in infos if info is not None), None)
        if found is not None:
            self._network = (name, found)
        if self._network is None or not same_network(self._network[0], name):
            self._network = None
            self.layers.show_network(None, None)
        else:
            self.layers.show_network(self._network[1], api.network_of(name))

    def _show_untrained(self) -> None:
        infos = [self._maps.status(side).info for side in SIDES]
        untrained = any(info is not None and not info.trained for info in infos)
        text = "Untrained: its weights are random numbers."
        if self._shown_info is not None and self._shown_info.takes_weights:
            text += " Choose a weights file below"
            found = api.network_of(self._shown_info.name) is not None
            text += ", or download them: File ▸ Open network…" if found else "."
        self.untrained.say(text if untrained and self._maps.choice.name else "")

    def _show_vote(self) -> None:
        """Tell how the two images are related, as far as they could tell."""
        infos = [self._maps.status(side).info for side in SIDES]
        chosen, weak_vote = next(
            ((info.chosen, info.weak_vote) for info in infos if info is not None), ("", "")
        )
        told = bool(self._maps.choice.name) and self._maps.ready
        self.vote.say(chosen[:1].upper() + chosen[1:] if told and not weak_vote else "")
        self.vote.setVisible(bool(self.vote.text()))
        self.weak_vote.say(weak_vote if told else "")

    def _on_status(self, side: Side, status: MapStatus) -> None:
        self.sides[side].show_status(status)
        choice, engine = self._maps.choice, self._models.engine.state
        failed = any(failure_of(self._maps.status(each)) for each in SIDES)
        address = engine.missing_weights(choice.name, choice.values) if failed else ""
        self.missing.show_missing(engine.title_of(choice.name), address)
        self.summary.setVisible(bool(self.summary.sentence) and not address)
        failures = {"" if address else failure_of(self._maps.status(each)) for each in SIDES}
        # Most reasons (weights, settings) hold for both images: say them once.
        common = failures.pop() if len(failures) == 1 else ""
        self.failure.say(common)
        for each, shown in self.sides.items():
            known = common or address
            shown.failure.say("" if known else failure_of(self._maps.status(each)))
        self._show_layers()
        self._show_untrained()
        self._show_vote()

    def _on_activated(self, index: int) -> None:
        name = self.combo.itemData(index)
        current = self._maps.choice
        if name is None or name == current.name:  # a line between groups stands for nothing
            show_value(self.combo, current.name)
            return
        if name == _OPEN_NETWORK:
            show_value(self.combo, current.name)
            self.network_requested.emit(self._maps)
            return
        pair, files = self._models.pair.state, None
        if name == PRECOMPUTED:
            if self._map_files is None or pair is None or self._map_files[0] != pair.pair:
                self._on_choice(current)  # stays until the files are chosen
                self._files.load_maps(self._maps)
                return
            files = self._map_files[1]
        choice = DescriptorChoice(name, self._values.get(name, {}), files)
        self._describing.choose(self._maps, choice)

    def _choose_weights(self) -> None:
        folder = self._models.pair.folder
        path = dialogs.ask_file(self, "Choose a weights file", folder, "All files (*)")
        if path is not None:
            self._on_values({**self._maps.choice.values, "weights": str(path)})

    def _on_layer(self, layer: int) -> None:
        current = self._maps.choice
        name = api.network_of(current.name)
        if name is not None and self._network is not None:
            count = len(self._network[1].layers)
            chosen = DescriptorChoice(str(name.at_number(layer, count)), current.values)
            self._describing.choose(self._maps, chosen)

    def _on_values(self, values: dict[str, Any]) -> None:
        current = self._maps.choice
        choice = DescriptorChoice(current.name, values, current.map_files)
        self._describing.choose(self._maps, choice)
        if values.get("weights") != current.values.get("weights"):
            self._on_engine(self._models.engine.state)  # it may no longer need weights


def _same_form(one: DescriptorChoiceInfo | None, other: DescriptorChoiceInfo | None) -> bool:
    """Whether the form of one descriptor serves the other: they are layers of one network."""
    if one is None or other is None or one == other:
        return one == other
    return same_network(one.name, other.name) and one.options == other.options


class DescriptorPanel(QWidget):
    """Chooses all descriptors, and where they are computed.

    Signals:
        network_requested(MapsModel): another network is to be opened, shown or compared.
    """

    network_requested = Signal(object)

    def __init__(
        self,
        models: AppModels,
        describing: Describing,
        files: Files,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._describing = describing
        self._files = files
        self._wheel = WheelNeedsFocus(self)
        self._scroll = PanelScroll(self)
        in_column(self, self._scroll)
        self.failure = Notice("error", self)
        self.shown = DescriptorChooser(
            models, models.maps, describing, files, title="Descriptor", none_title="", parent=self
        )
        (self.cancel_button,) = word_buttons(
            self, ("stop", "Cancel", "Stop describing; finished maps stay", describing.cancel)
        )
        for part in (
            self.failure,
            self.shown,
            self.cancel_button,
            self._make_computing(),
            self._make_comparison(),
            self._make_own(),
        ):
            self._scroll.column.addWidget(part)
        self._scroll.column.addStretch(1)
        for chooser in (self.shown, *self.compared):
            chooser.network_requested.connect(self.network_requested)
        models.engine.changed.connect(self._on_engine)
        models.settings.computing_changed.connect(self._on_computing)
        for maps in models.descriptors:
            maps.status_changed.connect(self._on_status)
        for maps in models.compared:
            maps.choice_changed.connect(self._on_compared)
        self._on_engine(models.engine.state)
        self._on_status()

    # Making

    def _make_computing(self) -> Section:
        section = Section("Computing", self)
        self.device = narrow_combo(section, name="Device", chosen=self._on_computing_edited)
        self.long_edge = NumberBox(_LONG_EDGE, section)
        self.long_edge.setSingleStep(64)
        self.long_edge.setSpecialValueText("original size")
        self.long_edge.setAccessibleName("Long edge")
        self.long_edge.setToolTip(
            "Images are shrunk to this long edge before they are described.\n"
            "Coordinates stay those of the original files."
        )
        self.long_edge.valueChanged.connect(self._on_computing_edited)
        self.precision = narrow_combo(
            section,
            name="Precision",
            tip="Arithmetic of networks; reduced only where a descriptor allows it",
            entries=[(title, word) for word, title in PRECISION_TITLES.items()],
            chosen=self._on_computing_edited,
        )
        self._wheel.guard(self.device, self.long_edge, self.precision)
        section.body.addLayout(
            labelled_rows(
                ("Device", self.device),
                ("Long edge", self.long_edge),
                ("Precision", self.precision),
            )
        )
        return section

    def _make_comparison(self) -> Section:
        section = Section("Compare with", self)
        self.compared = tuple(
            DescriptorChooser(
                self._models,
                maps,
                self._describing,
                self._files,
                title=f"Compare with, {number}",
                none_title="None",
                parent=section,
            )
            for number, maps in enumerate(self._models.compared, start=1)
        )
        for chooser in self.compared:
            chooser.settings.heading.setChecked(False)
            section.body.addWidget(chooser)
        self._on_compared()
        return section

    def _on_compared(self, *_choice: object) -> None:
        """Show those that are chosen, and one to choose."""
        free = next((maps for maps in self._models.compared if not maps.choice.name), None)
        for chooser, maps in zip(self.compared, self._models.compared, strict=True):
            chooser.setVisible(bool(maps.choice.name) or maps is free)

    def _make_own(self) -> Section:
        section = Section("Your own descriptor", self)
        words = "A map file for each image, or a Python file with a descriptor."
        section.body.addWidget(Sentence(words, section, quiet=True))
        self.load_maps, self.load_plugin = word_buttons(
            section,
            ("maps", "Load precomputed maps…", "", self._on_load_maps),
            ("plugin", "Load plugin…", "", self._files.load_plugin),
        )
        for button in (self.load_maps, self.load_plugin):
            section.body.addWidget(button)
        return section

    # Drawing the models

    def _on_engine(self, state: EngineState) -> None:
        self.failure.say(
            f"Descriptors cannot be computed: {state.message}" if state.stage == "failed" else ""
        )
        devices = [(device.title, device.name) for device in state.devices]
        refill(self.device, [("Automatic", "auto"), *devices])
        for button in (self.load_maps, self.load_plugin):
            button.setEnabled(state.stage == "ready")
        self._on_computing(self._models.settings.state)

    def _on_computing(self, state: Settings) -> None:
        if self.device.findData(state.device) < 0:
            self.device.addItem(state.device, state.device)
        show_value(self.device, state.device)
        self.device.setToolTip(self.device.currentText())
        self.long_edge.set_number(state.long_edge_px or None)
        show_value(self.precision, state.precision)

    def _on_status(self, *_status: object) -> None:
        busy = any(
            maps.choice.name and maps.status(side).stage in ("waiting", "computing")
            for maps in self._models.descriptors
            for side in SIDES
        )
        self.cancel_button.setVisible(busy and self._models.engine.state.stage == "ready")

    # What the user does

    def _on_computing_edited(self) -> None:
        self._models.settings.update(
            device=self.device.currentData(),
            precision=self.precision.currentData(),
            long_edge_px=self.long_edge.number() or 0,
        )

    def _on_load_maps(self) -> None:
        self._files.load_maps(self._models.maps)
