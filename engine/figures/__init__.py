"""Figures for papers and reports: what they show is plain data, one module draws it.

matplotlib is imported when the first figure is drawn, and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

from engine.figures.figure_content import Content, Paper
from engine.files import write_atomically

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")


def check_font(family: str) -> None:
    """Refuse a font that is not installed; the default one always is.

    Raises:
        ConfigError: there is no such font.
    """
    if family != Paper().font:
        from engine.figures.drawing import find_font

        find_font(family)


def render_figure(content: Content, suffix: str, paper: Paper | None = None) -> bytes:
    """The bytes of a file of this kind; the same content gives the same bytes.

    Args:
        content: what to show.
        suffix: one of :data:`FIGURE_SUFFIXES`; any other is taken for ``.png``.
        paper: size, font and theme; None for 17 cm, dark on white.

    Raises:
        ConfigError: the font is not installed.
    """
    from engine.figures.drawing import render

    kind = suffix.lower() if suffix.lower() in FIGURE_SUFFIXES else ".png"
    return render(content, kind, paper or Paper())


def write_figure(path: Path, content: Content, paper: Paper | None = None) -> None:
    """Draw a figure into a file, its kind by its suffix; see :func:`render_figure`.

    Raises:
        ConfigError: the font is not installed.
        OutputError: the file cannot be written.
    """
    write_atomically(path, render_figure(content, path.suffix, paper))
