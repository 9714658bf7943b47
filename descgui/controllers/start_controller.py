"""Opens the window as asked, and writes down how to open it like this again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QObject

from descgui.controllers.matches_controller import MatchesController
from descgui.controllers.pair_controller import PairController
from descgui.controllers.probe_controller import ProbeController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice
from descgui.models.matches_state import FILTERS, MatchesState
from descgui.models.saved_session import Part, rounded_part
from descgui.models.settings import Settings
from descgui.models.view_options import colouring_of, component_numbers, signed_share
from descgui.models.view_state import ViewState
from engine import api
from engine.api import Side


class StartController(QObject):
    """Puts the options of the command line into the models.

    Args:
        options: what was asked on the command line.
        show_parts: shows parts of the images, and the others whole.
    """

    def __init__(
        self,
        models: AppModels,
        options: api.ViewOptions,
        pairs: PairController,
        probes: ProbeController,
        matches: MatchesController,
        show_parts: Callable[[Mapping[Side, Part]], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._options = options
        self._pairs = pairs
        self._probes = probes
        self._matches = matches
        self._show_parts = show_parts
        self._choose()

    def open_first(self) -> None:
        """Open what was asked for, else the last pair, else the demo."""
        self._models.pair.changed.connect(self._pair_opened)  # now: behind the panes
        options, settings = self._options, self._models.settings.state
        ranges = api.parse_pair_ranges(options.value_range, options.value_range_b)
        if options.images and api.is_video(options.images[-1]):
            self._pairs.open_paths(list(options.images))
        elif len(options.images) == 2:
            self._pairs.open_files(
                *options.images, options.homography, truth=options.truth, ranges=ranges
            )
        elif options.images and options.images[0].suffix == api.SESSION_SUFFIX:
            self._pairs.open_paths(list(options.images))
        elif options.images:
            group, index = options.group or "", options.pair_index or 0
            self._pairs.open_set(str(options.images[0]), group=group, index=index, ranges=ranges)
        elif settings.restore_session and settings.recent_pairs:
            self._pairs.open_recent(settings.recent_pairs[0])
        else:
            self._pairs.open_demo()

    def _choose(self) -> None:
        """Set what needs no torch; the maps are made as soon as there is a pair and torch."""
        options, models = self._options, self._models
        settings = models.settings.state
        if options.device != "auto":
            models.settings.override(device=options.device)
        if options.long_edge_px is not None:
            models.settings.override(long_edge_px=options.long_edge_px)
        if options.mode is not None:
            models.view.update(mode=options.mode)
        if options.pca_basis is not None:
            models.view.update(pca_fit="file", pca_basis=options.pca_basis)
        elif options.pca_fit is not None:
            models.view.update(pca_fit=options.pca_fit)
        models.view.update(
            pca_colouring=colouring_of(options.pca, options.pca_foreground), linked=options.linked
        )
        if options.self_similarity_px is not None:
            models.settings.override(exclude_px=options.self_similarity_px)
            models.view.update(self_similarity=True)
        models.view.update(own_ranges=options.own_ranges)
        if options.heat_range is not None:
            models.settings.override(heat=api.parse_heat_range(options.heat_range))
        if options.colormap is not None:
            models.settings.override(colormap=options.colormap)
        models.matches.update(descriptor=options.matches_by)
        values: dict[str, Any] = dict(api.parse_overrides(options.settings))
        if options.weights is not None:
            values["weights"] = str(options.weights)
        name = options.descriptor or (api.PRECOMPUTED if options.maps else settings.descriptor)
        models.maps.choose(DescriptorChoice(name, MappingProxyType(values), options.maps))
        for maps, (name, own) in zip(models.compared, api.parse_compared(options), strict=False):
            maps.choose(DescriptorChoice(name, MappingProxyType(own)))

    def _pair_opened(self) -> None:
        """Place the asked probe, pins and matches in the first pair, and zoom."""
        self._models.pair.changed.disconnect(self._pair_opened)
        for side, point_px in api.parse_pins(self._options.pins):
            self._probes.pin(side, *point_px)
        parts: dict[Side, Part] = {}
        if self._options.zoom is not None:
            parts["a"] = self._options.zoom
        if self._options.zoom_b is not None:
            parts["b"] = self._options.zoom_b
        if parts:
            self._show_parts(parts)
        if self._options.probe_px is not None:
            if (
                self._options.screenshot is None and not self._options.pins
            ):  # the mouse will take the live probe away
                self._probes.pin("a", *self._options.probe_px)
            self._probes.hover("a", *self._options.probe_px)
        if self._options.matches:
            self._models.matches.update(count=self._options.matches)
            self._matches.run()


def current_options(models: AppModels, parts: Mapping[Side, Part]) -> api.ViewOptions:
    """The options that open the window in its present state, for "copy as command".

    Args:
        models: all of the window.
        parts: what is in sight of each image that is not fitted.
    """
    pair, view = models.pair.state, models.view.state
    settings, usual = models.settings.state, Settings()
    choice = models.maps.choice
    values = dict(choice.values)
    weights = values.pop("weights", None)
    images: tuple[Path, ...] = ()
    group, index, truth = None, None, None
    dataset = models.browser.state.dataset
    if pair is not None and pair.pair.sequence and dataset is not None:
        images, index = (Path(dataset.opened),), pair.pair.index
        group = pair.pair.sequence if len(dataset.groups) > 1 else None
    elif pair is not None:
        images = (pair.pair.path_a, pair.pair.path_b)
        truth = pair.truth_text or None
    probe = models.probe.probe
    table = models.matches.state.table
    value_range, value_range_b = _range_texts(None if pair is None else pair.pair)
    chosen = [models.descriptors[number].choice for number in models.numbers]
    chosen_place = models.numbers.index(models.matches.state.descriptor)
    numbers = component_numbers(view.pca_colouring)
    beside = ((one.name, one.values) for one in chosen[1:])
    compare, compare_settings = api.compared_options(beside)
    return api.ViewOptions(
        plugins=api.plugin_files([one.name for one in chosen]),
        images=images,
        group=group,
        pair_index=index,
        truth=truth,
        descriptor=choice.name or None,
        weights=Path(weights) if weights else None,
        settings=api.override_texts(dict(sorted(values.items()))),
        device=models.settings.state.device,
        long_edge_px=None if settings.long_edge_px == usual.long_edge_px else settings.long_edge_px,
        probe_px=probe.point_px if probe is not None and probe.side == "a" else None,
        pins=api.pin_options((pin.probe.side, pin.probe.point_px) for pin in models.pins.pins),
        zoom=rounded_part(parts.get("a")),
        zoom_b=rounded_part(parts.get("b")),
        linked=view.linked,
        mode=view.mode,
        pca=None if numbers == (1, 2, 3) else numbers,
        pca_fit=view.pca_fit if view.pca_fit not in ("both", "file") else None,
        pca_basis=view.pca_basis if view.pca_fit == "file" else None,
        pca_foreground=signed_share(view.pca_colouring),
        self_similarity_px=models.settings.state.exclude_px if view.self_similarity else None,
        own_ranges=view.own_ranges,
        heat_range=None if settings.heat == usual.heat else str(settings.heat),
        colormap=None if settings.colormap == usual.colormap else settings.colormap,
        matches_by=chosen_place,
        compare=compare,
        compare_settings=compare_settings,
        matches=models.matches.state.count if table is not None else None,
        maps=choice.map_files,
        value_range=value_range,
        value_range_b=value_range_b,
        download=any(api.weights_were_found(one.name, one.values) for one in chosen),
    )


def left_out(models: AppModels) -> tuple[str, ...]:
    """What the command line cannot say of the present state, in words; a session holds it all."""
    view, matches, pair = models.view.state, models.matches.state, models.pair.state
    usual_view, usual_matches = ViewState(), MatchesState()
    probe = models.probe.probe
    held = False
    if pair is not None and not pair.truth_text:
        truth = pair.pair.truth
        held = truth is None if pair.pair.sequence else truth is not None
        held |= truth is not None and truth.origin != "given"
    filters = ("points", "seed", *FILTERS)
    others = [models.descriptors[number].choice for number in models.numbers[1:]]
    found = {
        "the truth": held or (pair is not None and bool(pair.truth_text and pair.pair.sequence)),
        "the video, of which a frame is named": pair is not None and api.is_frame(pair.pair.path_b),
        "the boxes of pins": any(pin.probe.region_px for pin in models.pins.pins),
        "the query in image B": probe is not None and probe.side == "b",
        "the place of the panes": view.arrangement != usual_view.arrangement,
        "blinking": view.blink,
        "the member that PCA shows": view.pca_level != usual_view.pca_level,
        "the filters of matches": matches.table is not None
        and any(getattr(matches, name) != getattr(usual_matches, name) for name in filters),
        "map files of compared descriptors": any(one.map_files for one in others),
    }
    return tuple(words for words, missing in found.items() if missing)


def _range_texts(pair: api.ImagePair | None) -> tuple[str | None, str | None]:
    """The options ``--range`` and ``--range-b`` of a pair; None for what need not be given."""
    if pair is None:
        return None, None
    both = None if pair.range_a is None else str(pair.range_a)
    if pair.range_a == pair.range_b:
        return both, None
    return both, api.AUTO if pair.range_b is None else str(pair.range_b)
