"""The window that end-to-end tests drive, and what it opens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from descgui.app import SETTINGS_FILE, Application
from descgui.models.bundle import make_models
from engine.api import ViewOptions, config_dir, warp_image, write_image
from tests.e2e.driving import H_B_FROM_A, SIZE_PX, Open, dispose, picture


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """Two sequences of two pairs each, in HPatches' layout."""
    root = tmp_path / "séquences"
    for number, name in enumerate(("i_light", "v_turn")):
        folder = root / name
        folder.mkdir(parents=True)
        first = picture(number)
        write_image(folder / "1.png", first)
        for index in (2, 3):
            write_image(folder / f"{index}.png", warp_image(first, H_B_FROM_A, SIZE_PX))
            np.savetxt(folder / f"H_1_{index}", H_B_FROM_A)
    return root


@pytest.fixture
def open_window(qtbot: Any, fresh_home: Path) -> Iterator[Open]:
    """Opens windows and closes them at the end, so that no thread is left.

    They are not handed to qtbot, which would delete them before they have come to an end.
    """
    windows: list[Application] = []

    def make(*images: Path, **options: Any) -> Application:
        models = make_models(config_dir() / SETTINGS_FILE)
        window = Application(ViewOptions(images=images, size=(1200, 800), **options), models)
        windows.append(window)
        window.show()
        return window

    yield make
    dispose(qtbot, windows)
