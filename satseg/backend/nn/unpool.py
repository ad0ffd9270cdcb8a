"""Unpooling by the stored places of the maxima (DeconvNet, SegNet, ENet)."""

from __future__ import annotations

from torch import Tensor


def unpool(x: Tensor, indices: Tensor) -> Tensor:
    """Put values back where a 2x2 max pooling found its maxima, zeros elsewhere.

    torch's own layer does not know bfloat16 and is not deterministic on GPUs; scattering to places that are all
    different is both.

    Args:
        x: (N, C, H, W).
        indices: (N, C, H, W) int64, as ``nn.MaxPool2d(2, return_indices=True)`` gave them: places in the
            flattened plane of 2H rows and 2W columns.

    Returns:
        (N, C, 2H, 2W).
    """
    n, c, h, w = x.shape
    flat = x.new_zeros(n, c, 4 * h * w)
    return flat.scatter(2, indices.flatten(2), x.flatten(2)).view(n, c, 2 * h, 2 * w)
