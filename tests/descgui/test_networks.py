"""Opening any network by its name: the list, the search, the dialog, and what is remembered."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.maps_controller import MapsController
from descgui.controllers.networks_controller import NetworksController
from descgui.models.bundle import make_models
from descgui.models.engine_state import EngineState
from descgui.models.maps_state import DescriptorChoice
from descgui.models.networks_state import (
    NetworksState,
    WeightsState,
    menu_networks,
    same_network,
)
from descgui.views.network_dialog import NetworkDialog, millions_text
from descgui.views.network_search import find_networks
from engine import api
from engine.api import ConfigError, KnownModel, MissingFamily, NetworkList

WAIT_MS = 10_000
KNOWN = (
    KnownModel("timm:resnet18", "resnet18", 11_176_512, 32.0, "download"),
    KnownModel("timm:resnetv2_18", "resnetv2_18", 10_677_440, 32.0, "none"),
    KnownModel("timm:vit_small_patch14_dinov2", "vit_small_patch14_dinov2", 22_056_576, 14.0),
    KnownModel("timm:vit_small_patch16_224", "vit_small_patch16_224"),
    KnownModel("hf:facebook/dinov2-small", "facebook/dinov2-small", 22_056_576, 14.0, "cached"),
)
LISTED = NetworkList(KNOWN, opens=((".onnx", "onnx"), ("/", "hf")))


def names(rows):
    return [row.name for row in rows]


# ---- what is found -------------------------------------------------------------------------------


def test_all_words_have_to_occur_in_library_and_name_and_early_and_short_ones_win():
    assert names(find_networks("resnet", KNOWN)) == ["timm:resnet18", "timm:resnetv2_18"]
    assert names(find_networks("dino small", KNOWN)) == [
        "timm:vit_small_patch14_dinov2",
        "hf:facebook/dinov2-small",
    ]
    assert names(find_networks("hf dino", KNOWN)) == ["hf:facebook/dinov2-small"]
    assert names(find_networks("hf:dino", KNOWN)) == ["hf:facebook/dinov2-small", "hf:dino"]


def test_letters_that_only_occur_in_order_come_after_whole_words():
    assert names(find_networks("v14d", KNOWN)) == ["timm:vit_small_patch14_dinov2"]
    rows = find_networks("rn18", KNOWN)
    assert set(names(rows)) == {"timm:resnet18", "timm:resnetv2_18"}
    assert all("".join(row.model.title[one] for one in row.places) == "rn18" for row in rows)
    assert find_networks("zzz", KNOWN) == []


def test_layers_behind_the_name_are_kept_and_not_searched_for():
    assert names(find_networks("patch14_dinov2@8,11", KNOWN)) == [
        "timm:vit_small_patch14_dinov2@8,11"
    ]
    assert names(find_networks("resnet18@", KNOWN))[0] == "timm:resnet18"


def test_a_full_name_that_no_list_has_can_be_opened_all_the_same():
    row = find_networks("onnx:/p/net.onnx@3", KNOWN)[0]
    assert (row.name, row.group) == ("onnx:/p/net.onnx@3", "typed")
    assert names(find_networks("timm:resnet18@2", KNOWN)) == ["timm:resnet18@2"]


def test_with_nothing_typed_favourites_and_recent_ones_stand_first_and_once():
    rows = find_networks(
        "", KNOWN, recent=("timm:resnet18@2", "hf:x/y"), favourites=("hf:x/y", "daisy")
    )
    assert names(rows)[:2] == ["hf:x/y", "timm:resnet18@2"]
    assert names(rows)[2:] == [model.name for model in KNOWN]
    assert [row.group for row in rows[:3]] == ["favourite", "recent", "known"]
    assert [row.starred for row in rows[:2]] == [True, False]
    assert rows[1].model.parameters == 11_176_512
    assert rows[0].model.title == "x/y"


def test_a_long_list_is_searched_within_a_frame():
    import time

    many = [KnownModel(f"timm:vit_base_patch{i}_v", f"vit_base_patch{i}_v") for i in range(1500)]
    best_s = 1.0
    for _ in range(5):
        start_s = time.perf_counter()
        find_networks("vbptv", many)
        best_s = min(best_s, time.perf_counter() - start_s)
    assert best_s < 0.05


# ---- what menus offer ----------------------------------------------------------------------------


def test_a_network_stands_once_in_the_menus_at_the_layers_that_are_chosen():
    recent = ("timm:a@1", "timm:b")
    assert menu_networks(("daisy", ""), recent) == recent
    assert menu_networks(("timm:a@3", ""), recent) == ("timm:a@3", "timm:b")
    assert menu_networks(("timm:a@3", "timm:a@4"), recent) == ("timm:a@3", "timm:a@4", "timm:b")
    assert menu_networks(("timm:c", "timm:c"), recent) == ("timm:c", *recent)
    assert menu_networks((), ("nonsense", "timm:", "timm:b")) == ("timm:b",)
    assert same_network("timm:a@1", "timm:a")
    assert not same_network("timm:a", "timm:b")


def test_recent_networks_are_kept_once_whatever_their_layers(models):
    for name in ("timm:a", "timm:b@2", "timm:a@3"):
        models.settings.remember_network(name)
    assert models.settings.state.recent_networks == ("timm:a@3", "timm:b@2")


# ---- controllers ---------------------------------------------------------------------------------


class Engine(QObject):
    """Owns the session, like the controller that loads torch."""

    ready = Signal()
    plugin_loaded = Signal()

    def __init__(self, session) -> None:
        super().__init__()
        self.session = session


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def engine(qapp):
    return Engine(SimpleNamespace(described=lambda *_: None))


@pytest.fixture
def networks(models, engine, close_after):
    maps = MapsController(models, engine)
    made = NetworksController(models, engine, maps)
    close_after(maps.lane)
    close_after(made.lane)
    close_after(made.downloads)
    return made


@pytest.fixture
def list_with(monkeypatch):
    """Puts a function in the place of the engine's list."""
    return lambda work: monkeypatch.setitem(vars(api), "list_networks", work)


