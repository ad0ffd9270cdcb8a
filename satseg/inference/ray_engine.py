"""Map scenes on many GPUs or machines: blocks of rows go to the workers of a Ray cluster, cells come back in order."""

from __future__ import annotations

import logging
from bisect import insort
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from types import TracebackType
from typing import Any, TypeVar

from satseg.backend.cores import available_cores
from satseg.errors import SatsegError
from satseg.inference.blocks import BlockPart, count_strips, join_parts, row_blocks
from satseg.inference.decision import Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell
from satseg.inference.ray_cluster import connect, import_ray, worker_slots
from satseg.inference.ray_worker import BlockJob, BlockReport, NetworkFactory, streams
from satseg.inference.reading import ReadOptions
from satseg.inference.timing import Stage
from satseg.inference.worker_pool import PoolWorker, WorkerPool, first_line, original_error
from satseg.raster.scene import Scene
from satseg.records import Plan

log = logging.getLogger("satseg")

Answer = TypeVar("Answer")

_QUEUED = 2  # blocks that a worker has: one to map, and one to go on with
_AHEAD = 3  # blocks per worker that are under way or wait to be written
_BLOCKS_PER_WORKER = 4  # at least, so that they end at about the same time
_BLOCK_BYTES = 64 * 2**20  # of a map in one block, about
_MOST_ATTEMPTS = 3


