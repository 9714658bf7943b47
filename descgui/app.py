"""Builds the window and wires it: the only file that sees all parts.

The order matters: the window is painted before torch is loaded and before the first image is read.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, cast

os.environ.setdefault("PYQTGRAPH_QT_LIB", "PySide6")

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, QTimer, Signal
from PySide6.QtWidgets import QApplication, QWidget

from descgui import display, logs
from descgui.controllers.download_controller import DownloadController
from descgui.controllers.engine_controller import EngineController
from descgui.controllers.estimate_controller import EstimateController
from descgui.controllers.evaluation_controller import EvaluationController
from descgui.controllers.export_controller import ExportController
from descgui.controllers.file_controller import FileController
from descgui.controllers.gallery_controller import GalleryController
from descgui.controllers.learning_controller import LearningController
from descgui.controllers.maps_controller import MapsController
from descgui.controllers.matches_controller import MatchesController
from descgui.controllers.networks_controller import NetworksController
from descgui.controllers.pair_controller import PairController
from descgui.controllers.pictures_controller import PicturesController
from descgui.controllers.probe_controller import ProbeController
from descgui.controllers.results_controller import ResultsController
from descgui.controllers.screenshot_controller import ScreenshotController
from descgui.controllers.session_controller import SessionController
from descgui.controllers.start_controller import StartController
from descgui.controllers.study_controller import StudyController
from descgui.controllers.thumbnail_controller import ThumbnailController
from descgui.controllers.training_controller import TrainingController
from descgui.controllers.video_controller import VideoController
from descgui.desktop import open_on_desktop
from descgui.models.bundle import AppModels, make_models
from descgui.models.maps_state import MapsModel
from descgui.views import dialogs
from descgui.views.actions import Actions
from descgui.views.browser_panel import BrowserPanel
from descgui.views.canvas import ImageCanvas
from descgui.views.descriptor_panel import DescriptorPanel
from descgui.views.dock_layouts import DockSpec
from descgui.views.evaluation_actions import EvaluationActions
from descgui.views.image_menu import image_menu
from descgui.views.lazy_panel import LazyPanel, Making
from descgui.views.log_dock import LogPanel
from descgui.views.main_window import MainWindow
from descgui.views.matches_panel import MatchesPanel
from descgui.views.pair_view import PairView
from descgui.views.panel_parts import in_column
from descgui.views.pixels import prepare_display
from descgui.views.probe_panel import ProbePanel
from descgui.views.theme import Theme
from descgui.views.video_bar import VideoBar
from descgui.workers.collector import Collector
from descgui.workers.lane import JobLane
from descgui.workers.plot_loading import PlotLoader
from engine import api
from engine.cli import STOPPED

if TYPE_CHECKING:
    from descgui.views.evaluation_panel import EvaluationPanel
    from descgui.views.training_panel import TrainingPanel

SETTINGS_FILE = "settings.yaml"
LAYOUT_FILE = "window.ini"
_SIGNAL_LOOK_MS = 200
_SWITCH_INTERVAL_S = 0.001
_ZOOM_STEP = 1.25


class Application(QObject):
    """One window with its models, controllers and views.

    Args:
        options: what was asked on the command line.
        models: made beforehand, so that tests and benchmarks can look into them.
        layout_file: where place and panels of the window are kept; None keeps nothing.

    Attributes:
        closed: nothing runs any more.

    Signals:
        painted(): the window was painted for the first time; loading starts only now.
        finished(int): the window is closed and nothing runs any more; with the exit code.
    """

    painted = Signal()
    finished = Signal(int)

    def __init__(
        self, options: api.ViewOptions, models: AppModels, layout_file: Path | None = None
    ) -> None:
        super().__init__()
        self.options = options
        self.models = models
        self._exit_code = 0
        self._closing = False
        self._asks = True
        self.closed = False
        models.pair.failed.connect(partial(models.messages.notify, level="error"))
        models.settings.problem.connect(partial(models.messages.notify, level="warning"))
        models.settings.load()
        self.theme = Theme(models.settings, self)
        if options.theme is not None:
            self.theme.apply(options.theme)
        self._make_controllers()
        self._make_window(layout_file)
        self._connect_actions()
        self.trainings.evaluation_wanted.connect(self._show_evaluation)
        self.trainings.pair_wanted.connect(self.window.show_pair)
        self.learning.training_wanted.connect(self._show_training)
        self.results.pair_wanted.connect(self.window.show_pair)

    def show(self) -> None:
        """Show the window; all loading waits for its first painting."""
        if self.options.size is not None:
            self.window.resize(*self.options.size)
        self.window.installEventFilter(self)
        self.window.show()
        if self.options.matches:
            self.window.open_dock("matches")
        if self.options.panel:
            self.window.open_dock(self.options.panel)

    @property
    def evaluation_panel(self) -> EvaluationPanel:
        """The panel of evaluations, made on first use."""
        return cast("EvaluationPanel", self._evaluation.content)

    @property
    def training_panel(self) -> TrainingPanel:
        """The panel of trainings, made on first use."""
        return cast("TrainingPanel", self._training.content)

    @property
    def busy(self) -> bool:
        """True while anything is loaded, computed or asked."""
        return any(lane.busy for lane in self._lanes) or self.probes.busy

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Begin to load right after the first painting."""
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self._load)
        return False

    def _load(self) -> None:
        self.painted.emit()
        self.pairs.lane.busy_changed.connect(self._pair_read)
        self.start.open_first()

    def _pair_read(self, busy: bool) -> None:
        """Load torch once the images are read: two imports at a time would only share a core."""
        if not busy and not self._closing:
            self.pairs.lane.busy_changed.disconnect(self._pair_read)
            self.engine.start()

    # ---- parts ---------------------------------------------------------------------------------

    def _make_controllers(self) -> None:
        models = self.models
        trusted = map(Path, models.settings.state.trusted_plugins)
        plugins = tuple(dict.fromkeys((*self.options.plugins, *trusted)))
        images = api.ImageStore()  # the window shows what the session describes
        self.engine = EngineController(models, plugins, self, images=images)
        self.pairs = PairController(models, prepare_display, self, images=images)
        self.maps = MapsController(models, self.engine, self)
        self.networks = NetworksController(models, self.engine, self.maps, self)
        self.work_lane = JobLane(models.messages.report, self)
        self.pictures = PicturesController(models, self.engine, self.maps, self.work_lane, self)
        self.matches = MatchesController(models, self.engine, self.maps, self.work_lane, self)
        self.probes = ProbeController(models, self.engine, self.maps, self)
        self.thumbnails = ThumbnailController(models.messages, self)
        plot_loader = PlotLoader(models.messages.report, self)
        self.gallery = GalleryController(models.messages, plot_loader, self)
        results = self.results = ResultsController(models, self.pairs, self.matches, self)
        evaluation = EvaluationController(models, results, self)
        estimate, download = EstimateController(models, self), DownloadController(models, self)
        self.learning = LearningController(models, self)
        self.evaluations = EvaluationActions(evaluation, results, download, self.learning)
        self.studies = StudyController(models, self.maps, self)
        self.trainings = TrainingController(models, self.engine, self.maps, plot_loader, self)
        self.exports = ExportController(
            models,
            self.work_lane,
            grab_panes=lambda: self.pair_view.grab().toImage(),
            grab_window=lambda: self.window.grab().toImage(),
            parts_in_sight=lambda: self.pair_view.parts_in_sight(),
            parent=self,
        )
        self.sessions = SessionController(
            models,
            self.pairs.lane,
            pairs=self.pairs,
            engine=self.engine,
            maps=self.maps,
            probes=self.probes,
            matches=self.matches,
            parts_in_sight=lambda: self.pair_view.parts_in_sight(),
            show_parts=lambda parts: self.pair_view.show_parts(parts),
            resume_video=lambda path, frame: self.videos.resume(path, frame),
            parent=self,
        )
        self.files = FileController(
            models,
            lambda: self.window,
            pairs=self.pairs,
            truths=self.pairs.truths,
            engine=self.engine,
            pictures=self.pictures,
            exports=self.exports,
            sessions=self.sessions,
            parent=self,
        )
        self.videos = VideoController(models, self.pairs, self)
        self.start = StartController(
            models,
            self.options,
            self.pairs,
            self.probes,
            self.matches,
            lambda parts: self.pair_view.show_parts(parts),
            self,
        )
        self._lanes = (
            self.engine.lane,
            self.pairs.lane,
            self.maps.lane,
            self.networks.lane,
            self.networks.downloads,
            self.studies.lane,
            self.work_lane,
            self.thumbnails.lane,
            self.gallery.lane,
            plot_loader.lane,
            self.learning.lane,
            *(part.lane for part in (results, estimate, download)),
            *evaluation.lanes,
            *self.trainings.lanes,
        )
        for lane in self._lanes:
            lane.busy_changed.connect(self._lane_changed)

    def _make_window(self, layout_file: Path | None) -> None:
        models = self.models
        self.actions = Actions(models, self)
        self.actions.follow_undo_stack(self.probes.undo_stack)
        self.pair_view = PairView(models, self.probes, self.pairs, self.maps, self.files)
        self.central = QWidget()
        self.video_bar = VideoBar(models.video, self.videos, self.central)
        in_column(self.central, (self.pair_view, 1), self.video_bar, spacing_px=0)
        self.central.setFocusProxy(self.pair_view)
        self.browser = BrowserPanel(models, self.pairs, self.thumbnails, self.files)
        self.descriptor = DescriptorPanel(models, self.maps, self.files)
        self.probe = ProbePanel(models, self.probes, self.pairs.truths, self.learning)
        self.match_panel = MatchesPanel(models, self.matches, self.files, self.pairs.truths)
        self._evaluation = LazyPanel(self._make_evaluation, size_px=(900, 360), least_px=(520, 200))
        self._training = LazyPanel(self._make_training, size_px=(1100, 400), least_px=(520, 220))
        self.window = MainWindow(
            models,
            self.actions,
            central=self.central,
            docks={
                "browser": DockSpec(self.browser, "Browser", "browser", "left"),
                "descriptor": DockSpec(self.descriptor, "Descriptor", "descriptor"),
                "probe": DockSpec(self.probe, "Probe", "probe"),
                "matches": DockSpec(self.match_panel, "Matches", "matches"),
                "evaluation": DockSpec(
                    self._evaluation, "Evaluation", "evaluate", "bottom", height_px=360
                ),
                "training": DockSpec(self._training, "Training", "train", "bottom", height_px=400),
                "log": DockSpec(LogPanel(models.messages, api.log_dir()), "Log", "log", "bottom"),
            },
            layout_file=layout_file,
        )
        self.window.may_close = self._may_close
        self.window.can_close = self._can_close
        self.window.closing.connect(self._close)

    def _make_evaluation(self) -> Making:
        from descgui.views.evaluation_form import EvaluationForm

        yield
        from descgui.views.evaluation_panel import EvaluationPanel

        yield
        form = EvaluationForm(self.models, self.evaluations)
        yield
        panel = EvaluationPanel(self.models, self.evaluations, form)
        panel.gallery_requested.connect(self._open_gallery)
        return panel

    def _make_training(self) -> Making:
        from descgui.views.training_form import TrainingForm

        yield
        from descgui.views.training_panel import TrainingPanel

        yield
        form = TrainingForm(self.models, self.trainings)
        yield
        return TrainingPanel(self.models, self.trainings, form)

    # ---- wires ---------------------------------------------------------------------------------

    def _connect_actions(self) -> None:
        models, view = self.models, self.pair_view
        for name, slot in {
            "open_pair": self.files.open_pair,
            "open_folder": self.files.open_folder,
            "open_session": self.files.open_session,
            "save_session": self.files.save_session,
            "open_demo": self.pairs.open_demo,
            "paste_image": self.files.paste,
            "value_range": self._choose_range,
            "heat_colours": self._choose_colours,
            "load_homography": self.files.load_homography,
            "load_truth": self.files.load_truth,
            "clear_truth": self.pairs.truths.clear,
            "open_network": partial(self._open_network, models.maps),
            "load_maps": partial(self.files.load_maps, models.maps),
            "load_plugin": self.files.load_plugin,
            "export_canvas": self.files.save_panes,
            "export_window": self.files.save_window,
            "export_figure": self._export_figure,
            "export_points": self.files.save_readings,
            "copy_points_csv": partial(self.exports.copy_readings, "csv"),
            "copy_points_markdown": partial(self.exports.copy_readings, "markdown"),
            "export_matches": self.files.save_matches,
            "copy_canvas": self.exports.copy_panes,
            "copy_command": self.exports.copy_command,
            "fit": view.fit,
            "one_to_one": view.one_to_one,
            "zoom_in": partial(view.zoom_by, _ZOOM_STEP),
            "zoom_out": partial(view.zoom_by, 1 / _ZOOM_STEP),
            "previous_pair": partial(self.pairs.step, -1),
            "next_pair": partial(self.pairs.step, 1),
            "pca_colours": self._show_pca,
            "describe_again": self.maps.describe_again,
            "compare": self._open_comparison,
            "run_matches": self._run_matches,
            "clear_matches": self.matches.clear,
            "cancel": self._cancel,
            "remove_pin": lambda: self.probes.remove_pin(models.pins.selected),
            "clear_pins": self.probes.clear_pins,
            "evaluate": partial(self.window.show_workspace, "evaluate"),
            "gallery": self._open_gallery,
            "study": self._open_study,
            "train": partial(self.window.show_workspace, "train"),
            "stop_training": self.trainings.stop,
            "doctor": self._show_doctor,
            "open_log_folder": partial(open_on_desktop, api.log_dir(), self.models.messages),
        }.items():
            self.actions[name].triggered.connect(lambda _checked=False, slot=slot: slot())
        view.range_requested.connect(self._choose_range)
        view.colours_requested.connect(self._choose_colours)
        view.menu_requested.connect(self._show_image_menu)
        self.descriptor.network_requested.connect(self._open_network)
        self.actions.recents.pair_requested.connect(self.pairs.open_recent)
        self.actions.recents.folder_requested.connect(self.pairs.show_set)
        self.pairs.layout_wanted.connect(self.files.choose_layout)
        self.pairs.truth_unclear.connect(self.files.ask_truth)

    # ---- what users do -------------------------------------------------------------------------

    def _open_comparison(self) -> None:
        from descgui.views.compare_popup import ComparePopup

        popup = self.window.findChild(ComparePopup)
        if popup is None:
            popup = ComparePopup(self.models, self.maps, self.window)
            popup.network_requested.connect(self._open_network)
        bar = self.window.tool_bar
        popup.pop_up(bar.widgetForAction(self.actions["compare"]))

    def _show_pca(self) -> None:
        from descgui.views.pca_dialog import PcaDialog

        dialog = PcaDialog(self.models, self.files, self.window)
        bar = self.window.tool_bar  # below its right end, over the panels and not over the panes
        dialog.move(bar.mapToGlobal(bar.rect().bottomRight()) - QPoint(dialog.width(), 0))
        self.window.open_dialog(dialog)
        if self.models.view.state.mode not in ("pca", "overlay"):
            self.models.view.update(mode="pca")

    def _choose_range(self) -> None:
        from descgui.views.range_dialog import RangeDialog

        if self.models.pair.state is not None:
            self.window.open_dialog(RangeDialog(self.models, self.pairs, self.window))

    def _choose_colours(self) -> None:
        from descgui.views.heat_dialog import HeatDialog

        dialog = HeatDialog(self.models, self.window)
        dialog.range_requested.connect(self._choose_range)
        self.window.open_dialog(dialog)

    def _show_image_menu(
        self, side: api.Side, canvas: ImageCanvas, x_px: float, y_px: float, where: QPoint
    ) -> None:
        menu = image_menu(
            self.models,
            side,
            (x_px, y_px),
            probing=self.probes,
            truths=self.pairs.truths,
            zoom_here=partial(self.pair_view.zoom_at, canvas, (x_px, y_px)),
            save=partial(self._save_view, canvas),
            parent=canvas,
        )
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(where)

    def _save_view(self, canvas: ImageCanvas) -> None:
        self.files.save_view(canvas.grab().toImage())

    def _export_figure(self) -> None:
        from descgui.views.figure_dialog import FigureDialog

        self.window.open_dialog(FigureDialog(self.models, self.files, self.window))

    def _open_network(self, maps: MapsModel) -> None:
        from descgui.views.network_dialog import NetworkDialog

        self.window.open_dialog(NetworkDialog(self.models, maps, self.networks, self.window))

    def _open_gallery(self) -> None:
        from descgui.views.gallery_dialog import GalleryDialog

        results, pictures = self.evaluations.results, self.gallery
        self.window.open_dialog(GalleryDialog(self.models, results, pictures, self.window))

    def _open_study(self) -> None:
        from descgui.views.study_dialog import StudyDialog

        self.window.open_dialog(StudyDialog(self.models, self.studies, self.window))

    def _run_matches(self) -> None:
        self.window.open_dock("matches")
        self.matches.run()

    def _show_evaluation(self) -> None:
        self.window.show_workspace("evaluate")
        self.evaluation_panel.new_tab.click()

    def _show_training(self) -> None:
        self.window.show_workspace("train")
        self.training_panel.new_tab.click()

    def _cancel(self) -> None:
        self.maps.cancel()
        self.work_lane.cancel()

    def _show_doctor(self) -> None:
        self.work_lane.submit(
            lambda context: api.diagnosis_text(api.examine(context.cancel)),
            key="doctor",
            done=lambda report: self.window.show_text("Doctor", f"```\n{report}\n```"),
        )

    # ---- the end -------------------------------------------------------------------------------

    def end(self, exit_code: int) -> None:
        """Close the window without asking, and end with this code once nothing runs."""
        self._exit_code = exit_code
        self._asks = False
        self.window.close()

    def _may_close(self) -> bool:
        """Ask before a training is stopped."""
        status = self.models.training.status.state
        if not (self._asks and status.busy and status.folder is not None):
            return True
        return dialogs.stops_training(self.window, status.folder.name, status.step)

    def _can_close(self) -> bool:
        return not any(lane.busy for lane in self._lanes)

    def _close(self) -> None:
        self._closing = True
        for lane in self._lanes:
            lane.close()
        self.probes.close()
        if self._can_close():
            QTimer.singleShot(0, self._finish)
        else:
            self.window.hide()  # what still runs ends within a second, unseen

    def _lane_changed(self, _busy: bool) -> None:
        if self._closing and self._can_close():
            self.window.finish_close()
            QTimer.singleShot(0, self._finish)

    def _finish(self) -> None:
        self.closed = True
        self.finished.emit(self._exit_code)


