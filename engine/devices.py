"""Which device computes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from engine.errors import DeviceError, quoted


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
    return (*gpus, DeviceInfo("cpu", f"CPU ({torch.get_num_threads()} threads)"))


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
