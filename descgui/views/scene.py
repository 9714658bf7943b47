"""What a pane shows, read from the models: overlay, marks, caption and scale.

The window's panes and the exported figure both ask here, so they cannot differ.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

from descgui.models.bundle import AppModels
from descgui.models.maps_state import MapsModel
from descgui.models.pictures_state import PicturesState
from descgui.models.probe_state import Pin
from descgui.views.marks import (
    BestMatch,
    CellFrame,
    CycleArrow,
    ErrorLine,
    ExcludedCircle,
    HiddenTruth,
    Label,
    ListedPoint,
    Mark,
    PeakRing,
    PinMark,
    RegionBox,
    Reticle,
    TruthPoint,
    pin_color,
)
from descgui.views.pictures import Mipmap, Overlay
from descgui.views.pixels import (
    color_table,
    error_image,
    heat_indices,
    indexed_image,
    keyed_image,
    rgb_image,
    value_range,
)
from descgui.views.viewport import whole_extent
from descgui.views.words import counted
from engine import api
from engine.api import (
    ERROR_RANGE_PX,
    RIGHT,
    SIDES,
    WRONG,
    Side,
    other_side,
)

Range = tuple[float, float]
_MOST_FRAMES: Final = 500
_MOST_LISTED: Final = 300

# One range for all pairs and descriptors, so that maps can be compared; wrong is wrong beyond it.
_CYCLE_RANGE_PX: Final = 20.0

_KEPT_RANGES: Final = 8
_PRIMES: Final = ("", "′", "″", "‴")

_ranges: dict[int, tuple[weakref.ref[NDArray[np.float32]], Range, Range | None]] = {}


@dataclass(frozen=True, slots=True)
class PaneKey:
    """Which pane: the side whose image it shows, and whose descriptor's answers.

    Attributes:
        side: of the image.
        descriptor: number of the descriptor that answers, from 0, the shown one.
        second: it shows the second map of winning members, which lies over image a like the first.
    """

    side: Side
    descriptor: int = 0
    second: bool = False

    @property
    def compared(self) -> bool:
        """Whether a descriptor beside the shown one answers."""
        return self.descriptor > 0

    @property
    def letter(self) -> str:
        """What the image is called, with a prime for each further descriptor."""
        return self.side.upper() + _PRIMES[self.descriptor]

    @property
    def asking(self) -> Side:
        """The side whose probes are answered in this pane."""
        return "b" if self.side == "a" else "a"


@dataclass(frozen=True, slots=True)
class Caption:
    """What a pane's header says.

    Attributes:
        text: one line.
        problem: True for a sentence about something that failed.
        busy: work is under way for this pane.
        fraction: done share of that work, None when unknown.
        untrained: the descriptor's weights are random.
        weak_vote: why the pair could not tell how its images are related; "" where it could.
        detail: a longer text for the tool tip.
    """

    text: str = ""
    problem: bool = False
    busy: bool = False
    fraction: float | None = None
    untrained: bool = False
    weak_vote: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """What a colour bar shows."""

    title: str
    low: float
    high: float
    unit: str
    marker: float | None = None
    logarithmic: bool = False


class PictureStore:
    """Keeps the latest picture of each slot for as long as what it was made from stays."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, object, Mipmap]] = {}

    def get(self, slot: str, source: object, details: object, make: Callable[[], QImage]) -> Mipmap:
        """The slot's picture; rebuilt when ``source`` is another object or details differ."""
        kept = self._kept.get(slot)
        if kept is not None and kept[0] is source and kept[1] == details:
            return kept[2]
        picture = Mipmap(make())
        self._kept[slot] = (source, details, picture)
        return picture


def maps_of(models: AppModels, key: PaneKey) -> MapsModel:
    """The maps whose answers a pane shows."""
    return models.descriptors[key.descriptor]


def descriptor_title(models: AppModels, maps: MapsModel) -> str:
    """The text that users read for a chosen descriptor."""
    info = models.engine.state.descriptor(maps.choice.name)
    title = info.title if info is not None else maps.choice.name
    weights = maps.choice.values.get("weights")
    if not weights:
        return title
    file = Path(weights)
    # Weights tell two runs of one network apart, so these come first where room is short.
    of_run = api.weights_title(file) != file.name
    return f"{api.weights_title(file)} · {title}" if of_run else f"{title} · {file.name}"


