"""Free rotation and scale of whole batches, images and labels together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(images: Tensor, labels: Tensor, valid: Tensor, angle: Tensor, zoom: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotate and scale each sample about its centre.

    torchvision's kernels do the same to a batch, but with one angle and scale for all of it.

    Args:
        images: (N, C, S, S) float32; interpolated bilinearly.
        labels: (N, S, S) uint8, 255 = ignore; the nearest pixel is taken.
        valid: (N, S, S) bool; the nearest pixel is taken.
        angle: (N,) float32 degrees, anticlockwise as seen with the first row on top.
        zoom: (N,) float32; above 1 enlarges.

    Returns:
        The three, warped. What comes from outside a tile is 255 in labels and not valid.
    """
    grid = F.affine_grid(_matrices(angle, zoom), list(images.shape), align_corners=False)
    # Beyond the edge the edge goes on, so that bilinear values at the border are not mixed with nothing.
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # uint8 wraps: ignore is 0 after adding 1, and so is what grid_sample gives outside.
    masks = torch.stack([labels + 1, valid.to(torch.uint8)], dim=1).float()
    masks = F.grid_sample(masks, grid, mode="nearest", padding_mode="zeros", align_corners=False).to(torch.uint8)
    return images, masks[:, 0] - 1, masks[:, 1].bool()


def _matrices(angle: Tensor, zoom: Tensor) -> Tensor:
    """Return (N, 2, 3) matrices from coordinates (x, y) of the result to those of the source, both in -1..1."""
    radians = torch.deg2rad(angle)
    cos, sin = torch.cos(radians) / zoom, torch.sin(radians) / zoom
    zero = torch.zeros_like(cos)
    return torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
