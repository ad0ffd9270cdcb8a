"""The options in one record: what is wrong is said at once, and what is asked for can be typed again.

Covers ``settings``.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from satseg.errors import UsageError
from satseg.settings import options_of
from satseg.vectorization.settings import ATTRIBUTES, PolygonSettings
from satseg.vectorization.table import schema


def test_words_are_what_a_user_would_type() -> None:
    options = PolygonSettings(classes=("road", "tree"), keep_background=True, simplify="1px")
    assert options.words() == ["--classes", "road,tree", "--keep-background", "--simplify", "1px"]
    assert PolygonSettings().words() == []


@pytest.mark.parametrize("names", [("Kartofler, spise-", "Majs"), ('"x"',), ('6" pipe', 'a "b", c')])
def test_names_with_commas_and_quotes_can_be_typed_again(names: tuple[str, ...]) -> None:
    (_, typed) = PolygonSettings(classes=names).words()
    assert PolygonSettings(classes=typed).classes == names


def test_options_survive_json() -> None:
    options = PolygonSettings(min_area="10m2", crs="EPSG:4326", classes=("road",))
    assert PolygonSettings(**json.loads(json.dumps(asdict(options)))) == options


def test_numbers_of_numpy_survive_json_and_are_typed_as_those_of_python() -> None:
    options = PolygonSettings(min_area=np.float64(0.5), max_vertices=np.int64(100), raw=np.bool_(True))  # type: ignore[arg-type]
    assert json.loads(json.dumps(asdict(options))) == asdict(options)
    assert options.words() == ["--raw", "--min-area", "0.5", "--max-vertices", "100"]


def test_an_unknown_attribute_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no attribute 'colour'") as caught:
        PolygonSettings(attributes=("class_id", "colour"))
    assert all(name in str(caught.value.hint) for name in ATTRIBUTES)


@pytest.mark.parametrize(
    "wrong", [{"simplify": "x"}, {"regularize": "2m2"}, {"min_area": "3m"}, {"fill_holes": "-1px"}]
)
def test_a_length_or_area_that_is_none_is_refused_before_there_is_a_map(wrong: dict[str, str]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=f"^`{name}='{value}'` is "):
        PolygonSettings(**wrong)


@pytest.mark.parametrize("name", ["simplify", "regularize", "min_area", "fill_holes"])
@pytest.mark.parametrize("number", ["0", "0.00", "0.0000000000000000000000001"])
def test_a_length_or_area_of_0_is_off(name: str, number: str) -> None:
    for unit in ("px", "m2" if name in ("min_area", "fill_holes") else "m"):
        none = None if name == "regularize" else "0px"
        assert getattr(PolygonSettings(**{name: number + unit}), name) == none
    PolygonSettings(regularize="0m", simplify="1px")  # nothing that would get into the way


@pytest.mark.parametrize("name", ["simplify", "regularize", "min_area", "fill_holes"])
@pytest.mark.parametrize("number", ["-1", "nan", "inf", "-0", "1e400", "9" * 40, ""])
def test_what_is_no_number_or_too_large_a_one_is_refused(name: str, number: str) -> None:
    with pytest.raises(UsageError, match=r"is (not a length|not an area|negative|not finite|too large)"):
        PolygonSettings(**{name: number + "px"})


@pytest.mark.parametrize("crs", ["EPSG:4978", "EPSG:5773", 'LOCAL_CS["site",UNIT["metre",1]]', "EPSG:999999", ""])
def test_a_crs_in_which_polygons_have_no_place_is_refused_before_there_is_a_map(crs: str) -> None:
    with pytest.raises(UsageError, match=r"Polygons cannot be written in|PROJ does not know the CRS"):
        PolygonSettings(crs=crs)


def test_every_attribute_has_a_type() -> None:
    assert schema(ATTRIBUTES).names == [*ATTRIBUTES, "geometry"]


def test_the_help_lists_every_attribute() -> None:

    (option,) = (option for option in options_of(PolygonSettings) if option.name == "attributes")
    assert f": {', '.join(ATTRIBUTES)}. " in option.declared.help


@pytest.mark.parametrize("crs", ["EPSG:4978", "EPSG:5773", "somewhere"])
def test_a_crs_that_is_none_on_the_ground_is_refused_before_there_is_a_map(crs: str) -> None:
    with pytest.raises(UsageError, match=r"Polygons cannot be written in|PROJ does not know the CRS") as caught:
        PolygonSettings(crs=crs)
    assert caught.value.hint


def test_a_map_of_classes_becomes_a_layer_to_work_with_unless_something_else_is_asked_for() -> None:
    assert PolygonSettings().in_pixels(None, ids=False) == (8, 7, (1, 1))
    assert PolygonSettings().in_pixels((10.0, 10.0), ids=False) == (8, 7, (1, 1))  # pixels, whatever they measure
    assert PolygonSettings(min_area="200m2").in_pixels((10.0, 5.0), ids=False) == (4, 7, (1, 1))
    assert PolygonSettings(simplify="0", min_area="0", fill_holes="0").in_pixels(None, ids=False) == (0, 0, None)
    assert PolygonSettings(regularize="2m").in_pixels((1.0, 1.0), ids=False) == (8, 7, None)


def test_raw_maps_and_ids_are_traced_on_the_edges_of_pixels_unless_something_else_is_asked_for() -> None:
    assert PolygonSettings(raw=True).in_pixels(None, ids=False) == (0, 0, None)
    assert PolygonSettings().in_pixels(None, ids=True) == (0, 0, None)
    assert PolygonSettings(raw=True, min_area="25px").in_pixels(None, ids=False) == (25, 0, None)
    assert PolygonSettings(simplify="2px").in_pixels(None, ids=True) == (0, 0, (2, 2))
