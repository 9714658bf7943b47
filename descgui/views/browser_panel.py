"""The side panel that lists groups and their pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QLabel,
    QLineEdit,
    QListView,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QWidget,
)

from descgui.models.browser_state import BrowserState
from descgui.models.bundle import AppModels
from descgui.views.icons import icon
from descgui.views.pair_list import PairDelegate, PairList, pairs_in_groups
from descgui.views.panel_parts import (
    PANEL_MARGIN_PX,
    ElidedLabel,
    Notice,
    Sentence,
    in_column,
    in_row,
    narrow_combo,
    refill,
    show_value,
    word_buttons,
)
from descgui.views.ports import Files, Opening
from descgui.views.thumbnails import PictureCache, Pictures, rows_in_view
from descgui.views.words import counted
from engine import api

_NO_DATASET, _LIST, _NO_HIT = range(3)
_PROBLEMS_SHOWN = 30
_KEPT_THUMBNAILS = 512
_THUMBNAIL_EDGE_PX = 160


class _View(QListView):
    """A list that unfolds by the arrow keys, as a tree does, and whose Enter key chooses a row.

    Signals:
        chosen(QModelIndex): Enter or Return on a row.
    """

    chosen = Signal(QModelIndex)

    def __init__(self, listed: PairList, parent: QWidget) -> None:
        super().__init__(parent)
        self._list = listed
        self.setModel(listed)
        self.setItemDelegate(PairDelegate(listed, self))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAccessibleName("Groups and pairs")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        index, key = self.currentIndex(), event.key()
        if not index.isValid():
            super().keyPressEvent(event)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.chosen.emit(index)
        elif key == Qt.Key.Key_Right and self._list.unfolds(index):
            if self._list.is_unfolded(index):
                self.setCurrentIndex(self._list.index(index.row() + 1))
            else:
                self._list.unfold(index, True)
        elif key == Qt.Key.Key_Left:
            if self._list.is_unfolded(index):
                self._list.unfold(index, False)
            elif (holder := self._list.holder_of(index)).isValid():
                self.setCurrentIndex(holder)
        else:
            super().keyPressEvent(event)


class BrowserPanel(QWidget):
    """Lists the open set; a click on a pair, or Enter, chooses it."""

    def __init__(
        self,
        models: AppModels,
        opening: Opening,
        thumbnails: Pictures[Path],
        files: Files,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._browser = models.browser
        self._opening = opening
        self._files = files
        self.thumbnails = PictureCache(
            thumbnails, self, kept=_KEPT_THUMBNAILS, edge_px=_THUMBNAIL_EDGE_PX
        )
        self.list = PairList(models.browser, self.thumbnails, self)
        self.search = QLineEdit(self)
        self.subset = narrow_combo(self, name="Part of the set", chosen=self._on_subset)
        self.view = _View(self.list, self)
        self.count = ElidedLabel(parent=self)
        self.layout_name = ElidedLabel(parent=self)
        self.layout_name.setProperty("subtle", True)
        self.problem_button = QToolButton(self)
        self.problems = Notice("warning", self)
        self._unmatched = Sentence(parent=self)
        self._filters = self._make_filters()
        self._pages = QStackedWidget(self)
        for page in (self._make_empty_page(), self.view, self._make_no_hit_page()):
            self._pages.addWidget(page)
        margins_px = (PANEL_MARGIN_PX, PANEL_MARGIN_PX, PANEL_MARGIN_PX, PANEL_MARGIN_PX)
        in_column(self, self._filters, self.problems, (self._pages, 1), margins_px=margins_px)
        self.view.clicked.connect(self._on_clicked)
        self.view.chosen.connect(self._on_chosen)
        self.thumbnails.missed.connect(self._want_pictures)
        self.thumbnails.arrived.connect(self.view.viewport().update)
        self.list.modelReset.connect(self._reveal_current)
        models.browser.changed.connect(self._on_changed)
        self._on_changed(models.browser.state)

    # Making

    def _make_filters(self) -> QWidget:
        box = QWidget(self)
        self.search.setPlaceholderText("Search")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search groups and pairs by name")
        self.search.textChanged.connect(self._on_search)
        self.problem_button.setIcon(icon("warning"))
        self.problem_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.problem_button.setAutoRaise(True)
        self.problem_button.setCheckable(True)
        self.problem_button.toggled.connect(self._show_problems)
        counts = in_row(None, (self.count, 1), self.problem_button)
        in_column(box, self.search, self.subset, counts, self.layout_name)
        return box

    def _make_empty_page(self) -> QWidget:
        page = QWidget(self)
        heading = QLabel("No pairs are open", page)
        heading.setProperty("heading", True)
        words = "Open a folder with pairs of images, or try the demo."
        self.open_folder_button, self.demo_button = buttons = word_buttons(
            page,
            ("open-folder", "Open folder…", "", self._files.open_folder),
            ("demo", "Open the demo", "", self._opening.open_demo),
        )
        text = Sentence(words, page, quiet=True)
        in_column(page, heading, text, *buttons, 1, margins_px=(4, 12, 4, 4), spacing_px=8)
        return page

    def _make_no_hit_page(self) -> QWidget:
        page = QWidget(self)
        self.clear_button = QPushButton("Clear the filter", page)
        self.clear_button.clicked.connect(self._on_clear)
        in_column(page, self._unmatched, self.clear_button, 1, margins_px=(4, 12, 4, 4))
        return page

    # Drawing the model

    def _on_changed(self, state: BrowserState) -> None:
        dataset = state.dataset
        self._filters.setVisible(dataset is not None)
        if self.search.text() != state.search:
            self.search.setText(state.search)
        if dataset is None:
            self.problems.say("")
            self._pages.setCurrentIndex(_NO_DATASET)
            return
        refill(self.subset, [("All", ""), *((part, part) for part in dataset.subsets)])
        show_value(self.subset, state.subset)
        self.subset.setVisible(bool(dataset.subsets))
        listed = self._browser.listed()
        self.count.say(_count_text(dataset, listed), str(dataset.root))
        self.layout_name.say(f"Read as {dataset.layout}", f"{dataset.layout}\n{dataset.root}")
        self.problem_button.setVisible(bool(dataset.problems))
        self.problem_button.setText(counted(len(dataset.problems), "1 problem", "{n} problems"))
        self.problem_button.setToolTip("What was left out or chosen in this set")
        self._show_problems(self.problem_button.isChecked())
        self._unmatched.say(_no_hit_text(state))
        self._pages.setCurrentIndex(_LIST if listed else _NO_HIT)
        self._reveal_current()
        self.view.viewport().update()

    def _show_problems(self, shown: bool) -> None:
        dataset = self._browser.state.dataset
        problems = dataset.problems if shown and dataset is not None else ()
        self.problems.say_first(problems, most=_PROBLEMS_SHOWN)

    def _reveal_current(self) -> None:
        state = self._browser.state
        shown = self.list.pair_at(self.view.currentIndex())
        if shown is not None and (shown.sequence, shown.index) == (state.group, state.index):
            return
        index = self.list.reveal(state.group, state.index)
        if index.isValid():
            self.view.setCurrentIndex(index)
            self.view.scrollTo(index)

    def _want_pictures(self) -> None:
        """Ask for the thumbnails of the rows in view, from the top."""
        paths = (self.list.path_of(self.list.index(row)) for row in rows_in_view(self.view))
        self.thumbnails.want([path for path in paths if path is not None])

    # What the user does

    def _on_search(self, text: str) -> None:
        self._browser.set_filter(search=text)

    def _on_subset(self) -> None:
        self._browser.set_filter(subset=self.subset.currentData())

    def _on_clear(self) -> None:
        self._browser.set_filter(subset="", search="")
        self.search.setFocus()

    def _on_clicked(self, index: QModelIndex) -> None:
        if self.list.unfolds(index):
            self.list.unfold(index, not self.list.is_unfolded(index))
        else:
            self._on_chosen(index)

    def _on_chosen(self, index: QModelIndex) -> None:
        group, pair = self.list.group_at(index), self.list.pair_at(index)
        if group is None:
            self.list.unfold(index, not self.list.is_unfolded(index))
        else:
            self._opening.open_pair(pair or group.pairs[0])


def _count_text(dataset: api.PairSet, listed: Sequence[api.PairGroup]) -> str:
    pairs = sum(len(one.pairs) for one in dataset.groups)
    shown = sum(len(one.pairs) for one in listed)
    if shown == pairs:
        return pairs_in_groups(pairs, len(dataset.groups), api.group_word(dataset.layout))
    return f"{shown} of {counted(pairs, '1 pair', '{n} pairs')}"


def _no_hit_text(state: BrowserState) -> str:
    where = f" in “{state.subset}”" if state.subset else ""
    if state.search:
        return f"Nothing{where} has “{state.search}” in its name."
    return f"There is no pair{where}."
