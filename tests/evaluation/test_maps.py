from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.evaluation import maps
from satseg.evaluation.confusion import ConfusionMatrix
from satseg.evaluation.maps import count_rows, read_rows
from satseg.raster.scene import Scene
from satseg.records import ProgressEvent


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


def test_strips_of_any_height_count_the_same(tmp_path: Path, ids: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "map.tif", ids[None])
    labels = np.roll(ids, 1, axis=0)
    expected = ConfusionMatrix(3)
    expected.add(labels, ids)
    for pixels in (1, 40 * 7, 10**6):
        monkeypatch.setattr(maps, "STRIP_PIXELS", pixels)
        confusion = ConfusionMatrix(3)
        with Scene.open(path, expand_palette=False) as raster:
            count_rows(confusion, read_rows(raster), ArrayLabels(labels))
        assert np.array_equal(confusion.counts, expected.counts)


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
