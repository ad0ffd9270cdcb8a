"""Rectify rasters that are georeferenced by ground control points."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.transform import GCPTransformer
from rasterio.vrt import WarpedVRT

from satseg.errors import SceneError, one_line


def rectified(dataset: Any) -> Any:
    """Return a view of a raster on a north-up grid in the CRS of its control points, or None if it has a geotransform.

    The result is that of ``gdalwarp`` with its defaults: a polynomial fitted to the points, and nearest-neighbour
    resampling. It is computed without approximation, so pixels do not depend on the window.

    Args:
        dataset: An open rasterio dataset, which must stay open as long as the view.

    Raises:
        SceneError: It is georeferenced by RPCs, which need a terrain model; or its control points have no CRS, or cross
            the antimeridian.
    """
    if not dataset.transform.is_identity:
        return None
    points, crs = dataset.gcps
    if not points and dataset.rpcs is None:
        return None
    if not points:
        raise SceneError(
            f"{dataset.name} is georeferenced by rational polynomial coefficients (RPC) and has no pixel grid.",
            hint=f"Rectify it first: gdalwarp -rpc {dataset.name} rectified.tif",
        )
    if not crs:
        raise SceneError(
            f"The {len(points)} ground control points of {dataset.name} have no CRS.",
            hint=f"Rectify it first: gdalwarp -s_srs EPSG:... {dataset.name} rectified.tif",
        )
    longitudes = [point.x for point in points]
    if crs.is_geographic and max(longitudes) - min(longitudes) > 180:
        raise SceneError(
            f"The ground control points of {dataset.name} cross the antimeridian.",
            hint="Rewrite them with longitudes that continue past 180 (181 for -179): gdal_translate -gcp ...",
        )
    knows_outside = dataset.nodata is not None or ColorInterp.alpha in dataset.colorinterp
    try:
        return WarpedVRT(dataset, tolerance=0, add_alpha=not knows_outside)
    except RasterioError as error:
        raise SceneError(f"{dataset.name} cannot be rectified: {one_line(error)}.") from error


def describe_rectification(dataset: Any) -> str:
    """Describe how :func:`rectified` georeferenced a raster, with the residuals of its control points."""
    points = dataset.gcps[0]
    with GCPTransformer(points) as transformer:
        rows, columns = transformer.rowcol([p.x for p in points], [p.y for p in points], op=float)
    misfit = np.hypot(np.subtract(rows, [p.row for p in points]), np.subtract(columns, [p.col for p in points]))
    return (
        f"rectified by a polynomial fitted to its {len(points)} ground control points, with residuals of "
        f"{np.sqrt((misfit**2).mean()):.2g} px (RMS) and {misfit.max():.2g} px (maximum)"
    )
