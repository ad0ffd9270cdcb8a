"""Labels: vector features or class rasters, brought onto the grid of a scene."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import geopandas
import numpy as np
import pyogrio
import rasterio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from satseg.classes import BACKGROUND, IGNORE_INDEX, MAX_CLASSES, ClassTable
from satseg.errors import LabelError, one_line
from satseg.raster.scene import window_transform
from satseg.raster.windows import strips
from satseg.records import SceneInfo

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger("satseg")


class Labels(Protocol):
    """Labels on the grid of one scene."""

    def read(self, window: Window) -> np.ndarray:
        """Return (row, col) uint8 class ids of a window of the scene, 255 where unlabelled."""
        ...

    def close(self) -> None:
        """Release what is open."""
        ...


class LabelSource(Protocol):
    """A file of labels, which may serve several scenes."""

    classes: ClassTable

    def on(self, scene: SceneInfo) -> Labels:
        """Bring the labels onto the grid of a scene.

        Raises:
            LabelError: The two cannot be brought together.
        """
        ...


def open_labels(
    path: str | Path, *, class_field: str | None = None, classes: ClassTable | None = None
) -> VectorSource | RasterSource:
    """Open labels: whatever GDAL opens as a raster is a class raster, all else is read as features.

    Args:
        path: A class raster or a vector file.
        class_field: Attribute that names the class of each feature; without it all features are one class, named
            like the file.
        classes: A table that class values must be found in, by name (features) or as ids (rasters). Without it the
            table is made from the values found.

    Raises:
        LabelError: The file does not exist, or is neither; the field does not exist; a value is not in ``classes``.
    """
    name = str(path)
    if "://" not in name and not name.startswith("/vsi") and not Path(name).exists():
        raise LabelError(f"Labels {name} do not exist.")
    if _is_raster(name):
        return RasterSource(name, classes=classes)
    return VectorSource(name, class_field=class_field, classes=classes)


@dataclass(frozen=True)
class Features:
    """Polygons of one label file, ready to burn.

    Args:
        geometries: Valid polygons and multipolygons, in the CRS they were stored in.
        ids: uint8 class id of each.
        crs: Their CRS, or None.
        repaired: Geometries that were invalid and were repaired.
        dropped: Features without a usable polygon.
    """

    geometries: np.ndarray
    ids: np.ndarray
    crs: Any
    repaired: int
    dropped: int


class VectorSource:
    """Features of a vector file as labels: what no polygon covers is background.

    Args:
        path: Any file that OGR opens; its first layer with geometries is used.
        class_field: Attribute that names the class, or None for one class.
        classes: Table to look names up in, or None to make one.
    """

    def __init__(self, path: str, *, class_field: str | None, classes: ClassTable | None) -> None:
        self.path = path
        frame = _read_features(path, class_field)
        values = _class_values(frame, class_field, Path(path).stem)
        self.classes = classes or _table_of(values, path)
        self.features = _usable_polygons(frame, self._ids(values, class_field))

    def on(self, scene: SceneInfo) -> BurntLabels:
        """Reproject the features to the CRS of a scene and index them for burning window by window.

        Raises:
            LabelError: No feature touches the scene.
        """
        geometries = self._in_crs_of(scene)
        tree = shapely.STRtree(geometries)
        if not len(tree.query(_footprint(scene))):
            raise LabelError(
                f"No label of {self.path} touches the scene {scene.path}.",
                hint="Check that both cover the same place, and that their CRS are stated rightly.",
            )
        return BurntLabels(geometries, self.features.ids, tree, scene)

    def _ids(self, values: Sequence[str], class_field: str | None) -> np.ndarray:
        ids = {name: i for i, name in enumerate(self.classes.names)}
        unknown = sorted(set(values) - set(ids))
        if unknown and class_field is None:  # one class for all: it is the one that is not background
            wanted = [c.id for c in self.classes if c.id != self.classes.background]
            if len(wanted) == 1:
                return np.full(len(values), wanted[0], dtype=np.uint8)
        if unknown:
            raise LabelError(
                f"{self.path} has the class {unknown[0]!r}, which is not among {', '.join(self.classes.names)}.",
                hint="Name the attribute that holds the class with --class-field." if class_field is None else None,
            )
        return np.array([ids[value] for value in values], dtype=np.uint8)

    def _in_crs_of(self, scene: SceneInfo) -> np.ndarray:
        features = self.features
        if features.crs is None or scene.crs is None:
            if (features.crs is None) != (scene.crs is None):
                bare = self.path if features.crs is None else scene.path
                log.warning("%s states no CRS; its coordinates are taken as they are.", bare)
            return features.geometries
        series = geopandas.GeoSeries(features.geometries, crs=features.crs)
        if series.crs == scene.crs:
            return features.geometries
        moved = series.to_crs(scene.crs).to_numpy()
        finite = np.isfinite(shapely.bounds(moved)).all(axis=1)
        if not finite.all():
            log.warning("%d labels lie outside what %s can express.", (~finite).sum(), scene.path)
            moved[~finite] = None
        return _repair(moved)


class BurntLabels:
    """Polygons burnt into windows of a scene on demand; later features lie on top."""

    def __init__(self, geometries: np.ndarray, ids: np.ndarray, tree: shapely.STRtree, scene: SceneInfo) -> None:
        self._geometries, self._ids, self._tree, self._scene = geometries, ids, tree, scene

    def read(self, window: Window) -> np.ndarray:
        """Return (row, col) uint8 class ids: 0 where no polygon covers the pixel's centre."""
        transform = window_transform(self._scene.transform, window.col_off, window.row_off)
        shape = (int(window.height), int(window.width))
        touched = np.sort(self._tree.query(_outline(transform, shape[1], shape[0])))
        if not len(touched):
            return np.zeros(shape, dtype=np.uint8)
        pairs = zip(self._geometries[touched], self._ids[touched].tolist(), strict=True)
        return np.asarray(rasterize(pairs, out_shape=shape, transform=transform, fill=0, dtype="uint8"))

    def close(self) -> None:
        """Nothing is open."""


