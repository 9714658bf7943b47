"""Every reader of files there is: where its samples are, how it is called, what it may return."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soak.layout_samples import SIZE_PX

Read = Callable[[Path, Path], object]
"""Reads the folder with the samples, of which one file is damaged."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One reader.

    Attributes:
        name: what it reads.
        folder: of its samples, below the folder of all samples.
        files: pattern of the files that are damaged, one at a time.
        read: see :data:`Read`; a :class:`~engine.errors.DescSpaceError` and a value are sound.
        weight: how often it is tried, compared with others; more often where that is quick.
    """

    name: str
    folder: str
    files: str
    read: Read
    weight: float = 1.0


def _pictures(_folder: Path, file: Path) -> None:
    from engine.images import read_image, read_size, read_thumbnail

    size_px = read_size(file)
    image = read_image(file)
    assert image.pixels.dtype in (np.uint8, np.uint16)
    assert image.size_px == size_px
    assert image.pixels.shape[2:] == (3,)
    small = read_thumbnail(file, long_edge_px=16)
    assert max(small.shape[:2]) <= 16


def _homographies(_folder: Path, file: Path) -> None:
    from engine.geometry.homography import is_usable, read_homography

    assert is_usable(read_homography(file))


def _disparities(folder: Path, file: Path) -> None:
    from engine.truth.disparity import DisparitySource

    factor = 6.0 if file.suffix == ".png" else None
    for source in (
        DisparitySource(file, folder / "right.npy", factor),
        DisparitySource(file, factor=factor),
    ):
        _check_truth(source, (24, 16))


def _depths(folder: Path, file: Path) -> None:
    from engine.truth.cameras import Camera
    from engine.truth.depth import DepthSource

    matrix = np.array([[20.0, 0, 12], [0, 20, 8], [0, 0, 1]])
    cameras = [
        Camera.pinhole(matrix, np.column_stack([np.eye(3), [x, 0, 0]]), (24, 16)) for x in (0.0, -1)
    ]
    factor = 100.0 if file.suffix == ".png" else None
    _check_truth(DepthSource(file, folder / "b.npy", cameras[0], cameras[1], factor), (24, 16))


def _check_truth(source: Any, size_px: tuple[int, int]) -> None:
    _check_places(source.open(size_px, size_px))


def _check_places(truth: Any) -> None:
    from engine.truth.base import Visibility
    from engine.vocabulary import SIDES

    points = np.random.default_rng(0).uniform(-2, 26, (200, 2))
    for side in SIDES:
        found = truth.locate(side, points)
        known = np.isfinite(found.points_px).all(axis=1)
        assert not known[found.visibility == Visibility.UNKNOWN].any()
        assert known[found.visibility == Visibility.SEEN].all()
        assert not (found.uncertainty_px < 0).any()


def _cameras(_folder: Path, file: Path) -> None:
    from engine.truth.colmap_model import read_colmap_model
    from engine.truth.view_lists import read_views

    views = file.name == "views.txt"
    points = np.random.default_rng(0).uniform(-2, 200, (50, 2))
    for camera in (read_views(file) if views else read_colmap_model(file.parent)).values():
        rays = camera.rays(points)
        again = camera.project(np.column_stack([rays, np.ones(len(rays))]))
        known = np.isfinite(again).all(axis=1)
        assert np.abs(again - points)[known].max(initial=0.0) < 1
        assert camera.matrix.shape == (3, 3)
        assert camera.world_to_camera.shape == (3, 4)


def _point_lists(folder: Path, file: Path) -> None:
    """The damaged file, and the lists that it belongs to."""
    from engine.truth.points import PointsSource

    for path in dict.fromkeys((file, folder / "matches.txt")):
        truth = _sound(PointsSource(path, images=("a.png", "b.png")).open, (96, 72), (96, 72))
        if truth is not None:
            assert np.isfinite(np.hstack(truth.listed_px)).all()
            assert truth.locate("a", truth.points_a).points_px.shape == truth.points_b.shape


def _flows(folder: Path, file: Path) -> None:
    from engine.truth.flow import FlowSource

    for backward in (folder / "back.npy", None):
        _check_truth(FlowSource(file, backward, uncertainty_px=0.0), (24, 16))


def _maps(folder: Path, _file: Path) -> None:
    from engine.descriptors.precomputed import read_map_file

    for name in ("a.npz", "b.npy"):
        content = read_map_file(folder / name)
        for level in content.levels:
            assert bool(level.values.isfinite().all())
            assert float(level.values.norm(dim=1).max()) < 1.001
        content.lay_on((96, 72))


def _basis(_folder: Path, file: Path) -> None:
    from engine.matching.projection import load_basis

    load_basis(file, dim=8)


def _weights(_folder: Path, file: Path) -> None:
    from engine.checkpoints import load_state

    state, metadata = load_state(file)
    assert all(bool(t.isfinite().all()) for t in state.values() if t.is_floating_point())
    assert all(isinstance(text, str) for text in metadata.values())


def _network(_folder: Path, file: Path) -> None:
    from engine.descriptors.registry import build_descriptor, make_spec

    build_descriptor(make_spec("msnet_v0", {"weights": str(file)}))


def _export(folder: Path, file: Path) -> None:
    from engine.jobs.export import ExportJob
    from engine.progress import JobContext

    ExportJob(source=file, out=folder / "exported.safetensors").run(JobContext())


def _configs(_folder: Path, file: Path) -> None:
    from engine.config import read_yaml
    from engine.jobs.settings import EvaluateConfig, TrainConfig, config_text, resolve_settings

    values = read_yaml(file)
    config_text(*resolve_settings(EvaluateConfig, from_file=values))
    config_text(*resolve_settings(TrainConfig, from_file=values))


def _words(_folder: Path, file: Path) -> None:
    from engine.errors import DescSpaceError
    from engine.jobs.original_overrides import split_overrides, translate
    from engine.jobs.settings import EvaluateConfig, TrainConfig, resolve_settings

    if not file.is_file():  # the words come from a command line
        return
    lines = file.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    for line in lines:
        ours, theirs = _sound(functools.partial(split_overrides, (), (line,))) or ((), ())
        _sound(functools.partial(translate, theirs))
        for config in (EvaluateConfig, TrainConfig):
            _sound(functools.partial(resolve_settings, config, overrides=ours))
    try:
        split_overrides(lines, ())
        resolve_settings(EvaluateConfig, overrides=lines)
    except DescSpaceError as error:
        check_sentence(error, None)


def _window_settings(_folder: Path, file: Path) -> None:
    from descgui.models.recents import read_recent
    from descgui.models.settings import SettingsModel

    model = SettingsModel(file)
    said: list[str] = []
    model.problem.connect(said.append)
    model.load()
    assert all("\n" not in text for text in said), said
    for line in model.state.recent_pairs:
        found = read_recent(line)
        assert found is None or "\n" not in found.label
    model.update(peaks=9)


def _window_layout(_folder: Path, file: Path) -> None:
    from descgui.views.layout_store import STATE_VERSION, restore_layout

    layouts = restore_layout(_window(), file)
    for state in layouts.states.values() if layouts is not None else ():
        _window().restoreState(state, STATE_VERSION)


def write_layout(samples: str) -> None:
    """Write the sample of a window's layout."""
    from descgui.views.layout_store import STATE_VERSION, Layouts, save_layout

    folder = Path(samples) / "layout"
    folder.mkdir(parents=True, exist_ok=True)
    layouts = Layouts("inspect", {"inspect": _window().saveState(STATE_VERSION)})
    save_layout(_window(), layouts, folder / "window.ini")