def wait_for(qtbot, models, stage):
    qtbot.waitUntil(lambda: models.networks.state.stage == stage, timeout=WAIT_MS)


def test_networks_are_listed_once_in_a_worker_and_only_on_demand(
    qtbot, models, networks, list_with
):
    threads = []

    def work(_check):
        threads.append(threading.current_thread())
        return LISTED

    list_with(work)
    assert models.networks.state == NetworksState()
    networks.list()
    assert models.networks.state.stage == "loading"
    networks.list()
    wait_for(qtbot, models, "ready")
    networks.list()
    assert models.networks.state.list == LISTED
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_the_list_waits_for_torch(qtbot, models, networks, engine, list_with):
    list_with(lambda _check: LISTED)
    session, engine.session = engine.session, None
    networks.list()
    assert not networks.lane.busy
    assert models.networks.state.stage == "loading"
    engine.session = session
    engine.ready.emit()
    wait_for(qtbot, models, "ready")


def test_a_list_that_fails_says_why_and_can_be_asked_for_again(qtbot, models, networks, list_with):
    def fail(_check):
        raise ConfigError("descriptor", "timm does not load")

    list_with(fail)
    networks.list()
    wait_for(qtbot, models, "failed")
    assert "timm does not load" in models.networks.state.message
    list_with(lambda _check: LISTED)
    networks.list()
    wait_for(qtbot, models, "ready")


def test_opening_chooses_and_remembers_and_the_next_start_shows_it(
    models, networks, tmp_path, qapp
):
    networks.open(models.maps, "timm:resnet18@2")
    assert models.maps.choice == DescriptorChoice("timm:resnet18@2")
    networks.open(models.compared[0], "hf:x/y")
    networks.star("timm:resnet18", starred=True)
    networks.star("hf:x/y", starred=True)
    networks.star("timm:resnet18", starred=False)
    again = make_models(tmp_path / "settings.yaml")
    again.settings.load()
    state = again.settings.state
    assert state.descriptor == "timm:resnet18@2"
    assert state.recent_networks == ("hf:x/y", "timm:resnet18@2")
    assert state.favourite_networks == ("hf:x/y",)


