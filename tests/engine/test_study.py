"""A study: the best layer of a network whose layers are known, and its files."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.cli.command import options_from
from engine.cli.parser import build_parser, parse
from engine.cli.run import main
from engine.descriptors import registry
from engine.descriptors.base import ExpectedInput
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
    Layer,
)
from engine.descriptors.model_names import ModelName
from engine.descriptors.registry import FamilyEntry
from engine.descriptors.tensors import unit_length
from engine.errors import ConfigError, DeviceError, JobCancelled, OutputError
from engine.evaluation import study_layers
from engine.evaluation.datasets import open_evaluation_set
from engine.evaluation.result import EvaluationResult, SummaryRow
from engine.evaluation.study import StudyResult, spread_pairs
from engine.jobs.command_line import ViewOptions
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig, StudyConfig
from engine.jobs.study import StudyJob, choose_study
from engine.progress import CancelToken, Event, JobContext, Progress, Stage

SIZE_PX = (128, 96)
STRIDE_PX = 4
SHIFT_PX = (12, 8)  # whole cells, so that the right layer finds exactly the same vectors again
DIM = 3 * STRIDE_PX**2
NAMES = ("place", "noise", "patch", "coded", "long")


class LayeredNetwork(FeatureNetwork):
    """Layers of known worth, each of another kind; the last one holds one long vector.

    A code of the place, noise, the patch itself, the patch with a code,
    and the patch with a long vector, which the last normalisation hides.
    """

    trained = True

    def __init__(self) -> None:
        super().__init__()
        self.architecture = "layered"
        blocks = ("coded", "long")
        self.layers = tuple(Layer(name, float(STRIDE_PX), DIM, name in blocks) for name in NAMES)
        self.expects = ExpectedInput((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
        self.multiple_px = STRIDE_PX
        self.unshuffle = nn.PixelUnshuffle(STRIDE_PX)
        self.passes = 0

    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        self.passes += 1
        patch = self.unshuffle(inputs)
        rows, columns = patch.shape[2:]
        place = torch.zeros_like(patch)
        # Directions of their own, which no patch has, tell the place.
        place[:, 0] = torch.linspace(-1, 1, columns)
        place[:, 1] = torch.linspace(-1, 1, rows)[:, None]
        place[:, 2] = 1.0
        # Other numbers for every image, which follow from all of its pixels.
        noise = torch.sin(1e5 * patch * (1 + patch.mean()))
        longer = torch.ones(rows, columns)
        longer[3, 4] = 50
        long = unit_length(patch) if norm else patch * longer
        outputs = [place, noise, patch, patch + 8 * place, long]
        return tuple(outputs[one] for one in layers)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, fresh_home: Path) -> LayeredNetwork:
    """The network, registered as the only model of a family."""
    made = LayeredNetwork()

    def build(name: ModelName, config: BackboneConfig) -> BackboneDescriptor:
        return BackboneDescriptor(name, made, config)

    registry.list_families()
    entry = FamilyEntry("layered", "Layered", "", BackboneConfig, build, lambda *_: "random")
    monkeypatch.setitem(registry._FAMILIES, "layered", entry)
    yield_grid(made)
    return made


def yield_grid(network: LayeredNetwork) -> None:
    """Its cells' places, which no gradient tells: remember them as if they had been measured."""
    from engine.descriptors.families import grids
    from engine.descriptors.grid_measure import MeasuredGrid

    found = MeasuredGrid((4.0, 4.0), (1.5, 1.5), 0.0, 0.0, 0.0, 0.0, False, "gradient")
    for number in range(len(network.layers)):
        kept = grids._kept_at(network, number, "token")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({name: getattr(found, name) for name in found.__slots__}))


