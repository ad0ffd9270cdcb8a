from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from satseg.records import BandSpec, SceneInfo
from satseg.tiles.places import Places, follow, overlapping

SPEC = BandSpec(("gray",), "uint8", (1.0,), (0.0,))


def scene(name: str, left: float = 0, crs: str | None = "EPSG:32645") -> SceneInfo:
    return SceneInfo(name, 200, 100, SPEC, None, False, crs, Affine(2, 0, 300_000 + left, 0, -2, 3_000_000), (2, 2))


windows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 90), st.integers(0, 60), st.integers(1, 30), st.integers(1, 30)),
    max_size=12,
)


def places(entries: list[tuple[int, int, int, int, int]], crs: str | None) -> Places:
    infos = [scene("a", crs=crs), scene("b", 5000, crs=crs)]
    return Places.of(infos, [e[0] for e in entries], [Window(*e[1:]) for e in entries], crs)


@settings(deadline=None)
@given(windows, windows, st.integers(0, 5), st.sampled_from([None, "EPSG:32645"]))
def test_windows_of_a_scene_overlap_pixel_by_pixel(mine: list, theirs: list, margin: int, crs: str | None) -> None:
    found = overlapping(places(mine, crs), places(theirs, crs), margin=margin)
    for (number, left, top, width, height), overlaps in zip(mine, found.tolist(), strict=True):
        expected = any(
            number == other
            and left < x + w + margin
            and x - margin < left + width
            and top < y + h + margin
            and y - margin < top + height
            for other, x, y, w, h in theirs
        )
        assert overlaps == expected


@pytest.mark.parametrize(("shift", "margin", "expected"), [(128, 0, False), (126, 0, True), (128, 1, True)])
def test_scenes_side_by_side_touch_without_overlapping(shift: int, margin: int, expected: bool) -> None:
    one = Places.of([scene("a")], [0], [Window(0, 0, 64, 64)], "EPSG:32645")
    other = Places.of([scene("b", shift)], [0], [Window(0, 0, 64, 64)], "EPSG:32645")
    assert overlapping(one, other, margin=margin).tolist() == [expected]


def test_footprints_are_compared_in_one_crs() -> None:
    import pyproj

    to_degrees = pyproj.Transformer.from_crs("EPSG:32645", "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(300_000, 3_000_000)
    degrees = SceneInfo("d", 99, 99, SPEC, None, False, "EPSG:4326", Affine(2e-5, 0, lon, 0, -2e-5, lat), (2, 2))
    found = Places.of([scene("a"), degrees], [0, 1], [Window(0, 0, 64, 64)] * 2, "EPSG:32645")
    assert overlapping(found[np.array([0])], found[np.array([1])]).tolist() == [True]
    assert follow(found).tolist() == [0, 0]


def test_places_of_other_ground_follow_nothing() -> None:
    found = Places.of([scene("a"), scene("b", 5000)], [0, 1], [Window(0, 0, 64, 64)] * 2, "EPSG:32645")
    assert follow(found).tolist() == [0, 1]
    assert not overlapping(found[:0], found).size
