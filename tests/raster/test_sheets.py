"""Sheets that are no mosaic are refused in one sentence, which names them, what differs and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp
from scene_files import GRID, numbered, write_scene

from satseg.errors import SceneError, UsageError
from satseg.geo.grid import Grid
from satseg.raster.sheets import lay_out
from satseg.raster.source import SceneSource

BESIDE = GRID * Affine.translation(20, 0)


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A sheet of 3 bands of 20 x 10 px."""
    return write_scene(tmp_path / "first.tif", numbered(3, 10, 20, "uint8"))


def sheet(folder: Path, name: str = "odd.tif", **profile: object) -> Path:
    return write_scene(folder / name, numbered(3, 10, 20, "uint8"), **({"transform": BESIDE} | profile))


def refusal(*sheets: Path) -> SceneError:
    with pytest.raises(SceneError) as caught:
        lay_out([str(path) for path in sheets])
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_another_crs(first: Path, tmp_path: Path) -> None:
    error = refusal(first, sheet(tmp_path, crs="EPSG:32633"))
    assert f"{tmp_path / 'odd.tif'} is in EPSG:32633, but {first} is in EPSG:32632" in error.message
    assert "gdalwarp -t_srs" in error.hint


def test_no_place(first: Path, tmp_path: Path) -> None:
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        lost = sheet(tmp_path, transform=Affine.identity())
    assert f"{lost} is not georeferenced" in refusal(first, lost).message


@pytest.mark.parametrize(
    ("bands", "phrase"),
    [
        (numbered(2, 10, 20, "uint8"), "has 2 image bands, but .* has 3 image bands"),
        (numbered(3, 10, 20, "uint16"), "has values of type uint16, but .* has values of type uint8"),
    ],
)
def test_other_bands(first: Path, tmp_path: Path, bands: np.ndarray, phrase: str) -> None:
    error = refusal(first, write_scene(tmp_path / "odd.tif", bands, transform=BESIDE))
    assert re.search(rf"odd\.tif {phrase}", error.message)


def test_other_colours(first: Path, tmp_path: Path) -> None:
    odd = sheet(tmp_path)
    with rasterio.open(odd, "r+") as dataset:
        dataset.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    error = refusal(first, odd)
    assert (
        f"{odd} has the bands 1 blue, 2 green, 3 red, but {first} has the bands 1 red, 2 green, 3 blue" in error.message
    )


def test_another_scale(first: Path, tmp_path: Path) -> None:
    odd = sheet(tmp_path)
    with rasterio.open(odd, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5,) * 3, (1.0,) * 3
    assert (
        f"{odd} has the scale 0.5 and offset 1, but {first} has the scale 1 and offset 0" in refusal(first, odd).message
    )


def test_another_pixel_size(first: Path, tmp_path: Path) -> None:
    odd = sheet(tmp_path, transform=BESIDE * Affine.scale(1.25))
    assert f"{odd} has pixels of 2.5 x 2.5, but {first} of 2 x 2" in refusal(first, odd).message


def test_a_grid_that_is_turned(first: Path, tmp_path: Path) -> None:
    odd = sheet(tmp_path, transform=BESIDE * Affine.rotation(3))
    assert "has pixels of 2 x 2, turned by" in refusal(first, odd).message


def test_a_part_of_a_pixel_off_and_the_command_that_moves_it(first: Path, tmp_path: Path) -> None:
    odd = sheet(tmp_path, transform=GRID * Affine.translation(20.25, 0.4))
    error = refusal(first, odd)
    assert f"{odd} lies off the grid of {first}, by 0.25 px along rows and 0.4 px along columns" in error.message
    assert "gdalwarp -te 500040 4999980 500080 5000000 -ts 20 10 FILE" in error.hint


def test_the_odd_ones_are_named_also_where_they_come_first(first: Path, tmp_path: Path) -> None:
    others = [
        sheet(tmp_path, f"{n}.tif", crs="EPSG:32633", transform=GRID * Affine.translation(20 * n, 0)) for n in (1, 2)
    ]
    assert refusal(first, *others).message.startswith(f"{first} is in EPSG:32632, but {others[0]} is in EPSG:32633")
    assert f"{others[0]}, {others[1]} are in" in refusal(first, *others, *_more(tmp_path)).message


def _more(folder: Path) -> list[Path]:
    return [sheet(folder, f"more{n}.tif", transform=GRID * Affine.translation(20 * n, 10)) for n in (1, 2)]


def test_rounded_coordinates_are_on_the_grid(first: Path, tmp_path: Path) -> None:
    rounded = sheet(tmp_path, transform=GRID * Affine.translation(20.004, 0.004))
    assert [(part.left, part.top) for part in lay_out([str(first), str(rounded)]).sheets] == [(0, 0), (20, 0)]


def test_the_grid_is_that_of_the_corners_whichever_sheet_comes_first(first: Path, tmp_path: Path) -> None:
    below = sheet(tmp_path, transform=GRID * Affine.translation(-3, 7))
    for named in ([first, below], [below, first]):
        mosaic = lay_out(list(map(str, named)))
        assert mosaic.grid == Grid(23, 17, GRID * Affine.translation(-3, 0), "EPSG:32632")


def test_sheets_continue_across_the_antimeridian(tmp_path: Path) -> None:
    west = sheet(tmp_path, "west.tif", crs="EPSG:4326", transform=Affine(0.1, 0, 178, 0, -0.1, 60))
    east = sheet(tmp_path, "east.tif", crs="EPSG:4326", transform=Affine(0.1, 0, -180, 0, -0.1, 60))
    mosaic = lay_out([str(west), str(east)])
    assert mosaic.grid == Grid(40, 10, Affine(0.1, 0, 178, 0, -0.1, 60), "EPSG:4326")


def test_a_sheet_too_far_away(first: Path, tmp_path: Path) -> None:
    odd = sheet(tmp_path, transform=GRID * Affine.translation(3e9, 0))
    assert (
        f"{odd} lies so far from {first} that the mosaic would have 3,000,000,020 x 10 px"
        in refusal(first, odd).message
    )


def test_a_sheet_that_is_named_twice(first: Path, tmp_path: Path) -> None:
    (tmp_path / "link.tif").symlink_to(first)
    assert f"{tmp_path / 'link.tif'} is named twice, also as {first}" in refusal(first, tmp_path / "link.tif").message


def test_a_stack_is_no_sheet(first: Path) -> None:
    with pytest.raises(UsageError, match="is a stack of files, a mosaic, a selection of bands or has extra rasters"):
        SceneSource.from_sheets([first, SceneSource((str(first), str(first)))])
    with pytest.raises(UsageError, match="There is no scene to map"):
        SceneSource.from_sheets([])
