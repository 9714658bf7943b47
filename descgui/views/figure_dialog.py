"""A figure for a paper: what it shows and how it is printed, with a preview."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from PySide6.QtCore import QPoint, QRect, QSize, Qt, QTimer
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPalette, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QSizePolicy,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.settings import FigureSettings
from descgui.views.alive import while_alive
from descgui.views.form import NumberBox
from descgui.views.panel_parts import Sentence, in_column, in_row, labelled_rows, show_value
from descgui.views.ports import Figures
from engine.api import OptionInfo, describe_options

_WAIT_MS: Final = 250  # for the next change, before the preview is drawn
_LEAST_PREVIEW: Final = QSize(360, 220)
_SHOWN: Final = {
    "titles": "Names above the images",
    "marks": "Query, matches and pins",
    "lines": "Lines of many matches",
    "legend": "Legend",
    "scale": "Colour scale",
    "caption": "Figures below",
}
_KINDS: Final = (("SVG (vector, for pages)", "svg"), ("PDF (vector, for LaTeX)", "pdf"),
                 ("PNG (pixels)", "png"))  # fmt: skip
_THEMES: Final = (("Dark on white", "light"), ("Light on dark", "dark"))


class FigurePreview(QWidget):
    """The figure as it will be, as large as there is room, or why there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture = QPixmap()
        self.text = "Drawing…"
        self.setMinimumSize(_LEAST_PREVIEW)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Preview of the figure")

    @property
    def picture(self) -> QPixmap:
        """What is shown; null where there is a text instead."""
        return self._picture

    def show_png(self, png: bytes) -> None:
        """Show the bytes of a PNG."""
        self._picture = QPixmap.fromImage(QImage.fromData(png))
        self.text = ""
        self.update()

    def say(self, text: str) -> None:
        """Say why there is no picture."""
        self._picture = QPixmap()
        self.text = text
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._picture.isNull():
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text)
            return
        size = self._picture.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        left, top = (self.width() - size.width()) // 2, (self.height() - size.height()) // 2
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(QRect(QPoint(left, top), size), self._picture)
        painter.setPen(self.palette().color(QPalette.ColorRole.Mid))
        painter.drawRect(left, top, size.width() - 1, size.height() - 1)


class FigureDialog(QDialog):
    """Changes the settings of figures, shows what becomes of them, and exports."""

    def __init__(self, models: AppModels, figures: Figures, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self._figures = figures
        self.setWindowTitle("Export figure")
        self.resize(860, 460)
        self.preview = FigurePreview(self)
        self.kind, self.theme = QComboBox(self), QComboBox(self)
        for combo, entries in ((self.kind, _KINDS), (self.theme, _THEMES)):
            for title, word in entries:
                combo.addItem(title, word)
            combo.currentIndexChanged.connect(self._changed)
        options = {info.name: info for info in describe_options(FigureSettings)}
        self.width_cm = self._number(options["width_cm"])
        self.font_pt = self._number(options["font_pt"])
        self.dots_per_inch = self._number(options["dots_per_inch"])
        self.dots_per_inch.setSuffix(" dpi")
        self.shown = {name: QCheckBox(title, self) for name, title in _SHOWN.items()}
        for box in self.shown.values():
            box.toggled.connect(self._changed)
        self.note = Sentence(parent=self)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.export = buttons.addButton("&Export…", QDialogButtonBox.ButtonRole.ActionRole)
        self.export.setDefault(True)
        self.export.clicked.connect(figures.export)
        buttons.rejected.connect(self.reject)
        rows = labelled_rows(
            ("File", self.kind),
            ("Width", self.width_cm),
            ("Font size", self.font_pt),
            ("Theme", self.theme),
            ("Resolution", self.dots_per_inch),
        )
        heading = QLabel("Show", self)
        heading.setProperty("heading", True)
        form = in_column(None, rows, heading, *self.shown.values(), 1, self.note, spacing_px=8)
        content = in_row(None, (self.preview, 1), form, spacing_px=16)
        in_column(self, (content, 1), buttons, margins_px=(16, 12, 16, 12), spacing_px=12)
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(_WAIT_MS)
        self._wait.timeout.connect(self._draw)
        self._filling = False
        self._fill()
        for signal in (
            models.settings.changed, models.pair.changed, models.view.changed,
            models.pins.changed, models.matches.changed, models.pictures.changed,
            models.probe.answered,
        ):  # fmt: skip
            signal.connect(self._later)
        self._draw()

    def _number(self, info: OptionInfo) -> NumberBox:
        box = NumberBox(info, self)
        box.valueChanged.connect(self._changed)
        return box

    def _fill(self) -> None:
        settings = self._models.settings.state.figure
        self._filling = True
        show_value(self.kind, settings.kind)
        show_value(self.theme, settings.theme)
        for name in ("width_cm", "font_pt", "dots_per_inch"):
            getattr(self, name).set_number(getattr(settings, name))
        for name, box in self.shown.items():
            box.setChecked(getattr(settings, name))
        self._filling = False
        self._say_note(settings)

    def _say_note(self, settings: FigureSettings) -> None:
        width_px = round(settings.width_cm / 2.54 * settings.dots_per_inch)
        text = f"{width_px} pixels wide." if settings.kind == "png" else (
            "Resolution is that of the photographs inside."
        )  # fmt: skip
        self.note.say(text)

    def _changed(self, *_value: object) -> None:
        if self._filling:
            return
        values: dict[str, Any] = {
            "kind": self.kind.currentData(),
            "theme": self.theme.currentData(),
            **{name: box.isChecked() for name, box in self.shown.items()},
        }
        for name in ("width_cm", "font_pt", "dots_per_inch"):
            number = getattr(self, name).number()
            if number is not None:
                values[name] = number
        figure = replace(self._models.settings.state.figure, **values)
        self._models.settings.update(figure=figure)
        self._say_note(figure)

    def _later(self, *_state: object) -> None:
        self._wait.start()

    def _draw(self) -> None:
        preview = self.preview
        self._figures.preview_figure(
            while_alive(preview, preview.show_png), while_alive(preview, preview.say)
        )
