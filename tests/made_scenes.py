"""Small scenes and labels, made as a test needs them."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine

GRID = Affine(0.5, 0, 300_000, 0, -0.5, 3_000_000)


def write_scene(path: Path, bands: np.ndarray, **profile: object) -> Path:
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32645", "transform": GRID} | profile
    with rasterio.open(
        path, "w", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype.name, **options
    ) as dataset:
        dataset.write(bands)
    return path


def write_labels(path: Path, *boxes: tuple[int, int, int, int]) -> Path:
    shapes = [shapely.Polygon([GRID * c for c in [(a, b), (c, b), (c, d), (a, d)]]) for a, b, c, d in boxes]
    path.parent.mkdir(exist_ok=True)
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:32645").to_file(path)
    return path


def write_map(path: Path, like: Path, ids: np.ndarray, **more: object) -> Path:
    """Write class ids (row, col) on the grid of another raster."""
    with rasterio.open(like) as source:
        profile = source.profile | {"count": 1, "dtype": ids.dtype.name, "nodata": 255} | more
    with rasterio.open(path, "w", **profile) as target:
        target.write(ids, 1)
    return path
