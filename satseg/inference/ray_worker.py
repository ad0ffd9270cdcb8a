"""The worker of a Ray cluster, with its network, its jobs and its reports."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from rasterio.windows import Window

from satseg.backend.device import select_precision
from satseg.errors import SceneError
from satseg.files.gdal import gdal_environment
from satseg.inference.blocks import BlockPart, predict_block, strips
from satseg.inference.decision import Decision
from satseg.inference.network import Network
from satseg.inference.reading import Area, ReadOptions
from satseg.inference.timing import Stopwatch
from satseg.raster.scales import Conversion
from satseg.raster.scene import Scene
from satseg.raster.values import OutOfRange
from satseg.records import Plan
from satseg.version import __version__

Answer = TypeVar("Answer")

NetworkFactory = Callable[[torch.device, str], Network]
"""Builds the network of a worker, on a device and in a precision as Fabric spells it. It can be pickled."""


@dataclass(frozen=True)
class WorkerKind:
    """What the rounding of a network may depend on: workers of one kind give the same bytes.

    Args:
        device: Model of the GPU, or instruction set of the processor.
        precision: Precision there.
        torch_version: Version of torch.
        satseg_version: Version of satseg.
        host: Name of the machine; machines may differ in it.
    """

    device: str
    precision: str
    torch_version: str = torch.__version__
    satseg_version: str = __version__
    host: str = field(default_factory=platform.node, compare=False)

    @classmethod
    def here(cls, device: torch.device, precision: str) -> WorkerKind:
        """Describe this process, for a precision of the settings."""
        if device.type == "cuda":
            name = torch.cuda.get_device_name(device)
        else:
            name = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
        return cls(name, select_precision(precision, device))

    def differences(self, other: WorkerKind) -> list[str]:
        """Name what differs, with the values of both."""
        pairs = {
            "device": (self.device, other.device),
            "precision": (self.precision, other.precision),
            "torch": (self.torch_version, other.torch_version),
            "satseg": (self.satseg_version, other.satseg_version),
        }
        return [f"{name} {mine} instead of {theirs}" for name, (mine, theirs) in pairs.items() if mine != theirs]


@dataclass(frozen=True, eq=False)
class BlockJob:
    """A scene that is mapped block by block. It can be pickled.

    Args:
        open_scene: Opens the scene, under a name that all machines know it by.
        resample: How the scene is resampled, see :class:`~satseg.inference.views.Views`.
        conversion: What its raw values are converted by, or None.
        plan: Windows, overlaps and batches.
        decision: How probabilities become classes, and which layers are stored.
        area: Where to map; None is everywhere.
        readers: Threads of a worker that read and decode.
        budget: Bytes of rows that a worker keeps in memory.
        tolerant: Whether stretches that cannot be read become nodata.
        first_row: Row of windows to begin with.
    """

    open_scene: Callable[[], Scene]
    resample: tuple[float, float]
    conversion: Conversion | None
    plan: Plan
    decision: Decision
    area: Area | None
    readers: int
    budget: int
    tolerant: bool
    first_row: int


@dataclass(frozen=True, eq=False)
class BlockReport:
    """Report of a worker at the end of a block.

    Args:
        seconds: By stage.
        failures: Stretches that could not be read and became nodata.
        out_of_range: Values that cannot have been measured and became nodata.
    """

    seconds: dict[str, float]
    failures: list[tuple[Window, SceneError]]
    out_of_range: list[OutOfRange]


class Worker:
    """Hold a network on one device and map blocks with it.

    Args:
        device: ``cpu`` or ``cuda``.
        cores: Processor cores for its threads.
    """

    def __init__(self, device: str, cores: int) -> None:
        self._device = torch.device(device)
        self._cores = cores
        self._network: Network | None = None

    def describe(self, precision: str) -> WorkerKind:
        """Describe this worker, for a precision of the settings."""
        return WorkerKind.here(self._device, precision)

    def load(self, make_network: NetworkFactory, precision: str) -> None:
        """Build the network."""
        torch.set_num_threads(self._cores)
        self._network = make_network(self._device, precision)

    def ask(self, function: Callable[[Network], Answer]) -> Answer:
        """Return the result of a function of the network, where it runs."""
        assert self._network is not None, "a worker is asked once its network is loaded"
        return function(self._network)

    def map_block(self, job: BlockJob, block: range) -> Iterator[list[BlockPart] | BlockReport]:
        """Yield the strips of a block, and a report."""
        assert self._network is not None, "a worker maps once its network is loaded"
        network = self._network.resampled(*job.resample)
        if job.conversion is not None:
            network = network.converted(job.conversion)
        failures: list[tuple[Window, SceneError]] = []
        out_of_range: list[OutOfRange] = []
        read_options = ReadOptions(
            scratch=Path(tempfile.gettempdir()),
            readers=job.readers,
            budget=job.budget,
            area=job.area,
            on_failure=(lambda window, error: failures.append((window, error))) if job.tolerant else None,
            values=network.values,
            on_out_of_range=out_of_range.append,
            stopwatch=Stopwatch(),
        )
        plan = replace(job.plan, streams=streams(job.plan, self._device.type, self._cores))
        with gdal_environment():
            parts = predict_block(
                job.open_scene, network, plan, job.decision, read_options, block, first_row=job.first_row
            )
            yield from strips(parts, plan)
        assert read_options.stopwatch is not None, "it was given one"
        yield BlockReport(read_options.stopwatch.busy(), failures, out_of_range)


def streams(plan: Plan, device: str, cores: int) -> int:
    """Return how many batches a worker runs side by side; that changes no pixel, unlike the threads of each."""
    return plan.streams if device == "cuda" else max(1, cores // plan.threads)