class RasterSource:
    """A class raster as labels; nodata, 255 and what lies outside of it are ignored.

    Values are numbered 0..K-1 in ascending order, so that land-cover codes such as 10, 20, 95 need no gaps.

    Args:
        path: Raster whose first band holds integers.
        classes: Table whose ids are the values, or None to make one.
    """

    repaired = 0
    dropped = 0

    def __init__(self, path: str, *, classes: ClassTable | None) -> None:
        self.path = path
        values, names, colours = _scan_class_raster(path)
        if classes is not None:
            if values and values[-1] >= len(classes):
                raise LabelError(f"{path} holds the value {values[-1]}, but classes end at {len(classes) - 1}.")
            self.classes, self._values = classes, list(range(len(classes)))
            return
        if not values:
            raise LabelError(f"{path} holds no label: all of it is nodata or 255.")
        if len(values) > MAX_CLASSES:
            raise LabelError(f"{path} holds {len(values)} values; a class raster has at most {MAX_CLASSES}.")
        self._values = values
        table = ClassTable.from_names([names.get(value, f"class {value}") for value in values])
        self.classes = _recolour(table, [colours.get(value) for value in values])

    def on(self, scene: SceneInfo) -> WarpedLabels:
        """Bring the raster onto the grid of a scene by nearest neighbour, where it is not on it already.

        Raises:
            LabelError: Just one of the two has a CRS and their grids differ.
        """
        return WarpedLabels(self.path, self._values, scene)


