"""``satseg predict``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from satseg.cli import console, inputs, options
from satseg.cli.failures import Failures
from satseg.cli.predict_report import Finished, Maps, rehearsal_table
from satseg.cli.streams import require_stdout
from satseg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from satseg.cli.table import Table

_Record = TypeVar("_Record")

_MAPS = "What to map, and where to"
_QUALITY = "How well to look"
_WINDOWS = "How the scene is cut"
_RUN = "How to run"


def predict(
    ctx: typer.Context,
    scenes: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCENE", help="Rasters to map; - reads their names from stdin, one a line."),
    ] = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="What to write, by suffix: .tif is the class raster; .gpkg .parquet .fgb .geojson .geojsonl .shp are "
            "polygons; - is GeoJSONSeq on stdout. May be given more than once; {stem} is the scene's name. Polygons "
            "of several scenes go into one layer where the name has no {stem}.",
        ),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE",
            envvar="SATSEG_MODEL",
            help="Checkpoint; several are averaged. Default: the best one of the newest finished run below runs/.",
        ),
    ] = None,
    arch: options.OwnArch = None,
    confidence: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the probability of each pixel's class (.tif).", rich_help_panel=_MAPS),
    ] = None,
    probabilities: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Write the probability of every class, a band each (.tif).", rich_help_panel=_MAPS
        ),
    ] = None,
    disagreement: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write how much overlapping windows differ (.tif).", rich_help_panel=_MAPS),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Bands to read, by number or name, with commas between. Default: those of the training, by name.",
            rich_help_panel=_MAPS,
        ),
    ] = None,
    stack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES",
            help="Files of one grid that together are a scene: B04.tif,B08.tif. May be given more than once.",
            rich_help_panel=_MAPS,
        ),
    ] = None,
    aoi: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Map only inside the polygons of this file, in any CRS.", rich_help_panel=_MAPS
        ),
    ] = None,
    gsd: Annotated[
        str,
        typer.Option(
            metavar="model|scene",
            help="Whose pixels the network sees where the scene's are over 10 % larger or smaller than in training.",
            rich_help_panel=_MAPS,
        ),
    ] = "model",
    on_read_error: Annotated[
        str,
        typer.Option(
            metavar="fail|nodata", help="What becomes of stretches that cannot be read.", rich_help_panel=_MAPS
        ),
    ] = "fail",
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", help="Pass over scenes whose outputs are all there.", rich_help_panel=_MAPS),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue what was interrupted; it ends with the bytes of an unbroken run. Finished maps are "
            "passed over, if they were made from the same.",
            rich_help_panel=_MAPS,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only tell how the scene would be cut, and what that takes: memory, disk, and time after a probe.",
            rich_help_panel=_MAPS,
        ),
    ] = False,
    tta: Annotated[
        str,
        typer.Option(
            metavar="none|flips|d4",
            help="Look at each window once, in 4 flips, or in all 8 orientations, and average.",
            rich_help_panel=_QUALITY,
        ),
    ] = "none",
    scales: Annotated[
        str,
        typer.Option(
            metavar="FACTORS",
            help="Look at each window in these sizes, and average: 0.75,1,1.25.",
            rich_help_panel=_QUALITY,
        ),
    ] = "1",
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLASS=P",
            help="Give a class just where its probability is at least P. May be given more than once.",
            rich_help_panel=_QUALITY,
        ),
    ] = None,
    crf: Annotated[
        bool,
        typer.Option(
            "--crf",
            help="Pull boundaries to the edges of the image by a dense CRF, in a second pass; for coarse networks.",
            rich_help_panel=_QUALITY,
        ),
    ] = False,
    sieve: Annotated[
        int | None,
        typer.Option(
            parser=inputs.pixels,
            metavar="PX",
            help="Dissolve regions of fewer pixels in the class raster, and so in the polygons. Pixels that get "
            "another class have no confidence.",
            rich_help_panel=_QUALITY,
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="PX|auto",
            help="Side of the windows the network sees; auto tries a few and takes the fastest. Default: 512, or the "
            "training tiles' for networks that see the whole window.",
            rich_help_panel=_WINDOWS,
        ),
    ] = None,
    overlap: Annotated[
        str,
        typer.Option(
            metavar="PX|auto",
            help="Pixels over which windows are blended. auto: what the network sees around a pixel, at most 0.139 of "
            "the window; windows are then fitted to the scene.",
            rich_help_panel=_WINDOWS,
        ),
    ] = "auto",
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Windows that go through the network at once; auto tries. Default: what suits the device.",
            rich_help_panel=_WINDOWS,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory for windows and rows, such as 4GB; rows that do not fit are spilled to disk beside the "
            "output. Default: 12 MiB of rows, and what windows need.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    compile: Annotated[
        bool,
        typer.Option("--compile", help="Compile the network first; pays for large scenes.", rich_help_panel=_RUN),
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="Who runs the network: this process, or the workers of a Ray cluster: that which RAY_ADDRESS names or "
            "which runs here, else one is started. Needs satseg\\[ray].",
            rich_help_panel=_RUN,
        ),
    ] = "local",
    devices: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Spread each scene over that many GPUs, or groups of processor cores. Default: one, and with --engine "
            "ray all there are. Needs satseg\\[ray].",
            rich_help_panel=_RUN,
        ),
    ] = None,
    classes: options.Classes = None,
    keep_background: options.KeepBackground = False,
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
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Map scenes of any size with a trained network: class rasters and polygons."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    if json and "-" in (output or ()):
        raise UsageError("--json and -o - would both write to stdout.", hint="Drop one of them.")
    if "-" in (output or ()):
        require_stdout()
    if not model and inputs.stdin_is_pipe():
        raise UsageError("In a pipeline the checkpoint must be named.", hint="Give -m FILE, or set SATSEG_MODEL.")
    stacked = [inputs.stacked_files(files) for files in stack or []]
    models = _require_there(scenes or [], stacked, model or [], aoi=aoi, arch=arch)
    from satseg.prediction.outputs import OutputNames
    from satseg.prediction.settings import PredictionSettings
    from satseg.raster.source import SceneSource
    from satseg.vectorization.settings import PolygonSettings
    from satseg.workflows.predict import dry_run_scenes, predict_scenes

    settings = PredictionSettings(
        window=inputs.count_or_auto(window, "--window") if window else None,
        overlap=inputs.count_or_auto(overlap, "--overlap"),
        batch_size=inputs.count_or_auto(batch_size, "--batch-size") if batch_size else None,
        device=device,
        precision=precision,
        compile=compile,
        threads=threads,
        engine=engine,  # type: ignore[arg-type]
        devices=devices,
        memory=memory or None,
        tta=tta,  # type: ignore[arg-type]  # checked by the settings, as the choices below
        scales=inputs.factors(scales, "--scales"),
        threshold=tuple(threshold or ()),
        crf=crf,
        sieve=sieve,
        bands=inputs.names(bands),
        gsd=gsd,  # type: ignore[arg-type]
        aoi=aoi,
        on_read_error=on_read_error,  # type: ignore[arg-type]
        resume=resume,
        skip_existing=skip_existing,
        polygons=PolygonSettings(
            classes=inputs.names(classes),
            keep_background=keep_background,
            raw=raw,
            min_area=min_area,
            fill_holes=fill_holes,
            connectivity=connectivity,  # type: ignore[arg-type]
            simplify=simplify,
            smooth=smooth,
            regularize=regularize,
            max_vertices=max_vertices,
            attributes=inputs.names(attributes),
            crs=crs,
        ),
    )
    stacks = [SceneSource(files, settings.bands) for files in stacked]
    named = inputs.scenes(scenes or [], stacks)
    names = OutputNames(tuple(output or ()), confidence, probabilities, disagreement)
    failed = Failures(talk, "scenes")
    several = not isinstance(named, list) or len(named) > 1
    if dry_run:
        rehearsals = dry_run_scenes(
            named,
            output=names,
            model=models,
            arch=arch,
            settings=settings,
            on_error=failed.add if several else None,
        )
        _report(talk, rehearsals, rehearsal_table, failed, none_is_wrong=True)
        return
    finished = Finished(talk)
    maps = predict_scenes(
        named,
        model=models,
        output=names,
        arch=arch,
        settings=settings,
        stream=sys.stdout,
        on_error=failed.add if several else None,
        on_finished=finished.add,
        progress=talk.progress,
    )
    caption = partial(console.left_out, min_area=min_area, fill_holes=fill_holes)
    rasters = any(name.lower().endswith(".tif") for name in names.output)
    report = Maps(talk, caption, several=several, rasters=rasters)
    _report(talk, maps, report.table, failed, finished, report, none_is_wrong=not skip_existing)


def _require_there(
    scenes: list[str],
    stacked: list[tuple[str, ...]],
    model: list[Path],
    *,
    aoi: str | None,
    arch: str | None,
) -> list[Path]:
    """Refuse what is absent before torch is imported; return the checkpoints, the newest one where none is named."""
    from satseg.presence import require_area, require_checkpoint, require_own_network
    from satseg.runs import newest_model

    if not stacked:
        inputs.require_scenes(scenes, all_of_them=False)
    elif not scenes and len(stacked) == 1:
        inputs.require_scenes(stacked[0])
    for path in model:
        require_checkpoint(path)
    if aoi is not None:
        require_area(aoi)
    require_own_network(arch)
    return model or [newest_model()]


def _report(
    talk: console.ConsoleOutput,
    records: Iterator[_Record],
    table: Callable[[_Record], Table],
    failed: Failures,
    finished: Finished | None = None,
    maps: Maps | None = None,
    *,
    none_is_wrong: bool,
) -> None:
    """Tell of maps as they come, and at the end of the scenes that have none; these make the exit code 1."""
    reported = 0
    try:
        for record in records:
            talk.report(record, table)
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
        raise UsageError("No scene was named on stdin.", hint="Did the command before this one in the pipeline fail?")
