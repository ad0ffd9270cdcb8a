from __future__ import annotations

import pytest

from satseg.classes import ClassTable, MapClass
from satseg.errors import UsageError


def test_names_are_numbered_and_coloured_apart() -> None:
    table = ClassTable.from_names(["background", *(f"class {i}" for i in range(60))])
    assert [entry.id for entry in table] == list(range(61))
    assert table.background == 0
    assert len({entry.colour for entry in table}) == 61


def test_a_table_survives_json() -> None:
    table = ClassTable.from_names(["wood", "background"])
    assert ClassTable.from_dict(table.to_dict()) == table
    assert table.background == 1


def test_colours_are_red_green_blue() -> None:
    assert MapClass(0, "a", "#0102ff").rgb == (1, 2, 255)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "1 to 255 classes, not 0"),
        ((MapClass(1, "a", "#000000"),), "ids must be 0..0"),
        ((MapClass(0, "a", "#000000"), MapClass(1, "a", "#000001")), "has the name 'a' twice"),
        ((MapClass(0, "a", "red"),), "not #rrggbb"),
    ],
)
def test_tables_that_make_no_sense_are_refused(classes: tuple[MapClass, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ClassTable(classes)


def test_what_is_no_table_is_said() -> None:
    with pytest.raises(UsageError, match="Not a class table"):
        ClassTable.from_dict({"classes": [{"id": 0}]})


def test_further_classes_follow_in_colours_of_their_own() -> None:
    table = ClassTable.from_names(["background", "roof"]).extended(["tree", "lake"])
    assert table.names == ("background", "roof", "tree", "lake")
    assert (table.background, len({entry.colour for entry in table})) == (0, 4)
    with pytest.raises(UsageError, match="has the name 'roof' twice"):
        table.extended(["roof"])
    assert table.recoloured({"lake": "#0000ff"})[3].colour == "#0000ff"
