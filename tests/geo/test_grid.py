"""Grids: compared in pixels, in whatever units; and places that cannot be.

Covers ``raster/aligned`` and ``raster/regrid``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.windows import Window

from satseg.errors import LabelError, SceneError
from satseg.geo.grid import Grid, misfit, same_grid, turned_towards
from satseg.labels.raster_labels import RasterLabels
from satseg.raster.extra import ExtraFile
from satseg.raster.scene import Scene
from tests.scene_files import write_scene

_DEGREES = Affine(5e-6, 0, 11.5, 0, -5e-6, 48.1)  # about half a metre


def _grid(transform: Affine, crs: str | None = "EPSG:4326", side: int = 64) -> Grid:
    return Grid(side, side, transform, crs)


@given(st.floats(1e-9, 1e4), st.floats(-0.02, 0.02), st.floats(-0.02, 0.02), st.floats(-180, 180), st.integers(1, 5000))
def test_grids_are_one_up_to_a_hundredth_of_a_pixel(unit: float, dx: float, dy: float, turn: float, side: int) -> None:
    transform = Affine.translation(3.0, 4.0) * Affine.rotation(turn) * Affine.scale(unit, -unit)
    moved = _grid(transform * Affine.translation(dx, dy), "EPSG:32633", side)
    apart = max(abs(dx), abs(dy))

    assert misfit(_grid(transform, "EPSG:32633", side), moved) == pytest.approx(apart, abs=1e-3 + 1e-10 / unit)
    if abs(apart - 0.01) > 1e-3 + 1e-10 / unit:
        assert same_grid(_grid(transform, "EPSG:32633", side), moved) == (apart < 0.01)


def test_larger_pixels_are_another_grid_whatever_their_unit() -> None:
    assert not same_grid(_grid(_DEGREES), _grid(_DEGREES * Affine.scale(3)))
    assert not same_grid(_grid(_DEGREES), _grid(_DEGREES * Affine.translation(4, 0)))
    assert same_grid(_grid(_DEGREES), _grid(_DEGREES * Affine.translation(0.001, 0)))


def test_longitudes_from_0_to_360_are_those_from_minus_180_to_180() -> None:
    east, west = _grid(Affine(0.1, 0, 258, 0, -0.1, 40)), _grid(Affine(0.1, 0, -102, 0, -0.1, 40))

    assert same_grid(east, west)
    assert turned_towards(west, east).transform.c == 258
    assert turned_towards(west, west) == west


def _labels(path: Path, transform: Affine, values: np.ndarray, crs: str = "EPSG:4326") -> RasterLabels:
    write_scene(path, values[None].astype("uint8"), transform=transform, crs=crs)
    return RasterLabels(str(path))


@pytest.mark.parametrize("shift", [4, -4])
def test_label_rasters_in_degrees_are_moved_by_few_pixels(tmp_path: Path, shift: int) -> None:
    values = np.random.default_rng(0).integers(1, 4, (32, 32))
    labels = _labels(tmp_path / "labels.tif", _DEGREES, values)
    scene = write_scene(
        tmp_path / "scene.tif",
        np.zeros((1, 32, 32), "uint8"),
        crs="EPSG:4326",
        transform=_DEGREES * Affine.translation(shift, 0),
    )

    with Scene.open(scene) as opened:
        on_grid = labels.on(opened.info)
        found, classes = on_grid.objects(Window(0, 0, 32, 32), np.arange(3, dtype=np.uint8))
        on_grid.close()

    expected = np.zeros_like(values)
    if shift > 0:
        expected[:, :-shift] = values[:, shift:]
    else:
        expected[:, -shift:] = values[:, :shift]
    assert np.array_equal(found, expected)
    assert classes.tolist()[1:] == [0, 1, 2]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4269"])
@pytest.mark.parametrize(("labels_west", "scene_west"), [(-102, 258), (258, -102), (258, 258), (-102, -102)])
def test_label_rasters_from_the_other_turn_of_the_globe_are_used(
    tmp_path: Path, crs: str, labels_west: float, scene_west: float
) -> None:
    values = np.random.default_rng(0).integers(1, 4, (48, 48))
    labels = _labels(tmp_path / "labels.tif", Affine(0.001, 0, labels_west - 0.008, 0, -0.001, 40.008), values, crs)
    scene = write_scene(
        tmp_path / "scene.tif",
        np.zeros((1, 32, 32), "uint8"),
        crs="EPSG:4326",
        transform=Affine(0.001, 0, scene_west, 0, -0.001, 40),
    )

    with Scene.open(scene) as opened:
        on_grid = labels.on(opened.info)
        found, _ = on_grid.objects(Window(0, 0, 32, 32), np.arange(3, dtype=np.uint8))
        on_grid.close()

    assert np.array_equal(found, values[8:40, 8:40])


def test_a_crs_without_a_geotransform_places_nothing(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((1, 8, 8), "uint8"), transform=Affine.identity())

    with Scene.open(path) as scene:
        assert scene.info.crs is None
        assert scene.info.gsd is None
        assert "not georeferenced: it has the CRS EPSG:32632" in str(scene.info.doubt)


@pytest.mark.parametrize(
    ("crs", "corner", "phrase"),
    [
        ("EPSG:4326", (500000, 5000000), "metres labelled as degrees"),
        ("EPSG:4326", (10, 95), "metres labelled as degrees"),
        ("EPSG:32633", (1e9, 1e9), "not defined"),
        ("EPSG:2154", (5000000, 500000), "degrees outside the area of use of EPSG:2154"),
    ],
)
def test_places_that_cannot_be_are_doubted_with_numbers(
    tmp_path: Path, crs: str, corner: tuple[float, float], phrase: str
) -> None:
    path = write_scene(
        tmp_path / "scene.tif",
        np.zeros((1, 8, 8), "uint8"),
        crs=crs,
        transform=Affine(1, 0, corner[0], 0, -1, corner[1]),
    )

    with Scene.open(path) as scene:
        assert phrase in str(scene.info.doubt)
        assert f"{corner[0]:.10g}" in str(scene.info.doubt)


def test_degrees_labelled_as_metres_are_doubted(tmp_path: Path) -> None:
    pixels, place = np.zeros((1, 8, 8), "uint8"), Affine(1e-4, 0, 9, 0, -1e-4, 48)
    with Scene.open(write_scene(tmp_path / "scene.tif", pixels, transform=place)) as scene:
        assert "lies at x 9 to 9.0008" in str(scene.info.doubt)
        assert "pixels of 0.0001 units (degrees labelled as metres?)" in str(scene.info.doubt)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(1, 0, -180, 0, -1, 90)),
        ("EPSG:4326", Affine(0.25, 0, -0.125, 0, -0.25, 90.125)),  # cells around grid points, 0 to 360
        ("EPSG:3857", Affine(1000, 0, -20037508, 0, -1000, 20037508)),
        ("EPSG:27572", Affine(1, 0, 600000, 0, -1, 2428000)),
        ("EPSG:3413", Affine(1000, 0, -100000, 0, -1000, 100000)),
        ("EPSG:3832", Affine(1000, 0, 0, 0, -1000, 100000)),  # its area of use crosses the antimeridian
        ("EPSG:32660", Affine(10, 0, 700000, 0, -10, 5000000)),
        ("EPSG:5330", Affine(1, 0, 3396557, 0, -1, 737942)),  # its longitudes count from Jakarta
        ("EPSG:32660", Affine(29000, 0, 570585, 0, -29000, 5847615)),  # across the antimeridian
        ("ESRI:54009", Affine(4.5e6, 0, -18e6, 0, -2.25e6, 9e6)),  # the corners of Mollweide's globe are beside it
        ("+proj=geos +h=35785831 +sweep=y", Affine(1.4e6, 0, -5.6e6, 0, -1.4e6, 5.6e6)),
    ],
)
def test_places_that_may_be_are_not_doubted(tmp_path: Path, crs: str, transform: Affine) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((1, 8, 8), "uint8"), crs=crs, transform=transform)

    with Scene.open(path) as scene:
        assert scene.info.doubt is None


def test_a_raster_in_local_coordinates_is_not_put_onto_the_ground(tmp_path: Path) -> None:
    local = 'LOCAL_CS["Local Coordinates (m)",UNIT["metre",1]]'
    labels = _labels(tmp_path / "labels.tif", Affine(1, 0, 5, 0, -1, 5), np.ones((4, 4)), local)
    scene = write_scene(tmp_path / "scene.tif", np.zeros((1, 8, 8), "uint8"))

    with Scene.open(scene) as opened, pytest.raises(LabelError, match="has a local CRS"):
        labels.on(opened.info)
    with pytest.raises(SceneError, match="has a local CRS"):
        Scene.open(str(scene), extra=(ExtraFile(str(tmp_path / "labels.tif"), "height"),))


def test_a_crs_that_is_none_of_a_plane_places_nothing(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", np.zeros((1, 8, 8), "uint8"), crs="EPSG:4978")

    with Scene.open(path) as scene:
        assert (scene.info.crs, scene.info.gsd) == (None, None)
        assert "has the CRS EPSG:4978, which is not a planar CRS" in str(scene.info.doubt)


def test_a_scene_across_the_seam_of_a_global_raster_is_not_half_labelled(tmp_path: Path) -> None:
    labels = _labels(tmp_path / "labels.tif", Affine(1, 0, 0, 0, -1, 90), np.ones((180, 360)))  # 0 to 360
    for west, crosses in ((-10, True), (350, True), (5, False), (-20, False), (-30, False)):
        transform = Affine(1, 0, west, 0, -1, 50)
        path = write_scene(tmp_path / "scene.tif", np.zeros((1, 8, 20), "uint8"), crs="EPSG:4326", transform=transform)
        with Scene.open(path) as scene:
            if crosses:
                with pytest.raises(LabelError, match="crosses the edge"):
                    labels.on(scene.info)
            else:
                on_grid = labels.on(scene.info)
                found, _ = on_grid.objects(Window(0, 0, 20, 8), np.zeros(1, dtype=np.uint8))
                on_grid.close()
                assert (found == 1).all(), west
