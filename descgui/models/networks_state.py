"""Which networks can be opened by name, and which are open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from engine import api
from engine.api import NetworkList
from engine.api import WeightsState as Where


@dataclass(frozen=True, slots=True)
class NetworksState:
    """How far the list of all networks is.

    Attributes:
        stage: "none" until it is asked for.
        list: what can be opened.
        message: why there is no list.
    """

    stage: Literal["none", "loading", "ready", "failed"] = "none"
    list: NetworkList = field(default_factory=NetworkList)
    message: str = ""


@dataclass(frozen=True, slots=True)
class WeightsState:
    """Where the weights of the network that is looked at are, and how far their download is.

    Attributes:
        name: of the network; "" for none.
        state: as of a :class:`~engine.api.KnownModel`; "unknown" until it is found out.
        address: from where they can be fetched; "" for nowhere.
        size_mb: about how much that is; None where it is not known.
        download: "" while nothing was loaded, else what is done or how it ended.
        done_mb, total_mb: how far the download is.
        message: why it failed.
    """

    name: str = ""
    state: Where = "unknown"
    address: str = ""
    size_mb: float | None = None
    download: Literal["", "running", "stopped", "failed", "done"] = ""
    done_mb: int = 0
    total_mb: int | None = None
    message: str = ""


def same_network(one: str, other: str) -> bool:
    """Whether two names mean the same model, at whatever layers."""
    parts, others = api.network_of(one), api.network_of(other)
    return parts is not None and others is not None and parts.at() == others.at()


def menu_networks(chosen: Iterable[str], recent: Iterable[str]) -> tuple[str, ...]:
    """The networks that the menus of descriptors offer.

    Args:
        chosen: names of the shown and the compared descriptor.
        recent: of the networks opened last.

    Returns:
        The recent ones in their order.  The chosen layers take the place of those that were
        opened; what was chosen without having been opened comes first.
    """
    wanted = [name for name in dict.fromkeys(chosen) if api.network_of(name) is not None]
    listed: list[str] = []
    for name in recent:
        if api.network_of(name) is not None:
            listed += [one for one in wanted if same_network(one, name)] or [name]
    return tuple(dict.fromkeys((*(one for one in wanted if one not in listed), *listed)))
