"""What ``info``, ``tile`` and ``evaluate`` answer to each file in ``tests/data``: a result, or one known sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

DATA = Path(__file__).resolve().parents[1] / "data"
RASTERS = sorted(path for path in (DATA / "rasters").iterdir())
VECTORS = sorted(path for path in (DATA / "vectors").rglob("*.g*") if path.is_file())

# Part of the sentence for each file that is refused; whatever is not named here is taken.
NO_SCENES = {"RGB.byte.rpc.vrt": "(RPC)", "RGB.byte.tif.aux.xml": "cannot be opened as a raster"}
NO_TILES = NO_SCENES | {
    "all-nodata.tif": "No pixel of any scene is both valid and labelled",
    "corrupt.tif": "corrupt.tif cannot be read at rows",
    "inverted_lat.tif": "No pixel of any scene is both valid and labelled",
    "no_geo.jpg": "is not on the grid of",
    "rotated.tif": "is not on the grid of",
}
CLASS_RASTERS = ("cog_cmap.tif", "cog_dateline.tif", "image_colormap.tif")
NO_CLASS_RASTERS = NO_SCENES | {
    "RGB.byte.tif": "hundreds of different colours",
    "RGBA.uint16.tif": "3 bands of uint16",
    "all-nodata.tif": "4 bands of uint16",
    "alpha.tif": "hundreds of different colours",
    "cog_gcps.tif": "251 different values",
    "cog_nodata_nan.tif": "float32 values",
    "cog_rgb_mask.tif": "hundreds of different colours",
    "cog_rgba.tif": "hundreds of different colours",
    "cog_scale.tif": "2 bands of int16",
    "corrupt.tif": "corrupt.tif cannot be read at rows",
    "float_raster_with_nodata.tif": "float32 values",
    "image_missing_nodata.tif": "806 different values",
    "image_nan.tif": "float64 values",
    "inverted_lat.tif": "holds no label",
    "mosaic_cog1.tif": "3 bands of uint16",
    "mosaic_cog2.tif": "3 bands of uint16",
    "mosaic_cog3.tif": "3 bands of uint16",
    "no_geo.jpg": "hundreds of different colours",
    "rotated.tif": "150 different values",
}
UNREADABLE = {
    **dict.fromkeys(
        (
            "invalid_featurecollection_features_is_object.geojson",
            "invalid_featurecollection_no_features_member.geojson",
            "invalid_featurecollection_nulltype.geojson",
            "invalid_featurecollection_unknown_type.geojson",
            "invalid_geometry_coordinates_1d.geojson",
            "invalid_geometry_coordinates_empty_position.geojson",
            "invalid_geometry_coordinates_missing.geojson",
            "invalid_geometry_coordinates_string.geojson",
            "invalid_geometry_depth_deep_point.geojson",
            "invalid_geometry_depth_deep_polygon.geojson",
            "invalid_geometry_depth_shallow_linestring.geojson",
            "invalid_geometry_depth_shallow_polygon.geojson",
            "invalid_geometry_missing_type.geojson",
            "invalid_geometry_wrong_geometry_type.geojson",
        ),
        "cannot be read",
    ),
    "nospatial.gpkg": "no layer with geometries",
}
NO_LABELS = UNREADABLE | {
    **dict.fromkeys(
        (
            "invalid_featurecollection_feature_nullfeature.geojson",
            "invalid_featurecollection_type_lowercase.geojson",
            "valid_featurecollection_empty_features.geojson",
        ),
        "no feature",
    ),
    **dict.fromkeys(
        (
            "invalid_incorrect_geometry_data_type.geojson",
            "invalid_less_three_unique_nodes.geojson",
            "invalid_feature_geometry_is_string.geojson",
            "invalid_feature_properties_is_array.geojson",
            "invalid_feature_properties_is_int.geojson",
            "invalid_feature_wrong_geometry_key.geojson",
            "invalid_geometry_mislabeled_point.geojson",
            "problematic_feature_null_geometry.geojson",
            "valid_feature_null_geometry.geojson",
        ),
        "no geometry",
    ),
    **dict.fromkeys(
        (
            "invalid_feature_id_type.geojson",
            "invalid_geometry_bbox_not4or6.geojson",
            "invalid_geometry_bbox_not_list.geojson",
            "invalid_geometry_bbox_not_numbers.geojson",
            "valid_feature.geojson",
            "valid_feature_with_id.geojson",
            "valid_feature_with_string_id.geojson",
            "valid_geometry.geojson",
            "valid_geometry_3d_coordinates.geojson",
            "valid_geometry_point.geojson",
        ),
        "only Point",
    ),
    **dict.fromkeys(
        (
            "null_geometry.geojson",
            "problematic_zero_length_linestring.geojson",
            "valid_feature_with_bbox.geojson",
            "valid_geometry_linestring.geojson",
        ),
        "only LineString",
    ),
    **dict.fromkeys(
        (
            "invalid_geometry_geometrycollection_null_geometry.geojson",
            "problematic_geometrycollection_single.geojson",
            "problematic_nested_geometrycollection.geojson",
            "valid_geometry_geometrycollection_empty_geometries.geojson",
        ),
        "only GeometryCollection",
    ),
    "invalid_unclosed.geojson": "features that cannot be read",
    "valid_geometry_multilinestring.geojson": "only MultiLineString",
    "valid_geometry_multipoint.geojson": "only MultiPoint",
}


TAKEN = [path for path in VECTORS if path.name not in NO_LABELS]
SOME_LABELS = [path for path in VECTORS if path.name in NO_LABELS] + TAKEN[::4]  # a command for each takes long


def answer(done: Any, path: Path, refused: dict[str, str]) -> dict[str, Any]:
    """Check that a file was taken or refused with its sentence, and return what was printed of one that was taken."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.stderr, (path, done)
    if path.name not in refused:
        assert (done.code, errors) == (0, []), (path, done)
        return json.loads(done.stdout)
    assert (done.code, done.stdout, len(errors)) == (1, "", 1), (path, done)
    assert refused[path.name] in errors[0], (path, done)
    return {}


