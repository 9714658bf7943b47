"""How much memory there is, and how much of it is free."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.devices import free_memory_bytes, memory_bytes

GIB = 1 << 30
NO_LIMIT = str(0x7FFFFFFFFFFFF000)


def machine(folder: Path, groups: str = "", **files: str) -> Path:
    """A folder as Linux shows itself in, with 8 GiB free; ``__`` stands for a slash."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(
        "MemTotal:       16777216 kB\nMemFree:          99 kB\nMemAvailable:    8388608 kB\n"
    )
    (folder / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_this_computer_tells_a_plausible_amount_of_memory() -> None:
    assert memory_bytes() > 100 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_less_is_free_than_there_is() -> None:
    free = free_memory_bytes()
    assert free is not None
    assert 10 << 20 < free < memory_bytes()


def test_without_limits_what_is_available_is_free(tmp_path: Path) -> None:
    assert free_memory_bytes(machine(tmp_path)) == 8 * GIB


def test_a_limit_of_an_outer_group_counts(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/outer/inner\n",
        outer__memory_dot_max=str(3 * GIB),
        outer__memory_dot_current=str(2 * GIB),
        outer__memory_dot_stat=f"anon 7\ninactive_file {GIB // 2}\nactive_file 9\n",
        outer__inner__memory_dot_max="max\n",
        outer__inner__memory_dot_current=str(2 * GIB),
        outer__inner__memory_dot_stat="inactive_file 0\n",
    )
    assert free_memory_bytes(root) == 3 * GIB // 2


def test_a_container_sees_its_own_limit_at_the_root(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "9:cpu,cpuacct:/x\n4:memory:/docker/abc\n",
        memory__memory_dot_limit_in_bytes=str(2 * GIB),
        memory__memory_dot_usage_in_bytes=str(GIB),
        memory__memory_dot_stat="inactive_file 5\ntotal_inactive_file 1024\n",
    )
    assert free_memory_bytes(root) == GIB + 1024


def test_a_group_without_a_limit_and_one_that_is_not_about_memory_do_not_count(
    tmp_path: Path,
) -> None:
    root = machine(
        tmp_path,
        "4:memory:/a\n9:cpu:/b\n",
        memory__a__memory_dot_limit_in_bytes=NO_LIMIT,
        memory__a__memory_dot_usage_in_bytes=str(GIB),
        memory__a__memory_dot_stat="total_inactive_file 0\n",
        memory__b__memory_dot_limit_in_bytes="5",
        memory__b__memory_dot_usage_in_bytes="0",
        memory__b__memory_dot_stat="total_inactive_file 0\n",
    )
    assert free_memory_bytes(root) == 8 * GIB


def test_a_limit_that_is_exceeded_leaves_nothing(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/\n",
        memory_dot_max=str(GIB),
        memory_dot_current=str(2 * GIB),
        memory_dot_stat="inactive_file 0\n",
    )
    assert free_memory_bytes(root) == 0


def test_a_system_that_does_not_tell_is_asked_no_further(tmp_path: Path) -> None:
    assert free_memory_bytes(tmp_path) is None
