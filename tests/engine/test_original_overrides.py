"""The original's settings: each name, its translation, and the message to the user."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.cli.parser import UsageError, build_parser, parse
from engine.cli.run import main
from engine.config import read_yaml
from engine.errors import ConfigError
from engine.jobs.original_overrides import (
    ORIGINAL_SETTINGS,
    override_lines,
    split_overrides,
    steps_of,
    translate,
)
from engine.jobs.settings import TrainConfig, resolve_settings
from engine.jobs.train import TrainJob
from engine.paths import data_dir
from engine.progress import JobContext
from engine.training.loop import TrainingState

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ORIGINAL_OVERRIDES.md"
V0 = data_dir("resources") / "configs" / "msnet_v0.yaml"

BECOMES = {
    "MODEL.NAME": ("MSNetV1", {"descriptor": "msnet_v1"}),
    "MODEL.DEVICE": ("cuda", {"device": "cuda"}),
    "DATASET.VAL": ("COCO.val", {"train": {"validation": {"sequences": None}}}),
    "DATASET.COCO.WIDTH": ("160", {"train": {"width": 160}}),
    "DATASET.COCO.HEIGHT": ("120", {"train": {"height": 120}}),
    "DATASET.COCO.KPS": ("1500", {"train": {"points": 1500}}),
    "DATALOADER.NUM_WORKERS": ("0", {"train": {"photos": {"workers": 1}}}),
    "TRAIN.BATCH_SIZE": ("8", {"train": {"batch": 8}}),
    "TRAIN.BASE_LR": ("1e-3", {"train": {"optimiser": {"rate": 1e-3}}}),
    "TRAIN.WEIGHT_DECAY": ("0.0", {"train": {"optimiser": {"weight_decay": 0.0}}}),
    "TRAIN.NUM_CHECKPOINTS": ("10", {"train": {"saving": {"keep": 10}}}),
    "TRAIN.PRINT_EVERY": ("50", {"train": {"saving": {"log_every_steps": 50}}}),
    "TRAIN.VAL_EVERY": ("250", {"train": {"validation": {"every_steps": 250}}}),
    "VAL.IS_ON": ("False", {"train": {"validation": {"every_steps": 0}}}),
    "TENSORBOARD.TARGETS.IMAGE": ("[]", {"train": {"saving": {"preview_every_steps": 0}}}),
}
DECIDES = {
    "EXP.NAME": ("erster lauf", "run_name", "erster lauf"),
    "MODEL_DIR": ("models/ö", "runs_folder", Path("models/ö")),
    "TRAIN.RESUME": ("True", "resume", True),
    "TRAIN.MAX_EPOCHS": ("3", "epochs", 3),
}
PASSED_OVER = {
    "MODEL.PARALLEL": "True",
    "DATASET.TRAIN": "COCO.train",
    "TRAIN.CHECKPOINT_PERIOD": "1000",
    "VAL.BATCH_SIZE": "1",
    "VAL.EVALUATOR": "DESC_PCK",
    "VAL.PCK_THRESHOLD": "5",
    "TENSORBOARD.IS_ON": "True",
    "TENSORBOARD.TARGETS.SCALAR": "['loss']",
    "GETTER.NAME": "MSNet",
}
REFUSED = {
    "MODEL.DEVICE_IDS": ("[0, 1]", "torchrun"),
    "PATH.CONFIG_DIR": ("x", "a place of the original's program"),
    "PATH.LIB_DIR": ("x", "a place of the original's program"),
    "PATH.ROOT_DIR": ("x", "a place of the original's program"),
    "PATH.DATA_DIR": ("x", "--photos"),
    "DATASET.TEST": ("HPATCHES", "'evaluate', as --set dataset.test"),
    "DATASET.HPATCHES.SIZE": ("640", "--long-edge"),
    "DATASET.HPATCHES.KPS": ("1000", "--query-limit"),
    "TEST.BATCH_SIZE": ("1", "'evaluate'"),
    "TEST.EVALUATOR": ("DESC_PCK", "'evaluate'"),
    "TEST.PCK_THRESHOLD": ("5", "--threshold"),
    "TENSORBOARD.LOG_DIR": ("logs", "--run-dir"),
}


def test_every_name_of_the_original_is_looked_at_below_and_once():
    names = list(ORIGINAL_SETTINGS)
    tested = [*BECOMES, *DECIDES, *PASSED_OVER, *REFUSED]
    assert sorted(names) == sorted(tested)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", BECOMES)
def test_a_setting_becomes_ours_and_is_one_that_training_takes(name: str):
    value, expected = BECOMES[name]
    found = translate([(name, value)])
    assert found.settings == expected
    assert list(found.sources.values()) == [name]
    assert not found.passed_over
    (dotted,) = found.sources
    config: Any = resolve_settings(TrainConfig, original=found.settings)[0]
    inner: Any = expected
    for part in dotted.split("."):
        config, inner = getattr(config, part), inner[part]
    assert config == inner


@pytest.mark.parametrize("name", DECIDES)
def test_a_setting_decides_where_or_how_long(name: str):
    value, attribute, expected = DECIDES[name]
    found = translate([(name, value)])
    assert getattr(found, attribute) == expected
    assert not found.settings


@pytest.mark.parametrize("name", PASSED_OVER)
def test_what_changes_nothing_of_what_is_learned_is_passed_over_with_a_sentence(name: str):
    found = translate([(name, PASSED_OVER[name])])
    assert not found.settings
    (sentence,) = found.passed_over
    assert re.fullmatch(rf"{re.escape(name)} is passed over: [^.].*\.", sentence)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_done_here_is_refused_with_the_reason(name: str):
    value, reason = REFUSED[name]
    with pytest.raises(ConfigError, match=rf"^{re.escape(name)}: .*{re.escape(reason)}.*\.$"):
        translate([(name, value)])


def test_the_page_shows_every_name_and_what_it_becomes():
    rows = dict(re.findall(r"^\| `([A-Z_.]+)` \| ([^|]+) \|", DOCUMENT.read_text("utf-8"), re.M))
    assert list(rows) == list(ORIGINAL_SETTINGS)
    for name in rows:
        if name in REFUSED:
            expected = "refused"
        elif name in PASSED_OVER:
            expected = "passed over"
        elif name in BECOMES:
            expected = "`" + next(iter(translate([(name, BECOMES[name][0])]).sources)) + "`"
        else:
            expected = "`train.steps`" if name == "TRAIN.MAX_EPOCHS" else None
        if expected is None:
            assert rows[name] in ("`--run-dir`", "`--resume`")
        else:
            assert rows[name] == expected


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MODEL.NAME", "MSNetV7", "did you mean MSNetV2"),
        ("MODEL.PARALLEL", "maybe", "neither True nor False"),
        ("TRAIN.RESUME", "1", "neither True nor False"),
        ("TRAIN.BATCH_SIZE", "0", "at least 1 .*train.batch here"),
        ("TRAIN.BATCH_SIZE", "many", "not a whole number"),
        ("TRAIN.BATCH_SIZE", "True", "not a whole number"),
        ("TRAIN.BASE_LR", "nan", "not a number"),
        ("TRAIN.BASE_LR", "-1", "out of range"),
        ("TRAIN.MAX_EPOCHS", "0", "whole number of at least 1"),
        ("TRAIN.MAX_EPOCHS", "1.5", "whole number"),
        ("DATALOADER.NUM_WORKERS", "-1", "whole number of at least 0"),
        ("DATASET.TRAIN", "COCO.test", "--photos"),
        ("DATASET.VAL", "HPATCHES_VIEWPOINT.val", "part of the test set"),
        ("DATASET.VAL", "NYU", "COCO.val"),
        ("VAL.PCK_THRESHOLD", "4", "1, 3 and 5 px"),
        ("VAL.EVALUATOR", "MS", "DESC_PCK"),
        ("GETTER.NAME", "other", "MSNet"),
        ("TENSORBOARD.TARGETS.IMAGE", "imgs", "not a list"),
        ("EXP.NAME", "../elsewhere", "--run-dir"),
        ("EXP.NAME", "..", "--run-dir"),
        ("EXP.NAME", "", "--run-dir"),
        ("MODEL_DIR", "3", "not a folder"),
    ],
)
def test_wrong_values_are_refused_in_the_originals_name(name: str, value: str, reason: str):
    with pytest.raises(ConfigError, match=rf"^{re.escape(name)}: .*{reason}"):
        translate([(name, value)])


@pytest.mark.parametrize(
    ("unknown", "near"),
    [
        ("TRAIN.BATCHSIZE", "TRAIN.BATCH_SIZE"),
        ("SOLVER.BASE_LR", "TRAIN.BASE_LR"),
        ("DATASET.COCO.WIDHT", "DATASET.COCO.WIDTH"),
    ],
)
def test_an_unknown_name_is_refused_by_the_nearest_one(unknown: str, near: str):
    with pytest.raises(ConfigError, match=rf"did you mean {re.escape(near)}\?$"):
        translate([(unknown, "1")])


def test_an_empty_list_of_gpus_and_pictures_by_name_are_passed_over():
    found = translate([("MODEL.DEVICE_IDS", "[]"), ("TENSORBOARD.TARGETS.IMAGE", "['imgs']")])
    assert len(found.passed_over) == 2
    assert not found.settings


@pytest.mark.parametrize("turned", [False, True])
def test_validation_that_is_off_stays_off_in_any_order(turned: bool):
    pairs = [("VAL.IS_ON", "False"), ("TRAIN.VAL_EVERY", "1000")]
    found = translate(reversed(pairs) if turned else pairs)
    assert found.settings == {"train": {"validation": {"every_steps": 0}}}


def test_of_one_name_the_last_value_holds_and_different_ones_add_up():
    found = translate(
        [("TRAIN.BATCH_SIZE", "2"), ("DATASET.COCO.KPS", "9"), ("TRAIN.BATCH_SIZE", "4")]
    )
    assert found.settings == {"train": {"batch": 4, "points": 9}}


@pytest.mark.parametrize(("photos", "batch"), [(1, 1), (7, 2), (8, 2), (3, 5)])
def test_epochs_are_as_many_steps_as_batches_can_be_taken_from_the_photos(photos: int, batch: int):
    steps = 0
    for _ in range(3):
        left = photos
        while left > 0:
            left, steps = left - batch, steps + 1
    assert steps_of(3, photos=photos, batch=batch) == steps


def test_three_epochs_of_coco_are_the_steps_of_the_shipped_configs():
    config, _ = resolve_settings(TrainConfig, from_file=read_yaml(V0))
    assert steps_of(3, photos=118_287, batch=config.train.batch) == config.train.steps


def test_names_in_capitals_are_the_originals_and_others_are_ours():
    ours, theirs = split_overrides(
        ["TRAIN.BATCH_SIZE", "4", "EXP.NAME", "a=b"],
        ["train.points=3", "TRAIN.BASE_LR=1e-4", "settings.weights=A.B", "MODEL_DIR=x=y"],
    )
    assert ours == ("train.points=3", "settings.weights=A.B")
    assert theirs == (
        *(("TRAIN.BASE_LR", "1e-4"), ("MODEL_DIR", "x=y")),
        *(("TRAIN.BATCH_SIZE", "4"), ("EXP.NAME", "a=b")),
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["TRAIN.BATCH_SIZE"], "no value"),
        (["TRAIN.BATCH_SIZE", "1", "EXP.NAME"], "EXP.NAME: has no value"),
        (["TRAIN.BATCH_SIZE=4"], "--set TRAIN.BATCH_SIZE=4"),
        (["my/photos"], "names are in capitals"),
    ],
)
def test_words_that_are_no_pairs_of_names_and_values_are_refused(words: list[str], reason: str):
    with pytest.raises(ConfigError, match=reason):
        split_overrides(words, [])


def test_lines_tell_what_was_what_is_and_what_stays():
    before = resolve_settings(TrainConfig, overrides=["train.batch=2"])
    now = resolve_settings(
        TrainConfig, overrides=["train.batch=4", "train.points=1000", "settings.weights=none"]
    )
    names = ("train.batch", "train.points", "settings.weights")
    assert override_lines(names, before, now, sources={"train.batch": "TRAIN.BATCH_SIZE"}) == (
        "train.batch: 2 becomes 4 (TRAIN.BATCH_SIZE)",
        "train.points: stays 1000",
        "settings.weights: is none",
    )
    assert override_lines(["train.batch"], None, now, sources={}) == ("train.batch: is 4",)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(7):
        picture = np.full((32, 40, 3), 30 * number, dtype=np.uint8)
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    return folder


class Typed:
    """Runs ``train`` commands with a job that only records its settings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.jobs: list[TrainJob] = []
        self._capsys = capsys

        def run(job: TrainJob, context: JobContext) -> TrainingState:
            self.jobs.append(job)
            job.run_dir.mkdir(parents=True, exist_ok=True)
            (job.run_dir / "config.yaml").write_text("descriptor: msnet_v0\n", encoding="utf-8")
            return TrainingState()

        monkeypatch.setattr(TrainJob, "run", run)

    def __call__(self, *words: object) -> tuple[int, list[str]]:
        """The exit code, and what was said."""
        code = main(["train", *map(str, words)], open_window=lambda _: pytest.fail("no window"))
        return code, self._capsys.readouterr().err.splitlines()

    @property
    def config(self) -> TrainConfig:
        return self.jobs[-1].config