def test_a_file_is_opened_by_the_family_of_its_ending(models, networks, tmp_path):
    models.networks.set(NetworksState("ready", LISTED))
    notified = []
    models.messages.notified.connect(lambda message: notified.append(message.text))
    networks.open_file(models.maps, tmp_path / "net.ONNX")
    assert models.maps.choice.name == f"onnx:{tmp_path / 'net.ONNX'}"
    networks.open_file(models.maps, tmp_path)
    assert models.maps.choice.name == f"hf:{tmp_path}"
    networks.open_file(models.maps, tmp_path / "net.txt")
    assert models.maps.choice.name == f"hf:{tmp_path}"
    assert "net.txt" in notified[0]
    assert ".onnx" in notified[0]


def test_chosen_and_recent_networks_become_entries_with_a_form(models, close_after):
    controller = EngineController(models)
    close_after(controller.lane)
    models.settings.remember_network("timm:a")
    models.settings.remember_network("nofamily:b")
    models.engine.set(EngineState("ready"))
    models.maps.choose(DescriptorChoice("timm:resnet18@2"))
    entries = models.engine.state.networks
    assert [entry.name for entry in entries] == ["timm:resnet18@2", "timm:a"]
    assert models.engine.state.descriptor("timm:a") == entries[1]
    assert {"weights", "facet", "norm"} <= {option.name for option in entries[0].options}
    models.maps.choose(DescriptorChoice("timm:resnet18@1"))
    assert models.engine.state.networks[1] is entries[1], "it is looked up once"
    assert models.engine.state.networks[0].title == "timm resnet18, layer 1"


WEIGHTS = SimpleNamespace(state="download", title="in1k", address="hf.co/x", size_mb=44.7)


@pytest.fixture
def weights_with(monkeypatch):
    """Puts functions in the places of the engine's search for weights and its download."""

    def use(look=lambda _name: WEIGHTS, fetch=None):
        job = lambda names: SimpleNamespace(run=lambda context: fetch(names, context))  # noqa: E731
        monkeypatch.setitem(vars(api), "model_weights_state", look)
        monkeypatch.setitem(vars(api), "FetchJob", job)

    return use


def test_weights_are_looked_for_in_a_worker_once_for_each_network(
    qtbot, models, networks, weights_with
):
    asked = []

    def look(name):
        asked.append((name, threading.current_thread() is threading.main_thread()))
        return WEIGHTS

    weights_with(look)
    networks.look_for_weights("timm:resnet18")
    networks.look_for_weights("timm:resnet18")
    weights = models.network_weights
    qtbot.waitUntil(lambda: weights.state.state == "download", timeout=WAIT_MS)
    assert (weights.state.address, weights.state.size_mb) == ("hf.co/x", 44.7)
    assert asked == [("timm:resnet18", False)]


def test_weights_that_cannot_be_looked_for_disturb_nobody(qtbot, models, networks, weights_with):
    def fail(_name):
        raise ConfigError("descriptor", "there is no such model")

    notified = []
    models.messages.notified.connect(lambda message: notified.append(message.text))
    weights_with(fail)
    networks.look_for_weights("timm:nonsense")
    qtbot.waitUntil(lambda: not networks.lane.busy, timeout=WAIT_MS)
    assert models.network_weights.state == WeightsState("timm:nonsense")
    assert notified == []


def test_a_download_tells_how_far_it_is_and_the_maps_are_made_anew(
    qtbot, models, networks, engine, weights_with
):
    models.networks.set(NetworksState("ready", LISTED))
    refreshed = []

    def fetch(names, context):
        context.emit(api.Progress(api.Stage.DOWNLOADING, 3, 10))
        assert names == ("timm:resnet18",)
        return ()

    weights_with(fetch=fetch)
    networks._maps.refresh = lambda: refreshed.append(1)
    seen = []
    models.network_weights.changed.connect(lambda state: seen.append(state))
    networks.download("timm:resnet18")
    qtbot.waitUntil(lambda: models.network_weights.state.download == "done", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not networks.downloads.busy, timeout=WAIT_MS)
    assert ("running", 3, 10) in [(one.download, one.done_mb, one.total_mb) for one in seen]
    assert models.network_weights.state.state == "cached"
    assert [model.weights for model in models.networks.state.list.models][:2] == ["cached", "none"]
    assert refreshed == [1]


