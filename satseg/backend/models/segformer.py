"""SegFormer: a transformer with stages, and a decoder of nothing but linear layers.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo: "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", NeurIPS 2021, arXiv 2105.15203. The decoder follows section 3.2 and equation 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.resize import resize_like

_WIDTH, _LARGE_WIDTH = 256, 768
_LARGE = ("mit_b2", "mit_b3", "mit_b4", "mit_b5")
_FINEST = 4  # stride at which the levels are joined


class SegFormer(nn.Module):
    """The decoder of section 3.2 on an encoder.

    Args:
        encoder: Backbone with features at strides 4 to 32.
        num_classes: Classes of the output.
        width: Channels of each level in the decoder, and of all together.
        dropout: Share of channels dropped before the classifier.
    """

    def __init__(self, encoder: Encoder, num_classes: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        inputs = encoder.channels_from(_FINEST)
        self.project = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in inputs)
        self.fuse = conv_norm_act(len(inputs) * width, width, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(width, num_classes, 1)
        he_normal(self.project, self.fuse, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self.encoder.strides[-1])
        levels = self.encoder(padded)[-len(self.project) :]
        parts = [
            resize_like(project(level), levels[0]) for project, level in zip(self.project, levels, strict=True)
        ]  # of (N, width, H/4, W/4)
        fused = self.fuse(torch.cat(parts[::-1], dim=1))
        return resize_like(self.head(self.dropout(fused)), padded)[..., :height, :width]


def segformer(
    *,
    in_channels: int,
    num_classes: int,
    width: int | None = None,
    dropout: float = 0.1,
    encoder: str = "mit_b2",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> SegFormer:
    """Build SegFormer: a transformer with stages, whose levels are projected, enlarged to stride 4 and joined.

    Paper: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation ...", NeurIPS, arXiv 2105.15203
    Year: 2021
    Family: transformer
    Encoder: mit_b2
    Parameters: 27,361,235
    Multiply-adds: 60.7 G
    Output stride: 32
    Rate: 3e-4
    Use: with pretrained weights: wide context at little cost

    The linear layers of the paper are 1x1 convolutions here, and the decoder is 768 wide on ``mit_b2`` and larger ones,
    256 on all other encoders, as in the authors' configurations. Sizes that 32 does not divide are mirrored at the
    right and lower edge and cut back. Of an encoder with features at stride 2, those are left out: the paper's begins
    at stride 4.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        width: Channels of each level in the decoder, and of all together. By default that of the authors.
        dropout: Share of channels dropped before the classifier, 0 to below 1.
        encoder: ``mit_b0`` (3,719,027 parameters) to ``mit_b5``, or a backbone of timm with features at strides 4 to
            32 (``convnext_tiny``: 28,455,795 parameters).
        pretrained: Start the encoder from weights of an installed package, else from timm's. There are none of
            ``mit_b0`` to ``mit_b5``.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    if width is None:
        width = _LARGE_WIDTH if encoder in _LARGE else _WIDTH
    return SegFormer(backbone, num_classes, width=width, dropout=dropout)
