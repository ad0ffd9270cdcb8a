"""Turn a class raster into polygons, in one pass from the top."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import rasterio
from rasterio.windows import Window

from satseg import __version__
from satseg.classes import BACKGROUND, IGNORE_INDEX, MAX_CLASSES, ClassTable, MapClass
from satseg.errors import SceneError, UsageError
from satseg.raster.gdal import gdal_environment
from satseg.raster.scene import Scene
from satseg.raster.windows import strips
from satseg.raster.writer import read_class_table
from satseg.records import Progress, ProgressEvent, Rows, VectorSummary, no_progress
from satseg.vectorization import PolygonSink
from satseg.vectorization.measures import area_in_pixels, length_in_pixels

log = logging.getLogger("satseg")

STDOUT = "-"
_STRIP_PIXELS = 2**22
_LARGEST_ID = 2**31 - 1


def vectorize(
    raster: str | Path,
    *,
    outputs: str | Path | Sequence[str | Path],
    band: int | None = None,
    threshold: float | None = None,
    keep_background: bool = False,
    classes: Sequence[str] | None = None,
    simplify: str | None = None,
    min_area: str | None = None,
    fill_holes: str | None = None,
    stream: IO[str] | None = None,
    progress: Progress = no_progress,
) -> VectorSummary:
    """Trace the classes of a raster as polygons that share every boundary.

    Class names and colours come from the raster where satseg wrote it, else from its colour table; a raster without
    either has the classes ``class 0``, ``class 1`` and so on, and no background. Integers of more than 8 bits (ids of
    instances, say) need no table: each value is a class of its own.

    Args:
        raster: Class raster: one band of integers from 0 on. Nodata, and 255 in a raster of 8 bits, become nothing.
        band: Band of a raster with several, from 1.
        threshold: Makes two classes of a raster of any real values: ``class 1`` where they are at least that, and
            background.
        outputs: Files to write, by suffix: ``.gpkg``, ``.parquet``, ``.fgb``, ``.geojson``, ``.geojsonl``, ``.shp``.
            ``-`` writes GeoJSONSeq to ``stream``.
        keep_background: Whether the background class becomes polygons too.
        classes: Names of the classes to emit, or None for all.
        simplify: How far a boundary may move, as ``1px`` or ``0.5m``; neighbours keep fitting exactly. None keeps the
            pixels' edges.
        min_area: Smallest region to keep, as ``10m2`` or ``25px``. Smaller ones dissolve into the neighbour with which
            they share the longest boundary; those with no neighbour that is emitted go.
        fill_holes: Largest hole to fill, as ``5m2`` or ``25px``; only holes in which nothing is emitted.
        stream: Text stream for ``-``.
        progress: Called as rows are read, in pixels.

    Returns:
        Polygons and areas per class.

    Raises:
        SceneError: The raster cannot be opened or read, or holds no classes.
        UsageError: No output, an unknown suffix or class name, or a length or area that is none.
        OutputError: An output cannot be written.
    """
    names = [str(outputs)] if isinstance(outputs, str | Path) else [str(output) for output in outputs]
    _check_outputs(names, stream)
    with gdal_environment(), Scene.open(_one_band(raster, band), expand_palette=False) as scene:
        _check_scene(scene, threshold)
        table, told = _class_table(scene, threshold)
        if table is None and classes is not None:
            raise UsageError(f"{raster} has no classes by name.", hint="Drop --classes.")
        with PolygonSink(
            [Path(name) for name in names if name != STDOUT],
            stream=stream if STDOUT in names else None,
            width=scene.info.width,
            transform=scene.info.transform,
            crs=scene.info.crs,
            classes=table,
            scene=scene.info.path,
            provenance=_provenance(
                band=band,
                threshold=threshold,
                keep_background=keep_background,
                classes=classes,
                simplify=simplify,
                min_area=min_area,
                fill_holes=fill_holes,
            ),
            keep_background=keep_background,
            only=classes,
            tolerance=length_in_pixels(simplify, scene.info.gsd) if simplify else None,
            min_pixels=area_in_pixels(min_area, scene.info.gsd) if min_area else 0,
            max_hole=area_in_pixels(fill_holes, scene.info.gsd) if fill_holes else 0,
        ) as sink:
            for window in _strips(scene):
                sink.write(Rows(int(window.row_off), _read(scene, window, table, threshold)))
                done = (window.row_off + window.height) * scene.info.width
                progress(ProgressEvent("vectorize", done, scene.info.pixels, "px"))
            summary = sink.close()
    return summary if told else _without_unseen(summary)


def _check_outputs(names: Sequence[str], stream: IO[str] | None) -> None:
    if not names:
        raise UsageError("There is no output.", hint="Name one with -o, such as -o out.gpkg.")
    if names.count(STDOUT) > 1:
        raise UsageError("The output - is named twice.")
    if STDOUT in names and stream is None:
        raise UsageError("The output - needs a text stream.", hint="Pass stream=sys.stdout.")


def _one_band(raster: str | Path, band: int | None) -> str:
    """Return the GDAL name of one band of a raster.

    Raises:
        UsageError: It has no such band.
    """
    if band is None:
        return str(raster)
    with Scene.open(raster, expand_palette=False) as scene:
        count = len(scene.info.bands)
    if not 1 <= band <= count:
        raise UsageError(f"{raster} has no band {band}; its bands are 1 to {count}.")
    return f"vrt://{raster}?bands={band}"


def _check_scene(scene: Scene, threshold: float | None) -> None:
    info = scene.info
    if len(info.bands) != 1:
        raise SceneError(
            f"{info.path} has {len(info.bands)} bands; a class raster has one.", hint="Choose one with --band."
        )
    if threshold is None and np.dtype(info.bands.dtype).kind not in "iu":
        raise SceneError(
            f"{info.path} holds {info.bands.dtype} values; a class raster holds integers.",
            hint="If they are probabilities, give --threshold.",
        )


def _class_table(scene: Scene, threshold: float | None) -> tuple[ClassTable | None, bool]:
    """Return the classes of a raster, None where values are ids of their own, and whether the raster told them."""
    if threshold is not None:
        return ClassTable.from_names([BACKGROUND, "class 1"]), True
    with rasterio.open(scene.info.path) as dataset:
        table = read_class_table(dataset)
        if table is not None:
            return table, True
        if np.dtype(scene.info.bands.dtype).itemsize > 1:
            return None, True
        table = ClassTable.from_names(f"class {i}" for i in range(MAX_CLASSES))
        if dataset.colorinterp[0] != rasterio.enums.ColorInterp.palette:
            return table, False
        colours = dataset.colormap(1)
    entries = tuple(
        MapClass(entry.id, entry.name, "#{:02x}{:02x}{:02x}".format(*colours[entry.id][:3]))
        if entry.id in colours
        else entry
        for entry in table
    )
    return ClassTable(entries), False


def _strips(scene: Scene) -> list[Window]:
    """Cut the raster along its blocks into strips of some million pixels."""
    info = scene.info
    block = min(scene.block_shape[0], info.height)
    rows = max(1, _STRIP_PIXELS // (info.width * block)) * block
    if rows * info.width > 16 * _STRIP_PIXELS:  # blocks as high as the raster
        rows = max(1, _STRIP_PIXELS // info.width)
    return strips(info.height, info.width, rows)


def _read(scene: Scene, window: Window, table: ClassTable | None, threshold: float | None) -> np.ndarray:
    """Return the rows of a window as a sink takes them: uint8 classes, or int32 ids without a class table."""
    bands, valid = scene.read(window)
    values = bands[0]
    if threshold is not None:
        return np.where(valid, values >= threshold, IGNORE_INDEX).astype(np.uint8)
    if table is None:
        wrong, limit, void = valid & ((values < 0) | (values > _LARGEST_ID)), _LARGEST_ID, -1
    else:
        wrong, limit, void = valid & ((values < 0) | (values >= len(table))), len(table) - 1, IGNORE_INDEX
        wrong &= values != IGNORE_INDEX
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise SceneError(
            f"{scene.info.path} holds the value {values[row, column]} at row {window.row_off + row}, column {column}; "
            f"its classes are 0..{limit}.",
            hint="If that is nodata, say so in the file: gdal_edit -a_nodata ...",
        )
    rows = values.astype(np.int32 if table is None else np.uint8)
    rows[~valid] = void
    return rows


def _provenance(**options: object) -> dict[str, str]:
    """Return the version and the command with the options that were given, as they are typed."""
    words = ["satseg", "vectorize"]
    for name, value in options.items():
        if value not in (None, False):
            words.append("--" + name.replace("_", "-"))
            words += [] if value is True else [",".join(value) if isinstance(value, list | tuple) else str(value)]
    return {"SATSEG_VERSION": __version__, "SATSEG_COMMAND": " ".join(words)}


def _without_unseen(summary: VectorSummary) -> VectorSummary:
    seen = {name: count for name, count in summary.polygons.items() if count}
    return replace(summary, polygons=seen, area_m2={name: summary.area_m2[name] for name in seen})
