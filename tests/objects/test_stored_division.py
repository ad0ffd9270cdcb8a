"""What rasters store of the division into objects, as others may have changed it."""

from __future__ import annotations

import pytest

from satseg.objects.stored_division import DIVISION_TAG, division_in_tags


def test_what_is_stored_comes_back() -> None:
    assert division_in_tags({DIVISION_TAG: '{"min_area": "17.3m2"}'}) == {"min_area": "17.3m2"}
    stored = {DIVISION_TAG: '{"marker_depth": 0.3, "min_area": "20px"}', "AREA_OR_POINT": "Area"}
    assert division_in_tags(stored) == {"marker_depth": 0.3, "min_area": "20px"}
    assert division_in_tags({"AREA_OR_POINT": "Area"}) == {}


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", '{"min_area": 3}', '{"min_area": "many"}', '{"min_area": "3px", "marker_depth": 2}']
)
def test_what_makes_no_sense_is_passed_over(text: str) -> None:
    assert division_in_tags({DIVISION_TAG: text}) == {}
