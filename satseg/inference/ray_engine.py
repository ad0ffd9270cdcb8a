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

from satseg.backend.device import available_cores
from satseg.errors import SatsegError
from satseg.inference.blocks import Part, count_strips, join_parts, row_blocks
from satseg.inference.decision import Decision
from satseg.inference.network import Network
from satseg.inference.pipeline import Cell
from satseg.inference.ray_cluster import connect, import_ray, posts
from satseg.inference.ray_worker import Job, NetworkFactory, Report, streams
from satseg.inference.reading import Conditions
from satseg.inference.timing import Stage
from satseg.inference.worker_pool import Member, WorkerPool, brief, own_error
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
        alone: Whether to start Ray on this machine, whatever clusters there are.
        device: ``auto`` (GPUs, if there are any), ``cuda`` or ``cpu``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Processor threads in all on this machine, if Ray is started here; None is all it may use.

    Attributes:
        device: ``cuda`` or ``cpu``.
        precision: What the precision comes to on the workers, as Fabric spells it.
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
            post, self._workers = posts(self._ray.nodes(), device, devices)
            log.info("Ray: %d workers, %s.", self._workers, post)
            self._crew = WorkerPool(self._ray, post, self._workers, precision=precision)
        except BaseException:
            self._disconnect()
            raise
        self.device = post.device
        self.precision = self._crew.kind.precision
        self.cores = post.cores

    def load(self, make_network: NetworkFactory) -> None:
        """Give all workers their network; to be called once, before anything is mapped."""
        self._crew.load(make_network)

    def ask(self, function: Callable[[Network], Answer]) -> Answer:
        """Return what a function that can be pickled says of the network on a worker."""
        return self._crew.ask(function)

    def streams(self, plan: Plan) -> int:
        """Return how many batches run side by side on all workers together."""
        return self._workers * streams(plan, self.device, self.cores)

    def predict_cells(
        self,
        open_scene: Callable[[], Scene],
        network: Network,
        plan: Plan,
        decision: Decision,
        conditions: Conditions,
        *,
        first_row: int = 0,
    ) -> Generator[Cell, None, None]:
        """Yield the cells that :func:`~satseg.inference.pipeline.predict_cells` yields, in the same order.

        Memory here holds one strip of cells and, up to the budget, what lies between two blocks.

        Args:
            open_scene: Opens the scene, on any machine; it can be pickled.
            network: How the workers' network looks at this scene; it is not run here.
            plan: Windows, overlaps and batches.
            decision: How probabilities become classes, and what is kept of them.
            conditions: As there; readers and budget are those of each worker.
            first_row: Row of windows to begin with.

        Raises:
            SceneError: The scene cannot be read to its end.
            SatsegError: A block failed again and again, or workers die as they start.
        """
        job = Job(
            open_scene=open_scene,
            resample=network.views.resample,
            conversion=network.conversion,
            plan=plan,
            decision=decision,
            area=conditions.area,
            readers=conditions.readers,
            budget=conditions.budget,
            tolerant=conditions.on_failure is not None,
            first_row=first_row,
        )
        blocks = row_blocks(plan, block_rows(plan, decision, self._workers), first_row=first_row)
        parts = _Blocks(self._ray, self._crew, job, blocks, conditions).parts()
        with closing(parts):
            yield from join_parts(parts, plan, decision, budget=conditions.budget, scratch=conditions.scratch)

    def close(self) -> None:
        """End the workers, and Ray where it was started here."""
        self._crew.dismiss()
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
    """A block that a worker has been given.

    Args:
        number: Of the block.
        member: Who has it.
        strips: References to its strips.
    """

    number: int
    member: Member
    strips: list[Any]


