"""Small sets of pairs of every layout that the program reads, each read whole before its use."""

from __future__ import annotations

import csv
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE_PX: Final = (24, 16)
_MATRIX: Final = "1 0 4\n0 1 4\n0 0 1\n"
_PINHOLE: Final = (30.0, 30.0, 12.0, 8.0)


def write_layouts(folder: Path) -> None:
    """A folder for each word of a layout, with a set that its reader has no complaint about.

    Raises:
        RuntimeError: a set is not read whole.
    """
    from engine.data.layouts import open_pair_set, readers

    words = [reader.word for reader in readers() if reader.word not in _READ_ELSEWHERE]
    for word in words:
        place = folder / word
        place.mkdir(parents=True)
        _WRITERS[word](place)
        found = open_pair_set(place, word)
        if found.problems:
            raise RuntimeError(f"the sample of {word} is not read whole: {found.problems}")
        for pair in found.pairs():
            if pair.truth is not None:
                pair.truth.open(SIZE_PX, SIZE_PX)


_READ_ELSEWHERE: Final = ("hpatches",)
"""Has samples and a reader of its own in the fuzzer."""


def _pictures(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).uniform(0, 255, (SIZE_PX[1], SIZE_PX[0], 3))
        cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8))


def _texts(folder: Path, **contents: str) -> None:
    for name, text in contents.items():
        (folder / name.replace("__", ".")).write_text(text)


def _table(path: Path, *rows: Sequence[object]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def _plane(value: float) -> NDArray[np.float32]:
    return np.full((SIZE_PX[1], SIZE_PX[0]), value, np.float32)


def _words(values: object) -> str:
    return " ".join(f"{one:g}" for one in np.asarray(values, float).ravel())


def _homogr(folder: Path) -> None:
    _pictures(folder, "wallA.png", "wallB.png")
    _texts(folder, wall_H_A_to_B__txt=_MATRIX)


def _evd(folder: Path) -> None:
    _pictures(folder, "1/wall.png", "2/wall.png")
    (folder / "h").mkdir()
    _texts(folder / "h", wall__txt=_MATRIX)


def _wxbs(folder: Path) -> None:
    place = folder / "WGABS" / "wall"
    _pictures(place, "01.png", "02.png")
    _texts(place, corrs__txt="1.5 2 10 4\n5 6 7.25 8\n")


def _middlebury(folder: Path) -> None:
    stored = folder / "cones"
    _pictures(stored, "im2.png", "im6.png")
    for name in ("disp2", "disp6"):
        cv2.imwrite(str(stored / f"{name}.png"), (4 * _plane(3)).astype(np.uint8))
    exact = folder / "hall"
    _pictures(exact, "im0.png", "im1.png")
    for name in ("disp0", "disp1"):
        cv2.imwrite(str(exact / f"{name}.pfm"), _plane(2.5))
    _texts(folder, datasets__xml='<sets>\ncones "4" "0"\n</sets>\n')


def _kitti(folder: Path) -> None:
    number = "000000"
    _pictures(folder, *(f"image_{side}/{number}_{frame}.png"
                        for side in (2, 3) for frame in (10, 11)))  # fmt: skip
    stored = (256 * _plane(3)).astype(np.uint16)
    moved = np.dstack([_plane(1), _plane(2**15 + 64), _plane(2**15 - 64)]).astype(np.uint16)
    for name, values in (("disp_occ_0", stored), ("disp_noc_0", stored), ("flow_occ", moved),
                         ("flow_noc", moved)):  # fmt: skip
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / f"{number}_10.png"), values)


def _spair(folder: Path) -> None:
    pair = "000001-one-two:cat"
    _pictures(folder / "JPEGImages" / "cat", "one.jpg", "two.jpg")
    (folder / "PairAnnotation" / "test").mkdir(parents=True)
    told = {
        "src_kps": [[2, 3], [10, 12]], "trg_kps": [[4, 3], [12, 12]], "kps_ids": ["3", "7"],
        "src_bndbox": [1, 1, 20, 15], "trg_bndbox": [2, 1, 22, 15],
        "src_imsize": [*SIZE_PX, 3], "trg_imsize": [*SIZE_PX, 3],
    }  # fmt: skip
    (folder / "PairAnnotation" / "test" / f"{pair}.json").write_text(json.dumps(told))
    (folder / "Layout" / "large").mkdir(parents=True)
    _texts(folder / "Layout" / "large", test__txt=pair + "\n")


def _proposal_flow(folder: Path) -> None:
    from scipy.io import savemat

    names = [f"PF-dataset-PASCAL/JPEGImages/{number}.jpg" for number in range(3)]
    _pictures(folder, *names)
    marks = folder / "PF-dataset-PASCAL" / "Annotations" / "cat"
    marks.mkdir(parents=True)
    for number in range(3):
        points = [[1 + number, 2], [np.nan, np.nan] if number else [3, 4], [9, 6]]
        savemat(marks / f"{number}.mat", {"kps": points, "bbox": [[1, 1, 20, 14]]})
    columns = ["source_image", "target_image", "class"]
    _table(folder / "test_pairs.csv", [*columns, "XA", "YA", "XB", "YB"],
           [names[0], names[1], 8, "1;3", "2;4", "5;7", "6;8"])  # fmt: skip
    _table(folder / "trn_pairs.csv", [*columns, "flip"], [names[1], names[2], 8, 0])
    willow = [f"{axis}{side}{at}" for side in "AB" for axis in "XY" for at in range(1, 11)]
    _table(folder / "willow.csv", ["imageA", "imageB", *willow], [*names[:2], *range(1, 11)] + [2]
           * 30)  # fmt: skip