class RayEngine:
    """Map scenes with the workers of a Ray cluster: one per GPU, or per group of processor cores.

    It connects to the cluster that ``RAY_ADDRESS`` names or that runs on this machine, else it starts Ray here. Scenes
    are mapped one after the other, each by all workers. All machines must have this satseg, and reach the scenes under
    the same names (a shared disk, or URLs); networks are sent to them. On equal workers a map has the bytes that one
    machine alone would give it.

    Args:
        devices: Number of workers; None takes all GPUs, or else all cores.
        alone: Whether to start Ray on this machine, ignoring existing clusters.
        device: ``auto`` (GPUs, if there are any), ``cuda`` or ``cpu``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Processor threads in all on this machine, if Ray is started here; None is all it may use.

    Attributes:
        device: ``cuda`` or ``cpu``.
        precision: Precision on the workers, as Fabric spells it.
        cores: Processor cores of a worker.

    Raises:
        SatsegError: Ray is not installed, there is no such cluster, or it starts no worker.
        UsageError: There is no such device.
    """

    def __init__(
        self,
        *,
        devices: int | None = None,
        alone: bool = False,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        self._ray: Any = import_ray()
        self._connected_here = not self._ray.is_initialized()
        try:
            if self._connected_here:
                connect(self._ray, cores=max(threads or available_cores(), devices or 1), alone=alone)
            slot, self._workers = worker_slots(self._ray.nodes(), device, devices)
            log.info("Ray: %d workers, %s.", self._workers, slot)
            self._pool = WorkerPool(self._ray, slot, self._workers, precision=precision)
        except BaseException:
            self._disconnect()
            raise
        self.device = slot.device
        self.precision = self._pool.kind.precision
        self.cores = slot.cores

    def load(self, make_network: NetworkFactory) -> None:
        """Give all workers their network; to be called once, before anything is mapped."""
        self._pool.load(make_network)

    def ask(self, function: Callable[[Network], Answer]) -> Answer:
        """Return the result of a function, which can be pickled, of the network on a worker."""
        return self._pool.ask(function)

    def streams(self, plan: Plan) -> int:
        """Return how many batches run side by side on all workers together."""
        return self._workers * streams(plan, self.device, self.cores)

    def predict_cells(
        self,
        open_scene: Callable[[], Scene],
        network: Network,
        plan: Plan,
        decision: Decision,
        read_options: ReadOptions,
        *,
        first_row: int = 0,
    ) -> Generator[Cell, None, None]:
        """Yield the cells that :func:`~satseg.inference.pipeline.predict_cells` yields, in the same order.

        Memory here holds one strip of cells and, up to the budget, what lies between two blocks.

        Args:
            open_scene: Opens the scene, on any machine; it can be pickled.
            network: The workers' network fitted to this scene; it is not run here.
            plan: Windows, overlaps and batches.
            decision: How probabilities become classes, and which layers are stored.
            read_options: As there; readers and budget are those of each worker.
            first_row: Row of windows to begin with.

        Raises:
            SceneError: The scene cannot be read to its end.
            SatsegError: A block failed again and again, or workers die as they start.
        """
        job = BlockJob(
            open_scene=open_scene,
            resample=network.views.resample,
            conversion=network.conversion,
            plan=plan,
            decision=decision,
            area=read_options.area,
            readers=read_options.readers,
            budget=read_options.budget,
            tolerant=read_options.on_failure is not None,
            first_row=first_row,
        )
        blocks = row_blocks(plan, block_rows(plan, decision, self._workers), first_row=first_row)
        parts = _Blocks(self._ray, self._pool, job, blocks, read_options).parts()
        with closing(parts):
            yield from join_parts(parts, plan, decision, budget=read_options.budget, scratch=read_options.scratch)

    def close(self) -> None:
        """End the workers, and Ray where it was started here."""
        self._pool.shut_down()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connected_here:
            self._ray.shutdown()

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A block that was submitted to a worker.

    Args:
        number: Of the block.
        worker: The worker.
        strips: References to its strips.
    """

    number: int
    worker: PoolWorker
    strips: list[Any]


class _Blocks:
    """The blocks of one scene, on their way through the workers."""

    def __init__(
        self, ray: Any, pool: WorkerPool, job: BlockJob, blocks: list[range], read_options: ReadOptions
    ) -> None:
        self._ray = ray
        self._pool = pool
        self._plan = job.plan
        self._job = ray.put(job)
        self._blocks = blocks
        self._conditions = read_options
        self._waiting = list(range(len(blocks)))
        self._current = 0
        self._running: dict[Any, _Attempt] = {}  # by the reference to the report
        self._finished: dict[int, list[Any] | BaseException] = {}
        self._failures: Counter[int] = Counter()

    def parts(self) -> Generator[BlockPart, None, None]:
        """Yield the parts of all blocks in order."""
        try:
            for number in range(len(self._blocks)):
                self._current = number
                for strip in self._strips(number):
                    yield from strip
        finally:
            for attempt in self._running.values():  # left alone: the next scene comes after them
                attempt.worker.blocks -= 1

    def _strips(self, number: int) -> Iterator[list[BlockPart]]:
        """Yield the strips of a block, from another worker if those of the first one are lost on the way."""
        taken, count = 0, count_strips(self._plan, self._blocks[number])
        while taken < count:
            references = self._wait_for(number)
            while taken < count:
                try:
                    strip = self._ray.get(references[taken])
                except self._ray.exceptions.RayError as error:
                    self._retry(number, error)
                    break
                references[taken] = None  # gives its memory back
                taken += 1
                yield strip
                self._poll(timeout=0)

    def _wait_for(self, number: int) -> list[Any]:
        while number not in self._finished:
            self._poll()
        result = self._finished.pop(number)
        if isinstance(result, BaseException):
            raise result
        return result

    def _poll(self, *, timeout: float | None = None) -> None:
        """Submit blocks to workers, and collect those that are finished."""
        self._submit()
        for reference in self._pool.wait(list(self._running), timeout=timeout):
            if reference in self._running:
                self._collect(self._running[reference].worker)

    def _submit(self) -> None:
        while self._waiting and self._waiting[0] < self._current + _AHEAD * max(len(self._pool.ready), 1):
            worker = self._pool.least_busy()
            if worker is None or worker.blocks >= _QUEUED:
                return
            number = self._waiting.pop(0)
            count = count_strips(self._plan, self._blocks[number]) + 1
            *strips, report = worker.handle.map_block.options(num_returns=count).remote(self._job, self._blocks[number])
            worker.blocks += 1
            self._running[report] = _Attempt(number, worker, strips)

    def _collect(self, worker: PoolWorker) -> None:
        """Collect the finished blocks of a worker, which maps one at a time: only the first can have killed it."""
        given = self._attempts_of(worker)
        done, _ = self._ray.wait(given, num_returns=len(given), timeout=0)
        for reference in takewhile(lambda reference: reference in done, given):
            attempt = self._running.pop(reference)
            worker.blocks -= 1
            try:
                report: BlockReport = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                # Raised when it is the block's turn: what lies above is still good.
                self._finished[attempt.number] = original_error(error)
            except self._ray.exceptions.RayError as error:
                self._pool.replace(worker)
                for other in self._attempts_of(worker):
                    insort(self._waiting, self._running.pop(other).number)
                return self._retry(attempt.number, error)
            else:
                self._finished[attempt.number] = attempt.strips
                self._pass_on_report(report)
        return None

    def _attempts_of(self, worker: PoolWorker) -> list[Any]:
        return [reference for reference, attempt in self._running.items() if attempt.worker is worker]

    def _retry(self, number: int, error: Exception) -> None:
        self._failures[number] += 1
        log.info("A worker was lost (%s); its rows go to another one.", type(error).__name__)
        if self._failures[number] < _MOST_ATTEMPTS:
            return insort(self._waiting, number)
        block = self._blocks[number]
        top, bottom = self._plan.row_starts[block.start], self._plan.row_starts[block.stop - 1] + self._plan.window[0]
        self._finished[number] = SatsegError(
            f"Rows {top} to {min(bottom, self._plan.height)} of the scene failed on {_MOST_ATTEMPTS} workers one after "
            f"the other, at last with: {first_line(error)}.",
            hint="Workers that die often lack memory: choose a smaller `window` or `batch_size`.",
        )
        return None

    def _pass_on_report(self, report: BlockReport) -> None:
        if self._conditions.stopwatch is not None:
            for stage, seconds in report.seconds.items():
                self._conditions.stopwatch.add(Stage(stage), seconds)
        if self._conditions.on_failure is not None:
            for window, error in report.failures:
                self._conditions.on_failure(window, error)
        if self._conditions.on_out_of_range is not None:
            for out_of_range in report.out_of_range:
                self._conditions.on_out_of_range(out_of_range)


def block_rows(plan: Plan, decision: Decision, workers: int) -> int:
    """Return how many rows of windows a block should have: a share of the scene, as far as it is not too large."""
    share = len(plan.row_starts) // (_BLOCKS_PER_WORKER * workers)
    pixel = sum(decision.bands(layer) * layer.dtype.itemsize for layer in decision.layers)
    row_bytes = (plan.window[0] - plan.overlap[0]) * plan.width * pixel
    return max(1, min(share, _BLOCK_BYTES // row_bytes))
