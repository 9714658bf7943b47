"""Questions that need a dialog: files, folders, and permission to run a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PySide6.QtWidgets import QAbstractButton, QFileDialog, QMessageBox, QWidget

from engine import api


def image_filter() -> str:
    """The name filter of all readable pictures."""
    patterns = " ".join(f"*{suffix}" for suffix in sorted(api.IMAGE_SUFFIXES))
    return f"Images ({patterns});;All files (*)"


def ask_pair(parent: QWidget, folder: Path) -> tuple[Path, ...] | None:
    """Two image files, chosen together or one after the other; or one file that lists pairs."""
    names, _ = QFileDialog.getOpenFileNames(
        parent, "Open one or two images, or a list of pairs", str(folder), image_filter()
    )
    if not names:
        return None
    if len(names) == 1 and Path(names[0]).suffix.lower() not in api.IMAGE_SUFFIXES:
        return (Path(names[0]),)
    if len(names) == 1:
        second, _ = QFileDialog.getOpenFileName(
            parent, "Open the second image", str(Path(names[0]).parent), image_filter()
        )
        if not second:
            return None
        names.append(second)
    return Path(names[0]), Path(names[1])


def ask_layout(parent: QWidget, path: Path, readers: Sequence[api.PairSetReader]) -> str | None:
    """The word of the layout that a set of pairs has, of several that fit."""
    answer = QMessageBox(
        QMessageBox.Icon.Question,
        "Which layout is it?",
        f"“{path.name}” can be read in several ways.",
        parent=parent,
    )
    buttons: dict[QAbstractButton, str] = {
        answer.addButton(reader.layout, QMessageBox.ButtonRole.AcceptRole): reader.word
        for reader in readers
    }
    answer.setEscapeButton(answer.addButton(QMessageBox.StandardButton.Cancel))
    answer.exec()
    return buttons.get(answer.clickedButton())


def ask_folder(
    parent: QWidget, folder: Path, title: str = "Open a folder with pairs"
) -> Path | None:
    """A folder; by default one with pairs of images."""
    name = QFileDialog.getExistingDirectory(parent, title, str(folder))
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
    name_filter = "Descriptor maps (*.npz *.npy *.pt *.pth *.safetensors)"
    first = ask_file(parent, "Map file of image A", folder, name_filter)
    if first is None:
        return None
    second = ask_file(parent, "Map file of image B", first.parent, name_filter)
    return None if second is None else (first, second)


def stops_training(parent: QWidget, name: str, step: int) -> bool:
    """True if the user agrees that closing the window stops the training."""
    answer = QMessageBox(
        QMessageBox.Icon.Question,
        "Stop the training?",
        f"“{name}” is training and has reached step {step}.",
        parent=parent,
    )
    answer.setInformativeText(
        "Closing the window stops it. A checkpoint is kept, and Resume in the training panel "
        "continues from there."
    )
    stop = answer.addButton("Save and close", QMessageBox.ButtonRole.AcceptRole)
    stay = answer.addButton("Keep training", QMessageBox.ButtonRole.RejectRole)
    answer.setDefaultButton(stop)
    answer.setEscapeButton(stay)
    answer.exec()
    return answer.clickedButton() is stop


def ask_taken_run(
    parent: QWidget, name: str, *, proposal: str, can_resume: bool
) -> Literal["resume", "new", "cancel"]:
    """What to do when the folder of a new run is already taken."""
    answer = QMessageBox(
        QMessageBox.Icon.Question,
        "A run of this name exists",
        f"“{name}” already exists."
        if can_resume
        else f"A folder “{name}” that holds no training already exists.",
        parent=parent,
    )
    new = answer.addButton(f"Start as “{proposal}”", QMessageBox.ButtonRole.AcceptRole)
    resume = None
    if can_resume:
        answer.setInformativeText(
            "Resuming continues from its last checkpoint, with the settings of the form."
        )
        resume = answer.addButton("Resume it", QMessageBox.ButtonRole.ActionRole)
    answer.setDefaultButton(new)
    answer.setEscapeButton(answer.addButton(QMessageBox.StandardButton.Cancel))
    answer.exec()
    if answer.clickedButton() is new:
        return "new"
    if resume is not None and answer.clickedButton() is resume:
        return "resume"
    return "cancel"


def consents_to_plugin(parent: QWidget, path: Path) -> bool:
    """True if the user agrees to run a Python file, which can do whatever the user can."""
    answer = QMessageBox.warning(
        parent,
        "Run this plugin?",
        f"{path} is a Python program. Loading it runs it with all your rights. Agree only if you "
        "know where it comes from; you will not be asked again.",
        QMessageBox.StandardButton.Ok | QMessageBox.StandardButton.Cancel,
        QMessageBox.StandardButton.Cancel,
    )
    return answer == QMessageBox.StandardButton.Ok
