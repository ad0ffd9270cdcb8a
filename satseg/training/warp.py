"""Free rotation, scaling and shifts of whole batches, images and what they are labelled with together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(
    images: Tensor, labels: Tensor, valid: Tensor, objects: Tensor, angle: Tensor, zoom: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotate and scale each sample about its centre, then shift it.

    Unlike the kernels of torchvision, every sample has its own angle, scale and shift.

    Args:
        images: (N, C, S, S) float32; bilinear interpolation.
        labels: (N, S, S) uint8, 255 = ignore; nearest neighbour.
        valid: (N, S, S) bool; nearest neighbour.
        objects: (N, P, S, S) of a whole type, up to 2**24; nearest neighbour.
        angle: (N,) float32 degrees, anticlockwise with the first row on top.
        zoom: (N,) float32; above 1 enlarges.
        shift: (N, 2) float32; to the right and downwards, as a fraction of S.

    Returns:
        Warped images, labels, valid and objects. Pixels from outside a tile are 255 in labels, invalid, and 0 in
        objects.
    """
    grid = F.affine_grid(_matrices(angle, zoom, shift), list(images.shape), align_corners=False)
    # Replicate the edge, so that bilinear values at the border are not mixed with zeros.
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # uint8 wraps: 255 (ignore) becomes 0 after adding 1, which is also what grid_sample returns outside.
    masks = torch.cat([labels[:, None] + 1, valid[:, None].to(torch.uint8), objects], dim=1).float()
    masks = F.grid_sample(masks, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return images, masks[:, 0].to(torch.uint8) - 1, masks[:, 1].bool(), masks[:, 2:].to(objects.dtype)


def _matrices(angle: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Return (N, 2, 3) matrices from coordinates (x, y) in the result to those in the source, both in -1..1."""
    radians = torch.deg2rad(angle)
    cos, sin = torch.cos(radians) / zoom, torch.sin(radians) / zoom
    turn = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)
    moved = turn @ (-2 * shift)[..., None]  # the side of a tile is 2 long
    return torch.cat([turn, moved], dim=2)
