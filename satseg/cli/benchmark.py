"""``satseg benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options

if TYPE_CHECKING:
    from satseg.cli.table import Table
    from satseg.profiling.cost import Cost
    from satseg.workflows.benchmark import Benchmark


def benchmark(
    ctx: typer.Context,
    arch: options.Archs,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.png", help="Plot of speed against parameters."),
    ] = None,
    size: Annotated[
        int, typer.Option(parser=inputs.pixels, metavar="PX", help="Side length of the images in pixels.")
    ] = 512,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Images per forward pass.")] = 1,
    in_channels: Annotated[int, typer.Option(metavar="N", min=1, help="Number of bands.")] = 3,
    num_classes: Annotated[int, typer.Option(metavar="N", min=1, help="Number of classes.")] = 19,
    repeats: Annotated[
        int, typer.Option(metavar="N", min=1, help="Runs per median; fewer if they take over 10 s.")
    ] = 10,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure parameters, multiply-adds, speed and memory use of networks on this machine."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    from satseg.workflows.benchmark import benchmark

    told: list[Benchmark] = []

    def tell_next(so_far: Benchmark) -> None:
        before = told[-1].costs if told else ()
        for cost in so_far.costs[len(before) :]:
            out.say(_line(cost))
        told.append(so_far)

    try:
        found = benchmark(
            arch,
            output=output,
            size=size,
            batch_size=batch_size,
            in_channels=in_channels,
            num_classes=num_classes,
            repeats=repeats,
            device=device,
            precision=precision,
            threads=threads,
            on_result=tell_next,
            progress=out.progress,
        )
    except KeyboardInterrupt:
        for so_far in told[-1:]:
            _tell(so_far, out)
        raise
    _tell(found, out)
    if found.failed:
        raise typer.Exit(1)


def _tell(found: Benchmark, out: console.ConsoleOutput) -> None:
    out.answer(found, _table)
    for failure in found.failed:
        out.error(failure.message, hint=failure.hint)


def _table(found: Benchmark) -> Table:
    from satseg.workflows.benchmark import describe

    columns = ["network", "parameters", "multiply-adds", "inference ms", "MiB", "training step ms", "MiB"]
    rows = [
        (
            cost.arch,
            cost.parameters,
            f"{cost.multiply_adds / 1e9:.2f} G",
            _ms(cost.inference_ms),
            _mib(cost.inference_bytes),
            _ms(cost.training_ms),
            _mib(cost.training_bytes),
            cost.out_of_memory and f"in {cost.out_of_memory}",
        )
        for cost in found.costs
    ]
    if any(cost.out_of_memory for cost in found.costs):
        columns.append("out of memory")
    return console.table(columns, [row[: len(columns)] for row in rows], title=describe(found.workload))


def _line(cost: Cost) -> str:
    parts = [f"inference {_ms(cost.inference_ms)} ms"] if cost.inference_ms is not None else []
    parts += [f"training step {_ms(cost.training_ms)} ms"] if cost.training_ms is not None else []
    parts += [f"out of memory in {cost.out_of_memory}"] if cost.out_of_memory else []
    return f"{cost.arch}: {', '.join(parts)}"


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f}"


def _mib(count: int | None) -> int | None:
    return None if count is None else count >> 20
