"""Small files of every kind that the program reads, most of them written by the program itself."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import filelock
import numpy as np
from numpy.typing import NDArray

from benchmarks.soak.layout_samples import write_layouts
from benchmarks.soak.ledger import quiet_environment

DAISY = ("--descriptor", "daisy", "--set", "stride_px=8", "--device", "cpu")
TRAINING = (
    "batch=1", "width=48", "height=32", "points=40", "mining.kind=none",
    "loss.kind=dual-softmax", "optimiser.rate=0.0003", "saving.log_every_steps=1",
    "saving.every_s=0", "validation.pairs=1", "validation.points=20",
)  # fmt: skip


def settings(*values: str) -> list[str]:
    """``--set train.…`` for each value."""
    return [word for value in values for word in ("--set", f"train.{value}")]


def run_main(*words: object, home: Path) -> None:
    """Run a command of the program to its end."""
    done = subprocess.run(
        [sys.executable, "main.py", *map(str, words)],
        env=quiet_environment(home), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))} failed: {done.stderr[-500:]}")


def texture(seed: int, size_px: tuple[int, int] = (96, 72)) -> NDArray[np.uint8]:
    """Smooth random texture ``(H, W, 3)``: every place looks different."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (size_px[1], size_px[0], 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.asarray(255 * (0.5 + smooth / (4 * smooth.std())).clip(0, 1), np.uint8)


def write_photos(folder: Path, count: int = 5) -> Path:
    """A folder of photos to train on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), texture(number))
    return folder


def write_sequences(folder: Path, *, sequences: int = 2, images: int = 4) -> Path:
    """Sequences in HPatches' layout whose images are parts of one picture."""
    for number in range(sequences):
        sequence = folder / (f"v_moved{number}" if number % 2 else f"i_light{number}")
        sequence.mkdir(parents=True, exist_ok=True)
        plane = texture(100 + number, (140, 110))
        for index in range(1, images + 1):
            step = 4 * (index - 1) if number % 2 else 0
            seen = plane[step : step + 72, step : step + 96] * (1 - 0.1 * index)
            cv2.imwrite(str(sequence / f"{index}.png"), seen.astype(np.uint8))
            if index > 1:
                (sequence / f"H_1_{index}").write_text(f"1 0 {-step}\n0 1 {-step}\n0 0 1\n")
    return folder


