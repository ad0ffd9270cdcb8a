"""Tables of many classes at the widths of terminals."""

from __future__ import annotations

import pytest

from satseg.cli.class_tables import class_pixels

CROPS = [f"Kartofler, {use}-" for use in ("spise", "lægge", "stivelses")] + [f"Vinterhvede {n}" for n in range(34)]
LONG = "Permanent græs med meget lavt udbytte, støtteberettiget fra den første november"


def drawn(pixels: dict[str, dict[str, int]], width: int) -> list[str]:
    (part,) = class_pixels(pixels).parts(width)
    return [*part.heading(), *part.body()]


@pytest.mark.parametrize("width", [80, 100])
def test_each_class_has_one_line_within_the_width(width: int) -> None:
    names = [*CROPS, LONG]
    pixels = {split: dict.fromkeys(names, 1234567890) for split in ("train", "val", "test")}
    heading, *lines = drawn(pixels, width)
    assert heading.split() == ["class", "train", "px", "val", "px", "test", "px", "share"]
    assert len(lines) == len(names)
    assert max(map(len, lines)) <= width
    for name, line in zip(CROPS, lines, strict=False):
        assert line.startswith(name)
        assert line[len(name) :].split() == ["1,234,567,890"] * 3 + ["2.6%"]
    assert lines[-1].startswith("Permanent")
    assert "…" in lines[-1]
    assert "november" in lines[-1]


def test_names_are_whole_where_there_is_room_and_a_dash_stands_for_no_pixel() -> None:
    pixels = {"train": {LONG: 30, "Rug": 10}, "val": {LONG: 0, "Rug": 10}}
    heading, *lines = drawn(pixels, 200)
    assert [line.split()[-3:] for line in lines] == [["30", "–", "60.0%"], ["10", "10", "40.0%"]]
    assert lines[0].startswith(LONG)
    assert len({heading.rindex("px") + 2, *(line.index(cell) + len(cell) for line, cell in ((lines[0], "–"),))}) == 1


def test_a_set_without_pixels_has_no_shares() -> None:
    assert drawn({"train": {"Rug": 0}}, 80)[1].split() == ["Rug", "–", "0.0%"]


def test_many_classes_without_a_pixel_share_a_row() -> None:
    _, *lines = drawn(
        {"train": {"Rug": 8, **dict.fromkeys(CROPS, 0)}, "val": {"Rug": 2, **dict.fromkeys(CROPS, 0)}}, 80
    )
    assert [line.split() for line in lines] == [
        ["Rug", "8", "2", "100.0%"],
        [f"({len(CROPS)}", "without", "a", "pixel)", "–", "–", "0.0%"],
    ]
