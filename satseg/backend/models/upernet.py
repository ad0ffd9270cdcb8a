"""UPerNet: pyramid pooling on the coarsest features, and a top-down pyramid whose levels are joined at stride 4.

Xiao, Liu, Zhou, Jiang, Sun: "Unified Perceptual Parsing for Scene Understanding", ECCV 2018, arXiv 1807.10221. Layers
follow its Figure 4 and section 3.1, of which only the head for objects, which sees the joined levels, is built.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.norm import ChannelNorm
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.pyramid import PyramidPooling
from satseg.backend.nn.resize import resize_like

_WIDTH = 256
_FINEST = 4  # stride at which the levels are joined


class UPerNet(nn.Module):
    """The network of Figure 4 with its head for objects.

    Args:
        encoder: Backbone with features at strides 4 to 32.
        num_classes: Classes of the output.
        dropout: Share of channels dropped before the classifier.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        inputs = encoder.channels_from(_FINEST)
        *finer, coarsest = inputs
        self.norms = nn.ModuleList(ChannelNorm(channels) for channels in inputs)
        self.pool = PyramidPooling(coarsest, _WIDTH, align_corners=False)
        self.coarsest = conv_norm_act(self.pool.out_channels, _WIDTH)
        self.lateral = nn.ModuleList(conv_norm_act(channels, _WIDTH, 1) for channels in finer)
        self.smooth = nn.ModuleList(conv_norm_act(_WIDTH, _WIDTH) for _ in finer)
        self.fuse = conv_norm_act(len(inputs) * _WIDTH, _WIDTH)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        he_normal(self.pool, self.coarsest, self.lateral, self.smooth, self.fuse, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self.encoder.strides[-1])
        levels = self.encoder(padded)[-len(self.norms) :]
        *finer, deepest = [norm(level) for norm, level in zip(self.norms, levels, strict=True)]
        x = self.coarsest(self.pool(deepest))  # (N, 256, H/32, W/32)
        parts = [x]
        for lateral, smooth, level in reversed(list(zip(self.lateral, self.smooth, finer, strict=True))):
            own = lateral(level)
            x = own + resize_like(x, own)
            parts.append(smooth(x))  # (N, 256, H/16, W/16), up to H/4, W/4
        joined = self.fuse(torch.cat([resize_like(part, parts[-1]) for part in reversed(parts)], dim=1))
        return resize_like(self.head(self.dropout(joined)), padded)[..., :height, :width]


def upernet(
    *,
    in_channels: int,
    num_classes: int,
    dropout: float = 0.1,
    encoder: str = "resnet50",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> UPerNet:
    """Build UPerNet: pyramid pooling and a top-down path over any encoder, all levels joined at stride 4.

    Paper: Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV, arXiv 1807.10221
    Year: 2018
    Family: pyramid
    Encoder: resnet50
    Parameters: 37,289,299
    Multiply-adds: 76.5 G
    Output stride: 32
    Rate: 3e-3
    Use: ConvNeXt and Swin with all levels and wide context

    The pyramid pools to 1, 2, 3 and 6 cells, and all parts are 256 wide; of the heads of section 3.1 there is that for
    objects, as in semantic segmentation since. Deviation, as with Swin and ConvNeXt: each level of the encoder is
    normalised over its channels first (7,680 parameters with ResNet-50). Sizes that the coarsest stride does not
    divide are mirrored at the right and lower edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        dropout: Share of channels dropped before the classifier, 0 to below 1.
        encoder: Backbone of timm with features at strides 4 to 32 (``convnext_tiny``: 37,048,499 parameters).
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return UPerNet(backbone, num_classes, dropout=dropout)
