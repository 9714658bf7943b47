"""The side panel that lists groups and their pairs."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QLabel,
    QLineEdit,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QTreeView,
    QWidget,
)

from descgui.models.browser_state import BrowserState
from descgui.models.bundle import AppModels
from descgui.views.icons import icon
from descgui.views.panel_parts import (
    PANEL_MARGIN_PX,
    ElidedLabel,
    Notice,
    SegmentButton,
    Sentence,
    in_column,
    in_row,
    word_buttons,
)
from descgui.views.ports import Files, Opening, Thumbnails
from descgui.views.thumbnails import GroupDelegate, GroupTree
from descgui.views.words import counted

_NO_DATASET, _LIST, _NO_HIT = range(3)
_PROBLEMS_SHOWN = 30


class _Tree(QTreeView):
    """A tree whose Enter key chooses a row.

    Signals:
        chosen(QModelIndex): Enter or Return on a row.
    """

    chosen = Signal(QModelIndex)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self.chosen.emit(self.currentIndex())
            return
        super().keyPressEvent(event)


class BrowserPanel(QWidget):
    """Lists the open data set; a click on a pair, or Enter, chooses it."""

    def __init__(
        self,
        models: AppModels,
        opening: Opening,
        thumbnails: Thumbnails,
        files: Files,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._browser = models.browser
        self._opening = opening
        self._files = files
        self.tree_model = GroupTree(models.browser, thumbnails, self)
        self.search = QLineEdit(self)
        self.tree = _Tree(self)
        self.subset_buttons: dict[str, QToolButton] = {}
        self._count = ElidedLabel(parent=self)
        self.problem_button = QToolButton(self)
        self.problems = Notice("warning", self)
        self._unmatched = Sentence(parent=self)
        self._filters = self._make_filters()
        self._pages = QStackedWidget(self)
        for page in (self._make_empty_page(), self._make_tree(), self._make_no_hit_page()):
            self._pages.addWidget(page)
        margins_px = (PANEL_MARGIN_PX, PANEL_MARGIN_PX, PANEL_MARGIN_PX, PANEL_MARGIN_PX)
        in_column(self, self._filters, self.problems, (self._pages, 1), margins_px=margins_px)
        self.tree_model.modelReset.connect(self._reveal_current)
        models.browser.changed.connect(self._on_changed)
        self._on_changed(models.browser.state)

    # Making

    def _make_filters(self) -> QWidget:
        box = QWidget(self)
        self.search.setPlaceholderText("Search")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search groups by name")
        self.search.textChanged.connect(self._on_search)
        group = QButtonGroup(box)
        words: tuple[tuple[str, str, str], ...] = (
            ("", "All", "List all groups"),
            ("viewpoint", "Viewpoint", "List viewpoint groups"),
            ("illumination", "Illumination", "List illumination groups"),
        )
        for subset, title, help_ in words:
            button = SegmentButton(title, box)
            button.setToolTip(help_)
            button.setAccessibleName(help_)
            button.setProperty("subset", subset)
            group.addButton(button)
            self.subset_buttons[subset] = button
        group.buttonClicked.connect(self._on_subset)
        segments = ((button, len(button.text())) for button in self.subset_buttons.values())
        self.problem_button.setIcon(icon("warning"))
        self.problem_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.problem_button.setAutoRaise(True)
        self.problem_button.setCheckable(True)
        self.problem_button.toggled.connect(self._show_problems)
        counts = in_row(None, (self._count, 1), self.problem_button)
        in_column(box, self.search, in_row(None, *segments, spacing_px=2), counts)
        return box

    def _make_tree(self) -> QWidget:
        tree = self.tree
        tree.setModel(self.tree_model)
        tree.setItemDelegate(GroupDelegate(self.tree_model, tree))
        tree.setHeaderHidden(True)
        tree.setIndentation(14)
        tree.setMouseTracking(True)
        tree.setExpandsOnDoubleClick(False)
        tree.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        tree.setAccessibleName("Groups and pairs")
        tree.clicked.connect(self._on_clicked)
        tree.chosen.connect(self._on_chosen)
        return tree

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
        if state.subset in self.subset_buttons:
            self.subset_buttons[state.subset].setChecked(True)
        if self.search.text() != state.search:
            self.search.setText(state.search)
        listed = len(self._browser.listed())
        if dataset is None:
            self.problems.say("")
            self._pages.setCurrentIndex(_NO_DATASET)
            return
        total = len(dataset.groups)
        count = counted(total, "1 group", "{n} groups")
        if listed != total:
            count = f"{listed} of {count}"
        self._count.say(count, str(dataset.root))
        self.problem_button.setVisible(bool(dataset.problems))
        self.problem_button.setText(counted(len(dataset.problems), "1 problem", "{n} problems"))
        self.problem_button.setToolTip("What is wrong in this folder")
        self._show_problems(self.problem_button.isChecked())
        self._unmatched.say(self._no_hit_text(state))
        self._pages.setCurrentIndex(_LIST if listed else _NO_HIT)
        self._reveal_current()

    def _no_hit_text(self, state: BrowserState) -> str:
        kind = f"{state.subset} group".strip()
        if state.search:
            return f"No {kind} has “{state.search}” in its name."
        return f"There is no {kind} in this folder."

    def _show_problems(self, shown: bool) -> None:
        dataset = self._browser.state.dataset
        problems = dataset.problems if shown and dataset is not None else ()
        self.problems.say_first(problems, most=_PROBLEMS_SHOWN)

    def _reveal_current(self) -> None:
        state = self._browser.state
        index = self.tree_model.index_of(state.group, state.index)
        if index.isValid() and index != self.tree.currentIndex():
            self.tree.expand(index.parent())
            self.tree.setCurrentIndex(index)
            self.tree.scrollTo(index)

    # What the user does

    def _on_search(self, text: str) -> None:
        self._browser.set_filter(search=text)

    def _on_subset(self, button: QToolButton) -> None:
        self._browser.set_filter(subset=button.property("subset"))

    def _on_clear(self) -> None:
        self._browser.set_filter(subset="", search="")
        self.search.setFocus()

    def _on_clicked(self, index: QModelIndex) -> None:
        if self.tree_model.pair_at(index) is None:
            self.tree.setExpanded(index, not self.tree.isExpanded(index))
        else:
            self._on_chosen(index)

    def _on_chosen(self, index: QModelIndex) -> None:
        pair = self.tree_model.pair_at(index)
        if pair is None:
            pairs = self.tree_model.pairs_of(index)
            pair = pairs[0] if pairs else None
        if pair is not None:
            self._opening.open_pair(pair)
