"""Corners of scenes where nothing was recorded although no nodata value says so."""

from __future__ import annotations

from itertools import product

import numpy as np
from rasterio.windows import Window

from satseg.errors import ReadError
from satseg.raster.aligned import ResampledScene
from satseg.raster.scene import Scene
from satseg.records import BandSpec

_SIDE = 64  # px: roofs and clouds that are white to the last digit in all bands are rarely that large


def describe_undeclared_void(scene: Scene | ResampledScene) -> str | None:
    """Find corners that are black or white throughout, as mosaics and rotated images have them, and yet valid.

    Scenes of one band are not judged, since water, shadow and nothing may be 0 there. Extra rasters have no say.

    Args:
        scene: An open scene.

    Returns:
        A phrase with its corners, value and what to do; None if no corner looks like that, or one cannot be read.
    """
    info = scene.info
    dtype = np.dtype(info.bands.dtype)
    own = len(info.bands.own)
    if own < 2 or min(info.height, info.width) < 2 * _SIDE:
        return None
    extremes = {0: "black", np.iinfo(dtype).max: "white"} if dtype.kind in "iu" else {0: "black"}
    found: dict[int, list[str]] = {}
    for (row, top), (column, left) in product(
        (("upper", 0), ("lower", info.height - _SIDE)), (("left", 0), ("right", info.width - _SIDE))
    ):
        try:
            bands, valid = scene.read(Window(left, top, _SIDE, _SIDE))
        except ReadError:  # raised again where its pixels are needed
            return None
        bands = bands[:own]
        value = bands.flat[0]
        if valid.all() and value in extremes and (bands == value).all():
            found.setdefault(int(value), []).append(f"{row} {column}")
    if not found:
        return None
    value, corners = max(found.items(), key=lambda entry: len(entry[1]))
    which = f"{' and '.join(corners)} corner{'s' * (len(corners) > 1)}"
    return (
        f"is {extremes[value]} ({value} in all bands) in its {which}, and does not say that nothing was recorded "
        f"there: it is taken for ground. This marks it: {_remedy(info.bands, value)}"
    )


def _remedy(bands: BandSpec, value: int) -> str:
    """Return the command that marks a void: from the edge inwards where GDAL can, which is for colours of 8 bits."""
    if bands.dtype == "uint8" and len(bands) == 3:
        return f"nearblack {'-white ' if value else ''}-setalpha -o marked.tif FILE"
    return f"gdal_edit.py -a_nodata {value} FILE"
