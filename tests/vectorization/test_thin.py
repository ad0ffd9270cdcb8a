"""Thinning of rings and arcs."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from satseg.vectorization.arcs import arcs_of
from satseg.vectorization.thin import thinned, thinned_arcs


@pytest.mark.parametrize("seed", range(3))
def test_what_is_dropped_is_near_to_what_is_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 200))
    points = np.column_stack([np.cos(angles), np.sin(angles)]) * rng.uniform(9, 10, (200, 1))
    kept = thinned(points, 0.6)
    assert 3 < len(kept) < 100
    assert shapely.distance(shapely.LinearRing(points[kept]), shapely.points(points)).max() <= 0.6


def test_a_square_has_four_corners_wherever_it_begins() -> None:
    side = np.arange(10.0)
    zero, ten = np.zeros(10), np.full(10, 10.0)
    ring = np.concatenate(
        [np.column_stack(at) for at in ((side, zero), (ten, side), (10 - side, ten), (zero, 10 - side))]
    )
    for shift in range(0, 40, 7):
        kept = np.roll(ring, shift, axis=0)[thinned(np.roll(ring, shift, axis=0), 0.1)]
        assert sorted(map(tuple, kept.tolist())) == [(0, 0), (0, 10), (10, 0), (10, 10)]


def test_arcs_are_thinned_between_their_junctions() -> None:
    one = np.array([(0, 0), (4, 0), (5, 1), (4, 2), (5, 3), (4, 4), (0, 4)])
    other = np.array([(4, 4), (5, 3), (4, 2), (5, 1), (4, 0), (8, 0), (8, 4)])
    points = np.concatenate([one, other])
    _, vertices = np.unique(points, axis=0, return_inverse=True)
    arcs = arcs_of(points.astype(float), vertices.ravel(), np.array([0, 7, 14]), np.arange(3))
    owned = np.repeat(arcs.is_owned, np.diff(arcs.pieces)) & ~arcs.junctions
    for tolerance, inside in ((2.0, 0), (0.2, 3)):
        kept = thinned_arcs(arcs, tolerance) & owned
        assert (kept & (arcs.points[:, 0] > 3) & (arcs.points[:, 0] < 6)).sum() == inside
