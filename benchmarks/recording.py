"""Recorded runs, and what is worse than they were.

A file holds reports, as ``--json`` writes one, from machines of several kinds.  Ratios are
compared, as times differ from hour to hour, and only with those of machines whose processor is the
same.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.figure import Row

_MOST_WORSE: Final = 1.2  # a ratio over the recorded one
_INSTRUCTIONS: Final = {
    "amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16", "avx512_f": "AVX512", "avx2": "AVX2",
}  # fmt: skip


def make_report(rows: Sequence[Row]) -> dict[str, Any]:
    """The rows, and the machine they were measured on."""
    return {"machine": _machine(), "figures": [asdict(row) for row in rows]}


def write_json(value: object, path: Path) -> None:
    """Write a report, or recorded ones."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def add_report(report: dict[str, Any], path: Path) -> None:
    """Add a report to the recorded ones.

    Raises:
        LookupError: the file is there and holds none; the message says so.
    """
    write_json({"reports": [*(_read_reports(path) if path.exists() else []), report]}, path)


def _read_reports(path: Path) -> list[dict[str, Any]]:
    try:
        reports: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["reports"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LookupError(f"{path}: holds no recorded runs, as --record writes them.") from error
    return reports


class Recorded:
    """The reports of a file that were made on this kind of machine.

    Args:
        path: the file.

    Raises:
        LookupError: none was, or it is no such file; the message says so.
    """

    def __init__(self, path: Path) -> None:
        reports = _read_reports(path)
        kinds = sorted({report["machine"]["processor"] for report in reports})
        own = _processor()
        if own not in kinds:
            raise LookupError(
                f"{path}: was recorded on other kinds of machines ({'; '.join(kinds)}; this is "
                f"{own})."
            )
        self._ratios: dict[str, list[float]] = {}
        for report in reports:
            if report["machine"]["processor"] == own:
                for row in report["figures"]:
                    if row["ratio"]:
                        self._ratios.setdefault(row["name"], []).append(row["ratio"])

    def worse(self, rows: Sequence[Row]) -> dict[str, str]:
        """Of rows that became worse the names, and how much in words.

        A ratio is worse that exceeds the median of the recorded ones by more than a fifth, and all
        of them: what differed by itself may do so again.
        """
        found = {}
        for row in rows:
            before = self._ratios.get(row.name)
            if row.ratio and before:
                sign = 1 if row.direction == "lower" else -1
                usual, worst = statistics.median(before), max(before, key=lambda one: sign * one)
                change = (row.ratio / usual) ** sign
                if change > _MOST_WORSE and sign * row.ratio > sign * worst:
                    words = f"{row.name}: {row.ratio:.2f} × {row.reference}"
                    found[row.name] = f"{words}, recorded {usual:.2f}"
        return found


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    """What multiplies here: ratios hold where this is the same."""
    import torch

    found = torch.cpu.get_capabilities()
    # Processors of one name may be of generations that multiply by different instructions.
    by = next((title for name, title in _INSTRUCTIONS.items() if found.get(name)), "others")
    return f"{platform.machine()}, {found.get('cpu_name')}, {by}, {os.cpu_count()} cores"