def write_sequence(folder: Path, seed: int, images: int) -> None:
    """Views of one noisy plane, each moved by whole cells."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    width, height = SIZE_PX
    room = images * max(SHIFT_PX)
    plane = random.integers(0, 256, (height + room, width + room, 3)).astype(np.uint8)
    for index in range(1, images + 1):
        x, y = ((index - 1) * shift for shift in SHIFT_PX)
        cv2.imwrite(str(folder / f"{index}.png"), plane[y : y + height, x : x + width])
        if index > 1:
            moved = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1]], float)
            np.savetxt(folder / f"H_1_{index}", moved)


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """Six sequences with two pairs each."""
    for seed, name in enumerate("abcdef"):
        write_sequence(tmp_path / "sequences" / f"v_{name}", seed, images=3)
    return tmp_path / "sequences"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_job(
    dataset: Path | str, out: Path, descriptor: str = "layered:net", **how: Any
) -> StudyJob:
    own = how.pop("own", {})
    job = {name: how.pop(name) for name in ("listener", "command") if name in how}
    config = StudyConfig(
        **{
            "descriptor": descriptor, "dataset": str(dataset), "long_edge_px": SIZE_PX[0],
            "query_limit": 60, "device": "cpu", "pairs": 0, **how,
        }
    )  # fmt: skip
    return StudyJob(config=config, spec=choose_study(config, own), out=out, **job)


def study(dataset: Path | str, out: Path, **how: Any) -> StudyResult:
    return make_job(dataset, out, **how).run(JobContext())


def evaluate(dataset: Path, out: Path, descriptor: str, protocol: str) -> EvaluationResult:
    config = EvaluateConfig(
        dataset=str(dataset), descriptor=(descriptor,), protocol=protocol,  # type: ignore[arg-type]
        long_edge_px=SIZE_PX[0], query_limit=60, device="cpu", queries="harris",
    )  # fmt: skip
    return EvaluateJob(config=config, choices=choose_descriptors(config, {}), out=out).run(
        JobContext()
    )


# ---- known answers -------------------------------------------------------------------------------


def test_the_perfect_layer_is_the_best_and_noise_is_not(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    result = study(sequences, tmp_path / "out", layers="noise,patch,place")
    best = result.best
    assert (best.number, best.name, best.descriptor) == (2, "patch", "layered:net@2")
    closed, dense = best.mean(1.0, protocol="closed"), best.mean(5.0)
    assert closed is not None
    assert dense is not None
    # Beyond the border cells' centres, two queries may read the same vector.
    assert closed.low is not None
    assert closed.low > 0.99
    assert closed.high == 1.0
    assert dense.low is not None
    assert dense.low > 0.95
    assert result.rivals == ()
    by_name = {layer.name: layer for layer in result.layers}
    assert by_name["noise"].main < 0.2
    # A code of the place alone finds the same place again, which has moved by 14 px or more.
    assert by_name["place"].main < 0.05
    assert by_name["place"].positional_share == pytest.approx(1.0)
    assert by_name["patch"].positional_share == pytest.approx(0.0, abs=0.05)
    # Patches of noise are others a pixel on.
    assert (by_name["patch"].shift_sensitivity or 0) > 0.2


def test_taking_position_off_lets_a_layer_find_what_it_knows(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    result = study(sequences, tmp_path / "out", layers="coded", remove_position=2)
    (layer,) = result.layers
    before, after = layer.mean(5.0), layer.mean(5.0, removed=True)
    assert before is not None
    assert after is not None
    assert before.pck is not None
    assert after.pck is not None
    assert before.pck < 0.1
    assert after.pck > 0.9
    assert layer.removed_directions == 2
    assert "2 directions taken off" in (tmp_path / "out" / "study.html").read_text("utf-8")


def test_it_is_said_where_no_position_was_found(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    result = study(sequences, tmp_path / "out", pairs=2, layers="patch", remove_position=2)
    assert result.layers[0].removed_directions == 0
    assert "No position was found" in (tmp_path / "out" / "study.html").read_text("utf-8")


@pytest.mark.parametrize("protocol", ["closed", "dense"])
def test_a_layer_has_the_figures_that_an_evaluation_gives_it(
    protocol: str, network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    """Images are not resized here; where they are, ``closed`` is evaluated without antialiasing."""
    studied = study(sequences, tmp_path / "study", layers="noise")
    evaluated = evaluate(sequences, tmp_path / "evaluation", "layered:net@1", protocol)
    rows: list[SummaryRow] = [row for row in evaluated.summary if row.subset == "all"]
    mine = [one for one in studied.layers[0].pck if one.protocol == protocol]
    assert [(one.threshold_px, one.pck, one.low, one.high) for one in mine] == [
        (row.threshold_px, row.pck, row.low, row.high) for row in rows
    ]


def test_a_descriptor_without_layers_is_one_row(sequences: Path, tmp_path: Path, fresh_home: Path):
    own = {"stride_px": 4, "rings": 1, "radius_px": 6.0}
    result = study(sequences, tmp_path / "out", descriptor="daisy", pairs=2, own=own)
    (layer,) = result.layers
    assert (layer.descriptor, layer.stride_px, layer.high_norm_share) == ("daisy", 4.0, None)
    assert layer.effective_rank is not None
    assert result.pairs == 2


def test_long_vectors_are_found_behind_the_last_normalisation(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    result = study(sequences, tmp_path / "out", pairs=2, layers="patch,long")
    patch, long = result.layers
    assert patch.high_norm_share == 0
    columns, rows = long.cells
    assert long.high_norm_share == pytest.approx(1 / (columns * rows))


def test_one_pass_serves_all_layers(network: LayeredNetwork, sequences: Path, tmp_path: Path):
    job = make_job(sequences, tmp_path / "out", pairs=6)
    passes = []

    def note(done: int, total: int, rows: Sequence[tuple[str, float]]) -> None:
        passes.append(network.passes)
        assert [name for name, _ in rows] == list(NAMES)

    replace(job, listener=note).run(JobContext())
    # Six pairs of six sequences, two images each.  The first images of two sequences are looked at
    # once more, for the lengths of vectors before the last normalisation.
    assert np.diff(passes).tolist() == [3, 2, 2, 2, 2]


# ---- pairs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "sequences_there"), [(2, 2), (6, 6), (9, 6), (12, 6), (0, 6)])
def test_pairs_are_spread_over_the_sequences(most: int, sequences_there: int, sequences: Path):
    chosen = spread_pairs(open_evaluation_set(str(sequences)), most)
    assert chosen.pair_count == (most or 12)
    assert len(chosen.groups) == sequences_there
    keys = [one.key for one in chosen.pairs()]
    assert len(set(keys)) == len(keys)
    assert len({index for _, index in keys}) == 2  # not always the first, which is the easiest


# ---- files and faults ----------------------------------------------------------------------------


def test_the_files_say_the_same_and_the_page_loads_nothing(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    out = tmp_path / "out"
    result = study(sequences, out, remove_position=2, command="python main.py study x")
    values = json.loads((out / "study.json").read_text(encoding="utf-8"))
    assert values["best_layer"] == result.best.number == 2
    assert [one["name"] for one in values["layers"]] == list(NAMES)
    lines = list(csv.DictReader((out / "study.csv").read_text(encoding="utf-8").splitlines()))
    best = result.best.mean(3.0)
    assert best is not None
    assert float(lines[2]["dense_pck_3px"]) == best.pck
    assert float(lines[3]["dense_pck_5px_position_removed"]) > float(lines[3]["dense_pck_5px"])
    page = (out / "study.html").read_text(encoding="utf-8")
    assert "Layer 2 (patch) matches best" in page
    assert "Without position" in page
    addresses = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert addresses
    assert all(one.startswith(("data:", "#")) for one in addresses)
    assert page.count("<img ") == 1 + 2 * len(NAMES)
    assert page.count('<figure class="pair">') == 3


def test_the_file_holds_what_the_documentation_lists(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    study(sequences, tmp_path / "out", layers="patch")
    values = json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8"))
    document = (Path(__file__).parents[2] / "docs" / "PROTOCOLS.md").read_text(encoding="utf-8")
    section = document.partition("`study.json`, which")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(values)
    named = re.findall(r"`(\w+)`", section.partition("| `layers` |")[2].partition("\n")[0])
    assert set(named) - {"low", "high"} <= set(values["layers"][0])


def test_the_commands_of_the_worst_pairs_open_them(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    out = tmp_path / "out"
    result = study(sequences, out, layers="noise,patch", long_edge_px=96, own={"norm": False})
    page = (out / "study.html").read_text(encoding="utf-8")
    written = re.findall(r'<pre class="command"><code>(.*?)</code></pre>', page)
    lines = [re.sub("<.*?>", "", one) for one in written if "main.py" in one]
    views = [
        options_from(parse(build_parser("main.py"), shlex.split(line)[2:]), ViewOptions)
        for line in lines
        if " view " in line
    ]
    assert [view.pair_index for view in views] == [row.index for row in result.worst(3)]
    for view, row in zip(views, result.worst(3), strict=True):
        assert (view.images, view.group) == ((sequences,), row.sequence)
        assert view.descriptor == "layered:net@2"
        assert view.settings == ("norm=false",)
        assert view.long_edge_px == 96
        assert view.probe_px is not None


def test_the_command_prints_a_table_and_where_the_page_is(
    network: LayeredNetwork, sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["study", "layered:net", "--dataset", str(sequences), "--out", str(tmp_path / "out")]
    words += ["--layers", "noise,patch", "--remove-position", "2", "--pairs", "2"]
    words += ["--long-edge", str(SIZE_PX[0]), "--device", "cpu"]
    assert main(words, open_window=lambda _: 1) == 0
    lines = capsys.readouterr().out.splitlines()
    values = json.loads((tmp_path / "out" / "study.json").read_text(encoding="utf-8"))
    patch = values["layers"][1]
    (mean,) = [
        one for one in patch["pck"]
        if (one["protocol"], one["removed"], one["threshold_px"]) == ("dense", False, 5.0)
    ]  # fmt: skip
    assert lines[2].startswith("2 patch")
    assert f"{mean['pck']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}]" in lines[2]
    assert lines[-1] == f"results: {tmp_path / 'out'}"
    command = values["sources"]["command"]
    assert command.startswith("python main.py study layered:net --dataset ")
    assert "--layers noise,patch" in command


def test_a_stopped_study_writes_nothing(network: LayeredNetwork, sequences: Path, tmp_path: Path):
    cancel = CancelToken()

    def emit(event: Event) -> None:
        if isinstance(event, Progress) and event.stage is Stage.MEASURING_LAYERS:
            cancel.cancel()

    with pytest.raises(JobCancelled):
        make_job(sequences, tmp_path / "out", pairs=2).run(JobContext(emit, cancel))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_study_stops_at_the_next_pass_while_a_layers_cells_are_measured(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    from engine.descriptors.families import grids

    grids._kept_at(network, 1, "token").unlink()

    class Stopping(CancelToken):
        def check(self) -> None:
            if network.passes == 6:  # preparing takes two, and measuring dozens
                self.cancel()
            super().check()

    with pytest.raises(JobCancelled):
        make_job(sequences, tmp_path / "out", pairs=2).run(JobContext(cancel=Stopping()))
    assert network.passes == 6


def test_a_folder_that_holds_a_study_is_left_alone(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    (tmp_path / "study.json").write_text("mine")
    with pytest.raises(OutputError, match="holds a study already"):
        study(sequences, tmp_path)
    assert (tmp_path / "study.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("descriptor", "how", "message"),
    [
        ("layered:net", {"layers": "9"}, "has no layer '9': there are 0 to 4"),
        ("layered:net", {"layers": ","}, "names no layers"),
        ("layered:net@1", {"layers": "2"}, "named twice"),
        ("daisy", {"layers": "2"}, "has no layers"),
        ("daisy", {"remove_position": 1}, "unit length"),
        ("msnet_v2_estimated", {}, "pairs of images"),
        ("precomputed", {}, "single images only"),
        ("layered:net", {"dataset": " "}, "is not named"),
        ("layered:net", {"remove_position": 48}, "leave nothing"),
    ],
)
def test_what_cannot_be_studied_is_refused_with_the_reason(
    descriptor: str,
    how: dict[str, Any],
    message: str,
    network: LayeredNetwork,
    sequences: Path,
    tmp_path: Path,
):
    dataset = how.get("dataset", sequences)
    rest = {name: value for name, value in how.items() if name != "dataset"}
    with pytest.raises(ConfigError, match=message):
        study(dataset, tmp_path / "out", descriptor=descriptor, **rest)


def test_images_whose_maps_would_not_fit_are_refused_before_they_fill_the_memory(
    network: LayeredNetwork, sequences: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(study_layers, "free_memory_bytes", lambda: 8 << 20)
    with pytest.raises(DeviceError, match=r"by 5 layers of layered:net would take about .* GiB"):
        study(sequences, tmp_path / "out")


def test_a_broken_pair_is_left_out_and_named(
    network: LayeredNetwork, sequences: Path, tmp_path: Path
):
    (sequences / "v_b" / "2.png").write_bytes(b"no image")
    result = study(sequences, tmp_path / "out", layers="patch")
    (entry,) = result.left_out
    assert (entry.sequence, entry.index) == ("v_b", 2)
    assert "v_b" in (tmp_path / "out" / "study.html").read_text(encoding="utf-8")
    assert result.pairs == 11
