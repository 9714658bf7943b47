"""Opens the window as asked, and writes down how to open it like this again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QObject

from descgui.controllers.matches_controller import MatchesController
from descgui.controllers.pair_controller import PairController
from descgui.controllers.probe_controller import ProbeController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice
from engine import api


class StartController(QObject):
    """Puts the options of the command line into the models.

    Args:
        options: what was asked on the command line.
    """

    def __init__(
        self,
        models: AppModels,
        options: api.ViewOptions,
        pairs: PairController,
        probes: ProbeController,
        matches: MatchesController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._options = options
        self._pairs = pairs
        self._probes = probes
        self._matches = matches
        models.pair.changed.connect(self._pair_opened)
        self._choose()

    def open_first(self) -> None:
        """Open what was asked for, else the last pair, else the demo."""
        options, settings = self._options, self._models.settings.state
        ranges = api.parse_pair_ranges(options.value_range, options.value_range_b)
        if len(options.images) == 2:
            self._pairs.open_files(
                *options.images, options.homography, truth=options.truth, ranges=ranges
            )
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
        if options.mode is not None:
            models.view.update(mode=options.mode)
        if options.pca_basis is not None:
            models.view.update(pca_fit="file", pca_basis=options.pca_basis)
        elif options.pca_fit is not None:
            models.view.update(pca_fit=options.pca_fit)
        models.view.update(pca_colouring=_colouring(options))
        if options.self_similarity_px is not None:
            models.settings.override(exclude_px=options.self_similarity_px)
            models.view.update(self_similarity=True)
        models.view.update(own_ranges=options.own_ranges)
        models.matches.update(descriptor=options.matches_by)
        values: dict[str, Any] = dict(api.parse_overrides(options.settings))
        if options.weights is not None:
            values["weights"] = str(options.weights)
        name = options.descriptor or (api.PRECOMPUTED if options.maps else settings.descriptor)
        models.maps.choose(DescriptorChoice(name, MappingProxyType(values), options.maps))
        for maps, (name, own) in zip(models.compared, api.parse_compared(options), strict=False):
            maps.choose(DescriptorChoice(name, MappingProxyType(own)))

    def _pair_opened(self) -> None:
        """Place the asked probe and matches in the first pair."""
        self._models.pair.changed.disconnect(self._pair_opened)
        if self._options.probe_px is not None:
            if self._options.screenshot is None:  # the mouse will take the live probe away
                self._probes.pin("a", *self._options.probe_px)
            self._probes.hover("a", *self._options.probe_px)
        if self._options.matches:
            self._models.matches.update(count=self._options.matches)
            self._matches.run()


def current_options(models: AppModels) -> api.ViewOptions:
    """The options that open the window in its present state, for "copy as command"."""
    pair, view = models.pair.state, models.view.state
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
    pins = [pin.probe for pin in models.pins.pins if pin.probe.side == "a"]
    live = models.probe.probe
    probe = live if live is not None and live.side == "a" else (pins[-1] if pins else None)
    table = models.matches.state.table
    value_range, value_range_b = _range_texts(None if pair is None else pair.pair)
    chosen = [models.descriptors[number].choice for number in models.numbers]
    chosen_place = models.numbers.index(models.matches.state.descriptor)
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
        probe_px=probe.point_px if probe is not None else None,
        mode=view.mode,
        pca=_component_numbers(view.pca_colouring),
        pca_fit=view.pca_fit if view.pca_fit not in ("both", "file") else None,
        pca_basis=view.pca_basis if view.pca_fit == "file" else None,
        pca_foreground=_signed_share(view.pca_colouring),
        self_similarity_px=models.settings.state.exclude_px if view.self_similarity else None,
        own_ranges=view.own_ranges,
        matches_by=chosen_place,
        compare=compare,
        compare_settings=compare_settings,
        matches=models.matches.state.count if table is not None else None,
        maps=choice.map_files,
        value_range=value_range,
        value_range_b=value_range_b,
        download=any(api.weights_were_found(one.name, one.values) for one in chosen),
    )


def _range_texts(pair: api.ImagePair | None) -> tuple[str | None, str | None]:
    """The options ``--range`` and ``--range-b`` of a pair; None for what need not be given."""
    if pair is None:
        return None, None
    both = None if pair.range_a is None else str(pair.range_a)
    if pair.range_a == pair.range_b:
        return both, None
    return both, api.AUTO if pair.range_b is None else str(pair.range_b)


def _colouring(options: api.ViewOptions) -> api.Colouring:
    """Which component is which colour, by ``--pca`` and ``--pca-foreground``."""
    shown = api.PLAIN
    if options.pca is not None:
        red, green, blue = options.pca
        shown = replace(
            shown,
            components=(abs(red) - 1, abs(green) - 1, abs(blue) - 1),
            flipped=(red < 0, green < 0, blue < 0),
        )
    share = options.pca_foreground
    if share is not None:
        shown = replace(shown, foreground=abs(share), inverted=share < 0)
    return shown


def _component_numbers(shown: api.Colouring) -> tuple[int, int, int] | None:
    """The option ``--pca``; None where it need not be given."""
    red, green, blue = (
        -(number + 1) if flipped else number + 1
        for number, flipped in zip(shown.components, shown.flipped, strict=True)
    )
    return None if (red, green, blue) == (1, 2, 3) else (red, green, blue)


def _signed_share(shown: api.Colouring) -> float | None:
    """The option ``--pca-foreground``."""
    if shown.foreground is None:
        return None
    return -shown.foreground if shown.inverted else shown.foreground
