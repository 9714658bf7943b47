"""The settings of training, declared once.  Needs neither numpy nor torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.config import option
from engine.data.synthetic_recipe import LightRecipe, SceneRecipe, WarpRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoSettings:
    """Which photos, and how they are read."""

    folder: Path | None = option(
        None, help="folder of photos, COCO's layout or any other", folder=True, flag="--photos"
    )
    validation_share: float = option(
        0.05, help="share of the photos that is kept apart for validation", low=0.0, high=0.9
    )
    workers: int = option(2, help="threads that decode photos", low=1, high=64)
    cache_mb: int = option(
        512,
        help="decoded photos are kept in this much memory, and so are extra pairs",
        unit="mb",
        low=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraSettings:
    """Pairs with known truth that are learned from beside those made of photos."""

    pairs: str | None = option(
        None, title="Pairs", metavar="SET", flag="--extra-pairs",
        help="also learn from these pairs: the folder of an evaluation, whose worst pairs are "
        "taken, or a set of pairs with truth; the trained weights cannot be reported on them",
    )  # fmt: skip
    share: float = option(
        0.25, help="their share of all pairs", low=0.01, high=1.0, flag="--extra-share"
    )
    worst: int = option(
        20, help="of an evaluation, how many of its worst pairs", low=1, high=100_000,
        flag="--extra-worst",
    )  # fmt: skip
    dataset: str | None = option(
        None, title="Data set", metavar="SET",
        help="of an evaluation, where its pairs are now (default: where they were)",
    )  # fmt: skip
    long_edge_px: int = option(
        0, help="bring these images to this long edge, and cut the training images out of them; "
        "0: as the evaluation did, or 640", unit="px", low=0, high=4096,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MiningSettings:
    """Which wrong places are mined."""

    kind: Literal["none", "hard", "semi-hard", "k-hard", "k-semi-hard"] = option(
        "hard", title="Mining",
        help="the most similar wrong cells, or random ones nearer than the true one",
    )  # fmt: skip
    k: int = option(1, help="how many a query, for the kinds that say k", low=1, high=64)
    radius_px: float = option(
        16.0, help="only cells farther than this from the true place are wrong", unit="px", low=0.0
    )
    margin: float = option(
        0.5, help="semi-hard: nearer than the true pair's distance plus this", low=0.0, high=2.0
    )
    interval: int = option(
        1, help="only every n-th cell along x and y is searched; 4 in the original",
        low=1, high=64,
    )  # fmt: skip
    random_start: bool = option(
        False, help="start at a random cell of the interval, as the original does"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """What is made small."""

    kind: Literal["contrastive", "dual-softmax"] = option(
        "contrastive", title="Loss",
        help="the original's, or InfoNCE over all points in both directions",
    )  # fmt: skip
    margin: float = option(
        0.5, help="contrastive: wrong places are pushed away to this distance", low=0.0, high=2.0
    )
    temperature: float = option(
        0.07, help="dual softmax: similarities are divided by this", low=0.001, high=10.0
    )
    ignored_px: float = option(
        8.0, help="dual softmax: points this near the true one are neither right nor wrong",
        unit="px", low=0.0,
    )  # fmt: skip
    levels: Literal["first", "all"] = option(
        "first", help="train the first map of a set alone, as the original does, or all"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserSettings:
    """How weights change."""

    kind: Literal["adam", "adamw"] = option("adamw", help="Adam, or Adam with decoupled decay")
    rate: float = option(
        1e-3, title="Learning rate", help="learning rate, at its highest", low=0.0, high=10.0
    )
    weight_decay: float = option(1e-2, help="weight decay", low=0.0, high=1.0)
    warmup_steps: int = option(0, help="steps over which the rate rises from 0", low=0)
    schedule: Literal["constant", "cosine"] = option(
        "cosine", help="after that the rate stays, or falls along half a cosine"
    )
    final_share: float = option(
        0.01, help="cosine: share of the rate that is left at the end", low=0.0, high=1.0
    )
    clip_norm: float = option(
        0.0, help="longer gradients are cut to this length; 0 for never", low=0.0
    )
    ema: float = option(
        0.0, help="decay of the running mean of the weights that is kept and validated; 0 for none",
        low=0.0, high=0.99999,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSettings:
    """How progress is measured."""

    every_steps: int = option(500, help="steps between validations; 0 for never", low=0)
    pairs: int = option(16, help="pairs made from photos kept apart", low=1, high=1000)
    points: int = option(256, help="queries of a pair", low=1, high=10_000)
    patience: int = option(
        0, help="end the run after this many validations in a row that were no better than the "
        "best; 0 for never", low=0,
    )  # fmt: skip
    sequences: Path | None = option(
        None, help="also measure on these sequences, and choose the best by them; never test data",
        folder=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingSettings:
    """What is saved and logged during a run."""

    every_s: float = option(300.0, help="seconds between checkpoints", unit="s", low=0.0)
    keep: int = option(5, help="checkpoints kept besides the best and the last", low=0, high=1000)
    log_every_steps: int = option(10, help="steps between lines of the log", low=1)
    preview_every_steps: int = option(250, help="steps between pictures; 0 for none", low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a descriptor is trained."""

    steps: int = option(10_000, help="optimisation steps in all", low=1)
    batch: int = option(4, help="pairs a step, over all processes", low=1, high=4096)
    width: int = option(320, help="width of the training images in px", low=32, high=4096)
    height: int = option(240, help="height of the training images in px", low=32, high=4096)
    points: int = option(1000, help="points of a pair", low=1, high=100_000)
    seed: int = option(0, help="of everything random", low=0)
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", help="arithmetic of the network; auto takes bfloat16 where it is fast and safe"
    )
    batch_norm: Literal["train", "frozen"] = option(
        "train", help="learn the statistics of batch normalisation, or leave them as they are"
    )
    bad_steps: int = option(
        5, help="stop after this many steps in a row whose loss is not finite", low=1
    )
    photos: PhotoSettings = field(default_factory=PhotoSettings)
    extra: ExtraSettings = field(default_factory=ExtraSettings)
    warp: WarpRecipe = field(default_factory=WarpRecipe)
    scene: SceneRecipe = field(default_factory=SceneRecipe)
    light: LightRecipe = field(default_factory=LightRecipe)
    mining: MiningSettings = field(default_factory=MiningSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    saving: SavingSettings = field(default_factory=SavingSettings)

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the training images."""
        return self.width, self.height

    @property
    def photo_size_px(self) -> tuple[int, int]:
        """(width, height) at which photos are kept."""
        return round(self.width * self.warp.detail), round(self.height * self.warp.detail)
