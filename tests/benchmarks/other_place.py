"""Make another place of a labelled scene: turned, scaled, blurred and recoloured, with its labels.

Roofs of the other place lie at other angles, are of another size, and are seen by another camera in another light; the
pixels are as large as before, so that nothing is resampled for a network that was trained on the scene. It tells how
much of what a network learnt belongs to its scene alone. The same scene gives the same bytes.

    python tests/benchmarks/other_place.py town_held_out.tif buildings.gpkg other/
"""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject
from scipy.ndimage import gaussian_filter

ANGLE = 25.0  # degrees
SCALE = 1.2
BLUR = 0.8  # pixels
COLOURS = np.array([[0.75, 0.25, 0.0], [0.15, 0.7, 0.15], [0.0, 0.35, 0.45]])  # a row for each new band
GAMMA = 0.7


def make_other_place(scene: Path, labels: Path, folder: Path) -> tuple[Path, Path, Path]:
    """Write the other place of a scene of three bands of uint8, and its labels.

    Args:
        scene: Scene with a CRS.
        labels: Polygons; those that touch the scene are moved with it.
        folder: Folder to write to; it is made if it is missing.

    Returns:
        Scene, labels and the outline of what the scene shows, outside of which it is nodata.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "other_place.tif", folder / "other_place.gpkg", folder / "outline.gpkg"
    with rasterio.open(scene) as source:
        west, south, east, north = source.bounds
        x, y = (west + east) / 2, (south + north) / 2
        moved = Affine.translation(x, y) * Affine.rotation(ANGLE) * Affine.scale(SCALE) * Affine.translation(-x, -y)
        corners = [moved * corner for corner in ((west, south), (west, north), (east, south), (east, north))]
        left, top = min(corner[0] for corner in corners), max(corner[1] for corner in corners)
        size = source.res[0]
        width, height = (
            int((max(corner[axis] for corner in corners) - min(corner[axis] for corner in corners)) / size)
            for axis in (0, 1)
        )
        grid = {"transform": Affine(size, 0, left, 0, -size, top), "crs": source.crs}
        valid = _moved(np.full((1, *source.shape), 255, np.uint8), moved * source.transform, grid, (1, height, width))
        bands = _moved(source.read(), moved * source.transform, grid, (source.count, height, width))
        profile = {"driver": "GTiff", "width": width, "height": height, "count": source.count, "dtype": "uint8", **grid}
        with rasterio.open(paths[0], "w", compress="deflate", **profile) as target:
            target.write(_recoloured(bands))
            target.write_mask(valid[0] == 255)
        found = geopandas.read_file(labels, bbox=tuple(source.bounds)).to_crs(source.crs)
    found.geometry = found.geometry.affine_transform([moved.a, moved.b, moved.d, moved.e, moved.c, moved.f])
    found[["geometry"]].to_file(paths[1])
    inner = shapely.Polygon([corners[0], corners[1], corners[3], corners[2]]).buffer(-2 * size)
    geopandas.GeoDataFrame(geometry=[inner], crs=found.crs).to_file(paths[2])
    return paths


def _moved(array: np.ndarray, transform: Affine, grid: dict[str, object], shape: tuple[int, ...]) -> np.ndarray:
    target = np.zeros(shape, np.uint8)
    reproject(
        array,
        target,
        src_transform=transform,
        src_crs=grid["crs"],
        dst_transform=grid["transform"],
        dst_crs=grid["crs"],
        resampling=Resampling.bilinear,
    )
    return target


def _recoloured(bands: np.ndarray) -> np.ndarray:
    blurred = gaussian_filter(bands.astype(np.float64), (0, BLUR, BLUR))
    mixed = np.tensordot(COLOURS, blurred, axes=1) / 255
    return np.clip(255 * mixed**GAMMA, 0, 255).round().astype(np.uint8)


if __name__ == "__main__":
    print(*make_other_place(*map(Path, sys.argv[1:4])), sep="\n")
