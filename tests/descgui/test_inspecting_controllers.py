"""Maps, probes, pictures and matches: requests to the engine, and what its answers change."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QObject, Signal

from descgui.controllers.maps_controller import MapsController
from descgui.controllers.matches_controller import MatchesController
from descgui.controllers.pictures_controller import PicturesController
from descgui.controllers.probe_controller import ProbeController
from descgui.models.bundle import make_models
from descgui.models.maps_state import DescriptorChoice
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Probe
from descgui.workers.lane import JobLane
from engine import api
from engine.api import DescSpaceError, HomographySource, Image, ImagePair, Note, Progress
from tests.descgui.pair_sets import a_set

WAIT_MS = 5000
BACK_PX = (7.0, 7.0)
MAP_BYTES = 100 * 2**20
PIXELS = np.zeros((20, 30, 3), np.uint8)
PAIR = ImagePair(Path("1.png"), Path("2.png"), HomographySource.of(np.eye(3)), "1 ↔ 2")
OTHER = ImagePair(Path("3.png"), Path("4.png"), None, "3 ↔ 4")


def state_of(pair: ImagePair) -> PairState:
    images = Image(pair.path_a, PIXELS), Image(pair.path_b, PIXELS)
    truth = pair.open_truth(*(image.size_px for image in images))
    return PairState(pair, *images, PIXELS, PIXELS, truth)


def info_of(recipe: api.Recipe, levels: int = 1) -> Any:
    return SimpleNamespace(
        recipe=recipe, levels=levels, size_bytes=MAP_BYTES, seconds=0.5, device="cpu",
        working_size_px=(64, 48),
    )  # fmt: skip


class Session:
    """Stands in for the engine's memory: describes at once unless its gate is closed."""

    def __init__(self) -> None:
        self.maps: dict[tuple[Path, api.Recipe], Any] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.slow: dict[str, threading.Event] = {}
        self.problem: Exception | None = None
        self.levels = 1
        self.map_budget_bytes = 8 * MAP_BYTES
        self.forgets = False

    def _work(self, *call: Any) -> None:
        self.calls.append(call)
        assert self.gate.wait(WAIT_MS / 1000)
        if self.problem is not None:
            raise self.problem

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def described(self, pair: ImagePair, side: str, recipe: api.Recipe) -> Any:
        return self.maps.get((pair.path(side), recipe))

    def describe(self, pair: ImagePair, side: str, recipe: api.Recipe, context: Any) -> Any:
        context.emit(Progress(api.Stage.DESCRIBING, 1, 4))
        context.emit(Note("It ran on the CPU."))
        self._work("describe", pair.path(side), recipe)
        context.cancel.check()
        made = self.maps.setdefault((pair.path(side), recipe), info_of(recipe, self.levels))
        while len(self.maps) > max(4, self.map_budget_bytes // MAP_BYTES):
            del self.maps[next(iter(self.maps))]  # as the engine's memory does
        return made

    def describe_layers(self, pair: ImagePair, side: str, recipe: api.Recipe, context: Any) -> int:
        context.emit(Progress(api.Stage.PREPARING_LAYERS, 1, 2))
        self._work("describe_layers", pair.path(side), recipe)
        context.cancel.check()
        return 2

    def forget(self, path: Path) -> None:
        self.maps = {key: info for key, info in self.maps.items() if key[0] != path}

    def probe(self, request: api.ProbeRequest) -> Any:
        self._work("probe", request)
        sides = {(request.pair.path(side), request.recipe) for side in ("a", "b")}
        if self.forgets and not sides <= set(self.maps):
            raise DescSpaceError("The maps are no longer in memory.")
        if request.recipe.spec[0] in self.slow:
            assert self.slow[request.recipe.spec[0]].wait(WAIT_MS / 1000)
        return SimpleNamespace(request=request, cycle_px=None)

    def match_back(self, answer: Any) -> Any:
        self._work("match_back", answer)
        return SimpleNamespace(request=answer.request, cycle_px=BACK_PX)

    def match(self, request: api.MatchRequest, context: Any) -> Any:
        self._work("match", request)
        context.cancel.check()
        return SimpleNamespace(request=request)

    def pca(self, request: api.PcaRequest, context: Any) -> Any:
        context.emit(Progress(api.Stage.FITTING_BASIS, 1, 3))
        self._work("pca", request)
        context.cancel.check()
        return SimpleNamespace(request=request)

    def save_basis(self, request: api.PcaRequest, path: Path, _context: Any) -> None:
        self._work("save_basis", request, path)

    def cycle_error(self, pair: ImagePair, recipe: api.Recipe, side: str, _context: Any) -> Any:
        self._work("cycle", pair, recipe, side)
        return side

    def norms(self, pair: ImagePair, side: str, recipe: api.Recipe, _context: Any) -> Any:
        self._work("norms", pair, recipe, side)
        return side

    def errors(self, pair: ImagePair, recipe: api.Recipe, side: str, _context: Any) -> Any:
        self._work("errors", pair, recipe, side)
        return side

    def winners(self, pair: ImagePair, recipe: api.Recipe, side: str, _context: Any) -> Any:
        self._work("winners", pair, recipe, side)
        return side


class Engine(QObject):
    """Owns the session, like the controller that loads torch."""

    ready = Signal()
    plugin_loaded = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.session: Session | None = Session()


class World:
    """The four controllers around one session."""

    def __init__(self) -> None:
        self.models = make_models(None)
        self.engine = Engine()
        self.session = self.engine.session
        self.maps = MapsController(self.models, self.engine)
        self.lane = JobLane(self.models.messages.report)
        self.pictures = PicturesController(self.models, self.engine, self.maps, self.lane)
        self.matches = MatchesController(self.models, self.engine, self.maps, self.lane)
        self.probes = ProbeController(self.models, self.engine, self.maps)
        self.notified: list[str] = []
        self.models.messages.notified.connect(lambda message: self.notified.append(message.text))

    @property
    def busy(self) -> bool:
        return self.maps.lane.busy or self.lane.busy or self.probes.busy

    def stages(self) -> tuple[str, str]:
        return self.models.maps.status("a").stage, self.models.maps.status("b").stage


@pytest.fixture
def world(qtbot, monkeypatch):
    def make_spec(name: str, values: Any) -> Any:
        if "wrong" in values:
            raise api.ConfigError("wrong", "there is no such setting")
        return (name, tuple(sorted(values.items())))

    monkeypatch.setitem(vars(api), "make_spec", make_spec)
    made = World()
    yield made
    made.session.gate.set()
    for lane in (made.maps.lane, made.lane):
        lane.close()
    made.probes.close()
    qtbot.waitUntil(lambda: not made.busy, timeout=WAIT_MS)


@pytest.fixture
def rest(qtbot, world):
    """Waits until nothing is computed."""

    def wait() -> None:
        qtbot.waitUntil(lambda: not world.busy, timeout=WAIT_MS)

    return wait


@pytest.fixture
def ready(world, rest):
    """A pair that DAISY has described."""
    world.models.pair.set_pair(state_of(PAIR))
    world.models.maps.choose(DescriptorChoice("daisy"))
    rest()
    assert world.stages() == ("ready", "ready")
    return world


def let_work_end_unheard(lane: JobLane) -> None:
    """Wait until the running work has ended, with its result on the way to the window."""
    assert lane._thread is not None
    assert lane._thread.wait(WAIT_MS)


# Maps


def test_maps_that_end_after_their_descriptor_was_taken_away_are_not_ready(world, rest):
    world.models.pair.set_pair(state_of(PAIR))
    model = world.models.compared[0]
    model.choose(DescriptorChoice("net"))
    let_work_end_unheard(world.maps.lane)
    model.choose(DescriptorChoice())
    rest()
    assert [model.status(side).stage for side in api.SIDES] == ["none", "none"]


def test_maps_that_end_after_they_were_found_to_be_too_large_stay_given_up(
    ready, rest, qtbot, monkeypatch
):
    ready.models.compared[0].choose(DescriptorChoice("net"))
    rest()
    ready.session.map_budget_bytes = 5 * MAP_BYTES
    third, describe, hold = ready.models.compared[1], ready.session.describe, threading.Event()

    def describe_held(pair: ImagePair, side: str, recipe: api.Recipe, context: Any) -> Any:
        assert side == "a" or hold.wait(WAIT_MS / 1000)
        return describe(pair, side, recipe, context)

    monkeypatch.setattr(ready.session, "describe", describe_held)
    third.choose(DescriptorChoice("slow"))
    qtbot.waitUntil(lambda: third.status("b").stage == "computing", timeout=WAIT_MS)
    hold.set()
    let_work_end_unheard(ready.maps.lane)
    ready.maps.refresh()  # finds the maps of both sides, and no room for them
    assert [third.status(side).stage for side in api.SIDES] == ["failed", "failed"]
    rest()
    assert [third.status(side).stage for side in api.SIDES] == ["failed", "failed"]
    assert third.status("b").message.startswith("The maps of 3 descriptors take")


def test_a_pair_is_described_on_both_sides_by_the_chosen_recipe(ready):
    described = ready.session.of("describe")
    assert [path for path, _recipe in described] == [PAIR.path_a, PAIR.path_b]
    assert {recipe.spec for _path, recipe in described} == {("daisy", ())}
    assert ready.notified.count("It ran on the CPU.") == 2


def test_without_torch_maps_wait_and_are_made_once_it_is_loaded(world, rest):
    session, world.engine.session = world.engine.session, None
    world.models.pair.set_pair(state_of(PAIR))
    world.models.maps.choose(DescriptorChoice("daisy"))
    assert world.stages() == ("waiting", "waiting")
    world.engine.session = session
    world.engine.ready.emit()
    rest()
    assert world.stages() == ("ready", "ready")


@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"long_edge_px": 96}])
def test_maps_follow_a_change_of_how_they_are_computed(ready, rest, change):
    ready.session.calls.clear()
    ready.models.settings.update(**change)
    rest()
    (recipe,) = {recipe for _path, recipe in ready.session.of("describe")}
    for name, value in change.items():
        assert getattr(recipe, name) == value
    assert ready.models.maps.status("a").info.recipe == recipe


