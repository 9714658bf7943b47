"""What the list of networks shows for what was typed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from descgui.views.fuzzy import fuzzy_match
from engine import api

_MOST_FUZZY = 60
_LAYERS = re.compile(r"^(.*?)(@[\w.,\-]*)?$")
Group = Literal["favourite", "recent", "typed", "known"]


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """A line of the list.

    Attributes:
        name: of the descriptor, with the layers that were typed.
        model: what is known about it; only its name for one that no list has.
        group: why it is listed.
        starred: it is a favourite.
        places: letters of the model's title that were typed.
    """

    name: str
    model: api.KnownModel
    group: Group
    starred: bool
    places: tuple[int, ...] = ()


def find_networks(
    typed: str,
    known: Sequence[api.KnownModel],
    *,
    recent: Iterable[str] = (),
    favourites: Iterable[str] = (),
) -> list[NetworkRow]:
    """The networks whose names answer what was typed, the best first.

    All typed words occur in the family and the name, in any order; names that only hold the typed
    letters in their order come last, and after them what was typed itself, if it is a whole name
    that no list has.  With nothing typed the favourites and the recent ones stand before all
    others.  What is typed behind an ``@`` are layers, which the names are given.
    """
    stars = tuple(favourites)
    by_name = {model.name: model for model in known}
    searched, layers = _split(typed)
    if not searched:
        firsts: dict[str, Group] = dict.fromkeys(stars, "favourite")
        for name in recent:
            firsts.setdefault(name, "recent")
        rows = [
            NetworkRow(name, _known(name, by_name), group, name in stars)
            for name, group in firsts.items()
            if api.network_of(name) is not None
        ]
        return rows + [
            NetworkRow(model.name, model, "known", model.name in stars)
            for model in known
            if model.name not in firsts
        ]
    found = _ranked(searched, known)
    rows = [
        NetworkRow(
            f"{model.name}{layers}", model, "known", f"{model.name}{layers}" in stars, places
        )
        for model, places in found
    ]
    exact = api.network_of(typed.strip())
    if exact is not None and str(exact.at()) not in by_name:
        name = str(exact)
        rows.append(NetworkRow(name, _known(name, by_name), "typed", name in stars))
    return rows


def _split(typed: str) -> tuple[str, str]:
    """What is searched for, and the layers behind an ``@`` with it; a lone ``@`` names none."""
    match = _LAYERS.match(typed.strip())
    assert match is not None
    layers = match[2] or ""
    return match[1].strip().casefold(), layers if len(layers) > 1 else ""


def _known(name: str, by_name: Mapping[str, api.KnownModel]) -> api.KnownModel:
    """What a list tells about a network, whose name may have layers, or its name alone."""
    parts = api.network_of(name)
    bare = name if parts is None else str(parts.at())
    if bare in by_name:
        return by_name[bare]
    return api.KnownModel(bare, bare.partition(":")[2])


def _ranked(
    searched: str, known: Sequence[api.KnownModel]
) -> list[tuple[api.KnownModel, tuple[int, ...]]]:
    words = searched.replace(":", " ").split()
    exact: list[tuple[tuple[int, int, int], api.KnownModel, tuple[int, ...]]] = []
    rest = []
    for number, model in enumerate(known):
        title = model.title.casefold()
        full = f"{model.family} {title}"
        if all(word in full for word in words):
            places = [title.find(word) for word in words]
            inside = [place for place in places if place >= 0]
            start = min(inside, default=0)
            letters = tuple(
                sorted(
                    {
                        place + step
                        for word, place in zip(words, places, strict=True)
                        if place >= 0
                        for step in range(len(word))
                    }
                )
            )
            exact.append(((start, len(title), number), model, letters))
        else:
            rest.append(model)
    exact.sort(key=lambda item: item[0])
    found = [(model, places) for _, model, places in exact]
    if len(found) < _MOST_FUZZY:
        # A regular expression sorts out most names before the search that costs more.
        letters_in_order = re.compile(".*?".join(map(re.escape, "".join(words))))
        candidates = [model for model in rest if letters_in_order.search(model.title.casefold())]
        matches = [
            (match, model)
            for model in candidates[: 4 * _MOST_FUZZY]
            if (match := fuzzy_match(searched, model.title)) is not None
        ]
        matches.sort(key=lambda item: -item[0].score)
        found += [(model, match.places) for match, model in matches[:_MOST_FUZZY]]
    return found
