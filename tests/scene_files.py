"""Write small rasters for tests."""

from __future__ import annotations

import math
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


def write_mosaic(path: Path, sources: list[tuple[str, Path]], *, snap: bool = True) -> Path:
    """Write a VRT of files with nodata 0 in one CRS, the later ones on top, as ``gdalbuildvrt`` would.

    Args:
        path: File to write.
        sources: Name by which the VRT finds each file, and the file.
        snap: Whether files are moved to whole pixels of the first one's grid.
    """
    datasets = [rasterio.open(file) for _, file in sources]
    first = datasets[0]
    corners = [~first.transform * (d.transform.c, d.transform.f) for d in datasets]
    if snap:
        corners = [(round(x), round(y)) for x, y in corners]
    left, top = min(math.floor(x) for x, _ in corners), min(math.floor(y) for _, y in corners)
    width = max(math.ceil(x + d.width) for (x, _), d in zip(corners, datasets, strict=True)) - left
    height = max(math.ceil(y + d.height) for (_, y), d in zip(corners, datasets, strict=True)) - top
    bands = []
    for band, dtype in zip(first.indexes, first.dtypes, strict=True):
        parts = [
            f'<ComplexSource><SourceFilename relativeToVRT="0">{name}</SourceFilename><SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{d.width}" ySize="{d.height}"/>'
            f'<DstRect xOff="{x - left}" yOff="{y - top}" xSize="{d.width}" ySize="{d.height}"/>'
            "<NODATA>0</NODATA></ComplexSource>"
            for (name, _), d, (x, y) in zip(sources, datasets, corners, strict=True)
        ]
        kind = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}[dtype]
        bands.append(f'<VRTRasterBand dataType="{kind}" band="{band}"><NoDataValue>0</NoDataValue>{"".join(parts)}')
    origin = first.transform * Affine.translation(left, top)
    path.write_text(
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{first.crs.to_wkt()}</SRS>'
        f"<GeoTransform>{', '.join(map(repr, origin.to_gdal()))}</GeoTransform>"
        f"{'</VRTRasterBand>'.join(bands)}</VRTRasterBand></VRTDataset>"
    )
    for dataset in datasets:
        dataset.close()
    return path
