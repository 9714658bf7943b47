"""Whether torch is loaded yet, and what it offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from engine.api import OptionInfo


@dataclass(frozen=True, slots=True)
class DescriptorChoiceInfo:
    """A descriptor as the window lists it, with the settings its form shows."""

    name: str
    title: str
    summary: str
    source: str
    takes_weights: bool
    options: tuple[OptionInfo, ...]
    weights_page: str = ""


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A device as the window lists it."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class EngineState:
    """Stage of loading, and what there is once it is ready.

    Attributes:
        stage: "loading" until torch is imported.
        descriptors: all registered descriptors.
        devices: all usable devices, the best first.
        message: why loading failed.
        networks: those that were opened by name.
    """

    stage: Literal["loading", "ready", "failed"] = "loading"
    descriptors: tuple[DescriptorChoiceInfo, ...] = ()
    devices: tuple[DeviceChoice, ...] = ()
    message: str = ""
    networks: tuple[DescriptorChoiceInfo, ...] = ()

    def descriptor(self, name: str) -> DescriptorChoiceInfo | None:
        """The descriptor or opened network called ``name``."""
        listed = (*self.descriptors, *self.networks)
        return next((entry for entry in listed if entry.name == name), None)

    def title_of(self, name: str) -> str:
        """What people read for the descriptor or opened network called ``name``."""
        info = self.descriptor(name)
        return name if info is None else info.title

    def missing_weights(self, name: str, values: Mapping[str, Any]) -> str:
        """The page with the weights that a descriptor cannot do without and lacks, or "".

        Args:
            name: of the descriptor.
            values: its settings.
        """
        info = self.descriptor(name)
        return info.weights_page if info is not None and not values.get("weights") else ""
