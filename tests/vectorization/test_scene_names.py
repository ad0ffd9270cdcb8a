"""Scenes of a layer have short names, no two of them alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.vectorization.scene_names import SceneNames

paths = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map(lambda parts: "/".join(parts) + ".tif")


@pytest.mark.parametrize(
    ("scenes", "names"),
    [
        (["/data/town.tif"], ["town.tif"]),
        (["a/1.tif", "a/2.tif"], ["1.tif", "2.tif"]),
        (["a/1.tif", "b/1.tif", "b/2.tif"], ["a/1.tif", "b/1.tif", "2.tif"]),
        (["x/a/1.tif", "y/a/1.tif"], ["x/a/1.tif", "y/a/1.tif"]),
        (["1.tif", "./b/1.tif"], ["1.tif", "b/1.tif"]),
        (["https://host/a.tif?sig=secret"], ["a.tif"]),
        (["/data/B04.tif (and 3 stacked on it)"], ["B04.tif (and 3 stacked on it)"]),
    ],
)
def test_names_take_as_many_folders_as_tell_them_apart(scenes: list[str], names: list[str]) -> None:
    found = SceneNames(scenes)
    assert [found.of(scene) for scene in scenes] == names


def test_scenes_that_come_one_after_the_other_are_told_from_those_before() -> None:
    found = SceneNames()
    assert [found.of(path) for path in ("a/1.tif", "b/1.tif", "a/1.tif")] == ["1.tif", "b/1.tif", "1.tif"]


@given(st.lists(paths, unique=True), st.integers(0, 5))
def test_no_two_scenes_have_one_name(scenes: list[str], known: int) -> None:
    found = SceneNames(scenes[:known])
    names = [found.of(scene) for scene in scenes]
    assert len(set(names)) == len(scenes)
    assert all(f"./{scene}".endswith(f"/{name.removeprefix('./')}") for scene, name in zip(scenes, names, strict=True))
