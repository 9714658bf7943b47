"""Descriptors that look at both images: which steps run, how often, and their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from engine.cli.commands.match import as_text
from engine.data.pairs import ImagePair
from engine.descriptors import registry
from engine.descriptors.base import Choice, DescriptorMap, Levels, Member
from engine.descriptors.compute import describe_image
from engine.descriptors.pairing import PairImage, describe_blank, describe_both
from engine.descriptors.registry import DescriptorEntry, DescriptorSpec
from engine.descriptors.tensors import unit_length
from engine.errors import JobCancelled
from engine.geometry.coords import CellGrid
from engine.images import write_image
from engine.inspection.requests import MatchRequest, PcaRequest, Recipe
from engine.inspection.session import Session
from engine.jobs.match import MatchJob
from engine.progress import JobContext, Note, Phase, Stage
from engine.vocabulary import SIDES, Side

GRID = CellGrid(1.0, 0.0)


@dataclass
class ByBrightness:
    """Chooses image a's members by how much brighter image b is, and records its calls."""

    dim: int = 3
    shift_period_px: int = 1
    trained: bool = True
    half_precision: bool = False
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def describe(self, images: Tensor) -> Levels:
        self.asked.append(("alone", None))
        return (DescriptorMap(images, GRID),)

    def look(self, images: Tensor, side: Side, check: Callable[[], None]) -> float:
        check()
        self.asked.append(("look", side))
        return float(images.mean())

    def choose(self, look_a: float, look_b: float) -> Choice:
        steps = round(10 * (look_b - look_a))
        weak_vote = "It is too dark." if look_a + look_b < 0.3 else ""
        members_a = (Member(1.0), Member(1.0 + steps))
        return Choice(members_a, (Member(0.5),), f"{steps} steps", weak_vote)

    def describe_members(
        self, images: Tensor, members: tuple[Member, ...], look: float, check: Callable[[], None]
    ) -> Levels:
        check()
        assert look == float(images.mean())
        self.asked.append(("members", members))
        values = unit_length(images)
        return tuple(DescriptorMap(values, GRID, member) for member in members)


@dataclass(frozen=True)
class NoSettings:
    pass


def shade(value: float) -> NDArray[np.float32]:
    return np.full((16, 20, 3), value, np.float32)


def pair_image(descriptor: Any, value: float, side: Side) -> PairImage:
    return PairImage(
        descriptor=descriptor, pixels=shade(value), side=side, device="cpu", precision="float32"
    )


def test_an_image_is_looked_at_once_and_each_member_described_once():
    descriptor = ByBrightness()
    first = pair_image(descriptor, 0.1, "a")
    for value in (0.3, 0.5, 0.3):
        second = pair_image(descriptor, value, "b")
        both = describe_both(first, second, JobContext())
        levels_a, levels_b = (made.levels for made in both)
        members = [level.member for level in levels_a]
        assert members == [Member(1.0), Member(1.0 + round(10 * (value - 0.1)))]
        assert [level.member for level in levels_b] == [Member(0.5)]
    assert descriptor.asked.count(("look", "a")) == 1
    of_a = [
        what for kind, what in descriptor.asked if kind == "members" and Member(0.5) not in what
    ]
    assert of_a == [(Member(1.0), Member(3.0)), (Member(5.0),)]


def test_an_ordinary_descriptor_is_not_asked_about_pairs():
    class Alone:
        dim, shift_period_px, trained, half_precision = 3, 1, True, False

        def describe(self, images: Tensor) -> Levels:
            return (DescriptorMap(images, GRID),)

    def no_partner() -> PairImage:
        raise AssertionError("the other image is of no use")

    first = pair_image(Alone(), 0.5, "a")
    once = first.describe(no_partner, JobContext())
    assert once.chosen == ""
    assert first.describe(no_partner, JobContext()).levels is once.levels
    with pytest.raises(ValueError, match="only a pair descriptor takes members"):
        describe_image(Alone(), shade(0.5), device="cpu", precision="float32", members=(Member(),))


def test_a_blank_pair_tells_how_many_maps_there_will_be():
    assert len(describe_blank(ByBrightness(), 32, device="cpu", precision="float32")) == 2


def test_looking_can_be_cancelled():
    descriptor, context = ByBrightness(), JobContext()
    context.cancel.cancel()
    with pytest.raises(JobCancelled):
        describe_both(pair_image(descriptor, 0.5, "a"), pair_image(descriptor, 0.5, "b"), context)
    assert descriptor.asked == []


def test_a_pair_chooses_once_for_both_its_images():
    class Counting(ByBrightness):
        def choose(self, look_a: float, look_b: float) -> Choice:
            self.asked.append(("choose", (look_a, look_b)))
            return super().choose(look_a, look_b)

    descriptor = Counting()
    first, second = pair_image(descriptor, 0.1, "a"), pair_image(descriptor, 0.3, "b")
    for _ in range(2):
        made = second.describe(lambda: first, JobContext())
        assert made.chosen == "2 steps"
        assert [level.member for level in made.levels] == [Member(0.5)]
        first.describe(lambda: second, JobContext())
    assert [kind for kind, _ in descriptor.asked].count("choose") == 1


