"""Which set of pairs is open, and which part of it is listed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from PySide6.QtCore import QObject, Signal

from engine import api


@dataclass(frozen=True, slots=True)
class BrowserState:
    """The open set of pairs and its filter.

    Attributes:
        dataset: None while only a free pair is open.
        subset: the part of it that is listed, "" for all.
        search: text that the names of what is listed contain (case-insensitive).
        group: name of the open pair's group, "" for none.
        index: number of the open pair in its group.
    """

    dataset: api.PairSet | None = field(default=None, compare=False)
    subset: str = ""
    search: str = ""
    group: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class _Listing:
    """What passes the filter, with the places of its pairs by group and number."""

    parts: dict[str, tuple[api.PairGroup, ...]] = field(default_factory=dict)
    groups: tuple[api.PairGroup, ...] = ()
    pairs: tuple[api.ImagePair, ...] = ()
    places: dict[tuple[str, int], int] = field(default_factory=dict)


class BrowserModel(QObject):
    """Holds :class:`BrowserState` and answers what is listed and what comes next.

    Sets may hold ten thousand pairs, so what is listed is found once for each filter.

    Signals:
        changed(BrowserState): after every real change.
    """

    changed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = BrowserState()
        self._listing = _Listing()

    @property
    def state(self) -> BrowserState:
        """The present state."""
        return self._state

    def set_dataset(self, dataset: api.PairSet | None) -> None:
        """List another set, unfiltered."""
        self._set(BrowserState(dataset=dataset))

    def set_filter(self, *, subset: str | None = None, search: str | None = None) -> None:
        """Change what is listed."""
        state = self._state
        self._set(
            replace(
                state,
                subset=state.subset if subset is None else subset,
                search=state.search if search is None else search,
            )
        )

    def set_current(self, group: str, index: int) -> None:
        """Mark the open pair; ("", 0) marks none."""
        self._set(replace(self._state, group=group, index=index))

    def listed(self) -> tuple[api.PairGroup, ...]:
        """The groups that pass the filter, part by part, with those of their pairs that do.

        All pairs of a group are listed where its own name has the text, else those that have it.
        """
        return self._listing.groups

    def listed_parts(self) -> Mapping[str, tuple[api.PairGroup, ...]]:
        """The same groups by the part of the set that they belong to, "" for none, in order."""
        return self._listing.parts

    def neighbour(self, step: int) -> api.ImagePair | None:
        """The pair ``step`` places after the open one among the listed ones; None at the ends."""
        pairs = self._listing.pairs
        if not pairs:
            return None
        at = self._listing.places.get((self._state.group, self._state.index))
        if at is None:
            return pairs[0 if step > 0 else -1]
        place = at + step
        return pairs[place] if 0 <= place < len(pairs) else None

    def _set(self, new: BrowserState) -> None:
        old = self._state
        if new == old and new.dataset is old.dataset:
            return
        self._state = new
        listed = (new.dataset is old.dataset, new.subset, new.search)
        if listed != (True, old.subset, old.search):
            self._listing = _list(new)
        self.changed.emit(new)


def _list(state: BrowserState) -> _Listing:
    if state.dataset is None:
        return _Listing()
    text = state.search.casefold()
    found: dict[str, list[api.PairGroup]] = {part: [] for part in (*state.dataset.subsets, "")}
    for group in state.dataset.groups:
        if state.subset in ("", group.subset):
            hit = _hits(group, text) if text else group
            if hit.pairs:
                found[group.subset].append(hit)
    parts = {part: tuple(groups) for part, groups in found.items() if groups}
    groups = tuple(group for some in parts.values() for group in some)
    pairs = tuple(pair for group in groups for pair in group.pairs)
    places = {(pair.sequence, pair.index): place for place, pair in enumerate(pairs)}
    return _Listing(parts, groups, pairs, places)


def _hits(group: api.PairGroup, text: str) -> api.PairGroup:
    """The group with the pairs that have a text in their names, or all if its own name has it."""
    if text in group.name.casefold():
        return group
    return replace(group, pairs=tuple(pair for pair in group.pairs if text in pair.name.casefold()))
