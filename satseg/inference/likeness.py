"""Notice scenes that look nothing like the training data, before anybody trusts a map of them."""

from __future__ import annotations

import numpy as np
from rasterio.windows import Window

from satseg.raster.bands import StatisticsAccumulator
from satseg.raster.scene import Scene
from satseg.records import BandStatistics

_SIDE = 256
_PLACES = 4
_FAR_MEAN = 2.0  # training standard deviations
_FAR_SPREAD = 4.0  # times the training standard deviation, or a quarter of it


def unlike_training(scene: Scene, statistics: BandStatistics) -> list[str]:
    """Compare samples of a scene with the training statistics, band by band.

    Up to 16 windows of 256 px on a regular grid are read: a megapixel of any scene, however large.

    Args:
        scene: Scene whose bands fit the statistics.
        statistics: Of the training tiles.

    Returns:
        A phrase with numbers for each band whose mean lies more than two training standard deviations off, or whose
        spread is over four times larger or smaller; empty where all is alike or nothing is valid.
    """
    sampled = _sample(scene)
    if sampled is None:
        return []
    phrases = []
    for i, name in enumerate(scene.info.bands.names):
        mean, std = sampled.mean[i], sampled.std[i]
        trained_mean, trained_std = statistics.mean[i], statistics.std[i]
        shift = abs(mean - trained_mean) / max(trained_std, np.finfo(float).tiny)
        spread = std / max(trained_std, np.finfo(float).tiny)
        if shift > _FAR_MEAN or not 1 / _FAR_SPREAD <= spread <= _FAR_SPREAD:
            phrases.append(f"{name} {mean:.4g} ± {std:.4g} here, {trained_mean:.4g} ± {trained_std:.4g} in training")
    return phrases


def _sample(scene: Scene) -> BandStatistics | None:
    accumulator = StatisticsAccumulator(len(scene.info.bands))
    found = False
    height, width = min(_SIDE, scene.info.height), min(_SIDE, scene.info.width)
    for top in _spread(scene.info.height - height):
        for left in _spread(scene.info.width - width):
            bands, valid = scene.read(Window(left, top, width, height))
            accumulator.add(bands, valid)
            found |= bool(valid.any())
    return accumulator.finish() if found else None


def _spread(room: int) -> list[int]:
    """Return up to four offsets from 0 to ``room``, evenly spread and all different."""
    return sorted({round(room * i / (_PLACES - 1)) for i in range(_PLACES)})
