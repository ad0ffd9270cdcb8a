"""Trace one map, from its rows to polygons with attributes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from satseg.arguments import join_names, list_few
from satseg.classes import BOUNDARY, ClassTable
from satseg.errors import OutputError, UsageError
from satseg.geo.crs import metres_per_unit, same_crs
from satseg.geo.units import parse_length
from satseg.records import Rows, SceneInfo, VectorSummary
from satseg.vectorization.object_division import object_groups
from satseg.vectorization.object_records import ObjectRecords
from satseg.vectorization.planar import NO_CONFIDENCE, VOID
from satseg.vectorization.regions import Batches, Regions, coordinates
from satseg.vectorization.regularize import regularized
from satseg.vectorization.reproject import Reprojection
from satseg.vectorization.seam import Seam
from satseg.vectorization.settings import PolygonSettings
from satseg.vectorization.sieve import Sieve
from satseg.vectorization.table import FeatureBatch, GroundMeasures, PolygonLayer, columns
from satseg.vectorization.trace import ROWS_AT_ONCE, Tracer
from satseg.vectorization.validity import make_valid

ALL = "all"
"""Replaces the class name in a summary of ids."""


class SceneTracer:
    """Takes rows of a map and returns its polygons. Tracing and tabulating may run in different threads.

    Args:
        scene: Grid of the map.
        classes: Names and colours, or None if rows hold ids.
        options: How the map becomes polygons.
        name: Name of the map in the layer.
        confidence: Whether rows have confidence.
        objects: Whether rows have objects, which are traced one by one.

    Raises:
        UsageError: A class is not in the table, or a length or area is invalid.
    """

    def __init__(
        self,
        scene: SceneInfo,
        classes: ClassTable | None,
        options: PolygonSettings,
        *,
        name: str,
        confidence: bool,
        objects: bool = False,
    ) -> None:
        lookup = _lookup(classes, options) if classes else None
        if options.regularize and classes is not None and lookup is not None and (lookup != VOID).sum() > 1:
            raise UsageError("Only one class can be regularized.", hint=_selection(classes, lookup))
        if objects and classes is not None and lookup is not None:
            _require_objects(classes, lookup)
            options = options.changed(min_area=0)  # small ones have been left out
        smallest, hole, tolerance = options.in_pixels(scene.gsd, ids=classes is None)
        sieves = smallest > 1 or hole >= 1
        self.tally = Tally(classes, lookup)
        self._scene = scene
        self._name = name
        self._classes = classes
        self._lookup = lookup
        self._sieve: Sieve | None = None
        if sieves:
            diagonal = options.connectivity == 8
            self._sieve = Sieve(scene.width, min_pixels=smallest, max_hole=hole, diagonal=diagonal)
        self._queue = ConfidenceQueue() if confidence else None
        self._objects = ObjectRecords() if objects else None
        self._seam = Seam(scene.transform, scene.crs, (scene.width, scene.height), options.crs)
        self._tracer = Tracer(
            scene.width,
            tolerance=tolerance,
            diagonal=options.connectivity == 8,
            smooth=options.smooth,
            confidence=confidence,
            max_vertices=options.max_vertices,
            closed=self._seam.is_one,
        )
        self._batches = Batches()
        shortest = options.regularize and parse_length(options.regularize, "regularize").in_pixels(scene.gsd)
        self._shortest = shortest or None
        self._held: list[Regions] = []  # outlines to be regularized together
        self._row = 0
        self._ground = GroundMeasures(scene.transform, scene.crs)
        self._reprojection: Reprojection | None = None

    def push(self, rows: Rows) -> Iterator[Regions]:
        """Take the next rows, in order from the top; yield complete batches of polygons."""
        assert rows.offset == self._row, "rows must come in order"
        self._row += len(rows.classes)
        if self._objects is not None:
            self._objects.push(rows)
        for top in range(0, len(rows.classes), ROWS_AT_ONCE):
            values = rows.classes[top : top + ROWS_AT_ONCE]
            values = values if self._lookup is None else np.take(self._lookup, values, mode="clip")  # fastest with clip
            if rows.objects is not None:
                ids = rows.objects[top : top + ROWS_AT_ONCE]
                values = np.where((values == VOID) | (ids == 0), np.int32(VOID), ids)
            if self._queue is not None:
                assert rows.confidence is not None, "all rows of a map have confidence, or none"
                self._queue.push(values, rows.confidence[top : top + ROWS_AT_ONCE])
            yield from self._trace(values if self._sieve is None else self._sieve.push(values))

    def finish(self) -> Iterator[Regions]:
        """End the map and yield the remaining batches.

        Raises:
            OutputError: Rows are missing.
        """
        if self._row != self._scene.height:
            raise OutputError(f"{self._scene.path} ended after {self._row} of {self._scene.height} rows.")
        if self._sieve is not None:
            yield from self._trace(self._sieve.finish())
            self.tally.specks, self.tally.holes = self._sieve.dissolved, self._sieve.filled
        yield from self._collect(self._tracer.finish())
        for pieces in self._tracer.pieces():
            yield from self._collect(pieces)
        if self._shortest is not None:
            yield from self._batches.add(regularized(self._held, self._shortest))
        yield from self._batches.finish()

    def _trace(self, values: np.ndarray) -> Iterator[Regions]:
        if len(values):
            confidence = self._queue.take(values) if self._queue is not None else None
            yield from self._collect(self._tracer.push(values, confidence))

    def _collect(self, regions: Regions) -> Iterator[Regions]:
        if self._shortest is None:
            yield from self._batches.add(regions)
        elif len(regions):
            self._held.append(regions)

    def tabulate(self, regions: Regions, layer: PolygonLayer, numbers: np.ndarray) -> FeatureBatch:
        """Return features with their attributes, in the CRS of the layer, and count them.

        Args:
            regions: Features as yielded by :meth:`push` and :meth:`finish`.
            layer: Their layer.
            numbers: (F,) number of the region of each feature.
        """
        regions = self._seam.noded(regions)
        areas, perimeters = self._ground.measure(regions)
        objects = self._objects.columns(regions.values, regions.confidence[:, 0]) if self._objects else None
        batch = FeatureBatch(
            columns=columns(
                regions,
                areas,
                perimeters,
                numbers,
                attributes=layer.attributes,
                classes=self._classes,
                objects=objects,
                scene=self._name,
            ),
            points=coordinates(regions, self._scene.transform),
            rings=regions.rings,
            polygons=regions.polygons,
            features=regions.features,
            multi=layer.multi,
        )
        if layer.crs is not None and not same_crs(self._scene.crs, layer.crs):
            batch = self._reproject(layer.crs).apply(batch)
        assert layer.multi or not batch.mixed, "a layer of polygons takes no scene that crosses the antimeridian"
        kept = np.ones(len(regions), dtype=bool)
        if layer.repair:
            batch, kept = make_valid(batch)
        values = regions.values if objects is None else objects.classes
        self.tally.add(values[kept], areas[kept], len(batch.points))
        return batch

    def makes_parts(self, crs: str) -> bool:
        """Tell whether reprojection to a CRS may split polygons into parts."""
        return not same_crs(self._scene.crs, crs) and self._reproject(crs).makes_parts

    def _reproject(self, crs: str) -> Reprojection:
        """Return the reprojection to the CRS of the layer."""
        if self._reprojection is None:
            assert self._scene.crs is not None
            pixel, metres = pixel_size(self._scene, self._scene.crs)
            self._reprojection = Reprojection(self._scene.crs, crs, pixel=pixel, metres=metres, scene=self._scene)
        return self._reprojection


def pixel_size(scene: SceneInfo, crs: str | None) -> tuple[float, float]:
    """Return the approximate side of a map's pixels in units of a CRS, and in metres on the ground (1 if unknown)."""
    own = math.sqrt(abs(scene.transform.determinant))
    if scene.gsd is None or crs is None:
        return own, 1.0
    metres = math.sqrt(scene.gsd[0] * scene.gsd[1])
    if same_crs(scene.crs, crs):
        return own, metres
    return metres / metres_per_unit(crs), metres