def test_a_setting_that_concerns_no_maps_describes_nothing(ready, rest):
    ready.session.calls.clear()
    ready.models.settings.update(opacity=0.3, colormap="cividis", correct_px=5.0)
    rest()
    assert ready.session.calls == []


def test_finished_maps_are_used_again_without_computing(ready, rest):
    ready.models.maps.choose(DescriptorChoice("net"))
    rest()
    ready.session.calls.clear()
    ready.models.maps.choose(DescriptorChoice("daisy"))
    assert ready.stages() == ("ready", "ready")
    rest()
    assert ready.session.of("describe") == []


def test_describing_again_computes_what_was_there(ready, rest):
    ready.session.calls.clear()
    ready.maps.describe_again()
    rest()
    assert len(ready.session.of("describe")) == 2


def test_progress_is_shown_and_cancelling_says_so(world, qtbot, rest):
    world.session.gate.clear()
    world.models.pair.set_pair(state_of(PAIR))
    world.models.maps.choose(DescriptorChoice("daisy"))
    qtbot.waitUntil(lambda: world.models.maps.status("a").fraction == 0.25, timeout=WAIT_MS)
    world.maps.cancel()
    world.session.gate.set()
    rest()
    assert world.models.maps.status("a").stage == "failed"
    assert world.models.maps.status("a").message == "Stopped."


def test_a_wrong_setting_fails_with_its_sentence_and_starts_nothing(world, rest):
    world.models.pair.set_pair(state_of(PAIR))
    world.models.maps.choose(DescriptorChoice("daisy", {"wrong": 1}))
    rest()
    assert world.stages() == ("failed", "failed")
    assert "there is no such setting" in world.models.maps.status("b").message
    assert world.session.calls == []


