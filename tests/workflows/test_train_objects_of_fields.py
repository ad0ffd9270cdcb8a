"""Parcels of a mosaic, all of which touch, come back as parcels."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from made_scenes import write_scene
from object_oracle import write_oracle
from rasterio.features import shapes
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from satseg.evaluation.settings import EvaluateSettings
from satseg.records import ClassScore
from satseg.tiling.settings import TileSettings
from satseg.training.settings import TrainSettings
from satseg.workflows.evaluate import evaluate
from satseg.workflows.tile import tile
from satseg.workflows.train import train

SIDE, PARCELS = 512, 110


def mosaic(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a scene (3, row, col) uint8 of parcels that differ a little in colour, and their ids; villages are 0."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, SIDE, (PARCELS, 2))
    at = cKDTree(centres).query(np.stack(np.indices((SIDE, SIDE)), axis=-1).reshape(-1, 2))[1].reshape(SIDE, SIDE)
    colours = rng.normal(120, 22, (PARCELS, 3)) + rng.normal(0, 15, (PARCELS, 1))
    texture = gaussian_filter(rng.normal(0, 40, (SIDE, SIDE)), (3, 0.7))[..., None] + rng.normal(0, 9, (SIDE, SIDE, 3))
    village = rng.random(PARCELS) < 0.12
    houses = np.where(village[at], gaussian_filter(rng.normal(0, 500, (SIDE, SIDE)), 2), 0)[..., None]
    bands = np.clip(colours[at] + texture + houses, 1, 255).astype(np.uint8).transpose(2, 0, 1)
    return bands, np.where(village[at], 0, at + 1).astype(np.int32)


def write_mosaic(folder: Path, seed: int) -> tuple[Path, Path]:
    """Write a scene and the outlines of its parcels."""
    bands, ids = mosaic(seed)
    scene = write_scene(folder / f"{seed}.tif", bands)
    with rasterio.open(scene) as file:
        found = list(shapes(ids, ids > 0, 4, file.transform))
        outlines = [shapely.geometry.shape(outline) for outline, _ in found]
        columns = {"use": ["roof"] * len(found), "id": [number for _, number in found]}
        frame = geopandas.GeoDataFrame(columns, geometry=outlines, crs=file.crs).dissolve("id")
    frame.to_file(folder / f"{seed}.gpkg")
    return scene, folder / f"{seed}.gpkg"


def parcels_of(model: Path, scene: Path, labels: Path, **options: object) -> ClassScore:
    return evaluate(
        model, [scene], labels=labels, settings=EvaluateSettings(class_field="use", bootstrap=0, threads=1, **options)
    ).classes[1]


def test_parcels_come_back_from_maps_that_know_them(tmp_path: Path) -> None:
    _, labels = write_mosaic(tmp_path, 0)
    _, ids = mosaic(0)
    write_oracle(tmp_path, ids, (ids > 0).astype(np.uint8))
    known = {"arch": f"{tmp_path / 'oracle.py'}:oracle", "objects": True}
    found = parcels_of(tmp_path / "oracle.safetensors", tmp_path / "scene.tif", labels, **known)
    assert found.object_recall == 1
    assert found.map_objects <= found.label_objects + 1  # a corner of a parcel hangs on by a corner of a pixel


@pytest.mark.slow
def test_a_network_that_learns_from_one_mosaic_finds_the_parcels_of_another(tmp_path: Path) -> None:
    scene, labels = write_mosaic(tmp_path, 1)
    tile(
        [scene],
        labels=labels,
        output=tmp_path / "tiles",
        settings=TileSettings(size=128, objects=True, class_field="use", split=(4, 1, 0)),
    )
    settings = TrainSettings(arch="erfnet", steps=400, batch_size=4, device="cpu", pictures=False)
    train(tmp_path / "tiles", output=tmp_path / "run", settings=settings)
    other = write_mosaic(tmp_path, 2)
    regions, parcels = (parcels_of(tmp_path / "run", *other, objects=objects) for objects in (False, True))
    assert regions.object_f1 < 0.1
    assert parcels.object_f1 > 0.7
    assert parcels.split < 0.05
