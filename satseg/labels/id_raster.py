"""Rasters of object ids as labels, in any grid and CRS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from satseg.classes import BACKGROUND
from satseg.errors import ClassRasterError, printable
from satseg.labels.burnt_features import BurntFeatures
from satseg.labels.class_bands import ClassBands
from satseg.labels.class_map import ClassMap
from satseg.labels.class_map_check import UnnamedValuesError
from satseg.labels.class_values import find
from satseg.labels.object_widths import Widths, count_regions, region_widths, sample_windows
from satseg.raster.windows import block_strips
from satseg.records import SceneInfo

_MOST_REGIONS = 1.5
"""Regions per value up to which values are objects: other objects may cut one in two, classes lie in many places."""

NOTHING = -1
"""Position of pixels that are known to show no object, which give way to the objects of labels below."""

_HINT = "Use polygons as labels, or a raster in which every object has a number of its own."


class IdRaster:
    """A raster whose values are objects, all of one class; 0 is no object, which is background.

    Nodata and unlabelled values are unknown, and so are pixels outside the raster. Where 0 is declared as nodata, as in
    rasters that GDAL or ``predict`` made, it still is no object.

    Args:
        path: The raster.
        class_map: Class of the objects by the name of the file, as for polygons without an attribute.
        unlabelled: Values that mean unknown.
        outside: Class of pixels without an object.
        own_name: Name in place of that of the file, or None.
        paired: Whether it was named together with a scene.
        may_be_empty: Whether it may hold no object.

    Raises:
        ClassRasterError: Its values are negative, no whole numbers, or seem to be classes.
        LabelError: The class map does not name its class.
    """

    repaired = 0
    dropped = 0
    class_field = None

    def __init__(
        self,
        path: str,
        class_map: ClassMap | None = None,
        *,
        unlabelled: frozenset[int] = frozenset(),
        outside: str = BACKGROUND,
        own_name: str | None = None,
        paired: bool = False,
        may_be_empty: bool = False,
    ) -> None:
        self.path = path
        self.own_name = own_name or printable(Path(path).stem)
        name = self.own_name if class_map is None else class_map.look_up(self.own_name)
        self.values, covers_all = _read_values(path, unlabelled, may_be_empty=may_be_empty)
        if name is None:
            assert class_map is not None
            raise UnnamedValuesError([(path, Counter({self.own_name: self.count}), "object")], class_map)
        self.names = [name] if covers_all else [outside, name]
        self.unlabelled = unlabelled
        self._paired = paired

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.values)

    @property
    def spellings(self) -> Mapping[str, tuple[str, ...]]:
        """The name of its class, with the keys by which a class map may refer to it."""
        return {self.own_name: (self.own_name,)}

    def on(self, scene: SceneInfo) -> WarpedIds:
        """Warp the raster onto the grid of a scene by nearest neighbour, unless it is on that grid.

        Raises:
            ClassRasterError: Only one of the two has a CRS and their grids differ.
        """
        return WarpedIds(self, scene, paired=self._paired)


class WarpedIds:
    """A raster of object ids read on the grid of a scene.

    Args:
        labels: The raster.
        scene: The grid.
        paired: Whether the raster was named together with this scene.
    """

    def __init__(self, labels: IdRaster, scene: SceneInfo, *, paired: bool = False) -> None:
        self._scene = scene
        self._values = labels.values
        self._unlabelled = list(labels.unlabelled)
        self._bands = _open_ids(labels.path)
        try:
            self._bands.bring_onto(scene, paired=paired)
        except BaseException:
            self.close()
            raise

    def touch(self) -> bool:
        """Return True: whether it has objects in the scene is known only after reading."""
        return True

    def objects(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read a window, which may extend beyond the scene, where the edge is repeated.

        Args:
            window: Pixels of the scene.
            ids: uint8 class id of each name in ``names``.

        Returns:
            Object number, (row, col) int32, 0 for unknown; and the uint8 class id by number, whose first entry is
            unused. The last number stands for pixels without an object.

        Raises:
            ClassRasterError: The raster is damaged there.
        """
        objects, classes, _ = self.instances(window, ids)
        return objects, classes

    def instances(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read a window, as :meth:`objects` does.

        Returns:
            What :meth:`objects` returns, and the int64 position among the ids of the raster by number, from 1; 0 for
            unknown, and ``NOTHING`` for no object.
        """
        codes, known = self._bands.read_beyond(window)
        known = known & ~np.isin(codes, self._unlabelled)
        at, found = find(self._values, codes, known)
        present, numbers = np.unique(at[found], return_inverse=True)
        objects = np.where(known, np.int32(len(present) + 1), np.int32(0))
        objects[found] = numbers + 1
        classes = np.full(len(present) + 2, ids[-1], dtype=np.uint8)
        classes[-1] = ids[0]
        return objects, classes, np.concatenate([[0], present + 1, [NOTHING]])

    def features(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, BurntFeatures]:
        """Read a window, as :meth:`objects` does, and return the objects in it.

        Returns:
            Number of the object at each pixel, (row, col) int32, 0 for none and for unknown; and the objects, starting
            with that of number 1.
        """
        objects, classes, positions = self.instances(window, ids)
        objects[objects == len(positions) - 1] = 0
        numbers = positions[1:-1] - 1
        nothing = np.zeros(len(numbers))
        return objects, BurntFeatures(numbers, classes[1:-1], self._ends[numbers], nothing.astype(bool), nothing)

    @cached_property
    def _ends(self) -> np.ndarray:
        """The int64 first row of the scene below each object; 0 of those outside."""
        ends = np.zeros(len(self._values), dtype=np.int64)
        for window in block_strips(self._scene):
            objects, _, positions = self.instances(window, np.zeros(2, dtype=np.uint8))
            rows = np.broadcast_to(np.arange(objects.shape[0])[:, None], objects.shape)
            last = np.full(len(positions), -1)
            np.maximum.at(last, objects.ravel(), rows.ravel())
            here = (positions > 0) & (last >= 0)
            ends[positions[here] - 1] = window.row_off + last[here] + 1
        return ends

    def widths(self, ids: np.ndarray, unit: tuple[float, float], scenes: int) -> Iterator[Widths]:
        """Measure the objects, of large scenes in a few windows.

        Args:
            ids: uint8 class id of each name in ``names``.
            unit: Length of a pixel along x and y.
            scenes: Number of scenes that share the sample of windows.

        Raises:
            ClassRasterError: The raster is damaged.
        """
        for window, inner in sample_windows(self._scene.height, self._scene.width, scenes):
            objects, _, positions = self.instances(window, ids)
            _, widths = region_widths(positions[objects].clip(min=0), inner)
            yield np.full(len(widths), ids[-1], dtype=np.uint8), widths * (unit[0] * unit[1]) ** 0.5

    def close(self) -> None:
        """Close the raster."""
        self._bands.close()


def _open_ids(path: str) -> ClassBands:
    """Open a raster of ids, whose 0 is known even where it is declared as nodata."""
    with ClassBands(path) as bands:
        nothing = bands.nodata == 0
    return ClassBands(path, nodata_is_value=nothing)


def _read_values(path: str, unlabelled: frozenset[int], *, may_be_empty: bool) -> tuple[np.ndarray, bool]:
    """Return the int64 ids of a raster, ascending, and whether all known pixels have one.

    Raises:
        ClassRasterError: Its values are not ids.
    """
    found = np.empty(0, dtype=np.int64)
    shown = regions = 0
    covers_all = True
    with _open_ids(path) as bands:
        if bands.coloured or bands.metadata.names:
            kind = "colours" if bands.coloured else "classes"
            raise ClassRasterError(f"{path} holds {kind}, not objects.", hint=_HINT)
        for strip in bands.strips():
            codes, known = bands.read(strip)
            known = known & ~np.isin(codes, list(unlabelled))
            ids = np.where(known, codes, 0).astype(np.int64)
            covers_all &= not (known & (ids == 0)).any()
            values = np.unique(ids)
            if len(values) and values[0] < 0:
                raise ClassRasterError(
                    f"{path} holds the value {values[0]}; ids of objects are 1 and more, and 0 is no object."
                )
            shown += int(np.count_nonzero(values))
            regions += count_regions(ids)
            found = np.union1d(found, values[values > 0])
    if not len(found) and not may_be_empty:
        raise ClassRasterError(f"{path} holds no object: all of its pixels are 0 or unknown.")
    if regions > _MOST_REGIONS * shown:
        raise ClassRasterError(
            f"{path} holds classes, not objects: its {len(found)} values lie in {regions:,} places.", hint=_HINT
        )
    return found, bool(covers_all and len(found))
