"""Run commands on processor cores, and measure the time and the memory that they take, with all their processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import perf_counter

import psutil

SAMPLED = 1.0  # seconds between measurements of memory


class Runner:
    """Runs the commands of one contestant, and measures time and memory of all their processes."""

    def __init__(self, threads: int) -> None:
        self.seconds, self.peak = 0.0, 0
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}

    def run(self, *command: object) -> str:
        """Run a command to its end, and return its stdout.

        Raises:
            RuntimeError: It failed; with its last words.
        """
        begun = perf_counter()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([*map(str, command)], env=self._environment, **pipes)
        with process, self._watching(process.pid):
            try:
                said, complaints = process.communicate()
            except BaseException:
                process.terminate()
                raise
        self.seconds += perf_counter() - begun
        if process.returncode:
            last = [line for line in complaints.splitlines() if line.strip()][-1:]
            begin = " ".join(map(str, command[1:4]))
            raise RuntimeError(f"`{begin} …` failed with {process.returncode}: {''.join(last)}")
        return said

    @contextmanager
    def _watching(self, pid: int) -> Iterator[None]:
        """Measure memory every now and then."""
        over = Event()

        def watch() -> None:
            while not over.wait(SAMPLED):
                self.peak = max(self.peak, memory_of(pid))

        watcher = Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def memory_of(pid: int) -> int:
    """Return the bytes that a process and those it started hold; what several share counts once."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for member in family:
        try:
            held = member.memory_full_info()
        except psutil.Error:  # it has ended
            continue
        total += getattr(held, "pss", held.rss)
    return total
