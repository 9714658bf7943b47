"""What a descriptor declares is held against what it does: planted faults, and none without."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.cli.run import main
from engine.descriptors import check, plugins, registry
from engine.descriptors.base import DescriptorMap
from engine.descriptors.check import CheckReport, build_checked, check_thoroughly
from engine.descriptors.compute import describe_image, get_built
from engine.descriptors.families.grids import known_grid
from engine.descriptors.held_state import networks_of, state_sha256
from engine.descriptors.plugins import load_plugin
from engine.descriptors.registry import list_descriptors, make_spec
from engine.errors import DescSpaceError, JobCancelled, PluginError
from engine.geometry.coords import CellGrid
from engine.jobs.command_line import ViewOptions
from engine.paths import cache_dir
from engine.progress import CancelToken

PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from engine.config import option
from engine.descriptors.base import DescriptorMap, ExpectedInput
from engine.descriptors.registry import register_descriptor
from engine.geometry.coords import CellGrid

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Config:
    weights: Path | None = option(None, help="weights")


class Network(nn.Module):
    """Convolutions with stride 2 and 2, then a transformer's layer with a class token."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, 2, 1)
        self.second = nn.Conv2d(16, 32, 3, 2, 1)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        self.mix = nn.TransformerEncoderLayer(
            32, 2, 64, dropout=0.0, batch_first=True, norm_first=True
        )

    def forward(self, images):
        values = self.second(self.first(images).relu())
        batch, dim, rows, columns = values.shape
        tokens = values.flatten(2).transpose(1, 2)
        tokens = self.mix(torch.cat([self.token.expand(batch, -1, -1), tokens], dim=1))
        tokens = tokens[:, PREFIX:]
        tokens = torch.cat([tokens, tokens], dim=1)[:, : rows * columns]
        return tokens.transpose(1, 2).reshape(batch, dim, rows, columns)


PREFIX = 1


class Descriptor:
    dim, shift_period_px, half_precision = 32, 4, False

    def __init__(self, network, trained):
        self.module, self.trained = network.eval(), trained

    def describe(self, images):
        mean, std = (torch.tensor(one)[:, None, None] for one in (MEAN, STD))
        images = (images - mean) / std
        values = self.module(images)
        values = functional.normalize(values, dim=1)
        return (DescriptorMap(values, CellGrid(4.0, 0.0)),)


