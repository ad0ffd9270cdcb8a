"""Rows of a class map in, files of polygons out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import numpy as np

from satseg.errors import UsageError
from satseg.records import Rows, VectorSummary
from satseg.staging import staged
from satseg.vectorization.clean import Cleaner
from satseg.vectorization.formats import open_writer, suffix_of
from satseg.vectorization.layer import Layer, Writer
from satseg.vectorization.planar import VOID
from satseg.vectorization.regions import Batches, Regions, coordinates
from satseg.vectorization.table import Batch, GroundMeasures, attributes
from satseg.vectorization.trace import ROWS_AT_ONCE, Tracer

if TYPE_CHECKING:
    from affine import Affine

    from satseg.classes import ClassTable

ALL = "all"
"""Stands for the class name in a summary of values that are no classes."""


class PolygonSink:
    """Trace rows as they come and write polygons while tracing goes on.

    Polygons form a valid coverage, whatever the height of the strips; equal maps give equal bytes. Files appear under
    their names when :meth:`close` ends well, and not at all when it is never called: use it as a context manager.

    Args:
        outputs: Files to write; the suffix names the format (see ``VECTOR_SUFFIXES``).
        stream: Text stream that takes GeoJSONSeq besides, or None. It is not closed.
        width: Columns of the map.
        transform: Pixel (column, row) to CRS coordinates (x, y).
        crs: CRS of the map, or None: coordinates are then those of ``transform``, and areas null.
        classes: Names and colours; 255 (ignore) is never emitted. None where rows hold int32 ids of their own (of
            instances, say): every id from 0 on is emitted, and named after its value.
        scene: Name of the map, for messages.
        provenance: Where the map comes from, as name and value; stored in every format that has a place for it.
        keep_background: Whether the background class becomes polygons too.
        tolerance: How far a simplified boundary may be from the pixels' edges, as columns and rows (see
            :func:`~satseg.vectorization.measures.length_in_pixels`); None keeps the edges.
        min_pixels: Regions with fewer pixels dissolve into a neighbour (see :mod:`~satseg.vectorization.clean`).
        max_hole: Holes of at most that many pixels in which nothing is emitted are filled.
        only: Names of the classes to emit, or None for all. A background that is named here is kept.

    Raises:
        UsageError: An unknown suffix, the same output twice, or a class that is not in the table.
        OutputError: An output cannot be written.
    """

    def __init__(
        self,
        outputs: Sequence[Path],
        *,
        stream: IO[str] | None = None,
        width: int,
        transform: Affine,
        crs: str | None,
        classes: ClassTable | None,
        scene: str,
        provenance: Mapping[str, str],
        keep_background: bool = False,
        only: Sequence[str] | None = None,
        tolerance: tuple[float, float] | None = None,
        min_pixels: float = 0,
        max_hole: float = 0,
    ) -> None:
        for path in outputs:
            suffix_of(path)
        if len({path.absolute() for path in outputs}) < len(outputs):
            raise UsageError("The same output is named twice.")
        self._paths = tuple(str(path) for path in outputs) + (("-",) if stream is not None else ())
        self._transform = transform
        self._crs = crs
        self._classes = classes
        self._lookup = _lookup(classes, keep_background=keep_background, only=only) if classes else None
        self._ground = GroundMeasures(transform, crs)
        self._tracer = Tracer(width, tolerance=tolerance)
        cleans = min_pixels > 1 or max_hole >= 1
        self._cleaner = Cleaner(width, min_pixels=min_pixels, max_hole=max_hole) if cleans else None
        self._batches = Batches()
        self._tally = Tally(classes, self._lookup)
        self._row = 0
        self._writers: list[Writer] = []
        self._staging = ExitStack()
        self._open = True
        layer = Layer(transform, crs, classes, {"SATSEG_SCENE": scene, **provenance})
        try:
            self._open_writers(outputs, stream, layer)
        except BaseException:
            self.abort()
            raise

    def _open_writers(self, outputs: Sequence[Path], stream: IO[str] | None, layer: Layer) -> None:
        for path in outputs:
            self._writers.append(open_writer(self._staging.enter_context(staged(path)), layer))
        if stream is not None:
            self._writers.append(open_writer(stream, layer))

    def write(self, rows: Rows) -> None:
        """Take the next rows; they must follow on those written before.

        Raises:
            OutputError: An output cannot be written.
        """
        assert rows.offset == self._row, "rows must come in order"
        self._row += len(rows.classes)
        for top in range(0, len(rows.classes), ROWS_AT_ONCE):
            values = rows.classes[top : top + ROWS_AT_ONCE]
            values = values if self._lookup is None else self._lookup[values]
            self._trace(values if self._cleaner is None else self._cleaner.push(values))

    def close(self) -> VectorSummary:
        """Complete the outputs and give them their names.

        Raises:
            OutputError: An output cannot be written.
        """
        try:
            if self._cleaner is not None:
                self._trace(self._cleaner.finish())
            self._emit(self._tracer.finish())
            for batch in self._batches.finish():
                self._write(batch)
            for writer in self._writers:
                writer.close()
        except BaseException:
            self.abort()
            raise
        self._open = False
        self._staging.close()
        self._drop_stale_projections()
        return self._tally.summary(self._paths)

    def abort(self) -> None:
        """Leave nothing behind; does nothing after :meth:`close`."""
        if not self._open:
            return
        self._open = False
        for writer in self._writers:
            writer.abort()
        stopped = InterruptedError()
        self._staging.__exit__(type(stopped), stopped, None)

    def _drop_stale_projections(self) -> None:
        """A Shapefile without CRS must not take one over from the file that it replaces."""
        for path in map(Path, self._paths):
            if path.suffix.lower() == ".shp" and self._crs is None:
                path.with_suffix(".prj").unlink(missing_ok=True)

    def _trace(self, values: np.ndarray) -> None:
        if len(values):
            self._emit(self._tracer.push(values))

    def _emit(self, regions: Regions) -> None:
        for batch in self._batches.add(regions):
            self._write(batch)

    def _write(self, regions: Regions) -> None:
        areas, perimeters = self._ground.measure(regions)
        self._tally.add(regions, areas)
        batch = Batch(
            attributes=attributes(regions, areas, perimeters, self._classes),
            points=coordinates(regions, self._transform),
            rings=regions.rings,
            polygons=regions.polygons,
        )
        for writer in self._writers:
            writer.write(batch)

    def __enter__(self) -> PolygonSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class Tally:
    """Count what is emitted, by class; all in one where there is no class table.

    Args:
        classes: Class table, or None.
        lookup: Class id to value in the tracer, VOID where nothing is emitted; None without a class table.
    """

    def __init__(self, classes: ClassTable | None, lookup: np.ndarray | None) -> None:
        self._names = {entry.id: entry.name for entry in classes or () if lookup is None or lookup[entry.id] != VOID}
        self._counts = np.zeros(len(classes or (ALL,)), dtype=np.int64)
        self._square_metres = np.zeros(len(self._counts))
        self._vertices = 0

    def add(self, regions: Regions, areas: np.ndarray) -> None:
        """Add polygons and their areas."""
        values = regions.values if self._names else np.zeros_like(regions.values)
        self._counts += np.bincount(values, minlength=len(self._counts))
        self._square_metres += np.bincount(values, weights=areas, minlength=len(self._counts))
        self._vertices += len(regions.corners)

    def summary(self, paths: tuple[str, ...]) -> VectorSummary:
        """Return the record of all that was added."""
        names = self._names or {0: ALL}
        return VectorSummary(
            paths=paths,
            polygons={name: int(self._counts[i]) for i, name in names.items()},
            vertices=self._vertices,
            area_m2={name: float(self._square_metres[i]) for i, name in names.items()},
        )


def _lookup(classes: ClassTable, *, keep_background: bool, only: Sequence[str] | None) -> np.ndarray:
    """Return (256,) int32: class id to value in the tracer, VOID where nothing is emitted."""
    unknown = [name for name in only or () if name not in classes.names]
    if unknown:
        raise UsageError(
            f"There is no class {unknown[0]!r} in the map.", hint=f"Its classes are {', '.join(classes.names)}."
        )
    lookup = np.full(256, VOID, dtype=np.int32)
    for entry in classes:
        wanted = entry.name in only if only is not None else keep_background or entry.id != classes.background
        if wanted:
            lookup[entry.id] = entry.id
    return lookup
