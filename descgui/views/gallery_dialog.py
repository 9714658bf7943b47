"""The window of measured pairs: a gallery of small pictures, a scatter plot, and slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PySide6.QtCore import QEvent, QSize, Qt, QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import (
    QButtonGroup,
    QDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QStackedWidget,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import ShownRun
from descgui.models.gallery_state import (
    ListedPair,
    PairTable,
    PictureKind,
    WantedPicture,
    belongs_to_pair,
    chosen_pairs,
    title_of,
)
from descgui.models.pair_filter import parse_filter
from descgui.views.alive import while_alive
from descgui.views.color_bar import ColorBar
from descgui.views.evaluation_actions import ResultActions
from descgui.views.gallery import GalleryModel, GalleryView, PairPictures
from descgui.views.gallery_slices import SlicesView
from descgui.views.panel_parts import (
    SegmentButton,
    Sentence,
    centred_words,
    icon_button,
    in_column,
    in_row,
    narrow_combo,
    refill,
    segment_row,
)
from descgui.views.scene import Scale
from descgui.views.words import QUERY_LISTS, counted
from engine.api import ERROR_RANGE_PX

if TYPE_CHECKING:
    from descgui.views.gallery_scatter import AxisChoice, GalleryScatter
    from engine.api import MergedResults, Table

_SIZE: Final = QSize(1120, 760)
_MOST: Final = 100  # of what a row can share out
_TYPING_MS: Final = 200
_CARD_PX: Final = (236, 92)
_KINDS: Final[tuple[PictureKind, ...]] = ("matches", "errors")
_GALLERY, _SCATTER, _SLICES, _EMPTY = range(4)
_LISTING: Final = "Listing the pairs…"
_MEASURING: Final = "Measuring the slices…"
_ALIKE: Final = "All pairs are alike in scale, rotation, overlap and texture, as far as is known."
_NOTHING_MEASURED: Final = "No measured pairs.\n\nRun an evaluation, or select a past run."
_NOTHING_FOUND: Final = "No pair passes the filter."


class GalleryDialog(QDialog):
    """All pairs of the results on display, sorted, filtered and plotted.

    It follows the results: while a run is measured, its pairs appear when it is finished.
    """

    def __init__(
        self,
        models: AppModels,
        results: ResultActions,
        pictures: PairPictures,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._results = results
        self._pictures = pictures
        self._content: MergedResults | None = None
        self._listed: tuple[MergedResults | None, str] = (None, "")
        self._table: PairTable | None = PairTable()
        self._chosen = np.empty(0, np.intp)
        self.setWindowTitle("Measured pairs")
        self.setWindowFlag(Qt.WindowType.Window)
        self._make_fields()
        self.model = GalleryModel(pictures, self)
        self.view = GalleryView(self.model, self)
        self.view.pair_chosen.connect(self._open)
        self.scatter: GalleryScatter | None = None
        self.empty = centred_words(self, margin_px=24)
        self._scatter_page = QWidget(self)
        self._pages = QStackedWidget(self)
        self.slices = SlicesView(self)
        self._tables: Sequence[Table] | None = None
        for page in (self.view, self._scatter_page, self.slices, self.empty):
            self._pages.addWidget(page)
        in_column(
            self, self._first, self._second, self.problem, (self._pages, 1),
            margins_px=(10, 8, 10, 10), spacing_px=6,
        )  # fmt: skip
        models.evaluation.shown.changed.connect(self._on_shown)
        self._on_shown(models.evaluation.shown.state)

    def sizeHint(self) -> QSize:
        return _SIZE

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and self.scatter is not None:
            self.scatter.restyle()

    # Making

    def _make_fields(self) -> None:
        self.gallery_tab, self.scatter_tab, self.slices_tab = (
            SegmentButton(word, self) for word in ("Gallery", "Scatter", "Slices")
        )
        self.slices_tab.setToolTip("Results by scale, rotation, overlap, texture and part")
        tabs = QButtonGroup(self)
        tab_row = segment_row(tabs, (self.gallery_tab, self.scatter_tab, self.slices_tab))
        self.gallery_tab.setChecked(True)
        tabs.idClicked.connect(self._refresh)
        self.kinds = QButtonGroup(self)
        self.matches_button, self.errors_button = (
            SegmentButton(word, self) for word in ("Matches", "Errors")
        )
        self.matches_button.setToolTip("Right and wrong matches in both images")
        self.errors_button.setToolTip("Queries of image A, bright where the match is far off")
        kind_row = segment_row(self.kinds, (self.matches_button, self.errors_button))
        self._kind_row = _boxed(kind_row, self)
        self.matches_button.setChecked(True)
        self.kinds.idClicked.connect(self._refresh)
        self.sliced, self.queries, self.sort, self.of, self.across, self.up = (
            narrow_combo(self, name=name, tip=tip, chosen=self._refresh)
            for name, tip in (
                ("Metric", "Which metric the slices show"),
                ("Queries", "Which points were matched"),
                ("Sort by", "Which value the pairs are sorted by"),
                ("Descriptor", "The descriptor whose values sort and filter"),
                ("Across", "What the horizontal axis shows"),
                ("Up", "What the vertical axis shows"),
            )
        )
        self.order = icon_button("chevron-down", "Worst first; click for best first", self)
        self.order.setCheckable(True)
        self.order.toggled.connect(self._on_order)
        self.filter = QLineEdit(self)
        self.filter.setPlaceholderText("Filter: words, overlap<0.5, scale>=2 …")
        self.filter.setClearButtonEnabled(True)
        self.filter.setAccessibleName("Filter")
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_TYPING_MS)
        self._typed.timeout.connect(self._refresh)
        self.filter.textChanged.connect(lambda _text: self._typed.start())
        self.scale = ColorBar(self)
        self.scale.show_scale(
            Scale("Error", *ERROR_RANGE_PX, unit="px", logarithmic=True), "viridis"
        )
        self.count = QLabel(self)
        self.count.setProperty("subtle", True)
        self.problem = Sentence(parent=self, quiet=True)
        tab_box = _boxed(tab_row, self)
        self._first = in_row(
            None,
            tab_box,
            self._kind_row,
            (self.filter, _MOST),
            self.queries,
            self.count,
            1,
            spacing_px=8,
        )  # fmt: skip
        across, up, sort, of = (
            _named(text, field, self)
            for text, field in (
                ("Across", self.across),
                ("Up", self.up),
                ("Sort by", self.sort),
                ("of", self.of),
            )
        )
        self._axes: tuple[QWidget, ...] = (across, self.across, up, self.up)
        self._sorts: tuple[QWidget, ...] = (sort, self.sort, self.order, of, self.of)
        self._second = in_row(
            None, sort, (self.sort, 1), self.order, of, (self.of, 1),
            across, (self.across, 1), up, (self.up, 1), (self.scale, 1), (self.sliced, 1),
            spacing_px=6,
        )  # fmt: skip

    # Drawing the model

    def _on_shown(self, shown: ShownRun) -> None:
        content = shown.content
        if content is self._content or (content is not None and shown.busy):
            return
        self._content, self._tables = content, None
        self._fill_fields()
        self._refresh()

    def _fill_fields(self) -> None:
        content = self._content
        means = content.summary if content is not None else ()
        lists = sorted({row.queries for row in means if row.pairs})
        refill(self.queries, [(QUERY_LISTS.get(word, word), word) for word in lists])
        self.queries.setVisible(len(lists) > 1)
        labels = content.labels if content is not None else ()
        refill(self.of, [(label, label) for label in labels])

    def _refresh(self, *_why: Any) -> None:
        content = self._content
        queries = str(self.queries.currentData() or "harris")
        if self._listed != (content, queries):
            self._list(content, queries)
        table = self._table or PairTable()
        values = table.names
        pck = max((name for name in values if name.startswith("pck@")), key=_limit, default="")
        entries = [("Order of the data set", ""), *((title_of(name), name) for name in values)]
        if self._table is not None:  # what is chosen stays chosen until other values are known
            refill(self.sort, entries, place=1 + values.index(pck) if pck else 0)
        accepted = parse_filter(self.filter.text(), values)
        self._say(accepted.problem)
        self._chosen = chosen_pairs(
            table,
            label=str(self.of.currentData() or ""),
            accepted=accepted,
            sort_by=str(self.sort.currentData() or ""),
            worst_first=not self.order.isChecked(),
        )
        total, count = len(table.pairs), len(self._chosen)
        all_of = counted(total, "1 pair", "{n} pairs")
        self.count.setText(all_of if count == total else f"{count} of {all_of}")
        if self._table is None:
            self.count.clear()
        scattered, sliced = self.scatter_tab.isChecked(), self.slices_tab.isChecked()
        listed = not scattered and not sliced
        kind = _KINDS[self.kinds.checkedId()]
        for fields, shown in (
            (self._axes, scattered),
            (self._sorts, listed),
            ((self._kind_row,), listed),
            ((self.scale,), listed and kind == "errors"),
            ((self.filter, self.count), not sliced),
            ((self.sliced,), sliced),
        ):
            for field in fields:
                field.setVisible(shown)
        if not count and not (sliced and total):
            nothing = _NOTHING_FOUND if total else _NOTHING_MEASURED
            self._show_words(_LISTING if self._table is None else nothing)
            self.model.show_pairs(None, (), value="", kind="matches", right_px=0.0)
        elif sliced:
            self._show_slices()
        elif scattered:
            self._show_scatter(table, pck)
        else:
            self._pages.setCurrentIndex(_GALLERY)
            sort_by = str(self.sort.currentData() or "")
            below = sort_by if sort_by and not belongs_to_pair(sort_by) else pck
            self.model.show_pairs(
                content,
                [table.pairs[place] for place in self._chosen.tolist()],
                value=below,
                kind=kind,
                right_px=_limit(pck) if pck else 5.0,
            )

    def _list(self, content: MergedResults | None, queries: str) -> None:
        """Collect the pairs, which takes a while for thousands of them."""
        self._listed = content, queries
        self._table = PairTable() if content is None else None
        if content is None:
            return

        def show(table: PairTable) -> None:
            if self._listed == (content, queries) and content is self._content:
                self._table = table
                self._refresh()

        self._pictures.tabulate(content, queries, while_alive(self, show))

    def _show_words(self, text: str) -> None:
        self.empty.setText(text)
        self._pages.setCurrentIndex(_EMPTY)

    def _show_slices(self) -> None:
        self._say("")
        content = self._content
        assert content is not None
        if self._tables is None:
            self._show_words(_MEASURING)

            def show(tables: Sequence[Table]) -> None:
                if content is self._content:
                    self._tables = tables
                    self._refresh()

            self._pictures.slice(content, while_alive(self, show))
            return
        refill(self.sliced, [(one.caption, number) for number, one in enumerate(self._tables)])
        if not self._tables:
            self._show_words(_ALIKE)
            return
        self.slices.show_table(self._tables[self.sliced.currentData()])
        self._pages.setCurrentIndex(_SLICES)

    def _show_scatter(self, table: PairTable, pck: str) -> None:
        assert self._content is not None
        from descgui.views.gallery_scatter import AxisChoice

        labels, values = self._content.labels, table.names
        choices = [
            AxisChoice(name, label)
            for name in values
            for label in (labels[:1] if belongs_to_pair(name) else labels)
        ]
        entries = [(choice.title, choice) for choice in choices]
        wanted = [AxisChoice(pck, label) for label in labels[:2]]
        if len(wanted) < 2 and "overlap" in values:
            wanted.insert(0, AxisChoice("overlap", labels[0]))
        for combo, place in ((self.across, 0), (self.up, -1)):
            first = choices.index(wanted[place]) if wanted and wanted[place] in choices else 0
            refill(combo, entries, place=first)
        self._pages.setCurrentIndex(_SCATTER)
        if self.scatter is None:  # its points come in a step of their own
            self._make_scatter()
            QTimer.singleShot(0, self._refresh)
            return
        drawn = self.scatter.show_pairs(table, self._chosen, *self._axis_choices())
        missing = len(self._chosen) - drawn
        if missing and not self.problem.sentence:
            pairs = counted(missing, "1 pair lacks", "{n} pairs lack")
            self._say(f"{pairs} one of the values.")

    def _say(self, text: str) -> None:
        """Say what was not understood or is missing; nothing takes no room."""
        self.problem.say(text)
        self.problem.setVisible(bool(text))

    def _make_scatter(self) -> None:
        from descgui.views.gallery_scatter import GalleryScatter

        self.scatter = GalleryScatter(self._scatter_page)
        in_column(self._scatter_page, (self.scatter, 1), margins_px=(0, 0, 0, 0))
        self.scatter.pair_pointed.connect(self._on_pointed)
        self.scatter.pair_chosen.connect(self._on_point_chosen)

    def _axis_choices(self) -> tuple[AxisChoice, AxisChoice]:
        return self.across.currentData(), self.up.currentData()

    # What the user does

    def _on_order(self, best_first: bool) -> None:
        words = ("Worst first; click for best first", "Best first; click for worst first")
        self.order.setToolTip(words[best_first])
        self.order.setAccessibleName(words[best_first])
        self._refresh()

    def _on_pointed(self, pair: ListedPair | None) -> None:
        if pair is None or self._content is None or self.scatter is None:
            return
        from descgui.views.gallery_scatter import card_text

        label = next(
            (one.label for one in self._axis_choices()[::-1] if one.label in pair.rows), ""
        )
        row = pair.rows[label]
        text = card_text(pair, self._axis_choices())
        self.scatter.set_card(pair, text, QImage())
        wanted = WantedPicture(
            label, pair.pair, row.queries, "matches", max(limit for limit, _ in row.pck),
            _CARD_PX, row, self._content,
        )  # fmt: skip
        scatter = self.scatter
        show = while_alive(scatter, lambda _key, picture: scatter.set_card(pair, text, picture))
        self._pictures.want([wanted], show)

    def _on_point_chosen(self, pair: ListedPair) -> None:
        label = self._axis_choices()[1].label
        self._open(*pair.pair, label if label in pair.rows else next(iter(pair.rows)))

    def _open(self, sequence: str, index: int, label: str) -> None:
        pairs = self._table.pairs if self._table is not None else ()
        row = next(one for one in pairs if one.pair == (sequence, index)).rows[label]
        self._results.open_pair(sequence, index, label, max(limit for limit, _ in row.pck))


def _limit(name: str) -> float:
    """The threshold of a PCK in pixels."""
    return float(name.partition("@")[2])


def _boxed(row: QHBoxLayout, parent: QWidget) -> QWidget:
    """A widget with a row, which can be hidden as a whole."""
    box = QWidget(parent)
    box.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
    row.setContentsMargins(0, 0, 0, 0)
    box.setLayout(row)
    return box


def _named(text: str, field: QWidget, parent: QWidget) -> QLabel:
    label = QLabel(text, parent)
    label.setBuddy(field)
    return label
