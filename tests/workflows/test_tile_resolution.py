"""The ground resolution that ``tile`` advises, and ``gsd="auto"``: the same as if it had been given.

Covers ``tiling/resolution`` and ``tiling/object_sizes``.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from made_scenes import GRID, write_labels, write_map, write_scene

from satseg.records import ProgressEvent, TileSummary
from satseg.results import as_json
from satseg.sample import sample
from satseg.tiles.tileset import HEADER, TileSet
from satseg.tiling.settings import TileSettings
from satseg.workflows.tile import tile

SIZES = {"size": 48, "block": 48, "overlap": 0}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    bands = np.random.default_rng(0).integers(0, 255, (3, 400, 440), dtype=np.uint8)
    return write_scene(tmp_path / "scene.tif", bands)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Thirty houses of 36 x 50 px."""
    boxes = [(10 + 70 * i, 12 + 75 * j, 46 + 70 * i, 62 + 75 * j) for i in range(6) for j in range(5)]
    return write_labels(tmp_path / "houses.gpkg", *boxes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("options", [{}, {"boundary": "2px", "ignore_border": "1px", "min_pixels": {"houses": 20}}])
def test_auto_is_what_would_have_been_given(
    tmp_path: Path, scene: Path, labels: Path, options: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    chosen = TileSettings(gsd="auto", **SIZES, **options)
    found = tile([scene], labels=labels, output=tmp_path / "auto", settings=chosen)
    told = [message for message in caplog.messages if "network" in message]
    assert told == [
        "Chose `gsd='1m'`, which shows the network 4 times the ground per step: the median 'houses' object (30 "
        "measured) is 36 px wide."
    ]
    given = TileSettings(gsd="1m", **SIZES, **options)
    same = tile([scene], labels=labels, output=tmp_path / "given", settings=given)
    assert (found.tiles, found.pixels, found.size, found.block) == (same.tiles, same.pixels, same.size, same.block)
    assert contents(tmp_path / "auto") == contents(tmp_path / "given")
    assert json.loads((tmp_path / "auto" / HEADER).read_text())["provenance"][0]["gsd"] == "1m"


def test_without_it_scenes_are_kept_and_one_line_says_what_would_suit(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = tile([scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(**SIZES))
    told = [message for message in caplog.messages if "network" in message]
    assert told == [
        "The median 'houses' object (30 measured) is 36 px wide; `gsd='1m'` would show the network 4 times the ground "
        "per step."
    ]
    assert TileSet.open(tmp_path / "tiles").gsd == pytest.approx((0.5, 0.5), rel=1e-3)
    assert found.objects["houses"].median == pytest.approx(36, rel=1e-3)
    assert "gsd" not in json.loads((tmp_path / "tiles" / HEADER).read_text())["provenance"][0]


def test_the_summary_has_the_widths_in_pixels_of_the_tiles_and_the_share(
    tmp_path: Path, scene: Path, labels: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found: TileSummary = tile(
        [scene], labels=labels, output=tmp_path / "tiles", settings=TileSettings(gsd="2m", size=32, block=32)
    )
    assert not any("per step" in message for message in caplog.messages)  # the user chose
    (told,) = as_json(found)["objects"].values()
    assert told["measured"] == 30
    assert told["median"] == pytest.approx(9, rel=1e-3)
    assert told["share"] == pytest.approx(30 * 36 * 50 / (400 * 440), rel=0.1)


def test_a_class_raster_is_measured_too(tmp_path: Path, scene: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ids = np.zeros((400, 440), dtype=np.uint8)
    for top in range(10, 350, 60):
        for left in range(10, 390, 60):
            ids[top : top + 40, left : left + 40] = 1
    write_map(tmp_path / "mask.tif", scene, ids)
    settings = TileSettings(gsd="auto", class_map="0=background,1=roof", **SIZES)
    tile([scene], labels=tmp_path / "mask.tif", output=tmp_path / "tiles", settings=settings)
    assert "the median 'roof' object (42 measured) is 39 px wide" in caplog.text
    assert TileSet.open(tmp_path / "tiles").gsd == pytest.approx((1, 1), rel=1e-3)


@pytest.mark.parametrize("crs", ["EPSG:32645", None])
def test_auto_keeps_the_pixels_where_nothing_coarser_suits(
    tmp_path: Path, labels: Path, crs: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bands = np.random.default_rng(0).integers(0, 255, (1, 400, 440), dtype=np.uint8)
    scene = write_scene(tmp_path / "other.tif", bands, crs=crs)
    settings = TileSettings(gsd="auto", size=128)  # too few would be left
    tile([scene], labels=labels, output=tmp_path / "auto", settings=settings)
    tile([scene], labels=labels, output=tmp_path / "plain", settings=TileSettings(size=128))
    assert contents(tmp_path / "auto") == contents(tmp_path / "plain")
    why = "that of some is unknown" if crs is None else "they would hold fewer than 16 tiles of 128 px"
    assert f"Kept the ground resolution of the scenes: {why}." in caplog.messages


def test_scenes_of_two_resolutions_get_one(tmp_path: Path, scene: Path, labels: Path) -> None:
    bands = np.random.default_rng(1).integers(0, 255, (3, 400, 220), dtype=np.uint8)
    grid = GRID * Affine.translation(0, 200) * Affine.scale(2)  # 1 m, over the last rows of houses and below
    other = write_scene(tmp_path / "other.tif", bands, transform=grid)
    tile([scene, other], labels=labels, output=tmp_path / "tiles", settings=TileSettings(gsd="auto", **SIZES))
    assert TileSet.open(tmp_path / "tiles").gsd == pytest.approx((1, 1), rel=1e-3)
    settings = TileSettings(gsd="1m", **SIZES)
    tile([scene, other], labels=labels, output=tmp_path / "given", settings=settings)
    assert contents(tmp_path / "tiles") == contents(tmp_path / "given")


def test_tiles_that_are_added_have_the_resolution_of_the_set(tmp_path: Path, scene: Path, labels: Path) -> None:
    output = tmp_path / "tiles"
    tile([scene], labels=labels, output=output, settings=TileSettings(gsd="2m", size=32, block=32))
    bands = np.random.default_rng(2).integers(0, 255, (3, 400, 440), dtype=np.uint8)
    other = write_scene(tmp_path / "other.tif", bands)
    tile([other], labels=labels, output=output, settings=TileSettings(gsd="auto", append=True))
    tile_set = TileSet.open(output)
    assert [entry["gsd"] for entry in tile_set.provenance] == ["2m", "2m"]
    assert set(tile_set.index["scene"]) == {str(scene), str(other)}
    assert tile_set.index["height"].max() == 32


def test_an_interrupted_run_goes_on_and_a_finished_one_is_known(tmp_path: Path, scene: Path, labels: Path) -> None:
    def stop(event: ProgressEvent) -> None:
        if event.task == "Cutting tiles" and event.done >= 2:
            raise KeyboardInterrupt

    settings = TileSettings(gsd="auto", resume=True, **SIZES)
    with pytest.raises(KeyboardInterrupt):
        tile([scene], labels=labels, output=tmp_path / "tiles", settings=settings, progress=stop)
    tile([scene], labels=labels, output=tmp_path / "tiles", settings=settings)
    tile([scene], labels=labels, output=tmp_path / "whole", settings=TileSettings(gsd="1m", **SIZES))
    assert contents(tmp_path / "tiles") == contents(tmp_path / "whole")
    assert tile([scene], labels=labels, output=tmp_path / "tiles", settings=settings).finished_before


def test_the_sample_fills_all_splits_at_the_resolution_that_suits_it(tmp_path: Path) -> None:
    scenes = sample()
    found = tile([scenes.labelled], labels=scenes.labels, output=tmp_path / "tiles", settings=TileSettings(gsd="auto"))
    assert json.loads((tmp_path / "tiles" / HEADER).read_text())["provenance"][0]["gsd"] == "0.26m"
    assert min(found.tiles.values()) > 0
    assert TileSet.open(tmp_path / "tiles").leaks() == {}
