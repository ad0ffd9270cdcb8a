"""``satseg predict``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from satseg.cli import console, inputs, options
from satseg.cli.binding import takes
from satseg.cli.failures import Failures
from satseg.cli.predict_report import Finished, Maps, dry_run_table
from satseg.cli.streams import require_stdout
from satseg.errors import UsageError
from satseg.prediction.settings import OutputNames, PredictionSettings
from satseg.settings import INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from satseg.cli.table import Table

_Record = TypeVar("_Record")


@takes(OutputNames, PredictionSettings)
def predict(
    ctx: typer.Context,
    scenes: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCENE", help="Rasters to map; - reads their names from stdin, one per line."),
    ] = None,
    *,
    outputs: OutputNames,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE",
            envvar="SATSEG_MODEL",
            help="Checkpoint, run or .onnx file; the predictions of several are averaged. sample is a network for "
            "trying out that comes with satseg. Default: the best one of the newest finished run below runs/.",
        ),
    ] = None,
    settings: PredictionSettings,
    arch: options.CustomArch = None,
    stack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES",
            help="Files on one grid that together are a scene: B04.tif,B08.tif. May be given more than once.",
            rich_help_panel=INPUTS,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only report windows, memory, disk space and time, which is measured on a few windows."
        ),
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Map scenes of any size with a trained network: class rasters and polygons."""
    out = console.output_for(ctx, json=json, quiet=quiet, debug=debug)
    if json and "-" in outputs.output:
        raise UsageError("--json and -o - would both write to stdout.", hint="Leave out one of them.")
    if "-" in outputs.output:
        require_stdout()
    if not model and inputs.stdin_is_pipe():
        raise UsageError(
            "In a pipeline, the checkpoint must be named.", hint="Give it with -m FILE, or set SATSEG_MODEL."
        )
    stacked = [inputs.stacked_files(files) for files in stack or []]
    models = _require_there(scenes or [], stacked, model or [], settings=settings, arch=arch)
    inputs.require_extra(settings.extra)
    from satseg.backend.device import share_heap
    from satseg.raster.source import SceneSource
    from satseg.workflows.predict import dry_run_scenes, predict_scenes

    stacks = [SceneSource(files, settings.bands) for files in stacked]
    named = inputs.scenes(scenes or [], stacks)
    failed = Failures(out, "scenes")
    several = not settings.mosaic and (not isinstance(named, list) or len(named) > 1)
    on_error = failed.add if several else None
    if dry_run:
        dry_runs = dry_run_scenes(named, output=outputs, model=models, arch=arch, settings=settings, on_error=on_error)
        _report(out, dry_runs, dry_run_table, failed, none_is_wrong=True)
        return
    finished = Finished(out)
    share_heap()
    maps = predict_scenes(
        named,
        model=models,
        output=outputs,
        arch=arch,
        settings=settings,
        stream=sys.stdout,
        on_error=on_error,
        on_finished=finished.add,
        progress=out.progress,
    )
    outlines = settings.polygons
    caption = partial(
        console.left_out, min_area=outlines.min_area, fill_holes=outlines.fill_holes, objects=settings.objects
    )
    rasters = not settings.objects and any(name.lower().endswith(".tif") for name in outputs.output)
    report = Maps(out, caption, several=several, rasters=rasters)
    _report(out, maps, report.table, failed, finished, report, none_is_wrong=not settings.skip_existing)


def _require_there(
    scenes: list[str],
    stacked: list[tuple[str, ...]],
    model: list[Path],
    *,
    settings: PredictionSettings,
    arch: str | None,
) -> list[Path]:
    """Refuse absent files before torch is imported; return the checkpoints, by default the newest one."""
    from satseg.presence import require_area, require_checkpoint, require_custom_network
    from satseg.runs import newest_model

    if not stacked:
        inputs.require_scenes(scenes, all_of_them=settings.mosaic)
    elif not scenes and len(stacked) == 1:
        inputs.require_scenes(stacked[0])
    for path in model:
        require_checkpoint(path)
    if settings.aoi is not None:
        require_area(settings.aoi)
    require_custom_network(arch)
    return model or [newest_model()]


def _report(
    out: console.ConsoleOutput,
    records: Iterator[_Record],
    table: Callable[[_Record], Table],
    failed: Failures,
    finished: Finished | None = None,
    maps: Maps | None = None,
    *,
    none_is_wrong: bool,
) -> None:
    """Report maps as they are made, and the scenes that failed at the end; these make the exit code 1."""
    reported = 0
    try:
        for record in records:
            out.report(record, table)
            reported += 1
    finally:
        if maps is not None:
            maps.tell()
        if finished is not None:
            finished.tell()
        failed.tell(reported)
    if failed:
        raise typer.Exit(1)
    if not reported and none_is_wrong and not finished:
        raise UsageError("No scene was named on stdin.", hint="Check whether the command before this one failed.")
