"""The dialog that opens any network of a library by its name, or one in a file."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtCore import (
    QAbstractItemModel,
    QEvent,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
    QTimer,
)
from PySide6.QtGui import QColor, QGuiApplication, QPainter, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHeaderView,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.maps_state import MapsModel
from descgui.models.networks_state import NetworksState, WeightsState
from descgui.models.settings import Settings
from descgui.views import dialogs
from descgui.views.fuzzy import paint_matched
from descgui.views.icons import icon_pixmap
from descgui.views.list_keys import key_of, rows_of
from descgui.views.network_search import NetworkRow, find_networks
from descgui.views.panel_parts import (
    ElidedLabel,
    Notice,
    Sentence,
    ThinBar,
    centred_words,
    in_column,
    in_row,
    plain_tip,
    tabular,
    word_buttons,
)
from descgui.views.ports import Networks
from descgui.views.row_table import Index, RowTable
from descgui.views.theme import theme_colors
from descgui.views.words import counted
from engine import api

_SIZE_PX: Final = QSize(720, 560)
_ROW_PX: Final = 30
_PAGE_ROWS: Final = 10
_STAR_PX: Final = 32
_ROW_ROLE: Final = int(Qt.ItemDataRole.UserRole)
_LOOK_AFTER_MS: Final = 200
_STAR_KEY: Final = Qt.Key.Key_D
_WEIGHTS_WORDS: Final = {
    "here": "on this computer",
    "cached": "downloaded",
    "download": "published",
    "by-hand": "published",
    "none": "not published",
    "unknown": "",
}
_WEIGHTS_SENTENCES: Final = {
    "here": "Its weights are on this computer.",
    "cached": "Its weights were downloaded before.",
    "download": "Its weights are published, but not on this computer: until they are downloaded or "
    "you choose a weights file, it describes with random numbers.",
    "by-hand": "Its weights are published, but nothing tells there whether a download is whole: "
    "load them yourself{address}, and choose that file as its weights. Until then it describes "
    "with random numbers.",
    "none": "Its library offers no weights for it: until you choose a weights file, it describes "
    "with random numbers.",
    "unknown": "",
}


def millions_text(parameters: int) -> str:
    """A number of weights: ``22.1 M``, ``1,235 M``."""
    millions = parameters / 1e6
    return f"{millions:,.0f} M" if millions >= 100 else f"{millions:.3g} M"


class NetworkTable(RowTable[NetworkRow]):
    """The found networks: star, name, size, distance of the cells, and weights."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(("", "Network", "Size", "Stride", "Weights"), left=2, parent=parent)

    def cell(self, row: NetworkRow, column: int, role: int) -> Any:
        """See the base class."""
        if role == _ROW_ROLE:
            return row
        if role == Qt.ItemDataRole.AccessibleTextRole and column == 1:
            return ", ".join(filter(None, (row.name, *self._facts(row))))
        if role == Qt.ItemDataRole.ToolTipRole:
            star = "Remove from the favourites (Ctrl+D)" if row.starred else "Favourite (Ctrl+D)"
            return star if column == 0 else plain_tip(f"{row.name}\n{row.model.note}".strip())
        if role == Qt.ItemDataRole.DisplayRole and column >= 2:
            return self._facts(row)[column - 2]
        return None

    @staticmethod
    def _facts(row: NetworkRow) -> tuple[str, str, str]:
        model = row.model
        return (
            "" if model.parameters is None else millions_text(model.parameters),
            "" if model.stride_px is None else f"{model.stride_px:g} px",
            _WEIGHTS_WORDS[model.weights],
        )


class _NameDelegate(QStyledItemDelegate):
    """Draws the name with the typed letters in bold, and behind it the library."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one cell."""
        row: NetworkRow = index.data(_ROW_ROLE)
        colors = theme_colors(option.palette)
        painter.save()
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, QColor(colors.selected))
        room = option.rect.adjusted(4, 0, -4, 0)
        title = row.model.title + row.name.removeprefix(row.model.name)
        end = paint_matched(painter, room, title, row.places, option.font)
        words = [row.model.family]
        if row.group == "recent":
            words.append("recent")
        elif row.group == "typed":
            words.append("not in the list")
        painter.setFont(option.font)
        painter.setPen(QColor(colors.subtle))
        rest = QRect(end + 10, room.top(), room.right() - end - 10, room.height())
        text = painter.fontMetrics().elidedText(
            " · ".join(words), Qt.TextElideMode.ElideRight, rest.width()
        )
        painter.drawText(rest, int(Qt.AlignmentFlag.AlignVCenter), text)
        painter.restore()


