"""The side panel that lists sequences and their pairs."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QStackedWidget,
    QToolButton,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from descgui.models.browser_state import BrowserState, Subset
from descgui.models.bundle import AppModels
from descgui.views.icons import icon
from descgui.views.panel_parts import PANEL_MARGIN_PX, ElidedLabel, Notice, SegmentButton, Sentence
from descgui.views.ports import Files, Opening, Thumbnails
from descgui.views.thumbnails import SequenceDelegate, SequenceTree
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
        self.tree_model = SequenceTree(models.browser, thumbnails, self)
        self.search = QLineEdit(self)
        self.tree = _Tree(self)
        self.subset_buttons: dict[Subset, QToolButton] = {}
        self._count = ElidedLabel(parent=self)
        self.problem_button = QToolButton(self)
        self._problems = Notice("warning", self)
        self._unmatched = Sentence(parent=self)
        self._filters = self._make_filters()
        self._pages = QStackedWidget(self)
        self._pages.addWidget(self._make_empty_page())
        self._pages.addWidget(self._make_tree())
        self._pages.addWidget(self._make_no_hit_page())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(
            PANEL_MARGIN_PX, PANEL_MARGIN_PX, PANEL_MARGIN_PX, PANEL_MARGIN_PX
        )
        layout.setSpacing(6)
        layout.addWidget(self._filters)
        layout.addWidget(self._problems)
        layout.addWidget(self._pages, 1)
        self.tree_model.modelReset.connect(self._on_reset)
        models.browser.changed.connect(self._on_changed)
        self._on_changed(models.browser.state)

    @property
    def page(self) -> str:
        """Which page is shown: "empty", "list" or "no hit"."""
        return ("empty", "list", "no hit")[self._pages.currentIndex()]

    @property
    def problems(self) -> str:
        """What is told about the folder's problems now, "" while they are folded away."""
        return self._problems.sentence

    # Making

    def _make_filters(self) -> QWidget:
        box = QWidget(self)
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        self.search.setParent(box)
        self.search.setPlaceholderText("Search sequences")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search sequences by name")
        self.search.textChanged.connect(self._on_search)
        layout.addWidget(self.search)
        segments = QHBoxLayout()
        segments.setSpacing(2)
        group = QButtonGroup(box)
        words: tuple[tuple[Subset, str, str], ...] = (
            ("all", "All", "List all sequences"),
            ("viewpoint", "Viewpoint", "List sequences seen from other places"),
            (
                "illumination",
                "Illumination",
                "List sequences under other light",
            ),
        )
        for subset, title, help_ in words:
            button = SegmentButton(title, box)
            button.setToolTip(help_)
            button.setAccessibleName(help_)
            button.setProperty("subset", subset)
            group.addButton(button)
            segments.addWidget(button, len(title))
            self.subset_buttons[subset] = button
        group.buttonClicked.connect(self._on_subset)
        layout.addLayout(segments)
        counts = QHBoxLayout()
        counts.addWidget(self._count, 1)
        self.problem_button.setIcon(icon("warning"))
        self.problem_button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.problem_button.setAutoRaise(True)
        self.problem_button.setCheckable(True)
        self.problem_button.toggled.connect(self._show_problems)
        counts.addWidget(self.problem_button)
        layout.addLayout(counts)
        return box

    def _make_tree(self) -> QWidget:
        tree = self.tree
        tree.setModel(self.tree_model)
        tree.setItemDelegate(SequenceDelegate(self.tree_model, tree))
        tree.setHeaderHidden(True)
        tree.setIndentation(14)
        tree.setMouseTracking(True)
        tree.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        tree.setExpandsOnDoubleClick(False)
        tree.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        tree.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        tree.setAccessibleName("Sequences and pairs")
        tree.clicked.connect(self._on_clicked)
        tree.chosen.connect(self._on_chosen)
        return tree

    def _make_empty_page(self) -> QWidget:
        page = QWidget(self)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(4, 12, 4, 4)
        layout.setSpacing(8)
        heading = QLabel("No sequences are open", page)
        heading.setProperty("heading", True)
        open_folder = QPushButton("Open folder…", page)
        open_folder.setIcon(icon("open-folder"))
        open_folder.clicked.connect(self._files.open_folder)
        demo = QPushButton("Open the demo", page)
        demo.setIcon(icon("demo"))
        demo.clicked.connect(self._opening.open_demo)
        layout.addWidget(heading)
        layout.addWidget(
            Sentence(
                "Open a folder in the layout of HPatches, or try the demo sequences.",
                page,
                quiet=True,
            )
        )
        layout.addWidget(open_folder)
        layout.addWidget(demo)
        layout.addStretch(1)
        self.open_folder_button, self.demo_button = open_folder, demo
        return page

    def _make_no_hit_page(self) -> QWidget:
        page = QWidget(self)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(4, 12, 4, 4)
        self._unmatched.setParent(page)
        self.clear_button = QPushButton("Clear the filter", page)
        self.clear_button.clicked.connect(self._on_clear)
        layout.addWidget(self._unmatched)
        layout.addWidget(self.clear_button)
        layout.addStretch(1)
        return page

    # Drawing the model

    def _on_changed(self, state: BrowserState) -> None:
        dataset = state.dataset
        self._filters.setVisible(dataset is not None)
        self.subset_buttons[state.subset].setChecked(True)
        if self.search.text() != state.search:
            self.search.setText(state.search)
        listed = len(self._browser.listed())
        if dataset is None:
            self._problems.say("")
            self._pages.setCurrentIndex(_NO_DATASET)
            return
        total = len(dataset.sequences)
        count = counted(total, "1 sequence", "{n} sequences")
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
        kinds = {
            "all": "sequence",
            "viewpoint": "viewpoint sequence",
            "illumination": "illumination sequence",
        }
        if state.search:
            return f"No {kinds[state.subset]} has “{state.search}” in its name."
        return f"There is no {kinds[state.subset]} in this folder."

    def _show_problems(self, shown: bool) -> None:
        dataset = self._browser.state.dataset
        problems = dataset.problems if shown and dataset is not None else ()
        lines = list(problems[:_PROBLEMS_SHOWN])
        if len(problems) > len(lines):
            lines.append(f"… and {len(problems) - len(lines)} more.")
        self._problems.say("\n".join(lines))

    def _on_reset(self) -> None:
        self._reveal_current()

    def _reveal_current(self) -> None:
        state = self._browser.state
        index = self.tree_model.index_of(state.sequence, state.index)
        if index.isValid() and index != self.tree.currentIndex():
            self.tree.expand(index.parent())
            self.tree.setCurrentIndex(index)
            self.tree.scrollTo(index)

    # What the person does

    def _on_search(self, text: str) -> None:
        self._browser.set_filter(search=text)

    def _on_subset(self, button: QToolButton) -> None:
        self._browser.set_filter(subset=button.property("subset"))

    def _on_clear(self) -> None:
        self._browser.set_filter(subset="all", search="")
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
