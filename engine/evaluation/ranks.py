"""Several processes that share one evaluation, as ``torchrun`` starts them.

Each takes every n-th sequence; at the end all of them know all rows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

from engine.errors import DescSpaceError

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among all of the run: ``rank`` of ``world``; 0 of 1 when it is alone."""

    rank: int = 0
    world: int = 1

    def gather(self, value: Value) -> list[Value]:
        """What every process gives, by rank; every process gets it, and waits for all others."""
        if self.world == 1:
            return [value]
        gathered: list[Value | None] = [None] * self.world
        distributed.all_gather_object(gathered, value)
        return gathered  # type: ignore[return-value]

    def gather_work(self, work: Callable[[], Value]) -> list[Value]:
        """What the work returns in every process, by rank.

        Raises:
            DescSpaceError: the work failed in this process, or else in any other one.
        """
        fault: DescSpaceError | None = None
        made: list[Value] = []
        try:
            made.append(work())
        except DescSpaceError as error:
            fault = error
        # All processes learn of a fault, or the others would wait for this one forever.
        gathered = self.gather((made, "" if fault is None else str(fault)))
        if fault is not None:
            raise fault
        for _, text in gathered:
            if text:
                raise DescSpaceError(text)
        return [value for part, _ in gathered for value in part]


def own_device(device: torch.device) -> torch.device:
    """The device for this process: under ``torchrun`` each takes a GPU of its own."""
    local_rank = os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or local_rank is None:
        return device
    return torch.device("cuda", int(local_rank) % torch.cuda.device_count())


@contextlib.contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes of the run, if there are any, and part from them at the end.

    Args:
        device: where this process computes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        yield Ranks()
        return
    if distributed.is_initialized():  # by the caller, who also ends it
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Rows are plain objects and travel over gloo; nccl is for tensors on a GPU.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
