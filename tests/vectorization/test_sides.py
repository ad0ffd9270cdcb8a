"""Sides of rings: where they begin, and on which lines they lie."""

from __future__ import annotations

import numpy as np
import pytest

from satseg.vectorization.sides import NONE, Sides, sides_of


def sides(ring: list[tuple[float, float]], angle: float = 0.0) -> Sides:
    points = np.array(ring, dtype=float)
    return sides_of(points, np.array([0, len(points)]), np.array([angle]))


def turned(ring: list[tuple[float, float]], angle: float) -> list[tuple[float, float]]:
    turn = np.exp(1j * angle)
    return [((complex(*point) * turn).real, (complex(*point) * turn).imag) for point in ring]


L = [(0, 0), (9, 0), (9, 3), (4, 3), (4, 8), (0, 8)]


@pytest.mark.parametrize("shift", range(6))
def test_each_wall_is_a_side_wherever_the_ring_begins(shift: int) -> None:
    found = sides(L[shift:] + L[:shift])
    assert len(found.offsets) == 6
    assert sorted(np.round(found.offsets, 9).tolist()) == [0, 0, 3, 4, 8, 9]
    assert len(set(found.numbers.tolist())) == 6


def test_sides_lie_in_the_main_direction() -> None:
    found = sides(turned(L, 0.3), 0.3)
    np.testing.assert_allclose(np.abs(found.normals @ [np.cos(0.3), np.sin(0.3)]), [0, 1] * 3, atol=1e-9)
    np.testing.assert_allclose(sorted(found.offsets), [0, 0, 3, 4, 8, 9], atol=1e-9)


def test_a_short_side_becomes_one_with_those_beside_it() -> None:
    found = sides([(0, 0), (4, 0), (4, 0.6), (8, 0.6), (8, 5), (0, 5)])
    assert len(found.offsets) == 4
    assert np.isclose(found.offsets, 0.3).sum() == 1


def test_an_uneven_wall_is_a_side_at_its_mean_place() -> None:
    found = sides([(0, 0), (2, 0), (2, 0.2), (6, 0.2), (6, 0), (8, 0), (8, 5), (0, 5)])
    assert len(found.offsets) == 4
    assert np.isclose(found.offsets, 0.1).sum() == 1


def test_what_is_flat_has_no_sides() -> None:
    found = sides([(0, 0), (5, 0.1), (0, 0.2)])
    assert (found.numbers == NONE).all()
    assert len(found.offsets) == 0
