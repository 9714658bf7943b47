"""The loop of training: steps, validation, checkpoints, and stopping at any moment.

A run is a function of its settings and its photos: no random generator keeps a state, so
a run that is continued from a checkpoint yields the same bits (on the CPU, with as many threads).

Under ``torchrun`` each process takes its part of every batch, and gradients are averaged by
DistributedDataParallel; only the first process validates, saves and reports.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from engine.checkpoints import save_safetensors
from engine.data.photos import PhotoSplit
from engine.data.synthetic import TrainingPairs
from engine.descriptors.base import DescriptorMap, Levels, TrainableDescriptor
from engine.descriptors.bfloat16 import in_hardware
from engine.descriptors.registry import DescriptorSpec
from engine.devices import ran_out_of_memory
from engine.errors import (
    ConfigError,
    DescSpaceError,
    DeviceError,
    JobCancelled,
    WeightsError,
    quoted,
)
from engine.evaluation.ranks import Ranks
from engine.metrics import is_better, judge_of
from engine.progress import (
    CancelToken,
    Checkpoint,
    CheckpointReason,
    JobContext,
    Metric,
    Note,
    Preview,
    Progress,
    Stage,
)
from engine.seeding import hash_numbers, purpose_number
from engine.training.batches import Prefetcher
from engine.training.extra_pairs import ExtraPairs
from engine.training.logs import RunLog, peak_memory_mb
from engine.training.previews import draw_pictures
from engine.training.run_folder import RunFolder, finite
from engine.training.schedule import RunningMean, make_optimiser, rate_at
from engine.training.settings import TrainSettings
from engine.training.step import pair_loss
from engine.training.validation import (
    ValidationPair,
    make_validation_pairs,
    measure,
    measure_sequences,
    set_training_mode,
)

Ending = Literal["steps", "patience", "asked"]
"""Why a run ended: all steps are done, validations were no better for long, or somebody asked."""

_EARLY: Final[tuple[Ending, ...]] = ("patience", "asked")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """What is trained, on what, and where it goes.

    Attributes:
        descriptor: its network is changed in place, on the device.
        spec: its name and settings.
        settings: how.
        split: the photos.
        folder: of the run.
        device: where to compute.
        ranks: this process among all.
        metadata: text that goes into every weights file.
        extra: pairs with known truth that it also learns from, None for none.
    """

    descriptor: TrainableDescriptor
    spec: DescriptorSpec
    settings: TrainSettings
    split: PhotoSplit
    folder: RunFolder
    device: torch.device
    ranks: Ranks
    metadata: Mapping[str, str]
    extra: ExtraPairs | None = None


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """What changes during a run, besides the weights; its result when the run has ended.

    Attributes:
        step: how many steps are done.
        seconds: how long they took, in all parts of the run.
        skipped: steps whose loss or gradient was not finite.
        figures: of the last validation, such as ``pck@3``.
        best: the best value so far of the metric that judges the run; None before the first.
        best_step: when it was measured.
        measured_step: when the last validation was; -1 before the first.
        no_better: how many validations since the best one were no better.
        ended: why the run ended, "" while it has not.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_step: int = 0
    measured_step: int = -1
    no_better: int = 0
    ended: Ending | Literal[""] = ""


def train(task: TrainingTask, context: JobContext) -> TrainingState:
    """Train until all steps are done; the folder's state, if there is one, is continued.

    A run ends before that where its patience is exhausted, or when ``context.finish`` is raised.

    Raises:
        ConfigError: settings that do not go together.
        DescSpaceError: photos, folder or device cannot be used; or the loss is not finite in
            several steps in a row.
        DeviceError: there is too little memory; a checkpoint is kept.
        WeightsError: the state in the folder is damaged or of another network.
        JobCancelled: it was stopped; a checkpoint is kept.
    """
    loop = _Loop(task, context)
    with contextlib.closing(loop.log):
        return loop.run()


def reduces(settings: TrainSettings, descriptor: TrainableDescriptor, device: torch.device) -> bool:
    """Whether the network's passes are made in bfloat16."""
    if settings.precision != "auto":
        return settings.precision == "bfloat16"
    if not descriptor.half_precision:
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Elsewhere than in hardware it takes ten times as long as float32.
    return device.type == "cpu" and in_hardware()