class WarpedLabels:
    """A class raster read on the grid of a scene."""

    def __init__(self, path: str, values: list[int], scene: SceneInfo) -> None:
        self._dataset = rasterio.open(path)
        self._lut_values = np.array(values)
        self._nodata = self._dataset.nodata
        same_grid = (
            self._dataset.shape == (scene.height, scene.width)
            and self._dataset.transform.almost_equals(scene.transform)
        )  # fmt: skip
        self._grid: Any = self._dataset
        if same_grid:
            return
        if self._dataset.crs is None or scene.crs is None:
            self.close()
            raise LabelError(
                f"{path} ({self._dataset.width} x {self._dataset.height} px) is not on the grid of {scene.path} "
                f"({scene.width} x {scene.height} px), and without a CRS on both it cannot be moved there."
            )
        self._grid = WarpedVRT(
            self._dataset,
            crs=scene.crs,
            transform=scene.transform,
            width=scene.width,
            height=scene.height,
            resampling=Resampling.nearest,
            add_alpha=self._dataset.nodata is None,
        )

    def read(self, window: Window) -> np.ndarray:
        """Return (row, col) uint8 class ids, 255 where the raster has none."""
        try:
            values = self._grid.read(1, window=window)
            valid = self._grid.read_masks(1, window=window) > 0
        except RasterioError as error:
            raise LabelError(f"{self._dataset.name} cannot be read: {one_line(error)}.") from error
        ids = np.searchsorted(self._lut_values, values).clip(max=len(self._lut_values) - 1)
        known = valid & (self._lut_values[ids] == values)
        return np.where(known, ids, IGNORE_INDEX).astype(np.uint8)

    def close(self) -> None:
        """Close the raster."""
        if self._grid is not self._dataset:
            self._grid.close()
        self._dataset.close()

    def __enter__(self) -> WarpedLabels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_raster(name: str) -> bool:
    try:
        with rasterio.open(name) as dataset:
            return bool(dataset.count)
    except RasterioError:
        return False


def _read_features(path: str, class_field: str | None) -> geopandas.GeoDataFrame:
    try:
        layers = pyogrio.list_layers(path)
        spatial = [name for name, kind in layers if kind is not None]
        if not spatial:
            raise LabelError(f"{path} has no layer with geometries.")
        if len(spatial) > 1:
            log.warning("%s has %d layers; labels are read from %r.", path, len(spatial), spatial[0])
        fields = list(pyogrio.read_info(path, layer=spatial[0])["fields"])
        if class_field is not None and class_field not in fields:
            raise LabelError(
                f"{path} has no attribute {class_field!r}.",
                hint=f"It has {', '.join(fields)}." if fields else "It has no attributes at all.",
            )
        columns = [] if class_field is None else [class_field]
        frame = pyogrio.read_dataframe(path, layer=spatial[0], columns=columns)
    except LabelError:
        raise
    except (DataSourceError, DataLayerError) as error:
        raise LabelError(f"Labels {path} cannot be read: {one_line(error)}.") from error
    except (ValueError, RuntimeError, shapely.errors.ShapelyError) as error:
        raise LabelError(f"Labels {path} hold geometries that cannot be read: {one_line(error)}.") from error
    if "geometry" not in frame or not len(frame):
        raise LabelError(f"Labels {path} hold no feature.")
    return frame


def _class_values(frame: geopandas.GeoDataFrame, class_field: str | None, stem: str) -> list[str]:
    if class_field is None:
        return [stem] * len(frame)
    column = frame[class_field]
    missing = int(column.isna().sum())
    if missing:
        log.warning("%d features have no %s; they are named 'unknown'.", missing, class_field)
    if column.dtype.kind == "f" and (column.dropna() % 1 == 0).all():  # integers beside nulls come as floats
        column = column.astype("Int64")
    return [str(value) for value in column.astype(object).where(column.notna(), "unknown")]


def _table_of(values: Sequence[str], path: str) -> ClassTable:
    names = sorted(set(values) - {BACKGROUND}, key=_natural_order)
    if len(names) >= MAX_CLASSES:
        raise LabelError(
            f"{path} has {len(names)} different class values; a map has at most {MAX_CLASSES - 1}.",
            hint="Choose an attribute of classes, not of single objects.",
        )
    return ClassTable.from_names([BACKGROUND, *names])


