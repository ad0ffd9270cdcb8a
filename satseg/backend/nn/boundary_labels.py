"""Where labels change: boundaries between classes, made from masks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from satseg.classes import IGNORE_INDEX


def boundaries(labels: Tensor, *, reach: int) -> Tensor:
    """Return which labelled pixels have another class nearby.

    Args:
        labels: (N, H, W) int64 class ids; 255 is ignored, and no class.
        reach: Rows and columns to each side in which it counts, in pixels.

    Returns:
        (N, H, W) bool.
    """
    counted = labels != IGNORE_INDEX
    window = 2 * reach + 1
    highest, lowest = (  # padding counts as least
        F.max_pool2d(ids.where(counted, -IGNORE_INDEX).float(), window, stride=1, padding=reach)
        for ids in (labels, -labels)
    )
    return counted & (highest != -lowest)
