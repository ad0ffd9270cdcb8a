"""Images larger than the crop that parameters of a network belong to, cut into windows of that size."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST = 32  # pixels: what every network takes


class Crop:
    """Cuts images into windows, and puts together what a network says of them.

    Windows lie side by side; the last ones end at the right and lower edge of the image, and what they say counts where
    they overlap with others. An image that is not larger is one window of its own size.

    Args:
        side: Largest side of a window in pixels, at least 32.

    Raises:
        ValueError: The side is too small.
    """

    def __init__(self, side: int) -> None:
        if side < _SMALLEST:
            raise ValueError(f"a crop of {side} px is smaller than {_SMALLEST} px")
        self.side = side

    def cut(self, images: Tensor) -> Tensor:
        """Return the windows (n * N, C, h, w) of images (N, C, H, W), or of labels (N, H, W) likewise."""
        places = self._places(images)
        if len(places) == 1:
            return images
        return torch.cat([images[..., rows, columns] for rows, columns in places])

    def join(self, scores: Tensor, images: Tensor) -> Tensor:
        """Return (N, K, H, W), as large as the images, for scores (n * N, K, h, w) of their windows."""
        places = self._places(images)
        if len(places) == 1:
            return scores
        joined = scores.new_zeros(images.shape[0], scores.shape[1], *images.shape[-2:])
        for (rows, columns), part in zip(places, scores.chunk(len(places)), strict=True):
            joined[..., rows, columns] = part
        return joined

    def _places(self, images: Tensor) -> list[tuple[slice, slice]]:
        rows, columns = (self._spans(length) for length in images.shape[-2:])
        return [(down, right) for down in rows for right in columns]

    def _spans(self, length: int) -> list[slice]:
        if length <= self.side:
            return [slice(0, length)]
        starts = [*range(0, length - self.side, self.side), length - self.side]
        return [slice(start, start + self.side) for start in starts]
