"""The side panel that reads the live probe out in numbers, and lists the pins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from PySide6.QtCore import (
    QObject,
    QRect,
    QRectF,
    QSize,
    Qt,
    QTimer,
)
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QGridLayout,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.maps_state import MapsModel
from descgui.models.probe_state import Probe
from descgui.models.settings import Settings
from descgui.views import scene
from descgui.views.panel_parts import (
    ElidedLabel,
    PanelScroll,
    Section,
    draw_verdict,
    muted,
    narrow_combo,
    refill,
    show_value,
    tabular,
)
from descgui.views.pins_panel import PinsPanel
from descgui.views.ports import Learning, Probing, Truths
from descgui.views.row_table import Index, RowTable
from engine import api

DASH = "–"
_MARK_PX = 10
_GAP_PX = 8
READ_DELAY_MS = 40
_NARROW_PX: Final = 230
_MEMBERS: Final = 4  # column of the table of best matches


@dataclass(frozen=True, slots=True)
class Reading:
    """One value as it is shown.

    Attributes:
        text: with its unit.
        short: for a narrow panel; "" if the text is short enough.
        why: tooltip; for an undefined value the reason.
        share: length of the bar below, 0 to 1; None for no bar.
        right: True draws a tick, False a cross, None neither.
    """

    text: str = DASH
    short: str = ""
    why: str = ""
    share: float | None = None
    right: bool | None = None


class ValueCell(QWidget):
    """Shows a reading, aligned right; never asks for another size, so nothing jumps."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._reading = Reading()
        self.setFont(tabular(self.font()))
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def reading(self) -> Reading:
        """What is shown."""
        return self._reading

    def sizeHint(self) -> QSize:
        return QSize(64, self.fontMetrics().height() + 5)

    def minimumSizeHint(self) -> QSize:
        return QSize(32, self.sizeHint().height())

    def read_out(self, reading: Reading) -> None:
        """Show another reading; costs nothing when it is the same."""
        if reading == self._reading:
            return
        if reading.why != self._reading.why:
            self.setToolTip(reading.why)
        self._reading = reading
        self.setAccessibleDescription(reading.text if reading.text != DASH else reading.why)
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette, reading, metrics = self.palette(), self._reading, self.fontMetrics()
        area = self.rect().adjusted(_GAP_PX, 0, 0, -4)
        room = area.width() - (_MARK_PX + 4 if reading.right is not None else 0)
        text = reading.text
        if reading.short and metrics.horizontalAdvance(text) > room:
            text = reading.short
        text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
        undefined = reading.text == DASH
        role = QPalette.ColorRole
        painter.setPen(muted(palette) if undefined else palette.color(role.WindowText))
        painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
        if reading.right is not None:
            left = area.right() - metrics.horizontalAdvance(text) - _MARK_PX - 4
            mark = QRectF(left, area.center().y() - _MARK_PX / 2, _MARK_PX, _MARK_PX)
            draw_verdict(painter, mark, right=reading.right)
        if reading.share is not None:
            track = QRect(_GAP_PX, self.height() - 3, self.width() - _GAP_PX, 3)
            painter.fillRect(track, palette.color(role.Mid))
            filled = QRectF(track)
            filled.setWidth(max(0.0, min(reading.share, 1.0)) * track.width())
            painter.fillRect(filled, palette.color(role.Accent))


class PeaksTable(RowTable["api.Peak | None"]):
    """The k best matches; always k rows, so that the table keeps its height."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(("#", "x", "y", "Similarity", "Members"), parent=parent)

    def set_length(self, length: int) -> None:
        """How many rows there always are."""
        if length != len(self.rows):
            self.show_rows([None] * length)

    def set_peaks(self, peaks: tuple[api.Peak, ...]) -> None:
        """Show other peaks."""
        length = len(self.rows)
        rows = [*peaks, *[None] * length][:length]
        if rows != self.rows:
            self.show_rows(rows, same=True)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.DisplayRole and index.column() == 0:
            return str(index.row() + 1)
        return super().data(index, role)

    def cell(self, row: api.Peak | None, column: int, role: int) -> Any:
        if role == Qt.ItemDataRole.ToolTipRole and row is not None and column == _MEMBERS:
            return row.members
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if row is None:
            return ""
        x_px, y_px = row.point_px
        members = row.members.removeprefix("scale ")  # there is little room
        return ("", f"{x_px:.1f}", f"{y_px:.1f}", f"{row.similarity:.3f}", members)[column]


class _TextDelegate(QStyledItemDelegate):
    """Draws texts only: several times faster than a style's item, and redrawn on every hover."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one text, aligned right."""
        painter.setFont(option.font)
        painter.setPen(option.palette.color(QPalette.ColorRole.Text))
        area = option.rect.adjusted(3, 0, -3, 0)
        text = option.fontMetrics.elidedText(
            index.data(), Qt.TextElideMode.ElideRight, area.width()
        )
        painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)


