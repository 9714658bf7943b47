"""What runs here: versions, devices, screens and folders, ready to be copied into a bug report."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib import metadata

from PySide6.QtCore import QProcess, QSize, Qt, qVersion
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QWidget,
)

from descgui.models.bundle import AppModels
from descgui.models.engine_state import EngineState
from descgui.views.icons import app_icon
from descgui.views.panel_parts import in_column, in_row
from engine import api

Facts = dict[str, dict[str, str]]

_PACKAGES = (
    "torch",
    "numpy",
    "opencv-python",
    "scikit-image",
    "pillow",
    "pyqtgraph",
    "safetensors",
    "pycuda",
)
_NVCC_WAIT_MS = 2000


def package_version(name: str) -> str:
    """Version of an installed package, read without importing it; "" if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def collect_facts(engine: EngineState, nvcc: str) -> Facts:
    """All facts, by heading and name."""
    versions = {
        "Descriptor Space": api.__version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "Qt": qVersion(),
        "PySide6": package_version("PySide6-Essentials") or package_version("PySide6"),
    }
    versions |= {name: version for name in _PACKAGES if (version := package_version(name))}
    devices = {device.name: device.title for device in engine.devices}
    if engine.stage == "loading":
        devices["engine"] = "PyTorch is still being loaded"
    elif engine.stage == "failed":
        devices["engine"] = engine.message
    devices["nvcc"] = nvcc
    screens = {}
    for number, screen in enumerate(QGuiApplication.screens(), start=1):
        size, ratio = screen.geometry(), screen.devicePixelRatio()
        name = screen.name() or str(number)
        screens[name] = (
            f"{size.width()}×{size.height()} at {ratio:g}, {screen.logicalDotsPerInch():.0f} dpi"
        )
    return {
        "Versions": versions,
        "Computer": {
            "System": platform.platform(),
            "Processor": platform.processor() or platform.machine(),
            "Qt platform": QGuiApplication.platformName(),
        },
        "Devices": devices,
        "Screens": screens,
        "Folders": {
            "Settings": str(api.config_dir()),
            "Cache": str(api.cache_dir()),
            "Data": str(api.user_data_dir()),
            "Log": str(api.log_dir()),
        },
    }


def facts_as_text(facts: Facts) -> str:
    """The facts as plain lines, for a bug report."""
    lines = []
    for heading, rows in facts.items():
        lines.append(heading)
        lines += [f"  {name}: {value}" for name, value in rows.items()]
    return "\n".join(lines) + "\n"


class AboutDialog(QDialog):
    """Shows the facts; the CUDA compiler is asked for its version while the dialog is open."""

    def __init__(self, models: AppModels, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._engine = models.engine
        self._nvcc = "not found"
        self.setWindowTitle("About Descriptor Space")
        self.resize(620, 600)
        self._page = QWidget()
        self._form = QFormLayout(self._page)
        self._form.setContentsMargins(4, 4, 12, 4)
        self._form.setHorizontalSpacing(16)
        self._form.setVerticalSpacing(4)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        scroll = QScrollArea()
        scroll.setWidget(self._page)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        buttons.button(QDialogButtonBox.StandardButton.Close).setDefault(True)
        copy = buttons.addButton("&Copy", QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(self.copy)
        line = QFrame()
        line.setProperty("line", True)
        in_column(
            self,
            self._header(),
            line,
            (scroll, 1),
            buttons,
            margins_px=(16, 16, 16, 12),
            spacing_px=12,
        )
        self._process = QProcess(self)
        self._process.finished.connect(self._on_nvcc)
        self._ask_nvcc()
        models.engine.changed.connect(self._on_engine)
        self._show()

    def facts(self) -> Facts:
        """What is shown."""
        return collect_facts(self._engine.state, self._nvcc)

    def copy(self) -> None:
        """Copy all facts as text."""
        QGuiApplication.clipboard().setText(facts_as_text(self.facts()))

    def done(self, result: int) -> None:
        """Close, and do not leave the compiler behind."""
        if self._process.state() != QProcess.ProcessState.NotRunning:
            self._process.kill()
            self._process.waitForFinished(_NVCC_WAIT_MS)
        super().done(result)

    def _header(self) -> QHBoxLayout:
        sign = QLabel()
        sign.setPixmap(app_icon().pixmap(QSize(56, 56), self.devicePixelRatioF()))
        name = QLabel("Descriptor Space")
        font = name.font()
        font.setPointSizeF(font.pointSizeF() * 1.6)
        font.setBold(True)
        name.setFont(font)
        what = QLabel(f"Version {api.__version__} — see what a dense image descriptor does.")
        what.setProperty("subtle", True)
        words = in_column(None, 1, name, what, 1, spacing_px=2)
        return in_row(None, sign, (words, 1), spacing_px=16)

    def _ask_nvcc(self) -> None:
        program = shutil.which("nvcc")
        if program is not None:
            self._nvcc = program
            self._process.start(program, ["--version"])

    def _on_nvcc(self, code: int, _status: QProcess.ExitStatus) -> None:
        output = bytes(self._process.readAllStandardOutput().data()).decode(errors="replace")
        releases = [line for line in output.splitlines() if "release" in line]
        if code == 0 and releases:
            release = releases[0].partition("release ")[2]
            self._nvcc = f"{release} ({self._process.program()})"
            self._show()

    def _on_engine(self, _state: EngineState) -> None:
        self._show()

    def _show(self) -> None:
        while self._form.rowCount():
            self._form.removeRow(0)
        for heading, rows in self.facts().items():
            title = QLabel(heading)
            title.setProperty("heading", True)
            title.setContentsMargins(0, 8, 0, 0)
            self._form.addRow(title)
            for name, value in rows.items():
                label = QLabel(name)
                label.setProperty("subtle", True)
                label.setMinimumWidth(116)
                text = QLabel(value)
                text.setWordWrap(True)
                text.setTextFormat(Qt.TextFormat.PlainText)
                text.setTextInteractionFlags(
                    Qt.TextInteractionFlag.TextSelectableByMouse
                    | Qt.TextInteractionFlag.TextSelectableByKeyboard
                )
                text.setAccessibleName(f"{name}: {value}")
                self._form.addRow(label, text)
