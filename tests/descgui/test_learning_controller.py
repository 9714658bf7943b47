"""Trainings that are set up to learn from what fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from descgui.controllers.learning_controller import LearningController
from descgui.models.bundle import make_models
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.models.evaluation_state import ShownRun
from descgui.models.maps_state import DescriptorChoice
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Pin, Probe
from descgui.models.training_state import EXTRA_PAIRS, FINE_TUNE, preset_own
from engine.api import (
    HomographySource,
    ImagePair,
    OptionInfo,
    merge_results,
    open_pair_set,
    write_image,
)
from engine.evaluation.fingerprint import (
    Fingerprint,
    MeasuredDescriptor,
    MeasuredPairs,
    Sampler,
    Versions,
)
from engine.evaluation.result import EvaluationResult, Sources

UNTRAINED = OptionInfo("untrained", "bool", False, "")
READY = EngineState(
    "ready",
    (
        DescriptorChoiceInfo("daisy", "DAISY", "", "built-in", False, ()),
        DescriptorChoiceInfo("descspace-fast", "descspace", "", "built-in", True, (UNTRAINED,)),
        DescriptorChoiceInfo("msnet_v0", "MSNetV0", "", "built-in", True, (UNTRAINED,)),
        DescriptorChoiceInfo("net", "A net", "", "net.py", True, ()),
    ),
)


@pytest.fixture
def models(qapp, tmp_path):
    models = make_models(tmp_path / "settings.yaml")
    models.engine.set(READY)
    return models


@pytest.fixture
def learning(models, close_after):
    controller = LearningController(models)
    close_after(controller.lane)
    return controller


def measured(name, **changes):
    values = {
        "label": name, "name": name, "config": {}, "weights_sha256": None, "trained": True,
        "levels": 1, "dim": 8, "matcher": "exact", "precision": "float32",
    }  # fmt: skip
    return MeasuredDescriptor(**{**values, **changes})


def show(models, *descriptors, weights=None, folders=1):
    """Put results of these descriptors on display."""
    fingerprint = Fingerprint(
        protocol="dense", thresholds_px=(5.0,), matcher="exact",
        sampler=Sampler(queries=("harris",), query_limit=9, long_edge_px=640, grid_stride_px=4),
        seed=0, descriptors=descriptors, device="cpu",
        dataset=MeasuredPairs(name="set", subset="all", pairs=1, pairs_sha256="0"),
        versions=Versions(project="0", torch="0", opencv="0"),
    )  # fmt: skip
    result = EvaluationResult(
        fingerprint=fingerprint, summary=(), pairs=(), left_out=(), problems=(), timings=(),
        wall_s=1.0, sources=Sources(root="/set", weights=weights or {}), folder=Path("/runs/e1"),
    )  # fmt: skip
    named = [(f"e{n}", replace(result, folder=Path(f"/runs/e{n}"))) for n in range(1, folders + 1)]
    models.evaluation.shown.set(ShownRun("done", merge_results(named)))


def test_the_worst_pairs_fill_in_the_form_with_the_preset_for_fine_tuning(qtbot, models, learning):
    show(models, measured("descspace"))
    models.training.choice.update(folder="/photos", name="x", changes={"train.batch": 9})
    with qtbot.waitSignal(learning.training_wanted, timeout=1000):
        learning.learn_from_worst()
    choice = models.training.choice.state
    assert choice.preset == FINE_TUNE
    assert choice.changes == {EXTRA_PAIRS: "/runs/e1"}
    assert (choice.folder, choice.name) == ("/photos", "x")
    # All descriptors of descspace share the network that the preset trains.
    assert choice.descriptor == "descspace-fast"
    assert choice.own == preset_own(FINE_TUNE)
    assert choice.own["untrained"] is False
    config = choice.config()
    assert config.train.extra.pairs == "/runs/e1"
    assert (config.train.extra.share, config.train.extra.worst) == (0.25, 20)


@pytest.mark.parametrize(
    ("names", "weights", "expected", "own"),
    [
        (["msnet_v0"], {}, "msnet_v0", {"untrained": False}),
        (["net"], {"net": "/w.pt"}, "net", {"weights": "/w.pt"}),
        (["msnet_v0"], {"msnet_v0": "/m.safetensors"}, "msnet_v0",
         {"untrained": False, "weights": "/m.safetensors"}),
        (["daisy", "msnet_v0"], {}, "msnet_v0", {"untrained": False}),
        (["daisy"], {}, "descspace-fast", dict(preset_own(FINE_TUNE))),
        (["descspace-robust"], {"descspace-robust": "/d.safetensors"}, "descspace-fast",
         {**preset_own(FINE_TUNE), "weights": "/d.safetensors"}),
    ],
)  # fmt: skip
def test_the_network_that_failed_learns_from_its_own_weights_on(
    models, learning, names, weights, expected, own
):
    show(models, *map(measured, names), weights=weights)
    learning.learn_from_worst()
    choice = models.training.choice.state
    assert (choice.descriptor, dict(choice.own)) == (expected, own)


def test_an_oracle_is_not_what_learns(models, learning):
    show(models, measured("net", oracle=True), measured("msnet_v0"))
    learning.learn_from_worst()
    assert models.training.choice.state.descriptor == "msnet_v0"


def test_nothing_is_set_up_without_the_results_of_one_run(qtbot, models, learning):
    before = models.training.choice.state
    with qtbot.assertNotEmitted(learning.training_wanted):
        learning.learn_from_worst()
        show(models, measured("net"), folders=2)
        learning.learn_from_worst()
    assert models.training.choice.state == before


# ---- pins --------------------------------------------------------------------------------------


@pytest.fixture
def open_pair(models, tmp_path):
    """A pair whose second image is shifted by (10, 0)."""
    paths = (tmp_path / "a.png", tmp_path / "b.png")
    for path in paths:
        write_image(path, np.zeros((60, 80, 3), np.uint8))
    source = HomographySource.of(np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]]))
    pair = ImagePair(*paths, source)
    models.maps.choose(DescriptorChoice("net", MappingProxyType({"weights": "/w.pt"})))

    def show_pair(truth=True):
        opened = pair.open_truth((80, 60), (80, 60)) if truth else None
        models.pair.set_pair(PairState(pair, None, None, None, None, opened))

    show_pair()
    return show_pair


def pin(models, *probes):
    models.pins.set_pins(
        tuple(Pin(n, Probe(side, (x, y))) for n, (side, x, y) in enumerate(probes, start=1))
    )


def test_pins_with_known_true_matches_become_a_pair_to_learn_from(
    qtbot, models, learning, open_pair, fresh_home
):
    pin(models, ("a", 20.5, 30.0), ("b", 35.0, 12.25), ("a", 75.0, 5.0))
    with qtbot.waitSignal(learning.training_wanted, timeout=10_000):
        learning.learn_from_pins()
    choice = models.training.choice.state
    assert (choice.preset, choice.descriptor) == (FINE_TUNE, "net")
    assert choice.own == {"weights": "/w.pt"}
    found = open_pair_set(Path(choice.changes[EXTRA_PAIRS]))
    (pair,) = found.pairs()
    state = models.pair.state.pair
    assert (pair.path_a, pair.path_b) == (state.path_a, state.path_b)
    truth = pair.open_truth((80, 60), (80, 60))
    # The third pin's true match lies outside of image B.
    np.testing.assert_array_equal(truth.listed_px[0], [(20.5, 30.0), (25.0, 12.25)])
    np.testing.assert_array_equal(truth.listed_px[1], [(30.5, 30.0), (35.0, 12.25)])


def test_pins_without_true_matches_are_said_to_teach_nothing(qtbot, models, learning, open_pair):
    said = []
    models.messages.notified.connect(lambda message: said.append(message.text))
    pin(models, ("a", 75.0, 5.0))
    with qtbot.assertNotEmitted(learning.training_wanted):
        learning.learn_from_pins()
        open_pair(truth=False)
        learning.learn_from_pins()
    assert said == ["The truth of this pair tells the true match of none of these pins."] * 2