def test_a_failure_is_kept_with_its_side_and_reported(world, rest):
    world.session.problem = DescSpaceError("w.pth: is truncated.")
    world.models.pair.set_pair(state_of(PAIR))
    world.models.maps.choose(DescriptorChoice("net"))
    rest()
    assert world.models.maps.status("a").message == "w.pth: is truncated."
    assert "w.pth: is truncated." in world.notified


def test_choosing_the_shown_descriptor_is_remembered_and_the_compared_is_not(world):
    world.maps.choose(world.models.compared[0], DescriptorChoice("net"))
    assert world.models.settings.state.descriptor != "net"
    world.maps.choose(world.models.maps, DescriptorChoice("net"))
    assert world.models.settings.state.descriptor == "net"
    assert world.models.maps.choice == DescriptorChoice("net")


# Probes and pins


def test_hovering_asks_both_descriptors_at_the_point(ready, rest):
    ready.models.compared[0].choose(DescriptorChoice("net"))
    rest()
    ready.session.calls.clear()
    ready.probes.hover("b", 3.0, 4.0)
    rest()
    asked = [request for (request,) in ready.session.of("probe")]
    assert {(one.side, one.point_px, one.recipe.spec[0]) for one in asked} == {
        ("b", (3.0, 4.0), "daisy"),
        ("b", (3.0, 4.0), "net"),
    }
    assert ready.models.probe.answer.request.recipe.spec[0] == "daisy"
    assert ready.models.probe.answer_of(1).request.recipe.spec[0] == "net"


def test_the_way_back_is_asked_once_the_answer_is_shown(ready, rest):
    shown = []
    ready.models.probe.answered.connect(shown.append)
    ready.session.calls.clear()
    ready.probes.hover("a", 3.0, 4.0)
    rest()
    assert [call[0] for call in ready.session.calls] == ["probe", "match_back"]
    assert not ready.session.of("probe")[0][0].cycle
    assert [answer.cycle_px for answer in shown] == [None, BACK_PX]
    assert ready.models.probe.answer is shown[1]
    assert not ready.busy
    # A pin has no heat map to wait for.
    ready.probes.pin("a", 3.0, 4.0)
    rest()
    assert [request.cycle for (request,) in ready.session.of("probe")] == [False, True]
    assert len(ready.session.of("match_back")) == 1


def test_a_way_back_does_not_replace_the_answer_about_a_newer_point(ready, qtbot, rest):
    ready.models.probe.answered.connect(lambda _answer: ready.session.gate.clear())
    ready.probes.hover("a", 3.0, 4.0)
    qtbot.waitUntil(lambda: bool(ready.session.of("match_back")), timeout=WAIT_MS)
    newer = SimpleNamespace(request=ready.models.probe.answer.request, cycle_px=(1.0, 1.0))
    ready.models.probe.set_answer(newer)
    ready.session.gate.set()
    rest()
    assert ready.models.probe.answer is newer


@pytest.fixture
def four(ready, rest):
    """DAISY with three descriptors beside it."""
    for model, name in zip(ready.models.compared, ("net", "slow", "last"), strict=True):
        model.choose(DescriptorChoice(name))
    rest()
    ready.session.calls.clear()
    return ready


def names_of(answers) -> list[str]:
    return [answer.request.recipe.spec[0] for answer in answers]


def test_four_descriptors_are_asked_about_one_point_and_answer_in_their_places(four, rest):
    four.probes.hover("b", 3.0, 4.0)
    rest()
    answers = [four.models.probe.answer_of(number) for number in range(4)]
    assert names_of(answers) == ["daisy", "net", "slow", "last"]
    assert {answer.request.point_px for answer in answers} == {(3.0, 4.0)}
    assert len(four.session.of("probe")) == 4


def test_a_slow_descriptor_keeps_no_other_waiting_and_skips_to_the_newest_point(four, qtbot, rest):
    four.session.slow["slow"] = threading.Event()
    for x in range(1, 6):
        four.probes.hover("a", float(x), 0.0)
        qtbot.waitUntil(
            lambda x=x: all(
                (answer := four.models.probe.answer_of(number)) is not None
                and answer.request.point_px == (x, 0.0)
                for number in (0, 1, 3)
            ),
            timeout=WAIT_MS,
        )
        assert four.models.probe.answer_of(2) is None
    four.session.slow["slow"].set()
    rest()
    asked = [request for (request,) in four.session.of("probe")]
    assert [one.point_px for one in asked if one.recipe.spec[0] == "slow"] == [(1, 0), (5, 0)]
    assert four.models.probe.answer_of(2).request.point_px == (5.0, 0.0)


def test_a_slow_descriptor_keeps_no_pin_of_another_waiting(four, qtbot, rest):
    four.session.slow["slow"] = threading.Event()
    four.probes.pin("a", 1.0, 2.0)
    four.probes.pin("a", 3.0, 4.0)
    qtbot.waitUntil(
        lambda: all(
            pin.answer_of(number) is not None
            for pin in four.models.pins.pins
            for number in (0, 1, 3)
        ),
        timeout=WAIT_MS,
    )
    four.session.slow["slow"].set()
    rest()
    for pin in four.models.pins.pins:
        answers = [pin.answer_of(number) for number in range(4)]
        assert names_of(answers) == ["daisy", "net", "slow", "last"]
        assert {answer.request.point_px for answer in answers} == {pin.probe.point_px}


def test_another_descriptor_in_one_place_leaves_the_answers_of_the_others(four, rest):
    four.probes.hover("a", 3.0, 4.0)
    four.probes.pin("a", 5.0, 6.0)
    rest()
    kept = [four.models.probe.answer_of(number) for number in (0, 2, 3)]
    four.session.gate.clear()
    four.models.compared[0].choose(DescriptorChoice("another"))
    pin = four.models.pins.pins[0]
    assert four.models.probe.answer_of(1) is None
    assert pin.answer_of(1) is None
    assert all(pin.answer_of(number) is not None for number in (0, 2, 3))
    four.session.gate.set()
    rest()
    assert names_of([four.models.probe.answer_of(1)]) == ["another"]
    assert names_of([four.models.pins.pins[0].answer_of(1)]) == ["another"]
    assert names_of(kept) == ["daisy", "slow", "last"]
    four.models.compared[0].choose(DescriptorChoice())
    rest()
    assert four.models.probe.answer_of(1) is None
    assert four.models.pins.pins[0].answer_of(1) is None


