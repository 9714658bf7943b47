"""Memory stays flat once the budgets for maps and images are full, whatever is opened after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAIRS, FULL_AFTER = 32, 12
OPEN_PAIRS = """
import gc, json, sys
from pathlib import Path

import numpy as np

from engine.data.pairs import ImagePair
from engine.image_store import ImageStore
from engine.images import write_image
from engine.inspection.requests import PcaRequest, ProbeRequest, Recipe
from engine.inspection.session import Session
from engine.descriptors.registry import make_spec
from engine.progress import JobContext

folder, count = Path(sys.argv[1]), int(sys.argv[2])
session = Session(map_budget_bytes=16 << 20, images=ImageStore(2 << 20))
recipe = Recipe(spec=make_spec("daisy", {"stride_px": 4}), long_edge_px=240, device="cpu")
used_mb = []
gc.freeze()  # what torch loads stays: looking through it each time would take longer than the work
for number in range(count):
    paths = []
    for side in "ab":
        path = folder / f"{number}{side}.png"
        noise = np.random.default_rng([number, ord(side)]).integers(0, 255, (160, 240, 3))
        write_image(path, noise.astype(np.uint8))
        paths.append(path)
    pair = ImagePair(*paths)
    for side in "ab":
        session.describe(pair, side, recipe, JobContext())
    session.pca(PcaRequest(pair=pair, recipe=recipe))
    session.probe(ProbeRequest(pair=pair, side="a", recipe=recipe, point_px=(100.0, 90.0)))
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    used_mb.append(pages * 4096 / 2**20)
print(json.dumps(used_mb))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_once_the_budget_for_maps_is_full(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", OPEN_PAIRS, str(tmp_path), str(PAIRS)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        # Pinned, so that the figure is what is kept, not where glibc's heap happened to put it.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144"},
    )
    assert done.returncode == 0, done.stderr
    used_mb = json.loads(done.stdout)
    assert max(used_mb[FULL_AFTER:]) <= 1.05 * used_mb[FULL_AFTER], used_mb
