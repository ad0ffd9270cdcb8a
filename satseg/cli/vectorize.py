"""``satseg vectorize``."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.cli.streams import require_stdout
from satseg.cli.table import Name, Table
from satseg.errors import UsageError

if TYPE_CHECKING:
    from satseg.records import VectorSummary


def vectorize(
    ctx: typer.Context,
    rasters: Annotated[
        list[str],
        typer.Argument(
            metavar="RASTER",
            help="Class rasters: one whole number, or colour, per class. Ids of instances (whole numbers of more than "
            "8 bits) are traced as with --raw. Several go into one layer; - reads their names from stdin, one a line.",
        ),
    ],
    output: Annotated[
        list[str],
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="What to write, by suffix: .gpkg .parquet .fgb .geojson .geojsonl .shp; - is GeoJSONSeq on stdout. "
            "May be given more than once.",
        ),
    ],
    band: Annotated[int | None, typer.Option(metavar="N", help="Band of a raster with several, from 1.")] = None,
    class_map: options.ClassMap = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="VALUE",
            help="Make polygons of all pixels of at least that value (after the band's scale); for probabilities.",
        ),
    ] = None,
    confidence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Raster that says how certain the class of each pixel is: probabilities, or uint8 with 254 for "
            "certain. One for each RASTER.",
        ),
    ] = None,
    keep_background: options.KeepBackground = False,
    classes: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Classes to make polygons of, by name, with commas between."),
    ] = None,
    connectivity: options.Connectivity = 4,
    raw: options.Raw = False,
    simplify: options.Simplify = None,
    smooth: options.Smooth = False,
    regularize: options.Regularize = None,
    max_vertices: options.MaxVertices = 1_000_000,
    min_area: options.MinArea = None,
    fill_holes: options.FillHoles = None,
    attributes: options.Attributes = None,
    crs: options.Crs = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Turn a class raster into polygons that share every boundary, without gaps or overlaps."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    if json and "-" in output:
        raise UsageError("--json and -o - would both write to stdout.", hint="Drop one of them.")
    if "-" in output:
        require_stdout()
    inputs.require_scenes([*rasters, *(confidence or [])])
    inputs.require_labels([], class_map)
    from satseg.vectorization import PolygonOptions
    from satseg.workflows.vectorize import vectorize as run

    summary = run(
        inputs.scene_list(rasters),
        output=output,
        band=band,
        class_map=class_map,
        threshold=threshold,
        confidence=confidence,
        options=PolygonOptions(
            classes=inputs.names(classes),
            keep_background=keep_background,
            raw=raw,
            min_area=min_area,
            fill_holes=fill_holes,
            connectivity=connectivity,
            simplify=simplify,
            smooth=smooth,
            regularize=regularize,
            max_vertices=max_vertices,
            attributes=inputs.names(attributes),
            crs=crs,
        ),
        stream=sys.stdout,
        progress=talk.progress,
    )
    caption = console.left_out(summary.specks, summary.holes, min_area=min_area, fill_holes=fill_holes)
    talk.report(summary, partial(_table, caption=caption))


def _area(area: float) -> str | None:
    return f"{area:,.1f}" if math.isfinite(area) else None  # unknown without a CRS


def _table(summary: VectorSummary, caption: str | None) -> Table:
    rows = [(Name(name), count, _area(summary.area_m2[name])) for name, count in summary.polygons.items()]
    names = ["stdout" if path == "-" else path for path in summary.paths]
    title = f"{summary.vertices:,} vertices in {', '.join(names)}"
    return console.table(("class", "polygons", "area m2"), rows, title=title, caption=caption)