def test_a_pin_that_comes_back_is_answered_by_the_descriptors_of_today(four, rest):
    four.probes.pin("a", 5.0, 6.0)
    rest()
    four.probes.remove_pin(1)
    four.models.maps.choose(DescriptorChoice("other"))
    four.models.compared[1].choose(DescriptorChoice("another"))
    rest()
    four.probes.undo_stack.undo()
    assert four.models.pins.pins[0].answer is None
    rest()
    answers = [four.models.pins.pins[0].answer_of(number) for number in range(4)]
    assert names_of(answers) == ["other", "net", "another", "last"]


def test_the_chosen_descriptor_matches_and_the_first_once_it_is_gone(four, rest):
    matched = lambda: [one.recipe.spec[0] for (one,) in four.session.of("match")]  # noqa: E731
    four.matches.match_by(2)
    rest()
    assert matched() == []
    four.matches.run()
    rest()
    four.matches.match_by(1)
    rest()
    assert matched() == ["slow", "net"]
    assert four.models.matches.state.table.request.recipe.spec[0] == "net"
    four.models.maps.choose(DescriptorChoice("other"))
    rest()
    assert matched() == ["slow", "net"], "the table is another descriptor's"
    four.models.compared[0].choose(DescriptorChoice("another"))
    rest()
    assert matched() == ["slow", "net", "another"]
    four.models.compared[0].choose(DescriptorChoice())
    rest()
    assert four.models.matches.state.descriptor == 0
    assert four.models.matches.state.table is None


def stages_of(world) -> list[str]:
    return [maps.status("a").stage for maps in world.models.descriptors]


def test_descriptors_that_would_push_others_out_of_memory_are_given_up_from_the_last(four, rest):
    assert stages_of(four) == ["ready"] * 4, "eight maps are just what may be kept"
    four.session.map_budget_bytes = 7 * MAP_BYTES
    four.maps.refresh()
    rest()
    assert stages_of(four) == ["ready", "ready", "ready", "failed"]
    message = four.models.compared[2].status("b").message
    assert message.startswith("The maps of 4 descriptors take 800 MB, and 700 MB may be kept")
    four.session.calls.clear()
    four.probes.hover("a", 1.0, 1.0)
    four.maps.refresh()
    rest()
    asked = {request.recipe.spec[0] for (request,) in four.session.of("probe")}
    assert asked == {"daisy", "net", "slow"}
    assert four.session.of("describe") == []
    four.models.compared[0].choose(DescriptorChoice())
    rest()
    assert stages_of(four) == ["ready", "none", "ready", "ready"], "there is room again"


@pytest.mark.parametrize(("maps_kept", "shown"), [(1, 2), (4, 2), (5, 2), (6, 3), (7, 3), (8, 4)])
def test_descriptors_do_not_push_one_another_out_of_memory_for_ever(world, rest, maps_kept, shown):
    world.session.map_budget_bytes = maps_kept * MAP_BYTES
    world.session.forgets = True
    names = ("daisy", "net", "slow", "last")
    for model, name in zip(world.models.descriptors, names, strict=True):
        model.choose(DescriptorChoice(name))
    world.models.pair.set_pair(state_of(PAIR))
    world.probes.hover("a", 1.0, 1.0)
    rest()
    assert stages_of(world) == ["ready"] * shown + ["failed"] * (4 - shown)
    answers = [world.models.probe.answer_of(number) for number in range(shown)]
    assert names_of(answers) == list(names[:shown])
    # Each side of four, twice; one that is pushed out just as it is asked may be described again.
    assert len(world.session.of("describe")) <= 20


def test_two_descriptors_stay_whatever_they_take_and_equal_maps_count_once(ready, rest):
    ready.session.map_budget_bytes = MAP_BYTES
    ready.models.compared[0].choose(DescriptorChoice("net"))
    rest()
    assert stages_of(ready)[:2] == ["ready", "ready"]
    ready.session.map_budget_bytes = 4 * MAP_BYTES
    ready.models.compared[1].choose(DescriptorChoice("net"))
    rest()
    assert stages_of(ready)[:3] == ["ready", "ready", "ready"]
    ready.models.compared[1].choose(DescriptorChoice("other"))
    rest()
    assert stages_of(ready)[:3] == ["ready", "ready", "failed"]


def test_each_descriptor_has_colours_of_its_own(four, rest):
    four.models.view.update(mode="pca")
    rest()
    pictures = four.models.pictures.state
    assert names_of([pictures.pca, *(pictures.pca_compared[n] for n in (1, 2, 3))]) == [
        "daisy", "net", "slow", "last",
    ]  # fmt: skip
    four.models.compared[1].choose(DescriptorChoice())
    rest()
    assert set(four.models.pictures.state.pca_compared) == {1, 3}


def test_another_descriptor_clears_stale_answers_and_asks_anew(ready, rest):
    ready.probes.hover("a", 3.0, 4.0)
    ready.probes.pin("a", 5.0, 6.0)
    rest()
    assert ready.models.probe.answer is not None
    ready.session.gate.clear()
    ready.models.maps.choose(DescriptorChoice("net"))
    assert ready.models.probe.answer is None
    assert ready.models.pins.pins[0].answer is None
    ready.session.gate.set()
    rest()
    assert ready.models.probe.answer.request.recipe.spec[0] == "net"
    assert ready.models.pins.pins[0].answer.request.recipe.spec[0] == "net"


