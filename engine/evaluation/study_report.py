"""The page of a study: its sentences, tables and figures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.evaluation.pck import LEAST_SEQUENCES
from engine.evaluation.report import (
    NONE,
    Cell,
    Column,
    Figure,
    Figures,
    PairPicture,
    Table,
    left_column,
    make_table,
    number_text,
)
from engine.evaluation.report_figures import Curve, draw_layers, draw_sample
from engine.evaluation.report_html import write_page
from engine.evaluation.report_prose import NO_BREAK, facts_of
from engine.evaluation.study import (
    MAIN_PX,
    PROTOCOLS,
    THRESHOLDS_PX,
    LayerPck,
    LayerRow,
    StudyProtocol,
    StudyResult,
)
from engine.vocabulary import counted

_TEMPLATE: Final = "study.html.j2"
_TILE_PX: Final = 160  # maps with more cells are shrunk to so many columns
_NAMED_AT_MOST: Final = 4
_LEAST_SPAN: Final = 2.0  # between the darkest and the brightest norm: smaller differences are none
_TICKS_AT_MOST: Final = 16
_HIGH_NORMS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as an address that holds all of it, and what it shows."""

    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Tile:
    """Pictures one below the other, with words."""

    title: str
    lines: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class LayerView:
    """What is shown of a layer.

    Attributes:
        pca: ``(H', W', 3)`` uint8.
        norms: ``(H', W')`` lengths; None where they are not known.
        high_norms: how many of these are far longer than the others.
    """

    pca: NDArray[np.uint8]
    norms: NDArray[np.float32] | None
    high_norms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """What the template draws."""

    title: str
    subtitle: str
    summary: str
    removes: bool
    curve: Figures | None
    pck: tuple[Table, ...]
    measures: Table
    maps_text: str
    aspect: float
    tiles: tuple[Tile, ...]
    judgements: Figures | None
    worst: tuple[PairPicture, ...]
    left_out: tuple[str, ...]
    facts: Mapping[str, str]
    command: str


def write_study_page(
    path: Path,
    result: StudyResult,
    *,
    reference: NDArray[np.float32],
    views: Sequence[LayerView],
    worst: Sequence[PairPicture],
) -> None:
    """Write the page.

    Args:
        path: the file.
        result: what was found.
        reference: ``(H, W, 3)`` RGB in [0, 1], the image that maps are shown of.
        views: of that image, a layer each.
        worst: the pairs that the best layer matches worst.

    Raises:
        OutputError: it cannot be written.
    """
    limit = f"{MAIN_PX:g} px of the true point"
    judged = any(one.figure for one in worst)
    samples = (draw_sample("right", f"within {limit}"), draw_sample("wrong", "farther off"))
    page = StudyPage(
        title=f"Layers of {result.fingerprint.descriptors[0].name} on "
        f"{result.fingerprint.dataset.name}",
        subtitle=_subtitle(result),
        summary=summary_of(result).replace(" %", f"{NO_BREAK}%"),
        removes=bool(result.components),
        curve=_curve(result),
        pck=tuple(_pck_tables(result)),
        measures=_measures_table(result),
        maps_text=_maps_text(result, views),
        aspect=reference.shape[1] / reference.shape[0],
        tiles=tuple(_tiles(result, reference, views)),
        judgements=Figures(samples) if judged else None,
        worst=tuple(worst),
        left_out=(*result.problems, *(entry.reason for entry in result.left_out)),
        facts=_facts(result),
        command=result.sources.command,
    )
    write_page(path, _TEMPLATE, study=page)


# ---- sentences -----------------------------------------------------------------------------------


def summary_of(result: StudyResult) -> str:
    """What was found, in a paragraph."""
    return " ".join(_findings(result))