def answer_for(models: AppModels, key: PaneKey) -> api.ProbeAnswer | None:
    """The answer that lies in a pane: of the live probe, else of the selected pin."""
    probe = models.probe.probe
    if probe is not None:
        answer = models.probe.answer_of(key.descriptor)
    else:
        pin = selected_pin(models)
        answer = pin.answer_of(key.descriptor) if pin is not None else None
    return (
        answer
        if answer is not None and answer.request.side == key.asking == _asking(models)
        else None
    )


def self_answer_for(models: AppModels, key: PaneKey) -> api.ProbeAnswer | None:
    """The answer whose self-similarity lies in a pane, which shows the query's own image."""
    if key.compared or key.second:
        return None
    answer = answer_for(models, PaneKey(other_side(key.side)))
    return answer if answer is not None and answer.own is not None else None


def selected_pin(models: AppModels) -> Pin | None:
    """The selected pin."""
    number = models.pins.selected
    return next((pin for pin in models.pins.pins if pin.number == number), None)


def _asking(models: AppModels) -> Side | None:
    probe = models.probe.probe
    if probe is not None:
        return probe.side
    pin = selected_pin(models)
    return pin.probe.side if pin is not None else None


def has_own_ranges(models: AppModels) -> bool:
    """Whether each descriptor's heat maps have a colour range, and a colour bar, of their own."""
    view = models.view.state
    fitted = models.settings.state.heat.kind != "fixed"
    return models.comparing and view.own_ranges and fitted and view.mode == "heat"


def heat_range(models: AppModels, descriptor: int) -> Range | None:
    """Similarities of the first and the last colour of heat maps; None where there is none.

    The other image and the query's own always share one range, and all descriptors do unless each
    has its own, else colours could not be compared.
    """
    wanted = models.settings.state.heat
    if wanted.kind == "fixed":
        return wanted.low, wanted.high
    numbers = (descriptor,) if has_own_ranges(models) else models.numbers
    ranges = [
        found
        for key in (PaneKey(side, number) for number in numbers for side in SIDES)
        if (heat := _heat_of(models, key)) is not None
        and (found := _range_of(heat[0], wanted)) is not None
    ]
    if not ranges:
        return None
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return (high - wanted.span if wanted.kind == "relative" else low), high


def overlay_for(models: AppModels, key: PaneKey, store: PictureStore) -> Overlay | None:
    """What is laid over a pane's image in the present mode; None for the plain image."""
    state = models.pair.state
    if state is None:
        return None
    view = models.view.state
    mode = view.mode
    slot = f"{key.side}-{key.descriptor}-{key.second}"
    if mode == "heat":
        return _heat_overlay(models, key, store, slot)
    if mode in ("pca", "overlay"):
        picture = _pca_picture(models.pictures.state, key)
        if picture is None:
            return None
        mipmap = store.get(f"pca-{slot}", picture, (), lambda: rgb_image(picture.pixels))
        over = mode == "overlay"
        return Overlay(
            mipmap,
            picture.extent,
            opacity=models.settings.state.opacity if over else 1.0,
            muted=over,
        )
    if key.compared:
        return None
    if mode == "warp":
        pixels = _warped(models.pictures.state, key.side)
        if pixels is None:
            return None
        size_px = (state.image_a if key.side == "a" else state.image_b).size_px
        make = rgb_image if view.blink else keyed_image
        mipmap = store.get(f"warp-{slot}", pixels, view.blink, lambda: make(pixels))
        opacity = 1.0 if view.blink else models.settings.state.opacity
        return Overlay(mipmap, whole_extent(size_px), opacity=opacity)
    colormap = models.settings.state.colormap
    if mode == "error":
        answer = errors_for(models, key)
        if answer is None:
            return None
        mipmap = store.get(
            f"error-{slot}",
            answer,
            colormap,
            lambda: error_image(answer.errors.values, answer.states, *ERROR_RANGE_PX, colormap),
        )
        opacity = models.settings.state.opacity
        return Overlay(mipmap, answer.errors.extent, opacity=opacity, muted=True)
    shown = scalar_for(models, key)
    scale = scale_for(models, key)
    if shown is None or scale is None:
        return None
    details = (scale.low, scale.high, colormap)
    mipmap = store.get(
        f"scalar-{slot}",
        shown,
        details,
        lambda: _coloured(shown.values, (scale.low, scale.high), colormap),
    )
    return Overlay(mipmap, shown.extent, opacity=models.settings.state.opacity, muted=True)


