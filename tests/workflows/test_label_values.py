"""The values that labels hold."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from satseg import label_values
from satseg.errors import LabelError, UsageError
from satseg.labels.class_lists import read_class_map
from satseg.workflows.label_values import LabelValue

CROPS = ["Vårbyg", "Vårbyg", "Kartofler, spise-", None]


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    shapes = [shapely.box(500_000 + 10 * i, 0, 500_000 + 10 * i + 8, 8) for i in range(len(CROPS))]
    path = tmp_path / "fields.gpkg"
    geopandas.GeoDataFrame({"crop": CROPS, "id": range(4)}, geometry=shapes, crs="EPSG:32632").to_file(path)
    return path


def raster(path: Path, values: np.ndarray, **profile: object) -> Path:
    grid = Affine(2, 0, 500_000, 0, -2, 5_000_000)
    values = values if values.ndim == 3 else values[None]
    options = {"driver": "GTiff", "crs": "EPSG:32632", "transform": grid, "dtype": values.dtype.name} | profile
    with rasterio.open(path, "w", count=len(values), height=values.shape[1], width=values.shape[2], **options) as made:
        made.write(values)
    return path


def test_features_are_counted_and_measured_by_value(fields: Path) -> None:
    found = label_values(fields, class_field="crop")
    assert (found.unit, [(v.value, v.count, v.name) for v in found.values]) == (
        "features",
        [("Vårbyg", 2, "Vårbyg"), ("Kartofler, spise-", 1, "Kartofler, spise-"), ("unknown", 1, "unknown")],
    )
    assert [v.count for v in label_values(fields, class_field="crop", where="id > 0").values] == [1, 1, 1]
    assert [v.area_m2 for v in found.values] == pytest.approx([128, 64, 64], rel=2e-3)  # the scale is 0.9996


def test_pixels_of_a_class_raster_are_counted_by_value(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", np.array([[0, 2, 2], [255, 9, 9]], dtype=np.uint8), nodata=9)
    found = label_values(path)
    assert (found.unit, found.unknown) == ("px", 2)
    assert [(v.value, v.count, v.name) for v in found.values] == [
        ("0", 1, "class 0"),
        ("2", 2, "class 2"),
        ("255", 1, ""),
    ]
    assert found.values[1].area_m2 == pytest.approx(8, rel=2e-3)


def test_colours_are_values(tmp_path: Path) -> None:
    path = raster(tmp_path / "a.tif", np.array([[[255, 0]], [[0, 0]], [[0, 255]]], dtype=np.uint8), crs=None)
    assert label_values(path).values == (
        LabelValue("#0000ff", 1, None, "class #0000ff", "#0000ff"),
        LabelValue("#ff0000", 1, None, "class #ff0000", "#ff0000"),
    )


def test_the_template_is_a_class_map(fields: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text(label_values(fields, class_field="crop").template())
    class_map = read_class_map(tmp_path / "classes.csv")
    assert class_map is not None
    assert list(class_map.names) == ["Vårbyg", "Kartofler, spise-", "unknown"]
    mask = raster(tmp_path / "mask.tif", np.array([[0, 255]], dtype=np.uint8))
    (tmp_path / "classes.csv").write_text(label_values(mask).template())
    with pytest.raises(UsageError, match="has no class for '255'"):  # nothing is guessed
        read_class_map(tmp_path / "classes.csv")


def test_what_has_no_such_values_is_told(fields: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"The attribute of .* that holds the class is not named") as caught:
        label_values(fields)
    assert caught.value.hint == "Name it as `class_field`. It has crop, id."
    with pytest.raises(LabelError, match="no attribute 'kind'"):
        label_values(fields, class_field="kind")
    with pytest.raises(UsageError, match="is a raster; it has no attribute 'kind'"):
        label_values(raster(tmp_path / "a.tif", np.zeros((2, 2), dtype=np.uint8)), class_field="kind")
    with pytest.raises(UsageError, match="it has no features to select by 'id > 1'"):
        label_values(tmp_path / "a.tif", where="id > 1")
