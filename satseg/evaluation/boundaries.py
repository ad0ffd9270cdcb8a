"""Count the agreement of class boundaries, for boundary F1 and boundary IoU.

A pixel lies on the boundary of its class if one of its four neighbours has another class. Pixels with ignored labels or
without data in the map are not compared and are no other class: they, and the edge of the raster, make no boundary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from satseg.classes import IGNORE_INDEX
from satseg.evaluation.tally import Count, empty_tally
from satseg.geo.units import Gsd, Length, known_gsd

_SLACK = 1 + 1e-9  # sums of squared pixel sizes round


@dataclass(frozen=True)
class Reach:
    """A distance on a grid of pixels.

    Args:
        length: The distance.
        pixel: Height and width of a pixel in the same unit.
    """

    length: float
    pixel: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def of(cls, length: Length, *, shape: tuple[int, int], gsd: Gsd) -> Reach:
        """Convert a length to a grid.

        Args:
            length: Length in pixels, in metres, or in per cent of the diagonal of a tile.
            shape: Rows and columns of a tile.
            gsd: Ground metres per pixel along x and y, or None if unknown.

        Raises:
            UsageError: The length is in metres, and the pixel size is unknown.
        """
        if length.unit == "px":
            return cls(length.value)
        if length.unit == "%":
            return cls(length.value / 100 * math.hypot(*shape))
        across, down = known_gsd(gsd, length.given)
        return cls(length.value, (down, across))

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns around a window that its result depends on: the reach and one neighbour."""
        rows, columns = (math.floor(self.length / size * _SLACK) + 1 for size in self.pixel)
        return rows, columns

    def around(self, mask: np.ndarray) -> np.ndarray:
        """Return the pixels within reach of a (row, col) bool mask."""
        if not mask.any():
            return mask
        distance = distance_transform_edt(~mask, sampling=self.pixel)
        return np.asarray(distance <= self.length * _SLACK)


@dataclass(frozen=True)
class Boundaries:
    """Comparison of boundaries.

    Args:
        tolerance: Maximum Euclidean distance of matching boundary pixels (boundary F1).
        width: Width of the band along the inner side of a boundary (boundary IoU, Cheng et al., 2021; Euclidean here).
    """

    tolerance: Reach
    width: Reach

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns around a window that its counts depend on."""
        (rows, columns), (more_rows, more_columns) = self.tolerance.halo, self.width.halo
        return max(rows, more_rows), max(columns, more_columns)

    def count(
        self, labels: np.ndarray, classes: np.ndarray, num_classes: int, core: tuple[slice, slice] = np.s_[:, :]
    ) -> np.ndarray:
        """Count the boundaries of a window.

        Args:
            labels: (H, W) uint8 class ids, 255 = ignore.
            classes: (H, W) uint8 class ids of the map, 255 = nodata.
            num_classes: Classes K.
            core: Rows and columns that are counted, without the halo.

        Returns:
            (K, C) tally of boundaries.
        """
        counted = (labels != IGNORE_INDEX) & (classes != IGNORE_INDEX)
        tally = empty_tally(num_classes)
        present = np.bincount(labels[core][counted[core]], minlength=num_classes)
        present += np.bincount(classes[core][counted[core]], minlength=num_classes)
        for number in np.flatnonzero(present).tolist():
            truth, guess = _Region.of(labels, number, counted), _Region.of(classes, number, counted)
            self._compare(tally[number], truth, guess, core)
        return tally

    def _compare(self, row: np.ndarray, truth: _Region, guess: _Region, core: tuple[slice, slice]) -> None:
        edges = truth.edge[core], guess.edge[core]
        row[Count.LABEL_EDGE], row[Count.MAP_EDGE] = (edge.sum() for edge in edges)
        if edges[0].any():
            row[Count.LABEL_EDGE_HITS] = (edges[0] & self.tolerance.around(guess.edge)[core]).sum()
        if edges[1].any():
            row[Count.MAP_EDGE_HITS] = (edges[1] & self.tolerance.around(truth.edge)[core]).sum()
        bands = [(region.inside & self.width.around(region.outside))[core] for region in (truth, guess)]
        row[Count.BAND_BOTH] = (bands[0] & bands[1]).sum()
        row[Count.BAND_EITHER] = (bands[0] | bands[1]).sum()


@dataclass(frozen=True, eq=False)
class _Region:
    """One class in labels or map: its pixels, pixels of other classes, and its boundary pixels."""

    inside: np.ndarray
    outside: np.ndarray
    edge: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray, number: int, counted: np.ndarray) -> _Region:
        same = ids == number
        inside, outside = counted & same, counted & ~same
        return cls(inside, outside, inside & _beside(outside))


def _beside(mask: np.ndarray) -> np.ndarray:
    """Return the pixels with at least one of their four neighbours in the mask."""
    found = np.zeros_like(mask)
    found[1:] |= mask[:-1]
    found[:-1] |= mask[1:]
    found[:, 1:] |= mask[:, :-1]
    found[:, :-1] |= mask[:, 1:]
    return found
