"""How far the vote of a pair can be trusted: the probability that its winner is right.

A vote always has a winner, also between images that have nothing in common.  What tells a right
winner from a lucky one is how many points agree beyond chance, how many do once members were fitted
around the winner, and how far the best member that contradicts it is behind.  The probability is a
logistic regression of these, fitted by ``python -m benchmarks.vote`` to pairs with a known answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

# See docs/EXPERIMENTS.md, "A vote that knows".
_WEIGHTS: Final = (-14.870, 3.731, 3.333, 0.173)


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What speaks for the winner of a vote, in points.

    Attributes:
        agreeing: those that agree about the winner.
        chance: those that would if the two images had nothing in common.
        fitted: those that agree about the best member that was fitted around the winner; as
            ``agreeing`` where none was.
        rival: those that agree, beyond chance, about the best member that contradicts the winner.
        luck: by this factor ``fitted`` is larger than where the weights were fitted, because more
            members were tried.
    """

    agreeing: float
    chance: float
    fitted: float
    rival: float
    luck: float = 1.0

    @property
    def features(self) -> tuple[float, ...]:
        """What the probability depends on."""
        beyond = self.agreeing - self.chance
        return (
            math.log((self.agreeing + 1) / (self.chance + 1)),
            math.log(self.fitted / self.luck + 1),
            math.log((max(0.0, beyond) + 1) / (self.rival + 1)),
        )

    @property
    def right(self) -> float:
        """The probability that the winner is right: its turn within 26°, its scale within 1.5."""
        first, *others = _WEIGHTS
        score = first + sum(w * x for w, x in zip(others, self.features, strict=True))
        return 1 / (1 + math.exp(-score))

    def in_words(self) -> str:
        """The numbers that tell most."""
        counted = f"{self.fitted:.0f} points agree, {self.chance:.0f} by chance"
        return f"{counted}; right with a probability of {100 * self.right:.0f} %"
