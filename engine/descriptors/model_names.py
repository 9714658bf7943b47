"""Names of networks from other libraries: ``timm:vit_small_patch14_dinov2@8,11``.

The family says which library knows the model, the model is that library's name for it, a file or a
folder, and the layers behind the last ``@`` are numbers (from 0, or from the end with a minus) or
names of layers.  Without them the last layer is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from engine.config import typed_path
from engine.errors import ConfigError

FILE_FAMILIES: Final = frozenset({"onnx", "exported"})
"""Families whose models are files that hold a network with its weights."""

_FAMILY: Final = re.compile(r"([a-z]{2,}):(?!//)(.*)", re.DOTALL)  # a drive has one letter
_FOLDERS: Final = r"[/\\]"
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
        return f"{re.split(_FOLDERS, self.model.rstrip('/'))[-1] or self.model}{layers}"

    @property
    def file(self) -> Path | None:
        """The file that the model is; None for a model of a library.

        Raises:
            ConfigError: it can be no file's name.
        """
        return typed_path(self.model, "descriptor") if self.family in FILE_FAMILIES else None

    def at(self, *layers: str) -> ModelName:
        """The same model at other layers."""
        return replace(self, layers=layers)

    def at_number(self, layer: int, layers: int) -> ModelName:
        """The same model at one layer, by its shortest name.

        Args:
            layer: its number.
            layers: how many the model has.
        """
        return self.at() if layer == layers - 1 else self.at(str(layer))

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
    elif re.search(_FOLDERS, layers) or _is_file(family, rest):  # the @ of a folder or of a file
        model, at, layers = rest, "", ""
    if not model:
        what = "file" if family in FILE_FAMILIES else "model"
        raise ConfigError("descriptor", f"{name!r} names no {what}: write {family}:{what.upper()}")
    if at and not _LAYERS.fullmatch(layers):
        raise ConfigError("descriptor", f"{name!r} names no layer behind the @")
    return ModelName(family, model, tuple(layers.split(",")) if at else ())


def network_of(name: str) -> ModelName | None:
    """As :func:`parse_model_name`, with None for what is written wrong, too."""
    try:
        return parse_model_name(name)
    except ConfigError:
        return None


def _is_file(family: str, model: str) -> bool:
    if family not in FILE_FAMILIES or not model.strip():
        return False
    try:
        return typed_path(model, "descriptor").is_file()
    except (ConfigError, OSError):
        return False