class _Blocks:
    """The blocks of one scene, on their way through the workers."""

    def __init__(self, ray: Any, crew: WorkerPool, job: Job, blocks: list[range], conditions: Conditions) -> None:
        self._ray = ray
        self._crew = crew
        self._plan = job.plan
        self._job = ray.put(job)
        self._blocks = blocks
        self._conditions = conditions
        self._waiting = list(range(len(blocks)))
        self._current = 0
        self._running: dict[Any, _Attempt] = {}  # by the reference to the report
        self._finished: dict[int, list[Any] | BaseException] = {}
        self._failures: Counter[int] = Counter()

    def parts(self) -> Generator[Part, None, None]:
        """Yield the parts of all blocks in order."""
        try:
            for number in range(len(self._blocks)):
                self._current = number
                for strip in self._strips(number):
                    yield from strip
        finally:
            for attempt in self._running.values():  # left alone: the next scene comes after them
                attempt.member.blocks -= 1

    def _strips(self, number: int) -> Iterator[list[Part]]:
        """Yield the strips of a block, from another worker if those of the first one are lost on the way."""
        taken, count = 0, count_strips(self._plan, self._blocks[number])
        while taken < count:
            references = self._wait_for(number)
            while taken < count:
                try:
                    strip = self._ray.get(references[taken])
                except self._ray.exceptions.RayError as error:
                    self._try_again(number, error)
                    break
                references[taken] = None  # gives its memory back
                taken += 1
                yield strip
                self._tend(timeout=0)

    def _wait_for(self, number: int) -> list[Any]:
        while number not in self._finished:
            self._tend()
        result = self._finished.pop(number)
        if isinstance(result, BaseException):
            raise result
        return result

    def _tend(self, *, timeout: float | None = None) -> None:
        """Give workers what to do, and take note of what they have done."""
        self._give_out()
        for reference in self._crew.wait(list(self._running), timeout=timeout):
            if reference in self._running:
                self._take_note(self._running[reference].member)

    def _give_out(self) -> None:
        while self._waiting and self._waiting[0] < self._current + _AHEAD * max(len(self._crew.ready), 1):
            member = self._crew.idlest()
            if member is None or member.blocks >= _QUEUED:
                return
            number = self._waiting.pop(0)
            count = count_strips(self._plan, self._blocks[number]) + 1
            *strips, report = member.handle.map_block.options(num_returns=count).remote(self._job, self._blocks[number])
            member.blocks += 1
            self._running[report] = _Attempt(number, member, strips)

    def _take_note(self, member: Member) -> None:
        """See what a worker has done. It maps one block after the other, so just the first one can have killed it."""
        given = self._given_to(member)
        done, _ = self._ray.wait(given, num_returns=len(given), timeout=0)
        for reference in takewhile(lambda reference: reference in done, given):
            attempt = self._running.pop(reference)
            member.blocks -= 1
            try:
                report: Report = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                # Raised when it is the block's turn: what lies above is still good.
                self._finished[attempt.number] = own_error(error)
            except self._ray.exceptions.RayError as error:
                self._crew.replace(member)
                for other in self._given_to(member):
                    insort(self._waiting, self._running.pop(other).number)
                return self._try_again(attempt.number, error)
            else:
                self._finished[attempt.number] = attempt.strips
                self._tell(report)
        return None

    def _given_to(self, member: Member) -> list[Any]:
        return [reference for reference, attempt in self._running.items() if attempt.member is member]

    def _try_again(self, number: int, error: Exception) -> None:
        self._failures[number] += 1
        log.info("A worker was lost (%s); its rows go to another one.", type(error).__name__)
        if self._failures[number] < _MOST_ATTEMPTS:
            return insort(self._waiting, number)
        block = self._blocks[number]
        top, bottom = self._plan.row_starts[block.start], self._plan.row_starts[block.stop - 1] + self._plan.window[0]
        self._finished[number] = SatsegError(
            f"Rows {top} to {min(bottom, self._plan.height)} of the scene failed on {_MOST_ATTEMPTS} workers one after "
            f"the other, at last with: {brief(error)}.",
            hint="Workers that die often lack memory: choose a smaller `window` or `batch_size`.",
        )
        return None

    def _tell(self, report: Report) -> None:
        if self._conditions.stopwatch is not None:
            for stage, seconds in report.seconds.items():
                self._conditions.stopwatch.add(Stage(stage), seconds)
        if self._conditions.on_failure is not None:
            for window, error in report.failures:
                self._conditions.on_failure(window, error)
        if self._conditions.on_odd is not None:
            for odd in report.odd:
                self._conditions.on_odd(odd)


def block_rows(plan: Plan, decision: Decision, workers: int) -> int:
    """Return how many rows of windows a block should have: a share of the scene, as far as it is not too large."""
    share = len(plan.row_starts) // (_BLOCKS_PER_WORKER * workers)
    bands = sum(decision.bands(layer) for layer in decision.layers)
    row_bytes = (plan.window[0] - plan.overlap[0]) * plan.width * bands
    return max(1, min(share, _BLOCK_BYTES // row_bytes))