def test_a_descriptor_whose_maps_are_kept_answers_at_once(ready, rest):
    ready.models.maps.choose(DescriptorChoice("net"))
    ready.models.compared[0].choose(DescriptorChoice("net"))
    rest()
    ready.probes.hover("a", 3.0, 4.0)
    ready.probes.pin("a", 5.0, 6.0)
    rest()
    ready.models.maps.choose(DescriptorChoice("daisy"))
    ready.models.compared[0].choose(DescriptorChoice("daisy"))
    rest()
    answers = (ready.models.probe.answer, ready.models.probe.answer_of(1))
    answers = (*answers, ready.models.pins.pins[0].answer)
    assert [one.request.recipe.spec[0] for one in answers] == ["daisy", "daisy", "daisy"]


def test_maps_that_are_computed_in_another_way_answer_probe_and_pins_anew(ready, rest):
    ready.models.compared[0].choose(DescriptorChoice("net"))
    ready.probes.hover("a", 3.0, 4.0)
    ready.probes.pin("a", 5.0, 6.0)
    rest()
    ready.session.gate.clear()
    ready.models.settings.update(long_edge_px=96)
    pin = ready.models.pins.pins[0]
    shown = (ready.models.probe.answer, ready.models.probe.answer_of(1), pin.answer)
    assert shown == (None, None, None)
    ready.session.gate.set()
    rest()
    pin = ready.models.pins.pins[0]
    for answer in (ready.models.probe.answer, ready.models.probe.answer_of(1), pin.answer):
        assert answer.request.recipe.long_edge_px == 96


def test_an_answer_that_was_under_way_when_the_descriptor_changed_is_dropped(ready, qtbot, rest):
    ready.session.gate.clear()
    ready.probes.hover("a", 3.0, 4.0)
    qtbot.waitUntil(lambda: bool(ready.session.of("probe")), timeout=WAIT_MS)
    ready.models.maps.choose(DescriptorChoice(""))
    ready.session.gate.set()
    rest()
    assert ready.models.probe.answer is None


def begin_to_answer(world, qtbot):
    """Let the engine begin on the next question, and end it when the gate opens."""
    world.session.calls.clear()
    world.session.gate.clear()
    world.probes.hover("a", 1.0, 1.0)
    qtbot.waitUntil(lambda: bool(world.session.of("probe")), timeout=WAIT_MS)


def test_a_pointer_that_never_rests_is_answered_with_a_delay(ready, qtbot, rest):
    shown = []
    ready.models.probe.answered.connect(shown.append)
    begin_to_answer(ready, qtbot)
    ready.probes.hover("a", 2.0, 2.0)
    ready.probes.hover("a", 3.0, 3.0)
    ready.session.gate.set()
    rest()
    points = [(one.request.point_px, one.cycle_px) for one in shown]
    assert points == [((1.0, 1.0), None), ((3.0, 3.0), None), ((3.0, 3.0), BACK_PX)]


def test_an_answer_about_the_image_that_the_pointer_has_left_is_not_shown(ready, qtbot, rest):
    shown = []
    ready.models.probe.answered.connect(shown.append)
    begin_to_answer(ready, qtbot)
    ready.probes.hover("b", 2.0, 2.0)
    ready.session.gate.set()
    rest()
    assert [(one.request.side, one.cycle_px) for one in shown] == [("b", None), ("b", BACK_PX)]


@pytest.mark.parametrize(
    "change",
    [
        lambda models: models.settings.update(peaks=9),
        lambda models: models.settings.update(long_edge_px=96),
        lambda models: models.maps.choose(DescriptorChoice("net")),
        lambda models: models.pair.set_pair(state_of(replace(PAIR, truth=None))),
        lambda models: models.pair.set_pair(state_of(OTHER)),
    ],
    ids=["peaks", "working size", "descriptor", "truth", "images"],
)
def test_no_answer_from_before_a_change_is_shown_after_it(ready, qtbot, rest, change):
    begin_to_answer(ready, qtbot)
    ready.probes.pin("a", 5.0, 5.0)
    change(ready.models)
    ready.probes.hover("a", 2.0, 2.0)
    since = []
    ready.models.probe.answered.connect(since.append)
    ready.models.pins.changed.connect(lambda pins: since.extend(pin.answer for pin in pins))
    ready.session.gate.set()
    rest()
    answers = [answer for answer in since if answer is not None]
    assert answers[0].request.point_px == (2.0, 2.0)
    state, recipe = ready.models.pair.state, ready.maps.ready_recipe(ready.models.maps)
    peaks = ready.models.settings.state.peaks
    assert {one.request.peaks for one in answers} == {peaks}
    assert all(one.request.pair is state.pair for one in answers)
    assert all(one.request.recipe == recipe for one in answers)


def test_a_pin_that_moves_while_it_is_answered_gets_the_answer_of_its_new_place(ready, qtbot, rest):
    ready.session.gate.clear()
    ready.probes.pin("a", 1.0, 1.0)
    qtbot.waitUntil(lambda: bool(ready.session.of("probe")), timeout=WAIT_MS)
    ready.probes.move_pin(1, "a", 9.0, 9.0)
    seen = []
    ready.models.pins.changed.connect(lambda pins: seen.append(pins[0].answer))
    ready.session.gate.set()
    rest()
    assert [answer.request.point_px for answer in seen] == [(9.0, 9.0)]


def test_the_last_query_stays_when_the_pointer_leaves(ready, qtbot, rest):
    ready.session.gate.clear()
    ready.probes.hover("a", 3.0, 4.0)
    qtbot.waitUntil(lambda: bool(ready.session.of("probe")), timeout=WAIT_MS)
    ready.probes.leave()
    ready.session.gate.set()
    rest()
    assert ready.models.probe.probe == Probe("a", (3.0, 4.0))
    assert ready.models.probe.answer.request.point_px == (3.0, 4.0)


def test_a_pin_selected_after_the_pointer_left_is_shown_in_place_of_the_last_query(ready, rest):
    ready.probes.pin("a", 1.0, 2.0)
    ready.models.pins.select(0)
    ready.probes.hover("a", 3.0, 4.0)
    ready.models.pins.select(1)
    rest()
    assert ready.models.probe.probe == Probe("a", (3.0, 4.0))  # the pointer is still there
    ready.models.pins.select(0)
    ready.probes.leave()
    ready.models.pins.select(1)
    rest()
    assert ready.models.probe.probe is None
    assert ready.models.probe.answer is None


