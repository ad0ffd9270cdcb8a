"""Write small rasters for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

GRID = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)


def write_scene(path: Path, bands: np.ndarray, *, names: tuple[str, ...] = (), **profile: object) -> Path:
    """Write (band, row, col) values as a GeoTIFF with pixels of 2 m in EPSG:32632, or what ``profile`` says."""
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32632", "transform": GRID} | profile
    with rasterio.open(
        path, "w", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype.name, **options
    ) as dataset:
        dataset.write(bands)
        for number, name in enumerate(names, start=1):
            dataset.set_band_description(number, name)
    return path


def numbered(bands: int, height: int, width: int, dtype: str = "uint16") -> np.ndarray:
    """Return (band, row, col) values that are all different as far as the dtype goes."""
    return np.arange(bands * height * width).astype(dtype).reshape(bands, height, width)
