"""Training pairs made from photos: known homographies and photometric changes, a batch at once.

All is done in torch on the device that trains.  What is drawn depends on the pair's key alone, not
on the device, the batch it is in, or what was drawn before (see :mod:`engine.seeding`).

Points are never rounded: a point of image a and its true point in image b are carried by the very
homographies that drew the images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from engine.data.depth_scenes import chosen_pairs, draw_scene
from engine.data.synthetic_recipe import LightRecipe, SceneRecipe, WarpRecipe
from engine.geometry.batched import homography_from_corners, inside, warp_points
from engine.geometry.coords import CellGrid, Resize
from engine.geometry.sampling import warp_images
from engine.seeding import Draws
from engine.vocabulary import Side

_FLAT: Final = SceneRecipe()
_PIXELS: Final = CellGrid(1.0, 0.0)
_TRIED_POINTS: Final = 2  # times as many points are drawn, since some are seen on one side only
_LIGHT_CELLS: Final = (4, 5)
_COVER_CELLS: Final = (((5, 7), 0.7), ((20, 28), 0.6), ((60, 80), 0.4))  # and weights
_COVER_EDGE: Final = 0.15
_KNOTS: Final = 6  # of a tone curve
_SHARPEST_PX: Final = 0.3
_LAMPS: Final = 8
_DARKEST_SHADE: Final = 0.03  # cameras show as black what drowns in their noise
_DISPLAY_GAMMA: Final = 2.2  # what turns a file's values into light
_BLOCK: Final = 8  # of JPEG
_BEST_QUALITY: Final = 95
# ITU-T T.81, tables K.1 and K.2, row by row.
_LUMA_STEPS: Final = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_STEPS: Final = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 32),
)
# ITU-R BT.601: rows Y, Cb, Cr of R, G, B.
_YCC_FROM_RGB: Final = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPairs:
    """A batch of pairs with truth, on one device.

    Attributes:
        images_a, images_b: ``(B, 3, H, W)`` float32 RGB in [0, 1].
        points_a, points_b: ``(B, N, 2)`` float32 pixels (x, y); the n-th points show one thing.
        seen: ``(B, N)`` True where both points lie inside their images and on the photo; the
            others only pad the batch.
        h_b_from_a: ``(B, 3, 3)`` float64, of the photos' planes: all there is to a pair but where
            a scene stands on them; NaN where a pair is made of no photo.
    """

    images_a: Tensor
    images_b: Tensor
    points_a: Tensor
    points_b: Tensor
    seen: Tensor
    h_b_from_a: Tensor

    def __len__(self) -> int:
        return len(self.images_a)

    def chosen(self, order: Tensor) -> TrainingPairs:
        """The pairs at ``(C,)`` places of the batch, in this order."""
        return TrainingPairs(*(getattr(self, part.name)[order] for part in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[TrainingPairs]) -> TrainingPairs:
        """Several batches as one; images and points are as many in all of them."""
        return cls(*(torch.cat([getattr(one, part.name) for one in parts]) for part in fields(cls)))


@torch.no_grad()
def make_pairs(
    photos: Tensor,
    keys: list[int],
    *,
    size_px: tuple[int, int],
    points: int,
    warp: WarpRecipe,
    light: LightRecipe,
    scene: SceneRecipe = _FLAT,
    others: Tensor | None = None,
) -> TrainingPairs:
    """Make a pair of each photo.

    Args:
        photos: ``(B, 3, h, w)`` RGB in [0, 1], or uint8, on the device to compute on.
        keys: B numbers that decide all that is drawn.
        size_px: (width, height) of the images to make.
        points: N, how many points a pair gets.
        warp: geometry.
        light: photometric changes.
        scene: what is placed on the photos' planes.
        others: as ``photos``, what patches are cut out of and textures come from; needed where the
            scene has any patches.
    """
    pixels = _as_colours(photos)
    photo_size_px = (pixels.shape[3], pixels.shape[2])
    draws = Draws(keys, device=pixels.device)
    photo_from_a = draw_homographies(draws, "a", size_px, photo_size_px, warp)
    photo_from_b = draw_homographies(draws, "b", size_px, photo_size_px, warp)
    b_from_photo = torch.linalg.inv(photo_from_b)
    shown: dict[Side, Tensor] = {
        "a": _show(pixels, photo_from_a, size_px, warp),
        "b": _show(pixels, photo_from_b, size_px, warp),
    }
    h_b_from_a = b_from_photo @ photo_from_a
    drawn = draw_points(draws, points, size_px, photo_size_px, photo_from_a, h_b_from_a)
    chosen = chosen_pairs(draws, scene)
    if len(chosen):
        some = draws.part(chosen)
        made = draw_scene(
            some,
            {"a": photo_from_a[chosen], "b": photo_from_b[chosen]},
            photo_size_px=photo_size_px,
            size_px=size_px,
            recipe=scene,
        )
        cut_from = pixels if others is None else _as_colours(others)
        for side, images in shown.items():
            images[chosen] = made.show(side, pixels[chosen], cut_from[chosen], warp.supersampling)
        for whole, part in zip(
            drawn, _keep_seen(_try_points(some, points, size_px), points, made.carry), strict=True
        ):
            whole[chosen] = part
    images_a, images_b = (
        change_light(draws, side, images, light, others) for side, images in shown.items()
    )
    return TrainingPairs(images_a, images_b, *drawn, h_b_from_a)


def _as_colours(photos: Tensor) -> Tensor:
    return photos.float() / 255 if photos.dtype == torch.uint8 else photos.float()


def draw_homographies(
    draws: Draws,
    side: str,
    size_px: tuple[int, int],
    photo_size_px: tuple[int, int],
    warp: WarpRecipe,
) -> Tensor:
    """Draw what a side shows of its photo.

    Args:
        draws: of the pairs.
        side: ``a`` or ``b``.
        size_px: (width, height) of the side.
        photo_size_px: (width, height) of the photo.
        warp: what may be drawn.

    Returns:
        ``(B, 3, 3)`` float64 ``h_photo_from_side``.
    """
    sign = 0.5 if side == "a" else -0.5  # half of what differs between the sides falls to each
    octaves = draws.uniform("relative scale", low=-1, high=1) * warp.relative_octaves
    turn_deg = draws.uniform("relative turn", low=-1, high=1) * warp.relative_rotation_deg
    tilt_octaves = draws.uniform("relative tilt", low=0, high=1) * warp.relative_tilt_octaves
    along_deg = draws.uniform("tilted along", low=0, high=180)
    own_turn_deg = draws.uniform(f"{side} turn", low=-1, high=1) * warp.rotation_deg
    low, high = sorted((warp.scale_low, warp.scale_high))
    scale = draws.uniform(f"{side} scale", low=low, high=high) * torch.exp2(sign * octaves)
    turn = torch.deg2rad(own_turn_deg + sign * turn_deg).double()
    moved = draws.uniform(f"{side} corners", 4, 2, low=-1, high=1).double()
    place = draws.uniform(f"{side} place", 2, low=-1, high=1).double()

    unit = torch.tensor(
        [[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64, device=draws.device
    )
    low_px, high_px = zip(*(_PIXELS.span_px(edge) for edge in photo_size_px), strict=True)
    first, last = unit.new_tensor(low_px), unit.new_tensor(high_px)
    centre, half = (first + last) / 2, (last - first) / 2
    corners = (unit + 0.5 * warp.perspective * moved) * half * scale.double()[:, None, None]
    cosine, sine = turn.cos(), turn.sin()
    rotation = torch.stack([cosine, -sine, sine, cosine], dim=-1).view(-1, 2, 2)
    tilt = _stretch(torch.exp2(0.5 * sign * tilt_octaves), torch.deg2rad(along_deg))
    room = half * (1 - scale.double()[:, None]).clamp_min(0)
    shape = tilt.double() @ rotation
    quadrilateral = corners @ shape.transpose(1, 2) + (centre + room * place)[:, None]
    edges = [_PIXELS.span_px(edge) for edge in size_px]
    outline = unit.new_tensor(
        [[edges[0][int(x > 0)], edges[1][int(y > 0)]] for x, y in unit.tolist()]
    )
    return homography_from_corners(outline.expand(len(draws), 4, 2), quadrilateral)


def _stretch(growth: Tensor, along_rad: Tensor) -> Tensor:
    """``(B, 2, 2)`` maps that lengthen by ``growth`` along a line and shorten by it across."""
    along = torch.stack([along_rad.cos(), along_rad.sin()], dim=-1)
    projection = along[:, :, None] * along[:, None, :]
    across = torch.eye(2, device=growth.device) - projection
    return growth[:, None, None] * projection + across / growth[:, None, None]


def draw_points(
    draws: Draws,
    count: int,
    size_px: tuple[int, int],
    photo_size_px: tuple[int, int],
    photo_from_a: Tensor,
    h_b_from_a: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw points evenly over what both sides show.

    Args:
        draws: of the pairs.
        count: N.
        size_px: (width, height) of both sides.
        photo_size_px: (width, height) of the photo.
        photo_from_a: ``(B, 3, 3)``.
        h_b_from_a: ``(B, 3, 3)``.

    Returns:
        ``points_a``, ``points_b`` and ``seen`` as in :class:`TrainingPairs`.
    """

    def carry(tried_a: Tensor) -> tuple[Tensor, Tensor]:
        on_photo, photo_front = warp_points(photo_from_a, tried_a)
        tried_b, b_front = warp_points(h_b_from_a, tried_a)
        seen = photo_front & inside(on_photo, photo_size_px) & b_front & inside(tried_b, size_px)
        return tried_b, seen

    return _keep_seen(_try_points(draws, count, size_px), count, carry)


