"""Free rotation and scaling of whole batches, images and labels together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(images: Tensor, labels: Tensor, valid: Tensor, angle: Tensor, zoom: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate and scale each sample about its centre.

    Unlike the kernels of torchvision, every sample has its own angle and scale.

    Args:
        images: (N, C, S, S) float32; bilinear interpolation.
        labels: (N, S, S) uint8, 255 = ignore; nearest neighbour.
        valid: (N, S, S) bool; nearest neighbour.
        angle: (N,) float32 degrees, anticlockwise with the first row on top.
        zoom: (N,) float32; above 1 enlarges.

    Returns:
        Warped images, labels and valid. Pixels from outside a tile are 255 in labels and invalid.
    """
    grid = F.affine_grid(_matrices(angle, zoom), list(images.shape), align_corners=False)
    # Replicate the edge, so that bilinear values at the border are not mixed with zeros.
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # uint8 wraps: 255 (ignore) becomes 0 after adding 1, which is also what grid_sample returns outside.
    masks = torch.stack([labels + 1, valid.to(torch.uint8)], dim=1).float()
    masks = F.grid_sample(masks, grid, mode="nearest", padding_mode="zeros", align_corners=False).to(torch.uint8)
    return images, masks[:, 0] - 1, masks[:, 1].bool()


def _matrices(angle: Tensor, zoom: Tensor) -> Tensor:
    """Return (N, 2, 3) matrices from coordinates (x, y) in the result to those in the source, both in -1..1."""
    radians = torch.deg2rad(angle)
    cos, sin = torch.cos(radians) / zoom, torch.sin(radians) / zoom
    zero = torch.zeros_like(cos)
    return torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
