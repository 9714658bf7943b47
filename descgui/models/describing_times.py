"""How long descriptors took for an image on this machine, kept from one start to the next."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import yaml
from PySide6.QtCore import QObject, Signal

from engine import api

logger = logging.getLogger(__name__)

TIMES_FILE = "describing_times.yaml"

SLOW_S = 5.0
"""A descriptor that took longer for an image is called slow."""

_KEPT = 60  # few enough to be written at once


@dataclass(frozen=True, slots=True)
class DescribingTime:
    """The last measurement of a descriptor.

    Attributes:
        seconds: for one image.
        long_edge_px: of the image as it was described.
        device: where.
        now: it was measured since the window opened.
    """

    seconds: float
    long_edge_px: int
    device: str
    now: bool = False


class DescribingTimes(QObject):
    """Holds the last measurement of each descriptor, and keeps them in a file.

    Args:
        path: the file; None to keep nothing.

    Signals:
        changed(str): there is a new measurement of this descriptor.
    """

    changed = Signal(str)

    def __init__(self, path: Path | None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._path = path
        self._times: dict[str, DescribingTime] | None = None

    def of(self, name: str) -> DescribingTime | None:
        """The last measurement of a descriptor; None if it was never measured here."""
        return self._known().get(name)

    def note(self, name: str, info: api.MapInfo) -> None:
        """Keep what an image's maps say of the time that they took."""
        taken = DescribingTime(info.seconds, max(info.working_size_px), info.device, now=True)
        known = self._known()
        if known.get(name) == taken:
            return
        known.pop(name, None)
        known[name] = taken
        while len(known) > _KEPT:
            known.pop(next(iter(known)))
        self._save()
        self.changed.emit(name)

    def _known(self) -> dict[str, DescribingTime]:
        if self._times is None:
            self._times = {} if self._path is None else _read(self._path)
        return self._times

    def _save(self) -> None:
        if self._path is None:
            return
        rows = {
            name: {"seconds": round(one.seconds, 4), "long_edge_px": one.long_edge_px,
                   "device": one.device}
            for name, one in self._known().items()
        }  # fmt: skip
        text = yaml.safe_dump(rows, allow_unicode=True, sort_keys=False)
        try:
            api.make_folder(self._path.parent)
            api.write_atomically(self._path, text.encode("utf-8"), durable=False)
        except api.OutputError as error:
            logger.warning("times of descriptors not written: %s", error)


def _read(path: Path) -> dict[str, DescribingTime]:
    """The measurements in a file; those that are damaged are left out, and measured again."""
    if not path.exists():
        return {}
    try:
        rows = api.read_yaml(path)
    except api.ConfigError as error:
        logger.warning("times of descriptors not used: %s", error)
        return {}
    found = {}
    for name, row in rows.items():
        try:
            taken = DescribingTime(
                float(row["seconds"]), int(row["long_edge_px"]), str(row["device"])
            )
        except (KeyError, TypeError, ValueError):
            logger.warning("the time of %s in %s is damaged and was not used", name, path)
            continue
        if math.isfinite(taken.seconds) and taken.seconds >= 0:
            found[str(name)] = taken
    return found
