from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from made_scenes import GRID, write_scene

from satseg.raster.scene import Scene
from satseg.records import SceneInfo
from satseg.vectorization.footprint import Footprint

CRS = "EPSG:32645"


@pytest.fixture
def at(tmp_path: Path):
    def describe(name: str, column: float, side: int = 8) -> SceneInfo:
        place = GRID * Affine.translation(column, 0)
        path = write_scene(tmp_path / f"{name}.tif", np.ones((1, side, side), np.uint8), transform=place, crs=CRS)
        with Scene.open(path) as scene:
            return scene.info

    return describe


def footprint(*scenes: SceneInfo) -> Footprint:
    found = Footprint()
    for scene in scenes:
        found.add(scene, CRS)
    return found


def test_neighbours_share_no_ground(at) -> None:
    assert footprint(at("a", 0), at("b", 8), at("c", 16)).shared() is None
    assert Footprint().shared() is None


def test_scenes_that_overlap_are_named_with_the_share_of_the_smaller_one(at) -> None:
    one, small = at("one", 0), at("small", 7, side=4)
    first, second, share = footprint(one, at("beside", 20), small).shared() or ("", "", 0.0)
    assert (first, second) == (one.path, small.path)
    assert share == pytest.approx(1 / 4)


def test_scenes_far_apart_in_the_list_are_found(at) -> None:
    beside = [at(str(number), 8 * number) for number in range(70)]
    again = at("again", 8 * 68)
    assert (footprint(*beside, again).shared() or ())[:2] == (beside[68].path, again.path)


def test_of_many_scenes_on_one_ground_not_all_pairs_are_compared(at, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    plain = shapely.intersection

    def count(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        compared.append(len(one))
        return plain(one, other)

    monkeypatch.setattr(shapely, "intersection", count)
    assert footprint(*[at("same", 0)] * 300).shared() is not None
    assert sum(compared) < 300**2 / 4  # of 300 * 299 / 2
