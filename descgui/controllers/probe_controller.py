"""Answers the mouse: the live probe and the pins, by all descriptors at once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QUndoCommand, QUndoStack

from descgui.controllers.engine_controller import EngineController
from descgui.controllers.maps_controller import MapsController
from descgui.models.bundle import AppModels
from descgui.models.maps_state import DescriptorChoice, MapsModel
from descgui.models.messages import Failure
from descgui.models.probe_state import Pin, PinsModel, Probe
from descgui.workers.latest_only import LatestOnly
from engine import api

_WAY_BACK_MS: Final = 8
"""After the last answer.  At 60 moves a second a way back is found between them; it delays none."""


@dataclass(frozen=True, slots=True)
class _Key:
    """What is asked: a descriptor's number, from 0, and a pin's, from 1; 0 for the live probe.

    The way back of the live probe is asked by itself, once its heat map is shown.
    """

    descriptor: int
    pin: int = 0
    back: bool = False

    def __str__(self) -> str:
        """What users read if it fails."""
        return f"pin {self.pin}" if self.pin else "probe"


class _SetPins(QUndoCommand):
    """From one set of pins to another."""

    def __init__(self, model: PinsModel, pins: tuple[Pin, ...], text: str) -> None:
        super().__init__(text)
        self._model = model
        self._before = model.pins
        self._after = pins

    def _put(self, pins: tuple[Pin, ...]) -> None:
        """Show pins; only those that stand there now have answers that still hold."""
        now = {pin.number: pin for pin in self._model.pins}
        bare = (Pin(pin.number, pin.probe) for pin in pins)
        self._model.set_pins(
            tuple(
                now[pin.number] if pin.number in now and now[pin.number].probe == pin.probe else pin
                for pin in bare
            )
        )

    def redo(self) -> None:
        """Show the new pins."""
        self._put(self._after)

    def undo(self) -> None:
        """Show the old pins."""
        self._put(self._before)


class ProbeController(QObject):
    """Turns points into answers on query threads; of points that wait, the newest is asked.

    Each descriptor has a thread of its own, so that a slow one keeps no other waiting.

    The heat map follows a fast pointer with some delay: the answer about a point that it has left
    is shown until there is a newer one.
    """

    def __init__(
        self,
        models: AppModels,
        engine: EngineController,
        maps: MapsController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._engine = engine
        self._maps = maps
        self._pair_key: tuple[object, object] | None = None
        self._newest: dict[_Key, api.ProbeRequest] = {}
        self._searches_own = models.view.state.self_similarity
        self._queries = tuple(LatestOnly(self._failed, self) for _ in models.descriptors)
        self.undo_stack = QUndoStack(self)
        self._resting = False  # the mouse has left the images
        self._way_back = QTimer(self, singleShot=True, interval=_WAY_BACK_MS)
        self._way_back.timeout.connect(self._ask_way_back)
        models.pins.selected_changed.connect(self._on_selected)
        maps.ready.connect(self._ask_again)
        models.pair.changed.connect(self._pair_changed)
        for number, compared in enumerate(models.compared, start=1):
            compared.choice_changed.connect(partial(self._comparison_changed, number))
        models.maps.choice_changed.connect(self._ask_all)
        models.pins.changed.connect(self._ask_pins)
        models.settings.computing_changed.connect(self._ask_all)
        models.settings.queries_changed.connect(self._ask_all)
        models.view.changed.connect(self._view_changed)

    @property
    def busy(self) -> bool:
        """True while anything is asked."""
        return self._way_back.isActive() or any(queries.busy for queries in self._queries)

    def close(self) -> None:
        """Ask no more, and wait for the queries that run (milliseconds)."""
        self._way_back.stop()
        for queries in self._queries:
            queries.close()

    def hover(self, side: api.Side, x_px: float, y_px: float) -> None:
        """The mouse is over a point of one image."""
        probe = Probe(side, (x_px, y_px))
        self._resting = False
        self._way_back.stop()
        # Asked first, so that the answer is computed while the pointer's marks are drawn.
        self._ask_about(probe)
        self._models.probe.move(probe)

    def leave(self) -> None:
        """The mouse is over no image: what it found last stays, until a pin is selected."""
        self._resting = True

    def _on_selected(self, number: int) -> None:
        """Let a selected pin be seen in place of what the mouse found last."""
        if number and self._resting:
            for place, queries in enumerate(self._queries):
                queries.drop(_Key(place))
                queries.drop(_Key(place, back=True))
            self._models.probe.move(None)

    def pin(self, side: api.Side, x_px: float, y_px: float) -> None:
        """Keep a probe at a point."""
        pins = self._models.pins
        number = pins.take_number()
        new = Pin(number, Probe(side, (x_px, y_px)))
        self._push((*pins.pins, new), f"pin {number}")
        pins.select(number)

    def pin_region(
        self, side: api.Side, x_px: float, y_px: float, size_px: tuple[float, float]
    ) -> None:
        """Keep a box around a point, whose mean descriptor asks, and show its answer."""
        pins, probe = self._models.pins, Probe(side, (x_px, y_px), size_px)
        number = pins.take_number()
        self._push((*pins.pins, Pin(number, probe)), f"pin {number}")
        pins.select(number)
        self._ask_about(probe)
        self._models.probe.move(probe)

    def move_pin(self, number: int, side: api.Side, x_px: float, y_px: float) -> None:
        """Put a pin somewhere else."""
        pins = tuple(
            Pin(number, Probe(side, (x_px, y_px), pin.probe.region_px))
            if pin.number == number
            else pin
            for pin in self._models.pins.pins
        )
        self._push(pins, f"move pin {number}")

    def remove_pin(self, number: int) -> None:
        """Take a pin away."""
        pins = tuple(pin for pin in self._models.pins.pins if pin.number != number)
        self._push(pins, f"remove pin {number}")

    def clear_pins(self) -> None:
        """Take all pins away."""
        self._push((), "remove all pins")

    def restore_pins(self, pins: tuple[Pin, ...], selected: int) -> None:
        """Show the pins of a session, by their numbers there; undo brings back what was shown.

        Args:
            pins: without answers.
            selected: number of the selected one, 0 for none.
        """
        self._models.pins.count_from(1 + max((pin.number for pin in pins), default=0))
        self._push(pins, "open session")
        self._models.pins.select(selected)

    def _push(self, pins: tuple[Pin, ...], text: str) -> None:
        if pins != self._models.pins.pins:
            self.undo_stack.push(_SetPins(self._models.pins, pins, text))

    def _request(self, model: MapsModel, probe: Probe, *, heat: bool) -> api.ProbeRequest | None:
        """What to ask; with a heat map it comes first, and the way back by itself."""
        state, recipe = self._models.pair.state, self._maps.ready_recipe(model)
        if state is None or recipe is None:
            return None
        settings = self._models.settings.state
        shown = model is self._models.maps  # descriptors beside it have no pane for it
        return api.ProbeRequest(
            pair=state.pair,
            recipe=recipe,
            side=probe.side,
            point_px=probe.point_px,
            peaks=settings.peaks,
            separation_px=settings.separation_px,
            heat=heat,
            cycle=not heat,
            exclude_px=settings.exclude_px if self._searches_own and shown else None,
            region_px=probe.region_px,
        )

    def _ask_probe(self) -> None:
        if self._models.probe.probe is not None:
            self._ask_about(self._models.probe.probe)

    def _ask_about(self, probe: Probe, only: MapsModel | None = None) -> None:
        """Ask one descriptor, or all of them."""
        session = self._engine.session
        if session is None:
            return
        for number, model in enumerate(self._models.descriptors):
            if only not in (None, model):
                continue
            request = self._request(model, probe, heat=True)
            if request is not None:
                self._newest[_Key(number)] = request
                self._queries[number].submit(
                    partial(session.probe, request),
                    key=_Key(number),
                    done=partial(self._answered, number),
                )

    def _ask_pins(self) -> None:
        session = self._engine.session
        if session is None:
            return
        for number, model in enumerate(self._models.descriptors):
            for pin in self._models.pins.pins:
                if pin.answer_of(number) is not None:
                    continue
                request = self._request(model, pin.probe, heat=False)
                key = _Key(number, pin.number)
                if request is not None and request != self._newest.get(key):
                    self._newest[key] = request
                    self._queries[number].submit(
                        partial(session.probe, request),
                        key=key,
                        done=partial(self._pin_answered, key, number, pin.number),
                    )

    def _ask_all(self) -> None:
        """Forget all answers, which hold no longer, and ask again what can be answered now."""
        for queries in self._queries:
            queries.drop()
        self._models.probe.clear_answers()
        self._newest.clear()
        pins = self._models.pins
        pins.set_pins(tuple(Pin(pin.number, pin.probe) for pin in pins.pins))
        self._ask_probe()
        self._ask_pins()

    def _ask_again(self, model: MapsModel) -> None:
        if self._models.probe.probe is not None:
            self._ask_about(self._models.probe.probe, model)
        self._ask_pins()

    def _view_changed(self) -> None:
        wanted = self._models.view.state.self_similarity
        if wanted != self._searches_own:
            self._searches_own = wanted
            self._ask_all()

    def _pair_changed(self) -> None:
        state = self._models.pair.state
        key = None
        if state is not None:
            second = state.pair.path_b
            # Queries are followed from frame to frame of a video.
            key = (state.pair.path_a, second.parent if api.is_frame(second) else second)
        if key != self._pair_key:
            self._pair_key = key
            self._models.probe.move(None)
            self._models.pins.set_pins(())
            self.undo_stack.clear()
        self._ask_all()  # the same images may have another homography or range

    def _comparison_changed(self, number: int, _choice: DescriptorChoice) -> None:
        self._queries[number].drop()
        for key in [key for key in self._newest if key.descriptor == number]:
            del self._newest[key]
        self._models.probe.set_answer(None, number)
        pins = self._models.pins
        pins.set_pins(tuple(pin.with_answer(number, None) for pin in pins.pins))
        self._ask_probe()
        self._ask_pins()

    def _answered(self, number: int, answer: api.ProbeAnswer) -> None:
        """Show an answer, also about a point that the pointer has left on the same image."""
        newest = self._newest.get(_Key(number))
        if newest and (
            replace(answer.request, point_px=newest.point_px, region_px=newest.region_px) == newest
        ):
            self._models.probe.set_answer(answer, number)
            self._way_back.start()

    def _ask_way_back(self) -> None:
        """Match the found points back, of all descriptors that have answered."""
        session = self._engine.session
        if session is None:
            return
        for number, queries in enumerate(self._queries):
            answer = self._models.probe.answer_of(number)
            if answer is not None and answer.cycle_px is None:
                queries.submit(
                    partial(session.match_back, answer),
                    key=_Key(number, back=True),
                    done=partial(self._way_back_answered, number, answer),
                )

    def _way_back_answered(
        self, number: int, before: api.ProbeAnswer, answer: api.ProbeAnswer
    ) -> None:
        """Complete an answer, unless a newer one is shown."""
        if self._models.probe.answer_of(number) is before:
            self._models.probe.set_answer(answer, number)

    def _pin_answered(
        self, key: _Key, number: int, pin_number: int, answer: api.ProbeAnswer
    ) -> None:
        if self._newest.get(key) == answer.request:  # else the pin has moved
            del self._newest[key]
            self._models.pins.set_answer(pin_number, answer, number)

    def _failed(self, key: Hashable, failure: Failure) -> None:
        self._newest = {one: asked for one, asked in self._newest.items() if one != key}
        if failure.expected:  # the maps were pushed out of memory: describe them again
            self._models.messages.log(failure.summary, "warning", failure.trace, topic=str(key))
            if not (isinstance(key, _Key) and key.back):  # the next probe will need them anyway
                self._maps.refresh()
        else:
            self._models.messages.report(failure)
