"""The networks that can be opened by name or from a file, of all families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.descriptors.known_models import KnownModel
from engine.descriptors.registry import list_families
from engine.errors import ConfigError
from engine.extras import install_command


@dataclass(frozen=True, slots=True)
class MissingFamily:
    """A family whose models cannot be listed.

    Attributes:
        title: of the family.
        reason: a sentence.
        command: the command line that installs its library; "" where that would not help.
    """

    title: str
    reason: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class NetworkList:
    """What can be opened.

    Attributes:
        models: by family, in the order of its own list.
        missing: families without a list.
        opens: endings of files that are models, with their families; "/" for folders.
    """

    models: tuple[KnownModel, ...] = ()
    missing: tuple[MissingFamily, ...] = ()
    opens: tuple[tuple[str, str], ...] = ()

    def name_of(self, path: Path) -> str:
        """The descriptor's name of a file or a folder.

        Raises:
            ConfigError: no family opens such a file.
        """
        ending = "/" if path.is_dir() else path.suffix.lower()
        for known, family in self.opens:
            if known == ending:
                return f"{family}:{path}"
        known_endings = ", ".join(one for one, _ in self.opens if one != "/")
        raise ConfigError(
            "descriptor", f"{path} is no network that can be opened; known endings: {known_endings}"
        )


def list_networks(check: Callable[[], None] = lambda: None) -> NetworkList:
    """Ask all families for their models.

    Imports their libraries, which takes seconds: call it from a worker.

    Args:
        check: called before each family; may raise.
    """
    models: list[KnownModel] = []
    missing: list[MissingFamily] = []
    for family in list_families():
        check()
        try:
            models += family.models()
        except ConfigError as error:
            command = install_command(family.extra) if _lacks_library(error) else ""
            reason = error.reason.partition(": run ")[0] if command else error.reason
            missing.append(MissingFamily(family.title, f"{family.title}: {reason}.", command))
    opens = tuple((ending, family.name) for family in list_families() for ending in family.opens)
    return NetworkList(tuple(models), tuple(missing), opens)


def _lacks_library(error: ConfigError) -> bool:
    return isinstance(error.__cause__, ModuleNotFoundError)
