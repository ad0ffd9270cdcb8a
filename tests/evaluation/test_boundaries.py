"""Covers ``blocks``."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from oracles import compared, edge_pixels, near, patchy
from scipy.spatial.distance import cdist

from satseg.errors import UsageError
from satseg.evaluation.blocks import Strip, columns, halo_strips
from satseg.evaluation.boundaries import Boundaries, Reach
from satseg.evaluation.tally import Count, class_scores
from satseg.geo.units import parse_length

PIXEL = Boundaries(Reach(1), Reach(1))


@pytest.mark.parametrize("tolerance", [0.5, 1.0, math.sqrt(2), 2.9])
def test_edges_and_their_matches_are_those_of_a_search_pixel_by_pixel(tolerance: float) -> None:
    labels, classes = patchy((40, 37), seed=3)
    tally = Boundaries(Reach(tolerance), Reach(1)).count(labels, classes, 3)
    labels, classes = compared(labels, classes)
    for number in range(3):
        truth, guess = edge_pixels(labels, number), edge_pixels(classes, number)
        assert tally[number, Count.LABEL_EDGE : Count.MAP_EDGE_HITS + 1].tolist() == [
            len(truth),
            near(truth, guess, tolerance),
            len(guess),
            near(guess, truth, tolerance),
        ]


@pytest.mark.parametrize("width", [1.0, 2.3])
def test_bands_hold_the_pixels_of_a_class_within_the_width_of_another_class(width: float) -> None:
    labels, classes = patchy((30, 33), seed=4)
    tally = Boundaries(Reach(1), Reach(width)).count(labels, classes, 3)
    maps = compared(labels, classes)
    for number in range(3):
        band = []
        for ids in maps:
            inside, outside = np.argwhere(ids == number), np.argwhere((ids != number) & (ids != 255))
            close = inside[cdist(inside, outside).min(axis=1) <= width]
            band.append(set(map(tuple, close.tolist())))
        assert tally[number, Count.BAND_BOTH] == len(band[0] & band[1])
        assert tally[number, Count.BAND_EITHER] == len(band[0] | band[1])


@pytest.mark.parametrize("block", [16, 50, 400])
@pytest.mark.parametrize("heights", [(1,) * 150, (7, 130, 13), (150,)])
def test_strips_and_blocks_count_exactly_as_the_whole(block: int, heights: tuple[int, ...]) -> None:
    labels, classes = patchy((150, 90), seed=5)
    boundaries = Boundaries(Reach(3.3), Reach(2, (0.5, 0.7)))
    tops = np.cumsum((0, *heights)).tolist()
    strips = [Strip(a, labels[a:b], classes[a:b]) for a, b in pairwise(tops)]
    rows, cols = boundaries.halo
    total = np.zeros(1)
    for band in halo_strips(strips, 150, block=block, halo=rows):
        for haloed, core in columns(90, block=block, halo=cols):
            total = total + boundaries.count(band.labels[:, haloed], band.classes[:, haloed], 3, (band.core, core))
    assert np.array_equal(total, boundaries.count(labels, classes, 3))


def test_a_square_shifted_by_one_pixel_by_hand() -> None:
    labels, classes = np.zeros((2, 12, 12), dtype=np.uint8)
    labels[3:7, 3:7] = 1
    classes[3:7, 4:8] = 1
    square = PIXEL.count(labels, classes, 2)[1]
    assert square[Count.LABEL_EDGE : Count.MAP_EDGE_HITS + 1].tolist() == [12, 12, 12, 12]
    exact = Boundaries(Reach(0.9), Reach(1)).count(labels, classes, 2)[1]
    assert exact[Count.LABEL_EDGE_HITS] == exact[Count.MAP_EDGE_HITS] == 6  # the two sides along the shift share 3 each
    assert (square[Count.BAND_BOTH], square[Count.BAND_EITHER]) == (6, 18)


def test_nothing_ends_at_ignored_pixels_nor_at_the_edge_of_the_raster() -> None:
    labels = np.ones((6, 6), dtype=np.uint8)
    classes = labels.copy()
    labels[2:4, 2:4] = 255
    classes[5] = 255
    assert not PIXEL.count(labels, classes, 2).any()


def test_a_boundary_of_the_map_alone_is_false_and_one_of_the_labels_alone_is_missed() -> None:
    plain, split = np.zeros((2, 6, 6), dtype=np.uint8)
    split[:, 3:] = 1
    for labels, classes, missing in ((plain, split, "boundary_recall"), (split, plain, "boundary_precision")):
        scores = class_scores(PIXEL.count(labels, classes, 2))
        assert np.isnan(scores[missing]).all()
        assert (scores["boundary_f1"] == 0).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2px", Reach(2.0)),
        ("0.75%", Reach(0.0075 * 500)),
        (" 1.5 m ", Reach(1.5, (0.25, 0.5))),
    ],
)
def test_distances_are_read_in_pixels_metres_and_per_cent_of_the_diagonal(text: str, expected: Reach) -> None:
    length = parse_length(text, "boundary_tolerance", per_cent=True)
    assert Reach.of(length, shape=(300, 400), gsd=(0.5, 0.25)) == expected


def test_metres_follow_the_size_of_pixels_in_each_direction() -> None:
    mask = np.zeros((21, 21), dtype=bool)
    mask[10, 10] = True
    reach = Reach(1.0, (0.25, 0.1))
    rows, cols = np.nonzero(reach.around(mask))
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (6, 14, 0, 20)
    assert reach.halo == (5, 11)


def test_metres_without_a_known_ground_are_refused() -> None:
    with pytest.raises(UsageError, match="the ground resolution of the raster is unknown"):
        Reach.of(parse_length("1m", "boundary_width"), shape=(10, 10), gsd=None)
