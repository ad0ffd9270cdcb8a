"""Write the polygons of class maps to files while their rows arrive."""

from __future__ import annotations

import logging
import pickle
import tempfile
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import numpy as np

from satseg.command_line import without_secrets
from satseg.errors import OutputError, UsageError, printable
from satseg.files.atomic_write import atomic_write
from satseg.geo.crs import same_crs, short_name
from satseg.records import Rows, SceneInfo, VectorSummary
from satseg.vectorization.formats import Writer, open_writer, suffix_of
from satseg.vectorization.scene import SceneTracer, pixel_size, total
from satseg.vectorization.scene_names import SceneNames
from satseg.vectorization.settings import ATTRIBUTES, CONFIDENCE, OF_OBJECTS, PolygonSettings
from satseg.vectorization.table import PolygonLayer

if TYPE_CHECKING:
    from satseg.classes import ClassTable
    from satseg.vectorization.regions import Regions
    from satseg.vectorization.table import FeatureBatch

log = logging.getLogger("satseg")

_HELD = 32 * 2**20  # bytes of polygons that wait in memory; more go to a temporary file
_WAITING = 2  # batches between the tracer and the attribute table


class PolygonSink:
    """Traces one map after the other as their rows arrive, and writes all polygons as one layer.

        with PolygonSink([Path("out.gpkg")], classes=classes, provenance={}, options=PolygonSettings()) as sink:
            for scene in scenes:
                sink.begin(scene.info)
                sink.write(rows)  # for all strips of rows
                sink.end()
            sink.close()

    The polygons of a map form a valid coverage, whatever the height of the strips; equal maps give equal bytes. Files
    appear under their names when :meth:`close` succeeds, and not at all otherwise: a layer is complete or absent.

    Args:
        outputs: Files to write; the suffix determines the format (see ``VECTOR_SUFFIXES``).
        stream: Text stream for GeoJSONSeq, or None. It is not closed.
        classes: Names and colours; 255 (ignore) is never emitted. None if rows hold int32 ids (of instances, for
            example): every id from 0 on is emitted, with a class name after its value.
        provenance: Origin of the maps, as name and value; stored in every format with metadata.
        scenes: Paths of the maps, as far as known; they determine the short names in the attribute ``scene``.
        options: How maps become polygons.

    Raises:
        UsageError: An unknown suffix, or the same output twice.
        OutputError: An output cannot be written.
    """

    def __init__(
        self,
        outputs: Sequence[Path],
        *,
        stream: IO[str] | None = None,
        classes: ClassTable | None,
        provenance: Mapping[str, str],
        scenes: Iterable[str] = (),
        options: PolygonSettings | None = None,
    ) -> None:
        for path in outputs:
            suffix_of(path)
        if len({path.absolute() for path in outputs}) < len(outputs):
            raise UsageError("An output is named twice.")
        self._outputs = tuple(outputs)
        self._stream = stream
        self._paths = tuple(str(path) for path in outputs) + (("-",) if stream is not None else ())
        self._classes = classes
        self._options = options or PolygonSettings()
        self._names = SceneNames(scenes)
        self._provenance = {name: printable(value) for name, value in provenance.items()}
        self._layer: PolygonLayer | None = None
        self._tracer: SceneTracer | None = None
        self._numbers = RegionNumbers()
        self._done: list[VectorSummary] = []
        self._writers: list[Writer] = []
        self._staging = ExitStack()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="tabulate")
        self._jobs: deque[Future[None]] = deque()
        self._opening: Future[None] | None = None
        self._held: IO[bytes] | None = None
        self._open = True

    def begin(
        self, scene: SceneInfo, *, confidence: bool = False, objects: bool = False, hold: Path | None = None
    ) -> None:
        """Begin a map; the previous one must have ended.

        Args:
            scene: Its grid.
            confidence: Whether its rows have confidence.
            objects: Whether its rows have objects, each of which becomes a polygon.
            hold: Folder in which its polygons are held until it ends, so that it can be dropped (:meth:`drop`) until
                then. None writes them immediately.

        Raises:
            UsageError: The options do not suit the map, or it is in another CRS than the layer.
            OutputError: An output cannot be written, or the previous map has not ended.
        """
        if self._tracer is not None or not self._open:
            raise OutputError("The previous map has not ended, so the layer would be incomplete.")
        crs = self._options.crs
        if crs is not None and scene.crs is None:
            raise UsageError(f"{scene.path} has no CRS to transform from.", hint="Leave out `crs`.")
        if crs is None and self._layer is not None and not same_crs(scene.crs, self._layer.crs):
            raise UsageError(
                f"{scene.path} is in {short_name(scene.crs)}, but the layer is in {short_name(self._layer.crs)}.",
                hint="Choose the CRS of the layer with `crs`, or write a file for each.",
            )
        tracer = SceneTracer(
            scene,
            self._classes,
            self._options,
            name=self._names.of(scene.path),
            confidence=confidence,
            objects=objects,
        )
        cut = crs is not None and tracer.makes_parts(crs)
        if cut and self._layer is not None and not self._layer.multi:
            raise UsageError(
                f"{scene.path} crosses the antimeridian or contains a pole, where polygons are split into parts, but "
                "the layer has single polygons.",
                hint="Name it first, so that the layer has multipolygons, or write a file for each.",
            )
        self._tracer, self._scene = tracer, scene
        self._numbers.begin()
        self._held = tempfile.SpooledTemporaryFile(_HELD, dir=str(hold)) if hold else None  # noqa: SIM115 - drop closes it
        if self._layer is None:
            multi = cut or self._options.connectivity == 8
            self._open_layer(scene, self._attributes(scene, confidence, objects), multi=multi)

    def write(self, rows: Rows) -> None:
        """Write the next rows of the map, in order from the top.

        Raises:
            OutputError: An output cannot be written.
        """
        assert self._tracer is not None, "rows need a map"
        self._submit(self._tracer, self._tracer.push(rows))

    def end(self) -> VectorSummary:
        """End the map and return its summary.

        Raises:
            OutputError: An output cannot be written.
        """
        assert self._tracer is not None, "there is no map to end"
        self._submit(self._tracer, self._tracer.finish())
        while self._jobs:
            self._jobs.popleft().result()
        if self._opening is not None:
            self._opening.result()
        if self._held is not None:
            self._release(self._held)
        assert self._layer is not None
        self._layer.footprint.add(self._scene, self._layer.crs)
        self._done.append(self._tracer.tally.summary(self._paths))
        self._tracer = None
        return self._done[-1]

    def drop(self) -> None:
        """Drop the map that was begun with ``hold`` and has not ended; the layer is as before."""
        if self._held is None or not self._open:
            return
        for job in self._jobs:
            job.cancel()
        wait(self._jobs)
        self._jobs.clear()
        self._held.close()
        self._held = self._tracer = None
        self._numbers.drop()

    def close(self) -> VectorSummary:
        """End the last map, complete the outputs and give them their names; return the summary of all maps.

        Raises:
            OutputError: An output cannot be written.
        """
        if not self._open:
            raise OutputError("The layer could not be completed.")
        try:
            if self._tracer is not None:
                self.end()
            for writer in self._writers:
                writer.close()
        except BaseException:
            self.abort()
            raise
        self._open = False
        self._pool.shutdown()
        self._staging.close()
        self._warn_of_shared_ground()
        return total(self._done, self._paths)

    def abort(self) -> None:
        """Discard the outputs; does nothing after :meth:`close`."""
        if not self._open:
            return
        self._open = False
        self._pool.shutdown(cancel_futures=True)
        for writer in self._writers:
            writer.abort()
        stopped = InterruptedError()
        self._staging.__exit__(type(stopped), stopped, None)

    def _warn_of_shared_ground(self) -> None:
        shared = None if self._layer is None else self._layer.footprint.shared()
        if shared is not None:
            log.warning(
                "%s and %s overlap (%.0f %% of the smaller one), so polygons there are in the layer twice: build a "
                "mosaic first (gdalbuildvrt), or write a file for each.",
                *map(without_secrets, shared[:2]),
                100 * shared[2],
            )

    def _attributes(self, scene: SceneInfo, confidence: bool, objects: bool) -> tuple[str, ...]:
        """Return the selected attributes, or all that maps like the first one can fill."""
        unknown = (frozenset() if confidence else CONFIDENCE) | (frozenset() if objects else OF_OBJECTS)
        if self._options.attributes is None:
            return tuple(name for name in ATTRIBUTES if name not in unknown)
        for name in self._options.attributes:
            if name in unknown:
                missing = "is no confidence for" if name in CONFIDENCE else "are no objects in the map of"
                raise UsageError(f"`attributes` has {name}, but there {missing} {scene.path}.")
        return self._options.attributes

    def _open_layer(self, scene: SceneInfo, attributes: tuple[str, ...], *, multi: bool) -> None:
        crs = self._options.crs or scene.crs
        pixel, metres = pixel_size(scene, crs)
        self._layer = PolygonLayer(
            attributes=attributes,
            multi=multi,
            repair=self._options.regularize is not None,
            crs=crs,
            pixel=pixel,
            metres=metres,
            classes=self._classes,
            provenance={"SATSEG_SCENE": without_secrets(scene.path), **self._provenance},
        )
        works = [self._staging.enter_context(atomic_write(path)) for path in self._outputs]
        # In the thread of the writers: drivers are slow to load, and rows can be read meanwhile.
        self._opening = self._pool.submit(self._open_writers, works, self._layer)

    def _open_writers(self, works: Sequence[Path], layer: PolygonLayer) -> None:
        for path in works:
            self._writers.append(open_writer(path, layer))
        if self._stream is not None:
            self._writers.append(open_writer(self._stream, layer))

    def _submit(self, tracer: SceneTracer, batches: Iterable[Regions]) -> None:
        for regions in batches:
            while len(self._jobs) >= _WAITING:
                self._jobs.popleft().result()
            self._jobs.append(self._pool.submit(self._tabulate, tracer, regions))

    def _tabulate(self, tracer: SceneTracer, regions: Regions) -> None:
        assert self._layer is not None
        batch = tracer.tabulate(regions, self._layer, self._numbers.count(regions.families))
        if self._held is not None:
            pickle.dump(batch, self._held, protocol=pickle.HIGHEST_PROTOCOL)
        else:
            self._write(batch)

    def _write(self, batch: FeatureBatch) -> None:
        for writer in self._writers:
            writer.write(batch)

    def _release(self, held: IO[bytes]) -> None:
        """Write the held polygons of a map that has ended; it can no longer be dropped."""
        try:
            held.seek(0)
            with held, suppress(EOFError):
                while True:
                    self._pool.submit(self._write, pickle.load(held)).result()
        except BaseException:
            self.abort()
            raise
        self._held = None

    def __enter__(self) -> PolygonSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class RegionNumbers:
    """Numbers regions from 1 over all maps of a layer; pieces of a region have the same number."""

    def __init__(self) -> None:
        self._last = self._before = 0
        self._of_families: dict[int, int] = {}

    def begin(self) -> None:
        """Begin a map, whose families are unrelated to those before."""
        self._before = self._last
        self._of_families = {}

    def drop(self) -> None:
        """Release the numbers of the current map."""
        self._last = self._before

    def count(self, families: np.ndarray) -> np.ndarray:
        """Return (F,) int64 numbers of the next features, given their families."""
        numbers = np.arange(self._last + 1, self._last + 1 + len(families))
        if not families.any():
            self._last += len(families)
            return numbers
        for i, family in enumerate(families.tolist()):
            known = self._of_families.get(family) if family else None
            if known is None:
                self._last += 1
                known = self._of_families[family] = self._last
            numbers[i] = known
        return numbers
