"""Count how well the boundaries of classes agree: for boundary F1 and boundary IoU.

A pixel lies on the boundary of its class when one of its four neighbours is of another class. Where labels are
ignored, or the map has no data, nothing is compared, and nothing ends there either: neither a pixel beside such ground
nor one at the edge of the raster lies on a boundary for that reason alone.
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
        """Bring a length onto a grid.

        Args:
            length: In pixels, in metres, or in per cent of the diagonal of a tile.
            shape: Rows and columns of a tile.
            gsd: Ground metres per pixel along x and y, or None where they are unknown.

        Raises:
            UsageError: It is in metres where pixels have no size on the ground.
        """
        if length.unit == "px":
            return cls(length.value)
        if length.unit == "%":
            return cls(length.value / 100 * math.hypot(*shape))
        across, down = known_gsd(gsd, length.given)
        return cls(length.value, (down, across))

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns around a window that decide what happens in it: the reach, and a neighbour beyond."""
        rows, columns = (math.floor(self.length / size * _SLACK) + 1 for size in self.pixel)
        return rows, columns

    def around(self, mask: np.ndarray) -> np.ndarray:
        """Return where a (row, col) bool mask is within reach."""
        if not mask.any():
            return mask
        distance = distance_transform_edt(~mask, sampling=self.pixel)
        return np.asarray(distance <= self.length * _SLACK)


@dataclass(frozen=True)
class Boundaries:
    """How boundaries are compared.

    Args:
        tolerance: How far apart two boundary pixels may lie and still match (boundary F1, Euclidean).
        width: Width of the band along the inner side of a boundary (boundary IoU, Cheng et al., 2021; Euclidean here).
    """

    tolerance: Reach
    width: Reach

    @property
    def halo(self) -> tuple[int, int]:
        """Rows and columns around a window that decide what is counted in it."""
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
            core: Rows and columns that are counted; the others are the halo.

        Returns:
            (K, C) tally; its columns of boundaries are filled.
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
    """One class in labels or map: where it is, where another one is, and its pixels beside another one."""

    inside: np.ndarray
    outside: np.ndarray
    edge: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray, number: int, counted: np.ndarray) -> _Region:
        same = ids == number
        inside, outside = counted & same, counted & ~same
        return cls(inside, outside, inside & _beside(outside))


def _beside(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of which one of the four neighbours is in the mask."""
    found = np.zeros_like(mask)
    found[1:] |= mask[:-1]
    found[:-1] |= mask[1:]
    found[:, 1:] |= mask[:, :-1]
    found[:, :-1] |= mask[:, 1:]
    return found
