"""Truth by the tracks of a COLMAP model: what two images show of the same points of the scene."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import TruthError, quoted
from engine.geometry.coords import Resize
from engine.truth.base import NoHomography, Points, Size, TruePoints
from engine.truth.cameras import Camera
from engine.truth.colmap_model import model_files, read_observations
from engine.truth.points import PointsTruth
from engine.vocabulary import Side, TruthKind, TruthOrigin


@dataclass(frozen=True, slots=True)
class TracksSource:
    """Two images of a model.

    Attributes:
        model: the folder with ``cameras`` and ``images``.
        images: their names in the model.
        cameras: of both images.
        shared: how many points of the scene both show.
        origin: who made it.
    """

    model: Path
    images: tuple[str, str]
    cameras: tuple[Camera, Camera]
    shared: int
    origin: TruthOrigin = "given"

    @property
    def kind(self) -> TruthKind:
        """A list of points."""
        return "points"

    @property
    def files(self) -> tuple[Path, ...]:
        """The model's file of images; the cameras are in memory."""
        files = model_files(self.model)
        return () if files is None else files[1:]

    def open(self, size_a_px: Size, size_b_px: Size) -> TracksTruth:
        """The places of the points that both images show.

        An image of another size than the model's covers the same area, if its sides have the same
        ratio.

        Raises:
            TruthError: the model cannot be read, lacks an image, or is of images of other shapes.
        """
        sizes = (size_a_px, size_b_px)
        places, cameras = [], []
        for name, camera, size_px, found in zip(
            self.images, self.cameras, sizes, self._places(), strict=True
        ):
            resize = Resize(camera.size_px, size_px)
            if not resize.keeps_shape:
                (width, height), (wide, high) = camera.size_px, size_px
                raise TruthError(
                    self.model,
                    f"has {name} as an image of {width} × {height} pixels, and the file has "
                    f"{wide} × {high}, which is another shape",
                )
            places.append(resize.forward(found))
            cameras.append(camera.resized(resize))
        points = PointsTruth.of(places[0], places[1], sizes)
        if not points.reaches_both:
            both = " and ".join(self.images)
            raise TruthError(self.model, f"has no point that lies inside both {both}")
        return TracksTruth(points, (cameras[0], cameras[1]))

    def identity(self) -> str:
        """A hash of the places, and the cameras.

        Raises:
            TruthError: the model cannot be read, or lacks an image.
        """
        table = np.ascontiguousarray(np.hstack(self._places()), "<f8")
        digest = hashlib.sha256(table.tobytes()).hexdigest()
        return f"{len(table)} tracked points {digest} {self.cameras!r}"

    def _places(self) -> tuple[Points, Points]:
        observed = read_observations(self.model)
        for name in self.images:
            if name not in observed:
                raise TruthError(self.model, f"holds no image {quoted(name)}")
        a, b = (observed[name] for name in self.images)
        _, in_a, in_b = np.intersect1d(
            a.numbers, b.numbers, assume_unique=True, return_indices=True
        )
        return a.places_px[in_a], b.places_px[in_b]


@dataclass(frozen=True, slots=True, eq=False)
class TracksTruth(NoHomography):
    """Opened tracks.

    Attributes:
        points: the places of the points that both images show.
        cameras: of image a and image b.
    """

    points: PointsTruth
    cameras: tuple[Camera, Camera]

    @property
    def kind(self) -> TruthKind:
        """A list of points."""
        return "points"

    @property
    def sizes_px(self) -> tuple[Size, Size]:
        """(width, height) of both images."""
        return self.points.sizes_px

    @property
    def listed_px(self) -> tuple[Points, Points]:
        """The places."""
        return self.points.listed_px

    def locate(self, side: Side, points_px: Points) -> TruePoints:
        """As for any list of points."""
        return self.points.locate(side, points_px)