class ProbePanel(QWidget):
    """Reads out the live probe for each descriptor; lists the pins."""

    def __init__(
        self,
        models: AppModels,
        probing: Probing,
        truths: Truths,
        learning: Learning,
        parent: QWidget | None = None,
        *,
        delay_ms: int = READ_DELAY_MS,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._late = QTimer(self, singleShot=True, interval=delay_ms)
        self._late.timeout.connect(self._read_unless_incomplete)
        self._overdue = False
        self._asked = ValueCell("Query point", self)
        self._headings = tuple(ElidedLabel(parent=self) for _ in models.descriptors)
        self._rows: dict[str, tuple[ValueCell, ...]] = {}
        self._titles: list[list[QLabel]] = []
        self._listed = 0
        self._columns = 0
        self.peaks = PeaksTable(self)
        self._peaks_view = QTableView(self)
        self.pins = PinsPanel(models, probing, truths, learning, self)
        scroll = PanelScroll(self)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        scroll.column.addWidget(self._make_readings())
        scroll.column.addWidget(self._make_peaks())
        section = Section("Pins", self)
        section.body.addWidget(self.pins)
        scroll.column.addWidget(section, 1)
        for signal in (models.probe.moved, models.probe.answered, models.probe.compared):
            signal.connect(self._read_later)
        models.settings.changed.connect(self._on_settings)
        models.settings.changed.connect(self._read_all)
        models.pair.changed.connect(self._read_all)
        for maps in models.descriptors:
            maps.choice_changed.connect(self._on_choice)
            maps.status_changed.connect(self._read_all)
        models.engine.changed.connect(self._on_choice)
        self._place(2)
        self._on_settings(models.settings.state)
        self._on_moved(models.probe.probe)
        self._on_choice()

    def cell(self, row: str, descriptor: int = 0) -> ValueCell:
        """The cell of one value, such as "match" or "error", of one descriptor."""
        return self._rows[row][descriptor]

    @property
    def asked(self) -> ValueCell:
        """The cell with the asked point."""
        return self._asked

    # Making

    def _make_readings(self) -> QWidget:
        box = QWidget(self)
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        titles = {
            "match": ("Match", "Best match in the other image"),
            "similarity": ("Similarity", "Cosine; the bar runs from 0 to 1"),
            "ratio": (
                "Ratio",
                "Distance of the best over the second best: 0 sure, 1 ambiguous",
            ),
            "confidence": (
                "Confidence",
                "Probability that the match is right, from similarity, ratio, cycle error and vote",
            ),
            "truth": ("True point", "Where the ground truth puts the point"),
            "error": ("Error", "Distance of the match from the true point"),
            "rank": (
                "Rank",
                "1 when nothing is more similar than the true point's surroundings",
            ),
            "cycle": (
                "Cycle error",
                "Distance from the query after matching back",
            ),
            "members": ("Members", "Which members of the sets met"),
            "time": ("Time", "Time to answer"),
        }
        grid.addWidget(_row_title("Query", box), 0, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self._asked, 0, 1, 1, 2)
        for heading in self._headings:
            heading.setProperty("heading", True)
            heading.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            labels = []
            for title, help_ in titles.values():
                labels.append(_row_title(title, box))
                labels[-1].setToolTip(help_)
            self._titles.append(labels)
        for key, (title, _help) in titles.items():
            names = [title, *(f"{title}, compared {n}" for n in range(1, len(self._headings)))]
            self._rows[key] = tuple(ValueCell(name, box) for name in names)
        self._grid = grid
        return box

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put two descriptors side by side where there is room for their numbers."""
        super().resizeEvent(event)
        self._place(1 if self.width() < _NARROW_PX else 2)

    def _place(self, columns: int) -> None:
        """Put descriptors into this many columns, and further ones below."""
        if columns == self._columns:
            return
        self._columns = columns
        grid, height = self._grid, len(self._rows) + 1
        for number, heading in enumerate(self._headings):
            block, column = divmod(number, columns)
            first = 1 + block * height
            heading.setContentsMargins(_GAP_PX, 6 if block else 0, 0, 0)
            cells = [heading, *(row[number] for row in self._rows.values())]
            for line, cell in enumerate(cells, start=first):
                grid.removeWidget(cell)
                grid.addWidget(cell, line, column + 1)
        for block, labels in enumerate(self._titles):
            for line, label in enumerate(labels, start=2 + block * height):
                grid.removeWidget(label)
                grid.addWidget(label, line, 0, Qt.AlignmentFlag.AlignTop)
        self._show_columns()

    def _show_columns(self) -> None:
        """Show what belongs to a chosen descriptor."""
        numbers = self._models.numbers
        for number, heading in enumerate(self._headings):
            heading.setVisible(number in numbers)
            for row in self._rows.values():
                row[number].setVisible(number in numbers)
        for block, labels in enumerate(self._titles):
            places = range(block * self._columns, (block + 1) * self._columns)
            for label in labels:
                label.setVisible(any(place in numbers for place in places))
        wide = any(number % self._columns for number in numbers)
        self._grid.setColumnStretch(2, 1 if wide else 0)

    def _make_peaks(self) -> Section:
        section = Section("Best matches", self)
        view = self._peaks_view
        view.setModel(self.peaks)
        view.setFont(tabular(view.font()))
        view.setAccessibleName("Best matches")
        self.listed = narrow_combo(
            section,
            name="Best matches of",
            tip="Which descriptor's best matches are listed",
            chosen=self._on_listed,
        )
        view.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view.setItemDelegate(_TextDelegate(view))
        view.setFrameShape(QFrame.Shape.NoFrame)
        view.setShowGrid(False)
        view.setAlternatingRowColors(True)
        view.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.verticalHeader().hide()
        view.verticalHeader().setDefaultSectionSize(view.fontMetrics().height() + 4)
        view.verticalHeader().setMinimumSectionSize(view.fontMetrics().height() + 4)
        header = view.horizontalHeader()
        header.setSectionsClickable(False)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(0, 28)
        self._show_members(False)
        section.body.addWidget(self.listed)
        section.body.addWidget(view)
        return section

    def _show_members(self, shown: bool) -> None:
        """Show which members met; numbers leave as much room for that as they can."""
        view, metrics = self._peaks_view, self._peaks_view.fontMetrics()
        header, mode = view.horizontalHeader(), QHeaderView.ResizeMode
        view.setColumnHidden(_MEMBERS, not shown)
        header.setSectionResizeMode(_MEMBERS, mode.Stretch)
        for column, widest in ((1, "9999.9"), (2, "9999.9"), (3, "Similarity")):
            header.setSectionResizeMode(column, mode.Fixed if shown else mode.Stretch)
            if shown:
                header.resizeSection(column, metrics.horizontalAdvance(widest) + 12)

    # Drawing the models

    def _on_settings(self, settings: Settings) -> None:
        self.peaks.set_length(settings.peaks)
        view = self._peaks_view
        rows = settings.peaks * view.verticalHeader().defaultSectionSize()
        view.setFixedHeight(rows + view.horizontalHeader().sizeHint().height() + 2)

    def _on_choice(self, *_change: object) -> None:
        numbers = self._models.numbers
        for number, heading in enumerate(self._headings):
            heading.say(self._title(number) or DASH)
        self._show_columns()
        self.listed.setVisible(self._models.comparing)
        if self._listed not in numbers:
            self._listed = 0
        refill(self.listed, [(self._title(number), number) for number in numbers])
        show_value(self.listed, self._listed)
        self._read_all()

    def _on_listed(self) -> None:
        self._listed = self.listed.currentData()
        self._list_peaks()

    def _title(self, number: int) -> str:
        return scene.descriptor_title(self._models, self._models.descriptors[number])

    def _read_later(self, *_change: object) -> None:
        """Read out soon: users read no faster, and the heat map is painted first."""
        if self._late.interval() == 0 or (self._overdue and not self._incomplete()):
            self._read_probe()
        elif not self._late.isActive():
            self._late.start()

    def _incomplete(self) -> bool:
        """Whether the way back of the shown answer is still to come."""
        answer = self._models.probe.answer
        return answer is not None and answer.cycle_px is None

    def _read_unless_incomplete(self) -> None:
        """Wait once more for the way back, or its row would flicker while the mouse moves."""
        if self._incomplete() and not self._overdue:
            self._overdue = True
            self._late.start()
        else:
            self._read_probe()

    def _read_probe(self) -> None:
        self._overdue = False
        self._late.stop()
        self._on_moved(self._models.probe.probe)
        self._read_all()

    def _on_moved(self, probe: Probe | None) -> None:
        if probe is None:
            self._asked.read_out(Reading(why="Move the mouse over an image."))
            return
        self._asked.read_out(
            Reading(f"{probe.side.upper()}   {_point(probe.point_px)} px", _point(probe.point_px))
        )

    def _list_peaks(self) -> None:
        answer = self._models.probe.answer_of(self._listed)
        self.peaks.set_peaks(answer.peaks if answer is not None else ())
        members = answer is not None and bool(answer.peaks[0].members)
        if answer is not None and members == self._peaks_view.isColumnHidden(_MEMBERS):
            self._show_members(members)

    def _read_all(self, *_change: object) -> None:
        for number in self._models.numbers:
            self._read(number)
        self._list_peaks()

    def _read(self, column: int) -> None:
        answer, maps = self._models.probe.answer_of(column), self._models.descriptors[column]
        if answer is None:
            nothing = Reading(why=self._why_nothing(maps))
            for row in self._rows.values():
                row[column].read_out(nothing)
            return
        for key, make in _READINGS.items():
            reading = make(self, answer)
            self._rows[key][column].read_out(reading)

    def _why_nothing(self, maps: MapsModel) -> str:
        if self._models.pair.state is None:
            return "No pair is open."
        if not maps.choice.name:
            return "No descriptor is chosen."
        if not maps.ready:
            return "The images are not described yet."
        if self._models.probe.probe is None:
            return "Move the mouse over an image."
        return "Being computed."

    # One function a row

    def _match(self, answer: api.ProbeAnswer) -> Reading:
        x_px, y_px = answer.found_px
        spread_px = answer.peaks[0].uncertainty_px
        spread = "" if spread_px is None else f" ± {spread_px:.1f}"
        why = "" if spread_px is None else _UNCERTAINTY
        return Reading(f"{_point(answer.found_px)}{spread} px", f"{x_px:.0f}, {y_px:.0f}", why)

    def _similarity(self, answer: api.ProbeAnswer) -> Reading:
        similarity = answer.peaks[0].similarity
        if not answer.textured:
            return Reading(f"no texture  {similarity:.3f}", f"{similarity:.3f}", _NO_TEXTURE)
        return Reading(f"{similarity:.3f}", share=similarity)

    def _ratio(self, answer: api.ProbeAnswer) -> Reading:
        why = "" if len(answer.peaks) > 1 else "There is no second peak."
        return Reading(f"{answer.ratio:.3f}", why=why)

    def _confidence(self, answer: api.ProbeAnswer) -> Reading:
        if answer.cycle_px is None:
            return Reading(why="Being computed.")
        if answer.not_calibrated:
            what = f"not calibrated for {answer.not_calibrated}"
            return Reading(what, "not calibrated", _NOT_CALIBRATED.format(answer.not_calibrated))
        if answer.confidence is None:
            return Reading(why=_NO_TEXTURE)
        why = _CONFIDENCE.format(f"{answer.confident_px:.1f}")
        return Reading(f"{100 * answer.confidence:.0f} %", why=why, share=answer.confidence)

    def _truth(self, answer: api.ProbeAnswer) -> Reading:
        if answer.error_px is None or answer.truth_px is None:
            known = answer.request.pair.truth is not None
            return Reading(
                answer.visibility.words if known else DASH, why=self._why_no_truth(answer)
            )
        x_px, y_px = answer.truth_px
        uncertain = answer.truth_uncertainty_px or 0.0
        spread = f" ± {uncertain:.1f}" if uncertain >= _SHOWN_UNCERTAINTY_PX else ""
        made = _maker(answer)
        text = f"{_point(answer.truth_px)}{spread} px"
        why = f"By the truth: {answer.request.pair.truth_words}."
        return Reading(f"{text}  {made}".rstrip(), f"{x_px:.0f}, {y_px:.0f}", why)

    def _error(self, answer: api.ProbeAnswer) -> Reading:
        if answer.error_px is None:
            return Reading(why=self._why_no_truth(answer))
        threshold_px = self._models.settings.state.correct_px
        right = answer.error_px <= threshold_px
        number = f"{answer.error_px:.1f} px"
        word = "right" if right else "wrong"
        made = f"  {_maker(answer)}" if _maker(answer) else ""
        why = (
            "Right: at most {0} px from the true point."
            if right
            else "Wrong: more than {0} px from the true point."
        ).format(f"{threshold_px:g}")
        return Reading(f"{word}  {number}{made}", number, why, right=right)

    def _rank(self, answer: api.ProbeAnswer) -> Reading:
        if answer.rank is None:
            return Reading(why=self._why_no_truth(answer))
        return Reading(str(answer.rank))

    def _cycle(self, answer: api.ProbeAnswer) -> Reading:
        if answer.cycle_error_px is None:
            return Reading(why="Being computed.")
        back = f"{_point(answer.cycle_px)} px" if answer.cycle_px is not None else ""
        return Reading(f"{answer.cycle_error_px:.1f} px", why=f"Back at {back}")

    def _members(self, answer: api.ProbeAnswer) -> Reading:
        members = answer.peaks[0].members
        if not members:
            return Reading(why="This descriptor is not a set.")
        return Reading(members, why=members)

    def _time(self, answer: api.ProbeAnswer) -> Reading:
        return Reading(f"{1000.0 * answer.seconds:.1f} ms")

    def _why_no_truth(self, answer: api.ProbeAnswer) -> str:
        truth = answer.request.pair.truth_words
        if not truth:
            return "There is no ground truth for this pair."
        place = f" It would be at {_point(answer.truth_px)} px." if answer.truth_px else ""
        match answer.visibility:
            case api.Visibility.OCCLUDED:
                return f"Something in the other image hides the true point.{place}"
            case api.Visibility.OUTSIDE:
                return f"The true point leaves the other image.{place}"
        return f"The truth ({truth}) says nothing about this point."


def _maker(answer: api.ProbeAnswer) -> str:
    """Who made the truth, if the data set did not."""
    source = answer.request.pair.truth
    return "" if source is None or source.origin == "given" else source.origin


_SHOWN_UNCERTAINTY_PX: Final = 0.05
_UNCERTAINTY: Final = (
    "±: one standard deviation along an axis, as the similarities around the match tell; a cell of "
    "the map where they tell nothing."
)
_CONFIDENCE: Final = (
    "Probability that the match is within {0} px of the true point.  What the pair's other matches "
    "tell is not asked for a single point; matching many points asks that, too."
)
_NOT_CALIBRATED: Final = (
    "Not calibrated for {0}: the probability would be wrong, because its weights were fitted to "
    "the matches of other descriptors, settings or weights."
)
_NO_TEXTURE: Final = (
    "The image has no texture around this point, or exactly the same one elsewhere, so similarity, "
    "ratio and cycle error mean nothing: what is found may follow the image's border."
)

_READINGS: dict[str, Callable[[ProbePanel, api.ProbeAnswer], Reading]] = {
    "match": ProbePanel._match,
    "similarity": ProbePanel._similarity,
    "ratio": ProbePanel._ratio,
    "confidence": ProbePanel._confidence,
    "truth": ProbePanel._truth,
    "error": ProbePanel._error,
    "rank": ProbePanel._rank,
    "cycle": ProbePanel._cycle,
    "members": ProbePanel._members,
    "time": ProbePanel._time,
}


def _row_title(text: str, parent: QWidget) -> QLabel:
    """The title of a row, on one line with the text of its cells."""
    label = QLabel(text, parent)
    label.setProperty("subtle", True)
    label.setFixedHeight(label.fontMetrics().height() + 1)
    return label


def _point(point_px: api.Point) -> str:
    return f"{point_px[0]:.1f}, {point_px[1]:.1f}"
