"""The colours of heat maps: which similarities they stand for, and which colour map they are of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import QDialog, QLabel, QPushButton, QWidget

from descgui.models.bundle import AppModels
from descgui.models.settings import COLORMAP_TITLES, Settings
from descgui.views.form import OptionForm
from descgui.views.panel_parts import (
    Notice,
    Sentence,
    closing_buttons,
    in_column,
    in_row,
    narrow_combo,
    show_value,
)
from descgui.views.pixels import color_stops, rgb_image
from engine import api
from engine.api import COLORMAPS, HEAT_RANGE_KINDS, Colormap, HeatRangeKind, describe_options

KIND_WORDS: Final[dict[HeatRangeKind, tuple[str, str]]] = {
    "percentile": (
        "Fitted to each query",
        (
            "Percentiles of the heat maps in sight. Each query uses all colours, so colours of two "
            "queries cannot be compared."
        ),
    ),
    "relative": (
        "Relative to the best match",
        (
            "The last colour is the best match, the first one is this much less similar: steps of "
            "colour mean the same for each query."
        ),
    ),
    "fixed": (
        "Fixed",
        (
            "The same similarities for each query, pair and descriptor: colours can be compared, "
            "also between figures."
        ),
    ),
}
_UNIFORM = "Perceptually uniform: equal steps of value look equal."
_NOT_UNIFORM = (
    "Not perceptually uniform: some equal steps of value look like edges, others like none. "
    "Not for print in grey, nor for readers with colour blindness."
)
_SWATCH: Final = QSize(64, 14)


class HeatDialog(QDialog):
    """Range and colour map of heat maps; every change holds at once, and the panes stay in use.

    Signals:
        range_requested(): the black and white points of the images are to be changed.
    """

    range_requested = Signal()

    def __init__(self, models: AppModels, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self.setWindowTitle("Heat map colours")
        self.kind = narrow_combo(
            self,
            name="Range",
            tip="Which similarities the first and the last colour stand for",
            entries=tuple((KIND_WORDS[kind][0], kind) for kind in HEAT_RANGE_KINDS),
            chosen=self._on_kind,
        )
        self.explanation = Sentence(parent=self, quiet=True)
        options = {info.name: info for info in describe_options(api.HeatRange)}
        self.forms: dict[str, OptionForm] = {}
        for kind in HEAT_RANGE_KINDS:
            names = api.heat_range_numbers(kind)
            form = OptionForm(tuple(options[name] for name in names), parent=self)
            form.changed.connect(lambda _values, form=form: self._on_numbers(form))
            self.forms[kind] = form
        self.problem = Notice("error", self)
        self.colormap = narrow_combo(
            self,
            name="Colour map",
            tip="The colours of heat maps and of all other maps of numbers",
            entries=tuple((COLORMAP_TITLES[name], name) for name in COLORMAPS),
            chosen=self._on_colormap,
        )
        self.colormap.setIconSize(_SWATCH)
        for row, name in enumerate(COLORMAPS):
            self.colormap.setItemIcon(row, swatch(name))
        self.uniform = Sentence(parent=self, quiet=True)
        self.images = QPushButton("Black and white &points…", self)
        self.images.setToolTip("Choose which values of the images are black and white")
        self.images.setAutoDefault(False)
        self.images.clicked.connect(self._on_images)
        buttons, self.restore = closing_buttons(self, "Restore &defaults", self._on_restore)
        in_column(
            self, _heading("Range", self), self.kind, self.explanation, *self.forms.values(),
            self.problem, _heading("Colour map", self), self.colormap, self.uniform,
            _heading("Images", self), in_row(None, self.images, 1, spacing_px=0), 1, buttons,
            margins_px=(16, 12, 16, 12), spacing_px=8,
        )  # fmt: skip
        self.setMinimumWidth(400)
        models.settings.changed.connect(self._show)
        models.pair.changed.connect(self._show_images)
        self._show(models.settings.state)
        self._show_images()

    def _show(self, settings: Settings) -> None:
        wanted = settings.heat
        show_value(self.kind, wanted.kind)
        self.explanation.say(KIND_WORDS[wanted.kind][1])
        for kind, form in self.forms.items():
            form.set_values({name: getattr(wanted, name) for name in form.names})
            form.setVisible(kind == wanted.kind)
        show_value(self.colormap, settings.colormap)
        self.uniform.say(_NOT_UNIFORM if settings.colormap == "turbo" else _UNIFORM)

    def _show_images(self, _state: object = None) -> None:
        self.images.setEnabled(self._models.pair.state is not None)

    def _on_kind(self) -> None:
        self._change(kind=self.kind.currentData())

    def _on_numbers(self, form: OptionForm) -> None:
        self._change(**({name: getattr(api.FITTED, name) for name in form.names} | form.values()))

    def _change(self, **changes: Any) -> None:
        try:
            wanted = replace(self._models.settings.state.heat, **changes)
        except api.ConfigError as error:
            self.problem.say(f"{error.reason[0].upper()}{error.reason[1:]}.")
            return
        self.problem.say("")
        self._models.settings.update(heat=wanted)

    def _on_colormap(self) -> None:
        self._models.settings.update(colormap=self.colormap.currentData())

    def _on_images(self) -> None:
        self.accept()
        self.range_requested.emit()

    def _on_restore(self) -> None:
        usual = Settings()
        self.problem.say("")
        self._models.settings.update(heat=usual.heat, colormap=usual.colormap)
        self._show(self._models.settings.state)


def swatch(name: Colormap) -> QIcon:
    """A colour map from its low to its high end."""
    picture = rgb_image(color_stops(name)[None])
    return QIcon(
        QPixmap.fromImage(picture).scaled(
            _SWATCH,
            Qt.AspectRatioMode.IgnoreAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
    )


def _heading(text: str, parent: QWidget) -> QLabel:
    label = QLabel(text, parent)
    label.setContentsMargins(0, 6, 0, 0)
    label.setProperty("heading", True)
    return label
