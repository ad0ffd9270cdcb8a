"""How a raster is shown to people: which bands, and between which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window

from satseg.files.names import open_raster

_COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
# Bands that a sensor numbers are those of Sentinel-2 and Landsat 8; in other orders the first three are shown.
_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("b04", "b03", "b02"), ("b4", "b3", "b2"))
_CUT = (2, 98)  # percentiles

SAMPLE = 1024
"""Pixels per side that are read."""

WHOLE = 8 * SAMPLE
"""Pixels per side of a scene without overviews up to which all of it is read."""


@dataclass(frozen=True)
class Display:
    """How a raster is shown.

    Args:
        bands: Numbers from 1 of the bands shown red, green and blue, or of one shown grey.
        ranges: Values of each, scaled as the file states, that are shown darkest and brightest; None for 0..255.
        alpha: Number of the band with the opacity, or None.
        palette: Red, green, blue and opacity in 0..255 by value, for a band with a palette.
    """

    bands: tuple[int, ...]
    ranges: tuple[tuple[float, float], ...] | None = None
    alpha: int | None = None
    palette: Mapping[int, tuple[int, int, int, int]] | None = None


def read_display(name: str) -> Display:
    """Choose bands and values by which a raster is shown, from its overviews or its middle where it is large.

    Bands are those marked or called red, green and blue, else the first three; of one or two bands, the first. Values
    of 8 bits are shown as they are, others between their 2nd and 98th percentile.

    Args:
        name: A file, URL or GDAL name.

    Raises:
        RasterioError: It cannot be opened.
    """
    with open_raster(name) as dataset:
        marks = dataset.colorinterp
        if dataset.count == 1 and marks[0] == ColorInterp.palette and dataset.dtypes[0] == "uint8":
            return Display((1,), palette=dataset.colormap(1))
        alpha = marks.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in marks else None
        bands = _bands(dataset, [number for number in dataset.indexes if number != alpha])
        return Display(bands, None if _is_plain(dataset, bands) else _ranges(dataset, bands), alpha)


def _bands(dataset: Any, among: Sequence[int]) -> tuple[int, ...]:
    marks, names = list(dataset.colorinterp), [(name or "").strip().casefold() for name in dataset.descriptions]
    for wanted, found in ((_COLOURS, marks), *((called, names) for called in _NAMES)):
        if all(part in found for part in wanted):
            return tuple(found.index(part) + 1 for part in wanted)
    return tuple(among[:3]) if len(among) >= 3 else tuple(among[:1])


def _is_plain(dataset: Any, bands: Sequence[int]) -> bool:
    """Tell whether values are 0..255 as the file states them."""
    return all(
        dataset.dtypes[band - 1] == "uint8" and (dataset.scales[band - 1], dataset.offsets[band - 1]) == (1, 0)
        for band in bands
    )


def _ranges(dataset: Any, bands: Sequence[int]) -> tuple[tuple[float, float], ...]:
    return tuple(
        _range(sample, dataset.scales[band - 1], dataset.offsets[band - 1])
        for band, sample in zip(bands, _samples(dataset, bands), strict=True)
    )


def _range(sample: np.ndarray, scale: float, offset: float) -> tuple[float, float]:
    values = sample[np.isfinite(sample)]
    low, high = np.percentile(values, _CUT) if len(values) else (0.0, 1.0)
    ends = sorted((float(low) * scale + offset, float(high) * scale + offset))
    return ends[0], ends[1] if ends[1] > ends[0] else ends[0] + 1.0


def _samples(dataset: Any, bands: Sequence[int]) -> list[np.ndarray]:
    """Return values of each band, without nodata, as float64; none where they cannot be read."""
    window = Window(0, 0, dataset.width, dataset.height)
    if not dataset.overviews(bands[0]) and dataset.width * dataset.height > WHOLE**2:
        height, width = min(dataset.height, SAMPLE), min(dataset.width, SAMPLE)
        window = Window((dataset.width - width) // 2, (dataset.height - height) // 2, width, height)
    shape = (len(bands), min(int(window.height), SAMPLE), min(int(window.width), SAMPLE))
    try:
        read = dataset.read(list(bands), window=window, out_shape=shape, masked=True)
    except RasterioError:
        return [np.empty(0)] * len(bands)
    return [band.compressed().astype(np.float64) for band in read]
