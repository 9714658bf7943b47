"""What modules inside a network give while it runs."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Collection
from typing import Any

from torch import nn


def module_outputs(
    net: nn.Module, modules: Collection[str], run: Callable[[], Any]
) -> dict[str, Any]:
    """Run a network until some of its modules have run, and no further.

    Args:
        net: holds the modules.
        modules: their names in it, at least one; each runs once.
        run: runs the network; another thread may do so at the same time.

    Returns:
        Their outputs by name.
    """
    seen: dict[str, Any] = {}
    thread = threading.get_ident()

    def keep(name: str, _module: nn.Module, _given: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            seen[name] = output
            if len(seen) == len(set(modules)):
                raise _AllSeen

    with contextlib.ExitStack() as stack:
        for name in set(modules):
            module = net.get_submodule(name)
            watching = module.register_forward_hook(functools.partial(keep, name))
            stack.callback(watching.remove)
        with contextlib.suppress(_AllSeen):
            run()
    return seen


class _AllSeen(Exception):  # noqa: N818 - no error: the rest of the network is not needed
    """Ends a pass through a network."""