def test_a_download_can_be_stopped_and_a_failed_one_says_why(qtbot, models, networks, weights_with):
    begun = threading.Event()

    def fetch(_names, context):
        begun.set()
        while not threading.Event().wait(0.01):
            context.cancel.check()

    weights_with(fetch=fetch)
    networks.download("timm:resnet18")
    qtbot.waitUntil(begun.is_set, timeout=WAIT_MS)
    networks.look_for_weights("timm:other")
    assert models.network_weights.state.name == "timm:resnet18", "its progress stays in sight"
    networks.stop_download()
    qtbot.waitUntil(lambda: models.network_weights.state.download == "stopped", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not networks.downloads.busy, timeout=WAIT_MS)

    def fail(_names, _context):
        raise api.DescSpaceError("No route to the hub.")

    weights_with(fetch=fail)
    networks.download("timm:resnet18")
    qtbot.waitUntil(lambda: models.network_weights.state.download == "failed", timeout=WAIT_MS)
    assert models.network_weights.state.message == "No route to the hub."


# ---- the dialog ----------------------------------------------------------------------------------


@pytest.fixture
def dialog(qtbot, models, asked):
    models.networks.set(NetworksState("ready", LISTED))
    made = NetworkDialog(models, models.maps, asked)
    qtbot.addWidget(made)
    made.show()
    return made


def test_a_dialog_asks_for_the_list_and_says_that_it_waits(qtbot, models, asked):
    made = NetworkDialog(models, models.maps, asked)
    qtbot.addWidget(made)
    made.show()
    assert asked.of("list") == [()]
    models.networks.set(NetworksState("loading"))
    assert made.bar.isVisible()
    assert "Asking" in made.empty.text()
    assert not made.open_button.isEnabled()
    models.networks.set(NetworksState("failed", message="It broke."))
    assert not made.bar.isVisible()
    assert made.missing.sentence == "It broke."
    models.networks.set(NetworksState("ready"))
    assert "No library" in made.empty.text()


def test_typing_arrows_and_enter_open_a_network(qtbot, dialog, models, asked):
    qtbot.keyClicks(dialog.field, "resnet")
    qtbot.keyClick(dialog.field, Qt.Key.Key_Down)
    qtbot.keyClick(dialog.field, Qt.Key.Key_Return)
    assert asked.of("open") == [(models.maps, "timm:resnetv2_18")]
    assert not dialog.isVisible()


def test_arrows_go_round_and_pages_stop_at_the_ends(qtbot, dialog):
    qtbot.keyClick(dialog.field, Qt.Key.Key_Up)
    assert dialog.list.currentIndex().row() == len(KNOWN) - 1
    qtbot.keyClick(dialog.field, Qt.Key.Key_Down)
    assert dialog.list.currentIndex().row() == 0
    qtbot.keyClick(dialog.field, Qt.Key.Key_PageDown)
    assert dialog.list.currentIndex().row() == len(KNOWN) - 1
    qtbot.keyClick(dialog.field, Qt.Key.Key_PageUp)
    assert dialog.list.currentIndex().row() == 0


def test_facts_tell_size_stride_and_weights_of_the_current_network(qtbot, dialog):
    assert "11.2 million weights" in dialog.facts.sentence
    assert "32 px" in dialog.facts.sentence
    assert "random numbers" in dialog.facts.sentence
    dialog.field.setText("hf")
    assert "downloaded before" in dialog.facts.sentence
    assert "random" not in dialog.facts.sentence
    cells = [dialog.table.index(0, column).data() for column in range(2, 5)]
    assert cells == ["22.1 M", "14 px", "downloaded"]


def test_weights_that_cannot_be_fetched_are_not_offered_and_their_address_is_told(dialog, models):
    by_hand = KnownModel("kornia:xfeat", "xfeat", None, 8.0, "by-hand")
    models.networks.set(NetworksState("ready", NetworkList((by_hand,))))
    assert "load them yourself, and choose that file" in dialog.facts.sentence
    models.network_weights.set(WeightsState("kornia:xfeat", "by-hand", "https://x/xfeat.pt"))
    assert "load them yourself from https://x/xfeat.pt, and choose" in dialog.facts.sentence
    assert "downloaded or" not in dialog.facts.sentence
    assert not dialog.load_button.isVisible()
    models.network_weights.update(state="download")
    assert dialog.load_button.isVisible()


