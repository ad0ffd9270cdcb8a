"""FPN: a top-down path over the levels of an encoder, each of which is brought to stride 4 and summed.

Kirillov, Girshick, He, Dollár: "Panoptic Feature Pyramid Networks", CVPR 2019, arXiv 1901.02446. Layers follow its
Figure 3; the pyramid is that of Lin et al.: "Feature Pyramid Networks for Object Detection", arXiv 1612.03144.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal
from satseg.backend.nn.padding import pad_to_multiple
from satseg.backend.nn.resize import resize_like

_PYRAMID_WIDTH, _WIDTH = 256, 128
_GROUPS = 32  # of the group normalisation, as in its paper
_FINEST = 4  # stride at which the levels are summed


def _to_finest(in_channels: int, stride: int) -> nn.Sequential:
    """Return 3x3 convolutions, each followed by a doubling, up to stride 4; one without where it is there already."""
    doublings = (stride // _FINEST).bit_length() - 1
    layers: list[nn.Module] = []
    for number in range(max(1, doublings)):
        channels = in_channels if number == 0 else _WIDTH
        layers += [nn.Conv2d(channels, _WIDTH, 3, padding=1, bias=False), nn.GroupNorm(_GROUPS, _WIDTH), nn.ReLU()]
        if doublings:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
    return nn.Sequential(*layers)


class FPN(nn.Module):
    """The semantic branch of Figure 3 on a feature pyramid.

    Args:
        encoder: Backbone with features at strides 4 to 32.
        num_classes: Classes of the output.
        dropout: Share of channels dropped before the classifier.
    """

    global_context = True  # group normalisation takes its statistics from the whole window

    def __init__(self, encoder: Encoder, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        inputs = encoder.channels_from(_FINEST)[::-1]
        self.lateral = nn.ModuleList(nn.Conv2d(channels, _PYRAMID_WIDTH, 1) for channels in inputs)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.branches = nn.ModuleList(
            _to_finest(_PYRAMID_WIDTH, stride) for stride in encoder.strides[: -len(inputs) - 1 : -1]
        )
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(_WIDTH, num_classes, 1)
        he_normal(self.lateral, self.branches, self.head)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self.encoder.strides[-1])
        coarsest, *finer = reversed(self.encoder(padded)[-len(self.lateral) :])
        pyramid = [self.lateral[0](coarsest)]  # (N, 256, H/32, W/32)
        for lateral, level in zip(self.lateral[1:], finer, strict=True):
            pyramid.append(lateral(level) + self.enlarge(pyramid[-1]))  # (N, 256, H/16, W/16), up to H/4, W/4
        parts = [branch(level) for branch, level in zip(self.branches, pyramid, strict=True)]
        summed = torch.stack(parts).sum(dim=0)  # (N, 128, H/4, W/4)
        return resize_like(self.head(self.dropout(summed)), padded)[..., :height, :width]


def fpn(
    *,
    in_channels: int,
    num_classes: int,
    dropout: float = 0.0,
    encoder: str = "resnet50",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> FPN:
    """Build Semantic FPN: levels of an encoder, enriched from the coarsest down, enlarged to stride 4 and summed.

    Paper: Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR, arXiv 1901.02446
    Year: 2019
    Family: pyramid
    Encoder: resnet50
    Parameters: 26,118,355
    Multiply-adds: 31.2 G
    Output stride: 32
    Rate: 3e-3
    Use: any encoder at little cost: objects of many sizes

    Levels are 256 wide in the pyramid and 128 from there on, each 3x3 convolution with group normalisation. The paper
    smooths the levels of the pyramid by one more 3x3 convolution, which is left out here: the branches begin with
    one. Sizes that the coarsest stride does not divide are mirrored at the right and lower edge and cut back.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        dropout: Share of channels dropped before the classifier, 0 to below 1.
        encoder: Backbone of timm with features at strides 4 to 32 (``convnext_tiny``: 29,814,515 parameters).
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(encoder, in_channels=in_channels, pretrained=pretrained, weights=encoder_weights)
    return FPN(backbone, num_classes, dropout=dropout)
