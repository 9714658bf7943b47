"""What a descriptor declares, held against what it does.

Nothing else in this program notices a wrong stride, an offset half a pixel off or colours in the
wrong order: maps come out, and matches look almost right.  So a descriptor that did not come with
this program is looked at when it is first built, on small images, and what was found is kept until
its code, weights or settings change.  A wrong length or stride is refused, since every match would
be wrong; all else is told.

Built-in descriptors are held to the same, and more, by their contract test.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from engine.descriptors.base import DenseDescriptor, DescriptorMap, Levels, TrainableDescriptor
from engine.descriptors.checked_input import check_input
from engine.descriptors.checked_weights import Loading, check_weights, watching_loads
from engine.descriptors.families.backbone import BackboneDescriptor
from engine.descriptors.families.grids import EXACT_PX, measure_layer, mirrored_layer
from engine.descriptors.findings import Finding
from engine.descriptors.grid_measure import (
    MeasuredGrid,
    NoInfluenceError,
    fitting_size,
    measure_grid,
    random_images,
)
from engine.descriptors.held_state import networks_of, state_sha256
from engine.descriptors.plugins import code_sha256, is_plugin, plugin_fault
from engine.descriptors.registry import (
    DescriptorSpec,
    build_descriptor,
    get_descriptor,
)
from engine.errors import ConfigError, DescSpaceError, OutputError, PluginError
from engine.files import make_folder, parse_json, read_input, write_atomically
from engine.paths import cache_dir
from engine.progress import check_stop

_VERSION: Final = 1  # of the checks: what was kept by others is made again
_FAILED: Final = "describing"
_SIZE_PX: Final = (131, 98)
# For those that do not keep to the contract: multiples of 32 and of 14, and what most are made for.
_EASIER_PX: Final = ((128, 96), (126, 98), (224, 224), (256, 256), (518, 518))
_SMALL_PX: Final = ((16, 16), (17, 16), (16, 31), (47, 33))
_OFFSET_PX: Final = 0.25
_CERTAIN_PX: Final = 0.06  # three of these are less than what is told
_SHOWN_PX: Final = 0.001
_STRIDE_SHARE: Final = 0.02
_UNSURE_SHARE: Final = 0.1
_BY_CHANCE: Final = 3.0  # standard errors
_UNIT: Final = 0.01
_SAME: Final = 1e-5
_ALIKE: Final = 0.99
_FIRST_BUDGET_S: Final = 2.0  # of measuring a grid; small networks need a tenth of it
_THOROUGH_BUDGET_S: Final = 20.0
_MOST_LEVELS: Final = 4


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All that was found about one descriptor.

    Attributes:
        name: registered name.
        findings: in the order they are shown.
        seconds: how long it took.
    """

    name: str
    findings: tuple[Finding, ...]
    seconds: float

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """What makes the descriptor unusable."""
        return tuple(one for one in self.findings if one.verdict == "refused")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What differs from what was declared, and is usable nevertheless."""
        return tuple(one for one in self.findings if one.verdict == "differs")


def build_checked(spec: DescriptorSpec) -> tuple[DenseDescriptor, tuple[str, ...]]:
    """Build a descriptor; one that did not come with this program is checked, the first time.

    Returns:
        The descriptor, and a sentence for everything that is not as it was declared.

    Raises:
        ConfigError: the spec does not fit the registered settings.
        WeightsError: its weights cannot be used.
        PluginError: it failed, or its length or stride is wrong.
    """
    entry = get_descriptor(spec.name)
    if not is_plugin(entry):
        return build_descriptor(spec), ()
    with naming_plugin():
        with watching_loads() as loads:
            descriptor = build_descriptor(spec)
        kept = _kept_at(spec, descriptor)
        report = _read_kept(kept)
        if report is None:
            report = _check(spec, descriptor, tuple(loads), _FIRST_BUDGET_S)
            _keep(kept, report)
    for finding in report.refusals:
        raise PluginError(entry.source, f"{spec.name!r}: {finding.text}")
    return descriptor, tuple(f"{entry.title}: {one.sentence}" for one in report.warnings)


def check_thoroughly(spec: DescriptorSpec) -> CheckReport:
    """Check any descriptor, whatever is known of it, and take the time that it needs.

    Raises:
        ConfigError: the spec does not fit the registered settings.
        WeightsError: its weights cannot be used.
        PluginError: it cannot be built.
    """
    with naming_plugin():
        with watching_loads() as loads:
            descriptor = build_descriptor(spec)
        again = state_sha256(build_descriptor(spec))
        report = _check(spec, descriptor, tuple(loads), _THOROUGH_BUDGET_S, built_again=again)
        if is_plugin(get_descriptor(spec.name)):
            _keep(_kept_at(spec, descriptor), report)
    return report


def check_trainable(spec: DescriptorSpec, descriptor: TrainableDescriptor) -> None:
    """Refuse to train what no gradient reaches.

    Raises:
        ConfigError: it has no weights, describe() stops their gradients, or these are not finite.
        PluginError: it failed.
    """
    if is_plugin(get_descriptor(spec.name)):
        with naming_plugin():
            finding = gradient_finding(descriptor, descriptor.module)
        if finding.verdict != "ok":
            raise ConfigError("descriptor", f"{spec.name!r}: {finding.text}")


@contextlib.contextmanager
def naming_plugin() -> Iterator[None]:
    """Inside the block an error that arises in a plugin's code names its file and line."""
    try:
        yield
    except Exception as error:
        fault = plugin_fault(error)
        if fault is None:
            raise
        raise fault from error


