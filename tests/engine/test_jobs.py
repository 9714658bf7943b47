"""Jobs, run as the window and the command line run them, on a descriptor with known answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.cli.commands.match import as_text
from engine.config import option
from engine.data.demo import write_demo
from engine.data.layouts import open_pair_set
from engine.data.pairs import ImagePair
from engine.data.photos import open_photos
from engine.descriptors import registry
from engine.descriptors.base import DescriptorMap, Levels
from engine.errors import ConfigError, DatasetError, DescSpaceError, FileError, HomographyError
from engine.geometry.coords import CellGrid
from engine.geometry.homography import read_homography
from engine.inspection.requests import MatchRequest
from engine.jobs.describe import DescribeJob
from engine.jobs.match import MatchJob, MatchResult
from engine.jobs.open_pair import open_pair
from engine.jobs.recipe import load_descriptor_sources, make_recipe
from engine.jobs.settings import MatchConfig
from engine.matching import confidence
from engine.progress import CancelToken, Event, JobContext, Note, Progress, Saved
from engine.truth.homography import HomographySource

SHIFT_PX = (8, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchConfig:
    """Settings of the test's own descriptor."""

    side_px: int = option(21, help="of the patch", low=1)
    trained: bool = option(True, help="what it says of itself")


class Patch:
    """The grey patch about each cell, without its mean: it moves exactly with the image."""

    shift_period_px = 4
    half_precision = False

    def __init__(self, config: PatchConfig) -> None:
        self.dim = config.side_px**2
        self.trained = config.trained
        self._side_px = config.side_px

    def describe(self, images: Tensor) -> Levels:
        grey = images.mean(dim=1, keepdim=True)
        reach = self._side_px // 2
        padded = functional.pad(grey, (reach,) * 4, mode="replicate")
        patches = functional.unfold(padded, self._side_px, stride=4)
        values = functional.normalize(patches - patches.mean(dim=1, keepdim=True), dim=1)
        height, width = ((size - 1) // 4 + 1 for size in grey.shape[-2:])
        return (DescriptorMap(values.reshape(len(grey), -1, height, width), CellGrid(4.0, 0.0)),)


@pytest.fixture(autouse=True)
def patch_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    registry._load_builtin()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    with registry.registering_from("test"):
        registry.register_descriptor("patch", title="Patch", config=PatchConfig)(Patch)


@pytest.fixture
def pair(tmp_path: Path) -> ImagePair:
    """A texture and the same one, moved by ``SHIFT_PX``: the truth is known by construction."""
    folder = tmp_path / "bilder ä"
    folder.mkdir()
    noise = np.random.default_rng(3).uniform(0, 255, (140, 180, 3)).astype(np.float32)
    # As smooth as a map of stride 4 needs, so that it may be read between its cells.
    plane = np.clip((cv2.GaussianBlur(noise, (0, 0), 3.0) - 127) * 9 + 127, 0, 255)
    plane = plane.astype(np.uint8)
    dx, dy = SHIFT_PX
    for name, x, y in (("a", dx, dy), ("b", 0, 0)):
        ok, data = cv2.imencode(".png", plane[y : y + 120, x : x + 160])
        assert ok
        (folder / f"{name}.png").write_bytes(data.tobytes())
    truth = folder / "H.txt"
    truth.write_text(f"1 0 {dx}\n0 1 {dy}\n0 0 1\n", encoding="utf-8")
    return open_pair([folder / "a.png", folder / "b.png"], homography=truth)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def context(events: list[Event]) -> JobContext:
    return JobContext(emit=events.append, device="cpu")


def make_job(pair: ImagePair, *settings: str, **changes: object) -> MatchJob:
    config = MatchConfig(descriptor="patch", device="cpu")
    values = dict(text.split("=") for text in settings)
    fields: dict[str, object] = {
        "pair": pair,
        "recipe": make_recipe(config, values),
        "points": "grid",
        "count": 60,
        "seed": 0,
        "separation_px": 8.0,
        "matcher": "exact",
    }
    asked = {name: changes.pop(name) for name in [*fields] if name in changes}
    return MatchJob(request=MatchRequest(**{**fields, **asked}), **changes)


def test_a_moved_texture_is_matched_exactly_and_counted_right(
    pair: ImagePair, context: JobContext, events: list[Event], tmp_path: Path
):
    out, figure = tmp_path / "m.csv", tmp_path / "f.svg"
    job = make_job(pair, out=out, figure=figure)
    result: MatchResult = job.run(context)
    known = np.isfinite(result.table.error_px)
    assert 20 <= known.sum() <= result.summary.count <= 60
    assert result.summary.with_truth == known.sum()
    shares = dict(result.summary.pck)
    assert shares[1.0] > 0.9
    assert result.descriptor == "Patch"
    assert len(out.read_text().splitlines()) == result.summary.count + 1
    assert "Patch · " in figure.read_text(encoding="utf-8")
    assert [event.path for event in events if isinstance(event, Saved)] == [out, figure]
    assert any(isinstance(event, Progress) for event in events)
    assert not any(isinstance(event, Note) and event.level == "warning" for event in events)


def test_without_truth_the_shift_is_estimated(pair: ImagePair, context: JobContext):
    blind = ImagePair(pair.path_a, pair.path_b)
    result = make_job(blind).run(context)
    assert result.summary.pck == ()
    assert result.table.h_b_from_a is not None
    dx, dy = SHIFT_PX
    expected = [[1, 0, dx], [0, 1, dy], [0, 0, 1]]
    estimate = result.table.h_b_from_a / result.table.h_b_from_a[2, 2]
    np.testing.assert_allclose(estimate, expected, atol=0.5)
    assert result.summary.inliers is not None
    assert result.summary.inliers > 0.5 * result.summary.count


def test_matches_that_are_not_sure_enough_are_left_out_and_counted(
    pair: ImagePair, context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = {"most": 1.0, "constant": -1.0, "log_cycle": -0.3, "similarity": 3.0}
    fitted = {"weights_sha256": None, "alone": weights, "together": weights}
    path = tmp_path / "confidence.json"
    path.write_text(json.dumps({"descriptors": {"patch": fitted}}))
    monkeypatch.setattr(confidence, "calibration_file", lambda: path)
    whole = make_job(pair, separation_px=16.0).run(context)
    least = float(np.nanmedian(whole.table.confidence))
    out = tmp_path / "m.csv"
    some = make_job(pair, out=out, separation_px=16.0, min_confidence=least).run(context)
    kept = int((whole.table.confidence >= least).sum())
    assert 0 < kept < whole.summary.count
    assert (some.summary.count, some.left_out) == (kept, whole.summary.count - kept)
    assert len(out.read_text().splitlines()) == kept + 1
    text = as_text(some, pair)
    assert f"{whole.summary.count - kept} less sure ones left out" in text
    assert "within 3.0 px" in text
    none = make_job(pair, separation_px=16.0, min_confidence=1.0).run(context)
    assert f"none of {whole.summary.count} matches is sure enough" in as_text(none, pair)
    apart = "not calibrated for second best matches at least 8 px away instead of 16 px"
    with pytest.raises(ConfigError, match=apart):
        make_job(pair, separation_px=8.0, min_confidence=least).run(context)
    assert f"sure    {apart}\n" in as_text(make_job(pair, separation_px=8.0).run(context), pair)


def test_without_a_calibration_nothing_is_left_out_by_confidence_and_the_text_says_so(
    pair: ImagePair, context: JobContext, events: list[Event]
):
    with pytest.raises(ConfigError, match="not calibrated for patch"):
        make_job(pair, min_confidence=0.5).run(context)
    assert not events  # it is said before the images are described
    assert "sure    not calibrated for patch\n" in as_text(make_job(pair).run(context), pair)


def test_matches_by_consensus_are_called_so_and_have_no_confidence(
    pair: ImagePair, context: JobContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    weights = {"most": 1.0, "constant": -1.0, "log_cycle": -0.3, "similarity": 3.0}
    fitted = {"weights_sha256": None, "alone": weights, "together": weights}
    path = tmp_path / "confidence.json"
    path.write_text(json.dumps({"descriptors": {"patch": fitted}}))
    monkeypatch.setattr(confidence, "calibration_file", lambda: path)
    how = {"separation_px": 16.0, "matcher": "consensus"}
    text = as_text(make_job(pair, **how).run(context), pair)
    assert re.search(r"^matcher consensus; \d+ of \d+ matches moved by", text, re.MULTILINE)
    assert "sure    not calibrated for matches by consensus\n" in text
    with pytest.raises(ConfigError, match="not calibrated for matches by consensus"):
        make_job(pair, **how, min_confidence=0.5).run(context)
    exact = as_text(make_job(pair, separation_px=16.0).run(context), pair)
    assert "matcher" not in exact
    assert "not calibrated" not in exact


def test_the_same_job_gives_the_same_table(pair: ImagePair, context: JobContext, tmp_path: Path):
    paths = [tmp_path / f"{number}.csv" for number in (1, 2)]
    for path in paths:
        make_job(pair, out=path, points="random").run(context)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_untrained_network_is_warned_of_once_and_named_in_the_figure(
    pair: ImagePair, context: JobContext, events: list[Event], tmp_path: Path
):
    figure = tmp_path / "f.svg"
    make_job(pair, "trained=no", figure=figure).run(context)
    warnings = [e.text for e in events if isinstance(e, Note) and e.level == "warning"]
    assert len(warnings) == 1
    assert "Patch is untrained" in warnings[0]
    assert "Patch (untrained)" in figure.read_text(encoding="utf-8")


def test_a_job_that_was_stopped_writes_nothing(pair: ImagePair, tmp_path: Path):
    from engine.errors import JobCancelled

    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(JobCancelled):
        make_job(pair, out=tmp_path / "m.csv").run(JobContext(cancel=cancel, device="cpu"))
    assert not (tmp_path / "m.csv").exists()


def test_a_flat_image_without_a_corner_gives_a_table_without_rows(
    tmp_path: Path, context: JobContext
):
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((64, 64, 3), 90, np.uint8))
    flat = ImagePair(tmp_path / "a.png", tmp_path / "b.png")
    result = make_job(flat, points="harris", out=tmp_path / "m.csv", figure=tmp_path / "f.png").run(
        context
    )
    assert len((tmp_path / "m.csv").read_text().splitlines()) == result.summary.count + 1
    assert (tmp_path / "f.png").stat().st_size > 0


def test_described_maps_match_like_the_descriptor_they_came_from(
    pair: ImagePair, context: JobContext, tmp_path: Path
):
    """Written, read back as precomputed maps, matched: the same points to a hundredth of a px."""
    job = make_job(pair)
    maps = [tmp_path / "ä.npz", tmp_path / "b.npz"]
    for path, image in zip(maps, (pair.path_a, pair.path_b), strict=True):
        info = DescribeJob(image=image, recipe=job.request.recipe, out=path).run(context)
        assert (info.dim, info.cells) == (441, (40, 30))
    config = MatchConfig(descriptor="precomputed", device="cpu")
    again = make_job(pair, recipe=make_recipe(config, {}, maps=maps)).run(context)
    np.testing.assert_allclose(again.table.points_b, job.run(context).table.points_b, atol=0.01)


def test_maps_and_their_descriptor_go_together(tmp_path: Path):
    maps = [tmp_path / "a.npz", tmp_path / "b.npz"]
    with pytest.raises(ConfigError, match="'precomputed'"):
        make_recipe(MatchConfig(descriptor="patch"), {}, maps=maps)
    with pytest.raises(ConfigError, match="of both images"):
        make_recipe(MatchConfig(descriptor="precomputed"), {})


def test_a_descriptor_s_setting_is_checked_and_named():
    with pytest.raises(ConfigError, match=r"patch\.side_px"):
        make_recipe(MatchConfig(descriptor="patch"), {"side_px": 0})
    with pytest.raises(ConfigError, match="takes no weights"):
        make_recipe(MatchConfig(descriptor="patch", weights=Path("w.pth")), {})


def test_plugins_are_told_of_before_they_run_and_after(
    tmp_path: Path, context: JobContext, events: list[Event]
):
    plugin = tmp_path / "mein netz.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from engine.descriptors.registry import register_descriptor\n"
        "@dataclass(frozen=True)\n"
        "class Config: pass\n"
        "@register_descriptor('mine', title='Mine', config=Config)\n"
        "def build(config): raise NotImplementedError\n",
        encoding="utf-8",
    )
    load_descriptor_sources([plugin], context)
    texts = [event.text for event in events if isinstance(event, Note)]
    assert "Running the code in" in texts[-2]
    assert "added mine" in texts[-1]
    assert registry.get_descriptor("mine").title == "Mine"


def test_pairs_are_opened_from_names(pair: ImagePair, tmp_path: Path):
    dx, dy = SHIFT_PX
    assert isinstance(pair.truth, HomographySource)
    np.testing.assert_allclose(pair.truth.h_b_from_a, [[1, 0, dx], [0, 1, dy], [0, 0, 1]])
    assert open_pair([pair.path_a.parent]).path_b == pair.path_b
    singular = tmp_path / "H.txt"
    singular.write_text("1 2 3 2 4 6 0 0 1")
    with pytest.raises(HomographyError, match="singular"):
        open_pair([pair.path_a, pair.path_b], homography=singular)
    with pytest.raises(DatasetError):
        open_pair([pair.path_a.parent], pair_index=2)
    with pytest.raises(DatasetError):
        open_pair([tmp_path])


def test_of_a_sequence_what_was_chosen_is_said(
    pair: ImagePair, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "v_x"
    folder.mkdir()
    for name in ("1.png", "2.png", "2.jpg"):
        (folder / name).touch()
    (folder / "H_1_2").write_text("1 0 0 0 1 0 0 0 1")
    assert open_pair([folder]).path_b.name == "2.png"
    assert [record.getMessage() for record in caplog.records] == [
        "v_x: image 2 is there twice; 2.png is used."
    ]


@pytest.mark.parametrize("read", [open_pair_set, read_homography, open_photos, write_demo])
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_name_is_refused_and_not_the_current_folder(
    read: Callable[[Any], object], empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="is an empty path"):
        read(empty)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo(tmp_path_factory.mktemp("demo"), JobContext())


def test_the_demo_is_a_data_set_whose_sequences_open_by_name(demo: Path):
    names = [group.name for group in open_pair_set(demo).groups]
    assert len(names) >= 2
    opened = open_pair([demo / names[0]], pair_index=3)
    assert (opened.sequence, opened.index) == (names[0], 3)
    with pytest.raises(DescSpaceError, match=names[-1]):
        open_pair([demo])


def test_the_patch_descriptor_of_these_tests_is_what_it_says():
    """The other tests stand on it: unit length, and cells on every fourth pixel."""
    image = torch.rand(1, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    (level,) = Patch(PatchConfig(side_px=9)).describe(image)
    assert level.values.shape == (1, 81, 6, 9)
    torch.testing.assert_close(level.values.norm(dim=1), torch.ones(1, 6, 9))
    centre = level.values.reshape(9, 9, 6, 9)[4, 4]
    patch = image.mean(dim=1)[0, 4:13, 8:17]
    expected = (patch[4, 4] - patch.mean()) / (patch - patch.mean()).norm()
    torch.testing.assert_close(centre[2, 3], expected)
