"""Whole commands on names that libraries read more into than the file system does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import geopandas
import numpy as np
import pytest
from made_scenes import write_labels, write_scene

from satseg.tiles.tileset import INDEX, TileSet
from satseg.tiling.settings import TileSettings
from satseg.vectorization.settings import VectorizeSettings
from satseg.workflows.tile import tile
from satseg.workflows.training_data import TrainingData
from satseg.workflows.vectorize import vectorize

LATIN = os.fsdecode(b"b\xe2t")


@pytest.mark.parametrize("stem", [LATIN, "t0:1", "a!;?[x]", "n\nl", "x" * 230], ids=ascii)
def test_tiles_are_cut_resumed_and_added_to(tmp_path: Path, stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(1, 255, (1, 64, 128), dtype=np.uint8)
    write_scene(tmp_path / "plain.tif", values).rename(f"{stem}.tif")
    write_scene(tmp_path / "other.tif", values[:, ::-1])
    write_labels(tmp_path / "plain.gpkg", (0, 0, 40, 40)).rename(f"{stem}.gpkg")
    files = {"labels": f"{stem}.gpkg", "output": f"{stem}t"}
    settings = TileSettings(size=32, overlap=0, threads=1)
    made = tile([f"{stem}.tif"], **files, settings=settings)
    assert tile([f"{stem}.tif"], **files, settings=settings.changed(resume=True)).tiles == made.tiles
    more = tile(["other.tif"], **files, settings=settings.changed(append=True))
    assert sum(more.tiles.values()) == 2 * sum(made.tiles.values())
    for entry in TileSet.open(f"{stem}t").tiles("train"):
        image, labels, valid = entry.read()
        assert valid.all()
        assert image.shape[1:] == labels.shape
    assert len(TrainingData.open(f"{stem}t", 0).digest()) == 64
    with (tmp_path / f"{stem}t" / INDEX).open("rb") as file:
        index = geopandas.read_parquet(file)
    assert index["scene"].nunique() == 2
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_masks_of_pairs_are_found_by_names_that_are_no_utf8(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2, (1, 64, 64), dtype=np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in (LATIN, "b", "c"):
            write_scene(tmp_path / "plain.tif", values).rename(tmp_path / folder / f"{name}.tif")
    made = tile(
        pairs=(tmp_path / "images", tmp_path / "masks"), output=tmp_path / "tiles", settings=TileSettings(size=32)
    )
    assert made.scenes == 3 or made.scenes == 1  # twins may be left out


@pytest.mark.parametrize("stem", [LATIN, "t0:1", "a!;?[x]"], ids=ascii)
def test_class_rasters_become_polygons(tmp_path: Path, stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.kron(np.eye(4, dtype=np.uint8), np.ones((4, 4), dtype=np.uint8))
    write_scene(tmp_path / "plain.tif", values[None]).rename(f"{stem}.tif")
    made = vectorize(f"{stem}.tif", output=[f"{stem}.gpkg"], settings=VectorizeSettings(band=1, threshold=1))
    assert made.polygons["class 1"] == 4
    shutil.copy(f"{stem}.gpkg", "copy.gpkg")
    assert len(geopandas.read_file("copy.gpkg", layer=0)) == 4
