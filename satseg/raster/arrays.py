"""Write arrays to temporary rasters, which every thread and process can open."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from satseg.arguments import shown
from satseg.errors import OutputError, UsageError, one_line
from satseg.files.gdal import Environment

_NARROW = 32  # px; an array with fewer columns, and more bands than columns, has its bands last
_DTYPES = {"bool": "uint8", "float16": "float32"}


class ArrayFile:
    """A temporary GeoTIFF, deleted when it is garbage-collected or Python exits.

    Args:
        stem: Name of the file without suffix.
    """

    def __init__(self, stem: str) -> None:
        folder = tempfile.mkdtemp(prefix="satseg-")
        self.path = str(Path(folder) / f"{stem}.tif")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as None: other processes open the file, but only this one deletes it."""
        return type(None), ()


def write_array(
    array: Any,
    *,
    transform: Affine | None,
    crs: Any,
    nodata: float | None,
    names: Sequence[str] | None,
    stem: str,
) -> ArrayFile:
    """Write an array to a temporary GeoTIFF.

    Args:
        array: (bands, H, W), or (H, W) for one band, of any real type. Pixels masked in any band of a masked array
            become nodata if ``nodata`` is given, else invalid.
        transform: Pixel (column, row) to CRS coordinates (x, y); None without a CRS.
        crs: CRS of rasterio or pyproj, ``EPSG:...``, WKT, or None.
        nodata: Nodata value, or None.
        names: Name of each band, or None.
        stem: Name of the file without suffix.

    Raises:
        UsageError: The array has another shape or type, or its bands last; the transform or the CRS is invalid; or the
            type of the array cannot hold ``nodata``.
        OutputError: The folder for temporary files is not writable.
    """
    pixels = _bands_first(array)
    if names is not None and len(names) != len(pixels):
        raise UsageError(f"`names` has {len(names)} names for {len(pixels)} bands.")
    profile = {
        "driver": "GTiff",
        "count": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": _DTYPES.get(pixels.dtype.name, pixels.dtype.name),
        "transform": _checked_transform(transform, crs),
        "crs": _parse_crs(crs),
        "nodata": nodata,
        "tiled": True,
        "bigtiff": "if_safer",
    }
    mask = np.ma.getmaskarray(pixels) if np.ma.is_masked(pixels) else None
    if mask is not None and nodata is not None:
        pixels = pixels.filled(nodata)
    try:
        file = ArrayFile(stem)
        with Environment(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(file.path, "w", **profile) as out:
            out.write(np.asarray(pixels).astype(profile["dtype"], copy=False))
            for number, name in enumerate(names or (), start=1):
                out.set_band_description(number, name)
            if mask is not None and nodata is None:
                out.write_mask(~mask.any(axis=0))
    except (ValueError, OverflowError) as error:  # a nodata value that the type cannot hold
        raise UsageError(f"`nodata={nodata}` is not a value of {profile['dtype']}.") from error
    except (OSError, RasterioError) as error:
        raise OutputError(
            f"The array cannot be written to the folder for temporary files: {one_line(error)}.",
            hint="Set TMPDIR to another folder.",
        ) from error
    return file


def _bands_first(array: Any) -> Any:
    """Return an array as (bands, H, W).

    Raises:
        UsageError: It has another shape or type, or its bands last.
    """
    pixels = array if isinstance(array, np.ndarray) else np.asarray(array)
    if pixels.dtype.kind not in "biuf" or pixels.dtype.itemsize > 8:
        raise UsageError(f"`array` is {shown(pixels)}; a scene holds real numbers of at most 64 bits.")
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim != 3 or pixels.size == 0:
        raise UsageError(f"`array` is {shown(pixels)}, not (bands, height, width) or (height, width).")
    bands, _, columns = pixels.shape
    if columns < min(_NARROW, bands):
        raise UsageError(
            f"`array` is {shown(pixels)}, that is {bands} bands of {columns} columns: its bands seem to be last.",
            hint="Put bands first: array.transpose(2, 0, 1)",
        )
    return pixels


def _checked_transform(transform: Any, crs: object) -> Affine | None:
    if transform is None and crs is not None:
        raise UsageError(
            "`crs` needs `transform` as well, which gives the position of the array.",
            hint="Pass transform=rasterio.transform.from_origin(west, north, width, height), the last two of a pixel.",
        )
    if transform is not None and not isinstance(transform, Affine):
        raise UsageError(
            f"`transform` is {shown(transform)}, not an affine.Affine.",
            hint="Convert GDAL's six numbers: affine.Affine.from_gdal(*geotransform)",
        )
    return transform


def _parse_crs(crs: Any) -> CRS | None:
    if crs is None:
        return None
    try:
        with Environment():  # else GDAL prints to stderr
            return CRS.from_user_input(crs)
    except (CRSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"`crs` is {shown(crs)}, which is not a CRS: {one_line(error)}.") from error
