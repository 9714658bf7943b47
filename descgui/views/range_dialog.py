"""Which sample values of the two images are black and white."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.pair_state import PairState
from descgui.views.panel_parts import ElidedLabel, Notice, Sentence, in_column, in_row
from descgui.views.ports import Opening
from engine import api
from engine.api import (
    SIDES,
    ConfigError,
    Side,
    other_side,
)

_FIELD_WIDTH_PX = 96
_EXPLANATION = (
    "Descriptors see what you see: from black to white. A change describes the image again."
)


class RangeRow(QWidget):
    """The black and the white point of one image."""

    def __init__(self, side: Side, opening: Opening, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.side: Side = side
        self._opening = opening
        self._shown: api.ValueRange | None = None
        self.title = ElidedLabel(parent=self)
        self.title.setProperty("heading", True)
        self.kind = QLabel(self)
        self.kind.setProperty("subtle", True)
        self.kind.setTextFormat(Qt.TextFormat.PlainText)
        letter = side.upper()
        self.black, self.white = QLineEdit(self), QLineEdit(self)
        self.automatic = self._button("Automatic", "Take the range the file states or suggests")
        self.fit = self._button("Least to greatest", "Show every value, without clipping any")
        self.both = self._button(
            f"Use for {other_side(side).upper()}", "Give the other image the same range"
        )
        self.problem = Notice("error", self)
        for field, name in ((self.black, "Black point"), (self.white, "White point")):
            field.setAccessibleName(f"{name} of image {letter}")
            field.setFixedWidth(_FIELD_WIDTH_PX)
            field.editingFinished.connect(self._entered)
        self.automatic.clicked.connect(self._on_automatic)
        self.fit.clicked.connect(self._on_fit)
        self.both.clicked.connect(self._on_both)
        black, white = QLabel("Black", self), QLabel("White", self)
        black.setBuddy(self.black)
        white.setBuddy(self.white)
        fields = in_row(None, black, self.black, white, self.white, 1, spacing_px=8)
        buttons = in_row(None, self.automatic, self.fit, self.both, 1, spacing_px=6)
        in_column(self, self.title, self.kind, fields, buttons, self.problem, spacing_px=6)

    def show_image(self, image: api.Image) -> None:
        """Fill the fields."""
        self._shown = image.range
        kind = image.judged.kind if image.judged is not None else str(image.samples.dtype)
        own = image.judged.how if image.judged is not None else ""
        automatic = f"automatic: {image.own_range.words}" + (f" ({own})" if own else "")
        self.title.say(f"Image {self.side.upper()}: {image.path.name}", str(image.path))
        self.kind.setText(f"{kind}; {automatic}")
        self.black.setText(_text(image.range.black))
        self.white.setText(_text(image.range.white))
        for field in (self.black, self.white):
            field.setCursorPosition(0)
        self.automatic.setEnabled(image.shown is not None)
        self.problem.say("")

    def _button(self, text: str, tip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        button.setAutoDefault(False)  # Enter ends an entry
        return button

    def _entered(self) -> None:
        try:
            ends = float(self.black.text()), float(self.white.text())
        except ValueError:
            self.problem.say("Black and white are numbers, such as 0 and 4095.")
            return
        try:
            entered = api.check_value_range(*ends)
        except ConfigError as error:
            self.problem.say(f"{error.reason[0].upper()}{error.reason[1:]}.")
            return
        self.problem.say("")
        if self._shown is not None and entered != self._shown:
            self._opening.show_range(self.side, entered)

    def _on_automatic(self) -> None:
        self._opening.show_range(self.side, None)

    def _on_fit(self) -> None:
        self._opening.fit_range(self.side)

    def _on_both(self) -> None:
        if self._shown is not None:
            self._opening.show_range(other_side(self.side), self._shown)


class RangeDialog(QDialog):
    """Black and white points of both images; every change holds at once."""

    def __init__(self, models: AppModels, opening: Opening, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._models = models
        self.setWindowTitle("Black and white points")
        self.rows = {side: RangeRow(side, opening, self) for side in SIDES}
        explanation = Sentence(parent=self)
        explanation.say(_EXPLANATION)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        for button in buttons.buttons():
            assert isinstance(button, QPushButton)
            button.setAutoDefault(False)
        buttons.rejected.connect(self.reject)
        in_column(
            self, *self.rows.values(), explanation, 1, buttons, margins_px=(16, 12, 16, 12),
            spacing_px=14,
        )  # fmt: skip
        self.setMinimumWidth(420)
        models.pair.changed.connect(self._show)
        if models.pair.state is not None:
            self._show(models.pair.state)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.rows["a"].black.setFocus()
        self.rows["a"].black.selectAll()

    def _show(self, state: PairState) -> None:
        self.rows["a"].show_image(state.image_a)
        self.rows["b"].show_image(state.image_b)


def _text(value: float) -> str:
    """A number with all its digits."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