def _require_objects(classes: ClassTable, lookup: np.ndarray) -> None:
    """Refuse classes that are selected, but never divided into objects."""
    groups = object_groups(classes)
    for entry in classes:
        if lookup[entry.id] != VOID and not groups[entry.id] and entry.name != BOUNDARY:
            raise UsageError(f"The class {entry.name} has no objects.", hint="Select other ones with `classes`.")


def _selection(classes: ClassTable, lookup: np.ndarray) -> str:
    """Return a hint to trace one of the classes of a map."""
    names = [entry.name for entry in classes if lookup[entry.id] != VOID]
    return f"Select one of {list_few(names)}, such as `classes={join_names(names[:1])!r}`."


def _lookup(classes: ClassTable, options: PolygonSettings) -> np.ndarray:
    """Return (256,) int32: value for the tracer by class id, VOID for classes without polygons."""
    unknown = [name for name in options.classes or () if name not in classes.names]
    if unknown:
        raise UsageError(
            f"There is no class {unknown[0]!r} in the map.", hint=f"Its classes are {join_names(classes.names)}."
        )
    lookup = np.full(256, VOID, dtype=np.int32)
    for entry in classes:
        wanted = entry.id != classes.background or options.keep_background
        if entry.name in options.classes if options.classes is not None else wanted:
            lookup[entry.id] = entry.id
    return lookup


