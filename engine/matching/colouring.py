"""How the components of a PCA basis become red, green and blue: plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Colouring:
    """Which component is shown as which colour, and which cells are shown at all.

    Attributes:
        components: the number of the component, from 0, that is red, green and blue; one may be
            shown in several colours.
        flipped: whether red, green and blue fall where their component rises.
        foreground: from which place in the range of the first component on, 0 to 1, a cell is
            foreground; all others become black.  None shows all cells.
        inverted: the cells below that place are the foreground instead.
    """

    components: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)
    foreground: float | None = None
    inverted: bool = False


PLAIN = Colouring()
"""The first three components as red, green and blue, everywhere."""

MOST_COMPONENTS = 12
"""How many components a basis keeps, to choose from."""
