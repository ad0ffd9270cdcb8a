"""``satseg benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.errors import SatsegError

if TYPE_CHECKING:
    from satseg.cli.table import Table
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

    failed: list[SatsegError] = []
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
        on_error=failed.append,
        progress=out.progress,
    )
    out.answer(found, _table)
    for error in failed:
        out.error(error.message, hint=error.hint)
    if failed:
        raise typer.Exit(1)


def _table(found: Benchmark) -> Table:
    from satseg.workflows.benchmark import describe

    columns = ("network", "parameters", "multiply-adds", "inference ms", "MiB", "training step ms", "MiB")
    rows = [
        (
            cost.arch,
            cost.parameters,
            f"{cost.multiply_adds / 1e9:.2f} G",
            f"{cost.inference_ms:,.1f}",
            cost.inference_bytes >> 20,
            f"{cost.training_ms:,.1f}",
            cost.training_bytes >> 20,
        )
        for cost in found.costs
    ]
    return console.table(columns, rows, title=describe(found.workload))
