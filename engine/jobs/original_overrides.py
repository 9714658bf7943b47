"""The published code's own settings, understood on the command line of ``train``.

That code is configured by yacs: names in capitals, in sections (``TRAIN.BATCH_SIZE``), written on
its command line as ``NAME VALUE NAME VALUE …`` behind the flags.  One table says what each of its
names means here.  A name that asks for something this program deliberately does differently, or
not at all, is refused with the reason; one that only says how the original program runs, and does
not affect what is learned, is skipped with a sentence.

``docs/ORIGINAL_OVERRIDES.md`` explains the table to users.  Needs neither numpy nor torch.
"""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from engine.config import (
    build_config,
    config_values,
    flatten,
    merge,
    nest,
    option_text,
    parse_overrides,
    typed_path,
)
from engine.errors import ConfigError, quoted
from engine.jobs.settings import SECTION, TrainConfig
from engine.paths import new_run_dir, runs_dir

Effect = Mapping[str, Any] | str
"""What a value becomes: our dotted names with their values, or why it is passed over."""

Convert = Callable[[Any], Effect]
"""Turns a value of the original into an effect here, or raises :class:`_RefusedError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What settings of the original ask for.

    Attributes:
        settings: our settings, nested as :func:`engine.config.build_config` takes them.
        sources: our dotted name -> the original's, for messages.
        epochs: passes over the photos, which decide ``train.steps``; None if not given.
        run_name: of the run's folder; None if not given.
        runs_folder: the folder above it; None if not given.
        resume: whether to continue where there is something to continue; None if not given.
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


_ASIDE: Final = ("epochs", "run_name", "runs_folder", "resume")
"""The fields of :class:`Translation` that effects may name beside our settings."""


class _RefusedError(Exception):
    """A value that cannot be followed, with the reason, without a full stop."""


def split_overrides(
    words: Iterable[str], assignments: Iterable[str]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Separate our settings from the original's.

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
        if equals and name.strip().isupper():
            theirs.append((name.strip(), value))
        else:
            ours.append(text)
    rest = list(words)
    while rest:
        name = rest.pop(0)
        if "=" in name:
            raise ConfigError(name, f"write --set {name}, or the name and the value as two words")
        if not name.isupper():
            raise ConfigError(
                name, "settings without a flag are the original's, whose names are in capitals"
            )
        if not rest:
            raise ConfigError(name, "has no value behind it")
        theirs.append((name, rest.pop(0)))
    return tuple(ours), tuple(theirs)


def translate(pairs: Iterable[tuple[str, str]]) -> Translation:
    """Translate settings of the original.

    The order of different names does not matter, as with yacs; of one name the last value holds.

    Args:
        pairs: names and values as text; values are read as Python's literals, or are text.

    Raises:
        ConfigError: an unknown name, a name or value that cannot be followed here, or a value out
            of range; in the original's name.
    """
    given = dict(pairs)
    for name in given:
        if name not in ORIGINAL_SETTINGS:
            near = _nearest(name, ORIGINAL_SETTINGS)
            raise ConfigError(name, f"the original has no such setting; did you mean {near}?")
    settings: dict[str, Any] = {}
    sources: dict[str, str] = {}
    aside: dict[str, Any] = {}
    passed_over = []
    for name in (name for name in ORIGINAL_SETTINGS if name in given):
        try:
            effect = ORIGINAL_SETTINGS[name](_literal(given[name]))
        except _RefusedError as refusal:
            raise ConfigError(name, str(refusal)) from None
        if isinstance(effect, str):
            passed_over.append(f"{name} is passed over: {effect}.")
            continue
        for target, value in effect.items():
            if target in _ASIDE:
                aside[target] = value
                continue
            try:
                build_config(TrainConfig, nest({target: value}))
            except ConfigError as error:
                raise ConfigError(name, f"{error.reason} ({target} here)") from None
            settings = merge(settings, nest({target: value}))
            sources[target] = name
    return Translation(settings=settings, sources=sources, passed_over=tuple(passed_over), **aside)


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


def _nearest(word: object, known: Iterable[str]) -> str:
    return difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.0)[0]


def _set(target: str) -> Convert:
    return lambda value: {target: value}


def _pass_over(why: str) -> Convert:
    return lambda _: why


def _refuse(why: str) -> Convert:
    def convert(_: Any) -> Effect:
        raise _RefusedError(why)

    return convert


def _only(allowed: Collection[Any], why: str, refusal: str) -> Convert:
    """Pass some values over, and refuse all others, which follow in the sentence at ``{}``."""

    def convert(value: Any) -> Effect:
        if value not in allowed:
            raise _RefusedError(refusal.format(repr(value)))
        return why

    return convert


def _switch(*, on: Effect, off: Effect) -> Convert:
    words = {"true": on, "false": off}

    def convert(value: Any) -> Effect:
        if not isinstance(value, bool | str) or str(value).lower() not in words:
            raise _RefusedError(f"{quoted(value)} is neither True nor False")
        return words[str(value).lower()]

    return convert


def _whole(effect: Callable[[int], Effect], *, low: int) -> Convert:
    def convert(value: Any) -> Effect:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise _RefusedError(f"{quoted(value)} is not a whole number of at least {low}")
        return effect(value)

    return convert


def _model(value: Any) -> Effect:
    if value not in _MODELS:
        near = _nearest(value, _MODELS)
        raise _RefusedError(f"there is no model {quoted(value)}; did you mean {near}?")
    return {"descriptor": _MODELS[value]}


def _validation_set(value: Any) -> Effect:
    if value == "COCO.val":
        return {"train.validation.sequences": None}
    if str(value).startswith("HPATCHES"):
        raise _RefusedError(
            "these pairs are part of the test set, which must not choose weights; use held-out "
            "photos (the default), or sequences of your own, train.validation.sequences"
        )
    raise _RefusedError(f"{quoted(value)} is not known; held-out photos, COCO.val, validate here")


def _pictures(value: Any) -> Effect:
    if not isinstance(value, list | tuple):
        raise _RefusedError(f"{quoted(value)} is not a list")
    if not value:
        return {"train.saving.preview_every_steps": 0}
    return "all pictures are drawn, every train.saving.preview_every_steps"


def _run_name(value: Any) -> Effect:
    name = str(value)
    if name != Path(name).name or name in ("", ".", "..") or isinstance(value, float):
        raise _RefusedError(
            f"{quoted(name)} is not the name of one folder; use --run-dir for a path"
        )
    return {"run_name": name}


def _runs_folder(value: Any) -> Effect:
    if not isinstance(value, str) or not value:
        raise _RefusedError(f"{quoted(value)} is not a folder")
    return {"runs_folder": typed_path(value, "runs_folder")}


_MODELS: Final = {
    "MSNetV0": "msnet_v0",
    "MSNetV1": "msnet_v1",
    "MSNetV2": "msnet_v2",
    "Daisy": "daisy",
    "SuperPoint": "superpoint",
}
_ITS_OWN_PLACE: Final = _refuse("it is a place of the original's program")


def _of_the_test(how: str) -> Convert:
    return _refuse(f"training measures no test set; pass it to 'evaluate'{how}")


ORIGINAL_SETTINGS: Final[Mapping[str, Convert]] = {
    "EXP.NAME": _run_name,
    "MODEL.NAME": _model,
    "MODEL.DEVICE": _set("device"),
    "MODEL.PARALLEL": _switch(
        on="several GPUs are used by torchrun, with a process for each",
        off="a process uses one device anyway",
    ),
    "MODEL.DEVICE_IDS": _only(
        ([],),
        "which GPUs are used is up to torchrun and CUDA_VISIBLE_DEVICES",
        "choose GPUs by CUDA_VISIBLE_DEVICES, and start a process for each by torchrun",
    ),
    "PATH.CONFIG_DIR": _ITS_OWN_PLACE,
    "PATH.LIB_DIR": _ITS_OWN_PLACE,
    "PATH.ROOT_DIR": _ITS_OWN_PLACE,
    "PATH.DATA_DIR": _refuse("name the folder of photos by --photos, and the run's by --run-dir"),
    "DATASET.TRAIN": _only(
        ("COCO.train",),
        "the photos are those of --photos, of which COCO's train2017 are trained on",
        "training on {} is not possible; name a folder of photos, --photos",
    ),
    "DATASET.VAL": _validation_set,
    "DATASET.TEST": _of_the_test(", as --set dataset.test=NAME"),
    "DATASET.COCO.WIDTH": _set("train.width"),
    "DATASET.COCO.HEIGHT": _set("train.height"),
    "DATASET.COCO.KPS": _set("train.points"),
    "DATASET.HPATCHES.SIZE": _of_the_test(", as --long-edge"),
    "DATASET.HPATCHES.KPS": _of_the_test(", as --query-limit"),
    "DATALOADER.NUM_WORKERS": _whole(lambda n: {"train.photos.workers": max(1, n)}, low=0),
    "TRAIN.RESUME": _switch(on={"resume": True}, off={"resume": False}),
    "TRAIN.MAX_EPOCHS": _whole(lambda n: {"epochs": n}, low=1),
    "TRAIN.BATCH_SIZE": _set("train.batch"),
    "TRAIN.BASE_LR": _set("train.optimiser.rate"),
    "TRAIN.WEIGHT_DECAY": _set("train.optimiser.weight_decay"),
    "TRAIN.CHECKPOINT_PERIOD": _pass_over(
        "checkpoints are written by the clock, every train.saving.every_s seconds"
    ),
    "TRAIN.NUM_CHECKPOINTS": _set("train.saving.keep"),
    "TRAIN.PRINT_EVERY": _set("train.saving.log_every_steps"),
    "TRAIN.VAL_EVERY": _set("train.validation.every_steps"),
    # Behind TRAIN.VAL_EVERY, which has no effect where validation is off.
    "VAL.IS_ON": _switch(
        on="validation is on unless train.validation.every_steps is 0",
        off={"train.validation.every_steps": 0},
    ),
    "VAL.BATCH_SIZE": _whole(lambda _: "pairs are measured one by one", low=1),
    "VAL.EVALUATOR": _only(
        ("DESC_PCK",), "PCK is what is measured", "{} is not known; only PCK, DESC_PCK, is measured"
    ),
    "VAL.PCK_THRESHOLD": _only(
        (1, 3, 5),
        "PCK is measured at 1, 3 and 5 px, and weights are chosen at 3 px",
        "{} px is not measured in training, only 1, 3 and 5 px are",
    ),
    "TEST.BATCH_SIZE": _of_the_test(", which measures pair by pair"),
    "TEST.EVALUATOR": _of_the_test(", which measures PCK"),
    "TEST.PCK_THRESHOLD": _of_the_test(", as --threshold"),
    "TENSORBOARD.IS_ON": _pass_over("its files are always written"),
    "TENSORBOARD.TARGETS.SCALAR": _pass_over("all figures are always written"),
    "TENSORBOARD.TARGETS.IMAGE": _pictures,
    "TENSORBOARD.LOG_DIR": _refuse("the logs of a run are in its folder, --run-dir"),
    "MODEL_DIR": _runs_folder,
    "GETTER.NAME": _only(
        ("MSNet",),
        "the pictures of training are the same for all descriptors",
        "there are no pictures {}; those of MSNet are always drawn",
    ),
}
"""The original's names, and what their values become."""
