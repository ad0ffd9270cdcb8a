"""Time spent in each stage of a prediction."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Stage(StrEnum):
    """Parts of a prediction that are timed apart."""

    READ = "read"
    TRANSFER = "transfer"
    FORWARD = "forward"
    BLEND = "blend"
    WRITE = "write"
    TRACE = "trace"
    IDLE = "idle"


class Stopwatch:
    """Add up seconds by stage, from any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.perf_counter()
        self._seconds = dict.fromkeys(Stage, 0.0)

    @contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        """Count the time spent in the block for a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - began)

    def add(self, stage: Stage, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        with self._lock:
            self._seconds[stage] += seconds

    def busy(self) -> dict[str, float]:
        """Return seconds by stage, as far as there are any."""
        with self._lock:
            return {stage.value: seconds for stage, seconds in self._seconds.items() if seconds}

    def seconds(self, *, streams: int) -> dict[str, float]:
        """Return seconds by stage.

        Stages run side by side, so they may add up to more than the time that has passed. Idle is the time that the
        network's streams spent on neither transfer nor forward.

        Args:
            streams: Batches that run side by side.
        """
        passed = streams * (time.perf_counter() - self._began)
        with self._lock:
            busy = self._seconds[Stage.TRANSFER] + self._seconds[Stage.FORWARD]
            return {stage.value: s for stage, s in self._seconds.items()} | {Stage.IDLE.value: max(passed - busy, 0.0)}