def test_pins_are_answered_without_heat_once_each_and_undone(ready, rest):
    ready.session.calls.clear()
    ready.probes.pin("a", 1.0, 2.0)
    ready.probes.pin("b", 3.0, 4.0)
    rest()
    asked = [request for (request,) in ready.session.of("probe")]
    assert [(one.side, one.heat) for one in asked] == [("a", False), ("b", False)]
    ready.probes.move_pin(1, "a", 9.0, 9.0)
    ready.probes.undo_stack.undo()
    assert ready.models.pins.pins[0].probe.point_px == (1.0, 2.0)
    ready.probes.undo_stack.undo()
    assert [pin.number for pin in ready.models.pins.pins] == [1]
    ready.probes.clear_pins()
    assert ready.models.pins.pins == ()


def test_other_images_clear_pins_and_undo_while_another_truth_asks_again(ready, rest):
    ready.probes.pin("a", 1.0, 2.0)
    rest()
    state = ready.models.pair.state
    ready.session.calls.clear()
    ready.models.pair.set_pair(replace(state, pair=replace(PAIR, truth=None), truth=None))
    rest()
    assert [request.pair.truth for (request,) in ready.session.of("probe")] == [None]
    ready.models.pair.set_pair(state_of(OTHER))
    rest()
    assert ready.models.pins.pins == ()
    assert not ready.probes.undo_stack.canUndo()


def test_queries_follow_their_settings_and_no_others(ready, rest):
    ready.probes.hover("a", 3.0, 4.0)
    rest()
    ready.session.calls.clear()
    ready.models.settings.update(opacity=0.1)
    rest()
    assert ready.session.calls == []
    ready.models.settings.update(peaks=9)
    rest()
    assert [request.peaks for (request,) in ready.session.of("probe")] == [9]


def test_the_query_s_own_image_is_searched_while_that_is_shown(ready, rest):
    ready.probes.hover("a", 3.0, 4.0)
    ready.probes.pin("a", 5.0, 6.0)
    rest()
    assert {request.exclude_px for (request,) in ready.session.of("probe")} == {None}
    for changes, expected in (({"self_similarity": True}, 32.0), ({"mode": "image"}, None)):
        ready.session.calls.clear()
        ready.models.view.update(**changes)
        rest()
        asked = [request.exclude_px for (request,) in ready.session.of("probe")]
        assert asked == ([expected] * 2 if expected is not None else [])
    ready.session.calls.clear()
    ready.models.settings.update(exclude_px=7.0)
    rest()
    assert [request.exclude_px for (request,) in ready.session.of("probe")] == [7.0, 7.0]
    ready.models.view.update(self_similarity=False)
    rest()
    assert ready.session.of("probe")[-1][0].exclude_px is None


def test_the_compared_descriptor_searches_the_other_image_alone(ready, rest):
    ready.models.view.update(self_similarity=True)
    ready.models.compared[0].choose(DescriptorChoice("net"))
    rest()
    ready.probes.hover("a", 3.0, 4.0)
    rest()
    asked = {request.recipe.spec[0]: request.exclude_px for (request,) in ready.session.of("probe")}
    assert asked == {"daisy": 32.0, "net": None}


def test_maps_that_fell_out_of_memory_are_described_again(ready, rest):
    ready.session.maps.clear()
    ready.session.problem = DescSpaceError("The maps are gone.")
    ready.probes.hover("a", 3.0, 4.0)
    ready.session.calls.clear()
    rest()
    assert ready.session.of("describe")
    assert "The maps are gone." not in ready.notified or ready.stages() == ("failed", "failed")


# Pictures


@pytest.mark.parametrize("mode", ["pca", "overlay"])
def test_pca_colours_are_computed_once_for_both_modes(ready, rest, mode):
    ready.models.view.update(mode=mode)
    rest()
    ready.models.view.update(mode="pca" if mode == "overlay" else "overlay")
    rest()
    assert len(ready.session.of("pca")) == 1
    assert ready.models.pictures.state.pca.request.pair is PAIR
    assert ready.models.pictures.state.busy == ""


def test_colours_follow_a_slider_without_waiting_for_it_to_rest(ready, qtbot, rest):
    """Each picture that was begun is shown; of the colours chosen meanwhile, the last."""
    shown: list[float | None] = []
    ready.models.view.update(mode="pca")
    rest()
    ready.session.calls.clear()
    ready.session.gate.clear()
    ready.models.pictures.changed.connect(
        lambda state: shown.append(state.pca.request.colouring.foreground)
    )
    for place in (0.1, 0.2, 0.3):
        ready.models.view.update(pca_colouring=api.Colouring(foreground=place))
        qtbot.waitUntil(lambda: len(ready.session.of("pca")) == 1, timeout=WAIT_MS)
    ready.session.gate.set()
    rest()
    asked = [request.colouring.foreground for (request,) in ready.session.of("pca")]
    assert asked == [0.1, 0.3]
    assert shown.index(0.1) < shown.index(0.3)
    assert shown[-1] == 0.3


def test_a_basis_is_fitted_on_all_images_of_the_open_folder_with_progress(ready, qtbot, rest):
    groups = tuple(
        api.PairGroup(
            name,
            tuple(
                api.ImagePair(
                    Path(f"{first}.png"), Path(f"{first + k}.png"), sequence=name, index=k
                )
                for k in (1, 2)
            ),
        )
        for name, first in (("one", 1), ("two", 7))
    )
    ready.models.view.update(mode="pca", pca_fit="all")
    rest()
    assert ready.session.of("pca")[-1][0].fit == "both"  # no folder is open
    ready.models.browser.set_dataset(a_set(Path(), *groups))
    ready.session.gate.clear()
    ready.models.view.update(pca_level=0, arrangement="stacked")
    words = "images for the PCA basis: 1 of 3"
    qtbot.waitUntil(lambda: ready.models.pictures.state.busy == words, timeout=WAIT_MS)
    ready.session.gate.set()
    rest()
    request = ready.session.of("pca")[-1][0]
    assert request.fit == "all"
    places = [(pair.path(side).name, side) for pair, side in request.images]
    assert sorted(places) == [
        ("1.png", "a"), ("2.png", "b"), ("3.png", "b"),
        ("7.png", "a"), ("8.png", "b"), ("9.png", "b"),
    ]  # fmt: skip
    assert all(pair is PAIR for pair, side in request.images if pair.path(side).name == "1.png")