class _StarDelegate(QStyledItemDelegate):
    """Draws the star, filled for a favourite."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw one cell."""
        row: NetworkRow = index.data(_ROW_ROLE)
        colors = theme_colors(option.palette)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(option.rect, QColor(colors.selected))
        place = QRect(0, 0, 16, 16)
        place.moveCenter(option.rect.center())
        colour = QColor(colors.warning if row.starred else colors.disabled)
        ratio = painter.device().devicePixelRatio()
        name = "star-on" if row.starred else "star"
        painter.drawPixmap(place, icon_pixmap(name, place.size(), colour, ratio=ratio))


class NetworkList(QTableView):
    """The list, driven by the field above it."""

    def __init__(self, table: NetworkTable, parent: QWidget) -> None:
        super().__init__(parent)
        self.setModel(table)
        self.setItemDelegateForColumn(0, _StarDelegate(self))
        self.setItemDelegateForColumn(1, _NameDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setFont(tabular(self.font()))
        self.setAccessibleName("Networks")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(_ROW_PX)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionsClickable(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        metrics = self.fontMetrics()
        header.resizeSection(0, _STAR_PX)
        for column, widest in ((2, "1,135 M "), (3, "Stride 14"), (4, "on this computer")):
            header.resizeSection(column, metrics.horizontalAdvance(widest) + 18)

    def choose(self, place: int) -> None:
        """Select a row and bring it into sight."""
        index = self.model().index(place, 1)
        self.setCurrentIndex(index)
        self.scrollTo(index)

    def model(self) -> QAbstractItemModel:
        """The table."""
        return super().model()


class NetworkDialog(QDialog):
    """A field to type in, the networks whose names answer it, and what is known about one.

    Args:
        models: of the window.
        maps: the descriptor to choose it for, shown or compared.
        networks: fulfils what is asked for.
    """

    def __init__(
        self,
        models: AppModels,
        maps: MapsModel,
        networks: Networks,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._maps = maps
        self._networks = networks
        shown = maps is models.maps
        self.setWindowTitle("Open network" if shown else "Compare with a network")
        self.field = QLineEdit(self)
        self.field.setPlaceholderText("Name of a network, such as resnet18 or dinov2 small @8,11")
        self.field.setAccessibleName("Name of a network")
        self.field.setClearButtonEnabled(True)
        self.field.setMinimumHeight(32)
        self.field.installEventFilter(self)
        self.table = NetworkTable(self)
        self.list = NetworkList(self.table, self)
        self.empty = centred_words(self, margin_px=24)
        self.bar = ThinBar(self)
        self.bar.setAccessibleName("Listing networks")
        self.facts = Sentence(parent=self)
        self.missing = Notice("info", self)
        self.count = Sentence(parent=self, quiet=True)
        self.copy_button, self.file_button, self.folder_button, self.open_button = word_buttons(
            self,
            ("copy", "Copy command", "Copy the command that installs it", self._on_copy),
            ("file", "Open file…", "Open a network that is a file", self._on_file),
            ("folder", "Open folder…", "Open a network that is a folder", self._on_folder),
            ("network", "Open", "Describe the images by this network", self._on_open),
        )
        self.load_button, self.stop_button = word_buttons(
            self,
            ("download", "Download weights", "", self._on_download),
            ("stop", "Stop", "What was loaded is kept", networks.stop_download),
        )
        self.loaded = QProgressBar(self)
        self.loaded.setTextVisible(False)
        self.loaded.setAccessibleName("Download of the weights")
        self.loading = ElidedLabel(parent=self)
        self.loading.setFont(tabular(self.loading.font()))
        self.failure = Notice("error", self)
        self.close_button = QPushButton("Close", self)
        self.close_button.clicked.connect(self.reject)
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(False)
        self.open_button.setDefault(True)
        missing = in_row(None, (self.missing, 1), self.copy_button)
        missing.setAlignment(self.copy_button, Qt.AlignmentFlag.AlignTop)
        download = in_row(
            None, self.load_button, (self.loaded, 1), (self.loading, 1), self.stop_button
        )
        download.setAlignment(self.load_button, Qt.AlignmentFlag.AlignLeft)
        buttons = (self.file_button, self.folder_button, 1, self.open_button, self.close_button)
        in_column(
            self, self.field, self.bar, (self.list, 1), (self.empty, 1), self.count, self.facts,
            download, self.failure, missing, in_row(None, *buttons),
            margins_px=(12, 12, 12, 12), spacing_px=8,
        )  # fmt: skip
        self.resize(_SIZE_PX)
        self._look = QTimer(self, singleShot=True, interval=_LOOK_AFTER_MS)
        self._look.timeout.connect(self._look_for_weights)
        self.field.textChanged.connect(self._search)
        self.list.selectionModel().currentChanged.connect(self._on_current)
        self.list.clicked.connect(self._on_clicked)
        self.list.doubleClicked.connect(self._on_double_clicked)
        models.networks.changed.connect(self._on_networks)
        models.network_weights.changed.connect(self._on_weights)
        models.settings.changed.connect(self._on_settings)
        self._marks = self._marked(models.settings.state)
        self._on_networks(models.networks.state)
        networks.list()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.field.setFocus()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """Move through the list from the field that is typed in."""
        key = key_of(event)
        if key is None:
            return False
        rows = rows_of(key, page_rows=_PAGE_ROWS)
        control = key.modifiers() == Qt.KeyboardModifier.ControlModifier
        stars = control and key.key() == _STAR_KEY
        if not rows and not stars:
            return False
        key.accept()
        if key.type() == QEvent.Type.KeyPress:
            if stars:
                self._star(self._current())
            else:
                self._step(rows)
        return True

    # Drawing the models

    def _on_networks(self, state: NetworksState) -> None:
        self.bar.setVisible(state.stage == "loading")
        self.bar.show_done(0, 0, waiting=True)
        missing = state.list.missing
        lines = [f"{one.reason} {f'Run {one.command}' if one.command else ''}" for one in missing]
        self.missing.say("\n".join(map(str.strip, lines)) or state.message)
        self.copy_button.setVisible(any(one.command for one in missing))
        self.copy_button.setToolTip("\n".join(one.command for one in missing if one.command))
        endings = [ending for ending, _ in state.list.opens]
        self.file_button.setVisible(any(ending != "/" for ending in endings))
        self.folder_button.setVisible("/" in endings)
        self._search()

    def _on_settings(self, settings: Settings) -> None:
        marks = self._marked(settings)
        if marks != self._marks:
            self._marks = marks
            current = self._current()
            self._search()
            if current is not None:
                self._choose(current.name)

    @staticmethod
    def _marked(settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return settings.recent_networks, settings.favourite_networks

    def _search(self) -> None:
        state = self._models.networks.state
        recent, favourites = self._marks
        rows = find_networks(
            self.field.text(), state.list.models, recent=recent, favourites=favourites
        )
        self.table.show_rows(rows)
        self.list.setVisible(bool(rows))
        self.empty.setVisible(not rows)
        self.empty.setText(self._why_empty(state))
        self.count.say(
            counted(len(rows), "1 network", "{n} networks").replace(
                str(len(rows)), f"{len(rows):,}"
            )
            if rows
            else ""
        )
        if rows:
            self.list.choose(0)
        self._show_facts()

    def _why_empty(self, state: NetworksState) -> str:
        if state.stage in ("none", "loading"):
            return "Asking the libraries for their networks…"
        if state.stage == "failed":
            return "The libraries could not be asked for their networks."
        if not state.list.models and not self.field.text():
            return "No library with networks is installed."
        return (
            "No network has this name. To open one that is not listed, type its library and its "
            "name, such as timm:resnet18."
        )

    def _show_facts(self) -> None:
        row, weights = self._current(), self._models.network_weights.state
        self.open_button.setEnabled(row is not None)
        where = "unknown" if row is None else row.model.weights
        if row is not None and weights.name == row.model.name and weights.state != "unknown":
            where = weights.state
        self.facts.say("" if row is None else _sentences(row, where, ""))
        if row is not None and row.model.name != weights.name:
            self._look.start()
        self._on_weights(weights)

    def _on_weights(self, state: WeightsState) -> None:
        row = self._current()
        running = state.download == "running"
        mine = row is not None and state.name == row.model.name
        self.load_button.setVisible(mine and not running and state.state == "download")
        size = "" if state.size_mb is None else f" (about {max(1, round(state.size_mb)):,} MB)"
        again = (
            "Continue download" if state.download in ("stopped", "failed") else "Download weights"
        )
        self.load_button.setText(f"{again}{size}")
        self.load_button.setToolTip(f"From {state.address}" if state.address else "")
        self.loaded.setVisible(running)
        self.loaded.setRange(0, state.total_mb or 0)
        self.loaded.setValue(state.done_mb)
        self.stop_button.setVisible(running)
        self.loading.setVisible(running)
        total = "?" if state.total_mb is None else f"{state.total_mb:,}"
        self.loading.say(f"{state.done_mb:,} of {total} MB · {state.name}")
        self.failure.say(state.message if mine and state.download == "failed" else "")
        if mine and row is not None and state.state != "unknown":
            self.facts.say(_sentences(row, state.state, state.address))

    # What the user does

    def _current(self) -> NetworkRow | None:
        place = self.list.currentIndex().row()
        return self.table.rows[place] if 0 <= place < len(self.table.rows) else None

    def _choose(self, name: str) -> None:
        for place, row in enumerate(self.table.rows):
            if row.name == name:
                self.list.choose(place)
                return

    def _step(self, rows: int) -> None:
        count = len(self.table.rows)
        if count:
            place = self.list.currentIndex().row() + rows
            if abs(rows) == 1:
                place %= count
            self.list.choose(min(max(place, 0), count - 1))

    def _on_current(self, _now: QModelIndex, _before: QModelIndex) -> None:
        self._show_facts()

    def _on_clicked(self, index: QModelIndex | QPersistentModelIndex) -> None:
        if index.column() == 0:
            self._star(self.table.rows[index.row()])

    def _on_double_clicked(self, index: QModelIndex | QPersistentModelIndex) -> None:
        if index.column() > 0:
            self._on_open()

    def _star(self, row: NetworkRow | None) -> None:
        if row is not None:
            self._networks.star(row.name, not row.starred)

    def _look_for_weights(self) -> None:
        row = self._current()
        if row is not None:
            self._networks.look_for_weights(row.model.name)

    def _on_download(self) -> None:
        self._networks.download(self._models.network_weights.state.name)

    def _on_copy(self) -> None:
        commands = (one.command for one in self._models.networks.state.list.missing)
        QGuiApplication.clipboard().setText("\n".join(filter(None, commands)))

    def _on_open(self) -> None:
        row = self._current()
        if row is not None:
            self._networks.open(self._maps, row.name)
            self.accept()

    def _on_file(self) -> None:
        endings = [one for one, _ in self._models.networks.state.list.opens if one != "/"]
        name_filter = f"Networks ({' '.join(f'*{one}' for one in endings)});;All files (*)"
        path = dialogs.ask_file(self, "Open a network", self._models.pair.folder, name_filter)
        if path is not None:
            self._networks.open_file(self._maps, path)
            self.accept()

    def _on_folder(self) -> None:
        path = dialogs.ask_folder(self, self._models.pair.folder, "Open a folder with a network")
        if path is not None:
            self._networks.open_file(self._maps, path)
            self.accept()


def _sentences(row: NetworkRow, where: api.WeightsState, address: str) -> str:
    """What is known about a network, with its weights being somewhere; "" is no known address."""
    model: api.KnownModel = row.model
    facts = []
    if model.parameters is not None:
        facts.append(f"{millions_text(model.parameters).removesuffix(' M')} million weights")
    if model.stride_px is not None:
        facts.append(f"a cell every {model.stride_px:g} px")
    first = f"{row.name}: {', '.join(facts)}." if facts else f"{row.name}."
    weights = _WEIGHTS_SENTENCES[where].format(address=f" from {address}" if address else "")
    return " ".join(filter(None, (first, model.note, weights)))
