"""The dialog that downloads HPatches: folder, progress, and retries."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QDialog,
    QProgressBar,
    QPushButton,
    QWidget,
)

from descgui.models.evaluation_state import DownloadState
from descgui.models.state import StateModel
from descgui.views import dialogs
from descgui.views.evaluation_actions import DataActions
from descgui.views.panel_parts import (
    Notice,
    Sentence,
    field_row,
    icon_button,
    in_column,
    in_row,
    word_buttons,
)
from descgui.views.words import clock_text
from engine import api
from engine.api import Stage

_WIDTH_PX = 480


class DownloadDialog(QDialog):
    """Downloads HPatches, or uses a folder that already has the sequences.

    The download continues when the dialog is closed; reopening the dialog shows its progress.
    """

    def __init__(
        self, model: StateModel[DownloadState], actions: DataActions, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._actions = actions
        self._place = api.find_data_folder()
        self.setWindowTitle("Download HPatches")
        hosts = " or ".join(str(urlsplit(url).hostname) for url in api.HPATCHES_URLS)
        self.intro = Sentence(
            (
                "116 sequences of six images each, with homographies (Balntas and others, 2017). "
                f"More than 1 GB is downloaded from {hosts} and unpacked."
            ),
            self,
        )
        self.place = Sentence(parent=self, quiet=True)
        self.place_button = icon_button("open-folder", "Download into another folder", self)
        self.place_button.clicked.connect(self._choose_place)
        self.bar = QProgressBar(self)
        self.bar.setAccessibleName("Download")
        self.bar.setTextVisible(False)
        self.status = Sentence(parent=self)
        self.failure = Notice("error", self)
        self.folder_button, self.cancel_button, self.load_button = word_buttons(
            self,
            ("folder", "Use my folder…", "The sequences are on this computer already", self.reject),
            ("stop", "Stop", "The downloaded part is kept", actions.cancel),
            ("download", "Download", "", self._on_load),
        )
        self.load_button.setDefault(True)
        close_button = QPushButton("Close", self)
        close_button.clicked.connect(self.reject)
        place = field_row(self.place, self.place_button)
        place.setAlignment(self.place_button, Qt.AlignmentFlag.AlignTop)
        buttons = (self.folder_button, 1, self.cancel_button, self.load_button, close_button)
        parts = (self.intro, place, self.bar, self.status, self.failure, 1, in_row(None, *buttons))
        in_column(self, *parts, margins_px=(16, 16, 16, 16), spacing_px=10)
        self.setMinimumWidth(_WIDTH_PX)
        model.changed.connect(self._on_download)
        self._show_place(self._place)
        self._on_download(model.state)

    def _choose_place(self) -> None:
        folder = dialogs.ask_folder(self, self._place, "Download into")
        if folder is not None:
            self._show_place(folder)

    def _show_place(self, folder: Path) -> None:
        self._place = there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        text = f"Into {folder / api.HPATCHES_FOLDER}"
        with suppress(OSError):
            text += f" ({shutil.disk_usage(there).free / 1e9:.0f} GB free)"
        self.place.say(text)

    def _on_download(self, state: DownloadState) -> None:
        self.bar.setVisible(state.busy)
        self.bar.setRange(0, state.total or 0)
        self.bar.setValue(state.done)
        self.status.say(self._status(state))
        self.status.setVisible(bool(self.status.sentence))
        self.failure.say(state.message if state.stage == "failed" else "")
        self.cancel_button.setVisible(state.busy)
        self.load_button.setVisible(not state.busy and state.stage != "done")
        again = state.stage in ("stopped", "failed")
        self.load_button.setText("Try again" if again else "Download")
        self.place_button.setEnabled(not state.busy)
        self.folder_button.setEnabled(not state.busy)

    def _status(self, state: DownloadState) -> str:
        done = f"{state.done} of {'?' if state.total is None else state.total}"
        match state.stage:
            case Stage.DOWNLOADING if state.done == 0 and state.total is None:
                return "Connecting…"
            case Stage.DOWNLOADING:
                words = [f"{done} MB"]
                if state.mb_per_s:
                    words.append(f"{state.mb_per_s:.1f} MB/s")
                    if state.total is not None:
                        left_s = (state.total - state.done) / state.mb_per_s
                        words.append(f"{clock_text(left_s)} left")
                return " · ".join(words)
            case Stage.CHECKING_DOWNLOAD:
                return f"Checking: {done} MB"
            case Stage.UNPACKING:
                return f"Unpacking: {done} files"
            case "stopped":
                return "Stopped. The downloaded part is kept; the download continues from there."
            case "done":
                return f"HPatches is in {state.folder}."
            case _:
                return ""

    def _on_load(self) -> None:
        self._actions.download(self._place)
