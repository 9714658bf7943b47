"""Which device computes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from engine.errors import DeviceError, quoted

_FALLBACK_MEMORY_BYTES: Final = 4 << 30
# Per version of control groups: where they are, limit, use, and what of it can be dropped.
_GROUPS: Final = {
    2: ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    1: (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device the user can choose.

    Attributes:
        name: torch's name, such as ``cpu`` or ``cuda:0``.
        title: its name in the window.
        memory_bytes: total memory of an accelerator; 0 when it is the computer's own.
    """

    name: str
    title: str
    memory_bytes: int = 0


def list_devices() -> tuple[DeviceInfo, ...]:
    """The usable devices, the best one first."""
    gpus = tuple(
        DeviceInfo(
            f"cuda:{index}",
            torch.cuda.get_device_name(index),
            torch.cuda.get_device_properties(index).total_memory,
        )
        for index in range(torch.cuda.device_count())
    )
    threads = torch.get_num_threads()
    cpu = DeviceInfo("cpu", f"CPU ({threads} {'thread' if threads == 1 else 'threads'})")
    return (*gpus, cpu)


def memory_bytes() -> int:
    """This computer's memory; 4 GiB where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return _FALLBACK_MEMORY_BYTES


def free_memory_bytes(root: Path = Path("/")) -> int | None:
    """How much more of this computer's memory can be used; None where the system does not tell.

    The limits of containers and other control groups count.

    Args:
        root: where Linux's files about itself begin.
    """
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        free = int(available.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        return None
    return max(0, min([free, *_left_by_groups(root)]))


def _left_by_groups(root: Path) -> Iterator[int]:
    """What each control group that this process is in leaves of its limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, limit, used, droppable = _GROUPS[1 if controllers else 2]
        group = Path(name.lstrip("/"))
        for one in (group, *group.parents):  # a container sees its own group as the root
            folder = root / base / one
            try:
                left = int((folder / limit).read_text()) - int((folder / used).read_text())
                words = (folder / "memory.stat").read_text().split()
                yield left + int(words[words.index(droppable) + 1])
            except (OSError, ValueError):  # not there, or without a limit
                continue


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that there was too little memory, on a GPU or on the CPU."""
    # torch has no type of its own for this on the CPU.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def resolve_device(name: str) -> torch.device:
    """Turn a device's name into the device; ``"auto"`` is the first of :func:`list_devices`.

    Raises:
        DeviceError: no such device here; the message lists what there is.
    """
    known = [info.name for info in list_devices()]
    if name == "auto":
        return torch.device(known[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in known:
        raise DeviceError(
            f"There is no device {quoted(name)} here; choose one of {', '.join(known)}."
        )
    return torch.device(wanted)
