"""``satseg vectorize``."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.cli.binding import takes
from satseg.cli.streams import require_stdout
from satseg.cli.table import Name, Table
from satseg.errors import UsageError
from satseg.vectorization.settings import VectorizeSettings

if TYPE_CHECKING:
    from satseg.records import VectorSummary


@takes(VectorizeSettings)
def vectorize(
    ctx: typer.Context,
    rasters: Annotated[
        list[str],
        typer.Argument(
            metavar="RASTER",
            help="Class rasters, with one whole number or colour per class. Rasters of ids (whole numbers of more than "
            "8 bits) are traced as with --raw. Several rasters go into one layer; - reads their names from stdin, one "
            "per line.",
        ),
    ],
    output: Annotated[
        list[str],
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write; its suffix names the format: .gpkg .parquet .fgb .geojson .geojsonl .shp. - writes "
            "GeoJSONSeq to stdout. May be given more than once.",
        ),
    ],
    settings: VectorizeSettings,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Turn class rasters into polygons that share every boundary, without gaps or overlaps."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    if json and "-" in output:
        raise UsageError("--json and -o - would both write to stdout.", hint="Leave out one of them.")
    if "-" in output:
        require_stdout()
    inputs.require_scenes([*rasters, *(settings.confidence or ())])
    inputs.require_labels([], settings.class_map)
    from satseg.workflows.vectorize import vectorize as run

    summary = run(
        inputs.scene_list(rasters), output=output, settings=settings, stream=sys.stdout, progress=out.progress
    )
    caption = console.left_out(
        summary.specks,
        summary.holes,
        min_area=settings.min_area,
        fill_holes=settings.fill_holes,
        objects=settings.boundary is not None,
    )
    out.report(summary, partial(_table, caption=caption))


def _area(area: float) -> str | None:
    return f"{area:,.1f}" if math.isfinite(area) else None  # unknown without a CRS


def _table(summary: VectorSummary, caption: str | None) -> Table:
    rows = [(Name(name), count, _area(summary.area_m2[name])) for name, count in summary.polygons.items()]
    names = ["stdout" if path == "-" else path for path in summary.paths]
    title = f"{summary.vertices:,} vertices in {', '.join(names)}"
    return console.table(("class", "polygons", "area m2"), rows, title=title, caption=caption)
