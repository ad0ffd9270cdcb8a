"""Class rasters as labels, in any grid and CRS."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.errors import LabelError
from satseg.files.causes import cause, remedy
from satseg.files.names import is_local_file, open_raster
from satseg.geo.vector_layer import has_features
from satseg.labels.class_found import Reading
from satseg.labels.class_map import IGNORE
from satseg.labels.class_values import UNKNOWN, ClassValues, find
from satseg.records import SceneInfo

log = logging.getLogger("satseg")


class RasterLabels:
    """A class raster; nodata, 255, unlabelled values and what lies outside of it are unknown.

    Args:
        path: The class raster.
        values: What the values of rasters that belong together mean, this one among them; None looks at it alone.
        paired: Whether it was named as belonging to one scene.

    Raises:
        ClassRasterError: It is no class raster, holds no label, or what it holds could mean two things.
    """

    repaired = 0
    dropped = 0

    def __init__(self, path: str, values: ClassValues | None = None, *, paired: bool = False) -> None:
        self.path = path
        self.values = values or ClassValues([path], Reading())
        self.names = [*self.values.names, IGNORE]
        self._paired = paired

    @property
    def colours(self) -> Mapping[str, str]:
        """Colour of each class, where a raster tells it."""
        return self.values.colours

    @property
    def spellings(self) -> Mapping[str, tuple[str, ...]]:
        """Values as users write them, and all that a class map may call each."""
        return self.values.spellings

    def on(self, scene: SceneInfo) -> WarpedLabels:
        """Bring the raster onto the grid of a scene by nearest neighbour, where it is not on it already.

        Raises:
            ClassRasterError: Just one of the two has a CRS and their grids differ.
        """
        return WarpedLabels(self, scene, paired=self._paired)


class WarpedLabels:
    """A class raster read on the grid of a scene.

    Args:
        labels: The raster, and what its values mean.
        scene: The grid.
        paired: Whether the raster was named as belonging to this scene.
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
        """Tell whether it may hold labels for the scene; what it holds is known only once it is read."""
        return True

    def objects(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read a window, which may reach beyond the scene: there the edge is repeated.

        Args:
            window: Pixels of the scene.
            ids: uint8 class id of each name in ``names``.

        Returns:
            Position of the value among all, plus one, (row, col) int32, 0 where nothing is known; and the uint8
            class id of each, whose first entry means nothing.

        Raises:
            ClassRasterError: The raster is damaged there.
        """
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        up, down = max(0, -top), max(0, bottom - self._scene.height)
        west, east = max(0, -left), max(0, right - self._scene.width)
        inner = Window(left + west, top + up, right - left - west - east, bottom - top - up - down)
        at, found = find(self._codes, *self._bands.read(inner))
        objects = np.where(found, at + 1, 0).astype(np.int32)
        if up or down or west or east:
            objects = np.pad(objects, ((up, down), (west, east)), mode="edge")
        return objects, np.concatenate([[np.uint8(0)], ids[self._kinds]])

    def close(self) -> None:
        """Close the raster."""
        self._bands.close()


def is_raster(name: str) -> bool:
    """Tell whether a file is to be read as a class raster: GDAL opens it as one with a band, and it holds no features.

    A GeoPackage may hold both: then its features are meant, and ``GPKG:FILE:TABLE`` names the raster.

    Raises:
        LabelError: It is a raster that this GDAL cannot read.
    """
    if name.upper().startswith("GPKG:") and not is_local_file(name):
        return True  # also where there is no such table, which is then told
    try:
        with open_raster(name) as dataset:
            if dataset.driver == "GPKG" and has_features(name):
                log.warning("%s holds a raster too: its features are read. The raster is GPKG:%s:TABLE.", name, name)
                return False
            return bool(dataset.count)
    except RasterioError as error:
        hint = remedy(error)
        if hint is None or has_features(name):
            return False
        raise LabelError(f"Labels {name} cannot be read: {cause(error)}.", hint=hint) from error
