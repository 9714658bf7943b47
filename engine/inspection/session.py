"""Questions about pairs of images, answered from dense maps that are kept in memory.

Every method of a session may be called from any thread.  Maps never change once they are made, so
the caches hold their locks only for a look-up.  One more lock lets images be described one at a
time; only :meth:`Session.describe` and :meth:`Session.match` wait for it, for seconds at worst.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from engine.byte_cache import ByteCache
from engine.data.pairs import ImagePair
from engine.descriptors.base import DenseDescriptor, LayeredDescriptor, Levels, PairDescriptor
from engine.descriptors.compute import get_built, predict_bytes, run_on_image
from engine.descriptors.model_names import network_of
from engine.descriptors.pairing import PairImage, PairMaps, describe_blank
from engine.descriptors.precomputed import read_map_file
from engine.devices import memory_bytes
from engine.errors import (
    ConfigError,
    DescSpaceError,
    DeviceError,
    MapFileError,
    MapsMismatchError,
    MapsMissingError,
)
from engine.image_store import ImageStore
from engine.images import Image, fit_long_edge, resize_pixels
from engine.inspection.cell_maps import find_cycle_errors, find_errors, find_winners
from engine.inspection.colours import answer_pca, fit_on_images
from engine.inspection.described import (
    PLACE_DIM,
    Described,
    Points,
    describe_maps,
    make_described,
)
from engine.inspection.layers import answer_norms, choose_layers, network_info
from engine.inspection.match_table import make_table
from engine.inspection.probe import add_way_back, answer_probe, opened_truth
from engine.inspection.requests import (
    ErrorsAnswer,
    MapInfo,
    MatchRequest,
    MatchTable,
    NormsAnswer,
    PcaAnswer,
    PcaRequest,
    ProbeAnswer,
    ProbeRequest,
    Recipe,
    ScalarMap,
    WinnersAnswer,
)
from engine.inspection.store import MapKey, return_freed_memory
from engine.matching.colouring import Colouring
from engine.matching.projection import PcaBasis, load_basis, save_basis
from engine.matching.query_points import choose_listed, choose_points
from engine.progress import CancelToken, JobContext, Note, Phase, Progress, Stage
from engine.vocabulary import PRECOMPUTED, SIDES, Side, other_side

_LARGEST_DEFAULT_BYTES = 2 << 30
_IMAGES_IN_USE = 4
_BASES_IN_USE = 8
_COLOURS_BUDGET_BYTES = 32 << 20
_BLANK_EDGE_PX = 64
# While maps are made, the descriptor's own arrays and the copy for queries need memory, too.
_WORKING_COPIES = 3
_SURELY_FITS_PX = 1_000_000
# Larger images are described with an eye on the memory, maybe in tiles: one layer at a time.
_LAYERS_TOGETHER_PX = 500_000


class Session:
    """Describes images, keeps their maps, and answers questions about pairs of them.

    Questions are answered from maps in memory.  They raise :class:`MapsMissingError` if an image
    has not been described or its maps were dropped for room, and :class:`MapsMismatchError` if the
    descriptors of the two images have different lengths.

    Args:
        map_budget_bytes: memory for maps; None takes a quarter of the computer's, at most 2 GiB.
            The latest four images stay even where they need more: two descriptors of one pair.
        images: where it has them from; None for a store of its own.
    """

    def __init__(
        self, *, map_budget_bytes: int | None = None, images: ImageStore | None = None
    ) -> None:
        if map_budget_bytes is None:
            map_budget_bytes = min(_LARGEST_DEFAULT_BYTES, memory_bytes() // 4)
        self._maps: ByteCache[MapKey, Described] = ByteCache(
            map_budget_bytes, keep_at_least=_IMAGES_IN_USE
        )
        self._images = images or ImageStore()
        self._describing = threading.Lock()
        # An entry is used by the thread that holds the lock above, and by no other.
        self._looked_at: ByteCache[MapKey, PairImage] = ByteCache(0, keep_at_least=_IMAGES_IN_USE)
        # A slider asks for other colours of one basis many times a second.
        self._bases: ByteCache[_BasisKey, PcaBasis] = ByteCache(0, keep_at_least=_BASES_IN_USE)
        # Who walks through the pairs of a sequence comes back to colours that were seen.
        self._coloured: ByteCache[_ColoursKey, PcaAnswer] = ByteCache(
            _COLOURS_BUDGET_BYTES, keep_at_least=1
        )

    # ---- maps ------------------------------------------------------------------------------

    def describe(self, pair: ImagePair, side: Side, recipe: Recipe, context: JobContext) -> MapInfo:
        """Make the maps of one image, unless they are in memory.

        Images are described one at a time; a second caller waits, and can be cancelled meanwhile.

        Raises:
            DescSpaceError: the image, the weights, the map file or the device cannot be used.
            JobCancelled: ``context.cancel`` was raised.
        """
        return self._ensure(pair, side, recipe, context).info

    def described(self, pair: ImagePair, side: Side, recipe: Recipe) -> MapInfo | None:
        """What is known about maps in memory; None if they must be made first.

        Computes nothing and reads no file, so the window's thread may ask.
        """
        found = self._maps.get(MapKey.of(pair, side, recipe))
        return found.info if found else None

    def describe_layers(
        self, pair: ImagePair, side: Side, recipe: Recipe, context: JobContext
    ) -> int:
        """Make the maps of a network's other layers too, with the same settings, in one pass.

        They are kept as long as there is room for them; the layers next to those of the recipe come
        first.  Where the cells of a layer lie may have to be measured before, which takes seconds.

        Returns:
            How many layers were described; 0 for a descriptor without layers, and where all are in
            memory or none has room.

        Raises:
            DescSpaceError, JobCancelled: as :meth:`describe`.
        """
        name = network_of(recipe.spec.name)
        if name is None:
            return 0
        with context.cancel.holding(self._describing):
            one = self._pair_image(pair, side, recipe, context.cancel)
            descriptor, size_px = one.descriptor, one.pixels.shape[1::-1]
            if (
                not isinstance(descriptor, LayeredDescriptor)
                or math.prod(size_px) > _LAYERS_TOGETHER_PX
            ):
                return 0
            count = len(descriptor.layers)
            keys = {
                layer: MapKey.of(pair, side, recipe.by(str(name.at_number(layer, count))))
                for layer in range(count)
            }
            missing = [layer for layer, key in keys.items() if key not in self._maps]
            image = self._image(pair, side)

            def describe(images: torch.Tensor) -> tuple[list[int], tuple[Levels, ...], float]:
                wanted = choose_layers(
                    descriptor,
                    missing,
                    size_px,
                    self._maps.budget_bytes // len(SIDES),
                    context,
                )
                start = time.perf_counter()
                made = descriptor.describe_layers(images, wanted) if wanted else ()
                return wanted, made, time.perf_counter() - start

            (wanted, made, seconds), notes = run_on_image(
                descriptor,
                one.pixels,
                describe,
                device=recipe.device,
                precision=recipe.precision,
                context=context,
            )
            resize = fit_long_edge(image.size_px, recipe.long_edge_px)
            with torch.inference_mode():
                for layer, levels in zip(wanted, made, strict=True):
                    info = describe_maps(
                        levels,
                        resize,
                        seconds=seconds,
                        trained=descriptor.trained,
                        notes=(*image.remarks, *notes),
                        values=image.range_words,
                        network=network_info(descriptor, (layer,)),
                    )
                    found = make_described(levels, resize, info, one.pixels)
                    self._maps.put(keys[layer], found, info.size_bytes, spare=True)
            return len(wanted)

    @property
    def map_budget_bytes(self) -> int:
        """Memory for maps; those of two descriptors stay even if they take more."""
        return self._maps.budget_bytes

    def forget(self, path: Path) -> None:
        """Drop an image file's pixels, and all that was made from them."""
        self._maps.drop(lambda key: key.reads(path))
        self._looked_at.drop(lambda key: key.reads(path))
        self._bases.drop(lambda key: any(one.reads(path) for one in key.fitted_on))
        self._coloured.drop(lambda key: key.maps_a.reads(path) or key.maps_b.reads(path))
        self._images.forget(path)

    # ---- questions -------------------------------------------------------------------------

    def probe(self, request: ProbeRequest) -> ProbeAnswer:
        """Find one point of one image in the other."""
        asked, other = self._need_both(request.pair, request.side, request.recipe)
        return answer_probe(request, asked, other)

    def match_back(self, answer: ProbeAnswer) -> ProbeAnswer:
        """The answer to a probe that did not ask for its way back, with that way."""
        request = answer.request
        asked, other = self._need_both(request.pair, request.side, request.recipe)
        return add_way_back(answer, asked, other)

    def pca(self, request: PcaRequest, context: JobContext | None = None) -> PcaAnswer:
        """Colour both images' descriptors in one basis.

        Fitting it on all images of a folder describes those whose maps are not in memory, one after
        the other, and keeps none of their maps.

        Raises:
            BasisFileError: the basis file cannot be used.
            DescSpaceError: as :meth:`describe`, where images of a folder have to be described.
            JobCancelled: ``context.cancel`` was raised.
        """
        a, b = self._need_both(request.pair, "a", request.recipe)
        basis = self._basis(request, a, b, context or JobContext())
        maps_a, maps_b = (MapKey.of(request.pair, side, request.recipe) for side in SIDES)
        key = _ColoursKey(basis, maps_a, maps_b, request.level, request.colouring)
        answer = self._coloured.get(key)
        if answer is None:
            answer = answer_pca(request, basis, a, b)
            size_bytes = answer.a.pixels.nbytes + answer.b.pixels.nbytes
            self._coloured.put(key, answer, size_bytes)
        return answer

    def save_basis(
        self, request: PcaRequest, path: Path, context: JobContext | None = None
    ) -> None:
        """Write the basis that :meth:`pca` answers the same request with.

        Raises:
            OutputError: the file cannot be written.
            DescSpaceError, JobCancelled: as :meth:`pca`.
        """
        a, b = self._need_both(request.pair, "a", request.recipe)
        save_basis(self._basis(request, a, b, context or JobContext()), path)

    def winners(
        self, pair: ImagePair, recipe: Recipe, side: Side, context: JobContext | None = None
    ) -> WinnersAnswer:
        """Which members of the two sets matched, for the cells of one image.

        Raises:
            JobCancelled: ``context.cancel`` was raised.
        """
        asked, other = self._need_both(pair, side, recipe)
        return find_winners(pair, side, asked, other, context or JobContext())

    def cycle_error(
        self, pair: ImagePair, recipe: Recipe, side: Side, context: JobContext | None = None
    ) -> ScalarMap:
        """How far from its start each cell of one image ends, matched there and back.

        Raises:
            JobCancelled: ``context.cancel`` was raised.
        """
        asked, other = self._need_both(pair, side, recipe)
        return find_cycle_errors(asked, other, context or JobContext())

    def errors(
        self, pair: ImagePair, recipe: Recipe, side: Side, context: JobContext | None = None
    ) -> ErrorsAnswer:
        """How far the match of each cell of one image is from its true point.

        Raises:
            DescSpaceError: the truth is not known all over the images, or cannot be read.
            JobCancelled: ``context.cancel`` was raised.
        """
        asked, other = self._need_both(pair, side, recipe)
        return find_errors(pair, side, asked, other, context or JobContext())

    def norms(
        self, pair: ImagePair, side: Side, recipe: Recipe, context: JobContext
    ) -> NormsAnswer:
        """How long a network's vectors are at each cell, of the last of the chosen layers.

        They are not kept with the maps, so the image goes through the network once more.

        Raises:
            DescSpaceError: the descriptor is no network with layers, or as :meth:`describe`.
            JobCancelled: ``context.cancel`` was raised.
        """
        with context.cancel.holding(self._describing):
            one = self._pair_image(pair, side, recipe, context.cancel)
            descriptor = one.descriptor
            if not isinstance(descriptor, LayeredDescriptor):
                raise DescSpaceError(
                    "Norms are shown for networks that were opened by name; of this descriptor "
                    "only vectors of unit length are known."
                )
            layer = descriptor.chosen[-1]
            (level,), _ = run_on_image(
                descriptor,
                one.pixels,
                # A normalisation would make all vectors nearly equally long.
                lambda images: descriptor.raw_layers(
                    images, (layer,), context.cancel.check, norm=False
                ),
                device=recipe.device,
                precision=recipe.precision,
                context=context,
            )
        resize = fit_long_edge(self._image(pair, side).size_px, recipe.long_edge_px)
        return answer_norms(level, resize, descriptor.layers[layer].name)

    def match(self, request: MatchRequest, context: JobContext) -> MatchTable:
        """Match many points of image a to image b, describing the images first if need be.

        Raises:
            DescSpaceError: as :meth:`describe`.
            JobCancelled: ``context.cancel`` was raised.
        """
        pair, recipe = request.pair, request.recipe
        a, b = (self._ensure(pair, side, recipe, context) for side in SIDES)
        _check_comparable(a, b)
        if request.points == "listed":
            listed = _listed_points(pair, a, b)
            points_a = choose_listed(listed, a.info.size_px, request.count, request.seed)
            return make_table(request, points_a, a, b, context)
        pixels = self._image(pair, "a").pixels
        working = resize_pixels(pixels, a.resize.to_size_px, antialias=True)
        chosen = choose_points(working, request.points, request.count, request.seed)
        # An image that was enlarged has working pixels beyond the centres of its border pixels.
        points_a = a.resize.backward(chosen).clip(0, np.array(a.info.size_px) - 1)
        return make_table(request, points_a, a, b, context)

    # ---- inside ----------------------------------------------------------------------------

    def _basis(
        self, request: PcaRequest, a: Described, b: Described, context: JobContext
    ) -> PcaBasis:
        """The basis that a request asks for, from a file, from memory, or fitted now."""
        recipe = request.recipe
        if request.fit == "file":
            if request.basis_file is None:
                raise ValueError("a basis from a file needs the file")
            return load_basis(request.basis_file, dim=a.info.dim)
        if request.fit == "all":
            if recipe.spec.name == PRECOMPUTED:
                raise MapFileError(
                    request.pair.path("a"),
                    "has precomputed maps, which other images of the folder lack, so the colours "
                    "cannot be fitted on all of them",
                )
            images = request.images
        else:
            images = tuple((request.pair, side) for side in SIDES if request.fit in ("both", side))
        if not images:
            raise ValueError("a basis needs images to be fitted on")
        keys = tuple(MapKey.of(pair, side, recipe) for pair, side in images)
        key = _BasisKey(keys, request.level)
        found = self._bases.get(key)
        if found is not None:
            return found
        names = [pair.path(side).name for pair, side in images]
        what = " and ".join(names) if len(names) <= len(SIDES) else f"{len(names)} images"
        of_pair = {
            MapKey.of(request.pair, side, recipe): one
            for side, one in zip(SIDES, (a, b), strict=True)
        }

        def described() -> Iterator[Described]:
            for done, (map_key, (pair, side)) in enumerate(zip(keys, images, strict=True)):
                if request.fit == "all":
                    context.emit(Progress(Stage.FITTING_BASIS, done, len(images)))
                context.cancel.check()
                one = of_pair.get(map_key) or self._maps.get(map_key)
                if one is None:
                    # Its own events would be taken for those of the whole.
                    quiet = JobContext(cancel=context.cancel)
                    with context.cancel.holding(self._describing):
                        one = self._describe(pair, side, recipe, quiet)
                yield one

        basis = fit_on_images(
            described(),
            count=len(images),
            level=request.level,
            fitted_on=f"{what}, {recipe.spec.name}",
        )
        self._bases.put(key, basis, basis.components.nbytes)
        return basis

    def _ensure(
        self, pair: ImagePair, side: Side, recipe: Recipe, context: JobContext
    ) -> Described:
        """The maps of one image, made now if they are not in memory."""
        recipe.spec.weights_stamps(load=True)  # the key has the file, then and in later questions
        key = MapKey.of(pair, side, recipe)
        found = self._maps.get(key)
        if found is None:
            with context.cancel.holding(self._describing):
                found = self._maps.get(key)  # another thread may have made them meanwhile
                if found is None:
                    found = self._describe(pair, side, recipe, context)
                    self._maps.put(key, found, found.info.size_bytes)
                    return_freed_memory()
        return found

    def _describe(
        self, pair: ImagePair, side: Side, recipe: Recipe, context: JobContext
    ) -> Described:
        context.cancel.check()
        start = time.perf_counter()
        image, network = self._image(pair, side), None
        for text in image.remarks:
            context.emit(Note(text, "warning"))
        if recipe.spec.name == PRECOMPUTED:
            if recipe.map_files is None:
                reason = "has no file of precomputed maps; choose one for each image"
                raise MapFileError(pair.path(side), reason)
            map_file = read_map_file(recipe.map_files[SIDES.index(side)])
            resize, notes = map_file.lay_on(image.size_px)
            made, trained = PairMaps(map_file.levels, notes), True
            pixels = resize_pixels(image.pixels, resize.to_size_px, antialias=True)
            for text in notes:
                context.emit(Note(text, "warning"))
        else:
            resize = fit_long_edge(image.size_px, recipe.long_edge_px)
            one = self._pair_image(pair, side, recipe, context.cancel)
            made = one.describe(
                lambda: self._pair_image(pair, other_side(side), recipe, context.cancel), context
            )
            trained, pixels = one.descriptor.trained, one.pixels
            if isinstance(one.descriptor, LayeredDescriptor):
                network = network_info(one.descriptor, one.descriptor.chosen)
            if made.chosen and side == "a":  # once for both images
                context.emit(Note(made.weak_vote or made.chosen))
        context.cancel.check()
        context.emit(Phase(Stage.LAYING_OUT))
        info = describe_maps(
            made.levels,
            resize,
            seconds=time.perf_counter() - start,
            trained=trained,
            notes=(*image.remarks, *made.notes),
            chosen=made.chosen,
            weak_vote=made.weak_vote,
            vote_right=made.vote_right,
            values=image.range_words,
            network=network,
        )
        with torch.inference_mode():
            return make_described(made.levels, resize, info, pixels)

    def _pair_image(
        self, pair: ImagePair, side: Side, recipe: Recipe, cancel: CancelToken
    ) -> PairImage:
        """An image at its working size; what a descriptor of pairs saw in it is kept."""
        key = MapKey.of(pair, side, recipe).alone
        found = self._looked_at.get(key)
        if found is None:
            image, descriptor = self._image(pair, side), get_built(recipe.spec, cancel)
            size_px = fit_long_edge(image.size_px, recipe.long_edge_px).to_size_px
            with cancel.everywhere():
                _refuse_too_large(pair.path(side), descriptor, size_px, recipe.device)
            found = PairImage(
                descriptor=descriptor,
                pixels=resize_pixels(image.pixels, size_px, antialias=True),
                side=side,
                device=recipe.device,
                precision=recipe.precision,
                keep_maps=False,
            )
            if isinstance(descriptor, PairDescriptor):
                self._looked_at.put(key, found, found.pixels.nbytes)
        return found

    def _need_both(
        self, pair: ImagePair, side: Side, recipe: Recipe
    ) -> tuple[Described, Described]:
        """The maps of the asking image and of the other one."""
        found = []
        for one in (side, other_side(side)):
            entry = self._maps.get(MapKey.of(pair, one, recipe))
            if entry is None:
                raise MapsMissingError(
                    f"The maps of {pair.path(one).name} are not in memory; describe it again."
                )
            found.append(entry)
        _check_comparable(*found)
        return found[0], found[1]

    def _image(self, pair: ImagePair, side: Side) -> Image:
        return self._images.read(pair.path(side), shown=pair.range_of(side))


