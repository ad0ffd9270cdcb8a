from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import GCPTransformer
from rasterio.windows import Window
from scene_files import GRID, numbered, write_scene

from satseg.errors import SceneError
from satseg.raster.scene import Scene

HEIGHT, WIDTH = 12, 20


def placed_by_points(path: Path, bands: np.ndarray, grid: Affine, crs: str = "EPSG:32632", **profile: object) -> Path:
    places = [(row, col) for row in (0, HEIGHT / 2, HEIGHT) for col in (0, WIDTH / 2, WIDTH)]
    points = [GroundControlPoint(row, col, *(grid * (col, row))) for row, col in places]
    write_scene(path, bands, crs=None, transform=None, **profile)
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = points, CRS.from_string(crs) if crs else CRS()
    return path


def read_all(path: Path) -> tuple[np.ndarray, np.ndarray, Scene]:
    with Scene.open(path) as scene:
        return *scene.read(Window(0, 0, scene.info.width, scene.info.height)), scene


def test_points_of_a_plain_grid_give_that_grid(tmp_path: Path) -> None:
    bands = numbered(2, HEIGHT, WIDTH)
    values, valid, scene = read_all(placed_by_points(tmp_path / "a.tif", bands, GRID))
    assert scene.info.transform.almost_equals(GRID, 1e-6)
    assert scene.info.crs == "EPSG:32632"
    assert scene.info.gsd == pytest.approx((2, 2), rel=1e-3)
    assert (values == bands).all()
    assert valid.all()


def test_a_turned_scene_is_valid_where_its_pixels_lie(tmp_path: Path) -> None:
    turned = GRID * Affine.rotation(30)
    bands = numbered(1, HEIGHT, WIDTH) + 1
    values, valid, scene = read_all(placed_by_points(tmp_path / "a.tif", bands, turned))
    rows, cols = np.nonzero(valid)
    x, y = ~turned * (scene.info.transform * (cols + 0.5, rows + 0.5))
    assert (values[0][valid] == bands[0, np.floor(y).astype(int), np.floor(x).astype(int)]).mean() > 0.99  # ties
    assert 0.9 < valid.sum() / bands.size < 1.3
    assert not valid[0, 0]


@pytest.mark.parametrize("how", ["nodata", "alpha", "mask"])
def test_masks_are_rectified_with_the_scene(tmp_path: Path, how: str) -> None:
    bands = numbered(2, HEIGHT, WIDTH) + 1
    hole = np.zeros((HEIGHT, WIDTH), dtype=bool)
    hole[3:5, 7:9] = True
    if how == "nodata":
        path = placed_by_points(tmp_path / "a.tif", np.where(hole, 0, bands).astype("uint16"), GRID, nodata=0)
    elif how == "alpha":
        alpha = np.where(hole, 0, 65535).astype("uint16")
        path = placed_by_points(
            tmp_path / "a.tif", np.concatenate([bands, alpha[None]]), GRID, photometric="minisblack"
        )
        with rasterio.open(path, "r+") as dataset:
            dataset.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
    else:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            path = placed_by_points(tmp_path / "a.tif", bands, GRID)
            with rasterio.open(path, "r+") as dataset:
                dataset.write_mask(~hole)
    values, valid, _ = read_all(path)
    assert len(values) == 2
    assert (valid == ~hole).all()


def test_points_without_a_crs_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = placed_by_points(tmp_path / "a.tif", numbered(1, HEIGHT, WIDTH), GRID, crs="")
    with pytest.raises(SceneError, match=r"9 ground control points of .* have no CRS") as caught:
        Scene.open(path)
    assert "gdalwarp" in str(caught.value.hint)


def test_points_on_both_sides_of_the_antimeridian_are_refused_with_the_remedy(tmp_path: Path) -> None:
    grid = Affine(20, 0, -179.9, 0, -0.01, 10)
    path = placed_by_points(tmp_path / "a.tif", numbered(1, HEIGHT, WIDTH), grid, crs="EPSG:4326")
    with pytest.raises(SceneError, match="cross the antimeridian") as caught:
        Scene.open(path)
    assert "181 for -179" in str(caught.value.hint)


def test_a_radar_scene_is_placed_to_a_pixel_and_told_so(real_files: Path) -> None:
    path = real_files / "rasters" / "cog_gcps.tif"
    with rasterio.open(path) as dataset:
        points = dataset.gcps[0]
        raw = dataset.read(1)
    values, valid, scene = read_all(path)
    (remark,) = scene.remarks
    assert "cog_gcps.tif is rectified by a polynomial fitted to its 210 ground control points" in remark
    assert "0.068 px (RMS)" in remark
    assert scene.info.crs == "EPSG:4326"
    with GCPTransformer(points) as transformer:
        rows, cols = np.nonzero(valid)
        chosen = np.random.default_rng(0).choice(len(rows), 500, replace=False)
        x, y = scene.info.transform * (cols[chosen] + 0.5, rows[chosen] + 0.5)
        there = np.array(transformer.rowcol(x, y, op=float)).T
    for (row, col), value in zip(there, values[0, rows[chosen], cols[chosen]], strict=True):
        top, left = max(int(row) - 1, 0), max(int(col) - 1, 0)
        assert value in raw[top : top + 3, left : left + 3]


def test_a_rectified_scene_has_one_answer_for_every_window(real_files: Path) -> None:
    path = real_files / "rasters" / "cog_gcps.tif"
    values, valid, scene = read_all(path)
    rng = np.random.default_rng(1)
    with Scene.open(path) as again:
        for _ in range(30):
            top, left = int(rng.integers(scene.info.height - 60)), int(rng.integers(scene.info.width - 60))
            height, width = (int(n) for n in rng.integers(1, 60, 2))
            part, mask = again.read(Window(left, top, width, height))
            assert (part == values[:, top : top + height, left : left + width]).all()
            assert (mask == valid[top : top + height, left : left + width]).all()