# ---- what is kept ----------------------------------------------------------------------------


def _kept_at(spec: DescriptorSpec, descriptor: DenseDescriptor) -> Path:
    """Where the report of exactly this code, these weights and settings is kept."""
    stamps = [(one.path, one.mtime_ns, one.size_bytes) for one in spec.weights_stamps()]
    known = (
        _VERSION,
        torch.__version__,
        spec.name,
        repr(spec.settings),
        stamps,
        code_sha256(get_descriptor(spec.name)),
        state_sha256(descriptor),
    )
    return cache_dir() / "checks" / f"{hashlib.sha256(repr(known).encode()).hexdigest()}.json"


def _read_kept(path: Path) -> CheckReport | None:
    try:
        values = parse_json(read_input(path, OutputError))
        findings = tuple(Finding(**one) for one in values["findings"])
        return CheckReport(values["name"], findings, values["seconds"])
    except (OutputError, ValueError, TypeError, KeyError):
        return None


def _keep(path: Path, report: CheckReport) -> None:
    if any(one.name == _FAILED for one in report.findings):
        return  # for want of memory, say: next time it may not fail
    with contextlib.suppress(OutputError):
        make_folder(path.parent)
        write_atomically(path, json.dumps(asdict(report), ensure_ascii=False).encode())


# ---- the checks ------------------------------------------------------------------------------


def _check(
    spec: DescriptorSpec,
    descriptor: DenseDescriptor,
    loads: Sequence[Loading],
    budget_s: float,
    *,
    built_again: str | None = None,
) -> CheckReport:
    started_s = time.perf_counter()
    findings: list[Finding] = []
    size_px = _SIZE_PX
    module = getattr(descriptor, "module", None)
    if isinstance(module, nn.Module):  # a GPU may be full; what describes moves it there again
        module.to("cpu")
    with contextlib.suppress(Exception):  # a stranger's code; the first look tells of it
        size_px = _fitting(descriptor)
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: _interface(descriptor),
        lambda: _first_look(descriptor, size_px),
        lambda: _layer_grids(descriptor),
        lambda: _grids(descriptor, size_px, budget_s),
        lambda: _coverage(descriptor),
        lambda: _repeated(descriptor, size_px),
        lambda: _moved(descriptor),
        lambda: _blank(descriptor, size_px),
        lambda: _reduced(descriptor, size_px),
        lambda: _gradient(descriptor, size_px),
        lambda: check_input(descriptor, networks_of(descriptor), size_px),
        lambda: check_weights(spec, descriptor, loads, built_again),
    )
    for find in parts:
        try:
            findings += find()
        except Exception as error:  # a stranger's code: anything may come
            findings.append(Finding(_FAILED, "", "fails", "refused", f"it fails: {_why(error)}"))
        if any(one.verdict == "refused" for one in findings):
            break  # what follows would stumble over the same
    return CheckReport(spec.name, tuple(findings), time.perf_counter() - started_s)


