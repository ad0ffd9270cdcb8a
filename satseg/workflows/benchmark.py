"""Measure the compute cost of networks on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from satseg.arguments import PathLike, Words, file_and_name, path, words
from satseg.backend import find_architecture, is_custom_file, list_architectures
from satseg.backend.cores import available_cores
from satseg.backend.device import select_device, select_precision
from satseg.errors import SatsegError, UsageError
from satseg.files.atomic_write import locked
from satseg.files.ledger import Ledger
from satseg.profiling.apart import measure_apart
from satseg.profiling.cost import Cost, Workload
from satseg.profiling.picture import draw_costs
from satseg.progress import automatic
from satseg.records import Progress, ProgressEvent
from satseg.results import Result
from satseg.signatures import checked

ALL = "all"
_SMALLEST = 64  # pixels; smaller images cannot be trained with a batch size of 1


@dataclass(frozen=True, repr=False)
class Unmeasured(Result):
    """A network that failed.

    Args:
        arch: Network.
        message: What failed.
        hint: What to do about it, or None.
    """

    arch: str
    message: str
    hint: str | None


@dataclass(frozen=True, repr=False)
class Benchmark(Result):
    """Compute cost of networks on this machine.

    Args:
        workload: What was measured.
        costs: Results in the order of the networks, those included that memory did not suffice for.
        failed: Networks that failed for another reason.
    """

    workload: Workload
    costs: tuple[Cost, ...] = ()
    failed: tuple[Unmeasured, ...] = ()


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
    on_result: Callable[[Benchmark], None] | None = None,
    progress: Progress = automatic,
) -> Benchmark:
    """Measure parameters, multiply-adds, and time and peak memory of inference and of a training step.

    Each network is measured in its own process, one after the other. Times are medians over ``repeats`` runs after
    two warm-up runs; if these take longer than ten seconds, over fewer, but at least three; if those take longer than
    30 seconds, over fewer still. Memory is the peak that torch allocated on a GPU, or the peak increase of the resident
    memory of the process on a CPU. Where memory runs out, the result says so, and has what was measured before.

    Args:
        arch: Networks from ``satseg.list_architectures``, ``all``, or ``path/to/file.py:function``, which runs that
            file.
        output: PNG file for a plot of speed against parameters, or None.
        size: Side length of the images in pixels, at least 64.
        batch_size: Images per batch.
        in_channels: Number of bands.
        num_classes: Number of classes.
        repeats: Maximum number of timed runs.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        threads: CPU threads; None uses all that are available to this process.
        on_result: Called after each network with all results so far, which an interruption would lose.
        progress: Progress callback, called after each network.

    Raises:
        ArchitectureError: There is no such network, or the only one that is given cannot be run.
        OutputError: The plot cannot be written.
        UsageError: An argument is invalid.
    """
    names = _names(words(arch, "arch"))
    output = None if output is None else path(output, "output")
    if size < _SMALLEST:
        raise UsageError(f"`size` is {size}; training needs images of at least {_SMALLEST} px.")
    counts = {"batch_size": batch_size, "in_channels": in_channels, "num_classes": num_classes, "repeats": repeats}
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"`{name}` is {count}; it must be at least 1.")
    if output is not None and Path(output).suffix.lower() != ".png":
        raise UsageError(f"The plot {output} must have the suffix .png.")
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
    with locked(*([] if output is None else [Path(output)])):
        for found in _measured(names, workload, progress):
            if on_result is not None:
                on_result(found)
        if output is not None and found.costs:
            draw_costs(output, found.costs, batch_size=batch_size, title=describe(workload))
    return found


def describe(workload: Workload) -> str:
    """Return the workload as one line of text."""
    images = f"{workload.batch_size} x {workload.in_channels} x {workload.size} x {workload.size}"
    threads = f", {workload.threads} threads" if workload.device == "cpu" else ""
    return f"{images}, {workload.num_classes} classes, {workload.device}{threads}, {workload.precision}"


def _names(given: Sequence[str]) -> list[str]:
    names = [entry.name for entry in list_architectures()] if ALL in given else list(dict.fromkeys(given))
    if not names:
        raise UsageError("No network given.", hint="Pass one: `arch='erfnet'`, or `arch='all'`.")
    for name in names:  # before any is measured
        if not is_custom_file(name):
            find_architecture(name)
    return names


def _measured(names: Sequence[str], workload: Workload, progress: Progress) -> Iterator[Benchmark]:
    """Yield the results so far after each network."""
    found = Benchmark(workload)
    for done, name in enumerate(names):
        progress(ProgressEvent("Measuring", done, len(names), "network", name))
        try:
            found = replace(found, costs=(*found.costs, measure_apart(name, workload)))
        except SatsegError as error:
            if len(names) == 1:
                raise
            found = replace(found, failed=(*found.failed, Unmeasured(name, error.message, error.hint)))
        yield found
    progress(ProgressEvent("Measuring", len(names), len(names), "network"))
