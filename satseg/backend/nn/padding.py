"""Pad inputs whose sizes are not multiples of the strides of a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(images: Tensor, multiple: int, *, extra: int = 0) -> Tensor:
    """Extend images to the right and below until their sides are multiples of ``multiple``, plus ``extra``.

    The image is mirrored at its edge: the continuation has the texture of a scene, where zeros would look like
    an object's edge and repeated borders like streaks. The origin stays, so cropping the output to
    ``[..., :H, :W]`` undoes it. Where the image is smaller than what is missing, it is mirrored again.

    Args:
        images: (N, C, H, W), H and W of at least 2.
        multiple: What the padded sides are divisible by, in pixels.
        extra: Pixels that they have beyond that.

    Returns:
        (N, C, H', W') with H <= H' < H + multiple; the same tensor where nothing is missing.
    """
    if torch.compiler.is_exporting():
        rows, columns = ((side - extra + multiple - 1) // multiple * multiple + extra for side in images.shape[-2:])
        return _mirrored(_mirrored(images, -2, rows), -1, columns) if multiple > 1 else images
    bottom, right = ((extra - side) % multiple for side in images.shape[-2:])
    while bottom > 0 or right > 0:
        rows, columns = min(bottom, images.shape[-2] - 1), min(right, images.shape[-1] - 1)  # mirrored at once
        images = F.pad(images, (0, columns, 0, rows), mode="reflect")
        bottom, right = bottom - rows, right - columns
    return images


def _mirrored(images: Tensor, axis: int, side: int) -> Tensor:
    """Extend one axis by mirroring it as often as needed, without branches on sizes that an export leaves open."""
    places = torch.arange(side, device=images.device)
    period = torch.full_like(places, 2 * (images.shape[axis] - 1))  # a tensor: ONNX divides by no open scalar
    places = places % period
    return images.index_select(axis, torch.minimum(places, period - places))
