"""Computes the pictures of the present mode: PCA colours, warps, cycle errors, members, norms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PySide6.QtCore import QObject

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.maps_controller import MapsController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice, MapsModel
from descgui.models.messages import Failure
from descgui.models.networks_state import same_network
from descgui.models.pair_state import PairState
from descgui.models.pictures_state import PicturesState
from descgui.workers.lane import JobLane
from engine import api

_PCA_MODES = ("pca", "overlay")
_PCA = "pca"


class PicturesController(QObject):
    """Fills :class:`~descgui.models.pictures_state.PicturesState` on demand."""

    def __init__(
        self,
        models: AppModels,
        engine: EngineController,
        maps: MapsController,
        lane: JobLane,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._engine = engine
        self._maps = maps
        self._lane = lane
        self._asked: dict[str, object] = {}
        self._under_way: set[str] = set()
        self._logged = ""
        self._chosen = models.maps.choice.name
        maps.ready.connect(self._maps_ready)
        models.view.changed.connect(self.refresh)
        models.pair.changed.connect(self._start_over)
        models.maps.choice_changed.connect(self._choice_changed)
        models.settings.computing_changed.connect(self._start_over)
        for number, compared in enumerate(models.compared, start=1):
            compared.choice_changed.connect(partial(self._forget_compared, number))

    def use_basis(self, path: Path) -> None:
        """Colour by a saved PCA basis."""
        self._asked.clear()  # the file may be another one than the last time
        self._models.view.update(pca_fit="file", pca_basis=path)
        self.refresh()

    def save_basis(self, path: Path) -> None:
        """Write the PCA basis in use to a file."""
        request, session = self._pca_request(self._models.maps), self._engine.session
        if request is not None and session is not None:
            self._lane.submit(
                lambda context: session.save_basis(request, path, context),
                key="save PCA basis",
                done=lambda _none: self._models.messages.notify("The PCA basis is saved."),
            )

    def refresh(self) -> None:
        """Compute what the present mode shows and is not there yet."""
        mode = self._models.view.state.mode
        if mode in _PCA_MODES:
            for number in self._models.numbers:
                self._ask_pca(number)
        elif mode == "warp":
            self._ask_warp()
        elif mode == "cycle":
            self._ask_cycle()
        elif mode == "members":
            self._ask_members()
        elif mode == "norms":
            self._ask_norms()
        elif mode == "error":
            self._ask_errors()
        else:
            self._models.pictures.update(problem="")

    def _maps_ready(self, model: MapsModel) -> None:
        number = self._models.descriptors.index(model)
        if number:
            self._asked.pop(_pca_key(number), None)
        self.refresh()

    def _choice_changed(self, choice: DescriptorChoice) -> None:
        """Start over; between layers whose maps are there, the colours change without a gap."""
        before, self._chosen = self._chosen, choice.name
        shown = self._models.pictures.state.pca
        goes_on = self._models.maps.ready and same_network(before, choice.name)
        goes_on = goes_on and self._models.view.state.mode in _PCA_MODES
        self._start_over_with(PicturesState(pca=shown if goes_on else None))

    def _start_over(self) -> None:
        self._start_over_with(PicturesState())

    def _start_over_with(self, state: PicturesState) -> None:
        self._asked.clear()
        colours = map(_pca_key, range(len(self._models.descriptors)))
        for key in (*colours, "warp", "cycle", "members", "norms", "error"):
            self._withdraw(key)
        self._models.pictures.set(state)
        self.refresh()

    def _forget_compared(self, number: int, _choice: DescriptorChoice) -> None:
        key = _pca_key(number)
        if key in self._under_way:
            self._withdraw(key)
            self._models.pictures.update(busy="")
        self._asked.pop(key, None)
        self._show_pca(number, None)

    def _withdraw(self, key: str) -> None:
        self._lane.withdraw(f"picture {key}")
        self._under_way.discard(key)

    def _pca_request(self, model: MapsModel) -> api.PcaRequest | None:
        state, recipe = self._models.pair.state, self._maps.ready_recipe(model)
        if state is None or recipe is None:
            return None
        view = self._models.view.state
        info = model.status("a").info
        levels = info.levels if info is not None else 1
        fit = view.pca_fit
        images = self._folder_images(state.pair) if fit == "all" else ()
        if (fit == "file" and view.pca_basis is None) or (fit == "all" and not images):
            fit = "both"
        return api.PcaRequest(
            pair=state.pair,
            recipe=recipe,
            fit=fit,
            basis_file=view.pca_basis if fit == "file" else None,
            images=images,
            level=min(view.pca_level, levels - 1),
            colouring=view.pca_colouring,
        )

    def _folder_images(self, pair: api.ImagePair) -> tuple[tuple[api.ImagePair, api.Side], ...]:
        """All images of the open folder; those of the open pair as they are shown."""
        dataset = self._models.browser.state.dataset
        if dataset is None:
            return ()
        found: dict[Path, tuple[api.ImagePair, api.Side]] = {
            pair.path_a: (pair, "a"),
            pair.path_b: (pair, "b"),
        }
        for other in dataset.pairs():
            found.setdefault(other.path_a, (other, "a"))
            found.setdefault(other.path_b, (other, "b"))
        return tuple(found[path] for path in sorted(found))

    def _ask_pca(self, number: int) -> None:
        model = self._models.descriptors[number]
        request, session = self._pca_request(model), self._engine.session
        if request is not None and session is not None:
            self._ask(
                _pca_key(number),
                request,
                lambda context: session.pca(request, context),
                show=partial(self._show_pca, number),
            )

    def _show_pca(self, number: int, answer: api.PcaAnswer | None) -> None:
        pictures = self._models.pictures
        if number == 0:
            pictures.update(pca=answer)
            return
        others = {one: kept for one, kept in pictures.state.pca_compared.items() if one != number}
        if answer is not None:
            others[number] = answer
        pictures.update(pca_compared=MappingProxyType(others))

    def _ask_warp(self) -> None:
        state = self._models.pair.state
        if state is None:
            return
        forward, backward = (
            None if state.truth is None else state.truth.matrix_from(side) for side in api.SIDES
        )
        if forward is None or backward is None:
            self._models.pictures.update(problem=_no_homography(state))
            return
        image_a, image_b = state.image_a, state.image_b

        def warp(_context: api.JobContext) -> dict[str, Any]:
            return {
                "warped_a": api.as_uint8(api.warp_image(image_a.pixels, forward, image_b.size_px)),
                "warped_b": api.as_uint8(api.warp_image(image_b.pixels, backward, image_a.size_px)),
            }

        self._ask("warp", state.pair, warp)

    def _ask_cycle(self) -> None:
        state, session = self._models.pair.state, self._engine.session
        recipe = self._maps.ready_recipe(self._models.maps)
        if state is None or session is None or recipe is None:
            return

        def cycle(context: api.JobContext) -> dict[str, Any]:
            return {
                "cycle_a": session.cycle_error(state.pair, recipe, "a", context),
                "cycle_b": session.cycle_error(state.pair, recipe, "b", context),
            }

        self._ask("cycle", (state.pair, recipe), cycle)

    def _ask_members(self) -> None:
        state, session = self._models.pair.state, self._engine.session
        recipe = self._maps.ready_recipe(self._models.maps)
        if state is None or session is None or recipe is None:
            return
        info = self._models.maps.status("a").info
        if info is not None and info.levels == 1:
            self._models.pictures.update(
                problem="This descriptor is not a set: every pixel has one member."
            )
            return
        self._ask(
            "members",
            (state.pair, recipe),
            lambda context: {"winners": session.winners(state.pair, recipe, "a", context)},
        )

    def _ask_norms(self) -> None:
        state, session = self._models.pair.state, self._engine.session
        recipe = self._maps.ready_recipe(self._models.maps)
        if state is None or session is None or recipe is None:
            return

        def norms(context: api.JobContext) -> dict[str, Any]:
            return {
                f"norms_{side}": session.norms(state.pair, side, recipe, context)
                for side in api.SIDES
            }

        self._ask("norms", (state.pair, recipe), norms)

    def _ask_errors(self) -> None:
        state, session = self._models.pair.state, self._engine.session
        recipe = self._maps.ready_recipe(self._models.maps)
        if state is None or session is None or recipe is None:
            return
        if state.truth is None or state.truth.listed_px is not None:
            has = "none" if state.truth is None else "a list of points"
            self._models.pictures.update(
                problem=f"An error map needs truth all over the images, and there is {has}: "
                "File ▸ Load truth…."
            )
            return

        def errors(context: api.JobContext) -> dict[str, Any]:
            return {
                f"errors_{side}": session.errors(state.pair, recipe, side, context)
                for side in api.SIDES
            }

        self._ask("error", (state.pair, recipe), errors)

    def _ask(
        self,
        key: str,
        question: object,
        work: Any,
        show: Callable[[Any], object] | None = None,
    ) -> None:
        """Have ``work`` done unless it is; what it returns goes to ``show``, or into the model."""
        if self._asked.get(key) == question:
            self._models.pictures.update(problem="")
            return
        if key in self._under_way and _differ_in_colours(self._asked.get(key), question):
            return  # the picture under way is shown first, so that colours follow a slider
        self._asked[key] = question
        self._under_way.add(key)
        self._models.pictures.update(busy=key, problem="")
        self._lane.submit(
            work,
            key=f"picture {key}",
            done=partial(self._done, key, show or self._show),
            happened=self._happened,
            failed=partial(self._failed, key),
            cancelled=partial(self._cancelled, key),
        )

    def _show(self, found: dict[str, Any]) -> None:
        self._models.pictures.update(**found)

    def _done(self, key: str, show: Callable[[Any], object], found: Any) -> None:
        self._under_way.discard(key)
        self._logged = ""
        show(found)
        self._models.pictures.update(busy="", problem="")
        if key.startswith(_PCA):
            self.refresh()

    def _happened(self, event: api.Event) -> None:
        if isinstance(event, api.Progress) and event.stage is api.Stage.FITTING_BASIS:
            self._models.pictures.update(busy=f"{event.stage}: {event.done} of {event.total}")

    def _failed(self, key: str, failure: Failure) -> None:
        self._under_way.discard(key)
        self._asked.pop(key, None)
        if key.startswith(_PCA):
            self._show_pca(int(key.removeprefix(_PCA) or 0), None)
        self._models.pictures.update(busy="", problem=failure.summary)
        if not failure.expected:
            self._models.messages.report(failure)
        elif failure.summary != self._logged:  # it is asked again with each change of the view
            self._logged = failure.summary
            self._models.messages.log(failure.summary, "error", topic="pictures")

    def _cancelled(self, key: str) -> None:
        self._under_way.discard(key)
        self._asked.pop(key, None)
        self._models.pictures.update(busy="")


def _no_homography(state: PairState) -> str:
    """Why a pair cannot be warped."""
    if state.truth is None:
        return "Warping needs a homography: File ▸ Load homography…."
    return f"Warping needs a homography, and the truth of this pair is {state.truth.kind}."


def _differ_in_colours(one: object, other: object) -> bool:
    """Whether two questions ask for other colours of one PCA basis."""
    return (
        isinstance(one, api.PcaRequest)
        and isinstance(other, api.PcaRequest)
        and replace(one, colouring=other.colouring) == other
    )


def _pca_key(number: int) -> str:
    """What the colours of a descriptor are called, which users read while they are computed."""
    return f"{_PCA}{number or ''}"