def test_a_saved_basis_is_used_and_the_one_in_use_is_saved(ready, rest, tmp_path):
    ready.models.view.update(mode="pca")
    ready.pictures.use_basis(tmp_path / "basis.npz")
    rest()
    request = ready.session.of("pca")[-1][0]
    assert (request.fit, request.basis_file) == ("file", tmp_path / "basis.npz")
    ready.pictures.save_basis(tmp_path / "out.npz")
    rest()
    assert ready.session.of("save_basis")[0][1] == tmp_path / "out.npz"
    assert "The PCA basis is saved." in ready.notified


def test_another_descriptor_clears_the_pictures_and_makes_new_ones(ready, rest):
    ready.models.view.update(mode="cycle")
    rest()
    assert ready.models.pictures.state.cycle_b == "b"
    ready.session.gate.clear()
    ready.models.maps.choose(DescriptorChoice("net"))
    assert ready.models.pictures.state.cycle_a is None
    ready.session.gate.set()
    rest()
    assert {recipe.spec[0] for _pair, recipe, _side in ready.session.of("cycle")[2:]} == {"net"}


def test_modes_that_cannot_be_shown_say_why(ready, rest):
    ready.models.view.update(mode="members")
    assert "not a set" in ready.models.pictures.state.problem
    ready.models.pair.set_pair(state_of(OTHER))
    ready.models.view.update(mode="warp")
    rest()
    assert "homography" in ready.models.pictures.state.problem
    ready.models.view.update(mode="error")
    assert "needs truth all over the images" in ready.models.pictures.state.problem
    assert ready.session.of("errors") == []
    ready.models.view.update(mode="image")
    assert ready.models.pictures.state.problem == ""


def test_errors_are_mapped_for_both_images_by_a_dense_truth_alone(ready, rest):
    ready.models.view.update(mode="error")
    rest()
    pictures = ready.models.pictures.state
    assert (pictures.errors_a, pictures.errors_b) == ("a", "b")
    listed = api.HeldPointsSource(((1.0, 1.0, 2.0, 2.0),))
    ready.models.pair.set_pair(state_of(replace(PAIR, truth=listed)))
    rest()
    assert ready.models.pictures.state.errors_a is None
    assert "there is a list of points" in ready.models.pictures.state.problem


def test_matches_are_made_anew_by_another_truth_and_not_of_other_images(ready, rest):
    ready.matches.run()
    rest()
    state = ready.models.pair.state
    ready.models.pair.set_pair(replace(state, pair=replace(PAIR, truth=None), truth=None))
    rest()
    assert [request.pair.truth for (request,) in ready.session.of("match")][1:] == [None]
    ready.models.pair.set_pair(state_of(OTHER))
    rest()
    assert len(ready.session.of("match")) == 2


def test_norms_are_asked_for_both_images_and_again_for_another_layer(on_network, rest):
    on_network.models.view.update(mode="norms")
    rest()
    pictures = on_network.models.pictures.state
    assert (pictures.norms_a, pictures.norms_b) == ("a", "b")
    go_to(on_network, "timm:net@1")
    rest()
    layers = [recipe.spec[0] for _pair, recipe, _side in on_network.session.of("norms")]
    assert layers[0] == "timm:net"
    assert layers[-2:] == ["timm:net@1", "timm:net@1"]


def test_warps_need_no_descriptor(world, rest):
    world.models.pair.set_pair(state_of(PAIR))
    world.models.view.update(mode="warp")
    rest()
    assert world.models.pictures.state.warped_a.shape == PIXELS.shape


def test_a_picture_that_ends_after_another_pair_was_opened_is_not_shown(ready, rest):
    ready.models.view.update(mode="cycle")
    let_work_end_unheard(ready.lane)
    ready.models.pair.set_pair(state_of(OTHER))
    ready.models.view.update(mode="image")
    rest()
    assert ready.models.pictures.state.cycle_a is None
    assert ready.models.pictures.state.busy == ""
    ready.models.view.update(mode="cycle")
    rest()
    assert ready.models.pictures.state.cycle_a == "a"


def test_colours_that_end_after_their_descriptor_was_taken_away_are_not_shown(
    ready, rest, qtbot, monkeypatch
):
    ready.models.view.update(mode="pca")
    rest()
    model = ready.models.compared[0]
    hold = threading.Event()
    colour = ready.session.pca
    monkeypatch.setattr(ready.session, "pca", lambda *asked: hold.wait(5) and colour(*asked))
    model.choose(DescriptorChoice("net"))
    qtbot.waitUntil(lambda: model.ready and ready.lane.busy, timeout=WAIT_MS)
    hold.set()
    let_work_end_unheard(ready.lane)
    model.choose(DescriptorChoice())
    rest()
    assert dict(ready.models.pictures.state.pca_compared) == {}
    assert ready.models.pictures.state.busy == ""


def test_a_failed_picture_says_why_and_can_be_asked_for_again(ready, rest):
    ready.session.problem = DescSpaceError("Too few cells.")
    ready.models.view.update(mode="pca")
    rest()
    assert ready.models.pictures.state.problem == "Too few cells."
    ready.models.view.update(linked=True)  # asks again, and says the same
    rest()
    logged = [message.text for message in ready.models.messages.messages]
    assert logged.count("Too few cells.") == 1
    ready.session.problem = None
    ready.pictures.refresh()
    rest()
    assert ready.models.pictures.state.problem == ""
    assert ready.models.pictures.state.pca is not None


# Matches


