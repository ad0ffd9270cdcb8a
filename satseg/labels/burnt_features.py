"""Objects of labels on the grid of a scene, as evaluations compare them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class BurntFeatures:
    """The objects of a window: features rasterized, or ids of a raster.

    Args:
        numbers: (n,) int64 position of each among the features with a polygon, or among the ids of the raster.
        classes: (n,) uint8 class ids.
        ends: (n,) int64 first row of the scene below each.
        outer: (n,) bool, whether most of each lies outside the area that is compared.
        ranks: (n,) float64; those of higher rank lie on top.
    """

    numbers: np.ndarray
    classes: np.ndarray
    ends: np.ndarray
    outer: np.ndarray
    ranks: np.ndarray