def _why(error: Exception) -> str:
    """What went wrong, with file and line where they are a plugin's; no full stop."""
    known = error if isinstance(error, DescSpaceError) else plugin_fault(error)
    if known is not None:
        return str(known).removesuffix(".")
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}".removesuffix(": ")


_ATTRIBUTES: Final[Mapping[str, tuple[type, str]]] = {
    "dim": (int, "a whole number"),
    "shift_period_px": (int, "a whole number"),
    "trained": (bool, "True or False"),
    "half_precision": (bool, "True or False"),
}


def _interface(descriptor: DenseDescriptor) -> Iterator[Finding]:
    value: Any
    number: Any
    missing = [name for name in (*_ATTRIBUTES, "describe") if not hasattr(descriptor, name)]
    for name, (kind, words) in _ATTRIBUTES.items():
        if name not in missing:
            value = number = getattr(descriptor, name)
            wrong = not isinstance(value, kind) or (kind is int and (number is True or number < 1))
            if wrong:
                yield Finding(name, repr(value), words, "refused", f"{name} must be {words}")
    if missing:
        names = ", ".join(missing)
        yield Finding("attributes", "", f"no {names}", "refused", f"it has no {names}")


def _images(count: int, size_px: tuple[int, int], seed: int = 0) -> Tensor:
    """Random images over the whole of [0, 1]."""
    drawn = random_images(count, size_px, torch.Generator().manual_seed(seed))
    return ((drawn - 0.25) * 2).clamp(0, 1)


def _describe(descriptor: DenseDescriptor, images: Tensor) -> Levels:
    check_stop()
    with torch.inference_mode():
        return descriptor.describe(images)


def _fitting(descriptor: DenseDescriptor) -> tuple[int, int]:
    """A size that it describes: the one meant to be awkward, or an easier one."""
    for size_px in (_SIZE_PX, *_EASIER_PX):
        with contextlib.suppress(Exception):  # a stranger's code: anything may come
            _describe(descriptor, _images(1, size_px))
            return size_px
    return _SIZE_PX


def _first_look(descriptor: DenseDescriptor, size_px: tuple[int, int]) -> Iterator[Finding]:
    """Layout, length, unit length and finite numbers, of two images."""
    images = _images(2, size_px)
    levels: Any = _describe(descriptor, images.clone())
    if not (
        isinstance(levels, tuple)
        and levels
        and all(isinstance(level, DescriptorMap) for level in levels)
    ):
        found = type(levels).__name__
        text = f"describe() must return a tuple of DescriptorMap, not {found}"
        yield Finding("layout", "a tuple of DescriptorMap", found, "refused", text)
        return
    dim = descriptor.dim
    for number, level in enumerate(levels):
        name = numbered("dim", number, levels)
        shape = tuple(level.values.shape)
        shown = "×".join(map(str, shape))
        if len(shape) != 4 or shape[0] != 2 or 0 in shape:
            text = f"two images gave a map of {shown} instead of 2×{dim}×height×width"
            yield Finding("layout", f"2×{dim}×H×W", shown, "refused", text)
            return
        if shape[1] != dim:
            last = " (the last axis has that length: move it to the second place)"
            text = (
                f"dim is declared as {dim}, but two images gave a map of {shown}, whose second "
                f"axis has {shape[1]}{last if shape[3] == dim else ''}"
            )
            yield Finding(name, str(dim), str(shape[1]), "refused", text)
            return
        yield Finding(name, str(dim), str(shape[1]))
    finite = all(bool(level.values.isfinite().all()) for level in levels)
    if not finite:
        yield Finding("finite", "yes", "no", "refused", "its maps hold numbers that are not finite")
        return
    yield Finding("finite", "yes", "yes")
    lengths = torch.cat([level.values.float().norm(dim=1).flatten() for level in levels])
    off = (lengths - 1).abs().gt(_UNIT) & lengths.gt(0)
    low, high = float(lengths.min()), float(lengths.max())
    shown = f"{low:.4g} to {high:.4g}" if high - low > _UNIT else f"{high:.4g}"
    if bool(off.any()):
        text = f"vectors have lengths of {shown}; they are brought to 1"
        yield Finding("unit length", "1", shown, "differs", text)
    else:
        yield Finding("unit length", "1", shown)


