"""Tables of ``satseg info``: all details of one file, or one row per file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from satseg.arguments import list_few
from satseg.backend import former_behaviour
from satseg.classes import IGNORE_INDEX
from satseg.cli import console
from satseg.cli.class_tables import class_pixels
from satseg.cli.table import FileName, Name, Table
from satseg.objects import ObjectOutputs

if TYPE_CHECKING:
    from satseg.classes import ClassTable
    from satseg.geo.vector_layer import VectorLayer
    from satseg.records import BandSpec, BandStatistics, SceneInfo
    from satseg.workflows.info import CheckpointInfo, ClassRasterInfo, FileInfo, RunInfo, TileSetInfo
    from satseg.workflows.label_values import LabelValues

_Row = tuple[str, object]
_OBJECTS = {
    ObjectOutputs.EDGES: "inner boundaries and distances to edges",
    ObjectOutputs.CENTRES: "centres and offsets to them",
}

_NAMES = 8  # scenes that are listed by name
_SQUARE = 0.02  # relative difference of x and y resolution up to which one number is shown

_KINDS = {
    "scene": "scene",
    "classes": "class raster",
    "polygons": "polygons",
    "tiles": "tile set",
    "checkpoint": "checkpoint",
    "run": "training run",
}
_SCENES = ("size in px", "bands", "CRS", "m per px", "nodata")
_COLUMNS = {
    "scene": _SCENES,
    "classes": ("size in px", "classes", "CRS", "m per px", "nodata"),
    "polygons": ("layer", "features", "CRS", "attributes"),
    "tiles": ("train", "val", "test", "tile in px", "classes", "bands", "m per px"),
    "checkpoint": ("network", "classes", "bands", "tile in px", "m per px", "mean IoU"),
    "run": ("network", "state", "steps", "last mean IoU"),
}


def values_table(found: LabelValues) -> Table:
    """Return the table of the values of labels."""
    rows = [
        (Name(entry.value), entry.count, None if entry.area_m2 is None else f"{entry.area_m2:,.1f}")
        for entry in found.values
    ]
    title = f"{found.path}: {len(rows):,} values"
    title += f", and {found.unknown:,} px of nodata" if found.unknown else ""
    return console.table(("value", found.unit, "area m2"), rows, title=title)


def file_tables(found: FileInfo) -> list[Table]:
    """Return the tables with all details of a file."""
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
    about = _rows(found, [*_checkpoint(found.checkpoint), *state])
    return [about, _classes(card.classes), _bands(card.bands, card.statistics)]


def list_tables(files: Sequence[FileInfo]) -> list[Table]:
    """Return a table with a row per file, all of one kind; of a single file, all details."""
    if len(files) == 1:
        return file_tables(files[0])
    kind = files[0].kind
    columns = (_KINDS[kind], *_COLUMNS[kind])
    return [console.table(columns, [(FileName(found.path), *_summary(found)) for found in files])]


def _summary(found: FileInfo) -> tuple[object, ...]:
    if found.scene:
        size, crs, gsd, nodata = _grid(found.scene)
        return size, f"{len(found.scene.bands)} x {found.scene.bands.dtype}", crs, gsd, nodata
    if found.classes:
        size, crs, gsd, _ = _grid(found.classes.scene)
        return size, len(found.classes.classes), crs, gsd, f"{found.classes.shares['nodata']:.1%}"
    if found.polygons:
        layer = dict(_polygons(found.polygons))
        return found.polygons.name, layer["features"], layer["CRS"], layer["attributes"]
    if found.tiles:
        tiles = found.tiles
        gsd = tiles.gsd and _short_metres(tiles.gsd)
        return *tiles.tiles.values(), tiles.tile_size, len(tiles.classes), len(tiles.bands), gsd
    if found.checkpoint:
        card = found.checkpoint.card
        gsd, miou = card.gsd and _short_metres(card.gsd), card.metrics.get("mean_iou")
        return card.arch, len(card.classes), len(card.bands), card.tile_size, gsd, miou
    assert found.run
    state = "finished" if found.run.finished else "unfinished"
    return found.run.arch, state, found.run.steps, found.run.mean_iou


def _grid(scene: SceneInfo) -> tuple[str, str | None, str | None, str | None]:
    from satseg.geo.crs import short_name

    nodata = None if scene.nodata is None else f"{scene.nodata:g}"
    size = f"{scene.width:,} x {scene.height:,}"
    return size, scene.crs and Name(short_name(scene.crs)), scene.gsd and _short_metres(scene.gsd), nodata


def _rows(found: FileInfo, rows: list[_Row]) -> Table:
    return console.table(("", ""), [(_KINDS[found.kind], found.path), *rows])


def _run(run: RunInfo) -> list[_Row]:
    state = (
        "finished" if run.finished else f"unfinished; continue it with satseg train {shlex.quote(run.path)} --resume"
    )
    rows: list[_Row] = [("run", state), ("steps", run.steps), ("last validation", run.mean_iou)]
    return [("network", run.arch), *rows]


def _polygons(layer: VectorLayer) -> list[_Row]:
    from satseg.geo.crs import short_name

    return [
        ("layer", layer.name),
        *([("geometry", f"in the column {layer.geometry}")] if layer.geometry else []),
        ("features", layer.count if layer.count >= 0 else None),
        ("CRS", layer.crs and short_name(layer.crs)),
        ("attributes", ", ".join(layer.fields) or None),
    ]


def _shares(found: ClassRasterInfo) -> Table:
    rows = [(e.id, Name(e.name), e.colour, f"{found.shares[e.name]:.2%}") for e in found.classes]
    rows.append((IGNORE_INDEX, Name("nodata"), "", f"{found.shares['nodata']:.2%}"))
    counted = "share of pixels" if found.exact else "share of pixels, from an overview"
    return console.table(("id", "class", "colour", counted), rows)


def _classes(table: ClassTable) -> Table:
    return console.table(("id", "class", "colour"), [(e.id, Name(e.name), e.colour) for e in table])


def _scene(scene: SceneInfo) -> list[_Row]:
    from satseg.geo.crs import short_name

    return [
        ("size", f"{scene.width:,} x {scene.height:,} px"),
        ("CRS", scene.crs and short_name(scene.crs)),
        ("ground", _gsd(scene.gsd)),
        ("origin", f"{scene.transform.c:.10g}, {scene.transform.f:.10g}"),
        ("nodata", None if scene.nodata is None else f"{scene.nodata:g}"),
        ("mask", "some pixels may be masked" if scene.has_mask else "no masked pixels"),
        ("dtype", scene.bands.dtype),
        *([("warning", f"it {scene.doubt}")] if scene.doubt else []),
    ]


def _tiles(tiles: TileSetInfo) -> list[_Row]:
    return [
        ("tiles", ", ".join(f"{count:,} {split}" for split, count in tiles.tiles.items())),
        ("tile size", f"{tiles.tile_size} px"),
        ("scenes", list_few(tiles.scenes, _NAMES)),
        ("ground", _gsd(tiles.gsd)),
        ("dtype", tiles.bands.dtype),
        *([("objects", "instance ids in objects/")] if tiles.objects else []),
    ]


def _checkpoint(found: CheckpointInfo) -> list[_Row]:
    card = found.card
    former = former_behaviour(card.arch, card.arch_options) if card.format == 1 else None
    return [
        ("network", f"{card.arch} {_settings(card.arch_options)}".rstrip()),
        ("classes", len(card.classes)),
        ("tile size", f"{card.tile_size} px"),
        ("ground", _gsd(card.gsd)),
        ("dtype", card.bands.dtype),
        *([("objects", f"{_OBJECTS[card.object_outputs]} are learnt")] if card.objects else []),
        *([("divided with", _settings(card.division))] if card.division else []),
        *([("labels", str(card.labels))] if card.labels else []),
        *([("encoder from", _pretrained(card.pretrained))] if card.pretrained else []),
        ("training", _settings(card.training)),
        ("validation", _settings(card.metrics)),
        *([("format", f"1: {former}, as when it was trained")] if former else []),
        ("written by", f"satseg {card.version}"),
        ("size", console.file_size(found.bytes)),
        *([("format", found.format)] if found.format != "safetensors" else []),
        ("SHA-256", found.digest),
    ]


def _pretrained(origin: Mapping[str, object]) -> str:
    """Return where the first weights of an encoder come from, and what is known of them."""
    trained_on, licence = origin.get("trained_on"), origin.get("licence")
    known = [*([f"trained on {trained_on}"] if trained_on else []), *([str(licence)] if licence else [])]
    return ", ".join([str(origin.get("source")), *known])


def _settings(values: Mapping[str, object]) -> str:
    parts = ((k, f"({_settings(v)})" if isinstance(v, Mapping) else v) for k, v in values.items())
    return ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in parts)


def _bands(bands: BandSpec, statistics: BandStatistics | None = None) -> Table:
    columns, parts = ["band", "name", "scale", "offset"], [bands.names, bands.scales, bands.offsets]
    if statistics:
        columns += ["mean", "std", "min", "max"]
        parts += [statistics.mean, statistics.std, statistics.minimum, statistics.maximum]
    if bands.extra:
        columns.append("from")
        parts.append(("scene",) * len(bands.own) + ("extra raster",) * bands.extra)
    rows = [
        (number, *(f"{part:.6g}" if isinstance(part, float) else part for part in row))
        for number, row in enumerate(zip(*parts, strict=True), start=1)
    ]
    return console.table(columns, rows)


def _gsd(gsd: tuple[float, float] | None) -> str | None:
    return f"{_metres(gsd)} m per pixel" if gsd else None


def _short_metres(gsd: tuple[float, float]) -> str:
    """Return the ground sampling distance in metres; one number if pixels are square."""
    across, down = (f"{side:,.0f}" if side >= 100 else f"{side:.3g}" for side in gsd)
    return across if abs(gsd[0] / gsd[1] - 1) < _SQUARE else f"{across} x {down}"


def _metres(gsd: tuple[float, float]) -> str:
    return f"{gsd[0]:.4g} x {gsd[1]:.4g}"