def _findings(result: StudyResult) -> Iterator[str]:
    best, mean = result.best, result.best.mean()
    if mean is None or mean.pck is None:
        yield "No pair was measured."
        return
    many = len(result.layers) > 1
    what = f"Layer {best.number} ({best.name}) matches best" if many else f"{best.name} matches"
    yield f"{what}: {_percent(mean.pck)} of the queries within {MAIN_PX:g} px{_ends(mean)}, dense."
    if many and result.rivals:
        some = len(result.rivals) > 1
        names = f"{'Layers' if some else 'Layer'} {', '.join(str(o.number) for o in result.rivals)}"
        if len(result.rivals) > _NAMED_AT_MOST:
            names = f"{len(result.rivals)} other layers"
        yield f"{names} {'are' if some else 'is'} not clearly worse."
    if many and result.sequences >= LEAST_SEQUENCES and not result.rivals:
        yield "All other layers are clearly worse."
    if result.sequences < LEAST_SEQUENCES:
        yield (
            f"{counted(result.sequences, 'group')} {'is' if result.sequences == 1 else 'are'} "
            "too few to say how certain that is."
        )
    if not result.fingerprint.descriptors[0].trained:
        yield "The network is untrained: it has random weights, and the figures show no more."
    yield from _about_position(result)
    yield from _about_norms(result)


def _ends(mean: LayerPck) -> str:
    if mean.low is None or mean.high is None:
        return ""
    return f" (95 % interval {100 * mean.low:.1f} to {_percent(mean.high)})"


def _about_position(result: StudyResult) -> Iterator[str]:
    best = result.best
    if best.positional_share is not None:
        yield f"{_percent(best.positional_share)} of what differs between its cells is position."
    before, after = best.mean(), best.mean(removed=True)
    if result.components and not best.removed_directions:
        yield "No position was found in it to take off."
    elif before and after and before.pck is not None and after.pck is not None:
        directions = counted(best.removed_directions, "direction")
        yield (
            f"Without position ({directions} taken off) it finds "
            f"{_percent(after.pck)}{_ends(after)} instead of {_percent(before.pck)}."
        )
    if result.components:
        ranked = max(result.layers, key=lambda one: _value(one.mean(removed=True)))
        top = ranked.mean(removed=True)
        if ranked is not best and top is not None:
            share = f"{_percent(_value(top))}{_ends(top)}"
            yield f"Layer {ranked.number} is then the best, with {share}."


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _value(mean: LayerPck | None) -> float:
    return -1.0 if mean is None or mean.pck is None else mean.pck


def _about_norms(result: StudyResult) -> Iterator[str]:
    marked = [one for one in result.layers if (one.high_norm_share or 0) >= _HIGH_NORMS]
    if not marked:
        return
    worst = max(marked, key=lambda one: one.high_norm_share or 0)
    share = _percent(worst.high_norm_share or 0)
    what = "cells whose vectors are far longer than the others"
    if len(marked) == 1:
        yield f"Layer {worst.number} has {what} ({share})."
    else:
        yield f"{len(marked)} layers have {what}, layer {worst.number} the most ({share})."


def _subtitle(result: StudyResult) -> str:
    fingerprint = result.fingerprint
    return " · ".join(
        [
            f"{counted(len(result.layers), 'layer')}",
            f"{counted(result.pairs, 'pair')} from {counted(result.sequences, 'group')}",
            f"at most {fingerprint.sampler.query_limit} queries a pair",
            f"long edge {fingerprint.sampler.long_edge_px} px",
            f"on {fingerprint.device}",
        ]
    )


def _maps_text(result: StudyResult, views: Sequence[LayerView]) -> str:
    name, (width, height) = result.reference
    text = (
        f"{name} at {width} × {height} px, and its map by each layer: the three directions in "
        "which its vectors differ most as red, green and blue, with a basis for each layer"
    )
    if any(one.norms is not None for one in views):
        text += "; below, the length of the vectors, from dark (short) to bright (long)"
    return f"{text}."


