"""Questions that need a dialog: files, folders, and consent to run a plugin."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from engine.api import IMAGE_SUFFIXES


def _tr(text: str) -> str:
    return QCoreApplication.translate("dialogs", text)


def image_filter() -> str:
    """The name filter of all readable pictures."""
    patterns = " ".join(f"*{suffix}" for suffix in sorted(IMAGE_SUFFIXES))
    return f"{_tr('Images')} ({patterns});;{_tr('All files')} (*)"


def ask_pair(parent: QWidget, folder: Path) -> tuple[Path, Path] | None:
    """Two image files: chosen together, or the second one in a dialog of its own."""
    names, _ = QFileDialog.getOpenFileNames(
        parent, _tr("Open one or two images"), str(folder), image_filter()
    )
    if not names:
        return None
    if len(names) == 1:
        second, _ = QFileDialog.getOpenFileName(
            parent, _tr("Open the second image"), str(Path(names[0]).parent), image_filter()
        )
        if not second:
            return None
        names.append(second)
    return Path(names[0]), Path(names[1])


def ask_folder(parent: QWidget, folder: Path) -> Path | None:
    """A folder of sequences, one sequence, or a folder with two images."""
    name = QFileDialog.getExistingDirectory(parent, _tr("Open a folder of sequences"), str(folder))
    return Path(name) if name else None


def ask_file(parent: QWidget, title: str, folder: Path, name_filter: str) -> Path | None:
    """One existing file."""
    name, _ = QFileDialog.getOpenFileName(parent, title, str(folder), name_filter)
    return Path(name) if name else None


def ask_target(parent: QWidget, title: str, proposal: Path, name_filter: str) -> Path | None:
    """A file to write; a missing suffix is taken from the proposal."""
    name, _ = QFileDialog.getSaveFileName(parent, title, str(proposal), name_filter)
    if not name:
        return None
    path = Path(name)
    return path if path.suffix else path.with_suffix(proposal.suffix)


def ask_maps(parent: QWidget, folder: Path) -> tuple[Path, Path] | None:
    """The map files of image a and image b."""
    name_filter = f"{_tr('Descriptor maps')} (*.npz *.npy)"
    first = ask_file(parent, _tr("Map file of image A"), folder, name_filter)
    if first is None:
        return None
    second = ask_file(parent, _tr("Map file of image B"), first.parent, name_filter)
    return None if second is None else (first, second)


def consents_to_plugin(parent: QWidget, path: Path) -> bool:
    """True if the person agrees that a Python file is run; it can do whatever they can."""
    answer = QMessageBox.warning(
        parent,
        _tr("Run this plugin?"),
        _tr(
            "%s is a Python program. Loading it runs it with all your rights. "
            "Agree only if you know where it comes from; it is not asked about again."
        )
        % path,
        QMessageBox.StandardButton.Ok | QMessageBox.StandardButton.Cancel,
        QMessageBox.StandardButton.Cancel,
    )
    return answer == QMessageBox.StandardButton.Ok
