"""Sizes of images at which enlarged scores lie where they belong.

In a network whose convolutions are padded by half their kernel, the features of stride s have their centres at every
s-th pixel, from the first one on. Bilinear interpolation with aligned corners puts them there if the image has
s * k + 1 pixels a side, as those had that such networks were published with (513, 713, 769, 1025). At any other size
the enlarged map is stretched: scores slide by up to s - 1 pixels from one edge of the window to the other, which no
training undoes. In the same way, interpolation between the centres of cells needs s * k pixels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.resize import resize_like


class AlignedInput(nn.Module):
    """Extends images to a size that maps of every stride cover exactly; a layer without parameters.

    Args:
        stride: Input pixels per pixel of the coarsest features that are enlarged.
        corners: Whether they are enlarged with aligned corners, or else between the centres of cells.
        former: What the sides were multiples of where a checkpoint has format 1.
    """

    def __init__(self, stride: int, *, corners: bool = True, former: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.corners = corners
        self.extra = int(corners)
        self.former = former

    def forward(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W) mirrored at the right and lower edge, up to stride * k + 1 pixels a side.

        Without aligned corners, up to stride * k pixels.
        """
        return pad_to_multiple(images, self.stride, extra=self.extra)

    def multiply(self, x: Tensor, factor: int) -> Tensor:
        """Interpolate features (N, C, h, w) with aligned corners to a stride that is ``factor`` times as fine."""
        size = [side * factor - self.extra * (factor - 1) for side in x.shape[-2:]]
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)

    def enlarge(self, scores: Tensor, padded: Tensor, images: Tensor) -> Tensor:
        """Interpolate scores (N, K, h, w) of extended images to their size, and cut them to (N, K, H, W) as images."""
        height, width = images.shape[-2:]
        return resize_like(scores, padded, align_corners=self.corners)[..., :height, :width]

    def as_in_format_1(self) -> None:
        """Take images as networks of checkpoints of format 1 do."""
        self.stride, self.extra = self.former, 0
