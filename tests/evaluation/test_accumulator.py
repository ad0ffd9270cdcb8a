"""Covers ``measures``."""

from __future__ import annotations

import math

import numpy as np
import pytest

from satseg.errors import UsageError
from satseg.evaluation.accumulator import Place, ScoreAccumulator
from satseg.evaluation.boundaries import Reach
from satseg.evaluation.measures import Measures
from satseg.evaluation.object_counts import CountedObjects
from satseg.evaluation.objects import match_regions
from satseg.evaluation.settings import MeasureSettings
from satseg.evaluation.tally import empty_tally
from satseg.records import as_json


def place(number: int) -> Place:
    return Place(f"tile {number}", 0, number, 8, 8, (number,))


def counts(right: int, wrong: int) -> np.ndarray:
    return np.array([[right, wrong], [wrong, right]])


def test_the_worst_places_come_worst_first_and_equal_ones_in_order() -> None:
    accumulator = ScoreAccumulator(2, worst=3)
    for number, wrong in enumerate((1, 5, 0, 3, 5, 2)):
        accumulator.add(place(number), counts(8, wrong), empty_tally(2), loss=0.5)
    worst = accumulator.report("ab").worst
    assert [entry.name for entry in worst] == ["tile 1", "tile 4", "tile 3"]
    assert worst[0].mean_iou == pytest.approx(8 / 18)
    assert (worst[0].accuracy, worst[0].pixels, worst[0].loss) == (8 / 13, 26, 0.5)


def test_places_without_a_compared_pixel_are_not_among_the_worst() -> None:
    accumulator = ScoreAccumulator(2, worst=3)
    accumulator.add(place(0), counts(0, 0), empty_tally(2))
    score = accumulator.add(place(1), counts(1, 0), empty_tally(2))
    assert accumulator.report("ab").worst == (score,)


def test_objects_of_a_place_that_is_finished_still_count() -> None:
    accumulator = ScoreAccumulator(2, replicates=30)
    accumulator.add(place(0), counts(8, 1), empty_tally(2))
    labels, classes = np.zeros((2, 1, 20), dtype=np.uint8)
    labels[0, [1, 3, 5, 7]] = classes[0, [1, 9]] = 1
    counted = CountedObjects.of(match_regions(labels, classes, 0))
    accumulator.add_objects((0,), counted)
    found = accumulator.report("ab")
    assert (found.classes[1].object_f1, found.classes[1].label_objects, found.pixels) == (2 / 6, 4, 18)
    assert set(found.classes[1].intervals.values()) == {None}  # one block alone
    accumulator.add_objects((1,), counted)
    assert accumulator.report("ab").classes[1].intervals["object_f1"] == pytest.approx((2 / 6, 2 / 6))


def test_one_place_has_no_interval_and_a_class_of_one_place_neither() -> None:
    accumulator = ScoreAccumulator(2, replicates=30)
    accumulator.add(place(0), counts(8, 1), empty_tally(2))
    found = accumulator.report("ab")
    assert found.intervals["mean_iou"] is None
    assert as_json(found)["intervals"]["global_accuracy"] is None
    accumulator.add(place(1), np.array([[5, 0], [0, 0]]), empty_tally(2))
    found = accumulator.report("ab")
    assert found.intervals["mean_iou"] is not None
    assert found.classes[0].intervals["iou"] is not None
    assert found.classes[1].intervals["iou"] is None


def test_without_replicates_there_are_no_intervals() -> None:
    accumulator = ScoreAccumulator(2)
    accumulator.add(place(0), counts(8, 1), empty_tally(2))
    found = accumulator.report("ab")
    assert found.intervals == found.classes[0].intervals == {}


def test_lengths_are_per_cent_of_the_diagonal_unless_said_otherwise() -> None:
    boundaries = Measures(MeasureSettings(boundary_width="3px")).boundaries(300, None)
    assert boundaries is not None
    assert boundaries.tolerance == Reach(pytest.approx(0.0075 * math.hypot(300, 300)))
    assert boundaries.width == Reach(3)
    assert Measures(MeasureSettings(pixels_only=True)).boundaries(300, None) is None


@pytest.mark.parametrize(
    "values", [{"boundary_tolerance": "3m2"}, {"boundary_width": "0px"}, {"block": 0}, {"bootstrap": -1}, {"worst": -1}]
)
def test_measures_that_make_no_sense_are_refused_before_any_work(values: dict) -> None:
    with pytest.raises(UsageError):
        MeasureSettings(**values)