def second_key(models: AppModels) -> PaneKey:
    """What the second pane shows: image b, or image a once more under its second members map."""
    members = models.view.state.mode == "members" and models.pictures.state.winners is not None
    return PaneKey("a", second=True) if members else PaneKey("b")


def scalar_for(models: AppModels, key: PaneKey) -> api.ScalarMap | None:
    """The scalar map that a pane shows in the modes cycle, members, norms and error."""
    pictures = models.pictures.state
    if models.view.state.mode == "cycle":
        return pictures.cycle_a if key.side == "a" else pictures.cycle_b
    if models.view.state.mode == "norms":
        norms = norms_for(models, key)
        return None if norms is None else norms.norms
    if models.view.state.mode == "error":
        errors = errors_for(models, key)
        return None if errors is None else errors.errors
    if models.view.state.mode == "members" and pictures.winners is not None:
        winners = pictures.winners
        if not key.second:
            return winners.scale if key.side == "a" else None
        return winners.true_scale if winners.true_scale is not None else winners.angle
    return None


def errors_for(models: AppModels, key: PaneKey) -> api.ErrorsAnswer | None:
    """How far the matches of a pane's image are off; None for the compared descriptor."""
    if key.compared:
        return None
    pictures = models.pictures.state
    return pictures.errors_a if key.side == "a" else pictures.errors_b


def unseen_states(models: AppModels) -> tuple[api.Visibility, ...]:
    """Why cells have no error, where error maps are shown."""
    if models.view.state.mode != "error":
        return ()
    answers = [one for side in SIDES if (one := errors_for(models, PaneKey(side))) is not None]
    states = (api.Visibility.OCCLUDED, api.Visibility.OUTSIDE, api.Visibility.UNKNOWN)
    return tuple(one for one in states if any((a.states == one).any() for a in answers))


def norms_for(models: AppModels, key: PaneKey) -> api.NormsAnswer | None:
    """How long the vectors of a pane's image are; None for the compared descriptor."""
    if key.compared:
        return None
    pictures = models.pictures.state
    return pictures.norms_a if key.side == "a" else pictures.norms_b


def norms_range(norms: Sequence[api.NormsAnswer]) -> Range | None:
    """From the shortest vector to the longest that is no outlier; None where there is none."""
    usual = [one.norms.values[(one.norms.values > 0) & ~one.high] for one in norms]
    values = np.concatenate(usual) if usual else np.zeros(0)
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + max(abs(low), 1.0) * 1e-3)


def scale_for(models: AppModels, key: PaneKey) -> Scale | None:
    """The colour scale of a pane in the present mode, None where there are no scalar colours."""
    mode = models.view.state.mode
    pictures = models.pictures.state
    if mode == "heat":
        found = heat_range(models, key.descriptor)
        if found is None:
            return None
        answers = tuple(answer_for(models, PaneKey(side, key.descriptor)) for side in SIDES)
        best = next((answer.peaks[0].similarity for answer in answers if answer), None)
        own = any(self_answer_for(models, PaneKey(side, key.descriptor)) for side in SIDES)
        title = "Cosine, A and B" if own else "Cosine similarity"
        return Scale(title, *found, "", best)
    shown = scalar_for(models, key)
    if shown is None:
        return None
    if mode == "cycle":
        return Scale("A→B→A error (top: or more)", 0.0, _CYCLE_RANGE_PX, shown.unit)
    if mode == "error":
        low, high = ERROR_RANGE_PX
        right_px = models.settings.state.correct_px
        return Scale("Error", low, high, shown.unit, right_px, logarithmic=True)
    if mode == "norms":
        # One range for both images, without the outliers, or all others would look the same.
        both_norms = [one for one in (pictures.norms_a, pictures.norms_b) if one is not None]
        found_range = norms_range(both_norms)
        return None if found_range is None else Scale("Norm (top: or more)", *found_range, "")
    winners = pictures.winners
    assert winners is not None, "scalar_for found one"
    if shown is winners.angle:
        return _scale_of("Rotation found, A to B", (shown,))
    both = [found for found in (winners.scale, winners.true_scale) if found is not None]
    return _scale_of("Size in B over that in A", tuple(both))