@pytest.fixture
def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Typed:
    monkeypatch.setenv("DESCGUI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RANK", raising=False)
    return Typed(monkeypatch, capsys)


def test_a_command_of_the_original_trains_what_it_says_and_tells_it(typed: Typed, photos: Path):
    code, said = typed(
        "--config", V0, "--photos", photos, "--set", "train.points=100",
        *("TRAIN.BATCH_SIZE", "2", "TRAIN.MAX_EPOCHS", "2", "TRAIN.BASE_LR", "1e-3"),
        *("MODEL.NAME", "MSNetV0", "TENSORBOARD.IS_ON", "False"),
    )  # fmt: skip
    assert code == 0
    train = typed.config.train
    assert (train.batch, train.points, train.optimiser.rate) == (2, 100, 1e-3)
    training = [path for path in photos.iterdir() if path.suffix == ".png"]
    assert train.steps == 2 * -(-(len(training) - 1) // 2)  # one is kept for validation
    assert "train.batch: 1 becomes 2 (TRAIN.BATCH_SIZE)" in said
    assert "train.points: 3000 becomes 100" in said
    assert "descriptor: stays msnet_v0 (MODEL.NAME)" in said
    assert any(
        line.startswith("train.steps: 354861 becomes 6 (TRAIN.MAX_EPOCHS 2, 6 photos")
        for line in said
    )
    assert any(line.startswith("TENSORBOARD.IS_ON is passed over: ") for line in said)


def test_without_an_override_nothing_is_said_about_one(typed: Typed, photos: Path):
    code, said = typed("--config", V0, "--photos", photos, "--device", "cpu")
    assert code == 0
    assert said == ["loading torch …"]


def test_flags_win_over_overrides_and_the_line_says_so(typed: Typed, photos: Path):
    code, said = typed("--photos", photos, "--device", "cpu", "MODEL.DEVICE", "cuda")
    assert code == 0
    assert typed.config.device == "cpu"
    assert "device: stays cpu (MODEL.DEVICE)" in said


def test_an_override_may_mend_what_a_file_has_wrong(typed: Typed, photos: Path, tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text("train: {batch: 0}\n", encoding="utf-8")
    code, said = typed("--config", file, "--photos", photos, "TRAIN.BATCH_SIZE", "3")
    assert code == 0
    assert "train.batch: is 3 (TRAIN.BATCH_SIZE)" in said


def test_the_runs_name_and_folder_are_the_originals_and_it_goes_on_by_itself(
    typed: Typed, photos: Path, tmp_path: Path
):
    for begins in (True, False):
        code, said = typed("--photos", photos, "EXP.NAME", "eins", "TRAIN.RESUME", "True")
        assert code == 0
        job = typed.jobs[-1]
        assert job.run_dir == tmp_path / "home" / "data" / "runs" / "eins"
        assert job.resume is not begins
        assert f"--run-dir: is {job.run_dir} (EXP.NAME)" in said
        assert f"--resume: the run {'begins' if begins else 'continues'} (TRAIN.RESUME)" in said
    typed("--photos", photos, "EXP.NAME", "eins", "TRAIN.RESUME", "False")
    assert not typed.jobs[-1].resume
    typed("--photos", photos, "EXP.NAME", "eins", "MODEL_DIR", tmp_path / "m")
    assert typed.jobs[-1].run_dir == tmp_path / "m" / "eins"
    typed("--photos", photos, "MODEL_DIR", tmp_path / "m")
    assert typed.jobs[-1].run_dir.parent == tmp_path / "m"
    _, said = typed("--photos", photos, "--run-dir", tmp_path / "r", "EXP.NAME", "eins")
    assert typed.jobs[-1].run_dir == tmp_path / "r"
    assert f"--run-dir: stays {tmp_path / 'r'} (EXP.NAME)" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("TRAIN.MAX_EPOCHS", "1", "DATASET.COCO.KPS"), "DATASET.COCO.KPS: has no value"),
        (("--set", "train.steps=5", "TRAIN.MAX_EPOCHS", "1"), "train.steps: is given twice"),
        (("--run-dir", "x", "--resume", "TRAIN.RESUME", "False"), "TRAIN.RESUME: is False"),
        (("--resume", "MODEL_DIR", "x"), "run-dir: name the folder"),
        (("DATASET.TEST", "HPATCHES_ILLUM"), "'evaluate'"),
    ],
)
def test_commands_that_contradict_themselves_are_refused_in_one_line(
    typed: Typed, photos: Path, words: tuple[str, ...], reason: str
):
    code, said = typed("--photos", photos, *words)
    assert code == 1
    assert len(said) == 1
    assert reason in said[0]
    assert not typed.jobs


