"""``satseg predict``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.cli import console, inputs, options
from satseg.errors import SatsegError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from satseg.records import PredictionSummary


def predict(
    ctx: typer.Context,
    scenes: Annotated[
        list[str],
        typer.Argument(metavar="SCENE...", help="Rasters to map; - reads their names from stdin, one a line."),
    ],
    output: Annotated[
        list[str],
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="What to write, by suffix: .tif is the class raster; .gpkg .parquet .fgb .geojson .geojsonl .shp are "
            "polygons; - is GeoJSONSeq on stdout. May be given more than once; {stem} is the scene's name.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE",
            envvar="SATSEG_MODEL",
            help="Checkpoint. Default: the best one of the newest finished run below runs/.",
        ),
    ] = None,
    arch: options.OwnArch = None,
    window: Annotated[int, typer.Option(metavar="PX", help="Side of the windows the network sees.")] = 512,
    overlap: Annotated[
        int | None,
        typer.Option(metavar="PX", help="Pixels over which windows are blended. Default: an eighth of the window."),
    ] = None,
    batch_size: options.BatchSize = 4,
    keep_background: options.KeepBackground = False,
    simplify: options.Simplify = None,
    min_area: options.MinArea = None,
    fill_holes: options.FillHoles = None,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Map scenes of any size with a trained network: class rasters and polygons."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    if json and "-" in output:
        raise UsageError("--json and -o - would both write to stdout.", hint="Drop one of them.")
    if model is None and inputs.stdin_is_pipe():
        raise UsageError("In a pipeline the checkpoint must be named.", hint="Give -m FILE, or set SATSEG_MODEL.")
    from satseg.workflows.predict import predict_scenes

    failed: list[SatsegError] = []
    mapped = 0
    for summary in predict_scenes(
        inputs.scene_list(scenes) if inputs.STDIN in scenes else scenes,
        model=model,
        outputs=output,
        arch=arch,
        window=window,
        overlap=overlap,
        batch_size=batch_size,
        keep_background=keep_background,
        simplify=simplify,
        min_area=min_area,
        fill_holes=fill_holes,
        device=device,
        precision=precision,
        threads=threads,
        stream=sys.stdout,
        on_error=failed.append if len(scenes) > 1 or scenes == [inputs.STDIN] else None,
        progress=talk.progress,
    ):
        talk.report(summary, _table)
        mapped += 1
    if not mapped and not failed:
        raise UsageError("No scene was named on stdin.", hint="Did the command before this one in the pipeline fail?")
    for error in failed:
        talk.error(error.message, hint=error.hint)
    if failed:
        raise typer.Exit(1)


def _table(summary: PredictionSummary) -> Table:
    total = max(sum(summary.pixels.values()), 1)
    polygons = summary.polygons or {}
    rows = [(name, count, f"{count / total:.1%}", polygons.get(name)) for name, count in summary.pixels.items()]
    title = f"Mapped {summary.scene} in {summary.seconds:.1f} s: {', '.join(summary.outputs)}"
    return console.table(("class", "px", "share", "polygons"), rows, title=title)
