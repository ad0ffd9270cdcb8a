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


def resident_memory() -> int:
    """Return the bytes of resident memory that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is used up: Python's, or torch's on any device."""
    # torch says it of a processor by a plain RuntimeError, which its allocator signs.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error))
    )


def take_first() -> None:
    """Let the system end this process rather than another one when memory is used up, where it can be told so."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def free_memory() -> int:
    """Return the bytes of memory that new work can take without swapping."""
    return int(psutil.virtual_memory().available)
