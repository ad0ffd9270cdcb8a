"""The size that most labelled objects exceed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from satseg.classes import ClassTable
from satseg.errors import TileError
from satseg.workflows.smallest_objects import smallest_objects

CLASSES = ClassTable.from_names(["background", "building", "boat"])


@dataclass
class Drawn:
    """A tile of objects in rows of their own: (class, first id, sizes)."""

    rows: list[tuple[int, int, list[int]]]
    cut: frozenset[int] = frozenset()
    name: str = "drawn"

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        ids, labels = np.zeros((2, len(self.rows), 4000), dtype=np.int32)
        for row, (class_id, first, sizes) in enumerate(self.rows):
            numbers = np.repeat(np.arange(first, first + len(sizes)), sizes)
            ids[row, : len(numbers)] = numbers
            labels[row, : len(numbers)] = class_id
        return ids, labels.astype(np.uint8)

    def read_labels(self) -> np.ndarray:
        return self._arrays()[1]

    def read_objects(self) -> tuple[np.ndarray, np.ndarray]:
        ids = self._arrays()[0]
        return ids, np.isin(ids, list(self.cut))


def smallest(*tiles: Drawn, gsd: tuple[float, float] | None = None) -> str | None:
    return smallest_objects(tiles, CLASSES, gsd)  # type: ignore[arg-type]


def test_a_twentieth_of_the_objects_is_smaller() -> None:
    tile = Drawn([(1, 1, list(range(10, 51)))])  # 41 sizes, the third of which is the 5th percentile
    assert smallest(tile) == "12px"
    assert smallest(tile, gsd=(0.5, 0.5)) == "2.997m2"


def test_an_object_of_several_tiles_counts_once_and_one_that_is_cut_does_not() -> None:
    rows = [(1, 1, list(range(10, 51)))]
    pieces = Drawn([(1, 1, [2, 2, 2])], cut=frozenset([1, 2, 3]))
    assert smallest(pieces, Drawn(rows), Drawn(rows), pieces) == "12px"


def test_the_class_with_the_smallest_objects_decides_if_it_has_enough() -> None:
    buildings = (1, 1, [90] * 30)
    assert smallest(Drawn([buildings, (2, 100, [7] * 25)])) == "7px"
    assert smallest(Drawn([buildings, (2, 100, [7] * 19)])) == "90px"


def test_pixels_without_a_label_are_of_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = Drawn([(1, 1, [30] * 25)])
    labels = tile.read_labels()
    labels[:, ::30] = 255  # the first pixel of each object
    monkeypatch.setattr(Drawn, "read_labels", lambda self: labels)
    assert smallest(tile) == "29px"
    monkeypatch.setattr(Drawn, "read_labels", lambda self: labels[:, :-1])
    with pytest.raises(TileError, match="its labels are 3,999 x 1 px, its objects are 4,000 x 1 px"):
        smallest(tile)


def test_few_objects_tell_nothing() -> None:
    assert smallest(Drawn([(1, 1, [9] * 19)])) is None
    assert smallest() is None
