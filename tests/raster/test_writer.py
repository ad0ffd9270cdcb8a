from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from satseg.classes import ClassTable
from satseg.raster.writer import ClassRasterWriter, read_class_table
from satseg.records import BandSpec, Rows, SceneInfo

TABLE = ClassTable.from_names(["background", "wood", "lake"])


def scene(height: int, width: int) -> SceneInfo:
    spec = BandSpec(("gray",), "uint8", (1.0,), (0.0,))
    grid = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)
    return SceneInfo("s.tif", width, height, spec, None, False, "EPSG:32632", grid, (2.0, 2.0))


def write(folder: Path, classes: np.ndarray, heights: list[int]) -> Path:
    cog = folder / "map.tif"
    with ClassRasterWriter(folder / "rows.tif", scene(*classes.shape), TABLE, {"SATSEG_MODEL": "m"}) as writer:
        top = 0
        for height in heights:
            writer.write(Rows(top, classes[top : top + height]))
            top += height
        writer.finish(cog)
    return cog


@pytest.mark.parametrize("heights", [[1400], [1, 63, 64, 65, 1207], [7] * 200])
def test_rows_of_any_height_give_the_same_file(tmp_path: Path, heights: list[int]) -> None:
    classes = np.random.default_rng(0).choice([0, 1, 2, 255], (1400, 600)).astype(np.uint8)
    (tmp_path / "whole").mkdir()
    with rasterio.open(write(tmp_path, classes, heights)) as dataset:
        assert (dataset.read(1) == classes).all()
    whole = write(tmp_path / "whole", classes, [1400])
    assert (tmp_path / "map.tif").read_bytes() == whole.read_bytes()


def test_the_map_is_a_cog_with_colours_names_and_origin(tmp_path: Path) -> None:
    path = write(tmp_path, np.zeros((1400, 600), dtype=np.uint8), [1400])
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.overviews(1)
        assert dataset.nodata == 255
        assert dataset.colormap(1)[1] == (*TABLE[1].rgb, 255)
        assert dataset.tags(1)["CLASS_2"] == "lake"
        assert dataset.tags()["SATSEG_MODEL"] == "m"
        assert read_class_table(dataset) == TABLE


def test_overviews_hold_only_classes_that_are_there(tmp_path: Path) -> None:
    classes = np.random.default_rng(0).choice([0, 2], (1400, 1200)).astype(np.uint8)
    path = write(tmp_path, classes, [1400])
    with rasterio.open(path, overview_level=0) as dataset:
        assert set(np.unique(dataset.read(1))) <= {0, 2}
