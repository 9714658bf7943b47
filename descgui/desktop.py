"""What the desktop does for the window: opening files and folders with its own programs."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices

from descgui.models.messages import MessagesModel


def open_page(address: str, messages: MessagesModel) -> None:
    """Open a web page in the desktop's browser; where there is none, a message says the address."""
    if not QDesktopServices.openUrl(QUrl(address)):
        messages.notify(f"The desktop has no program that opens {address}", "warning")


def open_on_desktop(path: Path, messages: MessagesModel) -> None:
    """Open a file or folder with the program that the desktop has for it.

    Where there is none, or it does not start, a message says where the file is.
    """
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
        messages.notify(f"The desktop has no program that opens {path}", "warning")
