"""What the view is called where it is written down: on command lines and in session files."""

from __future__ import annotations

from dataclasses import replace

from engine import api


def colouring_of(numbers: tuple[int, int, int] | None, share: float | None) -> api.Colouring:
    """Which component is which colour.

    Args:
        numbers: of the components that are red, green and blue, from 1, negative where they are
            flipped; None for the first three.
        share: of the first component's range, from which on a cell is foreground; negative for
            what is below; None for all cells.
    """
    shown = api.PLAIN
    if numbers is not None:
        red, green, blue = numbers
        shown = replace(
            shown,
            components=(abs(red) - 1, abs(green) - 1, abs(blue) - 1),
            flipped=(red < 0, green < 0, blue < 0),
        )
    if share is not None:
        shown = replace(shown, foreground=abs(share), inverted=share < 0)
    return shown


def component_numbers(shown: api.Colouring) -> tuple[int, int, int]:
    """The numbers from which :func:`colouring_of` makes the components."""
    red, green, blue = (
        -(number + 1) if flipped else number + 1
        for number, flipped in zip(shown.components, shown.flipped, strict=True)
    )
    return red, green, blue


def signed_share(shown: api.Colouring) -> float | None:
    """The share from which :func:`colouring_of` makes the foreground."""
    if shown.foreground is None:
        return None
    return -shown.foreground if shown.inverted else shown.foreground
