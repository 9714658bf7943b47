"""The other side of ``peers.py``; runs in the environment of the peers and imports nothing of ours.

python peer_worker.py WORK THREADS INPUTS.npz

Prepares the work, prints 0, and then does it once for each line it reads, and prints the seconds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any


def _faiss_flat(threads: int, given: Any) -> Callable[[], object]:
    """Exact inner products: queries ``(N, D)`` among candidates ``(M, D)``."""
    import faiss  # type: ignore[import-not-found,unused-ignore]

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(given["candidates"].shape[1])
    index.add(given["candidates"])
    queries = given["queries"]
    return lambda: index.search(queries, 1)


def _skimage_daisy(_threads: int, given: Any) -> Callable[[], object]:
    """``grey`` ``(H, W)`` in [0, 1], at a stride in px; it uses one thread."""
    from skimage import feature

    daisy: Any = feature.daisy
    grey, stride_px = given["grey"], int(given["stride_px"])
    return lambda: daisy(grey, step=stride_px, radius=15)


def _opencv_daisy(threads: int, given: Any) -> Callable[[], object]:
    """``grey`` ``(H, W)`` in [0, 1], at a stride in px, described at keypoints of every cell."""
    import cv2

    cv2.setNumThreads(threads)
    grey, stride_px = (given["grey"] * 255).astype("uint8"), int(given["stride_px"])
    height, width = grey.shape
    maker: Any = cv2.xfeatures2d.DAISY_create()  # type: ignore[attr-defined,unused-ignore]
    places = [
        cv2.KeyPoint(float(x), float(y), 1.0)
        for y in range(0, height, stride_px)
        for x in range(0, width, stride_px)
    ]
    return lambda: maker.compute(grey, places)


_WORKS = {
    "faiss flat": _faiss_flat,
    "scikit-image DAISY": _skimage_daisy,
    "OpenCV DAISY": _opencv_daisy,
}


def main(name: str, threads: str, path: str) -> None:
    """Prepare, then work for each line."""
    os.environ["OMP_NUM_THREADS"] = threads
    import numpy as np

    with np.load(path, allow_pickle=False) as given:
        work = _WORKS[name](int(threads), dict(given))
    print(0.0, flush=True)
    for _ in sys.stdin:
        began_s = time.perf_counter()
        work()
        print(time.perf_counter() - began_s, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