@functools.cache
def _window() -> Any:
    from PySide6.QtCore import Qt
    from PySide6.QtWidgets import QApplication, QDockWidget, QMainWindow, QToolBar

    _window.application = QApplication.instance() or QApplication(["soak"])  # type: ignore[attr-defined]
    window = QMainWindow()
    for name in ("browser", "descriptor", "log"):
        dock = QDockWidget(name, window)
        dock.setObjectName(name)
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    bar = QToolBar("tools", window)
    bar.setObjectName("tools")
    window.addToolBar(bar)
    return window


def _evaluation(folder: Path, _file: Path) -> None:
    from engine.evaluation.run_folder import read_begun
    from engine.jobs.runs import list_runs, read_runs, run_info

    run = next(iter(sorted(folder.glob("evaluate-*"))))
    info = run_info(run)
    assert "\n" not in info.problem
    list_runs(folder)
    _sound(functools.partial(read_begun, run))
    results = read_runs([run])
    for row in results.summary:
        assert row.pck is None or 0 <= row.pck <= 1


def _points(folder: Path, _file: Path) -> None:
    from engine.evaluation.points import read_points

    run = next(iter(sorted(folder.glob("evaluate-*"))))
    for file in sorted((run / "points").glob("*/*.npz")):
        measured = read_points(run, file.parent.name, int(file.stem))
        for image in measured.images:
            assert isinstance(image.path, str)
            assert len(image.resize.from_size_px) == 2
        for found in measured.points.values():
            for one in found:
                assert one.query_px.shape == one.match_px.shape == one.true_px.shape
                assert one.query_px.shape == (len(one.similarity), 2)
                _ = one.errors_px


