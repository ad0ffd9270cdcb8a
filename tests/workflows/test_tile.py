"""Covers ``tiles/tileset``, ``tiles/splits``, ``tiling/cut`` and ``tiling/provenance``."""

from __future__ import annotations

import logging
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from made_scenes import GRID, write_labels, write_scene

from satseg.errors import LabelError, OutputError, SceneError, TileError, UsageError
from satseg.raster.scene import Scene
from satseg.tiles.tileset import INDEX, TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).integers(0, 4000, (5, 300, 420), dtype=np.uint16)
    return write_scene(tmp_path / "scene.tif", bands)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "houses.gpkg", *((i, i, i + 20, i + 20) for i in range(0, 280, 40)))


def test_tiles_hold_the_pixels_and_labels_of_the_scene(tmp_path: Path, scene: Path, labels: Path) -> None:
    summary = tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, overlap=16))
    tiles = TileSet.open(tmp_path / "tiles")
    assert summary.tiles == {split: len(tiles.tiles(split)) for split in ("train", "val", "test")}
    assert tiles.bands.dtype == "uint16"
    with rasterio.open(scene) as dataset:
        whole = dataset.read()
    for row, record in zip(
        tiles.index.to_dict("records"), map(tiles.tile, tiles.index.to_dict("records")), strict=True
    ):
        bands, classes, valid = record.read()
        part = np.s_[row["row"] : row["row"] + row["height"], row["col"] : row["col"] + row["width"]]
        assert (bands == whole[(slice(None), *part)]).all()
        assert valid.all()
        assert record.pixels == tuple(np.bincount(classes[classes < 255], minlength=2).tolist())
    with rasterio.open(tiles.tiles("train")[0].image) as dataset:
        assert dataset.crs == "EPSG:32645"
        assert dataset.transform.a == 0.5


def test_no_tile_of_one_split_overlaps_one_of_another(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, overlap=16))
    index = TileSet.open(tmp_path / "tiles").index
    owner = np.full((300, 420), "", dtype=object)
    for row in index.to_dict("records"):
        part = np.s_[row["row"] : row["row"] + row["height"], row["col"] : row["col"] + row["width"]]
        assert set(owner[part].ravel()) <= {"", row["split"]}
        owner[part] = row["split"]
    assert (owner != "").all()


def test_validation_and_test_count_every_pixel_once(tmp_path: Path, scene: Path, labels: Path) -> None:
    summary = tile(
        [scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, split=(0.4, 0.3, 0.3))
    )
    index = TileSet.open(tmp_path / "tiles").index
    for split in ("val", "test"):
        area = shapely.union_all(index[index["split"] == split].geometry.to_numpy()).area / 0.25
        assert sum(summary.pixels[split].values()) == area


def test_statistics_are_those_of_the_training_tiles(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    tiles = TileSet.open(tmp_path / "tiles")
    pixels = np.concatenate(
        [bands[:, valid] for bands, _, valid in (record.read() for record in tiles.tiles("train"))], 1
    )
    assert tiles.statistics.mean == pytest.approx(pixels.mean(axis=1, dtype=np.float64), rel=1e-12)
    assert tiles.statistics.std == pytest.approx(pixels.std(axis=1, dtype=np.float64), rel=1e-12)


def test_nodata_is_ignored_and_empty_tiles_are_left_out(tmp_path: Path, labels: Path) -> None:
    bands = np.ones((1, 256, 256), dtype=np.uint8)
    bands[:, :, 128:] = 0
    bands[:, 0, 0] = 0
    path = write_scene(tmp_path / "scene.tif", bands, nodata=0)
    tile([path], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, overlap=0, split=(1, 0, 0)))
    tiles = TileSet.open(tmp_path / "tiles")
    assert tiles.index["col"].max() == 64
    _, classes, valid = next(t for t in tiles.tiles("train") if t.name.endswith("_0_0")).read()
    assert classes[0, 0] == 255
    assert not valid[0, 0]
    assert (classes != 255).sum() == 64 * 64 - 1
    assert tiles.statistics.count == 128 * 256 - 1


