"""Sizes of images at which enlarged scores lie where they belong.

In a network whose convolutions are padded by half their kernel, the features of stride s have their centres at every
s-th pixel, from the first one on. Bilinear interpolation with aligned corners puts them there if the image has
s * k + 1 pixels a side, as those had that such networks were published with (513, 713, 769, 1025). At any other size
the enlarged map is stretched: scores slide by up to s - 1 pixels from one edge of the window to the other, which no
training undoes. In the same way, interpolation between the centres of cells needs s * k pixels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.resize import resize_like


class AlignedInput(nn.Module):
    """Extends images to a size that maps of every stride cover exactly; a layer without parameters.

    Args:
        stride: Input pixels per pixel of the coarsest features that are enlarged.
        corners: Whether they are enlarged with aligned corners, or else between the centres of cells.
        encoder: Where the features come from, if it may be one that drops pixels which fill no cell: a module with
            ``strides`` that returns a list of features, as :class:`satseg.backend.nn.encoders.Encoder` does.
        former: What the sides were multiples of where a checkpoint has format 1.
    """

    def __init__(self, stride: int, *, corners: bool = True, encoder: Any = None, former: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.corners = corners
        self.extra = int(corners)
        self.in_cells = corners and encoder is not None and not rounds_up(encoder)
        self.former = former

    def forward(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W) mirrored at the right and lower edge, up to stride * k + 1 pixels a side.

        Without aligned corners, up to stride * k pixels.
        """
        return pad_to_multiple(images, self.stride, extra=self.extra)

    def levels(self, encoder: Any, padded: Tensor) -> list[Tensor]:
        """Return the features (N, C, H / stride, W / stride) of extended images, sizes rounded up at every stride.

        An encoder that cuts images into cells, as ConvNeXt does, gets whole ones.
        """
        levels: list[Tensor] = encoder(pad_to_multiple(padded, encoder.strides[-1]) if self.in_cells else padded)
        if not self.in_cells:
            return levels
        height, width = padded.shape[-2:]
        return [
            level[..., : -(-height // stride), : -(-width // stride)]
            for level, stride in zip(levels, encoder.strides, strict=True)
        ]

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
        self.stride, self.extra, self.in_cells = self.former, 0, False


def rounds_up(encoder: Any) -> bool:
    """Return whether an encoder has k + 1 features for stride * k + 1 pixels, at every stride.

    It runs without arithmetic on an image of two cells and a pixel a side; one that refuses it does not round up.
    """
    named = [*encoder.named_parameters(), *encoder.named_buffers()]
    like = {name: torch.empty_like(tensor, device="meta") for name, tensor in named}
    bands = next((tensor.shape[1] for tensor in like.values() if tensor.ndim == 4), 3)  # of its first convolution
    strides = encoder.strides
    side = 2 * strides[-1] + 1
    try:
        with torch.no_grad():
            levels = functional_call(encoder, like, torch.empty(2, bands, side, side, device="meta"))
    except (RuntimeError, ValueError, AssertionError, NotImplementedError):
        return False
    return all(level.shape[-1] == -(-side // stride) for level, stride in zip(levels, strides, strict=True))
