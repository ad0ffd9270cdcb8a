"""Main directions of polygons, on their own and in a group."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from satseg.vectorization.arcs import Arcs, arcs_of
from satseg.vectorization.directions import main_directions


def arcs(*shapes: shapely.Polygon) -> Arcs:
    points = np.concatenate([shapely.get_coordinates(shape)[:-1] for shape in shapes])
    _, vertices = np.unique(np.round(points, 6), axis=0, return_inverse=True)
    ends = np.cumsum([0, *(shapely.get_num_coordinates(shape) - 1 for shape in shapes)])
    return arcs_of(points, vertices.ravel(), ends, np.arange(len(shapes) + 1))


def modulo(angles: np.ndarray) -> np.ndarray:
    return (np.degrees(angles) + 45) % 90 - 45


@pytest.mark.parametrize("angle", [-40, -10, 0, 5, 30])
def test_a_rectangle_has_its_own_direction(angle: float) -> None:
    box = shapely.affinity.rotate(shapely.box(0, 0, 9, 4), angle, origin=(0, 0))
    np.testing.assert_allclose(modulo(main_directions(arcs(box), 1)), [angle], atol=1e-6)


def test_a_bevelled_corner_does_not_turn_a_house() -> None:
    house = shapely.Polygon([(0, 0), (9, 0), (9, 5), (8, 6), (0, 6)])
    assert abs(modulo(main_directions(arcs(house), 1))[0]) < 3


def wedge(turn: float, size: float) -> tuple[shapely.Polygon, shapely.Polygon]:
    """Return two squares that share two corners, the second of which is turned."""
    square = shapely.box(0, 0, size, size)
    other = shapely.affinity.rotate(shapely.box(size, 0, 2 * size, size), turn, origin=(size, 0))
    corners = shapely.get_coordinates(other)[:-1]
    corners[np.argmin(np.hypot(*(corners - [size, size]).T))] = size, size
    return square, shapely.Polygon(corners)


def test_small_houses_that_touch_have_one_direction_and_large_ones_their_own() -> None:
    one, other = main_directions(arcs(*wedge(4, 3)), 2)
    assert one == other
    one, other = main_directions(arcs(*wedge(8, 30)), 2)
    assert abs(modulo(one - other)) > 4


def test_houses_that_do_not_touch_have_their_own_direction() -> None:
    other = shapely.affinity.rotate(shapely.box(20, 0, 23, 3), 2, origin=(20, 0))
    angles = modulo(main_directions(arcs(shapely.box(0, 0, 3, 3), other), 2))
    np.testing.assert_allclose(angles, [0, 2], atol=1e-6)
