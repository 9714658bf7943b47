"""The window's state as a session holds it, and back; files and threads are not this module's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice
from descgui.models.pair_state import PairState
from descgui.models.probe_state import Pin, Probe
from descgui.models.view_options import colouring_of, component_numbers, signed_share
from descgui.models.view_state import ViewState
from engine import api
from engine.api import Side

Part = tuple[float, float, float, float]
"""What shows of an image: left, top, width and height in its pixels."""

_PART_DIGITS = 3  # a thousandth of a pixel


def session_of(models: AppModels, parts: Mapping[Side, Part]) -> api.SavedSession:
    """What is shown, as a session; a pair must be open.

    Args:
        models: all of the window.
        parts: what is in sight of each image that is not fitted.
    """
    state, matches = models.pair.state, models.matches.state
    assert state is not None, "a session needs a pair"
    probe = models.probe.probe
    choices = [models.descriptors[number].choice for number in models.numbers]
    return api.SavedSession(
        pair=_pair_of(models, state.pair),
        truth=_truth_of(state),
        descriptors=tuple(_descriptor_of(choice) for choice in choices if choice.name),
        settings=api.SavedSettings(**_shared(api.SavedSettings, models.settings.state)),
        pins=tuple(_point(pin.probe, pin.number) for pin in models.pins.pins),
        selected=models.pins.selected,
        probe=None if probe is None else _point(probe, 1),
        matches=api.SavedMatches(
            **_shared(api.SavedMatches, matches, "descriptor"),
            descriptor=models.numbers.index(matches.descriptor),
            matched=matches.table is not None or matches.running,
        ),
        view=_view_of(models.view.state, parts),
    )


def view_state(saved: api.SavedView) -> ViewState:
    """How a session shows the pair, but for the parts in sight."""
    return ViewState(
        **_shared(ViewState, saved), pca_colouring=colouring_of(saved.pca, saved.pca_foreground)
    )


def saved_settings(session: api.SavedSession) -> dict[str, Any]:
    """The settings of the program that a session holds, by their names."""
    return _shared(api.SavedSettings, session.settings)


def saved_choice(saved: api.SavedDescriptor) -> DescriptorChoice:
    """A descriptor of a session as a choice."""
    return DescriptorChoice(saved.name, MappingProxyType(dict(saved.values)), saved.map_files)


def saved_pins(session: api.SavedSession) -> tuple[Pin, ...]:
    """The pins of a session, without answers."""
    return tuple(Pin(pin.number, _probe_of(pin)) for pin in session.pins)


def _probe_of(saved: api.SavedPin) -> Probe:
    region_px = (saved.width_px, saved.height_px)
    return Probe(saved.image, (saved.x_px, saved.y_px), region_px if min(region_px) > 0 else None)


def parts_of(saved: api.SavedView) -> dict[Side, Part]:
    """What a session shows of each image that is not fitted."""
    found: dict[Side, Part] = {}
    if saved.part_a is not None:
        found["a"] = saved.part_a
    if saved.part_b is not None:
        found["b"] = saved.part_b
    return found


def _shared(kind: type, values: Any, *but: str) -> dict[str, Any]:
    """The values that both have under one name."""
    names = [field.name for field in fields(kind) if field.name not in but]
    return {name: getattr(values, name) for name in names if hasattr(values, name)}


def _pair_of(models: AppModels, pair: api.ImagePair) -> api.SavedPair:
    dataset = models.browser.state.dataset
    if not pair.sequence or dataset is None:
        saved = api.SavedPair(image_a=pair.path_a, image_b=pair.path_b)
        video = models.video.state
        if video.video is not None:
            saved = api.SavedPair(
                image_a=pair.path_a, video_b=video.video.path, frame_b=video.frame
            )
    elif api.is_demo(dataset.root):
        saved = api.SavedPair(demo=True, group=pair.sequence, index=pair.index)
    else:
        layout, path = api.split_layout(dataset.opened)
        saved = api.SavedPair(
            dataset=Path(path), layout=layout or "", group=pair.sequence, index=pair.index
        )
    return replace(
        saved,
        range_a=None if pair.range_a is None else str(pair.range_a),
        range_b=None if pair.range_b is None else str(pair.range_b),
    )


def _truth_of(state: PairState) -> api.SavedTruth:
    source = state.pair.truth
    if source is None:
        return api.SavedTruth()
    if state.truth_text:
        return api.SavedTruth(text=state.truth_text)
    of_set = bool(state.pair.sequence)
    held = isinstance(source, api.HomographySource) and (source.origin != "given" or not of_set)
    if held or isinstance(source, api.HeldPointsSource):
        return api.SavedTruth(source=source)
    return api.SavedTruth(of_set=of_set)


def _descriptor_of(choice: DescriptorChoice) -> api.SavedDescriptor:
    plugins = api.plugin_files([choice.name])
    return api.SavedDescriptor(
        choice.name, choice.values, choice.map_files, plugins[0] if plugins else None
    )


def _point(probe: Probe, number: int) -> api.SavedPin:
    x_px, y_px = (float(value) for value in probe.point_px)
    width_px, height_px = probe.region_px or (0.0, 0.0)
    return api.SavedPin(
        number=number,
        image=probe.side,
        x_px=x_px,
        y_px=y_px,
        width_px=width_px,
        height_px=height_px,
    )


def _view_of(view: ViewState, parts: Mapping[Side, Part]) -> api.SavedView:
    return api.SavedView(
        **_shared(api.SavedView, view),
        pca=component_numbers(view.pca_colouring),
        pca_foreground=signed_share(view.pca_colouring),
        part_a=rounded_part(parts.get("a")),
        part_b=rounded_part(parts.get("b")),
    )


def rounded_part(part: Part | None) -> Part | None:
    """A part without digits that no one sees."""
    if part is None:
        return None
    left, top, width, height = (round(value, _PART_DIGITS) for value in part)
    return left, top, width, height