def marks_for(
    models: AppModels, key: PaneKey, *, dragged: tuple[int, api.Point] | None = None
) -> tuple[Mark, ...]:
    """What is drawn over a pane's image, lowest first.

    Args:
        models: all of them.
        key: the pane.
        dragged: number and place of a pin that is being moved, ahead of the model.
    """
    marks: list[Mark] = []
    labels: list[Mark] = []
    for pin in models.pins.pins:
        _add_pin(models, key, pin, dragged, marks, labels)
    probe = models.probe.probe
    answer = answer_for(models, key) if probe is not None else None
    own = self_answer_for(models, key)
    if own is not None:
        _add_own(own, marks, labels)
    if answer is not None:
        _add_answer(models, answer, marks, labels)
    if probe is not None and probe.side == key.side and not key.compared:
        marks.extend(_asked_marks(models, probe.point_px, labels, labelled=own is None))
    frames = _high_norm_marks(models, key) if models.view.state.mode == "norms" else []
    discs = _discs(answer, own, marks)
    return (*frames, *_listed_marks(models, key), *discs, *marks, *labels)


_MEMBERS_MEANING: Final = (
    "Both panes show image A. Colours say which member of the set matched each cell best: by how "
    "much larger or smaller, and how far turned, B is there. Scales are powers of two: 1 is twice "
    "as large in B, −1 half as large."
)


def _meaning(models: AppModels, key: PaneKey) -> tuple[str, ...]:
    """What colours mean that a scale alone does not explain."""
    shown = models.view.state.mode == "members" and not key.compared
    return (_MEMBERS_MEANING,) if shown else ()


def caption_for(models: AppModels, key: PaneKey) -> Caption:
    """What a pane's header says: work under way, what is missing, or what is shown."""
    maps = maps_of(models, key)
    title = descriptor_title(models, maps)
    status = maps.status(key.side)
    info = status.info
    if models.pair.loading:
        return Caption(f"Opening {models.pair.loading}…", busy=True)
    if status.stage == "waiting":
        return Caption(f"{title} · waiting", busy=True, fraction=0.0)
    if status.stage == "computing":
        text = f"{title} · {status.phase or 'describing'}"
        if status.fraction is not None:
            text = f"{text} {status.fraction:.0%}".replace("%", " %")
        return Caption(text, busy=True, fraction=status.fraction)
    if status.stage == "failed":
        if models.engine.state.missing_weights(maps.choice.name, maps.choice.values):
            return Caption(
                f"{title} needs its weights: see Descriptor", problem=True, detail=status.message
            )
        return Caption(status.message, problem=True, detail=status.message)
    missing = _missing(models, key)
    if missing is not None:
        return missing
    texts = (title, _truth_made(models, key), _mode_text(models, key), *_facts(models, key))
    parts = [part for part in texts if part]
    return Caption(
        " · ".join(parts),
        untrained=info is not None and not info.trained,
        weak_vote=info.weak_vote if info is not None and key.side == "b" else "",
        detail="\n".join((*_meaning(models, key), *(() if info is None else info.notes))),
    )


def colour_of(right: bool) -> str:
    """The data colour of a right or a wrong match."""
    return RIGHT if right else WRONG


def is_right(models: AppModels, error_px: float) -> bool:
    """Whether an error counts as right."""
    return error_px <= models.settings.state.correct_px