def numbered(name: str, number: int, levels: Levels) -> str:
    """What is told of one of several maps."""
    return name if len(levels) == 1 else f"{name} of map {number + 1}"


# ---- the grid --------------------------------------------------------------------------------


def _layer_grids(descriptor: DenseDescriptor) -> Iterator[Finding]:
    """What was measured of the layers of a network that was opened by its name."""
    if not isinstance(descriptor, BackboneDescriptor):
        return
    for number in descriptor.chosen:
        layer = descriptor.layers[number]
        found = measure_layer(descriptor.network, number, facet=descriptor.facet)
        shown = f"{_both(found.stride_px)} from {_both(found.offset_px)}; {_quality(found)}"
        yield Finding(f"layer {layer.name}", f"about {_px(layer.stride_px)}", shown)


def _quality(found: MeasuredGrid) -> str:
    """How well a grid is known, and how it was found."""
    how = {
        "gradient": "gradients",
        "differences": "differences",
        "mirror": "mirroring",
        "enlarging": "matching enlarged photos",
    }[found.method]
    return f"error {_tiny(found.error_px)} px, spread {_tiny(found.spread_px)} px, by {how}"


def _tiny(value: float) -> str:
    return f"{value:.2g}" if value >= _SHOWN_PX else f"below {_SHOWN_PX:g}"


def _grids(
    descriptor: DenseDescriptor, size_px: tuple[int, int], budget_s: float
) -> Iterator[Finding]:
    levels = _describe(descriptor, _images(1, size_px))
    for number, level in enumerate(levels[:_MOST_LEVELS]):
        cells = level.values.shape[3]
        about_px = size_px[0] / cells
        if cells < 2:
            text = f"an image of {size_px[0]} px gave a single column; grids need two"
            yield Finding("stride", _px(level.grid.stride_px), "–", "unknown", text)
            continue
        wanted_px = fitting_size(about_px)
        try:
            _describe(descriptor, _images(1, wanted_px))
        except Exception:  # a stranger's code: it describes certain sizes only
            wanted_px = size_px
        measured = _measured(descriptor, number, level, wanted_px, budget_s / len(levels))
        if measured is None:
            text = "nothing in the image changes the map, so its cells have no place"
            yield Finding("stride", _px(level.grid.stride_px), "–", "unknown", text)
            continue
        yield from compare_grid(level, measured, number, levels)


def _measured(
    descriptor: DenseDescriptor,
    number: int,
    level: DescriptorMap,
    size_px: tuple[int, int],
    budget_s: float,
) -> MeasuredGrid | None:
    """The grid of one map, by symmetric kernels, or as it is where these leave nothing to see."""
    if isinstance(descriptor, BackboneDescriptor):
        exact = _mirrored(descriptor, number, level, size_px)
        if exact is not None:
            return exact
    for networks in (networks_of(descriptor), ()):
        with contextlib.suppress(NoInfluenceError):
            return measure_grid(
                lambda images: descriptor.describe(images)[number].values.float(),
                size_px=size_px,
                networks=networks,
                expected_px=level.grid.stride_px,
                certain_px=_CERTAIN_PX,
                budget_s=budget_s,
            )
    return None


def _mirrored(
    descriptor: BackboneDescriptor, number: int, level: DescriptorMap, size_px: tuple[int, int]
) -> MeasuredGrid | None:
    """The grid of one map of a network that was opened by its name; None if it is not exact.

    Derivatives would not show it where cells see far beyond the images that are measured with.
    """
    network, stride_px = descriptor.network, level.grid.stride_px
    found = mirrored_layer(
        network,
        lambda images: descriptor.describe(images)[number].values.float(),
        size_px=network.input_size_px(*size_px),
        stride_px=stride_px,
        networks=networks_of(descriptor),
    )
    return found if found is not None and found.error_px <= EXACT_PX else None


