"""Count what is emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from satseg.records import VectorSummary
from satseg.vectorization.planar import VOID

if TYPE_CHECKING:
    from satseg.classes import ClassTable

ALL = "all"
"""Stands for the class name in a summary of values that are no classes."""


class Tally:
    """Counts by class; all in one where there is no class table.

    Args:
        classes: Class table, or None.
        lookup: Class id to value in the tracer, VOID where nothing is emitted; None without a class table.
    """

    def __init__(self, classes: ClassTable | None, lookup: np.ndarray | None) -> None:
        self._names = {entry.id: entry.name for entry in classes or () if lookup is None or lookup[entry.id] != VOID}
        self._counts = np.zeros(len(classes or (ALL,)), dtype=np.int64)
        self._square_metres = np.zeros(len(self._counts))
        self._vertices = 0
        self.specks = self.holes = 0
        """Regions that were too small, and holes that were filled."""

    def add(self, values: np.ndarray, areas: np.ndarray, vertices: int) -> None:
        """Add polygons by their values (P,) and areas (P,), with so many vertices in all."""
        values = values if self._names else np.zeros_like(values)
        self._counts += np.bincount(values, minlength=len(self._counts))
        self._square_metres += np.bincount(values, weights=areas, minlength=len(self._counts))
        self._vertices += vertices

    def summary(self, paths: tuple[str, ...]) -> VectorSummary:
        """Return the record of all that was added."""
        names = self._names or {0: ALL}
        return VectorSummary(
            paths=paths,
            polygons={name: int(self._counts[i]) for i, name in names.items()},
            vertices=self._vertices,
            area_m2={name: float(self._square_metres[i]) for i, name in names.items()},
            specks=self.specks,
            holes=self.holes,
        )


def total(parts: list[VectorSummary], paths: tuple[str, ...]) -> VectorSummary:
    """Return the sum of one or more summaries over the same classes."""
    return VectorSummary(
        paths=paths,
        polygons={name: sum(part.polygons[name] for part in parts) for name in parts[0].polygons},
        vertices=sum(part.vertices for part in parts),
        area_m2={name: sum(part.area_m2[name] for part in parts) for name in parts[0].area_m2},
        specks=sum(part.specks for part in parts),
        holes=sum(part.holes for part in parts),
    )