class _EarlyEndError(Exception):
    """All processes agreed to end the run before the step that they were in."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending)
        self.ending: Ending = ending


class _Network(nn.Module):
    """Describing as a forward pass, which is what DistributedDataParallel can wrap."""

    def __init__(self, descriptor: TrainableDescriptor) -> None:
        super().__init__()
        self.module = descriptor.module
        self._descriptor = [descriptor]  # in a list: nn.Module would look into it
        self.placement: Levels = ()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Values of all levels; the grids of their cells are left in ``placement``."""
        levels = self._descriptor[0].describe(images)
        self.placement = levels
        return tuple(level.values for level in levels)


class _Loop:
    def __init__(self, task: TrainingTask, context: JobContext) -> None:
        settings, ranks = task.settings, task.ranks
        if settings.batch % ranks.world:
            raise ConfigError(
                "train.batch",
                f"{settings.batch} pairs cannot be shared evenly by {ranks.world} processes",
            )
        if settings.validation.patience and not settings.validation.every_steps:
            raise ConfigError(
                "train.validation.patience",
                "counts validations, but train.validation.every_steps=0 makes none",
            )
        self._task = task
        self._settings = settings
        self._ranks = ranks
        self._context = context
        self._first = ranks.rank == 0
        self._device = task.device
        self._module = task.descriptor.module.to(task.device)
        notes = self._settle_batch_norm()
        self._optimiser = make_optimiser(self._module, settings.optimiser)
        self._state = TrainingState()
        self._continued = False
        self._mean: RunningMean | None = None
        notes += self._restore()
        if settings.optimiser.ema and self._mean is None:
            self._mean = RunningMean(self._module, decay=settings.optimiser.ema)
        self._network = _Network(task.descriptor)
        self._forward: nn.Module = self._network
        if ranks.world > 1:
            ids = [task.device.index] if task.device.type == "cuda" else None
            self._forward = DistributedDataParallel(
                self._network, device_ids=ids, broadcast_buffers=False
            )
        self._reduced = reduces(settings, task.descriptor, task.device)
        self.log = RunLog(
            task.folder if self._first else None,
            context,
            first_step=self._state.step if self._continued else None,
        )
        self._saved_s = time.monotonic()
        self._began_s = self._saved_s - self._state.seconds  # as if it had never been interrupted
        self._saved_step = self._state.step
        self._window: dict[str, list[float]] = {}  # figures of the steps since they were reported
        self._bad_losses: list[float] = []  # of the last steps in a row that were not finite
        self._pairs: tuple[ValidationPair, ...] = ()
        # With several processes the others wait in the next step: they must learn of it first.
        self._inner_cancel = context.cancel if ranks.world == 1 else CancelToken()
        for note in notes:
            self.log.emit(Note(note, "warning"))

    def run(self) -> TrainingState:
        """Do all steps that are left."""
        state, settings = self._state, self._settings
        self.log.mark("started", {"step": state.step, "steps": settings.steps})
        self.log.emit(Progress(Stage.TRAINING, state.step, settings.steps))
        if self._first and settings.validation.every_steps:
            self._pairs = make_validation_pairs(
                self._task.split, settings, cancel=self._inner_cancel, device=self._device
            )
        try:
            with Prefetcher(
                self._task.split,
                settings,
                device=self._device,
                first_step=state.step,
                rank=self._ranks.rank,
                world=self._ranks.world,
                warn=lambda text: self.log.emit(Note(text, "warning")),
                extra=self._task.extra,
            ) as batches:
                self._saved_s = time.monotonic()
                self._begin()
                state.ended = self._do_steps(batches)
        except BaseException as error:
            self._keep_interrupted(error)
            if ran_out_of_memory(error):
                raise DeviceError(
                    f"The training ran out of memory on {self._device}; a smaller batch, smaller "
                    "images or fewer points need less."
                ) from error
            raise
        if state.ended != "steps":
            self.log.emit(Note(self._early_words()))
        self._save("finished")
        marked = {"step": state.step, "seconds": state.seconds, "ended": state.ended}
        self.log.mark("finished", marked)
        return state

    def _do_steps(self, batches: Prefetcher) -> Ending:
        """Do the steps that are left, and tell why there are no more."""
        while self._state.step < self._settings.steps:
            early = self._early()
            if early is not None and self._ranks.world == 1:
                return early
            try:
                self._one_step(batches)
            except _EarlyEndError as end:
                return end.ending
            self._after_step()
        return "steps"

    def _early(self) -> Ending | None:
        """Why this process would end the run now, None where it goes on."""
        patience = self._settings.validation.patience
        if patience and self._state.no_better >= patience:
            return "patience"
        return "asked" if self._context.finish.cancelled else None

    def _early_words(self) -> str:
        state = self._state
        why = "as asked"
        if state.ended == "patience":
            why = f"after {state.no_better} validations that were no better than the best"
        text = f"The training ends at step {state.step}, {why}."
        if not self._task.folder.weights_file("best").exists():
            return f"{text} No validation was better than the first: there are no best weights."
        return f"{text} The best weights are those of step {state.best_step}."

    def _begin(self) -> None:
        """Validate what is due: the untrained network, or what an interruption has left out."""
        state, every = self._state, self._settings.validation.every_steps
        due = every and (state.step % every == 0 or state.step == self._settings.steps)
        if self._first and due and state.measured_step != state.step:
            self._validate()
        if self._first and state.step == 0:
            self._preview()

    def _one_step(self, batches: Prefetcher) -> None:
        state, settings = self._state, self._settings
        begin_s = time.perf_counter()
        pairs = batches.next(self._inner_cancel)
        waited_s = time.perf_counter() - begin_s
        rate = rate_at(state.step, settings.steps, settings.optimiser)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        figures = self._optimise(pairs)
        took_s = time.perf_counter() - begin_s
        state.step += 1
        state.seconds = time.monotonic() - self._began_s
        figures |= {"rate": rate, "step_s": took_s, "data_wait_s": waited_s}
        for name, value in figures.items():
            if math.isfinite(value):
                self._window.setdefault(name, []).append(value)
        if self._mean is not None and not self._bad_losses:
            self._mean.update(self._module, state.step - 1)
        if len(self._bad_losses) >= settings.bad_steps:
            seen = ", ".join(f"{value:.4g}" for value in self._bad_losses)
            raise DescSpaceError(
                f"Training stopped at step {state.step}: {len(self._bad_losses)} steps in a row "
                f"had a loss or a gradient that is not finite (losses: {seen}). The last good "
                f"weights are in {self._task.folder.weights_file('last')}; a lower "
                "train.optimiser.rate, or train.optimiser.clip_norm=1, may help."
            )

    def _optimise(self, pairs: TrainingPairs) -> dict[str, float]:
        """Change the weights by one batch; leaves them alone if anything is not finite."""
        state, settings = self._state, self._settings
        frozen = self._frozen_statistics
        set_training_mode(self._module, training=True, frozen_statistics=frozen)
        buffers = [buffer.clone() for buffer in self._module.buffers()]
        count = len(pairs)
        first_pair = self._ranks.rank * count
        self._optimiser.zero_grad(set_to_none=True)
        reduced = torch.autocast(self._device.type, torch.bfloat16, enabled=self._reduced)
        devices = [self._device] if self._device.type == "cuda" else []
        # Dropout and the like draw from torch's own generators: they are seeded by the step, and
        # restored afterwards, since they belong to the whole process.
        with torch.random.fork_rng(devices=devices), reduced:
            torch.manual_seed(
                hash_numbers(settings.seed, purpose_number("network"), state.step, self._ranks.rank)
            )
            values = self._forward(torch.cat([pairs.images_a, pairs.images_b]))
        levels = tuple(
            DescriptorMap(value, level.grid, level.member)
            for value, level in zip(values, self._network.placement, strict=True)
        )
        self._network.placement = ()
        found = pair_loss(
            levels,
            pairs,
            loss=settings.loss,
            mining=settings.mining,
            seed=settings.seed,
            step=state.step,
            first_pair=first_pair,
        )
        figures = self._averaged({"loss": found.loss.detach(), **found.figures})
        good = math.isfinite(figures["loss"])
        if good:
            torch.autograd.backward(found.loss)
            limit = settings.optimiser.clip_norm or torch.inf
            weights = [w for w in self._module.parameters() if w.grad is not None]
            norm = float(nn.utils.clip_grad_norm_(weights, limit))
            figures["gradient"] = norm
            good = math.isfinite(norm)
        if good:
            self._optimiser.step()
            self._bad_losses.clear()
        else:
            with torch.no_grad():
                for buffer, before in zip(self._module.buffers(), buffers, strict=True):
                    buffer.copy_(before)
            state.skipped += 1
            self._bad_losses.append(figures["loss"])
        return figures

    def _averaged(self, figures: Mapping[str, Tensor]) -> dict[str, float]:
        """The means over all processes; stops all of them if the first one was asked to stop."""
        if self._ranks.world == 1:
            self._context.cancel.check()
            return {name: float(value) for name, value in figures.items()}
        stop = torch.tensor(float(self._context.cancel.cancelled), device=self._device)
        # Only the first process validates, and so knows why the run may end early.
        early = self._early() if self._first else None
        code = torch.tensor(float(_EARLY.index(early) + 1 if early else 0), device=self._device)
        packed = torch.stack([*(value.float() for value in figures.values()), stop, code])
        distributed.all_reduce(packed)
        *values, stops, ends = packed.tolist()
        if stops:
            raise JobCancelled
        if ends:
            raise _EarlyEndError(_EARLY[round(ends) - 1])
        return {
            name: value / self._ranks.world for name, value in zip(figures, values, strict=True)
        }

    def _after_step(self) -> None:
        state, settings = self._state, self._settings
        self.log.emit(Progress(Stage.TRAINING, state.step, settings.steps))
        last = state.step == settings.steps
        if not self._first:
            self._window.clear()
            return
        if state.step % settings.saving.log_every_steps == 0 or last or state.step == 1:
            self.log.emit(Metric(state.step, self._figures()))
            self._window.clear()
        every = settings.validation.every_steps
        if every and (state.step % every == 0 or last):
            self._validate()
        pictures = settings.saving.preview_every_steps
        if pictures and (state.step % pictures == 0 or last):
            self._preview()
        if self._context.pause.paused:
            self._save("paused")
            self._context.pause.wait(self._inner_cancel)
        # The checkpoint of the last step is saved by the caller.
        if not last and time.monotonic() - self._saved_s >= settings.saving.every_s:
            self._save("periodic")

    def _figures(self) -> dict[str, float]:
        state, settings = self._state, self._settings
        means = {name: sum(values) / len(values) for name, values in self._window.items()}
        took_s = means["step_s"]
        return {
            **means,
            "rate": self._window["rate"][-1],
            "data_wait_share": means["data_wait_s"] / took_s if took_s else 0.0,
            "epoch": state.step * settings.batch / len(self._task.split.training),
            "skipped": float(state.skipped),
            "memory_mb": peak_memory_mb(self._device),
        }

    def _validate(self) -> None:
        """Measure, report, and keep the weights if they are the best so far."""
        begin_s = time.perf_counter()
        state, task = self._state, self._task
        with self._in_use():
            figures = measure(
                task.descriptor, self._pairs, device=self._device, cancel=self._inner_cancel
            )
            folder = self._settings.validation.sequences
            if folder is not None:
                inner = JobContext(cancel=self._inner_cancel)
                figures |= measure_sequences(
                    task.descriptor, task.spec, folder, device=self._device, context=inner
                )
        state.figures, state.measured_step = figures, state.step
        took_s = time.perf_counter() - begin_s
        judge = judge_of(figures)
        better = judge is not None and is_better(judge, figures[judge], than=state.best)
        state.no_better = 0 if better else state.no_better + 1
        counted = {"validation_s": took_s, "no_better": float(state.no_better)}
        self.log.emit(Metric(state.step, {**figures, **counted}))
        if judge is not None and better:
            state.best, state.best_step = figures[judge], state.step
            if state.step:
                self._save_weights("best")

    def _preview(self) -> None:
        if not self._pairs or not self._settings.saving.preview_every_steps:
            return
        with self._in_use():
            pictures = draw_pictures(
                self._task.descriptor,
                self._pairs[0],
                self._settings.mining,
                device=self._device,
                cancel=self._inner_cancel,
            )
        self.log.emit(Preview(self._state.step, pictures))

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Inside the block the network is as it will be used: in float32, and its running mean."""
        trained: dict[str, Tensor] | None = None
        set_training_mode(self._module, training=False, frozen_statistics=False)
        try:
            if self._mean is not None:
                trained = {k: v.detach().clone() for k, v in self._module.state_dict().items()}
                self._module.load_state_dict(self._mean.state)
            yield
        finally:
            if trained is not None:
                self._module.load_state_dict(trained)

    def _save(self, reason: CheckpointReason) -> None:
        """Save everything: first the state that a resumed run needs, then weights to use."""
        if not self._first:
            return
        state, folder = self._state, self._task.folder
        folder.save_state(
            {
                "descriptor": self._task.spec.name,
                "module": self._module.state_dict(),
                "optimiser": self._optimiser.state_dict(),
                "optimiser_kind": self._settings.optimiser.kind,
                "mean": None if self._mean is None else self._mean.state,
                **asdict(state),
                "seed": self._settings.seed,
                "batch": self._settings.batch,
                "photos_sha256": self._task.split.training_sha256,
            }
        )
        path = self._save_weights("last")
        if self._settings.saving.keep:
            self._save_weights(f"step-{state.step:08d}")
        folder.prune(self._settings.saving.keep)
        self._saved_s, self._saved_step = time.monotonic(), state.step
        self.log.emit(Checkpoint(state.step, reason, path))

    def _save_weights(self, name: str) -> Path:
        state = self._state
        weights = self._module.state_dict() if self._mean is None else self._mean.state
        figures = {"step": state.step, "seconds": round(state.seconds, 1)}
        values = finite({**figures, "validation": state.figures})
        texts = {name: json.dumps(value) for name, value in values.items()}
        path = self._task.folder.weights_file(name)
        save_safetensors(path, weights, {**self._task.metadata, **texts})
        return path

    def _keep_interrupted(self, error: BaseException) -> None:
        """Keep what was reached, whatever ended it; never hide the reason behind a second fault."""
        if self._state.step == self._saved_step:
            return
        finite = all(bool(torch.isfinite(value).all()) for value in self._module.parameters())
        if finite:
            try:
                self._save("interrupted")
            except DescSpaceError as fault:
                error.add_note(f"The interrupted run could not be saved: {fault}")

    def _restore(self) -> list[str]:
        """Continue from the folder's state, if there is one; sentences about what differs now."""
        saved = self._task.folder.load_state()
        if saved is None:
            return []
        path = self._task.folder.state_file
        name = self._task.spec.name
        if saved.get("descriptor") != name:
            raise WeightsError(path, f"is of {saved.get('descriptor')!r}, not of {quoted(name)}")
        if saved.get("optimiser_kind") != self._settings.optimiser.kind:
            raise WeightsError(
                path,
                f"was trained by {saved.get('optimiser_kind')}, which cannot continue as "
                f"{self._settings.optimiser.kind}",
            )
        try:
            self._module.load_state_dict(saved["module"])
            self._optimiser.load_state_dict(saved["optimiser"])
            # Checkpoints of earlier versions do not have the fields that have defaults here.
            late = {"no_better": 0}
            parts = [part.name for part in fields(TrainingState) if part.name != "ended"]
            state = TrainingState(**{name: {**late, **saved}[name] for name in parts})
            if saved["mean"] is not None and self._settings.optimiser.ema:
                self._mean = RunningMean(self._module, decay=self._settings.optimiser.ema)
                self._mean.state = {
                    key: value.to(self._device) for key, value in saved["mean"].items()
                }
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = str(error).splitlines()[0].rstrip(".:")
            raise WeightsError(
                path, f"is of another architecture or incomplete ({reason})"
            ) from error
        self._state, self._continued = state, True
        notes = []
        if saved.get("photos_sha256") != self._task.split.training_sha256:
            notes.append(
                "The photos are not those that the run began with; it continues with these."
            )
        if (saved.get("seed"), saved.get("batch")) != (self._settings.seed, self._settings.batch):
            notes.append("Seed or batch size differ from those that the run began with.")
        return notes

    def _settle_batch_norm(self) -> list[str]:
        """Decide what becomes of batch normalisation's statistics with several processes."""
        self._frozen_statistics = self._settings.batch_norm == "frozen"
        has = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self._module.modules())
        if self._ranks.world == 1 or self._frozen_statistics or not has:
            return []
        if self._device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(self._module)  # type: ignore[no-untyped-call]
            return []
        self._frozen_statistics = True
        text = (
            "The statistics of batch normalisation stay as they are: processes can share them on "
            "CUDA alone."
        )
        return [text]
