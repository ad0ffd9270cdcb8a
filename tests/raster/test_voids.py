from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scene_files import write_scene

from satseg.raster.scene import Scene
from satseg.raster.source import SceneSource
from satseg.raster.voids import describe_undeclared_void
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile


def phrase(path: Path, values: np.ndarray, nodata: float | None = None) -> str | None:
    with Scene.open(write_scene(path, values, nodata=nodata)) as scene:
        return describe_undeclared_void(scene)


def ground(bands: int = 3, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(1, 250, (bands, 200, 300)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "bands", "value", "said", "command"),
    [
        ("uint8", 3, 0, "black", "nearblack -setalpha -o marked.tif FILE"),
        ("uint8", 3, 255, "white", "nearblack -white -setalpha -o marked.tif FILE"),
        ("uint8", 5, 255, "white", "gdal_edit.py -a_nodata 255 FILE"),
        ("uint16", 3, 65535, "white", "gdal_edit.py -a_nodata 65535 FILE"),
        ("float32", 3, 0, "black", "gdal_edit.py -a_nodata 0 FILE"),
    ],
)
def test_void_corners_are_named_with_their_value_and_the_command_that_marks_them(
    tmp_path: Path, dtype: str, bands: int, value: int, said: str, command: str
) -> None:
    values = ground(bands, dtype)
    values[:, :70, :70] = value
    values[:, -70:, -70:] = value
    text = phrase(tmp_path / "a.tif", values)
    assert text is not None
    assert f"is {said} ({value} in all bands) in its upper left and lower right corners" in text
    assert text.endswith(f"This marks it: {command}")


def test_ground_declared_voids_and_scenes_of_one_band_are_not_remarked(tmp_path: Path) -> None:
    assert phrase(tmp_path / "ground.tif", ground()) is None
    void = ground()
    void[:, :70, :70] = 0
    assert phrase(tmp_path / "declared.tif", void, nodata=0) is None
    assert phrase(tmp_path / "radar.tif", void[:1]) is None


def test_a_corner_of_another_colour_or_with_one_other_pixel_is_ground(tmp_path: Path) -> None:
    grey, speck = ground(), ground()
    grey[:, :70, :70] = 128
    speck[:, :70, :70] = 255
    speck[1, 5, 5] = 254
    assert phrase(tmp_path / "grey.tif", grey) is None
    assert phrase(tmp_path / "speck.tif", speck) is None


def test_tile_and_predict_say_it_once_for_all_scenes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = []
    for number in range(3):
        values = ground()
        values[:, :70, :70] = 255 * (number > 0)
        values[0, -1, -1] = number  # no copies of each other
        paths.append(write_scene(tmp_path / f"{number}.tif", values))
    settings = TileSettings(size=32, gsd="1m")
    labels = write_scene(tmp_path / "labels.tif", (ground()[:1] > 125).astype("uint8"))
    tile(paths, labels=labels, output=tmp_path / "tiles", settings=settings)
    said = [record.getMessage() for record in caplog.records if "nearblack" in record.getMessage()]
    assert len(said) == 1
    assert "is black" in said[0]
    assert "2 more scenes look like that" in said[0]


def test_elevation_does_not_hide_a_void_of_the_image(tmp_path: Path) -> None:
    values = ground()
    values[:, :70, :70] = 0
    scene = write_scene(tmp_path / "a.tif", values)
    heights = write_scene(tmp_path / "dsm.tif", np.full((1, 200, 300), 7.5, dtype=np.float32))
    with SceneSource((str(scene),), extra=[str(heights)]).open() as opened:
        assert "upper left corner" in (describe_undeclared_void(opened) or "")
