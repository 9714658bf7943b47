"""The maps of a network's other layers, made in one pass and kept while there is room."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.data.pairs import ImagePair
from engine.descriptors import registry
from engine.descriptors.base import ExpectedInput, LayeredDescriptor
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
    Layer,
)
from engine.descriptors.model_names import ModelName, network_of
from engine.descriptors.registry import FamilyEntry, make_spec
from engine.errors import DescSpaceError, JobCancelled
from engine.images import read_image, write_image
from engine.inspection.requests import Extent, ProbeRequest, Recipe
from engine.inspection.session import Session
from engine.progress import CancelToken, JobContext, Progress, Stage

DIM = 6
SIZE_PX = (64, 48)
ONE_MAP_BYTES = 4 * (DIM + 2) * 16 * 12  # cells every 4 px, and where they lie


class Blocks(FeatureNetwork):
    """Patches, then three convolutions of 1 × 1; counts the passes and what was asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self.architecture = "blocks"
        self.layers = (
            Layer("patches", 4.0, DIM),
            *(Layer(f"block {number}", 4.0, DIM, facets=True) for number in range(3)),
        )
        self.expects = ExpectedInput((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
        self.multiple_px = 4
        self.trained = False
        self.asked: list[tuple[int, ...]] = []
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.embed = nn.Conv2d(3, DIM, 4, 4)
            self.blocks = nn.ModuleList(nn.Conv2d(DIM, DIM, 1) for _ in range(3))

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        if inputs.shape[2:] == SIZE_PX[::-1]:
            self.asked.append(tuple(layers))
        outputs = [self.embed(inputs)]
        for block in self.blocks:
            outputs.append(torch.tanh(block(outputs[-1])) + (0.5 if norm else 0.0))
        sign = -1 if facet == "key" else 1
        return tuple(sign * outputs[one] for one in layers)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, fresh_home: Path) -> Blocks:
    registry.list_descriptors()
    made = Blocks()

    def build(name: ModelName, config: BackboneConfig) -> BackboneDescriptor:
        return BackboneDescriptor(name, made, config)

    entry = FamilyEntry("blocks", "Blocks", "", BackboneConfig, build, lambda *_: "")
    monkeypatch.setitem(registry._FAMILIES, "blocks", entry)
    return made


@pytest.fixture
def pair(tmp_path: Path) -> ImagePair:
    paths = []
    for number, name in enumerate("ab"):
        noise = np.random.default_rng(number).integers(0, 255, (*SIZE_PX[::-1], 3), np.uint8)
        paths.append(tmp_path / f"{name}.png")
        write_image(paths[-1], noise)
    return ImagePair(*paths)


def recipe(layers: str = "", **values: object) -> Recipe:
    return Recipe(spec=make_spec(f"blocks:net{layers}", values), device="cpu")


def vectors(session: Session, pair: ImagePair, how: Recipe) -> Tensor:
    from engine.inspection.store import MapKey

    found = session._maps.get(MapKey.of(pair, "a", how))
    assert found is not None
    return found.levels[0].vectors


@pytest.mark.parametrize(
    "values", [{}, {"norm": False}, {"denser": 2}, {"remove_position": 2}, {"facet": "key"}]
)
def test_other_layers_are_the_maps_that_describing_by_each_alone_gives(network, pair, values):
    session, alone = Session(), Session()
    session.describe(pair, "a", recipe(**values), JobContext())
    made = session.describe_layers(pair, "a", recipe(**values), JobContext())
    names = ["@1", "@2"] if "facet" in values else ["@0", "@1", "@2"]
    assert made == len(names)
    for name in names:
        how = recipe(name, **values)
        info = session.described(pair, "a", how)
        direct = alone.describe(pair, "a", how, JobContext())
        assert info is not None
        assert info.network == direct.network
        assert (info.cells, info.stride_px, info.dim) == (
            direct.cells,
            direct.stride_px,
            direct.dim,
        )
        torch.testing.assert_close(
            vectors(session, pair, how), vectors(alone, pair, how), atol=1e-5, rtol=0
        )


def test_one_pass_describes_all_that_is_missing(network, pair):
    session = Session()
    session.describe(pair, "a", recipe("@1"), JobContext())
    network.asked.clear()
    assert session.describe_layers(pair, "a", recipe("@1"), JobContext()) == 3
    assert network.asked == [(0, 2, 3)]
    assert session.describe_layers(pair, "a", recipe("@1"), JobContext()) == 0
    assert session.describe_layers(pair, "a", recipe(), JobContext()) == 0, "@3 is the last one"
    assert len(network.asked) == 1
    for side in ("a", "b"):
        session.describe(pair, side, recipe("@2"), JobContext())
    answer = session.probe(
        ProbeRequest(pair=pair, recipe=recipe("@2"), side="a", point_px=(20.0, 20.0))
    )
    assert answer.peaks


def test_where_room_is_short_the_nearest_layers_are_described_and_nothing_else_leaves(
    network, pair
):
    session = Session(map_budget_bytes=5 * ONE_MAP_BYTES)
    for side in ("a", "b"):
        session.describe(pair, side, recipe("@1"), JobContext())
    assert session.describe_layers(pair, "a", recipe("@1"), JobContext()) == 2
    there = [session.described(pair, "a", recipe(f"@{one}")) is not None for one in range(3)]
    assert there == [True, True, True]
    assert session.described(pair, "a", recipe()) is None
    assert session.described(pair, "b", recipe("@1")) is not None


def test_other_layers_leave_before_the_maps_that_are_shown(network, pair):
    session = Session(map_budget_bytes=5 * ONE_MAP_BYTES)
    for side in ("a", "b"):
        session.describe(pair, side, recipe("@1"), JobContext())
    for side in ("a", "b"):
        assert session.describe_layers(pair, side, recipe("@1"), JobContext()) == 2
    assert session.described(pair, "a", recipe("@1")) is not None
    assert session.described(pair, "a", recipe("@0")) is None
    assert session.described(pair, "b", recipe("@0")) is not None


def test_progress_is_told_layer_by_layer_and_it_can_be_stopped_while_grids_are_measured(
    network, pair
):
    session, events = Session(), []
    session.describe(pair, "a", recipe(), JobContext())
    cancel = CancelToken()

    def stop(event) -> None:
        events.append(event)
        if len(events) == 2:
            cancel.cancel()

    with pytest.raises(JobCancelled):
        session.describe_layers(pair, "a", recipe(), JobContext(emit=stop, cancel=cancel))
    assert events == [Progress(Stage.PREPARING_LAYERS, done, 3) for done in (0, 1)]
    events.clear()
    cancel = CancelToken()
    context = JobContext(emit=events.append, cancel=cancel)
    assert session.describe_layers(pair, "a", recipe(), context) == 3
    assert events[-1] == Progress(Stage.PREPARING_LAYERS, 3, 3)


def test_measuring_a_grid_stops_when_it_is_told_to(network):
    descriptor = BackboneDescriptor(ModelName("blocks", "net"), network, BackboneConfig())
    assert isinstance(descriptor, LayeredDescriptor)
    passes = []

    def stop() -> None:
        passes.append(1)
        if len(passes) == 2:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        descriptor.can_describe_by(0, stop)
    assert len(passes) == 2
    assert descriptor.can_describe_by(0, lambda: None)
    keys = BackboneDescriptor(ModelName("blocks", "net"), network, BackboneConfig(facet="key"))
    assert not keys.can_describe_by(0, functools.partial(pytest.fail, "nothing is measured"))


def test_a_descriptor_without_layers_has_no_others(pair):
    session = Session()
    how = Recipe(spec=make_spec("daisy"), device="cpu")
    session.describe(pair, "a", how, JobContext())
    assert session.describe_layers(pair, "a", how, JobContext()) == 0
    assert session.describe(pair, "a", how, JobContext()).network is None


def test_what_is_known_of_a_network_goes_with_its_maps(network, pair):
    info = Session().describe(pair, "a", recipe("@1,2"), JobContext()).network
    assert info is not None
    assert [layer.name for layer in info.layers] == ["patches", "block 0", "block 1", "block 2"]
    assert info.chosen == (1, 2)
    assert info.stride_px == pytest.approx((4.0, 4.0))
    assert info.offset_px == pytest.approx((1.5, 1.5), abs=0.01)
    assert 0 <= info.error_px < 0.01


def test_the_last_layer_has_the_name_without_a_number():
    name = network_of("timm:net@2")
    assert name is not None
    assert [str(name.at_number(one, 4)) for one in (0, 2, 3)] == [
        "timm:net@0",
        "timm:net@2",
        "timm:net",
    ]


def test_norms_are_those_of_the_networks_own_vectors_and_outliers_are_found(network, pair):
    usual = network.features
    loud = torch.zeros(12, 16)
    loud[3, 7] = 1.0

    def features(inputs, layers, *, facet, norm):
        outputs = usual(inputs, layers, facet=facet, norm=norm)
        if inputs.shape[2:] != SIZE_PX[::-1]:
            return outputs
        return tuple(one * (1 + 99 * loud) for one in outputs)

    network.features = features
    answer = Session().norms(pair, "a", recipe("@1,2", norm=False), JobContext())
    assert answer.layer == "block 1"
    pixels = torch.from_numpy(read_image(pair.path_a).pixels / np.float32(255))
    pixels = pixels.permute(2, 0, 1)[None]
    expected = network.features(pixels - 0.5, (2,), facet="token", norm=False)[0][0].detach()
    for row, column in ((0, 0), (3, 7), (11, 15)):
        length = float(sum(float(one) ** 2 for one in expected[:, row, column])) ** 0.5
        assert answer.norms.values[row, column] == pytest.approx(length, rel=1e-4)
    assert np.argwhere(answer.high).tolist() == [[3, 7]]
    assert answer.norms.extent == Extent(-0.5, -0.5, 63.5, 47.5)


def test_norms_of_a_descriptor_without_layers_are_refused_in_a_sentence(pair):
    how = Recipe(spec=make_spec("daisy"), device="cpu")
    with pytest.raises(DescSpaceError, match="unit length"):
        Session().norms(pair, "a", how, JobContext())
