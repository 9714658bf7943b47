"""The settings, in a few groups; every change holds at once and each can be taken back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QLabel,
    QLineEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.engine_state import EngineState
from descgui.models.settings import Settings
from descgui.views.form import OptionForm
from descgui.views.panel_parts import Sentence, closing_buttons, in_column
from engine.api import OptionInfo, describe_options

HIDDEN = (
    "recent_pairs",
    "recent_folders",
    "places",
    "recent_photos",
    "recent_networks",
    "favourite_networks",
    "trusted_plugins",
    "export_folder",
)
"""Settings that the program keeps for itself."""


@dataclass(frozen=True, slots=True)
class SettingsGroup:
    """Settings that are shown together."""

    title: str
    note: str
    names: tuple[str, ...]


class SettingsDialog(QDialog):
    """A form for all settings; writes them into the model as they are changed."""

    def __init__(self, models: AppModels, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self.setWindowTitle("Settings")
        self.resize(520, 640)
        self.forms: dict[str, OptionForm] = {}
        self._headings: dict[str, list[QLabel]] = {}
        self._column = QVBoxLayout()
        self._column.setContentsMargins(16, 12, 16, 12)
        self._column.setSpacing(8)
        page = QWidget()
        page.setLayout(self._column)
        self.search = QLineEdit(self)
        self.search.setPlaceholderText("Search settings")
        self.search.setAccessibleName("Search settings")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._find)
        self.nothing = Sentence(parent=self, quiet=True)
        scroll = QScrollArea()
        scroll.setWidget(page)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        buttons, self.restore = closing_buttons(
            self, "Restore all &defaults", self.restore_defaults
        )
        foot = QVBoxLayout()
        foot.setContentsMargins(16, 8, 16, 12)
        foot.addWidget(buttons)
        head = in_column(None, self.search, self.nothing, margins_px=(16, 12, 16, 4))
        column = in_column(self, (scroll, 1), spacing_px=0)
        column.insertLayout(0, head)
        line = QFrame()
        line.setProperty("line", True)
        column.addWidget(line)
        column.addLayout(foot)
        self._fill()
        models.settings.changed.connect(self._show)
        models.engine.changed.connect(self._on_engine)

    def restore_defaults(self) -> None:
        """Reset every setting, the range of the heat colours too; the recent lists stay."""
        shown = {info.name: info.default for info in describe_options(Settings) if _is_shown(info)}
        self._models.settings.update(heat=Settings().heat, **shown)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.search.setFocus()

    def groups(self) -> tuple[SettingsGroup, ...]:
        """The groups, in order; a setting in none of them is shown in the last one."""
        groups = (
            SettingsGroup("Look", "", ("theme", "colormap", "opacity")),
            SettingsGroup(
                "Computing",
                "Holds for the next image that is described.",
                ("device", "precision", "long_edge_px", "map_budget_mb"),
            ),
            SettingsGroup(
                "Probe and matches", "", ("peaks", "separation_px", "exclude_px", "correct_px")
            ),
            SettingsGroup("Start", "", ("restore_session", "descriptor")),
        )
        placed = {name for group in groups for name in group.names}
        rest = tuple(
            info.name
            for info in describe_options(Settings)
            if _is_shown(info) and info.name not in placed
        )
        return (*groups[:-1], replace(groups[-1], names=groups[-1].names + rest))

    def _fill(self) -> None:
        options = {info.name: self._with_choices(info) for info in describe_options(Settings)}
        for number, group in enumerate(self.groups()):
            heading: list[QLabel] = []
            title = QLabel(group.title)
            title.setProperty("heading", True)
            title.setContentsMargins(0, 16 if number else 0, 0, 0)
            self._column.addWidget(title)
            heading.append(title)
            if group.note:
                note = QLabel(group.note)
                note.setProperty("subtle", True)
                note.setWordWrap(True)
                self._column.addWidget(note)
                heading.append(note)
            chosen = tuple(options[name] for name in group.names)
            form = OptionForm(chosen, self._values(), explained=True)
            form.changed.connect(self._on_changed)
            self._column.addWidget(form)
            self.forms[group.title] = form
            self._headings[group.title] = heading
        self._column.addStretch(1)
        self._find(self.search.text())

    def _find(self, text: str) -> None:
        """Show the settings, and the groups, that have all the words."""
        words = text.casefold().split()
        found = False
        for title, form in self.forms.items():
            here = form.show_only(partial(_has_all, words, title))
            for widget in (*self._headings[title], form):
                widget.setVisible(here)
            found |= here
        self.nothing.say("" if found else f"No setting has “{text}” in its name or explanation.")
        self.nothing.setVisible(not found)

    def _with_choices(self, info: OptionInfo) -> OptionInfo:
        """Offer the devices and descriptors that there are, and what is set now."""
        engine, now = self._models.engine.state, self._models.settings.state
        if info.name == "device":
            titles = {device.name: device.title for device in engine.devices}
            return _as_choice(info, {"auto": "Automatic", **titles}, now.device)
        if info.name == "descriptor":
            titles = {one.name: one.title for one in (*engine.descriptors, *engine.networks)}
            return _as_choice(info, titles, now.descriptor)
        return info

    def _on_engine(self, _state: EngineState) -> None:
        while self._column.count():
            item = self._column.takeAt(0)
            widget = None if item is None else item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.forms.clear()
        self._headings.clear()
        self._fill()

    def _on_changed(self, values: dict[str, Any]) -> None:
        form = self.sender()
        assert isinstance(form, OptionForm)
        # A form leaves out what is at its default.
        defaults = {
            info.name: info.default
            for info in describe_options(Settings)
            if info.name in form.names
        }
        self._models.settings.update(**(defaults | values))

    def _show(self, _settings: Settings) -> None:
        for form in self.forms.values():
            form.set_values(self._values())

    def _values(self) -> dict[str, Any]:
        settings = self._models.settings.state
        return {info.name: getattr(settings, info.name) for info in describe_options(Settings)}


def _has_all(words: list[str], *texts: str) -> bool:
    """Whether each word is in one of the texts."""
    whole = " ".join(texts).casefold()
    return all(word in whole for word in words)


def _is_shown(info: OptionInfo) -> bool:
    return info.name not in HIDDEN


def _as_choice(info: OptionInfo, known: dict[str, str], now: str) -> OptionInfo:
    titles = {**{word: word for word in (str(info.default), now)}, **known}
    words = dict.fromkeys((*known, *titles))  # known ones first
    return replace(
        info, kind="choice", choices=tuple(words), choice_titles=tuple(titles[one] for one in words)
    )
