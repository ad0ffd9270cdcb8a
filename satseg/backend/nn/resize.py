"""Bilinear resizing of feature maps and scores."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize_like(x: Tensor, like: Tensor, *, align_corners: bool = False) -> Tensor:
    """Interpolate (N, C, h, w) bilinearly to the height and width of ``like`` (..., H, W); the same tensor if equal.

    Args:
        x: Maps to resize.
        like: Anything with the wanted size in its last two axes.
        align_corners: Whether the centres of the corner pixels coincide, as Caffe's networks have it.
    """
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=align_corners)
