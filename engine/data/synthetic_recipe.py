"""How pairs are made from photos: the settings, declared once.  Needs neither numpy nor torch.

A pair is one photo seen by two cameras, a and b, called its *sides*.  Each side has draws of its
own; what a recipe says holds for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.config import option


def _share(default: float, of: str) -> Any:
    """Declare a share of the pairs or sides, 0 to 1."""
    return option(default, help=f"share of {of}", low=0.0, high=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarpRecipe:
    """Geometry of the pairs; the defaults are the original's.

    A side shows a quadrilateral of the photo: the photo's own shape made smaller by ``scale``,
    turned, put somewhere inside the photo, and with each corner moved at random.  What lies outside
    the photo is black.
    """

    scale_low: float = option(
        0.9, help="a side shows at least this share of the photo's width", low=0.1, high=2.0
    )
    scale_high: float = option(
        1.0, help="a side shows at most this share of the photo's width", low=0.1, high=2.0
    )
    rotation_deg: float = option(
        7.5, help="each side is turned by up to this, either way", unit="deg", low=0.0, high=180.0
    )
    perspective: float = option(
        0.6, help="corners move by up to this share of a quarter of the sides", low=0.0, high=1.0
    )
    relative_octaves: float = option(
        0.0, help="one side shows things larger than the other by up to this many doublings",
        low=0.0, high=3.0,
    )  # fmt: skip
    relative_rotation_deg: float = option(
        0.0, help="the sides are turned against each other by up to this, besides their own turns",
        unit="deg", low=0.0, high=180.0,
    )  # fmt: skip
    relative_tilt_octaves: float = option(
        0.0, help="one side shows things longer along some line, against the line across it, by up "
        "to this many doublings more than the other",
        low=0.0, high=3.0,
    )  # fmt: skip
    detail: float = option(
        1.0, help="photos are kept at this multiple of the training size", low=0.5, high=4.0
    )
    supersampling: int = option(
        1, help="each pixel is the mean of this many samples a side, against aliasing",
        low=1, high=4,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRecipe:
    """What makes a pair more than a plane, see :mod:`engine.data.depth_scenes`; nothing by default.

    A ``…_share`` is the share of the pairs that have it; a pair may have several.
    """

    relief_share: float = _share(0.0, "pairs whose photo is laid over hills, boxes and roofs")
    relief: float = option(
        0.15, help="height of the relief, at most, of the photo's width", low=0.01, high=0.5
    )
    slant: float = option(
        0.5, help="cameras stand beside the photo by up to this share of their height above it",
        low=0.0, high=1.5,
    )  # fmt: skip
    patches_share: float = _share(0.0, "pairs with patches of another photo in front")
    patches: int = option(4, help="patches of such a pair, at most", low=1, high=16)
    patch_size: float = option(
        0.2, help="radius of a patch, at most, of the photo's width", low=0.05, high=0.35
    )
    motion: float = option(
        0.15, help="patches move by up to this between the sides, of the photo's width",
        low=0.0, high=1.0,
    )  # fmt: skip
    patch_turn_deg: float = option(
        25.0, help="patches turn by up to this between the sides, either way", unit="deg",
        low=0.0, high=180.0,
    )  # fmt: skip
    bend_share: float = _share(0.0, "pairs with one side bent like cloth")
    bend_px: float = option(
        10.0, help="bent pixels move by up to this", unit="px", low=0.0, high=40.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LightRecipe:
    """Photometric changes of the pairs; the defaults are the original's kinds.

    A ``…_share`` is the share of the sides that a change is applied to.
    """

    brightness: float = option(0.3, help="factor of up to 1 ± this", low=0.0, high=0.95)
    contrast: float = option(
        0.3, help="factor of up to 1 ± this about the mean", low=0.0, high=0.95
    )
    saturation: float = option(0.3, help="factor of up to 1 ± this", low=0.0, high=1.0)
    hue_deg: float = option(
        15.0, help="turn of the hue of up to this, either way", unit="deg", low=0.0, high=180.0
    )
    gamma_octaves: float = option(
        0.0, help="exponent of the brightness of up to 2 to ± this", low=0.0, high=3.0
    )
    blur_px: float = option(
        1.5, help="deviation of the blur, at most", unit="px", low=0.0, high=8.0
    )
    blur_share: float = _share(0.3, "sides that are blurred")
    motion_px: float = option(
        7.0, help="length of the motion blur, at most", unit="px", low=0.0, high=24.0
    )
    motion_share: float = _share(0.2, "sides with motion blur")
    noise: float = option(
        0.04, help="deviation of the noise, at most, of a full range of 1", low=0.0, high=0.5
    )
    noise_share: float = _share(0.5, "sides with noise")
    jpeg_quality: int = option(30, help="lowest quality of JPEG; the highest is 95", low=1, high=95)
    jpeg_share: float = _share(0.5, "sides that go through JPEG")
    local_light: float = option(
        0.0, help="deviation of a smooth field of light, in doublings", low=0.0, high=3.0
    )
    local_light_share: float = _share(0.0, "sides with such a field")
    shadow: float = option(
        0.0, help="how much a shadow takes away, at most, of 1", low=0.0, high=1.0
    )
    shadow_share: float = _share(0.0, "sides with a shadow")
    night_octaves: float = option(
        0.0, help="at night the sky gives less light by between half of and all of these doublings",
        low=0.0, high=12.0,
    )  # fmt: skip
    night_share: float = _share(0.0, "sides that are seen at night, by lamps")
    style: float = option(
        0.0, help="how much of the spectrum's amplitudes comes from another photo, at most, of 1",
        low=0.0, high=1.0,
    )  # fmt: skip
    style_share: float = _share(0.0, "sides with the texture of another photo")
    cover: float = option(
        0.0, help="how much snow, leaves or dirt hide of what they cover, at most, of 1",
        low=0.0, high=1.0,
    )  # fmt: skip
    cover_share: float = _share(0.0, "sides that are covered in places")
    curve: float = option(
        0.0, help="deviation of the tone curve, of a full range of 1; may fall as well as rise",
        low=0.0, high=0.5,
    )  # fmt: skip
    curve_share: float = _share(0.0, "sides with tone curves of their own, one a channel")
    inverted_share: float = _share(0.0, "sides that show bright as dark, as thermal cameras may")
