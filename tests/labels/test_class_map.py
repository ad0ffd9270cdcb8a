"""Class maps: as text, as CSV files and as dictionaries.

Covers ``class_lists``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satseg.errors import UsageError
from satseg.labels.class_lists import ClassMapSource, read_class_map
from satseg.labels.class_map import ClassMap, spell_pair

VALUES = st.text("ab ,\"'=ø*\n", min_size=1).map(str.strip).filter(bool)


def pairs(given: ClassMapSource) -> dict[str, str]:
    class_map = read_class_map(given)
    assert class_map is not None
    return dict(class_map.names)


@pytest.mark.parametrize(
    ("text", "value", "name"),
    [
        ('"Kartofler, spise-"=potato', "Kartofler, spise-", "potato"),
        ('"Kartofler, spise-=potato"', "Kartofler, spise-", "potato"),
        ('"a=b"=c', "a=b", "c"),
        ("a=b=c", "a=b", "c"),
        ('"say ""so"""=x', 'say "so"', "x"),
        ('5" pipe=pipe', '5" pipe', "pipe"),
        ("don't=x", "don't", "x"),
        (' "a, b" = c d ', "a, b", "c d"),
        ('"a=b, c"', "a", "b, c"),
    ],
)
def test_values_hold_commas_quotes_and_equals(text: str, value: str, name: str) -> None:
    assert pairs(f"1=one,{text},2=two") == {"1": "one", value: name, "2": "two"}


@given(st.dictionaries(VALUES, VALUES, min_size=1))
def test_a_class_map_is_spelt_so_that_it_reads_back(names: dict[str, str]) -> None:
    assert ClassMap.parse(ClassMap.of_pairs(names.items()).text).names == names


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        ("Potatoes, early", "potato", '"Potatoes, early"=potato'),
        ("a, b", "a, b", '"a, b"="a, b"'),
        ("1", "a, b", '1="a, b"'),
        ("=unknown crop", "=unknown crop", '=unknown crop="=unknown crop"'),
        ("a=b", "c", "a=b=c"),
        ('5" pipe', "pipe", '5" pipe=pipe'),
    ],
)
def test_quotes_stand_around_what_needs_them(value: str, name: str, text: str) -> None:
    assert spell_pair(value, name) == text
    assert pairs(f"1x=one,{text},2=two") == {"1x": "one", value: name, "2": "two"}


@pytest.mark.parametrize("text", ["a", "a=", "=b", '""=b', 'a=""', '"a"'])
def test_a_pair_needs_a_value_and_a_class(text: str) -> None:
    with pytest.raises(UsageError, match="is not a pair value=class"):
        ClassMap.parse(f"1=x,{text}")


def test_a_quote_that_is_not_closed_swallows_nothing() -> None:
    with pytest.raises(UsageError, match=r"A quote in `class_map=.*` is not closed"):
        ClassMap.parse('"Kartofler, spise-=potato,1=x')


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_file_is_a_class_map(tmp_path: Path, delimiter: str, end: str, encoding: str) -> None:
    rows = [
        ("Value", "Class", "Color"),
        ('"Kartofler, spise-; a=b"', "potato", "#AA0000"),
        ("Vårbyg", "cereal", ""),
        (),
    ]
    path = tmp_path / "classes=1.csv"
    path.write_bytes("".join(delimiter.join(row) + end for row in rows).encode(encoding))
    for source in (path, str(path), [path]):
        class_map = read_class_map(source)
        assert class_map is not None
        assert class_map.names == {"Kartofler, spise-; a=b": "potato", "Vårbyg": "cereal"}
        assert class_map.colours == {"potato": "#aa0000"}


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("count,class,value\n12,a,1\n3,b,2\n")
    assert pairs(path) == {"1": "a", "2": "b"}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "lacks the columns value and class"),
        ("1,water\n2,road\n", "lacks the columns value and class"),
        ("value,class\n", "is empty"),
        ("value,class\n1,a\n2,\n", "Line 3 of .* has no class for '2'"),
        ("value,class\n,a\n", "Line 2 of .* has no value"),
        ("value,class\n1,a\n1,b\n", "'1' has two classes in `class_map`: 'a' and 'b'"),
        ("value,class\nKartofler, spise-,a\n", "Line 2 of .* has 3 cells, but there are 2 columns"),
        ('value,class\n1,"a\n', "is not valid CSV"),
        ("value,class,colour\n1,a,red\n", "colour of the class 'a' in line 2 of .* is 'red', not #rrggbb"),
        ("value,class,colour\n1,a,#ff0000\n2,a,#00ff00\n", "'a' has two colours"),
    ],
)
def test_a_csv_file_that_is_no_class_map_is_told(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=match):
        read_class_map(path)


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_bytes("value,class\nVårbyg,cereal\n".encode("cp1252"))
    with pytest.raises(UsageError, match="not in UTF-8"):
        read_class_map(path)
    with pytest.raises(UsageError, match="neither value=class nor a readable file: it does not exist"):
        read_class_map("absent.csv")
    with pytest.raises(UsageError, match="works only with"):
        read_class_map("-")


def test_a_dictionary_is_a_class_map() -> None:
    assert pairs({"Kartofler, spise-": "potato", "a=b": "x=y"}) == {"Kartofler, spise-": "potato", "a=b": "x=y"}
    assert pairs({1: "water", 255: "road"}) == {"1": "water", "255": "road"}
    for wrong in ({"a": ""}, {"": "a"}, {"a": None}):
        with pytest.raises(UsageError, match="which is not a class name"):
            read_class_map(wrong)  # type: ignore[arg-type]


def test_several_class_maps_add_up(tmp_path: Path) -> None:
    path = tmp_path / "classes.csv"
    path.write_text("value,class\n1,a\n2,b\n")
    assert pairs(["3=c", str(path), "1=a"]) == {"3": "c", "1": "a", "2": "b"}
    with pytest.raises(UsageError, match="'2' has two classes in `class_map`: 'b' and 'c'"):
        read_class_map([path, "2=c"])


def test_a_value_itself_goes_before_patterns_and_these_in_their_order() -> None:
    class_map = ClassMap.parse("*=other,Vinter*=winter,Vinterraps=rape,*raps=spring rape,M*k*=dots.")
    found = {
        value: class_map.find(value) for value in ("Vinterhvede", "Vinterraps", "Vårraps", "Mælk", "vinter", "Havre")
    }
    assert found == {
        "Vinterhvede": "winter",
        "Vinterraps": "rape",
        "Vårraps": "spring rape",
        "Mælk": "dots.",
        "vinter": None,
        "Havre": None,
    }
    assert class_map.look_up("Havre") == "other"


def test_only_pairs_that_need_quotes_have_them() -> None:
    assert spell_pair("1", "water") == "1=water"
    assert spell_pair("a, b", "c") == '"a, b"=c'
