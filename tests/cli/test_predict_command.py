"""What ``satseg predict`` makes of its words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from satseg.raster.source import SceneSource


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


@pytest.mark.parametrize("files", ["a.tif", "a.tif,", ","])
def test_a_stack_has_two_files_or_more(satseg: Callable, named: list[Any], files: str) -> None:
    done = satseg("predict", "b.tif", "--stack", files, "-m", "model", "-o", "{stem}.tif")
    assert done.code == 2
    assert "does not name the files of a scene" in done.stderr


def test_without_any_scene_it_is_wrong_usage(satseg: Callable, named: list[Any]) -> None:
    done = satseg("predict", "-m", "model", "-o", "map.tif")
    assert done.code == 2
    assert "There is no scene to map." in done.stderr


def test_a_wrong_length_is_wrong_usage_where_only_rasters_are_written(satseg: Callable, named: list[Any]) -> None:
    done = satseg("predict", "scene.tif", "-m", "model", "-o", "map.tif", "--simplify", "much")
    assert done.code == 2
    assert "'much' is not a length" in done.stderr
