"""Measure what networks cost on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from satseg.arguments import PathLike, Words, file_and_name, path, words
from satseg.backend import find_architecture, is_custom_file, list_architectures
from satseg.backend.device import available_cores, select_device, select_precision
from satseg.errors import SatsegError, UsageError
from satseg.files.atomic_write import claimed
from satseg.files.ledger import Ledger
from satseg.profiling.apart import measure_apart
from satseg.profiling.cost import Cost, Workload
from satseg.profiling.picture import draw_costs
from satseg.progress import automatic
from satseg.records import Progress, ProgressEvent
from satseg.results import Result
from satseg.signatures import checked

ALL = "all"
_SMALLEST = 64  # pixels; a batch of one can be trained from here on


@dataclass(frozen=True, repr=False)
class Benchmark(Result):
    """What networks cost on one machine.

    Args:
        workload: What each was given to do.
        costs: What each took, in the order in which they were named.
    """

    workload: Workload
    costs: tuple[Cost, ...]


@checked
def benchmark(
    arch: Words = "erfnet",
    *,
    output: PathLike | None = None,
    size: int = 512,
    batch_size: int = 1,
    in_channels: int = 3,
    num_classes: int = 19,
    repeats: int = 10,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    on_error: Callable[[SatsegError], None] | None = None,
    progress: Progress = automatic,
) -> Benchmark:
    """Measure parameters, multiply-adds, and time and peak memory of inference and of a training step.

    Each network is measured in a process of its own, one after the other. Times are medians over ``repeats`` runs after
    two to warm up; fewer, but at least three, where those take longer than ten seconds. Memory on a GPU is what torch
    had allocated at most; on a processor it is how much the resident memory of the process grew at most.

    Args:
        arch: Network, several, or ``all``: names from ``satseg.list_architectures``, or ``path/to/file.py:function``,
            which runs that file.
        output: PNG with a picture of speed against parameters, or None.
        size: Rows and columns of the images in pixels, 64 or more.
        batch_size: Images at once.
        in_channels: Bands of the images.
        num_classes: Classes of the logits.
        repeats: Timed runs, at most.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: Processor threads; None is all that this process may use.
        on_error: Called for a network that cannot be measured, and the next one follows; None raises.
        progress: Told after every network.

    Raises:
        ArchitectureError: There is no such network, or it does not get through the workload.
        OutputError: The picture cannot be written.
        UsageError: An argument makes no sense.
    """
    names = _names(words(arch, "arch"))
    output = None if output is None else path(output, "output")
    if size < _SMALLEST:
        raise UsageError(f"Images of {size} px are too small to train on; networks need {_SMALLEST} px.")
    counts = {"batch_size": batch_size, "in_channels": in_channels, "num_classes": num_classes, "repeats": repeats}
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"{name} is {count}; it starts at 1.")
    if output is not None and Path(output).suffix.lower() != ".png":
        raise UsageError(f"The picture {output} is no .png.")
    if output is not None:
        Ledger(file_and_name(name)[0] for name in names if is_custom_file(name)).write(Path(output))
    where = select_device(device)
    workload = Workload(
        size=size,
        batch_size=batch_size,
        in_channels=in_channels,
        num_classes=num_classes,
        device=str(where),
        precision=select_precision(precision, where),
        threads=threads or available_cores(),
        repeats=repeats,
    )
    with claimed(*([] if output is None else [Path(output)])):
        found = Benchmark(workload, tuple(_measure(names, workload, on_error, progress)))
        if output is not None and found.costs:
            draw_costs(output, found.costs, batch_size=batch_size, title=describe(workload))
    return found


def describe(workload: Workload) -> str:
    """Say in one line what the networks were given to do."""
    images = f"{workload.batch_size} x {workload.in_channels} x {workload.size} x {workload.size}"
    threads = f", {workload.threads} threads" if workload.device == "cpu" else ""
    return f"{images}, {workload.num_classes} classes, {workload.device}{threads}, {workload.precision}"


def _names(given: Sequence[str]) -> list[str]:
    names = [entry.name for entry in list_architectures()] if ALL in given else list(dict.fromkeys(given))
    if not names:
        raise UsageError("No network was named.", hint="Name one: --arch erfnet, or --arch all.")
    for name in names:  # before any is measured
        if not is_custom_file(name):
            find_architecture(name)
    return names


def _measure(
    names: Sequence[str], workload: Workload, on_error: Callable[[SatsegError], None] | None, progress: Progress
) -> list[Cost]:
    costs = []
    for done, name in enumerate(names):
        progress(ProgressEvent("Measuring", done, len(names), "network", name))
        try:
            costs.append(measure_apart(name, workload))
        except SatsegError as error:
            if on_error is None:
                raise
            on_error(error)
    progress(ProgressEvent("Measuring", len(names), len(names), "network"))
    return costs
