"""Choosing, setting, comparing and colouring descriptors."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt

from descgui.models.bundle import make_models
from descgui.models.engine_state import DescriptorChoiceInfo, DeviceChoice, EngineState
from descgui.models.maps_state import DescriptorChoice, MapStatus
from descgui.models.pair_state import PairState
from descgui.views.descriptor_panel import DescriptorPanel
from descgui.views.words import duration_text, size_text
from engine.api import (
    ImagePair,
    LayerInfo,
    MapInfo,
    NetworkInfo,
    OptionInfo,
    describe_options,
    list_descriptors,
)

STRIDE = OptionInfo("stride_px", "int", 4, "distance of cells", unit="px", low=1, high=32)
WEIGHTS = OptionInfo("weights", "file", None, "trained weights", optional=True)
READY = EngineState(
    "ready",
    (
        DescriptorChoiceInfo("daisy", "DAISY", "Histograms.", "built-in", False, (STRIDE,)),
        DescriptorChoiceInfo("net", "A net", "Layers.", "/p/ü.py", True, (STRIDE, WEIGHTS)),
        DescriptorChoiceInfo("precomputed", "From files", "Maps.", "built-in", False, ()),
    ),
    (DeviceChoice("cuda:0", "A GPU"), DeviceChoice("cpu", "CPU")),
)
PAIR = ImagePair(Path("/1.png"), Path("/2.png"))


def info(**changes):
    values = {
        "size_px": (1024, 768), "working_size_px": (640, 480), "cells": (160, 120),
        "stride_px": 6.4, "levels": 1, "dim": 200, "size_bytes": 15_360_000, "seconds": 0.312,
        "device": "cpu", "trained": True,
    }  # fmt: skip
    return MapInfo(**{**values, **changes})


@pytest.fixture
def models(qapp, tmp_path):
    return make_models(tmp_path / "settings.yaml")


@pytest.fixture
def panel(qtbot, models, asked):
    made = DescriptorPanel(models, describing=asked, files=asked)
    qtbot.addWidget(made)
    made.resize(260, 900)
    made.show()
    return made


@pytest.fixture
def ready(panel, models):
    models.engine.set(READY)
    models.pair.set_pair(PairState(PAIR, None, None, None, None))
    models.maps.choose(DescriptorChoice("daisy"))
    return panel


def heard(signal):
    seen = []
    signal.connect(lambda *values: seen.append(values[0] if values else None))
    return seen


def pick(combo, data):
    """Select an entry as a user does."""
    combo.setCurrentIndex(combo.findData(data))
    combo.activated.emit(combo.currentIndex())


def test_until_the_engine_is_loaded_nothing_can_be_chosen(panel):
    assert not panel.shown.combo.isEnabled()
    assert "Loading" in panel.shown.combo.placeholderText()
    assert not panel.load_plugin.isEnabled()


def test_an_engine_that_cannot_be_loaded_is_named_with_its_reason(panel, models):
    models.engine.set(EngineState("failed", message="libtorch.so is missing"))
    assert "libtorch.so is missing" in panel.failure.sentence
    assert not panel.shown.combo.isEnabled()


def test_loading_the_engine_shows_what_was_chosen_before(panel, models):
    models.maps.choose(DescriptorChoice("net", {"stride_px": 8}))
    models.engine.set(READY)
    assert panel.shown.combo.currentData() == "net"
    assert panel.shown.form.values() == {"stride_px": 8}
    assert "/p/ü.py" in panel.shown.summary.sentence


def test_choosing_asks_and_changes_nothing_by_itself(ready, models, asked):
    pick(ready.shown.combo, "net")
    assert asked.calls == [("choose", (models.maps, DescriptorChoice("net")))]
    assert models.maps.choice == DescriptorChoice("daisy")


def test_the_line_between_groups_cannot_be_chosen(ready, models, asked):
    combo = ready.shown.combo
    lines = [place for place in range(combo.count()) if combo.itemData(place) is None]
    assert lines
    combo.setCurrentIndex(lines[0])
    combo.activated.emit(lines[0])
    assert asked.calls == []
    assert combo.currentData() == "daisy"


def test_settings_are_asked_for_at_once_and_come_back_with_their_descriptor(
    ready, models, qtbot, asked
):
    box = ready.shown.form.field("stride_px")
    box.selectAll()
    qtbot.keyClicks(box, "8")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    chosen = DescriptorChoice("daisy", {"stride_px": 8})
    assert asked.of("choose") == [(models.maps, chosen)]
    models.maps.choose(chosen)
    models.maps.choose(DescriptorChoice("net"))
    pick(ready.shown.combo, "daisy")
    assert asked.of("choose")[-1] == (models.maps, chosen)


def test_an_unfinished_edit_is_not_given_to_the_next_descriptor(ready, models, qtbot, asked):
    box = ready.shown.form.field("stride_px")
    ready.activateWindow()
    box.setFocus()
    qtbot.waitUntil(box.hasFocus)
    box.selectAll()
    qtbot.keyClicks(box, "8")
    models.maps.choose(DescriptorChoice("net"))
    assert asked.of("choose") == []
    assert ready.shown.form.names == ("weights", "stride_px")
    assert ready.shown.form.values() == {}


def test_weights_come_first_in_the_form(ready, models):
    models.maps.choose(DescriptorChoice("net"))
    assert ready.shown.form.names == ("weights", "stride_px")


def test_a_descriptor_without_settings_shows_no_form(ready, models):
    models.maps.choose(DescriptorChoice("precomputed", map_files=(Path("/ä.npz"), Path("/b.npz"))))
    assert ready.shown.form is None
    assert not ready.shown.settings.isVisible()
    assert "ä.npz" in ready.shown.summary.sentence


def test_precomputed_maps_are_asked_for_until_their_files_are_known(ready, models, asked):
    files = (Path("/a.npz"), Path("/b.npz"))
    pick(ready.shown.combo, "precomputed")
    assert asked.calls == [("load_maps", (models.maps,))]
    assert ready.shown.combo.currentData() == "daisy"
    models.maps.choose(DescriptorChoice("precomputed", map_files=files))
    models.maps.choose(DescriptorChoice("daisy"))
    pick(ready.shown.combo, "precomputed")
    chosen = DescriptorChoice("precomputed", map_files=files)
    assert asked.of("choose") == [(models.maps, chosen)]
    models.pair.set_pair(PairState(ImagePair(Path("/3"), Path("/4")), None, None, None, None))
    models.maps.choose(DescriptorChoice("daisy"))
    pick(ready.shown.combo, "precomputed")
    assert len(asked.of("load_maps")) == 2, "the files belong to another pair"


def test_comparison_has_its_own_choice_and_can_be_none(ready, models, asked):
    pick(ready.compared[0].combo, "net")
    models.compared[0].choose(DescriptorChoice("net"))
    pick(ready.compared[0].combo, "")
    assert asked.calls == [
        ("choose", (models.compared[0], DescriptorChoice("net"))),
        ("choose", (models.compared[0], DescriptorChoice(""))),
    ]
    pick(ready.compared[0].combo, "precomputed")
    assert asked.of("load_maps") == [(models.compared[0],)]


def test_device_size_and_precision_are_settings(ready, models, qtbot):
    changes = heard(models.settings.computing_changed)
    pick(ready.device, "cpu")
    pick(ready.precision, "bfloat16")
    ready.long_edge.selectAll()
    qtbot.keyClicks(ready.long_edge, "800")
    qtbot.keyClick(ready.long_edge, Qt.Key.Key_Return)
    ready.long_edge.setValue(ready.long_edge.minimum())
    assert [(one.device, one.precision, one.long_edge_px) for one in changes] == [
        ("cpu", "float32", 640),
        ("cpu", "bfloat16", 640),
        ("cpu", "bfloat16", 800),
        ("cpu", "bfloat16", 0),
    ]


def test_settings_of_computing_are_shown_and_not_written_back(ready, models):
    models.settings.update(device="cuda:7", long_edge_px=0, precision="float16")
    assert ready.device.currentData() == "cuda:7"
    assert ready.long_edge.text() == "original size"
    assert ready.precision.currentData() == "float16"
    assert models.settings.state.device == "cuda:7"


def test_progress_can_be_cancelled_and_then_the_facts_are_shown(ready, models, asked):
    side = ready.shown.sides["a"]
    assert not ready.cancel_button.isVisible()
    models.maps.set_status("a", MapStatus("computing", 0.42))
    assert side.bar.isVisible()
    assert side.bar.value() == 420
    assert "42" in side.first.text()
    ready.cancel_button.click()
    assert asked.calls == [("cancel", ())]
    models.maps.set_status("a", MapStatus("ready", info=info(notes=("It ran on the CPU.",))))
    assert not side.bar.isVisible()
    assert not ready.cancel_button.isVisible()
    assert side.first.text() == "160 × 120 cells · 200-d"
    assert side.second.text() == "stride 6.4 px · 312 ms · 15.4 MB · cpu"
    assert side.notes.sentence == "It ran on the CPU."


def test_a_reason_that_holds_for_both_images_is_said_once(ready, models):
    models.maps.set_status("a", MapStatus("failed", message="w.pth: is truncated."))
    side = ready.shown.sides["a"]
    assert side.failure.sentence == "w.pth: is truncated."
    models.maps.set_status("b", MapStatus("failed", message="w.pth: is truncated."))
    assert ready.shown.failure.sentence == "w.pth: is truncated."
    assert side.failure.sentence == ""


def test_random_weights_are_said_in_words(ready, models):
    models.maps.choose(DescriptorChoice("net"))
    models.maps.set_status("a", MapStatus("ready", info=info(trained=False)))
    assert "Untrained" in ready.shown.untrained.sentence
    assert "weights file" in ready.shown.untrained.sentence
    models.maps.set_status("a", MapStatus("ready", info=info()))
    assert ready.shown.untrained.sentence == ""


def test_one_can_ask_for_maps_and_plugins_of_ones_own(ready, models, asked):
    ready.load_maps.click()
    ready.load_plugin.click()
    assert asked.calls == [("load_maps", (models.maps,)), ("load_plugin", ())]


def test_a_plugin_appears_in_both_lists_and_the_choice_stays(ready, models):
    more = DescriptorChoiceInfo("mine", "Mine", "", "/m.py", False, ())
    models.engine.set(EngineState("ready", (*READY.descriptors, more), READY.devices))
    assert ready.shown.combo.findData("mine") >= 0
    assert ready.compared[0].combo.findData("mine") >= 0
    assert ready.shown.combo.currentData() == "daisy"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (14_600_000, "14.6 MB"), (2_500_000_000, "2.5 GB")],
)
def test_memory_is_written_in_decimal_units(size, text):
    assert size_text(size) == text


def test_times_are_written_short():
    assert (duration_text(0.0121), duration_text(3.44)) == ("12 ms", "3.4 s")


def test_long_paths_do_not_widen_the_panel(ready, models):
    models.maps.set_status("a", MapStatus("failed", message="/" + "long" * 60 + "/w.pth: is bad."))
    assert ready.minimumSizeHint().width() <= 260
    assert ready.shown.minimumSizeHint().width() <= 244


def test_an_empty_weights_field_says_what_is_used_instead(ready, models):
    (entry,) = (one for one in list_descriptors() if one.name == "descspace")
    info = DescriptorChoiceInfo(
        entry.name, entry.title, "", "built-in", True, describe_options(entry.config)
    )
    models.engine.set(EngineState("ready", (info,)))
    models.maps.choose(DescriptorChoice("descspace"))
    field = ready.shown.form.field("weights")
    assert field.placeholderText() == "as shipped"
    assert "shipped" in ready.shown.form.reset_button("weights").toolTip()
    models.maps.choose(DescriptorChoice("descspace", {"untrained": True}))
    assert ready.shown.form.field("weights").placeholderText() == "random numbers"
    models.maps.choose(DescriptorChoice("descspace"))
    assert ready.shown.form.field("weights").placeholderText() == "as shipped"


NETWORK = NetworkInfo(
    layers=tuple(LayerInfo(f"blocks.{number}", 14.0, 384) for number in range(12)),
    chosen=(11,),
    stride_px=(14.0, 14.0),
    offset_px=(6.4968, 6.5012),
    error_px=0.0213,
    method="gradient",
)


@pytest.fixture
def on_network(ready, models):
    entry = DescriptorChoiceInfo("timm:net", "timm net", "", "built-in", True, (STRIDE, WEIGHTS))
    models.engine.set(EngineState("ready", READY.descriptors, networks=(entry,)))
    models.maps.choose(DescriptorChoice("timm:net", {"stride_px": 8}))
    for side in ("a", "b"):
        models.maps.set_status(side, MapStatus("ready", info=info(network=NETWORK)))
    return ready


def test_layers_are_hidden_for_descriptors_without_any(ready, models):
    models.maps.set_status("a", MapStatus("ready", info=info()))
    assert not ready.shown.layers.isVisible()


def test_the_slider_shows_layer_and_measured_grid(on_network):
    layers = on_network.shown.layers
    assert layers.isVisible()
    assert (layers.slider.minimum(), layers.slider.maximum(), layers.slider.value()) == (0, 11, 11)
    assert layers.number.text() == "11 of 11"
    assert layers.layer.text() == "blocks.11 · stride 14 px · 384-d"
    assert layers.grid.text() == "Measured: 14 px from 6.5 ± 0.02 px"
    assert "gradients" in layers.grid.toolTip()


def test_moving_the_slider_asks_for_the_layer_with_the_same_settings(on_network, asked, models):
    on_network.shown.layers.slider.setValue(3)
    assert asked.of("choose") == [(models.maps, DescriptorChoice("timm:net@3", {"stride_px": 8}))]
    on_network.shown.layers.slider.setValue(11)
    assert asked.of("choose")[-1][1].name == "timm:net"


def test_the_slider_and_the_form_stay_while_another_layer_is_described(on_network, models, asked):
    form = on_network.shown.form
    entry = DescriptorChoiceInfo("timm:net@3", "net 3", "", "built-in", True, (STRIDE, WEIGHTS))
    models.engine.update(networks=(*models.engine.state.networks, entry))
    models.maps.choose(DescriptorChoice("timm:net@3", {"stride_px": 8}))
    models.maps.set_status("a", MapStatus("waiting"))
    models.maps.set_status("b", MapStatus("waiting"))
    assert on_network.shown.form is form
    assert form.values() == {"stride_px": 8}
    assert on_network.shown.layers.isVisible()
    assert on_network.shown.layers.slider.value() == 3
    assert on_network.shown.layers.number.text() == "3 of 11"
    assert asked.of("choose") == []
    models.maps.choose(DescriptorChoice("timm:net@-2,blocks.1"))
    assert on_network.shown.layers.number.text() == "1 + 10 of 11"
    assert on_network.shown.layers.layer.text().endswith("768-d")
    models.maps.choose(DescriptorChoice("daisy"))
    assert not on_network.shown.layers.isVisible()


def test_a_network_with_fewer_layers_asks_for_none_of_them_by_itself(on_network, models, asked):
    small = NetworkInfo(
        layers=NETWORK.layers[:5], chosen=(4,), stride_px=(14.0, 14.0), offset_px=(6.5, 6.5),
        error_px=0.0, method="differences",
    )  # fmt: skip
    entry = DescriptorChoiceInfo("timm:small", "small", "", "built-in", False, (STRIDE,))
    models.engine.update(networks=(*models.engine.state.networks, entry))
    models.maps.choose(DescriptorChoice("timm:small"))
    for side in ("a", "b"):
        models.maps.set_status(side, MapStatus("ready", info=info(network=small)))
    layers = on_network.shown.layers
    assert (layers.slider.maximum(), layers.number.text()) == (4, "4 of 4")
    assert layers.grid.text() == "Measured: 14 px from 6.5 ± <0.001 px"
    assert asked.of("choose") == []


def test_layers_that_are_being_described_are_told_without_moving_the_panel(on_network, models):
    layers = on_network.shown.layers
    height = layers.sizeHint().height()
    models.maps.set_preparing(0.5)
    assert layers.bar.isVisible()
    assert layers.bar.value() == 500
    assert layers.sizeHint().height() == height
    models.maps.set_preparing(None)
    assert not layers.bar.isVisible()
    models.compared[0].set_preparing(0.5)
    assert not layers.bar.isVisible()


def test_opening_a_network_is_asked_for_from_the_list_and_the_choice_stays(ready, models, asked):
    wanted = heard(ready.network_requested)
    pick(ready.shown.combo, "Open network…")
    pick(ready.compared[0].combo, "Open network…")
    assert wanted == [models.maps, models.compared[0]]
    assert ready.shown.combo.currentData() == "daisy"
    assert asked.calls == []


def test_opened_networks_stand_in_the_list_of_descriptors(on_network):
    for combo in (on_network.shown.combo, on_network.compared[0].combo):
        assert combo.itemText(combo.findData("timm:net")) == "timm net"
    assert on_network.shown.combo.currentData() == "timm:net"


def test_what_the_pair_voted_for_is_told_and_a_weak_vote_is_a_warning(ready, models):
    def described(**changes):
        for side in ("a", "b"):
            models.maps.set_status(side, MapStatus("ready", info=info(**changes)))
        return ready.shown.vote.sentence, ready.shown.weak_vote.sentence

    assert described() == ("", "")
    assert not ready.shown.vote.isVisible()
    chosen = "b is turned 5° clockwise; 40 points agree, 5 by chance"
    assert described(chosen=chosen) == (f"B{chosen[1:]}", "")
    assert ready.shown.vote.isVisible()
    weak = "Weak vote: 9 points agree, 7 by chance."
    assert described(chosen=chosen, weak_vote=weak) == ("", weak)
    assert ready.shown.weak_vote.isVisible()
    models.maps.set_status("a", MapStatus("computing"))
    assert (ready.shown.vote.sentence, ready.shown.weak_vote.sentence) == ("", "")