def test_matching_waits_for_the_maps_and_asks_for_what_is_set(world, rest):
    world.models.matches.update(points="grid", count=7, seed=3)
    world.models.pair.set_pair(state_of(PAIR))
    world.session.gate.clear()
    world.models.maps.choose(DescriptorChoice("daisy"))
    world.matches.run()
    assert world.session.of("match") == []
    world.session.gate.set()
    rest()
    ((request,),) = world.session.of("match")
    assert (request.points, request.count, request.seed) == ("grid", 7, 3)
    assert world.models.matches.state.table.request is request
    assert not world.models.matches.state.running


@pytest.mark.parametrize(
    "change",
    [
        lambda models: models.maps.choose(DescriptorChoice("net")),
        lambda models: models.settings.update(precision="float16"),
    ],
)
def test_shown_matches_are_run_again_when_the_maps_change(ready, rest, change):
    ready.matches.run()
    rest()
    before = ready.session.of("match")[0][0].recipe
    change(ready.models)
    assert ready.models.matches.state.table is None
    rest()
    assert ready.models.matches.state.table.request.recipe != before
    assert len(ready.session.of("match")) == 2


def test_without_matches_nothing_is_run_when_the_maps_change(ready, rest):
    ready.models.maps.choose(DescriptorChoice("net"))
    rest()
    assert ready.session.of("match") == []


def test_another_pair_clears_the_matches_and_does_not_match_it(ready, rest):
    ready.matches.run()
    rest()
    ready.models.pair.set_pair(state_of(OTHER))
    rest()
    assert ready.models.matches.state.table is None
    assert len(ready.session.of("match")) == 1


def test_matches_that_end_after_another_pair_was_opened_are_not_shown(ready, rest):
    ready.matches.run()
    let_work_end_unheard(ready.lane)
    ready.models.pair.set_pair(state_of(OTHER))
    rest()
    assert ready.models.matches.state.table is None
    assert not ready.models.matches.state.running


def test_a_failed_or_stopped_match_is_no_longer_running(ready, qtbot, rest):
    ready.session.problem = DescSpaceError("No corner was found.")
    ready.matches.run()
    rest()
    assert not ready.models.matches.state.running
    assert "No corner was found." in ready.notified
    ready.session.problem = None
    ready.session.gate.clear()
    ready.matches.run()
    qtbot.waitUntil(lambda: len(ready.session.of("match")) == 2, timeout=WAIT_MS)
    ready.matches.cancel()
    ready.session.gate.set()
    rest()
    assert not ready.models.matches.state.running
    assert ready.models.matches.state.table is None


# Layers of a network


@pytest.fixture
def on_network(ready, rest):
    """The pair, described by the last layer of a network."""
    ready.maps.choose(ready.models.maps, DescriptorChoice("timm:net"))
    rest()
    ready.session.calls.clear()
    return ready


def go_to(world: World, name: str, **values: Any) -> None:
    world.maps.choose(world.models.maps, DescriptorChoice(name, values))


def test_the_other_layers_are_described_once_somebody_looks_at_a_second_one(on_network, rest):
    shares: list[float | None] = []
    on_network.models.maps.preparing_changed.connect(shares.append)
    assert on_network.session.of("describe_layers") == []
    go_to(on_network, "timm:net@1")
    rest()
    asked = on_network.session.of("describe_layers")
    assert [path for path, _recipe in asked] == [PAIR.path_a, PAIR.path_b]
    assert shares == [0.25, 0.75, None]
    go_to(on_network, "timm:net@0")
    rest()
    assert len(on_network.session.of("describe_layers")) == 2, "they are there already"


def test_other_settings_need_the_layers_anew_and_another_network_none(on_network, rest):
    go_to(on_network, "timm:net@1")
    rest()
    go_to(on_network, "timm:net@1", facet="key")
    rest()
    assert len(on_network.session.of("describe_layers")) == 4
    go_to(on_network, "timm:other")
    rest()
    go_to(on_network, "timm:other", facet="key")
    rest()
    assert len(on_network.session.of("describe_layers")) == 4


def test_a_layer_that_is_missing_is_described_before_the_others(on_network, qtbot, rest):
    session = on_network.session
    describe_layers, begun = session.describe_layers, threading.Event()

    def describe_slowly(*_args: Any) -> int:
        context = _args[-1]
        begun.set()
        while not threading.Event().wait(0.01):
            context.cancel.check()
        return 0

    session.describe_layers = describe_slowly
    go_to(on_network, "timm:net@1")
    qtbot.waitUntil(begun.is_set, timeout=WAIT_MS)
    session.calls.clear()
    session.describe_layers = describe_layers
    go_to(on_network, "timm:net@0")
    rest()
    names = [call[0] for call in session.calls]
    assert names == ["describe", "describe", "describe_layers", "describe_layers"]
    assert on_network.stages() == ("ready", "ready")


def test_layers_that_cannot_be_described_disturb_nobody(on_network, rest):
    def fail(*_args: Any) -> int:
        raise DescSpaceError("No cell fits.")

    on_network.notified.clear()
    on_network.session.describe_layers = fail
    shares: list[float | None] = []
    on_network.models.maps.preparing_changed.connect(shares.append)
    go_to(on_network, "timm:net@1")
    rest()
    assert "No cell fits." not in on_network.notified
    assert on_network.stages() == ("ready", "ready")
    assert shares[-1] is None


def test_pca_colours_change_without_a_gap_between_layers_that_are_there(on_network, rest):
    world = on_network
    world.models.view.update(mode="pca")
    go_to(world, "timm:net@1")
    rest()
    pictures = []
    world.models.pictures.changed.connect(lambda state: pictures.append(state.pca))
    go_to(world, "timm:net")
    rest()
    assert pictures
    assert None not in pictures
    assert pictures[-1].request.recipe.spec[0] == "timm:net"
    pictures.clear()
    go_to(world, "daisy")
    rest()
    assert None in pictures
    go_to(world, "timm:net")
    rest()
    pictures.clear()
    go_to(world, "timm:net@3")
    rest()
    assert None in pictures, "these maps had to be made first"
