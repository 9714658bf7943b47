"""Homographies: 3×3 matrices ``h_b_from_a`` that carry points of image a to image b.

A matrix and its negative move points alike, yet differ in what they call *behind*: a point is in
front, and has an image, where its third homogeneous coordinate is positive.  That sign survives
products and inverses.  :func:`estimate_homography` chooses it so that the matches are in front, and
:func:`engine.geometry.visibility.facing` so that what both images show is.  What a file holds may
have either sign.

Nothing here imports torch.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import HomographyError
from engine.files import named_path, write_atomically
from engine.geometry.matrix_files import read_matrix
from engine.progress import Tell, tell_choice

Matrix = NDArray[np.float64]

_TYPICAL_PX: Final = 1000.0
# In units of a typical image, no real pair of cameras comes near this ratio of singular values,
# while a rank-deficient matrix that was written with 6 digits still exceeds it.
_WORST_CONDITION: Final = 1e6
CONFIDENCE: Final = 0.9999
MAX_ITERATIONS: Final = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class RobustHomography:
    """A homography estimated from matches of which some are wrong.

    Attributes:
        h_b_from_a: ``(3, 3)``, with the inliers in front.
        inlier: ``(N,)`` True for the matches that agree within the threshold.
    """

    h_b_from_a: Matrix
    inlier: NDArray[np.bool_]


def warp_points(h_b_from_a: NDArray[Any], points_a: NDArray[Any]) -> Matrix:
    """Carry points of image a to image b.

    Args:
        h_b_from_a: ``(3, 3)``.
        points_a: ``(..., 2)`` points (x, y).

    Returns:
        ``(..., 2)``; NaN for points on or behind the horizon, which have no image, and for points
        that are not finite.
    """
    points = np.asarray(points_a, np.float64)
    ahead, depth = _homogeneous(h_b_from_a, points)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved: Matrix = ahead / depth[..., None]
    finite = np.isfinite(moved)
    # Column by column: numpy's ``all`` over two values takes five times as long.
    visible = (depth > 0) & finite[..., 0] & finite[..., 1]
    moved[~visible] = np.nan
    return moved


def warp_image(
    pixels: NDArray[Any], h_b_from_a: NDArray[Any], size_b_px: tuple[int, int]
) -> NDArray[Any]:
    """Draw image a as camera b would see it, bilinearly.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)`` of image a; uint8, uint16 or float32.
        h_b_from_a: ``(3, 3)``, in pixels of both images.
        size_b_px: (width, height) to draw.

    Returns:
        An image of that size and the same dtype; 0 where image a has no pixel.

    Raises:
        HomographyError: the matrix cannot be inverted.
    """
    import cv2  # late: it takes 0.2 s to load, and the window paints first

    matrix = check_homography(h_b_from_a, "homography")
    # OpenCV, too, calls the top-left pixel's centre (0, 0), so the matrix needs no shift.
    warped = cv2.warpPerspective(
        pixels, matrix, size_b_px, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    # It would also draw, mirrored, what is behind the camera.
    inverse = np.linalg.inv(matrix)
    depth = (
        inverse[2, 0] * np.arange(size_b_px[0])[None]
        + inverse[2, 1] * np.arange(size_b_px[1])[:, None]
        + inverse[2, 2]
    )
    warped[depth <= 0] = 0
    return np.asarray(warped)


def local_scale(h_b_from_a: NDArray[Any], points_a: NDArray[Any]) -> Matrix:
    """By what factor lengths grow around points of image a: the root of the area's growth.

    Args:
        h_b_from_a: ``(3, 3)``.
        points_a: ``(..., 2)``.

    Returns:
        ``(...)``, NaN where a point has no image.
    """
    ((xx, xy), (yx, yy)) = np.moveaxis(jacobian(h_b_from_a, points_a), (-2, -1), (0, 1))
    scale: Matrix = np.sqrt(np.abs(xx * yy - xy * yx))
    return scale


def normalise(h_b_from_a: NDArray[Any]) -> Matrix:
    """Scale a matrix so that ``[2, 2]`` is 1, which puts image a's pixel (0, 0) in front.

    Where that pixel lies on the horizon the matrix gets unit length instead, and the sign that
    keeps left and right.  This is how matrices are written down; whether that pixel should be in
    front is for :func:`engine.geometry.visibility.facing` to say, which knows the images' sizes.
    """
    matrix = np.asarray(h_b_from_a, np.float64)
    length = np.linalg.norm(matrix)
    if abs(matrix[2, 2]) > 1e-12 * length:
        scaled: Matrix = matrix / matrix[2, 2]
        return scaled
    unit: Matrix = matrix / length
    return -unit if np.linalg.det(unit) < 0 else unit


def is_usable(h_b_from_a: NDArray[Any]) -> bool:
    """True if a matrix is 3×3, finite and invertible in double precision with digits to spare."""
    return _fault(h_b_from_a) is None


def check_homography(h_b_from_a: NDArray[Any], path: Path | str) -> Matrix:
    """The matrix as float64.

    Args:
        h_b_from_a: what should be a homography.
        path: the file it came from, for the message.

    Raises:
        HomographyError: it is not 3×3, not finite, or singular.
    """
    fault = _fault(h_b_from_a)
    if fault is not None:
        raise HomographyError(path, fault)
    return np.asarray(h_b_from_a, np.float64)


def read_homography(path: Path, tell: Tell = tell_choice) -> Matrix:
    """Read a matrix in any of the formats of :mod:`engine.geometry.matrix_files`.

    Args:
        path: the file, such as HPatches' ``H_1_k``.
        tell: receives a sentence where the file holds several matrices.

    Returns:
        ``(3, 3)`` float64 as :func:`normalise` leaves it.

    Raises:
        HomographyError: missing, unreadable, not nine numbers, not finite, or singular.
    """
    path = named_path(path, HomographyError)
    return normalise(check_homography(read_matrix(path, tell), path))


def write_homography(path: Path, h_b_from_a: NDArray[Any]) -> None:
    """Write a matrix so that :func:`read_homography` reads back every digit.

    ``.npy`` and ``.json`` are written as such, any other ending as three lines of text.

    Raises:
        HomographyError: it is not a homography.
        OutputError: the file cannot be written.
    """
    matrix = check_homography(h_b_from_a, path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, matrix, allow_pickle=False)
        content = buffer.getvalue()
    elif suffix == ".json":
        content = (json.dumps(matrix.tolist()) + "\n").encode()
    else:
        lines = (" ".join(repr(float(value)) for value in row) for row in matrix)
        content = ("\n".join(lines) + "\n").encode()
    write_atomically(path, content)


def estimate_homography(
    points_a: NDArray[Any], points_b: NDArray[Any], *, threshold_px: float, seed: int
) -> RobustHomography | None:
    """The homography most matches agree on, by MAGSAC++ (Barath et al., CVPR 2020) in OpenCV.

    Args:
        points_a: ``(N, 2)`` points of image a; pairs with a value that is not finite never count.
        points_b: ``(N, 2)`` their matches in image b.
        threshold_px: a match this close to its place in image b is an inlier.
        seed: of the random samples; the same input and seed give the same answer.

    Returns:
        The estimate, or None where there is none: fewer than four matches, the inliers lie on a
        line or a point, or they mirror image a, which no camera does.
    """
    import cv2  # late, as in warp_image

    points_a = np.asarray(points_a, np.float64).reshape(-1, 2)
    points_b = np.asarray(points_b, np.float64).reshape(-1, 2)
    finite = np.isfinite(points_a).all(axis=1) & np.isfinite(points_b).all(axis=1)
    if finite.sum() < 4:
        return None
    parameters = magsac_parameters(threshold_px, seed)
    found: Any  # None where OpenCV has no estimate, which its stubs lack
    try:
        found, _ = cv2.findHomography(points_a[finite], points_b[finite], parameters)
    except cv2.error:  # raised for some degenerate samples, where others give None
        return None
    if found is None or not is_usable(found):
        return None
    best: RobustHomography | None = None
    for matrix in (np.asarray(found, np.float64), -np.asarray(found, np.float64)):
        with np.errstate(invalid="ignore"):
            error_px = np.linalg.norm(warp_points(matrix, points_a) - points_b, axis=1)
            inlier = error_px <= threshold_px
        if best is None or inlier.sum() > best.inlier.sum():
            best = RobustHomography(matrix, inlier)
    assert best is not None
    agreeing = (points_a[best.inlier], points_b[best.inlier])
    return best if all(_spans_a_plane(points) for points in agreeing) else None


def magsac_parameters(threshold: float, seed: int) -> Any:
    """OpenCV's settings of MAGSAC++, which gives the same answer for the same input and seed.

    Args:
        threshold: a match this close to where a model puts it is an inlier, in the model's unit.
        seed: of the random samples.

    Returns:
        A ``cv2.UsacParams``.
    """
    import cv2  # late, as in warp_image

    parameters = cv2.UsacParams()
    parameters.confidence = CONFIDENCE
    parameters.maxIterations = MAX_ITERATIONS
    parameters.threshold = threshold
    parameters.randomGeneratorState = seed % (2**31)
    parameters.isParallel = False
    parameters.sampler = cv2.SAMPLING_UNIFORM
    parameters.score = cv2.SCORE_METHOD_MAGSAC
    parameters.loMethod = cv2.LOCAL_OPTIM_SIGMA
    parameters.final_polisher = cv2.MAGSAC
    parameters.final_polisher_iterations = 10
    return parameters


def _homogeneous(h_b_from_a: NDArray[Any], points: Matrix) -> tuple[Matrix, Matrix]:
    """``(..., 2)`` numerators and ``(...)`` depths of carried points."""
    matrix = np.asarray(h_b_from_a, np.float64)
    x, y = points[..., 0], points[..., 1]
    carried = np.empty((*points.shape[:-1], 3))
    # Not by a product of matrices: BLAS wakes its threads, which spin for longer than this takes.
    with np.errstate(invalid="ignore", over="ignore"):
        for row, (of_x, of_y, constant) in enumerate(matrix.tolist()):
            carried[..., row] = x * of_x + y * of_y + constant
    return carried[..., :2], carried[..., 2]


def jacobian(h_b_from_a: NDArray[Any], points_a: NDArray[Any]) -> Matrix:
    """``(..., 2, 2)`` derivative of the carried point, NaN where a point has no image."""
    matrix = np.asarray(h_b_from_a, np.float64)
    points = np.asarray(points_a, np.float64)
    moved = warp_points(matrix, points)
    depth = _homogeneous(matrix, points)[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        derivative: Matrix = (matrix[:2, :2] - moved[..., :, None] * matrix[2, :2]) / depth[
            ..., None, None
        ]
    return derivative


def _fault(values: NDArray[Any]) -> str | None:
    """What is wrong with a would-be homography, None if nothing."""
    matrix = np.asarray(values)
    if matrix.shape != (3, 3):
        return f"is not a 3 × 3 matrix but has the shape {matrix.shape}"
    if not np.isfinite(matrix).all():
        return "has entries that are not finite numbers"
    matrix = matrix.astype(np.float64)
    largest = np.abs(matrix).max()
    if largest == 0:
        return "is singular: all its entries are zero"
    # Judged in units of an image's size, so that rows and columns have equal weight.
    unit = np.diag([1 / _TYPICAL_PX, 1 / _TYPICAL_PX, 1.0])
    singular = np.linalg.svd(unit @ (matrix / largest) @ np.linalg.inv(unit), compute_uv=False)
    if singular[2] * _WORST_CONDITION < singular[0]:
        return "is singular: it would squeeze the image into a line or a point"
    return None


def _spans_a_plane(points: Matrix) -> bool:
    """True for at least four points that do not lie on one line."""
    if len(points) < 4:
        return False
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(spread[1] > 1e-3 * spread[0])
