"""One map on its way from rows to polygons with attributes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from satseg.arguments import join_names
from satseg.errors import OutputError, UsageError
from satseg.geo.crs import metres_per_unit, same_crs
from satseg.geo.units import parse_length
from satseg.records import Rows, SceneInfo
from satseg.vectorization.clean import Cleaner
from satseg.vectorization.confidence import ConfidenceQueue
from satseg.vectorization.planar import VOID
from satseg.vectorization.regions import Batches, Regions, coordinates
from satseg.vectorization.regularize import regularized
from satseg.vectorization.reproject import Reprojection
from satseg.vectorization.seam import Seam
from satseg.vectorization.settings import PolygonSettings
from satseg.vectorization.table import Batch, GroundMeasures, columns
from satseg.vectorization.tally import Tally
from satseg.vectorization.trace import ROWS_AT_ONCE, Tracer
from satseg.vectorization.validity import made_valid

if TYPE_CHECKING:
    from satseg.classes import ClassTable
    from satseg.vectorization.layer import Layer


class SceneTracer:
    """Rows of a map in, its polygons out. Tracing and tabulating may run in different threads.

    Args:
        scene: The map's grid.
        classes: Names and colours, or None where rows hold ids of their own.
        options: How the map becomes polygons.
        name: What the map is called in the layer.
        confidence: Whether rows come with confidence.

    Raises:
        UsageError: A class that is not in the table, or a length or area that is none.
    """

    def __init__(
        self, scene: SceneInfo, classes: ClassTable | None, options: PolygonSettings, *, name: str, confidence: bool
    ) -> None:
        lookup = _lookup(classes, options) if classes else None
        if options.regularize and lookup is not None and (lookup != VOID).sum() > 1:
            raise UsageError("Only one class can be regularized.", hint="Name it, such as --classes building.")
        smallest, hole, tolerance = options.in_pixels(scene.gsd, ids=classes is None)
        cleans = smallest > 1 or hole >= 1
        self.tally = Tally(classes, lookup)
        self._scene = scene
        self._name = name
        self._classes = classes
        self._lookup = lookup
        self._cleaner: Cleaner | None = None
        if cleans:
            diagonal = options.connectivity == 8
            self._cleaner = Cleaner(scene.width, min_pixels=smallest, max_hole=hole, diagonal=diagonal)
        self._queue = ConfidenceQueue() if confidence else None
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
        self._held: list[Regions] = []  # outlines to be regularized, which need their neighbours
        self._row = 0
        self._ground = GroundMeasures(scene.transform, scene.crs)
        self._reprojection: Reprojection | None = None

    def push(self, rows: Rows) -> Iterator[Regions]:
        """Take the next rows, which must follow on those before; yield batches of polygons that are complete."""
        assert rows.offset == self._row, "rows must come in order"
        self._row += len(rows.classes)
        for top in range(0, len(rows.classes), ROWS_AT_ONCE):
            values = rows.classes[top : top + ROWS_AT_ONCE]
            values = values if self._lookup is None else np.take(self._lookup, values, mode="clip")  # the fastest way
            if self._queue is not None:
                assert rows.confidence is not None, "all rows of a map have confidence, or none"
                self._queue.push(values, rows.confidence[top : top + ROWS_AT_ONCE])
            yield from self._trace(values if self._cleaner is None else self._cleaner.push(values))

    def finish(self) -> Iterator[Regions]:
        """Yield what is left; the map ends here.

        Raises:
            OutputError: Rows are missing.
        """
        if self._row != self._scene.height:
            raise OutputError(f"{self._scene.path} ended after {self._row} of {self._scene.height} rows.")
        if self._cleaner is not None:
            yield from self._trace(self._cleaner.finish())
            self.tally.specks, self.tally.holes = self._cleaner.dissolved, self._cleaner.filled
        yield from self._hand_on(self._tracer.finish())
        for pieces in self._tracer.pieces():
            yield from self._hand_on(pieces)
        if self._shortest is not None:
            yield from self._batches.add(regularized(self._held, self._shortest))
        yield from self._batches.finish()

    def _trace(self, values: np.ndarray) -> Iterator[Regions]:
        if len(values):
            confidence = self._queue.take(values) if self._queue is not None else None
            yield from self._hand_on(self._tracer.push(values, confidence))

    def _hand_on(self, regions: Regions) -> Iterator[Regions]:
        if self._shortest is None:
            yield from self._batches.add(regions)
        elif len(regions):
            self._held.append(regions)

    def tabulate(self, regions: Regions, layer: Layer, numbers: np.ndarray) -> Batch:
        """Return features with their attributes, in the CRS of the layer, and count them.

        Args:
            regions: Features as :meth:`push` and :meth:`finish` yield them.
            layer: What they become part of.
            numbers: (F,) number of the region that a feature is, or is a piece of.
        """
        regions = self._seam.noded(regions)
        areas, perimeters = self._ground.measure(regions)
        batch = Batch(
            columns=columns(
                regions,
                areas,
                perimeters,
                numbers,
                attributes=layer.attributes,
                classes=self._classes,
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
        if not layer.fits:
            batch, kept = made_valid(batch)
        self.tally.add(regions.values[kept], areas[kept], len(batch.points))
        return batch

    def makes_parts(self, crs: str) -> bool:
        """Tell whether polygons may fall into parts on their way to another CRS."""
        return not same_crs(self._scene.crs, crs) and self._reproject(crs).makes_parts

    def _reproject(self, crs: str) -> Reprojection:
        """Return the way to the CRS of the layer."""
        if self._reprojection is None:
            assert self._scene.crs is not None
            pixel, metres = pixel_size(self._scene, self._scene.crs)
            self._reprojection = Reprojection(self._scene.crs, crs, pixel=pixel, metres=metres, scene=self._scene)
        return self._reprojection


def pixel_size(scene: SceneInfo, crs: str | None) -> tuple[float, float]:
    """Return the side of a map's pixels, roughly: in units of a CRS, and in metres on the ground (1 if unknown)."""
    own = math.sqrt(abs(scene.transform.determinant))
    if scene.gsd is None or crs is None:
        return own, 1.0
    metres = math.sqrt(scene.gsd[0] * scene.gsd[1])
    if same_crs(scene.crs, crs):
        return own, metres
    return metres / metres_per_unit(crs), metres


def _lookup(classes: ClassTable, options: PolygonSettings) -> np.ndarray:
    """Return (256,) int32: class id to value in the tracer, VOID where nothing is emitted."""
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