def px_text(value: float) -> str:
    """A distance with one decimal where that says something."""
    return f"{value:.1f} px" if value < 100 else f"{value:.0f} px"


def _range_of(heat: NDArray[np.float32], wanted: api.HeatRange) -> Range | None:
    """The range of a heat map, worked out once: overlays, bars and captions all ask for it."""
    percent = (wanted.low_percent, wanted.high_percent)
    if wanted.kind == "relative":
        percent = (0.0, 100.0)
    kept = _ranges.get(id(heat))
    if kept is not None and kept[0]() is heat and kept[1] == percent:
        return kept[2]
    if len(_ranges) >= _KEPT_RANGES:
        _ranges.clear()
    found = value_range(heat, *percent)
    _ranges[id(heat)] = (weakref.ref(heat), percent, found)
    return found


def _heat_overlay(
    models: AppModels, key: PaneKey, store: PictureStore, slot: str
) -> Overlay | None:
    shown, found = _heat_of(models, key), heat_range(models, key.descriptor)
    if shown is None or found is None:
        return None
    heat, extent = shown
    colormap = models.settings.state.colormap
    mipmap = store.get(
        f"heat-{slot}",
        heat,
        (found, colormap),
        lambda: _coloured(heat, found, colormap),
    )
    return Overlay(mipmap, extent, opacity=models.settings.state.opacity, muted=True, live=True)


def _heat_of(models: AppModels, key: PaneKey) -> tuple[NDArray[np.float32], api.Extent] | None:
    """The heat map that lies in a pane, and where; None where there is none."""
    answer = answer_for(models, key)
    own = self_answer_for(models, key)
    found = own.own if own is not None else answer
    if found is None or found.heat is None:
        return None
    return found.heat, found.heat_extent


def _coloured(values: NDArray[np.float32], found: Range, colormap: str) -> QImage:
    return indexed_image(heat_indices(values, *found), color_table(colormap))


def _pca_picture(pictures: PicturesState, key: PaneKey) -> api.Picture | None:
    answer = pictures.pca_compared.get(key.descriptor) if key.compared else pictures.pca
    if answer is None:
        return None
    return answer.a if key.side == "a" else answer.b


def _warped(pictures: PicturesState, side: Side) -> NDArray[np.uint8] | None:
    return pictures.warped_b if side == "a" else pictures.warped_a


def _scale_of(title: str, maps: tuple[api.ScalarMap, ...]) -> Scale | None:
    finite = np.concatenate([one.values[np.isfinite(one.values)] for one in maps])
    if finite.size == 0:
        return None
    return Scale(title, float(finite.min()), float(finite.max()), maps[0].unit)


def _high_norm_marks(models: AppModels, key: PaneKey) -> list[Mark]:
    answer = norms_for(models, key)
    if answer is None:
        return []
    rows, columns = answer.high.shape
    extent = answer.norms.extent
    width = (extent.right_px - extent.left_px) / columns
    height = (extent.bottom_px - extent.top_px) / rows
    return [
        CellFrame((extent.left_px + column * width, extent.top_px + row * height), (width, height))
        for row, column in np.argwhere(answer.high)[:_MOST_FRAMES].tolist()
    ]


def _listed_marks(models: AppModels, key: PaneKey) -> list[Mark]:
    """The points that the truth lists, or an even choice of many; none under a figure's colours."""
    state = models.pair.state
    listed = None if state is None or state.truth is None else state.truth.listed_px
    if listed is None:
        return []
    points = listed[0 if key.side == "a" else 1]
    step = max(1, math.ceil(len(points) / _MOST_LISTED))
    return [ListedPoint((x, y)) for x, y in points[::step].tolist()]


