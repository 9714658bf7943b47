"""Work that is asked to stop, also where no token is handed to."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from engine.descriptors.grid_measure import fitting_size, measure_grid
from engine.errors import JobCancelled
from engine.progress import CancelToken, check_stop


def test_the_token_of_a_thread_is_checked_inside_its_block_only():
    outer, inner = CancelToken(), CancelToken()
    inner.cancel()
    check_stop()
    with outer.everywhere():
        check_stop()
        with pytest.raises(JobCancelled), inner.everywhere():
            check_stop()
        check_stop()
        faults: list[BaseException] = []

        def elsewhere() -> None:
            try:
                check_stop()
            except JobCancelled as error:
                faults.append(error)

        outer.cancel()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert faults == []
        with pytest.raises(JobCancelled):
            check_stop()
    check_stop()


@pytest.mark.parametrize("gradient", [True, False])
def test_measuring_a_grid_stops_before_the_next_pass(gradient: bool):
    net, cancel, passes = nn.Conv2d(3, 4, 4, 4), CancelToken(), 0

    def map_of(images: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        if passes == 2:
            cancel.cancel()
        values: Tensor = net(images)
        return values if gradient else torch.from_numpy(values.detach().numpy())

    with pytest.raises(JobCancelled), cancel.everywhere():
        measure_grid(map_of, size_px=fitting_size(4), certain_px=0.0)
    assert passes == 2
