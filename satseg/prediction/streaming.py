"""Stream the finished rows of a map to its tracer: count classes, sieve small regions, divide objects, emit rows."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from satseg.classes import IGNORE_INDEX
from satseg.inference.timing import Stage, Stopwatch
from satseg.mapfile.work_raster import WorkRaster
from satseg.objects.division import Division
from satseg.records import MapLayer, Rows
from satseg.vectorization.object_division import strip_rows
from satseg.vectorization.planar import VOID
from satseg.vectorization.sieve import Sieve

_BESIDE = (
    MapLayer.CONFIDENCE,
    MapLayer.OBJECTS,
    MapLayer.BOUNDARY,
    MapLayer.CENTRES,
)  # layers that rows have beside their classes


class Sink(Protocol):
    """Takes the finished rows of a map, from the top."""

    def write(self, rows: Rows) -> None:
        """Take the next rows."""
        ...


class RowStream:
    """Read the finished rows of work rasters in a thread of its own, from the first one, and pass them on.

    What it does follows from the work rasters alone, so a map that was continued ends like one that was not.

    Args:
        rasters: Work rasters by layer.
        sinks: What takes the rows.
        sieved: Work rasters for classes in which small regions are dissolved, and for confidence where that is stored;
            sinks then get those. A pixel that gets another class has no confidence, since the network's probability is
            that of its first class. Empty where nothing is dissolved.
        sieve: Regions of fewer pixels dissolve.
        division: Divides the classes into objects, whose ids go to the work raster of that layer; None takes what is
            there, if anything.
        stopwatch: Takes the time.
    """

    def __init__(
        self,
        rasters: dict[MapLayer, WorkRaster],
        sinks: Sequence[Sink],
        *,
        sieved: Mapping[MapLayer, WorkRaster] | None = None,
        sieve: int = 0,
        division: Division | None = None,
        stopwatch: Stopwatch,
    ) -> None:
        self._rasters = rasters
        self._sinks = sinks
        self._sieved = sieved or {}
        width = rasters[MapLayer.CLASSES].width
        self._cleaner = Sieve(width, min_pixels=sieve, max_hole=0) if sieved else None
        self._strip = strip_rows(width)
        self._division = division
        self._watch = stopwatch
        self._rows_read = self._rows_emitted = 0
        self._queue: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._stopped = False
        self.counts = np.zeros(256, dtype=np.int64)
        """Pixels by class id."""
        self._thread = threading.Thread(target=self._run, name="satseg-rows", daemon=True)
        self._thread.start()

    @property
    def left_out(self) -> int:
        """Objects that were too small so far."""
        return 0 if self._division is None else self._division.left_out

    def advance(self, rows: int) -> None:
        """Announce that all rows above ``rows`` are finished; raise what went wrong meanwhile."""
        self.check()
        self._queue.put(rows)

    def finish(self) -> None:
        """Wait until all finished rows are emitted; the map ends there."""
        self._queue.put(None)
        self._thread.join()
        self.check()

    def stop(self) -> None:
        """End the thread at its next strip."""
        self._stopped = True
        self._queue.put(None)
        self._thread.join()

    def check(self) -> None:
        """Raise what went wrong meanwhile."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (finished := self._queue.get()) is not None:
                for top in range(self._rows_read, finished, self._strip):
                    if self._stopped:
                        return
                    with self._watch.time(Stage.TRACE):
                        self._process(top, min(top + self._strip, finished))
                self._rows_read = finished
            if self._cleaner is not None and not self._stopped:
                self._emit(self._cleaner.finish())
        except BaseException as error:
            self._error = error

    def _process(self, top: int, bottom: int) -> None:
        if self._division is not None:
            for ids in self._division.push(bottom):
                if self._stopped:
                    return
                self._rasters[MapLayer.OBJECTS].write(self._rows_emitted, 0, ids[None])
                self._emit(self._rasters[MapLayer.CLASSES].read(self._rows_emitted, self._rows_emitted + len(ids))[0])
        elif self._cleaner is None:
            self._emit(self._rasters[MapLayer.CLASSES].read(top, bottom)[0])
        else:
            classes = self._rasters[MapLayer.CLASSES].read(top, bottom)[0]
            values = classes.astype(np.int32)
            values[classes == IGNORE_INDEX] = VOID
            self._emit(self._cleaner.push(values))

    def _emit(self, values: np.ndarray) -> None:
        """Hand (H, W) classes to the sinks: uint8, or int32 with VOID for nodata where they come from the sieve."""
        for part in _strips(values, self._strip):
            confidence, *of_objects = (self._read_layer(layer, len(part)) for layer in _BESIDE)
            classes = part
            if self._sieved:
                classes, confidence = self._sieve(part, confidence)
            self.counts += np.bincount(classes.ravel(), minlength=256)
            for sink in self._sinks:
                sink.write(Rows(self._rows_emitted, classes, confidence, *of_objects))
            self._rows_emitted += len(classes)

    def _sieve(self, values: np.ndarray, confidence: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Write what the sieve made of the next rows, and return it: classes and confidence, (H, W) uint8."""
        classes = np.where(values == VOID, IGNORE_INDEX, values).astype(np.uint8)
        self._sieved[MapLayer.CLASSES].write(self._rows_emitted, 0, classes[None])
        if confidence is None:
            return classes, None
        kept = classes == self._read_layer(MapLayer.CLASSES, len(classes))
        confidence = np.where(kept, confidence, np.uint8(IGNORE_INDEX))
        self._sieved[MapLayer.CONFIDENCE].write(self._rows_emitted, 0, confidence[None])
        return classes, confidence

    def _read_layer(self, layer: MapLayer, rows: int) -> np.ndarray | None:
        """Return a layer of the next rows as the network left it, None where it is not kept."""
        raster = self._rasters.get(layer)
        return None if raster is None else raster.read(self._rows_emitted, self._rows_emitted + rows)[0]


def _strips(values: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    for top in range(0, len(values), rows):
        yield values[top : top + rows]
