"""Which models of transformers can be opened, and what is where inside them.

Of models that include a text part or a mask decoder, only the image encoder is described.  A new
kind is an entry of :data:`KINDS`, and a function where its parts are called as in no other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from engine.descriptors.families.backbone import Layer

Colours = tuple[tuple[float, float, float], tuple[float, float, float]]
_IMAGENET: Final[Colours] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP: Final[Colours] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
_HALF: Final[Colours] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the output of a layer is found.

    Attributes:
        layer: what is told of it.
        module: the module that gives it, by its name in the network.
        axes: of the output: ``(B, N, D)``, ``(B, H', W', D)`` or ``(B, D, H', W')``.
        item: of several maps that it gives, this one.
        attention: the module with the projections to query, key and value.
    """

    layer: Layer
    module: str
    axes: Literal["tokens", "NHWC", "NCHW"] = "tokens"
    item: int | None = None
    attention: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What is where in a network.

    Attributes:
        places: its layers, from the image to the end.
        multiple_px: see :class:`FeatureNetwork`.
        fixed_size_px: see :class:`FeatureNetwork`.
        prefix: tokens before those of the first row: class and registers.
        norm: the last normalisation, "" for none.
        normed: how many of the last layers it can be applied to.
        narrows: it can be built with few channels.
        call: what the network is called with beside the image.
    """

    places: tuple[Place, ...]
    multiple_px: int
    fixed_size_px: tuple[int, int] | None = None
    prefix: int = 0
    norm: str = ""
    normed: int = 0
    narrows: bool = False
    call: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of model.

    Attributes:
        model: the class of the image encoder.
        anatomy: what is where, by its config.
        colours: mean and deviation that published weights were trained with.
        options: of the class.
        inside: what stands before its tensors in the weights of a larger model that the library
            does not take apart itself.
    """

    model: str
    anatomy: Callable[[Any], Anatomy]
    colours: Colours = _IMAGENET
    options: Mapping[str, Any] = field(default_factory=dict)
    inside: str = ""


# ---- what is where -------------------------------------------------------------------------------


def _vit(
    blocks: str,
    norm: str,
    *,
    attention: str = "attention",
    prefix: int = 0,
    interpolate: bool = True,
) -> Callable[[Any], Anatomy]:
    """A plain vision transformer; ``prefix`` does not count registers."""

    def anatomy(config: Any) -> Anatomy:
        patch = _one_number(config.patch_size, "patches")
        if not hasattr(config, "rope_theta"):
            # A table of positions: transformers takes it for square wherever it resizes it.
            _one_number(config.image_size, "training images")
        places = tuple(
            Place(
                Layer(f"blocks.{number}", float(patch), int(config.hidden_size), facets=True),
                f"{blocks}.{number}",
                attention=f"{blocks}.{number}.{attention}",
            )
            for number in range(int(config.num_hidden_layers))
        )
        return Anatomy(
            places=places,
            multiple_px=patch,
            prefix=prefix + int(getattr(config, "num_register_tokens", 0)),
            norm=norm,
            normed=len(places),
            narrows=True,
            call={"interpolate_pos_encoding": True} if interpolate else {},
        )

    return anatomy


def _swin(config: Any) -> Anatomy:
    patch = _one_number(config.patch_size, "patches")
    if config.use_absolute_embeddings:
        _one_number(config.image_size, "training images")
    places = tuple(
        Place(
            Layer(f"stages.{number}", float(patch << number), int(config.embed_dim) << number),
            # Before cells are merged for the next stage, as in the library's SwinBackbone.
            f"encoder.layers.{number}.blocks.{depth - 1}",
        )
        for number, depth in enumerate(config.depths)
    )
    return Anatomy(
        places=places,
        multiple_px=patch << (len(places) - 1),
        norm="layernorm",
        normed=1,
        # Otherwise blocks shrink their windows to a small image, and leave them so.
        call={"interpolate_pos_encoding": True, "always_partition": True},
    )


def _convnext(stages: str, norm: str = "", first_px: str = "") -> Callable[[Any], Anatomy]:
    def anatomy(config: Any) -> Anatomy:
        first = _one_number(getattr(config, first_px), "patches") if first_px else 4
        places = tuple(
            Place(
                Layer(f"stages.{number}", float(first << number), int(dim)),
                f"{stages}.{number}",
                "NCHW",
            )
            for number, dim in enumerate(config.hidden_sizes)
        )
        return Anatomy(
            places=places,
            multiple_px=first << (len(places) - 1),
            norm=norm,
            normed=1 if norm else 0,
        )

    return anatomy


