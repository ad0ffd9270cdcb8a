from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

from satseg.errors import LabelError
from satseg.raster.labels import open_labels
from satseg.raster.scene import Scene, ground_sampling_distance
from satseg.records import BandSpec, SceneInfo

GRID = Affine(2.0, 0, 500_000, 0, -2.0, 5_000_000)
WHOLE = Window(0, 0, 20, 10)


def scene(transform: Affine = GRID, crs: str | None = "EPSG:32632") -> SceneInfo:
    gsd = ground_sampling_distance(crs, transform, 20, 10) if crs else None
    spec = BandSpec(("gray",), "uint8", (1.0,), (0.0,))
    return SceneInfo("scene.tif", 20, 10, spec, None, False, crs, transform, gsd)


def box(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    """A box in pixels of the scene, in its CRS."""
    return shapely.Polygon([GRID * corner for corner in [(left, top), (right, top), (right, bottom), (left, bottom)]])


def write(path: Path, shapes: list[object], crs: str | None = "EPSG:32632", **columns: list[object]) -> Path:
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=crs).to_file(path)
    return path


def write_raster(path: Path, values: np.ndarray, **profile: object) -> Path:
    options: dict[str, object] = {"driver": "GTiff", "crs": "EPSG:32632", "transform": GRID} | profile
    height, width = values.shape
    with rasterio.open(path, "w", count=1, height=height, width=width, dtype=values.dtype.name, **options) as dataset:
        dataset.write(values, 1)
    return path


def test_features_of_one_class_are_named_like_the_file(tmp_path: Path) -> None:
    source = open_labels(write(tmp_path / "houses.gpkg", [box(3, 2, 7, 5)]))
    assert source.classes.names == ("background", "houses")
    expected = np.zeros((10, 20), dtype=np.uint8)
    expected[2:5, 3:7] = 1
    assert (source.on(scene()).read(WHOLE) == expected).all()
    assert (source.on(scene()).read(Window(4, 1, 5, 3)) == expected[1:4, 4:9]).all()


def test_a_class_field_makes_a_class_of_each_value(tmp_path: Path) -> None:
    shapes = [box(0, 0, 2, 2), box(4, 0, 6, 2), box(8, 0, 10, 2)]
    source = open_labels(write(tmp_path / "a.gpkg", shapes, kind=["wood", "lake", "wood"]), class_field="kind")
    assert source.classes.names == ("background", "lake", "wood")
    assert source.on(scene()).read(WHOLE)[0, [0, 2, 4, 8]].tolist() == [2, 0, 1, 2]


def test_number_values_are_classes_in_the_order_of_numbers(tmp_path: Path) -> None:
    shapes = [box(i, 0, i + 1, 1) for i in range(3)]
    source = open_labels(write(tmp_path / "a.gpkg", shapes, code=[10, 9, None]), class_field="code")
    assert source.classes.names == ("background", "9", "10", "unknown")


def test_labels_are_reprojected_to_the_scene(tmp_path: Path) -> None:
    shapes = geopandas.GeoSeries([box(3, 2, 7, 5)], crs="EPSG:32632").to_crs("EPSG:4326").tolist()
    labels = open_labels(write(tmp_path / "a.geojson", shapes, crs="EPSG:4326")).on(scene()).read(WHOLE)
    assert labels.sum() == 12
    assert (labels[2:5, 3:7] == 1).all()


def test_invalid_geometries_are_repaired_and_counted(tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([GRID * c for c in [(0, 0), (4, 4), (4, 0), (0, 4)]])
    source = open_labels(write(tmp_path / "a.gpkg", [bow_tie, box(10, 0, 12, 2), None]))
    assert (source.repaired, source.dropped) == (1, 1)
    assert source.on(scene()).read(WHOLE)[0:4, 0:4].sum() >= 4


def test_later_features_lie_on_top(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [box(0, 0, 4, 4), box(2, 2, 6, 6)], kind=["b", "a"])
    labels = open_labels(path, class_field="kind").on(scene()).read(WHOLE)
    assert labels[3, [1, 3, 5]].tolist() == [2, 1, 1]


@pytest.mark.parametrize("turned", [GRID * Affine.rotation(20), Affine(2.0, 0, 500_000, 0, 2.0, 4_999_980)])
def test_features_are_burnt_into_rotated_and_south_up_grids(tmp_path: Path, turned: Affine) -> None:
    shape = shapely.Polygon([turned * c for c in [(3, 2), (7, 2), (7, 5), (3, 5)]])
    labels = open_labels(write(tmp_path / "a.gpkg", [shape])).on(scene(turned)).read(WHOLE)
    assert (labels[2:5, 3:7] == 1).all()
    assert labels.sum() == 12


def test_a_missing_field_names_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [box(0, 0, 1, 1)], kind=["wood"])
    with pytest.raises(LabelError, match="no attribute 'kinds'") as caught:
        open_labels(path, class_field="kinds")
    assert caught.value.hint == "It has kind."


