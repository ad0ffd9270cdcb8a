"""What writers need to know of the layer as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from satseg.vectorization.footprint import Footprint

if TYPE_CHECKING:
    from satseg.classes import ClassTable
    from satseg.vectorization.table import Batch


@dataclass(frozen=True)
class Layer:
    """A layer of polygons.

    Args:
        attributes: Names of its columns (see :mod:`~satseg.vectorization.settings`); the geometry comes last.
        multi: Whether geometries are multipolygons. GeoJSON has some besides where polygons cross the antimeridian.
        fits: Whether polygons fit their neighbours vertex by vertex; others are made valid each for itself.
        crs: CRS of the polygons, or None.
        pixel: Side of a pixel of the (first) map in units of the CRS, roughly.
        metres: The same in metres on the ground; 1 where it is unknown.
        classes: Names and colours, or None where values are ids of their own.
        provenance: Where the polygons come from, as name and value.
        footprint: The ground of the maps; it grows until the layer is complete.
    """

    attributes: tuple[str, ...]
    multi: bool
    fits: bool
    crs: str | None
    pixel: float
    metres: float
    classes: ClassTable | None
    provenance: Mapping[str, str]
    footprint: Footprint = field(default_factory=Footprint)

    @property
    def geometry_type(self) -> str:
        """Name of the geometries' type."""
        return "MultiPolygon" if self.multi else "Polygon"


class Writer(Protocol):
    """Takes batches and turns them into one output."""

    def write(self, batch: Batch) -> None:
        """Take the next batch.

        Raises:
            OutputError: It cannot be written.
        """
        ...

    def close(self) -> None:
        """Complete the output.

        Raises:
            OutputError: It cannot be written.
        """
        ...

    def abort(self) -> None:
        """Let go of the output as it is."""
        ...