def test_a_star_is_set_by_key_and_by_click_and_the_row_stays_current(qtbot, dialog, models, asked):
    dialog.field.setText("resnet")
    qtbot.keyClick(dialog.field, Qt.Key.Key_Down)
    qtbot.keyClick(dialog.field, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    assert asked.calls[-1] == ("star", ("timm:resnetv2_18",))
    models.settings.update(favourite_networks=("timm:resnetv2_18",))
    assert dialog.list.currentIndex().row() == 1
    assert dialog.table.rows[1].starred
    place = dialog.list.visualRect(dialog.table.index(0, 0)).center()
    qtbot.mouseClick(dialog.list.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert asked.calls[-1] == ("star", ("timm:resnet18",))


def test_a_library_that_is_not_installed_is_named_with_a_command_to_copy(dialog, models):
    assert not dialog.copy_button.isVisible()
    missing = MissingFamily("timm", "timm: this needs timm.", "make setup EXTRAS=timm")
    models.networks.set(NetworksState("ready", NetworkList(KNOWN[-1:], (missing,))))
    assert "make setup EXTRAS=timm" in dialog.missing.sentence
    dialog.copy_button.click()
    assert QGuiApplication.clipboard().text() == "make setup EXTRAS=timm"
    assert names(dialog.table.rows) == ["hf:facebook/dinov2-small"]
    assert not dialog.file_button.isVisible()


def test_weights_of_the_current_network_are_looked_for_once_it_stays_current(qtbot, dialog, asked):
    dialog.field.setText("resnetv2")
    qtbot.waitUntil(lambda: asked.of("look_for_weights") != [], timeout=WAIT_MS)
    assert asked.of("look_for_weights") == [("timm:resnetv2_18",)]
    assert asked.of("download") == []


def test_nothing_is_downloaded_without_a_click_that_names_the_size(qtbot, dialog, models, asked):
    models.network_weights.set(WeightsState("timm:resnet18", "download", "hf.co/x", 44.7))
    assert dialog.load_button.text() == "Download weights (about 45 MB)"
    assert "hf.co/x" in dialog.load_button.toolTip()
    dialog.load_button.click()
    assert asked.of("download") == [("timm:resnet18",)]
    models.network_weights.update(download="running", done_mb=20, total_mb=45)
    assert not dialog.load_button.isVisible()
    assert (dialog.loaded.value(), dialog.loaded.maximum()) == (20, 45)
    assert "20 of 45 MB" in dialog.loading.text()
    dialog.stop_button.click()
    assert len(asked.of("stop_download")) == 1
    models.network_weights.update(download="failed", message="No route to the hub.")
    assert dialog.failure.sentence == "No route to the hub."
    assert dialog.load_button.text().startswith("Continue")
    models.network_weights.update(download="done", state="cached", message="")
    assert not dialog.load_button.isVisible()
    assert "downloaded before" in dialog.facts.sentence
    qtbot.keyClick(dialog.field, Qt.Key.Key_Down)
    assert "no weights" in dialog.facts.sentence


def test_files_and_folders_can_be_browsed_for(dialog, models, asked, monkeypatch):
    filters = []

    def ask_file(_parent, _title, _folder, name_filter):
        filters.append(name_filter)
        return Path("/p/net.onnx")

    monkeypatch.setattr("descgui.views.dialogs.ask_file", ask_file)
    dialog.file_button.click()
    assert asked.of("open_file") == [(models.maps, Path("/p/net.onnx"))]
    assert "*.onnx" in filters[0]
    assert "*/" not in filters[0]


def test_a_search_without_result_says_how_to_open_what_is_not_listed(dialog):
    dialog.field.setText("zzzz")
    assert dialog.empty.isVisible()
    assert not dialog.list.isVisible()
    assert not dialog.open_button.isEnabled()
    assert "timm:resnet18" in dialog.empty.text()


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (22_056_576, "22.1 M"),
        (305_000, "0.305 M"),
        (1_235_123_456, "1,235 M"),
        (99_960_000, "100 M"),
    ],
)
def test_sizes_are_written_in_millions(parameters, text):
    assert millions_text(parameters) == text
