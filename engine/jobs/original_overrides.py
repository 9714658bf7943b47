"""The published code's own settings, understood on the command line of ``train``.

That code is configured by yacs: names in capitals, in sections (``TRAIN.BATCH_SIZE``), written on
its command line as ``NAME VALUE NAME VALUE …`` behind the flags.  One table says what each of its
names is here.  A name that asks for something this program does otherwise on purpose, or not at
all, is refused with the reason; one that only says how the original's program was to run, and
changes nothing of what is learned, is passed over with a sentence.

``docs/ORIGINAL_OVERRIDES.md`` shows the table to people.  Needs neither numpy nor torch.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.config import (
    build_config,
    config_values,
    flatten,
    merge,
    option_text,
    parse_overrides,
)
from engine.errors import ConfigError
from engine.jobs.settings import SECTION, TrainConfig
from engine.paths import new_run_dir, runs_dir

Effect = Mapping[str, Any] | str
"""What a value comes to: our dotted names with their values, or why it is passed over."""

EPOCHS: Final = "epochs"
RUN_NAME: Final = "run name"
RUNS_FOLDER: Final = "runs folder"
RESUME: Final = "--resume"

_MODELS: Final = {
    "MSNetV0": "msnet_v0",
    "MSNetV1": "msnet_v1",
    "MSNetV2": "msnet_v2",
    "Daisy": "daisy",
    "SuperPoint": "superpoint",
}
_MEASURED_PX: Final = (1, 3, 5)


@dataclass(frozen=True, slots=True)
class OriginalSetting:
    """A setting of the published code.

    Attributes:
        name: as it is there.
        becomes: what it is here, in words; "" where it is nothing.
        convert: makes a value of there into an effect here, or raises :class:`_RefusedError`.
    """

    name: str
    becomes: str
    convert: Callable[[Any], Effect]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What settings of the original ask for.

    Attributes:
        settings: our settings, nested as :func:`engine.config.build_config` takes them.
        sources: our dotted name -> the original's, for what a person is told.
        epochs: passes over the photos, which decide ``train.steps``; None: not said.
        run_name: of the run's folder; None: not said.
        runs_folder: where that folder lies; None: not said.
        resume: whether to go on where something is to go on from; None: not said.
        passed_over: a sentence for every setting that is nothing here.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    epochs: int | None = None
    run_name: str | None = None
    runs_folder: Path | None = None
    resume: bool | None = None
    passed_over: tuple[str, ...] = ()

    def run_dir(self) -> Path:
        """The run's folder, unless a flag names it."""
        if self.run_name is None:
            return new_run_dir("train", runs=self.runs_folder)
        return (self.runs_folder or runs_dir()) / self.run_name


class _RefusedError(Exception):
    """A value that cannot be followed; the text says why, without a full stop."""


def is_original(name: str) -> bool:
    """Whether a name is written as the original's are: in capitals."""
    return name.isupper()


