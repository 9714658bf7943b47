"""How a network of another library becomes a descriptor.

A family brings a :class:`FeatureNetwork`: what is behind a model's name, with all its layers.  The
rest is the same for all of them and stands here: colours as the network expects them, sides that
its strides divide, position taken off, vectors of unit length, several layers joined, finer maps
from shifted copies, and cells where they were measured to be.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.config import option
from engine.descriptors.base import DescriptorMap, ExpectedInput, Levels
from engine.descriptors.denser import (
    check_denser,
    denser_grid,
    denser_period_px,
    describe_denser,
    shifted,
)
from engine.descriptors.families.grids import (
    cells_of,
    device_of,
    known_grid,
    measure_layer,
    measured_grid,
    measured_reach,
    usable_grid,
)
from engine.descriptors.families.upsampler import Place, Upsampler, cells_before, placed
from engine.descriptors.grid_measure import MeasuredGrid, random_images
from engine.descriptors.model_names import ModelName
from engine.descriptors.position import PositionRemover
from engine.descriptors.tensors import unit_length
from engine.errors import ConfigError, DescSpaceError
from engine.geometry.coords import CellGrid
from engine.geometry.sampling import cell_places, sample_map

Facet = Literal["token", "key", "query", "value"]

_UPSAMPLED_CELLS: Final = 12  # along the shorter side of the image that is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class MapConfig:
    """Settings of what is done with the maps of any network."""

    remove_position: int = option(
        0, help="directions in which position shows that are taken off; 0 for none", low=0, high=64
    )
    denser: int = option(
        1, help="divide the stride by this, by describing shifted copies: its square times as slow",
        low=1, high=32,
    )  # fmt: skip
    upsampler: Path | None = option(
        None, help="file of torch.export or TorchScript that makes a finer map of an image and its "
        "map, such as AnyUp",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig(MapConfig):
    """Settings of every network of a library that is opened by its name."""

    weights: Path | None = option(None, help="file to use instead of the library's own weights")
    untrained: bool = option(False, help="random weights, for comparison")
    norm: bool = option(
        True, help="apply the network's last normalisation to blocks of a transformer"
    )
    facet: Facet = option(
        "token", help="of a transformer's block: its output, or part of attention"
    )


@dataclass(frozen=True, slots=True)
class Layer:
    """One place in a network whose output can be described by.

    Attributes:
        name: the library's word for it; its number is its place in ``FeatureNetwork.layers``.
        stride_px: distance of its cells as the library tells it; only a first guess.
        dim: length of its vectors.
        facets: it is a block with attention whose keys, queries and values can be had.
    """

    name: str
    stride_px: float
    dim: int
    facets: bool = False


class FeatureNetwork(nn.Module, ABC):
    """A network with layers.  A module that holds all its weights, if it has any.

    Attributes:
        architecture: tells apart what places cells differently: library, version, model.
        layers: from the image to the end.
        expects: colours that it was trained on.
        multiple_px: both sides of its input are multiples of this.
        fixed_size_px: (width, height), if it takes images of one size only.
        trained: whether its weights were learnt.
        has_gradient: whether torch can differentiate it.
        known_grids: where cells of layers, by their numbers, were found by hand, because random
            weights do not tell it; those of the others are measured.
    """

    architecture: str
    layers: tuple[Layer, ...]
    expects: ExpectedInput
    multiple_px: int
    fixed_size_px: tuple[int, int] | None = None
    trained: bool
    has_gradient: bool = True
    known_grids: Mapping[int, MeasuredGrid] = MappingProxyType({})

    @abstractmethod
    def features(
        self, inputs: Tensor, layers: Sequence[int], *, facet: Facet, norm: bool
    ) -> tuple[Tensor, ...]:
        """The outputs of some layers.

        Args:
            inputs: ``(B, 3, H, W)``, colours as expected, sides as demanded.
            layers: numbers, ascending.
            facet: which part of a block.
            norm: apply the last normalisation to all of them, where there is one.

        Returns:
            ``(B, D, H', W')`` each.
        """

    def as_expected(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` RGB in [0, 1] with the colours that the network was trained on."""
        mean = images.new_tensor(self.expects.mean).view(-1, 1, 1)
        std = images.new_tensor(self.expects.std).view(-1, 1, 1)
        ordered = images.flip(1) if self.expects.channels == "BGR" else images
        return (ordered - mean) / std

    @property
    def blank(self) -> tuple[float, float, float]:
        """RGB in [0, 1] that becomes zero, as padding is."""
        mean = self.expects.mean
        red, green, blue = mean[::-1] if self.expects.channels == "BGR" else mean
        return red, green, blue

    def input_size_px(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the input for an image: the only one, or the next that is allowed."""
        if self.fixed_size_px is not None:
            return self.fixed_size_px
        multiple = self.multiple_px
        return math.ceil(width / multiple) * multiple, math.ceil(height / multiple) * multiple

    def untrained_twin(self) -> FeatureNetwork:
        """The same architecture with random weights; itself where that cannot be had."""
        return self


class BackboneDescriptor:
    """Describes by one or several layers of a network.

    Args:
        name: model and layers.
        network: what the name stands for.
        config: settings.
        weights_path: the file that its weights came from; None for random ones.

    Raises:
        ConfigError: there is no such layer, it has no such facet, or its stride cannot be divided.
        WeightsError: the upsampler's file cannot be used.
        DescSpaceError: the cells of its layers lie nowhere, or the upsampler does not fit it.
    """

    half_precision = True

    def __init__(
        self,
        name: ModelName,
        network: FeatureNetwork,
        config: BackboneConfig,
        *,
        weights_path: Path | None = None,
    ) -> None:
        self.weights_path = weights_path
        self.name = name
        self.network = network
        self.module = network.eval()
        self.expects = network.expects
        self.trained = network.trained
        self.facet: Facet = config.facet
        self._norm = config.norm
        self._chosen = find_layers(name, network.layers, config.facet)
        self._components = config.remove_position
        self._denser = config.denser
        self._upsampler = _open_upsampler(config)
        self._places: dict[int, Place] = {}
        self._outside: dict[int, int] = {}
        self._grids: dict[int, CellGrid] = {}
        self._removers: dict[tuple[int, ...], PositionRemover] = {}
        grid = self.grid_of(min(self._chosen, key=lambda one: network.layers[one].stride_px))
        check_denser(config.denser, [grid])
        self.grid = denser_grid(grid, config.denser)
        self.dim = sum(network.layers[one].dim for one in self._chosen)
        self.shift_period_px = denser_period_px(network.multiple_px, [grid], config.denser)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers of the network."""
        return self.network.layers

    @property
    def reach_px(self) -> int | None:
        """The farthest reach of its layers; it may be measured when it is asked for."""
        reaches = [self.reach_of(one) for one in self._chosen]
        known = [one for one in reaches if one is not None]
        return max(known) if len(known) == len(reaches) else None

    @property
    def normalises(self) -> bool:
        """Whether a last normalisation is applied, which makes vectors nearly equally long."""
        blocks = any(layer.facets for layer in self.network.layers)
        return self._norm and self.facet == "token" and blocks

    @property
    def chosen(self) -> tuple[int, ...]:
        """The numbers of the layers that it describes by, ascending."""
        return self._chosen

    def describe(self, images: Tensor) -> Levels:
        """Describe ``(B, 3, H, W)`` RGB in [0, 1]; one level, see the contract."""
        return self.describe_stoppable(images, _never_stop)

    def describe_stoppable(self, images: Tensor, check: Callable[[], None]) -> Levels:
        """As ``describe``; ``check`` is called before each shifted copy and may raise."""
        return describe_denser(self._joined_layers, images, denser=self._denser, check=check)

    def describe_layers(self, images: Tensor, layers: Sequence[int]) -> tuple[Levels, ...]:
        """As ``describe`` by each of some layers alone, in one pass through the network.

        Args:
            images: ``(B, 3, H, W)`` RGB in [0, 1].
            layers: numbers, ascending.

        Raises:
            ConfigError: the stride of one of them cannot be divided as asked.
        """
        describe = functools.partial(self._unit_layers, layers)
        levels = describe_denser(describe, images, denser=self._denser, check=_never_stop)
        return tuple((level,) for level in levels)

    def can_describe_by(self, layer: int, check: Callable[[], None]) -> bool:
        """Whether one layer alone can be used with the same settings.

        Its grid is measured if it is not known yet, which takes seconds.

        Args:
            layer: its number.
            check: called before each pass of the measure; may raise.
        """
        if self.facet != "token" and not self.layers[layer].facets:
            return False
        try:
            check_denser(self._denser, [self.grid_of(layer, check)])
        except DescSpaceError:
            return False
        return True

    def layer_grid(self, layer: int) -> CellGrid:
        """Where the cells lie that ``describe_layers`` gives, in pixels of the network's input."""
        return denser_grid(self.grid_of(layer), self._denser)

    def measured_layer(self, layer: int) -> MeasuredGrid:
        """Where the network's own cells were found, in the same pixels, with all that was measured.

        With the setting ``denser``, ``describe_layers`` gives more of them.
        """
        found = measure_layer(self.network, layer, facet=self.facet)
        return found if self._upsampler is None else placed(self._place_of(layer), found)

    def raw_layers(
        self,
        images: Tensor,
        layers: Sequence[int],
        check: Callable[[], None] | None = None,
        *,
        norm: bool | None = None,
    ) -> Levels:
        """As :meth:`describe_layers`, with position and the length that the network gave vectors.

        Args:
            images: ``(B, 3, H, W)`` RGB in [0, 1].
            layers: numbers, ascending.
            check: called before each shifted copy; may raise.
            norm: whether the network's last normalisation is applied; None as the setting says.
        """
        describe = functools.partial(self._maps, layers=layers, norm=norm)
        return describe_denser(describe, images, denser=self._denser, check=check or _never_stop)

    def remover_of(self, layers: Sequence[int], components: int) -> PositionRemover:
        """What takes position off the maps of some layers; a level for each."""
        return PositionRemover(
            functools.partial(self._maps, layers=tuple(layers)),
            components=components,
            name=str(self.name),
            reach_px=[self.reach_of(one) for one in layers],
            module=self.module,
        )

    def reach_of(self, layer: int) -> int | None:
        """How far the cells of a layer see, in pixels of the network's input; None: everything.

        It is measured at the first question, which may take seconds, and then remembered.
        """
        if self._upsampler is not None:
            return None  # nothing tells how far that one sees
        return measured_reach(self.network, layer, facet=self.facet)

    def grid_of(self, layer: int, check: Callable[[], None] | None = None) -> CellGrid:
        """Where the cells of a layer lie in the network's input; measured at the first question.

        Args:
            layer: its number.
            check: called before each pass of the measure; may raise.

        Raises:
            DescSpaceError: they lie at different distances along both axes, or nowhere.
        """
        if layer not in self._grids:
            grid = measured_grid(self.network, layer, facet=self.facet, check=check or _never_stop)
            if self._upsampler is not None:
                finer = placed(self._place_of(layer), known_grid(grid))
                grid = usable_grid(finer, f"{cells_of(self.network, layer)}, enlarged,")
                self._outside[layer] = outside = cells_before(grid)
                grid = CellGrid(grid.stride_px, float(grid.to_px(outside)))
            self._grids[layer] = grid
        return self._grids[layer]

    def _place_of(self, layer: int) -> Place:
        """Where the upsampler places its cells among those of a layer."""
        assert self._upsampler is not None
        if layer not in self._places:
            side_px = round(_UPSAMPLED_CELLS * self.network.layers[layer].stride_px)
            width, height = self.network.input_size_px(side_px + side_px // 4, side_px)
            generator = torch.Generator().manual_seed(0)
            with torch.inference_mode():
                image = random_images(1, (width, height), generator).to(device_of(self.network))
                (coarse,) = self.network.features(
                    self.network.as_expected(image), (layer,), facet=self.facet, norm=self._norm
                )
            self._places[layer] = self._upsampler.measure(coarse.float(), (width, height))
        return self._places[layer]

    def _upsampled(self, images: Tensor, coarse: Tensor, layer: int) -> Tensor:
        """A finer map, made of the image as it would be if its cells were where they are assumed.

        Args:
            images: ``(B, 3, H, W)`` RGB in [0, 1], of the size of the network's input.
            coarse: ``(B, D, H', W')`` of all of it.
            layer: that it is of.
        """
        assert self._upsampler is not None
        # Whole pixels only: what remains is less than one, and only edges are off by it.
        shift_px = round(self._edges_off_px(layer))
        finer: Tensor = self._upsampler(shifted(images, shift_px, shift_px), coarse)
        return finer

    def _edges_off_px(self, layer: int) -> float:
        """How far a layer's cells lie beyond the middle of their equal parts of the image."""
        grid = measured_grid(self.network, layer, facet=self.facet)
        return grid.offset_px - (grid.stride_px - 1) / 2

    def _joined_layers(self, images: Tensor) -> Levels:
        levels = self._unit_layers(self._chosen, images)
        return levels if len(levels) == 1 else (_joined(levels),)

    def _unit_layers(self, layers: Sequence[int], images: Tensor) -> Levels:
        """A level of unit vectors for each layer."""
        key = tuple(layers)
        if not self._components:
            levels: Levels = self._maps(images, key)
        else:
            if key not in self._removers:
                self._removers[key] = self.remover_of(key, self._components)
            levels = self._removers[key].describe(images)
        return tuple(replace(one, values=unit_length(one.values)) for one in levels)

    def _maps(self, images: Tensor, layers: Sequence[int], norm: bool | None = None) -> Levels:
        height, width = images.shape[2:]
        inputs, scale = self._fitted(self.network.as_expected(images))
        maps = []
        norm = self._norm if norm is None else norm
        outputs = self.network.features(inputs, layers, facet=self.facet, norm=norm)
        for layer, values in zip(layers, outputs, strict=True):
            grid = self.grid_of(layer)
            if self._upsampler is not None:
                values = self._upsampled(self._fitted(images)[0], values, layer)
                outside = self._outside[layer]
                values = values[:, :, outside:, outside:]
            grid = _scaled(grid, scale)
            rows, columns = grid.count(height), grid.count(width)
            if rows < 1 or columns < 1:
                raise DescSpaceError(
                    f"{self.name} has no cell in an image of {width} × {height} px: its cells are "
                    f"{grid.stride_px:g} px apart; choose an earlier layer or larger images."
                )
            maps.append(DescriptorMap(values[:, :, :rows, :columns].float(), grid))
        return tuple(maps)

    def _fitted(self, images: Tensor) -> tuple[Tensor, float]:
        """Images of the size the network wants, and the factor they were resized by."""
        height, width = images.shape[2:]
        scale = 1.0
        full_width, full_height = self.network.input_size_px(width, height)
        if self.network.fixed_size_px is not None:
            scale = min(full_width / width, full_height / height)
            # By the factor itself, not by sizes that were rounded: cells are placed by it.
            images = functional.interpolate(
                images,
                scale_factor=scale,
                recompute_scale_factor=False,
                mode="bicubic",
                align_corners=False,
                antialias=scale < 1,
            )
            height, width = images.shape[2:]
        padding = (0, full_width - width, 0, full_height - height)
        return functional.pad(images, padding, mode="replicate"), scale


def _never_stop() -> None:
    """Nobody asks to stop."""


def _open_upsampler(config: BackboneConfig) -> Upsampler | None:
    if config.upsampler is None:
        return None
    if config.denser > 1:
        raise ConfigError(
            "upsampler", f"makes finer maps already, so denser={config.denser} cannot be used"
        )
    return Upsampler(config.upsampler)


def find_layers(name: ModelName, layers: Sequence[Layer], facet: Facet) -> tuple[int, ...]:
    """The numbers of the layers in a name, ascending.

    Args:
        name: its ``layers`` are numbers or names; the last one is taken if there are none.
        layers: of the network.
        facet: that each of them has to have.

    Raises:
        ConfigError: there is no such layer, or it has no such facet.
    """
    names = [layer.name for layer in layers]
    chosen = set()
    for word in name.layers or (str(len(layers) - 1),):
        try:
            number = names.index(word) if word in names else int(word)
            chosen.add(range(len(layers))[number])
        except (ValueError, IndexError):
            raise ConfigError(
                "descriptor",
                f"{name.at()} has no layer {word!r}: there are 0 to {len(layers) - 1} "
                f"({names[0]} to {names[-1]})",
            ) from None
    for number in chosen:
        if facet != "token" and not layers[number].facets:
            raise ConfigError(
                "facet", f"layer {names[number]} of {name.at()} has no attention with a {facet}"
            )
    return tuple(sorted(chosen))


def _scaled(grid: CellGrid, scale: float) -> CellGrid:
    """The grid in an image that was resized by ``scale`` to the network's input."""
    if scale == 1:
        return grid
    return CellGrid(grid.stride_px / scale, (grid.offset_px + 0.5) / scale - 0.5)


def _joined(maps: Sequence[DescriptorMap]) -> DescriptorMap:
    """Unit vectors of several layers one behind the other, at the cells of the finest of them."""
    finest = min(maps, key=lambda one: one.grid.stride_px)
    rows, columns = finest.values.shape[2:]
    places_px = cell_places(finest.grid, (rows, columns), device=finest.values.device)
    parts = []
    for one in maps:
        values = one.values
        if one.grid != finest.grid:
            sampled = sample_map(values, one.grid, places_px.expand(len(values), -1, -1))
            values = sampled.transpose(1, 2).reshape(len(values), -1, rows, columns)
        parts.append(values)
    return DescriptorMap(unit_length(torch.cat(parts, dim=1)), finest.grid)
