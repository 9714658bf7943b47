"""Truths that are no given homography, in evaluations, probes and tables: lists, maps, faults."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.data.pairs import ImagePair
from engine.descriptors.registry import make_spec
from engine.errors import ConfigError, DatasetError, DescSpaceError
from engine.evaluation.datasets import EvaluationPair, EvaluationSet, open_evaluation_set
from engine.evaluation.fingerprint import Fingerprint
from engine.evaluation.measure import (
    DescriptorChoice,
    check_truths,
    make_fingerprint,
    measure_pairs,
    prepare_descriptor,
)
from engine.evaluation.result import check_rows
from engine.evaluation.run_folder import PairRecord
from engine.evaluation.stress import Stress
from engine.evaluation.switches import Protocol, ProtocolName
from engine.inspection.requests import (
    MatchRequest,
    MatchTable,
    ProbeAnswer,
    ProbeRequest,
    Recipe,
)
from engine.inspection.session import Session
from engine.jobs.match_files import write_matches
from engine.jobs.matches import summarise_matches
from engine.progress import JobContext
from engine.truth.base import (
    Points,
    ResizedTruth,
    Size,
    TruePoints,
    Truth,
    TruthSource,
    Visibility,
    snap,
)
from engine.truth.homography import HomographySource, HomographyTruth
from engine.truth.moved import moved_truth
from engine.truth.points import HeldPointsSource, PointsSource
from engine.vocabulary import Side, TruthKind, TruthOrigin

SIZE_PX = (96, 72)
SHIFT = np.array([[1.0, 0, -8], [0, 1, -4], [0, 0, 1]])
CPU = torch.device("cpu")
IMAGES = (Path("1.png"), Path("2.png"))


@dataclass(frozen=True)
class HalfHidden:
    """A homography that does not say so, the left half of image a hidden in image b."""

    h_b_from_a: tuple[float, ...] = tuple(SHIFT.ravel())
    kind: TruthKind = "flow"
    origin: TruthOrigin = "given"
    files: tuple[Path, ...] = ()

    def open(self, size_a_px: Size, size_b_px: Size) -> HalfHiddenTruth:
        matrix = np.reshape(self.h_b_from_a, (3, 3))
        return HalfHiddenTruth(HomographyTruth(matrix, (size_a_px, size_b_px)))

    def identity(self) -> str:
        return repr(self.h_b_from_a)


@dataclass(frozen=True, eq=False)
class HalfHiddenTruth:
    whole: HomographyTruth
    kind: TruthKind = "flow"
    listed_px: None = None

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        return self.whole.sizes_px

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        found = self.whole.locate(side, points_px)
        if side == "b":
            return found
        hidden = found.seen & (points_px[:, 0] < SIZE_PX[0] / 2)
        return replace(
            found, visibility=np.where(hidden, Visibility.OCCLUDED, found.visibility).astype("u1")
        )

    def matrix_from(self, _side: Side) -> None:
        return None

    def resized(self, resize_a, resize_b) -> Truth:
        return ResizedTruth(self, resize_a, resize_b)


@pytest.fixture
def opened(tmp_path: Path) -> EvaluationSet:
    """One pair: image b shows the same soft noise, 8 px further right and 4 px further down."""
    noise = np.random.default_rng(3).uniform(-1, 1, (72 + 4, 96 + 8, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    canvas = (255 * (0.5 + soft / (4 * soft.std())).clip(0, 1)).astype(np.uint8)
    folder = tmp_path / "s" / "v_moved"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "1.png"), canvas[:72, :96])
    cv2.imwrite(str(folder / "2.png"), canvas[4:, 8:])
    np.savetxt(folder / "H_1_2", SHIFT)
    return open_evaluation_set(str(tmp_path / "s"))


def by(opened: EvaluationSet, *truths: TruthSource) -> EvaluationSet:
    """The same images once for each truth."""
    ((one,),) = opened.groups
    pairs = [
        replace(one, pair=replace(one.pair, truth=truth, index=number))
        for number, truth in enumerate(truths, start=2)
    ]
    return replace(opened, groups=(tuple(pairs),))


def protocol(name: ProtocolName = "dense", **changes: object) -> Protocol:
    return Protocol(
        **{  # type: ignore[arg-type]
            "name": name, "thresholds_px": (1.0, 3.0), "matcher": "exact",
            "queries": ("harris", "uniform"), "query_limit": 40, "long_edge_px": 96,
            "grid_stride_px": 4, "seed": 0, **changes,
        }
    )  # fmt: skip


CHOICE = DescriptorChoice("daisy", make_spec("daisy", {"stride_px": 4, "rings": 1}))


def measure(
    dataset: EvaluationSet, how: Protocol, *, strict: bool = False
) -> tuple[list[PairRecord], Fingerprint]:
    ready = [prepare_descriptor(CHOICE, how, device=CPU, precision="float32", context=JobContext())]
    records = measure_pairs(dataset, how, ready, device=CPU, strict=strict, context=JobContext())
    return list(records), make_fingerprint(how, dataset, ready, CPU)


def listed(count: int, seed: int = 0) -> HeldPointsSource:
    """Points between pixels and their partners, a few of them outside of image b."""
    points = np.random.default_rng(seed).uniform(0, np.array(SIZE_PX) - 1, (count, 2))
    return HeldPointsSource.of(points, points + SHIFT[:2, 2])


@pytest.mark.parametrize("name", ["dense", "closed"])
def test_listed_points_are_the_queries_and_their_partners_the_truth(opened, name):
    source = listed(30)
    (record,), fingerprint = measure(by(opened, source), protocol(name))
    (row,) = record.rows
    rows = np.array(source.rows)
    seen = ((rows[:, 2:] >= 0) & (rows[:, 2:] <= np.array(SIZE_PX) - 1)).all(axis=1)
    assert 0 < seen.sum() < 30
    assert (row.queries, row.count) == ("listed", seen.sum())
    (found,) = record.points.points["listed"]
    order = np.lexsort(found.query_px.T)
    np.testing.assert_allclose(found.query_px[order], rows[seen][np.lexsort(rows[seen, :2].T), :2])
    np.testing.assert_allclose(found.true_px, found.query_px + SHIFT[:2, 2])
    assert row.pck[-1][1] > 0.8
    assert fingerprint.sampler.queries == ("listed",)
    assert fingerprint.dataset.truths == ("points, pins",)
    assert Fingerprint.from_json(fingerprint.to_json()) == fingerprint
    check_rows(record.rows, fingerprint)


def test_of_many_listed_points_a_draw_is_asked_that_the_seed_repeats(opened):
    dataset = by(opened, listed(200))
    (first,), _ = measure(dataset, protocol())
    (again,), _ = measure(dataset, protocol())
    (other,), _ = measure(dataset, protocol(seed=1))
    assert first.rows[0].count == 40
    drawn = [one.points.points["listed"][0].query_px.tobytes() for one in (first, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_sets_of_all_kinds_have_the_lists_of_each(opened):
    dataset = by(opened, listed(30), HalfHidden(), HomographySource.of(SHIFT, "estimated"))
    records, fingerprint = measure(dataset, protocol())
    lists = [tuple(row.queries for row in record.rows) for record in records]
    assert lists == [("listed",), ("harris", "uniform"), ("harris", "uniform")]
    assert fingerprint.sampler.queries == ("harris", "uniform", "listed")
    assert fingerprint.dataset.truths == ("flow", "homography, estimated", "points, pins")
    words = "truth: flow; homography, estimated; points, pins"
    assert fingerprint.dataset.truth_words == words


def test_given_homographies_leave_no_trace_in_the_fingerprint(opened):
    _, fingerprint = measure(opened, protocol())
    assert "truths" not in fingerprint.to_json()["dataset"]


def test_another_truth_makes_another_hash_of_the_pairs(opened):
    sources = (listed(30), listed(30, seed=1), HalfHidden(), HomographySource.of(SHIFT))
    hashes = {by(opened, source).pairs_sha256 for source in sources}
    assert len(hashes) == 4


def test_nothing_is_asked_where_the_truth_is_hidden(opened):
    (hidden, whole), _ = measure(by(opened, HalfHidden(), HomographySource.of(SHIFT)), protocol())
    for kind in ("harris", "uniform"):
        assert hidden.points.points[kind][0].query_px[:, 0].min() >= SIZE_PX[0] / 2
        assert whole.points.points[kind][0].query_px[:, 0].min() < SIZE_PX[0] / 2


@pytest.mark.parametrize("stress", [Stress(angle_deg=25.0), Stress(scale=0.6), Stress(scale=1.7)])
def test_a_turned_image_carries_any_truth_as_it_carries_a_homography(stress):
    matrix = stress.matrix(SIZE_PX)
    plain = HomographyTruth(SHIFT, (SIZE_PX, SIZE_PX))
    by_matrix, by_places = moved_truth(plain, matrix), moved_truth(HalfHiddenTruth(plain), matrix)
    assert by_matrix.matrix_from("a") is not None
    assert by_places.matrix_from("a") is None
    points = np.random.default_rng(0).uniform(0, np.array(SIZE_PX) - 1, (400, 2))
    one, other = (truth.locate("a", points) for truth in (by_matrix, by_places))
    np.testing.assert_allclose(other.points_px, one.points_px, atol=1e-9)
    # What image b does not show is black on the canvas, and not seen.
    stays = plain.locate("a", points).seen
    right = points[:, 0] >= SIZE_PX[0] / 2
    np.testing.assert_array_equal(other.seen, one.seen & stays & right)
    hidden = other.visibility == Visibility.OCCLUDED
    np.testing.assert_array_equal(hidden, one.seen & stays & ~right)
    back = by_places.locate("b", one.points_px)
    np.testing.assert_allclose(back.points_px, points, atol=1e-9)


def test_listed_points_follow_a_zoom_with_their_uncertainty(opened):
    source = replace(listed(50), uncertainty_px=0.5)
    ((one,),) = by(opened, source).groups
    stress = Stress(scale=1.5)
    zoomed = EvaluationPair(one.pair, stress=stress).open_truth(SIZE_PX, SIZE_PX)
    rows = np.array(source.rows)
    carried = rows[:, 2:] * 1.5 + stress.matrix(SIZE_PX)[:2, 2]
    np.testing.assert_allclose(zoomed.listed_px[1], carried)
    found = zoomed.locate("a", rows[:, :2])
    np.testing.assert_allclose(found.points_px, carried)
    np.testing.assert_allclose(found.uncertainty_px, 0.75)


@pytest.mark.parametrize("source", [HalfHidden(), listed(9)])
def test_what_needs_homographies_is_refused_in_a_sentence(opened, source):
    dataset = by(opened, HomographySource.of(SHIFT), source)
    with pytest.raises(ConfigError, match=f"known from {source.kind}; choose 'closed' or 'dense'"):
        check_truths(protocol("seed"), dataset, [CHOICE])
    with pytest.raises(ConfigError, match="true scales from homographies"):
        check_truths(protocol(), dataset, [CHOICE, replace(CHOICE, oracle=True)])
    check_truths(protocol(), dataset, [CHOICE])
    check_truths(protocol("seed"), opened, [replace(CHOICE, oracle=True)])


def test_a_pair_whose_truth_cannot_be_read_is_left_out_or_ends_a_strict_run(opened, tmp_path):
    (tmp_path / "list.txt").write_text("1 2 3 4\n5 6 seven 8\n")
    dataset = by(opened, PointsSource(tmp_path / "list.txt"), HomographySource.of(SHIFT))
    (broken, sound), _ = measure(dataset, protocol())
    (entry,) = broken.left_out
    assert entry.queries is None
    assert "list.txt" in entry.reason
    assert broken.rows == ()
    assert sound.rows
    with pytest.raises(DatasetError, match=r"list\.txt"):
        measure(dataset, protocol(), strict=True)


def test_an_opened_truth_is_kept_until_its_file_changes(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("1 2 3 4\n5 6 7 8\n")
    pair = ImagePair(tmp_path / "a.png", tmp_path / "b.png", PointsSource(path))
    first = pair.open_truth(SIZE_PX, SIZE_PX)
    assert pair.open_truth(SIZE_PX, SIZE_PX) is first
    assert pair.open_truth(SIZE_PX, (50, 50)) is not first
    path.write_text("1 2 3 4\n5 6 7 8\n9 10 11 12\n")
    assert len(pair.open_truth(SIZE_PX, SIZE_PX).listed_px[0]) == 3
    assert ImagePair(tmp_path / "a.png", tmp_path / "b.png").open_truth(SIZE_PX, SIZE_PX) is None


# ---- probes and tables -------------------------------------------------------------------------


def table_of(opened: EvaluationSet, truth: TruthSource | None, **changes: object) -> MatchTable:
    ((one,),) = opened.groups
    pair = replace(one.pair, truth=truth)
    recipe = Recipe(spec=CHOICE.spec, long_edge_px=96, device="cpu")
    request = MatchRequest(pair=pair, recipe=recipe, **{"points": "grid", "count": 80, **changes})
    return Session().match(request, JobContext())


def test_a_table_counts_errors_where_the_truth_is_seen_and_says_what_it_is_elsewhere(
    opened, tmp_path
):
    table = table_of(opened, HalfHidden())
    x, y = table.points_a.T
    gone = (x < 8) | (y < 4)
    hidden = ~gone & (x < SIZE_PX[0] / 2)
    np.testing.assert_array_equal(table.visibility == Visibility.OUTSIDE, gone)
    np.testing.assert_array_equal(table.visibility == Visibility.OCCLUDED, hidden)
    np.testing.assert_array_equal(np.isfinite(table.error_px), ~gone & ~hidden)
    summary = summarise_matches(table)
    assert (summary.occluded, summary.outside) == (hidden.sum(), gone.sum())
    assert f"{hidden.sum()} occluded, {gone.sum()} out of view" in summary.states
    assert "unknown" not in summary.states
    write_matches(tmp_path / "m.csv", table, IMAGES)
    rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    states = {"outside": gone, "occluded": hidden, "seen": ~gone & ~hidden}
    for name, where in states.items():
        assert [row["truth"] == name for row in rows] == where.tolist()
    assert {row["truth_from"] for row in rows} == {"flow"}
    assert {row["error_px"] for row in rows if row["truth"] != "seen"} == {""}


def test_without_a_truth_every_row_is_unknown(opened, tmp_path):
    write_matches(tmp_path / "m.csv", table_of(opened, None), IMAGES)
    rows = list(csv.DictReader((tmp_path / "m.csv").read_text().splitlines()))
    assert {(row["truth"], row["truth_from"]) for row in rows} == {("unknown", "")}


def test_listed_points_are_matched_on_demand_and_refused_where_none_is_listed(opened):
    source = listed(30)
    table = table_of(opened, source, points="listed")
    np.testing.assert_array_equal(table.points_a, np.array(source.rows)[:, :2])
    assert table.truth == "points, pins"
    assert (table.error_px[np.isfinite(table.error_px)] < 3).mean() > 0.8
    few = table_of(opened, source, points="listed", count=7)
    assert len(few.points_a) == 7
    assert {tuple(one) for one in few.points_a} <= {tuple(one) for one in table.points_a}
    for truth, reason in ((None, "not known here"), (HalfHidden(), "is flow and lists none")):
        with pytest.raises(ConfigError, match=reason):
            table_of(opened, truth, points="listed")


def probe(opened: EvaluationSet, truth: TruthSource, point_px: tuple[float, float]) -> ProbeAnswer:
    ((one,),) = opened.groups
    pair = replace(one.pair, truth=truth)
    recipe = Recipe(spec=CHOICE.spec, long_edge_px=96, device="cpu")
    session = Session()
    for side in ("a", "b"):
        session.describe(pair, side, recipe, JobContext())
    return session.probe(ProbeRequest(pair=pair, recipe=recipe, side="a", point_px=point_px))


@pytest.mark.parametrize(
    ("point_px", "state"),
    [
        ((60.0, 40.0), Visibility.SEEN),
        ((30.0, 40.0), Visibility.OCCLUDED),
        ((3.0, 40.0), Visibility.OUTSIDE),
    ],
)
def test_a_probe_tells_the_state_of_its_true_point_and_where_it_would_be(opened, point_px, state):
    answer = probe(opened, HalfHidden(), point_px)
    assert answer.visibility is state
    assert answer.truth_px == pytest.approx((point_px[0] - 8, point_px[1] - 4))
    assert answer.truth_uncertainty_px == 0
    assert (answer.error_px is not None) == (answer.rank is not None) == (state == Visibility.SEEN)


def test_a_probe_beside_the_listed_points_knows_nothing_and_at_one_everything(opened):
    source = HeldPointsSource(((50.25, 40.5, 42.25, 36.5),), uncertainty_px=0.7)
    there = probe(opened, source, (50.25, 40.5))
    assert there.visibility is Visibility.SEEN
    assert (there.truth_px, there.truth_uncertainty_px) == ((42.25, 36.5), 0.7)
    beside = probe(opened, source, (54.0, 40.5))
    assert beside.visibility is Visibility.UNKNOWN
    assert beside.visibility.words == "no truth here"
    assert (beside.truth_px, beside.truth_uncertainty_px, beside.error_px) == (None, None, None)


def test_points_near_a_listed_one_snap_to_it_on_their_own_side():
    truth = HeldPointsSource(((10.0, 20.0, 60.0, 50.0), (14.0, 20.0, 30.0, 9.0))).open(
        SIZE_PX, SIZE_PX
    )
    assert snap(truth, "a", (11.0, 21.0), 4.0) == (10.0, 20.0)
    assert snap(truth, "a", (12.5, 20.0), 4.0) == (14.0, 20.0)
    assert snap(truth, "a", (11.0, 26.0), 4.0) == (11.0, 26.0)
    assert snap(truth, "b", (58.0, 50.0), 4.0) == (60.0, 50.0)
    assert snap(truth, "b", (11.0, 21.0), 4.0) == (11.0, 21.0)
    dense = HomographyTruth(SHIFT, (SIZE_PX, SIZE_PX))
    assert snap(dense, "a", (11.0, 21.0), 1e9) == (11.0, 21.0)


# ---- error maps --------------------------------------------------------------------------------


def described(
    opened: EvaluationSet, truth: TruthSource | None
) -> tuple[Session, ImagePair, Recipe]:
    ((one,),) = opened.groups
    pair = replace(one.pair, truth=truth)
    recipe = Recipe(spec=CHOICE.spec, long_edge_px=96, device="cpu")
    session = Session()
    for side in ("a", "b"):
        session.describe(pair, side, recipe, JobContext())
    return session, pair, recipe


def test_an_error_map_holds_the_errors_of_probes_where_the_truth_is_seen(opened):
    session, pair, recipe = described(opened, HalfHidden())
    answer = session.errors(pair, recipe, "a")
    rows, columns = answer.states.shape
    assert (rows, columns) == answer.errors.values.shape
    extent = answer.errors.extent
    xs = extent.left_px + (np.arange(columns) + 0.5) * (extent.right_px - extent.left_px) / columns
    ys = extent.top_px + (np.arange(rows) + 0.5) * (extent.bottom_px - extent.top_px) / rows
    found = pair.open_truth(SIZE_PX, SIZE_PX).locate(
        "a", np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    )
    np.testing.assert_array_equal(answer.states.ravel(), found.visibility)
    assert set(answer.states.ravel()) == {
        Visibility.SEEN, Visibility.OCCLUDED, Visibility.OUTSIDE
    }  # fmt: skip
    seen = answer.states == Visibility.SEEN
    np.testing.assert_array_equal(np.isfinite(answer.errors.values), seen)
    assert np.median(answer.errors.values[seen]) < 1
    for row, column in np.argwhere(seen)[:: max(1, seen.sum() // 12)]:
        request = ProbeRequest(
            pair=pair, recipe=recipe, side="a", point_px=(float(xs[column]), float(ys[row]))
        )
        error_px = session.probe(request).error_px
        assert answer.errors.values[row, column] == pytest.approx(error_px, abs=1e-3)


@pytest.mark.parametrize(("truth", "has"), [(None, "none"), (listed(9), "a list")])
def test_no_error_map_is_made_of_what_is_not_known(opened, truth, has):
    session, pair, recipe = described(opened, truth)
    with pytest.raises(DescSpaceError, match=f"known all over the images, .* has {has}"):
        session.errors(pair, recipe, "b")
