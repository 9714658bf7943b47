"""Names of networks from other libraries: ``timm:vit_small_patch14_dinov2@8,11``.

The family says which library knows the model, the model is that library's name for it, a file or a
folder, and the layers behind the last ``@`` are numbers (from 0, or from the end with a minus) or
names of layers.  Without them the last layer is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from engine.errors import ConfigError

_FAMILY: Final = re.compile(r"([a-z]{2,}):(?!//)(.*)", re.DOTALL)  # a drive has one letter
_LAYERS: Final = re.compile(r"[\w.\-]+(,[\w.\-]+)*")


@dataclass(frozen=True, slots=True)
class ModelName:
    """A name in its parts; ``str`` puts them together again.

    Attributes:
        family: the word before the colon.
        model: what the family calls the model.
        layers: numbers or names; empty for the last one.
    """

    family: str
    model: str
    layers: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The model without its folder, and its layers."""
        layers = f", layer {' + '.join(self.layers)}" if self.layers else ""
        return f"{self.model.rstrip('/').rpartition('/')[2] or self.model}{layers}"

    def at(self, *layers: str) -> ModelName:
        """The same model at other layers."""
        return replace(self, layers=layers)

    def __str__(self) -> str:
        layers = f"@{','.join(self.layers)}" if self.layers else ""
        return f"{self.family}:{self.model}{layers}"


def parse_model_name(name: str) -> ModelName | None:
    """The parts of a name; None if it names no family.

    Raises:
        ConfigError: no model follows the family, or no layer the ``@``.
    """
    found = _FAMILY.fullmatch(name)
    if found is None:
        return None
    family, rest = found.groups()
    model, at, layers = rest.rpartition("@")
    if not at:
        model, layers = rest, ""
    elif "/" in layers or "\\" in layers:  # the @ of a folder
        model, at, layers = rest, "", ""
    if not model:
        raise ConfigError("descriptor", f"{name!r} names no model: write {family}:MODEL")
    if at and not _LAYERS.fullmatch(layers):
        raise ConfigError("descriptor", f"{name!r} names no layer behind the @")
    return ModelName(family, model, tuple(layers.split(",")) if at else ())


def network_of(name: str) -> ModelName | None:
    """As :func:`parse_model_name`, with None for what is written wrong, too."""
    try:
        return parse_model_name(name)
    except ConfigError:
        return None
