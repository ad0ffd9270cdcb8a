"""Split regions: polygons drawn by the user, each with its split."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.windows import Window

from satseg.arguments import file_and_name
from satseg.errors import LabelError, UsageError
from satseg.geo.polygons import Bounds, repair
from satseg.geo.scene_projection import SceneProjection
from satseg.geo.vector_layer import VectorLayer
from satseg.labels.vector_labels import window_outline
from satseg.raster.scene import window_transform
from satseg.records import SceneInfo
from satseg.tiles.splits import SPLITS

log = logging.getLogger("satseg")

_ROUNDING = 1e-6  # pixels; a region drawn along pixel edges must not include their neighbours


@dataclass(frozen=True)
class SplitRegion:
    """A polygon on the grid of a scene.

    Args:
        window: The pixels around it.
        split: The split of its pixels.
        shape: The polygon in the CRS of the scene.
    """

    window: Window
    split: str
    shape: Any

    def touches(self, scene: SceneInfo, window: Window) -> bool:
        """Tell whether the region overlaps a window."""
        return bool(shapely.area(shapely.intersection(self.shape, window_outline(scene, window))) > 0)

    def covers(self, scene: SceneInfo, window: Window) -> np.ndarray:
        """Tell which pixels of a window have their centre in the region: (row, col) bool."""
        shape = (int(window.height), int(window.width))
        if shapely.covers(self.shape, window_outline(scene, window)):
            return np.ones(shape, dtype=bool)
        transform = window_transform(scene.transform, window.col_off, window.row_off)
        return np.asarray(rasterize([(self.shape, 1)], out_shape=shape, transform=transform, dtype="uint8")) > 0


@dataclass(frozen=True, eq=False)
class SplitRegions:
    """Polygons with splits, in the CRS of their file.

    Args:
        path: The file.
        shapes: (N,) polygons.
        splits: Split of each.
        crs: Their CRS, or None.
    """

    path: str
    shapes: np.ndarray
    splits: tuple[str, ...]
    crs: str | None

    @classmethod
    def read(cls, text: str) -> SplitRegions:
        """Read ``regions.gpkg:split``: a vector file, and the attribute that holds train, val or test.

        Raises:
            UsageError: It names no attribute.
            LabelError: The file or the attribute cannot be read, or no polygon has a split.
        """
        path, field = file_and_name(text)
        if not (path and field):
            raise UsageError(
                f"`split_by` takes block, scene, or a vector file and its attribute, not {text!r}.",
                hint="For example: `split_by='regions.gpkg:split'`",
            )
        layer = VectorLayer.open(path)
        layer.require(field)
        shapes, splits = [], []
        for geometries, values in layer.batches([field]):
            shapes += list(repair(geometries))
            splits += [str(value) for value in values[field]]
        known = [shape is not None and split in SPLITS for shape, split in zip(shapes, splits, strict=True)]
        others = sorted({split for split in splits if split not in SPLITS})
        if others:
            log.warning("%s: ignoring polygons whose %s is %s.", path, field, " or ".join(map(repr, others[:5])))
        if not any(known):
            raise LabelError(f"No polygon of {path} has train, val or test for {field!r}.")
        chosen = np.flatnonzero(known)
        return cls(path, np.array(shapes, dtype=object)[chosen], tuple(splits[i] for i in chosen), layer.crs)

    def on(self, scene: SceneInfo) -> list[SplitRegion]:
        """Return the regions that touch a scene.

        Raises:
            LabelError: Their CRS cannot be transformed to that of the scene.
        """
        projection = SceneProjection(self.crs, scene, name=self.path, error=LabelError)
        whole = window_outline(scene, Window(0, 0, scene.width, scene.height))
        near = self._near(projection.boxes(whole))
        found = []
        for number, shape in zip(near.tolist(), projection.apply(self.shapes[near], whole), strict=True):
            inside = None if shape is None else shapely.intersection(shape, whole)
            window = None if inside is None or inside.area == 0 else _pixels_around(scene, inside)
            if window is not None and window.width > 0 and window.height > 0:
                found.append(SplitRegion(window, self.splits[number], shape))
        return found

    def _near(self, boxes: Sequence[Bounds] | None) -> np.ndarray:
        """Return the numbers of the polygons that may lie in boxes."""
        if boxes is None:
            return np.arange(len(self.shapes))
        return np.unique(self._tree.query([shapely.box(*box) for box in boxes])[1])

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)


def _pixels_around(scene: SceneInfo, shape: Any) -> Window:
    """Return the smallest window that contains a shape."""
    x, y = shapely.get_coordinates(shape).T
    columns, rows = ~scene.transform * (x, y)
    left, right = math.floor(columns.min() + _ROUNDING), math.ceil(columns.max() - _ROUNDING)
    top, bottom = math.floor(rows.min() + _ROUNDING), math.ceil(rows.max() - _ROUNDING)
    left, top = max(left, 0), max(top, 0)
    return Window(left, top, min(right, scene.width) - left, min(bottom, scene.height) - top)
