"""The libraries that families open, loaded when a model of theirs is asked for and not before."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any, Final

import torch

from engine.descriptors.families.torchvision_operators import ensure_torchvision
from engine.errors import ConfigError
from engine.extras import install_command
from engine.loading import loading
from engine.progress import check_stop

_SEED: Final = 20
FETCHES: Final = "Open network… or --download fetches"
"""What helps where weights are not on this computer, in the window and in the terminal."""


def use_library(module: str, *, extra: str) -> Any:
    """Import a library that an extra of this program installs.

    Raises:
        ConfigError: it is not installed, or does not load; the message says what helps.
        JobCancelled: the work on this thread was asked to stop meanwhile.
    """
    try:
        with loading(module):
            if module not in sys.modules:
                ensure_torchvision()
            loaded = importlib.import_module(module)  # waits for another thread that is at it
        check_stop()  # it takes seconds, and cannot be interrupted
        return loaded
    except ModuleNotFoundError as error:
        raise ConfigError(
            "descriptor",
            f"this needs {error.name}, which is not installed: run {install_command(extra)}",
        ) from error
    except Exception as error:  # whatever a broken installation raises
        raise ConfigError(
            "descriptor", f"{module} does not load ({error}); main.py doctor may know why"
        ) from error


@contextlib.contextmanager
def random_weights() -> Iterator[None]:
    """Inside the block torch draws the same numbers every time; others' are not affected."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        yield
