"""Targets of objects against distances computed pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from satseg.objects.targets import (
    Plane,
    contact_weights,
    edge_distance,
    inner_boundary,
    normalised,
    object_targets,
    paste,
    signed_ids,
)


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


def test_an_object_that_is_cut_goes_on_beyond_the_edge_and_others_end_there() -> None:
    ids = np.zeros((12, 20), dtype=np.int32)
    ids[0:8, 3:10], ids[0:5, 12:18], ids[9:12, 0:4] = 1, 2, 3
    cut = (ids == 1) | (ids == 3)
    wide = np.pad(ids, 20)
    wide[0:28, 23:30], wide[29:, 0:24] = 1, 3  # what the array shows a part of
    expected = np.where(cut, edge_distance(wide)[20:-20, 20:-20], edge_distance(ids))
    assert edge_distance(ids, cut).tolist() == expected.tolist()
    assert edge_distance(ids, cut)[0, 6] == 3.5
    assert edge_distance(ids, cut)[0, 14] == 0.5


def test_planes_hold_boundary_distance_and_weight_in_8_bits() -> None:
    ids = np.zeros((30, 40), dtype=np.int32)
    ids[5:25, 5:20], ids[5:25, 20:36], ids[27:30, 10:20] = 7, 9, 11
    planes = object_targets(ids, ids == 11)
    assert planes.dtype == np.uint8
    assert np.unique(planes[Plane.BOUNDARY]).tolist() == [0, 254]
    assert planes[Plane.BOUNDARY][15, 3:9].tolist() == [0, 0, 254, 254, 0, 0]
    assert planes[Plane.BOUNDARY][29, 12:18].tolist() == [0] * 6  # the tile's edge is no boundary of what it cuts
    assert (planes[Plane.DISTANCE] == 255).tolist() == (ids == 11).tolist()
    assert [planes[Plane.DISTANCE][ids == number].max() for number in (7, 9)] == [254, 254]
    assert (planes[Plane.DISTANCE][ids == 0] == 0).all()
    assert planes[Plane.WEIGHT].max() == planes[Plane.WEIGHT][15, 19] == planes[Plane.WEIGHT][15, 20] > 240
    assert planes[Plane.WEIGHT][0, 0] == 0


def test_a_tile_without_objects_has_empty_planes() -> None:
    assert not object_targets(np.zeros((8, 9), dtype=np.int32), np.zeros((8, 9), dtype=bool)).any()


def test_ids_are_numbered_in_their_tile_and_negative_where_objects_are_cut() -> None:
    ids = np.array([[70000, 70000, 0], [11, 0, 5]])
    assert signed_ids(ids, ids == 11).tolist() == [[[3, 3, 0], [-2, 0, 1]]]
    assert signed_ids(np.full((1, 2), 9), np.zeros((1, 2), bool)).tolist() == [[[1, 1]]]


def test_ids_of_a_pasted_rectangle_stay_apart_and_what_it_may_have_cut_is_marked() -> None:
    ids, others = np.zeros((2, 1, 12, 12), dtype=np.int32)
    ids[0, 0:3, 0:3], ids[0, 4:8, 0:5] = 1, 2  # one far from the rectangle, one under it
    others[0, 5:7, 5:7], others[0, 2:10, 9:12] = 1, -2  # one within it, one across its edge
    mixed = paste(ids, others, (slice(3, 9), slice(3, 10)))[0]
    assert mixed[1, 1] == 1
    assert mixed[5, 0] == 2
    assert mixed[5, 2] == -2  # beside the rectangle
    assert (mixed[5:7, 5:7] == 3).all()
    assert mixed[5, 9] == -4
    assert mixed[5, 11] == 0
    assert not (ids < 0).any()


def test_maps_are_pasted_pixel_by_pixel() -> None:
    one, other = np.full((3, 6, 6), 7, dtype=np.uint8), np.full((3, 6, 6), 9, dtype=np.uint8)
    mixed = paste(one, other, (slice(1, 3), slice(0, 2)))
    assert (mixed[:, 1:3, :2] == 9).all()
    assert (mixed == 7).sum() == 3 * 32
