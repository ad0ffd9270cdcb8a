"""What ``satseg vectorize`` says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_areas_that_nobody_knows_are_left_empty(satseg: Callable, tmp_path: Path) -> None:
    with rasterio.open(tmp_path / "m.png", "w", driver="PNG", width=4, height=4, count=1, dtype="uint8") as mask:
        mask.write(np.eye(4, dtype=np.uint8), 1)
    done = satseg(
        "vectorize", tmp_path / "m.png", "-o", tmp_path / "m.gpkg", "--class-map", "0=background,1=roof", "--raw"
    )
    assert done.code == 0
    assert [line.split() for line in done.stderr.splitlines() if line.startswith("roof")] == [["roof", "4", "–"]]


def test_what_is_left_out_is_said_with_the_way_to_keep_it(satseg: Callable, tmp_path: Path) -> None:
    values = np.zeros((30, 40), dtype=np.uint8)
    values[5:25, 5:25], values[10, 10], values[2, 30:33], values[28, 30] = 1, 0, 1, 1
    where = {"crs": "EPSG:32645", "transform": rasterio.Affine(1, 0, 300_000, 0, -1, 3_000_000)}
    with rasterio.open(tmp_path / "m.tif", "w", width=40, height=30, count=1, dtype="uint8", **where) as mask:
        mask.write(values, 1)
    words = ("vectorize", tmp_path / "m.tif", "-o", tmp_path / "m.gpkg", "--class-map", "0=background,1=roof")
    told = satseg(*words).stderr
    assert "Polygons: specks below 8px left out (2), holes up to 7px filled (1); --raw keeps all." in told
    assert (
        "Polygons: specks below 2m2 left out (1); --raw keeps all."
        in satseg(*words, "--min-area", "2m2", "--fill-holes", "0").stderr
    )
    assert "--raw" not in satseg(*words, "--raw").stderr
    counts = json.loads(satseg(*words, "--json").stdout)
    assert (counts["specks"], counts["holes"]) == (2, 1)
