"""Harder pairs made of known ones: the second image turned or zoomed, and the truth with it.

After the sets ER and ES of GIFT (Y. Liu and others, "GIFT: Learning Transformation-Invariant Dense
Visual Descriptors via Group CNNs", NeurIPS 2019).  The image is warped about its centre on an
unchanged canvas, so what leaves the canvas is cropped and what is missing is black: a resize to a
common size, which an evaluation does, therefore does not cancel the zoom.

How much a pair is changed depends on the names of the sequence and of the image alone.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from engine.geometry.homography import warp_image

StressKind = Literal["rotated", "scaled"]
STRESS_KINDS: Final[tuple[StressKind, ...]] = ("rotated", "scaled")

_LARGEST_ANGLE_DEG: Final = 180.0
_OCTAVES: Final = (1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Stress:
    """A turn and a zoom about an image's centre.

    Attributes:
        angle_deg: counter-clockwise as seen on the screen.
        scale: factor by which lengths grow.
    """

    angle_deg: float = 0.0
    scale: float = 1.0

    def matrix(self, size_px: tuple[int, int]) -> NDArray[np.float64]:
        """``(3, 3)`` ``h_stressed_from_image`` for an image of (width, height)."""
        centre_x, centre_y = (size_px[0] - 1) / 2, (size_px[1] - 1) / 2
        turn = math.radians(self.angle_deg)
        cosine, sine = self.scale * math.cos(turn), self.scale * math.sin(turn)
        # y points down, so counter-clockwise on the screen takes +x towards -y.
        return np.array(
            [
                [cosine, sine, centre_x - cosine * centre_x - sine * centre_y],
                [-sine, cosine, centre_y + sine * centre_x - cosine * centre_y],
                [0.0, 0.0, 1.0],
            ]
        )

    def apply(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The changed image: the same size and dtype, black where the image has no pixel.

        A zoom below 1 is preceded by the blur that keeps fine texture from turning into noise.

        Args:
            pixels: ``(H, W, 3)``; uint8, uint16 or float32.
        """
        height, width = pixels.shape[:2]
        if self.scale < 1:
            import cv2  # late, as in warp_image

            sigma_px = 0.5 * math.sqrt(1 / self.scale**2 - 1)
            pixels = np.asarray(
                cv2.GaussianBlur(pixels, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
            )
        return warp_image(pixels, self.matrix((width, height)), (width, height))


def stress_of(dataset: str, sequence: str, index: int) -> Stress | None:
    """The change of a pair of a data set by its name; None where it has no ``rotated:`` or such."""
    kind = next((kind for kind in STRESS_KINDS if dataset.startswith(f"{kind}:")), None)
    return None if kind is None else choose_stress(kind, sequence, index)


def choose_stress(kind: StressKind, sequence: str, index: int) -> Stress:
    """The change of one pair, always the same.

    Args:
        kind: ``rotated``, any angle from -180° to 180°, uniformly; ``scaled``, a zoom by 2^s with
            s between 1 and 2 or between -2 and -1, each half of the time.
        sequence: name of its sequence.
        index: number of its second image.
    """
    digest = hashlib.sha256(f"{kind} {sequence} {index}".encode()).digest()
    share, coin = int.from_bytes(digest[:6], "big") / 2**48, digest[6] % 2
    if kind == "rotated":
        return Stress(angle_deg=(2 * share - 1) * _LARGEST_ANGLE_DEG)
    octaves = _OCTAVES[0] + share * (_OCTAVES[1] - _OCTAVES[0])
    return Stress(scale=2.0 ** (octaves if coin else -octaves))
