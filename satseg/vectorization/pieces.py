"""Pieces of giant features wait on disk until it is known which of them belong together."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import IO

import numpy as np

from satseg.vectorization.regions import Regions


class Pieces:
    """Sort pieces out of a stream of features, and hand them out at its end."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._count = 0

    def keep(self, regions: Regions) -> Regions:
        """Put aside the pieces among features; return the others."""
        pieces = regions.families > 0
        if not pieces.any():
            return regions
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - gone when it is closed, or collected
        kept = regions.where(pieces)
        for entry in fields(Regions):
            np.save(self._file, getattr(kept, entry.name))
        self._count += 1
        return regions.where(~pieces)

    def hand_out(self, families: np.ndarray) -> Iterator[Regions]:
        """Yield the pieces in the order in which they came.

        Args:
            families: For each number of a family the one that stands for it.
        """
        if self._file is None:
            return
        self._file.seek(0)
        for _ in range(self._count):
            found = Regions(*(np.load(self._file) for _ in fields(Regions)))
            yield replace(found, families=families[found.families])
        self._file.close()


class RegionNumbers:
    """Number regions from 1 on, over all maps of a layer; pieces of one region get one number."""

    def __init__(self) -> None:
        self._last = self._before = 0
        self._of_families: dict[int, int] = {}

    def begin(self) -> None:
        """Begin a map: its families have nothing to do with those before."""
        self._before = self._last
        self._of_families = {}

    def drop(self) -> None:
        """Take back the numbers of the map that was begun last."""
        self._last = self._before

    def count(self, families: np.ndarray) -> np.ndarray:
        """Return (F,) int64 numbers of the next features, given their families."""
        numbers = np.arange(self._last + 1, self._last + 1 + len(families))
        if not families.any():
            self._last += len(families)
            return numbers
        for i, family in enumerate(families.tolist()):
            known = self._of_families.get(family) if family else None
            if known is None:
                self._last += 1
                known = self._of_families[family] = self._last
            numbers[i] = known
        return numbers
