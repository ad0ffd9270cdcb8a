"""``satseg tile``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.cli.class_tables import class_pixels
from satseg.errors import TileError, UsageError

if TYPE_CHECKING:
    from satseg.cli.console import ConsoleOutput
    from satseg.cli.table import Table
    from satseg.records import TileSummary
    from satseg.tiles.check import TileCheck

_SCENES = "Which scenes"
_LABELS = "What labels mean"
_SAMPLING = "Which tiles"
_SPLITS = "How splits are made"
_SPLIT_NAMES = ("train", "val", "test")


def tile(
    ctx: typer.Context,
    scenes: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCENE", help="Rasters to cut; - reads their names from stdin, one a line."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            "-l",
            metavar="FILE",
            help="Vector features in any CRS, or a class raster; given again, later ones lie on top.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")] = Path("tiles"),
    stack: Annotated[
        str | None,
        typer.Option(
            metavar="FILES",
            help="Files of one grid that together are a scene: B02.tif,B03.tif,B04.tif.",
            rich_help_panel=_SCENES,
        ),
    ] = None,
    pairs: options.Pairs = None,
    scene_list: options.SceneList = None,
    bands: Annotated[
        str | None,
        typer.Option(metavar="BANDS", help="Bands to use, by number or name: 4,3,2.", rich_help_panel=_SCENES),
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Raster that is warped onto the grid of each scene and adds its bands; may be given again.",
            rich_help_panel=_SCENES,
        ),
    ] = None,
    gsd: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help=f"Size of a pixel on the ground to bring scenes to: 0.5m, 50cm; {options.METRES}.",
            rich_help_panel=_SCENES,
        ),
    ] = None,
    class_field: options.ClassField = None,
    class_map: options.ClassMap = None,
    where: options.Where = None,
    burn_order: Annotated[
        str | None,
        typer.Option(
            metavar="ORDER",
            help="What lies on top where polygons overlap: file (later ones, the default), area (smaller ones), class "
            "(later classes), or an attribute of numbers (higher ones).",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    all_touched: Annotated[
        bool | None,
        typer.Option(
            "--all-touched",
            help="Label all pixels that a polygon touches, not only those whose centre it covers.",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    unlabelled: options.Unlabelled = None,
    labelled_area: options.LabelledArea = None,
    outside: options.Outside = None,
    ignore_border: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help=f"Distance from outlines within which labels are ignored: 2px, 1m; {options.METRES}.",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    boundary: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help=f"Width of a class of its own along outlines and between touching objects: 3px, 1m; {options.METRES}.",
            rich_help_panel=_LABELS,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            parser=inputs.pixels,
            metavar="PX",
            help="Side of a tile. Default: 256, less where scenes are too small to fill all splits.",
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            parser=inputs.pixels,
            metavar="PX",
            help="Pixels that neighbouring training tiles share; others share none. Default: half a tile.",
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    sampling: Annotated[
        str | None,
        typer.Option(
            metavar="HOW",
            help="grid (the default), or random: training tiles anywhere in their block, as many as a grid would have.",
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    min_valid: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", min=0, max=1, help="Smallest share of valid pixels. Default: 0.", rich_help_panel=_SAMPLING
        ),
    ] = None,
    keep_empty: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=1,
            help="Share of the training tiles with nothing but background that is kept. Default: 1.",
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    min_pixels: Annotated[
        str | None,
        typer.Option(
            metavar="COUNTS",
            help="Smallest count of pixels by class: building=50,water=10. A training tile needs that of one of them.",
            rich_help_panel=_SAMPLING,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Tiles at most, drawn at random.", rich_help_panel=_SAMPLING),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES|NAME",
            help="Shares of train, val and test in area; or train, val or test, to put all that is given into that "
            "split: others follow with --append. Default: 0.7,0.15,0.15; the splits of --scene-list where it has any.",
            rich_help_panel=_SPLITS,
        ),
    ] = None,
    split_by: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="block, scene, or polygons with an attribute of train, val or test: regions.gpkg:split. "
            "Default: block; scene for --pairs that are enough to fill all splits.",
            rich_help_panel=_SPLITS,
        ),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(
            parser=inputs.pixels,
            metavar="PX",
            help="Side of the blocks that splits are made of. Default: two tiles, more for large scenes, one where two "
            "do not fill all splits.",
            rich_help_panel=_SPLITS,
        ),
    ] = None,
    buffer: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help=f"Distance between training tiles and the others, at least: 64px, 20m; {options.METRES}. Default: 0.",
            rich_help_panel=_SPLITS,
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option(
            "--append", help="Add to the tile set that is there already, with its options where none are given."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a tile set, and nothing else.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stood.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Cut nothing: verify the files of the tile set against its index.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Number that all random choices follow from. Default: 0."),
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Cut scenes and their labels into training, validation and test tiles."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    if check:
        return _check(scenes or [], output, talk)
    files = inputs.stacked_files(stack) if stack else ()
    inputs.require_scenes([*(scenes or []), *files, *(extra or [])])
    inputs.require_labels(labels or [], class_map, labelled_area)
    paired = inputs.scene_pairs(pairs, scene_list)
    inputs.require_pairs(paired)
    from satseg.workflows.tile import tile

    summary = tile(
        inputs.scene_list(scenes or []),
        labels=labels or [],
        output=output,
        stack=files,
        pairs=paired,
        bands=_words(bands) or None,
        extra=extra or [],
        gsd=gsd,
        class_field=class_field,
        class_map=class_map,
        where=where,
        burn_order=burn_order,
        all_touched=all_touched,
        unlabelled=unlabelled or [],
        labelled_area=labelled_area,
        outside=outside,
        ignore_border=ignore_border,
        boundary=boundary,
        size=size,
        overlap=overlap,
        sampling=sampling,
        min_valid=min_valid,
        keep_empty=keep_empty,
        min_pixels=_counts(min_pixels),
        limit=limit,
        split=split if split in _SPLIT_NAMES else None,
        split_by=split_by,
        block=block,
        buffer=buffer,
        shares=None if split is None or split in _SPLIT_NAMES else _shares(split),
        seed=seed,
        append=append,
        overwrite=overwrite,
        resume=resume,
        threads=threads,
        progress=talk.progress,
    )
    talk.report(summary, _tables)


def _check(folders: Sequence[str | Path], output: Path, talk: ConsoleOutput) -> None:
    from satseg.presence import require_tiles

    for folder in folders or [output]:
        require_tiles(folder)
    from satseg.workflows.check_tiles import check_tiles

    for folder in folders or [output]:
        found = check_tiles(folder, progress=talk.progress)
        talk.report(found, _problems)
        if found.problems:
            first = found.problems[0]
            count = f"{len(found.problems)} problem{'s' if len(found.problems) > 1 else ''}"
            raise TileError(f"{found.path} has {count}; the first: the tile {first.tile} {first.problem}.")


def _words(text: str | None) -> list[str]:
    return [word for word in inputs.names(text) or () if word]


def _counts(text: str | None) -> dict[str, int]:
    try:
        return {name: int(count) for name, _, count in (word.rpartition("=") for word in _words(text))}
    except ValueError:
        raise UsageError(
            f"--min-pixels {text!r} is not class=count.", hint="For example: --min-pixels road=50"
        ) from None


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--split {text!r} is neither three numbers nor a split.",
            hint="For example: --split 0.7,0.15,0.15, or --split val",
        ) from None


def _tables(summary: TileSummary) -> list[Table]:
    areas = {split: f"{share:.1%}" for split, share in summary.shares.items()}
    columns = ("split", "tiles", "area")[: 3 if areas else 2]
    rows = [(split, count, areas.get(split))[: len(columns)] for split, count in summary.tiles.items()]
    checked = [
        ("tiles that overlap a tile of another split (checked)", summary.overlapping),
        *([("scenes without a CRS, whose overlap nobody can check", summary.unplaced)] if summary.unplaced else []),
        ("tiles left out to keep splits apart", summary.kept_apart),
        ("tiles left out for what they hold", summary.skipped),
    ]
    return [
        console.table(columns, rows, title=f"{'Found' if summary.finished_before else 'Wrote'} {summary.path}"),
        class_pixels(summary.pixels),
        console.table(("", ""), checked),
    ]


def _problems(found: TileCheck) -> Table:
    rows = [(problem.tile, problem.problem) for problem in found.problems]
    title = f"{found.path}: {found.tiles:,} tiles, {len(rows):,} problems, {found.strays:,} images not in the index"
    title += f", {found.unplaced:,} scenes without a CRS not compared" if found.unplaced else ""
    return console.table(("tile", "problem"), rows, title=title)