def _add_pin(
    models: AppModels,
    key: PaneKey,
    pin: Pin,
    dragged: tuple[int, api.Point] | None,
    marks: list[Mark],
    labels: list[Mark],
) -> None:
    selected = pin.number == models.pins.selected
    if dragged is not None and dragged[0] == pin.number:
        if pin.probe.side == key.side:
            marks.append(PinMark(dragged[1], pin.number, selected=True))
        return
    if pin.probe.side == key.side:
        if pin.probe.region_px is not None:
            marks.append(RegionBox(pin.probe.point_px, pin.probe.region_px))
        marks.append(PinMark(pin.probe.point_px, pin.number, selected=selected))
        return
    answer = pin.answer_of(key.descriptor)
    if answer is None:
        return
    if answer.truth_px is not None and answer.error_px is not None:
        right = is_right(models, answer.error_px)
        marks.append(ErrorLine(answer.found_px, answer.truth_px, right))
        if selected:
            marks.append(TruthPoint(answer.truth_px))
    elif selected and answer.truth_px is not None and answer.visibility is api.Visibility.OCCLUDED:
        marks.append(HiddenTruth(answer.truth_px))
    if selected:
        marks.append(BestMatch(answer.found_px, pin_color(pin.number)))
    marks.append(PinMark(answer.found_px, pin.number, found=True, selected=selected))
    if selected and models.probe.probe is None:
        labels.append(_answer_label(models, answer, gap=14.0))


def _add_answer(
    models: AppModels, answer: api.ProbeAnswer, marks: list[Mark], labels: list[Mark]
) -> None:
    if answer.truth_px is not None and answer.visibility is api.Visibility.OCCLUDED:
        marks.append(HiddenTruth(answer.truth_px))
    elif answer.truth_px is not None and answer.error_px is not None:
        marks.append(TruthPoint(answer.truth_px))
        right = is_right(models, answer.error_px)
        marks.append(ErrorLine(answer.found_px, answer.truth_px, right))
    marks.append(BestMatch(answer.found_px))
    labels.append(_answer_label(models, answer))


def _add_own(answer: api.ProbeAnswer, marks: list[Mark], labels: list[Mark]) -> None:
    own = answer.own
    assert own is not None, "it was asked for"
    marks.append(ExcludedCircle(answer.request.point_px, own.excluded_px))
    if own.peaks:
        labels.append(Label(own.peaks[0].point_px, f"{own.peaks[0].similarity:.3f}"))


def _discs(
    answer: api.ProbeAnswer | None, own: api.ProbeAnswer | None, marks: Sequence[Mark]
) -> list[Mark]:
    """The numbered discs of a pane, better ranks on top; none covers a truth among its marks."""
    truths = tuple(mark for mark in marks if isinstance(mark, TruthPoint | HiddenTruth))
    discs: list[Mark] = []
    for peaks, start in (
        (own.own.peaks if own is not None and own.own is not None else (), 1),
        (answer.peaks[1:] if answer is not None else (), 2),
    ):
        points = tuple(peak.point_px for peak in peaks)
        discs += [
            PeakRing(points[index], start + index, points[:index], truths)
            for index in reversed(range(len(points)))
        ]
    return discs


def _answer_label(models: AppModels, answer: api.ProbeAnswer, *, gap: float = 11.0) -> Label:
    similarity = f"{answer.peaks[0].similarity:.3f}"
    if not answer.textured:
        similarity += "   no texture"
    if answer.error_px is not None:
        right = is_right(models, answer.error_px)
        sign = "✓" if right else "✗"
        text = f"{sign} {px_text(answer.error_px)}   {similarity}"
        return Label(answer.found_px, text, colour_of(right), dashed=not right, gap=gap)
    state = models.pair.state
    if state is not None and state.truth is not None:
        return Label(answer.found_px, f"{similarity}   {answer.visibility.words}", gap=gap)
    return Label(answer.found_px, similarity, gap=gap)


def _asked_marks(
    models: AppModels, point_px: api.Point, labels: list[Mark], *, labelled: bool
) -> list[Mark]:
    """The query, and where matching back ends; its label would cover those of an own search."""
    answer = models.probe.answer
    probe = models.probe.probe
    marks: list[Mark] = []
    if (
        answer is not None
        and probe is not None
        and answer.request.side == probe.side
        and answer.request.point_px == point_px
        and answer.cycle_px is not None
        and answer.cycle_error_px is not None
        and not is_right(models, answer.cycle_error_px)
    ):
        marks.append(CycleArrow(point_px, answer.cycle_px))
        if labelled:
            text = f"cycle {px_text(answer.cycle_error_px)}"
            labels.append(Label(answer.cycle_px, text))
    marks.append(Reticle(point_px))
    return marks


