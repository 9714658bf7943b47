"""Shown after an internal error: what happened, with all that a bug report needs."""

from __future__ import annotations

import time

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QLabel,
    QPlainTextEdit,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from descgui.views.icons import icon, icon_pixmap
from descgui.views.theme import theme_colors


class ReportDialog(QDialog):
    """One report; the same error is counted when it occurs again, not shown again.

    Args:
        summary: one line.
        trace: the whole trace.
        environment: versions and devices, as text.
        time_s: when it happened, seconds since the epoch.
    """

    def __init__(
        self,
        summary: str,
        trace: str,
        environment: str,
        time_s: float,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Something went wrong")
        self.setMinimumWidth(520)
        self._when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))
        self._summary = summary
        self._trace = trace
        self._environment = environment
        self._count = 1
        sign = QLabel()
        tint = QColor(theme_colors().error)
        ratio = self.devicePixelRatioF()
        sign.setPixmap(icon_pixmap("error", QSize(36, 36), tint, ratio=ratio))
        heading = QLabel("Internal error")
        font = heading.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.15)
        heading.setFont(font)
        self._words = QLabel(
            "You can continue working, but the last action may be incomplete. "
            "A copy of this report helps to fix the error."
        )
        self._words.setWordWrap(True)
        self._what = QLabel(summary)
        self._what.setWordWrap(True)
        self._what.setTextFormat(Qt.TextFormat.PlainText)
        self._what.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._what.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.details = QPlainTextEdit(self.report())
        self.details.setReadOnly(True)
        self.details.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.details.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.details.setMinimumHeight(260)
        self.details.setAccessibleName("Full report")
        self.details.hide()
        self._toggle = QToolButton()
        self._toggle.setText("Details")
        self._toggle.setIcon(icon("chevron-right"))
        self._toggle.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._toggle.setProperty("flat", True)
        self._toggle.setCheckable(True)
        self._toggle.toggled.connect(self._show_details)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        copy = buttons.addButton("&Copy report", QDialogButtonBox.ButtonRole.ActionRole)
        copy.setIcon(icon("copy"))
        copy.clicked.connect(self.copy)
        copy.setDefault(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(16, 16, 16, 12)
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(8)
        grid.addWidget(sign, 0, 0, 3, 1, Qt.AlignmentFlag.AlignTop)
        for row, widget in enumerate((heading, self._words, self._what)):
            grid.addWidget(widget, row, 1)
        grid.addWidget(self._toggle, 3, 1)
        grid.addWidget(self.details, 4, 0, 1, 2)
        grid.addWidget(buttons, 5, 0, 1, 2)
        grid.setRowStretch(4, 1)
        grid.setColumnStretch(1, 1)

    @property
    def trace(self) -> str:
        """The trace this report is about."""
        return self._trace

    def report(self) -> str:
        """All of it as text."""
        times = f" (occurred {self._count} times)" if self._count > 1 else ""
        return f"{self._summary}{times}\n{self._when}\n\n{self._trace}\n{self._environment}"

    def count_again(self) -> None:
        """Count an error that occurs while this report is open."""
        self._count += 1
        self._what.setText(f"{self._summary}  (×{self._count})")
        self.details.setPlainText(self.report())

    def copy(self) -> None:
        """Copy the report."""
        QGuiApplication.clipboard().setText(self.report())

    def _show_details(self, shown: bool) -> None:
        self._toggle.setIcon(icon("chevron-down" if shown else "chevron-right"))
        self.details.setVisible(shown)
        self.adjustSize()
