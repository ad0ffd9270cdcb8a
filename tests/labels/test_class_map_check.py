"""Values that class maps lack, and keys that no value matches."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from satseg.errors import LabelError
from satseg.labels.class_map import ClassMap
from satseg.labels.class_map_check import likely_class, unmatched_message, unnamed_message
from satseg.labels.label_files import open_labels
from satseg.labels.settings import LabelSettings

CROPS = ["Vårbyg", "Vårbyg", "Kartofler, spise-", "Vinterhvede"]


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    shapes = [shapely.box(10 * i, 0, 10 * i + 8, 8) for i in range(len(CROPS))]
    path = tmp_path / "fields.gpkg"
    geopandas.GeoDataFrame({"crop": CROPS}, geometry=shapes, crs="EPSG:32632").to_file(path)
    return path


def raster(path: Path, *values: int) -> str:
    profile = {"driver": "GTiff", "crs": "EPSG:32632", "transform": Affine(1, 0, 0, 0, -1, 9), "dtype": "uint8"}
    with rasterio.open(path, "w", count=1, height=1, width=len(values), **profile) as dataset:
        dataset.write(np.array([[values]], dtype=np.uint8))
    return str(path)


def test_all_features_that_a_class_map_lacks_are_told_at_once_with_the_line_to_type(fields: Path) -> None:
    with pytest.raises(LabelError) as caught:
        open_labels(fields, LabelSettings(class_field="crop"), class_map=ClassMap.parse("Varbyg=barley,Vinter*=winter"))
    assert caught.value.message == (
        f"{fields} holds the values Vårbyg (2 features), Kartofler, spise- (1 feature), "
        "which `class_map` does not name."
    )
    hint = caught.value.hint or ""
    assert hint.startswith("Did you mean 'Vårbyg' by 'Varbyg'? Add `class_map='Vårbyg=Vårbyg,")
    line = hint.split("`class_map='")[1].split("'`")[0]
    both = ClassMap.parse(f"{line},Vinter*=winter")
    assert both.names == {"Vårbyg": "Vårbyg", "Kartofler, spise-": "Kartofler, spise-", "Vinter*": "winter"}
    known = open_labels(fields, LabelSettings(class_field="crop"), class_map=both).classes.names
    assert known == ("background", "Vårbyg", "Kartofler, spise-", "winter")


def test_values_that_each_of_three_scenes_lacks_are_told_at_once(tmp_path: Path) -> None:
    masks = {name: str(raster(tmp_path / f"{name}.tif", 1, value)) for name, value in {"a": 7, "b": 8, "c": 9}.items()}
    with pytest.raises(LabelError) as caught:
        open_labels(masks, class_map=ClassMap.parse("1=bare"))
    assert caught.value.message == (
        f"{masks['a']}, with 2 more, holds the values 7 (1 px), 8 (1 px), 9 (1 px), which `class_map` does not name."
    )
    assert "`class_map='7=class 7,8=class 8,9=class 9'`" in str(caught.value.hint)


def test_many_files_that_lack_values_are_told_in_one_short_sentence(tmp_path: Path) -> None:
    files = {}
    for number in range(6):
        shapes = geopandas.GeoDataFrame(
            {"crop": [f"kind {number}"]}, geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32632"
        )
        shapes.to_file(tmp_path / f"{number}.gpkg")
        files[str(number)] = str(tmp_path / f"{number}.gpkg")
    with pytest.raises(LabelError) as caught:
        open_labels(files, LabelSettings(class_field="crop"), class_map=ClassMap.parse("Rug=rye"))
    values = ", ".join(f"kind {number} (1 feature)" for number in range(6))
    assert caught.value.message == (
        f"{files['0']}, with 5 more, holds the values {values}, which `class_map` does not name."
    )


def test_files_of_labels_are_told_of_together(fields: Path, tmp_path: Path) -> None:
    ground = raster(tmp_path / "ground.tif", 1, 7, 7)
    shapes = geopandas.GeoDataFrame({"crop": ["Rug", None]}, geometry=[shapely.box(0, 0, 1, 1)] * 2, crs="EPSG:32632")
    shapes.to_file(tmp_path / "more.gpkg")
    with pytest.raises(LabelError) as caught:
        open_labels(
            [fields, ground, tmp_path / "more.gpkg"],
            LabelSettings(class_field="crop"),
            class_map=ClassMap.parse("V*=cereal,1=bare"),
        )
    assert caught.value.message == (
        f"{ground} holds the value 7 (2 px); {fields} holds the value Kartofler, spise- (1 feature); "
        f"{tmp_path / 'more.gpkg'} holds the values Rug (1 feature), unknown (1 feature), "
        "which `class_map` does not name."
    )
    line = (caught.value.hint or "").split("`class_map='")[1].split("'`")[0]
    assert ClassMap.parse(line).names == {
        "Kartofler, spise-": "Kartofler, spise-",
        "Rug": "Rug",
        "unknown": "ignore",
        "7": "class 7",
    }


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *[("Rug", "Rug"), ("Knowable", "Knowable"), ("background", "background"), ("1.5", "1.5"), ("a=b", "a=b")],
        *[("3", "class 3"), ("0", "class 0"), ("#ff0000", "class #ff0000"), ("=x", "=x")],
        *[(nobody, "ignore") for nobody in ("-1", "-9999", "255", "Unknown", "", "No data")],
    ],
)
def test_a_value_is_proposed_as_a_class_unless_it_says_that_nobody_knows(value: str, name: str) -> None:
    assert likely_class(value) == name


def test_without_a_field_the_field_is_what_lacks(fields: Path) -> None:
    with pytest.raises(LabelError, match=r"holds the value fields \(4 features\)") as caught:
        open_labels(fields, class_map=ClassMap.parse("Vinter*=winter"))
    assert (caught.value.hint or "").startswith("Without `class_field`")


def test_rasters_that_belong_together_are_told_of_together(tmp_path: Path) -> None:
    masks = {
        name: raster(tmp_path / f"{name}.tif", *values) for name, values in {"a": (1, 2, 2), "b": (3, 2, 1)}.items()
    }
    with pytest.raises(LabelError, match=r"a.tif, with 1 more, holds the values 2 \(3 px\), 3 \(1 px\), which"):
        open_labels(masks, class_map=ClassMap.parse("1=road"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Varbyg=barley,*=other", "'Varbyg' (did you mean 'Vårbyg'?). The class remains empty: barley"),
        ("Varbyg=ignore,*=other", "'Varbyg' (did you mean 'Vårbyg'?)"),
        ("Varbyg=other,*=other", "'Varbyg' (did you mean 'Vårbyg'?)"),
        (
            "vinter hvede=wheat,*=other",
            "'vinter hvede' (did you mean 'Vinterhvede'?). The class remains empty: wheat",
        ),
        ("Rug=rye,*=other", "'Rug'. The class remains empty: rye"),
        ("Rug=rye,Sommer*=summer,*=other", "'Rug', 'Sommer*'. The classes remain empty: rye, summer"),
        ("Rug=cereal,Vinter*=cereal,*=other", "'Rug'"),
        (
            "Kartofel*=potato,*=other",
            "'Kartofel*' (did you mean 'Kartofler, spise-'?). The class remains empty: potato",
        ),
        ("*hvete=wheat,*=other", "'*hvete' (did you mean 'Vinterhvede'?). The class remains empty: wheat"),
        ("*xy*=odd,*=other", "'*xy*'. The class remains empty: odd"),
        ("Rug=ignore,Vårbyg=barley,Vinter*=wheat,*=other", None),
        ("*=other", None),
    ],
)
def test_names_that_no_value_has_are_told(
    fields: Path, caplog: pytest.LogCaptureFixture, text: str, told: str | None
) -> None:
    class_map = ClassMap.parse(text)
    open_labels(fields, LabelSettings(class_field="crop"), class_map=class_map).warn_of_unmatched(class_map)
    expected = [f"{fields} has none of these values of `class_map`: {told}."] if told else []
    assert caplog.messages == expected


def test_names_and_colours_and_numbers_all_meet_a_value() -> None:
    values = {"water": ("water", "1", "#0000ff"), "2": ("2",)}
    for text in ("water=a", "1=a", "#0000FF=a", "w*=a", "2=a"):
        assert unmatched_message("x", ClassMap.parse(text), values) is None
    assert unmatched_message("x", ClassMap.parse("3=a,1=b"), values) == (
        "x has none of these values of `class_map`: '3'. The class remains empty: a."
    )
    assert unmatched_message("x", ClassMap.parse("3=a,1=b"), values, only_alike=True) is None


def test_letters_that_look_alike_are_the_same_value() -> None:
    for text, value in [("NFC", "NFD"), ("NFD", "NFC")]:
        class_map = ClassMap.parse(unicodedata.normalize(text, "Vårbyg") + "=barley")  # type: ignore[arg-type]
        found = unicodedata.normalize(value, "Vårbyg")  # type: ignore[arg-type]
        assert class_map.find(found) == "barley"
        assert unmatched_message("x", class_map, {found: (found,)}) is None


def test_long_lists_end() -> None:
    counts = Counter({f"crop {i:02d}": 100 - i for i in range(30)})
    message, hint = unnamed_message([("x", counts, "feature")], ClassMap.parse("a=b"))
    assert "crop 11 (89 features) and 18 more" in message
    assert hint == (
        "Write all of them to a table classes.csv with `satseg.info` of x, `class_field` and `class_map='-'`; edit it, "
        "and add `class_map='classes.csv'`; or add `class_map='*=ignore'` to ignore the rest."
    )
