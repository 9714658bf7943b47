"""Names that the program proposes for files."""

from __future__ import annotations

import re
from typing import Final

_UNFIT: Final = re.compile(r"[^\w.+-]+")
_MOST_CHARACTERS: Final = 80


def file_stem(*words: str) -> str:
    """The beginning of a file's name from words such as a pair and a descriptor.

    All systems take it: signs that are no letters, digits, dots, plus or minus become underscores.
    """
    parts = (_UNFIT.sub("_", word).strip("_.") for word in words)
    return "_".join(part for part in parts if part)[:_MOST_CHARACTERS].rstrip("_.")