def make_samples(folder: Path) -> Path:
    """All samples, each in a folder of its own; made once, even if several kinds begin together."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _make(folder)
            (folder / "complete").touch()
    return folder


def _make(folder: Path) -> None:
    home = folder / "home"
    photos = write_photos(folder / "photos")
    write_sequences(folder / "sequences")
    _write_pictures(folder / "pictures")
    _write_homographies(folder / "homographies")
    _write_depths(folder)
    _write_points(folder / "points")
    _write_flows(folder / "flow")
    write_layouts(folder / "layouts")
    picture = photos / "0.png"
    run_main("describe", picture, *DAISY, "--out", _in(folder / "maps") / "a.npz", home=home)
    values = np.random.default_rng(0).standard_normal((8, 9, 12)).astype(np.float32)
    np.save(folder / "maps" / "b.npy", values)
    facts = {"stride_px": 8.0, "offset_px": 3.5, "image_size_px": [96, 72]}
    (folder / "maps" / "b.json").write_text(json.dumps(facts))
    run_main(
        "train", "--photos", photos, "--run-dir", folder / "runs" / "train-20260101-000000",
        *settings(*TRAINING, "steps=3", "validation.every_steps=1", "saving.preview_every_steps=1"),
        home=home,
    )  # fmt: skip
    run_main(
        "evaluate", "--dataset", folder / "sequences", *DAISY, "--query-limit", 40,
        "--out", folder / "runs" / "evaluate-20260101-000001", home=home,
    )  # fmt: skip
    _write_weights(folder)
    _write_archives(folder)
    _write_settings(folder)
    _write_index(folder)
    code = f"from benchmarks.soak.readers import write_layout; write_layout({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], env=quiet_environment(home), check=True)


def _in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_pictures(folder: Path) -> None:
    from PIL import Image

    _in(folder)
    rgb = texture(7, (40, 30))
    picture = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "jpg", "webp", "tif", "bmp", "ppm"):
        turned: dict[str, Any] = {"exif": exif} if suffix in ("jpg", "webp") else {}
        picture.save(folder / f"plain.{suffix}", **turned)
    picture.convert("L").save(folder / "grey.pgm")
    picture.convert("P").save(folder / "palette.png", transparency=3)
    picture.convert("RGBA").save(folder / "alpha.png", exif=exif)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("1").save(folder / "bits.pbm")
    picture.save(folder / "packed.tif", compression="tiff_lzw")
    deep = rgb.astype(np.uint16) * 257
    for name in ("deep.png", "deep.tif", "deep.ppm"):
        cv2.imwrite(str(folder / name), deep)
    cv2.imwrite(str(folder / "deep.pgm"), deep[..., 0])


def _write_homographies(folder: Path) -> None:
    from engine.geometry.homography import write_homography

    _in(folder)
    matrix = np.array([[0.98, -0.06, 8.0], [0.07, 0.97, -3.0], [1e-5, 0.0, 1.0]])
    for name in ("H_1_2", "h.txt", "h.json", "h.npy"):
        write_homography(folder / name, matrix)
    (folder / "h.csv").write_text("0.98,-0.06,8\n0.07,0.97,-3\n0,0,1 # from a to b\n")


def _write_depths(folder: Path) -> None:
    """A wall askew with a board before it, as disparity and as depth; and cameras of all lenses."""
    disparity = 4 + 0.1 * np.tile(np.arange(24.0), (16, 1))
    disparity[4:10, 12:18] = 9
    depth = 20 / disparity
    for name, values, factor in (("disparity", disparity, 6), ("depth", depth, 100)):
        target = _in(folder / name)
        stored = values.astype(np.float32)
        for other in ("right.npy", "b.npy"):
            np.save(target / other, stored)
        np.save(target / "d.npy", stored)
        np.savez(target / "d.npz", stored)
        for suffix in ("pfm", "tif"):
            cv2.imwrite(str(target / f"d.{suffix}"), stored)
        cv2.imwrite(str(target / "d.png"), np.rint(values * factor).astype(np.uint16))
        (target / "d.bin").write_bytes(b"24&16&1&" + stored.tobytes())
        with contextlib.suppress(ImportError):
            import h5py

            with h5py.File(target / "d.h5", "w") as file:
                file[name] = stored
    model = Path("tests/engine/colmap_model")
    for form in ("text", "binary"):
        shutil.copytree(model / form, folder / "cameras" / form)
    numbers = "1 0 0 0 1 0 0 0 1 0.5 0 0"
    lenses = ("PINHOLE 320 240 300 300 160 120", "OPENCV 320 240 300 300 160 120 -0.1 0.02 0 0")
    views = _in(folder / "cameras" / "list") / "views.txt"
    views.write_text("".join(f"{at}.png {numbers} {lens}\n" for at, lens in enumerate(lenses)))


def _write_points(folder: Path) -> None:
    from engine.inspection.requests import MatchTable
    from engine.jobs.match_files import MATCH_FORMATS, write_matches

    points = np.random.default_rng(0).uniform(0, 70, (2, 12, 2))
    ones = np.ones(12, np.float32)
    table = MatchTable(
        points_a=points[0], points_b=points[1], similarity=ones, ratio=ones, mutual=ones > 0,
        error_px=ones.astype(np.float64),
    )  # fmt: skip
    images = _in(folder) / "a.png", folder / "b.png"
    for suffix in MATCH_FORMATS:
        write_matches(folder / f"matches{suffix}", table, images)
    np.savetxt(folder / "corrs.txt", np.hstack(list(points)))
    np.save(folder / "rows.npy", np.hstack(list(points)))
    np.savez(folder / "glue.npz", keypoints0=points[0], keypoints1=points[1],
             matches0=np.arange(12)[::-1])  # fmt: skip
    with contextlib.closing(sqlite3.connect(folder / "database.db")) as database:
        database.execute("CREATE TABLE images (image_id INTEGER PRIMARY KEY, name TEXT)")
        for table_name, key in (("keypoints", "image_id"), ("matches", "pair_id"),
                                ("two_view_geometries", "pair_id")):  # fmt: skip
            columns = f"{key} INTEGER PRIMARY KEY, rows INTEGER, cols INTEGER, data BLOB"
            database.execute(f"CREATE TABLE {table_name} ({columns})")
        pairs = np.stack([np.arange(12, dtype=np.uint32)] * 2, axis=1)
        for number, name in enumerate("ab", 1):
            database.execute("INSERT INTO images VALUES (?, ?)", (number, f"{name}.png"))
            stored = points[number - 1].astype(np.float32)
            database.execute("INSERT INTO keypoints VALUES (?, 12, 2, ?)",
                             (number, stored.tobytes()))  # fmt: skip
        database.execute("INSERT INTO matches VALUES (?, 12, 2, ?)",
                         (2147483647 + 2, pairs.tobytes()))  # fmt: skip
        database.commit()


def _write_flows(folder: Path) -> None:
    y, x = np.mgrid[:16, :24].astype(np.float32)
    flow = np.stack([0.1 * x + 2 * (x > 12), 0.05 * y - 1], axis=-1)
    flow[:3, :3] = np.nan
    np.save(_in(folder) / "back.npy", -flow)
    np.save(folder / "f.npy", flow)
    np.savez(folder / "f.npz", flow=flow, valid=np.isfinite(flow[..., 0]))
    filled = np.nan_to_num(flow, nan=1e10).astype(np.float32)
    cv2.writeOpticalFlow(str(folder / "f.flo"), filled)
    third = np.zeros((16, 24, 1), np.float32)
    cv2.imwrite(str(folder / "f.pfm"), np.dstack([third, filled[..., ::-1]]))
    known = np.isfinite(flow[..., 0])
    kitti = np.nan_to_num(flow)[..., ::-1] * 64 + 2**15
    cv2.imwrite(str(folder / "f.png"), np.dstack([known, kitti]).astype(np.uint16))


def _write_weights(folder: Path) -> None:
    import torch

    from engine.checkpoints import load_state
    from engine.matching.projection import PcaBasis, save_basis

    trained = folder / "runs" / "train-20260101-000000" / "weights" / "last.safetensors"
    target = _in(folder / "weights")
    shutil.copyfile(trained, target / "last.safetensors")
    state, _ = load_state(trained)
    few = dict(list(state.items())[:4])
    torch.save({"state_dict": {f"module.{name}": value for name, value in few.items()},
                "epoch": 3, "best": 0.5}, target / "wrapped.pth")  # fmt: skip
    torch.save(few, target / "bare.pt")
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.standard_normal((8, 3)))[0].T
    basis = PcaBasis(
        mean=random.standard_normal(8), components=axes,
        explained=np.array([0.5, 0.3, 0.1]), low=-np.ones(3), high=np.ones(3), fitted_on="a and b",
    )  # fmt: skip
    save_basis(basis, _in(folder / "basis") / "basis.npz")


def _write_index(folder: Path) -> None:
    from engine.data.photos import _pictures

    photos = write_photos(folder / "index" / "photos", 3)
    entries = {name: {"state": state, "fault": ""} for name, state in _pictures(photos)}
    content = {"format": 1, "root": str(photos), "entries": entries}
    (folder / "index" / "index.json").write_text(json.dumps(content))


def _write_archives(folder: Path) -> None:
    target = _in(folder / "archives")
    files = sorted((folder / "sequences").rglob("*"))
    with zipfile.ZipFile(target / "set.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(folder))
    for name, mode in (("set.tar", "w"), ("set.tar.gz", "w:gz")):
        with tarfile.open(target / name, mode) as packed:  # type: ignore[call-overload]
            for file in files:
                packed.add(file, str(file.relative_to(folder)), recursive=False)


def _write_settings(folder: Path) -> None:
    from descgui.models.settings import SettingsModel

    configs = _in(folder / "configs")
    for name in ("quick", "descspace", "msnet_v0"):
        shutil.copyfile(Path("resources/configs") / f"{name}.yaml", configs / f"{name}.yaml")
    (configs / "evaluate.yaml").write_text(
        "dataset: sequences\ndescriptor: [daisy]\nprotocol: dense\nthreshold_px: [1, 3.5, 5]\n"
        "daisy:\n  stride_px: 4\nsettings:\n  radius_px: 15\nquery_limit: 100\n"
    )
    window = _in(folder / "window")
    model = SettingsModel(window / "settings.yaml")
    model.update(theme="dark", peaks=7, opacity=0.5)
    model.remember_folder(str(folder / "sequences"))
    model.remember_pair("a.png\tb.png")
    model.remember_pair(f"{folder / 'sequences'}\ti_light0\t2")
    records = {"set.zip": {"sha256": "0" * 64, "url": "http://x/set.zip", "date": "2026-01-01"}}
    data = _in(folder / "records" / "data")
    (data / "downloads.json").write_text(json.dumps(records))
    (data / "set.zip.part.txt").write_text('"one"')
    words = _in(folder / "words")
    (words / "words.txt").write_text(
        "query_limit=50\nthreshold_px=[1, 2]\ndaisy.stride_px=8\nsettings.radius_px=12.5\n"
        'dataset="a b"\nlong_edge_px=96\nprecision=float32\n'
    )
    from engine.jobs.original_overrides import ORIGINAL_SETTINGS

    lines = [f"{name}={value}" for name in ORIGINAL_SETTINGS for value in (1, "0.5", "True")]
    (words / "original.txt").write_text("\n".join(lines) + "\n")
    plugin = _in(folder / "plugin")
    shutil.copyfile("docs/examples/my_network.py", plugin / "my_network.py")
    lock = _in(folder / "lock")
    (lock / ".writer.json").write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
