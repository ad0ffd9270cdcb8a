"""``satseg info``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from satseg.classes import IGNORE_INDEX
from satseg.cli import console, options
from satseg.cli.class_tables import class_pixels
from satseg.cli.streams import require_stdout
from satseg.errors import UsageError

if TYPE_CHECKING:
    from satseg.cli.table import Table
    from satseg.raster.features import VectorLayer
    from satseg.records import BandSpec, BandStatistics, SceneInfo
    from satseg.workflows.info import CheckpointInfo, ClassRasterInfo, FileInfo, RunInfo, TileSetInfo
    from satseg.workflows.label_values import LabelValues

_Row = tuple[str, object]

_NAMES = 8  # of scenes, on the screen

_KINDS = {
    "scene": "scene",
    "classes": "class raster",
    "polygons": "polygons",
    "tiles": "tile set",
    "checkpoint": "checkpoint",
    "run": "training run",
}


def info(
    ctx: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A scene, a class raster, polygons, the folder of a tile set or of a training run, or a checkpoint.",
        ),
    ],
    class_field: options.ClassField = None,
    where: options.Where = None,
    values: Annotated[
        bool,
        typer.Option(
            "--values", help="List the values of labels, a class raster, with counts and areas; features need a field."
        ),
    ] = False,
    class_map: Annotated[
        str | None,
        typer.Option(
            metavar="-",
            help="Write the values as a class map to edit, in CSV, to stdout: --class-map - > classes.csv, "
            "which tile and others take as --class-map classes.csv.",
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show what a scene, a map, a tile set, a checkpoint or a training run is, or the values that labels hold."""
    talk = console.talk(ctx, json=json, quiet=quiet, debug=debug)
    if class_map is not None and (class_map != "-" or json):
        raise UsageError(
            "info writes a class map to stdout, and nothing else.",
            hint="satseg info FILE --class-map - > classes.csv",
        )
    if class_map or class_field or where or values:
        from satseg.workflows.label_values import label_values

        found = label_values(file, class_field=class_field, where=where)
        if class_map:
            require_stdout()
            sys.stdout.write(found.template())
        else:
            talk.answer(found, _values)
        return
    from satseg.workflows.info import info

    talk.answer(info(file), _tables)


def _values(found: LabelValues) -> Table:
    rows = [
        (entry.value, entry.count, None if entry.area_m2 is None else f"{entry.area_m2:,.1f}") for entry in found.values
    ]
    title = f"{found.path}: {len(rows):,} values"
    title += f", and {found.unknown:,} px of nodata" if found.unknown else ""
    return console.table(("value", found.unit, "area m2"), rows, title=title)


def _tables(found: FileInfo) -> list[Table]:
    if found.scene:
        return [_rows(found, _scene(found.scene)), _bands(found.scene.bands)]
    if found.classes:
        return [_rows(found, _scene(found.classes.scene)), _shares(found.classes)]
    if found.polygons:
        return [_rows(found, _polygons(found.polygons))]
    if found.tiles:
        return [
            _rows(found, _tiles(found.tiles)),
            class_pixels(found.tiles.pixels),
            _bands(found.tiles.bands, found.tiles.statistics),
        ]
    state = _run(found.run) if found.run else []
    if not found.checkpoint:
        return [_rows(found, state)]
    card = found.checkpoint.card
    return [_rows(found, [*_checkpoint(found.checkpoint), *state]), _bands(card.bands, card.statistics)]


def _rows(found: FileInfo, rows: list[_Row]) -> Table:
    return console.table(("", ""), [(_KINDS[found.kind], found.path), *rows])


def _run(run: RunInfo) -> list[_Row]:
    state = "finished" if run.finished else "unfinished; train --resume goes on with it"
    rows: list[_Row] = [("run", state), ("steps", run.steps), ("last validation", run.mean_iou)]
    return [("network", run.arch), *rows]


def _polygons(layer: VectorLayer) -> list[_Row]:
    from satseg.geo.crs import short_name

    return [
        ("layer", layer.name),
        ("features", layer.count if layer.count >= 0 else None),
        ("CRS", layer.crs and short_name(layer.crs)),
        ("attributes", ", ".join(layer.fields) or None),
    ]


def _shares(found: ClassRasterInfo) -> Table:
    rows = [(e.id, e.name, e.colour, found.shares[e.name]) for e in found.classes]
    rows.append((IGNORE_INDEX, "nodata", "", found.shares["nodata"]))
    counted = "share of pixels" if found.exact else "share of pixels, from an overview"
    return console.table(("id", "class", "colour", counted), rows)


def _scene(scene: SceneInfo) -> list[_Row]:
    from satseg.geo.crs import short_name

    return [
        ("size", f"{scene.width:,} x {scene.height:,} px"),
        ("CRS", scene.crs and short_name(scene.crs)),
        ("ground", _gsd(scene.gsd)),
        ("origin", f"{scene.transform.c:.10g}, {scene.transform.f:.10g}"),
        ("nodata", None if scene.nodata is None else f"{scene.nodata:g}"),
        ("mask", "some pixels may be invalid" if scene.has_mask else "all pixels are valid"),
        ("dtype", scene.bands.dtype),
        *([("doubt", f"it {scene.doubt}")] if scene.doubt else []),
    ]


def _tiles(tiles: TileSetInfo) -> list[_Row]:
    return [
        ("tiles", ", ".join(f"{count:,} {split}" for split, count in tiles.tiles.items())),
        ("tile size", f"{tiles.tile_size} px"),
        ("scenes", _some(tiles.scenes)),
        ("ground", _gsd(tiles.gsd)),
        ("dtype", tiles.bands.dtype),
    ]


def _some(names: Sequence[str]) -> str:
    """Join names, and tell of many how many more there are; ``--json`` has them all."""
    more = len(names) - _NAMES
    return ", ".join(names[:_NAMES]) + (f" and {more:,} more" if more > 0 else "")


def _checkpoint(found: CheckpointInfo) -> list[_Row]:
    card = found.card
    return [
        ("network", f"{card.arch} {_settings(card.arch_options)}".rstrip()),
        ("classes", ", ".join(f"{entry.id} {entry.name}" for entry in card.classes)),
        ("tile size", f"{card.tile_size} px"),
        ("ground", _gsd(card.gsd)),
        ("dtype", card.bands.dtype),
        ("training", _settings(card.training)),
        ("validation", _settings(card.metrics)),
        ("written by", f"satseg {card.version}"),
        ("size", f"{found.bytes / 1e6:.1f} MB"),
        ("SHA-256", found.digest),
    ]


def _settings(values: Mapping[str, object]) -> str:
    parts = ((k, f"({_settings(v)})" if isinstance(v, Mapping) else v) for k, v in values.items())
    return ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in parts)


def _bands(bands: BandSpec, statistics: BandStatistics | None = None) -> Table:
    columns, parts = ["band", "name", "scale", "offset"], [bands.names, bands.scales, bands.offsets]
    if statistics:
        columns += ["mean", "std", "min", "max"]
        parts += [statistics.mean, statistics.std, statistics.minimum, statistics.maximum]
    rows = [
        (number, *(f"{part:.6g}" if isinstance(part, float) else part for part in row))
        for number, row in enumerate(zip(*parts, strict=True), start=1)
    ]
    return console.table(columns, rows)


def _gsd(gsd: tuple[float, float] | None) -> str | None:
    return f"{gsd[0]:.4g} x {gsd[1]:.4g} m per pixel" if gsd else None
