"""The window's state as a session: nothing of the view is lost on the way there and back."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from descgui.models.bundle import make_models
from descgui.models.probe_state import Pin, Probe
from descgui.models.saved_session import parts_of, saved_pins, session_of, view_state
from descgui.models.view_state import ViewState
from engine import api
from tests.descgui.test_file_controllers import open_in

OTHER = ViewState(
    mode="pca", linked=True, blink=True,
    own_ranges=True, pca_fit="file", pca_basis=Path("/b.npz"), pca_level=2, self_similarity=True,
    pca_colouring=api.Colouring(components=(3, 0, 1), flipped=(True, False, False),
                                foreground=0.25, inverted=True),
    arrangement="stacked",
)  # fmt: skip


@pytest.fixture
def models(qapp, tmp_path):
    made = make_models(None)
    open_in(made, tmp_path)
    return made


def test_this_test_changes_every_part_of_the_view():
    usual = ViewState()
    same = [f.name for f in fields(ViewState) if getattr(OTHER, f.name) == getattr(usual, f.name)]
    assert same == []


def test_every_part_of_the_view_comes_back(models):
    models.view.set(OTHER)
    parts = {"b": (0.12345, -1.0, 20.0, 30.0)}
    saved = session_of(models, parts).view
    assert view_state(saved) == OTHER
    assert parts_of(saved) == {"b": (0.123, -1.0, 20.0, 30.0)}


def test_pins_keep_their_numbers_and_the_matching_descriptor_its_place(models):
    pins = (Pin(3, Probe("a", (1.5, 2.0))), Pin(9, Probe("b", (4.0, 0.1), (6.0, 2.5))))
    models.pins.set_pins(pins)
    models.pins.select(9)
    models.descriptors[2].choose(replace(models.maps.choice, name="daisy"))
    models.matches.update(descriptor=2)
    session = session_of(models, {})
    assert saved_pins(session) == pins
    assert session.selected == 9
    assert session.matches.descriptor == 1, "places are counted without those that are free"


@pytest.mark.parametrize("changes", [{"name": "x"}, {"truth": None}])
def test_a_truth_that_is_in_no_file_is_kept_or_known_to_be_missing(models, tmp_path, changes):
    state = open_in(models, tmp_path, **changes)
    truth = session_of(models, {}).truth
    assert truth == api.SavedTruth(source=state.pair.truth)
