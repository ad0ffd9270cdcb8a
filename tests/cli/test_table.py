"""Tables on screens of any width: a row stays a row, numbers stay whole, and no letters stand one below the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from satseg.cli.table import FileName, Name, Table

CLASSES = [f"Permanent græs nummer {number:02d}, meget lavt udbytte" for number in range(38)]


def printed(table: Table, width: int | None) -> list[list[str]]:
    """Return the lines of each part."""
    return [[*part.heading(), *part.body()] for part in table.parts(width)]


@pytest.mark.parametrize("width", [80, 100])
def test_38_classes_with_long_names_stand_in_a_row_each(width: int) -> None:
    rows = [(name, 0.5123, None, 1_234_567 + i, "12.3 %") for i, name in enumerate(CLASSES)]
    (lines,) = printed(Table(("class", "IoU", "F1", "px", "share"), rows), width)
    assert all(cell_len(line) <= width for line in lines)
    numbers = [line for line in lines if "0.5123" in line]
    assert [line.split()[-3] for line in numbers] == [f"{1_234_567 + i:,}" for i in range(38)]
    assert len(lines) <= 1 + 2 * 38  # names take two lines at most


@pytest.mark.parametrize("width", [80, 100])
def test_a_column_per_class_goes_on_below_with_the_first_column_again(width: int) -> None:
    rows = [(split, *(1000 * i + n for i in range(38))) for n, split in enumerate(("train", "val", "test"))]
    parts = printed(Table(("split", *CLASSES), rows), width)
    assert all(cell_len(line) <= width for part in parts for line in part)
    assert all([line.split()[0] for line in part[-3:]] == ["train", "val", "test"] for part in parts)
    values = [value for part in parts for value in part[-3].split()[1:]]
    assert values == [f"{1000 * i:,}" for i in range(38)]


def test_numbers_stand_to_the_right_with_their_units_and_among_dashes() -> None:
    rows = [("a", 1234, "1.5 G", "7.0%", 5), ("bb", None, "12.25 G", "–", "x")]
    (lines,) = printed(Table(("name", "n", "ops", "share", "mixed"), rows), None)
    assert lines == [
        "name      n      ops  share  mixed",
        "a     1,234    1.5 G   7.0%  5",
        "bb        –  12.25 G      –  x",
    ]


def test_without_headings_there_is_no_line_for_them() -> None:
    assert printed(Table(("", ""), [("CRS", "EPSG:4326"), ("size", "1 x 2 px")]), 80) == [
        ["CRS   EPSG:4326", "size  1 x 2 px"]
    ]


def test_a_long_word_in_the_last_column_stays_whole_to_be_copied() -> None:
    digest = "0123456789abcdef" * 8
    (lines,) = printed(Table(("", ""), [("SHA-256", digest)]), 60)
    assert any(digest in line for line in lines)


def test_letters_of_two_columns_count_as_two() -> None:
    (lines,) = printed(Table(("name", "n"), [("東京", 1), ("roof", 22)]), None)
    assert [cell_len(line) for line in lines] == [8, 8, 8]


def test_a_table_without_rows_is_its_heading() -> None:
    assert printed(Table(("tile", "problem"), []), 80) == [["tile  problem"]]


@given(
    st.lists(st.tuples(st.text("ab ", max_size=90), st.integers(0, 10**12), st.text("xy ", max_size=90)), max_size=5),
    st.integers(50, 120),
)
def test_any_table_holds_every_number_once_and_keeps_to_the_screen(rows: list, width: int) -> None:
    parts = printed(Table(("first", "a number", "last"), rows), width)
    lines = [line for part in parts for line in part]
    for _, number, _ in rows:
        assert sum(f"{number:,}" in line.split() for line in lines) == sum(row[1] == number for row in rows)
    assert all(cell_len(line) <= width or max(map(cell_len, line.split())) > 20 for line in lines)


def test_names_lose_their_middle_unless_they_would_be_alike() -> None:
    beginning, end = "Permanent grassland", "of very low yield, eligible"
    names = [f"{beginning} number {i:02d} {end}" for i in range(3)] + [
        "Rotation grass, clover and all other herbs here"
    ]
    (lines,) = printed(Table(("class", "px"), [(Name(name), 1_000_000) for name in names]), 44)
    assert all(cell_len(line) <= 44 for line in lines)
    assert sum("1,000,000" in line for line in lines) == 4
    assert all(f"{number:02d}" in " ".join(lines) for number in range(3))
    assert sum("…" in line for line in lines) == 1  # the last one, of its own kind


def test_names_of_files_lose_their_beginning() -> None:
    rows = [(FileName(f"/a/rather/deep/folder/of/scenes/{name}.tif"), 1) for name in ("north", "south")]
    (lines,) = printed(Table(("scene", "bands"), rows), 34)
    assert [line.split()[0][-9:] for line in lines[1:]] == ["north.tif", "south.tif"]
    assert all(line.startswith("…") and cell_len(line) <= 34 for line in lines[1:])
