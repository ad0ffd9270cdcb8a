"""Covers ``shared_layer``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_predict_options import make_predictor, ramp, write_scene

from satseg.errors import OutputError
from satseg.files.atomic_write import work_folder
from satseg.mapfile.writer import write_map
from satseg.prediction.outputs import OutputPaths
from satseg.raster.source import SceneSource
from satseg.records import MapLayer

PIXELS = 64 * 80


@pytest.mark.parametrize(
    ("settings", "confidence", "bytes_per_pixel"),
    [
        ({}, False, 1),
        ({}, True, 2),
        ({"sieve": 5}, True, 4),
        ({"crf": True}, False, 1 + 4),  # classes; and classes and three shares of the pass before
        ({"crf": True, "sieve": 5}, True, 2 + 4 + 2),
    ],
)
def test_a_dry_run_tells_the_disk_that_the_map_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], confidence: bool, bytes_per_pixel: int
) -> None:
    scene = SceneSource.of(write_scene(tmp_path / "scene.tif", ramp(64, 80)))
    outputs = OutputPaths(((MapLayer.CLASSES, tmp_path / "map.tif"),))
    if confidence:
        outputs = replace(outputs, rasters=(*outputs.rasters, (MapLayer.CONFIDENCE, tmp_path / "sure.tif")))
    told = make_predictor(**settings).dry_run(scene, outputs)
    held: list[int] = []

    def measure(*args: Any, **options: Any) -> None:
        held.append(sum(file.stat().st_size for file in work_folder(tmp_path / "map.tif").rglob("*.raw")))
        write_map(*args, **options)

    monkeypatch.setattr("satseg.prediction.scene_run.write_map", measure)
    make_predictor(**settings).predict(scene, outputs)
    assert held[0] == PIXELS * bytes_per_pixel
    assert told.work_bytes == held[0] + round(PIXELS / 3)  # with the overviews of one raster, not compressed yet


def test_room_for_a_crf_is_asked_for_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = SceneSource.of(write_scene(tmp_path / "scene.tif", ramp(64, 80)))
    outputs = OutputPaths.of_files(tmp_path / "map.tif")
    monkeypatch.setattr("satseg.files.disk_space.shutil.disk_usage", lambda _: type("Usage", (), {"free": PIXELS * 5}))
    make_predictor().predict(scene, outputs)
    with pytest.raises(OutputError, match=r"up to 28 kB are needed, 25\.6 kB are free"):
        make_predictor(crf=True).predict(scene, outputs)


def test_scenes_of_one_layer_need_room_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [SceneSource.of(write_scene(tmp_path / f"{name}.tif", ramp(64, 80))) for name in "abc"]
    free = round(PIXELS * 2.5)
    monkeypatch.setattr("satseg.files.disk_space.shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    made, infos = make_predictor(), []
    for scene in scenes:
        with scene.open() as opened:
            infos.append(opened.info)
    with made.open_layer(OutputPaths(vectors=(tmp_path / "all.gpkg",))) as shared:
        made.require_space([(info, OutputPaths()) for info in infos[:2]], shared)
        with pytest.raises(OutputError, match=r"all\.gpkg\.satseg: up to 15\.4 kB are needed, 12\.8 kB are free"):
            made.require_space([(info, OutputPaths()) for info in infos], shared)
        made.predict(scenes[0], OutputPaths(), layer=shared)
        made.require_space([(info, OutputPaths()) for info in infos[:2]], shared)