def _try_points(draws: Draws, count: int, size_px: tuple[int, int]) -> Tensor:
    """``(B, M, 2)`` float64 points of images a, more than are wanted."""
    high = torch.tensor([size_px[0] - 1, size_px[1] - 1], dtype=torch.float64, device=draws.device)
    # float64 throughout, so that seen says the same of a point as its rounded place does.
    tried = draws.uniform("points", _TRIED_POINTS * count, 2)
    return (tried.double() * high).float().double()


def _keep_seen(
    tried_a: Tensor, count: int, carry: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """The first points that both sides see, by what carries points to images b."""
    tried_b, seen = carry(tried_a)
    # Sorting is stable: the first seen points stay in the order they were drawn in.
    order = torch.sort((~seen).to(torch.uint8), dim=1, stable=True).indices[:, :count]
    places = order[..., None].expand(-1, -1, 2)
    points_a, points_b = tried_a.gather(1, places), tried_b.gather(1, places)
    kept = seen.gather(1, order)
    points_b = torch.where(kept[..., None], points_b, 0.0)
    return points_a.float(), points_b.float(), kept


def change_light(
    draws: Draws, side: str, images: Tensor, light: LightRecipe, others: Tensor | None = None
) -> Tensor:
    """Apply the photometric changes, in the order light has: scene, lens, sensor, file.

    Args:
        draws: of the pairs.
        side: ``a`` or ``b``.
        images: ``(B, 3, H, W)`` in [0, 1].
        light: what may be drawn.
        others: ``(B, 3, h, w)`` in [0, 1] or uint8, the photos that textures come from; without
            them there are none.

    Returns:
        As given, in [0, 1]; no pixel is moved.
    """
    if others is not None and light.style > 0 and light.style_share > 0:
        images = _mix_styles(draws, side, images, others, light)
    if light.cover > 0 and light.cover_share > 0:
        images = _cover(draws, side, images, light)
    if light.local_light > 0 and light.local_light_share > 0:
        images = images * _field_of_light(draws, side, images, light)
    if light.shadow > 0 and light.shadow_share > 0:
        images = images * _shadows(draws, side, images, light)
    images = _change_colours(draws, side, images, light)
    if light.night_octaves > 0 and light.night_share > 0:
        images = _night(draws, side, images, light)
    if light.curve > 0 and light.curve_share > 0:
        images = _through_curves(draws, side, images, light)
    if light.inverted_share > 0:
        inverted = draws.happens(f"{side} is inverted", light.inverted_share)
        images = torch.where(inverted[:, None, None, None], 1 - images, images)
    images = _blur(draws, side, images, light)
    if light.noise > 0 and light.noise_share > 0:
        noisy = draws.happens(f"{side} noise happens", light.noise_share).nonzero()[:, 0]
        some = draws.part(noisy)
        deviation = some.uniform(f"{side} noise", high=light.noise)
        grain = some.normal(f"{side} grain", *images.shape[1:])
        images = images.index_add(0, noisy, grain.mul_(deviation[:, None, None, None]))
    images = images.clamp(0, 1)
    coded = draws.happens(f"{side} jpeg happens", light.jpeg_share).nonzero()[:, 0]
    if len(coded):
        quality = draws.uniform(
            f"{side} quality", low=light.jpeg_quality, high=_BEST_QUALITY + 1
        ).floor()
        images = images.index_copy(0, coded, through_jpeg(images[coded], quality[coded]))
    return images


def through_jpeg(images: Tensor, quality: Tensor) -> Tensor:
    """What JPEG leaves of images: everything it does to them but the lossless coding.

    As the Independent JPEG Group's encoder by default: YCbCr, colour at half size both ways,
    8 × 8 cosine transform, the tables of ITU-T T.81's annex K scaled by the quality, rounding.
    Colour is enlarged back bilinearly, and values are not rounded to 8 bit in between.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1].
        quality: ``(B,)`` 1 to 100.

    Returns:
        As given, in [0, 1].
    """
    height, width = images.shape[2:]
    edge = 2 * _BLOCK
    padded = functional.pad(images, (0, -width % edge, 0, -height % edge), mode="replicate")
    to_ycc = images.new_tensor(_YCC_FROM_RGB)
    ycc = torch.einsum("kc,bchw->bkhw", to_ycc, padded * 255)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    luma = _quantise(ycc[:, :1] - 128, _steps(images, _LUMA_STEPS, scale)) + 128
    small = functional.avg_pool2d(ycc[:, 1:], 2)
    chroma = functional.interpolate(
        _quantise(small, _steps(images, _CHROMA_STEPS, scale)),
        scale_factor=2.0,
        mode="bilinear",
        align_corners=False,
    )
    coded = torch.cat([luma, chroma], dim=1)[:, :, :height, :width]
    return (torch.einsum("ck,bkhw->bchw", torch.linalg.inv(to_ycc), coded) / 255).clamp(0, 1)


def _show(
    photos: Tensor, photo_from_side: Tensor, size_px: tuple[int, int], warp: WarpRecipe
) -> Tensor:
    """The photos as a side's camera sees them."""
    side_from_photo = torch.linalg.inv(photo_from_side)
    factor = warp.supersampling
    if factor == 1:
        return warp_images(photos, side_from_photo, size_px)
    fine_size_px = (size_px[0] * factor, size_px[1] * factor)
    finer = torch.from_numpy(Resize(size_px, fine_size_px).matrix()).to(side_from_photo)
    return functional.avg_pool2d(warp_images(photos, finer @ side_from_photo, fine_size_px), factor)


def _mix_styles(
    draws: Draws, side: str, images: Tensor, others: Tensor, light: LightRecipe
) -> Tensor:
    """Some of the images with amplitudes of their spectrum taken from another photo.

    Phases stay, and with them where things are (Xu and others, "A Fourier-based Framework for
    Domain Generalization", CVPR 2021).
    """
    chosen = draws.happens(f"{side} style happens", light.style_share).nonzero()[:, 0]
    if len(chosen) == 0:
        return images
    size = images.shape[2:]
    style = functional.interpolate(
        _as_colours(others[chosen]), size=size, mode="bilinear", antialias=True
    )
    taken = draws.part(chosen).uniform(f"{side} style", 1, 1, 1, high=light.style)
    spectrum = torch.fft.rfft2(images[chosen])
    amplitude = torch.lerp(spectrum.abs(), torch.fft.rfft2(style).abs(), taken)
    mixed = torch.fft.irfft2(torch.polar(amplitude, spectrum.angle()), s=size)
    return images.index_copy(0, chosen, mixed.clamp(0, 1))


def _cover(draws: Draws, side: str, images: Tensor, light: LightRecipe) -> Tensor:
    """Some of the images covered in places with one shade, as snow, leaves and dirt do."""
    chosen = draws.happens(f"{side} cover happens", light.cover_share).nonzero()[:, 0]
    some = draws.part(chosen)
    field: Tensor | float = 0.0
    for cells, weight in _COVER_CELLS:
        coarse = some.normal(f"{side} cover {cells}", 1, *cells) * weight
        field = field + functional.interpolate(coarse, size=images.shape[2:], mode="bicubic")
    bare = some.uniform(f"{side} cover bare", 1, 1, 1, low=-0.5, high=1.5)
    lost = some.uniform(f"{side} cover lost", 1, 1, 1, high=light.cover)
    lost = lost * torch.sigmoid((field - bare) / _COVER_EDGE)
    shade = some.uniform(f"{side} cover shade", 3, 1, 1, high=0.2)
    shade = shade + some.uniform(f"{side} cover brightness", 1, 1, 1, high=0.8)
    return images.index_copy(0, chosen, torch.lerp(images[chosen], shade, lost))


def _through_curves(draws: Draws, side: str, images: Tensor, light: LightRecipe) -> Tensor:
    """Some of the images with the values of each channel put on a curve of straight pieces."""
    chosen = draws.happens(f"{side} curve happens", light.curve_share).nonzero()[:, 0]
    some = draws.part(chosen)
    knots = some.normal(f"{side} curve", 1, _KNOTS) + 0.5 * some.normal(f"{side} curves", 3, _KNOTS)
    knots = torch.linspace(0, 1, _KNOTS, device=images.device) + light.curve * knots
    along = images[chosen].flatten(2) * (_KNOTS - 1)
    below = along.floor().clamp_max(_KNOTS - 2)
    first = below.long()
    values = torch.lerp(knots.gather(2, first), knots.gather(2, first + 1), along - below)
    return images.index_copy(0, chosen, values.clamp(0, 1).view(-1, *images.shape[1:]))


def _field_of_light(draws: Draws, side: str, images: Tensor, light: LightRecipe) -> Tensor:
    """``(B, 1, H, W)`` factors that change smoothly over the image."""
    lit = draws.happens(f"{side} light happens", light.local_light_share)
    octaves = draws.normal(f"{side} light", 1, *_LIGHT_CELLS) * light.local_light
    octaves = octaves * lit[:, None, None, None]
    smooth = functional.interpolate(
        octaves, size=images.shape[2:], mode="bicubic", align_corners=False
    )
    return torch.exp2(smooth)


def _shadows(draws: Draws, side: str, images: Tensor, light: LightRecipe) -> Tensor:
    """``(B, 1, H, W)`` factors: darker where two half planes with soft edges meet."""
    height, width = images.shape[2:]
    xs = torch.linspace(-1, 1, width, device=images.device)
    ys = torch.linspace(-1, 1, height, device=images.device)[:, None]
    covered: Tensor | float = 1.0
    for number in (1, 2):
        turn = draws.uniform(f"{side} shadow turn {number}", 1, 1, high=2 * math.pi)
        reach = draws.uniform(f"{side} shadow reach {number}", 1, 1, low=-0.6, high=0.8)
        softness = draws.uniform(f"{side} shadow edge {number}", 1, 1, low=0.01, high=0.15)
        covered = covered * torch.sigmoid((reach + turn.cos() * xs + turn.sin() * ys) / softness)
    depth = draws.uniform(f"{side} shadow", high=light.shadow)
    depth = depth * draws.happens(f"{side} shadow happens", light.shadow_share)
    return (1 - depth[:, None, None] * covered)[:, None]


def _night(draws: Draws, side: str, images: Tensor, light: LightRecipe) -> Tensor:
    """Some of the images by night: a dark sky's light, lamps, and no more than 8 bits a channel.

    What no lamp reaches is left with a few shades or none, and a lamp itself glares.
    """
    chosen = draws.happens(f"{side} night happens", light.night_share).nonzero()[:, 0]
    if len(chosen) == 0:
        return images
    some, day = draws.part(chosen), images[chosen]
    height, width = images.shape[2:]
    xs = torch.linspace(0, width / height, width, device=images.device)
    ys = torch.linspace(0, 1, height, device=images.device)[:, None]
    sky = torch.exp2(-some.uniform(f"{side} sky", 1, 1, 1, low=0.5, high=1) * light.night_octaves)
    lit = sky.expand(-1, 3, height, width)
    glare = torch.zeros_like(day)
    for number in range(_LAMPS):
        name = f"{side} lamp {number}"
        place = some.uniform(f"{name} place", 2, 1, 1, low=-0.1, high=1.1)
        reach = 2 ** some.uniform(f"{name} reach", 1, 1, low=-6, high=-2)
        power = 2 ** some.uniform(f"{name} power", 1, 1, low=-4, high=1)
        power = power * some.happens(f"{name} is on", 0.6)[:, None, None]
        # Coloured lamps show some things bright that were dark by day, and the other way round.
        colour = 2 ** some.uniform(f"{name} colour", 3, 1, 1, low=-3, high=0)
        away = ((xs - place[:, 0] * width / height) / reach).square()
        away = away + ((ys - place[:, 1]) / reach).square()
        falloff = (power / (1 + away))[:, None]
        lit = lit + colour * falloff
        # The bulb itself: a sixth of its reach across, far brighter than what it shows.
        glare = glare + colour * 4 * (power / (1 + 40 * away).square())[:, None]
    seen = (day**_DISPLAY_GAMMA * lit + glare).clamp(0, 1) ** (1 / _DISPLAY_GAMMA)
    black = some.uniform(f"{side} black", 1, 1, 1, high=_DARKEST_SHADE)
    return images.index_copy(0, chosen, ((seen - black).clamp_min(0) * 255).round() / 255)


def _change_colours(draws: Draws, side: str, images: Tensor, light: LightRecipe) -> Tensor:
    """Brightness, contrast, saturation and hue as one linear map of the colours; then gamma."""

    def factor(name: str, amount: float) -> Tensor:
        return 1 + draws.uniform(f"{side} {name}", low=-1, high=1) * amount

    brightness, contrast = (
        factor("brightness", light.brightness),
        factor("contrast", light.contrast),
    )
    saturation = factor("saturation", light.saturation)
    turn = torch.deg2rad(draws.uniform(f"{side} hue", low=-1, high=1) * light.hue_deg)
    zero, one = torch.zeros_like(turn), torch.ones_like(turn)
    cosine, sine = saturation * turn.cos(), saturation * turn.sin()
    in_ycc = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], dim=-1)
    to_ycc = images.new_tensor(_YCC_FROM_RGB)
    change = torch.linalg.inv(to_ycc) @ in_ycc.view(-1, 3, 3) @ to_ycc
    change = change * (brightness * contrast)[:, None, None]
    mean = (to_ycc[0] @ images.flatten(2)).mean(dim=1)
    lift = brightness * (1 - contrast) * mean
    changed = torch.einsum("bkc,bchw->bkhw", change, images) + lift[:, None, None, None]
    changed = changed.clamp_(0, 1)
    if light.gamma_octaves > 0:
        octaves = draws.uniform(f"{side} gamma", low=-1, high=1) * light.gamma_octaves
        changed = changed ** torch.exp2(octaves)[:, None, None, None]
    return changed