def _tss(folder: Path) -> None:
    for name, flip in (("one", "0"), ("two", "1")):
        place = folder / "JODS" / name
        _pictures(place, "image1.png", "image2.png")
        for number, move in ((1, 2.0), (2, -2.0)):
            flow = np.dstack([_plane(move), _plane(0)])
            cv2.writeOpticalFlow(str(place / f"flow{number}.flo"), flow)
        _texts(place, flip_gt__txt=flip + "\n")


def _imc(folder: Path) -> None:
    place = folder / "hall"
    _pictures(place / "images", "a-1.png", "b.png")
    fx, fy, cx, cy = _PINHOLE
    matrix = _words([fx, 0, cx, 0, fy, cy, 0, 0, 1])
    turned = _words(np.eye(3))
    _table(place / "calibration.csv",
           ["image_id", "camera_intrinsics", "rotation_matrix", "translation_vector"],
           ["a-1", matrix, turned, "0 0 0"], ["b", matrix, turned, "1 0 0"])  # fmt: skip
    _table(place / "pair_covisibility.csv", ["pair", "covisibility", "fundamental_matrix"],
           ["a-1-b", 0.5, turned])  # fmt: skip


def _manifest(folder: Path) -> None:
    _pictures(folder, "wallA.png", "wallB.png")
    _texts(folder, h__txt=_MATRIX, corrs__txt="1 2 3 4\n5 6 7 8\n")
    for side in "ab":
        np.save(folder / f"{side}.npy", _plane(5))
    _texts(folder, views__txt="".join(f"wall{side}.png {_words(np.eye(3))} {shift} 0 0 PINHOLE "
                                      f"{SIZE_PX[0]} {SIZE_PX[1]} {_words(_PINHOLE)}\n"
                                      for side, shift in (("A", 0), ("B", 1))))  # fmt: skip
    truths = ("h.txt", "points:corrs.txt|uncertainty=2", "disparity:a.npy|b.npy|factor=1",
              "depth:a.npy|b.npy|cameras=views.txt", "")  # fmt: skip
    _table(folder / "pairs.csv", ["image_a", "image_b", "truth", "group", "subset"],
           *(["wallA.png", "wallB.png", truth, f"wall{at}", "walls"]
             for at, truth in enumerate(truths)))  # fmt: skip


def _pair_list(folder: Path) -> None:
    _pictures(folder / "images", "a.png", "b.png")
    fx, fy, cx, cy = _PINHOLE
    matrix = _words([fx, 0, cx, 0, fy, cy, 0, 0, 1])
    square = _words([1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    numbers = ("", "0.4", _MATRIX.replace("\n", " "), f"{matrix} {matrix} {square}",
               f"{matrix} {matrix} {_words(np.eye(3))} 1 0 0",
               f"0 0 {matrix} {matrix} {square}")  # fmt: skip
    _texts(folder, pairs__txt="".join(f"a.png b.png {one}\n" for one in numbers))
    deep = folder / "deep"
    _pictures(deep / "images", "a.png", "b.png")
    (deep / "depths").mkdir()
    np.save(deep / "depths" / "a.npy", _plane(5))
    cv2.imwrite(str(deep / "depths" / "b.png"), (256 * _plane(5)).astype(np.uint16))
    _texts(deep, pairs__txt="a.png b.png\n",
           views__txt="".join(f"{name}.png {_words(np.eye(3))} {shift} 0 0 PINHOLE {SIZE_PX[0]} "
                              f"{SIZE_PX[1]} {_words(_PINHOLE)}\n"
                              for name, shift in (("a", 0), ("b", 1))))  # fmt: skip


def _colmap(folder: Path) -> None:
    _pictures(folder / "images", "one.png", "two.png")
    places = [(2.5 * at + 1, 1.5 * at + 1) for at in range(8)]
    text, binary = (folder / name for name in ("text", "binary"))
    for place in (text, binary):
        place.mkdir()
    _texts(text, cameras__txt=f"# cameras\n1 PINHOLE {SIZE_PX[0]} {SIZE_PX[1]} "
                              f"{_words(_PINHOLE)}\n")  # fmt: skip
    lines, packed = ["# images"], struct.pack("<Q", 2)
    for number, name in enumerate(("one.png", "two.png"), start=1):
        lines += [f"{number} 1 0 0 0 {number} 0 0 1 {name}",
                  " ".join(f"{x} {y} {at}" for at, (x, y) in enumerate(places))]  # fmt: skip
        packed += struct.pack("<I7dI", number, 1, 0, 0, 0, number, 0, 0, 1) + name.encode() + b"\0"
        packed += struct.pack("<Q", len(places))
        packed += b"".join(struct.pack("<ddq", x, y, at) for at, (x, y) in enumerate(places))
    _texts(text, images__txt="\n".join(lines) + "\n")
    (binary / "images.bin").write_bytes(packed)
    (binary / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 1, 1, *SIZE_PX, *_PINHOLE))


def _two_images(folder: Path) -> None:
    _pictures(folder, "left.png", "right.jpg")


_WRITERS: Final[dict[str, Callable[[Path], None]]] = {
    "homogr": _homogr,
    "evd": _evd,
    "wxbs": _wxbs,
    "middlebury": _middlebury,
    "kitti": _kitti,
    "spair": _spair,
    "proposal-flow": _proposal_flow,
    "tss": _tss,
    "imc": _imc,
    "manifest": _manifest,
    "pair-list": _pair_list,
    "colmap": _colmap,
    "two-images": _two_images,
}
