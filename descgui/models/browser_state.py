"""Which set of pairs is open, and which part of it is listed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from PySide6.QtCore import QObject, Signal

from engine.api import ImagePair, PairGroup, PairSet


@dataclass(frozen=True, slots=True)
class BrowserState:
    """The open set of pairs and its filter.

    Attributes:
        dataset: None while only a free pair is open.
        subset: the part of it that is listed, "" for all.
        search: text that the names of listed groups contain (case-insensitive).
        group: name of the open pair's group, "" for none.
        index: number of the open pair in its group.
    """

    dataset: PairSet | None = field(default=None, compare=False)
    subset: str = ""
    search: str = ""
    group: str = ""
    index: int = 0


class BrowserModel(QObject):
    """Holds :class:`BrowserState` and answers what is listed and what comes next.

    Signals:
        changed(BrowserState): after every real change.
    """

    changed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = BrowserState()

    @property
    def state(self) -> BrowserState:
        """The present state."""
        return self._state

    def set_dataset(self, dataset: PairSet | None) -> None:
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

    def listed(self) -> tuple[PairGroup, ...]:
        """The groups that pass the filter, in order."""
        state = self._state
        if state.dataset is None:
            return ()
        return tuple(
            group
            for group in state.dataset.groups
            if state.subset in ("", group.subset)
            and state.search.casefold() in group.name.casefold()
        )

    def neighbour(self, step: int) -> ImagePair | None:
        """The pair ``step`` places after the open one among the listed ones; None at the ends."""
        pairs = [pair for group in self.listed() for pair in group.pairs]
        keys = [(pair.sequence, pair.index) for pair in pairs]
        current = (self._state.group, self._state.index)
        if not pairs:
            return None
        if current not in keys:
            return pairs[0 if step > 0 else -1]
        place = keys.index(current) + step
        return pairs[place] if 0 <= place < len(pairs) else None

    def _set(self, new: BrowserState) -> None:
        if new != self._state or new.dataset is not self._state.dataset:
            self._state = new
            self.changed.emit(new)
