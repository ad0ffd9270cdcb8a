"""What writers need to know of the layer as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from affine import Affine

    from satseg.classes import ClassTable
    from satseg.vectorization.table import Batch


@dataclass(frozen=True)
class Layer:
    """A layer of polygons.

    Args:
        transform: Pixel to CRS coordinates of the raster.
        crs: CRS of the polygons, or None.
        classes: Names and colours, or None where values are ids of their own.
        provenance: Where the polygons come from, as name and value.
    """

    transform: Affine
    crs: str | None
    classes: ClassTable | None
    provenance: Mapping[str, str]


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