def _sam(config: Any) -> Anatomy:
    patch, size = int(config.patch_size), int(config.image_size)
    blocks = tuple(
        Place(
            Layer(f"blocks.{number}", float(patch), int(config.hidden_size)),
            f"vision_encoder.layers.{number}",
            "NHWC",
        )
        for number in range(int(config.num_hidden_layers))
    )
    neck = Place(
        Layer("neck", float(patch), int(config.output_channels)), "vision_encoder.neck", "NCHW"
    )
    return Anatomy(
        places=(*blocks, neck), multiple_px=patch, fixed_size_px=(size, size), narrows=True
    )


def _sam2(config: Any) -> Anatomy:
    hiera = config.backbone_config
    first = _one_number(hiera.patch_stride, "patches")
    halvings = int(hiera.num_query_pool_stages)
    strides = [first << min(number, halvings) for number in range(len(hiera.blocks_per_stage))]
    ends = [sum(hiera.blocks_per_stage[: number + 1]) - 1 for number in range(len(strides))]
    stages = tuple(
        Place(
            Layer(f"stages.{number}", float(stride), int(hiera.embed_dim_per_stage[number])),
            f"backbone.blocks.{ends[number]}",
            "NHWC",
        )
        for number, stride in enumerate(strides)
    )
    # The neck gives its maps from coarse to fine; SAM 2 uses the finest of them.
    levels = tuple(
        Place(
            Layer(f"fpn.{number}", float(strides[number]), int(config.fpn_hidden_size)),
            "neck",
            "NCHW",
            item=-(number + 1),
        )
        for number in range(int(config.num_feature_levels))
    )
    # Its table of positions is tiled by the windows of the first stage.
    tile_px = first * int(hiera.window_size_per_stage[0])
    return Anatomy(
        places=(*stages, *levels),
        multiple_px=math.lcm(tile_px, strides[-1]),
        narrows=True,
    )


KINDS: Final[Mapping[str, Kind]] = {
    "dinov2": Kind("Dinov2Model", _vit("encoder.layer", "layernorm", prefix=1, interpolate=False)),
    "dinov2_with_registers": Kind(
        "Dinov2WithRegistersModel",
        _vit("encoder.layer", "layernorm", prefix=1, interpolate=False),
    ),
    "dinov3_vit": Kind("DINOv3ViTModel", _vit("model.layer", "norm", prefix=1, interpolate=False)),
    "dinov3_convnext": Kind("DINOv3ConvNextModel", _convnext("model.stages", "layer_norm")),
    "siglip_vision_model": Kind(
        "SiglipVisionModel",
        _vit("encoder.layers", "post_layernorm", attention="self_attn"),
        _HALF,
    ),
    "clip_vision_model": Kind(
        "CLIPVisionModel",
        _vit("encoder.layers", "post_layernorm", attention="self_attn", prefix=1),
        _CLIP,
    ),
    "vit_mae": Kind("ViTMAEModel", _vit("layers", "layernorm", prefix=1)),
    "ijepa": Kind("IJepaModel", _vit("layers", "layernorm")),
    "vit": Kind(
        "ViTModel",
        _vit("layers", "layernorm", prefix=1),
        _HALF,
        {"add_pooling_layer": False},
    ),
    "swin": Kind("SwinModel", _swin, options={"add_pooling_layer": False}),
    "convnext": Kind("ConvNextModel", _convnext("encoder.stages", first_px="patch_size")),
    "convnextv2": Kind("ConvNextV2Model", _convnext("encoder.stages", first_px="patch_size")),
    "sam_vision_model": Kind("SamVisionModel", _sam),
    "sam2_vision_model": Kind("Sam2VisionModel", _sam2, inside="vision_encoder."),
}
# Larger models, and the kind of their ``vision_config``.
LARGER: Final[Mapping[str, str]] = {
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
    "sam": "sam_vision_model",
    "sam2": "sam2_vision_model",
    "sam2_video": "sam2_vision_model",
}
NAMES: Final = (*KINDS, *LARGER)


class Unfit(Exception):  # noqa: N818 - becomes a sentence where the name of the model is known
    """A model that cannot be opened; says why, as the rest of a sentence about it."""


def _one_number(sizes: Any, what: str) -> int:
    numbers = {int(one) for one in (sizes if isinstance(sizes, list | tuple) else [sizes])}
    if len(numbers) != 1:
        shown = " × ".join(str(one) for one in reversed(sizes))
        raise Unfit(f"has {what} of {shown} px; only square ones can be used")
    return numbers.pop()
