"""Covers ``settings``."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.warp import transform_bounds

from satseg.errors import UsageError
from satseg.exporting.settings import ExportSettings, parse_dates
from satseg.exporting.training_ground import Ground, training_outline
from satseg.tiles.tileset import TileSet


def test_the_outline_holds_the_training_tiles_and_nothing_beyond_the_scene(
    bright_tiles: Path, bright_scene: Path
) -> None:
    tile_set = TileSet.open(bright_tiles)
    outline = training_outline(tile_set)
    assert outline is not None
    tiles = tile_set.index.to_crs("OGC:CRS84")
    trained = shapely.union_all(tiles.geometry[tiles["split"] == "train"].to_numpy())
    assert outline.buffer(1e-6).contains(trained)
    assert outline.area <= shapely.convex_hull(trained).area * (1 + 1e-3)
    with rasterio.open(bright_scene) as dataset:
        scene = shapely.box(*transform_bounds(dataset.crs, "OGC:CRS84", *dataset.bounds, densify_pts=21))
    assert scene.buffer(1e-6).contains(outline)
    assert Ground(outline).footprint == outline
    assert Ground(outline).bbox == outline.bounds


def test_ground_across_the_antimeridian_is_cut_there() -> None:
    ground = Ground(shapely.MultiPolygon([shapely.box(179, -18, 182, -16)]))
    footprint = ground.footprint
    assert footprint is not None
    east, west = shapely.box(179, -18, 180, -16), shapely.box(-180, -18, -178, -16)
    assert footprint.equals(shapely.MultiPolygon([east, west]))
    assert ground.bbox == (179, -18, -178, -16)  # west is larger than east, as in RFC 7946


def test_ground_around_the_globe_has_its_whole_width() -> None:
    ground = Ground(shapely.MultiPolygon([shapely.box(-200, 60, 170, 90)]))
    assert ground.bbox == (-180, 60, 180, 90)
    footprint = ground.footprint
    assert footprint is not None
    assert np.abs(shapely.get_coordinates(footprint)[:, 0]).max() <= 180


def test_what_is_not_known_is_named() -> None:
    assert Ground().unknown == ("footprint", "dates")
    assert Ground(dates=(date(2020, 1, 1), date(2020, 1, 1))).unknown == ("footprint",)
    assert (Ground().footprint, Ground().bbox) == (None, None)


def test_dates_are_a_day_or_a_period() -> None:
    assert parse_dates("2021-07-14") == (date(2021, 7, 14), date(2021, 7, 14))
    assert parse_dates("2019-05-01/2021-09-30") == (date(2019, 5, 1), date(2021, 9, 30))


@pytest.mark.parametrize("text", ["yesterday", "2021-13-01", "2019-01-01/2020-01-01/2021-01-01", "", "2019-01-01/"])
def test_other_dates_are_refused_before_work(text: str) -> None:
    with pytest.raises(UsageError, match="which is no day and no period"):
        ExportSettings(dates=text)


def test_periods_have_to_run_forwards() -> None:
    with pytest.raises(UsageError, match="ends before it begins"):
        ExportSettings(dates="2021-01-01/2020-01-01")


def test_dates_need_an_item() -> None:
    with pytest.raises(UsageError, match="no effect without a STAC Item"):
        ExportSettings(dates="2021-01-01", stac=False)
