from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from oracles import count_objects, patchy
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.evaluation import maps
from satseg.evaluation.assessment import Assessment
from satseg.evaluation.boundaries import Boundaries, Reach
from satseg.evaluation.confusion import ConfusionMatrix
from satseg.evaluation.maps import MapComparison, beside_labels, read_rows
from satseg.evaluation.objects import ObjectMatcher, Regions
from satseg.evaluation.tally import Count
from satseg.raster.scene import Scene
from satseg.records import BandSpec, ProgressEvent, Rows, SceneInfo


class ArrayLabels:
    """Labels in memory."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def read(self, window: Window) -> np.ndarray:
        rows, columns = window.toslices()
        return self.ids[rows, columns]

    def close(self) -> None:
        """Nothing is open."""


def write(path: Path, bands: np.ndarray, **more: object) -> Path:
    profile: dict[str, object] = {"driver": "GTiff", "transform": Affine(1, 0, 0, 0, -1, 0)} | more
    count, height, width = bands.shape
    with rasterio.open(path, "w", count=count, height=height, width=width, dtype=bands.dtype.name, **profile) as target:
        target.write(bands)
    return path


@pytest.fixture
def ids() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (50, 40)).astype(np.uint8)


def compare(rows: Iterable[Rows], labels: np.ndarray, block: int = 16) -> Assessment:
    height, width = labels.shape
    grid = SceneInfo(
        "map", width, height, BandSpec(("class",), "uint8", (1,), (0,)), None, False, None, Affine.identity(), None
    )
    assessment = Assessment(3, replicates=20, worst=3)
    boundaries = Boundaries(Reach(2.5), Reach(1.5))
    matcher = ObjectMatcher(Regions(0), Regions(0))
    comparison = MapComparison(grid, 0, block, 3, boundaries, matcher)
    comparison.run(beside_labels(rows, ArrayLabels(labels)), assessment)  # type: ignore[arg-type]
    return assessment


@pytest.mark.parametrize("block", [16, 23, 1000])
def test_strips_of_any_height_count_as_the_whole(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, classes = patchy((150, 60), seed=1, size=1.5)
    path = write(tmp_path / "map.tif", classes[None], nodata=255)
    expected = ConfusionMatrix(3)
    expected.add(labels, classes)
    tally = Boundaries(Reach(2.5), Reach(1.5)).count(labels, classes, 3)[:, : Count.BF_SUM]
    reports = []
    for pixels in (1, 60 * 7, 10**6):
        monkeypatch.setattr(maps, "STRIP_PIXELS", pixels)
        with Scene.open(path, expand_palette=False) as raster:
            assessment = compare(read_rows(raster), labels, block)
        assert np.array_equal(assessment.counts, expected.counts)
        assert np.array_equal(assessment.tally[:, Count.LABEL_EDGE : Count.BF_SUM], tally[:, Count.LABEL_EDGE :])
        objects = assessment.tally[:, Count.LABEL_OBJECTS :].astype(int).tolist()
        assert objects == count_objects(labels, classes, 0, 3).tolist()
        reports.append(assessment.report("abc"))
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


def test_nodata_becomes_255(tmp_path: Path, ids: np.ndarray) -> None:
    path = write(tmp_path / "map.tif", ids[None].astype(np.int32), nodata=2)
    with Scene.open(path, expand_palette=False) as raster:
        (rows,) = read_rows(raster)
    assert rows.classes.dtype == np.uint8
    assert np.array_equal(rows.classes, np.where(ids == 2, 255, ids))


def test_progress_counts_pixels(tmp_path: Path, ids: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "STRIP_PIXELS", 40 * 20)
    events: list[ProgressEvent] = []
    with Scene.open(write(tmp_path / "map.tif", ids[None]), expand_palette=False) as raster:
        assert len(list(read_rows(raster, progress=events.append))) == 3
    assert [(event.done, event.total, event.unit) for event in events] == [
        (800, 2000, "px"),
        (1600, 2000, "px"),
        (2000, 2000, "px"),
    ]


@pytest.mark.parametrize(
    "bands",
    [
        np.zeros((3, 4, 4), dtype=np.uint8),
        np.zeros((1, 4, 4), dtype=np.float32),
        np.full((1, 4, 4), 256, dtype=np.uint16),
    ],
    ids=["three bands", "float", "ids over 255"],
)
def test_what_is_no_class_raster_is_refused(tmp_path: Path, bands: np.ndarray) -> None:
    with (
        Scene.open(write(tmp_path / "map.tif", bands), expand_palette=False) as raster,
        pytest.raises(SceneError, match="no class raster"),
    ):
        list(read_rows(raster))
