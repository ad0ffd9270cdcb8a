"""Cut one scene and its labels into tile files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.classes import IGNORE_INDEX, ClassTable
from satseg.errors import LabelError, OutputError, one_line
from satseg.raster.bands import StatisticsAccumulator
from satseg.raster.labels import Labels
from satseg.raster.scene import Scene, window_transform
from satseg.tiles.layout import Placement
from satseg.tiles.tileset import pixels_column


@dataclass(frozen=True)
class TileFiles:
    """Write the tiles of one scene below a folder.

    Args:
        folder: Folder of the tile set, with ``images`` and ``labels`` in it.
        scene_name: First part of the tiles' names, unique among the scenes of the set.
        classes: Class table of the labels.
    """

    folder: Path
    scene_name: str
    classes: ClassTable

    def cut(
        self, scene: Scene, labels: Labels, placement: Placement, split: str, statistics: StatisticsAccumulator
    ) -> dict[str, Any] | None:
        """Cut one tile.

        Args:
            scene: Scene to read from.
            labels: Labels on the grid of the scene.
            placement: Where the tile lies.
            split: Its split. Outside of train, pixels that an earlier tile covers are ignored here, so that no score
                counts them twice.
            statistics: Takes the valid pixels of training tiles.

        Returns:
            The tile's row of the index; None, and nothing written, where no pixel is both valid and labelled.
        """
        window = placement.window
        bands, valid = scene.read(window)
        classes = np.where(valid, labels.read(window), np.uint8(IGNORE_INDEX))
        if split != "train":
            rows, columns = placement.counted_before
            classes[:rows] = IGNORE_INDEX
            classes[:, :columns] = IGNORE_INDEX
        pixels = self._count(classes)
        if not any(pixels):
            return None
        if split == "train":
            statistics.add(bands, valid)
        name = f"{self.scene_name}_{int(window.row_off)}_{int(window.col_off)}"
        grid = {
            "crs": scene.info.crs,
            "transform": window_transform(scene.info.transform, window.col_off, window.row_off),
        }
        _write(self.folder / "images" / f"{name}.tif", bands, grid, valid=valid, names=scene.info.bands.names)
        _write(self.folder / "labels" / f"{name}.tif", classes[None], grid | {"nodata": IGNORE_INDEX})
        return {
            "tile": name,
            "image": f"images/{name}.tif",
            "labels": f"labels/{name}.tif",
            "scene": scene.info.path,
            "row": int(window.row_off),
            "col": int(window.col_off),
            "height": int(window.height),
            "width": int(window.width),
            "split": split,
            "valid_share": float(valid.mean()),
            "weight": 1.0,
            **{pixels_column(c.name): n for c, n in zip(self.classes, pixels, strict=True)},
            "geometry": outline(scene, window),
        }

    def _count(self, classes: np.ndarray) -> list[int]:
        counts = np.bincount(classes.ravel(), minlength=256)
        unknown = np.flatnonzero(counts[len(self.classes) : IGNORE_INDEX])
        if len(unknown):
            value = len(self.classes) + int(unknown[0])
            raise LabelError(f"The labels hold the class id {value}; ids end at {len(self.classes) - 1}.")
        return [int(count) for count in counts[: len(self.classes)]]


def labelled_pixels(scene: Scene, labels: Labels, windows: list[Window]) -> Iterator[int]:
    """Count the pixels of each window that are both valid and labelled."""
    for window in windows:
        _, valid = scene.read(window)
        yield int((valid & (labels.read(window) != IGNORE_INDEX)).sum())


def outline(scene: Scene, window: Window) -> Any:
    """Return the four corners of a window as a polygon in the scene's CRS."""
    transform = window_transform(scene.info.transform, window.col_off, window.row_off)
    width, height = int(window.width), int(window.height)
    return shapely.Polygon([transform * corner for corner in [(0, 0), (width, 0), (width, height), (0, height)]])


def _write(
    path: Path,
    bands: np.ndarray,
    grid: Mapping[str, Any],
    *,
    valid: np.ndarray | None = None,
    names: tuple[str, ...] = (),
) -> None:
    count, height, width = bands.shape
    profile = {"count": count, "height": height, "width": width, "dtype": bands.dtype.name, "compress": "deflate"}
    # Said outright, since GDAL takes the fourth of four byte bands for alpha when left alone.
    profile["photometric"] = "rgb" if names == ("red", "green", "blue") and bands.dtype == np.uint8 else "minisblack"
    predictor = 3 if bands.dtype.kind == "f" else 2
    try:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", driver="GTiff", zlevel=1, predictor=predictor, **profile, **grid) as dataset,
        ):
            dataset.write(bands)
            dataset.descriptions = names or dataset.descriptions
            if valid is not None and not valid.all():
                dataset.write_mask(valid)
    except RasterioError as error:
        raise OutputError(f"Cannot write {path}: {one_line(error)}.") from error
