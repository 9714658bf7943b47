"""Finding texts by a few of their letters, and drawing them with these letters in bold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QFont, QPainter

from descgui.views.theme import theme_colors

_BASE_SCORE = 100
_WORD_START_BONUS = 12
_TEXT_START_BONUS = 6
_NEIGHBOUR_BONUS = 8
_GAP_COST = 1


@dataclass(frozen=True, slots=True)
class Match:
    """How well a text answers what was typed: the better the higher, and the letters that met."""

    score: int
    places: tuple[int, ...]


def fuzzy_match(typed: str, text: str) -> Match | None:
    """Find all typed letters in a text, in their order; spaces are free.

    Letters at the start of words and letters side by side count more, and so does a text with
    little else in it.

    Returns:
        None if a letter is missing.
    """
    wanted = [letter for letter in typed.casefold() if not letter.isspace()]
    folded = text.casefold()
    if len(folded) != len(text):  # a letter such as İ folds into two: places would be off
        folded = text.lower() if len(text.lower()) == len(text) else text
    # best[j]: the best way to place the letters so far with the last of them at j.
    best: dict[int, Match] = {-1: Match(_BASE_SCORE, ())}
    for letter in wanted:
        found: dict[int, Match] = {}
        for place, other in enumerate(folded):
            if other != letter:
                continue
            start = place == 0 or not folded[place - 1].isalnum()
            for last, before in best.items():
                if last >= place:
                    continue
                gained = _WORD_START_BONUS if start else 0
                gained += _TEXT_START_BONUS if place == 0 else 0
                if last >= 0:
                    near = place == last + 1
                    gained += _NEIGHBOUR_BONUS if near else -_GAP_COST * min(place - last, 10)
                score = before.score + gained
                if place not in found or score > found[place].score:
                    found[place] = Match(score, (*before.places, place))
        best = found
    if not best:
        return None
    top = max(best.values(), key=lambda match: match.score)
    return Match(top.score - len(text) // 8, top.places)


def paint_matched(
    painter: QPainter, room: QRect, text: str, places: Sequence[int], font: QFont
) -> int:
    """Draw a text, the letters at some places in bold, and cut it short where there is no room.

    Returns:
        The x at which the text ends.
    """
    bold = QFont(font)
    bold.setBold(True)
    painter.setPen(QColor(theme_colors().text))
    x = room.left()
    for place, letter in enumerate(text):
        painter.setFont(bold if place in places else font)
        advance = painter.fontMetrics().horizontalAdvance(letter)
        if x + 3 * advance > room.right() and place + 1 < len(text):
            letter = "…"
        where = QRect(x, room.top(), advance + 8, room.height())
        painter.drawText(where, int(Qt.AlignmentFlag.AlignVCenter), letter)
        x += advance
        if letter == "…":
            break
    return x
