"""Asks for files and folders, and hands them to the code that opens or writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QMimeData, QObject
from PySide6.QtGui import QGuiApplication, QImage

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.export_controller import ExportController
from descgui.controllers.pair_controller import PairController
from descgui.controllers.pictures_controller import PicturesController
from descgui.controllers.session_controller import SessionController
from descgui.controllers.truth_controller import TruthController
from descgui.models.bundle import AppModels
from descgui.models.file_names import file_stem
from descgui.models.maps_state import DescriptorChoice, MapsModel
from descgui.views import dialogs
from descgui.views.addresses import read_text, read_urls
from descgui.views.main_window import MainWindow
from engine import api

_PNG = "PNG (*.png)"
_SESSION = f"Sessions (*{api.SESSION_SUFFIX})"
_BASIS = "PCA basis (*.npz)"


class FileController(QObject):
    """Every command that begins with a file dialog, and pasting.

    Args:
        owner: the window that the dialogs belong to.
    """

    def __init__(
        self,
        models: AppModels,
        owner: Callable[[], MainWindow],
        *,
        pairs: PairController,
        truths: TruthController,
        engine: EngineController,
        pictures: PicturesController,
        exports: ExportController,
        sessions: SessionController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._owner = owner
        self._pairs = pairs
        self._truths = truths
        self._engine = engine
        self._pictures = pictures
        self._exports = exports
        self._sessions = sessions
        sessions.consent_wanted = self.may_run

    def open_pair(self) -> None:
        """Choose two photos, or a file that lists pairs."""
        chosen = dialogs.ask_pair(self._owner(), self._models.pair.folder)
        if chosen is not None and len(chosen) == 2:
            self._pairs.open_files(*chosen)
        elif chosen is not None:
            self._pairs.open_paths(list(chosen))

    def choose_layout(self, path: Path, readers: tuple[api.PairSetReader, ...]) -> None:
        """Ask which of several layouts a set has, and open it."""
        word = dialogs.ask_layout(self._owner(), path, readers)
        if word is not None:
            self._pairs.show_set(f"{word}:{path}")

    def open_folder(self) -> None:
        """Choose a folder with pairs."""
        folder = dialogs.ask_folder(self._owner(), self._models.pair.folder)
        if folder is not None:
            self._pairs.show_set(str(folder))

    def open_session(self) -> None:
        """Choose a session file."""
        folder = self._sessions.file.parent if self._sessions.file else self._models.pair.folder
        path = dialogs.ask_file(self._owner(), "Open a session", folder, _SESSION)
        if path is not None:
            self._sessions.open(path)

    def save_session(self) -> None:
        """Choose where the session is saved: over the one that is open, or beside the images."""
        proposal = self._sessions.file or self._models.pair.folder / self._sessions.proposed_name
        path = dialogs.ask_target(self._owner(), "Save the session", proposal, _SESSION)
        if path is not None:
            if path.suffix != api.SESSION_SUFFIX:
                path = path.with_name(f"{path.name}{api.SESSION_SUFFIX}")
            self._sessions.save(path)

    def paste(self) -> None:
        """Open the image on the clipboard, or else the images that it names; if empty, nothing."""
        clipboard = QGuiApplication.clipboard()
        picture: QImage | None = clipboard.image()
        if picture is not None and not picture.isNull():
            self._pairs.paste_image(picture)
            return
        # Qt's stubs do not know that there is no data on an empty clipboard.
        mime: QMimeData | None = clipboard.mimeData()
        if mime is None:
            return
        found = read_urls(mime.urls()) if mime.hasUrls() else read_text(mime.text())
        if found.foreign:
            self._models.messages.notify(found.refusal, "warning")
        elif found.paths:
            self._pairs.open_paths(list(found.paths))
        elif mime.text().strip():
            self._models.messages.notify("The clipboard holds no image and no path.")

    def load_homography(self) -> None:
        """Choose the file with the open pair's homography."""
        title = "Homography from image A to image B"
        name_filter = "All files (*)"
        path = dialogs.ask_file(self._owner(), title, self._models.pair.folder, name_filter)
        if path is not None:
            self._truths.load_homography(path)

    def load_truth(self) -> None:
        """Choose a file with the open pair's truth, and say what it holds."""
        title = "Ground truth of the open pair"
        path = dialogs.ask_file(self._owner(), title, self._models.pair.folder, "All files (*)")
        if path is not None:
            self._truths.look(path, lambda look: self.ask_truth(path, look))

    def ask_truth(self, path: Path, look: api.TruthLook, side: str = "") -> None:
        """Ask what a file with truth holds, and load it.

        Args:
            path: the file.
            look: what it seems to hold.
            side: the image that it replaces if it is one; "" where it cannot be one.
        """
        from descgui.views.truth_dialog import TruthDialog

        window = self._owner()
        image = f"image {side.upper()}" if side else ""
        dialog = TruthDialog(path, look, self._truths, image=image, parent=window)
        dialog.named.connect(self._truths.load)
        dialog.image_wanted.connect(lambda: self._pairs.replace_side(path, side))
        window.open_dialog(dialog)

    def load_maps(self, model: MapsModel) -> None:
        """Choose the map files of both images, for the shown or the compared descriptor."""
        chosen = dialogs.ask_maps(self._owner(), self._models.pair.folder)
        if chosen is not None:
            model.choose(DescriptorChoice(api.PRECOMPUTED, map_files=chosen))

    def load_plugin(self) -> None:
        """Choose a Python file that registers descriptors; the first time consent is asked."""
        title = "Load a plugin"
        path = dialogs.ask_file(self._owner(), title, self._models.pair.folder, "Python (*.py)")
        if path is None:
            return
        if self.may_run(path):
            self._engine.load_plugin(path)

    def may_run(self, plugin: Path) -> bool:
        """Whether the user lets a Python file run; asked once for each file."""
        settings = self._models.settings
        trusted = settings.state.trusted_plugins
        if str(plugin) in trusted:
            return True
        if not dialogs.consents_to_plugin(self._owner(), plugin):
            return False
        settings.update(trusted_plugins=(*trusted, str(plugin)))
        return True

    def load_basis(self) -> None:
        """Choose a saved PCA basis."""
        title = "Load a PCA basis"
        path = dialogs.ask_file(self._owner(), title, self._models.pair.folder, _BASIS)
        if path is not None:
            self._pictures.use_basis(path)

    def save_basis(self) -> None:
        """Write the PCA basis in use."""
        self._save("basis.npz", _BASIS, self._pictures.save_basis)

    def save_panes(self) -> None:
        """Write what the panes show."""
        self._save(self._named(".png"), _PNG, self._exports.save_panes)

    def save_window(self) -> None:
        """Write a picture of the whole window."""
        self._save("window.png", _PNG, self._exports.save_window)

    def save_figure(self) -> None:
        """Write a figure for a paper."""
        kind = self._models.settings.state.figure.kind
        filters = {"svg": "SVG (*.svg)", "pdf": "PDF (*.pdf)", "png": _PNG}
        ordered = [filters.pop(kind), *filters.values()]
        self._save(self._named(f".{kind}"), ";;".join(ordered), self._exports.save_figure)

    def export(self) -> None:
        """As :meth:`save_figure`, for the dialog with its settings."""
        self.save_figure()

    def preview_figure(self, show: Callable[[bytes], object], say: Callable[[str], object]) -> None:
        """Draw the figure as a small PNG; see :meth:`ExportController.preview_figure`."""
        self._exports.preview_figure(show, say)

    def save_view(self, picture: QImage) -> None:
        """Write a picture of one pane."""
        self._save(
            self._named("_view.png"), _PNG, lambda path: self._exports.save_picture(picture, path)
        )

    def save_readings(self) -> None:
        """Write the probe and the pins."""
        filters = "CSV (*.csv);;Markdown (*.md)"
        self._save(self._named("_points.csv"), filters, self._exports.save_readings)

    def save_matches(self) -> None:
        """Write the table of matches."""
        formats = (f"{one.title} (*{suffix})" for suffix, one in api.MATCH_FORMATS.items())
        self._save(self._named("_matches.csv"), ";;".join(formats), self._exports.save_matches)

    def _save(self, name: str, name_filter: str, write: Callable[[Path], None]) -> None:
        last = self._models.settings.state.export_folder
        folder = Path(last) if last and Path(last).is_dir() else self._models.pair.folder
        path = dialogs.ask_target(self._owner(), "Save as", folder / name, name_filter)
        if path is not None:
            self._models.settings.update(export_folder=str(path.absolute().parent))
            write(path)

    def _named(self, end: str) -> str:
        """A file's name from the pair and the shown descriptor."""
        state = self._models.pair.state
        words = [state.pair.name] if state is not None else []
        words += [self._models.descriptors[number].choice.name for number in self._models.numbers]
        return f"{file_stem(*words) or 'pair'}{end}"
