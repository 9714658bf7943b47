"""Shared by the tests of networks."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of networks lie where their stride puts them, as of patches, and are not measured.

    That takes seconds for each layer and facet.  Not for tests that ask for places.
    """
    from engine.descriptors.families import backbone
    from engine.geometry.coords import CellGrid

    def assumed(network: Any, layer: int, **_named: Any) -> CellGrid:
        stride_px = network.layers[layer].stride_px
        return CellGrid(stride_px, (stride_px - 1) / 2)

    monkeypatch.setattr(backbone, "measured_grid", assumed)
