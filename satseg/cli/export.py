"""``satseg export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, options
from satseg.cli.binding import takes
from satseg.exporting.settings import ExportSettings

if TYPE_CHECKING:
    from satseg.cli.table import Table
    from satseg.workflows.export import ExportSummary


@takes(ExportSettings)
def export(
    ctx: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]",
            envvar="SATSEG_MODEL",
            help="Checkpoint or run; sample is a network for trying out that comes with satseg. Default: the best one "
            "of the newest finished run below runs/.",
        ),
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write; its suffix names the format: .onnx, .pt2 (torch.export), or .safetensors, a "
            "checkpoint in half precision.",
        ),
    ],
    settings: ExportSettings,
    tiles: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Tile set on whose val tiles the file is checked, and calibrated with --quantize. Default: that of "
            "the run.",
        ),
    ] = None,
    arch: options.CustomArch = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write a trained network to a file that takes raw pixels, for programs without satseg."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    from satseg.exporting.file_formats import format_of
    from satseg.presence import require_checkpoint, require_custom_network, require_tiles

    format_of(output, settings).require_packages()
    if model is not None:
        require_checkpoint(model)
    if tiles is not None:
        require_tiles(tiles)
    require_custom_network(arch)
    from satseg.workflows.export import export as run

    out.report(run(model, output=output, tiles=tiles, arch=arch, settings=settings, progress=out.progress), _table)


def _table(summary: ExportSummary) -> Table:
    sizes = ", ".join(f"{size} px" for size in summary.sizes)
    allowed = f"; up to {summary.limit:g} is let through" if summary.limit is not None else ""
    rows = [
        ("file", f"{summary.path}, {summary.bytes / 1e6:,.1f} MB"),
        ("gives", summary.output),
        ("largest difference", f"{summary.difference:.2g} of a probability beside {summary.precision}{allowed}"),
        ("other classes", f"{summary.differing:.4%} of {summary.pixels:,} px"),
        ("compared on", f"{summary.compared_on}, {sizes}, in batches of {' and '.join(map(str, summary.batches))}"),
    ]
    if (lost := summary.quantization) is not None:
        rows += [
            ("mean IoU lost", f"{lost.loss:.4f}: {lost.mean_iou:.4f} in int8, {lost.float_mean_iou:.4f} in float32"),
            ("scored on", f"{lost.pixels:,} px of val tiles; {lost.differing:.4%} have another class"),
        ]
    if summary.item:
        unknown = f", without {' and '.join(summary.unknown)} of the training scenes" if summary.unknown else ""
        rows.append(("STAC Item", f"{summary.item}{unknown}"))
    return console.table(("", ""), rows)
