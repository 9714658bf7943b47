"""Answers that come after their dialog was closed are dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import shiboken6
from PySide6.QtCore import QObject

Given = ParamSpec("Given")


def while_alive(owner: QObject, show: Callable[Given, object]) -> Callable[Given, None]:
    """A function that calls another one as long as the object exists that it draws on.

    Whatever a dialog hands to a lane needs this: Qt deletes a dialog when it is closed, and the
    work that was under way still answers.
    """

    def call(*words: Given.args, **named: Given.kwargs) -> None:
        if shiboken6.isValid(owner):
            show(*words, **named)

    return call
