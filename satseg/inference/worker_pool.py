"""A pool of workers on a Ray cluster: started, watched, and replaced when they die."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from satseg.errors import SatsegError
from satseg.inference.network import Network
from satseg.inference.ray_cluster import WorkerSlot
from satseg.inference.ray_worker import NetworkFactory, Worker, WorkerKind

log = logging.getLogger("satseg")

Answer = TypeVar("Answer")

_WARN_SECONDS = 30.0  # seconds without a worker before a warning
_MOST_FAILED_STARTS = 3  # of workers, one after the other, before their network is there


@dataclass(eq=False)
class PoolWorker:
    """A worker, seen from this process.

    Args:
        handle: Its actor.
        kind: Reference to its kind.
        loading: Reference that is ready once it has its network; None before it loads one.
        blocks: Number of blocks that it has not finished.
    """

    handle: Any
    kind: Any
    loading: Any = None
    blocks: int = 0


class WorkerPool:
    """Workers with the same network.

    Args:
        ray: The module, connected to a cluster.
        slot: Resources of each worker.
        size: Number of workers; those that the cluster has no room for yet start later.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``; the first worker decides about ``auto``.

    Raises:
        SatsegError: Workers die as they start.
    """

    def __init__(self, ray: Any, slot: WorkerSlot, size: int, *, precision: str) -> None:
        self._ray = ray
        self._precision = precision
        self._make = ray.remote(Worker).options(**slot.options())
        self._slot = slot
        self._network: Any = None
        self._failed_starts = 0
        self._starting: list[PoolWorker] = []
        self.ready: list[PoolWorker] = []
        for _ in range(size):
            self._start_worker()
        self.kind: WorkerKind = self._first_worker_kind()

    def load(self, make_network: NetworkFactory) -> None:
        """Give all workers their network, in the precision of the first one."""
        self._network = self._ray.put(make_network)
        for worker in self._starting:
            self._load(worker)

    def ask(self, function: Callable[[Network], Answer]) -> Answer:
        """Call a function on the first worker that has its network, and on another one if that dies.

        Raises:
            SatsegError: Several died.
        """
        for _ in range(_MOST_FAILED_STARTS):
            while not self.ready:
                self.wait([])
            worker = self.ready[0]
            try:
                answer: Answer = self._result(worker.handle.ask.remote(function))
                return answer
            except self._ray.exceptions.RayError as error:
                self.replace(worker)
                last = first_line(error)
        raise SatsegError(
            f"{_MOST_FAILED_STARTS} workers died while the network was measured: {last}.",
            hint="Set `window`, `overlap` and `batch_size`, so that nothing is measured; or allow more `memory`.",
        )

    def least_busy(self) -> PoolWorker | None:
        """Return the worker with the fewest blocks, if there is one at all."""
        return min(self.ready, key=lambda worker: worker.blocks, default=None)

    def wait(self, references: list[Any], *, timeout: float | None = None) -> list[Any]:
        """Wait for one of some references, or for a worker; return the references that are there.

        Args:
            references: What to wait for.
            timeout: Seconds to wait at most; None waits, with a warning where no worker starts.

        Raises:
            SatsegError: Workers die as they start, or cannot build their network.
        """
        starting = {worker.loading: worker for worker in self._starting}
        every = [*references, *starting]
        found: list[Any] = []
        if every:
            count = 1 if timeout is None else len(every)
            found, _ = self._ray.wait(every, num_returns=count, timeout=_WARN_SECONDS if timeout is None else timeout)
        if not found and timeout is None and not self.ready:
            log.warning("Waiting for a worker: the cluster has no free resources for one (%s).", self._slot)
        for reference in found:
            if reference in starting:
                self._on_started(starting[reference])
        return [reference for reference in found if reference not in starting]

    def replace(self, worker: PoolWorker) -> None:
        """Start another worker in the place of one that has died."""
        if worker in self.ready:
            self.ready.remove(worker)
            self._ray.kill(worker.handle)
            self._start_worker()

    def shut_down(self) -> None:
        """End all workers at once."""
        for worker in [*self.ready, *self._starting]:
            self._ray.kill(worker.handle)
        self.ready, self._starting = [], []

    def _start_worker(self) -> None:
        handle = self._make.remote(self._slot.device, self._slot.cores)
        worker = PoolWorker(handle, handle.describe.remote(self._precision))
        self._starting.append(worker)
        if self._network is not None:
            self._load(worker)

    def _load(self, worker: PoolWorker) -> None:
        worker.loading = worker.handle.load.remote(self._network, self.kind.precision)

    def _first_worker_kind(self) -> WorkerKind:
        while True:
            kinds = {worker.kind: worker for worker in self._starting}
            found, _ = self._ray.wait(list(kinds), timeout=_WARN_SECONDS)
            if not found:
                log.warning("Waiting for a worker: the cluster has no free resources for one (%s).", self._slot)
                continue
            try:
                kind: WorkerKind = self._result(found[0])
                return kind
            except self._ray.exceptions.RayError as error:
                self._on_failed_start(kinds[found[0]], error)

    def _on_started(self, worker: PoolWorker) -> None:
        try:
            self._result(worker.loading)
            kind: WorkerKind = self._result(worker.kind)
        except self._ray.exceptions.RayError as error:
            return self._on_failed_start(worker, error)
        self._starting.remove(worker)
        self.ready.append(worker)
        self._failed_starts = 0
        if kind != self.kind:
            log.warning(
                "The worker on %s differs from that on %s: %s. Where its rows lie, the map may differ in single "
                "pixels from one made by equal workers.",
                kind.host,
                self.kind.host,
                ", ".join(kind.differences(self.kind)),
            )
        return None

    def _on_failed_start(self, worker: PoolWorker, error: Exception) -> None:
        """Replace a worker that died before it had its network."""
        self._failed_starts += 1
        if self._failed_starts >= _MOST_FAILED_STARTS:
            raise SatsegError(
                f"Workers of the Ray cluster die as they start: {first_line(error)}.",
                hint="All machines need this version of satseg, and enough memory for the network.",
            ) from error
        self._starting.remove(worker)
        self._start_worker()

    def _result(self, reference: Any) -> Any:
        """Return a result; what satseg itself raised there is raised here as it is."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise original_error(error) from None


def original_error(error: Any) -> BaseException:
    """Return the exception that a worker's code has raised, out of that of Ray."""
    cause = error.cause
    return cause if isinstance(cause, BaseException) else SatsegError(f"A worker failed: {first_line(error)}.")


def first_line(error: BaseException) -> str:
    """Return the first line of an error of Ray, without the traceback that follows."""
    return next(iter(str(error).splitlines()), type(error).__name__).strip().rstrip(".")