def _facts(result: StudyResult) -> dict[str, str]:
    facts = facts_of(result.fingerprint)
    one, times = result.fingerprint.descriptors[0], result.times
    facts["protocol"] = " and ".join(PROTOCOLS)
    facts["settings"] = ", ".join(f"{key} = {value}" for key, value in one.config.items()) or NONE
    facts["SHA-256 of the weights"] = one.weights_sha256 or NONE
    facts["time"] = (
        f"{times.describe_s:.1f} s to describe {counted(times.images, 'image')} by all layers, "
        f"{times.match_s:.1f} s to match, {times.rest_s:.1f} s for everything else"
    )
    return facts


# ---- tables and figures --------------------------------------------------------------------------


def _curve(result: StudyResult) -> Figures | None:
    """A panel for both protocols, or one for each where position was taken off, too."""
    if len(result.layers) < 2:
        return None
    shown = tuple(reversed(PROTOCOLS))
    names: tuple[str, ...] = shown
    panels = [_panel(result, f"PCK at {MAIN_PX:g} px", [(name, False) for name in shown])]
    if result.components:
        names = ("as it is", "without position")
        panels = [
            _panel(result, f"PCK at {MAIN_PX:g} px, {name}", [(name, False), (name, True)])
            for name in shown
        ]
    few = f" Intervals over fewer than {LEAST_SEQUENCES} groups mean little."
    caption = "Mean PCK of Harris queries; bars are 95 % intervals."
    return Figures(
        tuple(draw_sample(series, name) for series, name in enumerate(names)),
        tuple(panels),
        caption + (few if result.sequences < LEAST_SEQUENCES else ""),
    )


