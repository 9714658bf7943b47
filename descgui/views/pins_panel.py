"""The list of pinned probes."""

from __future__ import annotations

from typing import Any, NamedTuple

from PySide6.QtCore import (
    QItemSelectionModel,
    QModelIndex,
    QObject,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QFont, QIcon, QKeyEvent, QPainter, QPixmap, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableView,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.probe_state import Pin
from descgui.models.settings import Settings
from descgui.views.icons import icon
from descgui.views.marks import pin_color
from descgui.views.panel_parts import Sentence, draw_verdict, in_column, plain_tip, tabular
from descgui.views.ports import Learning, Probing, Truths
from descgui.views.row_table import RowTable
from descgui.views.scene import descriptor_title
from engine import api
from engine.api import Visibility

_NUMBER, _FROM, _MATCH, _SIMILARITY, _ERROR = range(5)
_CHIP_PX = 12
_STATES = {
    Visibility.UNKNOWN: "no truth",
    Visibility.OCCLUDED: "occluded",
    Visibility.OUTSIDE: "outside",
    Visibility.SEEN: "–",
}
_ROWS_SHOWN = 5
_MATCH_FROM_WIDTH_PX = 290


class PinMatch(NamedTuple):
    """A row: a pin, and by which of the compared descriptors it is matched, from 0."""

    pin: Pin
    descriptor: int

    @property
    def answer(self) -> api.ProbeAnswer | None:
        """The match; None until it is computed."""
        return self.pin.answer_of(self.descriptor)


class PinsTable(RowTable[PinMatch]):
    """The pins of :class:`~descgui.models.probe_state.PinsModel`, a row for each descriptor."""

    def __init__(self, models: AppModels, parent: QObject | None = None) -> None:
        super().__init__(("#", "From", "Match", "Sim.", "Error"), left=1, parent=parent)
        self._models = models
        self._correct_px = models.settings.state.correct_px
        self._chips: dict[str, QIcon] = {}
        self._on_pins(models.pins.pins)
        models.pins.changed.connect(self._on_pins)
        models.settings.changed.connect(self._on_settings)
        for maps in models.descriptors:
            maps.choice_changed.connect(self._on_choice)

    def row_of(self, number: int) -> int:
        """The first row of a pin, -1 if there is none."""
        return next((at for at, row in enumerate(self.rows) if row.pin.number == number), -1)

    def cell(self, row: PinMatch, column: int, role: int) -> Any:
        """Texts, chips and ticks."""
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain_tip(self._tooltip(row))
        if role == Qt.ItemDataRole.DecorationRole:
            if column == _NUMBER:
                return None if row.descriptor else self._chip(pin_color(row.pin.number))
            right = self._right(row)
            if column == _ERROR and right is not None:
                return self._chip("right" if right else "wrong")
        if role == Qt.ItemDataRole.AccessibleTextRole and column == _NUMBER:
            return f"Pin {row.pin.number}"
        return None

    def _right(self, row: PinMatch) -> bool | None:
        error_px = row.answer.error_px if row.answer is not None else None
        return None if error_px is None else error_px <= self._correct_px

    def _text(self, row: PinMatch, column: int) -> str:
        pin, answer = row.pin, row.answer
        if column == _NUMBER:
            return "" if row.descriptor else str(pin.number)
        if column == _FROM:
            if row.descriptor:
                return self._title(row)
            return f"{pin.probe.side.upper()} {_rounded(pin.probe.point_px)}"
        if answer is None:
            return "–"
        if column == _MATCH:
            return _rounded(answer.found_px)
        if column == _SIMILARITY:
            return f"{answer.peaks[0].similarity:.3f}" if answer.textured else "no texture"
        if answer.error_px is not None:
            return f"{answer.error_px:.1f}"
        return "–" if answer.request.pair.truth is None else _STATES[answer.visibility]

    def _title(self, row: PinMatch) -> str:
        return descriptor_title(self._models, self._models.descriptors[row.descriptor])

    def _tooltip(self, row: PinMatch) -> str:
        pin = row.pin
        x_px, y_px = pin.probe.point_px
        lines = [f"Pin {pin.number}: image {pin.probe.side.upper()} at {x_px:.1f}, {y_px:.1f} px"]
        if self._models.comparing:
            lines.append(f"By {self._title(row)}")
        answer, right = row.answer, self._right(row)
        if answer is None:
            lines.append("Its match is not computed yet.")
        else:
            x_px, y_px = answer.found_px
            lines.append(f"Match at {x_px:.1f}, {y_px:.1f} px")
            if not answer.textured:
                lines.append("No texture around the pin: similarity means nothing here.")
            if answer.error_px is not None:
                lines.append(
                    f"Right, error {answer.error_px:.1f} px"
                    if right
                    else f"Wrong, error {answer.error_px:.1f} px"
                )
            elif answer.request.pair.truth is None:
                lines.append("No error: there is no ground truth for this pair.")
            else:
                lines.append(f"No error: {answer.visibility.words}.")
            if (words := answer.request.pair.truth_words) not in ("", "homography"):
                lines.append(f"Truth: {words}")
        return "\n".join(lines)

    def _chip(self, kind: str) -> QIcon:
        """A disc in a colour, or the tick or cross of a right or wrong match."""
        if kind not in self._chips:
            chip = QPixmap(2 * _CHIP_PX, 2 * _CHIP_PX)
            chip.setDevicePixelRatio(2.0)
            chip.fill(Qt.GlobalColor.transparent)
            painter = QPainter(chip)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            if kind in ("right", "wrong"):
                draw_verdict(painter, QRectF(1.0, 1.0, 10.0, 10.0), right=kind == "right")
            else:
                painter.setPen(QColor("#808080"))
                painter.setBrush(QColor(kind))
                painter.drawEllipse(QRectF(1.0, 1.0, 10.0, 10.0))
            painter.end()
            shown = QIcon(chip)
            shown.addPixmap(chip, QIcon.Mode.Selected)  # a selected row must not tint data colours
            self._chips[kind] = shown
        return self._chips[kind]

    def _on_pins(self, pins: tuple[Pin, ...]) -> None:
        rows = [PinMatch(pin, number) for pin in pins for number in self._models.numbers]
        same = [_key(row) for row in rows] == [_key(row) for row in self.rows]
        self.show_rows(rows, same=same)

    def _on_choice(self, *_change: object) -> None:
        self._on_pins(self._models.pins.pins)

    def _on_settings(self, settings: Settings) -> None:
        if settings.correct_px != self._correct_px:
            self._correct_px = settings.correct_px
            self.refresh()


class _PinsView(QTableView):
    """A table whose Delete key asks to remove the current row.

    Signals:
        remove_pressed(): Delete or Backspace.
    """

    remove_pressed = Signal()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave the matches to the tooltip where there is no room for them."""
        self.setColumnHidden(_MATCH, self.width() < _MATCH_FROM_WIDTH_PX)
        super().resizeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.remove_pressed.emit()
            return
        super().keyPressEvent(event)


class PinsPanel(QWidget):
    """Lists the pins; a click selects one."""

    def __init__(
        self,
        models: AppModels,
        probing: Probing,
        truths: Truths,
        learning: Learning,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._probing = probing
        self._pair = models.pair
        self._pins = models.pins
        self.table = PinsTable(models, self)
        self.view = self._make_view()
        self._empty = Sentence("Click in an image to pin a point.", self, quiet=True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.remove_button = QPushButton(icon("pin-remove"), "Remove", self)
        self.remove_button.setToolTip("Remove the selected pin")
        self.remove_button.clicked.connect(self._remove)
        self.clear_button = QPushButton(icon("clear-pins"), "Clear", self)
        self.clear_button.setToolTip("Remove all pins")
        self.clear_button.clicked.connect(probing.clear_pins)
        self.truth_button = QPushButton(icon("truth"), "Use as truth", self)
        self.truth_button.setToolTip(
            "Take the pins with their matches as the ground truth of this pair; it is called so"
        )
        self.truth_button.clicked.connect(truths.use_pins)
        self.learn_button = QPushButton(icon("train"), "Learn…", self)
        self.learn_button.setAccessibleName("Learn from these pins…")
        self.learn_button.clicked.connect(learning.learn_from_pins)
        lower = QHBoxLayout()
        lower.addWidget(self.truth_button)
        lower.addWidget(self.learn_button)
        buttons = QHBoxLayout()
        buttons.addWidget(self.remove_button)
        buttons.addWidget(self.clear_button)
        in_column(self, self._empty, (self.view, 1), buttons, lower)
        models.pins.changed.connect(self._on_pins)
        models.pins.selected_changed.connect(self._on_selected)
        models.pair.changed.connect(self._on_pair)
        self._on_pair()
        self._on_pins(models.pins.pins)

    def _make_view(self) -> _PinsView:
        view = _PinsView(self)
        view.setModel(self.table)
        view.setFont(tabular(view.font()))
        view.setAccessibleName("Pins")
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        view.setTabKeyNavigation(False)
        view.setFrameShape(QFrame.Shape.NoFrame)
        view.setShowGrid(False)
        view.setAlternatingRowColors(True)
        view.setWordWrap(False)
        view.setIconSize(QSize(_CHIP_PX, _CHIP_PX))
        view.setTextElideMode(Qt.TextElideMode.ElideRight)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        rows = view.verticalHeader()
        rows.hide()
        rows.setMinimumSectionSize(view.fontMetrics().height() + 5)
        rows.setDefaultSectionSize(view.fontMetrics().height() + 5)
        header = view.horizontalHeader()
        header.setSectionsClickable(False)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        metrics = view.fontMetrics()
        for column, widest in ((_NUMBER, "88"), (_SIMILARITY, "0.888"), (_ERROR, "no truth")):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            chip_px = 0 if column == _SIMILARITY else _CHIP_PX + 6
            header.resizeSection(column, metrics.horizontalAdvance(widest) + chip_px + 8)
        for column in (_FROM, _MATCH):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        view.setMinimumHeight(
            _ROWS_SHOWN * rows.defaultSectionSize() + header.sizeHint().height() + 2
        )
        bold = QFont(header.font())
        bold.setBold(False)
        header.setFont(bold)
        view.selectionModel().currentRowChanged.connect(self._on_row)
        view.remove_pressed.connect(self._remove)
        return view

    def _on_pins(self, pins: tuple[Pin, ...]) -> None:
        self._empty.setVisible(not pins)
        self.view.setVisible(bool(pins))
        self.clear_button.setVisible(bool(pins))
        self.remove_button.setVisible(bool(pins))
        self.truth_button.setVisible(bool(pins))
        self.learn_button.setVisible(bool(pins))
        self.truth_button.setEnabled(any(pin.answer is not None for pin in pins))
        self._on_selected(self._pins.selected)

    def _on_pair(self, _state: object = None) -> None:
        state = self._pair.state
        known = state is not None and state.truth is not None
        self.learn_button.setEnabled(known)
        self.learn_button.setToolTip(
            "Set up a training that also learns from these pins and their true matches"
            if known
            else "This pair has no ground truth: load one, or use the pins as truth first"
        )

    def _on_selected(self, number: int) -> None:
        row = self.table.row_of(number)
        self.remove_button.setEnabled(row >= 0)
        selection = self.view.selectionModel()
        if row < 0:
            selection.clear()
        elif number != self._number_at(self.view.currentIndex()):
            selection.setCurrentIndex(
                self.table.index(row, 0),
                QItemSelectionModel.SelectionFlag.ClearAndSelect
                | QItemSelectionModel.SelectionFlag.Rows,
            )

    def _on_row(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if current.isValid():
            self._pins.select(self._number_at(current))

    def _number_at(self, index: QModelIndex) -> int:
        """The number of a row's pin; 0 for none."""
        return self.table.rows[index.row()].pin.number if index.isValid() else 0

    def _remove(self) -> None:
        if self._pins.selected:
            self._probing.remove_pin(self._pins.selected)


def _key(row: PinMatch) -> tuple[int, int]:
    return row.pin.number, row.descriptor


def _rounded(point_px: api.Point) -> str:
    return f"{point_px[0]:.0f}, {point_px[1]:.0f}"