@dataclass(frozen=True, slots=True)
class _BasisKey:
    """All that a fitted PCA basis depends on."""

    fitted_on: tuple[MapKey, ...]
    level: int


@dataclass(frozen=True, slots=True)
class _ColoursKey:
    """All that the colours of a pair depend on."""

    basis: PcaBasis
    maps_a: MapKey
    maps_b: MapKey
    level: int
    colouring: Colouring


def _refuse_too_large(
    path: Path, descriptor: DenseDescriptor, size_px: tuple[int, int], device: str
) -> None:
    """Refuse an image whose maps would make the system end the program for lack of memory."""
    if math.prod(size_px) <= _SURELY_FITS_PX:
        return
    levels = describe_blank(descriptor, _BLANK_EDGE_PX, device=device, precision="float32")
    dim, grids = levels[0].values.shape[1] + PLACE_DIM, [level.grid for level in levels]
    wanted = predict_bytes(dim=dim, grids=grids, size_px=size_px)
    spare = memory_bytes() // _WORKING_COPIES
    if wanted > spare:
        raise DeviceError(
            f"{path}: at {size_px[0]} × {size_px[1]} pixels its maps would take "
            f"{wanted / 2**30:.1f} GiB, and at most {spare / 2**30:.1f} GiB can be spared: "
            "lower the long edge or enlarge the stride."
        )


def _check_comparable(one: Described, other: Described) -> None:
    if one.info.dim != other.info.dim:
        raise MapsMismatchError(
            f"The maps of the two images hold descriptors of different lengths, "
            f"{one.info.dim} and {other.info.dim}, and cannot be compared."
        )


def _listed_points(pair: ImagePair, a: Described, b: Described) -> Points:
    """``(N, 2)`` points of image a whose partners the truth lists.

    Raises:
        ConfigError: it lists none.
    """
    truth = opened_truth(pair, "a", a, b)
    listed = None if truth is None else truth.listed_px
    if listed is None:
        known = f"is {truth.kind} and lists none" if truth is not None else "is not known"
        raise ConfigError("points", f"'listed' are points of the truth, which {known} here")
    return listed[0]