def test_four_byte_bands_do_not_become_alpha(tmp_path: Path, labels: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 255, (4, 128, 128), dtype=np.uint8)
    path = write_scene(tmp_path / "scene.tif", bands, photometric="minisblack")
    tile([path], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, overlap=0, split=(1, 0, 0)))
    read, _, _ = next(t for t in TileSet.open(tmp_path / "tiles").tiles("train") if t.name.endswith("_0_64")).read()
    assert (read == bands[:, :64, 64:]).all()


def test_a_scene_smaller_than_a_tile_gives_one_tile(tmp_path: Path, labels: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.ones((1, 40, 50), dtype=np.uint8))
    summary = tile([path], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64, overlap=0))
    assert summary.tiles == {"train": 1, "val": 0, "test": 0}


def test_equal_calls_give_equal_bytes(tmp_path: Path, scene: Path, labels: Path) -> None:
    for name in ("a", "b"):
        tile([scene], labels=labels, output=tmp_path / name, settings=TileSettings(size=64))
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_the_index_is_a_geoparquet_with_footprints(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    index = geopandas.read_parquet(tmp_path / "tiles" / INDEX)
    assert index.crs == "EPSG:32645"
    assert index.total_bounds.tolist() == [300_000, 2_999_850, 300_210, 3_000_000]


def test_scenes_with_other_crs_share_one_index(tmp_path: Path, scene: Path, labels: Path) -> None:
    with rasterio.open(scene) as dataset:
        other = write_scene(tmp_path / "other.tif", dataset.read() + 1, crs="EPSG:4326", transform=_degrees(dataset))
    tile([scene, other], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    index = TileSet.open(tmp_path / "tiles").index
    assert set(index["scene"]) == {str(scene), str(other)}
    assert index.crs == "OGC:CRS84"
    assert np.ptp(index.total_bounds[[0, 2]]) < 0.003


def _degrees(dataset: object) -> Affine:
    from rasterio.warp import transform_bounds

    left, bottom, right, top = transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)  # type: ignore[attr-defined]
    return Affine((right - left) / 420, 0, left, 0, (bottom - top) / 300, top)


def test_a_scene_without_labels_is_skipped_with_a_warning(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = write_scene(
        tmp_path / "far.tif", np.ones((5, 128, 128), dtype=np.uint16), transform=GRID * Affine.translation(1e4, 0)
    )
    with caplog.at_level(logging.WARNING, "satseg"):
        summary = tile([scene, far], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    assert summary.scenes == 1
    assert "No label of" in caplog.text


def test_without_any_label_the_reason_is_given_once(
    tmp_path: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = write_scene(
        tmp_path / "far.tif", np.ones((5, 128, 128), dtype=np.uint16), transform=GRID * Affine.translation(1e4, 0)
    )
    with pytest.raises(LabelError, match="No label of"):
        tile(far, labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    assert "Skipped" not in caplog.text


def test_an_existing_tile_set_is_kept_unless_it_may_be_replaced(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    before = (tmp_path / "tiles" / INDEX).read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, overlap=0))
    assert (tmp_path / "tiles" / INDEX).read_bytes() == before
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, overlap=0, overwrite=True))
    assert TileSet.open(tmp_path / "tiles").tile_size == 32


@pytest.mark.parametrize("resume", [False, True])
def test_only_a_tile_set_is_replaced(tmp_path: Path, scene: Path, labels: Path, resume: bool) -> None:
    thesis, notes = tmp_path / "thesis", tmp_path / "notes.txt"
    thesis.mkdir()
    for file in (thesis / "thesis.docx", notes):
        file.write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis is not a tile set .* holds thesis\.docx"):
        tile([scene], labels=labels, output=thesis, settings=TileSettings(overwrite=True, resume=resume))
    with pytest.raises(OutputError, match=r"notes\.txt is a file"):
        tile([scene], labels=labels, output=notes, settings=TileSettings(overwrite=True, resume=resume))
    assert (thesis / "thesis.docx").read_text() == notes.read_text() == "years of work"


def test_a_scene_in_the_folder_that_is_replaced_is_kept(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    image = min((tmp_path / "tiles" / "images").iterdir())
    with pytest.raises(UsageError, match="is in the output folder"):
        tile([image], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=32, overwrite=True))
    assert image.exists()


def test_an_empty_folder_is_filled(tmp_path: Path, scene: Path, labels: Path) -> None:
    (tmp_path / "tiles").mkdir()
    assert tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64)).scenes == 1