def test_labels_elsewhere_are_noticed(tmp_path: Path) -> None:
    source = open_labels(write(tmp_path / "a.gpkg", [box(100, 100, 110, 110)]))
    with pytest.raises(LabelError, match=r"No label of .* touches the scene"):
        source.on(scene())


def test_lines_are_no_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", [shapely.LineString([(0, 0), (1, 1)])])
    with pytest.raises(LabelError, match="no polygon, only LineString"):
        open_labels(path)


def test_a_class_raster_is_numbered_without_gaps(tmp_path: Path) -> None:
    values = np.full((10, 20), 20, dtype=np.uint8)
    values[0], values[1], values[2] = 95, 0, 255
    source = open_labels(write_raster(tmp_path / "a.tif", values, nodata=0))
    assert source.classes.names == ("class 20", "class 95")
    expected = np.zeros((10, 20), dtype=np.uint8)
    expected[0], expected[1:3] = 1, 255
    assert (source.on(scene()).read(WHOLE) == expected).all()


def test_a_class_raster_on_another_grid_is_moved_by_nearest_neighbour(tmp_path: Path) -> None:
    coarse = np.array([[0, 1], [2, 3]], dtype=np.uint8)
    path = write_raster(tmp_path / "a.tif", coarse, transform=GRID * Affine.scale(5, 5))
    labels = open_labels(path).on(scene()).read(WHOLE)
    assert (labels[:, :10] == np.kron(coarse, np.ones((5, 5)))).all()
    assert (labels[:, 10:] == 255).all()  # outside of the labels nothing is known


def test_a_class_raster_without_crs_must_have_the_grid_of_the_scene(tmp_path: Path) -> None:
    source = open_labels(write_raster(tmp_path / "a.tif", np.zeros((3, 3), dtype=np.uint8), crs=None))
    with pytest.raises(LabelError, match="is not on the grid of"):
        source.on(scene())


def test_values_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="holds float32 values"):
        open_labels(write_raster(tmp_path / "a.tif", np.zeros((3, 3), dtype=np.float32)))
    many = np.arange(3000, dtype=np.uint16).reshape(50, 60)
    with pytest.raises(LabelError, match="does not seem to be a class raster"):
        open_labels(write_raster(tmp_path / "b.tif", many))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_every_awkward_vector_file_is_read_or_refused_in_one_sentence(shared_data: Path) -> None:
    paths = sorted(path for path in (shared_data / "vectors").rglob("*") if path.is_file())
    outcomes = {}
    for path in paths:
        try:
            source = open_labels(path)
        except LabelError as error:
            assert "\n" not in error.message
            outcomes[path.name] = error.message
        else:
            assert all(shapely.is_valid(part.geometries).all() for part in source.layers[0].store.near())
            outcomes[path.name] = "read"
    assert outcomes["nospatial.gpkg"].endswith("has no layer with geometries.")
    assert outcomes["valid_featurecollection.geojson"] == "read" or "no polygon" in outcomes["valid_feature.geojson"]
    assert outcomes["us_states.geojson"] == outcomes["nc.gpkg"] == "read"


def test_real_footprints_match_the_documented_share(shared_data: Path) -> None:
    source = open_labels(shared_data / "banepa" / "buildings.gpkg")
    with Scene.open(shared_data / "banepa" / "scene_train.tif") as opened:
        labels = source.on(opened.info)
        share = np.mean([labels.read(Window(0, top, 2048, 512)).mean() for top in range(0, 4096, 512)])
    assert share == pytest.approx(0.44, abs=0.03)
