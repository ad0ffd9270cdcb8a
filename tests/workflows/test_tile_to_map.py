"""Scenes of other sensors go from tiles to polygons without an option: nothing about them is guessed wrong."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine

from satseg.checkpoint import Checkpoint
from satseg.prediction.settings import PredictionSettings
from satseg.sample import sample
from satseg.tiles.tileset import TileSet
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.vectorization.settings import PolygonSettings
from satseg.workflows.check_tiles import check_tiles
from satseg.workflows.predict import predict
from satseg.workflows.tile import tile
from satseg.workflows.train import train


@pytest.fixture
def grey() -> tuple[np.ndarray, dict[str, object]]:
    """A quarter of the town in 512 x 256 px: (3, row, col) float64, and where it lies."""
    with rasterio.open(sample().labelled) as dataset:
        window = rasterio.windows.Window(0, 0, 1024, 2048)
        picture = dataset.read(window=window, out_shape=(3, 512, 256), resampling=Resampling.average).astype(float)
        grid = dataset.window_transform(window) * Affine.scale(4)
        return picture, {"crs": dataset.crs, "transform": grid, "height": 512, "width": 256}


def write(path: Path, bands: np.ndarray, grid: dict[str, object], names: list[str], **profile: object) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", count=len(bands), dtype=bands.dtype.name, **grid, **profile
    ) as dataset:
        dataset.write(bands)
        dataset.descriptions = names
    return path


def radar(folder: Path, picture: np.ndarray, grid: dict[str, object]) -> Path:
    """Two bands of float32 in decibels, NaN where the swath ends, no nodata value stated."""
    bands = (20 * np.log10(picture[:2] / 255 + 1e-3)).astype(np.float32)
    row, col = np.mgrid[:512, :256]
    bands[:, col > 200 + row / 16] = np.nan
    bands[1, 40:60, 40:90] = np.nan
    return write(folder / "radar.tif", bands, grid, ["VV", "VH"])


def optical(folder: Path, picture: np.ndarray, grid: dict[str, object]) -> Path:
    """Thirteen bands of int16 with scale and offset, some values negative, nodata -32768."""
    share = np.linspace(0, 1, 13)[:, None, None]
    bands = (40 * ((1 - share) * picture[0] + share * picture[2]) - 700).astype(np.int16)
    bands[:, :90, :60] = -32768
    path = write(folder / "optical.tif", bands, grid, [f"B{i:02d}" for i in range(1, 14)], nodata=-32768)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4,) * 13, (-0.1,) * 13
    return path


@pytest.mark.slow
@pytest.mark.parametrize("make", [radar, optical])
def test_tiles_of_any_sensor_become_polygons(
    make: object, grey: tuple[np.ndarray, dict[str, object]], tmp_path: Path
) -> None:
    scene = make(tmp_path, *grey)  # type: ignore[operator]
    summary = tile([scene], labels=sample().labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    assert summary.overlapping == 0
    assert min(summary.tiles.values()) > 0
    assert check_tiles(tmp_path / "tiles").problems == ()

    tile_set = TileSet.open(tmp_path / "tiles")
    with rasterio.open(scene) as dataset:
        raw, valid = dataset.read(), (dataset.read_masks() > 0).all(axis=0)
        assert (tile_set.bands.names, tile_set.bands.dtype) == (dataset.descriptions, dataset.dtypes[0])
        assert (tile_set.bands.scales, tile_set.bands.offsets) == (dataset.scales, dataset.offsets)
    valid &= np.isfinite(raw).all(axis=0)
    values = np.concatenate(
        [bands[:, known] for bands, _, known in (entry.read() for entry in tile_set.tiles("train"))], 1
    )
    assert np.isfinite(values).all()
    assert tile_set.statistics.mean == pytest.approx(values.astype(float).mean(axis=1), rel=1e-9)
    assert tile_set.statistics.minimum == tuple(values.min(axis=1))

    run = train(
        tmp_path / "tiles",
        output=tmp_path / "run",
        settings=TrainSettings(arch="erfnet", steps=6, batch_size=2, precision="fp32", threads=1),
    )
    card = Checkpoint.load(Path(run.best)).card
    assert (card.bands, card.statistics) == (tile_set.bands, tile_set.statistics)
    assert np.isfinite(run.loss)

    outputs = [tmp_path / "map.tif", tmp_path / "map.gpkg"]
    settings = PredictionSettings(precision="fp32", threads=1, polygons=PolygonSettings(raw=True))
    predict(scene, output=outputs, model=run.best, settings=settings)
    with rasterio.open(outputs[0]) as dataset:
        classes = dataset.read(1)
        assert (dataset.crs, dataset.transform) == (grey[1]["crs"], grey[1]["transform"])
    assert ((classes == 255) == ~valid).all()
    polygons = geopandas.read_file(outputs[1], layer=0)
    assert polygons.is_valid.all()
    area = sum(polygons.geometry.area) / abs(grey[1]["transform"].determinant)  # type: ignore[attr-defined]
    assert area == pytest.approx((classes == 1).sum())