def test_what_fails_leaves_nothing_behind(tmp_path: Path, real_files: Path) -> None:
    corrupt = real_files / "rasters" / "corrupt.tif"
    with rasterio.open(corrupt) as dataset:
        box = shapely.box(*dataset.bounds)
    geopandas.GeoDataFrame(geometry=[box], crs="EPSG:3857").to_file(tmp_path / "labels.gpkg")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SceneError, match="cannot be read"):
        tile([corrupt], labels=tmp_path / "labels.gpkg", output=tmp_path / "tiles")
    assert sorted(tmp_path.iterdir()) == before


def test_scenes_with_other_bands_are_refused(tmp_path: Path, scene: Path, labels: Path) -> None:
    other = write_scene(tmp_path / "b.tif", np.ones((3, 300, 420), dtype=np.uint8))
    with pytest.raises(TileError, match=r"b.tif has 3 bands of uint8 .* but .*scene.tif has 5 bands of uint16"):
        tile([scene, other], labels=labels, output=tmp_path / "tiles")


def test_nothing_valid_is_said(tmp_path: Path, real_files: Path) -> None:
    path = real_files / "rasters" / "all-nodata.tif"
    with Scene.open(path) as opened:
        info = opened.info
    box = shapely.Polygon([info.transform * c for c in [(0, 0), (50, 0), (50, 50), (0, 50)]])
    geopandas.GeoDataFrame(geometry=[box], crs=info.crs).to_file(tmp_path / "labels.gpkg")
    with pytest.raises(TileError, match="No pixel of any scene is both valid and labelled"):
        tile([path], labels=tmp_path / "labels.gpkg", output=tmp_path / "tiles")


def test_a_class_raster_serves_as_labels(tmp_path: Path, scene: Path) -> None:
    values = np.full((300, 420), 255, dtype=np.uint8)
    values[:200, :200] = 7
    values[50:60] = 9
    path = write_scene(tmp_path / "classes.tif", values[None], nodata=255)
    summary = tile(
        [scene], labels=path, output=tmp_path / "tiles", settings=TileSettings(size=60, overlap=0, split=(1, 0, 0))
    )
    assert summary.pixels["train"] == {"class 7": 200 * 200 - 2000, "class 9": 4200}


@pytest.mark.parametrize("sizes", [{"size": 16}, {"size": 64, "overlap": 64}, {"size": 64, "overlap": 0, "block": 63}])
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, scene: Path, labels: Path, sizes: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(**sizes))


def test_missing_labels_are_said(tmp_path: Path, scene: Path) -> None:
    with pytest.raises(LabelError, match=r"none.gpkg do not exist"):
        tile([scene], labels=tmp_path / "none.gpkg", output=tmp_path / "tiles")


def test_a_damaged_tile_is_named(tmp_path: Path, scene: Path, labels: Path) -> None:
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(size=64))
    record = TileSet.open(tmp_path / "tiles").tiles("train")[0]
    record.image.write_bytes(record.image.read_bytes()[:300])
    with pytest.raises(TileError, match=record.name):
        record.read()


def test_a_folder_without_tiles_is_said(tmp_path: Path) -> None:
    with pytest.raises(TileError, match="is not a tile set"):
        TileSet.open(tmp_path)
