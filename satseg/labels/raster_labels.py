"""Class rasters as labels, in any grid and CRS."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX
from satseg.errors import LabelError
from satseg.files.causes import cause, remedy
from satseg.files.names import is_local_file, open_raster
from satseg.geo.vector_layer import has_features
from satseg.labels.class_found import Reading
from satseg.labels.class_map import IGNORE
from satseg.labels.class_values import UNKNOWN, ClassValues, find
from satseg.labels.object_widths import Widths, region_widths, sample_windows
from satseg.records import SceneInfo

log = logging.getLogger("satseg")


class RasterLabels:
    """A class raster; nodata, 255, unlabelled values and pixels outside the raster are unknown.

    Args:
        path: The class raster.
        values: Values of all rasters that belong together, including this one; None for this one alone.
        paired: Whether it was named together with a scene.

    Raises:
        ClassRasterError: It is not a class raster, holds no labels, or its values are ambiguous.
    """

    repaired = 0
    dropped = 0
    own_name = None

    def __init__(self, path: str, values: ClassValues | None = None, *, paired: bool = False) -> None:
        self.path = path
        self.values = values or ClassValues([path], Reading())
        self.names = [*self.values.names, IGNORE]
        self._paired = paired

    @property
    def colours(self) -> Mapping[str, str]:
        """Colour by class, as far as the raster defines it."""
        return self.values.colours

    @property
    def spellings(self) -> Mapping[str, tuple[str, ...]]:
        """Values as users write them, with all keys by which a class map may refer to each."""
        return self.values.spellings

    def on(self, scene: SceneInfo) -> WarpedLabels:
        """Warp the raster onto the grid of a scene by nearest neighbour, unless it is on that grid.

        Raises:
            ClassRasterError: Only one of the two has a CRS and their grids differ.
        """
        return WarpedLabels(self, scene, paired=self._paired)


class WarpedLabels:
    """A class raster read on the grid of a scene.

    Args:
        labels: The raster and its classes.
        scene: The grid.
        paired: Whether the raster was named together with this scene.
    """

    def __init__(self, labels: RasterLabels, scene: SceneInfo, *, paired: bool = False) -> None:
        path = labels.path
        self._scene = scene
        classes = {code: name for code, name in labels.values.classes_of(path).items() if name != UNKNOWN}
        self._codes = np.array(sorted(classes), dtype=np.int64)
        self._kinds = np.array([labels.names.index(classes[code]) for code in sorted(classes)], dtype=np.intp)
        self._bands = labels.values.open(path)
        try:
            self._bands.bring_onto(scene, paired=paired)
        except BaseException:
            self.close()
            raise

    def touch(self) -> bool:
        """Return True: whether it has labels for the scene is known only after reading."""
        return True

    def objects(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read a window, which may extend beyond the scene, where the edge is repeated.

        Args:
            window: Pixels of the scene.
            ids: uint8 class id of each name in ``names``.

        Returns:
            Number of the value, from 1, (row, col) int32, 0 for unknown; and the uint8 class id by number, whose first
            entry is unused.

        Raises:
            ClassRasterError: The raster is damaged there.
        """
        at, found = find(self._codes, *self._bands.read_beyond(window))
        objects = np.where(found, at + 1, 0).astype(np.int32)
        return objects, np.concatenate([[np.uint8(0)], ids[self._kinds]])

    def instances(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read a window, as :meth:`objects` does; no value is an object, hence all positions are 0."""
        objects, classes = self.objects(window, ids)
        return objects, classes, np.zeros(len(classes), dtype=np.int64)

    def widths(self, ids: np.ndarray, unit: tuple[float, float], scenes: int) -> Iterator[Widths]:
        """Measure connected regions of one class, of large scenes in a few windows.

        Args:
            ids: uint8 class id of each name in ``names``, 255 for no object.
            unit: Length of a pixel along x and y.
            scenes: Number of scenes that share the sample of windows.

        Raises:
            ClassRasterError: The raster is damaged.
        """
        for window, inner in sample_windows(self._scene.height, self._scene.width, scenes):
            objects, class_of = self.objects(window, ids)
            classes = np.where(objects > 0, class_of[objects], IGNORE_INDEX).astype(np.int32)
            numbers, widths = region_widths(np.where(classes == IGNORE_INDEX, 0, classes + 1), inner)
            yield (numbers - 1).astype(np.uint8), widths * (unit[0] * unit[1]) ** 0.5

    def close(self) -> None:
        """Close the raster."""
        self._bands.close()


def is_raster(name: str) -> bool:
    """Tell whether a file is read as a class raster: GDAL opens it as a raster, and it has no vector features.

    In a GeoPackage with both, features are read; ``GPKG:FILE:TABLE`` names the raster.

    Raises:
        LabelError: It is a raster that this GDAL cannot read.
    """
    if name.upper().startswith("GPKG:") and not is_local_file(name):
        return True  # even if there is no such table, which is reported later
    try:
        with open_raster(name) as dataset:
            if dataset.driver == "GPKG" and has_features(name):
                log.warning("%s has features and a raster; features are read. The raster is GPKG:%s:TABLE.", name, name)
                return False
            return bool(dataset.count)
    except RasterioError as error:
        hint = remedy(error)
        if hint is None or has_features(name):
            return False
        raise LabelError(f"Labels {name} cannot be read: {cause(error)}.", hint=hint) from error
