"""Write the dense maps of one image, for any other program.  Loads torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from engine.descriptors.compute import describe_image, get_built
from engine.descriptors.precomputed import write_map_file
from engine.descriptors.registry import get_descriptor
from engine.errors import ConfigError
from engine.imagefiles.value_range import ValueRange
from engine.images import fit_long_edge, read_image, resize_pixels
from engine.inspection.described import describe_maps
from engine.inspection.requests import MapInfo, Recipe
from engine.jobs.recipe import warn_if_untrained
from engine.progress import JobContext, Note, Progress, Saved, Stage
from engine.vocabulary import PRECOMPUTED


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeJob:
    """Describe one image and write its maps.

    Attributes:
        image: the image file.
        recipe: how it is described.
        out: ``.npz`` file in the layout of :mod:`engine.descriptors.precomputed`.
        shown: which values of the file are black and white; None for its own range.
    """

    image: Path
    recipe: Recipe
    out: Path
    shown: ValueRange | None = None

    def run(self, context: JobContext) -> MapInfo:
        """Describe and write; returns what is known about the maps.

        Raises:
            DescSpaceError: the image, the weights, the device or the output cannot be used.
            JobCancelled: it was stopped.
        """
        recipe = self.recipe
        entry = get_descriptor(recipe.spec.name)
        if entry.name == PRECOMPUTED:
            raise ConfigError("descriptor", f"{PRECOMPUTED!r} reads maps and computes none")
        start = time.perf_counter()
        context.emit(Progress(Stage.DESCRIBING, 0, 1))
        image = read_image(self.image, shown=self.shown, allow_cut=True)
        for text in image.remarks:
            context.emit(Note(text, "warning"))
        descriptor = get_built(recipe.spec, context.cancel)
        resize = fit_long_edge(image.size_px, recipe.long_edge_px)
        levels, notes = describe_image(
            descriptor,
            resize_pixels(image.pixels, resize.to_size_px, antialias=True),
            device=recipe.device,
            precision=recipe.precision,
            context=context,
        )
        seconds = time.perf_counter() - start
        context.emit(Progress(Stage.DESCRIBING, 1, 1))
        warn_if_untrained(entry, descriptor.trained, context)
        write_map_file(
            self.out,
            levels,
            working_size_px=resize.to_size_px,
            original_size_px=image.size_px,
            descriptor=entry.name,
            settings=dict(recipe.spec.settings),
            value_range=image.range,
        )
        context.emit(Saved(self.out, "maps"))
        return describe_maps(
            levels,
            resize,
            seconds=seconds,
            trained=descriptor.trained,
            notes=notes,
            values=image.range_words,
        )