def make_application(arguments: list[str]) -> QApplication:
    """The Qt application, the one there is or a new one, with its names set."""
    existing = QApplication.instance()
    application = existing if isinstance(existing, QApplication) else QApplication(arguments)
    # The query's thread and the window's wait this long for one another at most; Python's own
    # 5 ms would be a third of the time from a pointer event to its heat map.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    application.setApplicationName("descriptor-space")
    application.setApplicationDisplayName("Descriptor Space")
    application.setApplicationVersion(api.__version__)
    application.setDesktopFileName("descriptor-space")
    # The window ends the program itself, with its exit code, once nothing runs any more.
    application.setQuitOnLastWindowClosed(False)
    return application


def run_window(options: api.ViewOptions) -> int:
    """Open the window and stay until it is closed.

    Args:
        options: what to show; with ``screenshot`` the window is saved and closed by itself.

    Returns:
        0, or 1 with a sentence on stderr if no window can open or what was asked for failed.
    """
    problem = display.display_problem()
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
        return 1
    display.forget_opencv_paths()
    application = make_application(sys.argv[:1])
    collector = Collector()
    # A picture must neither depend on the user's settings nor change them.
    keep = options.screenshot is None
    models = make_models(api.config_dir() / SETTINGS_FILE if keep else None)
    hooks = logs.install(models.messages, api.log_dir())
    window = Application(options, models, api.config_dir() / LAYOUT_FILE if keep else None)
    hooks.crashed.connect(window.window.show_report)
    if options.screenshot is not None:
        _save_when_done(window, options.screenshot)
    window.finished.connect(application.exit)
    waker = _end_on_interrupt(window)
    window.show()
    try:
        return application.exec()
    finally:
        waker.stop()
        hooks.uninstall()
        collector.stop()


def _end_on_interrupt(window: Application) -> QTimer:
    """Close in order on Ctrl-C and SIGTERM; a second one kills.

    Returns:
        A timer that lets Python look for signals, which it cannot do while Qt waits.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        window.end(STOPPED)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    waker = QTimer(window)
    waker.timeout.connect(lambda: None)
    waker.start(_SIGNAL_LOOK_MS)
    return waker


def _save_when_done(window: Application, path: Path) -> None:
    screenshot = ScreenshotController(
        window.models,
        path,
        at_rest=lambda: window.models.engine.state.stage != "loading" and not window.busy,
        grab=window.window.grab_to,
        parent=window,
    )

    def end(exit_code: int) -> None:
        for failure in screenshot.failures:
            sys.stderr.write(f"{failure}\n")
        window.end(exit_code)

    screenshot.done.connect(end)
    window.painted.connect(screenshot.start)
