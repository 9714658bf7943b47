"""What a file with ground truth holds: its kind, further files, its factor and its direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QWidget,
)

from descgui.views import dialogs
from descgui.views.alive import while_alive
from descgui.views.panel_parts import (
    ElidedLabel,
    Notice,
    Sentence,
    icon_button,
    in_column,
    in_row,
    narrow_combo,
    show_value,
)
from engine import api

_PAUSE_MS: Final = 150
_WIDTH_PX: Final = 460
_IMAGE: Final = "image"


class TruthChecking(Protocol):
    """Trying a truth before it is used."""

    def check(self, text: str, show: Callable[[str, str], object]) -> None:
        """Open the truth that a text names, and show what is wrong or else what it tells.

        Args:
            text: as :func:`engine.api.named_truth` reads it.
            show: called with the problem, "" for none, and the summary.
        """


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is asked of a kind of truth.

    Attributes:
        title: in the list.
        second: title of a second file; "" for none.
        needed: whether there has to be one.
        cameras: whether cameras are asked for.
        factor: what a stored number is divided by; "" where that is not asked.
        ways: titles of both directions; none where the files themselves tell it.
    """

    title: str
    second: str = ""
    needed: bool = False
    cameras: bool = False
    factor: str = ""
    ways: tuple[str, str] | tuple[()] = ("from A to B", "from B to A")


_KINDS: Final[dict[api.TruthKind, _Kind]] = {
    "homography": _Kind("Homography"),
    "points": _Kind("List of points"),
    "flow": _Kind("Optical flow", "Flow back"),
    "disparity": _Kind(
        "Disparity", "Of the right image", factor="pixels",
        ways=("A is the left image", "B is the left image"),
    ),
    "depth": _Kind(
        "Depth and cameras", "Depth of B", needed=True, cameras=True, factor="depth", ways=()
    ),
    "landmarks": _Kind("Landmarks", "Landmarks of B"),
}  # fmt: skip


