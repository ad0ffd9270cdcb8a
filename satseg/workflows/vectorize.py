"""Turn class rasters into polygons, each in one pass from the top."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

from satseg import __version__
from satseg.arguments import Paths, paths
from satseg.classes import ClassTable
from satseg.command_line import command_line, without_secrets
from satseg.errors import UsageError, printable
from satseg.files.atomic_write import claimed
from satseg.files.gdal import gdal_environment
from satseg.files.ledger import Ledger, whereabouts
from satseg.files.names import open_raster
from satseg.labels.class_lists import ClassMapSource, class_map_files, read_again, read_class_map
from satseg.labels.label_meaning import LABELS_TAG
from satseg.progress import automatic
from satseg.records import Progress, ProgressEvent, VectorSummary
from satseg.signatures import checked
from satseg.vectorization import PolygonOptions, PolygonSink
from satseg.workflows.class_raster import ClassRaster
from satseg.workflows.map_classes import MapClasses
from satseg.workflows.scene_progress import of_scene

log = logging.getLogger("satseg")

STDOUT = "-"


@checked
def vectorize(
    rasters: Paths,
    *,
    output: Paths,
    band: int | None = None,
    class_map: ClassMapSource | None = None,
    threshold: float | None = None,
    confidence: Paths | None = None,
    options: PolygonOptions | None = None,
    stream: IO[str] | None = None,
    progress: Progress = automatic,
) -> VectorSummary:
    """Trace the classes of rasters as polygons that share every boundary, several rasters into one layer.

    Class names come from ``class_map``, else from the raster where it tells them (satseg's own, attribute tables,
    categories); a raster without them has the classes ``class 0``, ``class 1`` and so on, and no background. Whole
    numbers of more than 8 bits (ids of instances, say) need no table: each value is a class of its own.

    Args:
        rasters: Class rasters by name, as open datasets of rasterio, or made of arrays by
            :meth:`satseg.SceneSource.from_array`. They have one band of whole numbers from 0 on, or three of 8-bit
            colours that ``class_map`` names. Nodata, and 255 in a raster of 8 bits, become nothing. What could mean two
            things, such as a mask of 0 and 255, is asked about.
        band: Band of rasters with several, from 1.
        class_map: Class by value or colour, as ``tile`` takes it: ``0=background,255=building``, ``#ff0000=road``, a
            CSV file, a dictionary.
        threshold: Makes two classes of rasters of any real values: one where they are at least that (after scale and
            offset, where the band has any), named like the band, and background.
        confidence: Raster for each of the rasters, of the same size, that says how certain each pixel's class is:
            probabilities in 0..1, or uint8 shares of 254 as satseg writes them.
        output: File to write, or several, by suffix: ``.gpkg``, ``.parquet``, ``.fgb``, ``.geojson``, ``.geojsonl``,
            ``.shp``. ``-`` writes GeoJSONSeq to ``stream``. Nothing is written unless all rasters went well.
        options: How the map becomes polygons.
        stream: Text stream for ``-``.
        progress: Called as rows are read, in pixels; of several rasters, in scenes.

    Returns:
        Polygons and areas per class.

    Raises:
        SceneError: A raster cannot be opened or read, holds no classes, or what it holds could mean two things; or some
            rasters hold classes and others ids.
        UsageError: No raster or output, an output that is read, too, an unknown suffix or class name, a length or area
            that is none, or rasters in different CRSs and none named in the options.
        OutputError: An output cannot be written, or another run makes it at this moment.
    """
    inputs = paths(rasters, "rasters")
    class_map = read_again(class_map)
    sure = (None,) * len(inputs) if confidence is None else paths(confidence, "confidence")
    if len(sure) != len(inputs):
        raise UsageError(f"There are {len(inputs)} rasters, but {len(sure)} with confidence.")
    names = paths(output, "output")
    _check_names(inputs, names, stream)
    files = [Path(name) for name in names if name != STDOUT]
    ledger = Ledger([*inputs, *sure, *class_map_files(class_map)])
    for file in files:
        ledger.write(file)
    options = options or PolygonOptions()
    if threshold is not None and class_map is not None:
        raise UsageError("--threshold makes its own classes; --class-map does not go with it.")
    mapping = read_class_map(class_map)
    sink = None
    with claimed(*files), gdal_environment():
        classes = (
            None if threshold is not None else MapClasses.of(inputs, band=band, class_map=mapping, progress=progress)
        )
        try:
            for number, (path, beside) in enumerate(zip(inputs, sure, strict=True)):
                with ClassRaster(path, classes, band=band, threshold=threshold, confidence=beside) as raster:
                    if sink is None:
                        words = _words(band, None if mapping is None else mapping.text, threshold, sure)
                        sink = _open_sink(names, stream, raster.classes, options, inputs, words)
                    _trace(raster, sink, of_scene(progress, number, inputs))
            assert sink is not None
            summary = sink.close()
        finally:
            if sink is not None:
                sink.abort()
    return summary if classes is None or classes.told else _without_unseen(summary)


def _trace(raster: ClassRaster, sink: PolygonSink, progress: Progress) -> None:
    if raster.info.doubt:
        log.warning("%s %s.", raster.info.path, raster.info.doubt)
    sink.begin(raster.info, confidence=raster.confidence is not None)
    for rows in raster.rows():
        sink.write(rows)
        done = (rows.offset + len(rows.classes)) * raster.info.width
        progress(ProgressEvent("Tracing", done, raster.info.pixels, "px"))
    sink.end()


def _check_names(rasters: Sequence[str], names: Sequence[str], stream: IO[str] | None) -> None:
    if not rasters:
        raise UsageError("There is no raster.")
    (first, count), *_ = Counter(map(whereabouts, rasters)).most_common(1)
    if count > 1:
        called = list(dict.fromkeys(str(raster) for raster in rasters if whereabouts(raster) == first))
        also = f", also as {called[1]}" if len(called) > 1 else ""
        raise UsageError(f"{called[0]} is named twice{also}, and its polygons would be twice in the layer.")
    if not names:
        raise UsageError("There is no output.", hint="Name one with -o, such as -o out.gpkg.")
    if names.count(STDOUT) > 1:
        raise UsageError("The output - is named twice.")
    if STDOUT in names and stream is None:
        raise UsageError("The output - needs a text stream.", hint="Pass stream=sys.stdout.")


def _open_sink(
    names: Sequence[str],
    stream: IO[str] | None,
    classes: ClassTable | None,
    options: PolygonOptions,
    rasters: Sequence[str],
    words: list[str],
) -> PolygonSink:
    outputs = [word for name in names for word in ("-o", name)]
    if classes is None and options.classes is not None:
        raise UsageError(f"{rasters[0]} has no classes by name.", hint="Drop --classes.")
    return PolygonSink(
        [Path(name) for name in names if name != STDOUT],
        stream=stream if STDOUT in names else None,
        classes=classes,
        provenance={
            "SATSEG_SCENE": ", ".join(map(without_secrets, rasters)),
            "SATSEG_VERSION": __version__,
            "SATSEG_COMMAND": command_line(["vectorize", *rasters, *outputs, *words, *options.words()]),
            **_remembered(rasters),
        },
        scenes=map(printable, rasters),
        options=options,
    )


def _remembered(rasters: Sequence[str]) -> dict[str, str]:
    """Return what the labels meant behind maps, for ``evaluate``, where all of them tell the same."""
    first = _tag_of(rasters[0])
    return {} if first is None or any(_tag_of(path) != first for path in rasters[1:]) else {LABELS_TAG: first}


def _tag_of(path: str) -> str | None:
    with open_raster(path) as dataset:
        return cast("str | None", dataset.tags().get(LABELS_TAG))


def _words(
    band: int | None, class_map: str | None, threshold: float | None, confidence: Sequence[str | None]
) -> list[str]:
    pairs = [("--band", band), ("--class-map", class_map), ("--threshold", threshold)]
    pairs += [("--confidence", path) for path in confidence]
    return [str(word) for pair in pairs if pair[1] is not None for word in pair]


def _without_unseen(summary: VectorSummary) -> VectorSummary:
    seen = {name: count for name, count in summary.polygons.items() if count}
    return replace(summary, polygons=seen, area_m2={name: summary.area_m2[name] for name in seen})
