"""Write small rasters for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Interleaving

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


def block_spans(path: Path) -> list[tuple[int, int]]:
    """Return where the blocks of a GeoTIFF lie in the file, as (first byte, byte after the last)."""
    with rasterio.open(path) as dataset:
        height, width = dataset.block_shapes[0]
        names = [
            f"{column}_{row}"
            for row in range(-(-dataset.height // height))
            for column in range(-(-dataset.width // width))
        ]
        bands = dataset.indexes if dataset.interleaving == Interleaving.band else [1]
        places = [
            [dataset.get_tag_item(f"BLOCK_{what}_{name}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")]
            for band in bands
            for name in names
        ]
    return [(int(offset), int(offset) + int(size)) for offset, size in places if offset]
