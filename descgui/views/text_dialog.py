"""A page of text with headings and code, such as the doctor's report."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication, QTextCursor, QTextDocument
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QTextBrowser, QWidget

from descgui.views.panel_parts import in_column


class TextDialog(QDialog):
    """Shows Markdown, to be read and copied.

    Args:
        title: of the window.
        markdown: the page.
    """

    def __init__(self, title: str, markdown: str, *, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.resize(720, 640)
        self._markdown = markdown
        self.page = QTextBrowser()
        self.page.setAccessibleName(title)
        self.page.setOpenExternalLinks(True)
        self.page.document().setDocumentMargin(16)
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
