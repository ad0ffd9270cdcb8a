"""Polygons as labels: their classes, and the pixels of a scene that they cover."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.windows import Window

from satseg.errors import LabelError, printable
from satseg.files.names import split_layer
from satseg.geo.feature_store import FeatureStore
from satseg.geo.grid import doubt_of_points
from satseg.geo.polygons import AREAL, MANY_VERTICES, Bounds, clipped, padded
from satseg.geo.scene_projection import SceneProjection
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.burnt_features import BurntFeatures
from satseg.labels.class_map import ClassMap
from satseg.labels.class_map_check import UnnamedValuesError
from satseg.labels.object_widths import Widths, polygon_widths, polygons_of_each
from satseg.raster.scene import window_transform
from satseg.records import SceneInfo

log = logging.getLogger("satseg")

BURN_ORDERS = ("file", "area", "class")
SCORE = "score"
"""Attribute by which objects of a map are ranked."""
_SURROUNDINGS = 0.1  # share of a window added on each side
_Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
UNKNOWN = "unknown"
"""Value of features whose attribute is empty."""
_UNNAMED = -1  # kind of features that the class map does not map
_TOO_MANY = 1020  # different values, which must be names of single objects


def spell_value(value: Any, path: str) -> str:
    """Return the value of an attribute as a class map writes it: stripped, whole numbers without a decimal point.

    Returns:
        Text, empty for null and NaN.

    Raises:
        LabelError: It is a list, a dictionary or binary.
    """
    if isinstance(value, list | dict | bytes):
        raise LabelError(
            f"The class attribute of {path} holds values of type {type(value).__name__}, such as {str(value)[:40]}.",
            hint="Choose an attribute of texts or numbers with `class_field`.",
        )
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


class VectorLabels:
    """The polygons of a vector file and their classes.

    Args:
        path: Any vector file; ``file.gpkg|layername=roads`` names one of several layers.
        class_field: Attribute with the class; None makes all features one class, named after the file.
        class_map: Class by value; None makes each value a class.
        where: SQL condition that selects features.
        burn_order: Which polygons lie on top: ``file`` (later ones), ``area`` (smaller ones), ``class`` (later
            classes), or a numeric attribute (higher ones).
        all_touched: Label all pixels that a polygon touches, not only those whose centre it covers.
        own_name: Class of all features without ``class_field``; None uses the name of the file.
        may_be_empty: Whether a file without features is valid.
        apart: Whether each polygon of a multipolygon is an object by itself.

    Raises:
        LabelError: The file cannot be read, has no such field, or no polygon is left.
    """

    def __init__(
        self,
        path: str,
        *,
        class_field: str | None = None,
        class_map: ClassMap | None = None,
        where: str | None = None,
        burn_order: str = "file",
        all_touched: bool = False,
        own_name: str | None = None,
        may_be_empty: bool = False,
        apart: bool = False,
    ) -> None:
        self.path = path
        self.class_field = class_field
        self.own_name = own_name or printable(Path(split_layer(path)[0]).stem)
        self.all_touched = all_touched
        self.names: list[str] = []
        self.store = FeatureStore(apart=apart)
        self._order = burn_order
        self._map = class_map
        self._may_be_empty = may_be_empty
        self._kinds: dict[str, int] = {}  # value to position in names
        layer = VectorLayer.open(path)
        self.crs = layer.crs
        self._read(layer, class_field, where)

    @property
    def repaired(self) -> int:
        """Geometries that were invalid and were repaired."""
        return self.store.repaired

    @property
    def dropped(self) -> int:
        """Features without a usable polygon."""
        return self.store.dropped + self.store.infinite

    @property
    def count(self) -> int:
        """Number of objects."""
        return self.store.count

    @property
    def scores(self) -> tuple[float, float] | None:
        """Range of the scores if the polygons are ordered by their scores; else, or if there is none, None.

        Shares keep their meaning from one scene to the next; other scores are told by their lowest and highest.
        """
        found = self.store.ranks if self._order == SCORE else None
        return (0.0, 1.0) if found is not None and found[0] >= 0 and found[1] <= 1 else found

    @property
    def by_class(self) -> bool:
        """Whether polygons of later classes lie on top."""
        return self._order == "class"

    def on(self, scene: SceneInfo, ground: shapely.Geometry | None = None) -> BurntPolygons:
        """Prepare rasterizing onto the grid of a scene, within ``ground`` (in its CRS; None: the whole scene)."""
        return BurntPolygons(self, scene, ground)

    def _read(self, layer: VectorLayer, class_field: str | None, where: str | None) -> None:
        if layer.count == 0 and self._may_be_empty:  # it may have no attributes either
            self.store.finish()
            return
        rank = None if self._order in BURN_ORDERS else self._order
        for field in filter(None, (class_field, rank)):
            layer.require(field)
        shapes: set[str] = set()
        missing = 0
        counts = Counter[str]()
        for geometries, values in layer.batches([f for f in (class_field, rank) if f], where):
            texts = (
                [spell_value(value, self.path) for value in values[class_field]]
                if class_field
                else [self.own_name] * len(geometries)
            )
            missing += texts.count("")
            counts.update(text or UNKNOWN for text in texts)
            kinds = np.array([self._kind(text or UNKNOWN) for text in texts], dtype=np.int32)
            others = ~np.isin(shapely.get_type_id(geometries), (*AREAL, shapely.GeometryType.MISSING))
            shapes.update(shape.geom_type for shape in geometries[others])
            self.store.add(geometries, kinds, self._ranks(geometries, values[rank] if rank else None))
        if missing:
            log.warning("%s: %d features have no %s; their value is %r.", self.path, missing, class_field, UNKNOWN)
        self._check_names(counts, class_field)
        self._check(layer, where, sorted(shapes))
        self.store.finish()
        if not self.store.count:
            return
        left, bottom, right, top = self.store.extent
        doubt = doubt_of_points(np.array([left, right, right, left]), np.array([bottom, bottom, top, top]), self.crs)
        if doubt:
            log.warning("%s %s.", self.path, doubt)

    def _kind(self, text: str) -> int:
        kind = self._kinds.get(text)
        if kind is None:
            if len(self._kinds) >= _TOO_MANY:
                raise LabelError(
                    f"{self.path} has more than {_TOO_MANY} different class values.",
                    hint="Use an attribute of classes, not of single objects.",
                )
            name = text if self._map is None else self._map.look_up(text)
            if name is None:
                kind = self._kinds[text] = _UNNAMED
                return kind
            if name not in self.names:
                self.names.append(name)
            kind = self._kinds[text] = self.names.index(name)
        return kind

    @property
    def spellings(self) -> dict[str, tuple[str, ...]]:
        """The values found, with the keys by which a class map may refer to each."""
        return {text: (text,) for text in self._kinds}

    def _check_names(self, counts: Counter[str], class_field: str | None) -> None:
        unnamed = Counter({text: counts[text] for text, kind in self._kinds.items() if kind == _UNNAMED})
        if not unnamed or self._map is None:
            return
        remark = "Without `class_field` all features have a single value, the name of the file."
        raise UnnamedValuesError([(self.path, unnamed, "feature")], self._map, "" if class_field else remark)

    def _ranks(self, geometries: np.ndarray, values: list[Any] | None) -> np.ndarray:
        if self._order == "area":
            return -np.nan_to_num(shapely.area(geometries))
        if values is None:
            return np.zeros(len(geometries))
        try:
            ranks = np.array([-np.inf if value is None else float(value) for value in values])
        except (TypeError, ValueError) as error:
            raise LabelError(
                f"The attribute {self._order!r} of {self.path}, by which polygons are ordered, is not numeric."
            ) from error
        return np.where(np.isnan(ranks), -np.inf, ranks)

    def _check(self, layer: VectorLayer, where: str | None, shapes: Sequence[str]) -> None:
        store = self.store
        if not store.count and not (self._may_be_empty and not store.dropped + store.infinite):
            if store.infinite:
                raise LabelError(
                    f"None of the {store.infinite + store.dropped} features of {layer.path} is a polygon whose "
                    "coordinates are all finite.",
                    hint="Repeat its last reprojection, in which coordinates were lost.",
                )
            if not store.dropped:
                raise LabelError(f"Labels {layer.path} have no feature{' that meets the condition' if where else ''}.")
            raise LabelError(
                f"{layer.path} has no polygon, only {', '.join(shapes)}."
                if shapes
                else f"The features of {layer.path} have no geometry.",
                hint="Labels must be polygons; buffer points and lines first.",
            )
        if store.infinite:
            log.warning(
                "%s: %d features are left out because some of their coordinates are infinite or NaN.",
                layer.path,
                store.infinite,
            )
        if store.repaired:
            log.info("%s: %d invalid geometries were repaired.", layer.path, store.repaired)
        if store.dropped:
            log.warning("%s: %d features without a polygon are left out.", layer.path, store.dropped)


class BurntPolygons:
    """Polygons rasterized in windows of a scene on demand.

    Args:
        labels: The polygons.
        scene: The grid.
        ground: The area that is compared, in the CRS of the scene; None for the whole scene.
    """

    def __init__(self, labels: VectorLabels, scene: SceneInfo, ground: shapely.Geometry | None = None) -> None:
        self._labels, self._scene = labels, scene
        self._ground = window_outline(scene, Window(0, 0, scene.width, scene.height)) if ground is None else ground
        shapely.prepare(self._ground)
        self._projection = _projection(labels, scene)

    def touch(self) -> bool:
        """Tell whether a polygon touches the scene."""
        return any(len(found) for found, *_ in self._near(Window(0, 0, self._scene.width, self._scene.height)))

    def objects(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rasterize polygons in a window, which may extend beyond the scene.

        Args:
            window: Pixels of the scene.
            ids: uint8 class id of each name in ``names``.

        Returns:
            Number of the object at each pixel's centre, (row, col) int32, 0 for none; and the uint8 class id by object
            number, whose first entry is unused.
        """
        objects, classes, _ = self.instances(window, ids)
        return objects, classes

    def instances(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what :meth:`objects` returns, and the int64 position of each number in the file, from 1."""
        objects, found = self._burn(window, ids, list(self._near(window, cut=True)))
        return objects, np.concatenate([[np.uint8(0)], found.classes]), np.concatenate([[0], found.numbers + 1])

    def features(self, window: Window, ids: np.ndarray) -> tuple[np.ndarray, BurntFeatures]:
        """Rasterize polygons in a window, as :meth:`objects` does, and return their features.

        Returns:
            Number of the object at each pixel's centre, (row, col) int32, 0 for none; and the features, starting with
            that of object 1.
        """
        return self._burn(window, ids, list(self._near(window)))

    def widths(self, ids: np.ndarray, unit: tuple[float, float], scenes: int) -> Iterator[Widths]:
        """Measure the polygons that touch the scene, each part by itself; of very many, an even sample.

        Args:
            ids: uint8 class id of each name in ``names``.
            unit: Length of a pixel along x and y.
            scenes: Number of scenes that share the sample.
        """
        outline = window_outline(self._scene, Window(0, 0, self._scene.width, self._scene.height))
        boxes, to_pixels = self._projection.boxes(outline), ~self._scene.transform

        def on_ground(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            columns, rows = to_pixels * (x, y)
            return columns * unit[0], rows * unit[1]

        for features in self._labels.store.near(boxes, most=polygons_of_each(scenes)):
            moved = self._projection.apply(features.geometries, outline)
            parts, numbers = shapely.get_parts(moved, return_index=True)
            measured = shapely.transform(parts, on_ground, interleaved=False)
            yield ids[features.kinds[numbers]], polygon_widths(measured)

    def close(self) -> None:
        """Do nothing: no file is open."""

    def _burn(self, window: Window, ids: np.ndarray, parts: Sequence[_Columns]) -> tuple[np.ndarray, BurntFeatures]:
        shape = (int(window.height), int(window.width))
        if not parts:
            none = np.empty(0, dtype=np.int64)
            nothing = BurntFeatures(none, none.astype(np.uint8), none, none.astype(bool), np.empty(0))
            return np.zeros(shape, dtype=np.int32), nothing
        geometries, kinds, ranks, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
        classes = ids[kinds]
        order = np.argsort(classes if self._labels.by_class else ranks, kind="stable")
        objects = rasterize(
            zip(geometries[order], range(1, len(order) + 1), strict=True),
            out_shape=shape,
            transform=window_transform(self._scene.transform, window.col_off, window.row_off),
            all_touched=self._labels.all_touched,
            dtype="int32",
        )
        found = geometries[order]
        ends, outer = self._ends(found), self._outer(found)
        return objects, BurntFeatures(numbers[order], classes[order], ends, outer, ranks[order])

    def _outer(self, geometries: np.ndarray) -> np.ndarray:
        """Tell which polygons lie mostly outside the area that is compared."""
        outer = ~shapely.covers(self._ground, geometries)
        inside = shapely.area(shapely.intersection(geometries[outer], self._ground))
        outer[outer] = inside < shapely.area(geometries[outer]) / 2
        return outer

    def _ends(self, geometries: np.ndarray) -> np.ndarray:
        left, bottom, right, top = shapely.bounds(geometries).T
        corners = np.array([left, left, right, right]), np.array([bottom, top, bottom, top])
        _, rows = ~self._scene.transform * corners
        return np.asarray(np.ceil(rows.max(axis=0))).astype(np.int64)

    def _near(self, window: Window, *, cut: bool = False) -> Iterator[_Columns]:
        """Yield geometries in the CRS of the scene that touch a window, with their kinds, ranks and numbers.

        With ``cut``, polygons of very many vertices are clipped to the surroundings of the window first: else the
        outline of a whole country would be reprojected and rasterized for every window.
        """
        outline = window_outline(self._scene, window)
        boxes = self._projection.boxes(outline)
        for features in self._labels.store.near(boxes):
            geometries = _cut(features.geometries, boxes) if cut and boxes is not None else features.geometries
            moved = self._projection.apply(geometries, outline)
            touching = ~shapely.is_missing(moved)
            if touching.any():
                found = (moved, features.kinds, features.ranks, features.numbers)
                yield tuple(column[touching] for column in found)


def _cut(geometries: np.ndarray, boxes: Sequence[Bounds]) -> np.ndarray:
    """Clip polygons of many vertices to slightly enlarged boxes."""
    many = shapely.get_num_coordinates(geometries) > MANY_VERTICES
    if not many.any():
        return geometries
    made = geometries.copy()
    made[many] = clipped(geometries[many], [padded(box, _SURROUNDINGS) for box in boxes])
    return made


def _projection(labels: VectorLabels, scene: SceneInfo) -> SceneProjection:
    if (labels.crs is None) != (scene.crs is None):
        bare = labels.path if labels.crs is None else scene.path
        log.warning("%s has no CRS; its coordinates are used as they are.", bare)
    return SceneProjection(labels.crs, scene, name=labels.path, error=LabelError)


def window_outline(scene: SceneInfo, window: Window) -> Any:
    """Return the outline of a window as a polygon in the CRS of the scene, whose grid may be rotated."""
    left, top = window.col_off, window.row_off
    right, bottom = left + window.width, top + window.height
    return shapely.Polygon(
        [scene.transform * corner for corner in [(left, top), (right, top), (right, bottom), (left, bottom)]]
    )
