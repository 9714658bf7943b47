"""Pairs with known truth among those made of photos: which, how many, and what they show."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.data.photos import open_photos, split_photos
from engine.data.synthetic_recipe import LightRecipe
from engine.errors import (
    ConfigError,
    DatasetError,
    DescSpaceError,
    ImageError,
    ResultError,
)
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import sample_map
from engine.jobs.evaluate import EvaluateJob, choose_descriptors
from engine.jobs.settings import EvaluateConfig
from engine.progress import CancelToken, JobContext, Note
from engine.training.batches import Prefetcher
from engine.training.extra_pairs import (
    ExtraPairs,
    ExtraReader,
    bare_place,
    cut_windows,
    draw_pool,
    extra_number,
    find_extra_pairs,
    make_extra,
    whole_place,
)
from engine.training.settings import ExtraSettings, TrainSettings
from engine.truth.homography import HomographyTruth
from tests.engine.learning_textures import KNOWN, SIZE_PX, write_pairs, write_photos
from tests.engine.small_network import registered

PLAIN = LightRecipe(
    brightness=0, contrast=0, saturation=0, hue_deg=0, blur_share=0, motion_share=0, noise_share=0,
    jpeg_share=0,
)  # fmt: skip
CPU = torch.device("cpu")


def find(pairs: Path | str, **changes: object) -> ExtraPairs:
    settings = replace(ExtraSettings(pairs=str(pairs)), **changes)  # type: ignore[arg-type]
    found = find_extra_pairs(settings, "daisy", JobContext())
    assert found is not None
    return found


def make_reader(
    extra: ExtraPairs, warn: Callable[[str], None] = pytest.fail, **changes: int
) -> ExtraReader:
    settings = {"points": 50, "seed": 0, "budget_bytes": 1 << 20, **changes}
    return ExtraReader(extra, size_px=(48, 36), share=1.0, warn=warn, **settings)


# ---- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.29, 1 / 3, 0.5, 0.7, 1.0])
def test_of_any_pairs_in_a_row_the_share_is_extra(share: float):
    numbers = [extra_number(number, share) for number in range(1000)]
    for begin in (0, 1, 37, 500):
        for count in (4, 100, 400):
            some = [one for one in numbers[begin : begin + count] if one is not None]
            assert abs(len(some) - share * count) < 1 + 1e-3
    extra = [one for one in numbers if one is not None]
    assert extra == list(range(len(extra)))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "photos", 6)
    return tmp_path / "photos"


def batches_of(
    photos: Path, extra: ExtraPairs | None, *, first_step: int = 0, rank: int = 0, world: int = 1,
    seed: int = 0, share: float = 0.25,
) -> list[dict[str, torch.Tensor]]:  # fmt: skip
    """All batches of a run of six steps, as what is in them."""
    settings = TrainSettings(
        steps=6, batch=4, width=48, height=36, points=40, seed=seed,
        light=PLAIN, extra=ExtraSettings(share=share),
    )  # fmt: skip
    split = split_photos(open_photos(photos), validation_share=0.2)
    with Prefetcher(
        split, settings, device=CPU, first_step=first_step, rank=rank, world=world,
        warn=pytest.fail, extra=extra,
    ) as made:  # fmt: skip
        batches = [made.next(CancelToken()) for _ in range(first_step, 6)]
    return [
        {name: getattr(one, name) for name in ("images_a", "points_b", "seen", "h_b_from_a")}
        for one in batches
    ]


def is_extra(batch: dict[str, torch.Tensor]) -> list[bool]:
    return batch["h_b_from_a"].isnan().all(dim=(1, 2)).tolist()


def assert_same(some: list[dict[str, torch.Tensor]], others: list[dict[str, torch.Tensor]]):
    for one, other in zip(some, others, strict=True):
        for name, values in one.items():
            torch.testing.assert_close(values, other[name], rtol=0, atol=0, equal_nan=True)


def test_batches_hold_the_share_wherever_a_run_begins_and_however_it_is_split(
    photos: Path, tmp_path: Path
):
    extra = find(write_pairs(tmp_path / "set", [(KNOWN[0], 3)], seed=1), long_edge_px=96)
    whole = batches_of(photos, extra)
    assert [is_extra(batch) for batch in whole] == [[False, False, False, True]] * 6
    assert_same(batches_of(photos, extra), whole)
    assert_same(batches_of(photos, extra, first_step=4), whole[4:])
    parts = zip(*(batches_of(photos, extra, rank=rank, world=2) for rank in (0, 1)), strict=True)
    joined = [{name: torch.cat([a[name], b[name]]) for name in a} for a, b in parts]
    assert_same(joined, whole)
    others = batches_of(photos, extra, seed=1)
    for one, other in zip(whole, others, strict=True):
        assert not torch.equal(one["images_a"], other["images_a"])
    assert all(all(is_extra(one)) for one in batches_of(photos, extra, share=1.0))


def test_the_other_pairs_are_those_of_a_run_without_extra_ones(photos: Path, tmp_path: Path):
    extra = find(write_pairs(tmp_path / "set", [(KNOWN[0], 3)], seed=1), long_edge_px=96)
    mixed, plain = batches_of(photos, extra, share=0.5), batches_of(photos, None)
    for one, other in zip(mixed, plain, strict=True):
        assert is_extra(one) == [False, True, False, True]
        assert not any(is_extra(other))
        for name, values in one.items():
            assert torch.equal(values[::2], other[name][::2])


def test_each_extra_pair_comes_equally_often(tmp_path: Path):
    extra = find(write_pairs(tmp_path / "set", [(KNOWN[0], 5)], seed=1), long_edge_px=96)
    reader = make_reader(extra)
    read: list[int] = []
    get = reader._decoded.get
    reader._decoded.get = lambda index: read.append(index) or get(index)  # type: ignore
    for number in range(15):
        reader.read(number)
    assert [sorted(read[begin : begin + 5]) for begin in (0, 5, 10)] == [list(range(5))] * 3
    assert read[:5] != read[5:10]


# ---- what they show ------------------------------------------------------------------------------


def ramps(size_px: tuple[int, int], h_map_from_image: np.ndarray) -> np.ndarray:
    """An image whose red and green tell where on a map it is."""
    width, height = size_px
    xs, ys = np.meshgrid(np.arange(width), np.arange(height))
    places = np.stack([xs, ys, np.ones_like(xs)], axis=-1) @ h_map_from_image.T
    return np.clip(np.dstack([places[..., :2], np.full(xs.shape, 255)]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size_px", [(48, 36), (160, 30), (300, 200)])
def test_points_of_windows_show_one_thing_also_where_windows_are_larger_than_images(
    size_px: tuple[int, int],
):
    h_b_from_a = np.array([[0.9, 0.1, 5.0], [-0.1, 0.9, 12.0], [0, 0, 1]])
    sizes = ((120, 90), (110, 100))
    images = (ramps(sizes[0], np.eye(3)), ramps(sizes[1], np.linalg.inv(h_b_from_a)))
    pool = draw_pool(HomographyTruth(h_b_from_a, sizes), np.random.default_rng(0))
    assert len(pool) == 16384
    for seed in range(5):
        cut = cut_windows(images, pool, size_px, 200, np.random.default_rng(seed))
        assert 1 <= len(cut.points_a) <= 200
        pairs = make_extra([cut], [seed], points=200, light=PLAIN, device=CPU)
        assert pairs.images_a.shape == (1, 3, size_px[1], size_px[0])
        seen = pairs.seen[0]
        assert int(seen.sum()) == len(cut.points_a)
        shown = [
            sample_map(images, CellGrid(1.0, 0.0), points)[0][seen] * 255
            for images, points in (
                (pairs.images_a, pairs.points_a),
                (pairs.images_b, pairs.points_b),
            )
        ]
        whole = (shown[0][:, 2] > 254) & (shown[1][:, 2] > 254)
        assert float(whole.float().mean()) > 0.9
        gap = (shown[0] - shown[1])[whole, :2].abs()
        assert float(gap.max()) < 1.6  # 8-bit steps cut off on both sides


def test_listed_points_are_all_there_is_to_learn_from(tmp_path: Path):
    table = write_pairs(tmp_path, [(KNOWN[0], 1)], seed=2)
    listed = np.loadtxt(tmp_path / "clouds-2-0.txt")
    cut = make_reader(find(table, long_edge_px=SIZE_PX[0])).read(0)
    assert cut is not None
    shift = listed[0, 2:] - listed[0, :2]
    moved = cut.points_b - cut.points_a
    np.testing.assert_allclose(moved - moved[0], 0, atol=1e-4)
    corners = moved[0] - shift
    np.testing.assert_allclose(corners, corners.round(), atol=1e-3)


def test_light_is_changed_as_in_other_pairs(tmp_path: Path):
    extra = find(write_pairs(tmp_path, [(KNOWN[0], 1)], seed=2), long_edge_px=SIZE_PX[0])
    cut = make_reader(extra).read(0)
    assert cut is not None
    plain, first, again, other = (
        make_extra([cut], [key], points=50, light=light, device=CPU)
        for key, light in ((1, PLAIN), (1, LightRecipe()), (1, LightRecipe()), (2, LightRecipe()))
    )
    assert torch.equal(first.images_a, again.images_a)
    assert not torch.equal(first.images_a, other.images_a)
    assert not torch.allclose(first.images_a, plain.images_a, atol=0.02)
    assert torch.equal(first.points_a, plain.points_a)


def test_images_come_at_the_size_that_they_are_measured_at(tmp_path: Path):
    table = write_pairs(tmp_path, [(KNOWN[1], 1)], seed=2)
    for long_edge_px in (48, 96, 192):
        decoded = make_reader(find(table, long_edge_px=long_edge_px))._decoded.get(0)
        assert [one.shape[1] for one in decoded.images] == [long_edge_px] * 2
    assert find(table).long_edge_px == 640


# ---- which ---------------------------------------------------------------------------------------


def evaluate(dataset: str, out: Path, *descriptors: str, **changes: object) -> Path:
    config = EvaluateConfig(
        dataset=dataset, descriptor=descriptors or ("small",), device="cpu", long_edge_px=96,
        query_limit=30, **changes,  # type: ignore[arg-type]
    )  # fmt: skip
    EvaluateJob(config=config, choices=choose_descriptors(config, {}), out=out).run(JobContext())
    return out


@pytest.fixture
def small() -> Iterator[None]:
    """Two small networks among the descriptors."""
    with registered("small"), registered("other", seed=2):
        yield


@pytest.fixture
def measured(small: None, tmp_path: Path) -> Path:
    """An evaluation of a set whose one wrong truth makes a pair the worst."""
    table = write_pairs(tmp_path / "set", [(one, 2) for one in KNOWN[:2]], seed=1)
    path = tmp_path / "set" / "clouds-4-1.txt"
    listed = np.loadtxt(path)
    listed[:, 2:] = listed[::-1, 2:]
    np.savetxt(path, listed)
    return evaluate(str(table), tmp_path / "run")


def test_the_worst_pairs_of_an_evaluation_are_taken_as_it_measured_them(measured: Path):
    found = find(measured, worst=1)
    assert [one.key for one in found.pairs] == [("clouds 4", 2)]
    assert found.long_edge_px == 96
    assert found.words == (
        "Also learns from the worst 1 pair of pairs.csv: the trained weights can no longer be "
        "reported on 1 group (clouds 4)."
    )
    assert len(find(measured / "result.json", worst=3).marks) == 6
    assert len(find(measured, worst=100).pairs) == 4


def test_turned_pairs_are_learned_from_as_they_were_turned(small: None, tmp_path: Path):
    table = write_pairs(tmp_path / "set", [(KNOWN[0], 2)], seed=1)
    found = find(evaluate(f"rotated:{table}", tmp_path / "run"), worst=2)
    assert all(one.stress is not None for one in found.pairs)
    as_it_is = make_reader(find(table, long_edge_px=96))._decoded.get(0)
    turned = make_reader(found)._decoded.get(
        [one.key for one in found.pairs].index(("clouds 2", 1))
    )
    assert np.array_equal(as_it_is.images[0], turned.images[0])
    assert not np.array_equal(as_it_is.images[1], turned.images[1])


def test_moved_images_are_found_where_they_are_said_to_be(measured: Path, tmp_path: Path):
    (tmp_path / "set").rename(tmp_path / "moved")
    with pytest.raises(DatasetError, match="does not exist"):
        find(measured)
    assert len(find(measured, dataset=str(tmp_path / "moved")).pairs) == 4


def test_what_cannot_be_learned_from_is_refused_in_a_sentence(measured: Path, tmp_path: Path):
    table = tmp_path / "set" / "pairs.csv"
    with pytest.raises(DatasetError, match="nowhere: does not exist"):
        find(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="says where the pairs of an evaluation are"):
        find(table, dataset=str(table))
    (tmp_path / "bare.csv").write_text("image_a,image_b\nset/clouds-2-0-a.png,set/clouds-2-0-b.png")
    with pytest.raises(DatasetError, match="knows the truth of none"):
        find(tmp_path / "bare.csv")
    shutil.copytree(measured, tmp_path / "damaged")
    (tmp_path / "damaged" / "result.json").write_text("{")
    with pytest.raises(ResultError, match="is not JSON"):
        find(tmp_path / "damaged")
    other = write_pairs(tmp_path / "other", [(KNOWN[2], 2)], seed=1)
    with pytest.raises(DatasetError, match=r"has no pair .*, which was evaluated"):
        find(measured, dataset=str(other))
    image = tmp_path / "set" / "clouds-4-1-b.png"
    cv2.imwrite(str(image), np.zeros((72, 96, 3), np.uint8))
    with pytest.raises(ImageError, match="has changed since it was measured"):
        find(measured, worst=1)


def test_a_pair_that_became_unusable_is_told_once_and_the_next_takes_its_place(tmp_path: Path):
    table = write_pairs(tmp_path / "set", [(KNOWN[0], 2)], seed=1)
    extra = find(table, long_edge_px=96)
    (tmp_path / "set" / "clouds-2-0-a.png").write_bytes(b"")
    told: list[str] = []
    reader = make_reader(extra, told.append)
    for number in range(6):
        assert reader.read(number) is not None
    (text,) = told
    assert text.startswith("clouds 2 clouds-2-0-a → clouds-2-0-b is not learned from: ")
    assert text.endswith("is empty; the next extra pair takes its place.")
    shutil.rmtree(tmp_path / "set")
    with pytest.raises(DescSpaceError, match="none of its extra pairs can be learned from"):
        make_reader(extra, told.append).read(0)


def test_a_pair_whose_images_share_nothing_is_not_learned_from(tmp_path: Path):
    table = write_pairs(tmp_path, [(KNOWN[0], 2)], seed=1)
    np.savetxt(tmp_path / "h.txt", [[1, 0, 500], [0, 1, 0], [0, 0, 1]])
    text = table.read_text().replace("points:clouds-2-1.txt", "homography:h.txt")
    table.write_text(text)
    told: list[str] = []
    reader = make_reader(find(table, long_edge_px=96), told.append)
    for number in range(2):
        reader.read(number)
    assert len(told) == 1
    assert "shows no place of image a whose truth is known" in told[0]


def test_names_of_sets_lose_or_gain_their_place_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    place = str(tmp_path / "set")
    for words in ("", "hpatches:", "rotated:", "rotated:hpatches:"):
        assert whole_place(f"{words}set") == f"{words}{place}"
        assert bare_place(f"{words}{place}") == f"{words}set"
    assert whole_place("demo") == "demo"
    assert bare_place("HPATCHES") == "HPATCHES"


def test_problems_of_the_set_are_told(tmp_path: Path):
    table = write_pairs(tmp_path, [(KNOWN[0], 1)], seed=1)
    table.write_text(table.read_text() + "gone.png,clouds-2-0-b.png,,x\n")
    notes: list[object] = []
    settings = ExtraSettings(pairs=str(table))
    assert find_extra_pairs(settings, "daisy", JobContext(notes.append)) is not None
    assert any(isinstance(one, Note) and "gone.png" in one.text for one in notes)
    assert find_extra_pairs(ExtraSettings(), "daisy", JobContext()) is None


def test_of_several_descriptors_the_trained_one_decides_which_pairs_are_worst(
    measured: Path, tmp_path: Path
):
    table = tmp_path / "set" / "pairs.csv"
    both = evaluate(str(table), tmp_path / "both", "small", "other")
    for name in ("small", "other"):
        settings = ExtraSettings(pairs=str(both), worst=4)
        found = find_extra_pairs(settings, name, JobContext())
        alone = evaluate(str(table), tmp_path / f"{name} alone", name)
        expected = find_extra_pairs(replace(settings, pairs=str(alone)), name, JobContext())
        assert found is not None
        assert expected is not None
        assert [one.key for one in found.pairs] == [one.key for one in expected.pairs]