def test_epochs_of_no_photos_are_refused(typed: Typed, tmp_path: Path):
    assert "train.photos.folder" in typed("TRAIN.MAX_EPOCHS", "1")[1][-1]
    code, said = typed("--photos", tmp_path / "none", "TRAIN.MAX_EPOCHS", "1")
    assert (code, typed.jobs) == (1, [])
    assert "there is no such folder" in said[-1]


def test_several_processes_need_a_run_with_a_name(
    typed: Typed, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RANK", "1")
    code, said = typed("--photos", photos, "MODEL_DIR", "x")
    assert code == 1
    assert "which all processes have to share" in said[-1]
    code, said = typed("--photos", photos, "EXP.NAME", "a", "TRAIN.BATCH_SIZE", "2")
    assert (code, said) == (0, [])  # the first one speaks alone


def test_an_option_after_the_pairs_is_still_an_option_and_a_wrong_one_is_told():
    arguments = parse(build_parser("p"), ["train", "TRAIN.BATCH_SIZE", "2", "--resume"])
    assert (arguments.overrides, arguments.resume) == (("TRAIN.BATCH_SIZE", "2"), True)
    with pytest.raises(UsageError, match="--resume"):
        parse(build_parser("p"), ["train", "TRAIN.BATCH_SIZE", "2", "--resum"])
