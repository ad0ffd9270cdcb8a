"""Pad inputs whose sizes are not multiples of the strides of a network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Extend images to the right and below until their sides are multiples of ``multiple``.

    The image is mirrored at its edge: the continuation has the texture of a scene, where zeros would look like
    an object's edge and repeated borders like streaks. The origin stays, so cropping the output to
    ``[..., :H, :W]`` undoes it.

    Args:
        images: (N, C, H, W), H and W of at least ``multiple``.
        multiple: What the padded sides are divisible by, in pixels.

    Returns:
        (N, C, H', W') with H <= H' < H + multiple; the same tensor where nothing is missing.
    """
    bottom, right = -images.shape[-2] % multiple, -images.shape[-1] % multiple
    if bottom == 0 and right == 0:
        return images
    return F.pad(images, (0, right, 0, bottom), mode="reflect")
