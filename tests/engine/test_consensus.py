"""Neighbourhood consensus, against plain loops and scenes whose truth is known by construction."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.errors import JobCancelled
from engine.matching.consensus import CANDIDATES, Consensus, reach_consensus
from engine.matching.local_motion import WITNESSES
from engine.progress import CancelToken

BUDGET_BYTES = 64 << 20
SIZE_PX = (640, 480)
Points = NDArray[np.float64]


def choose(
    points: Points,
    places: Points,
    similarity: NDArray[np.float64],
    *,
    trusted: NDArray[np.bool_] | None = None,
    budget_bytes: int = BUDGET_BYTES,
    device: str = "cpu",
    cancel: CancelToken | None = None,
) -> Consensus:
    told = np.ones(len(points), np.bool_) if trusted is None else trusted
    return reach_consensus(
        torch.from_numpy(points).to(device),
        torch.from_numpy(places).to(device),
        torch.from_numpy(similarity).to(device, torch.float32),
        torch.from_numpy(told).to(device),
        budget_bytes=budget_bytes,
        cancel=cancel,
    )


def random_points(generator: np.random.Generator, count: int) -> Points:
    return generator.uniform((0, 0), SIZE_PX, (count, 2))


def turned(points: Points) -> Points:
    """Turned by 70° and shrunk to .6: nothing stays where it was."""
    place = points @ np.array([1, 1j]) * 0.6 * cmath.exp(1j * math.radians(70)) + (500 - 20j)
    return np.stack([place.real, place.imag], axis=1)


def tilted(points: Points) -> Points:
    """Seen at a slant: half as wide, and sheared."""
    return points @ np.array([[0.5, 0.1], [0.2, 0.9]]) + (30, 15)


def bent(points: Points) -> Points:
    """A surface that no plane fits: nothing moves alike from one side to the other."""
    x, y = points.T
    moved = np.stack([x + 60 * np.sin(y / 90), y + 50 * np.cos(x / 110)], axis=1)
    return np.asarray(moved, np.float64)


def layered(points: Points) -> Points:
    """Stripes of things near and far, 160 px wide, which move by 90 px against each other."""
    near = (points[:, 0] // 160).astype(int) % 2 == 1
    return points + np.where(near, 90.0, 0.0)[:, None] * (1.0, 0.2)


def with_decoys(
    generator: np.random.Generator, true: Points, share: float
) -> tuple[Points, NDArray[np.float64], NDArray[np.int64]]:
    """Candidates of which a share has the true place second, behind a chance place.

    Returns:
        ``(N, K, 2)`` places, ``(N, K)`` similarities, ``(N,)`` which column is right.
    """
    places = generator.uniform((0, 0), SIZE_PX, (len(true), CANDIDATES, 2))
    similarity = np.sort(generator.uniform(0.55, 0.75, (len(true), CANDIDATES)))[:, ::-1].copy()
    right = (generator.random(len(true)) < share).astype(np.int64)
    similarity[right == 0, 0] = 0.85
    places[np.arange(len(true)), right] = true
    return places, similarity, right


@pytest.mark.parametrize("scene", [turned, tilted, bent, layered])
def test_neighbours_put_right_what_looked_likelier_elsewhere(scene):
    generator = np.random.default_rng(1)
    points = random_points(generator, 500)
    places, similarity, right = with_decoys(generator, scene(points), 0.3)
    found = choose(points, places, similarity)
    wrong = right == 1
    assert 120 < wrong.sum() < 180
    # At the edges of the stripes, half of the neighbours move otherwise.
    assert (found.choice.numpy()[wrong] == 1).mean() > (0.8 if scene is layered else 0.9)
    assert (found.choice.numpy()[~wrong] == 0).mean() > 0.99
    assert found.support.numpy()[~wrong].mean() > 0.2


def by_loops(
    points: Points, places: Points, similarity: NDArray[np.float64], trusted: NDArray[np.bool_]
) -> tuple[list[int], list[float]]:
    """The rule as its text defines it, query by query, in complex numbers."""
    place = points @ np.array([1, 1j])
    there = places @ np.array([1, 1j])
    asked = [n for n in range(len(points)) if trusted[n] and np.isfinite(similarity[n, 0])]
    counts = np.isfinite(similarity).sum(axis=1)
    distance = np.sqrt(np.maximum(2 - 2 * similarity, 1e-6))
    near = [np.log(distance[n, 0] / distance[n, : counts[n]]) for n in range(len(points))]
    around = []
    for n in range(len(points)):
        far = [m for m in asked if abs(place[m] - place[n]) >= 8]
        around.append(sorted(far, key=lambda m: abs(place[m] - place[n]))[:16])

    def likely(scores):
        weights = np.exp(4 * scores)
        return weights / weights.sum()

    def support_of(n, k, weights):
        best = 0.0
        changes = {
            (m, c): (there[m, c] - there[n, k]) / (place[m] - place[n])
            for m in around[n]
            for c in range(counts[m])
        }
        for m in around[n]:
            first = int(np.argmax(weights[m]))
            change = changes[m, first]
            if not 1 / 5 <= abs(change) <= 5:
                continue
            spoken = 0.0
            for other in around[n]:
                for c in range(counts[other]) if other != m else ():
                    gap = place[other] - place[n]
                    off = abs(there[other, c] - there[n, k] - change * gap)
                    sound = 1 / 5 <= abs(changes[other, c]) <= 5
                    if sound and off <= max(3, 0.3 * abs(change * gap)):
                        spoken += weights[other][c]
            best = max(best, spoken * weights[m][first])
        return best / 15

    weights = {n: likely(near[n]) for n in asked}
    for _ in range(2):
        weights = {
            n: likely(
                near[n] + 1.5 * np.array([support_of(n, k, weights) for k in range(counts[n])])
            )
            for n in asked
        }
    choices, supports = [], []
    for n in range(len(points)):
        every = [support_of(n, k, weights) for k in range(counts[n])] or [0.0]
        gains = [0.0, *(one - every[0] for one in every[1:])]
        allowed = [0, *(k for k in range(1, len(every)) if gains[k] >= 0.01)]
        score = [(near[n][k] if counts[n] else 0) + 1.5 * every[k] for k in range(len(every))]
        chosen = max(allowed, key=lambda k: (score[k], -k))
        choices.append(chosen)
        supports.append(every[chosen])
    return choices, supports


def test_the_rule_is_what_its_text_says():
    generator = np.random.default_rng(4)
    points = random_points(generator, 70)
    points[1] = points[0] + 3  # too near to be asked
    places, similarity, _ = with_decoys(generator, bent(points), 0.4)
    similarity[5, 2:] = -np.inf
    similarity[6] = -np.inf
    places[5, 2:] = np.nan
    places[6] = np.nan
    trusted = generator.random(70) < 0.9
    found = choose(points, places, similarity, trusted=trusted)
    choices, supports = by_loops(points, places, similarity, trusted)
    assert found.choice.tolist() == choices
    assert len(set(choices)) > 1
    np.testing.assert_allclose(found.support.numpy(), supports, atol=1e-5)


def test_alone_or_beside_neighbours_that_agree_about_nothing_a_good_match_stays():
    generator = np.random.default_rng(2)
    for count in (1, 2, 3, 300):
        points = random_points(generator, count)
        places = generator.uniform((0, 0), SIZE_PX, (count, CANDIDATES, 2))
        similarity = np.tile([0.9, 0.7, 0.68, 0.66, 0.64], (count, 1))
        found = choose(points, places, similarity)
        assert not found.choice.any()
        assert (found.support < 0.25).all()
    nothing = choose(np.empty((0, 2)), np.empty((0, CANDIDATES, 2)), np.empty((0, CANDIDATES)))
    assert nothing.choice.shape == (0,)


def test_equal_candidates_stay_the_first_without_evidence():
    points = np.array([[0.0, 0], [100, 0], [0, 100]])
    places = np.random.default_rng(0).uniform(0, 400, (3, CANDIDATES, 2))
    similarity = np.full((3, CANDIDATES), 0.5)
    found = choose(points, places, similarity, trusted=np.zeros(3, np.bool_))
    assert found.choice.tolist() == [0, 0, 0]
    places[:, 2] = turned(points)  # that two agree, of which each has five chances, is little
    found = choose(points, places, similarity)
    assert found.choice.tolist() == [0, 0, 0]


def test_a_clear_match_is_not_outvoted_by_the_background_around_it():
    """A small thing before a wall that moves otherwise: its own place is far more similar."""
    generator = np.random.default_rng(3)
    points = random_points(generator, 400)
    places, similarity, right = with_decoys(generator, points + 20, 0.0)
    thing = np.argmin(np.abs(points - (320, 240)).sum(axis=1))
    places[thing, :2] = points[thing] + (150, 0), points[thing] + 20
    similarity[thing] = [0.99, 0.6, 0.5, 0.4, 0.3]
    found = choose(points, places, similarity)
    assert found.choice[thing] == 0
    assert (found.choice == torch.from_numpy(right)).all()


def test_matches_that_collapse_onto_one_place_support_nothing():
    generator = np.random.default_rng(5)
    points = random_points(generator, 300)
    places, similarity, _ = with_decoys(generator, random_points(generator, 300), 0.0)
    places[:, 1] = generator.uniform((298, 198), (302, 202), (300, 2))
    similarity[:, 0], similarity[:, 1] = 0.76, 0.75
    assert (choose(points, places, similarity).choice == 1).float().mean() < 0.05


def test_queries_that_are_not_trusted_are_not_asked_but_are_answered():
    """Most tell nothing and agree about what is wrong, and so do some decoys of the others."""
    generator = np.random.default_rng(6)
    points = random_points(generator, 900)
    places, similarity, right = with_decoys(generator, turned(points), 0.3)
    liars = np.arange(900) % 6 > 0
    everywhere = points + np.array([40, -25])
    places[liars, :2] = np.stack([everywhere, turned(points)], axis=1)[liars]
    similarity[liars] = [0.9, 0.89, 0.3, 0.2, 0.1]
    decoys = ~liars & (right == 1)
    places[decoys, 0] = everywhere[decoys]
    found = choose(points, places, similarity, trusted=~liars).choice.numpy()
    assert (found[decoys] == 1).mean() > 0.9
    assert (found[liars] == 1).mean() > 0.9
    assert (found[~liars & ~decoys] == 0).all()
    misled = choose(points, places, similarity).choice.numpy()
    assert (misled[decoys] == 1).mean() < 0.7


def test_the_answer_depends_on_no_block_and_no_order_and_is_the_same_twice():
    generator = np.random.default_rng(7)
    points = random_points(generator, 400)
    places, similarity, _ = with_decoys(generator, bent(points), 0.4)
    first, again, small = (
        choose(points, places, similarity, budget_bytes=budget)
        for budget in (BUDGET_BYTES, BUDGET_BYTES, 1)
    )
    for other in (again, small):
        assert torch.equal(first.choice, other.choice)
        assert torch.equal(first.support, other.support)
    order = generator.permutation(400)
    shuffled = choose(points[order], places[order], similarity[order])
    assert torch.equal(shuffled.choice, first.choice[order])


def test_of_many_queries_some_are_asked_and_all_are_answered():
    ys, xs = np.mgrid[0:480:8, 0:640:8]
    points = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float64)
    assert len(points) > 4 * WITNESSES
    generator = np.random.default_rng(8)
    places, similarity, right = with_decoys(generator, turned(points), 0.3)
    found = choose(points, places, similarity).choice.numpy()
    assert (found == right).mean() > 0.95


def test_it_stops_when_it_is_cancelled():
    generator = np.random.default_rng(9)
    points = random_points(generator, 50)
    places, similarity, _ = with_decoys(generator, turned(points), 0.3)
    token = CancelToken()
    token.cancel()
    with pytest.raises(JobCancelled):
        choose(points, places, similarity, cancel=token)


@pytest.mark.gpu
def test_a_gpu_chooses_the_same():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    generator = np.random.default_rng(10)
    ys, xs = np.mgrid[0:480:16, 0:640:16]
    points = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float64)
    places, similarity, _ = with_decoys(generator, tilted(points), 0.4)
    here, there = (choose(points, places, similarity, device=one) for one in ("cpu", "cuda"))
    assert torch.equal(here.choice, there.choice.cpu())
    torch.testing.assert_close(here.support, there.support.cpu(), atol=1e-5, rtol=0)