def _natural_order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _usable_polygons(frame: geopandas.GeoDataFrame, ids: np.ndarray) -> Features:
    raw = frame.geometry.to_numpy()
    invalid = ~shapely.is_missing(raw) & ~shapely.is_valid(raw)
    geometries = _repair(raw)
    usable = ~shapely.is_missing(geometries)
    dropped = int((~usable).sum())
    repaired = int((invalid & usable).sum())
    if not usable.any():
        kinds = sorted({str(kind) for kind in frame.geometry.geom_type.dropna().unique()})
        raise LabelError(
            f"The labels hold no polygon, only {', '.join(kinds)}." if kinds else "The labels hold no geometry.",
            hint="Labels are areas; buffer points and lines first.",
        )
    if repaired or dropped:
        log.warning(
            "Labels: %d invalid geometries repaired, %d features without a polygon left out.",
            repaired,
            dropped,
        )
    return Features(geometries, ids, frame.crs, repaired, dropped)


def _repair(geometries: np.ndarray) -> np.ndarray:
    """Return valid polygons in two dimensions; None where nothing areal is left."""
    flat: np.ndarray = shapely.force_2d(geometries)
    broken = ~shapely.is_missing(flat) & ~shapely.is_valid(flat)
    flat[broken] = shapely.make_valid(flat[broken], method="structure", keep_collapsed=False)
    mixed = np.flatnonzero(shapely.get_type_id(flat) == shapely.GeometryType.GEOMETRYCOLLECTION)
    for i in mixed:  # rare: a collection keeps its areal parts
        parts = shapely.get_parts(shapely.get_parts(flat[i]))
        flat[i] = shapely.union_all([part for part in parts if part.geom_type == "Polygon"])
    areal = np.isin(shapely.get_type_id(flat), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    flat[~areal | shapely.is_empty(flat)] = None
    return flat


def _scan_class_raster(path: str) -> tuple[list[int], dict[int, str], dict[int, str]]:
    """Return the values of a class raster without nodata and 255, and its names and colours by value."""
    seen: set[int] = set()
    with rasterio.open(path) as dataset:
        if np.dtype(dataset.dtypes[0]).kind not in "ui":
            raise LabelError(f"{path} holds {dataset.dtypes[0]} values; a class raster holds integers.")
        for window in strips(dataset.height, dataset.width, 512):
            try:
                values, masks = dataset.read(1, window=window), dataset.read_masks(1, window=window)
            except RasterioError as error:
                raise LabelError(f"{path} cannot be read: {one_line(error)}.") from error
            seen.update(np.unique(values[masks > 0]).tolist())
            if len(seen) > 4 * MAX_CLASSES:
                raise LabelError(f"{path} holds hundreds of different values; it does not seem to be a class raster.")
        names, colours = _names_and_colours(dataset)
    return sorted(seen - {IGNORE_INDEX}), names, colours


def _names_and_colours(dataset: Any) -> tuple[dict[int, str], dict[int, str]]:
    from satseg.raster.writer import read_class_table

    table = read_class_table(dataset)
    if table is not None:
        return {c.id: c.name for c in table}, {c.id: c.colour for c in table}
    if dataset.colorinterp[0].name != "palette":
        return {}, {}
    palette = dataset.colormap(1)
    return {}, {value: "#{:02x}{:02x}{:02x}".format(*colour[:3]) for value, colour in palette.items()}


def _recolour(table: ClassTable, colours: Sequence[str | None]) -> ClassTable:
    entries = [
        {"id": entry.id, "name": entry.name, "colour": colour or entry.colour}
        for entry, colour in zip(table, colours, strict=True)
    ]
    return ClassTable.from_dict({"classes": entries, "background": table.background})


def _footprint(scene: SceneInfo) -> Any:
    return _outline(scene.transform, scene.width, scene.height)


def _outline(transform: Any, width: int, height: int) -> Any:
    """Return the four corners of a grid as a polygon, in CRS coordinates (rotated grids too)."""
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    return shapely.Polygon([transform * corner for corner in corners])
