"""Detect scenes whose values differ strongly from those of the training scenes (domain shift)."""

from __future__ import annotations

import numpy as np
from rasterio.windows import Window

from satseg.raster.bands import Moments, merge_moments
from satseg.raster.scene import Scene
from satseg.raster.values import ValueRange
from satseg.records import BandStatistics

_SIDE = 256
_FEWEST_ROWS = 16
_PLACES = 4
LARGE_BLOCK = 16 * 2**20  # bytes; each sample decodes one
_OVERVIEW_SIDE = 2048
_FAR_MEAN = 2.0  # training standard deviations
_FAR_SPREAD = 4.0  # times the training standard deviation, or a quarter of it


def describe_domain_shift(scene: Scene, statistics: BandStatistics) -> list[str]:
    """Compare samples of a scene with the training statistics, band by band.

    Of a scene on disk, up to 16 blocks on a regular grid are read, 256 px of each. Of a remote one, an overview is
    read, so that no block is fetched twice for a map of it; without overviews it is not compared.

    Args:
        scene: Scene whose bands fit the statistics.
        statistics: Of the training tiles, in raw values of the scene.

    Returns:
        A phrase with numbers for each band whose mean is more than two training standard deviations off, or whose
        spread is over four times larger or smaller; empty where all bands are similar or no pixel is valid.
    """
    values = ValueRange.of(statistics)  # others become nodata, with a warning of their own
    pieces = _overview(scene, values) if scene.remote else _sample(scene, values)
    if not pieces:
        return []
    here = merge_moments(pieces)
    # Overviews average pixels, and with them noise: their spread may well be smaller.
    least = 0.0 if scene.remote else 1 / _FAR_SPREAD
    phrases = []
    for i, name in enumerate(scene.info.bands.names):
        mean, std = here.mean[i], here.std[i]
        trained_mean, trained_std = statistics.mean[i], statistics.std[i]
        unit = max(trained_std, np.finfo(float).tiny)
        if abs(mean - trained_mean) / unit > _FAR_MEAN or not least <= std / unit <= _FAR_SPREAD:
            phrases.append(f"{name} {mean:.4g} ± {std:.4g} here, {trained_mean:.4g} ± {trained_std:.4g} in training")
    return phrases


def _overview(scene: Scene, values: ValueRange) -> list[Moments]:
    found = scene.read_overview(_OVERVIEW_SIDE)
    piece = None if found is None else _moments(*found, values)
    return [] if piece is None else [piece]


def _sample(scene: Scene, values: ValueRange) -> list[Moments]:
    info = scene.info
    block = min(scene.block_shape[0], info.height), min(scene.block_shape[1], info.width)
    places = _PLACES if block[0] * block[1] * np.dtype(info.bands.dtype).itemsize <= LARGE_BLOCK else 1
    height, width = min(max(block[0], _FEWEST_ROWS), _SIDE, info.height), min(block[1], _SIDE, info.width)
    pieces = []
    for top in _spread(info.height - height, block[0], places):
        for left in _spread(info.width - width, width if block[1] == info.width else block[1], places):
            pieces.append(_moments(*scene.read(Window(left, top, width, height)), values))
    return [piece for piece in pieces if piece is not None]


def _moments(bands: np.ndarray, valid: np.ndarray, values: ValueRange) -> Moments | None:
    return Moments.of(bands, values.measured(bands, valid))


def _spread(room: int, step: int, places: int) -> list[int]:
    """Return up to ``places`` multiples of ``step`` from 0 to ``room``, about evenly spread and all different."""
    if places == 1:
        return [room // 2 // step * step]
    return sorted({round(room * i / (places - 1)) // step * step for i in range(places)})
