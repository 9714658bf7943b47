"""The side panel that matches many points at once, then filters and summarises the matches."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRect, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.matches_state import MatchesState
from descgui.models.settings import Settings
from descgui.views.form import NumberBox
from descgui.views.panel_parts import (
    Notice,
    PanelScroll,
    Section,
    Sentence,
    ThinBar,
    WheelNeedsFocus,
    blended,
    in_column,
    in_row,
    labelled_rows,
    muted,
    narrow_combo,
    refill,
    show_value,
    tabular,
    word_buttons,
)
from descgui.views.ports import Files, Matching, Truths
from descgui.views.scene import descriptor_title
from descgui.views.words import counted
from engine import api
from engine.api import (
    LISTED_TRUTHS,
    PCK_THRESHOLDS_PX,
    RIGHT,
    WRONG,
    OptionInfo,
    describe_options,
)

_POINTS = (("Harris corners", "harris"), ("Regular grid", "grid"), ("Random", "random"))
_LEAST_PX, _MOST_PX = 0.1, 1000.0
_BINS = 32
_DECADES = round(math.log10(_MOST_PX / _LEAST_PX))


class ErrorHistogram(QWidget):
    """How many matches have which error, with the threshold marked.

    Right matches are filled, wrong ones hatched.  The axis is logarithmic from 0.1 to 1000 px, or
    linear from 0 to four times the threshold; errors beyond it count in the outermost bars.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._errors_px: NDArray[np.float64] = np.zeros(0)
        self._threshold_px = 3.0
        self._logarithmic = True
        self.setFont(tabular(self.font()))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Histogram of errors")

    def sizeHint(self) -> QSize:
        return QSize(160, 84 + self.fontMetrics().height())

    def show_errors(
        self, errors_px: NDArray[np.float64], *, threshold_px: float, logarithmic: bool
    ) -> None:
        """Draw ``(N,)`` errors; NaN are left out."""
        self._errors_px = errors_px[np.isfinite(errors_px)]
        self._threshold_px = threshold_px
        self._logarithmic = logarithmic
        right = int((self._errors_px <= threshold_px).sum())
        self.setAccessibleDescription(
            f"{right} of {len(self._errors_px)} errors are at most {threshold_px:g} px"
        )
        self.update()

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many right and wrong matches fall into each bar."""
        bars = np.clip((self._places(self._errors_px) * _BINS).astype(np.int64), 0, _BINS - 1)
        right = self._errors_px <= self._threshold_px
        return (
            np.bincount(bars[right], minlength=_BINS),
            np.bincount(bars[~right], minlength=_BINS),
        )

    def _places(self, errors_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where errors lie on the axis, 0 left to 1 right."""
        if self._logarithmic:
            inside = np.clip(errors_px, _LEAST_PX, _MOST_PX)
            return np.asarray(np.log10(inside / _LEAST_PX) / _DECADES, dtype=np.float64)
        return np.clip(errors_px / (4.0 * self._threshold_px), 0.0, 1.0)

    def _ticks(self) -> list[tuple[float, str]]:
        if self._logarithmic:
            values = [_LEAST_PX * 10.0**decade for decade in range(_DECADES + 1)]
        else:
            values = [self._threshold_px * part for part in range(5)]
        places = self._places(np.array(values))
        texts = [f"{value:g}" for value in values]
        if self._logarithmic:
            texts[0] = f"≤ {texts[0]}"
        texts[-1] = f"≥ {texts[-1]} px"
        return list(zip(places.tolist(), texts, strict=True))

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette, metrics = self.palette(), self.fontMetrics()
        role = QPalette.ColorRole
        plot = QRect(4, 4, self.width() - 8, self.height() - metrics.height() - 10)
        painter.fillRect(plot, palette.color(role.Base))
        self._paint_bars(painter, plot)
        painter.setPen(palette.color(role.Mid))
        painter.drawRect(plot.adjusted(0, 0, -1, -1))
        place = float(self._places(np.array([self._threshold_px]))[0])
        left = plot.left() + place * plot.width()
        painter.setPen(QPen(palette.color(role.WindowText), 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(round(left), plot.top(), round(left), plot.bottom())
        painter.setPen(muted(palette))
        self._paint_axis(painter, plot)

    def _paint_axis(self, painter: QPainter, plot: QRect) -> None:
        """Draw the ticks; where room is short the numbers at the ends stay, others are left out."""
        metrics = self.fontMetrics()
        first, *middle, last = self._ticks()
        taken: list[tuple[int, int]] = []
        for place, text in (first, last, *middle):
            x = round(plot.left() + place * (plot.width() - 1))
            painter.drawLine(x, plot.bottom() + 1, x, plot.bottom() + 3)
            width = metrics.horizontalAdvance(text)
            left = min(max(x - width // 2, 0), self.width() - width)
            if all(left + width + 4 <= begin or end + 4 <= left for begin, end in taken):
                taken.append((left, left + width))
                painter.drawText(left, plot.bottom() + 4 + metrics.ascent(), text)

    def _paint_bars(self, painter: QPainter, plot: QRect) -> None:
        right, wrong = self.counts()
        most = int((right + wrong).max())
        if most == 0:
            return
        base = self.palette().color(QPalette.ColorRole.Base)
        width = plot.width() / _BINS
        for index in range(_BINS):
            bottom = float(plot.bottom() + 1)
            left = plot.left() + index * width
            for count, color, hatched in (
                (int(right[index]), QColor(RIGHT), False),
                (int(wrong[index]), QColor(WRONG), True),
            ):
                if count == 0:
                    continue
                height = max(1.0, count / most * (plot.height() - 6))
                bar = QRectF(left, bottom - height, max(width - 1.0, 1.0), height)
                if hatched:
                    painter.fillRect(bar, blended(color, base, 0.3))
                    painter.fillRect(bar, QBrush(color, Qt.BrushStyle.BDiagPattern))
                    painter.setPen(color)
                    painter.drawLine(bar.topLeft(), bar.topRight())
                else:
                    painter.fillRect(bar, color)
                bottom -= height


class _FilterRow(QWidget):
    """A slider and a spin box for one number; every change counts at once.

    Signals:
        moved(): the box has another value.
    """

    moved = Signal()

    def __init__(
        self, info: OptionInfo, title: str, parent: QWidget, *, logarithmic: bool = False
    ) -> None:
        super().__init__(parent)
        assert info.low is not None
        assert info.high is not None
        self._low, self._high, self._logarithmic = info.low, info.high, logarithmic
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(0, 1000)
        self.slider.setPageStep(50)
        self.slider.setMinimumWidth(40)
        self.box = NumberBox(info, self)
        self.box.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.box.setFixedWidth(self.box.fontMetrics().horizontalAdvance("100.0 px") + 32)
        for control in (self.slider, self.box):
            control.setAccessibleName(title)
            control.setToolTip(info.help)
        in_row(self, (self.slider, 1), self.box)
        self.slider.valueChanged.connect(self._on_slider)
        self.box.valueChanged.connect(self._on_box)

    def show_value(self, value: float) -> None:
        """Show a value without a signal."""
        self.box.set_number(value)
        with QSignalBlocker(self.slider):
            self.slider.setValue(round(1000.0 * self._place(value)))

    def _place(self, value: float) -> float:
        if self._logarithmic:
            return math.log(value / self._low) / math.log(self._high / self._low)
        return (value - self._low) / (self._high - self._low)

    def _on_slider(self, step: int) -> None:
        share = step / 1000.0
        if self._logarithmic:
            value = float(f"{self._low * (self._high / self._low) ** share:.2g}")
        else:
            value = round(self._low + share * (self._high - self._low), 3)
        self.box.set_number(value)
        self.moved.emit()

    def _on_box(self) -> None:
        value = self.box.number()
        assert value is not None, "it is not optional"
        self.show_value(value)
        self.moved.emit()


class MatchesPanel(QWidget):
    """Matches many points, filters the matches, and shows how good they are."""

    def __init__(
        self,
        models: AppModels,
        matching: Matching,
        files: Files,
        truths: Truths,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._truths = truths
        self._matches = models.matches
        self._matching = matching
        self._files = files
        self._wheel = WheelNeedsFocus(self)
        scroll = PanelScroll(self)
        in_column(self, scroll)
        for section in (self._make_points(), self._make_filters(), self._make_results()):
            scroll.column.addWidget(section)
        scroll.column.addStretch(1)
        models.matches.changed.connect(self._show_state)
        for changed in (
            models.pair.changed,
            models.settings.changed,
            *(maps.choice_changed for maps in models.descriptors),
            models.engine.changed,
        ):
            changed.connect(self._show_state)
        self._show_state()

    # Making

    def _make_points(self) -> Section:
        section = Section("Points", self)
        self.descriptor = narrow_combo(
            section,
            name="Match by",
            tip="Which of the descriptors matches",
            chosen=self._on_descriptor,
        )
        self.points = narrow_combo(
            section,
            name="Points",
            tip="How the points of image A are chosen",
            entries=_POINTS,
            chosen=self._on_edited,
        )
        self.count = NumberBox(_COUNT, section)
        self.count.setAccessibleName("Count")
        self.seed = NumberBox(_SEED, section)
        self.seed.setAccessibleName("Seed")
        self.seed.setToolTip("The same seed chooses the same points")
        for box in (self.count, self.seed):
            box.valueChanged.connect(self._on_edited)
        self._wheel.guard(self.descriptor, self.points, self.count, self.seed)
        self._points_form = labelled_rows(
            ("Match by", self.descriptor),
            ("Choose by", self.points),
            ("Count", self.count),
            ("Seed", self.seed),
        )
        section.body.addLayout(self._points_form)
        self.run_button, self.cancel_button, self.clear_button = buttons = word_buttons(
            section,
            ("play", "Match", "Match the points", self._matching.run),
            ("stop", "Cancel", "Stop matching", self._matching.cancel),
            ("matches-clear", "Clear", "Clear the matches", self._matching.clear),
        )
        section.body.addLayout(in_row(None, *((button, 1) for button in buttons)))
        self.busy = ThinBar(section)
        self.busy.setRange(0, 0)
        self.busy.setAccessibleName("Matching")
        section.body.addWidget(self.busy)
        self.hint = Sentence(parent=section, quiet=True)
        section.body.addWidget(self.hint)
        return section

    def _make_filters(self) -> Section:
        section = Section("Shown matches", self)
        self.visible = QCheckBox("Draw matches", section)
        self.mutual = QCheckBox("Mutual only", section)
        self.mutual.setToolTip("Only mutual matches: matched back, they end within a cell")
        for tick in (self.visible, self.mutual):
            tick.clicked.connect(self._on_edited)
        section.body.addLayout(in_row(None, (self.visible, 1), (self.mutual, 1)))
        self.correct = _FilterRow(_CORRECT, "Right up to", section, logarithmic=True)
        self.correct.moved.connect(self._on_correct)
        self.similarity = _FilterRow(_SIMILARITY, "Lowest similarity", section)
        self.ratio = _FilterRow(_RATIO, "Highest ratio", section)
        self.sure = _FilterRow(_SURE, "Lowest confidence", section)
        for row in (self.similarity, self.ratio, self.sure):
            row.moved.connect(self._on_edited)
        for row in (self.correct, self.similarity, self.ratio, self.sure):
            self._wheel.guard(row.slider, row.box)
        section.body.addLayout(
            labelled_rows(
                ("Right up to", self.correct),
                ("Similarity ≥", self.similarity),
                ("Ratio ≤", self.ratio),
                ("Confidence ≥", self.sure),
            )
        )
        return section

    def _make_results(self) -> Section:
        section = Section("Result", self)
        self.nothing = Sentence("No matches yet.", section, quiet=True)
        section.body.addWidget(self.nothing)
        self.summary = Sentence(parent=section)
        self.verdicts = Sentence(parent=section)
        self.estimate = Sentence(parent=section)
        self.texture = Sentence(parent=section)
        self.calibration = Sentence(parent=section)
        for line in (
            self.summary, self.verdicts, self.estimate, self.texture, self.calibration
        ):  # fmt: skip
            line.setFont(tabular(line.font()))
            section.body.addWidget(line)
        (self.truth_button,) = word_buttons(
            section,
            (
                "truth",
                "Use as truth",
                "Take the estimated homography as the ground truth of this pair; it is called so",
                self._truths.use_estimate,
            ),
        )
        section.body.addWidget(self.truth_button)
        self.none_left = Notice("info", section)
        section.body.addWidget(self.none_left)
        self._pck = self._make_pck(section)
        section.body.addWidget(self._pck)
        self.histogram = ErrorHistogram(section)
        section.body.addWidget(self.histogram)
        self.logarithmic = QCheckBox("Logarithmic axis", section)
        self.logarithmic.setChecked(True)
        self.logarithmic.toggled.connect(self._show_state)
        section.body.addWidget(self.logarithmic)
        (self.export_button,) = word_buttons(
            section,
            (
                "table",
                "Export…",
                "Export all matches, unfiltered, as CSV, NumPy or COLMAP files",
                self._files.save_matches,
            ),
        )
        section.body.addWidget(self.export_button)
        return section

    def _make_pck(self, parent: QWidget) -> QWidget:
        box = QWidget(parent)
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        self.pck_cells: dict[tuple[str, float], QLabel] = {}
        title = QLabel("PCK", box)
        title.setToolTip(
            "Share of matches with known ground truth that lie within this distance of it"
        )
        grid.addWidget(title, 0, 0)
        for column, threshold_px in enumerate(PCK_THRESHOLDS_PX, start=1):
            heading = QLabel(f"{threshold_px:g} px", box)
            heading.setAlignment(Qt.AlignmentFlag.AlignRight)
            heading.setProperty("subtle", True)
            grid.addWidget(heading, 0, column)
        for line, (key, name) in enumerate((("all", "All"), ("shown", "Shown")), start=1):
            label = QLabel(name, box)
            label.setProperty("subtle", True)
            grid.addWidget(label, line, 0)
            for column, threshold_px in enumerate(PCK_THRESHOLDS_PX, start=1):
                cell = QLabel(box)
                cell.setFont(tabular(cell.font()))
                cell.setAlignment(Qt.AlignmentFlag.AlignRight)
                cell.setAccessibleName(f"PCK at {threshold_px:g} px, {name}")
                grid.addWidget(cell, line, column)
                self.pck_cells[key, threshold_px] = cell
        return box

    # Drawing the models

    def _show_state(self) -> None:
        state = self._matches.state
        models = self._models
        titles = [descriptor_title(models, models.descriptors[one]) for one in models.numbers]
        refill(self.descriptor, list(zip(titles, models.numbers, strict=True)))
        show_value(self.descriptor, state.descriptor)
        self._points_form.setRowVisible(self.descriptor, models.comparing)
        pair = self._models.pair.state
        lists = pair is not None and pair.truth is not None and pair.truth.kind in LISTED_TRUTHS
        refill(self.points, [*_POINTS, *([("Listed by the truth", "listed")] if lists else [])])
        show_value(self.points, state.points)
        self.visible.setChecked(state.visible)
        self.mutual.setChecked(state.mutual_only)
        self.count.set_number(state.count)
        self.seed.set_number(state.seed)
        self.seed.setEnabled(state.points != "grid")
        self.correct.show_value(self._models.settings.state.correct_px)
        self.similarity.show_value(state.min_similarity)
        self.ratio.show_value(state.max_ratio)
        self.sure.show_value(state.min_confidence)
        self.sure.setEnabled(state.table is None or not state.table.not_calibrated)
        missing = self._what_is_missing()
        self.hint.say(missing)
        self.hint.setVisible(bool(missing) and not state.running)
        self.run_button.setVisible(not state.running)
        self.run_button.setEnabled(not missing)
        self.cancel_button.setVisible(state.running)
        self.busy.setVisible(state.running)
        self.clear_button.setEnabled(state.table is not None and not state.running)
        self._show_results(state)

    def _what_is_missing(self) -> str:
        if self._models.engine.state.stage == "loading":
            return "The engine is being loaded."
        if self._models.engine.state.stage == "failed":
            return "The engine could not be loaded."
        if self._models.pair.state is None:
            return "Open a pair to match its points."
        if not self._models.descriptors[self._matches.state.descriptor].choice.name:
            return "Choose a descriptor to match with."
        return ""

    def _show_results(self, state: MatchesState) -> None:
        table = state.table
        self.nothing.setVisible(table is None)
        self.summary.setVisible(table is not None)
        self.export_button.setEnabled(table is not None)
        known = table is not None and bool(np.isfinite(table.error_px).any())
        for widget in (self._pck, self.histogram, self.logarithmic):
            widget.setVisible(known)
        estimated = table is not None and table.h_b_from_a is not None
        self.truth_button.setVisible(estimated and not known)
        if table is None:
            self.verdicts.hide()
            self.estimate.hide()
            self.texture.hide()
            self.calibration.hide()
            self.none_left.say("")
            return
        total = len(table.similarity)
        shown = state.shown() if state.visible else np.zeros(total, dtype=np.bool_)
        spread_px = table.median_uncertainty_px(shown & table.textured)
        spread = (
            ""
            if math.isnan(spread_px)
            else f" · ±\N{NO-BREAK SPACE}{spread_px:.1f}\N{NO-BREAK SPACE}px (median)"
        )
        self.summary.say(
            f"{int(shown.sum())} of {counted(total, '1 match', '{n} matches')} shown · "
            f"{1000.0 * table.seconds:.0f} ms{spread}"
        )
        self._show_none_left(state, total, shown)
        self._show_verdicts(state, table, shown, known=known)
        if known:
            self._show_errors(state, table, shown)
        self._show_estimate(table, known=known)
        self._show_texture(table, known=known)
        self.calibration.setVisible(bool(table.not_calibrated))
        self.calibration.say(f"No confidences: not calibrated for {table.not_calibrated}.")

    def _show_none_left(self, state: MatchesState, total: int, shown: NDArray[np.bool_]) -> None:
        if total == 0:
            self.none_left.say("No point could be chosen in image A.")
        elif not state.visible:
            self.none_left.say("Matches are not drawn: tick “Draw matches”.")
        elif not shown.any():
            self.none_left.say("No match passes these filters.")
        else:
            self.none_left.say("")

    def _show_verdicts(
        self, state: MatchesState, table: api.MatchTable, shown: NDArray[np.bool_], *, known: bool
    ) -> None:
        correct = state.correct(self._models.settings.state.correct_px)
        if correct is None:
            self.verdicts.hide()
            return
        judged = shown & (np.isfinite(table.error_px) if known else table.textured)
        right = int((judged & correct).sum())
        count = int(judged.sum())
        words = ("{0} right · {1} wrong" if known else "{0} inliers · {1} outliers").format(
            right, count - right
        )
        share = f" · {100.0 * right / count:.1f} %" if count else ""
        left = int(shown.sum()) - count
        beyond = f" · {left} {'not in sight' if known else 'without texture'}" if left else ""
        self.verdicts.say(words + share + beyond)
        self.verdicts.show()

    def _show_errors(
        self, state: MatchesState, table: api.MatchTable, shown: NDArray[np.bool_]
    ) -> None:
        for key, rows in (("all", np.ones_like(shown)), ("shown", shown)):
            errors_px = table.error_px[rows & np.isfinite(table.error_px)]
            for threshold_px in PCK_THRESHOLDS_PX:
                cell = self.pck_cells[key, threshold_px]
                cell.setText(
                    f"{100.0 * float(np.mean(errors_px <= threshold_px)):.1f} %"
                    if len(errors_px)
                    else "–"
                )
        self.histogram.show_errors(
            table.error_px[shown] if state.visible else table.error_px,
            threshold_px=self._models.settings.state.correct_px,
            logarithmic=self.logarithmic.isChecked(),
        )

    def _show_estimate(self, table: api.MatchTable, *, known: bool) -> None:
        by_homography = table.truth in ("", "homography")
        self.estimate.setVisible(not known or not by_homography)
        if known:
            self.estimate.say(f"Truth: {table.truth}")
            return
        if table.h_b_from_a is None:
            self.estimate.say("No homography agrees with enough of these matches.")
            return
        errors_px = transfer_errors(table)[table.inlier]
        median = f"{float(np.median(errors_px)):.2f}" if len(errors_px) else "–"
        self.estimate.say(
            f"Estimated homography: {int(table.inlier.sum())} of "
            f"{counted(int(table.textured.sum()), '1 match', '{n} matches')}"
            f"{'' if table.textured.all() else ' with texture'} agree, "
            f"median error {median} px"
        )

    def _show_texture(self, table: api.MatchTable, *, known: bool) -> None:
        blank = int((~table.textured).sum())
        self.texture.setVisible(blank > 0)
        if not blank:
            return
        points = f"{blank} of {counted(len(table.textured), '1 point', '{n} points')}"
        counts = "counted in PCK all the same" if known else "left out of the estimate"
        self.texture.say(
            f"{points} {'has' if blank == 1 else 'have'} no texture, or the same one elsewhere: "
            f"similarity means nothing there; {counts}."
        )

    # What the user does

    def _on_descriptor(self) -> None:
        self._matching.match_by(self.descriptor.currentData())

    def _on_edited(self) -> None:
        """Take over what the fields show."""
        self._matches.update(
            points=self.points.currentData(),
            count=self.count.number(),
            seed=self.seed.number(),
            visible=self.visible.isChecked(),
            mutual_only=self.mutual.isChecked(),
            min_similarity=self.similarity.box.number(),
            max_ratio=self.ratio.box.number(),
            min_confidence=self.sure.box.number(),
        )

    def _on_correct(self) -> None:
        self._models.settings.update(correct_px=self.correct.box.number())


def transfer_errors(table: api.MatchTable) -> NDArray[np.float64]:
    """``(N,)`` distances in image b between the matches and the estimated homography, in px."""
    assert table.h_b_from_a is not None
    found = np.column_stack([table.points_a, np.ones(len(table.points_a))]) @ table.h_b_from_a.T
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = found[:, :2] / found[:, 2:]
    return np.asarray(np.linalg.norm(expected - table.points_b, axis=1), dtype=np.float64)


_COUNT = OptionInfo(
    name="count", kind="int", default=200, help="how many points at most", low=1, high=100_000
)
_SEED = OptionInfo(
    name="seed", kind="int", default=0, help="of the random choice", low=0, high=2**31 - 1
)
(_CORRECT,) = (info for info in describe_options(Settings) if info.name == "correct_px")
_SIMILARITY = OptionInfo(
    name="min_similarity",
    kind="float",
    default=-1.0,
    help="Matches less similar than this are hidden",
    low=-1.0,
    high=1.0,
)
_RATIO = OptionInfo(
    name="max_ratio",
    kind="float",
    default=1.0,
    help="Matches less sure than this are hidden; 1 shows all",
    low=0.0,
    high=1.0,
)
_SURE = OptionInfo(
    name="min_confidence",
    kind="float",
    default=0.0,
    help="Matches that are not at least so sure are hidden, and those without texture; 0 shows all",
    unit="share",
    low=0.0,
    high=1.0,
)
