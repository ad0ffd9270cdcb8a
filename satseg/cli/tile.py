"""``satseg tile``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.cli.binding import takes
from satseg.cli.class_tables import class_pixels
from satseg.cli.table import Name
from satseg.errors import TileError
from satseg.settings import INPUTS
from satseg.tiling.settings import TileSettings

if TYPE_CHECKING:
    from satseg.cli.console import ConsoleOutput
    from satseg.cli.table import Table
    from satseg.records import TileSummary
    from satseg.tiles.check import TileCheck


@takes(TileSettings)
def tile(
    ctx: typer.Context,
    scenes: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCENE", help="Rasters to cut; - reads their names from stdin, one per line."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            "-l",
            metavar="FILE",
            help="Vector features in any CRS, or a class raster. May be repeated; later files are drawn on top.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")] = Path("tiles"),
    *,
    settings: TileSettings,
    stack: Annotated[
        str | None,
        typer.Option(
            metavar="FILES",
            help="Files on the same grid whose bands form one scene: B02.tif,B03.tif,B04.tif.",
            rich_help_panel=INPUTS,
        ),
    ] = None,
    pairs: options.Pairs = None,
    scene_list: options.SceneList = None,
    check: Annotated[
        bool, typer.Option("--check", help="Verify the files of a tile set against its index; cut nothing.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Cut scenes and their labels into training, validation and test tiles."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    if check:
        return _check(scenes or [], output, out)
    files = inputs.stacked_files(stack) if stack else ()
    inputs.require_scenes([*(scenes or []), *files])
    inputs.require_extra(settings.extra)
    inputs.require_labels(labels or [], settings.class_map, settings.meaning.labelled_area)
    paired = inputs.scene_pairs(pairs, scene_list)
    inputs.require_pairs(paired)
    from satseg.workflows.tile import tile

    summary = tile(
        inputs.scene_list(scenes or []),
        labels=labels or [],
        output=output,
        stack=files,
        pairs=paired,
        settings=settings,
        progress=out.progress,
    )
    out.report(summary, _tables)


def _check(folders: Sequence[str | Path], output: Path, out: ConsoleOutput) -> None:
    from satseg.presence import require_tiles

    for folder in folders or [output]:
        require_tiles(folder)
    from satseg.workflows.check_tiles import check_tiles

    for folder in folders or [output]:
        found = check_tiles(folder, progress=out.progress)
        out.report(found, _problems)
        if found.problems:
            first = found.problems[0]
            count = f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}"
            raise TileError(f"{found.path} has {count}. The first one: the tile {first.tile} {first.problem}.")


def _tables(summary: TileSummary) -> list[Table]:
    areas = {split: f"{share:.1%}" for split, share in summary.shares.items()}
    columns = ("split", "tiles", "area")[: 3 if areas else 2]
    rows = [(split, count, areas.get(split))[: len(columns)] for split, count in summary.tiles.items()]
    checked = [
        ("tiles that overlap a tile of another split (checked)", summary.overlapping),
        *([("scenes without a CRS, whose overlap cannot be checked", summary.unplaced)] if summary.unplaced else []),
        ("tiles left out to keep splits apart", summary.kept_apart),
        ("tiles left out by filters", summary.skipped),
    ]
    return [
        console.table(columns, rows, title=f"{'Found' if summary.finished_before else 'Wrote'} {summary.path}"),
        class_pixels(summary.pixels),
        *_object_widths(summary),
        console.table(("", ""), checked),
    ]


def _object_widths(summary: TileSummary) -> list[Table]:
    """Show how wide objects are, unless none was measured."""
    rows = [
        (Name(name), size.measured, f"{size.median:.1f}", f"{size.narrow:.1f}")
        for name, size in summary.objects.items()
    ]
    columns = ("class", "objects measured", "median width px", "a tenth below px")
    return [console.table(columns, rows)] if rows else []


def _problems(found: TileCheck) -> Table:
    rows = [(problem.tile, problem.problem) for problem in found.problems]
    title = f"{found.path}: {found.tiles:,} tiles, {len(rows):,} problems, {found.strays:,} images not in the index"
    title += f", {found.unplaced:,} scenes without a CRS not compared" if found.unplaced else ""
    return console.table(("tile", "problem") if rows else (), rows, title=title)
