"""Which bands of a raster are shown, and between which values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from made_scenes import write_scene
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from satseg.raster.display import read_display

RAMP = np.arange(100 * 101, dtype=np.uint16).reshape(100, 101)


def described(path: Path, bands: np.ndarray, names: tuple[str, ...], **profile: object) -> str:
    with rasterio.open(write_scene(path, bands, **profile), "r+") as dataset:
        dataset.descriptions = names
    return str(path)


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (("B02", "B03", "B04", "B08"), (3, 2, 1)),
        (("nir", "Red", "green", "BLUE"), (2, 3, 4)),
        (("VV", "VH", "ratio", "other"), (1, 2, 3)),
        (("VV", "VH"), (1,)),
        (("dsm",), (1,)),
    ],
)
def test_bands_called_red_green_and_blue_are_shown_else_the_first(
    tmp_path: Path, names: tuple[str, ...], bands: tuple[int, ...]
) -> None:
    values = np.ones((len(names), 8, 8), dtype=np.uint16)
    assert read_display(described(tmp_path / "a.tif", values, names, photometric="minisblack")).bands == bands


def test_colours_that_the_file_marks_come_first(tmp_path: Path) -> None:
    path = described(tmp_path / "a.tif", np.ones((4, 8, 8), dtype=np.uint8), ("red", "green", "blue", "x"))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.undefined, ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    assert read_display(path).bands == (4, 3, 2)


def test_bytes_are_shown_as_they_are_and_wider_values_between_percentiles(tmp_path: Path) -> None:
    assert read_display(str(write_scene(tmp_path / "b.tif", RAMP[None, :, :9].astype(np.uint8)))).ranges is None
    found = read_display(str(write_scene(tmp_path / "a.tif", RAMP[None]))).ranges
    assert found == ((pytest.approx(np.percentile(RAMP, 2)), pytest.approx(np.percentile(RAMP, 98))),)


def test_nodata_and_nan_do_not_count(tmp_path: Path) -> None:
    values = RAMP[None].astype(np.float32)
    values[0, :20] = -9999
    values[0, 20, :50] = np.nan
    found = read_display(str(write_scene(tmp_path / "a.tif", values, nodata=-9999))).ranges
    counted = RAMP.ravel()[20 * 101 + 50 :]
    assert found == ((pytest.approx(np.percentile(counted, 2)), pytest.approx(np.percentile(counted, 98))),)


def test_values_are_those_that_scale_and_offset_give(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", RAMP[None])
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4,), (-0.1,)
    low, high = (float(np.percentile(RAMP, cut)) * 1e-4 - 0.1 for cut in (2, 98))
    assert read_display(str(path)).ranges == ((pytest.approx(low), pytest.approx(high)),)


@pytest.mark.parametrize("value", [0, 7])
def test_one_value_still_has_a_range(tmp_path: Path, value: int) -> None:
    values = np.full((1, 8, 8), value, dtype=np.uint16)
    ranges = read_display(str(write_scene(tmp_path / "a.tif", values, nodata=0))).ranges
    assert ranges is not None
    assert ranges[0][0] < ranges[0][1]


def test_a_large_file_without_overviews_is_read_in_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("satseg.raster.display.SAMPLE", 10)
    monkeypatch.setattr("satseg.raster.display.WHOLE", 20)
    middle = RAMP[45:55, 45:55]
    found = read_display(str(write_scene(tmp_path / "a.tif", RAMP[None]))).ranges
    assert found == ((pytest.approx(np.percentile(middle, 2)), pytest.approx(np.percentile(middle, 98))),)


def test_alpha_is_no_colour(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", np.ones((2, 8, 8), dtype=np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.alpha, ColorInterp.gray)
    found = read_display(str(path))
    assert (found.bands, found.alpha) == ((2,), 1)


def test_a_palette_is_read(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", np.ones((1, 8, 8), dtype=np.uint8))
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (1, 2, 3, 255), 1: (4, 5, 6, 255)})
    found = read_display(str(path)).palette
    assert found is not None
    assert (found[0], found[1]) == ((1, 2, 3, 255), (4, 5, 6, 255))


def test_what_is_no_raster_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no")
    with pytest.raises(RasterioError):
        read_display(str(tmp_path / "a.tif"))
