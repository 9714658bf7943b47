"""The grid of map files, measured with a network that runs outside of this program."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.cli.run import main
from engine.descriptors.map_check import check_map_files, write_probe_images
from engine.errors import MapFileError, OutputError
from engine.progress import JobContext

BLOCK_PX = 8


MIXTURE = np.random.default_rng(0).normal(size=(BLOCK_PX * BLOCK_PX * 3, 24))


def blocks(rgb: np.ndarray) -> np.ndarray:
    """Each cell is a mixture of its own 8 × 8 pixels: stride 8, cell 0 at pixel 3.5."""
    height, width = (side // BLOCK_PX for side in rgb.shape[:2])
    cut = rgb[: height * BLOCK_PX, : width * BLOCK_PX]
    cells = cut.reshape(height, BLOCK_PX, width, BLOCK_PX, 3).transpose(0, 2, 1, 3, 4)
    return np.moveaxis(cells.reshape(height, width, -1) @ MIXTURE, 2, 0)


def smoothed(rgb: np.ndarray) -> np.ndarray:
    """Each cell is what lies around every eighth pixel from the first: stride 8, cell 0 at 0."""
    scales = [cv2.GaussianBlur(rgb, (0, 0), sigma)[::8, ::8] for sigma in (1.5, 2.5, 4.0)]
    return np.moveaxis(np.concatenate(scales, axis=2), 2, 0)


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "probes"
    assert write_probe_images(folder, about_px=8, context=JobContext()) == len(
        list(folder.glob("*.png"))
    )
    return folder


def describe(probes: Path, folder: Path, network=blocks, half: bool = False, **declared) -> Path:
    """Describe all images as a program of somebody else's would."""
    folder.mkdir()
    for image in probes.glob("*.png"):
        (folder / image.name).symlink_to(image)
        rgb = cv2.imread(str(image))[:, :, ::-1].astype(np.float32) / 255
        if half:
            rgb = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        size_px = np.array(rgb.shape[1::-1])
        np.savez(
            folder / f"{image.stem}.npz", values=network(rgb), image_size_px=size_px, **declared
        )
    return folder


def run(*words: str) -> int:
    def never(*_: object) -> int:
        raise AssertionError("no window is wanted")

    return main(["descriptors", *words], open_window=never)


def found(folder: Path, name: str):
    report = check_map_files(folder, JobContext())
    return next(one for one in report.findings if one.name == name)


def sampled(first_px: int, sigma_px: float):
    """Each cell is what lies around every eighth pixel from this one on; 0 for just that pixel."""

    def network(rgb: np.ndarray) -> np.ndarray:
        seen = cv2.GaussianBlur(rgb, (0, 0), sigma_px) if sigma_px else rgb
        return np.moveaxis(seen[first_px::8, first_px::8], 2, 0)

    return network


@pytest.mark.parametrize(
    ("network", "offset_px", "off_px"),
    [
        (blocks, 3.5, 0.2),
        (smoothed, 0.0, 0.12),
        # Narrow fields, at other places of the strips that are changed at once.
        (sampled(0, 0.0), 0.0, 0.01),
        (sampled(3, 1.0), 3.0, 0.12),
        (sampled(6, 0.7), 6.0, 0.12),
    ],
)
def test_what_is_declared_rightly_is_measured_so(tmp_path, probes, network, offset_px, off_px):
    folder = describe(probes, tmp_path / "m", network, stride_px=8.0, offset_px=offset_px)
    report = check_map_files(folder, JobContext())
    assert not report.refusals
    assert not report.warnings
    offset = next(one for one in report.findings if one.name == "offset")
    places, _, error = offset.measured.partition(" ± ")
    for place in places.removesuffix(" px").split(", "):
        assert float(place) == pytest.approx(offset_px, abs=off_px)
        assert abs(float(place) - offset_px) <= 3 * float(error) + 0.01  # what is shown is rounded


def test_an_offset_half_a_pixel_off_is_told(tmp_path, probes):
    folder = describe(probes, tmp_path / "m", stride_px=8.0, offset_px=4.0)
    assert found(folder, "offset").verdict == "differs"
    assert run("--check-maps", str(folder)) == 1


def test_a_wrong_stride_is_refused(tmp_path, probes):
    folder = describe(probes, tmp_path / "m", stride_px=7.5, offset_px=3.5)
    assert found(folder, "stride").verdict == "refused"


def test_a_map_of_an_image_that_was_resized_is_measured_in_its_own_pixels(tmp_path, probes):
    folder = describe(probes, tmp_path / "m", half=True, stride_px=8.0, offset_px=3.5)
    report = check_map_files(folder, JobContext())
    assert not report.refusals
    assert not report.warnings


def test_axes_in_the_wrong_order_are_refused(tmp_path, probes):
    def turned(rgb: np.ndarray) -> np.ndarray:
        return blocks(rgb[:160, :160]).transpose(0, 2, 1)

    folder = describe(probes, tmp_path / "m", turned, stride_px=8.0, offset_px=3.5)
    assert check_map_files(folder, JobContext()).refusals


def test_a_missing_map_and_a_foreign_folder_are_named(tmp_path, probes):
    folder = describe(probes, tmp_path / "m", stride_px=8.0, offset_px=3.5)
    (folder / "image1.npz").unlink()
    with pytest.raises(MapFileError, match=r"image1\.png: has no map beside it"):
        check_map_files(folder, JobContext())
    next(folder.glob("image0_rows_0006_*.png")).unlink()
    with pytest.raises(MapFileError, match="does not hold all the images"):
        check_map_files(folder, JobContext())
    with pytest.raises(MapFileError, match="does not hold all the images"):
        check_map_files(tmp_path, JobContext())
    with pytest.raises(OutputError, match="is not empty"):
        write_probe_images(folder, about_px=8, context=JobContext())


def test_the_terminal_writes_images_and_prints_the_table(tmp_path, probes, capsys):
    assert run("--write-probes", str(tmp_path / "p"), "--stride", "16") == 0
    assert "images in" in capsys.readouterr().out
    folder = describe(probes, tmp_path / "m", stride_px=8.0, offset_px=3.5)
    assert run("--check-maps", str(folder), "--json") == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert {one["verdict"] for one in report["findings"]} == {"ok"}