def _missing(models: AppModels, key: PaneKey) -> Caption | None:
    """Why the picture of the present mode is not there; None when it is, or none is expected."""
    mode = models.view.state.mode
    pictures = models.pictures.state
    if mode in ("image", "heat"):
        return None
    if mode in ("pca", "overlay"):
        present = _pca_picture(pictures, key) is not None
    elif key.compared:
        return None
    elif mode == "warp":
        present = _warped(pictures, key.side) is not None
    else:
        present = scalar_for(models, key) is not None
    if present:
        return None
    if pictures.problem:
        return Caption(pictures.problem, problem=True, detail=pictures.problem)
    if pictures.busy:
        return Caption(pictures.busy, busy=True)
    return None


def _mode_text(models: AppModels, key: PaneKey) -> str:
    view = models.view.state
    match view.mode:
        case "pca":
            return "PCA"
        case "overlay":
            return "PCA over image"
        case "heat" if answer_for(models, key) is not None:
            return "similarity"
        case "heat" if self_answer_for(models, key) is not None:
            return "self-similarity"
    if key.compared:
        return ""
    other = key.asking.upper()
    match view.mode:
        case "warp" if view.blink:
            return f"{other} warped here"
        case "warp":
            return f"{other} warped here, {100 * models.settings.state.opacity:.0f} %"
        case "cycle":
            return "A→B→A error" if key.side == "a" else "B→A→B error"
        case "members":
            return _members_text(models, key)
        case "norms":
            return _norms_text(models, key)
        case "error":
            return _errors_text(models, key)
    return ""


def _truth_made(models: AppModels, key: PaneKey) -> str:
    """Who made the truth that errors in a pane of image b refer to, if the data set did not."""
    source = None if models.pair.state is None else models.pair.state.pair.truth
    if source is None or source.origin == "given" or key.side == "a":
        return ""
    return "estimated truth" if source.origin == "estimated" else f"truth from {source.origin}"


def _norms_text(models: AppModels, key: PaneKey) -> str:
    answer = norms_for(models, key)
    if answer is None:
        return ""
    count = int(answer.high.sum())
    share = f"{100 * count / answer.high.size:.2g} %"
    outliers = counted(count, "1 high-norm cell", "{n} high-norm cells") + f" ({share})"
    return f"norms of {answer.layer} · {outliers if count else 'no high-norm cell'}"


def _errors_text(models: AppModels, key: PaneKey) -> str:
    answer = errors_for(models, key)
    if answer is None:
        return ""
    errors = answer.errors.values[np.isfinite(answer.errors.values)]
    if not errors.size:
        return "no cell has a true point in sight"
    right = float(np.mean(errors <= models.settings.state.correct_px))
    return f"error · {100 * right:.0f} % ≤ {models.settings.state.correct_px:g} px"


def _members_text(models: AppModels, key: PaneKey) -> str:
    winners = models.pictures.state.winners
    if winners is None:
        return ""
    if not key.second:
        return "scale found, A to B"
    if winners.true_scale is not None:
        return "true scale, A to B"
    return "rotation found, A to B"


def _facts(models: AppModels, key: PaneKey) -> list[str]:
    answer = answer_for(models, key)
    if answer is None:
        own = self_answer_for(models, key)
        if own is not None and own.own is not None:
            best = own.own.peaks[0].similarity if own.own.peaks else None
            return ["no other place" if best is None else f"elsewhere {best:.3f}"]
        probe = models.probe.probe
        if probe is not None and probe.side == key.side and not key.compared:
            return [f"query at {probe.point_px[0]:.0f}, {probe.point_px[1]:.0f}"]
        return []
    facts = []
    if answer.error_px is not None and math.isfinite(answer.error_px):
        facts.append(px_text(answer.error_px))
    else:
        facts.append(f"{answer.peaks[0].similarity:.3f}")
    facts.append(f"{1000 * answer.seconds:.1f} ms")
    return facts
