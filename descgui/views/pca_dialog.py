"""Which components of the descriptors are red, green and blue, and what they were fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from PySide6.QtCore import QRectF, QSignalBlocker, QSize, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPaintEvent, QPalette, QStandardItemModel
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QSizePolicy,
    QSlider,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.pictures_state import PicturesState
from descgui.models.view_state import ViewState
from descgui.views.panel_parts import (
    Sentence,
    blended,
    in_column,
    in_row,
    labelled_rows,
    narrow_combo,
    refill,
    show_value,
    tabular,
    word_buttons,
)
from descgui.views.ports import Files
from engine import api

_CHANNELS: Final = ("Red", "Green", "Blue")
_PERCENT: Final = 100
_SIZE_PX: Final = QSize(330, 380)
_FIRST_THRESHOLD: Final = 50


class ExplainedBars(QWidget):
    """How much of the variance each component explains, in the colours that show it."""

    COLOURS = (QColor("#D0453B"), QColor("#3F9B4F"), QColor("#4169C8"))

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shares: tuple[float, ...] = ()
        self._components = api.PLAIN.components
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Variance that each component explains")

    def sizeHint(self) -> QSize:
        return QSize(80, 44 + self.fontMetrics().height())

    def show_shares(self, shares: Sequence[float], components: tuple[int, int, int]) -> None:
        """Draw the share (0 to 1) of each component; ``components`` are red, green and blue."""
        if (tuple(shares), components) == (self._shares, self._components):
            return
        self._shares, self._components = tuple(shares), components
        lines = [
            " ".join((f"Component {number + 1}: {_PERCENT * share:.1f} %", *self._names(number)))
            for number, share in enumerate(shares)
        ]
        self.setToolTip("\n".join(lines))
        self.setAccessibleDescription(", ".join(lines))
        self.update()

    def _names(self, number: int) -> list[str]:
        shown = [
            name.lower()
            for name, component in zip(_CHANNELS, self._components, strict=True)
            if component == number
        ]
        return [f"({', '.join(shown)})"] if shown else []

    def paintEvent(self, _event: QPaintEvent) -> None:
        if not self._shares:
            return
        painter = QPainter(self)
        font = QFont(tabular(self.font()))
        font.setPointSizeF(max(7.0, 0.85 * font.pointSizeF()))
        painter.setFont(font)
        palette = self.palette()
        ink, under = palette.color(QPalette.ColorRole.Text), palette.color(QPalette.ColorRole.Base)
        grey, faint = blended(ink, under, 0.35), blended(ink, under, 0.14)
        foot = self.fontMetrics().height()
        room = self.height() - foot
        step = self.width() / len(self._shares)
        most = max(*self._shares, 1e-9)
        for number, share in enumerate(self._shares):
            left, width = number * step + 1.0, max(step - 2.0, 1.0)
            height = max(1.0, share / most * room)
            painter.fillRect(QRectF(left, room - 1.0, width, 1.0), faint)
            colours = [
                colour
                for colour, component in zip(self.COLOURS, self._components, strict=True)
                if component == number
            ] or [grey]
            part = width / len(colours)
            for place, colour in enumerate(colours):
                painter.fillRect(QRectF(left + place * part, room - height, part, height), colour)
            painter.setPen(ink)
            where = QRectF(left - 4.0, room, width + 8.0, foot)
            painter.drawText(where, Qt.AlignmentFlag.AlignCenter, str(number + 1))


class PcaDialog(QDialog):
    """The basis of the PCA colours: fitted on what, and which component is which colour.

    Every change holds at once; the panes stay in use meanwhile.
    """

    def __init__(self, models: AppModels, files: Files, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("PCA colours")
        self._models = models
        self._files = files
        self.fit = narrow_combo(
            self,
            name="Fit PCA on",
            tip="Which descriptors the colours are fitted to.\n"
            "All images: each one that is not described yet is described first.",
            entries=(
                ("Both images", "both"),
                ("Image A", "a"),
                ("Image B", "b"),
                ("All images of the folder", "all"),
                ("A file…", "file"),
            ),
            chosen=self._on_fit,
        )
        self.level = narrow_combo(
            self,
            name="Level",
            tip="Which member of the descriptor set is coloured",
            chosen=self._on_level,
        )
        self.bars = ExplainedBars(self)
        self.components = tuple(self._component_combo(name) for name in _CHANNELS)
        self.flips = tuple(self._flip_box(name) for name in _CHANNELS)
        self.foreground = QCheckBox("Only", self)
        self.foreground.setToolTip(
            "Show only cells whose first component is above the threshold; all others are black"
        )
        self.foreground.setAccessibleName("Foreground only")
        self.inverted = QCheckBox("Invert", self)
        self.inverted.setToolTip("Show the cells below the threshold instead")
        self.inverted.setAccessibleName("Invert the foreground")
        self.threshold = QSlider(Qt.Orientation.Horizontal, self)
        self.threshold.setRange(1, _PERCENT - 1)  # beyond, all or nothing is shown
        self.threshold.setPageStep(10)
        self.threshold.setValue(_FIRST_THRESHOLD)
        self.threshold.setAccessibleName("Threshold of the foreground")
        self.threshold.setToolTip("Where in the range of the first component foreground begins")
        self._number = QLabel(self)
        self._number.setFont(tabular(self.font()))
        self._number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._number.setMinimumWidth(self._number.fontMetrics().horizontalAdvance("100 %"))
        self.explained = Sentence(parent=self)
        tip = "Save the PCA basis to a file, to use the same colours for other pairs"
        (self.save_basis,) = word_buttons(self, ("save", "Save basis…", tip, files.save_basis))
        self.save_basis.setAutoDefault(False)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close, self)
        buttons.button(QDialogButtonBox.StandardButton.Close).setAutoDefault(False)
        self.reset = buttons.addButton("Reset", QDialogButtonBox.ButtonRole.ResetRole)
        self.reset.setToolTip("Show the first three components as red, green and blue again")
        self.reset.setAutoDefault(False)
        self.reset.clicked.connect(self._on_reset)
        buttons.rejected.connect(self.reject)
        self._form = labelled_rows(
            ("Fit on", self.fit),
            ("Level", self.level),
            *(
                (name, _beside(combo, flip, parent=self))
                for name, combo, flip in zip(_CHANNELS, self.components, self.flips, strict=True)
            ),
            ("Foreground", _beside(self.foreground, self.inverted, parent=self)),
            ("Threshold", _beside(self.threshold, self._number, parent=self)),
        )
        in_column(
            self,
            self._form,
            self.bars,
            self.explained,
            self.save_basis,
            1,
            buttons,
            margins_px=(14, 12, 14, 12),
            spacing_px=10,
        )
        self.resize(_SIZE_PX)
        self.foreground.toggled.connect(self._on_colouring)
        self.inverted.toggled.connect(self._on_colouring)
        self.threshold.valueChanged.connect(self._on_colouring)
        models.view.changed.connect(self._on_view)
        models.pictures.changed.connect(self._on_pictures)
        models.browser.changed.connect(self._on_folder)
        models.maps.status_changed.connect(self._on_status)
        self._on_folder()
        self._on_status()
        self._on_pictures(models.pictures.state)

    def _component_combo(self, name: str) -> QComboBox:
        return narrow_combo(
            self,
            name=f"Component shown in {name.lower()}",
            tip=f"Which component is {name.lower()}, and how much of the variance it explains",
            entries=[(str(number + 1), number) for number in range(api.MOST_COMPONENTS)],
            chosen=self._on_colouring,
        )

    def _flip_box(self, name: str) -> QCheckBox:
        box = QCheckBox("Flip", self)
        box.setToolTip(f"Let {name.lower()} fall where the component rises")
        box.setAccessibleName(f"Flip {name.lower()}")
        box.toggled.connect(self._on_colouring)
        return box

    # Drawing the models

    def _on_folder(self, *_state: object) -> None:
        entries = self.fit.model()
        assert isinstance(entries, QStandardItemModel)
        several = self._models.browser.state.dataset is not None
        entries.item(self.fit.findData("all")).setEnabled(several)

    def _on_status(self, *_status: object) -> None:
        info = self._models.maps.status("a").info
        levels = info.levels if info is not None else 1
        refill(self.level, [(f"{level + 1} of {levels}", level) for level in range(levels)])
        self._form.setRowVisible(self.level, levels > 1)
        self._on_view(self._models.view.state)

    def _on_view(self, state: ViewState) -> None:
        show_value(self.fit, state.pca_fit)
        show_value(self.level, min(state.pca_level, self.level.count() - 1))
        shown = state.pca_colouring
        for combo, component in zip(self.components, shown.components, strict=True):
            show_value(combo, component)
        masked = shown.foreground is not None
        boxes = (*self.flips, self.foreground, self.inverted)
        values = (*shown.flipped, masked, shown.inverted)
        for box, checked in zip(boxes, values, strict=True):
            with QSignalBlocker(box):
                box.setChecked(checked)
        if shown.foreground is not None:
            with QSignalBlocker(self.threshold):
                self.threshold.setValue(round(_PERCENT * shown.foreground))
        self._number.setText(f"{self.threshold.value()} %")
        for widget in (self.inverted, self.threshold, self._number):
            widget.setEnabled(masked)

    def _on_pictures(self, state: PicturesState) -> None:
        answer = state.pca
        self.save_basis.setEnabled(answer is not None)
        self.bars.setVisible(answer is not None)
        if state.problem or answer is None:
            self.explained.say(state.problem or "Not computed: choose the mode PCA.")
            self.explained.setToolTip("")
            return
        self._show_shares(answer)
        fitted = f" Fitted on {answer.fitted_on}." if answer.fitted_on else ""
        share = _PERCENT * answer.share_shown
        self.explained.say(f"The colours explain {share:.1f} % of the variance.{fitted}")
        red, green, blue = (f"{_PERCENT * share:.1f}" for share in answer.shares)
        self.explained.setToolTip(f"Red {red} %, green {green} %, blue {blue} %")

    def _show_shares(self, answer: api.PcaAnswer) -> None:
        self.bars.show_shares(answer.explained, answer.colouring.components)
        titles = [
            f"{number + 1}   {_PERCENT * share:.1f} %"
            for number, share in enumerate(answer.explained)
        ]
        for combo in self.components:
            refill(combo, [(title, number) for number, title in enumerate(titles)])
            for number, title in enumerate(titles):
                combo.setItemText(number, title)

    # What the user does

    def _on_fit(self) -> None:
        word = self.fit.currentData()
        if word == "file":
            show_value(self.fit, self._models.view.state.pca_fit)
            self._files.load_basis()
        else:
            self._models.view.update(pca_fit=word)

    def _on_reset(self) -> None:
        self._models.view.update(pca_colouring=api.PLAIN)

    def _on_level(self) -> None:
        self._models.view.update(pca_level=self.level.currentData())

    def _on_colouring(self, *_change: object) -> None:
        before = self._models.view.state.pca_colouring
        red, green, blue = (
            before.components[channel] if combo.currentData() is None else combo.currentData()
            for channel, combo in enumerate(self.components)
        )
        flip_red, flip_green, flip_blue = (box.isChecked() for box in self.flips)
        on = self.foreground.isChecked()
        self._models.view.update(
            pca_colouring=replace(
                before,
                components=(red, green, blue),
                flipped=(flip_red, flip_green, flip_blue),
                foreground=self.threshold.value() / _PERCENT if on else None,
                inverted=self.inverted.isChecked(),
            )
        )


def _beside(first: QWidget, second: QWidget, *, parent: QWidget) -> QWidget:
    """Two fields in one row of a form."""
    row = QWidget(parent)
    in_row(row, (first, 1), second)
    return row
