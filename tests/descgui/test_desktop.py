"""Opening files with the desktop's programs, and what is said where there are none."""

from pathlib import Path

import pytest
from PySide6.QtGui import QDesktopServices

from descgui.desktop import open_on_desktop
from descgui.models.messages import MessagesModel

PAGE = Path("/runs/ö one/report.html")


@pytest.mark.parametrize("opens", [True, False])
def test_a_file_that_the_desktop_cannot_open_is_named_with_its_place(qapp, monkeypatch, opens):
    asked, told = [], []
    monkeypatch.setattr(
        QDesktopServices, "openUrl", lambda url: asked.append(url.toLocalFile()) or opens
    )
    messages = MessagesModel()
    messages.notified.connect(lambda message: told.append((message.level, message.text)))
    open_on_desktop(PAGE, messages)
    assert asked == [str(PAGE)]
    assert told == ([] if opens else [("warning", f"The desktop has no program that opens {PAGE}")])
