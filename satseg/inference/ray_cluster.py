"""The Ray cluster: connect to it, and list the resources of its machines."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from satseg.errors import SatsegError, UsageError

_GROUP = 8  # cores of a worker without a GPU, at most
_STORE_BYTES = 2 * 2**30  # of finished blocks in memory, where Ray is started here; more is spilled to disk


@dataclass(frozen=True)
class WorkerSlot:
    """Resources of a worker on its machine.

    Args:
        device: ``cpu`` or ``cuda``; with ``cuda``, one GPU.
        cores: Processor cores.
    """

    device: str
    cores: int

    def __str__(self) -> str:
        return "one GPU each" if self.device == "cuda" else f"{self.cores} cores each"

    def options(self) -> dict[str, Any]:
        """Return what Ray is to reserve, spread over the machines."""
        # A GPU is scarcer than the cores beside it: those are not reserved.
        resources = {"num_gpus": 1, "num_cpus": 0} if self.device == "cuda" else {"num_cpus": self.cores}
        return {**resources, "scheduling_strategy": "SPREAD"}


def import_ray() -> ModuleType:
    """Import Ray, an optional dependency.

    Raises:
        SatsegError: It is not installed.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise SatsegError("Ray is not installed.", hint="Install it: pip install 'satseg-cli[ray]'") from error
    module: ModuleType = ray
    return module


def connect(ray: Any, *, cores: int, alone: bool) -> None:
    """Connect to a cluster, or start Ray on this machine.

    Args:
        ray: The module.
        cores: Processor cores that Ray may give away, where it is started here.
        alone: Whether to start it here, ignoring existing clusters.

    Raises:
        SatsegError: ``RAY_ADDRESS`` names no cluster.
    """
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not alone:
        address = os.environ.get("RAY_ADDRESS", "auto")
        try:
            with _own_sigterm():
                ray.init(address=address, **quiet)
            return
        except ConnectionError as error:
            if address != "auto":
                raise SatsegError(
                    f"There is no Ray cluster at {address}, which RAY_ADDRESS names.",
                    hint="Start one there (ray start --head), or unset RAY_ADDRESS.",
                ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    with _own_sigterm():
        ray.init(address="local", num_cpus=cores, include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces as it starts."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def worker_slots(nodes: list[dict[str, Any]], device: str, devices: int | None) -> tuple[WorkerSlot, int]:
    """Return the resources of each worker on a cluster's machines, and the number of workers.

    Args:
        nodes: What ``ray.nodes()`` returns.
        device: ``auto``, ``cuda`` or ``cpu``.
        devices: Number of workers, or None.

    Raises:
        UsageError: There is no such device, or there are fewer.
        SatsegError: The cluster has nothing to compute with.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in alive))
    cores = [int(node["CPU"]) for node in alive if node.get("CPU", 0) >= 1]
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"Workers of Ray cannot run on {device!r}.", hint="Choose `device`: auto, cuda or cpu.")
    if device == "cuda" and not gpus:
        raise UsageError("No machine of the Ray cluster has a GPU.", hint="Choose `device='cpu'`.")
    if device != "cpu" and gpus:
        if devices and devices > gpus:
            raise UsageError(
                f"The Ray cluster has {gpus} GPUs, fewer than {devices} devices.",
                hint=f"Choose `devices={gpus}`, or `device='cpu'`.",
            )
        return WorkerSlot("cuda", max(1, sum(cores) // gpus)), devices or gpus
    if not cores:
        raise SatsegError("No machine of the Ray cluster has a GPU or a processor core to give.")
    group = _largest_group(cores, devices) if devices else min(_GROUP, *cores)
    return WorkerSlot("cpu", group), devices or sum(count // group for count in cores)


def _largest_group(cores: list[int], count: int) -> int:
    """Return the most cores that each of ``count`` workers can have; 1 where there are more workers than cores."""
    groups = range(max(cores), 0, -1)
    return next((group for group in groups if sum(node // group for node in cores) >= count), 1)