def compare_grid(
    level: DescriptorMap, found: MeasuredGrid, number: int, levels: Levels
) -> Iterator[Finding]:
    """What a level declares of its grid, beside what was measured of it."""
    stride_px, offset_px = level.grid.stride_px, level.grid.offset_px
    name, shown = numbered("stride", number, levels), _both(found.stride_px)
    if found.crossed:
        text = (
            "cells do not lie in rows and columns as the map has them: its axes are swapped, or "
            f"cells are out of order (one step along a row moves {_both(found.stride_px)}, one "
            f"across it {found.crossed_px:.3g} px)"
        )
        yield Finding(name, _px(stride_px), shown, "refused", text)
        return
    off_px = max(abs(one - stride_px) for one in found.stride_px)
    if off_px > max(_STRIDE_SHARE * stride_px, _BY_CHANCE * found.stride_error_px):
        text = (
            f"the stride is declared as {_px(stride_px)}, but cells lie {shown} apart; matches "
            "would lie in wrong places, and outside the image"
        )
        yield Finding(name, _px(stride_px), shown, "refused", text)
        return
    if found.stride_error_px > _UNSURE_SHARE * stride_px:
        shown += f" ± {found.stride_error_px:.2g}"
        text = (
            "stride and offset could not be measured well enough to tell, as where each cell sees "
            "much of the image"
        )
        yield Finding(name, _px(stride_px), shown, "unknown", text)
        return
    yield Finding(name, _px(stride_px), shown)
    yield Finding(numbered("precision", number, levels), "–", _quality(found))
    name = numbered("offset", number, levels)
    shown = f"{_both(found.offset_px)} ± {found.error_px:.2f}"
    off_px = max((one - offset_px for one in found.offset_px), key=abs)
    if abs(off_px) <= max(_OFFSET_PX, _BY_CHANCE * found.error_px):
        if found.error_px > _OFFSET_PX / 2:
            text = "the offset could not be measured well enough to tell"
            yield Finding(name, _px(offset_px), shown, "unknown", text)
        else:
            yield Finding(name, _px(offset_px), shown)
        return
    text = f"the offset is declared as {_px(offset_px)}, but cell 0 was measured at {shown}"
    cells = [round((one - offset_px) / stride_px) for one in found.offset_px]
    if any(cells):
        text += (
            "; that is a whole cell or more: of a transformer, as many tokens have to be dropped "
            "before the patches as there are"
        )
    yield Finding(name, _px(offset_px), shown, "differs", text)


def _px(value: float) -> str:
    return f"{value:.4g} px"


def _both(values: tuple[float, float]) -> str:
    """Both numbers, x first, or one where they are the same; no -0."""
    x, y = (f"{round(value, 2) + 0.0:.4g}" for value in values)
    return f"{x} px" if x == y else f"{x}, {y} px"


# ---- the rest of the contract ----------------------------------------------------------------


def _coverage(descriptor: DenseDescriptor) -> Iterator[Finding]:
    """Small and odd images are described, by cells that lie in them and reach all sides."""
    worst_px, where, bare_px = 0.0, "", 0.0
    for size_px in (*_SMALL_PX, _SIZE_PX):
        try:
            levels = _describe(descriptor, _images(1, size_px))
        except Exception as error:  # a stranger's code: anything may come
            shown = f"{size_px[0]}×{size_px[1]} px"
            text = f"an image of {shown} cannot be described ({_why(error)})"
            yield Finding("coverage", "any size from 16 px", f"not {shown}", "differs", text)
            return
        for level in levels:
            rows, columns = level.values.shape[2:]
            for cells, side_px in ((columns, size_px[0]), (rows, size_px[1])):
                first_px, last_px = level.grid.to_px(0), level.grid.to_px(cells - 1)
                outside_px = max(-first_px, last_px - (side_px - 1))
                if outside_px > worst_px:
                    worst_px, where = outside_px, f"{size_px[0]}×{size_px[1]} px"
                gap_px = max(first_px, side_px - 1 - last_px) - level.grid.stride_px
                bare_px = max(bare_px, gap_px)
    if worst_px > 0.5:
        text = f"cells lie up to {worst_px:.3g} px outside an image of {where}, and can be matched"
        yield Finding("coverage", "inside", f"{worst_px:.3g} px outside", "differs", text)
    else:
        reach = "to all sides" if bare_px < 0.5 else f"{bare_px:.3g} px bare at a side"
        yield Finding("coverage", "inside", f"inside, {reach}")


