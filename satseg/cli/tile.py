"""``satseg tile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from satseg.records import TileSummary


def tile(
    ctx: typer.Context,
    scenes: Annotated[
        list[str],
        typer.Argument(metavar="SCENE...", help="Rasters to cut; - reads their names from stdin, one a line."),
    ],
    labels: Annotated[
        str,
        typer.Option("--labels", "-l", metavar="FILE", help="Vector features in any CRS, or a class raster."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")] = Path("tiles"),
    class_field: options.ClassField = None,
    size: Annotated[int, typer.Option(metavar="PX", help="Side of a tile.")] = 256,
    overlap: Annotated[
        int | None,
        typer.Option(
            metavar="PX", help="Pixels that neighbouring training tiles share; others share none. Default: half a tile."
        ),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            help="Side of the blocks that splits are made of. Default: at least two tiles, more for large scenes.",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="SHARES", help="Shares of train, val and test in area.")
    ] = "0.7,0.15,0.15",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a tile set that is there already.")] = False,
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Cut scenes and their labels into training, validation and test tiles."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    from satseg.workflows.tile import tile

    summary = tile(
        inputs.scene_list(scenes),
        labels=labels,
        output=output,
        class_field=class_field,
        size=size,
        overlap=overlap,
        block=block,
        shares=_shares(split),
        seed=seed,
        overwrite=overwrite,
        progress=talk.progress,
    )
    talk.report(summary, _table)


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--split {text!r} is not three numbers.", hint="For example: --split 0.7,0.15,0.15") from None


def _table(summary: TileSummary) -> Table:
    names = list(summary.pixels["train"])
    rows = [(split, count, *(summary.pixels[split][name] for name in names)) for split, count in summary.tiles.items()]
    return console.table(("split", "tiles", *(f"{name} px" for name in names)), rows, title=f"Wrote {summary.path}")