class TruthDialog(QDialog):
    """Asks what the numbers of a file mean; says at once whether they fit the open pair.

    Args:
        path: the file.
        look: what it seems to hold.
        checking: tries what is entered.
        image: what the file can be opened as instead, such as "image B"; "" for nothing.

    Signals:
        named(str): the truth, as :func:`engine.api.named_truth` reads it.
        image_wanted(): it is an image.
    """

    named = Signal(str)
    image_wanted = Signal()

    def __init__(
        self,
        path: Path,
        look: api.TruthLook,
        checking: TruthChecking,
        *,
        image: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._path, self._look, self._checking = path, look, checking
        self.setWindowTitle("Ground truth of the open pair")
        title = ElidedLabel(parent=self)
        title.setProperty("heading", True)
        title.say(path.name, str(path))
        entries: list[tuple[str, object]] = [(one.title, kind) for kind, one in _KINDS.items()]
        if image:
            entries.insert(0, (f"No truth, but {image}", _IMAGE))
        self.kind = narrow_combo(self, name="Kind of truth", entries=entries, chosen=self._on_kind)
        self.second, second = self._file_row("Second file")
        self.cameras, cameras = self._file_row("Cameras")
        self.factor = QLineEdit(self)
        self.factor.setAccessibleName("Factor")
        self.way = narrow_combo(self, name="Direction", chosen=self._on_edit)
        self._form = QFormLayout()
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        self._form.setVerticalSpacing(6)
        self._second_title = QLabel(self)
        self._rows = [self.kind, second, cameras, self.factor, self.way]
        titles = (
            QLabel("It holds", self), self._second_title, QLabel("Cameras", self),
            QLabel("Factor", self), QLabel("Direction", self),
        )  # fmt: skip
        for words, row in zip(titles, self._rows, strict=True):
            self._form.addRow(words, row)
        self.summary = Sentence(parent=self, quiet=True)
        self.problem = Notice("error", self)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        in_column(
            self, title, self._form, self.summary, self.problem, 1, self.buttons,
            margins_px=(16, 12, 16, 12), spacing_px=10,
        )  # fmt: skip
        self.setMinimumWidth(_WIDTH_PX)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._check)
        for field in (self.second, self.cameras, self.factor):
            field.textChanged.connect(self._on_edit)
        likely = look.kind or look.likely
        show_value(self.kind, likely or (_IMAGE if image else "disparity"))
        self._on_kind()

    @property
    def text(self) -> str:
        """What is entered, as a line that names a truth; "" for an image."""
        kind = self.kind.currentData()
        if kind == _IMAGE:
            return ""
        known = _KINDS[kind]
        parts = [str(self._path)]
        if known.second and self.second.text().strip():
            parts.append(self.second.text().strip())
        if known.cameras and self.cameras.text().strip():
            parts.append(f"cameras={self.cameras.text().strip()}")
        if known.factor and self.factor.text().strip():
            parts.append(f"factor={self.factor.text().strip()}")
        if known.ways and self.way.currentData() == "b":
            parts.append("from=b")
        return f"{kind}:{'|'.join(parts)}"

    def accept(self) -> None:
        """Hand on what was entered."""
        if self.kind.currentData() == _IMAGE:
            self.image_wanted.emit()
        else:
            self.named.emit(self.text)
        super().accept()

    def _file_row(self, title: str) -> tuple[QLineEdit, QWidget]:
        row = QWidget(self)
        field = QLineEdit(row)
        field.setAccessibleName(title)
        button = icon_button("file", f"Choose: {title.lower()}", row)

        def choose() -> None:
            path = dialogs.ask_file(self, title, self._path.parent, "All files (*)")
            if path is not None:
                field.setText(str(path))

        button.clicked.connect(choose)
        in_row(row, (field, 1), button, spacing_px=4)
        return field, row

    def _on_kind(self) -> None:
        kind = self.kind.currentData()
        known = _KINDS.get(kind)
        asked = known or _Kind("", ways=())
        shown = (
            True, bool(asked.second), asked.cameras,
            bool(asked.factor) and self._look.numbers != "float", bool(asked.ways),
        )  # fmt: skip
        for row, there in zip(self._rows, shown, strict=True):
            self._form.setRowVisible(row, there)
        if known is not None:
            self._second_title.setText(known.second)
            self.second.setPlaceholderText("needed" if known.needed else "none")
            self.cameras.setPlaceholderText("views.txt, or the folder of a COLMAP model")
            self.factor.setPlaceholderText(self._usual_factor(kind))
            self.factor.setToolTip(f"What a stored number is divided by to give {known.factor}")
            way = self.way.currentData()
            self.way.clear()
            for words, start in zip(known.ways, ("a", "b"), strict=False):
                self.way.addItem(words, start)
            show_value(self.way, way or "a")
        self._on_edit()
        self.adjustSize()

    def _usual_factor(self, kind: api.TruthKind) -> str:
        """What an empty field means, or what is often entered."""
        if kind == "depth":
            return "needed, such as 1000 or 256"
        if self._look.numbers == "16-bit":
            return "256, as in KITTI"
        return "needed, such as 4 or 8"

    def _on_edit(self) -> None:
        is_image = self.kind.currentData() == _IMAGE
        self._ok().setEnabled(is_image)
        self.problem.say("")
        self.summary.say("" if is_image else "Looking …")
        if is_image:
            self._pause.stop()
        else:
            self._pause.start()

    def _check(self) -> None:
        text = self.text

        def show(problem: str, summary: str) -> None:
            if text == self.text:
                self.problem.say(problem)
                self.summary.say(summary)
                self.summary.setVisible(bool(summary))
                self._ok().setEnabled(not problem)

        self._checking.check(text, while_alive(self, show))

    def _ok(self) -> QWidget:
        return self.buttons.button(QDialogButtonBox.StandardButton.Ok)