def _repeated(descriptor: DenseDescriptor, size_px: tuple[int, int]) -> Iterator[Finding]:
    """The same image gives the same map, in any batch, and nothing else is touched."""
    images = _images(2, size_px, seed=1)
    given, state = images.clone(), torch.get_rng_state()
    first = _describe(descriptor, given)
    changed = not torch.equal(images, given)
    drew = not torch.equal(state, torch.get_rng_state())
    second = _describe(descriptor, images.clone())
    apart = _apart(first, second)
    alone = _describe(descriptor, images[:1].clone())
    in_batch = _apart(alone, tuple(_only(level, 0) for level in first))
    if apart > _SAME:
        text = (
            f"two descriptions of one image differ by up to {apart:.2g}"
            + ("; random numbers are drawn" if drew else "")
            + ": is the network in eval() mode?"
        )
        yield Finding("repeatable", "the same", f"{apart:.2g} apart", "differs", text)
    elif in_batch > 1e-3:
        text = (
            f"an image is described differently, by up to {in_batch:.2g}, alone and in a batch: is "
            "the network in eval() mode?"
        )
        yield Finding("repeatable", "the same", f"{in_batch:.2g} in a batch", "differs", text)
    elif drew or changed:
        what = "draws global random numbers" if drew else "changes the image it is given"
        yield Finding("repeatable", "the same", what, "differs", f"describing {what}")
    else:
        yield Finding("repeatable", "the same", "the same")


def _only(level: DescriptorMap, place: int) -> DescriptorMap:
    return DescriptorMap(level.values[place : place + 1], level.grid, level.member)


def _apart(one: Levels, other: Levels) -> float:
    """The largest difference of two descriptions; infinite for other shapes."""
    if [a.values.shape for a in one] != [b.values.shape for b in other]:
        return float("inf")
    return max(float((a.values - b.values).abs().max()) for a, b in zip(one, other, strict=True))


def _moved(descriptor: DenseDescriptor) -> Iterator[Finding]:
    """An image that is moved by the shift period gives the same map, moved by whole cells."""
    period_px = descriptor.shift_period_px
    if period_px > 64:
        text = "images as large as that are not described here"
        yield Finding("shift period", _px(period_px), "–", "unknown", text)
        return
    side_px = 96 + 4 * period_px
    picture = _images(1, (side_px + period_px, side_px + period_px))
    try:
        here = _describe(descriptor, picture[:, :, :side_px, :side_px])
        there = _describe(descriptor, picture[:, :, period_px:, period_px:])
    except Exception as error:  # a stranger's code: it describes certain sizes only
        text = f"an image of {side_px} × {side_px} px cannot be described ({_why(error)})"
        yield Finding("shift period", _px(period_px), "–", "unknown", text)
        return
    for number, (one, other) in enumerate(zip(here, there, strict=True)):
        stride_px = one.grid.stride_px
        name = numbered("shift period", number, here)
        if abs(period_px / stride_px - round(period_px / stride_px)) > 1e-6:
            text = f"it is no multiple of the stride, {_px(stride_px)}"
            yield Finding(name, _px(period_px), "–", "differs", f"the shift period: {text}")
            return
        cells = round(period_px / stride_px)
        found = {shift: _likeness(one, other, shift) for shift in {0, 1, cells, 2 * cells}}
        best = max(found, key=lambda shift: found[shift])
        if found[cells] >= _ALIKE:
            continue
        if found[best] >= _ALIKE:
            text = (
                f"an image that is moved by {_px(period_px)} moves the map by {best} cells instead "
                f"of {cells}"
            )
            yield Finding(name, f"{cells} cells", f"{best} cells", "differs", text)
        else:
            text = (
                f"of an image that is moved by it, the map is only {found[cells]:.2f} similar to "
                "the moved one: attention and learned positions see where the borders are"
            )
            yield Finding(name, _px(period_px), f"{found[cells]:.2f} similar", "unknown", text)
        return
    yield Finding("shift period", _px(period_px), "the map moves along")


