"""A page of text with headings and code, such as the tour and the doctor's report."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

from PySide6.QtGui import QGuiApplication, QTextCursor, QTextDocument
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QWidget

from descgui.views.panel_parts import in_column
from engine.api import data_dir

_TOUR_HEADING = "first five minutes"


class TextDialog(QDialog):
    """Shows Markdown, to be read and copied.

    Args:
        title: of the window.
        markdown: the page; pictures and files are looked for beside ``base``.
        base: a folder, or None.
    """

    def __init__(
        self, title: str, markdown: str, *, base: Path | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.resize(720, 640)
        self._markdown = markdown
        self.page = QTextBrowser()
        self.page.setAccessibleName(title)
        self.page.setOpenExternalLinks(True)
        self.page.document().setDocumentMargin(16)
        if base is not None:
            self.page.setSearchPaths([str(base)])
        self.page.setMarkdown(markdown)
        _wrap_code(self.page.document())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        buttons.button(QDialogButtonBox.StandardButton.Close).setDefault(True)
        copy = buttons.addButton("&Copy", QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(self.copy)
        in_column(self, (self.page, 1), buttons, margins_px=(12, 12, 12, 12), spacing_px=8)

    def copy(self) -> None:
        """Copy the whole page as Markdown."""
        QGuiApplication.clipboard().setText(self._markdown)


def _wrap_code(document: QTextDocument) -> None:
    """Let long lines of code, such as the doctor's commands, continue on the next line."""
    cursor = QTextCursor(document)
    while True:
        layout = cursor.blockFormat()
        layout.setNonBreakableLines(False)
        cursor.setBlockFormat(layout)
        if not cursor.movePosition(QTextCursor.MoveOperation.NextBlock):
            return


def tour_text() -> tuple[str, Path | None]:
    """The tour in the README: its text, and the folder of its pictures.

    The README lies beside the sources in a checkout and in the metadata of an installed package;
    without either the answer is empty.
    """
    folder = data_dir("resources").parent
    readme = folder / "README.md"
    if readme.is_file():
        return section_of(readme.read_text(encoding="utf-8"), _TOUR_HEADING), folder
    try:
        text = str(metadata.metadata("descriptor-space").json.get("description", ""))
    except metadata.PackageNotFoundError:
        return "", None
    return section_of(text, _TOUR_HEADING), None


def section_of(markdown: str, heading: str) -> str:
    """The section under a heading (any case, any level) with its sub-sections; else the whole."""
    lines = markdown.splitlines()
    fenced = False
    start, level = None, 0
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        found = None if fenced else re.match(r"(#+)\s+(.*)", line)
        if found is None:
            continue
        if start is not None and len(found[1]) <= level:
            return "\n".join(lines[start:number]).rstrip() + "\n"
        if start is None and heading in found[2].casefold():
            start, level = number, len(found[1])
    return markdown if start is None else "\n".join(lines[start:]).rstrip() + "\n"
