"""Opening, choosing files, exporting, starting and saving pictures, each controller by itself."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QColor, QGuiApplication, QImage

from descgui.controllers.export_controller import ExportController
from descgui.controllers.file_controller import FileController
from descgui.controllers.pair_controller import PairController
from descgui.controllers.screenshot_controller import ScreenshotController
from descgui.controllers.start_controller import StartController, current_options
from descgui.controllers.thumbnail_controller import ThumbnailController
from descgui.models.bundle import make_models
from descgui.models.maps_state import DescriptorChoice
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Pin, Probe
from descgui.models.recents import read_recent
from descgui.views import dialogs
from descgui.views.addresses import read_text, read_urls
from descgui.workers.lane import JobLane
from engine import api
from engine.api import (
    DescriptorSpec,
    Extent,
    HomographySource,
    Image,
    ImagePair,
    MatchTable,
    Peak,
    ProbeAnswer,
    ProbeRequest,
    Recipe,
    ValueRange,
    ViewOptions,
    parse_pair_ranges,
)
from engine.cli.command import options_from
from engine.cli.parser import build_parser, parse
from engine.data import layouts
from engine.data.layouts.two_images import TwoImagesReader
from tests.descgui.pair_sets import a_group, a_set

WAIT_MS = 5000
PIXELS = np.zeros((20, 30, 3), np.uint8)


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def notified(models):
    sentences: list[tuple[str, str]] = []
    models.messages.notified.connect(lambda one: sentences.append((one.level, one.text)))
    return sentences


def open_in(models, folder: Path, **changes: Any) -> PairState:
    images = Image(folder / "1.png", PIXELS), Image(folder / "2.png", PIXELS)
    pair = ImagePair(images[0].path, images[1].path, HomographySource.of(np.eye(3)), "a pair")
    pair = replace(pair, **changes)
    truth = pair.open_truth(*(image.size_px for image in images))
    state = PairState(pair, *images, PIXELS, PIXELS, truth)
    models.pair.set_pair(state)
    return state


def table(count: int = 2) -> MatchTable:
    points = np.arange(2.0 * count).reshape(count, 2)
    return MatchTable(
        points_a=points,
        points_b=points,
        similarity=np.ones(count, np.float32),
        ratio=np.zeros(count, np.float32),
        mutual=np.ones(count, np.bool_),
        error_px=np.zeros(count),
    )


# Files


@pytest.fixture
def files(models, asked):
    return FileController(
        models,
        lambda: None,
        pairs=asked,
        truths=asked,
        engine=asked,
        pictures=asked,
        exports=asked,
        sessions=asked,
    )


@pytest.fixture
def answer(monkeypatch):
    """Answers a dialog without showing it, and records its arguments."""

    def prepare(dialog: str, result: Any) -> list[tuple[Any, ...]]:
        calls: list[tuple[Any, ...]] = []

        def reply(*args: Any) -> Any:
            calls.append(args)
            return result

        monkeypatch.setattr(dialogs, dialog, reply)
        return calls

    return prepare


@pytest.mark.parametrize(
    ("command", "dialog", "result", "expected"),
    [
        ("open_pair", "ask_pair", (Path("a"), Path("b")), ("open_files", (Path("a"), Path("b")))),
        ("open_pair", "ask_pair", (Path("p.csv"),), ("open_paths", ([Path("p.csv")],))),
        ("open_folder", "ask_folder", Path("f"), ("show_set", ("f",))),
        ("load_homography", "ask_file", Path("H"), ("load_homography", (Path("H"),))),
        ("load_basis", "ask_file", Path("b.npz"), ("use_basis", (Path("b.npz"),))),
        ("save_basis", "ask_target", Path("b.npz"), ("save_basis", (Path("b.npz"),))),
        ("save_panes", "ask_target", Path("p.png"), ("save_panes", (Path("p.png"),))),
        ("save_window", "ask_target", Path("w.png"), ("save_window", (Path("w.png"),))),
        ("save_figure", "ask_target", Path("f.svg"), ("save_figure", (Path("f.svg"),))),
        ("save_matches", "ask_target", Path("m.csv"), ("save_matches", (Path("m.csv"),))),
    ],
)
def test_a_chosen_file_goes_where_it_belongs_and_a_cancelled_dialog_nowhere(
    files, asked, answer, command, dialog, result, expected
):
    answer(dialog, None)
    getattr(files, command)()
    assert asked.calls == []
    answer(dialog, result)
    getattr(files, command)()
    assert asked.calls == [expected]


def test_a_chosen_file_with_truth_is_looked_at_before_its_kind_is_asked(files, asked, answer):
    answer("ask_file", Path("d.png"))
    files.load_truth()
    ((name, (path, _show)),) = asked.calls
    assert (name, path) == ("look", Path("d.png"))


def test_dialogs_start_beside_the_open_pair(files, models, answer, tmp_path):
    open_in(models, tmp_path)
    calls = answer("ask_target", None)
    files.save_matches()
    assert calls[0][2] == tmp_path / "a_pair_matches.csv"


def test_precomputed_maps_become_the_choice_of_their_model(files, models, answer):
    answer("ask_maps", (Path("a.npz"), Path("b.npz")))
    files.load_maps(models.compared[0])
    assert models.compared[0].choice == DescriptorChoice(
        "precomputed", map_files=(Path("a.npz"), Path("b.npz"))
    )
    assert models.maps.choice.name == ""


def test_a_plugin_is_run_only_with_consent_which_is_remembered(files, models, asked, answer):
    answer("ask_file", Path("/p/mine.py"))
    answer("consents_to_plugin", False)
    files.load_plugin()
    assert asked.calls == []
    answer("consents_to_plugin", True)
    files.load_plugin()
    assert models.settings.state.trusted_plugins == (str(Path("/p/mine.py")),)
    questions = answer("consents_to_plugin", False)
    files.load_plugin()
    assert questions == []
    assert asked.of("load_plugin") == [(Path("/p/mine.py"),)] * 2


def test_pasted_paths_and_pictures_are_opened(files, asked):
    clipboard = QGuiApplication.clipboard()
    urls = QMimeData()
    urls.setUrls([QUrl.fromLocalFile("/x/ä.png")])
    clipboard.setMimeData(urls)
    files.paste()
    clipboard.setText("/x/1.png\n/x/2.png")
    files.paste()
    picture = QImage(4, 4, QImage.Format.Format_RGB32)
    picture.fill(QColor("red"))
    clipboard.setImage(picture)
    files.paste()
    assert asked.of("open_paths") == [
        ([Path("/x/ä.png")],),
        ([Path("/x/1.png"), Path("/x/2.png")],),
    ]
    assert asked.of("paste_image")[0][0].size() == picture.size()


def paste(files: FileController, *, text: str = "", urls: tuple[str, ...] = ()) -> None:
    data = QMimeData()
    if text:
        data.setText(text)
    if urls:
        data.setUrls([QUrl(url) for url in urls])
    QGuiApplication.clipboard().setMimeData(data)
    files.paste()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("file:///x/a%20b.png", ["/x/a b.png"]),
        ("file:///x/1.png\r\nfile:///x/%C3%A4.png\r\n", ["/x/1.png", "/x/ä.png"]),
        ("copy\nfile:///x/1.png", ["/x/1.png"]),
        ('"/x/a b.png"', ["/x/a b.png"]),
        ("'/x/a b.png'\n'/x/c.png'", ["/x/a b.png", "/x/c.png"]),
        ("'/x/a b.png' '/x/c.png'", ["/x/a b.png", "/x/c.png"]),
        ("  /x/it's.png  ", ["/x/it's.png"]),
        ('"file:///x/1.png"', ["/x/1.png"]),
        ("/x/1.png\n\n\n/x/2.png", ["/x/1.png", "/x/2.png"]),
    ],
)
def test_paths_are_understood_as_file_managers_and_terminals_copy_them(files, asked, text, names):
    paste(files, text=text)
    assert asked.calls == [("open_paths", ([Path(name) for name in names],))]


@pytest.mark.parametrize(
    "address",
    [
        *("https://example.org/1.png", "http://example.org/", "ftp://example.org/1.png"),
        *("data:image/png;base64,AAAA", "smb://server/1.png"),
    ],
)
@pytest.mark.parametrize("as_url", [True, False])
def test_other_addresses_are_answered_and_leave_the_pair(files, asked, notified, address, as_url):
    both = (address, "file:///x/1.png")
    paste(files, urls=both) if as_url else paste(files, text="\n".join(both))
    assert asked.calls == []
    ((level, sentence),) = notified
    assert level == "warning"
    assert sentence == f"{address} is no file on this computer: save it first, and open that file."


def test_an_empty_clipboard_does_nothing(files, asked, notified):
    clipboard = QGuiApplication.clipboard()
    clipboard.clear()
    files.paste()
    clipboard.setMimeData(QMimeData())
    files.paste()
    assert (asked.calls, notified) == ([], [])


def test_an_address_without_a_path_opens_nothing(files, asked, notified):
    for address in ("file:", "file://"):
        paste(files, urls=(address,))
    assert asked.calls == []
    assert len(notified) == 2


def test_text_that_is_no_path_is_answered(files, asked, notified):
    paste(files, text="x" * 10_000)
    assert asked.calls == []
    assert notified == [("info", "The clipboard holds no image and no path.")]


def test_the_image_comes_before_its_address(files, asked):
    """Browsers put both on the clipboard."""
    picture = QImage(5, 3, QImage.Format.Format_RGB32)
    picture.fill(QColor("red"))
    data = QMimeData()
    data.setImageData(picture)
    data.setUrls([QUrl("https://example.org/1.png")])
    data.setText("https://example.org/1.png")
    QGuiApplication.clipboard().setMimeData(data)
    files.paste()
    ((name, (pasted,)),) = asked.calls
    assert (name, pasted.size()) == ("paste_image", picture.size())


@pytest.mark.parametrize("word", ["", " ", '""', "''", "\n\n", "file:", "file://"])
def test_an_empty_path_is_no_path(word):
    assert read_text(word).paths == ()
    assert read_urls([QUrl(word)]).paths == ()


@pytest.fixture
def pairs(models, close_after):
    controller = PairController(models, lambda image: api.as_uint8(image.pixels))
    close_after(controller.lane)
    return controller


def test_what_is_opened_beside_images_is_named_as_left_out(
    qtbot, pairs, models, notified, tmp_path
):
    for name in ("1.png", "2.png"):
        api.write_image(tmp_path / name, np.full((24, 32, 3), 90, np.uint8))
    pairs.open_paths([tmp_path / name for name in ("1.png", "H.txt", "2.png")])
    qtbot.waitUntil(lambda: models.pair.state is not None, timeout=WAIT_MS)
    assert notified == [("warning", "Beside images, only images are opened; left out: H.txt.")]


def test_what_was_chosen_in_the_opened_sequence_is_said(qtbot, pairs, models, notified, tmp_path):
    for folder in ("v_x", "v_y"):
        (tmp_path / folder).mkdir()
        for name in ("1.png", "2.png", "2.jpg"):
            api.write_image(tmp_path / folder / name, np.full((24, 32, 3), 90, np.uint8))
        (tmp_path / folder / "H_1_2").write_text("1 0 0 0 1 0 0 0 1")
    pairs.open_set(str(tmp_path), group="v_y")
    qtbot.waitUntil(lambda: models.pair.state is not None, timeout=WAIT_MS)
    assert notified == [("warning", "v_y: image 2 is there twice; 2.png is used.")]


def some_sequences(root: Path, *names: str) -> Path:
    """Sequences of three images of one colour, that stand still."""
    for name in names:
        (root / name).mkdir(parents=True)
        for number in (1, 2, 3):
            path = root / name / f"{number}.png"
            api.write_image(path, np.full((24, 32, 3), 60 * number, np.uint8))
            if number > 1:
                (root / name / f"H_1_{number}").write_text("1 0 0 0 1 0 0 0 1")
    return root


def shown_pair(qtbot, models) -> tuple[str, int]:
    """The pair that is open once nothing is being opened."""
    qtbot.waitUntil(lambda: not models.pair.loading, timeout=WAIT_MS)
    pair = models.pair.state.pair
    return pair.sequence, pair.index


def test_a_set_is_shown_where_it_was_left_and_from_its_start_where_that_is_gone(
    qtbot, pairs, models, tmp_path
):
    root = some_sequences(tmp_path / "set", "v_x", "v_y")
    other = some_sequences(tmp_path / "other", "v_z")
    pairs.show_set(str(root))
    assert shown_pair(qtbot, models) == ("v_x", 2)
    pairs.open_set(str(root), group="v_y", index=3)
    assert shown_pair(qtbot, models) == ("v_y", 3)
    pairs.show_set(str(other))
    assert shown_pair(qtbot, models) == ("v_z", 2)
    pairs.show_set(str(root))
    assert shown_pair(qtbot, models) == ("v_y", 3)
    pairs.open_set(str(root))
    assert shown_pair(qtbot, models) == ("v_x", 2), "as the command line names it"
    pairs.open_set(str(root), group="v_y", index=3)
    assert shown_pair(qtbot, models) == ("v_y", 3)
    (root / "v_y" / "H_1_3").unlink()
    pairs.show_set(str(root))
    assert shown_pair(qtbot, models) == ("v_x", 2)


def test_where_several_layouts_fit_the_user_is_asked_and_a_command_is_not(
    qtbot, pairs, models, notified, tmp_path, monkeypatch
):
    root = some_sequences(tmp_path / "set", "v_x")
    readers = (api.HPatchesReader(), TwoImagesReader())
    monkeypatch.setattr(layouts, "fitting_readers", lambda _path: readers)
    monkeypatch.setattr(api, "fitting_readers", lambda _path: readers, raising=False)
    asked: list[tuple[Path, object]] = []
    pairs.layout_wanted.connect(lambda path, found: asked.append((path, found)))
    pairs.show_set(str(root))
    qtbot.waitUntil(lambda: bool(asked), timeout=WAIT_MS)
    assert asked == [(root, readers)]
    assert models.pair.state is None
    assert models.pair.loading == ""
    pairs.show_set(f"hpatches:{root}")
    assert shown_pair(qtbot, models) == ("v_x", 2)
    assert models.browser.state.dataset.opened == f"hpatches:{root}"
    pairs.open_set(str(root))
    shown_pair(qtbot, models)
    assert f"two-images:{root}" in notified[-1][1]


def test_a_dropped_list_of_pairs_opens_as_a_set(qtbot, pairs, models, tmp_path):
    root = some_sequences(tmp_path / "set", "v_x")
    manifest = tmp_path / "pairs.csv"
    rows = ["image_a,image_b,group", *(f"{root}/v_x/1.png,{root}/v_x/{k}.png,g" for k in (2, 3))]
    manifest.write_text("\n".join(rows))
    assert api.fitting_readers(manifest), "the list is understood"
    pairs.open_paths([manifest])
    qtbot.waitUntil(lambda: models.pair.state is not None, timeout=WAIT_MS)
    assert models.browser.state.dataset.opened == str(manifest)
    assert len(models.browser.state.dataset.pairs()) == 2


def test_making_the_demo_can_be_stopped(qtbot, pairs, models, monkeypatch):
    monkeypatch.setattr(api, "demo_dataset", lambda context: context.cancel.sleep(600))
    pairs.open_demo()
    assert models.pair.loading == "the demo"
    pairs.lane.cancel()
    qtbot.waitUntil(lambda: models.pair.loading == "", timeout=WAIT_MS)


@pytest.mark.parametrize("line", ["\tv_x\t2", "\t/x/1.png", "/x/1.png\t"])
def test_a_recent_entry_without_a_path_is_none(line):
    assert read_recent(line) is None


# Exports


@pytest.fixture
def lane(models, close_after):
    lane = JobLane(models.messages.report)
    close_after(lane)
    return lane


@pytest.fixture
def exports(models, lane):
    picture = QImage(8, 6, QImage.Format.Format_RGB32)
    picture.fill(QColor("blue"))
    return ExportController(
        models,
        lane,
        grab_panes=lambda: picture,
        grab_window=lambda: picture,
        parts_in_sight=lambda: {"b": (-1.0, 2.0, 30.25, 40.0)},
    )


def test_pictures_are_written_and_named(exports, notified, tmp_path):
    for save, name in ((exports.save_panes, "p.png"), (exports.save_window, "w.png")):
        save(tmp_path / name)
        assert QImage(str(tmp_path / name)).pixelColor(3, 3) == QColor("blue")
    assert notified == [
        ("info", f"Saved as {tmp_path / 'p.png'}."),
        ("info", f"Saved as {tmp_path / 'w.png'}."),
    ]


def test_what_cannot_be_written_is_said_and_nothing_is_left(exports, notified, tmp_path):
    exports.save_panes(tmp_path / "missing" / "p.png")
    assert [level for level, _text in notified] == ["error"]
    assert not (tmp_path / "missing").exists()


def test_a_figure_is_drawn_in_the_background_and_named_or_its_failure_is_said(
    qtbot, exports, lane, models, notified, tmp_path
):
    """Drawing takes a second, in which the window could not answer."""
    exports.save_figure(tmp_path / "f.svg")
    open_in(models, tmp_path)
    assert [level for level, _text in notified] == ["error"]
    for target in (tmp_path / "f.svg", tmp_path / "missing" / "f.svg"):
        exports.save_figure(target)
        assert lane.busy
        qtbot.waitUntil(lambda: not lane.busy, timeout=30_000)
    assert notified[1] == ("info", f"Saved as {tmp_path / 'f.svg'}.")
    assert (tmp_path / "f.svg").stat().st_size > 1000
    assert [level for level, _text in notified] == ["error", "info", "error"]


def test_matches_are_written_only_when_there_are_some(exports, models, tmp_path):
    open_in(models, tmp_path)
    exports.save_matches(tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()
    models.matches.update(table=table(3))
    exports.save_matches(tmp_path / "m.csv")
    assert len((tmp_path / "m.csv").read_text().splitlines()) == 4
    exports.save_matches(tmp_path / "m.txt")
    assert (tmp_path / "m.txt").read_text().splitlines()[0] == "1.png 2.png"


def test_the_copied_command_opens_the_same_view(exports, models, tmp_path):
    groups = (a_group(tmp_path, "v_x"), a_group(tmp_path, "v_y"))
    models.browser.set_dataset(a_set(tmp_path, *groups))
    open_in(models, tmp_path, sequence="v_x", index=4)
    models.maps.choose(DescriptorChoice("daisy", {"rings": 2, "weights": "/w.pth"}))
    models.view.update(mode="pca")
    exports.copy_command()
    command = QGuiApplication.clipboard().text()
    assert command.startswith("python main.py view")
    for words in (
        str(tmp_path),
        "--group v_x",
        "--pair 4",
        "--weights /w.pth",
        "--set rings=2",
        "--mode pca",
    ):
        assert words in command


@pytest.mark.parametrize(
    ("range_a", "range_b", "words"),
    [
        (None, None, ""),
        (ValueRange(0, 4095), ValueRange(0, 4095), " --range 0,4095"),
        (ValueRange(-0.1, 1 / 3), None, " --range=-0.1,0.3333333333333333 --range-b auto"),
        (None, ValueRange(0, 9), " --range-b 0,9"),
    ],
)
def test_the_copied_command_has_the_black_and_white_points(
    exports, models, tmp_path, range_a, range_b, words
):
    open_in(models, tmp_path)
    state = models.pair.state
    models.pair.set_pair(replace(state, pair=replace(state.pair, range_a=range_a, range_b=range_b)))
    exports.copy_command()
    command = QGuiApplication.clipboard().text()
    assert words in command
    words = shlex.split(command)[2:]
    options = options_from(parse(build_parser("main.py"), words), ViewOptions)
    assert parse_pair_ranges(options.value_range, options.value_range_b) == (range_a, range_b)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"pca_fit": "all"}, "--pca-fit all"),
        ({"pca_fit": "file", "pca_basis": Path("/b.npz")}, "--pca-basis /b.npz"),
        (
            {"pca_colouring": api.Colouring(components=(3, 0, 0), flipped=(True, False, True))},
            "--pca=-4,1,-1",
        ),
        ({"pca_colouring": api.Colouring(foreground=0.25)}, "--pca-foreground 0.25"),
        ({"pca_colouring": api.Colouring(foreground=0.3, inverted=True)}, "--pca-foreground=-0.3"),
    ],
)
def test_the_copied_command_has_the_pca_colours(exports, models, asked, tmp_path, changes, words):
    open_in(models, tmp_path)
    models.view.update(mode="pca", **changes)
    exports.copy_command()
    command = QGuiApplication.clipboard().text()
    assert words in command
    assert words or "--pca" not in command
    options = options_from(parse(build_parser("main.py"), shlex.split(command)[2:]), ViewOptions)
    again = make_models(None)
    StartController(again, options, asked, asked, asked, asked.show_parts)
    assert again.view.state == models.view.state


# Start


def start(models, asked, **options: Any) -> StartController:
    return StartController(models, ViewOptions(**options), asked, asked, asked, asked.show_parts)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"images": (Path("a"), Path("b"))},
            ("open_files", (Path("a"), Path("b"), None, None, (None, None))),
        ),
        (
            {"images": (Path("a"), Path("b")), "value_range": "0,9", "value_range_b": "-1,2.5"},
            (
                "open_files",
                (Path("a"), Path("b"), None, None, (ValueRange(0, 9), ValueRange(-1, 2.5))),
            ),
        ),
        (
            {"images": (Path("s"),), "group": "v", "pair_index": 3, "value_range": "0,9"},
            ("open_set", ("s", "v", 3, (ValueRange(0, 9), ValueRange(0, 9)))),
        ),
        ({}, ("open_demo", ())),
    ],
)
def test_what_is_named_is_opened_else_the_demo(models, asked, options, expected):
    start(models, asked, **options).open_first()
    assert asked.calls == [expected]


def test_the_last_pair_is_opened_unless_that_is_not_wanted(models, asked):
    models.settings.remember_pair("last")
    start(models, asked).open_first()
    assert asked.calls == [("open_recent", ("last",))]
    models.settings.update(restore_session=False)
    start(models, asked).open_first()
    assert asked.calls[-1] == ("open_demo", ())


def test_options_go_into_the_models_and_a_device_is_not_kept(models, asked, tmp_path):
    start(
        models,
        asked,
        descriptor="daisy",
        weights=Path("/w.pth"),
        settings=("rings=2",),
        device="cuda:1",
        long_edge_px=320,
        mode="warp",
        compare=("net", "daisy"),
        compare_settings=("2.rings=3",),
    )
    assert models.maps.choice == DescriptorChoice("daisy", {"rings": 2, "weights": "/w.pth"})
    assert models.compared[0].choice == DescriptorChoice("net")
    assert models.compared[1].choice == DescriptorChoice("daisy", {"rings": 3})
    assert models.compared[2].choice == DescriptorChoice()
    assert models.view.state.mode == "warp"
    assert models.settings.state.device == "cuda:1"
    assert models.settings.state.long_edge_px == 320
    models.settings.update(peaks=7)
    kept = make_models(tmp_path / "settings.yaml")
    kept.settings.load()
    kept_state = kept.settings.state
    assert (kept_state.peaks, kept_state.device, kept_state.long_edge_px) == (7, "auto", 640)


def test_probe_and_matches_are_asked_for_in_the_first_pair_alone(models, asked, tmp_path):
    controller = start(models, asked, probe_px=(3.0, 4.0), matches=50)
    controller.open_first()
    assert asked.calls == [("open_demo", ())]
    asked.calls.clear()
    open_in(models, tmp_path)
    assert asked.calls == [
        ("pin", ("a", 3.0, 4.0)),
        ("hover", ("a", 3.0, 4.0)),
        ("run", ()),
    ]
    assert models.matches.state.count == 50
    open_in(models, tmp_path)
    assert len(asked.calls) == 3
    del controller  # kept so far, since it listens


def test_the_state_of_the_window_reads_back_as_options(models, tmp_path):
    open_in(models, tmp_path)
    models.maps.choose(DescriptorChoice("daisy", {"rings": 2}))
    models.pins.set_pins((Pin(1, Probe("a", (1.0, 2.0))), Pin(2, Probe("b", (5.0, 6.0)))))
    models.matches.update(table=table(), count=9)
    options = current_options(models, {})
    assert options.images == (tmp_path / "1.png", tmp_path / "2.png")
    assert options.settings == ("rings=2",)
    assert options.pins == ("1,2", "b:5,6")
    assert (options.probe_px, options.zoom, options.linked) == (None, None, False)
    assert (options.matches, options.long_edge_px) == (9, None)
    models.settings.update(long_edge_px=0)
    assert current_options(models, {}).long_edge_px == 0
    models.probe.move(Probe("a", (7.0, 8.0)))
    models.view.update(linked=True)
    moved = current_options(models, {"a": (1.00049, -2.0, 3.0, 4.0)})
    assert moved.probe_px == (7.0, 8.0)
    assert (moved.zoom, moved.zoom_b, moved.linked) == ((1.0, -2.0, 3.0, 4.0), None, True)
    assert options.self_similarity_px is None


def test_pins_zoom_and_link_of_a_copied_command_come_back(exports, models, asked, tmp_path):
    open_in(models, tmp_path)
    models.pins.set_pins((Pin(1, Probe("a", (1.5, 2.0))), Pin(4, Probe("b", (5.0, 6.0)))))
    models.view.update(linked=True)
    exports.copy_command()
    words = shlex.split(QGuiApplication.clipboard().text())[2:]
    options = options_from(parse(build_parser("main.py"), words), ViewOptions)
    again = make_models(None)
    controller = StartController(again, options, asked, asked, asked, asked.show_parts)
    assert again.view.state.linked
    controller.open_first()
    open_in(again, tmp_path)
    assert asked.calls[1:] == [
        ("pin", ("a", 1.5, 2.0)),
        ("pin", ("b", 5.0, 6.0)),
        ("show_parts", ({"b": (-1.0, 2.0, 30.25, 40.0)},)),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda models: models.view.update(arrangement="stacked", blink=True),
            "the place of the panes, blinking",
        ),
        (lambda models: models.probe.move(Probe("b", (1.0, 1.0))), "the query in image B"),
        (
            lambda models: models.matches.update(table=table(), mutual_only=True),
            "the filters of matches",
        ),
        (lambda models: None, ""),
    ],
)
def test_copying_a_command_says_what_it_leaves_out(
    exports, models, notified, tmp_path, change, words
):
    open_in(models, tmp_path, truth=None)
    change(models)
    exports.copy_command()
    _, _, missing = notified[-1][1].partition("Left out: ")
    assert missing.partition(".")[0] == words


def test_a_truth_in_memory_alone_is_named_as_left_out(exports, models, notified, tmp_path):
    open_in(models, tmp_path)
    exports.copy_command()
    assert "Left out: the truth." in notified[-1][1]


def test_compared_descriptors_travel_with_settings_ranges_and_the_one_that_matches(
    exports, models, asked, tmp_path
):
    start(
        models,
        asked,
        compare=("net", "daisy", "net"),
        compare_settings=("2.rings=3", "3.weights=/w 1.pth"),
        own_ranges=True,
        matches_by=3,
    )
    models.compared[0].choose(DescriptorChoice())  # places move up, and so do their numbers
    open_in(models, tmp_path)
    exports.copy_command()
    words = shlex.split(QGuiApplication.clipboard().text())[2:]
    options = options_from(parse(build_parser("main.py"), words), ViewOptions)
    assert options.compare == ("daisy", "net")
    assert api.parse_compared(options) == (
        ("daisy", {"rings": 3}),
        ("net", {"weights": "/w 1.pth"}),
    )
    assert options.own_ranges
    assert options.matches_by == 2


def test_self_similarity_travels_with_its_radius_which_is_not_kept(
    exports, models, asked, tmp_path
):
    start(models, asked, self_similarity_px=12.5)
    assert models.view.state.self_similarity
    assert models.settings.state.exclude_px == 12.5
    open_in(models, tmp_path)
    exports.copy_command()
    command = QGuiApplication.clipboard().text()
    assert "--self-similarity 12.5" in command
    options = options_from(parse(build_parser("main.py"), shlex.split(command)[2:]), ViewOptions)
    assert options.self_similarity_px == 12.5
    models.settings.update(peaks=7)
    kept = make_models(tmp_path / "settings.yaml")
    kept.settings.load()
    assert kept.settings.state.exclude_px == 32.0


# Thumbnails


def test_thumbnails_are_read_in_order_and_what_is_no_longer_wanted_is_not(
    qtbot, models, tmp_path, close_after
):
    names = [f"{number}.png" for number in range(1, 10)]
    for name in names:
        api.write_image(tmp_path / name, np.full((400, 600, 3), 90, np.uint8))
    (tmp_path / "2.png").write_text("no picture")
    shown: list[tuple[str, int]] = []

    def show(path: Path, picture: QImage) -> None:
        shown.append((path.name, max(picture.width(), picture.height())))

    thumbnails = ThumbnailController(models.messages)
    close_after(thumbnails.lane)
    thumbnails.want([tmp_path / name for name in names[:8]], show)
    thumbnails.want([tmp_path / "9.png", tmp_path / "3.png"], show)  # scrolled while four are read
    qtbot.waitUntil(lambda: len(shown) >= 5 and not thumbnails.lane.busy, timeout=WAIT_MS)
    sizes = [("1.png", 192), ("2.png", 0), ("3.png", 192), ("4.png", 192), ("9.png", 192)]
    assert shown == sizes


# Screenshots


@pytest.mark.parametrize("grabs", [True, False])
def test_a_screenshot_waits_for_rest_and_tells_of_failures(qtbot, models, tmp_path, grabs):
    resting = [False]
    grabbed: list[Path] = []

    def grab(path: Path) -> bool:
        grabbed.append(path)
        return grabs

    screenshot = ScreenshotController(
        models, tmp_path / "s.png", at_rest=lambda: resting[0], grab=grab
    )
    codes: list[int] = []
    screenshot.done.connect(codes.append)
    screenshot.start()
    qtbot.wait(300)
    assert grabbed == []
    resting[0] = True
    qtbot.waitUntil(lambda: bool(codes), timeout=WAIT_MS)
    assert grabbed == [tmp_path / "s.png"]
    assert codes == [0 if grabs else 1]
    assert bool(screenshot.failures) is not grabs


def test_an_error_on_the_way_makes_the_screenshot_fail(qtbot, models, tmp_path):
    screenshot = ScreenshotController(
        models, tmp_path / "s.png", at_rest=lambda: True, grab=lambda _path: True
    )
    models.messages.notify("w.pth: is truncated.", "error")
    with qtbot.waitSignal(screenshot.done, timeout=WAIT_MS) as done:
        screenshot.start()
    assert done.args == [1]
    assert screenshot.failures == ("w.pth: is truncated.",)


@pytest.mark.parametrize("factor", [1, -1])
def test_what_both_images_show_is_in_front_however_the_homography_came(
    qtbot, models, close_after, tmp_path, factor
):
    # The horizon is row 5: what both show lies below, pixel (0, 0) above.
    sky = np.array([[4.0, 0, -60], [0, 4.0, -28], [0, 0.2, -1]])
    for name in ("a.png", "b.png"):
        QImage(120, 80, QImage.Format.Format_RGB888).save(str(tmp_path / name))
    np.savetxt(tmp_path / "h", factor * sky)
    pairs = PairController(models, lambda image: image.pixels)
    close_after(pairs.lane)
    pairs.open_files(tmp_path / "a.png", tmp_path / "b.png", tmp_path / "h")
    qtbot.waitUntil(lambda: models.pair.state is not None)
    opened = models.pair.state.truth
    pairs.truths.clear()
    assert models.pair.state.truth is None
    pairs.truths.load_homography(tmp_path / "h")
    qtbot.waitUntil(lambda: models.pair.state.truth is not None)
    for truth in (opened, models.pair.state.truth):
        np.testing.assert_allclose(truth.matrix_from("a"), sky)
        assert (truth.matrix_from("b")[2] @ [25, 18, 1]) > 0


# Truths


@pytest.fixture
def opener(models, close_after):
    pairs = PairController(models, lambda image: image.pixels)
    close_after(pairs.lane)
    return pairs


def test_an_estimate_and_pins_become_truths_that_are_called_so(models, opener, tmp_path, notified):
    truths = opener.truths
    state = open_in(models, tmp_path, truth=None)
    truths.use_estimate()
    truths.use_pins()
    assert models.pair.state is state, "there is neither"
    shift = np.array([[1.0, 0, 2], [0, 1, 1], [0, 0, 1]])
    models.matches.update(table=replace(table(), h_b_from_a=shift))
    truths.use_estimate()
    assert models.pair.state.pair.truth_words == "homography, estimated"
    np.testing.assert_array_equal(models.pair.state.truth.matrix_from("a"), shift)
    assert "homography, estimated" in notified[-1][1]
    answers = [pin_answer(state.pair, "a", (1.0, 2.0), (3.0, 3.0))]
    answers.append(pin_answer(state.pair, "b", (5.0, 4.0), (0.0, 1.0)))
    pins = [Pin(n, Probe(a.request.side, a.request.point_px), a) for n, a in enumerate(answers, 1)]
    models.pins.set_pins((*pins, Pin(3, Probe("a", (7.0, 7.0)))))
    truths.use_pins()
    assert models.pair.state.pair.truth_words == "points, pins"
    np.testing.assert_array_equal(models.pair.state.truth.listed_px[0], [[1, 2], [0, 1]])
    np.testing.assert_array_equal(models.pair.state.truth.listed_px[1], [[3, 3], [5, 4]])
    assert current_options(models, {}).truth is None, "it is in memory alone"
    truths.clear()
    assert models.pair.state.truth is None


def pin_answer(pair, side, point_px, found_px) -> ProbeAnswer:
    recipe = Recipe(spec=DescriptorSpec("daisy"))
    return ProbeAnswer(
        request=ProbeRequest(pair=pair, recipe=recipe, side=side, point_px=point_px),
        peaks=(Peak(found_px, 0.9),),
        ratio=0.5,
        heat=None,
        heat_extent=Extent(0, 0, 1, 1),
        truth_px=None,
        error_px=None,
        rank=None,
        cycle_px=None,
        cycle_error_px=None,
        seconds=0.0,
    )


def test_a_file_of_any_kind_becomes_the_truth_or_says_why_not(qtbot, models, opener, tmp_path):
    truths = opener.truths
    failed = []
    models.pair.failed.connect(failed.append)
    truths.load("x")
    assert failed.pop() == "Open a pair before its truth."
    state = open_in(models, tmp_path, truth=None)
    (tmp_path / "list.txt").write_text("1 2 3 4\n2 2 4 4\n")
    truths.load(f"points:{tmp_path / 'list.txt'}")
    qtbot.waitUntil(lambda: models.pair.state is not state)
    assert models.pair.state.truth.kind == "points"
    assert current_options(models, {}).truth == f"points:{tmp_path / 'list.txt'}"
    opened = models.pair.state
    truths.load(f"flow:{tmp_path / 'list.txt'}")
    qtbot.waitUntil(lambda: bool(failed))
    assert "list.txt" in failed[0]
    assert models.pair.state is opened
