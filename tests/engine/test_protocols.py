"""The protocols against an oracle: plain loops in numpy, written from the definition alone.

The oracle shares with the engine only the descriptor itself, Harris' formula as OpenCV computes it,
and the numbering of random choices, which is part of the definition.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from engine.data.demo import demo_dataset
from engine.descriptors.base import DescriptorMap
from engine.descriptors.compute import get_built
from engine.descriptors.registry import make_spec
from engine.errors import ConfigError
from engine.evaluation.points import PairPoints
from engine.evaluation.protocols import (
    QueryPoints,
    WorkingImage,
    describe_points,
    draw_queries,
    grid_places,
    make_working_image,
    match_points,
    query_pool,
    resize_truth,
    search_apart,
)
from engine.evaluation.switches import Protocol, matcher_for
from engine.geometry.coords import CellGrid, Resize
from engine.jobs.evaluate import EvaluateJob, choose_descriptors, make_protocol
from engine.jobs.settings import EvaluateConfig
from engine.progress import CancelToken, JobContext
from engine.truth.homography import HomographyTruth

LONG_EDGE_PX = 96
LIMIT = 80
SEED = 3
DAISY = {"stride_px": 4, "rings": 2, "radius_px": 8.0}
IDENTITY = Resize((64, 48), (64, 48))


def protocol(name: str = "closed", **changes: object) -> Protocol:
    settings = {"long_edge_px": LONG_EDGE_PX, "query_limit": LIMIT, "seed": SEED, **changes}
    return make_protocol(EvaluateConfig(dataset="x", protocol=name, **settings))


# ---- the oracle --------------------------------------------------------------------------------


def oracle_resized(path: Path, antialias: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """The working image, and the original (width, height)."""
    pixels = np.asarray(PIL.Image.open(path).convert("RGB"), np.float32) / np.float32(255)
    height, width = pixels.shape[:2]
    factor = LONG_EDGE_PX / max(width, height)
    size = (math.floor(width * factor + 0.5), math.floor(height * factor + 0.5))
    if antialias:
        planes = [
            PIL.Image.fromarray(np.ascontiguousarray(pixels[..., c])).resize(
                size, PIL.Image.Resampling.BILINEAR
            )
            for c in range(3)
        ]
        return np.stack([np.asarray(plane) for plane in planes], axis=2), (width, height)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), (width, height)


def oracle_homography(
    name: str, original: np.ndarray, a: np.ndarray, b: np.ndarray, size_a: tuple, size_b: tuple
) -> np.ndarray:
    """``original`` between the resized images ``a`` and ``b``, which had the sizes given."""

    def resizing(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        x, y = image.shape[1] / size[0], image.shape[0] / size[1]
        if name == "seed":
            return np.array([[x, 0, 0], [0, y, 0], [0, 0, 1]])
        return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])

    return resizing(b, size_b) @ original @ np.linalg.inv(resizing(a, size_a))


def oracle_point(homography: np.ndarray, x: float, y: float) -> tuple[float, float] | None:
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in homography.tolist())
    return (u / w, v / w) if w > 0 else None


def oracle_queries(
    image_a: np.ndarray,
    homography: np.ndarray,
    image_b: np.ndarray,
    kind: str,
    sequence: str,
    index: int,
) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    """Queries with their true points."""
    grey = cv2.cvtColor(image_a, cv2.COLOR_RGB2GRAY)
    response = cv2.cornerHarris(grey, 2, 3, 0.04)
    least = np.percentile(response, 90)
    height, width = image_b.shape[:2]
    seen = []
    for y in range(image_a.shape[0]):
        for x in range(image_a.shape[1]):
            if kind == "harris" and not response[y, x] > least:
                continue
            there = oracle_point(homography, x, y)
            if there and 0 <= there[0] <= width - 1 and 0 <= there[1] <= height - 1:
                seen.append(((x, y), there))
    digest = hashlib.sha256(f"{SEED} {sequence} {index} {kind}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    chosen = random.choice(len(seen), size=min(LIMIT, len(seen)), replace=False)
    return [seen[number] for number in chosen]


def oracle_sample(values: np.ndarray, grid: CellGrid, x: float, y: float) -> np.ndarray:
    """One descriptor of a ``(D, H', W')`` map, bilinearly, of unit length."""
    column = min(max((x - grid.offset_px) / grid.stride_px, 0), values.shape[2] - 1)
    row = min(max((y - grid.offset_px) / grid.stride_px, 0), values.shape[1] - 1)
    left, top = math.floor(column), math.floor(row)
    right, bottom = min(left + 1, values.shape[2] - 1), min(top + 1, values.shape[1] - 1)
    across, down = column - left, row - top
    mixed = (1 - down) * ((1 - across) * values[:, top, left] + across * values[:, top, right])
    mixed = mixed + down * (
        (1 - across) * values[:, bottom, left] + across * values[:, bottom, right]
    )
    length = np.linalg.norm(mixed)
    return mixed / length if length > 0 else mixed


def oracle_rows(
    name: str, root: Path, sequences: list[str], indices: list[int]
) -> dict[tuple[str, int, str], tuple[int, dict[float, float]]]:
    """(sequence, index, list of queries) -> (count, PCK by threshold)."""
    descriptor = get_built(make_spec("daisy", DAISY))

    def describe(image: np.ndarray) -> list[tuple[np.ndarray, CellGrid]]:
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
        with torch.inference_mode():
            (level,) = descriptor.describe(batch)
        return [(level.values[0].numpy().astype(np.float64), level.grid)]

    rows = {}
    for sequence in sequences:
        folder = root / sequence
        image_a, size_a = oracle_resized(folder / "1.png", name == "dense")
        maps_a = describe(image_a)
        for index in indices:
            image_b, size_b = oracle_resized(folder / f"{index}.png", name == "dense")
            maps_b = describe(image_b)
            original = np.loadtxt(folder / f"H_1_{index}")
            homography = oracle_homography(name, original, image_a, image_b, size_a, size_b)
            for kind in ["harris", "uniform"] if name == "dense" else ["harris"]:
                queries = oracle_queries(image_a, homography, image_b, kind, sequence, index)
                truth = [there for _, there in queries]
                if name == "seed":
                    truth = [(float(int(x)), float(int(y))) for x, y in truth]
                if name == "dense":
                    places = [
                        (float(x), float(y))
                        for y in range(0, image_b.shape[0], 4)
                        for x in range(0, image_b.shape[1], 4)
                    ]
                else:
                    places = truth
                offered = np.stack([oracle_sample(*maps_b[0], x, y) for x, y in places])
                errors = []
                for (here, _), true in zip(queries, truth, strict=True):
                    asked = oracle_sample(*maps_a[0], *here)
                    x, y = places[int(np.argmin(((offered - asked) ** 2).sum(axis=1)))]
                    errors.append(math.sqrt((x - true[0]) ** 2 + (y - true[1]) ** 2))
                shares = {
                    threshold: sum(error <= threshold for error in errors) / len(errors)
                    for threshold in (1.0, 3.0, 5.0)
                }
                rows[sequence, index, kind] = (len(errors), shares)
    return rows


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small maps: threads would wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def demo(home: Path) -> Path:
    return demo_dataset()


@pytest.mark.parametrize("name", ["seed", "closed", "dense"])
def test_the_engine_agrees_with_the_oracle_on_the_demo_to_the_last_row(
    name: str, demo: Path, tmp_path: Path
):
    config = EvaluateConfig(
        dataset=str(demo), descriptor=("daisy",), protocol=name, device="cpu", seed=SEED,
        long_edge_px=LONG_EDGE_PX, query_limit=LIMIT,
    )  # fmt: skip
    choices = choose_descriptors(config, DAISY)
    result = EvaluateJob(config=config, choices=choices, out=tmp_path).run(JobContext())
    sequences = sorted({row.sequence for row in result.pairs})
    assert len(sequences) == 6
    expected = oracle_rows(name, demo, sequences, [2, 3, 4, 5, 6])
    found = {(row.sequence, row.index, row.queries): row for row in result.pairs}
    assert found.keys() == expected.keys()
    for key, (count, shares) in expected.items():
        assert found[key].count == count
        # Rounding may settle a tie of two candidates otherwise; of one query, not of more.
        assert dict(found[key].pck) == pytest.approx(shares, abs=1.01 / count), key
    exact = sum(dict(found[key].pck) == shares for key, (_, shares) in expected.items())
    assert exact >= 0.95 * len(expected)


# ---- parts with a known answer -----------------------------------------------------------------


def test_images_are_brought_to_the_long_edge_also_by_enlarging():
    small = np.zeros((30, 64, 3), np.uint8)
    assert make_working_image(protocol(), small).size_px == (96, 45)
    large = np.zeros((333, 500, 3), np.uint8)
    assert make_working_image(protocol(), large).size_px == (96, 64)  # 63.936
    assert make_working_image(protocol(), large.swapaxes(0, 1)).size_px == (64, 96)


def test_only_the_dense_protocol_averages_when_it_shrinks():
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    spread = {
        name: make_working_image(protocol(name), noise).pixels.std()
        for name in ("seed", "closed", "dense")
    }
    assert spread["seed"] == spread["closed"]
    assert spread["dense"] < 0.7 * spread["closed"]


def test_the_exact_homography_follows_pixel_centres_and_the_plain_one_does_not():
    """Both images are the same one, halved: a point stays where it is.  Halved differently (along
    x in a, along y in b) the exact one takes the same spot of the plane to the same spot."""
    halved = Resize((100, 80), (50, 80))
    other = Resize((100, 80), (100, 40))
    still = HomographyTruth(np.eye(3), ((100, 80), (100, 80)))
    exact = resize_truth(protocol("closed"), halved, other, still).matrix_from("a")
    spot = np.array([37.0, 51.0])
    here, there = halved.forward(spot), other.forward(spot)
    np.testing.assert_allclose((exact @ [*here, 1])[:2], there)
    plain = resize_truth(protocol("seed"), halved, other, still).matrix_from("a")
    np.testing.assert_allclose((plain @ [*here, 1])[:2], [here[0] * 2, here[1] / 2])


def working(pixels: np.ndarray) -> WorkingImage:
    height, width = pixels.shape[:2]
    return WorkingImage(pixels, Resize((width, height), (width, height)))


def truth_of(h_b_from_a: np.ndarray) -> HomographyTruth:
    return HomographyTruth(h_b_from_a, ((64, 48), (64, 48)))


def noisy_image(seed: int = 0) -> WorkingImage:
    return working(np.random.default_rng(seed).uniform(size=(48, 64, 3)).astype(np.float32))


def test_queries_are_different_pixels_whose_truth_is_inside_the_other_image():
    shift = np.array([[1, 0, 30.25], [0, 1, -20.5], [0, 0, 1]])
    for kind in ("harris", "uniform"):
        pool = query_pool(noisy_image(), kind)
        drawn = draw_queries(protocol(), pool, truth_of(shift), sequence="s", index=2, kind=kind)
        assert 0 < len(drawn.query_px) <= LIMIT
        assert len(np.unique(drawn.query_px, axis=0)) == len(drawn.query_px)
        assert {tuple(point) for point in drawn.query_px} <= {tuple(point) for point in pool}
        np.testing.assert_allclose(drawn.true_px, drawn.query_px + np.array([30.25, -20.5]))
        assert (drawn.true_px >= 0).all()
        assert (drawn.true_px <= [63, 47]).all()


def test_the_seed_protocol_cuts_the_truth_and_the_others_keep_it():
    shift = np.array([[1, 0, 0.75], [0, 1, 0.5], [0, 0, 1]])
    pool = query_pool(noisy_image(), "harris")
    one, other = (
        draw_queries(protocol(name), pool, truth_of(shift), sequence="s", index=2, kind="harris")
        for name in ("seed", "closed")
    )
    np.testing.assert_array_equal(one.query_px, other.query_px)
    np.testing.assert_array_equal(one.true_px, one.query_px)
    np.testing.assert_allclose(other.true_px, other.query_px + np.array([0.75, 0.5]))


def test_the_draw_depends_on_pair_list_and_seed_and_on_nothing_that_came_before():
    pool = query_pool(noisy_image(), "uniform")

    def draw(sequence: str = "s", index: int = 2, seed: int = SEED) -> bytes:
        found = draw_queries(
            protocol(seed=seed), pool, truth_of(np.eye(3)),
            sequence=sequence, index=index, kind="uniform",
        )  # fmt: skip
        return found.query_px.tobytes()

    first = draw()
    others = [draw("t"), draw(index=3), draw(seed=4)]
    assert len({first, *others}) == 4
    assert draw() == first


def test_a_flat_image_has_no_corner_and_a_pair_without_overlap_no_query():
    flat = working(np.full((48, 64, 3), 0.5, np.float32))
    assert query_pool(flat, "harris").shape == (0, 2)
    assert query_pool(flat, "uniform").shape == (64 * 48, 2)
    away = np.array([[1, 0, 1000.0], [0, 1, 0], [0, 0, 1]])
    for pool in (query_pool(flat, "harris"), query_pool(flat, "uniform")):
        drawn = draw_queries(protocol(), pool, truth_of(away), sequence="s", index=2, kind="harris")
        assert drawn.query_px.shape == (0, 2)
        assert drawn.true_px.shape == (0, 2)


def own_place_map(size_px: tuple[int, int], stride_px: float = 1.0) -> DescriptorMap:
    """Every cell's descriptor encodes its position: all differ, neighbours are similar."""
    grid = CellGrid(stride_px, (stride_px - 1) / 2)
    columns, rows = (int(side // stride_px) for side in size_px)
    y, x = np.mgrid[0:rows, 0:columns]
    angle_x, angle_y = (grid.to_px(v) * np.pi / 200 for v in (x, y))
    values = np.stack([np.cos(angle_x), np.sin(angle_x), np.cos(angle_y), np.sin(angle_y)])
    return DescriptorMap(torch.from_numpy(values / np.sqrt(2)).float()[None], grid)


def random_queries(count: int = 60) -> QueryPoints:
    points = np.random.default_rng(2).permutation(64 * 48)[:count]
    places = np.stack([points % 64, points // 64], axis=1).astype(np.float64)
    return QueryPoints(places, places.copy())


def errors_of(
    one: Protocol, levels: tuple[DescriptorMap, ...], queries: QueryPoints, **how: object
) -> np.ndarray:
    return match_points(
        one, levels, levels, queries, (64, 48), matcher="exact", cancel=CancelToken(), **how
    ).errors_px


@pytest.mark.parametrize(("stride_px", "farthest"), [(4, 2 * math.sqrt(2)), (1, 0.0)])
def test_a_map_that_knows_its_place_is_matched_to_the_nearest_place_of_the_grid(
    stride_px: int, farthest: float
):
    queries = random_queries()
    errors = errors_of(
        protocol("dense", grid_stride_px=stride_px), (own_place_map((64, 48)),), queries
    )
    places = grid_places((64, 48), stride_px)
    nearest = [min(np.hypot(*(places - point).T)) for point in queries.true_px]
    # Border cells beyond the last grid place are up to 3 px away.
    np.testing.assert_allclose(errors, nearest, atol=1e-9)
    inner = (queries.true_px <= [60, 44]).all(axis=1)
    assert errors[inner].max() <= farthest


@pytest.mark.parametrize("stride_px", [1.0, 4.0])
def test_refined_matches_of_the_dense_protocol_lie_between_the_places_of_the_grid(stride_px: float):
    queries, levels = random_queries(), (own_place_map((64, 48), stride_px),)
    inner = (queries.true_px >= 6).all(axis=1) & (queries.true_px <= [56, 40]).all(axis=1)
    rough, fine = (
        errors_of(protocol("dense", refine=one), levels, queries)[inner] for one in (False, True)
    )
    assert np.median(rough) > 1
    assert fine.max() < 0.15
    closed = [errors_of(protocol("closed", refine=one), levels, queries) for one in (False, True)]
    np.testing.assert_array_equal(*closed)


def test_only_true_points_of_queries_are_candidates_in_the_closed_protocol():
    """Turned descriptors: each query is nearest to the next one's true point, and is off by the
    distance of the two."""
    queries = random_queries(3)
    vectors = torch.zeros(1, 3, 48, 64)
    turned = torch.zeros(1, 3, 48, 64)
    for number, (x, y) in enumerate(queries.query_px.astype(int)):
        vectors[0, (number + 1) % 3, y, x] = 1
        turned[0, number, y, x] = 1
    grid = CellGrid(1.0, 0.0)
    errors = match_points(
        protocol(),
        (DescriptorMap(vectors, grid),),
        (DescriptorMap(turned, grid),),
        queries,
        (64, 48),
        matcher="exact",
        cancel=CancelToken(),
    ).errors_px
    gaps = queries.true_px - np.roll(queries.true_px, -1, axis=0)
    np.testing.assert_allclose(errors, np.hypot(*gaps.T))


@pytest.mark.parametrize("name", ["closed", "dense"])
def test_sets_are_matched_by_their_best_members_whatever_the_grids(name: str):
    """Image a's second level equals image b's first one, the others are noise."""
    right = own_place_map((64, 48))
    generator = torch.Generator().manual_seed(0)
    noise = torch.nn.functional.normalize(torch.randn(1, 4, 24, 32, generator=generator), dim=1)
    wrong = DescriptorMap(0.5 * noise, CellGrid(2.0, 0.5))
    queries = random_queries()
    single = errors_of(protocol(name), (right,), queries)
    together = match_points(
        protocol(name), (wrong, right), (right, wrong), queries, (64, 48),
        matcher="exact", cancel=CancelToken(),
    ).errors_px  # fmt: skip
    # Noise of unit length after sampling may win now and then by chance.
    assert (together == single).mean() > 0.9


def test_flann_finds_what_is_obvious_and_the_same_twice():
    queries = random_queries(200)
    levels = (own_place_map((64, 48)),)
    found = [
        match_points(
            protocol("seed", matcher="flann"), levels, levels, queries, (64, 48),
            matcher="flann", cancel=CancelToken(),
        ).errors_px
        for _ in range(2)
    ]  # fmt: skip
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] == 0).mean() > 0.9


@pytest.mark.parametrize("count", [1, 2, 3])
def test_flann_matches_lists_shorter_than_its_trees(count: int):
    errors = match_points(
        protocol("seed", matcher="flann"), (own_place_map((64, 48)),), (own_place_map((64, 48)),),
        random_queries(count), (64, 48), matcher="flann", cancel=CancelToken(),
    ).errors_px  # fmt: skip
    assert errors.tolist() == [0.0] * count


def test_the_grid_is_searched_alike_in_one_block_and_in_many(monkeypatch: pytest.MonkeyPatch):
    queries = random_queries()
    levels = (own_place_map((64, 48)), own_place_map((64, 48), 4.0))
    whole = errors_of(protocol("dense", grid_stride_px=1), levels, queries)
    monkeypatch.setattr("engine.evaluation.protocols.SEARCH_BUDGET_BYTES", 4000)
    np.testing.assert_array_equal(
        errors_of(protocol("dense", grid_stride_px=1), levels, queries), whole
    )


def test_sets_are_always_matched_exactly_and_the_dense_protocol_too():
    assert matcher_for(protocol("seed", matcher="flann"), 1) == "flann"
    assert matcher_for(protocol("seed", matcher="flann"), 2) == "exact"
    with pytest.raises(ConfigError, match="matched exactly"):
        protocol("dense", matcher="flann")
    with pytest.raises(ConfigError, match="threshold"):
        protocol(threshold_px=())


def test_each_protocol_has_its_lists_of_queries_and_a_switch_overrides_them():
    assert protocol("seed").queries == ("harris",)
    assert protocol("closed").queries == ("harris",)
    assert protocol("dense").queries == ("harris", "uniform")
    assert protocol("closed", queries="uniform").queries == ("uniform",)
    assert protocol("seed", queries="both").queries == ("harris", "uniform")


# ---- consensus ---------------------------------------------------------------------------------


def decoyed(share: float) -> tuple[DescriptorMap, tuple[DescriptorMap, DescriptorMap], QueryPoints]:
    """Maps of 320 × 240 px: all of image a lies 40 px further right and 24 further down in b.

    Image b has two members.  On the first everything is in its place, but blurred by noise; on the
    second, which is coarser, a share of image a's cells lies somewhere else, and less blurred.
    """
    generator = np.random.default_rng(8)
    a = generator.standard_normal((32, 30, 40))
    right = np.roll(a, (3, 5), axis=(1, 2)) + 0.5 * generator.standard_normal(a.shape)
    ys, xs = np.mgrid[0:30, 0:40].reshape(2, -1)[:, generator.permutation(1200)[:300]]
    inside = (ys < 27) & (xs < 35)
    ys, xs = ys[inside], xs[inside]
    elsewhere = generator.standard_normal((32, 15, 20))
    moved = np.flatnonzero(generator.random(len(ys)) < share)
    cells = generator.permutation(300)[: len(moved)]
    again = a[:, ys[moved], xs[moved]]
    elsewhere.reshape(32, -1)[:, cells] = again + 0.4 * generator.standard_normal(again.shape)
    query_px = 8.0 * np.stack([xs, ys], axis=1)
    levels = [
        DescriptorMap(
            torch.nn.functional.normalize(torch.from_numpy(values).float()[None], dim=1), grid
        )
        for values, grid in (
            (a, CellGrid(8.0, 0.0)), (right, CellGrid(8.0, 0.0)), (elsewhere, CellGrid(16.0, 0.0)),
        )
    ]  # fmt: skip
    return (
        levels[0],
        (levels[1], levels[2]),
        QueryPoints(query_px, query_px + np.array([40.0, 24.0])),
    )


def decoyed_points(matcher: str, share: float = 0.3, name: str = "dense") -> PairPoints:
    level_a, levels_b, queries = decoyed(share)
    return match_points(
        protocol(name, matcher=matcher), (level_a,), levels_b, queries, (320, 240),
        matcher=matcher, cancel=CancelToken(),
    )  # fmt: skip


def test_consensus_finds_what_is_more_similar_elsewhere_in_another_member_of_the_set():
    alone, together = decoyed_points("exact"), decoyed_points("consensus")
    wrong = alone.errors_px > 1
    assert 0.2 < wrong.mean() < 0.4
    assert (together.errors_px[~wrong] <= 1).all()
    assert (together.errors_px[wrong] <= 1).mean() > 0.9
    found = wrong & (together.errors_px <= 1)
    assert (together.similarity[found] < alone.similarity[found]).all()
    # Processors that multiply bfloat16 sum the nearest ones' similarities in another order.
    np.testing.assert_allclose(together.similarity[~wrong], alone.similarity[~wrong], atol=1e-6)


def test_consensus_among_true_points_matches_true_points():
    found = decoyed_points("consensus", name="closed")
    true = {tuple(point) for point in found.true_px}
    assert {tuple(point) for point in found.match_px} <= true
    assert (found.errors_px <= 1).mean() > 0.9


def test_the_places_that_consensus_chooses_among_are_the_best_that_are_apart(
    monkeypatch: pytest.MonkeyPatch,
):
    level_a, levels_b, queries = decoyed(0.3)
    asked, places = describe_points((level_a,), queries.query_px), grid_places((320, 240), 4)
    found = search_apart(asked, levels_b, places, CancelToken())
    members = describe_points(levels_b, places).numpy()
    similarity = np.einsum("nd,lmd->nlm", asked[0].numpy(), members).max(axis=1)
    for query, row in enumerate(similarity):
        order, picked = np.argsort(-row, kind="stable"), []
        for place in order:
            if all(np.hypot(*(places[place] - places[one])) >= 16 for one in picked):
                picked.append(place)
            if len(picked) == 5:
                break
        np.testing.assert_allclose(found.similarity[query], row[picked], atol=1e-5)
    whole = decoyed_points("consensus")
    monkeypatch.setattr("engine.evaluation.protocols.SEARCH_BUDGET_BYTES", 40_000)
    np.testing.assert_array_equal(decoyed_points("consensus").match_px, whole.match_px)


def test_consensus_matches_sets_but_measures_nothing_that_is_made_of_nearest_neighbours():
    assert matcher_for(protocol("dense", matcher="consensus"), 5) == "consensus"
    assert protocol("closed", matcher="consensus", metric=("box",)).metrics.chosen == ("box",)
    with pytest.raises(ConfigError, match="figures of nearest neighbours"):
        protocol("seed", matcher="consensus")
    with pytest.raises(ConfigError, match="found: made of nearest neighbours"):
        protocol("dense", matcher="consensus", metric=("box", "found"))


def test_rows_of_consensus_are_called_so():
    config = EvaluateConfig(descriptor=("daisy", "descspace"), matcher="consensus")
    labels = [choice.label for choice in choose_descriptors(config, {})]
    assert labels == ["daisy (consensus)", "descspace (consensus)"]
