"""Covers ``rasterfile``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from satseg.errors import SceneError
from satseg.geo.grid import ground_sampling_distance
from satseg.raster.scene import Scene

GRID = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)


def write(path: Path, bands: np.ndarray, **profile: object) -> Path:
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32632", "transform": GRID} | profile
    with rasterio.open(
        path, "w", count=len(bands), height=bands.shape[1], width=bands.shape[2], dtype=bands.dtype.name, **options
    ) as dataset:
        dataset.write(bands)
    return path


def read_all(path: Path, **options: bool) -> tuple[np.ndarray, np.ndarray]:
    with Scene.open(path, **options) as scene:
        return scene.read(Window(0, 0, scene.info.width, scene.info.height))


def test_a_scene_reads_raw_values_of_a_window(tmp_path: Path) -> None:
    bands = np.arange(2 * 6 * 5, dtype=np.uint16).reshape(2, 6, 5)
    path = write(tmp_path / "a.tif", bands)
    with Scene.open(path) as scene:
        values, valid = scene.read(Window(1, 2, 3, 4))
    assert values.dtype == np.uint16
    assert (values == bands[:, 2:6, 1:4]).all()
    assert valid.all()


def test_a_pixel_is_valid_where_every_band_is(tmp_path: Path) -> None:
    bands = np.ones((2, 3, 3), dtype=np.int16)
    bands[0, 0, 0] = bands[1, 2, 2] = -1
    _, valid = read_all(write(tmp_path / "a.tif", bands, nodata=-1))
    assert valid.tolist() == [[False, True, True], [True, True, True], [True, True, False]]


def test_nan_and_infinity_are_not_valid(tmp_path: Path) -> None:
    bands = np.zeros((1, 2, 2), dtype=np.float32)
    bands[0, 0] = np.nan, np.inf
    _, valid = read_all(write(tmp_path / "a.tif", bands))
    assert valid.tolist() == [[False, False], [True, True]]


def test_alpha_is_a_mask_and_not_a_band(tmp_path: Path) -> None:
    bands = np.full((4, 2, 2), 9, dtype=np.uint8)
    bands[3] = [[0, 255], [255, 0]]
    path = write(tmp_path / "a.tif", bands, photometric="rgb", alpha="yes")
    with Scene.open(path) as scene:
        assert scene.info.bands.names == ("red", "green", "blue")
    values, valid = read_all(path)
    assert values.shape == (3, 2, 2)
    assert valid.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("told", "names"),
    [
        (("tile_7_R", "tile_7_NIR"), ("R", "NIR")),
        (("r-Tile_7", "nir-tile_7"), ("r", "nir")),
        (("tile_7-1", "tile_7-2"), ("band_1", "band_2")),
        (("tile_7_R", "NIR"), ("tile_7_R", "NIR")),
        (("tile_7_R", "R_tile_7"), ("tile_7_R", "R_tile_7")),
        (("tile_71", "tile_72"), ("tile_71", "tile_72")),
    ],
)
def test_the_name_of_the_chip_is_no_part_of_the_names_of_its_bands(
    tmp_path: Path, told: tuple[str, str], names: tuple[str, str]
) -> None:
    path = write(tmp_path / "tile_7.tif", np.ones((2, 2, 2), dtype=np.uint8), photometric="minisblack")
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = told
    with Scene.open(path) as scene:
        assert scene.info.bands.names == names


def test_near_infrared_that_is_marked_as_alpha_is_doubted(tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
    path = write(tmp_path / "rgbn.tif", bands)  # GDAL marks the fourth band of 8 bits so
    with Scene.open(path) as scene:
        assert "--colorinterp red,green,blue,undefined" in (scene.info.doubt or "")
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
    with Scene.open(path) as scene:
        assert scene.info.doubt is None
        assert len(scene.info.bands) == 4


@pytest.mark.parametrize("edge", [0, 128])
def test_a_mask_in_an_alpha_band_is_not_doubted(edge: int, tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
    bands[3] = 255
    bands[3, :20] = 0
    bands[3, 20:24] = edge  # half transparent, as resampling leaves it
    with Scene.open(write(tmp_path / "rgba.tif", bands)) as scene:
        assert scene.info.doubt is None


def test_alpha_counts_beside_any_number_of_bands(tmp_path: Path) -> None:
    bands = np.full((6, 2, 2), 9, dtype=np.uint16)  # five bands of a drone camera; GDAL's masks know RGBA only
    bands[5] = [[0, 65535], [1, 0]]
    path = write(tmp_path / "a.tif", bands, photometric="minisblack")
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [*[ColorInterp.gray] * 5, ColorInterp.alpha]
    values, valid = read_all(path)
    assert values.shape == (5, 2, 2)
    assert valid.tolist() == [[False, True], [True, False]]
    with Scene.open(path) as scene, pytest.raises(SceneError, match="no image band number 6"):
        assert scene.info.has_mask
        Scene.open(path, bands=["6"])


def test_nodata_that_a_type_cannot_hold_masks_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.array([[[0, 241]]], dtype=np.uint8))
    text = (
        f'<VRTDataset rasterXSize="2" rasterYSize="1"><VRTRasterBand dataType="Byte" band="1">'
        f"<NoDataValue>-9999</NoDataValue><SimpleSource><SourceFilename>{path}</SourceFilename>"
        f"<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    (tmp_path / "a.vrt").write_text(text)
    assert read_all(tmp_path / "a.vrt")[1].all()


def test_bands_of_one_file_may_have_masks_of_their_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((2, 1, 3), dtype=np.uint8))
    masks = write(tmp_path / "m.tif", np.array([[[0, 255, 255]], [[255, 255, 0]]], dtype=np.uint8))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}"><SimpleSource><SourceFilename>{path}</SourceFilename>'
        f'<SourceBand>{i}</SourceBand></SimpleSource><MaskBand><VRTRasterBand dataType="Byte"><SimpleSource>'
        f"<SourceFilename>{masks}</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
        "</VRTRasterBand>"
        for i in (1, 2)
    )
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="3" rasterYSize="1">{bands}</VRTDataset>')
    assert read_all(tmp_path / "a.vrt")[1].tolist() == [[False, True, False]]
    with Scene.open(tmp_path / "a.vrt", bands=["2"]) as scene:
        assert scene.read(Window(0, 0, 3, 1))[1].tolist() == [[True, True, False]]


def test_an_internal_mask_decides_what_is_valid(tmp_path: Path) -> None:
    mask = np.array([[True, False], [False, True]])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "a.tif", np.zeros((1, 2, 2), dtype=np.uint8))
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(mask)
    assert (read_all(path)[1] == mask).all()


def test_a_palette_is_expanded_to_its_colours(tmp_path: Path) -> None:
    indices = np.array([[[0, 1], [2, 1]]], dtype=np.uint8)
    path = write(tmp_path / "a.tif", indices, nodata=2)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (1, 2, 3), 1: (4, 5, 6), 2: (7, 8, 9)})
    values, valid = read_all(path)
    assert values[:, 0, 1].tolist() == [4, 5, 6]
    assert valid.tolist() == [[True, True], [False, True]]
    assert (read_all(path, expand_palette=False)[0] == indices).all()


def test_four_byte_bands_without_alpha_stay_four(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.zeros((4, 2, 2), dtype=np.uint8), photometric="minisblack")
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    with Scene.open(path) as scene:
        assert scene.info.bands.names == ("blue", "green", "red", "band_4")


def test_scale_and_offset_belong_to_the_bands(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.zeros((1, 2, 2), dtype=np.int16))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.0001,), (-0.1,)
    with Scene.open(path) as scene:
        assert scene.info.bands.scales == (0.0001,)
        assert scene.info.bands.offsets == (-0.1,)


def test_web_mercator_metres_are_not_ground_metres() -> None:
    grid = Affine(1, 0, 0, 0, -1, 8_399_738)  # 60 degrees north, where Mercator stretches twofold
    gsd = ground_sampling_distance("EPSG:3857", grid, 2, 2)
    assert gsd == pytest.approx((0.5, 0.5), rel=0.01)


def test_degrees_are_measured_on_the_ellipsoid() -> None:
    gsd = ground_sampling_distance("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 60), 2, 2)
    assert gsd == pytest.approx((55.8, 111.4), rel=0.01)


def test_a_rotated_grid_has_the_same_gsd() -> None:
    gsd = ground_sampling_distance("EPSG:32632", GRID * Affine.rotation(30), 10, 10)
    assert gsd == pytest.approx((2, 2), rel=0.001)


def test_what_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"none.tif does not exist"):
        Scene.open(tmp_path / "none.tif")


def test_what_is_no_raster_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("not a raster")
    with pytest.raises(SceneError, match="cannot be opened as a raster") as caught:
        Scene.open(tmp_path / "a.tif")
    assert caught.value.hint is None


def test_polygons_in_place_of_a_scene_are_named(tmp_path: Path) -> None:
    (tmp_path / "roofs.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(SceneError, match="cannot be opened as a raster") as caught:
        Scene.open(tmp_path / "roofs.geojson")
    assert "that of polygons" in str(caught.value.hint)


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_complex_values_are_refused(tmp_path: Path, dtype: str) -> None:
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", count=1, height=2, width=2, dtype=dtype):
        pass
    with pytest.raises(SceneError, match=dtype):
        Scene.open(tmp_path / "a.tif")


def test_rpcs_are_refused_with_the_remedy(real_files: Path) -> None:
    with pytest.raises(SceneError, match="RPC") as caught:
        Scene.open(real_files / "rasters" / "RGB.byte.rpc.vrt")
    assert "gdalwarp -rpc" in str(caught.value.hint)


def test_every_awkward_raster_is_read_or_refused_in_one_sentence(real_files: Path) -> None:
    refused = []
    for path in sorted((real_files / "rasters").iterdir()):
        try:
            values, valid = read_all(path)
        except SceneError as error:
            refused.append(path.name)
            assert str(path.name) in error.message
            assert "\n" not in error.message
        else:
            assert values.shape[1:] == valid.shape
    assert refused == ["RGB.byte.rpc.vrt", "RGB.byte.tif.aux.xml", "corrupt.tif"]


def test_threads_that_open_a_scene_again_leave_proj_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", np.ones((1, 8, 8), dtype=np.uint8), transform=Affine(3, 0, 512_345, 0, -3, 4e6))

    def describe(_: int) -> object:
        with Scene.open(path) as scene:
            return scene.info

    first = describe(0)
    asked: list[str] = []
    monkeypatch.setattr(Transformer, "transform", lambda *_, **__: asked.append("transform"))
    monkeypatch.setattr(CRS, "_crs", property(lambda _: asked.append("crs")))  # built anew in every thread
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(describe, range(4))) == [first] * 4
    assert asked == []
