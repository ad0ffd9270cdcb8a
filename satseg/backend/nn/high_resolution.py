"""HRNets of timm as the encoders of HRNetV2: parallel maps of four strides, which meet with aligned corners.

Wang et al.: "Deep High-Resolution Representation Learning for Visual Recognition", arXiv 1908.07919, sections 3.1 to
3.3. timm's trunk has the layers and names of the authors' one. It repeats pixels where coarse maps are added to finer
ones, as their network for classification does; their network for segmentation interpolates.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.encoders import Encoder, by_name, create_backbone
from satseg.backend.nn.resize import resize_like
from satseg.errors import ArchitectureError

_PREFIX = "hrnet_"
_OPTIONS = {"features_only": True, "feature_location": "", "out_indices": (1, 2, 3, 4)}  # without timm's wider heads

COARSEST = 32
"""Stride of the coarsest maps."""


class HighResolutionEncoder(Encoder):
    """An HRNet with one level of features: the maps of all its strides, enlarged to the finest and concatenated.

    Args:
        net: Feature extractor of timm, whose fusions are replaced.
        aligned: What extends the images of the network.
    """

    def __init__(self, net: nn.Module, aligned: AlignedInput) -> None:
        info: Any = net.feature_info
        super().__init__(net, [sum(info.channels())], info.reduction()[:1])
        for module in list(net.modules()):
            for name, layer in module.named_children():
                if isinstance(layer, nn.Upsample):
                    setattr(module, name, _Enlargement(aligned, int(layer.scale_factor)))  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return (N, channels[0], H/4, W/4), sizes rounded up, for images of 32 * k + 1 pixels a side."""
        maps = self.net(images)  # (N, C, H/4, W/4), 2 C at half the size, 4 C and 8 C
        return [torch.cat([resize_like(part, maps[0], align_corners=True) for part in maps], dim=1)]


class _Enlargement(nn.Module):
    """Interpolates a coarse map to a finer stride."""

    def __init__(self, aligned: AlignedInput, factor: int) -> None:
        super().__init__()
        self.aligned = aligned
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.aligned.multiply(x, self.factor)


def is_high_resolution(name: str) -> bool:
    """Return whether an encoder, by its name or address, is an HRNet."""
    return by_name(name, None)[0].startswith(_PREFIX)


def build_high_resolution_encoder(
    name: str, *, aligned: AlignedInput, in_channels: int, pretrained: bool = False, weights: str | None = None
) -> HighResolutionEncoder:
    """Build an HRNet of timm as the encoder of HRNetV2.

    Args:
        name: Name of the HRNet in timm, or its address at a hub or in a package, which brings its weights.
        aligned: What extends the images of the network, to 32 * k + 1 pixels a side.
        in_channels: Bands of the input; weights of the first layer are adapted to it.
        pretrained: Start from the weights of an installed package, else from timm's, which are downloaded once.
        weights: File with weights, or their address at a hub or in a package, instead of those.

    Raises:
        ArchitectureError: The encoder is no HRNet, or its weights cannot be had.
    """
    if not is_high_resolution(name):
        raise ArchitectureError(
            f"{name} is no HRNet.",
            hint="The option `encoders` of `satseg models`, given hrnet, lists those that there are.",
        )
    name, weights = by_name(name, weights)
    return HighResolutionEncoder(create_backbone(name, in_channels, pretrained, weights, dict(_OPTIONS)), aligned)
