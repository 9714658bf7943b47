"""Models: silent when nothing changed, exact when something did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from descgui.models.browser_state import BrowserModel
from descgui.models.bundle import make_models
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.models.maps_state import DescriptorChoice, MapsModel, MapStatus
from descgui.models.matches_state import BLANK, RIGHT, UNJUDGED, UNSEEN, WRONG, MatchesState
from descgui.models.messages import KEPT_MESSAGES, MessagesModel
from descgui.models.pair_state import PairModel, PairState
from descgui.models.pictures_state import PicturesState
from descgui.models.probe_state import Pin, PinsModel, Probe, ProbeModel
from descgui.models.recents import read_recent, write_recent
from descgui.models.settings import RECENT_LIMIT, Settings, SettingsModel
from descgui.models.state import StateModel
from descgui.models.view_state import ViewState
from engine.api import ImagePair, MatchTable
from tests.descgui.pair_sets import a_group, a_set

ROOT = Path("/data")


def dataset():
    return a_set(
        ROOT,
        a_group(ROOT, "i_Pool", "illumination"),
        a_group(ROOT, "v_graf", "viewpoint"),
        a_group(ROOT, "v_wall", "viewpoint", (4,)),
        a_group(ROOT, "rocket"),
    )


def heard(signal):
    seen = []
    signal.connect(lambda *values: seen.append(values))
    return seen


def table(errors, *, similarity=None, ratio=None, mutual=None, homography=None, inlier=None):
    count = len(errors)
    return MatchTable(
        points_a=np.zeros((count, 2)),
        points_b=np.zeros((count, 2)),
        similarity=np.asarray(similarity or [0.5] * count, dtype=np.float32),
        ratio=np.asarray(ratio or [0.5] * count, dtype=np.float32),
        mutual=np.asarray(mutual or [True] * count),
        error_px=np.asarray(errors, dtype=np.float64),
        h_b_from_a=homography,
        inlier=np.asarray(inlier if inlier is not None else [], dtype=np.bool_),
    )


# Browser


def test_the_browser_lists_by_kind_and_by_name_whatever_the_case(qapp):
    model = BrowserModel()
    assert model.listed() == ()
    model.set_dataset(dataset())

    def names(**changes):
        model.set_filter(**changes)
        return [item.name for item in model.listed()]

    assert names() == ["i_Pool", "v_graf", "v_wall", "rocket"]
    assert names(subset="viewpoint") == ["v_graf", "v_wall"]
    assert names(search="WALL") == ["v_wall"]
    assert names(subset="illumination", search="pool") == ["i_Pool"]
    assert names(search="nothing") == []


def test_another_data_set_is_listed_unfiltered_and_without_an_open_pair(qapp):
    model = BrowserModel()
    model.set_dataset(dataset())
    model.set_filter(subset="viewpoint", search="x")
    model.set_current("v_graf", 2)
    model.set_dataset(dataset())
    assert (model.state.subset, model.state.search, model.state.group) == ("", "", "")
    assert len(model.listed()) == 4


def test_an_equal_but_new_data_set_is_a_change_and_the_same_one_is_none(qapp):
    model, opened = BrowserModel(), dataset()
    model.set_dataset(opened)
    seen = heard(model.changed)
    model.set_dataset(opened)
    model.set_filter(subset="", search="")
    model.set_current("", 0)
    assert seen == []
    model.set_dataset(dataset())
    assert len(seen) == 1


def test_neighbours_run_through_all_listed_pairs_and_end(qapp):
    model = BrowserModel()
    assert model.neighbour(1) is None
    model.set_dataset(dataset())
    model.set_filter(subset="viewpoint")
    walked, pair = [], model.neighbour(1)
    while pair is not None:
        walked.append((pair.sequence, pair.index))
        model.set_current(pair.sequence, pair.index)
        pair = model.neighbour(1)
    assert walked == [("v_graf", 2), ("v_graf", 3), ("v_wall", 4)]
    assert model.neighbour(-1).index == 3


def test_from_a_pair_that_is_not_listed_the_neighbours_are_the_ends(qapp):
    model = BrowserModel()
    model.set_dataset(dataset())
    model.set_filter(subset="viewpoint")
    model.set_current("i_Pool", 2)
    assert (model.neighbour(1).sequence, model.neighbour(1).index) == ("v_graf", 2)
    assert (model.neighbour(-1).sequence, model.neighbour(-1).index) == ("v_wall", 4)
    model.set_filter(search="nothing")
    assert model.neighbour(1) is None


# Engine, maps, computing, view


def test_the_engine_is_silent_about_the_same_state_and_finds_descriptors_by_name(qapp):
    model = StateModel(EngineState())
    info = DescriptorChoiceInfo("daisy", "DAISY", "", "built-in", False, ())
    seen = heard(model.changed)
    model.set(EngineState())
    assert seen == []
    model.set(EngineState("ready", (info,)))
    model.set(EngineState("ready", (info,)))
    assert len(seen) == 1
    assert model.state.descriptor("daisy") is info
    assert model.state.descriptor("sift") is None


def test_maps_are_ready_when_both_sides_are(qapp):
    model = MapsModel()
    seen = heard(model.status_changed)
    model.set_status("a", MapStatus("ready"))
    assert not model.ready
    model.set_status("b", MapStatus("ready"))
    model.set_status("b", MapStatus("ready"))
    assert model.ready
    assert [side for side, _ in seen] == ["a", "b"]


def test_choosing_the_same_descriptor_with_equal_values_is_silent(qapp):
    model = MapsModel()
    model.choose(DescriptorChoice("daisy", {"rings": 3}))
    seen = heard(model.choice_changed)
    model.choose(DescriptorChoice("daisy", {"rings": 3}))
    assert seen == []
    model.choose(DescriptorChoice("daisy", {"rings": 4}))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("state_class", "same", "other"),
    [
        (ViewState, {"mode": "heat", "blink": False}, {"mode": "pca"}),
        (MatchesState, {"count": 200, "mutual_only": False, "table": None}, {"count": 5}),
        (PicturesState, {"busy": "", "pca": None}, {"busy": "pca"}),
    ],
)
def test_an_update_is_told_only_when_a_value_differs(qapp, state_class, same, other):
    model = StateModel(state_class())
    seen = heard(model.changed)
    model.update(**same)
    assert seen == []
    model.update(**other)
    assert seen == [(model.state,)]
    for name, value in other.items():
        assert getattr(model.state, name) == value


def test_an_unknown_field_is_refused(qapp):
    with pytest.raises(AttributeError):
        StateModel(ViewState()).update(zoom=2)
    with pytest.raises(AttributeError):
        StateModel(MatchesState()).update(zoom=2)


# Pair


def test_a_pair_stays_open_when_another_fails(qapp):
    model = PairModel()
    state = PairState(ImagePair(ROOT / "1", ROOT / "2"), None, None, None, None)
    opened, failed, loading = (
        heard(model.changed),
        heard(model.failed),
        heard(model.loading_changed),
    )
    model.set_pair(state)
    model.set_loading("x")
    model.set_loading("x")
    model.report_failure("x.png: is empty.")
    model.set_loading("")
    assert model.state is state
    assert len(opened) == 1
    assert failed == [("x.png: is empty.",)]
    assert loading == [("x",), ("",)]


# Pictures


def test_clearing_pictures_forgets_all_of_them(qapp):
    model = StateModel(PicturesState())
    model.update(warped_a=np.zeros((2, 2, 3), dtype=np.uint8), problem="x")
    model.set(PicturesState())
    assert model.state.warped_a is None
    assert model.state.problem == PicturesState().problem


# Probe and pins


def test_the_probe_is_silent_about_the_same_point_and_leaving_clears_the_answers(qapp):
    model = ProbeModel()
    moved, answered, compared = heard(model.moved), heard(model.answered), heard(model.compared)
    model.move(Probe("a", (1.0, 2.0)))
    model.move(Probe("a", (1.0, 2.0)))
    model.set_answer("answer")
    model.set_answer("answer")
    model.set_answer("other", 2)
    model.move(None)
    model.move(None)
    assert len(moved) == 2
    assert answered == [("answer",), (None,)]
    assert compared == [(2, "other"), (2, None)]
    assert (model.answer, model.answer_of(2), model.probe) == (None, None, None)


def test_numbers_of_pins_are_never_used_twice(qapp):
    model = PinsModel()
    first = model.take_number()
    model.set_pins((Pin(first, Probe("a", (0.0, 0.0))),))
    model.set_pins(())
    assert model.take_number() == first + 1


def test_an_answer_reaches_its_pin_only_and_a_gone_pin_is_ignored(qapp):
    model = PinsModel()
    pins = tuple(Pin(number, Probe("a", (float(number), 0.0))) for number in (1, 2))
    model.set_pins(pins)
    seen = heard(model.changed)
    model.set_answer(2, "answer")
    assert [pin.answer for pin in model.pins] == [None, "answer"]
    model.set_answer(9, "answer")
    model.set_pins(model.pins)
    assert len(seen) == 1


def test_removing_the_selected_pin_selects_none(qapp):
    model = PinsModel()
    pins = tuple(Pin(number, Probe("b", (0.0, 0.0))) for number in (1, 2))
    model.set_pins(pins)
    model.select(2)
    model.select(2)
    seen = heard(model.selected_changed)
    model.set_pins(pins[1:])
    assert seen == []
    model.set_pins(pins[:1])
    assert seen == [(0,)]
    assert model.selected == 0


# Matches


def test_filters_hide_by_similarity_ratio_and_the_way_back():
    state = MatchesState(
        table=table(
            [0.0] * 4,
            similarity=[0.2, 0.6, 0.6, 0.6],
            ratio=[0.1, 0.9, 0.5, 0.5],
            mutual=[True, True, False, True],
        )
    )
    assert state.shown().tolist() == [True] * 4
    assert replace(state, min_similarity=0.5).shown().tolist() == [False, True, True, True]
    assert replace(state, max_ratio=0.5).shown().tolist() == [True, False, True, True]
    assert replace(state, mutual_only=True).shown().tolist() == [True, True, False, True]
    told = replace(state, table=replace(state.table, confidence=np.array([0.9, 0.95, 0.1, np.nan])))
    assert told.shown().all()
    assert replace(told, min_confidence=0.9).shown().tolist() == [True, True, False, False]
    assert replace(state, visible=False).shown().size == 0
    assert MatchesState().shown().size == 0


def test_right_means_within_the_threshold_and_unknown_is_never_right():
    state = MatchesState(table=table([3.0, 3.01, np.nan]))
    assert state.correct(3.0).tolist() == [True, False, False]
    assert state.verdicts(3.0).tolist() == [1, 0, -1]


def test_without_truth_the_estimate_decides_and_without_both_nothing_does():
    errors = [np.nan, np.nan]
    estimated = table(errors, homography=np.eye(3), inlier=[True, False])
    assert MatchesState(table=estimated).correct(3.0).tolist() == [True, False]
    assert MatchesState(table=estimated).verdicts(3.0).tolist() == [1, 0]
    assert MatchesState(table=table(errors)).correct(3.0) is None
    assert MatchesState().correct(3.0) is None
    assert MatchesState().verdicts(3.0) is None


def test_the_same_table_is_silent_and_an_equal_new_one_is_told(qapp):
    model, found = StateModel(MatchesState()), table([1.0])
    model.update(table=found)
    seen = heard(model.changed)
    model.update(table=found)
    assert seen == []
    model.update(table=table([1.0]))
    assert len(seen) == 1


# Messages


def test_every_message_is_logged_and_only_some_are_shown(qapp):
    model = MessagesModel()
    logged, notified = heard(model.logged), heard(model.notified)
    model.log("quiet")
    model.notify("loud", "error", "trace")
    assert [message.text for (message,) in logged] == ["quiet", "loud"]
    assert [message.text for (message,) in notified] == ["loud"]
    assert model.messages[-1].detail == "trace"


def test_the_log_forgets_the_oldest(qapp):
    model = MessagesModel()
    for number in range(KEPT_MESSAGES + 3):
        model.log(str(number))
    assert len(model.messages) == KEPT_MESSAGES
    assert model.messages[0].text == "3"


# Settings


def test_settings_are_written_and_read_back_whole(qapp, tmp_path):
    path = tmp_path / "ordner ü" / "settings.yaml"
    model = SettingsModel(path)
    model.update(theme="dark", long_edge_px=800, opacity=0.25, recent_pairs=("ä\tb",))
    again = SettingsModel(path)
    seen = heard(again.changed)
    again.load()
    assert again.state == model.state
    assert len(seen) == 1
    again.load()
    assert len(seen) == 1
    assert not path.with_suffix(".tmp").exists()


def test_a_missing_settings_file_means_defaults_and_no_complaint(qapp, tmp_path):
    model = SettingsModel(tmp_path / "none.yaml")
    problems = heard(model.problem)
    model.load()
    assert model.state == Settings()
    assert problems == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("theme: [", "YAML"),
        ("theme: purple", "purple"),
        ("opacity: 7", "opacity"),
        ("colour: red", "colour"),
        ("- a\n- b", "names and values"),
        ("theme: 2020-13-45", "month must be in 1..12"),
        ("theme: &a [*a]", "holds itself"),
        ("theme: " + "[" * 5000, "nested too deeply"),
        ("theme: dark\ntheme: light", "twice"),
        ("recent_pairs: !!binary é", "YAML"),
        ("long_edge_px: " + "9" * 5000, "YAML"),
        ("recent_pairs: [~nobody\x01]", "YAML"),
    ],
)
def test_a_broken_settings_file_is_named_kept_and_never_used(qapp, tmp_path, text, word):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    model = SettingsModel(path)
    problems = heard(model.problem)
    model.load()
    assert model.state == Settings()
    ((sentence,),) = problems
    assert word in sentence
    assert (tmp_path / "settings.broken.yaml").read_text(encoding="utf-8") == text


def test_a_settings_file_that_is_not_text_is_survived(qapp, tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"\xff\xfe\x00binary")
    model = SettingsModel(path)
    problems = heard(model.problem)
    model.load()
    assert model.state == Settings()
    assert len(problems) == 1


def test_settings_that_cannot_be_written_still_hold_and_say_so(qapp, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    model = SettingsModel(blocked / "settings.yaml")
    problems, seen = heard(model.problem), heard(model.changed)
    model.update(theme="dark")
    assert model.state.theme == "dark"
    assert len(seen) == 1
    assert str(blocked) in problems[0][0]


def test_an_update_without_change_writes_nothing(qapp, tmp_path):
    path = tmp_path / "settings.yaml"
    model = SettingsModel(path)
    seen = heard(model.changed)
    model.update(theme="system")
    assert seen == []
    assert not path.exists()


def test_recents_are_unique_newest_first_and_few(qapp, tmp_path):
    path = tmp_path / "settings.yaml"
    model = SettingsModel(path)
    for number in range(RECENT_LIMIT + 2):
        model.remember_folder(f"folder {number}")
    model.remember_folder("folder 5")
    recent = model.state.recent_folders
    assert recent[0] == "folder 5"
    assert len(recent) == RECENT_LIMIT == len(set(recent))
    model.remember_pair("a\tb")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["recent_pairs"] == ["a\tb"]


def test_recent_entries_are_read_back_as_what_they_were():
    free = ImagePair(Path("/ä b/1.png"), Path("/c/2.png"))
    listed = ImagePair(
        ROOT / "v/1.ppm", ROOT / "v/3.ppm", name="v 1 → 3", sequence="v_graf", index=3
    )
    assert read_recent(write_recent(free, "")).path_a == free.path_a
    assert read_recent(write_recent(free, "")).label == "1.png ↔ 2.png"
    back = read_recent(write_recent(listed, str(ROOT)))
    assert (back.opened, back.group, back.index) == (str(ROOT), "v_graf", 3)
    assert back.label == "v 1 → 3"
    assert read_recent("/data\tv_graf\t3").label == "v_graf 1 → 3", "as it was written before"
    for broken in ("", "one", "a\tb\tc", "a\tb\t3\td\te"):
        assert read_recent(broken) is None


def test_all_models_of_a_window_are_their_own(qapp, tmp_path):
    models = make_models(tmp_path / "settings.yaml")
    other = make_models(tmp_path / "settings.yaml")
    assert len(set(models.descriptors)) == 4
    assert not set(models.descriptors) & set(other.descriptors)
    assert models.view is not other.view


def test_what_is_known_of_a_match_without_texture_depends_on_the_truth():
    nan = float("nan")
    textured = np.array([True, False, True])
    with_truth = MatchesState(table=replace(table([1.0, 1.0, nan]), textured=textured))
    assert with_truth.verdicts(3.0).tolist() == [RIGHT, RIGHT, UNSEEN]
    estimated = table([nan] * 3, homography=np.eye(3), inlier=[True, False, False])
    judged = MatchesState(table=replace(estimated, textured=textured))
    assert judged.verdicts(3.0).tolist() == [RIGHT, BLANK, WRONG]
    nothing_known = MatchesState(table=replace(table([nan] * 3), textured=textured))
    assert nothing_known.verdicts(3.0).tolist() == [UNJUDGED, BLANK, UNJUDGED]
    assert MatchesState(table=table([nan] * 3)).verdicts(3.0) is None
