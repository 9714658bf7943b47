"""Questions about pairs of images, answered from dense maps that are kept in memory.

One session serves several threads: describing (seconds) has its own, so that probing finished maps
(milliseconds) never waits for it.  Maps never change once they are made; the only locks are those
of the caches, held for a look-up, and the one that lets images be described one at a time.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from engine.data.pairs import ImagePair
from engine.descriptors.base import Choice, Member, PairDescriptor
from engine.descriptors.compute import describe_image, get_built, predict_bytes
from engine.descriptors.pairing import PairImage, choose_for_pair, describe_blank
from engine.descriptors.precomputed import MapFile, check_coverage, read_map_file
from engine.errors import DeviceError, MapFileError, MapsMismatchError, MapsMissingError
from engine.geometry.coords import CellGrid, Resize
from engine.images import Image, fit_long_edge, read_image, read_size, resize_pixels
from engine.inspection.cell_maps import find_cycle_errors, find_winners
from engine.inspection.described import POSITION_DIM, Described, make_described
from engine.inspection.match_table import make_table
from engine.inspection.probe import answer_probe
from engine.inspection.requests import (
    MapInfo,
    MatchRequest,
    MatchTable,
    PcaAnswer,
    PcaRequest,
    Picture,
    ProbeAnswer,
    ProbeRequest,
    Recipe,
    ScalarMap,
    WinnersAnswer,
)
from engine.inspection.store import PRECOMPUTED, ByteCache, MapKey, memory_bytes
from engine.matching.projection import PcaBasis, fit_basis, load_basis, project, save_basis
from engine.matching.query_points import choose_points
from engine.matching.similarity import SearchLevel
from engine.paths import FileStamp
from engine.progress import CancelToken, JobContext, Note
from engine.vocabulary import Side, other_side

_LARGEST_DEFAULT_BYTES = 2 << 30
_IMAGE_BUDGET_BYTES = 256 << 20
_IMAGES_IN_USE = 4
_LOOKS_KEPT = 4
_PCA_SAMPLE = 20_000
_BLANK_EDGE_PX = 64
_PATIENCE_S = 0.1
_STRETCH_LIMIT = 0.02
_NOBODY = FileStamp("", -1, -1)
# While maps are made, the descriptor's own arrays and the copy for queries lie beside them.
_WORKING_COPIES = 3
_SURELY_FITS_PX = 1_000_000


class Session:
    """Describes images, keeps their maps, and answers questions about pairs of them.

    Args:
        map_budget_bytes: memory for maps; None takes a quarter of the computer's, at most 2 GiB.
            The latest four images stay even where they need more: two descriptors of one pair.
    """

    def __init__(self, *, map_budget_bytes: int | None = None) -> None:
        if map_budget_bytes is None:
            map_budget_bytes = min(_LARGEST_DEFAULT_BYTES, memory_bytes() // 4)
        self._maps: ByteCache[MapKey, tuple[Described, MapInfo]] = ByteCache(
            map_budget_bytes, keep_at_least=_IMAGES_IN_USE
        )
        self._images: ByteCache[FileStamp, Image] = ByteCache(_IMAGE_BUDGET_BYTES, keep_at_least=2)
        self._shapes: dict[Hashable, tuple[int, tuple[CellGrid, ...]]] = {}
        self._describing = threading.Lock()
        # What concerns pairs is touched by who holds the lock above alone.
        self._looks: OrderedDict[MapKey, PairImage] = OrderedDict()
        self._choices: OrderedDict[tuple[MapKey, MapKey], Choice] = OrderedDict()

    # ---- maps ------------------------------------------------------------------------------

    def describe(self, pair: ImagePair, side: Side, recipe: Recipe, context: JobContext) -> MapInfo:
        """Make the maps of one image, unless they are in memory.

        Images are described one at a time; a second caller waits, and can be cancelled meanwhile.

        Raises:
            DescSpaceError: the image, the weights, the map file or the device cannot be used.
            JobCancelled: ``context.cancel`` was raised.
        """
        return self._ensure(pair, side, recipe, context)[1]

    def described(self, pair: ImagePair, side: Side, recipe: Recipe) -> MapInfo | None:
        """What is known about maps in memory; None if they must be made first.

        Computes nothing and reads no file, so the window's thread may ask.
        """
        found = self._maps.get(MapKey.of(pair, side, recipe))
        return found[1] if found else None

    def predict_bytes(self, pair: ImagePair, recipe: Recipe) -> int:
        """Memory that the maps of both images will take.

        Sizes come from the images' headers, and the grids from the maps of a small blank image;
        precomputed maps are taken to need as much as their files.

        Raises:
            DescSpaceError: an image, the weights or the map files cannot be used.
        """
        total = 0
        sides: tuple[Side, Side] = ("a", "b")
        for side in sides:
            key = MapKey.of(pair, side, recipe)
            found = self._maps.get(key)
            if found is not None:
                total += found[1].size_bytes
            elif recipe.spec.name == PRECOMPUTED:
                total += max(0, FileStamp.of(_map_file(pair, side, recipe)).size_bytes)
            else:
                resize = fit_long_edge(read_size(pair.path(side)), recipe.long_edge_px)
                total += self._predict(key, resize.to_size_px)
        return total

    def forget(self, path: Path) -> None:
        """Drop the picture of a file, and all maps that were made from it."""
        self._maps.drop(lambda key: key.reads(path))
        gone = FileStamp.of(path).path
        self._images.drop(lambda stamp: stamp.path == gone)

    # ---- questions -------------------------------------------------------------------------

    def probe(self, request: ProbeRequest) -> ProbeAnswer:
        """Find one point of one image in the other.

        Peaks are apart from cell to cell; each is then placed between the cells around it.

        Raises:
            MapsMissingError: an image has not been described, or its maps were dropped.
            MapsMismatchError: the two images have descriptors of different lengths.
        """
        asked, other = self._need_both(request.pair, request.side, request.recipe)
        return answer_probe(request, asked, other)

    def pca(self, request: PcaRequest) -> PcaAnswer:
        """Colour both images' descriptors in one basis.

        Raises:
            MapsMissingError: an image has not been described, or its maps were dropped.
            MapsMismatchError: the two images have descriptors of different lengths.
            BasisFileError: the basis file cannot be used.
        """
        a, b = self._need_both(request.pair, "a", request.recipe)
        with torch.inference_mode():
            basis = _make_basis(request, a, b)
            picture_a, picture_b = (_colour(basis, image, request.level) for image in (a, b))
        red, green, blue = basis.explained.tolist()
        return PcaAnswer(a=picture_a, b=picture_b, explained=(red, green, blue))

    def save_basis(self, request: PcaRequest, path: Path) -> None:
        """Write the basis that :meth:`pca` answers the same request with.

        Raises:
            OutputError: the file cannot be written.
            DescSpaceError: as :meth:`pca`.
        """
        a, b = self._need_both(request.pair, "a", request.recipe)
        with torch.inference_mode():
            basis = _make_basis(request, a, b)
        save_basis(basis, path)

    def winners(
        self, pair: ImagePair, recipe: Recipe, side: Side, context: JobContext | None = None
    ) -> WinnersAnswer:
        """Which members of two sets met, for the cells of one image: see :mod:`cell_maps`.

        Raises:
            MapsMissingError: an image has not been described, or its maps were dropped.
            MapsMismatchError: the two images have descriptors of different lengths.
            JobCancelled: ``context.cancel`` was raised.
        """
        asked, other = self._need_both(pair, side, recipe)
        return find_winners(pair, side, asked, other, context or JobContext())

    def cycle_error(
        self, pair: ImagePair, recipe: Recipe, side: Side, context: JobContext | None = None
    ) -> ScalarMap:
        """How far from where it began each cell of one image ends, matched there and back.

        Raises:
            MapsMissingError: an image has not been described, or its maps were dropped.
            MapsMismatchError: the two images have descriptors of different lengths.
            JobCancelled: ``context.cancel`` was raised.
        """
        asked, other = self._need_both(pair, side, recipe)
        return find_cycle_errors(asked, other, context or JobContext())

    def match(self, request: MatchRequest, context: JobContext) -> MatchTable:
        """Match many points of image a to image b, describing the images first if need be.

        Raises:
            DescSpaceError: as :meth:`describe`, and for descriptors of different lengths.
            JobCancelled: ``context.cancel`` was raised.
        """
        pair = request.pair
        a, _ = self._ensure(pair, "a", request.recipe, context)
        b, _ = self._ensure(pair, "b", request.recipe, context)
        _check_comparable(a, b)
        image = self._image(FileStamp.of(pair.path_a))
        working = resize_pixels(image.pixels, a.resize.to_size_px, antialias=True)
        chosen = choose_points(working, request.points, request.count, request.seed)
        # An image that was enlarged has working pixels beyond the centres of its border pixels.
        points_a = a.resize.backward(chosen).clip(0, np.array(a.size_px) - 1)
        return make_table(request, points_a, a, b, context)

    # ---- inside ----------------------------------------------------------------------------

    def _ensure(
        self, pair: ImagePair, side: Side, recipe: Recipe, context: JobContext
    ) -> tuple[Described, MapInfo]:
        """The maps of one image, made now if they are not in memory."""
        key = MapKey.of(pair, side, recipe)
        found = self._maps.get(key)
        if found is not None:
            return found
        with _held(self._describing, context.cancel):
            found = self._maps.get(key)  # another thread may have made them meanwhile
            if found is None:
                found = self._describe(pair, side, recipe, key, context)
                self._maps.put(key, found, found[1].size_bytes)
        return found

    def _describe(
        self, pair: ImagePair, side: Side, recipe: Recipe, key: MapKey, context: JobContext
    ) -> tuple[Described, MapInfo]:
        context.cancel.check()
        start = time.perf_counter()
        image = self._image(key.image)
        notes: tuple[str, ...] = ()
        chosen = ""
        trained = True
        if recipe.spec.name == PRECOMPUTED:
            path = _map_file(pair, side, recipe)
            map_file = read_map_file(path)
            levels = map_file.levels
            resize = Resize(image.size_px, map_file.image_size_px or image.size_px)
            if map_file.image_size_px is None:
                check_coverage(path, levels, image.size_px)
            notes = _map_file_notes(path, map_file, resize)
            for text in notes:
                context.emit(Note(text, "warning"))
        else:
            descriptor = get_built(recipe.spec)
            trained = descriptor.trained
            resize = fit_long_edge(image.size_px, recipe.long_edge_px)
            self._refuse_too_large(key, resize.to_size_px)
            members: tuple[Member, ...] | None = None
            if isinstance(descriptor, PairDescriptor):
                choice = self._choose(pair, recipe, descriptor, context)
                members = choice.members_a if side == "a" else choice.members_b
                chosen = choice.text
            levels, notes = describe_image(
                descriptor,
                resize_pixels(image.pixels, resize.to_size_px, antialias=True),
                device=recipe.device,
                precision=recipe.precision,
                members=members,
                cancel=context.cancel,
                emit=context.emit,
            )
        context.cancel.check()
        with torch.inference_mode():
            described = make_described(levels, resize)
        info = MapInfo(
            size_px=described.size_px,
            working_size_px=resize.to_size_px,
            cells=described.levels[0].cells,
            stride_px=described.stride_px,
            levels=len(described.levels),
            dim=described.dim,
            size_bytes=described.size_bytes,
            seconds=time.perf_counter() - start,
            device=str(described.device),
            trained=trained,
            notes=notes,
            chosen=chosen,
        )
        return described, info

    def _choose(
        self, pair: ImagePair, recipe: Recipe, descriptor: PairDescriptor, context: JobContext
    ) -> Choice:
        """How a pair wants its images described; the lock for describing is held."""
        key = MapKey.of(pair, "a", recipe), MapKey.of(pair, "b", recipe)
        choice = self._choices.get(key)
        if choice is None:
            sides: tuple[Side, Side] = ("a", "b")
            images = [self._look_for(pair, side, recipe, descriptor, context) for side in sides]
            found = choose_for_pair(images[0], images[1], context.cancel)
            assert found is not None
            choice = self._choices[key] = found
            context.emit(Note(choice.text))
            while len(self._choices) > _LOOKS_KEPT:
                self._choices.popitem(last=False)
        return choice

    def _look_for(
        self,
        pair: ImagePair,
        side: Side,
        recipe: Recipe,
        descriptor: PairDescriptor,
        context: JobContext,
    ) -> PairImage:
        """One image as its pairs see it, kept for the next pair."""
        key = replace(MapKey.of(pair, side, recipe), partner=(side, _NOBODY))
        found = self._looks.get(key)
        if found is None or found.descriptor is not descriptor:
            image = self._image(key.image)
            resize = fit_long_edge(image.size_px, recipe.long_edge_px)
            self._refuse_too_large(key, resize.to_size_px)
            found = self._looks[key] = PairImage(
                descriptor=descriptor,
                pixels=resize_pixels(image.pixels, resize.to_size_px, antialias=True),
                side=side,
                device=recipe.device,
                precision=recipe.precision,
                emit=context.emit,
            )
            while len(self._looks) > _LOOKS_KEPT:
                self._looks.popitem(last=False)
        self._looks.move_to_end(key)
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
            found.append(entry[0])
        _check_comparable(*found)
        return found[0], found[1]

    def _image(self, stamp: FileStamp) -> Image:
        image = self._images.get(stamp)
        if image is None:
            image = read_image(Path(stamp.path))
            self._images.put(stamp, image, image.pixels.nbytes)
        return image

    def _predict(self, key: MapKey, size_px: tuple[int, int]) -> int:
        """Memory of the maps of an image that is described at this size."""
        dim, grids = self._learn_shape(key)
        return predict_bytes(dim=dim + POSITION_DIM, grids=grids, size_px=size_px)

    def _refuse_too_large(self, key: MapKey, size_px: tuple[int, int]) -> None:
        """Say so beforehand, where the system would end the program for want of memory."""
        if math.prod(size_px) <= _SURELY_FITS_PX:
            return
        wanted, spare = self._predict(key, size_px), memory_bytes() // _WORKING_COPIES
        if wanted > spare:
            raise DeviceError(
                f"{key.image.path}: at {size_px[0]} × {size_px[1]} pixels its maps would take "
                f"{wanted / 2**30:.1f} GiB, and at most {spare / 2**30:.1f} GiB can be spared: "
                "lower the long edge or enlarge the stride."
            )

    def _learn_shape(self, key: MapKey) -> tuple[int, tuple[CellGrid, ...]]:
        """Length of a descriptor and the grids of its levels, from the maps of a blank image."""
        choice = (key.recipe.spec, key.files, key.build)
        shape = self._shapes.get(choice)
        if shape is None:
            levels = describe_blank(
                get_built(key.recipe.spec),
                _BLANK_EDGE_PX,
                device=key.recipe.device,
                precision="float32",
            )
            shape = levels[0].values.shape[1], tuple(level.grid for level in levels)
            self._shapes[choice] = shape
        return shape


@contextlib.contextmanager
def _held(lock: threading.Lock, cancel: CancelToken) -> Iterator[None]:
    """Hold a lock; waiting for it can be cancelled."""
    while not lock.acquire(timeout=_PATIENCE_S):
        cancel.check()
    try:
        yield
    finally:
        lock.release()


def _map_file(pair: ImagePair, side: Side, recipe: Recipe) -> Path:
    """The file with the precomputed maps of one image."""
    if recipe.map_files is None:
        raise MapFileError(
            pair.path(side), "has no file of precomputed maps; choose one for each image"
        )
    return recipe.map_files[0 if side == "a" else 1]


def _map_file_notes(path: Path, map_file: MapFile, resize: Resize) -> tuple[str, ...]:
    """A warning where a map file seems to be that of another image."""
    width, height = resize.from_size_px
    made_for = map_file.original_size_px
    scale_x, scale_y = resize.scale_xy
    if made_for is None and abs(math.log(scale_x / scale_y)) > _STRETCH_LIMIT:
        made_for = resize.to_size_px
    if made_for in (None, resize.from_size_px):
        return ()
    note = (
        f"{path} was made for an image of {made_for[0]} × {made_for[1]} pixels, and this one has "
        f"{width} × {height}: the maps are stretched to fit."
    )
    return (note,)


def _check_comparable(one: Described, other: Described) -> None:
    if one.dim != other.dim:
        raise MapsMismatchError(
            f"The maps of the two images hold descriptors of different lengths, {one.dim} and "
            f"{other.dim}, and cannot be compared."
        )


def _make_basis(request: PcaRequest, a: Described, b: Described) -> PcaBasis:
    if request.fit == "file":
        if request.basis_file is None:
            raise ValueError("a basis from a file needs the file")
        return load_basis(request.basis_file, dim=a.dim)
    images = {"both": (a, b), "a": (a,), "b": (b,)}[request.fit]
    names = {
        "both": f"{request.pair.path_a.name} and {request.pair.path_b.name}",
        "a": request.pair.path_a.name,
        "b": request.pair.path_b.name,
    }
    return fit_basis(
        [_level(image, request.level).vectors for image in images],
        sample_limit=_PCA_SAMPLE,
        fitted_on=f"{names[request.fit]}, {request.recipe.spec.name}",
    )


def _colour(basis: PcaBasis, image: Described, level: int) -> Picture:
    shown = _level(image, level)
    width, height = shown.cells
    return Picture(
        project(basis, shown.vectors.view(height, width, -1)),
        image.extent_of(shown.grid, shown.cells),
    )


def _level(image: Described, level: int) -> SearchLevel:
    """A level of an image; its last one where the other image of the pair has more."""
    return image.levels[min(level, len(image.levels) - 1)]
