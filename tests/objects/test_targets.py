"""Targets of objects against distances computed pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from satseg.objects.targets import contact_weights, edge_distance, inner_boundary, normalised


def mosaic(seed: int, shape: tuple[int, int] = (15, 18)) -> np.ndarray:
    """Return ids of cells around random points, some of them empty; ids are far apart."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (7, 2)) * shape
    rows, columns = np.indices(shape)
    nearest = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).argmin(axis=-1)
    return np.array([0, 0, 4, 70_000, 5, 6, 2**31 - 1], dtype=np.int32)[nearest]


def to_nearest(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the nearest one of a mask, between centres."""
    places = np.argwhere(mask)
    rows, columns = np.indices(mask.shape)
    return np.hypot(rows[..., None] - places[:, 0], columns[..., None] - places[:, 1]).min(axis=-1)


@pytest.mark.parametrize("seed", range(4))
def test_distances_are_to_the_nearest_pixel_of_another_object_less_half_a_pixel(seed: int) -> None:
    ids = np.pad(mosaic(seed), 1)
    expected = np.zeros(ids.shape)
    for number in np.unique(ids[ids > 0]):
        expected[ids == number] = to_nearest(ids != number)[ids == number] - 0.5
    found = edge_distance(ids[1:-1, 1:-1])  # beyond the array there is no object
    np.testing.assert_allclose(found, expected[1:-1, 1:-1], atol=1e-5)
    assert found.dtype == np.float32


def test_shares_reach_one_at_the_core_of_each_object_whatever_its_size() -> None:
    ids = np.zeros((40, 60), dtype=np.int32)
    ids[2:38, 2:38], ids[2:8, 38:44], ids[20, 50] = 1, 2, 3
    shares = normalised(edge_distance(ids), ids)
    assert [shares[ids == number].max() for number in (1, 2, 3)] == [1, 1, 1]
    assert shares[ids == 0].max() == 0
    assert shares[2, 2:38].tolist() == pytest.approx([0.5 / 17.5] * 36)
    assert shares[ids > 0].min() > 0


def test_the_inner_boundary_is_the_rim_of_each_object_also_where_two_touch() -> None:
    ids = np.zeros((9, 12), dtype=np.int32)
    ids[1:8, 1:6], ids[1:8, 6:11] = 1, 2
    distance = edge_distance(ids)
    rim = np.zeros(ids.shape, dtype=bool)
    rim[1:8, 1:11] = True
    rim[2:7, 2:5] = rim[2:7, 7:10] = False
    assert inner_boundary(distance, 1).tolist() == rim.tolist()
    rim[2:7, 2:5] = rim[2:7, 7:10] = True
    rim[3:6, 3] = rim[3:6, 8] = False
    assert inner_boundary(distance, 2).tolist() == rim.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_those_of_the_formula(seed: int) -> None:
    ids = mosaic(seed)
    numbers = np.unique(ids[ids > 0])
    first, second = np.sort([to_nearest(ids == number) for number in numbers], axis=0)[:2]
    expected = 1 + 7 * np.exp(-((first + second) ** 2) / (2 * 3**2))
    np.testing.assert_allclose(contact_weights(ids, most=7, width=3), expected, atol=0.01)


def test_weights_are_one_where_there_are_no_two_objects() -> None:
    ids = np.zeros((30, 30), dtype=np.int32)
    assert (contact_weights(ids) == 1).all()
    ids[10:20, 10:20] = 3
    assert (contact_weights(ids) == 1).all()
    ids[10:20, 20:25] = 4
    weights = contact_weights(ids)
    assert weights[15, 19] == weights[15, 20] == pytest.approx(1 + 10 * np.exp(-1 / 50))
    assert weights[15, 10] < weights[15, 15] < weights[15, 19]