def _likeness(one: DescriptorMap, other: DescriptorMap, cells: int) -> float:
    """Median similarity of one map, moved by some cells, and the other, away from the borders."""
    rows, columns = other.values.shape[2:]
    moved = one.values[:, :, cells:, cells:]
    height, width = min(rows, moved.shape[2]), min(columns, moved.shape[3])
    inside = (
        ...,
        slice(height // 4, max(height // 4 + 1, 3 * height // 4)),
        slice(width // 4, max(width // 4 + 1, 3 * width // 4)),
    )
    pair = moved[..., :height, :width][inside], other.values[..., :height, :width][inside]
    return float(torch.cosine_similarity(pair[0], pair[1], dim=1).median())


def _blank(descriptor: DenseDescriptor, size_px: tuple[int, int]) -> Iterator[Finding]:
    for value in (0.0, 0.3, 1.0):
        levels = _describe(descriptor, torch.full((1, 3, size_px[1], size_px[0]), value))
        if not all(bool(level.values.isfinite().all()) for level in levels):
            text = "an image of one colour gives numbers that are not finite"
            yield Finding("one colour", "finite", "not finite", "differs", text)
            return
    yield Finding("one colour", "finite", "finite")


def _reduced(descriptor: DenseDescriptor, size_px: tuple[int, int]) -> Iterator[Finding]:
    if not descriptor.half_precision:
        yield Finding("half precision", "not safe", "–")
        return
    images = _images(1, size_px, seed=2)
    exact = _describe(descriptor, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = _describe(descriptor, images)
    least = min(
        float(torch.cosine_similarity(a.values, b.values.float(), dim=1).min())
        for a, b in zip(exact, reduced, strict=True)
    )
    shown = f"at least {least:.3f} similar"
    if least < _ALIKE:
        text = f"in half precision, declared safe, vectors are only {least:.3f} similar"
        yield Finding("half precision", "safe", shown, "differs", text)
    else:
        yield Finding("half precision", "safe", shown)


def _gradient(descriptor: DenseDescriptor, size_px: tuple[int, int]) -> Iterator[Finding]:
    """Which weights of the network could be trained."""
    module = getattr(descriptor, "module", None)
    if not isinstance(module, nn.Module):
        yield Finding("gradient", "no attribute module", "–")
        return
    yield gradient_finding(descriptor, module, size_px)


def gradient_finding(
    descriptor: DenseDescriptor, module: nn.Module, size_px: tuple[int, int] = _SIZE_PX
) -> Finding:
    """Whether training can reach the weights of a network."""
    weights = [one for one in module.parameters() if one.requires_grad]
    if not weights:
        return Finding("gradient", "", "no weights to train", "unknown", "it has none to train")
    with torch.inference_mode(False), torch.enable_grad():
        levels = descriptor.describe(_images(1, size_px).clone())
        values = [level.values for level in levels if level.values.requires_grad]
        gradients: Sequence[Tensor | None] = [None] * len(weights)
        if values:
            sums = [
                (one * torch.linspace(0, 1, one.shape[1])[:, None, None]).sum() for one in values
            ]
            gradients = torch.autograd.grad(sums, weights, allow_unused=True)
    reached = sum(1 for one in gradients if one is not None)
    finite = all(bool(one.isfinite().all()) for one in gradients if one is not None)
    shown = f"{reached} of {len(weights)} tensors"
    if reached == 0:
        text = "no gradient reaches its weights, so it cannot be trained: describe() stops them"
        return Finding("gradient", "", "none", "unknown", text)
    if not finite:
        text = "gradients are not finite, so it cannot be trained"
        return Finding("gradient", "", "not finite", "differs", text)
    return Finding("gradient", "", shown)
