"""What an evaluation and its report take beyond describing images and matching points.

Four sequences of photos, by the protocols ``closed`` and ``dense`` and their usual settings, with a
report that shows the worst pairs.  Each protocol describes the images itself, because each shrinks
them in its own way.  Everything else counts as a share of describing and matching, from opening the
set and building the descriptor to the last file of the report.

What counts is the processor's time, by one thread of torch: on a computer that does other things
too, the clock on the wall would show those.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, summarise
from benchmarks.sequences import find_sequences

_DESCRIPTORS = ("daisy", "msnet_v0", "descspace-fast")
_PROTOCOLS = ("closed", "dense")
_WARM_UP = "v_graf"  # read first, so that imports do not count
_MOST_RUNS = 1  # of several minutes
_THREADS = 1
_TARGET_PERCENT = 15.0


def measure(runs: int) -> list[Figure]:
    """For each descriptor the time of describing and matching, and the share of the rest.

    Raises:
        RuntimeError: the sequences are not there.
    """
    import torch

    torch.set_num_threads(_THREADS)
    dataset = find_sequences()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DESCGUI_HOME"] = folder
        out = Path(folder)
        for name in _DESCRIPTORS:
            _evaluate(name, dataset, out / f"{name}-first", _PROTOCOLS[:1], (_WARM_UP,))
            measured = [
                _evaluate(name, dataset, out / f"{name}-{run}", _PROTOCOLS)
                for run in range(min(runs, _MOST_RUNS))
            ]
            shares = [share_percent(whole_s, work_s) for whole_s, work_s in measured]
            note = f"{' and '.join(_PROTOCOLS)}, {_THREADS} thread, processor time"
            figures += [
                summarise(
                    f"evaluation, {name}: describing and matching",
                    [work_s for _, work_s in measured],
                    unit="s",
                    note=note,
                ),
                summarise(
                    f"evaluation, {name}: on top of that",
                    shares,
                    unit="%",
                    target=_TARGET_PERCENT,
                    note="processor time, report with pictures included",
                ),
            ]
    return figures


def share_percent(whole_s: float, work_s: float) -> float:
    """What remains of the whole beside the work, in per cent of the work."""
    return 100 * (whole_s - work_s) / work_s


def _evaluate(
    name: str,
    dataset: Path,
    out: Path,
    protocols: tuple[str, ...],
    groups: tuple[str, ...] = (),
) -> tuple[float, float]:
    """Seconds of the processor for all, and for describing and matching."""
    from engine.config import build_config
    from engine.jobs.evaluate import EvaluateJob, choose_descriptors
    from engine.jobs.report import ReportJob
    from engine.jobs.settings import EvaluateConfig
    from engine.progress import JobContext

    begin_s, work_s = time.process_time(), 0.0
    folders = tuple(out / protocol for protocol in protocols)
    for protocol, folder in zip(protocols, folders, strict=True):
        config = build_config(
            EvaluateConfig,
            {
                "dataset": str(dataset),
                "descriptor": (name,),
                "protocol": protocol,
                "group": groups,
                "device": "cpu",
            },
        )
        job = EvaluateJob(
            config=config,
            choices=choose_descriptors(config, {}),
            out=folder,
            clock=time.thread_time,
        )
        for timing in job.run(JobContext()).timings:
            work_s += timing.describe_s + timing.match_s
        ReportJob(folders=(folder,), out=folder).run(JobContext())
    return time.process_time() - begin_s, work_s
