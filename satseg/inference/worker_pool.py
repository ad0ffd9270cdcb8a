"""The workers of a Ray cluster: hired, watched, and replaced when they die."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from satseg.errors import SatsegError
from satseg.inference.network import Network
from satseg.inference.ray_cluster import WorkerSlot
from satseg.inference.ray_worker import Kind, NetworkFactory, Worker

log = logging.getLogger("satseg")

Answer = TypeVar("Answer")

_PATIENCE = 30.0  # seconds without a worker before that is said
_MOST_DEATHS = 3  # of workers, one after the other, before their network is there


@dataclass(eq=False)
class Member:
    """A worker, as the driver sees it.

    Args:
        handle: Its actor.
        kind: Reference to what it is.
        loading: Reference that is there once it has its network; None before it was told of one.
        blocks: How many blocks it has been given and has not finished.
    """

    handle: Any
    kind: Any
    loading: Any = None
    blocks: int = 0


class WorkerPool:
    """Workers with the same network.

    Args:
        ray: The module, connected to a cluster.
        post: What each is given.
        size: How many there should be; those that the cluster has no room for yet come later.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``; ``auto`` is what the first one takes it for.

    Raises:
        SatsegError: Workers die as they start.
    """

    def __init__(self, ray: Any, post: WorkerSlot, size: int, *, precision: str) -> None:
        self._ray = ray
        self._wanted = precision
        self._make = ray.remote(Worker).options(**post.options())
        self._post = post
        self._network: Any = None
        self._deaths = 0
        self._coming: list[Member] = []
        self.ready: list[Member] = []
        for _ in range(size):
            self._hire()
        self.kind: Kind = self._first_kind()

    def load(self, make_network: NetworkFactory) -> None:
        """Give all workers their network, in the precision of the first one."""
        self._network = self._ray.put(make_network)
        for member in self._coming:
            self._load(member)

    def ask(self, function: Callable[[Network], Answer]) -> Answer:
        """Ask the first worker that has its network, and another one where it dies over the answer.

        Raises:
            SatsegError: Several died over it.
        """
        for _ in range(_MOST_DEATHS):
            while not self.ready:
                self.wait([])
            member = self.ready[0]
            try:
                answer: Answer = self._result(member.handle.ask.remote(function))
                return answer
            except self._ray.exceptions.RayError as error:
                self.replace(member)
                last = brief(error)
        raise SatsegError(
            f"{_MOST_DEATHS} workers died while the network was measured: {last}.",
            hint="Set `window`, `overlap` and `batch_size`, so that nothing is measured; or allow more `memory`.",
        )

    def idlest(self) -> Member | None:
        """Return the worker with the fewest blocks, if there is one at all."""
        return min(self.ready, key=lambda member: member.blocks, default=None)

    def wait(self, references: list[Any], *, timeout: float | None = None) -> list[Any]:
        """Wait for one of some references, or for a worker; return the references that are there.

        Args:
            references: What to wait for.
            timeout: Seconds to wait at most; None waits, and says so where no worker comes.

        Raises:
            SatsegError: Workers die as they start, or cannot build their network.
        """
        coming = {member.loading: member for member in self._coming}
        every = [*references, *coming]
        found: list[Any] = []
        if every:
            count = 1 if timeout is None else len(every)
            found, _ = self._ray.wait(every, num_returns=count, timeout=_PATIENCE if timeout is None else timeout)
        if not found and timeout is None and not self.ready:
            log.warning("Waiting for a worker: the cluster has no room for one yet (%s).", self._post)
        for reference in found:
            if reference in coming:
                self._arrive(coming[reference])
        return [reference for reference in found if reference not in coming]

    def replace(self, member: Member) -> None:
        """Hire another worker in the place of one that has died."""
        if member in self.ready:
            self.ready.remove(member)
            self._ray.kill(member.handle)
            self._hire()

    def dismiss(self) -> None:
        """End all workers, whatever they are doing."""
        for member in [*self.ready, *self._coming]:
            self._ray.kill(member.handle)
        self.ready, self._coming = [], []

    def _hire(self) -> None:
        handle = self._make.remote(self._post.device, self._post.cores)
        member = Member(handle, handle.describe.remote(self._wanted))
        self._coming.append(member)
        if self._network is not None:
            self._load(member)

    def _load(self, member: Member) -> None:
        member.loading = member.handle.load.remote(self._network, self.kind.precision)

    def _first_kind(self) -> Kind:
        while True:
            kinds = {member.kind: member for member in self._coming}
            found, _ = self._ray.wait(list(kinds), timeout=_PATIENCE)
            if not found:
                log.warning("Waiting for a worker: the cluster has no room for one yet (%s).", self._post)
                continue
            try:
                kind: Kind = self._result(found[0])
                return kind
            except self._ray.exceptions.RayError as error:
                self._died(kinds[found[0]], error)

    def _arrive(self, member: Member) -> None:
        try:
            self._result(member.loading)
            kind: Kind = self._result(member.kind)
        except self._ray.exceptions.RayError as error:
            return self._died(member, error)
        self._coming.remove(member)
        self.ready.append(member)
        self._deaths = 0
        if kind != self.kind:
            log.warning(
                "The worker on %s differs from that on %s: %s. Where its rows lie, the map may differ in single "
                "pixels from one made by equal workers.",
                kind.host,
                self.kind.host,
                ", ".join(kind.differences(self.kind)),
            )
        return None

    def _died(self, member: Member, error: Exception) -> None:
        """Replace a worker that died before it had its network."""
        self._deaths += 1
        if self._deaths >= _MOST_DEATHS:
            raise SatsegError(
                f"Workers of the Ray cluster die as they start: {brief(error)}.",
                hint="All machines need this satseg, and enough memory for the network.",
            ) from error
        self._coming.remove(member)
        self._hire()

    def _result(self, reference: Any) -> Any:
        """Return a result; what satseg itself raised there is raised here as it is."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise own_error(error) from None


def own_error(error: Any) -> BaseException:
    """Return the exception that a worker's code has raised, out of that of Ray."""
    cause = error.cause
    return cause if isinstance(cause, BaseException) else SatsegError(f"A worker failed: {brief(error)}.")


def brief(error: BaseException) -> str:
    """Return the first line of what Ray says; a traceback or details of its processes follow."""
    return next(iter(str(error).splitlines()), type(error).__name__).strip().rstrip(".")