def test_the_answers_name_files_that_exist() -> None:
    names = {path.name for path in RASTERS + VECTORS}
    assert names >= NO_TILES.keys() | NO_CLASS_RASTERS.keys() | NO_LABELS.keys()
    assert (len(RASTERS), len(VECTORS)) == (24, 78)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A class raster of the whole world, one pixel in four of class 1."""
    ids = np.tile(np.uint8([[0, 1], [0, 0]]), (32, 64))
    transform = Affine(360 / 128, 0, -180, 0, -180 / 64, 90)
    profile = {"driver": "GTiff", "height": 64, "width": 128, "count": 1, "dtype": "uint8", "crs": "EPSG:4326"}
    with rasterio.open(tmp_path / "world.tif", "w", transform=transform, **profile) as target:
        target.write(ids, 1)
    return tmp_path / "world.tif"


@pytest.mark.parametrize(
    ("paths", "refused", "kind"),
    [(RASTERS, NO_SCENES, "scene"), (VECTORS, UNREADABLE, "polygons")],
    ids=["rasters", "vectors"],
)
def test_info_describes_each_file_or_says_why_not(
    paths: list[Path], refused: dict[str, str], kind: str, satseg: Callable
) -> None:
    for path in paths:
        found = answer(satseg("info", path, "--json"), path, refused)
        assert not found or found["kind"] == kind, path


def test_scenes_are_tiled_or_refused(satseg: Callable, world: Path, tmp_path: Path) -> None:
    for number, path in enumerate(RASTERS):
        words = [path, "-l", world, "-o", tmp_path / f"{number}", "--size", 64, "--limit", 3, "--json"]
        found = answer(satseg("tile", *words), path, NO_TILES)
        assert not found or 1 <= sum(found["tiles"].values()) <= 3, path


def test_labels_are_taken_or_refused(satseg: Callable, world: Path, tmp_path: Path) -> None:
    for number, path in enumerate(SOME_LABELS):
        words = [world, "-l", path, "-o", tmp_path / f"{number}", "--size", 32, "--json"]
        found = answer(satseg("tile", *words), path, NO_LABELS)
        assert not found or sum(found["tiles"].values()) == 8, path


def test_evaluate_takes_the_same_labels(satseg: Callable, world: Path) -> None:
    for path in SOME_LABELS:
        found = answer(satseg("evaluate", world, "-l", path, "--bootstrap", 9, "--json"), path, NO_LABELS)
        assert not found or 0 < found["mean_iou"] < 1, path


def test_evaluate_gives_polygons_that_are_scored_against_themselves_the_full_score(satseg: Callable) -> None:
    for path in TAKEN[::4]:
        found = answer(satseg("evaluate", path, "-l", path, "--json"), path, NO_LABELS)
        assert found["object_f1"] == 1 or found["mean_iou"] == 1, path


@pytest.mark.parametrize("path", RASTERS, ids=lambda path: path.name)
def test_evaluate_takes_class_rasters_alone(path: Path, satseg: Callable) -> None:
    found = answer(satseg("evaluate", path, "-l", path, "--bootstrap", 9, "--json"), path, NO_CLASS_RASTERS)
    assert bool(found) == (path.name in CLASS_RASTERS)
    assert not found or found["mean_iou"] == 1
