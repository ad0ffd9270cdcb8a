"""Processor cores that this process may use, those that are free, and the threads that torch computes with."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

log = logging.getLogger("satseg")

_MOMENT = 0.4  # seconds over which load is measured; the kernel counts in hundredths
_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Count the processor cores that this process may use, at least 1: its affinity, limited by cgroup quotas."""
    return max(1, math.ceil(min(len(affinity()), cgroup_quota())))


def threads_for(device: torch.device) -> int:
    """Return how many processor threads to train a network with.

    On a processor, threads wait for one another at every layer, so that one which has to share its core delays all of
    them; there, only cores that are free at this moment are taken. Taking fewer than there are is logged.

    Args:
        device: Device of the network.
    """
    available = available_cores()
    if device.type != "cpu" or available == 1:
        return available
    taken = min(available, max(1, math.floor(free_cores() + 0.5)))
    if taken < available:
        log.info(
            "Other processes keep cores busy: training with %d of %d. `threads=%d` takes all.",
            taken,
            available,
            available,
        )
    return taken


def free_cores(seconds: float = _MOMENT) -> float:
    """Measure how many of the cores that this process may use are not used by others; takes ``seconds``.

    That is what is idle of the cores of its affinity, or what is left of the quotas of its cgroups. Where the system
    tells nothing of it, all cores count as free.
    """
    limits = quota_limits()
    began, own = time.perf_counter(), time.process_time()
    clocks, used = core_clocks(), [_used(folder) for folder, _ in limits]
    time.sleep(seconds)
    passed = time.perf_counter() - began
    idle = sum(map(_idle_share, clocks, core_clocks())) if clocks else len(affinity())
    left = [quota - (_used(folder) - before) / passed for (folder, quota), before in zip(limits, used, strict=True)]
    return max(0.0, min([idle, *left]) + (time.process_time() - own) / passed)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with ``count`` threads until the block ends, in all threads that begin meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cgroup_quota(proc: Path = _GROUPS, root: Path = _MOUNT) -> float:
    """Return the cores that cgroups allow (v1 or v2, the group of this process and its parents); inf if unlimited.

    Args:
        proc: List of the groups of this process.
        root: Mount point of the group file systems.
    """
    return min((quota for _, quota in quota_limits(proc, root)), default=math.inf)


def affinity() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def quota_limits(proc: Path = _GROUPS, root: Path = _MOUNT) -> list[tuple[Path, float]]:
    """Return the folders of the groups with a quota that this process is in, and the cores that each allows."""
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return []  # not Linux, or hidden
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        mounts = [root] if not controllers else [root / controllers] if "cpu" in controllers.split(",") else []
        for mount in mounts:
            folder = mount / group.lstrip("/")
            found += [(parent, _quota(parent)) for parent in (folder, *folder.parents) if parent.is_relative_to(mount)]
    return [(folder, quota) for folder, quota in found if quota < math.inf]


def _quota(folder: Path) -> float:
    """Return the cores that one group allows, inf if it has no limit."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf  # "max", or no such controller
    return cores if cores > 0 else math.inf


def _used(folder: Path) -> float:
    """Return the seconds that a group has computed, 0 where it does not tell."""
    try:
        if (folder / "cpuacct.usage").is_file():
            return int((folder / "cpuacct.usage").read_text()) / 1e9
        counts = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        return int(counts.get("usage_usec", 0)) / 1e6
    except (OSError, ValueError):
        return 0.0


def core_clocks() -> list[tuple[float, float]]:
    """Return the idle and all seconds of each core of the affinity; empty where the system does not tell."""
    import psutil

    try:
        cores = psutil.cpu_times(percpu=True)
    except (OSError, RuntimeError, psutil.Error):
        return []
    mine = [cores[number] for number in affinity() if number < len(cores)]
    # Linux counts guests twice, as themselves and as their hosts; waiting for a disk is idle.
    return [
        (
            core.idle + getattr(core, "iowait", 0.0),
            sum(core) - getattr(core, "guest", 0.0) - getattr(core, "guest_nice", 0.0),
        )
        for core in mine
    ]


def _idle_share(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return the share of idle time between two readings of a core; 1 if its clock stands still."""
    idle, total = after[0] - before[0], after[1] - before[1]
    return min(1.0, max(0.0, idle / total)) if total > 0 else 1.0
