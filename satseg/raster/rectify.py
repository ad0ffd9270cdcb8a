"""Put rasters that are placed on the ground by control points onto a regular grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.transform import GCPTransformer
from rasterio.vrt import WarpedVRT

from satseg.errors import SceneError, one_line


def rectified(dataset: Any) -> Any:
    """Return a view of a raster on a north-up grid in the CRS of its control points, or None where it has a grid.

    It is what ``gdalwarp`` would make of it by default: a polynomial through the points, nearest neighbours, so that
    values stay those of the file. Pixels are computed without approximation, hence alike in every window.

    Args:
        dataset: An open rasterio dataset; it must stay open as long as the view.

    Raises:
        SceneError: It is placed by RPCs, which need a terrain model, or its control points state no CRS or jump in
            longitude.
    """
    if not dataset.transform.is_identity:
        return None
    points, crs = dataset.gcps
    if not points and dataset.rpcs is None:
        return None
    if not points:
        raise SceneError(
            f"{dataset.name} is placed on the ground by rational polynomial coefficients (RPC), not by a pixel grid.",
            hint=f"Rectify it first: gdalwarp -rpc {dataset.name} rectified.tif",
        )
    if not crs:
        raise SceneError(
            f"The {len(points)} ground control points of {dataset.name} state no CRS.",
            hint=f"Rectify it first: gdalwarp -s_srs EPSG:... {dataset.name} rectified.tif",
        )
    longitudes = [point.x for point in points]
    if crs.is_geographic and max(longitudes) - min(longitudes) > 180:
        raise SceneError(
            f"The ground control points of {dataset.name} jump over the antimeridian.",
            hint="State them anew with longitudes that go on past 180 (181 for -179): gdal_translate -gcp ...",
        )
    knows_outside = dataset.nodata is not None or ColorInterp.alpha in dataset.colorinterp
    try:
        return WarpedVRT(dataset, tolerance=0, add_alpha=not knows_outside)
    except RasterioError as error:
        raise SceneError(f"{dataset.name} cannot be rectified: {one_line(error)}.") from error


def describe_rectification(dataset: Any) -> str:
    """Say how :func:`rectified` placed a raster, and how well that fits its control points."""
    points = dataset.gcps[0]
    with GCPTransformer(points) as transformer:
        rows, columns = transformer.rowcol([p.x for p in points], [p.y for p in points], op=float)
    misfit = np.hypot(np.subtract(rows, [p.row for p in points]), np.subtract(columns, [p.col for p in points]))
    return (
        f"rectified by a polynomial through its {len(points)} ground control points, which fits them to "
        f"{np.sqrt((misfit**2).mean()):.2g} px (RMS) and {misfit.max():.2g} px at worst"
    )