def _training(folder: Path, _file: Path) -> None:
    from engine.jobs.training_runs import list_training_runs, read_curves, read_training_run

    run = next(iter(sorted(folder.glob("train-*"))))
    info = read_training_run(run)
    assert "\n" not in info.problem
    assert not isinstance(info.step, bool)
    list_training_runs(folder)
    for name, curve in read_curves(run).items():
        assert curve.shape[1:] == (2,), name


def _previews(folder: Path, _file: Path) -> None:
    from engine.jobs.training_runs import read_previews

    run = next(iter(sorted(folder.glob("train-*"))))
    for preview in read_previews(run):
        assert all(picture.ndim == 3 for picture in preview.pictures.values())


def _training_state(folder: Path, _file: Path) -> None:
    from engine.training.run_folder import RunFolder

    RunFolder(next(iter(sorted(folder.glob("train-*"))))).load_state()


def _resumed(folder: Path, file: Path) -> None:
    """Continue a training at the step where it ended: all is read, nothing is trained."""
    from engine.config import read_yaml
    from engine.jobs.settings import TrainConfig, resolve_settings
    from engine.jobs.train import TrainJob
    from engine.progress import JobContext

    run = next(iter(sorted(folder.glob("train-*"))))
    kept = {one: one.read_bytes() for one in run.rglob("*") if one.is_file() and one != file}
    try:
        config, own = resolve_settings(TrainConfig, from_file=read_yaml(run / "config.yaml"))
        TrainJob(config=config, own=own, run_dir=run, resume=True).run(JobContext())
    finally:
        for one in [one for one in run.rglob("*") if one.is_file() and one not in kept]:
            if one != file:
                one.unlink()
        for one, content in kept.items():
            one.write_bytes(content)


def _archives(folder: Path, file: Path) -> None:
    from engine.data.archives import Limits, extract_archive
    from engine.progress import JobContext

    out = folder / "out" / "here"
    limits = Limits(size_bytes=8 << 20, files=200)
    try:
        extract_archive(file, out, JobContext(), limits=limits)
        inside = out.resolve()
        assert all(inside in one.resolve().parents for one in out.rglob("*"))
        assert not any(one.is_symlink() for one in out.rglob("*"))
    finally:
        beside = {one.name for one in folder.iterdir()} - {file.name, "out"}
        known = {"set.zip", "set.tar", "set.tar.gz"}
        assert beside <= known, f"files appeared beside the archive: {sorted(beside - known)}"


def _sequences(folder: Path, _file: Path) -> None:
    from engine.data.layouts import open_pair_set
    from engine.images import read_size

    dataset = open_pair_set(folder)
    assert all("\n" not in problem for problem in dataset.problems), dataset.problems
    for pair in itertools.islice(dataset.pairs(), 6):
        for path in (pair.path_a, pair.path_b):
            _sound(functools.partial(read_size, path))


def _layouts(folder: Path, file: Path) -> None:
    """The set that holds the damaged file, by its own reader and by the one that is recognised."""
    from engine.data.layouts import open_pair_set

    root = folder / file.relative_to(folder).parts[0]
    for layout in (root.name, ""):
        found = _sound(functools.partial(open_pair_set, root, layout))
        if found is not None:
            assert all("\n" not in problem for problem in found.problems), found.problems
            for pair in itertools.islice(found.pairs(), 6):
                truth = _sound(pair.truth.open, SIZE_PX, SIZE_PX) if pair.truth else None
                if truth is not None:
                    _check_places(truth)


def _photos(folder: Path, _file: Path) -> None:
    from engine.data.photos import open_photos, read_covering, split_photos

    photos = open_photos(folder)
    assert all("\n" not in problem for problem in photos.problems), photos.problems
    split_photos(photos, validation_share=0.2)
    for name in photos.names:
        _sound(functools.partial(read_covering, folder / name, (48, 32)))


def _records(folder: Path, _file: Path) -> None:
    from engine.data import download

    with _home(folder):
        download._recorded("set.zip")
    validator = download._Part(folder / "data" / "set.zip").validator
    assert validator.isprintable()


def _photo_index(folder: Path, file: Path) -> None:
    """The index that was kept of a folder of photos; here the damaged file takes its place."""
    from engine.data.photos import _index_file, open_photos

    with _home(folder / "home"):
        place = _index_file(folder / "photos")
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            place.write_bytes(file.read_bytes())
        assert open_photos(folder / "photos").names


