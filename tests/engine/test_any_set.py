"""Evaluating any set of pairs: its parts, its groups, its truths, and what its pairs share."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import DatasetError
from engine.evaluation.datasets import open_evaluation_set
from engine.evaluation.measure import shared_firsts
from engine.evaluation.points import read_points
from engine.evaluation.result import EvaluationResult, read_result
from engine.evaluation.run_folder import Begun, PairRecord
from engine.jobs.evaluate import EvaluateJob, Listener, choose_descriptors
from engine.jobs.settings import EvaluateConfig
from engine.progress import JobContext

SIZE_PX = (96, 72)
DAISY = {"rings": 1, "radius_px": 6, "stride_px": 4}
SHIFT_PX = 4


def picture(path: Path, seed: int, shift_px: int = 0) -> None:
    """Soft noise of a seed, moved to the left."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (SIZE_PX[1], SIZE_PX[0] + 16, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), 2.5)
    pixels = (255 * (0.5 + soft / (4 * soft.std())).clip(0, 1)).astype(np.uint8)
    cv2.imwrite(str(path), pixels[:, shift_px : shift_px + SIZE_PX[0]])


ROWS = (
    # image a, image b, group, part: neighbours share image a, also over the end of a group
    ("1.png", "1m.png", "one/near", "day"),
    ("1.png", "1n.png", "one/near", "day"),
    ("1.png", "1m.png", "two", "day"),
    ("2.png", "2m.png", "three", "night"),
    ("1.png", "1n.png", "four", ""),
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of pairs whose truth is a shift of 4 px."""
    for seed in (1, 2):
        picture(tmp_path / f"{seed}.png", seed)
        for name in ("m", "n"):
            picture(tmp_path / f"{seed}{name}.png", seed, SHIFT_PX)
    np.savetxt(tmp_path / "H", [[1, 0, -SHIFT_PX], [0, 1, 0], [0, 0, 1]])
    lines = ["image_a,image_b,truth,group,subset"]
    lines += [f"{a},{b},homography:H,{group},{part}" for a, b, group, part in ROWS]
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join(lines))
    return path


def evaluate(
    dataset: Path | str, out: Path, *, listener: Listener | None = None, **changes: object
) -> EvaluationResult:
    config = EvaluateConfig(
        **{  # type: ignore[arg-type]
            "dataset": str(dataset), "descriptor": ("daisy",), "device": "cpu", "long_edge_px": 96,
            "query_limit": 30, "queries": "harris", "protocol": "dense", **changes,
        }
    )  # fmt: skip
    choices = choose_descriptors(config, DAISY)
    return EvaluateJob(config=config, choices=choices, out=out, listener=listener).run(JobContext())


def test_the_parts_groups_and_names_of_any_set_are_those_of_its_result(table, tmp_path):
    result = evaluate(table, tmp_path / "run")
    assert {(row.sequence, row.index, row.subset) for row in result.pairs} == {
        *(("one/near", 1, "day"), ("one/near", 2, "day"), ("two", 1, "day")),
        *(("three", 1, "night"), ("four", 1, "")),
    }
    counts = {
        row.subset: (row.pairs, row.sequences) for row in result.summary if row.threshold_px == 5
    }
    assert counts == {"all": (5, 4), "day": (3, 2), "night": (1, 1)}
    right = [row.pck for row in result.summary if row.threshold_px == 5]
    assert min(right) > 0.8, "a shift is easy"
    assert result.fingerprint.dataset.layout == "table of pairs"
    assert result.sources.opened == str(table)
    assert read_result(tmp_path / "run") == result
    for row in result.pairs:
        kept = read_points(tmp_path / "run", *row.key)
        assert kept.images[0].path in ("1.png", "2.png")
    with (tmp_path / "run" / "pairs.csv").open(encoding="utf-8", newline="") as file:
        assert [line["subset"] for line in csv.DictReader(file)].count("night") == 1


def test_a_part_of_any_set_is_measured_alone(table, tmp_path):
    result = evaluate(table, tmp_path / "run", subset="night")
    assert {row.sequence for row in result.pairs} == {"three"}
    assert result.fingerprint.dataset.subset == "night"
    with pytest.raises(DatasetError, match="no pair of the subset 'dusk'; its subsets are day, ni"):
        evaluate(table, tmp_path / "other", subset="dusk")
    with pytest.raises(DatasetError, match="no pair of the subset '540'"):
        evaluate(table, tmp_path / "third", subset="540")


def test_neighbours_that_share_image_a_read_and_describe_it_once(table, tmp_path):
    dataset = open_evaluation_set(str(table))
    firsts = [one.pair.path_a.name for one in dataset.pairs()]
    expected = 1 + sum(one != other for one, other in itertools.pairwise(firsts))
    assert 3 <= expected < 5, "some share it and some do not"
    assert shared_firsts(dataset) == expected
    result = evaluate(table, tmp_path / "run")
    (timing,) = result.timings
    assert (timing.images, timing.pairs) == (5 + expected, 5)
    # The numbers do not depend on what is shared.
    alone = evaluate(table, tmp_path / "alone", subset="night")
    assert alone.pairs == tuple(row for row in result.pairs if row.subset == "night")


def test_a_set_is_found_behind_the_word_of_its_layout_and_a_stress(table):
    for name, opened in ((f"manifest:{table}", f"manifest:{table}"), (str(table), str(table))):
        found = open_evaluation_set(name)
        assert (found.opened, found.name, found.root) == (opened, "pairs.csv", table.parent)
        rotated = open_evaluation_set(f"rotated:{name}")
        assert rotated.name == "rotated:pairs.csv"
        assert rotated.opened == opened
        assert all(one.stress is not None for one in rotated.pairs())


def test_pairs_without_truth_are_counted_and_left_out(table):
    text = table.read_text().replace("1m.png,homography:H,two", "1m.png,,two")
    table.write_text(text)
    found = open_evaluation_set(str(table))
    assert found.pair_count == 4
    assert any("1 pair, whose truth is unknown, is left out" in one for one in found.problems)
    table.write_text(text.replace("homography:H", ""))
    with pytest.raises(DatasetError, match="knows the truth of none"):
        open_evaluation_set(str(table))


def test_only_the_pair_at_work_is_in_memory(table, tmp_path):
    """Rows are kept of a pair, and its points are not: they are on the disk."""
    sizes: list[list[bool]] = []

    def listen(begun: Begun, _record: PairRecord | None) -> None:
        sizes.append([one.points is None for one in begun.records])

    evaluate(table, tmp_path / "run", listener=listen)
    assert [len(one) for one in sizes] == [0, 1, 2, 3, 4, 5]
    assert all(all(one) for one in sizes)
