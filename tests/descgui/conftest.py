"""Stand-ins for the controllers behind the views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from descgui.workers.lane import JobLane


class Asked:
    """Implements every protocol of the views and records the requests.

    Attributes:
        calls: name and arguments of each request, in order.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)

        def ask(*args: Any, **named: Any) -> None:
            # Qt adds whether a button is checked.
            told = tuple(arg for arg in (*args, *named.values()) if not isinstance(arg, bool))
            self.calls.append((name, told))

        return ask

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of all requests of this name, in order."""
        return [args for called, args in self.calls if called == name]


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def close_after(qtbot: Any) -> Iterator[Callable[[JobLane], None]]:
    """Takes lanes that have to come to rest before the next test."""
    lanes: list[JobLane] = []
    yield lanes.append
    for lane in lanes:
        lane.close()
    qtbot.waitUntil(lambda: not any(lane.busy for lane in lanes), timeout=10_000)
