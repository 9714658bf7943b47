"""Networks in files: what is asked of a file that holds a network with its weights.

Such a file tells little: how its input is laid out, if it keeps numbers of it, and what its outputs
are called.  The rest is found by running it: which sizes of images it takes, which of its outputs
are maps, how far their cells are apart, and how many tokens precede those of an image.  What cannot
be found is a setting.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor

from engine.config import option
from engine.descriptors.base import ExpectedInput
from engine.descriptors.families.backbone import (
    BackboneConfig,
    BackboneDescriptor,
    Facet,
    FeatureNetwork,
    Layer,
    MapConfig,
)
from engine.descriptors.families.network_files import reason_of
from engine.descriptors.model_names import ModelName
from engine.errors import ConfigError, DescSpaceError
from engine.progress import tell_choice
from engine.weight_titles import WEIGHTS_IN_FILE

Layout = Literal["NCHW", "NHWC"]
Shape = tuple[int | None, ...]
Shapes = tuple[tuple[int, ...] | None, ...]
"""Of all outputs; None for one that holds no real numbers."""

_LAYOUTS: Final[tuple[Layout, ...]] = ("NCHW", "NHWC")
_COLOURS: Final = 3
_TRIED_MULTIPLES: Final = (1, 2, 4, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64)
_LARGEST_MULTIPLE: Final = 256
_TRIED_SQUARES_PX: Final = (224, 256, 384, 448, 512, 518, 640, 1024)
_TRIED_EDGE_PX: Final = 150
_LARGER_PX: Final = 224  # divided by all usual strides
_MOST_PREFIX_TOKENS: Final = 16
_MOST_PX: Final = 1 << 20  # of the images of one pass: attention takes gigabytes for many
_NEAR: Final = 1e-3
_MEANS_AND_DEVIATIONS: Final = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5,) * 3, (0.5,) * 3),
    "none": ((0.0,) * 3, (1.0,) * 3),
    "0-255": ((0.0,) * 3, (1.0,) * 3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileConfig(MapConfig):
    """Settings of every network that is opened from a file of its own."""

    values: Literal["auto", "imagenet", "clip", "half", "none", "0-255"] = option(
        "auto",
        help="range of colours the network expects: (x - mean) / std of ImageNet, of CLIP or with "
        "0.5, values from 0 to 1 (none), or from 0 to 255; auto: ImageNet's, or 0-255 where the "
        "network takes whole numbers",
    )
    mean: tuple[float, float, float] | None = option(
        None,
        help="subtracted from colours in place of the mean above; between 0 and 255 with 0-255, "
        "else between 0 and 1",
        metavar="MEAN,MEAN,MEAN",
    )
    std: tuple[float, float, float] | None = option(
        None,
        help="divides colours in place of the deviation above",
        metavar="STD,STD,STD",
        low=1e-6,
    )
    channels: Literal["RGB", "BGR"] = option(
        "RGB", help="order of colours that the network expects, and of mean and std"
    )
    layout: Literal["auto", "NCHW", "NHWC"] = option(
        "auto", help="axes of the network's input; auto: by the place of the 3 colours"
    )
    prefix_tokens: int | None = option(
        None, help="tokens before those of the image; none: found by arithmetic", low=0
    )


@dataclass(frozen=True, slots=True)
class Output:
    """An output that describes places of the image.

    Attributes:
        number: among all outputs.
        name: as in the file.
        kind: its axes: ``(B, D, H', W')``, ``(B, H', W', D)`` or ``(B, N, D)``.
        stride_px: distance of its cells, about.
        dim: length of its vectors.
        prefix: tokens before those of the image.
    """

    number: int
    name: str
    kind: Literal["map", "channels last", "tokens"]
    stride_px: float
    dim: int
    prefix: int = 0


class FileNetwork(FeatureNetwork):
    """A network that is a file, with those of its outputs that are maps.

    A family reads the file, then calls :meth:`_examine`.

    Args:
        file: holds the network and its weights.
        config: settings.
    """

    file_sha256: Tensor
    trained = True  # which a file does not tell

    def __init__(self, file: Path, config: FileConfig) -> None:
        super().__init__()
        self.file = file
        self.config = config
        self._layout: Layout = "NCHW"
        self._batch: int | None = None
        self._dtype = torch.float32
        self._names: list[str] = []
        self._outputs: tuple[Output, ...] = ()

    @abstractmethod
    def _run(self, inputs: Tensor, wanted: Sequence[int] | None) -> Sequence[Tensor | None]:
        """Outputs for inputs of the layout, batch and kind of numbers that the file takes.

        All of them for None; then ``_names`` holds their names.  Outputs that are no tensors of
        real numbers are None.  Raises whatever the library does.
        """

    def features(
        self,
        inputs: Tensor,
        layers: Sequence[int],
        *,
        facet: Facet,  # noqa: ARG002 - an output has no parts
        norm: bool,  # noqa: ARG002
    ) -> tuple[Tensor, ...]:
        """See the base class.

        Raises:
            DescSpaceError: the network does not compute an image of this size.
        """
        outputs = [self._outputs[layer] for layer in layers]
        height, width = inputs.shape[2:]
        try:
            found = self._compute(inputs, [one.number for one in outputs])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of whatever library computes
            raise DescSpaceError(
                f"{self.file} cannot describe an image of {width} × {height} px: "
                f"{reason_of(error)}."
            ) from error
        maps = []
        for output, values in zip(outputs, found, strict=True):
            one = None if values is None else as_map(values, output, (height, width))
            if one is None:
                raise DescSpaceError(
                    f"{self.file}: its output {output.name} is no map for an image of {width} × "
                    f"{height} px."
                )
            maps.append(one)
        return tuple(maps)

    @property
    def whole_numbers(self) -> bool:
        """Whether it takes colours as whole numbers from 0 to 255."""
        return not self._dtype.is_floating_point

    # ---- what the file takes and gives ---------------------------------------------------------

    def _remember(self, sha256: bytes) -> None:
        """Keep what the file holds: part of what is looked at where results have to be the same."""
        self.register_buffer(
            "file_sha256", torch.frombuffer(bytearray(sha256), dtype=torch.uint8), persistent=False
        )

    def _examine(self, shape: Shape | None, dtype: torch.dtype) -> None:
        """Find out what the network takes and gives.

        Args:
            shape: of its input, None for what may vary; None where nothing is known.
            dtype: of its input.

        Raises:
            DescSpaceError: it takes no images, or gives no map.
            ConfigError: a setting is needed, or does not fit.
        """
        self._dtype = dtype
        self.expects = expected_input(self.config, whole_numbers=self.whole_numbers)
        layouts = self._layouts(shape)
        fault: DescSpaceError | None = None
        for layout in layouts:
            self._layout = layout
            sides: Shape = (None, None)
            if shape is not None:
                self._batch = shape[0]
                sides = shape[2:] if layout == "NCHW" else shape[1:3]
            try:
                self._find_outputs(sides)
                break
            except _DoesNotRunError as error:
                fault = fault or error
        else:
            assert fault is not None
            raise DescSpaceError(str(fault)) from fault.__cause__
        if self._batch is None and not self._takes_several():
            self._batch = 1
        self.layers = tuple(
            Layer(name, one.stride_px, one.dim)
            for name, one in zip(_layer_names(self._outputs), self._outputs, strict=True)
        )
        digest = bytes(self.file_sha256.tolist()).hex()[:16]
        prefix = ",".join(str(one.prefix) for one in self._outputs)
        self.architecture = f"{self.file.name} ({digest}, {self._layout}, {prefix})"

    def _layouts(self, shape: Shape | None) -> Sequence[Layout]:
        """The layouts that the input may have, in the order in which to try them."""
        wanted = self.config.layout
        if shape is None:
            return _LAYOUTS if wanted == "auto" else (wanted,)
        shown = _shown(shape)
        if len(shape) != 4:
            raise DescSpaceError(f"{self.file} takes no images: its input has the shape {shown}.")
        colours: dict[Layout, int | None] = {"NCHW": shape[1], "NHWC": shape[3]}
        if wanted != "auto":
            # Also where the other layout is certain, and its axis of colours would be a side.
            if colours[wanted] != _COLOURS and any(colours.values()):
                raise ConfigError(
                    "layout",
                    f"the input of {self.file} has the shape {shown}, so as {wanted} it does not "
                    f"take {_COLOURS} colours",
                )
            return (wanted,)
        certain = [layout for layout in _LAYOUTS if colours[layout] == _COLOURS]
        if len(certain) > 1:
            tell_choice(
                f"{self.file}: its input has the shape {shown} and is taken as NCHW; the setting "
                "layout says otherwise."
            )
        if certain:
            return certain[:1]
        if any(colours.values()):
            raise DescSpaceError(
                f"{self.file} takes no colour images: its input has the shape {shown}, and no axis "
                f"of {_COLOURS} channels."
            )
        return _LAYOUTS

    def _find_outputs(self, sides: Shape) -> None:
        """Find the sizes of images, and the outputs that are maps of them."""
        height, width = sides
        if height or width:
            size = (height or width or 0, width or height or 0)
            self._set_fixed(size, self._shapes(size))
            return
        try:
            self._find_multiple()
        except _DoesNotRunError as error:
            for edge_px in _TRIED_SQUARES_PX:
                try:
                    shapes = self._shapes((edge_px, edge_px))
                except _DoesNotRunError:
                    continue
                self._set_fixed((edge_px, edge_px), shapes)
                return
            raise error from error.__cause__

    def _find_multiple(self) -> None:
        """Find the smallest number that sides have to be multiples of: all strides divide it."""
        fault, runs = None, False
        waiting = list(_TRIED_MULTIPLES)
        while waiting:
            multiple = waiting.pop(0)
            # Not square, and odd multiples, so that no smaller number is found by chance.
            times = math.ceil(_TRIED_EDGE_PX / multiple) | 1
            first = (times * multiple, (times + 2) * multiple)
            more = math.lcm(multiple, _LARGER_PX)
            second = (first[0] + more, first[1] + more)
            try:
                shapes = [self._shapes(size) for size in (first, second)]
            except _DoesNotRunError as error:
                fault = fault or error
                continue
            runs = True
            found = free_outputs(
                self._names, shapes, (first, second), prefix_tokens=self.config.prefix_tokens
            )
            if not found:
                self._no_map(shapes[0])
            strides = [one.stride_px for one in found]
            if all(_whole(multiple / one) for one in strides):
                self.multiple_px = multiple
                self._outputs = found
                return
            if all(_whole(one) for one in strides):
                period = math.lcm(*(round(one) for one in strides))
                if period <= _LARGEST_MULTIPLE:
                    waiting = sorted(
                        {one for one in waiting if one % period == 0}
                        | {period * times for times in (1, 2, 4) if period * times > multiple}
                    )
        if fault is not None and not runs:
            raise fault
        raise DescSpaceError(f"{self.file}: its cells divide no size of images evenly.")

    def _set_fixed(self, size: tuple[int, int], shapes: Shapes) -> None:
        self.fixed_size_px = (size[1], size[0])
        found, doubtful = fixed_outputs(
            self._names, shapes, size, layout=self._layout, prefix_tokens=self.config.prefix_tokens
        )
        if not found:
            if doubtful:
                raise ConfigError("prefix_tokens", f"{self.file}: {doubtful[0]}")
            self._no_map(shapes)
        for sentence in doubtful:
            tell_choice(f"{self.file}: {sentence}.")
        self._outputs = found
        self.multiple_px = math.ceil(max(one.stride_px for one in found))

    def _takes_several(self) -> bool:
        """Whether several images at once give several maps: a size of 1 may be written inside."""
        width, height = self.fixed_size_px or (2 * self.multiple_px, 2 * self.multiple_px)
        try:
            shapes = self._shapes((height, width), count=2)
        except _DoesNotRunError:
            return False
        return all((shapes[one.number] or (0,))[0] == 2 for one in self._outputs)

    def _no_map(self, shapes: Shapes) -> None:
        shown = ", ".join(
            f"{name} {_shown(shape) if shape is not None else 'without real numbers'}"
            for name, shape in zip(self._names, shapes, strict=True)
        )
        raise DescSpaceError(f"{self.file}: none of its outputs is a map of an image: {shown}.")

    def _shapes(self, size: tuple[int, int], count: int = 1) -> Shapes:
        """The shapes of all outputs for images of (height, width)."""
        height, width = size
        try:
            with torch.inference_mode():
                images = self.file_sha256.new_zeros(count, _COLOURS, height, width).float()
                found = self._compute(images, None)
        except Exception as error:  # of whatever library computes
            raise _DoesNotRunError(
                f"{self.file} gives nothing for an image of {width} × {height} px: "
                f"{reason_of(error)}."
            ) from error
        return tuple(None if one is None else tuple(one.shape) for one in found)

    def _compute(self, images: Tensor, wanted: Sequence[int] | None) -> list[Tensor | None]:
        """Outputs for ``(B, 3, H, W)`` images of the values that the network expects."""
        inputs = images if self._layout == "NCHW" else images.permute(0, 2, 3, 1)
        if self.whole_numbers:
            inputs = inputs.round().clamp(0, 255)
        inputs = inputs.to(self._dtype)
        count = len(inputs)
        batch = self._batch or max(1, _MOST_PX // (images.shape[2] * images.shape[3]))
        short = -count % batch if self._batch else 0
        padded = torch.cat([inputs, inputs[-1:].expand(short, -1, -1, -1)]) if short else inputs
        parts = [self._run(part, wanted) for part in torch.split(padded, batch)]
        joined: list[Tensor | None] = []
        for several in zip(*parts, strict=True):
            tensors = [one for one in map(_real, several) if one is not None]
            whole = len(tensors) == len(parts)
            joined.append(torch.cat(tensors)[:count] if whole else None)
        return joined


class _DoesNotRunError(DescSpaceError):
    """The network does not compute an image of the size that was tried."""


def expected_input(config: FileConfig, *, whole_numbers: bool) -> ExpectedInput:
    """The colours that settings say the network expects.

    Args:
        config: the settings.
        whole_numbers: the network takes whole numbers, which are 0 to 255.

    Raises:
        ConfigError: it takes whole numbers, and the settings demand others.
    """
    values = config.values
    if values == "auto":
        values = "0-255" if whole_numbers else "imagenet"
    if whole_numbers and (values != "0-255" or config.mean or config.std):
        raise ConfigError("values", "the network takes whole numbers, which can only be 0-255")
    mean, std = _MEANS_AND_DEVIATIONS[values]
    if config.channels == "BGR":
        mean, std = mean[::-1], std[::-1]
    mean, std = config.mean or mean, config.std or std
    scale = 255.0 if values == "0-255" else 1.0
    red, green, blue = (one / scale for one in mean)
    wide_red, wide_green, wide_blue = (one / scale for one in std)
    return ExpectedInput(
        (red, green, blue), (wide_red, wide_green, wide_blue), channels=config.channels
    )


def build_from_file(
    name: ModelName, config: FileConfig, read: Callable[[Path, FileConfig], FileNetwork]
) -> BackboneDescriptor:
    """The descriptor of a network in a file; tells what the file and the settings leave open.

    Args:
        name: names the file.
        config: settings.
        read: opens it.

    Raises:
        ConfigError: no file is named, there is no such output, or a setting does not fit it.
        WeightsError: the file cannot be used.
        DescSpaceError: the network takes no images, gives no map, or its cells lie nowhere.
    """
    if name.file is None:
        raise ConfigError("descriptor", f"{name} names no file")
    network = read(name.file, config)
    guessed = config.values == "auto" and not (config.mean and config.std)
    if guessed and not network.whole_numbers:
        tell_choice(
            f"{network.file} does not say which colours it expects; those of ImageNet are taken "
            "(settings values, mean, std)."
        )
    names = [layer.name for layer in network.layers]
    if not name.layers and len(names) > 1:
        tell_choice(
            f"{network.file} has {len(names)} maps; the last one, {names[-1]}, is taken. Others "
            f"are named behind an @: {', '.join(names[:-1])}."
        )
    shared = {one.name: getattr(config, one.name) for one in fields(MapConfig)}
    return BackboneDescriptor(name, network, BackboneConfig(**shared), weights_path=network.file)


def weights_title_of_file(_name: ModelName, _config: FileConfig) -> str:
    """What the weights are called of a network that is a file."""
    return WEIGHTS_IN_FILE


def weights_file_of(name: ModelName, _config: FileConfig, *, load: bool) -> Path | None:  # noqa: ARG001
    """The file itself."""
    return name.file


# ---- which outputs are maps ----------------------------------------------------------------------


def free_outputs(
    names: Sequence[str],
    shapes: Sequence[Shapes],
    sizes: Sequence[tuple[int, int]],
    *,
    prefix_tokens: int | None = None,
) -> tuple[Output, ...]:
    """The outputs that are maps, by how they grow with the image.

    Args:
        names: of all outputs.
        shapes: of all outputs at both sizes.
        sizes: two (height, width), both sides of the second larger by the same.
        prefix_tokens: if they are known.
    """
    (height, width), (higher, wider) = sizes
    found = []
    for number, (name, one, other) in enumerate(zip(names, *shapes, strict=True)):
        if one is None or other is None or len(one) != len(other) or (one[0], other[0]) != (1, 1):
            continue
        grown = [axis for axis in range(1, len(one)) if other[axis] != one[axis]]
        if len(one) == 4 and grown in ([2, 3], [1, 2]):
            down = grown[0]
            dim = one[1] if down == 2 else one[3]
            stride_px = (higher - height) / (other[down] - one[down])
            kind: Literal["map", "channels last"] = "map" if down == 2 else "channels last"
            if stride_px > 0 and dim > 1:
                found.append(Output(number, name, kind, stride_px, dim))
        elif len(one) == 3 and grown == [1] and other[1] > one[1] and one[2] > 1:
            stride_px = math.sqrt((higher * wider - height * width) / (other[1] - one[1]))
            prefix: float = one[1] - height * width / stride_px**2
            if prefix_tokens is not None:
                stride_px = math.sqrt(height * width / max(1, one[1] - prefix_tokens))
                prefix = prefix_tokens
            whole = _whole(prefix) and _whole(stride_px)
            if not whole and not any(
                side % max(1, round(stride_px)) for size in sizes for side in size
            ):
                continue  # and not for want of sides that the stride divides
            found.append(Output(number, name, "tokens", stride_px, one[2], max(0, round(prefix))))
    return tuple(found)


def fixed_outputs(
    names: Sequence[str],
    shapes: Shapes,
    size: tuple[int, int],
    *,
    layout: Layout,
    prefix_tokens: int | None = None,
) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    """The outputs that are maps, by their shapes at the only size.

    Args:
        names: of all outputs.
        shapes: of all outputs.
        size: (height, width) of the image.
        layout: of the input, which decides where an output may have either.
        prefix_tokens: if they are known.

    Returns:
        The outputs, and what was doubtful about them or others, in words.
    """
    height = size[0]
    found: list[Output] = []
    doubtful: list[str] = []
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        if shape is None or shape[0] != 1:
            continue
        if len(shape) == 4:
            sides: dict[Layout, tuple[int, int, int]] = {
                "NCHW": (shape[2], shape[3], shape[1]),
                "NHWC": (shape[1], shape[2], shape[3]),
            }
            fits = [one for one in _LAYOUTS if _fits(sides[one], size)]
            if not fits:
                continue
            chosen = layout if layout in fits else fits[0]
            if len(fits) > 1:
                doubtful.append(f"its output {name} {_shown(shape)} is taken as {chosen}")
            rows, _, dim = sides[chosen]
            kind: Literal["map", "channels last"] = "map" if chosen == "NCHW" else "channels last"
            found.append(Output(number, name, kind, height / rows, dim))
        elif len(shape) == 3 and shape[2] > 1:
            tried = range(_MOST_PREFIX_TOKENS + 1) if prefix_tokens is None else (prefix_tokens,)
            grids = [(one, grid) for one in tried if (grid := _token_grid(shape[1] - one, size))]
            if len(grids) > 1:
                ways = " or ".join(f"{r} × {c} behind {one}" for one, (r, c) in grids)
                doubtful.append(
                    f"the {shape[1]} tokens of its output {name} may be {ways}, so it is left out; "
                    "set prefix_tokens"
                )
            elif grids:
                ((prefix, (rows, _)),) = grids
                found.append(Output(number, name, "tokens", height / rows, shape[2], prefix))
    return tuple(found), tuple(doubtful)


def as_map(values: Tensor, output: Output, size: tuple[int, int]) -> Tensor | None:
    """``(B, D, H', W')`` of an output for an image of (height, width); None if it is no map."""
    if output.kind != "tokens":
        if values.ndim != 4:
            return None
        return values if output.kind == "map" else values.permute(0, 3, 1, 2)
    rows, columns = (round(side / output.stride_px) for side in size)
    if values.ndim != 3 or values.shape[1] != output.prefix + rows * columns:
        return None
    tokens = values[:, output.prefix :]
    return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns)


def _fits(sides: tuple[int, int, int], size: tuple[int, int]) -> bool:
    """Whether (rows, columns, dim) is a map of an image: square cells, and several of them."""
    rows, columns, dim = sides
    if min(rows, columns) < 2 or dim < 2:
        return False
    down, right = size[0] / rows, size[1] / columns
    # A map without padding has fewer cells than fit into the image.
    return abs(rows - size[0] / right) < 1.5 and abs(columns - size[1] / down) < 1.5


def _token_grid(count: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of so many tokens in square cells that fill an image; None without any."""
    if count < 4:
        return None
    stride_px = math.sqrt(size[0] * size[1] / count)
    rows, columns = (round(side / stride_px) for side in size)
    even = rows and columns and size[0] * columns == size[1] * rows
    whole = even and size[0] % rows == 0
    return (rows, columns) if rows * columns == count and whole else None


def _layer_names(outputs: Sequence[Output]) -> list[str]:
    """The outputs' names as they may stand in a descriptor's name, each another one."""
    names: list[str] = []
    for output in outputs:
        plain = re.sub(r"[^\w.\-]+", "_", output.name, flags=re.ASCII).strip("_")
        if not plain.strip("-0123456789"):  # a number means a layer by its number
            plain = f"output_{plain}".rstrip("_")
        name, more = plain, 2
        while name in names:
            name, more = f"{plain}_{more}", more + 1
        names.append(name)
    return names


def _whole(number: float) -> bool:
    return number > -_NEAR and abs(number - round(number)) <= _NEAR


def _real(values: Tensor | None) -> Tensor | None:
    return values if values is not None and values.is_floating_point() else None


def _shown(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if one is None else str(one) for one in shape)})"
