"""The memory of this process, and what the machine has left."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil


def peak_memory() -> int:
    """Return the most bytes of resident memory that this process has held so far.

    Where the system does not keep that, it is what the process holds now.
    """
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(OSError, IndexError):  # Linux, whose getrusage() starts from the peak of the parent process
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    now = psutil.Process().memory_info()
    return int(getattr(now, "peak_wset", now.rss))  # Windows has the first


def free_memory() -> int:
    """Return the bytes of memory that new work can take without swapping."""
    return int(psutil.virtual_memory().available)