@register_descriptor("mine", title="Mine", config=Config)
def build(config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network()
    if config.weights is not None:
        from safetensors.torch import load_file
        network.load_state_dict(load_file(config.weights), strict=True)
    return Descriptor(network, trained=config.weights is not None)
'''


def take_time(monkeypatch: pytest.MonkeyPatch, budget_s: float) -> None:
    """Measure grids for so long; one round tells the planted faults, the least of them 0.5 px."""
    for name in ("_FIRST_BUDGET_S", "_THOROUGH_BUDGET_S"):
        monkeypatch.setattr(check, name, budget_s)


@pytest.fixture(autouse=True)
def all_as_before(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    take_time(monkeypatch, 0.0)
    list_descriptors()  # or they would be forgotten below, and are registered only once
    entries = dict(registry._ENTRIES)
    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(entries)
    plugins._loaded.clear()


def plant(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    code = PLUGIN
    for old, new in changes:
        assert code.count(old) >= 1, old
        code = code.replace(old, new)
    path = tmp_path / "mine.py"
    path.write_text(code)
    load_plugin(path)
    return path


class Counting(CancelToken):
    """Counts how often it is asked, and stops the work at the last time of some."""

    def __init__(self, last: int = 0) -> None:
        super().__init__()
        self.asked, self.last = 0, last

    def check(self) -> None:
        self.asked += 1
        if self.asked == self.last:
            self.cancel()
        super().check()


def test_building_a_plugin_stops_before_its_next_image_and_can_begin_again(tmp_path):
    plant(tmp_path)
    spec = make_spec("mine", {})
    stopped = Counting(last=5)
    with pytest.raises(JobCancelled):
        get_built(spec, stopped)
    assert stopped.asked < 10
    whole = Counting()
    get_built(spec, whole)
    assert whole.asked > 10
    again = Counting()
    get_built(spec, again)
    assert again.asked <= 1  # it is built


def checked(tmp_path: Path, *changes: tuple[str, str], **values: Any) -> CheckReport:
    plant(tmp_path, *changes)
    return check_thoroughly(make_spec("mine", values))


def line(report: CheckReport, name: str) -> Any:
    (found,) = [one for one in report.findings if one.name == name]
    return found


def offset(report: CheckReport) -> tuple[float, float]:
    """The measured offset, x and y."""
    numbers = line(report, "offset").measured.partition(" px")[0].split(", ")
    return float(numbers[0]), float(numbers[-1])


def save_weights(path: Path, *, seed: int = 1, prefix: str = "", leave_out: str = "-") -> Path:
    """Weights of the plugin's network, made by the network itself."""
    (network,) = networks_of(registry.build_descriptor(make_spec("mine")))
    generator = torch.Generator().manual_seed(seed)
    state = {
        prefix + name: torch.randn(tensor.shape, generator=generator) * 0.2
        for name, tensor in network.state_dict().items()
        if not name.startswith(leave_out)
    }
    save_file(state, path)
    return path


def test_a_plugin_without_a_fault_is_as_it_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_time(monkeypatch, 1.0)
    plant(tmp_path)
    weights = save_weights(tmp_path / "mine.safetensors")
    report = check_thoroughly(make_spec("mine", {"weights": weights}))
    assert report.refusals == report.warnings == ()
    assert line(report, "input").measured.endswith("(ImageNet's)")
    assert line(report, "weights").measured == "17 of 17 tensors are its"
    assert line(report, "gradient").measured == "17 of 17 tensors"


@pytest.mark.parametrize("name", ["daisy", "msnet_v0", "msnet_v1", "descspace-fast"])
def test_no_built_in_descriptor_differs_from_what_it_declares(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_time(monkeypatch, 1.0)
    report = check_thoroughly(make_spec(name))
    assert report.refusals == report.warnings == ()


# ---- the seven faults ------------------------------------------------------------------------


def test_fault_1_half_a_pixel(tmp_path: Path) -> None:
    report = checked(tmp_path, ("CellGrid(4.0, 0.0)", "CellGrid(4.0, 0.5)"))
    found = line(report, "offset")
    assert (found.verdict, found.declared) == ("differs", "0.5 px")
    assert offset(report) == pytest.approx((0, 0), abs=0.2)
    assert "declared as 0.5 px, but cell 0 was measured at" in found.sentence


@pytest.mark.parametrize(("written", "shown"), [("8.0", "8 px"), ("2.0", "2 px")])
def test_fault_2_twice_the_stride_or_half_of_it(tmp_path: Path, written: str, shown: str) -> None:
    plant(tmp_path, ("CellGrid(4.0, 0.0)", f"CellGrid({written}, 0.0)"))
    with pytest.raises(PluginError, match=f"declared as {shown}, but cells lie 4 px apart"):
        build_checked(make_spec("mine"))
    found = line(check_thoroughly(make_spec("mine")), "stride")
    assert (found.verdict, found.declared, found.measured) == ("refused", shown, "4 px")


def test_fault_3_mean_and_deviation_swapped(tmp_path: Path) -> None:
    report = checked(tmp_path, ("for one in (MEAN, STD)", "for one in (STD, MEAN)"))
    found = line(report, "input")
    assert found.verdict == "differs"
    assert found.text == "mean and deviation are swapped: they are ImageNet's"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("images = (images", "images = images.flip(1)\n        images = (images"), "blue reaches"),
        (("STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)",
          "STD = (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)"), "in the order blue, green, red"),
    ],
)  # fmt: skip
def test_fault_4_blue_first(tmp_path: Path, change: tuple[str, str], text: str) -> None:
    found = line(checked(tmp_path, change), "input")
    assert found.verdict == "differs"
    assert text in found.text


@pytest.mark.parametrize(
    ("change", "name", "text"),
    [
        (("DescriptorMap(values,", "DescriptorMap(values.permute(0, 2, 3, 1),"), "dim",
         "move it to the second place"),
        (("DescriptorMap(values,", "DescriptorMap(values.transpose(2, 3),"), "stride",
         "its axes are swapped"),
    ],
)  # fmt: skip
def test_fault_5_axes_of_the_map_in_another_order(
    tmp_path: Path, change: tuple[str, str], name: str, text: str
) -> None:
    found = line(checked(tmp_path, change), name)
    assert found.verdict == "refused"
    assert text in found.text


def test_fault_5_axes_of_the_image_in_another_order(tmp_path: Path) -> None:
    """NHWC numbers read as NCHW: reshape where permute is needed."""
    mixed = (
        "images = images.permute(0, 2, 3, 1).reshape(images.shape)\n        values = self.module("
    )
    report = checked(tmp_path, ("values = self.module(", mixed))
    assert report.refusals or any("mixed up" in one.text for one in report.warnings)


@pytest.mark.parametrize("prefix", [0, 2])
def test_fault_6_prefix_tokens(tmp_path: Path, prefix: int) -> None:
    report = checked(tmp_path, ("PREFIX = 1", f"PREFIX = {prefix}"))
    found = line(report, "offset")
    assert found.verdict == "differs"
    assert offset(report) == pytest.approx((-4 if prefix == 0 else 4, 0), abs=0.2)
    assert "as many tokens have to be dropped" in found.text


def test_fault_7_another_file_s_weights(tmp_path: Path) -> None:
    plant(tmp_path)
    save_weights(tmp_path / "old.safetensors", seed=1)
    new = save_weights(tmp_path / "new.safetensors", seed=2)
    old = f"load_file({str(tmp_path / 'old.safetensors')!r})"
    report = checked(tmp_path, ("load_file(config.weights)", old), weights=new)
    found = line(report, "weights")
    assert (found.verdict, found.measured) == ("differs", "0 of 17 tensors")
    assert "nothing of new.safetensors is in the network" in found.text


def test_fault_7_half_a_file_loaded_without_a_word(tmp_path: Path) -> None:
    plant(tmp_path)
    half = save_weights(tmp_path / "half.safetensors", leave_out="mix.")
    report = checked(tmp_path, ("strict=True", "strict=False"), weights=half)
    assert line(report, "weights").measured == "5 of 17 tensors"
    assert line(report, "loading").measured == "12 missing"


def test_fault_7_weights_of_other_names_loaded_by_the_plugin_itself(tmp_path: Path) -> None:
    """No setting names the file: only the loading itself tells."""
    plant(tmp_path)
    named = save_weights(tmp_path / "w.safetensors", prefix="model.")
    changes = (
        ("if config.weights is not None:", "if True:"),
        ("load_file(config.weights)", f"load_file({str(named)!r})"),
        ("strict=True", "strict=False"),
        ("trained=config.weights is not None", "trained=True"),
    )
    report = checked(tmp_path, *changes)
    assert line(report, "loading").measured == "17 missing"
    assert line(report, "weights").verdict == "unknown"


def test_fault_7_what_is_beyond_a_check_is_said(tmp_path: Path) -> None:
    """A plugin that is trained by its own word and names no file: nothing says what was meant."""
    report = checked(tmp_path, ("trained=config.weights is not None", "trained=True"))
    found = line(report, "weights")
    assert found.verdict == "unknown"
    assert "nothing says which weights are meant" in found.text


SMALL = """if images.shape[2] < 20:
            raise ValueError("small")
        mean, std = ("""


# ---- further lines ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name", "verdict", "text"),
    [
        (("dim, shift_period_px, half_precision = 32", "dim, shift_period_px, half_precision = 48"),
         "dim", "refused", "dim is declared as 48"),
        (("values = functional.normalize(values, dim=1)", "pass"), "unit length", "differs",
         "brought to 1"),
        (("values = functional.normalize(values, dim=1)", "values = values / 0 * 0"), "finite",
         "refused", "not finite"),
        (("dropout=0.0", "dropout=0.5"), "repeatable", "ok", ""),
        (("network.eval()", "network.train()"), "repeatable", "ok", ""),
        (("return (DescriptorMap(values, CellGrid(4.0, 0.0)),)",
          "return [DescriptorMap(values, CellGrid(4.0, 0.0))]"), "layout", "refused", "a tuple"),
        (("half_precision = 32, 4, False", "half_precision = 32, 6, False"), "shift period",
         "differs", "no multiple of the stride"),
        (("images = (images - mean) / std",
          "images = functional.pad((images - mean) / std, (0, 40, 0, 40))"), "coverage", "differs",
         "px outside an image"),
        (("mean, std = (", SMALL), "coverage", "differs", "ValueError: small"),
    ],
)  # fmt: skip
def test_each_line_sees_its_fault(
    tmp_path: Path, change: tuple[str, str], name: str, verdict: str, text: str
) -> None:
    found = line(checked(tmp_path, change), name)
    assert found.verdict == verdict
    assert text in found.text


def test_a_network_that_draws_random_numbers_is_told(tmp_path: Path) -> None:
    changes = (("dropout=0.0", "dropout=0.5"), ("network.eval()", "network.train()"))
    found = line(checked(tmp_path, *changes), "repeatable")
    assert found.verdict == "differs"
    assert "random numbers are drawn: is the network in eval() mode?" in found.text


def test_a_network_of_one_size_is_told_and_measured_there(tmp_path: Path) -> None:
    """Not as the contract wants it, but of use for images of that size: not refused."""
    only = SMALL.replace("images.shape[2] < 20", "images.shape[2:] != (224, 224)")
    report = checked(tmp_path, ("mean, std = (", only))
    assert report.refusals == ()
    assert line(report, "stride").measured == "4 px"
    assert "cannot be described" in line(report, "coverage").text


def test_a_check_that_failed_is_not_kept(tmp_path: Path) -> None:
    plant(tmp_path, ("values = self.module(images)", "values = self.modul(images)"))
    with pytest.raises(PluginError):
        build_checked(make_spec("mine"))
    assert not (cache_dir() / "checks").exists()


def test_weights_that_differ_with_every_building_are_told(tmp_path: Path) -> None:
    report = checked(tmp_path, ("torch.manual_seed(0)", "torch.seed()"))
    assert "differ every time it is built" in line(report, "weights").text


def test_a_missing_attribute_is_refused_by_name(tmp_path: Path) -> None:
    plant(tmp_path, ("half_precision = 32, 4, False", "other = 32, 4, False"))
    with pytest.raises(PluginError, match="it has no half_precision"):
        build_checked(make_spec("mine"))


def test_declared_statistics_are_compared_with_those_that_arrive(tmp_path: Path) -> None:
    declared = (
        'expects = ExpectedInput((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "BGR")\n\n    def describe'
    )
    found = line(checked(tmp_path, ("def describe", declared)), "input")
    assert found.text == "the network gets its channels as RGB instead of BGR"
    found = line(checked(tmp_path, ("def describe", declared.replace("BGR", "RGB"))), "input")
    assert found.verdict == "differs"
    assert "instead of RGB, (0.5 0.5 0.5) / (0.5 0.5 0.5)" in found.text


def test_descriptions_without_gradients_cannot_be_trained(tmp_path: Path) -> None:
    found = line(
        checked(tmp_path, ("    def describe", "    @torch.no_grad()\n    def describe")),
        "gradient",
    )
    assert (found.verdict, found.measured) == ("unknown", "none")


def test_what_runs_outside_torch_is_measured_too(tmp_path: Path) -> None:
    layers = "self.module.second(self.module.first(pixels).relu())"
    pixels = f"pixels = torch.from_numpy(images.numpy().copy())\n        values = {layers}"
    changes = (
        ("values = self.module(images)", pixels),
        ("def describe", "@torch.inference_mode()\n    def describe"),
        ("CellGrid(4.0, 0.0)", "CellGrid(4.0, 2.0)"),
    )
    report = checked(tmp_path, *changes)
    assert line(report, "stride").verdict == "ok"
    assert line(report, "offset").verdict == "differs"


# ---- the first build -------------------------------------------------------------------------


def test_what_was_found_is_noted_whenever_the_descriptor_describes(tmp_path: Path) -> None:
    plant(tmp_path, ("CellGrid(4.0, 0.0)", "CellGrid(4.0, 0.5)"))
    pixels = np.random.default_rng(0).random((40, 52, 3), dtype=np.float32)
    for _ in range(2):
        descriptor = get_built(make_spec("mine"))
        _, notes = describe_image(descriptor, pixels, device="cpu", precision="float32")
        (note,) = notes
        assert note.startswith("Mine: the offset is declared as 0.5 px, but cell 0 was measured at")


def test_a_check_is_kept_until_code_weights_or_settings_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path)
    one, two = (save_weights(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (1, 2))
    measured: list[str] = []
    real = check._check

    def counting(*arguments: Any, **words: Any) -> CheckReport:
        measured.append("x")
        return real(*arguments, **words)

    monkeypatch.setattr(check, "_check", counting)
    for count, values in ((1, {}), (1, {}), (2, {"weights": one}), (3, {"weights": two})):
        build_checked(make_spec("mine", values))
        assert len(measured) == count, values
    # Kept by files, so the next process finds it, too.
    assert len(list((cache_dir() / "checks").iterdir())) == 3
    plant(tmp_path, ("CellGrid(4.0, 0.0)", "CellGrid(4.0, 0.5)"))
    assert len(build_checked(make_spec("mine"))[1]) == 1
    assert len(measured) == 4
    next((cache_dir() / "checks").iterdir()).write_text("{ damaged")
    build_checked(make_spec("mine"))


def test_built_in_descriptors_are_not_checked_when_they_are_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: Any, **__: Any) -> CheckReport:
        raise AssertionError("their contract test has proved it")

    monkeypatch.setattr(check, "_check", never)
    assert build_checked(make_spec("daisy"))[1] == ()


def test_an_error_in_a_plugin_s_code_names_its_file_and_line(tmp_path: Path) -> None:
    path = plant(tmp_path, ("values = self.module(images)", "values = self.modul(images)"))
    number = path.read_text().splitlines().index("        values = self.modul(images)") + 1
    with pytest.raises(PluginError, match=f"mine.py: line {number}: AttributeError"):
        build_checked(make_spec("mine"))
    path = plant(tmp_path, ("network = Network()", "network = Netwrk()"))
    with pytest.raises(PluginError, match=r"mine.py: line \d+: NameError"):
        build_checked(make_spec("mine"))


def test_a_weights_file_that_is_refused_stays_what_it_says(tmp_path: Path) -> None:
    code = (
        "from safetensors.torch import load_file",
        "from engine.checkpoints import load_state\n        load_state(config.weights)",
    )
    plant(tmp_path, code)
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(DescSpaceError, match="is empty"):
        build_checked(make_spec("mine", {"weights": tmp_path / "empty.pth"}))


# ---- the command -----------------------------------------------------------------------------


def never(options: ViewOptions) -> int:
    pytest.fail("no window was asked for")


def test_the_command_prints_the_table_and_ends_with_1_where_something_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plant(tmp_path)
    assert main(["descriptors", "--check", str(path)], open_window=never) == 0
    shown = capsys.readouterr().out
    assert "mine  —  Mine" in shown
    assert "all as declared" in shown
    path = plant(tmp_path, ("CellGrid(4.0, 0.0)", "CellGrid(4.0, 0.5)"))
    assert main(["descriptors", "--check", str(path)], open_window=never) == 1
    (shown,) = [row for row in capsys.readouterr().out.splitlines() if "DIFFERS" in row]
    assert shown.startswith("  DIFFERS  offset          0.5 px     0")
    assert main(["descriptors", "--check", "msnet_v0", "--json"], open_window=never) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert (report["name"], report["source"]) == ("msnet_v0", "built-in")


def test_the_command_checks_a_network_that_is_opened_by_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["descriptors", "--check", "timm:test_convnext@0,1"], open_window=never) == 0
    rows = capsys.readouterr().out.splitlines()
    # Patches of 4 px, and of 2 × 2 of these, begin with the image's first pixel.
    for name, grid in (("stages.0", "4 px from 1.5 px"), ("stages.1", "8 px from 3.5 px")):
        (row,) = [row for row in rows if f"layer {name}" in row]
        pattern = rf"{grid}; error (below 0\.001|[\d.]+) px, spread .* px, by mirroring$"
        assert re.search(pattern, row)
    # The joined map itself is held to the same, not only what it is made of.
    (row,) = [row for row in rows if re.match(r" +ok +precision", row)]
    assert row.endswith("by mirroring")


@pytest.mark.parametrize(
    ("stride_px", "error_px", "verdict"),
    [(8.0, 0.1, "ok"), (4.0, 0.1, "refused"), (4.0, 2.0, "unknown"), (8.0, 2.0, "unknown")],
)
def test_a_stride_is_wrong_only_by_more_than_chance(
    stride_px: float, error_px: float, verdict: str
) -> None:
    declared = DescriptorMap(torch.zeros(1, 2, 8, 8), CellGrid(stride_px=8.0, offset_px=3.5))
    exact = known_grid(CellGrid(stride_px=stride_px, offset_px=3.5))
    found = replace(exact, stride_error_px=error_px)
    first, *others = check.compare_grid(declared, found, 0, (declared,))
    assert (first.name, first.verdict) == ("stride", verdict)
    assert bool(others) == (verdict == "ok"), "an offset stands on the stride"


def test_the_table_says_how_well_a_grid_is_known_and_how_it_was_found(tmp_path: Path) -> None:
    found = line(checked(tmp_path), "precision").measured
    assert re.fullmatch(r"error \S.* px, spread \S.* px, by gradients", found)
    layers = "self.module.second(self.module.first(images).relu())"  # many looks: the fast part
    without_gradients = f"values = torch.from_numpy({layers}.detach().numpy())"
    found = line(
        checked(tmp_path, ("values = self.module(images)", without_gradients)), "precision"
    ).measured
    assert found.endswith("by differences")


def test_state_is_found_wherever_it_is_held() -> None:
    class Holder:
        pass

    network = torch.nn.Linear(2, 2)
    plain, closed, deep = Holder(), Holder(), Holder()
    plain.net = network  # type: ignore[attr-defined]
    closed.run = lambda values: network(values)  # type: ignore[attr-defined]
    deep.parts = {"a": [(Holder(), plain)]}  # type: ignore[attr-defined]
    for one in (plain, closed, deep):
        assert networks_of(one) == (network,)
        before = state_sha256(one)
        with torch.no_grad():
            network.bias.add_(1)
        assert state_sha256(one) != before
    assert state_sha256(Holder()) is None