def _panel(
    result: StudyResult, title: str, variants: Sequence[tuple[StudyProtocol, bool]]
) -> Figure:
    curves = []
    for series, (protocol, removed) in enumerate(variants):
        means = [one.mean(protocol=protocol, removed=removed) for one in result.layers]
        known = [(float(x), one) for x, one in enumerate(means) if one and one.pck is not None]
        whiskers = [
            (x, one.low, one.high)
            for x, one in known
            if one.low is not None and one.high is not None
        ]
        xs, ys = tuple(x for x, _ in known), tuple(one.pck or 0.0 for _, one in known)
        curves.append(Curve(series, xs, ys, tuple(whiskers)))
    step = -(-len(result.layers) // _TICKS_AT_MOST)
    ticks = [(float(x), str(one.number)) for x, one in enumerate(result.layers) if x % step == 0]
    return draw_layers(title, curves, ticks)


def _name_cell(layer: LayerRow, *, strong: bool = False) -> Cell:
    place = f"{layer.number}  {layer.name}" if layer.name != layer.descriptor else layer.name
    detail = f"stride {layer.stride_px:g} px, {layer.dim} numbers"
    return Cell(place, detail, strong=strong)


def _pck_tables(result: StudyResult) -> Iterator[Table]:
    """One table, or one with position and one without it."""
    if not result.components:
        yield _pck_table(result, "layers", "", removed=False)
        return
    yield _pck_table(result, "layers", "As it is", removed=False)
    directions = counted(result.components, "direction")
    caption = f"Without position, at most {directions} taken off"
    yield _pck_table(result, "layers-without-position", caption, removed=True)


def _pck_table(result: StudyResult, name: str, caption: str, *, removed: bool) -> Table:
    keys = [(protocol, limit) for protocol in reversed(PROTOCOLS) for limit in THRESHOLDS_PX]
    columns = [left_column("layer")]
    columns += [Column(f"≤ {limit:g} px", group=protocol) for protocol, limit in keys]
    means = {
        (layer.number, *key): layer.mean(key[1], protocol=key[0], removed=removed)
        for layer in result.layers
        for key in keys
    }
    best = {key: max(_value(means[layer.number, *key]) for layer in result.layers) for key in keys}
    many = len(result.layers) > 1
    rows: list[list[Cell | str]] = []
    for layer in result.layers:
        cells: list[Cell | str] = [_name_cell(layer, strong=many and layer is result.best)]
        for key in keys:
            mean = means[layer.number, *key]
            if mean is None or mean.pck is None:
                cells.append(NONE)
                continue
            known = mean.low is not None
            ends = f"[{number_text(mean.low)}, {number_text(mean.high)}]" if known else ""
            words = {
                "layer": str(layer.number),
                "protocol": key[0],
                "removed": str(removed).lower(),
                "threshold": f"{key[1]:g}",
            }
            strong = many and mean.pck == best[key]
            cells.append(Cell(number_text(mean.pck), ends, strong=strong, keys=words))
        rows.append(cells)
    return make_table(name, caption, columns, rows)


def _measures_table(result: StudyResult) -> Table:
    names = ("effective rank", "position", "shift by 1 px", "high norms", "time", "map")
    columns = [left_column("layer"), *map(Column, names)]
    rows: list[list[Cell | str]] = []
    for layer in result.layers:
        seen = layer.seen_in_constant
        rows.append(
            [
                _name_cell(layer, strong=len(result.layers) > 1 and layer is result.best),
                Cell(
                    NONE if layer.effective_rank is None else f"{layer.effective_rank:.1f}",
                    f"of {min(layer.dim, layer.rank_vectors)}",
                ),
                Cell(
                    _share(layer.positional_share),
                    "" if seen is None else f"{_percent(seen)} seen in grey",
                ),
                _plain(layer.shift_sensitivity, ".3f"),
                _share(layer.high_norm_share),
                Cell(_milliseconds(layer.describe_ms), f"{layer.timed_px} × {layer.timed_px} px"),
                Cell(_bytes(layer.map_bytes), "{} × {} cells".format(*layer.cells)),
            ]
        )
    return make_table("measures", "", columns, rows)


def _share(value: float | None) -> str:
    return NONE if value is None else _percent(value)


def _milliseconds(value: float | None) -> str:
    return NONE if value is None else f"{value:{'.0f' if value >= 10 else '.1f'}} ms"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB"


def _plain(value: float | None, form: str, unit: str = "") -> str:
    return NONE if value is None else f"{value:{form}}{unit}"


# ---- pictures ------------------------------------------------------------------------------------


def _tiles(
    result: StudyResult, reference: NDArray[np.float32], views: Sequence[LayerView]
) -> Iterator[Tile]:
    name, (width, height) = result.reference
    shown = np.rint(np.clip(reference, 0, 1) * 255).astype(np.uint8)
    yield Tile(
        "the image",
        (f"{width} × {height} px",),
        (Picture(_address(_shrunk(shown, 2 * _TILE_PX), ".jpg"), Path(name).name),),
    )
    for layer, view in zip(result.layers, views, strict=True):
        pictures = [Picture(_address(_shrunk(view.pca)), f"PCA of layer {layer.number}")]
        lines = ["{} × {} cells".format(*layer.cells)]
        if view.norms is not None:
            pictures.append(
                Picture(_address(_shaded(view.norms)), f"norms of layer {layer.number}")
            )
            lines.append(f"norm {np.median(view.norms):.3g}, at most {view.norms.max():.3g}")
            if view.high_norms:
                lines.append(f"{counted(view.high_norms, 'cell')} far longer")
        yield Tile(f"{layer.number}  {layer.name}", tuple(lines), tuple(pictures))


def _shaded(norms: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lengths as colours, ``(H', W', 3)`` RGB, by their logarithm."""
    logs = np.log(np.maximum(norms, max(1e-12, 1e-3 * float(norms.max()))))
    low, high = float(logs.min()), float(logs.max())
    short = max(0.0, float(np.log(_LEAST_SPAN)) - (high - low))
    shades = (logs - low + short / 2) / (high - low + short)
    coloured = cv2.applyColorMap((255 * shades).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return _shrunk(np.ascontiguousarray(coloured[:, :, ::-1]))


def _shrunk(pixels: NDArray[np.uint8], columns: int = _TILE_PX) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if width <= columns:
        return pixels
    size = (columns, max(1, round(height * columns / width)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _address(pixels: NDArray[np.uint8], suffix: str = ".png") -> str:
    kind = "jpeg" if suffix == ".jpg" else "png"
    _, data = cv2.imencode(suffix, np.ascontiguousarray(pixels[:, :, ::-1]))
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
