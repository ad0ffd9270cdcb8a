"""Class rasters as labels, in any grid and CRS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX, MAX_CLASSES, ClassTable
from satseg.errors import LabelError, one_line
from satseg.raster.class_map import ClassMap
from satseg.raster.names import open_raster
from satseg.raster.regrid import on_grid_of
from satseg.raster.windows import strips
from satseg.records import SceneInfo


class RasterLabels:
    """A class raster; nodata, 255, unlabelled values and what lies outside of it are unknown.

    Args:
        path: Raster whose first band holds integers; or such a raster for each scene, by the path of the scene.
        class_map: Which value is of which class; None makes a class of each value, named by the raster's own table
            or ``class 7``.
        unlabelled: Values that mean that nobody looked there.

    Raises:
        LabelError: It is no class raster, or holds no label.
    """

    repaired = 0
    dropped = 0

    def __init__(
        self, path: str | Mapping[str, str], *, class_map: ClassMap | None = None, unlabelled: Iterable[int] = ()
    ) -> None:
        self._paths = path
        paths = [path] if isinstance(path, str) else list(path.values())
        self.path = paths[0]
        found = _Values(class_map, frozenset(unlabelled))
        for one in paths:
            found.scan(one)
        self.values = found.finish()
        own = [found.names.get(value, f"class {value}") for value in self.values]
        self.kind_names = own if class_map is None else [found.mapped(value, class_map) for value in self.values]
        self.names = list(dict.fromkeys(self.kind_names))
        self.colours = dict(zip(self.kind_names, map(found.colours.get, self.values), strict=True))

    def on(self, scene: SceneInfo) -> WarpedLabels:
        """Bring the raster onto the grid of a scene by nearest neighbour, where it is not on it already.

        Raises:
            LabelError: Just one of the two has a CRS and their grids differ.
        """
        path = self._paths if isinstance(self._paths, str) else self._paths[scene.path]
        return WarpedLabels(path, self, scene)


class _Values:
    """Collect the values of class rasters, and their names and colours."""

    def __init__(self, class_map: ClassMap | None, unlabelled: frozenset[int]) -> None:
        self.names: dict[int, str] = {}
        self.colours: dict[int, str] = {}
        self._seen: set[int] = set()
        self._unlabelled = unlabelled
        self._map = class_map
        self._path = ""

    def scan(self, path: str) -> None:
        """Read one raster."""
        self._path = self._path or path
        with _opened(path) as dataset:
            if np.dtype(dataset.dtypes[0]).kind not in "ui":
                raise LabelError(f"{path} holds {dataset.dtypes[0]} values; a class raster holds integers.")
            for window in strips(dataset.height, dataset.width, 512):
                try:
                    values, masks = dataset.read(1, window=window), dataset.read_masks(1, window=window)
                except RasterioError as error:
                    raise LabelError(f"{path} cannot be read: {one_line(error)}.") from error
                self._seen.update(np.unique(values[masks > 0]).tolist())
                if len(self._seen) > 4 * MAX_CLASSES:
                    raise LabelError(
                        f"{path} holds hundreds of different values; it does not seem to be a class raster."
                    )
            names, colours = _names_and_colours(dataset)
        self.names |= names
        self.colours |= colours

    def finish(self) -> list[int]:
        """Return the values that are labels, ascending."""
        named = self._map is not None and (
            str(IGNORE_INDEX) in self._map.names or self.names.get(IGNORE_INDEX) in self._map.names
        )
        ignored = self._unlabelled | (set() if named else {IGNORE_INDEX})
        values = sorted(self._seen - ignored)
        if not values:
            raise LabelError(f"{self._path} holds no label: all of it is nodata, unlabelled or {IGNORE_INDEX}.")
        if values == [0] and IGNORE_INDEX in self._seen - self._unlabelled:
            raise LabelError(
                f"{self._path} holds only 0 and {IGNORE_INDEX}; {IGNORE_INDEX} could be a class, or mean unlabelled.",
                hint=f"Say which: --class-map 0=background,{IGNORE_INDEX}=NAME, or --unlabelled {IGNORE_INDEX}.",
            )
        if len(values) > MAX_CLASSES:
            raise LabelError(f"{self._path} holds {len(values)} values; a class raster has at most {MAX_CLASSES}.")
        return values

    def mapped(self, value: int, class_map: ClassMap) -> str:
        """Return the class that a value is mapped to, by number or by its name in the raster."""
        name = self.names.get(value)
        return class_map.look_up(name if name in class_map.names and name is not None else str(value), self._path)


class WarpedLabels:
    """A class raster read on the grid of a scene.

    Args:
        path: The raster.
        labels: What its values mean.
        scene: The grid.
    """

    def __init__(self, path: str, labels: RasterLabels, scene: SceneInfo) -> None:
        self._scene = scene
        self._values = np.array(labels.values)
        self._kinds = np.array([labels.names.index(name) for name in labels.kind_names])
        self._dataset = _opened(path)
        self._grid: Any = self._dataset
        try:
            self._grid = on_grid_of(self._dataset, scene, resampling=Resampling.nearest, error=LabelError)
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
            Position of the value in ``values``, plus one, (row, col) int32, 0 where nothing is known; and the uint8
            class id of each, whose first entry means nothing.

        Raises:
            LabelError: The raster is damaged there.
        """
        top, left = int(window.row_off), int(window.col_off)
        bottom, right = top + int(window.height), left + int(window.width)
        up, down = max(0, -top), max(0, bottom - self._scene.height)
        west, east = max(0, -left), max(0, right - self._scene.width)
        inner = Window(left + west, top + up, right - left - west - east, bottom - top - up - down)
        try:
            values = self._grid.read(1, window=inner)
            valid = self._grid.read_masks(1, window=inner) > 0
        except RasterioError as error:
            raise LabelError(f"{self._dataset.name} cannot be read: {one_line(error)}.") from error
        at = np.searchsorted(self._values, values).clip(max=len(self._values) - 1)
        objects = np.where(valid & (self._values[at] == values), at + 1, 0).astype(np.int32)
        if up or down or west or east:
            objects = np.pad(objects, ((up, down), (west, east)), mode="edge")
        return objects, np.concatenate([[np.uint8(0)], ids[self._kinds]])

    def close(self) -> None:
        """Close the raster."""
        if self._grid is not self._dataset:
            self._grid.close()
        self._dataset.close()


def is_raster(name: str) -> bool:
    """Tell whether GDAL opens a file as a raster with a band."""
    try:
        with open_raster(name) as dataset:
            return bool(dataset.count)
    except RasterioError:
        return False


def _opened(path: str) -> Any:
    try:
        return open_raster(path)
    except RasterioError as error:
        raise LabelError(f"{path} cannot be opened as a raster: {one_line(error)}.") from error


def _names_and_colours(dataset: Any) -> tuple[dict[int, str], dict[int, str]]:
    from satseg.raster.writer import read_class_table

    table: ClassTable | None = read_class_table(dataset)
    if table is not None:
        return {c.id: c.name for c in table}, {c.id: c.colour for c in table}
    if dataset.colorinterp[0].name != "palette":
        return {}, {}
    palette = dataset.colormap(1)
    return {}, {value: "#{:02x}{:02x}{:02x}".format(*colour[:3]) for value, colour in palette.items()}
