"""Turn class rasters into polygons, each in one pass from the top."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

from rasterio.windows import Window

from satseg.arguments import Paths, paths
from satseg.classes import ClassTable
from satseg.command_line import command_line, without_secrets
from satseg.errors import UsageError, printable
from satseg.files.atomic_write import locked
from satseg.files.gdal import gdal_environment
from satseg.files.ledger import Ledger, whereabouts
from satseg.files.names import open_raster
from satseg.labels.class_lists import class_map_files, read_class_map
from satseg.labels.class_map import ClassMap
from satseg.labels.class_raster import ClassRaster
from satseg.labels.label_meaning import LABELS_TAG
from satseg.labels.map_classes import MapClasses
from satseg.objects.division import Division
from satseg.objects.stored_division import division_in_tags
from satseg.objects.watershed import Block
from satseg.progress import automatic, scene_progress
from satseg.records import Progress, ProgressEvent, Rows, VectorSummary
from satseg.signatures import checked
from satseg.vectorization.formats import STDOUT
from satseg.vectorization.object_division import Maps, open_division
from satseg.vectorization.settings import VectorizeSettings
from satseg.vectorization.sink import PolygonSink
from satseg.version import __version__

log = logging.getLogger("satseg")

_BESIDE = ("confidence", "boundary", "distance")  # rasters beside those of classes


@checked
def vectorize(
    rasters: Paths,
    *,
    output: Paths,
    settings: VectorizeSettings | None = None,
    stream: IO[str] | None = None,
    progress: Progress = automatic,
) -> VectorSummary:
    """Trace the classes of rasters as polygons that share every boundary, several rasters into one layer.

    Class names come from ``class_map``, else from the raster: metadata of satseg, attribute tables, categories. A
    raster without names has the classes ``class 0``, ``class 1`` and so on, and no background. Rasters of whole numbers
    with more than 8 bits, such as ids of instances, need no names: each value is a class of its own.

    Args:
        rasters: Class rasters by name, open datasets of rasterio, or arrays
            (:meth:`satseg.SceneSource.from_array`). They have one band of whole numbers from 0, or three of 8-bit
            colours that ``class_map`` names. Pixels of nodata, and of 255 in rasters of 8 bits, are left out. Where
            values are ambiguous, as in a mask of 0 and 255, an error asks for a class map.
        output: One or several files, with the suffix ``.gpkg``, ``.parquet``, ``.fgb``, ``.geojson``, ``.geojsonl`` or
            ``.shp``. ``-`` writes GeoJSONSeq to ``stream``. Files appear once all rasters are traced.
        settings: What is traced and how polygons look.
        stream: Text stream for ``-``.
        progress: Called as rows are read, in pixels; for several rasters, in scenes.

    Returns:
        Polygons and areas by class.

    Raises:
        SceneError: A raster cannot be opened or read, has no classes or ambiguous ones, or rasters of classes and of
            ids are mixed.
        UsageError: There is no raster or no output, an output is also an input, a suffix or class name is unknown, or
            rasters differ in their CRS and the settings name none.
        OutputError: An output cannot be written, or another run is writing it.
    """
    inputs, names = paths(rasters, "rasters"), paths(output, "output")
    settings = settings or VectorizeSettings()
    beside = [_beside(inputs, settings, name) for name in _BESIDE]
    _check_names(inputs, names, stream)
    _check_files(inputs, names, settings)
    class_map = read_class_map(settings.class_map)
    sink = None
    with locked(*_files(names)), gdal_environment():
        classes = None
        if settings.threshold is None:
            classes = MapClasses.of(inputs, band=settings.band, class_map=class_map, progress=progress)
        left_out = 0
        try:
            for number, (path, *others) in enumerate(zip(inputs, *beside, strict=True)):
                shares = dict(zip(_BESIDE, others, strict=True))
                with ClassRaster(path, classes, band=settings.band, threshold=settings.threshold, **shares) as raster:
                    if sink is None:
                        call = _command(inputs, names, settings, class_map)
                        sink = _open_sink(names, stream, raster.classes, settings, inputs, call)
                    divided = _as_stored(settings, shares["distance"])
                    left_out += _trace(raster, sink, divided, scene_progress(progress, number, inputs))
            assert sink is not None
            summary = sink.close()
            summary = replace(summary, specks=summary.specks + left_out)
        finally:
            if sink is not None:
                sink.abort()
    return summary if classes is None or classes.has_names else _without_unseen(summary)


def _beside(rasters: Sequence[str], settings: VectorizeSettings, name: str) -> Sequence[str | None]:
    """Return the raster with confidence, boundary or distance beside each raster of classes."""
    given: tuple[str, ...] | None = getattr(settings, name)
    if given is None:
        return [None] * len(rasters)
    if len(given) != len(rasters):
        raise UsageError(
            f"There are {len(rasters)} rasters, but {len(given)} with {name}.",
            hint=f"Give one `{name}` for each raster, in the same order.",
        )
    return given


def _files(names: Sequence[str]) -> list[Path]:
    return [Path(name) for name in names if name != STDOUT]


def _check_files(rasters: Sequence[str], names: Sequence[str], settings: VectorizeSettings) -> None:
    """Refuse outputs that are also inputs."""
    beside = [path for name in _BESIDE for path in getattr(settings, name) or ()]
    ledger = Ledger([*rasters, *beside, *class_map_files(settings.class_map)])
    for file in _files(names):
        ledger.write(file)


def _as_stored(settings: VectorizeSettings, distance: str | None) -> VectorizeSettings:
    """Return the settings with those of objects that ``predict`` stored, unless they are given."""
    return settings if distance is None else settings.divided_as(division_in_tags(_tags_of(distance)))


def _trace(raster: ClassRaster, sink: PolygonSink, settings: VectorizeSettings, progress: Progress) -> int:
    """Trace a raster, and return how many objects were left out as too small."""
    if raster.info.doubt:
        log.warning("%s %s.", raster.info.path, raster.info.doubt)
    with ExitStack() as stack:
        division = stack.enter_context(_division(raster, settings)) if settings.boundary is not None else None
        sink.begin(raster.info, confidence=raster.confidence is not None, objects=division is not None)
        for rows in raster.rows() if division is None else _divided(raster, division):
            sink.write(rows)
            done = (rows.offset + len(rows.classes)) * raster.info.width
            progress(ProgressEvent("Tracing", done, raster.info.pixels, "px"))
        sink.end()
        return 0 if division is None else division.left_out


@contextmanager
def _division(raster: ClassRaster, settings: VectorizeSettings) -> Iterator[Division]:
    """Yield what divides the classes of a raster into objects."""
    if raster.classes is None:
        raise UsageError(f"{raster.info.path} holds ids, not classes that could be divided into objects.")
    info, classes = raster.info, raster.classes

    def read(block: Block) -> Maps:
        window = Window.from_slices(*block.window)
        rows = raster.read(window)
        assert rows.boundary is not None
        return rows.classes, rows.boundary, raster.read_distance(window)

    with (
        tempfile.TemporaryDirectory(prefix="satseg-") as folder,
        open_division(
            read, info.height, info.width, settings, classes=classes, gsd=info.gsd, scratch=Path(folder)
        ) as division,
    ):
        yield division


def _divided(raster: ClassRaster, division: Division) -> Iterator[Rows]:
    """Yield the rows of a raster with the objects that its classes are divided into."""
    top = 0
    for ids in division.push(raster.info.height):
        yield replace(raster.read(Window(0, top, raster.info.width, len(ids))), objects=ids)
        top += len(ids)


def _check_names(rasters: Sequence[str], names: Sequence[str], stream: IO[str] | None) -> None:
    if not rasters:
        raise UsageError("No raster is named.")
    (first, count), *_ = Counter(map(whereabouts, rasters)).most_common(1)
    if count > 1:
        called = list(dict.fromkeys(str(raster) for raster in rasters if whereabouts(raster) == first))
        also = f", also as {called[1]}" if len(called) > 1 else ""
        raise UsageError(f"{called[0]} is named twice{also}, and its polygons would be twice in the layer.")
    if not names:
        raise UsageError("There is no output.", hint="Name one, such as `output='out.gpkg'`.")
    if names.count(STDOUT) > 1:
        raise UsageError("The output - is named twice.")
    if STDOUT in names and stream is None:
        raise UsageError("The output - needs a text stream.", hint="Pass stream=sys.stdout.")


def _command(
    rasters: Sequence[str], names: Sequence[str], settings: VectorizeSettings, class_map: ClassMap | None
) -> str:
    """Return the command that outputs keep; it holds the content of the class map, whose file may change."""
    outputs = [word for name in names for word in ("-o", name)]
    words = settings.words() if class_map is None else settings.words(class_map=class_map.text)
    return command_line(["vectorize", *rasters, *outputs, *words])


def _open_sink(
    names: Sequence[str],
    stream: IO[str] | None,
    classes: ClassTable | None,
    settings: VectorizeSettings,
    rasters: Sequence[str],
    command: str,
) -> PolygonSink:
    if classes is None and settings.classes is not None:
        raise UsageError(f"{rasters[0]} has no classes by name.", hint="Leave out `classes`.")
    return PolygonSink(
        _files(names),
        stream=stream if STDOUT in names else None,
        classes=classes,
        provenance={
            "SATSEG_SCENE": ", ".join(map(without_secrets, rasters)),
            "SATSEG_VERSION": __version__,
            "SATSEG_COMMAND": command,
            **_remembered(rasters),
        },
        scenes=map(printable, rasters),
        options=settings,
    )


def _remembered(rasters: Sequence[str]) -> dict[str, str]:
    """Return what the labels meant behind maps, for ``evaluate``, where all of them tell the same."""
    first, *others = (_tags_of(path).get(LABELS_TAG) for path in rasters)
    return {} if first is None or any(other != first for other in others) else {LABELS_TAG: first}


def _tags_of(path: str) -> dict[str, str]:
    with open_raster(path) as dataset:
        return cast("dict[str, str]", dataset.tags())


def _without_unseen(summary: VectorSummary) -> VectorSummary:
    seen = {name: count for name, count in summary.polygons.items() if count}
    return replace(summary, polygons=seen, area_m2={name: summary.area_m2[name] for name in seen})