def _blur(draws: Draws, side: str, images: Tensor, light: LightRecipe) -> Tensor:
    """Blur some of the images, each by a kernel of its own: a Gaussian drawn along a line."""
    blurred = draws.happens(f"{side} blur happens", light.blur_share)
    moving = draws.happens(f"{side} motion happens", light.motion_share)
    deviation = draws.uniform(f"{side} blur", high=light.blur_px) * blurred
    length = draws.uniform(f"{side} motion", high=light.motion_px) * moving
    turn = draws.uniform(f"{side} motion turn", high=math.pi)
    chosen = ((deviation > 0) | (length > 0)).nonzero()[:, 0]
    if len(chosen) == 0:
        return images
    reach = math.ceil(2.5 * light.blur_px + light.motion_px / 2)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32, device=images.device)
    along = torch.linspace(-0.5, 0.5, 2 * reach + 1, device=images.device)
    path = length[chosen, None] * along  # (C, T) places on the line
    sharp = deviation[chosen].clamp_min(_SHARPEST_PX)[:, None, None]
    weight_x, weight_y = (
        torch.exp(-0.5 * ((offsets - (path * way[:, None])[..., None]) / sharp) ** 2)
        for way in (turn[chosen].cos(), turn[chosen].sin())
    )
    kernels = weight_y.transpose(1, 2) @ weight_x  # (C, y, x): the sum over the line
    kernels = kernels / kernels.sum(dim=(1, 2), keepdim=True)
    channels = images.shape[1]
    stacked = functional.pad(images[chosen], (reach,) * 4, mode="replicate")
    filtered = functional.conv2d(
        stacked.flatten(0, 1)[None],
        kernels.repeat_interleave(channels, dim=0)[:, None],
        groups=len(chosen) * channels,
    )
    return images.index_copy(0, chosen, filtered.view(-1, *images.shape[1:]))


def _quantise(planes: Tensor, steps: Tensor) -> Tensor:
    """Round the cosine coefficients of 8 × 8 blocks to multiples of ``(B, 8, 8)`` steps."""
    batch, channels, height, width = planes.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    blocks = planes.reshape(batch, channels, rows, _BLOCK, columns, _BLOCK).transpose(3, 4)
    # The orthonormal 8 × 8 cosine transform (type II).
    places = torch.arange(_BLOCK, dtype=planes.dtype, device=planes.device)
    basis = torch.cos(math.pi / _BLOCK * (places + places.new_tensor(0.5)) * places[:, None])
    basis[0] /= math.sqrt(2)
    basis *= math.sqrt(2 / _BLOCK)
    step = steps[:, None, None, None]
    coefficients = ((basis @ blocks @ basis.T) / step).round() * step
    restored = basis.T @ coefficients @ basis
    return restored.transpose(3, 4).reshape(batch, channels, height, width)


def _steps(like: Tensor, table: tuple[int, ...], scale: Tensor) -> Tensor:
    base = like.new_tensor(table).view(1, _BLOCK, _BLOCK)
    return ((base * scale[:, None, None] + 50) / 100).floor().clamp(1, 255)
