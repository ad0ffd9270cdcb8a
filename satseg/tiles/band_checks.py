"""Find suspicious bands in training tiles: bands of one value, and nodata values that no file declares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from satseg.raster.bands import Moments, constant_bands
from satseg.raster.values import spell
from satseg.tiles.tileset import TileSet, read_moments

_CUSTOMARY = (-9999, -99999, -999999, -32768, -32767, -(2**31), 2**31 - 1, 2**32 - 1, -(2**63))
_APART = 5  # ranges of all other values


def band_warnings(tile_set: TileSet) -> list[str]:
    """Return a sentence for each band of the train tiles that a network cannot use as it is."""
    index = tile_set.index
    train = index[(index["split"] == "train") & (index["weight"] > 0)]["tile"].tolist()
    if not train:
        return []
    names = tile_set.bands.names
    constant = [
        f"In the train tiles, {phrase}: a network learns nothing from this band. Exclude it with `bands`."
        for phrase in constant_bands(tile_set.statistics, names)
    ]
    suspects = suspected_nodata(read_moments(tile_set.path, train))
    return constant + [
        f"In {count} of {len(train)} train tiles, {names[band]} holds {spell(value)}, far from all other values. If "
        f"that is nodata, declare it and tile again: gdal_edit.py -a_nodata {spell(value)} FILE"
        for band, value, count in suspects
    ]


def suspected_nodata(moments: Mapping[str, Moments]) -> list[tuple[int, float, int]]:
    """Find values that look like nodata: the same smallest or largest value in several tiles, far from all others.

    Customary nodata values are reported even from a single tile, or if every tile holds them.

    Args:
        moments: Moments by tile.

    Returns:
        Band (from 0), value, and number of tiles with it.
    """
    if not moments:
        return []
    least = np.array([piece.minimum for piece in moments.values()]).T  # (band, tile)
    most = np.array([piece.maximum for piece in moments.values()]).T
    found = []
    for band, (low, high) in enumerate(zip(least, most, strict=True)):
        found += [
            (band, *suspect) for suspect in (_at_the_end(low, high), _at_the_end(-high, -low, sign=-1)) if suspect
        ]
    return found


def _at_the_end(low: np.ndarray, high: np.ndarray, sign: int = 1) -> tuple[float, int] | None:
    """Return the smallest value (times a sign) and its tiles if it looks like nodata; (T,) extremes of each tile."""
    value = low.min()
    holders = low == value
    customary, count = sign * value in _CUSTOMARY, int(holders.sum())
    if holders.all():
        suspected = customary and bool(high.max() > value)
    else:
        rest_low, rest_high = low[~holders].min(), high[~holders].max()
        suspected = (customary or count > 1) and rest_low - value > _APART * (rest_high - rest_low)
    return (float(sign * value), count) if suspected else None