def _lock(folder: Path, _file: Path) -> None:
    from engine.errors import OutputError
    from engine.writer_lock import _holder

    text = str(OutputError(folder, f"is being written by {_holder(folder / '.writer.json')}"))
    assert "\n" not in text


def _plugin(_folder: Path, file: Path) -> None:
    from engine.descriptors.plugins import load_plugin
    from engine.descriptors.registry import list_descriptors

    load_plugin(file)
    assert list_descriptors()


class _home:  # noqa: N801 - used as a function
    """The person's folders are here inside the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        import os

        self._before = os.environ.get("DESCGUI_HOME")
        os.environ["DESCGUI_HOME"] = str(self._folder)

    def __exit__(self, *_: object) -> None:
        import os

        if self._before is None:
            os.environ.pop("DESCGUI_HOME", None)
        else:
            os.environ["DESCGUI_HOME"] = self._before


READERS = (
    Reader("pictures", "pictures", "*", _pictures, 8),
    Reader("homographies", "homographies", "*", _homographies, 10),
    Reader("disparity", "disparity", "d*", _disparities, 6),
    Reader("depth", "depth", "d*", _depths, 6),
    Reader("cameras", "cameras", "*/*", _cameras, 3),
    Reader("lists of points", "points", "*", _point_lists, 8),
    Reader("flow", "flow", "f*", _flows, 6),
    Reader("maps and sidecars", "maps", "*", _maps, 3),
    Reader("PCA bases", "basis", "*", _basis, 3),
    Reader("weights", "weights", "*", _weights, 0.4),
    Reader("weights of a network", "weights", "last.safetensors", _network, 0.1),
    Reader("exported weights", "weights", "last.safetensors", _export, 0.08),
    Reader("configs", "configs", "*", _configs, 1.2),
    Reader("override words", "words", "*", _words, 0.3),
    Reader("window settings", "window", "settings.yaml", _window_settings, 1),
    Reader("window layout", "layout", "*", _window_layout, 6),
    Reader("results and rows", "runs", "evaluate-*/*.json*", _evaluation, 2),
    Reader("settings of an evaluation", "runs", "evaluate-*/*.yaml", _evaluation, 1),
    Reader("points of pairs", "runs", "evaluate-*/points/*/*", _points, 2.5),
    Reader("training events", "runs", "train-*/events.jsonl", _training, 0.4),
    Reader("settings of a training", "runs", "train-*/config.yaml", _training, 0.3),
    Reader("training pictures", "runs", "train-*/tensorboard/*", _previews, 0.8),
    Reader("training state", "runs", "train-*/state/last.pt", _training_state, 0.6),
    Reader("resumed training", "runs", "train-*/*[.]*", _resumed, 0.02),
    Reader("resumed training's state", "runs", "train-*/state/last.pt", _resumed, 0.02),
    Reader("archives", "archives", "*", _archives, 1.5),
    Reader("sequences", "sequences", "*/*", _sequences, 2.5),
    Reader("sets of pairs", "layouts", "**/*", _layouts, 10),
    Reader("photos", "photos", "*", _photos, 1),
    Reader("index of photos", "index", "index.json", _photo_index, 6),
    Reader("records of downloads", "records", "data/*", _records, 8),
    Reader("owner of a lock", "lock", ".writer.json", _lock, 8),
    Reader("plugins", "plugin", "*.py", _plugin, 3),
)


def _sound(call: Callable[..., Any], *values: object) -> Any:
    """Its value, or None for an error with a sentence."""
    from engine.errors import DescSpaceError

    try:
        return call(*values)
    except DescSpaceError as error:
        check_sentence(error, None)
        return None


LONGEST_SENTENCE = 2100


def check_sentence(error: Exception, folder: Path | None) -> None:
    """Whether an error is one sentence on one line, with the path where it is of a file.

    Raises:
        AssertionError: it is not.
    """
    from engine.errors import FileError, printable

    text = str(error)
    assert "\n" not in text, f"more than one line: {text!r}"
    assert text == printable(text), f"control characters: {text!r}"
    path = str(error.path) if isinstance(error, FileError) else ""
    length = len(text.replace(path, "") if path else text)
    assert length <= LONGEST_SENTENCE, f"{length} characters: {text[:300]!r} …"
    assert text.rstrip().endswith((".", "?")), f"no sentence: {text!r}"
    if isinstance(error, FileError) and folder is not None:
        assert str(folder) in text, f"without its path: {text!r}"
