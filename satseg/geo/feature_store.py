"""A store of polygons on disk, from which the ones near an area are fetched."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile

import numpy as np
import pyarrow as pa
import shapely

from satseg.geo.polygons import AREAL, Bounds, is_finite, meet, repair

_SMALL = 2**18  # bytes
_SIDES = ("left", "bottom", "right", "top")
_SCHEMA = pa.schema(
    [*((side, pa.float64()) for side in _SIDES), ("kind", pa.int32()), ("rank", pa.float64()), ("wkb", pa.binary())]
)


@dataclass(frozen=True)
class Features:
    """Polygons near an area, in the order of their file.

    Args:
        geometries: Valid polygons and multipolygons in the CRS of their file.
        kinds: int32 number of each polygon's class, as assigned by the caller.
        ranks: float64; polygons of higher rank lie on top.
        numbers: int64 position of each polygon in the store.
    """

    geometries: np.ndarray
    kinds: np.ndarray
    ranks: np.ndarray
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.geometries)


class FeatureStore:
    """Valid polygons in a memory-mapped temporary file, in the order in which they were added.

    A million buildings take about 200 MB on disk and a few megabytes of memory. The file has no name, so nothing is
    left of it however the process ends.

    Args:
        apart: Whether each polygon of a multipolygon is stored by itself.

    Attributes:
        count: Polygons in the store.
        repaired: Features that were invalid and were repaired.
        dropped: Features without a usable polygon.
        infinite: Features left out because some of their coordinates are not finite.
    """

    def __init__(self, *, apart: bool = False) -> None:
        self._apart = apart
        self.count = 0
        self.repaired = 0
        self.dropped = 0
        self.infinite = 0
        self._file = TemporaryFile(prefix="satseg-labels-")  # noqa: SIM115 - it lives as long as the store
        self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), _SCHEMA)
        self._extents: list[Bounds] = []
        self._ranks: list[tuple[float, float]] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, geometries: np.ndarray, kinds: np.ndarray, ranks: np.ndarray) -> None:
        """Add features: invalid geometries are repaired, features without a polygon are left out.

        Features with coordinates that are not finite, such as failed reprojections leave, are left out as well.
        """
        finite = is_finite(geometries)
        self.infinite += int((~finite).sum())
        geometries, kinds, ranks = geometries[finite], kinds[finite], ranks[finite]
        valid = shapely.is_valid(geometries)
        sound = valid & np.isin(shapely.get_type_id(geometries), AREAL) & ~shapely.is_empty(geometries)
        if not sound.all():
            repaired = repair(geometries[~sound])
            self.dropped += int(shapely.is_missing(repaired).sum())
            self.repaired += int((~shapely.is_missing(repaired) & ~valid[~sound]).sum())
            geometries = geometries.copy()
            geometries[~sound] = repaired
        usable = ~shapely.is_missing(geometries)
        geometries, kinds, ranks = geometries[usable], kinds[usable], ranks[usable]
        if not len(geometries):
            return
        if self._apart:
            geometries, numbers = shapely.get_parts(geometries, return_index=True)
            kinds, ranks = kinds[numbers], ranks[numbers]
        bounds = shapely.bounds(geometries)
        columns = [*bounds.T, kinds, ranks, shapely.to_wkb(geometries)]
        self._writer.write_batch(pa.record_batch([pa.array(column) for column in columns], schema=_SCHEMA))
        self._extents.append((*bounds[:, :2].min(axis=0).tolist(), *bounds[:, 2:].max(axis=0).tolist()))
        finite = ranks[np.isfinite(ranks)]
        self._ranks += [(finite.min(), finite.max())] if len(finite) else []
        self.count += len(geometries)

    def finish(self) -> None:
        """Finish adding; features can be fetched from now on."""
        self._writer.close()
        self._file.flush()
        if self._file.tell() <= _SMALL:  # thousands of scenes may have labels each, and open files are limited
            self._file.seek(0)
            reader = pa.ipc.open_file(pa.py_buffer(self._file.read()))
            self._file.close()
        else:
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            reader = pa.ipc.open_file(pa.py_buffer(mapped))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]

    @property
    def extent(self) -> Bounds:
        """Bounds of all features."""
        sides = np.array(self._extents)
        left, bottom = sides[:, :2].min(axis=0).tolist()
        right, top = sides[:, 2:].max(axis=0).tolist()
        return left, bottom, right, top

    @property
    def ranks(self) -> tuple[float, float] | None:
        """Lowest and highest finite rank; None if there is none."""
        return (min(low for low, _ in self._ranks), max(high for _, high in self._ranks)) if self._ranks else None

    def near(self, boxes: Sequence[Bounds] | None = None, *, most: int | None = None) -> Iterator[Features]:
        """Yield the features whose bounds meet any of the boxes (None: all), in order, a few thousand at a time.

        With ``most``, it yields every second, third or so of them, so that there are no more than that.
        """
        step = 1 if most is None else max(1, -(-sum(len(found) for _, _, found in self._meeting(boxes)) // most))
        seen = 0
        for batch, before, found in self._meeting(boxes):
            chosen = found[-seen % step :: step]
            seen += len(found)
            if len(chosen):
                rows = batch.take(pa.array(chosen))
                wkb = rows.column("wkb").to_numpy(zero_copy_only=False)
                kinds, ranks = rows.column("kind").to_numpy(), rows.column("rank").to_numpy()
                yield Features(shapely.from_wkb(wkb), kinds, ranks, before + chosen)

    def _meeting(self, boxes: Sequence[Bounds] | None) -> Iterator[tuple[pa.RecordBatch, int, np.ndarray]]:
        """Yield batches, the number of features before each, and the rows whose bounds meet any of the boxes."""
        first = 0
        for extent, batch in zip(self._extents, self._batches, strict=True):
            first, before = first + len(batch), first
            if boxes is not None and not any(meet(extent, box) for box in boxes):
                continue
            sides = [batch.column(side).to_numpy() for side in _SIDES]
            close = np.full(len(batch), boxes is None)
            for box in boxes or ():
                close |= meet(sides, box)
            yield batch, before, np.flatnonzero(close)
