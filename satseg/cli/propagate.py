"""``satseg propagate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.cli.binding import takes
from satseg.cli.table import Name, Table
from satseg.propagation.settings import PropagateSettings

if TYPE_CHECKING:
    from satseg.records import PropagationSummary


@takes(PropagateSettings)
def propagate(
    ctx: typer.Context,
    labels: Annotated[
        list[str],
        typer.Argument(
            metavar="LABELS",
            help="Labels of the scene that --from names: vector features in any CRS, or a class raster. Later files "
            "are drawn on top.",
        ),
    ],
    from_: Annotated[
        str, typer.Option("--from", metavar="FILE", help="Scene that the labels belong to, in any grid and CRS.")
    ],
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="Scene of another date, which gets the labels.")],
    output: Annotated[
        list[str],
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write: .tif is a class raster on the grid of the scene that --to names, .gpkg .parquet .fgb "
            ".geojson .geojsonl .shp are polygons. May be given more than once.",
        ),
    ],
    settings: PropagateSettings,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Carry labels from one date to another where the ground has not changed."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    inputs.require_scenes([from_, to])
    inputs.require_labels(labels, settings.class_map, settings.meaning.labelled_area)
    from satseg.workflows.propagate import propagate as run

    summary = run(labels, from_=from_, to=to, output=output, settings=settings, progress=out.progress)
    out.report(summary, _table)


def _table(summary: PropagationSummary) -> Table:
    rows = [(Name(name), count) for name, count in summary.pixels.items()]
    right, down = summary.shift
    return console.table(
        ("class", "pixels"),
        [*rows, ("changed, left out", summary.changed), ("without a label or ground", summary.unknown)],
        title=f"Wrote {', '.join(summary.outputs)}; the ground has moved by {right:.1f} px right, {down:.1f} px down",
    )
