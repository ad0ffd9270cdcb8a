"""What ``satseg predict`` makes of its words."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from satseg.errors import SatsegError
from satseg.raster.source import SceneSource


@pytest.fixture(autouse=True)
def _there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder with files of some names: absent ones are told before anything else."""
    monkeypatch.chdir(tmp_path)
    for name in ("model", "scene.tif", "a.tif", "b.tif"):
        Path(name).touch()


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Scenes that would be mapped."""
    found: list[Any] = []

    def take(scenes: Iterable[Any], **_: Any) -> Iterable[Any]:
        found.extend(scenes)
        return []

    monkeypatch.setattr("satseg.workflows.predict.predict_scenes", take)
    return found


def test_stacks_are_scenes_beside_those_of_one_file(satseg: Callable, named: list[Any]) -> None:
    words = ("c.tif", "--stack", "a1.tif,a2.tif", "--stack", "b1.tif,b2.tif", "--bands", "2,1")
    satseg("predict", *words, "-m", "model", "-o", "{stem}.tif", "--skip-existing")
    stacks = [SceneSource((f"{name}1.tif", f"{name}2.tif"), ("2", "1")) for name in "ab"]
    assert named == ["c.tif", *stacks]


def test_sheets_of_a_mosaic_come_from_words_or_stdin(
    satseg: Callable, named: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    satseg("predict", "a.tif", "b.tif", "--mosaic", "-m", "model", "-o", "map.tif", "--skip-existing")
    monkeypatch.setattr("sys.stdin", io.StringIO("a.tif\nb.tif\n"))
    satseg("predict", "-", "--mosaic", "-m", "model", "-o", "map.tif", "--skip-existing")
    assert named == ["a.tif", "b.tif"] * 2


def test_a_mosaic_needs_all_of_its_sheets(satseg: Callable, named: list[Any]) -> None:
    done = satseg("predict", "a.tif", "gone.tif", "--mosaic", "-m", "model", "-o", "map.tif")
    assert done.code == 1
    assert "gone.tif does not exist." in done.stderr
    assert named == []


def test_sheets_that_do_not_fit_end_the_command_before_it_begins(satseg: Callable, model: Path) -> None:
    for name, crs in (("a.tif", 32632), ("b.tif", 32633)):
        grid = {"transform": rasterio.Affine(1, 0, 500_000, 0, -1, 5_000_000), "crs": crs}
        with rasterio.open(name, "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8", **grid) as scene:
            scene.write(np.zeros((3, 64, 64), np.uint8))
    done = satseg("predict", "a.tif", "b.tif", "--mosaic", "-m", model, "-o", "maps/map.tif")
    assert done.code == 1
    assert "b.tif is in EPSG:32633, but a.tif is in EPSG:32632" in " ".join(done.stderr.split())
    assert "gdalwarp -t_srs" in " ".join(done.stderr.split())
    assert not Path("maps").exists()


def test_stacks_are_no_sheets(satseg: Callable) -> None:
    done = satseg("predict", "a.tif", "--stack", "b.tif,c.tif", "--mosaic", "-m", "model", "-o", "map.tif")
    assert done.code == 2
    assert "is a stack of files, a mosaic, a selection of bands or has extra rasters" in " ".join(done.stderr.split())


@pytest.mark.parametrize("files", ["a.tif", "a.tif,", ","])
def test_a_stack_has_two_files_or_more(satseg: Callable, named: list[Any], files: str) -> None:
    done = satseg("predict", "b.tif", "--stack", files, "-m", "model", "-o", "{stem}.tif")
    assert done.code == 2
    assert "does not list the files of a scene" in done.stderr


def test_without_any_scene_it_is_wrong_usage(satseg: Callable, named: list[Any]) -> None:
    done = satseg("predict", "-m", "model", "-o", "map.tif")
    assert done.code == 2
    assert "No scene is given." in done.stderr


def test_a_wrong_length_is_wrong_usage_where_only_rasters_are_written(satseg: Callable, named: list[Any]) -> None:
    done = satseg("predict", "scene.tif", "-m", "model", "-o", "map.tif", "--simplify", "much")
    assert done.code == 2
    assert "simplify" in done.stderr


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_an_empty_list_on_stdin_is_wrong_usage_in_a_dry_run_too(
    satseg: Callable, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    for name in ("predict_scenes", "dry_run_scenes"):
        monkeypatch.setattr(f"satseg.workflows.predict.{name}", lambda scenes, **_: iter(list(scenes)))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    done = satseg("predict", "-", "-m", "model", "-o", "{stem}.tif", *words)
    assert done.code == 2
    assert "No scene was named on stdin." in done.stderr


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_scenes_that_fail_are_told_and_counted_at_the_end(
    satseg: Callable, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def fail(scenes: Iterable[str], *, on_error: Callable[[SatsegError], None], **_: Any) -> Iterable[Any]:
        for scene in scenes:
            on_error(SatsegError(f"{scene} is broken.", hint="Copy it again."))
        return iter(())

    for name in ("predict_scenes", "dry_run_scenes"):
        monkeypatch.setattr(f"satseg.workflows.predict.{name}", fail)
    done = satseg("predict", "a.tif", "b.tif", "-m", "model", "-o", "{stem}.tif", *words)
    assert done.code == 1
    for line in ("a.tif is broken.", "b.tif is broken.", "Copy it again.", "2 of the scenes failed; 0 succeeded."):
        assert line in done.stderr


def test_without_a_finished_run_the_unfinished_one_is_named(satseg: Callable, model: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "erfnet-1").mkdir(parents=True)
    shutil.copy(model, tmp_path / "runs" / "erfnet-1" / "best.safetensors")
    with rasterio.open(
        "scene.tif", "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8", crs=3857
    ) as scene:
        scene.write(np.zeros((3, 64, 64), np.uint8))
    done = satseg("predict", "scene.tif", "-o", "out.tif")
    assert done.code == 1
    assert "runs/erfnet-1 is unfinished" in done.stderr
    assert "--model runs/erfnet-1/best.safetensors" in done.stderr
