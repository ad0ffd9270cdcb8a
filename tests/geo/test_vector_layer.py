"""Covers ``feature_store``."""

from __future__ import annotations

import os
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely

from satseg.errors import LabelError
from satseg.geo.feature_store import FeatureStore
from satseg.geo.vector_layer import VectorLayer


def test_geoparquet_labels_are_those_of_the_geopackage(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"use": ["a", "b", "a"]},
        geometry=[shapely.box(0, 0, 3, 3), shapely.box(4, 4, 9, 9), None],
        crs="EPSG:32645",
    )
    frame.to_file(tmp_path / "l.gpkg")
    frame.to_parquet(tmp_path / "l.parquet")
    layers = [VectorLayer.open(str(tmp_path / f"l.{suffix}")) for suffix in ("gpkg", "parquet")]
    assert layers[0].crs == layers[1].crs
    assert "use" in layers[0].fields
    assert "use" in layers[1].fields
    one, other = (list(layer.batches(["use"])) for layer in layers)
    assert one[0][1] == other[0][1] == {"use": ["a", "b", "a"]}
    assert shapely.equals(one[0][0][:2], other[0][0][:2]).all()
    assert one[0][0][2] is other[0][0][2] is None


def test_a_parquet_file_without_geometries_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "l.parquet")
    with pytest.raises(LabelError, match="not a GeoParquet file"):
        VectorLayer.open(str(tmp_path / "l.parquet"))


def test_stores_of_a_few_polygons_keep_no_file_open() -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, stores = opened(), []
    for _ in range(50):
        store = FeatureStore()
        store.add(np.array([shapely.box(0, 0, 1, 1)]), np.zeros(1, dtype=np.int32), np.zeros(1))
        store.finish()
        stores.append(store)
    assert opened() - before < 10
    assert all([len(found) for found in store.near()] == [1] for store in stores)


def test_an_even_sample_of_features_is_yielded_in_their_order() -> None:
    store = FeatureStore()
    for first in range(0, 1000, 37):  # batches of other lengths than the step
        left = np.arange(first, min(first + 37, 1000))
        store.add(shapely.box(left, 0, left + 0.5, 1), np.zeros(len(left), dtype=np.int32), np.zeros(len(left)))
    store.finish()
    for most, step in ((1000, 1), (999, 2), (100, 10), (7, 143), (1, 1000)):
        found = list(store.near(most=most))
        assert np.concatenate([part.numbers for part in found]).tolist() == list(range(0, 1000, step))
        assert np.concatenate([shapely.bounds(part.geometries)[:, 0] for part in found]).tolist() == list(
            range(0, 1000, step)
        )
    assert np.concatenate([part.numbers for part in store.near([(100, 0, 199, 1)], most=50)]).tolist() == list(
        range(100, 200, 2)
    )
