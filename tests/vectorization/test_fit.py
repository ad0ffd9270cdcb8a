"""Fitting straight edges to outlines."""

from __future__ import annotations

import numpy as np

from satseg.vectorization.fit import Edges, fitted


def edges(*of: tuple[int, int, tuple[float, float], float, float]) -> Edges:
    """Return edges of (point, point, normal, offset, weight)."""
    ones, others, normals, offsets, weights = map(np.array, zip(*of, strict=True))
    return Edges(np.column_stack([ones, others]), normals.astype(float), offsets.astype(float), weights.astype(float))


SQUARE = np.array([(0.1, -0.2), (3.9, 0.1), (4.2, 4.1), (-0.1, 3.8)])
WALLS = ((0, 1, (0, 1), 0, 2), (1, 2, (1, 0), 4, 2), (2, 3, (0, 1), 4, 2), (3, 0, (1, 0), 0, 2))


def test_corners_are_where_lines_cross() -> None:
    found = fitted(SQUARE, edges(*WALLS), np.zeros(4, dtype=bool))
    np.testing.assert_allclose(found, [(0, 0), (4, 0), (4, 4), (0, 4)], atol=1e-3)
    np.testing.assert_allclose(np.diff(found[[0, 1]][:, 1]), 0, atol=1e-9)


def test_a_wall_of_several_edges_is_straight_at_the_weighted_mean() -> None:
    points = np.array([(0, 0), (3, 0), (5, 0.5)])
    found = fitted(points, edges((0, 1, (0, 1), 0, 3), (1, 2, (0, 1), 0.6, 1)), np.zeros(3, dtype=bool))
    np.testing.assert_allclose(found[:, 1], 0.15, atol=1e-3)
    np.testing.assert_allclose(found[:, 1], found[0, 1], atol=1e-6)
    np.testing.assert_allclose(found[:, 0], points[:, 0], atol=1e-9)  # nothing else holds them


def test_fixed_points_stay_and_others_follow() -> None:
    fixed = np.array([True, False, False, False])
    found = fitted(SQUARE, edges(*WALLS), fixed)
    assert found[0].tolist() == SQUARE[0].tolist()
    np.testing.assert_allclose([found[1, 1], found[3, 0]], SQUARE[0][::-1], atol=1e-5)
    assert fitted(SQUARE, edges(*WALLS), np.ones(4, dtype=bool)).tolist() == SQUARE.tolist()
