"""DANet: a dilated ResNet, over whose features pixels attend to pixels, and channels to channels.

Fu, Liu, Tian, Li, Bao, Fang, Lu: "Dual Attention Network for Scene Segmentation", CVPR 2019, arXiv 1809.02983. Layers
follow its Figures 2 and 3 and section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from satseg.backend.nn.alignment import AlignedInput
from satseg.backend.nn.attention import attend
from satseg.backend.nn.auxiliary import auxiliary_cross_entropy
from satseg.backend.nn.conv import conv_norm_act
from satseg.backend.nn.encoders import Encoder, build_encoder
from satseg.backend.nn.initialise import he_normal

_MULTI_GRID = (1, 2, 4)  # dilations 4, 8 and 16 in the last stage, section 4.2.2


class PositionAttention(nn.Module):
    """Each pixel beside the mean of all, weighted by likeness to it (section 3.2).

    Args:
        channels: Channels of the features.
    """

    global_context = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels // 8, 1)
        self.key = nn.Conv2d(channels, channels // 8, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for features (N, C, H, W)."""
        return x + self.gamma * attend(self.query(x), self.key(x), self.value(x))


class ChannelAttention(nn.Module):
    """Each channel beside the mean of all, weighted by the negative of their products over all pixels (section 3.3).

    The authors subtract products from the largest of their row, which the softmax undoes.
    """

    global_context = True

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for features (N, C, H, W)."""
        pixels = x.flatten(2)
        weights = (-pixels @ pixels.transpose(1, 2)).softmax(dim=-1)  # (N, C, C)
        return x + self.gamma * (weights @ pixels).view_as(x)


class DANet(nn.Module):
    """The network of Figure 2.

    Args:
        encoder: Backbone at output stride 8.
        num_classes: Classes of the output.
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        deepest = encoder.channels[-1]
        width = deepest // 4
        self.position = _branch(deepest, PositionAttention(width))
        self.channel = _branch(deepest, ChannelAttention())
        self.head = _classifier(width, num_classes)
        self.aux_position = _classifier(width, num_classes)
        self.aux_channel = _classifier(width, num_classes)
        self.aligned = AlignedInput(8)
        he_normal(*self.position[::2], *self.channel[::2], self.head, self.aux_position, self.aux_channel)
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes, H, W) for images (N, in_channels, H, W), H and W of 32 and more."""
        padded = self.aligned(images)
        position, channel = self._branches(padded)
        return self.aligned.enlarge(self.head(position + channel), padded, images)

    def forward_with_aux(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits, and those of each branch alone: ``position`` and ``channel`` (N, num_classes, H, W)."""
        padded = self.aligned(images)
        position, channel = self._branches(padded)
        scores = self.head(position + channel), self.aux_position(position), self.aux_channel(channel)
        logits, *sides = (self.aligned.enlarge(score, padded, images) for score in scores)
        return logits, {"position": sides[0], "channel": sides[1]}

    def aux_loss(self, outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Return the sum of the cross-entropies of both branches; targets (N, H, W) int64, 255 ignored."""
        return auxiliary_cross_entropy(outputs, targets, weight=1.0)

    def _branches(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(padded)[-1]  # (N, 2048, H/8, W/8)
        return self.position(features), self.channel(features)  # (N, 512, H/8, W/8) each


def danet(
    *,
    in_channels: int,
    num_classes: int,
    encoder: str = "resnet101",
    pretrained: bool = False,
    encoder_weights: str | None = None,
) -> DANet:
    """Build DANet: a dilated ResNet-101 under attention between pixels and between channels, added up.

    Paper: Fu et al., "Dual Attention Network for Scene Segmentation", CVPR, arXiv 1809.02983
    Year: 2019
    Family: attention
    Encoder: resnet101
    Parameters: 66,435,285
    Multiply-adds: 304.4 G
    Output stride: 8
    Rate: 3e-3
    Use: likeness over whole windows with a pretrained encoder; large GPU

    Dilations of the last stage are 4, 8 and 16 (section 4.2.2); the first block of the stage before has none, as in the
    authors' code. Both kinds of attention begin with weight zero; queries and keys have an eighth of the channels.
    Classifiers of each branch serve training alone (19,494 parameters), their losses added to that of the sum (section
    4.1.2); dropout of channels is 0.1, interpolation aligns corners, as in the authors' code; images are mirrored at
    the right and bottom edge up to 8 k + 1 px, and logits cut back. Of the multiply-adds 8.0 G are products with zeros,
    by which queries and keys are extended so that attention needs no memory for pairs of pixels. Deviation:
    convolutions outside of encoder and attention start as He et al. (2015) propose, where the authors leave them as
    torch draws them.

    Args:
        in_channels: Bands of the input.
        num_classes: Classes of the output.
        encoder: Backbone of timm that can have output stride 8.
        pretrained: Start the encoder from weights of an installed package, else from timm's.
        encoder_weights: File with weights of the encoder, or their address at a hub, instead of those.
    """
    backbone = build_encoder(
        encoder,
        in_channels=in_channels,
        output_stride=8,
        multi_grid=_MULTI_GRID,
        gradual=True,
        pretrained=pretrained,
        weights=encoder_weights,
    )
    return DANet(backbone, num_classes)


def _branch(in_channels: int, attention: nn.Module) -> nn.Sequential:
    width = in_channels // 4
    return nn.Sequential(conv_norm_act(in_channels, width, 3), attention, conv_norm_act(width, width, 3))


def _classifier(in_channels: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(in_channels, num_classes, 1))
