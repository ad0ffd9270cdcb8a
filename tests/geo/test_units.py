"""Lengths, areas and resolutions: every unit in metres, plain numbers, and refusals that name the option."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.errors import UsageError
from satseg.geo.units import Area, Length, parse_area, parse_length, parse_resolution

METRES = {"mm": 1e-3, "cm": 1e-2, "m": 1, "km": 1e3, "ft": 0.3048, "us-ft": 1200 / 3937}
NUMBERS = st.floats(1e-6, 1e12)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("1px", Length(1, "px")),
        ("1.5 px", Length(1.5, "px")),
        ("3 pixels", Length(3, "px")),
        ("35cm", Length(0.35, "m")),  # 35 * 0.01 is another number
        ("2 km", Length(2000, "m")),
        (" .5 Metres ", Length(0.5, "m")),
        ("30ft", Length(9.144, "m")),
        ("39.37 us-ft", Length(12, "m")),
        ("1e-3km", Length(1, "m")),
        ("0.5", Length(0.5, "m")),
        (0.5, Length(0.5, "m")),
        (np.float32(0.5), Length(0.5, "m")),
        (np.int64(2), Length(2, "m")),
        ("0m", Length(0, "m")),
        ("1e-13m", Length(0, "m")),
    ],
)
def test_lengths_are_pixels_or_metres(text: str | float, length: Length) -> None:
    assert parse_length(text, "simplify") == length


@pytest.mark.parametrize(
    "text", ["100m2", "100 m²", "100M^2", "0.01ha", "1e-4km2", "1000000 cm2", "100 sq m", "100", 100]
)
def test_areas_are_the_same_however_they_are_written(text: str | float) -> None:
    assert parse_area(text, "min_area") == Area(100, "m2")


@pytest.mark.parametrize("text", ["25px", "25 px2", "25 pixels", "25px²"])
def test_areas_in_pixels_count_them(text: str) -> None:
    assert parse_area(text, "min_area").in_pixels(None) == 25


@pytest.mark.parametrize("text", ["0.5m", "50cm", "500 mm", "0.5 m/px", "0.5m per pixel", "0.5", 0.5])
def test_resolutions_are_metres_per_pixel(text: str | float) -> None:
    assert parse_resolution(text, "gsd") == 0.5


@given(NUMBERS, st.sampled_from(sorted(METRES)), st.sampled_from(["", " ", "\u00a0"]))
def test_every_unit_scales_to_metres_and_its_square_to_square_metres(number: float, unit: str, gap: str) -> None:
    length = parse_length(f"{number!r}{gap}{unit}", "buffer")
    area = parse_area(f"{number!r}{gap}{unit}2", "min_area")
    assert (length.unit, length.value) == ("m", pytest.approx(number * METRES[unit], rel=1e-15, abs=1e-12))
    assert (area.unit, area.value) == ("m2", pytest.approx(number * METRES[unit] ** 2, rel=1e-15, abs=1e-12))


@given(NUMBERS, st.sampled_from(["m", "px", "%"]), st.sampled_from(["m2", "px"]))
def test_what_is_written_is_read_again(number: float, unit: str, square: str) -> None:
    length, area = Length(number, unit), Area(number, square)
    assert parse_length(str(length), "boundary_width", per_cent=True) == length
    assert parse_area(str(area), "min_area") == area


@given(NUMBERS, st.floats(0.01, 1000), st.floats(0.01, 1000))
def test_pixels_follow_from_their_size_on_the_ground(metres: float, across: float, down: float) -> None:
    assert parse_length(metres, "simplify").in_pixels((across, down)) == (metres / across, metres / down)
    assert parse_area(metres, "min_area").in_pixels((across, down)) == metres / (across * down)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("0,5m", r"Write `gsd='0\.5m'`$"),
        ("12,5 cm", r"Write `gsd='12\.5cm'`$"),
        ("1,000m", r"Write `gsd='1\.000m'` or `gsd='1000m'`$"),
        ("1,234,567m", r"Write `gsd='1234567m'`$"),
    ],
)
def test_commas_are_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"^`gsd='{text}'` has a comma") as caught:
        parse_resolution(text, "gsd")
    assert re.search(hint, str(caught.value.hint))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10m2", "is an area, not a length"),
        ("1ha", "is an area"),
        ("9px2", "is an area"),
        ("5%", "has '%', which is not a unit of length"),
        ("5 deg", "has 'deg', which is not a unit"),
        ("1.2.3m", r"has '\.3m', which is not a unit"),
        ("-1m", "is negative"),
        (-1, "is negative"),
        ("-0px", "is negative"),
        ("nan", "is not finite"),
        (float("nan"), "is not finite"),
        (float("inf"), "is not finite"),
        ("1e999m", "is not finite"),
        ("1e30m", "is too large"),
        ("1e29km", "is too large"),
        ("", "is not a length"),
        ("px", "is not a length"),
        (True, "is not a length"),
        (None, "is not a length"),
    ],
)
def test_what_is_no_length_is_refused_by_the_name_of_its_option(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^`buffer={re.escape(repr(text))}` {message}"):
        parse_length(text, "buffer")


@pytest.mark.parametrize(
    ("text", "hint"), [("10m", "Write `min_area='10m2'`, or `min_area='10px'`"), ("3 ft", "Write `min_area='3ft2'`")]
)
def test_a_length_for_an_area_is_refused(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"^`min_area='{text}'` is a length, not an area") as caught:
        parse_area(text, "min_area")
    assert str(caught.value.hint).startswith(hint)


@pytest.mark.parametrize("text", ["0", "0m", 0, "1e-20 m"])
def test_zero_is_refused_where_it_means_nothing(text: str | float) -> None:
    with pytest.raises(UsageError, match=f"^`gsd={text!r}` is zero"):
        parse_resolution(text, "gsd")


def test_a_resolution_in_pixels_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^`gsd='2px'` is in pixels, not the size of a pixel on the ground"):
        parse_resolution("2px", "gsd")


@pytest.mark.parametrize("parse", [parse_length, parse_area])
def test_the_ground_must_be_known_for_what_is_measured_on_it(parse) -> None:
    with pytest.raises(UsageError, match=r"^`x=3` is in metres on the ground, but the ground resolution"):
        parse(3, "x").in_pixels(None)
