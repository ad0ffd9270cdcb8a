"""Rasters of object ids: which rasters they are, and what their values mean.

Covers ``burnt_features``.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from satseg.errors import LabelError
from satseg.geo.grid import ground_sampling_distance
from satseg.labels.class_map import ClassMap
from satseg.labels.label_files import open_labels
from satseg.labels.label_source import LabelSource
from satseg.labels.settings import LabelSettings
from satseg.records import BandSpec, SceneInfo

GRID = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)
WHOLE = Window(0, 0, 8, 6)
IDS = np.array(
    [[0, 0, 9, 9, 9, 4, 4, 0], [0, 0, 9, 9, 9, 4, 4, 0], *[[0] * 8] * 2, [255, 255, *[0] * 6], [255, 255, *[0] * 6]]
)


def scene() -> SceneInfo:
    spec = BandSpec(("gray",), "uint8", (1.0,), (0.0,))
    return SceneInfo(
        "scene.tif", 8, 6, spec, None, False, "EPSG:32632", GRID, ground_sampling_distance("EPSG:32632", GRID, 8, 6)
    )


def write(path: Path, values: np.ndarray, **profile: object) -> Path:
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32632", "transform": GRID} | profile
    count, height, width = values.shape if values.ndim == 3 else (1, *values.shape)
    with rasterio.open(
        path, "w", count=count, height=height, width=width, dtype=values.dtype.name, **options
    ) as dataset:
        dataset.write(values.reshape(count, height, width))
    return path


def opened(path: Path, **settings: object) -> LabelSource:
    class_map = settings.pop("class_map", None)
    return open_labels(
        path, LabelSettings(**settings), class_map=ClassMap.parse(class_map) if class_map else None, keep_objects=True
    )


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32"])
def test_each_value_is_an_object_of_the_class_that_the_file_names(tmp_path: Path, dtype: str) -> None:
    source = opened(write(tmp_path / "roofs.tif", IDS.astype(dtype)))
    labels = source.on(scene())
    assert (source.classes.names, source.objects) == (("background", "roofs"), 3)
    assert labels.read(WHOLE).tolist() == (IDS > 0).astype(int).tolist()
    numbers = np.searchsorted([4, 9, 255], IDS) + 1
    assert np.abs(labels.read_ids(WHOLE)).tolist() == np.where(IDS > 0, numbers, 0).tolist()


def test_nodata_unlabelled_values_and_ground_outside_the_raster_are_unknown(tmp_path: Path) -> None:
    for options, profile in (({}, {"nodata": 255}), ({"unlabelled": 255}, {})):
        labels = opened(write(tmp_path / "roofs.tif", IDS.astype(np.uint8), **profile), **options).on(scene())
        assert labels.read(WHOLE).tolist() == np.select([IDS == 255, IDS > 0], [255, 1]).tolist()
        assert not labels.read_ids(WHOLE)[IDS == 255].any()
    part = opened(write(tmp_path / "part.tif", IDS[:, 2:].astype(np.uint8), transform=GRID * Affine.translation(2, 0)))
    assert (part.on(scene()).read(WHOLE)[:, :2] == 255).all()
    assert part.on(scene()).read(WHOLE)[:, 2:].tolist() == (IDS[:, 2:] > 0).astype(int).tolist()


def test_pixels_without_an_object_are_unlabelled_where_only_some_objects_are_known(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "roofs.tif", IDS.astype(np.uint8)), outside="ignore")
    assert source.classes.names == ("roofs",)
    assert source.on(scene()).read(WHOLE).tolist() == np.where(IDS > 0, 0, 255).tolist()


def test_parcels_that_cover_all_ground_leave_no_background(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "fields.tif", np.arange(1, 49, dtype=np.uint8).reshape(6, 8)))
    assert source.classes.names == ("fields",)
    assert np.abs(source.on(scene()).read_ids(WHOLE)).tolist() == np.arange(1, 49).reshape(6, 8).tolist()


def test_a_class_map_names_the_class_by_the_name_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "roofs.tif", IDS.astype(np.uint8))
    assert opened(path, class_map="roofs=building").classes.names == ("background", "building")
    assert opened(path, class_map="*=building").classes.names == ("background", "building")
    with pytest.raises(LabelError, match="roofs"):
        opened(path, class_map="walls=building")


def test_widths_of_its_objects_are_measured(tmp_path: Path) -> None:
    (classes, widths), *_ = (
        opened(write(tmp_path / "roofs.tif", IDS.astype(np.uint8))).on(scene()).widths((2.0, 2.0), 1, 0)
    )
    assert classes.tolist() == [1, 1, 1]
    assert (widths <= 6).all()


def scattered(values: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, values, (60, 80), dtype=np.uint8)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (scattered(2), "holds classes, not objects: its 1 values lie in"),
        (scattered(9), "holds classes, not objects: its 8 values lie in"),
        (np.stack([scattered(9)] * 3), "holds colours, not objects"),
        (scattered(9).astype(np.float32) / 8, "holds float32 values such as"),
        (scattered(9).astype(np.int16) - 1, "holds the value -1; ids of objects are 1 and more"),
        (np.zeros((6, 8), dtype=np.int32), "holds no object"),
        (np.stack([scattered(9)] * 5), "has 5 bands"),
    ],
)
def test_rasters_of_anything_else_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        opened(write(tmp_path / "a.tif", values))


def test_a_raster_that_names_its_classes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", IDS.astype(np.uint8))
    (tmp_path / "a.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category>none</Category><Category>road</Category>"
        "</CategoryNames></PAMRasterBand></PAMDataset>"
    )
    with pytest.raises(LabelError, match="holds classes, not objects"):
        opened(path)


def test_an_object_that_others_cut_in_two_is_still_one(tmp_path: Path) -> None:
    ids = np.full((40, 40), 1, dtype=np.int32)
    ids[:, 18:22] = 2
    ids[30:] = np.arange(3, 13).repeat(4)
    assert opened(write(tmp_path / "a.tif", ids)).objects == 12


@pytest.mark.parametrize("height", [1, 2, 6])
def test_objects_of_a_window_tell_where_they_end_in_the_scene(tmp_path: Path, height: int) -> None:
    source = opened(write(tmp_path / "roofs.tif", IDS.astype(np.uint8)))
    layer, ids = source.objects_of(scene())
    with closing(layer.on(scene())) as warped:
        for top in range(0, 6, height):
            window = Window(0, top, 8, height)
            objects, found = warped.features(window, ids)
            numbers = np.concatenate([[0], np.array([4, 9, 255])[found.numbers]])
            assert numbers[objects].tolist() == IDS[top : top + height].tolist()
            assert found.ends.tolist() == [{4: 2, 9: 2, 255: 6}[number] for number in numbers[1:].tolist()]
            assert set(found.classes.tolist()) <= {1}
