from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from affine import Affine
from oracles import count_objects, number_of_objects, patchy
from rasterio.windows import Window

from satseg.evaluation.accumulator import ScoreAccumulator
from satseg.evaluation.boundaries import Boundaries, Reach
from satseg.evaluation.confusion import ConfusionMatrix
from satseg.evaluation.maps import MapComparison, beside_labels, telling
from satseg.evaluation.object_sides import ConnectedRegions
from satseg.evaluation.objects import ObjectMatcher
from satseg.evaluation.tally import Count
from satseg.records import BandSpec, ProgressEvent, Rows, SceneInfo


class ArrayLabels:
    """Labels in memory."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def read(self, window: Window) -> np.ndarray:
        rows, columns = window.toslices()
        return self.ids[rows, columns]

    def implied(self, window: Window, classes: np.ndarray) -> np.ndarray:
        """As a class raster, they say all that they hold."""
        return np.zeros(classes.shape, dtype=bool)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def ids() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (50, 40)).astype(np.uint8)


def grid_of(ids: np.ndarray) -> SceneInfo:
    height, width = ids.shape
    spec = BandSpec(("class",), "uint8", (1,), (0,))
    return SceneInfo("map", width, height, spec, None, False, None, Affine.identity(), None)


def compare(rows: Iterable[Rows], labels: np.ndarray, block: int = 16) -> ScoreAccumulator:
    grid = grid_of(labels)
    accumulator = ScoreAccumulator(3, replicates=20, worst=3)
    boundaries = Boundaries(Reach(2.5), Reach(1.5))
    matcher = ObjectMatcher(ConnectedRegions(0), ConnectedRegions(0))
    comparison = MapComparison(grid, 0, block, 3, boundaries, matcher)
    comparison.run(beside_labels(rows, ArrayLabels(labels)), accumulator)  # type: ignore[arg-type]
    return accumulator


@pytest.mark.parametrize("block", [16, 23, 1000])
def test_strips_of_any_height_count_as_the_whole(block: int) -> None:
    labels, classes = patchy((150, 60), seed=1, size=1.5)
    expected = ConfusionMatrix(3)
    expected.add(labels, classes)
    tally = Boundaries(Reach(2.5), Reach(1.5)).count(labels, classes, 3)[:, : Count.BF_SUM]
    reports = []
    for height in (1, 7, 150):
        rows = [Rows(top, classes[top : top + height]) for top in range(0, 150, height)]
        accumulator = compare(rows, labels, block)
        assert np.array_equal(accumulator.counts, expected.counts)
        assert np.array_equal(accumulator.tally[:, Count.LABEL_EDGE : Count.BF_SUM], tally[:, Count.LABEL_EDGE :])
        assert number_of_objects(accumulator.objects, 3) == count_objects(labels, classes, 0, 3).tolist()
        reports.append(accumulator.report("abc"))
    assert reports[0] == reports[1] == reports[2]


def test_blocks_are_places_of_their_own(ids: np.ndarray) -> None:
    labels = ids.copy()
    labels[16:32, 32:] = (labels[16:32, 32:] + 1) % 3  # one block is wrong everywhere
    labels[32:48, :16] = 255
    labels[0, 0] = 2 - labels[0, 0] // 2
    report = compare([Rows(0, ids)], labels).report("abc")
    worst = report.worst[0]
    assert (worst.name, worst.row, worst.col, worst.height, worst.width) == ("map at row 16, column 32", 16, 32, 16, 8)
    assert (worst.accuracy, worst.mean_iou, worst.pixels) == (0, 0, 16 * 8)
    assert (report.worst[1].row, report.worst[1].col) == (0, 0)
    assert len(report.worst) == 3


def test_progress_counts_pixels(ids: np.ndarray) -> None:
    events: list[ProgressEvent] = []
    rows = [Rows(top, ids[top : top + 20]) for top in (0, 20, 40)]
    assert list(telling(rows, grid_of(ids), events.append)) == rows
    assert [(event.done, event.total, event.unit) for event in events] == [
        (800, 2000, "px"),
        (1600, 2000, "px"),
        (2000, 2000, "px"),
    ]
