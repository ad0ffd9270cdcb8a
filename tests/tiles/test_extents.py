"""Covers ``globe``."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from time import perf_counter

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window

from satseg.records import BandSpec, SceneInfo
from satseg.tiles.extents import Extents, common_crs, group_by_overlap, overlapped, overlapping, shared_ground

SPEC = BandSpec(("gray",), "uint8", (1.0,), (0.0,))


def scene(name: str, left: float = 0, crs: str | None = "EPSG:32645") -> SceneInfo:
    return SceneInfo(name, 200, 100, SPEC, None, False, crs, Affine(2, 0, 300_000 + left, 0, -2, 3_000_000), (2, 2))


windows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 90), st.integers(0, 60), st.integers(1, 30), st.integers(1, 30)),
    max_size=12,
)


def places(entries: list[tuple[int, int, int, int, int]], crs: str | None) -> Extents:
    infos = [scene("a", crs=crs), scene("b", 5000, crs=crs)]
    return Extents.of(infos, [e[0] for e in entries], [Window(*e[1:]) for e in entries], crs)


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
    one = Extents.of([scene("a")], [0], [Window(0, 0, 64, 64)], "EPSG:32645")
    other = Extents.of([scene("b", shift)], [0], [Window(0, 0, 64, 64)], "EPSG:32645")
    assert overlapping(one, other, margin=margin).tolist() == [expected]


@cache
def from_degrees(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True)


def around(name: str, crs: str, lon: float, lat: float, pixel: float, side: int = 64) -> SceneInfo:
    """Return a scene of ``side`` px whose centre lies at a longitude and latitude."""
    x, y = from_degrees(crs).transform(lon, lat)
    transform = Affine(pixel, 0, x - pixel * side / 2, 0, -pixel, y + pixel * side / 2)
    return SceneInfo(name, side, side, SPEC, None, False, crs, transform, (1, 1))


def whole(*infos: SceneInfo) -> Extents:
    windows = [Window(0, 0, info.width, info.height) for info in infos]
    return Extents.of(infos, range(len(infos)), windows, common_crs([info.crs for info in infos]))


SAME_GROUND = {
    "degrees and metres": (("EPSG:32645", 87, 27, 10), ("EPSG:4326", 87, 27, 1e-4)),
    "two zones": (("EPSG:32645", 90.001, 27, 10), ("EPSG:32646", 90.001, 27, 10)),
    "grads": (("EPSG:4807", 2, 47, 1e-3), ("EPSG:32631", 2, 47, 50)),
    "antimeridian": (("EPSG:32601", 180, 10, 20), ("EPSG:4326", -180, 10, 1e-4)),
    "longitudes to 360": (("EPSG:4326", -60, -10, 1e-3), ("EPSG:4326", 300, -10, 1e-3)),
    "pole": (("EPSG:3413", 0, 90, 1000), ("EPSG:3995", 12, 89.9, 1000)),
    "south pole": (("EPSG:3031", 0, -90, 1000), ("EPSG:3976", 0, -89.9, 1000)),
    "equator": (("EPSG:32633", 15, 0, 10), ("EPSG:4326", 15, 0, 1e-4)),
}


@pytest.mark.parametrize("kind", SAME_GROUND)
def test_ground_is_compared_on_the_globe(kind: str) -> None:
    one, other = SAME_GROUND[kind]
    found = whole(around("a", *one), around("b", *other))
    assert overlapping(found[np.array([0])], found[np.array([1])]).tolist() == [True]
    assert overlapping(found[np.array([1])], found[np.array([0])]).tolist() == [True]
    assert group_by_overlap(found).tolist() == [0, 0]


@pytest.mark.parametrize("kind", SAME_GROUND)
def test_other_ground_is_told_from_it_on_the_globe(kind: str) -> None:
    (crs, lon, lat, pixel), (other, *there, size) = SAME_GROUND[kind]
    infos = [around("a", crs, lon, lat, pixel), around("b", other, *there, size)]
    infos[1] = replace(infos[1], transform=infos[1].transform * Affine.translation(200, -100))
    found = whole(*infos)
    assert overlapping(found[np.array([0])], found[np.array([1])]).tolist() == [False]
    assert group_by_overlap(found).tolist() == [0, 1]


shifts = st.one_of(st.integers(0, 56), st.integers(64, 76), st.integers(84, 99))


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([(3, 50), (179.999, -17), (-70, 78)]), shifts, shifts)
def test_shifts_by_pixels_are_seen_across_crs(place: tuple[float, float], right: int, down: int) -> None:
    """A scene and its window in a local CRS of another unit and centre, where north is the same."""
    lon, lat = place
    one = around("a", f"+proj=laea +lon_0={lon} +lat_0={lat} +datum=WGS84", lon, lat, 10)
    feet = f"+proj=laea +lon_0={lon} +lat_0={lat} +x_0=5000 +datum=WGS84 +to_meter=0.3048"
    other = around("b", feet, lon, lat, 10 / 0.3048)
    other = replace(other, transform=other.transform * Affine.translation(right, down))
    found = whole(one, other)
    expected = right < 64 and down < 64
    assert overlapping(found[np.array([0])], found[np.array([1])]).tolist() == [expected]
    assert overlapping(found[np.array([0])], found[np.array([1])], margin=20).tolist() == [right < 84 and down < 84]


def test_footprints_stay_finite_in_any_hemisphere() -> None:
    infos = [around("a", "EPSG:32633", 15, 5, 10), around("b", "EPSG:32756", 153, -30, 10)]
    found = whole(*infos)
    bounds = np.array([footprint.bounds for footprint in found.footprints])
    assert np.abs(bounds[:, :2] - [[15, 5], [153, -30]]).max() < 0.01
    assert group_by_overlap(found).tolist() == [0, 1]


def test_a_crs_of_no_ground_is_compared_with_itself_only() -> None:
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    one, other = (SceneInfo(n, 64, 64, SPEC, None, False, local, Affine.identity(), None) for n in "ab")
    found = whole(one, other)
    assert group_by_overlap(found).tolist() == [0, 0]
    mixed = whole(one, other, around("c", "EPSG:32633", 15, 5, 10))
    assert [footprint is None for footprint in mixed.footprints] == [True, True, False]
    assert group_by_overlap(mixed).tolist() == [0, 1, 2]


def test_scenes_without_a_crs_lie_nowhere_but_their_own_windows_overlap() -> None:
    infos = [scene("a", crs=None), scene("b", crs=None)]
    found = Extents.of(infos, [0, 0, 1], [Window(0, 0, 64, 64), Window(32, 0, 64, 64), Window(0, 0, 64, 64)], None)
    assert overlapping(found[np.array([0, 2])], found[np.array([1])]).tolist() == [True, False]
    assert group_by_overlap(found).tolist() == [0, 1, 2]


def test_a_partner_is_of_the_other_split_and_scene() -> None:
    infos = [scene("a"), scene("b"), scene("c")]
    found = Extents.of(infos, [0, 0, 1, 2], [Window(0, 0, 64, 64)] * 4, "EPSG:32645")
    assert overlapped(found[np.array([2])], found[np.array([0, 3])]).tolist() == [0]
    assert overlapped(found[np.array([0])], found[np.array([2, 3])]).tolist() == [0]


def test_a_thousand_scenes_of_one_grid_are_compared_at_once() -> None:
    infos = [scene(str(number)) for number in range(1000)]
    windows = [Window(64 * i, 0, 64, 64) for i in range(3)]
    found = Extents.of(infos, np.repeat(np.arange(1000), 3), windows * 1000, "EPSG:32645")
    start = perf_counter()
    assert group_by_overlap(found).tolist() == [0, 1, 2] * 1000
    assert overlapping(found[np.arange(0, 3000, 3)], found[np.arange(1, 3000, 3)]).sum() == 0
    assert overlapping(found[:1], found[3:]).tolist() == [True]
    assert perf_counter() - start < 3


@pytest.mark.parametrize("far", [[], [scene("b", 5000)]])
def test_a_margin_wider_than_a_scene_makes_no_pairs_of_polygons(
    far: list[SceneInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    monkeypatch.setattr(
        "satseg.tiles.extents.shared_ground",
        lambda mine, *others: compared.extend(mine) or shared_ground(mine, *others),
    )
    windows = [Window(8 * i, 0, 8, 8) for i in range(10)]
    found = Extents.of([scene("a"), *far], [0] * 10 + [1] * len(far), [*windows, *windows[: len(far)]], "EPSG:32645")
    assert overlapping(found[np.arange(5)], found[np.arange(5, len(found))], margin=100).all()
    assert not compared


def test_places_of_other_ground_follow_nothing() -> None:
    found = Extents.of([scene("a"), scene("b", 5000)], [0, 1], [Window(0, 0, 64, 64)] * 2, "EPSG:32645")
    assert group_by_overlap(found).tolist() == [0, 1]
    assert not overlapping(found[:0], found).size
