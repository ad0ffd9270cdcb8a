from __future__ import annotations

import numpy as np
import pytest

from satseg.raster.bands import Moments
from satseg.tiles.band_checks import suspected_nodata


def moments(*ranges: tuple[float, float]) -> dict[str, Moments]:
    return {
        f"tile-{i}": Moments(9, np.array([low]), np.array([1.0]), np.array([low]), np.array([high]))
        for i, (low, high) in enumerate(ranges)
    }


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(-9999, 0.7), (0.1, 0.8), (-9999, 0.5)], [(0, -9999, 2)]),
        ([(-7777, 0.7), (0.1, 0.8), (-7777, 0.5)], [(0, -7777, 2)]),  # nobody's custom, but the same in two tiles
        ([(-7777, 0.7), (0.1, 0.8)], []),  # one tile may hold a pixel of noise
        ([(-9999, 0.7), (0.1, 0.8)], [(0, -9999, 1)]),
        ([(-9999, 0.7), (-9999, 0.8)], [(0, -9999, 2)]),  # in every tile
        ([(2, 2**31 - 1), (0, 8)], [(0, 2**31 - 1, 1)]),
        ([(0, 255), (0, 255), (3, 200)], []),  # saturated and black
        ([(0, 65535), (0, 4000), (3, 65535)], [(0, 65535, 2)]),
        ([(-9999, -9999), (-9999, -9999)], []),  # constant, which is told apart
        ([(-32768, 32767), (-30000, 32767)], []),
    ],
)
def test_values_that_look_like_nodata_are_found(ranges: list[tuple[float, float]], expected: list[object]) -> None:
    assert suspected_nodata(moments(*ranges)) == expected


def test_every_band_is_looked_at() -> None:
    assert suspected_nodata({}) == []
    of_two = Moments(9, np.zeros(2), np.ones(2), np.array([0.0, -32768.0]), np.array([9.0, 9.0]))
    assert suspected_nodata({"a": of_two}) == [(1, -32768.0, 1)]
