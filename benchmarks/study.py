"""What a study of a network's layers takes beyond describing each image once and matching.

The demo's pairs, at the settings that a study has by default.  Each network has random weights: its
arithmetic is the same.  The grids of its layers are measured before, as they are only once for each
architecture.

What counts is the processor's time, by one thread: on a computer that does other things too, the
clock on the wall would show those.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, summarise

_MODELS = ("timm:resnet18", "timm:vit_small_patch14_dinov2")
_THREADS = 1


def measure(runs: int) -> list[Figure]:
    """Shares over ``runs`` studies of each network, and what the studies took."""
    import torch

    from engine.jobs.settings import StudyConfig
    from engine.jobs.study import StudyJob, choose_study
    from engine.progress import JobContext

    torch.set_num_threads(_THREADS)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DESCGUI_HOME"] = folder
        for model in _MODELS:
            config = StudyConfig(descriptor=model, dataset="demo", device="cpu")
            spec = choose_study(config, {"untrained": True})
            shares, seconds = [], []
            for run in range(runs):
                out = Path(folder) / f"{len(figures)}-{run}"
                job = StudyJob(config=config, spec=spec, out=out, clock=time.process_time)
                times = job.run(JobContext()).times
                shares.append(100 * times.overhead)
                seconds.append(times.describe_s + times.match_s)
            name = model.partition(":")[2]
            done = f"{name}: describing and matching"
            note = f"{config.pairs} pairs, {_THREADS} thread, processor time"
            figures += [
                summarise(done, seconds, unit="s", note=note),
                summarise(
                    f"{name}: on top of that", shares, unit="%", target=30.0, note="processor time"
                ),
            ]
    return figures