class ConfidenceQueue:
    """Holds rows of confidence until the rows of the map have been sieved."""

    def __init__(self) -> None:
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def push(self, values: np.ndarray, confidence: np.ndarray) -> None:
        """Take (H, W) values and their (H, W) uint8 confidence."""
        self._waiting.append((values, confidence))

    def take(self, sieved: np.ndarray) -> np.ndarray:
        """Return the confidence of the next (H, W) sieved values; 255 in pixels whose class the sieve changed."""
        values, confidence = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
        count = len(sieved)
        self._waiting = [(values[count:], confidence[count:])]
        return np.where(sieved == values[:count], confidence[:count], NO_CONFIDENCE).astype(np.uint8)


class Tally:
    """Counts of polygons by class; a single count without a class table.

    Args:
        classes: Class table, or None.
        lookup: Value for the tracer by class id, VOID for classes without polygons; None without a class table.
    """

    def __init__(self, classes: ClassTable | None, lookup: np.ndarray | None) -> None:
        self._names = {entry.id: entry.name for entry in classes or () if lookup is None or lookup[entry.id] != VOID}
        self._counts = np.zeros(len(classes or (ALL,)), dtype=np.int64)
        self._square_metres = np.zeros(len(self._counts))
        self._vertices = 0
        self.specks = self.holes = 0
        """Regions dissolved as too small, and holes filled."""

    def add(self, values: np.ndarray, areas: np.ndarray, vertices: int) -> None:
        """Add polygons by their values (P,), areas (P,) and total number of vertices."""
        values = values if self._names else np.zeros_like(values)
        self._counts += np.bincount(values, minlength=len(self._counts))
        self._square_metres += np.bincount(values, weights=areas, minlength=len(self._counts))
        self._vertices += vertices

    def summary(self, paths: tuple[str, ...]) -> VectorSummary:
        """Return the summary of all polygons added."""
        names = self._names or {0: ALL}
        return VectorSummary(
            paths=paths,
            polygons={name: int(self._counts[i]) for i, name in names.items()},
            vertices=self._vertices,
            area_m2={name: float(self._square_metres[i]) for i, name in names.items()},
            specks=self.specks,
            holes=self.holes,
        )


def total(parts: list[VectorSummary], paths: tuple[str, ...]) -> VectorSummary:
    """Return the sum of one or more summaries over the same classes."""
    return VectorSummary(
        paths=paths,
        polygons={name: sum(part.polygons[name] for part in parts) for name in parts[0].polygons},
        vertices=sum(part.vertices for part in parts),
        area_m2={name: sum(part.area_m2[name] for part in parts) for name in parts[0].area_m2},
        specks=sum(part.specks for part in parts),
        holes=sum(part.holes for part in parts),
    )
