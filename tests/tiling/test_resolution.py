"""Which ground resolution suits labels: numbers only, no files."""

from __future__ import annotations

import logging
from typing import Any

import hypothesis
import pytest
from affine import Affine
from hypothesis import strategies as st

from satseg.records import BandSpec, SceneInfo
from satseg.tiling.object_sizes import ClassSize, ObjectSizes
from satseg.tiling.resolution import Advice, advise, log_advice
from satseg.tiling.settings import TileSettings


def scene(gsd: float | tuple[float, float] | None = 0.1, width: int = 8000, height: int = 6000) -> SceneInfo:
    bands = BandSpec(("b",), "uint8", (1.0,), (0.0,))
    both = (gsd, gsd) if isinstance(gsd, float) else gsd
    return SceneInfo("a.tif", width, height, bands, None, False, "EPSG:32645", Affine.identity(), both)


def objects(count: int = 500, **widths: tuple[float, float]) -> ObjectSizes:
    """Median and narrow widths in metres by class."""
    return ObjectSizes({name: ClassSize(count, *pair) for name, pair in widths.items()}, in_metres=True)


def advice(sizes: ObjectSizes, *infos: SceneInfo, **options: Any) -> Advice:
    return advise(sizes, infos or [scene()], TileSettings(**options))


@pytest.mark.parametrize(
    ("sizes", "gsd", "times"),
    [
        (objects(building=(4.4, 2.7)), "0.2m", 4),  # 44 px, like the roofs of a town at 0.13 m
        (objects(building=(9.6, 5)), "0.4m", 16),
        (objects(building=(3.1, 2)), None, 1),  # 31 px would become 15.5
        (objects(building=(9.6, 1.5)), None, 1),  # a tenth would become less than 7.5 px
        (objects(field=(30, 20), road=(0.8, 0.7)), None, 1),  # the finest class decides
        (objects(field=(30, 20), building=(4.4, 2.7)), "0.2m", 4),
    ],
)
def test_every_class_keeps_enough_pixels(sizes: ObjectSizes, gsd: str | None, times: int) -> None:
    found = advice(sizes)
    assert (found.gsd, found.times) == (gsd, times)


def test_the_reason_names_what_forbids_coarser_pixels() -> None:
    assert advice(objects(field=(30, 20), road=(0.8, 0.7))).why == "the median 'road' object is 8 px wide"
    assert advice(objects(building=(9.6, 1.5))).why == "one 'building' object in ten is less than 15 px wide"
    building = objects(building=(4.4, 2.7))
    assert advice(building, scene(width=900, height=1000)).why == "they would hold fewer than 16 tiles of 256 px"
    assert advice(building, scene(width=500, height=20_000)).why == "they would be less than 256 px wide"
    why = advice(building, ignore_border="0.3m").why
    assert why == "`ignore_border='0.3m'` would be less than 2 px"
    assert advice(objects(building=(4.4, 2.7), count=19)).why == "the labels have fewer than 20 objects to measure"
    assert advice(objects()).why == "the labels have fewer than 20 objects to measure"
    unknown = ObjectSizes({"a": ClassSize(99, 40, 30)}, in_metres=False)
    assert advice(unknown, scene(None)).gsd is None


def test_tiles_and_widths_in_metres_must_fit() -> None:
    building = objects(building=(20, 16))  # 200 px: 1.2 m would do
    assert advice(building).gsd == "0.4m"  # 8000 x 6000 px become 2000 x 1500, more than 16 tiles of 256 px
    assert advice(building, size=64).gsd == "0.8m"
    assert advice(building, *[scene(width=600, height=600)] * 99).gsd == "0.2m"  # 300 px
    assert advice(building, *[scene(width=600, height=600)] * 99, scene()).gsd == "0.8m"  # the largest one counts
    assert advice(building, size=64, boundary="0.5m").gsd == "0.2m"
    assert advice(building, size=64, boundary="3px", ignore_border="0px").gsd == "0.8m"  # follow the pixels


def test_scenes_of_different_resolutions_are_brought_to_the_coarsest() -> None:
    building = objects(building=(4.4, 2.7))
    found = advice(building, scene(0.1), scene(0.2513))
    assert (found.gsd, found.times) == ("0.251m", 1)
    assert advice(building, scene(0.1), scene(0.3)).gsd is None  # too coarse for the buildings
    assert advice(building, scene(0.1), scene(0.105)).gsd == "0.21m"  # alike
    assert advice(building, scene((0.13236, 0.13166))).gsd == "0.26m"


@hypothesis.settings(deadline=None)
@hypothesis.given(
    sides=st.lists(st.floats(0.05, 30), min_size=1, max_size=4),
    widths=st.dictionaries(st.sampled_from("abc"), st.tuples(st.floats(0.1, 3000), st.floats(0.1, 3000)), min_size=1),
    size=st.sampled_from([None, 32, 64]),
)
def test_no_scene_gets_finer_pixels_and_no_object_too_few(
    sides: list[float], widths: dict[str, tuple[float, float]], size: int | None
) -> None:
    sizes = objects(**{name: (max(pair), min(pair)) for name, pair in widths.items()})
    infos = [scene(side) for side in sides]
    found = advice(sizes, *infos, size=size)
    settings = TileSettings(gsd=found.gsd)
    assert (settings.ground_metres is None) == (found.gsd is None)
    if settings.ground_metres is not None:
        assert settings.ground_metres > 0.99 * max(sides)
        assert all(size.median >= 16 * settings.ground_metres for size in sizes.classes.values())
        assert all(size.narrow >= 8 * settings.ground_metres for size in sizes.classes.values())
        area = sum(8000 * 6000 * side**2 for side in sides)
        assert area >= 16 * (size or 256) ** 2 * settings.ground_metres**2 * (1 - 1e-9)


@pytest.mark.parametrize(
    ("gsd", "sizes", "infos", "told"),
    [
        (
            None,
            objects(building=(9.6, 5)),
            [scene()],
            "The median 'building' object (500 measured) is 96 px wide; `gsd='0.4m'` would show the network 16 times "
            "the ground per step.",
        ),
        (
            None,
            objects(building=(4.4, 2.7)),
            [scene(), scene(0.25)],
            "The scenes differ in ground resolution; `gsd='0.25m'` would bring all to that of the coarsest, in which "
            "the median 'building' object (500 measured) is 18 px wide.",
        ),
        (None, objects(building=(1, 1)), [scene()], None),
        ("0.3m", objects(building=(9.6, 5)), [scene()], None),
        (
            "auto",
            objects(building=(9.6, 5)),
            [scene()],
            "Chose `gsd='0.4m'`, which shows the network 16 times the ground per step: the median 'building' object "
            "(500 measured) is 96 px wide.",
        ),
        (
            "auto",
            objects(building=(4.4, 2.7)),
            [scene(), scene(0.25)],
            "Chose `gsd='0.25m'`, which suits all scenes: the median 'building' object (500 measured) is 18 px wide.",
        ),
        (
            "auto",
            objects(road=(0.55, 0.5)),
            [scene()],
            "Kept the ground resolution of the scenes: the median 'road' object is 5.5 px wide.",
        ),
    ],
)
def test_one_line_says_what_would_suit_or_was_chosen_and_why(
    gsd: str | None, sizes: ObjectSizes, infos: list[SceneInfo], told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    settings = TileSettings(gsd=gsd)
    log_advice(advise(sizes, infos, settings), settings)
    assert caplog.messages == ([] if told is None else [told])
