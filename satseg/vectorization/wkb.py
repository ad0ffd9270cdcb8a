"""Encode polygons as well-known binary (WKB)."""

from __future__ import annotations

import numpy as np
from numba import njit

_POLYGON, _MULTIPOLYGON = 3, 6


def to_wkb(
    points: np.ndarray, rings: np.ndarray, polygons: np.ndarray, features: np.ndarray, *, multi: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Encode features as polygons or multipolygons.

    Args:
        points: (V, 2) float64 (x, y).
        rings: (R + 1,) first point of each ring, and the end.
        polygons: (P + 1,) first ring of each polygon, and the end.
        features: (F + 1,) first polygon of each feature, and the end.
        multi: (F,) whether each becomes a multipolygon; if not, it must have a single polygon.

    Returns:
        All bytes, uint8, feature by feature; (F + 1,) int64 first byte of each feature, and the end.
    """
    per_ring = 4 + 16 * np.diff(rings)
    ends = np.concatenate([[0], np.cumsum(per_ring)])[polygons] + 9 * np.arange(len(polygons))
    ends = ends[features] + np.concatenate([[0], np.cumsum(9 * multi)])
    data = np.empty(ends[-1], dtype=np.uint8)
    _fill(data, ends, points.view(np.uint8).reshape(-1), rings, polygons, features, multi)
    return data, ends


@njit(cache=True, nogil=True)
def _fill(
    data: np.ndarray,
    ends: np.ndarray,
    points: np.ndarray,
    rings: np.ndarray,
    polygons: np.ndarray,
    features: np.ndarray,
    multi: np.ndarray,
) -> None:
    for feature in range(len(features) - 1):
        at = ends[feature]
        if multi[feature]:
            at = _put_head(data, at, _MULTIPOLYGON, features[feature + 1] - features[feature])
        for polygon in range(features[feature], features[feature + 1]):
            at = _put_head(data, at, _POLYGON, polygons[polygon + 1] - polygons[polygon])
            for ring in range(polygons[polygon], polygons[polygon + 1]):
                at = _put_uint32(data, at, rings[ring + 1] - rings[ring])
                size = 16 * (rings[ring + 1] - rings[ring])
                data[at : at + size] = points[16 * rings[ring] : 16 * rings[ring + 1]]
                at += size


@njit(cache=True, nogil=True)
def _put_head(data: np.ndarray, at: int, kind: int, count: int) -> int:
    data[at] = 1  # little endian
    return _put_uint32(data, _put_uint32(data, at + 1, kind), count)


@njit(cache=True, nogil=True)
def _put_uint32(data: np.ndarray, at: int, value: int) -> int:
    for i in range(4):
        data[at + i] = (value >> (8 * i)) & 255
    return at + 4
