"""What is looked at before Qt starts: it aborts the process where it finds no display.

The checks themselves are the engine's, because the set-up and the doctor need them as well.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from engine.api import window_problem

_OPENCV_VARIABLES = ("QT_QPA_PLATFORM_PLUGIN_PATH", "QT_QPA_FONTDIR")


def display_problem(environment: Mapping[str, str] = os.environ) -> str | None:
    """Why no window can open here, as one sentence that says what works without; None if it can.

    Nothing is looked at but the environment, the display's socket and shared libraries; Qt is not
    loaded.
    """
    problem = window_problem(environment)
    if not problem:
        return None
    return (
        f"No window can open: {problem}; without one, main.py match, describe and doctor work, and"
        " so does main.py view … --screenshot FILE."
    )


def forget_opencv_paths(environment: MutableMapping[str, str] = os.environ) -> None:
    """Drop the paths to OpenCV's own Qt, which importing cv2 leaves in the environment.

    Qt would look for its platform plugins there.  Paths that a person set to elsewhere are kept.
    """
    for name in _OPENCV_VARIABLES:
        if "cv2" in Path(environment.get(name, "")).parts:
            del environment[name]