def test_maps_that_the_caller_keeps_are_not_kept_twice():
    descriptor = ByBrightness()
    first, second = pair_image(descriptor, 0.1, "a"), pair_image(descriptor, 0.3, "b")
    second.keep_maps = False
    for _ in range(2):
        describe_both(first, second, JobContext())
    described = [what for kind, what in descriptor.asked if kind == "members"]
    assert described == [(Member(1.0), Member(3.0)), (Member(0.5),), (Member(0.5),)]


# ---- in a session ------------------------------------------------------------------------------


@pytest.fixture
def descriptor(monkeypatch: pytest.MonkeyPatch) -> ByBrightness:
    one = ByBrightness()
    entry = DescriptorEntry("by-pair", "by-pair", "", NoSettings, lambda _: one, "a test", True)
    monkeypatch.setitem(registry._ENTRIES, "by-pair", entry)
    return one


def pictures(folder: Path, values: dict[str, float]) -> dict[str, Path]:
    paths = {}
    for name, value in values.items():
        paths[name] = folder / f"{name}.png"
        write_image(paths[name], np.full((16, 20, 3), round(255 * value), np.uint8))
    return paths


def test_maps_in_a_session_depend_on_the_partner_but_looks_do_not(
    descriptor: ByBrightness, tmp_path: Path
):
    files = pictures(tmp_path, {"one": 0.1, "two": 0.3, "three": 0.5})
    recipe = Recipe(spec=DescriptorSpec("by-pair"), device="cpu")
    session, told = Session(), []
    context = JobContext(emit=told.append)
    near = ImagePair(files["one"], files["two"], None)
    far = ImagePair(files["one"], files["three"], None)
    for pair, text in ((near, "2 steps"), (far, "4 steps"), (near, "2 steps")):
        info = session.describe(pair, "a", recipe, context)
        assert info.chosen == text
        assert info.levels == 2
        assert session.describe(pair, "b", recipe, context).levels == 1
    assert [what for kind, what in descriptor.asked if kind == "look"] == ["a", "b", "b"]
    assert [event.text for event in told if isinstance(event, Note)] == ["2 steps", "4 steps"]
    assert session.described(far, "a", recipe) is not None
    session.forget(files["three"])
    assert session.described(far, "a", recipe) is None
    assert session.described(near, "a", recipe) is not None


def test_a_weak_vote_is_told_in_place_of_what_it_voted_for(
    descriptor: ByBrightness, tmp_path: Path
):
    files = pictures(tmp_path, {"dark": 0.1, "darker": 0.0, "light": 0.9})
    recipe = Recipe(spec=DescriptorSpec("by-pair"), device="cpu")
    session, told = Session(), []
    context = JobContext(emit=told.append)
    for other, weak in (("darker", "It is too dark."), ("light", "")):
        pair = ImagePair(files["dark"], files[other], None)
        for side in SIDES:
            assert session.describe(pair, side, recipe, context).weak_vote == weak
        request = MatchRequest(pair=pair, recipe=recipe, points="grid", count=4)
        text = as_text(MatchJob(request=request).run(JobContext()), pair)
        assert f"vote    {weak or '8 steps'}\n" in text
    notes = [event for event in told if isinstance(event, Note)]
    assert [note.text for note in notes] == ["It is too dark.", "8 steps"]


def test_a_picture_that_changed_is_looked_at_again(descriptor: ByBrightness, tmp_path: Path):
    files = pictures(tmp_path, {"one": 0.1, "two": 0.3})
    recipe = Recipe(spec=DescriptorSpec("by-pair"), device="cpu")
    pair, session = ImagePair(files["one"], files["two"], None), Session()
    assert session.describe(pair, "a", recipe, JobContext()).chosen == "2 steps"
    write_image(files["two"], np.full((17, 20, 3), 153, np.uint8))
    assert session.describe(pair, "a", recipe, JobContext()).chosen == "5 steps"


def test_colours_of_a_level_that_one_image_lacks_are_those_of_its_last(
    descriptor: ByBrightness, tmp_path: Path
):
    values = np.random.default_rng(0).integers(0, 255, (2, 16, 20, 3), dtype=np.uint8)
    for name, pixels in zip(("one", "two"), values, strict=True):
        write_image(tmp_path / f"{name}.png", pixels)
    recipe = Recipe(spec=DescriptorSpec("by-pair"), device="cpu")
    session = Session()
    pair = ImagePair(tmp_path / "one.png", tmp_path / "two.png", None)
    for side in ("a", "b"):
        session.describe(pair, side, recipe, JobContext())
    answer = session.pca(PcaRequest(pair=pair, recipe=recipe, fit="both", level=1))
    assert answer.a.pixels.shape == answer.b.pixels.shape == (16, 20, 3)


def test_each_part_of_describing_a_pair_is_told_when_it_begins():
    descriptor = ByBrightness()
    events: list[Any] = []
    context = JobContext(emit=events.append)
    describe_both(pair_image(descriptor, 0.1, "a"), pair_image(descriptor, 0.3, "b"), context)
    phases = [event.stage for event in events if isinstance(event, Phase)]
    looked = [Stage.LOOKING, Stage.LOOKING, Stage.VOTING]
    assert phases == [*looked, Stage.DESCRIBING, Stage.DESCRIBING]
