"""One thing that was declared, and what was found instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "differs", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the table of a check.

    Attributes:
        name: what was looked at.
        declared: what is said of it, "" where nothing is.
        measured: what was found.
        verdict: ``refused`` where nothing right can come of it, ``differs`` where it is worth a
            warning, ``unknown`` where it could not be told.
        text: what that means, without a full stop; "" where all is as it should be.
    """

    name: str
    declared: str
    measured: str
    verdict: Verdict = "ok"
    text: str = ""

    @property
    def sentence(self) -> str:
        """The text as a sentence."""
        return f"{self.text}." if self.text and not self.text.endswith(("?", ".")) else self.text
