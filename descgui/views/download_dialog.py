"""The dialog that loads HPatches: where to, how far, and what to do when it breaks off."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from descgui.models.evaluation_state import DownloadState, EvaluationModel
from descgui.views.evaluation_form import clock_text
from descgui.views.icons import icon
from descgui.views.panel_parts import Notice, Sentence
from engine.api import HPATCHES_FOLDER, HPATCHES_URLS

_WIDTH_PX = 480


class DownloadDialog(QDialog):
    """Loads HPatches, or takes a folder that is there already.

    It may be closed while it loads: the download goes on, and is shown when it is opened again.

    Signals:
        download_requested(Path): load into a folder, or continue there.
        cancel_requested(): stop; what was loaded is kept.
        place_requested(): another folder to load into is to be chosen.
        folder_requested(): a folder with the sequences is to be chosen.
    """

    download_requested = Signal(object)
    cancel_requested = Signal()
    place_requested = Signal()
    folder_requested = Signal()

    def __init__(self, model: EvaluationModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._place = model.data_folder or Path.home()
        self.setWindowTitle("Download HPatches")
        hosts = " or ".join(str(urlsplit(url).hostname) for url in HPATCHES_URLS)
        self.intro = Sentence(
            (
                "116 sequences of six images each, with homographies (Balntas and others, 2017). "
                f"More than 1 GB is loaded from {hosts} and unpacked."
            ),
            self,
        )
        self.place = Sentence(parent=self, quiet=True)
        self.place_button = QToolButton(self)
        self.place_button.setIcon(icon("open-folder"))
        self.place_button.setToolTip("Load into another folder")
        self.place_button.setAccessibleName("Load into another folder")
        self.place_button.clicked.connect(self.place_requested)
        self.bar = QProgressBar(self)
        self.bar.setAccessibleName("Download")
        self.bar.setTextVisible(False)
        self.status = Sentence(parent=self)
        self.failure = Notice("error", self)
        self.folder_button = QPushButton(icon("folder"), "Use my folder…", self)
        self.folder_button.setToolTip("The sequences are on this computer already")
        self.folder_button.clicked.connect(self.folder_requested)
        self.load_button = QPushButton(icon("download"), "Download", self)
        self.load_button.setDefault(True)
        self.load_button.clicked.connect(self._on_load)
        self.cancel_button = QPushButton(icon("stop"), "Stop", self)
        self.cancel_button.setToolTip("What was loaded is kept")
        self.cancel_button.clicked.connect(self.cancel_requested)
        self.close_button = QPushButton("Close", self)
        self.close_button.clicked.connect(self.close)
        place = QHBoxLayout()
        place.addWidget(self.place, 1)
        place.addWidget(self.place_button, 0, Qt.AlignmentFlag.AlignTop)
        buttons = QHBoxLayout()
        buttons.addWidget(self.folder_button)
        buttons.addStretch(1)
        buttons.addWidget(self.cancel_button)
        buttons.addWidget(self.load_button)
        buttons.addWidget(self.close_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(10)
        layout.addWidget(self.intro)
        layout.addLayout(place)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.failure)
        layout.addStretch(1)
        layout.addLayout(buttons)
        self.setMinimumWidth(_WIDTH_PX)
        model.download_changed.connect(self._on_download)
        self.set_place(self._place)
        self._on_download(model.download)

    def set_place(self, folder: Path) -> None:
        """Load into this folder."""
        self._place = folder
        there = folder
        while not there.exists() and there != there.parent:
            there = there.parent
        text = f"Into {folder / HPATCHES_FOLDER}"
        try:
            free = shutil.disk_usage(there).free
        except OSError:
            self.place.say(text)
        else:
            self.place.say(f"{text} ({free / 1000000000.0:.0f} GB free)")

    def _on_download(self, state: DownloadState) -> None:
        self.bar.setVisible(state.busy)
        if state.total:
            self.bar.setRange(0, state.total)
            self.bar.setValue(state.done)
        else:
            self.bar.setRange(0, 0)
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
        total = f"{state.total}" if state.total is not None else "?"
        if state.stage == "loading":
            if state.done == 0 and state.total is None:
                return "Connecting…"
            text = f"{state.done} of {total} MB"
            if state.mb_per_s:
                text += f" · {state.mb_per_s:.1f} MB/s"
                if state.total is not None:
                    left_s = (state.total - state.done) / state.mb_per_s
                    text += f" · {clock_text(left_s)} left"
            return text
        if state.stage == "checking":
            return f"Checking: {state.done} of {total} MB"
        if state.stage == "unpacking":
            return f"Unpacking: {state.done} of {total} files"
        if state.stage == "stopped":
            return "Stopped. What was loaded is kept, and the download continues there."
        if state.stage == "done":
            return f"HPatches is in {state.folder}."
        return ""

    def _on_load(self) -> None:
        self.download_requested.emit(self._place)
