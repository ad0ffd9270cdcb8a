"""``satseg demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.backend import settings as backend
from satseg.cli import console, options
from satseg.cli.evaluate import class_rows, object_table

if TYPE_CHECKING:
    from satseg.cli.table import Table
    from satseg.workflows.demo import DemoSummary


def demo(
    ctx: typer.Context,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Output folder.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(metavar="N", min=0, help="Training time in minutes.")] = 2.5,
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Network to train, as `satseg train` takes it. Default: go on training the network of the package.",
            show_default=False,
            autocompletion=backend.architectures,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the tiles and maps of an earlier demo in this folder; its training runs are kept.",
        ),
    ] = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Run the complete workflow on the sample scenes of the package."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    if arch is not None:
        options.known_network(arch)
    from satseg.workflows.demo import demo

    summary = demo(
        output,
        minutes=minutes,
        arch=arch,
        device=device,
        threads=threads,
        overwrite=overwrite,
        announce=out.command,
        progress=out.progress,
    )
    out.report(summary, _tables)
    for line in (summary.learnt, *summary.credit):
        out.say(line)


def _tables(summary: DemoSummary) -> list[Table]:
    seconds = [(step.name, f"{step.seconds:.1f}") for step in summary.steps]
    files = [(path, console.file_size(size)) for path, size in summary.files.items()]
    return [
        console.table(*class_rows(summary.first), title="Scores of the first map of the held-out scene"),
        object_table(summary.first, title="Its objects"),
        console.table(*class_rows(summary.evaluation), title="Scores after training"),
        object_table(summary.evaluation, title="Objects after training"),
        console.table(("step", "seconds"), seconds),
        console.table(("file", "size"), files),
    ]
