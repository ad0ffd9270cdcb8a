"""The picture of a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from drawn import check_legend
from PIL import Image
from rasterio.transform import from_origin

from satseg.classes import ClassTable
from satseg.figures import save_figure
from satseg.workflows import preview
from satseg.workflows.preview import draw_preview

TABLE = ClassTable.from_names(["background", "roof"])
GRID = {
    "driver": "GTiff",
    "width": 64,
    "height": 64,
    "crs": "EPSG:32633",
    "transform": from_origin(500_000, 4_000_000, 2, 2),
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A scene whose right half is a roof, with its map and its polygon."""
    half = np.zeros((64, 64), dtype=np.uint8)
    half[:, 32:] = 1
    with rasterio.open(tmp_path / "scene.tif", "w", dtype="uint8", count=3, **GRID) as scene:
        scene.write(np.stack([half * 200, half * 10, half * 10]))
    roof = shapely.box(500_064, 4_000_000 - 128, 500_128, 4_000_000)
    frame = geopandas.GeoDataFrame({"class_id": [1]}, geometry=[roof], crs="EPSG:32633")
    frame.to_file(tmp_path / "polygons.gpkg")
    frame.iloc[:0].to_file(tmp_path / "none.gpkg")
    return {
        name: tmp_path / f"{name}.{suffix}"
        for name, suffix in [("scene", "tif"), ("polygons", "gpkg"), ("none", "gpkg")]
    }


def panels(path: Path) -> np.ndarray:
    """Return the picture as (row, col, rgb), cut to the rows of the panels."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))[60:480].astype(int)


def draw(files: dict[str, Path], target: Path, polygons: str = "polygons") -> np.ndarray:
    draw_preview(target, scene=files["scene"], polygons=files[polygons], table=TABLE)
    return panels(target)


def test_each_panel_shows_the_roof_on_its_right(files: dict[str, Path], tmp_path: Path) -> None:
    picture = draw(files, tmp_path / "preview.png")
    half = picture.shape[1] // 2
    row = picture[40]
    ground, roof = (round(255 * preview.FADED + (1 - preview.FADED) * grey) for grey in (0, 220 / 3))
    mixed = [round(preview.FILL * part + (1 - preview.FILL) * roof) for part in TABLE[1].rgb]
    for number, (left, right) in enumerate([((0, 0, 0), (200, 10, 10)), ((ground,) * 3, mixed)]):
        assert np.abs(row[number * half + half // 4] - left).max() <= 8  # the palette may change colours a little
        assert np.abs(row[number * half + 3 * half // 4] - right).max() <= 8


def test_a_map_without_polygons_is_drawn(files: dict[str, Path], tmp_path: Path) -> None:
    picture = draw(files, tmp_path / "preview.png", polygons="none")
    assert np.ptp(picture[40, -40]) <= 8  # the scene in grey, without the colour of a class


def test_the_legend_is_below_the_panels_and_has_their_colours(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []

    def save(figure: Any, path: Path, table: ClassTable) -> None:
        save_figure(figure, path, table)
        figures.append(figure)

    monkeypatch.setattr(preview, "save_figure", save)
    draw(files, tmp_path / "preview.png")
    check_legend(figures[0], tmp_path / "preview.png", {TABLE[1].name: TABLE[1].rgb})


def test_equal_maps_give_equal_pictures(files: dict[str, Path], tmp_path: Path) -> None:
    draw(files, tmp_path / "a.png")
    draw(files, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_scene_of_one_float_band_is_stretched(files: dict[str, Path], tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1000, 64, dtype=np.float32), (64, 1))
    ramp[0, 0] = np.nan
    with rasterio.open(files["scene"], "w", dtype="float32", count=1, nodata=np.nan, **GRID) as scene:
        scene.write(ramp, 1)
    picture = draw(files, tmp_path / "preview.png")
    row = picture[60, 20 : picture.shape[1] // 2 - 20, 0]
    assert row[0] < 20
    assert row[-1] > 235