def split_overrides(
    words: Iterable[str], assignments: Iterable[str]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Tell our settings from the original's.

    Args:
        words: ``NAME VALUE NAME VALUE …``, as the original's command line has them.
        assignments: texts ``name=value``; names in capitals are the original's.

    Returns:
        The assignments that are ours, and the original's names with their values, those of
        ``words`` last.

    Raises:
        ConfigError: a name without a value, or a word that is no name of the original's.
    """
    ours, theirs = [], []
    for text in assignments:
        name, equals, value = text.partition("=")
        if equals and is_original(name.strip()):
            theirs.append((name.strip(), value))
        else:
            ours.append(text)
    rest = list(words)
    while rest:
        name = rest.pop(0)
        if "=" in name:
            raise ConfigError(name, f"write --set {name}, or the name and the value as two words")
        if not is_original(name):
            raise ConfigError(
                name, "settings without a flag are the original's, whose names are in capitals"
            )
        if not rest:
            raise ConfigError(name, "has no value behind it")
        theirs.append((name, rest.pop(0)))
    return tuple(ours), tuple(theirs)


def translate(pairs: Iterable[tuple[str, str]]) -> Translation:
    """Find out what settings of the original are here.

    The order of different names says nothing, as with yacs; of one name the last value holds.

    Args:
        pairs: names and values as text; values are read as Python's literals, or are text.

    Raises:
        ConfigError: an unknown name, a name or value that cannot be followed here, or a value out
            of range; in the original's name.
    """
    given = dict(pairs)
    for name in given:
        if name not in _BY_NAME:
            near = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.0)
            raise ConfigError(name, f"the original has no such setting; did you mean {near[0]}?")
    settings: dict[str, Any] = {}
    sources: dict[str, str] = {}
    other: dict[str, Any] = {}
    passed_over = []
    for row in ORIGINAL_SETTINGS:
        if row.name not in given:
            continue
        try:
            effect = row.convert(_literal(given[row.name]))
        except _RefusedError as refusal:
            raise ConfigError(row.name, str(refusal)) from None
        if isinstance(effect, str):
            passed_over.append(f"{row.name} is passed over: {effect}.")
            continue
        for target, value in effect.items():
            if target in (EPOCHS, RUN_NAME, RUNS_FOLDER, RESUME):
                other[target] = value
                continue
            settings = merge(settings, _checked(row.name, target, value))
            sources[target] = row.name
    return Translation(
        settings=settings,
        sources=sources,
        epochs=other.get(EPOCHS),
        run_name=other.get(RUN_NAME),
        runs_folder=other.get(RUNS_FOLDER),
        resume=other.get(RESUME),
        passed_over=tuple(passed_over),
    )


def steps_of(epochs: int, *, photos: int, batch: int) -> int:
    """The steps of so many passes, each ending with a smaller batch if need be, as there."""
    return epochs * math.ceil(photos / batch)


def override_lines(
    names: Iterable[str],
    before: tuple[TrainConfig, Mapping[str, Any]] | None,
    now: tuple[TrainConfig, Mapping[str, Any]],
    *,
    sources: Mapping[str, str],
) -> tuple[str, ...]:
    """What overrides changed, a line for each, so that a mistake is seen before training.

    Args:
        names: dotted names that were overridden.
        before: the settings and the descriptor's own without the overrides; None if they were
            wrong without them.
        now: the same with them.
        sources: dotted name -> where the override came from, for those that came from elsewhere.
    """
    old, new = (
        {} if both is None else flatten({**config_values(both[0]), SECTION: both[1]})
        for both in (before, now)
    )
    lines = []
    for name in names:
        value = option_text(new.get(name))
        source = f" ({sources[name]})" if name in sources else ""
        if name not in old:
            lines.append(f"{name}: is {value}{source}")
        elif old[name] == new.get(name):
            lines.append(f"{name}: stays {value}{source}")
        else:
            lines.append(f"{name}: {option_text(old[name])} becomes {value}{source}")
    return tuple(lines)


def overridden_names(overrides: Iterable[str]) -> tuple[str, ...]:
    """The dotted names that texts ``name=value`` set, each once.

    Raises:
        ConfigError: a text is no override.
    """
    return tuple(flatten(parse_overrides(overrides)))


def _literal(text: str) -> Any:
    """A value as yacs reads it: a literal of Python, or else the text itself."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.strip()


def _checked(name: str, target: str, value: Any) -> dict[str, Any]:
    """One setting, nested; refused in the original's name if its value is out of range."""
    nested: dict[str, Any] = {}
    *sections, last = target.split(".")
    inner = nested
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[last] = value
    try:
        build_config(TrainConfig, nested)
    except ConfigError as error:
        raise ConfigError(name, f"{error.reason} ({target} here)") from None
    return nested


def _set(target: str) -> Callable[[Any], Effect]:
    return lambda value: {target: value}


def _pass_over(why: str) -> Callable[[Any], Effect]:
    return lambda _: why


def _refuse(why: str) -> Callable[[Any], Effect]:
    def convert(_: Any) -> Effect:
        raise _RefusedError(why)

    return convert


def _truth(value: Any) -> bool:
    words = {"true": True, "false": False}
    truth = value if isinstance(value, bool) else words.get(str(value).lower())
    if truth is None:
        raise _RefusedError(f"{value!r} is neither True nor False")
    return truth


def _whole(value: Any, *, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise _RefusedError(f"{value!r} is not a whole number of at least {low}")
    return value


def _model(value: Any) -> Effect:
    if value not in _MODELS:
        near = difflib.get_close_matches(str(value), _MODELS, n=1, cutoff=0.0)
        raise _RefusedError(f"there is no model {value!r}; did you mean {near[0]}?")
    return {"descriptor": _MODELS[value]}


def _parallel(value: Any) -> Effect:
    if _truth(value):
        return "several GPUs are used by torchrun, with a process for each"
    return "a process uses one device anyway"


def _device_ids(value: Any) -> Effect:
    if value == []:
        return "which GPUs are used is said to torchrun and by CUDA_VISIBLE_DEVICES"
    raise _RefusedError(
        "choose GPUs by CUDA_VISIBLE_DEVICES, and start a process for each by torchrun"
    )


def _training_set(value: Any) -> Effect:
    if value == "COCO.train":
        return "the photos are those of --photos, of which COCO's train2017 are trained on"
    raise _RefusedError(f"training on {value!r} is not possible; name a folder of photos, --photos")


def _validation_set(value: Any) -> Effect:
    if value == "COCO.val":
        return {"train.validation.sequences": None}
    if str(value).startswith("HPATCHES"):
        raise _RefusedError(
            "these pairs are part of the test set, which must not choose weights; photos kept "
            "apart validate here, or sequences of your own, train.validation.sequences"
        )
    raise _RefusedError(f"{value!r} is not known; photos kept apart, COCO.val, validate here")


def _workers(value: Any) -> Effect:
    return {"train.photos.workers": max(1, _whole(value, low=0))}


def _epochs(value: Any) -> Effect:
    return {EPOCHS: _whole(value, low=1)}


def _validates(value: Any) -> Effect:
    if _truth(value):
        return "validation is on unless train.validation.every_steps is 0"
    return {"train.validation.every_steps": 0}


def _one_pair(value: Any) -> Effect:
    _whole(value, low=1)
    return "pairs are measured one by one"


def _evaluator(value: Any) -> Effect:
    if value == "DESC_PCK":
        return "PCK is what is measured"
    raise _RefusedError(f"{value!r} is not known; PCK, DESC_PCK, is what is measured")


def _threshold(value: Any) -> Effect:
    if value in _MEASURED_PX:
        return "PCK is measured at 1, 3 and 5 px, and weights are chosen at 3 px"
    raise _RefusedError(f"{value!r} px is not measured in training, only 1, 3 and 5 px are")


def _pictures(value: Any) -> Effect:
    if not isinstance(value, list | tuple):
        raise _RefusedError(f"{value!r} is not a list")
    if not value:
        return {"train.saving.preview_every_steps": 0}
    return "all pictures are drawn, every train.saving.preview_every_steps"


def _run_name(value: Any) -> Effect:
    name = str(value)
    if name != Path(name).name or name in ("", ".", "..") or isinstance(value, float):
        raise _RefusedError(f"{name!r} is not the name of one folder; use --run-dir for a path")
    return {RUN_NAME: name}


def _runs_folder(value: Any) -> Effect:
    if not isinstance(value, str) or not value:
        raise _RefusedError(f"{value!r} is not a folder")
    return {RUNS_FOLDER: Path(value).expanduser()}


def _getter(value: Any) -> Effect:
    if value == "MSNet":
        return "the pictures of training are the same for all descriptors"
    raise _RefusedError(f"there are no pictures {value!r}; those of MSNet are always drawn")


_ITS_OWN_PLACE: Final = "it is a place of the original's program"
_OF_THE_TEST: Final = "training measures no test set; say it to 'evaluate'"

ORIGINAL_SETTINGS: Final = (
    OriginalSetting("EXP.NAME", "name of the run's folder, as in --run-dir", _run_name),
    OriginalSetting("MODEL.NAME", "descriptor", _model),
    OriginalSetting("MODEL.DEVICE", "device", _set("device")),
    OriginalSetting("MODEL.PARALLEL", "", _parallel),
    OriginalSetting("MODEL.DEVICE_IDS", "", _device_ids),
    OriginalSetting("PATH.CONFIG_DIR", "", _refuse(_ITS_OWN_PLACE)),
    OriginalSetting("PATH.LIB_DIR", "", _refuse(_ITS_OWN_PLACE)),
    OriginalSetting("PATH.ROOT_DIR", "", _refuse(_ITS_OWN_PLACE)),
    OriginalSetting(
        "PATH.DATA_DIR",
        "",
        _refuse("name the folder of photos by --photos, and the run's by --run-dir"),
    ),
    OriginalSetting("DATASET.TRAIN", "", _training_set),
    OriginalSetting("DATASET.VAL", "train.validation.sequences", _validation_set),
    OriginalSetting("DATASET.TEST", "", _refuse(f"{_OF_THE_TEST}, as --set dataset.test=NAME")),
    OriginalSetting("DATASET.COCO.WIDTH", "train.width", _set("train.width")),
    OriginalSetting("DATASET.COCO.HEIGHT", "train.height", _set("train.height")),
    OriginalSetting("DATASET.COCO.KPS", "train.points", _set("train.points")),
    OriginalSetting(
        "DATASET.HPATCHES.SIZE",
        "",
        _refuse(f"{_OF_THE_TEST}, as --long-edge"),
    ),
    OriginalSetting(
        "DATASET.HPATCHES.KPS",
        "",
        _refuse(f"{_OF_THE_TEST}, as --query-limit"),
    ),
    OriginalSetting("DATALOADER.NUM_WORKERS", "train.photos.workers", _workers),
    OriginalSetting(
        "TRAIN.RESUME",
        "--resume, where there is a run to go on with",
        lambda value: {RESUME: _truth(value)},
    ),
    OriginalSetting("TRAIN.MAX_EPOCHS", "train.steps", _epochs),
    OriginalSetting("TRAIN.BATCH_SIZE", "train.batch", _set("train.batch")),
    OriginalSetting("TRAIN.BASE_LR", "train.optimiser.rate", _set("train.optimiser.rate")),
    OriginalSetting(
        "TRAIN.WEIGHT_DECAY", "train.optimiser.weight_decay", _set("train.optimiser.weight_decay")
    ),
    OriginalSetting(
        "TRAIN.CHECKPOINT_PERIOD",
        "",
        _pass_over("checkpoints are written by the clock, every train.saving.every_s seconds"),
    ),
    OriginalSetting("TRAIN.NUM_CHECKPOINTS", "train.saving.keep", _set("train.saving.keep")),
    OriginalSetting(
        "TRAIN.PRINT_EVERY", "train.saving.log_every_steps", _set("train.saving.log_every_steps")
    ),
    OriginalSetting(
        "TRAIN.VAL_EVERY", "train.validation.every_steps", _set("train.validation.every_steps")
    ),
    # Behind TRAIN.VAL_EVERY, which says nothing where validation is off.
    OriginalSetting("VAL.IS_ON", "train.validation.every_steps", _validates),
    OriginalSetting("VAL.BATCH_SIZE", "", _one_pair),
    OriginalSetting("VAL.EVALUATOR", "", _evaluator),
    OriginalSetting("VAL.PCK_THRESHOLD", "", _threshold),
    OriginalSetting("TEST.BATCH_SIZE", "", _refuse(f"{_OF_THE_TEST}, which measures pair by pair")),
    OriginalSetting("TEST.EVALUATOR", "", _refuse(f"{_OF_THE_TEST}, which measures PCK")),
    OriginalSetting("TEST.PCK_THRESHOLD", "", _refuse(f"{_OF_THE_TEST}, as --threshold")),
    OriginalSetting("TENSORBOARD.IS_ON", "", _pass_over("its files are always written")),
    OriginalSetting("TENSORBOARD.TARGETS.SCALAR", "", _pass_over("all figures are always written")),
    OriginalSetting("TENSORBOARD.TARGETS.IMAGE", "train.saving.preview_every_steps", _pictures),
    OriginalSetting(
        "TENSORBOARD.LOG_DIR", "", _refuse("the logs of a run lie in its folder, --run-dir")
    ),
    OriginalSetting("MODEL_DIR", "folder above the run's, as in --run-dir", _runs_folder),
    OriginalSetting("GETTER.NAME", "", _getter),
)
_BY_NAME: Final = {row.name: row for row in ORIGINAL_SETTINGS}
