"""Maps while they are made: the plan of their windows, their layers and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from satseg.results import Size


@dataclass(frozen=True)
class Plan:
    """The division of a scene into windows for inference, fixed before the first row. Equal plans give equal maps.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        window: Size of every window, which is padded by reflection beyond the edge of a small scene.
        overlap: Rows and columns over which adjacent windows are blended.
        batch_size: Windows per forward pass.
        row_starts: First rows of the windows, from the top; the last window ends at the edge, or a few pixels beyond.
        column_starts: First columns of the windows, from the left; likewise.
        streams: Batches that run in parallel.
        threads: Processor threads of each stream.
    """

    height: int
    width: int
    window: Size
    overlap: Size
    batch_size: int
    row_starts: tuple[int, ...]
    column_starts: tuple[int, ...]
    streams: int = 1
    threads: int = 1

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Read it from JSON of :func:`as_json`."""
        starts = {name: tuple(data[name]) for name in ("row_starts", "column_starts")}
        sizes = {name: Size(**data[name]) for name in ("window", "overlap")}
        return cls(**{**data, **starts, **sizes})

    @property
    def forwarded(self) -> float:
        """Pixels processed by the network per pixel of the scene, if every window has data."""
        windows = len(self.row_starts) * len(self.column_starts)
        return windows * self.window[0] * self.window[1] / (self.height * self.width)


CERTAIN = 254
"""8-bit value of 1 in rasters of confidence, probabilities and disagreement; 255 is nodata."""


class MapLayer(StrEnum):
    """The rasters of a map, all uint8 with 255 for invalid pixels, but for ``OBJECTS`` and ``OFFSETS``.

    ``CLASSES`` are class ids. The others are shares times 254: ``CONFIDENCE`` is the probability of the pixel's class
    (255 also if the sieve changed it), ``PROBABILITIES`` that of every class (one band each), ``DISAGREEMENT`` the
    difference between overlapping windows (half the sum over the classes of the differences of their probabilities; 0
    outside overlaps), ``BOUNDARY`` the probability of the inner boundary of objects, ``DISTANCE`` the distance to
    the edge of the own object over the largest one in it, and ``CENTRES`` the heat of their centres. ``OFFSETS`` are
    int16 sixteenths of pixels to the own centre, along rows and along columns (two bands), 0 for invalid pixels.
    ``OBJECTS`` are int32 ids of objects, 0 where there is none.
    """

    CLASSES = "classes"
    CONFIDENCE = "confidence"
    PROBABILITIES = "probabilities"
    DISAGREEMENT = "disagreement"
    BOUNDARY = "boundary"
    DISTANCE = "distance"
    CENTRES = "centres"
    OFFSETS = "offsets"
    OBJECTS = "objects"

    @property
    def dtype(self) -> np.dtype:
        """Type of its values."""
        wide = {MapLayer.OFFSETS: np.int16, MapLayer.OBJECTS: np.int32}
        return np.dtype(wide.get(self, np.uint8))


@dataclass(frozen=True, eq=False)
class Rows:
    """A strip of full rows of a map, finished in order from the top.

    Args:
        offset: First row of the strip in the scene.
        classes: (H, W) uint8 class ids, 255 for invalid pixels; or int32 ids of objects, -1 for none.
        confidence: (H, W) uint8, probability of the class times 254, 255 for invalid pixels; or None.
        objects: (H, W) int32 ids of objects, from 1 in the order of their first pixels, 0 for none; or None.
        boundary: (H, W) uint8, probability of the inner boundary of objects times 254; or None.
        centres: (H, W) uint8, heat of the centres of objects times 254, 255 for invalid pixels; or None.
    """

    offset: int
    classes: np.ndarray
    confidence: np.ndarray | None = None
    objects: np.ndarray | None = None
    boundary: np.ndarray | None = None
    centres: np.ndarray | None = None
