"""The probe and the pins as a table, with what each descriptor finds: to copy and to export."""

from __future__ import annotations

from collections.abc import Iterator

from descgui.models.bundle import AppModels
from descgui.models.probe_state import Probe
from engine import api

_COLUMNS = (
    "point", "image", "x_px", "y_px", "descriptor", "match_x_px", "match_y_px", "similarity",
    "ratio", "confidence", "truth", "true_x_px", "true_y_px", "error_px", "rank", "cycle_error_px",
)  # fmt: skip
_WORDS = ("point", "image", "descriptor", "truth")


def readings_table(models: AppModels) -> api.Table:
    """A row for each point and descriptor; the probe comes first, cells without a value are empty.

    Points are in original pixels of their image, and matches in those of the other one.
    """
    columns = (api.Column(name, align="left" if name in _WORDS else "right") for name in _COLUMNS)
    rows = (tuple(map(api.Cell, row)) for row in _rows(models))
    state = models.pair.state
    caption = state.pair.name if state is not None else ""
    return api.Table("readings", caption, tuple(columns), tuple(rows))


def _rows(models: AppModels) -> Iterator[tuple[str, ...]]:
    probe = models.probe.probe
    for number in models.numbers:
        if probe is not None:
            yield _row(models, "probe", probe, number, models.probe.answer_of(number))
    for pin in models.pins.pins:
        for number in models.numbers:
            yield _row(models, f"pin {pin.number}", pin.probe, number, pin.answer_of(number))


def _row(
    models: AppModels, name: str, probe: Probe, number: int, answer: api.ProbeAnswer | None
) -> tuple[str, ...]:
    title = models.descriptors[number].choice.name
    if probe.region_px is not None:
        name += " (mean of {:.0f} x {:.0f} px)".format(*probe.region_px)
    place = (name, probe.side.upper(), *_point(probe.point_px), title)
    if answer is None:
        return (*place, *("",) * (len(_COLUMNS) - len(place)))
    truth = answer.visibility.words if answer.request.pair.truth is not None else ""
    return (
        *place,
        *_point(answer.found_px),
        _number(answer.peaks[0].similarity),
        _number(answer.ratio),
        _number(answer.confidence),
        truth,
        *_point(answer.truth_px),
        _number(answer.error_px),
        "" if answer.rank is None else str(answer.rank),
        _number(answer.cycle_error_px),
    )


def _point(point_px: api.Point | None) -> tuple[str, str]:
    return ("", "") if point_px is None else (_number(point_px[0]), _number(point_px[1]))


def _number(value: float | None) -> str:
    """Three digits behind the point, without needless zeros."""
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
