"""A network of your own: a function that builds it, named on the command line.

    satseg train tiles --arch custom_architecture.py:stripes -o runs/stripes
    satseg predict scene.tif -m runs/stripes --arch custom_architecture.py:stripes -o out.gpkg

The file is code, so it runs when you name it, and never because a checkpoint asks for it.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from satseg.backend.nn.conv import conv_norm_act


class Stripes(nn.Module):
    """Two strided convolutions, wide rows and columns at a quarter of the resolution, a classifier."""

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_norm_act(in_channels, width // 2, stride=2), conv_norm_act(width // 2, width, stride=2)
        )
        self.rows = nn.Conv2d(width, width, (1, 9), padding=(0, 4))
        self.columns = nn.Conv2d(width, width, (9, 1), padding=(4, 0))
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for normalised images (N, in_channels, H, W), any size from 32 px."""
        x = self.stem(images)
        x = x + F.relu(self.rows(x)) + F.relu(self.columns(x))
        return F.interpolate(self.classify(x), size=images.shape[-2:], mode="bilinear", align_corners=False)


def stripes(*, in_channels: int, num_classes: int, width: int = 64) -> Stripes:
    """Build the network; satseg gives the bands and classes of the tiles."""
    return Stripes(in_channels, num_classes, width)
